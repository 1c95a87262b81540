"""The commands. Thin: each reads its flags, wires the parts and prints what they give.

Data goes to stdout; progress and notes go to stderr. `run` exits with 0 when every run passed and none was anomalous or
unsure, 1 when some did not, 2 for input, usage or storage errors (partial results are still written), 3 for faults of ours.
"""

import errno
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from stream_triage import __version__, operations, wiring
from stream_triage.alerting.rules import Message
from stream_triage.errors import InputError, RunNotFound, SettingsError, StoreError, StreamTriageError, fault_place
from stream_triage.example import example_settings
from stream_triage.intake import Intake, Tally
from stream_triage.model import bundle_rules
from stream_triage.pipeline import Triage
from stream_triage.ports import Source
from stream_triage.records import Event, Problem, Verdict
from stream_triage.render.junit import with_verdicts
from stream_triage.render.printable import printable
from stream_triage.render.terminal import (
    console,
    line_place,
    line_text,
    run_table,
    stored_table,
    verdict_line,
    verdict_page,
)
from stream_triage.settings import Settings, load_settings
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.sources.file import FileSource
from stream_triage.sources.opensearch import SCHEME
from stream_triage.sources.stdin import StdinSource
from stream_triage.stages.redact import Redactor
from stream_triage.stages.reduce import MAX_LINES

__all__ = ["app", "main"]

