"""Log files that grow, are renamed, replaced and truncated go in; chunks of what is new come out, once and in order.

`Reader` knows what happened to each file. Here is decided to which run a file belongs, and when a run ends. The files that
were at one path one after another (`log`, `log.1`, `log-20261125`) are its generations. If they belong to one run, they are
read oldest first, and the next one only when the one before is complete: otherwise late lines of the old file would come
after the first lines of the new one.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import re
import secrets
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triage_ship.cutter import Cutter
from triage_ship.fingerprint import Content
from triage_ship.headers import HEADER_OF_GROUP, PathPattern, hostname
from triage_ship.passed_over import HEAD_BYTES, reason_to_pass_over
from triage_ship.reader import LogFile, Reader, Remembered, Report, is_packed

__all__ = ["Chunk", "Files", "FollowOptions", "Position"]

# What logrotate and its like append to a name: a number or a date. A date may also be before the extension.
_DATE = r"(?:(?:19|20)\d{6}|(?:19|20)\d{2}-\d{2}-\d{2})(?:[-_T]?\d{2,10})?"
_ROTATED = re.compile(rf"[.-](?:\d{{1,3}}|{_DATE})(?:-\d+)?$|[.-]{_DATE}(?=\.(?:log|txt)$)")
_MOST_PAST = 16
_MOST_CONTENTS = 5  # of one file, in one turn
Position = dict[str, Any]
"""How far a file was read, as JSON in the spool. Its keys:

