"""A .zip or .tar.* file in; its members out, each to be read like a file, and what was passed over, with the reason.

Nothing is written to disk under a member's name. Members that are packed themselves are unpacked one level.
"""

import copy
import posixpath
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

from stream_triage.files.naming import kind_of, natural_key, shown_name
from stream_triage.files.unpack import (
    Count,
    Damage,
    Guard,
    Reader,
    codec_of,
    file_pieces,
    reason_of,
    unpack,
    unpacked,
    zip_codec,
)
from stream_triage.settings import InputSettings

__all__ = ["Archive", "Entry", "Trouble", "open_archive"]

_READ_BYTES = 64 * 1024
_HEADER_BYTES = 1024 * 1024  # extended tar headers are read into memory, and may claim to be gigabytes
_EMPTY_READS = 64
_ZIP_LINK = 0o120000
_ZIP_ERRORS = (zipfile.BadZipFile, struct.error, OSError, EOFError, ValueError, RuntimeError, KeyError, OverflowError)
_TAR_ERRORS = (tarfile.TarError, struct.error, OSError, EOFError, ValueError, OverflowError, IndexError)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is not read, or not whole. Without a name it concerns the archive as a whole."""

    name: str
    reason: str
    error: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """One member. `open` raises `Damage` when nothing of it can be read."""

    name: str
    open: Callable[[], Reader]


class Archive(Protocol):
    def entries(self) -> Iterator[Entry | Trouble]:
        """Never raises; unless the archive was opened in any order, each entry must be read before the next."""

    def close(self) -> None: ...


def open_archive(path: Path, size: int, settings: InputSettings, count: Count, any_order: bool) -> Archive:
    """Opens by name. Raises `Damage` when it is no such archive and `OSError` when it cannot be opened.

    With `any_order`, a compressed tar archive is unpacked into a nameless temporary file first.
    """
    if kind_of(path.name) == "zip":
        return _ZipArchive(path, size, settings, count)
    return _TarArchive(path, size, settings, count, any_order)


class _Names:
    """Makes members' names shown_name and unique: the second of a name becomes `name~2`."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def unique(self, name: str) -> str:
        name = shown_name(posixpath.normpath(name).lstrip("/"))
        self._seen[name] += 1
        if self._seen[name] == 1:
            return name
        return self.unique(f"{name}~{self._seen[name]}")


def _passed_over(name: str) -> Trouble | None:
    """Members that are not opened at all, by name."""
    if any(part.startswith(".") and part != ".." for part in name.split("/")):
        return Trouble(name, "is hidden", error=False)
    if kind_of(name) != "file":
        return Trouble(name, "is an archive inside an archive; unpack it to have it read", error=False)
    return None


