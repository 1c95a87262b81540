"""Measures lines per second and memory of `triage-ship` from a file to a real broker, and of kcat for comparison.

    python -m benchmarks.shipper

Starts a broker. Prints a Markdown table. kcat sends each line as a message; without kcat its row is left out.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.arguments import benchmark_parser
from stream_triage.clients.broker import Topic
from stream_triage.clients.kafka import KafkaBroker
from stream_triage.settings import KafkaSettings
from tests.services.servers import KafkaServer

LINES = 3_000_000
# kcat gets fewer lines: it would need minutes for as many.
KCAT_LINES = 300_000
BLOCK_LINES = 10_000


class Figures(NamedTuple):
    """What one command did: lines per second of time and of CPU time, and its peak memory."""

    lines_per_second: float
    lines_per_cpu_second: float
    peak_mb: float


def line(number: int) -> bytes:
    """A log line of 104 bytes, or 103 if the UE has one digit."""
    return b"31/08/25 15:33:49:%03d\tI: CMPI RRC UL DCCH UECapabilityInformation : UE Id: %d, some value 0x%08x ok\n" % (
        number % 1000, number % 32, number * 2_654_435_761 % 2**32)  # fmt: skip


def timed(command: list[str], lines: int) -> Figures:
    """Runs a command that sends so many lines; raises `SystemExit` if it fails."""
    began = time.monotonic()
    process = subprocess.Popen(command)
    peak = 0.0
    while True:
        # Polled, because the peak in `usage` includes the memory that this process had when it forked.
        peak = max(peak, _memory_mb(process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with status {process.returncode}; its messages are above")
    seconds = time.monotonic() - began
    return Figures(lines / seconds, lines / (usage.ru_utime + usage.ru_stime), peak)


def _memory_mb(pid: int) -> float:
    with suppress(OSError, StopIteration):  # the process has ended
        status = Path(f"/proc/{pid}/status").read_text()
        return int(next(row for row in status.splitlines() if row.startswith("VmHWM")).split()[1]) / 1024
    return 0.0


def _write_logs(folder: Path) -> None:
    block = b"".join(map(line, range(BLOCK_LINES)))
    with (folder / "large.log").open("wb") as large:
        for _ in range(LINES // BLOCK_LINES):
            large.write(block)
    (folder / "small.log").write_bytes(block * (KCAT_LINES // BLOCK_LINES))


def _measure(folder: Path, bootstrap: str) -> dict[str, Figures]:
    """Figures by sender and compression."""
    ship = [sys.executable, "-m", "triage_ship.cli", "--bootstrap", bootstrap, "--topic", "bench", "--once"]
    measured = {
        f"triage-ship, {compression}": timed(
            [*ship, "--compression", compression, "--state", str(folder / compression), str(folder / "large.log")], LINES
        )
        for compression in ("gzip", "none")
    }
    if shutil.which("kcat"):
        kcat = ["kcat", "-P", "-b", bootstrap, "-t", "bench", "-k", "run", "-z", "gzip", "-l", str(folder / "small.log")]
        measured["kcat, gzip"] = timed(kcat, KCAT_LINES)
    return measured


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints the table."""
    parser = benchmark_parser("benchmarks.shipper", __doc__)
    parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = KafkaServer(folder / "kafka")
        server.start()
        try:
            with KafkaBroker(KafkaSettings(servers=(server.bootstrap,))) as broker:
                broker.create([Topic("bench", 1, {})])
            _write_logs(folder)
            measured = _measure(folder, server.bootstrap)
        finally:
            server.stop()
    kcat = measured.get("kcat, gzip")
    print("| sender | lines/s | lines/s of CPU time | peak MB | × kcat |\n|---|---|---|---|---|")
    for sender, figures in measured.items():
        ratio = f"{figures.lines_per_second / kcat.lines_per_second:.1f}" if kcat else ""
        shown = (f"{figures.lines_per_second:,.0f}", f"{figures.lines_per_cpu_second:,.0f}", f"{figures.peak_mb:.0f}", ratio)
        print(f"| {sender} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
