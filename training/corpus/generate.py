"""A seed in, labelled runs out: each from its plan to the text of its log.

scenario → set-up → attach and traffic of every UE, with troubles → statistics → stop → times, losses, text
"""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

from training.corpus.background import background
from training.corpus.causes import Cause, Stage
from training.corpus.consequences import CONSEQUENCES, break_down, strike, unfold
from training.corpus.plan import RUNS, Catalogue, Part, Planned, catalogue, plan
from training.corpus.procedures import Trouble, attach, detach, mobility, overcome, traffic
from training.corpus.run import Run, Ue
from training.corpus.scripts import CATEGORIES, FIRMWARES, Script
from training.corpus.sections import set_up, stop
from training.corpus.statistics import radio_unit, rows, signalling, user_equipment
from training.corpus.timeline import cleaned_size

__all__ = ["GeneratedRun", "generate"]

# How the fault of a failing run shows: its own records, only what follows from it, or only what is missing.
EVIDENCE: Final = {"records": 0.83, "tail": 0.11, "absence": 0.06}
CONFUSED: Final = 0.55
# Share of failing runs whose fault comes early and is felt again at the end.
LINGERING: Final = 0.16
# Length that statistics fill a log up to, in characters without numbers: median, spread of its logarithm, limits.
LENGTH: Final = (24_500, 0.48, 8_000, 190_000)
STATISTICS: Final = 30
ENVIRONMENT_WEIGHT: Final = 1.0
FIRST_DAY: Final = datetime(2024, 3, 1)
DAYS: Final = 600


class GeneratedRun(NamedTuple):
    """One run with all that is known of it. Lines count from 1, `ues` from UE Id 0; `layers` have abnormal records."""

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
    """All runs, in an order that says nothing of their labels; the same seed gives the same bytes."""
    known = catalogue(seed)
    for planned in plan(runs, seed):
        yield _generate(planned, known, seed)


def _generate(planned: Planned, known: Catalogue, seed: int) -> GeneratedRun:
    """Drawn again where a failing run would show nothing of its fault (its UE had not come so far)."""
    for attempt in range(100):
        made = _attempt(planned, known, random.Random(f"run {seed} {planned.number} {attempt}"))
        if made:
            return made
    raise AssertionError(f"run {planned.number} could not be made in 100 attempts")


class Fault(NamedTuple):
    """The root cause of a failing run and the UEs it strikes."""

    cause: Cause
    ues: frozenset[int]
    evidence: str
    lingers: bool

    @property
    def silent(self) -> frozenset[str]:
        """Layers whose abnormal records this fault keeps out of the log."""
        return frozenset((self.cause.label,)) if self.evidence == "tail" else frozenset()


def _attempt(planned: Planned, known: Catalogue, rng: random.Random) -> GeneratedRun | None:
    category = rng.choices(list(CATEGORIES), list(CATEGORIES.values()))[0]
    script = rng.choice([script for script in known.scripts[planned.hard] if script.category == category])
    start = FIRST_DAY + timedelta(days=rng.randrange(DAYS), seconds=rng.randrange(86_400), milliseconds=rng.randrange(1000))
    length = min(max(rng.lognormvariate(0, LENGTH[1]) * LENGTH[0], LENGTH[2]), LENGTH[3])
    run = Run(rng, script, rng.choice(FIRMWARES), length)
    fault = _fault(run, planned, known)
    if planned.label != "Pass" and fault is None:
        return None
    set_up(run)
    confusers = _traffic(run, fault, _confusing(planned.hard, known))
    written = run.timeline.write(rng, start, run.firmware.indent)
    if fault and fault.evidence == "records" and written.root_line is None:
        return None
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
    """A cause that can strike in this script; None for passing runs and where there is none."""
    rng = run.rng
    causes = [c for c in known.causes[planned.hard] if c.label == planned.label and _possible(c, run.script)]
    if not causes:
        return None
    cause = rng.choices(causes, [ENVIRONMENT_WEIGHT if c.environment else 1.0 for c in causes])[0]
    evidence = rng.choices(list(EVIDENCE), list(EVIDENCE.values()))[0]
    hidden = [c for c in causes if evidence in c.hides]
    if evidence != "records" and hidden:
        cause = rng.choice(hidden)
    else:
        evidence = "absence" if cause.name == "negative-accepted" else "records"
    count = len(run.ues)
    struck = count if cause.whole_run else min(count, rng.choice((1, 1, rng.randint(1, 3), ceil(count / 4), count)))
    ues = frozenset(ue.number for ue in rng.sample(run.ues, struck))
    run.struck = 1 if cause.whole_run else struck
    return Fault(cause, ues, evidence, rng.random() < LINGERING)


