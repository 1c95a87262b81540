"""Settings in; source, pipeline and sinks out. The one place that knows them all."""

import resource
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TextIO

from stream_triage.broker import MAX_MESSAGE_BYTES, Broker, Outgoing, Topic
from stream_triage.bundle import Bundle, find_bundle
from stream_triage.clock import Clock, SystemClock
from stream_triage.engine import Engine
from stream_triage.errors import RunNotFound, SettingsError
from stream_triage.pipeline import Triage
from stream_triage.ports import Sink, Spool
from stream_triage.records import DeadLetter, Problem, Verdict
from stream_triage.settings import Settings
from stream_triage.sinks.archive import Archive
from stream_triage.sinks.dead_letters import DeadLetterTopic, as_letter
from stream_triage.sinks.jsonl import JsonlSink
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.run_log import RunLogTopic
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.spool import SpillSpool
from stream_triage.stages.redact import Redactor
from stream_triage.stages.reduce import MAX_LINES
from stream_triage.stages.rules import Rules
from stream_triage.stages.runs import RunRules

__all__ = [
    "ask_kafka",
    "ask_opensearch",
    "forget",
    "full_id",
    "open_bundle",
    "open_rules",
    "open_sinks",
    "open_store",
    "open_triage",
    "prune",
    "replay_dead",
    "run_worker",
    "setup_kafka",
    "setup_opensearch",
]

# Compressed text of an open run that stays in memory; a worker has thousands of them.
SPOOL_BYTES = 1 << 20
# How long refused messages are kept, two weeks: time to mend what sends them.
DEAD_HOURS = 336


