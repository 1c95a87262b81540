"""Speed, delay and memory of a worker on a real Kafka, beside the file path and a loop that only reads, in one run.

    python -m benchmarks.stream --oai FILE [--kafka 127.0.0.1:9092] [--opensearch http://127.0.0.1:9200]

Without addresses, servers are started (tests/services/servers.py).
"""

import argparse
import asyncio
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_triage import Bundle, Triage, find_bundle
from stream_triage.broker import connection
from stream_triage.intake import Intake
from stream_triage.records import Chunk, RunEnd
from stream_triage.sinks.sqlite import SqliteStore
from tests.services.farm import PARTITIONS, Farm, Message, TestRun, messages_of, until
from tests.services.servers import KafkaServer, OpenSearchServer
from training.data import read_oai

__all__ = ["main"]

CHUNK_LINES = 200


def line_count(runs: list[TestRun]) -> int:
    return sum(text.count(b"\n") for run in runs for text in run.sources.values())


def one_after_the_other(runs: list[TestRun], lines: int) -> list[Message]:
    """As a test bed runs them: all sources of a run begin, go on in turn, and end."""
    messages = []
    for run in runs:
        streams = messages_of(run, lines)
        messages += [stream.pop(0) for stream in streams]
        ends = [stream.pop() for stream in streams if stream]
        while streams := [stream for stream in streams if stream]:
            messages += [stream.pop(0) for stream in streams]
        messages += ends
    return messages


def file_path(runs: list[TestRun], folder: Path) -> float:
    """Lines a second of the same runs through the same pipeline into the same store, without a stream."""
    triage = Triage(Bundle.open(find_bundle("oai5g")))
    with SqliteStore(folder / "files.sqlite") as store:
        intake = Intake(triage, [store])
        began = time.perf_counter()
        for run in runs:
            for source, text in run.sources.items():
                intake.handle(Chunk(run.run_id, text, source))
            intake.handle(RunEnd(run.run_id))
        intake.flush()
        return line_count(runs) / (time.perf_counter() - began)


def stream_path(farm: Farm, runs: list[TestRun], lines: int) -> float:
    """Lines a second between the first and the last verdict, all messages waiting before the worker begins."""
    farm.sinks = ["store"]
    farm.send(one_after_the_other(runs, lines))
    with farm.worker("--quiet"):
        until(lambda: farm.count_stored() >= len(runs), 600, "all verdicts")
    times = sorted(verdict.time.timestamp() for verdict in farm.stored().values() if verdict.time)
    return line_count(runs) * (len(times) - 1) / len(times) / (times[-1] - times[0])


async def plain_loop(farm: Farm) -> float:
    """Lines a second of a consumer that does nothing but count them."""
    consumer = AIOKafkaConsumer(**connection(farm.admin), auto_offset_reset="earliest")
    await consumer.start()
    places = [TopicPartition(farm.kafka.topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    left = sum((await consumer.end_offsets(places)).values())
    lines, began = 0, time.perf_counter()
    while left:
        for messages in (await consumer.getmany(timeout_ms=1000)).values():
            lines += sum((message.value or b"").count(b"\n") for message in messages)
            left -= len(messages)
    spent = time.perf_counter() - began
    await consumer.stop()
    return lines / spent


def delays(farm: Farm, runs: list[TestRun], lines_a_second: float) -> list[float]:
    """Seconds from the sending of a run's end until its verdict is in the topic, behind all other sinks."""
    farm.sinks = ["store", "opensearch", "kafka"]
    sent: dict[str, float] = {}
    with farm.worker("--quiet") as worker:
        farm.send(one_after_the_other(runs[:1], CHUNK_LINES))
        until(lambda: farm.count_stored() >= 1, 60, worker.text())
        began, lines = time.perf_counter(), 0
        for run in runs[1:]:
            lines += line_count([run])
            time.sleep(max(0.0, began + lines / lines_a_second - time.perf_counter()))
            farm.send(one_after_the_other([run], CHUNK_LINES))
            sent[run.run_id] = time.time()
        until(lambda: farm.count_stored() >= len(runs), 60)
    found = {(record.key or b"").decode(): record.timestamp_ms / 1000 for record in farm.read(farm.kafka.verdicts_topic)}
    return sorted(found[run_id] - moment for run_id, moment in sent.items())


def open_runs_memory(farm: Farm, runs: list[TestRun], count: int) -> float:
    """Peak MB of a worker with that many open runs."""
    farm.sinks = ["store"]
    messages = []
    for number in range(count):
        run = runs[number % len(runs)]
        for stream in messages_of(TestRun(f"{number}", run.sources), CHUNK_LINES, end=False):
            messages += stream
    farm.send(messages)
    last = farm.kafka.model_copy(update={"idle_seconds": 600.0})
    farm.kafka = last
    with farm.worker("--quiet") as worker:
        farm.send([Message(b"last", b"x\n", {"end": "1"})])
        # Each partition ends with a run of its own that is over; their verdicts mean that all before them was read.
        for number in range(40):
            farm.send([Message(b"last%d" % number, b"x\n", {"end": "1"})])
        until(lambda: farm.count_stored() >= 41, 600)
        return worker.memory_bytes() / 2**20


@contextmanager
def farms(chosen: argparse.Namespace) -> Iterator[tuple[Path, str, OpenSearchServer]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        search = OpenSearchServer(folder / "opensearch", chosen.opensearch_port)
        broker = KafkaServer(folder / "kafka", chosen.kafka_port)
        for server in (search, broker):
            if not (chosen.kafka_port if server is broker else chosen.opensearch_port):
                server.start()
                stack.callback(server.stop)
        yield folder, broker.bootstrap, search


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure a worker on real servers.")
    parser.add_argument("--oai", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--kafka-port", type=int, help="of a running broker; else one is started")
    parser.add_argument("--opensearch-port", type=int, help="of a running server; else one is started")
    chosen = parser.parse_args(arguments)
    runs = [TestRun(run.run_id, run.sources) for run in read_oai(chosen.oai)[: chosen.runs]]
    with farms(chosen) as (folder, bootstrap, search):

        def farm(name: str) -> Farm:
            return Farm(folder / name, bootstrap, f"bench-{name}-{uuid.uuid4().hex[:6]}")

        files = file_path(runs, folder)
        chunked = farm("chunked")
        chunks = stream_path(chunked, runs, CHUNK_LINES)
        plain = asyncio.run(plain_loop(chunked))
        single_runs = runs[: len(runs) // 4]
        single = stream_path(farm("single"), single_runs, 1)
        again = file_path(runs, folder / "again")
        print(f"{len(runs)} runs, {line_count(runs)} lines")
        print(f"file path          {files:9.0f} lines/s, again {again:9.0f}")
        print(f"worker, chunks     {chunks:9.0f} lines/s = {chunks / max(files, again):.2f} of the file path")
        print(f"worker, one line   {single:9.0f} lines/s ({len(single_runs)} runs)")
        print(f"plain aiokafka     {plain:9.0f} lines/s, chunks, only counted")
        memory = open_runs_memory(farm("open"), runs, 1000)
        print(f"1,000 open runs    {memory:9.0f} MB peak")
        slow = farm("delay")
        slow.use_opensearch(search)
        waits = delays(slow, runs[:150], chunks / 2)
        print(f"run end to verdict in all sinks, half load: median {waits[len(waits) // 2]:.2f} s, "
              f"p99 {waits[int(len(waits) * 0.99)]:.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
