"""The page of one run, drawn by Vega: verdict, failed UEs, reasons for a review, headers and the strongest evidence."""

from typing import Final

from stream_triage.setup.vega import BAD, DOUBTFUL, GOOD, NOW, UNKNOWN, Spec, page, percent, request, texts
from stream_triage.setup.vega_tables import Column, table_marks

__all__ = ["run_page"]

_UES: Final = "datum.triage.ues"
_FIELDS: Final = (
    ("run", "datum.triage.run.id"),
    ("label", "datum.triage.label + (datum.triage.needs_review ? ' ?' : '')"),
    ("why", f"datum.triage.why || '{UNKNOWN}'"),
    ("probability", percent("datum.triage.confidence")),
    ("anomaly", "format(datum.triage.anomaly_score, '.2f') + (datum.triage.anomalous ? ' !' : '')"),
    ("cause", f"datum.triage.cause || '{UNKNOWN}'"),
    ("team", "datum.triage.team || 'no team'"),
    # Documents of earlier versions have no words.
    ("UEs", f"!{_UES} ? 'the log names none' : {_UES}.words ? {_UES}.words"
     f" : !{_UES}.failed ? {_UES}.seen + ' seen, none failed' : {_UES}.failed"
     f" + ' of ' + {_UES}.seen + ' UEs failed: ' + join(slice(pluck({_UES}.first, 'ue'), 0, 8), ', ')"
     f" + ({_UES}.failed > 8 ? ', …' : '')"),
    ("needs review", "length(datum.triage.review_reasons || []) ? join(datum.triage.review_reasons, '; ') : 'no'"),
)  # fmt: skip
_HEADERS: Final = 8
_EVIDENCE: Final = 10


def run_page(prefix: str) -> Spec:
    """The chosen run: verdict, why, failed UEs, review reasons, headers and top evidence; or the request to choose one."""
    wanted = request(f"{prefix}-verdicts-*", {}, NOW, query="*", size=1, sort=[{"@timestamp": "desc"}],
                     _source={"excludes": ["triage.verdict"]}, track_total_hits=True)  # fmt: skip
    pairs = ", ".join(f"{{name: {name!r}, value: {value}}}" for name, value in _FIELDS)
    shown = "datum.triage.passed && datum.triage.anomalous ? datum.triage.anomalies : datum.triage.evidence"
    # Dashboards turns the total into a number.
    total = "isObject(datum.hits.total) ? datum.hits.total.value : datum.hits.total"
    run: list[Spec] = [
        {"type": "filter", "expr": "datum.total === 1"},
        {"type": "formula", "as": "doc", "expr": "datum.hits.hits[0]._source"},
        {"type": "formula", "as": "triage", "expr": "datum.doc.triage"},
    ]
    data: list[Spec] = [
        {"name": "answer", "url": wanted, "transform": [{"type": "formula", "as": "total", "expr": total}]},
        {"name": "facts", "source": "answer", "transform": [
            *run, {"type": "formula", "as": "pairs", "expr": f"[{pairs}]"},
            {"type": "flatten", "fields": ["pairs"], "index": "place", "as": ["pair"]}]},
        {"name": "headers", "source": "answer", "transform": [
            *run, {"type": "flatten", "fields": ["triage.labels"], "index": "place", "as": ["header"]},
            {"type": "filter", "expr": f"datum.place < {_HEADERS}"}]},
        {"name": "rows", "source": "answer", "transform": [
            *run, {"type": "formula", "as": "shown", "expr": shown},
            {"type": "flatten", "fields": ["shown"], "as": ["item"]},
            {"type": "filter", "expr": "isValid(datum.item)"},
            {"type": "formula", "as": "missing", "expr": "datum.item.kind === 'missing' ? 1 : 0"},
            {"type": "formula", "as": "weight", "expr": "isValid(datum.item.weight) ? datum.item.weight : datum.item.score"},
            {"type": "collect", "sort": {"field": ["missing", "weight"], "order": ["ascending", "descending"]}},
            {"type": "window", "ops": ["row_number"], "as": ["row"]},
            {"type": "filter", "expr": f"datum.row <= {_EVIDENCE}"}]},
    ]  # fmt: skip
    return page(data, _run_marks())


def _run_marks() -> list[Spec]:
    y = {"signal": "16 + datum.place * 24"}
    colour = f"datum.triage.needs_review ? '{DOUBTFUL}' : datum.triage.passed ? '{GOOD}' : '{BAD}'"
    answer = "data('answer')[0].total"
    hint = (
        f"!length(data('answer')) || {answer} === 1 ? '' : {answer} > 1 ? "
        f"format({answer}, ',') + ' runs match: choose one above'"
        " : 'Choose a run: click on it in a list of another board, or choose it above'"
    )
    middle = {"signal": "width / 2"}, {"signal": "height / 3"}
    weight = "datum.item.kind === 'rule' && !datum.weight ? 'rule' : format(datum.weight, '.2f')"
    where = (
        "(datum.item.source ? datum.item.source + ':' : '') + (isValid(datum.item.number) ? datum.item.number + '  ' : '')"
    )
    rule = "(datum.item.rule ? 'rule ' + datum.item.rule + ': ' : isValid(datum.item.score) ? datum.item.kind + ': ' : '')"
    text = "(datum.item.text || datum.item.key || '')"
    # Documents of earlier versions have no words.
    words = f"datum.item.kind === 'missing' ? 'never came: ' + {text} : {where} + {rule} + {text}"
    words = f"datum.item.words ? (isValid(datum.item.score) ? datum.item.kind + ': ' : '') + datum.item.words : {words}"
    encode = {"update": {"y": {"value": 256}, "width": {"signal": "width"}}}
    evidence = table_marks(
        (Column("Weight", 0.06, weight), Column("Evidence (of a run that passed: its anomalies, if any)", 0.94, words))
    )
    labels = "length(data('headers')[0].triage.labels)"
    more = f"({labels} > {_HEADERS} ? ' (the first {_HEADERS} of ' + {labels} + ')' : '')"
    heading = f"length(data('headers')) ? 'Headers' + {more} : ''"
    right = {"signal": "width * 0.56"}
    return [
        *texts("", hint, *middle, 18, align="center", limit="width"),
        *texts("facts", "datum.pair.name", {"value": 0}, y, 13, weight=700, limit="140"),
        *texts("facts", "datum.pair.value", {"value": 150}, y, 13, limit="width * 0.55 - 160",
               colour=f"datum.pair.name === 'label' ? {colour} : ''", weight=500),
        *texts("", heading, right, {"value": 16}, 13, weight=700, limit="width * 0.4"),
        *texts("headers", "datum.header", right, {"signal": "40 + datum.place * 24"}, 13, limit="width * 0.44"),
        {"type": "group", "encode": encode, "marks": evidence},
    ]  # fmt: skip
