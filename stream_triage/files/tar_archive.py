"""A .tar file, compressed or not, in; its members out."""

import struct
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, cast

from stream_triage.files.members import READ_BYTES, Member, MemberNames, MemberProblem, skipped
from stream_triage.files.unpack import Count, Damage, Guard, Reader, codec_of, file_pieces, reason_of, unpack, unpacked
from stream_triage.settings import InputSettings

__all__ = ["TarArchive"]

_HEADER_BYTES = 1024 * 1024  # extended tar headers are read into memory, and may claim to be gigabytes
_EMPTY_READS = 64
_ERRORS = (tarfile.TarError, struct.error, OSError, EOFError, ValueError, OverflowError, IndexError)


class _Feed:
    """The file that tarfile reads. It ends where damage begins, so that tarfile returns what is before the damage."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._empty_reads = 0
        self.damage: Damage | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._reader.read(size)
        except Damage as damage:
            self.damage, data = damage, b""
        if not data:
            self._empty_reads += 1
            if self._empty_reads > _EMPTY_READS:  # tarfile would read on to the end of a member that claims exabytes
                raise self.damage or Damage("the archive ends early: it was cut off")
        return data

    def drain(self) -> Damage | None:
        """Reads to the checksum at the end; returns the damage, if there is any."""
        while self.damage is None and self.read(READ_BYTES):
            pass
        return self.damage


class _Header(tarfile.TarInfo):
    """Remembers the last header that was read, since tarfile ends without an error at a damaged one.

    The header is an attribute of the class, so each archive needs a subclass of its own.
    """

    last = b""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        cls.last = bytes(buf)
        header = super().frombuf(buf, encoding, errors)
        extended = header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE) or header.type in b"LK"
        if header.size < 0 or (extended and header.size > _HEADER_BYTES):
            raise tarfile.HeaderError("impossible size in a header")
        return header


def _header_class() -> type[_Header]:
    class OneArchivesHeader(_Header):
        pass

    return OneArchivesHeader


class TarArchive:
    """A tar archive; see `archives.open_archive`."""

    def __init__(self, path: Path, size: int, settings: InputSettings, count: Count, any_order: bool) -> None:
        self._inner = Guard(settings, size)
        self._header = _header_class()
        with ExitStack() as stack:
            file = stack.enter_context(open(path, "rb", buffering=0))
            packed = Reader(file_pieces(file, count))
            codec = codec_of(path.name, packed.peek(512)[:10])
            whole = Guard(settings, size)
            self._feed = _Feed(Reader(whole.watch(unpack(codec, packed.pieces()))) if codec else packed)
            if not any_order:
                self._tar = self._opened(cast(IO[bytes], self._feed), "r|")
            elif codec:
                self._tar = self._opened(self._copied(stack.enter_context(tempfile.TemporaryFile())), "r:")
            else:
                self._feed = _Feed(Reader(iter(())))
                file.seek(0)
                self._tar = self._opened(file, "r:")
            self._files = stack.pop_all()

    def _copied(self, whole: IO[bytes]) -> IO[bytes]:
        while data := self._feed.read(READ_BYTES):
            whole.write(data)
        whole.seek(0)
        return whole

    def _opened(self, file: IO[bytes], mode: str) -> tarfile.TarFile:
        try:
            return cast(
                tarfile.TarFile,
                tarfile.open(fileobj=file, mode=mode, tarinfo=self._header),  # type: ignore[call-overload]  # mode is str
            )
        except (*_ERRORS, Damage) as error:
            raise self._feed.damage or Damage(f"is not a tar archive, or damaged from its start: {error}") from None

    def members(self) -> Iterator[Member | MemberProblem]:
        """The members and problems."""
        names = MemberNames()
        last = -1
        while True:
            try:
                info = self._tar.next()
            except (*_ERRORS, Damage) as error:
                yield MemberProblem("", f"{self._feed.damage or error}; the rest of the archive is not read")
                return
            if info is None:
                break
            if info.offset <= last or info.size < 0:
                yield MemberProblem("", "is damaged: a member begins before the one in front of it; the rest is not read")
                return
            last = info.offset
            self._tar.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
            if not info.isdir():
                name = names.unique(info.name)
                yield skipped(name) or self._unreadable(name, info) or self._member(name, info)
        if reason := self._fault_at_end():
            yield MemberProblem("", reason)

    def close(self) -> None:
        """Closes the file."""
        self._tar.close()
        self._files.close()

    def _fault_at_end(self) -> str | None:
        if damage := self._feed.drain():
            return f"{damage}; members behind this point are missing"
        if self._header.last.strip(b"\0"):
            return "is damaged: the header of a member cannot be read; the rest of the archive is not read"
        return None if self._header.last else "ends without an end mark: members may be missing"

    def _unreadable(self, name: str, info: tarfile.TarInfo) -> MemberProblem | None:
        if info.issparse():
            return MemberProblem(name, "is stored sparse, which is not supported; unpack the archive and read the files")
        if info.islnk() or info.issym():
            return MemberProblem(name, "is a link inside the archive", error=False)
        return None if info.isfile() else MemberProblem(name, "is not a file", error=False)

    def _member(self, name: str, info: tarfile.TarInfo) -> Member:
        return Member(name, lambda: unpacked(Reader(self._pieces(info)), name, self._inner))

    def _pieces(self, info: tarfile.TarInfo) -> Iterator[bytes]:
        """The content. The file objects of tarfile are not used: they lose the text before damage."""
        stream = cast(IO[bytes], self._tar.fileobj)
        left = info.size
        try:
            stream.seek(info.offset_data)
            while left:
                data = stream.read(min(left, READ_BYTES))
                if not data:
                    raise self._feed.damage or Damage("the archive ends early: it was cut off")
                left -= len(data)
                yield data
        except _ERRORS as error:
            raise Damage(f"damaged tar archive: {reason_of(error)}") from None
