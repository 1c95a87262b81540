"""Servers go away and come back: the broker and OpenSearch are killed, paused, or reject what is written."""

import time

from tests.services.chaos.registry import fault
from tests.services.chaos.supervisor import Supervisor
from tests.services.chaos.world import World
from tests.services.servers import Server

__all__: list[str] = []

# `/ready` asks every server, also while there is nothing to write.
READY_SECONDS = 40.0


@fault("broker-kill", 14, "the worker goes on by itself when the broker is back")
def broker_kill(world: World) -> None:
    """SIGKILL to the broker while messages come; it is away for some seconds."""
    away, idle = world.rng.uniform(0.5, 6.0), world.rng.random() < 0.5
    world.need_worker()
    world.traffic()
    if idle:
        time.sleep(2)
    world.servers.kafka.kill()
    world.broker_deaths += 1
    try:
        time.sleep(away)
    finally:
        world.servers.kafka.start()
    world.traffic()
    run = world.new_run(lines=20)
    world.send_run(run)
    world.wait_for(run.run_id)


@fault("opensearch-kill", 6, "nothing is committed that OpenSearch does not have, and `/ready` says that it is away")
def opensearch_kill(world: World) -> None:
    """SIGKILL to OpenSearch while a run ends, or while there is nothing to do."""
    idle = world.rng.random() < 0.5
    world.worker.keep_running()
    run = world.new_run(lines=20)
    if idle:
        world.send_run(run)
        world.wait_for(run.run_id)
        world.wait(lambda: world.answer("/ready") == 200, world.patience, "/ready is 200 while all servers are there")
    world.servers.opensearch.kill()
    try:
        if not idle:
            world.send_run(run)
        world.wait(lambda: world.answer("/ready") == 503, READY_SECONDS, "/ready is 503 while OpenSearch is away")
    finally:
        world.servers.opensearch.start()
    world.wait_for(run.run_id)
    world.wait(lambda: world.answer("/ready") == 200, world.patience, "/ready is 200 again")


@fault("opensearch-read-only", 16, "documents that OpenSearch does not take for a while are all indexed in the end")
def opensearch_read_only(world: World) -> None:
    """All indices are set read-only, as OpenSearch does when its disk is nearly full; a worker may die meanwhile."""
    away, dies, step = world.rng.uniform(1, 5), world.rng.random() < 0.4, world.a_step()
    run = world.new_run(lines=20)
    world.need_worker(dying=0)
    _block_writes(world, blocked=True)
    try:
        world.send_run(run)
        world.traffic()
        if dies:
            world.kill_at(step)
        else:
            time.sleep(away)
    finally:
        _block_writes(world, blocked=False)
    world.need_worker(dying=0)
    world.wait_for(run.run_id)


def _block_writes(world: World, *, blocked: bool) -> None:
    search = world.servers.opensearch
    index = f"{world.farm.kafka.group}-*"
    value = True if blocked else None
    search.ask(f"{index}/_settings", {"index.blocks.read_only_allow_delete": value}, "PUT")


@fault("pause", 8, "a server or a worker that stands still for a while loses nothing")
def pause(world: World) -> None:
    """SIGSTOP and SIGCONT: connections stay open, and nobody answers. A worker is stopped for longer than its session."""
    what = world.rng.choice(("worker", "broker", "opensearch"))
    seconds = world.rng.uniform(7, 10) if what == "worker" else world.rng.uniform(2, 8)
    world.need_worker(dying=0)
    world.traffic()
    world.broker_deaths += what == "broker"
    could_be: dict[str, Supervisor | Server] = {
        "worker": world.worker, "broker": world.servers.kafka, "opensearch": world.servers.opensearch
    }  # fmt: skip
    paused = could_be[what]
    paused.pause()
    try:
        time.sleep(seconds)
    finally:
        paused.resume()
    run = world.new_run(lines=20)
    world.send_run(run)
    world.wait_for(run.run_id)
