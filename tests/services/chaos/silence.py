"""Very many runs end at once, by silence, and the worker that judges them is stopped and killed."""

import contextlib
import threading
import time
from collections.abc import Iterator

from tests.services.chaos.registry import fault
from tests.services.chaos.report import Broken
from tests.services.chaos.world import TERM_SECONDS, World
from tests.services.farm import Farm, Message, TestRun, Worker, expected

__all__: list[str] = []

IDLE_SECONDS = 4
PEAK_BYTES = 1 << 30
SLOWEST_RUNS_A_SECOND = 10
# A run of this fault; runs of an episode that has thousands of them must be small.
LINES = 3


@fault("silent-ends", 2, "thousands of runs that fall silent together stop neither /health nor SIGTERM nor fill the memory")
def silent_ends(world: World) -> None:
    """On a farm of its own: the runs come without an end, and workers are terminated and killed while they are judged."""
    world.worker.kill()
    count = world.silent_runs
    farm = world.side_farm("silent", search=True, idle_seconds=IDLE_SECONDS)
    farm.more_settings["metrics"] = world.farm.more_settings["metrics"]
    sample = world.new_run(lines=LINES, name="silent")
    del world.ledger.runs[sample.run_id]
    farm.send([message for number in range(count) for message in _messages(f"silent/{number}", sample)])
    moments = world.rng.uniform(1, 4), world.rng.uniform(1, 4)
    _judge(world, farm, count, moments)
    (verdict,) = expected([sample]).values()
    wanted = {f"silent/{number}": verdict.model_copy(update={"run_id": f"silent/{number}"}) for number in range(count)}
    for promise, runs in farm.differences(wanted).items():
        world.broken += [Broken(promise, world.kind, run[:300]) for run in runs]
    farm.drop()


def _messages(key: str, sample: TestRun) -> list[Message]:
    return [Message(key.encode(), text, {"source": source}) for source, text in sample.sources.items()]


def _judge(world: World, farm: Farm, count: int, moments: tuple[float, float]) -> None:
    """A worker that gets SIGTERM while it judges, one that is killed, and one that judges the rest."""
    begun = 0
    for how, moment in zip(("terminate", "kill"), moments, strict=True):
        with _killed_in_the_end(farm.start_worker()) as worker:
            _wait_for_verdicts(world, worker, min(begun + 1, count))
            time.sleep(moment)
            if how == "terminate":
                _terminate(world, worker)
        begun = farm.count_stored()
    with _killed_in_the_end(farm.start_worker()) as worker, _Watched(world, worker):
        _wait_for_verdicts(world, worker, count)
        world.wait(farm.everything_committed, world.patience, "everything is committed", supervised=False)


@contextlib.contextmanager
def _killed_in_the_end(worker: Worker) -> Iterator[Worker]:
    try:
        yield worker
    finally:
        worker.kill()


def _wait_for_verdicts(world: World, worker: Worker, count: int) -> None:
    stored = worker.farm.count_stored
    world.wait(
        lambda: stored() >= count or worker.code is not None, world.patience * 10, f"{count} verdicts", supervised=False
    )
    if worker.code is not None:
        world.broke("exits", f"the worker ended with status {worker.code}: {worker.text()[-300:]}")


def _terminate(world: World, worker: Worker) -> None:
    began = time.monotonic()
    status = worker.stop(world.patience)
    if status or time.monotonic() - began > TERM_SECONDS:
        world.broke(
            "slow", f"SIGTERM: status {status} after {time.monotonic() - began:.1f} s, not 0 within {TERM_SECONDS} s"
        )


class _Watched:
    """Asks a worker for its health all the time, and notes a promise that it breaks."""

    def __init__(self, world: World, worker: Worker) -> None:
        self._world, self._worker = world, worker
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._unwell: list[int] = []
        self._peak = 0

    def _watch(self) -> None:
        while not self._stopped.wait(0.5):
            if self._worker.code is None:
                self._peak = max(self._peak, self._worker.memory_bytes())
                if (status := self._world.answer("/health")) == 503:
                    self._unwell.append(status)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        if self._unwell:
            self._world.broke("slow", f"/health was {self._unwell[0]} for {len(self._unwell) / 2:.0f} s")
        if self._peak > PEAK_BYTES:
            self._world.broke("slow", f"the worker took {self._peak >> 20} MiB of memory, more than {PEAK_BYTES >> 20}")
