"""The messages and timers of RRC and NAS that are logged, and how each vocabulary writes them.

Names and causes are those of TS 38.331, 36.331, 24.501, 24.301, 33.501; only their spelling differs between vocabularies.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

__all__ = ["MESSAGES", "TIMERS", "WRITERS", "ProtocolMessage", "Writers", "protocol_line"]


class ProtocolMessage(NamedTuple):
    """A message of RRC or NAS: whether the UE sends it, its names in NR and LTE, and its fields with their units."""

    nas: bool
    uplink: bool
    nr: str
    lte: str
    fields: tuple[str, ...] = ()


def _rrc(uplink: bool, nr: str, lte: str = "", *fields: str) -> ProtocolMessage:
    return ProtocolMessage(False, uplink, nr, lte or nr, fields)


def _nas(uplink: bool, nr: str, lte: str = "", *fields: str) -> ProtocolMessage:
    return ProtocolMessage(True, uplink, nr, lte or nr, fields)


MESSAGES: Final[Mapping[str, ProtocolMessage]] = {
    "setup": _rrc(True, "RRCSetupRequest", "RRCConnectionRequest"),
    "setup_done": _rrc(True, "RRCSetupComplete", "RRCConnectionSetupComplete"),
    "as_security": _rrc(False, "SecurityModeCommand"),
    "as_security_done": _rrc(True, "SecurityModeComplete"),
    "as_security_fail": _rrc(True, "SecurityModeFailure"),
    "capability": _rrc(False, "UECapabilityEnquiry"),
    "capability_done": _rrc(True, "UECapabilityInformation"),
    "reconfig": _rrc(False, "RRCReconfiguration", "RRCConnectionReconfiguration", "transaction"),
    "reconfig_done": _rrc(True, "RRCReconfigurationComplete", "RRCConnectionReconfigurationComplete"),
    "reconfig_fail": _rrc(True, "reconfigurationFailure", "", "element"),
    "sync_reconfig": _rrc(False, "reconfigurationWithSync", "mobilityControlInfo", "target"),
    "report": _rrc(True, "MeasurementReport", "", "event", "target"),
    "release": _rrc(False, "RRCRelease", "RRCConnectionRelease"),
    "early_release": _rrc(False, "RRCRelease", "RRCConnectionRelease", "release"),
    "reject": _rrc(False, "RRCReject", "RRCConnectionReject", "wait"),
    "reest_reject": _rrc(False, "RRCReestablishmentReject", "RRCConnectionReestablishmentReject"),
    "paging": _rrc(False, "Paging"),
    "auth": _nas(False, "AUTHENTICATION REQUEST"),
    "auth_done": _nas(True, "AUTHENTICATION RESPONSE"),
    "auth_fail": _nas(True, "AUTHENTICATION FAILURE", "", "cause"),
    "auth_reject": _nas(False, "AUTHENTICATION REJECT"),
    "nas_security": _nas(False, "SECURITY MODE COMMAND"),
    "nas_security_done": _nas(True, "SECURITY MODE COMPLETE"),
    "nas_security_reject": _nas(True, "SECURITY MODE REJECT", "", "capabilities"),
    "service": _nas(True, "SERVICE REQUEST"),
    "service_reject": _nas(False, "SERVICE REJECT", "", "cause"),
    "reg_reject": _nas(False, "REGISTRATION REJECT", "ATTACH REJECT", "cause"),
    "session_reject": _nas(False, "PDU SESSION ESTABLISHMENT REJECT", "PDN CONNECTIVITY REJECT", "cause"),
    "network_dereg": _nas(False, "DEREGISTRATION REQUEST", "DETACH REQUEST", "cause"),
}
# Event → timer and what happens to it; the timer of NAS is a value of the record.
TIMERS: Final[Mapping[str, tuple[str, str]]] = {
    "t300": ("T300", "expired"), "t301": ("T301", "expired"), "t304": ("T304", "expired"), "t311": ("T311", "expired"),
    "t310_start": ("T310", "started"), "t310_stop": ("T310", "stopped"), "t310_expiry": ("T310", "expired"),
    "nas_timer": ("", "expired"),
}  # fmt: skip
# 5GMM and 5GSM cause values of the records whose cause is always the same.
_CAPABILITIES: Final = (23, "UE security capabilities mismatch")

Details = list[tuple[str, str]]


def _details(message: ProtocolMessage, values: Mapping[str, Any]) -> Details:
    """Fields with their values; a cause is its number, a space, and its words."""
    found: Details = []
    for field in message.fields:
        if field == "cause":
            words = f" {values['word']}" if "word" in values else ""
            found.append(("cause", f"{values['cause']}{words}"))
        elif field == "capabilities":
            found.append(("cause", f"{_CAPABILITIES[0]} {_CAPABILITIES[1]}"))
        elif field == "wait":
            found.append(("waitTime", str(values["n"])))
        elif field == "transaction":
            found.append(("transactionId", str(values["n"])))
        elif field == "release":
            found.append(("releaseCause", "other"))
        elif field == "element":
            found.append(("cannotComply", str(values["ie"])))
        elif field == "target":
            found.append(("targetCell", str(values["target"])))
        else:
            found.append((field, str(values[field])))
    return found


def _words(name: str) -> list[str]:
    """The words of a name: `RRCSetupRequest` and `SERVICE REJECT` have three and two."""
    if " " in name or name.isupper():
        return name.split()
    return re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", name)


def snake(name: str) -> str:
    """`RRCSetupRequest` as `rrc_setup_request`."""
    return "_".join(word.lower() for word in re.split(r"[ _-]+", "_".join(_words(name))))


def camel(name: str) -> str:
    """`SERVICE REJECT` as `ServiceReject`."""
    return "".join(word[:1].upper() + word[1:].lower() for word in re.split(r"[ _-]+", "_".join(_words(name))))


def hyphenated(name: str) -> str:
    """`SERVICE REJECT` as `service-Reject`, as names in ASN.1 are written."""
    words = [word.lower() for word in re.split(r"[ _-]+", "_".join(_words(name)))]
    return "-".join([words[0], *(word.capitalize() for word in words[1:])])


def _keyed(kind: str, name: str, uplink: bool, v: str, details: Details) -> str:
    pairs = " ".join(
        f"{snake(key)}={value.lower().replace(' ', '_') if value[0].isdigit() else snake(value)}" for key, value in details
    )
    return f"{kind} msg={snake(name)} dir={'ul' if uplink else 'dl'} {v} {pairs}".rstrip()


def _camel(kind: str, name: str, uplink: bool, v: str, details: Details) -> str:
    way = f"{'Nas' if 'NAS' in kind else 'Rrc'}{'Ul' if uplink else 'Dl'}"
    fields = " ".join(f"{key[0].upper()}{key[1:]}({value})" for key, value in details)
    return f"{kind.removesuffix(' NAS')} {way}::{camel(name)} {v} {fields}".rstrip()


def _notation(kind: str, name: str, uplink: bool, v: str, details: Details) -> str:
    way = f"{'nas' if 'NAS' in kind else 'rrc'}-{'UL' if uplink else 'DL'}"
    fields = "".join(f", {key} {_enumerated(value)}" for key, value in details)
    spelled = hyphenated(name) if "NAS" in kind else camel(name)[0].lower() + camel(name)[1:]
    return f"{kind.removesuffix(' NAS')} {way} : {spelled} {{ {v}{fields} }}"


def _enumerated(value: str) -> str:
    """A cause as `congestion(22)`; other values as they are."""
    number, _, words = value.partition(" ")
    return f"{words[0].lower()}{camel(words)[1:]}({number})" if words and number.isdigit() else value


def _sentence(kind: str, name: str, uplink: bool, v: str, details: Details) -> str:
    fields = "".join(f", {' '.join(_words(key)).lower()} {value}" for key, value in details)
    return f"{kind} {v} {'sends' if uplink else 'receives'} {name}{fields}."


def _pipes(kind: str, name: str, uplink: bool, v: str, details: Details) -> str:
    fields = "".join(f"|{' '.join(_words(key)).upper()}={value.upper()}" for key, value in details)
    return f"{kind} {'UL' if uplink else 'DL'}|{' '.join(_words(name)).upper()}|{v}{fields}"


def _brackets(kind: str, name: str, uplink: bool, v: str, details: Details) -> str:
    fields = ", ".join(f"{' '.join(_words(key)).lower()} {value.lower()}" for key, value in details)
    spelled = " ".join(_words(name)).lower() if "NAS" in kind else name
    return f"{kind} {v}: {'tx' if uplink else 'rx'} {spelled}" + (f" ({fields})" if fields else "")


_STATES: Final = {"started": "run", "stopped": "stop", "expired": "expired"}


def _keyed_timer(kind: str, timer: str, what: str, v: str, n: Any) -> str:
    return f"{kind} timer={timer.lower()} {v} state={_STATES[what]}" + (f" try={n}" if n else "")


def _camel_timer(kind: str, timer: str, what: str, v: str, n: Any) -> str:
    return f"{kind.removesuffix(' NAS')} {'Nas' if 'NAS' in kind else 'Rrc'}Timer::{timer}{what.capitalize()} {v}" + (
        f" Attempt#{n}" if n else ""
    )


def _notation_timer(kind: str, timer: str, what: str, v: str, n: Any) -> str:
    return f"{kind.removesuffix(' NAS')} timer : {{ {v}, {timer.lower()} {what}" + (f", transmission {n} }}" if n else " }")


def _sentence_timer(kind: str, timer: str, what: str, v: str, n: Any) -> str:
    verb = {"started": "is running", "stopped": "was stopped", "expired": "has run out"}[what]
    return f"{kind} {timer} of {v} {verb}" + (f", attempt {n}." if n else ".")


def _pipes_timer(kind: str, timer: str, what: str, v: str, n: Any) -> str:
    state = {"started": "START", "stopped": "STOP", "expired": "EXP"}[what]
    return f"{kind} TMR|{timer}|{state}|{v}" + (f"|NUM={n}" if n else "")


def _brackets_timer(kind: str, timer: str, what: str, v: str, n: Any) -> str:
    verb = {"started": "started", "stopped": "stopped", "expired": "expiry"}[what]
    return f"{kind} {v}: {timer.lower()} {verb}" + (f" (try #{n})" if n else "")


class Writers(NamedTuple):
    """How a vocabulary writes messages and timers, and the names of parameters."""

    message: Callable[[str, str, bool, str, Details], str]
    timer: Callable[[str, str, str, str, Any], str]
    parameter: Callable[[str], str]


WRITERS: Final[Mapping[str, Writers]] = {
    "keyed": Writers(_keyed, _keyed_timer, str.lower),
    "camel": Writers(_camel, _camel_timer, lambda name: "".join(part.capitalize() for part in name.split("_"))),
    "notation": Writers(_notation, _notation_timer, lambda name: name.lower().replace("_", "-")),
    "sentences": Writers(_sentence, _sentence_timer, lambda name: name.lower().replace("_", ".")),
    "pipes": Writers(_pipes, _pipes_timer, lambda name: f"PRM/{name.replace('_', '/')}"),
    "brackets": Writers(_brackets, _brackets_timer, lambda name: f"[{name.lower().replace('_', ' ')}]"),
}


def protocol_line(vocabulary: str, event: str, v: str, lte: bool, values: Mapping[str, Any]) -> str:
    """The record of a message or timer in one of the vocabularies that `WRITERS` has."""
    writers = WRITERS[vocabulary]
    if event in TIMERS:
        timer, what = TIMERS[event]
        if not timer:
            return writers.timer("MTE 0 NAS", values["timer"], what, v, values["n"])
        return writers.timer("RRC", timer, what, v, 0)
    message = MESSAGES[event]
    kind = "MTE 0 NAS" if message.nas else "RRC"
    return writers.message(kind, message.lte if lte else message.nr, message.uplink, v, _details(message, values))
