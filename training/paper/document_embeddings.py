"""Scores classifiers on document embeddings of a language model, as in section IV-B and Fig. 8 of Ihalage et al.

    python -m training.paper.document_embeddings --model FOLDER --logs DIR/runs --labels DIR/labels.csv [--split NAME ...]

--model is any local Hugging Face folder that holds an encoder in safetensors. A log of L tokens is read in
M = (L - w) / (l_c - w) windows of l_c tokens, one every w = l_c / 2 (equation 4). The embedding of the log is the mean over
the tokens of each window, without padding, and then over the windows (equation 5). Random forest, decision tree and XGBoost
classify it; a residual CNN classifies the windows in their order.

Departure from the paper: each line of a cleaned log is read once, where it comes first. Whole logs are four times as long,
which is too much for a CPU. Windows are saved in --cache as they are computed, so an interrupted call can be continued.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from training.arguments import add_logs, add_out, command_parser
from training.data import PARTS, CorpusError, LabelledRun, read_predefined
from training.evaluate import label_figures
from training.packages import MissingPackageError, require
from training.paper.baselines import boosted
from training.paper.preprocess import clean

__all__ = ["Encoder", "main", "window_starts"]

RESULTS = Path(__file__).parents[1] / "results" / "document_embeddings.json"
# Logs in one file of the cache: what an interruption costs.
SHARD = 32
BATCH = 16
# The marks of begin and end that an encoder puts around a window.
MARKS = 2

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
    """A local encoder with its tokenizer.

    No code of the folder is executed: weights are read as safetensors only (pickles can execute code), and Python files
    of the model are ignored.

    Attributes:
        context: Tokens of a window, without the marks.
        digest: Digest of the weights, which names the files of the cache.
    """

    def __init__(self, folder: Path) -> None:
        """Loads the encoder.

        Raises:
            CorpusError: The folder does not hold an encoder in safetensors.
        """
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            self._model = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
            ).eval()
        except (OSError, ValueError) as error:
            reason = str(error).split("\n")[0]
            raise CorpusError(f"{folder} does not hold a Hugging Face encoder with safetensors: {reason}") from None
        # Sentence encoders were trained on shorter texts than their positions allow, and say so in a file of their own.
        sentences = folder / "sentence_bert_config.json"
        limit = (
            json.loads(sentences.read_text())["max_seq_length"] if sentences.exists() else self._tokenizer.model_max_length
        )
        positions = getattr(self._model.config, "max_position_embeddings", limit)
        self.context = min(limit, positions) - MARKS
        weights = sorted(folder.glob("*.safetensors"))
        self.digest = hashlib.sha256(b"".join(hashlib.sha256(one.read_bytes()).digest() for one in weights)).hexdigest()[:16]

    def windows(self, text: str) -> Windows:
        """Mean over the tokens of each window; marks and padding are left out."""
        import torch

        tokens = self._tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        begin, end = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        cut = [tokens[start : start + self.context] for start in window_starts(len(tokens), self.context)]
        means = []
        for first in range(0, len(cut), BATCH):
            some = cut[first : first + BATCH]
            rows = np.zeros((len(some), max(map(len, some)) + MARKS), dtype=np.int64)
            attended = np.zeros(rows.shape, dtype=np.int64)
            for row, window in enumerate(some):
                rows[row, : len(window) + MARKS] = [begin, *window, end]
                attended[row, : len(window) + MARKS] = 1
            with torch.no_grad():
                states = self._model(input_ids=torch.tensor(rows), attention_mask=torch.tensor(attended)).last_hidden_state
            counted = torch.tensor(attended)
            counted[:, 0] = 0
            counted[torch.arange(len(some)), [len(window) + 1 for window in some]] = 0
            counts = counted.sum(1, keepdim=True).clamp(min=1)
            means.append(((states * counted[..., None]).sum(1) / counts).numpy().astype(np.float32))
        return np.concatenate(means)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    parser = command_parser("training.paper.document_embeddings", __doc__)
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="folder of the encoder")
    parser.add_argument("--name", help="name of the model in the results (default: the name of its folder)")
    add_logs(parser)
    parser.add_argument(
        "--split", action="append", metavar="NAME", help="a predefined split; repeat for several (default: all)"
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="read only every N-th run, to save time (default: %(default)s)"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".cache/training/windows"),
        metavar="FOLDER",
        help="where computed windows are saved (default: %(default)s)",
    )
    add_out(parser, RESULTS, "JSON file for the scores")
    arguments = parser.parse_args(argv)
    try:
        runs = read_predefined(arguments.logs, arguments.labels, arguments.split or ())[:: arguments.every]
        splits = arguments.split or list(runs[0].parts)
        require("torch", "transformers", "xgboost")
        encoder = Encoder(arguments.model)
    except (CorpusError, MissingPackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    windows = list(_cached(runs, encoder, arguments.cache))
    name = arguments.name or arguments.model.resolve().name
    about = {"context": encoder.context, "runs": len(runs)}
    rows = [{"encoder": name, **about, **row} for split in splits for row in _rows(runs, windows, split)]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _cached(runs: Sequence[LabelledRun], encoder: Encoder, cache: Path) -> Iterator[Windows]:
    """Windows of each run, from files that are named after the model and the texts; missing files are written."""
    cache.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(runs), SHARD):
        texts = [_distinct_lines(run) for run in runs[first : first + SHARD]]
        digest = hashlib.sha256("\0".join([encoder.digest, str(encoder.context), *texts]).encode()).hexdigest()[:16]
        path = cache / f"{digest}.npz"
        if not path.exists():
            windows = [encoder.windows(text) for text in texts]
            beside = path.with_suffix(".writing.npz")
            np.savez_compressed(beside, lengths=[len(one) for one in windows], windows=np.concatenate(windows))
            beside.replace(path)
            print(f"{min(first + SHARD, len(runs))} of {len(runs)} logs", file=sys.stderr, flush=True)
        with np.load(path, allow_pickle=False) as shard:
            yield from np.split(shard["windows"], np.cumsum(shard["lengths"])[:-1])


def _distinct_lines(run: LabelledRun) -> str:
    """Cleaned text of all sources, each line once."""
    lines = (line for _, data in sorted(run.sources.items()) for line in clean(data).split("\n"))
    return "\n".join(dict.fromkeys(lines))


def _rows(runs: Sequence[LabelledRun], windows: Sequence[Windows], split: str) -> Iterator[dict[str, Any]]:
    """Figures of each classifier on one split."""
    labels = sorted({run.label for run in runs})
    true = np.array([run.label for run in runs])
    part = {name: [i for i, run in enumerate(runs) if run.parts[split] == name] for name in PARTS}
    training, test = part["train"] + part["validation"], part["test"]
    means = np.stack([one.mean(axis=0) for one in windows])
    validation = np.arange(len(training)) >= len(part["train"])

    def by(model: Any) -> list[str]:
        predicted: list[str] = model.fit(means[training], true[training]).predict(means[test]).tolist()
        return predicted

    classifiers: dict[str, Callable[[], list[str]]] = {
        "random forest": lambda: by(RandomForestClassifier(500, class_weight="balanced", random_state=0)),
        "decision tree": lambda: by(DecisionTreeClassifier(class_weight="balanced", random_state=0)),
        "XGBoost": lambda: boosted(means[training], true[training], validation, means[test]),
        "CNN": lambda: _cnn_labels(windows, true, labels, part),
    }
    for name, predict in classifiers.items():
        figures = label_figures(true[test].tolist(), predict(), labels)
        print(split, name, figures["macro_f1"], figures["accuracy"], flush=True)
        yield {"model": name, "split": split, **figures}


def _cnn_labels(
    windows: Sequence[Windows], true: NDArray[np.str_], labels: Sequence[str], part: Mapping[str, list[int]]
) -> list[str]:
    """Labels of the test part by the CNN on windows."""
    from training.networks.loop import LoopSettings, fit
    from training.paper.window_cnn import WindowTask

    targets = np.array([labels.index(label) for label in true])
    task = WindowTask(windows, targets, part["train"], part["validation"], labels=len(labels))
    fit(task, LoopSettings(epochs=60, learning_rate=1e-3, patience=10))
    return [labels[i] for i in task.scores(part["test"]).argmax(axis=1)]


if __name__ == "__main__":
    raise SystemExit(main())
