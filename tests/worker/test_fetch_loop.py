"""The loop of a worker over a group that rebalances, without a broker: nothing of an outdated generation is taken."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator

import aiokafka
import pytest
from faust.types import TP

from stream_triage.clock import FakeClock
from stream_triage.errors import InputError, ServerAway, StoreError
from stream_triage.records import Record
from stream_triage.settings import KafkaSettings
from stream_triage.sources import kafka
from stream_triage.sources.kafka import Commits, FetchLoop, HandlerThread, make_app


def record(offset: int, partition: int = 0, size: int = 1) -> Record:
    return Record("logs", partition, offset, 0, b"run", b"x" * size)


class Member:
    """A member of a group whose fetches and rebalances a test lays down; it stops when there are no more fetches."""

    def __init__(self, *fetches: list[Record] | Callable[[], list[Record]]) -> None:
        self.generation, self.active = 1, True
        self.log: list[str] = []
        self._fetches = list(fetches)
        self.end: tuple[int, int, float] | Exception = (0, 7, 1.5)

    def rebalance(self) -> None:
        self.generation += 1

    def stopped(self) -> bool:
        return not self._fetches

    async def fetch(self) -> list[Record]:
        fetch = self._fetches.pop(0)
        return fetch() if callable(fetch) else fetch

    async def set_back(self, partitions: Collection[TP]) -> None:
        self.log.append(f"set back {sorted(tp.partition for tp in partitions)}")

    async def ends(self, now: float) -> list[tuple[int, int, float]]:
        if isinstance(self.end, Exception):
            raise self.end
        return [self.end]

    async def sleep(self, seconds: float) -> None:
        self.log.append("sleep")
        await asyncio.sleep(0)

    def assigned(self) -> Collection[int]:
        return [0, 1]

    async def hold(self, partitions: Collection[int]) -> None:
        self.log.append(f"hold {sorted(partitions)}")


class Handler:
    """Notes its steps in the member's log; a test hangs what happens meanwhile on them."""

    def __init__(self, member: Member) -> None:
        self._log = member.log
        self.positions: dict[int, int] = {}
        self.errors = ["the disk is full"]
        self.flushes: list[bool | Exception] = []
        self.on_handle: Callable[[], None] = lambda: None
        self.on_flush: Callable[[], None] = lambda: None

    def handle(self, records: Iterable[Record]) -> None:
        self._log.append("take " + " ".join(str(record.offset) for record in records))
        self.on_handle()

    def read_up_to(self, partition: int, end_offset: int, asked: float) -> None:
        self._log.append(f"end of {partition} was {end_offset} at {asked}")

    def tick(self) -> None:
        self._log.append("tick")

    def flush(self) -> bool:
        self._log.append("flush")
        self.on_flush()
        result = self.flushes.pop(0) if self.flushes else True
        if isinstance(result, Exception):
            raise result
        return result

    def revoke(self, partitions: Iterable[int]) -> None:
        self._log.append(f"revoke {list(partitions)}")

    def interrupt(self) -> None:
        self._log.append("interrupt")


class Process:
    """A process whose run log lacks the partitions in `lacking`, and which remembers what it is told."""

    def __init__(self) -> None:
        self.lacking: set[int] = set()
        self.answers = True
        self.reported: dict[str, str] = {}
        self.ends: list[tuple[str, int]] = []

    def report(self, subject: str, trouble: str) -> None:
        self.reported[subject] = trouble

    def kafka_answers(self) -> bool:
        return self.answers

    def unusable(self, partitions: Collection[int]) -> dict[int, str]:
        return dict.fromkeys(self.lacking & set(partitions), "run `stream-triage setup kafka`")

    def ending(self, reason: str, status: int) -> None:
        self.ends.append((reason, status))


class Setting:
    """A loop over a member and a handler. Ticks are far apart unless a test wants them."""

    def __init__(self, *fetches: list[Record] | Callable[[], list[Record]], ticks: bool = False) -> None:
        self.member = Member(*fetches)
        self.handler = Handler(self.member)
        self.clock, self.process = FakeClock(), Process()
        self.thread = HandlerThread(self.handler, self.clock, 300.0)
        self.loop = FetchLoop(self.member, self.thread, self.process)
        if not ticks:
            self.loop._ticked = 1e9

    def run(self, work: Callable[[], Awaitable[object]] | None = None) -> list[str]:
        async def all_of_it() -> None:
            await (work() if work else self.loop.run(self.member.stopped))

        try:
            asyncio.run(all_of_it())
        finally:
            self.thread.close()
        return self.member.log


