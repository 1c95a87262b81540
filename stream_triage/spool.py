"""Redacted lines of one run go in by source and come out by line number, while the run is open and afterwards.

A run file is a row of zstd frames, so that `zstd -dc FILE` prints its text. Each frame holds up to 1,000 lines of one
source. The last frame is a skippable one with the index as JSON and, in its last bytes, where that JSON begins.
"""

import json
import os
import struct
import tempfile
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice, takewhile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, cast

import zstandard

from stream_triage.errors import StoreError
from stream_triage.ports import RunText

__all__ = ["BLOCK_CHARACTERS", "BLOCK_LINES", "RunFile", "SpillSpool", "seal"]

BLOCK_LINES = 1_000
BLOCK_CHARACTERS = 1 << 20  # a block of long lines ends early, so that reading one line never unpacks much
FORMAT_VERSION = 1

_CACHED_BLOCKS = 4
_COPY_BYTES = 1 << 20
# RFC 8878, 3.1.2: a decoder passes over frames with the magic numbers 0x184D2A50 to 0x184D2A5F.
_SKIPPABLE = struct.Struct("<II")
_SKIPPABLE_MAGIC = 0x184D2A5E
_TRAILER = struct.Struct("<II8s")  # length and CRC-32 of the JSON before it, then the mark
_TRAILER_MARK = b"triage.1"


class Block(NamedTuple):
    """Where `lines` lines from number `first` on lie compressed."""

    first: int
    lines: int
    offset: int
    size: int


_Index = dict[str, list[Block]]


class SpillSpool:
    """Text of an open run: compressed in memory first, beyond `memory_bytes` in an unnamed temporary file.

    The file has no name, so nothing is left behind whatever happens to the process. Up to 1,000 lines of each source
    wait uncompressed. Sealing writes a copy and leaves the spool as it was, readable and open for more lines.
    """

    def __init__(self, run_id: str, memory_bytes: int = 8 << 20, folder: Path | None = None) -> None:
        self.run_id = run_id
        self._storage = _Storage(memory_bytes, folder)
        self._index: _Index = {}
        self._blocks = _BlockReader(self._index, self._storage.at, f"text of run {run_id!r}")
        self._waiting: dict[str, _Waiting] = {}
        self._closed = False

    def append(self, source: str, lines: Sequence[str]) -> None:
        """Takes the lines even when it raises `StoreError`: then they stay in memory and the next call tries again."""
        self._check_open()
        waiting = self._waiting.get(source)
        if waiting is None:
            waiting = self._waiting[source] = _Waiting()
            self._index[source] = []
        waiting.add(lines)
        while waiting.full:
            self._write_block(source, waiting)

    def sources(self) -> Sequence[str]:
        self._check_open()
        return sorted(self._index)

    def line_count(self, source: str) -> int:
        self._check_open()
        return self._blocks.line_count(source) + (len(self._waiting[source].lines) if source in self._waiting else 0)

    def read(self, source: str, first: int, last: int) -> list[str]:
        self._check_open()
        if source not in self._index:
            return []
        stored = self._blocks.line_count(source)
        rest = self._waiting[source].lines[max(first - stored - 1, 0) : max(last - stored, 0)]
        return self._blocks.read(source, first, last) + rest

    def seal(self, target: Path, *, version: int = 0) -> None:
        """Writes the text so far to `target`, which appears whole or not at all and then survives a power cut."""
        self._check_open()
        for source, waiting in self._waiting.items():
            while waiting.lines:
                self._write_block(source, waiting)
        with _naming(f"text of run {self.run_id!r}", target.parent), _replacing(target) as file:
            for offset in range(0, self._storage.size, _COPY_BYTES):
                file.write(self._storage.at(offset, min(_COPY_BYTES, self._storage.size - offset)))
            file.write(_index_frame(self.run_id, version, self._index))

    def close(self) -> None:
        self._closed = True
        self._storage.close()
        self._waiting.clear()
        self._index.clear()
        self._blocks.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"text of run {self.run_id!r} is closed; read it before closing, or from the archive")

    def _write_block(self, source: str, waiting: "_Waiting") -> None:
        count = waiting.block_lines()
        frame = _compress(waiting.lines[:count])
        with _naming(f"text of run {self.run_id!r}", self._storage.folder):
            offset = self._storage.append(frame)
        self._index[source].append(Block(self._blocks.line_count(source) + 1, count, offset, len(frame)))
        waiting.drop(count)


