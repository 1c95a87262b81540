"""Kafka without an event loop of the caller: messages in, whole partitions and topics out.

The only module that imports aiokafka, apart from the worker's consumer (sources/kafka.py). Errors are raised as `StoreError`
with the remedy; no message contains a password.
"""

import asyncio
import logging
import os
import re
import ssl
import threading
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Self, TypeVar

from stream_triage.clients.broker import MAX_MESSAGE_BYTES, Outgoing, Topic
from stream_triage.errors import ServerAway, SettingsError, StoreError
from stream_triage.records import Record
from stream_triage.settings import KafkaSettings

__all__ = ["KafkaBroker", "as_record", "as_store_error", "connection", "ssl_context"]

# Commands other than `worker` set up no logging, and Python would print what aiokafka logs beside our own message.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())

T = TypeVar("T")
REQUEST_SECONDS = 20.0
READ_SECONDS = 600.0
# Of a connection that is made only to learn why Kafka cannot be reached.
PROBE_SECONDS = 5.0
# For a request that a worker makes with each flush.
SHORT_SECONDS = 5.0
# Replication factor of new topics; lower in a cluster with fewer brokers.
MAX_REPLICAS = 3
# An object of aiokafka in the text of an error.
_OBJECT = re.compile(r":? <AIOKafka[^>]*>")
# Kafka's error code for a topic that exists, here because another process created it in between.
TOPIC_EXISTS = 36


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """The TLS context of a connection, None for protocols without TLS.

    Raises:
        SettingsError: A file of certificates cannot be used; the message names it.
    """
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
    """The options by which aiokafka's clients connect. Raises `SettingsError` as `ssl_context` does."""
    options: dict[str, Any] = {
        "bootstrap_servers": list(settings.servers),
        "security_protocol": settings.security,
        "ssl_context": ssl_context(settings),
    }
    if settings.security.startswith("SASL") and settings.user is not None and settings.password is not None:
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.user,
            "sasl_plain_password": settings.password.get_secret_value(),
        }
    return options


def producer_options(settings: KafkaSettings) -> dict[str, Any]:
    """The options of the producer.

    A message counts as sent when all in-sync replicas have it: with `acks=1` a verdict would be lost with the only broker
    that has it. With an idempotent producer, aiokafka's own retries neither duplicate nor reorder messages.
    """
    return {
        **connection(settings),
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": "gzip",
        "max_request_size": MAX_MESSAGE_BYTES,
        "request_timeout_ms": int(REQUEST_SECONDS * 1000),
    }


