"""Generates labelled runs from a seed: habits and label from the plan, then the cause, then the records, then the text.

Each run has a random source of its own, seeded with its number, so a change to one run leaves the others as they are.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from training.corpus.causes import Cause
from training.varied.course import attach, detach, negative, stay
from training.varied.environment import background, licence_refused, set_up_fails
from training.varied.faults import ATTACH, Fault, draw_fault, draw_troubles
from training.varied.habits import Habits, combination
from training.varied.plan import RUNS, Catalogue, Part, Planned, catalogue, plan
from training.varied.run import Run
from training.varied.script import campaign_records, cell_search, set_up, stop
from training.varied.tables import statistics
from training.varied.troubles import Trouble
from training.varied.ue import Ue
from training.varied.writer import Written, write

__all__ = ["GeneratedRun", "generate"]

# Attempts to generate a run before the plan counts as impossible.
ATTEMPTS: Final = 200
FIRST_DAY: Final = datetime(2023, 6, 1)
DAYS: Final = 1100
# Share of the UEs that their script lets leave early.
EARLY_LEAVERS: Final = 0.06


class GeneratedRun(NamedTuple):
    """One run with everything the generator knows about it.

    Attributes:
        run_id: Day and number.
        label: Layer of the root cause, or Pass.
        habits: What the log looks like.
        cause: Name of the root cause, else empty.
        evidence: How the cause shows (`records`, `tail`, `statistics`, `absence`), else empty.
        overcome: Names of the causes of troubles that are overcome.
        layers: Layers with abnormal records.
        failed_ues: UE Ids of the UEs that the cause struck.
        parts: Its part of each split.
        written: The log and what its lines are.
    """

    run_id: str
    label: str
    habits: Habits
    cause: str
    evidence: str
    overcome: tuple[str, ...]
    layers: tuple[str, ...]
    failed_ues: tuple[int, ...]
    parts: dict[str, Part]
    written: Written

    @property
    def text(self) -> bytes:
        """The log."""
        return self.written.text

    @property
    def combination(self) -> tuple[str, ...]:
        """The combination of habits that the split `habits` knows it by."""
        return combination(self.habits)


def generate(runs: int = RUNS, seed: int = 1) -> Iterator[GeneratedRun]:
    """Generates all runs, in an order that does not depend on their labels; the same seed gives the same bytes."""
    known = catalogue(seed)
    for planned in plan(runs, seed):
        yield _generate(planned, known, seed)


def _generate(planned: Planned, known: Catalogue, seed: int) -> GeneratedRun:
    """Generates one run; again if a failing run does not show its fault, because no UE reached the stage of the cause."""
    for attempt in range(ATTEMPTS):
        made = _attempt(planned, known, random.Random(f"varied run {seed} {planned.number} {attempt}"))
        if made:
            return made
    raise AssertionError(f"run {planned.number} could not be generated in {ATTEMPTS} attempts")


def _attempt(planned: Planned, known: Catalogue, rng: random.Random) -> GeneratedRun | None:
    habits, part = planned.habits, planned.parts["causes"]
    start = FIRST_DAY + timedelta(days=rng.randrange(DAYS), seconds=rng.randrange(86_400), milliseconds=rng.randrange(1000))
    fault = None
    # Troubles are drawn for every run alike. In a failing run one of them lasts: the fault takes its place.
    troubles = draw_troubles(rng, habits, _allowed(known, part), habits.troubles)
    if planned.label != "Pass":
        fault = draw_fault(rng, planned.label, habits, known.causes[part])
        assert fault, "each part has causes for all habits"
        troubles = troubles[1:]
    run = Run(rng, habits)
    set_up(run)
    _fault_of_the_set_up(run, fault)
    first = run.now
    _traffic(run, fault, troubles)
    written = write(run.records, habits, rng, start, _span(run, first))
    failed = tuple(ue.number for ue in run.ues if ue.failed)
    if fault and (not failed or (fault.evidence == "records" and written.root_line is None)):
        return None
    return GeneratedRun(
        run_id=f"{start:%Y%m%d}_{planned.number:05d}",
        label=planned.label,
        habits=habits,
        cause=fault.cause.name if fault else "",
        evidence=fault.evidence if fault else "",
        overcome=tuple(sorted({trouble.cause.name for struck in troubles for trouble in struck.values()})),
        layers=tuple(sorted(run.layers - {""})),
        failed_ues=failed,
        parts=dict(planned.parts),
        written=written,
    )


def _allowed(known: Catalogue, part: Part) -> list[Cause]:
    """Causes that may be overcome in runs of a part: records of held-out causes must not be in training runs at all."""
    parts: dict[Part, tuple[Part, ...]] = {
        "train": ("train",), "validation": ("train", "validation"), "test": ("train", "validation", "test"),
    }  # fmt: skip
    return [cause for one in parts[part] for cause in known.causes[one]]


def _fault_of_the_set_up(run: Run, fault: Fault | None) -> None:
    """Adds a fault that strikes before there are UEs: they are all without service."""
    if not fault or fault.cause.stage != "cell":
        return
    name = fault.cause.name
    if name == "tester-set-up":
        set_up_fails(run)
    elif name == "tester-licence":
        licence_refused(run)
    else:
        code = {"cell-freq-lock": 15014, "cell-sysinfo": 8030}.get(name, 0)
        cell_search(run, failures=run.rng.randint(2, 5), code=code)
    for ue in run.ues:
        ue.failed = True


def _out_of_service(run: Run) -> None:
    """Adds what UEs do without a cell: some runs let them look for a network."""
    rng = run.rng
    for ue in run.ues[:12] if rng.random() < 0.6 else ():
        at_ms = run.begin + ue.number * run.habits.stagger_ms + rng.uniform(5, 300)
        run.say(at_ms, f"rat{run.suffix}", ue)
        for _ in range(rng.randint(1, 3)):
            at_ms += rng.uniform(2000, 15_000)
            run.say(at_ms, "plmn_loss", ue)


def _traffic(run: Run, fault: Fault | None, troubles: list[dict[int, Trouble]]) -> None:
    """Adds everything from the activation to the end of the script."""
    rng, habits = run.rng, run.habits
    run.forward("Activate -1")
    run.begin = run.now
    run.end = run.begin + habits.stagger_ms * habits.ues + max(habits.duration_ms, 30_000)
    run.visible = run.begin + (run.end - run.begin) * habits.end
    _waits(run, fault)
    latest = run.visible
    if fault and fault.cause.stage == "cell":
        _out_of_service(run)
    else:
        for ue in run.ues:
            latest = max(latest, _ue(run, ue, fault, troubles))
    if latest > run.visible:
        run.visible = latest
        run.end = max(run.end, latest + 500)
    background(run)
    campaign_records(run, run.begin, run.visible)
    _statistics(run, fault, troubles)
    run.end = max(run.end, run.now)
    if habits.teardown != "none" or rng.random() < 0.4:
        for ue in run.ues:
            detach(run, ue, run.end + rng.uniform(50, 900))
    run.now = run.end + 2000
    stop(run)


def _ue(run: Run, ue: Ue, fault: Fault | None, troubles: list[dict[int, Trouble]]) -> float:
    """Adds one UE from its start to its end; returns the time of what must be in the log."""
    rng, habits = run.rng, run.habits
    begun = run.begin + ue.number * habits.stagger_ms + rng.uniform(5, 300)
    if begun > run.visible:
        return 0.0
    struck = [some[ue.number] for some in troubles if ue.number in some]
    severe = fault.struck.get(ue.number) if fault else None
    if severe:
        struck.append(severe)
    # The last trouble of a stage wins: the fault, if there is one.
    at_stage: dict[str, Trouble] = {trouble.cause.stage: trouble for trouble in struck if trouble.cause.stage in ATTACH}
    run.muted = fault.cause.label if fault and severe and fault.evidence in ("tail", "absence") else ""
    if habits.negative:
        accepted = severe is not None and severe.cause.stage == "negative"
        negative(run, ue, begun, at_stage, accepted=accepted)
        run.muted = ""
        return begun + 8000
    reached = attach(run, ue, begun, at_stage)
    if reached is None:
        run.muted = ""
        # What is missing at the end of the log must have had the time to come.
        return begun + 25_000
    leaves = rng.random() < EARLY_LEAVERS and not struck
    until = run.visible if not leaves else reached + (run.visible - reached) * rng.uniform(0.3, 0.9)
    until = max(until, reached + 8000)
    stay(run, ue, reached, until, [trouble for trouble in struck if trouble.cause.stage not in ATTACH])
    run.muted = ""
    if leaves:
        detach(run, ue, until)
    return max(until, ue.busy_ms + 1500) if struck else until


def _waits(run: Run, fault: Fault | None) -> None:
    """Adds the milestones that the script waits for; some waits end although the milestone has not come."""
    rng, habits = run.rng, run.habits
    if not habits.waits:
        return
    milestones = habits.script.milestones
    if habits.negative:
        milestones = (f"Registration failure - {habits.negative[1]}" if not run.lte else f"NAS: {habits.negative[1]}",)
    at_ms, seconds = run.begin + 5, rng.choice((20, 30, 60, 90))
    for milestone in milestones:
        if habits.echo:
            run.add(at_ms, f'WAIT FOR "{milestone}" TIMEOUT {seconds}')
        at_ms += rng.uniform(500, 8000)
    missed = fault is not None and fault.cause.stage not in ("traffic", "handover")
    if missed and rng.random() < 0.5:
        run.failing = "symptom"
        run.note(
            run.begin + seconds * 1000, "wait_late", "I: TMAE 0x0 Information - {}", milestone=milestones[-1], fault=True
        )
        run.failing = ""


def _statistics(run: Run, fault: Fault | None, troubles: list[dict[int, Trouble]]) -> None:
    """Adds the statistics; UEs with troubles are asked for as often in passing runs as in failing ones."""
    rng, habits = run.rng, run.habits
    if not habits.statistics:
        return
    marked = list(fault.struck) if fault else [number for struck in troubles[:1] for number in struck]
    numbers = set(rng.sample(range(len(run.ues)), min(len(run.ues), rng.choice((1, 2, 4)))))
    numbers |= set(marked[:1])
    times = sorted(rng.uniform(run.begin + 3000, run.visible) for _ in range(habits.statistics - 1))
    for at_ms in [*times, run.visible - rng.uniform(100, 900)]:
        run.now = at_ms
        statistics(run, [run.ues[number] for number in sorted(numbers)])


def _span(run: Run, first: float) -> tuple[float, float]:
    """First and last time that the log has."""
    rng, start = run.rng, run.habits.start
    begin = 0.0
    if start == "set-up":
        begin = rng.uniform(0, max(first - 60_000, 0)) if first > 60_000 else rng.uniform(0, first * 0.4)
    elif start == "traffic":
        begin = run.begin + (run.visible - run.begin) * rng.uniform(0.02, 0.35)
    end = run.crashed_ms if run.crashed_ms is not None else run.visible if run.habits.end < 1 else float("inf")
    return begin, end
