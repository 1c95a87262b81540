"""The topic gets more partitions while workers run."""

import contextlib

from stream_triage.clients.kafka import KafkaBroker
from tests.services.chaos.registry import fault
from tests.services.chaos.traffic import partition_of
from tests.services.chaos.world import World

__all__: list[str] = []

# Topics of an episode are small; each partition costs the broker files.
MAX_PARTITIONS = 8


def _grow(world: World, topic: str) -> None:
    with KafkaBroker(world.farm.admin) as broker:
        broker.grow(topic, world.partitions)


@fault("partitions-grow", 10, "runs in partitions that are added later are judged like the others, with no one's help")
def partitions_grow(world: World) -> None:
    """One partition more, then a run in each of them; the worker may die as it learns of the new one."""
    world.need_worker()
    world.traffic()
    if world.partitions < MAX_PARTITIONS:
        world.partitions += 1
        _grow(world, world.farm.kafka.topic)
    new, tries = world.partitions - 1, 0
    while partition_of((name := f"{world.kind}/new/{world.partitions}/{tries}").encode(), world.partitions) != new:
        tries += 1
    runs = [world.new_run(lines=20, name=name), *(world.new_run(lines=20) for _ in range(3))]
    for run in runs:
        world.send_run(run)
    if world.rng.random() < 0.5:
        world.kill_at(world.a_step())
    world.need_worker(dying=0)
    if not world.wait_for(*(run.run_id for run in runs)):
        with contextlib.suppress(Exception):  # the remedy, so that the faults after this one can be done
            _grow(world, world.farm.kafka.runs_topic)