class KafkaBroker:
    """A `Broker` that connects with its first call. Threads may share it; an event loop in its own thread does the work.

    Raises `ServerAway` where trying again may help, and `StoreError` where settings, rights or topics must be changed.

    Attributes:
        call_seconds: How long a call may take, but for `read`.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self.call_seconds = 2 * REQUEST_SECONDS
        self._settings = settings
        self._name = ",".join(settings.servers)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._producer: Any = None
        self._consumer: Any = None

    def send(self, messages: Sequence[Outgoing]) -> list[Outgoing]:
        """Sends messages, in order within each partition; returns those that are too large for their topic.

        All in-sync replicas have the others by then. After `StoreError` any part of them may have been sent.
        """
        with self._raising("messages cannot be written"):
            return self._run(self._send(messages))

    def read(self, topic: str, partition: int, start: int = 0) -> list[Record]:
        """Returns all messages from offset `start` (or the first that is kept) to the end at the time of the call."""
        with self._raising(f"topic {topic} cannot be read"):
            return self._run(self._read(topic, partition, start), seconds=READ_SECONDS)

    def ends(self, topic: str) -> dict[int, int]:
        """By partition, the offset that the next message gets. Empty for an unknown topic."""
        with self._raising(f"topic {topic} cannot be read"):
            return self._run(self._ends(topic))

    def end_offsets(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """The same for these partitions, over a connection that stays open: a few milliseconds, at most `SHORT_SECONDS`."""
        with self._raising(f"topic {topic} cannot be read"):
            return self._run(self._end_offsets(topic, partitions), seconds=SHORT_SECONDS)

    def read_on(self, topic: str, starts: Mapping[int, int]) -> list[Record]:
        """Returns all messages of several partitions from these offsets on, over the connection that stays open.

        Unlike the other methods, it is for one thread at a time.
        """
        with self._raising(f"topic {topic} cannot be read"):
            return self._run(self._read_on(topic, starts))

    def committed(self, group: str, topic: str, partition: int) -> int:
        """The offset at which a consumer group continues; 0 if it has committed none."""
        with self._raising(f"offsets of group {group} cannot be read"):
            return self._run(self._group_offset(group, topic, partition, None))

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Stores the offset at which a consumer group continues."""
        with self._raising(f"offsets of group {group} cannot be written"):
            self._run(self._group_offset(group, topic, partition, offset))

    def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """Number of partitions of each of these topics; topics that are missing or not visible are left out."""
        with self._raising("its topics cannot be listed"):
            return self._run(self._partitions(topics))

    def create(self, topics: Sequence[Topic]) -> None:
        """Creates topics. Those that exist already stay as they are."""
        with self._raising("topics cannot be created"):
            self._run(self._create(topics))

    def grow(self, topic: str, partitions: int) -> None:
        """Gives a topic as many partitions; one that has as many or more stays as it is."""
        with self._raising(f"topic {topic} cannot get {partitions} partitions"):
            self._run(self._grow(topic, partitions))

    def close(self) -> None:
        """Disconnects and ends the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return
        clients = [client for client in (self._producer, self._consumer) if client is not None]
        self._producer = self._consumer = None
        for client in clients:
            with suppress(Exception):  # what was acknowledged is safe, and all other messages were reported as not sent
                asyncio.run_coroutine_threadsafe(client.stop(), loop).result(REQUEST_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(REQUEST_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        seconds = self.call_seconds if seconds is None else seconds
        with self._lock:
            if self._loop is None:
                loop = self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run_forever, args=(loop,), name="kafka", daemon=True)
                self._thread.start()
            loop = self._loop
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, seconds), loop)
        return future.result()

    async def _send(self, messages: Sequence[Outgoing]) -> list[Outgoing]:
        rejected: list[Outgoing] = []
        while messages:
            too_large, messages = await self._send_once(messages)
            rejected += too_large
        return rejected

    async def _send_once(self, messages: Sequence[Outgoing]) -> tuple[list[Outgoing], list[Outgoing]]:
        """Returns the messages that are too large, and those that must be sent again because of them."""
        from aiokafka.errors import MessageSizeTooLargeError, OutOfOrderSequenceNumber

        producer = await self._started_producer()
        await self._learn_partitions(producer, messages)
        rejected, futures = [], []
        for message in messages:
            try:
                futures.append((message, await producer.send(
                    message.topic, message.value, message.key, message.partition, headers=list(message.headers)
                )))  # fmt: skip
            except MessageSizeTooLargeError:
                rejected.append(message)
        results = await asyncio.gather(*(future for _, future in futures), return_exceptions=True)
        unsent: list[Outgoing] = []
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            await self._drop_producer()  # it may hold messages that it would send late, after newer ones
        # aiokafka numbers a message that the broker rejects, the broker does not, and takes no later one of this producer.
        out_of_step = any(isinstance(error, MessageSizeTooLargeError) for error in failed)
        for (message, _), result in zip(futures, results, strict=True):
            if isinstance(result, MessageSizeTooLargeError):
                rejected.append(message)
            elif isinstance(result, OutOfOrderSequenceNumber) and out_of_step:
                unsent.append(message)
            elif isinstance(result, BaseException):
                raise result
        return rejected, unsent

    async def _learn_partitions(self, producer: Any, messages: Sequence[Outgoing]) -> None:
        """Before a message goes to a partition that the producer does not know yet, because the topic has grown.

        It learns of new partitions every five minutes, and fails with an internal error until then.
        """
        wanted = {(message.topic, message.partition) for message in messages if message.partition is not None}
        for topic in sorted({topic for topic, _ in wanted}):
            missing = {partition for name, partition in wanted if name == topic}
            if missing - await producer.partitions_for(topic):
                await producer.client.force_metadata_update()
                if missing := missing - await producer.partitions_for(topic):
                    raise ServerAway(
                        f"topic {topic} at {self._name} has no partition {min(missing)} yet; `stream-triage setup kafka` "
                        "adds the partitions that are missing"
                    )

    async def _started_producer(self) -> Any:
        from aiokafka import AIOKafkaProducer

        if self._producer is None:
            producer = AIOKafkaProducer(**producer_options(self._settings))
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
            with suppress(Exception):  # nothing depends on it any more
                await asyncio.wait_for(producer.stop(), 2.0)

    async def _group_offset(self, group: str, topic: str, partition: int, offset: int | None) -> int:
        """Commits `offset`, if there is one; returns what is committed then."""
        from aiokafka import AIOKafkaConsumer, TopicPartition

        assigned = TopicPartition(topic, partition)
        consumer = AIOKafkaConsumer(**connection(self._settings), group_id=group, enable_auto_commit=False)
        try:
            await consumer.start()
            consumer.assign([assigned])
            if offset is not None:
                await consumer.commit({assigned: offset})
            return int(await consumer.committed(assigned) or 0)
        finally:
            await consumer.stop()

    async def _read(self, topic: str, partition: int, start: int) -> list[Record]:
        from aiokafka import AIOKafkaConsumer, TopicPartition

        assigned = TopicPartition(topic, partition)
        consumer = AIOKafkaConsumer(
            **connection(self._settings),
            group_id=None,
            enable_auto_commit=False,
            # Not seek_to_beginning: a consumer that starts at the end can get there before the seek, and reads nothing.
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
            # With it, the end is also that of what is committed, so reading does not wait for open transactions.
            isolation_level="read_committed",
        )
        records: list[Record] = []
        try:
            await consumer.start()
            consumer.assign([assigned])
            end = (await consumer.end_offsets([assigned]))[assigned]
            if start > (await consumer.beginning_offsets([assigned]))[assigned]:
                consumer.seek(assigned, start)
            # By position, not by the last record: compaction and transactions leave offsets without a message.
            while await consumer.position(assigned) < end:
                for batch in (await consumer.getmany(assigned, timeout_ms=1000)).values():
                    records += [as_record(message) for message in batch if message.offset < end]
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
            return {assigned.partition: offset for assigned, offset in ends.items()}
        finally:
            await consumer.stop()

    async def _end_offsets(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        from aiokafka import TopicPartition

        consumer = await self._started_consumer()
        ends = await consumer.end_offsets([TopicPartition(topic, partition) for partition in partitions])
        return {assigned.partition: offset for assigned, offset in ends.items()}

    async def _read_on(self, topic: str, starts: Mapping[int, int]) -> list[Record]:
        from aiokafka import TopicPartition

        consumer = await self._started_consumer()
        assigned = {TopicPartition(topic, partition): start for partition, start in starts.items()}
        records: list[Record] = []
        consumer.assign(list(assigned))
        try:
            ends = await consumer.end_offsets(list(assigned))
            for partition, start in assigned.items():
                consumer.seek(partition, start)
            behind = [partition for partition, start in assigned.items() if start < ends[partition]]
            while behind:
                for partition, batch in (await consumer.getmany(*behind, timeout_ms=1000)).items():
                    records += [as_record(message) for message in batch if message.offset < ends[partition]]
                behind = [partition for partition in behind if await consumer.position(partition) < ends[partition]]
        finally:
            consumer.unsubscribe()  # or it would go on fetching
        return records

    async def _started_consumer(self) -> Any:
        from aiokafka import AIOKafkaConsumer

        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **connection(self._settings),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
            )
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer

    async def _partitions(self, topics: Sequence[str]) -> dict[str, int]:
        async with self._admin() as admin:
            known = set(await admin.list_topics()) & set(topics)
            described = await admin.describe_topics(sorted(known)) if known else []
            return {topic["topic"]: len(topic["partitions"]) for topic in described}

    async def _create(self, topics: Sequence[Topic]) -> None:
        from aiokafka.admin import NewTopic

        async with self._admin() as admin:
            replicas = min(MAX_REPLICAS, len((await admin.describe_cluster())["brokers"]))
            new = [NewTopic(topic.name, topic.partitions, replicas, topic_configs=topic.config) for topic in topics]
            response = await admin.create_topics(new)
            for name, code, *reason in response.topic_errors:
                if code not in (0, TOPIC_EXISTS):
                    raise StoreError(
                        f"topic {name} cannot be created: {reason[0] if reason and reason[0] else f'error {code}'}"
                    )

    async def _grow(self, topic: str, partitions: int) -> None:
        from aiokafka.admin import NewPartitions

        if (await self._partitions([topic])).get(topic, partitions) >= partitions:
            return
        async with self._admin() as admin:
            await admin.create_partitions({topic: NewPartitions(partitions)})

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        from aiokafka.admin import AIOKafkaAdminClient

        timeout = {"request_timeout_ms": int(min(self.call_seconds, 2 * REQUEST_SECONDS) * 1000)}
        admin = AIOKafkaAdminClient(**connection(self._settings), **timeout)
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()

    @contextmanager
    def _raising(self, what: str) -> Iterator[None]:
        """Turns the errors of aiokafka into ours."""
        try:
            yield
        except ImportError:
            raise SettingsError("Kafka needs the extra: pip install 'stream-triage[kafka]'") from None
        except (SettingsError, StoreError):
            raise
        except TimeoutError:
            raise ServerAway(f"Kafka at {self._name}: {what}: no response in time; check that the brokers are up") from None
        except Exception as error:
            from aiokafka.errors import KafkaConnectionError, KafkaError

            if not isinstance(error, KafkaError | OSError | ssl.SSLError | asyncio.CancelledError):
                raise
            cause: BaseException = error
            if isinstance(error, KafkaConnectionError) and self._loop is not None:
                cause = self._why_unreachable() or error
            raise as_store_error(cause, f"Kafka at {self._name}: {what}") from error

    def _why_unreachable(self) -> BaseException | None:
        """Why no server can be connected to: aiokafka's clients only log it. None if one can be by now."""
        try:
            return self._run(self._probe(), seconds=2 * PROBE_SECONDS)
        except Exception:  # what is known already must do
            return None

    async def _probe(self) -> BaseException | None:
        from aiokafka.conn import create_conn

        options = connection(self._settings)
        reason: BaseException | None = None
        for server in options.pop("bootstrap_servers"):
            host, _, port = server.rpartition(":")
            host = host.removeprefix("[").removesuffix("]")
            try:
                made = await create_conn(host, int(port), request_timeout_ms=int(PROBE_SECONDS * 1000), **options)
            except Exception as error:  # each kind is told apart by `_lasts`
                if reason is None or _lasts(error):
                    reason = error
            else:
                made.close()
                return None
        return reason


