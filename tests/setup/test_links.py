"""Links to the board of a run, by a model of what Dashboards does with them."""

import json
import random
import string
from typing import Any

import pytest

from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.dashboards import BOARDS
from stream_triage.setup.links import NO_RUN, rison, run_board
from stream_triage.setup.saved_objects import saved_objects
from stream_triage.sinks.opensearch import address_of
from tests.setup.dashboards_links import HOSTILE, Place, clicked, label_of, parse_rison, state_of

OBJECTS = {(each["type"], each["id"]): each["attributes"] for each in saved_objects(OpenSearchSettings())}
FORMATS = {
    kind: json.loads(OBJECTS["index-pattern", f"triage-{kind}"]["fieldFormatMap"])
    for kind in ("verdicts", "lines", "workers")
}
PLACES = (Place(), Place(base="/_dashboards"), Place("https://logs.example", "/farm/w/a1b2"))
LINKED = [
    (kind, field, about["params"])
    for kind, formats in FORMATS.items()
    for field, about in formats.items()
    if about["id"] == "url"
]


def random_ids(count: int) -> list[str]:
    rng = random.Random(5)
    letters = string.printable + "äß€\u2028😀" + "'!*\"\\#~@%()" * 3
    return ["".join(rng.choices(letters, k=rng.randrange(1, 40))) for _ in range(count)]


def chosen(states: dict[str, Any]) -> list[dict[str, Any]]:
    return [each["query"] for each in states["_a"]["filters"]]


class TestLinks:
    def test_lists_of_runs_have_a_link(self) -> None:
        """Verdicts and lines both link by the address of a run."""
        assert [(kind, field) for kind, field, _ in LINKED] == [
            ("verdicts", "triage.run.address"), ("lines", "triage.run.address")]  # fmt: skip

    @pytest.mark.parametrize("run_id", ["night/17", "logs/a.log#0a1b2c3d", *HOSTILE])
    @pytest.mark.parametrize("params", [params for _, _, params in LINKED], ids=[kind for kind, _, _ in LINKED])
    def test_a_column_shows_the_run(self, params: dict[str, Any], run_id: str) -> None:
        """The label is the value: it is not blank, and not the address of the link."""
        assert label_of(params, address_of(run_id)) == address_of(run_id)

    @pytest.mark.parametrize("place", PLACES)
    @pytest.mark.parametrize("app", ["dashboards", "data-explorer", "visualize"])
    def test_a_click_opens_the_board_of_the_run(self, place: Place, app: str) -> None:
        """With and without a base path, from any app, for any run id; and the filter finds no other run."""
        _, _, params = LINKED[0]
        for run_id in ("night/17", "logs/a.log#0a1b2c3d", *HOSTILE, *random_ids(300)):
            path, route, states = clicked(params, address_of(run_id), place, app)
            assert (path, route) == (f"{place.base}/app/dashboards", "/view/triage-run")
            assert chosen(states) == [{"match_phrase": {"triage.run.address": address_of(run_id)}}]
            assert states["_a"]["query"] == {"language": "lucene", "query": ""}

    def test_addresses_differ(self) -> None:
        """Runs with different ids have different addresses, also those whose ids imitate an address."""
        ids = {*HOSTILE, *random_ids(2000), "a_b", "a~b", "a#b", "it_s", ""}
        ids |= {address_of(run_id) for run_id in ids}
        addresses = {address_of(run_id) for run_id in ids}
        assert len(addresses) == len(ids)
        assert NO_RUN not in addresses

    def test_an_address_needs_no_code(self) -> None:
        """A message of a monitor inserts it into a link as it is."""
        for run_id in ("night/17", *HOSTILE, *random_ids(300)):
            link = f"http://dashboards:5601/app/dashboards{run_board(OpenSearchSettings(), address_of(run_id))}"
            assert chosen(state_of(link).states) == [{"match_phrase": {"triage.run.address": address_of(run_id)}}]

    @pytest.mark.parametrize(("days", "since"), [(365.0, "now-396d"), (10.5, "now-42d"), (None, "now-3650d")])
    def test_links_look_back_as_long_as_verdicts_are_kept(self, days: float | None, since: str) -> None:
        """An index is deleted when the last day of its month is too old; the board opens with the same time range."""
        settings = OpenSearchSettings(verdicts_max_age_days=days)
        states = state_of(f"http://x/{run_board(settings, 'a')}").states
        assert states["_g"]["time"] == {"from": since, "to": "now"}
        (board,) = [each for each in saved_objects(settings) if (each["type"], each["id"]) == ("dashboard", "triage-run")]
        assert board["attributes"]["timeFrom"] == since

    def test_no_run_is_shown_until_one_is_chosen(self) -> None:
        """The board of one run opens with a filter of its chooser that no run matches; choosing a run replaces it."""
        source = json.loads(OBJECTS["dashboard", "triage-run"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
        (none,) = source["filter"]
        assert none["query"] == {"match_phrase": {"triage.run.address": NO_RUN}}
        (control,) = json.loads(OBJECTS["visualization", "triage-choose-run"]["visState"])["params"]["controls"]
        assert (control["id"], control["fieldName"]) == (none["meta"]["controlledBy"], "triage.run.address")
        (linked,) = clicked(LINKED[0][2], "night/17").states["_a"]["filters"]
        assert linked["meta"]["controlledBy"] == control["id"]

    def test_each_board_leads_to_all_others(self) -> None:
        """The strip has a relative link to each board, so that it works under any path."""
        text = json.loads(OBJECTS["visualization", "triage-navigation"]["visState"])["params"]["markdown"]
        links = [part.partition(")")[0] for part in text.split("](")[1:]]
        assert links == [f"#/view/triage-{board.name}" for board in BOARDS]
        assert all(("dashboard", link.rpartition("/")[2]) in OBJECTS for link in links)
        assert all(board.panels[0].name == "navigation" for board in BOARDS)


class TestRison:
    @pytest.mark.parametrize(
        ("text", "value"),
        [("(a:!t,b:!(!n,-1,2),'c d':'e!'f!!')", {"a": True, "b": [None, -1, 2], "c d": "e'f!"}), ("now-7d", "now-7d"),
         ("()", {}), ("!()", [])],
    )  # fmt: skip
    def test_model(self, text: str, value: Any) -> None:
        """The model reads what Dashboards writes, with names in and without quotation marks."""
        assert parse_rison(text) == value
        assert parse_rison(rison(value)) == value

    @pytest.mark.parametrize("text", ["'it's'", "'a!b'", "(a:'b)", "(a)", "a b", "", "'a'b"])
    def test_model_is_strict(self, text: str) -> None:
        with pytest.raises((ValueError, KeyError)):
            parse_rison(text)
