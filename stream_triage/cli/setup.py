"""`setup`: creates the topics, index templates, monitors and dashboards that servers need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream_triage.cli.exits import EXIT_INPUT, note
from stream_triage.cli.options import ConfigOption, DryRunOption
from stream_triage.render.printable import printable

__all__ = ["app"]

app = typer.Typer(help="Create what Kafka and OpenSearch need. Can be repeated.", no_args_is_help=True)


@app.command("kafka")
def setup_kafka(
    *,
    config: ConfigOption = None,
    partitions: Annotated[
        int, typer.Option(min=1, help="Partitions of a new topic, which is how many workers can share it.")
    ] = 12,
    dry_run: DryRunOption = False,
) -> None:
    """Create the Kafka topics that are missing."""
    from stream_triage.operations import setup_kafka as set_up
    from stream_triage.settings import load_settings

    created = set_up(load_settings(config), partitions, dry_run=dry_run)
    for name in created:
        print(f"{'would create' if dry_run else 'created'} topic {name}")
    if not created:
        print("all topics exist")


@app.command("opensearch")
def setup_opensearch(
    *,
    config: ConfigOption = None,
    dry_run: DryRunOption = False,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Replace what people changed in this policy, monitor, panel or dashboard; repeatable. `all`: everywhere.",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Only write the dashboards to FILE (.ndjson), to be imported in Dashboards."),
    ] = None,
) -> None:
    """Create or update what OpenSearch needs.

    These are index templates, retention policies, monitors and dashboards. The templates of the bundle are written to an
    index of their own. What people changed in policies, monitors and dashboards stays, and is listed as `kept`. A part that
    cannot be set up is reported, and the others are set up without it.
    """
    from stream_triage.operations import export_dashboards
    from stream_triage.operations import setup_opensearch as set_up
    from stream_triage.settings import load_settings

    settings = load_settings(config)
    if export is not None:
        print(f"wrote {export_dashboards(settings, export)} objects to {export}")
        return
    changes = set_up(settings, dry_run=dry_run, reset=reset or ())
    for change in changes.done:
        print(printable(f"{'would ' if dry_run else ''}{change}"))
        for detail in changes.details.get(change, ()):
            print(printable(f"    {detail}"))
    for kept in changes.kept:
        print(printable(f"kept: {kept}"))
    for reason in changes.skipped:
        note(f"skipped: {reason}")
    for reason in changes.failed:
        note(f"error: {reason}")
    if not changes.done and not changes.failed:
        print("everything is up to date")
    raise typer.Exit(EXIT_INPUT if changes.failed else 0)
