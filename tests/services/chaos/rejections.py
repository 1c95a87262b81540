"""Messages that no run takes: late lines, floods from one sender, and dead letters that are sent again."""

import time
from dataclasses import replace

from pydantic import SecretStr

from stream_triage.settings import RedactionSettings
from stream_triage.stages.redact import Redactor
from tests.services.chaos.registry import fault
from tests.services.chaos.report import Broken
from tests.services.chaos.world import World
from tests.services.farm import Message, TestRun, expected, interleaved

__all__ = ["DEAD_PER_HOUR"]

# What a farm keeps of one sender within an hour, and what a flood has.
DEAD_PER_HOUR, FLOOD = 200, 300
PSEUDONYM_KEY = SecretStr("of-the-tests-1")


def _ended_run(world: World) -> TestRun | None:
    run = world.new_run(lines=20)
    world.send_run(run)
    return run if world.wait_for(run.run_id) else None


def _late(world: World, run: TestRun, count: int) -> list[Message]:
    """So many messages of one line each for a run that has ended."""
    marked = world.ledger.mark([b"late line"] * count, world.kind)
    return [Message(run.run_id.encode(), line, {"source": next(iter(run.sources))}) for line in marked]


@fault("late-lines", 25, "each late line is in one dead letter, whatever dies, and changes no verdict")
def late_lines(world: World) -> None:
    """Lines come for runs that have ended, and the worker that rejects them dies."""
    count, step = world.rng.choice((1, 5, 40)), world.a_step()
    world.need_worker()
    run = _ended_run(world)
    if run is None:
        return
    late = _late(world, run, count)
    world.send(late[: count // 2])
    world.kill_at(step)
    world.send(late[count // 2 :])
    world.need_worker()
    world.traffic()


@fault("flood", 20, "one sender with more rejected messages than `kafka.dead_per_hour` does not stop the others")
def flood(world: World) -> None:
    """One sender sends late lines for one run, or messages with a wrong number; another run must still be judged."""
    late = world.rng.random() < 0.6
    world.need_worker()
    run = _ended_run(world)
    if run is None:
        return
    messages = _late(world, run, FLOOD)
    key = run.run_id
    if not late:
        key = f"{world.kind}/wrong-number/{run.run_id}"
        messages = [Message(key.encode(), message.value, {"source": "ue", "seq": "-1"}) for message in messages]
    marks = len(world.ledger.marks)
    world.ledger.floods[key] = set(range(marks - FLOOD, marks))
    world.send(messages)
    other = world.new_run(lines=20)
    world.send_run(other)
    world.traffic()
    world.wait_for(other.run_id)


@fault("replay-late", 25, "`replay-dead` adds no line twice, however often it runs and whatever dies")
def replay_dead(world: World) -> None:
    """Late lines become dead letters and are sent again, more than once; the worker and the command die in between."""
    count, replays = world.rng.choice((1, 8, 30)), world.rng.choice((1, 2, 3))
    steps = [world.a_step() if world.rng.random() < 0.5 else "" for _ in range(replays)]
    killed = [world.rng.uniform(0.5, 3.0) if world.rng.random() < 0.4 else None for _ in range(replays)]
    # Late lines are sent again only if they are asked for, since they will be too late again.
    reason = ("--reason", "its run has ended") if world.rng.random() < 0.7 else ()
    world.need_worker(dying=0)
    run = _ended_run(world)
    if run is None:
        return
    before = world.dead_letters()
    world.send(_late(world, run, count))
    world.wait(lambda: world.dead_letters() > before, world.patience, "dead letters of late lines")
    for step, moment in zip(steps, killed, strict=True):
        if step:
            world.worker.start(step)
        if moment is not None:
            world.kill_command(moment, "replay-dead", *reason)
        world.done("replay-dead", *reason)
        time.sleep(0.5)
        world.need_worker(dying=0)
    world.traffic()


@fault("replay-mended", 15, "once the cause is mended, `replay-dead` brings each line into its run once")
def replay_mended(world: World) -> None:
    """Keys with an IMSI are rejected until `redaction.pseudonym_key` is set; workers and the command die around that."""
    farm = world.side_farm("mended")
    sample = world.new_run(lines=40)
    del world.ledger.runs[sample.run_id]
    keys = [f"imsi-00101{world.rng.randrange(10**9, 10**10)}/attach" for _ in range(3)]
    runs = [replace(sample, run_id=key) for key in keys]
    steps, moment = [world.a_step() for _ in range(4)], world.rng.uniform(0.5, 3.0)
    farm.send(interleaved(runs, world.rng.randrange(1 << 30)))
    for step in steps[:2]:
        world.let_live(farm, step)
    farm.more_settings["redaction"] = {"pseudonym_key": PSEUDONYM_KEY.get_secret_value()}
    for step in steps[2:]:
        world.kill_command(moment, "replay-dead", farm=farm)
        world.let_live(farm, step)
    world.done("replay-dead", farm=farm)
    world.let_live(farm, until=lambda: len(farm.final_runs()) >= len(runs) and farm.everything_committed())
    wanted = expected(runs, redactor=Redactor.from_settings(RedactionSettings(pseudonym_key=PSEUDONYM_KEY)))
    for promise, what in farm.differences(wanted).items():
        world.broken += [Broken(promise, world.kind, one[:400]) for one in what]
    farm.drop()
