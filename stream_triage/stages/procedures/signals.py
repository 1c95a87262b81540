"""One masked line in, its signal out: a step of a procedure, trouble of a layer, or a position in a statistics table.

The signal of a masked line is remembered for all lines like it. UE numbers and table values, which masking removes, are read
later from the line itself.
"""

import re
from collections.abc import Container
from typing import Final, NamedTuple
from zlib import crc32

__all__ = ["DATA", "L1", "L2", "LAYERS", "NAS", "RRC", "TESTER", "Signal", "read_signal"]

# Layers of records: the protocol stack from the bottom up, then the tester itself, then its data and control plane.
L1: Final = 0
L2: Final = 1
RRC: Final = 2
NAS: Final = 3
TESTER: Final = 4
DATA: Final = 5
LAYERS: Final = ("l1", "l2", "rrc", "nas", "tester", "data")

_LAYER_PREFIXES: Final = (
    ("I: CMPI L1", L1),
    ("I: CMPI ORAN_RU", L1),
    ("I: CMPI L2", L2),
    ("I: CMPI RRC", RRC),
    ("I: CMPI MTE", NAS),
    ("I: CMPI DTE", DATA),
    ("I: ERNO", TESTER),
)
# The first pattern that is found names the step.
_STEPS: Final = (
    ("access", re.compile(r"Random Access Initiated")),
    ("accessed", re.compile(r"Random Access Complete")),
    ("access_error", re.compile(r"Random Access (?:Error|Cancelled)")),
    ("connection_failed", re.compile(r"CONNECTION FAILED IND")),
    ("reestablishing", re.compile(r"Re-establishment Started")),
    ("reestablished", re.compile(r"Re-establishment Success")),
    ("connected", re.compile(r"MTE.* (?:NR|ECM) CONNECTION IND")),
    ("registered", re.compile(r"MTE.* (?:NR REGISTRATION|EMM REGISTER) IND")),
    (
        "session",
        re.compile(
            r"MTE.* (?:PDU SESSION (?:ESTABLISHMENT|MODIFICATION|RELEASE)|PDN (?:DIS)?CONNECTION|BEARER RESOURCE ADD) IND"
        ),
    ),
    ("left", re.compile(r"MTE.* (?:NR|ECM) DISCONNECTION IND")),
    ("deregistered", re.compile(r"MTE.* (?:DEREGISTRATION|DEREGISTER) IND")),
    ("handover", re.compile(r"Handover Complete")),
    ("report", re.compile(r"MeasurementReport")),
    ("plmn_loss", re.compile(r"PLMN LOSS IND")),
    ("t310", re.compile(r"RRC T310|RRC TIMER \w+.*T310")),
)
# What RRC or the tester report as a consequence, whichever layer failed. A radio link failure that RRC reports began below
# it, so counting these as trouble of RRC would blame the wrong layer (training/LOG.md, 2026-11-25).
_CONSEQUENCE: Final = re.compile(r"PLMN (?:LOSS|RECOVERY)|\bT30[01]\b|\bT31[01]\b|RRC TIMER|Cell Selection")
# Causes of a re-establishment, from the line after its record.
_LOWER_CAUSE: Final = re.compile(r"RLC|PDCP|Integrity")
_UPPER_CAUSE: Final = re.compile(r"Handover failure|Reconfiguration failure|Other failure")
# A line of a record's body that states a value, such as `Data Network Name: internet`. Bodies differ between releases of the
# tester, so an unknown one is no trouble unless it names a cause or its words say that something failed.
_ATTRIBUTE: Final = re.compile(r"(?!.*\bCause\b)[A-Z][\w/-]*(?: [\w/-]+){0,4} ?: ")
_FAILURE: Final = re.compile(
    r"(?i)fail|reject|refus|denied|illegal|invalid|forbidden|barred|congestion|error|timed? ?-?out|expired|lost"
    r"|\bnot? (?:allowed|available|possible|supported|reachable|present|suitable|found|matched)|\bno \w+"
)
# Words in a command that the tester answered with FAILED, and what they mean; 8030 and 15014 are its return codes for a
# cell search without result.
_FAILED_COMMANDS: Final = (("licensed", "unlicensed"), ("8030", "search_failed"), ("15014", "search_failed"))
_MARKERS: Final = re.compile(r"<[a-z][^>]*>")
_WORD: Final = re.compile(r"[A-Za-z][\w-]*")
# Headings of the tables that GETSTATS prints, and what their rows are about; rows below other headings are not read.
_TABLES: Final = (
    ("DL-SCH", "dl"),
    ("UL-SCH", "ul"),
    ("DL HARQ", "harq"),
    ("UL HARQ", ""),
    ("RLC ", "rlc"),
    ("PDCP ", "pdcp"),
)
_ROW: Final = re.compile(r"\s*(?:<num:[^>]*>\s*|\d+\s*)+")
_COUNTER: Final = re.compile(r"\[RX_(LATE|EARLY|SEQID_ERR|CORRUPT)\w*(?:\(_U\))?\]: ")


