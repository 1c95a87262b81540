"""Dead letters of a partition in; which of them are new out, and which messages were rejected before.

A message is dead-lettered once, whatever restarts: the names of its dead letters are in the run log as soon as they are
durable. A message that was unusable then is skipped when it is read again, also if the settings have changed since: its dead
letter is the way back, and `replay-dead` sends it. If it were taken now, its lines would come twice.
"""

from collections.abc import Iterable

from stream_triage.records import DeadLetter, RejectedMessages, split_origin

__all__ = ["Rejections"]

# Names that are remembered of one partition, about 10 MB. Those beyond it, the oldest, count as unknown.
MAX_REMEMBERED = 100_000


class Rejections:
    """The rejected messages of one partition."""

    def __init__(self, recorded: Iterable[RejectedMessages] = ()) -> None:
        """`recorded` are those whose dead letters are durable, from earlier lives of the worker."""
        self._known: dict[str, bool] = {}
        """By name of a dead letter, whether its message was unusable."""
        self._found_unusable: set[str] = set()
        self._new: list[str] = []
        self._unknown_up_to: dict[str, int] = {}
        """By place, `topic/partition`, the highest offset of a name that is no longer remembered."""
        for messages in recorded:
            self._known.update(dict.fromkeys(messages.unusable, True))
            self._known.update(dict.fromkeys(messages.others, False))
            self._limit()  # after each, since a flood of rejected messages may have left millions

    def __bool__(self) -> bool:
        return bool(self._known)

    def was_unusable(self, name: str) -> bool:
        """Whether a message, by the name of its dead letter, was rejected before as one that cannot be used."""
        return self._known.get(name, False)

    def found_unusable(self, letter: DeadLetter) -> DeadLetter:
        """The message of this letter cannot be used; returns the letter, which `keep` must get next."""
        self._found_unusable.add(letter.name)
        return letter

    def rules_out(self, origin: str) -> bool:
        """Whether there is certainly no dead letter of the message at this place: `topic/partition/offset`."""
        if origin in self._known:
            return False
        place, _, offset = origin.rpartition("/")
        return int(offset) > self._unknown_up_to.get(place, -1)

    def keep(self, letter: DeadLetter) -> bool:
        """Takes a letter that is about to be kept; false if it was kept before."""
        unusable = letter.name in self._found_unusable
        self._found_unusable.discard(letter.name)
        if letter.name in self._known:
            return False
        self._known[letter.name] = unusable
        self._new.append(letter.name)
        self._limit()
        return True

    def take_new(self) -> RejectedMessages:
        """What was kept since the last call, to be recorded once the letters are durable."""
        new, self._new = self._new, []
        unusable = tuple(name for name in new if self.was_unusable(name))
        return RejectedMessages(unusable, tuple(name for name in new if not self.was_unusable(name)))

    def _limit(self) -> None:
        while len(self._known) > MAX_REMEMBERED:
            name = next(iter(self._known))
            del self._known[name]
            if found := split_origin(name.partition("+")[0]):
                place, offset = found
                self._unknown_up_to[place] = max(offset, self._unknown_up_to.get(place, -1))
