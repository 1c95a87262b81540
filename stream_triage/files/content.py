"""Bytes of the sources of one run in; the digest of its content out, however the bytes were cut or interleaved."""

import hashlib
from typing import Final

from stream_triage.files.naming import natural_key

__all__ = ["ContentDigest"]

# Earlier releases made the id of a run from so many bytes at the beginning of its first source.
HEAD_BYTES: Final = 4096


class ContentDigest:
    """The SHA-256 of the content of a run, made while its text is read.

    NUL bytes do not count: those that a crash leaves in a log are skipped where the file is followed, and read otherwise.

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
        head = self._heads.get(source, b"")
        if data and len(head) < HEAD_BYTES:
            self._heads[source] = (head + data)[:HEAD_BYTES]
        if data := data.replace(b"\0", b""):
            self._sources.setdefault(source, hashlib.sha256()).update(data)

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
