"""Dashboards of OpenSearch Dashboards, as its saved objects (version 7.10 of the format, which 2.x and 3.x read).

`saved_objects` makes them of the panels below; `make_dashboards` hands them to the import API of a running Dashboards.
"""

import json
import ssl
import urllib.error
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from stream_triage.clients.http import opener
from stream_triage.errors import StoreError
from stream_triage.records import CANARY
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes

__all__ = ["BOARDS", "Board", "Panel", "make_dashboards", "ndjson", "saved_objects"]

# Of its grid, which is 48 wide.
WIDTH: Final = 48
# What an export of Dashboards says of these types; it changes no object on import then.
MIGRATED: Final = {"index-pattern": "7.6.0", "visualization": "7.10.0", "search": "7.9.3", "dashboard": "7.9.3"}
COLOURS: Final = {"Pass": "#54B399", "L0_L1": "#E7664C", "L2": "#D6BF57", "L3": "#6092C0", "core_other": "#9170B8"}
MISSING: Final = "not told"
NOT_CANARY: Final = f"NOT test.case.name:{CANARY}"


class Agg(NamedTuple):
    """A metric or a bucket aggregation; `schema` is where the visualisation puts it."""

    kind: str
    schema: str
    field: str = ""
    label: str = ""
    params: Mapping[str, Any] = {}


class Panel(NamedTuple):
    """A visualisation, or a list of documents where it has `columns`, or choices where it has `controls`."""

    name: str
    title: str
    pattern: str = "verdicts"
    kind: str = "table"
    aggs: Sequence[Agg] = ()
    query: str = NOT_CANARY
    """In Lucene's syntax, which goes to the server as it is."""
    width: int = 24
    height: int = 14
    columns: Sequence[str] = ()
    sort: Sequence[Sequence[str]] = ()
    controls: Sequence[tuple[str, str]] = ()
    """Label and field of each choice."""


class Board(NamedTuple):
    name: str
    title: str
    about: str
    panels: Sequence[Panel]
    since: str = "now-7d"


COUNT: Final = Agg("count", "metric", label="Runs")
FAILURE_RATE: Final = Agg("avg", "metric", "triage.failed", "Failure rate")
BY_TIME: Final = Agg(
    "date_histogram", "segment", "@timestamp", "Time",
    {"useNormalizedOpenSearchInterval": True, "interval": "auto", "drop_partials": False, "min_doc_count": 1,
     "extended_bounds": {}},
)  # fmt: skip


def _terms(field: str, schema: str, label: str, size: int = 20, **params: Any) -> Agg:
    told = {"orderBy": "1", "order": "desc", "size": size, "otherBucket": False, "missingBucket": True,
            "missingBucketLabel": MISSING, "otherBucketLabel": "Other", **params}  # fmt: skip
    return Agg("terms", schema, field, label, told)


LABEL: Final = _terms("triage.label", "group", "Label")
RUN_COLUMNS: Final = ("triage.run.id", "triage.label", "triage.confidence", "triage.anomaly_score", "triage.cause",
                      "triage.team", "test.case.name", "triage.testbed")  # fmt: skip
NEWEST: Final = (("@timestamp", "desc"),)


def _number(name: str, title: str, query: str, width: int = 8) -> Panel:
    counted = f"({query}) AND {NOT_CANARY}" if query else NOT_CANARY
    return Panel(
        name, title, kind="metric", aggs=(Agg("count", "metric", label=title),), query=counted, width=width, height=7
    )


def _runs(name: str, title: str, query: str, width: int = WIDTH) -> Panel:
    return Panel(name, title, query=f"({query}) AND {NOT_CANARY}", columns=RUN_COLUMNS, sort=NEWEST, width=width, height=18)


def _worker(name: str, title: str, kind: str, metric: Agg) -> Panel:
    by = _terms("service.instance.id", "group", "Worker", missingBucket=False)
    return Panel(name, title, "workers", kind, (metric, BY_TIME, by), query="*")


