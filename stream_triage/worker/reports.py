"""A worker's report every minute, as a document in `<prefix>-workers-YYYY.MM`: the dashboard of the fleet shows them.

Numbers are of the time since the last report; open runs and messages that wait are as they are at that moment. A report that
OpenSearch does not take is told once and its numbers go into the next one: verdicts come first.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from stream_triage.clients.opensearch import Document, SearchServer
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import StoreError
from stream_triage.settings import OpenSearchSettings
from stream_triage.sinks.opensearch import check_templates
from stream_triage.worker.metrics import Metrics

__all__ = ["WorkerReports"]

PERIOD_SECONDS: Final = 60.0
COUNTERS: Final = ("messages", "verdicts", "lines", "refused", "flush_failures")
GAUGES: Final = ("open_runs", "messages_behind")


class WorkerReports:
    """`about` has the fields that say which worker it is."""

    def __init__(
        self,
        settings: OpenSearchSettings,
        metrics: Metrics,
        about: Mapping[str, Any],
        *,
        on_trouble: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._about = about
        self._on_trouble = on_trouble
        self._clock = clock or SystemClock()
        self._told = dict.fromkeys(COUNTERS, 0.0)
        self._troubled = False

    def run(self, stopped: threading.Event) -> None:
        """Until stopped, and once more then."""
        with SearchServer(self._settings) as server:
            while not stopped.wait(PERIOD_SECONDS):
                self.report(server)
            self.report(server)

    def report(self, server: SearchServer) -> None:
        now, totals = self._clock.now(), self._metrics.totals()
        trouble = self._metrics.unready()
        numbers = {name: int(totals[name] - self._told[name]) for name in COUNTERS} | {
            name: int(totals[name]) for name in GAUGES
        }
        fields = {"@timestamp": now.isoformat(timespec="milliseconds"), **self._about}
        fields["triage"] = {**self._about.get("triage", {}), **numbers, "ready": not trouble}
        if trouble:
            fields["triage"]["trouble"] = trouble
        prefix, worker = self._settings.index_prefix, self._about["service"]["instance"]["id"]
        name = f"{worker}-{now.timestamp():.3f}"[-500:]
        try:
            check_templates(server, prefix, ("workers",))
            (answer,) = server.bulk([Document.made(f"{prefix}-workers-{now:%Y.%m}", name, 1, fields)])
            if not answer.written:
                raise StoreError(f"OpenSearch did not take it: {answer.reason}")
        except StoreError as error:
            if not self._troubled:
                self._on_trouble(f"the report of this worker is missing in the dashboard of the fleet: {error}")
            self._troubled = True
            return
        self._troubled = False
        self._told = {name: totals[name] for name in COUNTERS}
