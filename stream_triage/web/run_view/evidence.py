"""A verdict in; what it rests on, for a page, out: evidence, each model's part, probabilities, anomalies."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stream_triage.records import UNKNOWN, Anomaly, Evidence, Share, Verdict, source_line
from stream_triage.render.weights import MODEL_WORDS
from stream_triage.web.run_view.shown import shown

__all__ = [
    "ANOMALIES_SHOWN",
    "AnomalyView",
    "EvidenceView",
    "ModelView",
    "Probability",
    "anomaly_views",
    "evidence_views",
    "is_strong",
    "model_views",
    "probabilities",
]

# A line with this share of the weight of the strongest one is worth a reader's first look.
_STRONG_SHARE: Final = 0.25
# Smaller weights would be shown as +0.00 or -0.00.
_SHOWN_FROM: Final = 0.005
ANOMALIES_SHOWN: Final = 20
# Characters of a line in a table about something else.
_SHORT: Final = 300


@dataclass(frozen=True)
class EvidenceView:
    """A row of the evidence."""

    kind: str
    weight: str
    """With its sign; empty where a number would mislead."""
    where: str
    """Such as `du:104`; empty for a line that never came."""
    anchor: str
    """Of the line on the page; empty if it is not there."""
    text: str
    hidden: int
    origin: str
    """What the item comes from, in few words: `procedures, words`, `rule tester_crash`, `broke here`."""
    parts: tuple[str, ...]
    """Where its weight comes from, in words."""
    note: str
    strong: bool


@dataclass(frozen=True)
class ModelView:
    """What one model adds to the score of the label against its rival."""

    name: str
    weight: str
    side: str
    """`for` the label, or `against` it."""
    width: str
    """Of its bar."""
    left: str
    """Where its bar begins."""


@dataclass(frozen=True)
class Probability:
    """A label and its calibrated probability."""

    label: str
    share: float
    width: str
    chosen: bool


@dataclass(frozen=True)
class AnomalyView:
    """A row of the anomalies."""

    kind: str
    where: str
    anchor: str
    text: str
    expected: str


def is_strong(verdict: Verdict, item: Evidence) -> bool:
    """Whether an item is worth a reader's first look: what broke, a rule for the label, or a line of much weight."""
    if item.kind == "missing":
        return False
    if item.kind == "rule":
        return item.weight >= 0
    most = max(one.weight for one in verdict.evidence if one.kind == "line")
    return _broke_here(verdict, item) or item.weight >= _STRONG_SHARE * most > 0


def evidence_views(verdict: Verdict, anchors: Mapping[tuple[str, int], str]) -> tuple[EvidenceView, ...]:
    """Lines and rules in the order of the verdict, then what never came.

    Args:
        verdict: Whose evidence it is.
        anchors: By source and number, the ids of the lines on the page.
    """
    ordered = sorted(verdict.evidence, key=lambda item: item.kind == "missing")
    return tuple(_evidence(verdict, item, anchors) for item in ordered)


def _evidence(verdict: Verdict, item: Evidence, anchors: Mapping[tuple[str, int], str]) -> EvidenceView:
    text, hidden = shown(item.text, _SHORT)
    bare = item.kind == "rule" and not item.weight  # a veto, or a rule for a label that was not a candidate
    return EvidenceView(
        kind=item.kind,
        weight="" if bare or _broke_here(verdict, item) else f"{item.weight:+.2f}",
        where="" if item.kind == "missing" else source_line(item.source, item.number),
        anchor="" if item.number is None else anchors.get((item.source, item.number), ""),
        text=text.strip(),
        hidden=hidden,
        origin=_origin(verdict, item),
        parts=_parts(item.parts),
        note=item.note,
        strong=is_strong(verdict, item),
    )


def _broke_here(verdict: Verdict, item: Evidence) -> bool:
    """A line that shows another place where something broke: the weight is with the first one."""
    return bool(verdict.rival) and item.kind == "line" and abs(item.weight) < _SHOWN_FROM


def _origin(verdict: Verdict, item: Evidence) -> str:
    if item.kind == "rule":
        return f"rule {item.rule}" + (f" for {item.label}" if item.label else "")
    if _broke_here(verdict, item):
        return "broke here"
    return ", ".join(_model(name) for name, _ in _by_model(item.parts).most_common())


def _parts(parts: tuple[Share, ...]) -> tuple[str, ...]:
    """`procedures +2.53: unfinished registration +1.37`, one for each model that says what it saw."""
    words = []
    for name, total in _by_model(parts).most_common():
        own = [part for part in parts if part.model == name and part.what and abs(part.weight) >= _SHOWN_FROM]
        if own:
            words.append(f"{_model(name)} {total:+.2f}: " + ", ".join(f"{part.what} {part.weight:+.2f}" for part in own))
    return tuple(words)


def _by_model(parts: tuple[Share, ...]) -> Counter[str]:
    """The weight of each model, without those that round to nothing."""
    sums: Counter[str] = Counter()
    for part in parts:
        sums[part.model] += part.weight  # type: ignore[assignment]
    return Counter({name: value for name, value in sums.items() if abs(value) >= _SHOWN_FROM})


def _model(name: str) -> str:
    return MODEL_WORDS.get(name, name)


def model_views(verdict: Verdict) -> tuple[ModelView, ...]:
    """What each model, the rules, and what belongs to no single one of them add to `verdict.score`, the strongest first."""
    if not verdict.rival:
        return ()
    sums: dict[str, float] = {}
    for item in verdict.evidence:
        if item.kind == "rule":
            sums["rules"] = sums.get("rules", 0.0) + item.weight
        for part in item.parts:
            sums[_model(part.model)] = sums.get(_model(part.model), 0.0) + part.weight
    for share in verdict.rest:
        sums[_model(share.model)] = sums.get(_model(share.model), 0.0) + share.weight
    told = sorted((one for one in sums.items() if abs(one[1]) >= _SHOWN_FROM), key=lambda one: -abs(one[1]))
    most = max((abs(value) for _, value in told), default=1.0)
    return tuple(
        ModelView(
            name=name or "other lines",
            weight=f"{value:+.2f}",
            side="for" if value > 0 else "against",
            width=f"{50 * abs(value) / most:.2f}%",
            left=f"{50 + min(0.0, 50 * value / most):.2f}%",
        )
        for name, value in told
    )


def probabilities(verdict: Verdict) -> tuple[Probability, ...]:
    """The labels of the bundle, the likeliest first; none for a run that is unknown, where they mean nothing."""
    if verdict.label == UNKNOWN:
        return ()
    ordered = sorted(verdict.probabilities.items(), key=lambda one: (-one[1], one[0]))
    return tuple(Probability(label, share, f"{100 * share:.1f}%", label == verdict.label) for label, share in ordered)


def anomaly_views(verdict: Verdict, anchors: Mapping[tuple[str, int], str]) -> tuple[AnomalyView, ...]:
    """The strongest anomalies."""
    return tuple(_anomaly(item, anchors) for item in verdict.anomalies[:ANOMALIES_SHOWN])


def _anomaly(item: Anomaly, anchors: Mapping[tuple[str, int], str]) -> AnomalyView:
    where = "" if item.number is None else source_line(item.source, item.number)
    return AnomalyView(
        kind=item.kind,
        where=where,
        anchor="" if item.number is None else anchors.get((item.source, item.number), ""),
        text=shown(item.words().removeprefix(where).strip(), _SHORT).text,
        expected=shown(item.expected, _SHORT).text if item.expected_keys else "",
    )