def as_store_error(error: BaseException, what: str) -> StoreError:
    """An error of aiokafka as one of ours, with the remedy: `ServerAway` if trying again may help."""
    kind = StoreError if _lasts(error) else ServerAway
    return kind(f"{what}: {_reason(error)}; {_remedy(error)}")


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


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _reason(error: BaseException) -> str:
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio writes "Connect call failed" and the address
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return _OBJECT.sub("", str(error)) or type(error).__name__


def _lasts(error: BaseException) -> bool:
    """Whether trying again is of no use before somebody changes settings, rights or topics."""
    from aiokafka import errors

    if isinstance(error, ssl.SSLError):
        # A broker that goes away in the middle of a handshake, or one that is not ready for it yet.
        return not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)
    lasting = (
        errors.AuthenticationFailedError,
        errors.SaslAuthenticationFailed,
        errors.UnsupportedSaslMechanismError,
        errors.IllegalSaslStateError,
        errors.TopicAuthorizationFailedError,
        errors.GroupAuthorizationFailedError,
        errors.ClusterAuthorizationFailedError,
        errors.TransactionalIdAuthorizationFailed,
        errors.UnknownTopicOrPartitionError,
        errors.InvalidTopicError,
    )
    return isinstance(error, lasting)


def _remedy(error: BaseException) -> str:
    from aiokafka import errors

    if isinstance(error, errors.IllegalSaslStateError):
        return "the broker expects no user and password; check kafka.security"
    mechanism = errors.UnsupportedSaslMechanismError
    if isinstance(error, errors.AuthenticationFailedError | errors.SaslAuthenticationFailed | mechanism):
        return "check kafka.user, kafka.password and kafka.sasl_mechanism"
    if isinstance(error, ssl.SSLError):
        return "check kafka.security, kafka.ca_file, and that kafka.servers has the names in the certificate"
    topics, groups = errors.TopicAuthorizationFailedError, errors.GroupAuthorizationFailedError
    if isinstance(error, topics | groups | errors.ClusterAuthorizationFailedError):
        return "the user lacks a right; docs/reliability.md lists the rights that are needed"
    if isinstance(error, errors.UnknownTopicOrPartitionError):
        return "`stream-triage setup kafka` creates the topics"
    return "check that the brokers are up, and kafka.servers and kafka.security"
