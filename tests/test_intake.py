"""Events in, verdicts into sinks: order, failing sinks, and when verdicts are made durable."""

import pytest

from stream_triage import StoreError, Triage
from stream_triage.clock import FakeClock
from stream_triage.intake import ADVANCE_BYTES, FLUSH_SECONDS, FLUSH_VERDICTS, Intake
from stream_triage.records import Chunk, Event, Problem, RunEnd, Tick
from stream_triage.sinks.memory import MemorySink
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.sources.memory import MemorySource
from stream_triage.spool import SpillSpool
from stream_triage.stages.rules import HandRule, Rules
from tests.corpus import make_run, tiny_bundle

PASSING, FAILING = make_run("Pass", 1), make_run("L3", 2)


def events_of(run_id: str, run=PASSING) -> list[Event]:
    return [*(Chunk(run_id, data, source) for source, data in run.sources.items()), RunEnd(run_id)]


class CountingSink(MemorySink):
    """Counts flushes, keeps the texts, and fails as often as a test wants."""

    def __init__(self, failing_writes: int = 0, failing_flushes: int = 0) -> None:
        super().__init__()
        self.flushes = 0
        self.texts: dict[str, list[str]] = {}
        self.failing_writes, self.failing_flushes = failing_writes, failing_flushes

    def write(self, verdict, text=None) -> None:
        if self.failing_writes:
            self.failing_writes -= 1
            raise StoreError("no space for writing")
        super().write(verdict)
        self.texts[verdict.run_id] = [line for s in text.sources() for line in text.read(s, 1, text.line_count(s))]

    def flush(self) -> None:
        self.flushes += 1
        if self.failing_flushes:
            self.failing_flushes -= 1
            raise StoreError("no space for flushing")
        super().flush()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sink() -> CountingSink:
    return CountingSink()


def test_verdicts_come_in_the_order_of_ends(triage: Triage, sink: CountingSink, clock: FakeClock):
    """Interleaved runs get the verdicts they get alone, as they end, with text and time."""
    verdicts = []
    intake = Intake(triage, [sink], clock=clock, on_verdict=verdicts.append)
    a, b = events_of("a"), events_of("b", FAILING)
    MemorySource([b[0], a[0], a[1], a[2], b[1], b[2]]).run(intake.handle)
    intake.flush()
    assert [verdict.run_id for verdict in verdicts] == ["a", "b"]
    assert sink.written == verdicts
    assert [verdict.label for verdict in verdicts] == ["Pass", "L3"]
    assert {verdict.time for verdict in verdicts} == {clock.now()}
    assert (intake.tally.runs, intake.tally.unclean, intake.tally.errors) == (2, 1, 0)
    assert intake.tally.lines == verdicts[0].lines + verdicts[1].lines


@pytest.mark.parametrize(("runs", "unclean"), [((PASSING,), 0), ((FAILING,), 1), ((PASSING, FAILING, FAILING), 2)])
def test_tally_counts_runs_that_did_not_pass_cleanly(triage: Triage, runs, unclean: int):
    intake = Intake(triage)
    for number, run in enumerate(runs):
        MemorySource(events_of(str(number), run)).run(intake.handle)
    assert (intake.tally.runs, intake.tally.unclean) == (len(runs), unclean)


def test_flush_says_whether_everything_is_durable(triage: Triage):
    """A sink that fails once makes one flush return false; nothing is left to be written after the next."""
    intake = Intake(triage, [CountingSink(), CountingSink(failing_flushes=1)], flushes=False)
    MemorySource(events_of("a")).run(intake.handle)
    assert intake.unflushed == 1
    assert not intake.flush()
    assert intake.unflushed == 1
    assert intake.flush()
    assert intake.unflushed == 0


def test_tally_counts_verdicts_that_the_stored_one_outranks(triage: Triage, tmp_path, clock: FakeClock):
    """Only a verdict that differs counts, and only if it does not replace the stored one."""
    other = Triage(
        tiny_bundle(),
        rules=Rules([HandRule(name="r", pattern=".", label="L2", veto=True)]),
    )
    with SqliteStore(tmp_path / "store.sqlite", clock) as store:
        for judge, again, kept in (
            (triage, False, 0),
            (triage, False, 0),
            (other, False, 1),
            (other, True, 0),
            (triage, False, 1),
        ):
            intake = Intake(judge, [store], store=store, again=again)
            MemorySource(events_of("a")).run(intake.handle)
            intake.flush()
            assert intake.tally.kept_earlier == kept, (judge is other, again)


def test_text_reaches_the_sink_before_it_is_closed(triage: Triage, sink: CountingSink):
    """Every line of every source can be read while the sink writes."""
    intake = Intake(triage, [sink])
    MemorySource(events_of("a")).run(intake.handle)
    expected = [*PASSING.sources["gnb"].decode().splitlines(), *PASSING.sources["ue"].decode().splitlines()]
    assert sink.texts["a"] == expected


