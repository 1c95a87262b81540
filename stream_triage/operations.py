"""Settings in; what the commands beyond `run` do: the worker, set-up, checks, canary, prune, alerts.

`wiring.py` opens the parts of `run` and of a worker; commands that need a single server open it themselves here. `cli/`
parses options and prints what these functions return. `forgetting.py` and `replaying.py` have the commands `forget` and
`replay-dead`.
"""

import logging
import resource
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from stream_triage import __version__, wiring
from stream_triage.alerting.outbox import Outbox
from stream_triage.alerting.rules import alerts_of
from stream_triage.clients.broker import Broker
from stream_triage.clients.kafka import KafkaBroker
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clients.search import SearchServer
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import BundleError, RunNotFound, SettingsError, StoreError
from stream_triage.model import Model
from stream_triage.ports import RunText
from stream_triage.records import CANARY, Problem, UeCourse, Verdict
from stream_triage.settings import AlertRule, Settings
from stream_triage.setup.changes import Changes
from stream_triage.setup.kafka import check_topics, create_topics
from stream_triage.setup.opensearch import set_up
from stream_triage.setup.saved_objects import ndjson, saved_objects
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.opensearch import check_templates
from stream_triage.sinks.sqlite import ListedRun, RunFilter, SqliteStore
from stream_triage.stages.redact import Redactor
from stream_triage.ue_events import events_of_failed_ues, events_of_ue
from stream_triage.worker.canary import TEXT, Look, Sighting, same, send, wait_for_verdicts
from stream_triage.worker.process import StopRequested, WatchedProcess, stopping_on_signals

__all__ = [
    "Pruned",
    "ask_kafka",
    "ask_opensearch",
    "canary",
    "earlier_runs",
    "explain_alerts",
    "export_dashboards",
    "failed_ue_courses",
    "full_id",
    "prune",
    "run_worker",
    "setup_kafka",
    "setup_opensearch",
    "ue_courses",
]

log = logging.getLogger(__name__)

# Files that a worker may have open: each open run that is too large for memory has one.
OPEN_FILES = 65_536
# Runs of a test case that a report looks back on.
EARLIER_RUNS = 30


def run_worker(
    settings: Settings,
    *,
    on_verdict: Callable[[Verdict], None] | None = None,
    on_problem: Callable[[Problem], None] | None = None,
    on_trouble: Callable[[str], None] = lambda text: None,
) -> None:
    """Judges the runs of the topic until it is stopped; arguments and errors are those of `wiring.open_worker`.

    SIGTERM and Ctrl-C end the process with status 0, after `worker.process.STOP_SECONDS` at most.

    Raises:
        ServerAway: The worker has lost its group, or fetches nothing any more. A new worker can go on.
    """
    process = WatchedProcess()
    try:
        with (
            suppress(StopRequested),
            stopping_on_signals(process.stopping),
            wiring.open_worker(
                settings, on_verdict=on_verdict, on_problem=on_problem, on_trouble=on_trouble, process=process
            ) as worker,
        ):
            _allow_many_files()
            log.info("%s", _about(settings))
            # Faust belongs to the extra kafka. Where that is missing, opening the worker has raised by now.
            from stream_triage.sources.kafka import consume

            consume(settings.kafka, worker, None, process)
    except StoreError as error:
        if not process.stopping.requested:
            raise
        # A sink that is closed tries once more to write what waits.
        log.warning("%s; what was not durable is read again by the next worker", error)
        return
    log.info("stopped; runs without a durable verdict are read again by the next worker")


def _about(settings: Settings) -> str:
    kafka, listen = settings.kafka, settings.metrics.listen
    return (
        f"stream-triage {__version__} reads topic {kafka.topic} at {','.join(kafka.servers)} in group {kafka.group}, with "
        f"bundle {settings.bundle}; sinks: {', '.join(settings.sinks)}; "
        + (f"http://{listen}/ready says whether verdicts become durable" if listen else "metrics.listen is not set")
    )


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def setup_kafka(settings: Settings, partitions: int, *, dry_run: bool = False) -> list[str]:
    """Creates the topics that are missing, or with `dry_run` only finds them; returns their names."""
    with KafkaBroker(settings.kafka) as broker:
        return create_topics(settings, broker, partitions, dry_run=dry_run)


def setup_opensearch(settings: Settings, *, dry_run: bool = False, reset: Iterable[str] = ()) -> Changes:
    """Creates or updates index templates, retention, monitors and dashboards; returns what was changed.

    What people changed stays, except in the objects that `reset` names. Raises `StoreError` if OpenSearch does not respond,
    or was set up by a later version.
    """
    bundles = [
        ((bundle.card.name, bundle.card.version), templates.items) for bundle, templates in wiring.open_templates(settings)
    ]
    (first, templates), *others = bundles
    return set_up(settings.opensearch, first, templates, others=others, dry_run=dry_run, reset=reset)


