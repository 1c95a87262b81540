"""Settings in; source, pipeline and sinks out. The one place that knows them all."""

import os
import resource
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from stream_triage import __version__
from stream_triage.alerting.notify import Notifier, Target, open_targets
from stream_triage.alerting.outbox import Outbox
from stream_triage.alerting.rules import alerts_of, team_of
from stream_triage.bundle import Bundle, find_bundle
from stream_triage.clients.kafka import MAX_MESSAGE_BYTES, Broker, Outgoing, Topic
from stream_triage.clients.opensearch import Document, SearchServer
from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import RunNotFound, SettingsError, StoreError
from stream_triage.pipeline import Triage
from stream_triage.ports import DeadLetters, Forgets, Sink, Source, Spool
from stream_triage.provisional.callback import calling
from stream_triage.provisional.live import Live
from stream_triage.provisional.publish import provisional_to
from stream_triage.records import CANARY, DeadLetter, Problem, Verdict
from stream_triage.settings import Settings
from stream_triage.setup.changes import Changes
from stream_triage.setup.dashboards import ndjson, saved_objects
from stream_triage.setup.opensearch import set_up
from stream_triage.sinks.archive import Archive
from stream_triage.sinks.dead_letters import DeadLetterTopic, as_letter
from stream_triage.sinks.jsonl import JsonlSink
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.opensearch import OpenSearchSink, check_templates
from stream_triage.sinks.run_log import RunLogTopic
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.sources.opensearch import OpenSearchSource
from stream_triage.spool import SpillSpool
from stream_triage.stages.normalise import MASKING_VERSION
from stream_triage.stages.redact import Redactor
from stream_triage.stages.reduce import MAX_LINES
from stream_triage.stages.rules import Rules
from stream_triage.stages.template import Templates
from stream_triage.worker.canary import TEXT, Look, Sighting, looked_for, same, send
from stream_triage.worker.engine import Engine
from stream_triage.worker.metrics import MeteredLetters, MeteredWorker, Metrics, serving
from stream_triage.worker.reports import WorkerReports
from stream_triage.worker.runs import RunRules

__all__ = [
    "ask_kafka",
    "ask_opensearch",
    "canary",
    "explain_alerts",
    "export_dashboards",
    "forget",
    "full_id",
    "notifying",
    "open_bundle",
    "open_index",
    "open_notifier",
    "open_rules",
    "open_sinks",
    "open_store",
    "open_targets",
    "open_templates",
    "open_triage",
    "owner",
    "prune",
    "replay_dead",
    "run_worker",
    "setup_kafka",
    "setup_opensearch",
    "watching",
]

# Compressed text of an open run that stays in memory; a worker has thousands of them.
SPOOL_BYTES = 1 << 20
# How long refused messages are kept, two weeks: time to mend what sends them.
DEAD_HOURS = 336
# A provisional verdict is old when the next one comes.
PROVISIONAL_HOURS = 6


def open_bundle(settings: Settings) -> Bundle:
    return Bundle.open(find_bundle(settings.bundle, settings.bundle_folders))


def open_templates(settings: Settings) -> Templates:
    """Those of the bundle, without its networks."""
    return Templates.from_json(open_bundle(settings).text("templates.json"), MASKING_VERSION)


def open_rules(settings: Settings) -> Rules:
    return Rules.read(settings.rules) if settings.rules else Rules()


def open_triage(
    settings: Settings, reduction_lines: int = MAX_LINES, open_spool: Callable[[str], Spool] = SpillSpool
) -> Triage:
    """Everything that is needed to judge runs. Raises `BundleError` or `SettingsError`."""
    return Triage(
        open_bundle(settings),
        reduction_lines=reduction_lines,
        redactor=Redactor.from_settings(settings.redaction),
        rules=open_rules(settings),
        line_bytes=settings.input.line_bytes,
        open_spool=open_spool,
    )


