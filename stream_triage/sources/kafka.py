"""Messages of a Kafka topic in, through Faust; records to a handler out, and the positions it calls durable back to Kafka.

`FetchLoop` and `Commits` decide what is taken and what is committed. They know nothing of Faust; tests drive them without
a broker. The rest of the file connects them to Faust, which keeps the consumer's thread, the membership of the group,
rebalancing and the process around it. Three of its habits are replaced, because of what they caused (docs/reliability.md):

- It passes on message by message, in four tasks each. Here the handler gets all that one fetch brought.
- It acknowledges a message once an agent has seen it, even if that raised, and its list of acknowledged offsets may hold
  commits back for ever. Here the handler says which positions are durable, and exactly those are committed.
- It takes a failed commit for done, or ends the worker. Here it is tried again.

**Generations.** Kafka numbers the assignments of partitions to workers; each rebalance begins a new generation. Messages
that were fetched in an earlier one may be another worker's by now. If they were taken all the same, two workers would judge
the same runs, and a revoked partition would come back to life here with the middle of its runs. So a step of the handler
begins only in the generation in which its messages were fetched.
"""

import asyncio
import logging
import math
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

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

__all__ = ["Commits", "FetchLoop", "GroupMember", "HandlerThread", "consume", "make_app"]

log = logging.getLogger(__name__)
T = TypeVar("T")

# The longest wait of one fetch, and so between two ticks.
FETCH_SECONDS = 0.5
# Between commits: after a crash, about this much is read again.
COMMIT_SECONDS = 2.0
# Before a failed flush is tried again.
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.2, 5.0
# A position that is durable but not committed for so long is an error in the log: a restart would read much again.
COMMIT_LATE_SECONDS = 60.0
# While a sink is away nothing is fetched, for as long as it takes. Kafka must not take that for a dead worker and give its
# partitions to another, which would meet the same sink. Heartbeats, from the consumer's thread, still show a real death.
MAX_POLL_SECONDS = 86_400.0
# How long a rebalance waits for members that do not answer. A member that is left out reads its runs again, no more.
REBALANCE_SECONDS = 20.0
# Messages of one fetch. A rebalance interrupts the handler before its next message, so it need not wait for all of them.
MAX_POLL_RECORDS = 10_000
# Of one part of a fetch, about half a second of work; each part is flushed. The verdicts of runs that ended in a part must
# not wait for all that a fetch brought.
PART_BYTES, PART_RECORDS = 1 << 19, 5_000


class HandlerThread:
    """Runs the steps of the handler in a thread of their own, so that the event loop goes on while models and sinks work.

    Who calls the handler holds `lock`: steps of the loop and the end of a generation must not overlap.
    """

    def __init__(self, handler: RecordHandler, clock: Clock, idle_seconds: float) -> None:
        self.handler = handler
        self.clock = clock
        # Often enough that a run ends soon after its idle time.
        self.tick_seconds = min(1.0, idle_seconds / 4)
        self.lock = asyncio.Lock()
        self.failure: BaseException | None = None
        """What ended the worker; raised by `consume`, since Faust only logs it."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="triage")

    async def call(self, step: Callable[..., T], *arguments: Any) -> T:
        """Runs a step in the thread and returns its result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, step, *arguments)

    def close(self) -> None:
        """Ends the thread, after the step that it is running."""
        self._thread.shutdown()


class GroupMember(Protocol):
    """What `FetchLoop` needs of a consumer in a group. Faust's consumer is one; tests have another."""

    @property
    def generation(self) -> int:
        """Number of the assignment of partitions in force."""

    @property
    def active(self) -> bool:
        """False while a rebalance is under way, and when the worker stops."""

    async def fetch(self) -> list[Record]:
        """Messages of the assigned partitions, each partition's in order; none if none come in `FETCH_SECONDS`.

        Waits while a rebalance is under way, and then brings messages of the new generation.
        """

    async def set_back(self, partitions: Collection[TP]) -> None:
        """Fetches from the committed positions again, in those of the partitions that are still assigned."""

    async def ends(self, now: float) -> list[tuple[int, int, float]]:
        """Of assigned partitions: number, end, and a time at which this was the end. See `RecordHandler.read_up_to`."""

    async def sleep(self, seconds: float) -> None:
        """Waits, or until the worker stops."""


