"""Learns when a failing run is certain to fail, so that a farm can stop it early, and measures how early that is.

    python -m training.early_stop --bundle models/oai5g --oai data/ran/oai_rfsim_runs.jsonl.xz [--write]
    python -m training.early_stop --bundle models/tm500 --logs DIR/runs --labels DIR/labels.csv --split easy [--write]

The score of a run is a sum of weights of the terms that it has shown so far. No weight is negative, so the score never falls
(stages/early_stop.py). The weights come from a logistic regression, failing against passing runs, on the training runs of
the bundle; failing runs are also used cut off at random. The limit is the highest score of any complete passing run that
was held out. How many passing runs would be stopped by mistake is measured with limits from other folds of groups.

Logs do not say how the sources of a run were interleaved, so all sources are read at the same pace: after a third of the
run, the first third of each source has been read. --write adds the weights and the limit to the bundle.
"""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from stream_triage import Triage
from stream_triage.bundle import Bundle, Card, write_bundle
from stream_triage.stages.early_stop import EARLY_STOP, WEIGHTS, Limit
from training.arguments import add_corpus, command_parser, finish
from training.data import CorpusError, LabelledRun, read_oai, read_predefined
from training.lines import LineReader
from training.splits import hold_out

__all__ = ["Course", "certain_at", "courses_of", "fit_weights", "main", "measure", "scores_of"]

FOLDS: Final = 5
# Each failing run is learned from complete and this many times cut off after a fifth of it or later.
CUTS: Final = 2
SHORTEST_CUT: Final = 0.2
PENALTY: Final = 1e-4
RESULTS: Final = Path(__file__).parent / "results"


class Course(NamedTuple):
    """How one run shows its terms.

    Attributes:
        label: The run's label.
        group: Its group of near-duplicates.
        lines: Its number of lines, over all sources.
        terms: Indexes of the terms that it shows, in the order in which they appear first.
        shares: For each of them, the share of the run, above 0 and up to 1, after which it has appeared.
    """

    label: str
    group: str
    lines: int
    terms: NDArray[np.int32]
    shares: NDArray[np.float64]


def courses_of(bundle: Bundle, runs: Sequence[LabelledRun], kind: str) -> list[Course]:
    """Reads the runs as serving reads them and notes when each term appears first; no model is run."""
    model = next(iter(Triage(bundle).models.values()))
    classifier, reader = list(model.classifier.classifiers).index("terms"), LineReader()
    courses = []
    for run in runs:
        first: dict[int, float] = {}
        total = 0
        for lines in reader.lines(run.sources).values():
            total += len(lines)
            for number, line in enumerate(model.look_up(lines), 1):
                for term in line.features[classifier] if line.features else ():
                    first[term] = min(first.get(term, 1.0), number / len(lines))
        terms = np.array(sorted(first, key=first.__getitem__), dtype=np.int32)
        shares = np.array([first[term] for term in terms.tolist()])
        courses.append(Course(run.label, run.groups[kind], total, terms, shares))
    return courses


def fit_weights(courses: Sequence[Course], terms: int, passing: str, seed: int = 0) -> NDArray[np.float32]:
    """Fits the logistic regression by L-BFGS-B with bounds; returns the weights of all terms, shape (V,).

    Args:
        courses: The training runs.
        terms: Size V of the vocabulary.
        passing: The passing label.
        seed: Seed of the positions at which failing runs are cut off.
    """
    rng = np.random.default_rng(seed)
    rows, failing = [], []
    for course in courses:
        fails = course.label != passing
        for share in (1.0, *rng.uniform(SHORTEST_CUT, 1.0, CUTS)) if fails else (1.0,):
            rows.append(course.terms[course.shares <= share])
            failing.append(fails)
    ends = np.cumsum([0, *map(len, rows)])
    matrix = csr_matrix((np.ones(ends[-1]), np.concatenate(rows), ends), shape=(len(rows), terms))
    target = np.array(failing, dtype=float)
    # Failing and passing rows weigh the same in sum, whatever their numbers.
    balance = np.where(target > 0, 0.5 / target.sum(), 0.5 / (1 - target).sum())

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Balanced log-loss with an L1 and an L2 penalty on the weights, and its gradient; the last number is the bias.

        With weights from 0 up the L1 penalty is their sum, which has a gradient. It sets most weights to 0.
        """
        weights, bias = point[:-1], point[-1]
        scores = matrix @ weights + bias
        slope = balance * (1 / (1 + np.exp(-scores)) - target)
        penalty = PENALTY * (weights.sum() + 0.5 * weights @ weights)
        value = (balance * np.logaddexp(0, -scores * (2 * target - 1))).sum() + penalty
        return float(value), np.append(matrix.T @ slope + PENALTY * (1 + weights), slope.sum())

    bounds = [(0.0, None)] * terms + [(None, None)]
    optimum = minimize(loss, np.zeros(terms + 1), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000})
    return np.asarray(optimum.x[:-1], dtype=np.float32)


def scores_of(courses: Sequence[Course], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores of complete runs."""
    return np.array([float(weights[course.terms].astype(np.float64).sum()) for course in courses])


def certain_at(course: Course, weights: NDArray[np.float32], limit: float) -> float:
    """Share of the run after which its score is above the limit; infinite if it never is."""
    above = np.flatnonzero(weights[course.terms].astype(np.float64).cumsum() > limit)
    return float(course.shares[above[0]]) if len(above) else float("inf")


