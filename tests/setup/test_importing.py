"""The import of saved objects into a stand-in for Dashboards, and what people changed there."""

import http.client
import json
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from stream_triage.clients.memory.search import MemorySearchServer
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup import importing
from stream_triage.setup.changes import Changes
from stream_triage.setup.importing import import_dashboards
from stream_triage.setup.installed import Installed
from stream_triage.setup.saved_objects import saved_objects
from tests.services.plugins import Dashboards, serving
from tests.setup.cluster import Cluster

OBJECTS = {(each["type"], each["id"]): each for each in saved_objects(OpenSearchSettings())}
BOARD = OBJECTS["dashboard", "triage-overview"]
# The visualisation that comes first on this board.
PANEL, TOP = next(
    (each["id"], panel["gridData"]["y"])
    for panel in json.loads(BOARD["attributes"]["panelsJSON"])[:1]
    for each in BOARD["references"]
    if each["name"] == panel["panelRefName"]
)


class SetUp(Protocol):
    def __call__(self, answer: Callable[..., tuple[int, Any]], **settings: Any) -> Changes: ...


def copies() -> Installed:
    return Installed(MemorySearchServer(), "triage")


@pytest.fixture
def dashboards() -> Dashboards:
    return Dashboards()


@pytest.fixture
def set_up() -> SetUp:
    """Imports into what answers; all imports of a test share their copies."""
    memory = MemorySearchServer()

    def set_up(answer: Callable[..., tuple[int, Any]], **settings: Any) -> Changes:
        changes = Changes(settings.pop("dry_run", False))
        with serving(answer) as url:
            given = OpenSearchSettings(dashboards_url=url, **settings)
            import_dashboards(given, changes, Installed(memory, "triage"))
        return changes

    return set_up


