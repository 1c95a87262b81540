"""The test bed: records that runs of every label have, and faults of the test bed itself."""

from typing import Final

from training.varied.run import Run

__all__ = ["background", "crash", "licence_refused", "set_up_fails"]

# Modules of asserts: name, event of the text, file.
ASSERTS: Final = (
    ("NR_L1.DL_PHY.RX_MSG", "cass_dl", "nr_l1_app/code/dl_phy_context.c"),
    ("NR_L1.UL_PHY.TX_MSG", "cass_ul", "nr_l1_app/code/ul_phy_request.c"),
    ("L1.FH.RX", "cass_fh", "ru_app_l0/code/fh_receive.c"),
    ("L2.MAC.SCHED", "cass_mac", "mac_app_l2/code/mac_queue.c"),
)
FATAL: Final = ("pdsch_brp/sub/pre_processing/code/cb_context.cpp", "pusch_brp/code/tb_builder.cpp", "fh/code/window.cpp")
CONDITIONS: Final = ("bContextReady", "pBuffer != NULL", "symbolCount <= limit", "bSlotOpen")


def _assert(run: Run, at_ms: float, module: int) -> None:
    name, event, path = ASSERTS[module]
    text = f'I: ERNO 0x00000000 CASS 0x00000008 {name}: "{{}}" at line {run.rng.randint(80, 3000)} of ../{path}'
    run.note(at_ms, event, text, fault=bool(run.failing))


def crash(run: Run, at_ms: float, *, fatal: bool) -> float:
    """Asserts of layer 1. A fatal one reboots the tester, and nothing is logged after it."""
    rng = run.rng
    before, run.failing = run.failing, "root" if fatal else ""
    for _ in range(rng.randint(1, 4)):
        _assert(run, at_ms, rng.randrange(3))
        at_ms += rng.uniform(1, 400)
    run.failing = before
    run.layers.add("L0_L1")
    if not fatal:
        return at_ms
    for _ in range(rng.randint(1, 2)):
        text = (
            f'I: ERNO 0x00000002 0x{rng.randrange(1 << 16):08x} 0x00000000 Assert Fail: "{rng.choice(CONDITIONS)}" in '
            f"../nr_fw_app_l0/modules/{rng.choice(FATAL)} at line {rng.randint(80, 3000)}, Lfn: {rng.randint(0, 1023)}, "
            f"Sfn: {rng.randint(0, 1023)}"
        )
        run.add(at_ms, text, fault=True, kept=True)
        at_ms += rng.uniform(1, 90)
    run.add(at_ms + 90, "I: TMAE 0x1 Warning - Logging is being stopped automatically. Please wait for logging stopped message.", fault=True)  # fmt: skip
    run.add(at_ms + 900, "I: REBOOT - The Test Mobile has rebooted. ", fault=True)
    run.crashed_ms = at_ms + 1000
    return at_ms + 1000


def set_up_fails(run: Run) -> None:
    """The tester reboots and does not start its mode, several times; the script goes on without it."""
    rng, ok = run.rng, run.habits.ok
    for _ in range(rng.randint(2, 4)):
        run.command("RBOT", f"C: RBOT 0x00 {ok}", low=900, high=9000)
        run.add(run.now, "I: REBOOT - The Test Mobile has rebooted. ")
        run.failing = "root"
        at_ms = run.now + rng.uniform(9000, 20_000)
        if run.habits.echo:
            run.add(run.now + 500, "SCFG MTS_MODE")
        run.add(at_ms, "C: SCFG 0x06 Failure - Master Initialise failed.", fault=True)
        run.failing = ""
        run.now = at_ms + rng.uniform(900, 4000)


def licence_refused(run: Run) -> None:
    """The tester has no licence for what the script activates, as often as it tries."""
    for _ in range(run.rng.randint(1, 3)):
        run.failing = "root"
        if run.habits.echo:
            run.add(run.now, f"{run.habits.forward} Activate -1")
        text = "C: FORW 0x04 Resource_Unavailable MTE ACTIVATE RETURN CODE:4 FAILED  - Not licensed for User Id in the group"
        run.add(run.now + run.rng.uniform(5, 60), text, fault=True)
        run.failing = ""
        run.now += run.rng.uniform(900, 9000)


def background(run: Run) -> None:
    """Adds records of the test bed that runs of every label have, each kind with a probability of its own."""
    rng = run.rng
    ue = rng.choice(run.ues)

    def somewhen() -> float:
        return rng.uniform(run.begin + 500, max(run.visible, run.begin + 1000))

    for event, share in (("warn_queue", 0.12), ("warn_clock", 0.1), ("warn_server", 0.1), ("wait_late", 0.06)):
        for _ in range(rng.randint(1, 3)) if rng.random() < share else ():
            run.note(somewhen(), event, milestone=rng.choice(run.habits.script.milestones))
    if rng.random() < 0.1:
        run.add(somewhen(), f"I: ERNO 0x00000000 CASS 0x00000009 {rng.randint(2, 60)} repeated CAssert(s) suppressed")
    for _ in range(rng.randint(1, 3)) if rng.random() < 0.1 else ():
        _assert(run, somewhen(), rng.randrange(4))
    if rng.random() < 0.1:
        run.say(somewhen(), "underflow")
    if rng.random() < 0.1:
        run.say(somewhen(), "drift", ue, drift=rng.randint(1, 6))
    for _ in range(rng.randint(1, 4)) if rng.random() < 0.12 else ():
        run.say(somewhen(), "ru_late", late=rng.randint(1, 10), n=0)
    for number in range(rng.randint(1, 4)) if run.habits.script.traffic != "none" and rng.random() < 0.1 else ():
        run.say(run.begin + 800 * number + rng.uniform(0, 300), "rda_lost", ue, n=number + 1)
    if rng.random() < 0.08 and ue.connected(run.visible):
        # An idle UE does not receive the network for some seconds.
        at_ms = rng.uniform(run.begin + (run.visible - run.begin) * 0.5, run.visible - 7000)
        run.say(at_ms, "plmn_loss", ue)
        run.say(at_ms + rng.uniform(800, 6000), "plmn_back", ue)
    if rng.random() < 0.25:
        # When the cell is switched off, some UE notices.
        for number in range(rng.randint(1, 4)):
            run.say(run.end + 10 + number * 20, "out_of_sync", ue, n=number + 1)
