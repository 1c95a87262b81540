"""What happened to UEs in; a drawing with a row for each UE, over the lines of its source, out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from stream_triage.records import FailedUe, UeCourse, UeEvent
from stream_triage.web.run_view.shown import position

__all__ = ["UES_SHOWN", "ListedStep", "Step", "UeRow", "ue_rows"]

UES_SHOWN: Final = 24
# Steps of one UE that are drawn. Further ones would lie on each other, and a page must stay small.
_STEPS_SHOWN: Final = 120


@dataclass(frozen=True)
class Step:
    """A mark in the row of a UE."""

    x: str
    bad: bool
    anchor: str
    tip: str


class ListedStep(NamedTuple):
    """A step, or the same one several times in a row, in the list below a drawing."""

    where: str
    """Its line, or its lines."""
    what: str
    bad: bool
    anchor: str


@dataclass(frozen=True)
class UeRow:
    """One UE as one source shows it."""

    ue: str
    source: str
    steps: tuple[Step, ...]
    start: str
    width: str
    """Of the bar from its first step to its last."""
    events: tuple[ListedStep, ...]
    """The same as a list."""
    unfinished: tuple[str, ...]
    left_out: int


def ue_rows(
    courses: Sequence[UeCourse],
    totals: Mapping[str, int],
    anchors: Mapping[tuple[str, int], str],
    failed: Sequence[FailedUe] = (),
) -> tuple[UeRow, ...]:
    """A row for each UE with events; those that lack something come first.

    Args:
        courses: Of the UEs to show, as `show --ue` has them.
        totals: By source, its lines.
        anchors: By source and number, the ids of the lines on the page.
        failed: The failed UEs of the verdict. What struck a UE from outside, such as a crash, is none of its own steps.
    """
    ordered = sorted((course for course in courses if course.events), key=lambda course: not course.unfinished)
    struck = {(ue.source, ue.name or str(ue.ue) if ue.name or ue.ue >= 0 else ""): ue for ue in failed}
    return tuple(
        _row(_with(course, struck.get((course.source, course.ue))), max(totals.get(course.source, 0), 1), anchors)
        for course in ordered[:UES_SHOWN]
    )


def _with(course: UeCourse, failed: FailedUe | None) -> UeCourse:
    """The course with what the verdict says of the UE, if no step of its own shows it."""
    if failed is None or any(event.number <= failed.number <= event.last for event in course.events):
        return course
    end = UeEvent(number=failed.number, what=failed.reason, bad=True, text=failed.text, last=failed.number)
    return course.model_copy(update={"events": tuple(sorted((*course.events, end), key=lambda event: event.number))})


def _row(course: UeCourse, total: int, anchors: Mapping[tuple[str, int], str]) -> UeRow:
    # What did not go well is drawn first of all, and last, on top.
    kept = sorted(course.events, key=lambda event: not event.bad)[:_STEPS_SHOWN]
    start, end = (position(number, total) for number in (course.events[0].number, course.events[-1].last))
    return UeRow(
        ue=course.ue or "own",
        source=course.source,
        steps=tuple(
            Step(position(event.number, total), event.bad, anchors.get((course.source, event.number), ""), _words(event))
            for event in sorted(kept, key=lambda event: (event.bad, event.number))
        ),
        start=start,
        width=f"{float(end[:-1]) - float(start[:-1]):.2f}%",
        events=tuple(
            ListedStep(_lines(event), event.what, event.bad, anchors.get((course.source, event.number), ""))
            for event in course.events[:_STEPS_SHOWN]
        ),
        unfinished=course.unfinished,
        left_out=course.dropped + max(0, len(course.events) - _STEPS_SHOWN),
    )


def _lines(event: UeEvent) -> str:
    return f"{event.number}-{event.last}" if event.repeats > 1 else str(event.number)


def _words(event: UeEvent) -> str:
    times = f" ({event.repeats} times)" if event.repeats > 1 else ""
    return f"line {event.number}: {event.what}{times}"
