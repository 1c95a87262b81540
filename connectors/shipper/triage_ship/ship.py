"""The loop of the shipper: chunks from a source are stored in the spool, sent, and forgotten when the broker has them."""

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from triage_ship.errors import ShipError
from triage_ship.files import Chunk
from triage_ship.sender import Sender, TooLarge, Unavailable
from triage_ship.spool import Record, Spool

__all__ = ["Shipper", "Source"]

PAUSE_SECONDS = 0.05
SCAN_SECONDS = 1.0
# How long to wait after a failed attempt to send; doubled with each one.
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.5, 15.0
# Positions of deleted files are kept for a while: a rotated file may come back under another name. The oldest go first.
MAX_POSITIONS = 10_000


class Source(Protocol):
    """Something that is read: files, standard input, a console, or the tests of a pytest session."""

    @property
    def finished(self) -> bool:
        """Whether everything was read and nothing more will come."""

    def scan(self, now: float) -> None:
        """Looks for new files; called about once a second. `now` is monotonic time in seconds, here and below."""

    def read(self, now: float) -> Iterable[Chunk]:
        """Yields what is new, without waiting for more. Each chunk is stored before the next one is asked for."""

    def read_again(self, file: dict[str, Any] | None, length: int, checksum: int) -> bytes | None:
        """The text before the position `file`, if it still exists and has this length and CRC-32; otherwise None."""

    def close(self) -> None:
        """Closes all files and connections."""