class FetchLoop:
    """Fetches messages, has the handler take and flush them, part by part, and ticks when there are none."""

    def __init__(self, member: GroupMember, thread: HandlerThread) -> None:
        self._member = member
        self._thread = thread
        self._ticked = -math.inf

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Until stopped, or until the handler raises."""
        while not stopped():
            records = await self._member.fetch()
            # Read after the wait, which may last a whole rebalance: the messages are of the generation that is in force now.
            generation = self._member.generation
            for part in _parts(records):
                if not await self.step(generation, self._thread.handler.handle, part):
                    # A rebalance began. The consumer counts what it has fetched as read: without setting it back, the
                    # messages would be lost to this worker if it keeps the partition.
                    await self._member.set_back({TP(record.topic, record.partition) for record in records})
                    break
            await self._tick(generation)

    async def step(self, generation: int, step: Callable[..., None], *arguments: Any) -> bool:
        """Runs a step of the handler and flushes until it succeeds: nothing more is taken before all of it is durable.

        False if the step was not begun, because the messages may belong to another worker by now. If that happens while a
        flush is tried again, the flush is left to `end_generation`, and what it cannot write to the next owner.
        """
        thread = self._thread
        async with thread.lock:
            if self.outdated(generation):
                return False
            await thread.call(step, *arguments)
        waits = retry_waits(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        while True:
            async with thread.lock:  # not held while it waits, or a rebalance would wait for the sinks too
                if self.outdated(generation) or await thread.call(thread.handler.flush):
                    return True
            if not thread.handler.errors:  # many runs ended at once, and their verdicts come in several flushes
                waits = retry_waits(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
                continue
            for reason in thread.handler.errors:
                log.warning("not written yet, will be tried again: %s", reason)
            await self._member.sleep(next(waits))

    def outdated(self, generation: int) -> bool:
        """Whether messages that were fetched in this generation may belong to another worker by now."""
        return not self._member.active or self._member.generation != generation

    async def end_generation(self, partitions: Iterable[int], commit: Callable[[], Awaitable[Any]]) -> None:
        """Before these partitions go to other workers: what is durable is committed, and the handler forgets them.

        Open runs begin again where the partitions go. Nothing of the handler runs meanwhile: a step in progress is
        interrupted before its next message and waited for.
        """
        thread = self._thread
        thread.handler.interrupt()
        async with thread.lock:
            try:
                await thread.call(thread.handler.flush)
            except StreamTriageError as error:
                thread.failure = thread.failure or error
            # Before `revoke`: afterwards the handler has no position for these partitions.
            await commit()
            await thread.call(thread.handler.revoke, list(partitions))

    async def _tick(self, generation: int) -> None:
        """Lets the handler end silent runs, for which it needs to know where the partitions end."""
        now = self._thread.clock.monotonic()
        if now - self._ticked < self._thread.tick_seconds or self.outdated(generation):
            return
        self._ticked = now
        try:
            ends = await self._member.ends(now)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("the ends of partitions are not known, will be asked again: %s", error)
            return
        handler = self._thread.handler

        def tick() -> None:
            for end in ends:
                handler.read_up_to(*end)
            handler.tick()

        await self.step(generation, tick)


class Commits:
    """Which positions are to be committed: durable ones of assigned partitions, above what was committed last."""

    def __init__(self) -> None:
        self._committed: dict[TP, int] = {}
        self._due_since: dict[TP, float] = {}
        self._logged: set[TP] = set()
        """Partitions that were logged as late and have not been committed since."""

    def due(self, assigned: Iterable[TP], positions: Mapping[int, int], now: float) -> dict[TP, int]:
        """Positions to commit, by partition. Logs those that have been due for long, once until they are committed."""
        due = {
            tp: position
            for tp in assigned
            if (position := positions.get(tp.partition)) is not None and position > self._committed.get(tp, -1)
        }
        self._due_since = {tp: self._due_since.get(tp, now) for tp in due}
        late = [tp for tp, since in self._due_since.items() if now - since > COMMIT_LATE_SECONDS and tp not in self._logged]
        if late:
            self._logged.update(late)
            log.error("positions of %s were not committed for %g s", late, COMMIT_LATE_SECONDS)
        return due

    def done(self, committed: Mapping[TP, int]) -> None:
        """These were committed. Only a commit that succeeded counts; others stay due."""
        self._committed.update(committed)
        self._due_since.clear()
        self._logged.difference_update(committed)

    def forget(self, partitions: Iterable[TP]) -> None:
        """These go to another worker. When they come back, they may be committed from an earlier position on."""
        for tp in partitions:
            self._committed.pop(tp, None)
            self._logged.discard(tp)


class _App(faust.App):
    handler_thread: HandlerThread


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread of the Kafka consumer; methods with a leading underscore run in it, their namesakes call it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._last_looks: dict[TP, _Look] = {}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """False when it fails, where Faust's own would end the worker: the positions stay due.

        The consumer sends its generation with it, and the broker rejects the positions of an outdated one.
        """
        positions = {_partition(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
        try:
            await self._ensure_consumer().commit(positions)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("positions not committed, will be tried again: %s", error)
            return False
        return True

    async def set_back(self, partitions: Iterable[TP]) -> None:
        """Fetches from the committed positions again; from the beginning where there is none.

        Faust's own way skips partitions without a committed position, and their messages would be lost.
        """
        await self.call_thread(self._set_back, list(partitions))

    async def _set_back(self, partitions: Iterable[TP]) -> None:
        consumer = self._ensure_consumer()
        for partition in map(_partition, partitions):
            offset = await consumer.committed(partition)
            if offset is None:
                await consumer.seek_to_beginning(partition)
            else:
                consumer.seek(partition, offset)

    async def last_ends(self, partitions: Iterable[TP], now: float) -> list[tuple[int, int, float]]:
        """Of partitions: number, the end that the broker last reported, and a time before that report, by our clock.

        Every response to a fetch reports the end, empty ones too. A request of its own for the end can hang with a broker
        that does not answer, and everything else behind it. The end is given as 0 where all was read: what a transaction
        writes at the end of a partition is not a message, so the end would never be reached.
        """
        ends: list[tuple[int, int, float]] = await self.call_thread(self._last_ends, list(partitions), now)
        return ends

    async def _last_ends(self, partitions: Iterable[TP], now: float) -> list[tuple[int, int, float]]:
        consumer, ends = self._ensure_consumer(), []
        for tp in partitions:
            partition = _partition(tp)
            end, response_ms = consumer.highwater(partition), consumer.last_poll_timestamp(partition)
            look = _Look.after(self._last_looks.get(tp), response_ms, now)
            self._last_looks[tp] = look
            if end is not None and look.before_response is not None:
                read_all = await consumer.position(partition) >= end
                ends.append((tp.partition, 0 if read_all else end, look.before_response))
        return ends


class _Look(NamedTuple):
    """A look at the last response for a partition."""

    response_ms: int | None
    """The time of the response by the machine's clock, which may jump: it only tells responses apart."""
    time: float
    """When the look was, by a clock that never jumps."""
    before_response: float | None
    """A time before the response; None while only one response was seen, which may be older than any look."""

    @classmethod
    def after(cls, last: "_Look | None", response_ms: int | None, now: float) -> "_Look":
        """The look at `now`. A response that was not there at the last look came after it.

        >>> first = _Look.after(None, 1000, 5.0)
        >>> second = _Look.after(first, 1000, 6.0)
        >>> [look.before_response for look in (first, second, _Look.after(second, 990, 7.0))]
        [None, None, 6.0]
        """
        if last is None:
            return cls(response_ms, now, None)
        new = response_ms != last.response_ms
        return cls(response_ms, now, last.time if new else last.before_response)


