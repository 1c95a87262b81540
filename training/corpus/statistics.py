"""Statistics tables of a run: GETSTATS for each UE, GETRUSTATS of the radio unit, GetRrcStats and GetNasStats.

Values follow the state of each UE at the time of the command. A fault that no record names can still be seen here.
"""

from collections import Counter
from collections.abc import Sequence

from training.corpus.run import Radio, Run, Ue

__all__ = ["radio_unit", "rows", "signalling", "user_equipment"]

RADIO_UNIT_COUNTERS = (
    "RX_ON_TIME(_U)", "RX_EARLY(_U)", "RX_LATE(_U)", "RX_ON_TIME_C_DL", "RX_EARLY_C_DL", "RX_LATE_C_DL", "RX_SEQID_ERR",
    "RX_CORRUPT", "RX_DUPL", "TX_TOTAL",
)  # fmt: skip


def user_equipment(run: Run, ues: Sequence[Ue], tables: Sequence[str]) -> None:
    """Adds GETSTATS for some UEs at the clock; a UE that is not connected shows zeros."""
    body: list[str] = []
    for ue in ues:
        body += rows(run, ue, tables)
    run.forward(f"GetStats [{','.join(str(ue.number) for ue in ues[:8])}] []", body=body, low=5, high=200)


def rows(run: Run, ue: Ue, tables: Sequence[str]) -> list[str]:
    """What GETSTATS prints for one UE at the clock."""
    rng, radio = run.rng, ue.radio_at(run.now)
    since = ue.done.get("connected")
    # A UE has counters only while it is connected.
    up = since is not None and since < run.now and (ue.left_ms is None or ue.left_ms > run.now)
    context = run.cells.index(ue.cell) if ue.cell in run.cells else 0
    lines = [f"UE ID: {ue.number}   (Radio Context: {context}   Cell ID: {ue.cell}   DL Freq: {run.fullfreq} MHz)"]
    # Without traffic a little signalling is left.
    load = (rng.uniform(0.6, 1.0) if run.script.traffic != "none" else 0.002) if up else 0.0
    elapsed = max(1.0, (run.now - (since or 0)) / 1000)
    # Counters grow with the time since the connection, up to ten minutes.
    blocks = int(min(elapsed, 600) * rng.uniform(200, 900) * (0.05 + load)) if up else 0
    if up:
        lines.append(f"   BCH CRC ok   CQI: {radio.cqi}   RI: {rng.randint(1, 4)}   RSRP: {ue.rsrp:.1f} dBm")
    else:
        lines.append("   BCH NO DATA")
    lines += _shared(run, "DL", blocks, _noisy(rng.random(), radio.dl_bler), load * radio.rate)
    lines += _shared(run, "UL", int(blocks * rng.uniform(0.3, 0.9)), _noisy(rng.random(), radio.ul_bler), load * radio.rate)
    if "harq" in tables:
        lines += _harq(run, blocks, radio)
    if "rlc" in tables:
        lines += _rlc(run, blocks, radio)
    if "pdcp" in tables:
        lines += _pdcp(run, blocks, radio)
    return lines


def _noisy(draw: float, bler: float) -> float:
    """A block error rate as it is measured, within a fifth of the true one; `draw` is from 0 to 1."""
    return min(0.99, bler * (0.8 + 0.4 * draw))


def _shared(run: Run, direction: str, blocks: int, bler: float, load: float) -> list[str]:
    """The table of one shared channel; rates in bit/s."""
    rate = int(run.rng.uniform(40e6, 900e6) * load)
    # Rates are computed from the counts, so that the columns of a table agree.
    errors = int(blocks * bler)
    bits = blocks * 8448
    bit_errors = int(errors * 8448 * 0.02)
    return [
        f"   {direction}-SCH (PCC)",
        f"      Throughput: {rate:010d} Average: {int(rate * 0.97):010d} Min: {int(rate * 0.6):010d}"
        f" Max: {int(rate * 1.1):010d}",
        "      Codeword: 0",
        "      [NumTBs] [NumTBErrors] [BLER] [Total Bits] [Total Bit Errors] [BER]",
        f"      {blocks:010d} {errors:010d} {errors / blocks if blocks else 0:.6f} {bits:014d} {bit_errors:012d}"
        f" {bit_errors / bits if bits else 0:.6f}",
    ]


