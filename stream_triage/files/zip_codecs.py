"""The number of a zip compression method in; its codec out."""

import lzma
import zlib

from stream_triage.files.unpack import CODECS, XZ_MEMORY_BYTES, Codec

__all__ = ["zip_codec"]

_HEADER_BYTES = 9


class _ZipLzma:
    """LZMA as in a zip archive: version and properties of the encoder come first (APPNOTE 5.8.8)."""

    def __init__(self) -> None:
        self._start = b""
        self._decompressor: lzma.LZMADecompressor | None = None

    @property
    def eof(self) -> bool:
        """Whether the end was reached."""
        return self._decompressor is not None and self._decompressor.eof

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes without further data."""
        return self._decompressor is None or self._decompressor.needs_input

    @property
    def unused_data(self) -> bytes:
        """What comes behind the end."""
        return self._decompressor.unused_data if self._decompressor else b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Unpacks up to `max_length` bytes; raises `ValueError` or `LZMAError` if the data is damaged."""
        if self._decompressor is None:
            self._start += data
            if len(self._start) < _HEADER_BYTES:
                return b""
            self._decompressor = self._opened(self._start[4:_HEADER_BYTES])
            data = self._start[_HEADER_BYTES:]
        return self._decompressor.decompress(data, max_length)

    def _opened(self, properties: bytes) -> lzma.LZMADecompressor:
        dictionary_bytes = int.from_bytes(properties[1:], "little")
        if self._start[2:4] != b"\5\0" or dictionary_bytes > XZ_MEMORY_BYTES:
            raise ValueError("its dictionary is too large, or its header is damaged")
        rest, literal_context = divmod(properties[0], 9)
        positions, literal_positions = divmod(rest, 5)
        chain = {"id": lzma.FILTER_LZMA1, "dict_size": max(dictionary_bytes, 4096)}
        return lzma.LZMADecompressor(
            lzma.FORMAT_RAW, filters=[chain | {"lc": literal_context, "lp": literal_positions, "pb": positions}]
        )


# Method numbers of APPNOTE 4.4.5. Deflate64 (9), PPMd (98) and older ones are in no library that we have.
_METHODS = {
    8: Codec("deflate", b"", lambda: zlib.decompressobj(-15)),
    12: CODECS[".bz2"],
    14: Codec("lzma", b"", _ZipLzma),
    20: CODECS[".zst"],  # before APPNOTE 6.3.8
    93: CODECS[".zst"],
    95: CODECS[".xz"],
}


def zip_codec(method: int) -> Codec | None:
    """The codec of a zip compression method, or None if the method is not supported."""
    return _METHODS.get(method)
