"""Packed bytes in, plain bytes out: .gz .bz2 .xz .zst, protected against decompression bombs.

Everything that comes before damaged input is returned first; then `Damage` is raised, once.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

import zstandard

from stream_triage.files.kinds import HEAD_BYTES, archive_kind
from stream_triage.settings import InputSettings

__all__ = [
    "CODECS",
    "XZ_MEMORY_BYTES",
    "Codec",
    "Count",
    "Damage",
    "ExpansionLimit",
    "Guard",
    "Reader",
    "codec_of",
    "file_pieces",
    "open_file",
    "reason_of",
    "stream_pieces",
    "unpack",
    "unpacked",
]

Count = Callable[[int], None]
"""Called with the number of packed bytes after each read, for the progress bar."""

_READ_BYTES = 64 * 1024
# A decompressor that meets an error returns nothing of what the same call unpacked before it. So each call gets little,
# and the last bytes, which contain the checksum, one by one: a wrong checksum then costs no text.
_STEP_BYTES = 512
_LAST_BYTES = 64
_TEXT_BYTES = 10  # text that begins like this is taken for text, whatever the name says
_MAX_LAYERS = 4  # compressed data in compressed data
XZ_MEMORY_BYTES = 256 * 1024 * 1024  # `xz -9` needs 65 MiB; a hostile header may ask for 4 GiB


class Damage(Exception):
    """Input that cannot be read any further. The message says why."""


class ExpansionLimit(Damage):
    """Input that could be read further, but unpacks to more than its size allows."""


class Guard:
    """Counts what is unpacked from one file or stream, and raises `ExpansionLimit` if it is too much for the packed size.

    Args:
        settings: The limits.
        packed_bytes: Size of the file. For a stream, `growing` counts it.

    Attributes:
        exceeded: Whether it was too much once.
    """

    def __init__(self, settings: InputSettings, packed_bytes: int = 0) -> None:
        self._settings = settings
        self._packed_bytes = packed_bytes
        self._unpacked_bytes = 0
        self.exceeded = False

    def beside(self, packed_bytes: int) -> "Guard":
        """A guard with the same limits, for a part of the file."""
        return Guard(self._settings, packed_bytes)

    def growing(self, packed: Iterator[bytes]) -> Iterator[bytes]:
        """Counts the packed bytes of a stream, whose size is not known before."""
        for piece in packed:
            self._packed_bytes += len(piece)
            yield piece

    def watch(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Counts unpacked bytes, and raises `ExpansionLimit` after the last piece that is allowed."""
        for piece in pieces:
            for start in range(0, len(piece), _READ_BYTES):  # a piece may be large, and only its beginning allowed
                part = piece[start : start + _READ_BYTES]
                self._unpacked_bytes += len(part)
                self.check(self._unpacked_bytes)
                yield part

    def check(self, unpacked_bytes: int) -> None:
        """Raises `ExpansionLimit` if that many unpacked bytes are too many for the packed ones."""
        limit = self._settings.max_expansion
        if unpacked_bytes > self._settings.expansion_floor_bytes and unpacked_bytes > limit * self._packed_bytes:
            self.exceeded = True
            ratio = unpacked_bytes / max(self._packed_bytes, 1)
            raise ExpansionLimit(
                f"unpacks to at least {ratio:.0f} times its size, more than input.max_expansion = {limit} allows; "
                "raise that setting if the file can be trusted"
            )


class Reader:
    """Reads the bytes of an iterator in any size. Bytes before damage are returned before the damage is raised."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = bytearray()
        self._damage: Damage | None = None
        self._ended = False

    def peek(self, size: int) -> bytes:
        """The next `size` bytes without consuming them; fewer at the end or before damage."""
        self._fill(size)
        return bytes(self._buffer[:size])

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the end or before damage, none after the end."""
        self._fill(size)
        return self._take(size)

    def read1(self, size: int) -> bytes:
        """Up to `size` bytes that are available now; waits only if there are none."""
        self._fill(1)
        return self._take(size)

    def stop(self) -> None:
        """Ends the input at what has been read so far; nothing is waited for any more."""
        self._ended = True

    def pieces(self) -> Iterator[bytes]:
        """The rest, as it comes."""
        while data := self.read1(_READ_BYTES):
            yield data

    def _take(self, size: int) -> bytes:
        if not self._buffer and self._damage:
            raise self._damage
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size and not self._ended:
            try:
                self._buffer += next(self._pieces)
            except StopIteration:
                self._ended = True
            except Damage as damage:
                self._ended, self._damage = True, damage


class _Decompressor(Protocol):
    """What the decompressors of zlib, bz2, lzma and zstandard have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Stepwise(Protocol):
    """A decompressor that can be asked for a part of what it has. Those of zlib and zstandard cannot."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Codec(NamedTuple):
    """A compression format: its name, the bytes that its streams begin with, and its decompressor."""

    name: str
    magic: bytes
    start: Callable[[], _Decompressor]


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


