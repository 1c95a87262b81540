"""The dashboards of `setup opensearch`, as tables: which panels a board has, what each counts or lists, and by which fields.

`saved_objects.py` turns them into what OpenSearch Dashboards imports. To add a panel, add a row here; a test compares its
numbers with those of the verdicts themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from stream_triage.records import CANARY

__all__ = ["BOARDS", "GRID_WIDTH", "Agg", "Board", "Panel"]

# Columns of the grid that Dashboards arranges panels in.
GRID_WIDTH: Final = 48
# What Dashboards shows for documents that lack the field.
MISSING: Final = "not set"
NOT_CANARY: Final = f"NOT test.case.name:{CANARY}"


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
    """A visualisation; with `columns` a list of documents, with `controls` a choice of filters."""

    name: str
    """Part of the id of the saved object: never change it, or the old object stays in Dashboards beside the new one."""
    title: str
    pattern: str = "verdicts"
    """The indices it reads: `<prefix>-<pattern>-*`."""
    kind: str = "table"
    """Type of the visualisation in Dashboards."""
    aggs: Sequence[Agg] = ()
    query: str = NOT_CANARY
    """In Lucene's syntax, which Dashboards passes to the server unchanged."""
    width: int = 24
    """In columns of the grid."""
    height: int = 14
    """In rows of the grid."""
    columns: Sequence[str] = ()
    """Fields of a list of documents."""
    sort: Sequence[Sequence[str]] = ()
    """Field and direction, for a list of documents."""
    controls: Sequence[tuple[str, str]] = ()
    """Label and field of each filter."""


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
    """Start of the time range that the board opens with."""


COUNT: Final = Agg("count", "metric", label="Runs")
FAILURE_RATE: Final = Agg("avg", "metric", "triage.failed", "Failure rate")
BY_TIME: Final = Agg(
    "date_histogram", "segment", "@timestamp", "Time",
    {"useNormalizedOpenSearchInterval": True, "interval": "auto", "drop_partials": False, "min_doc_count": 1,
     "extended_bounds": {}},
)  # fmt: skip


def _terms(field: str, schema: str, label: str, size: int = 20, **params: Any) -> Agg:
    params = {"orderBy": "1", "order": "desc", "size": size, "otherBucket": False, "missingBucket": True,
              "missingBucketLabel": MISSING, "otherBucketLabel": "Other", **params}  # fmt: skip
    return Agg("terms", schema, field, label, params)


LABEL: Final = _terms("triage.label", "group", "Label")
RUN_COLUMNS: Final = ("triage.run.id", "triage.label", "triage.confidence", "triage.anomaly_score", "triage.cause",
                      "triage.team", "test.case.name", "triage.testbed")  # fmt: skip
NEWEST: Final = (("@timestamp", "desc"),)


def _number(name: str, title: str, query: str, width: int = 8) -> Panel:
    counted = f"({query}) AND {NOT_CANARY}" if query else NOT_CANARY
    return Panel(
        name, title, kind="metric", aggs=(Agg("count", "metric", label=title),), query=counted, width=width, height=7
    )


def _runs(name: str, title: str, query: str, width: int = GRID_WIDTH) -> Panel:
    return Panel(name, title, query=f"({query}) AND {NOT_CANARY}", columns=RUN_COLUMNS, sort=NEWEST, width=width, height=18)


def _worker(name: str, title: str, kind: str, metric: Agg) -> Panel:
    by = _terms("service.instance.id", "group", "Worker", missingBucket=False)
    return Panel(name, title, "workers", kind, (metric, BY_TIME, by), query="*")


