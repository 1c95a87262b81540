"""A whole log and a place where it is cut in; whether the cut leaves something outstanding, out.

The product sees only one side of a cut. The oracle sees both, and it knows the wordings of its two corpora: an answer that is on the other side
of the cut than its request is outstanding. It shares no code with the product.

**TM500 style** (`tm500_outstanding`): the side that is kept lacks

- the confirmation of its last command;
- the indication, or the time-out, that its last `WAIT FOR` waits for, or the time of its last `WAIT`;
- for a UE: the end of a random access, a registration after a connection, a session after a registration, or the end of a
  re-establishment;
- the rest of a record or of a table (`[NAME]: value` rows);
- everything after the set-up: the cut comes before the activation.

**OpenAirInterface** (`oai_outstanding`), for each source: an answer of the table below, the rest of a statistics table or of an XML
dump, or the readiness of the program.
"""

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["oai_outstanding", "tm500_outstanding", "tm500_start_missing"]

_UE: Final = re.compile(r"UE Id\s*:\s*(\d+)")
_STAMP: Final = re.compile(r"\d\d/\d\d/\d\d (\d\d):(\d\d):(\d\d):(\d{3})\t(?:\.\.\. )?(.*)")
_WAIT: Final = re.compile(r'WAIT (?:FOR "([^"]+)" TIMEOUT (\d+)|(\d+))')
# What comes first, and what may come next on the other side, per UE.
_UE_STEPS: Final = (
    ("Random Access Initiated", ("Random Access Complete", "Random Access Error", "Random Access Cancelled")),
    ("NR CONNECTION IND", ("REGISTRATION IND", "REJECT")),
    ("ECM CONNECTION IND", ("EMM REGISTER IND", "REJECT")),
    ("NR REGISTRATION IND", ("PDU SESSION ESTABLISHMENT IND",)),
    ("EMM REGISTER IND", ("PDN CONNECTION IND",)),
    ("Re-establishment Started", ("Re-establishment Success",)),
)
_LEFT: Final = ("DISCONNECTION IND", "DEREGISTRATION IND", "EMM DEREGISTER IND")


def tm500_outstanding(lines: Sequence[str], kept: int) -> list[str]:
    """What is outstanding if only the first `kept` lines are kept, by kind; empty if nothing is."""
    head, tail = [_parse(line) for line in lines[:kept]], [_parse(line) for line in lines[kept:]]
    found = []
    if tail and (tail[0][0] is None or tail[0][1].startswith("[")):
        found.append("record")
    commands = [
        (i, at, text) for i, (at, text) in enumerate(head) if at is not None and text[:2] not in ("C:", "I:", "[R", "[T")
    ]
    if not any("Activate" in text for _, _, text in commands) and len(head) > 3:
        found.append("set-up")
    sent = [(i, text) for i, _, text in commands if not text.startswith("WAIT")]
    if sent and _unconfirmed(sent[-1], head, tail):
        found.append("command")
    waits = [(i, at, text) for i, at, text in commands if text.startswith("WAIT")]
    if waits and _waiting(waits[-1], head, tail):
        found.append("wait")
    return found + _open_of_ues(head, tail)


_Record = tuple[float | None, str]


def _parse(line: str) -> _Record:
    match = _STAMP.match(line)
    if not match:
        return None, line.strip()
    hours, minutes, seconds, thousandths, text = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(thousandths) / 1000, text


def _unconfirmed(command: tuple[int, str], head: Sequence[_Record], tail: Sequence[_Record]) -> bool:
    """Whether the next confirmation comes after the cut, and confirms this command."""
    if any(text.startswith("C: ") for _, text in head[command[0] :]):
        return False
    words = command[1].replace("#$$", "").split()
    name = words[2].upper() if words[0].lower() == "forw" and len(words) > 2 else words[0].upper()
    for at, text in tail:
        if text.startswith("C: "):
            return name in text.upper()
        if at is not None and text[:2] not in ("I:", "[R", "[T"):
            return False
    return False


