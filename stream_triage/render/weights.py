"""A verdict in; its evidence, and how the weights add up to the score of the label, as rows of tables out."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from rich.text import Text

from stream_triage.records import Evidence, Share, Verdict
from stream_triage.render.cells import plain, weight

__all__ = ["evidence_rows", "score_rows"]

EVIDENCE_SHOWN: Final = 10
MISSING_SHOWN: Final = 5
# Smaller weights would be shown as +0.00 or -0.00.
_SHOWN_FROM: Final = 0.005
MODEL_WORDS: Final[Mapping[str, str]] = {"terms": "words", "charcnn": "characters"}
"""What people call a classifier, if that is not its name in the card of a bundle."""


def shown_evidence(verdict: Verdict) -> list[Evidence]:
    """Lines and rules before missing lines, which nobody can look up."""
    lines = [item for item in verdict.evidence if item.kind != "missing"][:EVIDENCE_SHOWN]
    return lines + [item for item in verdict.evidence if item.kind == "missing"][:MISSING_SHOWN]


def evidence_rows(verdict: Verdict) -> Iterator[tuple[Text, Text, Text]]:
    """Weight, what it comes from, and text. What needs more words, and the note of a rule, has a row below."""
    for item in shown_evidence(verdict):
        origin = _origin(item)
        if verdict.rival and item.kind == "line" and not origin:  # no part of its weight is large enough to be shown
            origin = "broke here"
        yield _item_weight(item), Text(origin, style="dim"), plain(item.model_copy(update={"note": ""}).words())
        if any(part.what and abs(part.weight) >= _SHOWN_FROM for part in item.parts):
            yield Text(""), Text(""), plain(f"  {_parts_words(item.parts)}", "dim")
        if item.note:
            yield Text(""), Text(""), plain(f"  note: {item.note}", "dim")


def score_rows(verdict: Verdict) -> Iterator[tuple[Text, Text]]:
    """How the score of the label against its rival adds up. Nothing for verdicts of versions that did not say it."""
    if not verdict.rival:
        return
    shown = sum(item.weight for item in shown_evidence(verdict))
    hidden = sum(item.weight for item in verdict.evidence) - shown
    rows = [(shown, "evidence above"), (hidden, "evidence not shown here")]
    rows += [(share.weight, _rest_words(share)) for share in verdict.rest]
    for value, words in rows:
        if abs(value) >= _SHOWN_FROM:
            yield weight(value), plain(words)
    yield weight(verdict.score), plain(f"log-odds of {verdict.label} against {verdict.rival}", "bold")


def _item_weight(item: Evidence) -> Text:
    """A rule without weight is a veto, or supports a label that was not a candidate; a number would mislead."""
    return Text("rule") if item.kind == "rule" and not item.weight else weight(item.weight)


def _origin(item: Evidence) -> str:
    """The classifiers that contribute, the strongest first."""
    return "rule" if item.kind == "rule" else ", ".join(_model(name) for name, _, _ in _by_model(item.parts))


def _parts_words(parts: Sequence[Share]) -> str:
    """`procedures +2.53: unfinished registration +1.37, other signs +1.16; words +0.01`."""
    words = []
    for name, total, own in _by_model(parts):
        details = ", ".join(
            f"{part.what} {part.weight:+.2f}" for part in own if part.what and abs(part.weight) >= _SHOWN_FROM
        )
        words.append(f"{_model(name)} {total:+.2f}" + (f": {details}" if details else ""))
    return "; ".join(words)


def _by_model(parts: Sequence[Share]) -> list[tuple[str, float, list[Share]]]:
    """Name of each classifier, its weight and its parts; those that round to nothing are left out."""
    ordered = sorted(parts, key=lambda part: part.model)
    grouped = ((name, list(own)) for name, own in groupby(ordered, key=lambda part: part.model))
    summed = [(name, sum(part.weight for part in own), own) for name, own in grouped]
    return sorted((one for one in summed if abs(one[1]) >= _SHOWN_FROM), key=lambda one: -abs(one[1]))


def _rest_words(share: Share) -> str:
    return f"{_model(share.model)}: {share.what}" if share.model else share.what


def _model(name: str) -> str:
    return MODEL_WORDS.get(name, name)