BOARDS: Final = (
    Board("overview", "Triage: overview", "How many runs passed, which layers failed and why.", (
        _number("runs", "Runs", ""),
        _number("failed-runs", "Failed runs", "triage.passed:false"),
        _number("review-runs", "Runs to review", "triage.needs_review:true"),
        _number("anomalous-passes", "Anomalous passes", "triage.passed:true AND triage.anomalous:true"),
        _number("disagreements", "Harness disagrees", "triage.disagreement:true"),
        Panel("failure-rate", "Failure rate", kind="metric", aggs=(FAILURE_RATE,), width=8, height=7),
        Panel("label-by-time", "Runs by label", kind="histogram", aggs=(COUNT, BY_TIME, LABEL), width=32),
        Panel("label-share", "Share of labels", kind="pie", aggs=(COUNT, LABEL._replace(schema="segment")), width=16),
        Panel("cause-share", "Causes of failed runs", kind="pie", width=16, query=f"triage.passed:false AND {NOT_CANARY}",
              aggs=(COUNT, _terms("triage.cause", "segment", "Cause"))),
        Panel("label-cause", "Label and cause", width=16, query=f"triage.passed:false AND {NOT_CANARY}",
              aggs=(COUNT, LABEL._replace(schema="bucket"), _terms("triage.cause", "bucket", "Cause"))),
        Panel("teams", "Teams", width=16, query=f"_exists_:triage.team AND {NOT_CANARY}",
              aggs=(COUNT, FAILURE_RATE._replace(schema="metric"), _terms("triage.team", "bucket", "Team"))),
        _runs("failed-list", "Failed runs, newest first", "triage.passed:false"),
    )),
    Board("testbeds", "Triage: test beds", "Which beds fail more than others, and by their own fault.", (
        Panel("testbeds", "Test beds", width=WIDTH, aggs=(
            COUNT, FAILURE_RATE, Agg("sum", "metric", "triage.failed", "Failed"),
            Agg("avg", "metric", "triage.anomaly_score", "Anomaly score"),
            Agg("max", "metric", "@timestamp", "Last run"), _terms("triage.testbed", "bucket", "Test bed", 50))),
        Panel("testbed-labels", "Labels by test bed", kind="histogram",
              aggs=(COUNT, _terms("triage.testbed", "segment", "Test bed", 30), LABEL)),
        Panel("testbed-environment", "Failures by the environment", kind="histogram",
              query=f"triage.cause:environment AND {NOT_CANARY}",
              aggs=(COUNT, BY_TIME, _terms("triage.testbed", "group", "Test bed"))),
        Panel("testbed-rate", "Failure rate by time", kind="line", width=WIDTH,
              aggs=(FAILURE_RATE, BY_TIME, _terms("triage.testbed", "group", "Test bed", 10))),
    )),
    Board("testcases", "Triage: test cases", "Which tests fail, since when, and where the harness says otherwise.", (
        Panel("testcases", "Test cases", width=WIDTH, aggs=(
            COUNT, FAILURE_RATE, Agg("sum", "metric", "triage.failed", "Failed"),
            Agg("cardinality", "metric", "triage.testbed", "Test beds"),
            Agg("max", "metric", "@timestamp", "Last run"), _terms("test.case.name", "bucket", "Test case", 100))),
        Panel("testcase-labels", "Labels of the failing test cases", kind="histogram",
              query=f"triage.passed:false AND {NOT_CANARY}",
              aggs=(COUNT, _terms("test.case.name", "segment", "Test case", 30), LABEL)),
        Panel("testcase-rate", "Failure rate by time", kind="line",
              aggs=(FAILURE_RATE, BY_TIME, _terms("test.case.name", "group", "Test case", 10))),
        Panel("builds", "Builds under test", width=WIDTH, aggs=(
            COUNT, FAILURE_RATE, Agg("max", "metric", "@timestamp", "Last run"),
            _terms("service.version", "bucket", "Build", 50))),
        _runs("disagreement-list", "Runs where verdict and harness disagree", "triage.disagreement:true"),
    )),
    Board("run", "Triage: one run", "Verdict and lines worth reading of the run that is chosen.", (
        Panel("choose-run", "Choose a run", kind="input_control_vis", query="*", width=WIDTH, height=7,
              controls=(("Test case", "test.case.name"), ("Test bed", "triage.testbed"), ("Run", "triage.run.key"))),
        Panel("run-verdict", "Verdict", columns=(*RUN_COLUMNS, "triage.needs_review", "triage.review_reasons",
              "triage.ues.failed", "triage.lines"), sort=NEWEST, query="*", width=WIDTH, height=10),
        Panel("run-lines", "Lines worth reading, in their order", "lines", query="*", width=WIDTH, height=30,
              columns=("triage.source", "triage.number", "triage.why", "message"),
              sort=(("triage.source", "asc"), ("triage.number", "asc"))),
    ), "now-90d"),
    Board("anomalies", "Triage: anomalies", "What differs from passing runs, whatever the label.", (
        _number("anomalous-runs", "Anomalous runs", "triage.anomalous:true", 12),
        Panel("mean-anomaly", "Mean anomaly score", kind="metric", width=12, height=7,
              aggs=(Agg("avg", "metric", "triage.anomaly_score", "Mean anomaly score"),)),
        Panel("anomaly-kinds", "Runs with anomalies of each kind", kind="histogram",
              aggs=(COUNT, BY_TIME, _terms("triage.anomaly_kinds", "group", "Kind", missingBucket=False))),
        Panel("anomaly-scores", "Anomaly scores", kind="histogram", aggs=(
            COUNT, Agg("histogram", "segment", "triage.anomaly_score", "Anomaly score",
                       {"interval": 0.1, "min_doc_count": False, "has_extended_bounds": False,
                        "extended_bounds": {"min": "", "max": ""}}), LABEL)),
        Panel("anomaly-by-time", "Anomaly score by test bed", kind="line", aggs=(
            Agg("avg", "metric", "triage.anomaly_score", "Anomaly score"), BY_TIME,
            _terms("triage.testbed", "group", "Test bed", 10))),
        _runs("anomalous-list", "Anomalous runs that passed", "triage.passed:true AND triage.anomalous:true"),
    )),
    Board("templates", "Triage: templates", "Kinds of line: what is new, what is missing, and what the bundle knows.", (
        Panel("new-keys", "Keys that the bundle does not know", query=f"triage.anomaly_kinds:new AND {NOT_CANARY}", aggs=(
            COUNT, Agg("min", "metric", "@timestamp", "First seen"), Agg("max", "metric", "@timestamp", "Last seen"),
            _terms("triage.anomaly_keys", "bucket", "Key", 50, missingBucket=False, include="new:.*"))),
        Panel("known-keys", "Known keys among the anomalies", aggs=(
            COUNT, Agg("cardinality", "metric", "triage.testbed", "Test beds"),
            _terms("triage.anomaly_keys", "bucket", "Key", 50, missingBucket=False, exclude="new:.*"))),
        Panel("anomaly-lines", "Lines that show anomalies", "lines", query="triage.why:anomaly", sort=NEWEST,
              columns=("triage.run.id", "triage.source", "triage.number", "message")),
        Panel("bundle-templates", "Templates of the bundles", "templates", query="*", sort=(("triage.key", "asc"),),
              columns=("triage.bundle.name", "triage.bundle.version", "triage.key", "message")),
        Panel("bundle-count", "Templates by bundle", "templates", query="*", width=WIDTH, height=8, aggs=(
            Agg("count", "metric", label="Templates"),
            _terms("triage.bundle.name", "bucket", "Bundle", missingBucket=False),
            _terms("triage.bundle.version", "bucket", "Version", missingBucket=False))),
    )),
    Board("fleet", "Triage: fleet health", "The workers: what they get through, what waits, what troubles them.", (
        Panel("workers", "Workers", "workers", width=WIDTH, query="*", aggs=(
            Agg("max", "metric", "@timestamp", "Last report"), Agg("sum", "metric", "triage.verdicts", "Verdicts"),
            Agg("max", "metric", "triage.open_runs", "Open runs, at most"),
            Agg("max", "metric", "triage.messages_behind", "Messages behind, at most"),
            Agg("sum", "metric", "triage.refused", "Refused"),
            Agg("sum", "metric", "triage.flush_failures", "Failed flushes"),
            _terms("service.instance.id", "bucket", "Worker", 50, missingBucket=False, orderBy="_key", order="asc"),
            _terms("service.version", "bucket", "Version", missingBucket=False),
            _terms("triage.bundle.version", "bucket", "Bundle", missingBucket=False))),
        _worker("worker-lines", "Lines judged", "histogram", Agg("sum", "metric", "triage.lines", "Lines")),
        _worker("worker-verdicts", "Verdicts", "histogram", Agg("sum", "metric", "triage.verdicts", "Verdicts")),
        _worker("worker-behind", "Messages that wait", "line", Agg("max", "metric", "triage.messages_behind", "Messages")),
        _worker("worker-open", "Open runs", "line", Agg("max", "metric", "triage.open_runs", "Open runs")),
        _worker("worker-refused", "Refused", "histogram", Agg("sum", "metric", "triage.refused", "Refused")),
        Panel("worker-trouble", "Troubles", "workers", query="_exists_:triage.trouble", sort=NEWEST,
              columns=("service.instance.id", "triage.trouble")),
    ), "now-24h"),
)  # fmt: skip


