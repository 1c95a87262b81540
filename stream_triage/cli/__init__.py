"""The commands: each reads its options, calls the parts that do the work and prints what they return.

Results go to stdout; progress, notes and errors go to stderr. The exit codes are those of `exits.py`. Modules of this
package import the parts of the product inside the commands, so that `--version` and `--help` do not load them.
"""

from __future__ import annotations

from typing import Annotated

import typer

from stream_triage import __version__
from stream_triage.cli import alerts, check, dialect, exits, reduce, run, setup, stored, templates, ui, worker

__all__ = ["app", "main"]

app = typer.Typer(
    help="Read the logs of test runs and say for each run whether it passed or which layer failed, and which lines show it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version of stream-triage and exit.")] = False,
) -> None:
    if version:
        print(f"stream-triage {__version__}")
        raise typer.Exit


# Help lists the commands in this order, then the groups.
app.command("run")(run.run)
app.command("worker")(worker.worker)
app.command("canary")(worker.canary)
app.command("replay-dead")(worker.replay_dead)
app.command("runs")(stored.runs)
app.command("show")(stored.show)
app.command("ui")(ui.ui)
app.command("junit")(stored.junit)
app.command("forget")(stored.forget)
app.command("prune")(stored.prune)
app.command("reduce")(reduce.reduce)
app.command("templates")(templates.templates)
app.command("dialect")(dialect.dialect)
app.command("check")(check.check)
app.add_typer(alerts.app, name="alerts")
app.add_typer(setup.app, name="setup")


def main() -> None:
    """Runs the command line in `sys.argv`; ends with `SystemExit`."""
    exits.run(lambda: app(prog_name="stream-triage"))
