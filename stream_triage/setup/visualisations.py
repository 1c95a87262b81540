"""Panels in; saved visualisations of OpenSearch Dashboards out (format 7.10, which 2.x and 3.x read)."""

import json
from collections.abc import Sequence
from typing import Any, Final

from stream_triage.setup.dashboards import Panel

__all__ = ["panel_object", "saved_object"]

# Versions that an export of Dashboards gives for these types, so that it does not convert the objects on import.
MIGRATED: Final = {"index-pattern": "7.6.0", "visualization": "7.10.0", "dashboard": "7.9.3"}
COLOURS: Final = {"Pass": "#54B399", "L0_L1": "#E7664C", "L2": "#D6BF57", "L3": "#6092C0", "core_other": "#9170B8",
                  "unknown": "#98A2B3"}  # fmt: skip
INDEX: Final = "kibanaSavedObjectMeta.searchSourceJSON.index"


def saved_object(
    kind: str, name: str, attributes: dict[str, Any], references: Sequence[dict[str, str]] = ()
) -> dict[str, Any]:
    """Returns a saved object as the import of Dashboards accepts it."""
    return {
        "id": name,
        "type": kind,
        "attributes": attributes,
        "references": list(references),
        "migrationVersion": {kind: MIGRATED[kind]},
    }


def panel_object(prefix: str, panel: Panel) -> dict[str, Any]:
    """Returns a panel as a saved visualisation."""
    titles = {"title": f"Triage: {panel.title}", "description": "", "version": 1}
    query = {"query": {"query": panel.query, "language": "lucene"}, "filter": []}
    references = [{"name": INDEX, "type": "index-pattern", "id": f"{prefix}-{panel.pattern}"}]
    meta = {"searchSourceJSON": json.dumps({**query, "indexRefName": INDEX})}
    if not panel.aggs:
        # Vega and Markdown have no index pattern of their own; each control has one.
        meta = {"searchSourceJSON": json.dumps({"query": {"query": "", "language": "lucene"}, "filter": []})}
        references = [{**references[0], "name": f"control_{number}_index_pattern"} for number in range(len(panel.controls))]
    state = {"title": titles["title"], "type": panel.kind, "params": _params(prefix, panel), "aggs": _aggs(panel)}
    ui_state = json.dumps({"vis": _ui_state(panel)} if _ui_state(panel) else {})
    drawn = {"visState": json.dumps(state), "uiStateJSON": ui_state, "kibanaSavedObjectMeta": meta}
    return saved_object("visualization", f"{prefix}-{panel.name}", {**titles, **drawn}, references)


def _ui_state(panel: Panel) -> dict[str, Any]:
    if panel.widths:
        return {"columnsWidth": [{"colIndex": index, "width": width} for index, width in enumerate(panel.widths)]}
    if panel.kind != "table" and any(agg.field == "triage.label" for agg in panel.aggs):
        return {"colors": COLOURS}
    return {}


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


def _params(prefix: str, panel: Panel) -> dict[str, Any]:
    """Returns how the visualisation is drawn: the values with which its editor in Dashboards begins."""
    if panel.vega:
        return {"spec": json.dumps(panel.vega(prefix), indent=1)}
    if panel.text:
        return {"markdown": panel.text(prefix), "fontSize": 12, "openLinksInNewTab": False}
    if panel.controls:
        return _control_params(panel)
    if panel.kind == "table":
        return {**_TABLE, "perPage": panel.rows}
    return _bar_params(panel) if panel.kind == "horizontal_bar" else _chart_params(panel)


_LEGEND: Final = {"addTooltip": True, "addLegend": True, "legendPosition": "right"}
_TABLE: Final = {"showPartialRows": False, "showMetricsAtAllLevels": False, "showTotal": False,
                 "totalFunc": "sum", "percentageCol": "", "sort": {"columnIndex": None, "direction": None}}  # fmt: skip


def _control_params(panel: Panel) -> dict[str, Any]:
    options = {"type": "terms", "multiselect": False, "dynamicOptions": True, "size": 100, "order": "desc"}
    controls = [
        {
            "id": name,
            "fieldName": field,
            "label": label,
            "type": "list",
            "parent": "",
            "options": options,
            "indexPatternRefName": f"control_{number}_index_pattern",
        }
        for number, (name, label, field) in enumerate(panel.controls)
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


def _bar_params(panel: Panel) -> dict[str, Any]:
    """Horizontal bars, whose labels have room; a colour for each label if there is a group."""
    params = _chart_params(panel)
    params["type"] = params["seriesParams"][0]["type"] = "histogram"
    (category,), (value,) = params["categoryAxes"], params["valueAxes"]
    category |= {"position": "left", "labels": {"show": True, "rotate": 0, "filter": False, "truncate": 200}}
    value |= {"position": "bottom", "labels": {"show": True, "rotate": 0, "filter": True, "truncate": 100}}
    grouped = any(agg.schema == "group" for agg in panel.aggs)
    return {**params, "addLegend": grouped, "labels": {"show": not grouped}}
