"""What a UE does: it attaches, exchanges traffic, moves, and leaves. Troubles strike at their stage of this course."""

from collections.abc import Mapping
from typing import Final

from training.varied.consequences import strike
from training.varied.run import Run
from training.varied.troubles import Trouble, leave, unfold, vanish
from training.varied.ue import Ue

__all__ = ["attach", "detach", "negative", "stay"]

# Healthy records of a connected UE by layer, and those that also a UE with a lasting trouble has.
HEALTHY: Final[Mapping[str, tuple[str, ...]]] = {
    "L0_L1": ("ssb", "csi", "bler", "ul_bler", "ta", "srs", "in_sync"),
    "L2": ("bsr", "phr", "drx", "crnti", "bwp", "status", "end_marker"),
    "L3": ("reconfig", "reconfig_done", "paging", "service", "report"),
}
TROUBLED: Final = ("ssb", "ta", "srs", "bsr", "phr", "drx", "paging", "reconfig")
ONLY_NR: Final = frozenset(("bwp", "end_marker"))
# Values of preambleTransMax (TS 38.331, 6.3.2).
PREAMBLES: Final = (3, 4, 5, 6, 7, 8, 10, 20)
# Share of the UEs that look for their network for a while before they find it.
SEARCHING: Final = 0.03
# Share of the registrations whose authentication needs a resynchronisation first.
RESYNCHRONISED: Final = 0.04
# Words for a failed registration whose cause has none.
REFUSAL: Final = "Registration rejected"

Attach = Mapping[str, Trouble]
"""Troubles by the stage of the attach procedure at which they strike: `ra`, `rrc`, `nas`, `session`."""


def attach(run: Run, ue: Ue, at_ms: float, troubles: Attach) -> float | None:
    """Attaches a UE. Returns the time when its session is up, or None if a lasting trouble keeps it from that."""
    for stage, advance in (("ra", _random_access), ("rrc", _connection), ("nas", _registration), ("session", _session)):
        trouble = troubles.get(stage)
        reached = advance(run, ue, at_ms, trouble)
        if reached is None:
            assert trouble
            ue.failed = trouble.lasting
            return None
        at_ms = reached
    return at_ms


def _tries(run: Run, trouble: Trouble | None) -> int:
    """How often a stage fails; as often in troubles that last as in others."""
    return 0 if trouble is None else 1 if trouble.thin else run.rng.randint(1, 3)


def _fault(trouble: Trouble) -> str:
    return "symptom" if trouble.lasting else ""


def _random_access(run: Run, ue: Ue, at_ms: float, trouble: Trouble | None) -> float | None:
    rng = run.rng
    run.say(at_ms, f"rat{run.suffix}", ue)
    if rng.random() < SEARCHING:
        for _ in range(rng.randint(1, 3)):
            at_ms += rng.uniform(1000, 6000)
            run.say(at_ms, "plmn_loss", ue)
        run.say(at_ms + 400, "plmn_back", ue)
        at_ms += 500
    run.say(at_ms + 1, f"selection{run.suffix}", ue)
    at_ms += rng.uniform(1, 3)
    limit = rng.choice(PREAMBLES)
    tries = _tries(run, trouble)
    for number in range(tries):
        assert trouble
        run.say(at_ms, "ra_start", ue)
        at_ms = unfold(run, ue, at_ms + 5, trouble)
        run.failing = _fault(trouble)
        if trouble.cause.name == "ra-contention" and rng.random() < 0.5:
            run.say(at_ms, "contention", ue)
        run.say(at_ms, "ra_cancelled" if rng.random() < 0.15 and number + 1 < tries else "ra_error", ue, n=limit)
        at_ms += rng.uniform(100, 900)
        if rng.random() < 0.6 or (number + 1 == tries and trouble.lasting):
            run.say(at_ms, f"failed{run.suffix}", ue)
        run.failing = ""
        at_ms += rng.uniform(200, 4000)
    if trouble and trouble.lasting:
        return None
    run.say(at_ms, "ra_start", ue)
    run.say(at_ms + 1, "prach", ue, n=1)
    run.say(at_ms + 2, "rar", ue)
    at_ms += rng.uniform(3, 112)
    run.say(at_ms, "ra_done", ue, n=rng.choice((1, 1, 1, 2, 2, 3)))
    return at_ms


def _connection(run: Run, ue: Ue, at_ms: float, trouble: Trouble | None) -> float | None:
    rng = run.rng
    for _ in range(_tries(run, trouble)):
        assert trouble
        run.say(at_ms, "setup", ue)
        at_ms = unfold(run, ue, at_ms + rng.uniform(20, 400), trouble)
        run.failing = _fault(trouble)
        if not (trouble.quiet and trouble.lasting) or rng.random() < 0.5:
            run.say(at_ms, f"failed{run.suffix}", ue)
        run.failing = ""
        at_ms += rng.uniform(300, 5000)
        run.say(at_ms, "ra_start", ue)
        at_ms += rng.uniform(3, 112)
        run.say(at_ms, "ra_done", ue, n=1)
    if trouble and trouble.lasting:
        return None
    run.say(at_ms - 1, "setup", ue)
    run.say(at_ms, "setup_done", ue)
    run.say(at_ms, f"connected{run.suffix}", ue)
    ue.connect(at_ms)
    return at_ms


