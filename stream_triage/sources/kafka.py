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
import os
import tempfile
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
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
from stream_triage.clients.fetch_watch import FetchWatch
from stream_triage.clients.kafka import as_record, as_store_error, ssl_context
from stream_triage.clock import Clock, SystemClock, retry_waits
from stream_triage.errors import ServerAway, StreamTriageError
from stream_triage.outages import Outage
from stream_triage.ports import RecordHandler, WorkerProcess
from stream_triage.records import Record
from stream_triage.settings import KafkaSettings

__all__ = ["Commits", "FetchLoop", "GroupMember", "HandlerThread", "consume", "make_app"]

log = logging.getLogger(__name__)
# Faust's services log under the name of the module that their class is in, so ours would speak for us.
FAUST_LOG = logging.getLogger("faust")
T = TypeVar("T")

# Stands for the loop among partitions, whose numbers begin with 0.
_LOOP = -1

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
# New partitions of the topic are noticed, and read, after this time at most.
METADATA_SECONDS = 30.0
# Between two looks at partitions that cannot be read yet, see `WorkerProcess.unusable`.
HOLD_SECONDS = 5.0
# Between two looks at whether the brokers answer the fetches, see `FetchWatch`.
WATCH_SECONDS = 1.0
# Of one part of a fetch, about half a second of work; each part is flushed. The verdicts of runs that ended in a part must
# not wait for all that a fetch brought.
PART_BYTES, PART_RECORDS = 1 << 19, 5_000


class _Alone:
    """A `WorkerProcess` that knows nothing and is told in vain."""

    def report(self, subject: str, trouble: str) -> None:
        pass

    def kafka_answers(self) -> bool:
        return True

    def unusable(self, partitions: Collection[int]) -> dict[int, str]:
        return {}

    def ending(self, reason: str, status: int) -> None:
        pass


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

    def assigned(self) -> Collection[int]:
        """Numbers of the assigned partitions."""

    async def hold(self, partitions: Collection[int]) -> None:
        """Fetches these no more, and all other assigned partitions again; the ones that were held begin anew."""


