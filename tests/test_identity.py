"""The ends of runs from files in; which of them are the same run in a store that is kept, by Intake and both stores."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_triage import StoreError, Triage
from stream_triage.clock import FakeClock
from stream_triage.files.content import ContentDigest
from stream_triage.files.naming import OpenKey
from stream_triage.files.run_events import RunEvents
from stream_triage.intake import Intake
from stream_triage.ports import Store
from stream_triage.provisional.live import Live
from stream_triage.records import Chunk, Event, Problem, RunEnd, Tick, Verdict
from stream_triage.sinks.memory import MemorySink
from stream_triage.sinks.sqlite import SqliteStore
from tests.corpus import whole_run

HEAD = b"a beginning that all runs share\n" * 200
ONE, TWO = HEAD + whole_run(), HEAD + whole_run("L3", 2)
PART = ONE[: len(HEAD) + 100]
NO_HASH = "0a1b2c3d"


def digest(text: bytes) -> str:
    return sha256(text).hexdigest()


def file_events(path: str, text: bytes) -> list[Event]:
    """What `run` sends for a finished file."""
    events: list[Event] = []
    run = RunEvents(path, events.append)
    for start in range(0, max(len(text), 1), 1000):
        run.take(text[start : start + 1000])
    run.end()
    return events


def followed_events(run_id: str, text: bytes) -> list[Event]:
    """What a followed file sends that was given this id at first sight."""
    content = ContentDigest()
    content.update("", text)
    chunks = [Chunk(run_id, text[start : start + 1000]) for start in range(0, len(text), 1000)]
    path = run_id.rpartition("#")[0]
    return [*chunks, RunEnd(run_id, path=path, content=content.hexdigest(), head=content.head())]


def pipe_events(path: str, text: bytes) -> list[Event]:
    events: list[Event] = []
    run = RunEvents(path, events.append, pipe=True)
    run.take(text)
    run.end()
    return events


class Farm:
    """A store that is kept, and processes that write to it one after the other."""

    def __init__(self, triage: Triage, open_store: Callable[[], Store]) -> None:
        self._triage, self._open_store = triage, open_store
        self.problems: list[Problem] = []

    @contextmanager
    def store(self) -> Iterator[Store]:
        store = self._open_store()
        yield store
        if isinstance(store, SqliteStore):
            store.close()

    def process(
        self, *events: list[Event], again: bool = False, live: Live | None = None, flushes: bool = False
    ) -> list[Verdict]:
        """Takes the events in a process of its own; with `flushes`, what came before can be found."""
        verdicts: list[Verdict] = []
        with self.store() as store:
            intake = Intake(
                self._triage,
                [store],
                store=store,
                again=again,
                on_verdict=verdicts.append,
                on_problem=self.problems.append,
                live=live,
            )
            for some in events:
                for event in some:
                    intake.handle(event)
                assert not flushes or intake.flush()
            assert intake.flush()
            self.tally = intake.tally
        return verdicts

    @property
    def rows(self) -> dict[str, int]:
        """Run id and lines of what is stored, newest first."""
        with self.store() as store:
            return {row.run_id: row.lines for row in store.runs(limit=1000)}

    def get(self, run_id: str) -> Verdict:
        with self.store() as store:
            return store.get(run_id)


@pytest.fixture(params=["memory", "sqlite"])
def farm(request, triage: Triage, tmp_path: Path) -> Farm:
    if request.param == "sqlite":
        return Farm(triage, lambda: SqliteStore(tmp_path / "v.sqlite"))
    store = MemorySink()
    return Farm(triage, lambda: store)


class TestFinishedFiles:
    def test_the_id_is_made_of_path_and_content(self, farm: Farm) -> None:
        """The first digits of the digest that the verdict has in full."""
        (verdict,) = farm.process(file_events("a.log", ONE))
        assert verdict.run_id == f"a.log#{digest(ONE)[:8]}"
        assert verdict.content == digest(ONE)
        assert farm.get("a.log") == verdict

    def test_a_reused_path_is_another_run(self, farm: Farm) -> None:
        """Both executions keep their verdicts, though they begin alike, and whichever is longer."""
        for text in (TWO, ONE, TWO):
            farm.process(file_events("a.log", text))
        assert set(farm.rows) == {f"a.log#{digest(ONE)[:8]}", f"a.log#{digest(TWO)[:8]}"}
        assert farm.get(digest(ONE)[:8]).label == "Pass"
        assert farm.get(digest(TWO)[:8]).label == "L3"

    def test_reading_again_changes_nothing(self, farm: Farm) -> None:
        """The stored verdict stays as it was, time included."""
        (first,) = farm.process(file_events("a.log", ONE))
        farm.process(file_events("a.log", ONE))
        assert farm.get("a.log") == first
        assert len(farm.rows) == 1

    def test_again_replaces(self, farm: Farm) -> None:
        """`--again` replaces the verdict of the same content only."""
        farm.process(file_events("a.log", ONE), file_events("b.log", ONE))
        (again,) = farm.process(file_events("a.log", ONE), again=True)
        assert farm.get("a.log").version == again.version > farm.get("b.log").version

    def test_the_same_content_under_two_paths_is_two_runs(self, farm: Farm) -> None:
        """Tests without time stamps print identical logs; a file that was moved is another run, too."""
        farm.process(file_events("a.log", ONE), file_events("b.log", ONE))
        assert len(farm.rows) == 2
        farm.process(file_events("old/a.log", ONE))
        assert len(farm.rows) == 3

    def test_an_empty_file_is_replaced_by_nothing(self, farm: Farm) -> None:
        """Empty text is the beginning of every text, and still another run."""
        farm.process(file_events("a.log", b""))
        farm.process(file_events("a.log", ONE))
        assert len(farm.rows) == 2

    def test_equal_digits_are_numbered(self, farm: Farm, monkeypatch) -> None:
        """Other content whose digest begins alike gets an id of its own, and keeps it."""
        events = file_events("a.log", TWO)
        (end,) = (event for event in events if isinstance(event, RunEnd))
        alike = digest(ONE)[:8] + digest(TWO)[8:]
        events[-1] = RunEnd(end.run_id, path=end.path, content=alike, head=end.head)
        farm.process(file_events("a.log", ONE))
        for _ in range(2):
            (second,) = farm.process(events)
            assert second.run_id == f"a.log#{digest(ONE)[:8]}~2"
        assert len(farm.rows) == 2

    def test_problems_name_the_path(self, farm: Farm) -> None:
        """Before the end there is no id; the problem is in the verdict."""
        key = OpenKey.of("a.log")
        (verdict,) = farm.process(
            [Chunk(key, ONE), Problem("a.log", "it was cut off", key), RunEnd(key, path="a.log", content=digest(ONE))]
        )
        assert "it was cut off" in verdict.review_reasons
        assert [problem.path for problem in farm.problems] == ["a.log"]

    def test_identities_are_removed_from_ids(self, farm: Farm) -> None:
        """The path without identities is looked up; two files that differ in nothing else are reported."""
        paths = [f"imsi-00101000000000{number}.log" for number in (1, 2)]
        (verdict,) = farm.process(file_events(paths[0], ONE))
        assert verdict.run_id == f"imsi-<imsi>.log#{digest(ONE)[:8]}"
        assert farm.process(file_events(paths[0], ONE))[0].run_id == verdict.run_id
        assert not farm.problems
        farm.process(file_events(paths[0], ONE), file_events(paths[1], ONE))
        assert ["pseudonym_key" in problem.reason for problem in farm.problems] == [True]

    def test_without_a_store(self, triage: Triage) -> None:
        """The id is the same as in an empty store."""
        verdicts: list[Verdict] = []
        intake = Intake(triage, on_verdict=verdicts.append)
        for event in file_events("a.log", ONE):
            intake.handle(event)
        assert verdicts[0].run_id == f"a.log#{digest(ONE)[:8]}"

    def test_a_store_that_cannot_be_asked(self, triage: Triage) -> None:
        """The verdict has the id that it would have in an empty store, and the error is counted."""

        class Locked(MemorySink):
            def find_content(self, path, content):
                raise StoreError("locked")

        verdicts: list[Verdict] = []
        intake = Intake(triage, store=Locked(), on_verdict=verdicts.append)
        for event in file_events("a.log", ONE):
            intake.handle(event)
        assert verdicts[0].run_id == f"a.log#{digest(ONE)[:8]}"
        assert intake.tally.store_errors == ["locked"]

    def test_no_provisional_verdicts(self, triage: Triage) -> None:
        """A run without an id has none: nothing would replace them."""
        published: list[Verdict] = []
        intake = Intake(triage, live=Live(0.0, published.extend, FakeClock()))
        for event in [*file_events("a.log", ONE)[:-1], Tick()]:
            intake.handle(event)
        assert published == []


class TestFollowedFiles:
    ID = f"a.log#{NO_HASH}"

    def test_followed_then_run(self, farm: Farm) -> None:
        """A later `run` of the finished file finds it by its content and changes nothing."""
        (followed,) = farm.process(followed_events(self.ID, ONE))
        assert followed.run_id == self.ID
        (read,) = farm.process(file_events("a.log", ONE))
        assert read.run_id == self.ID
        assert farm.get("a.log") == followed
        assert len(farm.rows) == 1

    def test_run_then_followed(self, farm: Farm) -> None:
        """Files that are there when following begins are known already."""
        (read,) = farm.process(file_events("a.log", ONE))
        (followed,) = farm.process(followed_events(self.ID, ONE))
        assert followed.run_id == read.run_id
        assert len(farm.rows) == 1

    def test_a_file_that_grows_goes_on(self, farm: Farm) -> None:
        """Read again under the same id, in the same process: the longer verdict replaces the shorter one."""
        farm.process(followed_events(self.ID, PART), followed_events(self.ID, ONE))
        assert farm.rows == {self.ID: ONE.count(b"\n")}

    def test_a_file_that_grows_between_two_processes(self, farm: Farm) -> None:
        """What is stored under the id is an earlier part of the text, so it is replaced."""
        farm.process(followed_events(self.ID, PART))
        farm.process(followed_events(self.ID, ONE))
        assert farm.rows == {self.ID: ONE.count(b"\n")}

    def test_a_file_that_grows_goes_on_under_its_stored_id(self, farm: Farm) -> None:
        """The run was known by its content when it went idle; its longer text replaces that."""
        (read,) = farm.process(file_events("a.log", PART))
        farm.process(followed_events(self.ID, PART), followed_events(self.ID, ONE))
        assert farm.rows == {read.run_id: ONE.count(b"\n")}

    @pytest.mark.parametrize("other", [TWO, TWO + TWO, PART, b"x", ONE[1:]])
    def test_an_id_of_other_text_is_not_taken(self, farm: Farm, other: bytes) -> None:
        """Text that does not go on from what is stored under its id is another run, longer or shorter, each time alike."""
        farm.process(followed_events(self.ID, ONE))
        for _ in range(2):
            (verdict,) = farm.process(followed_events(self.ID, other))
            assert verdict.run_id == f"{self.ID}~2"
            assert farm.get(self.ID).content == digest(ONE)
            assert farm.get(f"{self.ID}~2").content == digest(other)
        assert len(farm.rows) == 2

    @pytest.mark.parametrize("flushes", [False, True])
    def test_equal_text_at_one_path_is_two_runs_if_two_were_seen(self, farm: Farm, flushes: bool) -> None:
        """Two executions that print the same, one after the other in a followed path."""
        events = followed_events("a.log#00000001", ONE), followed_events("a.log#00000002", ONE)
        verdicts = farm.process(*events, flushes=flushes)
        assert [verdict.run_id for verdict in verdicts] == ["a.log#00000001", "a.log#00000002"]
        assert len(farm.rows) == 2

    def test_identities_in_paths_and_sources(self, farm: Farm) -> None:
        """A file that grows goes on, though neither its path nor its source is stored as it is."""
        run_id, source = "imsi-001010000000001#0a1b2c3d", "imsi-001010000000002"
        for text in (PART, ONE):
            content = ContentDigest()
            content.update(source, text)
            end = RunEnd(run_id, path="imsi-001010000000001", content=content.hexdigest())
            farm.process([Chunk(run_id, text, source), end])
        assert farm.rows == {"imsi-<imsi>#0a1b2c3d": ONE.count(b"\n")}

    def test_folders_go_on_as_well(self, farm: Farm) -> None:
        """Every source of what is stored must be an earlier part, whichever grew."""

        def folder(**sources: bytes) -> list[Event]:
            content = ContentDigest()
            for source, text in sources.items():
                content.update(source, text)
            chunks = [Chunk("r#0a1b2c3d", text, source) for source, text in sources.items()]
            return [*chunks, RunEnd("r#0a1b2c3d", path="r", content=content.hexdigest())]

        farm.process(folder(du=b"one\ntwo\n", ue=b"a\n"))
        farm.process(folder(ue=b"a\nb\n", du=b"one\ntwo\n", gnb=b"new\n"))
        assert farm.rows == {"r#0a1b2c3d": 5}
        farm.process(folder(ue=b"A\nb\nc\n", du=b"one\ntwo\n", gnb=b"new\n"))
        assert farm.rows == {"r#0a1b2c3d~2": 6, "r#0a1b2c3d": 5}

    def test_provisional_verdicts_replace_no_other_run(self, farm: Farm) -> None:
        """There are none while the text may be that of another run than its id says."""
        farm.process(followed_events(self.ID, ONE))
        for text, expected in ((TWO + TWO, False), (ONE + TWO, True)):
            published: list[Verdict] = []
            live = Live(0.0, published.extend, FakeClock())
            farm.process([*followed_events(self.ID, text)[:-1], Tick()], live=live)
            assert bool(published) == expected

    def test_published_ids_stay(self, farm: Farm) -> None:
        """A run with provisional verdicts keeps the id that they have: the final verdict must replace them."""
        farm.process(file_events("a.log", ONE))
        published: list[Verdict] = []
        events = followed_events(self.ID, ONE)
        (final,) = farm.process([*events[:-1], Tick(), events[-1]], live=Live(0.0, published.extend, FakeClock()))
        assert final.run_id == published[0].run_id == self.ID

    def test_an_unfinished_verdict_of_a_process_that_died_is_replaced(self, farm: Farm) -> None:
        """A provisional verdict under the id is no other run."""
        with farm.store() as store:
            (final,) = farm.process(followed_events("b.log#0a1b2c3d", TWO))
            store.write(final.model_copy(update={"run_id": self.ID, "final": False, "version": 2, "content": ""}))
            store.flush()
        published: list[Verdict] = []
        events = followed_events(self.ID, ONE)
        live = Live(0.0, published.extend, FakeClock())
        (verdict,) = farm.process([*events[:-1], Tick(), events[-1]], live=live)
        assert verdict.run_id == self.ID == published[0].run_id
        assert farm.get(self.ID).final

    def test_remembered_ids_are_bounded(self, farm: Farm, monkeypatch) -> None:
        """A run that was forgotten is found in the store."""
        monkeypatch.setattr("stream_triage.identity.MAX_REMEMBERED", 1)
        farm.process(followed_events(self.ID, PART), followed_events("b.log#00000001", TWO))
        farm.process(followed_events("b.log#00000001", TWO), followed_events(self.ID, ONE))
        assert farm.rows == {self.ID: ONE.count(b"\n"), "b.log#00000001": TWO.count(b"\n")}


class TestPipes:
    def test_each_is_a_run(self, farm: Farm) -> None:
        """Forty pipes with the same text give forty stored verdicts."""
        for _ in range(40):
            farm.process(pipe_events("stdin", ONE))
        assert len(farm.rows) == 40

    def test_random_digits_that_are_taken(self, farm: Farm, monkeypatch) -> None:
        """Two pipes that drew the same digits are two runs all the same."""
        monkeypatch.setattr("secrets.token_hex", lambda size: NO_HASH)
        for text in (ONE, ONE, TWO):
            farm.process(pipe_events("stdin", text))
        assert set(farm.rows) == {f"stdin#{NO_HASH}", f"stdin#{NO_HASH}~2", f"stdin#{NO_HASH}~3"}


class TestGivenIds:
    def events(self, text: bytes) -> list[Event]:
        events: list[Event] = []
        run = RunEvents("a.log", events.append, run_id="night/17")
        run.take(text)
        run.end()
        return events

    def test_is_used_as_it_is(self, farm: Farm) -> None:
        """Reading again changes nothing, and a reading without it is a run of its own."""
        for _ in range(2):
            assert farm.process(self.events(ONE))[0].run_id == "night/17"
        farm.process(file_events("a.log", ONE))
        assert set(farm.rows) == {"night/17", f"a.log#{digest(ONE)[:8]}"}

    def test_other_text_that_is_not_longer_is_reported(self, farm: Farm) -> None:
        """The stored verdict is kept, and the tally says so, though both verdicts say the same."""
        text = re.sub(rb"port \d", b"port 1", ONE)
        assert text != ONE
        farm.process(self.events(ONE))
        assert farm.tally.kept_earlier == 0
        farm.process(self.events(text))
        assert farm.tally.kept_earlier == 1
        assert farm.get("night/17").content == digest(ONE)
        farm.process(self.events(text), again=True)
        assert farm.tally.kept_earlier == 0
        assert farm.get("night/17").content == digest(text)


def test_a_key_of_a_message_may_look_like_an_open_file(triage: Triage) -> None:
    """A sender's id that ends with a hash sign is used as it is."""
    verdicts: list[Verdict] = []
    intake = Intake(triage, on_verdict=verdicts.append)
    for event in (Chunk("night#", ONE), RunEnd("night#")):
        intake.handle(event)
    assert verdicts[0].run_id == "night#"


