"""What UEs do: attach, exchange traffic, move, leave. A trouble at a stage breaks the procedure there or is overcome."""

from collections.abc import Mapping
from typing import NamedTuple

from training.corpus.causes import Cause, Stage
from training.corpus.consequences import break_down, unfold
from training.corpus.run import Run, Ue

__all__ = ["Trouble", "attach", "detach", "mobility", "overcome", "traffic"]


class Trouble(NamedTuple):
    """A cause at one UE; `severe` ones end the procedure, others come once or twice and pass."""

    cause: Cause
    severe: bool


Troubles = Mapping[Stage, Trouble]


def attach(run: Run, ue: Ue, at_ms: float, troubles: Troubles) -> float | None:
    """The time when the UE's session is up, or None where a trouble broke it."""
    for stage in (_random_access, _connection, _registration, _session):
        reached = stage(run, ue, at_ms, troubles)
        if reached is None:
            return None
        at_ms = reached
    return at_ms


def _endured(run: Run, ue: Ue, at_ms: float, trouble: Trouble) -> float | None:
    """The time behind a trouble, or None where the UE does not get over it."""
    after = unfold(run, ue, at_ms, trouble.cause, trouble.severe)
    if not trouble.severe:
        return after
    break_down(run, ue, after, trouble.cause)
    return None


def _random_access(run: Run, ue: Ue, at_ms: float, troubles: Troubles) -> float | None:
    rng = run.rng
    run.say(at_ms, f"rat{run.suffix}", ue)
    run.say(at_ms + 1, f"selection{run.suffix}", ue)
    at_ms += rng.uniform(1, 3)
    run.say(at_ms, "ra_start", ue)
    if run.traced("l1"):
        run.say(at_ms + 1, "prach", ue, n=1)
    preambles = rng.choice((1, 1, 1, 2))
    trouble = troubles.get("ra")
    if trouble:
        after = _endured(run, ue, at_ms + 5, trouble)
        if after is None:
            return None
        at_ms = after
        preambles = rng.randint(2, 4)
        if rng.random() < 0.5:
            run.say(at_ms, "ra_error", ue, n=rng.choice((6, 8, 10)))
            at_ms += rng.uniform(300, 2000)
            run.say(at_ms, "ra_start", ue)
    if run.traced("l2"):
        run.say(at_ms + 2, "rar", ue)
    at_ms += rng.uniform(3, 112)
    run.say(at_ms, "ra_done", ue, n=preambles)
    ue.done["random_access"] = at_ms
    return at_ms


def _connection(run: Run, ue: Ue, at_ms: float, troubles: Troubles) -> float | None:
    rng = run.rng
    if run.traced("l3"):
        run.say(at_ms - 1, "setup", ue)
        run.say(at_ms, "setup_done", ue)
    trouble = troubles.get("rrc")
    if trouble:
        after = _endured(run, ue, at_ms + rng.uniform(20, 400), trouble)
        if after is None:
            return None
        at_ms = after + rng.uniform(50, 900)
        run.say(at_ms, "ra_start", ue)
        at_ms += rng.uniform(3, 112)
        run.say(at_ms, "ra_done", ue, n=1)
    run.say(at_ms, f"connected{run.suffix}", ue)
    ue.done["connected"] = at_ms
    return at_ms


def _registration(run: Run, ue: Ue, at_ms: float, troubles: Troubles) -> float | None:
    rng = run.rng
    at_ms += rng.uniform(20, 90)
    if run.traced("l3"):
        for name in (
            "auth",
            "auth_done",
            "nas_security",
            "nas_security_done",
            "as_security",
            "as_security_done",
            "capability",
            "capability_done",
        ):
            run.say(at_ms, name, ue)
            at_ms += rng.uniform(4, 40)
    trouble = troubles.get("nas")
    if trouble:
        after = _endured(run, ue, at_ms, trouble)
        if after is None:
            return None
        at_ms = after
    at_ms += min(16_000.0, 300 + rng.lognormvariate(6.6, 1.1))
    run.say(at_ms, f"registered{run.suffix}", ue)
    ue.done["registered"] = at_ms
    return at_ms


def _session(run: Run, ue: Ue, at_ms: float, troubles: Troubles) -> float | None:
    rng = run.rng
    at_ms += rng.uniform(20, 400)
    if run.traced("l3"):
        run.say(at_ms, "reconfig", ue)
    trouble = troubles.get("session")
    if trouble:
        after = _endured(run, ue, at_ms, trouble)
        if after is None:
            return None
        at_ms = after
    if run.traced("l3"):
        run.say(at_ms + 8, "reconfig_done", ue)
    at_ms += rng.uniform(50, 3000)
    run.say(at_ms, f"session{run.suffix}", ue)
    ue.done["session"] = at_ms
    if rng.random() < 0.4:
        run.say(at_ms + rng.uniform(10, 400), f"bearer{run.suffix}", ue)
    if run.script.pppoe:
        run.say(at_ms + rng.uniform(4000, 20_000), "pppoe", ue)
    return at_ms


