"""The vocabulary of the next-key network and the windows it learns from."""

import numpy as np
import pytest

from stream_triage.stages.detect import BLANK, NEW
from stream_triage.stages.next_key import END, FIRST_KEY, START, UNK
from tests.training.key_runs import TEMPLATES, Runs
from training.data import CorpusError
from training.networks.key_windows import Vocabulary, cut_windows


def vocabulary_of(keyed: Runs, groups: list[str], max_keys: int = 1000) -> Vocabulary:
    return Vocabulary(keyed, TEMPLATES, range(len(groups)), groups, max_keys)


def test_vocabulary_is_what_two_groups_show() -> None:
    """Keys of a single group, however often it has them, are unknown, and so are lines without a template."""
    keyed = Runs([[0, 9, 9, 8], [0, 9, 8], [0, BLANK, NEW, 8]])
    vocabulary = vocabulary_of(keyed, ["a", "a", "b"])
    assert set(vocabulary.keys) == {TEMPLATES.keys[0], TEMPLATES.keys[8]}
    boot, stop = (FIRST_KEY + vocabulary.keys.index(TEMPLATES.keys[i]) for i in (0, 8))
    sequences = [sequence.tolist() for sequence in vocabulary.sequences(keyed, [0, 1, 2, 1])]
    assert sequences == [[START, boot, UNK, UNK, stop, END], [START, boot, UNK, stop, END]]
    assert len(vocabulary_of(keyed, ["a", "a", "b"], max_keys=1).keys) == 1


def test_runs_without_common_lines_are_rejected() -> None:
    """Without a key in two groups there is no order to learn."""
    with pytest.raises(CorpusError, match="share a line"):
        vocabulary_of(Runs([[0], [1]]), ["a", "b"])


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, 50])
def test_training_windows_score_every_key(length: int) -> None:
    """Windows of serving score each key once, shifted ones at least once, and none reads more than two strides."""
    sequence = np.arange(length + 1) + FIRST_KEY
    for first, shift in ((8, 0), (16, 0), (16, 3), (16, 7)):
        windows = list(cut_windows(sequence, 8, first, shift))
        scored = [target for _, targets in windows for target in targets.tolist() if target != START]
        assert set(scored) == set(sequence[1:].tolist())
        assert shift or len(scored) == length
        assert max(len(keys) for keys, _ in windows) <= 16
        for keys, targets in windows:
            assert all(target in (START, key + 1) for key, target in zip(keys.tolist(), targets.tolist(), strict=True))