def _possible(cause: Cause, script: Script) -> bool:
    if cause.rat and cause.rat != script.rat:
        return False
    if script.negative:  # its UEs never get beyond registration
        return cause.stage in ("cell", "ra", "rrc", "negative")
    if cause.name == "scell-idle":
        return script.carriers > 1
    return cause.stage != "negative" and (cause.stage != "handover" or script.mobile)


def _confusing(part: Part, known: Catalogue) -> list[Cause]:
    """Causes whose mild form may come in a run of this part: what is held out stays out of training in this form too."""
    parts: dict[Part, tuple[Part, ...]] = {
        "train": ("train",), "validation": ("train", "validation"), "test": ("train", "validation", "test"),
    }  # fmt: skip
    return [cause for one in parts[part] for cause in known.causes[one] if cause.mild]


def _traffic(run: Run, fault: Fault | None, confusing: Sequence[Cause]) -> tuple[str, ...]:
    """From the activation to the end of the log. Returns the confusers that were put in."""
    rng, script = run.rng, run.script
    begin = run.now
    run.timeline.add(begin, f"{run.firmware.forward} mte Activate -1", section="traffic")
    run.timeline.add(begin + rng.uniform(1, 60), f"C: FORW 0x00 {run.firmware.ok} MTE ACTIVATE: RETURN CODE:0 SUCCEEDED")
    end = begin + script.stagger_ms * len(run.ues) + rng.uniform(40_000, 400_000)
    confusers, mild = _confusers(run, fault, confusing)
    if fault and fault.cause.stage == "cell":
        _cell_fault(run, fault, begin + 200)
    else:
        _ues(run, fault, mild, begin + 100, end)
    _waits(run, fault, begin + 200)
    run.now = end
    if fault and fault.lingers:
        _linger(run, fault, end - rng.uniform(500, 5000))
    confusers += background(run, begin, end)
    for ue in run.ues:
        detach(run, ue, end + rng.uniform(50, 900))
    final = end + 1500
    _statistics(run, fault, begin, end, final)
    if rng.random() < 0.2:
        run.say(run.now, "out_of_sync", rng.choice(run.ues), n=1)
        confusers.append("out of sync at the end")
    if run.crashed_ms is None:
        stop(run)
    else:
        run.timeline.entries = [entry for entry in run.timeline.entries if entry.at_ms <= run.crashed_ms]
    return tuple(confusers)


def _cell_fault(run: Run, fault: Fault, at_ms: float) -> None:
    for ue in run.ues:
        strike(run, ue, at_ms, fault.cause)
    if fault.evidence == "absence":
        return
    run.silent = fault.silent
    after = unfold(run, run.ues[0], at_ms, fault.cause, severe=True)
    break_down(run, run.ues[0], after, fault.cause)
    run.silent = frozenset()


def _ues(run: Run, fault: Fault | None, mild: dict[int, dict[Stage, Cause]], begin: float, end: float) -> None:
    """Each UE from its start to its end, in cycles of attach and detach where the script has them."""
    rng, script = run.rng, run.script
    struck_once = False
    for ue in run.ues:
        start = begin + ue.number * script.stagger_ms + rng.uniform(0, 300)
        cycles = script.cycles
        broken_cycle = rng.randrange(cycles)
        span = (end - start) / cycles
        for cycle in range(cycles):
            severe = fault if fault and ue.number in fault.ues and cycle == broken_cycle else None
            quiet = severe is not None and severe.cause.whole_run and struck_once
            begun, done = start + cycle * span, start + (cycle + 0.9) * span
            reached = _cycle(run, ue, begun, done, severe, mild.get(ue.number, {}), quiet)
            if severe and ue.failed:
                struck_once = True
            if not reached:
                break
            if cycle + 1 < cycles:
                detach(run, ue, start + (cycle + 0.92) * span)
                ue.done.clear()


