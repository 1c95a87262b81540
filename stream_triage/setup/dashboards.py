"""The dashboards of `setup opensearch`, as tables: which panels a board has, what each counts or lists, and by which fields.

`visualisations.py` and `saved_objects.py` turn them into what OpenSearch Dashboards imports. To add a panel, add a row
here; a test compares its numbers with those of the verdicts. The top of each board answers what people ask first.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from stream_triage.setup import vega_panels as vega
from stream_triage.setup.links import ADDRESS, CHOOSER
from stream_triage.setup.vega import NOT_CANARY, UNKNOWN, Spec, heat_map
from stream_triage.setup.vega_run import run_page

__all__ = ["BOARDS", "GRID_WIDTH", "Agg", "Board", "Panel", "navigation"]

# Columns of the grid that Dashboards arranges panels in.
GRID_WIDTH: Final = 48


class Agg(NamedTuple):
    """A metric aggregation, or a bucket aggregation of a visualisation."""

    kind: str
    """Its type in OpenSearch, such as `count`, `avg` or `terms`."""
    schema: str
    """Where the visualisation puts it: `metric`, `segment` (the x axis), `group` (a colour), `bucket` (rows)."""
    field: str = ""
    label: str = ""
    params: Mapping[str, Any] = {}


class Panel(NamedTuple):
    """A visualisation: what it counts is in `aggs`, `controls`, `vega` or `text`, depending on its kind."""

    name: str
    """Part of the id of the saved object: never change it, or the old object stays in Dashboards beside the new one."""
    title: str
    pattern: str = "verdicts"
    """The indices it reads: `<prefix>-<pattern>-*`."""
    kind: str = "table"
    """Type of the visualisation in Dashboards."""
    aggs: Sequence[Agg] = ()
    """Terms come before time, so that a chart has the same few terms in every bucket of time."""
    query: str = NOT_CANARY
    """In Lucene's syntax, which Dashboards passes to the server unchanged."""
    width: int = 24
    """In columns of the grid."""
    height: int = 14
    """In rows of the grid."""
    rows: int = 0
    """Rows of a page of a table, all of which the panel shows."""
    widths: Sequence[int] = ()
    """Of the columns of a table, in pixels."""
    controls: Sequence[tuple[str, str, str]] = ()
    """Id, label and field of each filter."""
    vega: Callable[[str], Spec] | None = None
    """Returns the specification for a prefix of indices."""
    text: Callable[[str], str] | None = None
    """Returns the text of a Markdown panel for a prefix of indices."""


class Board(NamedTuple):
    """A dashboard."""

    name: str
    """Part of the id of the saved object, as that of a panel."""
    title: str
    about: str
    """One sentence for the list of dashboards."""
    panels: Sequence[Panel]
    """From left to right; a panel that does not fit into the row begins the next one."""
    since: str = "now-7d"
    """Start of the time range that the board opens with. Empty: as long as verdicts are kept."""
    refresh: bool = True
    """Whether the board is drawn again every minute."""


COUNT: Final = Agg("count", "metric", label="Runs")
FAILURE_RATE: Final = Agg("avg", "metric", "triage.failure_rate", "Failure rate")
FAILED: Final = Agg("sum", "metric", "triage.failed", "Failed")
NEWEST: Final = Agg("max", "metric", "@timestamp", "Newest run")


def _by_time(interval: str = "d") -> Agg:
    return Agg("date_histogram", "segment", "@timestamp", "Time",
               {"useNormalizedOpenSearchInterval": True, "interval": interval, "drop_partials": False, "min_doc_count": 1,
                "extended_bounds": {}})  # fmt: skip


def _last_text(label: str, by: str = "@timestamp") -> Agg:
    """A column of a table: the text of the document of each row that has the highest value of the field `by`."""
    return Agg(
        "top_hits", "metric", "message", label, {"aggregate": "concat", "size": 1, "sortField": by, "sortOrder": "desc"}
    )


def _terms(field: str, schema: str, label: str, size: int = 8, **params: Any) -> Agg:
    params = {"orderBy": "1", "order": "desc", "size": size, "otherBucket": False, "missingBucket": True,
              "missingBucketLabel": UNKNOWN, "otherBucketLabel": "Other", **params}  # fmt: skip
    return Agg("terms", schema, field, label, params)


# Of terms that cannot be ordered by the metric, or need not be.
IN_ORDER: Final = {"orderBy": "_key", "order": "asc", "missingBucket": False}


def _one(field: str, label: str) -> Agg:
    """A column with the only value of a field in a row."""
    return _terms(field, "bucket", label, 1, orderBy="_key", order="asc")


