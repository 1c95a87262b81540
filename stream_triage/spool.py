"""Redacted lines of one run go in by source and come out by line number, while the run is open and afterwards.

The text of an open run would not fit in memory: a worker has thousands of open runs, and one may have gigabytes. It is
compressed in blocks, so that reading one line unpacks 1,000 lines at most, and moves to a temporary file when it grows.

A run file is a sequence of zstd frames, one for each block, so that `zstd -dc FILE` prints its text without this program.
Its last frame is one that decoders skip: it has the index as JSON and, in its last bytes, the length of that JSON. The index
comes last because it is not known before; a file that was cut off has none, and is rejected when it is opened.
"""

import json
import os
import struct
import tempfile
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate, islice, takewhile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, cast

import zstandard

from stream_triage.errors import StoreError
from stream_triage.ports import RunText

__all__ = ["BLOCK_CHARACTERS", "BLOCK_LINES", "RunFile", "SpillSpool", "seal", "write_at"]

BLOCK_LINES = 1_000
BLOCK_CHARACTERS = 1 << 20  # a block of long lines ends early, so that reading one line never unpacks much
FORMAT_VERSION = 1

# Evidence and its context lie close together: the second line of a block is read without unpacking it again.
_CACHED_BLOCKS = 4
_COPY_BYTES = 1 << 20
# RFC 8878, 3.1.2: a decoder skips frames with the magic numbers 0x184D2A50 to 0x184D2A5F.
_SKIPPABLE = struct.Struct("<II")
_SKIPPABLE_MAGIC = 0x184D2A5E
_TRAILER = struct.Struct("<II8s")  # length and CRC-32 of the JSON before it, then the mark
_TRAILER_MARK = b"triage.1"


class Block(NamedTuple):
    """`lines` lines of a source from number `first` on, compressed in `size` bytes at `offset`."""

    first: int
    lines: int
    offset: int
    size: int


_Index = dict[str, list[Block]]


class SpillSpool:
    """Text of an open run: compressed in memory first, beyond `memory_bytes` in an unnamed temporary file.

    The file has no name, so nothing of the text is left on the disk whatever happens to the process. Up to 1,000 lines of
    each source wait uncompressed. Sealing writes a copy and leaves the spool as it was, readable and open for more lines.

    All methods but `close` raise `StoreError` after `close`.
    """

    def __init__(self, run_id: str, memory_bytes: int = 8 << 20, folder: Path | None = None) -> None:
        self.run_id = run_id
        self._storage = _Storage(memory_bytes, folder)
        self._index: _Index = {}
        self._blocks = _BlockReader(self._index, self._storage.read, f"text of run {run_id!r}")
        self._waiting: dict[str, _Waiting] = {}
        self._closed = False

    def append(self, source: str, lines: Sequence[str]) -> None:
        """Takes the lines, also when it raises `StoreError`: then they stay in memory, and the next call tries again.

        Otherwise the caller could not know which of the lines were taken, and line numbers would shift.
        """
        self._check_open()
        waiting = self._waiting.get(source)
        if waiting is None:
            waiting = self._waiting[source] = _Waiting()
            self._index[source] = []
        waiting.add(lines)
        while waiting.full:
            self._write_block(source, waiting)

    def sources(self) -> Sequence[str]:
        """Names of the sources, sorted."""
        self._check_open()
        return sorted(self._index)

    def line_count(self, source: str) -> int:
        """Lines of a source so far; 0 for one that is not known."""
        self._check_open()
        return self._blocks.line_count(source) + (len(self._waiting[source].lines) if source in self._waiting else 0)

    def read(self, source: str, first: int, last: int) -> list[str]:
        """Lines `first` to `last`, as `RunText` says."""
        self._check_open()
        if source not in self._index:
            return []
        stored = self._blocks.line_count(source)
        waiting = self._waiting[source].lines[max(first - stored - 1, 0) : max(last - stored, 0)]
        return self._blocks.read(source, first, last) + waiting

    def seal(self, target: Path, *, run_id: str = "", version: int = 0) -> None:
        """Writes the text so far to `target`, which appears whole or not at all and then survives a power failure.

        `run_id` and `version` are those of the verdict; an open run may have another name. Raises `StoreError` that names
        the folder when there is no space.
        """
        self._check_open()
        for source, waiting in self._waiting.items():
            while waiting.lines:
                self._write_block(source, waiting)
        with _as_store_error(f"text of run {self.run_id!r}", target.parent), _replacing(target) as file:
            for offset in range(0, self._storage.size, _COPY_BYTES):
                file.write(self._storage.read(offset, min(_COPY_BYTES, self._storage.size - offset)))
            file.write(_index_frame(run_id or self.run_id, version, self._index))

    def spill_above(self, memory_bytes: int) -> None:
        """Moves the compressed text to the temporary file if it is larger than this; if that fails it stays in memory."""
        self._storage.spill_above(memory_bytes)

    def close(self) -> None:
        """Frees memory and the temporary file; the text is gone then. Closing twice does nothing."""
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
        with _as_store_error(f"text of run {self.run_id!r}", self._storage.folder):
            offset = self._storage.append(frame)
        self._index[source].append(Block(self._blocks.line_count(source) + 1, count, offset, len(frame)))
        waiting.drop(count)