@pytest.fixture
def parts_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "PART_RECORDS", 2)


@pytest.mark.usefixtures("parts_of_two")
def test_each_part_of_a_fetch_is_durable_before_the_next():
    assert Setting([record(n) for n in range(5)]).run() == [
        "take 0 1", "flush", "take 2 3", "flush", "take 4", "flush"
    ]  # fmt: skip


def test_large_messages_make_small_parts(monkeypatch: pytest.MonkeyPatch):
    """Verdicts do not wait until all of a large fetch is taken."""
    monkeypatch.setattr(kafka, "PART_BYTES", 10)
    assert Setting([record(n, size=5) for n in range(3)]).run() == ["take 0 1", "flush", "take 2", "flush"]


def test_nothing_is_taken_until_a_failed_flush_succeeds(caplog: pytest.LogCaptureFixture):
    """It is tried again for as long as it takes, and the log says why, and when it succeeds."""
    setting = Setting([record(0)], [record(1)])
    setting.handler.flushes = [False, False, True]
    assert setting.run() == ["take 0", "flush", "sleep", "flush", "sleep", "flush", "take 1", "flush"]
    assert [line.getMessage() for line in caplog.records] == [
        "verdicts cannot be written: the disk is full; will be tried again",
        "verdicts are written again, after 0 s and 2 failed tries",
    ]


def test_a_flush_that_is_not_done_goes_on_at_once(caplog: pytest.LogCaptureFixture):
    """When many runs ended together, each flush writes a part of them: that is no failure, and nothing waits."""
    setting = Setting([record(0)], [record(1)])
    setting.handler.flushes = [False, False, True]
    setting.handler.errors = []
    assert setting.run() == ["take 0", "flush", "flush", "flush", "take 1", "flush"]
    assert caplog.text == ""


def test_the_end_of_a_generation_comes_between_two_flushes():
    """Hundreds of flushes may follow each other; a rebalance, or SIGTERM, waits for one of them."""
    setting = Setting([record(0)])
    setting.handler.flushes, setting.handler.errors = [False] * 1000, []

    async def work() -> None:
        loop = asyncio.create_task(setting.loop.run(setting.member.stopped))
        while setting.member.log.count("flush") < 3:
            await asyncio.sleep(0.001)
        before = setting.member.log.count("flush")
        setting.member.rebalance()
        await setting.loop.end_generation([0], _nothing)
        assert setting.member.log.count("flush") - before <= 3
        await loop

    log = setting.run(work)
    assert log[-1] == "revoke [0]"


async def _nothing() -> None: ...


@pytest.mark.usefixtures("parts_of_two")
def test_rest_of_a_fetch_is_not_taken_after_a_rebalance():
    """The partition may be another worker's; if it is not, its messages are fetched again."""
    setting = Setting([record(0), record(1), record(2, partition=1)], [record(1)])
    setting.handler.on_handle = setting.member.rebalance
    assert setting.run() == ["take 0 1", "set back [0, 1]", "take 1"]


@pytest.mark.usefixtures("parts_of_two")
def test_rest_of_a_fetch_is_not_taken_while_a_rebalance_is_under_way():
    """From its first moment on: the generation changes only at its end."""
    setting = Setting([record(n) for n in range(3)])

    def begin() -> None:
        setting.member.active = False

    setting.handler.on_flush = begin
    assert setting.run() == ["take 0 1", "flush", "set back [0]"]


def test_messages_that_come_after_a_rebalance_belong_to_the_new_generation():
    """The fetch waits until the rebalance is over; its messages are taken."""

    def rebalance() -> list[Record]:
        setting.member.rebalance()
        return [record(3)]

    setting = Setting(rebalance)
    assert setting.run() == ["take 3", "flush"]


def test_a_flush_is_not_tried_again_in_another_generation():
    """What could not be written is the next owner's to judge; the loop must not stop at it for ever."""
    setting = Setting([record(0)], [record(7)])
    setting.handler.flushes = [False]
    setting.handler.on_flush = lambda: setting.member.rebalance() if setting.handler.flushes else None
    assert setting.run() == ["take 0", "flush", "sleep", "take 7", "flush"]


