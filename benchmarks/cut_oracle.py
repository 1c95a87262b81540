"""A whole log and a place where it is cut in; what the cut leaves outstanding, out.

The product sees one side of a cut. The oracle sees both, and it knows the wordings of its two corpora: what was begun on
the side that is kept and is answered on the other side is outstanding. It shares no code with the product.

TM500 style (`tm500_outstanding`), if the first lines are kept:

- `command`: the confirmation of the last command is cut off;
- `wait`: the last `WAIT` is not over: neither its text nor the next command of the script came, and its time is not over;
- `procedure`: the end of a random access, the registration after a connection, the session after a registration, or the
  end of a re-establishment of some UE is cut off;
- `record`: the first line that is cut off continues a record or a table;
- `set-up`: the activation of the UEs is cut off.

If the last lines are kept (`tm500_start_missing`): `command`, `record`, and `start` (UEs are at work whose
start is cut off).

OpenAirInterface (`oai_outstanding`), for each source: `procedure` (the pairs in `_OAI_PAIRS`), `record` (a statistics
table, an XML dump) and `set-up` (the program is not ready).
"""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

__all__ = ["oai_outstanding", "tm500_outstanding", "tm500_start_missing"]

_Record = tuple[float | None, str]
"""Time of day in seconds, None for a line that continues a record, and the text."""

_UE: Final = re.compile(r"UE Id\s*:\s*(\d+)")
_STAMP: Final = re.compile(r"\d\d/\d\d/\d\d (\d\d):(\d\d):(\d\d):(\d{3})\t(?:\.\.\. )?(.*)")
_WAIT: Final = re.compile(r'WAIT (?:FOR "([^"]+)" TIMEOUT (\d+)|(\d+))')
# What comes first, and what may come next on the other side, for each UE.
_UE_STEPS: Final = {
    "Random Access Initiated": ("Random Access Complete", "Random Access Error", "Random Access Cancelled"),
    "NR CONNECTION IND": ("REGISTRATION IND", "REJECT"),
    "ECM CONNECTION IND": ("EMM REGISTER IND", "REJECT"),
    "NR REGISTRATION IND": ("PDU SESSION ESTABLISHMENT IND",),
    "EMM REGISTER IND": ("PDN CONNECTION IND",),
    "Re-establishment Started": ("Re-establishment Success",),
}
_LEFT: Final = ("DISCONNECTION IND", "DEREGISTRATION IND", "EMM DEREGISTER IND")
# Of the lines before a cut; there must be a few for anything to be due.
_FEW: Final = 3


def tm500_outstanding(lines: Sequence[str], kept: int) -> list[str]:
    """What is outstanding if only the first `kept` lines are kept; empty if nothing is."""
    head, tail = [_parse(line) for line in lines[:kept]], [_parse(line) for line in lines[kept:]]
    commands = [i for i, record in enumerate(head) if _is_command(record)]
    waits = [i for i in commands if head[i][1].startswith("WAIT")]
    sent = [i for i in commands if not head[i][1].startswith("WAIT")]
    activated = any("Activate" in head[i][1] for i in commands)
    found = {
        "record": bool(tail) and _continues(tail[0]),
        "set-up": kept > _FEW and not activated,
        "command": bool(sent) and _unconfirmed(head[sent[-1] :], tail),
        "wait": bool(waits and tail) and _waiting(head[waits[-1] :]),
        "procedure": any(_answered(tail, ue, step) for ue, step in _open_steps(head)),
    }
    return [kind for kind, is_outstanding in found.items() if is_outstanding]


def tm500_start_missing(lines: Sequence[str], dropped: int) -> list[str]:
    """What shows that the first `dropped` lines are missing; empty if nothing does."""
    head, tail = "\n".join(lines[:dropped]), "\n".join(lines[dropped:])
    records = [_parse(line) for line in lines[dropped:]]
    first = next((record for record in records if not _continues(record)), (None, ""))
    found = {
        "record": bool(records) and _continues(records[0]),
        "command": first[1].startswith("C: "),
        "start": "Activate" in head and _at_work(tail),
    }
    return [kind for kind, is_missing in found.items() if is_missing]


