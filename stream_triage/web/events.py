"""A request that stays open in; a line for each change of the store out (server-sent events)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from stream_triage.web.site import Site, site_of

__all__ = ["events"]

# How often the store is looked at: one statement that reads no table.
LOOK_SECONDS: Final = 0.5
# A comment so often shows whether somebody still listens, and keeps proxies from closing the connection.
ALIVE_SECONDS: Final = 15.0


async def events(request: Request) -> StreamingResponse:
    """Tells when verdicts were stored or removed. The page then asks for what it shows."""
    changes = _changes(site_of(request))
    return StreamingResponse(changes, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def _changes(site: Site) -> AsyncIterator[str]:
    known = await run_in_threadpool(site.store.state)
    yield f"event: state\ndata: {known}\n\n"
    silent = 0.0
    while not site.stopping.is_set():
        await asyncio.sleep(LOOK_SECONDS)
        state = await run_in_threadpool(site.store.state)
        silent += LOOK_SECONDS
        if state != known:
            known, silent = state, 0.0
            yield f"event: stored\ndata: {state}\n\n"
        elif silent >= ALIVE_SECONDS:
            silent = 0.0
            yield ": alive\n\n"
