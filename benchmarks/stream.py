"""Measures speed, delay and memory of a worker on a real Kafka, and for comparison of reading files and of a bare consumer.

    python -m benchmarks.stream --oai FILE [--kafka-port 9092] [--opensearch-port 9200]
    python -m benchmarks.stream --oai FILE --silent 12000     only: so many runs end at once, by silence

Prints one figure per line. Without ports, it starts the servers itself (tests/services/servers.py). Other work on the
machine changes all figures, so compare figures of one run only.
"""

import argparse
import asyncio
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from benchmarks.arguments import benchmark_parser
from benchmarks.silence import send_without_ends, silent_ends
from stream_triage import Bundle, Triage, find_bundle
from stream_triage.clients.kafka import connection
from stream_triage.intake import Intake
from stream_triage.records import Chunk, RunEnd
from stream_triage.sinks.sqlite import SqliteStore
from tests.services.farm import PARTITIONS, Farm, Message, TestRun, messages_of, until
from tests.services.servers import KafkaServer, OpenSearchServer
from training.data import read_oai

__all__ = ["main"]

CHUNK_LINES = 200
# Number of runs that make up one long run.
JOINED = 30
POLL_SECONDS = 0.25
# After this time without a heartbeat, the broker takes a worker for dead.
SESSION_SECONDS = 6
ALL_SINKS = ("store", "opensearch", "kafka")


def line_count(runs: list[TestRun]) -> int:
    """Lines of all sources of all runs."""
    return sum(text.count(b"\n") for run in runs for text in run.sources.values())


def one_after_the_other(runs: list[TestRun], lines: int) -> list[Message]:
    """Messages of the runs as a test bed sends them: the sources of a run start together, take turns and end together."""
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
    """Lines per second of the same runs through the same pipeline into the same store, without Kafka."""
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


def stream_path(farm: Farm, runs: list[TestRun], lines: int, sinks: Sequence[str] = ("store",)) -> float:
    """Lines per second of a worker, from the first verdicts in the store to the last.

    All messages are in the topic before the worker starts. Its start does not count.
    """
    farm.sinks = list(sinks)
    farm.send(one_after_the_other(runs, lines))
    seen: list[tuple[float, int]] = []
    with farm.worker("--quiet") as worker:
        while not seen or seen[-1][1] < len(runs):
            assert worker.code is None, worker.text()
            time.sleep(POLL_SECONDS)  # not too often: this process shares two cores with the worker
            count = farm.count_stored()
            if count and (not seen or seen[-1][1] != count):
                seen.append((time.perf_counter(), count))
    (began, first), (ended, last) = seen[0], seen[-1]
    return line_count(runs) * (last - first) / len(runs) / (ended - began)


