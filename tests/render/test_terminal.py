"""Pages and tables of verdicts: anomalies with what was expected instead, and log text that cannot control the terminal."""

import pytest
from rich.console import Console

from stream_triage.records import Anomaly, Evidence, Verdict
from stream_triage.render.terminal import run_table, verdict_page
from tests.verdicts import make_verdict


def shown(verdict: Verdict) -> str:
    console = Console(width=100, record=True, highlight=False)
    with console.capture() as captured:
        console.print(verdict_page(verdict))
    return captured.get()


def anomalous(**fields: object) -> Verdict:
    anomaly = Anomaly.model_validate({"kind": "order", "score": 0.5, **fields})
    return make_verdict(anomalous=True, anomalies=(anomaly,), anomaly_count=1)


def test_a_line_out_of_order_has_what_was_expected_below_it() -> None:
    """The anomaly has a row, and the template that passing runs have there has the next one."""
    page = shown(anomalous(source="ue", number=7, text="attach done", expected="attach <num>", expected_keys=("k",), rank=4))
    lines = [line.rstrip() for line in page.split("\n")]
    row = next(i for i, line in enumerate(lines) if "attach done" in line)
    assert lines[row].split() == ["+0.50", "order", "ue:7", "attach", "done"]
    assert lines[row + 1].strip() == "expected: attach <num>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("31/08/25 15:33:49:609\tI: CMPI MTE 0 REJECT", "I: CMPI MTE 0 REJECT"),
        ("2026-11-25T10:00:00.123Z error: gone", "error: gone"),
        ("[10:00:00] error: gone", "error: gone"),
        ("0000237120 0000002371 0000189696", "0000237120 0000002371 0000189696"),
        ("10:00:00", "10:00:00"),
        ("took 10:00:00 to attach", "took 10:00:00 to attach"),
    ],
)
def test_the_table_of_runs_shows_lines_without_their_time(text: str, expected: str) -> None:
    """The column is narrow; the page of the run shows the whole line."""
    verdict = make_verdict(
        passed=False, label="L3", evidence=(Evidence(kind="line", weight=1, source="", number=7, text=text),)
    )
    console = Console(width=100)
    with console.capture() as captured:
        console.print(run_table([verdict]))
    assert captured.get().rstrip().endswith(f"  7  {expected}")
    assert (
        text.replace("\t", " ").split() == next(line for line in shown(verdict).split("\n") if expected in line).split()[2:]
    )


def test_a_run_whose_lines_surprise_as_a_whole_says_how_many() -> None:
    assert "381 lines follow each other unlike those of passing runs" in shown(anomalous(count=381))


def test_other_anomalies_have_no_second_row() -> None:
    assert "expected:" not in shown(anomalous(kind="new", source="ue", number=7, text="oops"))


def test_escapes_in_expected_templates_are_shown_as_codes() -> None:
    """A template is log text too, and must not control the terminal."""
    page = shown(anomalous(kind="end", source="ue", number=7, text="\x1b[2Jx", expected="\x1b[31mred", expected_keys=("k",)))
    assert "\x1b[2J" not in page
    assert "\x1b[31mred" not in page
    assert "red" in page


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"kind": "line", "source": "du", "number": 7, "text": "x"}, "du:7  x"),
        ({"kind": "line", "number": 7, "text": "x"}, "7  x"),
        ({"kind": "missing", "text": "session up"}, "never came: session up"),
        ({"kind": "rule", "number": 7, "text": "x", "rule": "r", "label": "L2"}, "7  rule r for L2: x"),
        ({"kind": "rule", "number": 7, "text": "x", "rule": "r", "label": "L2", "note": "n"}, "7  rule r for L2: x (n)"),
        ({"kind": "rule", "rule": "r", "label": "L2"}, "rule r for L2:"),
    ],
)
def test_evidence_in_words(item: dict[str, object], words: str) -> None:
    """Pages, alerts and JUnit files use the same words, with the note of a rule."""
    evidence = Evidence.model_validate({"weight": 0.5, **item})
    assert evidence.words() == words
    page = shown(make_verdict(passed=False, label="L2", evidence=(evidence,)))
    assert words.removesuffix(" (n)") in page
    assert ("note: n" in page) == bool(evidence.note)