def saved_objects(settings: OpenSearchSettings) -> list[dict[str, Any]]:
    """Index patterns first, then what refers to them."""
    prefix = settings.index_prefix
    objects = [_pattern(prefix, kind) for kind in ("verdicts", "lines", "templates", "workers")]
    for board in BOARDS:
        objects += [_panel(prefix, panel) for panel in board.panels]
        objects.append(_board(prefix, board))
    return objects


def ndjson(objects: Sequence[Mapping[str, Any]]) -> bytes:
    """As the import page and its API take them."""
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in objects)


def _object(kind: str, name: str, attributes: dict[str, Any], references: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    return {"id": name, "type": kind, "attributes": attributes, "references": list(references),
            "migrationVersion": {kind: MIGRATED[kind]}}  # fmt: skip


def _pattern(prefix: str, kind: str) -> dict[str, Any]:
    attributes = {"title": f"{prefix}-{kind}" + ("" if kind == "templates" else "-*")}
    if kind != "templates":
        attributes["timeFieldName"] = "@timestamp"
    if kind != "workers":
        # A click on a run leads to its page. Dashboards quotes the value for the address.
        place = f"/app/dashboards#/view/{prefix}-run?_g=(time:(from:now-90d,to:now))"
        shown = f"{place}&_a=(query:(language:lucene,query:'triage.run.key:%22{{{{value}}}}%22'))"
        link = {"id": "url", "params": {"urlTemplate": shown, "labelTemplate": "{{rawValue}}", "openLinkInCurrentTab": True}}
        attributes["fieldFormatMap"] = json.dumps({"triage.run.id": link, "triage.run.key": link})
    return _object("index-pattern", f"{prefix}-{kind}", attributes)


def _panel(prefix: str, panel: Panel) -> dict[str, Any]:
    """A list of documents is a saved search, all else a visualisation."""
    shown = {"title": f"Triage: {panel.title}", "description": "", "version": 1}
    query = {"query": {"query": panel.query, "language": "lucene"}, "filter": []}
    index = "kibanaSavedObjectMeta.searchSourceJSON.index"
    references = [{"name": index, "type": "index-pattern", "id": f"{prefix}-{panel.pattern}"}]
    meta = {"searchSourceJSON": json.dumps({**query, "indexRefName": index})}
    if panel.columns:
        listed = {"columns": list(panel.columns), "sort": [list(pair) for pair in panel.sort], "hits": 0}
        return _object("search", f"{prefix}-{panel.name}", {**shown, **listed, "kibanaSavedObjectMeta": meta}, references)
    state = {"title": shown["title"], "type": panel.kind, "params": _look(panel), "aggs": _aggs(panel)}
    if panel.controls:
        references = [{**references[0], "name": f"control_{number}_index_pattern"} for number in range(len(panel.controls))]
        meta = {"searchSourceJSON": json.dumps(query)}
    colours = {"vis": {"colors": COLOURS}} if any(agg.field == "triage.label" for agg in panel.aggs) else {}
    drawn = {"visState": json.dumps(state), "uiStateJSON": json.dumps(colours), "kibanaSavedObjectMeta": meta}
    return _object("visualization", f"{prefix}-{panel.name}", {**shown, **drawn}, references)


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
        if x + panel.width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        place = {"x": x, "y": y, "w": panel.width, "h": panel.height, "i": str(number)}
        panels.append({"version": "3.0.0", "gridData": place, "panelIndex": str(number), "title": panel.title,
                       "embeddableConfig": {"title": panel.title}, "panelRefName": f"panel_{number}"})  # fmt: skip
        kind = "search" if panel.columns else "visualization"
        references.append({"name": f"panel_{number}", "type": kind, "id": f"{prefix}-{panel.name}"})
        x, tallest = x + panel.width, max(tallest, panel.height)
    meta = {"searchSourceJSON": json.dumps({"query": {"query": "", "language": "lucene"}, "filter": []})}
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
        "kibanaSavedObjectMeta": meta,
    }
    return _object("dashboard", f"{prefix}-{board.name}", attributes, references)


