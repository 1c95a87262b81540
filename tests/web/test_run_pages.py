"""The page of one run and what it leads to: lines from the archive, its difference to other runs, downloads."""

import json
import re

import pytest

from stream_triage.records import SourceSummary, UeCourse, UeEvent, Ues, Verdict
from stream_triage.settings import Settings
from stream_triage.sinks.archive import TextArchive
from tests.verdicts import kept
from tests.web.browsing import HOSTILE, browsing, headers, put, run_of, settings_of, shown_runs

LINES = [f"line {number}" for number in range(1, 1001)]
SOURCES = (SourceSummary(source="", lines=1000, bytes=9000, known_lines=900, folded_lines=800),)
ABOUT = headers("attach", "bed-1", "24.1")


@pytest.fixture
def settings(tmp_path):
    return settings_of(tmp_path)


@pytest.fixture
def client(settings):
    put(
        settings,
        run_of("night/1", hours_ago=30, headers=ABOUT, reduction=kept("first line", "attach accept"), sources=SOURCES),
        run_of("night/2#a b", "L3", hours_ago=20, headers=ABOUT, sources=SOURCES),
        run_of("night/3", "L3", hours_ago=10, headers=ABOUT, sources=SOURCES),
        lines=LINES,
    )
    put(settings, run_of("alone/4", "L2"))
    with browsing(settings) as client:
        yield client


class TestPage:
    def test_shows_the_run(self, client):
        """By its id, or by a part of it that only one run has."""
        for run_id in ("night/3", "ight/3"):
            page = client.get("/run", params={"id": run_id})
            assert page.status_code == 200
            assert "UE 3 could not attach: L3" in page.text
            assert "attach reject L3" in page.text

    @pytest.mark.parametrize(
        ("query", "status", "words"),
        [
            ("", 400, "must name a run"),
            ("?id=zz", 404, "no run matches"),
            ("?id=night", 404, "several runs match"),
            ("?id=night/3&lines=x", 400, "lines must name lines, as in lines=104-120"),
            ("?id=night/3&lines=20-10", 400, "lines must name lines"),
        ],
    )
    def test_useless_addresses_are_explained(self, client, query, status, words):
        page = client.get(f"/run{query}")
        assert (page.status_code, words in page.text) == (status, True)

    def test_lines_of_the_address(self, client):
        """A link can name lines: they are shown with the others, at most 500 of them."""
        page = client.get("/run?id=night/3&lines=100-102").text
        assert re.findall(r'id="(L0-\d+)"', page) == ["L0-1", "L0-2", "L0-3", "L0-100", "L0-101", "L0-102"]
        assert client.get("/run?id=night/3&lines=1-1000").text.count('id="L0-') == 500

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("id=alone/4&lines=1-2", "Lines 1-2 cannot be shown: the text of this run was pruned or never archived."),
            ("id=night/3&lines=2000-2001", "Lines 2000-2001 cannot be shown: the last line is line 1000."),
            ("id=night/3&source=du&lines=1-2", "Lines 1-2 cannot be shown: leave out the source."),
        ],
    )
    def test_lines_that_are_not_there(self, client, query, words):
        """A link to lines shows the verdict even if the text is gone, and says that the lines are missing."""
        page = client.get(f"/run?{query}")
        assert page.status_code == 200
        assert words in page.text
        assert "could not attach" in page.text

    def test_leads_to_runs_with_the_same_headers(self, client):
        page = client.get("/run?id=night/3").text
        for address in ("/runs?case=attach", "/runs?bed=bed-1", "/runs?build=24.1"):
            assert f'href="{address}"' in page

    def test_earlier_runs_of_the_test_case(self, client):
        """Those before it, and none after it; a later one is named above."""
        first, last = client.get("/run?id=night/1").text, client.get("/run?id=night/3").text
        assert "no earlier run of this test case is stored" in first
        assert "newer run of this test case" in first
        assert "failing since 2026-11-29: 2 runs in a row" in last
        assert "newer run" not in last

    def test_runs_that_fail_alike(self, client):
        page = client.get("/run?id=night/3").text
        assert "Earlier runs that fail alike: 1" in page
        assert shown_runs(page) == ["night/2#a b"]
        assert "fail alike" not in client.get("/run?id=night/2%23a+b").text

    def test_hostile_text_is_inert(self, settings):
        """Whatever a log, a header or the name of a file says, it is shown as text."""
        put(
            settings,
            run_of(HOSTILE, "L3", headers={HOSTILE: HOSTILE, **headers(HOSTILE)}, reduction=kept(HOSTILE, "x" * 1_000_000)),
            lines=[HOSTILE] * 10,
        )
        with browsing(settings) as client:
            for path in ("/run", "/run/lines?source=&show=1-2&gap=1-9", "/run/difference?to=" + "%3Cscript%3E"):
                page = client.get(path, params={**dict(_pairs(path)), "id": HOSTILE}).text
                assert not re.search(r"<script(?! src=)|[\x00-\x08\x1b\u202e]", page), path
                assert len(page) < 200_000


