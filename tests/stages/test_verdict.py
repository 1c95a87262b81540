"""The decision: probabilities, rules, rivals and doubts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage.records import Repairs
from stream_triage.stages.verdict import RuleVote, decide, input_doubts, softmax

DAMAGED = "2 lines have bytes that are no text; if they are in another encoding, set input.encoding"

PASS, L2, L3 = range(3)
scores = st.lists(st.floats(-500, 500), min_size=2, max_size=6).map(np.array)


def vote(label, weight=0.0, veto=False, name="r", cause=None) -> RuleVote:
    return RuleVote(name, label, weight, veto, cause)


def decided(values, votes=(), review_below=0.5):
    return decide(np.array(values, dtype=float), list(votes), PASS, review_below)


@given(values=scores, shift=st.floats(-1000, 1000))
def test_softmax(values, shift):
    """Probabilities: they add up to one, keep the order, and do not see a common shift, however large the scores."""
    found = softmax(values)
    assert found.sum() == pytest.approx(1)
    assert ((found >= 0) & np.isfinite(found)).all()
    assert found[values.argmax()] == found.max()
    assert softmax(values + shift) == pytest.approx(found, abs=1e-9)


def test_softmax_of_log_odds():
    assert softmax(np.log([1.0, 2.0, 5.0])) == pytest.approx([1 / 8, 2 / 8, 5 / 8])


@given(values=scores)
def test_label_is_the_most_probable(values):
    """Without rules: the label's probability is the confidence, and the rival is the passing label or the runner-up."""
    decision = decide(values, [], PASS, 0.0)
    assert values[decision.label] == values.max()
    assert decision.confidence == decision.probabilities[decision.label]
    assert decision.rival != decision.label
    if decision.label == PASS:
        assert values[decision.rival] == max(values[1:])
    else:
        assert decision.rival == PASS


@given(values=scores, weight=st.floats(-20, 20))
def test_weight_moves_the_log_odds(values, weight):
    """By as much as it says; the scores that were passed in stay as they are."""
    before = values.copy()
    found = decide(values, [vote(1, weight)], PASS, 0.0).probabilities
    assert (values == before).all()
    values[1] += weight
    assert found == pytest.approx(softmax(values))


@given(values=scores, label=st.integers(0, 1))
def test_veto_sets_the_label(values, label):
    """With confidence 1, whatever the model says; the probabilities stay the model's."""
    decision = decide(values, [vote(label, veto=True)], PASS, 0.99)
    assert (decision.label, decision.confidence, decision.doubts) == (label, 1.0, [])
    assert decision.probabilities == pytest.approx(softmax(values))
    assert decision.rival != label


def test_first_veto_wins_and_disagreement_is_a_doubt():
    votes = [vote(L3, veto=True, name="a"), vote(L2, veto=True, name="b"), vote(L3, veto=True, name="c")]
    decision = decided([9, 0, 0], votes)
    assert decision.label == L3
    assert decision.doubts == ["rules a and b disagree"]


def test_weights_that_disagree_with_a_veto_are_no_doubt():
    assert decided([0, 0, 0], [vote(L2, 9.0), vote(L3, veto=True)]).doubts == []


@pytest.mark.parametrize(("limit", "doubts"), [(0.5, []), (0.51, ["confidence 0.50 is below 0.51"])])
def test_review_limit(limit, doubts):
    """At the limit the label stands; below it a review is due."""
    assert decided([0, math.log(0.5), math.log(0.5)], review_below=limit).doubts == doubts


def test_cause_comes_from_a_rule_for_the_label():
    """The first rule that speaks for the label and names one, before any rule for another label."""
    votes = [
        vote(L2, 0.1, cause="script"),
        vote(L3, 5.0),
        vote(L3, 5.0, cause="environment"),
        vote(L3, 5.0, cause="product"),
    ]
    assert decided([0, 0, 0], votes).cause == "environment"
    assert decided([0, 0, 0], votes).cause_from == votes[2]
    assert decided([9, 0, 0], votes[:1]).cause is None


def test_a_failure_takes_the_cause_of_a_rule_for_another_label():
    """What an engineer knows about the test bed holds whichever layer the models choose; a pass has nothing to explain."""
    votes = [vote(L2, cause="environment"), vote(L2, cause="script")]
    assert decided([0, 0, 9], votes).label == L3
    assert decided([0, 0, 9], votes).cause == "environment"
    assert decided([9, 0, 0], votes).cause is None
    assert decided([0, 0, 9], []).cause_from is None


@pytest.mark.parametrize(
    ("confidence", "words"),
    [(0.55, "0.55 is below 0.65"), (0.6496, "0.6496 is below 0.6500"), (0.64999999, "0.64999999 is below 0.65000000")],
)
def test_a_number_is_never_below_itself(confidence, words):
    """As many digits are shown as it takes to see the difference."""
    assert decided([math.log(confidence), math.log(1 - confidence)], review_below=0.65).doubts == [f"confidence {words}"]


@pytest.mark.parametrize("known", [0, 5])
def test_no_text_is_the_only_doubt_of_an_empty_run(known):
    assert input_doubts(0, 0, [Repairs(nul_bytes=4)], 0.5) == ["the run has no text"]


@pytest.mark.parametrize(
    ("lines", "known", "repairs", "doubts"),
    [
        (100, 50, [], []),
        (100, 49, [], ["only 49 % of the lines are of a kind this bundle knows"]),
        (100, 100, [Repairs(nul_bytes=9, invalid_bytes=9, damaged_lines=1)], []),
        (100, 100, [Repairs(damaged_lines=2)], [DAMAGED]),
        (100, 100, [Repairs(damaged_lines=1), Repairs(damaged_lines=1)], [DAMAGED]),
        (100, 100, [Repairs(cut_lines=1), Repairs(cut_lines=2)], ["3 lines were cut at the length limit"]),
        (100, 100, [Repairs(problems=("cut off",)), Repairs(problems=("cut off", "odd"))], ["cut off", "odd"]),
    ],
)
def test_doubts_about_the_input(lines, known, repairs, doubts):
    """Unknown lines, damage above one in a hundred lines, every cut line, and each problem once."""
    assert input_doubts(lines, known, repairs, 0.5) == doubts
