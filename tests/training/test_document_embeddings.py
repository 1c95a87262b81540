"""Document embeddings: windows that cover a log, means over their tokens, and classifiers on top that learn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from training.corpus.__main__ import main as make_corpus
from training.data import CorpusError
from training.networks.loop import LoopSettings, fit
from training.paper import document_embeddings
from training.paper.document_embeddings import Encoder, WindowTask, main, window_starts

pytestmark = pytest.mark.slow  # transformers takes seconds to import
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "rrc", "rlc", "ue", "id", "setup", "reject", "cause", ":"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Hugging Face's models have it, with a tiny encoder that knows nothing."""
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
    covered = {place for start in starts for place in range(start, start + 8)}
    assert covered >= set(range(tokens))
    assert len(starts) == max(1, -(-(tokens - 4) // 4))


def test_an_embedding_is_the_mean_over_the_tokens_of_a_window(model: Path) -> None:
    """Padding and marks left out; a window alone and beside longer ones gets the same."""
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


def test_what_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence that names the folder, before any time is spent; weights as pickles, which can execute code, too."""
    with pytest.raises(CorpusError, match="no folder of a Hugging Face encoder with safetensors"):
        Encoder(tmp_path)
    assert make_corpus(["--out", str(tmp_path / "corpus"), "--runs", "60"]) == 0
    flags = [f"--logs={tmp_path / 'corpus/runs'}", f"--labels={tmp_path / 'corpus/labels.csv'}", f"--model={tmp_path}"]
    assert main(flags) == 2
    assert main([*flags, "--split", "other"]) == 2
    assert "settles easy, hard; add a column split_other" in capsys.readouterr().err


def test_rows_of_every_classifier(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four a split; called again, no window is worked out anew."""
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


def test_the_network_on_windows_learns() -> None:
    """Which of two directions one of the windows has, wherever it stands."""
    rng = np.random.default_rng(0)
    targets = np.arange(60) % 2
    logs = [rng.normal(0, 0.3, (rng.integers(2, 9), 8)).astype(np.float32) for _ in targets]
    for log, target in zip(logs, targets, strict=True):
        log[rng.integers(len(log)), target] += 4
    task = WindowTask(logs, targets, range(40), range(40, 60), 2)
    fit(task, LoopSettings(epochs=20, learning_rate=3e-3, patience=20))
    assert task.validate()["accuracy"] >= 0.9