def open_store(settings: Settings, *, create: bool = False) -> SqliteStore:
    return SqliteStore(settings.store.path, create=create)


@contextmanager
def open_sinks(
    settings: Settings,
    names: Collection[str],
    *,
    store: SqliteStore | None = None,
    jsonl: TextIO | None = None,
    broker: Broker | None = None,
    refuse: Callable[[DeadLetter], None] | None = None,
    on_trouble: Callable[[str], None] | None = None,
) -> Iterator[list[Sink]]:
    """The named sinks, closed afterwards. The archive comes first: a stored run can then be shown whole.

    `store` and `broker` are those to use, if they are open already; `jsonl` is one sink more; `refuse` gets the documents
    that a server will not take, and with it sinks leave it to their caller to try again. `on_trouble` is told what keeps
    alerts from being kept.
    """
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if "archive" in names:
            sinks.append(stack.enter_context(Archive(settings.archive)))
        if "store" in names:
            sinks.append(stack.enter_context(store or open_store(settings, create=True)))
        if "jsonl" in names:
            sinks.append(stack.enter_context(JsonlSink(settings.jsonl.path)))
        if "opensearch" in names:
            server = settings.opensearch.model_copy(update={"retry_seconds": 0.0} if refuse else {})
            sinks.append(stack.enter_context(OpenSearchSink(server, refuse=refuse)))
        if "kafka" in names:
            broker = broker or stack.enter_context(Broker(settings.kafka))
            sinks.append(stack.enter_context(VerdictTopic(broker, settings.kafka.verdicts_topic)))
        if "alerts" in names:
            sinks.append(stack.enter_context(Outbox(settings.alerts, on_trouble=on_trouble)))
        if jsonl is not None:
            sinks.append(stack.enter_context(JsonlSink(jsonl)))
        yield sinks


def owner(settings: Settings) -> Callable[[Verdict], str | None]:
    """Names the team of a verdict, by the routes."""
    return lambda verdict: team_of(settings.routes, verdict)


@contextmanager
def open_notifier(
    settings: Settings, targets: Mapping[str, Sequence[Target]], on_trouble: Callable[[str], None]
) -> Iterator[Notifier]:
    """Sends what lies in the outbox."""
    with Outbox(settings.alerts, on_trouble=on_trouble) as outbox:
        yield Notifier(outbox, settings.alerts, targets, on_trouble=on_trouble)


@contextmanager
def notifying(settings: Settings, on_trouble: Callable[[str], None]) -> Iterator[None]:
    """Sends alerts in a thread of its own, for as long as the block lasts."""
    targets = open_targets(settings.alerts)  # a wrong address is told at once, in this thread

    def send(stopped: threading.Event) -> None:  # SQLite wants its connection made where it is used
        try:
            with open_notifier(settings, targets, on_trouble) as notifier:
                notifier.run(stopped)
        except StoreError as error:
            on_trouble(str(error))

    with _thread("alerts", send):
        yield


@contextmanager
def watching(
    settings: Settings, broker: Broker | None, sinks: Sequence[Sink], on_trouble: Callable[[str], None]
) -> Iterator[Live | None]:
    """What tells of open runs, to the topic and to the embedded store; none where nobody asked for it."""
    told, clock = settings.provisional, SystemClock()
    if told.every_seconds is None:
        yield None
        return
    store = next((sink for sink in sinks if isinstance(sink, SqliteStore)), None)
    publish = provisional_to(broker, settings.kafka.provisional_topic, store, on_trouble)
    with ExitStack() as stack:
        stop = stack.enter_context(calling(told.callback.get_secret_value(), clock, on_trouble)) if told.callback else None
        yield Live(told.every_seconds, publish, clock, **({"stop": stop} if stop else {}))


