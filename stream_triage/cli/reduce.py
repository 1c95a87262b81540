"""`reduce` and `templates`: what the bundle makes of lines; nothing is stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from stream_triage.cli.exits import EXIT_INPUT, EXIT_INTERRUPTED
from stream_triage.cli.options import (
    BundleOption,
    ConfigOption,
    DialectOption,
    JsonOption,
    RulesOption,
    RunByOption,
    as_settings,
)
from stream_triage.cli.reading import open_source, print_problem, read_source
from stream_triage.render.printable import printable, without_colours

if TYPE_CHECKING:
    from stream_triage.records import Verdict

__all__ = ["reduce", "templates"]

# The default of the stage, repeated here because help shows it and must not load the stages; a test compares the two.
MAX_LINES = 200


def reduce(
    paths: Annotated[
        list[str], typer.Argument(help="Files, folders, glob patterns and archives; or - for stdin.", metavar="PATH...")
    ],
    *,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    dialect: DialectOption = None,
    run_by: RunByOption = None,
    max_lines: Annotated[int, typer.Option(min=1, help="Print at most this many lines of each run.")] = MAX_LINES,
) -> None:
    """Print the lines of each run that are worth reading.

    These are the evidence for the label, the anomalies, matches of rules, rare lines and their context. Each line is
    printed with its line number and the reason why it is there. Nothing is stored.
    """
    from stream_triage import wiring
    from stream_triage.intake import Intake
    from stream_triage.render.terminal import line_location
    from stream_triage.settings import load_settings

    settings = load_settings(config, **as_settings(bundle=bundle, rules=rules, dialects=dialect, input__run_by=run_by))

    def print_reduction(verdict: Verdict) -> None:
        print(f"# {printable(verdict.run_id)}: {verdict.label}, {len(verdict.reduction)} of {verdict.lines} lines")
        for line in verdict.reduction:
            print(f"{line_location(line)}\t{line.why}\t{without_colours(line.text)}")

    intake = Intake(wiring.open_triage(settings, max_lines), on_verdict=print_reduction, on_problem=print_problem)
    interrupted = read_source(open_source(paths, settings), intake, quiet=False)
    raise typer.Exit(EXIT_INTERRUPTED if interrupted else EXIT_INPUT if intake.tally.errors else 0)


def templates(
    *,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    search: Annotated[
        str | None, typer.Option(help="List only templates that contain this text, in upper or lower case.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the templates of the bundle with their keys."""
    from stream_triage import wiring
    from stream_triage.settings import load_settings

    matching = [
        (key, template)
        for key, template in wiring.open_templates(load_settings(config, **as_settings(bundle=bundle))).items
        if search is None or search.lower() in template.lower()
    ]
    if as_json:
        print(json.dumps([{"key": key, "template": template} for key, template in matching], indent=1, ensure_ascii=False))
    else:
        for key, template in matching:
            print(f"{key}  {printable(template)}")
