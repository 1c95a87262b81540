"""The pages of `stream-triage ui` in a real browser, clicked through as people do."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.web.browser.chromium import PHONE, overflow
from tests.web.browser.served import HOSTILE_RUN, served

pytestmark = pytest.mark.slow

RUN = "nightly/2026-11-30/rejected.log"
LOOKS = [(1280, "light"), (1280, "dark"), (PHONE, "light"), (PHONE, "dark")]
PAGES = {
    "runs": "/runs",
    "cases": "/cases",
    "beds": "/beds",
    "templates": "/templates",
    "run": f"/run?id={quote(RUN)}",
    "hostile": f"/run?id={quote(HOSTILE_RUN)}",
    "ues": f"/run/ues?id={quote(RUN)}",
    "difference": f"/run/difference?id={quote(RUN)}&to=pass",
    "error": "/run?id=nowhere",
}


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory):
    """Address of a server with some nights of runs."""
    with served(tmp_path_factory.mktemp("farm")) as address:
        yield address


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_every_page_can_be_used(visit: Any, accessible: Any, farm: str, name: str, width: int, scheme: str) -> None:
    """By everybody: no violation of WCAG AA, nothing wider than the window, no log text that acts."""
    page = visit(farm + PAGES[name], width=width, scheme=scheme, expected_errors=name == "error")
    page.wait_for_load_state("load")
    assert overflow(page) == 0
    assert page.evaluate("window.pwned === undefined")
    assert not {"\x1b", "\u202e", "\x07", "\u2028"} & set(page.evaluate("document.documentElement.innerText"))
    accessible(page)


def test_from_the_list_to_a_line(visit: Any, farm: str) -> None:
    """From the newest runs to the run, by the sentence to the line, and by a gap to what stands before it."""
    page = visit(f"{farm}/runs")
    page.get_by_role("link", name=RUN).click()
    page.locator(".why a").click()
    assert page.evaluate("document.querySelector(':target .no').textContent") == "221"
    gap = page.locator(".gap").first
    count = int(gap.locator(".gap-count").inner_text().split()[1])
    gap.get_by_role("link", name="show").first.click()
    page.locator("#L0-1").wait_for()
    assert page.locator(".line").first.locator(".no").inner_text() == "1"
    assert count > 1
    assert page.url.endswith("#L0-221")


def test_ues_come_when_they_are_needed(visit: Any, farm: str) -> None:
    """The timeline takes the place of the list, and moves what is below it by no more than a line."""
    page = visit(f"{farm}{PAGES['run']}")
    before = page.evaluate("document.documentElement.scrollHeight")
    page.locator("#ues").scroll_into_view_if_needed()
    page.locator(".ue-row").first.wait_for()
    assert page.locator(".ue-row").count() == 3
    assert abs(page.evaluate("document.documentElement.scrollHeight") - before) <= 24


def test_keys_and_clipboard(visit: Any, farm: str) -> None:
    """They work under the policy of the server as in a report."""
    page = visit(f"{farm}{PAGES['run']}", permissions=["clipboard-read", "clipboard-write"])
    page.keyboard.press("n")
    assert page.evaluate("document.activeElement.textContent") == "221"
    page.get_by_role("button", name="Copy as Markdown").click()
    page.get_by_text("copied", exact=True).wait_for()
    assert "REGISTRATION REJECT" in page.evaluate("navigator.clipboard.readText()")


def test_history_leads_to_the_run_that_broke_first(visit: Any, farm: str) -> None:
    page = visit(f"{farm}{PAGES['run']}")
    assert page.locator(".history-words").inner_text() == "failing since build 24.3.15: 3 runs in a row"
    page.locator(".past-fail").first.click()
    page.wait_for_url("**2026-11-28**")
    assert page.locator(".history-words").inner_text() == "failing since build 24.3.15: the run before passed"


def test_difference_to_the_last_pass(visit: Any, farm: str) -> None:
    page = visit(f"{farm}{PAGES['run']}")
    page.get_by_role("link", name="Difference to the last run that passed").click()
    page.get_by_text("Tracking area not allowed").first.wait_for()


def test_filter_by_label(visit: Any, farm: str) -> None:
    """The address keeps the filter, so that it can be sent; the list says how many runs it has."""
    page = visit(f"{farm}/runs?label=L3")
    assert page.get_by_text("4 runs", exact=True).first.is_visible()
