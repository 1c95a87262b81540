"""The spool on disk: what is written comes out once, in order, after restarts, crashes, full disks and damage."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from triage_ship.spool import MAGIC, Cursor, Spool

EVENTS = ("append", "append", "sync", "send", "acknowledge", "rewind", "restart", "crash")


def fail(text: str) -> None:
    raise AssertionError(text)


class Journal:
    """A spool, and the heads that its user has seen: those of recovery and those that were appended."""

    def __init__(self, folder: Path, on_problem: Callable[[str], None] = fail) -> None:
        self.heads: list[Any] = []
        self.applied: list[Any] = []
        self.spool = Spool(folder, on_problem)
        self.spool.recover(self.apply, lambda head: self.heads.extend(head["snapshot"]["heads"]))

    def apply(self, head: Any) -> None:
        self.heads.append(head)
        self.applied.append(head)

    def append(self, number: int, text: bytes = b"text\n") -> None:
        self.spool.append({"n": number}, text, lambda: {"heads": self.heads})
        self.heads.append({"n": number})

    def put(self, number: int, text: bytes = b"text\n") -> None:
        self.append(number, text)
        self.spool.sync()

    def unsent(self) -> list[int]:
        return [record.head["n"] for record in self.spool.unsent()]

    def crash(self) -> None:
        """Closes the files without syncing. Each write is flushed, so the files are as a killed process leaves them."""
        for file in (self.spool._writing, self.spool._reading and self.spool._reading[1]):
            if file is not None:
                file.close()


OpenJournal = Callable[..., Journal]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenJournal]:
    """Opens journals, by default in the test's folder. Nothing tests a power failure, so nothing waits for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    opened: list[Journal] = []

    def open_journal(folder: Path = tmp_path, on_problem: Callable[[str], None] = fail) -> Journal:
        opened.append(Journal(folder, on_problem))
        return opened[-1]

    yield open_journal
    for each in opened:
        each.crash()


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new segment after every one or two records."""
    monkeypatch.setattr("triage_ship.spool.SEGMENT_BYTES", 300)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


class TestRestart:
    def test_new_spool_is_empty(self, journal: OpenJournal, tmp_path: Path):
        """Nothing to recover, nothing to send, no file; syncing, rewinding and closing it changes nothing."""
        spool = journal().spool
        spool.sync()
        spool.rewind()
        assert (spool.empty, spool.bytes, list(spool.unsent())) == (True, 0, [])
        spool.close()
        assert spool.empty
        assert list(tmp_path.iterdir()) == []

    def test_continues_after_the_last_acknowledged_record(self, journal: OpenJournal):
        """Heads are recovered, acknowledged records are not given out again, and new ones follow."""
        first = journal()
        for number in range(5):
            first.put(number)
        records = list(first.spool.unsent())
        first.spool.acknowledge(records[2].end)
        first.spool.close()
        assert not first.spool.empty
        second = journal()
        assert second.heads == first.heads
        assert second.unsent() == [3, 4]
        second.put(5)
        assert second.unsent() == [5]
        assert not second.spool.empty

    def test_empty_when_everything_is_acknowledged(self, journal: OpenJournal):
        """A record makes the spool non-empty as soon as it is appended, and empty again when it is acknowledged."""
        first = journal()
        first.append(0)
        assert not first.spool.empty
        assert first.unsent() == []  # not synced
        first.spool.sync()
        (record,) = first.spool.unsent()
        assert not first.spool.empty
        first.spool.acknowledge(record.end)
        assert first.spool.empty
        first.spool.close()
        assert journal().spool.empty

    def test_rewind_gives_out_what_is_not_acknowledged(self, journal: OpenJournal):
        """All of it and nothing else, also in the middle of giving records out."""
        spool = (writer := journal()).spool
        for number in range(4):
            writer.put(number)
        records = spool.unsent()
        spool.acknowledge(next(records).end)
        next(records)
        spool.rewind()
        assert [record.head["n"] for record in records] == [1, 2, 3]
        assert writer.unsent() == []
        spool.rewind()
        assert writer.unsent() == [1, 2, 3]

    def test_records_synced_while_others_are_given_out_come_next(self, journal: OpenJournal, small_segments: None):
        """Also those in the same segment, when a later segment has been started meanwhile."""
        writer = journal()
        writer.put(0, b"")
        records = writer.spool.unsent()
        given = [next(records).head["n"]]
        for number in range(1, 20):
            writer.put(number, b"x" * 50)
        given += [record.head["n"] for record in records]
        assert given + writer.unsent() == list(range(20))


class TestSegments:
    @pytest.mark.parametrize(("spare", "count"), [(0, 2), (1, 1)])
    def test_segment_is_full_at_exactly_its_size(
        self, spare: int, count: int, journal: OpenJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """A record that reaches the size ends the segment; the next one starts another. One byte less, and it does not."""
        writer = journal()
        writer.put(0)
        monkeypatch.setattr("triage_ship.spool.SEGMENT_BYTES", writer.spool.bytes + spare)
        writer.put(1)
        assert len(segments(tmp_path)) == count
        assert writer.unsent() == [0, 1]
        writer.spool.close()
        again = journal()
        assert again.heads == writer.heads
        assert again.unsent() == [0, 1]

    def test_acknowledged_segments_are_deleted(self, journal: OpenJournal, tmp_path: Path, small_segments: None):
        """The newest stays, with everything that recovery needs; `bytes` is the size of what is left."""
        first = journal()
        for number in range(40):
            first.put(number, b"x" * 50)
        assert len(segments(tmp_path)) > 5
        records = list(first.spool.unsent())
        assert [record.head["n"] for record in records] == list(range(40))
        first.spool.acknowledge(records[-2].end)
        assert len(segments(tmp_path)) <= 2
        assert first.spool.bytes == sum(path.stat().st_size for path in segments(tmp_path))
        first.spool.close()
        second = journal()
        assert second.heads == first.heads
        assert second.unsent() == [39]

    def test_recovery_reads_the_newest_segment(self, journal: OpenJournal, small_segments: None):
        """Its snapshot has everything before it, so the start is fast although the spool is large."""
        first = journal()
        for number in range(9):
            first.put(number, b"x" * 400)
        first.spool.close()
        second = journal()
        assert second.heads == first.heads
        assert second.applied == [{"n": 8}]

    def test_missing_segment_is_reported(self, journal: OpenJournal, tmp_path: Path, small_segments: None):
        """The records before and after it are given out."""
        problems: list[str] = []
        first = journal()
        for number in range(20):
            first.put(number, b"x" * 50)
        first.spool.close()
        (tmp_path / "00000002.spool").unlink()
        numbers = journal(on_problem=problems.append).unsent()
        assert (numbers[0], numbers[-1]) == (0, 19)
        assert "00000002.spool is missing" in problems[0]

    def test_deleted_segments_do_not_hide_new_records(self, journal: OpenJournal, tmp_path: Path, small_segments: None):
        """Somebody made room by hand: the cursor that remains on disk must not count for the segments that follow."""
        first = journal()
        for number in range(10):
            first.put(number, b"x" * 50)
        first.spool.acknowledge(list(first.spool.unsent())[-1].end)
        first.spool.close()
        for path in segments(tmp_path):
            path.unlink()
        second = journal()
        second.put(10)
        second.crash()
        third = journal()
        assert third.unsent() == [10]
        assert not third.spool.empty


class TestCrash:
    def test_torn_at_any_byte(self, journal: OpenJournal, tmp_path: Path):
        """A record that a crash left unfinished is cut off; those before it are there, and new ones follow them."""
        (tmp_path / "whole").mkdir()
        first = journal(tmp_path / "whole")
        ends = []
        for number in range(2):
            first.put(number)
            ends.append(first.spool.synced.offset)
        first.spool.close()
        whole = (tmp_path / "whole" / "00000001.spool").read_bytes()
        for length in range(len(whole)):
            folder = tmp_path / str(length)
            folder.mkdir()
            (folder / "00000001.spool").write_bytes(whole[:length])
            torn = journal(folder)
            survivors = [number for number, end in enumerate(ends) if end <= length]
            assert torn.heads == [{"n": number} for number in survivors]
            assert torn.unsent() == survivors
            torn.put(9)
            assert torn.unsent() == [9]
            assert torn.spool.bytes == sum(path.stat().st_size for path in segments(folder))
            torn.spool.close()
            assert journal(folder).heads[-1] == {"n": 9}

    def test_killed_while_a_segment_is_started(self, journal: OpenJournal, tmp_path: Path, small_segments: None):
        """A new segment that is empty or ends within its snapshot is dropped: the state is in the segment before."""
        first = journal()
        while len(segments(tmp_path)) < 2:
            first.put(len(first.heads), b"x" * 50)
        first.spool.close()
        heads, (old, new) = first.heads[:-1], segments(tmp_path)
        whole = new.read_bytes()
        snapshot_bytes = whole.index(MAGIC, 1)
        for length in range(snapshot_bytes):
            new.write_bytes(whole[:length])
            again = journal()
            assert again.heads == heads
            assert segments(tmp_path) == [old]
            again.spool.close()

    def test_only_segment_is_torn_after_it_was_acknowledged(self, journal: OpenJournal, tmp_path: Path):
        """The disk has lost what was synced: nothing is left to recover, and new records are sent, after a crash too."""
        first = journal()
        first.put(0)
        (record,) = first.spool.unsent()
        first.spool.acknowledge(record.end)
        first.spool.close()
        os.truncate(tmp_path / "00000001.spool", 10)
        second = journal()
        assert (second.heads, second.spool.empty, second.unsent()) == ([], True, [])
        second.put(1, b"longer than before\n")
        second.crash()
        assert journal().unsent() == [1]

    def test_acknowledged_records_are_torn(self, journal: OpenJournal, tmp_path: Path):
        """The cursor goes back to what is there: it must not cover the records that take the freed bytes."""
        first = journal()
        for number in range(3):
            first.put(number)
        ends = [record.end for record in first.spool.unsent()]
        first.spool.acknowledge(ends[2])
        first.spool.close()
        os.truncate(tmp_path / "00000001.spool", ends[0].offset)
        second = journal()
        assert (second.spool.acknowledged, second.spool.empty) == (ends[0], True)
        for number in (7, 8, 9):
            second.put(number)
        second.crash()
        assert journal().unsent() == [7, 8, 9]

    def test_zeros_at_the_end(self, journal: OpenJournal, tmp_path: Path):
        """After a power failure a file may end with zeros in place of what was written last, even within a frame."""
        first = journal()
        first.put(0)
        first.spool.close()
        with (tmp_path / "00000001.spool").open("ab") as file:
            file.write(MAGIC + bytes(100))
        second = journal()
        assert (second.heads, second.unsent()) == ([{"n": 0}], [0])

    def test_killed_after_a_snapshot(self, journal: OpenJournal, tmp_path: Path):
        """A spool without records is empty, although the snapshot was never acknowledged: nobody waits for it."""
        first = journal()
        first.put(0)
        first.spool.close()
        path = tmp_path / "00000001.spool"
        os.truncate(path, path.read_bytes().index(MAGIC, 1))
        second = journal()
        assert second.unsent() == []
        assert second.spool.empty

    @given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 120)), max_size=40))
    @settings(max_examples=100, deadline=None)
    def test_any_history(self, events: list[tuple[str, int]]):
        """Whatever happens in whatever order: what survives is recovered, and unacknowledged records come out in order."""
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda descriptor: None)
            patch.setattr("triage_ship.spool.SEGMENT_BYTES", 200)
            history = History(Path(folder))
            for name, number in events:
                getattr(history, name)(number)
            history.finish()


class History:
    """A spool and what is expected of it; each method is something that can happen, its argument a detail of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder)
        self.ends: list[Cursor] = []
        self.given = self.acknowledged = 0

    def append(self, size: int) -> None:
        self.journal.append(len(self.ends), b"x" * size)
        spool = self.journal.spool
        self.ends.append(Cursor(spool._number, spool._writing.tell()))

    def sync(self, _: int) -> None:
        self.journal.spool.sync()

    def send(self, _: int) -> None:
        synced = sum(end <= self.journal.spool.synced for end in self.ends)
        assert self.journal.unsent() == list(range(self.given, synced))
        self.given = synced

    def acknowledge(self, count: int) -> None:
        if self.given > self.acknowledged:
            self.acknowledged += 1 + count % (self.given - self.acknowledged)
            self.journal.spool.acknowledge(self.ends[self.acknowledged - 1])

    def rewind(self, _: int) -> None:
        self.journal.spool.rewind()
        self.given = self.acknowledged

    def restart(self, _: int) -> None:
        self.journal.spool.close()
        self.recover()

    def crash(self, kept: int) -> None:
        """Loses any part of what was written after the last sync, as a power failure does."""
        synced = self.journal.spool.synced
        self.journal.crash()
        if paths := segments(self.folder):
            number, size = int(paths[-1].stem), paths[-1].stat().st_size
            safe = synced.offset if synced.segment == number else 0
            end = Cursor(number, safe + kept % (size - safe + 1))
            os.truncate(paths[-1], end.offset)
            self.ends = [each for each in self.ends if each <= end]
        self.recover()

    def recover(self) -> None:
        self.journal = Journal(self.folder)
        self.given = self.acknowledged
        assert self.journal.heads == [{"n": number} for number in range(len(self.ends))]

    def finish(self) -> None:
        self.sync(0)
        self.rewind(0)
        self.send(0)
        assert self.given == len(self.ends)
        assert self.journal.spool.empty == (self.acknowledged == len(self.ends))
        self.journal.spool.close()


