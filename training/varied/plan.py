"""Plans a corpus: for each run its habits, then its label, and its part of every split.

Splits:

- `random`: at random.
- `causes`: causes and scripts of the test part are in no other run, not even as troubles that are overcome.
- `vocabulary`: two vocabularies, with their campaigns, are the test part, and another one the validation part.
- `habits`: some combinations of habits are in the test part alone; each habit is in all parts.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from training.corpus.causes import Cause
from training.corpus.plan import PARTS, RUNS, TEST_SHARE, Part, deal, parts_of
from training.varied.faults import CAUSES, evidence_kinds
from training.varied.habits import Habits, Script, combination, draw_habits, scripts
from training.varied.vocabularies import VOCABULARIES

__all__ = ["LABELS", "PARTS", "RUNS", "SHARES", "SPLITS", "Catalogue", "Part", "Planned", "catalogue", "held_out", "plan"]

SPLITS: Final = ("random", "causes", "vocabulary", "habits")
SHARES: Final[Mapping[str, float]] = {"Pass": 0.66, "L0_L1": 0.155, "L2": 0.11, "L3": 0.075}
"""About the shares of the published test set of Ihalage et al., with somewhat more failures of L2 and L3."""
LABELS: Final = tuple(SHARES)


class Planned(NamedTuple):
    """A run before it is made: its number, which is part of its seed, habits, label, and part of each split."""

    number: int
    habits: Habits
    label: str
    parts: Mapping[str, Part]


class Catalogue(NamedTuple):
    """The causes and scripts that the runs of each part of the split `causes` are made from."""

    causes: Mapping[Part, tuple[Cause, ...]]
    scripts: Mapping[Part, tuple[Script, ...]]


def plan(runs: int, seed: int) -> list[Planned]:
    """Plans all runs, in an order that does not depend on anything; the same seed gives the same plan."""
    rng, known = random.Random(f"varied plan {seed}"), catalogue(seed)
    of_causes = _shuffled(rng, parts_of(runs))
    habits = [
        draw_habits(random.Random(f"varied habits {seed} {number}"), known.scripts[part])
        for number, part in enumerate(of_causes)
    ]
    # Labels are dealt within each part of the split `causes`, so that each has its share of every label.
    labels = [""] * runs
    for part in PARTS:
        members = [number for number in range(runs) if of_causes[number] == part]
        for number, label in zip(members, _shuffled(rng, _labels(len(members))), strict=True):
            labels[number] = label
    of_random: list[Part] = ["train"] * runs
    for label in LABELS:
        members = [number for number in range(runs) if labels[number] == label]
        for number, part in zip(members, _shuffled(rng, parts_of(len(members))), strict=True):
            of_random[number] = part
    of_vocabulary = held_out(seed)
    of_habits = _combinations(rng, habits)
    return [
        Planned(
            number,
            habits[number],
            labels[number],
            {
                "random": of_random[number],
                "causes": of_causes[number],
                "vocabulary": of_vocabulary.get(habits[number].vocabulary, "train"),
                "habits": of_habits[combination(habits[number])],
            },
        )
        for number in range(runs)
    ]


def held_out(seed: int) -> Mapping[str, Part]:
    """The vocabularies of the test part and of the validation part; all others are for training."""
    first, second, validation = random.Random(f"varied vocabularies {seed}").sample(VOCABULARIES, 3)
    return {first: "test", second: "test", validation: "validation"}


def _shuffled(rng: random.Random, items: Sequence[Any]) -> list[Any]:
    return rng.sample(list(items), len(items))


def _labels(count: int) -> list[str]:
    """Labels of `count` runs in their shares; labels with the largest remainders are rounded up."""
    counts = {label: int(count * share) for label, share in SHARES.items()}
    for label in sorted(SHARES, key=lambda label: counts[label] - count * SHARES[label])[: count - sum(counts.values())]:
        counts[label] += 1
    return [label for label, some in counts.items() for _ in range(some)]


def _combinations(rng: random.Random, habits: Sequence[Habits]) -> dict[tuple[str, ...], Part]:
    """Deals the combinations of habits to parts, in an order that is drawn, until the test and validation part are full."""
    runs = Counter(combination(one) for one in habits)
    wanted: list[tuple[Part, float]] = [("test", TEST_SHARE * 0.8), ("validation", 0.1)]
    parts: dict[tuple[str, ...], Part] = {}
    remaining = _shuffled(rng, sorted(runs))
    for part, share in wanted:
        taken = 0
        while remaining and taken < share * len(habits):
            # A combination that fills a part at once would leave a single one in it.
            place = next((i for i, one in enumerate(remaining) if runs[one] < 0.1 * len(habits)), 0)
            chosen = remaining.pop(place)
            parts[chosen] = part
            taken += runs[chosen]
    return parts | dict.fromkeys(remaining, "train")


def catalogue(seed: int) -> Catalogue:
    """Deals causes and scripts to the parts of the split `causes`.

    Causes are dealt again until each part has one for every label and all habits; otherwise the habits of a run would have
    to be drawn anew for some labels, and would depend on them.
    """
    rng, known = random.Random(f"varied catalogue {seed}"), scripts(seed)
    dealt_scripts: dict[Part, list[Script]] = {part: [] for part in PARTS}
    for rat in ("NR", "LTE"):
        deal(rng, [script for script in known if script.rat == rat], dealt_scripts)
    poorest = _poorest(random.Random(0), known)
    while True:
        causes: dict[Part, list[Cause]] = {part: [] for part in PARTS}
        for label in LABELS[1:]:
            deal(rng, [cause for cause in CAUSES if cause.label == label], causes)
        if all(_covers(some, habits) for some in causes.values() for habits in poorest):
            break
    return Catalogue(
        {part: tuple(some) for part, some in causes.items()}, {part: tuple(some) for part, some in dealt_scripts.items()}
    )


def _poorest(rng: random.Random, known: Sequence[Script]) -> list[Habits]:
    """Habits with which a run shows the least: no statistics, no invented records, one cell, in each technology."""
    some = []
    for rat in ("NR", "LTE"):
        script = replace(next(script for script in known if script.rat == rat), cells=1, carriers=1)
        habits = replace(draw_habits(rng, [script]), shown=frozenset(), statistics=0, negative=None, start="traffic")
        some += [habits, replace(habits, start="connect"), replace(habits, start="connect", negative=(3, "Illegal UE"))]
    return some


def _covers(causes: Sequence[Cause], habits: Habits) -> bool:
    return all(any(cause.label == label and evidence_kinds(cause, habits) for cause in causes) for label in LABELS[1:])