def joined(runs: Sequence[TestRun], count: int) -> list[TestRun]:
    """Joins runs into long ones: each source consists of those of `count` runs, one after the other."""
    long = []
    for number in range(len(runs) // count):
        parts = runs[number * count : (number + 1) * count]
        names = {source for part in parts for source in part.sources}
        sources = {name: b"".join(part.sources.get(name, b"") for part in parts) for name in sorted(names)}
        long.append(TestRun(f"long/{number}", sources))
    return long


async def plain_loop(farm: Farm) -> float:
    """Lines per second of a consumer that only counts lines."""
    consumer = AIOKafkaConsumer(**connection(farm.admin), auto_offset_reset="earliest")
    await consumer.start()
    partitions = [TopicPartition(farm.kafka.topic, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    left = sum((await consumer.end_offsets(partitions)).values())
    lines, began = 0, time.perf_counter()
    while left:
        for messages in (await consumer.getmany(timeout_ms=1000)).values():
            lines += sum((message.value or b"").count(b"\n") for message in messages)
            left -= len(messages)
    spent = time.perf_counter() - began
    await consumer.stop()
    return lines / spent


async def send_evenly(farm: Farm, runs: Sequence[TestRun], lines_per_second: float) -> dict[str, float]:
    """Sends runs at a constant speed; returns for each run when its last message was sent."""
    producer = AIOKafkaProducer(**connection(farm.admin), linger_ms=0)
    await producer.start()
    began, lines, sent = time.perf_counter(), 0, {}
    for run in runs:
        for message in one_after_the_other([run], CHUNK_LINES):
            headers = [(name, value.encode()) for name, value in message.headers.items()]
            await producer.send(farm.kafka.topic, message.value, message.key, headers=headers)
            lines += (message.value or b"").count(b"\n")
            await asyncio.sleep(max(0.0, began + lines / lines_per_second - time.perf_counter()))
        sent[run.run_id] = time.time()
    await producer.stop()
    return sent


def delays(farm: Farm, runs: list[TestRun], lines_per_second: float) -> list[float]:
    """Seconds from the end of each run to its verdict in the topic, sorted. The topic is written after all other sinks."""
    farm.sinks = list(ALL_SINKS)
    warm_up = 5
    with farm.worker("--quiet") as worker:
        farm.send(one_after_the_other(runs[:warm_up], CHUNK_LINES))
        until(lambda: farm.count_stored() >= warm_up, 60, worker.text())
        sent = asyncio.run(send_evenly(farm, runs[warm_up:], lines_per_second))
        until(lambda: farm.count_stored() >= len(runs), 60)
    return delays_of(farm, sent)


def delays_of(farm: Farm, sent: Mapping[str, float]) -> list[float]:
    """Seconds from the times in `sent` to the verdicts in the topic, sorted."""
    judged = {(record.key or b"").decode(): record.timestamp_ms / 1000 for record in farm.read(farm.kafka.verdicts_topic)}
    return sorted(judged[run_id] - moment for run_id, moment in sent.items())


def take_over(farm: Farm, runs: list[TestRun]) -> float:
    """The longest time in seconds from the end of a run to its verdict if one of two workers is killed meanwhile."""
    farm.sinks = ["store", "kafka"]
    with farm.worker("--quiet") as first, farm.worker("--quiet"):
        farm.send(one_after_the_other(runs[:10], CHUNK_LINES))
        until(lambda: farm.count_stored() >= 10, 60)
        time.sleep(2 * SESSION_SECONDS)  # until both are members of the group
        killing = threading.Timer(3.0, first.kill)
        killing.start()
        sent = asyncio.run(send_evenly(farm, runs[10:], line_count(runs) / 30))
        until(lambda: farm.count_stored() >= len(runs), 60)
    return delays_of(farm, sent)[-1]


def large_run(farm: Farm, run: TestRun, size: int) -> tuple[float, float, int]:
    """Reads one run of so many bytes: lines per second, peak MB, and how often the group of workers changed.

    A change means that the broker took the worker for dead, because it did not answer while it worked.
    """
    farm.sinks = ["store"]
    text = b"".join(run.sources.values())
    large = TestRun("large", {"log": text * (size // len(text) + 1)})
    farm.send(one_after_the_other([large], CHUNK_LINES))
    began, members = time.perf_counter(), set()
    with farm.worker("--quiet") as worker:
        while not farm.count_stored():
            assert worker.code is None, worker.text()
            time.sleep(1.0)
            members.add(asyncio.run(generation(farm)))
        spent, peak = time.perf_counter() - began, worker.memory_bytes() / 2**20
    return line_count([large]) / spent, peak, len(members - {()}) - 1


async def generation(farm: Farm) -> tuple[str, ...]:
    """The members of the group of workers; empty while the group changes."""
    admin = AIOKafkaAdminClient(**connection(farm.admin))
    await admin.start()
    try:
        (response,) = await admin.describe_consumer_groups([farm.kafka.group])
        (_, _, state, _, _, members, *_) = response.groups[0]
        return tuple(sorted(member[0] for member in members)) if state == "Stable" else ()
    finally:
        await admin.close()


def open_runs_memory(farm: Farm, runs: list[TestRun], count: int) -> float:
    """Peak MB of a worker with so many open runs."""
    farm.sinks = ["store"]
    send_without_ends(farm, runs, count, CHUNK_LINES)
    farm.kafka = farm.kafka.model_copy(update={"idle_seconds": 3600.0})
    # Runs that end, after the others in all partitions: when they have verdicts, everything before them was read.
    farm.send([Message(b"last%d" % number, b"x\n", {"end": "1"}) for number in range(40)])
    with farm.worker("--quiet") as worker:
        while farm.count_stored() < 40:
            assert worker.code is None, worker.text()
            time.sleep(POLL_SECONDS)
        return worker.memory_bytes() / 2**20


def print_silent_ends(farm: Farm, runs: Sequence[TestRun], count: int) -> None:
    """Figures of `silent_ends`, with all sinks."""
    farm.sinks = list(ALL_SINKS)
    seen = silent_ends(farm, runs, count)
    print(f"{seen.runs} runs end at once, {seen.stored} verdicts, {seen.stored / seen.seconds:.0f} a second")
    print(f"  memory             {seen.open_mb:9.0f} MB peak while open, {seen.peak_mb:.0f} MB while they end")
    print(f"  /health            {seen.unhealthy:9d} of {seen.polls} answers not 200, {seen.late} after more than 2 s")
    print(f"  longest step       {seen.longest_step:9.1f} s")
    print(f"  SIGTERM            {seen.stop_seconds:9.1f} s to the end, with status {seen.stop_code}, "
          f"{seen.stored_at_stop} verdicts by then", flush=True)  # fmt: skip


@contextmanager
def servers(options: argparse.Namespace) -> Iterator[tuple[Path, str, OpenSearchServer]]:
    """Yields an empty folder, the address of a broker, and an OpenSearch. Those without a port are started."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        search = OpenSearchServer(folder / "opensearch", options.opensearch_port, java_options="-Xms1g -Xmx1g")
        broker = KafkaServer(folder / "kafka", options.kafka_port)
        for server in (search, broker):
            if not (options.kafka_port if server is broker else options.opensearch_port):
                server.start()
                stack.callback(server.stop)
        yield folder, broker.bootstrap, search


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints the figures."""
    parser = benchmark_parser("benchmarks.stream", __doc__)
    parser.add_argument("--oai", type=Path, required=True, metavar="FILE", help="labelled OAI runs, .jsonl.xz (required)")
    parser.add_argument("--runs", type=int, default=600, metavar="N", help="number of runs to use (default: %(default)s)")
    parser.add_argument(
        "--kafka-port", type=int, metavar="PORT", help="port of a running broker on this machine (default: one is started)"
    )
    parser.add_argument(
        "--opensearch-port",
        type=int,
        metavar="PORT",
        help="port of a running OpenSearch on this machine (default: one is started)",
    )
    parser.add_argument(
        "--silent", type=int, metavar="N", help="measure only how a worker goes on while N runs end by silence at once"
    )
    options = parser.parse_args(arguments)
    runs = [TestRun(run.run_id, run.sources) for run in read_oai(options.oai)[: options.runs]]
    with servers(options) as (folder, bootstrap, search):

        def farm(name: str) -> Farm:
            return Farm(folder / name, bootstrap, f"bench-{name}-{uuid.uuid4().hex[:6]}")

        if options.silent:
            silent = farm("silent")
            silent.use_opensearch(search)
            print_silent_ends(silent, runs, options.silent)
            return
        for name, chosen_runs in (("short", runs), ("long", joined(runs, JOINED))):
            lines = line_count(chosen_runs)
            print(f"{len(chosen_runs)} {name} runs of {lines // len(chosen_runs)} lines, {lines} in all", flush=True)
            chunked = farm(f"{name}-chunked")
            files = file_path(chosen_runs, folder / f"{name}-files")
            chunks = stream_path(chunked, chosen_runs, CHUNK_LINES)
            single = stream_path(farm(f"{name}-single"), chosen_runs, 1)
            again = file_path(chosen_runs, folder / f"{name}-again")
            plain = asyncio.run(plain_loop(chunked))
            print(f"  file path          {files:9.0f} lines/s, again {again:9.0f}")
            print(f"  worker, chunks     {chunks:9.0f} lines/s = {2 * chunks / (files + again):.2f} of the file path")
            print(f"  worker, one line   {single:9.0f} lines/s, each line as a message")
            print(f"  plain aiokafka     {plain:9.0f} lines/s, chunks that are only counted", flush=True)
        for count in (1000, 10_000):
            memory = open_runs_memory(farm(f"open-{count}"), runs, count)
            print(f"{count:6,} open runs   {memory:9.0f} MB peak", flush=True)
        speed, memory, changes = large_run(farm("large"), joined(runs, JOINED)[0], 200 << 20)
        print(f"a run of 200 MB    {speed:9.0f} lines/s, {memory:.0f} MB peak, {changes} changes of the group")
        waited = take_over(farm("death"), runs)
        print(f"one of two killed  {waited:9.1f} s from the end of a run to its verdict at most", flush=True)
        fastest = 0.0
        for _ in range(2):  # the first one warms the server up
            full = farm("full")
            full.use_opensearch(search)
            fastest = stream_path(full, runs, CHUNK_LINES, ALL_SINKS)
        print(f"worker, all sinks  {fastest:9.0f} lines/s into {', '.join(ALL_SINKS)}", flush=True)
        slow = farm("delay")
        slow.use_opensearch(search)
        waits = delays(slow, runs, fastest / 2)
        print(f"run end to verdict in all sinks at half that speed: median {waits[len(waits) // 2]:.2f} s, "
              f"p99 {waits[int(len(waits) * 0.99)]:.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
