"""What archives of all kinds have in common: their members, and why some of them are not read."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stream_triage.files.links import Targets, member_path
from stream_triage.files.naming import shown_name
from stream_triage.files.unpack import Reader

__all__ = ["READ_BYTES", "Member", "MemberNames", "MemberProblem", "is_hidden", "link_problems"]

READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `open` raises `Damage` if nothing of it can be read."""

    name: str
    open: Callable[[], Reader]


@dataclass(frozen=True, slots=True)
class MemberProblem:
    """A member that is not read, or not read to its end. Without a name, the problem concerns the whole archive.

    `error` is false for what is passed over because it certainly contains no log, or is read under another name.
    """

    name: str
    reason: str
    error: bool = True


class MemberNames:
    """Makes the names of members printable and unique: the second `name` becomes `name~2`."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def unique(self, name: str) -> str:
        """The name to use for the next member of this name."""
        name = shown_name(member_path(name))
        self._seen[name] += 1
        if self._seen[name] == 1:
            return name
        return self.unique(f"{name}~{self._seen[name]}")


def is_hidden(name: str) -> bool:
    """Whether a member of this name is passed over, as hidden files are everywhere."""
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def link_problems(targets: Targets[Any], name: str, target: str) -> Iterator[MemberProblem]:
    """What is wrong with a link that leads to no file.

    Nothing is if it leads to a folder, whose files are read under their own names.
    """
    if not targets.is_folder(target):
        yield MemberProblem(
            name, f"is a link to {shown_name(target)}, which the archive does not contain; read that file itself"
        )
    elif is_hidden(target):
        yield MemberProblem(name, "is a link to a hidden folder; unpack the archive and read that folder")
