"""TM500-style runs in, a page out: how fast the default bundle judges them on one core with 512 MB, and with no limits.

    python -m benchmarks.edge [--runs 200] [--out benchmarks/results/edge.md]

A whole `stream-triage run` each time, its start included, with store and archive as users have them. The limit is one of
address space (RLIMIT_AS), which is stricter than one of memory: what goes beyond it fails at once. Takes two minutes.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from benchmarks.throughput import machine, table
from training.corpus import generate

__all__ = ["judge_limited", "main"]

RESULTS = Path(__file__).parent / "results" / "edge.md"
LIMIT_BYTES = 512 << 20
LONG_BYTES = 100_000_000


class Judged(NamedTuple):
    runs: int
    lines: int
    seconds: float
    peak_bytes: int


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="runs of the corpus; 20 or more")
    parser.add_argument("--long-bytes", type=int, default=LONG_BYTES, help="size of the one long run")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory(prefix="stream-triage-edge-") as folder:
        logs = Path(folder) / "logs"
        logs.mkdir()
        texts = [run.text for run in generate(arguments.runs, seed=1)]
        for number, text in enumerate(texts):
            (logs / f"{number}.log").write_bytes(text)
        long = Path(folder) / "long.log"
        whole = b"".join(texts)
        long.write_bytes(whole * -(-arguments.long_bytes // len(whole)))
        for name, place in ((f"{arguments.runs} runs", logs), (f"one run of {long.stat().st_size / 1e6:.0f} MB", long)):
            limited, free = (judge_limited(place, Path(folder), limit) for limit in (LIMIT_BYTES, None))
            for words, told in (("one core, 512 MB", limited), ("no limits", free)):
                speed = told.lines / told.seconds
                ratio = speed / (free.lines / free.seconds)
                peak = f"{told.peak_bytes / 1e6:.0f}"
                rows.append((name, words, f"{told.lines:,}", f"{told.seconds:.1f}", f"{speed:,.0f}", f"{ratio:.2f}", peak))
    page = (
        f"# One core, 512 MB\n\n{date.today().isoformat()}, {machine()}, Python {platform.python_version()}. Written by "
        "`python -m benchmarks.edge`: `stream-triage run` with the default bundle, store and archive, start included.\n\n"
        + table(("input", "limits", "lines", "s", "lines/s", "× no limits", "peak MB"), rows)
        + "\n"
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page)
    print(page, end="")
    return 0


def judge_limited(place: Path, folder: Path, limit_bytes: int | None) -> Judged:
    """One `stream-triage run` in a process of its own; with a limit it has one core. Raises if no run was judged."""

    def limit() -> None:
        if limit_bytes is not None:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))

    with tempfile.TemporaryDirectory(dir=folder) as home:
        command = [sys.executable, "-m", "stream_triage", "run", "--quiet", "--jsonl", str(place)]
        # One BLAS thread: each reserves address space that nothing here uses.
        environment = {**os.environ, "XDG_DATA_HOME": home, "OPENBLAS_NUM_THREADS": "1"}
        verdicts = Path(home) / "verdicts.jsonl"
        began = time.perf_counter()
        with verdicts.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, preexec_fn=limit) as process:
            # `wait4` tells the peak of this child alone; `getrusage` has the largest of all children.
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
