"""A cause at a UE in, its records and what follows from them out: knock-on effects, loops, recovery or its absence."""

from collections.abc import Callable, Mapping
from typing import Final

from training.corpus.causes import Cause
from training.corpus.run import Radio, Run, Ue
from training.corpus.sections import NO_LOCK, NO_SYSTEM_INFORMATION

__all__ = ["break_down", "strike", "unfold"]

# Modules that assert, in the style of the tester's own; the texts are invented.
ASSERTS: Final = (
    (
        "NR_L1.DL_PHY.RX_MSG",
        "NR L1: PDSCH context still in use. Hwi: {hwi}, Lfn: {lfn}, Sfn: {sfn}",
        "nr_l1_app/code/dl_phy_context.c",
    ),
    (
        "NR_L1.UL_PHY.TX_MSG",
        "NR L1: PUSCH request after deadline. Hwi: {hwi}, Lfn: {lfn}, Sfn: {sfn}",
        "nr_l1_app/code/ul_phy_request.c",
    ),
    ("L1.FH.RX", "Front-haul buffer index out of range. Hwi: {hwi}, Index: {lfn}", "ru_app_l0/code/fh_receive.c"),
    ("L2.MAC.SCHED", "MAC message queue above limit. Queue: {hwi}, Depth: {lfn}", "mac_app_l2/code/mac_queue.c"),
)
TRANSMISSION_LIMITS: Final = (6, 7, 8, 10, 20)


def unfold(run: Run, ue: Ue, at_ms: float, cause: Cause, severe: bool) -> float:
    """The direct records of a cause; mild ones come once, seldom twice. Returns the time after the last."""
    rng = run.rng
    run.rooting = severe
    for step in cause.steps:
        count = rng.randint(step.low, step.high) if severe else min(step.low, rng.choice((1, 1, 1, 2)))
        for i in range(count):
            values = {"n": i + 1, **cause.values} if step.name not in _OWN_NUMBERS else dict(cause.values)
            run.say(at_ms, step.name, ue, **values)
            at_ms += rng.uniform(step.gap_low, step.gap_high)
    run.rooting = False
    return at_ms


# Messages whose {n} is a count of something else than attempts.
_OWN_NUMBERS: Final = frozenset(
    ("ru_late", "ru_early", "ru_sequence", "ru_prb", "lcid", "rohc", "discard", "pusch_dtx", "pusch_nack", "ring", "backoff")
)


def strike(run: Run, ue: Ue, since_ms: float, cause: Cause) -> None:
    """What the statistics show of the UE from now on."""
    rng, before = run.rng, ue.radio_at(since_ms)
    worse = {name: rng.uniform(*limits) for name, limits in cause.radio.items()}
    if "cqi" in worse:
        worse["cqi"] = round(worse["cqi"])
    ue.radio.append((since_ms, Radio(**{**vars(before), **worse})))
    ue.failed = True