class TestEarlierReleases:
    """Runs that were stored under path and a hash of the first 4 KiB, without content."""

    def stored(self, farm: Farm, text: bytes, **changes) -> Verdict:
        """What an earlier release stored of a.log."""
        with farm.store() as store:
            (verdict,) = Farm(farm._triage, MemorySink).process(file_events("a.log", text))
            run_id = f"a.log#{digest(text[:4096])[:8]}"
            verdict = verdict.model_copy(update={"run_id": run_id, "content": "", **changes})
            store.write(verdict)
            store.flush()
        return verdict

    def test_the_same_file_is_recognised(self, farm: Farm) -> None:
        """It is not stored twice; from then on, its content is known."""
        old = self.stored(farm, ONE)
        (verdict,) = farm.process(file_events("a.log", ONE))
        assert verdict.run_id == old.run_id
        assert farm.tally.kept_earlier == 0
        assert farm.get("a.log") == old.model_copy(update={"content": digest(ONE)})
        with farm.store() as store:
            assert store.find_content("a.log", digest(ONE)).run_id == old.run_id

    def test_also_after_it_was_judged_again(self, farm: Farm) -> None:
        """The version then counts more than bytes."""
        old = self.stored(farm, ONE)
        self.stored(farm, ONE, version=old.version + (1 << 48))
        (verdict,) = farm.process(file_events("a.log", ONE), again=True)
        assert verdict.run_id == old.run_id
        assert farm.get("a.log") == verdict

    def test_another_file_with_the_same_beginning(self, farm: Farm) -> None:
        """It is another run, whether it is longer or shorter, and also if it is as long once the content is known."""
        old = self.stored(farm, ONE)
        for other in (TWO, ONE + b"x\n", ONE[:-3], ONE[:-3] + b"\n\n\n"):
            (verdict,) = farm.process(file_events("a.log", other))
            assert verdict.run_id == f"a.log#{digest(other)[:8]}"
        assert len(farm.rows) == 5
        farm.process(file_events("a.log", ONE))
        (verdict,) = farm.process(file_events("a.log", ONE[:-2] + b"?\n"))
        assert verdict.run_id != old.run_id

    def test_small_files_keep_their_ids(self, farm: Farm) -> None:
        """The hash of the first 4 KiB is that of the content; other text with the same digits is numbered."""
        old = self.stored(farm, HEAD[:100])
        (verdict,) = farm.process(file_events("a.log", HEAD[:100]))
        assert verdict.run_id == old.run_id == f"a.log#{digest(HEAD[:100])[:8]}"
        assert len(farm.rows) == 1

    def test_the_beginning_alone_is_another_run(self, farm: Farm) -> None:
        """A file of just the first 4 KiB would have the id of a longer run of an earlier release."""
        old = self.stored(farm, ONE)
        (verdict,) = farm.process(file_events("a.log", ONE[:4096]))
        assert verdict.run_id == f"{old.run_id}~2"
        assert farm.get(old.run_id) == old

    def test_followed_files_are_recognised(self, farm: Farm) -> None:
        """A follower that is started after an upgrade stores nothing twice."""
        old = self.stored(farm, ONE)
        (verdict,) = farm.process(followed_events("a.log#00000001", ONE))
        assert verdict.run_id == old.run_id
        assert len(farm.rows) == 1


