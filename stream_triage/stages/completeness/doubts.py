"""What is open when a source has ended in; reasons in plain words out."""

import re
from collections.abc import Collection, Container, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from stream_triage.escapes import without_escapes
from stream_triage.stages.completeness.clock import elapsed
from stream_triage.stages.completeness.follow import CompletenessState
from stream_triage.stages.completeness.table import BLOCKS, DIALOGUES, PHASES, PROCEDURES, STARTS
from stream_triage.stages.completeness.tester import CONFIRMED_SECONDS, Request

__all__ = ["completeness_doubts"]

# Of a log with more to say, the first things are enough.
MAX_NAMED: Final = 3
# In a log without time stamps: lines after a request within which an answer may still be due. Complete runs of
# OpenAirInterface that fail in a procedure go on for 28 lines and more.
UNTIMED_LINES: Final = 25
# A dialogue is regular after this many answers, with at most this share of requests without one.
ANSWERED: Final = 8
UNANSWERED_SHARE: Final = 0.03
# So many lines must need something that did not start: testers lose records.
NOT_STARTED: Final = 3
# An answer without its request, and a stop without a test, count in the first lines of a log.
HEAD_OF_LOG: Final = 30

_PART_OF_STAMP: Final = re.compile(r"\[?[\dT/:.,\- ]{1,26}")
_STAMP_TAIL: Final = re.compile(r"[\d:.,]*[:.,]?\d{1,3}[\]\s]")
# What a shell or a CI system writes behind the log, often without a line end.
_COLLECTOR: Final = re.compile(
    r"Finished: [A-Z_]+|##\[\w+\].{0,200}|(?:ERROR: )?Job (?:succeeded|failed)\b.{0,200}"
    r"|\[Pipeline\].{0,200}|Script done\b.{0,200}"
    r"|[\w.()\[\] -]{0,64}[\w.-]@[\w.-]{1,64}[: ].{0,128}[$#%>]"
    r"|[$#%>]|exit|logout|.{0,64}\bexited with (?:code|status) \d{1,3}"
)
_NUMBERS: Final = re.compile(r"\s+[\d.]+(?:\s+[\d.]+)*")


