"""Sends the sample runs to Kafka in messages of 50 lines, as a test farm does while its tests run.

Every call uses new run ids, because a worker rejects lines for a run that has ended.
"""

import asyncio
from datetime import datetime
from pathlib import Path

from aiokafka import AIOKafkaProducer

SAMPLES = Path(__file__).parent.parent / "samples" / "tm500"
LINES_PER_MESSAGE = 50


async def send(producer: AIOKafkaProducer, log: Path, run_id: str) -> None:
    """Sends one log; `seq` numbers its messages from 0."""
    lines = log.read_bytes().splitlines(keepends=True)
    for seq, start in enumerate(range(0, len(lines), LINES_PER_MESSAGE)):
        headers = [("source", b"tm500"), ("seq", str(seq).encode()), ("test.case.name", log.stem.encode())]
        value = b"".join(lines[start : start + LINES_PER_MESSAGE])
        await producer.send_and_wait("triage.logs", value, run_id.encode(), headers=headers)


async def main() -> None:
    """Sends every log in `samples/tm500`, one run each."""
    async with AIOKafkaProducer(bootstrap_servers="127.0.0.1:9092") as producer:
        now = datetime.now().strftime("%Y-%m-%dT%H:%M:%S")
        for log in sorted(SAMPLES.glob("*.log")):
            await send(producer, log, f"{log.stem}/{now}")


if __name__ == "__main__":
    asyncio.run(main())
