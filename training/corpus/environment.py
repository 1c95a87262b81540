"""Failures of the test environment itself: set-up, licence, data server, and crash of the tester."""

from typing import Final

from training.corpus.causes import Cause
from training.corpus.run import Run, Ue

__all__ = ["cass", "crash", "licence_refused", "rda_fails", "set_up_fails"]

# Modules, texts and files of asserts, in the style of the tester; the texts are invented.
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


def set_up_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """The tester reboots and does not start its mode, up to three times."""
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
    """The tester has no licence for the number of UEs, so the activation fails."""
    rng = run.rng
    for _ in range(rng.randint(1, 3)):
        run.timeline.add(at_ms, f"{run.firmware.forward} mte Activate -1")
        at_ms += rng.uniform(5, 60)
        text = "C: FORW 0x04 Resource_Unavailable MTE ACTIVATE RETURN CODE:4 FAILED  - Not licensed for User Id in the group"
        run.timeline.add(at_ms, text, root=True, symptom=True)
        at_ms += rng.uniform(900, 9000)


def rda_fails(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """The data server of the farm cannot be reached: UEs attach, but no session carries data."""
    for i in range(run.rng.randint(1, 4)):
        run.emit(at_ms + 900 * i, "pppoe_fail", ue, n=i + 1)


def crash(run: Run, ue: Ue, at_ms: float, cause: Cause) -> None:
    """Asserts, a fatal one, a reboot; the log has no stop section, since nothing is logged after a crash."""
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
    message = text.format(hwi=rng.randint(0, 1), lfn=rng.randint(0, 1023), sfn=rng.randint(0, 1023))
    return f'I: ERNO 0x00000000 CASS 0x00000008 {name}: "{message}" at line {rng.randint(80, 3000)} of ../{path}'
