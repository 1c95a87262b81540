"""Measures the bundle `generic` on logs of several stacks, each judged without having seen any log of its stack.

    python -m training.stacks_benchmark
    python -m training.stacks_benchmark --write models/generic

The labels come from rules, which are the same for all logs. What is learned, how far each ground may be trusted and which
verdicts need no review, is learned from the other stacks. So are the baselines. Logs count by how sure their label is, and
intervals are from resampling groups of near copies. `--write` writes the bundle, with what all stacks together say.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_triage.bundle import Bundle, write_bundle
from stream_triage.errors import StreamTriageError
from stream_triage.records import UNKNOWN
from training.arguments import command_parser
from training.data import CorpusError, LabelledRun
from training.packages import MissingPackageError, require
from training.paper.baselines import simplest_labels, tfidf_probabilities
from training.resampling import draw_groups
from training.stacks import LABELS, PASSING, Judged, general_bundle, judge_stacks, read_stacks, reliability
from training.transfer.measures import LEVEL, macro_f1
from training.transfer.sets import corpus_of

__all__ = ["main", "review_limit"]

ROOT: Final = Path(__file__).parents[1]
LIMITS: Final = tuple(np.round(np.arange(0.9, 1.0, 0.01), 2).tolist())
"""Limits of confidence that are tried; what is right less often than nine times in ten always needs a review."""
# Share of the logs that may be decided and wrong. They are few, so none.
MOST_WRONG: Final = 0.0
SURE_SHARE: Final = 0.5

Vector = NDArray[np.float64]
Labels = NDArray[np.str_]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    options = _options(argv)
    try:
        require("sklearn")
        others = Bundle.open(options.bundle)
        judged = list(judge_stacks(read_stacks(options.logs), others))
        print("\n".join(_report(judged, baselines=not options.no_baselines)))
        if options.write:
            everything = np.ones(len(judged), dtype=bool)
            below = review_limit(judged, everything)
            card, files = general_bundle(reliability(judged, everything), below, others)
            training = {**card.training, "grounds": f"{len(judged)} logs of {len({one.log.stack for one in judged})} stacks"}
            update = {"version": options.version or card.version, "description": DESCRIPTION, "training": training}
            write_bundle(options.write, card.model_copy(update=update), files)
            print(f"wrote {options.write}: verdicts below {below} need a review", file=sys.stderr)
    except (CorpusError, MissingPackageError, StreamTriageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


DESCRIPTION: Final = "runs of any 4G or 5G stack, judged by rules of 3GPP; relevance of the lines of any log"


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser("training.stacks_benchmark", __doc__)
    data = os.environ.get("STREAM_TRIAGE_DATA")
    parser.add_argument(
        "--logs", type=Path, default=Path(data, "ran") if data else None, required=not data, metavar="FOLDER",
        help="folder with index.csv (default: ran in the folder that STREAM_TRIAGE_DATA names)",
    )  # fmt: skip
    parser.add_argument(
        "--bundle", type=Path, default=ROOT / "models" / "generic", metavar="FOLDER",
        help="bundle with the relevance model (default: models/generic)",
    )  # fmt: skip
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write the bundle to this folder")
    parser.add_argument("--version", help="version of the bundle that is written (default: as it is)")
    parser.add_argument("--no-baselines", action="store_true", help="leave the baselines out, which take a minute")
    return parser.parse_args(argv)


def review_limit(judged: Sequence[Judged], chosen: NDArray[np.bool_]) -> float:
    """The lowest confidence from which at most `MOST_WRONG` of the chosen logs are decided and wrong; 1 if none is.

    Each of them is judged by what the other stacks among them say, as a log of a new stack will be.
    """
    stacks = sorted({one.log.stack for one, taken in zip(judged, chosen, strict=True) if taken})
    confidences = np.zeros(len(judged))
    for stack in stacks:
        of_stack = np.array([one.log.stack == stack for one in judged])
        confidences = np.where(of_stack, _confidences(judged, reliability(judged, chosen & ~of_stack)), confidences)
    weight = np.array([one.log.weight for one in judged]) * chosen
    wrong = np.array([one.label != one.log.label for one in judged])
    fitting = (limit for limit in LIMITS if (weight * wrong)[confidences >= limit].sum() <= MOST_WRONG * weight.sum())
    return next(fitting, 1.0)


def _confidences(judged: Sequence[Judged], worth: Mapping[str, float]) -> Vector:
    return np.array([worth[one.ground] if one.ground else 0.0 for one in judged])


def _report(judged: Sequence[Judged], *, baselines: bool) -> list[str]:
    stacks = np.array([one.log.stack for one in judged])
    true = np.array([one.log.label for one in judged])
    weight = np.array([one.log.weight for one in judged])
    said = np.array([one.label for one in judged])
    confidence, decided = np.zeros(len(judged)), np.zeros(len(judged), dtype=bool)
    others: dict[str, Labels] = {}
    for stack in sorted(set(stacks)):
        held = stacks == stack
        confidence[held] = _confidences(judged, reliability(judged, ~held))[held]
        decided[held] = confidence[held] >= review_limit(judged, ~held)
        for name, labels in (_baselines(judged, ~held) if baselines else {}).items():
            others.setdefault(name, np.full(len(judged), "", dtype="<U16"))[held] = labels
    groups = [one.log.group for one in judged]
    drawn, sure = _draws(groups) * weight, _surest(confidence, weight)
    size = f"{len(judged)} logs of {len(set(stacks))} stacks, {len(set(groups))} groups"
    lines = [f"{size}; macro-F1 with {LEVEL:.0%} interval"]
    lines.append(f"{'generic':34} {_interval(true, said, weight, drawn)}")
    for name, labels in others.items():
        lines.append(f"{name:34} {_interval(true, labels, weight, drawn)}")
        lines.append(f"{'  generic less this':34} {_interval(true, said, weight, drawn, less=labels)}")
    lines.append(f"{'generic, the half it is surest of':34} {_interval(true, said, weight * sure, drawn * sure)}")
    wrong = said != true
    for name, shown in (("decided", decided), ("decided and wrong", decided & wrong), ("unknown", said == UNKNOWN)):
        lines.append(f"{name:34} {float(weight @ shown / weight.sum()):.3f} ({int(shown.sum())} logs)")
    return [*lines, *_by_stack(stacks, true, said, weight), *_evidence(judged)]


def _baselines(judged: Sequence[Judged], training: NDArray[np.bool_]) -> dict[str, Labels]:
    """What models that learn from the other stacks say of the rest."""
    runs = [LabelledRun(one.log.run_id, one.log.label, {"": one.log.data}, {"group": one.log.group}) for one in judged]
    corpus = corpus_of(runs, runs, PASSING)
    learned, rest = np.flatnonzero(training), np.flatnonzero(~training)
    found = {name: np.array(labels) for name, labels in simplest_labels(corpus, learned, rest)}
    labels, probabilities = tfidf_probabilities(corpus, "group", learned, rest)
    return {**found, "TF-IDF + logistic regression": np.array(labels)[probabilities.argmax(axis=1)]}


def _draws(groups: Sequence[str]) -> Vector:
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    return np.asarray(draw_groups(len(names), np.random.default_rng(0)).astype(np.float64)[:, member])


def _interval(true: Labels, said: Labels, weight: Vector, drawn: Vector, *, less: Labels | None = None) -> str:
    """Macro-F1 by the weights of the logs, with its interval from resampled weights; `less` is a model to compare with."""

    def figure(weights: Vector) -> Vector:
        own = macro_f1(weights, true, said, LABELS)
        return own if less is None else own - macro_f1(weights, true, less, LABELS)

    low, high = np.nanquantile(figure(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return f"{figure(weight[None, :])[0]:.3f} ({low:.3f} to {high:.3f})"


def _surest(confidence: Vector, weight: Vector) -> NDArray[np.bool_]:
    """The most confident logs that have half of the weight; those as confident as the last of them go with it."""
    order = np.argsort(-confidence, kind="stable")
    last = order[np.searchsorted(np.cumsum(weight[order]), SURE_SHARE * weight.sum())]
    return np.asarray(confidence >= confidence[last])


def _by_stack(stacks: Labels, true: Labels, said: Labels, weight: Vector) -> list[str]:
    lines = []
    for stack in sorted(set(stacks)):
        held = stacks == stack
        f1 = macro_f1((weight * held)[None, :], true, said, LABELS)[0]
        right = float(weight[held] @ (said == true)[held] / weight[held].sum())
        lines.append(f"{stack:16} {int(held.sum()):3} logs  right {right:.2f}  macro-F1 {f1:.2f}")
    return lines


def _evidence(judged: Sequence[Judged]) -> list[str]:
    failing = [one for one in judged if one.log.label != PASSING and one.told_by]
    told = sum(one.found for one in failing)
    dropped = np.array([one.dropped for one in judged])
    weight = np.array([len(one.log.data.splitlines()) for one in judged])
    of_all = float(dropped @ weight / weight.sum())
    return [
        f"telling line among the first five evidence lines: {told} of {len(failing)} failing logs that have one",
        f"lines that the reduction drops: {of_all:.3f} of all, median log {np.median(dropped):.3f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
