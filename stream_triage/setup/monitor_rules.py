"""The rules of our alerts (docs/alerts.md) in; queries, conditions and messages for monitors of the plugin Alerting out.

A rule applies to the verdicts that arrived in OpenSearch lately, whenever they were given: after an outage, a worker writes
verdicts that are hours old. Messages are Mustache, conditions are Painless, and the plugin replaces `{{period_end}}`.
"""

from typing import Any, Final, NamedTuple

from stream_triage.alerting.rules import RARE
from stream_triage.records import CANARY
from stream_triage.setup.links import ADDRESS

__all__ = ["ALERT_MINUTES", "MINUTES", "RULES", "THROTTLE_MINUTES", "Rule"]

# Monitors run once in so many minutes.
MINUTES: Final = 5
# The plugin sends one message when an alert begins and, while the alert lasts, leaves out all others until the throttle is
# over. An alert that ended earlier would never name the runs that came meanwhile. So an alert lasts for an hour after the
# last run, and the throttle is a little shorter: the hour is over when the monitor has run twelve times.
ALERT_MINUTES: Final = 60
THROTTLE_MINUTES: Final = ALERT_MINUTES - 2
# A message covers what came since the one before. A verdict is found some time after its time of arrival: a bulk request is
# repeated for a minute, then comes a refresh.
MESSAGE_MINUTES: Final = ALERT_MINUTES + 2
RUNS_SHOWN: Final = 10
NOT_CANARY: Final = {"bool": {"must_not": {"term": {"test.case.name": CANARY}}}}
# As in rule `failure_rate`, but by time: runs of the last day, compared with those of the 30 days before.
MIN_RECENT_RUNS: Final = 10
MIN_EARLIER_RUNS: Final = 20
TEST_CASES: Final = 1000
NEW_KEYS: Final = 20
# Keys that each shard looks at. The server can only tell that no run had a key before if all shards name it.
SHARD_KEYS: Final = 10_000


class Rule(NamedTuple):
    """What a monitor looks for, and what it says."""

    severity: int
    """From 1, for what cannot wait, to 5. The plugin calls it the severity of the trigger."""
    query: dict[str, Any]
    condition: str
    """True if the monitor is to raise an alert."""
    message: str
    """`<run LINK>` and `<board NAME>` stand for addresses in Dashboards."""


def _term(field: str, value: object) -> dict[str, Any]:
    return {"term": {field: value}}


# A verdict that needs a review is no failure, and raises no alarm as if it were one.
_DECIDED: Final = _term("triage.needs_review", False)


def _between(field: str, start: str, end: str) -> dict[str, Any]:
    limits = {"gte": f"{{{{period_end}}}}||-{start}", "lt": f"{{{{period_end}}}}||-{end}" if end else "{{period_end}}"}
    return {"range": {field: {**limits, "format": "epoch_millis"}}}


def _arrived(start: str, end: str = "") -> dict[str, Any]:
    """Verdicts that arrived from `start` before the end of the period to `end` before it.

    Verdicts of workers that do not write the time of arrival yet count by their own time.
    """
    unknown = {"bool": {"must_not": {"exists": {"field": "event.ingested"}}, "filter": _between("@timestamp", start, end)}}
    return {"bool": {"should": [_between("event.ingested", start, end), unknown], "minimum_should_match": 1}}


def _named(field: str, size: int = 5) -> dict[str, Any]:
    return {"terms": {"field": field, "missing": "unknown", "size": size}}


def _field(field: str, absent: str = "unknown") -> dict[str, Any]:
    """A value for people. An index of an earlier version may not have the field."""
    source = (
        "doc.containsKey(params.field) && doc[params.field].size() > 0 ? doc[params.field].value.toString() : params.absent"
    )
    return {"script": {"source": source, "params": {"field": field, "absent": absent}}}


_SHOWN: Final = {
    "run": _field("triage.run.id"),
    "address": _field(ADDRESS),
    "label": _field("triage.label"),
    "why": _field("triage.why.keyword", "not stated"),
    "evidence": _field("triage.top_evidence", "none"),
    "cause": _field("triage.cause"),
    "team": _field("triage.team"),
    "case": _field("test.case.name"),
    "bed": _field("triage.testbed"),
    "build": _field("service.version"),
    "harness": _field("test.case.result.status"),
    "time": {"script": {"source": "doc['@timestamp'].value.toString().substring(0, 16).replace('T', ' ') + ' UTC'"}},
    "reasons": {
        "script": {
            "source": "def all = doc['triage.review_reasons']; String text = '';"
            " for (int i = 0; i < all.size(); ++i) { text += (i > 0 ? '; ' : '') + all.get(i); } return text;"
        }
    },
}


