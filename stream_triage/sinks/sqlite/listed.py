"""Rows of the store in; what lists show of runs, test cases, test beds and templates out."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from stream_triage.records import Anomaly, Evidence
from stream_triage.sinks.sqlite.buckets import Bucket, Unit
from stream_triage.sinks.sqlite.filters import Place
from stream_triage.sinks.sqlite.schema import stored_run

__all__ = ["Choices", "Counts", "Group", "GroupTotals", "ListedRun", "Outcome", "SeenTemplate", "listed_run"]

_Record = TypeVar("_Record", Evidence, Anomaly)


class ListedRun(NamedTuple):
    """A row of a list: what `StoredRun` has, the headers that lists show, and what to look at first."""

    run_id: str
    time: datetime
    label: str
    passed: bool
    confidence: float
    needs_review: bool
    anomalous: bool
    anomaly_score: float
    lines: int
    bundle: str
    version: int
    final: bool
    content: str
    row: int
    case: str
    bed: str
    build: str
    team: str
    cause: str
    why: str
    first_reason: str
    """Why a review is needed."""
    first_evidence: Evidence | None
    first_anomaly: Anomaly | None

    @property
    def place(self) -> Place:
        """Where the list goes on."""
        return Place(self.time, self.row)


class Counts(NamedTuple):
    """How many runs a filter finds: exactly, by label, and over time. Buckets without a run are there, too."""

    total: int
    labels: dict[str, int]
    unit: Unit
    buckets: list[Bucket]


class Choices(NamedTuple):
    """Values that stored runs have, the most frequent ones, each with its number of runs."""

    labels: dict[str, int]
    causes: dict[str, int]
    teams: dict[str, int]
    beds: dict[str, int]
    cases: dict[str, int]
    builds: dict[str, int]


class Outcome(NamedTuple):
    """The result of one run of a test case or on a test bed."""

    run_id: str
    time: datetime
    label: str
    passed: bool
    needs_review: bool
    build: str


class GroupTotals(NamedTuple):
    """How many runs a test case has, or a test bed."""

    name: str
    runs: int
    passed: int
    unknown: int
    first: datetime
    last: datetime

    @property
    def pass_rate(self) -> float | None:
        """Passed runs of all that have passed or failed; None if there is none."""
        judged = self.runs - self.unknown
        return self.passed / judged if judged else None


class Group(NamedTuple):
    """The runs of a test case, or those on a test bed."""

    totals: GroupTotals
    recent: list[Outcome]
    """The newest final ones, up to 20, newest first."""
    days: list[Bucket]
    """Runs by day, without the days that have none."""


class SeenTemplate(NamedTuple):
    """A template that runs showed as an anomaly or as evidence."""

    key: str
    first: datetime
    last: datetime
    runs: int
    anomalies: int
    """Runs in which it was an anomaly."""
    text: str
    """As the newest of these runs has it: a line, or the template itself if it never came."""
    labels: dict[str, int]
    """Labels of these runs, the most frequent one first."""
    days: list[Bucket]
    """The newer ones of these runs by day and label, without the days that have none."""


def listed_run(row: Sequence[Any]) -> ListedRun:
    """A row of the query of `RunLists`."""
    *stored, number, case, bed, build, team, cause, parts = row
    why, reason, evidence, anomaly = json.loads(parts)
    run = stored_run(stored)
    return ListedRun(
        *run,  # type: ignore[arg-type]  # a stored run has a time
        number,
        case,
        bed,
        build,
        team,
        cause,
        why or "",
        reason or "",
        _record(Evidence, evidence),
        _record(Anomaly, anomaly),
    )


def _record(kind: type[_Record], stored: Any) -> _Record | None:
    """None too for one that a later release wrote with more fields: a list is shown without it."""
    try:
        return kind.model_validate(stored) if stored else None
    except ValidationError:
        return None