class RunFile:
    """A sealed text, opened for reading. `version` is that of the verdict that it was sealed with.

    Opening and reading raise `StoreError`, which names the file, when it is missing, damaged or of a newer format. Damage is
    found by check sums, of the index and of each block: wrong lines are never returned.
    """

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
        """Names of the sources, sorted."""
        return sorted(self._blocks.index)

    def line_count(self, source: str) -> int:
        """Lines of a source; 0 for one that is not known."""
        return self._blocks.line_count(source)

    def read(self, source: str, first: int, last: int) -> list[str]:
        """Lines `first` to `last`, as `RunText` says."""
        return self._blocks.read(source, first, last)

    def close(self) -> None:
        """Closes the file. Reading raises `StoreError` then; closing twice does nothing."""
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
    """Writes any run's text as a run file. Blocks of a `SpillSpool` are copied as they are, other texts are compressed."""
    if isinstance(text, SpillSpool):
        text.seal(target, run_id=run_id, version=version)
        return
    with SpillSpool(run_id) as spool:
        for source in text.sources():
            spool.append(source, [])  # a source without lines is a source too
            for first in range(1, text.line_count(source) + 1, BLOCK_LINES):
                spool.append(source, text.read(source, first, first + BLOCK_LINES - 1))
        spool.seal(target, version=version)


class _Waiting:
    """Lines of one source that are not in a block yet."""

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
        """How many lines the next block takes: 1,000, or up to the line with which it reaches `BLOCK_CHARACTERS`."""
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
        """Adds data and returns its offset. After an `OSError`, nothing was added.

        `size` grows last, so what a failed write left in the file is overwritten by the next one.
        """
        offset = self.size
        if self._file is None and offset + len(data) > self._memory_bytes:
            self._spill()
        if self._file is None:
            self._memory += data
        else:
            write_at(self._file.fileno(), data, offset)
        self.size += len(data)
        return offset

    def read(self, offset: int, size: int) -> bytes:
        if self._file is None:
            return bytes(self._memory[offset : offset + size])
        return os.pread(self._file.fileno(), size, offset)

    def spill_above(self, memory_bytes: int) -> None:
        if self._file is None and self.size > memory_bytes:
            with suppress(OSError):  # such as too many open files; a disk that is full is met by the next append
                self._spill()

    def close(self) -> None:
        self._memory = bytearray()
        self.size = 0
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        file = cast(BinaryIO, tempfile.TemporaryFile(dir=self.folder, buffering=0))  # noqa: SIM115 - held until close
        try:
            write_at(file.fileno(), self._memory, 0)
        except BaseException:
            file.close()
            raise
        self._file, self._memory = file, bytearray()  # only now: until all is written, the memory is the only copy


class _BlockReader:
    """Reads lines from compressed blocks; keeps the few that it unpacked last."""

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
        for block in self._blocks_between(source, first, last):
            lines += self._unpack(block)[max(first - block.first, 0) : last - block.first + 1]
        return lines

    def forget(self) -> None:
        self._unpacked.clear()

    def _blocks_between(self, source: str, first: int, last: int) -> Iterator[Block]:
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
        raise ValueError("a line contains a newline; lines are cut before they come here")
    # One compressor for each block: one for each open run would keep its window (about 1 MiB) as long as the run is open.
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(text.encode())


def _index_frame(run_id: str, version: int, index: _Index) -> bytes:
    about = {"format": FORMAT_VERSION, "run_id": run_id, "version": version, "sources": index}
    content = json.dumps(about, separators=(",", ":")).encode()
    trailer = _TRAILER.pack(len(content), zlib.crc32(content), _TRAILER_MARK)
    return _SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(content) + len(trailer)) + content + trailer


def _read_index(file: BinaryIO, path: Path) -> dict[str, Any]:
    """The index, from the end of the file; the text need not be read for it."""
    try:
        size = os.fstat(file.fileno()).st_size
        trailer = os.pread(file.fileno(), _TRAILER.size, max(size - _TRAILER.size, 0))
        length, checksum, mark = _TRAILER.unpack(trailer)
        content = os.pread(file.fileno(), length, size - _TRAILER.size - length)
    except (OSError, struct.error) as error:
        raise StoreError(f"run file {path} is damaged ({error}); {_RESTORE}") from error
    if mark != _TRAILER_MARK or zlib.crc32(content) != checksum:
        raise StoreError(f"run file {path} is damaged or incomplete (no index at its end); {_RESTORE}")
    about: dict[str, Any] = json.loads(content)
    if about["format"] > FORMAT_VERSION:
        raise StoreError(f"run file {path} has format {about['format']}, newer than {FORMAT_VERSION}; upgrade to read it")
    return about


def write_at(descriptor: int, data: bytes | bytearray, offset: int) -> None:
    """Writes all of the data: a system call may write a part, on a disk that is almost full."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


@contextmanager
def _as_store_error(what: str, folder: Path) -> Iterator[None]:
    """Turns errors of the file system into `StoreError` with the remedy."""
    try:
        yield
    except OSError as error:
        remedy = f"free space in {folder}, check that it is writable, or choose another folder"
        raise StoreError(f"{what} cannot be written to {folder}: {error.strerror}; {remedy}") from error


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A file that replaces `target` once it is whole and on disk; after an error nothing of it is left.

    It is in the same folder, since a file cannot be renamed across file systems, and its content is synced before the
    rename: otherwise a power failure could leave the new name with an empty file, and the old text would be gone.
    """
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
        os.fsync(folder)  # the name itself must survive a power failure
    finally:
        os.close(folder)
