"""Sends the sample runs to the topic, each source in chunks of 50 lines, as a test farm would while the runs go on.

Each time under new run ids: lines for a run that is over would be refused.
"""

import asyncio
from datetime import datetime
from pathlib import Path

from aiokafka import AIOKafkaProducer

SAMPLES = Path(__file__).parent.parent / "samples"
LINES = 50


async def send(producer: AIOKafkaProducer, run: Path, run_id: str) -> None:
    for file in sorted(run.glob("*.log")):
        lines = file.read_bytes().splitlines(keepends=True)
        for seq, start in enumerate(range(0, len(lines), LINES)):
            headers = [("source", file.stem.encode()), ("seq", str(seq).encode()), ("test.case.name", run.name.encode())]
            value = b"".join(lines[start : start + LINES])
            await producer.send_and_wait("triage.logs", value, run_id.encode(), headers=headers)


async def main() -> None:
    async with AIOKafkaProducer(bootstrap_servers="127.0.0.1:9092") as producer:
        now = datetime.now().strftime("%Y-%m-%dT%H:%M:%S")
        for run in sorted(path for path in SAMPLES.iterdir() if path.is_dir()):
            await send(producer, run, f"{run.name}/{now}")


if __name__ == "__main__":
    asyncio.run(main())
