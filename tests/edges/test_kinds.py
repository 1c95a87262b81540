"""The list of files that are no logs: what is on it, and that no log is taken for one of them."""

import ast
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from stream_triage.files import kinds
from stream_triage.files.kinds import HEAD_BYTES, archive_kind, kind_of_content

ROWS = [(row, True) for row in kinds._NO_LOG] + [(row, False) for row in kinds._UNREADABLE]


def sample(row: tuple[int, bytes, str]) -> bytes:
    """A file with these magic bytes, and binary data behind them."""
    offset, magic, what = row
    front = kinds._PCAPNG_START + bytes(4) if what == kinds._PCAPNG else bytes(offset)
    body = magic + (b"0" * 104 if magic.isdigit() else b"\x01\0\xff\0" * 60)
    return front + body


@pytest.mark.parametrize(("row", "no_log"), ROWS, ids=repr)
def test_every_row(row: tuple[int, bytes, str], no_log: bool) -> None:
    """Its magic bytes are found, and lie within the bytes that callers read."""
    kind = kind_of_content(sample(row))
    assert kind
    assert (kind.what, kind.no_log) == (row[2], no_log)
    assert kind.reason.endswith("not a log") == no_log
    assert row[0] + len(row[1]) <= HEAD_BYTES


@pytest.mark.parametrize(
    "line",
    [
        *(magic + b" started, all is well\n" for _, magic, _ in (row for row, _ in ROWS) if magic.isalnum()),
        b"\n\r\r\nU-Boot 2023.01\n\r",
        b"BM started the test\n",
        b"MZ1 is up\n",
        b"070701 12:00:00 call set up\n",
        b"0707015a12 attach ok\n",
        b"PK session key exchange\n",
        b"12:00 ftyp\n",
    ],
)
def test_a_log_may_begin_like_another_format(line: bytes) -> None:
    """Magic bytes that are letters and digits count only in binary data."""
    assert kind_of_content(line * 30, "console.log") is None


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\0" + bytes(40), "a core dump (ELF)"),
        (b"\x7fELF\x01\x02\x01" + bytes(9) + b"\0\x04" + bytes(40), "a core dump (ELF)"),
        (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0" + bytes(40), "a program (ELF)"),
        (b"MZ\x90\0\x03" + bytes(60), "a program (Windows)"),
        (b"BM\x36\x10\0\0" + bytes(4) + b"\x36\0\0\0\x28\0\0\0", "a picture (BMP)"),
    ],
)
def test_programs_and_their_cores(head: bytes, what: str) -> None:
    kind = kind_of_content(head)
    assert kind
    assert (kind.what, kind.no_log) == (what, True)


@pytest.mark.parametrize(
    ("first", "name", "document"),
    [
        ("[Content_Types].xml", "report", True),
        ("mimetype", "notes", True),
        ("META-INF/MANIFEST.MF", "tool", True),
        ("pkg/__init__.py", "tool.whl", True),
        ("weights.npy", "model.NPZ", True),
        ("run.log", "artifacts", False),
        ("run.log", "artifacts.zip", False),
    ],
)
def test_zip_archives(first: str, name: str, document: bool) -> None:
    """Documents and programs that are zip archives are no logs; all others are opened."""
    data = BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(first, "x")
    kind = kind_of_content(data.getvalue(), name)
    assert kind
    assert (kind.no_log, archive_kind(data.getvalue(), name)) == (document, "" if document else "zip")


def test_bytecode_goes_by_name() -> None:
    """Two of its magic bytes differ by version, and the others are a line end."""
    head = b"\xa7\x0d\r\n" + bytes(12)
    kind = kind_of_content(head, "a.pyc")
    assert kind
    assert kind.what == "a program (Python bytecode)"
    assert kind_of_content(head, "a.log") is None


def test_samples_are_logs() -> None:
    """No sample, whole or from any line on, looks like another format."""
    for path in (Path(__file__).parents[2] / "samples").rglob("*.log"):
        data = path.read_bytes()
        starts = [0, *(index + 1 for index, byte in enumerate(data[:20_000]) if byte == 10)]
        assert not any(kind_of_content(data[start : start + HEAD_BYTES], path.name) for start in starts)


def test_the_module_can_be_copied() -> None:
    """It imports the standard library only."""
    tree = ast.parse(Path(kinds.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {str(name).partition(".")[0] for name in imported} <= sys.stdlib_module_names
