"""A lab PC for tests: logs that grow and are rotated, shippers as real processes, and the messages in the topic.

    python -m tests.services.shipping --kills 200

Starts a Kafka of its own, kills the shipper that often while a log grows, and checks that no line is missing, repeated or
out of order.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stream_triage.clients.broker import Topic
from stream_triage.clients.kafka import KafkaBroker
from stream_triage.settings import KafkaSettings
from tests.services.farm import until
from tests.services.servers import KafkaServer

__all__ = ["Lab", "Writer", "chaos"]

PROGRAM = [sys.executable, "-m", "triage_ship.cli"]


class Lab:
    """A topic, and shippers that send to it. `config` holds settings of the topic, such as max.message.bytes."""

    def __init__(self, folder: Path, kafka: KafkaServer, topic: str, **config: str) -> None:
        self.folder, self.kafka, self.topic = folder, kafka, topic
        self.logs, self.state = folder / "logs", folder / "state"
        self.logs.mkdir(parents=True)
        self.output = folder / "shipper.log"
        with KafkaBroker(KafkaSettings(servers=(kafka.bootstrap,))) as broker:
            broker.create([Topic(topic, 2, config)])

    def command(self, *arguments: object) -> list[str]:
        options = ["--bootstrap", self.kafka.bootstrap, "--topic", self.topic, "--state", str(self.state)]
        return [*PROGRAM, *options, *map(str, arguments)]

    def ship(self, *arguments: object, timeout: float = 60, **process: Any) -> subprocess.CompletedProcess[str]:
        """Runs the shipper until it ends; `process` holds further arguments for `subprocess.run`."""
        command = self.command(*arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **process)

    @contextmanager
    def following(self, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
        """Runs the shipper in the background, and stops it afterwards. It prints to `output`."""
        with self.output.open("ab") as log:
            process = subprocess.Popen(self.command(*arguments), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(20)

    def sources(self) -> dict[tuple[str, str], list[Any]]:
        """The messages of each run and source, in order of their offsets."""
        messages: dict[tuple[str, str], list[Any]] = {}
        with KafkaBroker(KafkaSettings(servers=(self.kafka.bootstrap,))) as broker:
            for partition in range(2):
                for record in broker.read(self.topic, partition):
                    source = dict(record.headers)["source"].decode()
                    messages.setdefault((record.key.decode(), source), []).append(record)
        return messages

    def texts(self) -> dict[tuple[str, str], bytes]:
        """The text of each run and source as a worker reads it: each number once.

        Fails if a number is missing or has two texts.
        """
        texts = {}
        for source, records in self.sources().items():
            numbered: dict[int, bytes] = {}
            for record in records:
                number = int(dict(record.headers)["seq"])
                assert numbered.setdefault(number, record.value) == record.value, f"{source}: two texts for {number}"
            assert sorted(numbered) == list(range(len(numbered))), f"{source}: numbers are missing"
            texts[source] = b"".join(numbered[number] for number in sorted(numbered))
        return texts

    def repeats(self) -> int:
        """How many messages repeat a number; a worker skips them."""
        return sum(
            len(records) - len({dict(record.headers)["seq"] for record in records}) for records in self.sources().values()
        )


class Writer:
    """Writes numbered lines to a log and rotates it as logrotate does, but keeps all old files."""

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.path = path
        self.lines = 0
        self.rotations = 0
        self._random = random.Random(seed)
        self._file = path.open("ab")

    def write(self, count: int) -> None:
        for _ in range(count):
            self._file.write(b"%07d %s\n" % (self.lines, b"x" * self._random.randrange(200)))
            self.lines += 1
        self._file.flush()

    def rotate(self) -> None:
        """Renames the log, writes one more line to it, and starts a new one, as programs do that reopen their log late."""
        for number in range(self.rotations, 0, -1):
            self.path.with_name(f"{self.path.name}.{number}").rename(self.path.with_name(f"{self.path.name}.{number + 1}"))
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))
        self.write(1)
        self._file.close()
        self._file = self.path.open("ab")
        self.rotations += 1

    def close(self) -> None:
        self._file.close()


def numbers(text: bytes) -> list[int]:
    """The numbers of the lines of a `Writer`."""
    return [int(line[:7]) for line in text.splitlines()]


def chaos(lab: Lab, kills: int, seed: int = 0, *, rotations: bool = True, outage: Any = None) -> tuple[int, int]:
    """Kills the shipper at random moments while the log grows and is rotated.

    Args:
        lab: Where it happens.
        kills: How often the shipper is killed.
        seed: Seed of the random moments.
        rotations: Whether the log is rotated.
        outage: Called after half of the kills.

    Returns:
        The number of lines, and of messages that came twice.

    Raises:
        AssertionError: Lines are missing, repeated or out of order.
    """
    rng = random.Random(seed)
    path = lab.logs / "tm500.log"
    writer = Writer(path, seed)
    stopped = threading.Event()

    def grow() -> None:
        while not stopped.wait(0.02):
            writer.write(rng.randrange(60))
            if rotations and rng.random() < 0.01:
                writer.rotate()

    with lab.following("--run-id", "night", path):  # files that were rotated before the first start are not read
        writer.write(1)
        until(lambda: lab.sources() != {}, 60, "the shipper has started")
    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for number in range(kills):
            with lab.following("--run-id", "night", "--linger", "0.1", path) as process:
                time.sleep(rng.uniform(0.3, 1.5))
                process.send_signal(signal.SIGKILL)
            if outage is not None and number == kills // 2:
                outage()
    finally:
        stopped.set()
        thread.join()
        writer.close()
    done = lab.ship("--run-id", "night", "--once", path, timeout=300)
    assert done.returncode == 0, done.stderr
    (text,) = lab.texts().values()
    arrived = numbers(text)
    missing, repeated = set(range(writer.lines)) - set(arrived), len(arrived) - len(set(arrived))
    assert (missing, repeated) == (set(), 0), f"{len(missing)} lines missing, {repeated} repeated"
    assert arrived == list(range(writer.lines)), "out of order"
    return writer.lines, lab.repeats()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.services.shipping",
        description="Kills a shipper while a log grows and is rotated; checks that every line arrives once and in order.",
    )
    parser.add_argument("--kills", type=int, default=200, help="how often the shipper is killed (default: %(default)s)")
    parser.add_argument(
        "--outage",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how long the broker is down, after half of the kills; 0 for no outage (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = KafkaServer(folder / "kafka")
        server.start()

        def outage() -> None:
            server.stop(signal.SIGKILL)
            began = time.monotonic()
            with lab.following("--run-id", "night", lab.logs / "tm500.log"):
                time.sleep(options.outage)
            server.start()
            print(f"the broker was down for {time.monotonic() - began:.0f} s", flush=True)

        try:
            lab = Lab(folder / "lab", server, "lab.logs")
            lines, repeats = chaos(lab, options.kills, outage=outage if options.outage else None)
            print(f"{options.kills} kills: {lines} lines arrived; none missing, repeated or out of order")
            print(f"{repeats} messages were sent twice; workers skip them by their numbers")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
