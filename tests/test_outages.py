"""What the log says of something that fails again and again: when it begins, now and then, and when it is over."""

import logging

import pytest

from stream_triage.clock import FakeClock
from stream_triage.outages import Outage


@pytest.fixture
def clock(caplog: pytest.LogCaptureFixture) -> FakeClock:
    caplog.set_level(logging.INFO)
    return FakeClock()


def outage(clock: FakeClock) -> Outage:
    return Outage(logging.getLogger("stream_triage.test"), "verdicts cannot be written", "verdicts are written", clock)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records]


def test_repeats_are_counted(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """Tries every five seconds for ten minutes make a line a minute, and one in the end."""
    one = outage(clock)
    for _ in range(120):
        one.failed("OpenSearch does not respond")
        clock.advance(5)
    one.over()
    said = lines(caplog)
    assert said[0] == "verdicts cannot be written: OpenSearch does not respond; will be tried again"
    assert said[1] == "verdicts cannot be written for 60 s, 13 tries: OpenSearch does not respond"
    assert said[-1] == "verdicts are written again, after 600 s and 120 failed tries"
    assert len(said) == 11


def test_another_reason_is_said_sooner(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """But two that alternate do not fill the log."""
    one = outage(clock)
    for second in range(61):
        one.failed("no connection" if second % 2 else "status 503")
        clock.advance(1)
    assert len(lines(caplog)) == 3


def test_what_never_failed_is_not_over(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    one = outage(clock)
    one.over()
    one.failed("once")
    one.over()
    one.over()
    assert len(lines(caplog)) == 2
