"""Runs are forgotten while workers die, read again, and get late lines and dead letters: none may come back."""

from tests.services.chaos.registry import fault
from tests.services.chaos.world import World
from tests.services.farm import Message

__all__: list[str] = []


@fault("forget", 60, "a forgotten run stays forgotten, in every sink, topic and index")
def forget(world: World) -> None:
    """A run is forgotten; then a worker dies, reads its messages again, and perhaps gets late lines of it, also replayed."""
    run = world.new_run(lines=40)
    worker_dies, late, replayed, comes_again = (world.rng.random() < share for share in (0.6, 0.5, 0.3, 0.5))
    step = world.a_step()
    world.need_worker(dying=0)
    world.send_run(run)
    if not world.wait_for(run.run_id):
        return
    if worker_dies:
        world.worker.start(step)  # it may die before `forget`, during it, or after it
    world.done("forget", run.run_id)
    world.ledger.forgotten(run.run_id)
    if late:
        line = world.ledger.mark([b"a line after the end"], world.kind)
        world.ledger.of_forgotten.add(len(world.ledger.marks) - 1)
        world.send([Message(run.run_id.encode(), line[0], {"source": next(iter(run.sources))})])
    world.traffic()
    if comes_again:
        world.worker.kill()
    world.need_worker(dying=0)
    if replayed:
        world.done("replay-dead", "--reason", "its run has ended")


@fault("forget-killed", 10, "`forget` that was killed can be repeated, and then the run is gone")
def forget_killed(world: World) -> None:
    """`stream-triage forget` itself is killed while it runs, and called again."""
    run = world.new_run(lines=40)
    moment = world.rng.uniform(0.3, 3.0)
    world.need_worker(dying=0)
    world.send_run(run)
    if not world.wait_for(run.run_id):
        return
    world.kill_command(moment, "forget", run.run_id)
    world.done("forget", run.run_id, statuses=(0, 2))  # 2: the killed one had removed it everywhere
    world.ledger.forgotten(run.run_id)
    world.traffic()
    world.worker.kill()
