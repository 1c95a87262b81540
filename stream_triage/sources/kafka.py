"""Messages of a Kafka topic in, through Faust; records to a handler out, and the positions it deems safe back to Kafka.

Faust keeps the consumer's thread, the membership of the group, rebalancing and the worker around it. Three of its ways are
replaced, each for what was measured (docs/reliability.md):

- it hands on message by message, four tasks each; here the handler gets all that one fetch brought;
- it acknowledges a message once an agent has seen it, even if that raised, and its list of acknowledged offsets may hold
  commits back for ever; here the handler says which positions are safe, and just those are committed;
- it takes a failed commit for done, or ends the worker; here it is tried again.
"""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import faust
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream_triage.clients.broker import MAX_MESSAGE_BYTES
from stream_triage.clients.kafka import as_record, ssl_context
from stream_triage.clock import Clock, SystemClock, retry_waits
from stream_triage.errors import StoreError, StreamTriageError
from stream_triage.ports import RecordHandler
from stream_triage.records import Record
from stream_triage.settings import KafkaSettings

__all__ = ["make_app", "run_worker"]

log = logging.getLogger(__name__)
T = TypeVar("T")

FETCH_SECONDS = 0.5
COMMIT_SECONDS = 2.0
# Of waiting before a sink is tried again.
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 5.0
# A position that is safe but not committed for so long is worth a line in the log.
COMMIT_LATE_SECONDS = 60.0
# While sinks are away nothing is fetched; that must not count as having died. Heartbeats go on in the consumer's thread.
MAX_POLL_SECONDS = 86_400.0
# How long a rebalance waits for members that do not answer; one that is left out reads its runs again, no more.
REBALANCE_SECONDS = 20.0
# Of one fetch; a rebalance waits for no more than one message of them.
MAX_POLL_RECORDS = 10_000
# Of one part of a fetch, about half a second of work.
PART_BYTES, PART_RECORDS = 1 << 19, 5_000


class _Pump:
    """The handler, for an event loop: its work is done in a thread, so that the loop goes on turning."""

    def __init__(self, handler: RecordHandler, clock: Clock, idle_seconds: float) -> None:
        self.handler = handler
        self.clock = clock
        self.tick_seconds = min(1.0, idle_seconds / 4)
        self.lock = asyncio.Lock()
        self.failure: BaseException | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="triage")

    async def call(self, step: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, step, *arguments)

    def close(self) -> None:
        self._thread.shutdown()