HEALTHY = {
    "l1": ("ssb", "csi", "bler", "ul_bler", "ta", "srs", "in_sync"),
    "l2": ("bsr", "phr", "drx", "crnti", "bwp", "status", "end_marker"),
    "l3": ("reconfig", "reconfig_done", "paging", "service"),
}


def traffic(run: Run, ue: Ue, since_ms: float, until_ms: float, records: int) -> None:
    """Healthy records of the traced layers, spread over the time that the UE has a session."""
    rng = run.rng
    for layer in run.script.trace:
        for _ in range(records):
            name = rng.choice(HEALTHY[layer])
            if run.rat == "LTE" and name in ("bwp", "end_marker"):
                name = "status"
            run.say(rng.uniform(since_ms, until_ms), name, ue)
    if run.script.carriers > 1 and "l2" in run.script.trace:
        run.say(since_ms + rng.uniform(50, 900), "scell", ue, n=1)


def mobility(run: Run, ue: Ue, since_ms: float, until_ms: float, trouble: Trouble | None) -> None:
    """Handovers of one UE; a trouble strikes at the last of them."""
    rng = run.rng
    times = sorted(rng.uniform(since_ms, until_ms) for _ in range(rng.randint(1, 3)))
    for i, at_ms in enumerate(times):
        target = rng.choice([cell for cell in run.cells if cell != ue.cell])
        run.say(at_ms, "report", ue, target=target)
        struck = trouble if i == len(times) - 1 else None
        before_command = struck is not None and struck.cause.name in ("ho-no-command", "ho-measurement")
        if struck and before_command and _endured(run, ue, at_ms + 200, struck) is None:
            return
        run.say(at_ms + 25, "sync_reconfig", ue, target=target)
        if struck and struck.cause.label == "L3" and not before_command:
            after = _endured(run, ue, at_ms + 60, struck)
            if after is None:
                return
            at_ms = after + 60
        run.say(at_ms + 30, "ra_start", ue, trigger="Handover", cell=target)
        done = at_ms + 30 + rng.uniform(3, 112)
        run.say(done, "ra_done", ue, n=1)
        run.say(done, "handover", ue, target=target)
        ue.cell = target
        if struck and struck.cause.label != "L3" and _endured(run, ue, done + 20, struck) is None:
            return


def overcome(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """A trouble in the traffic of one UE that passes: what the procedures of its layer do about it, with success."""
    rng = run.rng
    at_ms = unfold(run, ue, at_ms, cause, severe=False)
    follows = rng.random()
    if any(step.name == "out_of_sync" for step in cause.steps):
        run.say(at_ms + 5, "t310_start", ue)
        run.say(at_ms + rng.uniform(50, 900), "t310_stop", ue)
    elif cause.label == "L2" and follows < 0.5:
        reason = {"RLC": "RLC maximum UL retransmissions reached", "PDCP": "Integrity failure"}.get(cause.family)
        if cause.family.startswith("scheduling"):
            run.say(at_ms + 4, "ra_start", ue, trigger="SR MAX Exceeded")
            run.say(at_ms + rng.uniform(7, 90), "ra_done", ue, n=1)
        elif reason:
            reestablish(run, ue, at_ms + rng.uniform(2, 6), reason)
    elif cause.family == "beam":
        run.say(at_ms + rng.uniform(10, 60), "bfr_done", ue)
    elif follows < 0.3:
        reestablish(run, ue, at_ms + rng.uniform(2, 6), "Radio link failure")


def reestablish(run: Run, ue: Ue, at_ms: float, reason: str) -> None:
    """A re-establishment that succeeds after about 30 ms."""
    run.say(at_ms, "reest_start", ue, reason=reason)
    at_ms += run.rng.uniform(22, 45)
    run.say(at_ms, "reest_done", ue)
    if run.traced("l2"):
        run.say(at_ms + 2, "rlc_reset", ue)


def detach(run: Run, ue: Ue, at_ms: float) -> None:
    """The end of a test for one UE; one that is out of service has nothing to leave."""
    rng = run.rng
    if "connected" not in ue.done or ue.left_ms is not None:
        return
    if "session" in ue.done and rng.random() < 0.5:
        run.say(at_ms - 5, f"session_end{run.suffix}", ue)
    if run.script.pppoe and "session" in ue.done and rng.random() < 0.7:
        run.say(at_ms - 9, "pppoe_end", ue)
    if "registered" in ue.done:
        run.say(at_ms, f"deregistered{run.suffix}", ue)
    run.say(at_ms + rng.uniform(2, 30), f"disconnected{run.suffix}", ue)
