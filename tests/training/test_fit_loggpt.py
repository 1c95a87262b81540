"""The next-key network: it learns an order, exports what it learned, and goes on where it was interrupted."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream_triage.inference import Network
from stream_triage.stages.detect import BLANK, NEW, Detector
from stream_triage.stages.next_key import END, FIRST_KEY, INPUTS, OUTPUTS, START, UNK, NextKey
from stream_triage.stages.template import DrainSettings, Templates
from training.data import CorpusError
from training.fit.detector import fit_detector, raw_score

if TYPE_CHECKING:
    from training.fit.loggpt import LogGPTFit
    from training.networks.loggpt import LogGPT
    from training.networks.next_key_task import LogGPTSettings, Vocabulary

# What needs torch is imported where it is used: plain runs of pytest collect this file, too.
pytestmark = pytest.mark.slow

WORDS = ("boot", "attach", "send", "receive", "measure", "report", "release", "detach", "stop", "crash")
TEMPLATES = Templates([f"{word} done" for word in WORDS], [1] * len(WORDS), DrainSettings())
EPOCHS = 12


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    """Threads cost more than they bring at this size."""
    import torch

    torch.set_num_threads(1)


def tiny(**changes) -> "LogGPTSettings":
    from training.networks.next_key_task import LogGPTSettings

    settings = LogGPTSettings(layers=1, width=16, heads=2, stride=8, batch=4, epochs=EPOCHS, learning_rate=0.02, patience=20)
    return replace(settings, **changes)


class Runs:
    """Runs of template indexes, as KeyedRuns gives them."""

    def __init__(self, runs: list[list[int]]) -> None:
        self._runs = runs

    def run(self, index: int):
        keys = self._runs[index]
        return {"": (keys, [f"new:{i}" for i, key in enumerate(keys) if key == NEW])}


def passing_runs(count: int) -> Runs:
    """Rounds of the same four keys between a beginning and an end; how many rounds is a run's own."""
    return Runs([[0, 1, *[2, 3, BLANK, 4, 5] * (2 + i % 5), 6, 7, 8] for i in range(count)])


def fitted(count: int = 20, **more) -> "LogGPTFit":
    from training.fit.loggpt import fit_loggpt

    return fit_loggpt(passing_runs(count), TEMPLATES, range(count), [f"g{i}" for i in range(count)], 0, tiny(), **more)


@pytest.fixture(scope="module")
def fit() -> "LogGPTFit":
    return fitted()


def order_in(fit: "LogGPTFit", keys: list[int]):
    """What the fitted network says of a run of one source."""
    from training.fit.loggpt import order_of, serve

    return order_of(NextKey(TEMPLATES.keys, fit.profile, serve(fit.network)), {"": (keys, [])})


def untrained() -> "LogGPT":
    import torch

    from training.networks.loggpt import LogGPT, LogGPTConfig

    torch.manual_seed(0)
    return LogGPT(LogGPTConfig(vocabulary=9, stride=4, layers=1, width=8, heads=2)).eval()


def vocabulary_of(keyed: Runs, groups: list[str], most: int = 1000) -> "Vocabulary":
    from training.networks.next_key_task import Vocabulary

    return Vocabulary(keyed, TEMPLATES, range(len(groups)), groups, most)


def test_order_is_learned(fit):
    """A run as passing ones are has no surprise; one with two lines swapped has some, at those lines."""
    keys = [0, 1, *[2, 3, 4, 5] * 5, 6, 7, 8]
    usual = order_in(fit, keys)
    assert usual.count == 0
    assert usual.mean_surprisal < 0.5
    keys[5], keys[-2] = keys[-2], keys[5]
    order = order_in(fit, keys)
    assert {6, len(keys) - 1} <= {surprise.number for surprise in order.surprises}
    assert order.mean_surprisal > 2 * usual.mean_surprisal


def test_early_end_is_a_surprise(fit):
    order = order_in(fit, [0, 1, *[2, 3, 4, 5] * 3, 2])
    assert [(surprise.end, surprise.number) for surprise in order.surprises] == [(True, 15)]


