"""Bytes of a tar archive in; its members out, as what their headers say: name, type, position and size.

`tarfile` of the standard library is used for one thing only, to decode the fields of a header. It has no way to read on
behind an end mark, ends without an error at a damaged header, and keeps everything it has read in memory.
"""

import re
import tarfile
from collections.abc import Iterator, Sized
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from stream_triage.files.unpack import Damage

__all__ = ["BLOCK_BYTES", "Entry", "Tape", "entries"]

BLOCK_BYTES: Final = 512
# Headers that describe the next member are read into memory, and may claim to be gigabytes.
_MAX_EXTENDED_BYTES: Final = 1024 * 1024
_MAX_SPARSE_PARTS: Final = 50_000
_NO_DATA: Final = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
_FILES: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE)
_FOLDERS: Final = (tarfile.DIRTYPE, b"D")  # D: contents of a folder, in incremental archives of GNU tar
_PAX: Final = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_LONG_NAMES: Final = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_SPARSE_PARTS: Final = ("GNU.sparse.offset", "GNU.sparse.numbytes")
_SPARSE: Final = ("name", "major", "map", "size", "realsize")
# Of extended headers; others are dropped, since an archive may have millions of them.
_FIELDS: Final = frozenset(("path", "linkpath", "size", *_SPARSE_PARTS, *(f"GNU.sparse.{name}" for name in _SPARSE)))
_OCTAL: Final = re.compile(rb"[ \0]*([0-7]+)[ \0]*")


EntryKind = Literal["file", "folder", "hard link", "symbolic link", "other"]


class Tape(Protocol):
    """Where the bytes of an archive come from. `read` and `seek` raise `Damage` where they cannot be read any further."""

    @property
    def position(self) -> int:
        """Offset of the next byte."""

    def read(self, size: int) -> bytes:
        """The next bytes; fewer only at the end of the archive."""

    def seek(self, offset: int) -> None:
        """Goes on at this offset, which is never before the present one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member.

    Attributes:
        name: Its name in the archive.
        kind: `other` is a device, a pipe, or a type that only one program knows.
        link: Of a link, its target: of a hard link a name in the archive, of a symbolic link relative to its folder.
        offset: Where the archive contains its data.
        size: Bytes of its data in the archive.
        parts: Of a sparse file, offset and size of the parts that the archive contains; all else of the file is NUL.
        full_size: Bytes of the file, holes included.
    """

    name: str
    kind: EntryKind
    link: str
    offset: int
    size: int
    parts: tuple[tuple[int, int], ...] | None = None
    full_size: int = 0


@dataclass(slots=True)
class _Extended:
    """What extended headers say about the next member."""

    fields: dict[str, str] = field(default_factory=dict)
    sparse: list[str] = field(default_factory=list)
    """Offsets and sizes of version 0.0, which repeats the names of its fields."""


def entries(tape: Tape) -> Iterator[Entry]:
    """The members of an archive, and of those that were joined to it: an end mark ends one archive, not the file.

    Raises:
        Damage: If the archive is damaged, ends early or is none; after the members before that.
    """
    shared: dict[str, str] = {}
    extended = _Extended()
    first, ended = True, False
    while block := tape.read(BLOCK_BYTES):
        if not block.strip(b"\0"):
            ended = True
            continue
        if len(block) < BLOCK_BYTES:
            if ended:  # less than a header: no member can be lost
                return
            raise Damage("the archive ends early: it was cut off")
        info = _decoded(block, first, ended)
        first = ended = False
        if info.type in _PAX:
            fields = _pax_fields(_content(tape, info))
            if info.type == tarfile.XGLTYPE:
                shared.update(fields)
            else:
                extended.fields.update(fields)
                extended.sparse += [value for name, value in fields if name in _SPARSE_PARTS]
                _check_parts(extended.sparse)
        elif info.type in _LONG_NAMES:
            text = _content(tape, info).split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
            extended.fields["path" if info.type == tarfile.GNUTYPE_LONGNAME else "linkpath"] = text
        else:
            entry, end = _entry(tape, info, block, {**shared, **extended.fields}, extended.sparse)
            extended = _Extended()
            yield entry
            tape.seek(end)
    if first and not ended:
        raise Damage("is not a tar archive: it is empty")
    if not ended:
        raise Damage("ends without an end mark: members may be missing")


def _decoded(block: bytes, first: bool, ended: bool) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError, OverflowError) as error:
        if first:
            raise Damage(f"is not a tar archive, or damaged from its start: {error}") from None
        if ended:
            raise Damage("has other data behind its end mark, which is not read") from None
        raise Damage("is damaged: the header of a member cannot be read, and the rest is not read") from None
    if info.size < 0:
        raise Damage("is damaged: a header has an impossible size, and the rest is not read")
    return info


