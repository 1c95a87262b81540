"""Commands of a farm with Kafka: `worker`, `canary`, `replay-dead`."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Annotated

import typer

from stream_triage import __version__
from stream_triage.cli.exits import EXIT_AGAIN, EXIT_INTERNAL, EXIT_UNCLEAN, note, status_of
from stream_triage.cli.options import BundleOption, ConfigOption, DialectOption, DryRunOption, RulesOption, as_settings
from stream_triage.errors import StreamTriageError, internal_error_text
from stream_triage.render.printable import printable

if TYPE_CHECKING:
    from stream_triage.records import Problem, Verdict
    from stream_triage.worker.canary import Sighting

__all__ = ["canary", "replay_dead", "worker"]


def worker(
    *,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    dialect: DialectOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the verdicts.")] = False,
) -> None:
    """Judge the runs of a Kafka topic until stopped.

    Verdicts go to the sinks of the settings. Several workers of one consumer group share the topic. A worker waits for
    servers that are away. It exits with 0 after SIGTERM or Ctrl-C, with 2 if a setting, a right, a topic or an index
    template is wrong or missing, and with 75 if it only has to be started again.
    """
    from stream_triage.operations import run_worker
    from stream_triage.render.terminal import console, verdict_line
    from stream_triage.settings import load_settings
    from stream_triage.stages.redact import Redactor
    from stream_triage.worker.logs import internal_error, logging_to

    settings = load_settings(config, **as_settings(bundle=bundle, rules=rules, dialects=dialect))
    logging_to(settings.log.format, __version__, Redactor.from_settings(settings.redaction).text)
    log = logging.getLogger(__name__)

    def print_verdict(verdict: Verdict) -> None:
        console().print(verdict_line(verdict), soft_wrap=True)

    def log_problem(problem: Problem) -> None:
        log.log(logging.WARNING if problem.error else logging.INFO, "%s: %s", problem.path, problem.reason)

    try:
        run_worker(settings, on_verdict=None if quiet else print_verdict, on_problem=log_problem, on_trouble=log.warning)
    except StreamTriageError as error:
        status = status_of(error)
        log.error("%s%s", error, "; start the worker again" if status == EXIT_AGAIN else "")
    except BrokenPipeError:  # whoever read the verdicts has gone
        raise
    except Exception as error:
        status = EXIT_AGAIN if isinstance(error, OSError) and error.errno == errno.ENOSPC else EXIT_INTERNAL
        internal_error(log, internal_error_text(error), error)
    else:
        return
    raise typer.Exit(status)


def canary(
    *,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    rules: RulesOption = None,
    dialect: DialectOption = None,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds to wait for the verdict.")] = 60.0,
) -> None:
    """Send a small run to the worker and check its verdict.

    The run goes through the topic, a worker and its sinks. Its verdict is looked for in Kafka and OpenSearch, as far as
    they are among the sinks, and compared with the verdict of this installation. Exits with 1 if it is missing or different.
    """
    from stream_triage.operations import canary as send_canary
    from stream_triage.settings import load_settings

    settings = load_settings(config, **as_settings(bundle=bundle, rules=rules, dialects=dialect))
    wrong = 0
    for sighting, right in send_canary(settings, seconds):
        wrong += not right
        print(printable(f"{'alive' if right else 'wrong'}  {sighting.location}: {_outcome(sighting, right)}"))
    raise typer.Exit(EXIT_UNCLEAN if wrong else 0)


def _outcome(sighting: Sighting, right: bool) -> str:
    if sighting.verdict is None:
        return f"no verdict after {sighting.seconds:.0f} s; is a worker running? Its address /ready says more"
    if right:
        return f"the expected verdict after {sighting.seconds:.1f} s"
    return "not the expected verdict; check that the workers use the same bundle, rules and dialects as these settings"


def replay_dead(
    *,
    config: ConfigOption = None,
    reason: Annotated[
        str | None, typer.Option(help="Send only what was rejected for a reason that contains this text.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Send rejected messages and documents again.

    Use it when the cause of the rejection has been removed. Messages go to their topic, documents to OpenSearch if it is
    among the sinks. Every dead letter is handled once. Lines that came after the end of their run are sent only if --reason
    asks for them.
    """
    from stream_triage.replaying import LATE
    from stream_triage.replaying import replay_dead as replay
    from stream_triage.settings import load_settings
    from stream_triage.worker.messages import RUN_ENDED

    done = replay(load_settings(config), dry_run=dry_run, reason=reason)
    for outcome, count in sorted(done.items()):
        print(f"{count:6d}  {printable(outcome)}")
    if not done:
        print("there are no new dead letters")
    if done[LATE]:
        note(
            "lines that came after the end of their run were not sent: the run has its verdict, and they would be too late "
            "again. If they are a run of their own by now, as after a change of kafka.start_pattern, name the reason: "
            f"stream-triage replay-dead --reason '{RUN_ENDED}'"
        )