def export_dashboards(settings: Settings, path: Path) -> int:
    """Writes the saved objects of Dashboards to a file, to be imported by hand; returns their number."""
    objects = saved_objects(settings.opensearch)
    try:
        path.write_bytes(ndjson(objects))
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; name another file") from None
    return len(objects)


def ask_kafka(settings: Settings) -> dict[str, int]:
    """Returns the number of partitions of each topic. Raises what would keep a worker from starting."""
    with KafkaBroker(settings.kafka) as broker:
        return check_topics(settings, broker)


def ask_opensearch(settings: Settings) -> None:
    """Raises `SettingsError` or `StoreError` if the sink could not start: no response, or no index templates."""
    with OpenSearchClient(settings.opensearch) as server:
        check_templates(server, settings.opensearch.index_prefix)


def canary(settings: Settings, patience_seconds: float) -> Iterator[tuple[Sighting, bool]]:
    """Sends a small run to the topic and waits for its verdict in every sink that a server keeps.

    Args:
        settings: Those of the workers; the verdict must be the one that they give.
        patience_seconds: How long to wait for each verdict.

    Yields:
        Where the verdict arrived or is missing, and whether it is the expected one.
    """
    prefix, topic = settings.opensearch.index_prefix, settings.kafka.verdicts_topic
    triage, clock = wiring.open_triage(settings), SystemClock()
    run_id = f"{CANARY}/{socket.gethostname()}/{clock.now():%Y-%m-%dT%H:%M:%S.%f}"
    expected = triage.run(TEXT, run_id)
    with ExitStack() as stack:
        broker = stack.enter_context(KafkaBroker(settings.kafka))
        lookups: dict[str, Look] = {}
        if "kafka" in settings.sinks:
            ends = broker.ends(topic)
            lookups[f"topic {topic}"] = lambda: _verdict_in_topic(broker, topic, ends, run_id)
        if "opensearch" in settings.sinks:
            search = stack.enter_context(OpenSearchClient(settings.opensearch))
            lookups[f"index {prefix}-verdicts-*"] = lambda: _verdict_in_index(search, prefix, run_id)
        if not lookups:
            raise SettingsError("a canary is looked for in Kafka or OpenSearch, and neither is among the sinks")
        send(broker, settings.kafka.topic, run_id)
        for sighting in wait_for_verdicts(lookups, patience_seconds, clock):
            yield sighting, sighting.verdict is not None and same(sighting.verdict, expected)


def _verdict_in_topic(broker: Broker, topic: str, ends: dict[int, int], run_id: str) -> Verdict | None:
    """Reads each partition from its offset in `ends`, and moves that offset past what was read."""
    for partition, start in ends.items():
        for record in broker.read(topic, partition, start):
            ends[partition] = record.offset + 1
            if record.key == run_id.encode() and record.value:
                return Verdict.model_validate_json(record.value)
    return None


def _verdict_in_index(search: SearchServer, prefix: str, run_id: str) -> Verdict | None:
    search.request("POST", f"{prefix}-verdicts-*/_refresh")
    response = search.request("POST", f"{prefix}-verdicts-*/_search", {"query": {"term": {"triage.run.key": run_id}}})
    hits = response.get("hits", {}).get("hits", [])
    return Verdict.model_validate_json(hits[0]["_source"]["triage"]["verdict"]) if hits else None


def full_id(settings: Settings, store: SqliteStore, run_id: str) -> str:
    """Returns the id of the one stored run that is meant by an id or a part of it.

    A file name that contains an identity is looked up by its redacted form, too. Raises `RunNotFound`.
    """
    try:
        return store.full_id(run_id)
    except RunNotFound:
        redacted = Redactor.from_settings(settings.redaction).text(run_id)
        if redacted == run_id:
            raise
        return store.full_id(redacted)


