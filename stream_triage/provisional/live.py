"""Open runs in; provisional verdicts while they go on, and word of those that are surely lost.

A run is looked at when something came for it, twice a second at most, and all looks together take a third of the worker's
time at most: with thousands of open runs they become rarer, and final verdicts come first.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stream_triage.clock import Clock
from stream_triage.pipeline import Session
from stream_triage.records import Verdict

__all__ = ["Live"]

LOOK_SECONDS: Final = 0.5
# Looking is followed by twice as long without it.
REST: Final = 2.0


@dataclass
class _Known:
    looked: float = -LOOK_SECONDS
    told: float = 0.0
    label: str = ""
    version: int = -1
    lost: bool = False


class Live:
    """`publish` gets the provisional verdicts of a look at once; `stop` each run once, when it is surely lost."""

    def __init__(
        self,
        every_seconds: float,
        publish: Callable[[Sequence[Verdict]], None],
        clock: Clock,
        stop: Callable[[Verdict], None] = lambda verdict: None,
    ) -> None:
        self._every_seconds = every_seconds
        self._publish = publish
        self._clock = clock
        self._stop = stop
        self._known: dict[str, _Known] = {}
        self._fresh: dict[str, float] = {}
        """Runs with news, and not before when to look."""
        self._resume = 0.0

    def came(self, run_ids: Collection[str]) -> None:
        """There is something new for these runs."""
        self._fresh.update(dict.fromkeys(run_ids, 0.0))

    def over(self, run_id: str) -> None:
        self._known.pop(run_id, None)
        self._fresh.pop(run_id, None)

    def look(self, sessions: Mapping[str, Session], finished: Callable[[Verdict], Verdict]) -> None:
        """At those whose turn it is; `finished` adds what the edge knows."""
        began = self._clock.monotonic()
        if began < self._resume:
            return
        verdicts = []
        for run_id, not_before in list(self._fresh.items()):
            known = self._known.setdefault(run_id, _Known())
            session = sessions.get(run_id)
            if session is None or began < max(not_before, known.looked + LOOK_SECONDS):
                continue
            known.looked = began
            del self._fresh[run_id]
            try:
                verdict = session.peek()
            except Exception:  # noqa: S112 - the run's own step meets it again, and says so
                continue
            news = self._news(known, session, finished(verdict), began)
            verdicts += news
            if not news and verdict.version != known.version:  # to be told when it is time, though nothing more may come
                self._fresh[run_id] = known.told + self._every_seconds
        if verdicts:
            self._publish(verdicts)
        self._resume = self._clock.monotonic() + REST * (self._clock.monotonic() - began)

    def _news(self, known: _Known, session: Session, verdict: Verdict, now: float) -> list[Verdict]:
        """The verdict, if it is time for one, or another label than before, or a run that is lost now."""
        lost_now = not known.lost and not verdict.passed and session.certain_to_fail()
        known.lost |= lost_now
        due = verdict.label != known.label or now - known.told >= self._every_seconds
        if verdict.version == known.version or not (lost_now or due):  # half a line more is no news
            return []
        known.told, known.label, known.version = now, verdict.label, verdict.version
        # What people read of a run comes with its final verdict.
        verdict = verdict.model_copy(update={"lost": known.lost, "reduction": ()})
        if lost_now:
            self._stop(verdict)
        return [verdict]
