"""Dashboards as tables in; index patterns, panels and boards as saved objects of OpenSearch Dashboards out, and imported.

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
from stream_triage.setup.dashboards import BOARDS, GRID_WIDTH, Board
from stream_triage.setup.links import ADDRESS, NO_RUN, days_kept, run_board, run_filter
from stream_triage.setup.visualisations import panel_object, saved_object

__all__ = ["import_dashboards", "ndjson", "saved_objects"]

ERROR_CHARACTERS: Final = 300
_REMEDIES: Final = {
    401: "check opensearch.user and opensearch.password",
    403: "the user needs write access to saved objects",
}


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
