"""What every message broker owes, and what workers write to its topics.

The same tests run on a broker in memory and on a real one.
"""

import json
import os
from collections.abc import Sequence

import pytest

from stream_triage.clients.broker import Broker, Outgoing, Topic
from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.records import ClosedRun, DeadLetter, ForgottenRun, Record, RejectedMessages, Verdict
from stream_triage.sinks.dead_letters import DeadLetterTopic, as_letter
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.run_log import RunLogTopic
from tests.edges.contract import ForgetsContract, SinkContract
from tests.verdicts import make_verdict

__all__ = ["BrokerContract", "DeadLettersContract", "RunLogContract", "VerdictTopicContract", "small"]

LIMIT_BYTES = 20_000
# Random, since Kafka measures messages after compression.
TOO_LARGE = os.urandom(2 * LIMIT_BYTES)


def small(name: str, partitions: int = 1) -> Topic:
    """A topic for small messages."""
    return Topic(name, partitions, {"max.message.bytes": str(LIMIT_BYTES)})


class OnBroker:
    """A subclass sets these before each test. The topic is that of no other test."""

    broker: Broker
    topic: str


class BrokerContract(OnBroker):
    def send_in_transaction(self, messages: Sequence[Outgoing]) -> None:
        """Sends messages as a transaction, whose end takes up an offset of each partition."""
        raise NotImplementedError

    def make(self, partitions: int = 1) -> None:
        self.broker.create([small(self.topic, partitions)])

    def message(self, key: bytes | None, value: bytes | None, partition: int | None = 0) -> Outgoing:
        return Outgoing(self.topic, key, value, (), partition)

    def test_messages_come_back_as_they_were_sent(self) -> None:
        """Key, value, headers and their order; empty is not the same as missing."""
        self.make()
        headers = (("source", b"ue"), ("source", b"\xff"), ("seq", b""))
        sent = [Outgoing(self.topic, b"k", b"v", headers), self.message(None, b""), self.message(b"", None)]
        assert self.broker.send(sent) == []
        records = self.broker.read(self.topic, 0)
        assert [(record.key, record.value, record.headers) for record in records] == [
            (b"k", b"v", headers),
            (None, b"", ()),
            (b"", None, ()),
        ]
        assert [(record.topic, record.partition, record.offset) for record in records] == [
            (self.topic, 0, offset) for offset in range(3)
        ]
        assert all(record.timestamp_ms > 1_600_000_000_000 for record in records)

    def test_reads_from_an_offset(self) -> None:
        """From the first message that is kept if the offset lies before it; nothing from the end."""
        self.make()
        self.broker.send([self.message(None, b"%d" % number) for number in range(5)])
        assert [record.offset for record in self.broker.read(self.topic, 0, 3)] == [3, 4]
        assert len(self.broker.read(self.topic, 0)) == 5
        assert self.broker.read(self.topic, 0, 5) == []

    def test_partitions_are_apart(self) -> None:
        """Each has its own messages and offsets; a key always goes to the same partition."""
        self.make(3)
        self.broker.send([self.message(b"k", b"%d" % number, number % 2) for number in range(5)])
        assert [len(self.broker.read(self.topic, number)) for number in range(3)] == [3, 2, 0]
        assert self.broker.ends(self.topic) == {0: 3, 1: 2, 2: 0}
        self.broker.send([self.message(b"key", b"x", None)] * 2)
        self.broker.send([self.message(b"key", b"x", None)])
        assert sorted(self.broker.ends(self.topic).values()) in ([0, 2, 6], [0, 3, 5], [2, 3, 3])

    def test_ends_of_some_partitions(self) -> None:
        """The offset that the next message of each gets, as often as it is asked."""
        self.broker.create([small(self.topic, 3)])
        for end in (0, 1, 2):
            assert self.broker.end_offsets(self.topic, [0, 2]) == {0: 0, 2: end}
            self.broker.send([Outgoing(self.topic, b"a", b"", (), 2)])

    def test_reads_on_in_some_partitions(self) -> None:
        """From their offsets to their ends, however often; a partition may have nothing new."""
        self.broker.create([small(self.topic, 3)])
        for number in range(3):
            self.broker.send([Outgoing(self.topic, b"%d" % n, b"", (), number) for n in range(3)])
        for _ in range(2):
            records = self.broker.read_on(self.topic, {0: 2, 1: 0, 2: 3})
            assert sorted((record.partition, record.offset) for record in records) == [(0, 2), (1, 0), (1, 1), (1, 2)]
            assert self.broker.end_offsets(self.topic, [1]) == {1: 3}

    def test_order_within_a_partition(self) -> None:
        """Messages of one key come in the order in which they were sent."""
        self.make(2)
        self.broker.send([self.message(b"k", b"%d" % number, None) for number in range(200)])
        records = [record for number in range(2) for record in self.broker.read(self.topic, number)]
        assert [record.value for record in records] == [b"%d" % number for number in range(200)]

    def test_too_large_messages_come_back(self) -> None:
        """What is above the limit of the topic is returned, and all other messages are sent."""
        self.make()
        large = self.message(b"large", TOO_LARGE)
        assert self.broker.send([self.message(b"a", b"x"), large, self.message(b"b", b"x")]) == [large]
        assert [record.key for record in self.broker.read(self.topic, 0)] == [b"a", b"b"]
        assert self.broker.send([large]) == [large]

    def test_a_topic_grows(self) -> None:
        """The same broker sends to the new partitions at once; a topic never loses one."""
        self.make(2)
        self.broker.send([self.message(b"k", b"1", 1)])
        for partitions, expected in ((4, 4), (4, 4), (3, 4)):
            self.broker.grow(self.topic, partitions)
            assert self.broker.partitions([self.topic]) == {self.topic: expected}
        self.broker.send([self.message(b"k", b"2", 3), self.message(b"k", b"3", 1)])
        assert [len(self.broker.read(self.topic, number)) for number in range(4)] == [0, 2, 0, 1]

    def test_message_without_key_and_value(self) -> None:
        """Neither is a mistake of the caller."""
        self.make()
        with pytest.raises((AssertionError, ValueError)):
            self.broker.send([self.message(None, None)])

    def test_offsets_without_a_message(self) -> None:
        """The end of a transaction takes up an offset: reading ends there, and continues behind it."""
        self.make()
        self.send_in_transaction([self.message(None, b"one"), self.message(None, b"two")])
        assert [record.value for record in self.broker.read(self.topic, 0)] == [b"one", b"two"]
        assert self.broker.ends(self.topic) == {0: 3}
        assert self.broker.read(self.topic, 0, 2) == []
        self.broker.send([self.message(None, b"three")])
        assert [(record.offset, record.value) for record in self.broker.read(self.topic, 0, 2)] == [(3, b"three")]

    def test_groups_continue_where_they_committed(self) -> None:
        """Each group and partition by itself; 0 before the first commit."""
        self.make(2)
        group = f"{self.topic}-group"
        assert self.broker.committed(group, self.topic, 0) == 0
        self.broker.commit(group, self.topic, 0, 7)
        self.broker.commit(group, self.topic, 0, 5)
        assert self.broker.committed(group, self.topic, 0) == 5
        assert self.broker.committed(group, self.topic, 1) == 0
        assert self.broker.committed(f"{group}-other", self.topic, 0) == 0

    def test_creates_topics_once(self) -> None:
        """A topic that exists stays as it is; unknown ones are left out of what is known."""
        self.make(2)
        self.broker.send([self.message(None, b"x")])
        self.broker.create([small(self.topic, 3)])
        assert self.broker.partitions([self.topic, f"{self.topic}-none"]) == {self.topic: 2}
        assert self.broker.ends(self.topic) == {0: 1, 1: 0}
        assert self.broker.ends(f"{self.topic}-none") == {}
        assert self.broker.partitions([]) == {}

    def test_unknown_topic(self) -> None:
        """Messages to a topic that does not exist raise an error."""
        with pytest.raises(StoreError):
            self.broker.send([self.message(b"k", b"v")])


