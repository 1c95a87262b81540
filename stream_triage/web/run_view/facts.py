"""A verdict in; names and values of what is known about its run, for a page, out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stream_triage.records import Repairs, SourceSummary, Verdict
from stream_triage.web.run_view.links import RunLinks

__all__ = ["Fact", "SourceView", "facts", "source_views", "title_of"]

_SHORTEST_NAME: Final = 4
# Headers that have a word of their own on pages; the others go by their names.
_WORDS: Final = {
    "test.case.name": "test case",
    "test.suite.name": "test suite",
    "service.version": "build",
    "testbed": "bed",
    "test.case.result.status": "test harness says",
}


@dataclass(frozen=True)
class Fact:
    """Something known about a run."""

    name: str
    value: str
    href: str = ""
    """Runs with the same value."""


@dataclass(frozen=True)
class SourceView:
    """One source in numbers."""

    source: str
    lines: int
    known: float
    """Share of its lines whose template the bundle knows."""
    notes: tuple[str, ...]


def title_of(run_id: str) -> tuple[str, str]:
    """Folder and name of a run. The name is what people look for, unless it says nothing without its folder.

    >>> title_of("night/7/attach.log#0a1b2c3d"), title_of("night/17")
    (('night/7/', 'attach.log#0a1b2c3d'), ('', 'night/17'))
    """
    head, slash, name = run_id.rpartition("/")
    return (head + slash, name) if len(name) >= _SHORTEST_NAME and not name.isdigit() else ("", run_id)


def facts(verdict: Verdict, links: RunLinks | None = None) -> tuple[Fact, ...]:
    """What people ask for first, then other headers by name."""
    found = [("team", verdict.team or ""), ("cause", verdict.cause or "")]
    found += [(name, verdict.headers[name]) for name in _WORDS if name in verdict.headers]
    found += [(name, value) for name, value in sorted(verdict.headers.items()) if name not in _WORDS]
    found += [("bundle", verdict.bundle)]
    made = []
    for name, value in found:
        if value:
            href = links.filtered(name, value) if links else None
            shown = f"{value} {verdict.bundle_version}" if name == "bundle" else value
            made.append(Fact(_WORDS.get(name, name), shown, href or ""))
    return tuple(made)


def source_views(verdict: Verdict) -> tuple[SourceView, ...]:
    """One for each source, in the order of the verdict."""
    return tuple(
        SourceView(one.source, one.lines, one.known_lines / one.lines if one.lines else 1.0, tuple(_notes(one)))
        for one in verdict.sources
    )


def _notes(summary: SourceSummary) -> Iterator[str]:
    removed = sum(summary.redactions.values())
    if removed:
        yield f"{_count(removed, 'redaction')}"
    if summary.encoding:
        yield f"encoding {summary.encoding}"
    if summary.stripped:
        yield f"taken off its lines: {summary.stripped}"
    yield from _repairs(summary.repairs)


def _repairs(repairs: Repairs) -> Iterator[str]:
    if repairs.damaged_lines:
        yield f"{_count(repairs.damaged_lines, 'line')} with bytes that are no text"
    if repairs.cut_lines:
        yield f"{_count(repairs.cut_lines, 'line')} cut at the length limit, {_count(repairs.dropped_bytes, 'byte')} dropped"
    if repairs.repeated_messages or repairs.repeated_bytes:
        yield f"{_count(repairs.repeated_bytes, 'byte')} came twice and were dropped"
    yield from repairs.problems
    yield from repairs.notes


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
