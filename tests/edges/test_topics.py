"""What workers write to topics, against a broker in memory: verdicts, the run log and the dead letters."""

import json

import pytest

from stream_triage.clients.kafka import Outgoing
from stream_triage.clock import FakeClock
from stream_triage.records import ClosedRun, DeadLetter, Record, Verdict
from stream_triage.sinks.dead_letters import DeadLetterTopic, as_letter
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.run_log import RunLogTopic
from tests.edges.contract import SinkContract
from tests.verdicts import make_verdict


class MemoryBroker:
    """Keeps what is sent; refuses what is larger than `most_bytes`."""

    def __init__(self, most_bytes: int = 1 << 20) -> None:
        self.records: list[Record] = []
        self._most_bytes = most_bytes

    def send(self, messages: list[Outgoing]) -> list[Outgoing]:
        refused = []
        for message in messages:
            if len(message.value or b"") > self._most_bytes:
                refused.append(message)
                continue
            place = message.partition or 0, len(self.records)
            self.records.append(Record(message.topic, *place, 0, message.key, message.value, tuple(message.headers)))
        return refused

    def read(self, topic: str, partition: int, start: int = 0) -> list[Record]:
        return [record for record in self.records if record.partition == partition]

    def put(self, key: bytes | None, value: bytes | None) -> None:
        self.records.append(Record("runs", 0, len(self.records), 0, key, value))


class TestVerdictTopic(SinkContract):
    @pytest.fixture(autouse=True)
    def _place(self):
        self.broker, self.clock = MemoryBroker(), FakeClock()

    def open_sink(self) -> VerdictTopic:
        return VerdictTopic(self.broker, "verdicts")

    def counting(self) -> list[tuple[str, int]]:
        """Readers take the highest version of a run."""
        found: dict[str, int] = {}
        for record in self.broker.records:
            verdict = Verdict.model_validate_json(record.value)
            if verdict.version > found.get(verdict.run_id, -1):
                found.pop(verdict.run_id, None)
                found[verdict.run_id] = verdict.version
        return list(found.items())

    def test_provisional_verdicts_are_not_sent(self):
        with self.open_sink() as sink:
            sink.write(make_verdict("a", version=20, final=False))
        assert self.broker.records == []

    def test_forgotten_by_an_empty_message(self):
        """And sent again afterwards, if it is judged again."""
        sink = self.open_sink()
        sink.write(make_verdict("a"))
        sink.flush()
        sink.write(make_verdict("a", version=401))
        assert not sink.forget("a")
        sink.flush()
        assert [record.value is None for record in self.broker.records] == [False, True]
        sink.write(make_verdict("a"))
        sink.close()
        assert self.broker.records[-1].value


class TestRunLog:
    def log(self, broker: MemoryBroker, group: str = "farm") -> RunLogTopic:
        return RunLogTopic(broker, "runs", group)

    def test_remembers_what_was_flushed(self):
        """Every field of a run, in the partition that it was told of; the latest of an id counts."""
        broker, runs = MemoryBroker(), [ClosedRun("a", "a", 0, 3, pieces=1), ClosedRun("ü", "ü@9", 9, 9, cut=True)]
        log = self.log(broker)
        log.put(0, runs[0]._replace(last=2))
        log.put(0, runs[0])
        log.put(0, runs[1])
        log.put(1, ClosedRun("b", "b", 0, 0))
        assert self.log(broker).closed(0) == []
        log.flush()
        log.flush()
        assert self.log(broker).closed(0) == runs
        assert len(broker.records) == 4

    def test_other_groups_are_none_of_ours(self):
        broker = MemoryBroker()
        other = self.log(broker, "other")
        other.put(0, ClosedRun("a", "a", 0, 3))
        other.flush()
        assert self.log(broker).closed(0) == []

    def test_garbage_is_passed_over(self):
        """Whoever wrote it; a run that was taken back by an empty message is not remembered."""
        broker = MemoryBroker()
        log = self.log(broker)
        log.put(0, ClosedRun("gone", "gone", 0, 3))
        log.put(0, ClosedRun("a", "a", 0, 3))
        log.flush()
        broker.put(broker.records[0].key, None)
        for key in (None, b"", b"\xff", b"{}", b"[1]", b'["farm", "x", 3]', b'["farm", "x"]'):
            for value in (
                None,
                b"",
                b"[]",
                b'{"key": "x"}',
                b'{"key": "x", "first": "?", "last": 1, "cut": false}',
                b"\xff",
            ):
                broker.put(key, value)
        assert [run.run_id for run in log.closed(0)] == ["a"]

    def test_run_without_pieces_ends_with_its_message(self):
        """As an earlier version wrote it."""
        broker = MemoryBroker()
        broker.put(b'["farm", "a"]', json.dumps({"key": "a", "first": 0, "last": 3, "cut": False}).encode())
        assert self.log(broker).closed(0) == [ClosedRun("a", "a", 0, 3)]


class TestDeadLetters:
    LETTER = DeadLetter("message", "no key: …", "logs/1/7", None, b"\xff\n", (("source", b"ue"), ("source", b"du")))

    def test_comes_back_as_it_came(self):
        """Bytes, headers and their order; our own three beside them."""
        broker = MemoryBroker()
        topic = DeadLetterTopic(broker, "dead")
        topic.put(self.LETTER)
        assert broker.records == []
        topic.flush()
        topic.flush()
        (record,) = broker.records
        assert as_letter(record) == self.LETTER
        assert dict(record.headers)["triage.origin"] == b"logs/1/7"

    def test_kinds(self):
        broker = MemoryBroker()
        topic = DeadLetterTopic(broker, "dead")
        for kind in ("message", "document", "run"):
            topic.put(self.LETTER._replace(kind=kind, key=b"a"))
        topic.flush()
        assert [as_letter(record).kind for record in broker.records] == ["message", "document", "run"]

    def test_larger_than_the_topic_takes(self):
        """Its place is told, where it lies still."""
        broker = MemoryBroker(most_bytes=10)
        topic = DeadLetterTopic(broker, "dead")
        topic.put(self.LETTER._replace(value=b"x" * 11))
        topic.put(self.LETTER)
        topic.flush()
        assert [as_letter(record).value for record in broker.records] == [b"\xff\n", None]
        assert as_letter(broker.records[1]).origin == "logs/1/7"

    def test_message_of_a_stranger(self):
        """What somebody else wrote to the topic is read as a message without a reason."""
        letter = as_letter(Record("dead", 0, 0, 0, b"k", b"v", (("triage.kind", b"nonsense"),)))
        assert (letter.kind, letter.reason, letter.value) == ("message", "", b"v")
