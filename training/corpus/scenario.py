"""The traffic of a run: all UEs from the activation to the end of the log, with the fault and the confusers of the run."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final, NamedTuple

from training.corpus.background import background
from training.corpus.causes import Cause, Stage
from training.corpus.consequences import CONSEQUENCES, break_down, strike, unfold
from training.corpus.plan import can_strike
from training.corpus.procedures import Trouble, attach, detach, mobility, overcome, traffic
from training.corpus.run import Run, Ue
from training.corpus.sections import stop
from training.corpus.statistics import radio_unit, rows, signalling, user_equipment
from training.corpus.timeline import cleaned_size

__all__ = ["Fault", "scenario"]

# Share of the runs, whatever their label, with mild troubles.
CONFUSED: Final = 0.55
# Times at which statistics are asked for, at most.
STATISTICS: Final = 30

Mild = Mapping[Stage, Cause]
"""The mild troubles of one UE, by stage."""


class Fault(NamedTuple):
    """The root cause of a failing run.

    Attributes:
        cause: The cause.
        ues: UE Ids that it strikes.
        evidence: How it shows: `records`, `tail` (consequences alone) or `absence`.
        lingers: Whether it strikes early and has another symptom at the end.
    """

    cause: Cause
    ues: frozenset[int]
    evidence: str
    lingers: bool

    @property
    def silent(self) -> frozenset[str]:
        """Layers whose abnormal records this fault keeps out of the log."""
        # Only the layer of the cause is silent: the others report the consequences.
        return frozenset((self.cause.label,)) if self.evidence == "tail" else frozenset()


def scenario(run: Run, fault: Fault | None, confusing: Sequence[Cause]) -> tuple[str, ...]:
    """Adds everything from the activation to the end of the log.

    Args:
        run: The run after its set-up.
        fault: Its root cause, None for passing runs.
        confusing: Causes whose mild form may be added.

    Returns:
        Names of the confusers that were added.
    """
    rng, script = run.rng, run.script
    # Activation starts all UEs, one after the other.
    begin = run.now
    run.timeline.add(begin, f"{run.firmware.forward} mte Activate -1", section="traffic")
    run.timeline.add(begin + rng.uniform(1, 60), f"C: FORW 0x00 {run.firmware.ok} MTE ACTIVATE: RETURN CODE:0 SUCCEEDED")
    end = begin + script.stagger_ms * len(run.ues) + rng.uniform(40_000, 400_000)
    confusers, mild = _confusers(run, fault, confusing)
    # Without a cell there are no UEs to follow.
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
    # The tester asks for the last statistics when the UEs have left.
    final = end + 1500
    _statistics(run, fault, begin, end, final)
    # When the cell is switched off, some UE notices: an abnormal record at the end of runs of every label.
    if rng.random() < 0.2:
        run.emit(run.now, "out_of_sync", rng.choice(run.ues), n=1)
        confusers.append("out of sync at the end")
    if run.crashed_ms is None:
        stop(run)
    else:
        # After a crash nothing is logged; what was planned for later is dropped.
        run.timeline.entries = [entry for entry in run.timeline.entries if entry.at_ms <= run.crashed_ms]
    return tuple(confusers)


def _cell_fault(run: Run, fault: Fault, at_ms: float) -> None:
    """Adds a fault of the cell search, after which no UE does anything."""
    for ue in run.ues:
        strike(run, ue, at_ms, fault.cause)
    if fault.evidence == "absence":
        return
    run.silent = fault.silent
    after = unfold(run, run.ues[0], at_ms, fault.cause, severe=True)
    break_down(run, run.ues[0], after, fault.cause)
    run.silent = frozenset()


def _ues(run: Run, fault: Fault | None, mild: Mapping[int, Mild], begin: float, end: float) -> None:
    """Adds all UEs, each from its start to its end, in cycles of attach and detach if the script has them."""
    rng, script = run.rng, run.script
    # A cause of the whole run has its direct records at the first struck UE; the others show consequences alone.
    struck_once = False
    for ue in run.ues:
        start = begin + ue.number * script.stagger_ms + rng.uniform(0, 300)
        cycles = script.cycles
        # In scripts with several cycles the fault strikes in one of them; the cycles before are healthy.
        broken_cycle = rng.randrange(cycles)
        span = (end - start) / cycles
        for cycle in range(cycles):
            severe = fault if fault and ue.number in fault.ues and cycle == broken_cycle else None
            quiet = severe is not None and severe.cause.whole_run and struck_once
            begun, done = start + cycle * span, start + (cycle + 0.9) * span
            reached = _cycle(run, ue, (begun, done), severe, mild.get(ue.number, {}), quiet=quiet)
            if severe and ue.failed:
                struck_once = True
            if not reached:
                break
            if cycle + 1 < cycles:
                detach(run, ue, start + (cycle + 0.92) * span)
                # The next cycle reaches its milestones anew.
                ue.done.clear()


def _cycle(run: Run, ue: Ue, span: tuple[float, float], fault: Fault | None, mild: Mild, *, quiet: bool) -> bool:
    """Adds one attach and what follows it.

    Args:
        run: The run.
        ue: The UE.
        span: Begin and end of the cycle.
        fault: The fault, if it strikes this UE in this cycle.
        mild: Mild troubles of the UE.
        quiet: Whether another UE has the records of the fault already, as is so for faults that strike all UEs.

    Returns:
        Whether the UE is still there for another cycle.
    """
    rng, script = run.rng, run.script
    begin, end = span
    troubles = {stage: Trouble(cause, False) for stage, cause in mild.items()}
    stage = fault.cause.stage if fault else None
    if script.negative:
        return _negative(run, ue, begin, fault, troubles)
    # Faults of the attach procedure: the UE gets as far as the stage.
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
    # A UE whose attach took long still has some traffic.
    traffic_end = max(end, reached + 5000)
    # Healthy records take a part of the log's length that is shared by all traced layers, UEs and cycles.
    layers = max(1, len(script.trace)) * len(run.ues) * script.cycles
    records = min(60, max(1, int(run.length * rng.uniform(0.08, 0.3) / 60 / layers)))
    struck = fault if fault and stage in ("traffic", "handover") else None
    moment = reached + (traffic_end - reached) * rng.uniform(*_when(struck))
    traffic(run, ue, reached, moment if struck else traffic_end, records)
    # A UE that fails in its traffic makes no handovers: its failure would have two causes.
    if script.mobile and not (struck and stage == "traffic"):
        trouble = troubles.get("handover")
        if struck and (struck.evidence == "tail" or (struck.evidence == "records" and not quiet)):
            trouble = Trouble(struck.cause, True)
            run.silent = struck.silent
        mobility(run, ue, reached, traffic_end, trouble)
        run.silent = frozenset()
    if struck and stage == "traffic":
        _break_traffic(run, ue, moment, struck, quiet=quiet)
        if ue.left_ms is None:
            traffic(run, ue, moment, traffic_end, max(1, records // 3))
    # A mild trouble must be over before the fault strikes, or the UE would seem to recover from it.
    if (cause := mild.get("traffic")) and not (ue.left_ms and ue.left_ms < moment):
        overcome(run, ue, rng.uniform(reached, moment), cause)
    return ue.left_ms is None


def _when(fault: Fault | None) -> tuple[float, float]:
    """Range of the traffic, as shares of its time, in which a fault strikes; a crash strikes late, since it ends the log."""
    if fault and "crash" in fault.cause.then:
        return 0.7, 0.98
    return (0.05, 0.3) if fault and fault.lingers else (0.1, 0.8)


def _break_traffic(run: Run, ue: Ue, at_ms: float, fault: Fault, *, quiet: bool) -> None:
    """Adds a fault that strikes in the traffic."""
    cause = fault.cause
    for counter in cause.counters:
        # Counters of the radio unit are seen in its statistics alone.
        run.late.append((at_ms, {counter: run.rng.randint(2000, 400_000)}))
    if fault.evidence == "absence" or quiet:
        strike(run, ue, at_ms, cause)
        # Without any record of the cause, all that a log shows is that a UE leaves early.
        if "drop" in cause.then and not quiet:
            run.emit(at_ms, f"deregistered{run.suffix}", ue)
            run.emit(at_ms + 1, f"disconnected{run.suffix}", ue)
            ue.left_ms = at_ms
        return
    run.silent = fault.silent
    after = unfold(run, ue, at_ms, cause, severe=True)
    break_down(run, ue, after, cause)
    run.silent = frozenset()


def _attach_until(run: Run, ue: Ue, at_ms: float, stage: Stage, fault: Fault) -> None:
    """Attaches the UE up to the stage before the fault; no record shows why it does not get further."""
    ue.failed = True
    run.silent = frozenset(("L0_L1", "L2", "L3"))
    # A cause without records stops the attach procedure at the stage.
    hollow = Cause("", fault.cause.label, "", stage, (), ("stall",), fault.cause.radio)
    attach(run, ue, at_ms, {stage: Trouble(hollow, True)})
    run.silent = frozenset()


def _negative(run: Run, ue: Ue, begin: float, fault: Fault | None, troubles: dict[Stage, Trouble]) -> bool:
    """Adds a UE in a test that expects the network to reject it; returns whether it is still there."""
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
    # The reject that ends the procedure is added below, with the wording of this test.
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
    run.emit(at_ms, "reg_reject", ue, cause=cause, word=words[run.script.negative])
    run.emit(at_ms + 3, f"not_registered{run.suffix}", ue, nasreason=words[run.script.negative])
    ue.done["refused"] = at_ms
    return True


def _confusers(run: Run, fault: Fault | None, confusing: Sequence[Cause]) -> tuple[list[str], dict[int, dict[Stage, Cause]]]:
    """Draws mild troubles by UE and stage, equally for runs of every label; returns their names, too."""
    rng = run.rng
    if rng.random() >= CONFUSED:
        return [], {}
    names: list[str] = []
    mild: dict[int, dict[Stage, Cause]] = {}
    possible = [cause for cause in confusing if can_strike(cause, run.script) and cause.stage not in ("cell", "negative")]
    # Runs with many UEs have more troubles that pass.
    for _ in range(min(rng.choice((1, 1, 2, 3)) + len(run.ues) // 16, len(possible))):
        ue, cause = rng.choice(run.ues).number, rng.choice(possible)
        # At the stage where a UE fails for good there is no other trouble that it gets over.
        if fault and ue in fault.ues and cause.stage == fault.cause.stage:
            continue
        if mild.setdefault(ue, {}).setdefault(cause.stage, cause) is cause:
            names.append(f"mild {cause.name}")
    return names, mild


def _waits(run: Run, fault: Fault | None, at_ms: float) -> None:
    """Adds the script's waits for milestones of its last UE, and a warning for each that is not reached in time."""
    rng, script = run.rng, run.script
    last = run.ues[-1]
    texts = {
        "registered": "NR REGISTRATION IND" if run.rat == "NR" else "EMM REGISTER IND",
        "session": "PDU SESSION ESTABLISHMENT IND" if run.rat == "NR" else "NAS PDN CONNECTION IND",
        "refused": "REGISTRATION REJECT" if run.rat == "NR" else "ATTACH REJECT",
    }
    for milestone in ("refused",) if script.negative else dict.fromkeys(script.waits):
        # The last UE starts late in runs with many UEs, and scripts allow for that.
        limit = rng.choice((30, 60, 120)) * 1000.0 + script.stagger_ms * len(run.ues)
        came = last.done.get(milestone)
        # A timeout that is too short for a healthy run: a warning alone is no sign of a fault.
        if came is not None and rng.random() < 0.05:
            limit = max(1000.0, came - at_ms - rng.uniform(100, 2000))
        run.timeline.add(at_ms, f'WAIT FOR "{texts[milestone]}" TIMEOUT {int(limit / 1000)}')
        if came is None or came > at_ms + limit:
            run.warn(at_ms + limit, f'WAIT FOR "{texts[milestone]}" timed out.', symptom=bool(fault and last.failed))
        at_ms = max(at_ms, min(came or at_ms + limit, at_ms + limit)) + rng.uniform(5, 60)


