"""The loop: read, keep on disk, send, forget what the broker has."""

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from triage_ship.files import Chunk
from triage_ship.sender import Away, Sender, TooLarge
from triage_ship.spool import Spool

__all__ = ["Shipper", "Source"]

PAUSE_SECONDS = 0.05
SCAN_SECONDS = 1.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 15.0
# Files that are gone are remembered for a while: a rotation may show them again.
MOST_POSITIONS = 10_000


class Source(Protocol):
    """Something that is read."""

    @property
    def idle(self) -> bool:
        """It has come to its end."""

    def scan(self, now: float) -> None: ...
    def read(self, now: float) -> Iterable[Chunk]: ...
    def read_again(self, file: dict[str, Any] | None, length: int, checksum: int) -> bytes | None: ...
    def close(self) -> None: ...


class Shipper:
    """`open_source` gets the positions of files, which this keeps with the chunks."""

    def __init__(
        self,
        spool: Spool,
        sender: Sender,
        open_source: Callable[[dict[str, Any]], Source],
        *,
        spool_bytes: int,
        on_trouble: Callable[[str], None],
        end_headers: Callable[[Chunk], dict[str, str]] = lambda chunk: {},
    ) -> None:
        self._spool = spool
        self._sender = sender
        self._spool_bytes = spool_bytes
        self._on_trouble = on_trouble
        self._end_headers = end_headers
        self._positions: dict[str, Any] = {}
        self._numbers: dict[str, int] = {}
        spool.recover(self._apply, self._restore)
        self._source = open_source(self._positions)
        self._wait = FIRST_WAIT_SECONDS
        self._resume = 0.0
        self._scanned = -SCAN_SECONDS
        self._away = self._full = False

    def run(self, stopped: Callable[[], bool], finish_seconds: float | None = None) -> bool:
        """Until stopped, or until the source has come to its end and everything is with the broker.

        After a stop, what is on disk stays there; after the end, `finish_seconds` at most are waited for the broker. False
        when something is left.
        """
        ended: float | None = None
        while not stopped():
            moved = self.step()
            if self._source.idle and not moved and not self._due(time.monotonic()):
                now = time.monotonic()
                ended = now if ended is None else ended
                if self._spool.empty or (finish_seconds is not None and now - ended >= finish_seconds):
                    break
            if not moved:
                time.sleep(PAUSE_SECONDS)
        return self._spool.empty

    def step(self) -> bool:
        """One turn; whether anything was read or sent."""
        now = time.monotonic()
        moved = False
        if self._spool.bytes < self._spool_bytes:
            if self._due(now):
                self._source.scan(now)
                self._scanned = now
            for chunk in self._source.read(now):
                self.keep(chunk)
                moved = True
            self._full = False
        elif not self._full:
            self._full = True
            self._on_trouble(f"the spool holds {self._spool.bytes} bytes, as much as it may; reading waits for the broker")
        if moved:
            self._spool.sync()
        return self.send() or moved

    def _due(self, now: float) -> bool:
        return now - self._scanned >= SCAN_SECONDS

    def keep(self, chunk: Chunk) -> None:
        """On disk; waits while that is full, and sends meanwhile."""
        mark = f"{chunk.key}\0{chunk.source}"
        number = self._numbers.get(mark, 0)
        headers = {**chunk.headers, **(self._end_headers(chunk) if chunk.end else {})}
        head: dict[str, Any] = {"k": chunk.key, "s": chunk.source, "q": number, "t": int(time.time() * 1000)}
        head |= {"h": headers} if headers else {}
        head |= {"e": 1} if chunk.end else {}
        head |= {"f": chunk.file} if chunk.file else {}
        told = False
        while True:
            try:
                self._spool.append(head, chunk.text, self._snapshot)
                break
            except OSError as error:
                if not told:
                    self._on_trouble(f"the spool cannot be written: {error.strerror}; reading waits until it can")
                told = True
                if not self.send():
                    time.sleep(1.0)
        self._apply(head)

    def send(self) -> bool:
        """Gives the sender what it takes, and forgets what the broker has."""
        if time.monotonic() < self._resume:
            return False
        moved = False
        try:
            if not self._sender.full:
                for record in self._spool.unsent():
                    if record.damaged:
                        repaired = self._source.read_again(record.head.get("f"), len(record.text), record.checksum)
                        if repaired is None:
                            self._on_trouble(
                                f"a chunk of {record.head['k']} is damaged on disk and cannot be read again; it is lost"
                            )
                            self._sender.skip(record)
                            continue
                        record = record._replace(text=repaired)
                    self._sender.send(record)
                    moved = True
                    if self._sender.full:
                        break
            place = self._sender.acknowledged()
        except TooLarge as error:
            self._on_trouble(f"{error}; smaller ones are sent")
            self._sender.drop()
            self._spool.rewind()
            return True
        except Away as error:
            if not self._away:
                self._on_trouble(f"Kafka is away ({error}); lines wait on disk")
            self._away = True
            self._sender.drop()
            self._spool.rewind()
            self._resume = time.monotonic() + self._wait
            self._wait = min(2 * self._wait, LONGEST_WAIT_SECONDS)
            return False
        if place is not None:
            self._spool.acknowledge(place)
            self._wait, moved = FIRST_WAIT_SECONDS, True
            if self._away:
                self._away = False
                self._on_trouble("Kafka is back")
        return moved

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._spool.close()
        self._source.close()
        self._sender.close()

    def _apply(self, head: dict[str, Any]) -> None:
        if "k" in head:
            mark = f"{head['k']}\0{head['s']}"
            if head.get("e"):
                self._numbers.pop(mark, None)
            else:
                self._numbers[mark] = head["q"] + 1
        if file := head.get("f"):
            self._positions.pop(file["id"], None)  # the newest last
            self._positions[file["id"]] = file
            while len(self._positions) > MOST_POSITIONS:
                del self._positions[next(iter(self._positions))]

    def _snapshot(self) -> dict[str, Any]:
        return {"positions": self._positions, "numbers": self._numbers}

    def _restore(self, head: dict[str, Any]) -> None:
        told = head.get("snapshot", {})
        self._positions.update(told.get("positions", {}))
        self._numbers.update(told.get("numbers", {}))