class FetchLoop:
    """Fetches messages, has the handler take and flush them, part by part, and ticks when there are none."""

    def __init__(self, member: GroupMember, thread: HandlerThread, process: WorkerProcess | None = None) -> None:
        self._member = member
        self._thread = thread
        self._process: WorkerProcess = process or _Alone()
        self._ticked = -math.inf
        self._writes = Outage(log, "verdicts cannot be written", "verdicts are written", thread.clock)
        self._ends = Outage(log, "the ends of partitions are not known", "the ends of partitions are known", thread.clock)
        self.fetches = 0
        """How many fetches came back."""
        self.fetching = False
        """Whether it waits for messages, and not for the handler."""
        self.held: set[int] = set()
        """Assigned partitions that cannot be read yet."""
        self._looked: tuple[int, float] = (-1, -math.inf)
        """Generation and time of the last look at them."""

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Until stopped, or until the handler raises."""
        while not stopped():
            self.fetching = True
            try:
                records = await self._member.fetch()
            finally:
                self.fetching = False
            self.fetches += 1
            # Read after the wait, which may last a whole rebalance: the messages are of the generation that is in force now.
            generation = self._member.generation
            await self._hold(generation)
            records = [record for record in records if record.partition not in self.held]
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
                    self._writes.over()
                    return True
            if not (reason := "; ".join(thread.handler.errors)):
                # Interrupted, or many runs ended at once and their verdicts come in several flushes.
                waits = retry_waits(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
                continue
            self._writes.failed(reason)
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

    async def _hold(self, generation: int) -> None:
        """Holds partitions that cannot be read yet, and lets go of those that can be by now.

        A topic of log lines that has grown is the reason: the run log has no partition for the new ones yet. Their messages
        wait in the topic, and all other partitions go on.
        """
        now, (looked_in, looked) = self._thread.clock.monotonic(), self._looked
        if generation == looked_in and (not self.held or now - looked < HOLD_SECONDS):
            return
        assigned = set(self._member.assigned())
        unusable = await self._thread.call(self._process.unusable, assigned)
        self._looked = generation, now
        held = set(unusable) & assigned
        if held != self.held or (held and generation != looked_in):  # a rebalance resumes what was held
            for reason in sorted(set(unusable.values())):
                log.warning("partitions %s are not read yet: %s", _numbers(held), reason)
            if released := self.held & assigned - held:
                log.info("partitions %s are read now", _numbers(released))
            self.held = held
            await self._member.hold(held)
        self._process.report("partitions", "; ".join(sorted(set(unusable.values()))))

    async def _tick(self, generation: int) -> None:
        """Lets the handler end silent runs, for which it needs to know where the partitions end."""
        now = self._thread.clock.monotonic()
        if now - self._ticked < self._thread.tick_seconds or self.outdated(generation):
            return
        self._ticked = now
        try:
            ends = await self._member.ends(now)
        except (KafkaError, OSError, TimeoutError) as error:
            self._ends.failed(str(error) or type(error).__name__)
            return
        self._ends.over()
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
    logger = FAUST_LOG
    handler_thread: HandlerThread
    process: WorkerProcess

    def _crash(self, reason: BaseException) -> None:
        """Called by Faust when any of its services has failed: stopping the others may hang."""
        self.process.ending(type(reason).__name__, _status(reason))
        super()._crash(reason)


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread of the Kafka consumer; methods with a leading underscore run in it, their namesakes call it."""

    logger = FAUST_LOG

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._last_looks: dict[TP, _Look] = {}
        self._partitions = 0
        """Partitions of the topic for which the group was joined."""
        self._commits = Outage(log, "positions cannot be committed", "positions are committed")

    def _create_worker_consumer(self, transport: Any) -> Any:
        """Faust's consumer, but what an aborted transaction wrote is never seen.

        Faust has no setting for it outside of its own transactions. aiokafka reads the attribute when it connects.
        """
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """False when it fails, where Faust's own would end the worker: the positions stay due.

        The consumer sends its generation with it, and the broker rejects the positions of an outdated one.
        """
        positions = {_partition(tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
        try:
            await self._ensure_consumer().commit(positions)
        except (KafkaError, OSError, TimeoutError) as error:
            self._commits.failed(str(error) or type(error).__name__)
            return False
        self._commits.over()
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

    async def rejoin_if_grown(self, assigned: Iterable[TP]) -> None:
        """Joins the group again if there are partitions that nobody may have assigned.

        A worker with `kafka.instance` that starts again gets the assignment that it had, without a rebalance (KIP-345).
        aiokafka watches the number of partitions only where it has made an assignment, so if the worker is the leader of
        the group, nobody does. A leader that joins once more makes the broker begin a rebalance; for others it changes
        nothing.
        """
        await self.call_thread(self._rejoin_if_grown, list(assigned))

    async def _rejoin_if_grown(self, assigned: Sequence[TP]) -> None:
        consumer = self._ensure_consumer()
        partitions = sum(len(consumer.partitions_for_topic(topic) or ()) for topic in consumer.subscription())
        made_here = consumer._coordinator._group_subscription is not None
        if not made_here and len(assigned) < partitions and partitions > self._partitions:
            consumer._coordinator.request_rejoin()
        self._partitions = max(partitions, self._partitions)

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

    def signs(self, partitions: Iterable[TP]) -> tuple[dict[int, Hashable], list[int]]:
        """By partition, something that changes with each response to a fetch; and which partitions have no leader.

        Without a leader there is nobody to respond, and another process would get no response either. This only reads what
        the consumer has noted, so it does not wait for its thread, which may hang.
        """
        consumer, signs, leaderless = self._consumer, dict[int, Hashable](), list[int]()
        if consumer is None:
            return signs, leaderless
        for partition in map(_partition, partitions):
            try:
                signs[partition.partition] = (consumer.last_poll_timestamp(partition), consumer.highwater(partition))
                if consumer._client.cluster.leader_for_partition(partition) in (None, -1):
                    leaderless.append(partition.partition)
            except AssertionError:  # not assigned any more
                continue
        return signs, leaderless


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

    logger = FAUST_LOG
    app: _App
    _thread: _ConsumerThread

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._commits = Commits()
        self._fetch_loop = FetchLoop(self, self.app.handler_thread, self.app.process)
        self._watch = FetchWatch()
        self._silent = False
        self._held: set[TP] = set()
        self._said_assigned: tuple[int, str] | None = None
        """Generation and partitions of the last assignment in the log."""
        self._positions = Outage(log, "committed positions cannot be read", "committed positions are read")

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

    @faust.Service.task
    async def _watch_fetches(self) -> None:
        """Ends the worker if it is assigned partitions but gets no answer to its fetches, see `FetchWatch`."""
        while not self.should_stop:
            await self.sleep(WATCH_SECONDS)
            if self._fetch_loop.fetching and not self.should_stop:
                await self._look()

    @faust.Service.task
    async def _watch_growth(self) -> None:
        """Beside `_watch_fetches`, which must not wait for the thread of the consumer."""
        while self.app.conf.consumer_group_instance_id and not self.should_stop:
            await self.sleep(WATCH_SECONDS)
            if self._fetch_loop.fetching and not self.should_stop:
                await self._thread.rejoin_if_grown(self.assignment())

    async def _look(self) -> None:
        loop, process = self._fetch_loop, self.app.process
        signs, leaderless = self._thread.signs(self.assignment())
        for number in (*loop.held, *leaderless):
            signs.pop(number, None)
        # The loop itself: a fetch comes back at least every second, or waits for a rebalance, which begins a new generation.
        watched = {**signs, _LOOP: (loop.fetches, self.generation)}
        silence = self._watch.look(watched, self.app.handler_thread.clock.monotonic(), answers=process.kafka_answers())
        process.report("leaders", f"partitions {_numbers(leaderless)} have no leader" if leaderless else "")
        if silence is None:
            if self._silent:
                log.info("messages are fetched again")
            self._silent = False
            process.report("fetch", "")
            return
        about = "nothing" if _LOOP in silence.partitions else f"nothing of partitions {_numbers(silence.partitions)}"
        reason = f"{about} is fetched for {silence.seconds:.0f} s, although the brokers answer"
        process.report("fetch", reason)
        if not self._silent:
            log.warning("%s; if it lasts, the worker ends and must be started again", reason)
        self._silent = True
        if silence.stuck:
            error = ServerAway(f"{reason}; start the worker again")
            self.app.handler_thread.failure = self.app.handler_thread.failure or error
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
                self._positions.over()
                return
            except (KafkaError, OSError, TimeoutError) as error:
                self._positions.failed(str(error) or type(error).__name__)
                await self.sleep(FIRST_RETRY_SECONDS)

    def assigned(self) -> Collection[int]:
        return [tp.partition for tp in self.assignment()]

    async def hold(self, partitions: Collection[int]) -> None:
        held = {tp for tp in self.assignment() if tp.partition in partitions}
        released = self._held & self.assignment() - held
        self._held = held
        self.pause_partitions(held)
        if released:
            # What was fetched of them meanwhile was not taken.
            await self.set_back(released)
            self.resume_partitions(released)

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
        if revoked:
            numbers = _numbers(tp.partition for tp in revoked)
            log.info("partitions given up for a rebalance: %s of %s", numbers, _topics(revoked))
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Called by Faust at the end of a rebalance."""
        numbers = _numbers(tp.partition for tp in assigned) or "none"
        if (said := (self.generation, numbers)) != self._said_assigned:  # it may be called twice for one rebalance
            self._said_assigned = said
            log.info("partitions assigned, generation %d: %s of %s", *said, _topics(assigned) or "the topic")
        await super().on_partitions_assigned(assigned, generation_id)

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


class _Worker(faust.Worker):
    """Faust's worker, whose log records go where all others go, and which tells the process that it is to end."""

    logger = FAUST_LOG
    app: _App

    def _setup_logging(self) -> None:
        """Does nothing: Faust would replace the handlers of the process by its own."""

    def _on_sigterm(self) -> None:
        self.app.process.ending("SIGTERM", 0)
        super()._on_sigterm()

    def _on_sigint(self) -> None:
        self.app.process.ending("Ctrl-C", 0)
        super()._on_sigint()


def make_app(
    settings: KafkaSettings, handler: RecordHandler, clock: Clock | None = None, process: WorkerProcess | None = None
) -> _App:
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
        consumer_metadata_max_age_ms=int(METADATA_SECONDS * 1000),
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
    app.process = process or _Alone()
    app.transport = _Transport(app.conf.broker_consumer, app)
    app.agent(app.topic(settings.topic))(_no_messages)
    return app


async def _no_messages(stream: Any) -> None:
    """An agent that gets no messages: Faust subscribes to a topic only for an agent."""
    async for _ in stream:
        raise AssertionError("messages go to the handler")


def consume(
    settings: KafkaSettings, handler: RecordHandler, clock: Clock | None = None, process: WorkerProcess | None = None
) -> None:
    """Runs until SIGTERM or Ctrl-C. Several workers of a group share the partitions.

    Raises what the handler raised, and `ServerAway` when Kafka cannot be used any more.
    """
    app = make_app(settings, handler, clock, process)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = _Worker(app, loop=loop, loglevel="WARNING", quiet=True, redirect_stdouts=False)
    worker.spinner = None
    failed = False
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        failed = bool(end.code)
    finally:
        app.handler_thread.close()
    what = f"Kafka at {','.join(settings.servers)} cannot be read any more"
    # A consumer that crashes by itself leaves its reason with one of Faust's services.
    failure = app.handler_thread.failure or (failed and (app.consumer.crash_reason or worker.crash_reason))
    if isinstance(failure, KafkaError | OSError):
        raise as_store_error(failure, what) from failure
    if app.handler_thread.failure:
        raise app.handler_thread.failure
    if failed:
        raise ServerAway(f"{what}; the log above says why")


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


def _status(error: BaseException) -> int:
    """The exit status of a process that cannot even end in order after this error: 2 if a new one would fail, too."""
    return 2 if isinstance(error, StreamTriageError) and not error.temporary else os.EX_TEMPFAIL


def _numbers(partitions: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(partitions)))


def _topics(partitions: Iterable[TP]) -> str:
    return ", ".join(sorted({tp.topic for tp in partitions}))


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
