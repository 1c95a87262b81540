"""Labelled runs in, the char-CNN's files of a bundle out, and what networks of other folds say of each run.

The share of the char-CNN in a verdict, and its temperature, come from runs that the network of each fold had not seen.
"""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.charcnn import CharCNN, CharCNNProfile
from training.data import MaskedRuns
from training.fit.calibration import temperature
from training.fit.charcnn import CharCNNFit, CharCNNSettings, FoldedRuns, fit_alphabet, fit_charcnn
from training.fit.terms import TUNING_FOLDS
from training.networks.export import export_charcnn, quantised
from training.networks.loop import Curve, Epoch
from training.splits import cross_folds

__all__ = ["Precision", "ServedCharCNN", "fit_served_charcnn"]

# Lines that one window of the served network gives features for.
WINDOW = 64
# The first part is served in int8 where it says the same of at least this share of the validation runs as in fp32.
SAME_LABELS = 0.995
CALIBRATION_PIECES = 512


class Precision(NamedTuple):
    """What the first part computes in, and how its scores in int8 compare with those in fp32 on the validation runs."""

    served: str
    same_labels: float
    median_difference: float
    largest_difference: float


@dataclass(frozen=True)
class ServedCharCNN:
    """The files of a bundle, and how the network did on runs that each fold had not seen."""

    files: dict[str, bytes]
    temperature: float
    out_of_fold: NDArray[np.float64]
    """Calibrated log-odds scores of the training runs, shape (runs, L), each from a network that had not seen the run."""
    curves: list[Curve]
    """Of the served network, then of each fold's."""
    precision: Precision


def fit_served_charcnn(
    corpus: MaskedRuns,
    runs: NDArray[np.intp],
    groups: Sequence[str],
    labels: Sequence[str],
    seed: int,
    settings: CharCNNSettings,
    *,
    passing: Sequence[int],
    key_of_line: Callable[[int], str],
    checkpoint: Callable[[str], Path | None] = lambda name: None,
    about: Mapping[str, Any] | None = None,
    report: Callable[[str, int, Epoch], None] | None = None,
) -> ServedCharCNN:
    """Trains the network on `runs` and one for each fold of them; `passing` of them show which keys give which feature.

    `key_of_line` tells the template key of a distinct line, "" for none.
    """

    def trained(part: NDArray[np.intp], folded: FoldedRuns, name: str) -> CharCNNFit:
        return fit_charcnn(
            folded,
            corpus.labels,
            labels,
            runs[part].tolist(),
            [groups[i] for i in part.tolist()],
            seed,
            settings,
            checkpoint=checkpoint(name),
            about={**(about or {}), "fit": name},
            report=(lambda number, epoch: report(name, number, epoch)) if report else None,
        )

    folded = FoldedRuns(corpus, fit_alphabet(corpus, runs.tolist()))
    served = trained(np.arange(len(runs)), folded, "charcnn")
    out_of_fold, curves = np.zeros((len(runs), len(labels))), [served.curve]
    for number, (train, test) in enumerate(cross_folds(corpus.labels[runs].tolist(), groups, seed, TUNING_FOLDS)):
        of_fold = trained(train, FoldedRuns(corpus, fit_alphabet(corpus, runs[train].tolist())), f"charcnn-fold{number}")
        out_of_fold[test] = of_fold.task.scores(runs[test].tolist())
        curves.append(of_fold.curve)
    targets = np.array([labels.index(label) for label in corpus.labels[runs]])
    divisor = temperature(out_of_fold, targets)
    files, precision = _files(served, folded, runs, labels, divisor, passing, key_of_line)
    return ServedCharCNN(files, divisor, out_of_fold / divisor, curves, precision)


