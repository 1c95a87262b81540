"""Lines a second from a file to a real broker, and memory: `triage-ship` beside kcat, which sends a line a message.

python -m benchmarks.shipper
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from stream_triage.clients.broker import Topic
from stream_triage.clients.kafka import KafkaBroker
from stream_triage.settings import KafkaSettings
from tests.services.servers import KafkaServer

LINES = 3_000_000
# kcat is given less: it needs minutes for as much.
KCAT_LINES = 300_000


class Figures(NamedTuple):
    lines_per_second: float
    lines_per_cpu_second: float
    peak_mb: float


def line(number: int) -> bytes:
    return b"31/08/25 15:33:49:%03d\tI: CMPI RRC UL DCCH UECapabilityInformation : UE Id: %d, some value 0x%08x ok\n" % (
        number % 1000, number % 32, number * 2_654_435_761 % 2**32)  # fmt: skip


def timed(command: list[str], lines: int) -> Figures:
    began = time.monotonic()
    process = subprocess.Popen(command)
    peak = 0.0
    while True:  # the kernel's own peak counts what this process had when it forked
        peak = max(peak, _memory_mb(process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with {process.returncode}")
    seconds = time.monotonic() - began
    return Figures(lines / seconds, lines / (usage.ru_utime + usage.ru_stime), peak)


def _memory_mb(pid: int) -> float:
    with suppress(OSError, StopIteration):  # it has ended
        status = Path(f"/proc/{pid}/status").read_text()
        return int(next(row for row in status.splitlines() if row.startswith("VmHWM")).split()[1]) / 1024
    return 0.0


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        server = KafkaServer(place / "kafka")
        server.start()
        try:
            with KafkaBroker(KafkaSettings(servers=(server.bootstrap,))) as broker:
                broker.create([Topic("bench", 1, {})])
            block = b"".join(map(line, range(10_000)))
            with (place / "large.log").open("wb") as large:
                for _ in range(LINES // 10_000):
                    large.write(block)
            (place / "small.log").write_bytes(block * (KCAT_LINES // 10_000))
            ship = [sys.executable, "-m", "triage_ship.cli", "--bootstrap", server.bootstrap, "--topic", "bench", "--once"]
            told = {
                f"triage-ship, {kind}": timed(
                    [*ship, "--compression", kind, "--state", str(place / kind), str(place / "large.log")], LINES
                )
                for kind in ("gzip", "none")
            }
            if shutil.which("kcat"):
                kcat = ["kcat", "-P", "-b", server.bootstrap, "-t", "bench", "-k", "run"]
                told["kcat, gzip"] = timed([*kcat, "-z", "gzip", "-l", str(place / "small.log")], KCAT_LINES)
        finally:
            server.stop()
    peer = told.get("kcat, gzip")
    print("| sender | lines/s | lines/s of its CPU | peak MB | of kcat |\n|---|---|---|---|---|")
    for name, figures in told.items():
        ratio = f"{figures.lines_per_second / peer.lines_per_second:.1f}" if peer else ""
        shown = (f"{figures.lines_per_second:,.0f}", f"{figures.lines_per_cpu_second:,.0f}", f"{figures.peak_mb:.0f}", ratio)
        print(f"| {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