class TestDamage:
    @pytest.mark.parametrize("within", range(3, 190, 7))
    def test_flipped_byte(self, within: int, journal: OpenJournal, tmp_path: Path):
        """It is reported or shows in the checksum of the text, and the records after it are given out.

        At the end of the spool it looks like an unfinished record, which is cut off: its lines are read again.
        """
        problems: list[str] = []
        first = journal()
        for number in range(6):
            first.put(number, b"y" * 40)
        first.spool.close()
        path = tmp_path / "00000001.spool"
        raw = bytearray(path.read_bytes())
        raw[len(raw) - 200 + within] ^= 0xFF
        path.write_bytes(raw)
        records = list(journal(on_problem=problems.append).spool.unsent())
        intact = [record.head["n"] for record in records if not record.damaged]
        cut_off = intact == list(range(len(intact))) and len(records) == len(intact)
        assert intact == sorted(intact)
        assert len(intact) >= 4
        assert len(intact) == 6 or problems or any(record.damaged for record in records) or cut_off

    def test_damaged_snapshot(self, journal: OpenJournal, tmp_path: Path, small_segments: None):
        """Recovery takes the snapshot of an earlier segment and the records since: no position is forgotten."""
        problems: list[str] = []
        first = journal()
        while len(segments(tmp_path)) < 4:
            first.put(len(first.heads), b"x" * 50)
        first.spool.close()
        for path in segments(tmp_path)[2:]:
            raw = bytearray(path.read_bytes())
            raw[30] ^= 0xFF
            path.write_bytes(raw)
        second = journal(on_problem=problems.append)
        assert second.heads == first.heads
        assert second.unsent() == list(range(len(first.heads)))
        assert "is damaged between bytes 0 and" in problems[0]