class RunFile:
    """A sealed text. Raises `StoreError` naming the file when it is absent, damaged or of a newer format."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - held until close
        except OSError as error:
            raise StoreError(f"run file {path} cannot be opened: {error.strerror}") from error
        try:
            about = _read_index(self._file, path)
        except BaseException:
            self._file.close()
            raise
        self.run_id: str = about["run_id"]
        self.version: int = about["version"]
        index = {source: [Block(*block) for block in blocks] for source, blocks in about["sources"].items()}
        self._blocks = _BlockReader(index, self._at, f"run file {path}")

    def sources(self) -> Sequence[str]:
        return sorted(self._blocks.index)

    def line_count(self, source: str) -> int:
        return self._blocks.line_count(source)

    def read(self, source: str, first: int, last: int) -> list[str]:
        return self._blocks.read(source, first, last)

    def close(self) -> None:
        self._file.close()
        self._blocks.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _at(self, offset: int, size: int) -> bytes:
        if self._file.closed:
            raise StoreError(f"run file {self.path} is closed; open it again")
        try:
            return os.pread(self._file.fileno(), size, offset)
        except OSError as error:
            raise StoreError(f"run file {self.path} cannot be read: {error.strerror}") from error


def seal(text: RunText, run_id: str, target: Path, *, version: int = 0) -> None:
    """Writes any run's text as a run file; a `SpillSpool` gives its blocks as they are, others are packed anew."""
    if isinstance(text, SpillSpool) and text.run_id == run_id:
        return text.seal(target, version=version)
    with SpillSpool(run_id) as spool:
        for source in text.sources():
            spool.append(source, [])
            for first in range(1, text.line_count(source) + 1, BLOCK_LINES):
                spool.append(source, text.read(source, first, first + BLOCK_LINES - 1))
        spool.seal(target, version=version)
    return None


class _Waiting:
    """Lines of one source that do not fill a block yet."""

    __slots__ = ("characters", "lines")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.characters = 0

    @property
    def full(self) -> bool:
        return len(self.lines) >= BLOCK_LINES or self.characters >= BLOCK_CHARACTERS

    def add(self, lines: Sequence[str]) -> None:
        self.lines.extend(lines)
        self.characters += sum(map(len, lines))

    def block_lines(self) -> int:
        """How many lines the next block takes: 1,000, or up to the one that reaches the size."""
        if self.characters < BLOCK_CHARACTERS:
            return min(len(self.lines), BLOCK_LINES)
        below = takewhile(lambda total: total < BLOCK_CHARACTERS, accumulate(map(len, self.lines[:BLOCK_LINES])))
        return min(sum(1 for _ in below) + 1, len(self.lines), BLOCK_LINES)

    def drop(self, count: int) -> None:
        self.characters -= sum(map(len, self.lines[:count]))
        del self.lines[:count]


class _Storage:
    """Bytes by offset, in memory until they are many, then in an unnamed temporary file."""

    def __init__(self, memory_bytes: int, folder: Path | None) -> None:
        self.folder = folder or Path(tempfile.gettempdir())
        self.size = 0
        self._memory_bytes = memory_bytes
        self._memory = bytearray()
        self._file: BinaryIO | None = None

    def append(self, data: bytes) -> int:
        """Gives the offset of what was added; after an `OSError` nothing was."""
        offset = self.size
        if self._file is None and offset + len(data) > self._memory_bytes:
            self._spill()
        if self._file is None:
            self._memory += data
        else:
            _write_at(self._file.fileno(), data, offset)
        self.size += len(data)
        return offset

    def at(self, offset: int, size: int) -> bytes:
        if self._file is None:
            return bytes(self._memory[offset : offset + size])
        return os.pread(self._file.fileno(), size, offset)

    def close(self) -> None:
        self._memory = bytearray()
        self.size = 0
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        file = cast(BinaryIO, tempfile.TemporaryFile(dir=self.folder, buffering=0))  # noqa: SIM115 - held until close
        try:
            _write_at(file.fileno(), self._memory, 0)
        except BaseException:
            file.close()
            raise
        self._file, self._memory = file, bytearray()