def _cycle(
    run: Run,
    ue: Ue,
    begin: float,
    end: float,
    fault: Fault | None,
    mild: dict[Stage, Cause],
    quiet: bool,
) -> bool:
    """One attach and what follows; False if the UE is out. `quiet`: another UE has the records of the fault already."""
    rng, script = run.rng, run.script
    troubles = {stage: Trouble(cause, False) for stage, cause in mild.items()}
    stage = fault.cause.stage if fault else None
    if script.negative:
        return _negative(run, ue, begin, fault, troubles)
    if fault and stage in ("ra", "rrc", "nas", "session"):
        if fault.evidence == "absence" or quiet:
            _attach_until(run, ue, begin, stage, fault)
            return False
        troubles[stage] = Trouble(fault.cause, True)
        run.silent = fault.silent
    reached = attach(run, ue, begin, troubles)
    run.silent = frozenset()
    if reached is None:
        return False
    traffic_end = max(end, reached + 5000)
    layers = max(1, len(script.trace)) * len(run.ues) * script.cycles
    records = min(60, max(1, int(run.length * rng.uniform(0.08, 0.3) / 60 / layers)))
    struck = fault if fault and stage in ("traffic", "handover") else None
    moment = reached + (traffic_end - reached) * rng.uniform(*_when(struck))
    traffic(run, ue, reached, moment if struck else traffic_end, records)
    if script.mobile and not (struck and stage == "traffic"):
        trouble = troubles.get("handover")
        if struck and (struck.evidence == "tail" or (struck.evidence == "records" and not quiet)):
            trouble = Trouble(struck.cause, True)
            run.silent = struck.silent
        mobility(run, ue, reached, traffic_end, trouble)
        run.silent = frozenset()
    if struck and stage == "traffic":
        _break_traffic(run, ue, moment, struck, quiet)
        if ue.left_ms is None:
            traffic(run, ue, moment, traffic_end, max(1, records // 3))
    if (cause := mild.get("traffic")) and not (ue.left_ms and ue.left_ms < moment):
        overcome(run, ue, rng.uniform(reached, moment), cause)
    return ue.left_ms is None


def _when(fault: Fault | None) -> tuple[float, float]:
    """Part of the traffic in which a fault strikes; a crash, behind which nothing is logged, strikes late."""
    if fault and "crash" in fault.cause.then:
        return 0.7, 0.98
    return (0.05, 0.3) if fault and fault.lingers else (0.1, 0.8)


def _break_traffic(run: Run, ue: Ue, at_ms: float, fault: Fault, quiet: bool) -> None:
    cause = fault.cause
    for counter in cause.counters:
        run.late.append((at_ms, {counter: run.rng.randint(2000, 400_000)}))
    if fault.evidence == "absence" or quiet:
        strike(run, ue, at_ms, cause)
        if "drop" in cause.then and not quiet:
            run.say(at_ms, f"deregistered{run.suffix}", ue)
            run.say(at_ms + 1, f"disconnected{run.suffix}", ue)
            ue.left_ms = at_ms
        return
    run.silent = fault.silent
    after = unfold(run, ue, at_ms, cause, severe=True)
    break_down(run, ue, after, cause)
    run.silent = frozenset()


def _attach_until(run: Run, ue: Ue, at_ms: float, stage: Stage, fault: Fault) -> None:
    """The UE comes as far as the stage before the fault, and no record says why it stays there."""
    ue.failed = True
    run.silent = frozenset(("L0_L1", "L2", "L3"))
    hollow = Cause("", fault.cause.label, "", stage, (), ("stall",), fault.cause.radio)
    attach(run, ue, at_ms, {stage: Trouble(hollow, True)})
    run.silent = frozenset()


def _negative(run: Run, ue: Ue, begin: float, fault: Fault | None, troubles: dict[Stage, Trouble]) -> bool:
    """A test that expects the network to refuse its UEs."""
    rng = run.rng
    if fault and fault.cause.stage in ("ra", "rrc"):
        if fault.evidence == "absence":
            _attach_until(run, ue, begin, fault.cause.stage, fault)
            return False
        troubles[fault.cause.stage] = Trouble(fault.cause, True)
        run.silent = fault.silent
    accepted = bool(fault and fault.cause.stage == "negative")
    words = {"3": "Illegal UE", "11": "PLMN not allowed", "15": "No suitable cells in tracking area"}
    cause = int(run.script.negative)
    refusal = Cause("", "L3", "", "nas", (), ("stall",))
    attach(run, ue, begin, {**troubles, "nas": Trouble(refusal, True)})
    run.silent = frozenset()
    if "connected" not in ue.done:
        return False
    at_ms = ue.done["connected"] + rng.uniform(200, 3000)
    ue.failed = False
    if accepted:
        strike(run, ue, at_ms, refusal)
        CONSEQUENCES["accepted"](run, ue, at_ms, refusal)
        return True
    run.say(at_ms, "reg_reject", ue, cause=cause, word=words[run.script.negative])
    run.say(at_ms + 3, f"not_registered{run.suffix}", ue, nasreason=words[run.script.negative])
    ue.done["refused"] = at_ms
    return True


def _confusers(run: Run, fault: Fault | None, confusing: Sequence[Cause]) -> tuple[list[str], dict[int, dict[Stage, Cause]]]:
    """Mild troubles by UE and stage, in runs of every label alike."""
    rng = run.rng
    if rng.random() >= CONFUSED:
        return [], {}
    names: list[str] = []
    mild: dict[int, dict[Stage, Cause]] = {}
    possible = [cause for cause in confusing if _possible(cause, run.script) and cause.stage not in ("cell", "negative")]
    for _ in range(min(rng.choice((1, 1, 2, 3)) + len(run.ues) // 16, len(possible))):
        ue, cause = rng.choice(run.ues).number, rng.choice(possible)
        if fault and ue in fault.ues and cause.stage == fault.cause.stage:
            continue
        if mild.setdefault(ue, {}).setdefault(cause.stage, cause) is cause:
            names.append(f"mild {cause.name}")
    return names, mild


def _waits(run: Run, fault: Fault | None, at_ms: float) -> None:
    """The script waits for milestones of its last UE; one that does not come in time is warned of."""
    rng, script = run.rng, run.script
    last = run.ues[-1]
    texts = {
        "registered": "NR REGISTRATION IND" if run.rat == "NR" else "EMM REGISTER IND",
        "session": "PDU SESSION ESTABLISHMENT IND" if run.rat == "NR" else "NAS PDN CONNECTION IND",
        "refused": "REGISTRATION REJECT" if run.rat == "NR" else "ATTACH REJECT",
    }
    for milestone in ("refused",) if script.negative else dict.fromkeys(script.waits):
        limit = rng.choice((30, 60, 120)) * 1000.0 + script.stagger_ms * len(run.ues)
        came = last.done.get(milestone)
        if came is not None and rng.random() < 0.05:
            limit = max(1000.0, came - at_ms - rng.uniform(100, 2000))
        run.timeline.add(at_ms, f'WAIT FOR "{texts[milestone]}" TIMEOUT {int(limit / 1000)}')
        if came is None or came > at_ms + limit:
            run.warn(at_ms + limit, f'WAIT FOR "{texts[milestone]}" timed out.', symptom=bool(fault and last.failed))
        at_ms = max(at_ms, min(came or at_ms + limit, at_ms + limit)) + rng.uniform(5, 60)


def _linger(run: Run, fault: Fault, at_ms: float) -> None:
    """What is still felt of an early fault at the end of the test."""
    if fault.evidence == "absence" or run.crashed_ms is not None:
        return
    struck = [ue for ue in run.ues if ue.number in fault.ues and ue.failed]
    if not struck:
        return
    run.symptomatic = True
    ue = run.rng.choice(struck)
    if ue.left_ms is not None or "connected" not in ue.done:
        run.say(at_ms, "plmn_loss", ue)
    else:
        for i in range(run.rng.randint(1, 3)):
            run.say(at_ms + 40 * i, run.rng.choice(("nack", "poll")), ue)
    run.symptomatic = False


def _statistics(run: Run, fault: Fault | None, begin: float, end: float, final: float) -> None:
    """GETSTATS and its kin, as often as the length of the log asks for; the last ones behind the traffic."""
    rng, script = run.rng, run.script
    struck = [ue for ue in run.ues if fault and ue.number in fault.ues and ue.failed]
    run.now = (begin + end) / 2
    some = run.ues[:: max(1, len(run.ues) // 4)]
    each = sum(cleaned_size(line) for ue in some for line in rows(run, ue, script.tables)) / len(some)
    room = max(0.0, run.length - run.timeline.characters() - 900)
    shots = min(STATISTICS, max(1, ceil(room / (each * len(run.ues)))))
    per_shot = max(1, min(len(run.ues), int(room / each / shots)))
    times = sorted(rng.uniform(begin + 3000, end) for _ in range(shots - 1))
    run.now = begin
    for i, at_ms in enumerate([*times, final]):
        run.now = max(at_ms, run.now)  # the tester answers one command after the other
        last = i == len(times)
        shown = {ue.number: ue for ue in (*struck[: per_shot + 2 * last], *rng.sample(run.ues, per_shot))}
        chosen = [shown[number] for number in list(shown)[: max(per_shot, 1 + last)]]
        if last:
            run.timeline.add(run.now, "WAIT 1", section="statistics")
            run.now += 1000
        user_equipment(run, sorted(chosen, key=lambda ue: ue.number), script.tables)
        if last or rng.random() < 0.3:
            radio_unit(run)
        if last or rng.random() < 0.3:
            signalling(run)
