"""A proxy before an OpenSearch server that gives wrong answers to some requests."""

import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.opensearch import set_up
from tests.services.servers import OpenSearchServer

__all__ = ["standing_before"]


@contextmanager
def standing_before(
    server: OpenSearchServer, prefix: str, answers: list[object], max_bytes: int = 1 << 30
) -> Iterator[OpenSearchSettings]:
    """Starts a proxy and yields settings that lead to it.

    Args:
        server: Answers all other requests.
        prefix: Index prefix; the indices are created here.
        answers: One for each of the first bulk requests: an HTTP status, the bytes of a response, or a function that
            changes the server's response.
        max_bytes: Larger requests are rejected with status 413, as by a reverse proxy.
    """
    set_up(OpenSearchSettings(hosts=(server.url,), index_prefix=prefix), ("tiny", "1"), [])

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = answers.pop(0) if answers and self.path.startswith("/_bulk") else None
            if len(body) > max_bytes:
                status, content, kind = 413, b"<html>Request Entity Too Large</html>", "text/html"
            elif isinstance(answer, int):
                status, content, kind = answer, b'{"error": "busy"}', "application/json"
            elif isinstance(answer, bytes):
                status, content, kind = 200, answer, "text/html"
            else:
                request = urllib.request.Request(
                    server.url + self.path, body or None, {"Content-Type": "application/json"}, method=self.command
                )
                try:
                    with urllib.request.urlopen(request) as response:
                        status, content, kind = response.status, response.read(), "application/json"
                except urllib.error.HTTPError as error:
                    status, content, kind = error.code, error.read(), "application/json"
                if callable(answer):
                    content = answer(content)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do

        def log_message(self, *_: object) -> None: ...

    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield OpenSearchSettings(
            hosts=(f"http://127.0.0.1:{proxy.server_port}",), index_prefix=prefix, retry_seconds=60, timeout_seconds=5
        )
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
