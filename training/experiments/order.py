"""What the next-key network adds to the plain detector: how many runs are found in which only the order is wrong.

    python -m training.experiments.order --oai data/ran/oai_rfsim_runs.jsonl.xz

Both detectors learn the training part of one split. The held-out passing runs are then changed in one place each, in a way
that adds no key and takes none away, and what share of them each detector finds anomalous is printed as a table.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from stream_triage.stages.detect import BLANK, Detector
from stream_triage.stages.next_key import NextKey
from training.data import MaskedRuns, read_oai
from training.fit.detector import KeyedRun, KeyedRuns, fit_detector, raw_score
from training.fit.loggpt import LogGPTFit, fit_loggpt, order_of, serve
from training.fit.templates import fit_templates
from training.networks.loop import Epoch
from training.splits import hold_out

__all__ = ["CHANGES", "Detectors", "changed", "main"]

PASSING = "Pass"
# How far apart lines are that change places, and how many are repeated out of place.
FAR = 20
BLOCK = 5

Keys = list[int]


def swapped(keys: Keys, rng: np.random.Generator) -> Keys:
    """Two distant lines of different keys change places."""
    pairs = [(i, j) for i in range(len(keys) - 1) for j in range(i + FAR, len(keys) - 1) if keys[i] != keys[j]]
    first, second = pairs[rng.integers(len(pairs))]
    keys[first], keys[second] = keys[second], keys[first]
    return keys


def dropped(keys: Keys, rng: np.random.Generator) -> Keys:
    """A line in mid run is missing whose key comes elsewhere too."""
    places = [i for i in range(len(keys) // 10, len(keys) - 1) if keys.count(keys[i]) > 1]
    del keys[places[rng.integers(len(places))]]
    return keys


def repeated(keys: Keys, rng: np.random.Generator) -> Keys:
    """A block of lines comes once more, at a distant place."""
    first = int(rng.integers(len(keys) - BLOCK))
    places = [i for i in range(1, len(keys) - 1) if abs(i - first) >= FAR]
    place = places[rng.integers(len(places))]
    return keys[:place] + keys[first : first + BLOCK] + keys[place:]


def moved(keys: Keys, rng: np.random.Generator) -> Keys:
    """A line comes at a distant place."""
    first = int(rng.integers(len(keys) - 1))
    key = keys.pop(first)
    places = [i for i in range(1, len(keys) - 1) if abs(i - first) >= FAR and key not in (keys[i], keys[i - 1])]
    keys.insert(places[rng.integers(len(places))], key)
    return keys


CHANGES: Mapping[str, Callable[[Keys, np.random.Generator], Keys]] = {
    "two distant lines swapped": swapped,
    "a line left out": dropped,
    "five lines repeated elsewhere": repeated,
    "a line moved": moved,
}


def changed(run: KeyedRun, change: Callable[[Keys, np.random.Generator], Keys], rng: np.random.Generator) -> KeyedRun:
    """The run with one change in one of its longer sources; the last line stays, which the plain detector looks at."""
    events = {source: [key for key in keys if key != BLANK] for source, (keys, _) in run.items()}
    long = sorted(source for source, keys in events.items() if len(keys) >= 3 * FAR and min(keys) >= 0)
    source = long[rng.integers(len(long))]
    return {**run, source: (change(events[source], rng), [])}


class Detectors(NamedTuple):
    """Fitted to the same passing runs."""

    plain: Detector
    joined: Detector
    network: NextKey

    def found(self, run: KeyedRun) -> tuple[bool, bool, bool]:
        """Whether the plain and the joined detector call the run anomalous, and whether it has any surprise."""
        order = order_of(self.network, run)
        plain, joined = raw_score(self.plain, run), raw_score(self.joined, run, order)
        return plain > self.plain.profile.threshold, joined > self.joined.profile.threshold, order.count > 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.experiments.order", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--oai", type=Path, required=True, help="oai_rfsim_runs.jsonl.xz")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split, the networks and the changes")
    parser.add_argument("--changes", type=int, default=3, help="changed copies of each held-out passing run, of each kind")
    parser.add_argument("--checkpoints", type=Path, help="folder; an interrupted run goes on from there")
    arguments = parser.parse_args(argv)
    runs = read_oai(arguments.oai)
    experiment(MaskedRuns(runs), [run.groups["template_hash"] for run in runs], arguments)
    return 0


def experiment(masked: MaskedRuns, groups: Sequence[str], arguments: argparse.Namespace) -> None:
    seed = arguments.seed
    training, test = hold_out(masked.labels.tolist(), groups, seed)
    templates = fit_templates(masked, training.tolist())
    keyed = KeyedRuns(masked, templates)
    passing = [run for run in training.tolist() if masked.labels[run] == PASSING]
    own = [groups[run] for run in passing]
    fit = fit_loggpt(keyed, templates, passing, own, seed, checkpoints=arguments.checkpoints, report=_say)
    detectors = Detectors(
        fit_detector(keyed, templates, passing, own, seed),
        fit_detector(keyed, templates, passing, own, seed, fit.orders),
        NextKey(templates.keys, fit.profile, serve(fit.network)),
    )
    torch.set_num_threads(1)
    _print_scores(keyed, test.tolist(), masked.labels[test] != PASSING, detectors, fit)
    held_out = [keyed.run(run) for run in test.tolist() if masked.labels[run] == PASSING]
    _print_changes(held_out, detectors, arguments.changes, seed)


def _print_scores(
    keyed: KeyedRuns,
    test: Sequence[int],
    failing: NDArray[np.bool_],
    detectors: Detectors,
    fit: LogGPTFit,
) -> None:
    runs = [keyed.run(run) for run in test]
    orders = [order_of(detectors.network, run) for run in runs]
    scores = {
        "mean surprisal": [order.mean_surprisal for order in orders],
        "surprises": [order.count for order in orders],
        "plain detector": [raw_score(detectors.plain, run) for run in runs],
        "joined detector": [raw_score(detectors.joined, run, order) for run, order in zip(runs, orders, strict=True)],
    }
    limits = [fit.profile.surprisal_high, 0, detectors.plain.profile.threshold, detectors.joined.profile.threshold]
    print(f"top_k {fit.profile.top_k}, best epoch {fit.curve.best + 1} of {len(fit.curve.epochs)}\n")
    print("| score | limit | AUROC pass/fail | false alarms | failing runs found |\n|---|--:|--:|--:|--:|")
    for (name, values), limit in zip(scores.items(), limits, strict=True):
        above = np.asarray(values) > limit
        print(
            f"| {name} | {limit:.3f} | {roc_auc_score(failing, values):.4f} | {above[~failing].sum()} of {(~failing).sum()} "
            f"| {above[failing].sum()} of {failing.sum()} |"
        )


def _print_changes(runs: Sequence[KeyedRun], detectors: Detectors, copies: int, seed: int) -> None:
    print(f"\n| {len(runs)} held-out passing runs, {copies} copies each | plain detector | joined detector | any surprise |")
    print("|---|--:|--:|--:|")
    _print_found("unchanged", [detectors.found(run) for run in runs])
    for name, change in CHANGES.items():
        rng = np.random.default_rng(seed)
        _print_found(name, [detectors.found(changed(run, change, rng)) for run in runs for _ in range(copies)])


def _print_found(name: str, found: Sequence[tuple[bool, ...]]) -> None:
    shares = " | ".join(f"{share:.1%}" for share in np.mean(found, axis=0))
    print(f"| {name} | {shares} |", flush=True)


def _say(number: int, epoch: Epoch) -> None:
    print(
        f"epoch {number + 1}: {epoch.validation['surprisal']:.4f} bits a key, {epoch.seconds} s", file=sys.stderr, flush=True
    )


if __name__ == "__main__":
    raise SystemExit(main())