class _Consumer(driver.Consumer):
    """Faust's consumer with our loop, our positions and our commits: a `GroupMember`."""

    app: _App
    _thread: _ConsumerThread

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._commits = Commits()
        self._fetch_loop = FetchLoop(self, self.app.handler_thread)

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Called by Faust once, to read until the worker stops."""
        try:
            await self._fetch_loop.run(lambda: self.should_stop or fetcher.should_stop)
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except Exception as error:
            self.app.handler_thread.failure = error
            await self.crash(error)

    @property
    def generation(self) -> int:
        return int(self.app.consumer_generation_id)

    @property
    def active(self) -> bool:
        return self.flow_active and not self.should_stop

    async def fetch(self) -> list[Record]:
        records, _ = await self._wait_next_records(FETCH_SECONDS)
        return [as_record(message) for messages in (records or {}).values() for message in messages]

    async def set_back(self, partitions: Collection[TP]) -> None:
        while not self.should_stop and (assigned := set(partitions) & self.assignment()):
            try:
                await self._thread.set_back(assigned)
                return
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("positions not read, will be tried again: %s", error)
                await self.sleep(FIRST_RETRY_SECONDS)

    async def ends(self, now: float) -> list[tuple[int, int, float]]:
        return await self._thread.last_ends(self.assignment(), now)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Called by Faust every `COMMIT_SECONDS`. `topics` is ignored: there is one."""
        thread = self.app.handler_thread
        due = self._commits.due(self.assignment(), thread.handler.positions, thread.clock.monotonic())
        if not due or not await self._thread.commit(due):
            return False
        self._commits.done(due)
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Called by Faust at the start of a rebalance, before other workers get the partitions."""
        await self._end_generation(revoked)
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """Called by Faust when the worker stops; the next one need not read again what is durable now."""
        await self._end_generation(self.assignment())
        await super().on_stop()

    async def _end_generation(self, partitions: Collection[TP]) -> None:
        # Not Faust's `commit`, which commits nothing if another commit is in flight: that one has older positions.
        await self._fetch_loop.end_generation([tp.partition for tp in partitions], self.force_commit)
        self._commits.forget(partitions)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Does nothing: Faust looks for agents that hang, and there are none."""