def _content(tape: Tape, info: tarfile.TarInfo) -> bytes:
    if info.size > _MAX_EXTENDED_BYTES:
        raise Damage("is damaged: a header has an impossible size, and the rest is not read")
    data = tape.read(_padded(info.size))
    if len(data) < info.size:
        raise Damage("the archive ends early: it was cut off")
    return data[: info.size]


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _pax_fields(data: bytes) -> list[tuple[str, str]]:
    """Those records of an extended header of POSIX that are of use. Each is `LENGTH NAME=VALUE` and a line feed."""
    fields = []
    start = 0
    while start < len(data):
        digits, space, _ = data[start : start + 20].partition(b" ")
        end = start + int(digits) if digits.isdigit() and space else 0
        keyword, equals, value = data[start + len(digits) + 1 : end - 1].partition(b"=")
        if not equals or not start < end <= len(data):
            break  # what is damaged here is at worst a name
        if (name := keyword.decode("ascii", "replace")) in _FIELDS:
            fields.append((name, value.decode("utf-8", "surrogateescape")))
        start = end
    return fields


def _entry(tape: Tape, info: tarfile.TarInfo, block: bytes, fields: dict[str, str], sparse: list[str]) -> tuple[Entry, int]:
    """The member, and where the next header is."""
    name = fields.get("GNU.sparse.name") or fields.get("path") or info.name
    link = fields.get("linkpath") or info.linkname
    size = _number(fields["size"]) if "size" in fields else info.size
    parts, full_size = None, size
    if info.type == tarfile.GNUTYPE_SPARSE:
        parts, full_size = _old_sparse(tape, block)
    end = tape.position + (0 if info.type in _NO_DATA else _padded(size))
    if fields.get("GNU.sparse.major") == "1" and info.type in _FILES:
        start = tape.position
        parts = _sparse_map(tape, size)
        size -= tape.position - start
    elif info.type in _FILES and (sparse or "GNU.sparse.map" in fields):
        numbers = fields["GNU.sparse.map"].split(",") if "GNU.sparse.map" in fields else sparse
        parts = _pairs([_number(each) for each in numbers if each])
    if parts is not None and info.type != tarfile.GNUTYPE_SPARSE:
        full_size = _number(fields.get("GNU.sparse.realsize") or fields.get("GNU.sparse.size") or "0")
    return Entry(name, _kind(info, name), link, tape.position, size, parts, full_size), end


def _kind(info: tarfile.TarInfo, name: str) -> EntryKind:
    if info.type in _FOLDERS or (info.type == tarfile.AREGTYPE and name.endswith("/")):
        return "folder"
    kinds: dict[bytes, EntryKind] = {tarfile.LNKTYPE: "hard link", tarfile.SYMTYPE: "symbolic link"}
    return "file" if info.type in _FILES else kinds.get(info.type, "other")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise Damage("is damaged: a header has an impossible size, and the rest is not read")
    return int(text)


def _pairs(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    _check_parts(numbers)
    return tuple(zip(numbers[::2], numbers[1::2], strict=False))


def _check_parts(numbers: Sized) -> None:
    if len(numbers) > 2 * _MAX_SPARSE_PARTS:
        raise Damage(f"has a sparse file of more than {_MAX_SPARSE_PARTS} parts")


def _old_sparse(tape: Tape, block: bytes) -> tuple[tuple[tuple[int, int], ...], int]:
    """The parts of a sparse file of GNU tar's own format: four in the header, others in blocks behind it."""
    numbers = _field_numbers(block[386:482])
    more = block[482:483]
    while more not in (b"", b"\0"):
        following = tape.read(BLOCK_BYTES)
        numbers += _field_numbers(following[:504])
        more = following[504:505]
        _check_parts(numbers)
    full_size = _field_numbers(block[483:495])
    return _pairs(numbers), full_size[0] if full_size else 0


def _field_numbers(data: bytes) -> list[int]:
    """The numbers in fields of 12 bytes, up to the first empty one."""
    numbers = []
    for start in range(0, len(data), 12):
        field_bytes = data[start : start + 12]
        if field_bytes[:1] == b"\x80":
            numbers.append(int.from_bytes(field_bytes[1:], "big"))
        elif match := _OCTAL.fullmatch(field_bytes):
            numbers.append(int(match[1], 8))
        else:
            break
    return numbers


def _sparse_map(tape: Tape, size: int) -> tuple[tuple[int, int], ...]:
    """The parts of a sparse file of version 1.0: decimal numbers in front of its data, their count first."""
    numbers: list[int] = []
    rest = b""
    for _ in range(_padded(size) // BLOCK_BYTES):
        *whole, rest = (rest + tape.read(BLOCK_BYTES)).split(b"\n")
        numbers += [_number(each.decode("ascii", "replace")) for each in whole if each.strip(b"\0")]
        if numbers and len(numbers) > 2 * numbers[0]:
            return _pairs(numbers[1 : 1 + 2 * numbers[0]])
        _check_parts(numbers)
    raise Damage("is damaged: the map of a sparse file cannot be read, and the rest is not read")
