"""Sends the sample runs to the topic, each source in chunks of 50 lines, as a test farm would while the runs go on."""

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaProducer

SAMPLES = Path(__file__).parent.parent / "samples"
LINES = 50


async def send(producer: AIOKafkaProducer, run: Path) -> None:
    for file in sorted(run.glob("*.log")):
        lines = file.read_bytes().splitlines(keepends=True)
        for seq, start in enumerate(range(0, len(lines), LINES)):
            headers = [("source", file.stem.encode()), ("seq", str(seq).encode()), ("test.case.name", run.name.encode())]
            value = b"".join(lines[start : start + LINES])
            await producer.send_and_wait("triage.logs", value, run.name.encode(), headers=headers)


async def main() -> None:
    async with AIOKafkaProducer(bootstrap_servers="127.0.0.1:9092") as producer:
        for run in sorted(path for path in SAMPLES.iterdir() if path.is_dir()):
            await send(producer, run)


if __name__ == "__main__":
    asyncio.run(main())
