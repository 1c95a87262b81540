"""Saved objects of Dashboards without a server: how boards are laid out, exported and imported."""

import json
from pathlib import Path

from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.dashboards import BOARDS, GRID_WIDTH
from stream_triage.setup.saved_objects import saved_objects
from tests.commands import call

OBJECTS = {(each["type"], each["id"]): each for each in saved_objects(OpenSearchSettings())}


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
