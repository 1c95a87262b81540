"""A real HTTP server of a test's own, which takes alerts as a webhook does."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.local_http import local_server

__all__ = ["Receiver", "receiving"]


class Receiver(http.server.BaseHTTPRequestHandler):
    got: list[dict[str, Any]]
    answer = 200

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).got.append(body)
        if self.answer == 0:  # hangs until whoever asks has had enough
            threading.Event().wait(6)
        self.send_response(self.answer or 200)
        if self.answer == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")  # type: ignore[attr-defined]
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[tuple[type[Receiver], str]]:
    """Its handler, which has what it got, and its apprise URL."""
    handler = type("OwnReceiver", (Receiver,), {"got": []})
    with local_server(handler) as address:
        yield handler, f"json://{address}"
