"""Requests for one run in; its page, lines from the archive, its difference to another run, and downloads out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from stream_triage.errors import InputError, RunNotFound
from stream_triage.ports import RunText
from stream_triage.records import ReducedLine, Verdict
from stream_triage.render.reduced import ReducedText, ShownLine, plain
from stream_triage.render.terminal import line_text
from stream_triage.sinks.sqlite import ListedRun
from stream_triage.spool import RunFile
from stream_triage.web.difference import differences, kinds_of
from stream_triage.web.links import ServerLinks
from stream_triage.web.rows import run_row
from stream_triage.web.run_view import gap_rows, run_view, ue_rows
from stream_triage.web.run_view.lines import anchor_of
from stream_triage.web.site import Site, fragment, page, site_of

__all__ = ["difference", "full_text", "lines", "reduced_text", "run", "ues", "verdict_json"]

# Lines that one request opens.
MOST_LINES: Final = 500
# Lines that a download reads at once.
READ_LINES: Final = 1_000
SIMILAR_RUNS: Final = 5
_SPAN: Final = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")


class Found(NamedTuple):
    """The run that a request names."""

    site: Site
    verdict: Verdict
    row: ListedRun
    links: ServerLinks


def run(request: Request) -> Response:
    """The page of one run. `source` and `lines` name lines that are shown besides those worth reading."""
    found = _found(request)
    site, verdict, row, links = found
    lists = site.store.open().lists
    similar, similar_total = lists.similar(row, limit=SIMILAR_RUNS)
    history = lists.history(row)
    newest = lists.newest(row.case)
    wanted, missing = _wanted_lines(request, found)
    view = run_view(verdict, lines=[*verdict.reduction, *wanted], history=history, links=links)
    return page(
        request,
        "pages/run.html",
        run=view,
        missing=missing,
        newest=newest if newest and newest.run_id != row.run_id and newest.time > row.time else None,
        last_pass=next((one for one in history if one.passed), None) or lists.last_pass(row),
        previous=history[0] if history else None,
        similar=[run_row(one) for one in similar],
        similar_total=similar_total,
        archived=links.archived,
    )


def lines(request: Request) -> Response:
    """Lines of a gap, to replace it; as a page for browsers without script."""
    found = _found(request)
    source = request.query_params.get("source", "")
    show, gap = (_span(request, name) for name in ("show", "gap"))
    if not gap[0] <= show[0] <= show[1] <= gap[1]:
        raise InputError("the lines to show must be within the gap")
    with _text(found) as text:
        texts = text.read(source, show[0], show[1])
    if not texts:
        raise InputError(f"source {source!r} of this run has no line {show[0]}")
    rows = gap_rows(found.verdict, source, show[0], texts, (gap[0], max(gap[0], gap[1])), links=found.links)
    if request.headers.get("hx-request") == "true":
        return fragment("run/lines.html", rows=rows)
    return page(request, "pages/lines.html", rows=rows, run_id=found.verdict.run_id, source=source, show=show)


def ues(request: Request) -> Response:
    """What happened to the UEs of a run, read again from its text."""
    found = _found(request)
    site, verdict = found.site, found.verdict
    courses = []
    if site.courses_of is not None:
        with _text(found) as text:
            courses = list(site.courses_of(verdict, text))
    anchors = {(one.source, one.number): anchor_of(verdict, one.source, one.number) for one in verdict.reduction}
    rows = ue_rows(courses, {summary.source: summary.lines for summary in verdict.sources}, anchors)
    if request.headers.get("hx-request") == "true":
        return fragment("run/ues.html", rows=rows)
    return page(request, "pages/ues.html", rows=rows, run_id=verdict.run_id)


def difference(request: Request) -> Response:
    """How the lines worth reading differ from those of another run of the test case: `to` is `pass`, `previous` or an id."""
    found = _found(request)
    site, verdict, row, _ = found
    lists = site.store.open().lists
    to = request.query_params.get("to", "pass")
    if to == "pass":
        other = lists.last_pass(row)
    elif to == "previous":
        other = next(iter(lists.history(row, limit=1)), None)
    else:
        other = lists.find(site.store.open().full_id(to))
    if other is None:
        earlier = "earlier run of this test case that passed" if to == "pass" else "earlier run of this test case"
        raise RunNotFound(f"there is no run to compare with: no {earlier} is stored; to=RUN names any other run")
    there = site.store.open().get(other.run_id)
    with _text_if_any(site, verdict.run_id) as text, _text_if_any(site, other.run_id) as other_text:
        kinds_here, kinds_there = kinds_of(text), kinds_of(other_text)
    return page(
        request,
        "pages/difference.html",
        row=run_row(row),
        other=run_row(other),
        sources=differences(verdict.reduction, there.reduction, kinds_here=kinds_here, kinds_there=kinds_there),
        checked=kinds_here is not None and kinds_there is not None,
    )


def verdict_json(request: Request) -> Response:
    """The verdict as it is stored."""
    verdict = _found(request).verdict
    return _download(
        Response(verdict.model_dump_json(indent=1), media_type="application/json"), verdict.run_id, "verdict.json"
    )


def reduced_text(request: Request) -> Response:
    """The lines worth reading, as `stream-triage reduce` prints them."""
    verdict = _found(request).verdict
    chosen = sorted(verdict.reduction, key=lambda line: (line.source, line.number))
    text = ReducedText(
        run_id=verdict.run_id,
        label=verdict.label,
        total=verdict.lines,
        lines=[ShownLine(line.source, line.number, line.why, line.text, line.repeats) for line in chosen],
        in_order=True,
        pushed_out=0,
        left_out=lambda _, before, after: (after - before - 1, False),
        line_counts={summary.source: summary.lines for summary in verdict.sources},
        notes=[verdict.why] if verdict.why else [],
    )
    body = "".join(f"{line}\n" for line in plain(text))
    return _download(Response(body, media_type="text/plain"), verdict.run_id, "reduced.txt")


def full_text(request: Request) -> Response:
    """The whole redacted text with line numbers, as `stream-triage show --full` prints it."""
    found = _found(request)
    text = found.site.store.archive.open(found.verdict.run_id)
    return _download(StreamingResponse(_numbered(text), media_type="text/plain"), found.verdict.run_id, "full.txt")


def _numbered(text: RunFile) -> Iterator[str]:
    with text:
        for source in text.sources():
            for first in range(1, text.line_count(source) + 1, READ_LINES):
                part = text.read(source, first, first + READ_LINES - 1)
                yield "".join(f"{line_text(source, number, line)}\n" for number, line in enumerate(part, first))


def _found(request: Request) -> Found:
    run_id = request.query_params.get("id", "")
    if not run_id:
        raise InputError("the address must name a run, as in /run?id=RUN")
    site = site_of(request)
    store = site.store.open()
    run_id = store.full_id(run_id)
    verdict, row = store.get(run_id), store.lists.find(run_id)
    if row is None:
        raise RunNotFound(f"run {run_id!r} is not stored any more")
    archived = site.store.archive.has(run_id)
    told = site.courses_of is not None and verdict.ues is not None
    return Found(site, verdict, row, ServerLinks(run_id, archived, told))


def _wanted_lines(request: Request, found: Found) -> tuple[list[ReducedLine], str]:
    """Lines that the address names (`lines=104-120`, with `source=du` if the run has several), and why there are none.

    Links to lines stand in tickets, and are opened when the text has long been pruned: the verdict is shown all the same.
    """
    if not request.query_params.get("lines"):
        return [], ""
    source, (first, last) = request.query_params.get("source", ""), _span(request, "lines")
    with _text_if_any(found.site, found.verdict.run_id) as text:
        texts = text.read(source, first, last) if text else []
        why = _why_missing(text, source)
    if not texts:
        return [], f"Lines {first}-{last} cannot be shown: {why}."
    return [
        ReducedLine(source=source, number=number, text=one, why="context") for number, one in enumerate(texts, first)
    ], ""


def _why_missing(text: RunText | None, source: str) -> str:
    if text is None:
        return "the text of this run was pruned or never archived"
    if source in (names := text.sources()):
        return f"the last line is line {text.line_count(source)}"
    return f"name the source, one of {', '.join(names)}, as in source={names[0]}" if any(names) else "leave out the source"


def _span(request: Request, name: str) -> tuple[int, int]:
    match = _SPAN.fullmatch(request.query_params.get(name, ""))
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last:
        raise InputError(f"{name} must name lines, as in {name}=104-120")
    return (first, last) if name == "gap" else (first, min(last, first + MOST_LINES - 1))


def _text(found: Found) -> RunFile:
    return found.site.store.archive.open(found.verdict.run_id)


@contextmanager
def _text_if_any(site: Site, run_id: str) -> Iterator[RunText | None]:
    try:
        text = site.store.archive.open(run_id)
    except RunNotFound:
        yield None
        return
    with text:
        yield text


def _download(response: Response, run_id: str, name: str) -> Response:
    """Saved under a name made of the run's, which may have any characters."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", run_id.rpartition("/")[2])[:80].strip("-.") or "run"
    response.headers["content-disposition"] = f'attachment; filename="{quote(stem)}-{name}"'
    return response
