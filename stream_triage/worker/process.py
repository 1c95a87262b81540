"""The life of a worker's process: it waits for its servers, watches them, and ends soon after it is asked to.

A worker that starts before its servers waits for them. While it runs, each server and each folder it writes to is asked in a
thread of its own every few seconds, also when there is nothing to write, so that `/ready` is true of all of them. On SIGTERM
or Ctrl-C it stops in order, and after `STOP_SECONDS` in any case: what is not durable by then is read again.
"""

import errno
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from stream_triage.clock import Clock, SystemClock, retry_waits
from stream_triage.errors import StoreError, StreamTriageError
from stream_triage.outages import Outage

__all__ = [
    "Readiness",
    "RunLogPartitions",
    "StopRequested",
    "Stopping",
    "WatchedProcess",
    "check_folder",
    "stopping_on_signals",
    "wait_for",
]

log = logging.getLogger(__name__)
T = TypeVar("T")

# From the request to the end of the process. Supervisors wait for 10 s and more.
STOP_SECONDS: Final = 4.0
# The same after an error: nobody waits, and what is durable is committed if Kafka answers.
CRASH_SECONDS: Final = 15.0
# Between two checks of a server.
CHECK_SECONDS: Final = 10.0
# A check without a result for so long hangs, and so does what it asks.
STALE_SECONDS: Final = 60.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 10.0
# What a check of a folder writes: more than the file system keeps in its directory entries.
PROBE_BYTES: Final = 1 << 16


class StopRequested(BaseException):
    """SIGTERM or Ctrl-C came before the worker began to read; not an `Exception`, so that nothing on the way handles it."""


class Stopping:
    """Ends the process some seconds after `begin`, if it has not ended by itself: no server that hangs may hold it up."""

    def __init__(self, end: Callable[[int], Any] = os._exit) -> None:
        self._end = end
        self._first: tuple[str, int] | None = None
        """Reason and status of the first request."""

    @property
    def requested(self) -> bool:
        """Whether the process was asked to end, and does not end because of an error."""
        return self._first is not None and self._first[1] == 0

    def begin(self, reason: str, status: int = 0) -> None:
        """The process is to end with this status, or with that of an earlier request. Any thread may call."""
        self._first = self._first or (reason, status)
        if status == 0:
            log.info("stopping: %s", reason)
        timer = threading.Timer(CRASH_SECONDS if status else STOP_SECONDS, self._give_up, self._first)
        timer.daemon = True
        timer.start()

    def _give_up(self, reason: str, status: int) -> None:
        log.warning("%s: the worker ends without waiting any longer; what was not durable is read again", reason)
        self._end(status)


@contextmanager
def stopping_on_signals(stopping: Stopping) -> Iterator[None]:
    """Raises `StopRequested` in the main thread on SIGTERM or Ctrl-C, until something else handles these signals."""

    def stop(number: int, frame: object) -> None:
        stopping.begin(signal.Signals(number).name)
        raise StopRequested

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for(name: str, ask: Callable[[], T], on_wait: Callable[[str], None], clock: Clock | None = None) -> T:
    """Asks a server until it answers, for as long as it takes; returns the answer.

    Args:
        name: Of the server.
        ask: Raises `StoreError` while there is no answer.
        on_wait: Called with the reason before each wait, and with an empty text in the end.
        clock: For tests.

    Raises:
        StreamTriageError: What `ask` raised, if waiting does not help.
    """
    clock = clock or SystemClock()
    outage = Outage(log, f"waiting for {name}", f"{name} answers", clock)
    for seconds in retry_waits(FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS):
        try:
            answer = ask()
        except StoreError as error:
            if not error.temporary:
                raise
            outage.failed(str(error))
            on_wait(f"waiting for {name}: {error}")
            clock.sleep(seconds)
        else:
            outage.over()
            on_wait("")
            return answer
    raise AssertionError("waits never end")


