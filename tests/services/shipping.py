"""A lab PC: logs that grow and are rotated, shippers as real processes, and what is in the topic in the end.

python -m tests.services.shipping --kills 200      on servers of its own; prints what was lost or doubled
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
    """A topic of its own, and shippers that send to it."""

    def __init__(self, folder: Path, kafka: KafkaServer, topic: str, **config: str) -> None:
        self.folder, self.kafka, self.topic = folder, kafka, topic
        self.logs, self.state = folder / "logs", folder / "state"
        self.logs.mkdir(parents=True)
        self.output = folder / "shipper.log"
        with KafkaBroker(KafkaSettings(servers=(kafka.bootstrap,))) as broker:
            broker.create([Topic(topic, 2, config)])

    def command(self, *arguments: object) -> list[str]:
        told = ["--bootstrap", self.kafka.bootstrap, "--topic", self.topic, "--state", str(self.state), *map(str, arguments)]
        return [*PROGRAM, *told]

    def ship(self, *arguments: object, timeout: float = 60, **how: Any) -> subprocess.CompletedProcess[str]:
        """To its end."""
        command = self.command(*arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **how)

    @contextmanager
    def following(self, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
        with self.output.open("ab") as log:
            process = subprocess.Popen(self.command(*arguments), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(20)

    def sources(self) -> dict[tuple[str, str], list[Any]]:
        """By run and source, the messages in order of their offsets."""
        found: dict[tuple[str, str], list[Any]] = {}
        with KafkaBroker(KafkaSettings(servers=(self.kafka.bootstrap,))) as broker:
            for partition in range(2):
                for record in broker.read(self.topic, partition):
                    source = dict(record.headers)["source"].decode()
                    found.setdefault((record.key.decode(), source), []).append(record)
        return found

    def texts(self) -> dict[tuple[str, str], bytes]:
        """By run and source, what a worker reads: each number once. Fails where a number is missing or has two texts."""
        texts = {}
        for place, records in self.sources().items():
            numbered: dict[int, bytes] = {}
            for record in records:
                number = int(dict(record.headers)["seq"])
                assert numbered.setdefault(number, record.value) == record.value, f"{place}: two texts for {number}"
            assert sorted(numbered) == list(range(len(numbered))), f"{place}: numbers are missing"
            texts[place] = b"".join(numbered[number] for number in sorted(numbered))
        return texts

    def repeats(self) -> int:
        """Messages that a worker will pass over."""
        return sum(
            len(records) - len({dict(record.headers)["seq"] for record in records}) for records in self.sources().values()
        )


class Writer:
    """Writes numbered lines into a log, and rotates it as logrotate does, with as many old ones as are made."""

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
        """Renamed, a new one in its place; a late line still goes to the old one."""
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
    return [int(line[:7]) for line in text.splitlines()]


def chaos(lab: Lab, kills: int, seed: int = 0, *, rotations: bool = True, outage: Any = None) -> tuple[int, int]:
    """Kills the shipper at random moments while the log grows and is rotated; gives the numbers of lines and of repeats.

    Fails where lines are lost, doubled or out of order.
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

    with lab.following("--run-id", "night", path):  # what was rotated away before anybody looked belongs to nobody
        writer.write(1)
        until(lambda: lab.sources() != {}, 60, "the shipper has begun")
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
    found = numbers(text)
    lost, doubled = set(range(writer.lines)) - set(found), len(found) - len(set(found))
    assert (lost, doubled) == (set(), 0), f"lost {len(lost)}, doubled {doubled}"
    assert found == list(range(writer.lines)), "out of order"
    return writer.lines, lab.repeats()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds without a broker, in the middle")
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        server = KafkaServer(Path(place) / "kafka")
        server.start()

        def away() -> None:
            server.stop(signal.SIGKILL)
            lab_time = time.monotonic()
            with lab.following("--run-id", "night", lab.logs / "tm500.log"):
                time.sleep(told.outage)
            server.start()
            print(f"broker away for {time.monotonic() - lab_time:.0f} s", flush=True)

        try:
            lab = Lab(Path(place) / "lab", server, "lab.logs")
            lines, repeats = chaos(lab, told.kills, outage=away if told.outage else None)
            print(
                f"{told.kills} kills: {lines} lines sent; lost 0, doubled 0, out of order 0; {repeats} messages came twice"
            )
        finally:
            server.stop()


if __name__ == "__main__":
    main()
