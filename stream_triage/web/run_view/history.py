"""Runs of one test case in; a strip of the last ones, and what they say together, out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise, takewhile
from typing import Final, Protocol

from stream_triage.records import UNKNOWN
from stream_triage.web.run_view.links import RunLinks

__all__ = ["HistoryView", "PastRun", "PastRunView", "history_view", "state_of"]

RUNS_SHOWN: Final = 20
# So many changes between passing and failing among the last runs are no repair and no new fault.
_UNSTABLE_CHANGES: Final = 3
_UNSTABLE_RUNS: Final = 10


class PastRun(Protocol):
    """What is needed of a stored run of the same test case. Rows of the store fit."""

    @property
    def run_id(self) -> str:
        """Its id."""

    @property
    def time(self) -> datetime | None:
        """When it was judged."""

    @property
    def label(self) -> str:
        """Of its verdict."""

    @property
    def passed(self) -> bool:
        """Whether that is the passing one."""

    @property
    def needs_review(self) -> bool:
        """Whether the verdict needs a review."""

    @property
    def build(self) -> str:
        """The build under test; empty if no one said."""


@dataclass(frozen=True)
class PastRunView:
    """A run in the strip."""

    run_id: str
    label: str
    passed: bool
    sign: str
    """What stands in its field: a tick for a run that passed, else its label."""
    tip: str
    href: str
    current: bool


@dataclass(frozen=True)
class HistoryView:
    """The last runs of a test case."""

    case: str
    state: str
    """`new`, `passing`, `fixed`, `failing` or `unstable`; empty if the verdict of this run says neither."""
    words: str
    runs: tuple[PastRunView, ...]
    """Oldest first."""


def history_view(case: str, this: PastRun, earlier: Sequence[PastRun], links: RunLinks | None = None) -> HistoryView:
    """The strip that ends with this run.

    Args:
        case: The test case.
        this: The run that is shown.
        earlier: Earlier runs of the same test case with a final verdict, in any order; this one may be among them.
        links: Of the server.
    """
    # The oldest time stands for an unknown one.
    past = sorted(
        (run for run in earlier if run.run_id != this.run_id), key=lambda run: run.time.timestamp() if run.time else 0.0
    )
    state, words = state_of([*past, this])
    return HistoryView(
        case=case,
        state=state,
        words=words,
        runs=tuple(_field(run, this, links) for run in [*past, this][-RUNS_SHOWN:]),
    )


def state_of(runs: Sequence[PastRun]) -> tuple[str, str]:
    """In one word and in a short sentence: what the runs of a test case say, oldest first; the last one is at hand."""
    told = [run for run in runs if run.label != UNKNOWN]
    if not told or told[-1] is not runs[-1]:
        return "", "this run could not be told, so it says nothing about the test case"
    last = told[-1]
    if len(told) == 1:
        return "new", "no earlier run of this test case is stored"
    recent = told[-_UNSTABLE_RUNS:]
    changes = sum(one.passed != other.passed for one, other in pairwise(recent))
    if changes >= _UNSTABLE_CHANGES:
        return "unstable", f"unstable: changed {changes} times between passing and failing in the last {len(recent)} runs"
    alike = list(takewhile(lambda run: run.passed == last.passed, reversed(told)))
    before = told[-len(alike) - 1] if len(alike) < len(told) else None
    if last.passed:
        if before is not None and len(alike) == 1:
            return "fixed", f"fixed: the run before had the label {before.label}"
        return "passing", f"passing: {len(alike)} runs in a row"
    return "failing", _failing(alike, before)


def _failing(alike: Sequence[PastRun], before: PastRun | None) -> str:
    """`alike` are the failing runs, the newest first; `before` is the passing one before them."""
    first = alike[-1]
    if before is None:
        return f"failing: in all {len(alike)} stored runs"
    since = f"since build {first.build}" if first.build and first.build != before.build else "since " + _day(first.time)
    labels = {run.label for run in alike}
    changed = f"; the label was {alike[1].label} before" if len(labels) > 1 and alike[1].label != alike[0].label else ""
    if len(alike) == 1:
        return f"failing {since}: the run before passed"
    return f"failing {since}: {len(alike)} runs in a row{changed}"


def _day(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d}" if time else "the last run that passed"


def _field(run: PastRun, this: PastRun, links: RunLinks | None) -> PastRunView:
    build = f", build {run.build}" if run.build else ""
    review = ", needs review" if run.needs_review else ""
    current = run.run_id == this.run_id
    return PastRunView(
        run_id=run.run_id,
        label=run.label,
        passed=run.passed,
        sign="✓" if run.passed else ("?" if run.label == UNKNOWN else run.label),
        tip=f"{run.label}{review}, {run.time:%Y-%m-%d %H:%M}{build}" if run.time else f"{run.label}{review}{build}",
        href=links.run(run.run_id) if links and not current else "",
        current=current,
    )
