"""Filters in; lists of stored runs, numbers of runs over time, and what is known of test cases, test beds and templates out.

Everything here reads. Lists are newest first, as everywhere.
"""

import json
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

from stream_triage.clients.sqlite import Database
from stream_triage.records import CANARY, UNKNOWN
from stream_triage.sinks.sqlite.buckets import Bucket, bucketed, buckets, unit_for
from stream_triage.sinks.sqlite.filters import Place, RunFilter
from stream_triage.sinks.sqlite.listed import (
    Choices,
    Counts,
    Group,
    GroupTotals,
    ListedRun,
    Outcome,
    SeenTemplate,
    listed_run,
)
from stream_triage.sinks.sqlite.schema import COLUMNS, storable, utc

__all__ = ["Grouping", "RunLists"]

# Values of a filter that are offered to choose from.
MOST_CHOICES: Final = 300
# Runs of a group that its row shows.
GROUP_RUNS: Final = 20

Grouping = Literal["test_case", "testbed"]


class RunLists:
    """Lists of the runs of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def state(self) -> int:
        """Another number after each change by another process or another object; costs next to nothing."""
        return int(self._database.ask("PRAGMA data_version")[0][0])

    def page(self, wanted: RunFilter, *, after: Place | None = None, limit: int = 50) -> list[ListedRun]:
        """The newest runs that the filter finds, or those behind a place."""
        condition, values = wanted.condition()
        if after:
            condition += " AND (time, run) < (?, ?)"
            values += [utc(after.time), after.run]
        return self._listed(f"WHERE {condition} ORDER BY time DESC, run DESC LIMIT ?", *values, limit)

    def counts(self, wanted: RunFilter) -> Counts:
        """How many runs the filter finds."""
        condition, values = wanted.condition()
        days = self._database.ask(
            f"SELECT substr(time, 1, 10), label, count(*) FROM listing WHERE {condition} GROUP BY 1, 2", *values
        )
        unit = unit_for({day for day, _, _ in days})
        rows = days
        if unit == "hour":
            rows = self._database.ask(
                f"SELECT substr(time, 1, 13), label, count(*) FROM listing WHERE {condition} GROUP BY 1, 2", *values
            )
        labels: dict[str, int] = {}
        for _, label, number in rows:
            labels[label] = labels.get(label, 0) + number
        return Counts(sum(labels.values()), labels, unit, buckets(rows, unit))

    def labels(self, wanted: RunFilter) -> dict[str, int]:
        """How many runs of each label the filter finds, whatever labels it names."""
        condition, values = replace(wanted, labels=()).condition()
        return dict(self._database.ask(f"SELECT label, count(*) FROM listing WHERE {condition} GROUP BY 1", *values))

    def choices(self) -> Choices:
        """What the values of filters may be."""
        columns = ("label", "cause", "team", "testbed", "test_case", "build")
        return Choices(*map(self._values_of, columns))

    def groups(
        self, by: Grouping, *, words: str = "", order: Literal["attention", "name", "newest"] = "attention"
    ) -> list[GroupTotals]:
        """Test cases or test beds with their numbers of runs.

        Runs of the canary and those without the header are left out.

        Args:
            by: What one group is.
            words: Only groups whose name contains this.
            order: By name, by the time of the newest run, or those first whose newest run did not pass.
        """
        orders = {"name": f"{by} COLLATE NOCASE, {by}", "newest": "newest DESC", "attention": "passing, newest DESC"}
        # All times have the same length, so the greatest of these texts is that of the newest run.
        newest = "max(time || passed)"
        rows = self._database.ask(
            f"SELECT {by}, count(*), sum(passed), sum(label = ?), min(time), {newest} AS newest, "
            f"substr({newest}, -1) AS passing FROM listing "
            f"WHERE {by} != '' AND test_case != ? AND instr(lower({by}), lower(?)) "
            f"GROUP BY {by} ORDER BY {orders[order]}",
            UNKNOWN,
            CANARY,
            storable(words),
        )
        return [
            GroupTotals(name, runs, passed, unknown, datetime.fromisoformat(first), datetime.fromisoformat(last[:-1]))
            for name, runs, passed, unknown, first, last, _ in rows
        ]

    def group(self, by: Grouping, totals: GroupTotals, since: datetime) -> Group:
        """The same group with its newest runs, and its days from one on."""
        condition, values = f"l.{by} = ? AND l.test_case != ?", (storable(totals.name), CANARY)
        recent = self._database.ask(
            "SELECT runs.run_id, l.time, l.label, l.passed, l.needs_review, l.build FROM listing AS l "
            f"JOIN runs ON runs.id = l.run WHERE {condition} AND l.final "
            f"ORDER BY l.time DESC, l.run DESC LIMIT {GROUP_RUNS}",
            *values,
        )
        days = self._database.ask(
            f"SELECT substr(time, 1, 10), label, count(*) FROM listing AS l WHERE {condition} AND time >= ? GROUP BY 1, 2",
            *values,
            utc(since),
        )
        outcomes = [
            Outcome(run_id, datetime.fromisoformat(time), label, bool(passed), bool(review), build)
            for run_id, time, label, passed, review, build in recent
        ]
        return Group(totals, outcomes, bucketed(days, "day"))

    def history(self, run: ListedRun, *, limit: int = 30) -> list[ListedRun]:
        """The newest runs of the same test case before this one, with a final verdict."""
        return self._earlier(run, "final", limit)

    def last_pass(self, run: ListedRun) -> ListedRun | None:
        """The newest run of the same test case before this one that passed, with a final verdict."""
        return next(iter(self._earlier(run, "final AND passed", 1)), None)

    def newest(self, case: str) -> ListedRun | None:
        """The newest run of a test case."""
        return next(iter(self.page(RunFilter(case=case), limit=1)), None) if case else None

    def _earlier(self, run: ListedRun, condition: str, limit: int) -> list[ListedRun]:
        if not run.case:
            return []
        order = "ORDER BY time DESC, run DESC LIMIT ?"
        values = (storable(run.case), utc(run.time), run.row, limit)
        return self._listed(f"WHERE test_case = ? AND {condition} AND (time, run) < (?, ?) {order}", *values)

    def similar(self, run: ListedRun, *, limit: int = 10) -> tuple[list[ListedRun], int]:
        """Earlier runs with the same label and the same strongest evidence, and how many there are in all."""
        condition = (
            "WHERE label = ? AND failure != '' AND failure = (SELECT failure FROM listing WHERE run = ?) "
            "AND (time, run) < (?, ?)"
        )
        values = (run.label, run.row, utc(run.time), run.row)
        (count,) = self._database.ask(f"SELECT count(*) FROM listing {condition}", *values)[0]
        found = self._listed(f"{condition} ORDER BY time DESC, run DESC LIMIT ?", *values, limit) if count else []
        return found, count

    def find(self, run_id: str) -> ListedRun | None:
        """The run with exactly this id."""
        found = self._listed("WHERE run = (SELECT id FROM runs WHERE run_id = ?)", storable(run_id))
        return found[0] if found else None

    def templates(
        self,
        since: datetime,
        *,
        anomalies: bool = False,
        after: int = 0,
        limit: int = 50,
        order: Literal["newest", "first"] = "newest",
    ) -> tuple[list[SeenTemplate], int]:
        """Templates that runs showed, and how many there are.

        Args:
            since: From when on they are counted by day.
            anomalies: Only those that were an anomaly in some run.
            after: How many to leave out.
            limit: How many to return.
            order: By the time when they were last seen, or first seen; the newest come first.
        """
        having = "HAVING max(anomaly)" if anomalies else ""
        rows = self._database.ask(
            f"SELECT key, min(time), max(time), count(*), sum(anomaly), count(*) OVER () FROM seen GROUP BY key {having} "
            f"ORDER BY {'max' if order == 'newest' else 'min'}(time) DESC, key LIMIT ? OFFSET ?",
            limit,
            after,
        )
        templates = [
            SeenTemplate(
                key,
                datetime.fromisoformat(first),
                datetime.fromisoformat(last),
                runs,
                anomalous,
                self._text_of(key),
                self._labels_of(key),
                self._days_of(key, since),
            )
            for key, first, last, runs, anomalous, _ in rows
        ]
        return templates, rows[0][5] if rows else 0

    def _values_of(self, column: str) -> dict[str, int]:
        most = f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST_CHOICES}"
        query = f"SELECT {column}, count(*) FROM listing WHERE {column} != '' {most}"
        return dict(self._database.ask(query))

    def _labels_of(self, key: str) -> dict[str, int]:
        query = "SELECT label, count(*) FROM seen WHERE key = ? GROUP BY 1 ORDER BY 2 DESC, 1"
        return dict(self._database.ask(query, key))

    def _days_of(self, key: str, since: datetime) -> list[Bucket]:
        query = "SELECT substr(time, 1, 10), label, count(*) FROM seen WHERE key = ? AND time >= ? GROUP BY 1, 2"
        return bucketed(self._database.ask(query, key, utc(since)), "day")

    def _text_of(self, key: str) -> str:
        """What the newest run that shows the key says there."""
        rows = self._database.ask(
            "SELECT json_extract(verdict, '$.anomalies'), json_extract(verdict, '$.evidence') FROM runs "
            "WHERE json_valid(verdict) AND id = (SELECT run FROM seen WHERE key = ? ORDER BY time DESC LIMIT 1)",
            key,
        )
        for part in rows[0] if rows else ():
            for item in json.loads(part or "[]"):
                if item["key"] == key and (text := item.get("text") or item.get("expected")):
                    return str(text)
        return ""

    def _listed(self, condition: str, *values: object) -> list[ListedRun]:
        """Runs by a condition on `listing`. Whole verdicts are only read for these rows."""
        columns = ", ".join(f"runs.{name}" for name in COLUMNS.split(", "))
        about = "l.run, l.test_case, l.testbed, l.build, l.team, l.cause"
        parts = "'$.why', '$.review_reasons[0]', '$.evidence[0]', '$.anomalies[0]'"
        told = f"CASE WHEN json_valid(verdict) THEN json_extract(verdict, {parts}) ELSE '[null, null, null, null]' END"
        rows = self._database.ask(
            f"SELECT {columns}, {about}, {told} "
            f"FROM (SELECT * FROM listing {condition}) AS l JOIN runs ON runs.id = l.run ORDER BY l.time DESC, l.run DESC",
            *values,
        )
        return [listed_run(row) for row in rows]
