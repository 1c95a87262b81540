"""A run that is sent through the whole path to check it: topic, worker, sinks.

Its verdict is known in advance, since the same text is judged here. Statistics and alerts leave it out, by the name of its
test case.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from stream_triage.clients.broker import Broker, Outgoing
from stream_triage.clock import Clock
from stream_triage.errors import StoreError
from stream_triage.records import CANARY, Verdict

__all__ = ["TEXT", "Look", "Sighting", "same", "send", "wait_for_verdicts"]

POLL_SECONDS: Final = 0.5
# Lines of a TM500 log; every bundle gives some verdict on them.
TEXT: Final = b"""\
01/01/26 00:00:00:000\t#$$CONNECT
01/01/26 00:00:00:020\tC: CONNECT 0x00 ok
01/01/26 00:00:00:040\tGVER
01/01/26 00:00:00:060\tC: GVER 0x00 Ok
01/01/26 00:00:00:080\tRSET
01/01/26 00:00:00:100\tC: RSET 0x00 Ok
"""

Look = Callable[[], Verdict | None]
"""Looks for the verdict of the run in one sink; None if it is not there yet."""


class Sighting(NamedTuple):
    """The verdict in one sink and how long it took; no verdict if it did not come in time."""

    location: str
    seconds: float
    verdict: Verdict | None


def send(broker: Broker, topic: str, run_id: str) -> None:
    """Sends the run, as one message. Raises `StoreError` when the topic does not take it."""
    headers = (("test.case.name", CANARY.encode()), ("seq", b"0"), ("end", b"1"), ("run.sources", b"1"))
    if broker.send([Outgoing(topic, run_id.encode(), TEXT, headers)]):
        raise StoreError(f"the topic {topic} takes no message of {len(TEXT)} bytes; raise its max.message.bytes")


def wait_for_verdicts(lookups: Mapping[str, Look], patience_seconds: float, clock: Clock) -> Iterator[Sighting]:
    """Looks in all sinks, named by the keys, until each has the verdict or `patience_seconds` are over; yields each once."""
    began, left = clock.monotonic(), dict(lookups)
    while left:
        for location, look in list(left.items()):
            verdict, waited = look(), clock.monotonic() - began
            if verdict is not None or waited >= patience_seconds:
                del left[location]
                yield Sighting(location, waited, verdict)
        if left:
            clock.sleep(POLL_SECONDS)


def same(seen: Verdict, expected: Verdict) -> bool:
    """Whether label, need of a review and evidence are equal, and come from the same bundle.

    Weights, confidence and scores are not compared: their last digits differ between machines.
    """

    def statement(verdict: Verdict) -> tuple[object, ...]:
        evidence = [(item.kind, item.source, item.number, item.key, item.rule) for item in verdict.evidence]
        return verdict.label, verdict.needs_review, verdict.bundle, verdict.bundle_version, evidence

    return statement(seen) == statement(expected)
