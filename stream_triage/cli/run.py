"""`run`: reads runs from files, stdin or an index, prints a verdict for each and stores it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from stream_triage.cli.exits import EXIT_INPUT, EXIT_INTERRUPTED, EXIT_UNCLEAN, note, storage_is_input
from stream_triage.cli.options import (
    BundleOption,
    ConfigOption,
    DialectOption,
    ReportOption,
    RulesOption,
    RunByOption,
    as_settings,
)
from stream_triage.cli.reading import open_source, print_problem, read_source
from stream_triage.render.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from stream_triage.intake import Tally
    from stream_triage.pipeline import Triage
    from stream_triage.ports import RunText, Source
    from stream_triage.records import UeCourse, Verdict
    from stream_triage.settings import Settings
    from stream_triage.sinks.sqlite import SqliteStore
    from stream_triage.web.report import Report

__all__ = ["run"]


def run(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders, glob patterns and archives; or - for stdin; or opensearch://INDEX.", metavar="PATH..."
        ),
    ],
    *,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    dialect: DialectOption = None,
    run_by: RunByOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep reading files that grow, until interrupted with Ctrl-C.")
    ] = False,
    idle_seconds: Annotated[
        float | None, typer.Option(help="With --follow: end a run when its files have not grown for this many seconds.")
    ] = None,
    end_pattern: Annotated[
        str | None, typer.Option(help="With --follow: end a run at a line that matches this regular expression.")
    ] = None,
    run_field: Annotated[
        str | None, typer.Option(help="With opensearch://INDEX: field that holds the name of a line's run.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="With opensearch://INDEX: read runs that have lines in this period, for example now-1d or 2026-11-01..now."
        ),
    ] = None,
    run_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Id of the run; PATH must be one run: a file, stdin, or a folder with --run-by folder.",
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="NAME=VALUE",
            help="Header to set for every run, for example test.case.name=attach. Can be repeated.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all verdicts as one JSON array.")] = False,
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print each verdict as one line of JSON as soon as it is ready.")
    ] = False,
    no_store: Annotated[bool, typer.Option("--no-store", help="Only print the verdicts; store nothing.")] = False,
    report: ReportOption = None,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Replace stored verdicts of the same runs, for example after a change of rules, dialects or bundle.",
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print neither progress bar nor summary.")] = False,
) -> None:
    """Judge runs in files, folders, archives, stdin or OpenSearch.

    Exits with 0 if every run passed, with 1 if a run did not pass, was anomalous or needs a review, with 2 if something was
    not read or not stored, and with 130 after an interrupt without --follow. Verdicts that were finished are stored in every
    case.
    """
    from stream_triage.settings import load_settings

    if not follow and (idle_seconds is not None or end_pattern is not None):
        raise typer.BadParameter("--idle-seconds and --end-pattern end a run that is followed; add --follow")
    printer, headers = _Printer(as_json, as_jsonl, follow), _headers(header)
    options = as_settings(
        bundle=bundle,
        rules=rules,
        dialects=dialect,
        input__run_by=run_by,
        input__encoding="utf-8" if run_field else None,  # documents of an index are Unicode
        follow__idle_seconds=idle_seconds,
        follow__end_pattern=end_pattern,
    )
    settings = load_settings(config, **options)
    sinks = () if no_store else settings.sinks
    with storage_is_input():
        source = open_source(paths, settings, follow=follow, run_field=run_field, time=time, run_id=run_id)
        tally, interrupted = _judge(
            source, settings, sinks, printer, headers=headers, report=report, again=again, quiet=quiet or follow
        )
    for message in tally.store_errors:
        note(f"error: not everything was stored: {message}")
    if not quiet:
        _print_summary(tally, settings, stored="store" in sinks, stripped=printer.stripped, report=report)
    raise typer.Exit(_exit_code(tally, interrupted=interrupted and not follow))


def _judge(
    source: Source,
    settings: Settings,
    sinks: Collection[str],
    printer: _Printer,
    *,
    headers: dict[str, str],
    report: Path | None,
    again: bool,
    quiet: bool,
) -> tuple[Tally, bool]:
    """Reads the source, judges its runs and writes the verdicts; returns the counts and whether it was interrupted."""
    from stream_triage import wiring
    from stream_triage.intake import Intake

    triage = wiring.open_triage(settings)
    # Wrong addresses are reported before anything is judged.
    targets = wiring.open_targets(settings.alerts) if "alerts" in sinks else {}
    store, store_errors = _open_store(settings, wanted="store" in sinks)
    # The store is the index of the archive: without it, nobody finds an archived run.
    names = [name for name in sinks if name not in ("store", "archive")] if store_errors else sinks
    with (
        _open_report(report, triage, settings, store) if report else nullcontext() as page,
        wiring.open_sinks(settings, names, store=store, jsonl=printer.jsonl, on_trouble=note) as opened,
        wiring.provisional_verdicts(settings, None, opened, note) as live,
    ):
        intake = Intake(
            triage,
            [*opened, page] if page else opened,
            store=store,
            again=again,
            headers=headers,
            on_verdict=printer.take,
            on_problem=print_problem,
            team_of=wiring.team_by_routes(settings),
            live=live,
        )
        intake.tally.store_errors += store_errors
        try:
            interrupted = read_source(source, intake, quiet=quiet)
        finally:
            printer.finish()
        intake.close()
    if "alerts" in sinks:
        with wiring.open_notifier(settings, targets, note) as notifier:
            notifier.finish()
    return intake.tally, interrupted


def _open_report(path: Path, triage: Triage, settings: Settings, store: SqliteStore | None) -> Report:
    from stream_triage.operations import earlier_runs
    from stream_triage.ue_events import events_of_failed_ues
    from stream_triage.web.report import Report
    from stream_triage.web.run_view import UES_SHOWN

    def courses_of(verdict: Verdict, text: RunText) -> list[UeCourse]:
        return events_of_failed_ues(triage.models[verdict.bundle], text, verdict, UES_SHOWN, settings.input.format)

    return Report(path, courses_of=courses_of, history_of=partial(earlier_runs, store) if store else None)


def _open_store(settings: Settings, *, wanted: bool) -> tuple[SqliteStore | None, list[str]]:
    """The store, or the reason why it cannot be opened: runs are judged and printed in any case."""
    from stream_triage import wiring
    from stream_triage.errors import StoreError

    try:
        return (wiring.open_store(settings, create=True) if wanted else None), []
    except StoreError as error:
        return None, [f"{error}; use --no-store to run without it"]


def _headers(pairs: list[str] | None) -> dict[str, str]:
    headers = {}
    for pair in pairs or ():
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise typer.BadParameter("--header must have the form NAME=VALUE")
        headers[printable(name)] = printable(value)
    return headers


class _Printer:
    """Prints verdicts in the chosen form: a table at the end, one line each as they come, or JSON."""

    def __init__(self, as_json: bool, as_jsonl: bool, follow: bool) -> None:
        if as_json and as_jsonl:
            raise typer.BadParameter("choose one of --json and --jsonl")
        self._as_json, self._as_jsonl, self._follow = as_json, as_jsonl, follow
        self._count = 0
        self._rows: list[Verdict] = []
        self.stripped: Counter[str] = Counter()
        """Wrappers that were taken off, and of how many runs."""
        self.jsonl = sys.stdout if as_jsonl else None
        """Where a sink writes the verdicts as JSON Lines."""

    def take(self, verdict: Verdict) -> None:
        """Prints the verdict, or keeps it for the table. JSON Lines are left to the sink that writes them."""
        self._count += 1
        self.stripped.update({source.stripped for source in verdict.sources if source.stripped})
        if self._as_json:
            print("[" if self._count == 1 else ",", verdict.model_dump_json(), sep="\n", flush=self._follow)
        elif self._follow and not self._as_jsonl:
            from stream_triage.render.terminal import console, verdict_line

            console().print(verdict_line(verdict), soft_wrap=True)
        elif not self._as_jsonl:
            self._rows.append(_without_lines(verdict))

    def finish(self) -> None:
        """Ends the JSON array, or prints the table."""
        if self._as_json:
            print("]" if self._count else "[]")
        elif self._rows:
            from stream_triage.render.terminal import console, run_table

            console().print(run_table(self._rows))


def _without_lines(verdict: Verdict) -> Verdict:
    """The part of a verdict that the table shows: the reductions of thousands of runs would fill the memory."""
    return verdict.model_copy(update={"reduction": (), "anomalies": verdict.anomalies[:1], "headers": {}})


def _print_summary(tally: Tally, settings: Settings, *, stored: bool, stripped: Counter[str], report: Path | None) -> None:
    unread = f"; {tally.unread} not read, or not completely; see the errors above" if tally.unread else ""
    note(f"{tally.runs} run{'' if tally.runs == 1 else 's'}, {tally.unclean} to look at, {tally.lines} lines{unread}")
    if stripped:
        named = [f"{name} ({count} source{'' if count == 1 else 's'})" for name, count in stripped.most_common(5)]
        more = f", and {len(stripped) - len(named)} more" if len(stripped) > len(named) else ""
        note(f"taken off the lines: {', '.join(named)}{more}")
    if tally.kept_earlier:
        note(f"the store has a different, earlier verdict of {tally.kept_earlier} of them and keeps it; --again replaces it")
    if report and tally.runs and not tally.store_errors:
        note(f"report: {report}")
    if tally.runs and stored and not tally.store_errors:
        note(f"stored in {settings.store.path}; show a run with: stream-triage show RUN")


def _exit_code(tally: Tally, *, interrupted: bool) -> int:
    if interrupted:
        return EXIT_INTERRUPTED
    if tally.errors or tally.store_errors:
        return EXIT_INPUT
    return EXIT_UNCLEAN if tally.unclean else 0