def _runs(*filters: dict[str, Any]) -> dict[str, Any]:
    """Runs that a message covers, the newest ones in full; while `now` counts any, the alert lasts."""
    return {
        "size": RUNS_SHOWN,
        "track_total_hits": True,
        "_source": False,
        "query": {"bool": {"filter": [_arrived(f"{MESSAGE_MINUTES}m"), NOT_CANARY, *filters]}},
        "sort": [{"@timestamp": "desc"}],
        "script_fields": _SHOWN,
        "aggregations": {
            "now": {"filter": _arrived(f"{ALERT_MINUTES}m")},
            "beds": _named("triage.testbed", 10),
            "cases": _named("test.case.name", 10),
            "teams": _named("triage.team", 10),
            "labels": _named("triage.label", 10),
        },
    }


def _buckets(name: str, text: str, end: str = "") -> str:
    """Mustache that repeats a text for each bucket of an aggregation."""
    path = f"{name}.buckets"
    return f"{{{{#{path}}}}}{text}{{{{/{path}}}}}{end}"


_COUNTED: Final = " {{key}} ({{doc_count}})"
_RESULT: Final = "ctx.results.0"
_AGGREGATED: Final = f"{_RESULT}.aggregations"


def _listed(what: str, more: str = "") -> str:
    """The message of a rule for runs: how many there are, where, and the newest ones."""
    hits = f"{_RESULT}.hits.hits"
    run = (
        "- {{fields.time.0}}: {{fields.case.0}} on {{fields.bed.0}}, build {{fields.build.0}}: label {{fields.label.0}}, "
        f"cause {{{{fields.cause.0}}}}, team {{{{fields.team.0}}}}{more}\n  why: {{{{fields.why.0}}}}\n"
        "  {{fields.evidence.0}}\n"
        "  run {{fields.run.0}}\n  <run fields.address.0>\n"
    )
    return (
        f"{what} within an hour: {{{{{_RESULT}.hits.total.value}}}} (severity {{{{ctx.trigger.severity}}}})\n"
        f"test beds:{_buckets(f'{_AGGREGATED}.beds', _COUNTED)}\n"
        f"test cases:{_buckets(f'{_AGGREGATED}.cases', _COUNTED)}\n"
        f"labels:{_buckets(f'{_AGGREGATED}.labels', _COUNTED)}\n"
        f"teams:{_buckets(f'{_AGGREGATED}.teams', _COUNTED)}\n"
        f"the newest {RUNS_SHOWN}:\n{{{{#{hits}}}}}{run}{{{{/{hits}}}}}<board overview>"
    )


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
_FAILED: Final = {"filter": _term("triage.failed", 1)}
_CASES: Final = {
    "size": 0,
    "query": {"bool": {"filter": [_arrived("31d"), NOT_CANARY, _DECIDED]}},
    "aggregations": {
        "matches": {
            "terms": {"field": "test.case.name", "size": TEST_CASES},
            "aggregations": {
                "recent": {
                    "filter": _arrived("1d"),
                    "aggregations": {
                        "failed": {
                            **_FAILED,
                            "aggregations": {
                                "beds": _named("triage.testbed"),
                                "last": {"max": {"field": "@timestamp"}},
                                "runs": {"terms": {"field": ADDRESS, "size": 1, "order": {"time": "desc"}},
                                         "aggregations": {"time": {"max": {"field": "@timestamp"}}}},
                            },
                        }
                    },
                },
                "earlier": {"filter": _arrived("31d", "1d"), "aggregations": {"failed": _FAILED}},
                "rarer": {
                    "bucket_selector": {
                        "buckets_path": {
                            "runs": "recent._count",
                            "failed": "recent>failed._count",
                            "before": "earlier._count",
                            "failed_before": "earlier>failed._count",
                        },
                        "script": _RARER,
                    }
                },
            },
        }
    },
}  # fmt: skip
_CASES_MESSAGE: Final = (
    "test cases that fail far more often in the last day than in the 30 days before (severity {{ctx.trigger.severity}}):\n"
    + _buckets(
        f"{_AGGREGATED}.matches",
        "- {{key}}: {{recent.failed.doc_count}} of {{recent.doc_count}} runs failed, before that "
        "{{earlier.failed.doc_count}} of {{earlier.doc_count}}; the last one {{recent.failed.last.value_as_string}}; test "
        "beds:"
        + _buckets("recent.failed.beds", _COUNTED)
        + _buckets("recent.failed.runs", "\n  run {{key}}\n  <run key>")
        + "\n",
        "<board testcases>",
    )
)
# Keys that no run had before come first: the order is by the number of runs before the period.
_NEW: Final = {
    "size": 0,
    "query": {"bool": {"filter": [NOT_CANARY, _DECIDED, _arrived("3650d")]}},
    "aggregations": {
        "anomalies": {
            "nested": {"path": "triage.anomalies"},
            "aggregations": {
                "new": {
                    "filter": {"prefix": {"triage.anomalies.key": "new:"}},
                    "aggregations": {
                        "matches": {
                            "terms": {
                                "field": "triage.anomalies.key",
                                "size": NEW_KEYS,
                                "shard_size": SHARD_KEYS,
                                "order": {"runs>before": "asc"},
                            },
                            "aggregations": {
                                "text": {"terms": {"field": "triage.anomalies.text.keyword", "size": 1}},
                                "source": {"terms": {"field": "triage.anomalies.source", "size": 1}},
                                "runs": {
                                    "reverse_nested": {},
                                    "aggregations": {
                                        "before": {"filter": _arrived("3650d", f"{ALERT_MINUTES}m")},
                                        "first": {"min": {"field": "@timestamp"}},
                                        "addresses": {"terms": {"field": ADDRESS, "size": 1}},
                                        "cases": _named("test.case.name"),
                                        "beds": _named("triage.testbed"),
                                    },
                                },
                                "unseen": {
                                    "bucket_selector": {
                                        "buckets_path": {"before": "runs>before._count"},
                                        "script": "params.before == 0",
                                    }
                                },
                            },
                        }
                    },
                }
            },
        }
    },
}
_NEW_MESSAGE: Final = "kinds of line that no run had before (severity {{ctx.trigger.severity}}):\n" + _buckets(
    f"{_AGGREGATED}.anomalies.new.matches",
    "- "
    + _buckets("text", "{{key}}")
    + "\n  "
    + _buckets("source", "{{key}}, ")
    + "runs: {{runs.doc_count}} since {{runs.first.value_as_string}}; test cases:"
    + _buckets("runs.cases", _COUNTED)
    + "; test beds:"
    + _buckets("runs.beds", _COUNTED)
    + _buckets("runs.addresses", "; run {{key}}\n  <run key>")
    + "\n",
    "<board templates>",
)
_STOPPED: Final = {
    "size": 0,
    "track_total_hits": True,
    "query": _arrived("1d"),
    "aggregations": {
        "now": {"filter": _arrived("30m")},
        "last": {"max": {"field": "event.ingested"}},
    },
}
_STOPPED_MESSAGE: Final = (
    "no verdict was written for 30 minutes; in the last day: {{ctx.results.0.hits.total.value}} (severity "
    "{{ctx.trigger.severity}})\nthe last one came {{ctx.results.0.aggregations.last.value_as_string}}; is a worker "
    "running?\n"
    "<board fleet>"
)
_ARRIVED_NOW: Final = "ctx.results[0].aggregations.now.doc_count > 0"

