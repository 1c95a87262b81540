"""What the page of one run shows, before it is HTML."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from stream_triage.records import (
    Anomaly,
    Evidence,
    FailedUe,
    ReducedLine,
    Share,
    SourceSummary,
    UeCourse,
    UeEvent,
    Ues,
)  # fmt: skip
from stream_triage.spool import SpillSpool
from stream_triage.web.run_view import GAP_LINES, GapView, LineView, gap_rows, run_view, state_of, ue_rows
from stream_triage.web.run_view.shown import LONGEST_SHOWN, shown
from tests.verdicts import make_verdict

SOURCES = (
    SourceSummary(source="du", lines=1000, bytes=9, known_lines=500, folded_lines=8, redactions={"imsi": 3}),
    SourceSummary(source="ue", lines=20, bytes=9, known_lines=20, folded_lines=8),
)


def line(number: int, text: str = "text", source: str = "du", why: str = "rare") -> ReducedLine:
    return ReducedLine(source=source, number=number, text=text, why=why)


def failing(**changes: Any):
    return make_verdict(**{"label": "L3", "passed": False, "rival": "Pass", "sources": SOURCES, **changes})


class Links:
    """A server that names what is asked for."""

    def run(self, run_id: str) -> str:
        return f"/runs/{run_id}"

    def filtered(self, name: str, value: str) -> str | None:
        return f"/?{name}={value}" if name != "odd" else None

    def lines(self, source: str, show: tuple[int, int], gap: tuple[int, int]) -> str | None:
        return f"{source} {show} of {gap}"

    def ues(self) -> str | None:
        return "/ues"

    def downloads(self) -> Sequence[tuple[str, str]]:
        return [("verdict as JSON", "/verdict.json")]


def rows(view: Any, source: str = "du") -> list[Any]:
    """Numbers of lines, and gaps as their length in a list."""
    (found,) = (one for one in view.source_lines if one.source == source)
    return [[row.count] if isinstance(row, GapView) else row.number for row in found.rows]


class TestLines:
    def test_gaps_are_counted(self):
        """Before the first line, between lines that do not follow each other, and to the end of the source."""
        view = run_view(failing(reduction=(line(12), line(3), line(4), line(20, source="ue"))))
        assert rows(view) == [[2], 3, 4, [7], 12, [988]]
        assert rows(view, "ue") == [[19], 20]
        assert view.shown_lines == 4

    def test_gaps_open_from_the_server(self):
        """A short one at once, a long one from either end."""
        view = run_view(failing(reduction=(line(3), line(900))), links=Links())
        short, _, long, _, last = view.source_lines[0].rows
        assert short.steps == (("show", "du (1, 2) of (1, 2)"),)
        assert [address for _, address in long.steps] == ["du (4, 103) of (4, 899)", "du (800, 899) of (4, 899)"]
        assert last.count == GAP_LINES

    def test_an_opened_gap(self):
        """The lines that were asked for, with what is still left out before and after."""
        opened = gap_rows(failing(), "ue", 5, ["five", "six"], (2, 10), links=Links())
        assert [row.count if isinstance(row, GapView) else row.text for row in opened] == [3, "five", "six", 4]
        assert opened[1].anchor == "L1-5"

    def test_lines_from_the_text(self):
        """With the text at hand, gaps of two lines are filled, and the shortest other ones come with the page."""
        with SpillSpool("run") as text:
            text.append("du", [f"du {number}" for number in range(1, 1001)])
            view = run_view(failing(reduction=(line(3), line(8), line(30), line(1000))), text=text, embed=30)
        assert rows(view) == [1, 2, 3, [4], 8, [21], 30, [969], 1000]
        gaps = [row for row in view.source_lines[0].rows if isinstance(row, GapView)]
        assert [len(gap.rows) for gap in gaps] == [4, 21, 0]
        assert gaps[0].rows[0].text == "du 4"

    def test_gaps_of_one_length(self):
        """Either all of them come with the page or none, and never more lines than are allowed."""
        chosen = tuple(line(number) for number in range(10, 1001, 10))
        with SpillSpool("run") as text:
            text.append("du", ["text"] * 1000)
            for embed, expected in ((899, 0), (900, 900)):
                view = run_view(failing(reduction=chosen), text=text, embed=embed)
                assert sum(len(row.rows) for row in view.source_lines[0].rows if isinstance(row, GapView)) == expected

    def test_shorter_text_than_the_verdict_says(self):
        """If the archive has another text, gaps stay gaps."""
        with SpillSpool("run") as text:
            text.append("du", ["only"])
            assert rows(run_view(failing(reduction=(line(3),)), text=text, embed=2000)) == [[2], 3, [997]]

    def test_evidence_is_always_there(self):
        """A provisional verdict has evidence and no reduction."""
        item = Evidence(kind="line", weight=1.0, source="ue", number=7, text="reject")
        view = run_view(failing(final=False, evidence=(item,)))
        assert rows(view, "ue") == [[6], 7, [13]]
        assert (view.stops, view.key_lines[0].where, view.key_lines[0].anchor) == (1, "ue:7", "L1-7")

    def test_only_strong_evidence_is_a_stop(self):
        """What broke, rules for the label, and lines with a much weight; not the small change of words."""
        weights = {1: 5.0, 2: 0.1, 3: 0.0, 4: 1.2}
        evidence = [Evidence(kind="line", weight=w, source="du", number=n, text="t") for n, w in weights.items()]
        evidence += [Evidence(kind="rule", weight=w, source="du", number=n, rule="r") for n, w in {5: 0.0, 6: -1.0}.items()]
        evidence.append(Evidence(kind="missing", weight=9.0, text="never"))
        view = run_view(failing(evidence=tuple(evidence)))
        strong = [row.number for row in view.source_lines[0].rows if isinstance(row, LineView) and row.strong]
        assert strong == [1, 3, 5]
        assert run_view(failing(rival="", evidence=tuple(evidence))).stops == 2

    def test_long_and_coloured_lines(self):
        """A line is cut, and the page says by how much; colours are left out."""
        assert shown("\x1b[31m" + "x" * 1_000_000).hidden == 1_000_000 - LONGEST_SHOWN - 0
        assert shown("a\x00b").text == "a\\x00b"
        assert shown("short").hidden == 0


class TestFirstScreen:
    def test_sentence_leads_to_its_lines(self):
        """Where the sentence names a line that the page has, that is a link; other numbers are not."""
        item = Evidence(kind="line", weight=1.0, source="ue", number=7, text="reject")
        view = run_view(failing(why="refused: #12 (line 7) (ue:7) (ue:8) (7)", evidence=(item,)), prefix="r2-")
        assert [tuple(words) for words in view.why] == [
            ("refused: #12 (line 7) (", ""), ("ue:7", "r2-L1-7"), (") (ue:8) (7)", ""),
        ]  # fmt: skip

    def test_key_lines_have_what_belongs_to_them(self):
        """Indented lines below a deciding one say why; they are quoted with it, once."""
        reduction = (line(5, "REJECT"), line(6, "  cause: #12"), line(7, "next"), line(9, "  alone"))
        evidence = tuple(
            Evidence(kind="line", weight=2.0, source="du", number=n, text="") for n in (5, 6, 9)
        )  # fmt: skip
        view = run_view(failing(reduction=reduction, evidence=evidence))
        assert [one.texts for one in view.key_lines] == [("REJECT", "  cause: #12"), ("  alone",)]

    def test_not_proved(self):
        """The mark says it, so the sentence does not repeat it."""
        view = run_view(failing(why="not proved: no procedure shows why"))
        assert not view.proved
        assert view.why[0].text == "no procedure shows why"

    def test_unknown_run(self):
        """It has neither passed nor failed, and no probabilities that would mislead."""
        view = run_view(make_verdict(label="unknown", passed=False, rival=""))
        assert (view.outcome, view.probabilities, view.models) == ("unknown", (), ())

    def test_harness_that_says_the_opposite(self):
        assert run_view(failing(headers={"test.case.result.status": "passed"})).harness == "passed"
        assert run_view(failing(headers={"test.case.result.status": "failed"})).harness == ""

    def test_facts_lead_to_lists(self):
        """Where the server has such a filter."""
        view = run_view(failing(headers={"testbed": "bed7", "odd": "x"}, team="core"), links=Links())
        assert [(fact.name, fact.value, fact.href) for fact in view.facts] == [
            ("team", "core", "/?team=core"), ("bed", "bed7", "/?testbed=bed7"), ("odd", "x", ""),
            ("bundle", "tiny 1", "/?bundle=tiny"),
        ]  # fmt: skip


class TestWeights:
    def test_models_add_up_to_the_score(self):
        """What each model adds, with the rules and what belongs to no single model, is the whole score."""
        evidence = (
            Evidence(
                kind="line", weight=3.0, source="du", number=1,
                parts=(Share(model="terms", weight=2.0), Share(model="procedures", what="a break", weight=1.0)),
            ),
            Evidence(kind="rule", weight=0.5, rule="crash", source="du", number=2),
        )  # fmt: skip
        rest = (Share(model="terms", what="starting point", weight=-4.0), Share(what="3 other lines", weight=0.25))
        view = run_view(failing(evidence=evidence, rest=rest, score=-0.25))
        assert [(one.name, one.weight, one.side) for one in view.models] == [
            ("words", "-2.00", "against"), ("procedures", "+1.00", "for"), ("rules", "+0.50", "for"),
            ("other lines", "+0.25", "for"),
        ]  # fmt: skip
        assert sum(float(one.weight) for one in view.models) == pytest.approx(view.score)
        assert view.evidence[0].parts == ("procedures +1.00: a break +1.00",)

    def test_probabilities_come_by_size(self):
        view = run_view(failing(probabilities={"Pass": 0.2, "L3": 0.7, "L2": 0.1}))
        assert [(one.label, one.width, one.chosen) for one in view.probabilities] == [
            ("L3", "70.0%", True), ("Pass", "20.0%", False), ("L2", "10.0%", False),
        ]  # fmt: skip


class TestStrip:
    def test_marks_are_where_their_lines_are(self):
        """From the first line of a source at its left end to the last at its right end; a line has one mark of a kind."""
        evidence = tuple(Evidence(kind="line", weight=1.0, source="du", number=n, text="t") for n in (1000, 1, 1))
        anomaly = Anomaly(kind="new", score=1.0, source="du", number=500, text="odd")
        ue = FailedUe(ue=3, reason="refused", source="ue", number=20, text="REJECT")
        view = run_view(failing(evidence=evidence, anomalies=(anomaly,), ues=Ues(seen=4, failed=1, first=(ue,))))
        du, other = view.lanes
        assert [(tick.x, tick.anchor) for tick in du.strong] == [("0.50%", "L0-1"), ("99.50%", "L0-1000")]
        assert [(tick.tip, tick.anchor) for tick in du.anomalies] == [("line 500: du:500  odd", "")]
        assert [tick.tip for tick in other.ues] == ["line 20: UE 3: refused"]
        assert du.words == "du, 1000 lines; evidence 2, anomalies 1"

    def test_sources_without_marks(self):
        """They are counted, so that a run with a source for each of 50 containers stays readable; one is always drawn."""
        view = run_view(failing(reduction=(line(3, source="ue"),)))
        assert ([lane.source for lane in view.lanes], view.silent_sources) == (["ue"], 1)
        view = run_view(failing())
        assert ([lane.source for lane in view.lanes], view.silent_sources) == (["du"], 1)

    def test_a_source_of_one_line(self):
        source = SourceSummary(source="", lines=1, bytes=1, known_lines=1, folded_lines=1)
        (lane,) = run_view(make_verdict(sources=(source,), reduction=(line(1, source=""),))).lanes
        assert lane.kept == ("50.00%",)


def test_ues_that_lack_something_come_first():
    """Each has a bar from its first step to its last, and marks for its steps; what did not go well lies on top."""
    good = UeEvent(number=10, what="random access begun", bad=False, text="", last=10)
    bad = UeEvent(number=5, what="registration refused", bad=True, text="", repeats=6, last=20)
    fine = UeCourse(source="ue", ue="1", events=(good,), dropped=0, unfinished=())
    lost = UeCourse(source="ue", ue="3", events=(bad, good), dropped=2, unfinished=("registration refused in line 5",))
    silent = UeCourse(source="ue", ue="4", events=(), dropped=0, unfinished=("set up",))
    rows = ue_rows([fine, lost, silent], {"ue": 20}, {("ue", 5): "L1-5"})
    assert [row.ue for row in rows] == ["3", "1"]
    assert [(step.bad, step.anchor) for step in rows[0].steps] == [(False, ""), (True, "L1-5")]
    assert rows[0].events == (("5-20", "registration refused", True, "L1-5"), ("10", "random access begun", False, ""))
    assert rows[0].left_out == 2


def test_what_strikes_a_ue_from_outside():
    """A crash of the tester is no step of a UE, but ends its row; what is a step of its own is not there twice."""
    step = UeEvent(number=3, what="random access begun", bad=False, text="", last=3)
    course = UeCourse(source="", ue="7", events=(step,), dropped=0, unfinished=("the tester stopped (line 19)",))
    crash = FailedUe(ue=7, reason="the tester stopped", source="", number=19, text="ERNO")
    (row,) = ue_rows([course], {"": 20}, {}, [crash])
    assert [(event.where, event.what) for event in row.events] == [
        ("3", "random access begun"),
        ("19", "the tester stopped"),
    ]
    (row,) = ue_rows([course], {"": 20}, {}, [crash.model_copy(update={"number": 3})])
    assert len(row.events) == 1


class Past(NamedTuple):
    run_id: str
    time: datetime | None
    label: str
    passed: bool
    needs_review: bool = False
    build: str = ""


def runs(text: str, builds: str = "") -> list[Past]:
    """A letter a run, oldest first: `p` passed, `u` unknown, a digit the label of that layer. A letter a build."""
    labels = {"p": "Pass", "u": "unknown"}
    return [
        Past(
            str(day),
            datetime(2026, 11, day, tzinfo=UTC),
            labels.get(sign, f"L{sign}"),
            sign == "p",
            build=builds[day - 1 : day],
        )
        for day, sign in enumerate(text, 1)
    ]


@pytest.mark.parametrize(
    ("text", "builds", "state", "words"),
    [
        ("p", "", "new", "no earlier run of this test case is stored"),
        ("3", "", "new", "no earlier run of this test case is stored"),
        ("ppp", "", "passing", "passing: 3 runs in a row"),
        ("33p", "", "fixed", "fixed: the run before had the label L3"),
        ("3pp", "", "passing", "passing: 2 runs in a row"),
        ("pp3", "aab", "failing", "failing since build b: the run before passed"),
        ("pp33", "aabc", "failing", "failing since build b: 2 runs in a row"),
        ("pp33", "aaaa", "failing", "failing since 2026-11-03: 2 runs in a row"),
        ("pp23", "aabc", "failing", "failing since build b: 2 runs in a row; the label was L2 before"),
        ("333", "", "failing", "failing: in all 3 stored runs"),
        ("p3p3", "", "unstable", "unstable: changed 3 times between passing and failing in the last 4 runs"),
        ("p3pp33pppppppp", "", "passing", "passing: 8 runs in a row"),
        ("pu3", "abc", "failing", "failing since build c: the run before passed"),
        ("ppu", "", "", "this run could not be told, so it says nothing about the test case"),
    ],
)
def test_what_the_last_runs_say(text, builds, state, words):
    """One word and one sentence; runs that could not be told are passed over."""
    assert state_of(runs(text, builds)) == (state, words)


def test_history_of_a_run():
    """Oldest first, this run last and marked, with links to the others; a report has none."""
    verdict = failing(headers={"test.case.name": "attach", "service.version": "24.3"})
    earlier = [*reversed(runs("pp", "ab"))]
    view = run_view(verdict, history=earlier, links=Links()).history
    assert view is not None
    assert [(one.sign, one.href, one.current) for one in view.runs] == [
        ("✓", "/runs/1", False), ("✓", "/runs/2", False), ("L3", "", True),
    ]  # fmt: skip
    assert view.words == "failing since build 24.3: the run before passed"
    assert [one.href for one in run_view(verdict, history=earlier).history.runs] == ["", "", ""]
    assert run_view(failing(), history=earlier).history is None
