"""What is open when a source has ended in; reasons in plain words out."""

import re
from collections.abc import Container, Iterator, Mapping
from typing import Final

from stream_triage.stages.completeness.follow import CompletenessState, Open, elapsed
from stream_triage.stages.completeness.table import BLOCKS, DIALOGUES, PHASES, PROCEDURES, STARTS

__all__ = ["completeness_doubts"]

# Of a log with more to say, the first things are enough.
MAX_NAMED: Final = 3
# A log without time stamps: lines after a request within which an answer may still be due.
UNTIMED_LINES: Final = 25
# A command of the tester is confirmed within this time, or never.
CONFIRMED_SECONDS: Final = 60.0
# A pair of lines tells what comes next when it came this often.
SEEN_BODY: Final = 1
SEEN_NEXT: Final = 3
SEEN_ROWS: Final = 2
SEEN_ALONE: Final = 2
# Share of the lines with a time stamp above which a line without one continues a record.
STAMPED_SHARE: Final = 0.2
# A command that did not come before is due a confirmation if the others are, up to this share.
UNCONFIRMED_SHARE: Final = 0.2
_PART_OF_STAMP: Final = re.compile(r"\[?[\dT/:.,\- ]{1,26}")
_NUMBERS: Final = re.compile(r"\s+[\d.]+(?:\s+[\d.]+)*")
_STAMP_TAIL: Final = re.compile(r"[\d:.,]*[:.,]?\d{1,3}[\]\s]")
# A dialogue is regular after this many answers, with at most this share of requests without one.
ANSWERED: Final = 8
UNANSWERED_SHARE: Final = 0.03
# Answers in the first lines of a log whose request is missing.
HEAD_OF_LOG: Final = 30


def completeness_doubts(sources: Mapping[str, CompletenessState], odd_ends: Container[str] = ()) -> list[str]:
    """Reasons of all sources: at most one that the log ends early, and one that it starts late.

    Args:
        sources: States of all sources, by name.
        odd_ends: Sources whose last line the bundle does not know, although it knows nearly all others.
    """
    ends, starts = [], []
    for name, state in sorted(sources.items()):
        of = f" of {name}" if name and len(sources) > 1 else ""
        ends += [text.format(of=of) for text in _missing_end(state, name in odd_ends)]
        starts += [text.format(of=of) for text in _missing_start(state)]
    return [
        f"{what}: {_joined(found)}"
        for what, found in (("the log ends early", ends), ("the log starts late", starts))
        if found
    ]