# Names are part of the identity of a monitor: never change them.
RULES: Final[dict[str, Rule]] = {
    "verdicts stopped": Rule(
        1, _STOPPED, "ctx.results[0].hits.total.value > 0 && ctx.results[0].aggregations.now.doc_count == 0",
        _STOPPED_MESSAGE),
    "failure rate of a test case": Rule(
        2, _CASES, "ctx.results[0].aggregations.matches.buckets.size() > 0", _CASES_MESSAGE),
    "failed run": Rule(
        3, _runs(_term("triage.passed", False), _DECIDED), _ARRIVED_NOW, _listed("runs that failed")),
    "disagreement with the harness": Rule(
        3, _runs(_term("triage.disagreement", True), _DECIDED), _ARRIVED_NOW,
        _listed("verdicts that contradict the harness", more=", harness {{fields.harness.0}}")),
    "anomalous pass": Rule(
        4, _runs(_term("triage.passed", True), _term("triage.anomalous", True), _DECIDED), _ARRIVED_NOW,
        _listed("runs that passed and are anomalous")),
    "new template": Rule(
        4, _NEW, "ctx.results[0].aggregations.anomalies.new.matches.buckets.size() > 0", _NEW_MESSAGE),
    "run to review": Rule(
        5, _runs(_term("triage.needs_review", True)), _ARRIVED_NOW,
        _listed("verdicts that need a review", more="; {{fields.reasons.0}}")),
}  # fmt: skip
