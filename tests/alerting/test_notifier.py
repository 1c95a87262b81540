"""The notifier's loop, and what it may never do: follow a redirect, log an address, count a silence as a verdict."""

import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from stream_triage.alerting import notify as module
from stream_triage.alerting.notify import Notifier, open_targets
from stream_triage.alerting.outbox import Outbox
from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.settings import AlertSettings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Stopping(threading.Event):
    """Is set after so many waits; remembers how long each of them was."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._left = waits

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        self._left -= 1
        return self._left < 0


@pytest.fixture
def settings(tmp_path: Path) -> AlertSettings:
    return AlertSettings(path=tmp_path / "alerts.sqlite")


def test_looks_once_a_second_until_it_is_stopped(settings: AlertSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three waits, three looks; the wait that is stopped sends nothing."""
    looks: list[int] = []
    monkeypatch.setattr(Notifier, "send_due", lambda self: looks.append(1) or 0)
    stopped = Stopping(3)
    with Outbox(settings, clock=FakeClock(NOON)) as outbox:
        Notifier(outbox, settings, {}).run(stopped)
    assert (len(looks), stopped.waits) == (3, [module.POLL_SECONDS] * 4)
    assert module.POLL_SECONDS == 1.0


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (StoreError("the outbox is locked"), "the outbox is locked"),
        (ValueError("secret of a log"), "internal error: ValueError at"),
    ],
)
def test_errors_are_reported_once_and_do_not_end_it(
    settings: AlertSettings, monkeypatch: pytest.MonkeyPatch, error: Exception, reported: str
) -> None:
    """An error of the outbox in its own words, an internal error without its text, which may be that of a log."""
    troubles: list[str] = []

    def fails(self: Notifier) -> int:
        raise error

    monkeypatch.setattr(Notifier, "send_due", fails)
    with Outbox(settings, clock=FakeClock(NOON)) as outbox:
        Notifier(outbox, settings, {}, on_trouble=troubles.append).run(Stopping(3))
    assert len(troubles) == 1
    assert troubles[0].startswith(reported)
    assert "secret" not in troubles[0]


def test_redirects_are_not_followed_and_addresses_not_logged() -> None:
    """The answer of a target must not decide where messages go, and its library logs addresses with their tokens."""
    pytest.importorskip("apprise")
    settings = AlertSettings(targets={"default": (SecretStr("json://127.0.0.1:9/token"),)})
    ((target,),) = open_targets(settings).values()
    assert target._apprise.asset.http_redirects is False
    assert not logging.getLogger("apprise").isEnabledFor(logging.CRITICAL)


def test_silence_is_no_clean_pass() -> None:
    """What stands for a missing verdict is final and failed, and says nothing about an anomaly."""
    verdict = module._silence("silence after a")
    assert (verdict.final, verdict.passed, verdict.version, verdict.confidence) == (True, False, 1, 1.0)
    assert (verdict.anomaly_score, verdict.anomalous, verdict.needs_review) == (0.0, False, False)


def test_waits_double_up_to_an_hour() -> None:
    """The first retry comes after half a minute; retries are at most an hour apart."""
    assert (module.FIRST_WAIT_SECONDS, module.LONGEST_WAIT_SECONDS) == (30.0, 3600.0)
