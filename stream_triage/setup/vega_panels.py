"""The panels that Vega draws: each function takes the prefix of the indices and returns the specification of one panel."""

from typing import Any, Final

from stream_triage.setup.vega import (
    BAD,
    DOUBTFUL,
    GOOD,
    NOT_CANARY,
    NOW,
    UNKNOWN,
    Spec,
    Tile,
    count,
    date,
    each_of,
    page,
    percent,
    request,
    tile_marks,
    tile_of,
    tiles,
)
from stream_triage.setup.vega_tables import RATE_COLUMNS, Column, bucket_table, comparison

__all__ = [
    "BEDS",
    "BUILDS",
    "CASES",
    "FAILURES",
    "KEYS",
    "TEAMS",
    "alive",
    "anomaly_tiles",
    "at_a_glance",
    "beds",
    "builds",
    "cases",
    "known_keys",
    "new_failures",
    "new_keys",
    "teams",
]

# Rows of each table; the height of its panel follows.
FAILURES: Final = 15
BEDS: Final = 12
BUILDS: Final = 8
CASES: Final = 15
TEAMS: Final = 8
KEYS: Final = 12
DAYS_BEFORE: Final = 30
_LAST: Final = Column("Newest run", 0.13, date("datum.now.last.value"), right=True)


def at_a_glance(prefix: str) -> Spec:
    """How many runs failed, and how many last week."""
    shown = (
        Tile("Runs"),
        Tile("Failed", "triage.failed:1", worse="more"),
        Tile("Failure rate", "triage.failed:1", share=True, worse="more"),
        Tile("To review", "triage.needs_review:true", worse="more"),
        Tile("Anomalous passes", "triage.passed:true AND triage.anomalous:true", worse="more"),
        Tile("Harness disagrees", "triage.disagreement:true", worse="more"),
    )
    return tiles(f"{prefix}-verdicts-*", shown)


def anomaly_tiles(prefix: str) -> Spec:
    """How many runs are anomalous, and how many last week."""
    shown = (
        Tile("Anomalous runs", "triage.anomalous:true", worse="more"),
        Tile("Share of all runs", "triage.anomalous:true", share=True, worse="more"),
        Tile("Anomalous passes", "triage.passed:true AND triage.anomalous:true", worse="more"),
        Tile("With a new kind of line", "triage.anomaly_kinds:new", worse="more"),
    )
    return tiles(f"{prefix}-verdicts-*", shown)


def new_failures(prefix: str) -> Spec:
    """Failures by test case and label: how often in the time range, how often in the 30 days before it, and since when."""
    start = {"%timefilter%": "min"}
    earlier = {"range": {"@timestamp": {"gte": {**start, "shift": -DAYS_BEFORE, "unit": "day"}, "lt": start}}}
    now = {"filter": NOW}
    labels = {
        "terms": {"field": "triage.label", "size": 10},
        "aggs": {
            "now": {"filter": NOW, "aggs": {"last": {"max": {"field": "@timestamp"}}}},
            "earlier": {"filter": earlier},
            "first": {"min": {"field": "@timestamp"}},
            "beds": {"terms": {"field": "triage.testbed", "size": 3, "missing": UNKNOWN}},
        },
    }
    by = {"terms": {"field": "test.case.name", "size": 100, "missing": UNKNOWN, "order": [{"now": "desc"}, {"_key": "asc"}]},
          "aggs": {"now": now, "labels": labels}}  # fmt: skip
    either = {"bool": {"should": [NOW, earlier]}}
    wanted = request(f"{prefix}-verdicts-*", {"by": by}, either, query=f"triage.failed:1 AND {NOT_CANARY}")
    transform: list[Spec] = [
        {"type": "flatten", "fields": ["labels.buckets"], "as": ["kind"]},
        {"type": "filter", "expr": "datum.kind.now.doc_count > 0"},
        {"type": "formula", "as": "new", "expr": "datum.kind.earlier.doc_count === 0 ? 1 : 0"},
        {"type": "formula", "as": "runs", "expr": "datum.kind.now.doc_count"},
        {"type": "collect", "sort": {"field": ["new", "runs"], "order": ["descending", "descending"]}},
    ]
    columns = (
        Column("", 0.06, "datum.new ? 'NEW' : 'known'", colour=f"datum.new ? '{BAD}' : ''"),
        Column("Test case", 0.26, "datum.key"),
        Column("Label", 0.1, "datum.kind.key"),
        Column("Test beds", 0.2, "join(pluck(datum.kind.beds.buckets, 'key'), ', ')"),
        Column("Failed runs", 0.08, count("datum.runs"), right=True),
        Column(f"{DAYS_BEFORE} days before", 0.1, count("datum.kind.earlier.doc_count"), right=True),
        Column("First failure", 0.1, "timeFormat(datum.kind.first.value, '%Y-%m-%d')", right=True),
        Column("Last failure", 0.1, "timeFormat(datum.kind.now.last.value, '%m-%d %H:%M')", right=True),
    )
    nothing = "no failed runs in this time range"
    return bucket_table(wanted, "aggregations.by.buckets", columns, FAILURES, transform=transform, empty=nothing)


