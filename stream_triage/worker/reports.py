"""A worker's report every minute, as a document in `<prefix>-workers-YYYY.MM`, which the dashboard of the fleet shows.

Counters are the difference to the last report that was written; open runs and messages behind are as they are at the time of
the report. If OpenSearch does not take a report, its numbers go into the next one: a report is never worth a verdict's time.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from stream_triage.clients.search import Document, SearchServer
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import StoreError
from stream_triage.sinks.opensearch import check_templates
from stream_triage.worker.metrics import Metrics

__all__ = ["WorkerReports"]

PERIOD_SECONDS: Final = 60.0
COUNTERS: Final = ("messages", "verdicts", "lines", "refused", "flush_failures")
GAUGES: Final = ("open_runs", "messages_behind")
MAX_ID_CHARACTERS: Final = 500


class WorkerReports:
    """Writes the reports of one worker.

    Args:
        server: For this object alone, since a server takes one request at a time.
        prefix: Of the index.
        metrics: The worker's numbers.
        about: Fields of each report that say which worker it is, `service.instance.id` among them.
        on_trouble: Called with a message for the first of several reports that could not be written.
        clock: For tests.
    """

    def __init__(
        self,
        server: SearchServer,
        prefix: str,
        metrics: Metrics,
        about: Mapping[str, Any],
        *,
        on_trouble: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._server = server
        self._prefix = prefix
        self._metrics = metrics
        self._about = about
        self._on_trouble = on_trouble
        self._clock = clock or SystemClock()
        self._reported = dict.fromkeys(COUNTERS, 0.0)
        self._troubled = False

    def run(self, stopped: threading.Event) -> None:
        """Reports every minute until `stopped` is set, and once more then."""
        while not stopped.wait(PERIOD_SECONDS):
            self.report()
        self.report()

    def report(self) -> None:
        """Writes one report. Does not raise if OpenSearch does not take it."""
        totals = self._metrics.totals()
        try:
            check_templates(self._server, self._prefix, ("workers",))
            (response,) = self._server.bulk([self._document(totals)])
            if not response.written:
                raise StoreError(f"OpenSearch did not take it: {response.reason}")
        except StoreError as error:
            if not self._troubled:
                self._on_trouble(f"this worker cannot write its report for the dashboard *fleet health*: {error}")
            self._troubled = True
            return
        self._troubled = False
        self._reported = {name: totals[name] for name in COUNTERS}

    def _document(self, totals: Mapping[str, float]) -> Document:
        now, trouble = self._clock.now(), self._metrics.unready()
        counters = {name: int(totals[name] - self._reported[name]) for name in COUNTERS}
        gauges = {name: int(totals[name]) for name in GAUGES}
        fields = {"@timestamp": now.isoformat(timespec="milliseconds"), **self._about}
        fields["triage"] = {**self._about.get("triage", {}), **counters, **gauges, "ready": not trouble}
        if trouble:
            fields["triage"]["trouble"] = trouble
        worker = self._about["service"]["instance"]["id"]
        name = f"{worker}-{now.timestamp():.3f}"[-MAX_ID_CHARACTERS:]
        return Document.from_fields(f"{self._prefix}-workers-{now:%Y.%m}", name, 1, fields)
