"""A worker's process: it waits for servers, watches them, and ends when it is asked to."""

import logging
import os
import signal
import stat
import threading
import time
from pathlib import Path

import pytest

from stream_triage.clock import FakeClock
from stream_triage.errors import ServerAway, SettingsError, StoreError
from stream_triage.worker import process
from stream_triage.worker.process import (
    Readiness,
    RunLogPartitions,
    Stopping,
    StopRequested,
    WatchedProcess,
    check_folder,
    stopping_on_signals,
    wait_for,
)


class TestWaiting:
    def test_as_long_as_it_takes(self, caplog: pytest.LogCaptureFixture) -> None:
        """An hour without Kafka makes a line a minute at most; `/ready` has the reason until the server answers."""
        caplog.set_level(logging.INFO)
        clock, told = FakeClock(), list[str]()

        def ask() -> int:
            if clock.monotonic() < 3600:
                raise ServerAway("Kafka at lab:9092: Connection refused; check that the brokers are up")
            return 4

        assert wait_for("Kafka", ask, told.append, clock) == 4
        said = [line.getMessage() for line in caplog.records]
        assert said[0].startswith("waiting for Kafka: Kafka at lab:9092: Connection refused; check")
        assert said[0].endswith("will be tried again")
        assert said[-1].startswith("Kafka answers again, after 36")
        assert len(said) <= 62
        assert told[0].startswith("waiting for Kafka: Kafka at lab:9092")
        assert told[-1] == ""

    @pytest.mark.parametrize("error", [SettingsError("no topic"), StoreError("check kafka.password")])
    def test_not_for_what_somebody_must_mend(self, error: Exception) -> None:
        def ask() -> None:
            raise error

        with pytest.raises(type(error)):
            wait_for("Kafka", ask, lambda reason: None, FakeClock())


