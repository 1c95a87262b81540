"""Measures what the next-key network adds to the plain detector: how many runs it detects whose order alone is wrong.

    python -m training.experiments.order --oai data/ran/oai_rfsim_runs.jsonl.xz

Both detectors are fitted to the training part of one split. Each held-out passing run is then changed in one place, in a way
that adds no key and removes none, and the share of the changed runs that each detector calls anomalous is printed as a
table.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from stream_triage.stages.detect import BLANK, Detector
from stream_triage.stages.next_key import NextKey, Order
from training.arguments import command_parser
from training.data import CorpusError, MaskedRuns, read_oai
from training.fit.detector import fit_detector, raw_score
from training.fit.templates import fit_templates
from training.keyed import KeyedRun, KeyedRuns
from training.networks.curve import Curve, Epoch
from training.packages import MissingPackageError, require
from training.splits import hold_out

__all__ = ["CHANGES", "Detectors", "changed", "main"]

PASSING = "Pass"
# Lines that change places are at least this far apart: neighbours of different threads swap in passing runs, too.
FAR = 20
# Lines that are repeated out of place.
BLOCK = 5

Keys = list[int]


def swapped(keys: Keys, rng: np.random.Generator) -> Keys:
    """Two distant lines of different keys change places."""
    pairs = [(i, j) for i in range(len(keys) - 1) for j in range(i + FAR, len(keys) - 1) if keys[i] != keys[j]]
    first, second = pairs[rng.integers(len(pairs))]
    keys[first], keys[second] = keys[second], keys[first]
    return keys


def dropped(keys: Keys, rng: np.random.Generator) -> Keys:
    """A line in mid run is left out whose key is elsewhere in the run as well."""
    positions = [i for i in range(len(keys) // 10, len(keys) - 1) if keys.count(keys[i]) > 1]
    del keys[positions[rng.integers(len(positions))]]
    return keys


def repeated(keys: Keys, rng: np.random.Generator) -> Keys:
    """A block of lines is repeated at a distant position."""
    first = int(rng.integers(len(keys) - BLOCK))
    positions = [i for i in range(1, len(keys) - 1) if abs(i - first) >= FAR]
    position = positions[rng.integers(len(positions))]
    return keys[:position] + keys[first : first + BLOCK] + keys[position:]


def moved(keys: Keys, rng: np.random.Generator) -> Keys:
    """A line moves to a distant position that is not beside a line of its own key."""
    first = int(rng.integers(len(keys) - 1))
    key = keys.pop(first)
    positions = [i for i in range(1, len(keys) - 1) if abs(i - first) >= FAR and key not in (keys[i], keys[i - 1])]
    keys.insert(positions[rng.integers(len(positions))], key)
    return keys


CHANGES: Mapping[str, Callable[[Keys, np.random.Generator], Keys]] = {
    "two distant lines swapped": swapped,
    "a line left out": dropped,
    "five lines repeated elsewhere": repeated,
    "a line moved": moved,
}


def changed(run: KeyedRun, change: Callable[[Keys, np.random.Generator], Keys], rng: np.random.Generator) -> KeyedRun:
    """The run with one change in one of its longer sources; the last line stays, since the plain detector looks at it."""
    events = {source: [key for key in keys if key != BLANK] for source, (keys, _) in run.items()}
    long = sorted(source for source, keys in events.items() if len(keys) >= 3 * FAR and min(keys) >= 0)
    source = long[rng.integers(len(long))]
    return {**run, source: (change(events[source], rng), [])}


class Detectors(NamedTuple):
    """The plain detector, the one whose score is joined with the network's, and the network, fitted to the same runs."""

    plain: Detector
    joined: Detector
    network: NextKey

    def order(self, run: KeyedRun) -> Order:
        """What the network reports of a whole run."""
        from training.fit.loggpt import order_of

        return order_of(self.network, run)

    def detect(self, run: KeyedRun) -> tuple[bool, bool, bool]:
        """Whether the plain and the joined detector call the run anomalous, and whether it has any surprise."""
        order = self.order(run)
        plain, joined = raw_score(self.plain, run), raw_score(self.joined, run, order)
        return plain > self.plain.profile.threshold, joined > self.joined.profile.threshold, order.count > 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    parser = command_parser("training.experiments.order", __doc__)
    parser.add_argument(
        "--oai", type=Path, required=True, metavar="FILE", help="the OpenAirInterface runs, oai_rfsim_runs.jsonl.xz"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the split, the networks and the changes (default: %(default)s)"
    )
    parser.add_argument(
        "--changes",
        type=int,
        default=3,
        help="changed copies of each held-out passing run, of each kind of change (default: %(default)s)",
    )
    parser.add_argument(
        "--checkpoints", type=Path, metavar="FOLDER", help="where networks are saved; an interrupted run continues from it"
    )
    arguments = parser.parse_args(argv)
    try:
        require("torch", "transformers")
        runs = read_oai(arguments.oai)
    except (CorpusError, MissingPackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    experiment(MaskedRuns(runs), [run.groups["template_hash"] for run in runs], arguments)
    return 0


def experiment(masked: MaskedRuns, groups: Sequence[str], arguments: argparse.Namespace) -> None:
    """Fits the detectors and prints both tables."""
    import torch

    from training.fit.loggpt import fit_loggpt, serve

    seed = arguments.seed
    training, test = hold_out(masked.labels.tolist(), groups, seed)
    templates = fit_templates(masked, training.tolist())
    keyed = KeyedRuns(masked, templates)
    passing = [run for run in training.tolist() if masked.labels[run] == PASSING]
    passing_groups = [groups[run] for run in passing]
    fit = fit_loggpt(
        keyed, templates, passing, passing_groups, seed, checkpoints=arguments.checkpoints, report=_report_epoch
    )
    detectors = Detectors(
        fit_detector(keyed, templates, passing, passing_groups, seed),
        fit_detector(keyed, templates, passing, passing_groups, seed, orders=fit.orders),
        NextKey(templates.keys, fit.profile, serve(fit.network)),
    )
    torch.set_num_threads(1)
    _print_fit(fit.profile.top_k, fit.curve)
    _print_scores(keyed, test.tolist(), masked.labels[test] != PASSING, detectors, fit.profile.surprisal_high)
    held_out = [keyed.run(run) for run in test.tolist() if masked.labels[run] == PASSING]
    _print_changes(held_out, detectors, arguments.changes, seed)


def _print_fit(top_k: int, curve: Curve) -> None:
    print(f"top_k {top_k}, best epoch {curve.best + 1} of {len(curve.epochs)}\n")


def _print_scores(
    keyed: KeyedRuns, test: Sequence[int], failing: NDArray[np.bool_], detectors: Detectors, surprisal_high: float
) -> None:
    """Prints how well each score separates failing from passing runs."""
    runs = [keyed.run(run) for run in test]
    orders = [detectors.order(run) for run in runs]
    scores = {
        "mean surprisal": [order.mean_surprisal for order in orders],
        "surprises": [order.count for order in orders],
        "plain detector": [raw_score(detectors.plain, run) for run in runs],
        "joined detector": [raw_score(detectors.joined, run, order) for run, order in zip(runs, orders, strict=True)],
    }
    limits = [surprisal_high, 0, detectors.plain.profile.threshold, detectors.joined.profile.threshold]
    print("| score | limit | AUROC pass/fail | false alarms | failing runs detected |\n|---|--:|--:|--:|--:|")
    for (name, values), limit in zip(scores.items(), limits, strict=True):
        above = np.asarray(values) > limit
        print(
            f"| {name} | {limit:.3f} | {roc_auc_score(failing, values):.4f} | {above[~failing].sum()} of {(~failing).sum()} "
            f"| {above[failing].sum()} of {failing.sum()} |"
        )


def _print_changes(runs: Sequence[KeyedRun], detectors: Detectors, copies: int, seed: int) -> None:
    """Prints the share of unchanged and changed passing runs that each detector calls anomalous."""
    print(f"\n| {len(runs)} held-out passing runs, {copies} copies each | plain detector | joined detector | any surprise |")
    print("|---|--:|--:|--:|")
    _print_shares("unchanged", [detectors.detect(run) for run in runs])
    for name, change in CHANGES.items():
        rng = np.random.default_rng(seed)
        _print_shares(name, [detectors.detect(changed(run, change, rng)) for run in runs for _ in range(copies)])


def _print_shares(name: str, detected: Sequence[tuple[bool, ...]]) -> None:
    shares = " | ".join(f"{share:.1%}" for share in np.mean(detected, axis=0))
    print(f"| {name} | {shares} |", flush=True)


def _report_epoch(number: int, epoch: Epoch) -> None:
    print(
        f"epoch {number + 1}: {epoch.validation['surprisal']:.4f} bits a key, {epoch.seconds} s", file=sys.stderr, flush=True
    )


if __name__ == "__main__":
    raise SystemExit(main())