id: device and inode; birth: birth time; gen: which content of the file; base: the path, without a rotation suffix; offset,
crc, marks, gaps: what was sent (`Fingerprint.state`); done: whether its end was sent; mtime, modified: modification time in
seconds and nanoseconds; key: the run id; token: a suffix of the run id if the file is a run of its own; turn: how many runs
this one is with this key; source: the name of the source; past: size and CRC-32 of what was read under this path before.
"""


@dataclass(frozen=True)
class FollowOptions:
    """Which files are read, and how they form runs. The command line describes each option."""

    paths: tuple[str, ...]
    chunk_bytes: int
    linger_seconds: float
    path_pattern: PathPattern
    headers: dict[str, str] = field(default_factory=dict)
    run_id: str | None = None
    run_by: str = "file"
    once: bool = False
    idle_end_seconds: float | None = None
    # How long a renamed or deleted file must not have grown to be complete: its writer may still have it open.
    rotate_wait_seconds: float = 3.0


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


class _Source:
    """A file as a source of its run."""

    def __init__(self, log: LogFile, origin: dict[str, Any], headers: dict[str, str], chunk_bytes: int) -> None:
        self.log, self.origin, self.headers = log, origin, headers
        self.cutter = Cutter(chunk_bytes)
        self.sent = log.seen.copy()  # what is in chunks; `log.seen` is ahead by what the cutter holds
        self.began = log.seen.size > 0
        self.rank = (0, 0)

    @property
    def is_own_run(self) -> bool:
        """Whether the file is a run of its own. Then generations of its path need not wait for each other."""
        return bool(self.origin.get("token"))

    @property
    def key(self) -> str:
        key, turn = self.origin["key"], self.origin.get("turn", 1)
        if self.is_own_run:
            return f"{key}#{self.origin['token']}"
        return str(key) if turn == 1 else f"{key}~{turn}"


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
        self._sources: list[_Source] = []
        self._reported: set[str] = set()
        self._bases = {position["base"] for position in positions.values()}
        self._past: dict[str, list[list[int]]] = {}  # what was read and is no longer in its file, by path before rotation
        self._ended: dict[str, int] = {}  # how many runs of each key have ended
        self._order: dict[Path, int] = {}
        self._scans = 0
        for position in positions.values():
            self._know(position)

    @property
    def finished(self) -> bool:
        """Whether everything was read to its end; only ever true with the option `once`."""
        return self._options.once and not self._sources

    def scan(self, now: float) -> None:
        """Looks for files, and opens those that are new."""
        groups: dict[Path, list[tuple[float, Path]]] = {}
        for path, base in self._list():
            with contextlib.suppress(OSError):
                groups.setdefault(base, []).append((path.stat().st_mtime, path))
        # Oldest first. The path itself comes last even if a clock was set back: it is the only one still written.
        entries = [
            (path, base)
            for base, group in groups.items()
            for _, path in sorted(group, key=lambda one: (one[1] == base, one[0], one[1].name))
        ]
        self._scans += 1
        self._order = {path: index for index, (path, _) in enumerate(entries)}
        found = self._reader.scan(entries, now)
        for path in found.packed:
            self._report_once(f"{path} is compressed and skipped; `stream-triage run` reads such files")
        for log in found.files:
            self._start(log)
        for log in found.changed:
            log.complete, log.grown_at = False, now
            self._add(log, self._positions.get(_id(log)))
        if self._scans == 1:
            self._restore_missing(now)
        self._sort()

    def read(self, now: float) -> Iterator[Chunk]:
        """Yields what is new in all open files, then the ends of the runs that are over.

        Each chunk must be stored before the next one is asked for: the position in the file moves with it.
        """
        for _ in range(_MOST_CONTENTS):
            sources, unresolved = list(self._sources), list(self._reader.unresolved)
            yield from self._read_all(now)
            if not all(log in unresolved for log in self._reader.unresolved):
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
        if position["done"] and not position.get("token"):
            self._ended[position["key"]] = max(self._ended.get(position["key"], 0), position.get("turn", 1))

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
        return Remembered(position, Path(position["base"]), birth, modified, generation, position["done"])

    def _restore_missing(self, now: float) -> None:
        """Continues the files that were not read to their end and were deleted while no shipper was running."""
        last = {position["base"]: name for name, position in self._positions.items()}
        for name, position in self._positions.items():
            device, _, inode = name.partition(":")
            key = (int(device), int(inode))
            newest = position.get("token") or last[position["base"]] == name
            if position["done"] or not newest or key in self._reader.files or not self._is_asked_for(position["base"]):
                continue
            remembered = self._remembered(key)
            assert remembered
            self._add(self._reader.restore(key, remembered, now), position)

    def _is_asked_for(self, base: str) -> bool:
        """Whether the options name a path. The spool may remember files of earlier starts with other options."""
        path = Path(base)
        return any(path == Path(name) or Path(name) in path.parents or path.match(name) for name in self._options.paths)

    def _list(self) -> Iterator[tuple[Path, Path]]:
        """Yields each file that the options name, with its path before rotation."""
        for name in self._options.paths:
            path = Path(name)
            if path.is_dir() or glob.has_magic(name):
                matches = path.rglob("*") if path.is_dir() else map(Path, glob.iglob(name, recursive=True))
                for match in sorted(matches):
                    base = _without_rotation_suffix(match)
                    # Without a file `run` beside it, `run.17` is not a rotated file but a name like any other.
                    yield match, base if str(base) in self._bases or base.exists() else match
            else:
                yield from ((generation, path) for generation in self._generations(path))
                yield path, path

    def _generations(self, path: Path) -> Iterator[Path]:
        """Yields rotated files of a path that was read before.

        These are the files that were read under that path, and newer ones: they were created and renamed while no
        shipper was running, and would be lost otherwise. Older ones are from before the first start.
        """
        times = [position["mtime"] for position in self._positions.values() if position["base"] == str(path)]
        for other in sorted(path.parent.glob(f"{glob.escape(path.stem)}?*")) if times else ():
            with contextlib.suppress(OSError):
                status = other.stat()
                known = f"{status.st_dev}:{status.st_ino}" in self._positions
                if (known or status.st_mtime >= max(times)) and other != path and _without_rotation_suffix(other) == path:
                    yield other

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

    def _add(self, log: LogFile, position: Position | None) -> None:
        """Begins to read a file, as a part of the run of its position or of another one."""
        origin = self._origin(log.base) if position is None else {**position}
        if origin.get("token") is None:
            origin["turn"] = max(origin.get("turn", 1), self._ended.get(origin["key"], 0) + 1)
        elif not origin["token"] or (position and position["done"]):
            origin["token"] = secrets.token_hex(4)  # the worker rejects lines for a run that has ended
        self._bases.add(str(log.base))
        source = _Source(log, origin, self._headers(Path(origin["base"])), self._options.chunk_bytes)
        source.began = source.began and not (position and position["done"])
        source.rank = (self._scans, -1 if log.deleted else self._order.get(log.path, -1))
        self._sources.append(source)

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

    def _origin(self, base: Path) -> dict[str, Any]:
        """Decides to which run a file belongs that is read for the first time."""
        groups = self._options.path_pattern.match(base)
        origin: dict[str, Any] = {"base": str(base)}
        if self._options.run_id is not None:
            key, source = self._options.run_id, base.name
        elif "run" in groups:
            key, source = groups["run"], base.name
        elif self._options.run_by == "folder":
            # With the identity of the folder: one that is deleted and created again is another run.
            folder = base.parent.stat()
            digest = hashlib.sha256(f"{folder.st_dev}:{folder.st_ino}".encode()).hexdigest()[:8]
            key, source = f"{hostname()}:{base.parent}#{digest}", base.name
        else:
            key, source = f"{hostname()}:{base}", base.name
            origin["token"] = ""
        return {**origin, "key": key, "source": groups.get("source", source)}

    def _headers(self, base: Path) -> dict[str, str]:
        groups = self._options.path_pattern.match(base)
        names = {HEADER_OF_GROUP.get(name, name): value for name, value in groups.items() if name not in ("run", "source")}
        return {**self._options.headers, **names}

    def _read_all(self, now: float) -> Iterator[Chunk]:
        waiting: set[Path] = set()
        for source in list(self._sources):
            if source.log.base not in waiting:
                yield from self._read(source, now)
            if not source.is_own_run and (source in self._sources or source.log.successor):
                waiting.add(source.log.base)  # the next generation continues the run, so it waits for the end of this one

    def _read(self, source: _Source, now: float) -> Iterator[Chunk]:
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

    def _next_content(self, source: _Source) -> Iterator[Chunk]:
        """Continues with the next content of a file that was truncated or overwritten."""
        log, origin = source.log, source.origin
        yield from self._rest(source, ends_line=not source.is_own_run)
        if source.is_own_run:
            if source.began:
                yield self._chunk(source, b"", end=True)
        elif source.began and not log.copy and self._is_named_by_folder(log.base):
            yield from self._end([other for other in self._sources if other.key == source.key])
        self._remove(source)
        if log.successor:
            self._add_past(origin["base"], log.seen.content, log.copy)
            names = ("base", "key", "source", "token", "turn")
            origin = {name: origin[name] for name in names if name in origin} | {"done": False}
            self._add(log.successor, origin | ({"token": ""} if source.is_own_run else {}))
            if log.gone:  # otherwise it is the newest generation
                self._sources[-1].rank = source.rank
            self._sort()

    def _is_named_by_folder(self, base: Path) -> bool:
        """Whether a run was named by its folder. If the next test uses the same one, that is another run."""
        named = self._options.run_id is not None or "run" in self._options.path_pattern.match(base)
        return self._options.run_by == "folder" and not named

    def _end(self, sources: list[_Source]) -> Iterator[Chunk]:
        """Yields the ends of all sources of runs that are over.

        The worker ends a run when all sources that it has seen have ended. So it must see all of them, empty files
        included, before the first one ends; otherwise it would judge a part of the run.
        """
        for source in sources:
            yield from self._rest(source)
        for source in sorted(sources, key=lambda source: source.sent.size > 0):
            yield self._chunk(source, b"", end=True)
            source.began = False
        for source in sources:
            key, turn = source.origin["key"], source.origin.get("turn", 1)
            if not source.is_own_run:
                self._ended[key] = max(self._ended.get(key, 0), turn)
                source.origin["turn"] = turn + 1
            if not source.log.replaced:  # otherwise its next content follows
                self._remove(source)

    def _rest(self, source: _Source, *, ends_line: bool = False) -> Iterator[Chunk]:
        """Yields what waits for the end of its line. If that will not come but others will, the line ends there."""
        if rest := source.cutter.rest():
            yield self._chunk(source, rest, line_end=b"\n" if ends_line and not rest.endswith(b"\n") else b"")

    def _remove(self, source: _Source) -> None:
        """A test farm leaves thousands of files, and each open one takes a descriptor. One that grows is opened again."""
        self._sources.remove(source)
        source.log.complete = True

    def _is_over(self, source: _Source, now: float) -> bool:
        """Whether everything was read and the file is not expected to grow."""
        log, idle_end = source.log, self._options.idle_end_seconds
        if log.replaced or log.unread():
            return False
        if log.gone:
            return source.is_own_run and self._is_complete(source, now)
        if self._options.once:
            return True
        return idle_end is not None and now - log.grown_at >= idle_end

    def _is_complete(self, source: _Source, now: float) -> bool:
        """Whether a renamed or deleted file was read, and has not grown for so long that its writer must have closed it."""
        quiet = self._options.once or now - source.log.grown_at >= self._options.rotate_wait_seconds
        return quiet and not source.log.replaced and not source.log.unread()

    def _chunk(self, source: _Source, text: bytes, *, line_end: bytes = b"", end: bool = False) -> Chunk:
        """Makes a chunk and moves the position of the file to its end."""
        log = source.log
        source.sent.add(text)
        source.began = True
        modified = log.status.modified if log.status else 0
        position = {
            **{
                name: source.origin[name]
                for name in ("base", "key", "source", "token", "turn", "past")
                if name in source.origin
            },
            **({"past": past} if (past := list(self._past.get(source.origin["base"], ()))) else {}),
            **source.sent.state(),
            **{"id": _id(log), "birth": log.identity.birth, "gen": log.generation, "done": end},
            **{"mtime": modified / 1e9, "modified": modified},
        }
        return Chunk(source.key, source.origin["source"], source.headers, text + line_end, end, position)

    def _report(self, report: Report) -> None:
        self._on_problem(f"{report.path} {report.reason}")

    def _report_once(self, text: str) -> None:
        if text not in self._reported:
            self._reported.add(text)
            self._on_problem(text)


def _id(log: LogFile) -> str:
    return f"{log.identity.device}:{log.identity.inode}"


def _without_rotation_suffix(path: Path) -> Path:
    """The path that a rotated or compressed file had before.

    >>> names = "/logs/tm500.log.12", "du.log-20261125", "du-20261125.log.gz", "a.log", "ue.7.log"
    >>> [_without_rotation_suffix(Path(name)).name for name in names]
    ['tm500.log', 'du.log', 'du.log', 'a.log', 'ue.7.log']
    """
    name = path.with_suffix("").name if is_packed(path) else path.name
    return path.with_name(_ROTATED.sub("", name) or name)