class TestReadiness:
    def test_what_is_wrong_with_each(self, caplog: pytest.LogCaptureFixture) -> None:
        """One that fails does not hide another; the log has one line for each change."""
        caplog.set_level(logging.INFO)
        faults: dict[str, Exception | None] = {"Kafka": None, "OpenSearch": None}

        def check(name: str) -> None:
            if fault := faults[name]:
                raise fault

        readiness = Readiness({name: lambda name=name: check(name) for name in faults}, FakeClock())

        def look() -> str:
            for name in faults:
                readiness.ask(name)
            return readiness.trouble()

        assert look() == ""
        faults |= {"Kafka": ServerAway("Kafka is away"), "OpenSearch": OSError(28, "No space left on device")}
        assert look() == "Kafka is away; OpenSearch: No space left on device"
        assert look() == "Kafka is away; OpenSearch: No space left on device"
        faults["Kafka"] = None
        assert look() == "OpenSearch: No space left on device"
        assert len(caplog.records) == 3

    def test_a_check_that_hangs(self) -> None:
        """It has no result, which is one."""
        clock = FakeClock()
        readiness = Readiness({"Kafka": lambda: None}, clock)
        clock.advance(61)
        assert readiness.trouble() == "Kafka: no result of a check for 61 s"
        assert not readiness.answers("Kafka")

    def test_each_is_asked_in_its_own_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that hangs holds up no other, and not the end of the worker."""
        monkeypatch.setattr(process, "CHECK_SECONDS", 0.01)
        asked, released = threading.Event(), threading.Event()
        readiness = Readiness({"hangs": released.wait, "answers": asked.set})
        with readiness.running():
            assert asked.wait(10)
        released.set()

    def test_silence_of_kafka_is_known_to_the_loop(self) -> None:
        """While the brokers are away, a consumer without messages is no fault of its own."""
        watched = WatchedProcess()
        assert watched.kafka_answers()
        faults = [ServerAway("away"), SettingsError("the run log has too few partitions")]

        def check() -> None:
            raise faults.pop(0)

        watched.readiness = Readiness({"Kafka": check})
        watched.readiness.ask("Kafka")
        assert not watched.kafka_answers()
        watched.readiness.ask("Kafka")  # a complaint is an answer
        assert watched.kafka_answers()


class TestFolders:
    def test_a_folder_that_can_be_written_to(self, tmp_path: Path) -> None:
        """Nothing is left in it."""
        check_folder("archive.folder", tmp_path, file=False)
        check_folder("store.path", tmp_path / "none yet.sqlite")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_will_be_made(self, tmp_path: Path) -> None:
        """What counts is whether it can be."""
        check_folder("archive.folder", tmp_path / "not" / "yet", file=False)
        (tmp_path / "file").touch()
        with pytest.raises(
            StoreError, match=r"nothing can be written to .*file: Not a directory; .*archive\.folder"
        ) as error:
            check_folder("archive.folder", tmp_path / "file" / "archive", file=False)
        assert not error.value.temporary

    def test_a_full_disk(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Space may be freed: the worker need not be mended."""

        class Full:
            def __enter__(self) -> "Full":
                return self

            def __exit__(self, *_: object) -> None: ...

            def write(self, data: bytes) -> int:
                raise OSError(28, os.strerror(28))

        monkeypatch.setattr(process.tempfile, "TemporaryFile", lambda **_: Full())
        with pytest.raises(StoreError, match=r"No space left on device; free space") as error:
            check_folder("store.path", tmp_path / "verdicts.sqlite")
        assert error.value.temporary

    def test_a_file_that_is_read_only(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """As an ordinary user meets it; for root, who may write to every file, the answer of the system is imitated."""
        if os.geteuid() == 0:
            monkeypatch.setattr(process.os, "access", lambda *_: False)
        file = tmp_path / "verdicts.sqlite"
        file.touch()
        file.chmod(stat.S_IRUSR)
        with pytest.raises(StoreError, match="Permission denied"):
            check_folder("store.path", file)


class TestRunLogPartitions:
    def test_it_grows_with_the_topic(self) -> None:
        """Once: Kafka is not asked for what is known."""
        grown: list[int] = []
        run_log = RunLogPartitions(4, grown.append)
        assert run_log.unusable([0, 3]) == {}
        assert run_log.unusable([0, 5]) == {}
        assert run_log.unusable([4, 5]) == {}
        assert grown == [6]

    def test_without_the_right_new_partitions_wait(self) -> None:
        """Those that have one of the run log go on, and it is tried again."""
        rights: list[None] = []

        def grow(partitions: int) -> None:
            if not rights:
                raise SettingsError("run `stream-triage setup kafka`")

        run_log = RunLogPartitions(4, grow)
        assert run_log.unusable([0, 3, 4, 6]) == dict.fromkeys((4, 6), "run `stream-triage setup kafka`")
        rights.append(None)
        assert run_log.unusable([0, 3, 4, 6]) == {}


class TestStopping:
    def test_a_process_that_hangs_is_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the status of the first reason; SIGTERM makes it end sooner than an error does."""
        monkeypatch.setattr(process, "STOP_SECONDS", 0.05)
        ended, statuses = threading.Event(), list[int]()

        def end(status: int) -> None:
            statuses.append(status)
            ended.set()

        stopping = Stopping(end)
        stopping.begin("nothing is fetched", 75)
        assert not ended.wait(0.2)
        stopping.begin("SIGTERM")
        assert ended.wait(10)
        assert statuses == [75]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signals_end_the_wait_for_a_server(self, number: signal.Signals) -> None:
        """And the handlers of before are back afterwards."""
        before = signal.getsignal(number)
        stopping = Stopping(lambda status: None)

        def wait() -> None:
            with stopping_on_signals(stopping):
                os.kill(os.getpid(), number)
                time.sleep(10)

        with pytest.raises(StopRequested):
            wait()
        assert signal.getsignal(number) is before