class Signal(NamedTuple):
    """What a masked line says about procedures."""

    step: str = ""
    layer: int = -1
    """Of a record that begins here; -1 for a line that continues one."""
    trouble: bool = False
    kind: int = 0
    """Hash of the record's words; equal for records that differ in numbers and punctuation alone."""
    table: str = ""
    names_ue: bool = False


def read_signal(masked: str, usual: Container[int] = frozenset()) -> Signal | None:
    """The signal of one masked line, or None. Records whose kind is not `usual` are trouble.

    >>> read_signal("<time> I: CMPI L2 Random Access Complete :UE Id:<num:e0> (TC-RNTI: <hex>)").step
    'accessed'
    >>> read_signal("<time> I: CMPI L2 RLC: t-PollRetransmit expired: UE Id: <num:e0>, POLL_SN <num:e2>").trouble
    True
    >>> read_signal("<time> SETP L1_AGC_MODE <num:e0>") is None
    True
    """
    if masked.startswith("<time> "):
        return _record(masked[7:].removeprefix("... "), usual)
    return _continuation(masked.strip(), usual) if masked.startswith(" ") else None


def _kind(text: str) -> int:
    """Hash of the words alone.

    Releases of the tester punctuate differently around a UE: with punctuation, healthy records of one release fell below the
    limit for usual kinds (training/LOG.md, 2026-11-25).
    """
    return crc32(" ".join(_WORD.findall(_MARKERS.sub(" ", text))).encode())


def _record(payload: str, usual: Container[int]) -> Signal | None:
    if payload.startswith("["):
        counter = _COUNTER.match(payload)
        return Signal(table=f"ru_{counter[1].lower()}", layer=DATA) if counter else Signal(layer=DATA)
    if not payload.startswith("I: "):
        step = _answer(payload) if payload.startswith("C: ") else _request(payload)
        return Signal(step, DATA) if step else None
    layer = next((layer for prefix, layer in _LAYER_PREFIXES if payload.startswith(prefix)), None)
    if layer is None:
        return Signal(_tester_event(payload), DATA)
    step = next((name for name, pattern in _STEPS if pattern.search(payload)), "")
    kind = _kind(payload)
    trouble = not step and kind not in usual and not _CONSEQUENCE.search(payload)
    return Signal(step, layer, trouble, kind, names_ue="UE Id" in payload)


def _answer(payload: str) -> str:
    """What the tester answered to a command of the script."""
    if "GETSTATS" in payload:
        return "answer"
    if "FAILED" in payload:
        return next((name for word, name in _FAILED_COMMANDS if word in payload), "command_failed")
    return "setup_failed" if payload.startswith("C: SCFG 0x06") else "answer"


def _request(payload: str) -> str:
    """What the script asked for; empty for lines that say nothing here."""
    if payload.startswith("WAIT FOR") and "REJECT" in payload:
        return "expects_refusal"
    if "Activate" in payload:
        return "activated"
    if "MtsClearMts" in payload:
        return "stopping"
    return "answer" if payload.startswith(("forw", "FORW")) else ""


def _tester_event(payload: str) -> str:
    if payload.startswith("I: TMAE 0x1"):
        return "timed_out" if "timed out" in payload else "warned"
    return "rebooted" if "REBOOT" in payload else "answer"


def _continuation(text: str, usual: Container[int]) -> Signal:
    table = _table(text)
    if table:
        return Signal(table=table)
    step = "cause_lower" if _LOWER_CAUSE.search(text) else "cause_upper" if _UPPER_CAUSE.search(text) else ""
    kind = _kind(text)
    harmless = _CONSEQUENCE.search(text) or (_ATTRIBUTE.match(text) and not _FAILURE.search(text))
    return Signal(step, trouble=kind not in usual and not harmless, kind=kind)


def _table(text: str) -> str:
    """Which line of a statistics table this is; empty if none."""
    if _ROW.fullmatch(text):
        return "row"
    for prefix, table in _TABLES:
        if text.startswith(prefix):
            return table or "none"
    if text.startswith("UE ID: "):
        return "ue"
    if text.startswith("BCH "):
        return "silent" if "NO DATA" in text else "heard"
    return "rate" if text.startswith("Throughput") else ""
