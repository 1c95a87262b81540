"""Rejected messages and documents go in; a topic keeps them unchanged, with the reason in their headers.

No other output contains text before redaction: give few people access to this topic.
"""

from typing import Literal

from stream_triage.clients.broker import Broker, Outgoing
from stream_triage.records import ORIGIN_HEADER, REPLAYED_HEADER, DeadLetter, Record

__all__ = ["DeadLetterTopic", "MemoryDeadLetters", "as_letter"]

_KIND, _REASON = "triage.kind", "triage.reason"


class DeadLetterTopic:
    """Keeps key, value and headers of a message and adds the headers `triage.kind`, `triage.reason` and `triage.origin`.

    A message that `replay-dead` had sent also has `triage.replayed`, how often.
    """

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._waiting: list[DeadLetter] = []

    def put(self, letter: DeadLetter) -> None:
        """Buffers a letter until `flush`."""
        self._waiting.append(letter)

    def flush(self) -> None:
        """Sends what is buffered. Raises `StoreError` and keeps all of it."""
        if not self._waiting:
            return
        rejected = self._broker.send([_outgoing(self._topic, letter) for letter in self._waiting])
        # Too large for the topic: without the value, since `triage.origin` says where the message still is. Kafka takes no
        # message that has neither key nor value.
        self._broker.send([message._replace(key=message.key or b"", value=None) for message in rejected])
        self._waiting.clear()


class MemoryDeadLetters:
    """Dead letters in memory, for tests: `letters` contains what was flushed."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self._waiting: list[DeadLetter] = []

    def put(self, letter: DeadLetter) -> None:
        """Buffers a letter until `flush`."""
        self._waiting.append(letter)

    def flush(self) -> None:
        """Moves what is buffered to `letters`."""
        self.letters += self._waiting
        self._waiting.clear()


def as_letter(record: Record) -> DeadLetter:
    """The dead letter that a message of the topic was made from."""
    ours = (_KIND, _REASON, ORIGIN_HEADER, REPLAYED_HEADER)
    added = {name: value.decode(errors="replace") for name, value in record.headers if name in ours}
    headers = tuple((name, value) for name, value in record.headers if name not in added)
    kind = added.get(_KIND)
    known: Literal["message", "document", "run", "summary"] = (
        "document" if kind == "document" else "run" if kind == "run" else "summary" if kind == "summary" else "message"
    )
    replayed = added.get(REPLAYED_HEADER, "")
    replays = int(replayed) if replayed.isascii() and replayed.isdigit() else 0
    return DeadLetter(
        known, added.get(_REASON, ""), added.get(ORIGIN_HEADER, ""), record.key, record.value, headers, replays
    )


def _outgoing(topic: str, letter: DeadLetter) -> Outgoing:
    added = {_KIND: letter.kind, _REASON: letter.reason, ORIGIN_HEADER: letter.origin}
    if letter.replays:
        added[REPLAYED_HEADER] = str(letter.replays)
    headers = (*letter.headers, *((name, text.encode(errors="replace")) for name, text in added.items()))
    return Outgoing(topic, letter.key, letter.value, headers)
