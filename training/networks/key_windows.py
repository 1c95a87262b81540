"""Turns template keys of runs into numbered sequences and cuts these into windows for the next-key network.

Imports no torch.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.detect import BLANK
from stream_triage.stages.next_key import END, FIRST_KEY, START, UNK
from stream_triage.stages.template import Templates
from training.data import CorpusError
from training.keyed import KeyedRuns

__all__ = ["KeyNumbers", "Vocabulary", "cut_windows"]

# A key must be shown by this many groups of near-duplicates. Of a key in a single group nobody knows whether other runs have
# it, so it is unknown, and the network learns what unknown keys look like.
MIN_GROUPS = 2

KeyNumbers = NDArray[np.int64]
"""A sequence of keys as numbers of the vocabulary."""


class Vocabulary:
    """Template keys numbered from FIRST_KEY; all others are UNK.

    Attributes:
        keys: The keys, sorted; their position plus FIRST_KEY is their number.
    """

    def __init__(
        self, keyed: KeyedRuns, templates: Templates, runs: Sequence[int], groups: Sequence[str], max_keys: int
    ) -> None:
        """Chooses the keys that at least `MIN_GROUPS` groups show, and of more than `max_keys` those that most groups show.

        Raises:
            CorpusError: There is no such key.
        """
        groups_of_key: dict[int, set[str]] = defaultdict(set)
        for run, group in zip(runs, groups, strict=True):
            for keys, _ in keyed.run(run).values():
                for index in set(keys):
                    groups_of_key[index].add(group)
        common = [index for index, names in groups_of_key.items() if index >= 0 and len(names) >= MIN_GROUPS]
        # By groups, not by lines: a key that one run repeats a thousand times is less worth knowing than one of all runs.
        common.sort(key=lambda index: (-len(groups_of_key[index]), templates.keys[index]))
        if not common:
            raise CorpusError("no two passing runs share a line, so their order cannot be learned; add passing runs")
        self.keys = tuple(sorted(templates.keys[index] for index in common[:max_keys]))
        number_of_key = {key: number for number, key in enumerate(self.keys, FIRST_KEY)}
        # The index NEW is -1, so the last position gives its number.
        self._numbers = np.array([*(number_of_key.get(key, UNK) for key in templates.keys), UNK], dtype=np.int64)

    def __len__(self) -> int:
        """Size of the network's vocabulary: the keys with start, end and unknown."""
        return FIRST_KEY + len(self.keys)

    def sequences(self, keyed: KeyedRuns, runs: Sequence[int]) -> list[KeyNumbers]:
        """START, the keys and END of each source of these runs; equal sequences once, in the order of their first run."""
        distinct: dict[bytes, KeyNumbers] = {}
        for run in runs:
            for keys, _ in keyed.run(run).values():
                events = self._numbers[[index for index in keys if index != BLANK]]
                # With END, a source that stops early is a surprise like any other key that does not come.
                sequence = np.concatenate([[START], events, [END]])
                distinct.setdefault(sequence.tobytes(), sequence)
        return list(distinct.values())


def cut_windows(sequence: KeyNumbers, stride: int, first: int, shift: int = 0) -> Iterator[tuple[KeyNumbers, KeyNumbers]]:
    """Cuts a sequence into windows of at most two strides; yields the keys of each and the key that follows each of them.

    The first half of a window is context that the window before has scored already: its targets are START, which is never
    scored.

    Args:
        sequence: START, keys and END.
        stride: Keys that a window scores.
        first: Keys that the first window scores; it has no context. Serving uses one stride, training two.
        shift: Keys, below `stride`, by which later windows begin earlier. They then score some keys twice.
    """
    keys, targets = sequence[:-1], sequence[1:]
    yield keys[:first], targets[:first]
    for scored in range(first - shift, len(keys), stride):
        begin = scored - stride
        following = targets[begin : scored + stride].copy()
        following[:stride] = START
        yield keys[begin : scored + stride], following
