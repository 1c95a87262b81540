"""Settings in; the parts of `run` and of a worker out, connected to each other.

A worker's side threads run while its context is open. What commands do with the parts is in `operations.py` and `cli/`.
Commands that need a single server open it themselves in `operations.py`.
"""

import os
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from stream_triage import __version__
from stream_triage.alerting.notify import Notifier, Target, open_targets
from stream_triage.alerting.outbox import Outbox
from stream_triage.alerting.rules import team_of
from stream_triage.bundle import AUTO, Bundle, find_bundle, find_bundles
from stream_triage.choosing import GENERAL_BUNDLE
from stream_triage.choosing import open_templates as templates_of
from stream_triage.clients.broker import Broker
from stream_triage.clients.kafka import KafkaBroker
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clock import SystemClock
from stream_triage.dialects import Dialects, DialectTable, dialect_files, load_dialect, load_dialects
from stream_triage.errors import SettingsError, StoreError
from stream_triage.pipeline import Triage
from stream_triage.ports import DeadLetters, RecordHandler, Sink, Source, Spool
from stream_triage.provisional.callback import calling
from stream_triage.provisional.live import Live
from stream_triage.provisional.publish import provisional_to
from stream_triage.records import DeadLetter, Problem, Verdict
from stream_triage.settings import OpenSearchSettings, Settings
from stream_triage.setup.kafka import check_topics, grow_run_log
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.dead_letters import DeadLetterTopic
from stream_triage.sinks.jsonl import JsonlSink
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.opensearch import OpenSearchSink, check_templates
from stream_triage.sinks.run_log import RunLogTopic
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.sources.opensearch import MAX_KEY_BYTES, OpenSearchSource
from stream_triage.spool import SpillSpool
from stream_triage.stages.redact import Redactor
from stream_triage.stages.reduce import NO_LIMIT, Budget
from stream_triage.stages.rules import Rules
from stream_triage.stages.template import Templates
from stream_triage.worker.engine import Engine
from stream_triage.worker.metrics import MeteredLetters, MeteredWorker, Metrics, serving
from stream_triage.worker.process import Readiness, RunLogPartitions, WatchedProcess, check_folder, wait_for
from stream_triage.worker.reports import WorkerReports
from stream_triage.worker.runs import RunRules

__all__ = [
    "about_bundles",
    "find_dialects",
    "notifying",
    "open_bundles",
    "open_dialect",
    "open_dialects",
    "open_index_source",
    "open_notifier",
    "open_rules",
    "open_sinks",
    "open_store",
    "open_targets",
    "open_templates",
    "open_triage",
    "open_worker",
    "provisional_verdicts",
    "reason_to_reject_id",
    "reporting",
    "run_rules",
    "team_by_routes",
]

# Compressed text of an open run that stays in memory; a worker has thousands of open runs.
SPOOL_BYTES = 1 << 20
# Of one request of a report or a check. When the worker ends, it waits for a side thread no longer than
# `THREAD_END_SECONDS`; the threads are daemons, so a hanging one is left behind.
SIDE_REQUEST_SECONDS = 5.0
THREAD_END_SECONDS = 2.0


def open_bundles(settings: Settings) -> list[Bundle]:
    """Opens the bundle that the settings name, or all that can be chosen from, the one for other runs last.

    Raises:
        BundleError: A bundle is missing or damaged.
    """
    return [Bundle.open(folder) for folder in _bundle_folders(settings)]


def _bundle_folders(settings: Settings) -> list[Path]:
    if settings.bundle != AUTO:
        return [find_bundle(settings.bundle, settings.bundle_folders)]
    general = find_bundle(GENERAL_BUNDLE, settings.bundle_folders)
    return [*(path for path in find_bundles(settings.bundle_folders) if path != general), general]


def open_templates(settings: Settings) -> list[tuple[Bundle, Templates]]:
    """Opens the templates of the bundles without loading their networks."""
    return [(bundle, templates_of(bundle)) for bundle in open_bundles(settings)]


def about_bundles(triage: Triage) -> tuple[str, str]:
    """Name and version of the bundle that judges runs; `auto` and the versions of all if it is chosen for each run."""
    cards = triage.models.cards
    if triage.chooser is None:
        return cards[0].name, cards[0].version
    return AUTO, ", ".join(f"{card.name} {card.version}" for card in cards)


