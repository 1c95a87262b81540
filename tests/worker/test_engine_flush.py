"""The order and the failures of one flush, step by step."""

import inspect

import pytest

from stream_triage import Bundle, Settings, StoreError, Triage
from stream_triage.records import ClosedRun, Record
from stream_triage.sinks.dead_letters import MemoryDeadLetters
from stream_triage.sinks.memory import MemorySink
from stream_triage.sinks.run_log import MemoryRunLog
from stream_triage.stages.redact import Redactor
from stream_triage.wiring import run_rules
from stream_triage.worker.engine import Engine
from stream_triage.worker.runs import RunRules


class Counting:
    """Counts the flushes of a keeper, and fails as often as it is told to."""

    def __init__(self, keeper: object) -> None:
        self._keeper = keeper
        self.flushes = self.failures = 0

    def flush(self) -> None:
        self.flushes += 1
        if self.failures:
            self.failures -= 1
            raise StoreError("away")
        self._keeper.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._keeper, name)


class Worker:
    """An engine with everything that it writes to."""

    def __init__(self, bundle: Bundle, run_log: MemoryRunLog | None = None, **settings: object) -> None:
        self.sink = MemorySink()
        self.run_log, self.letters = Counting(run_log or MemoryRunLog()), Counting(MemoryDeadLetters())
        self.engine = Engine(Triage(bundle), [self.sink], run_log=self.run_log, dead_letters=self.letters, **settings)


def message(key: str, offset: int, *headers: tuple[str, bytes], partition: int = 0, text: bytes = b"one line\n") -> Record:
    return Record("logs", partition, offset, 1_767_225_600_000, key.encode(), text, headers)


END = ("end", b"1")


@pytest.fixture
def worker(bundle: Bundle) -> Worker:
    return Worker(bundle)


@pytest.mark.parametrize("keeper", ["run_log", "letters"])
def test_a_keeper_that_fails_holds_everything_behind_it(worker: Worker, keeper: str) -> None:
    """No verdict is written and no position moves; the next flush does both."""
    getattr(worker, keeper).failures = 1
    worker.engine.handle([message("a", 0, END)])
    assert not worker.engine.flush()
    assert (worker.sink.written, worker.engine.positions, worker.engine.errors) == ([], {}, ["away"])
    assert worker.engine.flush()
    assert ([verdict.run_id for verdict in worker.sink.written], worker.engine.positions) == (["a"], {0: 1})


