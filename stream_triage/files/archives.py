"""A .zip or .tar.* file in; the runs in it out, and problems. Archives in archives are read like folders.

Nothing is written to disk under the name of a member: an archive inside an archive is copied to a temporary file without a
name. One limit holds for all that is unpacked from a file, in all levels together.
"""

import posixpath
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from stream_triage.files.kinds import HEAD_BYTES, archive_kind
from stream_triage.files.listing import PASSED_OVER
from stream_triage.files.members import Member, MemberProblem
from stream_triage.files.naming import kind_of, natural_key, ordered_parts
from stream_triage.files.tar_archive import DiskTape, StreamTape, TarArchive
from stream_triage.files.unpack import Count, Damage, Guard, Reader, file_pieces, reason_of, unpacked
from stream_triage.files.zip_archive import ZipArchive
from stream_triage.records import Problem
from stream_triage.settings import InputSettings

__all__ = ["MAX_LEVELS", "ArchivedFile", "ArchivedRun", "Runs", "kind_of_file"]

MAX_LEVELS: Final = 8
"""An archive that lies in so many others is not read any more. Archives exist that contain themselves."""
_MEMORY_BYTES: Final = 1024 * 1024
"""A copy of an archive that is larger than this is on disk."""

ArchiveKind = Literal["zip", "tar"]


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One member of a run: its path as it is shown, its source, and how to open it."""

    shown: str
    source: str
    open: Callable[[], Reader]


@dataclass(frozen=True, slots=True)
class ArchivedRun:
    """One run of an archive."""

    path: str
    files: list[ArchivedFile]


class _Archive(Protocol):
    """An open archive."""

    def members(self) -> Iterator[Member | MemberProblem]:
        """The members and problems. Never raises."""

    def close(self) -> None:
        """Closes the files."""


def kind_of_file(path: Path, size: int, settings: InputSettings) -> Literal["file", "zip", "tar"]:
    """The kind of a file on disk: by its content, unpacked, or else by its name. Raises nothing."""
    try:
        with open(path, "rb", buffering=0) as file:
            reader = unpacked(Reader(file_pieces(file, lambda _: None)), path.name, Guard(settings, size))
            return archive_kind(reader.peek(HEAD_BYTES), path.name) or kind_of(path.name)
    except (OSError, Damage):
        return kind_of(path.name)


class Runs:
    """The runs of one archive and the problems with it; each run must be read before the next one is asked for.

    Args:
        path: The archive.
        shown: Its path, as it is shown.
        size: Its size in bytes, which bounds what may be unpacked from it.
        settings: What a run is, and the limits.
        count: Called with the bytes that were read.

    Raises:
        Damage: If the file is not an archive.
        OSError: If it cannot be opened.
    """

    def __init__(self, path: Path, shown: str, size: int, settings: InputSettings, count: Count) -> None:
        self._path, self._shown, self._size, self._settings, self._count = path, shown, size, settings, count
        self._by_folder = settings.run_by == "folder"
        self._guard = Guard(settings, size)
        self._archive = self._opened()

    def __iter__(self) -> Iterator[ArchivedRun | Problem]:
        """The runs and problems. Raises nothing."""
        yield from self._runs(self._archive, self._shown, 1)
        if self._guard.exceeded:
            yield Problem(self._shown, "the rest of the archive is not read")

    def close(self) -> None:
        """Closes the files."""
        self._archive.close()

    def _opened(self) -> _Archive:
        files = ExitStack()
        try:
            file = files.enter_context(open(self._path, "rb", buffering=0))  # noqa: SIM115  # closed with the archive
            packed = Reader(file_pieces(file, self._count))
            reader = unpacked(packed, self._path.name, self._guard)
            kind = archive_kind(reader.peek(HEAD_BYTES), self._path.name) or kind_of(self._path.name)
            if kind == "tar" and reader is not packed and not self._by_folder:
                return TarArchive(StreamTape(reader), self._guard, lambda: self._second_copy(files), files)
            # The parts of a log are not in the order in which they are read, nor is the directory of a zip archive.
            tape = DiskTape(file, count=self._count) if reader is packed else _copy(reader, files)
            return self._opened_at(kind, tape, files)
        except BaseException:
            files.close()
            raise

    def _opened_at(self, kind: str, tape: DiskTape, files: ExitStack) -> _Archive:
        if kind == "tar":
            return TarArchive(tape, self._guard, None, files)
        if tape.damage:
            raise tape.damage  # the directory of a zip archive is at its end
        return ZipArchive(tape.file, self._guard, tape.count, files)

    def _second_copy(self, files: ExitStack) -> DiskTape:
        """Unpacks the archive once more, into a file. Only archives with links need that."""
        with open(self._path, "rb", buffering=0) as file:
            packed = Reader(file_pieces(file, lambda _: None))
            return _copy(unpacked(packed, self._path.name, self._guard.beside(self._size)), files)

    def _runs(self, archive: _Archive, shown: str, level: int) -> Iterator[ArchivedRun | Problem]:
        exceeded_before = self._guard.exceeded  # while the archive was copied: what the copy has is still read
        read = self._runs_by_folder if self._by_folder else self._runs_by_file
        for each in read(archive, shown, level):
            yield each
            if self._guard.exceeded and not exceeded_before:
                return

    def _members(self, archive: _Archive) -> Iterator[Member | MemberProblem]:
        """The members that are to be read, and the problems."""
        for member in archive.members():
            if isinstance(member, Member) and self._settings.passes_over(posixpath.basename(member.name)):
                yield MemberProblem(member.name, PASSED_OVER, error=False)
            else:
                yield member

    def _runs_by_file(self, archive: _Archive, shown: str, level: int) -> Iterator[ArchivedRun | Problem]:
        for member in self._members(archive):
            if isinstance(member, MemberProblem):
                yield _problem(shown, member)
                continue
            path, reader = f"{shown}!/{member.name}", member.open()
            if kind := _kind_of_member(member, reader):
                yield from self._nested(kind, reader, path, level + 1)
            else:
                yield ArchivedRun(path, [ArchivedFile(path, "", lambda reader=reader: reader)])  # type: ignore[misc]

    def _runs_by_folder(self, archive: _Archive, shown: str, level: int) -> Iterator[ArchivedRun | Problem]:
        folders: dict[str, list[tuple[str, Member]]] = {}
        nested: list[tuple[ArchiveKind, Member]] = []
        for member in self._members(archive):
            if isinstance(member, MemberProblem):
                yield _problem(shown, member)
            elif kind := _kind_of_member(member, member.open()):
                nested.append((kind, member))
            else:
                folder, name = posixpath.split(member.name)
                folders.setdefault(folder, []).append((name, member))
        for folder in sorted(folders, key=natural_key):
            parts = [
                ArchivedFile(f"{shown}!/{member.name}", source, member.open)
                for source, member in ordered_parts(folders[folder])
            ]
            yield ArchivedRun(f"{shown}!/{folder}" if folder else shown, parts)
        for kind, member in nested:
            yield from self._nested(kind, member.open(), f"{shown}!/{member.name}", level + 1)

    def _nested(self, kind: ArchiveKind, reader: Reader, shown: str, level: int) -> Iterator[ArchivedRun | Problem]:
        """The runs of an archive in an archive."""
        if level > MAX_LEVELS:
            yield Problem(shown, f"lies in {MAX_LEVELS} archives, and no more are opened; unpack the outer ones")
            return
        files = ExitStack()
        try:
            archive = self._opened_at(kind, _copy(reader, files), files)
        except Damage as damage:
            files.close()
            yield Problem(shown, str(damage))
            return
        try:
            yield from self._runs(archive, shown, level)
        finally:
            archive.close()


def _kind_of_member(member: Member, reader: Reader) -> ArchiveKind | Literal[""]:
    kind = kind_of(member.name)
    return archive_kind(reader.peek(HEAD_BYTES), member.name) or ("" if kind == "file" else kind)


def _copy(reader: Reader, files: ExitStack) -> DiskTape:
    """Copies what can be read to a temporary file. Raises `Damage` if there is no room for it."""
    file = files.enter_context(tempfile.SpooledTemporaryFile(_MEMORY_BYTES))  # noqa: SIM115  # closed with the archive
    damage: Damage | None = None
    try:
        for piece in reader.pieces():
            file.write(piece)
    except Damage as error:
        damage = error
    except OSError as error:
        raise Damage(f"cannot be unpacked to a temporary file: {reason_of(error)}; free space, or set TMPDIR") from None
    return DiskTape(file, damage)


def _problem(shown: str, problem: MemberProblem) -> Problem:
    return Problem(f"{shown}!/{problem.name}" if problem.name else shown, problem.reason, error=problem.error)
