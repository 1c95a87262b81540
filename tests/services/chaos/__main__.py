"""The command line of the package: options in, faults injected, figures out."""

import argparse
import logging
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.services.chaos.episode import FAULTS_OF_AN_EPISODE, planned, run_episode
from tests.services.chaos.registry import FAULTS
from tests.services.chaos.report import Report
from tests.services.chaos.world import Servers
from tests.services.servers import KafkaServer, OpenSearchServer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.services.chaos",
        description="Injects faults into a farm of workers and counts what is lost, doubled, different or back again.",
        epilog="kinds of fault: " + "; ".join(f"{fault.name} ({fault.promise})" for fault in FAULTS.values()),
    )
    parser.add_argument("--faults", type=int, default=600, help="how many faults (default: %(default)s)")
    parser.add_argument(
        "--only",
        choices=sorted(FAULTS),
        action="append",
        metavar="KIND",
        default=[],
        help="faults of this kind alone; repeatable",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of all choices (default: %(default)s)")
    parser.add_argument(
        "--first", type=int, default=1,
        help=f"episode to begin with, to continue or repeat; each has {FAULTS_OF_AN_EPISODE} faults (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--last", type=int, default=None, help="episode to end with")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a verdict (default: %(default)s)")
    parser.add_argument(
        "--silent",
        type=int,
        default=12_000,
        help="how many runs end at once in the fault silent-ends (default: %(default)s)",
    )
    return parser.parse_args()


def main() -> None:
    options = _options()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it reports each try while a broker is away
    report, began = Report(_progress), time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            servers = Servers(KafkaServer(Path(folder) / "kafka"), OpenSearchServer(Path(folder) / "opensearch"))
            for server in (servers.kafka, servers.opensearch):
                server.start()
                stack.callback(server.stop)
            _run(options, servers, report)
    except KeyboardInterrupt:
        print("interrupted; figures so far:", file=sys.stderr)
    print(f"{report.faults} faults, {report.runs} runs, {time.monotonic() - began:.0f} s, seed {options.seed}")
    print(report.table())
    print(report.summary)
    sys.exit(bool(report.broken))


def _run(options: argparse.Namespace, servers: Servers, report: Report) -> None:
    episodes = planned(options.faults, options.seed, options.only)
    for number, faults in enumerate(episodes, 1):
        if not options.first <= number <= (options.last or len(episodes)):
            continue
        began = time.monotonic()
        run_episode(
            servers, faults, f"{options.seed}/{number}", report, patience=options.patience, silent_runs=options.silent
        )
        took = time.monotonic() - began
        _progress(f"episode {number} of {len(episodes)}, {took:.0f} s; so far: {report.summary}")


def _progress(text: str) -> None:
    print(text[:1500], file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