# Newest stored runs that a test case is looked for among.
LOOKED_THROUGH = 10_000
EXIT_UNCLEAN, EXIT_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    help="Reads test-run logs and says for every run: passed, or which layer failed, and which lines show it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file (TOML).")]
BundleOption = Annotated[str | None, typer.Option("--bundle", "-b", help="Name or folder of the model bundle.")]
RulesOption = Annotated[Path | None, typer.Option("--rules", help="File of hand-written rules (TOML).")]
RunByOption = Annotated[str | None, typer.Option("--run-by", help="What one run is: file or folder.", metavar="file|folder")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PathsArgument = Annotated[
    list[str], typer.Argument(help="Files, folders, globs, archives, - for stdin, or opensearch://INDEX.", metavar="PATH...")
]


def main() -> None:
    """Entry point: turns what goes wrong into one clear line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character must not cost the verdicts
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app(prog_name="stream-triage")
        finally:
            if sys.stdout:
                sys.stdout.flush()  # here, since Python's own flush at the end can only complain
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer turns it into exit code 1, which has a meaning here
            _leave_unread()
        raise
    except BrokenPipeError:
        _leave_unread()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except StreamTriageError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            _report_fault(error)
        _drop_output()
        _fail("the output cannot be written: no space left on its disk; free space and repeat")
    except Exception as error:
        _report_fault(error)


def _leave_unread() -> NoReturn:
    """The reader of our output has gone, as with `| head`; nothing is left to say to it."""
    _drop_output()
    sys.exit(EXIT_INPUT)


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str) -> NoReturn:
    _note(f"error: {message}")
    sys.exit(EXIT_INPUT)


def _note(text: str) -> None:
    print(printable(text), file=sys.stderr)


def _report_fault(error: Exception) -> NoReturn:
    _note(fault_place(error))
    if os.environ.get("STREAM_TRIAGE_DEBUG"):
        traceback.print_exception(error)
    else:
        _note("set STREAM_TRIAGE_DEBUG=1 to see where it came from (the trace may hold text of the log)")
    sys.exit(EXIT_INTERNAL)


def _flags(**flags: Any) -> dict[str, Any]:
    """Flags that were given, as nested settings: follow__idle_seconds becomes {"follow": {"idle_seconds": …}}."""
    tree: dict[str, Any] = {}
    for name, value in flags.items():
        if value is not None:
            section, _, key = name.rpartition("__")
            (tree.setdefault(section, {}) if section else tree)[key] = value
    return tree


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"stream-triage {__version__}")
        raise typer.Exit


@app.command()
def run(
    paths: PathsArgument,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    run_by: RunByOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for files to grow; Ctrl-C ends.")] = False,
    idle_seconds: Annotated[
        float | None, typer.Option(help="With --follow: a run ends when nothing came for this long.")
    ] = None,
    end_pattern: Annotated[
        str | None, typer.Option(help="With --follow: a run ends at a line that matches this regular expression.")
    ] = None,
    run_field: Annotated[
        str | None, typer.Option(help="With opensearch://INDEX: the field that names a line's run.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="With opensearch://INDEX: runs with lines of this time, as in now-1d or 2026-11-01..now."),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="Say something of all runs, as in test.case.name=attach.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array of verdicts.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON verdict a line, as they come.")] = False,
    no_store: Annotated[bool, typer.Option("--no-store", help="Keep nothing in store and archive.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Replace stored verdicts on the same text, as after a change of rules or bundle.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")] = False,
) -> None:
    """Judge the runs in files, folders, archives, a pipe or an OpenSearch index."""
    if not follow and (idle_seconds is not None or end_pattern is not None):
        raise typer.BadParameter("--idle-seconds and --end-pattern say when a followed run ends; add --follow")
    settings = load_settings(
        config,
        **_flags(
            bundle=bundle,
            rules=rules,
            input__run_by=run_by,
            follow__idle_seconds=idle_seconds,
            follow__end_pattern=end_pattern,
        ),
    )
    source = _source(paths, settings, follow, run_field, time)
    triage = wiring.open_triage(settings)
    printer = _Printer(as_json, as_jsonl, follow)
    names = () if no_store else settings.sinks
    # A wrong address is told before anything is judged.
    targets = wiring.open_targets(settings.alerts) if "alerts" in names else {}
    store, store_error = _open_store(settings, wanted="store" in names)
    if store_error:  # without the store nobody finds what the archive holds
        names = tuple(name for name in names if name not in ("store", "archive"))
    jsonl = sys.stdout if as_jsonl else None
    with (
        wiring.open_sinks(settings, names, store=store, jsonl=jsonl, on_trouble=_note) as sinks,
        wiring.watching(settings, None, sinks, _note) as live,
    ):
        intake = Intake(
            triage,
            sinks,
            store=store,
            again=again,
            headers=_headers(header),
            on_verdict=printer.take,
            on_problem=_print_problem,
            owner=wiring.owner(settings),
            live=live,
        )
        intake.tally.store_errors += store_error
        try:
            interrupted = _drive(source, intake, quiet=quiet or follow)
        finally:
            printer.finish()
        intake.close()
    if "alerts" in names:
        with wiring.open_notifier(settings, targets, _note) as notifier:
            notifier.finish()
    for message in intake.tally.store_errors:
        _note(f"error: not everything was stored: {message}")
    if not quiet:
        _print_summary(intake.tally, stored=store is not None, settings=settings)
    raise typer.Exit(_exit_code(intake.tally, interrupted and not follow))


def _open_store(settings: Settings, wanted: bool) -> tuple[SqliteStore | None, list[str]]:
    """The store, or why there is none: runs are judged and printed all the same."""
    try:
        return (wiring.open_store(settings, create=True) if wanted else None), []
    except StoreError as error:
        return None, [f"{error}; with --no-store nothing is to be stored"]


def _source(
    paths: list[str], settings: Settings, follow: bool, run_field: str | None = None, time: str | None = None
) -> Source:
    indices = [path.removeprefix(SCHEME) for path in paths if path.startswith(SCHEME)]
    if not indices and (run_field or time):
        raise typer.BadParameter(f"--run-field and --time say which runs of an index are meant; give {SCHEME}INDEX")
    if indices:
        if not indices[0]:
            raise typer.BadParameter(f"{SCHEME} names no index; write {SCHEME}INDEX, as in {SCHEME}logs-*")
        if len(paths) > 1 or follow:
            raise typer.BadParameter(f"{paths[0]} cannot be followed or mixed with others; name several indices with commas")
        if not run_field or not time:
            raise typer.BadParameter(f"{paths[0]} is read by `run` with --run-field, as in run.id, and --time, as in now-1d")
        return wiring.open_index(settings, indices[0], run_field, time)
    if paths == ["-"]:
        if follow:
            raise typer.BadParameter("- (stdin) cannot be followed: it is one run that ends with the pipe")
        return StdinSource(sys.stdin.buffer, settings=settings.input)
    if "-" in paths:
        raise typer.BadParameter("- (stdin) cannot be mixed with paths")
    return FileSource(paths, settings.input, follow=settings.follow if follow else None)


def _headers(pairs: list[str] | None) -> dict[str, str]:
    headers = {}
    for pair in pairs or ():
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise typer.BadParameter("a --header is not of the form name=value")
        headers[printable(name)] = printable(value)
    return headers


def _drive(source: Source, intake: Intake, quiet: bool) -> bool:
    """Runs the source to its end; says whether it was interrupted. Finished verdicts are durable either way."""
    try:
        with _progress(source, intake, quiet) as handle, _unbroken(handle) as unbroken:
            source.run(unbroken)
    except KeyboardInterrupt:
        for run_id in intake.discard_open():
            _note(f"interrupted: {run_id} was not finished and has no verdict")
        return True
    finally:
        intake.flush()
    return False


@contextmanager
def _unbroken(handle: Callable[[Event], None]) -> Iterator[Callable[[Event], None]]:
    """An interrupt waits for the event in hand, so that no run is judged half or kept half; a second one does not."""
    busy = waiting = False

    def on_interrupt(*_: object) -> None:
        nonlocal waiting
        if waiting or not busy:
            raise KeyboardInterrupt
        waiting = True

    def unbroken(event: Event) -> None:
        nonlocal busy, waiting
        busy = True
        try:
            handle(event)
        finally:
            busy = False
        if waiting:
            waiting = False
            raise KeyboardInterrupt

    # SIGTERM, as service managers and time-outs send it, must lose no more than Ctrl-C does.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as for jobs in the background, which are to go on
            signal.signal(number, on_interrupt)
    try:
        yield unbroken
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(source: Source, intake: Intake, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """A bar with rate and time left on a terminal, nothing elsewhere."""
    out = console(stderr=True)
    if quiet or not out.is_terminal:
        yield intake.handle
        return
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


class _Printer:
    """Prints verdicts in the chosen form: a table at the end, lines as they come, or JSON."""

    def __init__(self, as_json: bool, as_jsonl: bool, follow: bool) -> None:
        if as_json and as_jsonl:
            raise typer.BadParameter("choose one of --json and --jsonl")
        self._as_json, self._as_jsonl, self._follow = as_json, as_jsonl, follow
        self._count = 0
        self._rows: list[Verdict] = []

    def take(self, verdict: Verdict) -> None:
        self._count += 1
        if self._as_json:
            print("[" if self._count == 1 else ",", verdict.model_dump_json(), sep="\n", flush=self._follow)
        elif self._follow and not self._as_jsonl:
            console().print(verdict_line(verdict), soft_wrap=True)
        elif not self._as_jsonl:
            self._rows.append(_without_lines(verdict))

    def finish(self) -> None:
        if self._as_json:
            print("]" if self._count else "[]")
        elif self._rows:
            console().print(run_table(self._rows))


def _without_lines(verdict: Verdict) -> Verdict:
    """What the table needs; thousands of rows must not hold thousands of reductions."""
    return verdict.model_copy(update={"reduction": (), "anomalies": verdict.anomalies[:1], "headers": {}})


def _print_problem(problem: Problem) -> None:
    _note(f"{'error' if problem.error else 'note'}: {problem.path}: {problem.reason}")


def _print_summary(tally: Tally, stored: bool, settings: Settings) -> None:
    _note(f"{tally.runs} run{'' if tally.runs == 1 else 's'}, {tally.unclean} to look at, {tally.lines} lines")
    if tally.kept_earlier:
        _note(f"{tally.kept_earlier} of them were judged otherwise before, and the store keeps that; --again replaces it")
    if tally.runs and stored and not tally.store_errors:
        _note(f"kept in {settings.store.path}; open one with: stream-triage show RUN")


def _exit_code(tally: Tally, interrupted: bool) -> int:
    if interrupted:
        return EXIT_INTERRUPTED
    if tally.errors or tally.store_errors:
        return EXIT_INPUT
    return EXIT_UNCLEAN if tally.unclean else 0


@app.command()
def worker(
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print verdicts.")] = False,
) -> None:
    """Judge the runs of a Kafka topic, until stopped."""
    settings = load_settings(config, **_flags(bundle=bundle, rules=rules))

    def print_verdict(verdict: Verdict) -> None:
        console().print(verdict_line(verdict), soft_wrap=True)

    operations.run_worker(settings, on_verdict=None if quiet else print_verdict, on_problem=_print_problem, on_trouble=_note)


alerts = typer.Typer(help="Messages to the teams that own what failed (docs/alerts.md).", no_args_is_help=True)
app.add_typer(alerts, name="alerts")


@alerts.command("test")
def try_targets(
    config: ConfigOption = None,
    team: Annotated[str | None, typer.Option(help="Only to the targets of this team.")] = None,
) -> None:
    """Send a message to every target and say who took it."""
    settings = load_settings(config)
    targets = wiring.open_targets(settings.alerts)
    if team is not None and team not in targets:
        raise typer.BadParameter(f"alerts.targets has no team {team!r}; it has {', '.join(sorted(targets)) or 'none'}")
    if not targets:
        _note("alerts.targets is empty; name an apprise URL for `default`")
        raise typer.Exit(EXIT_INPUT)
    failed = 0
    for name, of_team in sorted(targets.items()):
        for target in of_team if team in (None, name) else ():
            taken = target.send(Message("stream-triage: a test", f"Alerts for team {name} arrive here."))
            failed += not taken
            print(f"{'taken ' if taken else 'failed'}  {printable(name)}  {target.name}")
    raise typer.Exit(EXIT_INPUT if failed else 0)


@alerts.command("send")
def send_alerts(config: ConfigOption = None) -> None:
    """Send what waits in the outbox and is due, as a worker does on its own."""
    settings = load_settings(config)
    with wiring.open_notifier(settings, wiring.open_targets(settings.alerts), _note) as notifier:
        print(f"{notifier.send_due()} messages sent")


@alerts.command("explain")
def explain_alerts(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Run id, or a part that only one has.")],
    config: ConfigOption = None,
) -> None:
    """Say which rules speak of a stored run and why, and what became of the message."""
    settings = load_settings(config)
    with wiring.open_store(settings) as store:
        verdict = store.get(store.full_id(run_id))
    for line in operations.explain_alerts(settings, verdict):
        print(printable(line))


setup = typer.Typer(help="Make what servers need: topics, index templates. May be repeated.", no_args_is_help=True)
app.add_typer(setup, name="setup")


@setup.command("kafka")
def setup_kafka(
    config: ConfigOption = None,
    partitions: Annotated[int, typer.Option(min=1, help="Of topics that are made: workers that can share the work.")] = 12,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Make the topics that are missing."""
    made = operations.setup_kafka(load_settings(config), partitions, dry_run=dry_run)
    for name in made:
        print(f"{'would make' if dry_run else 'made'} topic {name}")
    if not made:
        print("all topics are there")


@setup.command("opensearch")
def setup_opensearch(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only write the dashboards to FILE (.ndjson), to import by hand.")
    ] = None,
) -> None:
    """Make or change index templates, retention, monitors and dashboards, and list the bundle's templates in an index."""
    settings = load_settings(config)
    if export is not None:
        print(f"wrote {operations.export_dashboards(settings, export)} objects to {export}")
        return
    changes = operations.setup_opensearch(settings, dry_run=dry_run)
    for change in changes.done:
        print(printable(f"{'would ' if dry_run else ''}{change}"))
    for reason in changes.skipped:
        _note(f"left out: {reason}")
    for reason in changes.failed:
        _note(f"error: {reason}")
    if not changes.done and not changes.failed:
        print("all is there")
    raise typer.Exit(EXIT_INPUT if changes.failed else 0)


