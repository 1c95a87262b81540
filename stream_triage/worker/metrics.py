"""What a worker does, as numbers for Prometheus, and whether it is alive and ready; served over HTTP.

`/metrics`, `/health` (the worker makes progress) and `/ready` (verdicts become durable, or would if there were any). The
worker itself knows nothing of this: `MeteredWorker` and `MeteredLetters` wrap it and what it gets. docs/operations.md lists
the metrics; a test compares.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol
from wsgiref.simple_server import WSGIRequestHandler, make_server

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import SettingsError
from stream_triage.ports import DeadLetters, RecordHandler
from stream_triage.records import DeadLetter, Record, Verdict
from stream_triage.worker.ceilings import BYTES_HEADER, MESSAGES_HEADER

__all__ = ["MeteredLetters", "MeteredWorker", "Metrics", "serving"]

# A worker without a step for so long hangs: it has one every second, also while servers are away.
HANGS_SECONDS: Final = 300.0
# Without a step for so long, no verdict becomes durable, but a long run may be the reason.
SLOW_SECONDS: Final = 60.0
FLUSH_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class Worker(RecordHandler, Protocol):
    """A handler that shows how far it is; `Engine` is one."""

    @property
    def taken(self) -> dict[int, int]:
        """By partition, the offset after the last message taken."""

    @property
    def open_runs(self) -> int:
        """How many runs are open."""


class Metrics:
    """The numbers of one worker, in a registry of their own.

    `about` has the labels of the metric `worker_info`. Raises `SettingsError` if prometheus-client is not installed.
    """

    def __init__(self, about: Mapping[str, str], *, clock: Clock | None = None) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError:
            raise SettingsError("metrics need the extra: pip install 'stream-triage[kafka]'") from None
        self.about = dict(about)
        self.clock = clock or SystemClock()
        self.registry = prometheus.CollectorRegistry()
        self.exposition = prometheus.make_wsgi_app(self.registry)
        own: dict[str, Any] = {"registry": self.registry, "namespace": "stream_triage"}
        prometheus.Info("worker", "Version of the product, name and version of the bundle", **own).info(self.about)
        self.messages = prometheus.Counter("messages", "Messages taken, including those that were read again", **own)
        self.message_bytes = prometheus.Counter("message_bytes", "Bytes of the values of these messages", **own)
        self.verdicts = prometheus.Counter("verdicts", "Final verdicts given", ["label", "outcome"], **own)
        self.anomalous = prometheus.Counter("anomalous_verdicts", "Final verdicts that are anomalous", **own)
        self.lines = prometheus.Counter("lines", "Lines of the judged runs", **own)
        self.refused = prometheus.Counter("refused", "Dead letters", ["kind"], **own)
        self.refused_bytes = prometheus.Counter("refused_bytes", "Bytes of the values of dead letters", ["kind"], **own)
        self.dropped_bytes = prometheus.Counter("dropped_bytes", "Bytes of judged runs that were cut off", ["reason"], **own)
        self.unread = prometheus.Counter("unread", "Parts of judged runs that could not be read", ["reason"], **own)
        self.open_runs = prometheus.Gauge("open_runs", "Runs that have not ended", **own)
        self.behind = prometheus.Gauge(
            "messages_behind", "Messages of a partition that were not read yet", ["partition"], **own
        )
        self.flush_seconds = prometheus.Histogram("flush_seconds", "Time that a flush took", buckets=FLUSH_BUCKETS, **own)
        self.flush_failures = prometheus.Counter("flush_failures", "Flushes that did not succeed and are tried again", **own)
        self.last_verdict = prometheus.Gauge("last_verdict_timestamp_seconds", "Time of the last final verdict", **own)
        self.longest_step = prometheus.Gauge(
            "longest_step_seconds", "Longest step since the worker started; a flush of many runs has several", **own
        )
        self._last_step = self.clock.monotonic()
        self._longest_step = 0.0
        self.trouble = "nothing was fetched yet"
        """Why verdicts do not become durable; empty after a flush that succeeded."""
        self.servers: Callable[[], str] = lambda: ""
        """Why servers and folders cannot be used, as the checks beside the worker find."""
        self._reported: dict[str, str] = {}

    def report(self, subject: str, trouble: str) -> None:
        """What is wrong with a part of the worker; empty once it is right again. Any thread may call."""
        self._reported[subject] = trouble

    def step(self) -> None:
        """The worker begins a step."""
        self._last_step = self.clock.monotonic()

    def stepped(self) -> None:
        """The step, or a part of it, is done."""
        began, self._last_step = self._last_step, self.clock.monotonic()
        self._longest_step = max(self._longest_step, self._last_step - began)
        self.longest_step.set(self._longest_step)

    def count(self, verdict: Verdict) -> None:
        """Counts a final verdict."""
        outcome = "review" if verdict.needs_review else "passed" if verdict.passed else "failed"
        self.verdicts.labels(verdict.label, outcome).inc()
        self.anomalous.inc(verdict.anomalous)
        self.lines.inc(verdict.lines)
        repairs = [source.repairs for source in verdict.sources]
        self.dropped_bytes.labels("line too long").inc(sum(each.dropped_bytes for each in repairs))
        self.dropped_bytes.labels("came before").inc(sum(each.repeated_bytes for each in repairs))
        self.unread.labels("line too long").inc(sum(each.cut_lines for each in repairs))
        self.unread.labels("not text").inc(sum(each.invalid_bytes + each.nul_bytes for each in repairs))
        self.unread.labels("reported problem").inc(sum(len(each.problems) for each in repairs))
        self.last_verdict.set(self.clock.now().timestamp())

    def totals(self) -> dict[str, float]:
        """By metric, without its prefix, the sum over its labels; 0 where it has no value yet."""
        families = list(self.registry.collect())
        sums = {family.name.removeprefix("stream_triage_"): 0.0 for family in families}
        for sample in (sample for family in families for sample in family.samples):
            name = sample.name.removeprefix("stream_triage_").removesuffix("_total")
            if name in sums:
                sums[name] += sample.value
        return sums

    def hangs(self) -> str:
        """Why the worker should be restarted; empty if it should not."""
        idle = self.clock.monotonic() - self._last_step
        return f"no step for {idle:.0f} s" if idle > HANGS_SECONDS else ""

    def unready(self) -> str:
        """Why verdicts do not become durable now, or would not if there were any; empty if they do."""
        idle = self.clock.monotonic() - self._last_step
        own = f"no step for {idle:.0f} s" if idle > SLOW_SECONDS else self.trouble
        reasons = (own, *self._reported.copy().values(), self.servers())
        return "; ".join(dict.fromkeys(filter(None, reasons)))


class MeteredWorker:
    """A worker that counts its steps: a `RecordHandler` around another one."""

    def __init__(self, worker: Worker, metrics: Metrics) -> None:
        self._worker, self._metrics = worker, metrics

    def handle(self, records: Iterable[Record]) -> None:
        """Takes messages and counts them. Those that an interrupt left are read again, and counted then."""
        self._metrics.step()
        records = list(records)
        self._worker.handle(records)
        self._metrics.stepped()
        ends = self._worker.taken
        taken = [record for record in records if record.offset < ends.get(record.partition, 0)]
        self._metrics.messages.inc(len(taken))
        self._metrics.message_bytes.inc(sum(len(record.value or b"") for record in taken))

    def read_up_to(self, partition: int, end_offset: int, asked: float) -> None:
        """Passes the end on and notes how many messages wait."""
        self._worker.read_up_to(partition, end_offset, asked)
        behind = max(0, end_offset - self._worker.taken.get(partition, end_offset))
        self._metrics.behind.labels(str(partition)).set(behind)

    def tick(self) -> None:
        """Ticks and notes how many runs are open."""
        self._metrics.step()
        self._worker.tick()
        self._metrics.stepped()
        self._metrics.open_runs.set(self._worker.open_runs)

    def flush(self) -> bool:
        """Flushes, measures how long that takes, and notes why it failed."""
        metrics = self._metrics
        metrics.step()
        began = metrics.clock.monotonic()
        done = self._worker.flush()
        metrics.stepped()
        metrics.flush_seconds.observe(metrics.clock.monotonic() - began)
        # Without an error it was interrupted, or there is more to flush than one call does.
        metrics.flush_failures.inc(bool(self.errors))
        metrics.trouble = "; ".join(self.errors)
        return done

    def revoke(self, partitions: Iterable[int]) -> None:
        """Forgets partitions; no message of theirs waits here."""
        partitions = list(partitions)
        self._worker.revoke(partitions)
        for partition in partitions:
            self._metrics.behind.labels(str(partition)).set(0)

    def interrupt(self) -> None:
        """Interrupts the worker."""
        self._worker.interrupt()

    @property
    def positions(self) -> dict[int, int]:
        """Positions of the worker."""
        return self._worker.positions

    @property
    def errors(self) -> list[str]:
        """Errors of the worker's last flush."""
        return self._worker.errors


