"""Scores, rule hits and what is known of the input in; label, probabilities and doubts out."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.records import Repairs

__all__ = ["Decision", "RuleVote", "decide", "input_doubts", "softmax"]

# Share of lines with characters that had to be replaced above which the text itself is in doubt.
DAMAGED_LINE_SHARE = 0.01


class RuleVote(NamedTuple):
    """What one hand-written rule that matched says."""

    name: str
    label: int
    weight: float
    veto: bool
    cause: Literal["product", "environment", "script"] | None


class Decision(NamedTuple):
    label: int
    rival: int
    confidence: float
    probabilities: NDArray[np.float64]
    doubts: list[str]
    cause: Literal["product", "environment", "script"] | None


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(scores - scores.max())
    return np.asarray(exponentials / exponentials.sum())


def decide(scores: NDArray[np.float64], votes: Sequence[RuleVote], passing: int, review_below: float) -> Decision:
    """Label from calibrated log-odds `scores`, shape (L,), and the rules that matched.

    A veto sets the label, with confidence 1; where vetoes disagree, the first in the file wins and the run needs a review.
    The rival is the label that evidence speaks against: the passing one, or the runner-up of a passing run.
    """
    scores = scores.copy()
    for vote in votes:
        scores[vote.label] += vote.weight
    probabilities = softmax(scores)
    vetoes = [vote for vote in votes if vote.veto]
    label = vetoes[0].label if vetoes else int(scores.argmax())
    ranking = np.argsort(-scores, kind="stable").tolist()
    rival = next(i for i in ranking if i != label) if label == passing else passing
    confidence = 1.0 if vetoes else float(probabilities[label])
    doubts = [f"rules {vetoes[0].name} and {v.name} disagree" for v in vetoes[1:] if v.label != label]
    if confidence < review_below:
        doubts.append(f"confidence {confidence:.2f} is below {review_below:.2f}")
    cause = next((vote.cause for vote in votes if vote.label == label and vote.cause), None)
    return Decision(label, rival, confidence, probabilities, doubts, cause)


def input_doubts(lines: int, known_lines: int, repairs: Sequence[Repairs], review_below_known: float) -> list[str]:
    """Reasons in the input, not in the model, why a verdict needs a review; `lines` counts lines with text."""
    if not lines:
        return ["the run has no text"]
    doubts = []
    if known_lines < review_below_known * lines:
        doubts.append(f"only {100 * known_lines / lines:.0f} % of the lines are of a kind this bundle knows")
    doubts += dict.fromkeys(problem for repair in repairs for problem in repair.problems)
    cut = sum(repair.cut_lines for repair in repairs)
    if cut:
        doubts.append(f"{cut} lines were cut at the length limit")
    replaced = sum(repair.invalid_bytes + repair.nul_bytes for repair in repairs)
    if replaced > DAMAGED_LINE_SHARE * lines:
        doubts.append(f"{replaced} byte sequences were no text and were replaced")
    return doubts
