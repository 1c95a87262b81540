"""Time is always passed in, so that tests can move it."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "FakeClock", "SystemClock", "retry_waits"]


class Clock(Protocol):
    def now(self) -> datetime:
        """Wall-clock time in UTC, for records."""

    def monotonic(self) -> float:
        """Seconds that never jump, for time-outs."""

    def sleep(self, seconds: float) -> None:
        """Waits."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class FakeClock:
    """A clock that stands still until a test moves it; sleeping moves it too."""

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._elapsed_seconds = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._start.timestamp() + self._elapsed_seconds, UTC)

    def monotonic(self) -> float:
        return self._elapsed_seconds

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._elapsed_seconds += seconds


def retry_waits(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each further attempt: twice as long each time, at random, so as not to come all at once."""
    wait = first
    while True:
        yield random.uniform(wait / 2, wait)  # noqa: S311 - spreads load, keeps no secret
        wait = min(2 * wait, longest)