def beds(prefix: str) -> Spec:
    """Which test bed is to blame."""
    own = Column("Environment", 0.1, count("datum.now.environment.doc_count"), right=True)
    return comparison(
        f"{prefix}-verdicts-*", "triage.testbed", "Test bed", BEDS, columns=(*RATE_COLUMNS, own, _LAST)
    )  # fmt: skip


def builds(prefix: str) -> Spec:
    """Which build is to blame."""
    return comparison(f"{prefix}-verdicts-*", "service.version", "Build", BUILDS, columns=(*RATE_COLUMNS, _LAST))


def cases(prefix: str) -> Spec:
    """Which test cases fail most."""
    return comparison(f"{prefix}-verdicts-*", "test.case.name", "Test case", CASES, columns=(*RATE_COLUMNS, _LAST))


def teams(prefix: str) -> Spec:
    """Which team has how many runs to look at."""
    columns = (
        Column("Runs to look at", 0.15, count("datum.now.doc_count"), bar="datum.now.doc_count / data('answer')[0].most"),
        Column("Week before", 0.12, count("datum.before.doc_count"), right=True),
        Column("Failed", 0.12, count("datum.now.failed.value"), right=True),
        Column("To review", 0.12, count("datum.now.review.doc_count"), right=True),
        Column("Anomalous passes", 0.12, count("datum.now.anomalous.doc_count"), right=True),
        _LAST,
    )
    query = f"(triage.failed:1 OR triage.needs_review:true OR triage.anomalous:true) AND {NOT_CANARY}"
    spec = comparison(f"{prefix}-verdicts-*", "triage.team", "Team", TEAMS, query=query, missing="no team", columns=columns)
    # The longest bar is that of the team with most runs.
    spec["data"][0]["transform"] = [{"type": "joinaggregate", "fields": ["now.doc_count"], "ops": ["max"], "as": ["most"]}]
    return spec


