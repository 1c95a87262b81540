"""Settings in; the open store and archive for the pages out, whatever happens to their files meanwhile."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stream_triage.errors import StoreError
from stream_triage.settings import Settings
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.sqlite import Choices, SqliteStore

__all__ = ["StoreAccess", "StoreMissing"]

# A page that waits longer for the lock of another program looks broken; it says instead what holds it up.
BUSY_SECONDS: Final = 2.0
# Filters may offer values that are so old: finding them costs as much as a whole page.
CHOICES_SECONDS: Final = 30.0


class StoreMissing(StoreError):
    """There is no file of the store yet."""


class StoreAccess:
    """The store, opened when it is first needed, and anew if its file was replaced. Threads may share one object."""

    def __init__(self, settings: Settings, now: Callable[[], float]) -> None:
        """`now` tells seconds since some moment, as `Clock.monotonic` does."""
        self.path: Path = settings.store.path
        self.archive = TextArchive(settings.archive)
        self._now = now
        self._lock = threading.Lock()
        self._store: SqliteStore | None = None
        self._file: tuple[int, int] = (0, 0)
        self._choices: tuple[float, Choices] | None = None

    def open(self) -> SqliteStore:
        """The open store.

        Raises:
            StoreMissing: There is none yet.
            StoreError: It cannot be opened, or another program holds it locked while it must be brought up to date.
        """
        with self._lock:
            try:
                status = self.path.stat()
            except FileNotFoundError:
                self._close()
                raise StoreMissing(f"there is no store at {self.path} yet") from None
            except OSError as error:
                raise StoreError(f"store {self.path} cannot be opened: {error.strerror}; check its permissions") from error
            file = (status.st_dev, status.st_ino)
            if self._store is None or file != self._file:
                self._close()
                self._store, self._file = SqliteStore(self.path, busy_seconds=BUSY_SECONDS, create=False), file
            return self._store

    def state(self) -> str:
        """Another text after each change of the store; `none` while there is no usable one."""
        try:
            number = self.open().lists.state()
        except StoreError:
            return "none"
        return f"{self._file[1]}.{number}"

    def choices(self) -> Choices:
        """What filters offer; remembered for a while."""
        remembered = self._choices
        if remembered is None or self._now() - remembered[0] > CHOICES_SECONDS:
            remembered = self._choices = (self._now(), self.open().lists.choices())
        return remembered[1]

    def close(self) -> None:
        """Closes the store."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._choices = None
        if self._store is not None:
            self._store.close()
            self._store = None
