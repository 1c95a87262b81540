"""Log files that grow, are renamed, replaced and truncated go in; chunks of what is new come out, once and in order.

`Reader` knows what happened to each file. Here is decided to which run a file belongs, and when a run ends. The files that
were at one path one after another (`log`, `log.1`, `log-20261125`) are its generations. If they belong to one run, they are
read oldest first, and the next one only when the one before is complete: otherwise late lines of the old file would come
after the first lines of the new one.
"""

import contextlib
import fcntl
import glob
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from triage_ship.file_status import birth_time, status_of
from triage_ship.fingerprint import Content
from triage_ship.passed_over import HEAD_BYTES, reason_to_pass_over
from triage_ship.paths import LogPaths
from triage_ship.reader import LogFile, Reader, Remembered, Report
from triage_ship.runs import FollowOptions, Position, Runs, Source

__all__ = ["Chunk", "Files", "FollowOptions", "Position"]

_MOST_PAST = 16
_MOST_CONTENTS = 5  # of one file, in one turn


@dataclass(frozen=True)
class Chunk:
    """Lines of one source of a run, or its end.

    Attributes:
        key: The run id, which becomes the key of the message.
        source: Name of the source.
        headers: Headers of the run.
        text: Whole lines, unless a line is longer than a chunk. Usually empty if `end` is set.
        end: Whether this is the end of the source.
        file: The position in the file after this chunk; None if the source is not a file.
    """

    key: str
    source: str
    headers: dict[str, str]
    text: bytes
    end: bool
    file: Position | None


