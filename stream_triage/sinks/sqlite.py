"""Verdicts go in; an SQLite database keeps the highest version of each run and can be searched."""

import sqlite3
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from stream_triage.clients.sqlite import Database, Schema
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import RunNotFound, StoreError
from stream_triage.ports import RunText, StoredRun
from stream_triage.records import Verdict, split_file_id

__all__ = ["MIGRATIONS", "SqliteStore"]

# Each entry raises `user_version` by one, in one transaction. Never change an entry that was released.
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
        # A full-text table has no key but its rowid, so that one tells the run: `_first_line(runs.id)` and following.
        "CREATE VIRTUAL TABLE lines USING fts5 (text, source UNINDEXED, number UNINDEXED, columnsize=0)",
    ),
    (
        # Path: the part of the run id before its last `#`, for runs that were read from files. Content: SHA-256 of the text.
        "ALTER TABLE runs ADD COLUMN path TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE runs ADD COLUMN content TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX runs_by_content ON runs (content, path) WHERE content != ''",
    ),
)

SCHEMA = Schema(
    name="store",
    setting="store.path",
    application_id=0x54524941,  # "TRIA"
    migrations=MIGRATIONS,
)
_LINE_BITS = 24  # kept lines of one run; sixteen million, and leaves room for 2**39 runs
_COLUMNS = ", ".join(StoredRun._fields)