@contextmanager
def reporting(settings: Settings, metrics: Metrics, on_trouble: Callable[[str], None]) -> Iterator[None]:
    """Writes the reports of this worker in a thread of its own, for as long as the block lasts."""
    host = socket.gethostname()
    worker = settings.kafka.instance or f"{host}-{os.getpid()}"
    about = {"host": {"name": host}, "service": {"instance": {"id": worker}, "version": metrics.about["version"]}}
    about["triage"] = {"bundle": {"name": metrics.about["bundle"], "version": metrics.about["bundle_version"]}}
    # Nothing waits long for it, least of all the worker's end.
    patient = settings.opensearch.model_copy(update={"timeout_seconds": min(5.0, settings.opensearch.timeout_seconds)})
    with _thread("fleet", WorkerReports(patient, metrics, about, on_trouble=on_trouble).run):
        yield


@contextmanager
def _thread(name: str, run: Callable[[threading.Event], None]) -> Iterator[None]:
    """Beside the block, told to stop at its end."""
    stopped = threading.Event()
    thread = threading.Thread(target=run, args=(stopped,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(timeout=10)


def run_worker(
    settings: Settings,
    *,
    on_verdict: Callable[[Verdict], None] | None = None,
    on_problem: Callable[[Problem], None] | None = None,
    on_trouble: Callable[[str], None] = lambda text: None,
) -> None:
    """Judges the runs of the topic until stopped. Raises what ends it: `InputError` when too much was refused."""
    kafka = settings.kafka
    triage = open_triage(settings, open_spool=lambda run_id: SpillSpool(run_id, memory_bytes=SPOOL_BYTES))
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(kafka))
        check_topics(settings, broker)
        rejected: deque[DeadLetter] = deque()
        sinks = stack.enter_context(
            open_sinks(settings, settings.sinks, broker=broker, refuse=rejected.append, on_trouble=on_trouble)
        )
        if "alerts" in settings.sinks:
            stack.enter_context(notifying(settings, on_trouble))
        model = next(iter(triage.models.values())).card
        metrics = Metrics({"version": __version__, "bundle": model.name, "bundle_version": model.version})
        letters: DeadLetters = MeteredLetters(DeadLetterTopic(broker, kafka.dead_topic), metrics)
        if settings.metrics.listen:
            stack.enter_context(serving(metrics, settings.metrics.listen))
        if "opensearch" in settings.sinks:
            stack.enter_context(reporting(settings, metrics, on_trouble))
        engine = Engine(
            triage,
            sinks,
            run_log=RunLogTopic(broker, kafka.runs_topic, kafka.group),
            dead_letters=letters,
            rejected=rejected,
            rules=run_rules(settings, triage.redactor),
            dead_per_hour=kafka.dead_per_hour,
            on_verdict=_each(on_verdict, metrics.count),
            on_problem=on_problem,
            owner=owner(settings),
            live=stack.enter_context(watching(settings, broker, sinks, on_trouble)),
        )
        _allow_many_files()
        # Needs the extra kafka; the broker above has said so by now where it is missing.
        from stream_triage.sources.kafka import run_worker as run

        run(kafka, MeteredWorker(engine, metrics))


def _each(*told: Callable[[Verdict], None] | None) -> Callable[[Verdict], None]:
    def tell(verdict: Verdict) -> None:
        for one in told:
            if one:
                one(verdict)

    return tell


def run_rules(settings: Settings, redactor: Redactor) -> RunRules:
    kafka = settings.kafka
    shared = {name: getattr(kafka, name) for name in RunRules.__dataclass_fields__ if hasattr(kafka, name)}
    return RunRules(**shared, max_run_seconds=kafka.max_run_hours * 3600, refuse_key=refusal(settings, redactor, "the key "))


def refusal(settings: Settings, redactor: Redactor, what: str = "") -> Callable[[str], str | None]:
    """Says why a run must not be called so: two whose names differ in nothing but an identity would become one."""
    pseudonyms = settings.redaction.pseudonym_key is not None

    def refuse(run_id: str) -> str | None:
        if pseudonyms or redactor.text(run_id) == run_id:
            return None
        return f"{what}holds an identity or a secret; set redaction.pseudonym_key, or name runs otherwise"

    return refuse


def open_index(settings: Settings, index: str, run_field: str, time: str) -> Source:
    """Runs whose lines lie in an OpenSearch index."""
    refuse = refusal(settings, Redactor.from_settings(settings.redaction))
    return OpenSearchSource(settings.opensearch, index, run_field=run_field, time=time, refuse=refuse)


def topics(settings: Settings, partitions: int) -> list[Topic]:
    """The topics of the product, as `setup kafka` makes them."""
    kafka = settings.kafka
    large = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    remembered = {"cleanup.policy": "compact,delete", "retention.ms": str(int(kafka.closed_hours * 3_600_000))}
    return [
        Topic(kafka.topic, partitions, large),
        Topic(kafka.runs_topic, partitions, {**large, **remembered}),
        Topic(kafka.verdicts_topic, partitions, {**large, "cleanup.policy": "compact"}),
        Topic(kafka.provisional_topic, partitions, {**large, "retention.ms": str(PROVISIONAL_HOURS * 3_600_000)}),
        Topic(kafka.dead_topic, 1, {**large, "retention.ms": str(DEAD_HOURS * 3_600_000)}),
    ]


def setup_kafka(settings: Settings, partitions: int, *, dry_run: bool = False) -> list[str]:
    """Makes the topics that are missing and gives their names."""
    wanted = topics(settings, partitions)
    with Broker(settings.kafka) as broker:
        known = broker.partitions([topic.name for topic in wanted])
        missing = [topic for topic in wanted if topic.name not in known]
        if known.get(settings.kafka.topic):  # partition n of one tells of partition n of the other
            missing = [
                topic._replace(partitions=known[settings.kafka.topic]) if topic.name == settings.kafka.runs_topic else topic
                for topic in missing
            ]
        if missing and not dry_run:
            broker.create(missing)
    return [topic.name for topic in missing]


def setup_opensearch(settings: Settings, *, dry_run: bool = False) -> Changes:
    """Makes or changes what OpenSearch needs; says what."""
    card = open_bundle(settings).card
    return set_up(settings.opensearch, (card.name, card.version), open_templates(settings).items, dry_run=dry_run)


def export_dashboards(settings: Settings, path: Path) -> int:
    """Writes the saved objects for an import by hand; says how many."""
    objects = saved_objects(settings.opensearch)
    try:
        path.write_bytes(ndjson(objects))
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; name another file") from None
    return len(objects)


def canary(settings: Settings, patience_seconds: float) -> Iterator[tuple[Sighting, bool]]:
    """Sends a run and looks for its verdict where all can look; and whether it is the right one."""
    prefix, topic = settings.opensearch.index_prefix, settings.kafka.verdicts_topic
    triage, clock = open_triage(settings), SystemClock()
    run_id = f"{CANARY}/{socket.gethostname()}/{clock.now():%Y-%m-%dT%H:%M:%S.%f}"
    expected = triage.run(TEXT, run_id)
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(settings.kafka))
        places: dict[str, Look] = {}
        if "kafka" in settings.sinks:
            ends = broker.ends(topic)
            places[f"topic {topic}"] = lambda: _in_topic(broker, topic, ends, run_id)
        if "opensearch" in settings.sinks:
            search = stack.enter_context(SearchServer(settings.opensearch))
            places[f"index {prefix}-verdicts-*"] = lambda: _in_index(search, prefix, run_id)
        if not places:
            raise SettingsError("a canary is looked for in Kafka or OpenSearch, and neither is among the sinks")
        send(broker, settings.kafka.topic, run_id)
        for sighting in looked_for(places, patience_seconds, clock):
            yield sighting, sighting.verdict is not None and same(sighting.verdict, expected)