@app.command()
def canary(
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to wait for its verdict.")] = 60.0,
) -> None:
    """Send a small run through topic, worker and sinks, and say whether the right verdict comes out."""
    settings = load_settings(config, **_flags(bundle=bundle, rules=rules))
    wrong = 0
    for sighting, right in operations.canary(settings, seconds):
        if sighting.verdict is None:
            said = f"no verdict within {sighting.seconds:.0f} s; is a worker running? See its /ready"
        elif right:
            said = f"the expected verdict after {sighting.seconds:.1f} s"
        else:
            said = "another verdict than here; do the workers have the same bundle and rules as these settings?"
        wrong += not right
        print(printable(f"{'alive' if right else 'wrong'}  {sighting.place}: {said}"))
    raise typer.Exit(EXIT_UNCLEAN if wrong else 0)


@app.command("replay-dead")
def replay_dead(
    config: ConfigOption = None,
    reason: Annotated[str | None, typer.Option(help="Only what was refused for a reason that contains this text.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Send refused messages to their topic and documents to OpenSearch again, once what was wrong has been mended."""
    done = operations.replay_dead(load_settings(config), dry_run=dry_run, reason=reason)
    for what, count in sorted(done.items()):
        print(f"{count:6d}  {printable(what)}")
    if not done:
        print("nothing was refused that was not looked at before")


@app.command()
def runs(
    config: ConfigOption = None,
    label: Annotated[str | None, typer.Option(help="Only runs with this label.")] = None,
    search: Annotated[str | None, typer.Option(help="Only runs whose kept lines hold these words.")] = None,
    unclean: Annotated[bool, typer.Option("--unclean", help="Leave out clean passes.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List stored runs, newest first."""
    with wiring.open_store(load_settings(config)) as store:
        found = store.runs(label=label, search=search, unclean=unclean, limit=limit)
    if as_json:
        print(json.dumps([row._asdict() for row in found], default=str, indent=1))
    elif found:
        console().print(stored_table(found))
    else:
        _note("no stored run matches")


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Run id, or a part that only one has.")],
    config: ConfigOption = None,
    full: Annotated[bool, typer.Option("--full", help="Print the whole redacted text with line numbers.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one stored run: verdict, evidence, anomalies, reduction."""
    settings = load_settings(config)
    with wiring.open_store(settings) as store:
        run_id = operations.full_id(settings, store, run_id)
        verdict = None if full else store.get(run_id)
    if verdict is None:
        _print_full(settings, run_id)
    elif as_json:
        print(verdict.model_dump_json(indent=1))
    else:
        console().print(verdict_page(verdict))


def _print_full(settings: Settings, run_id: str) -> None:
    with TextArchive(settings.archive) as archive, archive.open(run_id) as text:
        for source in text.sources():
            for first in range(1, text.line_count(source) + 1, 1000):
                for number, line in enumerate(text.read(source, first, first + 999), first):
                    print(line_text(source, number, line))


@app.command()
def junit(
    results: Annotated[Path, typer.Argument(metavar="FILE", help="JUnit XML of the harness.")],
    config: ConfigOption = None,
    out: Annotated[Path | None, typer.Option(help="Write it there instead of over FILE.")] = None,
) -> None:
    """Add the stored verdicts to the test cases of a JUnit file, found by their header test.case.name."""
    with wiring.open_store(load_settings(config)) as store:
        newest: dict[str, Verdict] = {}
        for row in store.runs(limit=LOOKED_THROUGH):
            verdict = store.get(row.run_id)
            if verdict.final and (name := verdict.headers.get("test.case.name")):
                newest.setdefault(name, verdict)
        try:
            data, told = with_verdicts(results.read_bytes(), newest.get)
            cases = data.count(b"<testcase")
            (out or results).write_bytes(data)
        except InputError as error:
            raise InputError(f"{results} {error}") from None
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read or written: {error.strerror}") from None
    print(f"{told} of {cases} test cases have a verdict")


@app.command()
def forget(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run ids, or parts that only one has.")],
    config: ConfigOption = None,
) -> None:
    """Remove runs from the archive and all sinks but JSON lines."""
    settings = load_settings(config)
    missing = 0
    with ExitStack() as stack:
        elsewhere = {"opensearch", "kafka"}.intersection(settings.sinks)
        needed = settings.store.path.exists() or "store" in settings.sinks or not elsewhere
        store = stack.enter_context(wiring.open_store(settings)) if needed else None
        for forgotten in operations.forget(settings, store, run_ids):
            missing += isinstance(forgotten, RunNotFound)
            _note(f"error: {forgotten}" if isinstance(forgotten, RunNotFound) else f"forgot {forgotten}")
    if "jsonl" in settings.sinks and settings.jsonl.path.exists():
        _note(f"{settings.jsonl.path} was left as it is: remove these runs from it when nobody writes to it")
    raise typer.Exit(EXIT_INPUT if missing else 0)


@app.command()
def prune(config: ConfigOption = None) -> None:
    """Apply the limits of age, number and size to store and archive."""
    settings = load_settings(config)
    with wiring.open_store(settings) as store:
        pruned = operations.prune(settings, store)
    _note(f"removed {pruned.runs} runs from the store and {pruned.texts} texts from the archive")


@app.command()
def reduce(
    paths: PathsArgument,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    run_by: RunByOption = None,
    max_lines: Annotated[int, typer.Option(min=1, help="At most this many lines a run.")] = MAX_LINES,
) -> None:
    """Print the lines worth reading of each run, with their numbers; keeps nothing."""
    settings = load_settings(config, **_flags(bundle=bundle, rules=rules, input__run_by=run_by))

    def print_reduction(verdict: Verdict) -> None:
        print(f"# {printable(verdict.run_id)}: {verdict.label}, {len(verdict.reduction)} of {verdict.lines} lines")
        for line in verdict.reduction:
            print(f"{line_place(line)}\t{line.why}\t{printable(line.text)}")

    intake = Intake(wiring.open_triage(settings, max_lines), on_verdict=print_reduction, on_problem=_print_problem)
    interrupted = _drive(_source(paths, settings, follow=False), intake, quiet=False)
    raise typer.Exit(EXIT_INTERRUPTED if interrupted else EXIT_INPUT if intake.tally.errors else 0)


@app.command()
def templates(
    config: ConfigOption = None,
    bundle: BundleOption = None,
    search: Annotated[str | None, typer.Option(help="Only templates that contain this text.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the templates of the bundle with their keys."""
    found = [
        (key, template)
        for key, template in wiring.open_templates(load_settings(config, **_flags(bundle=bundle))).items
        if search is None or search.lower() in template.lower()
    ]
    if as_json:
        print(json.dumps([{"key": key, "template": template} for key, template in found], indent=1, ensure_ascii=False))
    else:
        for key, template in found:
            print(f"{key}  {printable(template)}")


@app.command()
def check(
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    servers: Annotated[bool, typer.Option("--servers", help="Ask Kafka too, though no sink writes there.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Print a commented starter settings file.")] = False,
) -> None:
    """Check settings, bundle, rules, store and servers before they are needed."""
    if example:
        print(example_settings(), end="")
        return
    settings = load_settings(config, **_flags(bundle=bundle, rules=rules))
    faults = 0
    steps: dict[str, Callable[[], str]] = {
        "settings": lambda: str(config) if config else "defaults and environment",
        "bundle": lambda: _describe_bundle(settings),
        "rules": lambda: _describe_rules(settings),
        "redaction": lambda: _describe_redaction(settings),
        "store": lambda: _describe_store(settings),
    }
    if "alerts" in settings.sinks:
        steps["alerts"] = lambda: _describe_alerts(settings)
    if servers or "kafka" in settings.sinks:
        steps["kafka"] = lambda: _describe_kafka(settings)
    if "opensearch" in settings.sinks:
        steps["opensearch"] = lambda: _describe_opensearch(settings)
    for name, step in steps.items():
        try:
            print(f"ok     {name}: {printable(step())}")
        except StreamTriageError as error:
            print(f"wrong  {name}: {printable(str(error))}")
            faults += 1
    raise typer.Exit(EXIT_INPUT if faults else 0)


def _describe_bundle(settings: Settings) -> str:
    opened = wiring.open_bundle(settings)
    Triage(opened)
    card = opened.card
    deciding = ", ".join(f"{name} {share:g}" for name, share in card.classifiers.items())
    return f"{card.name} {card.version} from {opened.place}, labels {', '.join(card.labels)}, decided by {deciding}"


def _describe_rules(settings: Settings) -> str:
    bundle, found = wiring.open_bundle(settings), wiring.open_rules(settings)
    together = found.before(bundle_rules(bundle))
    together.check_labels(bundle.card.labels)
    count, of_file = len(together.rules), len(found.rules)
    told = f"{of_file} rules from {settings.rules}" if settings.rules else "no rules file"
    return f"{told}, {count - of_file} of the bundle" if count > of_file else told


def _describe_alerts(settings: Settings) -> str:
    targets = wiring.open_targets(settings.alerts)
    told = ", ".join(f"{name} ({len(of_team)})" for name, of_team in sorted(targets.items()))
    unknown = sorted({route.team for route in settings.routes} - set(targets)) if "default" not in targets else []
    if unknown:
        raise SettingsError(f"no target for team {unknown[0]!r} of the routes; name one in alerts.targets, or a default")
    return f"targets of {told}" if told else "no targets: alerts wait in the outbox"


def _describe_redaction(settings: Settings) -> str:
    Redactor.from_settings(settings.redaction)
    pseudonyms = "stable pseudonyms" if settings.redaction.pseudonym_key else "no pseudonyms"
    return f"{len(settings.redaction.patterns)} own patterns, {pseudonyms}"


def _describe_opensearch(settings: Settings) -> str:
    operations.ask_opensearch(settings)
    return f"{', '.join(settings.opensearch.hosts)} has the index templates"


def _describe_kafka(settings: Settings) -> str:
    known = operations.ask_kafka(settings)
    kafka = settings.kafka
    return f"{','.join(kafka.servers)} by {kafka.security}, {kafka.topic} has {known[kafka.topic]} partitions"


def _describe_store(settings: Settings) -> str:
    path = settings.store.path
    if not path.exists():
        place = next(parent for parent in path.absolute().parents if parent.exists())
        if not (place.is_dir() and os.access(place, os.W_OK)):
            raise StoreError(f"{path} cannot be made, since {place} cannot be written; set store.path to another file")
        return f"{path} is not there yet; `stream-triage run` makes it"
    with wiring.open_store(settings) as store:
        return f"{path}" + (", has runs" if store.runs(limit=1) else ", empty")
