"""What a worker reports over HTTP, and that docs/operations.md says what each number means."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import pytest

from stream_triage.clock import FakeClock
from stream_triage.errors import SettingsError
from stream_triage.records import DeadLetter, Record, Repairs, SourceSummary
from stream_triage.worker.ceilings import BYTES_HEADER, MESSAGES_HEADER
from stream_triage.worker.metrics import MeteredLetters, MeteredWorker, Metrics, serving
from tests.verdicts import make_verdict

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


class FakeWorker:
    def __init__(self) -> None:
        self.done, self.errors, self.open_runs = True, list[str](), 3
        self.taken, self.positions = {0: 7}, {0: 5}

    def handle(self, records: Iterable[Record]) -> None:
        pass

    def read_up_to(self, partition: int, end_offset: int, asked: float) -> None:
        pass

    def tick(self) -> None:
        pass

    def flush(self) -> bool:
        return self.done

    def revoke(self, partitions: Iterable[int]) -> None:
        pass

    def interrupt(self) -> None:
        pass


class FakeLetters:
    def put(self, letter: DeadLetter) -> None:
        pass

    def flush(self) -> None:
        pass


@pytest.fixture
def metrics() -> Metrics:
    return Metrics({"version": "1", "bundle": "tm500", "bundle_version": "2"}, clock=FakeClock())


def values(metrics: Metrics) -> dict[str, float]:
    return {
        sample.name.removeprefix("stream_triage_") + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def test_every_metric_is_documented(metrics: Metrics) -> None:
    """The table has the names and kinds that /metrics has, and no others."""
    table = dict(re.findall(r"^\| `(stream_triage_\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE))
    suffixes = {"counter": "_total", "info": "_info", "gauge": "", "histogram": ""}
    assert table == {family.name + suffixes[family.type]: family.type for family in metrics.registry.collect()}


def test_what_a_worker_does_is_counted(metrics: Metrics) -> None:
    """Steps, verdicts and dead letters; revoked partitions have no waiting messages."""
    worker = FakeWorker()
    metered = MeteredWorker(worker, metrics)
    metered.handle([Record("t", 0, 5, 0, b"k", b"four"), Record("t", 0, 6, 0, b"k", None)])
    metered.read_up_to(0, 17, 0.0)
    metered.tick()
    assert metered.flush()
    problems = ("messages 3 to 5 never came", "cut after 9 bytes")
    repairs = Repairs(dropped_bytes=40, cut_lines=2, invalid_bytes=3, nul_bytes=4, problems=problems, repeated_bytes=6)
    source = SourceSummary(source="", lines=10, bytes=100, known_lines=9, folded_lines=8, repairs=repairs)
    metrics.count(make_verdict(sources=(source,), anomalous=True))
    metrics.count(make_verdict("b", passed=False, label="L2"))
    metrics.count(make_verdict("c", needs_review=True))
    letters = MeteredLetters(FakeLetters(), metrics)
    letters.put(DeadLetter("message", "why", "t/0/1", None, b"12345"))
    summed_up = ((MESSAGES_HEADER, b"12"), (BYTES_HEADER, b"345"))
    letters.put(DeadLetter("summary", "12 messages", "t/0/1 to t/0/20", b"a", None, summed_up))
    counted = values(metrics)
    expected = {
        "messages_total": 2, "message_bytes_total": 4, "messages_behind 0": 10, "open_runs": 3, "flush_seconds_count": 1,
        "verdicts_total Pass passed": 1, "verdicts_total L2 failed": 1, "verdicts_total Pass review": 1,
        "anomalous_verdicts_total": 1, "lines_total": 30, "dropped_bytes_total line too long": 40,
        "unread_total line too long": 2, "unread_total not text": 7, "unread_total reported problem": 2,
        "refused_total message": 1, "refused_bytes_total message": 5, "refused_total summary": 12,
        "refused_bytes_total summary": 345, "dropped_bytes_total came before": 6, "flush_failures_total": 0,
    }  # fmt: skip
    assert {name: counted[name] for name in expected} == expected
    metered.read_up_to(0, 0, 0.0)  # all was read
    assert values(metrics)["messages_behind 0"] == 0
    metered.read_up_to(0, 17, 0.0)
    metered.revoke([0])
    assert values(metrics)["messages_behind 0"] == 0


def test_steps_are_measured_part_by_part(metrics: Metrics) -> None:
    """Waiting for messages is no step; a flush shows progress between its parts, and is no failure if it is not done."""
    worker, clock = FakeWorker(), metrics.clock
    assert isinstance(clock, FakeClock)
    metered = MeteredWorker(worker, metrics)
    metered.tick()
    clock.advance(50)
    metered.tick()
    assert values(metrics)["longest_step_seconds"] == 0

    def flush() -> bool:
        for seconds in (4, 7, 2):
            clock.advance(seconds)
            metrics.stepped()
            assert not metrics.hangs()
        return False

    worker.flush = flush  # type: ignore[method-assign]
    worker.errors = []
    assert not metered.flush()
    counted = values(metrics)
    assert (counted["longest_step_seconds"], counted["flush_failures_total"]) == (7, 0)
    assert metrics.unready() == ""


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_and_readiness(metrics: Metrics) -> None:
    """Not ready before the first flush, nor while one fails; a server that is away is no reason for a restart."""
    worker, clock = FakeWorker(), metrics.clock
    assert isinstance(clock, FakeClock)
    metered = MeteredWorker(worker, metrics)
    with serving(metrics, "127.0.0.1:0") as port:
        assert ask(port, "/health") == (200, "ok\n")
        assert ask(port, "/ready") == (503, "nothing was fetched yet\n")
        metered.flush()
        assert ask(port, "/ready") == (200, "ok\n")
        worker.done, worker.errors = False, ["OpenSearch is away"]
        metered.flush()
        assert (ask(port, "/ready"), ask(port, "/health")) == ((503, "OpenSearch is away\n"), (200, "ok\n"))
        worker.done, worker.errors = True, []
        metered.flush()
        clock.advance(61)
        assert (ask(port, "/ready"), ask(port, "/health")) == ((503, "no step for 61 s\n"), (200, "ok\n"))
        clock.advance(240)
        assert ask(port, "/health") == (503, "no step for 301 s\n")
        metered.tick()
        assert ask(port, "/health") == (200, "ok\n")
        status, text = ask(port, "/metrics")
        assert status == 200
        assert 'stream_triage_worker_info{bundle="tm500",bundle_version="2",version="1"} 1.0' in text
        assert ask(port, "/")[0] == 404


def test_messages_that_an_interrupt_left_are_not_counted(metrics: Metrics) -> None:
    """They are read again, and counted then."""
    metered = MeteredWorker(FakeWorker(), metrics)
    metered.handle(
        [Record("t", 0, 6, 0, b"k", b"four"), Record("t", 0, 7, 0, b"k", b"left"), Record("t", 1, 0, 0, b"k", b"?")]
    )
    counted = values(metrics)
    assert (counted["messages_total"], counted["message_bytes_total"]) == (1, 4)


def test_an_address_in_use_is_named(metrics: Metrics) -> None:
    """With the setting and the remedy."""
    reason = "cannot be used: Address already in use; .*free address"
    with (
        serving(metrics, "127.0.0.1:0") as port,
        pytest.raises(SettingsError, match=rf"metrics\.listen 127\.0\.0\.1:{port} {reason}"),
        serving(metrics, f"127.0.0.1:{port}"),
    ):
        pass
