"""Requests in; those that must not be answered get an error, and every response gets the headers that keep it harmless.

Log text is hostile, and a browser may be lured: other sites must neither read these pages (a name that they point at this
address), nor send forms to them, nor frame them. No script or style in a page is run, only those that this server serves.
"""

import ipaddress
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream_triage.errors import internal_error_text

__all__ = ["HEADERS", "Guard", "allowed_hosts"]

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_LOG = logging.getLogger(__name__)
_READING: Final = {"GET", "HEAD"}

App = TypeVar("App", bound=ASGIApp)
ErrorPage = Callable[[Request, int, str], Response]
SignIn = Callable[[Request], Awaitable[Response | None]]


def allowed_hosts(listen: str, further: Iterable[str]) -> frozenset[str]:
    """Names by which this server may be called, in lower case: those of this machine and those of the settings."""
    own = {"localhost", socket.gethostname(), socket.getfqdn(), listen}
    return frozenset(name.strip("[]").lower() for name in {*own, *further} if name)


class Guard(Generic[App]):
    """Stands before the application. Nothing that it raises gets through.

    Attributes:
        app: The application.
    """

    def __init__(self, app: App, hosts: frozenset[str], error_page: ErrorPage, sign_in: SignIn) -> None:
        """What it needs.

        Args:
            app: The application.
            hosts: Of `allowed_hosts`.
            error_page: Makes the page of an error from its status and what to do about it.
            sign_in: Returns a response to a request of somebody who must give the password first, else None.
        """
        self.app = app
        self._hosts = hosts
        self._error_page = error_page
        self._sign_in = sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")  # logs are confidential
            await send(message)

        scope["app"] = self.app
        request = Request(scope, receive)
        try:
            answer = self._refusal(request) or await self._sign_in(request) or self.app
            await answer(scope, receive, send_with_headers)
        except Exception as error:
            # The user has got the page of an error, or the beginning of a download. The message may hold log text.
            _LOG.error("%s", internal_error_text(error))
            if os.environ.get("STREAM_TRIAGE_DEBUG"):
                raise

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            reason = f"This server does not answer to the name {host!r}. If it is right, add it to the setting ui.hosts."
            return self._error_page(request, HTTPStatus.MISDIRECTED_REQUEST, reason)
        if request.method not in _READING and not _from_own_page(request.headers, host):
            return self._error_page(request, HTTPStatus.FORBIDDEN, "The form was sent by another site, so it was not used.")
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether the name is a known one, or an address in numbers, which no other site can point here."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _from_own_page(headers: Headers, host: str) -> bool:
    """Whether a form was sent from a page of this server. Every browser says where a form comes from; others need not."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()
