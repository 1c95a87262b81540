"""How a page shows where weights come from, and what happened to one UE."""

from rich.console import Console, RenderableType

from stream_triage.records import Evidence, FailedUe, Share, UeCourse, UeEvent, Ues, Verdict
from stream_triage.render.terminal import run_table, verdict_page
from stream_triage.render.ue_page import ue_page
from tests.verdicts import make_verdict

HOSTILE = "\x1b[2Jx\u202e[bold]"


def shown(page: RenderableType, width: int = 120) -> list[str]:
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(page)
    return [line.rstrip() for line in captured.get().split("\n")]


def judged(**more: object) -> Verdict:
    parts = (
        Share(model="terms", weight=0.5),
        Share(model="procedures", what="unfinished registration", weight=1.75),
        Share(model="procedures", what="UEs that failed", weight=-0.25),
        Share(model="charcnn", weight=0.001),
        Share(model="procedures", what="other signs", weight=0.002),
    )
    evidence = (
        Evidence(kind="line", weight=0.0, source="du", number=6, text="begins here"),
        Evidence(kind="line", weight=2.003, source="du", number=7, text="refused", parts=parts),
        Evidence(
            kind="line",
            weight=0.252,
            source="du",
            number=8,
            text="late",
            parts=(Share(model="charcnn", weight=0.25), parts[4]),
        ),
        Evidence(kind="rule", weight=2.0, source="du", number=9, text="slot", rule="r", label="L3"),
    )
    rest = (
        Share(model="terms", what="starting point", weight=-1.0),
        Share(model="procedures", what="no sign of trouble of layer 2", weight=-0.001),
        Share(what="7 other lines for the label: line 3", weight=0.75),
    )
    return make_verdict(label="L3", passed=False, rival="Pass", score=4.0, evidence=evidence, rest=rest, **more)


def test_each_weight_says_which_classifiers_gave_it() -> None:
    """The strongest first, without those that round to nothing; what a classifier saw has a row below."""
    lines = shown(verdict_page(judged()))
    start = lines.index("evidence") + 1
    assert [" ".join(line.split()) for line in lines[start : start + 5]] == [
        "+0.00 broke here du:6 begins here",
        "+2.00 procedures, words du:7 refused",
        "procedures +1.50: unfinished registration +1.75, UEs that failed -0.25; words +0.50",
        "+0.25 characters du:8 late",
        "+2.00 rule du:9 rule r for L3: slot",
    ]


def test_the_score_is_added_up() -> None:
    """Evidence first, then the rest by name, and the sum; what rounds to nothing is left out."""
    lines = shown(verdict_page(judged()))
    start = lines.index("score") + 1
    assert [" ".join(line.split()) for line in lines[start : start + 4]] == [
        "+4.25 evidence above",
        "-1.00 words: starting point",
        "+0.75 7 other lines for the label: line 3",
        "+4.00 log-odds of L3 against Pass",
    ]


def test_evidence_that_the_page_leaves_out_counts_in_the_score() -> None:
    many = tuple(Evidence(kind="line", weight=1.0, number=n, text="x") for n in range(1, 15))
    lines = shown(verdict_page(judged().model_copy(update={"evidence": many})))
    assert "+10.00  evidence above" in lines
    assert " +4.00  evidence not shown here" in lines


def test_a_verdict_without_a_rival_has_no_score() -> None:
    """Verdicts of earlier versions, and runs that nothing speaks for."""
    lines = shown(verdict_page(judged().model_copy(update={"rival": "", "rest": ()})))
    assert "score" not in lines
    assert not any("broke here" in line for line in lines)


def test_the_sentence_and_the_names_of_ues_cannot_control_the_terminal() -> None:
    """They may contain what a log calls its UEs; markup of the page is plain text too."""
    first = FailedUe(ue=-1, name=HOSTILE, reason=f"gone {HOSTILE}", source="du", number=3, text="x")
    verdict = judged(why=f"UE {HOSTILE} was refused", ues=Ues(seen=2, failed=1, first=(first,)))
    for page in (verdict_page(verdict), run_table([verdict])):
        text = "\n".join(shown(page))
        assert "\x1b[2J" not in text
        assert "\u202e" not in text
        assert "UE x\\u202e[bold] was refused" in text
    assert any(line.startswith("UE \\x1b[2Jx\\u202e[bold]  gone x\\u202e[bold]") for line in shown(verdict_page(verdict)))


def test_the_table_of_runs_shows_the_sentence_if_something_shows_it() -> None:
    """Otherwise the first evidence, which says more than that nothing is proved; a review comes first."""
    proved = judged(why="UE 3 was refused (du:7)")
    assert shown(run_table([proved]))[1].endswith("UE 3 was refused (du:7)")
    thin = judged(why="not proved: no procedure shows why; the words of du:7 weigh most")
    assert shown(run_table([thin]))[1].endswith("du:6  begins here")
    doubtful = proved.model_copy(update={"needs_review": True, "review_reasons": ("confidence 0.4 is below 0.7",)})
    assert shown(run_table([doubtful]))[1].endswith("confidence 0.4 is below 0.7")


def test_ues_are_named_as_the_log_names_them() -> None:
    ues = [
        FailedUe(ue=7, reason="x", source="", number=1, text="x"),
        FailedUe(ue=50418, name="rnti c4f2", reason="x", source="du", number=1, text="x"),
        FailedUe(ue=-1, reason="x", source="ue", number=1, text="x"),
        FailedUe(ue=-1, reason="x", source="", number=1, text="x"),
    ]
    assert [ue.words() for ue in ues] == ["UE 7", "UE rnti c4f2", "the UE of ue", "the UE"]
    assert Ues(seen=9, failed=5, first=tuple(ues[:3])).words() == "5 of 9 UEs failed: 7, rnti c4f2, the UE of ue, …"
    assert Ues(seen=9, failed=0).words() == "9 seen, none failed"


def test_the_page_of_a_ue() -> None:
    """A table for each source; repeats show their lines, and what is bad is marked and said at the end."""
    events = (
        UeEvent(number=4, what="random access begun", bad=False, text=f"I: start {HOSTILE}", last=4),
        UeEvent(number=7, what="registration refused", bad=True, text="I: reject", body="  #12", repeats=3, last=19),
    )
    courses = [
        UeCourse(source=HOSTILE, ue="rnti c4f2", events=events, dropped=5, unfinished=("registration refused in line 19",)),
        UeCourse(source="ue", ue="", events=events[:1], dropped=0, unfinished=()),
    ]
    lines = [" ".join(line.split()) for line in shown(ue_page(courses))]
    assert lines[:-1] == [
        "UE rnti c4f2 in \\x1b[2Jx\\u202e[bold]",
        "4 random access begun I: start x\\u202e[bold]",
        "7-19 ! registration refused (×3) I: reject",
        "#12",
        "⋯ 5 later events are left out",
        "! registration refused in line 19",
        "",
        "the UE of ue",
        "4 random access begun I: start x\\u202e[bold]",
        "nothing that was due is missing",
    ]
