"""How far provisional verdicts are behind the log, by the number of runs that grow at once; a real broker and a real worker.

python -m benchmarks.live
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from stream_triage.records import Verdict
from tests.services.farm import Farm, Message, messages_of, sample_runs, until
from tests.services.servers import KafkaServer

RUNS = (1, 10, 50)
# A lab writes about so much at a time.
LINES, PAUSE_SECONDS = 20, 0.5


def delays(farm: Farm, count: int) -> list[float]:
    """Seconds from each message to the first provisional verdict that has its lines, over all runs; sorted."""
    streams = [stream for run in sample_runs(count, seed=count) for stream in messages_of(run, lines=LINES)]
    rounds = max(map(len, streams)) - 1
    sent: list[tuple[float, dict[bytes, int]]] = []
    came: dict[bytes, int] = {}
    with farm.worker():
        for place in range(rounds):
            messages = [stream[place] for stream in streams if place < len(stream) - 1]
            farm.send(messages)
            sent.append((time.time(), _sizes(came, messages)))
            if place == 0:  # the worker has taken its partitions
                until(lambda: farm.count_stored() == count, 60)
            time.sleep(PAUSE_SECONDS)
        time.sleep(5)
    given: dict[bytes, list[tuple[float, int]]] = {}
    for record in farm.read(farm.kafka.provisional_topic):
        size = Verdict.model_validate_json(record.value).version // 2
        given.setdefault(record.key, []).append((record.timestamp_ms / 1000, size))
    found = []
    for moment, sizes in sent[1:]:
        for key, size in sizes.items():
            found += sorted(time - moment for time, seen in given.get(key, []) if seen >= size)[:1]
    return sorted(found)


def _sizes(came: dict[bytes, int], messages: Sequence[Message]) -> dict[bytes, int]:
    """Bytes of each run that got something, all of it so far; `came` is kept up."""
    for message in messages:
        if message.key is not None:
            came[message.key] = came.get(message.key, 0) + len(message.value or b"")
    return {message.key: came[message.key] for message in messages if message.key is not None}


def main() -> None:
    print("| runs that grow | verdicts | median s | 95 % s | longest s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        server = KafkaServer(Path(place) / "kafka")
        server.start()
        try:
            for count in RUNS:
                farm = Farm(Path(place) / f"farm-{count}", server.bootstrap, f"live{count}")
                farm.more_settings["provisional"] = {"every_seconds": 1}
                found = delays(farm, count)
                low, high = found[len(found) // 2], found[int(len(found) * 0.95)]
                print(f"| {count} | {len(found)} | {low:.2f} | {high:.2f} | {found[-1]:.2f} |", flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
