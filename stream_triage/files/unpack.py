"""Packed bytes in, plain bytes out: .gz .bz2 .xz .zst, with a guard against what unpacks beyond measure.

Whatever damage the input has, all that comes before it is given first; then `Damage` is raised, once.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import zstandard

from stream_triage.settings import InputSettings

__all__ = [
    "Codec",
    "Count",
    "Damage",
    "Guard",
    "Reader",
    "Refused",
    "codec_of",
    "file_pieces",
    "open_file",
    "reason_of",
    "stream_pieces",
    "unpack",
    "unpacked",
    "zip_codec",
]

Count = Callable[[int], None]

_READ_BYTES = 64 * 1024
# A decompressor that meets an error gives nothing of what this call unpacked before it. So little goes in at a time,
# and the last bytes, which hold the check sum, one by one: a wrong one costs no text.
_STEP_BYTES = 512
_LAST_BYTES = 64
_XZ_MEMORY_BYTES = 256 * 1024 * 1024  # `xz -9` needs 65 MiB; a hostile header may ask for 4 GiB


class Damage(Exception):
    """Input that cannot be read further; the message says why."""


class Refused(Damage):
    """Input that could be read further, but must not be."""


class Guard:
    """Counts what comes out of one packed file and refuses more than its size allows."""

    def __init__(self, settings: InputSettings, packed_bytes: int = 0) -> None:
        self._settings = settings
        self._packed_bytes = packed_bytes
        self._unpacked_bytes = 0

    def growing(self, packed: Iterator[bytes]) -> Iterator[bytes]:
        """For a stream, whose size is what came of it so far."""
        for piece in packed:
            self._packed_bytes += len(piece)
            yield piece

    def watch(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Passes `pieces` on until there are too many; then raises `Refused`."""
        for piece in pieces:
            for place in range(0, len(piece), _READ_BYTES):  # a piece may be large, and its beginning allowed
                part = piece[place : place + _READ_BYTES]
                self._unpacked_bytes += len(part)
                self.check(self._unpacked_bytes)
                yield part

    def check(self, unpacked_bytes: int) -> None:
        """Raises `Refused` when so many bytes are too many for the packed ones."""
        limit = self._settings.max_expansion
        if unpacked_bytes > self._settings.expansion_floor_bytes and unpacked_bytes > limit * self._packed_bytes:
            ratio = unpacked_bytes / max(self._packed_bytes, 1)
            raise Refused(
                f"unpacks to at least {ratio:.0f} times its size, more than input.max_expansion = {limit} allows; "
                "raise that setting if the file can be trusted"
            )