LABEL: Final = _terms("triage.label", "group", "Label", 10)
RUN: Final = _terms(ADDRESS, "bucket", "Run", 50, missingBucket=False)
RUN_AGGS: Final = (
    Agg("max", "metric", "@timestamp", "Time"), Agg("avg", "metric", "triage.confidence", "Probability"), RUN,
    _one("test.case.name", "Test case"), _one("triage.testbed", "Test bed"), _one("triage.label", "Label"),
    _one("triage.cause", "Cause"), _one("triage.team", "Team"), _one("triage.why.keyword", "Why"),
    _one("triage.top_evidence", "Top evidence"),
)  # fmt: skip
RUN_WIDTHS: Final = (260, 150, 110, 80, 90, 70, 320, 210, 140, 80)


def _table(name: str, title: str, rows: int, **others: Any) -> Panel:
    """A table in a panel that is high enough for a page of it: 34 pixels for a row, 154 for what is around them."""
    return Panel(name, title, rows=rows, **{"height": math.ceil((154 + 34 * rows + 8) / 28), **others})


def _drawn(name: str, title: str, draw: Callable[[str], Spec], rows: int = 0, **others: Any) -> Panel:
    """A panel of Vega; with `rows` as high as a table of so many rows of 24 pixels needs."""
    height = {"height": math.ceil((100 + 24 * rows) / 28)} if rows else {}
    return Panel(name, title, kind="vega", vega=draw, **{"width": GRID_WIDTH, **height, **others})


def _runs(name: str, title: str, query: str, rows: int = 12) -> Panel:
    return _table(name, title, rows, query=f"({query}) AND {NOT_CANARY}", aggs=RUN_AGGS, widths=RUN_WIDTHS, width=GRID_WIDTH)


def _lines(name: str, title: str, query: str, rows: int) -> Panel:
    """Kept lines in their order, with all that a source can have."""
    aggs = (_last_text("Line"), _terms("triage.source", "bucket", "Source", 50, **IN_ORDER),
            _terms("triage.number", "bucket", "Number", 500, **IN_ORDER), _one("triage.why", "Kept as"))  # fmt: skip
    return _table(name, title, rows, pattern="lines", query=query, aggs=aggs, widths=(200, 80, 100, 1120), width=GRID_WIDTH)


def _bars(name: str, title: str, by: Agg, query: str = NOT_CANARY, **others: Any) -> Panel:
    return Panel(name, title, kind="horizontal_bar", aggs=(COUNT, by), query=query, **{"width": 16, **others})


def _worker(name: str, title: str, kind: str, metric: Agg, width: int = 16) -> Panel:
    by = _terms("service.instance.id", "group", "Worker", missingBucket=False)
    return Panel(name, title, "workers", kind, (metric, by, _by_time("auto")), query="*", width=width)


def navigation(prefix: str) -> str:
    """Returns links to all boards. They are relative, so they work whatever path Dashboards is served under."""
    return " &nbsp;·&nbsp; ".join(
        f"[{board.title.removeprefix('Triage: ').capitalize()}](#/view/{prefix}-{board.name})" for board in BOARDS
    )


NAVIGATION: Final = Panel("navigation", "Boards", kind="markdown", text=navigation, width=GRID_WIDTH, height=3)
FAILED_QUERY: Final = f"triage.failed:1 AND {NOT_CANARY}"

