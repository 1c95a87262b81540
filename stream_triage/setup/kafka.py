"""Settings in; the Kafka topics of the product defined, created and checked."""

from typing import Final

from stream_triage.clients.broker import MAX_MESSAGE_BYTES, Broker, Topic
from stream_triage.errors import SettingsError, StoreError
from stream_triage.settings import Settings

__all__ = ["check_topics", "create_topics", "grow_run_log", "topics"]

# Retention of rejected messages: two weeks to repair what sends them, then to replay them.
DEAD_HOURS: Final = 336
# Retention of provisional verdicts: each one is outdated as soon as the next one arrives.
PROVISIONAL_HOURS: Final = 6
_HOUR_MS: Final = 3_600_000


def topics(settings: Settings, partitions: int) -> list[Topic]:
    """Returns the definitions of all topics.

    Args:
        settings: Names of the topics and how long ended runs are remembered.
        partitions: Number of partitions of every topic but that of the dead letters, which has one.
    """
    kafka = settings.kafka
    large = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    remembered = {"cleanup.policy": "compact,delete", "retention.ms": str(int(kafka.closed_hours * _HOUR_MS))}
    return [
        Topic(kafka.topic, partitions, large),
        Topic(kafka.runs_topic, partitions, {**large, **remembered}),
        Topic(kafka.verdicts_topic, partitions, {**large, "cleanup.policy": "compact"}),
        Topic(kafka.provisional_topic, partitions, {**large, "retention.ms": str(PROVISIONAL_HOURS * _HOUR_MS)}),
        Topic(kafka.dead_topic, 1, {**large, "retention.ms": str(DEAD_HOURS * _HOUR_MS)}),
    ]


def create_topics(settings: Settings, broker: Broker, partitions: int, *, dry_run: bool = False) -> list[str]:
    """Creates the topics that are missing, or with `dry_run` only finds them; returns their names.

    The run log gets the partitions that it lacks since the topic of log lines has grown; they are returned, too.
    """
    wanted = topics(settings, partitions)
    known = broker.partitions([topic.name for topic in wanted])
    missing = [topic for topic in wanted if topic.name not in known]
    if existing := known.get(settings.kafka.topic):
        # Partition n of the run log describes partition n of the log topic, so it needs as many as that one has.
        missing = [
            topic._replace(partitions=existing) if topic.name == settings.kafka.runs_topic else topic for topic in missing
        ]
    if missing and not dry_run:
        broker.create(missing)
    names = [topic.name for topic in missing]
    run_log = settings.kafka.runs_topic
    if existing and known.get(run_log, existing) < existing:
        names.append(f"{run_log}, partitions {known[run_log]} to {existing - 1}")
        if not dry_run:
            broker.grow(run_log, existing)
    return names


def grow_run_log(settings: Settings, broker: Broker, partitions: int) -> None:
    """Gives the run log at least as many partitions as the topic of log lines has.

    Raises:
        SettingsError: The user has no right to do it; the message says who can.
        StoreError: Kafka does not respond.
    """
    try:
        broker.grow(settings.kafka.runs_topic, partitions)
    except StoreError as error:
        if error.temporary:
            raise
        raise SettingsError(
            f"topic {settings.kafka.runs_topic} has fewer partitions than {settings.kafka.topic} with {partitions}, and "
            f"this user may not add them: run `stream-triage setup kafka` ({error})"
        ) from error


def check_topics(settings: Settings, broker: Broker) -> dict[str, int]:
    """Returns the number of partitions of each topic that a worker with these settings needs.

    Raises:
        SettingsError: A topic is missing, or the run log has too few partitions.
        StoreError: Kafka does not respond.
    """
    kafka = settings.kafka
    names = [kafka.topic, kafka.runs_topic, kafka.dead_topic]
    names += [kafka.verdicts_topic] if "kafka" in settings.sinks else []
    names += [kafka.provisional_topic] if settings.provisional.every_seconds else []
    known = broker.partitions(names)
    if missing := [name for name in names if name not in known]:
        raise SettingsError(
            f"Kafka has no topic {', '.join(missing)}, or this user may not see it; create it with "
            "`stream-triage setup kafka`"
        )
    if known[kafka.runs_topic] < known[kafka.topic]:
        raise SettingsError(
            f"topic {kafka.runs_topic} has {known[kafka.runs_topic]} partitions, fewer than {kafka.topic} with "
            f"{known[kafka.topic]}; `stream-triage setup kafka` adds them"
        )
    return known
