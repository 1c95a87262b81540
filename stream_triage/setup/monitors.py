"""Monitors of the plugin Alerting, beside the alerts of our own (docs/alerts.md): the same rules, asked of the index.

Each is a query and a condition in Painless. Without a notification channel they show in Dashboards alone.
"""

from typing import Any, Final

from stream_triage.alerting.rules import RARE
from stream_triage.clients.search import SearchServer
from stream_triage.records import CANARY
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes, digest

__all__ = ["MONITORS", "make_monitors", "monitor"]

MINUTES: Final = 5
ALERTING: Final = "_plugins/_alerting/monitors"
COUNTED: Final = {"bool": {"must_not": {"term": {"test.case.name": CANARY}}}}
# As rule `failure_rate` has it, but by time: of the last day, held against the 30 days before.
MIN_RECENT_RUNS: Final = 10
MIN_EARLIER_RUNS: Final = 20
TEST_CASES: Final = 1000
NEW_KEYS: Final = 100


def _term(field: str, value: object) -> dict[str, Any]:
    return {"term": {field: value}}


def _ago(start: str, end: str = "") -> dict[str, Any]:
    """From `start` before the end of the period to `end` before it; the plugin puts that time in."""
    told = {"gte": f"{{{{period_end}}}}||-{start}", "lt": f"{{{{period_end}}}}||-{end}" if end else "{{period_end}}"}
    return {"range": {"@timestamp": {**told, "format": "epoch_millis"}}}


def _within(*filters: dict[str, Any]) -> dict[str, Any]:
    """The runs of the period, by team and label."""
    query = {"bool": {"filter": [_ago(f"{MINUTES}m"), COUNTED, *filters]}}
    teams = {"terms": {"field": "triage.team", "missing": "none", "size": 20}}
    labels = {"terms": {"field": "triage.label", "size": 20}}
    by = {"teams": teams, "labels": labels}
    return {"size": 0, "track_total_hits": True, "query": query, "aggregations": by}


def _each(name: str, count: bool = True) -> str:
    """Mustache for the buckets of an aggregation."""
    place = f"ctx.results.0.aggregations.{name}.buckets"
    shown = " {{key}} ({{doc_count}})" if count else " {{key}}"
    return f"{{{{#{place}}}}}{shown}{{{{/{place}}}}}"


_FAILED: Final = {"failed": {"sum": {"field": "triage.failed"}}}
# The chance of as many failures or more (binomial), as in alerting/rules.py; each term of the sum from the one before.
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
    "query": {"bool": {"filter": [_ago("31d"), COUNTED]}},
    "aggregations": {
        "found": {
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
# The newest keys come first, so those that nobody had before are among the first.
_NEW: Final = {
    "size": 0,
    "query": {"bool": {"filter": [COUNTED, {"range": {"@timestamp": {"lt": "{{period_end}}", "format": "epoch_millis"}}}]}},
    "aggregations": {
        "found": {
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
_FOUND: Final = "ctx.results[0].aggregations.found.buckets.size() > 0"
_COUNT: Final = "{{ctx.results.0.hits.total.value}}"
_TEAMS, _LABELS, _NAMES = _each("teams"), _each("labels"), _each("found", count=False)
_STOPPED: Final = {
    "size": 0,
    "query": _ago("1d"),
    "aggregations": {"now": {"filter": _ago("30m")}},
}

# By name: query, condition, message.
MONITORS: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "failed run": (
        _within(_term("triage.passed", False)), _SOME, f"{_COUNT} runs failed; teams:{_TEAMS}; labels:{_LABELS}"),
    "anomalous pass": (
        _within(_term("triage.passed", True), _term("triage.anomalous", True)), _SOME,
        f"{_COUNT} runs passed and look like no passing run; teams:{_TEAMS}"),
    "disagreement with the harness": (
        _within(_term("triage.disagreement", True)), _SOME,
        f"{_COUNT} verdicts differ from what the harness said; teams:{_TEAMS}; labels:{_LABELS}"),
    "new template": (
        _NEW, _FOUND, f"kinds of line that no run had before:{_NAMES}"),
    "failure rate of a test case": (
        _CASES, _FOUND, f"test cases that fail far more often in the last day than in the 30 days before:{_NAMES}"),
    "verdicts stopped": (
        _STOPPED, "ctx.results[0].hits.total.value > 0 && ctx.results[0].aggregations.now.doc_count == 0",
        "no verdict for 30 minutes, though there were some in the last day; is a worker running?"),
}  # fmt: skip


def make_monitors(server: SearchServer, settings: OpenSearchSettings, changes: Changes) -> None:
    """What users changed in a monitor stays until a version of ours asks something else."""
    with changes.optional("monitors", "opensearch-alerting"):
        for name in MONITORS:
            wanted = monitor(settings, name)
            query = {"size": 1, "query": {"term": {"monitor.name.keyword": wanted["name"]}}}
            found = server.request("POST", f"{ALERTING}/_search", query).get("hits", {}).get("hits", [])
            if found and _digest_of(found[0]["_source"]) == wanted["ui_metadata"]["stream_triage"]:
                continue
            if changes.note(f"{'change' if found else 'make'} monitor {wanted['name']}"):
                method, place = ("PUT", f"{ALERTING}/{found[0]['_id']}") if found else ("POST", ALERTING)
                server.request(method, place, wanted)


def monitor(settings: OpenSearchSettings, name: str) -> dict[str, Any]:
    """The body that the plugin takes."""
    query, condition, message = MONITORS[name]
    actions = []
    if settings.notification_channel:
        actions = [
            {
                "name": "tell",
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


def _digest_of(found: dict[str, Any]) -> object:
    """Of a stored monitor, which some versions wrap once more."""
    told = found.get("monitor", found)
    return (told.get("ui_metadata") or {}).get("stream_triage")
