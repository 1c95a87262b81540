"""Random histories of log files, acted on a folder, while both readers of the project follow it.

    python -m tests.services.histories --histories 100000

Programs write lines; logs are rotated in all usual ways, truncated, overwritten, deleted, compressed, created again with
the same inode; the reader is killed and started again. In the end each line must have come once and in order, or a loss
must have been reported. Needs no server. Histories are numbered, and each number is always the same history, so that a run
can be continued with `--first`.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from triage_ship.files import Files, FollowOptions
from triage_ship.headers import PathPattern

from stream_triage.clock import FakeClock
from stream_triage.records import Chunk, Problem, RunEnd
from stream_triage.settings import FollowSettings, InputSettings
from stream_triage.sources.file import FileSource
from tests.services.log_history import Inodes, Log, World

__all__ = ["MODES", "act"]

MODES = ("shipper, one run", "shipper, run by file", "follow, run by folder", "follow, run by file")


class Outcome:
    """What arrived: the text of each source of each run, in order of their beginnings; and what was reported."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], bytes] = {}
        self.problems: list[str] = []
        self._ended: set[str] = set()

    def take(self, run: str, source: str, text: bytes) -> None:
        if run in self._ended:  # read again from its start
            self._ended.discard(run)
            for key in [key for key in self.texts if key[0] == run]:
                self.texts[key] = b""
        self.texts[run, source] = self.texts.get((run, source), b"") + text

    def end(self, run: str) -> None:
        self._ended.add(run)

    @property
    def losses(self) -> list[str]:
        words = ("missing", "compressed and skipped", "cannot be read again", "that text is not read")
        return [problem for problem in self.problems if any(word in problem for word in words)]


def ship(world: World, inodes: Inodes, *, one_run: bool) -> Outcome:
    """Lets triage-ship follow the folder. It may be killed between two chunks."""
    outcome, positions = Outcome(), dict[str, Any]()
    options = FollowOptions((str(world.folder),), 1000, 0.0, PathPattern(None), run_id="r" if one_run else None)
    files = [Files(options, positions, outcome.problems.append)]

    def restart() -> None:
        files[0].close()
        files[0] = Files(options, positions, outcome.problems.append)

    def is_open(inode: int) -> bool:
        reader = files[0]._reader
        known = [*reader.files.values(), *reader.unresolved]
        return any(file.descriptor is not None and file.identity.inode == inode for file in known)

    world.restart, inodes.is_open = restart, is_open
    world.arrived = lambda: b"".join(outcome.texts.values())
    while world.step():
        files[0].scan(world.now)
        kill = world.rng.random() < 0.03
        for chunk in files[0].read(world.now):
            assert chunk.file
            outcome.take(chunk.key, chunk.source, chunk.text)
            positions.pop(chunk.file["id"], None)
            positions[chunk.file["id"]] = chunk.file
            if kill and world.rng.random() < 0.5:
                break
        if kill:
            restart()
        world.was_killed = kill
    files[0].close()
    return outcome


def follow(world: World, inodes: Inodes, *, by_folder: bool) -> Outcome:
    """Lets `run --follow` follow the folder, until Ctrl-C."""
    outcome = Outcome()

    class Clock(FakeClock):
        def monotonic(self) -> float:
            return world.now

        def sleep(self, seconds: float) -> None:
            if not world.step():
                raise KeyboardInterrupt

    def handle(event: Any) -> None:
        if isinstance(event, Chunk):
            text = event.data.lstrip(b"\0")  # a packed file is read as `run` reads it, with its NUL bytes
            outcome.take(event.run_id, event.source or Path(event.run_id.rpartition("#")[0]).name, text)
        elif isinstance(event, RunEnd):
            outcome.end(event.run_id)
        elif isinstance(event, Problem):
            outcome.problems.append(f"{event.path} {event.reason}")

    settings = InputSettings(run_by="folder" if by_folder else "file")
    source = FileSource([world.folder], settings, follow=FollowSettings(idle_seconds=1e6), clock=Clock())
    assert source._follow
    reader = source._follow._reader
    inodes.is_open = lambda inode: any(
        file.descriptor is not None and file.identity.inode == inode for file in [*reader.files.values(), *reader.unresolved]
    )
    try:
        source.run(handle)
    except KeyboardInterrupt:
        return outcome
    raise AssertionError("the follower has ended by itself")


