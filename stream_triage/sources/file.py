"""Paths in; the chunks of their runs out. Reads what is finished: files, folders, archives; `follow` waits for more."""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from stream_triage.clock import Clock, SystemClock
from stream_triage.files.archives import Archive, Entry, Trouble, open_archive
from stream_triage.files.follow import Follower
from stream_triage.files.listing import Listed, list_files
from stream_triage.files.naming import ID_BYTES, folder_of, kind_of, natural_key, ordered_parts, run_id
from stream_triage.files.plaintext import NotText, text_chunks
from stream_triage.files.unpack import Damage, Guard, Reader, Refused, file_pieces, open_file, reason_of, unpacked
from stream_triage.ports import Handle
from stream_triage.records import Chunk, Problem, RunEnd
from stream_triage.settings import FollowSettings, InputSettings

__all__ = ["FileSource", "run_id"]


@dataclass(frozen=True, slots=True)
class _Piece:
    """One file or archive member of a run."""

    shown: str
    source: str
    explicit: bool
    open: Callable[[], AbstractContextManager[Reader]]
    live: bool = False


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a piece is read no further."""

    reason: str
    error: bool
    readable: bool = True
    refused: bool = False


@dataclass(frozen=True, slots=True)
class _Result:
    run: bool
    refused: bool = False


class FileSource:
    """Files, folders, patterns and archives, in the order given; with `follow`, for as long as they grow.

    A run's events come in a row; each run ends with one `RunEnd`. Nothing that is wrong with the input raises.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        settings: InputSettings,
        *,
        follow: FollowSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._follow = Follower(paths, settings, follow, clock or SystemClock(), self._read_found) if follow else None
        self._fruitful: set[str] = set()  # files that gave a run or an error
        self._read_before = 0
        self._read_now = 0
        self._size_now = 0
        self.total_bytes: int | None = None

    @property
    def read_bytes(self) -> int:
        """Bytes read so far as they lie on disk; reaches `total_bytes`, which is known once the files are listed."""
        return self._read_before + min(self._read_now, self._size_now)

    def run(self, handle: Handle) -> None:
        """Reads everything, or follows until interrupted."""
        if self._follow:
            self._follow.run(handle)
            return
        listing = list_files(self._paths)
        if not any(file.stream for file in listing.files):
            self.total_bytes = sum(file.size for file in listing.files)
        for problem in listing.problems:
            handle(problem)
        for work in self._work(listing.files):
            work(handle)
        self._next_file(0)
        for folder, files in listing.under.items():
            if not files & self._fruitful:
                handle(Problem(folder, "holds no logs"))

    def _work(self, files: list[Listed]) -> Iterator[Callable[[Handle], None]]:
        """What is read in one go: a file, an archive or all files of a folder, where the first of them was found."""
        folders: dict[str, list[Listed]] = {}
        if self._settings.run_by == "folder":
            for file in files:
                if kind_of(file.path.name) == "file":
                    folders.setdefault(folder_of(file.shown), []).append(file)
        for file in files:
            if kind_of(file.path.name) != "file" or self._settings.run_by == "file":
                yield partial(self._read_found, file)
            elif found := folders.pop(folder_of(file.shown), None):
                yield partial(self._read_folder, found)

    def _read_found(self, file: Listed, handle: Handle) -> None:
        """One finished file: a run, or an archive of runs."""
        if kind_of(file.path.name) != "file":
            self._read_archive(file, handle)
        else:
            self._read_run(file.shown, [self._piece(file, "")], handle, [file])

    def _read_folder(self, files: list[Listed], handle: Handle) -> None:
        ordered = ordered_parts([(posixpath.basename(file.shown), file) for file in files])
        pieces = [self._piece(file, source) for source, file in ordered]
        self._read_run(folder_of(files[0].shown), pieces, handle, files)

    def _piece(self, file: Listed, source: str) -> _Piece:
        @contextmanager
        def opened() -> Iterator[Reader]:
            self._next_file(file.size)
            if file.stream:
                with open(file.path, "rb", buffering=0) as pipe:
                    guard = Guard(self._settings)
                    yield unpacked(Reader(guard.growing(file_pieces(pipe, self._count))), file.path.name, guard)
            else:
                with open_file(file.path, file.size, self._settings, self._count) as reader:
                    yield reader

        return _Piece(file.shown, source, file.explicit, opened, file.stream)

    def _read_archive(self, file: Listed, handle: Handle) -> None:
        self._next_file(file.size)
        by_folder = self._settings.run_by == "folder"
        try:
            archive = open_archive(file.path, file.size, self._settings, self._count, any_order=by_folder)
        except (Damage, OSError) as error:
            self._fruitful.add(file.shown)
            handle(Problem(file.shown, reason_of(error)))
            return
        try:
            read = self._read_folders if by_folder else self._read_entries
            if not read(archive, file, handle) and file.shown not in self._fruitful:
                handle(Problem(file.shown, "holds no logs"))
            self._fruitful.add(file.shown)
        finally:
            archive.close()

    def _read_entries(self, archive: Archive, file: Listed, handle: Handle) -> bool:
        found = False
        for entry in archive.entries():
            if isinstance(entry, Trouble):
                self._report(file, entry, handle)
                continue
            shown = f"{file.shown}!/{entry.name}"
            result = self._read_run(shown, [_member(shown, "", entry)], handle, [file])
            found |= result.run
            if result.refused:
                self._report(file, Trouble("", "the rest of the archive is not read"), handle)
                break
        return found

    def _read_folders(self, archive: Archive, file: Listed, handle: Handle) -> bool:
        folders: dict[str, list[tuple[str, Entry]]] = {}
        for entry in archive.entries():
            if isinstance(entry, Trouble):
                self._report(file, entry, handle)
            else:
                folder, name = posixpath.split(entry.name)
                folders.setdefault(folder, []).append((name, entry))
        found = False
        for folder in sorted(folders, key=natural_key):
            ordered = ordered_parts(folders[folder])
            pieces = [_member(f"{file.shown}!/{entry.name}", source, entry) for source, entry in ordered]
            result = self._read_run(f"{file.shown}!/{folder}" if folder else file.shown, pieces, handle, [file])
            found |= result.run
            if result.refused:
                self._report(file, Trouble("", "the rest of the archive is not read"), handle)
                break
        return found

    def _report(self, file: Listed, trouble: Trouble, handle: Handle) -> None:
        if trouble.error:
            self._fruitful.add(file.shown)
        path = f"{file.shown}!/{trouble.name}" if trouble.name else file.shown
        handle(Problem(path, trouble.reason, error=trouble.error))

    def _read_run(self, path: str, pieces: Iterable[_Piece], handle: Handle, files: list[Listed]) -> _Result:
        """Pushes one run."""
        run = _Run(path, handle)
        refused = failed = False
        for piece in pieces:
            run.next_piece(piece.source)
            for outcome in _outcomes(piece):
                if isinstance(outcome, _Failed):
                    refused, failed = outcome.refused, failed or outcome.error
                    if not outcome.readable:
                        handle(Problem(piece.shown, outcome.reason, error=outcome.error))
                        continue
                    run.trouble(Problem(piece.shown, outcome.reason, source=piece.source, error=outcome.error))
                else:
                    run.give(outcome)
            if refused:
                break
        is_run = run.end()
        if is_run or failed:
            self._fruitful.update(file.shown for file in files)
        if is_run:
            handle(RunEnd(run.id))
        return _Result(is_run, refused)

    def _next_file(self, size: int) -> None:
        self._read_before += self._size_now
        self._read_now, self._size_now = 0, size

    def _count(self, read: int) -> None:
        self._read_now += read


