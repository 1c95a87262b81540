"""The pages of `stream-triage ui` in a real browser: each is opened, in light and dark, on a phone, and clicked through."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_triage import Bundle, Settings, Triage, find_bundle
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.sqlite import SqliteStore
from tests.web.browser.chromium import PHONE, overflow
from tests.web.browsing import HOSTILE, run_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
CASES = {
    "attach": "rejected.log",
    "throughput": "retransmissions.log",
    "restart": "tester-crash.log",
    "reject": "expected-reject.log",
}
LOOKS = [(1280, "light"), (1280, "dark"), (PHONE, "light"), (PHONE, "dark")]
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A store with the samples, each on three builds; `attach` passed on the first."""
    folder = tmp_path_factory.mktemp("pages")
    settings = Settings(store={"path": folder / "v.sqlite"}, archive={"folder": folder / "archive"})
    triage = Triage(Bundle.open(find_bundle("tm500")))
    now = datetime.now(UTC)
    with SqliteStore(settings.store.path) as store, TextArchive(settings.archive) as archive:
        for number, (case, sample) in enumerate(CASES.items()):
            for build in range(3):
                name = "expected-reject.log" if case == "attach" and build == 0 else sample
                headers = {"test.case.name": case, "testbed": f"bed-{number % 2}", "service.version": f"24.{build}"}
                session = triage.session(f"night-{build}/{case}", headers)
                session.feed((ROOT / "samples/tm500" / name).read_bytes())
                verdict = session.close().model_copy(update={"time": now - timedelta(days=3 - build, minutes=number)})
                store.write(verdict)
                archive.write(verdict, session.text)
    return settings


