"""Statistics: GETSTATS and GETRUSTATS in forms that were seen, counters of RRC and NAS and further tables in invented ones.

Values follow the state of each UE at the time of the command, so a fault may show here that no record names.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from training.varied.run import Run
from training.varied.ue import Ue

__all__ = ["statistics"]

RADIO_UNIT: Final = (
    "RX_ON_TIME(_U)", "RX_EARLY(_U)", "RX_LATE(_U)", "RX_ON_TIME_C_DL", "RX_EARLY_C_DL", "RX_LATE_C_DL", "RX_SEQID_ERR",
    "RX_CORRUPT", "TX_TOTAL",
)  # fmt: skip


def statistics(run: Run, ues: Sequence[Ue]) -> None:
    """Adds the tables that the habits of the run have, for some UEs, at the clock."""
    tables = run.habits.tables
    if tables & {"sch", "harq", "rlc", "pdcp"}:
        body: list[str] = []
        for ue in ues:
            body += _rows(run, ue)
        numbers = ",".join(str(ue.number) for ue in ues)
        headings = {run.line(f"table_{table}") for table in ("harq", "rlc", "pdcp")}
        run.forward(f"GetStats [{numbers}] []", body=body, low=5, high=200, invented=headings)
    if "ru" in tables:
        _radio_unit(run)
    if "rrc" in tables or "nas" in tables:
        _signalling(run)


def _rows(run: Run, ue: Ue) -> list[str]:
    """What GETSTATS prints for one UE at the clock; counters count since the last query, and only while it is connected."""
    rng, tables = run.rng, run.habits.tables
    radio, up = ue.radio_at(run.now), ue.connected(run.now)
    lines = [f"UE ID: {ue.number}   (Radio Context: 0   Cell ID: {ue.cell}   DL Freq: {run.network.freq / 10:.3f} MHz)"]
    lines.append("BCH OK" if up and rng.random() < 0.9 else "BCH NO DATA")
    traffic = run.habits.script.traffic != "none"
    load = (radio["rate"] if traffic else 0.01) if up else 0.0
    blocks = int(rng.uniform(400, 60_000) * (0.1 + 0.9 * load)) if up else 0
    if "sch" in tables:
        lines += _shared(run, "DL", blocks, radio["dl_bler"], load * ue.goal)
        lines += _shared(run, "UL", int(blocks * rng.uniform(0.3, 0.9)), radio["ul_bler"], load * ue.goal)
    word = run.line
    if "harq" in tables:
        lines.append(word("table_harq"))
        for process in range(8 if run.lte else 16):
            part = int(blocks / 16 * rng.uniform(0.7, 1.3))
            counts = (part * radio["dl_bler"], part * radio.get("duplicates", 0), part * radio.get("harq_discards", 0))
            lines.append(f"   {process:02d} {part:08d} " + " ".join(f"{int(count):08d}" for count in counts))
    pdus = int(blocks * rng.uniform(1.5, 4))
    if "rlc" in tables:
        again = int(pdus * radio.get("rlc_retx", radio["dl_bler"] * 0.05))
        lines += [word("table_rlc"), f"   {pdus:010d} {again:010d} {int(pdus * 0.8):010d} {again // 2:010d}"]
    if "pdcp" in tables:
        gone = int(pdus * radio.get("discards", rng.choice((0, 0, 0.002))))
        lines += [word("table_pdcp"), f"   {pdus:010d} {gone:010d} {int(pdus * 0.9):010d} {int(gone * 0.7):010d}"]
    return lines


def _shared(run: Run, direction: str, blocks: int, bler: float, rate: float) -> list[str]:
    """The table of one shared channel; `rate` in Mbit/s."""
    rng = run.rng
    bps = int(rate * 1e6 * rng.uniform(0.9, 1.0))
    errors = int(blocks * min(0.98, bler * rng.uniform(0.8, 1.2)))
    bits = blocks * 8448
    return [
        f"{direction}-SCH (PCC)",
        f"   Throughput: {bps:010d} Average: {int(bps * 0.97):010d} Min: {int(bps * 0.6):010d} Max: {int(bps * 1.1):010d}",
        "   Codeword: 0",
        "   [NumTBs] [NumTBErrors] [BLER] [Total Bits] [Total Bit Errors] [BER]",
        f"   {blocks:010d} {errors:010d} {errors / blocks if blocks else 0:.6f} {bits:014d} {errors * 168:012d}"
        f" {errors * 168 / bits if bits else 0:.6f}",
    ]


def _radio_unit(run: Run) -> None:
    """Adds GETRUSTATS, whose rows are stamped. Counts of late messages up to 10 are healthy."""
    rng = run.rng
    grown = Counter[str]()
    for since, counter, count in run.counters:
        if since <= run.now:
            grown[counter] += count
    run.command(f"GETRUSTATS {run.network.ru}", f"C: GETRUSTATS 0x00 {run.habits.ok}")
    on_time = int(max(run.now, 1000) * rng.uniform(30, 300))
    for name in RADIO_UNIT:
        usual = on_time if "ON_TIME" in name or name == "TX_TOTAL" else rng.choice((0, 0, 0, rng.randint(1, 10)))
        run.add(run.now, f"[{name}]: {int(usual * rng.uniform(0.98, 1)) + grown[name]}")
    late = grown["RX_LATE_C_DL"] or grown["RX_LATE(_U)"]
    run.add(run.now, f"[RX_LATEST_C_DL]: {rng.uniform(900, 2500) if late else rng.uniform(0, 90):.3f} us")
    run.now += 20


def _signalling(run: Run) -> None:
    """Adds GetRrcStats and GetNasStats: how often each procedure was tried and succeeded until now."""
    happened = Counter(event for at_ms, event in run.counts if at_ms <= run.now)

    def total(*events: str) -> int:
        return sum(happened[event] for event in events)

    suffix = run.suffix
    connected, registered, sessions = (happened[f"{name}{suffix}"] for name in ("connected", "registered", "session"))
    if "rrc" in run.habits.tables:
        tried = connected + total(f"failed{suffix}")
        row = (tried, connected, total("reest_start"), total("reest_done"), total("sync_reconfig"), total("handover"))
        _counters(run, "GetRrcStats []", "table_rrc", row)
    if "nas" in run.habits.tables:
        tried = registered + total(f"not_registered{suffix}")
        nas_row = (tried, registered, sessions + total("session_reject"), sessions, total(f"deregistered{suffix}"))
        _counters(run, "GetNasStats []", "table_nas", nas_row)


def _counters(run: Run, command: str, event: str, row: Sequence[int]) -> None:
    heading = run.line(event)
    run.forward(command, body=(heading, "   " + " ".join(f"{count:06d}" for count in row)), invented=(heading,))