BOARDS: Final = (
    Board("overview", "Triage: overview", "How many runs passed, which layers failed and why.", (
        _number("runs", "Runs", ""),
        _number("failed-runs", "Failed runs", "triage.failed:1"),
        _number("review-runs", "Runs to review", "triage.needs_review:true"),
        _number("anomalous-passes", "Anomalous passes", "triage.passed:true AND triage.anomalous:true"),
        _number("disagreements", "Harness disagrees", "triage.disagreement:true"),
        Panel("failure-rate", "Failure rate", kind="metric", aggs=(FAILURE_RATE,), width=8, height=7),
        Panel("label-by-time", "Runs by label", kind="histogram", aggs=(COUNT, BY_TIME, LABEL), width=32),
        Panel("label-share", "Share of labels", kind="pie", aggs=(COUNT, LABEL._replace(schema="segment")), width=16),
        Panel("cause-share", "Causes of failed runs", kind="pie", width=16, query=f"triage.failed:1 AND {NOT_CANARY}",
              aggs=(COUNT, _terms("triage.cause", "segment", "Cause"))),
        Panel("label-cause", "Label and cause", width=16, query=f"triage.failed:1 AND {NOT_CANARY}",
              aggs=(COUNT, LABEL._replace(schema="bucket"), _terms("triage.cause", "bucket", "Cause"))),
        Panel("teams", "Teams", width=16, query=f"_exists_:triage.team AND {NOT_CANARY}",
              aggs=(COUNT, FAILURE_RATE._replace(schema="metric"), _terms("triage.team", "bucket", "Team"))),
        _runs("failed-list", "Failed runs, newest first", "triage.failed:1"),
    )),
    Board("testbeds", "Triage: test beds", "Which test beds fail more often than others, and for reasons of their own.", (
        Panel("testbeds", "Test beds", width=GRID_WIDTH, aggs=(
            COUNT, FAILURE_RATE, Agg("sum", "metric", "triage.failed", "Failed"),
            Agg("avg", "metric", "triage.anomaly_score", "Anomaly score"),
            Agg("max", "metric", "@timestamp", "Last run"), _terms("triage.testbed", "bucket", "Test bed", 50))),
        Panel("testbed-labels", "Labels by test bed", kind="histogram",
              aggs=(COUNT, _terms("triage.testbed", "segment", "Test bed", 30), LABEL)),
        Panel("testbed-environment", "Failures by the environment", kind="histogram",
              query=f"triage.cause:environment AND {NOT_CANARY}",
              aggs=(COUNT, BY_TIME, _terms("triage.testbed", "group", "Test bed"))),
        Panel("testbed-rate", "Failure rate by time", kind="line", width=GRID_WIDTH,
              aggs=(FAILURE_RATE, BY_TIME, _terms("triage.testbed", "group", "Test bed", 10))),
    )),
    Board("testcases", "Triage: test cases", "Which test cases fail, since when, and where the harness disagrees.", (
        Panel("testcases", "Test cases", width=GRID_WIDTH, aggs=(
            COUNT, FAILURE_RATE, Agg("sum", "metric", "triage.failed", "Failed"),
            Agg("cardinality", "metric", "triage.testbed", "Test beds"),
            Agg("max", "metric", "@timestamp", "Last run"), _terms("test.case.name", "bucket", "Test case", 100))),
        Panel("testcase-labels", "Labels of the failing test cases", kind="histogram",
              query=f"triage.failed:1 AND {NOT_CANARY}",
              aggs=(COUNT, _terms("test.case.name", "segment", "Test case", 30), LABEL)),
        Panel("testcase-rate", "Failure rate by time", kind="line",
              aggs=(FAILURE_RATE, BY_TIME, _terms("test.case.name", "group", "Test case", 10))),
        Panel("builds", "Builds under test", width=GRID_WIDTH, aggs=(
            COUNT, FAILURE_RATE, Agg("max", "metric", "@timestamp", "Last run"),
            _terms("service.version", "bucket", "Build", 50))),
        _runs("disagreement-list", "Runs where verdict and harness disagree", "triage.disagreement:true"),
    )),
    Board("run", "Triage: one run", "Verdict and lines worth reading of the chosen run.", (
        Panel("choose-run", "Choose a run", kind="input_control_vis", query="*", width=GRID_WIDTH, height=7,
              controls=(("Test case", "test.case.name"), ("Test bed", "triage.testbed"), ("Run", "triage.run.key"))),
        Panel("run-verdict", "Verdict", columns=(*RUN_COLUMNS, "triage.needs_review", "triage.review_reasons",
              "triage.ues.failed", "triage.lines"), sort=NEWEST, query="*", width=GRID_WIDTH, height=10),
        Panel("run-lines", "Lines worth reading, in order", "lines", query="*", width=GRID_WIDTH, height=30,
              columns=("triage.source", "triage.number", "triage.why", "message"),
              sort=(("triage.source", "asc"), ("triage.number", "asc"))),
    ), "now-90d"),
    Board("anomalies", "Triage: anomalies", "What differs from passing runs, whatever the label is.", (
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
    Board("templates", "Triage: templates", "Kinds of lines: those that are new or missing, and those of the bundle.", (
        Panel("new-keys", "Keys unknown to the bundle", query=f"triage.anomaly_kinds:new AND {NOT_CANARY}", aggs=(
            COUNT, Agg("min", "metric", "@timestamp", "First seen"), Agg("max", "metric", "@timestamp", "Last seen"),
            _terms("triage.anomaly_keys", "bucket", "Key", 50, missingBucket=False, include="new:.*"))),
        Panel("known-keys", "Known keys among the anomalies", aggs=(
            COUNT, Agg("cardinality", "metric", "triage.testbed", "Test beds"),
            _terms("triage.anomaly_keys", "bucket", "Key", 50, missingBucket=False, exclude="new:.*"))),
        Panel("anomaly-lines", "Lines that show anomalies", "lines", query="triage.why:anomaly", sort=NEWEST,
              columns=("triage.run.id", "triage.source", "triage.number", "message")),
        Panel("bundle-templates", "Templates of the bundles", "templates", query="*", sort=(("triage.key", "asc"),),
              columns=("triage.bundle.name", "triage.bundle.version", "triage.key", "message")),
        Panel("bundle-count", "Templates by bundle", "templates", query="*", width=GRID_WIDTH, height=8, aggs=(
            Agg("count", "metric", label="Templates"),
            _terms("triage.bundle.name", "bucket", "Bundle", missingBucket=False),
            _terms("triage.bundle.version", "bucket", "Version", missingBucket=False))),
    )),
    Board("fleet", "Triage: fleet health", "The workers: their throughput, their backlog and their problems.", (
        Panel("workers", "Workers", "workers", width=GRID_WIDTH, query="*", aggs=(
            Agg("max", "metric", "@timestamp", "Last report"), Agg("sum", "metric", "triage.verdicts", "Verdicts"),
            Agg("max", "metric", "triage.open_runs", "Open runs (maximum)"),
            Agg("max", "metric", "triage.messages_behind", "Messages behind (maximum)"),
            Agg("sum", "metric", "triage.refused", "Rejected"),
            Agg("sum", "metric", "triage.flush_failures", "Failed flushes"),
            _terms("service.instance.id", "bucket", "Worker", 50, missingBucket=False, orderBy="_key", order="asc"),
            _terms("service.version", "bucket", "Version", missingBucket=False),
            _terms("triage.bundle.version", "bucket", "Bundle", missingBucket=False))),
        _worker("worker-lines", "Lines judged", "histogram", Agg("sum", "metric", "triage.lines", "Lines")),
        _worker("worker-verdicts", "Verdicts", "histogram", Agg("sum", "metric", "triage.verdicts", "Verdicts")),
        _worker("worker-behind", "Messages behind", "line", Agg("max", "metric", "triage.messages_behind", "Messages")),
        _worker("worker-open", "Open runs", "line", Agg("max", "metric", "triage.open_runs", "Open runs")),
        _worker("worker-refused", "Rejected", "histogram", Agg("sum", "metric", "triage.refused", "Rejected")),
        Panel("worker-trouble", "Problems", "workers", query="_exists_:triage.trouble", sort=NEWEST,
              columns=("service.instance.id", "triage.trouble")),
    ), "now-24h"),
)  # fmt: skip
