"""The interface of a message broker, which `KafkaBroker` and `MemoryBroker` implement."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from stream_triage.records import Record

__all__ = ["MAX_MESSAGE_BYTES", "Broker", "Outgoing", "Topic"]

# Chunks, verdicts and dead letters can be larger than Kafka's default limit of 1 MB.
MAX_MESSAGE_BYTES = 16 << 20


class Outgoing(NamedTuple):
    """One message to send. Without a partition, the key decides which partition it goes to."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class Topic(NamedTuple):
    """A topic to create: its name, number of partitions and Kafka's topic-level settings."""

    name: str
    partitions: int
    config: dict[str, str]


class Broker(Protocol):
    """Topics of messages. Every method either succeeds or raises `StoreError` with the remedy."""

    def send(self, messages: Sequence[Outgoing]) -> list[Outgoing]:
        """Sends messages, in order within each partition, and returns when all in-sync replicas have them.

        Returns:
            The messages that were rejected because they are larger than their topic allows.

        Raises:
            StoreError: Some messages could not be sent. Any part of the others may have been.
        """

    def read(self, topic: str, partition: int, start: int = 0) -> list[Record]:
        """Returns all messages from offset `start` (or the first that is kept) to the end at the time of the call.

        Messages of aborted transactions are left out, and what follows the first message of an open one.
        """

    def ends(self, topic: str) -> dict[int, int]:
        """By partition, the offset that the next message gets. Empty for an unknown topic."""

    def end_offsets(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """The same for these partitions of a topic, in one short request: meant to be asked often."""

    def read_on(self, topic: str, starts: Mapping[int, int]) -> list[Record]:
        """Returns what `read` returns, for several partitions by their offsets and in one request: for short pieces."""

    def committed(self, group: str, topic: str, partition: int) -> int:
        """The offset at which a consumer group continues; 0 if it has committed none."""

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Stores the offset at which a consumer group continues."""

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """Number of partitions of each of these topics; topics that are missing or not visible are left out."""

    def create(self, topics: Sequence[Topic]) -> None:
        """Creates topics. Those that exist already stay as they are."""

    def grow(self, topic: str, partitions: int) -> None:
        """Gives a topic as many partitions; one that has as many or more stays as it is."""
