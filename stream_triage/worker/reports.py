"""A report of a worker every minute, as a document in `<prefix>-workers-YYYY.MM`, for the dashboard of the fleet.

Counters are for the time since the last report; open runs and waiting messages are as they are at that moment. A report that
OpenSearch does not take is not tried again, since verdicts matter more: its numbers go into the next one.
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
    """Writes the reports of one worker. `about` has the fields that say which one it is; they are in every document."""

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
        self._reported = dict.fromkeys(COUNTERS, 0.0)
        self._failing = False

    def run(self, stopped: threading.Event) -> None:
        """Reports every minute until stopped, and once more then."""
        with SearchServer(self._settings) as server:
            while not stopped.wait(PERIOD_SECONDS):
                self.report(server)
            self.report(server)

    def report(self, server: SearchServer) -> None:
        """Writes one report. That it fails is reported to `on_trouble` once, until a report succeeds again."""
        now, totals = self._clock.now(), self._metrics.totals()
        trouble = self._metrics.unready()
        numbers = {name: int(totals[name] - self._reported[name]) for name in COUNTERS} | {
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
            (result,) = server.bulk([Document.made(f"{prefix}-workers-{now:%Y.%m}", name, 1, fields)])
            if not result.written:
                raise StoreError(f"OpenSearch rejected it: {result.reason}")
        except StoreError as error:
            if not self._failing:
                self._on_trouble(f"the report of this worker is missing from the fleet dashboard: {error}")
            self._failing = True
            return
        self._failing = False
        self._reported = {name: totals[name] for name in COUNTERS}
