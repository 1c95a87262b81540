"""The merge of what was installed, what is there and what is wanted; without servers."""

from itertools import product
from typing import Any

import pytest

from stream_triage.setup.installed import Copy
from stream_triage.setup.merge import contains, differences, merge

VALUES = (None, 1, 2, 3)


def parts(value: int | None) -> dict[str, Any]:
    return {} if value is None else {"part": value}


@pytest.mark.parametrize("now", VALUES)
def test_additions_stay(now: int | None) -> None:
    """A part that only people have is not even named, and survives a reset."""
    for reset in (False, True):
        result = merge(Copy({}, {}), parts(now), {}, reset=reset)
        assert (result.parts, result.changed, result.kept) == (parts(now), [], {})


@pytest.mark.parametrize(
    ("before", "now", "wanted"), [each for each in product(VALUES, VALUES, VALUES) if each[0] or each[2]]
)
def test_who_wins(before: int | None, now: int | None, wanted: int | None) -> None:
    """People, if they changed the part; else the wanted version. After that, nothing is left to do."""
    installed = Copy(parts(before), parts(before))
    result = merge(installed, parts(now), parts(wanted))
    assert result.parts == parts(wanted if now == before else now)
    assert bool(result.kept) == (now not in (before, wanted))
    assert bool(result.changed) == (now == before and now != wanted)
    again = merge(result.copy(installed, parts(wanted), result.parts), result.parts, parts(wanted))
    assert (again.parts, again.changed, again.kept) == (result.parts, [], result.kept)
    reset = merge(installed, parts(now), parts(wanted), reset=True)
    assert (reset.parts, reset.kept) == (parts(wanted), {})


def test_the_server_rewrites() -> None:
    """What a server made of what it was sent is no change by people; a difference is shown in our own words."""
    installed = Copy({"query": {"gte": 1}}, {"query": {"from": 1, "boost": 1.0}})
    now = {"query": {"from": 1, "boost": 1.0}}
    assert merge(installed, now, {"query": {"gte": 1}}).changed == []
    assert merge(installed, now, {"query": {"gte": 2}}).changed == ["query.gte: 1 → 2"]
    assert list(merge(installed, {"query": {"from": 5}}, {"query": {"gte": 2}}).kept) == ["query"]
    # Else the old limit would apply beside the new one.
    assert merge(installed, now, {"query": {"gte": 2}}).parts == {"query": {"gte": 2}}


def test_a_server_that_goes_on_rewriting() -> None:
    """What it adds stays where the product changes something else."""
    installed = Copy({"part": {"a": 1, "b": {"c": True}}}, {"part": {"a": 1, "b": {"c": True}}})
    now = {"part": {"b": {"d": 4, "c": "true"}, "a": 1}}
    wanted = {"part": {"a": 2, "b": {"c": True}}}
    assert merge(installed, now, installed.sent, loose=True).changed == []
    result = merge(installed, now, wanted, loose=True)
    assert result.changed == ["part.a: 1 → 2"]
    assert result.parts == {"part": {"a": 2, "b": {"c": True, "d": 4}}}


@pytest.mark.parametrize(
    ("sent", "there", "same"),
    [
        ({"a": 1, "b": [True]}, {"b": ["true"], "c": 0, "a": "1"}, True),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": ""}, {}, True),
        ({"a": 1}, {}, False),
        ({"a": 1}, {"a": 2}, False),
        ([1, 2], [1, 2, 3], False),
        ({"a": {}}, {"a": []}, False),
        ("True", True, False),
    ],
)
def test_contains(sent: Any, there: Any, same: bool) -> None:
    """Order, added fields and numbers as text make no difference; other values do."""
    assert contains(sent, there) is same


def test_many_differences_are_cut() -> None:
    before, after = ({str(number): number + more for number in range(30)} for more in (0, 1))
    found = differences(before, after, "part")
    assert found[-1] == "part: 18 more differences"
    assert len(found) == 13


def test_long_texts_are_shown_where_they_differ() -> None:
    before, after = "the same words " * 9 + "and old ones", "the same words " * 9 + "and new ones"
    assert differences(before, after, "message") == ["message: …same words and old ones → …same words and new ones"]
