"""A message broker in memory: topics, partitions and offsets as Kafka has them, for tests and notebooks."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from stream_triage.clients.broker import MAX_MESSAGE_BYTES, Outgoing, Topic
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import ServerAway, StoreError
from stream_triage.records import Record

__all__ = ["MemoryBroker"]

# Kafka's default of `max.message.bytes`.
DEFAULT_MESSAGE_BYTES = 1_048_588


class MemoryBroker:
    """A `Broker` without a server. Not for several threads at once.

    It differs from Kafka in three ways: topics are compacted when `compact` is called and not by themselves, the size of a
    message is measured before compression, and a key chooses its partition by another hash.

    Attributes:
        available: While False, every call raises `StoreError` and changes nothing.
        accepts: Number of messages after which `send` raises `StoreError`, each time; the messages before it stay sent, as
            when a broker goes away half-way. None for no limit.
    """

    def __init__(self, topics: Sequence[Topic] = (), *, clock: Clock | None = None) -> None:
        self.available = True
        self.accepts: int | None = None
        self._clock = clock or SystemClock()
        self._topics: dict[str, _Topic] = {}
        self._committed: dict[tuple[str, str, int], int] = {}
        self.create(topics)

    def send(self, messages: Sequence[Outgoing]) -> list[Outgoing]:
        """Appends messages; returns those that are larger than `max.message.bytes` of their topic."""
        self._check_available()
        rejected = []
        for sent, message in enumerate(messages):
            if self.accepts is not None and sent >= self.accepts:
                raise StoreError(f"the broker in memory takes {self.accepts} messages at once; raise `accepts`")
            if message.key is None and message.value is None:
                raise ValueError("a message needs a key or a value")
            topic = self._topic(message.topic)
            if _size(message) > topic.max_message_bytes:
                rejected.append(message)
            else:
                self._append(topic, message)
        return rejected

    def read(self, topic: str, partition: int, start: int = 0) -> list[Record]:
        """Returns all messages of a partition from an offset."""
        self._check_available()
        return [record for record in self._partition(topic, partition).records if record.offset >= start]

    def ends(self, topic: str) -> dict[int, int]:
        """By partition, the offset that the next message gets. Empty for an unknown topic."""
        self._check_available()
        known = self._topics.get(topic)
        return {number: partition.end for number, partition in enumerate(known.partitions)} if known else {}

    def end_offsets(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """The same for these partitions of a topic."""
        self._check_available()
        return {number: self._partition(topic, number).end for number in partitions}

    def read_on(self, topic: str, starts: Mapping[int, int]) -> list[Record]:
        """Returns all messages of several partitions from their offsets."""
        return [record for partition, start in starts.items() for record in self.read(topic, partition, start)]

    def committed(self, group: str, topic: str, partition: int) -> int:
        """The offset at which a consumer group continues; 0 if it has committed none."""
        self._check_available()
        return self._committed.get((group, topic, partition), 0)

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Stores the offset at which a consumer group continues."""
        self._check_available()
        self._partition(topic, partition)
        self._committed[group, topic, partition] = offset

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """Number of partitions of each of these topics that exists."""
        self._check_available()
        return {name: len(self._topics[name].partitions) for name in topics if name in self._topics}

    def create(self, topics: Sequence[Topic]) -> None:
        """Creates topics. Those that exist already stay as they are."""
        self._check_available()
        for topic in topics:
            limit = int(topic.config.get("max.message.bytes", DEFAULT_MESSAGE_BYTES))
            partitions = [_Partition() for _ in range(topic.partitions)]
            self._topics.setdefault(topic.name, _Topic(topic.name, partitions, min(limit, MAX_MESSAGE_BYTES)))

    def grow(self, topic: str, partitions: int) -> None:
        """Gives a topic as many partitions; one that has as many or more stays as it is."""
        self._check_available()
        known = self._topic(topic).partitions
        known += [_Partition() for _ in range(partitions - len(known))]

    def close(self) -> None:
        """Keeps all messages: another process would find them too."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def compact(self, topic: str) -> None:
        """Leaves the last message of each key, and none of a key whose last message is empty. Offsets stay as they are."""
        for partition in self._topic(topic).partitions:
            last = {record.key: record.offset for record in partition.records}
            partition.records = [
                record for record in partition.records if record.offset == last[record.key] and record.value is not None
            ]

    def end_transaction(self, topic: str, partition: int) -> None:
        """Uses up an offset without a message, as the end of a transaction does."""
        self._partition(topic, partition).end += 1

    def _append(self, topic: "_Topic", message: Outgoing) -> None:
        number = topic.choose_partition(message)
        partition = self._partition(topic.name, number)
        milliseconds = int(self._clock.now().timestamp() * 1000)
        headers = tuple(message.headers)
        partition.records.append(
            Record(topic.name, number, partition.end, milliseconds, message.key, message.value, headers)
        )
        partition.end += 1

    def _topic(self, name: str) -> "_Topic":
        if name not in self._topics:
            raise StoreError(f"the broker in memory has no topic {name}; create it")
        return self._topics[name]

    def _partition(self, name: str, number: int) -> "_Partition":
        partitions = self._topic(name).partitions
        if not 0 <= number < len(partitions):
            raise StoreError(f"topic {name} has {len(partitions)} partitions and none of number {number}")
        return partitions[number]

    def _check_available(self) -> None:
        if not self.available:
            raise ServerAway("the broker in memory is switched off; set `available`")


@dataclass
class _Partition:
    records: list[Record] = field(default_factory=list)
    end: int = 0
    """Offset of the next message."""


@dataclass
class _Topic:
    name: str
    partitions: list[_Partition]
    max_message_bytes: int
    _next: int = 0

    def choose_partition(self, message: Outgoing) -> int:
        """The partition that the message names, else that of its key, else each in turn."""
        if message.partition is not None:
            return message.partition
        if message.key is not None:
            return zlib.crc32(message.key) % len(self.partitions)
        self._next += 1
        return self._next % len(self.partitions)


def _size(message: Outgoing) -> int:
    headers = sum(len(name) + len(value) for name, value in message.headers)
    return len(message.key or b"") + len(message.value or b"") + headers
