"""`reduce`: the lines worth reading of any log, on stdout; nothing is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
    from collections.abc import Callable

    from stream_triage.intake import Intake
    from stream_triage.pipeline import Triage
    from stream_triage.records import Event
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
    from stream_triage.render.reduced import markdown, plain
    from stream_triage.settings import load_settings

    settings = load_settings(config, **as_settings(bundle=bundle, rules=rules, dialects=dialect, input__run_by=run_by))
    budget = _budget(keep, lines, tokens)
    form = markdown if as_markdown else plain

    def print_reduced(text: ReducedText) -> None:
        print("\n".join(form(text)))

    reference = _good_runs(settings, good or [], good_case)
    judging = _Judging(settings, bundle is not None, budget, print_reduced, good=reference, rank=rank, explain=explain)
    interrupted = read_source(open_source(paths or ["-"], settings), judging, quiet=False)  # type: ignore[arg-type]
    raise typer.Exit(EXIT_INTERRUPTED if interrupted else EXIT_INPUT if judging.errors else 0)


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


class _Judging:
    """An intake for runs that the configured bundle knows, and one for all others.

    A run is judged by the configured bundle if that was named on the command line, or knows the lines that the run begins
    with.
    """

    def __init__(
        self, settings: Settings, named: bool, budget: Budget, on_reduced: Callable[[ReducedText], None], **how: Any
    ) -> None:
        from stream_triage import wiring
        from stream_triage.intake import Intake
        from stream_triage.reducing import Reducing

        configured = wiring.open_triage(settings)
        self._triages = [configured] if named else [_general(settings), configured]
        self._intakes = [
            Intake(triage, [Reducing(triage, budget, on_reduced, **how)], on_problem=print_problem)
            for triage in self._triages
        ]
        self._intake_of: dict[str, Intake] = {}

    @property
    def errors(self) -> int:
        """Problems with the input that were errors."""
        return sum(intake.tally.errors for intake in self._intakes)

    @property
    def tally(self) -> Any:
        """Of the intake with the most runs, for the progress bar."""
        return max((intake.tally for intake in self._intakes), key=lambda tally: tally.runs)

    def handle(self, event: Event) -> None:
        """Passes an event to the intake of its run."""
        from stream_triage.records import Chunk

        run_id = getattr(event, "run_id", None)
        if isinstance(event, Chunk) and run_id not in self._intake_of:
            self._intake_of[event.run_id] = self._choose(event.data)
        self._intake_of.get(run_id or "", self._intakes[0]).handle(event)

    def _choose(self, data: bytes) -> Intake:
        from stream_triage.reducing import knows

        return self._intakes[-1] if len(self._intakes) == 1 or knows(self._triages[-1], data) else self._intakes[0]

    def discard_open(self) -> list[str]:
        """Discards the open runs of both intakes."""
        return [run_id for intake in self._intakes for run_id in intake.discard_open()]

    def flush(self) -> bool:
        """Flushes both intakes."""
        flushed = [intake.flush() for intake in self._intakes]
        return all(flushed)


def _general(settings: Settings) -> Triage:
    """The general bundle, without rules, which name labels that it does not have.

    Its verdicts mark no lines, so they need no reduction beside that of the sink.
    """
    from stream_triage import wiring
    from stream_triage.model import GENERAL_BUNDLE

    return wiring.open_triage(settings.model_copy(update={"bundle": GENERAL_BUNDLE, "rules": None}), 0)


def _good_runs(settings: Settings, paths: list[str], case: str | None) -> GoodRuns | None:
    """Reads runs that passed, from files and from the store; None if neither was named."""
    from stream_triage.intake import Intake
    from stream_triage.reducing import Collecting, last_passing_run

    if not paths and case is None:
        return None
    triage = _general(settings)
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
