"""The commands of a run: connection, radio, logging, cells, scenario; and the end of the script.

But for the cell search of a failing run nothing here knows the label; records that certainly do not are marked `set_up`,
and the audit checks that labels cannot be told from them.
"""

import random
from typing import Final

from training.varied.campaigns import CAMPAIGNS
from training.varied.run import Run
from training.varied.vocabularies import parameter

__all__ = ["NO_LOCK", "NO_SYSTEM_INFORMATION", "campaign_records", "cell_search", "set_up", "stop"]

NO_SYSTEM_INFORMATION: Final = "RRC: System Information acquisition failed"
NO_LOCK: Final = "L1: Cell Search FreqLockInd not received, time-out in waiting for Cell Frame Boundary detection"
# Parameters are invented, as their names are.
PARAMETERS: Final = (
    "L1_CFO_TRACKING", "L1_TIMING_WINDOW", "L1_AGC_MODE", "L1_PBCH_RETRY", "L1_CSI_PERIOD", "L1_BEAM_SWEEP", "L1_RX_ANT",
    "L1_SRS_COMB", "L1_MEAS_GAP", "L2_HARQ_PROC", "L2_SR_MODE", "L2_BSR_RETX", "L2_PHR_PERIOD", "L2_RLC_POLL_PDU",
    "L2_RLC_MAX_RETX", "L2_PDCP_DISCARD_TIMER", "L2_PDCP_T_REORDERING", "L2_INTEGRITY_CHECK", "L2_DRX_ENABLE", "L3_T300",
    "L3_T310", "L3_N310", "L3_T311", "L3_REJECT_WAIT", "L3_FAILURE_REPORT", "L3_T3510", "L3_AUTH_MODE", "L3_RETRY_LIMIT",
    "L3_CAPABILITY_SET", "DE_QUEUE_DEPTH", "DE_PPPOE_RETRY", "DE_RDA_TIMEOUT", "SYS_ASSERT_LEVEL", "SYS_ERROR_REPORT",
    "SYS_TRACE_MASK", "SYS_LOST_RECORD_LIMIT", "RU_RX_WINDOW", "RU_LATE_LIMIT", "RU_COMPRESSION", "HO_FAILURE_ACTION",
    "CA_SCELL_TIMEOUT", "UL_POWER_CAP", "CELL_BARRED_IGNORE",
)  # fmt: skip
GROUPS: Final = ("HLC", "L1_DL", "L1_UL", "MAC_RX", "MAC_TX", "RLC", "PDCP", "RRC", "NAS", "DE", "PROT_LOG")
ITEMS: Final = (
    "L1_DL_STATS", "L1_UL_STATS", "MAC_RX_STATS", "MAC_TX_STATS", "RLC_RX_STATS", "RLC_TX_STATS", "PDCP_RX_STATS",
    "DE_QUEUE_STATS",
)  # fmt: skip
OPTIONAL: Final = (
    "SetMueMeasurementFilter 0 3", "PhyConfigUlInterference 0 -20", "RrcAptOverrideBandSupport 0 78",
    "PhyConfigUlPowerOffset 0 3", "PhySetTDDCfg 0 1 7", "ClearStats []",
)  # fmt: skip
REFUSALS: Final = (2, 7, 8001)


def set_up(run: Run) -> None:
    """Adds all commands up to the activation and leaves the clock there."""
    if run.habits.preamble != "none":
        _connection(run)
        _radio(run)
        _logging(run)
    cell_search(run)
    _scenario(run)
    campaign_records(run, 0.0, run.now, set_up=True)


def campaign_records(run: Run, begin_ms: float, end_ms: float, *, set_up: bool = False) -> None:
    """Adds some of the records that only the campaign of the run prints."""
    rng = run.rng
    campaign = next(one for one in CAMPAIGNS if one.name == run.habits.campaign)
    for _ in range(rng.randint(1, 4)):
        text = rng.choice(campaign.records)
        run.add(rng.uniform(begin_ms, end_ms), f"I: TMAE 0x0 Information - {text}", invented=True, set_up=set_up)


def _plain(run: Run, *commands: str, low: float = 1, high: float = 60) -> None:
    for command in commands:
        run.command(
            command, f"C: {command.split()[0].removeprefix('#$$')} 0x00 {run.habits.ok}", low=low, high=high, set_up=True
        )


def _connection(run: Run) -> None:
    ok, rng, full = run.habits.ok, run.rng, run.habits.preamble == "full"
    run.command("#$$CONNECT", "C: CONNECT 0x00 ok", set_up=True)
    if full:
        run.command(f"#$$PORT 127.0.0.1 {rng.randint(4000, 4010)} {rng.randint(4020, 4030)}", set_up=True)
        run.command("GSTS", f"C: GSTS 0x00 {ok} Reset", set_up=True)
    run.command("GVER", f"C: GVER 0x00 {ok} {run.habits.firmware}", set_up=True)
    if full:
        run.command("ABOT 0 0 0", f"C: ABOT 0x00 {ok} 0x0000001e", low=100, high=2000, set_up=True)
    _plain(run, "RSET")


