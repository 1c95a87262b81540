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
from typing import Final, NamedTuple, Self

from stream_triage.errors import StoreError
from stream_triage.ports import RunText
from stream_triage.records import UeCourse, Verdict, cut
from stream_triage.render.printable import without_colours
from stream_triage.web.pages import environment, render, static_text
from stream_triage.web.run_view import GapView, PastRun, RunView, run_view, title_of

__all__ = ["RUNS_IN_DETAIL", "Report"]

# Runs that are shown in full; one takes about 60 kB. The others have a row in the table.
RUNS_IN_DETAIL: Final = 100
# Lines between those worth reading that come with each of these runs, and with all of those that are equally urgent.
EMBEDDED_LINES: Final = 2000
EMBEDDED_IN_ALL: Final = 20_000
# Rows of the table. Whoever has more runs than that wants the page of `stream-triage ui`.
ROWS: Final = 5000
WHY_CHARACTERS: Final = 500

CoursesOf = Callable[[Verdict, RunText], Sequence[UeCourse]]
HistoryOf = Callable[[Verdict], Sequence[PastRun]]


@dataclass(frozen=True)
class _Row:
    """A run in the table of a report."""

    run_id: str
    folder: str
    name: str
    label: str
    needs_review: bool
    anomalous: bool
    clean: bool
    urgency: int
    """0 for a failure, 1 for a run that is unknown, 2 for one that passed and must be looked at, 3 for a clean pass."""
    why: str


class _Entry(NamedTuple):
    """A run of a report."""

    row: _Row
    view: RunView | None
    time: datetime | None


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
        # By urgency: runs that come later may push out those that are less urgent, so each kind is counted for itself.
        self._in_detail, self._embedded = Counter[int](), Counter[int]()
        self._numbered = 0
        if path.is_dir():
            raise StoreError(f"report {path} cannot be written: it is a folder; name a file")
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
        if known is not None and known.view is not None:
            self._in_detail[known.row.urgency] -= 1
            self._embedded[known.row.urgency] -= _embedded(known.view)
        row, view = _row(verdict), None
        if self._in_detail[row.urgency] < RUNS_IN_DETAIL:
            view = self._view(verdict, text, EMBEDDED_IN_ALL - self._embedded[row.urgency])
            self._in_detail[row.urgency] += 1
            self._embedded[row.urgency] += _embedded(view)
        self._entries[verdict.run_id] = _Entry(row, view, verdict.time)

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
        entries = sorted(self._entries.values(), key=lambda entry: entry.row.urgency)
        views = [entry.view for entry in entries if entry.view is not None][:RUNS_IN_DETAIL]
        in_full = {view.run_id: f"#{view.prefix}run" for view in views}
        style, script = static_text("tokens.css") + static_text("run.css"), static_text("run.js")
        return render(
            "report.html",
            runs=views,
            rows=[(entry.row, in_full.get(entry.row.run_id, "")) for entry in entries[:ROWS]],
            total=len(entries),
            to_look_at=sum(not entry.row.clean for entry in entries),
            labels=Counter(entry.row.label for entry in entries).most_common(),
            made=max((entry.time for entry in entries if entry.time), default=None),
            style=style,
            script=script,
            policy=_policy(style, script),
        )

    def _view(self, verdict: Verdict, text: RunText | None, embed: int) -> RunView:
        self._numbered += 1
        return run_view(
            verdict,
            text=text,
            embed=min(EMBEDDED_LINES, embed),
            courses=self._courses_of(verdict, text) if self._courses_of and text is not None else (),
            history=self._history_of(verdict) if self._history_of else (),
            prefix=f"r{self._numbered}-",
        )


def _embedded(view: RunView) -> int:
    """Lines in its gaps."""
    return sum(len(row.rows) for source in view.source_lines for row in source.rows if isinstance(row, GapView))


def _row(verdict: Verdict) -> _Row:
    """Says of a run that passed only why somebody should look at it."""
    why = verdict.why if verdict.failed else ""
    review = verdict.review_reasons[0] if verdict.review_reasons else ""
    anomaly = verdict.anomalies[0].words() if verdict.anomalous and verdict.anomalies else ""
    folder, name = title_of(verdict.run_id)
    return _Row(
        run_id=verdict.run_id,
        folder=folder,
        name=name,
        label=verdict.label,
        needs_review=verdict.needs_review,
        anomalous=verdict.anomalous,
        clean=verdict.clean,
        urgency=3 if verdict.clean else 2 if verdict.passed else 0 if verdict.failed else 1,
        why=without_colours(cut(why or review or anomaly, WHY_CHARACTERS)),
    )


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows this style and this script, by their hashes, and nothing else."""
    hashes = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'; "
        "form-action 'none'"
    )
