"""One masked line in, its clues out: which procedures it opens and closes, and whether it continues the line above.

Clues of a masked line are remembered for all lines like it. What masking removes (UE numbers, times, seconds of a wait) is
read later, from the few lines that need it.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple
from zlib import crc32

from stream_triage.stages.completeness.table import (
    BLOCKS,
    DIALOGUES,
    FAILURE_WORDS,
    GONE,
    PHASES,
    PROCEDURE_WORDS,
    PROCEDURES,
    RETRY_WORDS,
    STARTS,
)

__all__ = ["Clues", "Grammar", "read_clues"]

Grammar = Literal["", "command", "query", "confirmation", "indication", "row"]
"""What a record is in a log of the tester: a command as typed, a query for statistics, a confirmation (`C:`), an indication
(`I:`) or a row of a table."""

_MARKER: Final = re.compile(r"<[a-z][a-z0-9:_-]*>")
_REPEATED: Final = re.compile(r"#(?:[ #/.:,]*#)+")
# Also after a level, a service or a date that masking took for numbers.
_STAMP: Final = re.compile(r"(?:[\[(]?(?:<num:e\d>/<num:e\d> )?<(?:time|date)>|\[ *<num:e\d>\] )")
_LEVEL: Final = r"(?:INFO|WARN(?:ING)?|ERROR|DEBUG|TRACE|FATAL|NOTICE|CRITICAL|SEVERE)\b"
_TESTER_RECORD: Final = re.compile(
    r"<time> (?:\.\.\. )?(?:(C: [A-Z_#$]+ )|(I: )|(\[[A-Z_()]+\]: )|(#\$\$)?(?!" + _LEVEL + r")([A-Z_]{3,}|[Ff]orw)(?: |$))"
)
# Names of columns, or of a table of GETSTATS: rows must follow.
_HEADING: Final = re.compile(
    r"\s*(?:(?:\[[A-Za-z][^\]\[]*\]\s*){2,}|UE ID: .*|[DU]L[- ](?:SCH|HARQ) \(\w+\)\s*"
    r"|(?:RLC|PDCP|SDAP|MAC|RRC|NAS) \([^()]*\)\s*)"
)
_CONFIRMATION: Final = re.compile(r"(?:<time> )?(?:\.\.\. )?C: ([A-Za-z_#$]+) 0x")
_TOKEN: Final = re.compile(r"[A-Za-z]+|[<>=-]{2,}")
# A line that opens a block ends with one of these.
_BLOCK_ENDS: Final = frozenset("{[>:-")
_NOT_ALNUM: Final = re.compile(r"[^a-z0-9]")
# Commands that are answered by an indication.
_LOGGING: Final = frozenset({"#$$START_LOGGING", "#$$STOP_LOGGING"})
_QUERIES: Final = re.compile(r"\b[Gg](?:et|ET)\w*|\bGSTS\b|\bGVER\b|\bGETR\b")


class Clues(NamedTuple):
    """What one masked line says."""

    text: bool
    """Whether the line is not blank."""
    kind: int
    """Hash of its words; equal for lines that differ in numbers alone."""
    body: bool
    """Whether it continues a record above: it has no time stamp, or is a row of a table."""
    grammar: Grammar = ""
    verb: str = ""
    """Of a command or a confirmation, in upper case."""
    events: tuple[tuple[int, bool], ...] = ()
    """Procedures by index, in the order of the line; true opens, false closes."""
    plain: bool = True
    """Whether it has no clues beside its kind; most lines have none."""
    begun: int = -1
    """Index of the phase that it belongs to."""
    over: int = 0
    """Bits of the phases that it ends."""
    broken: int = 0
    """Bits of the phases whose failure it reports."""
    block: int = -1
    """Index of the block that may begin here."""
    failure: bool = False
    """Whether it reports a failure."""
    gone: bool = False
    """Whether it ends all procedures of its UE."""
    asks: int = 0
    """Bits of the dialogues in which it asks, and in which it answers."""
    answers: int = 0
    first: int = 0
    """Bits of the starts that it shows, and of the starts that must have come before it."""
    later: int = 0
    heading: bool = False
    """Whether it is the heading of a table."""

    @property
    def has_pairs(self) -> bool:
        """Whether it has clues beside its kind."""
        phases = self.begun >= 0 or self.over or self.broken
        pairs = self.events or self.gone or self.asks or self.answers or self.first or self.later
        return bool(self.grammar or phases or pairs or self.block >= 0)


def read_clues(masked: str) -> Clues:
    """The clues of one masked line.

    >>> read_clues("<time> C: SETP 0x00 Ok").grammar
    'confirmation'
    >>> read_clues("   Pdu Session Id:<num:e0>").body
    True
    >>> [(PROCEDURES[i].name, opens) for i, opens in read_clues("Received NG Setup Request").events]
    [('NG set-up', True)]
    """
    grammar, verb = _grammar(masked)
    unmarked = _MARKER.sub("#", masked)
    lower = unmarked.lower()
    failure = any(word in lower for word in FAILURE_WORDS)
    squeezed = _squeezed(masked, lower, verb) if any(word in lower for word in PROCEDURE_WORDS) else ""
    retried = any(word in lower for word in RETRY_WORDS)
    words = frozenset() if grammar else frozenset(_TOKEN.findall(unmarked))
    clues = Clues(
        text=not masked.isspace() and masked != "",
        # Numbers are right-aligned in tables, so their width and the spaces before them say nothing.
        kind=crc32(_REPEATED.sub("#", " ".join(unmarked.split())).encode()),
        body=grammar == "row" or not _STAMP.match(masked),
        grammar=grammar,
        verb=verb,
        events=_events(squeezed, failure) if squeezed else (),
        begun=next((i for i, phase in enumerate(PHASES) if phase.begun.match(masked)), -1),
        over=0 if retried else _bits(any(text in masked for text in phase.over) for phase in PHASES),
        broken=_bits(any(text in masked for text in phase.failed) for phase in PHASES),
        block=_block(masked) if unmarked.rstrip()[-1:] in _BLOCK_ENDS else -1,
        failure=failure,
        gone=bool(squeezed and GONE.search(squeezed)),
        asks=_bits(not words.isdisjoint(pair.asks) for pair in DIALOGUES),
        answers=_bits(not words.isdisjoint(pair.answers) for pair in DIALOGUES),
        first=_bits(bool(start.first.search(masked)) for start in STARTS) if grammar else 0,
        later=_bits(bool(start.later.search(masked)) for start in STARTS) if grammar else 0,
        heading=bool(_HEADING.fullmatch(masked)),
    )
    return clues._replace(plain=not clues.has_pairs)


def _bits(flags: Iterable[bool]) -> int:
    return sum(1 << i for i, flag in enumerate(flags) if flag)


def _block(masked: str) -> int:
    return next((i for i, block in enumerate(BLOCKS) if block.opened.search(masked)), -1)


def _grammar(masked: str) -> tuple[Grammar, str]:
    confirmation = _CONFIRMATION.match(masked)
    if confirmation:
        return "confirmation", confirmation[1].upper()
    record = _TESTER_RECORD.match(masked)
    if not record:
        return "", ""
    if record[2]:
        return "indication", ""
    if record[3]:
        return "row", ""
    if record[1]:
        return "confirmation", record[1].split()[1].upper()
    return ("query" if _QUERIES.search(masked) else "command"), (record[4] or "") + record[5].upper()


def _squeezed(masked: str, lower: str, verb: str) -> str:
    """Letters and digits in lower case. Nothing of a command or a wait: it only names the messages of others."""
    return "" if "WAIT FOR" in masked or (verb and verb not in _LOGGING) else _NOT_ALNUM.sub("", lower)


def _events(squeezed: str, failure: bool) -> tuple[tuple[int, bool], ...]:
    found = []
    for i, procedure in enumerate(PROCEDURES):
        found += [(match.start(), 0, i) for match in procedure.closed.finditer(squeezed)]
        found += [(match.start(), 0 if failure else 1, i) for match in procedure.opened.finditer(squeezed)]
    # At one position closing comes first: `RRCSetup` answers a request and asks for `RRCSetupComplete`.
    return tuple((i, bool(opens)) for _, opens, i in sorted(found))
