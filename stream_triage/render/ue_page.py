"""The events of one UE in, source by source; the page that `stream-triage show --ue` prints out."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from stream_triage.records import UeCourse, UeEvent
from stream_triage.render.cells import plain, table
from stream_triage.render.printable import printable

__all__ = ["ue_page"]


def ue_page(courses: Sequence[UeCourse]) -> RenderableType:
    """Returns a table of events for each source, each with what the UE lacks below it."""
    parts: list[RenderableType] = []
    for course in courses:
        where = f" in {course.source}" if course.source else ""
        title = f"UE {course.ue}{where}" if course.ue else f"the UE of {course.source or 'the log'}"
        parts += ["", Text(printable(title), style="bold"), table(_rows(course.events), right=(0,))]
        if course.dropped:
            parts.append(Text(f"⋯ {course.dropped} later events are left out", style="dim"))
        parts += [Text(f"! {printable(words)}", style="yellow") for words in course.unfinished]
        if not course.unfinished:
            parts.append(Text("nothing that was due is missing"))
    return Group(*parts[1:])


def _rows(events: Sequence[UeEvent]) -> Iterator[tuple[Text, Text, Text, Text]]:
    """Lines, mark, what, text of the first line; below it the line that says so, or says why."""
    for event in events:
        style = "yellow" if event.bad else ""
        lines = f"{event.number}-{event.last}" if event.repeats > 1 else str(event.number)
        what = f"{event.what} (×{event.repeats})" if event.repeats > 1 else event.what
        yield Text(lines), Text("!" if event.bad else "", style), Text(what, style), plain(event.text)
        if event.body:
            yield Text(""), Text(""), Text(""), plain(event.body, style)
