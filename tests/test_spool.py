"""The spool compared with a plain list, and sealed files that are whole, cut off or damaged."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stream_triage import spool as spool_module
from stream_triage.errors import StoreError
from stream_triage.ports import RunText, Spool
from stream_triage.spool import BLOCK_CHARACTERS, BLOCK_LINES, RunFile, SpillSpool, seal
from tests.limits import file_size_limit

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=20)
APPENDS = st.lists(st.tuples(st.sampled_from(["", "gnb", "ue/ü"]), st.lists(TEXT, max_size=12)), max_size=12)
RANGES = st.lists(st.tuples(st.integers(-2, 45), st.integers(-2, 45)), min_size=1, max_size=6)


@contextmanager
def small_blocks() -> Iterator[None]:
    """Blocks of five lines or 40 characters, so that few lines make many blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "BLOCK_LINES", 5)
        patch.setattr(spool_module, "BLOCK_CHARACTERS", 40)
        yield


def check(text: RunText, model: dict[str, list[str]], ranges: list[tuple[int, int]]) -> None:
    assert list(text.sources()) == sorted(model)
    for source, lines in model.items():
        assert text.line_count(source) == len(lines)
        for first, last in ranges:
            assert text.read(source, first, last) == lines[max(first - 1, 0) : max(last, 0)]
    assert text.line_count("unknown") == 0
    assert text.read("unknown", 1, 5) == []


@given(APPENDS, RANGES, st.sampled_from([0, 60, 1 << 20]), st.integers(0, 12))
def test_equals_a_plain_list(
    appends: list[tuple[str, list[str]]], ranges: list[tuple[int, int]], memory_bytes: int, sealed_after: int
) -> None:
    """Whatever is appended and read, in memory or beyond, before, while and after it is sealed, also mid-way."""
    model: dict[str, list[str]] = {}
    with small_blocks(), TemporaryDirectory() as folder, SpillSpool("a", memory_bytes) as spool:
        for number, (source, lines) in enumerate(appends):
            if number == sealed_after:
                spool.seal(Path(folder, "early.zst"))
            spool.append(source, lines)
            model.setdefault(source, []).extend(lines)
            check(spool, model, ranges[:1])
        spool.seal(Path(folder, "a.zst"), version=7)
        seal(spool, "named later", Path(folder, "later.zst"))
        check(spool, model, ranges)
        with RunFile(Path(folder, "later.zst")) as file:
            assert file.run_id == "named later"
            check(file, model, ranges)
        with RunFile(Path(folder, "a.zst")) as file:
            check(file, model, ranges)
            seal(file, "b", Path(folder, "b.zst"))
            assert (file.run_id, file.version) == ("a", 7)
        with RunFile(Path(folder, "b.zst")) as copy:
            assert copy.run_id == "b"
            check(copy, model, ranges)


def numbered(count: int) -> list[str]:
    return [f"line {number}" for number in range(1, count + 1)]


def sealed(folder: Path, lines: list[str], source: str = "gnb") -> Path:
    path = folder / "a.zst"
    with SpillSpool("a") as spool:
        spool.append(source, lines)
        spool.seal(path)
    return path


def test_is_a_spool() -> None:
    """It fits the protocols of the ports."""
    spool: Spool = SpillSpool("a")
    text: RunText = spool
    text.close()


def test_zstd_prints_the_text(tmp_path: Path) -> None:
    """Any zstd decoder reads all blocks and skips the index."""
    path = sealed(tmp_path, numbered(2_500))
    reader = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True)
    with io.TextIOWrapper(reader, newline="\n") as text:
        assert text.read().splitlines() == numbered(2_500)


