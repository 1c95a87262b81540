"""Measures speed and peak memory on real logs, from bytes to verdicts, and of drain3 alone for comparison.

    python -m benchmarks.throughput [--data DIR] [--bundle oai5g] [--out benchmarks/results/throughput.md]

Writes a page of tables. Takes about six minutes. Other work on the machine changes all figures, so compare figures of one
run only. Each case has a process of its own, so that its peak memory is its own.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from benchmarks.arguments import add_data, add_out, benchmark_parser, parse_with_data, write_page
from benchmarks.cases import CASES, STAGES, Measurement, run_case
from benchmarks.corpora import MissingDataError, write_corpora

__all__ = ["in_new_process", "machine", "main", "table"]

RESULTS = Path(__file__).parent / "results" / "throughput.md"
CI_LINES = 200_000
LARGE_BYTES = 200_000_000

RunCase = Callable[[str, Path, str], Measurement]


def main(
    argv: Sequence[str] | None = None,
    *,
    run: RunCase | None = None,
    ci_lines: int = CI_LINES,
    large_bytes: int = LARGE_BYTES,
) -> int:
    """Measures all cases and writes the page; returns the exit status.

    Args:
        argv: Command-line arguments; None for those of the process.
        run: Measures one case, by default in a new process. Tests do it in their own.
        ci_lines: Number of CI lines.
        large_bytes: Size of the large runs.
    """
    parser = benchmark_parser("benchmarks.throughput", __doc__)
    add_data(parser)
    add_out(parser, RESULTS)
    args = parse_with_data(parser, argv)
    with tempfile.TemporaryDirectory(prefix="stream-triage-bench-") as folder:
        try:
            write_corpora(args.data, Path(folder), ci_lines=ci_lines, large_bytes=large_bytes)
        except MissingDataError as error:
            parser.error(str(error))
        measured = {}
        for name in CASES:
            print(f"{name} …", file=sys.stderr)
            measured[name] = (run or in_new_process)(name, Path(folder), args.bundle)
    page = _page(measured, args.bundle)
    write_page(page, args.out)
    return 0


def in_new_process(name: str, corpora: Path, bundle: str) -> Measurement:
    """Measures one case in a new Python process."""
    code = "import sys; from benchmarks.throughput import _print_case; _print_case(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(corpora), bundle],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Measurement(**json.loads(done.stdout))


def _print_case(name: str, corpora: str, bundle: str) -> None:
    print(json.dumps(asdict(run_case(name, Path(corpora), bundle))))


def _page(measured: Mapping[str, Measurement], bundle: str) -> str:
    parts = [
        "# Throughput",
        f"{date.today().isoformat()}, {machine()}, Python {platform.python_version()}, bundle {bundle}. "
        "Written by `python -m benchmarks.throughput`. Lines are counted as the product cuts them (a bare CR ends a line). "
        "MB are 10^6 bytes. Lines/s are by wall clock, so other work on the machine counts. Each case has its own process, "
        "whose peak memory is shown.",
        _speed_table({name: m for name, m in measured.items() if not m.stages}, measured),
        "## Time by stage\n\nMicroseconds per line. *Assemble* cuts bytes into lines, *features* are what the classifiers "
        "read from new lines, *windows* are the networks, and *verdict* is the end of a run, divided by its lines.",
        _stage_table({name.rpartition(" ")[2]: m for name, m in measured.items() if m.stages}),
        "## Memory of an open run\n\nBytes of Python objects just before the run is closed; for OAI, those of its longest "
        "run. The spool has up to 8 MiB of compressed text in memory and the rest on disk, and up to 1,000 waiting lines of "
        "each source.",
        _kept_table({name: m for name, m in measured.items() if m.kept}),
    ]
    return "\n\n".join(parts) + "\n"


def _speed_table(shown: Mapping[str, Measurement], measured: Mapping[str, Measurement]) -> str:
    rows = []
    for name, m in shown.items():
        peer = measured[f"drain3 alone, {name.rpartition(' ')[2]}"]
        rows.append(
            (
                name,
                f"{m.runs:,}",
                f"{m.lines:,}",
                f"{m.bytes / 1e6:.1f}",
                f"{m.seconds:.1f}",
                f"{m.cpu_seconds:.1f}",
                f"{m.lines / m.seconds:,.0f}",
                f"{m.bytes / 1e6 / m.seconds:.1f}",
                f"{m.lines / m.seconds / (peer.lines / peer.seconds):.2f}",
                f"{m.peak_bytes / 1e6:.0f}",
                m.note,
            )
        )
    head = ("case", "runs", "lines", "MB", "s", "CPU s", "lines/s", "MB/s", "× drain3 on that corpus", "peak MB", "")
    return table(head, rows)


def _stage_table(shown: Mapping[str, Measurement]) -> str:
    rows = [
        (stage, *(cell for m in shown.values() for cell in (_per_line(m, m.stages[stage]), _share(m, stage))))
        for stage in STAGES
    ]
    rows.append(("sum", *(cell for m in shown.values() for cell in (_per_line(m, m.seconds), "100 %"))))
    return table(("stage", *(cell for name in shown for cell in (f"{name} µs/line", "share"))), rows)


def _per_line(m: Measurement, seconds: float) -> str:
    return f"{seconds / m.lines * 1e6:.2f}"


def _share(m: Measurement, stage: str) -> str:
    return f"{m.stages[stage] / m.seconds:.0%}".replace("%", " %")


def _kept_table(shown: Mapping[str, Measurement]) -> str:
    rows = [(name, part, f"{size:,}") for name, m in shown.items() for part, size in m.kept.items()]
    return table(("case", "part", "bytes"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. All columns except the first are aligned to the right."""
    ruled = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


def machine() -> str:
    """Describes the machine: processors, memory, operating system."""
    model = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ": " + platform.machine())
    memory = next((line for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "")
    gigabytes = f", {int(memory.split()[1]) / 1e6:.0f} GB" if memory else ""
    return f"{os.cpu_count()} × {model.partition(':')[2].strip()}{gigabytes}, {platform.system()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    sys.exit(main())
