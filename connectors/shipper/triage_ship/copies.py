"""A rotated or compressed file in; whether it is a copy of what was read already out."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .file_status import Identity, Status
from .fingerprint import PACKED, Content, Fingerprint, pieces_of
from .logfile import LogFile

__all__ = ["Copies", "Copy", "content_of", "is_packed"]

_MOST_CONTENTS = 64
_OTHER_PACKED = (".zst", ".lz4", ".zip")


class Copy(NamedTuple):
    """A file that has what was read of another one.

    Attributes:
        of: The file that was read; None if it is gone, and only its content is known.
        length: How many bytes the copy has.
        whole: Whether it could be read to its end. It may still be written.
    """

    of: LogFile | None
    length: int
    whole: bool


class Copies:
    """Remembers what was read under each path, and which files are copies of it.

    A file is compared once, and again when it has changed.
    """

    def __init__(self) -> None:
        self._contents: dict[Path, list[Content]] = {}
        self._compared: dict[tuple[Path, Identity], tuple[tuple[int, int], bool]] = {}

    def remember(self, base: Path, content: Content | None) -> None:
        """Notes what was read under a path and is no longer in an open file."""
        contents = self._contents.setdefault(base, [])
        if content and content not in contents:
            contents.append(content)
            del contents[:-_MOST_CONTENTS]

    def is_copy(self, path: Path, identity: Identity, status: Status) -> bool | None:
        """What the last comparison has found; None if there was none since the file changed."""
        stamp, found = self._compared.get((path, identity), (None, False))
        return found if stamp == (status.size, status.modified) else None

    def compare(self, path: Path, base: Path, identity: Identity, status: Status, files: Iterable[LogFile]) -> Copy | None:
        """Compares a file with others, and with what was read under its path before rotation. Reads all of it."""
        found = self._compare(path, base, files)
        self._compared[path, identity] = ((status.size, status.modified), found is not None)
        return found

    def compare_again(self, folder: Path) -> None:
        """Forgets the comparisons of the files in a folder."""
        self._compared = {copy: found for copy, found in self._compared.items() if copy[0].parent != folder}

    def forget(self, paths: set[Path], bases: set[Path]) -> None:
        """Forgets everything but these files, and what was read under these paths."""
        self._compared = {copy: found for copy, found in self._compared.items() if copy[0] in paths}
        self._contents = {base: contents for base, contents in self._contents.items() if base in bases}

    def _compare(self, path: Path, base: Path, files: Iterable[LogFile]) -> Copy | None:
        if path.suffix.lower() in _OTHER_PACKED:
            return None
        for file in files:
            damaged: list[bool] = []
            pieces = _read_until_damage(path, damaged)
            length = file.seen.length_of_copy(pieces) if file.seen.size else file.length_of_part(pieces)
            if length is not None:
                return Copy(file, length, not damaged)
            if damaged and file.replaced and next(_read_until_damage(path, []), None) is None:
                return Copy(file, 0, False)  # nobody knows yet what it will be
        content = content_of(path) if base in self._contents else None
        return Copy(None, content.size, True) if content and content in self._contents[base] else None


def content_of(path: Path) -> Content | None:
    """Length and checksum of a file, decompressed if it is compressed; None if it is empty."""
    fingerprint = Fingerprint()
    for piece in _read_until_damage(path, []):
        fingerprint.add(piece)
    return fingerprint.content


def is_packed(path: Path) -> bool:
    """Whether the name of a file says that it is compressed."""
    return path.suffix.lower() in PACKED or path.suffix.lower() in _OTHER_PACKED


def _read_until_damage(path: Path, damaged: list[bool]) -> Iterator[bytes]:
    """The bytes of a file up to its end, or up to where it cannot be read; then `damaged` gets an item."""
    try:
        yield from pieces_of(path)
    except (OSError, EOFError):
        damaged.append(True)