def _radio(run: Run) -> None:
    rng, ok = run.rng, run.habits.ok
    commands = [
        "MULT STANDALONE",
        f"SCXT 0 {run.habits.rat}",
        f"SELR 0 FES-0 ORU1-P1 1 ORAN {run.network.ru}",
        f"CFGR 0 SCS {rng.randint(0, 1)} 1",
    ]
    if run.habits.preamble == "full":
        commands += [f"CONF ORU ORU1 MtuOverride {rng.choice((1500, 9000, 9216))}", "EREF", "GETR"]
    _plain(run, *random.Random(run.habits.script.order).sample(commands, len(commands)))
    # A set-up that fails once and then succeeds says nothing.
    for _ in range(rng.choice((1, 1, 2))) if rng.random() < 0.08 else ():
        run.command("SCFG MTS_MODE", "C: SCFG 0x06 Failure - Master Initialise failed.", low=1000, high=9000, set_up=True)
        run.command("RBOT", f"C: RBOT 0x00 {ok}", low=2000, high=9000, set_up=True)
        run.add(run.now, "I: REBOOT - The Test Mobile has rebooted. ", set_up=True)
    run.command("SCFG MTS_MODE", f"C: SCFG 0x00 {ok} SWL", low=1000, high=32_000, set_up=True)
    run.command("STRT", f"C: STRT 0x00 {ok}", low=100, high=4000, set_up=True)
    run.add(run.now, f"I: CMPI ORAN_RU {run.network.ru}: ORAN: CU PLANE ACTIVE", set_up=True)
    run.now += rng.uniform(10, 500)


def _logging(run: Run) -> None:
    rng, script, own = run.rng, run.habits.script, random.Random(run.habits.script.order + 1)
    for group in own.sample(GROUPS, own.randint(1, 6)):
        run.command(f"#$$LC_{own.choice(('GRP', 'CAT'))} {group} {rng.choice(('ON', 'OFF'))}", set_up=True)
    run.command("#$$LC_END", set_up=True)
    run.command("#$$START_LOGGING", set_up=True)
    run.add(run.now, "I: TMAE 0x0 Information - Logging started.", set_up=True)
    for _ in range(script.parameters):
        name = parameter(run.habits.vocabulary, own.choice(PARAMETERS))
        text = f"SETP {name} {rng.choice((0, 1, 2, 4, 8, 16, 100, 255, 1000, 65535))}"
        run.command(text, f"C: SETP 0x00 {run.habits.ok}", set_up=True, invented=(text,))
    for _ in range(own.randint(0, 9)):
        item = parameter(run.habits.vocabulary, own.choice(ITEMS))
        text = f"SDLI {item} 0x{rng.randrange(1 << 32):08x} x14"
        run.command(text, f"C: SDLI 0x00 {run.habits.ok}", set_up=True, invented=(text,))


def cell_command(run: Run) -> str:
    """The command that gives a radio context its cell."""
    return "SetMueRadioContextCell" if run.lte else "NRSETMUERADIOCONTEXTCELL"


def cell_search(run: Run, *, failures: int | None = None, code: int = 0) -> None:
    """Adds the search of each cell.

    Args:
        run: The run.
        failures: How many searches of the first cell fail; None draws it, and the last search succeeds.
        code: Return code of the failures; 0 draws it.
    """
    rng = run.rng
    lasting = failures is not None
    if failures is None:
        # The same return codes as those of a cell that is never found.
        failures = rng.randint(1, 4) if rng.random() < 0.14 else 0
    name = cell_command(run)
    for context, cell in enumerate(run.network.cells):
        bandwidth, optional = rng.choice((20, 40, 100)), "[] [] [] [] [] [1] [] [] [2 2] [] [] [] [0] [] []"
        words = f"{name} {context} {cell} {run.network.freq}.20 {bandwidth} {optional}"
        for attempt in range(failures if context == 0 else 0):
            chosen = code or rng.choice((8030, 15014))
            reason = NO_SYSTEM_INFORMATION if chosen == 8030 else f"{run.habits.rat} {NO_LOCK}"
            _search_records(run, chosen, attempt)
            answered = run.forward(words, chosen, reason, low=1000, high=12_000)
            if lasting:
                _mark(run, answered)
            run.now += rng.uniform(500, 5000)
        if lasting:
            continue
        begun = run.now
        done = run.forward(words, low=700, high=6000)
        run.say(begun + 200, "pss", cell=cell)
        run.say(begun + 500, "mib", cell=cell)
        run.say(done - 30, "cell_info", cell=cell, rsrp=f"{rng.uniform(-95, -50):.1f}")
    calibrate = "PhyCalibrateUlPowerOffset" if run.lte else "NrPhyCalibrateUlPowerScaling"
    run.forward(f"{calibrate} 0 {rng.randint(-20, 10)}", low=20, high=900, set_up=True)
    if not lasting:
        run.say(run.now, "calibrated")


