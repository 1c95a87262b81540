"""Text in, masked text out: times, numbers, addresses and ids become markers; names and codes stay.

`mask` makes the text that classifiers read, `key_text` turns that into the text that templates are mined from, and `words`
cuts a masked line into words. All three depend on nothing but their arguments. `mask` takes a whole batch of lines, joined
by newlines, in one pass: a call per line costs more than the masking itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final, Literal, NamedTuple

MASKING_VERSION: Final = 1
"""Goes up whenever `mask`, `key_text` or `words` may return something else. A bundle of another version does not open."""

KEPT: Final = ""
"""As the marker of a rule: the matched text stays, and no later rule sees it."""


Numbers = Literal["magnitude", "removed", "valued"]
"""What masking keeps of a number.

`magnitude`: sign and power of ten. `removed`: nothing, as Ihalage et al. do. `valued`: more of numbers whose value decides.
A fraction below 1 (error rates) keeps its first digit, a level in dB or dBm its tens, a small count (attempts, CQI,
preambles) all of it, and 0 differs from other digits; the rest is kept by magnitude. Magnitude is served: the
out-of-fold log-loss of the pool was .080 with it, as with `valued`, and .136 with `removed` (training/LOG.md, 2026-11-25).
"""


class MaskingRule(NamedTuple):
    """One masking rule.

    A match begins with a character of the family `start` (see `_STARTS`), followed by the pattern `rest`. `marker` replaces
    it, or nothing does if that is `KEPT`. `why` is for the reader.
    """

    name: str
    start: str
    rest: str
    marker: str
    why: str


# Pieces of patterns. Rules that start with one character continue with the rest: a first digit, then `\d?:…`.
_END = r"(?!\w)"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_CLOCK = r"\d\d?:\d\d:\d\d(?:[.,:]\d{1,9})?"
_ZONE = r"(?:Z|[ ]?(?:UTC|GMT|[CEMPW]E?[SD]?T|[+-]\d\d:?\d\d)(?!\w))?"
_SPAN = rf"(?:[T_ -]|[ ]{{2}})\d\d?[:.]\d\d[:.]\d\d(?:[.,:]\d{{1,9}})?{_ZONE}"
_CALENDAR = rf"[ ]+\d\d?,?(?:[ ]\d{{4}})?[ ]+{_CLOCK}{_ZONE}(?:[ ]\d{{4}}(?!\w))?{_ZONE}"
_HEX4 = r"[0-9a-fA-F]{1,4}"
_UUID = r"[0-9a-fA-F]{7}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}(?!\w)"
_MAC = r"[0-9a-fA-F](?::[0-9a-fA-F]{2}){5}(?![\w:])|[0-9a-fA-F](?:-[0-9a-fA-F]{2}){5}(?![\w-])"
_IPV6 = rf"[0-9a-fA-F]{{0,3}}:(?:(?:{_HEX4}:){{6}}{_HEX4}|(?:{_HEX4}:){{0,5}}:(?:{_HEX4}(?::{_HEX4}){{0,5}})?)(?![\w:])"
# Four or more bytes with digits and letters among them: what follows the first character, if it is a digit or a letter.
_BYTES = r"(?:[ ][0-9a-fA-F]{1,2}){3,}(?![\w:])"
_HEX_DUMP = rf"(?:[a-fA-F]|\d?(?=(?:[ ]\d\d?){{0,32}}[ ](?:\d?[a-fA-F]|[a-fA-F][0-9a-fA-F])(?!\w))){_BYTES}"
_HEX_DUMP_LETTERED = rf"(?:\d|[a-fA-F]?(?=(?:[ ][a-fA-F]{{1,2}}){{0,32}}[ ][a-fA-F]?\d)){_BYTES}"
_SHORT_HEX = (
    r"(?:\d*(?:[a-f]{2}|[a-f]\d)[0-9a-f]*|\d*(?:[A-F]{2}|[A-F]\d)[0-9A-F]*|(?<=0)\d+[a-fA-F])"
    r"(?<=[0-9a-fA-F]{4})(?!\w)"
)

# Units that may stick to a number. No single K, M or G: 5G and 4K are names.
_UNIT = (
    r"(?:[mnu]s|secs?|mins?|hrs?|[smh]|[kKMGT]i?B(?:/s)?|[kKMG]?bps|[kMG]bit|[kMG]?Hz|dB[a-zA-Z]{0,3}|[mkW]W?|bytes|B|C|V)"
)
_FRACTION = r"(?:\.\d+)*+(?:[eE][+-]?\d+)?"
_NUMBER = rf"\d*+{_FRACTION}(?:(?!\w)|(?={_UNIT}(?!\w)))"

# What may stand between the word that announces a code and the code: "exit code 1", "errno(111)", "Cause #20", and
# "cause: radioNetwork 12" (the groups of causes in 3GPP TS 38.413).
_CODE = (
    r"(?:[ ]?[:=]?[ ](?:radioNetwork|transport|nas|protocol|misc)(?![A-Za-z]))?"
    r"(?:[ _]?(?:with|value|VALUE|code|CODE|Code|status|no\.?|number|id|IE))?(?:[ ]?[:=(\[#]|[ ])[ ]?[#(\[]?"
    r"-?(?:0[xX][0-9a-fA-F]{1,16}|\d{1,6})(?!\w|[.:,]\d)"
)

# Families of first characters: the characters, and a look-behind (ending after them) for what may stand before.
_STARTS: Final[dict[str, tuple[str, str]]] = {
    "angle": ("<", "(?<=<)"),
    "colon": (":", "(?<=:)"),
    "slash": ("/", r"(?<=/)(?<![\w.)/<>~-].)"),
    "minus": ("-", "(?<=-)"),
    "c": ("cC", "(?<=[cC])"),
    "glued digit": ("0-9", r"(?<=[A-Za-z][_-][0-9])"),
    "digit": ("0-9", r"(?<=[0-9])(?<![A-Za-z_]-.)"),
    "hex letter": ("a-fA-F", "(?<=[a-fA-F])"),
    "letter": ("DEFHJMNORSTWAerscC", "(?<=[A-Zers])"),
}

RULES: Final[tuple[MaskingRule, ...]] = (
    MaskingRule("magnitude", "angle", r"num:-?e\d+>", KEPT, "a marker of our own stays: masking twice changes nothing"),
    MaskingRule(
        "marker",
        "angle",
        r"[a-z][a-z0-9_-]*(?::[0-9a-f]{8})?>",
        "{kind}",
        "a marker of redaction or masking stays; its pseudonym is removed, since it names one subscriber",
    ),
    MaskingRule(
        "answer",
        "colon",
        r"(?:(?<=[ ][CI]:)|(?<=^[CI]:))[ ][A-Za-z_]+[ ]0[xX][0-9a-fA-F]+" + _END,
        KEPT,
        "the tester's answer and error class are codes: `C: FORW 0x06 Failure`, `I: TMAE 0x1 Warning`",
    ),
    MaskingRule(
        "url",
        "colon",
        r"(?<=[a-z]:)//[^ \n\"'()\[\]{},;]*[^ \n\"'()\[\]{},;.:]",
        "://<url>",
        "the scheme stays; host and path vary",
    ),
    MaskingRule(
        "slash_ipv4",
        "slash",
        r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\w|\.\d)",
        "<ipaddr>",
        "Java prints an address without a name as /10.0.0.1",
    ),
    MaskingRule(
        "path",
        "slash",
        r"[\w.@%+~=$-]+/[\w.@%+~=$/-]*(?:\?[\w.@%+~=$/&:;,?-]*)?",
        "<path>",
        "absolute paths name machines and checkouts; relative ones (source files of asserts) stay",
    ),
    MaskingRule("signed_id", "minus", r"(?<=[A-Za-z]_-)\d{5,}" + _END, "<id>", "instance numbers may be negative"),
    MaskingRule(
        "signed", "minus", r"(?<![\w)\]>-]-)\d" + _NUMBER, "{number}", "the sign is kept: -1 often means none or failed"
    ),
    MaskingRule(
        "code_word",
        "c",
        r"(?:ause|AUSE|(?:(?<![a-z]c)|(?<=(?:err|ret|xit|tus|ror|urn|son)c))ode|ODE)" + _CODE,
        KEPT,
        "a cause is what triage is about",
    ),
    MaskingRule(
        "glued_id",
        "glued digit",
        r"\d{4,}(?:[_-]\d+)*" + _END,
        "<id>",
        "the number of an instance, joined to a name; with fewer than five digits it belongs to the name",
    ),
    MaskingRule(
        "epoch",
        "digit",
        r"(?<=1)[4-9]\d{8}(?:\.\d{1,9}|\d{3}|\d{6})" + _END,
        "<time>",
        "seconds since 1970 with a fraction, or milli- or microseconds; ten bare digits stay a number: they may be Hz",
    ),
    MaskingRule(
        "integer",
        "digit",
        r"\d*+(?![\w.:/<-]|(?:[ ][0-9a-fA-F]{1,2}){3}(?!\w))",
        "{number}",
        "by magnitude: 3 and 7 look alike, 3 and 3000 do not",
    ),
    MaskingRule(
        "timestamp",
        "digit",
        rf"(?:\d{{3}}(?:-\d\d-\d\d|/\d\d/\d\d|\.\d\d\.\d\d)|\d?/\d\d?/\d{{4}}|\d/\d\d/\d\d){_SPAN}"
        rf"|\d/{_MONTH}/\d{{4}}:{_CLOCK}{_ZONE}",
        "<time>",
        "date and clock in one: ISO 8601, the tester's day-first stamp, dotted ones, web server logs",
    ),
    MaskingRule("clock", "digit", r"\d?:\d\d:\d\d(?:[.,:]\d{1,9})?" + _ZONE + r"(?![\w:])", "<time>", "time of day alone"),
    MaskingRule("short_clock", "digit", r"\d:[0-5]\d(?![\w:.])", "<time>", "hours and minutes, or minutes and seconds"),
    MaskingRule(
        "date",
        "digit",
        r"(?:\d{3}-\d\d-\d\d|\d{3}/\d\d/\d\d|\d?/\d\d?/\d{4}|\d/\d\d/\d\d)(?![\w/-])",
        "<date>",
        "date alone",
    ),
    MaskingRule(
        "ipv4",
        "digit",
        r"\d{0,2}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?:/\d{1,2})?(?!\w|\.\d)",
        "<ipaddr>",
        "address or prefix; a port after it is a number of its own",
    ),
    MaskingRule("hex_dump", "digit", _HEX_DUMP, "<hex>", "keys and packets printed byte by byte"),
    MaskingRule("hex_dump_lettered", "hex letter", _HEX_DUMP_LETTERED, "<hex>", "the same, beginning with a letter"),
    MaskingRule("hex", "digit", r"(?<=0)[xX][0-9a-fA-F]+" + _END, "<hex>", "addresses and bit masks"),
    MaskingRule("uuid", "digit", _UUID, "<uuid>", "RFC 9562 text form"),
    MaskingRule("uuid_lettered", "hex letter", _UUID, "<uuid>", "the same, beginning with a letter"),
    MaskingRule("mac", "digit", _MAC, "<mac>", "EUI-48"),
    MaskingRule("mac_lettered", "hex letter", _MAC, "<mac>", "the same, beginning with a letter"),
    MaskingRule("ipv6", "digit", _IPV6, "<ipaddr>", "full or shortened with `::`"),
    MaskingRule(
        "ipv6_lettered",
        "hex letter",
        r"(?=[0-9a-fA-F:]{0,40}\d)" + _IPV6,
        "<ipaddr>",
        "at least one digit, or C++ names would match",
    ),
    MaskingRule(
        "hex_word",
        "digit",
        r"(?=\d*[a-fA-F])[0-9a-fA-F]{7,}" + _END,
        "<hex>",
        "hashes and dumps without prefix: eight or more hex digits, of both kinds",
    ),
    MaskingRule(
        "hex_word_lettered",
        "hex letter",
        r"(?=[a-fA-F]*\d)[0-9a-fA-F]{7,}" + _END,
        "<hex>",
        "the same, beginning with a letter",
    ),
    MaskingRule(
        "short_hex",
        "digit",
        _SHORT_HEX,
        "<hex>",
        "4 to 7 hex digits of one case with a digit before letters (RNTIs): no name looks like that",
    ),
    MaskingRule(
        "short_hex_lettered",
        "hex letter",
        r"(?<=[a-f])[a-f]*\d[0-9a-f]*[a-f][0-9a-f]*(?<=[0-9a-f]{4})(?!\w)",
        "<hex>",
        "the same, beginning with a letter; eea0 and b210 are names",
    ),
    MaskingRule("id", "digit", r"\d*(?:_\d+)+" + _END, "<id>", "numbers joined by underscores"),
    MaskingRule(
        "number", "digit", _NUMBER, "{number}", "with fraction, exponent or unit; a version counts by its first part"
    ),
    MaskingRule(
        "stamp",
        "letter",
        r"(?:(?:(?<=M)on|(?<=T)ue|(?<=W)ed|(?<=T)hu|(?<=F)ri|(?<=S)at|(?<=S)un)[a-z]{0,6},?[ ]+"
        rf"(?:\d\d?[ ])?{_MONTH}|(?:(?<=J)an|(?<=F)eb|(?<=M)ar|(?<=A)pr|(?<=M)ay|(?<=J)un|(?<=J)ul|(?<=A)ug|(?<=S)ep"
        rf"|(?<=O)ct|(?<=N)ov|(?<=D)ec)[a-z]{{0,6}}){_CALENDAR}",
        "<time>",
        "syslog, ctime and mail dates",
    ),
    MaskingRule(
        "code",
        "letter",
        r"(?:(?<=[eE])(?:rr(?:no|or)?|xit(?:ed)?)|(?<=E)(?:RR(?:NO|OR)?|XIT)|(?<=[rR])(?:et(?:urn(?:s|ed)?|val)?|c)"
        r"|(?<=R)(?:ET(?:URN)?|C)|(?<=[sS])(?:tatus|ignal)|(?<=S)(?:TATUS|IGNAL)|(?<=H)RESULT)" + _CODE,
        KEPT,
        "exit codes, errno, return values, status and signal numbers",
    ),
    MaskingRule(
        "protocol_status",
        "letter",
        r"(?:(?<=H)TTP|(?<=S)IP|(?<=R)TSP)/\d(?:\.\d)?\"?[ ]\d{3}" + _END,
        KEPT,
        "answers of HTTP, SIP, RTSP",
    ),
)
"""All rules. The first character decides which of them may match; of these, the first one in this order wins."""


_INSIDE_WORDS: Final = ("angle", "colon", "slash", "minus", "c", "glued digit")

# Masking twice must not mask more. A marker would be a new word boundary, so nothing is masked beside a marker made here,
# or with one punctuation mark between. Raw text contains no such markers, so this costs it nothing.
_MADE_HERE: Final = ("hex", "time", "date", "ipaddr", "id", "uuid", "mac", "url", "path")
_NOT_BEFORE_MARKER: Final = rf"(?![-.:,/_]?<(?:num:|(?:{'|'.join(_MADE_HERE)})>))"
_MARKER_ENDS: Final = (*(f"<{name}>" for name in _MADE_HERE), r"[:-]e\d>", r"[:-]e\d\d>")


def _not_after(ends: tuple[str, ...]) -> str:
    return "(?:(?<!>.)(?<!>[-.:,/_].)|{})".format("".join(f"(?<!{end}.)(?<!{end}[-.:,/_].)" for end in ends))


_NOT_AFTER_MARKER: Final = _not_after(_MARKER_ENDS)
# The markers of `valued` text.
_VALUES: Final = r"num:(?:-?e\d+|-?\d+|\d?e-?\d+)>"
_VALUE_ENDS: Final = (r":\d>", r":\d\d>", r":-\d\d>", r":\d\d\d>", r":-\d\d\d>", r":\de-\d>", r":\de-\d\d>")
# Names whose small numbers are counts or indexes that decide, and the limit below which these are kept.
_COUNT: Final = re.compile(
    r"(?i)(?:\b(?:CQI|RI|PreambleTxCount|attempts?|try|retry|count|N31[01](?: count)?|retx|preamble|consecutive))[:=]?[ ]?$"
)
_COUNTED: Final = 32
_LEVEL: Final = re.compile(r"(?:RSRP|RSRQ|SINR)[:=]?[ ]?$")
_PLAIN: Final = re.compile(r"-?\d{1,9}(?:\.\d{1,12})?")
_BESIDE_MARKERS: Final = ("angle", "colon", "c", "letter")


def _family(start: str, valued: bool) -> str:
    rules = [
        rule._replace(rest=_VALUES) if valued and rule.name == "magnitude" else rule for rule in RULES if rule.start == start
    ]
    alternatives = "|".join(
        f"(?P<{rule.name}>{rule.rest})"
        if rule.marker in (KEPT, "{kind}")
        else f"(?P<{rule.name}>(?>{rule.rest}){_NOT_BEFORE_MARKER})"
        for rule in rules
    )
    beside = "" if start in _BESIDE_MARKERS else _not_after(_MARKER_ENDS + _VALUE_ENDS) if valued else _NOT_AFTER_MARKER
    return f"{_STARTS[start][1]}{beside}(?:{alternatives})"


def _compiled(valued: bool) -> re.Pattern[str]:
    """All rules in one pattern.

    It starts with a plain character class, so that `re` skips to the next candidate in its fastest loop, and then checks the
    family before it tries any rule. A plain alternation of such rules took six times as long. This one masks about 150,000
    lines a second (OpenAirInterface logs, 67 characters a line, one core).
    """
    at_word_start = "|".join(_family(start, valued) for start in _STARTS if start not in _INSIDE_WORDS)
    inside_words = "|".join(_family(start, valued) for start in _INSIDE_WORDS)
    return re.compile(
        rf"{_first(_STARTS)}(?:(?<!\w.)(?:{at_word_start})|(?<={_first(_INSIDE_WORDS)})(?:{inside_words}))",
        re.ASCII | re.MULTILINE,
    )


def _first(starts: Iterable[str]) -> str:
    """The class of all characters that these families begin with; a literal hyphen must come last in it."""
    characters = "".join(_STARTS[start][0] for start in starts if start != "minus")
    return f"[{characters}-]"


@cache
def _volatile(*, valued: bool) -> re.Pattern[str]:
    """The pattern of all rules; the one for `valued` text also knows the markers that only such text has."""
    return _compiled(valued)


_MARKERS: Final[dict[str | None, str]] = {rule.name: rule.marker for rule in RULES}
_MAGNITUDES: Final = tuple(f"<num:e{exponent}>" for exponent in range(64))
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"(?:(?<=\x1b)(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)|[@-Z\\-_]))?"
)


def mask(text: str, numbers: Numbers = "magnitude") -> str:
    r"""Replaces what varies between runs by markers, line by line.

    `text` is lines joined by "\n"; the result has exactly as many, each masked on its own. Masking twice changes nothing.
    Terminal colour sequences and control characters are removed, and a tab becomes a space.

    >>> mask("17/12/24 01:57:34:027\tC: FORW 0x04 Resource_Unavailable MTE X RETURN CODE:4 FAILED")
    '<time> C: FORW 0x04 Resource_Unavailable MTE X RETURN CODE:4 FAILED'
    >>> mask("T310 expired on RU1 after 2000 ms, offset -36.5 dB, SIB1 at 0x41cf5e0")
    'T310 expired on RU1 after <num:e3> ms, offset <num:-e1> dB, SIB1 at <hex>'
    >>> mask("connect() to 127.0.0.1:4043 failed, errno(111)")
    'connect() to <ipaddr>:<num:e3> failed, errno(111)'
    >>> mask("Registration Reject Cause #22 for <imsi:1a2b3c4d>, retry in 12s")
    'Registration Reject Cause #22 for <imsi>, retry in <num:e1>s'
    >>> mask("RSRP -117.5 dBm, BLER: 0.4312 over 800 TBs, attempt 7", "valued")
    'RSRP <num:-120> dBm, BLER: <num:4e-1> over <num:e2> TBs, attempt <num:7>'
    >>> mask("RSRP -117.5 dBm, attempt 7", "removed")
    'RSRP  dBm, attempt '
    """
    if "\t" in text:
        text = text.replace("\t", " ")
    text = _CONTROL.sub("", text)
    if numbers == "valued":
        return _volatile(valued=True).sub(_valued_replacement, text)
    masked = _volatile(valued=False).sub(_replacement, text)
    return _MAGNITUDE.sub("", masked) if numbers == "removed" else masked


def _valued_replacement(match: re.Match[str]) -> str:
    return _value(match) if _MARKERS[match.lastgroup] == "{number}" else _replacement(match)


def _value(match: re.Match[str]) -> str:
    """The marker of a number in `valued` text."""
    text, before = match[0], match.string[max(0, match.start() - 20) : match.start()]
    if not text.strip("0."):
        return "<num:0>"
    if text.startswith("0."):
        return f"<num:{_coarse(text)}>"
    if text.isdigit() and int(text) < _COUNTED and _COUNT.search(before):
        return f"<num:{int(text)}>"
    if _LEVEL.search(before) or match.string.startswith(" dB", match.end()):
        return f"<num:{round(float(text) / 10) * 10}>" if _PLAIN.fullmatch(text) else _number(text)
    return _number(text)


def _coarse(text: str) -> str:
    """One significant digit: 0.4312 is 4e-1."""
    digit, _, exponent = f"{float(text):.0e}".partition("e") if _PLAIN.fullmatch(text) else ("", "", "0")
    return f"{digit}e{int(exponent)}"


def _replacement(match: re.Match[str]) -> str:
    marker = _MARKERS[match.lastgroup]
    if marker == "{number}":
        return _number(match[0])
    if marker == KEPT:
        return match[0]
    if marker == "{kind}":
        return match[0].partition(":")[0].rstrip(">") + ">"
    return marker


def _number(text: str) -> str:
    """The marker of a number: its sign if negative and the power of ten of its whole part; below 1 counts as e0."""
    if text.isdigit():
        return _MAGNITUDES[min(max(len(text.lstrip("0")), 1), 64) - 1]
    sign = "-" if text[0] == "-" else ""
    whole, _, exponent = text.lstrip("-").lower().partition("e")
    digits = len(whole.partition(".")[0].lstrip("0"))
    power = min(max(digits - 1 + int(exponent[:4] or 0), 0), 63)
    return f"<num:{sign}e{power}>"


_MAGNITUDE: Final = re.compile(r"<num:-?e\d+>")
_ANY_NUMBER: Final = re.compile(r"<num:(?:-?e\d+|-?\d+|\d?e-?\d+)>")
_ID_WORD: Final = re.compile(r"(?:\b[\w.-]+)?<id>(?:[\w.-]*<id>)*[\w.-]*", re.ASCII)
_URL_WORD: Final = re.compile(r"\b[\w.+-]+://<url>", re.ASCII)
_AMOUNT: Final = re.compile(r"<num> bytes \(<num> ?[kKMGT]i?B\)|<num>(?: ?(?:(?:[kKMGT]i?)?B|[mnu]?s|sec)\b)+")
_LIST: Final = re.compile(r"(<ipaddr>|<id>)(?:[, ]+\1)+")
_WORD: Final = re.compile(r"<[a-z][a-z0-9:_-]*>|(?<!\w)-\d+|\w+")


def key_text(masked: str) -> str:
    """The text that templates are mined from, line by line: what differs between two lines of one message is removed.

    Numbers lose magnitude, sign, and a unit of bytes or seconds. An id is removed with the name it is joined to, and a URL
    loses its scheme. A list of addresses or ids becomes one of them, and an amount that is printed twice, as in
    `2048 bytes (2 KB)`, one amount.

    >>> key_text("lost <num:e2> of <num:-e0>, cause 22")
    'lost <num> of <num>, cause 22'
    >>> key_text("blk_<id> of <num:e3> KB to <ipaddr>,<ipaddr>")
    '<id> of <num> to <ipaddr>'
    """
    text = _ANY_NUMBER.sub("<num>", masked)
    text = _AMOUNT.sub(_amount, text)
    if "<id>" in text:
        text = _ID_WORD.sub("<id>", text)
    if "<url>" in text:
        text = _URL_WORD.sub("<url>", text)
    return _LIST.sub(r"\1", text)


def _amount(match: re.Match[str]) -> str:
    return "<num> bytes" if match[0].startswith("<num> bytes") else "<num>"


def words(masked: str) -> list[str]:
    """The words of a masked line in lower case, in order. Punctuation separates; markers and signed codes are words.

    >>> words("C: FORW 0x06 Failure RETURN CODE:8030, T310=<num:e3> rc=-1")
    ['c', 'forw', '0x06', 'failure', 'return', 'code', '8030', 't310', '<num:e3>', 'rc', '-1']
    """
    return _WORD.findall(masked.lower())
