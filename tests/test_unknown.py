"""The label `unknown`: which runs get it, and that nothing downstream takes it for a pass or a failure."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.alerting.rules import History, alerts_of
from stream_triage.bundle import Card
from stream_triage.clock import FakeClock
from stream_triage.provisional.live import Live
from stream_triage.records import UNKNOWN
from stream_triage.settings import AlertSettings
from stream_triage.sinks.opensearch import _fields
from stream_triage.stages.rules import Rules
from stream_triage.stages.verdict import NOTHING_SAID, SPEAKS, silence
from tests.commands import call
from tests.corpus import tiny_bundle, whole_run
from tests.verdicts import make_verdict

NO_TEXT = {
    "empty": b"",
    "line ends": b"\n\r\n\r\n",
    "blanks": b"  \n\t\t\n \n",
    "NULs": bytes(300),
    "invalid bytes": b"\xff\xfe\xfd" * 20 + b"\n",
    "rules of dashes": b"--------\n========\n* * *\n",
}
FOREIGN = {
    "prose": b"It was a bright cold day in April,\nand the clocks were striking thirteen.\n" * 20,
    "a package log": b"2026-01-01 10:00:00 status half-configured libc6:amd64 2.36-9\n" * 50,
    "source code": Path(__file__).read_bytes(),
    "a page": b"<html><head><title>Not found</title></head><body><h1>404</h1></body></html>\n",
}


@pytest.fixture(scope="module", params=["tm500", "oai5g"])
def triage(request: pytest.FixtureRequest) -> Triage:
    return Triage(Bundle.open(find_bundle(request.param)))


def check(verdict: Verdict, triage: Triage) -> None:
    """An unknown verdict: no pass, no failure, a review with a reason, and the labels of the bundle as they are."""
    labels = next(iter(triage.models.values())).card.labels
    assert (verdict.label, verdict.passed, verdict.failed, verdict.clean) == (UNKNOWN, False, False, False)
    assert (verdict.confidence, verdict.cause, verdict.evidence) == (0.0, None, ())
    assert verdict.needs_review
    assert verdict.review_reasons
    assert tuple(verdict.probabilities) == labels
    assert sum(verdict.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", NO_TEXT)
def test_a_run_without_text(triage: Triage, kind: str) -> None:
    """Whatever fills the file, if there is no word in it."""
    check(triage.run(NO_TEXT[kind]), triage)


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_run_of_which_the_bundle_knows_nothing(triage: Triage, kind: str) -> None:
    """Text of another kind, however long it is."""
    check(triage.run(FOREIGN[kind] * 5), triage)


def test_the_log_of_another_bundle() -> None:
    """A bundle of OpenAirInterface knows no line of a TM500. Its procedures may, and then the verdict needs a review."""
    samples = Path(__file__).parent.parent / "samples" / "tm500"
    oai5g = Triage(Bundle.open(find_bundle("oai5g")))
    for path in samples.glob("*.log"):
        verdict = oai5g.run(path.read_bytes())
        if verdict.label == UNKNOWN:
            check(verdict, oai5g)
        assert verdict.needs_review
        assert not verdict.anomalous or not verdict.clean


def test_samples_are_known() -> None:
    """No run that a bundle was made for is unknown, nor is one of which most lines are foreign."""
    tm500 = Triage(Bundle.open(find_bundle("tm500")))
    for path in (Path(__file__).parent.parent / "samples" / "tm500").glob("*.log"):
        assert tm500.run(path.read_bytes()).label != UNKNOWN
        assert tm500.run(FOREIGN["prose"] * 20 + path.read_bytes()).label != UNKNOWN


def test_sources_without_text_beside_one_with_text(triage: Triage) -> None:
    """One source that speaks is enough."""
    session = triage.session("r")
    session.feed(b"", "empty")
    session.feed(b"\n\n", "blank")
    check(session.peek(), triage)
    for path in sorted((Path(__file__).parent.parent / "samples" / session.model.card.name).rglob("*.log"))[:3]:
        session.feed(path.read_bytes(), path.stem)
    assert session.close().label != UNKNOWN


def test_a_rule_speaks() -> None:
    """A line that matches a hand-written rule decides, however little the models know of it."""
    rule = b'[[rule]]\nname = "r"\npattern = "^quux"\nlabel = "L2"\nveto = true\n'
    triage = Triage(tiny_bundle(), rules=Rules.parse(rule, "test"))
    assert triage.run(b"frobnicate\n").label == UNKNOWN
    assert triage.run(b"frobnicate\nquux\n").label == "L2"


@pytest.mark.parametrize(
    ("lines", "words", "known", "moved", "silent"),
    [
        (0, 0, 0, 0.0, True),
        (5, 0, 5, 0.0, True),
        (5, 5, 0, SPEAKS, True),
        (5, 5, 0, SPEAKS + 0.01, False),
        (5, 5, 1, NOTHING_SAID, True),
        (5, 5, 1, NOTHING_SAID + 0.01, False),
    ],
)
def test_when_nothing_speaks(lines: int, words: int, known: int, moved: float, silent: bool) -> None:
    assert bool(silence(lines, words, known, moved)) == silent


def test_procedures_that_go_well_speak_for_a_pass() -> None:
    """They add nothing to the score of a failure, so the log-odds stay where they are without any line."""
    assert silence(5, 5, 5, 0.0)
    assert not silence(5, 5, 5, 0.0, shown=True)
    assert silence(5, 5, 0, 0.0, shown=True)


def unknown(**changes: object) -> Verdict:
    fields = {"label": UNKNOWN, "passed": False, "confidence": 0.0, "needs_review": True, "review_reasons": ("no text",)}
    return make_verdict(**{**fields, **changes})


def test_it_contradicts_no_harness() -> None:
    for said in ("pass", "fail"):
        assert not unknown(headers={"test.case.result.status": said}).disagreement


def test_it_is_no_failure_in_opensearch() -> None:
    """It counts in no failure rate, and its outcome is the one that ECS has for this."""
    fields = _fields(unknown(), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    assert (fields["event"]["outcome"], fields["triage"]["failed"]) == ("unknown", 0)


def test_it_causes_no_alarm() -> None:
    """By the default rules, not even beside a harness that says otherwise; the rule `review` is for those who want it."""
    verdict = Triage(tiny_bundle()).run(b"").model_copy(update={"headers": {"test.case.result.status": "pass"}})
    assert not alerts_of(verdict, History(), AlertSettings().rules)
    assert [alert.rule for alert in alerts_of(verdict, History(), ["failed", "anomalous", "review"])] == ["review"]


def test_no_open_run_is_stopped_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is unknown so far is not certain to fail, whatever the early stop says."""
    stopped: list[Verdict] = []
    session = Triage(tiny_bundle()).session("r")
    session.feed(b"frobnicate\n")
    monkeypatch.setattr(session, "certain_to_fail", lambda: True)
    live = Live(1.0, lambda verdicts: None, FakeClock(), stopped.append)
    for text, count in ((b"", 0), (whole_run("L3"), 1)):
        session.feed(text)
        live.came(["r"])
        live._resume = 0.0
        live._clock.advance(10)
        live.look({"r": session}, lambda verdict: verdict)
        assert len(stopped) == count


def test_no_bundle_may_have_the_label() -> None:
    with pytest.raises(ValueError, match="no bundle may be trained on it"):
        Card(
            name="b",
            version="1",
            labels=("Pass", UNKNOWN),
            passing_label="Pass",
            masking_version=1,
            classifiers={"terms": 1.0},
            review_below_confidence=0.5,
            review_below_known_share=0.5,
            files={},
        )


def test_on_the_command_line(workplace, write) -> None:
    """The label is shown as one that needs a review, with the reason, and the exit status is 1."""
    write("empty.log", b"")
    result = call("run", "empty.log")
    assert "unknown ?" in result.out
    assert "the run has no text" in result.out
    assert result.code == 1
    assert "probabilities" not in call("show", "empty").out
    assert [row["label"] for row in call("runs", "--label", "unknown", "--json").json] == [UNKNOWN]
