"""An HTTP server of a test's own, on a free port of the loopback."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["local_server"]


@contextmanager
def local_server(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serves while the block runs; yields host and port. Requests that still hang at the end are not waited for."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)  # seconds that shutdown may wait
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
