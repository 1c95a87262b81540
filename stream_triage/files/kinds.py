"""The beginning of a file in; out comes what kind of file it is, if its magic bytes say so.

Three kinds matter: archives, whose members are read; files that certainly contain no log, which are passed over; and files
that may contain a log but cannot be read, which must be reported. Anything else is for the caller to try as text.

The module uses the standard library only and imports nothing of this package.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

__all__ = ["HEAD_BYTES", "Kind", "archive_kind", "kind_of_content"]

HEAD_BYTES = 512
"""Bytes of the beginning that are enough for every check."""


class Kind(NamedTuple):
    """A kind of file that is not read as text.

    `no_log` is true if such a file certainly contains no log. Otherwise it may contain one that cannot be read.
    """

    what: str
    no_log: bool

    @property
    def reason(self) -> str:
        """Why the file is not read, to follow its name."""
        return f"is {self.what}, not a log" if self.no_log else f"is {self.what}, which cannot be read; {_REMEDY}"


_REMEDY = "unpack or convert it and read the result"

_Row = tuple[int, bytes, str]
"""Offset, magic bytes, and what they stand for."""

_PCAPNG = "a packet capture (pcapng)"
_PCAPNG_START = b"\n\r\r\n"  # not enough by itself: the log of a serial console may begin with it
_CPIO = "a cpio archive"
# Sources, where a row does not name one: `Magdir/` of file(1), and the specification of the format.
_NO_LOG: tuple[_Row, ...] = (
    # Packet captures: pcap in both byte orders, with micro- and nanoseconds (IETF draft-ietf-opsawg-pcap), pcapng
    # (draft-ietf-opsawg-pcapng, block type 0x0A0D0D0A), snoop (RFC 1761), and those in Magdir/sniffer.
    (0, b"\xd4\xc3\xb2\xa1", "a packet capture (pcap)"),
    (0, b"\xa1\xb2\xc3\xd4", "a packet capture (pcap)"),
    (0, b"\x4d\x3c\xb2\xa1", "a packet capture (pcap)"),
    (0, b"\xa1\xb2\x3c\x4d", "a packet capture (pcap)"),
    (8, b"\x4d\x3c\x2b\x1a", _PCAPNG),
    (8, b"\x1a\x2b\x3c\x4d", _PCAPNG),
    (0, b"snoop\0\0\0", "a packet capture (snoop)"),
    (0, b"btsnoop\0", "a packet capture (btsnoop)"),
    (0, b"GMBU", "a packet capture (Network Monitor)"),
    (0, b"RTSS", "a packet capture (Network Monitor)"),
    # Dumps of memory: Windows minidumps, kdump, heap dumps of Java.
    (0, b"MDMP\x93\xa7", "a crash dump (minidump)"),
    (0, b"KDUMP   ", "a crash dump (kdump)"),
    (0, b"JAVA PROFILE 1.0", "a heap dump (Java)"),
    # Editor swap files: memline.c of Vim (block 0), files.c of nano (lock files).
    (0, b"b0VIM ", "a swap file of an editor (Vim)"),
    (0, b"b0nano", "a lock file of an editor (nano)"),
    # Pictures, sound, video and fonts.
    (0, b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (0, b"\xff\xd8\xff", "a picture (JPEG)"),
    (0, b"GIF87a", "a picture (GIF)"),
    (0, b"GIF89a", "a picture (GIF)"),
    (0, b"II*\0", "a picture (TIFF)"),
    (0, b"MM\0*", "a picture (TIFF)"),
    (0, b"8BPS\0\x01", "a picture (Photoshop)"),
    (0, b"\0\0\x01\0", "a picture (icon)"),
    (8, b"WEBP", "a picture (WebP)"),
    (8, b"WAVEfmt ", "sound (WAV)"),
    (8, b"AVI LIST", "a video (AVI)"),
    (0, b"OggS\0", "sound or video (Ogg)"),
    (0, b"fLaC\0", "sound (FLAC)"),
    (0, b"ID3\x02", "sound (MP3)"),
    (0, b"ID3\x03", "sound (MP3)"),
    (0, b"ID3\x04", "sound (MP3)"),
    (4, b"ftyp", "a video (MP4)"),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska)"),
    (0, b"wOFF", "a font (WOFF)"),
    (0, b"wOF2", "a font (WOFF2)"),
    # Documents: PDF (ISO 32000), Compound File Binary ([MS-CFB]), which older Office documents are.
    (0, b"%PDF-", "a PDF document"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
    # Programs and what compilers make. ELF and PE files are checked below.
    (0, b"\xca\xfe\xba\xbe", "a program (Java class)"),
    (0, b"\xfe\xed\xfa\xce", "a program (Mach-O)"),
    (0, b"\xfe\xed\xfa\xcf", "a program (Mach-O)"),
    (0, b"\xce\xfa\xed\xfe", "a program (Mach-O)"),
    (0, b"\xcf\xfa\xed\xfe", "a program (Mach-O)"),
    (0, b"\0asm", "a program (WebAssembly)"),
    (0, b"dex\n03", "a program (Android)"),
    (0, b"\x1bLua", "a program (Lua bytecode)"),
    (0, b"BC\xc0\xde", "a program (LLVM bitcode)"),
    (0, b"!<arch>\n", "a library or Debian package (ar)"),
    (0, b"\xed\xab\xee\xdb", "a program package (RPM)"),
    (0, b"adcg", "test coverage (gcov)"),
    (0, b"oncg", "test coverage (gcov)"),
    (0, b"PERFILE2", "a profile (perf)"),
    # Databases and tables of numbers: SQLite (fileformat2), HDF5, NumPy, Parquet, MATLAB.
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"\x89HDF\r\n\x1a\n", "a table of numbers (HDF5)"),
    (0, b"\x93NUMPY", "a table of numbers (NumPy)"),
    (0, b"PAR1", "a table (Parquet)"),
    (0, b"MATLAB 5.0 MAT-file", "a table of numbers (MATLAB)"),
    (0, b"DIRC\0\0\0", "an index of git"),
    (0, b"PACK\0\0\0\x02", "a pack of git"),
    (0, b"\xfe\xed\xfe\xed\0\0\0", "a key store (Java)"),
)
_UNREADABLE: tuple[_Row, ...] = (
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"MSCF\0\0\0\0", "a cabinet archive (CAB)"),
    (0, b"xar!", "a xar archive"),
    (0, b"070701", _CPIO),
    (0, b"070702", _CPIO),
    (0, b"070707", _CPIO),
    (0, b"\xc7\x71", _CPIO),
    (0, b"\x04\x22\x4d\x18", "compressed by lz4"),
    (0, b"LZIP\x01", "compressed by lzip"),
    (0, b"\x89LZO\0\r\n\x1a\n", "compressed by lzop"),
    (0, b"\x1f\x9d", "compressed by compress (.Z)"),
    (0, b"\x1f\xa0", "compressed by compress (.Z)"),
    (0, b"\xff\x06\0\0sNaPpY", "compressed by snappy"),
    (0, b"LPKSHHRH", "a systemd journal (`journalctl --file` prints it)"),
    (0, b"ElfFile\0", "a Windows event log"),
    (0, b"Salted__", "encrypted (openssl)"),
    (0, b"age-encryption.org/", "encrypted (age)"),
    (0, b"\x1f\x8b\x08", "compressed more often than is unpacked (gz)"),
    (0, b"\xfd7zXZ\0", "compressed more often than is unpacked (xz)"),
    (0, b"\x28\xb5\x2f\xfd", "compressed more often than is unpacked (zst)"),
)


def _by_start(tables: Iterable[tuple[tuple[_Row, ...], bool]]) -> dict[tuple[int, bytes], list[tuple[_Row, bool]]]:
    """The rows of tables by offset and first byte, each with the `no_log` of its table."""
    found: dict[tuple[int, bytes], list[tuple[_Row, bool]]] = {}
    for table, no_log in tables:
        for row in table:
            found.setdefault((row[0], row[1][:1]), []).append((row, no_log))
    return found


_ROWS = _by_start([(_NO_LOG, True), (_UNREADABLE, False)])
_OFFSETS = sorted({offset for offset, _ in _ROWS})
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08PK\x03\x04")  # APPNOTE 4.3: member, empty archive, split archive
# Documents and programs that are zip archives, by their first member (OPC, ODF and OCF require or recommend these) ...
_ZIP_DOCUMENTS = (
    (b"[Content_Types].xml", "an Office document"),
    (b"_rels/", "an Office document"),
    (b"docProps/", "an Office document"),
    (b"mimetype", "a document (OpenDocument or EPUB)"),
    (b"META-INF/", "a program (Java archive)"),
    (b"AndroidManifest.xml", "a program (Android)"),
    (b"classes.dex", "a program (Android)"),
)
# ... or by their name, which counts only for a file that is a zip archive.
_ZIP_NAMES = {
    "an Office document": (".docx", ".xlsx", ".pptx", ".docm", ".xlsm", ".pptm", ".vsdx"),
    "a document (OpenDocument or EPUB)": (".odt", ".ods", ".odp", ".odg", ".epub"),
    "a program (Java archive)": (".jar", ".war", ".ear"),
    "a program (Android)": (".apk", ".aar"),
    "a program package": (".whl", ".egg", ".xpi", ".crx", ".nupkg", ".vsix"),
    "a table of numbers (NumPy)": (".npz",),
}
_PYTHON_NAMES = (".pyc", ".pyo")
_ELF_CORE = 4  # e_type ET_CORE of the System V ABI


def kind_of_content(head: bytes, name: str = "") -> Kind | None:
    """What a file is that begins with these bytes, or None if it may be text.

    The name counts only beside magic bytes that are too short or too common to be certain.
    """
    head = head[:HEAD_BYTES]
    return next(_kinds(head, name.lower()), None)


def archive_kind(head: bytes, name: str = "") -> Literal["zip", "tar", ""]:
    """The kind of archive that begins with these bytes; empty if it is none.

    A document or program that is a zip archive counts as none.
    """
    if head.startswith(_ZIP_STARTS):
        return "" if _zip_document(head, name.lower()) else "zip"
    return "tar" if head[257:262] == b"ustar" else ""


def _kinds(head: bytes, name: str) -> Iterator[Kind]:
    if head.startswith(b"\x7fELF"):
        little = head[5:6] != b"\x02"
        is_core = int.from_bytes(head[16:18], "little" if little else "big") == _ELF_CORE
        yield Kind("a core dump (ELF)" if is_core else "a program (ELF)", no_log=True)
    if head.startswith(b"MZ") and b"\0" in head[:64]:
        yield Kind("a program (Windows)", no_log=True)
    if head.startswith(b"BM") and head[6:10] == bytes(4) and head[15:18] == bytes(3):
        yield Kind("a picture (BMP)", no_log=True)
    if head[2:4] == b"\r\n" and name.endswith(_PYTHON_NAMES):
        yield Kind("a program (Python bytecode)", no_log=True)
    if what := _zip_document(head, name):
        yield Kind(what, no_log=True)
    yield from _from_tables(head)
    if head.startswith(_ZIP_STARTS):
        yield Kind("a zip archive", no_log=False)
    if head[257:262] == b"ustar":
        yield Kind("a tar archive", no_log=False)


def _from_tables(head: bytes) -> Iterator[Kind]:
    for offset in _OFFSETS:
        for row, no_log in _ROWS.get((offset, head[offset : offset + 1]), ()):
            if _matches(row, head):
                yield Kind(row[2], no_log)


def _matches(row: _Row, head: bytes) -> bool:
    offset, magic, what = row
    if not head.startswith(magic, offset):
        return False
    if what == _PCAPNG:
        return head.startswith(_PCAPNG_START)
    if what == _CPIO and magic.isdigit():  # six digits may begin a line; a header of cpio consists of digits throughout
        return all(byte in b"0123456789abcdefABCDEF" for byte in head[:76])
    # Letters and digits may begin a line of a log as well; all formats with such magic bytes have a NUL soon after them.
    return b"\0" in head or not magic.replace(b" ", b"").isalnum()


def _zip_document(head: bytes, name: str) -> str:
    """What a document or program is that is a zip archive; empty for other zip archives, and if it is none."""
    if not head.startswith(_ZIP_STARTS):
        return ""
    by_member = (what for member, what in _ZIP_DOCUMENTS if head.startswith(member, 30))
    by_name = (what for what, endings in _ZIP_NAMES.items() if name.endswith(endings))
    return next(by_member, next(by_name, ""))