def _pairs(path: str) -> list[tuple[str, str]]:
    return [tuple(pair.split("=", 1)) for pair in path.partition("?")[2].split("&") if pair]


class TestLines:
    def get(self, client, show, gap, **options):
        return client.get(f"/run/lines?id=night/3&source=&show={show}&gap={gap}", **options)

    def test_replace_a_gap(self, client):
        """The lines that were asked for; what is left of the gap can be opened next."""
        part = self.get(client, "4-6", "4-100", headers={"hx-request": "true"}).text
        assert "<html" not in part
        assert re.findall(r'id="L0-(\d+)"', part) == ["4", "5", "6"]
        assert "94 lines" in part
        assert "line 5" in part

    def test_without_script(self, client):
        """The same as a page."""
        page = self.get(client, "4-6", "4-100").text
        assert "<h1>Lines 4 to 6</h1>" in page
        assert "line 5" in page

    def test_at_most_500(self, client):
        part = self.get(client, "1-1000", "1-1000").text
        assert part.count('id="L0-') == 500
        assert "500 lines" in part

    @pytest.mark.parametrize(
        ("show", "gap", "words"),
        [
            ("5", "1-3", "must be within the gap"),
            ("x", "1-3", "show must name lines"),
            ("1-2", "", "gap must name lines"),
            ("1200-1201", "1001-2000", "has no line 1200"),
            ("99999999999", "1-2", "show must name lines"),
        ],
    )
    def test_useless_addresses_are_explained(self, client, show, gap, words):
        page = self.get(client, show, gap)
        assert (page.status_code, words in page.text) == (400, True)

    def test_an_unknown_source(self, client):
        page = client.get("/run/lines?id=night/3&source=du&show=1-2&gap=1-9")
        assert (page.status_code, "has no line 1" in page.text) == (400, True)

    def test_a_text_that_was_pruned(self, client, settings):
        """The page offers nothing of it, and says so to those who ask."""
        TextArchive(settings.archive).forget("night/3")
        page = client.get("/run?id=night/3").text
        assert "/run/lines" not in page
        assert "/run/full.txt" not in page
        assert self.get(client, "4-6", "4-100").status_code == 404

    def test_a_damaged_text(self, client, settings):
        """The page of the run stays; its lines name the file."""
        path = TextArchive(settings.archive)._path("night/3")
        path.write_bytes(path.read_bytes()[:-20])
        assert client.get("/run?id=night/3").status_code == 200
        page = self.get(client, "4-6", "4-100")
        assert page.status_code == 500
        assert path.name in page.text