def ue_courses(
    settings: Settings, verdict: Verdict, ue: str, *, on_trouble: Callable[[str], None] = lambda text: None
) -> list[UeCourse]:
    """What happened to one UE of a stored run, source by source, read again from the archived text.

    Args:
        settings: Where the archive and the bundles are.
        verdict: Of the run. It is read by the bundle of this name, or by that of the settings if there is none.
        ue: As verdicts name it.
        on_trouble: Receives a message if another bundle than that of the verdict reads the run.

    Raises:
        RunNotFound: The archive does not have the text.
        InputError: The run has no such UE.
    """
    with TextArchive(settings.archive) as archive:
        try:
            text = archive.open(verdict.run_id)
        except RunNotFound:
            raise RunNotFound(
                f"the events of a UE are read from the text of its run, and {settings.archive.folder} does not have that of "
                f"{verdict.run_id!r}: it was pruned, or the run was judged without the sink archive; judge the run again "
                "with `stream-triage run --again`"
            ) from None
        with text:
            model = _model_of(settings, verdict)
            read_by, judged_by = (model.card.name, model.card.version), (verdict.bundle, verdict.bundle_version)
            if read_by != judged_by:
                on_trouble(f"the run was judged by bundle {' '.join(judged_by)}, and is read by {' '.join(read_by)}")
            return events_of_ue(model, text, verdict.sources, ue, settings.input.format)


def failed_ue_courses(settings: Settings, verdict: Verdict, text: RunText, most: int) -> list[UeCourse]:
    """What happened to the first failed UEs of a stored run, up to `most` of them, from its archived text."""
    if not verdict.ues or not verdict.ues.failed:
        return []
    return events_of_failed_ues(_model_of(settings, verdict), text, verdict, most, settings.input.format)


def earlier_runs(store: SqliteStore, verdict: Verdict) -> list[ListedRun]:
    """The newest stored runs of the same test case that were judged before this one, with a final verdict."""
    case = verdict.headers.get("test.case.name", "")
    if not case:
        return []
    found = store.lists.page(RunFilter(case=case, until=verdict.time), limit=EARLIER_RUNS)
    return [run for run in found if run.final and run.run_id != verdict.run_id]


def _model_of(settings: Settings, verdict: Verdict) -> Model:
    """The bundle that judged a run, or that of the settings if there is none of its name."""
    triage = wiring.open_triage(settings)
    if verdict.bundle not in triage.models:
        named = settings.model_copy(update={"bundle": verdict.bundle})
        with suppress(BundleError):
            triage = wiring.open_triage(named)
    name = verdict.bundle if verdict.bundle in triage.models else list(triage.models)[-1]
    return triage.models[name]


@dataclass(frozen=True)
class Pruned:
    """How much `prune` removed."""

    runs: int
    """Runs removed from the store."""
    texts: int
    """Texts removed from the archive by its own limits; those of the runs above are not counted."""


def prune(settings: Settings, store: SqliteStore, clock: Clock | None = None) -> Pruned:
    """Applies the limits of age, number and size to store, archive and outbox."""
    clock = clock or SystemClock()
    archive, age = TextArchive(settings.archive, clock), settings.store.max_age_days
    before = clock.now() - timedelta(days=age) if age is not None else None
    if "alerts" in settings.sinks and before:
        with Outbox(settings.alerts) as outbox:
            outbox.prune(before)
    removed = store.prune(before=before, keep=settings.store.max_runs)
    for run_id in removed:
        archive.forget(run_id)
    return Pruned(len(removed), len(archive.prune()))


def _why_not(rule: AlertRule, verdict: Verdict) -> str:
    if verdict.needs_review and rule not in ("review", "silence"):
        return "does not apply, because the verdict needs a review"
    if rule == "anomalous" and not verdict.passed:
        return "does not apply, because it is for runs that passed"
    return "does not fire"


def explain_alerts(settings: Settings, verdict: Verdict) -> Iterator[str]:
    """Yields a line for the team, and one for each rule that is switched on: whether it fires, why, what was sent."""
    yield f"team {verdict.team or 'none'}: " + (
        "a clean pass needs none" if verdict.clean else "by the routes" if verdict.team else "no route matches"
    )
    if verdict.needs_review and "review" not in settings.alerts.rules:
        yield (
            "the verdict needs a review, which causes no message; add `review` to alerts.rules to get one, and a route with "
            "needs_review = true for the team that triages"
        )
    with Outbox(settings.alerts) as outbox:
        kept = {alert.rule: alert for alert in outbox.explain(verdict.run_id)}
        firing = {alert.rule: alert.reason for alert in alerts_of(verdict, outbox.history(verdict), settings.alerts.rules)}
    for rule in settings.alerts.rules:
        if alert := kept.get(rule):
            others = f", {alert.runs} similar runs" if alert.runs > 1 else ""
            sent = (
                f"sent {alert.sent:%Y-%m-%d %H:%M} UTC"
                if alert.sent
                else f"not sent yet, due {alert.not_before:%Y-%m-%d %H:%M} UTC"
            )
            yield f"{rule}: {alert.reason}{others}; {sent}"
        elif rule in firing:
            yield f"{rule}: {firing[rule]}; not in the outbox: `alerts` was not among the sinks when the run was judged"
        else:
            yield f"{rule}: {_why_not(rule, verdict)}"