class VerdictTopicContract(OnBroker, SinkContract, ForgetsContract):
    clock = FakeClock()

    @pytest.fixture(autouse=True)
    def _topic(self, _target: None) -> None:
        self.broker.create([small(self.topic)])

    def compact(self) -> None:
        """Compacts the topic, where that can be done at once."""

    def open_sink(self) -> VerdictTopic:
        return VerdictTopic(self.broker, self.topic)

    def records(self) -> list[Record]:
        return self.broker.read(self.topic, 0)

    def counting(self) -> list[tuple[str, int]]:
        """Readers use the highest version of a run. Compaction must have left it. An empty message takes a run back."""
        self.compact()
        versions: dict[str, int] = {}
        for record in self.records():
            if record.value is None:
                versions.pop((record.key or b"").decode(), None)
                continue
            verdict = Verdict.model_validate_json(record.value)
            assert record.key == verdict.run_id.encode()
            if verdict.version > versions.get(verdict.run_id, -1):
                versions.pop(verdict.run_id, None)
                versions[verdict.run_id] = verdict.version
        return list(versions.items())

    def test_message_is_the_whole_verdict(self) -> None:
        """The value can be read back as the same verdict; the key is the run's id."""
        verdict = make_verdict("night/ü")
        with self.open_sink() as sink:
            sink.write(verdict)
        (record,) = self.records()
        assert record.key == "night/ü".encode()
        assert Verdict.model_validate_json(record.value or b"") == verdict

    def test_a_retry_sends_nothing_twice(self) -> None:
        """A verdict that was sent by this sink is not sent again, nor is a lower version of its run."""
        with self.open_sink() as sink:
            for version in (41, 41, 21):
                sink.write(make_verdict("a", version=version))
                sink.flush()
        assert len(self.records()) == 1

    def test_provisional_verdicts_are_not_sent(self) -> None:
        with self.open_sink() as sink:
            sink.write(make_verdict("a", version=20, final=False))
        assert self.records() == []

    def test_forgets_with_an_empty_message(self) -> None:
        """Neither a buffered verdict is sent after it, nor is a new one held back."""
        sink = self.open_sink()
        sink.write(make_verdict("a"))
        sink.flush()
        sink.write(make_verdict("a", version=401))
        sink.write(make_verdict("b"))
        assert not sink.forget("a")
        sink.flush()
        assert [(record.key, record.value is None) for record in self.records()] == [
            (b"a", False),
            (b"a", True),
            (b"b", False),
        ]
        sink.write(make_verdict("a"))
        sink.close()
        assert self.records()[-1].value

    def test_too_large_for_the_topic(self) -> None:
        """The error names the run and the remedy, and the verdict is kept."""
        sink = self.open_sink()
        sink.write(make_verdict("large", headers={"x": TOO_LARGE.hex()}))
        for _ in range(2):
            with pytest.raises(
                StoreError, match=rf"'large' are too large for the topic {self.topic}; .*max\.message\.bytes"
            ):
                sink.flush()
        with pytest.raises(StoreError):
            sink.close()