def _files(
    fitted: CharCNNFit,
    folded: FoldedRuns,
    runs: NDArray[np.intp],
    labels: Sequence[str],
    divisor: float,
    passing: Sequence[int],
    key_of_line: Callable[[int], str],
) -> tuple[dict[str, bytes], Precision]:
    network = fitted.task.network.to("cpu")
    shape = (len(labels), network.config.width)
    arrays = {
        "weights": network.linear.weight.detach().numpy(),
        "bias": network.linear.bias.detach().numpy(),
        "means": np.zeros(shape, dtype=np.float32),
    }
    profile = CharCNNProfile(
        symbols=folded.alphabet.symbols,
        width=network.config.width,
        window=WINDOW,
        halo=network.run.halo,
        temperature=divisor,
        missing_keys=("",) * network.config.width,
    )
    lines, run = export_charcnn(network, WINDOW)
    small = quantised(lines, _calibration(folded, fitted.training))
    exact, rounded = (CharCNN.from_files(labels, profile.model_dump(), arrays, part, run) for part in (lines, small))
    precision = _precision(exact, rounded, folded, fitted.validation)
    served = rounded if precision.served == "int8" else exact
    values, places = _served_maxima(served, folded, runs.tolist())
    for i, label in enumerate(labels):
        if (folded.corpus.labels[runs] == label).any():
            arrays["means"][i] = values[folded.corpus.labels[runs] == label].mean(axis=0)
    row_of = {run_: row for row, run_ in enumerate(runs.tolist())}
    keys = _keys_of_features(folded, {run_: places[row_of[run_]] for run_ in passing}, shape[1], key_of_line)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    text = json.dumps(profile.model_copy(update={"missing_keys": keys}).model_dump(), ensure_ascii=False, indent=1)
    files = {
        "charcnn.json": (text + "\n").encode(),
        "charcnn.npz": buffer.getvalue(),
        "charcnn_lines.onnx": small if precision.served == "int8" else lines,
        "charcnn_run.onnx": run,
    }
    return files, precision


def _calibration(folded: FoldedRuns, training: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    """Pieces of the training runs, evenly over their numbers, in batches of a length."""
    used = np.unique(np.concatenate([source for run in training for source in folded.run(run)]))
    some = used[:: max(1, len(used) // CALIBRATION_PIECES)]
    lengths = folded.piece_length[some]
    for length in np.unique(lengths).tolist():
        yield np.stack([folded.pieces[i] for i in some[lengths == length].tolist()]).astype(np.int64)


def _precision(exact: CharCNN, rounded: CharCNN, folded: FoldedRuns, runs: Sequence[int]) -> Precision:
    """Whole numbers serve where they say the same on the validation runs."""
    weights = exact.linear
    one, other = (_served_maxima(stage, folded, runs)[0] @ weights[0].T + weights[1] for stage in (exact, rounded))
    same = float((one.argmax(axis=1) == other.argmax(axis=1)).mean())
    difference = np.abs((other - other.mean(axis=1, keepdims=True)) - (one - one.mean(axis=1, keepdims=True)))
    served = "int8" if same >= SAME_LABELS else "fp32"
    return Precision(served, round(same, 4), round(float(np.median(difference)), 4), round(float(difference.max()), 4))


def _served_maxima(
    served: CharCNN, folded: FoldedRuns, runs: Sequence[int]
) -> tuple[NDArray[np.float32], list[list[tuple[str, int]]]]:
    """Features of whole runs through the serving stage, shape (runs, width), and the place each came from."""
    corpus = folded.corpus
    used = np.unique(np.concatenate([corpus.distinct(run) for run in runs])).tolist()
    vectors = dict(zip(used, served.read([corpus.lines[line] for line in used]), strict=True))
    values, places = [], []
    for run in runs:
        states = {}
        for name, kept in folded.kept(run).items():
            states[name] = served.start()
            lines = corpus.runs[run][name][kept].tolist()
            served.update(states[name], [vectors[line] for line in lines], [place + 1 for place in kept])
        maxima, of_run = served.maxima(states)
        values.append(maxima)
        places.append(of_run)
    return np.stack(values), places


def _keys_of_features(
    folded: FoldedRuns, places: Mapping[int, list[tuple[str, int]]], width: int, key_of_line: Callable[[int], str]
) -> tuple[str, ...]:
    """Of each feature, the key whose line gives its maximum in at least half of the passing runs."""
    counts: list[Counter[str]] = [Counter() for _ in range(width)]
    for run, of_run in places.items():
        for count, (name, number) in zip(counts, of_run, strict=True):
            if number:
                count[key_of_line(int(folded.corpus.runs[run][name][number - 1]))] += 1
    commonest = [count.most_common(1)[0] if count else ("", 0) for count in counts]
    return tuple(key if 2 * times >= len(places) else "" for key, times in commonest)