def _look(panel: Panel) -> dict[str, Any]:
    """How a visualisation of this kind is drawn: what its own editor begins with."""
    legend = {"addTooltip": True, "addLegend": True, "legendPosition": "right"}
    if panel.kind == "metric":
        style = {"bgFill": "#000", "bgColor": False, "labelColor": False, "subText": "", "fontSize": 36}
        shown = {"percentageMode": False, "useRanges": False, "colorSchema": "Green to Red", "metricColorMode": "None",
                 "colorsRange": [{"from": 0, "to": 10_000}], "labels": {"show": True}, "invertColors": False}  # fmt: skip
        return {"type": "metric", "addTooltip": True, "addLegend": False, "metric": {**shown, "style": style}}
    if panel.kind == "pie":
        labels = {"show": True, "values": True, "last_level": True, "truncate": 100}
        return {"type": "pie", **legend, "isDonut": True, "labels": labels}
    if panel.kind == "table":
        return {"perPage": 10, "showPartialRows": False, "showMetricsAtAllLevels": False, "showTotal": False,
                "totalFunc": "sum", "percentageCol": "", "sort": {"columnIndex": None, "direction": None}}  # fmt: skip
    if panel.controls:
        listed = {"type": "terms", "multiselect": False, "dynamicOptions": True, "size": 100, "order": "desc"}
        controls = [
            {"id": str(number), "fieldName": field, "label": label, "type": "list", "parent": "", "options": listed,
             "indexPatternRefName": f"control_{number}_index_pattern"}
            for number, (label, field) in enumerate(panel.controls)
        ]  # fmt: skip
        return {"controls": controls, "updateFiltersOnChange": True, "useTimeFilter": True, "pinFilters": False}
    label = panel.aggs[0].label
    bottom = {"id": "CategoryAxis-1", "type": "category", "position": "bottom", "show": True, "style": {}, "title": {},
              "scale": {"type": "linear"}, "labels": {"show": True, "filter": True, "truncate": 100}}  # fmt: skip
    left = {"id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "position": "left", "show": True, "style": {},
            "scale": {"type": "linear", "mode": "normal"}, "title": {"text": label},
            "labels": {"show": True, "rotate": 0, "filter": False, "truncate": 100}}  # fmt: skip
    series = {"show": True, "type": panel.kind, "mode": "normal" if panel.kind == "line" else "stacked",
              "data": {"label": label, "id": "1"}, "valueAxis": "ValueAxis-1", "drawLinesBetweenPoints": True,
              "lineWidth": 2, "showCircles": True}  # fmt: skip
    return {"type": panel.kind, **legend, "grid": {"categoryLines": False}, "categoryAxes": [bottom], "valueAxes": [left],
            "seriesParams": [series], "times": [], "addTimeMarker": False, "labels": {"show": False},
            "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"}}  # fmt: skip


