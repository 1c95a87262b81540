"""Marks of `forget` in; which runs of a partition are forgotten out.

A mark has the id that a verdict shows and an offset: it stands for every run with this id whose first message lies before
the offset, also one that is still open, was not read yet, or whose end is remembered nowhere. A run that begins later under
the same id is another one. So what is forgotten depends on marks and offsets alone, however often messages are read.
"""

import re
from collections.abc import Callable, Iterable

from stream_triage.records import ForgottenRun

__all__ = ["ForgottenRuns"]

# The id of a run of a key that was used before, see `EndedRuns.free_id`.
_LATER_RUN = re.compile(r"(.+)@[0-9]+(?:\.[0-9]+)?", re.DOTALL)


class ForgottenRuns:
    """The forgotten runs of one partition."""

    def __init__(self, marks: Iterable[ForgottenRun] = (), shown_id: Callable[[str], str] = str) -> None:
        """`shown_id` gives the id that a verdict shows, which has no identities."""
        self._shown_id = shown_id
        self._before: dict[str, int] = {}
        """By id of a mark, its offset."""
        self._keys: dict[str, int] = {}
        """The same by the key of the runs, as it is shown: an id is a key, or a key, `@` and an offset."""
        self._began: dict[str, int] = {}
        """By id of a run that is open, or whose verdict is not durable yet, the offset of its first message."""
        self.ids: set[str] = set()
        """Ids of these runs that are forgotten."""
        self.add(marks)

    def add(self, marks: Iterable[ForgottenRun]) -> list[str]:
        """Takes new marks; returns the ids of runs that are open or not durable and forgotten from now on."""
        for run_id, before in marks:
            self._before[run_id] = max(before, self._before.get(run_id, 0))
            key = _LATER_RUN.fullmatch(run_id)
            for name in (run_id, key[1]) if key else (run_id,):
                self._keys[name] = max(before, self._keys.get(name, 0))
        new = [run_id for run_id, first in self._began.items() if run_id not in self.ids and self.includes(run_id, first)]
        self.ids.update(new)
        return new

    def begin(self, run_id: str, first: int) -> None:
        """A run begins with the message at this offset."""
        self._began[run_id] = first
        if self.includes(run_id, first):
            self.ids.add(run_id)

    def over(self, run_id: str) -> None:
        """The verdict of a run is durable, or the run was removed from all sinks."""
        self._began.pop(run_id, None)
        self.ids.discard(run_id)

    def includes(self, run_id: str, first: int) -> bool:
        """Whether the run that began at this offset is forgotten."""
        return bool(self._before) and first < self._before.get(self._shown_id(run_id), 0)

    def includes_id(self, shown_id: str) -> bool:
        """Whether a run was forgotten whose verdict shows this id."""
        return shown_id in self._before

    def includes_message(self, key: str, offset: int) -> bool:
        """Whether a run of this key was forgotten after the message at this offset came.

        Which run a rejected message came too late for is not known, so those of all runs of the key count.
        """
        return bool(self._keys) and offset < self._keys.get(self._shown_id(key), 0)