def _in_topic(broker: Broker, topic: str, ends: dict[int, int], run_id: str) -> Verdict | None:
    """Reads on from `ends`, and moves them."""
    for partition, start in ends.items():
        for record in broker.read(topic, partition, start):
            ends[partition] = record.offset + 1
            if record.key == run_id.encode() and record.value:
                return Verdict.model_validate_json(record.value)
    return None


def _in_index(search: SearchServer, prefix: str, run_id: str) -> Verdict | None:
    search.ask("POST", f"{prefix}-verdicts-*/_refresh")
    told = search.ask("POST", f"{prefix}-verdicts-*/_search", {"query": {"term": {"triage.run.key": run_id}}})
    hits = told.get("hits", {}).get("hits", [])
    return Verdict.model_validate_json(hits[0]["_source"]["triage"]["verdict"]) if hits else None


def ask_opensearch(settings: Settings) -> None:
    """Raises `SettingsError` or `StoreError` when the sink could not begin."""
    with SearchServer(settings.opensearch) as server:
        check_templates(server, settings.opensearch.index_prefix)


def ask_kafka(settings: Settings) -> dict[str, int]:
    """Number of partitions of each topic. Raises `SettingsError` or `StoreError` when a worker could not begin."""
    with Broker(settings.kafka) as broker:
        return check_topics(settings, broker)