def make_dashboards(settings: OpenSearchSettings, changes: Changes) -> None:
    """Those that differ are imported over what is there. What people save under names of their own is not touched."""
    if settings.dashboards_url is None:
        changes.skip("dashboards: opensearch.dashboards_url is not set; or import the file that --export writes")
        return
    objects = saved_objects(settings)
    try:
        asked = [{"type": each["type"], "id": each["id"]} for each in objects]
        told = _ask(settings, "_bulk_get", json.dumps(asked).encode(), "application/json")
        known = {(each["type"], each["id"]): each for each in told["saved_objects"] if "error" not in each}
        other = [each for each in objects if _differs(each, known.get((each["type"], each["id"])))]
        boards = [each["attributes"]["title"] for each in other if each["type"] == "dashboard"]
        if other and changes.note(
            f"import {len(other)} objects into {settings.dashboards_url}" + (f": {', '.join(boards)}" if boards else "")
        ):
            boundary = uuid.uuid4().hex
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="triage.ndjson"\r\n'
            body = (
                f"{head}Content-Type: application/ndjson\r\n\r\n".encode()
                + ndjson(other)
                + f"\r\n--{boundary}--\r\n".encode()
            )
            done = _ask(settings, "_import?overwrite=true", body, f"multipart/form-data; boundary={boundary}")
            if not done["success"]:
                raise StoreError(f"Dashboards took not all objects: {json.dumps(done.get('errors'))[:300]}")
    except (KeyError, TypeError) as error:
        changes.fail(f"dashboards: {settings.dashboards_url} answered without {error}; is it OpenSearch Dashboards?")
    except StoreError as error:
        changes.fail(f"dashboards: {error}")


