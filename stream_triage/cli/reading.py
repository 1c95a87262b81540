"""Paths of the command line in, a source that is read to its end out; with progress bar and clean interrupts."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from stream_triage.cli.exits import note

if TYPE_CHECKING:
    from stream_triage.intake import Intake
    from stream_triage.ports import Source
    from stream_triage.records import Event, Problem
    from stream_triage.settings import Settings

__all__ = ["open_source", "print_problem", "read_source"]


def open_source(
    paths: list[str],
    settings: Settings,
    *,
    follow: bool = False,
    run_field: str | None = None,
    time: str | None = None,
    run_id: str | None = None,
) -> Source:
    """The source that reads the paths. Raises `typer.BadParameter` for paths and options that cannot be combined."""
    from stream_triage.sources.opensearch import SCHEME

    if run_id is not None:
        _check_run_id(paths, settings, follow, run_id)
    if any(path.startswith(SCHEME) for path in paths):
        return _open_index(paths, settings, follow, run_field, time)
    if run_field or time:
        raise typer.BadParameter(f"--run-field and --time select runs of an index; they need {SCHEME}INDEX")
    if "-" in paths:
        return _open_stdin(paths, settings, follow, run_id or "")
    from stream_triage.sources.file import FileSource

    return FileSource(paths, settings.input, follow=settings.follow if follow else None, run_id=run_id or "")


def _check_run_id(paths: list[str], settings: Settings, follow: bool, run_id: str) -> None:
    from stream_triage import wiring
    from stream_triage.sources.opensearch import SCHEME

    if len(paths) > 1:
        raise typer.BadParameter("--run-id names one run, so give one PATH; judge each run with a command of its own")
    if follow or paths[0].startswith(SCHEME):
        raise typer.BadParameter("--run-id names one run; it cannot be used with --follow or an index, which have many")
    if reason := wiring.reason_to_reject_id(settings, run_id):
        raise typer.BadParameter(f"the --run-id {reason}")


def _open_stdin(paths: list[str], settings: Settings, follow: bool, run_id: str) -> Source:
    from stream_triage.sources.stdin import StdinSource

    if len(paths) > 1:
        raise typer.BadParameter("- (stdin) cannot be mixed with paths")
    if follow:
        raise typer.BadParameter("- (stdin) cannot be followed: it is one run, which ends when the input ends")
    return StdinSource(sys.stdin.buffer, settings=settings.input, run_id=run_id)


def _open_index(paths: list[str], settings: Settings, follow: bool, run_field: str | None, time: str | None) -> Source:
    from stream_triage import wiring
    from stream_triage.sources.opensearch import SCHEME

    path = next(path for path in paths if path.startswith(SCHEME))
    index = path.removeprefix(SCHEME)
    if not index:
        raise typer.BadParameter(f"{SCHEME} does not name an index; write {SCHEME}INDEX, for example {SCHEME}logs-*")
    if len(paths) > 1 or follow:
        raise typer.BadParameter(f"{path} cannot be followed or mixed with paths; separate several indices by commas")
    if not run_field or not time:
        raise typer.BadParameter(
            f"{path} needs `stream-triage run` with --run-field (for example run.id) and --time (for example now-1d)"
        )
    return wiring.open_index_source(settings, index, run_field, time)


def print_problem(problem: Problem) -> None:
    """Reports input that could not be read, or was skipped as expected."""
    note(f"{'error' if problem.error else 'note'}: {problem.path}: {problem.reason}")


def read_source(source: Source, intake: Intake, *, quiet: bool) -> bool:
    """Reads the source to its end; returns whether it was interrupted. Finished verdicts are stored in either case."""
    try:
        with _progress(source, intake, quiet) as handle, _whole_events(handle) as handle_whole:
            source.run(handle_whole)
    except KeyboardInterrupt:
        for run_id in intake.discard_open():
            note(f"interrupted: {run_id} was not finished and has no verdict")
        return True
    finally:
        intake.flush()
    return False


@contextmanager
def _whole_events(handle: Callable[[Event], None]) -> Iterator[Callable[[Event], None]]:
    """Delays an interrupt until the current event is handled, so that no run is judged or stored half.

    A second interrupt is not delayed.
    """
    busy = waiting = False

    def on_interrupt(*_: object) -> None:
        nonlocal waiting
        if waiting or not busy:
            raise KeyboardInterrupt
        waiting = True

    def handle_whole(event: Event) -> None:
        nonlocal busy, waiting
        busy = True
        try:
            handle(event)
        finally:
            busy = False
        if waiting:
            waiting = False
            raise KeyboardInterrupt

    # Service managers and time limits send SIGTERM; it must lose no more than Ctrl-C does.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # shells set this for background jobs, which must go on
            signal.signal(number, on_interrupt)
    try:
        yield handle_whole
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(source: Source, intake: Intake, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """Shows a bar with rate and remaining time if stderr is a terminal."""
    from stream_triage.render.terminal import console

    out = console(stderr=True)
    if quiet or not out.is_terminal:
        yield intake.handle
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def handle(event: Event) -> None:
            intake.handle(event)
            total, read = getattr(source, "total_bytes", None), getattr(source, "read_bytes", 0)
            bar.update(task, total=total, completed=read, description=f"{intake.tally.runs} runs")

        yield handle
