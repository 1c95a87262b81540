"""Files, folders, glob patterns and archives in; the events of their runs out. With `follow`, waits for more."""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import InputError
from stream_triage.files.archives import ArchivedFile, Runs, kind_of_file
from stream_triage.files.follow import Follower
from stream_triage.files.listing import Listed, list_files
from stream_triage.files.naming import folder_of, ordered_parts
from stream_triage.files.plaintext import NotText, text_chunks
from stream_triage.files.run_events import RunEvents
from stream_triage.files.unpack import Damage, Guard, Reader, file_pieces, open_file, reason_of, unpacked
from stream_triage.ports import Handle
from stream_triage.records import Problem
from stream_triage.settings import FollowSettings, InputSettings

__all__ = ["FileSource"]

_NO_LOGS = "contains no logs"


@dataclass(frozen=True, slots=True)
class _Piece:
    """One file or archive member of a run."""

    shown: str
    source: str
    explicit: bool
    open: Callable[[], AbstractContextManager[Reader]]
    live: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a piece is not read any further, or not at all. What was passed over, because it is no log, is none of the run."""

    reason: str
    error: bool
    passed_over: bool = False


class FileSource:
    """Reads files, folders, patterns and archives in the order given; with `follow`, for as long as they grow.

    The events of a run come in a row, and each run ends with one `RunEnd`. Problems of the input become `Problem` events;
    they never raise.

    Args:
        paths: Files, folders, glob patterns and archives.
        settings: What a run is, and limits.
        follow: When a run of a growing file ends. Without it, files are read once.
        clock: For `follow`.
        run_id: Id of the only run; empty to have ids made. Not with `follow`.

    Attributes:
        total_bytes: Size on disk of all files, once they are listed; None while it is not known, or for pipes.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        settings: InputSettings,
        *,
        follow: FollowSettings | None = None,
        clock: Clock | None = None,
        run_id: str = "",
    ) -> None:
        self._paths = paths
        self._run_id = run_id
        self._settings = settings
        self._follow = Follower(paths, settings, follow, clock or SystemClock(), self._read_finished) if follow else None
        self._productive: set[str] = set()  # files that contained a run or an error
        self._read_before = 0
        self._read_now = 0
        self._size_now = 0
        self.total_bytes: int | None = None

    @property
    def read_bytes(self) -> int:
        """Bytes on disk that were read so far. Reaches `total_bytes` at the end."""
        return self._read_before + min(self._read_now, self._size_now)

    def run(self, handle: Handle) -> None:
        """Reads everything, or follows until interrupted.

        Raises:
            InputError: A run id was given and there is more than one run; nothing was read.
        """
        if self._follow:
            self._follow.run(handle)
            return
        listing = list_files(self._paths, self._settings.passes_over)
        if not any(file.stream for file in listing.files):
            self.total_bytes = sum(file.size for file in listing.files)
        for problem in listing.problems:
            handle(problem)
        work = list(self._work(listing.files))
        if self._run_id:
            self._check_one_run(listing.files, len(work))
        for read in work:
            read(handle)
        self._next_file(0)
        for folder, files in listing.under.items():
            if not files & self._productive:
                handle(Problem(folder, _NO_LOGS))

    def _work(self, files: list[Listed]) -> Iterator[Callable[[Handle], None]]:
        """The units of reading: a file, an archive, or all files of a folder at the position of the first of them."""
        if self._settings.run_by == "file":
            yield from (partial(self._read_finished, file) for file in files)
            return
        archives = {file for file in files if self._is_archive(file)}
        folders: dict[str, list[Listed]] = {}
        for file in files:
            if file not in archives:
                folders.setdefault(folder_of(file.shown), []).append(file)
        for file in files:
            if file in archives:
                yield partial(self._read_archive, file)
            elif in_folder := folders.pop(folder_of(file.shown), None):
                yield partial(self._read_folder, in_folder)

    def _check_one_run(self, files: list[Listed], units: int) -> None:
        if units > 1:
            other = f", among them {files[0].shown} and {files[-1].shown}"
            raise InputError(
                f"the run id {self._run_id!r} is for one run, and there are {units}{other}; "
                "name one file, or one folder with --run-by folder"
            )
        if files and self._is_archive(files[0]):
            raise InputError(
                f"the run id {self._run_id!r} is for one run, and an archive may have several; unpack {files[0].shown}"
            )

    def _read_finished(self, file: Listed, handle: Handle) -> None:
        """Reads a file that does not grow: a run, or an archive of runs."""
        if self._is_archive(file):
            self._read_archive(file, handle)
        else:
            self._read_run(file.shown, [self._piece(file, "")], handle, [file])

    def _is_archive(self, file: Listed) -> bool:
        return not file.stream and kind_of_file(file.path, file.size, self._settings) != "file"

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
        try:
            runs = Runs(file.path, file.shown, file.size, self._settings, self._count)
        except (Damage, OSError) as error:
            self._productive.add(file.shown)
            handle(Problem(file.shown, reason_of(error)))
            return
        any_run = False
        with closing(runs):
            for each in runs:
                if isinstance(each, Problem):
                    any_run |= each.error
                    handle(each)
                else:
                    any_run |= self._read_run(each.path, map(_archived_piece, each.files), handle, [file])
        if not any_run and file.shown not in self._productive:
            handle(Problem(file.shown, _NO_LOGS))
        self._productive.add(file.shown)

    def _read_run(self, path: str, pieces: Iterable[_Piece], handle: Handle, files: list[Listed]) -> bool:
        """Reads one run from its pieces; returns whether there was one."""
        run = RunEvents(path, handle, pipe=any(file.stream for file in files), run_id=self._run_id)
        failed = False
        for piece in pieces:
            run.next_piece(piece.source)
            for item in _read_piece(piece, self._settings.encoding):
                if not isinstance(item, _Failure):
                    run.take(item)
                    continue
                failed |= item.error
                if item.passed_over:
                    handle(Problem(piece.shown, item.reason, error=item.error))
                else:
                    run.problem(Problem(piece.shown, item.reason, source=piece.source, error=item.error))
        is_run = run.end()
        if is_run or failed:
            self._productive.update(file.shown for file in files)
        return is_run

    def _next_file(self, size: int) -> None:
        self._read_before += self._size_now
        self._read_now, self._size_now = 0, size

    def _count(self, read: int) -> None:
        self._read_now += read


def _read_piece(piece: _Piece, encoding: str) -> Iterator[bytes | _Failure]:
    """The chunks of one piece, and why it ended early. Errors are caught here, so that those of the handler pass."""
    try:
        with piece.open() as reader:
            yield from text_chunks(reader, encoding, piece.live, piece.shown)
    except NotText as error:
        yield _Failure(str(error), error=piece.explicit or not error.no_log, passed_over=error.no_log)
    except Damage as error:
        yield _Failure(str(error), error=True)
    except OSError as error:
        yield _Failure(f"cannot be read: {reason_of(error)}", error=True)


def _archived_piece(file: ArchivedFile) -> _Piece:
    return _Piece(file.shown, file.source, False, lambda: nullcontext(file.open()))