class Reader:
    """Bytes of an iterator in any size asked for. What came before damage is given before the damage is raised."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = bytearray()
        self._damage: Damage | None = None
        self._ended = False

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer at the end or before damage; they stay to be read."""
        self._fill(size)
        return bytes(self._buffer[:size])

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end or before damage, none after the end."""
        self._fill(size)
        return self._take(size)

    def read1(self, size: int) -> bytes:
        """Up to `size` bytes as they come; waits only when there are none."""
        self._fill(1)
        return self._take(size)

    def stop(self) -> None:
        """What has come already is all there is: nothing is waited for any more."""
        self._ended = True

    def pieces(self) -> Iterator[bytes]:
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


class _Machine(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class Codec(NamedTuple):
    name: str
    magic: bytes
    start: Callable[[], _Machine]


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


_CODECS = {
    ".gz": Codec("gz", b"\x1f\x8b\x08", lambda: zlib.decompressobj(31)),
    ".bz2": Codec("bz2", b"BZh", bz2.BZ2Decompressor),
    ".xz": Codec("xz", b"\xfd7zXZ\x00", _xz),
    ".zst": Codec("zst", b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()),
}
_BY_SUFFIX = {**_CODECS, ".tgz": _CODECS[".gz"], ".tbz2": _CODECS[".bz2"], ".txz": _CODECS[".xz"]}
_BY_SUFFIX[".tzst"] = _CODECS[".zst"]
_BZ2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")  # what follows the level in a bz2 stream: a first block, or the end
_ZIP_METHODS = {
    8: Codec("deflate", b"", lambda: zlib.decompressobj(-15)),
    12: _CODECS[".bz2"],
    93: _CODECS[".zst"],
}


def zip_codec(method: int) -> Codec | None:
    """How entries of a zip archive with this method are unpacked; none where we cannot."""
    return _ZIP_METHODS.get(method)


def codec_of(name: str, head: bytes) -> Codec | None:
    """How content that begins like this is packed; none when it is not.

    The content decides. The name does only where the content is no text either, so that damage shows as damage.
    """
    for codec in _CODECS.values():
        if head.startswith(codec.magic) and (codec.name != "bz2" or head[4:10] in _BZ2_BLOCKS):
            return codec
    if head and head.isascii() and b"\0" not in head:
        return None
    return _BY_SUFFIX.get(Path(name).suffix.lower())


def unpack(codec: Codec, packed: Iterator[bytes]) -> Iterator[bytes]:
    """Unpacks one stream or several in a row, padded with NULs or not; memory stays small whatever comes out."""
    machine = codec.start()
    come = 0
    try:
        for step in _steps(packed):
            come += len(step)
            while step:
                if machine.eof:
                    step = step.lstrip(b"\0")
                    if not step:
                        break
                    machine = codec.start()
                yield from _turn(machine, step)
                step = machine.unused_data if machine.eof else b""
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError) as error:
        raise Damage(f"damaged {codec.name} data: {error}") from None
    if not machine.eof:
        raise Damage(f"the {codec.name} data ends early: it was cut off" if come else f"holds no {codec.name} data")


def _steps(packed: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in packed:
        rest += piece
        end = max(len(rest) - _LAST_BYTES, 0)
        for place in range(0, end, _STEP_BYTES):
            yield rest[place : min(place + _STEP_BYTES, end)]
        rest = rest[end:]
    for place in range(len(rest)):
        yield rest[place : place + 1]


def _turn(machine: _Machine, data: bytes) -> Iterator[bytes]:
    if not isinstance(machine, bz2.BZ2Decompressor | lzma.LZMADecompressor):
        yield machine.decompress(data)  # at most 16 MiB from 512 bytes (zst), half a MiB (gz)
        return
    yield machine.decompress(data, _READ_BYTES)  # 512 bytes of bz2 can hold half a GiB
    while not machine.eof and not machine.needs_input:
        yield machine.decompress(b"", _READ_BYTES)


def file_pieces(file: BinaryIO, count: Count) -> Iterator[bytes]:
    """What is left of a file. A read that fails is damage, not the end of everything."""
    while True:
        try:
            piece = file.read(_READ_BYTES)
        except OSError as error:
            raise Damage(f"cannot be read further: {reason_of(error)}") from None
        if not piece:
            return
        count(len(piece))
        yield piece


def stream_pieces(stream: BinaryIO, count: Count) -> Iterator[bytes]:
    """What comes from a pipe, as it comes."""
    read1: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
    while True:
        try:
            piece = read1(_READ_BYTES)
        except OSError as error:
            raise Damage(f"cannot be read further: {reason_of(error)}") from None
        if not piece:
            return
        count(len(piece))
        yield piece


def unpacked(packed: Reader, name: str, guard: Guard) -> Reader:
    """Takes one level of compression away where there is one."""
    codec = codec_of(name, packed.peek(10))
    return Reader(guard.watch(unpack(codec, packed.pieces()))) if codec else packed


@contextmanager
def open_file(path: Path, size: int, settings: InputSettings, count: Count) -> Iterator[Reader]:
    """A file on disk, unpacked. Raises `OSError` when it cannot be opened."""
    with open(path, "rb", buffering=0) as file:
        yield unpacked(Reader(file_pieces(file, count)), path.name, Guard(settings, size))


def reason_of(error: Exception) -> str:
    """What the system says, without path and number."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
