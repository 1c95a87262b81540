"""What UEs do: attach, exchange traffic, move, detach. A trouble at a stage breaks the procedure there, or is overcome."""

from collections.abc import Mapping
from typing import NamedTuple

from training.corpus.causes import Cause, Stage
from training.corpus.consequences import break_down, unfold
from training.corpus.run import Run, Ue

__all__ = ["Trouble", "attach", "detach", "mobility", "overcome", "reestablish", "traffic"]


class Trouble(NamedTuple):
    """A cause at one UE. A severe one ends the procedure; another shows its records once or twice, and the UE recovers."""

    cause: Cause
    severe: bool


Troubles = Mapping[Stage, Trouble]


def attach(run: Run, ue: Ue, at_ms: float, troubles: Troubles) -> float | None:
    """Attaches a UE. Returns the time when its session is up, or None if a trouble broke the procedure."""
    for stage in (_random_access, _connection, _registration, _session):
        reached = stage(run, ue, at_ms, troubles)
        if reached is None:
            return None
        at_ms = reached
    return at_ms


def _endured(run: Run, ue: Ue, at_ms: float, trouble: Trouble) -> float | None:
    """Adds a trouble. Returns the time after it, or None if the UE does not recover."""
    after = unfold(run, ue, at_ms, trouble.cause, trouble.severe)
    if not trouble.severe:
        return after
    break_down(run, ue, after, trouble.cause)
    return None


def _random_access(run: Run, ue: Ue, at_ms: float, troubles: Troubles) -> float | None:
    rng = run.rng
    run.emit(at_ms, f"rat{run.suffix}", ue)
    run.emit(at_ms + 1, f"selection{run.suffix}", ue)
    at_ms += rng.uniform(1, 3)
    run.emit(at_ms, "ra_start", ue)
    if run.traced("l1"):
        run.emit(at_ms + 1, "prach", ue, n=1)
    # A second preamble is usual in healthy runs.
    preambles = rng.choice((1, 1, 1, 2))
    trouble = troubles.get("ra")
    if trouble:
        after = _endured(run, ue, at_ms + 5, trouble)
        if after is None:
            return None
        at_ms = after
        # After a trouble the random access takes more preambles, and sometimes a second attempt.
        preambles = rng.randint(2, 4)
        if rng.random() < 0.5:
            run.emit(at_ms, "ra_error", ue, n=rng.choice((6, 8, 10)))
            at_ms += rng.uniform(300, 2000)
            run.emit(at_ms, "ra_start", ue)
    if run.traced("l2"):
        run.emit(at_ms + 2, "rar", ue)
    at_ms += rng.uniform(3, 112)
    run.emit(at_ms, "ra_done", ue, n=preambles)
    ue.done["random_access"] = at_ms
    return at_ms


def _connection(run: Run, ue: Ue, at_ms: float, troubles: Troubles) -> float | None:
    rng = run.rng
    if run.traced("l3"):
        run.emit(at_ms - 1, "setup", ue)
        run.emit(at_ms, "setup_done", ue)
    trouble = troubles.get("rrc")
    if trouble:
        after = _endured(run, ue, at_ms + rng.uniform(20, 400), trouble)
        if after is None:
            return None
        at_ms = after + rng.uniform(50, 900)
        run.emit(at_ms, "ra_start", ue)
        at_ms += rng.uniform(3, 112)
        run.emit(at_ms, "ra_done", ue, n=1)
    run.emit(at_ms, f"connected{run.suffix}", ue)
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
            run.emit(at_ms, name, ue)
            at_ms += rng.uniform(4, 40)
    trouble = troubles.get("nas")
    if trouble:
        after = _endured(run, ue, at_ms, trouble)
        if after is None:
            return None
        at_ms = after
    # Registration takes about a second, and up to 16 seconds in a busy network.
    at_ms += min(16_000.0, 300 + rng.lognormvariate(6.6, 1.1))
    run.emit(at_ms, f"registered{run.suffix}", ue)
    ue.done["registered"] = at_ms
    return at_ms


def _session(run: Run, ue: Ue, at_ms: float, troubles: Troubles) -> float | None:
    rng = run.rng
    at_ms += rng.uniform(20, 400)
    if run.traced("l3"):
        run.emit(at_ms, "reconfig", ue)
    trouble = troubles.get("session")
    if trouble:
        after = _endured(run, ue, at_ms, trouble)
        if after is None:
            return None
        at_ms = after
    if run.traced("l3"):
        run.emit(at_ms + 8, "reconfig_done", ue)
    at_ms += rng.uniform(50, 3000)
    run.emit(at_ms, f"session{run.suffix}", ue)
    ue.done["session"] = at_ms
    if rng.random() < 0.4:
        run.emit(at_ms + rng.uniform(10, 400), f"bearer{run.suffix}", ue)
    if run.script.pppoe:
        run.emit(at_ms + rng.uniform(4000, 20_000), "pppoe", ue)
    return at_ms


