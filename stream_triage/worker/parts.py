"""Parts of messages in, as senders cut a message that is too large for a topic; whole messages out.

All parts carry the number of the message (`seq`) and say which part they are (`seq.part: 2/3`). The message counts as come
when all its parts have. What came of a message that never becomes whole is passed on when its run stops waiting for it.
"""

from stream_triage.worker.messages import Message
from stream_triage.worker.sequence import MAX_EARLY, MAX_EARLY_BYTES

__all__ = ["Parts"]


class _Incomplete:
    """The parts of one message that have come, by number from 1."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.parts: dict[int, Message] = {}


class Parts:
    """The incomplete messages of one source."""

    def __init__(self) -> None:
        self._incomplete: dict[tuple[str, int], _Incomplete] = {}
        self._bytes = 0
        self._parts = 0
        self.repeated_messages = self.repeated_bytes = 0
        """Parts that came again."""

    @property
    def overfull(self) -> bool:
        """Whether more is held than the limits allow, so that `release` is due."""
        return self._parts > MAX_EARLY or self._bytes > MAX_EARLY_BYTES

    def add(self, message: Message) -> Message | None:
        """Takes a part; the whole message if this was the last part that was missing."""
        assert message.part is not None
        assert message.seq is not None
        number, count = message.part
        key = message.epoch, message.seq
        held = self._incomplete.get(key)
        if held is None or held.count != count:
            self._drop(key)  # cut into other parts: it is sent again from its beginning
            held = self._incomplete[key] = _Incomplete(count)
        earlier = held.parts.get(number)
        if earlier is not None:
            self._forget(earlier)
            self._count_repeat(earlier)
        held.parts[number] = message
        self._bytes += len(message.text or b"")
        self._parts += 1
        return self._joined(key) if len(held.parts) == count else None

    def release(self) -> list[Message]:
        """What came of the incomplete messages, which are forgotten; by number."""
        return [self._joined(key) for key in sorted(self._incomplete)]

    def held(self) -> list[Message]:
        """All parts that wait for others, in the order of their messages."""
        return [part for _, one in sorted(self._incomplete.items()) for _, part in sorted(one.parts.items())]

    def _joined(self, key: tuple[str, int]) -> Message:
        parts = [part for _, part in sorted(self._incomplete.pop(key).parts.items())]
        for part in parts:
            self._forget(part)
        last = max(parts, key=lambda part: part.record.offset)
        return last.joined(parts)

    def _drop(self, key: tuple[str, int]) -> None:
        if key in self._incomplete:
            for part in self._incomplete.pop(key).parts.values():
                self._forget(part)
                self._count_repeat(part)

    def _forget(self, part: Message) -> None:
        self._bytes -= len(part.text or b"")
        self._parts -= 1

    def _count_repeat(self, part: Message) -> None:
        self.repeated_messages += 1
        self.repeated_bytes += len(part.text or b"")
