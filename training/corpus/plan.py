"""Plans the corpus: how many runs have which label, and which causes and scripts belong to which part of which split.

The proportions of the labels are those of the published test set (978 runs: 664 Pass, 166 L0_L1, 94 L2, 54 L3), recovered
from the table of results of Ihalage et al. The split `easy` is random, 70 % to 30 % as published; `hard` holds
out whole causes and whole scripts. The validation part is taken from the 70 %.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from training.corpus.causes import CAUSES, Cause
from training.corpus.scripts import CATEGORIES, Script, scripts

__all__ = [
    "LABELS", "PARTS", "PUBLISHED_TEST", "RUNS", "TEST_SHARE", "Catalogue", "Part", "Planned", "can_strike", "catalogue",
    "deal", "parts_of", "plan",
]  # fmt: skip

Part = Literal["train", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")
RUNS: Final = 3262
LABELS: Final = ("Pass", "L0_L1", "L2", "L3")
PUBLISHED_TEST: Final[Mapping[str, int]] = {"Pass": 664, "L0_L1": 166, "L2": 94, "L3": 54}
TEST_SHARE: Final = 0.3
# Share of the training part.
VALIDATION_SHARE: Final = 0.15


class Planned(NamedTuple):
    """A run before it is made: its number, which is part of its seed, its label, and its part of both splits."""

    number: int
    label: str
    easy: Part
    hard: Part


class Catalogue(NamedTuple):
    """The causes and scripts that the runs of each part of the hard split are made from."""

    causes: Mapping[Part, tuple[Cause, ...]]
    scripts: Mapping[Part, tuple[Script, ...]]


def plan(runs: int, seed: int) -> list[Planned]:
    """Labels and parts of all runs, in random order, so that the number of a run does not give its label away."""
    # Plan, catalogue, scripts and runs have random sources of their own: a change to one leaves the others as they are.
    rng = random.Random(f"plan {seed}")
    planned: list[tuple[str, Part, Part]] = []
    for label, count in _shares(runs, PUBLISHED_TEST).items():
        # Both splits have the same sizes, label by label, and are drawn independently.
        easy, hard = parts_of(count), parts_of(count)
        rng.shuffle(easy)
        rng.shuffle(hard)
        planned += [(label, *parts) for parts in zip(easy, hard, strict=True)]
    rng.shuffle(planned)
    return [Planned(number, *row) for number, row in enumerate(planned)]


def _shares(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers in proportion to the weights that add up to the total (method of largest remainders)."""
    exact = {name: total * weight / sum(weights.values()) for name, weight in weights.items()}
    counts = {name: int(value) for name, value in exact.items()}
    # The runs that rounding down leaves over go to the labels with the largest remainders.
    short = total - sum(counts.values())
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[:short]:
        counts[name] += 1
    return counts


def parts_of(count: int) -> list[Part]:
    """A part for each of `count` runs, causes or scripts, in the sizes of the split."""
    test = round(count * TEST_SHARE)
    validation = round((count - test) * VALIDATION_SHARE)
    sizes: dict[Part, int] = {"test": test, "validation": validation, "train": count - test - validation}
    return [part for part, size in sizes.items() for _ in range(size)]


def catalogue(seed: int) -> Catalogue:
    """Deals causes and scripts to the parts of the hard split at random.

    Causes are dealt again until each part has one of every label for every script with traffic; otherwise some planned runs
    could not be made.
    """
    rng, known = random.Random(f"catalogue {seed}"), scripts(seed)
    while True:
        causes: dict[Part, list[Cause]] = {part: [] for part in PARTS}
        for label in LABELS[1:]:
            deal(rng, [cause for cause in CAUSES if cause.label == label], causes)
        if all(_covers(some) for some in causes.values()):
            break
    dealt: dict[Part, list[Script]] = {part: [] for part in PARTS}
    # By category, so that each part has scripts of every category.
    for category in CATEGORIES:
        deal(rng, [script for script in known if script.category == category], dealt)
    return Catalogue({p: tuple(some) for p, some in causes.items()}, {p: tuple(some) for p, some in dealt.items()})


def deal(rng: random.Random, items: Sequence[Any], parts: Mapping[Part, list[Any]]) -> None:
    """Adds each item to a part, at random, in the sizes of the split."""
    shuffled = rng.sample(list(items), len(items))
    for part, item in zip(parts_of(len(items)), shuffled, strict=True):
        parts[part].append(item)


def _covers(causes: Sequence[Cause]) -> bool:
    """Whether each label has a cause that can strike in the traffic of either technology."""
    return all(any(c.label == label and c.stage == "traffic" and not c.rat for c in causes) for label in LABELS[1:])


def can_strike(cause: Cause, script: Script) -> bool:
    """Whether runs of a script reach the stage of a cause, with its technology."""
    if cause.rat and cause.rat != script.rat:
        return False
    if script.negative:  # the network rejects its UEs at registration
        return cause.stage in ("cell", "ra", "rrc", "negative")
    if cause.name == "scell-idle":
        return script.carriers > 1
    return cause.stage != "negative" and (cause.stage != "handover" or script.mobile)
