"""The sections that do not show how a run ends: connection, radio, logging, cell and scenario; and the stop section.

Nothing here may depend on the label of a run, or a model could read the label from the set-up. corpus/audit.py checks this.
"""

import random
from collections.abc import Sequence

from training.corpus.run import Run

__all__ = ["NO_LOCK", "NO_SYSTEM_INFORMATION", "set_up", "stop"]

# Shares of runs, whatever their label, whose first cell search fails and whose set-up has to be repeated.
FIRST_SEARCH_FAILS = 0.12
SECOND_SETUP = 0.06

NO_SYSTEM_INFORMATION = "RRC: System Information acquisition failed"
NO_LOCK = "L1: Cell Search FreqLockInd not received, time-out in waiting for Cell Frame Boundary detection"

SETUP_NAMES = (
    "L1_CFO_TRACKING", "L1_TIMING_WINDOW", "L1_AGC_MODE", "L1_PBCH_RETRY", "L1_CSI_PERIOD", "L1_BEAM_SWEEP", "L1_RX_ANT",
    "L1_TX_ANT", "L1_SRS_COMB", "L1_MEAS_GAP", "L2_MAC_HARQ_PROC", "L2_MAC_SR_MODE", "L2_MAC_BSR_RETX", "L2_MAC_PHR_PERIOD",
    "L2_RLC_POLL_PDU", "L2_RLC_MAX_RETX", "L2_RLC_STATUS_PROHIBIT", "L2_PDCP_DISCARD_TIMER", "L2_PDCP_T_REORDERING",
    "L2_PDCP_INTEGRITY_CHECK", "L2_SDAP_MODE", "L2_DRX_ENABLE", "L3_RRC_T300", "L3_RRC_T310", "L3_RRC_N310", "L3_RRC_T311",
    "L3_RRC_REJECT_WAIT", "L3_RRC_FAILURE_REPORT", "L3_NAS_T3510", "L3_NAS_T3511", "L3_NAS_AUTH_MODE", "L3_NAS_RETRY_LIMIT",
    "L3_UE_CAPABILITY_SET", "DE_QUEUE_DEPTH", "DE_PPPOE_RETRY", "DE_RDA_TIMEOUT", "SYS_ASSERT_LEVEL", "SYS_ERROR_REPORT",
    "SYS_TRACE_MASK", "SYS_LOST_RECORD_LIMIT", "RU_RX_WINDOW_MIN", "RU_RX_WINDOW_MAX", "RU_LATE_LIMIT", "RU_COMPRESSION",
    "CELL_BARRED_IGNORE", "CELL_RESELECT_ENABLE", "HO_FAILURE_ACTION", "CA_SCELL_TIMEOUT", "VOICE_CODEC_RATE",
    "UL_POWER_CAP",
)  # fmt: skip
LOG_GROUPS = ("HLC", "L1_DL", "L1_UL", "MAC_RX", "MAC_TX", "RLC", "PDCP", "RRC", "NAS", "DE", "PROT_LOG")
TABLE_ITEMS = ("L1DLSTATS", "L1ULSTATS", "MACRXSTATS", "MACTXSTATS", "RLCRXSTATS", "RLCTXSTATS", "PDCPRXSTATS", "DESTATS")


def set_up(run: Run) -> None:
    """Adds all records up to the scenario and leaves the clock where the traffic begins."""
    _connection(run)
    _radio(run)
    _logging(run)
    _cell(run)
    _scenario(run)


