"""What a worker does, without Kafka: crashes at every step, sinks that fail, limits."""

import random
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage import Bundle, StoreError, Triage
from stream_triage.clock import FakeClock
from stream_triage.records import Problem, Record, Verdict
from stream_triage.sinks.dead_letters import MemoryDeadLetters
from stream_triage.sinks.memory import MemorySink
from stream_triage.sinks.run_log import MemoryRunLog
from stream_triage.worker import engine as engine_module
from stream_triage.worker.engine import Engine
from stream_triage.worker.runs import RunRules
from tests.corpus import make_run, tiny_bundle
from tests.verdicts import assert_same

YEAR_2026 = 1_767_225_600_000


class Crash(BaseException):
    """The end of the process, as far as a test can make it."""


class Topic:
    """One partition, with everything that survives a crash beside it."""

    def __init__(self, records: list[Record], bundle: Bundle | None = None, **rules: object) -> None:
        self.records = records
        self.bundle = bundle or tiny_bundle()
        self.rules = RunRules(**{"idle_seconds": 5.0, **rules})
        self.clock = FakeClock()
        self.sink, self.other = MemorySink(), MemorySink()
        self.run_log, self.dead = MemoryRunLog(), MemoryDeadLetters()
        self.committed = 0

    def engine(self, **changes: object) -> Engine:
        named = {"run_log": self.run_log, "dead_letters": self.dead, "rules": self.rules, "clock": self.clock, **changes}
        return Engine(Triage(self.bundle), [self.sink, self.other], **named)

    def work(
        self, crash_at: int | None = None, batch: int = 7, happens: Callable[[int], None] = lambda step: None
    ) -> Engine:
        """One life of a worker: from the committed position to the end, or to its crash at a numbered step.

        `happens` is called before each step: what others do meanwhile.
        """
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            happens(steps)
            if steps == crash_at:
                raise Crash

        engine = self.engine(
            run_log=_Stepping(self.run_log, step), dead_letters=_Stepping(self.dead, step)
        )  # fmt: skip
        engine._intake._sinks = (_Stepping(self.sink, step), _Stepping(self.other, step))
        # What a dead process had not flushed is gone.
        self.sink._waiting, self.other._waiting, self.run_log._waiting, self.dead._waiting = [], [], [], []
        for start in range(self.committed, len(self.records), batch):
            for record in self.records[start : start + batch]:
                step()
                engine.handle([record])
            assert engine.flush()
            step()
            self.committed = engine.positions.get(0, self.committed)
            self._check_positions()
        self.clock.advance(10)
        engine.read_up_to(0, len(self.records), self.clock.monotonic())
        engine.tick()
        assert engine.flush()
        self.committed = engine.positions.get(0, self.committed)
        return engine

    def _check_positions(self) -> None:
        """No position is committed beyond the first message of a run without a verdict in every sink."""
        for record in self.records[: self.committed]:
            run_id = (record.key or b"").decode()
            for sink in (self.sink, self.other):
                assert run_id in sink.verdicts or run_id == "rejected"


class _Stepping:
    """A keeper whose flush is a step, before and after."""

    def __init__(self, keeper: object, step) -> None:
        self._keeper, self._step = keeper, step

    def flush(self) -> None:
        self._step()
        self._keeper.flush()
        self._step()

    def __getattr__(self, name: str) -> object:
        return getattr(self._keeper, name)


def records_of(names: list[str], seed: int, end: bool = True) -> tuple[list[Record], dict[str, Verdict]]:
    """Interleaved messages of invented runs, and the verdict on each run alone."""
    randomness, triage = random.Random(seed), Triage(tiny_bundle())
    streams, wanted = [], {}
    for number, name in enumerate(names):
        run = make_run(randomness.choice(["Pass", "L3"]), seed + number)
        session = triage.session(name)
        for source, text in run.sources.items():
            session.feed(text, source)
            lines = text.splitlines(keepends=True)
            width = randomness.randint(1, 9)
            values = [b"".join(lines[start : start + width]) for start in range(0, len(lines), width)]
            values = [value[:-1] if seq < len(values) - 1 and randomness.random() < 0.3 else value
                      for seq, value in enumerate(values)]  # fmt: skip
            headers = [(("source", source.encode()), ("seq", b"%d" % seq)) for seq in range(len(values) + 1)]
            stream = [(name, value, pairs) for value, pairs in zip(values, headers, strict=False)]
            streams.append([*stream, *([(name, b"", (*headers[-1], ("end", b"1")))] if end else [])])
        wanted[name] = session.close()
        session.text.close()
    mixed = [stream.pop(0) for stream in streams]
    while streams := [stream for stream in streams if stream]:
        mixed.append(randomness.choice(streams).pop(0))
    records = [
        Record("logs", 0, offset, YEAR_2026, name.encode(), value, headers)
        for offset, (name, value, headers) in enumerate(mixed)
    ]
    return records, wanted


