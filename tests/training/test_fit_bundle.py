"""A tiny bundle with all its networks, from runs to verdicts, figures and the page of results."""

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from stream_triage import Bundle, Triage
from stream_triage.bundle import Card
from stream_triage.records import UNKNOWN
from tests.corpus import LABELS, make_run, runs
from training.data import MaskedRuns
from training.fit.bundle import CLASSIFIER_FILES, Corpus, _description, alone
from training.fit.settings import BundleSettings, CharCNNSettings, LogGPTSettings
from training.splits import FOLDS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def masked_settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, BundleSettings]:
    import torch

    torch.set_num_threads(1)
    made = runs(330)
    corpus = Corpus(made, MaskedRuns(made), LABELS, "Pass", ("group",))
    settings = BundleSettings(
        "tiny",
        charcnn=CharCNNSettings(embedding=8, channels=16, width=16, epochs=6, batch=16, learning_rate=5e-3),
        loggpt=LogGPTSettings(layers=1, width=16, heads=2, stride=16, epochs=8),
        checkpoints=tmp_path_factory.mktemp("checkpoints"),
    )
    return corpus, settings


@pytest.fixture(scope="module")
def outcomes(masked_settings):
    """Two splits of 330 runs, each with a bundle and its scores."""
    from training.train import Split, fit_and_score

    corpus, settings = masked_settings
    return {split: fit_and_score(corpus, split, settings) for split in (Split("group", 0), Split("group", 1))}


def test_the_bundle_holds_all_models_and_judges(outcomes) -> None:
    """The bundle has the files of all models, and judges new runs rightly."""
    outcome = next(iter(outcomes.values()))
    card = outcome.bundle.card
    assert card.detectors == ("profile", "next_key")
    assert set(card.classifiers) <= {"terms", "charcnn"}
    assert {"terms.npz", "charcnn_lines.onnx", "charcnn_run.onnx", "next_key.onnx"} <= set(card.files)
    assert set(card.training["out_of_fold_log_loss"]) == {"terms", "charcnn", "pool"}
    triage = Triage(outcome.bundle)
    for label in LABELS:
        session = triage.session("new")
        for source, data in make_run(label, 5000).sources.items():
            session.feed(data, source)
        assert session.close().label == label


@pytest.mark.parametrize("classifier", ["terms", "charcnn"])
def test_each_classifier_judges_alone(outcomes, classifier) -> None:
    """With one classifier alone, the same files still give verdicts and scores."""
    outcome = next(iter(outcomes.values()))
    part = alone(outcome.bundle, classifier)
    assert Triage(part).run(b"".join(make_run("L3", 5000).sources.values())).label in LABELS
    assert outcome.scores[classifier].macro_f1 > 0.6


def test_the_page_of_results_is_made_from_the_figures(outcomes, tmp_path: Path) -> None:
    """The summary has every comparison, the file of figures every curve, and the page shows them."""
    from training.report import page as report
    from training.train import summary, write_figures

    scores = summary(list(outcomes.values()))
    assert scores["served_less_terms_alone"]["low"] <= scores["served_less_terms_alone"]["high"]
    assert len(scores["macro_f1"]["values"]) == 2
    write_figures(tmp_path / "figures.json", outcomes, LABELS)
    rows = json.loads((tmp_path / "figures.json").read_text())
    assert [np.sum(row["confusion"]["served"]) for row in rows] == [330 // FOLDS] * 2
    assert {"charcnn", "next_key"} <= set(rows[0]["curves"])
    card = next(iter(outcomes.values())).bundle.card.model_copy(update={"scores": {"group": scores}})
    (tmp_path / "card.json").write_text(card.model_dump_json())
    (tmp_path / "order.md").write_text("## Order\n\n| a |\n|---|\n")
    networks = Path(report.__file__).parents[1] / "results" / "networks.jsonl"
    arguments = {"figures": "figures.json", "card": "card.json", "order": "order.md", "out": "RESULTS.md"}
    flags = [f"--{name}={tmp_path / file}" for name, file in arguments.items()]
    assert report.main([*flags, f"--networks={networks}"]) == 0
    page = (tmp_path / "RESULTS.md").read_text()
    assert f"{scores['macro_f1']['mean']:.4f}" in page
    for picture in ("curves", "confusion", "networks"):
        assert (tmp_path / "results" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_trained_is_not_trained_again(outcomes, masked_settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that was interrupted after its networks continues from their checkpoints and gives the same files."""
    from training.networks import loop
    from training.train import fit_and_score

    def refuse(*_: object) -> float:
        raise AssertionError("an epoch was trained again")

    monkeypatch.setattr(loop, "_train", refuse)
    corpus, settings = masked_settings
    split, first = list(outcomes.items())[-1]  # the folder has the checkpoints of the last training
    again = fit_and_score(corpus, split, settings)
    assert again.bundle.data("next_key.onnx") == first.bundle.data("next_key.onnx")
    assert again.bundle.data("charcnn_run.onnx") == first.bundle.data("charcnn_run.onnx")
    assert again.held_out == first.held_out


def test_a_handful_of_runs_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With five runs of each label, a model that cannot be learned from so few is left out, and this is reported."""
    from training.train import main

    rows = ["run,label"]
    for seed in range(15):
        run = make_run(LABELS[seed % 3], seed)
        for source, data in run.sources.items():
            path = tmp_path / "logs" / run.run_id / f"{source}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        rows.append(f"{run.run_id},{run.label}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    flags = {"logs": tmp_path / "logs", "labels": tmp_path / "labels.csv", "out": tmp_path / "mine", "seeds": 1}
    assert main([f"--{name}={value}" for name, value in flags.items()]) == 0
    card = Bundle.open(tmp_path / "mine").card
    reported = capsys.readouterr().err
    assert ("no next-key network" in reported) == (card.detectors == ("profile",))
    assert Triage(Bundle.open(tmp_path / "mine")).run("uesim starting\n").label in (*LABELS, UNKNOWN)


def test_every_classifier_has_a_file_and_a_description():
    """The names are those that a card may have."""
    names = get_args(get_args(Card.model_fields["classifiers"].annotation)[0])
    assert set(CLASSIFIER_FILES) == set(names)
    assert _description(dict.fromkeys(names, 0.5), with_order=False).count("(0.5)") == len(names)
