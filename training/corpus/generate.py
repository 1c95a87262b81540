"""Generates labelled runs from a seed: each from its plan to the text of its log.

    plan → scenario script, fault → set-up → UEs, with troubles (scenario.py) → statistics → stop → text (timeline.py)

Every run has a random source of its own, seeded with its number, so that a change to one run leaves the others as they are.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

from training.corpus.causes import Cause
from training.corpus.plan import RUNS, Catalogue, Part, Planned, can_strike, catalogue, plan
from training.corpus.run import Run
from training.corpus.scenario import Fault, scenario
from training.corpus.scripts import CATEGORIES, FIRMWARES
from training.corpus.sections import set_up

__all__ = ["GeneratedRun", "generate"]

# How the fault of a failing run shows: by its direct records, by its consequences alone, or only by what is missing.
EVIDENCE: Final = {"records": 0.83, "tail": 0.11, "absence": 0.06}
# Share of the failing runs whose fault strikes early and has another symptom at the end.
LINGERING: Final = 0.16
# Length to which statistics fill a log, in characters without numbers: median, spread of its logarithm, lowest, highest.
LENGTH: Final = (24_500, 0.48, 8_000, 190_000)
# Attempts to generate a run before the plan counts as impossible.
ATTEMPTS: Final = 100
FIRST_DAY: Final = datetime(2024, 3, 1)
DAYS: Final = 600


class GeneratedRun(NamedTuple):
    """One run with everything the generator knows about it.

    Attributes:
        run_id: Day and number.
        label: The layer of the root cause, or Pass.
        text: The log.
        category: Test category.
        rat: Radio access technology.
        script: Name of the scenario script.
        firmware: Name of the firmware release.
        cause: Name of the root cause, else empty.
        family: Group of similar causes, else empty.
        environment: Which part of the test environment failed, else empty.
        confusers: Names of the mild troubles and background records.
        layers: Layers with abnormal records.
        evidence: How the cause shows (`records`, `tail`, `absence`), else empty.
        root_line: Line of the first direct record of the cause, from 1, if it has one.
        last_symptom_line: Line of the last record of the cause or a consequence, from 1.
        ues: Number of UEs.
        failed_ues: UE Ids, from 0, of the UEs that the cause struck.
        sections: Name and first line of each section.
        hard_part: Part of the split `hard`.
        easy_part: Part of the split `easy`.
    """

    run_id: str
    label: str
    text: bytes
    category: str
    rat: str
    script: str
    firmware: str
    cause: str
    family: str
    environment: str
    confusers: tuple[str, ...]
    layers: tuple[str, ...]
    evidence: str
    root_line: int | None
    last_symptom_line: int | None
    ues: int
    failed_ues: tuple[int, ...]
    sections: tuple[tuple[str, int], ...]
    hard_part: Part
    easy_part: Part


def generate(runs: int = RUNS, seed: int = 1) -> Iterator[GeneratedRun]:
    """Generates all runs, in an order that does not depend on their labels; the same seed gives the same bytes."""
    known = catalogue(seed)
    for planned in plan(runs, seed):
        yield _generate(planned, known, seed)


def _generate(planned: Planned, known: Catalogue, seed: int) -> GeneratedRun:
    """Generates one run, again if a failing run shows nothing of its fault because no UE reached the stage of the cause."""
    for attempt in range(ATTEMPTS):
        made = _attempt(planned, known, random.Random(f"run {seed} {planned.number} {attempt}"))
        if made:
            return made
    raise AssertionError(f"run {planned.number} could not be generated in {ATTEMPTS} attempts")


def _attempt(planned: Planned, known: Catalogue, rng: random.Random) -> GeneratedRun | None:
    """Generates one run; None if it must be drawn again."""
    # The draws up to the fault do not depend on the label, so scripts, releases, dates and lengths cannot give it away.
    category = rng.choices(list(CATEGORIES), list(CATEGORIES.values()))[0]
    script = rng.choice([script for script in known.scripts[planned.hard] if script.category == category])
    start = FIRST_DAY + timedelta(days=rng.randrange(DAYS), seconds=rng.randrange(86_400), milliseconds=rng.randrange(1000))
    length = min(max(rng.lognormvariate(0, LENGTH[1]) * LENGTH[0], LENGTH[2]), LENGTH[3])
    run = Run(rng, script, rng.choice(FIRMWARES), length)
    # Both splits have the same runs, so the causes must be those of the run's part in the hard split.
    fault = _fault(run, planned, known)
    if planned.label != "Pass" and fault is None:
        return None  # no cause of this label can strike in this script
    set_up(run)
    confusers = scenario(run, fault, _confusing(planned.hard, known))
    written = run.timeline.write(rng, start, run.firmware.indent)
    if fault and fault.evidence == "records" and written.root_line is None:
        return None  # no UE reached the stage of the cause
    failed = tuple(ue.number for ue in run.ues if ue.failed)
    if fault and not failed:
        return None
    return GeneratedRun(
        run_id=f"{start:%Y%m%d}_{planned.number:04d}",
        label=planned.label,
        text=written.text,
        category=script.category,
        rat=script.rat,
        script=script.name,
        firmware=run.firmware.name,
        cause=fault.cause.name if fault else "",
        family=fault.cause.family if fault else "",
        environment=fault.cause.environment if fault else "",
        confusers=confusers,
        layers=tuple(sorted(run.layers - {""})),
        evidence=fault.evidence if fault else "",
        root_line=written.root_line,
        last_symptom_line=written.last_symptom_line,
        ues=len(run.ues),
        failed_ues=failed,
        sections=written.sections,
        hard_part=planned.hard,
        easy_part=planned.easy,
    )


def _fault(run: Run, planned: Planned, known: Catalogue) -> Fault | None:
    """Draws a cause that can strike in this script and the UEs that it strikes; None if there is no such cause."""
    rng = run.rng
    causes = [c for c in known.causes[planned.hard] if c.label == planned.label and can_strike(c, run.script)]
    if not causes:
        return None
    cause = rng.choices(causes)[0]
    evidence = rng.choices(list(EVIDENCE), list(EVIDENCE.values()))[0]
    # Only some causes can show without direct records. If one of them is possible here, it replaces the cause drawn first.
    hidden = [c for c in causes if evidence in c.hides]
    if evidence != "records" and hidden:
        cause = rng.choice(hidden)
    else:
        evidence = "absence" if cause.name == "negative-accepted" else "records"
    count = len(run.ues)
    # Mostly one UE, sometimes a few, a quarter or all of them.
    struck = count if cause.whole_run else min(count, rng.choice((1, 1, rng.randint(1, 3), ceil(count / 4), count)))
    ues = frozenset(ue.number for ue in rng.sample(run.ues, struck))
    # A cause of the whole run has its records once, not once for each UE.
    run.struck = 1 if cause.whole_run else struck
    return Fault(cause, ues, evidence, rng.random() < LINGERING)


def _confusing(part: Part, known: Catalogue) -> list[Cause]:
    """Causes whose mild form may be in a run of this part.

    Held-out causes must not be in training runs in this form either, or a model would know their records.
    """
    parts: dict[Part, tuple[Part, ...]] = {
        "train": ("train",), "validation": ("train", "validation"), "test": ("train", "validation", "test"),
    }  # fmt: skip
    return [cause for one in parts[part] for cause in known.causes[one] if cause.mild]
