"""A search server in memory behind HTTP on the loopback, so that the real client can be tested without a real server."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stream_triage.clients.memory.search import MemorySearchServer
from tests.local_http import local_server

__all__ = ["serving"]


@contextmanager
def serving(memory: MemorySearchServer) -> Iterator[str]:
    """Gives the URL. While the server in memory is not available, connections are closed without a response."""
    one_at_a_time = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet: else the kernel delays the second one

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not memory.available:
                self.close_connection = True
                return
            with one_at_a_time:
                status, content = memory.handle(self.command, self.path, body)
            raw = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_DELETE = respond

        def log_message(self, *_: object) -> None: ...

    with local_server(Handler) as address:
        yield f"http://{address}"
