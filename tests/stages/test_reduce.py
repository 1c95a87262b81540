"""The reduction: priority, budget and context."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage import BundleError
from stream_triage.stages.reduce import PRIORITY, TEMPLATE_SHARE, Mark, Reducer, ReducerProfile

PROFILE = ReducerProfile(rare=("rare-key",), rare_share=0.1)


def reduce(marks: list[Mark], lines: dict[str, int], context: int = 0, budget: int = 200) -> list[tuple[int, str]]:
    return [(m.number, m.why) for m in Reducer(PROFILE, context, budget).reduce(marks, lines)]


def test_strongest_reason_wins():
    """A line marked for several reasons is there once, for the first of evidence, rule, anomaly, rare, context, template."""
    marks = [Mark("", 1, why) for why in reversed(PRIORITY)] + [Mark("", 2, "template"), Mark("", 2, "rare")]
    assert reduce(marks, {"": 5}) == [(1, "evidence"), (2, "rare")]


def test_repeats_of_any_reason_are_kept():
    """The count of lines comes with the mark that knows it, which need not be the one that wins."""
    marks = [Mark("", 1, "evidence"), Mark("", 1, "template", 40)]
    assert Reducer(PROFILE).reduce(marks, {"": 1}) == [Mark("", 1, "evidence", 40)]


def test_budget_drops_the_weakest_reasons_first():
    marks = [Mark("", number, "template") for number in range(1, 9)] + [Mark("", 9, "rare"), Mark("", 10, "evidence")]
    assert reduce(marks, {"": 10}, budget=2) == [(9, "rare"), (10, "evidence")]


def test_first_lines_of_templates_get_a_fifth_of_the_room():
    """However many kinds of line a run has, they do not crowd the reduction."""
    marks = [Mark("", number, "template") for number in range(1, 99)] + [Mark("", 99, "evidence")]
    assert reduce(marks, {"": 99}, budget=10) == [(1, "template"), (2, "template"), (99, "evidence")]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, [1, 2, 3]), (2, [1, 2, 3, 4]), (5, [3, 4, 5, 6, 7]), (9, [7, 8, 9]), (8, [6, 7, 8, 9])],
)
def test_context_ends_at_the_edges_of_the_source(number, expected):
    found = reduce([Mark("", number, "anomaly")], {"": 9}, context=2)
    assert [n for n, _ in found] == expected
    assert [n for n, why in found if why == "anomaly"] == [number]


def test_defaults_show_two_lines_on_each_side_and_200_lines():
    """What a verdict shows, unless the settings say otherwise."""
    reducer = Reducer(PROFILE)
    assert [mark.number for mark in reducer.reduce([Mark("", 50, "anomaly")], {"": 99})] == [48, 49, 50, 51, 52]
    assert len(reducer.reduce([Mark("", number, "rare") for number in range(1, 300)], {"": 300})) == 200


def test_only_what_decided_has_context():
    """Rare lines and first lines of templates stand alone."""
    marks = [Mark("", 5, "rare"), Mark("", 20, "template")]
    assert reduce(marks, {"": 30}, context=2) == [(5, "rare"), (20, "template")]


def test_context_stays_within_its_source():
    found = Reducer(PROFILE, 1).reduce([Mark("b", 1, "rule")], {"a": 9, "b": 1})
    assert found == [Mark("b", 1, "rule")]


def test_order_is_by_source_and_number():
    marks = [Mark("b", 2, "rare"), Mark("a", 10, "rare"), Mark("b", 1, "template"), Mark("a", 9, "template")]
    found = Reducer(PROFILE).reduce(marks, {"a": 10, "b": 2})
    assert [(m.source, m.number) for m in found] == [("a", 9), ("a", 10), ("b", 1), ("b", 2)]


@given(
    marks=st.lists(st.builds(Mark, st.sampled_from("ab"), st.integers(1, 20), st.sampled_from(PRIORITY)), max_size=40),
    context=st.integers(0, 3),
    budget=st.integers(0, 30),
)
def test_what_holds_for_every_reduction(marks, context, budget):
    """Within the limit, sorted, each line once; nothing that is left out is more important than what is there."""
    lines = {"a": 20, "b": 20}
    found = Reducer(PROFILE, context, budget).reduce(marks, lines)
    places = [(m.source, m.number) for m in found]
    assert len(found) <= budget
    assert places == sorted(set(places))
    assert all(1 <= number <= lines[source] for source, number in places)
    left_out = [m for m in marks if (m.source, m.number) not in places]
    weighty = [m for m in left_out if m.why != "template"]
    if weighty:
        assert len(found) == budget
        strongest = min(PRIORITY.index(m.why) for m in weighty)
        assert all(PRIORITY.index(m.why) <= strongest for m in found)
    elif left_out:
        room = min(int(TEMPLATE_SHARE * budget), budget - sum(m.why != "template" for m in found))
        assert sum(m.why == "template" for m in found) == room


@pytest.mark.parametrize(("key", "why"), [("rare-key", "rare"), ("new:0123", "rare"), ("other", "template")])
def test_why_a_template_is_read(key, why):
    assert Reducer(PROFILE).why(key) == why


def test_incomplete_profile_is_rejected():
    with pytest.raises(BundleError, match=r"reducer.json .* invalid field"):
        Reducer.from_file({"rare": []})