def test_an_error_of_several_verdicts_is_named_once(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk rejects each of them for the same reason."""

    def write(verdict: object, text: object = None) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(worker.sink, "write", write)
    worker.engine.handle([message("a", 0, END), message("b", 1, END)])
    assert (worker.engine.flush(), worker.engine.errors) == (False, ["the disk is full"])


def test_dead_letters_come_before_the_run_log(worker: Worker) -> None:
    """While they cannot be written, the run log is not either: a run would otherwise be over without its rejected lines."""
    worker.letters.failures = 1
    worker.engine.handle([message("a", 0, END)])
    assert not worker.engine.flush()
    assert worker.run_log.flushes == 0


def test_nothing_new_is_not_written_again(worker: Worker) -> None:
    """A flush without news asks no server, from the first one on."""
    assert worker.engine.flush()
    assert (worker.letters.flushes, worker.run_log.flushes) == (0, 0)
    worker.engine.handle([message("a", 0, END)])
    assert worker.engine.flush()
    flushes = worker.letters.flushes, worker.run_log.flushes
    assert worker.engine.flush()
    assert (worker.letters.flushes, worker.run_log.flushes) == flushes


def test_a_run_that_is_read_again_is_judged_by_the_next_flush(bundle: Bundle) -> None:
    """Its end is in the run log already, so nothing else is new; its verdict still is."""
    run_log = MemoryRunLog()
    run_log.put(0, ClosedRun("a", "a", 0, 0))
    run_log.flush()
    worker = Worker(bundle, run_log)
    worker.engine.handle([message("a", 0, END)])
    assert worker.engine.flush()
    assert [verdict.run_id for verdict in worker.sink.written] == ["a"]


def test_an_interrupted_flush_gives_no_more_verdicts(worker: Worker) -> None:
    """The rest belongs to the worker that takes the partition over, so this one says that it is not done."""
    worker.engine.handle([message("a", 0, END)])
    worker.engine.interrupt()
    assert not worker.engine.flush()
    assert (worker.sink.written, worker.engine.positions) == ([], {})


@pytest.mark.parametrize(("revoked", "judged"), [(0, ["b"]), (1, ["a"])])
def test_revoking_a_partition_leaves_the_ended_runs_of_the_others(worker: Worker, revoked: int, judged: list[str]) -> None:
    """Runs that ended and were not judged go with their partition, and only with it."""
    worker.engine.handle([message("a", 0, END, partition=0), message("b", 0, END, partition=1)])
    worker.engine.revoke([revoked])
    assert worker.engine.flush()
    assert [verdict.run_id for verdict in worker.sink.verdicts.values()] == judged
    assert list(worker.engine.positions) == [1 - revoked]


def test_revoking_a_partition_closes_the_texts_of_its_ended_runs(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open and ended runs of the partition are discarded, those of another one are not."""
    discarded: list[str] = []
    monkeypatch.setattr(worker.engine._intake, "discard_open", discarded.extend)
    worker.engine.handle([message("a", 0, END), message("open", 1), message("b", 0, END, partition=1)])
    worker.engine.revoke([0])
    assert sorted(discarded) == ["0/a", "0/open"]


@pytest.mark.parametrize("text", [b"three\n", b"three\nfour\n"])
def test_runs_of_two_partitions_with_the_same_id_are_two_runs(worker: Worker, text: bytes) -> None:
    """After a topic has grown, a key may have open runs in two partitions: each has its own text, whoever reads them."""
    worker.engine.handle([message("a", 0, text=b"one\n"), message("a", 0, text=text, partition=1)])
    worker.engine.handle([message("a", 1, END, text=b"two\n"), message("a", 1, END, partition=1)])
    assert worker.engine.flush()
    assert [verdict.lines for verdict in worker.sink.written] == [2, 1 + len(text.split())]


def test_revoking_a_partition_leaves_an_open_run_of_the_same_id(worker: Worker) -> None:
    """The run of the other partition keeps the text that came before."""
    worker.engine.handle([message("a", 0, text=b"one\n"), message("a", 0, text=b"other\n", partition=1)])
    worker.engine.revoke([1])
    worker.engine.handle([message("a", 1, END, text=b"two\n")])
    assert worker.engine.flush()
    assert [verdict.lines for verdict in worker.sink.written] == [2]


def test_headers_and_gaps_reach_the_verdict(bundle: Bundle) -> None:
    """What is not plain text is handed on by itself, in its turn."""
    worker = Worker(bundle, rules=RunRules(end_pattern="^over"))
    case = ("test.case.name", b"attach")
    worker.engine.handle([message("a", 0, case, ("seq", b"0")), message("a", 1, ("seq", b"2"))])
    worker.engine.handle([message("a", 2, ("source", b"control"), text=b"over\n")])
    assert worker.engine.flush()
    (verdict,) = worker.sink.written
    assert verdict.headers == {"test.case.name": "attach"}
    assert [problem for source in verdict.sources for problem in source.repairs.problems] == ["message 1 never came"]


def test_what_came_twice_is_in_the_verdict_and_no_reason_for_a_review(bundle: Bundle) -> None:
    """Exact repeats and a numbering that goes on are harmless; text that may be doubled is not."""
    worker = Worker(bundle)
    texts = [b"line %d\n" % number for number in range(4)]
    headers = [("seq", b"0"), ("seq", b"1"), ("seq", b"1"), ("seq", b"0")]
    worker.engine.handle(
        [message("a", offset, headers[offset], text=texts[offset - (offset == 2)]) for offset in range(4)]
        + [message("a", 4, ("seq", b"1"), END)]
    )
    assert worker.engine.flush()
    (verdict,) = worker.sink.written
    (summary,) = verdict.sources
    assert (summary.repairs.repeated_messages, summary.repairs.repeated_bytes) == (1, len(texts[1]))
    assert summary.repairs.notes == ("its messages were numbered anew once",)
    assert summary.lines == 4
    assert not summary.repairs.problems
    assert not any("number" in reason for reason in verdict.review_reasons)


def test_messages_rejected_while_a_run_is_open_are_a_reason_for_a_review(bundle: Bundle) -> None:
    """Otherwise nobody who reads the verdict would know that a part of the run is missing."""
    worker = Worker(bundle)
    worker.engine.handle(
        [message("a", offset, ("source", b"%d" % offset)) for offset in range(300)] + [message("a", 300, ("end", b"2"))]
    )
    worker.engine.handle([message("a", 301 + number, ("source", b"%d" % number), END) for number in range(256)])
    assert worker.engine.flush()
    (verdict,) = worker.sink.written
    assert "0: 45 messages were rejected: the run has more than 256 sources" in verdict.review_reasons


def test_defaults_are_those_of_the_settings() -> None:
    """Whoever makes an engine by hand gets the limits that docs/settings.md states."""
    kafka = Settings().kafka
    rules, made = RunRules(), run_rules(Settings(), Redactor())
    others = {"reject_key", "end_grace_seconds"}
    assert {name: value for name, value in vars(rules).items() if name not in others} == {
        name: value for name, value in vars(made).items() if name not in others
    }
    assert made.end_grace_seconds == kafka.end_grace_seconds
    assert inspect.signature(Engine).parameters["dead_per_hour"].default == kafka.dead_per_hour