class Readiness:
    """Asks servers and folders every few seconds, each in a thread of its own: one that hangs holds up no other."""

    def __init__(self, checks: Mapping[str, Callable[[], object]], clock: Clock | None = None) -> None:
        """`checks` raise `StreamTriageError` with the reason. Each is called in one thread, and must end by itself."""
        self._checks = dict(checks)
        self._clock = clock or SystemClock()
        now = self._clock.monotonic()
        self._results = dict.fromkeys(self._checks, ("", False, now))
        """By check, what is wrong, whether it got no answer, and the time of this result."""
        self._outages = {
            name: Outage(log, f"{name} cannot be used", f"{name} can be used", self._clock) for name in self._checks
        }

    def trouble(self) -> str:
        """What is wrong now, empty if nothing is; from any thread."""
        return "; ".join(filter(None, map(self.trouble_of, self._checks)))

    def trouble_of(self, name: str) -> str:
        """What is wrong with one of them."""
        reason, _, time = self._results[name]
        age = self._clock.monotonic() - time
        return reason or (f"{name}: no result of a check for {age:.0f} s" if age > STALE_SECONDS else "")

    def answers(self, name: str) -> bool:
        """Whether one of them answered the last time, be it with a complaint; true for one that is not checked."""
        _, away, time = self._results.get(name, ("", False, self._clock.monotonic()))
        return not away and self._clock.monotonic() - time <= STALE_SECONDS

    def ask(self, name: str) -> None:
        """Does one check now."""
        reason, away = "", False
        try:
            self._checks[name]()
        except StreamTriageError as error:
            reason, away = str(error), error.temporary
        except OSError as error:
            reason = f"{name}: {error.strerror or type(error).__name__}"
        if reason:
            self._outages[name].failed(reason)
        else:
            self._outages[name].over()
        self._results[name] = (reason, away, self._clock.monotonic())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Checks while the block runs. Does not wait for a check that is under way in the end."""
        stopped = threading.Event()

        def check(name: str) -> None:
            while not stopped.wait(CHECK_SECONDS):
                self.ask(name)

        for name in self._checks:
            threading.Thread(target=check, args=(name,), name=f"check {name}", daemon=True).start()
        try:
            yield
        finally:
            stopped.set()


def check_folder(setting: str, path: Path, *, file: bool = True) -> None:
    """Raises `StoreError` if nothing can be written where a sink writes to.

    Args:
        setting: Name of the setting, for the message.
        path: The file of the sink, which need not exist, or its folder.
        file: Whether `path` is the file.
    """
    folder = path.parent if file else path
    while not folder.exists() and folder != folder.parent:  # a sink makes its folder when it first writes
        folder = folder.parent
    try:
        if file and path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(PROBE_BYTES))
    except OSError as error:
        remedy = f"free space, check the permissions, or set {setting}"
        raise StoreError(f"nothing can be written to {folder}: {error.strerror}; {remedy}") from error


class RunLogPartitions:
    """Says which partitions of the topic may be read: those that have one of the run log, which is given more if need be.

    Partition n of the run log describes partition n of the topic. Without it nobody could tell which runs of partition n
    have ended, so its messages must wait.
    """

    def __init__(self, known: int, grow: Callable[[int], None]) -> None:
        """`known` is how many partitions the run log has. `grow` gives it more, or raises `StreamTriageError`."""
        self._known = known
        self._grow = grow
        self._lock = threading.Lock()

    def ensure(self, partitions: int) -> None:
        """Returns once the run log has at least as many. Raises what `grow` raises."""
        with self._lock:
            if partitions > self._known:
                self._grow(partitions)
                log.info("the topic has grown to %d partitions, and the run log with it", partitions)
                self._known = partitions

    def unusable(self, partitions: Collection[int]) -> dict[int, str]:
        """By partition that must wait, the reason."""
        try:
            self.ensure(max(partitions, default=-1) + 1)
        except StreamTriageError as error:
            return {number: str(error) for number in partitions if number >= self._known}
        return {}


class WatchedProcess:
    """The `WorkerProcess` of `stream-triage worker`. The parts are set while the worker is opened."""

    def __init__(self, stopping: Stopping | None = None) -> None:
        self.stopping = stopping or Stopping()
        self.report: Callable[[str, str], None] = lambda subject, trouble: None
        self.readiness = Readiness({})
        self.run_log = RunLogPartitions(0, lambda partitions: None)

    def kafka_answers(self) -> bool:
        """Whether the brokers answered the last check."""
        return self.readiness.answers("Kafka")

    def unusable(self, partitions: Collection[int]) -> dict[int, str]:
        """By partition, why its messages must not be taken yet."""
        return self.run_log.unusable(partitions)

    def ending(self, reason: str, status: int) -> None:
        """Ends the process soon, whatever hangs."""
        self.stopping.begin(reason, status)
