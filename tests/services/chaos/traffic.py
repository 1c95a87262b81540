"""Runs that are under way during all faults in; their messages out, a share for each fault."""

import random
from collections.abc import Iterable
from dataclasses import replace

from aiokafka.partitioner import murmur2

from tests.services.farm import PARTITIONS, Message, TestRun, interleaved, messages_of, sample_runs

__all__ = ["TRAFFIC", "Traffic", "partition_of"]

# The kind of these runs, which no fault sends.
TRAFFIC = "traffic"
RUNS_A_FAULT = 3
RUNS_AT_ONCE = 12


class Traffic:
    """Runs that begin and end all the time, twelve at once, and one in every other partition that is open all the time.

    Whenever a worker starts, it reads all that came after the beginning of such an open run again.
    """

    def __init__(self, seed: str, faults: int) -> None:
        rng = random.Random(f"{seed}/traffic")
        samples = sample_runs(max(RUNS_AT_ONCE, faults * RUNS_A_FAULT), rng.randrange(1 << 30))
        open_runs = [replace(run, run_id=_key_in(partition)) for partition, run in zip((0, 2), samples, strict=False)]
        short_runs = [replace(run, run_id=f"{TRAFFIC}/{run.run_id}") for run in samples[2:]]
        self.runs: list[TestRun] = [*open_runs, *short_runs]
        streams = [stream for run in open_runs for stream in messages_of(run)]
        self._waiting = [stream[0] for stream in streams]
        for start in range(0, len(short_runs), RUNS_AT_ONCE):
            self._waiting += interleaved(short_runs[start : start + RUNS_AT_ONCE], rng.randrange(1 << 30), lines=10)
        self._share = len(self._waiting) // faults + 1
        self._last = [message for stream in streams for message in stream[1:]]

    def share(self) -> list[Message]:
        """The messages of the next fault."""
        part, self._waiting = self._waiting[: self._share], self._waiting[self._share :]
        return part

    def rest(self) -> list[Message]:
        """All that was not sent, and the rest of the runs that were open all the time."""
        rest, self._waiting, self._last = [*self._waiting, *self._last], [], []
        return rest


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's own clients choose for a key."""
    return (int(murmur2(key)) & 0x7FFFFFFF) % partitions


def _key_in(partition: int) -> str:
    names: Iterable[str] = (f"{TRAFFIC}/open/{number}" for number in range(1000))
    return next(name for name in names if partition_of(name.encode(), PARTITIONS) == partition)