class _Run:
    """The events of one run, which wait until its id can be made: from the first 4 KiB of the first source with text.

    The parts of a source are joined; where one does not end with a line end, it gets one.
    """

    def __init__(self, path: str, handle: Handle) -> None:
        self.id = ""
        self._path, self._handle = path, handle
        self._waiting: list[Chunk | Problem] = []
        self._beginning = b""
        self._source = ""
        self._last = b""  # byte of the source's text so far
        self._within = False  # a part that gave text

    def next_piece(self, source: str) -> None:
        if source != self._source:
            if self._beginning:
                self._name()
            self._last = b""
        self._source = source
        self._within = False

    def give(self, text: bytes) -> None:
        if text:
            if not self._within and self._last not in (b"", b"\r", b"\n"):
                self._push_text(b"\n")
            self._within, self._last = True, text[-1:]
        self._push_text(text)

    def trouble(self, problem: Problem) -> None:
        self._push(problem)

    def end(self) -> bool:
        """Whether there was a run. Gives what still waits; the end of the run is left to the caller."""
        if any(isinstance(event, Chunk) for event in self._waiting):
            self._name()
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            if isinstance(event, Problem):
                self._handle(replace(event, source=""))
        return bool(self.id)

    def _push_text(self, text: bytes) -> None:
        self._push(Chunk(self.id, text, self._source))
        if not self.id:
            self._beginning += text
            if len(self._beginning) >= ID_BYTES:
                self._name()

    def _push(self, event: Chunk | Problem) -> None:
        if self.id:
            self._handle(replace(event, run_id=self.id))
        else:
            self._waiting.append(event)

    def _name(self) -> None:
        self.id = self.id or run_id(self._path, self._beginning)
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._push(event)


def _outcomes(piece: _Piece) -> Iterator[bytes | _Failed]:
    """Reads one piece. Catches here, around the reading alone, so that a handler's own errors pass untouched."""
    try:
        with piece.open() as reader:
            yield from text_chunks(reader, piece.live)
    except NotText as error:
        yield _Failed(str(error), error=piece.explicit, readable=False)
    except Damage as error:
        yield _Failed(str(error), error=True, refused=isinstance(error, Refused))
    except OSError as error:
        yield _Failed(f"cannot be read: {reason_of(error)}", error=True)


def _member(shown: str, source: str, entry: Entry) -> _Piece:
    return _Piece(shown, source, False, lambda: nullcontext(entry.open()))
