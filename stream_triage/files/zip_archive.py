"""A .zip file in, its members out."""

import copy
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Final

from stream_triage.files.links import Place, Targets, member_path
from stream_triage.files.members import READ_BYTES, Member, MemberNames, MemberProblem, is_hidden, link_problems
from stream_triage.files.naming import natural_key
from stream_triage.files.unpack import Count, Damage, Guard, Reader, reason_of, unpack, unpacked
from stream_triage.files.zip_codecs import zip_codec

__all__ = ["ZipArchive"]

_LINK: Final = 0o120000
_MAX_TARGET_BYTES: Final = 4096
# zipfile keeps the whole directory in memory, at twenty times its size if the names are short.
_MAX_DIRECTORY_BYTES: Final = 16 * 1024 * 1024
_END_BYTES, _LOCATOR_BYTES, _END64_BYTES, _COMMENT_BYTES = 22, 20, 56, 65_535
_ERRORS = (zipfile.BadZipFile, struct.error, OSError, EOFError, ValueError, RuntimeError, KeyError, OverflowError)


class ZipArchive:
    """The members of a zip archive, in natural order; they may be read in any order.

    A symbolic link comes last, and is read only if its target was not read under another name.

    Args:
        file: The archive.
        guard: Watches what is unpacked.
        count: Called with the packed bytes that were read.
        files: Closed with the archive.

    Raises:
        Damage: If it has no directory that can be read.
    """

    def __init__(self, file: IO[bytes], guard: Guard, count: Count, files: ExitStack) -> None:
        self._size = file.seek(0, os.SEEK_END)
        self._guard, self._count, self._files = guard, count, files
        if _directory_bytes(file, self._size) > _MAX_DIRECTORY_BYTES:
            raise Damage(f"has a directory of more than {_MAX_DIRECTORY_BYTES} bytes; unpack it and read the files")
        try:
            self._zip = zipfile.ZipFile(file)
        except _ERRORS as error:
            raise Damage(f"is not a zip archive, or was cut off: {reason_of(error)}") from None
        self._unread_bytes = _other_archive(file, self._zip)

    def members(self) -> Iterator[Member | MemberProblem]:
        """The members and problems."""
        names = MemberNames()
        targets: Targets[zipfile.ZipInfo] = Targets()
        links = []
        infos = [(info.filename.replace("\\", "/"), info) for info in self._zip.infolist()]
        for given, info in sorted(infos, key=lambda pair: natural_key(pair[0])):
            if given.endswith("/"):
                targets.add_folder(member_path(given))
                continue
            name = names.unique(given)
            problem = self._unreadable(name, info)
            if problem is None and _is_link(info):
                targets.add_link(member_path(given), self._target(info))
                links.append((name, member_path(given)))
            elif problem is None:
                targets.add_file(member_path(given), place := Place(info))
                if not is_hidden(name):
                    place.is_read = True
                    yield self._member(name, info)
            if is_hidden(name):
                yield MemberProblem(name, "is hidden", error=False)
            elif problem:
                yield problem
        yield from self._linked(links, targets)
        if self._unread_bytes:
            yield MemberProblem(
                "", f"has {self._unread_bytes} bytes of another archive in front, which is not read; split it"
            )

    def close(self) -> None:
        """Closes the file."""
        self._zip.close()
        self._files.close()

    def _linked(self, links: list[tuple[str, str]], targets: Targets[zipfile.ZipInfo]) -> Iterator[Member | MemberProblem]:
        """The members behind symbolic links."""
        for name, path in links:
            if is_hidden(name):
                continue
            target, place = targets.follow(path)
            if place is None:
                yield from link_problems(targets, name, target)
            elif not place.is_read:
                place.is_read = True
                yield self._member(name, place.content)

    def _target(self, info: zipfile.ZipInfo) -> str:
        """The content of a link; empty if it cannot be read, which no member is called."""
        try:
            data = Reader(self._guard.watch(self._pieces(info))).read(_MAX_TARGET_BYTES)
        except Damage:
            return ""
        return data.decode("utf-8", "surrogateescape")

    def _unreadable(self, name: str, info: zipfile.ZipInfo) -> MemberProblem | None:
        if info.flag_bits & 0x1:
            return MemberProblem(name, "is encrypted; unpack the archive with its password and read the files")
        if info.compress_type and zip_codec(info.compress_type) is None:
            return MemberProblem(name, f"uses zip compression method {info.compress_type}, which is not supported")
        try:
            self._own_guard(info).check(info.file_size)
        except Damage as limit:
            return MemberProblem(name, str(limit))
        return None

    def _own_guard(self, info: zipfile.ZipInfo) -> Guard:
        """Entries may overlap: each is harmless alone, all together are not. So both are watched."""
        return self._guard.beside(min(info.compress_size, self._size))

    def _member(self, name: str, info: zipfile.ZipInfo) -> Member:
        def opened() -> Reader:
            pieces = self._guard.watch(self._own_guard(info).watch(self._pieces(info)))
            return unpacked(Reader(pieces), name, self._guard)

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
            if size == info.file_size and codec and codec.name == "lzma":
                break  # LZMA needs no end mark in a zip archive
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


def _is_link(info: zipfile.ZipInfo) -> bool:
    return info.external_attr >> 16 & 0o170000 == _LINK


def _other_archive(file: IO[bytes], archive: zipfile.ZipFile) -> int:
    """Bytes in front of the members, if another zip archive is there; 0 for a program that unpacks itself."""
    start = min((info.header_offset for info in archive.infolist()), default=0)
    file.seek(0, io.SEEK_SET)
    return start if start > 0 and file.read(4) == b"PK\x03\x04" else 0


def _directory_bytes(file: IO[bytes], size: int) -> int:
    """How large the directory claims to be, read where zipfile reads it; 0 if there is none."""
    file.seek(max(size - _END_BYTES - _COMMENT_BYTES - _LOCATOR_BYTES - _END64_BYTES, 0))
    tail = file.read()
    end = len(tail) - _END_BYTES
    if tail[end : end + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        end = tail.rfind(b"PK\5\6")
    large = end - _LOCATOR_BYTES - _END64_BYTES
    if large >= 0 and tail[end - _LOCATOR_BYTES :].startswith(b"PK\6\7") and tail[large:].startswith(b"PK\6\6"):
        return int.from_bytes(tail[large + 40 : large + 48], "little")
    return int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
