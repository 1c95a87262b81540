"""Signs of life of each assigned partition in; which partitions have been fetching nothing out.

Brokers answer each fetch within two seconds, also when there is no message. A consumer that is assigned a partition and gets
no answer for it has stopped without a word: Faust and aiokafka are known to do that after a rebalance. Such a consumer does
not recover by itself. A new process does.
"""

from collections.abc import Hashable, Mapping
from typing import Final, NamedTuple

__all__ = ["FetchWatch", "Silence"]

# A partition without an answer for so long is reported.
SILENT_SECONDS: Final = 30.0
# After so long the worker ends, and its supervisor starts another one.
STUCK_SECONDS: Final = 120.0
# Looks that are further apart prove nothing: meanwhile the worker did not fetch, because it judged or waited for a sink.
LOOK_SECONDS: Final = 5.0


class Silence(NamedTuple):
    """Partitions without an answer for at least `SILENT_SECONDS`, and for how long the longest of them."""

    partitions: list[int]
    seconds: float

    @property
    def stuck(self) -> bool:
        """Whether it has lasted too long to end by itself."""
        return self.seconds >= STUCK_SECONDS


class FetchWatch:
    """Compares looks, about one a second."""

    def __init__(self) -> None:
        self._last_look: float | None = None
        self._seen: dict[int, tuple[Hashable, float]] = {}
        """By partition, its last sign of life and the time at which it was new, or moved on by pauses of the worker."""

    def look(self, signs: Mapping[int, Hashable], now: float, *, answers: bool = True) -> Silence | None:
        """Returns which partitions are silent, None if none is.

        Args:
            signs: By assigned partition, something that changes with each answer to a fetch.
            now: The time, by a clock that never jumps.
            answers: Whether the brokers answer other requests. While they do not, silence is no fault of the consumer.

        >>> watch = FetchWatch()
        >>> [watch.look({0: "same", 1: second}, float(second)) for second in range(0, 31)][-1]
        Silence(partitions=[0], seconds=30.0)
        """
        pause = now - self._last_look if self._last_look is not None else 0.0
        self._last_look = now
        counts = answers and pause <= LOOK_SECONDS
        seen = {}
        for partition, sign in signs.items():
            last, since = self._seen.get(partition, (None, now))
            seen[partition] = (sign, now if sign != last else since if counts else since + pause)
        self._seen = seen
        silent = {number: now - since for number, (_, since) in seen.items() if now - since >= SILENT_SECONDS}
        return Silence(sorted(silent), max(silent.values())) if silent and answers else None
