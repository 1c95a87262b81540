"""Events from a list: a source for tests, and for text that is already in memory."""

from collections.abc import Iterable

from stream_triage.ports import Handle
from stream_triage.records import Event

__all__ = ["MemorySource"]


class MemorySource:
    """Pushes the given events, in order."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = events

    def run(self, handle: Handle) -> None:
        """Passes each event to `handle`."""
        for event in self._events:
            handle(event)
