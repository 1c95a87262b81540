"""Ends of runs and marks of `forget` in; verdicts of runs that are not forgotten out, and the others removed from sinks.

`forget` marks a run in the run log first and removes it from the sinks then. A worker reads the marks after it has written
its verdicts, and before a position moves. So whatever comes first, no sink keeps the run: either `forget` has removed the
verdict, or the worker sees the mark. A worker that dies in between leaves the position before the run, and the next one
meets the mark as soon as it reads the partition.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from stream_triage.clock import Clock
from stream_triage.errors import StoreError
from stream_triage.intake import Intake
from stream_triage.ports import RunLog
from stream_triage.records import PartitionRunId, RunEnd
from stream_triage.worker.runs import PartitionRuns

__all__ = ["Removals"]

# Between looks at the marks while nothing is flushed: so long may an open run that is forgotten go on being shown.
MARKS_SECONDS = 5.0


class Removals:
    """What a worker does about forgotten runs of its partitions. The engine says when."""

    def __init__(self, run_log: RunLog, intake: Intake, partitions: Mapping[int, PartitionRuns], clock: Clock) -> None:
        self._run_log = run_log
        self._intake = intake
        self._partitions = partitions
        self._clock = clock
        self._judged: list[tuple[int, str]] = []
        """Runs whose verdicts are not durable yet, with their partitions."""
        self._removed: set[tuple[int, str]] = set()
        """Forgotten runs that were removed from the sinks and are still open, or were not durable yet."""
        self._waiting: list[tuple[int, str]] = []
        """Those that are to be removed."""
        self._marks_read = -math.inf

    @property
    def waiting(self) -> bool:
        """Whether runs are to be removed with the next flush."""
        return bool(self._waiting)

    def judge(self, partition: int, end: RunEnd) -> None:
        """Gives the verdict of a run that has ended, unless it is forgotten."""
        run_id = PartitionRunId.of(partition, end.run_id)
        if end.run_id in self._partitions[partition].forgotten.ids:
            self._intake.discard_open([run_id])
        else:
            self._intake.handle(replace(end, run_id=run_id))
        self._judged.append((partition, end.run_id))

    def finish(self, *, written: bool) -> None:
        """Removes the runs that were forgotten while they were open or being written.

        Args:
            written: All verdicts so far are durable. What is not will be looked up once more.

        Raises:
            StoreError: The marks cannot be read, or a sink cannot remove a run now; the next call does it.
        """
        self._read_marks()
        while self._waiting:
            self._intake.forget(PartitionRunId.of(*self._waiting[-1]))
            self._removed.add(self._waiting.pop())
        if written:
            for partition, run_id in self._judged:
                self._partitions[partition].forgotten.over(run_id)
            self._removed.difference_update(self._judged)
            self._judged.clear()

    def look(self) -> None:
        """Reads the marks now and then, so that a run that is forgotten while it is open is not shown any more."""
        if self._clock.monotonic() - self._marks_read >= MARKS_SECONDS:
            with suppress(StoreError):  # the next flush reports it
                self._read_marks()

    def revoke(self, partition: int) -> None:
        """The partition goes to another worker, with its runs."""
        self._judged = [judged for judged in self._judged if judged[0] != partition]
        self._waiting = [waiting for waiting in self._waiting if waiting[0] != partition]
        self._removed = {removed for removed in self._removed if removed[0] != partition}

    def _read_marks(self) -> None:
        self._marks_read = self._clock.monotonic()
        for partition, marks in self._run_log.new_marks(list(self._partitions)).items():
            new = self._partitions[partition].forgotten.add(marks)
            self._intake.discard_open([PartitionRunId.of(partition, run_id) for run_id in new])
        # Also runs whose marks were known when they began: a worker that died may have written them.
        forgotten = {(partition, run_id) for partition, runs in self._partitions.items() for run_id in runs.forgotten.ids}
        self._waiting = sorted(forgotten - self._removed)
