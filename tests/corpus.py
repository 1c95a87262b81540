"""Invented runs of a small made-up base station with two sources, and a bundle trained on them.

Three labels; L2 and L3 each by one failure. Enough to show every part of a verdict, small enough to train in a second.
"""

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from stream_triage.bundle import Bundle
from training.data import LabelledRun, MaskedRuns

LABELS = ("Pass", "L2", "L3")


def make_run(label: str, seed: int) -> LabelledRun:
    rng = random.Random(seed)
    rnti = f"{rng.randrange(1 << 16):04x}"
    ue = [
        "uesim starting",
        f"found cell {rng.randrange(500)} at {rng.randrange(30000, 40000)} kHz",
        f"random access with RNTI {rnti}",
    ]
    gnb = ["gnbsim starting", f"listening on 10.0.0.{rng.randrange(250)} port {rng.randrange(2000, 9000)}"]
    gnb += [f"slot {rng.randrange(20)} scheduled {rng.randrange(100)} bytes" for _ in range(rng.randrange(3, 9))]
    if label == "L2":
        gnb += [f"RLC maximum retransmissions reached for UE {rnti}", "bearer released"]
    else:
        ue += ["RRC setup complete", f"registration request for RNTI {rnti}"]
        ue += (
            [f"registration reject cause {rng.choice([3, 7, 11])}"]
            if label == "L3"
            else ["registration accept", "session up"]
        )
        gnb += ["context released"]
    return LabelledRun(
        f"run-{seed}",
        label,
        {"ue": "\n".join(ue).encode() + b"\n", "gnb": "\n".join(gnb).encode() + b"\n"},
        {"group": str(seed)},
    )


def write_logs(folder: Path, some: Sequence[LabelledRun]) -> None:
    """A folder for each run, a log for each of its sources."""
    for run in some:
        (folder / run.run_id).mkdir(parents=True)
        for source, data in run.sources.items():
            (folder / run.run_id / f"{source}.log").write_bytes(data)


def whole_run(label: str = "Pass", seed: int = 1) -> bytes:
    """A run with both sources in one text."""
    sources = make_run(label, seed).sources
    return sources["gnb"] + sources["ue"]


@cache
def runs(count: int = 90) -> tuple[LabelledRun, ...]:
    return tuple(make_run(LABELS[seed % 3], seed) for seed in range(count))


@cache
def tiny_bundle(name: str = "tiny") -> Bundle:
    from training.fit.bundle import Corpus, fit_bundle  # a second to import, which collecting need not take
    from training.fit.settings import BundleSettings

    made = runs()
    corpus = Corpus(made, MaskedRuns(made), LABELS, "Pass", ("group",))
    return fit_bundle(corpus, np.arange(len(made)), "group", 0, BundleSettings(name, models="baseline")).bundle
