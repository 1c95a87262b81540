"""A .zip file in, its members out."""

import copy
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from stream_triage.files.members import READ_BYTES, Member, MemberNames, MemberProblem, skipped
from stream_triage.files.naming import natural_key
from stream_triage.files.unpack import Count, Damage, Guard, Reader, reason_of, unpack, unpacked, zip_codec
from stream_triage.settings import InputSettings

__all__ = ["ZipArchive"]

_LINK = 0o120000
_ERRORS = (zipfile.BadZipFile, struct.error, OSError, EOFError, ValueError, RuntimeError, KeyError, OverflowError)


class ZipArchive:
    """A zip archive; see `archives.open_archive`. The members come in natural order and may be read in any order."""

    def __init__(self, path: Path, size: int, settings: InputSettings, count: Count) -> None:
        self._size, self._settings, self._count = size, settings, count
        self._whole = Guard(settings, size)  # entries may overlap: each is harmless alone, all together are not
        self._inner = Guard(settings, size)
        with ExitStack() as stack:
            file = stack.enter_context(open(path, "rb"))
            try:
                self._zip = zipfile.ZipFile(file)
            except _ERRORS as error:
                raise Damage(f"is not a zip archive, or was cut off: {reason_of(error)}") from None
            self._files = stack.pop_all()

    def members(self) -> Iterator[Member | MemberProblem]:
        """The members and problems."""
        names = MemberNames()
        infos = [(info.filename.replace("\\", "/"), info) for info in self._zip.infolist()]
        for given, info in sorted(infos, key=lambda pair: natural_key(pair[0])):
            if not given.endswith("/"):
                name = names.unique(given)
                yield skipped(name) or self._unreadable(name, info) or self._member(name, info)

    def close(self) -> None:
        """Closes the file."""
        self._zip.close()
        self._files.close()

    def _unreadable(self, name: str, info: zipfile.ZipInfo) -> MemberProblem | None:
        if info.flag_bits & 0x1:
            return MemberProblem(name, "is encrypted; unpack the archive with its password and read the files")
        if info.external_attr >> 16 & 0o170000 == _LINK:
            return MemberProblem(name, "is a link inside the archive", error=False)
        if info.compress_type and zip_codec(info.compress_type) is None:
            return MemberProblem(name, f"uses zip compression method {info.compress_type}, which is not supported")
        try:
            Guard(self._settings, self._packed_bytes(info)).check(info.file_size)
        except Damage as limit:
            return MemberProblem(name, str(limit))
        return None

    def _packed_bytes(self, info: zipfile.ZipInfo) -> int:
        return min(info.compress_size, self._size)

    def _member(self, name: str, info: zipfile.ZipInfo) -> Member:
        def opened() -> Reader:
            own = Guard(self._settings, self._packed_bytes(info))
            return unpacked(Reader(self._whole.watch(own.watch(self._pieces(info)))), name, self._inner)

        return Member(name, opened)

    def _pieces(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """The unpacked content.

        zipfile is not used to unpack: it loses the text before damage, and does not limit the memory that bz2 takes.
        """
        codec = zip_codec(info.compress_type)
        packed = self._packed(info)
        size, checksum = 0, 0
        for piece in unpack(codec, packed) if codec else packed:
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
            yield piece
            if size > info.file_size:
                raise Damage("holds more than the archive's directory says")
        if size < info.file_size:
            raise Damage("holds less than the archive's directory says")
        if checksum != info.CRC:
            raise Damage("has a wrong check sum (CRC): its content is damaged")

    def _packed(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        raw = copy.copy(info)
        raw.compress_type, raw.file_size = zipfile.ZIP_STORED, info.compress_size
        del raw.CRC  # then zipfile does not check it; `_pieces` does
        try:
            with self._zip.open(raw) as file:
                while piece := file.read(READ_BYTES):
                    self._count(len(piece))
                    yield piece
        except _ERRORS as error:
            raise Damage(f"damaged zip entry: {reason_of(error)}") from None
