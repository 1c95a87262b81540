"""Adds a cause at a UE and what follows from it: effects on other layers, loops of retries, failed recovery.

The consequences are those that 3GPP procedures force. After the configured number of retransmissions RLC reports a radio
link failure, RRC tries to re-establish the connection, and MAC starts a random access, whatever the layer of the cause. A
model therefore cannot take the layer of the most frequent abnormal records for the label.
"""

from collections.abc import Callable, Mapping
from typing import Final

from training.corpus.causes import Cause
from training.corpus.environment import crash, licence_refused, rda_fails, set_up_fails
from training.corpus.run import Radio, Run, Ue
from training.corpus.sections import NO_LOCK, NO_SYSTEM_INFORMATION

__all__ = ["CONSEQUENCES", "break_down", "strike", "unfold"]

# Preambles after which MAC reports a random access problem (preambleTransMax, TS 38.321, 5.1).
TRANSMISSION_LIMITS: Final = (6, 7, 8, 10, 20)


def unfold(run: Run, ue: Ue, at_ms: float, cause: Cause, severe: bool) -> float:
    """Adds the direct records of a cause, of a mild one once or twice each; returns the time after the last."""
    rng = run.rng
    run.rooting = severe
    for step in cause.steps:
        # A mild cause shows the same records as a severe one, only fewer of them: neither a word nor a wording gives it
        # away.
        count = rng.randint(step.low, step.high) if severe else min(step.low, rng.choice((1, 1, 1, 2)))
        for i in range(count):
            # Attempts are counted up; other numbers are drawn for each record.
            values = {"n": i + 1, **cause.values} if step.name not in _OWN_NUMBERS else dict(cause.values)
            run.emit(at_ms, step.name, ue, **values)
            at_ms += rng.uniform(step.gap_low, step.gap_high)
    run.rooting = False
    return at_ms


# Messages whose {n} counts something else than attempts.
_OWN_NUMBERS: Final = frozenset(
    ("ru_late", "ru_early", "ru_sequence", "ru_prb", "lcid", "rohc", "discard", "pusch_dtx", "pusch_nack", "ring", "backoff")
)


def strike(run: Run, ue: Ue, since_ms: float, cause: Cause) -> None:
    """Marks the UE as failed; its statistics show the fault from now on."""
    # What the cause does not change stays as it was.
    rng, before = run.rng, ue.radio_at(since_ms)
    worse = {name: rng.uniform(*limits) for name, limits in cause.radio.items()}
    if "cqi" in worse:
        # Channel quality is an index of a table (TS 38.214, 5.2.2.1).
        worse["cqi"] = round(worse["cqi"])
    ue.radio.append((since_ms, Radio(**{**vars(before), **worse})))
    ue.failed = True


