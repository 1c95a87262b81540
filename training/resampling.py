"""Bootstrap over groups of near-duplicates: how uncertain a figure is that was measured on some runs.

Near-duplicates pass or fail together, so a hundred of them carry hardly more information than one. An interval that treats
them as independent is too narrow. Here whole groups are drawn, with all their runs (the cluster bootstrap: Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 8; Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8).
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "RESAMPLES", "draw_groups", "rate_interval"]

LEVEL: Final = 0.95
RESAMPLES: Final = 2000


def draw_groups(groups: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """How often each group is drawn in each resample, shape (resamples, groups); each row sums to `groups`."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)


def rate_interval(
    events: NDArray[np.bool_], groups: Sequence[str], seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of the share of runs with an event, between two percentiles of resampled groups.

    Args:
        events: Whether the event was seen, one value a run.
        groups: The group of near-duplicates of each run.
        seed: Seed of the resamples; the same seed gives the same interval.
        level: How often the interval contains the true share: .95 lies between the percentiles 2.5 and 97.5.

    Returns:
        Lower and upper limit, from 0 to 1. (0, 1) for a single group, which says nothing about other groups.
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return 0.0, 1.0
    tail = (1 - level) / 2
    # Resamples repeat what was observed: with no event at all the interval would be [0, 0], however few the runs. The exact
    # binomial limits (Clopper and Pearson) do not have this flaw; a group counts as one observation there.
    if not events.any():
        return 0.0, float(1 - tail ** (1 / len(names)))
    if events.all():
        return float(tail ** (1 / len(names))), 1.0
    seen: NDArray[Any] = np.bincount(member, weights=events)
    runs = np.bincount(member)
    drawn = draw_groups(len(names), np.random.default_rng(seed))
    low, high = np.quantile((drawn @ seen) / (drawn @ runs), [tail, 1 - tail])
    return float(low), float(high)