def measure(held: Sequence[Course], weights: NDArray[np.float32], passing: str) -> dict[str, Any]:
    """Figures on held-out runs.

    Each fifth of the groups is judged with the limit of the other four: a limit that was set with a passing run in view
    would never stop that run.
    """
    groups = sorted({course.group for course in held})
    order = np.random.default_rng(0).permutation(len(groups)).tolist()
    fold_of = {groups[index]: number % FOLDS for number, index in enumerate(order)}
    shares: list[tuple[Course, float]] = []
    for fold in range(FOLDS):
        others = [course for course in held if course.label == passing and fold_of[course.group] != fold]
        limit = float(scores_of(others, weights).max())
        shares += [(course, certain_at(course, weights, limit)) for course in held if fold_of[course.group] == fold]
    passes = [share for course, share in shares if course.label == passing]
    fails = [(course, share) for course, share in shares if course.label != passing]
    at = np.array([share for _, share in fails])
    lines = np.array([course.lines for course, _ in fails])
    telling = _only_in_failing(held, passing)
    earliest = np.array([_first_of(course, telling) for course, _ in fails])
    return {
        "passing_runs": len(passes),
        "false_stops": int(np.isfinite(passes).sum()),
        "failing_runs": len(fails),
        "stopped": int(np.isfinite(at).sum()),
        "before_60_percent": round(float((at < 0.6).mean()), 3),
        "median_share": _finite(float(np.median(at))),
        "median_line": _finite(float(np.median(at * lines))),
        "lines_not_run": round(float(((1 - np.minimum(at, 1)) * lines).sum() / lines.sum()), 3),
        # No method could be certain before the first term that no passing run has.
        "median_share_of_the_first_sign": round(float(np.median(earliest)), 3),
        "by_label": {
            label: {
                "runs": len(of_label := _of(fails, label)),
                "stopped": int(np.isfinite(of_label).sum()),
                "median_share": _finite(float(np.median(of_label))),
            }
            for label in sorted({course.label for course, _ in fails})
        },
    }


def _first_of(course: Course, terms: set[int]) -> float:
    """Share of the run after which the first of these terms has appeared; 1 if none does."""
    return min(
        (share for term, share in zip(course.terms.tolist(), course.shares, strict=True) if term in terms), default=1.0
    )


def _finite(value: float) -> float | None:
    """None for the median of runs of which half are never stopped."""
    return round(value, 3) if np.isfinite(value) else None


def _of(shares: Sequence[tuple[Course, float]], label: str) -> list[float]:
    return [share for course, share in shares if course.label == label]


def _only_in_failing(courses: Sequence[Course], passing: str) -> set[int]:
    """Terms that no passing run shows."""
    by_outcome = {True: set[int](), False: set[int]()}
    for course in courses:
        by_outcome[course.label == passing].update(course.terms.tolist())
    return by_outcome[False] - by_outcome[True]


def _parts(arguments: argparse.Namespace, card: Card) -> tuple[list[LabelledRun], NDArray[np.intp], NDArray[np.intp], str]:
    """The runs, the indexes of those that the bundle was trained on and of the others, and the grouping of its split."""
    split_of_bundle = str(card.training["split"])
    if arguments.oai:
        runs = read_oai(arguments.oai)
        kind = next((kind for kind in runs[0].groups if f"by {kind}," in split_of_bundle), "")
        if kind:
            labels, groups = [run.label for run in runs], [run.groups[kind] for run in runs]
            return runs, *hold_out(labels, groups, card.training["seed"]), kind
    elif arguments.split:
        runs = read_predefined(arguments.logs, arguments.labels, [arguments.split])
        if f"split_{arguments.split} " in split_of_bundle:
            test = np.array([run.parts[arguments.split] == "test" for run in runs])
            return runs, np.flatnonzero(~test), np.flatnonzero(test), arguments.split
    else:
        raise CorpusError("--logs needs --split, the predefined split that the bundle was trained by")
    raise CorpusError(f"the bundle was not trained by this split but with {split_of_bundle}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    parser = command_parser("training.early_stop", __doc__)
    parser.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="folder of the bundle")
    add_corpus(parser)
    parser.add_argument("--split", metavar="NAME", help="predefined split that the bundle was trained by; --logs needs it")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="JSON file for the figures (default: training/results/early_stop_NAME.json)"
    )
    parser.add_argument("--write", action="store_true", help="write the weights and the limit into the bundle")
    arguments = finish(parser, argv)
    bundle = Bundle.open(arguments.bundle)
    card, terms = bundle.card, len(bundle.json("terms.json")["terms"])
    try:
        runs, training, test, kind = _parts(arguments, card)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    courses = courses_of(bundle, runs, kind)
    weights = fit_weights([courses[run] for run in training.tolist()], terms, card.passing_label)
    held = [courses[run] for run in test.tolist()]
    figures = {"bundle": f"{card.name} {card.version}", **measure(held, weights, card.passing_label)}
    out = arguments.out or RESULTS / f"early_stop_{card.name}.json"
    out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    if arguments.write:
        passes = [course for course in held if course.label == card.passing_label]
        # Rounded up, so that the highest passing run itself stays below the stored limit.
        limit = round(float(scores_of(passes, weights).max()) + 1e-6, 6)
        about = Limit(limit=limit, false_stops=figures["false_stops"], passing_runs=figures["passing_runs"])
        arrays = io.BytesIO()
        np.savez_compressed(arrays, weights=weights)
        files = {name: (arguments.bundle / name).read_bytes() for name in card.files}
        files |= {EARLY_STOP: about.model_dump_json().encode() + b"\n", WEIGHTS: arrays.getvalue()}
        write_bundle(arguments.bundle, card, files)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
