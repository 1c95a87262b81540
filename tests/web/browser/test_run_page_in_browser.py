"""The page of one run in a real browser, as the server sends it: the same as in a report, and what needs a server."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.web.browser.chromium import PHONE, overflow
from tests.web.browser.served import HOSTILE_RUN, served

pytestmark = pytest.mark.slow

RUN = "nightly/2026-11-30/rejected.log"
LOOKS = [(1280, "light"), (1280, "dark"), (PHONE, "light"), (PHONE, "dark")]
PAGE = f"/run?id={quote(RUN)}"


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory):
    """Address of a server with some nights of runs."""
    with served(tmp_path_factory.mktemp("farm")) as address:
        yield address


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("run_id", [RUN, HOSTILE_RUN])
def test_it_can_be_used(visit: Any, accessible: Any, farm: str, run_id: str, width: int, scheme: str) -> None:
    """By everybody: no violation of WCAG AA, nothing wider than the window, no log text that acts."""
    page = visit(f"{farm}/run?id={quote(run_id)}", width=width, scheme=scheme)
    assert overflow(page) == 0
    assert page.evaluate("window.pwned === undefined")
    assert not {"\x1b", "\u202e", "\x07", "\u2028"} & set(page.evaluate("document.documentElement.innerText"))
    accessible(page)


def test_ues_come_when_they_are_needed(visit: Any, farm: str) -> None:
    """The timeline takes the place of the list, and moves what is below it by no more than a line."""
    page = visit(f"{farm}{PAGE}")
    before = page.evaluate("document.documentElement.scrollHeight")
    page.locator("#ues").scroll_into_view_if_needed()
    page.locator(".ue-row").first.wait_for()
    assert page.locator(".ue-row").count() == 3
    assert abs(page.evaluate("document.documentElement.scrollHeight") - before) <= 24


def test_keys_and_clipboard(visit: Any, farm: str) -> None:
    """They work under the policy of the server as in a report."""
    page = visit(f"{farm}{PAGE}", permissions=["clipboard-read", "clipboard-write"])
    page.keyboard.press("n")
    assert page.evaluate("document.activeElement.textContent") == "221"
    page.get_by_role("button", name="Copy as Markdown").click()
    page.get_by_text("copied", exact=True).wait_for()
    assert "REGISTRATION REJECT" in page.evaluate("navigator.clipboard.readText()")


def test_history_leads_to_the_run_that_broke_first(visit: Any, farm: str) -> None:
    page = visit(f"{farm}{PAGE}")
    assert page.locator(".history-words").inner_text() == "failing since build 24.3.15: 3 runs in a row"
    page.locator(".past-fail").first.click()
    page.wait_for_url("**2026-11-28**")
    assert page.locator(".history-words").inner_text() == "failing since build 24.3.15: the run before passed"
