"""Document embeddings: windows that cover a log, means over their tokens, and classifiers on top that learn."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.corpus.__main__ import main as make_corpus
from training.data import CorpusError
from training.paper import document_embeddings
from training.paper.document_embeddings import Encoder, main, window_starts

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rrc", "rlc", "ue", "id", "setup", "reject", "cause", ":"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a tiny, untrained encoder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-encoder"
    folder.mkdir()
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=18,
    )
    BertModel(config).save_pretrained(folder, safe_serialization=True)
    BertTokenizerFast(str(folder / "words.txt"), model_max_length=18).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("tokens", [0, 1, 7, 8, 9, 100, 101])
def test_windows_cover_a_log_and_overlap_by_half(tokens: int) -> None:
    """Their number is the paper's M, rounded up."""
    starts = window_starts(tokens, 8)
    covered = {token for start in starts for token in range(start, start + 8)}
    assert covered >= set(range(tokens))
    assert len(starts) == max(1, -(-(tokens - 4) // 4))


@pytest.mark.slow
def test_an_embedding_is_the_mean_over_the_tokens_of_a_window(model: Path) -> None:
    """Padding and marks are left out; a window has the same embedding alone and beside longer ones."""
    import torch

    encoder = Encoder(model)
    assert encoder.context == 16
    text = "rrc setup ue id : " * 8  # 40 tokens: windows at 0, 8, 16, 24, of 16 each
    windows = encoder.windows(text)
    assert windows.shape == (4, 16)
    assert np.allclose(encoder.windows(" ".join(text.split()[24:40])), windows[3:], atol=1e-5)
    ids = encoder._tokenizer("rrc reject", return_tensors="pt")
    with torch.no_grad():
        states = encoder._model(**ids).last_hidden_state[0, 1:-1]
    assert np.allclose(encoder.windows("rrc reject")[0], states.mean(0).numpy(), atol=1e-5)


@pytest.mark.slow
def test_a_folder_without_a_model_is_rejected(tmp_path: Path) -> None:
    """One sentence that names the folder; so for weights as pickles, which can execute code."""
    with pytest.raises(CorpusError, match="does not hold a Hugging Face encoder with safetensors"):
        Encoder(tmp_path)


def test_an_unknown_split_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the encoder is loaded."""
    assert make_corpus(["--out", str(tmp_path / "corpus"), "--runs", "30"]) == 0
    flags = [f"--logs={tmp_path / 'corpus/runs'}", f"--labels={tmp_path / 'corpus/labels.csv'}", f"--model={tmp_path}"]
    assert main([*flags, "--split", "other"]) == 2
    assert "defines easy, hard; add a column split_other" in capsys.readouterr().err


@pytest.mark.slow
def test_rows_of_every_classifier(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rows for a split; called again, all windows come from the cache."""
    assert make_corpus(["--out", str(tmp_path / "corpus"), "--runs", "60"]) == 0
    flags = [f"--logs={tmp_path / 'corpus/runs'}", f"--labels={tmp_path / 'corpus/labels.csv'}", f"--model={model}"]
    flags += [f"--cache={tmp_path / 'kept'}", f"--out={tmp_path / 'out.json'}", "--split=easy"]
    assert main(flags) == 0
    first = json.loads((tmp_path / "out.json").read_text())
    monkeypatch.setattr(document_embeddings.Encoder, "windows", None)
    assert main(flags) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == first
    assert [(row["encoder"], row["model"]) for row in first] == [
        ("tiny-encoder", name) for name in ("random forest", "decision tree", "XGBoost", "CNN")
    ]
    assert all(sum(label["runs"] for label in row["per_label"].values()) == np.sum(row["confusion"]) for row in first)


@pytest.mark.slow
def test_the_network_on_windows_learns() -> None:
    """It learns which of two directions one of the windows has, whatever its position."""
    from training.networks.loop import LoopSettings, fit
    from training.paper.window_cnn import WindowTask

    rng = np.random.default_rng(0)
    targets = np.arange(60) % 2
    logs = [rng.normal(0, 0.3, (rng.integers(2, 9), 8)).astype(np.float32) for _ in targets]
    for log, target in zip(logs, targets, strict=True):
        log[rng.integers(len(log)), target] += 4
    task = WindowTask(logs, targets, range(40), range(40, 60), labels=2)
    fit(task, LoopSettings(epochs=20, learning_rate=3e-3, patience=20))
    assert task.validate()["accuracy"] >= 0.9
