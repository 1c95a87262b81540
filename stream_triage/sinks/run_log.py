"""Ended runs, rejected messages and forgotten runs go in; a worker that takes over a partition reads them again.

They are kept in a compacted topic with as many partitions as the topic of log lines: partition n describes partition n.
Keys are JSON: `[group, run id]` for an ended run, `[group, "rejected", first name]` for rejected messages, and
`["forgotten", topic of log lines, run id]` for a mark of `forget`, which holds for all groups that read this topic.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from stream_triage.clients.broker import Broker, Outgoing
from stream_triage.records import ClosedRun, ForgottenRun, LoggedPartition, Record, RejectedMessages

__all__ = ["MemoryRunLog", "RunLogTopic"]

_REJECTED, _FORGOTTEN = "rejected", "forgotten"
_Entry = ClosedRun | RejectedMessages | ForgottenRun


class RunLogTopic:
    """One message of about 120 bytes for each run, which is remembered as long as the topic keeps it."""

    def __init__(self, broker: Broker, topic: str, group: str, log_topic: str) -> None:
        """`log_topic` is the topic of log lines that the partitions describe."""
        self._broker = broker
        self._topic = topic
        self._group = group
        self._log_topic = log_topic
        self._waiting: list[Outgoing] = []
        self._read_up_to: dict[int, int] = {}
        """By partition, the offset after all entries that were read."""
        self._sent: Counter[int] = Counter()
        """By partition, how many entries this object has sent since."""

    def read(self, partition: int) -> LoggedPartition:
        """What is remembered of a partition: ended runs and rejected messages of this group, marks for all groups."""
        known: dict[bytes, _Entry | None] = {}
        self._read_up_to[partition] = self._sent[partition] = 0
        for record in self._broker.read(self._topic, partition):
            self._read_up_to[partition] = record.offset + 1
            if record.key is not None:
                known[record.key] = self._entry(record)
        return _sorted_out(entry for entry in known.values() if entry is not None)

    def new_marks(self, partitions: Collection[int]) -> dict[int, list[ForgottenRun]]:
        """Marks of `forget` since the last look. One short request if nobody else has written to these partitions."""
        ends = self._broker.end_offsets(self._topic, partitions) if partitions else {}
        starts = {number: self._read_up_to.get(number, 0) for number in partitions}
        behind = {number: start for number, start in starts.items() if ends[number] != start + self._sent[number]}
        new: dict[int, list[ForgottenRun]] = {}
        for record in self._broker.read_on(self._topic, behind) if behind else ():
            ends[record.partition] = max(ends[record.partition], record.offset + 1)
            if isinstance(entry := self._entry(record), ForgottenRun):
                new.setdefault(record.partition, []).append(entry)
        for number in behind:
            self._read_up_to[number], self._sent[number] = ends[number], 0
        return new

    def put(self, partition: int, run: ClosedRun) -> None:
        """Buffers an ended run until `flush`."""
        fields: dict[str, Any] = {
            "key": run.key, "first": run.first, "last": run.last, "cut": run.cut, "pieces": run.pieces
        }  # fmt: skip
        if run.replayed:
            fields["replayed"] = dict(run.replayed)
        self._put(partition, [self._group, run.run_id], fields)

    def put_rejected(self, partition: int, rejected: RejectedMessages) -> None:
        """Buffers the names of rejected messages until `flush`."""
        first = next(iter((*rejected.unusable, *rejected.others)))
        self._put(partition, [self._group, _REJECTED, first], rejected._asdict())

    def put_forgotten(self, partition: int, mark: ForgottenRun) -> None:
        """Buffers a mark of `forget` until `flush`."""
        self._put(partition, [_FORGOTTEN, self._log_topic, mark.run_id], {"before": mark.before})

    def flush(self) -> None:
        """Sends what is buffered. Raises `StoreError` and keeps all of it."""
        if not self._waiting:
            return
        self._broker.send(self._waiting)
        self._sent.update(message.partition for message in self._waiting if message.partition is not None)
        self._waiting.clear()

    def _put(self, partition: int, key: list[str], fields: dict[str, Any]) -> None:
        self._waiting.append(Outgoing(self._topic, _json(key), _json(fields), partition=partition))

    def _entry(self, record: Record) -> _Entry | None:
        """None for what other groups wrote for themselves, and for messages that this class did not write."""
        try:
            key, fields = json.loads(record.key or b""), json.loads(record.value or b"")
            return self._read_entry(key, fields)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def _read_entry(self, key: list[str], fields: dict[str, Any]) -> _Entry | None:
        if key[:2] == [_FORGOTTEN, self._log_topic]:
            return ForgottenRun(str(key[2]), int(fields["before"]))
        if key[:2] == [self._group, _REJECTED] and len(key) == 3:
            return RejectedMessages(*(tuple(map(str, fields[name])) for name in RejectedMessages._fields))
        group, run_id = key
        pieces = None if fields.get("pieces") is None else int(fields["pieces"])
        replayed = tuple((str(place), int(offset)) for place, offset in fields.get("replayed", {}).items())
        first, last = int(fields["first"]), int(fields["last"])
        run = ClosedRun(str(fields["key"]), str(run_id), first, last, bool(fields["cut"]), pieces, replayed)
        return run if group == self._group and run.key else None


class MemoryRunLog:
    """A run log in memory, for tests. Like a topic, it outlives the worker that wrote to it."""

    def __init__(self) -> None:
        self.runs: dict[int, dict[str, ClosedRun]] = {}
        self.rejected: dict[int, list[RejectedMessages]] = {}
        self.marks: dict[int, list[ForgottenRun]] = {}
        self._waiting: list[tuple[int, ClosedRun | RejectedMessages]] = []
        self._marks_read: dict[int, int] = {}

    def read(self, partition: int) -> LoggedPartition:
        """What was flushed, and all marks."""
        marks = self.marks.get(partition, [])
        self._marks_read[partition] = len(marks)
        runs = list(self.runs.get(partition, {}).values())
        return LoggedPartition(runs, list(self.rejected.get(partition, [])), list(marks))

    def new_marks(self, partitions: Collection[int]) -> dict[int, list[ForgottenRun]]:
        """Marks since the last look."""
        new = {number: self.marks.get(number, [])[self._marks_read.get(number, 0) :] for number in partitions}
        for number, marks in new.items():
            self._marks_read[number] = self._marks_read.get(number, 0) + len(marks)
        return {number: marks for number, marks in new.items() if marks}

    def put(self, partition: int, run: ClosedRun) -> None:
        """Buffers an ended run until `flush`."""
        self._waiting.append((partition, run))

    def put_rejected(self, partition: int, rejected: RejectedMessages) -> None:
        """Buffers the names of rejected messages until `flush`."""
        self._waiting.append((partition, rejected))

    def put_forgotten(self, partition: int, mark: ForgottenRun) -> None:
        """Adds a mark of `forget`, which is there at once."""
        self.marks.setdefault(partition, []).append(mark)

    def flush(self) -> None:
        """Moves what is buffered to `runs` and `rejected`."""
        for partition, entry in self._waiting:
            if isinstance(entry, ClosedRun):
                self.runs.setdefault(partition, {})[entry.run_id] = entry
            else:
                self.rejected.setdefault(partition, []).append(entry)
        self._waiting.clear()


def _sorted_out(entries: Iterable[_Entry]) -> LoggedPartition:
    logged = LoggedPartition([], [], [])
    for entry in entries:
        if isinstance(entry, ClosedRun):
            logged.closed.append(entry)
        elif isinstance(entry, RejectedMessages):
            logged.rejected.append(entry)
        else:
            logged.forgotten.append(entry)
    return logged


def _json(content: object) -> bytes:
    return json.dumps(content).encode()