class _ZipArchive:
    def __init__(self, path: Path, size: int, settings: InputSettings, count: Count) -> None:
        self._size, self._settings, self._count = size, settings, count
        self._whole = Guard(settings, size)  # entries may overlap, each harmless by itself
        self._inner = Guard(settings, size)
        with ExitStack() as stack:
            file = stack.enter_context(open(path, "rb"))
            try:
                self._zip = zipfile.ZipFile(file)
            except _ZIP_ERRORS as error:
                raise Damage(f"is not a zip archive, or was cut off: {reason_of(error)}") from None
            self._files = stack.pop_all()

    def entries(self) -> Iterator[Entry | Trouble]:
        names = _Names()
        infos = [(info.filename.replace("\\", "/"), info) for info in self._zip.infolist()]
        for given, info in sorted(infos, key=lambda pair: natural_key(pair[0])):
            if not given.endswith("/"):
                name = names.unique(given)
                yield _passed_over(name) or self._refused(name, info) or self._entry(name, info)

    def close(self) -> None:
        self._zip.close()
        self._files.close()

    def _refused(self, name: str, info: zipfile.ZipInfo) -> Trouble | None:
        if info.flag_bits & 0x1:
            return Trouble(name, "is encrypted; unpack the archive with its password and read the files")
        if info.external_attr >> 16 & 0o170000 == _ZIP_LINK:
            return Trouble(name, "is a link inside the archive", error=False)
        if info.compress_type and zip_codec(info.compress_type) is None:
            return Trouble(name, f"uses zip compression method {info.compress_type}, which is not supported")
        try:
            Guard(self._settings, self._packed_bytes(info)).check(info.file_size)
        except Damage as refused:
            return Trouble(name, str(refused))
        return None

    def _packed_bytes(self, info: zipfile.ZipInfo) -> int:
        return min(info.compress_size, self._size)

    def _entry(self, name: str, info: zipfile.ZipInfo) -> Entry:
        def opened() -> Reader:
            own = Guard(self._settings, self._packed_bytes(info))
            return unpacked(Reader(self._whole.watch(own.watch(self._pieces(info)))), name, self._inner)

        return Entry(name, opened)

    def _pieces(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Unpacks here instead of in zipfile, which loses the text before damage and bounds no memory for bz2."""
        codec = zip_codec(info.compress_type)
        packed = self._packed(info)
        come, checksum = 0, 0
        for piece in unpack(codec, packed) if codec else packed:
            come += len(piece)
            checksum = zlib.crc32(piece, checksum)
            yield piece
            if come > info.file_size:
                raise Damage("holds more than the archive's directory says")
        if come < info.file_size:
            raise Damage("holds less than the archive's directory says")
        if checksum != info.CRC:
            raise Damage("has a wrong check sum (CRC): its content is damaged")

    def _packed(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        raw = copy.copy(info)
        raw.compress_type, raw.file_size = zipfile.ZIP_STORED, info.compress_size
        del raw.CRC  # zipfile then leaves the check to us
        try:
            with self._zip.open(raw) as file:
                while piece := file.read(_READ_BYTES):
                    self._count(len(piece))
                    yield piece
        except _ZIP_ERRORS as error:
            raise Damage(f"damaged zip entry: {reason_of(error)}") from None


class _Feed:
    """A file for tarfile that ends where the damage begins, so that tarfile hands out what is before it."""

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
            if self._empty_reads > _EMPTY_READS:  # else tarfile skips through a member of claimed exabytes
                raise self.damage or Damage("the archive ends early: it was cut off")
        return data

    def drain(self) -> Damage | None:
        """Reads on to the check sum at the end."""
        while self.damage is None and self.read(_READ_BYTES):
            pass
        return self.damage


class _Header(tarfile.TarInfo):
    """Remembers the last header read: tarfile ends without a word at a damaged one. A subclass per archive."""

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


class _TarArchive:
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
        while data := self._feed.read(_READ_BYTES):
            whole.write(data)
        whole.seek(0)
        return whole

    def _opened(self, file: IO[bytes], mode: str) -> tarfile.TarFile:
        try:
            return cast(
                tarfile.TarFile,
                tarfile.open(fileobj=file, mode=mode, tarinfo=self._header),  # type: ignore[call-overload]  # mode is str
            )
        except (*_TAR_ERRORS, Damage) as error:
            raise self._feed.damage or Damage(f"is not a tar archive, or damaged from its start: {error}") from None

    def entries(self) -> Iterator[Entry | Trouble]:
        names = _Names()
        last = -1
        while True:
            try:
                member = self._tar.next()
            except (*_TAR_ERRORS, Damage) as error:
                yield Trouble("", f"{self._feed.damage or error}; what follows in the archive is not read")
                return
            if member is None:
                break
            if member.offset <= last or member.size < 0:
                yield Trouble("", "is damaged: its members run backwards; what follows is not read")
                return
            last = member.offset
            self._tar.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
            if not member.isdir():
                name = names.unique(member.name)
                yield _passed_over(name) or self._refused(name, member) or self._entry(name, member)
        if reason := self._end():
            yield Trouble("", reason)

    def close(self) -> None:
        self._tar.close()
        self._files.close()

    def _end(self) -> str | None:
        """What is wrong with the end of the archive, if anything."""
        if damage := self._feed.drain():
            return f"{damage}; members behind this point are missing"
        if self._header.last.strip(b"\0"):
            return "is damaged: a member's header cannot be read; what follows in the archive is not read"
        return None if self._header.last else "ends without an end mark: members may be missing"

    def _refused(self, name: str, member: tarfile.TarInfo) -> Trouble | None:
        if member.issparse():
            return Trouble(name, "is stored sparse, which is not supported; unpack the archive and read the files")
        if member.islnk() or member.issym():
            return Trouble(name, "is a link inside the archive", error=False)
        return None if member.isfile() else Trouble(name, "is not a file", error=False)

    def _entry(self, name: str, member: tarfile.TarInfo) -> Entry:
        return Entry(name, lambda: unpacked(Reader(self._pieces(member)), name, self._inner))

    def _pieces(self, member: tarfile.TarInfo) -> Iterator[bytes]:
        """Reads beside tarfile's own member files, which lose the text before damage."""
        stream = cast(IO[bytes], self._tar.fileobj)
        left = member.size
        try:
            stream.seek(member.offset_data)
            while left:
                data = stream.read(min(left, _READ_BYTES))
                if not data:
                    raise self._feed.damage or Damage("the archive ends early: it was cut off")
                left -= len(data)
                yield data
        except _TAR_ERRORS as error:
            raise Damage(f"damaged tar archive: {reason_of(error)}") from None
