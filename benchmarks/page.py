"""Measures how fast `stream-triage ui` shows a store of 100,000 runs and a run of 300,000 lines.

    python -m benchmarks.page [--runs 100000] [--lines 300000] [--browser] [--out benchmarks/results/page.md]

The runs are the packaged TM500-style samples with other ids, headers and times, at most 40 kept lines each; the long run is
samples one after the other, judged by `stream-triage run`. Time is from the request to the last byte, over the loopback,
to a process of its own: the first request after its start, then the median of those that follow. With `--browser`, also the
time until chromium shows something, with an empty cache each time. Takes some minutes and 3 GB of disk.
"""

import http.client
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from benchmarks.arguments import add_out, benchmark_parser, write_page
from benchmarks.throughput import machine, table
from stream_triage.records import Verdict
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.web.query import address

__all__ = ["main"]

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "page.md"
SAMPLES = ROOT / "samples" / "tm500"
LONG_RUN = "long.log"
KEPT_LINES = 40
REPEATS = 9
CASES, BEDS, BUILDS = 400, 30, 40
BATCH = 2_000
PAINT = "(performance.getEntriesByName('first-contentful-paint')[0] || {startTime: 0}).startTime"


class Timed(NamedTuple):
    """One page: milliseconds of the first request, median of the others, bytes."""

    first: float
    median: float
    bytes: int


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the page and writes it; returns the exit status."""
    parser = benchmark_parser("benchmarks.page", __doc__)
    parser.add_argument("--runs", type=int, default=100_000, metavar="N", help="stored runs (default: %(default)s)")
    parser.add_argument(
        "--lines", type=int, default=300_000, metavar="N", help="lines of the long run (default: %(default)s)"
    )
    parser.add_argument("--browser", action="store_true", help="also measure the first paint in chromium")
    add_out(parser, RESULTS)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="stream-triage-page-") as name:
        environment = _judge_samples(Path(name), options.lines)
        with SqliteStore(Path(name) / "stream-triage" / "verdicts.sqlite") as store:
            long_run = store.get(LONG_RUN)
            samples = [store.get(run.run_id) for run in store.runs() if run.run_id != long_run.run_id]
            _fill(store, samples, options.runs - len(samples) - 1)
            stored = sum(store.lists.choices().labels.values())
        with _serving(environment) as port, _browser(options.browser) as paint:
            rows = [
                (what, path.partition("?id=")[0], *_cells(_time(port, path), paint(f"http://127.0.0.1:{port}{path}")))
                for what, path in _paths(stored, long_run).items()
            ]
    head = ("page", "address", "first request ms", "median ms", "kB", "first paint ms")
    write_page(
        f"# Pages\n\n{date.today().isoformat()}, {machine()}, Python {platform.python_version()}. Written by `python -m "
        f"benchmarks.page`: time to the last byte of `stream-triage ui`, over the loopback, of {stored:,} stored runs.\n\n"
        f"{table(head, rows)}\n",
        options.out,
    )
    return 0


def _paths(stored: int, long_run: Verdict) -> dict[str, str]:
    return {
        f"runs: {stored:,}": "/runs",
        "runs: one label, 30 days": "/runs?label=L3&since=30d",
        "runs: words of a line": "/runs?q=registration+reject",
        "runs: one test case": "/runs?case=attach-007",
        f"test cases: {CASES}": "/cases",
        f"beds: {BEDS}": "/beds",
        "templates": "/templates",
        f"one run: {long_run.lines:,} lines": address("/run", {"id": long_run.run_id}),
        "500 of its lines": address("/run", {"id": long_run.run_id, "lines": f"{long_run.lines // 2}-{long_run.lines}"}),
    }


def _judge_samples(folder: Path, lines: int) -> Mapping[str, str]:
    """Judges the samples, and one long run of them; returns the environment in which commands find the results."""
    texts = [path.read_bytes() for path in sorted(SAMPLES.glob("*.log"))]
    once = sum(text.count(b"\n") for text in texts)
    (folder / LONG_RUN).write_bytes(b"".join(texts) * max(1, round(lines / once)))
    environment = {**os.environ, "XDG_DATA_HOME": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stream_triage", "run", "--quiet", LONG_RUN, str(SAMPLES)]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"stream-triage run ended with status {done.returncode}")
    return environment


def _fill(store: SqliteStore, samples: Sequence[Verdict], number: int) -> None:
    """Stores this many runs, one every five minutes until now, three of four passed."""
    rng = random.Random(1)  # noqa: S311 - keeps no secret
    passed = [run for run in samples if run.passed]
    failed = [run for run in samples if not run.passed]
    now = datetime.now(UTC)
    for index in range(number):
        case, bed = f"attach-{rng.randrange(CASES):03d}", f"bed-{rng.randrange(BEDS):02d}"
        verdict = rng.choice(passed if rng.random() < 0.75 else failed)
        headers = {"test.case.name": case, "testbed": bed, "service.version": f"24.{index * BUILDS // number}"}
        changes = {
            "run_id": f"night/{index:06d}/{case}",
            "time": now - timedelta(minutes=5 * (number - index)),
            "headers": headers,
            "reduction": verdict.reduction[:KEPT_LINES],
        }
        store.write(verdict.model_copy(update=changes))
        if index % BATCH == 0:
            store.flush()
    store.flush()


@contextmanager
def _serving(environment: Mapping[str, str]) -> Iterator[int]:
    """Starts the command; yields its port."""
    command = [sys.executable, "-m", "stream_triage", "ui", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            said = process.stderr.readline()
            match = re.search(r"127\.0\.0\.1:(\d+)", said)
            if match is None:
                raise SystemExit(f"stream-triage ui does not serve: {said}")
            yield int(match[1])
        finally:
            process.terminate()


def _time(port: int, path: str) -> Timed:
    times, size = [], 0
    for _ in range(REPEATS + 1):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        size = len(answer.read())
        times.append(1000 * (time.perf_counter() - began))
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"{path} was answered with {answer.status}")
    return Timed(times[0], statistics.median(times[1:]), size)


@contextmanager
def _browser(wanted: bool) -> Iterator[Callable[[str], str]]:
    """Starts chromium; yields what measures the milliseconds until it shows something of a page, as text."""
    if not wanted:
        yield lambda page: ""
        return
    from playwright.sync_api import Browser, sync_playwright

    def paint(chromium: Browser, page: str) -> float:
        with closing(chromium.new_context()) as context:  # each has an empty cache
            tab = context.new_page()
            tab.goto(page)
            while not (found := tab.evaluate(PAINT)):
                tab.wait_for_timeout(20)
            return float(found)

    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        paint(chromium, "data:text/html,ready")
        yield lambda page: f"{statistics.median(paint(chromium, page) for _ in range(REPEATS)):.0f}"
        chromium.close()


def _cells(timed: Timed, paint: str) -> tuple[str, ...]:
    return f"{timed.first:.0f}", f"{timed.median:.0f}", f"{timed.bytes / 1000:.0f}", paint


if __name__ == "__main__":
    raise SystemExit(main())