class Shipper:
    """Connects a source, a spool and a sender; all of it runs in the thread that calls `run`.

    Args:
        spool: Stores the chunks. It is recovered here.
        sender: Sends the records of the spool.
        open_source: Called with the positions of files that the spool remembers, by file identity. The shipper keeps the
            same dictionary up to date while chunks are stored.
        spool_bytes: Reading pauses when the spool has this size.
        on_problem: Called with a message for each problem; an outage is one problem.
        end_headers: Called with the last chunk of each source; returns headers to add to it.
    """

    def __init__(
        self,
        spool: Spool,
        sender: Sender,
        open_source: Callable[[dict[str, Any]], Source],
        *,
        spool_bytes: int,
        on_problem: Callable[[str], None],
        end_headers: Callable[[Chunk], dict[str, str]] = lambda chunk: {},
    ) -> None:
        self._spool = spool
        self._sender = sender
        self._spool_bytes = spool_bytes
        self._on_problem = on_problem
        self._end_headers = end_headers
        self._positions: dict[str, Any] = {}
        # Number of the next chunk, by run and source.
        self._next_numbers: dict[str, int] = {}
        # Names the numbering that these numbers belong to. Workers drop a number that came before, so a shipper that has
        # lost its state must not pass for the one before it.
        self._epoch = secrets.token_hex(8)
        spool.recover(self._remember_again, self._restore)
        self._source = open_source(self._positions)
        self._scanned_at = -SCAN_SECONDS
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._retry_at = 0.0
        self._unavailable = self._full = False

    def run(self, stopped: Callable[[], bool], finish_seconds: float | None = None) -> bool:
        """Runs until `stopped` returns true, or until the source is finished and the broker has everything.

        Args:
            stopped: Asked after each turn. After a stop, what the broker does not have stays in the spool.
            finish_seconds: How long to wait for the broker once the source is finished; None waits without limit.

        Returns:
            Whether the broker has everything.
        """
        finished_at: float | None = None
        while not stopped():
            moved = self.step()
            # Only right after a scan is it certain that no new file has appeared.
            if self._source.finished and not moved and not self._scan_due(time.monotonic()):
                now = time.monotonic()
                finished_at = now if finished_at is None else finished_at
                if self._spool.empty or (finish_seconds is not None and now - finished_at >= finish_seconds):
                    break
            if not moved:
                time.sleep(PAUSE_SECONDS)
        return self._spool.empty

    def step(self) -> bool:
        """One turn: reads what is new, stores it, and sends. Returns whether anything was read or acknowledged."""
        now = time.monotonic()
        moved = False
        below_limit = self._spool.bytes < self._spool_bytes
        # Segments are deleted as a whole, and the newest one never. If the limit is below the size of a segment, the spool
        # stays above it although everything was sent, and without the second condition reading would pause for ever.
        if below_limit or self._spool.empty:
            if self._scan_due(now):
                self._source.scan(now)
                self._scanned_at = now
            for chunk in self._source.read(now):
                self.store(chunk)
                moved = True
            self._full = self._full and not below_limit
        elif not self._full:
            self._full = True
            self._on_problem(
                f"the spool has reached its limit ({self._spool.bytes} bytes); reading pauses until Kafka takes lines "
                "(a larger --spool-mib bridges longer outages)"
            )
        if moved:
            self._spool.sync()
        return self.send() or moved

    def store(self, chunk: Chunk) -> None:
        """Appends a chunk to the spool. If the disk is full, waits until it has room, and sends meanwhile."""
        mark = _source_of(chunk.key, chunk.source)
        headers = {**chunk.headers, **(self._end_headers(chunk) if chunk.end else {})}
        head: dict[str, Any] = {
            "k": chunk.key,
            "s": chunk.source,
            "q": self._next_numbers.get(mark, 0),
            "n": self._epoch,
            "t": int(time.time() * 1000),
        }
        head |= {"h": headers} if headers else {}
        head |= {"e": 1} if chunk.end else {}
        head |= {"f": chunk.file} if chunk.file else {}
        reported = False
        while True:
            try:
                self._spool.append(head, chunk.text, self._snapshot)
                break
            except OSError as error:
                if not reported:
                    self._on_problem(
                        f"the spool cannot be written ({error.strerror}); reading pauses until it can: make room, or "
                        "check the folder"
                    )
                reported = True
                # Sending goes on: acknowledged segments are deleted, which is what makes room again.
                if not self.send():
                    time.sleep(1.0)
        # After the record is written, not before: a snapshot that `append` takes must not contain the chunk after it.
        self._remember(head)

    def send(self) -> bool:
        """Hands records to the sender, and notes what the broker has acknowledged. Returns whether either happened."""
        if time.monotonic() < self._retry_at:
            return False
        try:
            moved = self._fill_sender()
            cursor = self._sender.acknowledged()
        except TooLarge as error:
            self._on_problem(f"{error}; smaller messages are sent from now on")
            self._send_again()
            return True
        except Unavailable as error:
            self._wait_for_broker(error)
            return False
        if cursor is None:
            return moved
        self._spool.acknowledge(cursor)
        self._retry_seconds = FIRST_RETRY_SECONDS
        if self._unavailable:
            self._unavailable = False
            self._on_problem("Kafka is available again")
        return True

    def close(self) -> None:
        """Closes the spool, the source and the sender. What is not sent stays in the spool."""
        # On a full disk the last records may not be synced. They are not acknowledged either, so nothing more can be done.
        with contextlib.suppress(OSError):
            self._spool.close()
        self._source.close()
        self._sender.close()

    def _scan_due(self, now: float) -> bool:
        return now - self._scanned_at >= SCAN_SECONDS

    def _fill_sender(self) -> bool:
        """Hands over unsent records until the sender is full; returns whether there were any."""
        handed = False
        if self._sender.full:
            return False
        for record in self._spool.unsent():
            intact = self._repair(record) if record.damaged else record
            if intact is None:
                self._sender.skip(record)
                continue
            try:
                self._sender.send(intact)
            except (Unavailable, ShipError):
                raise
            except Exception as error:  # nothing that is wrong with one record may keep the others from being sent
                self._set_aside(intact, f"{type(error).__name__}: {error}")
                self._sender.skip(record)
                continue
            handed = True
            if self._sender.full:
                break
        return handed

    def _repair(self, record: Record) -> Record | None:
        """The record with its text as the log file has it; None, and a report, if the file no longer has it."""
        text = self._source.read_again(record.head.get("f"), len(record.text), record.checksum)
        if text is None:
            self._on_problem(
                f"a chunk of {record.head.get('k')} is damaged on disk and not in its file any more; its lines are lost, "
                "check the disk"
            )
            return None
        return record._replace(text=text)

    def _set_aside(self, record: Record, reason: str) -> None:
        """Keeps a record that cannot be sent out of the way of the others."""
        kept = self._spool.set_aside(record.end, json.dumps(record.head).encode() + b"\n" + record.text)
        self._on_problem(f"a chunk in the spool cannot be sent ({reason}); the others are, and this one is kept in {kept}")

    def _send_again(self) -> None:
        """Makes the next call of `send` start with the first record that is not acknowledged.

        Both steps are needed. Without the first, messages of the old connection would be acknowledged, or fail, as if
        they were the new ones; without the second, what was in flight would never be sent again.
        """
        self._sender.drop()
        self._spool.rewind()

    def _wait_for_broker(self, error: Unavailable) -> None:
        if not self._unavailable:
            self._on_problem(f"Kafka is not available ({error}); lines are kept on disk until it is")
        self._unavailable = True
        self._send_again()
        self._retry_at = time.monotonic() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, MAX_RETRY_SECONDS)

    def _remember(self, head: dict[str, Any]) -> None:
        """Updates the state of reading by a record; also used for recovery, so both give the same state."""
        if "k" in head:
            mark = _source_of(head["k"], head["s"])
            if head.get("e"):
                self._next_numbers.pop(mark, None)
            elif head.get("n") == self._epoch:
                self._next_numbers[mark] = head["q"] + 1
        if position := head.get("f"):
            # Taken out and put in again, so that the oldest positions stay first.
            self._positions.pop(position["id"], None)
            self._positions[position["id"]] = position
            while len(self._positions) > MAX_POSITIONS:
                del self._positions[next(iter(self._positions))]

    def _remember_again(self, head: dict[str, Any]) -> None:
        """Does so for a record that an earlier start has written."""
        try:
            self._remember(head)
        except (KeyError, TypeError, ValueError) as error:
            self._on_problem(f"a record in the spool says nothing that can be used ({type(error).__name__}: {error})")

    def _snapshot(self) -> dict[str, Any]:
        return {"positions": self._positions, "numbers": self._next_numbers, "epoch": self._epoch}

    def _restore(self, head: dict[str, Any]) -> None:
        """Continues from a snapshot. Without the name of its numbering, numbers begin again, with another name."""
        try:
            snapshot = head["snapshot"]
            self._positions.update(snapshot.get("positions", {}))
            if epoch := snapshot.get("epoch"):
                self._epoch = str(epoch)
                self._next_numbers.update(snapshot.get("numbers", {}))
        except (AttributeError, TypeError, ValueError) as error:
            self._on_problem(f"a snapshot in the spool cannot be used ({error}); files are read from their beginning")


def _source_of(key: str, source: str) -> str:
    """Names a source of a run in the snapshot."""
    return f"{key}\0{source}"
