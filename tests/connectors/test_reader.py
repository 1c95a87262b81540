"""The reading engine: what happened to a file, told from its name, its inode and what was read of it."""

import bz2
import gzip
import lzma
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import triage_ship
import triage_ship.logfile
import triage_ship.reader
from triage_ship.copies import is_packed
from triage_ship.file_status import birth_time, status_of
from triage_ship.fingerprint import Fingerprint
from triage_ship.passed_over import reason_to_pass_over
from triage_ship.reader import LogFile, Reader, Remembered, Report

import stream_triage.files

SHARED = ("copies", "file_status", "fingerprint", "kinds", "logfile", "reader")


@pytest.mark.parametrize("name", SHARED)
def test_both_packages_have_the_same_engine(name: str) -> None:
    """The shipper is installed alone, so the product has a copy of each module; CONTRIBUTING.md says how to make it."""
    shipper, product = (Path(package.__path__[0]) for package in (triage_ship, stream_triage.files))
    assert (product / f"{name}.py").read_bytes() == (shipper / f"{name}.py").read_bytes()


class Watch:
    """Reads a folder with a clock of its own. `text` is what came of all files, `contents` what came of each content."""

    def __init__(self, folder: Path, remember: Callable[[tuple[int, int]], Remembered | None] = lambda key: None) -> None:
        self.folder, self.now = folder, 100.0
        self.reports: list[Report] = []
        self.reader = Reader(self.reports.append, remember)
        self.contents: dict[LogFile, bytes] = {}

    def poll(self, seconds: float = 1.0, polls: int = 1, patient: bool = True) -> "Watch":
        for _ in range(polls):
            self.now += seconds
            entries = sorted((path, path.with_name("log")) for path in self.folder.iterdir() if path.name.startswith("log"))
            for file in self.reader.scan(entries, self.now).files:
                self.contents.setdefault(file, b"")
            for file in list(self.contents):
                self._read(file, patient)
        return self

    def _read(self, file: LogFile, patient: bool) -> None:
        while data := self.reader.read(file, self.now, patient)[1]:
            self.contents[file] += data
        if file.ended and file.successor and file.successor not in self.contents:
            self.contents[file.successor] = b""
            self._read(file.successor, patient)

    @property
    def text(self) -> bytes:
        return b"".join(self.contents.values())

    @property
    def losses(self) -> list[str]:
        return [report.reason for report in self.reports if "loss" in report.kind]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


def lines(first: int, last: int) -> bytes:
    return b"".join(b"line %05d %s\n" % (number, b"x" * (number % 60)) for number in range(first, last))


