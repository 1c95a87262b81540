"""The behaviour that every sink and store owes, as test classes.

A subclass says how to open the sink and how to look at its target.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest

from stream_triage.clock import FakeClock
from stream_triage.errors import RunNotFound, StoreError
from stream_triage.ports import Sink, Store
from stream_triage.records import Verdict, verdict_version
from stream_triage.spool import SpillSpool
from tests.verdicts import kept, make_verdict

__all__ = ["DeliveryContract", "FailureContract", "ForgetsContract", "SinkContract", "StoreContract"]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class DeliveryContract:
    """What is written arrives, in order and once. The clock advances one second with each `give`, so that times differ."""

    clock: FakeClock

    def open_sink(self) -> Sink:
        """A sink on the same target each time it is called within one test."""
        raise NotImplementedError

    def runs(self) -> list[str]:
        """The runs that a reader of the target sees, oldest first."""
        raise NotImplementedError

    @pytest.fixture
    def sink(self) -> Iterator[Sink]:
        sink = self.open_sink()
        yield sink
        sink.close()

    def give(self, sink: Sink, *verdicts: Verdict) -> None:
        for verdict in verdicts:
            self.clock.advance(1)
            with SpillSpool(verdict.run_id) as text:
                text.append("", ["one", "two"])
                sink.write(verdict, text)

    def test_keeps_order(self, sink: Sink) -> None:
        """Verdicts arrive in the order in which they were written."""
        names = ["b", "c", "a"]
        self.give(sink, *map(make_verdict, names))
        sink.flush()
        assert self.runs() == names

    def test_flushes_twice(self, sink: Sink) -> None:
        """A flush with nothing new changes nothing, nor does one before the first write."""
        sink.flush()
        self.give(sink, make_verdict("a"))
        sink.flush()
        sink.flush()
        assert self.runs() == ["a"]

    def test_retry_makes_no_duplicate(self, sink: Sink) -> None:
        """A verdict that is written again, before and after a flush, counts once and raises nothing."""
        self.give(sink, make_verdict("a"), make_verdict("a"))
        sink.flush()
        self.give(sink, make_verdict("a"))
        sink.flush()
        assert self.runs() == ["a"]

    def test_survives_reopening(self) -> None:
        """What was flushed is there for the next process; closing flushes, and closing twice is allowed."""
        sink = self.open_sink()
        self.give(sink, make_verdict("a"))
        sink.close()
        sink.close()
        again = self.open_sink()
        self.give(again, make_verdict("b"))
        again.close()
        assert self.runs() == ["a", "b"]

    def test_takes_a_verdict_without_text(self, sink: Sink) -> None:
        """A verdict may come without its text."""
        sink.write(make_verdict("a"))
        sink.flush()

    def test_takes_nothing_after_close(self) -> None:
        """A closed sink raises an error for each call."""
        sink = self.open_sink()
        sink.close()
        with pytest.raises(StoreError, match="closed"):
            sink.write(make_verdict("a"))
        with pytest.raises(StoreError, match="closed"):
            sink.flush()


class SinkContract(DeliveryContract):
    """Of several verdicts of one run, the one with the highest version counts."""

    def counting(self) -> list[tuple[str, int]]:
        """Run and version of the verdicts that count for a reader, oldest first."""
        raise NotImplementedError

    def runs(self) -> list[str]:
        return [run_id for run_id, _ in self.counting()]

    def test_higher_version_replaces(self, sink: Sink) -> None:
        """A verdict with a higher version takes the place of a lower one."""
        self.give(sink, make_verdict("a", version=verdict_version(10, final=True)))
        sink.flush()
        self.give(sink, make_verdict("a", version=verdict_version(20, final=True)))
        sink.flush()
        assert self.counting() == [("a", 41)]

    def test_lower_version_never_replaces(self, sink: Sink) -> None:
        """A late verdict with a lower version is skipped without an error, in another flush and in the same one."""
        self.give(sink, make_verdict("a", version=41))
        sink.flush()
        self.give(sink, make_verdict("a", version=21), make_verdict("b", version=41), make_verdict("b", version=21))
        sink.flush()
        assert self.counting() == [("a", 41), ("b", 41)]

    def test_final_replaces_provisional_of_the_same_text(self, sink: Sink) -> None:
        """The final verdict replaces the provisional one of as many bytes, and not the other way round."""
        provisional = make_verdict("a", version=verdict_version(10, final=False), final=False)
        final = make_verdict("a", version=verdict_version(10, final=True))
        self.give(sink, provisional, final, provisional)
        sink.flush()
        assert self.counting() == [("a", final.version)]


class FailureContract(DeliveryContract):
    """A target that fails for a while costs nothing."""

    def failing(self) -> AbstractContextManager[object]:
        """While it lasts, the target takes nothing."""
        raise NotImplementedError

    def test_keeps_what_it_could_not_write(self, sink: Sink) -> None:
        """Each flush raises an error while the target fails; the first one afterwards writes everything, in order."""
        self.give(sink, make_verdict("a"))
        sink.flush()
        with self.failing():
            self.give(sink, make_verdict("b"))
            for _ in range(2):
                with pytest.raises(StoreError):
                    sink.flush()
            self.give(sink, make_verdict("c"))
        assert self.runs() == ["a"]
        sink.flush()
        assert self.runs() == ["a", "b", "c"]

    def test_closes_while_the_target_fails(self) -> None:
        """Closing raises the error of its flush and closes all the same."""
        sink = self.open_sink()
        self.give(sink, make_verdict("a"))
        with self.failing():
            with pytest.raises(StoreError):
                sink.close()
            sink.close()
        with pytest.raises(StoreError, match="closed"):
            sink.flush()


class ForgetsContract(DeliveryContract):
    """What was forgotten is gone, whoever wrote it, and stays away. `runs` must not show runs that were forgotten."""

    def test_forgets_what_was_written_and_what_waits(self, sink: Sink) -> None:
        """Other runs stay, also one whose id begins alike. Forgetting again raises nothing."""
        self.give(sink, make_verdict("a"), make_verdict("ab"))
        sink.flush()
        self.give(sink, make_verdict("a", version=401), make_verdict("b"))
        for _ in range(2):
            sink.forget("a")
            sink.flush()
            assert self.runs() == ["ab", "b"]

    def test_forgets_what_another_one_wrote(self) -> None:
        """The command `forget` has sinks of its own; what a worker flushes afterwards brings nothing back."""
        worker, command = self.open_sink(), self.open_sink()
        self.give(worker, make_verdict("a"), make_verdict("b"))
        worker.flush()
        command.forget("a")
        command.close()
        worker.flush()
        worker.close()
        assert self.runs() == ["b"]

    def test_forgets_a_run_that_it_never_had(self, sink: Sink) -> None:
        assert not sink.forget("a")
        self.give(sink, make_verdict("b"))
        sink.flush()
        assert self.runs() == ["b"]


class StoreContract(SinkContract, ForgetsContract):
    """A store can be searched for what was flushed."""

    def open_sink(self) -> Store:
        raise NotImplementedError

    def counting(self) -> list[tuple[str, int]]:
        store = self.open_sink()
        try:
            return [(run.run_id, run.version) for run in reversed(store.runs())]
        finally:
            store.close()

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = self.open_sink()
        yield store
        store.close()

    def put(self, store: Store, *verdicts: Verdict) -> None:
        self.give(store, *verdicts)
        store.flush()

    def test_finds_by_the_very_id_only(self, store: Store) -> None:
        """`find` takes the whole id and no part of it."""
        self.put(store, make_verdict("night/a.log#1"))
        assert [store.find("night/a.log#1")] == store.runs()
        assert store.full_id("a.log") == "night/a.log#1"
        assert store.find("night/a.log") is None
        assert store.find("%") is None

    def test_finds_by_path_and_content(self, store: Store) -> None:
        """Only the exact path counts, which is the id up to its last hash sign, and of several runs the newest."""
        self.put(
            store,
            *(make_verdict(run_id, content="c1") for run_id in ("a#b.log#00000001", "a#b.log#00000002~2", "b.log#00000003")),
            make_verdict("a#b.log#00000004", content="c2"),
            make_verdict("night/17", content="c1"),
            make_verdict("a#b.log#00000005"),
        )
        assert store.find_content("a#b.log", "c1") == store.find("a#b.log#00000002~2")
        assert store.find_content("a#b.log", "c2") == store.find("a#b.log#00000004")
        for path, content in (("a", "c1"), ("a#b.log", "c3"), ("b", "c1"), ("", "c2"), ("night/17", "c1"), ("a#b.log", "")):
            assert store.find_content(path, content) is None

    def test_content_of_what_is_replaced_or_forgotten(self, store: Store) -> None:
        """A run is found by the content of its highest version, and not after it was forgotten."""
        self.put(store, make_verdict("a#00000001", version=21, content="c1"))
        self.put(store, make_verdict("a#00000001", version=41, content="c2"))
        self.put(store, make_verdict("a#00000001", version=31, content="c3"))
        assert [bool(store.find_content("a", content)) for content in ("c1", "c2", "c3")] == [False, True, False]
        store.forget("a#00000001")
        assert store.find_content("a", "c2") is None

    def test_content_is_added_to_a_verdict_without(self, store: Store) -> None:
        """What an earlier release stored gets the content when the same text is read again, and nothing else changes."""
        old = make_verdict("a#00000001", version=21, time=NOON)
        self.put(store, old)
        self.put(store, make_verdict("a#00000001", version=21, content="c1", label="L2"))
        assert store.get("a#00000001") == old.model_copy(update={"content": "c1"})
        self.put(store, make_verdict("a#00000001", version=21, content="c2"))
        assert store.get("a#00000001").content == "c1"
        assert store.find_content("a", "c1") == store.find("a#00000001")

    def test_gives_back_the_whole_verdict(self, store: Store) -> None:
        """What comes out equals what went in, odd characters and all."""
        verdict = make_verdict("ü/'%_", reduction=kept("x\0y 🙂 \u2028 'quote\""), headers={"testbed": "a"}, time=NOON)
        self.put(store, verdict)
        assert store.get("ü/'%_") == verdict

    def test_finds_a_run_by_part_of_its_id(self, store: Store) -> None:
        """The full id wins over a beginning, a beginning over any part."""
        self.put(store, *map(make_verdict, ["attach", "attach/1", "night/attach/1", "night/detach%"]))
        assert store.get("attach").run_id == "attach"
        assert store.get("attach/").run_id == "attach/1"
        assert store.get("detach").run_id == "night/detach%"
        assert store.get("%").run_id == "night/detach%"

    def test_names_candidates(self, store: Store) -> None:
        """A part that several ids contain raises an error that names at most five of them."""
        self.put(store, *(make_verdict(f"night/{number}") for number in range(7)))
        with pytest.raises(RunNotFound, match=r"^[^/]*(night/\d[^/]*){5}$"):
            store.get("night")

    def test_says_when_there_is_no_such_run(self, store: Store) -> None:
        """An unknown id raises an error that says how to list the known ones."""
        with pytest.raises(RunNotFound, match="runs"):
            store.get("nowhere")

    def test_lists_newest_first(self, store: Store) -> None:
        """The time of the verdict decides, else the time of writing; `limit` cuts the oldest."""
        old = make_verdict("old", time=datetime(2020, 1, 1, tzinfo=UTC))
        future = make_verdict("future", time=datetime(2040, 1, 1, 1, tzinfo=UTC))
        self.put(store, future, make_verdict("first"), old, make_verdict("second"))
        assert [run.run_id for run in store.runs()] == ["future", "second", "first", "old"]
        assert [run.run_id for run in store.runs(limit=2)] == ["future", "second"]

    def test_lists_what_the_verdict_says(self, store: Store) -> None:
        """A row repeats the fields of its verdict."""
        self.put(store, make_verdict("a", label="L2", passed=False, needs_review=True, confidence=0.25, time=NOON))
        (run,) = store.runs()
        assert (run.run_id, run.time, run.label, run.passed) == ("a", NOON, "L2", False)
        assert (run.needs_review, run.anomalous, run.final) == (True, False, True)
        assert (run.confidence, run.anomaly_score, run.lines, run.bundle, run.version) == (0.25, 0.1, 10, "tiny", 201)

    def test_filters(self, store: Store) -> None:
        """By label, and by leaving out clean passes."""
        self.put(
            store,
            make_verdict("clean"),
            make_verdict("unsure", needs_review=True),
            make_verdict("odd", anomalous=True),
            make_verdict("failed", passed=False, label="L2"),
        )
        assert {run.run_id for run in store.runs(label="L2")} == {"failed"}
        assert {run.run_id for run in store.runs(unclean=True)} == {"unsure", "odd", "failed"}
        assert store.runs(label="L2", unclean=True, limit=5) == store.runs(label="L2")

    @pytest.mark.parametrize(
        ("search", "runs"),
        [
            ("timer", {"a"}),
            ("TIM", {"a"}),
            ("t310 expired", {"a"}),
            ("expired T310", {"a"}),
            ("rrc", {"a", "b"}),
            ("timer setup", set()),  # both words, but on different lines
            ("gnb-du", {"b"}),
            ("", {"a", "b"}),
            ('" OR *', set()),
            ("(", set()),
            ("NOT timer", set()),
            ("text:timer", set()),
            ("\udcff\0", set()),
        ],
    )
    def test_searches_words(self, store: Store, search: str, runs: set[str]) -> None:
        """All words, or words that begin so, must be on one kept line; nothing in a search is a command."""
        self.put(
            store,
            make_verdict("a", reduction=kept("RRC: timer T310 expired", "setup")),
            make_verdict("b", reduction=kept("RRC_REJECT from gNB-DU 7")),
        )
        assert {run.run_id for run in store.runs(search=search)} == runs

    def test_replacing_replaces_the_lines_too(self, store: Store) -> None:
        """A search finds only lines of the verdict with the highest version."""
        self.put(store, make_verdict("a", version=21, reduction=kept("before")))
        self.put(store, make_verdict("a", version=41, reduction=kept("after")))
        self.put(store, make_verdict("a", version=31, reduction=kept("late")))
        assert [bool(store.runs(search=word)) for word in ("before", "after", "late")] == [False, True, False]

    def test_forgets_one_run(self, store: Store) -> None:
        """Nothing of the run is left, not even a buffered verdict; other runs stay."""
        self.put(store, make_verdict("a", reduction=kept("secret")), make_verdict("ab", reduction=kept("other")))
        self.give(store, make_verdict("a", version=301))
        assert store.forget("a")
        store.flush()
        assert not store.forget("a")
        assert [run.run_id for run in store.runs()] == ["ab"]
        assert store.runs(search="secret") == []
        assert store.runs(search="other") != []

    def test_forgets_only_by_the_full_id(self, store: Store) -> None:
        """A part of an id removes nothing."""
        self.put(store, make_verdict("night/1"))
        assert not store.forget("night")
        assert len(store.runs()) == 1

    def test_prunes_by_age_and_number(self, store: Store) -> None:
        """Runs older than a date are removed, or all but the newest; their ids come oldest first."""
        self.put(store, *(make_verdict(str(day), time=NOON + timedelta(days=day)) for day in range(5)))
        assert store.prune() == []
        assert store.prune(before=NOON + timedelta(days=1)) == ["0"]
        assert store.prune(keep=2) == ["1", "2"]
        assert store.prune(before=NOON, keep=10) == []
        assert [run.run_id for run in store.runs()] == ["4", "3"]
        assert store.prune(keep=0) == ["3", "4"]