def open_rules(settings: Settings) -> Rules:
    """Reads the hand-written rules; empty if no file is set. Raises `SettingsError` for rules that cannot work."""
    return Rules.read(settings.rules) if settings.rules else Rules()


def find_dialects(settings: Settings) -> list[Path]:
    """Files of the user's own dialects. Raises `BundleError` if there is no bundle, in whose folder some may be."""
    found = (dialect_files(settings.dialects, folder) for folder in _bundle_folders(settings))
    return list({path.resolve(): path for files in found for path in files}.values())


def open_dialects(settings: Settings) -> tuple[DialectTable, ...]:
    """Reads the user's own dialects; none if there are no files. Raises `SettingsError` for files that cannot be used."""
    return load_dialects(find_dialects(settings))


def open_dialect(settings: Settings, name: str) -> tuple[DialectTable, Sequence[DialectTable]]:
    """One dialect, and the user's own that a verdict would use with it.

    Args:
        settings: Name the user's own dialects.
        name: Path of a file, or name of a dialect of the package or of the user.

    Raises:
        SettingsError: There is no such dialect, or it cannot be used.
    """
    path, own = Path(name).expanduser(), open_dialects(settings)
    known = {dialect.table.name: dialect.table for dialect in Dialects(own).dialects}
    if not path.is_file() and name in known:
        return known[name], own
    if not path.exists() and path.suffix != ".toml" and len(path.parts) == 1:
        raise SettingsError(f"there is no dialect {name!r}; name a file, or one of {', '.join(sorted(known))}")
    table = load_dialect(path)
    return table, [table, *(one for one in own if one.name != table.name)]


def open_triage(
    settings: Settings,
    reduction_lines: int | Budget = NO_LIMIT,
    open_spool: Callable[[str], Spool] = SpillSpool,
    encoding: str | None = None,
    *,
    dialects: Sequence[DialectTable] | None = None,
    on_lines: Callable[[str, str, Sequence[str], int], None] | None = None,
    else_general: bool = False,
) -> Triage:
    """Opens everything that is needed to judge runs.

    Args:
        settings: Bundle, rules, dialects, redaction and the length limit of lines.
        reduction_lines: How many lines of a run are kept as worth reading.
        open_spool: Returns the spool for the text of the run with this id.
        encoding: Encoding of the text, if the settings do not decide: text in JSON is UTF-8.
        dialects: The user's own dialects, if not those of the settings.
        on_lines: Receives the lines as models read them; see `Triage`.
        else_general: Runs that the bundle of the settings does not know are judged by the general one.

    Raises:
        BundleError: The bundle is missing, damaged or made for another version.
        SettingsError: A rule, a dialect or a redaction pattern cannot work.
    """
    bundles, auto = open_bundles(settings), settings.bundle == AUTO
    if else_general and not auto and bundles[0].card.name != GENERAL_BUNDLE:
        bundles, auto = [*bundles, Bundle.open(find_bundle(GENERAL_BUNDLE, settings.bundle_folders))], True
    return Triage(
        bundles,
        auto=auto,
        reduction_lines=reduction_lines,
        redactor=Redactor.from_settings(settings.redaction),
        rules=open_rules(settings),
        dialects=open_dialects(settings) if dialects is None else dialects,
        encoding=encoding or settings.input.encoding,
        line_bytes=settings.input.line_bytes,
        input_format=settings.input.format,
        open_spool=open_spool,
        on_lines=on_lines,
    )


def open_store(settings: Settings, *, create: bool = False) -> SqliteStore:
    """Opens the embedded store. Raises `StoreError` if it cannot be opened, or is missing and `create` is false."""
    return SqliteStore(settings.store.path, create=create)


