"""Settings in; what the commands beyond `run` do: the worker, set-up, checks, canary, replay, forget, prune, alerts.

`wiring.py` opens the parts of `run` and of a worker; commands that need a single server open it themselves here. `cli/`
parses options and prints what these functions return.
"""

import logging
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from stream_triage import __version__, wiring
from stream_triage.alerting.outbox import Outbox
from stream_triage.alerting.rules import alerts_of
from stream_triage.clients.broker import Broker, Outgoing
from stream_triage.clients.kafka import KafkaBroker
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clients.search import Document, SearchServer
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import RunNotFound, SettingsError, StoreError
from stream_triage.ports import Forgets
from stream_triage.records import CANARY, Problem, Verdict
from stream_triage.settings import AlertRule, Settings
from stream_triage.setup.changes import Changes
from stream_triage.setup.kafka import check_topics, create_topics
from stream_triage.setup.opensearch import set_up
from stream_triage.setup.saved_objects import ndjson, saved_objects
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.dead_letters import as_letter
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.opensearch import OpenSearchSink, check_templates
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.stages.redact import Redactor
from stream_triage.worker.canary import TEXT, Look, Sighting, same, send, wait_for_verdicts
from stream_triage.worker.process import StopRequested, WatchedProcess, stopping_on_signals

__all__ = [
    "Pruned",
    "ask_kafka",
    "ask_opensearch",
    "canary",
    "explain_alerts",
    "export_dashboards",
    "forget",
    "full_id",
    "prune",
    "replay_dead",
    "run_worker",
    "setup_kafka",
    "setup_opensearch",
]

log = logging.getLogger(__name__)

# Files that a worker may have open: each open run that is too large for memory has one.
OPEN_FILES = 65_536


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
    log.info("stopped; what was judged is durable, and open runs are read again by the next worker")


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
    card = wiring.open_bundle(settings).card
    templates = wiring.open_templates(settings).items
    return set_up(settings.opensearch, (card.name, card.version), templates, dry_run=dry_run, reset=reset)


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


def replay_dead(settings: Settings, *, dry_run: bool = False, reason: str | None = None) -> Counter[str]:
    """Sends dead letters again: messages to their topic, documents to OpenSearch if it is among the sinks.

    The consumer group `<group>-replay-dead` stores the position, so each letter is read once. Runs that could not be
    judged, messages that are too large for the topic, and documents that are rejected again stay where they are.

    Args:
        settings: Topics, and the cluster.
        dry_run: Only count; send nothing and leave the position where it is. What would be rejected counts as sent.
        reason: Only letters whose reason contains this text.

    Returns:
        The number of letters, by `sent: REASON` and `left: REASON`.
    """
    kafka, counts = settings.kafka, Counter[str]()
    with ExitStack() as stack:
        broker = stack.enter_context(KafkaBroker(kafka))
        search = stack.enter_context(OpenSearchClient(settings.opensearch)) if "opensearch" in settings.sinks else None
        for partition in range(broker.partitions([kafka.dead_topic]).get(kafka.dead_topic, 0)):
            counts += _replay_partition(settings, broker, search, partition, reason=reason or "", dry_run=dry_run)
    return counts


def _replay_partition(
    settings: Settings, broker: Broker, search: SearchServer | None, partition: int, *, reason: str, dry_run: bool
) -> Counter[str]:
    kafka, counts = settings.kafka, Counter[str]()
    group = f"{kafka.group}-replay-dead"
    start = broker.committed(group, kafka.dead_topic, partition)
    messages: list[tuple[Outgoing, str]] = []
    documents: list[tuple[Document, str]] = []
    last = start - 1
    for record in broker.read(kafka.dead_topic, partition, start):
        letter, last = as_letter(record), record.offset
        if reason not in letter.reason or letter.value is None:
            counts[f"left: {letter.reason}"] += 1
        elif letter.kind == "message":
            messages.append((Outgoing(kafka.topic, letter.key, letter.value, letter.headers), letter.reason))
        elif search and letter.kind == "document" and (document := Document.from_origin(letter.origin, letter.value)):
            documents.append((document, letter.reason))
        else:
            counts[f"left: {letter.reason}"] += 1
    if dry_run:
        return counts + Counter(f"sent: {why}" for _, why in [*messages, *documents])
    if search:
        counts += _replay_documents(search, documents)
    counts += _replay_messages(broker, messages)
    if last >= start:
        broker.commit(group, kafka.dead_topic, partition, last + 1)
    return counts