class TestImport:
    def test_all_objects_are_imported_once(self, dashboards: Dashboards, set_up: SetUp) -> None:
        """A dry run imports nothing, and a second run finds nothing to do."""
        planned = set_up(dashboards.answer, dry_run=True)
        assert (len(planned.done), dashboards.imported) == (1, [])
        made = set_up(dashboards.answer)
        assert (made.failed, len(made.done), len(dashboards.imported)) == ([], 1, len(OBJECTS))
        assert dashboards.objects.keys() == OBJECTS.keys()
        again = set_up(dashboards.answer)
        assert (again.done, again.failed, len(dashboards.imported)) == ([], [], len(OBJECTS))

    def test_missing_objects_are_imported(self, dashboards: Dashboards, set_up: SetUp) -> None:
        """And no others."""
        set_up(dashboards.answer)
        del dashboards.objects["dashboard", "triage-overview"], dashboards.objects["visualization", PANEL]
        dashboards.imported.clear()
        (done,) = set_up(dashboards.answer).done
        assert done.startswith("import 2 objects into http://127.0.0.1:")
        assert done.endswith(": Triage: overview")
        assert dashboards.imported == [PANEL, "triage-overview"]

    def test_user_and_password_are_sent(self, dashboards: Dashboards, set_up: SetUp) -> None:
        set_up(dashboards.answer, user="u", password="Secret-1")
        assert {headers["Authorization"] for headers in dashboards.headers} == {"Basic dTpTZWNyZXQtMQ=="}
        assert all(headers["osd-xsrf"] for headers in dashboards.headers)

    def test_rejected_objects_are_reported(self, dashboards: Dashboards, set_up: SetUp) -> None:
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
            (200, {"saved_objects": [{"type": "dashboard", "id": "triage-overview", "attributes": 1}]}, "is it OpenSearch"),
        ],
    )
    def test_bad_responses_are_reported(self, status: int, body: Any, reason: str, set_up: SetUp) -> None:
        """With the remedy and without the password; a redirect is not followed."""
        asked = []

        def answer(method: str, path: str, *_: Any) -> tuple[int, Any]:
            asked.append(path)
            return status, body

        (failed,) = set_up(answer, user="u", password="Secret-1").failed
        assert reason in failed
        assert "Secret" not in failed
        assert asked == ["/api/saved_objects/_bulk_get"]

    def test_damaged_objects_are_reported(self, dashboards: Dashboards, set_up: SetUp) -> None:
        set_up(dashboards.answer)
        dashboards.attributes("visualization", PANEL)["visState"] = "{"
        (failed,) = set_up(dashboards.answer).failed
        assert "contains no valid JSON" in failed

    def test_no_response(self) -> None:
        changes = Changes()
        import_dashboards(OpenSearchSettings(dashboards_url="http://127.0.0.1:9"), changes, copies())
        assert "check opensearch.dashboards_url" in changes.failed[0]

    def test_a_response_that_breaks_off(
        self, dashboards: Dashboards, set_up: SetUp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """For example because Dashboards is restarted."""

        def cut(response: Any) -> Any:
            raise http.client.IncompleteRead(b"{")

        monkeypatch.setattr("stream_triage.setup.importing.json.load", cut)
        (failed,) = set_up(lambda *_: (200, {})).failed
        assert "no valid response" in failed

    def test_no_address(self) -> None:
        changes = Changes()
        import_dashboards(OpenSearchSettings(), changes, copies())
        assert changes.skipped == [
            "dashboards: opensearch.dashboards_url is not set; or import the file that --export writes"
        ]


def changed(monkeypatch: pytest.MonkeyPatch, **changes: Callable[[dict[str, Any]], None]) -> None:
    """A later version of the product, which has changed the attributes of some objects, by id."""

    def later(settings: OpenSearchSettings) -> list[dict[str, Any]]:
        objects = saved_objects(settings)
        for each in objects:
            changes.get(each["id"].removeprefix("triage-"), lambda saved: None)(each)
        return objects

    monkeypatch.setattr(importing, "saved_objects", later)


def edit(attributes: dict[str, Any], name: str, change: Callable[[Any], Any]) -> None:
    """Changes an attribute that contains JSON."""
    value = json.loads(attributes[name])
    replaced = change(value)
    attributes[name] = json.dumps(value if replaced is None else replaced)


def formats(cluster: Cluster) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(cluster.dashboards.attributes("index-pattern", "triage-verdicts")["fieldFormatMap"])
    return content


def panels(cluster: Cluster, board: str = "triage-overview") -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(cluster.dashboards.attributes("dashboard", board)["panelsJSON"])
    return content


class TestManualChanges:
    def test_rewritten_patterns_are_no_changes(self, cluster: Cluster) -> None:
        """Dashboards writes the formats of fields anew whenever somebody opens a pattern."""
        cluster.set_up()
        for kind, name in OBJECTS:
            if kind == "index-pattern":
                cluster.dashboards.show(name)
        assert cluster.unchanged() == []

    def test_own_formats_stay(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also when a later version has another format for another field; scripted fields stay as well."""
        cluster.set_up()
        attributes = cluster.dashboards.attributes("index-pattern", "triage-verdicts")
        percent = {"id": "percent", "params": {"pattern": "0 %"}}
        edit(attributes, "fieldFormatMap", lambda formats: formats.update({"triage.confidence": percent}))
        attributes["fields"] = json.dumps(
            [{"name": "half", "scripted": True, "script": "doc['triage.confidence'].value / 2"}]
        )
        assert cluster.unchanged() == []
        new = {"triage.lines": {"id": "bytes"}}
        changed(
            monkeypatch, verdicts=lambda saved: edit(saved["attributes"], "fieldFormatMap", lambda known: known.update(new))
        )
        scripted = attributes["fields"]
        changes = cluster.set_up(dry_run=True)
        (details,) = changes.details.values()
        assert details == ['index-pattern triage-verdicts-*: format of triage.lines: nothing → {"id": "bytes"}']
        cluster.dashboards.show = lambda pattern: None  # type: ignore[method-assign]
        cluster.set_up()
        assert formats(cluster)["triage.confidence"] == percent
        assert formats(cluster)["triage.lines"] == {"id": "bytes"}
        assert cluster.dashboards.attributes("index-pattern", "triage-verdicts")["fields"] == scripted
        assert cluster.unchanged() == []

    def test_own_format_for_a_field_of_ours(self, cluster: Cluster) -> None:
        """It is kept, and named."""
        cluster.set_up()
        attributes = cluster.dashboards.attributes("index-pattern", "triage-verdicts")
        edit(attributes, "fieldFormatMap", lambda formats: formats.update({"triage.run.address": {"id": "string"}}))
        (kept,) = cluster.unchanged()
        assert kept.startswith("index-pattern triage-verdicts-*: format of triage.run.address was changed by someone to")
        cluster.set_up(reset=["index-pattern triage-verdicts-*"])
        assert formats(cluster)["triage.run.address"]["id"] == "url"

    def test_titles_and_added_panels_stay(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also when a later version moves the panels of the board and adds one where people's panel is."""
        cluster.set_up()
        saved = cluster.dashboards.objects["dashboard", "triage-overview"]
        saved["attributes"]["title"] = "our overview"
        own = {"panelRefName": "panel_own", "panelIndex": "9f", "gridData": {"x": 0, "y": 900, "w": 8, "h": 5, "i": "9f"}}
        edit(saved["attributes"], "panelsJSON", lambda panels: panels.append(own))
        saved["references"].append({"name": "panel_own", "type": "visualization", "id": "0123-of-somebody"})
        cluster.dashboards.objects["visualization", "0123-of-somebody"] = {"attributes": {}, "references": []}
        title = "dashboard Triage: overview: title was changed by someone to our overview; ours would be Triage: overview"
        assert cluster.unchanged() == [title]

        def later(board: dict[str, Any]) -> None:
            edit(board["attributes"], "panelsJSON", lambda panels: panels[0]["gridData"].update({"y": 898}))

        changed(monkeypatch, overview=later)
        changes = cluster.set_up()
        assert changes.kept == [title]
        assert list(changes.details.values()) == [
            [f"dashboard Triage: overview: panel visualization {PANEL}.gridData.y: {TOP} → 898"]
        ]
        saved = cluster.dashboards.objects["dashboard", "triage-overview"]
        assert saved["attributes"]["title"] == "our overview"
        shown = {each["name"]: each["id"] for each in saved["references"]}
        grids = {shown[panel["panelRefName"]]: panel["gridData"] for panel in panels(cluster)}
        assert grids[PANEL]["y"] == 898
        assert grids["0123-of-somebody"]["y"] >= 905
        assert cluster.unchanged() == [title]

    def test_removed_and_moved_panels_stay_so(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        cluster.set_up()
        attributes = cluster.dashboards.attributes("dashboard", "triage-overview")
        edit(attributes, "panelsJSON", lambda panels: panels.pop(0) and None)
        edit(attributes, "panelsJSON", lambda panels: panels[0]["gridData"].update({"h": 20}))
        first, second = cluster.unchanged()
        assert f"panel visualization {PANEL} was removed by someone" in first
        assert "was changed by someone to" in second
        changed(monkeypatch, overview=lambda board: board["attributes"].update(description="better"))
        assert len(cluster.set_up().done) == 1
        assert len(cluster.unchanged()) == 2
        assert panels(cluster)[0]["gridData"]["h"] == 20
        cluster.set_up(reset=["triage-overview"])
        assert cluster.unchanged() == []

    def test_references_that_no_panel_uses(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """They are left out: with the numbers of today they would stand in for other panels."""
        cluster.set_up()
        saved = cluster.dashboards.objects["dashboard", "triage-overview"]
        edit(saved["attributes"], "panelsJSON", lambda panels: panels.pop(0) and None)
        assert len(cluster.unchanged()) == 1
        changed(monkeypatch, overview=lambda board: board["attributes"].update(description="better"))
        cluster.set_up()
        references = [each["name"] for each in cluster.dashboards.objects["dashboard", "triage-overview"]["references"]]
        assert len(references) == len(set(references)) == len(panels(cluster))

    def test_a_changed_visualisation_stays(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody edits what is drawn; a later version that changes it, too, is named and does not win."""
        cluster.set_up()
        attributes = cluster.dashboards.attributes("visualization", PANEL)
        edit(attributes, "visState", lambda state: state.update(type="gauge"))
        assert len(cluster.unchanged()) == 1
        changed(
            monkeypatch, runs=lambda saved: edit(saved["attributes"], "visState", lambda state: state.update(type="goal"))
        )
        assert len(cluster.unchanged()) == 1
        assert json.loads(cluster.dashboards.attributes("visualization", PANEL)["visState"])["type"] == "gauge"

    def test_boards_of_a_version_without_copies(self, cluster: Cluster) -> None:
        """They become those of this version. Panels of ours that it no longer has go, as do formats that showed nothing.

        Panels of people stay.
        """
        cluster.set_up()
        memory = MemorySearchServer()
        saved = cluster.dashboards.objects["dashboard", "triage-overview"]
        for number, shown in enumerate(("triage-old", "0123-of-somebody")):
            panel = {"panelRefName": f"panel_x{number}", "panelIndex": "9", "gridData": {"x": 0, "y": 900, "w": 8, "h": 5}}
            edit(saved["attributes"], "panelsJSON", lambda panels, panel=panel: panels.append(panel))
            saved["references"].append({"name": f"panel_x{number}", "type": "visualization", "id": shown})
            cluster.dashboards.objects["visualization", shown] = {"attributes": {}, "references": []}
        saved["attributes"]["title"] = "Triage: old title"
        pattern = cluster.dashboards.attributes("index-pattern", "triage-verdicts")
        blank = {"triage.run.id": {"id": "url", "params": {"labelTemplate": "{{rawValue}}", "urlTemplate": "/app"}}}
        edit(pattern, "fieldFormatMap", lambda known: known.update(blank))
        changes = Changes()
        import_dashboards(cluster.settings, changes, Installed(memory, "triage"))
        assert "triage.run.id" not in formats(cluster)
        assert changes.details[changes.done[0]] == [
            "index-pattern triage-verdicts-*: format of triage.run.id: removed",
            "dashboard Triage: overview: title: Triage: old title → Triage: overview",
            "dashboard Triage: overview: panel visualization triage-old: removed",
        ]
        references = {each["id"] for each in cluster.dashboards.objects["dashboard", "triage-overview"]["references"]}
        assert "0123-of-somebody" in references
        assert "triage-old" not in references