class SqliteStore:
    """One file for verdicts and kept lines. Any number of processes may share it, and threads may share one object.

    `flush` commits what was written in one transaction, or keeps all of it. Only the owner can read the file.
    """

    def __init__(self, path: Path, clock: Clock | None = None, *, busy_seconds: float = 30.0, create: bool = True) -> None:
        if not create and not path.exists():
            raise StoreError(
                f"there is no store at {path}; `stream-triage run` creates one, or set store.path to where yours is"
            )
        self._path = path
        self._clock = clock or SystemClock()
        self._waiting: list[_Row] = []
        self._lock = threading.RLock()
        self._database = Database(path, SCHEMA, self._clock, busy_seconds=busy_seconds)

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Buffers the verdict until `flush`."""
        with self._lock:
            self._database.check_open()
            time = _utc(verdict.time or self._clock.now())
            self._waiting.append(_Row(verdict, time, verdict.model_dump_json()))

    def flush(self) -> None:
        """Commits what is buffered. Raises `StoreError` and keeps all of it."""
        with self._lock:
            self._database.check_open()
            if not self._waiting:  # closing must not wait for a lock, and then hide the error that ended the work before it
                return
            with self._database.transaction() as connection:
                for row in self._waiting:
                    _put(connection, row)
            self._waiting.clear()

    def close(self) -> None:
        """Flushes, and closes the database."""
        with self._lock:
            if self._database.closed:
                return
            try:
                self.flush()
            finally:
                self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def runs(
        self, *, label: str | None = None, search: str | None = None, unclean: bool = False, limit: int = 100
    ) -> list[StoredRun]:
        """Newest first. `search` finds runs with one kept line that contains all its words, or words that begin so."""
        conditions, values = ["1"], []
        if label is not None:
            conditions.append("label = ?")
            values.append(label)
        if unclean:
            conditions.append("NOT (passed AND NOT anomalous AND NOT needs_review)")
        if search is not None and search.strip():
            conditions.append(f"id IN (SELECT rowid >> {_LINE_BITS} FROM lines WHERE lines MATCH ?)")
            values.append(_match(search))
        order = "ORDER BY time DESC, id DESC LIMIT ?"
        rows = self._database.ask(f"SELECT {_COLUMNS} FROM runs WHERE {' AND '.join(conditions)} {order}", *values, limit)
        return [_stored_run(row) for row in rows]

    def get(self, run_id: str) -> Verdict:
        """The verdict of `full_id(run_id)`. Raises `StoreError` if this version cannot read it."""
        run_id = self.full_id(run_id)
        rows = self._database.ask("SELECT verdict FROM runs WHERE run_id = ?", _storable(run_id))
        try:
            return Verdict.model_validate_json(rows[0][0])
        except IndexError:  # another process has just forgotten it
            raise RunNotFound(f"run {run_id!r} is not stored any more; `stream-triage runs` lists those that are") from None
        except ValidationError as error:
            reason = f"the verdict of run {run_id!r} in {self._path} cannot be read here; judge the run again with --again"
            raise StoreError(reason) from error

    def find(self, run_id: str) -> StoredRun | None:
        """The stored run with exactly this id, None if there is none."""
        rows = self._database.ask(f"SELECT {_COLUMNS} FROM runs WHERE run_id = ?", _storable(run_id))
        return _stored_run(rows[0]) if rows else None

    def find_content(self, path: str, content: str) -> StoredRun | None:
        """The newest run that was read from this path and has this content; None if there is none."""
        condition = "content = ? AND content != '' AND path = ?"  # in these words the index is used
        order = "ORDER BY time DESC, id DESC LIMIT 1"
        rows = self._database.ask(f"SELECT {_COLUMNS} FROM runs WHERE {condition} {order}", content, _storable(path))
        return _stored_run(rows[0]) if rows else None

    def full_id(self, run_id: str) -> str:
        """The id that equals `run_id`, else the only one that begins with it, else the only one that contains it.

        Raises:
            RunNotFound: No id, or several; the message names up to five, the newest first.
        """
        part = _storable(run_id)
        for condition in ("run_id = ?", "substr(run_id, 1, length(?)) = ?", "instr(run_id, ?)"):
            query = f"SELECT run_id FROM runs WHERE {condition} ORDER BY time DESC, id DESC LIMIT 6"
            rows = self._database.ask(query, *[part] * condition.count("?"))
            if len(rows) == 1:
                return str(rows[0][0])
            if rows:
                names = ", ".join(row[0] for row in rows[:5]) + (", …" if len(rows) > 5 else "")
                raise RunNotFound(f"several runs match {part!r}: {names}; give more of the id")
        raise RunNotFound(f"no run matches {part!r}; `stream-triage runs` lists them")

    def check_writable(self) -> None:
        """Raises `StoreError` if another program holds the lock of the database, or it cannot be written at all."""
        self._database.check_writable()

    def forget(self, run_id: str) -> bool:
        """Removes the run and overwrites its data, in the write-ahead log too; returns False if there was none.

        It rewrites the index of words, which takes a moment.
        """
        with self._lock:
            waited = len(self._waiting)
            self._waiting = [row for row in self._waiting if row.verdict.run_id != run_id]
            with self._database.transaction() as connection:
                removed = _remove(connection, "run_id = ?", _storable(run_id))
            self._database.wipe_log()  # also if nothing was removed: an earlier attempt may have stopped here, at a reader
        return bool(removed) or len(self._waiting) < waited

    def prune(self, *, before: datetime | None = None, keep: int | None = None) -> list[str]:
        """Removes runs older than `before` and all but the newest `keep`; returns their ids, oldest first."""
        removed: list[str] = []
        with self._lock:
            with self._database.transaction() as connection:
                if before is not None:
                    removed += _remove(connection, "time < ?", _utc(before))
                if keep is not None:
                    newest = "SELECT id FROM runs ORDER BY time DESC, id DESC LIMIT ?"
                    removed += _remove(connection, f"id NOT IN ({newest})", keep)
            if removed:
                self._database.wipe_log()
        return removed


class _Row(NamedTuple):
    """A verdict ready to be stored: `write` fails if it cannot be serialised, so that `flush` can store all the others."""

    verdict: Verdict
    time: str
    json: str

    def columns(self) -> list[object]:
        """The values of the fields of `StoredRun`, which are columns of the table with the same names."""
        return [self.time if name == "time" else getattr(self.verdict, name) for name in StoredRun._fields]


def _put(connection: sqlite3.Connection, row: _Row) -> None:
    """Stores a verdict unless the run has one of the same or a higher version."""
    verdict = row.verdict
    known = connection.execute("SELECT id, version FROM runs WHERE run_id = ?", (verdict.run_id,)).fetchone()
    if known is not None and known[1] >= verdict.version:
        if known[1] == verdict.version and verdict.content:
            _add_content(connection, known[0], verdict)
        return
    if known is not None:
        _remove_lines(connection, known[0])
    values = [known[0] if known else None, *row.columns(), split_file_id(verdict.run_id)[0], row.json]
    marks = ", ".join("?" * len(values))
    written = connection.execute(f"INSERT OR REPLACE INTO runs (id, {_COLUMNS}, path, verdict) VALUES ({marks})", values)
    assert written.lastrowid is not None
    numbered = enumerate(verdict.reduction, _first_line(written.lastrowid))
    connection.executemany(
        "INSERT INTO lines (rowid, text, source, number) VALUES (?, ?, ?, ?)",
        ((rowid, line.text, line.source, line.number) for rowid, line in numbered),
    )


def _add_content(connection: sqlite3.Connection, key: int, verdict: Verdict) -> None:
    """Adds the content to a verdict that an earlier release stored without it; the same text was read again."""
    connection.execute(
        "UPDATE runs SET path = ?, content = ?, verdict = json_set(verdict, '$.content', ?) WHERE id = ? AND content = ''",
        (split_file_id(verdict.run_id)[0], verdict.content, verdict.content, key),
    )


def _remove(connection: sqlite3.Connection, condition: str, value: object) -> list[str]:
    rows = connection.execute(f"SELECT id, run_id FROM runs WHERE {condition} ORDER BY time, id", (value,)).fetchall()
    for key, _ in rows:
        _remove_lines(connection, key)
        connection.execute("DELETE FROM runs WHERE id = ?", (key,))
    if rows:
        # Deleting leaves words in the index until its parts are merged. SQLite 3.42 can overwrite them at once, but then
        # older versions cannot read the file, and the Pythons of one machine often have different ones.
        connection.execute("INSERT INTO lines (lines) VALUES ('optimize')")
    return [run_id for _, run_id in rows]


def _remove_lines(connection: sqlite3.Connection, key: int) -> None:
    bounds = (_first_line(key), _first_line(key + 1) - 1)
    connection.execute("DELETE FROM lines WHERE rowid BETWEEN ? AND ?", bounds)


def _first_line(key: int) -> int:
    """Row id of a run's first kept line."""
    return key << _LINE_BITS


def _stored_run(row: Sequence[Any]) -> StoredRun:
    run = StoredRun(*row)
    return run._replace(
        time=datetime.fromisoformat(row[1]),
        passed=bool(run.passed),
        needs_review=bool(run.needs_review),
        anomalous=bool(run.anomalous),
        final=bool(run.final),
    )


def _match(search: str) -> str:
    """A query for all words of `search`, also for those that are commands in the query language of FTS5.

    >>> _match('T310 AND -- (gnb-du')
    '"T310"* "AND"* "(gnb-du"*'
    """
    words = [word for word in _storable(search).replace("\0", " ").split() if any(map(str.isalnum, word))]
    return " ".join('"{}"*'.format(word.replace('"', '""')) for word in words) or '""'


def _storable(text: str) -> str:
    """Replaces lone surrogates, which SQLite rejects. Command-line arguments that are not UTF-8 contain them."""
    return text.encode(errors="replace").decode()


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")