class _App(faust.App):
    pump: _Pump


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._told: dict[TP, _Told] = {}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """False instead of the end of the worker when it fails: the positions stay due."""
        wanted = {TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
        try:
            await self._ensure_consumer().commit(wanted)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("positions not committed, will be tried again: %s", error)
            return False
        return True

    async def set_back(self, partitions: Iterable[TP]) -> None:
        await self.call_thread(self._set_back, list(partitions))

    async def _set_back(self, partitions: Iterable[TP]) -> None:
        """To the committed positions; to the beginning where there is none, which Faust's own way would pass over."""
        consumer = self._ensure_consumer()
        for tp in partitions:
            place = TopicPartition(tp.topic, tp.partition)
            offset = await consumer.committed(place)
            if offset is None:
                await consumer.seek_to_beginning(place)
            else:
                consumer.seek(place, offset)

    async def last_ends(self, partitions: Iterable[TP], now: float) -> list[tuple[int, int, float]]:
        """Of partitions: number, where it ended when the broker last said so, and a moment at or before that.

        Every answer to a fetch says so, empty ones too. A request of its own for it can hang with the broker, and all else
        behind it. The end is 0 where all of it was read: what a transaction writes at its end is no message.
        """
        ends: list[tuple[int, int, float]] = await self.call_thread(self._last_ends, list(partitions), now)
        return ends

    async def _last_ends(self, partitions: Iterable[TP], now: float) -> list[tuple[int, int, float]]:
        consumer, ends = self._ensure_consumer(), []
        for tp in partitions:
            place = TopicPartition(tp.topic, tp.partition)
            end, told_ms = consumer.highwater(place), consumer.last_poll_timestamp(place)
            before = self._told.get(tp)
            # The machine's clock may jump: an answer with another time on it came behind the last look at it.
            moment = before.looked if before and before.told_ms != told_ms else before.moment if before else None
            self._told[tp] = _Told(told_ms, now, moment)
            if end is not None and moment is not None:
                ends.append((tp.partition, 0 if await consumer.position(place) >= end else end, moment))
        return ends


class _Told(NamedTuple):
    """What a look at a partition's last answer gave: the time on it, when that was, and a moment before the answer."""

    told_ms: int | None
    looked: float
    moment: float | None


class _Consumer(driver.Consumer):
    """Faust's consumer with our loop, our positions and our commits."""

    app: _App
    _thread: _ConsumerThread

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._committed: dict[TP, int] = {}
        self._due_since: dict[TP, float] = {}
        self._ticked = -1e9

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetches, hands on, makes durable; until the worker stops."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                records, _ = await self._wait_next_records(FETCH_SECONDS)
                # Asked behind the wait: that may last a whole rebalance, and then gives messages of the new generation.
                generation = self.app.consumer_generation_id
                if records:
                    batch = [as_record(message) for messages in records.values() for message in messages]
                    for part in _parts(batch):
                        if not await self._work(generation, self.app.pump.handler.handle, part):
                            await self._set_back(set(records))
                            break
                await self._tick(generation)
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except Exception as error:
            self.app.pump.failure = error
            await self.crash(error)

    async def _set_back(self, partitions: set[TP]) -> None:
        """Messages were fetched and not taken, since a rebalance began: they are read again from the committed positions."""
        while not self.should_stop and (assigned := partitions & self.assignment()):
            try:
                await self._thread.set_back(assigned)
                return
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("positions not read, will be tried again: %s", error)
                await self.sleep(FIRST_RETRY_SECONDS)

    async def _work(self, generation: int, step: Callable[..., None], *arguments: Any) -> bool:
        """One step of the handler, repeated flushes behind it: nothing more is taken until all of it is durable.

        False when the step was not begun, since the partitions may be another worker's by now.
        """
        pump = self.app.pump
        async with pump.lock:
            if self._outdated(generation):
                return False
            await pump.call(step, *arguments)
        for wait in retry_waits(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS):
            async with pump.lock:
                if self._outdated(generation) or await pump.call(pump.handler.flush):
                    return True
            for reason in pump.handler.errors:
                log.warning("not written yet, will be tried again: %s", reason)
            await self.sleep(wait)
        raise AssertionError("waits never end")

    def _outdated(self, generation: int) -> bool:
        """Whether these messages may belong to another worker by now."""
        return self.should_stop or not self.flow_active or self.app.consumer_generation_id != generation

    async def _tick(self, generation: int) -> None:
        pump = self.app.pump
        asked = pump.clock.monotonic()
        if asked - self._ticked < pump.tick_seconds or self._outdated(generation):
            return
        self._ticked = asked
        try:
            ends = await self._thread.last_ends(self.assignment(), asked)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("ends of partitions not known, will be asked again: %s", error)
            return

        def tick() -> None:
            for end in ends:
                pump.handler.read_up_to(*end)
            pump.handler.tick()

        await self._work(generation, tick)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commits the handler's positions, and those that failed before. `topics` says nothing here: there is one."""
        now = self.app.pump.clock.monotonic()
        due = {
            tp: position
            for tp in self.assignment()
            if (position := self.app.pump.handler.positions.get(tp.partition)) is not None
            and position > self._committed.get(tp, -1)
        }
        self._due_since = {tp: self._due_since.get(tp, now) for tp in due}
        if not due:
            return False
        late = [tp for tp, since in self._due_since.items() if now - since > COMMIT_LATE_SECONDS]
        if late:
            log.error("positions of %s were not committed for %g s", late, COMMIT_LATE_SECONDS)
        if not await self._thread.commit(due):
            return False
        self._committed.update(due)
        self._due_since.clear()
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """What is durable is committed; open runs begin anew where the partition goes."""
        await self._let_go(revoked)
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        await self._let_go(self.assignment())
        await super().on_stop()

    async def _let_go(self, partitions: Iterable[TP]) -> None:
        pump = self.app.pump
        pump.handler.interrupt()
        async with pump.lock:
            try:
                await pump.call(pump.handler.flush)
            except StreamTriageError as error:
                pump.failure = pump.failure or error
            await self.commit()
            await pump.call(pump.handler.revoke, [tp.partition for tp in partitions])
        for tp in partitions:
            self._committed.pop(tp, None)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's check for agents that hang; there are none."""


class _Transport(driver.Transport):
    Consumer: ClassVar[type[Any]] = _Consumer


def make_app(settings: KafkaSettings, handler: RecordHandler, clock: Clock | None = None) -> _App:
    """The Faust app that reads the topic for this handler; made here, never at import."""
    app = _App(
        settings.group,
        broker=[f"kafka://{server}" for server in settings.servers],
        broker_credentials=_credentials(settings),
        broker_session_timeout=settings.session_seconds,
        broker_heartbeat_interval=settings.session_seconds / 5,
        broker_request_timeout=max(60.0, 2 * settings.session_seconds),
        broker_rebalance_timeout=REBALANCE_SECONDS,
        broker_max_poll_interval=MAX_POLL_SECONDS,
        broker_commit_interval=COMMIT_SECONDS,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance,
        consumer_max_fetch_size=MAX_MESSAGE_BYTES,
        broker_max_poll_records=MAX_POLL_RECORDS,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        # Faust wants a folder for tables, of which there are none; by default it makes one wherever it is started.
        datadir=Path(tempfile.gettempdir()) / "stream-triage-faust",
        key_serializer="raw",
        value_serializer="raw",
    )
    app.pump = _Pump(handler, clock or SystemClock(), settings.idle_seconds)
    app.transport = _Transport(app.conf.broker_consumer, app)
    app.agent(app.topic(settings.topic))(_no_messages)
    return app


async def _no_messages(stream: Any) -> None:
    """An agent must be there for Faust to subscribe to the topic; its messages go another way."""
    async for _ in stream:
        raise AssertionError("messages go to the handler")


def run_worker(settings: KafkaSettings, handler: RecordHandler, clock: Clock | None = None) -> None:
    """Runs until SIGTERM, Ctrl-C or a failure, which is raised. Several workers of a group share the partitions."""
    app = make_app(settings, handler, clock)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = faust.Worker(app, loop=loop, loglevel="WARNING", quiet=True, redirect_stdouts=False)
    worker.spinner = None
    failed = False
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        failed = bool(end.code)
    finally:
        app.pump.close()
    if app.pump.failure:
        raise app.pump.failure
    if failed:
        raise StoreError(
            f"Kafka at {','.join(settings.servers)} cannot be used any more; the log above says why. Start the worker again"
        )


def _parts(records: Iterable[Record]) -> Iterator[list[Record]]:
    """What is taken before the next flush: the verdicts of runs that ended in it must not wait for all one fetch brought."""
    part: list[Record] = []
    size = 0
    for record in records:
        part.append(record)
        size += len(record.value or b"")
        if size >= PART_BYTES or len(part) >= PART_RECORDS:
            yield part
            part, size = [], 0
    if part:
        yield part


def _credentials(settings: KafkaSettings) -> Any:
    context = ssl_context(settings)
    if settings.security.startswith("SASL") and settings.password is not None:
        return faust.SASLCredentials(
            username=settings.user,
            password=settings.password.get_secret_value(),
            mechanism=settings.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context else None
