"""SQLite files of our own: private, durable, and shared by several processes and threads."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_triage.clock import Clock
from stream_triage.errors import StoreError

__all__ = ["connect", "create_private", "transaction", "use_write_ahead_log", "wipe_log"]

_SETUP_SECONDS = 0.05


def create_private(path: Path) -> None:
    """SQLite gives its side files the permissions of the database, so this one step keeps all of them private."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """One for several threads that take turns; what is removed is overwritten."""
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA synchronous = FULL")  # NORMAL may lose the last commits when the power goes
    return connection


def use_write_ahead_log(connection: sqlite3.Connection, clock: Clock, busy_seconds: float) -> None:
    """Alone among statements this one does not wait for others, so it is tried until it succeeds.

    Without, 6 of 360 processes failed that opened a new store six at a time.
    """
    for attempt in range(int(busy_seconds / _SETUP_SECONDS), -1, -1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or attempt == 0:
                raise
        clock.sleep(_SETUP_SECONDS)


def wipe_log(connection: sqlite3.Connection, path: Path) -> None:
    """Takes what was removed out of the write-ahead log too. Raises `StoreError` where another program holds it."""
    (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        reason = f"removed from {path}, but another program still reads the old state"
        raise StoreError(f"{reason}, so traces stay in its write-ahead log; stop that program and repeat")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite rolls back by itself after some errors, a full disk among them
            connection.execute("ROLLBACK")
        raise
