"""Sequence numbers of one source in, the order of its messages out: which are due, early, repeated or too late.

A sender that numbers the messages of a source from 0 lets the worker drop repeats, restore the order and name what is
missing. A message that comes before its turn is held until those before it have come. There is no time limit on that:
when the partition is read again, messages come faster than the first time, and a gap that was given up after ten seconds
then would be filled now, which would change the verdict. Limits that depend on the messages of the run alone bound what is
held instead: how many messages of a source, how many bytes of a source, and how many bytes of all sources of a run.
"""

from enum import Enum
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Arrival", "Gap", "SourceSequence"]

T = TypeVar("T")

# Messages of one source that are held at most; beyond either limit, the gap before them is given up.
MAX_EARLY = 256
MAX_EARLY_BYTES = 8 << 20
# Of all sources of a run: what is held becomes text of the run in one step when the run ends.
MAX_RUN_EARLY_BYTES = 32 << 20
# Gaps of one source that are listed one by one. Later ones are only counted, so that a source that loses every second
# message for a day cannot fill the memory, or its verdict.
MAX_GAPS = 256


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


class SourceSequence(Generic[T]):
    """The order of one source's messages. `T` is whatever is held for a message that comes early.

    The caller asks `arrival` how a message comes and then says what became of it: `advance` when the message is passed on,
    `hold` when it is early. After each `advance`, `pop_due` gives the message that was waiting for it, if there is one.
    """

    __slots__ = ("_early", "_early_bytes", "_first", "_gaps", "_next", "unlisted")

    def __init__(self, first: int | None = 0) -> None:
        """`first` is the number of the first message; None if the first one that comes decides."""
        self._first = first
        self._next = first or 0
        self._early: dict[int, tuple[T, int]] = {}
        self._early_bytes = 0
        self._gaps: list[Gap] = []
        self.unlisted = 0
        """Missing messages in gaps beyond `MAX_GAPS`."""

    @property
    def holds_early(self) -> bool:
        """Whether any message is held."""
        return bool(self._early)

    @property
    def early_bytes(self) -> int:
        """Size of what is held."""
        return self._early_bytes

    @property
    def overfull(self) -> bool:
        """Whether more is held than the limits allow, so that `give_up_gap` is due."""
        return len(self._early) > MAX_EARLY or self._early_bytes > MAX_EARLY_BYTES

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

    def advance(self, number: int) -> None:
        """The message with this number was passed on: the next one is expected."""
        if self._first is None:
            self._first = number
        self._next = number + 1

    def hold(self, number: int, message: T, size: int) -> None:
        """Keeps an early message, of `size` bytes; a repeated one is dropped."""
        if number not in self._early:
            self._early[number] = message, size
            self._early_bytes += size

    def pop_due(self) -> T | None:
        """The held message that is due now, removed; None if it has not come."""
        if self._next not in self._early:
            return None
        message, size = self._early.pop(self._next)
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
        return [message for _, (message, _) in sorted(self._early.items(), key=lambda item: item[0])]