def _search_records(run: Run, code: int, attempt: int) -> None:
    """What layer 1 says while a search fails: nothing is found, or the system information is not read."""
    event = "no_lock" if code == 15014 else run.rng.choice(("sib_crc", "mib_fail"))
    for _ in range(run.rng.randint(1, 3)):
        run.say(run.now + run.rng.uniform(100, 900), event, n=attempt + 1, cell=run.network.cells[0])


def _mark(run: Run, answered_ms: float) -> None:
    """Marks the confirmation of a failed search as a record of the cause."""
    place = next(i for i in range(len(run.records) - 1, -1, -1) if run.records[i].at_ms == answered_ms)
    run.records[place] = run.records[place]._replace(root=True, symptom=True, kept=True)


def _scenario(run: Run) -> None:
    rng, habits = run.rng, run.habits
    script, own = habits.script, random.Random(habits.script.order + 2)
    campaign = next(one for one in CAMPAIGNS if one.name == habits.campaign)
    last = habits.ues - 1
    group = f"MtsConfigUeGroup 0 0 1{{0-{last}}}" if last else "MtsConfigUeGroup 0 0 1{0}"
    if rng.random() < 0.05:
        # A group that is too large for the licence, and then one that is not.
        large = f"MtsConfigUeGroup 0 0 1{{0-{last + rng.randint(1, 64)}}}"
        run.forward(large, 4, "Not licensed for User Id in the group", set_up=True)
    commands = [
        f"MtsConfigEnb {len(run.network.cells)} {len(run.network.cells)}{{{','.join(map(str, run.network.cells))}}}",
        group,
        f"UsimConfig 0 [00101{own.randint(10**9, 10**10 - 1)}+1 2] {own.choice(('MILENAGE', 'XOR', 'TUAK'))}",
        f"MtsConfigPath 0 {own.randint(1, 4)} [] {own.randint(0, 100)}",
        f"MtsConfigMobility 0 {'LINEAR' if script.cells > 1 else 'STATIC'} {own.choice((3, 30, 120))}",
        f"RrcAptConfigUeCap 0 {own.randint(1, 15)} []",
    ]
    if script.traffic != "none":
        commands += [
            f"MtsConfigTrafficProfile {own.randint(0, 9)} {script.traffic.upper()} {own.choice((1, 10, 100, 900))} []",
            f"MtsConfigTraffic 0 {own.randint(0, 3)} [{own.randint(1, 60)}]",
        ]
    run.forward(f"{campaign.command} {own.randint(0, 9)}", set_up=True)
    refused = [rng.choice(OPTIONAL) for _ in range(habits.refused)]
    for words in own.sample(commands, len(commands)):
        run.forward(words, set_up=True)
        while refused and rng.random() < 0.3:
            run.forward(refused.pop(), rng.choice(REFUSALS), "not supported", set_up=True)
    for optional in refused:
        run.forward(optional, rng.choice(REFUSALS), "not supported", set_up=True)
    run.forward(f"MtsConfigScenario 0 {script.name} 1", set_up=True)
    if script.traffic != "none":
        run.forward("DeConfigRdaStartTestCase", set_up=True)
        run.say(run.now, "rda_start", n=1)


def stop(run: Run) -> None:
    """Adds the end of the script at the clock."""
    rng, kind = run.rng, run.habits.teardown
    if kind == "none":
        return
    run.forward("MtsClearMts")
    run.say(run.now + rng.uniform(20, 300), "cleared")
    run.now += 400
    if kind == "full" and run.habits.script.traffic != "none":
        run.forward("DeConfigRdaStopTestCase")
        run.say(run.now, "rda_stop", n=1)
        run.now += 30
    if kind == "reboot":
        run.command("RBOT", f"C: RBOT 0x00 {run.habits.ok}", low=900, high=5000)
        run.add(run.now, "I: REBOOT - The Test Mobile has rebooted. ")
        return
    if kind == "full":
        run.command("#$$STOP_LOGGING")
        run.add(run.now, "I: TMAE 0x0 Information - Logging stopped.")
        run.now += 20
        if rng.random() < 0.5:
            run.command("#$$CONVERT_TO_TEXT")
    run.command("#$$DISCONNECT")