def check(topic: Topic, wanted: dict[str, Verdict]) -> None:
    for sink in (topic.sink, topic.other):
        assert sink.verdicts.keys() == wanted.keys()
        for verdict in sink.written:  # repeats, too, are equal
            assert_same(verdict.model_copy(update={"time": None, "started": None}), wanted[verdict.run_id])


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    crashes=st.lists(st.integers(1, 150), max_size=6),
    end=st.booleans(),
    batch=st.integers(1, 30),
)
def test_crashes_change_nothing(seed: int, crashes: list[int], end: bool, batch: int):
    """Whatever step the process dies at, however often: each run has one verdict, the undisturbed one, in every sink.

    Runs that end by silence do so where they did before the crash.
    """
    records, wanted = records_of(["a", "b", "c"], seed, end)
    topic = Topic(records)
    for crash in crashes:
        try:
            topic.work(crash, batch)
        except Crash:
            continue
    topic.work(None, batch)
    check(topic, wanted)
    assert topic.committed == len(records)
    assert topic.dead.letters == []


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), crashes=st.lists(st.integers(1, 150), min_size=1, max_size=8), end=st.booleans())
def test_crashes_between_the_parts_of_a_flush(seed: int, crashes: list[int], end: bool):
    """The same when each run is a part of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FEWEST_PART_RUNS", "FIRST_PART_RUNS", "MOST_PART_RUNS"):
            patch.setattr(engine_module, name, 1)
        records, wanted = records_of(["a", "b", "c", "d", "e"], seed, end)
        topic = Topic(records)
        for crash in crashes:
            try:
                topic.work(crash, batch=30)
            except Crash:
                continue
        topic.work(None, batch=30)
        check(topic, wanted)
        assert topic.committed == len(records)


@pytest.mark.parametrize("step", range(1, 39))
def test_crash_at_each_step(step: int):
    """The next life gives the verdicts that an undisturbed one would have given."""
    records, wanted = records_of(["a", "b"], 5)
    topic = Topic(records)
    with pytest.raises(Crash):
        topic.work(step, batch=2)
    topic.work()
    check(topic, wanted)


class WriteThroughSink(MemorySink):
    """Verdicts are durable as soon as they are written, as lines of a file may be."""

    def write(self, verdict, text=None) -> None:
        super().write(verdict, text)
        self.flush()


@pytest.mark.parametrize("sink", [MemorySink, WriteThroughSink])
def test_late_line_never_gives_a_second_verdict(sink: type[MemorySink]):
    """A run ends by silence, the worker dies while it writes it, and a late line comes: one final verdict all the same.

    The line is part of that verdict or a dead letter. With the verdict written before the run log, the next worker would
    not know that the run has ended and would judge it again, with the line.
    """
    records = [Record("logs", 0, offset, YEAR_2026, b"a", b"line %d\n" % offset) for offset in range(3)]
    late = Record("logs", 0, 3, YEAR_2026, b"a", b"a late line\n")
    deaths = set()
    for step in count(1):
        topic = Topic(records)
        topic.sink, topic.other = sink(), sink()
        try:
            topic.work(crash_at=step)
            break
        except Crash:
            topic.records = [*records, late]
            topic.work()
        finals = {(verdict.lines, verdict.version) for written in (topic.sink, topic.other) for verdict in written.written}
        outcome = finals.pop()[0], [letter.value for letter in topic.dead.letters]
        assert not finals, f"two verdicts, after a death at step {step}"
        assert outcome in ((4, []), (3, [late.value]))
        deaths.add(outcome[0])
    assert deaths == {3, 4}, "it died before and after the end was recorded"


def test_repeats_and_disorder_change_nothing():
    """Messages that come twice, or in another order, give the same verdicts."""
    records, wanted = records_of(["a", "b", "c"], 3)
    randomness = random.Random(1)
    mixed = list(records)
    for index in range(0, len(mixed) - 2, 3):
        mixed[index], mixed[index + 1] = mixed[index + 1], mixed[index]
    mixed = [record for record in mixed for _ in range(randomness.randint(1, 2))]
    topic = Topic([record._replace(offset=offset) for offset, record in enumerate(mixed)])
    topic.work()
    check(topic, wanted)


def test_sink_that_fails_holds_the_position(bundle: Bundle):
    """It is tried again until it succeeds; until then nothing is committed, and the text stays readable."""
    records, wanted = records_of(["a"], 1)
    topic = Topic(records, bundle)
    engine = topic.engine()
    failing = [StoreError("away"), StoreError("away")]

    def fail() -> None:
        if failing:
            raise failing.pop()
        MemorySink.flush(topic.sink)

    topic.sink.flush = fail
    engine.handle(records)
    assert (engine.flush(), engine.errors, engine.positions) == (False, ["away"], {})
    assert not engine.flush()
    assert engine.flush()
    assert (engine.positions, engine.errors) == ({0: len(records)}, [])
    check(topic, wanted)


def test_write_that_fails_is_done_again(bundle: Bundle):
    """As when the archive's disk is full for a moment: the text is still there for the second try."""
    records, _ = records_of(["a"], 1)
    topic = Topic(records, bundle)
    engine, texts, failing = topic.engine(), [], [StoreError("full")]

    def write(verdict, text=None) -> None:
        if failing:
            raise failing.pop()
        texts.append([text.line_count(source) for source in text.sources()])

    topic.other.write = write
    engine.handle(records)
    assert texts == []
    assert engine.flush()
    assert [sum(counts) for counts in texts] == [topic.sink.verdicts["a"].lines]
    assert engine.positions == {0: len(records)}