class _BlockReader:
    """Reads lines from compressed blocks; keeps the few it unpacked last."""

    def __init__(self, index: _Index, fetch: Callable[[int, int], bytes], name: str) -> None:
        self.index = index
        self._fetch = fetch
        self._name = name
        self._unpacked: OrderedDict[int, list[str]] = OrderedDict()

    def line_count(self, source: str) -> int:
        blocks = self.index.get(source)
        return blocks[-1].first + blocks[-1].lines - 1 if blocks else 0

    def read(self, source: str, first: int, last: int) -> list[str]:
        lines: list[str] = []
        first = max(first, 1)
        for block in self._touched(source, first, last):
            lines += self._unpack(block)[max(first - block.first, 0) : last - block.first + 1]
        return lines

    def forget(self) -> None:
        self._unpacked.clear()

    def _touched(self, source: str, first: int, last: int) -> Iterator[Block]:
        blocks = self.index.get(source, [])
        position = max(bisect_right(blocks, first, key=lambda block: block.first) - 1, 0)
        return takewhile(lambda block: block.first <= last, islice(blocks, position, None))

    def _unpack(self, block: Block) -> list[str]:
        lines = self._unpacked.get(block.offset)
        if lines is None:
            lines = self._unpacked[block.offset] = self._decompress(block)
            if len(self._unpacked) > _CACHED_BLOCKS:
                self._unpacked.popitem(last=False)
        else:
            self._unpacked.move_to_end(block.offset)
        return lines

    def _decompress(self, block: Block) -> list[str]:
        frame = self._fetch(block.offset, block.size)
        try:
            lines = zstandard.ZstdDecompressor().decompress(frame).decode().split("\n")
        except (zstandard.ZstdError, UnicodeDecodeError, MemoryError) as error:
            raise StoreError(f"{self._name} is damaged at byte {block.offset} ({error}); {_RESTORE}") from error
        if len(lines) != block.lines + 1:
            raise StoreError(f"{self._name} is damaged at byte {block.offset} (lines missing); {_RESTORE}")
        del lines[-1]
        return lines


_RESTORE = "restore it from a copy, or triage the run again"


def _compress(lines: Sequence[str]) -> bytes:
    text = "\n".join(lines) + "\n"
    if text.count("\n") != len(lines):
        raise ValueError("a line holds a newline; lines are cut before they come here")
    # A compressor a block: one kept per open run would hold its window (about 1 MiB) as long as the run is open.
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(text.encode())


def _index_frame(run_id: str, version: int, index: _Index) -> bytes:
    about = {"format": FORMAT_VERSION, "run_id": run_id, "version": version, "sources": index}
    content = json.dumps(about, separators=(",", ":")).encode()
    trailer = _TRAILER.pack(len(content), zlib.crc32(content), _TRAILER_MARK)
    return _SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(content) + len(trailer)) + content + trailer


def _read_index(file: BinaryIO, path: Path) -> dict[str, Any]:
    try:
        size = os.fstat(file.fileno()).st_size
        trailer = os.pread(file.fileno(), _TRAILER.size, max(size - _TRAILER.size, 0))
        length, checksum, mark = _TRAILER.unpack(trailer)
        content = os.pread(file.fileno(), length, size - _TRAILER.size - length)
    except (OSError, struct.error) as error:
        raise StoreError(f"run file {path} is damaged ({error}); {_RESTORE}") from error
    if mark != _TRAILER_MARK or zlib.crc32(content) != checksum:
        raise StoreError(f"run file {path} is damaged or was never finished (no index at its end); {_RESTORE}")
    about: dict[str, Any] = json.loads(content)
    if about["format"] > FORMAT_VERSION:
        raise StoreError(f"run file {path} has format {about['format']}, newer than {FORMAT_VERSION}; upgrade to read it")
    return about


def _write_at(descriptor: int, data: bytes | bytearray, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


@contextmanager
def _naming(what: str, folder: Path) -> Iterator[None]:
    """Turns errors of the file system into `StoreError` with what to do."""
    try:
        yield
    except OSError as error:
        remedy = f"free space in {folder}, check that it is writable, or choose another folder"
        raise StoreError(f"{what} cannot be written to {folder}: {error.strerror}; {remedy}") from error


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `target` once it is whole and on disk; after an error nothing is left of it."""
    descriptor, name = tempfile.mkstemp(prefix=target.name + ".", suffix=".partial", dir=target.parent)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name itself must survive a power cut
    finally:
        os.close(folder)
