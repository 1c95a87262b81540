"""Paths in; run ids, source names and the order of reading out."""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple, Self, TypeVar

from stream_triage.render.printable import printable

__all__ = [
    "OpenKey",
    "Part",
    "folder_of",
    "is_packed",
    "kind_of",
    "natural_key",
    "ordered_parts",
    "part_of",
    "shown_name",
    "source_name",
]

_LONGEST_NAME = 1024  # characters; archives may name their members at any length
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_ARCHIVES = (".tar", *(f".tar{packed}" for packed in _PACKED), ".tgz", ".tbz2", ".txz", ".tzst")
_LOG_EXTENSIONS = (".log", ".txt")
_DATE = (
    r"(?:19|20)[0-9]{2}[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[-_.T]?[0-9]{2}[-_.:]?[0-9]{2}(?:[-_.:]?[0-9]{2})?)?"
)
_DATED = re.compile(rf"(.+?)[-_.]({_DATE})", re.DOTALL)
_NUMBERED = re.compile(r"(.+)\.([0-9]{1,5})", re.DOTALL)

T = TypeVar("T")
NaturalKey = tuple[tuple[tuple[int, str, str], ...], ...]


class Part(NamedTuple):
    """A file name taken apart: the file it was rotated from, and its position among the rotated parts (oldest lowest)."""

    stem: str
    order: tuple[bool, str, int, bool]
    rotated: bool


class OpenKey(str):
    """What the events of a finished file carry in place of the run id, which is known when all of the file was read.

    It is the path and `#`. That is unique among the runs that are open at the same time, because the events of such a
    run come in a row. The type tells it from an id that a sender of messages chose.

    >>> OpenKey.of("a/b.log"), OpenKey.of("a/b.log").path
    ('a/b.log#', 'a/b.log')
    """

    __slots__ = ()

    @classmethod
    def of(cls, path: str) -> Self:
        """The key of the run that is read from this path."""
        return cls(f"{shown_name(path)}#")

    @property
    def path(self) -> str:
        """The path, as it is shown."""
        return self[:-1]


def shown_name(text: str) -> str:
    """The name with control characters escaped; the front of a very long name is cut off."""
    text = printable(text).replace("\t", "\\x09")
    return text if len(text) <= _LONGEST_NAME else "…" + text[1 - _LONGEST_NAME :]


def natural_key(path: str) -> NaturalKey:
    """A sort key for paths that orders numbers by value: run2 before run10, folder by folder."""
    return tuple(_component_key(component) for component in path.split("/"))


def _component_key(component: str) -> tuple[tuple[int, str, str], ...]:
    pieces = re.split(r"([0-9]+)", component)
    # Numbers are compared by length, then by digits: a hostile name may have more digits than `int` accepts.
    return tuple(
        (len(piece.lstrip("0")), piece.lstrip("0"), piece) if index % 2 else (-1, piece, "")
        for index, piece in enumerate(pieces)
    )


def folder_of(path: str) -> str:
    """The folder of a shown path, `.` for a bare name."""
    return path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")


def kind_of(name: str) -> Literal["file", "zip", "tar"]:
    """The kind of a file by its name. The content does not count: documents and program packages are zip archives too."""
    lower = name.lower()
    if lower.endswith(".zip"):
        return "zip"
    return "tar" if lower.endswith(_ARCHIVES) else "file"


def is_packed(name: str) -> bool:
    """Whether the name is that of a compressed file, which may be a compressed archive."""
    return name.lower().endswith(_PACKED)


def part_of(name: str) -> Part:
    """Takes a file name apart.

    A higher number is an older part, a later date a newer one, and the file with neither is the newest. `ue.1.log` is not
    a rotated `ue.log`, since testers number their devices in this way.

    >>> [part_of(name).stem for name in ("du.log", "du.log.2.gz", "du-20260101.log", "du.log-20260101.xz", "ue.1.log")]
    ['du.log', 'du.log', 'du.log', 'du.log', 'ue.1.log']
    """
    stem = name
    packed = is_packed(stem)
    if packed:
        stem = stem[: stem.rindex(".")] or stem
    number = 0
    if match := _NUMBERED.fullmatch(stem):
        stem, number = match[1], int(match[2])
    stem, date = _without_date(stem)
    return Part(stem, (not date, date, -number, not packed), bool(number or date))


def _without_date(stem: str) -> tuple[str, str]:
    extension = next((ext for ext in _LOG_EXTENSIONS if stem.lower().endswith(ext)), "")
    kept = stem[len(stem) - len(extension) :] if extension else ""
    match = _DATED.fullmatch(stem[: len(stem) - len(kept)])
    if match is None:
        return stem, ""
    return match[1] + kept, re.sub(r"[^0-9]", "", match[2])


def source_name(stem: str, names: dict[str, str]) -> str:
    """The source name of the parts with this stem, without extension unless another stem has the same short name.

    `names` maps the stems seen so far to their source names; a new stem is added.
    """
    if stem not in names:
        extension = next((ext for ext in _LOG_EXTENSIONS if stem.lower().endswith(ext)), "")
        short = stem[: len(stem) - len(extension)] or stem
        names[stem] = shown_name(stem if short in names.values() else short)
    return names[stem]


def ordered_parts(named: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    """Replaces each file name by its source name; sorted by source, and the parts of a source from oldest to newest."""
    parts = [(part_of(name), name, item) for name, item in named]
    names: dict[str, str] = {}
    for stem in sorted({part.stem for part, _, _ in parts}, key=natural_key):
        source_name(stem, names)
    parts.sort(key=lambda each: (natural_key(names[each[0].stem]), each[0].order, natural_key(each[1])))
    return [(names[part.stem], item) for part, _, item in parts]
