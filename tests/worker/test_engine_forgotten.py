"""Forgotten runs and rejected messages in the engine: what is removed from sinks, and what dead letters contain."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage import Bundle, StoreError, Triage
from stream_triage.clock import FakeClock
from stream_triage.provisional.live import Live
from stream_triage.records import ClosedRun, ForgottenRun, Record, RejectedMessages, Verdict
from stream_triage.sinks.dead_letters import MemoryDeadLetters
from stream_triage.sinks.memory import MemorySink
from stream_triage.sinks.run_log import MemoryRunLog
from stream_triage.worker.engine import Engine
from stream_triage.worker.messages import RUN_ENDED, RUN_FORGOTTEN
from stream_triage.worker.removals import MARKS_SECONDS
from stream_triage.worker.runs import RunRules
from tests.verdicts import make_verdict
from tests.worker.test_engine import YEAR_2026, Crash, Topic, records_of

END = ("end", b"1")


class Farm:
    """What outlives workers, and one worker at a time."""

    def __init__(self, bundle: Bundle, **rules: object) -> None:
        self.sink, self.run_log, self.dead, self.clock = MemorySink(), MemoryRunLog(), MemoryDeadLetters(), FakeClock()
        self._triage, self._rules = Triage(bundle), RunRules(**{"idle_seconds": 5.0, **rules})
        self.published: list[Verdict] = []
        self.engine = self.start()

    def start(self, **rules: object) -> Engine:
        """A new worker; what the last one had not flushed is gone."""
        self.sink._waiting, self.run_log._waiting, self.dead._waiting = [], [], []
        changed = RunRules(**{**vars(self._rules), **rules})
        live = Live(0.5, self._publish, self.clock)
        self.engine = Engine(
            self._triage,
            [self.sink],
            run_log=self.run_log,
            dead_letters=self.dead,
            rules=changed,
            clock=self.clock,
            live=live,
        )
        return self.engine

    def _publish(self, verdicts: Sequence[Verdict]) -> None:
        self.published += verdicts

    def forget(self, run_id: str, before: int) -> None:
        """As the command does: the mark, then the removal."""
        self.run_log.put_forgotten(0, ForgottenRun(run_id, before))
        self.sink.forget(run_id)


def message(key: str, offset: int, *headers: tuple[str, bytes], text: bytes = b"one line\n") -> Record:
    return Record("logs", 0, offset, YEAR_2026, key.encode(), text, headers)


def sent_again(record: Record, offset: int, times: int = 1) -> Record:
    """As `replay-dead` sends a rejected message."""
    origin = ("triage.origin", b"logs/0/%d" % record.offset), ("triage.replayed", b"%d" % times)
    return record._replace(offset=offset, headers=(*record.headers, *origin))


@pytest.fixture
def farm(bundle: Bundle) -> Farm:
    return Farm(bundle)


class TestForgotten:
    def test_a_run_that_is_read_again_stays_away(self, farm: Farm) -> None:
        """A sink that has its verdict all the same, from a worker that died, loses it; the position moves on."""
        farm.engine.handle([message("open", 0), message("a", 1, END)])
        assert farm.engine.flush()
        farm.forget("a", 2)
        farm.sink.write(make_verdict("a"))
        farm.sink.flush()
        farm.start().handle([message("open", 0), message("a", 1, END)])
        assert farm.engine.flush()
        assert (farm.sink.verdicts, farm.engine.positions) == ({}, {0: 0})
        farm.engine.handle([message("open", 2, END)])
        assert farm.engine.flush()
        assert (list(farm.sink.verdicts), farm.engine.positions, farm.dead.letters) == (["open"], {0: 3}, [])

    def test_while_its_verdict_is_written(self, farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
        """The sink gets the verdict after `forget` has removed nothing; the position does not move before it is gone."""
        honest, positions = farm.sink.flush, []

        def flush() -> None:
            farm.run_log.put_forgotten(0, ForgottenRun("a", 1))  # and there is nothing to remove yet
            honest()
            positions.append((list(farm.sink.verdicts), farm.engine.positions))

        monkeypatch.setattr(farm.sink, "flush", flush)
        farm.engine.handle([message("a", 0, END), message("b", 1, END)])
        assert farm.engine.flush()
        assert positions == [(["a", "b"], {})]
        assert (list(farm.sink.verdicts), farm.engine.positions) == (["b"], {0: 2})

    def test_while_it_is_open(self, farm: Farm) -> None:
        """It is shown no longer, after seconds, and never judged, whatever still comes of it."""
        farm.engine.handle([message("a", 0)])
        farm.clock.advance(1)
        farm.engine.tick()
        assert [verdict.run_id for verdict in farm.published] == ["a"]
        farm.forget("a", 1)
        farm.clock.advance(MARKS_SECONDS)
        farm.engine.tick()
        for offset in (1, 2):
            farm.engine.handle([message("a", offset)])
            farm.clock.advance(1)
            farm.engine.tick()
        farm.engine.handle([message("a", 3, END)])
        assert farm.engine.flush()
        assert (len(farm.published), farm.sink.verdicts, farm.engine.positions) == (1, {}, {0: 4})

    def test_what_a_dead_worker_has_shown_of_it(self, farm: Farm) -> None:
        """A run that is still open when it is read again is removed at once, not only at its end."""
        farm.run_log.put_forgotten(0, ForgottenRun("a", 1))
        farm.sink.write(make_verdict("a", final=False))
        farm.sink.flush()
        farm.engine.handle([message("a", 0)])
        farm.engine.tick()
        assert farm.engine.flush()
        assert (farm.sink.verdicts, farm.engine.positions, farm.engine.open_runs) == ({}, {0: 0}, 1)

    def test_while_it_waits_for_its_verdict(self, farm: Farm) -> None:
        """It ended, and was forgotten before the flush."""
        farm.engine.handle([message("a", 0, END)])
        farm.forget("a", 1)
        farm.clock.advance(MARKS_SECONDS)
        farm.engine.tick()
        assert farm.engine.flush()
        assert (farm.sink.verdicts, farm.sink.written) == ({}, [])

    def test_a_later_run_of_the_key_is_judged(self, bundle: Bundle) -> None:
        """Also under the same id, when the first one is remembered no longer."""
        farm = Farm(bundle, start_pattern="^START")
        farm.engine.handle([message("a", 0, text=b"START\n")])
        farm.forget("a", 1)
        farm.engine.handle([message("a", 1, END, text=b"START\n")])
        assert farm.engine.flush()
        assert list(farm.sink.verdicts) == ["a@1"]
        farm.run_log.runs.clear()
        farm.start().handle([message("a", 5, END)])
        assert farm.engine.flush()
        assert sorted(farm.sink.verdicts) == ["a", "a@1"]

    def test_what_still_comes_of_it_is_kept_nowhere(self, farm: Farm) -> None:
        """A dead letter names the message, and has none of its text and headers."""
        farm.engine.handle([message("a", 0, END)])
        assert farm.engine.flush()
        farm.forget("a", 1)
        farm.clock.advance(MARKS_SECONDS)
        farm.engine.tick()
        farm.engine.handle([message("a", 1, ("secret", b"x")), message("b", 2), message("b", 3, ("seq", b"-1"))])
        assert farm.engine.flush()
        late, other = farm.dead.letters
        assert (late.reason, late.origin, late.value, late.headers) == (RUN_FORGOTTEN, "logs/0/1", None, ())
        assert (other.key, other.value) == (b"b", b"one line\n")

    @pytest.mark.parametrize("fault", ["sink", "run log"])
    def test_what_cannot_be_removed_holds_the_position(
        self, farm: Farm, monkeypatch: pytest.MonkeyPatch, fault: str
    ) -> None:
        """The next flush tries again."""
        farm.run_log.put_forgotten(0, ForgottenRun("a", 1))
        farm.engine.handle([message("a", 0, END)])

        def fail(*_: object) -> None:
            raise StoreError("away")

        with monkeypatch.context() as patch:
            patch.setattr(*{"sink": (farm.sink, "forget"), "run log": (farm.run_log, "new_marks")}[fault], fail)
            assert (farm.engine.flush(), farm.engine.errors, farm.engine.positions) == (False, ["away"], {})
        assert farm.engine.flush()
        assert (farm.sink.verdicts, farm.engine.positions) == ({}, {0: 1})

    def test_a_sink_that_does_not_take_it_holds_nobody_up(self, farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
        """As OpenSearch does for a minute after a removal: the verdict is taken back at once."""
        honest = farm.sink.flush

        def flush() -> None:
            if any(verdict.run_id == "a" for verdict in farm.sink._waiting):
                farm.run_log.put_forgotten(0, ForgottenRun("a", 1))
                raise StoreError("a was forgotten a moment ago")
            honest()

        monkeypatch.setattr(farm.sink, "flush", flush)
        farm.engine.handle([message("a", 0, END), message("b", 1, END)])
        assert [farm.engine.flush(), farm.engine.flush()] == [False, True]
        assert list(farm.sink.verdicts) == ["b"]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    crashes=st.lists(st.integers(1, 150), max_size=4),
    moments=st.lists(st.tuples(st.integers(1, 120), st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=4),
    batch=st.integers(1, 30),
)
def test_forgotten_at_any_step(seed: int, crashes: list[int], moments: list[tuple[int, str, int]], batch: int) -> None:
    """Each removal comes some steps after its mark, or after the last death; no sink has the run in the end."""
    records, wanted = records_of(["a", "b", "c"], seed)
    topic = Topic(records)
    removals: list[Callable[[], object]] = []

    def happens(step: int) -> None:
        for moment, run_id, delay in moments:
            if step == moment:
                topic.run_log.put_forgotten(0, ForgottenRun(run_id, len(records)))
                removals.extend(lambda sink=sink, run_id=run_id: sink.forget(run_id) for sink in (topic.sink, topic.other))
            if step == moment + delay:
                while removals:
                    removals.pop()()

    topic._check_positions = lambda: None  # forgotten runs have no verdict
    for crash in crashes:
        try:
            topic.work(crash, batch, happens)
        except Crash:
            continue
    topic.work(None, batch, happens)
    while removals:
        removals.pop()()
    forgotten = {mark.run_id for mark in topic.run_log.marks.get(0, [])}
    for sink in (topic.sink, topic.other):
        assert set(sink.verdicts) == set(wanted) - forgotten
    assert topic.committed == len(records)


class TestRejectedOnce:
    def test_whatever_restarts(self, farm: Farm) -> None:
        """An open run holds the position, so that rejected messages are read again with each start."""
        records = [message("open", 0), message("", 1), message("a", 2, END), message("a", 3)]
        for _ in range(3):
            farm.start().handle(records)
            assert farm.engine.flush()
            assert farm.engine.positions == {0: 0}
        assert [letter.origin for letter in farm.dead.letters] == ["logs/0/1", "logs/0/3"]

    def test_only_what_is_durable_is_recorded(self, farm: Farm) -> None:
        """A letter that could not be written is written by the next worker."""
        farm.engine.handle([message("", 0)])
        farm.start().handle([message("", 0)])
        assert farm.engine.flush()
        assert len(farm.dead.letters) == 1
        assert farm.run_log.rejected == {0: [RejectedMessages(("logs/0/0",), ())]}

    def test_what_could_be_used_now_waits_for_its_replay(self, farm: Farm) -> None:
        """Its dead letter is the way back: taken as well when it is read again, its lines would come twice."""
        reject = {"reject_key": lambda key: "odd" if key == "a" else None}
        records = [message("open", 0), message("a", 1)]
        farm.start(**reject).handle(records)
        assert farm.engine.flush()
        farm.start().handle([*records, *(sent_again(records[1], offset) for offset in (2, 3)), message("a", 4, END)])
        assert farm.engine.flush()
        assert (farm.sink.verdicts["a"].lines, len(farm.dead.letters)) == (2, 1)

    def test_what_was_taken_is_not_taken_from_a_replay(self, farm: Farm) -> None:
        """Another group of workers has rejected it, and its letter was sent again."""
        taken = message("a", 0)
        farm.engine.handle([taken, sent_again(taken, 1), message("a", 2, END)])
        assert farm.engine.flush()
        assert (farm.sink.verdicts["a"].lines, farm.dead.letters) == (2, [])

    def test_nor_after_the_end_of_its_run(self, bundle: Bundle) -> None:
        """A worker that starts behind the run knows it from the run log alone: the copy begins no second run."""
        farm = Farm(bundle, start_pattern="^START")
        taken = message("a", 0, END, text=b"START\n")
        farm.engine.handle([taken])
        assert farm.engine.flush()
        farm.start().handle([sent_again(taken, 1)])
        assert farm.engine.flush()
        assert list(farm.sink.verdicts) == ["a"]
        assert [letter.reason for letter in farm.dead.letters] == [RUN_ENDED]


class TestReplayed:
    def test_has_its_first_origin_and_no_headers_of_ours(self, farm: Farm) -> None:
        """However often it is rejected; as a part of a run, its headers are those that it came with."""
        bad = message("a", 0, ("seq", b"-1"), ("testbed", b"rack"))
        farm.engine.handle([bad, sent_again(bad, 1), sent_again(bad, 2, times=2)])
        assert farm.engine.flush()
        assert [(letter.origin, letter.replays) for letter in farm.dead.letters] == [("logs/0/0", n) for n in range(3)]
        assert {letter.headers for letter in farm.dead.letters} == {bad.headers}
        mended = message("a", 0, ("testbed", b"rack"))
        farm.engine.handle([sent_again(mended, 3, times=3), message("a", 4, END)])
        assert farm.engine.flush()
        assert farm.sink.verdicts["a"].headers == {"testbed": "rack"}

    def test_after_the_end_of_its_run(self, bundle: Bundle) -> None:
        """A second copy begins no run, although its line would; a worker that starts again knows that."""
        farm = Farm(bundle, start_pattern="^START", end_pattern="^END")
        bad = message("a", 0, ("seq", b"-1"), text=b"START\nEND\n")
        farm.engine.handle([bad, sent_again(bad._replace(headers=()), 1), sent_again(bad._replace(headers=()), 2)])
        assert farm.engine.flush()
        farm.start().handle([sent_again(bad._replace(headers=()), 3, times=2)])
        assert farm.engine.flush()
        assert list(farm.sink.verdicts) == ["a"]
        assert [letter.reason for letter in farm.dead.letters[1:]] == [RUN_ENDED, RUN_ENDED]
        assert farm.run_log.runs[0]["a"] == ClosedRun("a", "a", 1, 1, replayed=(("logs/0", 0),))

    @pytest.mark.parametrize("origin", [b"nowhere", b"logs/x/1", b"a/b/c/1", b"logs/0/" + b"9" * 20])
    def test_a_header_that_is_no_origin(self, farm: Farm, origin: bytes) -> None:
        """It is taken as any other message, and is no label of the run."""
        farm.engine.handle([message("a", 0, ("triage.origin", origin), END), message("a", 1, ("triage.origin", origin))])
        assert farm.engine.flush()
        assert farm.sink.verdicts["a"].headers == {}
        assert [letter.origin for letter in farm.dead.letters] == ["logs/0/1"]
