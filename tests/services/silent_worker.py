"""`stream-triage worker` whose consumer stops fetching after some seconds, without an error.

python -m tests.services.silent_worker worker -c settings.toml
"""

import asyncio
import time
from typing import Any

from aiokafka.consumer import fetcher

from stream_triage.cli import main
from stream_triage.clients import fetch_watch

__all__: list[str] = []

FETCH_SECONDS = 8.0


if __name__ == "__main__":
    fetch_watch.SILENT_SECONDS, fetch_watch.STUCK_SECONDS = 4.0, 12.0  # type: ignore[misc]
    began, fetch = list[float](), fetcher.Fetcher._proc_fetch_request

    async def fall_silent(self: Any, *arguments: Any) -> Any:
        began.append(time.monotonic())
        if began[-1] - began[0] > FETCH_SECONDS:
            await asyncio.sleep(3600)
        return await fetch(self, *arguments)

    fetcher.Fetcher._proc_fetch_request = fall_silent
    main()
