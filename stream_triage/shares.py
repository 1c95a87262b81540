"""The explanation of a score in; where the weight of each shown line comes from, and what else adds to the score, out.

Every weight has a name, so that people can add them up: a line or a missing line that is evidence, or an item of the rest,
such as what a usual run would get, signs that did not come, and the lines that are not shown.
"""

from collections.abc import Collection, Iterable, Sequence
from heapq import nsmallest
from typing import Final

from stream_triage.records import STARTING_POINT, Explanation, Share, line_in_words

__all__ = ["Item", "parts_of", "rest_of"]

Item = tuple[str, int, str]
"""Source and number of a line and no key, or the key of a line that never came."""

_Part = tuple[str, str, float]
"""Classifier, what it saw, weight: a share before the few that stay become records."""

# Parts of one item of evidence, and items of the rest of each classifier, that are named; the others are added up.
MAX_PARTS: Final = 4
MAX_NAMED: Final = 5
LINES_NAMED: Final = 3


def parts_of(explanation: Explanation, items: Collection[Item]) -> dict[Item, tuple[Share, ...]]:
    """By item, what each classifier contributes to its weight; the shares of an item add up to the weight."""
    parts: dict[Item, list[_Part]] = {item: [] for item in items}
    for model, factor, one in explanation.models:
        for line in one.lines:
            item = line.source, line.number, ""
            if item in parts:
                own = line.parts or (("", line.weight),)
                parts[item] += [(model, what, factor * weight) for what, weight in own]
        for key, weight in one.missing.items():
            if ("", 0, key) in parts:
                parts["", 0, key].append((model, "", factor * weight))
    return {item: tuple(_named(some, MAX_PARTS)) for item, some in parts.items()}


def rest_of(explanation: Explanation, shown: Collection[Item]) -> tuple[Share, ...]:
    """What adds to the score beside the items shown; with their weights, it adds up to the score of the models."""
    rest: list[Share] = []
    for model, factor, one in explanation.models:
        named = one.named or {STARTING_POINT: one.rest}
        rest += _named([(model, STARTING_POINT, factor * named.get(STARTING_POINT, 0.0))], 1)
        others = [(model, what, factor * weight) for what, weight in named.items() if what != STARTING_POINT]
        rest += _named(others, MAX_NAMED)
    hidden = [(line.weight, (line.source, line.number, "")) for line in explanation.lines]
    lines = [(weight, item) for weight, item in hidden if weight and item not in shown]
    missing = [weight for key, weight in explanation.missing.items() if weight and ("", 0, key) not in shown]
    rest += _unshown_lines([one for one in lines if one[0] > 0], "for the label")
    rest += _unshown_lines([one for one in lines if one[0] < 0], "against it")
    if missing:
        rest.append(Share(what=f"{_count(len(missing), 'other line')} of usual runs that never came", weight=sum(missing)))
    return tuple(rest)


def _unshown_lines(lines: Sequence[tuple[float, Item]], side: str) -> Iterable[Share]:
    """One share for all of them, which names the strongest."""
    if lines:
        strongest = nsmallest(LINES_NAMED, lines, key=lambda one: -abs(one[0]))
        where = ", ".join(line_in_words(*item[:2]) for _, item in strongest)
        what = f"{_count(len(lines), 'other line')} {side}: {where}{', …' if len(lines) > LINES_NAMED else ''}"
        yield Share(what=what, weight=sum(weight for weight, _ in lines))


def _named(parts: Sequence[_Part], most: int) -> list[Share]:
    """The strongest ones by name; what a classifier adds beyond them is one share for each classifier."""
    ordered = sorted((part for part in parts if part[2]), key=lambda part: -abs(part[2]))
    others: dict[str, float] = {}
    for model, _, weight in ordered[most:]:
        others[model] = others.get(model, 0.0) + weight
    named = [*ordered[:most], *((model, "other signs", weight) for model, weight in others.items())]
    return [Share(model=model, what=what, weight=weight) for model, what, weight in named]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
