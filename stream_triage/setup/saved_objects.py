"""Dashboards as tables in; saved objects of OpenSearch Dashboards out (format 7.10, which 2.x and 3.x read)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.dashboards import BOARDS, GRID_WIDTH, Board, Panel

__all__ = ["ndjson", "saved_objects"]

# Versions that an export of Dashboards gives for these types, so that it does not convert the objects on import.
MIGRATED: Final = {"index-pattern": "7.6.0", "visualization": "7.10.0", "search": "7.9.3", "dashboard": "7.9.3"}
COLOURS: Final = {"Pass": "#54B399", "L0_L1": "#E7664C", "L2": "#D6BF57", "L3": "#6092C0", "core_other": "#9170B8",
                  "unknown": "#98A2B3"}  # fmt: skip


def saved_objects(settings: OpenSearchSettings) -> list[dict[str, Any]]:
    """Returns all saved objects: index patterns first, panels before the boards that refer to them."""
    prefix = settings.index_prefix
    objects = [_pattern(prefix, kind) for kind in ("verdicts", "lines", "templates", "workers")]
    for board in BOARDS:
        objects += [_panel(prefix, panel) for panel in board.panels]
        objects.append(_board(prefix, board))
    return objects


def ndjson(objects: Sequence[Mapping[str, Any]]) -> bytes:
    """Returns the file that the import page and the API of Dashboards accept."""
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in objects)


def _object(kind: str, name: str, attributes: dict[str, Any], references: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    return {
        "id": name,
        "type": kind,
        "attributes": attributes,
        "references": list(references),
        "migrationVersion": {kind: MIGRATED[kind]},
    }


def _pattern(prefix: str, kind: str) -> dict[str, Any]:
    attributes = {"title": f"{prefix}-{kind}" + ("" if kind == "templates" else "-*")}
    if kind != "templates":
        attributes["timeFieldName"] = "@timestamp"
    if kind != "workers":
        # A click on a run id opens the board of that run; Dashboards escapes the value for the address.
        board = f"/app/dashboards#/view/{prefix}-run?_g=(time:(from:now-90d,to:now))"
        address = f"{board}&_a=(query:(language:lucene,query:'triage.run.key:%22{{{{value}}}}%22'))"
        link = {"urlTemplate": address, "labelTemplate": "{{rawValue}}", "openLinkInCurrentTab": True}
        formats = {field: {"id": "url", "params": link} for field in ("triage.run.id", "triage.run.key")}
        attributes["fieldFormatMap"] = json.dumps(formats)
    return _object("index-pattern", f"{prefix}-{kind}", attributes)


def _panel(prefix: str, panel: Panel) -> dict[str, Any]:
    """Returns a saved search for a list of documents, else a visualisation."""
    titles = {"title": f"Triage: {panel.title}", "description": "", "version": 1}
    query = {"query": {"query": panel.query, "language": "lucene"}, "filter": []}
    index = "kibanaSavedObjectMeta.searchSourceJSON.index"
    references = [{"name": index, "type": "index-pattern", "id": f"{prefix}-{panel.pattern}"}]
    meta = {"searchSourceJSON": json.dumps({**query, "indexRefName": index})}
    if panel.columns:
        listed = {"columns": list(panel.columns), "sort": [list(pair) for pair in panel.sort], "hits": 0}
        return _object("search", f"{prefix}-{panel.name}", {**titles, **listed, "kibanaSavedObjectMeta": meta}, references)
    state = {"title": titles["title"], "type": panel.kind, "params": _params(panel), "aggs": _aggs(panel)}
    if panel.controls:
        references = [{**references[0], "name": f"control_{number}_index_pattern"} for number in range(len(panel.controls))]
        meta = {"searchSourceJSON": json.dumps(query)}
    colours = {"vis": {"colors": COLOURS}} if any(agg.field == "triage.label" for agg in panel.aggs) else {}
    drawn = {"visState": json.dumps(state), "uiStateJSON": json.dumps(colours), "kibanaSavedObjectMeta": meta}
    return _object("visualization", f"{prefix}-{panel.name}", {**titles, **drawn}, references)


def _aggs(panel: Panel) -> list[dict[str, Any]]:
    return [
        {
            "id": str(number),
            "enabled": True,
            "type": agg.kind,
            "schema": agg.schema,
            "params": {**({"field": agg.field} if agg.field else {}), "customLabel": agg.label, **agg.params},
        }
        for number, agg in enumerate(panel.aggs, 1)
    ]


def _board(prefix: str, board: Board) -> dict[str, Any]:
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
                "embeddableConfig": {"title": panel.title},
                "panelRefName": f"panel_{number}",
            }
        )
        kind = "search" if panel.columns else "visualization"
        references.append({"name": f"panel_{number}", "type": kind, "id": f"{prefix}-{panel.name}"})
        x, tallest = x + panel.width, max(tallest, panel.height)
    query = {"query": {"query": "", "language": "lucene"}, "filter": []}
    attributes = {
        "title": board.title,
        "description": board.about,
        "hits": 0,
        "version": 1,
        "panelsJSON": json.dumps(panels),
        "optionsJSON": json.dumps({"hidePanelTitles": False, "useMargins": True}),
        "timeRestore": True,
        "timeFrom": board.since,
        "timeTo": "now",
        "refreshInterval": {"pause": False, "value": 60_000},
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(query)},
    }
    return _object("dashboard", f"{prefix}-{board.name}", attributes, references)


def _params(panel: Panel) -> dict[str, Any]:
    """Returns how the visualisation is drawn: the values with which its editor in Dashboards begins."""
    if panel.controls:
        return _control_params(panel)
    if panel.kind == "table":
        return _TABLE
    if panel.kind == "metric":
        return _METRIC
    if panel.kind == "pie":
        return _PIE
    return _chart_params(panel)


_LEGEND: Final = {"addTooltip": True, "addLegend": True, "legendPosition": "right"}
_TABLE: Final = {"perPage": 10, "showPartialRows": False, "showMetricsAtAllLevels": False, "showTotal": False,
                 "totalFunc": "sum", "percentageCol": "", "sort": {"columnIndex": None, "direction": None}}  # fmt: skip
_METRIC: Final = {
    "type": "metric",
    "addTooltip": True,
    "addLegend": False,
    "metric": {
        "percentageMode": False,
        "useRanges": False,
        "colorSchema": "Green to Red",
        "metricColorMode": "None",
        "colorsRange": [{"from": 0, "to": 10_000}],
        "labels": {"show": True},
        "invertColors": False,
        "style": {"bgFill": "#000", "bgColor": False, "labelColor": False, "subText": "", "fontSize": 36},
    },
}
_PIE: Final = {
    "type": "pie",
    **_LEGEND,
    "isDonut": True,
    "labels": {"show": True, "values": True, "last_level": True, "truncate": 100},
}


def _control_params(panel: Panel) -> dict[str, Any]:
    options = {"type": "terms", "multiselect": False, "dynamicOptions": True, "size": 100, "order": "desc"}
    controls = [
        {
            "id": str(number),
            "fieldName": field,
            "label": label,
            "type": "list",
            "parent": "",
            "options": options,
            "indexPatternRefName": f"control_{number}_index_pattern",
        }
        for number, (label, field) in enumerate(panel.controls)
    ]
    return {"controls": controls, "updateFiltersOnChange": True, "useTimeFilter": True, "pinFilters": False}


def _chart_params(panel: Panel) -> dict[str, Any]:
    label = panel.aggs[0].label
    bottom = {"id": "CategoryAxis-1", "type": "category", "position": "bottom", "show": True, "style": {}, "title": {},
              "scale": {"type": "linear"}, "labels": {"show": True, "filter": True, "truncate": 100}}  # fmt: skip
    left = {"id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "position": "left", "show": True, "style": {},
            "scale": {"type": "linear", "mode": "normal"}, "title": {"text": label},
            "labels": {"show": True, "rotate": 0, "filter": False, "truncate": 100}}  # fmt: skip
    series = {"show": True, "type": panel.kind, "mode": "normal" if panel.kind == "line" else "stacked",
              "data": {"label": label, "id": "1"}, "valueAxis": "ValueAxis-1", "drawLinesBetweenPoints": True,
              "lineWidth": 2, "showCircles": True}  # fmt: skip
    return {
        "type": panel.kind,
        **_LEGEND,
        "grid": {"categoryLines": False},
        "categoryAxes": [bottom],
        "valueAxes": [left],
        "seriesParams": [series],
        "times": [],
        "addTimeMarker": False,
        "labels": {"show": False},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
    }
