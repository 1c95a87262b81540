"""Time, as an argument: code that waits or dates something gets a clock, so that tests can move it."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "FakeClock", "SystemClock", "retry_waits"]


class Clock(Protocol):
    """What tells the time and waits."""

    def now(self) -> datetime:
        """Wall-clock time in UTC, for records. It may jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds since some moment, for time-outs. They never jump."""

    def sleep(self, seconds: float) -> None:
        """Waits."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since the machine was started."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)


class FakeClock:
    """A clock that stands still until a test moves it. Sleeping moves it instead of waiting."""

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._elapsed_seconds = 0.0

    def now(self) -> datetime:
        """The start, and the seconds it was moved by."""
        return datetime.fromtimestamp(self._start.timestamp() + self._elapsed_seconds, UTC)

    def monotonic(self) -> float:
        """Seconds it was moved by."""
        return self._elapsed_seconds

    def sleep(self, seconds: float) -> None:
        """Moves the clock."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Moves the clock forward."""
        self._elapsed_seconds += seconds


def retry_waits(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each further attempt, without end: up to twice as long each time, and `longest` at most.

    They are random, so that clients that failed together do not all come back at once.
    """
    wait = first
    while True:
        yield random.uniform(wait / 2, wait)  # noqa: S311 - spreads load, keeps no secret
        wait = min(2 * wait, longest)
