"""Trains the char-CNN that a bundle serves and exports it; networks of other folds calibrate it.

The temperature of the char-CNN, and its share in a verdict, come from runs that the network of each fold had not seen.
"""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.charcnn import CharCNN, CharCNNProfile
from training.fit.calibration import temperature
from training.fit.charcnn import CharCNNFit, fit_charcnn
from training.fit.folded import FoldedRuns, fit_alphabet
from training.fit.parts import Precision, TrainingPart
from training.fit.settings import CharCNNSettings
from training.fit.terms import TUNING_FOLDS
from training.networks.curve import Curve, Epoch
from training.networks.export import export_charcnn, quantised
from training.splits import cross_folds

__all__ = ["ServedCharCNN", "fit_served_charcnn"]

# Lines that one window of the served network gives features for.
WINDOW = 64
# The first part is served in int8 if it predicts the same label as in fp32 for at least this share of the validation runs.
SAME_LABELS = 0.995
# Pieces that give the ranges of int8.
CALIBRATION_PIECES = 512


@dataclass(frozen=True)
class ServedCharCNN:
    """The char-CNN of a bundle.

    Attributes:
        files: Its files, by name.
        temperature: Divisor of the scores.
        out_of_fold: Calibrated log-odds of the training runs, shape (runs, L), each from a network that had not seen it.
        curves: Training curves of the served network, then of each fold's network.
        precision: What the first part computes in.
    """

    files: dict[str, bytes]
    temperature: float
    out_of_fold: NDArray[np.float64]
    curves: list[Curve]
    precision: Precision


def fit_served_charcnn(
    part: TrainingPart,
    seed: int,
    settings: CharCNNSettings,
    *,
    key_of_line: Callable[[int], str],
    checkpoint: Callable[[str], Path | None] = lambda name: None,
    about: Mapping[str, Any] | None = None,
    report: Callable[[str, int, Epoch], None] | None = None,
) -> ServedCharCNN:
    """Trains one network on all training runs, which is served, and one for each fold of them.

    Args:
        part: The training runs.
        seed: Seed of folds, weights and batches.
        settings: Network and training.
        key_of_line: Returns the template key of a distinct line, "" if it has none.
        checkpoint: Returns the checkpoint file of a network by its name, or None for no checkpoint.
        about: Identifies the training: a checkpoint of another training is not continued.
        report: Called with a network's name and the number and figures of each of its epochs.
    """
    corpus, runs, labels = part.masked, part.runs, part.labels

    def trained(some: NDArray[np.intp], folded: FoldedRuns, name: str) -> CharCNNFit:
        return fit_charcnn(
            folded,
            labels,
            runs[some].tolist(),
            [part.groups[i] for i in some.tolist()],
            settings,
            seed=seed,
            checkpoint=checkpoint(name),
            about={**(about or {}), "fit": name},
            report=(lambda number, epoch: report(name, number, epoch)) if report else None,
        )

    folded = FoldedRuns(corpus, fit_alphabet(corpus, runs.tolist()))
    served = trained(np.arange(len(runs)), folded, "charcnn")
    out_of_fold, curves = np.zeros((len(runs), len(labels))), [served.curve]
    for number, (train, test) in enumerate(cross_folds(corpus.labels[runs].tolist(), part.groups, seed, TUNING_FOLDS)):
        # The alphabet, too, comes from the runs of the fold alone.
        of_fold = trained(train, FoldedRuns(corpus, fit_alphabet(corpus, runs[train].tolist())), f"charcnn-fold{number}")
        out_of_fold[test] = of_fold.task.scores(runs[test].tolist())
        curves.append(of_fold.curve)
    divisor = temperature(out_of_fold, part.targets)
    files, precision = _files(served, folded, part, divisor, key_of_line)
    return ServedCharCNN(files, divisor, out_of_fold / divisor, curves, precision)