class _Transport(driver.Transport):
    Consumer: ClassVar[type[Any]] = _Consumer


def make_app(settings: KafkaSettings, handler: RecordHandler, clock: Clock | None = None) -> _App:
    """The Faust app that reads the topic for this handler; made here, never at import."""
    app = _App(
        settings.group,
        broker=[f"kafka://{server}" for server in settings.servers],
        broker_credentials=_credentials(settings),
        broker_session_timeout=settings.session_seconds,
        # Several heartbeats may be lost or late before Kafka takes the worker for dead.
        broker_heartbeat_interval=settings.session_seconds / 5,
        # Faust rejects one below the session time. 60 s at least: brokers answer a request to join only when all members
        # have joined, or after `REBALANCE_SECONDS`.
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
    app.handler_thread = HandlerThread(handler, clock or SystemClock(), settings.idle_seconds)
    app.transport = _Transport(app.conf.broker_consumer, app)
    app.agent(app.topic(settings.topic))(_no_messages)
    return app


async def _no_messages(stream: Any) -> None:
    """An agent that gets no messages: Faust subscribes to a topic only for an agent."""
    async for _ in stream:
        raise AssertionError("messages go to the handler")


def consume(settings: KafkaSettings, handler: RecordHandler, clock: Clock | None = None) -> None:
    """Runs until SIGTERM or Ctrl-C. Several workers of a group share the partitions.

    Raises what the handler raised, and `StoreError` when Kafka cannot be used any more.
    """
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
        app.handler_thread.close()
    if app.handler_thread.failure:
        raise app.handler_thread.failure
    if failed:
        raise StoreError(
            f"Kafka at {','.join(settings.servers)} cannot be used any more; the log above says why. Start the worker again"
        )


def _parts(records: Iterable[Record]) -> Iterator[list[Record]]:
    """The messages of a fetch in parts, in order."""
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


def _partition(tp: TP) -> TopicPartition:
    return TopicPartition(tp.topic, tp.partition)


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