def check_topics(settings: Settings, broker: Broker) -> dict[str, int]:
    """Number of partitions of each topic. Raises `SettingsError` when one is missing or they do not fit together."""
    kafka = settings.kafka
    names = [kafka.topic, kafka.runs_topic, kafka.dead_topic]
    names += [kafka.verdicts_topic] if "kafka" in settings.sinks else []
    names += [kafka.provisional_topic] if settings.provisional.every_seconds else []
    known = broker.partitions(names)
    if missing := [name for name in names if name not in known]:
        raise SettingsError(
            f"Kafka has no topic {', '.join(missing)}, or this user may not see it; `stream-triage setup kafka` makes it"
        )
    if known[kafka.runs_topic] < known[kafka.topic]:
        raise SettingsError(
            f"topic {kafka.runs_topic} has {known[kafka.runs_topic]} partitions and {kafka.topic} has {known[kafka.topic]}; "
            "it needs as many: add partitions to it"
        )
    return known


def replay_dead(settings: Settings, *, dry_run: bool = False, reason: str | None = None) -> Counter[str]:
    """Sends what was refused again, as it came: messages to their topic, documents to OpenSearch if that is a sink.

    Counts by reason what was sent or left. Only what was refused for a reason that contains `reason`, if given. The group
    `<group>-replay-dead` remembers how far it came: each letter is looked at once. Runs that could not be judged, and
    documents that are refused again, are left where they are.
    """
    kafka, done = settings.kafka, Counter[str]()
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(kafka))
        search = stack.enter_context(SearchServer(settings.opensearch)) if "opensearch" in settings.sinks else None
        for partition in range(broker.partitions([kafka.dead_topic]).get(kafka.dead_topic, 0)):
            group = f"{kafka.group}-replay-dead"
            start = broker.committed(group, kafka.dead_topic, partition)
            messages: list[Outgoing] = []
            documents: list[tuple[Document, str]] = []
            last = start - 1
            for record in broker.read(kafka.dead_topic, partition, start):
                letter, last = as_letter(record), record.offset
                if (reason or "") not in letter.reason or letter.value is None:
                    done[f"left: {letter.reason}"] += 1
                elif letter.kind == "message":
                    messages.append(Outgoing(kafka.topic, letter.key, letter.value, letter.headers))
                    done[f"sent: {letter.reason}"] += 1
                elif search and letter.kind == "document" and (document := Document.of(letter.origin, letter.value)):
                    documents.append((document, letter.reason))
                else:
                    done[f"left: {letter.reason}"] += 1
            if search and not dry_run:
                answers = search.bulk([document for document, _ in documents])
                if any(answer.busy for answer in answers):
                    raise StoreError("OpenSearch is too busy to take documents; repeat, what was written is passed over")
                for (_, why), answer in zip(documents, answers, strict=True):
                    done[f"sent: {why}" if answer.written else f"left: {answer.reason}"] += 1
            else:
                done.update(f"sent: {why}" for _, why in documents)
            if not dry_run and last >= start:
                broker.send(messages)
                broker.commit(group, kafka.dead_topic, partition, last + 1)
    return done