def server(settings: Settings, **variables: str) -> Iterator[str]:
    """The address of a server of these settings."""
    paths = {"STREAM_TRIAGE_STORE__PATH": settings.store.path, "STREAM_TRIAGE_ARCHIVE__FOLDER": settings.archive.folder}
    environment = {**os.environ, **{name: str(value) for name, value in paths.items()}, **variables}
    command = [sys.executable, "-m", "stream_triage", "ui", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            while not (found := re.search(r"http://\S+", said)):
                line = process.stderr.readline()
                assert line, said
                said += line
            yield found[0]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def site(settings: Settings) -> Iterator[str]:
    yield from server(settings)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
class TestEveryPage:
    @pytest.mark.parametrize(
        "path",
        [
            "/runs", "/runs?label=L3&bed=bed-0&since=30d", "/runs?q=nothing+such", "/cases", "/beds", "/templates",
            "/run?id=night-2/attach", "/run?id=night-1/restart&lines=100-130", "/run/difference?id=night-2/attach&to=pass",
            "/run/lines?id=night-2/attach&source=&show=1-20&gap=1-40", "/run/ues?id=night-2/attach",
        ],
    )  # fmt: skip
    def test_looks_right(self, visit: Any, accessible: Any, site: str, width: int, scheme: str, path: str) -> None:
        """Nothing to scroll sideways, no error, no request to others, and usable by all."""
        page = visit(site + path, width=width, scheme=scheme)
        page.wait_for_load_state("networkidle") if "ues" in path else page.wait_for_load_state("load")
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert overflow(page) == 0
        accessible(page)

    def test_hostile_text(self, visit: Any, accessible: Any, tmp_path: Path, width: int, scheme: str) -> None:
        """Whatever a log or a header says, it is text; a line of a million characters breaks nothing."""
        settings = Settings(store={"path": tmp_path / "v.sqlite"}, archive={"folder": tmp_path / "archive"})
        with SqliteStore(settings.store.path) as store:
            long = "x" * 1_000_000
            headers = {"test.case.name": HOSTILE, "testbed": long[:5000], "service.version": HOSTILE}
            verdict = run_of(HOSTILE, "L3", headers=headers, why=long[:3000], team=HOSTILE)
            store.write(verdict.model_copy(update={"evidence": (verdict.evidence[0].model_copy(update={"text": long}),)}))
        for address in server(settings):
            for path in ("/runs", "/cases", "/beds", "/templates", "/run?id=script"):
                page = visit(address + path, width=width, scheme=scheme)
                assert overflow(page) == 0, path
                assert page.evaluate("[...document.scripts].every(one => one.src) && document.images.length === 0"), path
                accessible(page)


class TestRuns:
    def test_filters_change_the_address(self, visit: Any, site: str) -> None:
        """A choice is applied at once, empty fields stay out of the address, and the way back works."""
        page = visit(f"{site}/runs")
        assert page.get_by_role("status").first.inner_text() == "12 runs"
        page.get_by_label("Bed", exact=True).select_option("bed-1")
        page.get_by_text("6 runs").wait_for()
        assert page.url == f"{site}/runs?bed=bed-1"
        page.get_by_label("needs review").check()
        page.wait_for_url(f"{site}/runs?bed=bed-1&review=1")
        page.go_back()
        page.get_by_text("6 runs").wait_for()
        assert page.get_by_label("Bed", exact=True).input_value() == "bed-1"
        page.get_by_role("link", name="bed bed-1 remove this filter").click()
        page.get_by_text("12 runs").wait_for()

    def test_words_are_found_with_enter(self, visit: Any, site: str) -> None:
        page = visit(f"{site}/runs")
        page.get_by_label("Text of the run").fill("registration reject")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"/runs\?q=registration(\+|%20)reject$"))
        page.get_by_text("match").wait_for()

    def test_labels_and_bars_are_filters(self, visit: Any, site: str) -> None:
        page = visit(f"{site}/runs")
        page.get_by_role("link", name="L2 3").click()
        assert page.url == f"{site}/runs?label=L2"
        page.locator(".chart a").first.click()
        assert re.fullmatch(r".*/runs\?label=L2&since=[^&]*&until=[^&]*", page.url)
        assert page.get_by_role("status").first.inner_text() == "1 run matches"

    def test_works_without_script(self, visit: Any, site: str) -> None:
        page = visit(f"{site}/runs", java_script_enabled=False)
        page.get_by_label("Team").select_option("")
        page.get_by_label("Build").select_option("24.1")
        page.get_by_role("button", name="Filter").click()
        assert page.url == f"{site}/runs?build=24.1"
        assert page.get_by_role("status").first.inner_text() == "4 runs match"

    def test_new_verdicts_appear(self, visit: Any, site: str, settings: Settings) -> None:
        """Within two seconds, provisional ones marked so, in lists that they belong to, without a jump of the page."""
        page, other = visit(f"{site}/runs"), visit(f"{site}/runs?label=L2")
        page.wait_for_timeout(1000)  # both listen by then
        page.get_by_role("link", name="night-2/reject").focus()
        with SqliteStore(settings.store.path) as store:
            store.write(run_of("open/1", "L3", final=False, version=2, time=datetime.now(UTC)))
            store.flush()
            page.get_by_role("link", name="open/1").wait_for()
            assert page.locator("tr.is-new .mark-open").inner_text() == "so far"
            assert page.evaluate("document.activeElement.textContent") == "night-2/reject"
            other.wait_for_timeout(1000)
            assert other.get_by_role("link", name="open/1").count() == 0
            store.forget("open/1")
        page.get_by_role("link", name="open/1").wait_for(state="detached")

    def test_to_one_run_and_on(self, visit: Any, site: str) -> None:
        """The row leads to the run, its headers back to lists, its strip to other runs."""
        page = visit(f"{site}/runs?case=attach")
        page.get_by_role("link", name="night-2/attach").click()
        assert page.get_by_role("heading", level=1).inner_text() == "attach"
        page.locator(".ue-row").first.wait_for()
        page.locator(".history a").first.click()
        assert "night-0" in page.url
        page.get_by_role("link", name="newer run of this test case").wait_for()
        page.get_by_role("link", name="bed-0").click()
        assert page.url == f"{site}/runs?bed=bed-0"