class FullFile:
    """A file on a disk that has room for a few bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: bytes) -> None:
        self._file.write(data[: self._room])
        if len(data) > self._room:
            raise OSError(28, "No space left on device")
        self._room -= len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class TestFullDisk:
    @pytest.mark.parametrize("room", [0, 10, 30])
    def test_record_that_does_not_fit_leaves_nothing(self, room: int, journal: OpenJournal):
        """`append` raises `OSError`, the next one succeeds, and neither recovery nor sending sees the failed one."""
        first = journal()
        first.put(0)
        first.spool._writing = FullFile(first.spool._writing, room)
        with pytest.raises(OSError, match="No space"):
            first.spool.append({"n": "failed"}, b"text\n", dict)
        first.put(1)
        assert first.unsent() == [0, 1]
        first.spool.close()
        assert journal().heads == first.heads

    @pytest.mark.parametrize("failing", ["open", "snapshot"])
    def test_segment_that_cannot_be_started_leaves_nothing(
        self, failing: str, journal: OpenJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_segments: None
    ):
        """`append` raises `OSError` as often as it is tried, and succeeds when there is room."""
        first = journal()
        first.put(0, b"x" * 300)
        opening = Path.open

        def fails(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if mode == "ab" and failing == "open":
                raise OSError(28, "No space left on device")
            file = opening(path, mode, *rest, **more)
            return FullFile(file, 10) if mode == "ab" else file

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", fails)
            for _ in range(2):
                with pytest.raises(OSError, match="No space"):
                    first.append(1)
                assert len(segments(tmp_path)) == 1
                assert not first.spool.empty
        first.put(1)
        assert len(segments(tmp_path)) == 2
        assert first.unsent() == [0, 1]
        first.spool.close()
        assert journal().heads == first.heads

    def test_cursor_that_cannot_be_stored(
        self, journal: OpenJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_segments: None
    ):
        """Nothing is deleted before it is stored: after a crash, records are repeated and none is missing."""
        first = journal()
        for number in range(10):
            first.put(number, b"x" * 50)
        count = len(segments(tmp_path))
        with monkeypatch.context() as patch, contextlib.suppress(OSError):
            patch.setattr(Path, "write_text", lambda *_: fail_with_full_disk())
            first.spool.acknowledge(list(first.spool.unsent())[-1].end)
        assert len(segments(tmp_path)) == count
        first.crash()
        assert journal().unsent() == list(range(10))


def fail_with_full_disk() -> None:
    raise OSError(28, "No space left on device")
