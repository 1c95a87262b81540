"""Kafka for code that runs in no event loop: settings in; messages sent, partitions read whole, topics made.

The one place that knows aiokafka, apart from the worker's consumer. Every call either succeeds or raises `StoreError`
that says what to do; none shows a password.
"""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, NamedTuple, Self, TypeVar

from stream_triage.errors import SettingsError, StoreError
from stream_triage.records import Record
from stream_triage.settings import KafkaSettings

__all__ = ["Broker", "Outgoing", "Topic", "connection", "ssl_context"]

T = TypeVar("T")
# Chunks, verdicts and refused messages are larger than Kafka's default of 1 MB now and then.
MAX_MESSAGE_BYTES = 16 << 20
REQUEST_SECONDS = 20.0
# Of the topics that are made, or fewer in a cluster of fewer brokers.
MOST_COPIES = 3


class Outgoing(NamedTuple):
    """One message to send. Without a partition, the key decides."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class Topic(NamedTuple):
    """A topic as it should be made."""

    name: str
    partitions: int
    config: dict[str, str]


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """What TLS needs, none for the protocols without. Raises `SettingsError` naming the file that cannot be used."""
    if settings.security in ("PLAINTEXT", "SASL_PLAINTEXT"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"kafka.ca_file {settings.ca_file} cannot be used: {_reason(error)}") from None
    if settings.cert_file and settings.key_file:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except (OSError, ssl.SSLError) as error:
            names = f"kafka.cert_file {settings.cert_file} with kafka.key_file {settings.key_file}"
            raise SettingsError(f"{names} cannot be used: {_reason(error)}") from None
    return context


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """How to connect, as aiokafka's clients want to be told."""
    told: dict[str, Any] = {
        "bootstrap_servers": list(settings.servers),
        "security_protocol": settings.security,
        "ssl_context": ssl_context(settings),
    }
    if settings.security.startswith("SASL") and settings.user is not None and settings.password is not None:
        told |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.user,
            "sasl_plain_password": settings.password.get_secret_value(),
        }
    return told


