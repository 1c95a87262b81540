"""A proxy in front of an OpenSearch that sends bad responses."""

import http.server
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.opensearch import set_up
from tests.local_http import local_server

__all__ = ["behind_proxy"]


@contextmanager
def behind_proxy(url: str, prefix: str, responses: list[object], max_bytes: int = 1 << 30) -> Iterator[OpenSearchSettings]:
    """Settings of the proxy; the server behind it is set up.

    Args:
        url: Of the server.
        prefix: Of the indices.
        responses: For the first bulk requests: a status, the content, or a function that changes the content that the server
            sent (None for no change). Afterwards requests and responses are passed on.
        max_bytes: Larger requests are rejected.
    """
    set_up(OpenSearchSettings(hosts=(url,), index_prefix=prefix), ("tiny", "1"), [])

    class Proxy(http.server.BaseHTTPRequestHandler):
        wbufsize = -1  # headers and body in one packet: else the kernel delays the second one

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            response = responses.pop(0) if responses and self.path.startswith("/_bulk") else None
            if len(body) > max_bytes:
                status, content, kind = 413, b"<html>Request Entity Too Large</html>", "text/html"
            elif isinstance(response, int):
                status, content, kind = response, b'{"error": "busy"}', "application/json"
            elif isinstance(response, bytes):
                status, content, kind = 200, response, "text/html"
            else:
                status, content, kind = *self._pass_on(body), "application/json"
                if callable(response):
                    content = response(content)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _pass_on(self, body: bytes) -> tuple[int, bytes]:
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(url + self.path, body or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(request) as received:
                    return received.status, received.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()

        do_GET = do_POST = do_PUT = respond

        def log_message(self, *_: object) -> None: ...

    with local_server(Proxy) as address:
        yield OpenSearchSettings(hosts=(f"http://{address}",), index_prefix=prefix, retry_seconds=60, timeout_seconds=5)
