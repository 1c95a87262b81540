"""HTTP without redirects: a password, or what a run logged, goes to the address that was set and to no other."""

import ssl
import urllib.request
from typing import Any

__all__ = ["opener"]


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def opener(context: ssl.SSLContext | None = None) -> urllib.request.OpenerDirector:
    """An answer that leads elsewhere is an `HTTPError`, as others above 299 are."""
    handlers: list[Any] = [_Stay, *([urllib.request.HTTPSHandler(context=context)] if context else [])]
    return urllib.request.build_opener(*handlers)
