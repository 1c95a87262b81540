"""Refused messages and documents go in; they come out in a topic as they came, with the reason in their headers.

The one place that holds text before redaction: give few people access to it.
"""

from typing import Literal

from stream_triage.clients.kafka import Broker, Outgoing
from stream_triage.records import DeadLetter, Record

__all__ = ["DeadLetterTopic", "MemoryDeadLetters", "as_letter"]

_KIND, _REASON, _ORIGIN = "triage.kind", "triage.reason", "triage.origin"


class DeadLetterTopic:
    """Keeps key, value and headers of a message and adds `triage.kind`, `triage.reason` and `triage.origin`."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._waiting: list[DeadLetter] = []

    def put(self, letter: DeadLetter) -> None:
        self._waiting.append(letter)

    def flush(self) -> None:
        if not self._waiting:
            return
        refused = self._broker.send([_outgoing(self._topic, letter) for letter in self._waiting])
        if refused:  # larger than the topic takes: the message stays where it came from, and its place is told
            self._broker.send([message._replace(value=None) for message in refused])
        self._waiting.clear()


class MemoryDeadLetters:
    """The fake that tests use: `letters` holds what was flushed."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self._waiting: list[DeadLetter] = []

    def put(self, letter: DeadLetter) -> None:
        self._waiting.append(letter)

    def flush(self) -> None:
        self.letters += self._waiting
        self._waiting.clear()


def as_letter(record: Record) -> DeadLetter:
    """A message of the topic as the letter it was made of."""
    added = {name: value.decode(errors="replace") for name, value in record.headers if name in (_KIND, _REASON, _ORIGIN)}
    headers = tuple((name, value) for name, value in record.headers if name not in added)
    kind = added.get(_KIND)
    known: Literal["message", "document", "run"] = (
        "document" if kind == "document" else "run" if kind == "run" else "message"
    )
    return DeadLetter(known, added.get(_REASON, ""), added.get(_ORIGIN, ""), record.key, record.value, headers)


def _outgoing(topic: str, letter: DeadLetter) -> Outgoing:
    added = {_KIND: letter.kind, _REASON: letter.reason, _ORIGIN: letter.origin}
    headers = (*letter.headers, *((name, text.encode(errors="replace")) for name, text in added.items()))
    return Outgoing(topic, letter.key, letter.value, headers)
