"""Verdicts in, with the texts of their runs; one HTML file out that anybody can open, without a server or a network.

The file may be sent to people and kept for years: it holds its style and its script itself, loads nothing, and forbids its
browser to load anything or to run any other script, whatever a log may contain.
"""

import hashlib
import os
import tempfile
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from stream_triage.errors import StoreError
from stream_triage.ports import RunText
from stream_triage.records import UeCourse, Verdict
from stream_triage.web.pages import environment, render, static_text
from stream_triage.web.run_view import PastRun, run_view

__all__ = ["RUNS_IN_DETAIL", "Report"]

# Runs that are shown in full; one takes about 60 kB. The others have a row in the table.
RUNS_IN_DETAIL: Final = 100
# Rows of the table. Whoever has more runs than that wants the page of `stream-triage ui`.
ROWS: Final = 5000

CoursesOf = Callable[[Verdict, RunText], Sequence[UeCourse]]
HistoryOf = Callable[[Verdict], Sequence[PastRun]]


@dataclass(frozen=True)
class _Row:
    """A run in the table of a report."""

    run_id: str
    label: str
    needs_review: bool
    anomalous: bool
    clean: bool
    why: str
    href: str


@dataclass
class _Entry:
    verdict: Verdict
    courses: Sequence[UeCourse] = ()


class Report:
    """A sink that makes a report of the final verdicts it gets. The file appears when it is closed, complete or not at all.

    Args:
        path: Of the report; a file there is replaced.
        courses_of: Reads what happened to the UEs of a run from its text; without it, the report has no UE timelines.
        history_of: Finds earlier runs of the same test case.

    Raises:
        SettingsError: Jinja2 is not installed.
        StoreError: The file cannot be written.
    """

    def __init__(self, path: Path, *, courses_of: CoursesOf | None = None, history_of: HistoryOf | None = None) -> None:
        environment()
        self._path, self._courses_of, self._history_of = path, courses_of, history_of
        self._entries: dict[str, _Entry] = {}
        self._in_detail = 0
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        except OSError as error:
            raise self._cannot_write(error) from None
        os.close(handle)
        self._partial: Path | None = Path(name)

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Takes a final verdict; a later one of the same run replaces it. Others are ignored."""
        if self._partial is None:
            raise StoreError(f"the report {self._path} is closed; write before closing it")
        if not verdict.final:
            return
        known = self._entries.pop(verdict.run_id, None)
        self._in_detail -= known is not None and not known.verdict.clean
        # Of the many runs that passed only what the table shows is kept: a night has thousands of them.
        full = not verdict.clean or len(self._entries) < RUNS_IN_DETAIL
        if not verdict.clean:
            full = self._in_detail < RUNS_IN_DETAIL
            self._in_detail += 1
        courses = self._courses_of(verdict, text) if full and text is not None and self._courses_of else ()
        self._entries[verdict.run_id] = _Entry(verdict if full else _row_alone(verdict), courses)

    def flush(self) -> None:
        """Does nothing: the report is written when it is closed."""

    def close(self) -> None:
        """Writes the file. Raises `StoreError` if that fails."""
        if self._partial is None:
            return
        partial, self._partial = self._partial, None
        try:
            partial.write_text(self._html(), encoding="utf-8", errors="backslashreplace")
            partial.chmod(0o600)
            partial.replace(self._path)
        except OSError as error:
            raise self._cannot_write(error) from None
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def discard(self) -> None:
        """Ends the report without a file."""
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)
            self._partial = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _cannot_write(self, error: OSError) -> StoreError:
        return StoreError(f"report {self._path} cannot be written: {error.strerror}; name another file")

    def _html(self) -> str:
        # What needs somebody comes first; within that, the runs keep their order.
        entries = sorted(self._entries.values(), key=lambda entry: entry.verdict.clean)
        detailed = entries[:RUNS_IN_DETAIL]
        views = [self._view(entry, f"r{number}-") for number, entry in enumerate(detailed, 1)]
        hrefs = [f"#{view.prefix}run" for view in views] + [""] * (len(entries) - len(views))
        rows = [_row(entry.verdict, href) for entry, href in zip(entries, hrefs, strict=True)]
        style, script = static_text("tokens.css") + static_text("run.css"), static_text("run.js")
        return render(
            "report.html",
            runs=views,
            rows=rows[:ROWS],
            rows_left_out=max(0, len(rows) - ROWS),
            total=len(rows),
            to_look_at=sum(not row.clean for row in rows),
            labels=Counter(row.label for row in rows).most_common(),
            made=max((entry.verdict.time for entry in entries if entry.verdict.time), default=None),
            style=style,
            script=script,
            policy=_policy(style, script),
        )

    def _view(self, entry: _Entry, prefix: str) -> object:
        history = self._history_of(entry.verdict) if self._history_of else ()
        return run_view(entry.verdict, courses=entry.courses, history=history, prefix=prefix)


def _row_alone(verdict: Verdict) -> Verdict:
    """What the table shows of a verdict."""
    return verdict.model_copy(update={"reduction": (), "evidence": (), "rest": (), "sources": (), "headers": {}})


def _row(verdict: Verdict, href: str) -> _Row:
    first = verdict.review_reasons[0] if verdict.review_reasons else ""
    anomaly = verdict.anomalies[0].words() if verdict.anomalous and verdict.passed and verdict.anomalies else ""
    why = verdict.why if verdict.failed else ""
    return _Row(
        verdict.run_id, verdict.label, verdict.needs_review, verdict.anomalous, verdict.clean, why or first or anomaly, href
    )


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows this style and this script, by their hashes, and nothing else."""
    hashes = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'; "
        "form-action 'none'"
    )