def _allow_many_files() -> None:
    """Runs too large for memory have a file each while they are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def full_id(settings: Settings, store: SqliteStore, asked: str) -> str:
    """The stored id that is meant, by the name of a file with an identity in it too. Raises `RunNotFound`."""
    try:
        return store.full_id(asked)
    except RunNotFound:
        shown = Redactor.from_settings(settings.redaction).text(asked)
        if shown == asked:
            raise
        return store.full_id(shown)


def forget(settings: Settings, store: SqliteStore | None, asked: Iterable[str]) -> Iterator[str | RunNotFound]:
    """Removes runs from the archive and the sinks; gives the id of each, or why there is none.

    The store comes last, so that a failure can be repeated. A run that lies elsewhere alone, since the store failed or was
    moved, is removed by its full id. JSON lines are left: they may be written to at this moment.
    """
    with ExitStack() as stack:
        places: list[Forgets] = [Archive(settings.archive)]
        if "opensearch" in settings.sinks:
            places.append(stack.enter_context(OpenSearchSink(settings.opensearch)))
        if "kafka" in settings.sinks:
            places.append(VerdictTopic(stack.enter_context(Broker(settings.kafka)), settings.kafka.verdicts_topic))
        if "alerts" in settings.sinks:
            places.append(stack.enter_context(Outbox(settings.alerts)))
        places += [store] if store else []
        for name in asked:
            run_id, unknown = name, RunNotFound(f"no run {name!r} is stored")
            if store:
                try:
                    run_id = full_id(settings, store, name)
                except RunNotFound as reason:
                    unknown = reason
            found = [place.forget(run_id) for place in places]
            yield run_id if any(found) else unknown


@dataclass(frozen=True)
class Pruned:
    runs: int
    texts: int


def prune(settings: Settings, store: SqliteStore, clock: Clock | None = None) -> Pruned:
    """Applies the limits of age, number and size to store and archive."""
    archive = Archive(settings.archive)
    age = settings.store.max_age_days
    before = (clock or SystemClock()).now() - timedelta(days=age) if age is not None else None
    removed = store.prune(before=before, keep=settings.store.max_runs)
    for run_id in removed:
        archive.forget(run_id)
    if "alerts" in settings.sinks and before:
        with Outbox(settings.alerts) as outbox:
            outbox.prune(before)
    return Pruned(len(removed), len(archive.prune()))


def explain_alerts(settings: Settings, verdict: Verdict) -> Iterator[str]:
    """A line for each rule that is switched on: whether it speaks of this verdict, why, and what became of the message."""
    yield f"team {verdict.team or 'none'}: " + (
        "a clean pass needs none" if verdict.clean else "by the routes" if verdict.team else "no route fits"
    )
    with Outbox(settings.alerts) as outbox:
        told = {one.rule: one for one in outbox.explain(verdict.run_id)}
        speaking = {alert.rule: alert.reason for alert in alerts_of(verdict, outbox.history(verdict), settings.alerts.rules)}
    for rule in settings.alerts.rules:
        if one := told.get(rule):
            others = f", {one.runs} runs alike" if one.runs > 1 else ""
            sent = (
                f"sent {one.sent:%Y-%m-%d %H:%M} UTC"
                if one.sent
                else f"waits, not before {one.not_before:%Y-%m-%d %H:%M} UTC"
            )
            yield f"{rule}: {one.reason}{others}; {sent}"
        elif rule in speaking:
            yield f"{rule}: {speaking[rule]}; not in the outbox: `alerts` was not among the sinks when the run was judged"
        else:
            yield f"{rule}: silent"
