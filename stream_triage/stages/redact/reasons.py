"""A number without a name in, whether something beside it says that it is the number of a subscriber out.

Counters, times and serial numbers have as many digits, and a number of 15 digits begins with the country code of an IMSI
about every third time. So a bare number needs a reason: a word of a mobile network on its line, and neither the name nor the
unit of a quantity beside it.
"""

import re
from typing import Final

from stream_triage.stages.redact.names import is_other_hex, words_of

__all__ = ["is_no_quantity", "is_of_subscriber"]

# Networks of laboratories: 001/01 and its neighbours, 999/70, 901/70, 999/99. A counter seldom begins with five such digits.
_TEST_NETWORKS: Final = ("0010", "99970", "90170", "99999")
_SUBJECT: Final = re.compile(
    r"(?<![A-Za-z])(?:imsi|supi|suci|msin|guti|tmsi|imei|msisdn|gpsi|iccid|[ue]?sim|uicc|ue|ues|mobile|subs?|subscri[a-z]{1,8}"
    r"|attach[a-z]{0,3}|detach[a-z]{0,3}|(?:de)?regist[a-z]{2,8}|paging|paged|authentica[a-z]{2,5}|identity|roam[a-z]{2,4}"
    r"|hss|hlr|vlr|udm|udr|ausf|amf|mme|msc|smf|sgsn|ggsn|[sp]gw|pcrf|pcf|upf|nudm|nausf|namf|nsmf|npcf"
    r"|nas|emm|esm|[5g]mm|5gmm|5gsm|ngap|s1ap|plmn|apn|dnn|pdn|bearer|pdu[ _-]?session|(?:create|modify|delete)[ ]session"
    r"|session[ ](?:of|for)|tracking[ ]area|handover|rnti|mcc|mnc|bcd|auc|sqn|opc?|ki?|milenage"
    r"|provision[a-z]{0,4}|diameter|s6a|cdr)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_QUANTITIES: Final = frozenset(
    part
    for part in """
    bytes byte octets octet bits count counter counters counts cnt time times ts timestamp clock monotonic epoch uptime ns us
    ms usec nsec msec sec seconds tsc rdtsc ticks tick cycles cycle seq sequence ack offset delta diff drift skew size len
    length total totals sum mean avg average max min used left quota usage duration dur deadline
    expires expiry now at since until took elapsed rx tx ul dl value val rate volume packets
    packet pkts pkt frames frame pdus address addr ptr pointer handle hash checksum crc serial sn tid pid txid lsn version
    row rows line block blocks inode batch build job ticket order nonce seed generation latency rtt freq frequency
    """.split()  # noqa: SIM905 (a list of words is easier to read)
)
_NAME: Final = re.compile(
    r"(?P<n>[A-Za-z][A-Za-z0-9_./-]{0,47})[\"'\])]{0,3}[ \t]{0,8}(?:[:=|,]|->)?[ \t]{0,8}[\"'\[(+-]{0,3}\Z"
)
_UNIT: Final = re.compile(
    r"[ \t]?(?:[munp\u00b5]?s|secs?|seconds|(?:milli|micro|nano)seconds"
    r"|[kmgt]?i?b|bytes?|octets?|bits?|packets?|pkts|frames|pdus|cycles|ticks"
    r"|instructions|hz|rows)(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_DOMAIN: Final = re.compile(r"@[A-Za-z]")
_KEY: Final = re.compile(r"(?<![0-9A-Za-z])(?:0x)?[0-9A-Fa-f]{32}(?![0-9A-Za-z])")
# A time stamp in front of a line, before the name of a layer, a level or a process.
_STAMP_END: Final = re.compile(
    r"[\])]?:?[ \t]{1,8}[\[<({]|[\])]:?[ \t](?![ \t]{0,8}(?:at|de)tach|[ \t]{0,8}(?:de)?regist|[ \t]{0,8}pag(?:ing|ed))",
    re.IGNORECASE,
)
_RANGE: Final = re.compile(r"[ ]?(?:to|->|-|\.\.)[ ]?[0-9]{15}(?![0-9])")
_RANGE_BEFORE: Final = re.compile(r"(?<![0-9])[0-9]{15}[ ]?(?:to|->|-|\.\.)[ ]?\Z")
_TAIL: Final = 96
_BEFORE: Final = 200
_AFTER: Final = 80


def is_of_subscriber(match: re.Match[str]) -> bool:
    """Whether a bare number is an IMSI: it is of a test network, or its line says that it is one."""
    if match["v"].startswith(_TEST_NETWORKS):
        return True
    before, after = _around(match)
    if not before.strip(" \t[(\"'") and _STAMP_END.match(after):
        return False
    if _is_quantity(before, after) or _RANGE.match(after) or _RANGE_BEFORE.search(before):
        return False
    return bool(_DOMAIN.match(after) or _SUBJECT.search(before) or _SUBJECT.search(after)) or _has_key(before, after)


def _has_key(before: str, after: str) -> bool:
    """Whether 16 bytes in hex stand on the line that nothing makes a digest or an id: the number is whose key it is."""
    line = f"{before} {after}"
    return any(not is_other_hex(line[: key.start()][-_TAIL:]) for key in _KEY.finditer(line))


def is_no_quantity(match: re.Match[str]) -> bool:
    """Whether neither the name nor the unit of a quantity stands beside a number."""
    return not _is_quantity(*_around(match))


def _around(match: re.Match[str]) -> tuple[str, str]:
    """What stands before and after the value on its line."""
    text, start, end = match.string, match.start("v"), match.end("v")
    return text[max(0, start - _BEFORE) : start].rpartition("\n")[2], text[end : end + _AFTER].partition("\n")[0]


def _is_quantity(before: str, after: str) -> bool:
    if _UNIT.match(after):
        return True
    name = _NAME.search(before[-64:])
    return name is not None and not _QUANTITIES.isdisjoint(words_of(name["n"])[-3:])
