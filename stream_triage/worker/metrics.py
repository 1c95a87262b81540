"""What a worker does, as numbers for Prometheus, and whether it is alive and ready; served over HTTP.

`/metrics`, `/health` (the process makes progress) and `/ready` (verdicts become durable). The worker itself knows nothing of
it: what it is given is wrapped. docs/operations.md lists the names; a test holds the two together.
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

__all__ = ["MeteredLetters", "MeteredWorker", "Metrics", "serving"]

# Without a step for so long, a worker hangs: it steps every second, also while servers are away.
HANGS_SECONDS: Final = 300.0
SLOW_SECONDS: Final = 60.0
FLUSH_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)


class Worker(RecordHandler, Protocol):
    """What it takes to tell how far a worker is; `Engine` is one."""

    @property
    def taken(self) -> dict[int, int]: ...
    @property
    def open_runs(self) -> int: ...


class Metrics:
    """One worker's numbers, in a registry of their own."""

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
        self.messages = prometheus.Counter("messages", "Messages handed to the worker, those read again included", **own)
        self.message_bytes = prometheus.Counter("message_bytes", "Bytes of their values", **own)
        self.verdicts = prometheus.Counter("verdicts", "Final verdicts given", ["label", "outcome"], **own)
        self.anomalous = prometheus.Counter("anomalous_verdicts", "Of these, anomalous ones", **own)
        self.lines = prometheus.Counter("lines", "Lines of the judged runs", **own)
        self.refused = prometheus.Counter("refused", "What became a dead letter", ["kind"], **own)
        self.refused_bytes = prometheus.Counter("refused_bytes", "Bytes of it", ["kind"], **own)
        self.dropped_bytes = prometheus.Counter("dropped_bytes", "Bytes of judged runs that were cut off", ["reason"], **own)
        self.open_runs = prometheus.Gauge("open_runs", "Runs whose end has not come", **own)
        self.behind = prometheus.Gauge(
            "messages_behind", "Messages of a partition that wait to be read", ["partition"], **own
        )
        self.flush_seconds = prometheus.Histogram(
            "flush_seconds", "How long it took to make verdicts durable", buckets=FLUSH_BUCKETS, **own
        )
        self.flush_failures = prometheus.Counter("flush_failures", "Flushes that must be tried again", **own)
        self.last_verdict = prometheus.Gauge("last_verdict_timestamp_seconds", "When the last verdict was given", **own)
        self._last_step = self.clock.monotonic()
        self.trouble = "no messages were asked for yet"

    def step(self) -> None:
        self._last_step = self.clock.monotonic()

    def count(self, verdict: Verdict) -> None:
        outcome = "review" if verdict.needs_review else "passed" if verdict.passed else "failed"
        self.verdicts.labels(verdict.label, outcome).inc()
        self.anomalous.inc(verdict.anomalous)
        self.lines.inc(verdict.lines)
        self.dropped_bytes.labels("line too long").inc(sum(source.repairs.dropped_bytes for source in verdict.sources))
        self.last_verdict.set(self.clock.now().timestamp())

    def totals(self) -> dict[str, float]:
        """By metric, the sum over its labels; 0 where it has none yet."""
        families = list(self.registry.collect())
        found = {family.name.removeprefix("stream_triage_"): 0.0 for family in families}
        for sample in (sample for family in families for sample in family.samples):
            name = sample.name.removeprefix("stream_triage_").removesuffix("_total")
            if name in found:
                found[name] += sample.value
        return found

    def hangs(self) -> str:
        """Why the worker should be started anew; empty while it should not."""
        idle = self.clock.monotonic() - self._last_step
        return f"no step for {idle:.0f} s" if idle > HANGS_SECONDS else ""

    def unready(self) -> str:
        """Why verdicts do not become durable now; empty while they do."""
        idle = self.clock.monotonic() - self._last_step
        return f"no step for {idle:.0f} s" if idle > SLOW_SECONDS else self.trouble


class MeteredWorker:
    """A worker, with every step counted."""

    def __init__(self, worker: Worker, metrics: Metrics) -> None:
        self._worker, self._metrics = worker, metrics

    def handle(self, records: Iterable[Record]) -> None:
        self._metrics.step()
        records = list(records)
        self._worker.handle(records)
        self._metrics.messages.inc(len(records))
        self._metrics.message_bytes.inc(sum(len(record.value or b"") for record in records))

    def read_up_to(self, partition: int, end_offset: int, asked: float) -> None:
        self._worker.read_up_to(partition, end_offset, asked)
        behind = max(0, end_offset - self._worker.taken.get(partition, end_offset))
        self._metrics.behind.labels(str(partition)).set(behind)

    def tick(self) -> None:
        self._metrics.step()
        self._worker.tick()
        self._metrics.open_runs.set(self._worker.open_runs)

    def flush(self) -> bool:
        metrics = self._metrics
        metrics.step()
        began = metrics.clock.monotonic()
        done = self._worker.flush()
        metrics.flush_seconds.observe(metrics.clock.monotonic() - began)
        metrics.flush_failures.inc(not done)
        metrics.trouble = "" if done else "; ".join(self.errors) or "interrupted"
        return done

    def revoke(self, partitions: Iterable[int]) -> None:
        partitions = list(partitions)
        self._worker.revoke(partitions)
        for partition in partitions:
            self._metrics.behind.labels(str(partition)).set(0)

    def interrupt(self) -> None:
        self._worker.interrupt()

    @property
    def positions(self) -> dict[int, int]:
        return self._worker.positions

    @property
    def errors(self) -> list[str]:
        return self._worker.errors


class MeteredLetters:
    """Dead letters, counted by kind."""

    def __init__(self, letters: DeadLetters, metrics: Metrics) -> None:
        self._letters, self._metrics = letters, metrics

    def put(self, letter: DeadLetter) -> None:
        self._letters.put(letter)
        self._metrics.refused.labels(letter.kind).inc()
        self._metrics.refused_bytes.labels(letter.kind).inc(len(letter.value or b""))

    def flush(self) -> None:
        self._letters.flush()


@contextmanager
def serving(metrics: Metrics, listen: str) -> Iterator[int]:
    """Answers on `listen` (host:port) in threads of its own; gives the port. Raises `SettingsError` where it cannot."""
    host, _, port = listen.rpartition(":")
    from prometheus_client.exposition import ThreadingWSGIServer

    try:
        server = make_server(host, int(port), _app(metrics), ThreadingWSGIServer, handler_class=_Silent)
    except (OSError, ValueError, OverflowError) as error:
        raise SettingsError(
            f"metrics.listen {listen} cannot be used: {error}; name a free address, as in 0.0.0.0:9464"
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is theirs
        """Nobody wants a line a scrape."""


def _app(metrics: Metrics) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            found: Iterable[bytes] = metrics.exposition(environ, start)
            return found
        asked = {"/health": metrics.hangs, "/ready": metrics.unready}.get(path)
        trouble = asked() if asked else "there are /metrics, /health and /ready"
        status = "200 OK" if not trouble else "503 Service Unavailable" if asked else "404 Not Found"
        start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
        return [(trouble or "ok").encode() + b"\n"]

    return answer