def test_step_of_an_outdated_generation_is_not_begun():
    """The decision by itself: an equal generation works, a lower or higher one does not, an inactive member neither."""
    setting = Setting()
    setting.member.generation = 5
    assert [setting.loop.outdated(generation) for generation in (4, 5, 6)] == [True, False, True]
    setting.member.active = False
    assert setting.loop.outdated(5)


def test_tick_learns_the_ends_of_partitions_first():
    assert Setting([], ticks=True).run() == ["end of 0 was 7 at 1.5", "tick", "flush"]


@pytest.mark.parametrize("error", [OSError("no route"), TimeoutError()])
def test_without_the_ends_nothing_is_called_silent(error: Exception, caplog: pytest.LogCaptureFixture):
    """The broker is asked again a tick later."""
    setting = Setting([], ticks=True)
    setting.member.end = error
    assert setting.run() == []
    assert "the ends of partitions are not known" in caplog.text
    assert "will be tried again" in caplog.text


def test_ticks_are_a_second_apart():
    setting = Setting([], [], ticks=True)
    assert setting.run().count("tick") == 1


def test_no_tick_in_an_outdated_generation():
    """A run of a revoked partition would end by silence here while its messages come elsewhere."""
    setting = Setting([record(0)], ticks=True)
    setting.handler.on_handle = setting.member.rebalance
    assert setting.run() == ["take 0"]


class TestTopicThatHasGrown:
    """The run log has no partition yet for a new one of the topic, so nobody can tell which of its runs have ended."""

    def test_other_partitions_go_on(self, caplog: pytest.LogCaptureFixture):
        """Messages of the new one are not taken; the log and `/ready` say what to do."""
        setting = Setting([record(0), record(0, partition=1)], [record(1), record(1, partition=1)])
        setting.process.lacking = {1}
        assert setting.run() == ["hold [1]", "take 0", "flush", "take 1", "flush"]
        assert setting.process.reported["partitions"] == "run `stream-triage setup kafka`"
        assert "partitions 1 are not read yet: run `stream-triage setup kafka`" in caplog.text

    def test_it_is_read_once_the_run_log_has_grown(self, caplog: pytest.LogCaptureFixture):
        """Asked again after some seconds, and not before."""

        def grow() -> list[Record]:
            setting.process.lacking = set()
            return []

        def later() -> list[Record]:
            setting.clock.advance(kafka.HOLD_SECONDS)
            return []

        setting = Setting([record(0, partition=1)], grow, later, [record(0, partition=1)])
        setting.process.lacking = {1}
        assert setting.run() == ["hold [1]", "hold []", "take 0", "flush"]
        assert setting.process.reported["partitions"] == ""
        assert "partitions 1 are read now" in caplog.text

    def test_a_rebalance_does_not_let_go_of_it(self):
        """Faust resumes all partitions that it assigns."""

        def rebalance() -> list[Record]:
            setting.member.rebalance()
            return [record(0, partition=1)]

        setting = Setting([], rebalance)
        setting.process.lacking = {1}
        assert setting.run() == ["hold [1]", "hold [1]"]


class TestEndOfGeneration:
    def ended(self, setting: Setting) -> list[str]:
        async def commit() -> None:
            setting.member.log.append("commit")

        return setting.run(lambda: setting.loop.end_generation([0, 3], commit))

    def test_commits_what_is_durable_and_then_forgets(self):
        """The other way round the handler would have no position to commit any more."""
        assert self.ended(Setting()) == ["interrupt", "flush", "commit", "revoke [0, 3]"]

    def test_partitions_go_although_a_flush_fails(self):
        """The error ends the worker; the partitions are given up first."""
        setting = Setting()
        setting.handler.flushes = [StoreError("the store is gone")]
        assert self.ended(setting) == ["interrupt", "flush", "commit", "revoke [0, 3]"]
        assert str(setting.thread.failure) == "the store is gone"

    def test_waits_for_the_step_under_way(self):
        """It ends before its next message, and nothing of the handler runs beside it."""
        setting = Setting([record(0)])

        async def both() -> None:
            under_way = asyncio.Event()
            loop = asyncio.get_running_loop()
            setting.handler.on_handle = lambda: loop.call_soon_threadsafe(under_way.set)
            running = asyncio.create_task(setting.loop.run(setting.member.stopped))
            await under_way.wait()
            setting.member.active = False
            await setting.loop.end_generation([0], lambda: asyncio.sleep(0))
            await running

        log = setting.run(both)
        assert log[0] == "take 0"
        assert log[1:] in (["interrupt", "flush", "revoke [0]"], ["flush", "interrupt", "flush", "revoke [0]"])


