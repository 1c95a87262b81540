"""Logs in, one embedding of a language model each, labels by classifiers on top: Ihalage et al., section V, Fig. 8.

    python -m training.paper.document_embeddings --model FOLDER --logs DIR/runs --labels DIR/labels.csv [--split NAME ...]

`--model` is any local Hugging Face folder with an encoder in safetensors. A log of L tokens is read in
M = (L - w) / (l_c - w) windows of l_c tokens, one every w = l_c / 2; the mean over the tokens of each window, padding left
out, then over the windows, is the embedding of the log (equation 4 and the one behind it). On top stand random forest,
decision tree and XGBoost, and a residual CNN on the windows in their order.

Departure: of a cleaned log each line is read once, where it came first. Whole logs are four times as long, which is beyond a
CPU. The windows are kept in `--cache` as they come, so an interrupted call goes on.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn

from training.data import CorpusError, LabelledRun, read_settled
from training.evaluate import label_figures
from training.networks.loop import LoopSettings, class_weights, fit
from training.paper.baselines import boosted
from training.paper.preprocess import clean

__all__ = ["Encoder", "WindowTask", "main", "window_starts"]

RESULTS = Path(__file__).parents[1] / "results" / "document_embeddings.json"
# Logs of one file of the cache: what an interruption costs.
SHARD = 32
BATCH = 16

Windows = NDArray[np.float32]
"""Embeddings of the windows of one log, shape (M, D)."""


def window_starts(tokens: int, context: int) -> range:
    """First tokens of the windows that cover a log, overlapping by half.

    >>> list(window_starts(10, 4)), len(window_starts(3, 4))
    ([0, 2, 4, 6], 1)
    """
    overlap = context // 2
    return range(0, max(1, tokens - overlap), context - overlap)


class Encoder:
    """A local encoder and its tokenizer. Nothing in the folder is executed: safetensors only, and no code of its own."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            self._model = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
            ).eval()
        except (OSError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise CorpusError(f"{folder} is no folder of a Hugging Face encoder with safetensors: {reason}") from None
        told = folder / "sentence_bert_config.json"
        most = json.loads(told.read_text())["max_seq_length"] if told.exists() else self._tokenizer.model_max_length
        positions = getattr(self._model.config, "max_position_embeddings", most)
        # Two places are for the marks of begin and end.
        self.context = min(most, positions) - 2
        weights = sorted(folder.glob("*.safetensors"))
        self.digest = hashlib.sha256(b"".join(hashlib.sha256(one.read_bytes()).digest() for one in weights)).hexdigest()[:16]

    def windows(self, text: str) -> Windows:
        """Mean over the tokens of each window, marks and padding left out."""
        tokens = self._tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        begin, end = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        cut = [tokens[start : start + self.context] for start in window_starts(len(tokens), self.context)]
        means = []
        for first in range(0, len(cut), BATCH):
            some = cut[first : first + BATCH]
            rows = np.zeros((len(some), max(map(len, some)) + 2), dtype=np.int64)
            there = np.zeros(rows.shape, dtype=np.int64)
            for row, window in enumerate(some):
                rows[row, : len(window) + 2] = [begin, *window, end]
                there[row, : len(window) + 2] = 1
            with torch.no_grad():
                states = self._model(input_ids=torch.tensor(rows), attention_mask=torch.tensor(there)).last_hidden_state
            inner = torch.tensor(there)
            inner[:, 0] = 0
            inner[torch.arange(len(some)), [len(window) + 1 for window in some]] = 0
            counts = inner.sum(1, keepdim=True).clamp(min=1)
            means.append(((states * inner[..., None]).sum(1) / counts).numpy().astype(np.float32))
        return np.concatenate(means)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.paper.document_embeddings", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--name", help="what the model is called in the results; the name of its folder by default")
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--split", action="append", help="a settled split; all of them by default")
    parser.add_argument("--every", type=int, default=1, help="take each n-th run only, where time is short")
    parser.add_argument("--cache", type=Path, default=Path(".cache/training/windows"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    try:
        runs = read_settled(arguments.logs, arguments.labels, arguments.split or ())[:: arguments.every]
        splits = arguments.split or list(runs[0].parts)
        encoder = Encoder(arguments.model)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    windows = list(_kept(runs, encoder, arguments.cache))
    name = arguments.name or arguments.model.resolve().name
    about = {"context": encoder.context, "runs": len(runs)}
    rows = [{"encoder": name, **about, **row} for split in splits for row in _rows(runs, windows, split)]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _kept(runs: Sequence[LabelledRun], encoder: Encoder, cache: Path) -> Iterator[Windows]:
    """Windows of each run; worked out in shards, which are files named after model and text."""
    cache.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(runs), SHARD):
        texts = [_distinct_lines(run) for run in runs[first : first + SHARD]]
        digest = hashlib.sha256("\0".join([encoder.digest, str(encoder.context), *texts]).encode()).hexdigest()[:16]
        place = cache / f"{digest}.npz"
        if not place.exists():
            found = [encoder.windows(text) for text in texts]
            beside = place.with_suffix(".writing.npz")
            np.savez_compressed(beside, lengths=[len(one) for one in found], windows=np.concatenate(found))
            beside.replace(place)
            print(f"{min(first + SHARD, len(runs))} of {len(runs)} logs", file=sys.stderr, flush=True)
        with np.load(place, allow_pickle=False) as shard:
            yield from np.split(shard["windows"], np.cumsum(shard["lengths"])[:-1])


def _distinct_lines(run: LabelledRun) -> str:
    """Cleaned text, each line once."""
    lines = (line for _, data in sorted(run.sources.items()) for line in clean(data).split("\n"))
    return "\n".join(dict.fromkeys(lines))


def _rows(runs: Sequence[LabelledRun], windows: Sequence[Windows], split: str) -> Iterator[dict[str, Any]]:
    labels = sorted({run.label for run in runs})
    truth = np.array([run.label for run in runs])
    part = {name: [i for i, run in enumerate(runs) if run.parts[split] == name] for name in ("train", "validation", "test")}
    training, test = part["train"] + part["validation"], part["test"]
    means = np.stack([one.mean(axis=0) for one in windows])
    validation = np.arange(len(training)) >= len(part["train"])

    def by(model: Any) -> list[str]:
        found: list[str] = model.fit(means[training], truth[training]).predict(means[test]).tolist()
        return found

    said: dict[str, Callable[[], list[str]]] = {
        "random forest": lambda: by(RandomForestClassifier(500, class_weight="balanced", random_state=0)),
        "decision tree": lambda: by(DecisionTreeClassifier(class_weight="balanced", random_state=0)),
        "XGBoost": lambda: boosted(means[training], truth[training], validation, means[test]),
        "CNN": lambda: _cnn_labels(windows, truth, labels, part),
    }
    for name, ask in said.items():
        figures = label_figures(truth[test].tolist(), ask(), labels)
        print(split, name, figures["macro_f1"], figures["accuracy"], flush=True)
        yield {"model": name, "split": split, **figures}


def _cnn_labels(
    windows: Sequence[Windows], truth: NDArray[np.str_], labels: Sequence[str], part: dict[str, list[int]]
) -> list[str]:
    targets = np.array([labels.index(label) for label in truth])
    task = WindowTask(windows, targets, part["train"], part["validation"], len(labels))
    fit(task, LoopSettings(epochs=60, learning_rate=1e-3, patience=10))
    return [labels[i] for i in task.scores(part["test"]).argmax(axis=1)]


class WindowNet(nn.Module):
    """Windows (N, M, D) and which of them are there (N, M), to scores (N, labels): the published shape, on windows."""

    def __init__(self, inputs: int, labels: int, channels: int = 128) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(inputs)
        self.first = nn.Conv1d(inputs, channels, 3, padding=1)
        self.second = nn.Conv1d(channels, channels, 3, padding=1)
        self.dense = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels, 64), nn.ReLU(), nn.Linear(64, labels))

    def forward(self, windows: Tensor, there: Tensor) -> Tensor:
        beside = there[:, None].to(windows.dtype)
        x = torch.relu(self.first(self.norm(windows).transpose(1, 2) * beside))
        x = x + torch.relu(self.second(x * beside))
        return self.dense(x.masked_fill(~there[:, None], -torch.inf).amax(2))