def break_down(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """The UE fails for good: adds one of the consequences of the cause, which is drawn."""
    strike(run, ue, at_ms, cause)
    run.symptomatic = True
    # Records from here on are symptoms: the audit measures how far they are from the cause.
    CONSEQUENCES[run.rng.choice(cause.then)](run, ue, at_ms, cause)
    run.symptomatic = False


def _again(run: Run, ue: Ue, at_ms: float, cause: Cause) -> float:
    """Adds the direct records of a later attempt and returns the time after the last."""
    after = unfold(run, ue, at_ms, cause, severe=True)
    run.symptomatic = True
    return after


def _leave(run: Run, ue: Ue, at_ms: float, *, deregister: bool = False) -> None:
    """The UE leaves the network."""
    if deregister:
        run.emit(at_ms, f"deregistered{run.suffix}", ue)
    if "connected" in ue.done:
        run.emit(at_ms + 1, f"disconnected{run.suffix}", ue)
    ue.left_ms = at_ms


def ra_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Random access fails after the highest number of preambles, and so do later attempts."""
    rng = run.rng
    # Each attempt ends with the random access problem that MAC reports to the upper layers (TS 38.321, 5.1.4), after which
    # the UE waits and tries again.
    limit = rng.choice(TRANSMISSION_LIMITS)
    for attempt in range(run.attempts(1, 4)):
        if attempt:
            at_ms += rng.uniform(900, 12_000)
            run.emit(at_ms, "ra_start", ue)
            at_ms = _again(run, ue, at_ms + 5, cause)
        run.emit(at_ms, "ra_error", ue, n=limit)
        at_ms += rng.uniform(100, 900)
        run.emit(at_ms, f"failed{run.suffix}", ue)


def msg3_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Random access fails at contention resolution: message 3 is repeated without an answer."""
    rng = run.rng
    for attempt in range(run.attempts(1, 3)):
        if attempt:
            at_ms += rng.uniform(900, 12_000)
            run.emit(at_ms, "ra_start", ue)
            at_ms = _again(run, ue, at_ms + 5, cause)
        for i in range(rng.randint(2, 5)):
            # HARQ retransmissions of message 3, then the contention resolution timer (TS 38.321, 5.1.5).
            run.emit(at_ms, "msg3", ue, n=i + 1)
            at_ms += rng.uniform(8, 30)
        run.emit(at_ms, "contention", ue)
        run.emit(at_ms + rng.uniform(100, 900), f"failed{run.suffix}", ue)


def no_connection(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Random access succeeds, but RRC does not set up the connection."""
    rng = run.rng
    for attempt in range(run.attempts(1, 3)):
        if attempt:
            at_ms += rng.uniform(900, 9000)
            run.emit(at_ms, "ra_start", ue)
            at_ms += rng.uniform(3, 112)
            run.emit(at_ms, "ra_done", ue, n=1)
            at_ms = _again(run, ue, at_ms + 300, cause)
        run.emit(at_ms, f"failed{run.suffix}", ue)
        at_ms += 10


def registration_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """The network does not register the UE; after some attempts it deregisters."""
    rng = run.rng
    for attempt in range(run.attempts(1, 4)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(2000, 12_000), cause)
        # If the cause has no record of its own, the failed registration is the direct record.
        if not cause.steps:
            run.rooting = True
        run.emit(at_ms + 2, f"not_registered{run.suffix}", ue, **{"nasreason": "Registration rejected", **cause.values})
        run.rooting = False
    _leave(run, ue, at_ms + rng.uniform(1, 60), deregister=True)


def leaves(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """After a reject the UE leaves, and the lower layers see it vanish: their records outnumber those of the cause."""
    rng = run.rng
    registration_fails(run, ue, at_ms, cause)
    at_ms = ue.left_ms or at_ms
    # The network still schedules the UE for a while: layer 1 reports missing transmissions although the cause is a reject
    # of layer 3.
    strike(run, ue, at_ms, _VANISHED)
    for name in ("pusch_dtx", "high_ul_bler", "out_of_sync"):
        for _ in range(rng.randint(1, 4)):
            at_ms += rng.uniform(20, 500)
            run.emit(at_ms, name, ue)


_VANISHED = Cause("", "L3", "", "nas", (), (), {"ul_bler": (0.2, 0.4), "dl_bler": (0.1, 0.3), "rate": (0.0, 0.0)})


def session_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """The session is not established; the UE tries again, and may leave."""
    rng = run.rng
    for attempt in range(run.attempts(0, 2)):
        at_ms = _again(run, ue, at_ms + rng.uniform(1000, 9000) * (attempt + 1), cause)
    if rng.random() < 0.4:
        _leave(run, ue, at_ms + rng.uniform(200, 9000), deregister=rng.random() < 0.5)


def drop(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """The connection is dropped and the UE leaves."""
    rng = run.rng
    at_ms += rng.uniform(10, 2000)
    _leave(run, ue, at_ms, deregister=rng.random() < 0.6)
    if rng.random() < 0.3:
        run.emit(at_ms + rng.uniform(50, 900), "plmn_loss", ue)


def drop_reest(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Re-establishment after a failed reconfiguration times out (T301), and the UE leaves."""
    run.emit(at_ms, "reest_start", ue, reason="Reconfiguration failure")
    run.emit(at_ms + run.rng.uniform(200, 1000), "t301", ue)
    drop(run, ue, at_ms + 1000, cause)


def reest_refused(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """The network rejects the re-establishment, and the UE leaves."""
    for _ in range(run.rng.randint(1, 3)):
        run.emit(at_ms, "reest_start", ue, reason="Other failure")
        at_ms = _again(run, ue, at_ms + 20, cause)
    drop(run, ue, at_ms, cause)


def ho_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """After a failed handover the UE tries to re-establish, in vain."""
    rng = run.rng
    run.emit(at_ms, "reest_start", ue, reason="Handover failure")
    if rng.random() < 0.4:
        run.emit(at_ms + rng.uniform(25, 90), "reest_done", ue)
        at_ms = _again(run, ue, at_ms + rng.uniform(2000, 9000), cause)
        run.emit(at_ms, "reest_start", ue, reason="Handover failure")
    run.emit(at_ms + rng.uniform(300, 900), "t301", ue)
    drop(run, ue, at_ms + 1000, cause)


def walks_out(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Without a handover command the UE leaves the coverage of its cell; the last records are those of layer 1."""
    rng = run.rng
    for name in ("rsrp_drop", "out_of_sync"):
        for i in range(rng.randint(1, 4)):
            at_ms += rng.uniform(50, 900)
            run.emit(at_ms, name, ue, n=i + 1)
    rlf(run, ue, at_ms + 20, cause)


def rlf(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """A radio link failure without recovery: T310 expires, and re-establishment fails (TS 38.331, 5.3.10 and 5.3.7)."""
    rng = run.rng
    run.emit(at_ms, "t310_start", ue)
    # Values of T310 (TS 38.331, 6.3.2).
    at_ms += rng.choice((200, 500, 1000, 2000))
    run.emit(at_ms, "t310_expiry", ue)
    run.emit(at_ms + 2, "reest_start", ue, reason="Radio link failure")
    run.emit(at_ms + 12, f"selection{run.suffix}", ue)
    run.emit(at_ms + 14, "ra_start", ue)
    at_ms += rng.uniform(500, 3000)
    # T311: no cell was selected in time. T301: the network did not answer the request.
    run.emit(at_ms, rng.choice(("t301", "t311")), ue)
    _leave(run, ue, at_ms + 3)
    if rng.random() < 0.4:
        run.emit(at_ms + rng.uniform(50, 900), "plmn_loss", ue)


def rlf_loop(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """A radio link failure that is recovered, again and again."""
    rng = run.rng
    for attempt in range(run.attempts(2, 4)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(2000, 15_000), cause)
        run.emit(at_ms, "t310_start", ue)
        at_ms += rng.choice((200, 500, 1000))
        run.emit(at_ms, "t310_expiry", ue)
        run.emit(at_ms + 2, "reest_start", ue, reason="Radio link failure")
        run.emit(at_ms + 10, "ra_start", ue)
        run.emit(at_ms + 10 + rng.uniform(3, 112), "ra_done", ue)
        at_ms += rng.uniform(130, 200)
        run.emit(at_ms, "reest_done", ue)


def reest_loop(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Re-established, again and again. Whatever the layer of the cause, RLC gives up first (TS 38.322, 5.3.2)."""
    rng = run.rng
    # Any bearer may report it, so the bearer does not give the layer away.
    bearer = rng.choice(("DRB Id: 1", "DRB Id: 1", "SRB Id: 1"))
    for attempt in range(run.attempts(3, 7)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(800, 9000), cause)
        if cause.name != "rlc-maximum":
            run.emit(at_ms, "rlc_max", ue, bearer=bearer)
        run.emit(at_ms + rng.uniform(2, 6), "reest_start", ue, reason="RLC maximum UL retransmissions reached")
        at_ms += rng.uniform(25, 45)
        run.emit(at_ms, "reest_done", ue)


def reest_integrity(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Re-established after an integrity failure (TS 38.331, 5.3.5.8), again and again."""
    rng = run.rng
    for attempt in range(run.attempts(2, 4)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(300, 6000), cause)
        run.emit(at_ms + 3, "reest_start", ue, reason="Integrity failure")
        at_ms += rng.uniform(25, 45)
        run.emit(at_ms, "reest_done", ue)
    if rng.random() < 0.5:
        _leave(run, ue, at_ms + 500)


def sr_loop(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """After unanswered scheduling requests MAC starts a random access (TS 38.321, 5.4.4), again and again."""
    rng = run.rng
    # The trigger is worded by the tester; without a resource for scheduling requests MAC starts a random access at once.
    trigger = "SR MAX Exceeded" if cause.name != "sr-no-resource" else "SR NO Resource"
    for attempt in range(run.attempts(3, 8)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(500, 6000), cause)
        run.emit(at_ms, "ra_start", ue, trigger=trigger)
        at_ms += rng.uniform(3, 112)
        run.emit(at_ms, "ra_done", ue, n=1)


def slow(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Traffic continues at a low rate."""
    for _ in range(run.rng.randint(0, 2)):
        at_ms = _again(run, ue, at_ms + run.rng.uniform(2000, 12_000), cause)


def slow_nack(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Traffic continues at a low rate, with negative acknowledgements of RLC."""
    for _ in range(run.rng.randint(2, 8)):
        at_ms += run.rng.uniform(20, 900)
        run.emit(at_ms, "nack", ue)
    slow(run, ue, at_ms, cause)


def slow_rlc(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """As `slow_nack`, with expired polls; often RLC gives up and the connection is re-established."""
    slow_nack(run, ue, at_ms, cause)
    for _ in range(run.rng.randint(1, 4)):
        at_ms += run.rng.uniform(20, 900)
        run.emit(at_ms, "poll", ue)
    if run.rng.random() < 0.6:
        run.emit(at_ms + 40, "rlc_max", ue)
        run.emit(at_ms + 45, "reest_start", ue, reason="RLC maximum UL retransmissions reached")
        run.emit(at_ms + 76, "reest_done", ue)


def stall(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """No more data arrives, and the bearer stays."""
    slow(run, ue, at_ms, cause)


def bfr(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Beam failure recovery fails (TS 38.321, 5.17), which ends in a radio link failure."""
    rng = run.rng
    for attempt in range(run.attempts(1, 3)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(50, 900), cause)
        run.emit(at_ms, "bfr_max", ue)
        run.emit(at_ms + 3, "ra_start", ue, trigger="Connection Establish")
        at_ms += rng.uniform(40, 200)
        run.emit(at_ms, "bfr_fail", ue)
    rlf(run, ue, at_ms, cause)


def accepted(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """In a negative test, the expected reject does not come."""
    run.emit(at_ms + 900, f"registered{run.suffix}", ue)
    ue.done["registered"] = at_ms + 900


def search_8030(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Cell search fails because the system information cannot be read."""
    _search(run, at_ms, cause, 8030, NO_SYSTEM_INFORMATION)


def search_15014(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Cell search fails because the tester does not lock on the frequency."""
    _search(run, at_ms, cause, 15014, f"{run.rat} {NO_LOCK}")


def _search(run: Run, at_ms: float, cause: Cause, code: int, text: str) -> None:
    """The script searches for its cell again and again; without a cell there is no random access."""
    name, rng = run.cell_command, run.rng
    for _ in range(rng.randint(2, 4)):
        run.timeline.add(at_ms, f"{run.firmware.forward} mte {name} 0 {run.cells[0]} {run.fullfreq} [] [] [1]")
        at_ms += rng.uniform(3000, 12_000)
        answer = f"C: FORW 0x06 Failure MTE {name.upper()}: RETURN CODE:{code} FAILED"
        run.timeline.add(at_ms, answer, text, symptom=True, root=not cause.steps)
        at_ms += rng.uniform(500, 6000)


CONSEQUENCES: Final[Mapping[str, Callable[[Run, Ue, float, Cause], None]]] = {
    action.__name__: action
    for action in (
        ra_fails, msg3_fails, no_connection, registration_fails, leaves, session_fails, drop, drop_reest, reest_refused,
        ho_fails, walks_out, rlf, rlf_loop, reest_loop, reest_integrity, sr_loop, slow, slow_nack, slow_rlc, stall, bfr,
        accepted, search_8030, search_15014, set_up_fails, licence_refused, rda_fails, crash,
    )
}  # fmt: skip