class Files:
    """Follows files. `scan` looks for new and renamed ones, `read` yields what is new in all of them.

    Args:
        options: Which files are read, and how they form runs.
        positions: The positions that the spool remembers, by file identity. Only read here: the shipper updates it when
            a chunk is stored, so that it never contains a position whose chunk could be lost.
        on_problem: Called with a message for each problem, once for the same message.
    """

    def __init__(self, options: FollowOptions, positions: dict[str, Position], on_problem: Callable[[str], None]) -> None:
        self._options, self._positions, self._on_problem = options, positions, on_problem
        self._reader = Reader(self._report, self._remembered, self._lock, most_open=1 << 30)
        self._sources: list[Source] = []
        self._reported: set[str] = set()
        self._paths, self._runs = LogPaths(options.paths, positions), Runs(options)
        self._past: dict[str, list[list[int]]] = {}  # what was read and is no longer in its file, by path before rotation
        self._order: dict[Path, int] = {}
        self._scans = 0
        self._unresolved: list[LogFile] = []  # contents whose copies the latest scan has looked for
        for position in positions.values():
            self._know(position)

    @property
    def finished(self) -> bool:
        """Whether everything was read to its end; only ever true with the option `once`."""
        return self._options.once and not self._sources

    def scan(self, now: float) -> None:
        """Looks for files, and opens those that are new."""
        entries = list(self._paths.list())
        self._scans += 1
        self._order = {path: index for index, (path, _) in enumerate(entries)}
        if self._scans == 1:
            self._restore_missing(entries, now)
        self._unresolved = list(self._reader.unresolved)
        found = self._reader.scan(entries, now)
        for path in found.packed:
            self._report_once(f"{path} is compressed and skipped; `stream-triage run` reads such files")
        for log in found.files:
            self._start(log)
        for log in found.changed:
            log.complete, log.grown_at = False, now
            position = self._positions.get(_id(log))
            self._add(log, position and {**position, "done": True})
        self._sort()

    def read(self, now: float) -> Iterator[Chunk]:
        """Yields what is new in all open files, then the ends of the runs that are over.

        Each chunk must be stored before the next one is asked for: the position in the file moves with it.
        """
        for _ in range(_MOST_CONTENTS):
            sources = list(self._sources)
            yield from self._read_all(now)
            if not all(log in self._unresolved for log in self._reader.unresolved):
                self.scan(now)  # a file was overwritten: perhaps there is a copy of what was not read
            elif all(source in sources for source in self._sources):
                break
        growing = {source.key for source in self._sources if not self._is_over(source, now)}
        ending = [source for source in self._sources if source.key not in growing]
        growing = {source.key for source in ending if not self._reader.verify(source.log, now)}
        yield from self._end([source for source in ending if source.key not in growing])
        self._reader.limit_open()

    def read_again(self, file: Position | None, length: int, checksum: int) -> bytes | None:
        """The text of a chunk that ends at this position, from its file or a later generation; None if it is gone."""
        if file is None:
            return None
        base = Path(file["base"])
        for path in base.parent.glob(f"{glob.escape(base.name)}*"):
            with contextlib.suppress(OSError), path.open("rb") as log:
                log.seek(file["offset"] - length)
                text = log.read(length)
                if zlib.crc32(text) == checksum:
                    return text
        return None

    def close(self) -> None:
        """Closes all files. What was read and not yielded is read again by the next start."""
        self._reader.close()

    def _sort(self) -> None:
        """Sorts by the first sight; what was seen at the same time, from the oldest to the newest generation."""
        for source in self._sources:
            if not source.log.gone and not source.log.seen.size:  # whatever appears beside it is older
                source.rank = (self._scans, len(self._order))
        self._sources.sort(key=lambda source: source.rank)

    def _know(self, position: Position) -> None:
        """Takes from a remembered position what concerns other files."""
        base = Path(position["base"])
        if "crc" in position:
            self._reader.remember_content(base, Content(position["offset"], position["crc"]))
        for size, checksum in position.get("past", ()):
            self._reader.remember_content(base, Content(size, checksum))
            self._add_past(position["base"], Content(size, checksum))
        if position["done"]:
            self._runs.note_end(position)

    def _add_past(self, base: str, *contents: Content | None) -> None:
        past = self._past.setdefault(base, [])
        past += [list(content) for content in contents if content and list(content) not in past]
        del past[:-_MOST_PAST]

    def _remembered(self, key: tuple[int, int]) -> Remembered | None:
        position = self._positions.get(f"{key[0]}:{key[1]}")
        if position is None:
            return None
        birth, modified, generation = (
            position.get(name, value) for name, value in (("birth", 0), ("modified", 0), ("gen", 1))
        )
        return Remembered(position, Path(position["base"]), birth, modified, generation)

    def _restore_missing(self, entries: list[tuple[Path, Path]], now: float) -> None:
        """Continues the files that were not read to their end and are gone. Copies of them may have the rest."""
        present: dict[tuple[int, int], Path] = {}
        for path, _ in entries:
            with contextlib.suppress(OSError):
                present[status_of(path)[:2]] = path
        last = {position["base"]: name for name, position in self._positions.items()}
        for name, position in self._positions.items():
            # Generations of one run are read one after the other, so those before the last one were complete.
            complete = position["done"] or not (position.get("token") or last[position["base"]] == name)
            if complete or not self._paths.includes(Path(position["base"])):
                continue
            device, _, inode = name.partition(":")
            key = (int(device), int(inode))
            remembered = self._remembered(key)
            if remembered and (key not in present or _is_other(present[key], remembered)):
                self._add(self._reader.restore(key, remembered, now), position)

    def _start(self, log: LogFile) -> None:
        """Decides what a file is that appeared, or that appeared for the first time since the start."""
        head = b"" if log.descriptor is None else os.pread(log.descriptor, HEAD_BYTES, 0)
        if reason := reason_to_pass_over(log.path, head):
            self._report_once(f"{log.path} {reason} and is skipped")
            log.ended = log.complete = True
            return
        position = self._positions.get(_id(log))
        if position and not log.resumed:  # another file had the inode
            self._add_past(position["base"], Content(position["offset"], position["crc"]) if position.get("crc") else None)
            position = None
        if position and position["done"] and not log.replaced and not log.unread():
            log.complete = True
        else:
            self._add(log, position)

    def _add(self, log: LogFile, position: Position | None) -> Source:
        """Begins to read a file, as a part of the run of its position or of another one."""
        source = self._runs.source(log, position)
        source.rank = (self._scans, -1 if log.deleted else self._order.get(log.path, -1))
        self._paths.bases.add(str(log.base))
        self._sources.append(source)
        return source

    def _lock(self, descriptor: int, path: Path) -> bool:
        """Whether no other shipper reads the file. Two would send its lines twice, possibly under two run ids."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._report_once(
                f"{path} is read by another triage-ship and skipped; stop one of them or give them other paths"
            )
            return False
        return True

    def _read_all(self, now: float) -> Iterator[Chunk]:
        waiting: set[Path] = set()
        for source in list(self._sources):
            if source.log.base not in waiting:
                yield from self._read(source, now)
            if not source.is_own_run and (source in self._sources or source.log.successor):
                waiting.add(source.log.base)  # the next generation continues the run, so it waits for the end of this one

    def _read(self, source: Source, now: float) -> Iterator[Chunk]:
        """Yields what is new in one file."""
        log, cutter, once = source.log, source.cutter, self._options.once
        try:
            position, data = self._reader.read(log, now, patient=not once)
        except OSError as error:
            self._report_once(f"{log.path} cannot be read: {error.strerror}; trying again")
            return
        gap = position - source.sent.size - cutter.held
        if data and gap:
            yield from self._rest(source, ends_line=True)
            source.sent.skip(gap)
        chunks = cutter.add(data, now) if data else []
        if due := cutter.due(now, 0.0 if once and not data else self._options.linger_seconds):
            chunks.append(due)
        for chunk in chunks:
            yield self._chunk(source, chunk)
        if log.ended:
            yield from self._next_content(source)
        elif not source.is_own_run and log.gone and self._is_complete(source, now) and self._reader.verify(log, now):
            yield from self._rest(source, ends_line=True)
            self._remove(source)  # without an end: the next generation continues the run

    def _next_content(self, source: Source) -> Iterator[Chunk]:
        """Continues with the next content of a file that was truncated or overwritten."""
        log, origin = source.log, source.origin
        yield from self._rest(source, ends_line=not source.is_own_run)
        if source.is_own_run:
            if source.began:
                yield self._chunk(source, b"", end=True)
        elif source.began and not log.copy and self._runs.is_named_by_folder(log.base):
            yield from self._end([other for other in self._sources if other.key == source.key])
        self._remove(source)
        if log.successor:
            self._add_past(origin["base"], log.seen.content, log.copy)
            following = self._add(log.successor, {**origin, "done": source.is_own_run})
            if log.successor.gone:  # otherwise it is the newest generation
                following.rank = source.rank
            self._sort()

    def _end(self, sources: list[Source]) -> Iterator[Chunk]:
        """Yields the ends of all sources of runs that are over.

        The worker ends a run when all sources that it has seen have ended. So it must see all of them, empty files
        included, before the first one ends; otherwise it would judge a part of the run.
        """
        for source in sources:
            yield from self._rest(source)
        names: dict[str, set[str]] = {}
        for source in sources:
            names.setdefault(source.key, set()).add(source.origin["source"])
        for source in sorted(sources, key=lambda source: source.sent.size > 0):
            yield self._chunk(source, b"", end=True, source_count=len(names[source.key]))
            source.began = False
        for source in sources:
            self._runs.note_end(source.origin)
            if not source.is_own_run:
                source.origin["turn"] += 1
            if not source.log.replaced:  # otherwise its next content follows
                self._remove(source)

    def _rest(self, source: Source, *, ends_line: bool = False) -> Iterator[Chunk]:
        """Yields what waits for the end of its line. If that will not come but others will, the line ends there."""
        if rest := source.cutter.rest():
            yield self._chunk(source, rest, line_end=b"\n" if ends_line and not rest.endswith(b"\n") else b"")

    def _remove(self, source: Source) -> None:
        """A test farm leaves thousands of files, and each open one takes a descriptor. One that grows is opened again."""
        self._sources.remove(source)
        source.log.complete = True

    def _is_over(self, source: Source, now: float) -> bool:
        """Whether everything was read and the file is not expected to grow."""
        log, idle_end = source.log, self._options.idle_end_seconds
        if log.replaced or log.unread():
            return False
        if log.gone:
            return source.is_own_run and self._is_complete(source, now)
        if self._options.once:
            return True
        return idle_end is not None and now - log.grown_at >= idle_end

    def _is_complete(self, source: Source, now: float) -> bool:
        """Whether a renamed or deleted file was read, and has not grown for so long that its writer must have closed it."""
        quiet = self._options.once or now - source.log.grown_at >= self._options.rotate_wait_seconds
        return quiet and not source.log.replaced and not source.log.unread()

    def _chunk(
        self, source: Source, text: bytes, *, line_end: bytes = b"", end: bool = False, source_count: int = 1
    ) -> Chunk:
        """Makes a chunk and moves the position of the file to its end.

        The end says how many sources the run has, so that the worker need not wait for more; unless its id was given, which
        shippers on other machines may have been given, too.
        """
        log, headers = source.log, source.headers
        if end and (source.is_own_run or self._runs.is_named_by_folder(log.base)):
            headers = {"run.sources": str(source_count), **headers}
        source.sent.add(text)
        source.began = True
        modified = log.status.modified if log.status else 0
        past = self._past.get(source.origin["base"])
        position = {
            **source.origin,
            **({"past": list(past)} if past else {}),
            **source.sent.state(),
            **{"id": _id(log), "birth": log.identity.birth, "gen": log.generation, "done": end},
            **{"mtime": modified / 1e9, "modified": modified},
        }
        return Chunk(source.key, source.origin["source"], headers, text + line_end, end, position)

    def _report(self, report: Report) -> None:
        self._on_problem(f"{report.path} {report.reason}")

    def _report_once(self, text: str) -> None:
        if text not in self._reported:
            self._reported.add(text)
            self._on_problem(text)


def _is_other(path: Path, remembered: Remembered) -> bool:
    """Whether a file was created after the one that is remembered with its inode. Without birth times, nobody knows."""
    return bool(remembered.birth) and birth_time(path) not in (0, remembered.birth)


def _id(log: LogFile) -> str:
    return f"{log.identity.device}:{log.identity.inode}"
