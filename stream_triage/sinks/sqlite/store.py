"""Verdicts go in and are committed together; they can be found again, forgotten and pruned."""

import sqlite3
import threading
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import ValidationError

from stream_triage.clients.sqlite import Database
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import RunNotFound, StoreError
from stream_triage.ports import RunText, StoredRun
from stream_triage.records import Verdict, split_file_id
from stream_triage.sinks.sqlite.lists import RunLists
from stream_triage.sinks.sqlite.schema import (
    COLUMNS,
    LINE_BITS,
    LIST_ANOMALIES,
    LIST_EVIDENCE,
    LIST_RUNS,
    SCHEMA,
    match_words,
    storable,
    stored_run,
    utc,
)

__all__ = ["SqliteStore"]


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
        self.lists = RunLists(self._database)
        """Filtered lists of runs, and what is counted over them."""

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Buffers the verdict until `flush`."""
        with self._lock:
            self._database.check_open()
            time = utc(verdict.time or self._clock.now())
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
            conditions.append(f"id IN (SELECT rowid >> {LINE_BITS} FROM lines WHERE lines MATCH ?)")
            values.append(match_words(search))
        order = "ORDER BY time DESC, id DESC LIMIT ?"
        rows = self._database.ask(f"SELECT {COLUMNS} FROM runs WHERE {' AND '.join(conditions)} {order}", *values, limit)
        return [stored_run(row) for row in rows]

    def get(self, run_id: str) -> Verdict:
        """The verdict of `full_id(run_id)`. Raises `StoreError` if this version cannot read it."""
        run_id = self.full_id(run_id)
        rows = self._database.ask("SELECT verdict FROM runs WHERE run_id = ?", storable(run_id))
        try:
            return Verdict.model_validate_json(rows[0][0])
        except IndexError:  # another process has just forgotten it
            raise RunNotFound(f"run {run_id!r} is not stored any more; `stream-triage runs` lists those that are") from None
        except ValidationError as error:
            reason = f"the verdict of run {run_id!r} in {self._path} cannot be read here; judge the run again with --again"
            raise StoreError(reason) from error

    def find(self, run_id: str) -> StoredRun | None:
        """The stored run with exactly this id, None if there is none."""
        rows = self._database.ask(f"SELECT {COLUMNS} FROM runs WHERE run_id = ?", storable(run_id))
        return stored_run(rows[0]) if rows else None

    def find_content(self, path: str, content: str) -> StoredRun | None:
        """The newest run that was read from this path and has this content; None if there is none."""
        condition = "content = ? AND content != '' AND path = ?"  # in these words the index is used
        order = "ORDER BY time DESC, id DESC LIMIT 1"
        rows = self._database.ask(f"SELECT {COLUMNS} FROM runs WHERE {condition} {order}", content, storable(path))
        return stored_run(rows[0]) if rows else None

    def full_id(self, run_id: str) -> str:
        """The id that equals `run_id`, else the only one that begins with it, else the only one that contains it.

        Raises:
            RunNotFound: No id, or several; the message names up to five, the newest first.
        """
        part = storable(run_id)
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
                removed = _remove(connection, "run_id = ?", storable(run_id))
            self._database.wipe_log()  # also if nothing was removed: an earlier attempt may have stopped here, at a reader
        return bool(removed) or len(self._waiting) < waited

    def prune(self, *, before: datetime | None = None, keep: int | None = None) -> list[str]:
        """Removes runs older than `before` and all but the newest `keep`; returns their ids, oldest first."""
        removed: list[str] = []
        with self._lock:
            with self._database.transaction() as connection:
                if before is not None:
                    removed += _remove(connection, "time < ?", utc(before))
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
        _remove_parts(connection, known[0])
    values = [known[0] if known else None, *row.columns(), split_file_id(verdict.run_id)[0], row.json]
    marks = ", ".join("?" * len(values))
    written = connection.execute(f"INSERT OR REPLACE INTO runs (id, {COLUMNS}, path, verdict) VALUES ({marks})", values)
    assert written.lastrowid is not None
    numbered = enumerate(verdict.reduction, _first_line(written.lastrowid))
    connection.executemany(
        "INSERT INTO lines (rowid, text, source, number) VALUES (?, ?, ?, ?)",
        ((rowid, line.text, line.source, line.number) for rowid, line in numbered),
    )
    for statement in (LIST_RUNS, LIST_ANOMALIES, LIST_EVIDENCE):
        connection.execute(f"{statement} AND run.id = ?", (written.lastrowid,))


def _add_content(connection: sqlite3.Connection, key: int, verdict: Verdict) -> None:
    """Adds the content to a verdict that an earlier release stored without it; the same text was read again."""
    connection.execute(
        "UPDATE runs SET path = ?, content = ?, verdict = json_set(verdict, '$.content', ?) WHERE id = ? AND content = ''",
        (split_file_id(verdict.run_id)[0], verdict.content, verdict.content, key),
    )


def _remove(connection: sqlite3.Connection, condition: str, value: object) -> list[str]:
    rows = connection.execute(f"SELECT id, run_id FROM runs WHERE {condition} ORDER BY time, id", (value,)).fetchall()
    for key, _ in rows:
        _remove_parts(connection, key)
        connection.execute("DELETE FROM runs WHERE id = ?", (key,))
    if rows:
        # Deleting leaves words in the index until its parts are merged. SQLite 3.42 can overwrite them at once, but then
        # older versions cannot read the file, and the Pythons of one machine often have different ones.
        connection.execute("INSERT INTO lines (lines) VALUES ('optimize')")
    return [run_id for _, run_id in rows]


def _remove_parts(connection: sqlite3.Connection, key: int) -> None:
    """Removes what other tables have of a run."""
    bounds = (_first_line(key), _first_line(key + 1) - 1)
    connection.execute("DELETE FROM lines WHERE rowid BETWEEN ? AND ?", bounds)
    connection.execute("DELETE FROM listing WHERE run = ?", (key,))
    connection.execute("DELETE FROM seen WHERE run = ?", (key,))


def _first_line(key: int) -> int:
    """Row id of a run's first kept line."""
    return key << LINE_BITS
