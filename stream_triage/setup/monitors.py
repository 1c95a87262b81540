"""Settings in; monitors of the plugin Alerting out, which apply the rules of our alerts (docs/alerts.md) to the index.

Each monitor is a query and a condition in Painless. Without a notification channel its alerts appear in Dashboards only.
"""

from typing import Any, Final

from stream_triage.alerting.rules import RARE
from stream_triage.clients.search import SearchServer
from stream_triage.records import CANARY
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes, digest

__all__ = ["MINUTES", "MONITORS", "create_monitors", "monitor"]

# Monitors run once in so many minutes, and look at the verdicts since.
MINUTES: Final = 5
ALERTING: Final = "_plugins/_alerting/monitors"
NOT_CANARY: Final = {"bool": {"must_not": {"term": {"test.case.name": CANARY}}}}
# As in rule `failure_rate`, but by time: runs of the last day, compared with those of the 30 days before.
MIN_RECENT_RUNS: Final = 10
MIN_EARLIER_RUNS: Final = 20
TEST_CASES: Final = 1000
NEW_KEYS: Final = 100


def _term(field: str, value: object) -> dict[str, Any]:
    return {"term": {field: value}}


# A verdict that needs a review is no failure, and raises no alarm as if it were one.
_DECIDED: Final = _term("triage.needs_review", False)


def _ago(start: str, end: str = "") -> dict[str, Any]:
    """From `start` before the end of the period to `end` before it; the plugin replaces `{{period_end}}` by that time."""
    limits = {"gte": f"{{{{period_end}}}}||-{start}", "lt": f"{{{{period_end}}}}||-{end}" if end else "{{period_end}}"}
    return {"range": {"@timestamp": {**limits, "format": "epoch_millis"}}}


def _within(*filters: dict[str, Any]) -> dict[str, Any]:
    """Runs of the last minutes, counted by team and label."""
    query = {"bool": {"filter": [_ago(f"{MINUTES}m"), NOT_CANARY, *filters]}}
    teams = {"terms": {"field": "triage.team", "missing": "none", "size": 20}}
    labels = {"terms": {"field": "triage.label", "size": 20}}
    by = {"teams": teams, "labels": labels}
    return {"size": 0, "track_total_hits": True, "query": query, "aggregations": by}


def _each(name: str, count: bool = True) -> str:
    """Mustache that lists the buckets of an aggregation, with their counts."""
    buckets = f"ctx.results.0.aggregations.{name}.buckets"
    bucket = " {{key}} ({{doc_count}})" if count else " {{key}}"
    return f"{{{{#{buckets}}}}}{bucket}{{{{/{buckets}}}}}"


_FAILED: Final = {"failed": {"sum": {"field": "triage.failed"}}}
# The probability of at least as many failures (binomial), as in alerting/rules.py; each term comes from the one before.
_RARER: Final = (
    f"if (params.runs < {MIN_RECENT_RUNS} || params.before < {MIN_EARLIER_RUNS} || params.failed == 0) {{ return false; }}"
    " double usual = (params.failed_before + 1.0) / (params.before + 2.0);"
    " double chance = 0.0; double log = params.runs * Math.log(1.0 - usual);"
    " for (int i = 0; i <= params.runs; ++i) {"
    " if (i >= params.failed) { chance += Math.exp(log); }"
    " log += Math.log((params.runs - i) / (i + 1.0)) + Math.log(usual / (1.0 - usual)); }"
    f" return chance < {RARE};"
)
_CASES: Final = {
    "size": 0,
    "query": {"bool": {"filter": [_ago("31d"), NOT_CANARY, _DECIDED]}},
    "aggregations": {
        "matches": {
            "terms": {"field": "test.case.name", "size": TEST_CASES},
            "aggregations": {
                "recent": {"filter": _ago("1d"), "aggregations": _FAILED},
                "earlier": {"filter": _ago("31d", "1d"), "aggregations": _FAILED},
                "rarer": {
                    "bucket_selector": {
                        "buckets_path": {
                            "runs": "recent._count",
                            "failed": "recent>failed",
                            "before": "earlier._count",
                            "failed_before": "earlier>failed",
                        },
                        "script": _RARER,
                    }
                },
            },
        }
    },
}
# The newest keys come first, so that keys which no run had before are among the first.
_BEFORE_END: Final = {"range": {"@timestamp": {"lt": "{{period_end}}", "format": "epoch_millis"}}}
_NEW: Final = {
    "size": 0,
    "query": {"bool": {"filter": [NOT_CANARY, _DECIDED, _BEFORE_END]}},
    "aggregations": {
        "matches": {
            "terms": {"field": "triage.anomaly_keys", "include": "new:.*", "size": NEW_KEYS, "order": {"first": "desc"}},
            "aggregations": {
                "first": {"min": {"field": "@timestamp"}},
                "before": {"filter": _ago("3650d", f"{MINUTES}m")},
                "unseen": {"bucket_selector": {"buckets_path": {"before": "before._count"}, "script": "params.before == 0"}},
            },
        }
    },
}
_SOME: Final = "ctx.results[0].hits.total.value > 0"
_MATCHES: Final = "ctx.results[0].aggregations.matches.buckets.size() > 0"
_COUNT: Final = "{{ctx.results.0.hits.total.value}}"
_TEAMS, _LABELS, _NAMES = _each("teams"), _each("labels"), _each("matches", count=False)
_STOPPED: Final = {
    "size": 0,
    "query": _ago("1d"),
    "aggregations": {"now": {"filter": _ago("30m")}},
}

