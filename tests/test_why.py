"""The sentence of a verdict: what a procedure or a rule shows, and `not proved` where only weights speak."""

from collections.abc import Sequence

import numpy as np
import pytest

from stream_triage.dialects import Dialects
from stream_triage.records import NOT_PROVED, Evidence, Share, Ues
from stream_triage.stages.procedures import ProcedureState
from stream_triage.stages.procedures.classifier import Procedures
from stream_triage.stages.procedures.trees import Trees
from stream_triage.stages.verdict import Decision
from stream_triage.why import MAX_SENTENCE, reason_for, sentence
from tests.stages.test_procedures import ACTIVATE, REFUSED, attached, follow, trouble
from tests.verdicts import make_verdict

LABELS = ("Pass", "L2", "L3")
LINE = Evidence(kind="line", weight=2.0, source="du", number=7, text="x", parts=(Share(model="terms", weight=2.0),))
MISSING = Evidence(kind="missing", weight=3.0, key="k", text="session up")


def trees(outputs: int) -> Trees:
    """Trees that know nothing: their scores are 0."""
    empty = np.zeros(0)
    names = ("feature", "threshold", "left", "right", "missing_left", "value", "roots", "outputs")
    return Trees({**dict.fromkeys(names, empty), "base": np.zeros(outputs)})


class _Card:
    labels = LABELS


class _Model:
    """As much of a bundle as a sentence needs."""

    card, passing = _Card, 0

    def __init__(self, followed: bool = True) -> None:
        made = Procedures(LABELS, 0, usual=frozenset(), failed=trees(1), layer=trees(2), layers=(1, 2), dialects=Dialects())
        self.procedures = made if followed else None


def why(
    label: str,
    lines: Sequence[str] = (),
    evidence: Sequence[Evidence] = (),
    *,
    doubts: Sequence[str] = (),
    ues: Ues | None = None,
    model: _Model | None = None,
) -> str:
    one = model or _Model()
    decision = Decision(LABELS.index(label), 0, 0.9, np.ones(3) / 3, list(doubts), None, None, 1.0)
    states: dict[str, ProcedureState] = {"": follow([ACTIVATE, *lines])} if lines else {}
    shown = reason_for(one, states, decision).text()  # type: ignore[arg-type]
    return sentence(one, states, decision, shown=shown, evidence=evidence, ues=ues)  # type: ignore[arg-type]


def test_what_a_procedure_shows_is_said_as_it_is() -> None:
    assert why("L3", [*attached(3, "connected"), *REFUSED], [LINE]) == (
        "UE 3 connected, but the registration was refused (line 5)"
    )


def test_a_rule_shows_it_too() -> None:
    """Where no procedure does: a rule is knowledge, not a weight. One that speaks against the label is not."""
    rule = Evidence(kind="rule", weight=2.2, source="", number=7, text="  no slot free", rule="slot", label="L2")
    assert why("L2", evidence=[rule, LINE]) == "rule slot: no slot free (line 7)"
    noted = rule.model_copy(update={"note": "the cell is full"})
    assert why("L2", evidence=[noted, LINE]) == "rule slot: the cell is full (line 7)"
    against = rule.model_copy(update={"weight": -2.2, "label": "Pass"})
    assert why("L2", evidence=[against, LINE]) == "not proved: no procedure shows why; the words of du:7 weigh most"


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (LINE, "the words of du:7 weigh most"),
        (LINE.model_copy(update={"source": ""}), "the words of line 7 weigh most"),
        (LINE.model_copy(update={"parts": (Share(model="charcnn", weight=2.0),)}), "the characters of du:7 weigh most"),
        (
            LINE.model_copy(update={"parts": (Share(model="procedures", what="UEs that failed", weight=2.0),)}),
            "UEs that failed (du:7) weighs most",
        ),
        (LINE.model_copy(update={"parts": ()}), "du:7 weighs most"),
        (MISSING, "that a usual line never came weighs most"),
        (LINE.model_copy(update={"weight": -1.0}), "no line speaks for the label"),
    ],
)
def test_without_a_procedure_it_is_not_proved(item: Evidence, words: str) -> None:
    """The sentence names what weighs most, by what its classifier judged it."""
    assert why("L2", evidence=[item]) == f"{NOT_PROVED}no procedure shows why; {words}"
    assert why("L2", evidence=[item], model=_Model(followed=False)) == f"{NOT_PROVED}no procedure shows why; {words}"


def test_the_strongest_weight_is_named_not_the_first() -> None:
    assert why("L2", evidence=[LINE, MISSING]).endswith("that a usual line never came weighs most")


def test_what_broke_in_another_layer_is_named() -> None:
    """The classifiers chose a label that no procedure supports: people must see both."""
    assert why("L2", [*attached(3, "connected"), *REFUSED], [LINE]) == (
        "not proved: what broke first speaks for L3: UE 3 connected, but the registration was refused (line 5); "
        "the words of du:7 weigh most"
    )


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([*attached(1), *attached(2)], "2 UEs got a session"),
        (attached(1, "registered"), "1 UE registered"),
        (attached(1, "connected"), "1 UE connected"),
        (attached(1, "started"), f"{NOT_PROVED}what broke first speaks for L2: "),
        ([], f"{NOT_PROVED}no procedure shows that the run went well"),
    ],
)
def test_a_pass_says_how_far_its_ues_came(lines: list[str], words: str) -> None:
    assert why("Pass", lines).startswith(words)


def test_a_pass_with_failed_ues_says_so() -> None:
    """Failed UEs do not change the label, and readers must not overlook them."""
    some = Ues(seen=3, failed=1)
    assert why("Pass", [*attached(1), *attached(2)], ues=some) == "2 UEs got a session, but 1 of 3 UEs failed"
    assert why("Pass", attached(1, "started"), ues=some) == f"{NOT_PROVED}1 of 3 UEs failed"


def test_a_doubtful_pass_is_not_proved() -> None:
    """The reason of the doubt follows."""
    doubt = "confidence 0.55 is below 0.70"
    assert why("Pass", attached(1), doubts=[doubt]) == f"{NOT_PROVED}1 UE got a session; {doubt}"


def test_a_sentence_is_bounded() -> None:
    """Names of sources come from file names, and may be very long."""
    far = LINE.model_copy(update={"source": "x" * 2 * MAX_SENTENCE})
    assert len(why("L2", evidence=[far])) == MAX_SENTENCE + 1


def test_proved() -> None:
    """Verdicts of versions without a sentence prove nothing, and neither does one on a run that nothing speaks for."""
    assert make_verdict(why="1 UE registered").proved
    assert not make_verdict(why=f"{NOT_PROVED}no procedure shows why").proved
    assert not make_verdict().proved
    assert not make_verdict(label="unknown", passed=False, why="the run has no text").proved


def test_repeated_trouble_speaks_for_its_layer() -> None:
    assert why("L2", [*attached(3), *(trouble(3, sn) for sn in (1, 500, 4000))]).startswith(
        "trouble of layer 2 came 3 times at UE 3"
    )
