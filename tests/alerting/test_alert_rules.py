"""When a rule fires and what its message says, at the limits."""

from math import comb
from typing import Any, get_args

import pytest

from stream_triage.alerting import rules as module
from stream_triage.alerting.rules import Alert, History, Outcomes, alerts_of, message
from stream_triage.records import Evidence, FailedUe, Ues
from stream_triage.settings import AlertRule, AlertSettings
from tests.verdicts import make_verdict

FAILED = {"label": "L3", "passed": False}


def reasons(history: History) -> dict[str, str]:
    return {
        alert.rule: alert.reason for alert in alerts_of(make_verdict(**FAILED), history, ("new_template", "failure_rate"))
    }


@pytest.mark.parametrize(("keys", "words"), [("a", "1 kind of line"), ("ab", "2 kinds of line")])
def test_new_kinds_of_line_are_counted(keys: str, words: str) -> None:
    """One is one, two are two."""
    assert reasons(History(unseen_keys=frozenset(keys)))["new_template"] == f"{words} that no run had before"


def test_no_history_fires_nothing() -> None:
    """A first run has no rate, and nothing new beside it."""
    assert reasons(History()) == {}
    assert History() == History(frozenset(), Outcomes(0, 0), Outcomes(0, 0))


@pytest.mark.parametrize(
    ("recent", "earlier"),
    [
        ((10, 3), (20, 0)),
        ((10, 4), (20, 0)),
        ((10, 10), (20, 10)),
        ((9, 9), (20, 0)),
        ((10, 10), (19, 0)),
        ((12, 5), (25, 1)),
    ],
)
def test_failure_rate(recent: tuple[int, int], earlier: tuple[int, int]) -> None:
    """The binomial tail above the earlier rate, by the rule of succession, with enough runs on both sides."""
    history = History(recent=Outcomes(*recent), earlier=Outcomes(*earlier))
    usual = (earlier[1] + 1) / (earlier[0] + 2)
    tail = sum(comb(recent[0], k) * usual**k * (1 - usual) ** (recent[0] - k) for k in range(recent[1], recent[0] + 1))
    enough = recent[0] >= 10 and earlier[0] >= 20
    assert module._chance(history) == pytest.approx(tail if enough else 1.0, rel=1e-12)
    assert ("failure_rate" in reasons(history)) == (enough and tail < 0.001)


EVERY_RULE = get_args(AlertRule)


@pytest.mark.parametrize(
    "changes",
    [
        FAILED,
        {"label": "unknown", "passed": False, "confidence": 0.0},
        {"anomalous": True},
        {"headers": {"test.case.result.status": "failed"}},
        {},
    ],
)
def test_a_review_raises_no_alarm(changes: dict[str, Any]) -> None:
    """Whatever else the verdict says, only the rule for reviews applies, and by default that is switched off."""
    history = History(frozenset("a"), Outcomes(10, 10), Outcomes(100, 0))
    verdict = make_verdict(**changes, needs_review=True, review_reasons=("the run has no text", "rules a and b disagree"))
    assert alerts_of(verdict, history, EVERY_RULE) == [Alert("review", "the run has no text; rules a and b disagree")]
    assert alerts_of(verdict, history, AlertSettings().rules) == []


def test_message_of_a_review_is_no_failure() -> None:
    """Its title does not begin with a label, and its label is marked as doubtful."""
    verdict = make_verdict("run 7", **FAILED, needs_review=True, review_reasons=("why",))
    text = message(verdict, Alert("review", "why"), runs=2)
    assert text.title == "review: 2 runs, first run 7"
    assert text.body.splitlines()[:2] == [
        "label L3 (needs a review), confidence 0.90; anomaly score 0.10",
        "rule review: why",
    ]


def test_message_shows_lines_before_missing_ones_and_five_at_most() -> None:
    """The whole text of a message, with everything that it can say."""
    missing = Evidence(kind="missing", weight=9.0, key="m", text="RRC Setup Complete")
    lines = [
        Evidence(kind="line", weight=5.0 - n, source="du", number=n, text=f"line {n}", key=f"k{n}") for n in range(1, 6)
    ]
    verdict = make_verdict("run 7", **FAILED, cause="environment", evidence=(missing, *lines))
    text = message(verdict, Alert("failed", "why"), runs=1, link="https://triage/7")
    assert text.title == "L3: run 7"
    assert text.body.splitlines() == [
        "label L3, confidence 0.90, cause environment; anomaly score 0.10",
        "rule failed: why",
        "run run 7",
        *(f"  du:{n}  line {n}" for n in range(1, 6)),
        "https://triage/7",
    ]
    four = message(verdict.model_copy(update={"evidence": (missing, *lines[:3]), "cause": None}), Alert("failed", "why"), 2)
    assert four.title == "L3: 2 runs, first run 7"
    assert four.body.splitlines()[0] == "label L3, confidence 0.90; anomaly score 0.10"
    assert four.body.splitlines()[-1] == "  never came: RRC Setup Complete"


def test_the_sentence_leads_a_message() -> None:
    """It may name what a log calls its UEs, so it is as harmless as any line; failed UEs are named below."""
    first = FailedUe(ue=50418, name="rnti c4f2", reason="gone", source="du", number=3, text="UE c4f2 gone")
    verdict = make_verdict(**FAILED, why="UE @all\x1b[31m <b> was refused (du:3)", ues=Ues(seen=2, failed=1, first=(first,)))
    lines = message(verdict, Alert("failed", "why"), runs=1).body.splitlines()
    assert lines[0] == "UE @\u2060all <\u2060b> was refused (du:3)"
    assert lines[1].startswith("label L3")
    assert "1 of 2 UEs failed: rnti c4f2" in lines


@pytest.mark.parametrize(("length", "shown"), [(300, 300), (301, 301)])
def test_long_lines_are_cut(length: int, shown: int) -> None:
    """300 characters are shown whole; of a longer line 300 and a mark."""
    text = message(make_verdict("x" * length, **FAILED), Alert("failed", "why"), 1, link="y" * length)
    assert text.body.splitlines()[-1] == ("y" * 300 if length == 300 else "y" * 300 + "…")
    assert len(text.body.splitlines()[-1]) == shown