def check(log: Log, outcome: Outcome, *, in_order: bool) -> str:
    """What is wrong with the lines of one log, or nothing."""
    expected = [line for content in log.contents for line in content]
    texts = [text for (_, source), text in outcome.texts.items() if source.split(".")[0] == log.path.stem]
    runs = [text.splitlines(keepends=True) for text in _joined(texts, expected)]
    arrived = Counter(line for lines in runs for line in lines)
    if wrong := _wrong_lines(log, arrived, Counter(expected)):
        return wrong
    if any(log.path.stem in problem and "before it was read" in problem for problem in outcome.problems):
        return ""  # a copy of what was overwritten is read when it is found, perhaps after what followed
    if missing := log.sure - arrived:
        return f"missing although it was there at a poll: {list(missing)[:5]}"
    missing = Counter(expected) - arrived - log.unknowable
    if missing and not any(log.path.stem in loss for loss in outcome.losses):
        return f"missing without a report: {list(missing)[:5]}"
    return "" if in_order and log.was_hidden else _wrong_order(log, runs, expected, in_order=in_order)


def _wrong_order(log: Log, runs: list[list[bytes]], expected: list[bytes], *, in_order: bool) -> str:
    """Which lines are out of order: in all runs together, or in a run of one content."""
    if in_order:
        runs = [[line for lines in runs for line in lines]]
    for lines in runs:
        whole = [line for line in lines if line in expected]
        wrong_at = max(_first_wrong(whole, content) for content in ([expected] if in_order else log.contents))
        if wrong_at < len(whole):
            return f"out of order: {whole[wrong_at : wrong_at + 3]}"
    return ""


def _wrong_lines(log: Log, arrived: Counter[bytes], expected: Counter[bytes]) -> str:
    """What arrived although it was not written, or not so often. A line may be cut where its end was lost."""
    if b"\0" in b"".join(arrived):
        return "NUL bytes arrived"
    torn = [*log.torn, *(expected - arrived)]
    wrong = [line for line in (arrived - expected) if not any(each.startswith(line.strip()) for each in torn)]
    return f"repeated or made up: {wrong[:5]}" if wrong else ""


def _first_wrong(lines: list[bytes], expected: list[bytes]) -> int:
    """The index of the first line that does not follow the one before it; the number of lines if there is none."""
    rest = iter(expected)
    return next((index for index, line in enumerate(lines) if all(line != other for other in rest)), len(lines))


def _joined(texts: list[bytes], expected: list[bytes]) -> list[bytes]:
    """Joins lines that were cut because all sources of a run end together."""
    joined = texts[:1]
    for text in texts[1:]:
        last, first = joined[-1].rpartition(b"\n")[2], text[: text.find(b"\n") + 1]
        moved = first if last and last + first in expected else b""
        joined[-1] += moved
        joined.append(text[len(moved) :])
    return joined


def act(number: int, folder: Path) -> str:
    """Acts one history in an empty folder; returns what went wrong, or nothing."""
    rng = random.Random(number)
    mode = MODES[number % len(MODES)]
    inodes = Inodes(births=rng.random() < 0.5)
    world = World(folder, rng, inodes)
    with inodes.used():
        if mode.startswith("shipper"):
            outcome = ship(world, inodes, one_run=mode.endswith("one run"))
        else:
            outcome = follow(world, inodes, by_folder=mode.endswith("folder"))
    wrong = [check(log, outcome, in_order=mode in (MODES[0], MODES[2])) for log in world.logs]
    return "; ".join(filter(None, wrong)) and f"history {number} ({mode}): {'; '.join(filter(None, wrong))}"


def _act_some(numbers: Sequence[int]) -> list[str]:
    failures = []
    shared = Path("/dev/shm")
    for number in numbers:
        with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
            try:
                failure = act(number, Path(name))
            except Exception:
                failure = f"history {number}: {traceback.format_exc()}"
            if failure:
                failures.append(failure)
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.services.histories", description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=1000, help="how many histories (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: %(default)s)")
    options = parser.parse_args(arguments)
    last, began = options.first + options.histories, time.monotonic()
    parts = [range(start, min(start + 100, last)) for start in range(options.first, last, 100)]
    failures = []
    with multiprocessing.Pool(options.jobs) as pool:
        for count, failed in enumerate(pool.imap(_act_some, parts), 1):
            failures += failed
            for failure in failed:
                print(failure, flush=True)
            if count % 100 == 0:
                print(f"{options.first + count * 100} histories, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{options.histories} histories in {time.monotonic() - began:.0f} s: {len(failures)} went wrong")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