def alive(prefix: str) -> Spec:
    """Whether verdicts and reports of workers still arrive."""

    def within(**limits: str) -> Spec:
        return {"filter": {"bool": {"filter": [{"range": {"@timestamp": limits}}, {"query_string": {"query": NOT_CANARY}}]}}}

    # A verdict about a canary shows that the pipeline is alive, but does not count as a run.
    verdicts = request(f"{prefix}-verdicts-*", {
        "last": {"max": {"field": "@timestamp"}},
        "now": within(gte="now-1h"),
        "before": within(gte="now-169h", lt="now-168h"),
    }, {"range": {"@timestamp": {"gte": "now-31d"}}}, query="*")  # fmt: skip
    recent = {"range": {"@timestamp": {"gte": "now-5m"}}}
    workers = request(f"{prefix}-workers-*", {
        "day": {"cardinality": {"field": "service.instance.id"}},
        "recent": {"filter": recent, "aggs": {
            "workers": {"cardinality": {"field": "service.instance.id"}},
            "behind": {"max": {"field": "triage.messages_behind"}},
            "trouble": {"filter": {"exists": {"field": "triage.trouble"}}, "aggs": {
                "workers": {"cardinality": {"field": "service.instance.id"}}}}}},
        "rejected": {"sum": {"field": "triage.refused"}},
        "failed": {"sum": {"field": "triage.flush_failures"}},
    }, {"range": {"@timestamp": {"gte": "now-1d"}}}, query="*")  # fmt: skip
    v, w = "data('verdicts')[0]", "data('workers')[0]"
    age = f"(now() - {v}.last.value) / 60000"
    minutes, hours = f"format({age}, '.0f') + ' min'", f"format({age} / 60, '.0f') + ' h'"
    since = f"{v}.last.value ? ({age} < 120 ? {minutes} : {hours}) : 'none'"
    shown = (
        tile_of("Since the last verdict", since, "'red after 30 minutes without one'",
                f"{v}.last.value && {age} < 30 ? '{GOOD}' : '{BAD}'"),
        tile_of("Verdicts in an hour", count(f"{v}.now.doc_count"),
                f"'a week ago: ' + {count(f'{v}.before.doc_count')}"),
        tile_of("Workers that report", f"{w}.recent.workers.value + ' of ' + {w}.day.value",
                "'in 5 minutes, of those in a day'",
                f"{w}.recent.workers.value < max(1, {w}.day.value) ? '{BAD}' : '{GOOD}'"),
        tile_of("Workers with a problem", f"'' + {w}.recent.trouble.workers.value", "'in 5 minutes'",
                f"{w}.recent.trouble.workers.value ? '{BAD}' : '{GOOD}'"),
        tile_of("Messages behind", count(f"({w}.recent.behind.value || 0)"), "'most of one worker, in 5 minutes'",
                f"({w}.recent.behind.value || 0) > 10000 ? '{DOUBTFUL}' : ''"),
        tile_of("Rejected", count(f"{w}.rejected.value"),
                f"'in a day; failed flushes: ' + {count(f'{w}.failed.value')}",
                f"{w}.rejected.value ? '{BAD}' : '{GOOD}'"),
    )  # fmt: skip
    data: list[Spec] = [
        {"name": "workers", "url": workers, "format": {"property": "aggregations"}},
        {"name": "verdicts", "url": verdicts, "format": {"property": "aggregations"}},
        {"name": "tiles", "source": "verdicts", "transform": each_of(f"[{', '.join(shown)}]")},
    ]
    return page(data, tile_marks(len(shown)))


def _keys(prefix: str, kinds: dict[str, Any], query: str, empty: str) -> Spec:
    """Keys among the anomalies with a line of each. Inside of nested documents only Vega can count."""
    runs = {"runs": {"reverse_nested": {}, "aggs": {
        "first": {"min": {"field": "@timestamp"}}, "last": {"max": {"field": "@timestamp"}},
        "beds": {"cardinality": {"field": "triage.testbed"}}, "failed": {"avg": {"field": "triage.failed"}}}}}  # fmt: skip
    line = {"line": {"top_hits": {"size": 1, "_source": ["triage.anomalies.text"]}}}
    keys = {
        "terms": {"field": "triage.anomalies.key", "size": KEYS, "order": [{"runs": "desc"}, {"_key": "asc"}]},
        "aggs": {**runs, **line},
    }
    chosen = {"chosen": {"filter": {"bool": kinds}, "aggs": {"keys": keys}}}
    aggs = {"anomalies": {"nested": {"path": "triage.anomalies"}, "aggs": chosen}}
    columns = (
        Column("A line of this kind", 0.46, "datum.line.hits.hits[0]._source.text"),
        Column("Runs", 0.08, count("datum.runs.doc_count"), right=True),
        Column("Of them failed", 0.1, percent("datum.runs.failed.value"), right=True),
        Column("Test beds", 0.08, count("datum.runs.beds.value"), right=True),
        Column("First seen", 0.14, date("datum.runs.first.value"), right=True),
        Column("Last seen", 0.14, date("datum.runs.last.value"), right=True),
    )
    wanted = request(f"{prefix}-verdicts-*", aggs, NOW, query=query)
    return bucket_table(wanted, "aggregations.anomalies.chosen.keys.buckets", columns, KEYS, empty=empty)


_HAS_LINE: Final = [{"exists": {"field": "triage.anomalies.number"}}]


def new_keys(prefix: str) -> Spec:
    """Kinds of line that the bundle does not know."""
    kinds = {"filter": [{"prefix": {"triage.anomalies.key": "new:"}}, *_HAS_LINE]}
    return _keys(prefix, kinds, f"triage.anomaly_kinds:new AND {NOT_CANARY}", "no new kinds of line in this time range")


def known_keys(prefix: str) -> Spec:
    """Known kinds of line at which runs differ from passing runs."""
    kinds = {"filter": _HAS_LINE, "must_not": [{"prefix": {"triage.anomalies.key": "new:"}}]}
    return _keys(prefix, kinds, NOT_CANARY, "no anomalies among known kinds of line in this time range")