SECURITY: Final = (
    "auth", "auth_done", "nas_security", "nas_security_done", "as_security", "as_security_done", "capability",
    "capability_done",
)  # fmt: skip


def _registration(run: Run, ue: Ue, at_ms: float, trouble: Trouble | None) -> float | None:
    rng = run.rng
    at_ms += rng.uniform(20, 90)
    reached = rng.randint(0, len(SECURITY)) if trouble else len(SECURITY)
    for event in SECURITY[:reached]:
        if event == "auth_done" and rng.random() < RESYNCHRONISED:
            # The USIM has another sequence number; the network resynchronises and asks again (TS 24.501, 5.4.1.3.7).
            run.say(at_ms, "auth_fail", ue, cause=21, word="Synch failure")
            run.say(at_ms + 30, "auth", ue)
            at_ms += 40
        run.say(at_ms, event, ue)
        at_ms += rng.uniform(4, 40)
    for number in range(_tries(run, trouble)):
        assert trouble
        at_ms = unfold(run, ue, at_ms, trouble)
        run.failing = "root" if trouble.lasting and not trouble.cause.steps else _fault(trouble)
        # A trouble without direct records may leave the registration without any answer.
        if not (trouble.quiet and trouble.lasting) or (number == 0 and "tail" in trouble.cause.hides):
            run.say(at_ms + 2, f"not_registered{run.suffix}", ue, **{"nasreason": REFUSAL, **trouble.cause.values})
        at_ms += rng.uniform(300, 6000)
        if not trouble.lasting and rng.random() < 0.4:
            leave(run, ue, at_ms, gone=False)
            at_ms += rng.uniform(200, 2000)
            run.say(at_ms, "ra_start", ue)
            at_ms += rng.uniform(3, 112)
            run.say(at_ms, "ra_done", ue, n=1)
            run.say(at_ms, f"connected{run.suffix}", ue)
            ue.connect(at_ms)
        run.failing = ""
    if trouble and trouble.lasting:
        run.failing = "symptom"
        if not trouble.quiet or rng.random() < 0.3:
            leave(run, ue, at_ms, deregister=rng.random() < 0.7)
            if rng.random() < 0.4:
                vanish(run, ue, at_ms + 20)
        run.failing = ""
        return None
    for event in SECURITY[reached:]:
        run.say(at_ms, event, ue)
        at_ms += rng.uniform(4, 40)
    # Registration takes about a second, and up to 16 seconds in a busy network.
    at_ms += min(16_000.0, 300 + rng.lognormvariate(6.4, 1.1))
    run.say(at_ms, f"registered{run.suffix}", ue)
    return at_ms


def _session(run: Run, ue: Ue, at_ms: float, trouble: Trouble | None) -> float | None:
    rng = run.rng
    at_ms += rng.uniform(20, 400)
    run.say(at_ms, "reconfig", ue)
    for _ in range(_tries(run, trouble)):
        assert trouble
        at_ms = unfold(run, ue, at_ms, trouble) + rng.uniform(300, 5000)
    if trouble and trouble.lasting:
        if rng.random() < 0.4:
            leave(run, ue, at_ms + rng.uniform(200, 9000), deregister=rng.random() < 0.5)
        return None
    run.say(at_ms + 8, "reconfig_done", ue)
    at_ms += rng.uniform(50, 3000)
    run.say(at_ms, f"session{run.suffix}", ue)
    if rng.random() < 0.3:
        run.say(at_ms + rng.uniform(10, 400), f"bearer{run.suffix}", ue)
    if run.habits.script.pppoe:
        for number in range(rng.randint(1, 3)) if rng.random() < 0.1 else ():
            run.say(at_ms + 900 * (number + 1), "pppoe_fail", ue, n=number + 1)
        run.say(at_ms + rng.uniform(4000, 20_000), "pppoe", ue)
    return at_ms


def stay(run: Run, ue: Ue, since_ms: float, until_ms: float, struck: list[Trouble]) -> None:
    """Adds the time of a UE from its session on: troubles one after the other, handovers, healthy records."""
    rng = run.rng
    moments = sorted(struck, key=lambda trouble: (trouble.lasting, trouble.share))
    ended = until_ms
    handovers = run.habits.script.cells > 1 and rng.random() < 1 / (1 + len(run.ues) / 20)
    for trouble in moments:
        at_ms = max(since_ms + (until_ms - since_ms) * trouble.share, ue.busy_ms + 500)
        if trouble.lasting:
            ended = min(ended, at_ms)
        if ue.gone:
            break
        if trouble.cause.stage == "handover":
            _handover(run, ue, at_ms, until_ms, trouble)
        else:
            strike(run, ue, at_ms, trouble, until_ms)
    if handovers:
        for at_ms in sorted(rng.uniform(since_ms, ended) for _ in range(rng.randint(1, 3))):
            if ue.connected(at_ms):
                _handover(run, ue, at_ms, until_ms, None)
    _healthy(run, ue, since_ms, ended, 1.0)
    if ended < until_ms and not ue.gone:
        _healthy(run, ue, ended, until_ms, 0.4)


