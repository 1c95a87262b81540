"""Thousands of runs that end at once: a flush in parts, that can be interrupted and never runs ahead of the verdicts."""

from collections.abc import Iterator
from itertools import count

import pytest

from stream_triage import Bundle, StoreError, Triage
from stream_triage.clock import FakeClock
from stream_triage.records import ClosedRun, Record
from stream_triage.sinks.dead_letters import MemoryDeadLetters
from stream_triage.sinks.memory import MemorySink
from stream_triage.sinks.run_log import MemoryRunLog
from stream_triage.worker import engine as engine_module
from stream_triage.worker.engine import FLUSH_SECONDS, PART_SECONDS, Engine
from stream_triage.worker.runs import RunRules

YEAR_2026 = 1_767_225_600_000
RUNS = 240


class SlowSink(MemorySink):
    """A server that takes a while for each verdict, and fails as often as it is told to."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds
        self.failures = 0
        self.taken: list[int] = []
        """Verdicts of each flush that succeeded."""

    def flush(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("away")
        self._clock.advance(self._seconds * len(self._waiting))
        self.taken.append(len(self._waiting))
        super().flush()


class Farm:
    """What outlives a worker: the topic, the run log, a slow sink and the committed positions."""

    def __init__(self, bundle: Bundle, *, seconds: float = 0.2, runs: int = RUNS) -> None:
        self.clock = FakeClock()
        self.sink = SlowSink(self.clock, seconds)
        self.run_log, self.dead = MemoryRunLog(), MemoryDeadLetters()
        self.records = [Record("logs", n % 2, n // 2, YEAR_2026, b"run-%d" % n, b"a line\n", ()) for n in range(runs)]
        self.committed: dict[int, int] = {}
        self._triage = Triage(bundle)

    def engine(self, **named: object) -> Engine:
        """A worker that has read everything; every run that is open has been silent for long enough."""
        self.run_log._waiting.clear()
        engine = Engine(
            self._triage, [self.sink], run_log=self.run_log, dead_letters=self.dead, clock=self.clock,
            rules=RunRules(idle_seconds=5.0), **named,
        )  # fmt: skip
        engine.handle([record for record in self.records if record.offset >= self.committed.get(record.partition, 0)])
        self.clock.advance(10)
        for partition in (0, 1):
            engine.read_up_to(partition, len(self.records) // 2, self.clock.monotonic())
        return engine

    def flush(self, engine: Engine) -> bool:
        """One call; no position may have passed a run without a durable verdict."""
        done = engine.flush()
        self.committed.update(engine.positions)
        for record in self.records:
            if record.offset < self.committed.get(record.partition, 0):
                assert (record.key or b"").decode() in self.sink.verdicts
        return done

    def end_all(self, engine: Engine) -> Iterator[float]:
        """Ticks and flushes until every run has its verdict; yields how long each call took."""
        for calls in count():
            assert calls < 10_000, "it never ends"
            began = self.clock.monotonic()
            engine.tick()
            done = self.flush(engine)
            assert engine.errors == []
            yield self.clock.monotonic() - began
            if done and len(self.sink.verdicts) == len(self.records):
                return


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.1, 0.3])
def test_no_call_takes_long(bundle: Bundle, seconds: float) -> None:
    """However slow the server is: a call ends soon after its time is over."""
    farm, parts = Farm(bundle, seconds=seconds), []
    engine = farm.engine(on_part=lambda: parts.append(farm.clock.monotonic()))
    assert farm.flush(engine)  # all messages are taken before any run has ended
    first_part = engine_module.FIRST_PART_RUNS * seconds  # the engine does not know yet how slow the server is
    other_parts = max(2 * PART_SECONDS, engine_module.FEWEST_PART_RUNS * seconds)
    assert max(farm.end_all(engine)) <= FLUSH_SECONDS + max(first_part, other_parts)
    assert farm.committed == {0: RUNS // 2, 1: RUNS // 2}
    assert len(parts) >= len([taken for taken in farm.sink.taken if taken])
    assert farm.sink.written == list(farm.sink.verdicts.values()), "each verdict was written once"


def test_parts_become_smaller_while_the_server_is_slow(bundle: Bundle) -> None:
    """And larger again when it is fast."""
    farm = Farm(bundle, seconds=0.5)
    engine = farm.engine()
    calls = farm.end_all(engine)
    for _ in range(3):
        next(calls)
    assert [taken for taken in farm.sink.taken if taken][:3] == [engine_module.FIRST_PART_RUNS, 10, 10]
    farm.sink._seconds = 0.0
    list(calls)
    assert max(farm.sink.taken) > engine_module.FIRST_PART_RUNS


def test_positions_move_part_by_part(bundle: Bundle) -> None:
    """A worker that dies again and again while thousands of runs wait gets on all the same."""
    farm = Farm(bundle)
    engine = farm.engine()
    engine.tick()
    assert not farm.flush(engine)
    assert 0 < farm.committed[0] < RUNS // 2


def test_an_interrupt_takes_effect_between_two_parts(bundle: Bundle) -> None:
    """What was judged is durable; the rest is left to the next worker, which finds the ends of all runs in the run log."""
    farm = Farm(bundle)
    stopped = []

    def stop() -> None:
        if not stopped:
            stopped.append(farm.clock.monotonic())
            engine.interrupt()

    engine = farm.engine(on_part=stop)
    engine.tick()
    assert not farm.flush(engine)
    assert (engine.errors, farm.clock.monotonic()) == ([], stopped[0])
    first = len(farm.sink.verdicts)
    assert 0 < first < RUNS
    assert not farm.flush(engine)
    assert len(farm.sink.verdicts) == first, "no more verdicts after the interrupt"
    engine.revoke([0, 1])
    assert engine.open_runs == 0
    following = farm.engine()
    for calls in count():
        if farm.flush(following):
            break
        assert calls < 1000
    assert len(farm.sink.verdicts) == RUNS, "none of these runs had to be silent again"
    assert {(verdict.lines, verdict.version) for verdict in farm.sink.written} == {(1, farm.sink.written[0].version)}


def test_an_interrupt_while_a_run_is_judged(bundle: Bundle) -> None:
    """The runs of the part that were judged by then are written, and no position passes the others."""
    farm = Farm(bundle)
    engine = farm.engine(on_verdict=lambda verdict: engine.interrupt())
    engine.tick()
    assert not farm.flush(engine)
    assert len(farm.sink.verdicts) == 1


def test_nothing_more_is_judged_while_a_part_cannot_be_written(bundle: Bundle) -> None:
    """Otherwise all the verdicts would be in memory after a while; the run log has the ends of all of them before."""
    farm, judged = Farm(bundle, seconds=0.0), []
    engine = farm.engine(on_verdict=lambda verdict: judged.append(verdict.run_id))
    assert farm.flush(engine)
    committed = dict(farm.committed)
    engine.tick()
    farm.sink.failures = 20
    for _ in range(20):
        assert not farm.flush(engine)
        assert engine.errors == ["away"]
    assert len(judged) == engine_module.FIRST_PART_RUNS
    assert (farm.sink.verdicts, farm.committed) == ({}, committed)
    assert sum(isinstance(run, ClosedRun) for runs in farm.run_log.runs.values() for run in runs.values()) == RUNS
    assert farm.flush(engine)
    assert len(farm.sink.verdicts) == RUNS


def test_ends_of_one_tick_are_limited(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other runs end in the next ticks, and more messages are taken before."""
    monkeypatch.setattr(engine_module, "TICK_RUNS", 7)
    farm = Farm(bundle, seconds=0.0, runs=20)
    engine = farm.engine()
    left = []
    while engine.open_runs:
        engine.tick()
        assert farm.flush(engine)
        left.append(engine.open_runs)
    assert left == [13, 6, 0]


def test_letters_of_runs_that_were_given_up_come_before_the_position(bundle: Bundle) -> None:
    """A run that cannot be judged costs no other run of its part, and its dead letter is durable when it is passed."""
    farm = Farm(bundle, seconds=0.0, runs=20)
    engine = farm.engine()
    judge = engine._intake._judge

    def faulty(end):
        if end.run_id.run_id == "run-3":
            raise ValueError
        return judge(end)

    engine._intake._judge = faulty
    engine.tick()
    assert engine.flush()
    assert len(farm.sink.verdicts) == 19
    assert [letter.key for letter in farm.dead.letters] == [b"run-3"]
