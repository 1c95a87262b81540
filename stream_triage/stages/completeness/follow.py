"""Lines of one source with their clues in, in order; what is open at any time is kept, and nothing else. The state is bounded."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from stream_triage.stages.completeness.clues import Clues
from stream_triage.stages.completeness.table import BLOCKS, DIALOGUES, PHASES, STARTS

__all__ = ["CompletenessState", "Context", "Open", "Wait", "clock", "follow"]

# Bounds of the state of one source.
MAX_OPEN: Final = 1024
MAX_CONTEXTS: Final = 4096
MAX_WAITS: Final = 16
MAX_VERBS: Final = 256
# First lines that are kept to judge the beginning.
HEAD_LINES: Final = 3
DAY_SECONDS: Final = 86_400

_CLOCK: Final = re.compile(r"(?<!\d)(\d\d):(\d\d):(\d\d)(?:[.,:](\d{1,9}))?")
# A time stamp is at the beginning of a line, perhaps behind a level or a service.
_STAMP_WIDTH: Final = 60
# A line may name a UE by number and by RNTI; the RNTI is the same in all programs.
_RNTI: Final = re.compile(r"\b(?:rnti|RNTI)\s*[:=\[]?\s*(?:0x)?([0-9a-f]*\d[0-9a-f]*)\b")
_UE: Final = re.compile(r"\b(?:UE|ue)(?:[ _-]?[Ii][Dd])?\s*[:=\[#]?\s*([0-9a-f]*\d[0-9a-f]*)\b")
_WAIT: Final = re.compile(r'\bWAIT (?:(\d+)\s*$|FOR "([^"]+)"(?: TIMEOUT (\d+))?)')
_UE_BLOCK: Final = re.compile(r"\s+UE ID: (\d+)")
_UE_LIST: Final = re.compile(r"\[(\d+(?:,\d+)*)\]")


class Open(NamedTuple):
    """A request that was not answered yet: its line, and the time of day in seconds."""

    line: int
    at: float | None


class Wait(NamedTuple):
    """A wait of a script: its line, when it began, for what, and for how many seconds at most."""

    line: int
    at: float | None
    text: str
    seconds: float


class Context:
    """What came after a certain pair of lines so far."""

    __slots__ = ("body", "next", "rows", "seen")

    def __init__(self, next_kind: int | None) -> None:
        self.seen = 0
        self.next = next_kind
        """Kind of the line that always came next; None if several did, or if it begins a new round of a loop."""
        self.body = True
        """Whether the next line always continued the record."""
        self.rows = 1 << 30
        """Fewest lines of the second kind in a row."""

    def add(self, clue: Clues, goes_on: bool, rows: int) -> None:
        """Counts what came next, whether it continued the record, and how many lines of the second kind came before it."""
        self.seen += 1
        if self.next != clue.kind:
            self.next = None
        self.body &= goes_on
        self.rows = min(self.rows, rows)


class After:
    """What came after a certain kind of line so far."""

    __slots__ = ("body", "order", "seen")

    def __init__(self, order: int) -> None:
        self.order = order
        """How many other kinds came before its first line."""
        self.seen = 0
        self.body = True
        """Whether the next line always continued the record."""


class Exchange:
    """One dialogue of a source: how often it was answered and not, and the line that was not answered yet."""

    __slots__ = ("answered", "line", "longest", "unanswered")

    def __init__(self) -> None:
        self.answered = self.unanswered = self.line = 0
        self.longest = 0
        """Most lines from a request to its answer."""


class CompletenessState:
    """All that is kept of one source."""

    def __init__(self) -> None:
        self.lines = 0
        self.texts = 0
        """Lines with text, and of these the ones with a time stamp."""
        self.stamped = 0
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.head: list[tuple[int, str, Clues]] = []
        self.last: tuple[int, str, Clues] | None = None
        """The last line with text, and the one before it."""
        self.before = ""
        self.ends_blank = False
        """Whether only spaces follow it."""
        self.open: dict[tuple[int, str], Open] = {}
        self.closed: set[int] = set()
        """Procedures that this log completed at least once."""
        self.orphans: dict[int, int] = {}
        """Procedures whose answer came before any request, with the line."""
        self.opened: set[int] = set()
        """Procedures that were begun at least once."""
        self.repeated: set[int] = set()
        """Procedures that one UE began again without an answer."""
        self.command: Open | None = None
        self.command_verb = ""
        self.command_text = ""
        self.confirmed: dict[str, int] = {}
        self.unconfirmed: dict[str, int] = {}
        """Commands by verb: how often each was confirmed, and how often the next command came first."""
        self.due_table = 0
        """Line of a confirmation whose table did not begin yet."""
        self.commands = 0
        self.orphan_confirmation = 0
        self.waits: list[Wait] = []
        self.due_ues: list[str] = []
        """UEs that the last query for statistics named and whose tables did not come yet."""
        self.phase_lines = [0] * len(PHASES)
        self.phase_first = [0] * len(PHASES)
        self.phase_over = 0
        self.exchanges = [Exchange() for _ in DIALOGUES]
        self.started = 0
        """Bits of the starts that the log shows."""
        self.not_started: dict[int, int] = {}
        """Starts that were missing when something needed them, with the line that did."""
        self.block: tuple[int, int, str] | None = None
        """Block that is open: its index, its first line, and its name."""
        self.contexts: dict[tuple[int, int], Context] = {}
        self.after: dict[int, After] = {}
        self.starters: set[int] = set()
        """Kinds of lines that were the first to continue a record."""
        self.pair = (0, 0)
        self.rows = 0
        self.head_kind_again = 0
        self.open_line = False
        """Whether the last line has no line end; set when the source ends."""


def clock(line: str) -> float | None:
    """Time of day of a line in seconds, None if it has no time stamp."""
    match = _CLOCK.search(line, 0, _STAMP_WIDTH)
    if not match:
        return None
    hours, minutes, seconds, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction or 0}")


def elapsed(since: float, until: float) -> float:
    """Seconds between two times of day; a log that goes back a little has records out of order."""
    passed = (until - since) % DAY_SECONDS
    return passed if passed < DAY_SECONDS / 2 else 0.0


def follow(state: CompletenessState, lines: Sequence[str], clues: Sequence[Clues], first_number: int) -> None:
    """Takes the next lines of a source in order, each with the clues of its masked form."""
    for number, (line, clue) in enumerate(zip(lines, clues, strict=True), first_number):
        if not line or line.isspace():
            state.ends_blank = bool(line)
            continue
        state.texts += 1
        if not clue.body:
            state.stamped += 1
        if len(state.head) < HEAD_LINES:
            state.head.append((number, line, clue))
        _follow_order(state, clue)
        if clue.grammar:
            _follow_tester(state, line, clue, number)
        if clue.events or clue.gone:
            _follow_procedures(state, line, clue, number)
        if clue.begun >= 0 or clue.over or clue.broken:
            _follow_phases(state, clue, number)
        if clue.asks or clue.answers:
            _follow_dialogues(state, clue, number)
        if clue.first or clue.later:
            _follow_starts(state, clue, number)
        if state.block or clue.block >= 0:
            _follow_block(state, line, clue, number)
        if state.waits and clue.grammar != "command" and clue.grammar != "query":
            upper = line.upper()
            state.waits = [wait for wait in state.waits if not (wait.text and wait.text in upper)]
        if clue.body:
            state.due_table = 0
        if state.due_ues and clue.body and (ue := _UE_BLOCK.match(line)) and ue[1] in state.due_ues:
            state.due_ues.remove(ue[1])
        state.before = state.last[1] if state.last else ""
        state.last = (number, line, clue)
        state.ends_blank = False
    state.lines += len(lines)
    _note_times(state, lines)


def _note_times(state: CompletenessState, lines: Sequence[str]) -> None:
    for line in reversed(lines):
        if (at := clock(line)) is not None:
            state.last_at = at
            return


def _follow_order(state: CompletenessState, clue: Clues) -> None:
    """Counts what follows what. Equal lines in a row are one step, and their number is kept."""
    before, kind = state.pair
    if clue.kind == kind:
        state.rows += 1
        return
    # A record may hold a table for each UE: what may begin a record's continuation may also begin anew there.
    in_body = state.last is not None and state.last[2].body
    if clue.body and not in_body and len(state.starters) < MAX_CONTEXTS:
        state.starters.add(clue.kind)
    goes_on = clue.body and not (in_body and clue.kind in state.starters)
    after = state.after.get(kind)
    if after is None and len(state.after) < MAX_CONTEXTS:
        after = state.after[kind] = After(len(state.after))
    if after:
        after.seen += 1
        after.body &= goes_on
    context = state.contexts.get(state.pair)
    if context is None and len(state.contexts) < MAX_CONTEXTS:
        # Lines that repeat in a loop are always followed by one that came before. A loop may stop after any round, and before one
        # more failure.
        again = state.after.get(clue.kind)
        due = not clue.failure and (again is None or (after is not None and again.order > after.order))
        context = state.contexts[state.pair] = Context(clue.kind if due else None)
    if context:
        context.add(clue, goes_on, state.rows)
    state.pair, state.rows = (kind, clue.kind), 1
    if state.head and clue.kind == state.head[0][2].kind:
        state.head_kind_again += 1


def _follow_tester(state: CompletenessState, line: str, clue: Clues, number: int) -> None:
    if clue.grammar == "confirmation":
        if state.command:
            _count(state.confirmed, state.command_verb)
        elif not state.commands and not state.orphan_confirmation:
            state.orphan_confirmation = number
        state.command = None
        state.due_table = number if "STATS" in line.upper() and "FAILED" not in line else 0
    elif clue.grammar in ("command", "query"):
        _follow_command(state, line, clue, number)
    elif clue.grammar == "indication" and ("REBOOT" in line or "timed out" in line):
        state.command = None
        if "REBOOT" in line:
            state.waits, state.open = [], {}


def _count(verbs: dict[str, int], verb: str) -> None:
    if verb in verbs or len(verbs) < MAX_VERBS:
        verbs[verb] = verbs.get(verb, 0) + 1


def _follow_command(state: CompletenessState, line: str, clue: Clues, number: int) -> None:
    if state.command:
        _count(state.unconfirmed, state.command_verb)
    state.command, state.due_ues, state.due_table = None, [], 0
    state.commands += 1
    at = clock(line)
    wait = _WAIT.search(line)
    if clue.grammar == "command":
        state.waits = []  # a script goes on when its wait is over; statistics may be asked for meanwhile
    if wait:
        seconds, text, limit = wait.groups()
        if len(state.waits) < MAX_WAITS:
            state.waits.append(Wait(number, at, (text or "").upper(), float(seconds or limit or 0)))
        return
    state.command, state.command_verb = Open(number, at), clue.verb
    state.command_text = line.split("\t")[-1].strip()
    if clue.grammar == "query" and (ues := _UE_LIST.search(line)):
        state.due_ues = ues[1].split(",")


def _follow_phases(state: CompletenessState, clue: Clues, number: int) -> None:
    state.phase_over |= clue.over
    for i in range(len(PHASES)):
        if clue.broken >> i & 1:
            state.phase_lines[i] = 0
        elif i == clue.begun:
            state.phase_first[i] = state.phase_first[i] or number
            state.phase_lines[i] += 1


def _follow_dialogues(state: CompletenessState, clue: Clues, number: int) -> None:
    for i, exchange in enumerate(state.exchanges):
        if clue.answers >> i & 1:
            if exchange.line:
                exchange.answered += 1
                exchange.longest = max(exchange.longest, number - exchange.line)
            exchange.line = 0
        elif clue.asks >> i & 1:
            exchange.unanswered += bool(exchange.line)
            exchange.line = number


def _follow_starts(state: CompletenessState, clue: Clues, number: int) -> None:
    missing = clue.later & ~clue.first & ~state.started
    state.started |= clue.first
    for i in range(len(STARTS)):
        if missing >> i & 1:
            state.not_started.setdefault(i, number)


def _follow_procedures(state: CompletenessState, line: str, clue: Clues, number: int) -> None:
    match = _RNTI.search(line) or _UE.search(line)
    ue = match[1].lstrip("0") or "0" if match else ""
    if clue.gone:
        for key in [key for key in state.open if not ue or key[1] in ("", ue)]:
            del state.open[key]
    for index, opens in clue.events:
        if opens:
            state.opened.add(index)
            _open(state, index, ue, Open(number, clock(line)))
        elif _close(state, index, ue):
            state.closed.add(index)
        elif index not in state.opened and not clue.failure:
            state.orphans.setdefault(index, number)


def _open(state: CompletenessState, index: int, ue: str, request: Open) -> None:
    """Opens a procedure. Of neighbouring lines about one request, often only one names the UE."""
    if (index, ue) in state.open:
        state.repeated.add(index)
    elif not ue and any(key[0] == index for key in state.open):
        return
    state.open.pop((index, ""), None)
    if len(state.open) < MAX_OPEN:
        state.open[index, ue] = request


def _close(state: CompletenessState, index: int, ue: str) -> bool:
    """Closes the requests that an answer may belong to. One of the two may not name the UE, or in another way."""
    mine = [key for key in state.open if key[0] == index and (not ue or key[1] in ("", ue))]
    others = [key for key in state.open if key[0] == index and len(key[1]) != len(ue)]
    for key in mine or others[:1]:
        del state.open[key]
    return bool(mine or others)


def _follow_block(state: CompletenessState, line: str, clue: Clues, number: int) -> None:
    if state.block:
        index, _, name = state.block
        block = BLOCKS[index]
        if name:
            if line.strip().startswith(f"</{name}"):
                state.block = None
                return
        elif block.closed.match(line):
            state.block = None
            return
        if block.inside.match(line):
            return
        state.block = None
    if clue.block >= 0 and (match := BLOCKS[clue.block].opened.search(line)):
        name = match[1] if match.re.groups else ""
        state.block = (clue.block, number, name)
