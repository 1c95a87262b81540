"""Records that runs of every label may have: warnings, asserts that the tester survives, rejected commands, coverage gaps.

Without them every warning would be a symptom, and a model would only have to learn the word.
"""

from collections.abc import Callable, Mapping
from typing import Final

from training.corpus.environment import cass
from training.corpus.run import Run

__all__ = ["background"]

# Probability of each kind in a run.
SHARE: Final = 0.07
WARNINGS: Final = (
    "Statistics queue is above 80 %.",
    "Clock offset to host above 200 ms.",
    "Log server busy, records delayed.",
)
OPTIONAL_COMMANDS: Final = ("SetMueMeasurementFilter 0 3", "PhyConfigUlInterference 0 -20", "RrcAptOverrideBandSupport 0 78")


def background(run: Run, begin_ms: float, end_ms: float) -> list[str]:
    """Adds each kind with a small probability; returns the names of those that were added."""
    names = []
    for name, add in KINDS.items():
        if run.rng.random() < SHARE:
            add(run, run.rng.uniform(begin_ms + 500, end_ms))
            names.append(name)
    return names


def _warning(run: Run, at_ms: float) -> None:
    run.warn(at_ms, run.rng.choice(WARNINGS))


def _suppressed(run: Run, at_ms: float) -> None:
    run.timeline.add(at_ms, f"I: ERNO 0x00000000 CASS 0x00000009 {run.rng.randint(2, 60)} repeated CAssert(s) suppressed")


def _assert(run: Run, at_ms: float) -> None:
    run.timeline.add(at_ms, cass(run, run.rng.randrange(4)))


def _underflow(run: Run, at_ms: float) -> None:
    run.emit(at_ms, "underflow")


def _drift(run: Run, at_ms: float) -> None:
    run.emit(at_ms, "drift", run.rng.choice(run.ues), drift=run.rng.randint(1, 6))


def _late(run: Run, at_ms: float) -> None:
    run.emit(at_ms, "ru_late", late=run.rng.randint(1, 10), n=0)


def _data_server(run: Run, at_ms: float) -> None:
    run.emit(at_ms, "rda_lost", n=1)


def _coverage_gap(run: Run, at_ms: float) -> None:
    """An idle UE does not receive the network for some seconds."""
    ue = run.rng.choice(run.ues)
    run.emit(at_ms, "plmn_loss", ue)
    run.emit(at_ms + run.rng.uniform(800, 6000), "plmn_back", ue)


def _rejected_command(run: Run, at_ms: float) -> None:
    rng = run.rng
    words = rng.choice(OPTIONAL_COMMANDS)
    run.timeline.add(at_ms, f"{run.firmware.forward} mte {words}")
    name, code = words.split()[0].upper(), rng.choice((2, 7, 8001))
    run.timeline.add(at_ms + rng.uniform(1, 60), f"C: FORW 0x06 Failure MTE {name}: RETURN CODE:{code} FAILED not supported")


KINDS: Final[Mapping[str, Callable[[Run, float], None]]] = {
    "one warning": _warning,
    "suppressed asserts": _suppressed,
    "one assert": _assert,
    "underflow": _underflow,
    "time drift": _drift,
    "late messages": _late,
    "data server retry": _data_server,
    "coverage gap": _coverage_gap,
    "optional command rejected": _rejected_command,
}
