"""The pictures of reports and pages in README and docs, taken from the sample runs.

python -m tests.web.browser.screenshots     takes them anew, into docs/images
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import quote

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.ue_events import events_of_failed_ues
from stream_triage.web.report import Report
from tests.web.browser.chromium import PHONE, chromium
from tests.web.browser.samples import SAMPLES, judged
from tests.web.browser.served import served

__all__ = ["IMAGES", "PAGES", "REPORTS", "report", "take"]

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "docs" / "images"


class Shot(NamedTuple):
    """A picture: of a report on which runs, or of which page; in a window of which size, in which colours."""

    of: Sequence[str]
    width: int
    height: int
    scheme: str = "light"


REPORTS = {
    "report-run.png": Shot(SAMPLES[:1], 1200, 905),
    "report-run-dark.png": Shot(SAMPLES[:1], 1200, 905, "dark"),
    "report-run-phone.png": Shot(SAMPLES[:1], PHONE, 844),
    "report-runs.png": Shot(SAMPLES, 1200, 640),
}
PAGES = {
    "page-runs.png": Shot("/runs", 1200, 860),
    "page-run.png": Shot(f"/run?id={quote('nightly/2026-11-30/rejected.log')}", 1200, 900),
}


class Earlier(NamedTuple):
    """An earlier run of the test case in the pictures."""

    run_id: str
    time: datetime
    label: str
    passed: bool
    needs_review: bool
    build: str


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
        for name, shot in REPORTS.items():
            _take(folder / name, shot, report(Path(work) / f"{name}.html", triage, shot.of), visit)
        with served(Path(work), hostile=False) as address:
            for name, shot in PAGES.items():
                _take(folder / name, shot, f"{address}{shot.of}", visit)


def _take(path: Path, shot: Shot, address: str, visit: Callable[..., Any]) -> None:
    page = visit(address, width=shot.width, scheme=shot.scheme)
    page.set_viewport_size({"width": shot.width, "height": shot.height})
    if page.locator(".ues-later").count():
        page.locator(".ue-row").first.wait_for()  # comes from the server when it comes into view
    page.screenshot(path=path)
    page.close()  # it would go on asking a server that has ended


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
