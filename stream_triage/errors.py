"""Every error that the product raises on purpose. Messages state what is wrong and what to do about it.

StreamTriageError
├── SettingsError    a setting, rule or pattern that cannot work
├── BundleError      a model bundle that cannot be trusted or read
├── InputError       input that cannot be read at all
└── StoreError       a verdict or text that cannot be stored or read, or a server that cannot be used
    ├── RunNotFound  an id that stands for no run, or for several
    └── ServerAway   a server that does not respond now

`StoreError.temporary` tells "try again" from "mend the settings": the exit status of a command depends on it, and whether a
worker waits for a server when it starts.
"""

import errno
import traceback
from pathlib import Path

__all__ = [
    "BundleError",
    "InputError",
    "RunNotFound",
    "ServerAway",
    "SettingsError",
    "StoreError",
    "StreamTriageError",
    "internal_error_text",
]


# What the system says of a disk that is full or failing, of too many open files, and of a network that is down. A missing
# right or a wrong path is not among them: those last until somebody changes something.
_PASSING_ERRNOS = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE,
    errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ECONNRESET, errno.ENETUNREACH, errno.EHOSTUNREACH,
})  # fmt: skip


class StreamTriageError(Exception):
    """Any error that is raised on purpose; another exception is a bug."""

    @property
    def temporary(self) -> bool:
        """Whether the same may succeed later although nobody changes settings or rights."""
        return False


class SettingsError(StreamTriageError):
    """A setting, rule or pattern that cannot work; the message names it and the remedy."""


class BundleError(StreamTriageError):
    """A model bundle that is missing, damaged or made for another version."""


class InputError(StreamTriageError):
    """Input that cannot be read at all."""


class StoreError(StreamTriageError):
    """A verdict or a run's text that cannot be stored or read, or a server that cannot be used."""

    @property
    def temporary(self) -> bool:
        """Whether the same may succeed later although nobody changes settings or rights: the disk is full, a file is locked.

        Decided by the error of the system that this one was raised for.
        """
        cause = self.__cause__ or self.__context__  # `raise … from None` hides the cause from people only
        return cause is not None and cause is not self and _passes(cause)


class RunNotFound(StoreError):
    """No run has the given id or part of an id, or several have it."""


class ServerAway(StoreError):
    """A server that does not respond now, or a group of consumers that was lost; trying again later helps."""

    @property
    def temporary(self) -> bool:
        """Always true."""
        return True


def _passes(error: BaseException) -> bool:
    if isinstance(error, StoreError):
        return error.temporary
    import sqlite3  # here, since every command loads this module, and few a store

    if isinstance(error, sqlite3.Error):
        passing = (
            sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM
        )  # fmt: skip
        return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in passing
    if isinstance(error, OSError) and error.errno in _PASSING_ERRNOS:
        return True
    cause = error.__cause__ or error.__context__
    return cause is not None and cause is not error and _passes(cause)


def internal_error_text(error: BaseException) -> str:
    """Type and place only: the message of an unforeseen error may hold log text."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"internal error: {type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