def _linger(run: Run, fault: Fault, at_ms: float) -> None:
    """Adds a late symptom of an early fault at the end of the test."""
    if fault.evidence == "absence" or run.crashed_ms is not None:
        return
    struck = [ue for ue in run.ues if ue.number in fault.ues and ue.failed]
    if not struck:
        return
    run.symptomatic = True
    ue = run.rng.choice(struck)
    # A UE that left reports that it lost the network; one that is still connected shows errors of RLC.
    if ue.left_ms is not None or "connected" not in ue.done:
        run.emit(at_ms, "plmn_loss", ue)
    else:
        for i in range(run.rng.randint(1, 3)):
            run.emit(at_ms + 40 * i, run.rng.choice(("nack", "poll")), ue)
    run.symptomatic = False


def _statistics(run: Run, fault: Fault | None, begin: float, end: float, final: float) -> None:
    """Adds statistics commands until the log has its length; the last ones come after the traffic.

    They take most of a long log, as in real ones, and are between the first record of a fault and its last symptom.
    """
    rng, script = run.rng, run.script
    struck = [ue for ue in run.ues if fault and ue.number in fault.ues and ue.failed]
    # The length of a table is estimated in mid traffic, on a few UEs.
    run.now = (begin + end) / 2
    some = run.ues[:: max(1, len(run.ues) // 4)]
    each = sum(cleaned_size(line) for ue in some for line in rows(run, ue, script.tables)) / len(some)
    # Statistics fill what the events leave of the length, so that the length of a log does not depend on its label.
    room = max(0.0, run.length - run.timeline.characters() - 900)
    shots = min(STATISTICS, max(1, ceil(room / (each * len(run.ues)))))
    per_shot = max(1, min(len(run.ues), int(room / each / shots)))
    times = sorted(rng.uniform(begin + 3000, end) for _ in range(shots - 1))
    run.now = begin
    for i, at_ms in enumerate([*times, final]):
        run.now = max(at_ms, run.now)  # the tester answers one command after the other
        last = i == len(times)
        # The last tables show two more of the struck UEs: the statistics that an engineer asks for at the end.
        shown = {ue.number: ue for ue in (*struck[: per_shot + 2 * last], *rng.sample(run.ues, per_shot))}
        # Struck UEs are among those shown, or the fault of a run without records could not be seen.
        chosen = [shown[number] for number in list(shown)[: max(per_shot, 1 + last)]]
        if last:
            run.timeline.add(run.now, "WAIT 1", section="statistics")
            run.now += 1000
        user_equipment(run, sorted(chosen, key=lambda ue: ue.number), script.tables)
        if last or rng.random() < 0.3:
            radio_unit(run)
        if last or rng.random() < 0.3:
            signalling(run)
