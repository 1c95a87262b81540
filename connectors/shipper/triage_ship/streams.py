"""Sources that cannot be read twice: bytes of standard input or of a TCP console go in, chunks come out.

Lines that arrive while the shipper is not running are not seen, and a damaged chunk cannot be read again.
"""

import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from triage_ship.cutter import Cutter
from triage_ship.errors import ShipError
from triage_ship.files import Chunk

__all__ = ["Console", "StandardInput"]

READ_BYTES = 1 << 18
CONNECT_SECONDS = 5.0
# How long to wait after a failed attempt to connect; doubled with each one.
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.5, 30.0


class _Stream:
    """One run with one source.

    Args:
        key: The run id.
        source: Name of the source.
        headers: Headers of each chunk.
        chunk_bytes: Largest chunk.
        linger_seconds: How long whole lines wait for more.
    """

    def __init__(self, key: str, source: str, headers: dict[str, str], chunk_bytes: int, linger_seconds: float) -> None:
        self._origin = (key, source, headers)
        self._cutter = Cutter(chunk_bytes)
        self._linger_seconds = linger_seconds
        self.finished = False

    def scan(self, now: float) -> None:
        """Does nothing: there are no files to look for."""

    def read_again(self, file: dict[str, Any] | None, length: int, checksum: int) -> bytes | None:
        """Always None: a stream has no past."""
        return None

    def _cut(self, data: bytes, now: float) -> Iterator[Chunk]:
        for text in self._cutter.add(data, now):
            yield self._chunk(text)
        if due := self._cutter.due(now, self._linger_seconds):
            yield self._chunk(due)

    def _chunk(self, text: bytes, *, end: bool = False) -> Chunk:
        return Chunk(*self._origin, text, end, None)


class StandardInput(_Stream):
    """Standard input; when it is closed, the run ends.

    Args:
        origin: The arguments of a stream: run id, source, headers, size of chunks, linger time.
        descriptor: The file descriptor to read.
    """

    def __init__(self, *origin: Any, descriptor: int = 0) -> None:
        super().__init__(*origin)
        self._descriptor = descriptor

    def read(self, now: float) -> Iterator[Chunk]:
        """Yields what has arrived, and the end of the run when the input is closed."""
        if self.finished:
            return
        # A read would block until a line arrives, and nothing would be sent meanwhile.
        ready, _, _ = select.select([self._descriptor], [], [], 0)
        data = os.read(self._descriptor, READ_BYTES) if ready else b""
        if ready and not data:
            self.finished = True
            yield self._chunk(self._cutter.rest(), end=True)
            return
        yield from self._cut(data, now)

    def close(self) -> None:
        """Does nothing: the descriptor belongs to the parent process."""


class Console(_Stream):
    """A TCP server that prints lines, such as a serial console server. Connects again when the connection is lost.

    The run goes on over reconnections: an unfinished line is completed by what arrives next.

    Args:
        origin: The arguments of a stream: run id, source, headers, size of chunks, linger time.
        address: `host:port`.
        idle_end_seconds: The run ends when nothing arrived for this time; None means that it never does.
        on_problem: Called with a message when the connection fails.

    Raises:
        ShipError: The address is not of this form.
    """

    def __init__(
        self, *origin: Any, address: str, idle_end_seconds: float | None, on_problem: Callable[[str], None]
    ) -> None:
        super().__init__(*origin)
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise ShipError(f"--tcp {address} must have the form HOST:PORT, for example tm500.lab:5003")
        self._address = (host, int(port))
        self._idle_end_seconds = idle_end_seconds
        self._on_problem = on_problem
        self._socket: socket.socket | None = None
        self._retry_at = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._last_arrival = time.monotonic()

    def read(self, now: float) -> Iterator[Chunk]:
        """Yields what has arrived, and the end of the run when nothing arrived for the idle time."""
        if self.finished:
            return
        data = self._receive(now)
        if data:
            self._last_arrival = now
        yield from self._cut(data, now)
        if self._idle_end_seconds is not None and now - self._last_arrival >= self._idle_end_seconds:
            self.finished = True
            yield self._chunk(self._cutter.rest(), end=True)

    def close(self) -> None:
        """Closes the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _receive(self, now: float) -> bytes:
        if self._socket is None and not self._connect(now):
            return b""
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            self._disconnect(str(error))
            return b""
        if not data:
            self._disconnect("closed by the other side")
        return data

    def _connect(self, now: float) -> bool:
        if now < self._retry_at:
            return False
        try:
            self._socket = socket.create_connection(self._address, timeout=CONNECT_SECONDS)
        except OSError as error:
            # Only the first failure of an outage is reported.
            if self._retry_seconds == FIRST_RETRY_SECONDS:
                self._on_problem(f"cannot connect to console {self._name} ({error}); trying again")
            self._retry_at = now + self._retry_seconds
            self._retry_seconds = min(2 * self._retry_seconds, MAX_RETRY_SECONDS)
            return False
        self._socket.setblocking(False)
        self._retry_seconds = FIRST_RETRY_SECONDS
        return True

    def _disconnect(self, reason: str) -> None:
        self._on_problem(f"lost the connection to console {self._name} ({reason}); connecting again")
        self.close()

    @property
    def _name(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"
