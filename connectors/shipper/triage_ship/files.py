"""Log files that grow, are renamed, replaced and truncated go in; chunks of what is new come out, once and in order.

A path says little about a file: rotation renames `log` to `log.1` and creates a new `log`. So a file is identified by
device and inode, and by a checksum of its first bytes, because file systems reuse the inodes of deleted files. The files
that were at one path one after another (`log`, `log.1`, `log-20261125`) are its generations. If they belong to one run,
they are read oldest first, and the next one only when the one before is complete: otherwise late lines of the old
file would come after the first lines of the new one.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import re
import secrets
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triage_ship.cutter import Cutter
from triage_ship.headers import HEADER_OF_GROUP, PathPattern, hostname

__all__ = ["Chunk", "Files", "FollowOptions", "Position"]

READ_BYTES = 1 << 20
# How many bytes at the beginning of a file, and before the reading position, are checked to still be the same.
HEAD_BYTES, TAIL_BYTES = 256, 64
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4")
# What logrotate and its like append to a name: a number or a date.
_ROTATION_SUFFIX = re.compile(r"(?:[.-](?:\d{1,3}|\d{8}|\d{4}-\d{2}-\d{2})(?:-\d+)?)$")
Position = dict[str, Any]
"""How far a file was read, as JSON in the spool. Its keys:

id: device and inode; base: the path, without a rotation suffix; offset: bytes that are in chunks; done: whether its
end was sent; mtime: modification time; head: length and CRC-32 of its first bytes; key: the run id; token: a suffix of
the run id if the file is a run of its own; source: the name of the source.
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


class _File:
    """An open file and how far it was read."""

    def __init__(self, path: Path, descriptor: int, position: Position, cutter: Cutter, now: float) -> None:
        self.path = path
        self.descriptor = descriptor
        self.position = position
        self.cutter = cutter
        self.grew_at = now
        # The last bytes before the position, to notice that the file was rewritten in place.
        self.tail = b""
        self.headers: dict[str, str] = {}
        # Whether it was renamed or deleted. A writer that has it open may go on for a while.
        self.gone = False
        self.done = False

    def close(self) -> None:
        os.close(self.descriptor)


