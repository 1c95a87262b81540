"""Files that grow, are renamed, replaced, cut off and made again: what is new in them, once, in order.

A file is known by device and inode, and by a checksum of its first bytes: inodes are used again. Generations of one path
(`log`, `log.1`, `log-20261125`) are read oldest first, one after another.
"""

import contextlib
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
from triage_ship.labels import FIELDS, PathNames, hostname

__all__ = ["Chunk", "Files", "Follow"]

READ_BYTES = 1 << 20
HEAD_BYTES = 256
TAIL_BYTES = 64
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4")
_ROTATED = re.compile(r"(?:[.-](?:\d{1,3}|\d{8}|\d{4}-\d{2}-\d{2})(?:-\d+)?)$")
Position = dict[str, Any]


@dataclass(frozen=True)
class Follow:
    """What is followed and how runs are told apart."""

    paths: tuple[str, ...]
    chunk_bytes: int
    linger_seconds: float
    names: PathNames
    headers: dict[str, str] = field(default_factory=dict)
    run_id: str | None = None
    run_by: str = "file"
    once: bool = False
    idle_end_seconds: float | None = None
    rotate_wait_seconds: float = 3.0


@dataclass(frozen=True)
class Chunk:
    """Some lines of a source, and where its file is behind them; or the end of it."""

    key: str
    source: str
    headers: dict[str, str]
    text: bytes
    end: bool
    file: Position | None


class _File:
    """An open file."""

    def __init__(self, path: Path, descriptor: int, position: Position, cutter: Cutter, now: float) -> None:
        self.path = path
        self.descriptor = descriptor
        self.position = position
        self.cutter = cutter
        self.grew = now
        self.tail = b""
        self.headers: dict[str, str] = {}
        self.gone = False
        """Its path leads to it no more: a writer that has it open may still write, for a while."""
        self.done = False

    def close(self) -> None:
        os.close(self.descriptor)