def completeness_doubts(
    sources: Mapping[str, CompletenessState],
    odd_ends: Container[str] = (),
    absent: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> list[str]:
    """Reasons of all sources: at most one that the log ends early, and one that it starts late.

    Args:
        sources: States of all sources, by name.
        odd_ends: Sources whose last line the bundle does not know, although it knows nearly all others.
        absent: By source of which the bundle knows nearly all lines: templates of lines that continue a record, that
            nearly all passing runs have and this run lacks.
    """
    ends, starts = [], []
    for name, state in sorted(sources.items()):
        of = f" of {name}" if name and len(sources) > 1 else ""
        if state.last:
            ends += [text.replace("{of}", of) for text in _missing_end(state, name in odd_ends, absent.get(name, ()))]
            starts += [text.replace("{of}", of) for text in _missing_start(state)]
    reasons = (("the log ends early", ends), ("the log starts late", starts))
    return [f"{what}: {_joined(found)}" for what, found in reasons if found]


def _joined(found: list[str]) -> str:
    more = len(found) - MAX_NAMED
    return "; ".join(found[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _missing_end(state: CompletenessState, odd_end: bool, absent: Collection[str]) -> Iterator[str]:
    """What the log began and did not end; `{of}` stands for the name of the source."""
    assert state.last
    if state.open_line and _is_cut(state, odd_end):
        yield f"line {state.last.number}{{of}}, the last one, is incomplete"
    yield from _owed_by_tester(state)
    yield from _open_procedures(state)
    yield from _open_dialogues(state)
    table_cuts = list(_cut_table(state))
    yield from table_cuts
    if absent and not table_cuts and state.responds and state.last.clues.body and state.order.has_records:
        # A first response teaches nothing about its own length, but passing runs do.
        wanted = next(iter(absent))
        yield f'the response at line {state.last.number}{{of}} lacks the line "{wanted}", which nearly all passing runs have'
    if state.block:
        index, line, _ = state.block
        yield f"the {BLOCKS[index].name} that begins at line {line}{{of}} has no end"
    for i, phase in enumerate(PHASES):
        if state.phase_lines[i] >= phase.lines and not state.phases_over >> i & 1:
            yield f"the {phase.name} begins at line {state.phase_first[i]}{{of}}, and the log ends before {phase.next_step}"


def _is_recent(state: CompletenessState, request: Request, seconds: float) -> bool:
    """Whether the log ends before an answer was overdue."""
    if request.at is not None and state.last_at is not None:
        return elapsed(request.at, state.last_at) < seconds
    assert state.last
    return state.last.number - request.line <= UNTIMED_LINES


def _owed_by_tester(state: CompletenessState) -> Iterator[str]:
    tester = state.tester
    if tester.command and tester.confirms_its_command and _is_recent(state, tester.command, CONFIRMED_SECONDS):
        yield f"{_name(tester.command_text)} at line {tester.command.line}{{of}} was never confirmed"
    for wait in tester.waits:
        if _is_recent(state, wait.request, wait.seconds):
            yield f"WAIT at line {wait.request.line}{{of}} was never completed"


def _name(command: str) -> str:
    """A command without its arguments."""
    words = command.removeprefix("... ").split()
    return " ".join(words[:3]) if words[0].lower() == "forw" else words[0]


def _open_procedures(state: CompletenessState) -> Iterator[str]:
    procedures = state.procedures
    recent = {key: _is_recent(state, request, PROCEDURES[key[0]].seconds) for key, request in procedures.open.items()}
    overdue = {index for (index, _), is_recent in recent.items() if not is_recent}
    for (index, ue), request in procedures.open.items():
        procedure = PROCEDURES[index]
        # What was never answered and should have been fails, or this log does not record the answers.
        if index not in procedures.closed and (procedure.learned or index in overdue | procedures.repeated):
            continue
        if recent[index, ue]:
            of_ue = f" of UE {ue}" if ue else ""
            yield f"{procedure.name}{of_ue} at line {request.line}{{of}} was never completed"


def _open_dialogues(state: CompletenessState) -> Iterator[str]:
    assert state.last
    for dialogue, exchange in zip(DIALOGUES, state.exchanges, strict=True):
        regular = exchange.answered >= ANSWERED and exchange.unanswered <= UNANSWERED_SHARE * exchange.answered
        if exchange.line and regular and state.last.number - exchange.line < exchange.longest:
            yield f"{dialogue.name} at line {exchange.line}{{of}} was never answered, although the earlier ones were"


def _cut_table(state: CompletenessState) -> Iterator[str]:
    assert state.last
    number, stop = state.last.number, state.order.stop()
    if state.tester.lacks_ues:
        lacking = len(state.tester.due_ues)
        yield f"the statistics that end at line {number}{{of}} lack {lacking} of the UEs that the command names"
    elif state.tester.table_due or state.last.clues.heading:
        yield f"the table at line {number}{{of}} has no rows"
    elif stop and stop.kind == "record":
        yield f"the record that ends at line {number}{{of}} has fewer lines than all earlier records of its kind"
    elif stop and stop.kind == "line":
        yield f"the last line, {number}{{of}}, lacks the line that followed all earlier lines of its kind"
    elif stop:
        rows = f"has {stop.rows} rows, and all earlier ones had at least {stop.at_least}"
        yield f"the table that ends at line {number}{{of}} {rows}"


def _is_cut(state: CompletenessState, odd: bool) -> bool:
    """Whether a last line without line end is not a whole line. Many whole files have no last line end."""
    assert state.last
    line = without_escapes(state.last.text)
    text = line.rstrip()
    if not text or _COLLECTOR.fullmatch(text):
        return False  # programs reset the colour of the terminal when they end
    if odd or state.ends_blank or text.endswith((",", "=", "(", "[", "{")):
        return True
    # Programs mix up brackets, as in `[server IP: 127.0.0.1}`, so only their number counts.
    if text.count('"') % 2 or sum(map(text.count, "([{")) > sum(map(text.count, ")]}")):
        return True
    if state.order.has_records and _PART_OF_STAMP.fullmatch(text):
        return True
    if _NUMBERS.fullmatch(line) and _NUMBERS.fullmatch(state.before):
        return len(line) < len(state.before)
    # If nearly all lines have a time stamp, a last one without any ends inside its own.
    return state.last.clues.body and state.order.stamped > 0.9 * state.order.texts and not line[0].isspace()


def _missing_start(state: CompletenessState) -> Iterator[str]:
    """What has no cause in this log; `{of}` stands for the name of the source."""
    first, *others = state.head
    stamped = state.order.stamped > state.order.texts / 2 and others and not any(line.clues.body for line in others)
    if first.clues.body and stamped and _STAMP_TAIL.match(first.text):
        yield f"line {first.number}{{of}}, the first one, is incomplete"
    elif first.clues.body and _continues(state):
        yield f"line {first.number}{{of}}, the first one, continues a record whose beginning is missing"
    if state.tester.orphan and state.tester.shows_commands and state.tester.orphan <= first.number + 2:
        yield f"the confirmation at line {state.tester.orphan}{{of}} has no command before it"
    for i, (at, count) in state.not_started.items():
        if count >= NOT_STARTED:
            yield f"{STARTS[i].name} is missing before line {at}{{of}}"
    tester = state.tester
    if 0 < tester.stopped <= HEAD_OF_LOG and not state.started and not tester.failed:
        yield f"the test is stopped at line {tester.stopped}{{of}}, and nothing was tested before"
    for index, at in state.procedures.unasked.items():
        if index in state.procedures.closed and at <= HEAD_OF_LOG and not PROCEDURES[index].ends_alike:
            yield f"{PROCEDURES[index].name} is completed at line {at}{{of}}, and its beginning is missing"


def _continues(state: CompletenessState) -> bool:
    """Whether the first line continues a record. A banner of another program may look like that, but it comes once."""
    first = state.head[0]
    if state.tester.seen and (first.text[0].isspace() or first.clues.grammar == "row"):
        return True
    return first.text[0].isspace() and state.order.has_records and state.order.first_again
