"""The pictures of reports in README and docs, taken from the sample runs.

python -m tests.web.browser.screenshots     takes them anew, into docs/images
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.pipeline import Session
from stream_triage.ue_events import events_of_failed_ues
from stream_triage.web.report import Report
from tests.web.browser.chromium import PHONE, chromium

__all__ = ["IMAGES", "SAMPLES", "SHOTS", "judged", "report", "take"]

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "docs" / "images"
SAMPLES = ("rejected.log", "retransmissions.log", "tester-crash.log", "expected-reject.log")
JUDGED = datetime(2026, 11, 30, 5, 12, tzinfo=UTC)


class Shot(NamedTuple):
    """A picture: of which runs, in a window of which size, in which colours."""

    names: Sequence[str]
    width: int
    height: int
    scheme: str = "light"


SHOTS = {
    "report-run.png": Shot(SAMPLES[:1], 1200, 905),
    "report-run-dark.png": Shot(SAMPLES[:1], 1200, 905, "dark"),
    "report-run-phone.png": Shot(SAMPLES[:1], PHONE, 844),
    "report-runs.png": Shot(SAMPLES, 1200, 640),
}


class Earlier(NamedTuple):
    """An earlier run of the test case in the pictures."""

    run_id: str
    time: datetime
    label: str
    passed: bool
    needs_review: bool
    build: str


def judged(triage: Triage, name: str, days_ago: int = 0) -> tuple[Verdict, Session]:
    """The verdict on a sample as if it came from a test farm, and its session, which has the text."""
    headers = {"test.case.name": "attach_8ue", "testbed": "bed-07", "service.version": f"24.3.{17 - days_ago}"}
    session = triage.session(f"nightly/2026-11-{30 - days_ago}/{name}", headers)
    session.feed((ROOT / "samples" / "tm500" / name).read_bytes())
    return session.close().model_copy(update={"time": JUDGED - timedelta(days=days_ago)}), session


def report(path: Path, triage: Triage, names: Sequence[str]) -> str:
    """Writes a report on samples; the first one has a history. Returns its address."""
    model = next(iter(triage.models.values()))

    def history(verdict: Verdict) -> list[Earlier]:
        if not verdict.run_id.endswith(SAMPLES[0]):
            return []
        samples = [("expected-reject.log", day) for day in range(8, 2, -1)] + [(SAMPLES[0], 2), (SAMPLES[0], 1)]
        return [_earlier(judged(triage, name, day)[0]) for name, day in samples]

    def courses_of(verdict: Verdict, text: Any) -> Any:
        return events_of_failed_ues(model, text, verdict, 10)

    with Report(path, courses_of=courses_of, history_of=history) as made:
        for name in names:
            verdict, session = judged(triage, name)
            made.write(verdict, session.text)
    return path.as_uri()


def _earlier(verdict: Verdict) -> Earlier:
    assert verdict.time is not None
    build = verdict.headers["service.version"]
    return Earlier(verdict.run_id, verdict.time, verdict.label, verdict.passed, verdict.needs_review, build)


def take(folder: Path, visit: Callable[..., Any]) -> None:
    """Takes all pictures into the folder. `visit` opens an address, as the fixture of this name does."""
    triage = Triage(Bundle.open(find_bundle("tm500")))
    with TemporaryDirectory() as work:
        for name, shot in SHOTS.items():
            address = report(Path(work) / f"{name}.html", triage, shot.names)
            page = visit(address, width=shot.width, scheme=shot.scheme)
            page.set_viewport_size({"width": shot.width, "height": shot.height})
            page.screenshot(path=folder / name)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with chromium() as browser:

        def visit(address: str, *, width: int, scheme: str) -> Any:
            page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()  # type: ignore[arg-type]
            page.goto(address)
            return page

        take(IMAGES, visit)


if __name__ == "__main__":
    main()
