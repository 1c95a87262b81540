"""Verdicts go in; an SQLite database keeps the highest version of each run, and can be searched, counted and listed."""

from stream_triage.sinks.sqlite.buckets import Bucket
from stream_triage.sinks.sqlite.filters import Place, RunFilter
from stream_triage.sinks.sqlite.listed import Choices, Counts, Group, GroupTotals, ListedRun, Outcome, SeenTemplate
from stream_triage.sinks.sqlite.lists import RunLists
from stream_triage.sinks.sqlite.schema import MIGRATIONS
from stream_triage.sinks.sqlite.store import SqliteStore

__all__ = [
    "MIGRATIONS",
    "Bucket",
    "Choices",
    "Counts",
    "Group",
    "GroupTotals",
    "ListedRun",
    "Outcome",
    "Place",
    "RunFilter",
    "RunLists",
    "SeenTemplate",
    "SqliteStore",
]