def test_blocks_end_at_1000_lines_or_one_mebibyte(tmp_path: Path) -> None:
    """Many short lines and few long ones both make blocks of bounded size, however they are appended."""
    blocks = _blocks(sealed(tmp_path, numbered(2_500)))
    assert [lines for _, lines, _, _ in blocks] == [BLOCK_LINES, BLOCK_LINES, 500]
    blocks = _blocks(sealed(tmp_path, ["x" * 65_536] * 40))
    assert [lines for _, lines, _, _ in blocks] == [BLOCK_CHARACTERS // 65_536] * 2 + [8]
    assert [first for first, _, _, _ in blocks] == [1, 17, 33]


def _blocks(path: Path) -> list[list[int]]:
    """Reads the index by the description of the format alone."""
    data = path.read_bytes()
    length, _, mark = struct.unpack("<II8s", data[-16:])
    assert mark == b"triage.1"
    assert struct.unpack("<II", data[-24 - length : -16 - length]) == (0x184D2A5E, length + 16)
    about = json.loads(data[-16 - length : -16])
    assert about["format"] == 1
    blocks: list[list[int]] = about["sources"]["gnb"]
    return blocks


def test_unpacks_only_what_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line costs one block, and its neighbours in the block cost nothing more."""
    with RunFile(sealed(tmp_path, numbered(10_000))) as file:
        fetched: list[int] = []
        fetch = file._blocks._fetch

        def counted(offset: int, size: int) -> bytes:
            fetched.append(offset)
            return fetch(offset, size)

        monkeypatch.setattr(file._blocks, "_fetch", counted)
        assert file.read("gnb", 5_500, 5_500) == ["line 5500"]
        assert file.read("gnb", 5_001, 6_000) == numbered(6_000)[5_000:]
        assert len(fetched) == 1
        assert len(file.read("gnb", 6_000, 7_001)) == 1_002
        assert len(fetched) == 3


class TestBeyondMemory:
    def test_moves_to_a_file_without_a_name(self, tmp_path: Path) -> None:
        """The folder shows no file, so nothing is left however the process ends."""
        with SpillSpool("a", memory_bytes=0, folder=tmp_path) as spool:
            spool.append("", numbered(5_000))
            assert spool._storage._file is not None
            assert list(tmp_path.iterdir()) == []
            assert spool.read("", 1, 5_000) == numbered(5_000)

    def test_a_killed_process_leaves_nothing(self, tmp_path: Path) -> None:
        """Not even SIGKILL."""
        program = (
            "import os, pathlib, sys; from stream_triage.spool import SpillSpool;"
            "spool = SpillSpool('a', memory_bytes=0, folder=pathlib.Path(sys.argv[1]));"
            "spool.append('', ['x'] * 5000); assert spool._storage._file; os.kill(os.getpid(), 9)"
        )
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
        assert done.returncode == -signal.SIGKILL
        assert list(tmp_path.iterdir()) == []

    def test_full_disk(self, tmp_path: Path) -> None:
        """The error names the remedy, the lines stay readable, and it goes on when there is space again."""
        lines = [os.urandom(50).hex() for _ in range(3_000)]
        with SpillSpool("a", memory_bytes=0, folder=tmp_path) as spool:
            with file_size_limit(80_000):
                with pytest.raises(StoreError, match=r"text of run 'a' cannot be written .* free space in"):
                    spool.append("", lines)
                assert spool.read("", 1, 9_999) == lines
                with pytest.raises(StoreError):
                    spool.append("", ["one more"])
            spool.append("", ["and another"])
            assert spool.read("", 1, 9_999) == [*lines, "one more", "and another"]

    def test_full_disk_when_memory_ends(self, tmp_path: Path) -> None:
        """The move itself may fail; what was in memory stays there."""
        lines = [os.urandom(50).hex() for _ in range(4_000)]
        with SpillSpool("a", memory_bytes=150_000, folder=tmp_path) as spool:
            with file_size_limit(10_000), pytest.raises(StoreError):
                spool.append("", lines)
            assert spool.read("", 1, 9_999) == lines

    def test_folder_that_is_not_there(self, tmp_path: Path) -> None:
        """The folder is named."""
        with (
            SpillSpool("a", memory_bytes=0, folder=tmp_path / "gone") as spool,
            pytest.raises(StoreError, match="gone"),
        ):
            spool.append("", numbered(1_000))


class TestSealing:
    def test_replaces_whole(self, tmp_path: Path) -> None:
        """The new file replaces the old one, and nothing else is left."""
        path = sealed(tmp_path, numbered(10))
        assert sealed(tmp_path, numbered(20)) == path
        assert list(tmp_path.iterdir()) == [path]
        with RunFile(path) as file:
            assert file.line_count("gnb") == 20

    def test_full_disk_leaves_the_old_file(self, tmp_path: Path) -> None:
        """No half file, and the spool can be sealed later."""
        path = sealed(tmp_path, numbered(10))
        before = path.read_bytes()
        with SpillSpool("a") as spool:
            spool.append("", [os.urandom(50).hex() for _ in range(1_000)])
            with file_size_limit(10_000), pytest.raises(StoreError, match=str(tmp_path)):
                spool.seal(path)
            assert list(tmp_path.iterdir()) == [path]
            assert path.read_bytes() == before
            spool.seal(path)
        assert path.read_bytes() != before

    def test_an_empty_run(self, tmp_path: Path) -> None:
        """A run without lines has a file too."""
        with SpillSpool("a") as spool:
            spool.seal(tmp_path / "a.zst")
        with RunFile(tmp_path / "a.zst") as file:
            assert file.sources() == []


class TestDamage:
    def test_no_file(self, tmp_path: Path) -> None:
        """The missing file is named."""
        with pytest.raises(StoreError, match=r"nothing.zst cannot be opened: No such file"):
            RunFile(tmp_path / "nothing.zst")

    @pytest.mark.parametrize("size", [0, 5, 15, 16, 100, -1])
    def test_cut_anywhere(self, tmp_path: Path, size: int) -> None:
        """A file without its end is rejected when it is opened."""
        path = sealed(tmp_path, numbered(100))
        os.truncate(path, size if size >= 0 else path.stat().st_size + size)
        with pytest.raises(StoreError, match=r"a\.zst is damaged.* restore it from a copy"):
            RunFile(path)

    def test_every_flipped_byte_is_noticed(self, tmp_path: Path) -> None:
        """Wherever one byte is wrong, either opening or reading fails, and neither gives wrong lines."""
        lines = numbered(30)
        path = sealed(tmp_path, lines)
        whole = path.read_bytes()
        for position in range(len(whole)):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x41]) + whole[position + 1 :])
            with suppress(StoreError), RunFile(path) as file:
                assert file.read("gnb", 1, 99) == lines  # a byte of the frame around the index, which nobody needs

    def test_newer_format(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file of a later release says so."""
        monkeypatch.setattr(spool_module, "FORMAT_VERSION", 2)
        path = sealed(tmp_path, numbered(3))
        monkeypatch.undo()
        with pytest.raises(StoreError, match="format 2, newer than 1; upgrade"):
            RunFile(path)


def test_raises_after_close(tmp_path: Path) -> None:
    """A closed spool and a closed file say so; closing twice is fine."""
    spool = SpillSpool("a")
    spool.append("", ["one"])
    file = RunFile(sealed(tmp_path, numbered(3)))
    for text in (spool, file):
        text.close()
        text.close()
    for use in (
        lambda: spool.append("", ["two"]),
        lambda: spool.read("", 1, 1),
        lambda: spool.seal(tmp_path / "b.zst"),
        lambda: file.read("gnb", 1, 1),
    ):
        with pytest.raises(StoreError, match="closed"):
            use()


def test_a_newline_in_a_line_is_a_bug() -> None:
    """Line numbers would shift without notice, so this fails loudly."""
    with SpillSpool("a") as spool, pytest.raises(ValueError, match="newline"):
        spool.append("", ["one\ntwo"] * BLOCK_LINES)
