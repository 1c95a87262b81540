"""Template keys of passing runs in, the profile of the plain detector and of the reducer out.

The threshold is set by cross-fitting: each passing run is scored by a profile of the other folds, and the score that only
the stated share of them exceeds becomes the threshold.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from stream_triage.stages.detect import BLANK, NEW, Detector, DetectorProfile, KeyOrder
from stream_triage.stages.reduce import ReducerProfile
from stream_triage.stages.template import Templates
from training.data import MaskedRuns

__all__ = ["KeyedRun", "KeyedRuns", "fit_detector", "fit_reducer", "group_folds", "raw_score"]

EXPECTED_SHARE = 0.99
RARE_SHARE = 0.05
FALSE_ALARM_RATE = 0.02

KeyedRun = Mapping[str, tuple[Sequence[int], Sequence[str]]]
"""Per source: the key index of each line, and the keys of those that match nothing."""


class KeyedRuns:
    """Runs as template indexes, by source."""

    def __init__(self, corpus: MaskedRuns, templates: Templates) -> None:
        keys = [templates.match(text) if text.strip() else BLANK for text in corpus.key_texts]
        self.key_of_line = np.array(keys, dtype=np.int32)
        self.new_key_of_line = [
            templates.new_key(text) if key == NEW else "" for key, text in zip(keys, corpus.key_texts, strict=True)
        ]
        self._corpus = corpus

    def run(self, index: int) -> KeyedRun:
        found = {}
        for source, lines in self._corpus.runs[index].items():
            keys = self.key_of_line[lines]
            found[source] = (keys.tolist(), [self.new_key_of_line[i] for i in lines[keys == NEW].tolist()])
        return found

    def expected_terms(
        self,
        passing: Sequence[int],
        expected: Sequence[str],
        templates: Templates,
        terms_of_line: Sequence[Sequence[int]],
    ) -> dict[str, list[int]]:
        """Terms that the lines of each expected key bring in passing runs."""
        wanted = {templates.keys.index(key): key for key in expected}
        found: dict[str, set[int]] = {key: set() for key in expected}
        for run in passing:
            for line in self._corpus.distinct(run).tolist():
                key = wanted.get(int(self.key_of_line[line]))
                if key:
                    found[key].update(terms_of_line[line])
        return {key: sorted(terms) for key, terms in found.items()}


def fit_detector(
    keyed: KeyedRuns,
    templates: Templates,
    passing: Sequence[int],
    groups: Sequence[str],
    seed: int,
    orders: Sequence[KeyOrder] | None = None,
) -> Detector:
    """Profile of the given passing runs; `groups` name near copies among them, which stay in one fold.

    With `orders`, what networks of other folds say of each run, the threshold is that of the joined score.
    """
    held_out = np.zeros(len(passing))
    for fold in group_folds(groups, seed):
        rest = [run for run, inside in zip(passing, fold, strict=True) if not inside]
        trial = Detector(templates.keys, _profile(keyed, templates, rest, 1.0))
        for i in np.flatnonzero(fold).tolist():
            held_out[i] = raw_score(trial, keyed.run(passing[i]), orders[i] if orders else None)
    threshold = max(float(np.quantile(held_out, 1 - FALSE_ALARM_RATE, method="higher")), 0.5)
    profile = _profile(keyed, templates, passing, threshold)
    # Clopper and Pearson: of the few runs there are, the rate itself is known no better.
    interval = binomtest(int((held_out > threshold).sum()), len(passing)).proportion_ci(0.95, method="exact")
    return Detector(
        templates.keys,
        profile.model_copy(update={"false_alarm_interval": (round(float(interval.low), 4), round(float(interval.high), 4))}),
    )


def raw_score(detector: Detector, run: KeyedRun, order: KeyOrder | None = None) -> float:
    states = {}
    for source, (keys, new_keys) in run.items():
        states[source] = detector.start()
        detector.update(states[source], keys, new_keys, 1)
    return detector.finish(states, order).raw_score


def fit_reducer(keyed: KeyedRuns, templates: Templates, passing: Sequence[int]) -> ReducerProfile:
    counts = Counter(key for run in passing for key in _first_places(keyed, run))
    limit = RARE_SHARE * len(passing)
    rare = sorted(key for i, key in enumerate(templates.keys) if counts[i] < limit)
    return ReducerProfile(rare=tuple(rare), rare_share=RARE_SHARE)


def _profile(keyed: KeyedRuns, templates: Templates, passing: Sequence[int], threshold: float) -> DetectorProfile:
    counts: Counter[int] = Counter()
    ends: set[int] = set()
    lengths = []
    places: dict[int, list[int]] = defaultdict(list)
    for run in passing:
        first_places = _first_places(keyed, run)
        counts.update(first_places.keys())
        for key, place in first_places.items():
            places[key].append(place)
        events = {source: [key for key in keys if key != BLANK] for source, (keys, _) in keyed.run(run).items()}
        lengths.append(sum(map(len, events.values())))
        ends.update(keys[-1] for keys in events.values() if keys and keys[-1] != NEW)
    in_order = sorted(counts, key=lambda i: (float(np.median(places[i])), templates.keys[i]))
    return DetectorProfile(
        passing_runs=len(passing),
        known=tuple(sorted(templates.keys[i] for i in counts)),
        expected=tuple(templates.keys[i] for i in in_order if counts[i] >= EXPECTED_SHARE * len(passing)),
        expected_share=EXPECTED_SHARE,
        ends=tuple(sorted(templates.keys[i] for i in ends)),
        lines_low=min(lengths),
        lines_high=max(lengths),
        threshold=threshold,
        false_alarm_rate=FALSE_ALARM_RATE,
    )


def _first_places(keyed: KeyedRuns, run: int) -> dict[int, int]:
    """Known keys of a run, each with its first place in the source that shows it first."""
    found: dict[int, int] = {}
    for keys, _ in keyed.run(run).values():
        for place, key in enumerate(keys):
            if key >= 0 and place < found.get(key, place + 1):
                found[key] = place
    return found


def group_folds(groups: Sequence[str], seed: int, folds: int = 5) -> list[NDArray[np.bool_]]:
    """Boolean masks over the runs, one a fold."""
    names = sorted(set(groups))
    fold_of = dict(zip(names, np.random.default_rng(seed).permutation(len(names)) % folds, strict=True))
    assigned = np.array([fold_of[group] for group in groups])
    return [assigned == fold for fold in range(folds)]
