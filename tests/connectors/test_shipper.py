"""The shipper without a broker: what is cut, kept, read again, and read from files that are turned about."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from triage_ship.cutter import Cutter
from triage_ship.errors import ShipError
from triage_ship.files import Chunk, Files, Follow
from triage_ship.junit import read_status
from triage_ship.labels import PathNames, from_environment, parse_header
from triage_ship.sender import Away, Broker, Sender
from triage_ship.ship import Shipper
from triage_ship.spool import Place, Record, Spool

OPEN: list[Any] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """What a test leaves as a crash would: processes end, and files are closed then."""
    yield
    while OPEN:
        OPEN.pop().close()


def fail(text: str) -> None:
    raise AssertionError(text)


class TestCutter:
    @given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6), st.integers(8, 60))
    def test_nothing_is_lost_however_it_comes(self, data: bytes, cuts: list[int], size: int):
        """Chunks hold all bytes in order, none is too large, and only a line that is too long is cut within."""
        cutter, chunks, start = Cutter(size), [], 0
        for end in [*sorted(cuts), len(data)]:
            chunks += cutter.add(data[start:end], 0.0)
            start = max(start, end)
        rest = cutter.rest()
        assert b"".join(chunks) + rest == data
        assert all(0 < len(chunk) <= size for chunk in chunks)
        assert all(chunk.endswith(b"\n") or b"\n" not in chunk for chunk in chunks)

    def test_whole_lines_wait_for_a_while_and_half_ones_for_their_end(self):
        cutter = Cutter(100)
        assert cutter.add(b"one\ntw", 10.0) == []
        assert cutter.due(10.4, 0.5) == b""
        assert cutter.due(10.5, 0.5) == b"one\n"
        assert cutter.due(99.0, 0.5) == b""
        cutter.add(b"o\n", 100.0)
        assert cutter.due(100.6, 0.5) == b"two\n"


class Kept:
    """A spool with what reading would remember."""

    def __init__(self, folder: Path, on_trouble: Callable[[str], None] = fail) -> None:
        self.heads: list[Any] = []
        self.spool = Spool(folder, on_trouble)
        OPEN.append(self.spool)
        self.spool.recover(self.heads.append, lambda head: self.heads.extend(head["snapshot"]["heads"]))

    def put(self, number: int, text: bytes = b"text\n") -> None:
        self.spool.append({"n": number}, text, lambda: {"heads": self.heads})
        self.heads.append({"n": number})
        self.spool.sync()

    def unsent(self) -> list[int]:
        return [record.head["n"] for record in self.spool.unsent()]


class TestSpool:
    def test_goes_on_where_it_stopped(self, tmp_path: Path):
        kept = Kept(tmp_path)
        for number in range(5):
            kept.put(number)
        records = list(kept.spool.unsent())
        kept.spool.acknowledge(records[2].end)
        kept.spool.close()
        again = Kept(tmp_path)
        assert again.heads == kept.heads
        assert again.unsent() == [3, 4]
        again.put(5)
        assert again.unsent() == [5]
        assert not again.spool.empty

    def test_torn_at_any_byte(self, tmp_path: Path):
        """What a crash left unfinished is cut off, and all before it is there."""
        (tmp_path / "a").mkdir()
        kept = Kept(tmp_path / "a")
        ends = []
        for number in range(3):
            kept.put(number, b"x" * 20)
            ends.append(kept.spool.synced.offset)
        kept.spool.close()
        whole = (tmp_path / "a" / "00000001.spool").read_bytes()
        for length in range(len(whole)):
            place = tmp_path / str(length)
            place.mkdir()
            (place / "00000001.spool").write_bytes(whole[:length])
            torn = Kept(place)
            there = [{"n": number} for number, end in enumerate(ends) if end <= length]
            assert torn.heads == there
            assert torn.unsent() == [head["n"] for head in there]
            torn.put(9)
            assert torn.unsent() == [9]
            torn.spool.close()

    def test_segments_that_were_sent_go(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """And the newest one begins with all that reading needs."""
        monkeypatch.setattr("triage_ship.spool.SEGMENT_BYTES", 500)
        kept = Kept(tmp_path)
        for number in range(40):
            kept.put(number, b"x" * 50)
        assert len(list(tmp_path.glob("*.spool"))) > 5
        records = list(kept.spool.unsent())
        assert [record.head["n"] for record in records] == list(range(40))
        kept.spool.acknowledge(records[-2].end)
        assert len(list(tmp_path.glob("*.spool"))) <= 2
        assert kept.spool.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.spool"))
        kept.spool.close()
        again = Kept(tmp_path)
        assert again.heads == kept.heads
        assert again.unsent() == [39]

    def test_sent_again_after_an_outage(self, tmp_path: Path):
        kept = Kept(tmp_path)
        for number in range(4):
            kept.put(number)
        first = next(iter(kept.spool.unsent()))
        kept.spool.acknowledge(first.end)
        assert kept.unsent() == [1, 2, 3]
        kept.spool.rewind()
        assert kept.unsent() == [1, 2, 3]

    @pytest.mark.parametrize("within", range(3, 190, 7))
    def test_damage_is_found_and_passed(self, within: int, tmp_path: Path):
        """A byte is flipped: it is told, or shows in the checksum of the text, and what comes behind is read."""
        told: list[str] = []
        kept = Kept(tmp_path)
        for number in range(6):
            kept.put(number, b"y" * 40)
        kept.spool.close()
        path = tmp_path / "00000001.spool"
        raw = bytearray(path.read_bytes())
        raw[len(raw) - 200 + within] ^= 0xFF
        path.write_bytes(raw)
        again = Kept(tmp_path, told.append)
        records = list(again.spool.unsent())
        good = [record.head["n"] for record in records if not record.damaged]
        assert good == sorted(good)
        assert len(good) >= 4 or (told == [] and good == list(range(len(good))))
        assert len(good) == 6 or told or any(record.damaged for record in records) or good == list(range(len(good)))

    def test_lost_segment_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("triage_ship.spool.SEGMENT_BYTES", 300)
        told: list[str] = []
        kept = Kept(tmp_path)
        for number in range(20):
            kept.put(number, b"x" * 50)
        kept.spool.close()
        (tmp_path / "00000002.spool").unlink()
        again = Kept(tmp_path, told.append)
        found = again.unsent()
        assert found[0] == 0
        assert found[-1] == 19
        assert "00000002.spool is gone" in told[0]


class Reading:
    """Files that are followed, and the chunks that came; a restart forgets all but the positions."""

    def __init__(self, *paths: Path, **follow: Any) -> None:
        self.told: list[str] = []
        self.chunks: list[Chunk] = []
        self.positions: dict[str, Any] = {}
        self.now = 100.0
        told = {"chunk_bytes": 64, "linger_seconds": 0.0, "names": PathNames(None)} | follow
        self.follow = Follow(tuple(map(str, paths)), **told)
        self.files = Files(self.follow, self.positions, self.told.append)
        OPEN.append(self)

    def close(self) -> None:
        self.files.close()

    def turn(self, seconds: float = 1.0, turns: int = 1) -> "Reading":
        for _ in range(turns):
            self.now += seconds
            self.files.scan(self.now)
            for chunk in self.files.read(self.now):
                self.chunks.append(chunk)
                self.positions[chunk.file["id"]] = dict(chunk.file)
        return self

    def restart(self) -> "Reading":
        self.files.close()
        self.files = Files(self.follow, self.positions, self.told.append)
        return self

    def texts(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for chunk in self.chunks:
            found[chunk.key] = found.get(chunk.key, b"") + chunk.text
        return found

    @property
    def text(self) -> bytes:
        (text,) = self.texts().values()
        return text


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "tm500.log"


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


class TestFiles:
    def test_what_grows_comes_once(self, log: Path):
        append(log, b"one\ntwo\nthr")
        reading = Reading(log, run_id="r").turn()
        assert reading.text == b"one\ntwo\n"
        append(log, b"ee\n")
        assert reading.turn().restart().turn(turns=3).text == b"one\ntwo\nthree\n"
        assert [chunk.source for chunk in reading.chunks] == ["tm500.log"] * 2

    def test_renamed_and_made_again(self, log: Path):
        """A late line of the old one comes before the lines of the new one, which wait for it."""
        append(log, b"1\n")
        reading = Reading(log, run_id="r").turn()
        log.rename(log.with_name("tm500.log.1"))
        append(log, b"3\n")
        append(log.with_name("tm500.log.1"), b"2\n")
        reading.turn().turn(4.0).turn(4.0)
        assert reading.text == b"1\n2\n3\n"

    def test_rotated_twice_while_nobody_looked(self, log: Path):
        """Also what was never seen under its own name; a compressed one is told, since nobody can go on in it."""
        append(log, b"1\n")
        reading = Reading(log, run_id="r").turn()
        reading.files.close()
        append(log, b"2\n")
        log.rename(log.with_name("tm500.log.2"))
        append(log.with_name("tm500.log.1"), b"3\n")
        append(log, b"4\n")
        append(log.with_name("tm500.log.3.gz"), b"\x1f\x8b")
        times = (("tm500.log.2", 10), ("tm500.log.1", 20), ("tm500.log", 30))
        for name, seconds in times:
            os.utime(log.with_name(name), (time.time() + seconds, time.time() + seconds))
        reading.restart().turn(4.0, turns=8)
        assert reading.text == b"1\n2\n3\n4\n"
        assert "compressed" in reading.told[0]

    def test_cut_off_in_place(self, log: Path):
        """As logrotate does with copytruncate."""
        append(log, b"1\n2\n")
        reading = Reading(log, run_id="r").turn()
        log.write_bytes(b"3\n")
        assert reading.turn(turns=2).text == b"1\n2\n3\n"
        assert "read from its beginning" in reading.told[0]

    def test_replaced_in_place_by_something_longer(self, log: Path):
        append(log, b"1\n2\n")
        reading = Reading(log, run_id="r").turn()
        log.write_bytes(b"3 quite another text\n4\n5\n")
        assert reading.turn(turns=2).text == b"1\n2\n3 quite another text\n4\n5\n"

    def test_each_file_is_a_run(self, log: Path):
        """One that is replaced begins another, and the first ends."""
        append(log, b"1\n")
        reading = Reading(log).turn()
        log.unlink()
        append(log, b"2\n")
        reading.turn(1.0).turn(4.0, turns=2)
        assert list(reading.texts().values()) == [b"1\n", b"2\n"]
        assert [chunk.end for chunk in reading.chunks] in ([False, True, False], [False, False, True])

    def test_names_of_the_path(self, log: Path):
        names = PathNames(r"/(?P<testbed>logs)/(?P<source>\w+)\.log")
        append(log, b"1\n")
        reading = Reading(log.parent, names=names, headers={"a": "b"}).turn()
        (chunk,) = reading.chunks
        assert (chunk.source, chunk.headers) == ("tm500", {"a": "b", "testbed": "logs"})
        run = Reading(log.parent.parent / "logs", names=PathNames(r"(?P<run>logs)/")).turn()
        assert [chunk.key for chunk in run.chunks] == []  # another follows it already
        assert "read by another triage-ship" in run.told[0]

    def test_a_folder_is_a_run(self, tmp_path: Path):
        """All its sources are seen before the first of them ends."""
        for name, text in (("du.log", b"du\n"), ("ue.log", b"ue\nlast line without end"), ("empty.log", b"")):
            append(tmp_path / name, text)
        reading = Reading(tmp_path, run_by="folder", once=True).turn(turns=3)
        assert len({chunk.key for chunk in reading.chunks}) == 1
        first_end = [chunk.end for chunk in reading.chunks].index(True)
        assert {chunk.source for chunk in reading.chunks[: first_end + 1]} == {"du.log", "ue.log", "empty.log"}
        assert all(chunk.end for chunk in reading.chunks[first_end:])
        assert reading.files.idle
        assert b"last line without end" in reading.text
        assert reading.turn(turns=2).restart().turn().files.idle

    def test_a_quiet_run_ends_and_goes_on_as_another(self, log: Path):
        append(log, b"1\n")
        reading = Reading(log, idle_end_seconds=10.0).turn().turn(11.0)
        assert [chunk.end for chunk in reading.chunks] == [False, True]
        append(log, b"2\n")
        assert list(reading.turn().texts().values()) == [b"1\n", b"2\n"]

    def test_files_that_are_done_are_closed(self, tmp_path: Path):
        """A farm leaves thousands of them; one that grows again is another run."""
        for number in range(50):
            append(tmp_path / f"{number}.log", b"1\n")
        reading = Reading(tmp_path, idle_end_seconds=5.0).turn().turn(6.0)
        assert reading.files._open == {}
        assert len(reading.texts()) == 50
        append(tmp_path / "7.log", b"2\n")
        assert len(reading.turn().texts()) == 51
        assert len(reading.restart().turn(turns=2).texts()) == 51

    def test_a_number_at_the_end_is_a_name(self, tmp_path: Path):
        """Where nothing was rotated."""
        append(tmp_path / "night.1", b"1\n")
        append(tmp_path / "night.2", b"2\n")
        reading = Reading(tmp_path).turn().turn(9.0)
        append(tmp_path / "night.1", b"3\n")
        assert sorted(reading.turn().texts().values()) == [b"1\n3\n", b"2\n"]
        assert {chunk.source for chunk in reading.chunks} == {"night.1", "night.2"}

    def test_a_clock_in_the_future_changes_nothing(self, log: Path):
        append(log, b"1\n")
        os.utime(log, (4e9, 4e9))
        reading = Reading(log, run_id="r", idle_end_seconds=5.0).turn()
        append(log, b"2\n")
        os.utime(log, (1e6, 1e6))
        assert reading.turn(4.0).text == b"1\n2\n"
        assert not any(chunk.end for chunk in reading.chunks)
        assert reading.turn(6.0).chunks[-1].end

    def test_a_file_that_cannot_be_read_is_tried_again(self, log: Path, monkeypatch: pytest.MonkeyPatch):
        append(log, b"1\n")
        opened = os.open
        monkeypatch.setattr(os, "open", lambda *a, **k: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        reading = Reading(log, run_id="r").turn(turns=3)
        assert reading.told == [f"{log} cannot be read: Permission denied; it is tried again"]
        monkeypatch.setattr(os, "open", opened)
        assert reading.turn().text == b"1\n"

    @pytest.mark.parametrize("seed", range(12))
    def test_anything_may_happen(self, log: Path, seed: int):
        """Growth, renames, restarts and pauses at random: every line once, in order."""
        rng, written = random.Random(seed), 0
        reading = Reading(log, run_id="r")
        file, rotations = log.open("ab"), 0

        def write() -> None:
            nonlocal written
            for _ in range(rng.randrange(6)):
                file.write(b"%d %s\n" % (written, b"x" * rng.randrange(90)))
                written += 1
            file.flush()

        for _ in range(150):
            what = rng.random()
            write()
            if what < 0.5:
                reading.turn(rng.choice((0.1, 1.0, 4.0)))
            elif what < 0.65:
                reading.restart()
            elif what < 0.75 and log.stat().st_size:
                for number in range(rotations, 0, -1):
                    log.with_name(f"tm500.log.{number}").rename(log.with_name(f"tm500.log.{number + 1}"))
                log.rename(log.with_name("tm500.log.1"))
                write()
                file.close()
                file, rotations = log.open("ab"), rotations + 1
        file.close()
        reading.turn(4.0, turns=2 * rotations + 4)
        assert [int(line.split()[0]) for line in reading.text.splitlines()] == list(range(written))


class FakeSender:
    """Takes records; what it acknowledges and when is the test's choice."""

    def __init__(self) -> None:
        self.got: list[Record] = []
        self.away = False
        self.place: Place | None = None

    full = False

    def send(self, record: Record) -> None:
        if self.away:
            raise Away("no broker")
        self.got.append(record)
        self.place = record.end

    def skip(self, record: Record) -> None:
        self.place = record.end

    def acknowledged(self) -> Place | None:
        place, self.place = self.place, None
        return place

    def drop(self) -> None: ...
    def close(self) -> None: ...


