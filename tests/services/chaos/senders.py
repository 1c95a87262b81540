"""Senders restart, keep their numbers or lose them, or are two: each line comes into its run once, or is accounted for."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace

from tests.services.chaos.ledger import Fate
from tests.services.chaos.registry import fault
from tests.services.chaos.world import World
from tests.services.farm import Message, TestRun, messages_of
from tests.services.shipping import PROGRAM

__all__: list[str] = []


def _numbered(run: TestRun, source: str, text: bytes, *, lines: int = 10, end: bool = True) -> list[Message]:
    """Messages of so many lines of one source, numbered from 0 on."""
    (stream,) = messages_of(replace(run, sources={source: text}), lines, end=end)
    return stream


def _in_epoch(messages: Sequence[Message], epoch: str) -> list[Message]:
    return [replace(message, headers={**message.headers, "seq.epoch": epoch}) for message in messages]


def _halves(text: bytes, share: float) -> tuple[bytes, bytes]:
    lines = text.splitlines(keepends=True)
    cut = min(len(lines) - 1, max(1, int(len(lines) * share)))
    return b"".join(lines[:cut]), b"".join(lines[cut:])


@fault("numbering-kept", 35, "what a restarted sender sends twice under the same numbers is dropped as a repeat")
def numbering_kept(world: World) -> None:
    """A sender dies and sends its last messages again, with the numbers that they had; a worker dies in between."""
    run = world.new_run(lines=120)
    streams = messages_of(run, lines=5)
    world.need_worker()
    sent: list[Message] = []
    for stream in streams:  # every source begins before one ends
        at = world.rng.randrange(1, len(stream)) if len(stream) > 1 else 1
        sent += stream[:at]
    world.send(sent)
    if world.rng.random() < 0.5:
        world.kill_at(world.a_step())
    world.need_worker(dying=0)
    again = [message for stream in streams for message in stream[max(0, _count_sent(stream, sent) - 3) :]]
    world.send(_ends_last(again))
    world.traffic()
    world.wait_for(run.run_id)


def _count_sent(stream: Sequence[Message], sent: Sequence[Message]) -> int:
    return sum(message in sent for message in stream)


def _ends_last(messages: Sequence[Message]) -> list[Message]:
    return sorted(messages, key=lambda message: message.headers.get("end", ""))


@fault("numbering-lost", 35, "a sender that numbers from 0 again after a restart loses no line, and sends none twice")
def numbering_lost(world: World) -> None:
    """A sender dies, and numbers from 0 again: the rest of the log, or all of it, cut into other messages."""
    run = world.new_run(Fate.LINES, lines=60, sources=1, marks=True)
    ((source, text),) = run.sources.items()
    first, second = _halves(text, world.rng.uniform(0.2, 0.8))
    reads_all, names_epoch = world.rng.random() < 0.5, world.rng.random() < 0.5
    before = _numbered(run, source, first, end=False)
    after = _numbered(run, source, text, lines=7) if reads_all else _numbered(run, source, second)
    if names_epoch:  # as triage-ship does: each start has an epoch of its own
        before, after = _in_epoch(before, "one"), _in_epoch(after, "two")
    world.need_worker()
    world.send(before)
    if world.rng.random() < 0.5:
        world.kill_at(world.a_step())
    world.need_worker()
    world.send(after)
    world.traffic()
    world.wait_for(run.run_id)


@fault("two-senders", 25, "two senders that number one source alike lose no line unseen")
def two_senders(world: World) -> None:
    """Two programs send different lines under one key and source, both numbered from 0, in turns."""
    run = world.new_run(Fate.LINES, lines=60, sources=1, marks=True)
    ((source, text),) = run.sources.items()
    streams = [_numbered(run, source, half, end=False) for half in _halves(text, 0.5)]
    if world.rng.random() < 0.3:
        streams = [_in_epoch(stream, epoch) for stream, epoch in zip(streams, ("one", "two"), strict=True)]
    mixed: list[Message] = []
    while streams := [stream for stream in streams if stream]:
        mixed.append(world.rng.choice(streams).pop(0))
    world.need_worker()
    world.send(mixed)
    if world.rng.random() < 0.5:
        world.kill_at(world.a_step())
    world.need_worker()
    world.send([Message(run.run_id.encode(), b"", {"source": source, "end": "1"})])
    world.traffic()
    world.wait_for(run.run_id)


@fault("early-end", 10, "a source that ends before another one begins costs no line of the other")
def early_end(world: World) -> None:
    """The senders of a run's sources start one after the other: one has sent its end before the next one begins."""
    run = world.new_run(Fate.LINES, lines=30, marks=True)
    pauses = [world.rng.choice((0, 0.3, 2)) for _ in run.sources]
    world.need_worker()
    for stream, seconds in zip(messages_of(run, lines=10), pauses, strict=True):
        world.send(stream)
        time.sleep(seconds)
    if world.rng.random() < 0.5:
        world.kill_at(world.a_step())
    world.need_worker()
    world.traffic()
    world.wait_for(run.run_id)


@fault("shipper-restart", 15, "every line of a shipper that is killed comes into its run once")
def shipper_restart(world: World) -> None:
    """`triage-ship` is killed while it sends a log that grows, and may lose its state; another start sends the rest."""
    run = world.new_run(Fate.LINES, lines=120, marks=True)
    folder = world.farm.log_folder / run.run_id.replace("/", "-")
    folder.mkdir()
    path = folder / "tester.log"
    first, second = _halves(b"".join(run.sources.values()), world.rng.uniform(0.2, 0.8))
    options = ["--bootstrap", world.farm.kafka.servers[0], "--topic", world.farm.kafka.topic, "--linger", "0.1"]
    command = [*PROGRAM, *options, "--state", str(folder / "state"), "--run-id", run.run_id, str(path)]
    moment, loses_state = world.rng.uniform(0.5, 3.0), world.rng.random() < 0.4
    world.need_worker()
    path.write_bytes(first)
    with (folder / "shipper.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        time.sleep(moment / 2)
        with path.open("ab") as file:
            file.write(second)
        time.sleep(moment / 2)
        process.kill()
        process.wait()
        if loses_state:
            shutil.rmtree(folder / "state", ignore_errors=True)
        done = subprocess.run([*command, "--once"], stdout=log, stderr=log, timeout=world.patience, check=False)
    if done.returncode:
        world.broke("exits", f"triage-ship: status {done.returncode}: {(folder / 'shipper.log').read_text()[-300:]}")
    world.traffic()
    world.wait_for(run.run_id)