class TestOneRun:
    def test_gaps_are_opened(self, visit: Any, site: str) -> None:
        """With the lines of the archive, in their place; what is left can be opened next."""
        page = visit(f"{site}/run?id=night-2/attach")
        lines = page.locator(".lines .line").count()
        page.locator(".lines .gap a").first.click()
        page.locator("#L0-1").wait_for()
        assert page.locator(".lines .line").count() > lines
        assert page.locator(".lines .line .no").first.inner_text() == "1"

    def test_ues_come_later(self, visit: Any, site: str) -> None:
        page = visit(f"{site}/run?id=night-2/attach")
        page.locator(".ues-later").scroll_into_view_if_needed()
        page.locator(".ue-row").first.wait_for()

    def test_difference(self, visit: Any, site: str) -> None:
        page = visit(f"{site}/run?id=night-2/attach")
        page.get_by_role("link", name="Difference to the last run that passed").click()
        page.get_by_text("lines only in this run").wait_for()
        assert page.locator("tr.d-here").filter(has_text="REGISTRATION REJECT").count() > 0

    def test_downloads(self, visit: Any, site: str) -> None:
        page = visit(f"{site}/run?id=night-2/attach")
        for words, name in (
            ("Verdict", "attach-verdict.json"),
            ("Reduced", "attach-reduced.txt"),
            ("Full", "attach-full.txt"),
        ):
            with page.expect_download() as download:
                page.get_by_role("link", name=words).click()
            assert download.value.suggested_filename == name

    def test_runs_that_fail_alike(self, visit: Any, site: str) -> None:
        page = visit(f"{site}/run?id=night-2/throughput")
        page.get_by_role("link", name="2 earlier runs that fail alike").click()
        assert page.url.endswith("#alike")
        page.get_by_text("Earlier runs that fail alike: 2").wait_for()
        page.locator(".alike").get_by_role("link", name="night-1/throughput").click()
        assert "night-1" in page.url


class TestGroups:
    def test_test_cases_lead_to_runs(self, visit: Any, site: str) -> None:
        page = visit(f"{site}/cases")
        assert page.get_by_role("row", name="attach").get_by_text("failing since build 24.1").count() == 1
        page.get_by_role("link", name="throughput", exact=True).click()
        assert page.url == f"{site}/runs?case=throughput"

    def test_templates_lead_to_runs(self, visit: Any, site: str) -> None:
        page = visit(f"{site}/templates")
        page.get_by_label("anomalies").check()
        page.get_by_role("button", name="Show").click()
        page.locator(".c-line a").first.click()
        assert "/runs?key=" in page.url
        assert page.locator("table.runs tbody tr").count() > 0


def test_by_keyboard(visit: Any, site: str) -> None:
    """The first stop skips to the content; all that can be clicked can be reached, and shows that it has the focus."""
    page = visit(f"{site}/runs")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "f-q"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline not in {"none", ""}


def test_password(visit: Any, accessible: Any, settings: Settings) -> None:
    """A wrong one is refused, the right one leads to the page that was wanted, and signing out closes it."""
    for address in server(settings, STREAM_TRIAGE_UI__PASSWORD=PASSWORD):
        page = visit(f"{address}/run?id=night-2/attach")
        accessible(page)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="attach").wait_for()
        assert page.url == f"{address}/run?id=night-2/attach"
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Password").wait_for()
        page.goto(f"{address}/runs")
        assert "/sign-in" in page.url


def test_begins_without_a_store(visit: Any, accessible: Any, tmp_path: Path) -> None:
    """The page waits for the first verdict and then shows it by itself."""
    settings = Settings(store={"path": tmp_path / "v.sqlite"}, archive={"folder": tmp_path / "archive"})
    for address in server(settings):
        page = visit(f"{address}/runs")
        page.get_by_role("heading", name="No runs yet").wait_for()
        accessible(page)
        page.wait_for_timeout(500)
        with SqliteStore(settings.store.path) as store:
            store.write(run_of("first/1"))
        page.get_by_role("link", name="first/1").wait_for()
