"""Measures how far provisional verdicts are behind the log, for 1, 10 and 50 runs that grow at the same time.

    python -m benchmarks.live

Starts a real broker and a real worker. Prints a Markdown table.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import benchmark_parser
from stream_triage.records import Verdict
from tests.services.farm import Farm, Message, messages_of, sample_runs, until
from tests.services.servers import KafkaServer

RUNS = (1, 10, 50)
# About what a test bed writes: so many lines for each source, then a pause.
LINES, PAUSE_SECONDS = 20, 0.5


def delays(farm: Farm, count: int) -> list[float]:
    """Seconds from each message to the first provisional verdict that includes its lines, over all runs, sorted."""
    streams = [stream for run in sample_runs(count, seed=count) for stream in messages_of(run, lines=LINES)]
    rounds = max(map(len, streams)) - 1
    sent: list[tuple[float, dict[bytes, int]]] = []
    totals: dict[bytes, int] = {}
    with farm.worker():
        for number in range(rounds):
            messages = [stream[number] for stream in streams if number < len(stream) - 1]
            farm.send(messages)
            sent.append((time.time(), _add_sizes(totals, messages)))
            if number == 0:  # wait until the worker has its partitions
                until(lambda: farm.count_stored() == count, 60)
            time.sleep(PAUSE_SECONDS)
        time.sleep(5)
    verdicts: dict[bytes, list[tuple[float, int]]] = {}
    for record in farm.read(farm.kafka.provisional_topic):
        # The version of a provisional verdict is twice the number of bytes it is based on.
        size = Verdict.model_validate_json(record.value).version // 2
        verdicts.setdefault(record.key, []).append((record.timestamp_ms / 1000, size))
    waited = []
    for sent_at, sizes in sent[1:]:
        for key, size in sizes.items():
            waited += sorted(came_at - sent_at for came_at, seen in verdicts.get(key, []) if seen >= size)[:1]
    return sorted(waited)


def _add_sizes(totals: dict[bytes, int], messages: Sequence[Message]) -> dict[bytes, int]:
    """Adds the messages to the bytes of each run in `totals`; returns the totals of the runs that got a message."""
    for message in messages:
        if message.key is not None:
            totals[message.key] = totals.get(message.key, 0) + len(message.value or b"")
    return {message.key: totals[message.key] for message in messages if message.key is not None}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints the table."""
    parser = benchmark_parser("benchmarks.live", __doc__)
    parser.parse_args(argv)
    print("| growing runs | verdicts | median s | 95 % s | longest s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = KafkaServer(folder / "kafka")
        server.start()
        try:
            for count in RUNS:
                farm = Farm(folder / f"farm-{count}", server.bootstrap, f"live{count}")
                farm.more_settings["provisional"] = {"every_seconds": 1}
                waited = delays(farm, count)
                median, high = waited[len(waited) // 2], waited[int(len(waited) * 0.95)]
                print(f"| {count} | {len(waited)} | {median:.2f} | {high:.2f} | {waited[-1]:.2f} |", flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