def break_down(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """The UE fails for good: one of the consequences, drawn."""
    strike(run, ue, at_ms, cause)
    run.symptomatic = True
    CONSEQUENCES[run.rng.choice(cause.then)](run, ue, at_ms, cause)
    run.symptomatic = False


def _again(run: Run, ue: Ue, at_ms: float, cause: Cause) -> float:
    """The direct records once more, of a later attempt."""
    after = unfold(run, ue, at_ms, cause, severe=True)
    run.symptomatic = True
    return after


def _leave(run: Run, ue: Ue, at_ms: float, *, deregister: bool = False) -> None:
    if deregister:
        run.say(at_ms, f"deregistered{run.suffix}", ue)
    if "connected" in ue.done:
        run.say(at_ms + 1, f"disconnected{run.suffix}", ue)
    ue.left_ms = at_ms


def ra_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    limit = rng.choice(TRANSMISSION_LIMITS)
    for attempt in range(run.attempts(1, 4)):
        if attempt:
            at_ms += rng.uniform(900, 12_000)
            run.say(at_ms, "ra_start", ue)
            at_ms = _again(run, ue, at_ms + 5, cause)
        run.say(at_ms, "ra_error", ue, n=limit)
        at_ms += rng.uniform(100, 900)
        run.say(at_ms, f"failed{run.suffix}", ue)


def msg3_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    for attempt in range(run.attempts(1, 3)):
        if attempt:
            at_ms += rng.uniform(900, 12_000)
            run.say(at_ms, "ra_start", ue)
            at_ms = _again(run, ue, at_ms + 5, cause)
        for i in range(rng.randint(2, 5)):
            run.say(at_ms, "msg3", ue, n=i + 1)
            at_ms += rng.uniform(8, 30)
        run.say(at_ms, "contention", ue)
        run.say(at_ms + rng.uniform(100, 900), f"failed{run.suffix}", ue)


def no_connection(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    for attempt in range(run.attempts(1, 3)):
        if attempt:
            at_ms += rng.uniform(900, 9000)
            run.say(at_ms, "ra_start", ue)
            at_ms += rng.uniform(3, 112)
            run.say(at_ms, "ra_done", ue, n=1)
            at_ms = _again(run, ue, at_ms + 300, cause)
        run.say(at_ms, f"failed{run.suffix}", ue)
        at_ms += 10


def registration_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    for attempt in range(run.attempts(1, 4)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(2000, 12_000), cause)
        if not cause.steps:
            run.rooting = True
        run.say(at_ms + 2, f"not_registered{run.suffix}", ue, **{"nasreason": "Registration rejected", **cause.values})
        run.rooting = False
    _leave(run, ue, at_ms + rng.uniform(1, 60), deregister=True)


def leaves(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """After a reject the UE goes: the lower layers see it vanish."""
    rng = run.rng
    registration_fails(run, ue, at_ms, cause)
    at_ms = ue.left_ms or at_ms
    strike(run, ue, at_ms, _VANISHED)
    for name in ("pusch_dtx", "high_ul_bler", "out_of_sync"):
        for _ in range(rng.randint(1, 4)):
            at_ms += rng.uniform(20, 500)
            run.say(at_ms, name, ue)


_VANISHED = Cause("", "L3", "", "nas", (), (), {"ul_bler": (0.2, 0.4), "dl_bler": (0.1, 0.3), "rate": (0.0, 0.0)})


def session_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    for attempt in range(run.attempts(0, 2)):
        at_ms = _again(run, ue, at_ms + rng.uniform(1000, 9000) * (attempt + 1), cause)
    if rng.random() < 0.4:
        _leave(run, ue, at_ms + rng.uniform(200, 9000), deregister=rng.random() < 0.5)


def drop(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    at_ms += rng.uniform(10, 2000)
    _leave(run, ue, at_ms, deregister=rng.random() < 0.6)
    if rng.random() < 0.3:
        run.say(at_ms + rng.uniform(50, 900), "plmn_loss", ue)


def drop_reest(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    run.say(at_ms, "reest_start", ue, reason="Reconfiguration failure")
    run.say(at_ms + run.rng.uniform(200, 1000), "t301", ue)
    drop(run, ue, at_ms + 1000, cause)


def reest_refused(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    for _ in range(run.rng.randint(1, 3)):
        run.say(at_ms, "reest_start", ue, reason="Other failure")
        at_ms = _again(run, ue, at_ms + 20, cause)
    drop(run, ue, at_ms, cause)


def ho_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    run.say(at_ms, "reest_start", ue, reason="Handover failure")
    if rng.random() < 0.4:
        run.say(at_ms + rng.uniform(25, 90), "reest_done", ue)
        at_ms = _again(run, ue, at_ms + rng.uniform(2000, 9000), cause)
        run.say(at_ms, "reest_start", ue, reason="Handover failure")
    run.say(at_ms + rng.uniform(300, 900), "t301", ue)
    drop(run, ue, at_ms + 1000, cause)


def walks_out(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """No command to change the cell: the UE leaves its coverage, and layer 1 says so last."""
    rng = run.rng
    for name in ("rsrp_drop", "out_of_sync"):
        for i in range(rng.randint(1, 4)):
            at_ms += rng.uniform(50, 900)
            run.say(at_ms, name, ue, n=i + 1)
    rlf(run, ue, at_ms + 20, cause)


def rlf(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Radio link failure that is not recovered (TS 38.331, 5.3.10)."""
    rng = run.rng
    run.say(at_ms, "t310_start", ue)
    at_ms += rng.choice((200, 500, 1000, 2000))
    run.say(at_ms, "t310_expiry", ue)
    run.say(at_ms + 2, "reest_start", ue, reason="Radio link failure")
    run.say(at_ms + 12, f"selection{run.suffix}", ue)
    run.say(at_ms + 14, "ra_start", ue)
    at_ms += rng.uniform(500, 3000)
    run.say(at_ms, rng.choice(("t301", "t311")), ue)
    _leave(run, ue, at_ms + 3)
    if rng.random() < 0.4:
        run.say(at_ms + rng.uniform(50, 900), "plmn_loss", ue)


def rlf_loop(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Recovered again and again."""
    rng = run.rng
    for attempt in range(run.attempts(2, 4)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(2000, 15_000), cause)
        run.say(at_ms, "t310_start", ue)
        at_ms += rng.choice((200, 500, 1000))
        run.say(at_ms, "t310_expiry", ue)
        run.say(at_ms + 2, "reest_start", ue, reason="Radio link failure")
        run.say(at_ms + 10, "ra_start", ue)
        run.say(at_ms + 10 + rng.uniform(3, 112), "ra_done", ue)
        at_ms += rng.uniform(130, 200)
        run.say(at_ms, "reest_done", ue)


def reest_loop(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Re-established, and the same again; whatever the layer of the cause, RLC gives up first."""
    rng = run.rng
    bearer = rng.choice(("DRB Id: 1", "DRB Id: 1", "SRB Id: 1"))
    for attempt in range(run.attempts(3, 7)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(800, 9000), cause)
        if cause.name != "rlc-maximum":
            run.say(at_ms, "rlc_max", ue, bearer=bearer)
        run.say(at_ms + rng.uniform(2, 6), "reest_start", ue, reason="RLC maximum UL retransmissions reached")
        at_ms += rng.uniform(25, 45)
        run.say(at_ms, "reest_done", ue)


def reest_integrity(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    for attempt in range(run.attempts(2, 4)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(300, 6000), cause)
        run.say(at_ms + 3, "reest_start", ue, reason="Integrity failure")
        at_ms += rng.uniform(25, 45)
        run.say(at_ms, "reest_done", ue)
    if rng.random() < 0.5:
        _leave(run, ue, at_ms + 500)


def sr_loop(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    trigger = "SR MAX Exceeded" if cause.name != "sr-no-resource" else "SR NO Resource"
    for attempt in range(run.attempts(3, 8)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(500, 6000), cause)
        run.say(at_ms, "ra_start", ue, trigger=trigger)
        at_ms += rng.uniform(3, 112)
        run.say(at_ms, "ra_done", ue, n=1)


def slow(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Traffic goes on, badly."""
    for _ in range(run.rng.randint(0, 2)):
        at_ms = _again(run, ue, at_ms + run.rng.uniform(2000, 12_000), cause)


def slow_nack(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    for _ in range(run.rng.randint(2, 8)):
        at_ms += run.rng.uniform(20, 900)
        run.say(at_ms, "nack", ue)
    slow(run, ue, at_ms, cause)


def slow_rlc(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    slow_nack(run, ue, at_ms, cause)
    for _ in range(run.rng.randint(1, 4)):
        at_ms += run.rng.uniform(20, 900)
        run.say(at_ms, "poll", ue)
    if run.rng.random() < 0.6:
        run.say(at_ms + 40, "rlc_max", ue)
        run.say(at_ms + 45, "reest_start", ue, reason="RLC maximum UL retransmissions reached")
        run.say(at_ms + 76, "reest_done", ue)


def stall(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Nothing more arrives; the bearer stays."""
    slow(run, ue, at_ms, cause)


def bfr(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    for attempt in range(run.attempts(1, 3)):
        if attempt:
            at_ms = _again(run, ue, at_ms + rng.uniform(50, 900), cause)
        run.say(at_ms, "bfr_max", ue)
        run.say(at_ms + 3, "ra_start", ue, trigger="Connection Establish")
        at_ms += rng.uniform(40, 200)
        run.say(at_ms, "bfr_fail", ue)
    rlf(run, ue, at_ms, cause)


def accepted(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """A negative test whose reject does not come."""
    run.say(at_ms + 900, f"registered{run.suffix}", ue)
    ue.done["registered"] = at_ms + 900


def search_8030(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    _search(run, at_ms, cause, 8030, NO_SYSTEM_INFORMATION)


def search_15014(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    _search(run, at_ms, cause, 15014, f"{run.rat} {NO_LOCK}")


def _search(run: Run, at_ms: float, cause: Cause, code: int, text: str) -> None:
    """The script looks for its cell again and again; no Random Access can follow."""
    name, rng = run.cell_command, run.rng
    for _ in range(rng.randint(2, 4)):
        run.timeline.add(at_ms, f"{run.firmware.forward} mte {name} 0 {run.cells[0]} {run.fullfreq} [] [] [1]")
        at_ms += rng.uniform(3000, 12_000)
        answer = f"C: FORW 0x06 Failure MTE {name.upper()}: RETURN CODE:{code} FAILED"
        run.timeline.add(at_ms, answer, text, symptom=True, root=not cause.steps)
        at_ms += rng.uniform(500, 6000)


def set_up_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng, ok = run.rng, run.firmware.ok
    for _ in range(rng.randint(1, 3)):
        run.timeline.add(at_ms, "RBOT")
        run.timeline.add(at_ms + rng.uniform(900, 9000), f"C: RBOT 0x00 {ok}")
        run.timeline.add(at_ms + 9500, "I: REBOOT - The Test Mobile has rebooted. ")
        run.timeline.add(at_ms + 9900, "SCFG MTS_MODE")
        at_ms += rng.uniform(12_000, 30_000)
        run.timeline.add(at_ms, "C: SCFG 0x06 Failure - Master Initialise failed.", root=True, symptom=True)
        at_ms += rng.uniform(900, 4000)
    run.layers.add("L0_L1")


def licence_refused(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    rng = run.rng
    for _ in range(rng.randint(1, 3)):
        run.timeline.add(at_ms, f"{run.firmware.forward} mte Activate -1")
        at_ms += rng.uniform(5, 60)
        text = "C: FORW 0x04 Resource_Unavailable MTE ACTIVATE RETURN CODE:4 FAILED  - Not licensed for User Id in the group"
        run.timeline.add(at_ms, text, root=True, symptom=True)
        at_ms += rng.uniform(900, 9000)


def rda_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """The data server of the farm is away: UEs attach, and no session carries anything."""
    for i in range(run.rng.randint(1, 4)):
        run.say(at_ms + 900 * i, "pppoe_fail", ue, n=i + 1)


def crash(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Asserts, an incident, no stop section."""
    rng = run.rng
    for _ in range(rng.randint(1, 5)):
        run.timeline.add(at_ms, cass(run, rng.randrange(3)), root=not cause.steps, symptom=True)
        at_ms += rng.uniform(1, 400)
    for _ in range(rng.randint(1, 2)):
        module = rng.choice(
            ("pdsch_brp/sub/pre_processing/code/cb_context.cpp", "pusch_brp/code/tb_builder.cpp", "fh/code/window.cpp")
        )
        text = (
            f'I: ERNO 0x00000002 0x{rng.randrange(1 << 16):08x} 0x00000000 Assert Fail: "bContextReady" in '
            f"../nr_fw_app_l0/modules/{module} at line {rng.randint(80, 3000)}, "
            f"Lfn: {rng.randint(0, 1023)}, Sfn: {rng.randint(0, 1023)}"
        )
        run.timeline.add(at_ms, text, symptom=True)
        at_ms += rng.uniform(1, 90)
    run.warn(at_ms + 90, "Logging is being stopped automatically. Please wait for logging stopped message.", symptom=True)
    run.timeline.add(at_ms + 900, "I: REBOOT - The Test Mobile has rebooted. ", symptom=True)
    run.layers.add("L0_L1")
    run.crashed_ms = at_ms + 1000


def cass(run: Run, module: int) -> str:
    """An assert that the tester survives."""
    rng = run.rng
    name, text, path = ASSERTS[module]
    said = text.format(hwi=rng.randint(0, 1), lfn=rng.randint(0, 1023), sfn=rng.randint(0, 1023))
    return f'I: ERNO 0x00000000 CASS 0x00000008 {name}: "{said}" at line {rng.randint(80, 3000)} of ../{path}'


CONSEQUENCES: Final[Mapping[str, Callable[[Run, Ue, float, Cause], None]]] = {
    action.__name__: action
    for action in (
        ra_fails, msg3_fails, no_connection, registration_fails, leaves, session_fails, drop, drop_reest, reest_refused,
        ho_fails, walks_out, rlf, rlf_loop, reest_loop, reest_integrity, sr_loop, slow, slow_nack, slow_rlc, stall, bfr,
        accepted, search_8030, search_15014, set_up_fails, licence_refused, rda_fails, crash,
    )
}  # fmt: skip