class Broker:
    """Connects when first asked. Threads may share it; what it does runs in an event loop in a thread of its own."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._name = ",".join(settings.servers)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._producer: Any = None

    def send(self, messages: Sequence[Outgoing]) -> list[Outgoing]:
        """Sends messages, those of one key or partition in order; returns when all replicas have them.

        Gives back what the broker refused for its size. After `StoreError` any part may have been sent.
        """
        with self._naming("cannot be written to"):
            return self._run(self._send(messages))

    def read(self, topic: str, partition: int, start: int = 0) -> list[Record]:
        """All messages of a partition from an offset, or the first that is kept, to what was the last when asked."""
        with self._naming(f"topic {topic} cannot be read"):
            return self._run(self._read(topic, partition, start), seconds=600)

    def ends(self, topic: str) -> dict[int, int]:
        """By partition, the offset that the next message gets."""
        with self._naming(f"topic {topic} cannot be read"):
            return self._run(self._ends(topic))

    def committed(self, group: str, topic: str, partition: int) -> int:
        """Where a group goes on, 0 where it never was."""
        with self._naming(f"positions of group {group} cannot be read"):
            return self._run(self._positions(group, topic, partition, None))

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        with self._naming(f"positions of group {group} cannot be written"):
            self._run(self._positions(group, topic, partition, offset))

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """Number of partitions of each of these topics that exists and may be seen."""
        with self._naming("cannot be asked"):
            return self._run(self._partitions(topics))

    def create(self, topics: Sequence[Topic]) -> None:
        """Makes topics that are not there."""
        with self._naming("topics cannot be made"):
            self._run(self._create(topics))

    def close(self) -> None:
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(Exception):  # what was acknowledged is safe, the rest was reported
                asyncio.run_coroutine_threadsafe(producer.stop(), loop).result(REQUEST_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(REQUEST_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T], seconds: float = 2 * REQUEST_SECONDS) -> T:
        with self._lock:
            if self._loop is None:
                loop = self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(loop,), name="kafka", daemon=True)
                self._thread.start()
            loop = self._loop
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, seconds), loop)
        return future.result()

    async def _send(self, messages: Sequence[Outgoing]) -> list[Outgoing]:
        from aiokafka.errors import MessageSizeTooLargeError

        producer = await self._started()
        refused, sent = [], []
        for message in messages:
            try:
                sent.append((message, await producer.send(
                    message.topic, message.value, message.key, message.partition, headers=list(message.headers)
                )))  # fmt: skip
            except MessageSizeTooLargeError:
                refused.append(message)
        answers = await asyncio.gather(*(future for _, future in sent), return_exceptions=True)
        for (message, _), answer in zip(sent, answers, strict=True):
            if isinstance(answer, MessageSizeTooLargeError):
                refused.append(message)
            elif isinstance(answer, BaseException):
                await self._drop_producer()  # it may hold messages that it would send late, after newer ones
                raise answer
        return refused

    async def _started(self) -> Any:
        from aiokafka import AIOKafkaProducer

        if self._producer is None:
            producer = AIOKafkaProducer(
                **connection(self._settings),
                acks="all",
                enable_idempotence=True,
                compression_type="gzip",
                max_request_size=MAX_MESSAGE_BYTES,
                request_timeout_ms=int(REQUEST_SECONDS * 1000),
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(Exception):  # it is given up anyhow
                await asyncio.wait_for(producer.stop(), 2.0)

    async def _positions(self, group: str, topic: str, partition: int, offset: int | None) -> int:
        from aiokafka import AIOKafkaConsumer, TopicPartition

        place = TopicPartition(topic, partition)
        consumer = AIOKafkaConsumer(**connection(self._settings), group_id=group, enable_auto_commit=False)
        try:
            await consumer.start()
            consumer.assign([place])
            if offset is not None:
                await consumer.commit({place: offset})
            return int(await consumer.committed(place) or 0)
        finally:
            await consumer.stop()

    async def _read(self, topic: str, partition: int, start: int) -> list[Record]:
        from aiokafka import AIOKafkaConsumer, TopicPartition

        place = TopicPartition(topic, partition)
        consumer = AIOKafkaConsumer(
            **connection(self._settings),
            group_id=None,
            enable_auto_commit=False,
            # Not by seek_to_beginning: what begins at the end may be there before it, and then reads nothing.
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
        )
        records: list[Record] = []
        try:
            await consumer.start()
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            if start > (await consumer.beginning_offsets([place]))[place]:
                consumer.seek(place, start)
            while await consumer.position(place) < end:
                for found in (await consumer.getmany(place, timeout_ms=1000)).values():
                    records += [as_record(message) for message in found if message.offset < end]
        finally:
            await consumer.stop()
        return records

    async def _ends(self, topic: str) -> dict[int, int]:
        from aiokafka import AIOKafkaConsumer, TopicPartition

        consumer = AIOKafkaConsumer(**connection(self._settings), group_id=None)
        try:
            await consumer.start()
            number = (await self._partitions([topic])).get(topic, 0)
            ends = await consumer.end_offsets([TopicPartition(topic, partition) for partition in range(number)])
            return {place.partition: offset for place, offset in ends.items()}
        finally:
            await consumer.stop()

    async def _partitions(self, topics: Sequence[str]) -> dict[str, int]:
        async with self._admin() as admin:
            known = set(await admin.list_topics()) & set(topics)
            described = await admin.describe_topics(sorted(known)) if known else []
            return {topic["topic"]: len(topic["partitions"]) for topic in described}

    async def _create(self, topics: Sequence[Topic]) -> None:
        from aiokafka.admin import NewTopic

        async with self._admin() as admin:
            copies = min(MOST_COPIES, len((await admin.describe_cluster())["brokers"]))
            new = [NewTopic(topic.name, topic.partitions, copies, topic_configs=topic.config) for topic in topics]
            answer = await admin.create_topics(new)
            for name, code, *reason in answer.topic_errors:
                if code not in (0, 36):  # 36: somebody was quicker
                    raise StoreError(
                        f"topic {name} cannot be made: {reason[0] if reason and reason[0] else f'error {code}'}"
                    )

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        from aiokafka.admin import AIOKafkaAdminClient

        admin = AIOKafkaAdminClient(**connection(self._settings))
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()

    @contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        try:
            yield
        except ImportError:
            raise SettingsError("Kafka needs the extra: pip install 'stream-triage[kafka]'") from None
        except (SettingsError, StoreError):
            raise
        except TimeoutError:
            raise StoreError(f"Kafka at {self._name} {what}: no answer in time; check that the brokers are up") from None
        except Exception as error:
            from aiokafka.errors import KafkaError

            if not isinstance(error, KafkaError | OSError | ssl.SSLError | asyncio.CancelledError):
                raise
            raise StoreError(f"Kafka at {self._name} {what}: {_reason(error)}; {_remedy(error)}") from error


def as_record(message: Any) -> Record:
    """A message of aiokafka as a record."""
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.timestamp,
        message.key,
        message.value,
        tuple(message.headers),
    )


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _remedy(error: BaseException) -> str:
    from aiokafka import errors

    known = isinstance(error, errors.AuthenticationFailedError | errors.SaslAuthenticationFailed)
    if known or "Authentication" in str(error):  # the first connection wraps it in another error
        return "check kafka.user, kafka.password and kafka.sasl_mechanism"
    if isinstance(error, errors.TopicAuthorizationFailedError | errors.ClusterAuthorizationFailedError):
        return "the user lacks a right; docs/reliability.md lists those that are needed"
    if isinstance(error, errors.UnknownTopicOrPartitionError):
        return "`stream-triage setup kafka` makes the topics"
    # A first connection that is refused does not say why.
    return "check that the brokers are up, and kafka.servers, kafka.security, kafka.user and kafka.password"
