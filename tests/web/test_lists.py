"""Lists of runs, test cases, beds and templates: what is filtered, counted and shown."""

import re
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from stream_triage.records import CANARY, UNKNOWN
from stream_triage.settings import Settings
from tests.web.browsing import HOSTILE, browsing, headers, put, run_of, settings_of, shown_runs, total


@pytest.fixture
def settings(tmp_path):
    return settings_of(tmp_path)


@pytest.fixture
def client(settings):
    put(
        settings,
        run_of("night/1", hours_ago=100, headers=headers("attach", "bed-1", "24.1")),
        run_of("night/2", "L3", hours_ago=50, headers=headers("attach", "bed-1", "24.2"), team="core", cause="product"),
        run_of("night/3", "L2", hours_ago=3, headers=headers("attach", "bed-2", "24.2"), needs_review=True,
               review_reasons=("confidence 0.5 is below 0.9",)),
        run_of("night/4", hours_ago=2, headers=headers("handover", "bed-2", "24.2"), anomalous=True),
        run_of("open/5", "L3", hours_ago=1, headers=headers("handover", "bed-2", "24.2"), final=False, version=200),
    )  # fmt: skip
    with browsing(settings) as client:
        yield client


class TestRuns:
    def test_newest_first(self, client):
        """All runs, with their exact number; the beginning of the site leads there."""
        page = client.get("/")
        assert page.url.path == "/runs"
        assert shown_runs(page.text) == ["open/5", "night/4", "night/3", "night/2", "night/1"]
        assert total(page.text) == "5 runs"

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("label=L3", ["open/5", "night/2"]),
            ("label=L3&label=L2", ["open/5", "night/3", "night/2"]),
            ("cause=product", ["night/2"]),
            ("team=core", ["night/2"]),
            ("bed=bed-1", ["night/2", "night/1"]),
            ("case=handover", ["open/5", "night/4"]),
            ("build=24.1", ["night/1"]),
            ("anomalous=1", ["night/4"]),
            ("review=1", ["night/3"]),
            ("open=1", ["open/5"]),
            ("since=4h", ["open/5", "night/4", "night/3"]),
            ("since=3d", ["open/5", "night/4", "night/3", "night/2"]),
            ("until=2026-11-29", ["night/2", "night/1"]),
            ("since=2026-11-28T09:00&until=2026-11-28T11:00", ["night/2"]),
            ("since=2026-11-28T10:30%2B01:00&until=2026-11-28T11:00", ["night/2"]),
            ("q=reject+L3", ["open/5", "night/2"]),
            ("q=rej", ["open/5", "night/3", "night/2"]),
            ("q=NIGHT/4", ["night/4"]),
            ("q=open", ["open/5"]),
            ("key=keyL2", ["night/3"]),
            ("label=L3&bed=bed-2", ["open/5"]),
            ("label=nothing", []),
        ],
    )
    def test_filters(self, client, query, found):
        """Each filter of the address, and several at once; the number is exact."""
        page = client.get(f"/runs?{query}").text
        assert shown_runs(page) == found
        assert total(page) == f"{len(found)} run{'' if len(found) == 1 else 's'}"

    def test_filters_can_be_removed_one_by_one(self, client):
        """Each is named and leads to the list without it."""
        page = client.get("/runs?label=L3&bed=bed-2").text
        assert re.findall(r'class="chip" href="([^"]*)"', page) == ["/runs?bed=bed-2", "/runs?label=L3"]

    def test_labels_lead_to_more_of_them(self, client):
        """Their numbers are of the runs that the other filters find; a wanted label leads back."""
        page = client.get("/runs?label=L3&bed=bed-2").text
        choices = re.findall(r'label-choice[^"]*" href="([^"]*)".*?>(\w+)</span> <span class="number">(\d+)', page)
        assert ("/runs?bed=bed-2", "L3", "1") in choices
        assert ("/runs?label=L3&amp;bed=bed-2&amp;label=L2", "L2", "1") in choices

    def test_empty_fields_of_a_form_leave_the_address(self, client):
        """What a browser without script sends becomes the address that one can pass on."""
        page = client.get("/runs?q=&case=&bed=bed-1&since=")
        assert str(page.url).endswith("/runs?bed=bed-1")

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("since=yesterday", "since is no time; give a day such as 2026-11-30"),
            ("until=2026-13-01", "until is no time"),
            ("since=0001-01-01T00:00%2B14:00", "since is no time"),
            ("after=x", "after is no place in the list"),
            ("after=2026-11-30,99999999999999999999", "after is no place in the list"),
            ("q=" + "x" * 1001, "shorten it"),
            ("review=0", "review must be 1, or be left out"),
        ],
    )
    def test_useless_values_are_explained(self, client, query, words):
        page = client.get(f"/runs?{query}")
        assert page.status_code == 400
        assert words in page.text

    @pytest.mark.parametrize("query", ["q=%00", "q=%22*", "q=NEAR(", "label=%FF", "case=" + "%27%3B--", "q=%ED%A0%80"])
    def test_strange_values_find_nothing(self, client, query):
        """Whatever is searched for, it is text: no query language, no error."""
        page = client.get(f"/runs?{query}")
        assert page.status_code == 200
        assert shown_runs(page.text) == []

    def test_htmx_gets_the_list_alone(self, client):
        """The same address gives the part of the page that changes; caches tell both apart."""
        part = client.get("/runs?label=L3", headers={"hx-request": "true"})
        assert "<html" not in part.text
        assert shown_runs(part.text) == ["open/5", "night/2"]
        assert part.headers["vary"] == "HX-Request"

    def test_what_to_look_at_first(self, client):
        """Why a review is needed or why the run failed; nothing for a clean pass."""
        page = client.get("/runs").text
        said = dict(zip(shown_runs(page), re.findall(r'class="c-why">([^<]*)<', page), strict=True))
        assert said == {
            "open/5": "UE 3 could not attach: L3",
            "night/4": "",
            "night/3": "UE 3 could not attach: L2; confidence 0.5 is below 0.9",
            "night/2": "UE 3 could not attach: L3",
            "night/1": "",
        }

    def test_provisional_verdicts_are_marked(self, client):
        page = client.get("/runs").text
        assert page.count("so far</span>") == 1
        assert page.count("needs review</span>") == 1

    def test_over_time(self, client):
        """By day and label; each day leads to its runs, and the same numbers are in a table."""
        page = client.get("/runs").text
        assert re.findall(r"<title>(2026[^<]*)</title>", page) == [
            "2026-11-26: Pass 1", "2026-11-28: L3 1", "2026-11-30: Pass 1, L2 1, L3 1",
        ]  # fmt: skip
        (address,) = set(re.findall(r'"(/runs\?since=2026-11-28[^"]*)"', page))
        assert shown_runs(client.get(address.replace("&amp;", "&")).text) == ["night/2"]

    def test_the_axis_names_times_where_they_are(self, settings):
        """Few columns do not fill the width, so the last time does not stand at its end."""
        put(settings, run_of("a", hours_ago=1), run_of("b", hours_ago=24 * 4))
        with browsing(settings) as client:
            assert "<figcaption>runs by day, 2026-11-26 to 2026-11-30, at most 1<" in client.get("/runs").text
            put(settings, run_of("c", hours_ago=24 * 20))
            assert "<span>2026-11-30</span></figcaption>" in client.get("/runs").text

    def test_a_few_hours_are_shown_by_hour(self, client):
        page = client.get("/runs?since=5h").text
        assert re.findall(r"<title>(2026[^<]*)</title>", page) == [
            "2026-11-30 09:00: L2 1", "2026-11-30 10:00: Pass 1", "2026-11-30 11:00: L3 1",
        ]  # fmt: skip

    def test_pages(self, settings):
        """Fifty at a time; older ones follow, none twice, and runs that come meanwhile change nothing."""
        put(settings, *(run_of(f"run/{number:03}", hours_ago=number // 10) for number in range(120)))
        with browsing(settings) as client:
            page, seen = client.get("/runs").text, []
            for number in range(3):
                seen.append(shown_runs(page))
                if number < 2:
                    put(settings, run_of(f"late/{number}", hours_ago=0))
                    (older,) = re.findall(r'href="(/runs\?after=[^"]*)"', page)
                    page = client.get(older.replace("&amp;", "&")).text
            assert [len(runs) for runs in seen] == [50, 50, 20]
            assert len({run for runs in seen for run in runs}) == 120
            assert "after=" not in page

    def test_a_place_behind_the_last_run(self, client):
        """The page does not say that the store is empty."""
        page = client.get("/runs?after=2020-01-01T00:00:00%2B00:00,5").text
        assert total(page) == "5 runs"
        assert "No run that matches is older than this" in page
        assert "no run yet" not in page

    def test_the_filters_offer_what_there_is(self, client):
        page = client.get("/runs").text
        assert re.findall(r'<option value="([^"]*)">[^<]*\((\d+)\)', page) == [
            ("bed-2", "3"), ("bed-1", "2"), ("24.2", "4"), ("24.1", "1"), ("core", "1"), ("product", "1"),
        ]  # fmt: skip

    def test_hostile_text_is_inert(self, settings):
        """Markup, escapes and direction marks of ids, headers, sentences and labels are shown as text."""
        put(settings, run_of(HOSTILE, HOSTILE, headers=headers(HOSTILE, HOSTILE, HOSTILE), team=HOSTILE, why=HOSTILE))
        with browsing(settings) as client:
            for path in ("/runs", "/cases", "/beds", "/templates", "/runs?q=" + "%3Cb%3E"):
                page = client.get(path).text
                assert not re.search(r"<script(?! src=)|<b>|[\x00-\x08\x1b\u202e]", page), path
                assert "{{ 7*7 }}" in page or "q=" in path


class TestGroups:
    def test_test_cases(self, client):
        """Those whose newest run did not pass come first; with state, share of passes and the last runs."""
        page = client.get("/cases").text
        assert total(page) == "2 test cases"
        assert re.findall(r'class="c-case"><a href="([^"]*)">', page) == ["/runs?case=handover", "/runs?case=attach"]
        assert re.findall(r'c-state state-\w+" title="[^"]*">([^<]*)<', page) == ["new", "failing since build 24.2"]
        assert re.findall(r'class="n"><span class="c-name">passed </span>([^<]*)<', page) == ["50 %", "33 %"]

    def test_beds(self, client):
        page = client.get("/beds?order=name").text
        assert re.findall(r'class="c-case"><a href="([^"]*)">', page) == ["/runs?bed=bed-1", "/runs?bed=bed-2"]

    def test_by_name(self, client):
        assert total(client.get("/cases?q=HAND").text) == "1 test case"
        assert "No test case has zz in its name" in client.get("/cases?q=zz").text

    def test_the_canary_is_no_test_case(self, settings):
        """Runs that only check the way count nowhere, and unknown ones are neither passed nor failed."""
        put(settings, run_of("c", headers=headers(CANARY, "bed-1")), run_of("u", UNKNOWN, headers=headers("x", "bed-1")))
        with browsing(settings) as client:
            assert total(client.get("/cases").text) == "1 test case"
            page = client.get("/beds").text
            assert 'passed </span><span class="quiet">unknown' in page
            assert '<span class="c-name">runs </span>1<' in page

    def test_without_headers(self, settings):
        """It says what is missing."""
        put(settings, run_of("a"))
        with browsing(settings) as client:
            assert "Send it as the header <code>testbed</code>" in client.get("/beds").text

    @pytest.mark.parametrize("address", ["/cases?order=x", "/cases?after=x", "/templates?order=1", "/templates?after=-1"])
    def test_useless_values_are_explained(self, client, address):
        page = client.get(address)
        assert page.status_code == 400
        assert "must be" in page.text


class TestTemplates:
    def test_seen(self, client):
        """First and last time, runs and labels of what was evidence or an anomaly; the text is that of the newest run."""
        page = client.get("/templates").text
        assert total(page) == "3 templates"
        rows = re.findall(
            r'href="/runs\?key=(\w+)".*?<code>(.*?)</code>.*?runs </span>(\d+)<.*?in </span>(\d+)<', page, re.DOTALL
        )
        assert sorted(rows) == [
            ("keyL2", "attach reject L2", "1", "0"),
            ("keyL3", "attach reject L3", "2", "0"),
            ("newkey", "never seen", "3", "3"),
        ]

    def test_control_characters_do_not_fill_the_page(self, settings):
        """A text is cut at 300 characters as it is shown: control characters are codes of several characters."""
        text = "\u202e" * 300
        evidence = run_of("x", "L3").evidence[0].model_copy(update={"text": text})
        put(settings, run_of("a", "L3", evidence=(evidence,), why=text))
        with browsing(settings) as client:
            for address, pattern in (("/templates", r"<code>(\\u202e.*?)</code>"), ("/runs", r'class="c-why">([^<]*)<')):
                (found,) = re.findall(pattern, client.get(address).text)
                assert found == "\\u202e" * 50 + "…"

    def test_anomalies_alone(self, client):
        assert total(client.get("/templates?anomalies=1").text) == "1 template"

    def test_clean_passes_show_no_evidence(self, settings):
        """What a run that passed rests on is no sign of anything."""
        evidence = run_of("x", "L3").evidence
        put(settings, run_of("a", evidence=evidence), run_of("b", evidence=evidence, needs_review=True))
        with browsing(settings) as client:
            assert '<span class="c-name">runs </span>1<' in client.get("/templates").text


def test_forgotten_runs_leave_every_list(client: TestClient, settings: Settings):
    """Nothing of a forgotten run is counted or shown, while the server runs."""
    from stream_triage.sinks.sqlite import SqliteStore

    with SqliteStore(settings.store.path) as store:
        store.forget("night/3")
        store.prune(before=store.find("night/2").time + timedelta(seconds=1))
    assert shown_runs(client.get("/runs").text) == ["open/5", "night/4"]
    assert "attach" not in re.sub(r"could not attach|attach reject", "", client.get("/cases").text)
    assert "keyL2" not in client.get("/templates").text