class TestCommits:
    A, B = TP("logs", 0), TP("logs", 1)

    def test_only_positions_of_assigned_partitions(self):
        """The handler may still know a partition that is another worker's by now."""
        assert Commits().due([self.A], {0: 5, 1: 9}, 0.0) == {self.A: 5}

    def test_only_positions_that_moved(self):
        commits = Commits()
        commits.done({self.A: 5})
        assert commits.due([self.A, self.B], {0: 5, 1: 9}, 0.0) == {self.B: 9}
        assert commits.due([self.A], {0: 4}, 0.0) == {}

    def test_a_partition_that_comes_back_is_committed_again(self):
        """Another worker may have been set back meanwhile."""
        commits = Commits()
        commits.done({self.A: 5})
        commits.forget([self.A])
        assert commits.due([self.A], {0: 4}, 0.0) == {self.A: 4}

    def test_positions_that_cannot_be_committed_are_logged_after_a_minute(self, caplog: pytest.LogCaptureFixture):
        commits = Commits()
        for now in (0.0, 60.0):
            commits.due([self.A], {0: int(now) + 1}, now)
        assert caplog.text == ""
        commits.due([self.A], {0: 70}, 61.0)
        commits.due([self.A], {0: 80}, 63.0)
        assert caplog.text.count("were not committed for 60 s") == 1
        caplog.clear()
        commits.done({self.A: 70})
        commits.due([self.A], {0: 80}, 64.0)
        assert caplog.text == ""
        commits.due([self.A], {0: 90}, 125.0)
        assert caplog.text.count("were not committed for 60 s") == 1


