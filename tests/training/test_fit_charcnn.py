"""A tiny char-CNN from training to serving: it learns, it resumes, and it serves what was trained."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stream_triage.stages.charcnn import CharCNN
from tests.corpus import LABELS, runs
from training.data import MaskedRuns
from training.fit.folded import FoldedRuns, fit_alphabet
from training.fit.parts import TrainingPart
from training.fit.settings import CharCNNSettings
from training.fit.templates import fit_templates
from training.keyed import KeyedRuns

pytestmark = pytest.mark.slow

TINY = {"embedding": 8, "channels": 16, "width": 16, "epochs": 8, "batch": 16, "learning_rate": 5e-3}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    """Threads cost more than they bring at this size."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def masked() -> MaskedRuns:
    return MaskedRuns(runs())


@pytest.fixture(scope="module")
def served(masked: MaskedRuns):
    """The served network with those of three folds, calibrated and exported."""
    from training.fit.charcnn_bundle import fit_served_charcnn

    every = np.arange(len(masked.runs))
    groups = [str(i) for i in every]
    passing = [i for i in every.tolist() if masked.labels[i] == "Pass"]
    templates = fit_templates(masked, every.tolist())
    part = TrainingPart(
        masked, LABELS, every, groups, passing, [groups[i] for i in passing], templates, KeyedRuns(masked, templates)
    )
    return fit_served_charcnn(part, 0, CharCNNSettings(**TINY), key_of_line=lambda line: masked.lines[line])


@pytest.mark.parametrize(("shape", "residual"), [("lines", True), ("lines", False), ("plain", True)])
def test_it_learns_what_is_easy(masked: MaskedRuns, shape: str, residual: bool) -> None:
    """Three labels with a telling line each are learned in every shape that is compared."""
    fitted = fitted_on(masked, shape=shape, residual=residual, epochs=10)
    assert fitted.curve.epochs[fitted.curve.best].validation["accuracy"] == 1.0
    assert not set(fitted.training) & set(fitted.validation)


def fitted_on(masked: MaskedRuns, checkpoint: Path | None = None, stop_after: int | None = None, **changes: object):
    from training.fit.charcnn import fit_charcnn

    class Stop(Exception):
        pass

    def report(number: int, epoch: object) -> None:
        if number + 1 == stop_after:
            raise Stop

    every = list(range(len(masked.runs)))
    settings = replace(CharCNNSettings(**TINY), **changes)
    folded = FoldedRuns(masked, fit_alphabet(masked, every))
    try:
        return fit_charcnn(
            folded, LABELS, every, list(map(str, every)), settings, seed=0, checkpoint=checkpoint, report=report
        )
    except Stop:
        return None


def test_an_interrupted_training_continues_from_its_last_epoch(masked: MaskedRuns, tmp_path: Path) -> None:
    """Stopped in the third epoch and called again, it ends with the weights of an uninterrupted training."""
    assert fitted_on(masked, tmp_path / "c.pt", stop_after=3) is None
    again = fitted_on(masked, tmp_path / "c.pt")
    whole = fitted_on(masked)
    assert [e.training_loss for e in again.curve.epochs] == pytest.approx([e.training_loss for e in whole.curve.epochs])
    probe = list(range(12))
    assert again.task.scores(probe) == pytest.approx(whole.task.scores(probe), abs=1e-5)
    seconds = [epoch.seconds for epoch in again.curve.epochs]
    assert [epoch.seconds for epoch in fitted_on(masked, tmp_path / "c.pt").curve.epochs] == seconds


def test_a_checkpoint_of_another_training_is_not_continued(masked: MaskedRuns, tmp_path: Path) -> None:
    """With other settings the training starts anew."""
    assert fitted_on(masked, tmp_path / "c.pt", stop_after=3) is None
    other = fitted_on(masked, tmp_path / "c.pt", epochs=2)
    assert len(other.curve.epochs) == 2


def test_two_trainings_of_a_seed_are_alike(masked: MaskedRuns) -> None:
    """Same runs, same seed: same scores."""
    probe = list(range(12))
    one, other = (fitted_on(masked, epochs=2).task.scores(probe) for _ in range(2))
    assert one == pytest.approx(other, abs=1e-6)


def test_serving_computes_what_was_trained(masked: MaskedRuns) -> None:
    """Torch over whole runs at once and onnxruntime in windows line by line give the same scores, within 1e-5."""
    from training.fit.charcnn_bundle import WINDOW
    from training.networks.export import export_charcnn

    fitted = fitted_on(masked)
    network = fitted.task.network
    lines, run = export_charcnn(network, WINDOW)
    folded = FoldedRuns(masked, fitted.task.folded.alphabet)
    arrays = {
        "weights": network.linear.weight.detach().numpy(),
        "bias": network.linear.bias.detach().numpy(),
        "means": np.zeros((3, 16), dtype=np.float32),
    }
    profile = {
        "symbols": folded.alphabet.symbols,
        "width": 16,
        "window": WINDOW,
        "halo": network.run.halo,
        "temperature": 1.0,
        "missing_keys": [""] * 16,
    }
    stage = CharCNN.from_files(LABELS, profile, arrays, lines, run)
    for number in range(9):
        states = {}
        for name, kept in folded.kept(number).items():
            states[name] = stage.start()
            texts = [masked.lines[line] for line in masked.runs[number][name][kept].tolist()]
            stage.update(states[name], stage.read(texts), [position + 1 for position in kept])
        assert stage.scores(states) == pytest.approx(fitted.task.scores([number])[0], abs=1e-5)


def test_files_of_a_bundle_judge_rightly(masked: MaskedRuns, served) -> None:
    """Out-of-fold scores give the labels; features of passing runs name the lines they come from."""
    predicted = [LABELS[i] for i in served.out_of_fold.argmax(axis=1)]
    assert np.mean(np.array(predicted) == masked.labels) > 0.9
    stage = CharCNN.from_files(
        LABELS,
        json.loads(served.files["charcnn.json"]),
        dict(np.load(io.BytesIO(served.files["charcnn.npz"]))),
        served.files["charcnn_lines.onnx"],
        served.files["charcnn_run.onnx"],
    )
    assert set(stage.profile.missing_keys) - {""}
    assert set(stage.profile.missing_keys) <= {"", *masked.lines}
    assert served.precision.served in ("int8", "fp32")


def test_int8_predicts_nearly_the_same(masked: MaskedRuns, served) -> None:
    """The labels of int8 and fp32 agree on nine of ten runs at least, for a tiny network, too."""
    assert served.precision.same_labels >= 0.9
    assert served.precision.median_difference < 1.0