def _replay_messages(broker: Broker, messages: list[tuple[Outgoing, str]]) -> Counter[str]:
    too_large = set(broker.send([message for message, _ in messages]))
    return Counter(
        f"left: too large for the topic {message.topic}" if message in too_large else f"sent: {why}"
        for message, why in messages
    )


def _replay_documents(search: SearchServer, documents: list[tuple[Document, str]]) -> Counter[str]:
    responses = search.bulk([document for document, _ in documents])
    if any(response.busy for response in responses):
        raise StoreError("OpenSearch is too busy to take documents; repeat, what was written already is skipped")
    return Counter(
        f"sent: {why}" if response.written else f"left: {response.reason}"
        for (_, why), response in zip(documents, responses, strict=True)
    )


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


def forget(settings: Settings, store: SqliteStore | None, run_ids: Iterable[str]) -> Iterator[str | RunNotFound]:
    """Removes runs from the sinks, the archive and the store, one after the other.

    Nothing of a run is removed while another program holds the outbox or the store locked. The store comes last: as long
    as it has the run, a part of the id is enough to repeat a `forget` that failed elsewhere. Where the store does not have
    a run, its full id removes it from the others. JSON lines are not changed: another process may append to them.

    Args:
        settings: The sinks, and where they are.
        store: The open store, if there is one.
        run_ids: Ids, or parts that only one run in the store has.

    Yields:
        For each of `run_ids` the full id of the removed run, or an error if no such run exists.

    Raises:
        StoreError: A run could not be removed everywhere; it names where the run still is. Repeating removes it there.
    """
    with ExitStack() as stack:
        outbox = stack.enter_context(Outbox(settings.alerts)) if "alerts" in settings.sinks else None
        keepers: dict[str, Forgets] = {}
        if "opensearch" in settings.sinks:
            server = stack.enter_context(OpenSearchClient(settings.opensearch))
            keepers["OpenSearch"] = stack.enter_context(OpenSearchSink(server, settings.opensearch))
        if "kafka" in settings.sinks:
            topic = settings.kafka.verdicts_topic
            keepers[f"the topic {topic}"] = VerdictTopic(stack.enter_context(KafkaBroker(settings.kafka)), topic)
        if outbox:
            keepers["the outbox"] = outbox
        keepers["the archive"] = TextArchive(settings.archive)
        if store:
            keepers["the store"] = store
        for asked in run_ids:
            run_id, unknown = asked, RunNotFound(f"no run {asked!r} is stored")
            if store:
                try:
                    run_id = full_id(settings, store, asked)
                except RunNotFound as error:
                    unknown = error
            for file in (outbox, store):
                if file:
                    _check_writable(file, run_id)
            yield run_id if _forget_everywhere(keepers, run_id) else unknown


def _check_writable(file: Outbox | SqliteStore, run_id: str) -> None:
    try:
        file.check_writable()
    except StoreError as error:
        raise StoreError(f"nothing of run {run_id!r} was removed: {error}") from error


def _forget_everywhere(keepers: Mapping[str, Forgets], run_id: str) -> bool:
    """Removes a run from each of these in order; returns whether one of them had it."""
    known, left = False, list(keepers)
    for name, keeper in keepers.items():
        try:
            known |= keeper.forget(run_id)
        except StoreError as error:
            raise StoreError(
                f"run {run_id!r} is still in {', '.join(left)}; repeat `stream-triage forget` to finish. The reason: {error}"
            ) from error
        left.remove(name)
    return known


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
