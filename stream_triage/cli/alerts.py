"""`alerts`: tries the targets, sends what is due, explains what was sent."""

from __future__ import annotations

from typing import Annotated

import typer

from stream_triage.cli.exits import EXIT_INPUT, note
from stream_triage.cli.options import ConfigOption, RunArgument
from stream_triage.render.printable import printable

__all__ = ["app"]

app = typer.Typer(help="Test, send and explain alerts (docs/alerts.md).", no_args_is_help=True)


@app.command("test")
def try_targets(
    *,
    config: ConfigOption = None,
    team: Annotated[str | None, typer.Option(help="Send only to the targets of this team.")] = None,
) -> None:
    """Send a test message to every target.

    Prints for each target whether it accepted the message. Exits with 2 if one did not.
    """
    from stream_triage import wiring
    from stream_triage.alerting.rules import Message
    from stream_triage.settings import load_settings

    targets = wiring.open_targets(load_settings(config).alerts)
    if team is not None and team not in targets:
        raise typer.BadParameter(f"alerts.targets has no team {team!r}; it has {', '.join(sorted(targets)) or 'none'}")
    if not targets:
        note("error: alerts.targets is empty; set an Apprise URL for the team `default`")
        raise typer.Exit(EXIT_INPUT)
    failed = 0
    for name, of_team in sorted(targets.items()):
        for target in of_team if team in (None, name) else ():
            sent = target.send(Message("stream-triage: a test", f"Alerts for team {name} arrive here."))
            failed += not sent
            print(f"{'sent  ' if sent else 'failed'}  {printable(name)}  {target.name}")
    raise typer.Exit(EXIT_INPUT if failed else 0)


@app.command("send")
def send_alerts(*, config: ConfigOption = None) -> None:
    """Send the messages in the outbox that are due. A worker does so by itself."""
    from stream_triage import wiring
    from stream_triage.settings import load_settings

    settings = load_settings(config)
    with wiring.open_notifier(settings, wiring.open_targets(settings.alerts), note) as notifier:
        print(f"{notifier.send_due()} messages sent")


@app.command("explain")
def explain_alerts(run_id: RunArgument, *, config: ConfigOption = None) -> None:
    """Explain which alerts a stored run causes.

    Prints for each rule that is switched on whether it fires for the run and why, and whether the message was sent.
    """
    from stream_triage import wiring
    from stream_triage.operations import explain_alerts as explain
    from stream_triage.settings import load_settings

    settings = load_settings(config)
    with wiring.open_store(settings) as store:
        verdict = store.get(store.full_id(run_id))
    for line in explain(settings, verdict):
        print(printable(line))
