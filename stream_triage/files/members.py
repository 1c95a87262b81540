"""What archives of all kinds have in common: their members, and why some of them are not read."""

import posixpath
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from stream_triage.files.naming import kind_of, shown_name
from stream_triage.files.unpack import Reader

__all__ = ["READ_BYTES", "Member", "MemberNames", "MemberProblem", "skipped"]

READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """One member. `open` raises `Damage` if nothing of it can be read."""

    name: str
    open: Callable[[], Reader]


@dataclass(frozen=True, slots=True)
class MemberProblem:
    """A member that is not read, or not read to its end. Without a name, the problem concerns the whole archive."""

    name: str
    reason: str
    error: bool = True


class MemberNames:
    """Makes the names of members printable and unique: the second `name` becomes `name~2`."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def unique(self, name: str) -> str:
        """The name to use for the next member of this name."""
        name = shown_name(posixpath.normpath(name).lstrip("/"))
        self._seen[name] += 1
        if self._seen[name] == 1:
            return name
        return self.unique(f"{name}~{self._seen[name]}")


def skipped(name: str) -> MemberProblem | None:
    """Why a member of this name is skipped, or None if it is to be read."""
    if any(part.startswith(".") and part != ".." for part in name.split("/")):
        return MemberProblem(name, "is hidden", error=False)
    if kind_of(name) != "file":
        return MemberProblem(name, "is an archive inside an archive; unpack the outer one to have it read", error=False)
    return None
