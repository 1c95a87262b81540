"""Lines of one source with their clues in, in order; what is open at any time is kept. The state is bounded."""

from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

from stream_triage.stages.completeness.clock import clock
from stream_triage.stages.completeness.clues import Clues
from stream_triage.stages.completeness.order import Order
from stream_triage.stages.completeness.procedures import OpenProcedures
from stream_triage.stages.completeness.table import BLOCKS, DIALOGUES, PHASES, STARTS
from stream_triage.stages.completeness.tester import Tester

__all__ = ["CompletenessState", "Line", "follow"]

# First lines that are kept to judge the beginning.
HEAD_LINES: Final = 3


class Line(NamedTuple):
    """One line of the source: its number, text and clues."""

    number: int
    text: str
    clues: Clues


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
        self.order = Order()
        self.tester = Tester()
        self.procedures = OpenProcedures()
        self.exchanges = [Exchange() for _ in DIALOGUES]
        self.phase_lines = [0] * len(PHASES)
        """Lines of each phase since its last failure, and the first one of all."""
        self.phase_first = [0] * len(PHASES)
        self.phases_over = 0
        """Bits of the phases that are over."""
        self.started = 0
        """Bits of the starts that the log shows."""
        self.not_started: dict[int, tuple[int, int]] = {}
        """Starts that were missing when something needed them: the first line that did, and the number of such lines."""
        self.block: tuple[int, int, str] | None = None
        """The open block: its index, its first line, and the name of its XML element."""
        self.head: list[Line] = []
        self.last: Line | None = None
        """The last line with text, and the text of the one before it."""
        self.before = ""
        self.last_at: float | None = None
        """The last time of day."""
        self.responds = False
        """Whether the last record is a confirmation, so that the lines after it are the response to a command."""
        self.ends_blank = False
        """Whether only spaces follow the last line with text."""
        self.open_line = False
        """Whether the last line has no line end; set when the source ends."""


def follow(state: CompletenessState, lines: Sequence[str], clues: Sequence[Clues], first_number: int) -> None:
    """Takes the next lines of a source in order, each with the clues of its masked form."""
    # Most lines go through this loop and no further, so little is done for each.
    take, tester = state.order.take, state.tester
    before = last = stamped = -1
    for i, clue in enumerate(clues):
        if not clue.text:
            continue
        before, last = last, i
        take(clue)
        if not clue.body:
            stamped = i
        elif tester.awaits_body:
            tester.take_body(lines[i])
        if not clue.plain or state.block:
            _follow_pairs(state, lines[i], clue, first_number + i)
    if last >= 0:
        _keep_ends(state, lines, clues, first_number, (before, last))
    if lines:
        state.ends_blank = lines[-1].isspace()
    if stamped >= 0:
        state.responds = clues[stamped].grammar == "confirmation"
    if stamped >= 0 and (at := clock(lines[stamped])) is not None:
        state.last_at = at


def _keep_ends(
    state: CompletenessState, lines: Sequence[str], clues: Sequence[Clues], first_number: int, last_two: tuple[int, int]
) -> None:
    """Keeps the first lines of the source, and the last two with text."""
    before, last = last_two
    if len(state.head) < HEAD_LINES:
        with_text = (Line(first_number + i, line, clues[i]) for i, line in enumerate(lines) if clues[i].text)
        state.head += islice(with_text, HEAD_LINES - len(state.head))
    state.before = lines[before] if before >= 0 else state.last.text if state.last else ""
    state.last = Line(first_number + last, lines[last], clues[last])


def _follow_pairs(state: CompletenessState, line: str, clue: Clues, number: int) -> None:
    if clue.grammar and state.tester.take(line, clue, number):
        state.procedures.open.clear()
    if clue.events or clue.gone:
        state.procedures.take(line, clue, number)
    if clue.over & ~state.phases_over or clue.broken or (clue.begun >= 0 and not state.phases_over >> clue.begun & 1):
        _follow_phases(state, clue, number)
    if clue.asks or clue.answers:
        _follow_dialogues(state, clue, number)
    if clue.first or clue.later:
        _follow_starts(state, clue, number)
    if clue.block >= 0 or state.block:
        _follow_block(state, line, clue, number)


def _follow_phases(state: CompletenessState, clue: Clues, number: int) -> None:
    state.phases_over |= clue.over
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
            line, count = state.not_started.get(i, (number, 0))
            state.not_started[i] = line, count + 1


def _follow_block(state: CompletenessState, line: str, clue: Clues, number: int) -> None:
    if state.block:
        index, _, name = state.block
        block = BLOCKS[index]
        if line.strip().startswith(f"</{name}") if name else block.closed.match(line):
            state.block = None
            return
        if block.inside.match(line):
            return
        state.block = None  # not every block is closed in a log
    if clue.block >= 0 and (match := BLOCKS[clue.block].opened.search(line)):
        state.block = (clue.block, number, match[1] if match.re.groups else "")
