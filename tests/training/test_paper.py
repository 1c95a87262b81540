"""The published networks: their sizes, that padding and parts change nothing, and that small ones learn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from training.corpus.__main__ import main as make_corpus
from training.networks.loop import LoopSettings, fit
from training.paper.cnn import PaperCNNConfig, PaperCNNNet, PaperCNNTask
from training.paper.compare import main
from training.paper.seq2seq import (
    Characters,
    Seq2SeqConfig,
    Seq2SeqNet,
    Seq2SeqTask,
    load_embedding,
    save_embedding,
)

pytestmark = pytest.mark.slow

SMALL = {"channels": 12, "dense": 8, "embedding": 8, "lstm_units": 4, "dropout": 0.0}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def parameters(network) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_sizes_are_the_published_ones():
    """0.79 M parameters, 2.1 M with the BiLSTM, 4.6 M of the seq2seq model, with 97 characters and 4 labels."""
    assert parameters(PaperCNNNet(PaperCNNConfig(97, 4))) == pytest.approx(0.79e6, rel=0.05)
    assert parameters(PaperCNNNet(PaperCNNConfig(97, 4, bilstm=True))) == pytest.approx(2.1e6, rel=0.05)
    assert parameters(Seq2SeqNet(Seq2SeqConfig(97))) == pytest.approx(4.6e6, rel=0.05)


@pytest.mark.parametrize("pool", [1, 4])
@pytest.mark.parametrize("residual", [True, False])
def test_padding_changes_nothing(pool: int, residual: bool):
    """A log gets the same scores alone and beside a longer one."""
    torch.manual_seed(0)
    network = PaperCNNNet(PaperCNNConfig(20, 3, pool=pool, residual=residual, **SMALL)).eval()
    short = torch.randint(1, 20, (1, 40))
    padded = torch.nn.functional.pad(short, (0, 60))
    assert torch.allclose(network(short), network(padded), atol=1e-5)


def test_the_first_convolution_is_looked_up():
    """Values and gradients are those of the convolution over the embedding, zeros where there is no character."""
    torch.manual_seed(0)
    network = PaperCNNNet(PaperCNNConfig(20, 3, pool=4, **SMALL)).double()
    torch.nn.init.normal_(network.embedding.weight[0])  # as a loaded embedding has there
    symbols = torch.randint(1, 20, (2, 48))
    symbols[1, 40:] = 0
    there = (symbols != 0)[..., None]
    x = (network.embedding(symbols) * there).transpose(1, 2).unsqueeze(2)
    x = network.convs[0](x).squeeze(2).transpose(1, 2).masked_fill(~there, -torch.inf)
    expected = x.view(2, 12, 4, -1).amax(2)
    found = network._looked_up(symbols)
    assert torch.allclose(found, expected)
    weights = [network.embedding.weight, network.convs[0].weight, network.convs[0].bias]
    filled = [values.masked_fill(values.isinf(), 0).square().sum() for values in (found, expected)]
    ours, theirs = (torch.autograd.grad(total, weights) for total in filled)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b)


def some_logs(count: int = 60):
    """Logs of two labels: which of two characters comes in them, somewhere."""
    rng = np.random.default_rng(0)
    targets = np.arange(count) % 2
    logs = [rng.integers(3, 9, rng.integers(30, 90)).astype(np.uint8) for _ in range(count)]
    for log, target in zip(logs, targets, strict=True):
        log[rng.integers(5, len(log) - 5)] = 1 + target
    return logs, targets


def task(seed: int = 0, **more) -> PaperCNNTask:
    logs, targets = some_logs()
    config = PaperCNNConfig(9, 2, pool=4, **SMALL)
    return PaperCNNTask(logs, targets, range(40), range(40, 60), config, batch=8, seed=seed, **more)


def test_a_small_network_learns():
    """It can tell forty logs apart; what it knows of others is no matter here."""
    logs, targets = some_logs()
    one = PaperCNNTask(logs, targets, range(40), range(40), PaperCNNConfig(9, 2, **SMALL), batch=8)
    curve = fit(one, LoopSettings(epochs=30, learning_rate=3e-3, patience=30))
    assert curve.epochs[curve.best].validation["accuracy"] >= 0.95


def test_parts_of_a_batch_change_nothing():
    """A batch that is read in parts, for memory, gives the loss of the whole."""
    whole, parts = task(), task(budget=200)
    batch = list(range(16))
    whole.network.eval()
    parts.network.eval()
    assert float(whole.loss(batch).detach()) == pytest.approx(float(parts.loss(batch).detach()), rel=1e-5)


def test_a_log_beyond_the_context_keeps_its_end():
    """Where failures show; padded to whole windows of the pool."""
    symbols = task(context=10)._tensor([0])[0].tolist()
    assert symbols == [*some_logs()[0][0][-10:].tolist(), 0, 0]


def test_an_interrupted_training_goes_on_where_it_was(tmp_path: Path):
    """Two epochs, then two more from the checkpoint, are four epochs in one."""
    settings = LoopSettings(epochs=4, learning_rate=1e-3, patience=9)
    straight = task()
    fit(straight, settings)
    stopped = task()

    def stop(number: int, epoch: object) -> None:
        if number == 2:  # the third epoch is lost, no more
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(stopped, settings, checkpoint=tmp_path / "net.pt", report=stop)
    resumed = task()
    curve = fit(resumed, settings, checkpoint=tmp_path / "net.pt")
    assert len(curve.epochs) == 4
    for one, other in zip(straight.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_seq2seq_learns_what_comes_next_and_hands_its_rows_over(tmp_path: Path):
    """A text that repeats is foretold; the embedding is found again for characters in another order and number."""
    characters = Characters("abcd")
    text = characters.encode("abcd" * 200)
    one = Seq2SeqTask(text, text, Seq2SeqConfig(len(characters), 8, 16), length=12, blocks=256, batch=32)
    curve = fit(one, LoopSettings(epochs=12, learning_rate=2e-2, patience=12))
    assert curve.epochs[curve.best].validation["accuracy"] > 0.9
    save_embedding(tmp_path / "e.npz", characters, one.network)
    rows = load_embedding(tmp_path / "e.npz", Characters("dbx"))
    saved = one.network.embedding.weight.detach().numpy()
    assert np.array_equal(rows, saved[[0, 2, 4, 0]])  # none, b, d, and x, which is unknown


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--only", "LSTM"], "no trial is called 'LSTM'; there is CNN; CNN, random embedding; BiLSTM + CNN"),
        (["--pool", "257"], "the pool is 257; it must be from 1 to 256"),
        ([], "none is not a folder"),
    ],
)
def test_wrong_flags_are_told_before_anything_is_trained(flags, told, tmp_path, capsys):
    try:
        code = main(["--logs", "none", "--labels", "none.csv", "--split", "easy", "--out", str(tmp_path / "rows"), *flags])
    except SystemExit as stop:  # of argparse
        code = stop.code
    assert code == 2
    assert told in capsys.readouterr().err


def test_trials_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One row a trial, with figures of every label; called again, nothing is trained twice."""
    assert make_corpus(["--out", str(tmp_path / "corpus"), "--runs", "60"]) == 0
    monkeypatch.setattr(
        "training.paper.compare.PaperCNNConfig", lambda *sizes, **more: PaperCNNConfig(*sizes, **{**SMALL, **more})
    )
    names = ["--logs", str(tmp_path / "corpus/runs"), "--labels", str(tmp_path / "corpus/labels.csv"), "--split", "easy"]
    names += ["--out", str(tmp_path / "out.jsonl"), "--checkpoints", str(tmp_path / "kept"), "--epochs", "1", "--seeds", "1"]
    names += ["--only", "CNN, random embedding"]
    assert main(names) == 0
    assert main(names) == 0
    (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert sum(label["runs"] for label in row["per_label"].values()) == np.sum(row["confusion"])
    assert set(row["labels"]) == {"Pass", "L0_L1", "L2", "L3"}
