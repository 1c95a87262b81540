"""The archived text of a run and the name of a UE in; what happened to that UE, line by line, and what never came, out.

The text is read again by the stages that a run goes through, as far as procedures need them. It is redacted already.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from stream_triage.dialects import Dialects, Signal
from stream_triage.errors import InputError
from stream_triage.model import Model
from stream_triage.ports import RunText
from stream_triage.records import SourceSummary, UeCourse, UeEvent, Verdict
from stream_triage.stages.normalise import mask
from stream_triage.stages.procedures.breaks import LAYER_WORDS, breaks_of, failed_ues, looping, ue_order
from stream_triage.stages.procedures.follow import OWN, ProcedureState
from stream_triage.stages.procedures.recording import RecordedEvent, RecordingFollower
from stream_triage.stages.wrappers import Unwrapper

__all__ = ["events_of_failed_ues", "events_of_ue"]

# Lines that are read and masked together, and distinct masked lines whose signal is remembered.
BATCH_LINES: Final = 4096
MEMO_LINES: Final = 65_536
# The id, for people, of the UE whose log the only source is.
OWN_UE: Final = "own"
# UEs that a message lists.
UES_LISTED: Final = 20


def events_of_ue(
    model: Model, text: RunText, summaries: Sequence[SourceSummary], ue: str, input_format: str = "auto"
) -> list[UeCourse]:
    """The events of a UE in each source that knows it.

    Args:
        model: The bundle that the run is read by. One that follows no procedures is read by the packaged dialects.
        text: The whole redacted text of the run.
        summaries: Of the verdict, which says what was taken off the lines of each source.
        ue: The id of the UE as verdicts name it (`3`, `rnti c4f2`), or the last part of it; or the name of a source, for the
            UE whose log it is (`own` if the only source has no name).
        input_format: The setting `input.format` that the run was read with.

    Raises:
        InputError: The run has no such UE; the message lists those that it has.
    """
    read = _read_all(model, text, summaries, input_format)
    wanted = _find({source: state for source, (_, state) in read.items()}, ue)
    return [_course(*read[source], text, source, name) for source, name in sorted(wanted)]


def events_of_failed_ues(
    model: Model, text: RunText, verdict: Verdict, most: int, input_format: str = "auto"
) -> list[UeCourse]:
    """The events of the failed UEs that the verdict names, up to `most` of them; the text is read once.

    Arguments are those of `events_of_ue`.
    """
    failed = verdict.ues.first[:most] if verdict.ues else ()
    if not failed:
        return []
    read = _read_all(model, text, verdict.sources, input_format)
    states = {source: state for source, (_, state) in read.items()}
    wanted: dict[tuple[str, str], None] = {}
    for ue in failed:
        named = ue.name or (str(ue.ue) if ue.ue >= 0 else ue.source or OWN_UE)
        with suppress(InputError):  # of a bundle of an earlier version, which gave it another name
            wanted |= dict.fromkeys(sorted(_find(states, named)))
    return [_course(*read[source], text, source, name) for source, name in wanted]


def _read_all(
    model: Model, text: RunText, summaries: Sequence[SourceSummary], input_format: str
) -> dict[str, tuple[RecordingFollower, ProcedureState]]:
    """Follows every source; by its name."""
    stripped = {summary.source: summary.stripped for summary in summaries}
    return {
        source: _read(model, text, source, input_format if stripped.get(source) else "none") for source in text.sources()
    }


def _read(model: Model, text: RunText, source: str, input_format: str) -> tuple[RecordingFollower, ProcedureState]:
    """Follows one source from its first line to its last."""
    follower = RecordingFollower(model.procedures.follower.dialects if model.procedures else Dialects())
    signals = _Signals(model, follower.dialects)
    state, first = follower.start(), 1
    for lines in _as_read(model, _batches(text, source), input_format):
        follower.follow(state, lines, signals.of(lines), first)
        first += len(lines)
    return follower, state


def _batches(text: RunText, source: str) -> Iterator[list[str]]:
    for first in range(1, text.line_count(source) + 1, BATCH_LINES):
        yield text.read(source, first, first + BATCH_LINES - 1)


def _as_read(model: Model, batches: Iterable[list[str]], input_format: str) -> Iterator[list[str]]:
    """The lines without what collectors wrote before them, which people see and models do not."""
    unwrapper, waiting = Unwrapper(model.judge, input_format), list[str]()
    for lines in batches:
        unwrapper.take(list(lines))
        waiting += lines
        if not unwrapper.held:
            yield [unwrapper.shown_body(line) for line in waiting]
            waiting = []
    unwrapper.take([], final=True)
    yield [unwrapper.shown_body(line) for line in waiting]


class _Signals:
    """What lines say about procedures; equal masked lines are read once."""

    def __init__(self, model: Model, dialects: Dialects) -> None:
        self._numbers = model.card.numbers
        self._read = model.procedures.signal if model.procedures else dialects.read
        self._known: dict[str, Signal | None] = {}

    def of(self, lines: Sequence[str]) -> list[Signal | None]:
        """One for each line."""
        masked = mask("\n".join(lines), self._numbers).split("\n") if lines else []
        if len(self._known) > MEMO_LINES:
            self._known.clear()
        for line in masked:
            if line not in self._known:
                self._known[line] = self._read(line)
        return [self._known[line] for line in masked]


def _find(states: Mapping[str, ProcedureState], ue: str) -> set[tuple[str, str]]:
    """Source and name there of the UE that is meant. A source that knows it by several ids finds it by those elsewhere."""
    known = {(source, name): ids for source, state in states.items() for name, ids in _ids(source, state).items()}
    everything = set[str]().union(*known.values())
    asked = _words(ue.removeprefix("UE "))
    names = {one for one in everything if _words(one) == asked}
    names = names or {one for one in everything if asked and _words(one)[-len(asked) :] == asked}
    if not names:
        raise InputError(f"the run has no UE {ue!r}; {_listed(states)}")
    found = set[tuple[str, str]]()
    while more := {place for place, ids in known.items() if ids & names} - found:
        found |= more
        # The name of a source means nothing in the others.
        names |= {one for source, name in more for one in known[source, name] if one != source}
    return found | _only_ue(states)


def _words(ue: str) -> list[str]:
    """The parts of an id, also of a pseudonym such as `<imsi:1a2b3c4d>`."""
    return re.findall(r"[^\s<>:]+", ue.lower())


def _only_ue(states: Mapping[str, ProcedureState]) -> set[tuple[str, str]]:
    """Source and name there of the only UE of a run, whose own log need not say what the network calls it."""
    named = {(source, name) for source, state in states.items() for name in state.ues}
    own_logs = sum(name == OWN for _, name in named)
    others = {name for _, name in named if name != OWN}
    return named if own_logs == 1 and len(others) <= 1 else set()


def _ids(source: str, state: ProcedureState) -> dict[str, set[str]]:
    """By the name of each UE in the state, all its ids. The UE whose log it is goes by the name of its source."""
    ids = {name: {name or source or OWN_UE} for name in (*state.ues, *state.set_up)}
    for other, name in state.aliases.items():
        if name in ids:
            ids[name].add(other)
    return ids


def _listed(states: Mapping[str, ProcedureState]) -> str:
    own = {source: f"{source or OWN_UE} (the UE whose log it is)" for source in states}
    known = {name or own[source] for source, state in states.items() for name in (*state.ues, *state.set_up)}
    if not known:
        return "its log names none"
    ordered = sorted(known, key=ue_order)
    more = f" and {len(ordered) - UES_LISTED} more" if len(ordered) > UES_LISTED else ""
    return f"it has {', '.join(ordered[:UES_LISTED])}{more}"


def _course(follower: RecordingFollower, state: ProcedureState, text: RunText, source: str, ue: str) -> UeCourse:
    return UeCourse(
        source=source,
        ue=ue,
        events=tuple(_event(follower, text, source, one) for one in follower.of(ue)),
        dropped=follower.dropped.get(ue, 0),
        unfinished=tuple(_unfinished(follower, state, ue)),
    )


def _event(follower: RecordingFollower, text: RunText, source: str, one: RecordedEvent) -> UeEvent:
    return UeEvent(
        number=one.line,
        what=follower.dialects.name(one.event) if one.event else f"trouble of {LAYER_WORDS[one.layer]}",
        bad=one.bad,
        text=text.read(source, one.line, one.line)[0],
        body=_body(text, source, one),
        repeats=one.repeats,
        last=one.last,
    )


def _body(text: RunText, source: str, one: RecordedEvent) -> str:
    """The line below a record that says what it is; else, of what did not go well, an indented one, which often says why."""
    number = one.body or one.line + 1
    if not one.body and (not one.bad or number > text.line_count(source)):
        return ""
    line = text.read(source, number, number)[0]
    return line if one.body or (line[:1].isspace() and line.strip()) else ""


def _unfinished(follower: RecordingFollower, state: ProcedureState, ue: str) -> Iterator[str]:
    """What broke of the UE, in words, with the line that shows each; else what broke of a node and took the UE with it."""
    course = state.ues.get(ue)
    breaks = breaks_of(follower, state, course) if course else []
    for found in breaks:
        name = follower.procedures.names[found.procedure]
        if found.how == "missing":
            yield f"{name} was due after line {found.line} and never came"
        elif found.how == "begun":
            yield f"{name} was begun in line {found.line} and never completed"
        else:
            yield f"{name} {found.how} in line {found.line}"
    loop = looping(follower, state, course) if course else None
    if loop:
        yield f"{loop[2].format(who='the UE')}, first in line {loop[0]}"
    if not breaks and not loop:
        struck = (one for one in failed_ues(follower, state) if one.ue == ue)
        yield from (f"{one.reason.format(who='the network')} (line {one.line})" for one in struck)
        if course is None:
            yield "the script set the UE up, and no record names it"
