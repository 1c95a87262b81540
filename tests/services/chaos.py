"""Kills workers while runs come in, then compares the verdicts in every sink with those of the same text without a stream.

    python -m tests.services.chaos --kills 300

Workers die at every named step of dying_worker.py, and at random moments. Prints runs lost, doubled and different.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.services.dying_worker import STEPS
from tests.services.farm import Farm, Message, Worker, expected, interleaved, sample_runs, until
from tests.services.servers import KafkaServer, OpenSearchServer

__all__ = ["Chaos"]

RUNS_A_KILL = 6
RUNS_AT_ONCE = 12
RANDOM = "a random moment"


class Chaos:
    """A farm whose workers die. Runs stay open over many deaths."""

    def __init__(self, farm: Farm, kills: int, seed: int = 0) -> None:
        self.farm = farm
        self.kills: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._planned = [*STEPS, RANDOM, RANDOM, RANDOM] * (kills // (len(STEPS) + 3) + 1)
        self._planned = self._planned[:kills]
        self._random.shuffle(self._planned)
        self.runs = sample_runs(max(RUNS_AT_ONCE, kills * RUNS_A_KILL), seed)
        self._messages: list[Message] = []
        for start in range(0, len(self.runs), RUNS_AT_ONCE):
            self._messages += interleaved(self.runs[start : start + RUNS_AT_ONCE], seed + start, lines=10)
        self._sent = 0

    def run(self) -> dict[str, list[str]]:
        """All the kills, then a worker that lives; returns runs that are lost, doubled or different."""
        share = len(self._messages) // len(self._planned) + 1
        for number, step in enumerate(self._planned, 1):
            self._send(share // 2)
            self._kill_once(step, share - share // 2)
            if sys.stderr.isatty() or number % 25 == 0:
                print(f"{number} kills, {self.farm.count_stored()} of {len(self.runs)} runs", file=sys.stderr, flush=True)
        self._send(len(self._messages))
        with self.farm.worker() as worker:
            try:
                until(lambda: self.farm.count_stored() >= len(self.runs), 120, "all runs have verdicts")
            except AssertionError:
                print(worker.text()[-2000:], file=sys.stderr)
            worker.stop()
        return self.farm.differences(expected(self.runs))

    def _send(self, count: int) -> None:
        part = self._messages[self._sent : self._sent + count]
        self._sent += len(part)
        if part:
            self.farm.send(part)

    def _kill_once(self, step: str, more: int) -> None:
        # Most flushes have nothing to write; with later calls than the second a step would hardly be reached.
        at = "" if step == RANDOM else f"{step}:{self._random.choice((1, 1, 2))}"
        with self.farm.worker(steps=at) as worker:
            sending = threading.Thread(target=self._send, args=(more,))
            sending.start()
            if at:
                self._wait_for_death(worker, 12.0)
            else:
                time.sleep(self._random.uniform(0.5, 6.0))
                worker.kill()
            sending.join()
            self.kills[step if worker.code == -9 or not at else f"{step}, not reached: killed later"] += 1

    def _wait_for_death(self, worker: Worker, seconds: float) -> None:
        """A step may not be reached often enough; then the worker is killed all the same."""
        ends = time.monotonic() + seconds
        while worker.code is None and time.monotonic() < ends:
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill workers and look for what was lost.")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        search, broker = OpenSearchServer(Path(folder) / "opensearch"), KafkaServer(Path(folder) / "kafka")
        for server in (search, broker):
            server.start()
            stack.callback(server.stop)
        farm = Farm(Path(folder) / "farm", broker.bootstrap, f"chaos-{uuid.uuid4().hex[:8]}", instance="one")
        farm.use_opensearch(search)
        chaos = Chaos(farm, chosen.kills, chosen.seed)
        began = time.monotonic()
        differences = chaos.run()
    print(f"{chosen.kills} kills, {len(chaos.runs)} runs, {time.monotonic() - began:.0f} s, sinks {', '.join(farm.sinks)}")
    for step, count in sorted(chaos.kills.items()):
        print(f"{count:5d}  {step}")
    print(", ".join(f"{name} {len(runs)}" for name, runs in differences.items()))
    for runs in differences.values():
        print("\n".join(run[:300] for run in runs[:5]))
    sys.exit(any(differences.values()))


if __name__ == "__main__":
    main()
