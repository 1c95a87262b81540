"""Sequence numbers of one source in, the order of its messages out: which are due, early, repeated or too late.

A sender that numbers the messages of a source from 0 lets the worker drop repeats, restore the order and name what is
missing. A message that comes before its turn is held until those before it have come. There is no time limit on that:
when the partition is read again, messages come faster than the first time, and a gap that was given up after ten seconds
then would be filled now, which would change the verdict. Limits that depend on the messages of the run alone bound what is
held instead: how many messages of a source, how many bytes of a source, and how many bytes of all sources of a run.

A digest of each message is kept, so that a repeat can be told from a sender that has begun to number again: that message has
the same number and other content. `numberings.py` decides what becomes of it.
"""

from array import array
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Arrival", "Digests", "Gap", "SourceSequence"]

T = TypeVar("T")

# Messages of one source that are held at most; beyond either limit, the gap before them is given up.
MAX_EARLY = 256
MAX_EARLY_BYTES = 8 << 20
# Of all sources of a run: what is held becomes text of the run in one step when the run ends.
MAX_RUN_EARLY_BYTES = 32 << 20
# Gaps of one source that are listed one by one. Later ones are only counted, so that a source that loses every second
# message for a day cannot fill the memory, or its verdict.
MAX_GAPS = 256
# Digests that are kept of the messages of one numbering: of the first ones, since senders begin again there, and of the last
# ones, since those are what a sender sends again after an outage. At most 8 bytes x (FIRST_DIGESTS + 2 x LAST_DIGESTS).
FIRST_DIGESTS, LAST_DIGESTS = 4096, 16_384


class Arrival(Enum):
    """How a message comes, by its number."""

    DUE = "it is the next one"
    EARLY = "messages before it have not come yet"
    REPEATED = "it came before"
    GIVEN_UP = "it lies in a gap that was given up: later messages were passed on without it"
    BEFORE_FIRST = "its number is below that of the first message"


class Gap(NamedTuple):
    """Numbers, first and last included, whose messages never came."""

    first: int
    last: int


class Digests:
    """Digests by index, which counts from 0 and only grows; 0 stands for a message that never came."""

    __slots__ = ("_first", "_last", "_last_from")

    def __init__(self) -> None:
        self._first, self._last = array("q"), array("q")
        self._last_from = FIRST_DIGESTS

    def put(self, index: int, digest: int) -> None:
        """Notes the digest of the message at `index`; does nothing if that index or a later one was noted."""
        if index < FIRST_DIGESTS:
            kept, at = self._first, index
        else:
            if index - self._last_from - len(self._last) >= LAST_DIGESTS:  # a gap as long as what is kept
                self._last, self._last_from = array("q"), index
            kept, at = self._last, index - self._last_from
        if at < len(kept):
            return
        kept.extend([0] * (at - len(kept)))
        kept.append(digest)
        if len(self._last) > 2 * LAST_DIGESTS:
            del self._last[:LAST_DIGESTS]
            self._last_from += LAST_DIGESTS

    def get(self, index: int) -> int | None:
        """The digest at `index`; None if it was not kept."""
        kept, at = (self._first, index) if index < FIRST_DIGESTS else (self._last, index - self._last_from)
        if at < 0:
            return None
        return kept[at] if at < len(kept) else 0


class SourceSequence(Generic[T]):
    """The order of one source's messages. `T` is whatever is held for a message that comes early.

    The caller asks `arrival` how a message comes and then says what became of it: `advance` when the message is passed on,
    `hold` when it is early. After each `advance`, `pop_due` gives the message that was waiting for it, if there is one.
    """

    __slots__ = ("_digests", "_early", "_early_bytes", "_first", "_gaps", "_next", "unlisted")

    def __init__(self, first: int | None = 0) -> None:
        """`first` is the number of the first message; None if the first one that comes decides."""
        self._first = first
        self._next = first or 0
        self._early: dict[int, tuple[T, int, int]] = {}
        self._early_bytes = 0
        self._gaps: list[Gap] = []
        self._digests = Digests()
        self.unlisted = 0
        """Missing messages in gaps beyond `MAX_GAPS`."""

    @property
    def holds_early(self) -> bool:
        """Whether any message is held."""
        return bool(self._early)

    @property
    def next_number(self) -> int:
        """The number of the message that is due; 0 if the first one that comes decides."""
        return self._next

    @property
    def early(self) -> tuple[int, int]:
        """How many messages are held, and their bytes."""
        return len(self._early), self._early_bytes

    def arrival(self, number: int) -> Arrival:
        """How a message with this number comes. It is the first one if no other decided where the numbers begin."""
        if self._first is None:
            self._first = self._next = number
        if number < self._first:
            return Arrival.BEFORE_FIRST
        if number < self._next:
            given_up = any(gap.first <= number <= gap.last for gap in self._gaps)
            return Arrival.GIVEN_UP if given_up else Arrival.REPEATED
        return Arrival.DUE if number == self._next else Arrival.EARLY

    def advance(self, number: int, digest: int = 0) -> None:
        """The message with this number was passed on: the next one is expected."""
        if self._first is None:
            self._first = number
        self._next = number + 1
        self._digests.put(number - self._first, digest)

    def hold(self, number: int, message: T, size: int, digest: int = 0) -> None:
        """Keeps an early message, of `size` bytes; a repeated one is dropped."""
        if number not in self._early:
            self._early[number] = message, size, digest
            self._early_bytes += size

    def digest(self, number: int) -> int | None:
        """The digest of the message with this number, held or passed on: 0 if it has not come, None if it was not kept."""
        if number in self._early:
            return self._early[number][2]
        if self._first is None or not self._first <= number < self._next:
            return 0
        return self._digests.get(number - self._first)

    def pop_due(self) -> T | None:
        """The held message that is due now, removed; None if it has not come."""
        if self._next not in self._early:
            return None
        message, size, _ = self._early.pop(self._next)
        self._early_bytes -= size
        return message

    def give_up_gap(self) -> Gap | None:
        """Stops waiting for what is missing before the first held message, which is due then.

        Returns the gap, or None if it was only counted because `MAX_GAPS` are listed already. A message must be held.
        """
        gap = Gap(self._next, min(self._early) - 1)
        self._next = gap.last + 1
        if len(self._gaps) >= MAX_GAPS:
            self.unlisted += gap.last - gap.first + 1
            return None
        self._gaps.append(gap)
        return gap

    def held(self) -> list[T]:
        """The held messages by number. They stay held."""
        return [message for _, (message, *_) in sorted(self._early.items(), key=lambda item: item[0])]