class DeadLettersContract(OnBroker):
    LETTER = DeadLetter("message", "no key: …", "logs/1/7", None, b"\xff\n", (("source", b"ue"), ("source", b"du")))

    @pytest.fixture(autouse=True)
    def _topic(self, _target: None) -> None:
        self.broker.create([small(self.topic)])

    def letters(self) -> list[DeadLetter]:
        return [as_letter(record) for record in self.broker.read(self.topic, 0)]

    def test_comes_back_as_it_came(self) -> None:
        """Bytes, headers and their order are kept; three headers are added."""
        topic = DeadLetterTopic(self.broker, self.topic)
        topic.put(self.LETTER)
        assert self.letters() == []
        topic.flush()
        topic.flush()
        assert self.letters() == [self.LETTER]
        (record,) = self.broker.read(self.topic, 0)
        assert dict(record.headers)["triage.origin"] == b"logs/1/7"

    def test_a_message_that_was_sent_again(self) -> None:
        """How often is in a fourth header."""
        topic = DeadLetterTopic(self.broker, self.topic)
        topic.put(self.LETTER._replace(replays=2))
        topic.flush()
        assert self.letters() == [self.LETTER._replace(replays=2)]
        (record,) = self.broker.read(self.topic, 0)
        assert dict(record.headers)["triage.replayed"] == b"2"

    def test_kinds(self) -> None:
        topic = DeadLetterTopic(self.broker, self.topic)
        kinds = ["message", "document", "run", "summary"]
        for kind in kinds:
            topic.put(self.LETTER._replace(kind=kind, key=b"a"))
        topic.flush()
        assert [letter.kind for letter in self.letters()] == kinds

    def test_too_large_for_the_topic(self) -> None:
        """It is kept without its value; its origin says where the message still is."""
        topic = DeadLetterTopic(self.broker, self.topic)
        topic.put(self.LETTER._replace(value=TOO_LARGE))
        topic.put(self.LETTER)
        topic.flush()
        assert [letter.value for letter in self.letters()] == [b"\xff\n", None]
        assert self.letters()[1].origin == "logs/1/7"


