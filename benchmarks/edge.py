"""Measures how fast the default bundle judges TM500-style runs on one core with 512 MB, and without limits.

    python -m benchmarks.edge [--runs 200] [--out benchmarks/results/edge.md]

Each measurement is a whole `stream-triage run`, its start included, with store and archive as users have them. The limit is
one of address space (RLIMIT_AS), which is stricter than one of memory: what exceeds it fails at once. Takes two minutes.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from benchmarks.arguments import add_out, benchmark_parser, write_page
from benchmarks.throughput import machine, table
from training.corpus import generate

__all__ = ["judge_limited", "main"]

RESULTS = Path(__file__).parent / "results" / "edge.md"
LIMIT_BYTES = 512 << 20
LONG_BYTES = 100_000_000
# Limits itself, then becomes the command in its arguments. A `preexec_fn` would do the same in a copy of this process, where
# locks that other threads hold are never released, and the child's peak memory would start with that of this process.
LIMIT_AND_EXEC = """
import os, resource, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""


class Judged(NamedTuple):
    """What one `stream-triage run` did: numbers of runs and lines, wall-clock time, peak memory of the process."""

    runs: int
    lines: int
    seconds: float
    peak_bytes: int


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the page and writes it; returns the exit status."""
    parser = benchmark_parser("benchmarks.edge", __doc__)
    parser.add_argument(
        "--runs", type=int, default=200, metavar="N", help="number of generated runs, 20 or more (default: %(default)s)"
    )
    parser.add_argument(
        "--long-bytes",
        type=int,
        default=LONG_BYTES,
        metavar="BYTES",
        help="least size of the one long run (default: %(default)s)",
    )
    add_out(parser, RESULTS)
    options = parser.parse_args(argv)
    rows: list[Sequence[str]] = []
    with tempfile.TemporaryDirectory(prefix="stream-triage-edge-") as name:
        folder = Path(name)
        (folder / "logs").mkdir()
        texts = [run.text for run in generate(options.runs, seed=1)]
        for number, text in enumerate(texts):
            (folder / "logs" / f"{number}.log").write_bytes(text)
        all_texts = b"".join(texts)
        (folder / "long.log").write_bytes(all_texts * -(-options.long_bytes // len(all_texts)))
        long_megabytes = (folder / "long.log").stat().st_size / 1e6
        rows += _compare(f"{options.runs} runs", folder / "logs", folder)
        rows += _compare(f"one run of {long_megabytes:.0f} MB", folder / "long.log", folder)
    page = (
        f"# One core, 512 MB\n\n{date.today().isoformat()}, {machine()}, Python {platform.python_version()}. Written by "
        "`python -m benchmarks.edge`: `stream-triage run` with the default bundle, store and archive, start included.\n\n"
        + table(("input", "limits", "lines", "s", "lines/s", "× no limits", "peak MB"), rows)
        + "\n"
    )
    write_page(page, options.out)
    return 0


def _compare(name: str, logs: Path, folder: Path) -> list[Sequence[str]]:
    """Two rows of the table: with limits and without."""
    limited, free = (judge_limited(logs, folder, limit) for limit in (LIMIT_BYTES, None))
    rows: list[Sequence[str]] = []
    for limits, judged in (("one core, 512 MB", limited), ("no limits", free)):
        speed = judged.lines / judged.seconds
        ratio = speed / (free.lines / free.seconds)
        peak = f"{judged.peak_bytes / 1e6:.0f}"
        rows.append((name, limits, f"{judged.lines:,}", f"{judged.seconds:.1f}", f"{speed:,.0f}", f"{ratio:.2f}", peak))
    return rows


def judge_limited(logs: Path, folder: Path, limit_bytes: int | None) -> Judged:
    """Runs `stream-triage run` in a process of its own.

    Args:
        logs: A log or a folder of logs.
        folder: Where a new store and archive are created.
        limit_bytes: Address space of the process, which then has one core too; None for no limits.

    Raises:
        SystemExit: No run was judged, for example because the limit is too low.
    """
    with tempfile.TemporaryDirectory(dir=folder) as home:
        command = [sys.executable, "-m", "stream_triage", "run", "--quiet", "--jsonl", str(logs)]
        if limit_bytes is not None:
            command = [sys.executable, "-I", "-S", "-c", LIMIT_AND_EXEC, str(limit_bytes), *command]
        # One BLAS thread: each one reserves address space that nothing here uses.
        environment = {**os.environ, "XDG_DATA_HOME": home, "OPENBLAS_NUM_THREADS": "1"}
        verdicts = Path(home) / "verdicts.jsonl"
        began = time.perf_counter()
        with verdicts.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out) as process:
            # `wait4` gives the peak of this child; `getrusage` would give that of the largest child so far.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        lines = [
            sum(source["lines"] for source in json.loads(verdict)["sources"])
            for verdict in verdicts.read_bytes().splitlines()
        ]
    if process.returncode not in (0, 1) or not lines:
        raise SystemExit(f"stream-triage run judged {len(lines)} runs and ended with status {process.returncode}")
    return Judged(len(lines), sum(lines), seconds, usage.ru_maxrss * 1024)


if __name__ == "__main__":
    raise SystemExit(main())
