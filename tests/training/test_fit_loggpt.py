"""The next-key network: it learns an order, exports what it learned, and continues where it was interrupted."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream_triage.inference import Network
from stream_triage.stages.detect import NEW
from stream_triage.stages.next_key import END, FIRST_KEY, INPUTS, OUTPUTS, START, UNK, NextKey
from tests.training.key_runs import TEMPLATES, passing_runs
from training.fit.detector import fit_detector, raw_score
from training.fit.settings import LogGPTSettings

# torch is imported where it is used: plain pytest collects this file, too.
pytestmark = pytest.mark.slow

EPOCHS = 12


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    """Threads cost more than they bring at this size."""
    import torch

    torch.set_num_threads(1)


def tiny(**changes) -> LogGPTSettings:
    settings = LogGPTSettings(layers=1, width=16, heads=2, stride=8, batch=4, epochs=EPOCHS, learning_rate=0.02, patience=20)
    return replace(settings, **changes)


def fitted(count: int = 20, **more):
    from training.fit.loggpt import fit_loggpt

    groups = [f"g{i}" for i in range(count)]
    return fit_loggpt(passing_runs(count), TEMPLATES, range(count), groups, 0, settings=tiny(), **more)


@pytest.fixture(scope="module")
def fit():
    return fitted()


def order_in(fit, keys: list[int]):
    """What the fitted network reports of a run of one source."""
    from training.fit.loggpt import order_of, serve

    return order_of(NextKey(TEMPLATES.keys, fit.profile, serve(fit.network)), {"": (keys, [])})


def untrained():
    import torch

    from training.networks.loggpt import LogGPT, LogGPTConfig

    torch.manual_seed(0)
    return LogGPT(LogGPTConfig(vocabulary=9, stride=4, layers=1, width=8, heads=2)).eval()


def test_order_is_learned(fit):
    """A run like the passing ones has no surprise; one with two lines swapped has some, at those lines."""
    keys = [0, 1, *[2, 3, 4, 5] * 5, 6, 7, 8]
    usual = order_in(fit, keys)
    assert usual.count == 0
    assert usual.mean_surprisal < 0.5
    keys[5], keys[-2] = keys[-2], keys[5]
    order = order_in(fit, keys)
    assert {6, len(keys) - 1} <= {surprise.number for surprise in order.surprises}
    assert order.mean_surprisal > 2 * usual.mean_surprisal


def test_early_end_is_a_surprise(fit):
    """A source that ends in mid round surprises at its end."""
    order = order_in(fit, [0, 1, *[2, 3, 4, 5] * 3, 2])
    assert [(surprise.end, surprise.number) for surprise in order.surprises] == [(True, 15)]


def test_threshold_of_the_joined_score(fit):
    """Out-of-fold orders set it, the interval states the measured rate, and a disordered run is above."""
    detector = fit_detector(passing_runs(20), TEMPLATES, range(20), [f"g{i}" for i in range(20)], 0, orders=fit.orders)
    assert len(fit.orders) == 20
    low, high = detector.profile.false_alarm_interval
    assert low == 0.0
    assert 0.1 < high < 0.5
    keys = [0, 1, 5, 4, 3, 2, 3, 5, 2, 4, 6, 7, 8]
    run = {"": (keys, [])}
    assert raw_score(detector, run, order_in(fit, keys)) > detector.profile.threshold
    assert raw_score(detector, run) <= detector.profile.threshold


def test_interrupted_training_continues(tmp_path: Path, fit):
    """With the checkpoint of one network and a third of the next, the result is that of an uninterrupted training."""
    import torch

    reported: list[int] = []

    def interrupt(number, epoch):
        reported.append(number)
        if len(reported) == EPOCHS + 5:
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


def test_export_computes_what_the_network_computes(fit):
    """Through onnxruntime a run has the same surprises as through torch, over any number of windows."""
    from training.fit.loggpt import order_of
    from training.networks.loggpt import export

    served = Network(export(fit.network), INPUTS, OUTPUTS, "next_key.onnx")
    stage = NextKey.from_file(TEMPLATES.keys, fit.profile.model_dump(mode="json"), served)
    keys = [0, 1, *[2, 3, 4, 5] * 9, 4, 3, NEW, 2, 7, 8]
    order, expected = order_of(stage, {"": (keys, ["new:x"])}), order_in(fit, keys)
    assert order.count == expected.count > 0
    assert order.mean_surprisal == pytest.approx(expected.mean_surprisal, abs=1e-4)
    assert [s._replace(surprisal=0) for s in order.surprises] == [s._replace(surprisal=0) for s in expected.surprises]


def test_a_window_does_not_depend_on_its_batch():
    """A window has the same figures, to the bit, alone and among others: a verdict cannot depend on other runs."""
    from training.networks.loggpt import export

    served = Network(export(untrained()), INPUTS, OUTPUTS, "next_key.onnx")
    keys, targets = (np.random.default_rng(0).integers(FIRST_KEY, 9, (5, length)) for length in (8, 4))
    together = served(keys=keys, targets=targets)
    for row in range(5):
        alone = served(keys=keys[row : row + 1], targets=targets[row : row + 1])
        assert all(np.array_equal(one[0], all_[row]) for one, all_ in zip(alone, together, strict=True))


def test_an_export_that_differs_is_rejected(monkeypatch):
    """A difference above the accepted one raises an error, so that such a file is never served."""
    from training.networks import loggpt
    from training.networks.export import ExportError

    monkeypatch.setattr(loggpt, "PARITY_BITS", -1.0)
    with pytest.raises(ExportError, match="differs by"):
        loggpt.export(untrained())


def test_forward_follows_from_the_logits():
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
    """The loss is the mean surprisal of the other targets, in nats."""
    import torch

    network, keys = untrained(), torch.randint(3, 9, (1, 4))
    surprisal, _, _ = network(keys, torch.tensor([[5, 4, END, 6]]))
    loss = network.loss(keys, torch.tensor([[START, UNK, END, 6]]))
    assert float(loss.detach()) == pytest.approx(float(surprisal[0, 2:].mean().detach()) * math.log(2), abs=1e-5)


def test_batches_hide_keys_alone():
    """Some keys of the input are hidden, but no target, no start and no padding."""
    from training.networks.loggpt import LogGPTConfig
    from training.networks.next_key_task import NextKeyTask

    sequence = np.array([START, *range(FIRST_KEY, FIRST_KEY + 20), END])
    config = LogGPTConfig(vocabulary=FIRST_KEY + 20, stride=8, layers=1, width=16, heads=2)
    task = NextKeyTask([sequence] * 4, [sequence], config, batch=4, unknown_share=0.5, seed=0)
    batches = list(task.batches(np.random.default_rng(0)))
    assert len(batches) == task.steps()
    for keys, targets in batches:
        assert (keys == UNK).any()
        assert not (targets == UNK).any()
        assert ((keys == START) | (keys == UNK) | (keys + 1 == targets) | (targets == START) | (targets == END)).all()