class WindowTask:
    """Trains `WindowNet`; batches of 32 logs, class weights."""

    def __init__(
        self,
        windows: Sequence[Windows],
        targets: NDArray[np.intp],
        training: Sequence[int],
        validation: Sequence[int],
        labels: int,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.network = WindowNet(windows[0].shape[1], labels)
        self._windows, self._targets = windows, targets
        self._training, self._validation = list(training), list(validation)
        self._weights = class_weights(targets[self._training], labels)

    def steps(self) -> int:
        return -(-len(self._training) // 32)

    def batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        order = rng.permutation(self._training).tolist()
        for first in range(0, len(order), 32):
            yield order[first : first + 32]

    def loss(self, batch: list[int]) -> Tensor:
        return nn.functional.cross_entropy(self._scores(batch), torch.tensor(self._targets[batch]), weight=self._weights)

    def _scores(self, batch: Sequence[int]) -> Tensor:
        longest = max(len(self._windows[i]) for i in batch)
        windows = np.zeros((len(batch), longest, self._windows[0].shape[1]), dtype=np.float32)
        there = np.zeros((len(batch), longest), dtype=bool)
        for row, i in enumerate(batch):
            windows[row, : len(self._windows[i])] = self._windows[i]
            there[row, : len(self._windows[i])] = True
        return self.network(torch.tensor(windows), torch.tensor(there))

    def scores(self, runs: Sequence[int]) -> NDArray[np.float64]:
        """Shape (runs, labels)."""
        self.network.eval()
        with torch.no_grad():
            parts = [self._scores(runs[first : first + 64]).double().numpy() for first in range(0, len(runs), 64)]
        return np.concatenate(parts)

    def validate(self) -> dict[str, float]:
        scores = torch.tensor(self.scores(self._validation))
        targets = torch.tensor(self._targets[self._validation])
        loss = nn.functional.cross_entropy(scores, targets, weight=self._weights.double())
        return {"loss": float(loss), "accuracy": float((scores.argmax(1) == targets).double().mean())}


if __name__ == "__main__":
    raise SystemExit(main())
