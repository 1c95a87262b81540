"""Sources that cannot be read twice: standard input, and a console that is reached by TCP."""

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
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0


class _Stream:
    """One run, one source."""

    def __init__(self, key: str, source: str, headers: dict[str, str], chunk_bytes: int, linger_seconds: float) -> None:
        self._about = (key, source, headers)
        self._cutter = Cutter(chunk_bytes)
        self._linger_seconds = linger_seconds
        self.idle = False

    def scan(self, now: float) -> None:
        """There is nothing to look for."""

    def read_again(self, file: dict[str, Any] | None, length: int, checksum: int) -> bytes | None:
        return None

    def _cut(self, data: bytes, now: float) -> Iterator[Chunk]:
        for chunk in self._cutter.add(data, now):
            yield self._chunk(chunk)
        if due := self._cutter.due(now, self._linger_seconds):
            yield self._chunk(due)

    def _chunk(self, text: bytes, *, end: bool = False) -> Chunk:
        return Chunk(*self._about, text, end, None)


class StandardInput(_Stream):
    """Its end is the run's end."""

    def __init__(self, *about: Any, descriptor: int = 0) -> None:
        super().__init__(*about)
        self._descriptor = descriptor

    def read(self, now: float) -> Iterator[Chunk]:
        if self.idle:
            return
        ready, _, _ = select.select([self._descriptor], [], [], 0)
        data = os.read(self._descriptor, READ_BYTES) if ready else b""
        if ready and not data:
            self.idle = True
            yield self._chunk(self._cutter.rest(), end=True)
            return
        yield from self._cut(data, now)

    def close(self) -> None:
        """It belongs to whoever started us."""


class Console(_Stream):
    """Connects, reads, and connects again when the other side goes; the run goes on meanwhile."""

    def __init__(self, *about: Any, address: str, idle_end_seconds: float | None, on_trouble: Callable[[str], None]) -> None:
        super().__init__(*about)
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise ShipError(f"--tcp {address} is not of the form host:port")
        self._address = (host, int(port))
        self._idle_end_seconds = idle_end_seconds
        self._on_trouble = on_trouble
        self._socket: socket.socket | None = None
        self._next_try = 0.0
        self._wait = FIRST_WAIT_SECONDS
        self._came = time.monotonic()

    def read(self, now: float) -> Iterator[Chunk]:
        if self.idle:
            return
        data = self._receive(now)
        if data:
            self._came = now
        yield from self._cut(data, now)
        if self._idle_end_seconds is not None and now - self._came >= self._idle_end_seconds:
            self.idle = True
            yield self._chunk(self._cutter.rest(), end=True)

    def _receive(self, now: float) -> bytes:
        if self._socket is None and not self._connect(now):
            return b""
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            self._lost(str(error))
            return b""
        if not data:
            self._lost("it closed the connection")
        return data

    def _connect(self, now: float) -> bool:
        if now < self._next_try:
            return False
        try:
            self._socket = socket.create_connection(self._address, timeout=5.0)
            self._socket.setblocking(False)
            self._wait = FIRST_WAIT_SECONDS
        except OSError as error:
            self._next_try = now + self._wait
            if self._wait == FIRST_WAIT_SECONDS:
                self._on_trouble(
                    f"console {self._address[0]}:{self._address[1]} does not answer ({error}); it is tried again"
                )
            self._wait = min(2 * self._wait, LONGEST_WAIT_SECONDS)
            return False
        return True

    def _lost(self, reason: str) -> None:
        self._on_trouble(f"console {self._address[0]}:{self._address[1]} is gone: {reason}; it is tried again")
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