def test_threshold_of_the_joined_score(fit):
    """Out-of-fold orders set it, the interval says how sure the rate is, and a disordered run lies above."""
    detector = fit_detector(passing_runs(20), TEMPLATES, range(20), [f"g{i}" for i in range(20)], 0, fit.orders)
    assert len(fit.orders) == 20
    low, high = detector.profile.false_alarm_interval
    assert low == 0.0
    assert 0.1 < high < 0.5
    keys = [0, 1, 5, 4, 3, 2, 3, 5, 2, 4, 6, 7, 8]
    run = {"": (keys, [])}
    assert raw_score(detector, run, order_in(fit, keys)) > detector.profile.threshold
    assert raw_score(detector, run) <= detector.profile.threshold


def test_interrupted_training_goes_on(tmp_path: Path, fit):
    """With the checkpoint of one network and a third of the next, the result is that of one go."""
    import torch

    told: list[int] = []

    def interrupt(number, epoch):
        told.append(number)
        if len(told) == EPOCHS + 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(checkpoints=tmp_path, report=interrupt)
    again: list[int] = []
    resumed = fitted(checkpoints=tmp_path, report=lambda number, _: again.append(number))
    assert again[0] == 4
    assert resumed.profile == fit.profile
    assert resumed.orders == fit.orders
    for name, weights in fit.network.state_dict().items():
        assert torch.equal(weights, resumed.network.state_dict()[name])


def test_export_says_what_the_network_says(fit):
    """Through onnxruntime a run has the surprises it has in training, at any number of windows."""
    from training.fit.loggpt import order_of
    from training.networks.loggpt import export

    served = Network(export(fit.network), INPUTS, OUTPUTS, "next_key.onnx")
    stage = NextKey.from_file(TEMPLATES.keys, fit.profile.model_dump(mode="json"), served)
    keys = [0, 1, *[2, 3, 4, 5] * 9, 4, 3, NEW, 2, 7, 8]
    order, expected = order_of(stage, {"": (keys, ["new:x"])}), order_in(fit, keys)
    assert order.count == expected.count > 0
    assert order.mean_surprisal == pytest.approx(expected.mean_surprisal, abs=1e-4)
    assert [s._replace(surprisal=0) for s in order.surprises] == [s._replace(surprisal=0) for s in expected.surprises]


def test_batches_of_windows_do_not_show():
    """A window has the same figures, to the bit, alone and among others: a verdict cannot depend on other runs."""
    from training.networks.loggpt import export

    served = Network(export(untrained()), INPUTS, OUTPUTS, "next_key.onnx")
    keys, targets = (np.random.default_rng(0).integers(FIRST_KEY, 9, (5, length)) for length in (8, 4))
    together = served(keys=keys, targets=targets)
    for row in range(5):
        alone = served(keys=keys[row : row + 1], targets=targets[row : row + 1])
        assert all(np.array_equal(one[0], all_[row]) for one, all_ in zip(alone, together, strict=True))


def test_export_that_says_other_things_is_refused(monkeypatch):
    from training.networks import loggpt
    from training.networks.export import ExportError

    monkeypatch.setattr(loggpt, "PARITY_BITS", -1.0)
    with pytest.raises(ExportError, match="differs by"):
        loggpt.export(untrained())


def test_forward_is_what_the_logits_say():
    """Surprisal in bits, rank by counting, the likeliest keys in order; start and unknown are never expected."""
    import torch

    network = untrained()
    keys, targets = torch.randint(3, 9, (2, 8)), torch.randint(3, 9, (2, 4))
    with torch.no_grad():
        surprisal, rank, expected = network(keys, targets)
        chances = network.logits(keys, 4).softmax(2)
    came = chances.gather(2, targets.unsqueeze(2)).squeeze(2)
    assert torch.allclose(surprisal, -came.log2(), atol=1e-5)
    assert torch.equal(rank, (chances > came.unsqueeze(2)).sum(2))
    assert torch.equal(expected, chances.topk(3, dim=2).indices)
    assert float(chances[:, :, [START, UNK]].max()) == 0.0