def test_internal_error_costs_only_its_run(bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    """The run is named in a dead letter, with file and line of the error and none of its text."""
    records, wanted = records_of(["a", "b"], 1)
    topic = Topic(records, bundle)
    engine = topic.engine()
    honest = engine._intake._triage.redactor.lines

    def faulty(text: str, state: object) -> str:
        if "poison" in text:
            raise ValueError("poison in hand")
        return honest(text, state)

    monkeypatch.setattr(engine._intake._triage.redactor, "lines", faulty)
    poisoned = Record("logs", 0, 0, 0, b"c", b"poison\n", ())
    others = [record._replace(offset=record.offset + 1) for record in records]
    engine.handle([poisoned, *others, poisoned._replace(offset=len(records) + 1, headers=(("end", b"1"),))])
    assert engine.flush()
    (letter,) = topic.dead.letters
    assert (letter.kind, letter.key) == ("run", b"c")
    assert "ValueError at test_engine.py" in letter.reason
    assert "hand" not in letter.reason
    assert topic.sink.verdicts.keys() == wanted.keys()


def test_full_spool_stops_the_worker(bundle: Bundle):
    """The disk will have space again: the run is read again then, instead of getting no verdict."""
    records, _ = records_of(["a"], 1)
    topic = Topic(records, bundle)
    engine = topic.engine()

    class Full:
        def append(self, source: str, lines: list[str]) -> None:
            raise StoreError("no space")

        def close(self) -> None: ...

    engine._intake._triage.open_spool = lambda run_id: Full()
    with pytest.raises(StoreError, match="no space"):  # noqa: PT012 - the first lines of a source wait for its end
        engine.handle(records)
        engine.flush()


def test_what_one_sender_does_wrong_stops_no_other(bundle: Bundle):
    """1,100 late lines of one run: the worker goes on, writes as many as it may, and sums up the rest, once."""
    records, _ = records_of(["a"], 1)
    records.append(records[-1]._replace(offset=len(records), value=b"", headers=(("end", b"1"),)))
    late = [records[0]._replace(offset=len(records) + number, value=b"late\n", headers=()) for number in range(1100)]
    other = records[0]._replace(offset=len(records) + 1100, key=b"other", headers=(("end", b"1"),))
    problems: list[Problem] = []
    topic = Topic([], bundle)
    engine = topic.engine(dead_per_hour=1000, on_problem=problems.append)
    engine.handle([*records, *late, other])
    assert engine.flush()
    assert sorted(verdict.run_id for verdict in topic.sink.verdicts.values()) == ["a", "other"]
    *letters, summary = topic.dead.letters
    assert len(letters) == 1000
    first, last = (f"logs/0/{late[number].offset}" for number in (1000, -1))
    assert (summary.kind, summary.key, summary.value, summary.origin) == ("summary", b"a", None, f"{first} to {last}")
    assert "100 messages (500 bytes) rejected beyond kafka.dead_per_hour: its run has ended" in summary.reason
    assert [problem.reason.partition(" messages")[0] for problem in problems] == ["more than kafka.dead_per_hour = 1000"]
    assert engine.positions == {0: other.offset + 1}


def test_revoked_partitions_leave_nothing_behind(bundle: Bundle):
    """Open runs of the partition are discarded; those of others stay."""
    records, wanted = records_of(["a"], 1)
    topic = Topic(records, bundle)
    engine = topic.engine()
    engine.handle([record._replace(partition=1, key=b"other") for record in records[:3]])
    engine.handle(records[:5])
    engine.interrupt()
    engine.handle(records[5:])  # is not begun any more
    engine.revoke([0])
    assert (engine.open_runs, engine.taken) == (1, {1: 3})
    engine.handle(records)
    assert engine.flush()
    check(topic, wanted)
