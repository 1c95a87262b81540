"""Scores, matches of rules and what is known about the input in; label, probabilities and doubts out.

Every doubt is a reason why a verdict needs a review.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.records import Repairs

__all__ = ["Decision", "RuleVote", "decide", "input_doubts", "silence", "softmax"]

# The text itself is in doubt if characters were replaced in more than this share of the lines.
DAMAGED_LINE_SHARE: Final = 0.01
# Lines of unknown kinds speak for a label if together they move the log-odds between two labels by more than this: a factor
# of 20. Source code, documentation and logs of other programs move them by up to 1.3 (tm500) and 2.7 (oai5g). The samples
# of oai5g, with every line disguised by words in front of it, move them by 3.0 to 12.
SPEAKS: Final = 3.0
# Lines of known kinds, such as rows of numbers, speak for no label either if together they move the log-odds by less than a
# factor of 2. The least that a whole run of the TM500-style corpus moves them is a factor of 2.9.
NOTHING_SAID: Final = 0.7


class RuleVote(NamedTuple):
    """A hand-written rule that matched: its label (an index), and what it does to it."""

    name: str
    label: int
    weight: float
    veto: bool
    cause: Literal["product", "environment", "script"] | None


class Decision(NamedTuple):
    """The label of a run and its rival, the label that evidence is weighed against (indexes of labels)."""

    label: int
    rival: int
    confidence: float
    probabilities: NDArray[np.float64]
    """Of all labels, shape (L,)."""
    doubts: list[str]
    cause: Literal["product", "environment", "script"] | None
    cause_from: RuleVote | None
    """The rule that states the cause."""
    score: float
    """Log-odds of the label against its rival, with the weights of the rules."""


UNDECIDED: Final = Decision(-1, -1, 0.0, np.zeros(0), [], None, None, 0.0)
"""Of a bundle without labels."""


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities, shape (L,), from log-odds; exact for scores of any size."""
    exponentials = np.exp(scores - scores.max())
    return np.asarray(exponentials / exponentials.sum())


def decide(scores: NDArray[np.float64], votes: Sequence[RuleVote], passing: int, review_below: float) -> Decision:
    """Label from calibrated log-odds `scores`, shape (L,), and the rules that matched.

    A veto sets the label, with confidence 1. If vetoes disagree, the first one in the rules wins, and that is a doubt. The
    rival is the passing label, or the runner-up of a passing run. The cause is that of the first rule that has the label and
    states one. A failure without such a rule takes the first cause of any rule: a missing licence is the cause, whichever
    layer the models see it in. So does a pass that is in doubt: whoever reviews it should know of the test bed first.
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
        doubts.append(_too_low(confidence, review_below))
    causes = [vote for vote in votes if vote.cause and (vote.label == label or label != passing or doubts)]
    stated = min(causes, key=lambda vote: vote.label != label, default=None)  # the first of those with the lowest value
    score = float(scores[label] - scores[rival])
    return Decision(label, rival, confidence, probabilities, doubts, stated.cause if stated else None, stated, score)


def _too_low(confidence: float, limit: float) -> str:
    """The two numbers with as many digits as it takes to tell them apart: 0.65 is not below 0.65."""
    digits = next((digits for digits in range(2, 16) if f"{confidence:.{digits}f}" != f"{limit:.{digits}f}"), 17)
    return f"confidence {confidence:.{digits}f} is below {limit:.{digits}f}"


def input_doubts(lines: int, known_lines: int, repairs: Sequence[Repairs], review_below_known: float) -> list[str]:
    """Doubts that lie in the input, not in the model; `lines` is the number of lines with text."""
    if not lines:
        return ["the run has no text"]
    doubts = []
    if known_lines < review_below_known * lines:
        doubts.append(f"only {100 * known_lines / lines:.0f} % of the lines are of a kind this bundle knows")
    doubts += dict.fromkeys(problem for repair in repairs for problem in repair.problems)
    cut = sum(repair.cut_lines for repair in repairs)
    if cut:
        doubts.append(f"{cut} line{' was' if cut == 1 else 's were'} cut at the length limit")
    damaged = sum(repair.damaged_lines for repair in repairs)
    if damaged > DAMAGED_LINE_SHARE * lines:
        doubts.append(f"{damaged} lines have bytes that are no text; if they are in another encoding, set input.encoding")
    return doubts


def silence(lines: int, words: int, known_lines: int, moved: float, *, shown: bool = False) -> str:
    """Why nothing in a run speaks for any label; empty if something does.

    Args:
        lines: Lines with text.
        words: Distinct lines with a word.
        known_lines: Lines whose template the bundle knows.
        moved: How far all lines together move the log-odds between two labels, compared with a run that has no lines.
        shown: Whether the run shows procedures of UEs. If these go well, they speak for a pass and move no log-odds.
    """
    if not lines:
        return "the run has no text"
    if not words:
        return "no line of the run has a word"
    if not known_lines and moved <= SPEAKS:
        return "no line of the run is of a kind this bundle knows, and none speaks for a label"
    if moved <= NOTHING_SAID and not shown:
        return "no line of the run speaks for a label"
    return ""
