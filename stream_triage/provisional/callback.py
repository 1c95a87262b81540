"""Verdicts of runs that are surely lost go to an address by HTTP, from a thread of its own: the farm may stop the run."""

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
MOST_WAITING: Final = 1000
CLOSE_SECONDS: Final = 5.0
EVIDENCE_TOLD: Final = 5


def request_of(verdict: Verdict) -> dict[str, Any]:
    """What is posted, as JSON."""
    return {
        "run_id": verdict.run_id,
        "label": verdict.label,
        "confidence": verdict.confidence,
        "cause": verdict.cause,
        "team": verdict.team,
        "lines": verdict.lines,
        "labels": verdict.headers,
        "evidence": [
            {"source": item.source, "number": item.number, "text": item.text} for item in verdict.evidence[:EVIDENCE_TOLD]
        ],
    }


@contextmanager
def calling(url: str, clock: Clock, on_trouble: Callable[[str], None]) -> Iterator[Callable[[Verdict], None]]:
    """Gives what takes verdicts. A call that fails four times is given up, and that is said: the run ends soon anyway."""
    waiting: queue.Queue[Verdict | None] = queue.Queue(MOST_WAITING)
    away = opener()

    def work() -> None:
        while (verdict := waiting.get()) is not None:
            reason = _post(away, url, json.dumps(request_of(verdict)).encode(), clock)
            if reason:
                on_trouble(f"nobody was told that run {verdict.run_id} is lost: {reason}; check provisional.callback")

    def take(verdict: Verdict) -> None:
        try:
            waiting.put_nowait(verdict)
        except queue.Full:
            on_trouble(f"nobody was told that run {verdict.run_id} is lost: {MOST_WAITING} others wait")

    thread = threading.Thread(target=work, name="callback", daemon=True)
    thread.start()
    try:
        yield take
    finally:
        with suppress(queue.Full):
            waiting.put(None, timeout=CLOSE_SECONDS)  # what waits is told first
        thread.join(CLOSE_SECONDS)


def _post(away: urllib.request.OpenerDirector, url: str, body: bytes, clock: Clock) -> str:
    """Why it failed, empty when it was taken."""
    reason = ""
    for number, wait in zip(range(TRIES), retry_waits(FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS), strict=False):
        if number:
            clock.sleep(wait)
        try:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - http(s) by the setting
            with away.open(request, timeout=TIMEOUT_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            reason = f"status {error.code}"
        except (OSError, ValueError) as error:  # the address may hold a secret, and is not shown
            reason = type(error).__name__
    return reason
