"""The state of one source in; the lines that tell its procedures out, those that decide most first.

A reader of these lines alone sees the same breaks: what broke, trouble that kept coming, what the script expects, and for
every UE its last success, without which the first steps of a UE would look unfinished.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest

from stream_triage.dialects import Event
from stream_triage.stages.procedures.breaks import breaks_of, looping
from stream_triage.stages.procedures.course import BEGUN, COMPLETED, LOOP, RETRIED, Course, Procedures, Repeats
from stream_triage.stages.procedures.follow import Follower, ProcedureState

__all__ = ["telling_lines"]


def telling_lines(follower: Follower, state: ProcedureState) -> list[int]:
    """Line numbers without repeats: what broke, then one success of each UE, then what else the failed UEs did."""
    procedures = follower.procedures
    breaks = {ue: breaks_of(follower, state, course) for ue, course in state.ues.items()}
    struck = [course for ue, course in state.ues.items() if breaks[ue] or looping(follower, state, course)]
    lines = [
        *sorted(found.line for some in breaks.values() for found in some),
        *_in_turn(_trouble(_repeated(procedures, course)) for course in struck),
        *(found.line for found in follower.node_breaks(state)),
        *_trouble(state.alone.values()),
        *(line for known in state.statistics.values.values() if known.beyond for line in (*known.table, known.first_beyond)),
        *_start(state),
        *_successes(procedures, state.node),
        *_in_turn(_successes(procedures, course) for course in state.ues.values()),
        *_in_turn(_course(course) for course in struck),
    ]
    return list(dict.fromkeys(line for line in lines if line))


def _start(state: ProcedureState) -> Iterator[int]:
    """Where the set-up is over, before which no trouble counts, and where the script says that it waits for a refusal."""
    yield min((known.first for course in state.ues.values() for known in course.steps.values()), default=0)
    yield from (known.last for event, known in state.node.steps.items() if event.step == BEGUN)


def _in_turn(courses: Iterable[Iterable[int]]) -> list[int]:
    """The first line of each UE, then the second one of each, so that a limit leaves no UE without any line."""
    return [line for turn in zip_longest(*courses, fillvalue=0) for line in turn]


def _trouble(kinds: Iterable[Repeats]) -> list[int]:
    """Of trouble that kept coming, as many lines as make it a failure."""
    return sorted(chain(*((one.first, one.second, one.last) for one in kinds if one.count >= LOOP)))


def _repeated(procedures: Procedures, course: Course) -> Iterator[Repeats]:
    """What counts as a failure if it keeps coming."""
    yield from course.kinds.values()
    again = Event(procedures.index["re-establishment"], BEGUN)
    yield from (known for event, known in course.steps.items() if event.step == RETRIED or event == again)


def _course(course: Course) -> list[int]:
    """What a UE or a node did: of what went well the last line."""
    return sorted(
        line
        for event, known in course.steps.items()
        for line in ((known.last,) if event.step in (BEGUN, COMPLETED) else (known.first, known.second, known.last))
    )


def _successes(procedures: Procedures, course: Course) -> Iterator[int]:
    """Lines that prove that what was begun, or went wrong at first, was then completed; those that prove most first."""
    unproved: dict[int, int] = {}
    completed: dict[int, int] = {}
    for event, known in course.steps.items():
        lines = completed if event.step == COMPLETED else unproved
        lines[event.procedure] = max(known.last, lines.get(event.procedure, 0))
    proofs = {one: sum(one in proved for proved in procedures.proved_by) for one in completed}
    for place, one in enumerate(sorted(completed, key=lambda one: (-proofs[one], one))):
        proved = [
            number
            for number, line in unproved.items()
            if (one in procedures.proved_by[number] or one in procedures.undone_by[number]) and completed[one] >= line
        ]
        if proved or not place:
            yield completed[one]
        for number in proved:
            del unproved[number]