@contextmanager
def open_sinks(
    settings: Settings,
    names: Collection[str],
    *,
    store: SqliteStore | None = None,
    jsonl: TextIO | None = None,
    broker: Broker | None = None,
    on_rejected: Callable[[DeadLetter], None] | None = None,
    on_trouble: Callable[[str], None] | None = None,
) -> Iterator[list[Sink]]:
    """Opens the named sinks and closes them afterwards.

    The archive comes first, so that the whole text of a run can be read as soon as its verdict is stored.

    Args:
        settings: Where the sinks write to.
        names: Names of the sinks, as in the setting `sinks`.
        store: The store to use, if it is open already; it is closed with the others.
        jsonl: A stream for an additional sink of JSON lines.
        broker: The connection to Kafka to use, if it is open already.
        on_rejected: Receives the documents that OpenSearch rejects. With it, the sinks do not retry: the caller does.
        on_trouble: Receives a message when alerts cannot be written.
    """
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if "archive" in names:
            sinks.append(stack.enter_context(TextArchive(settings.archive)))
        if "store" in names:
            sinks.append(stack.enter_context(store or open_store(settings, create=True)))
        if "jsonl" in names:
            sinks.append(stack.enter_context(JsonlSink(settings.jsonl.path)))
        if "opensearch" in names:
            opensearch = settings.opensearch.model_copy(update={"retry_seconds": 0.0} if on_rejected else {})
            server = stack.enter_context(OpenSearchClient(opensearch))
            sinks.append(stack.enter_context(OpenSearchSink(server, opensearch, on_rejected=on_rejected)))
        if "kafka" in names:
            broker = broker or stack.enter_context(KafkaBroker(settings.kafka))
            sinks.append(stack.enter_context(VerdictTopic(broker, settings.kafka.verdicts_topic)))
        if "alerts" in names:
            sinks.append(stack.enter_context(Outbox(settings.alerts, on_trouble=on_trouble)))
        if jsonl is not None:
            sinks.append(stack.enter_context(JsonlSink(jsonl)))
        yield sinks


def team_by_routes(settings: Settings) -> Callable[[Verdict], str | None]:
    """Returns a function that names the team of a verdict, by the routes."""
    return lambda verdict: team_of(settings.routes, verdict)


@contextmanager
def open_notifier(
    settings: Settings, targets: Mapping[str, Sequence[Target]], on_trouble: Callable[[str], None]
) -> Iterator[Notifier]:
    """Opens the outbox and what sends its alerts to `targets`, for use in one thread."""
    with Outbox(settings.alerts, on_trouble=on_trouble) as outbox:
        yield Notifier(outbox, settings.alerts, targets, on_trouble=on_trouble)


@contextmanager
def notifying(settings: Settings, on_trouble: Callable[[str], None]) -> Iterator[None]:
    """Sends alerts in a thread of its own while the block runs.

    Raises `SettingsError` for an address that cannot be used, before the block begins.
    """
    targets = open_targets(settings.alerts)

    def send(stopped: threading.Event) -> None:
        # The outbox is opened here because a SQLite connection belongs to the thread that opens it.
        try:
            with open_notifier(settings, targets, on_trouble) as notifier:
                notifier.run(stopped)
        except StoreError as error:
            on_trouble(str(error))

    with _background_thread("alerts", send):
        yield


@contextmanager
def provisional_verdicts(
    settings: Settings, broker: Broker | None, sinks: Sequence[Sink], on_trouble: Callable[[str], None]
) -> Iterator[Live | None]:
    """Opens what publishes verdicts of open runs, to the topic and to the embedded store; None if that is not set."""
    provisional, clock = settings.provisional, SystemClock()
    live = None
    with ExitStack() as stack:
        if provisional.every_seconds is not None:
            store = next((sink for sink in sinks if isinstance(sink, SqliteStore)), None)
            publish = provisional_to(broker, settings.kafka.provisional_topic, store, on_trouble)
            callback = provisional.callback.get_secret_value() if provisional.callback else None
            stops = {"stop": stack.enter_context(calling(callback, clock, on_trouble))} if callback else {}
            live = Live(provisional.every_seconds, publish, clock, **stops)
        yield live


@contextmanager
def reporting(settings: Settings, metrics: Metrics, on_trouble: Callable[[str], None]) -> Iterator[None]:
    """Writes the reports of this worker to OpenSearch in a thread of its own while the block runs."""
    host = socket.gethostname()
    worker = settings.kafka.instance or f"{host}-{os.getpid()}"
    about = {
        "host": {"name": host},
        "service": {"instance": {"id": worker}, "version": metrics.about["version"]},
        "triage": {"bundle": {"name": metrics.about["bundle"], "version": metrics.about["bundle_version"]}},
    }
    with OpenSearchClient(_hurried(settings.opensearch)) as server:
        reports = WorkerReports(server, settings.opensearch.index_prefix, metrics, about, on_trouble=on_trouble)
        with _background_thread("fleet", reports.run):
            yield