def _files(
    fitted: CharCNNFit, folded: FoldedRuns, part: TrainingPart, divisor: float, key_of_line: Callable[[int], str]
) -> tuple[dict[str, bytes], Precision]:
    """Exports the network, chooses its precision, and adds what serving needs to explain its scores."""
    network = fitted.task.network.to("cpu")
    width = network.config.width
    arrays = {
        "weights": network.linear.weight.detach().numpy(),
        "bias": network.linear.bias.detach().numpy(),
        # Zeros for labels without a training run.
        "means": np.zeros((len(part.labels), width), dtype=np.float32),
    }
    profile = CharCNNProfile(
        symbols=folded.alphabet.symbols,
        width=width,
        window=WINDOW,
        halo=network.run.halo,
        temperature=divisor,
        missing_keys=("",) * width,
    )
    lines, run = export_charcnn(network, WINDOW)
    # Ranges come from the runs it learned from, the comparison from the runs it was validated on.
    small = quantised(lines, _calibration(folded, fitted.training))
    exact, rounded = (
        CharCNN.from_files(part.labels, profile.model_dump(), arrays, reader, run) for reader in (lines, small)
    )
    precision = _precision(exact, rounded, folded, fitted.validation)
    served = rounded if precision.served == "int8" else exact
    values, origins = _served_maxima(served, folded, part.runs.tolist())
    # Evidence of a verdict is measured against the mean features of each label.
    of_run = part.masked.labels[part.runs]
    for i, label in enumerate(part.labels):
        if (of_run == label).any():
            arrays["means"][i] = values[of_run == label].mean(axis=0)
    row_of = {run_: row for row, run_ in enumerate(part.runs.tolist())}
    keys = _keys_of_features(folded, {run_: origins[row_of[run_]] for run_ in part.passing}, width, key_of_line)
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
    """Pieces of the training runs at even distances of their numbers, in batches of equal length."""
    used = np.unique(np.concatenate([source for run in training for source in folded.run(run)]))
    some = used[:: max(1, len(used) // CALIBRATION_PIECES)]
    lengths = folded.piece_length[some]
    for length in np.unique(lengths).tolist():
        yield np.stack([folded.pieces[i] for i in some[lengths == length].tolist()]).astype(np.int64)


def _precision(exact: CharCNN, rounded: CharCNN, folded: FoldedRuns, runs: Sequence[int]) -> Precision:
    """Compares fp32 and int8 on the validation runs and chooses int8 if the labels agree."""
    weights = exact.linear
    one, other = (_served_maxima(stage, folded, runs)[0] @ weights[0].T + weights[1] for stage in (exact, rounded))
    same = float((one.argmax(axis=1) == other.argmax(axis=1)).mean())
    # Adding one number to all scores of a run changes no probability, so the means are taken out before comparing.
    difference = np.abs((other - other.mean(axis=1, keepdims=True)) - (one - one.mean(axis=1, keepdims=True)))
    served = "int8" if same >= SAME_LABELS else "fp32"
    return Precision(served, round(same, 4), round(float(np.median(difference)), 4), round(float(difference.max()), 4))


def _served_maxima(
    served: CharCNN, folded: FoldedRuns, runs: Sequence[int]
) -> tuple[NDArray[np.float32], list[list[tuple[str, int]]]]:
    """Features of whole runs through the serving stage, shape (runs, width), and the source and line each comes from."""
    corpus = folded.corpus
    used = np.unique(np.concatenate([corpus.distinct(run) for run in runs])).tolist()
    vectors = dict(zip(used, served.read([corpus.lines[line] for line in used]), strict=True))
    values, origins = [], []
    for run in runs:
        states = {}
        for name, kept in folded.kept(run).items():
            states[name] = served.start()
            lines = corpus.runs[run][name][kept].tolist()
            served.update(states[name], [vectors[line] for line in lines], [position + 1 for position in kept])
        maxima, of_run = served.maxima(states)
        values.append(maxima)
        origins.append(of_run)
    return np.stack(values), origins


def _keys_of_features(
    folded: FoldedRuns, origins: Mapping[int, list[tuple[str, int]]], width: int, key_of_line: Callable[[int], str]
) -> tuple[str, ...]:
    """For each feature, the key whose line gives its maximum in at least half of the passing runs, "" if there is none.

    If such a feature is low in a run, that line is likely missing, and the verdict can name it.
    """
    counts: list[Counter[str]] = [Counter() for _ in range(width)]
    for run, of_run in origins.items():
        for count, (name, number) in zip(counts, of_run, strict=True):
            if number:
                count[key_of_line(int(folded.corpus.runs[run][name][number - 1]))] += 1
    commonest = [count.most_common(1)[0] if count else ("", 0) for count in counts]
    return tuple(key if 2 * times >= len(origins) else "" for key, times in commonest)
