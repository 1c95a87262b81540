"""The shipper without a broker: its loop, what it cuts, the results and headers it reads, and its command."""

import argparse
import ast
import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import triage_ship
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import KafkaTimeoutError
from triage_ship import cli, xml_text
from triage_ship.cutter import Cutter
from triage_ship.errors import ShipError
from triage_ship.files import Chunk, Files, FollowOptions
from triage_ship.headers import PathPattern, from_environment, parse_header
from triage_ship.junit import read_status
from triage_ship.options import parser
from triage_ship.sender import TooLarge, Unavailable
from triage_ship.ship import Shipper
from triage_ship.spool import Cursor, Record, Spool
from triage_ship.xml_text import readable


class TestCutter:
    @given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6), st.integers(8, 60))
    def test_nothing_is_lost_however_bytes_arrive(self, data: bytes, cuts: list[int], size: int):
        """Chunks hold all bytes in order, none is too large, and only lines that are too long are cut."""
        cutter, chunks, start = Cutter(size), [], 0
        for end in [*sorted(cuts), len(data)]:
            chunks += cutter.add(data[start:end], 0.0)
            start = max(start, end)
        rest = cutter.rest()
        assert b"".join(chunks) + rest == data
        assert all(0 < len(chunk) <= size for chunk in chunks)
        assert all(chunk.endswith(b"\n") or b"\n" not in chunk for chunk in chunks)

    def test_whole_lines_wait_for_more_lines(self):
        """For the linger time; an unfinished line waits for its end, however long that takes."""
        cutter = Cutter(100)
        assert cutter.add(b"one\ntw", 10.0) == []
        assert cutter.due(10.4, 0.5) == b""
        assert cutter.due(10.5, 0.5) == b"one\n"
        assert cutter.due(99.0, 0.5) == b""
        cutter.add(b"o\n", 100.0)
        assert cutter.due(100.6, 0.5) == b"two\n"


class FakeSender:
    """Takes records and acknowledges them at once, unless the broker is away or rejects them for their size."""

    def __init__(self, *_: Any) -> None:
        self.records: list[Record] = []
        self.drops = 0
        self.error: Exception | None = None
        self.cursor: Cursor | None = None

    full = False

    def send(self, record: Record) -> None:
        self.records.append(record)
        self.cursor = record.end

    def skip(self, record: Record) -> None:
        self.cursor = record.end

    def acknowledged(self) -> Cursor | None:
        if self.error is not None:
            raise self.error
        cursor, self.cursor = self.cursor, None
        return cursor

    def drop(self) -> None:
        self.drops += 1
        self.records.clear()
        self.cursor = None

    def close(self) -> None: ...

    @property
    def text(self) -> bytes:
        return b"".join(record.text for record in self.records)