def stop(run: Run) -> None:
    """Adds the stop section; some releases mark the tester's own records in it."""
    rng, mark, ok = run.rng, run.firmware.stop_mark, run.firmware.ok
    run.timeline.add(run.now, f"{run.firmware.forward} mte MtsClearMts", section="stop")
    run.timeline.add(run.now + rng.uniform(2, 50), f"C: FORW 0x00 {ok} MTE MTSCLEARMTS: RETURN CODE:0 SUCCEEDED")
    run.emit(run.now + rng.uniform(60, 400), "cleared")
    run.now += 500
    run.forward("DeConfigRdaStopTestCase")
    run.emit(run.now, "rda_stop", n=1)
    run.now += 40
    run.command("#$$STOP_LOGGING", "I: TMAE 0x0 Information - Logging stopped.")
    for command in ("#$$CONVERT_TO_TEXT", "#$$DISCONNECT"):
        run.timeline.add(run.now, f"{mark}{command}", kept=True)
        run.now += rng.uniform(20, 900)


def _connection(run: Run) -> None:
    ok, rng = run.firmware.ok, run.rng
    run.command("#$$CONNECT", "C: CONNECT 0x00 ok", section="connection")
    run.command(f"#$$PORT 127.0.0.1 {rng.randint(4000, 4010)} {rng.randint(4020, 4030)}")
    run.command("GSTS", f"C: GSTS 0x00 {ok} Reset")
    run.command("GVER", f"C: GVER 0x00 {ok} {run.firmware.name}")
    run.command("ABOT 0 0 0", f"C: ABOT 0x00 {ok} 0x0000001e", low=100, high=2000)
    run.command("RSET", f"C: RSET 0x00 {ok}")


def _radio(run: Run) -> None:
    ok, rng = run.firmware.ok, run.rng
    run.command("MULT STANDALONE", f"C: MULT 0x00 {ok}", section="radio")
    for command in _any_order(
        run, (f"SCXT 0 {run.rat}", f"SELR 0 FES-0 ORU1-P1 1 ORAN {run.ru}", f"CFGR 0 SCS {rng.randint(0, 1)} 1")
    ):
        run.command(command, f"C: {command.split()[0]} 0x00 {ok}")
    run.command(f"CONF ORU ORU1 MtuOverride {rng.choice((1500, 9000, 9216))}", f"C: CONF 0x00 {ok}")
    # A set-up that fails once is not a fault; tester-set-up fails several times.
    if rng.random() < SECOND_SETUP:
        run.command("SCFG MTS_MODE", "C: SCFG 0x06 Failure - Master Initialise failed.", low=1000, high=9000)
        run.command("RBOT", f"C: RBOT 0x00 {ok}", "I: REBOOT - The Test Mobile has rebooted. ", low=2000, high=9000)
    run.command("SCFG MTS_MODE", f"C: SCFG 0x00 {ok} SWL", low=1000, high=32_000)
    run.command("STRT", f"C: STRT 0x00 {ok}", low=100, high=4000)
    run.emit(run.now, "uplane")
    run.now += rng.uniform(10, 500)


def _logging(run: Run) -> None:
    rng, script = run.rng, run.script
    # What belongs to the script is drawn from its own source, and is the same in each of its runs.
    own = random.Random(script.order)
    run.command(f"#$$LC_GRP {own.choice(LOG_GROUPS)} ON", section="logging")
    for group in own.sample(LOG_GROUPS, own.randint(3, 8)):
        run.command(f"#$$LC_CAT {group} {rng.choice(('ON', 'OFF'))}")
    run.command("#$$LC_END")
    run.command("#$$START_LOGGING", "I: TMAE 0x0 Information - Logging started.")
    names = [
        f"{own.choice(SETUP_NAMES)}_{own.randint(0, 3)}" if own.random() < 0.3 else own.choice(SETUP_NAMES)
        for _ in range(script.parameters)
    ]
    for name in names:
        run.command(
            f"SETP {name} {rng.choice((0, 1, 2, 4, 8, 16, 100, 255, 1000, 65535))}", f"C: SETP 0x00 {run.firmware.ok}"
        )
    for _ in range(own.randint(5, 20)):
        item = f"{own.choice(TABLE_ITEMS)}_{own.randint(0, 15)}"
        run.command(f"SDLI {item} 0x{rng.randrange(1 << 32):08x} x14", f"C: SDLI 0x00 {run.firmware.ok}")


