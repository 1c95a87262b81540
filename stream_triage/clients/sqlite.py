"""A path and a schema in; a SQLite file out that is private, durable, migrated, and shared by processes and threads."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from stream_triage.clock import Clock
from stream_triage.errors import StoreError

__all__ = ["Database", "Schema"]

_SETUP_SECONDS: Final = 0.05
_BUSY: Final = "another program holds the database; wait for it or stop it, then repeat"
# By primary error code; {setting} is the name of the setting with the path.
_REMEDIES: Final = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_FULL: "free space on its disk or run `prune`, then repeat",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable, or set {setting}",
    sqlite3.SQLITE_CANTOPEN: "check that the path is a file in a folder that you may write to, or set {setting}",
    sqlite3.SQLITE_IOERR: "check its disk, or set {setting} to a file on another one",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database; move it away or set {setting}",
    sqlite3.SQLITE_CORRUPT: "restore it from a copy, or move it away to start with an empty one",
}
_OTHER_REMEDY: Final = "set {setting} to another file; if SQLite lacks FTS5 or JSON, use a Python that has them"


@dataclass(frozen=True)
class Schema:
    """The tables of a kind of file, and how messages name it."""

    name: str
    """What messages call the file, such as `store`."""
    setting: str
    """The setting with its path, such as `store.path`."""
    application_id: int
    """Marks files of this kind in their header, so that a file of another program is never changed."""
    migrations: tuple[tuple[str, ...], ...]
    """Statements of each step from one `user_version` to the next. Never change a step that was released."""
    unversioned_tables: frozenset[str] = frozenset()
    """Tables of files that a release before application id and version wrote; such a file counts as version 0."""


class Database:
    """An open file. All processes may have it open at once; threads may share one object.

    Errors of SQLite and of the file system are raised as `StoreError` with the remedy. What is deleted is overwritten
    in the file; `wipe_log` removes it from the write-ahead log too.
    """

    def __init__(self, path: Path, schema: Schema, clock: Clock, *, busy_seconds: float) -> None:
        """Creates the file if it is missing, for its owner only, and migrates it to the newest schema.

        Args:
            path: The file; missing folders are created.
            schema: Its tables.
            clock: For the waits while another process opens the file.
            busy_seconds: How long to wait for the locks of other processes.

        Raises:
            StoreError: The file cannot be opened, is of another program, or was written by a newer release.
        """
        self._path = path
        self._schema = schema
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        with self._store_errors():
            _create_private(path)
            self._connection = _connect(path, busy_seconds)
        try:
            self._prepare(clock, busy_seconds)
        except BaseException:
            self._connection.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._connection is None

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, in autocommit mode. Raises `StoreError` once the file is closed."""
        if self._connection is None:
            raise StoreError(f"the {self._schema.name} {self._path} is closed; open it again")
        return self._connection

    def check_open(self) -> None:
        """Raises `StoreError` once the file is closed."""
        _ = self.connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Holds the write lock of the file; all statements of the block take effect, or none if it raises."""
        with self._lock, self._store_errors():
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite rolls back by itself after some errors, a full disk among them
                    connection.execute("ROLLBACK")
                raise

    def ask(self, query: str, *values: object) -> list[Any]:
        """Returns all rows of a query."""
        with self._lock, self._store_errors():
            return self.connection.execute(query, values).fetchall()

    def check_writable(self) -> None:
        """Raises `StoreError` if the file cannot be written now: another program holds its lock, or it is read-only."""
        with self.transaction():
            pass

    def wipe_log(self) -> None:
        """Removes what was deleted from the write-ahead log too. Raises `StoreError` if another program still reads it."""
        with self._lock, self._store_errors():
            (busy, *_) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            reason = f"removed from {self._path}, but another program still reads the old state"
            raise StoreError(f"{reason}, so traces stay in its write-ahead log; stop that program and repeat")

    def close(self) -> None:
        """Closes the file; does nothing the second time."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _prepare(self, clock: Clock, busy_seconds: float) -> None:
        migrations = self._schema.migrations
        with self._store_errors():
            version = self._checked_version()
            _use_write_ahead_log(self.connection, clock, busy_seconds)
        if version == len(migrations):
            return
        with self.transaction() as connection:
            # Read again under the lock: another process may have migrated the file since.
            version = self._checked_version()
            for statement in chain.from_iterable(migrations[version:]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
            connection.execute(f"PRAGMA application_id = {self._schema.application_id}")

    def _checked_version(self) -> int:
        """Returns the schema version of the file, 0 for a new one. Raises `StoreError` for one that is not ours."""
        schema, connection = self._schema, self.connection
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")}
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        # Read last: another process that creates the tables just now must not look like another program.
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        unmarked = version == application == 0 and tables <= schema.unversioned_tables
        if application != schema.application_id and not unmarked:
            raise StoreError(f"{self._path} is a database of another program; set {schema.setting} to another file")
        if version > len(schema.migrations):
            raise StoreError(
                f"{self._path} was written by a newer release (schema {version}, this one knows {len(schema.migrations)}); "
                f"upgrade stream-triage or set {schema.setting} to another file"
            )
        return version

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Raises errors of SQLite and the file system as `StoreError` with the remedy."""
        name, setting = self._schema.name, self._schema.setting
        try:
            yield
        except sqlite3.Error as error:
            primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
            remedy = _REMEDIES.get(primary, _OTHER_REMEDY).format(setting=setting)
            raise StoreError(f"{name} {self._path}: {error}; {remedy}") from error
        except OSError as error:
            remedy = _REMEDIES[sqlite3.SQLITE_CANTOPEN].format(setting=setting)
            raise StoreError(f"{name} {self._path} cannot be opened: {error.strerror}; {remedy}") from error


def _create_private(path: Path) -> None:
    """SQLite gives its side files the permissions of the database, so this one step keeps all of them private."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last commits when the power goes
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection, clock: Clock, busy_seconds: float) -> None:
    """Retries until it succeeds: of all statements, only this one does not wait for the locks of others.

    Without retries, 6 of 360 processes failed that opened a new store six at a time.
    """
    for attempt in range(int(busy_seconds / _SETUP_SECONDS), -1, -1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or attempt == 0:
                raise
        clock.sleep(_SETUP_SECONDS)
