"""Alerts of the outbox in, messages to the teams that own them out: Slack, Teams, mail, webhooks, through apprise.

The only file that knows apprise. Sending happens beside the judging of runs and never in its way. What a target refuses, or
does not answer in seconds, is tried again with growing waits; redirects are not followed, since a message holds log text.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from stream_triage.alerting.outbox import Group, Outbox
from stream_triage.alerting.rules import Alert, Message, message
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import SettingsError, StoreError, fault_place
from stream_triage.records import Verdict
from stream_triage.settings import AlertSettings

__all__ = ["Notifier", "Target", "open_targets"]

DEFAULT: Final = "default"
POLL_SECONDS: Final = 1.0
FIRST_WAIT_SECONDS: Final = 30.0
LONGEST_WAIT_SECONDS: Final = 3600.0


class Target(Protocol):
    """One address that takes messages."""

    @property
    def name(self) -> str:
        """Names it without its secrets, always the same."""

    def send(self, told: Message) -> bool:
        """True when it was taken."""


class _AppriseTarget:
    def __init__(self, address: SecretStr) -> None:
        try:
            import apprise
        except ImportError:
            raise SettingsError("alerts need the extra: pip install 'stream-triage[alerts]'") from None
        # It would log addresses with their tokens.
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        secret = address.get_secret_value()
        asset = apprise.AppriseAsset(app_id="stream-triage", http_redirects=False, async_mode=False)
        self._apprise: Any = apprise.Apprise(asset=asset)
        kind = secret.partition("://")[0]
        if not self._apprise.add(secret):
            raise SettingsError(
                f"alerts.targets has an address of kind {kind!r} that apprise cannot use; see its list of URLs"
            )
        self.name = f"{kind} {hashlib.sha256(secret.encode()).hexdigest()[:8]}"

    def send(self, told: Message) -> bool:
        return bool(self._apprise.notify(title=told.title, body=told.body, body_format="text"))


def open_targets(settings: AlertSettings) -> dict[str, list[Target]]:
    """By team. Raises `SettingsError` for an address that cannot be used, without showing it."""
    return {team: [_AppriseTarget(address) for address in addresses] for team, addresses in settings.targets.items()}


class Notifier:
    """Sends what is due; for one thread, with an outbox of its own."""

    def __init__(
        self,
        outbox: Outbox,
        settings: AlertSettings,
        targets: Mapping[str, Sequence[Target]],
        *,
        clock: Clock | None = None,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._targets = targets
        self._clock = clock or SystemClock()
        self._on_trouble = on_trouble or (lambda text: None)
        self._complained: set[str] = set()

    def run(self, stopped: threading.Event) -> None:
        """Sends as things become due, until `stopped`. A fault is told and does not end it."""
        while not stopped.wait(POLL_SECONDS):
            try:
                self.send_due()
            except Exception as error:
                self._complain(str(error) if isinstance(error, StoreError) else fault_place(error))

    def send_due(self) -> int:
        """How many messages left. In quiet hours none does, and nothing is lost."""
        if self.quiet():
            return 0
        self._look_for_silence()
        sent = 0
        for group in self._outbox.due():
            if self._outbox.sent_last_hour(group.team) < self._settings.per_hour:
                sent += self._send(group)
        return sent

    def finish(self) -> int:
        """Sends at once what would wait for failures like it: none will come."""
        self._outbox.hurry()
        return self.send_due()

    def quiet(self) -> bool:
        if self._settings.quiet_hours is None:
            return False
        begin, end = self._settings.quiet_hours.split("-")
        time = self._clock.now().astimezone(ZoneInfo(self._settings.timezone)).strftime("%H:%M")
        return begin <= time < end if begin <= end else time >= begin or time < end

    def _send(self, group: Group) -> bool:
        targets = self._targets.get(group.team or DEFAULT) or self._targets.get(DEFAULT) or ()
        if not targets:
            self._complain(f"no target for alerts of team {group.team or DEFAULT}; name one in alerts.targets, or a default")
            return False
        if not self._outbox.claim(group):
            return False
        link = (self._settings.link or "").replace("{run_id}", quote(group.verdict.run_id, safe=""))
        told = message(group.verdict, group.rule, group.reason, group.runs, link)
        delivered = set(group.delivered)
        for target in targets:
            if target.name not in delivered and target.send(told):
                delivered.add(target.name)
        left = [target.name for target in targets if target.name not in delivered]
        if left:
            wait = min(FIRST_WAIT_SECONDS * 2**group.tries, LONGEST_WAIT_SECONDS)
            self._outbox.failed(group, delivered, wait)
            self._complain(f"an alert was not taken by {', '.join(left)}; it is sent again until it is")
            return False
        self._outbox.told(group)
        return True

    def _look_for_silence(self) -> None:
        limit, last = self._settings.silence_minutes, self._outbox.last_verdict()
        if "silence" not in self._settings.rules or limit is None or last is None:
            return
        run_id, time = last
        if self._clock.now() - time > timedelta(minutes=limit):
            reason = f"no verdict for more than {limit:g} minutes, the last one was {run_id} at {time:%Y-%m-%d %H:%M} UTC"
            self._outbox.put(Alert("silence", reason), _nothing(f"silence after {run_id}"))

    def _complain(self, text: str) -> None:
        """Once each: it would be said every second."""
        if text not in self._complained:
            self._complained.add(text)
            self._on_trouble(text)


def _nothing(run_id: str) -> Verdict:
    """Stands for the run that did not come."""
    return Verdict(
        run_id=run_id,
        version=1,
        final=True,
        label="silence",
        passed=False,
        confidence=1.0,
        probabilities={},
        needs_review=False,
        anomaly_score=0.0,
        anomalous=False,
        bundle="",
        bundle_version="",
    )
