"""Ended runs of a partition in; which messages are theirs, which ids are used, and where a run must end again out.

What is remembered of ended runs makes it safe to read messages again. A recorded run that began before the first offset read
is durable: positions never pass the first message of another run. Its messages are skipped. Other recorded runs are read
again and end where they ended the first time.
"""

import math
from collections.abc import Container, Iterable

from stream_triage.records import ClosedRun

__all__ = ["EndedRuns"]

# Keys whose last run is remembered; the oldest are forgotten, and a late line then begins a new run.
MAX_ENDED = 50_000


class EndedRuns:
    """The ended runs of one partition. `begin_reading` comes first."""

    def __init__(self, recorded: Iterable[ClosedRun] = ()) -> None:
        """`recorded` are runs that ended in earlier lives, in any order."""
        self._last: dict[str, list[ClosedRun]] = {}
        """By key, the last run that ended, and those before it that share messages with it."""
        self._durable_end: dict[str, tuple[int, float]] = {}
        """By key, where its last durable run ended: offset, and pieces of that message."""
        self._recorded: dict[str, list[ClosedRun]] = {}
        """By key, the runs that are read again, in order."""
        self._replayed: dict[str, list[ClosedRun]] = {}
        """By key, its ended runs that have taken replayed messages; those before the last one are merged into one."""
        # Runs that ended at the same message stay in the order in which they ended.
        for run in sorted(recorded, key=lambda run: run.end):
            self._recorded.setdefault(run.key, []).append(run)

    def begin_reading(self, offset: int) -> None:
        """Messages are read from this offset on."""
        for key, runs in list(self._recorded.items()):
            for run in runs:
                if run.first < offset:
                    self.add(run)
                    if run.last >= offset:
                        self._durable_end[key] = run.end
            self._recorded[key] = [run for run in runs if run.first >= offset]
            if not self._recorded[key]:
                del self._recorded[key]

    def covers(self, key: str, offset: int) -> bool:
        """Whether all of a message is done with: it is part of a durable run, or was rejected because that run had ended."""
        return (offset, math.inf) <= self._durable_end.get(key, (-1, 0))

    def covers_piece(self, key: str, offset: int, piece: int) -> bool:
        """Whether this piece of a message is done with; pieces count from 0."""
        return (offset, piece) < self._durable_end.get(key, (-1, 0))

    def last(self, key: str) -> ClosedRun | None:
        """The run of this key that ended last."""
        runs = self._last.get(key)
        return runs[-1] if runs else None

    def free_id(self, key: str, offset: int) -> str:
        """The id of the next run of this key, whose first message is at this offset."""
        return _free_id(key, offset, {run.run_id for run in self._last.get(key, [])})

    def recorded(self, key: str, run_id: str) -> ClosedRun | None:
        """Where a run ended the first time, if it is read again."""
        return next((run for run in self._recorded.get(key, []) if run.run_id == run_id), None)

    def has_replayed(self, key: str, place: str, origin: int, offset: int) -> bool:
        """Whether a run of this key that ended before the message at `offset` has taken its origin, or a later one."""
        return any(
            origin <= highest
            for run in self._replayed.get(key, ())
            if run.last < offset
            for taken_at, highest in run.replayed
            if taken_at == place
        )

    def add(self, run: ClosedRun) -> None:
        """The run has ended and is the last one of its key."""
        if run.replayed:
            self._replayed[run.key] = _merged([*self._replayed.get(run.key, []), run])
        # Earlier runs that share messages with it are kept: a later run of these messages must not get their ids.
        sharing = [earlier for earlier in self._last.pop(run.key, []) if earlier.last >= run.first]
        self._last[run.key] = [*sharing, run]
        if len(self._last) > MAX_ENDED:
            oldest = next(iter(self._last))
            del self._last[oldest]
            self._replayed.pop(oldest, None)

    def add_again(self, run: ClosedRun) -> None:
        """A recorded run was read again and has ended."""
        self._recorded[run.key].remove(run)
        self.add(run)


def _merged(runs: list[ClosedRun]) -> list[ClosedRun]:
    """The last run, with those that share messages with it, and one that stands for all runs before them."""
    shared = [run for run in runs if run.last >= runs[-1].first]
    before = [run for run in runs if run.last < runs[-1].first]
    if not before:
        return shared
    highest: dict[str, int] = {}
    for place, offset in (taken for run in before for taken in run.replayed):
        highest[place] = max(offset, highest.get(place, -1))
    last = max(run.last for run in before)
    return [before[-1]._replace(last=last, replayed=tuple(highest.items())), *shared]


def _free_id(key: str, offset: int, taken: Container[str]) -> str:
    """The key itself; if the key was used, with the offset of the run's first message, and a number where that was used.

    The id depends on offsets alone, so that a run that is read again gets it again.

    >>> _free_id("a", 7, []), _free_id("a", 7, ["a"]), _free_id("a", 7, ["a", "a@7"])
    ('a', 'a@7', 'a@7.1')
    """
    if not taken:
        return key
    number, run_id = 0, f"{key}@{offset}"
    while run_id in taken:
        number += 1
        run_id = f"{key}@{offset}.{number}"
    return run_id
