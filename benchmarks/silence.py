"""Thousands of runs in whose senders stop without a word; how well the worker goes on while all of them end at once out.

`python -m benchmarks.stream --silent N` prints the figures. The runs have no ends, so silence ends them, and they are in the
topic before the worker starts, so all of them end within moments.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.services.farm import Farm, Message, TestRun, Worker, messages_of
from tests.services.servers import free_port

__all__ = ["SilentEnds", "silent_ends"]

IDLE_SECONDS = 10.0
CHUNK_LINES = 200
POLL_SECONDS = 0.5
# A worker that gets no further within this time hangs.
PATIENCE_SECONDS = 1800.0
LATE_SECONDS = 2.0


@dataclass
class SilentEnds:
    """What was seen of the worker."""

    runs: int = 0
    stored: int = 0
    open_mb: float = 0.0
    """Peak memory when all runs were open."""
    peak_mb: float = 0.0
    polls: int = 0
    """How often /health was asked, and of these, how often it was not 200, and how often it took `LATE_SECONDS`."""
    unhealthy: int = 0
    late: int = 0
    longest_step: float = 0.0
    """Seconds between two signs of life of the worker."""
    stop_seconds: float = 0.0
    """From SIGTERM, while runs were being judged, to the end of the process."""
    stop_code: int | None = None
    stored_at_stop: int = 0
    seconds: float = 0.0
    """From the first verdict to the last, both workers together."""


def silent_ends(farm: Farm, runs: Sequence[TestRun], count: int) -> SilentEnds:
    """Sends `count` runs without ends, made of `runs`; stops the worker while it judges them, and lets another go on."""
    seen = SilentEnds(count)
    port = free_port()
    farm.more_settings["metrics"] = {"listen": f"127.0.0.1:{port}"}
    farm.kafka = farm.kafka.model_copy(update={"idle_seconds": IDLE_SECONDS})
    send_without_ends(farm, runs, count, CHUNK_LINES)
    with farm.worker("--quiet") as worker, _watched(worker, port, seen) as stopping:
        _wait(worker, lambda: farm.count_stored() > 0)
        seen.open_mb, began = worker.memory_bytes() / 2**20, time.perf_counter()
        _wait(worker, lambda: farm.count_stored() >= count // 4)
        seen.peak_mb = worker.memory_bytes() / 2**20
        asked = time.perf_counter()
        stopping.set()
        seen.stop_code = worker.stop(300)
        seen.stop_seconds = time.perf_counter() - asked
        seen.stored_at_stop = farm.count_stored()
    with farm.worker("--quiet") as worker, _watched(worker, port, seen):
        _wait(worker, lambda: farm.count_stored() >= count)
        seen.seconds = time.perf_counter() - began
        seen.peak_mb = max(seen.peak_mb, worker.memory_bytes() / 2**20)
    seen.stored = farm.count_stored()
    return seen


def send_without_ends(farm: Farm, runs: Sequence[TestRun], count: int, lines: int) -> None:
    """Sends the runs again and again, under new names, until there are `count` of them; `lines` in a message."""
    for start in range(0, count, 1000):
        messages: list[Message] = []
        for number in range(start, min(start + 1000, count)):
            run = TestRun(f"silent/{number}", runs[number % len(runs)].sources)
            messages += [message for stream in messages_of(run, lines, end=False) for message in stream]
        farm.send(messages)


def _wait(worker: Worker, done: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not done():
        assert worker.code is None, worker.text()
        assert time.monotonic() - began < PATIENCE_SECONDS, worker.text()
        time.sleep(POLL_SECONDS)


@contextmanager
def _watched(worker: Worker, port: int, seen: SilentEnds) -> Iterator[threading.Event]:
    """Asks the worker for its health from when it answers first, until it ends.

    Yields an event to set before the worker is stopped: it may close the port before the process ends.
    """
    over, stopping = threading.Event(), threading.Event()

    def watch() -> None:
        answered = False
        while not over.wait(POLL_SECONDS):
            began = time.monotonic()
            status = _status(port, "/health")
            late = time.monotonic() - began > LATE_SECONDS
            if over.is_set() or worker.code is not None or (stopping.is_set() and status == 0):
                return
            answered = answered or status == 200
            if answered:
                seen.polls += 1
                seen.unhealthy += status != 200
                seen.late += late
                seen.longest_step = max(seen.longest_step, _longest_step(port))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield stopping
    finally:
        over.set()
        thread.join(30)


def _status(port: int, path: str) -> int:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0


def _longest_step(port: int) -> float:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            page = response.read().decode()
    except OSError:
        return 0.0
    lines = (line for line in page.splitlines() if line.startswith("stream_triage_longest_step_seconds "))
    return max((float(line.split()[1]) for line in lines), default=0.0)