# By name: query, condition, message. Names are part of the identity of a monitor: never change them.
MONITORS: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "failed run": (
        _within(_term("triage.passed", False), _DECIDED), _SOME, f"{_COUNT} runs failed; teams:{_TEAMS}; labels:{_LABELS}"),
    "anomalous pass": (
        _within(_term("triage.passed", True), _term("triage.anomalous", True), _DECIDED), _SOME,
        f"{_COUNT} runs passed and are anomalous; teams:{_TEAMS}"),
    "disagreement with the harness": (
        _within(_term("triage.disagreement", True), _DECIDED), _SOME,
        f"{_COUNT} verdicts contradict the harness; teams:{_TEAMS}; labels:{_LABELS}"),
    "new template": (
        _NEW, _MATCHES, f"keys of lines that no run had before:{_NAMES}"),
    "failure rate of a test case": (
        _CASES, _MATCHES, f"test cases that fail far more often in the last day than in the 30 days before:{_NAMES}"),
    "verdicts stopped": (
        _STOPPED, "ctx.results[0].hits.total.value > 0 && ctx.results[0].aggregations.now.doc_count == 0",
        "no verdict for 30 minutes, but there were some in the last day; is a worker running?"),
}  # fmt: skip


def create_monitors(server: SearchServer, settings: OpenSearchSettings, changes: Changes) -> None:
    """Creates missing monitors, and replaces those of another version; what users changed in others stays."""
    with changes.optional("monitors", "opensearch-alerting"):
        for name in MONITORS:
            wanted = monitor(settings, name)
            query = {"size": 1, "query": {"term": {"monitor.name.keyword": wanted["name"]}}}
            known = server.request("POST", f"{ALERTING}/_search", query).get("hits", {}).get("hits", [])
            if known and _digest_of(known[0]["_source"]) == wanted["ui_metadata"]["stream_triage"]:
                continue
            if changes.note(f"{'update' if known else 'create'} monitor {wanted['name']}"):
                method, path = ("PUT", f"{ALERTING}/{known[0]['_id']}") if known else ("POST", ALERTING)
                server.request(method, path, wanted)


def monitor(settings: OpenSearchSettings, name: str) -> dict[str, Any]:
    """Returns the monitor as the API of the plugin accepts it."""
    query, condition, message = MONITORS[name]
    actions = []
    if settings.notification_channel:
        actions = [
            {
                "name": "notify",
                "destination_id": settings.notification_channel,
                "subject_template": {"source": f"stream-triage: {name}", "lang": "mustache"},
                "message_template": {"source": message, "lang": "mustache"},
                "throttle_enabled": True,
                "throttle": {"value": 60, "unit": "MINUTES"},
            }
        ]
    trigger = {
        "name": name,
        "severity": "3",
        "condition": {"script": {"source": condition, "lang": "painless"}},
        "actions": actions,
    }
    body: dict[str, Any] = {
        "type": "monitor",
        "monitor_type": "query_level_monitor",
        "name": f"{settings.index_prefix}: {name}",
        "enabled": True,
        "schedule": {"period": {"interval": MINUTES, "unit": "MINUTES"}},
        "inputs": [{"search": {"indices": [f"{settings.index_prefix}-verdicts-*"], "query": query}}],
        "triggers": [{"query_level_trigger": trigger}],
    }
    return {**body, "ui_metadata": {"stream_triage": digest(body)}}


def _digest_of(stored: dict[str, Any]) -> object:
    """Returns the digest of a stored monitor, which some versions of the plugin wrap into an object."""
    return (stored.get("monitor", stored).get("ui_metadata") or {}).get("stream_triage")