class TestFaustConsumer:
    """The loop's view of Faust's consumer, which is made but never connected."""

    @pytest.fixture
    def consumer(self) -> Iterator[kafka._Consumer]:
        handler = Handler(Member())
        handler.positions = {0: 5, 1: 9}
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        app = make_app(KafkaSettings(), handler, FakeClock(), Process())
        yield app.consumer
        app.handler_thread.close()
        for made in {loop, app.loop, app.consumer._thread.thread_loop}:
            made.close()
        asyncio.set_event_loop(None)

    def test_generation_is_that_of_the_last_rebalance(self, consumer: kafka._Consumer):
        for generation in (1, 7):
            consumer.app.consumer_generation_id = generation
            assert consumer.generation == generation
            assert not consumer._fetch_loop.outdated(generation)
            assert consumer._fetch_loop.outdated(generation - 1)

    def test_is_not_active_during_a_rebalance_nor_when_it_stops(self, consumer: kafka._Consumer):
        assert consumer.active
        consumer.stop_flow()
        assert not consumer.active
        consumer.resume_flow()
        assert consumer.active
        consumer._stopped.set()
        assert not consumer.active

    def test_sees_no_message_of_an_aborted_transaction(self, consumer: kafka._Consumer, monkeypatch: pytest.MonkeyPatch):
        """Faust itself reads uncommitted messages."""

        class Client:
            _isolation_level = "read_uncommitted"

        monkeypatch.setattr(kafka.driver.AIOKafkaConsumerThread, "_create_worker_consumer", lambda *_: Client())
        assert consumer._thread._create_worker_consumer(None)._isolation_level == "read_committed"
        assert "self._isolation_level" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)

    @pytest.mark.parametrize(
        ("looped", "signs", "answers", "reported"),
        [
            (True, {0: 1, 1: 2}, True, ""),
            (True, {0: "same", 1: 2}, True, "nothing of partitions 0 is fetched for 60 s, although the brokers answer"),
            (False, {}, True, "nothing is fetched for 60 s, although the brokers answer"),
            (False, {0: "same"}, False, ""),
        ],
    )
    def test_partitions_that_send_nothing_are_reported(
        self,
        consumer: kafka._Consumer,
        monkeypatch: pytest.MonkeyPatch,
        looped: bool,
        signs: dict[int, object],
        answers: bool,
        reported: str,
    ):
        """Not while the brokers are away: then it is no fault of the consumer."""
        self.watch(consumer, monkeypatch, 60, looped=looped, signs=signs, answers=answers)
        process = consumer.app.process
        assert isinstance(process, Process)
        assert (process.reported["fetch"], process.ends) == (reported, [])

    def test_a_consumer_that_stays_silent_ends_the_worker(
        self, consumer: kafka._Consumer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        """With the status for "start again": a new process recovers, this one does not. The log says so before."""
        crashed: list[BaseException] = []

        async def crash(error: BaseException) -> None:
            crashed.append(error)

        monkeypatch.setattr(consumer, "crash", crash)
        self.watch(consumer, monkeypatch, 120, looped=True, signs={0: "same"}, answers=True)
        process = consumer.app.process
        assert isinstance(process, Process)
        assert isinstance(consumer.app.handler_thread.failure, ServerAway)
        assert crashed == [consumer.app.handler_thread.failure]
        assert "nothing of partitions 0 is fetched for 30 s" in caplog.text

    @pytest.mark.parametrize(
        ("error", "status"),
        [(ServerAway("away"), 75), (RuntimeError("of Faust"), 75), (StoreError("no right"), 2), (InputError("a flood"), 2)],
    )
    def test_a_crash_cannot_hang(self, consumer: kafka._Consumer, error: Exception, status: int):
        """The process is told, and ends itself if Faust does not."""
        consumer.app._crash(error)
        process = consumer.app.process
        assert isinstance(process, Process)
        assert [status for _, status in process.ends] == [status]

    def test_partitions_that_cannot_send_are_no_reason_to_end(
        self, consumer: kafka._Consumer, monkeypatch: pytest.MonkeyPatch
    ):
        """One that is held, and one whose leader has gone; the latter is reported."""
        consumer._fetch_loop.held = {0}
        self.watch(consumer, monkeypatch, 200, looped=True, signs={0: "same", 1: "same"}, answers=True, leaderless=[1])
        process = consumer.app.process
        assert isinstance(process, Process)
        assert (process.reported["fetch"], process.ends) == ("", [])
        assert process.reported["leaders"] == "partitions 1 have no leader"

    def watch(
        self,
        consumer: kafka._Consumer,
        monkeypatch: pytest.MonkeyPatch,
        seconds: int,
        *,
        looped: bool,
        signs: dict[int, object],
        answers: bool,
        leaderless: Collection[int] = (),
    ) -> None:
        """Looks once a second; a sign that is a number is another one each time."""
        clock, process, second = consumer.app.handler_thread.clock, consumer.app.process, 0
        assert isinstance(clock, FakeClock)
        assert isinstance(process, Process)
        process.answers = answers
        seen = {number: lambda sign=sign: sign if isinstance(sign, str) else second for number, sign in signs.items()}
        monkeypatch.setattr(
            consumer._thread, "signs", lambda _: ({number: sign() for number, sign in seen.items()}, list(leaderless))
        )
        monkeypatch.setattr(consumer, "assignment", set)
        for second in range(seconds + 1):  # noqa: B007 - `seen` reads it
            consumer._fetch_loop.fetches += looped
            consumer.loop.run_until_complete(consumer._look())
            clock.advance(1)

    def test_a_failed_commit_stays_due(self, consumer: kafka._Consumer, monkeypatch: pytest.MonkeyPatch):
        """And only assigned partitions are committed."""
        results, sent = [False, True], []

        async def commit(offsets: dict[TP, int]) -> bool:
            sent.append({tp.partition: offset for tp, offset in offsets.items()})
            return results.pop(0)

        monkeypatch.setattr(consumer, "assignment", lambda: {TP("logs", 0)})
        monkeypatch.setattr(consumer._thread, "commit", commit)
        done = [consumer.loop.run_until_complete(consumer.force_commit()) for _ in range(3)]
        assert (done, sent) == ([False, True, False], [{0: 5}, {0: 5}])

    def test_end_of_a_generation_commits_beside_a_commit_in_flight(
        self, consumer: kafka._Consumer, monkeypatch: pytest.MonkeyPatch
    ):
        """That one was sent with older positions; Faust's own `commit` would wait for it and send nothing."""
        sent = []

        async def commit(offsets: dict[TP, int]) -> bool:
            sent.append(dict(offsets))
            return True

        async def ended() -> None:
            consumer._commit_fut = asyncio.get_running_loop().create_future()
            consumer._commit_fut.set_result(None)
            await consumer._end_generation({TP("logs", 0)})
            consumer._commit_fut = None

        monkeypatch.setattr(consumer, "assignment", lambda: {TP("logs", 0)})
        monkeypatch.setattr(consumer._thread, "commit", commit)
        consumer.loop.run_until_complete(ended())
        assert sent == [{TP("logs", 0): 5}]


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=kafka.log.name)