class TestReader:
    def test_replaced(self, log: Path) -> None:
        """A file of the same name is another content, and the old one is read to its end."""
        append(log, b"1\n")
        watch = Watch(log.parent).poll()
        append(log, b"2\n")
        log.unlink()
        append(log, b"3\n")
        assert list(watch.poll().contents.values()) == [b"1\n2\n", b"3\n"]
        assert not watch.losses

    def test_truncated(self, log: Path) -> None:
        """What follows is another content; what was written just before may be missing, which is reported."""
        append(log, lines(0, 20))
        watch = Watch(log.parent).poll()
        log.write_bytes(b"new\n")
        assert list(watch.poll(polls=2).contents.values()) == [lines(0, 20), b"new\n"]
        (loss,) = watch.losses
        assert (
            loss
            == f"was truncated; it is read from its beginning; lines written after byte {len(lines(0, 20))} may be missing"
        )

    @pytest.mark.parametrize("while_copying", [False, True])
    @pytest.mark.parametrize("appends", [True, False], ids=["appends", "keeps its position"])
    def test_copytruncate_while_the_writer_goes_on(self, log: Path, while_copying: bool, appends: bool) -> None:
        """Each line comes once: the rest from the copy, then the new lines, behind NUL bytes if the writer leaves them."""
        writer = os.open(log, os.O_CREAT | os.O_WRONLY | (os.O_APPEND if appends else 0))
        os.write(writer, lines(0, 100))
        watch = Watch(log.parent).poll()
        os.write(writer, lines(100, 120))
        log.with_name("log.1").write_bytes(log.read_bytes())
        if while_copying:
            watch.poll()
        os.truncate(log, 0)
        os.write(writer, lines(120, 140))
        watch.poll(polls=2)
        os.write(writer, lines(140, 150))
        os.close(writer)
        watch.poll(4.0, polls=2)
        assert watch.text == lines(0, 150)
        assert not watch.losses

    @pytest.mark.parametrize("size", [0, 500, -200], ids=["same size", "larger", "smaller"])
    def test_emptied_and_written_again_between_two_polls(self, log: Path, size: int) -> None:
        """The time shows it if the size does not."""
        append(log, lines(0, 100))
        watch = Watch(log.parent).poll()
        other = lines(1000, 1200)[: len(lines(0, 100)) + size - 1] + b"\n"
        log.write_bytes(other)
        os.utime(log, (2e9, 2e9))
        assert list(watch.poll(polls=2).contents.values()) == [lines(0, 100), other]
        assert watch.losses

    def test_overwritten_without_a_trace(self, log: Path) -> None:
        """Same size, same time: no poll shows it, but the comparison before the end of the run does."""
        append(log, lines(0, 100))
        os.utime(log, (2e9, 2e9))
        watch = Watch(log.parent).poll()
        (file,) = watch.contents
        log.write_bytes(lines(0, 100).replace(b"00042", b"99942"))
        os.utime(log, (2e9, 2e9))
        assert watch.poll().text == lines(0, 100)
        assert not watch.reader.verify(file, watch.now)
        assert watch.poll(polls=2).text == lines(0, 100) + log.read_bytes()

    @pytest.mark.parametrize("same", [256, 2000], ids=["256 bytes", "2,000 bytes"])
    def test_longer_log_with_the_same_head_over_the_old_one(self, log: Path, same: int) -> None:
        """The next test begins with the same lines. All of its lines come."""
        append(log, lines(0, 112))
        watch = Watch(log.parent).poll()
        new = lines(0, 112)[:same].rpartition(b"\n")[0] + b"\n" + lines(500, 834)
        log.write_bytes(new)
        assert list(watch.poll(polls=2).contents.values()) == [lines(0, 112), new]

    @pytest.mark.parametrize("births", [True, False], ids=["birth times", "none"])
    def test_deleted_and_created_again_with_the_same_inode(
        self, log: Path, births: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With birth times even the same bytes are another content; without them, other bytes are."""
        born = 1
        for module in (triage_ship.logfile, triage_ship.reader):
            monkeypatch.setattr(module, "birth_time", lambda file: born if births else 0)
            monkeypatch.setattr(module, "status_of", lambda file: status_of(file)._replace(inode=7))
        append(log, b"first\n")
        watch = Watch(log.parent).poll()
        (file,) = watch.contents
        file.complete = True
        watch.reader.limit_open()
        log.unlink()
        append(log, b"first\n" if births else b"second\n")
        born = 2
        new = log.read_bytes()
        assert list(watch.poll(polls=2).contents.values()) == [b"first\n", new]

    @pytest.mark.parametrize("name", ["log.1", "log-20261125"])
    def test_renamed(self, log: Path, name: str) -> None:
        """The file is read on under its new name, as long as somebody writes to it."""
        append(log, b"1\n")
        watch = Watch(log.parent).poll()
        log.rename(log.with_name(name))
        append(log, b"3\n")
        append(log.with_name(name), b"2\n")
        assert list(watch.poll(polls=2).contents.values()) == [b"1\n2\n", b"3\n"]

    @pytest.mark.parametrize(
        ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
    )
    def test_renamed_then_compressed(self, log: Path, suffix: str, compress: Callable[[bytes], bytes]) -> None:
        """The compressed file is a copy of what was read and is not read again."""
        append(log, lines(0, 100))
        watch = Watch(log.parent).poll()
        log.rename(log.with_name("log.1"))
        watch.poll()
        log.with_name(f"log.1{suffix}").write_bytes(compress(lines(0, 100)))
        log.with_name("log.1").unlink()
        assert watch.poll(polls=3).text == lines(0, 100)
        assert not watch.losses

    @pytest.mark.parametrize("missing", [0, 20, 5000], ids=["whole", "without its end", "nearly empty"])
    def test_rest_from_the_compressed_file(self, log: Path, missing: int) -> None:
        """What was not read before a restart is read from the compressed file, once that is complete."""
        seen = Fingerprint()
        seen.add(lines(0, 50))
        packed = gzip.compress(lines(0, 100))
        log.with_name("log.1.gz").write_bytes(packed[: max(5, len(packed) - missing)])
        watch = Watch(log.parent)
        file = watch.reader.restore((1, 2), Remembered(seen.state(), log), watch.now)
        watch.contents[file] = b""
        watch.poll(polls=2)
        if missing:
            assert not file.ended
            log.with_name("log.1.gz").write_bytes(packed)
            watch.poll()
        assert watch.text == lines(50, 100)
        assert not watch.losses

    def test_gone_before_a_restart(self, log: Path) -> None:
        """Without a copy of it, the loss is reported."""
        seen = Fingerprint()
        seen.add(lines(0, 50))
        log.with_name("log.1.gz").write_bytes(gzip.compress(lines(500, 600)))
        watch = Watch(log.parent)
        watch.reader.restore((1, 2), Remembered(seen.state(), log), watch.now)
        assert watch.poll(polls=2).losses == [f"was deleted; lines written after byte {seen.size} may be missing"]

    def test_deleted_before_it_was_read(self, log: Path) -> None:
        """An open file is read to its end, whatever was written before and after."""
        append(log, b"1\n")
        watch = Watch(log.parent).poll()
        with log.open("ab") as writer:
            writer.write(b"2\n")
            writer.flush()
            log.unlink()
            watch.poll()
            writer.write(b"3\n")
        assert watch.poll().text == b"1\n2\n3\n"

    def test_nul_bytes_at_the_head(self, log: Path) -> None:
        """They are counted, and the text behind them is read when they have stayed for a while."""
        log.write_bytes(bytes(700) + b"text\n")
        watch = Watch(log.parent).poll()
        assert watch.text == b""
        assert watch.poll(4.0).text == b"text\n"
        assert [report.reason for report in watch.reports] == ["700 NUL bytes before byte 700 are skipped"]

    def test_nul_bytes_at_the_tail(self, log: Path) -> None:
        """They are no text as long as nothing is behind them, and are reported when the run ends."""
        log.write_bytes(b"text\n" + bytes(700))
        watch = Watch(log.parent).poll(4.0, polls=3)
        (file,) = watch.contents
        assert watch.text == b"text\n"
        assert not file.unread()
        assert watch.reader.verify(file, watch.now)
        assert watch.reports[-1].reason == "700 NUL bytes at its end are skipped"

    def test_gap_that_is_filled(self, log: Path) -> None:
        """File servers write blocks out of order. A gap that is filled in time is text; later, a loss is reported."""
        log.write_bytes(b"1\n" + bytes(16) + b"3\n")
        watch = Watch(log.parent).poll()
        log.write_bytes(b"1\n" + b"2" * 15 + b"\n3\n" + bytes(16) + b"5\n")
        watch.poll()
        assert watch.text == b"1\n" + b"2" * 15 + b"\n3\n"
        assert watch.poll(4.0).text.endswith(b"3\n5\n")
        log.write_bytes(b"1\n" + b"2" * 15 + b"\n3\n" + b"4" * 15 + b"\n5\n")
        (file,) = watch.contents
        assert watch.reader.verify(file, watch.now)
        assert watch.losses == ["got text where NUL bytes had been skipped; that text is not read"]

    def test_huge_gap(self, log: Path) -> None:
        """Blocks that take no space on disk are not read one by one."""
        with log.open("wb") as writer:
            writer.seek(1 << 36)
            writer.write(b"text\n")
        file = LogFile(log, log, triage_ship.reader.Identity(*status_of(log)[:2], birth_time(log)), 0.0)
        file.open()
        assert file._end_of_gap(os.pread(file.descriptor or 0, 4096, 0), 0, 1 << 37)[0] == 1 << 36
        file.release()

    def test_nul_bytes_in_wide_text(self, log: Path) -> None:
        """Those of UTF-16 and UTF-32 are text."""
        for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            log.write_bytes("a𐀀\n1".encode(encoding))
            assert Watch(log.parent).poll().text == log.read_bytes()

    def test_copy_beside_a_file_that_is_new(self, log: Path) -> None:
        """The copy is not read, although nothing was read before."""
        append(log, lines(0, 20))
        log.with_name("log.1").write_bytes(log.read_bytes())
        append(log, lines(20, 30))
        assert Watch(log.parent).poll(polls=2).text == lines(0, 30)

    def test_rotated_file_that_is_no_copy(self, log: Path) -> None:
        """It was created and renamed between two polls, and is read."""
        append(log, lines(0, 20))
        watch = Watch(log.parent).poll()
        append(log.with_name("log.1"), lines(20, 30))
        assert sorted(watch.poll(polls=2).contents.values()) == [lines(0, 20), lines(20, 30)]

    def test_file_that_waits_and_is_overwritten(self, log: Path) -> None:
        """A loss is reported for a file that was not read because another one comes first."""
        append(log, lines(0, 20))
        watch = Watch(log.parent)
        watch.reader.scan([(log, log)], 1.0)
        log.write_bytes(lines(20, 60))
        watch.reader.scan([(log, log)], 2.0)
        assert watch.losses == ["was overwritten before it was read; lines may be missing"]


class TestCost:
    def test_unchanged_file_takes_one_stat(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing of it is read, and it is not even opened again when it was closed."""
        append(log, lines(0, 100))
        watch = Watch(log.parent).poll(polls=2)
        (file,) = watch.contents
        calls: list[str] = []
        for name in ("stat", "pread", "open"):
            original = getattr(os, name)
            monkeypatch.setattr(os, name, lambda *a, n=name, o=original, **k: calls.append(n) or o(*a, **k))
        file.release()
        assert not file.unread()
        assert calls == ["stat"]

    def test_appended_text_is_read_alone(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of what was read before, some blocks are compared, however large the file is."""
        append(log, lines(0, 20_000))
        watch = Watch(log.parent).poll(polls=2)
        read: list[int] = []
        pread = os.pread
        monkeypatch.setattr(os, "pread", lambda *a: read.append(len(data := pread(*a))) or data)
        append(log, lines(20_000, 20_001))
        watch.poll()
        assert sum(read) < 5000
        assert watch.text == lines(0, 20_001)


class TestFingerprint:
    @pytest.mark.parametrize("seed", range(20))
    def test_state_goes_on(self, seed: int) -> None:
        """However the bytes come, and whether it was stored in between, the checksums are the same."""
        rng = random.Random(seed)
        data = rng.randbytes(rng.randrange(1, 5000))
        whole, parts = Fingerprint(), Fingerprint()
        whole.add(data)
        position = 0
        while position < len(data):
            size = rng.randrange(1, 700)
            parts.add(data[position : position + size])
            position += size
            parts = Fingerprint.of_state(parts.state())
            assert parts.is_in(lambda size, start: data[start : start + size])
        assert parts.content == whole.content
        changed = bytes(byte ^ 1 for byte in data)
        assert not parts.is_in(lambda size, start: changed[start : start + size])
        assert parts.length_of_copy([data, b"more"]) == len(data) + 4
        assert parts.length_of_copy([changed]) is None

    def test_position_of_an_older_shipper(self, log: Path) -> None:
        """It has the checksum of the first bytes alone. It is accepted, and the others are made from the file."""
        append(log, lines(0, 100))
        first = log.read_bytes()[:256]
        old: dict[str, Any] = {"offset": 1000, "head": [256, zlib.crc32(first)], "done": False}
        watch = Watch(log.parent, lambda key: Remembered(old, log))
        assert watch.poll().text == log.read_bytes()[1000:]
        assert not watch.losses
        old["head"][1] += 1
        assert Watch(log.parent, lambda key: Remembered(old, log)).poll(polls=2).text == log.read_bytes()

    def test_nul_bytes_alone_make_no_copy(self) -> None:
        """Many files begin with NUL bytes after a crash."""
        fingerprint = Fingerprint()
        fingerprint.skip(1000)
        fingerprint.add(b"text\n")
        assert fingerprint.length_of_copy([bytes(500) + b"other"]) is None
        assert fingerprint.length_of_copy([bytes(1000) + b"text\n"]) == 1005


def test_what_is_no_log() -> None:
    """Names and first bytes that are certain; a log may have any other name."""
    for name in ("ue.pcap", "a.pcapng", "a.pcap0", ".ue.log.swp", "core", "core.12", "ue.log~", "#ue.log#", "gnb.pid"):
        assert reason_to_pass_over(Path(name)), name
    for name in ("core.log", "pcap.log", "ue.log", "swp", "core_network.log", "gnb.log.1"):
        assert reason_to_pass_over(Path(name)) is None, name
    assert reason_to_pass_over(Path("x"), b"\xd4\xc3\xb2\xa1\x02\x00") == "is a packet capture (pcap), not a log"
    assert reason_to_pass_over(Path("x"), b"\n\r\r\n[  0.0] boot") is None
    assert not is_packed(Path("log.1"))