class RunLogContract(OnBroker):
    @pytest.fixture(autouse=True)
    def _topic(self, _target: None) -> None:
        self.broker.create([small(self.topic, 2)])

    def log(self, group: str = "farm") -> RunLogTopic:
        return RunLogTopic(self.broker, self.topic, group, "logs")

    def put(self, key: bytes | None, value: bytes | None) -> None:
        self.broker.send([Outgoing(self.topic, key, value, (), 0)])

    def test_remembers_what_was_flushed(self) -> None:
        """Every field of a run, in its partition; the latest message of an id counts."""
        runs = [ClosedRun("a", "a", 0, 3, pieces=1), ClosedRun("ü", "ü@9", 9, 9, cut=True)]
        log = self.log()
        log.put(0, runs[0]._replace(last=2))
        log.put(0, runs[0])
        log.put(0, runs[1])
        log.put(1, ClosedRun("b", "b", 0, 0))
        assert self.log().read(0).closed == []
        log.flush()
        log.flush()
        assert self.log().read(0).closed == runs
        assert [run.run_id for run in self.log().read(1).closed] == ["b"]
        assert sum(self.broker.ends(self.topic).values()) == 4

    def test_runs_of_other_groups_are_left_out(self) -> None:
        other = self.log("other")
        other.put(0, ClosedRun("a", "a", 0, 3))
        other.flush()
        assert self.log().read(0).closed == []

    def test_other_messages_are_skipped(self) -> None:
        """Whoever sent them; a run that was taken back with an empty message is not remembered."""
        log = self.log()
        log.put(0, ClosedRun("gone", "gone", 0, 3))
        log.put(0, ClosedRun("a", "a", 0, 3))
        log.flush()
        self.put(self.broker.read(self.topic, 0)[0].key, None)
        keys = (b"", b"\xff", b"{}", b"[1]", b'["farm", "x", 3]', b'["farm", "x"]')
        wrong = b'{"key": "x", "first": "?", "last": 1, "cut": false}'
        values = (None, b"", b"[]", b'{"key": "x"}', wrong, b"\xff")
        self.put(None, wrong)
        self.broker.send([Outgoing(self.topic, key, value, (), 0) for key in keys for value in values])
        assert [run.run_id for run in log.read(0).closed] == ["a"]

    def test_rejected_messages(self) -> None:
        """Names of each flush, and only of this group."""
        log, other = self.log(), self.log("other")
        for names in RejectedMessages(("logs/0/1",), ("logs/0/2+1",)), RejectedMessages((), ("logs/0/3",)):
            log.put_rejected(0, names)
        other.put_rejected(0, RejectedMessages(("logs/0/4",)))
        log.flush()
        other.flush()
        read = self.log().read(0)
        assert read.rejected == [RejectedMessages(("logs/0/1",), ("logs/0/2+1",)), RejectedMessages((), ("logs/0/3",))]
        assert (read.closed, read.forgotten, self.log().read(1).rejected) == ([], [], [])

    def test_replayed_origins_of_a_run(self) -> None:
        run = ClosedRun("a", "a", 0, 3, replayed=(("logs/0", 7), ("logs/1", 2)))
        log = self.log()
        log.put(0, run)
        log.flush()
        assert self.log().read(0).closed == [run]

    def test_marks_hold_for_every_group_of_a_topic(self) -> None:
        """A mark does not replace the end of its run, and the last mark of a run counts."""
        log, other_group = self.log(), self.log("other")
        log.put(0, ClosedRun("a", "a", 0, 3))
        for before in (4, 5):
            other_group.put_forgotten(0, ForgottenRun("a", before))
        RunLogTopic(self.broker, self.topic, "farm", "other logs").put_forgotten(0, ForgottenRun("b", 4))
        log.flush()
        other_group.flush()
        read = self.log().read(0)
        assert (read.closed, read.forgotten) == ([ClosedRun("a", "a", 0, 3)], [ForgottenRun("a", 5)])

    def test_new_marks_are_seen_once(self) -> None:
        """Also among entries of this worker, and after others; what was there at the first reading is not new."""
        log, command = self.log(), self.log()

        def mark(run_id: str, partition: int) -> None:
            command.put_forgotten(partition, ForgottenRun(run_id, 9))
            command.flush()

        mark("old", 0)
        log.read(0)
        log.read(1)
        assert log.new_marks([0, 1]) == {}
        log.put(0, ClosedRun("a", "a", 0, 3))
        log.flush()
        assert log.new_marks([0, 1]) == {}
        mark("a", 0)
        log.put(0, ClosedRun("b", "b", 4, 5))
        log.flush()
        mark("b", 0)
        mark("b", 1)
        assert log.new_marks([0]) == {0: [ForgottenRun("a", 9), ForgottenRun("b", 9)]}
        assert log.new_marks([0, 1]) == {1: [ForgottenRun("b", 9)]}
        assert (log.new_marks([0, 1]), log.new_marks([])) == ({}, {})

    def test_run_without_pieces(self) -> None:
        """Messages of an earlier version have none: the run ends with its last message."""
        self.put(b'["farm", "a"]', json.dumps({"key": "a", "first": 0, "last": 3, "cut": False}).encode())
        assert self.log().read(0).closed == [ClosedRun("a", "a", 0, 3)]
