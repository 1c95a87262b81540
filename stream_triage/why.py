"""What became of the procedures of a run, its decision and evidence in; one sentence that says why it has its label out.

A sentence that nothing but weights supports says so: it begins with `not proved: ` and names what weighs most.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from stream_triage.dialects import LAYERS
from stream_triage.model import Model
from stream_triage.records import NOT_PROVED, Evidence, Share, Ues, cut, line_in_words
from stream_triage.stages.procedures import ProcedureState
from stream_triage.stages.procedures.breaks import run_breaks
from stream_triage.stages.procedures.sentence import Reason, reason_of
from stream_triage.stages.verdict import Decision

__all__ = ["reason_for", "sentence"]

States = Mapping[str, ProcedureState]
"""By source."""

# Characters of a sentence; names of sources, and the ids that a log gives its UEs, may be long.
MAX_SENTENCE: Final = 500
# Characters of the line that a rule without a note is about.
MAX_QUOTED: Final = 80
# What a classifier judges a line by, for those that cannot say what they saw in it.
_JUDGED_BY: Final[Mapping[str, str]] = {"terms": "words", "charcnn": "characters"}


def reason_for(model: Model, states: States, decision: Decision) -> Reason:
    """What the procedures show of the label: a sentence, and the lines of it; both empty if they show nothing of it."""
    if model.procedures is None:
        return Reason("")
    label = model.card.labels[decision.label]
    return reason_of(model.procedures.follower, states, label, passed=decision.label == model.passing)


def sentence(
    model: Model, states: States, decision: Decision, *, shown: str, evidence: Sequence[Evidence], ues: Ues | None
) -> str:
    """The sentence of a verdict. `shown` is that of the `Reason`, and `evidence` has the rules that matched too."""
    other = "" if shown else _first_break(model, states)
    passed = decision.label == model.passing
    whole = _why_passed(shown, other, ues, decision.doubts) if passed else _why_failed(shown, other, evidence)
    return cut(whole, MAX_SENTENCE)


def _first_break(model: Model, states: States) -> str:
    """What broke first in any layer, behind the label that it speaks for."""
    if model.procedures is None:
        return ""
    follower = model.procedures.follower
    labels = follower.dialects.procedures.labels
    label = next((labels[LAYERS[one.layer]] for one in run_breaks(follower, states) if LAYERS[one.layer] in labels), "")
    return f"{label}: {reason_of(follower, states, label, passed=False).text()}" if label else ""


def _why_failed(shown: str, other: str, evidence: Sequence[Evidence]) -> str:
    if shown:
        return shown
    rule = next((item for item in evidence if item.kind == "rule" and item.label and item.weight >= 0), None)
    if rule:
        said = rule.note or cut(rule.text.strip(), MAX_QUOTED)
        return f"rule {rule.rule}: {said} ({line_in_words(rule.source, rule.number)})"
    reason = f"what broke first speaks for {other}" if other else "no procedure shows why"
    return f"{NOT_PROVED}{reason}; {_weighs_most(evidence)}"


def _why_passed(shown: str, other: str, ues: Ues | None, doubts: Sequence[str]) -> str:
    """How far the UEs came. A run may pass although some failed."""
    failed = f"{ues.failed} of {ues.seen} UEs failed" if ues and ues.failed else ""
    came = ", but ".join(part for part in (shown, failed) if part)
    if shown and not doubts:
        return came
    against = f"what broke first speaks for {other}" if other else "no procedure shows that the run went well"
    return NOT_PROVED + "; ".join((came or against, *doubts[:1]))


def _weighs_most(evidence: Sequence[Evidence]) -> str:
    """What has the largest weight, by what its classifier judged it."""
    item = max((item for item in evidence if item.weight > 0), key=lambda item: item.weight, default=None)
    if item is None:
        return "no line speaks for the label"
    if item.kind == "missing":
        return "that a usual line never came weighs most"
    part = max(item.parts, key=lambda part: part.weight, default=Share(weight=0.0))
    if part.what:
        return f"{part.what} ({line_in_words(item.source, item.number)}) weighs most"
    by = _JUDGED_BY.get(part.model)
    return (
        f"the {by} of {line_in_words(item.source, item.number)} weigh most"
        if by
        else f"{line_in_words(item.source, item.number)} weighs most"
    )
