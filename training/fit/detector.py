"""Fits the plain detector and the reducer to the template keys of passing runs.

The detector's threshold is set by cross-fitting: each passing run is scored by a profile of the other folds, and the score
that only the target share of them exceeds becomes the threshold. Scores of the runs that a profile was made from would be
too low, since none of their keys is new to it.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from stream_triage.stages.detect import BLANK, NEW, Detector, DetectorProfile, KeyOrder
from stream_triage.stages.reduce import ReducerProfile
from stream_triage.stages.template import Templates
from training.keyed import KeyedRun, KeyedRuns
from training.resampling import rate_interval
from training.splits import group_folds

__all__ = ["TARGET_FALSE_ALARM_RATE", "fit_detector", "fit_reducer", "raw_score"]

# A key is expected if this share of the passing runs shows it: a run in a hundred may lack it for a reason of its own.
EXPECTED_SHARE = 0.99
RARE_SHARE = 0.05
# The share of passing runs that the threshold allows to be anomalous. It is a target; what was measured on unseen passing
# runs is in the profile, as an interval.
TARGET_FALSE_ALARM_RATE = 0.02
# A threshold below this would call a run anomalous for half a finding.
LOWEST_THRESHOLD = 0.5


def fit_detector(
    keyed: KeyedRuns,
    templates: Templates,
    passing: Sequence[int],
    groups: Sequence[str],
    seed: int,
    *,
    orders: Sequence[KeyOrder] | None = None,
) -> Detector:
    """Fits the detector to passing runs.

    Args:
        keyed: All runs of the corpus as template keys.
        templates: The templates of the bundle.
        passing: Indexes of the passing training runs.
        groups: The group of near-duplicates of each of them; a group stays in one fold.
        seed: Seed of the folds and of the resamples for the interval.
        orders: For each passing run, what a next-key network that has not seen it reports. The threshold is then that of
            the joined score.

    Returns:
        The detector, with the measured false alarm rate as the 95 % interval of its profile.
    """
    scores = np.zeros(len(passing))
    for fold in group_folds(groups, seed):
        training = [run for run, inside in zip(passing, fold, strict=True) if not inside]
        trial = Detector(templates.keys, _profile(keyed, templates, training, 1.0))
        for i in np.flatnonzero(fold).tolist():
            scores[i] = raw_score(trial, keyed.run(passing[i]), orders[i] if orders else None)
    # `higher`: between two observed scores the quantile must not be below the upper one, or more runs exceed it than asked.
    quantile = float(np.quantile(scores, 1 - TARGET_FALSE_ALARM_RATE, method="higher"))
    threshold = max(quantile, LOWEST_THRESHOLD)
    low, high = rate_interval(scores > threshold, groups, seed)
    profile = _profile(keyed, templates, passing, threshold)
    return Detector(templates.keys, profile.model_copy(update={"false_alarm_interval": (round(low, 4), round(high, 4))}))


def raw_score(detector: Detector, run: KeyedRun, order: KeyOrder | None = None) -> float:
    """The detector's score of a whole run before it is scaled; compare it with the threshold of the profile."""
    states = {}
    for source, (keys, new_keys) in run.items():
        states[source] = detector.start()
        detector.update(states[source], keys, new_keys, 1)
    return detector.finish(states, order).raw_score


def fit_reducer(keyed: KeyedRuns, templates: Templates, passing: Sequence[int]) -> ReducerProfile:
    """Profile of the reducer: the keys that few of the passing runs show."""
    counts = Counter(key for run in passing for key in _first_positions(keyed, run))
    limit = RARE_SHARE * len(passing)
    rare = sorted(key for i, key in enumerate(templates.keys) if counts[i] < limit)
    return ReducerProfile(rare=tuple(rare), rare_share=RARE_SHARE)


def _profile(keyed: KeyedRuns, templates: Templates, passing: Sequence[int], threshold: float) -> DetectorProfile:
    """What the given passing runs show: their keys, the usual order of these, their lengths and last lines."""
    counts: Counter[int] = Counter()
    ends: set[int] = set()
    lengths = []
    positions: dict[int, list[int]] = defaultdict(list)
    for run in passing:
        first = _first_positions(keyed, run)
        counts.update(first.keys())
        for key, position in first.items():
            positions[key].append(position)
        events = {source: [key for key in keys if key != BLANK] for source, (keys, _) in keyed.run(run).items()}
        lengths.append(sum(map(len, events.values())))
        ends.update(keys[-1] for keys in events.values() if keys and keys[-1] != NEW)
    in_order = sorted(counts, key=lambda i: (float(np.median(positions[i])), templates.keys[i]))
    return DetectorProfile(
        passing_runs=len(passing),
        known=tuple(sorted(templates.keys[i] for i in counts)),
        expected=tuple(templates.keys[i] for i in in_order if counts[i] >= EXPECTED_SHARE * len(passing)),
        expected_share=EXPECTED_SHARE,
        ends=tuple(sorted(templates.keys[i] for i in ends)),
        lines_low=min(lengths),
        lines_high=max(lengths),
        threshold=threshold,
        target_false_alarm_rate=TARGET_FALSE_ALARM_RATE,
    )


def _first_positions(keyed: KeyedRuns, run: int) -> dict[int, int]:
    """Known keys of a run, each with the earliest position, from 0, that it has in any source."""
    first: dict[int, int] = {}
    for keys, _ in keyed.run(run).values():
        for position, key in enumerate(keys):
            if key >= 0 and position < first.get(key, position + 1):
                first[key] = position
    return first
