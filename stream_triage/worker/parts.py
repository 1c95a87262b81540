"""Parts of messages in, as senders cut a message that is too large for a topic; whole messages out.

All parts carry the number of the message (`seq`) and say which part they are (`seq.part: 2/3/CHECKSUM`). The message counts
as come when all its parts have. What came of a message that never becomes whole is passed on when its run stops waiting.
"""

from collections.abc import Collection
from typing import NamedTuple

from stream_triage.worker.early_budget import EarlyBudget, EarlyMessage
from stream_triage.worker.messages import Message
from stream_triage.worker.sequence import MAX_EARLY, MAX_EARLY_BYTES

__all__ = ["Parts"]

# Messages that are whole and whose parts are known when they come again. A sender repeats what it sent last.
MAX_COMPLETE = 1024


class _Key(NamedTuple):
    """Which message the parts belong to. `turn` tells sets of parts apart that contradict each other."""

    epoch: str
    seq: int
    check: str
    turn: int = 0


class _Part(NamedTuple):
    kept: EarlyMessage
    size: int
    digest: int


class _Incomplete:
    """The parts of one message that have come, by number from 1."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.parts: dict[int, _Part] = {}

    def messages(self) -> list[Message]:
        """The parts, in their order."""
        return [part.kept.message() for _, part in sorted(self.parts.items(), key=lambda item: item[0])]


class Parts:
    """The incomplete messages of one source."""

    def __init__(self) -> None:
        self._incomplete: dict[_Key, _Incomplete] = {}
        self._complete: dict[_Key, None] = {}
        """Messages that became whole, the oldest first."""
        self._turns = 0
        self.bytes = 0
        """Size of what is held."""
        self._parts = 0
        self.repeated_messages = self.repeated_bytes = 0
        """Parts that came again."""

    @property
    def overfull(self) -> bool:
        """Whether more is held than the limits allow, so that `release` is due."""
        return self._parts > MAX_EARLY or self.bytes > MAX_EARLY_BYTES

    def add(self, message: Message, budget: EarlyBudget) -> Message | None:
        """Takes a part, which `budget` keeps; the whole message if this was the last part that was missing."""
        assert message.part is not None
        assert message.seq is not None
        part, key = message.part, _Key(message.epoch, message.seq, message.part.check)
        if key.check and key in self._complete:  # by its checksum, it is a part of that message
            self.repeated_messages += 1
            self.repeated_bytes += len(message.text or b"")
            return None
        held = self._incomplete.get(key)
        if held is not None and _contradicts(held, message):
            self._set_aside(key)
            held = None
        if held is None:
            held = self._incomplete[key] = _Incomplete(part.total)
        if part.number in held.parts:
            self.repeated_messages += 1
            self.repeated_bytes += len(message.text or b"")
            return None
        size = len(message.text or b"")
        held.parts[part.number] = _Part(budget.keep(message), size, message.digest)
        self.bytes += size
        self._parts += 1
        if len(held.parts) < part.total:
            return None
        self._complete[key] = None
        if len(self._complete) > MAX_COMPLETE:
            del self._complete[next(iter(self._complete))]
        return self._joined(key)

    def release(self) -> list[Message]:
        """What came of the incomplete messages, which are forgotten; by number."""
        return [self._joined(key) for key in sorted(self._incomplete)]

    def held(self) -> list[Message]:
        """All parts that wait for others, in the order of their messages."""
        return [message for _, one in sorted(self._incomplete.items()) for message in one.messages()]

    def _set_aside(self, key: _Key) -> None:
        """Other parts than before: the message was cut elsewhere and comes again, or it is another one of this number.

        If it comes again whole, the parts before would double it; if not, they are all there is of it. With a checksum,
        it is the same message.
        """
        earlier = self._incomplete.pop(key)
        if key.check:
            self._forget(earlier.parts.values())
            self.repeated_messages += len(earlier.parts)
            self.repeated_bytes += sum(part.size for part in earlier.parts.values())
        else:
            self._turns += 1
            self._incomplete[key._replace(turn=self._turns)] = earlier

    def _joined(self, key: _Key) -> Message:
        whole = self._incomplete.pop(key)
        parts = whole.messages()
        self._forget(whole.parts.values())
        return max(parts, key=lambda part: part.record.offset).joined(parts)

    def _forget(self, parts: Collection[_Part]) -> None:
        self.bytes -= sum(part.size for part in parts)
        self._parts -= len(parts)


def _contradicts(held: _Incomplete, message: Message) -> bool:
    assert message.part is not None
    earlier = held.parts.get(message.part.number)
    return held.count != message.part.total or (earlier is not None and earlier.digest != message.digest)
