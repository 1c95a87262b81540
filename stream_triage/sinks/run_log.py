"""Closed runs go in; a worker that takes over a partition reads them again.

They are kept in a compacted topic with as many partitions as the topic of log lines: partition n describes partition n.
"""

import json

from stream_triage.clients.broker import Broker, Outgoing
from stream_triage.records import ClosedRun, Record

__all__ = ["MemoryRunLog", "RunLogTopic"]


class RunLogTopic:
    """One message of about 100 bytes for each run, which is remembered as long as the topic keeps it."""

    def __init__(self, broker: Broker, topic: str, group: str) -> None:
        self._broker = broker
        self._topic = topic
        self._group = group
        self._waiting: list[Outgoing] = []

    def closed(self, partition: int) -> list[ClosedRun]:
        """The closed runs of a partition that workers of this group have flushed."""
        known: dict[bytes, ClosedRun | None] = {}
        for record in self._broker.read(self._topic, partition):
            if record.key is not None:
                known[record.key] = self._closed_run(record)
        return [run for run in known.values() if run is not None]

    def put(self, partition: int, run: ClosedRun) -> None:
        """Buffers a closed run until `flush`."""
        key = json.dumps([self._group, run.run_id]).encode()
        fields = {"key": run.key, "first": run.first, "last": run.last, "cut": run.cut, "pieces": run.pieces}
        self._waiting.append(Outgoing(self._topic, key, json.dumps(fields).encode(), partition=partition))

    def flush(self) -> None:
        """Sends what is buffered. Raises `StoreError` and keeps all of it."""
        if self._waiting:
            self._broker.send(self._waiting)
            self._waiting.clear()

    def _closed_run(self, record: Record) -> ClosedRun | None:
        """None for runs of other groups, and for messages that this class did not write."""
        try:
            group, run_id = json.loads(record.key or b"")
            fields = json.loads(record.value or b"")
            pieces = None if fields.get("pieces") is None else int(fields["pieces"])
            first, last = int(fields["first"]), int(fields["last"])
            run = ClosedRun(str(fields["key"]), str(run_id), first, last, bool(fields["cut"]), pieces)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        return run if group == self._group else None


class MemoryRunLog:
    """A run log in memory, for tests. Like a topic, it outlives the worker that wrote to it."""

    def __init__(self) -> None:
        self.runs: dict[int, dict[str, ClosedRun]] = {}
        self._waiting: list[tuple[int, ClosedRun]] = []

    def closed(self, partition: int) -> list[ClosedRun]:
        """The closed runs of a partition that were flushed."""
        return list(self.runs.get(partition, {}).values())

    def put(self, partition: int, run: ClosedRun) -> None:
        """Buffers a closed run until `flush`."""
        self._waiting.append((partition, run))

    def flush(self) -> None:
        """Moves what is buffered to `runs`."""
        for partition, run in self._waiting:
            self.runs.setdefault(partition, {})[run.run_id] = run
        self._waiting.clear()
