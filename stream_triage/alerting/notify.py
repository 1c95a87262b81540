"""Alerts of the outbox in; messages to the teams that own them out: chat, mail, webhooks, through apprise.

The only module that imports apprise. Sending never delays the judging of runs. A target that rejects a message, or does
not respond within seconds, is tried again after growing waits. Redirects are not followed: a message contains log text.
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

from stream_triage.alerting.outbox import Group, Outbox, silence_after
from stream_triage.alerting.rules import Alert, Message, message
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import SettingsError, StoreError, internal_error_text
from stream_triage.records import Verdict
from stream_triage.settings import AlertSettings

__all__ = ["Notifier", "Target", "open_targets"]

DEFAULT: Final = "default"
POLL_SECONDS: Final = 1.0
FIRST_WAIT_SECONDS: Final = 30.0
LONGEST_WAIT_SECONDS: Final = 3600.0


class Target(Protocol):
    """One address that accepts messages."""

    @property
    def name(self) -> str:
        """Names the address without its secrets; the outbox stores it, so it must never change."""

    def send(self, message: Message) -> bool:
        """Sends a message; false if the target did not accept it."""


class _AppriseTarget:
    def __init__(self, address: SecretStr) -> None:
        try:
            import apprise
        except ImportError:
            raise SettingsError("alerts need the extra: pip install 'stream-triage[alerts]'") from None
        # Its log messages contain addresses with their tokens.
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

    def send(self, message: Message) -> bool:
        return bool(self._apprise.notify(title=message.title, body=message.body, body_format="text"))


def open_targets(settings: AlertSettings) -> dict[str, list[Target]]:
    """Returns the targets of each team.

    Raises:
        SettingsError: The extra is not installed, or apprise cannot use an address; the message does not show it.
    """
    return {team: [_AppriseTarget(address) for address in addresses] for team, addresses in settings.targets.items()}


class Notifier:
    """Sends the alerts that are due. For one thread, with an outbox object of its own."""

    def __init__(
        self,
        outbox: Outbox,
        settings: AlertSettings,
        targets: Mapping[str, Sequence[Target]],
        *,
        clock: Clock | None = None,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        """Takes an open outbox.

        Args:
            outbox: What is to be sent; the caller closes it.
            settings: When messages may be sent.
            targets: The targets of each team; `default` for teams without.
            clock: Decides what is due and when quiet hours are.
            on_trouble: Receives a message when alerts cannot be sent, each text once.
        """
        self._outbox = outbox
        self._settings = settings
        self._targets = targets
        self._clock = clock or SystemClock()
        self._on_trouble = on_trouble or (lambda text: None)
        self._complaints: set[str] = set()

    def run(self, stopped: threading.Event) -> None:
        """Sends alerts as they become due, until `stopped` is set. Errors are reported and do not end it."""
        while not stopped.wait(POLL_SECONDS):
            try:
                self.send_due()
            except Exception as error:
                self._complain(str(error) if isinstance(error, StoreError) else internal_error_text(error))

    def send_due(self) -> int:
        """Sends what is due and returns the number of messages sent; in quiet hours none, they wait.

        Raises:
            StoreError: The outbox cannot be read or written; what was sent before stays sent.
        """
        if self.quiet():
            return 0
        self._check_silence()
        sent = 0
        for group in self._outbox.due():
            if self._outbox.sent_last_hour(group.team) < self._settings.per_hour:
                sent += self._send(group)
        return sent

    def finish(self) -> int:
        """Sends what is left, as `send_due` does, without waiting for similar failures: no run will come."""
        self._outbox.make_due()
        return self.send_due()

    def quiet(self) -> bool:
        """Returns whether it is within the quiet hours, by the clock of their time zone."""
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
        text = message(group.verdict, Alert(group.rule, group.reason), group.runs, link)
        delivered = set(group.delivered)
        for target in targets:
            if target.name not in delivered and target.send(text):
                delivered.add(target.name)
        missing = [target.name for target in targets if target.name not in delivered]
        if missing:
            wait = min(FIRST_WAIT_SECONDS * 2**group.tries, LONGEST_WAIT_SECONDS)
            self._outbox.mark_failed(group, delivered, wait)
            self._complain(f"an alert was not accepted by {', '.join(missing)}; it is sent again until it is")
            return False
        self._outbox.mark_sent(group)
        return True

    def _check_silence(self) -> None:
        limit, last = self._settings.silence_minutes, self._outbox.last_verdict()
        if "silence" not in self._settings.rules or limit is None or last is None:
            return
        run_id, time = last
        if self._clock.now() - time > timedelta(minutes=limit):
            reason = f"no verdict for more than {limit:g} minutes, the last one was {run_id} at {time:%Y-%m-%d %H:%M} UTC"
            self._outbox.put(Alert("silence", reason), _silence(silence_after(run_id)))

    def _complain(self, text: str) -> None:
        """Reports a text once: most causes would repeat it every second."""
        if text not in self._complaints:
            self._complaints.add(text)
            self._on_trouble(text)


def _silence(run_id: str) -> Verdict:
    """Returns what takes the place of a verdict in an alert about runs that do not come."""
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
