"""A bundle and its runs in, how early failing runs are surely lost out, and the weights and the limit for that.

    python -m training.early_stop --bundle models/oai5g --oai data/ran/oai_rfsim_runs.jsonl.xz [--write]
    python -m training.early_stop --bundle models/tm500 --logs DIR/runs --labels DIR/labels.csv --split easy [--write]

Logistic regression, failing against passing, on the terms of the bundle's vocabulary, with weights not below zero: only
what came counts, so the score of a run can but grow (stages/early_stop.py). It is trained on the bundle's training runs,
the failing ones also cut off at random. The limit is the highest score of complete passing runs that were held out; how
many passing runs would be stopped is counted on those that had no part in the limit, by five folds of groups. Failing runs
are read with the same share of every source at a time, since the logs do not say how they were interleaved. `--write` puts
the two files into the bundle.
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
from stream_triage.stages.redact import Redactor
from training.data import CorpusError, LabelledRun, read_oai, read_settled, redacted_lines
from training.splits import hold_out

__all__ = ["Course", "courses_of", "fit_weights", "main", "measure"]

FOLDS: Final = 5
CUTS: Final = 2
PENALTY: Final = 1e-4
RESULTS: Final = Path(__file__).parent / "results"


class Course(NamedTuple):
    """Of one run: its terms, and the share of it after which each has come."""

    label: str
    group: str
    lines: int
    terms: NDArray[np.int32]
    shares: NDArray[np.float64]


def courses_of(bundle: Bundle, runs: Sequence[LabelledRun], kind: str) -> list[Course]:
    """Read as serving reads them, without its models."""
    model = next(iter(Triage(bundle).models.values()))
    place, redactor = list(model.classifier.classifiers).index("terms"), Redactor()
    courses = []
    for run in runs:
        first: dict[int, float] = {}
        total = 0
        for text in run.sources.values():
            lines = redacted_lines(text, redactor)
            total += len(lines)
            for number, line in enumerate(model.look_up(lines), 1):
                for term in line.features[place] if line.features else ():
                    first[term] = min(first.get(term, 1.0), number / len(lines))
        terms = np.array(sorted(first, key=first.__getitem__), dtype=np.int32)
        shares = np.array([first[term] for term in terms.tolist()])
        courses.append(Course(run.label, run.groups[kind], total, terms, shares))
    return courses


def fit_weights(courses: Sequence[Course], terms: int, passing: str, seed: int = 0) -> NDArray[np.float32]:
    """By L-BFGS-B, both classes weighing the same; shape (V,)."""
    rng = np.random.default_rng(seed)
    rows, failing = [], []
    for course in courses:
        fails = course.label != passing
        for share in (1.0, *rng.uniform(0.2, 1.0, CUTS)) if fails else (1.0,):
            rows.append(course.terms[course.shares <= share])
            failing.append(fails)
    ends = np.cumsum([0, *map(len, rows)])
    matrix = csr_matrix((np.ones(ends[-1]), np.concatenate(rows), ends), shape=(len(rows), terms))
    truth = np.array(failing, dtype=float)
    balance = np.where(truth > 0, 0.5 / truth.sum(), 0.5 / (1 - truth).sum())

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, bias = point[:-1], point[-1]
        scores = matrix @ weights + bias
        slope = balance * (1 / (1 + np.exp(-scores)) - truth)
        penalty = PENALTY * (weights.sum() + 0.5 * weights @ weights)
        value = (balance * np.logaddexp(0, -scores * (2 * truth - 1))).sum() + penalty
        return float(value), np.append(matrix.T @ slope + PENALTY * (1 + weights), slope.sum())

    bounds = [(0.0, None)] * terms + [(None, None)]
    found = minimize(loss, np.zeros(terms + 1), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000})
    return np.asarray(found.x[:-1], dtype=np.float32)


def scores_of(courses: Sequence[Course], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.array([float(weights[course.terms].astype(np.float64).sum()) for course in courses])


def lost_at(course: Course, weights: NDArray[np.float32], limit: float) -> float:
    """Share of the run after which it is above the limit, infinite where it never is."""
    above = np.flatnonzero(weights[course.terms].astype(np.float64).cumsum() > limit)
    return float(course.shares[above[0]]) if len(above) else float("inf")


def measure(held: Sequence[Course], weights: NDArray[np.float32], passing: str) -> dict[str, Any]:
    """Limits from four fifths of the groups, runs of the fifth that is left."""
    groups = sorted({course.group for course in held})
    order = np.random.default_rng(0).permutation(len(groups)).tolist()
    fold_of = {groups[place]: number % FOLDS for number, place in enumerate(order)}
    shares: list[tuple[Course, float]] = []
    for fold in range(FOLDS):
        others = [course for course in held if course.label == passing and fold_of[course.group] != fold]
        limit = float(scores_of(others, weights).max())
        shares += [(course, lost_at(course, weights, limit)) for course in held if fold_of[course.group] == fold]
    passes = [share for course, share in shares if course.label == passing]
    fails = [(course, share) for course, share in shares if course.label != passing]
    at = np.array([share for _, share in fails])
    lines = np.array([course.lines for course, _ in fails])
    unseen = _never_in(held, passing)
    earliest = np.array([_first_of(course, unseen) for course, _ in fails])
    return {
        "passing_runs": len(passes),
        "false_stops": int(np.isfinite(passes).sum()),
        "failing_runs": len(fails),
        "stopped": int(np.isfinite(at).sum()),
        "before_60_percent": round(float((at < 0.6).mean()), 3),
        "median_share": _finite(float(np.median(at))),
        "median_line": _finite(float(np.median(at * lines))),
        "lines_not_run": round(float(((1 - np.minimum(at, 1)) * lines).sum() / lines.sum()), 3),
        # Before the first term that no passing run has, nobody could be sure.
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
    """Share after which one of these terms has come, 1 where none does."""
    return min(
        (share for term, share in zip(course.terms.tolist(), course.shares, strict=True) if term in terms), default=1.0
    )


def _finite(value: float) -> float | None:
    """None where half of the runs are never stopped."""
    return round(value, 3) if np.isfinite(value) else None


def _of(shares: Sequence[tuple[Course, float]], label: str) -> list[float]:
    return [share for course, share in shares if course.label == label]


def _never_in(courses: Sequence[Course], passing: str) -> set[int]:
    """Terms that come in failing runs only."""
    of = {True: set[int](), False: set[int]()}
    for course in courses:
        of[course.label == passing].update(course.terms.tolist())
    return of[False] - of[True]


def _parts(arguments: argparse.Namespace, card: Card) -> tuple[list[LabelledRun], NDArray[np.intp], NDArray[np.intp], str]:
    """Runs, indexes of those that the bundle was trained on and of the others, and what groups them."""
    told = str(card.training["split"])
    if arguments.oai:
        runs = read_oai(arguments.oai)
        kind = next((kind for kind in runs[0].groups if f"by {kind}," in told), "")
        if kind:
            labels, groups = [run.label for run in runs], [run.groups[kind] for run in runs]
            return runs, *hold_out(labels, groups, card.training["seed"]), kind
    elif arguments.logs and arguments.labels and arguments.split:
        runs = read_settled(arguments.logs, arguments.labels, [arguments.split])
        if f"split_{arguments.split} " in told:
            test = np.array([run.parts[arguments.split] == "test" for run in runs])
            return runs, np.flatnonzero(~test), np.flatnonzero(test), arguments.split
    else:
        raise CorpusError("name --oai, or --logs, --labels and --split")
    raise CorpusError(f"the bundle was not trained on this split: {told}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.early_stop", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--oai", type=Path)
    parser.add_argument("--logs", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--split", help="the settled split that the bundle was trained by")
    parser.add_argument("--out", type=Path, help="else training/results/early_stop_NAME.json")
    parser.add_argument("--write", action="store_true", help="put weights and limit into the bundle")
    arguments = parser.parse_args(argv)
    bundle = Bundle.open(arguments.bundle)
    card, terms = bundle.card, len(bundle.json("terms.json")["terms"])
    try:
        runs, training, test, kind = _parts(arguments, card)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    courses = courses_of(bundle, runs, kind)
    weights = fit_weights([courses[place] for place in training.tolist()], terms, card.passing_label)
    held = [courses[place] for place in test.tolist()]
    found = {"bundle": f"{card.name} {card.version}", **measure(held, weights, card.passing_label)}
    out = arguments.out or RESULTS / f"early_stop_{card.name}.json"
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    if arguments.write:
        passes = [course for course in held if course.label == card.passing_label]
        limit = round(float(scores_of(passes, weights).max()) + 1e-6, 6)
        about = Limit(limit=limit, false_stops=found["false_stops"], passing_runs=found["passing_runs"])
        arrays = io.BytesIO()
        np.savez_compressed(arrays, weights=weights)
        files = {name: (arguments.bundle / name).read_bytes() for name in card.files}
        files |= {EARLY_STOP: about.model_dump_json().encode() + b"\n", WEIGHTS: arrays.getvalue()}
        write_bundle(arguments.bundle, card, files)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
