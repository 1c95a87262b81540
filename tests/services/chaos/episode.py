"""A part of the planned faults in, injected into one farm; broken promises out, once all its runs should be in the sinks."""

import random
import tempfile
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.services.chaos import disks, forgetting, growth, kills, outages, redaction, rejections, senders, silence  # noqa: F401
from tests.services.chaos.invariants import check
from tests.services.chaos.ledger import Fate
from tests.services.chaos.outcome import Outcome
from tests.services.chaos.registry import FAULTS
from tests.services.chaos.report import Report
from tests.services.chaos.traffic import TRAFFIC
from tests.services.chaos.world import Servers, World
from tests.services.farm import Farm

__all__ = ["FAULTS_OF_AN_EPISODE", "planned", "run_episode"]

FAULTS_OF_AN_EPISODE = 20
# How much longer than for one verdict to wait for those of all runs that are under way when the last fault is over.
SETTLE_FACTOR = 3


def planned(faults: int, seed: int, only: Collection[str] = ()) -> list[list[str]]:
    """The faults of each episode, by name: shares by weight, but one of each kind if there is room for it."""
    weights = {name: fault.weight for name, fault in FAULTS.items() if not only or name in only}
    total = sum(weights.values())
    counts = {name: max(1, faults * weight // total) for name, weight in weights.items()}
    while rest := faults - sum(counts.values()):
        # The kind that is furthest from its share gets one more, or gives one away; the last of a kind goes last.
        change = 1 if rest > 0 else -1
        several = max(counts.values()) > 1
        may_change = [name for name, count in counts.items() if change > 0 or count > several]
        counts[max(may_change, key=lambda name: change * (faults * weights[name] - counts[name] * total))] += change
    names = list(Counter(counts).elements())
    random.Random(seed).shuffle(names)
    return [names[start : start + FAULTS_OF_AN_EPISODE] for start in range(0, len(names), FAULTS_OF_AN_EPISODE)]


def run_episode(
    servers: Servers, faults: Sequence[str], seed: str, report: Report, *, patience: float = 60.0, silent_runs: int = 300
) -> None:
    """Injects the faults, one after the other, and adds them and the promises that were broken to the report."""
    with _farm(servers) as farm:
        world = World(farm, servers, seed, len(faults), patience=patience, silent_runs=silent_runs, report=report)
        try:
            for number, name in enumerate(faults):
                began = time.monotonic()
                world.begin(name, f"{seed}/{number}")
                _try(world, FAULTS[name].act, World.check_positions)
                report.done(name, time.monotonic() - began)
            world.begin(TRAFFIC, TRAFFIC)
            _try(world, _settle, _check)
        finally:
            world.worker.kill()
            report.runs += len(world.ledger.runs)
            report.show_broken()


@contextmanager
def _farm(servers: Servers) -> Iterator[Farm]:
    """A farm with topics and indices of its own, on a small disk, which are removed afterwards."""
    name = f"chaos-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as folder, disks.mounted(Path(folder) / "disk"):
        farm = Farm(
            Path(folder) / "disk", servers.kafka.bootstrap, name,
            instance="first", idle_seconds=3600, dead_per_hour=rejections.DEAD_PER_HOUR,
            end_grace_seconds=1,  # sources may begin late
        )  # fmt: skip
        farm.log_folder = Path(folder)
        farm.sinks.insert(0, "archive")
        farm.more_settings["provisional"] = {"every_seconds": 2}
        farm.use_opensearch(servers.opensearch, timeout_seconds=5)
        try:
            yield farm
        finally:
            farm.drop()


def _try(world: World, *steps: Callable[[World], None]) -> None:
    """Does the steps; notes it if the harness itself fails, so that the figures of the other faults are not lost."""
    try:
        for step in steps:
            step(world)
    except Exception:
        world.broke("failed", traceback.format_exc()[-1500:])
        for server in (world.servers.kafka, world.servers.opensearch):
            with suppress(Exception):
                server.resume()
                server.start()


def _settle(world: World) -> None:
    """Sends the rest and waits until everything is judged and committed; then the worker ends in order."""
    world.finish_traffic()
    wanted = {run_id for run_id, sent in world.ledger.runs.items() if sent.fate is not Fate.FORGOTTEN}
    patience = world.patience * SETTLE_FACTOR
    world.wait(lambda: wanted <= world.finals(), patience, "verdicts of all runs")
    world.wait(world.farm.everything_committed, world.patience, "everything is committed")
    world.terminate_worker()


def _check(world: World) -> None:
    copies = world.worker.deaths_before_log + world.broker_deaths
    world.broken += check(world.ledger, Outcome(world.farm), world.worker.exits, copies)