def _differs(wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> bool:
    if found is None:
        return True
    same = all(found["attributes"].get(name) == value for name, value in wanted["attributes"].items())
    return not same or _by_name(found["references"]) != _by_name(wanted["references"])


def _by_name(references: Sequence[Mapping[str, str]]) -> list[tuple[str, str, str]]:
    return sorted((each["name"], each["type"], each["id"]) for each in references)


def _ask(settings: OpenSearchSettings, path: str, body: bytes, kind: str) -> Any:
    """One request to the API of saved objects; raises `StoreError`."""
    url = f"{str(settings.dashboards_url).rstrip('/')}/api/saved_objects/{path}"
    headers = {"Content-Type": kind, "osd-xsrf": "stream-triage", "securitytenant": "global"}
    if settings.user is not None and settings.password is not None:
        pair = f"{settings.user}:{settings.password.get_secret_value()}".encode()
        headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
    try:
        context = ssl.create_default_context(cafile=settings.ca_file) if url.startswith("https:") else None
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - the setting allows http and https only
        with opener(context).open(request, timeout=settings.timeout_seconds) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        remedy = {
            401: "check opensearch.user and opensearch.password",
            403: "the user needs write access to saved objects",
        }.get(error.code, "check opensearch.dashboards_url")
        raise StoreError(f"{settings.dashboards_url} answered with status {error.code}; {remedy}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise StoreError(f"{settings.dashboards_url} cannot be asked: {reason}; check opensearch.dashboards_url") from None