class Files:
    """Follows files. `scan` looks for new and renamed ones, `read` yields what is new in all of them.

    Args:
        options: Which files are read, and how they form runs.
        positions: The positions that the spool remembers, by file identity. Only read here: the shipper updates it when
            a chunk is stored, so that it never contains a position whose chunk could be lost.
        on_problem: Called with a message for each problem, once for the same message.
    """

    def __init__(self, options: FollowOptions, positions: dict[str, Position], on_problem: Callable[[str], None]) -> None:
        self._options = options
        self._positions = positions
        self._on_problem = on_problem
        self._open: dict[str, _File] = {}
        self._reported: set[str] = set()
        # Sizes of the files that were completed since the start, by identity.
        self._completed: dict[str, int] = {}
        # Whether there are generations that wait for the one before.
        self._waiting = False

    @property
    def finished(self) -> bool:
        """Whether everything was read to its end; only ever true with the option `once`."""
        return self._options.once and not self._waiting and not self._open

    def scan(self, now: float) -> None:
        """Looks for files, and opens those whose turn it is."""
        groups: dict[Path, list[tuple[float, Path, str, int]]] = {}
        for path, base in self._list():
            with contextlib.suppress(OSError):
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    identity = f"{status.st_dev}:{status.st_ino}"
                    groups.setdefault(base, []).append((status.st_mtime, path, identity, status.st_size))
        existing = {identity for group in groups.values() for _, _, identity, _ in group}
        self._waiting = False
        for base, group in groups.items():
            # Oldest first. The path itself comes last even if a clock was set back: it is the only one still written.
            for _, path, identity, size in sorted(group, key=lambda one: (one[1] == base, one[0], one[1].name)):
                file = self._open.get(identity)
                if file is None and size != self._completed_size(identity):
                    file = self._start(path, base, identity, now)
                if file is not None:
                    file.path, file.gone = path, path != base
                    if file.gone and not self._is_own_run(file):
                        self._waiting = True
                        break  # the next generation continues the run, so it waits for the end of this one
        for identity, file in self._open.items():
            file.gone = file.gone or identity not in existing

    def read(self, now: float) -> Iterator[Chunk]:
        """Yields what is new in all open files, then the ends of the runs that are over.

        Each chunk must be stored before the next one is asked for: the position in the file moves with it.
        """
        for file in list(self._open.values()):
            yield from self._read(file, now)
        self._close_completed()
        growing = {self._key(file) for file in self._open.values() if not self._is_over(file, now)}
        ending = [file for file in self._open.values() if self._key(file) not in growing]
        # The worker ends a run when all sources that it has seen have ended. So it must see all of them, empty files
        # included, before the first one ends; otherwise it would judge a part of the run.
        for file in ending:
            if rest := file.cutter.rest():
                yield self._chunk(file, rest)
        for file in sorted(ending, key=lambda file: file.position["offset"] > 0):
            yield self._chunk(file, b"", end=True)
            file.done = True
        self._close_completed()

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
        while self._open:
            self._open.popitem()[1].close()

    def _close_completed(self) -> None:
        """A test farm leaves thousands of files, and each open one takes a descriptor. One that grows is opened again."""
        for identity, file in list(self._open.items()):
            if file.done:
                self._completed[identity] = file.position["offset"]
                file.close()
                del self._open[identity]

    def _completed_size(self, identity: str) -> int | None:
        """The size at which a file was completed, in this process or before; None if it was not."""
        position = self._positions.get(identity)
        return position["offset"] if position and position["done"] else self._completed.get(identity)

    @staticmethod
    def _is_own_run(file: _File) -> bool:
        """Whether the file is a run of its own. Then generations of its path need not wait for each other."""
        return bool(file.position.get("token"))

    def _list(self) -> Iterator[tuple[Path, Path]]:
        """Yields each file that the options name, with its path before rotation."""
        for name in self._options.paths:
            path = Path(name)
            if path.is_dir() or glob.has_magic(name):
                matches = path.rglob("*") if path.is_dir() else map(Path, glob.iglob(name, recursive=True))
                for match in sorted(matches):
                    if self._is_readable(match):
                        base = _without_rotation_suffix(match)
                        # Without a file `run` beside it, `run.17` is not a rotated file but a name like any other.
                        yield match, base if base.exists() else match
            else:
                yield from ((generation, path) for generation in self._generations(path))
                yield path, path

    def _generations(self, path: Path) -> Iterator[Path]:
        """Yields rotated files of a path that was read before.

        These are the files that were read under that path, and newer ones: they were created and renamed while no
        shipper was running, and would be lost otherwise. Older ones are from before the first start.
        """
        times = [position["mtime"] for position in self._positions.values() if Path(position["base"]) == path]
        for other in sorted(path.parent.glob(f"{glob.escape(path.name)}?*")) if times else ():
            with contextlib.suppress(OSError):
                status = other.stat()
                known = f"{status.st_dev}:{status.st_ino}" in self._positions
                if (
                    (known or status.st_mtime >= max(times))
                    and self._is_readable(other)
                    and _without_rotation_suffix(other) == path
                ):
                    yield other

    def _is_readable(self, path: Path) -> bool:
        if path.suffix in COMPRESSED:
            self._report(f"{path} is compressed and skipped; `stream-triage run` reads such files")
            return False
        return True

    def _start(self, path: Path, base: Path, identity: str, now: float) -> _File | None:
        """Opens a file at its remembered position, or at its beginning; None if it cannot be read now."""
        try:
            # Non-blocking: opening a named pipe would wait for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            self._report(f"{path} cannot be read: {error.strerror}; trying again every second")
            return None
        if not self._lock(descriptor, path):
            os.close(descriptor)
            return None
        status = os.fstat(descriptor)
        position = self._positions.get(identity)
        if position is not None and not self._is_same_file(descriptor, position):
            position = None
        if position is None:
            position = self._first_position(base, identity, status)
        elif position["done"]:  # it has grown after its end was sent
            position = {**position, "done": False, **self._new_token(position)}
        file = _File(path, descriptor, position, Cutter(self._options.chunk_bytes), now)
        file.headers = self._headers(base)
        file.tail = os.pread(descriptor, min(TAIL_BYTES, position["offset"]), max(0, position["offset"] - TAIL_BYTES))
        self._open[identity] = file
        return file

    def _lock(self, descriptor: int, path: Path) -> bool:
        """Whether no other shipper reads the file. Two would send its lines twice, possibly under two run ids."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._report(f"{path} is read by another triage-ship and skipped; stop one of them or give them other paths")
            return False
        return True

    def _first_position(self, base: Path, identity: str, status: os.stat_result) -> Position:
        """The position of a file that is read for the first time. Decides to which run it belongs."""
        groups = self._options.path_pattern.match(base)
        position: Position = {
            "id": identity,
            "base": str(base),
            "offset": 0,
            "done": False,
            "mtime": status.st_mtime,
            "head": [0, 0],
        }
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
            position["token"] = secrets.token_hex(4)
        return {**position, "key": key, "source": groups.get("source", source)}

    @staticmethod
    def _new_token(position: Position) -> dict[str, str]:
        """Another run id, if the file is a run of its own: the worker rejects lines for a run that has ended."""
        return {"token": secrets.token_hex(4)} if position.get("token") else {}

    def _headers(self, base: Path) -> dict[str, str]:
        groups = self._options.path_pattern.match(base)
        names = {HEADER_OF_GROUP.get(name, name): value for name, value in groups.items() if name not in ("run", "source")}
        return {**self._options.headers, **names}

    @staticmethod
    def _is_same_file(descriptor: int, position: Position) -> bool:
        """Whether the file starts as the remembered one did. Otherwise a new file has got the inode of a deleted one."""
        length, checksum = position["head"]
        return bool(zlib.crc32(os.pread(descriptor, length, 0)) == checksum)

    def _read(self, file: _File, now: float) -> Iterator[Chunk]:
        """Yields what is new in one file."""
        position = file.position
        size = os.fstat(file.descriptor).st_size
        read_to = position["offset"] + file.cutter.held
        if size < read_to or (size > read_to and not self._is_unchanged(file)):
            yield from self._restart(file, now)
            position, read_to = file.position, 0
        data = os.pread(file.descriptor, READ_BYTES, read_to) if size > read_to else b""
        if data:
            file.grew_at = now
        chunks = file.cutter.add(data, now) if data else []
        if due := file.cutter.due(now, 0.0 if self._options.once and not data else self._options.linger_seconds):
            chunks.append(due)
        for chunk in chunks:
            yield self._chunk(file, chunk)
        if not data and file.gone and not self._is_own_run(file) and self._is_quiet(file, now):
            if rest := file.cutter.rest():
                yield self._chunk(file, rest)
            file.done = True  # without an end: the next generation continues the run

    def _is_over(self, file: _File, now: float) -> bool:
        """Whether everything was read and the file is not expected to grow."""
        position, idle_end = file.position, self._options.idle_end_seconds
        if os.fstat(file.descriptor).st_size > position["offset"] + file.cutter.held:
            return False
        if file.gone:
            return self._is_own_run(file) and self._is_quiet(file, now)
        if self._options.once:
            return True
        return idle_end is not None and now - file.grew_at >= idle_end

    def _is_quiet(self, file: _File, now: float) -> bool:
        return self._options.once or now - file.grew_at >= self._options.rotate_wait_seconds

    @staticmethod
    def _key(file: _File) -> str:
        position = file.position
        return f"{position['key']}#{position['token']}" if position.get("token") else str(position["key"])

    @staticmethod
    def _is_unchanged(file: _File) -> bool:
        """Whether the bytes before the position are the same. If not, the file was rewritten; its size may not show it."""
        offset = file.position["offset"]
        return os.pread(file.descriptor, len(file.tail), offset - len(file.tail)) == file.tail

    def _restart(self, file: _File, now: float) -> Iterator[Chunk]:
        """Continues at the beginning of a file that was truncated or rewritten.

        First yields the lines that were read and not yet sent: they are no longer in the file.
        """
        self._on_problem(f"{file.path} was truncated or replaced in place; it is read from its beginning")
        rest = file.cutter.rest()
        if self._is_own_run(file):
            if file.position["offset"] or rest:
                yield self._chunk(file, rest, end=True)
            file.position = {**file.position, **self._new_token(file.position)}
        elif rest:
            yield self._chunk(file, rest)
        status = os.fstat(file.descriptor)
        file.position = {**file.position, "offset": 0, "done": False, "head": [0, 0], "mtime": status.st_mtime}
        file.tail, file.grew_at = b"", now

    def _chunk(self, file: _File, text: bytes, *, end: bool = False) -> Chunk:
        """Makes a chunk and moves the position of the file to its end."""
        position = file.position
        offset = position["offset"] + len(text)
        head = position["head"]
        if head[0] < HEAD_BYTES and offset > head[0]:
            first = os.pread(file.descriptor, min(HEAD_BYTES, offset), 0)
            head = [len(first), zlib.crc32(first)]
        file.tail = (file.tail + text[-TAIL_BYTES:])[-TAIL_BYTES:]
        mtime = os.fstat(file.descriptor).st_mtime
        file.position = {**position, "offset": offset, "head": head, "mtime": mtime, "done": end}
        return Chunk(self._key(file), position["source"], file.headers, text, end, file.position)

    def _report(self, text: str) -> None:
        if text not in self._reported:
            self._reported.add(text)
            self._on_problem(text)


def _without_rotation_suffix(path: Path) -> Path:
    """The path that a rotated file had before.

    >>> names = "/logs/tm500.log.12", "du.log-20261125", "a.log"
    >>> [_without_rotation_suffix(Path(name)).name for name in names]
    ['tm500.log', 'du.log', 'a.log']
    """
    return path.with_name(_ROTATION_SUFFIX.sub("", path.name) or path.name)
