"""Dashboards as tables in; saved objects of OpenSearch Dashboards out (format 7.10, which 2.x and 3.x read), and imported.

Only objects that differ are imported. What users save under names of their own is not touched.
"""

import json
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stream_triage.clients.http import opener
from stream_triage.errors import StoreError
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.dashboards import BOARDS, GRID_WIDTH, Board, Panel

__all__ = ["import_dashboards", "ndjson", "saved_objects"]

# Versions that an export of Dashboards gives for these types, so that it does not convert the objects on import.
MIGRATED: Final = {"index-pattern": "7.6.0", "visualization": "7.10.0", "search": "7.9.3", "dashboard": "7.9.3"}
COLOURS: Final = {"Pass": "#54B399", "L0_L1": "#E7664C", "L2": "#D6BF57", "L3": "#6092C0", "core_other": "#9170B8",
                  "unknown": "#98A2B3"}  # fmt: skip
ERROR_CHARACTERS: Final = 300
_REMEDIES: Final = {
    401: "check opensearch.user and opensearch.password",
    403: "the user needs write access to saved objects",
}


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


def import_dashboards(settings: OpenSearchSettings, changes: Changes) -> None:
    """Imports the objects that are missing or differ; notes in `changes` what was done or failed."""
    if settings.dashboards_url is None:
        changes.skip("dashboards: opensearch.dashboards_url is not set; or import the file that --export writes")
        return
    objects = saved_objects(settings)
    try:
        asked = [{"type": each["type"], "id": each["id"]} for each in objects]
        response = _request(settings, "_bulk_get", json.dumps(asked).encode(), "application/json")
        known = {(each["type"], each["id"]): each for each in response["saved_objects"] if "error" not in each}
        different = [each for each in objects if _differs(each, known.get((each["type"], each["id"])))]
        if different and changes.note(_import_words(settings, different)):
            _import(settings, different)
    except (KeyError, TypeError) as error:
        changes.fail(f"dashboards: the response of {settings.dashboards_url} lacks {error}; is it OpenSearch Dashboards?")
    except StoreError as error:
        changes.fail(f"dashboards: {error}")


def _import_words(settings: OpenSearchSettings, objects: Sequence[Mapping[str, Any]]) -> str:
    boards = [each["attributes"]["title"] for each in objects if each["type"] == "dashboard"]
    return f"import {len(objects)} objects into {settings.dashboards_url}" + (f": {', '.join(boards)}" if boards else "")


def _import(settings: OpenSearchSettings, objects: Sequence[Mapping[str, Any]]) -> None:
    from urllib3.filepost import encode_multipart_formdata  # belongs to the extra opensearch

    body, content_type = encode_multipart_formdata({"file": ("triage.ndjson", ndjson(objects), "application/ndjson")})
    response = _request(settings, "_import?overwrite=true", body, content_type)
    if not response["success"]:
        errors = json.dumps(response.get("errors"))[:ERROR_CHARACTERS]
        raise StoreError(f"Dashboards rejected some objects: {errors}")


def _request(settings: OpenSearchSettings, path: str, body: bytes, content_type: str) -> Any:
    """Sends one request to the API of saved objects; raises `StoreError` with the remedy."""
    address = str(settings.dashboards_url).rstrip("/")
    headers = {"Content-Type": content_type, "osd-xsrf": "stream-triage", "securitytenant": "global"}
    if settings.user is not None and settings.password is not None:
        pair = f"{settings.user}:{settings.password.get_secret_value()}".encode()
        headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
    try:
        context = ssl.create_default_context(cafile=settings.ca_file) if address.startswith("https:") else None
        request = urllib.request.Request(f"{address}/api/saved_objects/{path}", body, headers)  # noqa: S310 - http(s), by the setting
        with opener(context).open(request, timeout=settings.timeout_seconds) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        remedy = _REMEDIES.get(error.code, "check opensearch.dashboards_url")
        raise StoreError(f"{settings.dashboards_url} responded with status {error.code}; {remedy}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise StoreError(
            f"no valid response from {settings.dashboards_url}: {reason}; check opensearch.dashboards_url"
        ) from None


def _differs(wanted: Mapping[str, Any], known: Mapping[str, Any] | None) -> bool:
    if known is None:
        return True
    same = all(known["attributes"].get(name) == value for name, value in wanted["attributes"].items())
    return not same or _sorted_references(known) != _sorted_references(wanted)


def _sorted_references(saved: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return sorted((each["name"], each["type"], each["id"]) for each in saved["references"])


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
