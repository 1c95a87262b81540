"""A store with runs, and a browser without a screen for its pages."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from stream_triage.clock import FakeClock
from stream_triage.records import Anomaly, Evidence, Verdict
from stream_triage.settings import Settings
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.spool import SpillSpool
from stream_triage.web.app import create_app
from tests.verdicts import kept, make_verdict

__all__ = ["ADDRESS", "HOSTILE", "NOW", "browsing", "headers", "put", "run_of", "settings_of", "shown_runs", "total"]

ADDRESS = "http://127.0.0.1:8777"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script></pre></code>\x1b[31m\u202e\"'&{{ 7*7 }}"


def settings_of(folder: Path, **ui: Any) -> Settings:
    """Settings whose store and archive are in the folder."""
    return Settings(store={"path": folder / "v.sqlite"}, archive={"folder": folder / "archive"}, ui=ui)


def headers(case: str = "", bed: str = "", build: str = "") -> dict[str, str]:
    """The headers that pages know, without those that are empty."""
    given = {"test.case.name": case, "testbed": bed, "service.version": build}
    return {name: value for name, value in given.items() if value}


def run_of(run_id: str, label: str = "Pass", *, hours_ago: float = 1, **changes: Any) -> Verdict:
    """A verdict with evidence and an anomaly if it failed."""
    fields: dict[str, Any] = {"label": label, "passed": label == "Pass", "time": NOW - timedelta(hours=hours_ago)}
    if label != "Pass":
        fields |= {
            "why": f"UE 3 could not attach: {label}",
            "evidence": (Evidence(kind="line", weight=3.0, number=2, text=f"attach reject {label}", key=f"key{label}"),),
            "anomalies": (Anomaly(kind="new", score=1.0, number=3, text="never seen", key="newkey"),),
            "anomaly_count": 1,
            "reduction": kept("first line", f"attach reject {label}", "never seen"),
        }
    return make_verdict(run_id, **(fields | changes))


def put(settings: Settings, *verdicts: Verdict, lines: Iterable[str] = ()) -> None:
    """Stores verdicts, each with these lines as its archived text, if there are any."""
    texts = list(lines)
    with SqliteStore(settings.store.path) as store, TextArchive(settings.archive) as archive:
        for verdict in verdicts:
            store.write(verdict)
            if texts:
                with SpillSpool(verdict.run_id) as text:
                    text.append("", texts)
                    archive.write(verdict, text)


@contextmanager
def browsing(settings: Settings, clock: FakeClock | None = None, **options: Any) -> Iterator[TestClient]:
    """A client that follows redirects, as a browser does. Unexpected errors are raised."""
    app = create_app(settings, clock=clock or FakeClock(NOW), **options)
    with TestClient(app, base_url=ADDRESS) as client:
        yield client
    app.app.state.site.store.close()


def shown_runs(html: str) -> list[str]:
    """The ids of the runs in a list, from above."""
    return re.findall(r'class="c-run"><a href="[^"]*">([^<]*)</a>', html)


def total(html: str) -> str:
    """What the list says about the number of its runs."""
    found = re.search(r'role="status"><strong>([^<]*)</strong>', html)
    assert found
    return found[1]