def _healthy(run: Run, ue: Ue, since_ms: float, until_ms: float, share: float) -> None:
    """Adds healthy records of the layers that the run shows, and reports of the rate."""
    rng, habits = run.rng, run.habits
    for layer in sorted(habits.shown):
        names = HEALTHY[layer] if share == 1.0 else [name for name in HEALTHY[layer] if name in TROUBLED]
        for _ in range(int(rng.expovariate(1 / (habits.density * share + 1e-9)))):
            event = rng.choice(names)
            at_ms = rng.uniform(since_ms, until_ms)
            if ue.connected(at_ms) and not (run.lte and event in ONLY_NR):
                run.say(at_ms, event, ue)
    if habits.script.carriers > 1 and share == 1.0:
        run.say(since_ms + rng.uniform(50, 900), "scell", ue, n=1)
    if habits.rate_reports and habits.script.traffic != "none":
        for _ in range(rng.randint(1, 4 if len(run.ues) > 12 else 8)):
            at_ms = rng.uniform(since_ms, until_ms)
            if ue.connected(at_ms):
                rate = ue.goal * ue.radio_at(at_ms)["rate"] * rng.uniform(0.9, 1.0)
                run.say(at_ms, "dte_rate", ue, rate=f"{rate:.1f}")


def _handover(run: Run, ue: Ue, at_ms: float, until_ms: float, trouble: Trouble | None) -> None:
    """Adds a handover (TS 38.331, 5.3.5): report, command, random access in the target cell.

    A cause of layer 3 strikes before the random access, a cause of a lower layer after it.
    """
    rng = run.rng
    target = rng.choice([cell for cell in run.network.cells if cell != ue.cell] or [run.network.cells[0] + 1])
    run.say(at_ms, "report", ue, target=target)
    if trouble and trouble.cause.label == "L3":
        for _ in range(rng.randint(0, 2)) if trouble.cause.name == "ho-no-command" else ():
            at_ms += rng.uniform(240, 1000)
            run.say(at_ms, "report", ue, target=target)
        if trouble.cause.name not in ("ho-no-command", "ho-measurement"):
            run.say(at_ms + 25, "sync_reconfig", ue, target=target)
        strike(run, ue, at_ms + 60, trouble, until_ms)
        if trouble.lasting:
            return
        at_ms = ue.busy_ms
    run.say(at_ms + 25, "sync_reconfig", ue, target=target)
    run.say(at_ms + 30, "ra_start", ue, trigger="Handover", cell=target)
    done = at_ms + 30 + rng.uniform(3, 112)
    run.say(done, "ra_done", ue, n=1)
    run.say(done, "handover", ue, target=target)
    ue.cell = target
    if trouble and trouble.cause.label != "L3":
        strike(run, ue, done + 20, trouble, until_ms)


def detach(run: Run, ue: Ue, at_ms: float) -> None:
    """Adds how a UE leaves at the end of a test or by its script."""
    rng = run.rng
    if not ue.connected(at_ms):
        return
    if rng.random() < 0.5:
        run.say(at_ms - 5, f"session_end{run.suffix}", ue)
    if run.habits.script.pppoe and rng.random() < 0.7:
        run.say(at_ms - 9, "pppoe_end", ue)
    # A UE that is told to leave detaches itself; some testers report that as a silent detach too.
    run.say(at_ms, f"deregistered{run.suffix}", ue, detach="UE Detach" if rng.random() < 0.85 else "Silent Detach")
    run.say(at_ms + rng.uniform(2, 30), f"disconnected{run.suffix}", ue)
    ue.disconnect(at_ms + 30)
    ue.gone = True


def negative(run: Run, ue: Ue, at_ms: float, troubles: Attach, *, accepted: bool) -> None:
    """Adds the attach of a negative test, which the network must reject; `accepted` if it does not, which is a fault."""
    rng = run.rng
    assert run.habits.negative
    number, words = run.habits.negative
    for stage, advance in (("ra", _random_access), ("rrc", _connection)):
        reached = advance(run, ue, at_ms, troubles.get(stage))
        if reached is None:
            ue.failed = True
            return
        at_ms = reached
    at_ms += rng.uniform(100, 900)
    if accepted:
        run.failing = "root"
        run.say(at_ms, f"registered{run.suffix}", ue)
        run.failing = ""
        ue.failed = True
        return
    for _ in range(rng.randint(1, 3)):
        run.say(at_ms, "reg_reject", ue, cause=number, word=words)
        run.say(at_ms + 2, f"not_registered{run.suffix}", ue, nasreason=words, code=6)
        at_ms += rng.uniform(500, 4000)
    leave(run, ue, at_ms, deregister=rng.random() < 0.5)
