"""Dashboards as tables in; index patterns, panels and boards as saved objects of OpenSearch Dashboards out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.dashboards import BOARDS, GRID_WIDTH, Board
from stream_triage.setup.links import ADDRESS, NO_RUN, days_kept, run_board, run_filter
from stream_triage.setup.visualisations import panel_object, saved_object

__all__ = ["ndjson", "saved_objects"]


def saved_objects(settings: OpenSearchSettings) -> list[dict[str, Any]]:
    """Returns all saved objects: index patterns first, panels before the boards that refer to them."""
    prefix = settings.index_prefix
    objects = [_pattern(settings, kind) for kind in ("verdicts", "lines", "templates", "workers")]
    # A panel that several boards have is one object.
    panels = {panel.name: panel for board in BOARDS for panel in board.panels}
    objects += [panel_object(prefix, panel) for panel in panels.values()]
    return objects + [_board(settings, board) for board in BOARDS]


def ndjson(objects: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns the file that the import page and the API of Dashboards accept."""
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in objects)


def _pattern(settings: OpenSearchSettings, kind: str) -> dict[str, Any]:
    prefix = settings.index_prefix
    attributes = {"title": f"{prefix}-{kind}" + ("" if kind == "templates" else "-*")}
    if kind != "templates":
        attributes["timeFieldName"] = "@timestamp"
        formats = {"@timestamp": {"id": "date", "params": {"pattern": "YYYY-MM-DD HH:mm:ss"}}}
        if kind != "workers":
            formats |= _formats(settings)
        attributes["fieldFormatMap"] = json.dumps(formats)
    return saved_object("index-pattern", f"{prefix}-{kind}", attributes)


def _formats(settings: OpenSearchSettings) -> dict[str, Any]:
    """A click on a run opens its board, rates are in percent, and line numbers have no thousands separator.

    Dashboards completes an address that begins with `..` by the path that it is served under. A label can show no other
    field than that of the link, hence a field that is both: safe in an address, and readable.
    """
    link = {
        "type": "a",
        "urlTemplate": f"../app/dashboards{run_board(settings, '{{value}}')}",
        "labelTemplate": "{{value}}",
        "openLinkInCurrentTab": True,
    }
    percent = {"id": "percent", "params": {"pattern": "0 %"}}
    return {
        ADDRESS: {"id": "url", "params": link},
        "triage.failure_rate": percent,
        "triage.confidence": percent,
        "triage.number": {"id": "number", "params": {"pattern": "0"}},
    }


def _board(settings: OpenSearchSettings, board: Board) -> dict[str, Any]:
    prefix = settings.index_prefix
    panels, references, x, y, tallest = [], [], 0, 0, 0
    for number, panel in enumerate(board.panels):
        if x + panel.width > GRID_WIDTH:
            x, y, tallest = 0, y + tallest, 0
        panels.append(
            {
                "version": "3.0.0",
                "gridData": {"x": x, "y": y, "w": panel.width, "h": panel.height, "i": str(number)},
                "panelIndex": str(number),
                "title": panel.title,
                "embeddableConfig": {"title": panel.title, **({"hidePanelTitles": True} if panel.text else {})},
                "panelRefName": f"panel_{number}",
            }
        )
        references.append({"name": f"panel_{number}", "type": "visualization", "id": f"{prefix}-{panel.name}"})
        x, tallest = x + panel.width, max(tallest, panel.height)
    query: dict[str, Any] = {"query": {"query": "", "language": "lucene"}, "filter": []}
    if any(panel.controls for panel in board.panels):
        name = "kibanaSavedObjectMeta.searchSourceJSON.filter[0].meta.index"
        none = run_filter(f"{prefix}-verdicts", NO_RUN)
        references.append({"name": name, "type": "index-pattern", "id": none["meta"].pop("index")})
        query["filter"] = [{**none, "meta": {**none["meta"], "indexRefName": name}}]
    attributes = {
        "title": board.title,
        "description": board.about,
        "hits": 0,
        "version": 1,
        "panelsJSON": json.dumps(panels),
        "optionsJSON": json.dumps({"hidePanelTitles": False, "useMargins": True}),
        "timeRestore": True,
        "timeFrom": board.since or f"now-{days_kept(settings)}d",
        "timeTo": "now",
        "refreshInterval": {"pause": not board.refresh, "value": 60_000 if board.refresh else 0},
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(query)},
    }
    return saved_object("dashboard", f"{prefix}-{board.name}", attributes, references)
