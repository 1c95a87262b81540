"""What a user wants to see in; a condition on the table `listing` out."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import NamedTuple

from stream_triage.sinks.sqlite.schema import LINE_BITS, match_words, storable, utc

__all__ = ["Place", "RunFilter"]

_COLUMNS = {"cause": "cause", "team": "team", "bed": "testbed", "case": "test_case", "build": "build"}
_FLAGS = {"anomalous": "anomalous", "review": "needs_review", "open": "NOT final"}


@dataclass(frozen=True)
class RunFilter:
    """Which runs a list has: those that meet all of what is set."""

    labels: tuple[str, ...] = ()
    cause: str = ""
    team: str = ""
    bed: str = ""
    case: str = ""
    build: str = ""
    anomalous: bool = False
    review: bool = False
    open: bool = False
    """Only provisional verdicts, of runs that have not ended."""
    since: datetime | None = None
    until: datetime | None = None
    """Excluded."""
    words: str = ""
    """Found in one kept line of the run, all of them, or in the id of the run, as they are."""
    key: str = ""
    """A template key that the run shows as an anomaly or as evidence."""

    @property
    def any(self) -> bool:
        """Whether anything is set."""
        return any(getattr(self, field.name) for field in fields(self))

    def condition(self) -> tuple[str, list[object]]:
        """A condition on the table `listing`, and its values."""
        parts = [("1",), *self._header_parts(), *self._other_parts()]
        return " AND ".join(str(part) for part, *_ in parts), [value for _, *values in parts for value in values]

    def _header_parts(self) -> Iterator[tuple[object, ...]]:
        if self.labels:
            yield f"label IN ({', '.join('?' * len(self.labels))})", *map(storable, self.labels)
        for name, column in _COLUMNS.items():
            if value := getattr(self, name):
                yield f"{column} = ?", storable(value)
        for name, flag in _FLAGS.items():
            if getattr(self, name):
                yield (flag,)

    def _other_parts(self) -> Iterator[tuple[object, ...]]:
        for time, compared in ((self.since, ">="), (self.until, "<")):
            if time:
                yield f"time {compared} ?", utc(time)
        if self.key:
            yield "run IN (SELECT run FROM seen WHERE key = ?)", storable(self.key)
        if words := self.words.strip():
            yield (
                f"(run IN (SELECT rowid >> {LINE_BITS} FROM lines WHERE lines MATCH ?)"
                " OR run IN (SELECT id FROM runs WHERE instr(lower(run_id), lower(?))))",
                match_words(words),
                storable(words),
            )


class Place(NamedTuple):
    """Where a page of a list begins: behind this run."""

    time: datetime
    run: int
