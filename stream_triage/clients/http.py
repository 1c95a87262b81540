"""HTTP without redirects: a password, or text of a log, is sent to the configured address and to no other."""

import ssl
import urllib.request
from typing import Any

__all__ = ["opener"]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def opener(context: ssl.SSLContext | None = None) -> urllib.request.OpenerDirector:
    """Returns an opener that raises `HTTPError` for a redirect, as it does for any status from 300 on.

    Args:
        context: Certificates to trust, for https.
    """
    handlers: list[Any] = [_NoRedirects, *([urllib.request.HTTPSHandler(context=context)] if context else [])]
    return urllib.request.build_opener(*handlers)
