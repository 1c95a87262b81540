"""A report in a real browser: it works from a file, alone, in light and dark, on a phone, by keyboard, with hostile logs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream_triage import Bundle, Triage, find_bundle
from stream_triage.web.report import Report
from tests.web.browser.chromium import PHONE, overflow
from tests.web.browser.samples import SAMPLES
from tests.web.browser.screenshots import IMAGES, PAGES, REPORTS, report, take
from tests.web.browser.served import hostile_verdict

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
LOOKS = [(1280, "light"), (1280, "dark"), (PHONE, "light"), (PHONE, "dark")]


@pytest.fixture(scope="module")
def triage() -> Triage:
    return Triage(Bundle.open(find_bundle("tm500")))


@pytest.fixture(scope="module")
def one(triage: Triage, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a report on one run."""
    return report(tmp_path_factory.mktemp("one") / "report.html", triage, SAMPLES[:1])


@pytest.fixture(scope="module")
def several(triage: Triage, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a report on four runs."""
    return report(tmp_path_factory.mktemp("several") / "report.html", triage, SAMPLES)


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """Address of a report on a run whose log attacks the page."""
    with Report(tmp_path / "report.html") as report:
        report.write(hostile_verdict())
    return (tmp_path / "report.html").as_uri()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
class TestLooks:
    def test_one_run(self, visit: Any, accessible: Any, one: str, width: int, scheme: str) -> None:
        """What failed, why and the deciding line are on the first screen; nothing is wider than the window."""
        page = visit(one, width=width, scheme=scheme)
        for words in ("failed", "the registration was refused", "REGISTRATION REJECT:UE Id:2"):
            assert page.get_by_text(words).first.bounding_box()["y"] < 800
        assert overflow(page) == 0
        accessible(page)

    def test_several_runs(self, visit: Any, accessible: Any, several: str, width: int, scheme: str) -> None:
        """So it is with several runs, with all of them open."""
        page = visit(several, width=width, scheme=scheme)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert overflow(page) == 0
        accessible(page)

    def test_hostile_log(self, visit: Any, accessible: Any, hostile: str, width: int, scheme: str) -> None:
        """Markup stays text, and a line of a million characters neither breaks the page nor is shown whole."""
        page = visit(hostile, width=width, scheme=scheme)
        assert page.evaluate("window.pwned === undefined && document.images.length === 0 && document.scripts.length === 1")
        assert overflow(page) == 0
        assert page.get_by_text("998,000 more characters").count() > 0
        shown = page.evaluate("document.documentElement.innerText")
        assert not {"\x1b", "\u202e", "\x07", "\x00", "\u2028"} & set(shown)
        assert page.evaluate("document.title.includes('\\u202e')") is False
        accessible(page)


class TestKeyboard:
    def test_keys_go_from_evidence_to_evidence(self, visit: Any, one: str) -> None:
        """`n` goes to the next one, `p` back, and after the last comes the first."""
        page = visit(one)
        focused: Callable[[], str] = lambda: page.evaluate("document.activeElement.textContent")  # noqa: E731
        seen = []
        for _ in range(page.locator(".line.is-strong").count() + 1):
            page.keyboard.press("n")
            seen.append(focused())
        assert seen[:3] == ["221", "278", "290"]
        assert seen[-1] == seen[0]
        page.keyboard.press("p")
        assert focused() == seen[-2]

    def test_keys_can_be_switched_off(self, visit: Any, one: str) -> None:
        """People who dictate would press them by speaking."""
        page = visit(one)
        page.get_by_label("keys").uncheck()
        page.keyboard.press("n")
        assert page.evaluate("document.activeElement.closest('.line')") is None

    def test_strip_and_sentence_lead_to_lines(self, visit: Any, one: str) -> None:
        """A click on a mark of the strip, or on the line that the sentence names, goes to that line."""
        page = visit(one)
        page.locator(".why a").click()
        assert page.evaluate("document.querySelector(':target .no').textContent") == "221"
        page.locator(".lane-drawing .s-reach").nth(1).click()
        assert page.evaluate("document.querySelector(':target .no').textContent") == "278"


def test_copy_as_markdown(visit: Any, one: str) -> None:
    """The clipboard has the verdict, the sentence and the deciding lines."""
    page = visit(one, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as Markdown").click()
    page.get_by_text("copied", exact=True).wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("### `nightly/2026-11-30/rejected.log`: `L3`\n")
    assert "REGISTRATION REJECT:UE Id:2\n" in copied


def test_copy_without_a_clipboard(visit: Any, one: str) -> None:
    """Where the browser forbids it, the text is there to be copied by hand."""
    page = visit(one)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy as Markdown").click()
    assert page.get_by_label("this run as Markdown").input_value().startswith("### ")
    assert page.get_by_label("this run as Markdown").is_visible()


@pytest.mark.parametrize("part", ["%", "%00", "nowhere", "r1-L0-278"])
def test_addresses_with_any_fragment(visit: Any, one: str, part: str) -> None:
    """One that names a line goes there; any other is no error."""
    page = visit(f"{one}#{part}")
    assert page.evaluate("document.querySelector(':target .no')?.textContent") == ("278" if "L0" in part else None)


def test_table_leads_to_closed_runs(visit: Any, several: str) -> None:
    """A click on a run in the table opens it below and goes there."""
    page = visit(several)
    page.get_by_role("link", name="retransmissions.log").click()
    page.get_by_text("trouble of layer 2 came 29 times at UE 1").nth(1).wait_for(state="visible")


def test_scripts_off(visit: Any, one: str) -> None:
    """All that is to be read can be read without scripts."""
    page = visit(one, java_script_enabled=False)
    assert page.get_by_text("the registration was refused").first.is_visible()
    assert not page.get_by_role("button", name="Copy as Markdown").is_visible()


def test_pictures(visit: Any, tmp_path: Path) -> None:
    """Each picture can be taken, and README and docs show only pictures that are there."""
    take(tmp_path, visit)
    assert {path.name for path in tmp_path.iterdir()} == {*REPORTS, *PAGES}
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"images/([\w.-]+)", page.read_text(encoding="utf-8"))}
    assert {name for name in named if name.startswith(("report-", "page-"))} <= {*REPORTS, *PAGES}
    assert named <= {path.name for path in IMAGES.iterdir()}
