"""Saved objects of Dashboards without a server: how boards are laid out and exported."""

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
        names = [panel.name for board in BOARDS for panel in board.panels]
        assert len(set(names)) == len(names)

    def test_links_lead_to_a_board(self) -> None:
        saved = OBJECTS["index-pattern", "triage-verdicts"]["attributes"]
        for field in json.loads(saved["fieldFormatMap"]).values():
            board = field["params"]["urlTemplate"].partition("?")[0].rpartition("/")[2]
            assert ("dashboard", board) in OBJECTS

    def test_export(self, tmp_path: Path) -> None:
        """`setup opensearch --export` writes all objects, one a line, as the import page of Dashboards reads them."""
        result = call("setup", "opensearch", "--export", tmp_path / "triage.ndjson")
        lines = (tmp_path / "triage.ndjson").read_text().splitlines()
        assert result.out == f"wrote {len(lines)} objects to {tmp_path}/triage.ndjson\n"
        assert [json.loads(line) for line in lines] == saved_objects(OpenSearchSettings())
        assert call("setup", "opensearch", "--export", tmp_path / "no" / "x").code == 2