def test_loss_leaves_unknown_and_unscored_targets_out():
    import torch

    network, keys = untrained(), torch.randint(3, 9, (1, 4))
    surprisal, _, _ = network(keys, torch.tensor([[5, 4, END, 6]]))
    loss = network.loss(keys, torch.tensor([[START, UNK, END, 6]]))
    assert float(loss.detach()) == pytest.approx(float(surprisal[0, 2:].mean().detach()) * math.log(2), abs=1e-5)


def test_vocabulary_is_what_two_groups_show():
    """Keys of one group, however often it shows them, are unknown, and so are lines without template."""
    keyed = Runs([[0, 9, 9, 8], [0, 9, 8], [0, BLANK, NEW, 8]])
    vocabulary = vocabulary_of(keyed, ["a", "a", "b"])
    assert set(vocabulary.keys) == {TEMPLATES.keys[0], TEMPLATES.keys[8]}
    boot, stop = (FIRST_KEY + vocabulary.keys.index(TEMPLATES.keys[i]) for i in (0, 8))
    found = [sequence.tolist() for sequence in vocabulary.sequences(keyed, [0, 1, 2, 1])]
    assert found == [[START, boot, UNK, UNK, stop, END], [START, boot, UNK, stop, END]]
    assert len(vocabulary_of(keyed, ["a", "a", "b"], most=1).keys) == 1


def test_runs_without_common_lines_are_refused():
    with pytest.raises(CorpusError, match="share a line"):
        vocabulary_of(Runs([[0], [1]]), ["a", "b"])


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, 50])
def test_training_windows_score_every_key(length):
    """Windows of serving score each key once, shifted ones at least once, and none is read beyond two strides."""
    from training.networks.next_key_task import cut_windows

    sequence = np.arange(length + 1) + FIRST_KEY
    for first, shift in ((8, 0), (16, 0), (16, 3), (16, 7)):
        windows = list(cut_windows(sequence, 8, first, shift))
        scored = [target for _, targets in windows for target in targets.tolist() if target != START]
        assert set(scored) == set(sequence[1:].tolist())
        assert shift or len(scored) == length
        assert max(len(keys) for keys, _ in windows) <= 16
        for keys, targets in windows:
            assert all(target in (START, key + 1) for key, target in zip(keys.tolist(), targets.tolist(), strict=True))


def test_batches_hide_keys_alone():
    """Some keys are hidden from the reader, never what should be said of them, never start or padding."""
    from training.networks.next_key_task import NextKeyTask

    sequence = np.array([START, *range(FIRST_KEY, FIRST_KEY + 20), END])
    task = NextKeyTask([sequence] * 4, [sequence], FIRST_KEY + 20, tiny(unknown_share=0.5), 0)
    batches = list(task.batches(np.random.default_rng(0)))
    assert len(batches) == task.steps()
    for keys, targets in batches:
        assert (keys == UNK).any()
        assert not (targets == UNK).any()
        assert ((keys == START) | (keys == UNK) | (keys + 1 == targets) | (targets == START) | (targets == END)).all()


def test_changes_of_the_experiment_are_of_order_alone():
    """No key comes that the run has not, none goes, the last line stays, and so do short sources."""
    from training.experiments.order import CHANGES, changed

    keys = [0, *[1, 2, 3, 4, 5, 6] * 20, 7]
    for seed, change in enumerate([*CHANGES.values()] * 10):
        run = changed({"": (keys, []), "short": ([0, 7], [])}, change, np.random.default_rng(seed))
        assert run["short"] == ([0, 7], [])
        assert run[""][0] != keys
        assert set(run[""][0]) == set(keys)
        assert len(run[""][0]) - len(keys) in (-1, 0, 5)
        assert run[""][0][-1] == 7


def test_profile_of_before_still_opens():
    """A bundle without the interval."""
    detector = fit_detector(passing_runs(10), TEMPLATES, range(10), [f"g{i}" for i in range(10)], 0)
    old = detector.profile.model_dump(mode="json", exclude={"false_alarm_interval"})
    assert Detector.from_file(TEMPLATES.keys, old).profile.false_alarm_interval == (0.0, 1.0)