BOARDS: Final = (
    Board("overview", "Triage: overview", "What failed since yesterday, and what of it is new.", (
        NAVIGATION,
        _drawn("at-a-glance", "Runs in this time range, and a week before", vega.at_a_glance, height=6),
        _drawn("new-failures", "What failed, and is it new compared with the 30 days before?", vega.new_failures,
               vega.FAILURES),
        _runs("failed-list", "Failed runs, newest first", "triage.failed:1"),
        Panel("label-by-time", "Runs by label", kind="histogram", aggs=(COUNT, LABEL, _by_time("auto")), width=32),
        _bars("label-share", "Runs of each label", LABEL._replace(schema="segment")),
        _bars("cause-share", "Failed runs by cause", _terms("triage.cause", "segment", "Cause"), FAILED_QUERY, height=18),
        _table("label-cause", "Label and cause of failed runs", 10, width=16, query=FAILED_QUERY, height=18,
               aggs=(COUNT, LABEL._replace(schema="bucket"), _terms("triage.cause", "bucket", "Cause", 4))),
        _table("review-reasons", "Why runs need a review (a run can have several reasons)", 10, width=16, height=18,
               query=f"triage.needs_review:true AND {NOT_CANARY}",
               aggs=(COUNT, _terms("triage.review_reasons", "bucket", "Reason", 10, missingBucket=False)),
               widths=(400, 80)),
        _runs("review-list", "Runs that need a review, newest first", "triage.needs_review:true", 8),
    ), "now-24h"),
    Board("testbeds", "Triage: test beds", "Which test bed or build is to blame.", (
        NAVIGATION,
        _drawn("testbeds", "Test beds, those with most failures first (click to filter)", vega.beds, vega.BEDS),
        _drawn("builds", "Builds, those with most failures first (click to filter)", vega.builds, vega.BUILDS),
        _drawn("testbed-rate", "Failure rate of the busiest test beds by day (UTC)",
               lambda prefix: heat_map(f"{prefix}-verdicts-*", "triage.testbed", 8), height=13),
        Panel("testbed-labels", "Labels by test bed", kind="histogram",
              aggs=(COUNT, _terms("triage.testbed", "segment", "Test bed"), LABEL)),
        Panel("testbed-environment", "Failures with the cause environment", kind="histogram",
              query=f"triage.cause:environment AND {NOT_CANARY}",
              aggs=(COUNT, _terms("triage.testbed", "group", "Test bed"), _by_time())),
    )),
    Board("testcases", "Triage: test cases", "Which test cases fail, since when, and where the harness disagrees.", (
        NAVIGATION,
        _drawn("testcases", "Test cases, those with most failures first (click to filter)", vega.cases, vega.CASES),
        _drawn("testcase-rate", "Failure rate of the most frequent test cases by day (UTC)",
               lambda prefix: heat_map(f"{prefix}-verdicts-*", "test.case.name", 8), height=13),
        _table("all-testcases", "All test cases", 15, width=GRID_WIDTH, aggs=(
            COUNT, FAILURE_RATE, FAILED, Agg("cardinality", "metric", "triage.testbed", "Test beds"), NEWEST,
            _terms("test.case.name", "bucket", "Test case", 500))),
        Panel("testcase-labels", "Labels of the failing test cases", kind="histogram", width=GRID_WIDTH, query=FAILED_QUERY,
              aggs=(COUNT, _terms("test.case.name", "segment", "Test case", 20), LABEL)),
        _runs("disagreement-list", "Runs where verdict and harness disagree", "triage.disagreement:true"),
    )),
    Board("teams", "Triage: teams", "Which team has how much to look at.", (
        NAVIGATION,
        _drawn("teams", "Runs to look at: failed, to review, or anomalous (click to filter)", vega.teams, vega.TEAMS),
        Panel("team-labels", "Failed runs by team and label", kind="horizontal_bar", query=FAILED_QUERY,
              aggs=(COUNT, _terms("triage.team", "segment", "Team", missingBucketLabel="no team"), LABEL)),
        Panel("team-days", "Failed runs by team and day", kind="histogram", query=FAILED_QUERY,
              aggs=(COUNT, _terms("triage.team", "group", "Team", missingBucketLabel="no team"), _by_time())),
        _runs("team-list", "Runs of a team, newest first", "_exists_:triage.team"),
    )),
    Board("run", "Triage: one run", "Verdict, reason, evidence and lines worth reading of the chosen run.", (
        NAVIGATION,
        Panel("choose-run", "Choose a run (type a part of its name)", kind="input_control_vis", query="*", width=GRID_WIDTH,
              height=5, controls=((CHOOSER, "Run", ADDRESS),)),
        _drawn("run-page", "The verdict", run_page, height=21),
        _lines("run-evidence", "Evidence in the log", "triage.why:(evidence OR rule OR anomaly)", 10),
        _lines("run-lines", "The other lines worth reading", "NOT triage.why:(evidence OR rule OR anomaly)", 25),
    ), "", refresh=False),
    Board("anomalies", "Triage: anomalies", "What differs from passing runs, whatever the label is.", (
        NAVIGATION,
        _drawn("anomalous-runs", "Runs in this time range, and a week before", vega.anomaly_tiles, height=6),
        _runs("anomalous-list", "Anomalous runs that passed", "triage.passed:true AND triage.anomalous:true"),
        _drawn("anomaly-by-time", "Mean anomaly score of the busiest test beds by day (UTC)", lambda prefix: heat_map(
               f"{prefix}-verdicts-*", "triage.testbed", 8, "triage.anomaly_score", decimals=True), height=13),
        _bars("anomaly-kinds", "Runs with an anomaly of each kind (a run can have several)",
              _terms("triage.anomaly_kinds", "segment", "Kind", missingBucket=False), width=24),
        Panel("anomaly-scores", "Anomaly scores (0.5 is the threshold)", kind="histogram", aggs=(
            COUNT, Agg("histogram", "segment", "triage.anomaly_score", "Anomaly score",
                       {"interval": 0.1, "min_doc_count": False, "has_extended_bounds": False,
                        "extended_bounds": {"min": "", "max": ""}}), LABEL)),
    )),
    Board("templates", "Triage: templates", "Kinds of lines: those that are new or differ, and those of the bundle.", (
        NAVIGATION,
        _drawn("new-keys", "Kinds of line that the bundle does not know", vega.new_keys, vega.KEYS),
        _drawn("known-keys", "Known kinds of line at which runs differ", vega.known_keys, vega.KEYS),
        _table("anomaly-lines", "Lines that show anomalies, newest runs first", 15, pattern="lines", width=GRID_WIDTH,
               query="triage.why:anomaly", widths=(320, 160, 80, 150, 840), aggs=(
                   Agg("max", "metric", "@timestamp", "Time"),
                   _last_text("Line"),
                   RUN._replace(params={**RUN.params, "size": 20}),
                   _terms("triage.source", "bucket", "Source", 10, **IN_ORDER),
                   _terms("triage.number", "bucket", "Number", 20, **IN_ORDER))),
        _table("bundle-templates", "Templates of the bundles", 12, pattern="templates", query="*", width=32,
               widths=(100, 80, 170, 650), aggs=(
                   _last_text("Template", "triage.key"),
                   _terms("triage.bundle.name", "bucket", "Bundle", 10, **IN_ORDER),
                   _terms("triage.bundle.version", "bucket", "Version", 10, **IN_ORDER),
                   _terms("triage.key", "bucket", "Key", 5000, **IN_ORDER))),
        _table("bundle-count", "Number of templates", 12, pattern="templates", query="*", width=16, aggs=(
            Agg("count", "metric", label="Templates"),
            _terms("triage.bundle.name", "bucket", "Bundle", 5, missingBucket=False),
            _terms("triage.bundle.version", "bucket", "Version", 5, missingBucket=False))),
    )),
    Board("fleet", "Triage: fleet health", "Whether the pipeline is alive: workers, backlog and problems.", (
        NAVIGATION,
        _drawn("alive", "Is the pipeline alive?", vega.alive, height=6),
        _table("workers", "Workers", 8, pattern="workers", width=GRID_WIDTH, query="*", aggs=(
            Agg("max", "metric", "@timestamp", "Last report"), Agg("sum", "metric", "triage.verdicts", "Verdicts"),
            Agg("max", "metric", "triage.open_runs", "Open runs (most)"),
            Agg("max", "metric", "triage.messages_behind", "Messages behind (most)"),
            Agg("sum", "metric", "triage.refused", "Rejected"),
            Agg("sum", "metric", "triage.flush_failures", "Failed flushes"),
            _terms("service.instance.id", "bucket", "Worker", 50, missingBucket=False, orderBy="_key", order="asc"),
            _terms("service.version", "bucket", "Version", missingBucket=False),
            _terms("triage.bundle.version", "bucket", "Bundle", missingBucket=False))),
        _table("worker-trouble", "Problems", 5, pattern="workers", query="_exists_:triage.trouble", width=GRID_WIDTH, aggs=(
            Agg("max", "metric", "@timestamp", "Last report"), Agg("min", "metric", "@timestamp", "First report"),
            Agg("count", "metric", label="Minutes"),
            _terms("service.instance.id", "bucket", "Worker", 50, missingBucket=False),
            _terms("triage.trouble", "bucket", "Problem", 20, missingBucket=False)), widths=(240, 800, 160, 160, 80)),
        _worker("worker-behind", "Messages behind", "line", Agg("max", "metric", "triage.messages_behind", "Messages"), 24),
        _worker("worker-verdicts", "Verdicts", "histogram", Agg("sum", "metric", "triage.verdicts", "Verdicts"), 24),
        _worker("worker-lines", "Lines judged", "histogram", Agg("sum", "metric", "triage.lines", "Lines")),
        _worker("worker-open", "Open runs", "line", Agg("max", "metric", "triage.open_runs", "Open runs")),
        _worker("worker-refused", "Rejected", "histogram", Agg("sum", "metric", "triage.refused", "Rejected")),
    ), "now-24h"),
)  # fmt: skip
