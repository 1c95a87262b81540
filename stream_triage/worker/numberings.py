"""Messages of one source with their numbers in; the numbering that each belongs to, and how it comes in it, out.

Most sources have one numbering. Another begins where a number comes again with other content: its sender has lost its state
and begins again, or two senders number alike. A sender can say so itself, with a new value of the header `seq.epoch`. Every
numbering is put in order by itself, so that no line is lost. What was decided depends on the messages and their order alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

from stream_triage.worker.early_budget import EarlyMessage
from stream_triage.worker.messages import Message
from stream_triage.worker.reread import NOTHING, Known, Reread, SourceLines
from stream_triage.worker.sequence import MAX_EARLY, MAX_EARLY_BYTES, Arrival, SourceSequence

__all__ = ["Numbering", "Numberings", "Place"]

# Numberings of one source that are kept; when there is one more, the one not used for longest is closed. A repeat of one of
# its messages would begin a numbering then.
MAX_NUMBERINGS = 16


class Numbering:
    """One numbering of a source."""

    __slots__ = ("epoch", "order", "reread", "sequence", "used")

    def __init__(self, epoch: str, order: int, first: int | None, reread: Reread | None) -> None:
        self.epoch = epoch
        self.order = order
        """How many numberings of the source began before it."""
        self.used = 0
        """When it last got a message, in messages of its source."""
        self.sequence: SourceSequence[EarlyMessage] = SourceSequence(first)
        self.reread = reread


class Place(NamedTuple):
    """How a message comes, and in which numbering."""

    arrival: Arrival
    numbering: Numbering


class _Restart(NamedTuple):
    """Messages of an epoch came again from number 0 on, up to this number. The sender may have begun to number again."""

    epoch: str
    next_number: int
    reread: Reread


class Numberings:
    """The numberings of one source of a run. `place` comes first for each message, then what `SourceSequence` asks for."""

    __slots__ = (
        "_born", "_closed_unlisted", "_current", "_first", "_kept", "_latest", "_restart", "_taken", "doubtful", "lines",
        "mixed", "repeated_bytes", "repeated_messages", "uncompared",
    )  # fmt: skip

    def __init__(self, first: int | None) -> None:
        """`first` is the number that a numbering begins with; None if the first message that comes decides."""
        self._first = first
        self._kept: list[Numbering] = []
        self._latest: Numbering | None = None
        """The one that got a message last."""
        self._current: Numbering | None = None
        """The one that the message belongs to that is being passed on."""
        self._born = self._taken = self._closed_unlisted = 0
        self._restart: _Restart | None = None
        self.lines = SourceLines()
        self.repeated_messages = self.repeated_bytes = 0
        """What was dropped because it had come before."""
        self.uncompared = 0
        """Of these, messages whose digests were not kept any more."""
        self.mixed = False
        """Messages of an earlier numbering came after a later one had begun."""
        self.doubtful = False
        """A numbering began within another one."""

    @property
    def restarts(self) -> int:
        """How many numberings began after the first one."""
        return max(0, self._born - 1)

    @property
    def text_may_be_doubled(self) -> bool:
        """Whether lines may have come twice, in other messages."""
        return self.doubtful or any(kept.reread is not None and kept.reread.differs for kept in self._kept)

    @property
    def unlisted(self) -> int:
        """Missing messages beyond the gaps that are listed one by one."""
        return self._closed_unlisted + sum(kept.sequence.unlisted for kept in self._kept)

    @property
    def overfull(self) -> bool:
        """Whether more early messages are held than one source may have."""
        early = [kept.sequence.early for kept in self._kept]
        return sum(count for count, _ in early) > MAX_EARLY or sum(size for _, size in early) > MAX_EARLY_BYTES

    @property
    def early_bytes(self) -> int:
        """Size of the early messages that are held."""
        return sum(kept.sequence.early[1] for kept in self._kept)

    def __iter__(self) -> Iterator[Numbering]:
        """In the order in which they began."""
        return iter(list(self._kept))

    def held(self) -> list[Message]:
        """All messages that wait for others."""
        return [early.message() for kept in self._kept for early in kept.sequence.held()]

    def place(self, message: Message) -> Place:
        """How a message comes, which must have a number. A repeat is counted here, and nothing more is to be done."""
        latest = self._latest
        if latest is not None and latest.epoch == message.epoch and latest.sequence.next_number == message.seq:
            return Place(Arrival.DUE, latest)  # as nearly all messages come
        place = self._place(message)
        if place.arrival is Arrival.REPEATED:
            self.drop(len(message.text or b""))
        elif place.arrival in (Arrival.DUE, Arrival.EARLY):
            self._use(place.numbering)
        return place

    def drop(self, size: int) -> None:
        """Counts a message that had come before."""
        self.repeated_messages += 1
        self.repeated_bytes += size

    def known(self, numbering: Numbering, text: bytes | None) -> Known:
        """How much of a message that is due in a numbering the source has from an earlier numbering."""
        self._current = numbering
        return NOTHING if numbering.reread is None or text is None else numbering.reread.known(text)

    def advance(self, message: Message) -> None:
        """A message was passed on. If it was not placed here, it began in the run before and decides where numbers begin."""
        assert message.seq is not None
        current = self._current
        if current is None or current.epoch != message.epoch:
            self._current = current = self._begin(message.epoch, message.seq, None)
            self._use(current)
        current.sequence.advance(message.seq, message.digest)

    def crowded(self) -> Numbering | None:
        """The numbering that must be closed because there are too many. What it holds is to be passed on before."""
        return min(self._kept, key=lambda kept: kept.used) if len(self._kept) > MAX_NUMBERINGS else None

    def close(self, numbering: Numbering) -> None:
        """Forgets a numbering that holds nothing."""
        self.doubtful = self.text_may_be_doubled
        self._closed_unlisted += numbering.sequence.unlisted
        self._kept.remove(numbering)
        self._latest = None if self._latest is numbering else self._latest

    def _place(self, message: Message) -> Place:
        number, epoch = message.seq, message.epoch
        assert number is not None
        same = sorted((kept for kept in self._kept if kept.epoch == epoch), key=lambda kept: -kept.used)
        if not same:
            return self._in_new_epoch(epoch, number)
        latest = same[0]
        arrival = latest.sequence.arrival(number)
        digests = [kept.sequence.digest(number) for kept in same]
        if message.digest in digests:
            self._note_restart(message, number)
            return Place(Arrival.REPEATED, latest)
        if due := next((kept for kept in same if kept.sequence.next_number == number), None):
            return Place(Arrival.DUE, due)
        if arrival is Arrival.REPEATED and digests[0] == 0:
            arrival = Arrival.GIVEN_UP  # in a gap that was only counted
        uncompared = arrival is Arrival.REPEATED and digests[0] is None
        self.uncompared += uncompared and not epoch  # a sender that names its numbering says that this is a repeat
        too_late = arrival is Arrival.GIVEN_UP or (arrival is Arrival.BEFORE_FIRST and len(same) == 1)
        early = arrival is Arrival.EARLY and not digests[0]
        if uncompared or too_late or early:
            return Place(arrival, latest)
        return self._again(epoch, number)  # a number that came before, with other content

    def _in_new_epoch(self, epoch: str, number: int) -> Place:
        reread = self._reread() if self._born else None
        numbering = self._begin(epoch, self._first, reread)
        return Place(numbering.sequence.arrival(number), numbering)

    def _again(self, epoch: str, number: int) -> Place:
        """Begins another numbering of an epoch, with a number that came before with other content."""
        restart, self._restart = self._restart, None
        if restart is not None and (restart.epoch, restart.next_number) == (epoch, number):
            reread: Reread | None = restart.reread
        else:
            # Within a numbering, nobody knows which text its sender repeats, if any.
            reread, self.doubtful = (self._reread(), self.doubtful) if number == 0 else (None, True)
        return Place(Arrival.DUE, self._begin(epoch, number, reread))

    def _reread(self) -> Reread:
        """A sender that begins anew with each message is reported for that, and must not take the time of others."""
        return Reread(self.lines, overlaps=self._born < MAX_NUMBERINGS)

    def _begin(self, epoch: str, first: int | None, reread: Reread | None) -> Numbering:
        numbering = Numbering(epoch, self._born, first, reread)
        self._born += 1
        self._kept.append(numbering)
        return numbering

    def _use(self, numbering: Numbering) -> None:
        self._taken += 1
        numbering.used, self._latest = self._taken, numbering
        self.mixed = self.mixed or numbering.order < self._born - 1

    def _note_restart(self, message: Message, number: int) -> None:
        restart = self._restart
        if number == 0:
            self._restart = restart = _Restart(message.epoch, 0, Reread(self.lines))
        if restart is not None and (restart.epoch, restart.next_number) == (message.epoch, number):
            restart.reread.known(message.text or b"")
            self._restart = restart._replace(next_number=number + 1)
