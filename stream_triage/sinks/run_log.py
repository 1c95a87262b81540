"""Runs that are over go in; they come out again when a worker takes over a partition.

A compacted topic with as many partitions as the topic of the lines, so that partition n tells of partition n.
"""

import json

from stream_triage.clients.kafka import Broker, Outgoing
from stream_triage.records import ClosedRun, Record

__all__ = ["MemoryRunLog", "RunLogTopic"]


class RunLogTopic:
    """One message of about 100 bytes for each run, remembered as long as the topic keeps it."""

    def __init__(self, broker: Broker, topic: str, group: str) -> None:
        self._broker = broker
        self._topic = topic
        self._group = group
        self._waiting: list[Outgoing] = []

    def closed(self, partition: int) -> list[ClosedRun]:
        known: dict[bytes, ClosedRun | None] = {}
        for record in self._broker.read(self._topic, partition):
            if record.key is not None:
                known[record.key] = self._closed_run(record)
        return [run for run in known.values() if run is not None]

    def put(self, partition: int, run: ClosedRun) -> None:
        key = json.dumps([self._group, run.run_id]).encode()
        about = {"key": run.key, "first": run.first, "last": run.last, "cut": run.cut, "pieces": run.pieces}
        self._waiting.append(Outgoing(self._topic, key, json.dumps(about).encode(), partition=partition))

    def flush(self) -> None:
        if self._waiting:
            self._broker.send(self._waiting)
            self._waiting.clear()

    def _closed_run(self, record: Record) -> ClosedRun | None:
        """None for runs of other groups, and for what is no message of ours."""
        try:
            group, run_id = json.loads(record.key or b"")
            about = json.loads(record.value or b"")
            pieces = None if about.get("pieces") is None else int(about["pieces"])
            first, last = int(about["first"]), int(about["last"])
            run = ClosedRun(str(about["key"]), str(run_id), first, last, bool(about["cut"]), pieces)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        return run if group == self._group else None


class MemoryRunLog:
    """The fake that tests use: survives the engine that wrote it, as a topic does."""

    def __init__(self) -> None:
        self.runs: dict[int, dict[str, ClosedRun]] = {}
        self._waiting: list[tuple[int, ClosedRun]] = []

    def closed(self, partition: int) -> list[ClosedRun]:
        return list(self.runs.get(partition, {}).values())

    def put(self, partition: int, run: ClosedRun) -> None:
        self._waiting.append((partition, run))

    def flush(self) -> None:
        for partition, run in self._waiting:
            self.runs.setdefault(partition, {})[run.run_id] = run
        self._waiting.clear()
