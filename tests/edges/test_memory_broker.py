"""The broker in memory, and what workers write to its topics, also while it fails."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from stream_triage.clients.broker import Outgoing, Topic
from stream_triage.clients.memory.broker import MemoryBroker
from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.records import ClosedRun, DeadLetter, Record
from stream_triage.sinks.dead_letters import DeadLetterTopic, MemoryDeadLetters, as_letter
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.run_log import MemoryRunLog, RunLogTopic
from tests.edges.broker_contract import BrokerContract, DeadLettersContract, RunLogContract, VerdictTopicContract
from tests.edges.contract import FailureContract
from tests.verdicts import make_verdict


class OnMemory:
    broker: MemoryBroker
    topic = "topic"

    @pytest.fixture(autouse=True)
    def _target(self) -> None:
        self.clock = FakeClock()
        self.broker = MemoryBroker(clock=self.clock)

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.broker.available = False
        yield
        self.broker.available = True


class TestMemoryBroker(OnMemory, BrokerContract):
    def send_in_transaction(self, messages: Sequence[Outgoing]) -> None:
        self.broker.send(messages)
        self.broker.end_transaction(self.topic, 0)

    def test_compaction(self) -> None:
        """The last message of each key is left, at its offset; keys whose last message is empty are gone."""
        self.make()
        self.broker.send(
            [self.message(key, value) for key, value in ((b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None))]
        )
        self.broker.compact(self.topic)
        assert [(record.offset, record.value) for record in self.broker.read(self.topic, 0)] == [(2, b"2")]
        assert self.broker.ends(self.topic) == {0: 4}

    def test_switched_off(self) -> None:
        """Every call raises an error and changes nothing."""
        self.make()
        with self.failing():
            for call in (
                lambda: self.broker.send([self.message(None, b"x")]),
                lambda: self.broker.read(self.topic, 0),
                lambda: self.broker.ends(self.topic),
                lambda: self.broker.commit("g", self.topic, 0, 1),
                lambda: self.broker.committed("g", self.topic, 0),
                lambda: self.broker.partitions([self.topic]),
                lambda: self.broker.create([]),
            ):
                with pytest.raises(StoreError, match="switched off"):
                    call()
        assert self.broker.read(self.topic, 0) == []
        assert self.broker.committed("g", self.topic, 0) == 0

    def test_unknown_partition(self) -> None:
        self.make(2)
        with pytest.raises(StoreError, match="2 partitions"):
            self.broker.read(self.topic, 2)

    def test_messages_without_key_are_spread(self) -> None:
        """Every partition gets some."""
        self.make(3)
        self.broker.send([self.message(None, b"x", None)] * 6)
        assert self.broker.ends(self.topic) == {0: 2, 1: 2, 2: 2}


class TestVerdictTopic(OnMemory, VerdictTopicContract, FailureContract):
    def compact(self) -> None:
        self.broker.compact(self.topic)

    def test_broker_that_fails_half_way(self) -> None:
        """Verdicts that were sent before the error are sent again with the others, and count once."""
        sink = self.open_sink()
        for name in "abc":
            sink.write(make_verdict(name))
        self.broker.accepts = 2
        with pytest.raises(StoreError):
            sink.flush()
        self.broker.accepts = None
        sink.close()
        assert [record.key for record in self.records()] == [b"a", b"b", b"a", b"b", b"c"]
        assert self.runs() == ["a", "b", "c"]

    def test_remembers_the_runs_it_sent_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Beyond their number, a verdict is sent again, and readers skip it."""
        monkeypatch.setattr("stream_triage.sinks.kafka._REMEMBERED", 2)
        with self.open_sink() as sink:
            for name in "abcba":
                sink.write(make_verdict(name))
                sink.flush()
        assert [record.key for record in self.records()] == [b"a", b"b", b"c", b"a"]


class TestRunLog(OnMemory, RunLogContract):
    def test_compaction_changes_nothing(self) -> None:
        """What a reader of the whole topic knows, it knows from the last message of each run."""
        log = self.log()
        for last in range(3):
            log.put(0, ClosedRun("a", "a", 0, last))
            log.put(0, ClosedRun("b", "b", 0, last))
        log.flush()
        before = sorted(log.read(0).closed)
        self.broker.compact(self.topic)
        assert sorted(log.read(0).closed) == before
        assert len(before) == 2


class TestDeadLetters(OnMemory, DeadLettersContract):
    def test_message_of_another_program(self) -> None:
        """It is read as a message without a reason."""
        letter = as_letter(Record("dead", 0, 0, 0, b"k", b"v", (("triage.kind", b"nonsense"),)))
        assert (letter.kind, letter.reason, letter.value) == ("message", "", b"v")


LETTER = DeadLetter("run", "not judged", "a", b"a", None)
Kept = tuple[Any, Callable[[], None], Callable[[], int]]


def dead_letters(broker: MemoryBroker) -> Kept:
    topic = DeadLetterTopic(broker, "dead")
    return topic, lambda: topic.put(LETTER), lambda: len(broker.read("dead", 0))


def run_log(broker: MemoryBroker) -> Kept:
    log = RunLogTopic(broker, "runs", "farm", "logs")
    return log, lambda: log.put(0, ClosedRun("a", "a", 0, 3)), lambda: len(broker.read("runs", 0))


def letters_in_memory(broker: MemoryBroker) -> Kept:
    letters = MemoryDeadLetters()
    return letters, lambda: letters.put(LETTER), lambda: len(letters.letters)


def log_in_memory(broker: MemoryBroker) -> Kept:
    log = MemoryRunLog()
    return log, lambda: log.put(0, ClosedRun("a", "a", 0, 3)), lambda: len(log.read(0).closed)


@pytest.mark.parametrize("make", [dead_letters, run_log, letters_in_memory, log_in_memory])
class TestBuffers:
    """Dead letters and the run log, in topics and in memory."""

    def test_flush_writes_once(self, make: Callable[[MemoryBroker], Kept]) -> None:
        """Nothing is visible before the flush, and a second flush adds nothing."""
        keeper, put, count = make(MemoryBroker([Topic("dead", 1, {}), Topic("runs", 1, {})]))
        put()
        assert count() == 0
        keeper.flush()
        keeper.flush()
        assert count() == 1

    def test_keeps_what_it_could_not_write(self, make: Callable[[MemoryBroker], Kept]) -> None:
        """A flush that fails raises an error, and the next one writes all of it."""
        broker = MemoryBroker([Topic("dead", 1, {}), Topic("runs", 1, {})])
        keeper, put, count = make(broker)
        put()
        if not isinstance(keeper, MemoryDeadLetters | MemoryRunLog):
            broker.available = False
            for _ in range(2):
                with pytest.raises(StoreError):
                    keeper.flush()
            broker.available = True
        keeper.flush()
        assert count() == 1


def test_topic_of_the_verdicts_is_unknown() -> None:
    """The verdict is kept, and sent once the topic exists."""
    broker = MemoryBroker()
    sink = VerdictTopic(broker, "verdicts")
    sink.write(make_verdict("a"))
    with pytest.raises(StoreError, match="no topic verdicts"):
        sink.flush()
    broker.create([Topic("verdicts", 1, {})])
    sink.close()
    assert len(broker.read("verdicts", 0)) == 1