def _at_work(tail: str) -> bool:
    """Whether UEs go on in `tail` before any of them starts anew there."""
    return len(_UE.findall(re.split("ACTIVE RAT|Random Access Initiated", tail, maxsplit=1)[0])) >= _FEW


def _parse(line: str) -> _Record:
    match = _STAMP.match(line)
    if not match:
        return None, line.strip()
    hours, minutes, seconds, thousandths, text = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(thousandths) / 1000, text


def _continues(record: _Record) -> bool:
    return record[0] is None or record[1].startswith("[")


def _is_command(record: _Record) -> bool:
    return not _continues(record) and not record[1].startswith(("C: ", "I: "))


def _unconfirmed(head: Sequence[_Record], tail: Sequence[_Record]) -> bool:
    """Whether the command that `head` begins with is confirmed in `tail`."""
    if any(text.startswith("C: ") for _, text in head):
        return False
    words = head[0][1].replace("#$$", "").upper().split()
    name = words[2] if words[0] == "FORW" and len(words) > 2 else words[0]
    until_next = takewhile(lambda record: not _is_command(record), tail)
    confirmation = next((text for _, text in until_next if text.startswith("C: ")), "")
    return name in confirmation.upper()


def _waiting(head: Sequence[_Record]) -> bool:
    """Whether the wait that `head` begins with is not over at its end."""
    (since, text), later = head[0], head[1:]
    match = _WAIT.match(text)
    if not match or since is None:
        return False
    awaited, limit, plain = match.groups()
    last = next((at for at, _ in reversed(head) if at is not None), since)
    went_on = any(_is_command(record) and "STATS" not in record[1].upper() for record in later)
    came = bool(awaited) and any(awaited in text for _, text in later)
    return not went_on and not came and (last - since) % 86_400 < float(limit or plain)


def _open_steps(head: Sequence[_Record]) -> Iterator[tuple[str, str]]:
    """UE and step of all procedures that were begun in `head` and not ended there."""
    begun: set[tuple[str, str]] = set()
    for _, text in head:
        match = _UE.search(text)
        if match:
            left = any(word in text for word in _LEFT)
            begun -= {(match[1], step) for step, ends in _UE_STEPS.items() if left or any(word in text for word in ends)}
            begun |= {(match[1], step) for step in _UE_STEPS if step in text and not left}
    yield from begun


def _answered(tail: Sequence[_Record], ue: str, step: str) -> bool:
    """Whether the next thing that the UE does in `tail` about this procedure is to end it."""
    for _, text in tail:
        match = _UE.search(text)
        if match and match[1] == ue:
            if any(word in text for word in _UE_STEPS[step]):
                return True
            if step in text or any(word in text for word in _LEFT):
                return False
    return False


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
    """What is outstanding if only the first `kept` lines of one source are kept; empty if nothing is."""
    head, tail = lines[:kept], lines[kept:]
    ready = [mark for mark in _OAI_READY if _has(lines, mark)]
    found = {
        "record": bool(tail and _OAI_ROW.match(tail[0]))
        or (_has(head, "<UE-NR-Capability>") and _has(tail, "</UE-NR-Capability>")),
        "procedure": any(_open_pair(head, tail, first, then) for first, then in _OAI_PAIRS),
        "set-up": kept > _FEW and bool(ready) and not any(_has(head, mark) for mark in ready),
    }
    return [kind for kind, is_outstanding in found.items() if is_outstanding]


def _open_pair(head: Sequence[str], tail: Sequence[str], first: str, then: str) -> bool:
    begun = max((i for i, line in enumerate(head) if first in line), default=-1)
    return begun >= 0 and not _has(head[begun:], then) and _has(tail, then)


def _has(lines: Sequence[str], text: str) -> bool:
    return any(text in line for line in lines)
