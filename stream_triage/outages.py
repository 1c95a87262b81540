"""Failed tries of one thing in; a line in the log when it begins to fail, one now and then, and one when it works again."""

import logging
from typing import Final

from stream_triage.clock import Clock, SystemClock

__all__ = ["Outage"]

REMIND_SECONDS: Final = 60.0
# Another reason is news, but two reasons that alternate are not.
NEW_REASON_SECONDS: Final = 20.0


class Outage:
    """Counts the failed tries of one thing. Not for several threads.

    `failing` and `works` begin the lines of the log, for example "verdicts cannot be written" and "verdicts are written".
    """

    def __init__(self, log: logging.Logger, failing: str, works: str, clock: Clock | None = None) -> None:
        self._log = log
        self._failing, self._works = failing, works
        self._clock = clock or SystemClock()
        self._tries = 0
        self._began = self._said = 0.0
        self._reason = ""

    def failed(self, reason: str) -> None:
        """One more try has failed, for this reason, which names the remedy."""
        now = self._clock.monotonic()
        self._tries += 1
        if self._tries == 1:
            self._began = now
            self._log.warning("%s: %s; will be tried again", self._failing, reason)
        elif now - self._said >= (REMIND_SECONDS if reason == self._reason else NEW_REASON_SECONDS):
            elapsed = now - self._began
            self._log.warning("%s for %.0f s, %d tries: %s", self._failing, elapsed, self._tries, reason)
        else:
            return
        self._said, self._reason = now, reason

    def over(self) -> None:
        """A try has succeeded, or there is nothing to try any more."""
        if self._tries:
            elapsed = self._clock.monotonic() - self._began
            self._log.info("%s again, after %.0f s and %d failed tries", self._works, elapsed, self._tries)
        self._tries = 0
