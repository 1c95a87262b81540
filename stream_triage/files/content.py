"""Bytes of the sources of one run in; the digest of its content out, however the bytes were cut or interleaved."""

import hashlib
from typing import Final

from stream_triage.files.naming import natural_key

__all__ = ["ContentDigest"]

# Earlier releases made the id of a run from so many bytes at the beginning of its first source.
HEAD_BYTES: Final = 4096


class ContentDigest:
    """The SHA-256 of the content of a run, made while its text is read.

    A run with one source without a name, as every single file is, has the digest that `sha256sum FILE` prints. A run
    with named sources has the digest of what `sha256sum` prints for files with these names and contents: a line `DIGEST
    NAME` for each source, sorted by name. Sources without bytes do not count, because a file that is followed becomes a
    source with its first byte.

    >>> digest = ContentDigest()
    >>> digest.update("", b"start")
    >>> digest.update("", b"ed")
    >>> digest.hexdigest()[:8], digest.head()
    ('03494afd', '03494afd')
    """

    def __init__(self) -> None:
        self._sources: dict[str, hashlib._Hash] = {}
        self._heads: dict[str, bytes] = {}

    def update(self, source: str, data: bytes) -> None:
        """Adds the next bytes of a source."""
        if not data:
            return
        if source not in self._sources:
            self._sources[source] = hashlib.sha256()
            self._heads[source] = b""
        self._sources[source].update(data)
        if len(self._heads[source]) < HEAD_BYTES:
            self._heads[source] = (self._heads[source] + data)[:HEAD_BYTES]

    def hexdigest(self) -> str:
        """The digest of everything so far, as 64 hex digits; more bytes may follow."""
        if not self._sources.keys() - {""}:
            digest = self._sources.get("") or hashlib.sha256()
            return digest.hexdigest()
        lines = (f"{digest.hexdigest()}  {source}\n" for source, digest in sorted(self._sources.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def head(self) -> str:
        """The 8 hex digits in the id that earlier releases gave to the run; see `RunEnd.head`."""
        first = min(self._heads, key=natural_key, default="")
        return hashlib.sha256(self._heads.get(first, b"")).hexdigest()[:8]