@contextmanager
def _background_thread(name: str, run: Callable[[threading.Event], None]) -> Iterator[None]:
    """Calls `run` in a thread while the block runs; the event is set when the block ends."""
    stopped = threading.Event()
    thread = threading.Thread(target=run, args=(stopped,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(timeout=THREAD_END_SECONDS)


@contextmanager
def open_worker(
    settings: Settings,
    *,
    on_verdict: Callable[[Verdict], None] | None = None,
    on_problem: Callable[[Problem], None] | None = None,
    on_trouble: Callable[[str], None] = lambda text: None,
    process: WatchedProcess | None = None,
) -> Iterator[RecordHandler]:
    """Opens what judges the runs of the topic, its sinks, and the threads beside it: alerts, metrics and reports.

    Args:
        settings: All of them.
        on_verdict: Receives each final verdict.
        on_problem: Receives what is wrong with the input of a run.
        on_trouble: Receives a message when something beside the verdicts fails: alerts, reports, provisional verdicts.
        process: Gets what it needs to watch the worker.

    Servers that do not respond are waited for, for as long as it takes.

    Raises:
        BundleError: The bundle is missing, damaged or made for another version.
        SettingsError: A setting cannot work, or a topic is missing.
        StoreError: A file cannot be opened, or a server rejects the user, or has no index templates.
    """
    kafka, process = settings.kafka, process or WatchedProcess()
    triage = open_triage(
        settings,
        open_spool=lambda run_id: SpillSpool(run_id, memory_bytes=SPOOL_BYTES),
        encoding="utf-8" if kafka.format == "json" else None,
    )
    with ExitStack() as stack:
        name, version = about_bundles(triage)
        metrics = Metrics({"version": __version__, "bundle": name, "bundle_version": version})
        process.report = metrics.report
        if settings.metrics.listen:
            stack.enter_context(serving(metrics, settings.metrics.listen))
        broker = stack.enter_context(KafkaBroker(kafka))
        _wait_for_servers(settings, broker, metrics, process)
        rejected: deque[DeadLetter] = deque()
        sinks = stack.enter_context(
            open_sinks(settings, settings.sinks, broker=broker, on_rejected=rejected.append, on_trouble=on_trouble)
        )
        if "alerts" in settings.sinks:
            stack.enter_context(notifying(settings, on_trouble))
        letters: DeadLetters = MeteredLetters(DeadLetterTopic(broker, kafka.dead_topic), metrics)
        if "opensearch" in settings.sinks:
            stack.enter_context(reporting(settings, metrics, on_trouble))
        process.readiness = stack.enter_context(_checking(settings, process.run_log))
        metrics.servers = process.readiness.trouble

        def take_verdict(verdict: Verdict) -> None:
            if on_verdict:
                on_verdict(verdict)
            metrics.count(verdict)

        engine = Engine(
            triage,
            sinks,
            run_log=RunLogTopic(broker, kafka.runs_topic, kafka.group, kafka.topic),
            dead_letters=letters,
            rejected=rejected,
            rules=run_rules(settings, triage.redactor),
            dead_per_hour=kafka.dead_per_hour,
            on_verdict=take_verdict,
            on_problem=on_problem,
            on_part=metrics.stepped,
            team_of=team_by_routes(settings),
            live=stack.enter_context(provisional_verdicts(settings, broker, sinks, on_trouble)),
        )
        yield MeteredWorker(engine, metrics)


def _wait_for_servers(settings: Settings, broker: Broker, metrics: Metrics, process: WatchedProcess) -> None:
    """Returns once the brokers and OpenSearch can be used, and the run log has as many partitions as the topic."""

    def on_wait(reason: str) -> None:
        metrics.step()  # it waits, but it does not hang
        metrics.report("start", reason)

    def ask_kafka() -> RunLogPartitions:
        return _run_log_partitions(settings, broker)

    process.run_log = wait_for("Kafka", ask_kafka, on_wait)
    if "opensearch" in settings.sinks:
        with OpenSearchClient(_hurried(settings.opensearch)) as server:
            wait_for("OpenSearch", lambda: check_templates(server, settings.opensearch.index_prefix), on_wait)


def _run_log_partitions(settings: Settings, broker: Broker) -> RunLogPartitions:
    kafka = settings.kafka
    known = broker.partitions([kafka.topic, kafka.runs_topic])
    run_log = RunLogPartitions(known.get(kafka.runs_topic, 0), lambda number: grow_run_log(settings, broker, number))
    if kafka.runs_topic in known:
        run_log.ensure(known.get(kafka.topic, 0))
    check_topics(settings, broker)
    broker.committed(kafka.group, kafka.topic, 0)  # the right to be in the group; without it the consumer fails much later
    return run_log


@contextmanager
def _checking(settings: Settings, run_log: RunLogPartitions) -> Iterator[Readiness]:
    """Checks every few seconds what the worker needs, with connections of its own, while the block runs."""
    with ExitStack() as stack:
        broker = stack.enter_context(KafkaBroker(settings.kafka))
        broker.call_seconds = SIDE_REQUEST_SECONDS

        def check_kafka() -> None:
            # The run log grows as soon as the topic has, before a worker is given one of the new partitions.
            run_log.ensure(broker.partitions([settings.kafka.topic]).get(settings.kafka.topic, 0))
            check_topics(settings, broker)

        checks: dict[str, Callable[[], object]] = {"Kafka": check_kafka}
        if "opensearch" in settings.sinks:
            server = stack.enter_context(OpenSearchClient(_hurried(settings.opensearch)))
            checks["OpenSearch"] = lambda: check_templates(server, settings.opensearch.index_prefix)
        if "store" in settings.sinks:
            checks["the store"] = lambda: check_folder("store.path", settings.store.path)
        if "archive" in settings.sinks:
            checks["the archive"] = lambda: check_folder("archive.folder", settings.archive.folder, file=False)
        if "jsonl" in settings.sinks:
            checks["the JSON Lines file"] = lambda: check_folder("jsonl.path", settings.jsonl.path)
        if "alerts" in settings.sinks:
            checks["the outbox"] = lambda: check_folder("alerts.path", settings.alerts.path)
        checks["the folder for open runs"] = lambda: check_folder("TMPDIR", Path(tempfile.gettempdir()), file=False)
        readiness = Readiness(checks)
        with readiness.running():
            yield readiness


def _hurried(settings: OpenSearchSettings) -> OpenSearchSettings:
    """For requests beside the verdicts, which must not hang for long."""
    return settings.model_copy(update={"timeout_seconds": min(SIDE_REQUEST_SECONDS, settings.timeout_seconds)})


def run_rules(settings: Settings, redactor: Redactor) -> RunRules:
    """Returns what a message contains and when a run is over, by the settings of Kafka."""
    kafka = settings.kafka
    return RunRules(
        format=kafka.format,
        encoding="utf-8" if kafka.format == "json" else settings.input.encoding,
        json_text=kafka.json_text,
        json_source=kafka.json_source,
        json_end=kafka.json_end,
        start_pattern=kafka.start_pattern,
        end_pattern=kafka.end_pattern,
        idle_seconds=kafka.idle_seconds,
        end_grace_seconds=kafka.end_grace_seconds,
        max_run_seconds=kafka.max_run_hours * 3600,
        max_run_bytes=kafka.max_run_bytes,
        reject_key=_reason_to_reject(settings, redactor, "the key "),
    )


def _reason_to_reject(settings: Settings, redactor: Redactor, subject: str = "") -> Callable[[str], str | None]:
    """Returns a function that says why a run must not have an id, or None if it may.

    Without pseudonyms, redaction turns two ids that differ only in an identity into one, and two runs with them.
    """
    pseudonyms = settings.redaction.pseudonym_key is not None

    def reason(run_id: str) -> str | None:
        if pseudonyms or redactor.text(run_id) == run_id:
            return None
        return f"{subject}holds an identity or a secret; set redaction.pseudonym_key, or name runs otherwise"

    return reason


def reason_to_reject_id(settings: Settings, run_id: str) -> str | None:
    """Returns why a user must not give a run this id, or None if it may have it."""
    if not run_id:
        return "is empty"
    if not run_id.isprintable():
        return "contains control characters"
    if len(run_id.encode()) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    return _reason_to_reject(settings, Redactor.from_settings(settings.redaction))(run_id)


def open_index_source(settings: Settings, index: str, run_field: str, time: str) -> Source:
    """Opens a source of the runs whose lines are in an OpenSearch index.

    Args:
        settings: The cluster, and which fields hold text, time and source of a line.
        index: Name or pattern of the index.
        run_field: The field that names the run of a line.
        time: Only runs with lines of this time, as in `now-1d` or `2026-11-01..now`.
    """
    check = _reason_to_reject(settings, Redactor.from_settings(settings.redaction))
    server = OpenSearchClient(settings.opensearch)
    return OpenSearchSource(server, settings.opensearch, index, run_field=run_field, time=time, rejection=check)
