"""The published networks: they have the published sizes, padding and parts change nothing, and small ones learn."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.corpus.__main__ import main as make_corpus
from training.paper.characters import Characters
from training.paper.compare import main
from training.paper.config import PaperCNNConfig, Seq2SeqConfig

# torch is imported where it is used: plain pytest collects this file, too.
pytestmark = pytest.mark.slow

SMALL = {"channels": 12, "dense": 8, "embedding": 8, "lstm_units": 4, "dropout": 0.0}


@pytest.fixture(autouse=True)
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def parameters(network) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_sizes_are_the_published_ones():
    """With 97 characters and 4 labels: 0.79 M parameters, 2.1 M with the BiLSTM, 4.6 M in the seq2seq model."""
    from training.paper.seq2seq import Seq2SeqNet

    assert parameters(network_of(PaperCNNConfig(97, 4))) == pytest.approx(0.79e6, rel=0.05)
    assert parameters(network_of(PaperCNNConfig(97, 4, bilstm=True))) == pytest.approx(2.1e6, rel=0.05)
    assert parameters(Seq2SeqNet(Seq2SeqConfig(97))) == pytest.approx(4.6e6, rel=0.05)


@pytest.mark.parametrize("pool", [1, 4])
@pytest.mark.parametrize("residual", [True, False])
def test_padding_changes_nothing(pool: int, residual: bool):
    """A log gets the same scores alone and beside a longer one."""
    import torch

    torch.manual_seed(0)
    network = network_of(PaperCNNConfig(20, 3, pool=pool, residual=residual, **SMALL)).eval()
    short = torch.randint(1, 20, (1, 40))
    padded = torch.nn.functional.pad(short, (0, 60))
    assert torch.allclose(network(short), network(padded), atol=1e-5)


def test_the_first_convolution_is_looked_up():
    """Values and gradients are those of the convolution over the embedding, with zeros where there is no character."""
    import torch

    torch.manual_seed(0)
    network = network_of(PaperCNNConfig(20, 3, pool=4, **SMALL)).double()
    torch.nn.init.normal_(network.embedding.weight[0])  # a loaded embedding is not zero there
    symbols = torch.randint(1, 20, (2, 48))
    symbols[1, 40:] = 0
    present = (symbols != 0)[..., None]
    x = (network.embedding(symbols) * present).transpose(1, 2).unsqueeze(2)
    x = network.convs[0](x).squeeze(2).transpose(1, 2).masked_fill(~present, -torch.inf)
    expected = x.view(2, 12, 4, -1).amax(2)
    looked_up = network._looked_up(symbols)
    assert torch.allclose(looked_up, expected)
    weights = [network.embedding.weight, network.convs[0].weight, network.convs[0].bias]
    filled = [values.masked_fill(values.isinf(), 0).square().sum() for values in (looked_up, expected)]
    ours, theirs = (torch.autograd.grad(total, weights) for total in filled)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b)


def some_logs(count: int = 60):
    """Logs of two labels, which differ in one character at any position."""
    rng = np.random.default_rng(0)
    targets = np.arange(count) % 2
    logs = [rng.integers(3, 9, rng.integers(30, 90)).astype(np.uint8) for _ in range(count)]
    for log, target in zip(logs, targets, strict=True):
        log[rng.integers(5, len(log) - 5)] = 1 + target
    return logs, targets


def network_of(config: PaperCNNConfig):
    from training.paper.cnn import PaperCNNNet

    return PaperCNNNet(config)


def task(validation=range(40, 60), pool: int = 4, **more):
    from training.paper.cnn_task import PaperCNNTask

    logs, targets = some_logs()
    config = PaperCNNConfig(9, 2, pool=pool, **SMALL)
    return PaperCNNTask(logs, targets, range(40), validation, config, batch=8, **more)


def trained(one, epochs: int, rate: float, **more):
    """The training curve of a task."""
    from training.networks.loop import LoopSettings, fit

    return fit(one, LoopSettings(epochs=epochs, learning_rate=rate, patience=epochs), **more)


def test_a_small_network_learns():
    """It distinguishes the forty logs it learns from."""
    curve = trained(task(validation=range(40), pool=32), 30, 3e-3)
    assert curve.epochs[curve.best].validation["accuracy"] >= 0.95


def test_parts_of_a_batch_change_nothing():
    """A batch that is read in parts, to save memory, has the loss of the whole."""
    whole, parts = task(), task(budget=200)
    batch = list(range(16))
    whole.network.eval()
    parts.network.eval()
    assert float(whole.loss(batch).detach()) == pytest.approx(float(parts.loss(batch).detach()), rel=1e-5)


def test_a_log_beyond_the_context_keeps_its_end():
    """The end is where failures show; it is padded to whole windows of the pool."""
    symbols = task(context=10)._tensor([0])[0].tolist()
    assert symbols == [*some_logs()[0][0][-10:].tolist(), 0, 0]


def test_an_interrupted_network_continues_where_it_was(tmp_path: Path):
    """Two epochs, then two more from the checkpoint, give the weights of four epochs without a break."""
    import torch

    straight = task()
    trained(straight, 4, 1e-3)
    stopped = task()

    def stop(number: int, epoch: object) -> None:
        if number == 2:  # only the third epoch is trained again
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(stopped, 4, 1e-3, checkpoint=tmp_path / "net.pt", report=stop)
    resumed = task()
    curve = trained(resumed, 4, 1e-3, checkpoint=tmp_path / "net.pt")
    assert len(curve.epochs) == 4
    for one, other in zip(straight.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_seq2seq_learns_what_comes_next():
    """The characters of a text that repeats are predicted."""
    from training.paper.seq2seq import Seq2SeqTask

    characters = Characters("abcd")
    text = characters.encode("abcd" * 200)
    one = Seq2SeqTask(text, text, Seq2SeqConfig(len(characters), 8, 16), length=12, blocks=256, batch=32)
    curve = trained(one, 12, 2e-2)
    assert curve.epochs[curve.best].validation["accuracy"] > 0.9
    assert one.network.weights().shape == (5, 8)


def test_trials_are_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One row for each trial, with figures of every label; called again, nothing is trained twice."""
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