def _joined(found: list[str]) -> str:
    more = len(found) - MAX_NAMED
    return "; ".join(found[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _missing_end(state: CompletenessState, odd_end: bool) -> Iterator[str]:
    """What the log began and did not end; `{of}` stands for the name of the source."""
    if not state.last:
        return
    if state.open_line and (odd_end or _is_cut(state)):
        yield f"line {state.last[0]}{{of}}, the last one, is incomplete"
    if _command_is_due(state):
        assert state.command
        yield f"{_quoted(state.command_text)} at line {state.command.line}{{of}} was never confirmed"
    for wait in state.waits:
        if _is_recent(state, Open(wait.line, wait.at), wait.seconds, UNTIMED_LINES):
            yield f"WAIT at line {wait.line}{{of}} was never completed"
    yield from _open_procedures(state)
    yield from _open_tables(state)
    for dialogue, exchange in zip(DIALOGUES, state.exchanges, strict=True):
        regular = exchange.answered >= ANSWERED and exchange.unanswered <= UNANSWERED_SHARE * exchange.answered
        if exchange.line and regular and state.last[0] - exchange.line < exchange.longest:
            yield f"{dialogue.name} at line {exchange.line}{{of}} was never answered, as the others were"
    if state.block:
        index, line, _ = state.block
        yield f"the {BLOCKS[index].name} that begins at line {line}{{of}} has no end"
    for i, phase in enumerate(PHASES):
        if state.phase_lines[i] >= phase.lines and not state.phase_over >> i & 1:
            yield f"the {phase.name} begins at line {state.phase_first[i]}{{of}}, and {phase.next_step}"


def _is_recent(state: CompletenessState, request: Open, seconds: float, lines: int) -> bool:
    """Whether the log ends before an answer was overdue."""
    if request.at is not None and state.last_at is not None:
        return elapsed(request.at, state.last_at) < seconds
    assert state.last
    return state.last[0] - request.line <= lines


def _command_is_due(state: CompletenessState) -> bool:
    """Whether commands like the last one are confirmed in this log, and it is not."""
    if not state.command or not state.confirmed:
        return False
    verb = state.command_verb
    seen, missing = state.confirmed.get(verb, 0), state.unconfirmed.get(verb, 0)
    if not seen and not missing and not verb.startswith("#"):
        # A new command is due a confirmation if the others are; those that control the logging (`#$$`) mostly are not.
        seen = sum(state.confirmed.values())
        missing = sum(count for name, count in state.unconfirmed.items() if not name.startswith("#"))
    if not seen or missing > UNCONFIRMED_SHARE * seen:
        return False
    return _is_recent(state, state.command, CONFIRMED_SECONDS, UNTIMED_LINES)


def _open_procedures(state: CompletenessState) -> Iterator[str]:
    recent = {
        key: _is_recent(state, request, PROCEDURES[key[0]].seconds, UNTIMED_LINES) for key, request in state.open.items()
    }
    overdue = {index for (index, _), is_recent in recent.items() if not is_recent}
    for (index, ue), request in state.open.items():
        procedure = PROCEDURES[index]
        # What was never answered and should have been fails, or this log does not record the answers.
        if index not in state.closed and (procedure.learned or index in overdue | state.repeated):
            continue
        if recent[index, ue]:
            of_ue = f" of UE {ue}" if ue else ""
            yield f"{procedure.name}{of_ue} at line {request.line}{{of}} was never completed"


def _open_tables(state: CompletenessState) -> Iterator[str]:
    assert state.last
    number = state.last[0]
    context = state.contexts.get(state.pair)
    stamped = state.stamped >= STAMPED_SHARE * state.texts
    if state.due_ues and not state.command:
        yield f"the statistics before line {number}{{of}} lack {len(state.due_ues)} of the UEs that were asked for"
    elif state.due_table or state.last[2].heading:
        yield f"the table at line {number}{{of}} has no rows"
    elif stamped and _record_goes_on(state):
        yield f"the record at line {number}{{of}} had more lines each time before"
    elif context and not stamped and context.seen >= SEEN_NEXT and context.next:
        yield f"line {number}{{of}} was followed by another line each time before"
    elif context and context.seen >= SEEN_ROWS and state.rows < context.rows and state.last[2].body and context.rows > 2:
        yield f"the table at line {number}{{of}} had at least {context.rows} rows each time before, and has {state.rows}"


def _record_goes_on(state: CompletenessState) -> bool:
    """Whether a line like the last one was always followed by another line of the same record."""
    context = state.contexts.get(state.pair)
    if context:
        return context.seen >= SEEN_BODY and context.body
    after = state.after.get(state.pair[1])
    return after is not None and after.seen >= SEEN_ALONE and after.body


def _is_cut(state: CompletenessState) -> bool:
    """Whether a last line without line end is not a whole line."""
    assert state.last
    line, clue = state.last[1], state.last[2]
    text = line.rstrip()
    if state.ends_blank or text.endswith((",", "=", "(", "[", "{")):
        return True
    if text.count('"') % 2 or any(text.count(a) > text.count(b) for a, b in ("()", "[]", "{}")):
        return True
    if state.stamped > STAMPED_SHARE * state.texts and _PART_OF_STAMP.fullmatch(text):
        return True
    if _NUMBERS.fullmatch(line) and _NUMBERS.fullmatch(state.before):
        return len(line) < len(state.before)
    # If nearly all lines have a time stamp, a last one without any ends inside its own.
    return clue.body and state.stamped > 0.9 * state.texts and not line[0].isspace()


def _missing_start(state: CompletenessState) -> Iterator[str]:
    """What has no cause in this log; `{of}` stands for the name of the source."""
    if not state.head:
        return
    number, line, clue = state.head[0]
    mostly = state.stamped > 0.5 * state.texts and len(state.head) > 1 and not any(head[2].body for head in state.head[1:])
    if clue.body and mostly and _STAMP_TAIL.match(line):
        yield f"line {number}{{of}}, the first one, is incomplete"
    elif clue.body and line[0].isspace() and state.stamped >= STAMPED_SHARE * state.texts and state.head_kind_again >= 1:
        yield f"line {number}{{of}}, the first one, continues a record that is missing"
    if state.orphan_confirmation and state.orphan_confirmation <= number + 2:
        yield f"the confirmation at line {state.orphan_confirmation}{{of}} has no command"
    if len(state.not_started) > 1 or any(STARTS[i].alone for i in state.not_started):
        for i, at in state.not_started.items():
            yield f"{STARTS[i].name} is missing before line {at}{{of}}"
    for index, at in state.orphans.items():
        if index in state.closed and at <= HEAD_OF_LOG:
            yield f"{PROCEDURES[index].name} is completed at line {at}{{of}} and was never begun"


def _quoted(text: str) -> str:
    words = text.split()
    return " ".join(words[:3]) if words[:1] and words[0].lower() == "forw" else " ".join(words[:1])
