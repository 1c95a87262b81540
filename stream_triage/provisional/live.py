"""Open runs in; provisional verdicts while they go on, and those that are certain to fail.

A run is judged when something new came for it, and twice a second at most. Judging open runs takes a third of the worker's
time at most: with thousands of open runs each is judged less often, since final verdicts come first.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stream_triage.clock import Clock
from stream_triage.errors import internal_error_text
from stream_triage.pipeline import Session
from stream_triage.records import Verdict

__all__ = ["Live"]

log = logging.getLogger(__name__)

# Between two looks at one run.
LOOK_SECONDS: Final = 0.5
# After a look, no look for twice as long as it took: a third of the time at most.
REST: Final = 2.0


@dataclass
class _LiveRun:
    """What is known of an open run. Times are by `Clock.monotonic`."""

    looked: float = -LOOK_SECONDS
    published: float = 0.0
    label: str = ""
    """Label and version of the verdict that was published last."""
    version: int = -1
    certain_to_fail: bool = False


class Live:
    """Judges open runs now and then.

    A verdict is published `every_seconds` at most, and at once when the label changes. `publish` gets all verdicts of one
    look together. `stop` gets the verdict of each run that is certain to fail, once.
    """

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
        self._runs: dict[str, _LiveRun] = {}
        self._due: dict[str, float] = {}
        """Runs to look at, and the time before which not to."""
        self._resume = 0.0
        self._error_logged = False

    def came(self, run_ids: Collection[str]) -> None:
        """Something new came for these runs."""
        self._due.update(dict.fromkeys(run_ids, 0.0))

    def has_published(self, run_id: str) -> bool:
        """Whether the open run has had a verdict."""
        run = self._runs.get(run_id)
        return run is not None and run.version >= 0

    def over(self, run_id: str) -> None:
        """The run is no longer open."""
        self._runs.pop(run_id, None)
        self._due.pop(run_id, None)

    def look(self, sessions: Mapping[str, Session], finished: Callable[[Verdict], Verdict]) -> None:
        """Judges the runs whose turn it is; `finished` adds what the pipeline does not know, such as the time.

        A run that cannot be judged is skipped and raises nothing: the other runs must not suffer, and the run's own next
        step meets the error again and reports it.
        """
        began = self._clock.monotonic()
        if began < self._resume:
            return
        verdicts = []
        for run_id, not_before in list(self._due.items()):
            run = self._runs.setdefault(run_id, _LiveRun())
            session = sessions.get(run_id)
            if session is None or began < max(not_before, run.looked + LOOK_SECONDS):
                continue
            run.looked = began
            del self._due[run_id]
            try:
                verdict = session.peek()
            except Exception:  # noqa: S112 - the run's own step meets it again, and reports it
                continue
            newly_failing = not run.certain_to_fail and verdict.failed and self._certain_to_fail(session)
            news = self._news(run, finished(verdict), newly_failing, began)
            verdicts += news
            if not news and verdict.version != run.version:  # published when it is time, though nothing more may come
                self._due[run_id] = run.published + self._every_seconds
        if verdicts:
            self._publish(verdicts)
        self._resume = self._clock.monotonic() + REST * (self._clock.monotonic() - began)

    def _certain_to_fail(self, session: Session) -> bool:
        """False also when it cannot be said: no run may be stopped for an error, and its verdicts go on."""
        try:
            return session.certain_to_fail()
        except Exception as error:  # nothing else asks this, so nothing else would report it
            if not self._error_logged:
                log.warning("runs that are certain to fail are not reported: %s", internal_error_text(error))
            self._error_logged = True
            return False

    def _news(self, run: _LiveRun, verdict: Verdict, newly_failing: bool, now: float) -> list[Verdict]:
        """The verdict, if it is time for one, or its label changed, or the run has become certain to fail; else nothing."""
        run.certain_to_fail |= newly_failing
        due = verdict.label != run.label or now - run.published >= self._every_seconds
        if verdict.version == run.version or not (newly_failing or due):  # half a line more changes nothing
            return []
        run.published, run.label, run.version = now, verdict.label, verdict.version
        # The reduction is long, and people read it with the final verdict.
        verdict = verdict.model_copy(update={"lost": run.certain_to_fail, "reduction": ()})
        if newly_failing:
            self._stop(verdict)
        return [verdict]