def shipping(folder: Path, log: Path, sender: FakeSender, told: list[str], **how: Any) -> Shipper:
    follow = Follow((str(log),), 64, 0.0, PathNames(None), {}, "r", **how)
    spool = Spool(folder, told.append)
    shipper = Shipper(
        spool,
        sender,
        lambda positions: Files(follow, positions, told.append),
        spool_bytes=1 << 20,
        on_trouble=told.append,
    )
    OPEN.append(shipper)
    return shipper


def with_damage(folder: Path, log: Path) -> FakeSender:
    """A spool whose one line was changed on the disk while no broker was there; now it is."""
    append(log, b"first line\n")
    sender = FakeSender()
    sender.away = True
    shipper = shipping(folder, log, sender, [])
    shipper.step()
    shipper.close()
    (path,) = folder.glob("*.spool")
    path.write_bytes(path.read_bytes().replace(b"first line", b"fIrst line"))
    sender.away = False
    return sender


class TestShipper:
    def test_a_full_disk_is_waited_for(self, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """Nothing is lost, and what is on disk is sent meanwhile."""
        append(log, b"1\n2\n")
        sender, told = FakeSender(), []
        shipper = shipping(tmp_path, log, sender, told)
        put, left = shipper._spool.append, [3]

        def full(*arguments: Any) -> None:
            left[0] -= 1
            if left[0] > 0:
                raise OSError(28, "No space left on device")
            put(*arguments)

        monkeypatch.setattr(shipper._spool, "append", full)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        shipper.step()
        shipper.step()
        assert b"".join(record.text for record in sender.got) == b"1\n2\n"
        assert told == ["the spool cannot be written: No space left on device; reading waits until it can"]

    def test_reading_waits_when_the_spool_is_full(self, log: Path, tmp_path: Path):
        append(log, b"".join(b"%030d\n" % number for number in range(3000)))
        sender, told = FakeSender(), []
        sender.away = True
        shipper = shipping(tmp_path, log, sender, told)
        shipper._spool_bytes = 2000
        for _ in range(5):
            shipper.step()
        assert any("as much as it may" in text for text in told)
        assert any("Kafka is away" in text for text in told)
        sender.away, shipper._resume = False, 0.0
        for _ in range(5):
            shipper.step()
        assert told[-1] == "Kafka is back"

    def test_a_damaged_chunk_is_read_again_from_its_file(self, log: Path, tmp_path: Path):
        sender, told = with_damage(tmp_path, log), []
        again = shipping(tmp_path, log, sender, told)
        again.step()
        assert [record.text for record in sender.got] == [b"first line\n"]

    def test_a_damaged_chunk_whose_file_is_gone_is_told_and_not_waited_for(self, log: Path, tmp_path: Path):
        sender, told = with_damage(tmp_path, log), []
        log.unlink()
        again = shipping(tmp_path, log, sender, told)
        again.step()
        assert again._spool.empty
        assert "damaged on disk and cannot be read again; it is lost" in told[-1]

    def test_what_is_skipped_is_acknowledged_in_its_turn(self):
        sender = Sender(Broker(("nowhere:1",), "t"))
        record = Record({"k": "r", "s": "", "q": 0}, b"x\n", Place(1, 90), 0)
        sender.skip(record)
        assert sender.acknowledged() == Place(1, 90)
        assert sender.acknowledged() is None


JUNIT = """<testsuite><testcase classname="t.A" name="one"/><testcase name="two"><failure>&lt;b&gt;</failure></testcase>
<testcase name="three"><skipped/></testcase></testsuite>"""


class TestJunit:
    @pytest.mark.parametrize(
        ("case", "status"),
        [("one", "pass"), ("t.A.one", "pass"), ("two", "fail"), ("three", "skipped"), (None, "fail"), ("x", "fail")],
    )
    def test_result(self, case: str | None, status: str, tmp_path: Path):
        (tmp_path / "r.xml").write_text(JUNIT)
        assert read_status(tmp_path / "r.xml", case) == status

    @pytest.mark.parametrize(("text", "reason"), [
        ("<a", "is not XML"), ("<a/>", "has no test case"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares entities"), (None, "cannot be read"),
    ])  # fmt: skip
    def test_unusable(self, text: str | None, reason: str, tmp_path: Path):
        if text is not None:
            (tmp_path / "r.xml").write_text(text)
        with pytest.raises(ShipError, match=reason):
            read_status(tmp_path / "r.xml", None)


class TestLabels:
    def test_ci(self):
        assert from_environment({"GITLAB_CI": "true", "CI_JOB_ID": "7", "CI_JOB_NAME": "night"}) == {
            "cicd.pipeline.task.run.id": "7", "cicd.pipeline.task.name": "night"}  # fmt: skip
        assert from_environment({"GITHUB_ACTIONS": "true", "GITHUB_SHA": "abc"}) == {"vcs.ref.head.revision": "abc"}
        assert from_environment({"CI_JOB_ID": "7"}) == {}

    @pytest.mark.parametrize(("make", "reason"), [
        (lambda: parse_header("x"), "name=value"), (lambda: PathNames("("), "no regular expression"),
        (lambda: PathNames("x"), "names no group"),
    ])  # fmt: skip
    def test_wrong(self, make: Callable[[], object], reason: str):
        with pytest.raises(ShipError, match=reason):
            make()


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "triage_ship.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=os.environ | environment)


class TestCommand:
    @pytest.mark.parametrize(("arguments", "reason"), [
        ((), "name files"), (("-", "a"), "name files"), (("--tcp", "x:1", "a"), "takes the place"),
        (("--tcp", "x"), "host:port"), (("--ca-file", "none.pem", "--security", "SSL", "a"), "--ca-file"),
        (("--once", "nowhere.log"), "nowhere.log is not there"), (("--header", "x", "a"), "name=value"),
        (("--security", "SASL_SSL", "a"), "--password-file"),
        (("--password-file", "none", "a"), "cannot be read"),
    ])  # fmt: skip
    def test_what_cannot_be_done_is_said(self, arguments: tuple[str, ...], reason: str, tmp_path: Path):
        done = run("--state", tmp_path / "s", *arguments)
        assert done.returncode == 2
        assert reason in done.stderr

    def test_two_with_one_spool(self, tmp_path: Path, log: Path):
        from fcntl import LOCK_EX, flock

        (tmp_path / "s").mkdir()
        with (tmp_path / "s" / "lock").open("w") as lock:
            flock(lock, LOCK_EX)
            done = run("--state", tmp_path / "s", log)
        assert done.returncode == 2
        assert "another triage-ship uses" in done.stderr

    @pytest.mark.slow
    def test_nobody_there(self, tmp_path: Path, log: Path):
        """What cannot be sent waits on disk, and the exit status says so."""
        append(log, b"1\n")
        done = run("--state", tmp_path / "s", "--bootstrap", "127.0.0.1:9", "--once", "--finish-seconds", "1", log)
        assert done.returncode == 1
        assert "Kafka is away" in done.stderr
        assert "the next start sends them" in done.stderr