class TestDifference:
    def test_to_the_last_run_that_passed(self, client):
        """Lines of both, and those of one alone; times and numbers do not count."""
        page = client.get("/run/difference?id=night/3&to=pass").text
        rows = re.findall(r'<tr class="(d-\w+)">.*?<code class="text">([^<]*)<', page)
        assert rows == [
            ("d-both", "first line"), ("d-there", "attach accept"), ("d-here", "attach reject L3"), ("d-here", "never seen"),
        ]  # fmt: skip

    def test_to_the_previous_one(self, client):
        page = client.get("/run/difference?id=night/3&to=previous").text
        assert "night/2#a b" in page
        assert 'class="d-here">+ 0 lines' in page

    def test_to_any_run(self, client):
        """Named by its id, or by a part of it that only one run has."""
        for to in ("alone/4", "lone"):
            assert "alone/4" in client.get(f"/run/difference?id=night/3&to={to}").text

    def test_a_line_that_was_only_not_chosen_is_no_difference(self, settings):
        """The whole texts are looked through, where they are archived."""
        for name, label, hours in (("a", "Pass", 9), ("b", "L3", 8)):
            texts = ["common 17", f"of {name}"]
            chosen = kept(*(texts if name == "b" else texts[1:]))
            put(settings, run_of(name, label, hours_ago=hours, headers=ABOUT, reduction=chosen), lines=texts)
        with browsing(settings) as client:
            page = client.get("/run/difference?id=b").text
            assert re.findall(r'<tr class="(d-\w+)">.*?<code class="text">([^<]*)<', page) == [
                ("d-there", "of a"), ("d-both", "common 17"), ("d-here", "of b"),
            ]  # fmt: skip
            TextArchive(settings.archive).forget("a")
            assert "may still be in the other run" in client.get("/run/difference?id=b").text

    def test_without_a_run_to_compare_with(self, client):
        for to, words in [
            ("pass", "no earlier run of this test case that passed is stored"),
            ("previous", "no earlier run of this test case is stored"),
            ("zz", "no run matches"),
            ("night", "several runs match"),
        ]:
            page = client.get(f"/run/difference?id=alone/4&to={to}")
            assert (page.status_code, words in page.text) == (404, True)


class TestDownloads:
    def test_verdict(self, client):
        """As it is stored, under a name made of the run's."""
        answer = client.get("/run/verdict.json?id=night/2%23a+b")
        assert Verdict.model_validate_json(answer.text).run_id == "night/2#a b"
        assert json.loads(answer.text)["label"] == "L3"
        assert answer.headers["content-disposition"] == 'attachment; filename="2-a-b-verdict.json"'

    def test_reduced_text(self, client):
        answer = client.get("/run/reduced.txt?id=night/3")
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text.splitlines() == [
            "# night/3: L3, 3 of 1000 lines", "# UE 3 could not attach: L3", "1\trare\tfirst line",
            "2\trare\tattach reject L3", "3\trare\tnever seen", "… 997 lines",
        ]  # fmt: skip

    def test_full_text(self, client):
        """All lines with their numbers."""
        answer = client.get("/run/full.txt?id=night/3")
        assert answer.text == "".join(f"{number}\t{line}\n" for number, line in enumerate(LINES, 1))
        assert client.get("/run/full.txt?id=alone/4").status_code == 404

    def test_names_are_harmless(self, settings):
        put(settings, run_of('../x";\r\n.exe'), run_of("ümläut/…"))
        with browsing(settings) as client:
            for run_id, name in (('../x";\r\n.exe', "x-.exe-verdict.json"), ("ümläut/…", "run-verdict.json")):
                answer = client.get("/run/verdict.json", params={"id": run_id})
                assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


def test_the_timeline_of_ues(settings: Settings):
    """It is read from the archived text when the page asks for it; without the text the page does not ask."""
    put(settings, run_of("a", "L3", ues=Ues(seen=2, failed=1)), lines=LINES)
    put(settings, run_of("b", "L3", ues=Ues(seen=2, failed=1)))

    def courses_of(verdict, text):
        (line,) = text.read("", 3, 3)
        event = UeEvent(number=3, what="registration refused", bad=True, text=line, last=3)
        return [UeCourse(source="", ue="7", events=(event,), dropped=0, unfinished=("never registered",))]

    with browsing(settings, courses_of=courses_of) as client:
        assert "/run/ues?id=a" in client.get("/run?id=a").text
        assert "/run/ues" not in client.get("/run?id=b").text
        part = client.get("/run/ues?id=a", headers={"hx-request": "true"}).text
        assert "<html" not in part
        assert "never registered" in part
        assert "<h1>What happened to the UEs</h1>" in client.get("/run/ues?id=a").text
