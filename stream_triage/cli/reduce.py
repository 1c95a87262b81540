"""`reduce`: the lines worth reading of any log, on stdout; nothing is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stream_triage.cli.exits import EXIT_INPUT, EXIT_INTERRUPTED
from stream_triage.cli.options import (
    BundleOption,
    ConfigOption,
    DialectOption,
    RulesOption,
    RunByOption,
    as_settings,
)
from stream_triage.cli.reading import open_source, print_problem, read_source

if TYPE_CHECKING:
    from stream_triage.pipeline import Triage
    from stream_triage.render.reduced import ReducedText
    from stream_triage.settings import Settings
    from stream_triage.stages.reduce import Budget, GoodRuns

__all__ = ["reduce"]


def reduce(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders, glob patterns and archives; or - for stdin, which is the default.", metavar="[PATH...]"
        ),
    ] = None,
    *,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    dialect: DialectOption = None,
    run_by: RunByOption = None,
    keep: Annotated[
        str | None, typer.Option(help="Print at most this share of the lines of each run, such as 5%.", metavar="SHARE|auto")
    ] = None,
    lines: Annotated[
        int | None, typer.Option("--lines", "--max-lines", min=1, help="Print at most this many lines of each run.")
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Print at most about this many tokens of each run, at three characters a token."),
    ] = None,
    rank: Annotated[bool, typer.Option("--rank", help="Print the most important lines first.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say for each line why it is there.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown for tickets and language models, with the log text fenced.")
    ] = False,
    good: Annotated[
        list[str] | None,
        typer.Option(
            help="A run of the same job that passed: print first what it does not have. May be given again.", metavar="FILE"
        ),
    ] = None,
    good_case: Annotated[
        str | None,
        typer.Option(help="The same, with the last stored run of this test.case.name that passed.", metavar="NAME"),
    ] = None,
) -> None:
    """Print the lines of each run that are worth reading.

    Works for any log. If the bundle knows the lines, the evidence for its label, anomalies and matches of rules come first.
    Lines are printed in the order of the log, each with its number and why it is there; a line that begins with … counts
    those left out. Without a limit, at most a tenth of the lines and 200 are printed, but all evidence. Nothing is stored.
    """
    from stream_triage.intake import Intake
    from stream_triage.reducing import Reducing
    from stream_triage.render.reduced import markdown, plain
    from stream_triage.settings import load_settings

    settings = load_settings(config, **as_settings(bundle=bundle, rules=rules, dialects=dialect, input__run_by=run_by))
    budget = _budget(keep, lines, tokens)
    form = markdown if as_markdown else plain

    def print_reduced(text: ReducedText) -> None:
        print("\n".join(form(text)))

    reference = _good_runs(settings, good or [], good_case)
    triage = _triage(settings, named=bundle is not None)
    sink = Reducing(triage, budget, print_reduced, good=reference, rank=rank, explain=explain)
    intake = Intake(triage, [sink], on_problem=print_problem)
    interrupted = read_source(open_source(paths or ["-"], settings), intake, quiet=False)
    raise typer.Exit(EXIT_INTERRUPTED if interrupted else EXIT_INPUT if intake.tally.errors else 0)


def _budget(keep: str | None, lines: int | None, tokens: int | None) -> Budget:
    from stream_triage.stages.reduce import Budget

    return Budget(lines=lines, share=_share(keep), tokens=tokens)


def _share(keep: str | None) -> float | None:
    """The share of `--keep`, such as 0.05 of `5%`; None for `auto`."""
    if keep is None or keep == "auto":
        return None
    try:
        share = float(keep.removesuffix("%")) / 100 if keep.endswith("%") else 0.0
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise typer.BadParameter(f"--keep takes a share above 0% and up to 100%, such as 5%, or auto; it was {keep!r}")
    return share


def _triage(settings: Settings, *, named: bool) -> Triage:
    """Judges runs by the bundle that was named on the command line, else by the configured one where that knows the run."""
    from stream_triage import wiring

    return wiring.open_triage(settings, else_general=not named)


def _good_runs(settings: Settings, paths: list[str], case: str | None) -> GoodRuns | None:
    """Reads runs that passed, from files and from the store; None if neither was named."""
    from stream_triage.intake import Intake
    from stream_triage.reducing import Collecting, last_passing_run

    if not paths and case is None:
        return None
    triage = _triage(settings, named=False)
    sink = Collecting(triage)
    if paths:
        intake = Intake(triage, [sink], on_problem=print_problem)
        read_source(open_source(paths, settings), intake, quiet=True)
        if intake.tally.errors or not sink.good.runs:
            raise typer.BadParameter(f"--good: {', '.join(paths)} cannot be read; name a log of a run that passed")
    if case is not None:
        from stream_triage import wiring
        from stream_triage.sinks.archive import TextArchive

        with wiring.open_store(settings) as store, TextArchive(settings.archive) as archive:
            verdict = last_passing_run(store, case)
            if verdict is None:
                raise typer.BadParameter(
                    f"--good-case: no stored run with the header test.case.name={case} passed; `stream-triage run "
                    "-H test.case.name=NAME` stores runs with it"
                )
            with archive.open(verdict.run_id) as text:
                sink.write(verdict, text)
    return sink.good
