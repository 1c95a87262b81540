"""Saved objects of Dashboards without a server: how boards are laid out, exported and imported."""

import json
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest

from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.dashboards import BOARDS, GRID_WIDTH
from stream_triage.setup.saved_objects import import_dashboards, saved_objects
from tests.commands import call
from tests.services.plugins import serving

OBJECTS = {(each["type"], each["id"]): each for each in saved_objects(OpenSearchSettings())}


class MemoryDashboards:
    """The API of saved objects; keeps what is imported, and each request."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.imported: list[str] = []
        self.headers: list[Any] = []

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
        self.headers.append(headers)
        if path == "/api/saved_objects/_bulk_get":
            asked = [(each["type"], each["id"]) for each in json.loads(body)]
            missing = {"error": {"statusCode": 404}}
            return 200, {
                "saved_objects": [self.objects.get(key) or {"type": key[0], "id": key[1], **missing} for key in asked]
            }
        assert (method, path) == ("POST", "/api/saved_objects/_import?overwrite=true")
        message = BytesParser().parsebytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body)
        (part,) = message.get_payload()
        assert (part.get_filename(), part.get_content_type()) == ("triage.ndjson", "application/ndjson")
        for line in part.get_payload(decode=True).splitlines():
            each = json.loads(line)
            self.imported.append(each["id"])
            self.objects[each["type"], each["id"]] = each
        return 200, {"success": True}


@pytest.fixture
def dashboards() -> MemoryDashboards:
    return MemoryDashboards()


def set_up(answer: Callable[..., tuple[int, Any]], **settings: Any) -> Changes:
    changes = Changes(settings.pop("dry_run", False))
    with serving(answer) as url:
        import_dashboards(OpenSearchSettings(dashboards_url=url, **settings), changes)
    return changes


class TestBoards:
    def test_panels_are_beside_each_other(self) -> None:
        """None overlaps another or leaves the grid, and each reference leads to an object."""
        for (kind, _), saved in OBJECTS.items():
            assert all((to["type"], to["id"]) in OBJECTS for to in saved["references"])
            if kind != "dashboard":
                continue
            names = {to["name"] for to in saved["references"]}
            taken: set[tuple[int, int]] = set()
            for panel in json.loads(saved["attributes"]["panelsJSON"]):
                assert panel["panelRefName"] in names
                grid = panel["gridData"]
                columns, rows = range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
                cells = {(x, y) for x in columns for y in rows}
                assert not cells & taken
                assert max(columns) < GRID_WIDTH
                taken |= cells

    def test_names_of_panels_are_unique(self) -> None:
        """Panels of the same name are the same one, which several boards have."""
        panels = [panel for board in BOARDS for panel in board.panels]
        assert len({panel.name for panel in panels}) == len(set(map(id, panels)))

    def test_pages_of_tables_fit(self) -> None:
        """A panel is high enough for a page of its table: no row is hidden below its edge."""
        for panel in (panel for board in BOARDS for panel in board.panels):
            if panel.kind == "table":
                assert panel.rows >= 5, panel.name
                assert panel.height * 28 - 8 >= 154 + 34 * panel.rows, panel.name

    def test_columns_have_words(self) -> None:
        """No heading is the name of a field, and there is one width for each column of a table that sets them."""
        for panel in (panel for board in BOARDS for panel in board.panels):
            assert all(agg.label and "." not in agg.label for agg in panel.aggs), panel.name
            assert len(panel.widths) in (0, len(panel.aggs)), panel.name

    def test_no_pies(self) -> None:
        """Labels of pies are cut off, and shares are hard to compare."""
        kinds = {panel.kind for board in BOARDS for panel in board.panels}
        assert kinds == {"markdown", "vega", "table", "histogram", "horizontal_bar", "line", "input_control_vis"}

    def test_terms_come_before_time(self) -> None:
        """Then a chart has the same few terms in every bucket of time; they are ordered by count."""
        for panel in (panel for board in BOARDS for panel in board.panels):
            kinds = [agg.kind for agg in panel.aggs]
            if "date_histogram" in kinds:
                assert kinds.index("terms") < kinds.index("date_histogram"), panel.name
                assert all(agg.params["size"] <= 10 for agg in panel.aggs if agg.kind == "terms"), panel.name

    def test_one_run_is_not_drawn_again(self) -> None:
        """A page that somebody reads does not jump every minute."""
        intervals = {
            board.name: OBJECTS["dashboard", f"triage-{board.name}"]["attributes"]["refreshInterval"] for board in BOARDS
        }
        assert intervals.pop("run") == {"pause": True, "value": 0}
        assert {interval["value"] for interval in intervals.values()} == {60_000}

    def test_formats(self) -> None:
        """Rates are in percent, and times to the second."""
        formats = json.loads(OBJECTS["index-pattern", "triage-verdicts"]["attributes"]["fieldFormatMap"])
        assert formats["triage.failure_rate"] == formats["triage.confidence"] == {
            "id": "percent", "params": {"pattern": "0 %"}}  # fmt: skip
        for kind in ("verdicts", "lines", "workers"):
            formats = json.loads(OBJECTS["index-pattern", f"triage-{kind}"]["attributes"]["fieldFormatMap"])
            assert formats["@timestamp"]["params"]["pattern"].endswith("HH:mm:ss")

    def test_export(self, tmp_path: Path) -> None:
        """`setup opensearch --export` writes all objects, one a line, as the import page of Dashboards reads them."""
        result = call("setup", "opensearch", "--export", tmp_path / "triage.ndjson")
        lines = (tmp_path / "triage.ndjson").read_text().splitlines()
        assert result.out == f"wrote {len(lines)} objects to {tmp_path}/triage.ndjson\n"
        assert [json.loads(line) for line in lines] == saved_objects(OpenSearchSettings())
        assert call("setup", "opensearch", "--export", tmp_path / "no" / "x").code == 2


class TestImport:
    def test_all_objects_are_imported_once(self, dashboards: MemoryDashboards) -> None:
        """A dry run imports nothing, and a second run finds nothing to do."""
        planned = set_up(dashboards.answer, dry_run=True)
        assert (len(planned.done), dashboards.imported) == (1, [])
        made = set_up(dashboards.answer)
        assert (made.failed, len(made.done), len(dashboards.imported)) == ([], 1, len(OBJECTS))
        assert dashboards.objects == OBJECTS
        again = set_up(dashboards.answer)
        assert (again.done, again.failed, len(dashboards.imported)) == ([], [], len(OBJECTS))

    def test_only_changed_objects_are_imported(self, dashboards: MemoryDashboards) -> None:
        """A title that somebody changed, and a reference that leads elsewhere."""
        set_up(dashboards.answer)
        dashboards.objects["dashboard", "triage-overview"]["attributes"]["title"] = "mine"
        dashboards.objects["visualization", "triage-label-cause"]["references"][0]["id"] = "other"
        dashboards.imported.clear()
        (done,) = set_up(dashboards.answer).done
        assert done.startswith("import 2 objects into http://127.0.0.1:")
        assert done.endswith(": Triage: overview")
        assert dashboards.imported == ["triage-label-cause", "triage-overview"]

    def test_what_users_added_stays(self, dashboards: MemoryDashboards) -> None:
        """Other attributes of an object, such as those that Dashboards adds itself, are no difference."""
        set_up(dashboards.answer)
        dashboards.objects["dashboard", "triage-overview"]["attributes"]["control"] = {}
        assert set_up(dashboards.answer).done == []

    def test_user_and_password_are_sent(self, dashboards: MemoryDashboards) -> None:
        set_up(dashboards.answer, user="u", password="Secret-1")
        assert {headers["Authorization"] for headers in dashboards.headers} == {"Basic dTpTZWNyZXQtMQ=="}
        assert all(headers["osd-xsrf"] for headers in dashboards.headers)

    def test_rejected_objects_are_reported(self, dashboards: MemoryDashboards) -> None:
        def answer(method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
            if "_import" in path:
                return 200, {"success": False, "errors": [{"id": "triage-runs"}]}
            return dashboards.answer(method, path, body, headers)

        assert set_up(answer).failed == ['dashboards: Dashboards rejected some objects: [{"id": "triage-runs"}]']

    @pytest.mark.parametrize(
        ("status", "body", "reason"),
        [
            (302, {}, "status 302"),
            (401, {}, "opensearch.password"),
            (403, {}, "write access"),
            (500, {}, "status 500"),
            (200, b"<html>Log in</html>", "no valid response"),
            (200, [], "is it OpenSearch Dashboards?"),
            (200, {"saved_objects": "x"}, "is it OpenSearch Dashboards?"),
        ],
    )
    def test_bad_responses_are_reported(self, status: int, body: Any, reason: str) -> None:
        """With the remedy and without the password; a redirect is not followed."""
        asked = []

        def answer(method: str, path: str, *_: Any) -> tuple[int, Any]:
            asked.append(path)
            return status, body

        (failed,) = set_up(answer, user="u", password="Secret-1").failed
        assert reason in failed
        assert "Secret" not in failed
        assert asked == ["/api/saved_objects/_bulk_get"]

    def test_no_response(self) -> None:
        changes = Changes()
        import_dashboards(OpenSearchSettings(dashboards_url="http://127.0.0.1:9"), changes)
        assert "check opensearch.dashboards_url" in changes.failed[0]

    def test_no_address(self) -> None:
        changes = Changes()
        import_dashboards(OpenSearchSettings(), changes)
        assert changes.skipped == [
            "dashboards: opensearch.dashboards_url is not set; or import the file that --export writes"
        ]