def test_headers_of_the_intake_and_of_the_first_chunk(triage: Triage):
    """Headers of the first chunk outrank those of the intake; those of later chunks do not count."""
    verdicts = []
    intake = Intake(triage, headers={"testbed": "rack 1", "service.version": "1"}, on_verdict=verdicts.append)
    for headers in ({"testbed": "rack 2"}, {"testbed": "rack 3"}):
        intake.handle(Chunk("a", b"uesim starting\n", headers=headers))
    intake.handle(RunEnd("a"))
    assert verdicts[0].headers == {"testbed": "rack 2", "service.version": "1"}


def test_sink_that_fails_to_write_costs_no_later_verdict(triage: Triage, sink: CountingSink):
    """The other sinks get every verdict at once, the failing one when it can take them; the tally says why, once."""
    failing, verdicts = CountingSink(failing_writes=2), []
    intake = Intake(triage, [failing, sink], on_verdict=verdicts.append)
    for name in "abc":
        MemorySource(events_of(name)).run(intake.handle)
    intake.flush()
    assert [verdict.run_id for verdict in verdicts] == ["a", "b", "c"]
    assert list(sink.verdicts) == ["a", "b", "c"]
    assert sorted(failing.verdicts) == ["a", "b", "c"]
    assert intake.tally.store_errors == ["no space for writing"]


def test_sink_that_fails_to_flush_is_asked_again(triage: Triage, sink: CountingSink):
    """What it kept is durable once it can write; the sinks after it are flushed all the same."""
    failing = CountingSink(failing_flushes=1)
    intake = Intake(triage, [failing, sink])
    MemorySource(events_of("a")).run(intake.handle)
    intake.flush()
    assert (list(failing.verdicts), list(sink.verdicts)) == ([], ["a"])
    intake.flush()
    assert list(failing.verdicts) == ["a"]
    assert intake.tally.store_errors == ["no space for flushing"]


def test_fault_of_a_sink_is_not_swallowed(triage: Triage):
    """Only errors raised on purpose are; anything else is a bug."""

    class Broken(MemorySink):
        def write(self, verdict, text=None) -> None:
            raise ZeroDivisionError

    intake = Intake(triage, [Broken()])
    with pytest.raises(ZeroDivisionError):
        MemorySource(events_of("a")).run(intake.handle)


def test_flush_by_count(triage: Triage, sink: CountingSink, clock: FakeClock):
    """A full batch is flushed at once, the next verdict waits for more."""
    intake = Intake(triage, [sink], clock=clock)
    for number in range(FLUSH_VERDICTS - 1):
        intake.handle(RunEnd(f"r{number}"))
    assert sink.flushes == 0
    intake.handle(RunEnd("last"))
    assert (sink.flushes, len(sink.written)) == (1, FLUSH_VERDICTS)
    intake.handle(RunEnd("next"))
    assert sink.flushes == 1


def test_flush_by_time(triage: Triage, sink: CountingSink, clock: FakeClock):
    """A verdict after a second without a flush is flushed at once."""
    intake = Intake(triage, [sink], clock=clock)
    intake.handle(RunEnd("a"))
    clock.advance(FLUSH_SECONDS / 2)
    intake.handle(RunEnd("b"))
    assert sink.flushes == 0
    clock.advance(FLUSH_SECONDS / 2)
    intake.handle(RunEnd("c"))
    assert (sink.flushes, len(sink.written)) == (1, 3)


def test_tick_flushes_what_waited(triage: Triage, sink: CountingSink, clock: FakeClock):
    """When nothing comes, verdicts do not wait for more; when none waits, nothing is flushed."""
    intake = Intake(triage, [sink], clock=clock)
    clock.advance(10 * FLUSH_SECONDS)
    intake.handle(Tick())
    assert sink.flushes == 0
    intake.flush()
    intake.handle(RunEnd("a"))
    intake.handle(Tick())
    assert sink.flushes == 1
    clock.advance(FLUSH_SECONDS)
    intake.handle(Tick())
    assert (sink.flushes, list(sink.verdicts)) == (2, ["a"])


