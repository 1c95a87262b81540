"""The tables of the store, how an older store becomes a newer one, and how text becomes what they hold."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from stream_triage.clients.sqlite import Schema
from stream_triage.ports import StoredRun

__all__ = [
    "COLUMNS",
    "LINE_BITS",
    "LIST_ANOMALIES",
    "LIST_EVIDENCE",
    "LIST_RUNS",
    "MIGRATIONS",
    "SCHEMA",
    "match_words",
    "storable",
    "stored_run",
    "utc",
]

LINE_BITS: Final = 24  # kept lines of one run; sixteen million, and leaves room for 2**39 runs
COLUMNS: Final = ", ".join(StoredRun._fields)

# Runs with their verdicts. One that is no JSON, which only damage can make, keeps no other run from being listed.
_TOLD: Final = "(SELECT *, CASE WHEN json_valid(verdict) THEN verdict ELSE '{}' END AS told FROM runs)"
# What lists of runs are filtered and counted by, taken from the stored verdict. `failure` is the same for runs whose
# strongest evidence is the same; it is empty for a run that passed. These three may get a further condition on the run.
LIST_RUNS: Final = f"""
    INSERT OR REPLACE INTO listing
    SELECT time, id, label, passed, needs_review, anomalous, final,
        coalesce(json_extract(told, '$.cause'), ''),
        coalesce(json_extract(told, '$.team'), ''),
        coalesce(json_extract(told, '$.headers."test.case.name"'), ''),
        coalesce(json_extract(told, '$.headers."testbed"'), ''),
        coalesce(json_extract(told, '$.headers."service.version"'), ''),
        CASE WHEN passed THEN '' ELSE coalesce(
            nullif(json_extract(told, '$.evidence[0].key'), ''),
            'rule ' || nullif(json_extract(told, '$.evidence[0].rule'), ''),
            '') END
    FROM {_TOLD} AS run WHERE 1"""
# The template keys of anomalies, then of the evidence of runs that did not pass cleanly. What is both counts as an anomaly.
LIST_ANOMALIES: Final = f"""
    INSERT OR IGNORE INTO seen
    SELECT json_extract(item.value, '$.key'), time, run.id, label, 1
    FROM {_TOLD} AS run, json_each(told, '$.anomalies') AS item
    WHERE json_extract(item.value, '$.key') != ''"""
LIST_EVIDENCE: Final = f"""
    INSERT OR IGNORE INTO seen
    SELECT json_extract(item.value, '$.key'), time, run.id, label, 0
    FROM {_TOLD} AS run, json_each(told, '$.evidence') AS item
    WHERE json_extract(item.value, '$.key') != '' AND NOT (passed AND NOT anomalous AND NOT needs_review)"""

# Each entry raises `user_version` by one, in one transaction. Never change an entry that was released, nor a statement that
# it uses.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            run_id TEXT NOT NULL UNIQUE,
            time TEXT NOT NULL,          -- UTC, ISO 8601 with microseconds, so that text order is time order
            label TEXT NOT NULL,
            passed INTEGER NOT NULL,
            confidence REAL NOT NULL,
            needs_review INTEGER NOT NULL,
            anomalous INTEGER NOT NULL,
            anomaly_score REAL NOT NULL,
            lines INTEGER NOT NULL,
            bundle TEXT NOT NULL,
            version INTEGER NOT NULL,
            final INTEGER NOT NULL,
            verdict TEXT NOT NULL        -- the whole verdict as JSON
        )
        """,
        "CREATE INDEX runs_by_time ON runs (time)",
        # A full-text table has no key but its rowid, so that one tells the run: `first_line(runs.id)` and following.
        "CREATE VIRTUAL TABLE lines USING fts5 (text, source UNINDEXED, number UNINDEXED, columnsize=0)",
    ),
    (
        # Path: the part of the run id before its last `#`, for runs that were read from files. Content: SHA-256 of the text.
        "ALTER TABLE runs ADD COLUMN path TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE runs ADD COLUMN content TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX runs_by_content ON runs (content, path) WHERE content != ''",
    ),
    (
        # A row of `runs` holds a whole verdict, so reading all of them to count some takes seconds. Rows of this table are
        # short, and lie in the order in which lists show them.
        """
        CREATE TABLE listing (
            time TEXT NOT NULL,
            run INTEGER NOT NULL,        -- runs.id
            label TEXT NOT NULL,
            passed INTEGER NOT NULL,
            needs_review INTEGER NOT NULL,
            anomalous INTEGER NOT NULL,
            final INTEGER NOT NULL,
            cause TEXT NOT NULL,         -- this and the following are empty if the verdict has none
            team TEXT NOT NULL,
            test_case TEXT NOT NULL,
            testbed TEXT NOT NULL,
            build TEXT NOT NULL,
            failure TEXT NOT NULL,
            PRIMARY KEY (time, run)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE seen (
            key TEXT NOT NULL,           -- template key
            time TEXT NOT NULL,
            run INTEGER NOT NULL,        -- runs.id
            label TEXT NOT NULL,
            anomaly INTEGER NOT NULL,    -- 1 if it is an anomaly there, 0 if it is evidence only
            PRIMARY KEY (key, time, run)
        ) WITHOUT ROWID
        """,
        LIST_RUNS,
        LIST_ANOMALIES,
        LIST_EVIDENCE,
        "CREATE UNIQUE INDEX listing_by_run ON listing (run)",
        "CREATE INDEX listing_by_case ON listing (test_case, time, passed, label)",
        "CREATE INDEX listing_by_bed ON listing (testbed, time, passed, label)",
        "CREATE INDEX listing_by_failure ON listing (failure, time)",
        "CREATE INDEX seen_by_run ON seen (run)",
    ),
)

SCHEMA = Schema(
    name="store",
    setting="store.path",
    application_id=0x54524941,  # "TRIA"
    migrations=MIGRATIONS,
)


def stored_run(row: Sequence[Any]) -> StoredRun:
    """A row of the `COLUMNS` of `runs`."""
    run = StoredRun(*row)
    return run._replace(
        time=datetime.fromisoformat(row[1]),
        passed=bool(run.passed),
        needs_review=bool(run.needs_review),
        anomalous=bool(run.anomalous),
        final=bool(run.final),
    )


def match_words(search: str) -> str:
    """A query for all words of `search`, also for those that are commands in the query language of FTS5.

    >>> match_words('T310 AND -- (gnb-du')
    '"T310"* "AND"* "(gnb-du"*'
    """
    words = [word for word in storable(search).replace("\0", " ").split() if any(map(str.isalnum, word))]
    return " ".join('"{}"*'.format(word.replace('"', '""')) for word in words) or '""'


def storable(text: str) -> str:
    """Replaces lone surrogates, which SQLite rejects. Command-line arguments that are not UTF-8 contain them."""
    return text.encode(errors="replace").decode()


def utc(time: datetime) -> str:
    """A time as it is stored."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")