CODECS = {
    ".gz": Codec("gz", b"\x1f\x8b\x08", lambda: zlib.decompressobj(31)),
    ".bz2": Codec("bz2", b"BZh", bz2.BZ2Decompressor),
    ".xz": Codec("xz", b"\xfd7zXZ\x00", _xz),
    ".zst": Codec("zst", b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
}
_BY_SUFFIX = {**CODECS, ".tgz": CODECS[".gz"], ".tbz2": CODECS[".bz2"], ".txz": CODECS[".xz"]}
_BY_SUFFIX[".tzst"] = CODECS[".zst"]
_BZ2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")  # what follows the level in a bz2 stream: a first block, or the end


def codec_of(name: str, head: bytes) -> Codec | None:
    """The codec of content that begins with these bytes, or None if it is not compressed.

    The content decides. The name counts only if the content is neither text nor an archive, so that a damaged file is
    reported as such.
    """
    for codec in CODECS.values():
        if head.startswith(codec.magic) and (codec.name != "bz2" or head[4:10] in _BZ2_BLOCKS):
            return codec
    if archive_kind(head) or (head and head[:_TEXT_BYTES].isascii() and b"\0" not in head[:_TEXT_BYTES]):
        return None
    return _BY_SUFFIX.get(Path(name).suffix.lower())


def unpack(codec: Codec, packed: Iterator[bytes]) -> Iterator[bytes]:
    """Unpacks one stream or several in a row, also with NUL padding. Memory stays small, however much is unpacked.

    Raises:
        Damage: If the data is damaged, ends early or is empty; after all that could be unpacked.
    """
    decompressor = codec.start()
    read_bytes = 0
    try:
        for step in _steps(packed):
            read_bytes += len(step)
            rest = step
            while rest:
                if decompressor.eof:
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    decompressor = codec.start()
                yield from _decompress(decompressor, rest)
                rest = decompressor.unused_data if decompressor.eof else b""
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError) as error:
        raise Damage(f"damaged {codec.name} data: {error}") from None
    if not decompressor.eof:
        raise Damage(f"the {codec.name} data ends early: it was cut off" if read_bytes else f"holds no {codec.name} data")


def _steps(packed: Iterator[bytes]) -> Iterator[bytes]:
    """Cuts the packed bytes into small steps, and the last ones into single bytes."""
    rest = b""
    for piece in packed:
        rest += piece
        end = max(len(rest) - _LAST_BYTES, 0)
        for start in range(0, end, _STEP_BYTES):
            yield rest[start : min(start + _STEP_BYTES, end)]
        rest = rest[end:]
    for start in range(len(rest)):
        yield rest[start : start + 1]


def _decompress(decompressor: _Decompressor, data: bytes) -> Iterator[bytes]:
    if not hasattr(decompressor, "needs_input"):
        yield decompressor.decompress(data)  # at most 16 MiB from 512 bytes (zst), half a MiB (gz)
        return
    stepwise = cast(_Stepwise, decompressor)
    yield stepwise.decompress(data, _READ_BYTES)  # 512 bytes of bz2 can hold half a GiB
    while not stepwise.eof and not stepwise.needs_input:
        yield stepwise.decompress(b"", _READ_BYTES)


def file_pieces(file: BinaryIO, count: Count) -> Iterator[bytes]:
    """The rest of a file. Raises `Damage` if a read fails, so that the text before it is kept."""
    return _pieces(file.read, count)


def stream_pieces(stream: BinaryIO, count: Count) -> Iterator[bytes]:
    """The bytes of a pipe, as soon as they come. Raises `Damage` if a read fails."""
    return _pieces(getattr(stream, "read1", stream.read), count)


def _pieces(read: Callable[[int], bytes], count: Count) -> Iterator[bytes]:
    while True:
        try:
            piece = read(_READ_BYTES)
        except OSError as error:
            raise Damage(f"cannot be read further: {reason_of(error)}") from None
        if not piece:
            return
        count(len(piece))
        yield piece


def unpacked(packed: Reader, name: str, guard: Guard) -> Reader:
    """Removes the compression, if there is any: also that of data that was compressed several times."""
    for _ in range(_MAX_LAYERS):
        codec = codec_of(name, packed.peek(HEAD_BYTES))
        if codec is None:
            break
        packed = Reader(guard.watch(unpack(codec, packed.pieces())))
        name = ""
    return packed


@contextmanager
def open_file(path: Path, size: int, settings: InputSettings, count: Count) -> Iterator[Reader]:
    """Opens a file on disk and unpacks it if it is packed. Raises `OSError` if it cannot be opened."""
    with open(path, "rb", buffering=0) as file:
        yield unpacked(Reader(file_pieces(file, count)), path.name, Guard(settings, size))


def reason_of(error: Exception) -> str:
    """The message of an error; for errors of the system without path and number."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