def test_models_work_when_enough_is_queued_or_nothing_comes(triage: Triage, monkeypatch):
    """Not at each chunk: batches over all open runs are what makes it fast."""
    advanced = []
    whole = triage.advance
    monkeypatch.setattr(triage, "advance", lambda sessions: advanced.append(len(kept := list(sessions))) or whole(kept))
    intake = Intake(triage)
    intake.handle(Chunk("a", b"x\n" * (ADVANCE_BYTES // 4)))
    assert advanced == []
    intake.handle(Chunk("b", b"y\n" * (ADVANCE_BYTES // 4)))
    assert advanced == [2]
    intake.handle(Chunk("a", b"z\n"))
    assert advanced == [2]
    intake.handle(Tick())
    assert advanced == [2, 1]  # of thousands of open runs most have nothing new


def test_discarded_runs_are_named_and_gone(triage: Triage, sink: CountingSink):
    """Their ids are redacted and their text is closed."""
    intake = Intake(triage, [sink])
    intake.handle(Chunk("a-imsi-001010000000001", b"uesim starting\n"))
    intake.handle(Chunk("b", b"uesim starting\n"))
    text = intake._open.live["b"].text
    assert intake.discard_open() == ["a-imsi-<imsi>", "b"]
    with pytest.raises(StoreError, match="closed"):
        text.append("", ["more"])
    assert intake.discard_open() == []
    intake.flush()
    assert sink.written == []


def test_problem_of_a_run_is_in_its_verdict(triage: Triage):
    """It is reported, counted if it is an error, and a reason for a review."""
    problems, verdicts = [], []
    intake = Intake(triage, on_problem=problems.append, on_verdict=verdicts.append)
    chunks = events_of("a")
    MemorySource([*chunks[:2], Problem("a.gz", "it was cut off", "a", "ue"), chunks[2]]).run(intake.handle)
    assert problems == [Problem("a.gz", "it was cut off", "a", "ue")]
    assert intake.tally.errors == 1
    assert verdicts[0].review_reasons == ("ue: it was cut off",)
    assert verdicts[0].sources[1].repairs.problems == ("it was cut off",)


def test_problem_without_run_begins_none(triage: Triage):
    """What was skipped as expected is no error."""
    intake = Intake(triage)
    intake.handle(Problem("x.png", "is a picture", error=False))
    assert (intake.tally.errors, intake.discard_open()) == (0, [])
    intake.handle(Problem("y.log", "cannot be read"))
    assert (intake.tally.errors, intake.discard_open()) == (1, [])


def test_problem_is_reported_without_secrets(triage: Triage):
    """Names and reasons come from outside and go to people."""
    problems = []
    intake = Intake(triage, on_problem=problems.append)
    intake.handle(Problem("imsi-001010000000001.gz", "cut off behind password=Tr0ub4dor"))
    assert problems == [Problem("imsi-<imsi>.gz", "cut off behind password=<password>")]


def test_second_end_of_a_run_gives_a_second_verdict(triage: Triage, tmp_path, clock: FakeClock):
    """A followed file that grew is read again under its id: the longer verdict replaces the shorter one in the store."""
    verdicts = []
    with SqliteStore(tmp_path / "v.sqlite") as store:
        intake = Intake(triage, [store], clock=clock, on_verdict=verdicts.append)
        first = PASSING.sources["ue"].splitlines(keepends=True)[:3]
        MemorySource([Chunk("a", b"".join(first), "ue"), RunEnd("a")]).run(intake.handle)
        intake.flush()
        assert not store.get("a").passed or not store.get("a").clean
        clock.advance(5)
        MemorySource(events_of("a")).run(intake.handle)
        intake.flush()
        assert store.get("a") == verdicts[1]
        assert [row.run_id for row in store.runs()] == ["a"]
    assert verdicts[1].version > verdicts[0].version
    assert verdicts[1].clean


def test_shorter_second_reading_replaces_nothing(triage: Triage, sink: CountingSink):
    """Versions count bytes, so what is known is never replaced by less."""
    intake = Intake(triage, [sink])
    MemorySource(events_of("a")).run(intake.handle)
    MemorySource([Chunk("a", b"uesim starting\n", "ue"), RunEnd("a")]).run(intake.handle)
    intake.flush()
    assert len(sink.written) == 2
    assert sink.verdicts["a"] == sink.written[0]


class FullSpool(SpillSpool):
    """Has no space for the run whose id contains `big`."""

    def append(self, source, lines) -> None:
        if "big" in self.run_id:
            raise StoreError("no space left")
        super().append(source, lines)

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id


@pytest.mark.parametrize("tick", [[], [Tick()]], ids=["at its end", "while it is open"])
def test_run_whose_text_cannot_be_kept_costs_no_other_run(bundle, sink: CountingSink, tick):
    """That run is named and has no verdict; the runs around it, open ones too, have theirs."""
    problems = []
    intake = Intake(Triage(bundle, open_spool=FullSpool), [sink], on_problem=problems.append)
    before, big, after = events_of("before"), events_of("big"), events_of("after", FAILING)
    MemorySource([*before, *big[:-1], *after[:1], *tick, *big[:1], big[-1], *after[1:]]).run(intake.handle)
    intake.flush()
    assert [verdict.run_id for verdict in sink.written] == ["before", "after"]
    assert sink.written[1].label == "L3"
    assert [(problem.path, problem.reason) for problem in problems] == [("big", "not judged: no space left")]
    assert intake.tally.errors == 1


def test_a_given_up_run_stays_given_up_until_it_ends(bundle, sink: CountingSink):
    """Text that comes after the error does not make it a run again, and its error is reported once."""
    problems = []
    intake = Intake(Triage(bundle, open_spool=NoSpool), [sink], on_problem=problems.append)
    intake.handle(Chunk("a", b"uesim starting\n"))
    intake.handle(Chunk("a", b"uesim starting\n"))
    intake.handle(RunEnd("a"))
    assert [problem.reason for problem in problems] == ["not judged: no file handle left"]
    assert intake.tally.runs == 0


class NoSpool:
    """Cannot even be opened."""

    def __init__(self, run_id: str) -> None:
        raise StoreError("no file handle left")


def test_runs_that_differ_in_an_identity_alone_are_reported(triage: Triage):
    """They share an id, so the store keeps one of them: that is an error with a remedy."""
    problems = []
    intake = Intake(triage, [], on_problem=problems.append)
    ids = [f"imsi-00101000000000{n}.log#0a1b2c3d" for n in (1, 2)]
    MemorySource([event for run_id in (ids[0], *ids) for event in events_of(run_id)]).run(intake.handle)
    assert [problem.path for problem in problems] == ["imsi-<imsi>.log#0a1b2c3d"]
    assert "redaction.pseudonym_key" in problems[0].reason
    assert intake.tally.errors == 1


def test_redacted_ids_are_remembered_up_to_a_limit(triage: Triage, monkeypatch):
    """Those not seen for longest are forgotten: memory is bounded, and runs that lie near each other are still noticed."""
    monkeypatch.setattr("stream_triage.intake.MAX_REDACTED_IDS", 2)
    problems = []
    intake = Intake(triage, [], on_problem=problems.append)

    def end(name: str, number: int) -> list[str]:
        problems.clear()
        intake.handle(RunEnd(f"{name}-imsi-00101000000000{number}"))
        return [problem.path for problem in problems]

    assert [end("a", 1), end("b", 1), end("a", 1)] == [[], [], []]
    assert end("c", 1) == []  # b is forgotten: a was seen after it
    assert end("a", 2) == ["a-imsi-<imsi>"]
    assert end("c", 2) == ["c-imsi-<imsi>"]
    assert end("b", 2) == []
    assert len(intake._redacted_ids) == 2
    intake.handle(RunEnd("plain"))
    assert "plain" not in intake._redacted_ids


def test_a_longer_text_replaces_a_verdict_that_was_given_again(triage: Triage, tmp_path):
    """The count of triages is carried over, so that growing text goes on counting as newer."""
    with SqliteStore(tmp_path / "v.sqlite") as store:
        for again in (False, True):
            intake = Intake(triage, [store], store=store, again=again)
            MemorySource(events_of("r")).run(intake.handle)
            intake.flush()
        first = store.get("r")
        intake = Intake(triage, [store], store=store)
        MemorySource([Chunk("r", b"one more line\n", "ue"), *events_of("r")]).run(intake.handle)
        intake.flush()
        assert store.get("r").version > first.version >> 48 << 48
        assert store.get("r").lines == first.lines + 1


def test_store_that_cannot_be_queried_costs_no_verdict(triage: Triage, sink: CountingSink, monkeypatch):
    """That an earlier verdict could not be looked up is a store error; the run is judged and written."""

    def broken(run_id):
        raise StoreError("the store is locked")

    monkeypatch.setattr(sink, "find", broken)
    verdicts = []
    intake = Intake(triage, [sink], store=sink, on_verdict=verdicts.append)
    MemorySource(events_of("r")).run(intake.handle)
    intake.flush()
    assert [verdict.run_id for verdict in verdicts] == [verdict.run_id for verdict in sink.written] == ["r"]
    assert intake.tally.store_errors == ["the store is locked"]
    assert intake.tally.errors == 0


def test_a_forgotten_run_is_in_no_sink(triage: Triage, clock: FakeClock):
    """Neither where it was flushed, nor where its verdict waits to be written, and not while it is open."""
    written, failing = CountingSink(), CountingSink(failing_writes=2)
    intake = Intake(triage, [written, failing], clock=clock, flushes=False)
    for event in [*events_of("a"), *events_of("b"), *events_of("open")[:-1]]:
        intake.handle(event)
    for run_id in ("a", "open", "unknown"):
        intake.forget(run_id)
    assert intake.flush()
    assert [list(sink.verdicts) for sink in (written, failing)] == [["b"], ["b"]]
    assert intake.discard_open() == []
