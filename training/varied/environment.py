"""The test bed: records that runs of every label have, and faults of the test bed itself."""

from collections.abc import Callable
from typing import Final

from training.varied.run import Run
from training.varied.ue import Ue

__all__ = ["background", "crash", "licence_refused", "set_up_fails"]

# Modules of asserts: name, event of the text, file.
ASSERTS: Final = (
    ("NR_L1.DL_PHY.RX_MSG", "cass_dl", "nr_l1_app/code/dl_phy_context.c"),
    ("NR_L1.UL_PHY.TX_MSG", "cass_ul", "nr_l1_app/code/ul_phy_request.c"),
    ("L1.FH.RX", "cass_fh", "ru_app_l0/code/fh_receive.c"),
    ("L2.MAC.SCHED", "cass_mac", "mac_app_l2/code/mac_queue.c"),
)
FATAL: Final = ("pdsch_brp/sub/pre_processing/code/cb_context.cpp", "pusch_brp/code/tb_builder.cpp", "fh/code/window.cpp")
STOPPING: Final = "Logging is being stopped automatically. Please wait for logging stopped message."
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
    run.add(at_ms + 90, f"I: TMAE 0x1 Warning - {STOPPING}", fault=True)
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
    for add, share, most in KINDS:
        for number in range(rng.randint(1, most)) if rng.random() < share else ():
            add(run, ue, rng.uniform(run.begin + 500, max(run.visible, run.begin + 1000)), number)
    if rng.random() < 0.25:
        # When the cell is switched off, some UE notices.
        for number in range(rng.randint(1, 4)):
            run.say(run.end + 10 + number * 20, "out_of_sync", ue, n=number + 1)


def _warning(event: str) -> "Kind":
    return lambda run, ue, at_ms, number: run.note(at_ms, event, milestone=run.rng.choice(run.habits.script.milestones))


def _suppressed(run: Run, ue: Ue, at_ms: float, number: int) -> None:
    run.add(at_ms, f"I: ERNO 0x00000000 CASS 0x00000009 {run.rng.randint(2, 60)} repeated CAssert(s) suppressed")


def _data_server(run: Run, ue: Ue, at_ms: float, number: int) -> None:
    """The data server is reached at another attempt."""
    if run.habits.script.traffic != "none":
        run.say(run.begin + 800 * number + run.rng.uniform(0, 300), "rda_lost", ue, n=number + 1)


def _coverage_gap(run: Run, ue: Ue, at_ms: float, number: int) -> None:
    """An idle UE does not receive the network for some seconds."""
    if ue.connected(at_ms) and ue.connected(at_ms + 6000):
        run.say(at_ms, "plmn_loss", ue)
        run.say(at_ms + run.rng.uniform(800, 6000), "plmn_back", ue)


Kind = Callable[[Run, Ue, float, int], None]
# What is added, the share of the runs that have it, and how often they have it at most.
KINDS: Final[tuple[tuple[Kind, float, int], ...]] = (
    (_warning("warn_queue"), 0.12, 3),
    (_warning("warn_clock"), 0.1, 3),
    (_warning("warn_server"), 0.1, 3),
    (_warning("wait_late"), 0.06, 2),
    (_suppressed, 0.1, 1),
    (lambda run, ue, at_ms, number: _assert(run, at_ms, run.rng.randrange(4)), 0.1, 3),
    (lambda run, ue, at_ms, number: run.say(at_ms, "underflow"), 0.1, 1),
    (lambda run, ue, at_ms, number: run.say(at_ms, "drift", ue, drift=run.rng.randint(1, 6)), 0.1, 1),
    (lambda run, ue, at_ms, number: run.say(at_ms, "ru_late", late=run.rng.randint(1, 10), n=0), 0.12, 4),
    (_data_server, 0.1, 4),
    (_coverage_gap, 0.12, 1),
)
