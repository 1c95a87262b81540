"""Files, folders, glob patterns and archives in; the events of their runs out. With `follow`, waits for more."""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stream_triage.clock import Clock, SystemClock
from stream_triage.files.archives import Archive, open_archive
from stream_triage.files.follow import Follower
from stream_triage.files.listing import Listed, list_files
from stream_triage.files.members import Member, MemberProblem
from stream_triage.files.naming import folder_of, kind_of, natural_key, ordered_parts
from stream_triage.files.plaintext import NotText, text_chunks
from stream_triage.files.run_events import RunEvents
from stream_triage.files.unpack import Damage, ExpansionLimit, Guard, Reader, file_pieces, open_file, reason_of, unpacked
from stream_triage.ports import Handle
from stream_triage.records import Problem, RunEnd
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
    """Why a piece is not read any further, or not at all (`is_text` is false)."""

    reason: str
    error: bool
    is_text: bool = True
    limit: bool = False


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Whether there was a run, and whether it exceeded the expansion limit."""

    run: bool
    limit: bool = False


class FileSource:
    """Reads files, folders, patterns and archives in the order given; with `follow`, for as long as they grow.

    The events of a run come in a row, and each run ends with one `RunEnd`. Problems of the input become `Problem` events;
    they never raise.

    Args:
        paths: Files, folders, glob patterns and archives.
        settings: What a run is, and limits.
        follow: When a run of a growing file ends. Without it, files are read once.
        clock: For `follow`.

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
    ) -> None:
        self._paths = paths
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
            if not files & self._productive:
                handle(Problem(folder, _NO_LOGS))

    def _work(self, files: list[Listed]) -> Iterator[Callable[[Handle], None]]:
        """The units of reading: a file, an archive, or all files of a folder at the position of the first of them."""
        folders: dict[str, list[Listed]] = {}
        if self._settings.run_by == "folder":
            for file in files:
                if kind_of(file.path.name) == "file":
                    folders.setdefault(folder_of(file.shown), []).append(file)
        for file in files:
            if kind_of(file.path.name) != "file" or self._settings.run_by == "file":
                yield partial(self._read_finished, file)
            elif in_folder := folders.pop(folder_of(file.shown), None):
                yield partial(self._read_folder, in_folder)

    def _read_finished(self, file: Listed, handle: Handle) -> None:
        """Reads a file that does not grow: a run, or an archive of runs."""
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
            self._productive.add(file.shown)
            handle(Problem(file.shown, reason_of(error)))
            return
        try:
            read = self._read_member_folders if by_folder else self._read_members
            if not read(archive, file, handle) and file.shown not in self._productive:
                handle(Problem(file.shown, _NO_LOGS))
            self._productive.add(file.shown)
        finally:
            archive.close()

    def _read_members(self, archive: Archive, file: Listed, handle: Handle) -> bool:
        """Reads each member as a run; returns whether there was one."""
        any_run = False
        for member in archive.members():
            if isinstance(member, MemberProblem):
                self._report(file, member, handle)
                continue
            shown = f"{file.shown}!/{member.name}"
            outcome = self._read_run(shown, [_member_piece(shown, "", member)], handle, [file])
            any_run |= outcome.run
            if outcome.limit:
                self._report_unread_rest(file, handle)
                break
        return any_run

    def _read_member_folders(self, archive: Archive, file: Listed, handle: Handle) -> bool:
        """Reads each folder of the archive as a run; returns whether there was one."""
        folders: dict[str, list[tuple[str, Member]]] = {}
        for member in archive.members():
            if isinstance(member, MemberProblem):
                self._report(file, member, handle)
            else:
                folder, name = posixpath.split(member.name)
                folders.setdefault(folder, []).append((name, member))
        any_run = False
        for folder in sorted(folders, key=natural_key):
            ordered = ordered_parts(folders[folder])
            pieces = [_member_piece(f"{file.shown}!/{member.name}", source, member) for source, member in ordered]
            outcome = self._read_run(f"{file.shown}!/{folder}" if folder else file.shown, pieces, handle, [file])
            any_run |= outcome.run
            if outcome.limit:
                self._report_unread_rest(file, handle)
                break
        return any_run

    def _report(self, file: Listed, problem: MemberProblem, handle: Handle) -> None:
        if problem.error:
            self._productive.add(file.shown)
        path = f"{file.shown}!/{problem.name}" if problem.name else file.shown
        handle(Problem(path, problem.reason, error=problem.error))

    def _report_unread_rest(self, file: Listed, handle: Handle) -> None:
        self._report(file, MemberProblem("", "the rest of the archive is not read"), handle)

    def _read_run(self, path: str, pieces: Iterable[_Piece], handle: Handle, files: list[Listed]) -> _Outcome:
        """Reads one run from its pieces."""
        run = RunEvents(path, handle)
        limit = failed = False
        for piece in pieces:
            run.next_piece(piece.source)
            for item in _read_piece(piece, self._settings.encoding):
                if not isinstance(item, _Failure):
                    run.take(item)
                    continue
                limit, failed = item.limit, failed or item.error
                if item.is_text:
                    run.problem(Problem(piece.shown, item.reason, source=piece.source, error=item.error))
                else:
                    handle(Problem(piece.shown, item.reason, error=item.error))
            if limit:
                break
        is_run = run.end()
        if is_run or failed:
            self._productive.update(file.shown for file in files)
        if is_run:
            handle(RunEnd(run.id))
        return _Outcome(is_run, limit)

    def _next_file(self, size: int) -> None:
        self._read_before += self._size_now
        self._read_now, self._size_now = 0, size

    def _count(self, read: int) -> None:
        self._read_now += read


def _read_piece(piece: _Piece, encoding: str) -> Iterator[bytes | _Failure]:
    """The chunks of one piece, and why it ended early. Errors are caught here, so that those of the handler pass."""
    try:
        with piece.open() as reader:
            yield from text_chunks(reader, encoding, piece.live)
    except NotText as error:
        yield _Failure(str(error), error=piece.explicit, is_text=False)
    except Damage as error:
        yield _Failure(str(error), error=True, limit=isinstance(error, ExpansionLimit))
    except OSError as error:
        yield _Failure(f"cannot be read: {reason_of(error)}", error=True)


def _member_piece(shown: str, source: str, member: Member) -> _Piece:
    return _Piece(shown, source, False, lambda: nullcontext(member.open()))
