"""Verdicts of runs that are certain to fail in; one HTTP request for each out, so that the run can be stopped.

Requests are sent by a thread of their own: an address that does not answer must not hold the worker.
"""

import json
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from stream_triage.clients.http import opener
from stream_triage.clock import Clock, retry_waits
from stream_triage.records import Verdict

__all__ = ["calling", "request_of"]

TRIES: Final = 4
TIMEOUT_SECONDS: Final = 5.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 5.0
# Verdicts that wait to be sent; with more, the address is too slow to be of use.
MAX_QUEUED: Final = 1000
# How long the end of the worker waits for requests.
CLOSE_SECONDS: Final = 5.0
MAX_EVIDENCE: Final = 5


def request_of(verdict: Verdict) -> dict[str, Any]:
    """What is sent, as JSON."""
    return {
        "run_id": verdict.run_id,
        "label": verdict.label,
        "confidence": verdict.confidence,
        "why": verdict.why,
        "cause": verdict.cause,
        "team": verdict.team,
        "lines": verdict.lines,
        "labels": verdict.headers,
        "evidence": [
            {"source": item.source, "number": item.number, "text": item.text} for item in verdict.evidence[:MAX_EVIDENCE]
        ],
    }


@contextmanager
def calling(url: str, clock: Clock, on_trouble: Callable[[str], None]) -> Iterator[Callable[[Verdict], None]]:
    """Yields a function that queues a verdict to be sent; it never waits.

    A request that fails four times is given up and reported to `on_trouble`: the run will soon have ended by itself. At the
    end, queued verdicts are still sent, for `CLOSE_SECONDS`.
    """
    waiting: queue.Queue[Verdict | None] = queue.Queue(MAX_QUEUED)
    http = opener()

    def give_up(verdict: Verdict, reason: str) -> None:
        on_trouble(f"run {verdict.run_id} is certain to fail, which was not sent: {reason}; check provisional.callback")

    def work() -> None:
        while (verdict := waiting.get()) is not None:
            if reason := _post(http, url, json.dumps(request_of(verdict)).encode(), clock):
                give_up(verdict, reason)

    def take(verdict: Verdict) -> None:
        try:
            waiting.put_nowait(verdict)
        except queue.Full:
            give_up(verdict, f"{MAX_QUEUED} others are waiting")

    thread = threading.Thread(target=work, name="callback", daemon=True)
    thread.start()
    try:
        yield take
    finally:
        with suppress(queue.Full):
            waiting.put(None, timeout=CLOSE_SECONDS)  # behind what is queued, which is sent first
        thread.join(CLOSE_SECONDS)


def _post(http: urllib.request.OpenerDirector, url: str, body: bytes, clock: Clock) -> str:
    """Why the request failed; empty if it did not."""
    reason = ""
    for number, wait in zip(range(TRIES), retry_waits(FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS), strict=False):
        if number:
            clock.sleep(wait)
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - http(s) by the setting
            with http.open(request, timeout=TIMEOUT_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            reason = f"status {error.code}"
        except (OSError, ValueError) as error:  # the address may contain a secret, and some messages contain the address
            reason = type(error).__name__
    return reason