def _waiting(wait: tuple[int, float, str], head: Sequence[_Record], tail: Sequence[_Record]) -> bool:
    index, since, text = wait
    match = _WAIT.match(text)
    if not match or not tail:
        return False
    awaited, limit, plain = match.groups()
    last = next((at for at, _ in reversed(head) if at is not None), since)
    if (last - since) % 86_400 >= float(limit or plain):
        return False
    if any(
        at is not None and text[:2] not in ("C:", "I:") and "tats" not in text and "TATS" not in text and text[0] != "["
        for at, text in head[index + 1 :]
    ):
        return False  # the script went on
    return not (awaited and any(awaited in text for _, text in head[index + 1 :]))


def _open_of_ues(head: Sequence[_Record], tail: Sequence[_Record]) -> list[str]:
    """Procedures of UEs that began before the cut and end after it."""
    begun: dict[tuple[str, str], str] = {}
    for _, text in head:
        match = _UE.search(text)
        if not match:
            continue
        ue = match[1]
        for first, then in _UE_STEPS:
            if any(word in text for word in (*then, *_LEFT)):
                begun.pop((ue, first), None)
        for first, _ in _UE_STEPS:
            if first in text and "FAILED" not in text and not any(word in text for word in _LEFT):
                begun[ue, first] = text
    found = []
    for (ue, first), _ in begun.items():
        then = next(then for step, then in _UE_STEPS if step == first)
        for _, text in tail:
            match = _UE.search(text)
            if match and match[1] == ue:
                if any(word in text for word in then):
                    found.append("procedure")
                    break
                if first in text or any(word in text for word in _LEFT):
                    break
    return found[:1]


def tm500_start_missing(lines: Sequence[str], dropped: int) -> list[str]:
    """What shows that the first `dropped` lines are missing, by kind; empty if nothing does."""
    tail = [_parse(line) for line in lines[dropped:]]
    found = []
    if tail and (tail[0][0] is None or tail[0][1].startswith("[")):
        found.append("record")
    first = next((text for at, text in tail if at is not None and not text.startswith("[")), "")
    if first.startswith("C: "):
        found.append("command")
    head_text, tail_text = "\n".join(lines[:dropped]), "\n".join(lines[dropped:])
    if "#$$START_LOGGING" in head_text and "#$$STOP_LOGGING" in tail_text:
        found.append("logging")
    if "Activate" in head_text and "UE Id" in tail_text:
        found.append("activation")
    return found


_OAI_PAIRS: Final = (
    ("Send NGSetupRequest", "Received NGSetupResponse"),
    ("Starting F1AP at DU", "F1 Setup Response"),
    ("Send RRC Setup", "Received RRCSetupComplete"),
    ("Generate SecurityModeCommand", "Received Security Mode Complete"),
    ("UECapabilityEnquiry", "Received UE capabilities"),
    ("PDUSESSIONSetup initiating", "NGAP_PDUSESSION_SETUP_RESP"),
    ("Generate RRCReconfiguration", "Received RRCReconfigurationComplete"),
    ("Initiating RA procedure", "CBRA procedure succeeded"),
    ("Initialization of 4-Step CBRA", "RA procedure succeeded"),
    ("Initial NAS Message: Registration Request", "Received Registration Accept"),
    ("PduSessionEstablishRequest", "Received PDU Session Establishment Accept"),
    ("Running Initial Synch", "Initial sync successful"),
)
_OAI_READY: Final = (
    "Send NGSetupRequest",
    "waiting for F1 Setup Response",
    "received F1 Setup Response",
    "Trying to connect",
)
_OAI_ROW: Final = re.compile(r"UE [0-9a-f]{4}: |\s+[DU]l harq: ")


def oai_outstanding(lines: Sequence[str], kept: int) -> list[str]:
    """What is outstanding if only the first `kept` lines of one source are kept, by kind; empty if nothing is."""
    head, tail = lines[:kept], lines[kept:]
    found = []
    if tail and _OAI_ROW.match(tail[0]):
        found.append("record")
    if any("<UE-NR-Capability>" in line for line in head) and any("</UE-NR-Capability>" in line for line in tail):
        found.append("record")
    for first, then in _OAI_PAIRS:
        begun = max((i for i, line in enumerate(head) if first in line), default=-1)
        if begun >= 0 and not any(then in line for line in head[begun:]) and any(then in line for line in tail):
            found.append("procedure")
            break
    ready = [mark for mark in _OAI_READY if any(mark in line for line in lines)]
    if kept > 3 and ready and not any(mark in line for line in head for mark in ready):
        found.append("set-up")
    return found
