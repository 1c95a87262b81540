"""Workers die: at each named step of `dying_worker`, at random moments, beside another worker, or by SIGTERM."""

import time

from tests.services.chaos.registry import fault
from tests.services.chaos.world import World

__all__: list[str] = []

RANDOM_SHARE = 0.15
SECOND = "second"


@fault("kill", 187, "a worker that dies anywhere loses, doubles and changes nothing")
def kill(world: World) -> None:
    """SIGKILL at a named step, or at a random moment."""
    at_random, moment, step = world.rng.random() < RANDOM_SHARE, world.rng.uniform(0.5, 6.0), world.a_step()
    if not at_random:
        world.kill_at(step)
        return
    world.worker.start()
    world.traffic()
    time.sleep(moment)
    world.worker.kill()


@fault("terminate", 20, "SIGTERM ends a worker within 5 s with status 0, and nothing is lost")
def terminate(world: World) -> None:
    """SIGTERM at a random moment while messages come, also before the worker has joined its group."""
    moment = world.rng.uniform(0.5, 8.0)
    world.worker.start()
    world.traffic()
    time.sleep(moment)
    world.terminate_worker(may_be_starting=True)


@fault("take-over", 20, "the other worker takes over what a dead one had open")
def take_over(world: World) -> None:
    """Two workers share the topic; one of them is killed, and the other one judges a run in each partition."""
    world.need_worker(dying=0)
    other = world.farm.start_worker(instance=SECOND)
    try:
        world.traffic()
        time.sleep(world.rng.uniform(2, 8))
        first_dies = world.rng.random() < 0.5
        if first_dies:
            world.worker.kill()
        else:
            other.kill()
        runs = [world.new_run(lines=20) for _ in range(world.partitions)]
        for run in runs:
            world.send_run(run)
        world.wait(
            lambda: {run.run_id for run in runs} <= world.finals(), world.patience, "verdicts by the other worker",
            supervised=not first_dies,
        )  # fmt: skip
        if other.code not in (None, -9):
            world.broke("exits", f"the second worker ended with status {other.code}: {other.text()[-300:]}")
    finally:
        other.kill()
