"""Commands for stored runs: `runs`, `show`, `junit`, `forget`, `prune`."""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_triage.cli.exits import EXIT_INPUT, note
from stream_triage.cli.options import ConfigOption, DialectOption, JsonOption, ReportOption, RunArgument, as_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_triage.ports import RunText
    from stream_triage.records import UeCourse, Verdict
    from stream_triage.settings import Settings
    from stream_triage.sinks.sqlite import SqliteStore

__all__ = ["forget", "junit", "prune", "runs", "show"]

# Newest stored runs in which `junit` looks for a test case.
JUNIT_RUNS = 10_000


def runs(
    *,
    config: ConfigOption = None,
    label: Annotated[str | None, typer.Option(help="List only runs with this label.")] = None,
    search: Annotated[str | None, typer.Option(help="List only runs with these words in their stored lines.")] = None,
    unclean: Annotated[
        bool,
        typer.Option("--unclean", help="List only runs that did not pass, are anomalous or need a review."),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="List at most this many runs.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List stored runs, newest first."""
    from stream_triage import wiring
    from stream_triage.settings import load_settings

    with wiring.open_store(load_settings(config)) as store:
        rows = store.runs(label=label, search=search, unclean=unclean, limit=limit)
    if as_json:
        print(json.dumps([row._asdict() for row in rows], default=str, indent=1))
    elif rows:
        from stream_triage.render.terminal import console, stored_table

        console().print(stored_table(rows))
    else:
        note("no stored run matches")


def show(
    run_id: RunArgument,
    *,
    config: ConfigOption = None,
    full: Annotated[bool, typer.Option("--full", help="Print the whole redacted text with line numbers instead.")] = False,
    ue: Annotated[
        str | None,
        typer.Option(
            "--ue",
            metavar="UE",
            help="Print what happened to one UE instead: its id as the verdict names it, or the source that is its log.",
        ),
    ] = None,
    dialect: DialectOption = None,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the verdict of a stored run and its evidence.

    Prints label, the sentence that says why, probabilities, evidence, anomalies, how the score of the label adds up, and
    the lines that are worth reading. --full and --ue read the archived text.
    """
    from stream_triage import wiring
    from stream_triage.operations import full_id, ue_courses
    from stream_triage.settings import load_settings

    if full and (ue is not None or as_json):
        raise typer.BadParameter("--full goes with neither --ue nor --json")
    if report and full:
        raise typer.BadParameter("--report has the lines worth reading and those around them; it does not go with --full")
    if dialect and ue is None:
        raise typer.BadParameter("--dialect says how the text is read for --ue; a stored verdict does not change by it")
    settings = load_settings(config, **as_settings(dialects=dialect))
    with wiring.open_store(settings) as store:
        run_id = full_id(settings, store, run_id)
        verdict = None if full else store.get(run_id)
        if report is not None and verdict is not None:
            _write_report(report, settings, store, verdict)
    if verdict is None:
        _print_text(settings, run_id)
    elif ue is not None:
        _print_ue(ue_courses(settings, verdict, ue, on_trouble=note), as_json)
    elif as_json:
        print(verdict.model_dump_json(indent=1))
    else:
        from stream_triage.render.terminal import console, verdict_page

        console().print(verdict_page(verdict))


def _write_report(path: Path, settings: Settings, store: SqliteStore, verdict: Verdict) -> None:
    """With the archived text, if there is one: then the report has the UEs, and lines between those worth reading."""
    from stream_triage.errors import RunNotFound
    from stream_triage.operations import earlier_runs, failed_ue_courses
    from stream_triage.sinks.archive import TextArchive
    from stream_triage.web.report import Report
    from stream_triage.web.run_view import UES_SHOWN

    def courses_of(verdict: Verdict, text: RunText) -> list[UeCourse]:
        return failed_ue_courses(settings, verdict, text, UES_SHOWN)

    with ExitStack() as stack:
        report = stack.enter_context(Report(path, courses_of=courses_of, history_of=partial(earlier_runs, store)))
        text = None
        with suppress(RunNotFound):
            text = stack.enter_context(stack.enter_context(TextArchive(settings.archive)).open(verdict.run_id))
        report.write(verdict, text)
    note(f"report: {path}")


def _print_ue(courses: Sequence[UeCourse], as_json: bool) -> None:
    from stream_triage.render.terminal import console
    from stream_triage.render.ue_page import ue_page

    if as_json:
        print(json.dumps([course.model_dump() for course in courses], indent=1))
    else:
        console().print(ue_page(courses))


def _print_text(settings: Settings, run_id: str) -> None:
    from stream_triage.render.terminal import line_text
    from stream_triage.sinks.archive import TextArchive

    with TextArchive(settings.archive) as archive, archive.open(run_id) as text:
        for source in text.sources():
            for first in range(1, text.line_count(source) + 1, 1000):
                for number, line in enumerate(text.read(source, first, first + 999), first):
                    print(line_text(source, number, line))


def junit(
    results: Annotated[Path, typer.Argument(metavar="FILE", help="JUnit XML file of the test harness.")],
    *,
    config: ConfigOption = None,
    out: Annotated[Path | None, typer.Option(help="File to write; without this option, FILE is overwritten.")] = None,
) -> None:
    """Add stored verdicts to the test cases of a JUnit XML file.

    A verdict belongs to a test case if the header test.case.name of its run is class and name of the test case, with a
    dot between them, or its name alone if no other class has a test case of this name. The newest final verdict is added,
    in properties named triage.*.
    """
    from stream_triage import wiring
    from stream_triage.errors import InputError
    from stream_triage.render.junit import with_verdicts
    from stream_triage.settings import load_settings

    with wiring.open_store(load_settings(config)) as store:
        newest = _newest_by_test_case(store)
        try:
            judged = with_verdicts(results.read_bytes(), newest.get)
            (out or results).write_bytes(judged.data)
        except InputError as error:
            raise InputError(f"{results} {error}") from None
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read or written: {error.strerror}") from None
    if judged.replaced:
        note(f"{results}: {judged.replaced} characters that XML forbids were replaced")
    for name, classes in judged.ambiguous.items():
        note(
            f"{results}: several classes have {name} ({', '.join(classes)}); its verdict was not added, because its run "
            "does not name the class in test.case.name"
        )
    print(f"{judged.matched} of {judged.data.count(b'<testcase')} test cases have a verdict")


def _newest_by_test_case(store: SqliteStore) -> dict[str, Verdict]:
    newest: dict[str, Verdict] = {}
    for row in store.runs(limit=JUNIT_RUNS):
        verdict = store.get(row.run_id)
        if verdict.final and (name := verdict.headers.get("test.case.name")):
            newest.setdefault(name, verdict)
    return newest


def forget(
    run_ids: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Ids of stored runs, or their beginnings, or any parts of them, as long as only one run matches each.",
        ),
    ],
    *,
    config: ConfigOption = None,
) -> None:
    """Delete runs from every sink except JSON Lines files.

    If the settings name a Kafka, its workers will not judge these runs again. Only the sinks of these settings are
    changed: repeat the command where other workers have other sinks. Exits with 2 if one of the runs is not stored; the
    others are deleted.
    """
    from stream_triage import wiring
    from stream_triage.errors import RunNotFound
    from stream_triage.forgetting import forget as forget_runs
    from stream_triage.forgetting import not_reached
    from stream_triage.settings import load_settings

    settings = load_settings(config)
    missing = 0
    with ExitStack() as stack:
        elsewhere = {"opensearch", "kafka"}.intersection(settings.sinks)
        needed = settings.store.path.exists() or "store" in settings.sinks or not elsewhere
        store = stack.enter_context(wiring.open_store(settings)) if needed else None
        for forgotten in forget_runs(settings, store, run_ids, on_trouble=note):
            missing += isinstance(forgotten, RunNotFound)
            note(f"error: {forgotten}" if isinstance(forgotten, RunNotFound) else f"forgot {forgotten}")
    if missing < len(run_ids):
        for text in not_reached(settings):
            note(text)
    raise typer.Exit(EXIT_INPUT if missing else 0)


def prune(*, config: ConfigOption = None) -> None:
    """Delete runs that are too old or too many.

    Also deletes texts that are too old or take too much space. Nothing is deleted from store and archive unless prune or
    forget runs. The limits are the settings store.max_age_days, store.max_runs, archive.max_age_days and archive.max_bytes.
    """
    from stream_triage import wiring
    from stream_triage.operations import prune as prune_runs
    from stream_triage.settings import load_settings

    settings = load_settings(config)
    with wiring.open_store(settings) as store:
        pruned = prune_runs(settings, store)
    note(f"removed {pruned.runs} runs from the store and {pruned.texts} texts from the archive")
