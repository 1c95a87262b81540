"""Parsing measures on cases small enough to count by hand."""

import math
import sys
from pathlib import Path

import pytest

from training.experiments.parsing import (
    Scores,
    System,
    comparable,
    grouping_accuracy,
    main,
    measure,
    ours,
    rare_templates,
    report,
)
from training.experiments.parsing_peers import run_peer

TRUE = ["a <*>", "a <*>", "a <*>", "b", "b", "c <*>"]


def _system(true: list[str]) -> System:
    return System("tiny", [f"line {i}" for i in range(len(true))], true, true)


def test_perfect_parse_scores_one() -> None:
    """The true templates themselves score 1 everywhere."""
    scores = measure(TRUE, _system(TRUE))
    assert (scores.ga, scores.pa, scores.fga, scores.fta) == (1, 1, 1, 1)
    assert (scores.rare_groups, scores.rare_templates, scores.ga_published) == (1, 1, 1)


def test_one_split_group() -> None:
    """One of three groups cut in two: 3 of 6 lines grouped right, 2 right groups of 4 parsed and 3 true ones."""
    parsed = ["a <num>", "a <num>", "a x", "b", "b", "c <hex>"]
    scores = measure(parsed, _system(TRUE))
    assert scores.ga == 3 / 6
    assert scores.pa == 5 / 6
    assert math.isclose(scores.fga, 2 * 2 / (4 + 3))
    # "a <num>" holds lines of one true template only and its text agrees: right as a template, though not as a group.
    assert math.isclose(scores.fta, 2 * 3 / (4 + 3))


def test_merged_groups() -> None:
    """Two groups in one: neither is right, and a template with lines of two true ones is wrong whatever its text."""
    parsed = ["a <*>"] * 5 + ["c y"]
    scores = measure(parsed, _system(TRUE))
    assert scores.ga == 1 / 6
    assert scores.pa == 3 / 6
    assert math.isclose(scores.fga, 2 * 1 / (2 + 3))
    assert scores.fta == 0


def test_a_template_of_two_true_ones_is_wrong_though_the_texts_agree() -> None:
    """Lines of two true templates whose texts compare equal do not make one right template."""
    assert measure(["a <*>"] * 2, _system(["a <*>", "a <num>"])).fta == 0


def test_names_of_groups_do_not_matter() -> None:
    """Grouping accuracy compares sets of lines."""
    assert grouping_accuracy(["x", "x", "y"], ["E1", "E1", "E2"]) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("to <ipaddr>:<num>", "to <*>"),
        ("took <num>.<num> ms", "took <*> ms"),
        ("id <*><*>", "id <*>"),
        ("a   b", "a b"),
        ("uid= <*>", "uid=<*>"),
    ],
)
def test_texts_that_count_as_equal(one: str, other: str) -> None:
    """Markers are wildcards, joined wildcards are one, and blanks do not count."""
    assert comparable(one) == comparable(other)


@pytest.mark.parametrize(("one", "other"), [("<*> <*>", "<*>"), ("a <*>", "a"), ("A", "a"), ("a b", "ab")])
def test_texts_that_differ(one: str, other: str) -> None:
    """Wildcards with a blank between are two, and words are compared exactly."""
    assert comparable(one) != comparable(other)


def test_rare_templates_are_the_quarter_with_fewest_lines() -> None:
    """Of eight templates two, by count, then by text; never none."""
    true = [name for name, count in zip("abcdefgh", (9, 2, 5, 1, 7, 2, 4, 3), strict=True) for _ in range(count)]
    assert rare_templates(true) == ["d", "b"]
    assert rare_templates(["only", "only"]) == ["only"]


def test_rare_scores_count_templates() -> None:
    """Scores of rare templates are shares of templates: one of one missed is 0 although most lines are right."""
    scores = measure(["a <*>"] * 3 + ["b"] * 2 + ["b"], _system(TRUE))
    assert (scores.rare_groups, scores.rare_templates) == (0, 0)


def test_ours_gives_one_template_for_each_line() -> None:
    """Our row goes through masking, mining and matching as in serving."""
    system = System("s", ["took 5 ms", "took 700 ms", "link up"], ["t", "t", "l"], ["1", "1", "2"])
    assert ours(system) == ["took <num>", "took <num>", "link up"]


def test_plain_drain3_runs_apart() -> None:
    """drain3 runs in a process of its own, with and without masks."""
    systems = {"s": ["took 5 ms now", "took 700 ms now"]}
    here = Path(sys.executable)
    assert run_peer(here, "drain3", generic=False, systems=systems)["s"][0] == ["took <*> ms now"] * 2
    assert run_peer(here, "drain3", generic=True, systems=systems)["s"][0] == ["took <num> ms now"] * 2


def test_a_missing_peer_names_the_remedy(tmp_path: Path) -> None:
    """Without logparser3 the message names the requirements file and the option."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no module named logparser' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(SystemExit, match=r"requirements/peers\.txt"):
        run_peer(broken, "Brain", generic=False, systems={"tiny": ["line"]})


def test_report_averages_the_small_systems_only() -> None:
    """Means leave out the untouched full systems, which have tables of their own."""
    low, high = (Scores(*[value] * 8) for value in (0.25, 0.75))
    text = report({"ours": {"A": low, "B": high, "Linux (full)": Scores(*[0.0] * 8)}})
    assert "Mean over 2 systems" in text
    assert "| ours | 0.500 |" in text
    assert "## Linux (full)" in text


def test_missing_data_folder_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without the data ends with exit 2 and names the option and the variable."""
    with pytest.raises(SystemExit) as stop:
        main(["--data", str(tmp_path)])
    assert stop.value.code == 2
    assert "STREAM_TRIAGE_DATA" in capsys.readouterr().err