HEALTHY = {
    "l1": ("ssb", "csi", "bler", "ul_bler", "ta", "srs", "in_sync"),
    "l2": ("bsr", "phr", "drx", "crnti", "bwp", "status", "end_marker"),
    "l3": ("reconfig", "reconfig_done", "paging", "service"),
}


def traffic(run: Run, ue: Ue, since_ms: float, until_ms: float, records: int) -> None:
    """Adds healthy records of the traced layers, spread over the time in which the UE has a session."""
    rng = run.rng
    for layer in run.script.trace:
        for _ in range(records):
            name = rng.choice(HEALTHY[layer])
            # Bandwidth parts and SDAP end markers exist in NR alone.
            if run.rat == "LTE" and name in ("bwp", "end_marker"):
                name = "status"
            run.emit(rng.uniform(since_ms, until_ms), name, ue)
    if run.script.carriers > 1 and "l2" in run.script.trace:
        run.emit(since_ms + rng.uniform(50, 900), "scell", ue, n=1)


def mobility(run: Run, ue: Ue, since_ms: float, until_ms: float, trouble: Trouble | None) -> None:
    """Adds handovers of one UE; a trouble strikes at the last of them.

    The order of a handover (TS 38.331, 5.3.5): measurement report, command, random access in the target cell. A cause of
    layer 3 strikes before the random access, a cause of a lower layer after it.
    """
    rng = run.rng
    times = sorted(rng.uniform(since_ms, until_ms) for _ in range(rng.randint(1, 3)))
    for i, reported in enumerate(times):
        at_ms = reported
        target = rng.choice([cell for cell in run.cells if cell != ue.cell])
        run.emit(at_ms, "report", ue, target=target)
        struck = trouble if i == len(times) - 1 else None
        # Without a measurement, or without an answer to it, there is no command.
        before_command = struck is not None and struck.cause.name in ("ho-no-command", "ho-measurement")
        if struck and before_command and _endured(run, ue, at_ms + 200, struck) is None:
            return
        run.emit(at_ms + 25, "sync_reconfig", ue, target=target)
        if struck and struck.cause.label == "L3" and not before_command:
            after = _endured(run, ue, at_ms + 60, struck)
            if after is None:
                return
            at_ms = after + 60
        run.emit(at_ms + 30, "ra_start", ue, trigger="Handover", cell=target)
        done = at_ms + 30 + rng.uniform(3, 112)
        run.emit(done, "ra_done", ue, n=1)
        run.emit(done, "handover", ue, target=target)
        ue.cell = target
        if struck and struck.cause.label != "L3" and _endured(run, ue, done + 20, struck) is None:
            return


def overcome(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Adds a mild trouble in the traffic of one UE, and the successful recovery by the procedures of its layer."""
    rng = run.rng
    at_ms = unfold(run, ue, at_ms, cause, severe=False)
    # Recovery is worded like the first steps of a failure: re-establishment, random access, T310.
    follows = rng.random()
    if any(step.name == "out_of_sync" for step in cause.steps):
        run.emit(at_ms + 5, "t310_start", ue)
        run.emit(at_ms + rng.uniform(50, 900), "t310_stop", ue)
    elif cause.label == "L2" and follows < 0.5:
        reason = {"RLC": "RLC maximum UL retransmissions reached", "PDCP": "Integrity failure"}.get(cause.family)
        if cause.family.startswith("scheduling"):
            run.emit(at_ms + 4, "ra_start", ue, trigger="SR MAX Exceeded")
            run.emit(at_ms + rng.uniform(7, 90), "ra_done", ue, n=1)
        elif reason:
            reestablish(run, ue, at_ms + rng.uniform(2, 6), reason)
    elif cause.family == "beam":
        run.emit(at_ms + rng.uniform(10, 60), "bfr_done", ue)
    elif follows < 0.3:
        reestablish(run, ue, at_ms + rng.uniform(2, 6), "Radio link failure")


def reestablish(run: Run, ue: Ue, at_ms: float, reason: str) -> None:
    """Adds a re-establishment that succeeds after about 30 ms."""
    run.emit(at_ms, "reest_start", ue, reason=reason)
    at_ms += run.rng.uniform(22, 45)
    run.emit(at_ms, "reest_done", ue)
    if run.traced("l2"):
        run.emit(at_ms + 2, "rlc_reset", ue)


def detach(run: Run, ue: Ue, at_ms: float) -> None:
    """Adds what a UE does at the end of a test; one that is out of service has nothing to leave."""
    rng = run.rng
    if "connected" not in ue.done or ue.left_ms is not None:
        return
    if "session" in ue.done and rng.random() < 0.5:
        run.emit(at_ms - 5, f"session_end{run.suffix}", ue)
    if run.script.pppoe and "session" in ue.done and rng.random() < 0.7:
        run.emit(at_ms - 9, "pppoe_end", ue)
    if "registered" in ue.done:
        run.emit(at_ms, f"deregistered{run.suffix}", ue)
    run.emit(at_ms + rng.uniform(2, 30), f"disconnected{run.suffix}", ue)
