"""Origins of messages that `replay-dead` sent in; whether a run has taken such a message before out.

The same rejected message can come several times: a `replay-dead` that was killed sends what it had sent again, and two
people may call it at once. A run takes each origin once.
"""

from stream_triage.records import split_origin

__all__ = ["ReplayedOrigins"]

# Offsets of one partition that a run remembers one by one, about 6 MB. `replay-dead` sends them in their order, so what lies
# below the lowest of more than these counts as taken.
MAX_REMEMBERED = 100_000


class ReplayedOrigins:
    """The origins that one run has taken, by `topic/partition`."""

    def __init__(self) -> None:
        self._taken: dict[str, set[int]] = {}
        self._below: dict[str, int] = {}
        """Offsets below these count as taken."""

    def add(self, origin: str) -> None:
        """The run takes the message of this origin."""
        if found := split_origin(origin):
            place, offset = found
            taken = self._taken.setdefault(place, set())
            taken.add(offset)
            if len(taken) > MAX_REMEMBERED:
                order = sorted(taken)
                self._below[place] = order[len(order) // 2]
                self._taken[place] = set(order[len(order) // 2 :])

    def includes(self, origin: str) -> bool:
        """Whether the run has taken it."""
        found = split_origin(origin)
        if not (found and self._taken):
            return False
        place, offset = found
        return offset < self._below.get(place, 0) or offset in self._taken.get(place, ())

    @property
    def highest(self) -> tuple[tuple[str, int], ...]:
        """By place, the highest offset."""
        return tuple((place, max(offsets)) for place, offsets in sorted(self._taken.items()))