class MeteredLetters:
    """Dead letters, counted by kind: a `DeadLetters` around another one."""

    def __init__(self, letters: DeadLetters, metrics: Metrics) -> None:
        self._letters, self._metrics = letters, metrics

    def put(self, letter: DeadLetter) -> None:
        """Takes one letter and counts it; a summary counts as the messages that it stands for."""
        self._letters.put(letter)
        headers = dict(letter.headers) if letter.kind == "summary" else {}
        self._metrics.refused.labels(letter.kind).inc(int(headers.get(MESSAGES_HEADER, 1)))
        size = int(headers.get(BYTES_HEADER, len(letter.value or b"")))
        self._metrics.refused_bytes.labels(letter.kind).inc(size)

    def flush(self) -> None:
        """Flushes the letters."""
        self._letters.flush()


@contextmanager
def serving(metrics: Metrics, listen: str) -> Iterator[int]:
    """Serves HTTP on `listen` (host:port) in threads of its own, and yields the port.

    Raises:
        SettingsError: the address cannot be used.
    """
    host, _, port = listen.rpartition(":")
    from prometheus_client.exposition import ThreadingWSGIServer

    try:
        server = make_server(host, int(port), _app(metrics), ThreadingWSGIServer, handler_class=_Silent)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"metrics.listen {listen} cannot be used: {reason}; set it to a free address, for example 127.0.0.1:9465"
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name in the overridden method
        """Logs nothing: a line for each scrape would hide what matters."""


def _app(metrics: Metrics) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    def respond(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            page: Iterable[bytes] = metrics.exposition(environ, start)
            return page
        check = {"/health": metrics.hangs, "/ready": metrics.unready}.get(path)
        trouble = check() if check else "there are /metrics, /health and /ready"
        status = "200 OK" if not trouble else "503 Service Unavailable" if check else "404 Not Found"
        start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
        return [(trouble or "ok").encode() + b"\n"]

    return respond