def _harq(run: Run, blocks: int, radio: Radio) -> list[str]:
    rows = ["   DL HARQ (PCC)", "      [Process] [NumTBs] [Retx] [Duplicates] [Discarded]"]
    for process in range(16 if run.rat == "NR" else 8):
        part = int(blocks / 16 * run.rng.uniform(0.7, 1.3))
        rows.append(
            f"      {process:02d} {part:08d} {int(part * radio.dl_bler):08d} {int(part * radio.duplicates):08d}"
            f" {int(part * radio.harq_discards):08d}"
        )
    return rows


def _rlc(run: Run, blocks: int, radio: Radio) -> list[str]:
    pdus = int(blocks * run.rng.uniform(1.5, 4))
    return [
        "   RLC (DRB 1)",
        "      [Tx PDUs] [Retx PDUs] [Rx PDUs] [Rx NACKs]",
        f"      {pdus:010d} {int(pdus * radio.rlc_retx):010d} {int(pdus * 0.8):010d}"
        f" {int(pdus * radio.rlc_retx * 0.5):010d}",
    ]


def _pdcp(run: Run, blocks: int, radio: Radio) -> list[str]:
    sdus = int(blocks * run.rng.uniform(2, 5))
    return [
        "   PDCP (DRB 1)",
        "      [Tx SDUs] [Discarded SDUs] [Rx SDUs] [Rx Discarded]",
        f"      {sdus:010d} {int(sdus * radio.discards):010d} {int(sdus * 0.9):010d}"
        f" {int(sdus * radio.discards * 0.7):010d}",
    ]


def radio_unit(run: Run) -> None:
    """Adds GETRUSTATS, whose rows have stamps of their own. Counts of late messages up to 10 are healthy."""
    rng = run.rng
    grown = Counter[str]()
    for since, counters in run.late:
        if since < run.now:
            grown.update(counters)
    run.command(f"GETRUSTATS {run.ru}", f"C: GETRUSTATS 0x00 {run.firmware.ok}")
    on_time = int(run.now * rng.uniform(30, 300))
    for name in RADIO_UNIT_COUNTERS:
        # A few late or lost messages are normal in any run.
        usual = on_time if "ON_TIME" in name or name == "TX_TOTAL" else rng.choice((0, 0, 0, rng.randint(1, 10)))
        run.timeline.add(run.now, f"[{name}]: {int(usual * rng.uniform(0.98, 1)) + grown[name]}")
    # The latest message agrees with the counters of late ones.
    latest = rng.uniform(900, 2500) if grown["RX_LATE_C_DL"] or grown["RX_LATE(_U)"] else rng.uniform(0, 90)
    run.timeline.add(run.now, f"[RX_LATEST_C_DL]: {latest:.3f} us")
    run.now += 20


def signalling(run: Run) -> None:
    """Adds GetRrcStats and GetNasStats: how often each procedure was tried and succeeded until now."""
    emitted = Counter(name for at, name in run.counts if at <= run.now)

    def total(*names: str) -> int:
        return sum(emitted[name] for name in names)

    connected, registered = total("connected_nr", "connected_lte"), total("registered_nr", "registered_lte")
    refused = total("failed_nr", "failed_lte", "t300", "reject")
    run.forward(
        "GetRrcStats []",
        body=(
            "[Setup Attempts] [Setup Success] [Reest Attempts] [Reest Success] [HO Attempts] [HO Success]",
            f"{connected + refused:06d} {connected:06d} {total('reest_start'):06d} {total('reest_done'):06d}"
            f" {total('sync_reconfig'):06d} {total('handover'):06d}",
        ),
    )
    tried = registered + total("not_registered_nr", "not_registered_lte", "reg_reject")
    sessions = total("session_nr", "session_lte")
    run.forward(
        "GetNasStats []",
        body=(
            "[Registration Attempts] [Registration Success] [Session Attempts] [Session Success] [Deregistrations]",
            f"{tried:06d} {registered:06d} {sessions + total('session_reject'):06d} {sessions:06d}"
            f" {total('deregistered_nr', 'deregistered_lte'):06d}",
        ),
    )