class Files:
    """`positions` is what a spool remembers, by identity; it is read here and changed by whoever keeps the chunks."""

    def __init__(self, follow: Follow, positions: dict[str, Position], on_trouble: Callable[[str], None]) -> None:
        self._follow = follow
        self._positions = positions
        self._on_trouble = on_trouble
        self._open: dict[str, _File] = {}
        self._complained: set[str] = set()
        self._ended: dict[str, int] = {}
        self._waiting = False
        """There are generations that were not opened yet."""

    @property
    def idle(self) -> bool:
        """With `once`: everything was read to its end."""
        return self._follow.once and not self._waiting and not self._open

    def scan(self, now: float) -> None:
        """Looks which files are there, and opens those whose turn it is."""
        groups: dict[Path, list[tuple[float, Path, str, int]]] = {}
        for path, base in self._found():
            with contextlib.suppress(OSError):
                about = path.stat()
                if stat.S_ISREG(about.st_mode):
                    identity = f"{about.st_dev}:{about.st_ino}"
                    groups.setdefault(base, []).append((about.st_mtime, path, identity, about.st_size))
        there = {identity for group in groups.values() for _, _, identity, _ in group}
        self._waiting = False
        for base, group in groups.items():
            # The path itself comes last, whatever its clock says.
            for _, path, identity, size in sorted(group, key=lambda one: (one[1] == base, one[0], one[1].name)):
                known = self._open.get(identity)
                if known is None and size != self._finished(identity):
                    known = self._start(path, base, identity, now)
                if known is not None:
                    known.path, known.gone = path, path != base
                    if known.gone and not self._together(known):
                        self._waiting = True
                        break  # the next generation waits for the end of this one
        for identity, file in self._open.items():
            file.gone = file.gone or identity not in there

    def read(self, now: float) -> Iterator[Chunk]:
        """What is new. Each chunk must be kept before the next one is asked for."""
        for file in list(self._open.values()):
            yield from self._read(file, now)
        self._let_go()
        going = {self._key(file) for file in self._open.values() if not self._over(file, now)}
        ending = [file for file in self._open.values() if self._key(file) not in going]
        # A run is over when all sources that were seen are, so all must be seen before the first end.
        for file in ending:
            if rest := file.cutter.rest():
                yield self._chunk(file, rest)
        for file in sorted(ending, key=lambda file: file.position["offset"] > 0):
            yield self._chunk(file, b"", end=True)
            file.done = True
        self._let_go()

    def read_again(self, file: Position | None, length: int, checksum: int) -> bytes | None:
        """A chunk whose copy is damaged, if its file still has it."""
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
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _let_go(self) -> None:
        """Of files that are done; one that grows is opened again."""
        for identity, file in list(self._open.items()):
            if file.done:
                self._ended[identity] = file.position["offset"]
                file.close()
                del self._open[identity]

    def _finished(self, identity: str) -> int | None:
        """The size at which a file was done."""
        position = self._positions.get(identity)
        return position["offset"] if position and position["done"] else self._ended.get(identity)

    def _together(self, file: _File) -> bool:
        """Whether generations of its path are runs of their own, and may be read side by side."""
        return bool(file.position.get("token"))

    def _found(self) -> Iterator[tuple[Path, Path]]:
        """Each file, and the path that it has or had before it was rotated."""
        for told in self._follow.paths:
            path = Path(told)
            if path.is_dir() or glob.has_magic(told):
                found = path.rglob("*") if path.is_dir() else map(Path, glob.iglob(told, recursive=True))
                for each in sorted(found):
                    if self._usable(each):
                        base = _base(each)
                        # `run.17` is a name like any other where there is no `run`.
                        yield each, base if base.exists() else each
            else:
                yield from ((each, path) for each in self._generations(path))
                yield path, path

    def _generations(self, path: Path) -> Iterator[Path]:
        """Of a file that was read before: what it was renamed to, and what was made and renamed while nobody looked."""
        times = [position["mtime"] for position in self._positions.values() if Path(position["base"]) == path]
        for each in sorted(path.parent.glob(f"{glob.escape(path.name)}?*")) if times else ():
            with contextlib.suppress(OSError):
                about = each.stat()
                known = f"{about.st_dev}:{about.st_ino}" in self._positions
                if (known or about.st_mtime >= max(times)) and self._usable(each) and _base(each) == path:
                    yield each

    def _usable(self, path: Path) -> bool:
        if path.suffix in PACKED:
            self._complain(f"{path} is compressed and left out: `stream-triage run` reads such files")
            return False
        return True

    def _start(self, path: Path, base: Path, identity: str, now: float) -> _File | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            self._complain(f"{path} cannot be read: {error.strerror}; it is tried again")
            return None
        if not self._mine(descriptor, path):
            os.close(descriptor)
            return None
        about = os.fstat(descriptor)
        position = self._positions.get(identity)
        if position is not None and not self._same(descriptor, position):
            position = None
        if position is None:
            position = self._new(path, base, identity, about)
        elif position["done"]:  # it grew behind its end
            position = {**position, "done": False, **self._token(position)}
        file = _File(path, descriptor, position, Cutter(self._follow.chunk_bytes), now)
        file.headers = self._headers(base)
        file.tail = os.pread(descriptor, min(TAIL_BYTES, position["offset"]), max(0, position["offset"] - TAIL_BYTES))
        self._open[identity] = file
        return file

    def _mine(self, descriptor: int, path: Path) -> bool:
        """No other shipper reads it: lines would come twice, under two names."""
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._complain(f"{path} is read by another triage-ship, and left to it")
            return False
        return True

    def _new(self, path: Path, base: Path, identity: str, about: os.stat_result) -> Position:
        names = self._follow.names.read(base)
        position: Position = {
            "id": identity,
            "base": str(base),
            "offset": 0,
            "done": False,
            "mtime": about.st_mtime,
            "head": [0, 0],
        }
        if self._follow.run_id is not None:
            key, source = self._follow.run_id, base.name
        elif "run" in names:
            key, source = names["run"], base.name
        elif self._follow.run_by == "folder":
            folder = base.parent.stat()
            digest = hashlib.sha256(f"{folder.st_dev}:{folder.st_ino}".encode()).hexdigest()[:8]
            key, source = f"{hostname()}:{base.parent}#{digest}", base.name
        else:
            key, source = f"{hostname()}:{base}", base.name
            position["token"] = secrets.token_hex(4)
        return {**position, "key": key, "source": names.get("source", source)}

    def _token(self, position: Position) -> dict[str, str]:
        """A run of its own again, where files are runs."""
        return {"token": secrets.token_hex(4)} if position.get("token") else {}

    def _headers(self, base: Path) -> dict[str, str]:
        told = {FIELDS.get(name, name): value for name, value in self._follow.names.read(base).items()}
        told.pop("run", None)
        told.pop("source", None)
        return {**self._follow.headers, **told}

    def _same(self, descriptor: int, position: Position) -> bool:
        length, checksum = position["head"]
        return bool(zlib.crc32(os.pread(descriptor, length, 0)) == checksum)

    def _read(self, file: _File, now: float) -> Iterator[Chunk]:
        position = file.position
        size = os.fstat(file.descriptor).st_size
        read_to = position["offset"] + file.cutter.held
        if size < read_to or (size > read_to and not self._unchanged(file)):
            yield from self._begin_again(file, now)
            position, read_to = file.position, 0
        data = os.pread(file.descriptor, READ_BYTES, read_to) if size > read_to else b""
        if data:
            file.grew = now
        chunks = file.cutter.add(data, now) if data else []
        if due := file.cutter.due(now, 0.0 if self._follow.once and not data else self._follow.linger_seconds):
            chunks.append(due)
        for chunk in chunks:
            yield self._chunk(file, chunk)
        if not data and file.gone and not file.position.get("token") and self._quiet(file, now):
            if rest := file.cutter.rest():
                yield self._chunk(file, rest)
            file.done = True  # the next generation goes on with the run

    def _over(self, file: _File, now: float) -> bool:
        """All of it was read, and nothing more is to be waited for."""
        position, idle_end = file.position, self._follow.idle_end_seconds
        if os.fstat(file.descriptor).st_size > position["offset"] + file.cutter.held:
            return False
        if file.gone:
            return bool(position.get("token")) and self._quiet(file, now)
        if self._follow.once:
            return True
        return idle_end is not None and now - file.grew >= idle_end

    def _quiet(self, file: _File, now: float) -> bool:
        return self._follow.once or now - file.grew >= self._follow.rotate_wait_seconds

    def _key(self, file: _File) -> str:
        position = file.position
        return f"{position['key']}#{position['token']}" if position.get("token") else str(position["key"])

    def _unchanged(self, file: _File) -> bool:
        """What was before the place of reading is still there: it was not replaced in place."""
        offset = file.position["offset"]
        return os.pread(file.descriptor, len(file.tail), offset - len(file.tail)) == file.tail

    def _begin_again(self, file: _File, now: float) -> Iterator[Chunk]:
        """It was cut off or written anew. What was held and not sent is gone with it, but was read: it is sent."""
        self._on_trouble(f"{file.path} was cut off or replaced in place; it is read from its beginning")
        rest = file.cutter.rest()
        if file.position.get("token"):
            if file.position["offset"] or rest:
                yield self._chunk(file, rest, end=True)
            file.position = {**file.position, "token": secrets.token_hex(4)}
        elif rest:
            yield self._chunk(file, rest)
        about = os.fstat(file.descriptor)
        file.position = {**file.position, "offset": 0, "done": False, "head": [0, 0], "mtime": about.st_mtime}
        file.tail, file.grew = b"", now

    def _chunk(self, file: _File, text: bytes, *, end: bool = False) -> Chunk:
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

    def _complain(self, text: str) -> None:
        if text not in self._complained:
            self._complained.add(text)
            self._on_trouble(text)


def _base(path: Path) -> Path:
    """The path that a rotated file had.

    >>> _base(Path("/logs/tm500.log.12")).name, _base(Path("du.log-20261125")).name, _base(Path("a.log")).name
    ('tm500.log', 'du.log', 'a.log')
    """
    return path.with_name(_ROTATED.sub("", path.name) or path.name)