def _cell(run: Run) -> None:
    rng, name = run.rng, run.cell_command
    for context, cell in enumerate(run.cells):
        optional = "[] [] [] [] [] [1] [] [] [2 2] [] [] [] [0] [] []"
        words = f"{name} {context} {cell} {run.fullfreq} {rng.choice((20, 40, 100))} {optional}"
        # The same return codes as those of the faults of the cell search, in which several searches fail.
        if context == 0 and rng.random() < FIRST_SEARCH_FAILS:
            code, reason = rng.choice(((8030, NO_SYSTEM_INFORMATION), (15014, f"{run.rat} {NO_LOCK}")))
            run.command(
                f"{run.firmware.forward} mte {words}",
                f"C: FORW 0x06 Failure MTE {name.upper()}: RETURN CODE:{code} FAILED",
                reason,
                low=1000,
                high=12_000,
                section="cell",
            )
            run.now += rng.uniform(1000, 5000)
        section = "cell" if not any(entry.section == "cell" for entry in run.timeline.entries) else ""
        begun = run.now
        answer = f"C: FORW 0x00 {run.firmware.ok} MTE {name.upper()}: RETURN CODE:0 SUCCEEDED"
        done = run.command(f"{run.firmware.forward} mte {words}", answer, low=1000, high=6000, section=section)
        if run.traced("l1"):
            run.emit(begun + 200, "pss", cell=cell)
            run.emit(begun + 500, "mib", cell=cell)
        run.emit(done - 30, "cell_info", cell=cell, rsrp=f"{rng.uniform(-90, -50):.1f}")
    calibrate = "NrPhyCalibrateUlPowerScaling" if run.rat == "NR" else "PhyCalibrateUlPowerOffset"
    run.forward(f"{calibrate} 0 {rng.randint(-20, 10)}", low=20, high=900)
    if run.traced("l1"):
        run.emit(run.now, "calibrated")
    run.now += 50


def _scenario(run: Run) -> None:
    rng, script, last = run.rng, run.script, len(run.ues) - 1
    own = random.Random(script.order + 1)
    group = f"1{{0-{last}}}" if last else "1{0}"
    run.timeline.add(run.now, f"WAIT {rng.randint(1, 5)}", section="scenario")
    run.now += 1000
    run.forward(f"MtsConfigEnb {len(run.cells)} {len(run.cells)}{{{','.join(map(str, run.cells))}}}")
    run.forward(f"MtsConfigUeGroup 0 0 {group}")
    middle = [
        f"UsimConfig 0 [00101{own.randint(10**9, 10**10 - 1)}+1 2] {own.choice(('MILENAGE', 'XOR', 'TUAK'))}",
        f"MtsConfigPath 0 {own.randint(1, 4)} [] {own.randint(0, 100)}",
        f"MtsConfigMobility 0 {'LINEAR' if script.mobile else 'STATIC'} {own.choice((3, 30, 120))}",
        f"RrcAptConfigUeCap 0 {own.randint(1, 15)} []",
        f"MtsConfigTrafficProfile {own.randint(0, 9)} {script.traffic.upper()} {own.choice((1, 10, 100, 900))} []",
        f"MtsConfigTraffic 0 {own.randint(0, 3)} [{own.randint(1, 60)}]",
    ]
    for words in _any_order(run, middle):
        run.forward(words)
    run.forward(f"MtsConfigScenario 0 {script.name} {script.cycles}")
    run.forward("DeConfigRdaStartTestCase")
    run.emit(run.now, "rda_start", n=1)
    run.now += 50


def _any_order(run: Run, commands: Sequence[str]) -> list[str]:
    """Commands in an order that is drawn once for a script and is the same in each of its runs."""
    return random.Random(run.script.order + 2).sample(list(commands), len(commands))