def open_bundle(settings: Settings) -> Bundle:
    return Bundle.open(find_bundle(settings.bundle, settings.bundle_folders))


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
) -> Iterator[list[Sink]]:
    """The named sinks, closed afterwards. The archive comes first: a stored run can then be shown whole.

    `store` and `broker` are those to use, if they are open already; `jsonl` is one sink more; `refuse` gets the documents
    that a server will not take, and with it sinks leave it to their caller to try again.
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
            from stream_triage.sinks.opensearch import OpenSearchSink

            server = settings.opensearch.model_copy(update={"retry_seconds": 0.0} if refuse else {})
            sinks.append(stack.enter_context(OpenSearchSink(server, refuse=refuse)))
        if "kafka" in names:
            broker = broker or stack.enter_context(Broker(settings.kafka))
            sinks.append(stack.enter_context(VerdictTopic(broker, settings.kafka.verdicts_topic)))
        if jsonl is not None:
            sinks.append(stack.enter_context(JsonlSink(jsonl)))
        yield sinks


def run_worker(
    settings: Settings,
    *,
    on_verdict: Callable[[Verdict], None] | None = None,
    on_problem: Callable[[Problem], None] | None = None,
) -> None:
    """Judges the runs of the topic until stopped. Raises what ends it: `InputError` when too much was refused."""
    from stream_triage.sources.kafka import run_worker as run

    kafka = settings.kafka
    triage = open_triage(settings, open_spool=lambda run_id: SpillSpool(run_id, memory_bytes=SPOOL_BYTES))
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(kafka))
        check_topics(settings, broker)
        sinks = stack.enter_context(
            open_sinks(settings, settings.sinks, broker=broker, refuse=lambda letter: engine.refuse(letter))
        )
        engine = Engine(
            triage,
            sinks,
            run_log=RunLogTopic(broker, kafka.runs_topic, kafka.group),
            dead_letters=DeadLetterTopic(broker, kafka.dead_topic),
            rules=run_rules(settings, triage.redactor),
            dead_per_hour=kafka.dead_per_hour,
            on_verdict=on_verdict,
            on_problem=on_problem,
        )
        _allow_many_files()
        run(kafka, engine)


def run_rules(settings: Settings, redactor: Redactor) -> RunRules:
    kafka = settings.kafka
    shared = {name: getattr(kafka, name) for name in RunRules.__dataclass_fields__ if hasattr(kafka, name)}
    pseudonyms = settings.redaction.pseudonym_key is not None

    def refuse_key(key: str) -> str | None:
        """Two runs whose keys differ in nothing but an identity would become one."""
        if pseudonyms or redactor.text(key) == key:
            return None
        return "the key holds an identity or a secret; set redaction.pseudonym_key, or name runs otherwise"

    return RunRules(**shared, max_run_seconds=kafka.max_run_hours * 3600, refuse_key=refuse_key)


def topics(settings: Settings, partitions: int) -> list[Topic]:
    """The topics of the product, as `setup kafka` makes them."""
    kafka = settings.kafka
    large = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    remembered = {"cleanup.policy": "compact,delete", "retention.ms": str(int(kafka.closed_hours * 3_600_000))}
    return [
        Topic(kafka.topic, partitions, large),
        Topic(kafka.runs_topic, partitions, {**large, **remembered}),
        Topic(kafka.verdicts_topic, partitions, {**large, "cleanup.policy": "compact"}),
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


def setup_opensearch(settings: Settings, *, dry_run: bool = False) -> list[str]:
    """Makes or changes what OpenSearch needs; says what."""
    from stream_triage.sinks.opensearch import set_up

    model = next(iter(open_triage(settings).models.values()))
    return set_up(settings.opensearch, (model.card.name, model.card.version), model.template_list(), dry_run=dry_run)


def ask_opensearch(settings: Settings) -> str:
    """Version of the server. Raises `SettingsError` or `StoreError`."""
    from stream_triage.opensearch import SearchServer

    with SearchServer(settings.opensearch) as server:
        return str(server.ask("GET", "").get("version", {}).get("number", "unknown"))


def ask_kafka(settings: Settings) -> dict[str, int]:
    """Number of partitions of each topic. Raises `SettingsError` or `StoreError` when a worker could not begin."""
    with Broker(settings.kafka) as broker:
        return check_topics(settings, broker)


def check_topics(settings: Settings, broker: Broker) -> dict[str, int]:
    """Number of partitions of each topic. Raises `SettingsError` when one is missing or they do not fit together."""
    kafka = settings.kafka
    names = [kafka.topic, kafka.runs_topic, kafka.dead_topic]
    names += [kafka.verdicts_topic] if "kafka" in settings.sinks else []
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
    """Sends refused messages to their topic again, as they came; counts by reason what was sent or left.

    Only those whose reason contains `reason`, if given. The group `<group>-replay-dead` remembers how far it came: each is
    looked at once. What is no message of the topic (a document, a run that could not be judged) is left where it is.
    """
    kafka, done = settings.kafka, Counter[str]()
    with Broker(kafka) as broker:
        for partition in range(broker.partitions([kafka.dead_topic]).get(kafka.dead_topic, 0)):
            group = f"{kafka.group}-replay-dead"
            start = broker.committed(group, kafka.dead_topic, partition)
            again: list[Outgoing] = []
            last = start - 1
            for record in broker.read(kafka.dead_topic, partition, start):
                letter, last = as_letter(record), record.offset
                wanted = letter.kind == "message" and letter.value is not None and (reason or "") in letter.reason
                done[f"{'sent' if wanted else 'left'}: {letter.reason}"] += 1
                if wanted:
                    again.append(Outgoing(kafka.topic, letter.key, letter.value, letter.headers))
            if not dry_run and last >= start:
                broker.send(again)
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


def forget(settings: Settings, store: SqliteStore, asked: str) -> str:
    """Removes a run from the archive and the store, the store last, so that a failure can be repeated; gives its id.

    A text that lies in the archive alone, since the store failed or was moved, is removed by its full id.
    """
    archive = Archive(settings.archive)
    try:
        run_id = full_id(settings, store, asked)
    except RunNotFound:
        if archive.forget(asked):
            return asked
        raise
    archive.forget(run_id)
    store.forget(run_id)
    return run_id


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
    return Pruned(len(removed), len(archive.prune()))
