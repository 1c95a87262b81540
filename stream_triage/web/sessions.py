"""The password that a user types in; a cookie out, which the next requests bring back."""

import hmac
import secrets
from collections.abc import Callable
from typing import Final

__all__ = ["COOKIE", "SESSION_SECONDS", "Sessions", "TooManyTries"]

COOKIE: Final = "stream-triage"
SESSION_SECONDS: Final = 12 * 3600
# So many wrong passwords are taken within a minute, from whomever.
TRIES: Final = 10
TRIES_SECONDS: Final = 60.0
MOST_SESSIONS: Final = 1000


class TooManyTries(Exception):
    """So many wrong passwords came that none is looked at for now."""


class Sessions:
    """Who has given the password. Sessions are kept in memory: a new start of the server asks everybody again."""

    def __init__(self, password: str | None, now: Callable[[], float]) -> None:
        """Takes the password, None if none is needed, and what tells seconds since some moment."""
        self._password = password
        self._now = now
        self._ends: dict[str, float] = {}
        self._wrong: list[float] = []

    @property
    def needed(self) -> bool:
        """Whether there is a password."""
        return self._password is not None

    def begin(self, password: str) -> str | None:
        """A new session's cookie; None if the password is wrong. Raises `TooManyTries`."""
        now = self._now()
        self._wrong = [time for time in self._wrong if now - time < TRIES_SECONDS]
        if len(self._wrong) >= TRIES:
            raise TooManyTries
        if self._password is None or not hmac.compare_digest(password.encode(), self._password.encode()):
            self._wrong.append(now)
            return None
        self._ends = {cookie: end for cookie, end in self._ends.items() if end > now}
        while len(self._ends) >= MOST_SESSIONS:
            self._ends.pop(next(iter(self._ends)))
        cookie = secrets.token_urlsafe(32)
        self._ends[cookie] = now + SESSION_SECONDS
        return cookie

    def allows(self, cookie: str | None) -> bool:
        """Whether the cookie is that of a session, or no password is needed."""
        return not self.needed or (cookie is not None and self._ends.get(cookie, 0.0) > self._now())

    def end(self, cookie: str | None) -> None:
        """Forgets a session."""
        self._ends.pop(cookie or "", None)
