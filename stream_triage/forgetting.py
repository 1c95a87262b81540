"""Ids of runs in; the runs are removed from store, archive, outbox, index and topics, and never judged again.

The command `forget`. Before anything is removed, a mark in the run log tells the workers of every group that the run is
forgotten. A worker that reads the messages of the run again skips them, and one that is just writing the verdict sees the
mark after it has written, and removes the verdict (`Engine`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack

from stream_triage.alerting.outbox import Outbox
from stream_triage.clients.broker import Broker
from stream_triage.clients.kafka import KafkaBroker
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.errors import RunNotFound, StoreError
from stream_triage.operations import full_id
from stream_triage.ports import Forgets
from stream_triage.records import ForgottenRun
from stream_triage.settings import KafkaSettings, Settings
from stream_triage.setup.kafka import PROVISIONAL_HOURS
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.opensearch import OpenSearchSink
from stream_triage.sinks.run_log import RunLogTopic
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.stages.redact import Redactor

__all__ = ["forget", "not_reached"]


def forget(
    settings: Settings,
    store: SqliteStore | None,
    run_ids: Iterable[str],
    *,
    on_trouble: Callable[[str], None] = lambda text: None,
) -> Iterator[str | RunNotFound]:
    """Removes runs from the sinks, the archive and the store, one after the other, and marks them for the workers.

    Nothing of a run is removed while another program holds the outbox or the store locked, or before the run is marked.
    The store comes last: as long as it has the run, a part of the id is enough to repeat a `forget` that failed elsewhere.
    Where the store does not have a run, its full id removes it from the others, and marks it: it may be open, or its verdict
    on the way. Runs that were read from files are not marked, nor is any run if the settings name no Kafka. JSON lines are
    not changed: another process may append to them.

    Args:
        settings: The sinks, and where they are.
        store: The open store, if there is one.
        run_ids: Ids, or parts that only one run in the store has.
        on_trouble: Receives a message when a run may come back.

    Yields:
        For each of `run_ids` the full id of the removed run, or an error if no such run exists.

    Raises:
        StoreError: A run could not be removed everywhere; it names where the run still is. Repeating removes it there.
    """
    with ExitStack() as stack:
        outbox = stack.enter_context(Outbox(settings.alerts)) if "alerts" in settings.sinks else None
        broker = stack.enter_context(KafkaBroker(settings.kafka)) if _names_kafka(settings) else None
        marks = _Marks(broker, settings.kafka, on_trouble) if broker else None
        keepers: dict[str, Forgets] = {}
        if "opensearch" in settings.sinks:
            server = stack.enter_context(OpenSearchClient(settings.opensearch))
            keepers["OpenSearch"] = stack.enter_context(OpenSearchSink(server, settings.opensearch))
        if broker and "kafka" in settings.sinks:
            topic = settings.kafka.verdicts_topic
            keepers[f"the topic {topic}"] = VerdictTopic(broker, topic)
        if outbox:
            keepers["the outbox"] = outbox
        keepers["the archive"] = TextArchive(settings.archive)
        if store:
            keepers["the store"] = store
        for asked in run_ids:
            run_id, unknown = _known_id(settings, store, asked)
            for file in (outbox, store):
                if file:
                    _before_removal(run_id, file.check_writable)
            if marks is None:
                _warn_without_kafka(store, run_id, on_trouble)
            elif not _is_file(store, run_id):
                _before_removal(run_id, lambda run_id=run_id: marks.put(run_id))  # type: ignore[misc]
                unknown = RunNotFound(f"{unknown}. If the topic has a run with exactly this id, workers will not judge it")
            yield run_id if _forget_everywhere(keepers, run_id) else unknown


def not_reached(settings: Settings) -> list[str]:
    """Where text or verdicts of forgotten runs are left, in words for people."""
    left = []
    if _names_kafka(settings):
        kafka = settings.kafka
        left.append(f"log lines of these runs stay in {kafka.topic} and {kafka.dead_topic} until these topics delete them")
        if settings.provisional.every_seconds is not None:
            left.append(
                f"provisional verdicts of these runs stay in {kafka.provisional_topic} for up to {PROVISIONAL_HOURS} hours"
            )
    if "jsonl" in settings.sinks and settings.jsonl.path.exists():
        left.append(
            f"{settings.jsonl.path} is not changed: delete these runs from it yourself, while no process writes to it"
        )
    return left


class _Marks:
    """Writes marks of forgotten runs to all partitions of the run log.

    Which partition has a run is not known if it is still open, or if the topic got more partitions since.
    """

    def __init__(self, broker: Broker, settings: KafkaSettings, on_trouble: Callable[[str], None]) -> None:
        self._broker = broker
        self._settings = settings
        self._on_trouble = on_trouble
        self._log = RunLogTopic(broker, settings.runs_topic, settings.group, settings.topic)
        self._ends: dict[int, int] | None = None

    def put(self, run_id: str) -> None:
        """Returns once the marks are durable. Raises `StoreError`."""
        if self._ends is None:
            self._ends = self._topic_ends()
        for partition, end in self._ends.items():
            self._log.put_forgotten(partition, ForgottenRun(run_id, end))
        self._log.flush()

    def _topic_ends(self) -> dict[int, int]:
        """The ends of the partitions of the log: a run that has begun by now has its first message before them."""
        kafka = self._settings
        ends = self._broker.ends(kafka.topic)
        if not ends:
            self._on_trouble(
                f"Kafka has no topic {kafka.topic}, or this user may not see it: if workers read these runs from a topic, "
                "repeat with the settings of the workers, or the runs come back"
            )
        logged = self._broker.partitions([kafka.runs_topic]).get(kafka.runs_topic, 0)
        if len(ends) > logged:
            raise StoreError(
                f"topic {kafka.runs_topic} has {logged} partitions, fewer than {kafka.topic} with {len(ends)}, or this user "
                f"may not see it; without marks the workers would judge the run again. Add partitions to {kafka.runs_topic}"
            )
        return ends


def _names_kafka(settings: Settings) -> bool:
    """Whether workers may read runs from a topic, by these settings."""
    return "kafka" in settings.sinks or bool(settings.kafka.model_fields_set)


def _known_id(settings: Settings, store: SqliteStore | None, asked: str) -> tuple[str, RunNotFound]:
    """The full id, and the error if no sink has the run. Outside the store, ids have no identities either."""
    unknown = RunNotFound(f"no run {asked!r} is stored")
    if store:
        try:
            return full_id(settings, store, asked), unknown
        except RunNotFound as error:
            unknown = error
    return Redactor.from_settings(settings.redaction).run_id(asked), unknown


def _is_file(store: SqliteStore | None, run_id: str) -> bool:
    """Whether the store knows that the run was read from a file; no worker reads it again then."""
    stored = store.find(run_id) if store else None
    return stored is not None and stored.content != ""


def _warn_without_kafka(store: SqliteStore | None, run_id: str, on_trouble: Callable[[str], None]) -> None:
    """A verdict of a topic has the time of its first message; one that was read from a file has none."""
    if store and store.find(run_id) and store.get(run_id).started is not None and not _is_file(store, run_id):
        on_trouble(
            f"{run_id} came from a topic or an index. If workers judged it, repeat with their settings, which name their "
            "Kafka: only then do they not judge it again"
        )


def _before_removal(run_id: str, step: Callable[[], None]) -> None:
    try:
        step()
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