class FakeTime:
    """Takes the place of the module `time`: sleeping moves the clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr("triage_ship.ship.time", clock)
    return clock


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "tm500.log"


@pytest.fixture
def sender() -> FakeSender:
    return FakeSender()


@pytest.fixture
def problems() -> list[str]:
    return []


StartShipper = Callable[..., Shipper]


@pytest.fixture
def start(tmp_path: Path, log: Path, sender: FakeSender, problems: list[str], clock: FakeTime) -> Iterator[StartShipper]:
    """Starts shippers of the log, one after the other, on one spool."""
    started: list[Shipper] = []

    def start_shipper(*, spool_bytes: int = 1 << 20, chunk_bytes: int = 64, **options: Any) -> Shipper:
        follow = FollowOptions((str(log),), chunk_bytes, 0.0, PathPattern(None), {}, "r", **options)
        started.append(
            Shipper(
                Spool(tmp_path, problems.append),
                sender,
                lambda positions: Files(follow, positions, problems.append),
                spool_bytes=spool_bytes,
                on_problem=problems.append,
            )
        )
        return started[-1]

    yield start_shipper
    for shipper in started:
        shipper.close()


def lines(count: int) -> bytes:
    return b"".join(b"%030d\n" % number for number in range(count))


class FakeSource:
    """Yields chunks of files, one text at a time, and keeps the positions that it was opened with."""

    finished = False

    def __init__(self, positions: dict[str, Any]) -> None:
        self.positions = positions
        self.texts: list[tuple[str, bytes]] = []

    def scan(self, now: float) -> None: ...

    def read(self, now: float) -> Iterator[Chunk]:
        while self.texts:
            name, text = self.texts.pop(0)
            yield Chunk("run", name, {}, text, False, {"id": name, "offset": len(text)})

    def close(self) -> None: ...


class TestShipper:
    @pytest.mark.parametrize("times", [1, 3])
    def test_full_disk(
        self,
        times: int,
        start: StartShipper,
        log: Path,
        sender: FakeSender,
        problems: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ):
        """Reading pauses until there is room; it is reported once, and nothing is lost."""
        log.write_bytes(b"1\n2\n")
        shipper = start()
        append, failures = shipper._spool.append, [OSError(28, "No space left on device")] * times

        def fails(*arguments: Any) -> None:
            if failures:
                raise failures.pop()
            append(*arguments)

        monkeypatch.setattr(shipper._spool, "append", fails)
        shipper.step()
        assert sender.text == b"1\n2\n"
        (problem,) = problems
        assert "the spool cannot be written (No space left on device)" in problem

    def test_full_spool(self, start: StartShipper, log: Path, sender: FakeSender, problems: list[str], clock: FakeTime):
        """Reading pauses while the broker is away, which is reported once, and goes on afterwards."""
        log.write_bytes(lines(3000))
        sender.error = Unavailable("no broker")
        shipper = start(spool_bytes=2000)
        for _ in range(5):
            shipper.step()
            log.write_bytes(log.read_bytes() + b"more\n")
            clock.now += 20
        stored = shipper._spool.bytes
        assert sum("the spool has reached its limit" in text for text in problems) == 1
        assert sum("Kafka is not available (no broker)" in text for text in problems) == 1
        sender.error = None
        shipper.step()
        assert problems[-1] == "Kafka is available again"
        assert shipper._spool.bytes == stored
        for _ in range(5):
            shipper.step()
        assert sender.text == log.read_bytes()

    def test_spool_limit_below_the_size_of_a_segment(self, start: StartShipper, log: Path, sender: FakeSender):
        """The newest segment is never deleted, and alone exceeds the limit: reading goes on when everything is sent."""
        shipper = start(spool_bytes=1)
        for count in range(1, 6):
            log.write_bytes(lines(count))
            shipper.step()
            shipper.step()
        assert sender.text == lines(5)

    @pytest.mark.parametrize("error", [Unavailable("no broker"), TooLarge("too large")])
    def test_unacknowledged_records_are_sent_again(
        self, error: Exception, start: StartShipper, log: Path, sender: FakeSender, clock: FakeTime
    ):
        """All of them, in order, and on a new connection; those that were acknowledged before are not."""
        shipper = start()
        log.write_bytes(b"acknowledged\n")
        shipper.step()
        log.write_bytes(b"acknowledged\n" + lines(9))
        sender.error = error
        shipper.step()
        assert sender.drops == 1
        sender.error = None
        clock.now += 1
        shipper.step()
        assert sender.text == lines(9)
        assert shipper._spool.empty

    def test_waits_longer_after_each_failure(self, start: StartShipper, log: Path, sender: FakeSender, clock: FakeTime):
        """From half a second up to 15 s; an acknowledgement sets it back."""
        log.write_bytes(b"1\n")
        sender.error = Unavailable("no broker")
        shipper, began, attempts = start(), clock.now, []
        while clock.now < began + 60:
            drops = sender.drops
            shipper.step()
            if sender.drops > drops:
                attempts.append(clock.now - began)
                assert shipper.send() is False
            clock.now += 0.5
        assert attempts == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 30.5, 45.5]
        sender.error = None
        clock.now += 15
        shipper.step()
        assert (shipper._retry_seconds, shipper._spool.empty) == (0.5, True)

    def test_too_large_is_tried_again_at_once(self, start: StartShipper, log: Path, sender: FakeSender, problems: list[str]):
        """The broker is there, so there is nothing to wait for."""
        log.write_bytes(b"1\n")
        shipper = start()
        assert shipper.send() is False  # nothing is read yet
        sender.error = TooLarge("Kafka rejects messages above its limit")
        shipper.step()
        sender.error = None
        shipper.send()
        assert sender.text == b"1\n"
        assert problems[-1] == "Kafka rejects messages above its limit; smaller messages are sent from now on"

    @pytest.mark.parametrize(("error", "sent", "waits"), [(None, True, 3), (Unavailable("no broker"), False, 12)])
    def test_run_ends_when_the_source_is_finished(
        self, error: Exception | None, sent: bool, waits: float, start: StartShipper, log: Path, sender: FakeSender,
        clock: FakeTime,
    ):  # fmt: skip
        """And everything is sent, or the broker was waited for as long as asked."""
        log.write_bytes(b"1\n")
        sender.error = error
        began = clock.now
        assert start(once=True).run(lambda: False, finish_seconds=10) is sent
        assert waits - 3 <= clock.now - began <= waits

    def test_run_ends_when_it_is_stopped(self, start: StartShipper, log: Path, sender: FakeSender):
        """What is not sent stays in the spool, and the next start sends it."""
        log.write_bytes(b"1\n")
        sender.error = Unavailable("no broker")
        stops = iter([False, True])
        shipper = start()
        assert shipper.run(lambda: next(stops)) is False
        shipper.close()
        sender.error = None
        stops = iter([False, True])
        assert start().run(lambda: next(stops)) is True
        assert sender.text == b"1\n"

    def test_numbers_go_on_after_a_restart(self, start: StartShipper, log: Path, sender: FakeSender):
        """And start again when a run has ended: each chunk of a source has the next number, whatever happens between."""
        for count in (1, 2, 3):
            log.write_bytes(lines(count))
            shipper = start()
            shipper.step()
            shipper.close()
        assert [record.head["q"] for record in sender.records] == [0, 1, 2]
        shipper = start(once=True)
        shipper.run(lambda: False)
        shipper.close()
        log.write_bytes(lines(4))
        start().step()
        assert [(record.head["q"], record.head.get("e")) for record in sender.records[3:]] == [(3, 1), (0, None)]


class TestNumbering:
    """Workers drop a number that came before, so two numberings must never look like one."""

    def test_keeps_its_name_as_long_as_numbers_go_on(
        self, start: StartShipper, log: Path, sender: FakeSender, monkeypatch: pytest.MonkeyPatch
    ):
        """Over restarts, and whether the name is read from a snapshot or from an earlier one."""
        for segment_bytes in (1 << 20, 1, 1 << 20):
            monkeypatch.setattr("triage_ship.spool.SEGMENT_BYTES", segment_bytes)
            log.write_bytes(lines(1 + len(sender.records)))
            shipper = start()
            shipper.step()
            shipper.close()
        assert [record.head["q"] for record in sender.records] == [0, 1, 2]
        assert len({record.head["n"] for record in sender.records}) == 1

    @pytest.mark.parametrize("lost", ["all", "snapshot", "name"])
    def test_gets_another_name_when_its_state_is_lost(
        self, lost: str, start: StartShipper, log: Path, sender: FakeSender, tmp_path: Path, problems: list[str]
    ):
        """Numbers begin with 0 again then, also when the spool is of a release that gave no name."""
        log.write_bytes(lines(2))
        shipper = start()
        shipper.step()
        shipper.close()
        (path,) = tmp_path.glob("*.spool")
        if lost == "all":
            path.unlink()
        elif lost == "snapshot":
            path.write_bytes(path.read_bytes().replace(b'"snapshot"', b'"snapshut"'))
        else:
            spool = Spool(tmp_path / "old", problems.append)
            (tmp_path / "old").mkdir()
            spool.recover(lambda head: None, lambda head: None)
            spool.append({"k": "r", "s": "tm500.log", "q": 4}, b"old\n", lambda: {"positions": {}, "numbers": {"r\0x": 5}})
            spool.close()
            path.unlink()
            next((tmp_path / "old").glob("*.spool")).rename(path)
        log.write_bytes(lines(3))
        start().step()
        first, last = sender.records[0].head, sender.records[-1].head
        assert first["n"] != last["n"]
        assert next(record.head["q"] for record in sender.records if record.head.get("n") == last["n"]) == 0

    def test_end_says_how_many_sources_a_run_has(self, start: StartShipper, log: Path, sender: FakeSender):
        """Unless its id was given: a shipper on another machine may have been given the same one."""
        log.write_bytes(lines(1))
        start(once=True).run(lambda: False)
        assert "run.sources" not in sender.records[-1].head.get("h", {})


class TestOddRecords:
    """One record in the spool that cannot be used keeps no other from being sent."""

    @pytest.mark.parametrize("head", [[1], "text", {"k": 5, "s": "a"}, {"x": 1}, {"k": "r", "s": None, "q": 1}])
    def test_is_set_aside(
        self, head: object, start: StartShipper, log: Path, sender: FakeSender, tmp_path: Path, problems: list[str]
    ):
        """It is reported, what it contains is kept, and what was written after it is sent."""
        spool = Spool(tmp_path, problems.append)
        spool.recover(lambda head: None, lambda head: None)
        good = {"k": "r", "s": "tm500.log", "q": 0, "n": "e", "t": 1}
        for each, text in ((good, b"before\n"), (head, b"odd\n"), ({**good, "q": 1}, b"after\n")):
            spool.append(each, text, lambda: {"positions": {}, "numbers": {}, "epoch": "e"})
        spool.close()

        def send(record: Record) -> None:
            record.head["k"].encode()
            record.head["s"].encode()
            FakeSender.send(sender, record)

        sender.send = send
        log.write_bytes(b"new\n")
        shipper = start()
        shipper.step()
        assert sender.text == b"before\nafter\nnew\n"
        assert shipper._spool.empty
        (kept,) = tmp_path.glob("*.unsent")
        assert b"odd\n" in kept.read_bytes()
        assert any(str(kept) in problem for problem in problems)

    def test_other_files_are_left_alone(self, start: StartShipper, log: Path, sender: FakeSender, tmp_path: Path):
        (tmp_path / "0000001x.spool").write_bytes(b"x")
        (tmp_path / "00000009.spool").mkdir()
        log.write_bytes(b"new\n")
        start().step()
        assert sender.text == b"new\n"


class TestState:
    @pytest.fixture
    def open_source(self, tmp_path: Path, sender: FakeSender, problems: list[str]) -> Iterator[Callable[[], Any]]:
        """Starts shippers of a fake source on one spool; each call closes the one before."""
        shippers: list[Shipper] = []

        def start_shipper() -> tuple[Shipper, FakeSource]:
            if shippers:
                shippers[-1].close()
            spool = Spool(tmp_path, problems.append)
            shippers.append(Shipper(spool, sender, FakeSource, spool_bytes=1 << 20, on_problem=problems.append))
            return shippers[-1], shippers[-1]._source

        yield start_shipper
        shippers[-1].close()

    @pytest.mark.parametrize("segment_bytes", [1, 1 << 20])
    def test_positions_survive(
        self, segment_bytes: int, open_source: Callable[[], Any], sender: FakeSender, monkeypatch: pytest.MonkeyPatch
    ):
        """Those of all files, whether they are in a snapshot or in the records after it, and so do the chunk numbers."""
        monkeypatch.setattr("triage_ship.spool.SEGMENT_BYTES", segment_bytes)
        shipper, source = open_source()
        source.texts = [("a", b"1\n"), ("b", b"1\n"), ("a", b"1\n2\n"), ("c", b"1\n")]
        shipper.step()
        shipper, source = open_source()
        assert {name: position["offset"] for name, position in source.positions.items()} == {"a": 4, "b": 2, "c": 2}
        source.texts = [("a", b"3\n"), ("b", b"2\n")]
        shipper.step()
        assert [record.head["q"] for record in sender.records[-2:]] == [2, 1]

    def test_oldest_positions_are_forgotten(self, open_source: Callable[[], Any], monkeypatch: pytest.MonkeyPatch):
        """A position is as old as the last chunk of its file; otherwise the state would grow for ever."""
        monkeypatch.setattr("triage_ship.ship.MAX_POSITIONS", 2)
        shipper, source = open_source()
        source.texts = [("a", b"1\n"), ("b", b"1\n"), ("a", b"2\n"), ("c", b"1\n")]
        shipper.step()
        assert list(source.positions) == ["a", "c"]


class TestDamagedChunk:
    @pytest.fixture(autouse=True)
    def _damage(self, start: StartShipper, log: Path, sender: FakeSender, tmp_path: Path, clock: FakeTime):
        """A spool whose only line was changed on disk before it was sent."""
        log.write_bytes(b"first line\n")
        sender.error = Unavailable("no broker")
        shipper = start()
        shipper.step()
        shipper.close()
        (path,) = tmp_path.glob("*.spool")
        path.write_bytes(path.read_bytes().replace(b"first line", b"fIrst line"))
        sender.error = None
        sender.records.clear()

    def test_is_read_again_from_its_file(self, start: StartShipper, sender: FakeSender):
        """The broker gets the line as it was written."""
        start().step()
        assert sender.text == b"first line\n"

    def test_is_skipped_if_its_file_is_gone(self, start: StartShipper, log: Path, sender: FakeSender, problems: list[str]):
        """It is reported, nothing wrong is sent, and nothing waits for it."""
        log.unlink()
        shipper = start()
        shipper.step()
        assert sender.text == b""
        assert shipper._spool.empty
        assert "its lines are lost" in problems[-1]


JUNIT = """<testsuite><testcase classname="t.A" name="one"/><testcase name="two"><failure>&lt;b&gt;</failure></testcase>
<testcase name="three"><skipped/></testcase></testsuite>"""


class TestJunit:
    @pytest.mark.parametrize(
        ("case", "status"),
        [("one", "pass"), ("t.A.one", "pass"), ("two", "fail"), ("three", "skipped"), (None, "fail"), ("x", "fail")],
    )
    def test_result(self, case: str | None, status: str, tmp_path: Path):
        """That of the test case, by its name or with its class; the worst one if the file does not have it."""
        (tmp_path / "r.xml").write_text(JUNIT)
        assert read_status(tmp_path / "r.xml", case) == status

    @pytest.mark.parametrize(("text", "reason"), [
        ("<a", "is not XML"), ("<a/>", "has no test case"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares entities"), (None, "cannot be read"),
        ('<?xml version="1.0" encoding="nix"?><a/>', "declares the encoding 'nix'"),
        ('<?xml version="1.0" encoding="hex"?><a/>', "declares the encoding 'hex'"),
    ])  # fmt: skip
    def test_unusable_file(self, text: str | None, reason: str, tmp_path: Path):
        """The error says why."""
        if text is not None:
            (tmp_path / "r.xml").write_text(text)
        with pytest.raises(ShipError, match=reason):
            read_status(tmp_path / "r.xml", None)

    @pytest.mark.parametrize(
        ("case", "status"), [("a.A.one", "fail"), ("b.B.one", "pass"), ("b.B::one", "pass"), ("two", "skipped")]
    )
    def test_class_and_name(self, case: str, status: str, tmp_path: Path):
        """Both decide. A name alone is enough where all classes have the same result."""
        (tmp_path / "r.xml").write_text(
            '<testsuite><testcase classname="a.A" name="one"><failure/></testcase><testcase classname="b.B" name="one"/>'
            '<testcase classname="a.A" name="two"><skipped/></testcase><testcase classname="b.B" name="two"><skipped/>'
            "</testcase></testsuite>"
        )
        assert read_status(tmp_path / "r.xml", case) == status
        with pytest.raises(ShipError, match=r"one in several classes \(a\.A, b\.B\); .*--test-case a\.A\.one"):
            read_status(tmp_path / "r.xml", "one")


class TestXmlText:
    XML = '<?xml version="1.0" encoding="{}"?>\n<a b="{}">x</a>'

    @pytest.mark.parametrize(
        ("encoding", "name", "text"),
        [
            ("gbk", "GBK", "失败"), ("shift_jis", "Shift_JIS", "失敗"), ("cp1252", "windows-1252", "Gerät"),
            ("utf-16", "UTF-16", "失败"), ("utf-16-le", "UTF-16", "失败"), ("utf-32-be", "utf-32", "失败"),
            ("utf-8-sig", "utf-8", "失败"), ("utf-8", "utf-16", "失败"), ("iso2022_jp", "ISO-2022-JP", "失敗"),
        ],
    )  # fmt: skip
    def test_becomes_utf8(self, encoding: str, name: str, text: str):
        """In the encoding that is declared, unless the bytes show that it is another one."""
        assert readable(self.XML.format(name, text).encode(encoding)) == (
            f'<?xml version="1.0"?>\n<a b="{text}">x</a>'.encode(), 0)  # fmt: skip

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("<a>\x1b[31m\0</a>", "<a>\\x1b[31m\\x00</a>"), ('<a b="&#27;&#x1B;"/>', '<a b="\\x1b\\x1b"/>'),
            ("<a>\ufffe\x08</a>", "<a>\\xfffe\\x08</a>"), ("<a>&#99999999;&#xD800;</a>", "<a>\\x5f5e0ff\\xd800</a>"),
        ],
    )  # fmt: skip
    def test_forbidden_characters_are_shown(self, before: str, after: str):
        """Raw and as references."""
        assert readable(before.encode()) == (after.encode(), 2)

    def test_what_is_allowed_stays(self):
        text = "<a>\t\r\n&#10;&amp;é😀<![CDATA[&#27;]]></a>"
        assert readable(text.encode()) == (text.encode(), 0)

    def test_invalid_bytes(self):
        assert readable(b"<a>caf\xe9</a>") == ("<a>caf\ufffd</a>".encode(), 1)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes):
        """The result is UTF-8 that a parser takes or rejects as not XML."""
        with contextlib.suppress(ValueError):
            readable(b"<a>" + data)[0].decode()

    def test_product_has_the_same_file(self):
        """`stream-triage junit` reads what the shipper reads."""
        ours = Path(xml_text.__file__).read_bytes()
        assert ours == (Path(__file__).parents[2] / "stream_triage" / "render" / "xml_text.py").read_bytes()


class TestHeaders:
    def test_of_a_ci_job(self):
        """By the variables of the system whose job it is; none outside of CI."""
        assert from_environment({"GITLAB_CI": "true", "CI_JOB_ID": "7", "CI_JOB_NAME": "night"}) == {
            "cicd.pipeline.task.run.id": "7", "cicd.pipeline.task.name": "night"}  # fmt: skip
        assert from_environment({"GITHUB_ACTIONS": "true", "GITHUB_SHA": "abc"}) == {"vcs.ref.head.revision": "abc"}
        assert from_environment({"CI_JOB_ID": "7"}) == {}

    @pytest.mark.parametrize(("make", "reason"), [
        (lambda: parse_header("x"), "NAME=VALUE"), (lambda: parse_header(" =x"), "NAME=VALUE"),
        (lambda: PathPattern("("), "not a valid regular expression"), (lambda: PathPattern("x"), "no named group"),
    ])  # fmt: skip
    def test_wrong_options(self, make: Callable[[], object], reason: str):
        """The error names the form that is expected."""
        with pytest.raises(ShipError, match=reason):
            make()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> dict[int, Callable[..., None]]:
    """For running the command in this process: its signal handlers are kept here, limits of this process stay."""
    handlers: dict[int, Callable[..., None]] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(cli, "_raise_open_files_limit", lambda: None)
    return handlers


class TestCommand:
    @pytest.mark.parametrize(("arguments", "reason"), [
        ((), "name the files"), (("-", "a"), "name the files"), (("--tcp", "x:1", "a"), "leave out the paths"),
        (("--tcp", "x"), "HOST:PORT"), (("--ca-file", "none.pem", "--security", "SSL", "a"), "--ca-file"),
        (("--once", "nowhere.log"), "nowhere.log does not exist"), (("--header", "x", "a"), "NAME=VALUE"),
        (("--security", "SASL_SSL", "a"), "--password-file"),
        (("--password-file", "none", "a"), "cannot be read"),
    ])  # fmt: skip
    def test_wrong_options(
        self, arguments: tuple[str, ...], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: object
    ):
        """Status 2 and a message that names the option."""
        assert cli.main(["--state", str(tmp_path / "s"), *arguments]) == 2
        assert reason in capsys.readouterr().err

    def test_state_folder_in_use(self, tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]):
        """Two shippers with one spool would write into each other's records."""
        from fcntl import LOCK_EX, flock

        (tmp_path / "s").mkdir()
        with (tmp_path / "s" / "lock").open("w") as lock:
            flock(lock, LOCK_EX)
            assert cli.main(["--state", str(tmp_path / "s"), str(log)]) == 2
        assert "is in use by another triage-ship; give each its own --state" in capsys.readouterr().err

    def test_state_folder_that_cannot_be_created(self, tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]):
        """Status 2, and the reason of the system."""
        log.write_bytes(b"")
        assert cli.main(["--state", str(log / "s"), str(log)]) == 2
        assert f"--state {log / 's'} cannot be used: Not a directory" in capsys.readouterr().err

    def test_broker_away(
        self,
        tmp_path: Path,
        log: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        in_process: object,
    ):
        """What cannot be sent waits on disk, and the exit status says so."""

        def fails(**_: Any) -> None:
            raise KafkaTimeoutError

        monkeypatch.setattr("kafka.KafkaProducer", fails)
        log.write_bytes(b"1\n")
        options = ["--state", str(tmp_path / "s"), "--bootstrap", "127.0.0.1:9", "--once", "--finish-seconds", "0", str(log)]
        assert cli.main(options) == 1
        errors = capsys.readouterr().err
        assert "Kafka is not available" in errors
        assert f"the rest is in {tmp_path / 's'}" in errors

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signal(
        self, number: int, tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
        in_process: dict[int, Callable[..., None]],
    ):  # fmt: skip
        """Status 0 although lines wait on disk, as the help says: a service that is stopped has not failed."""

        class StoppedWhileAway(FakeSender):
            def acknowledged(self) -> None:
                in_process[number](number, None)
                raise Unavailable("no broker")

        monkeypatch.setattr(cli, "Sender", StoppedWhileAway)
        log.write_bytes(b"1\n")
        assert cli.main(["--state", str(tmp_path / "s"), "--linger", "0", str(log)]) == 0
        assert "not all lines were sent" in capsys.readouterr().err

    def test_everything_sent(
        self,
        tmp_path: Path,
        log: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        in_process: object,
    ):
        """Status 0 and no message; the end of the run carries the result of the harness."""
        sender = FakeSender()
        monkeypatch.setattr(cli, "Sender", lambda broker: sender)
        log.write_bytes(b"1\n")
        (tmp_path / "r.xml").write_text(JUNIT)
        options = ["--state", str(tmp_path / "s"), "--once", "--junit", str(tmp_path / "r.xml"), "--test-case", "two"]
        assert cli.main([*options, "--testbed", "rack-1", "--header", "testbed=other", str(log)]) == 0
        assert capsys.readouterr().err == ""
        assert sender.text == b"1\n"
        headers = [record.head["h"] for record in sender.records]
        assert headers[0] == {"test.case.name": "two", "testbed": "rack-1"}
        assert headers[-1] == {**headers[0], "test.case.result.status": "fail", "run.sources": "1"}

    @pytest.mark.parametrize("data", [JUNIT.encode()[:60], b"\xff" * 99, b'<?xml version="1.0" encoding="nix"?><a/>'])
    def test_unusable_result(
        self,
        data: bytes,
        tmp_path: Path,
        log: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        in_process: object,
    ):
        """The end of the run is sent without a result, and the reason is printed."""
        sender = FakeSender()
        monkeypatch.setattr(cli, "Sender", lambda broker: sender)
        log.write_bytes(b"1\n")
        (tmp_path / "r.xml").write_bytes(data)
        assert cli.main(["--state", str(tmp_path / "s"), "--once", "--junit", str(tmp_path / "r.xml"), str(log)]) == 0
        assert "the result of the harness is not sent" in capsys.readouterr().err
        assert sender.records[-1].head["e"] == 1

    @pytest.mark.slow
    def test_broker_away_in_a_process_of_its_own(self, tmp_path: Path, log: Path):
        """The same with a real client and its time limits."""
        log.write_bytes(b"1\n")
        command = [sys.executable, "-m", "triage_ship.cli", "--state", tmp_path / "s", "--bootstrap", "127.0.0.1:9"]
        done = subprocess.run([*command, "--once", "--finish-seconds", "1", log], capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert "Kafka is not available" in done.stderr
        assert "the next start with this folder sends it" in done.stderr

    def test_help(self):
        """Each option has a description that names its default."""
        for action in parser()._actions:
            assert action.help, action.dest
            if action.option_strings and not isinstance(action, argparse._HelpAction | argparse._VersionAction):
                assert "default" in action.help, action.dest
        assert "a signal stopped triage-ship" in parser().format_help()


def test_imports_nothing_of_the_product():
    """The package is installed alone, with kafka-python, and with pytest where its plugin is used."""
    allowed = {"triage_ship", "kafka", *sys.stdlib_module_names}
    for path in Path(triage_ship.__file__).parent.glob("*.py"):
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        names |= {
            node.module
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and not node.level
        }
        foreign = {name.partition(".")[0] for name in names} - allowed
        assert foreign <= ({"pytest"} if path.name == "pytest_plugin.py" else set()), path