PATHS = st.sampled_from(["a.log", "b.log", "zip!/a.log"])
CONTENTS = st.sampled_from([b"", HEAD, HEAD + b"1\n", HEAD + b"2\n", HEAD + b"1\n2\n", b"1\n"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(st.tuples(PATHS, CONTENTS, st.booleans()), min_size=1, max_size=12))
def test_any_history_of_paths_and_contents(triage: Triage, history: list[tuple[str, bytes, bool]]) -> None:
    """One stored run for each pair of path and content, whatever was read before, in one process or in several."""
    store = MemorySink()
    farm = Farm(triage, lambda: store)
    process: list[list[Event]] = []
    for path, content, ends in history:
        process.append(file_events(path, content))
        if ends:
            farm.process(*process)
            process = []
    farm.process(*process)
    pairs = {(path, digest(content)) for path, content, _ in history}
    assert len(farm.rows) == len(pairs)
    for path, content in pairs:
        row = store.find_content(path, content)
        assert row is not None
        assert store.get(row.run_id).content == content


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a.log#00000001", "a.log#00000002", "b.log#00000001"]),
        st.sampled_from(["read", "follow", "follow on"]),
        st.sampled_from([b"1\n", b"2\n", HEAD, HEAD + b"1\n", HEAD + b"2\n"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_verdict_is_replaced_by_one_on_other_text(triage: Triage, steps) -> None:
    """Followed, grown and read in any order: a verdict stays, or gives way to one on text that goes on from its own."""
    store, texts = MemorySink(), {}
    farm = Farm(triage, lambda: store)
    for run_id, step, text in steps:
        events = file_events(run_id.partition("#")[0], text) if step == "read" else followed_events(run_id, text)
        if step == "follow on":
            events += followed_events(run_id, text + b"and on\n")
            texts[digest(text + b"and on\n")] = text + b"and on\n"
        texts[digest(text)] = text
        before = dict(store.verdicts)
        farm.process(events)
        last = digest(text + b"and on\n" if step == "follow on" else text)
        assert any(verdict.content == last for verdict in store.verdicts.values())
        for known, verdict in before.items():
            assert texts[store.verdicts[known].content].startswith(texts[verdict.content])
