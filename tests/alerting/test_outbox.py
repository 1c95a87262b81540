"""The file of the outbox: its schema and migrations, locks of other programs, and what it remembers at most."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stream_triage.alerting import outbox as outbox_module
from stream_triage.alerting.outbox import SCHEMA, AlertStatus, Outbox
from stream_triage.alerting.rules import History, Outcomes
from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.records import Anomaly, Evidence, Verdict
from stream_triage.settings import AlertSettings
from stream_triage.sinks.sqlite import SqliteStore
from tests.verdicts import make_verdict

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
# As the release before schema versions created it, index and all.
UNVERSIONED = """
CREATE TABLE groups (
    id INTEGER PRIMARY KEY, rule TEXT, team TEXT, label TEXT, cause TEXT, keys TEXT, reason TEXT, verdict TEXT,
    runs INTEGER, told INTEGER DEFAULT 0, last_time REAL, not_before REAL, sent_time REAL, tries INTEGER DEFAULT 0,
    delivered TEXT DEFAULT '[]');
CREATE INDEX groups_alike ON groups (rule, label, last_time);
CREATE TABLE alerts (run_id TEXT, rule TEXT, reason TEXT, group_id INTEGER, time REAL, PRIMARY KEY (run_id, rule));
CREATE TABLE outcomes (run_id TEXT PRIMARY KEY, version INTEGER, test_case TEXT, time REAL, failed INTEGER);
CREATE INDEX outcomes_case ON outcomes (test_case, time);
CREATE TABLE seen_keys (key TEXT PRIMARY KEY);
CREATE TABLE sent (time REAL, team TEXT);
"""


def failing(run_id: str = "a") -> Verdict:
    evidence = (Evidence(kind="line", weight=2.0, source="ue", number=7, text="registration reject", key="k"),)
    return make_verdict(run_id, label="L3", passed=False, evidence=evidence, time=NOON, team="core")


def with_new_keys(run_id: str, *keys: str) -> Verdict:
    anomalies = tuple(Anomaly(kind="new", score=0.5, source="", number=1, key=key, text="x") for key in keys)
    return make_verdict(run_id, anomalies=anomalies, time=NOON)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
def settings(tmp_path: Path) -> AlertSettings:
    return AlertSettings(path=tmp_path / "alerts.sqlite", rules=("failed", "new_template"))


@pytest.fixture
def outbox(settings: AlertSettings, clock: FakeClock) -> Iterator[Outbox]:
    with Outbox(settings, clock=clock, busy_seconds=0.05) as opened:
        yield opened


@pytest.fixture
def locked(outbox: Outbox, settings: AlertSettings) -> Iterator[sqlite3.Connection]:
    """Another program that holds the write lock of the file."""
    with closing(sqlite3.connect(settings.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        if other.in_transaction:
            other.execute("ROLLBACK")


def test_a_review_counts_in_no_rate_and_makes_no_key_known(outbox: Outbox) -> None:
    """By default it makes no message; the next decided run still has the first line of its kind."""
    doubtful = {"needs_review": True, "headers": {"test.case.name": "attach"}}
    outbox.write(with_new_keys("a", "new:k").model_copy(update={**doubtful, "label": "L3", "passed": False}))
    outbox.flush()
    assert outbox.due() == []
    assert outbox.explain("a") == []
    history = outbox.history(with_new_keys("b", "new:k").model_copy(update={"headers": doubtful["headers"]}))
    assert history == History(frozenset(("new:k",)), Outcomes(1, 0), Outcomes(0, 0))


class TestSchema:
    @pytest.fixture
    def unversioned(self, settings: AlertSettings) -> AlertSettings:
        """An outbox of the first release: one group due again, one sent, and what it remembers of runs and keys."""
        first, second, stamp = failing("a"), failing("b"), NOON.timestamp()
        group = "INSERT INTO groups VALUES (?, 'failed', 'core', 'L3', NULL, '[\"k\"]', 'label L3', ?, ?, ?, ?, ?, ?, ?, ?)"
        with closing(sqlite3.connect(settings.path)) as connection:
            connection.executescript(UNVERSIONED)
            connection.execute("PRAGMA journal_mode = WAL")
            values = (1, first.model_dump_json(), 3, 1, stamp, stamp, stamp - 60, 2, '["t"]')
            connection.execute(group, values)
            connection.execute(group, (2, second.model_dump_json(), 1, 1, stamp, stamp, stamp - 30, 0, "[]"))
            connection.executemany(
                "INSERT INTO alerts VALUES (?, 'failed', 'label L3', ?, ?)", [("a", 1, stamp), ("b", 2, stamp)]
            )
            connection.executemany("INSERT INTO outcomes VALUES (?, 201, NULL, ?, 1)", [("a", stamp), ("b", stamp)])
            connection.execute("INSERT INTO seen_keys VALUES ('new:old')")
            connection.execute("INSERT INTO sent VALUES (?, 'core')", (stamp - 60,))
            connection.commit()
        return settings

    def test_a_file_without_a_version_is_migrated(self, unversioned: AlertSettings, clock: FakeClock) -> None:
        """Groups, counts, statuses, outcomes and keys are those of the old file."""
        with Outbox(unversioned, clock=clock) as outbox:
            (group,) = outbox.due()
            assert (group.id, group.runs, group.tries, group.delivered) == (1, 3, 2, frozenset("t"))
            assert group.verdict == failing("a")
            sent = AlertStatus("failed", "label L3", "core", 1, NOON - timedelta(seconds=30), NOON)
            assert outbox.explain("b") == [sent]
            assert (outbox.sent_last_hour("core"), outbox.last_verdict()) == (1, ("a", NOON))
            outbox.write(failing("a"))
            outbox.flush()
            assert outbox.due() == [group], "a verdict that the old release took is not counted again"
            history = outbox.history(with_new_keys("c", "new:old", "new:now"))
            assert history.unseen_keys == frozenset(("new:now",))

    def test_a_migrated_file_goes_on(self, unversioned: AlertSettings, clock: FakeClock) -> None:
        """The next failure joins the group of the old file, and what was sent is recorded there."""
        with Outbox(unversioned, clock=clock) as outbox:
            outbox.write(failing("c"))
            outbox.flush()
            assert [group.id for group in outbox.due()] == [1, 2]
            for group in outbox.due():
                outbox.mark_sent(group)
        with Outbox(unversioned, clock=clock) as again:
            assert (again.due(), again.explain("c")[0].runs) == ([], 2)

    def test_a_half_created_file_is_completed(self, settings: AlertSettings) -> None:
        """The first release created its tables one by one, and could be killed between two."""
        with closing(sqlite3.connect(settings.path)) as connection:
            connection.executescript(UNVERSIONED.partition("CREATE TABLE outcomes")[0])
        with Outbox(settings) as outbox:
            outbox.write(failing())
            outbox.flush()
            assert outbox.last_verdict()

    def test_a_new_file_has_the_newest_schema(self, outbox: Outbox, settings: AlertSettings) -> None:
        """Version and application are in the header of the file; its folder and side files are private."""
        with closing(sqlite3.connect(settings.path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (len(SCHEMA.migrations),)
            assert connection.execute("PRAGMA application_id").fetchone() == (SCHEMA.application_id,)
        files = settings.path.parent.glob("alerts.sqlite*")
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    def test_a_newer_file_is_rejected(self, settings: AlertSettings) -> None:
        """It is left as it is, and the message names both remedies."""
        Outbox(settings).close()
        with closing(sqlite3.connect(settings.path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        before = settings.path.read_bytes()
        with pytest.raises(StoreError, match=r"newer release \(schema 99.*upgrade stream-triage or set alerts\.path"):
            Outbox(settings)
        assert settings.path.read_bytes() == before

    @pytest.mark.parametrize(
        "statement", ["CREATE TABLE bookmarks (url)", "CREATE TABLE groups (x); CREATE TABLE users (x)"]
    )
    def test_a_file_of_another_program_is_rejected(self, settings: AlertSettings, statement: str) -> None:
        with closing(sqlite3.connect(settings.path)) as connection:
            connection.executescript(statement)
        with pytest.raises(StoreError, match=r"another program; set alerts\.path"):
            Outbox(settings)

    def test_the_store_is_not_taken_for_an_outbox(self, settings: AlertSettings) -> None:
        """Nor the other way round."""
        SqliteStore(settings.path).close()
        with pytest.raises(StoreError, match=r"another program; set alerts\.path"):
            Outbox(settings)
        other = settings.model_copy(update={"path": settings.path.with_name("other.sqlite")})
        Outbox(other).close()
        with pytest.raises(StoreError, match=r"another program; set store\.path"):
            SqliteStore(other.path)

    def test_a_file_that_is_no_database_is_rejected(self, settings: AlertSettings) -> None:
        settings.path.write_text("run,verdict\n" * 100)
        with pytest.raises(StoreError, match=r"outbox .*not a database.*set alerts\.path"):
            Outbox(settings)


class TestLocked:
    def test_steps_raise_with_the_remedy(self, outbox: Outbox, locked: sqlite3.Connection) -> None:
        """All that write, but `flush`, raise `StoreError` and no error of SQLite."""
        locked.execute("ROLLBACK")
        outbox.write(failing())
        outbox.flush()
        outbox.make_due()
        (group,) = outbox.due()
        locked.execute("BEGIN IMMEDIATE")
        steps = (
            outbox.check_writable,
            outbox.make_due,
            lambda: outbox.forget("a"),
            lambda: outbox.prune(NOON),
            lambda: outbox.claim(group),
            lambda: outbox.mark_sent(group),
            lambda: outbox.mark_failed(group, (), 1),
            lambda: outbox.put(outbox_module.Alert("silence", "x"), failing("b")),
        )
        for step in steps:
            with pytest.raises(StoreError, match=r"outbox .*locked; another program holds"):
                step()
        locked.execute("ROLLBACK")
        assert outbox.due() == [group], "none of them did half of its work"

    def test_queries_raise_with_the_remedy(self, outbox: Outbox) -> None:
        """A damaged table is met when it is read."""
        outbox._database.connection.execute("DROP TABLE outcomes")
        for query in (outbox.last_verdict, lambda: outbox.history(make_verdict(headers={"test.case.name": "attach"}))):
            with pytest.raises(StoreError, match=r"no such table: outcomes; set alerts\.path"):
                query()

    def test_closed(self, outbox: Outbox) -> None:
        """A closed outbox takes nothing, and closing twice is fine."""
        outbox.close()
        outbox.close()
        for step in (lambda: outbox.write(failing()), outbox.flush, outbox.due):
            with pytest.raises(StoreError, match="closed"):
                step()


class TestWaiting:
    def test_verdicts_wait_compressed_while_the_file_is_locked(
        self, outbox: Outbox, locked: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All of them are written afterwards, some at a time: a worker that stops must not wait for thousands."""
        monkeypatch.setattr(outbox_module, "FLUSH_VERDICTS", 2)
        for name in "abcde":
            outbox.write(failing(name))
            outbox.flush()
        assert all(isinstance(waiting._verdict, bytes) for waiting in outbox._waiting)
        locked.execute("ROLLBACK")
        left = []
        while outbox._waiting:
            outbox.flush()
            left.append(len(outbox._waiting))
        assert left == [3, 1, 0]
        assert all(outbox.explain(name) for name in "abcde")


class TestForget:
    def test_waiting_verdicts_are_forgotten(self, outbox: Outbox) -> None:
        """One that was taken and not flushed is not written later."""
        outbox.write(failing("a"))
        assert outbox.forget("a")
        outbox.flush()
        assert (outbox.last_verdict(), outbox.explain("a")) == (None, [])


class TestForgetOneOfSeveral:
    """Similar runs share a group, and each of them has a line of its own."""

    def give(self, outbox: Outbox, *run_ids: str) -> None:
        for run_id in run_ids:
            evidence = (Evidence(kind="line", weight=2.0, source="ue", number=7, text=f"reject of {run_id}", key="k"),)
            outbox.write(failing(run_id).model_copy(update={"evidence": evidence, "headers": {"testbed": f"bed {run_id}"}}))
        outbox.flush()

    def message(self, outbox: Outbox, clock: FakeClock) -> tuple[int, str]:
        """How many runs the message is about, and all that it can quote."""
        clock.advance(outbox_module.CLAIM_SECONDS)
        (group,) = outbox.due()
        return group.runs, group.verdict.model_dump_json() + group.reason

    def test_the_first_run(self, outbox: Outbox, clock: FakeClock, settings: AlertSettings) -> None:
        """The next one takes its place, with its own lines."""
        self.give(outbox, "first", "second", "third")
        assert outbox.forget("first")
        runs, text = self.message(outbox, clock)
        assert (runs, "first" in text, "reject of second" in text) == (2, False, True)
        files = settings.path.parent.glob("alerts.sqlite*")
        assert not any(b"reject of first" in file.read_bytes() for file in files)
        assert [status.runs for status in outbox.explain("third")] == [2]

    def test_another_run(self, outbox: Outbox, clock: FakeClock) -> None:
        self.give(outbox, "first", "second", "third")
        assert outbox.forget("second")
        runs, text = self.message(outbox, clock)
        assert (runs, "second" in text, "reject of first" in text) == (2, False, True)

    def test_one_after_the_other(self, outbox: Outbox, clock: FakeClock) -> None:
        """The group ends with its last run."""
        self.give(outbox, "first", "second")
        assert [outbox.forget(run_id) for run_id in ("first", "second", "first")] == [True, True, False]
        clock.advance(outbox_module.CLAIM_SECONDS)
        assert outbox.due() == []

    @pytest.mark.parametrize(("forgotten", "due"), [("first", 1), ("second", 1), ("third", 0)])
    def test_what_was_reported_stays_reported(self, outbox: Outbox, clock: FakeClock, forgotten: str, due: int) -> None:
        """A run that was not is still due, and no run is reported because another one was forgotten."""
        self.give(outbox, "first", "second")
        clock.advance(31)
        (group,) = outbox.due()
        outbox.mark_sent(group)
        self.give(outbox, "third")
        outbox.forget(forgotten)
        clock.advance(timedelta(days=1).total_seconds())
        assert len(outbox.due()) == due

    def test_runs_of_an_earlier_release(self, outbox: Outbox, clock: FakeClock) -> None:
        """Their verdicts were not kept: what remains is what similar runs have in common."""
        self.give(outbox, "first", "second")
        outbox._database.connection.execute("UPDATE alerts SET verdict = NULL")
        outbox.forget("first")
        runs, text = self.message(outbox, clock)
        assert (runs, "first" in text, '"run_id":"second"' in text, '"label":"L3"' in text) == (1, False, True, True)

    def test_silence_after_a_forgotten_run(self, outbox: Outbox, clock: FakeClock) -> None:
        """The alert names the run, so it goes too."""
        name = outbox_module.silence_after("a")
        outbox.put(outbox_module.Alert("silence", "the last one was a"), make_verdict(name, label="silence", passed=False))
        outbox.forget("a")
        clock.advance(31)
        assert outbox.due() == []


class TestSeenKeys:
    def test_those_seen_least_recently_are_dropped(
        self, outbox: Outbox, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At most `MAX_SEEN_KEYS` stay; seeing a key again keeps it."""
        monkeypatch.setattr(outbox_module, "MAX_SEEN_KEYS", 2)
        for number, keys in enumerate((["one"], ["two"], ["one"], ["three"])):
            clock.advance(1)
            outbox.write(with_new_keys(f"r{number}", *keys))
            outbox.flush()
        history = outbox.history(with_new_keys("last", "one", "two", "three"))
        assert history.unseen_keys == frozenset(("two",))
        assert [status.rule for status in outbox.explain("r2")] == [], "a key that was seen fires no alert"
        assert outbox._database.ask("SELECT count(*) FROM seen_keys") == [(2,)]


class TestClaim:
    def test_a_group_is_claimed_once(self, outbox: Outbox, settings: AlertSettings, clock: FakeClock) -> None:
        """The second process does not get it, until the first one has not reported for five minutes."""
        outbox.write(failing())
        outbox.flush()
        clock.advance(31)
        (group,) = outbox.due()
        with Outbox(settings, clock=clock) as other:
            assert [outbox.claim(group), other.claim(group), outbox.claim(group)] == [True, False, False]
            clock.advance(outbox_module.CLAIM_SECONDS - 1)
            assert (other.due(), other.claim(group)) == ([], False)
            clock.advance(1)
            assert (other.due(), other.claim(group)) == ([group], True)

    def test_a_group_that_is_not_due_is_not_claimed(self, outbox: Outbox, clock: FakeClock) -> None:
        """Its message was sent, or failed and waits, after this process had read that it was due."""
        outbox.write(failing())
        outbox.flush()
        clock.advance(31)
        (group,) = outbox.due()
        outbox.mark_failed(group, (), 30)
        assert not outbox.claim(group)
        clock.advance(30)
        outbox.mark_sent(group)
        outbox.write(failing("b"))
        outbox.flush()
        assert not outbox.claim(group)


class TestHistory:
    def test_recent_runs_are_nine_and_this_one_and_two_hundred_are_before_them(
        self, outbox: Outbox, clock: FakeClock
    ) -> None:
        """Older runs of the test case do not count, nor do those of other test cases."""
        case = {"test.case.name": "attach"}
        for number in range(220):
            clock.advance(1)
            outbox.write(make_verdict(f"run {number}", headers=case, passed=number % 2 == 0, time=clock.now()))
            outbox.write(make_verdict(f"other {number}", headers={"test.case.name": "detach"}, time=clock.now()))
        outbox.flush()
        history = outbox.history(make_verdict("new", headers=case, passed=False))
        assert (history.recent, history.earlier) == ((10, 6), (200, 100))

    @pytest.mark.parametrize(("kind", "unseen"), [("new", {"new:1"}), ("order", set()), ("rare", set())])
    def test_only_new_kinds_of_line_count(self, outbox: Outbox, kind: str, unseen: set[str]) -> None:
        """A known line in the wrong place is no new kind of line."""
        anomaly = Anomaly.model_construct(kind=kind, score=0.5, source="", number=1, key="new:1", text="x")
        verdict = make_verdict("a").model_copy(update={"anomalies": (anomaly,)})
        assert outbox.history(verdict).unseen_keys == frozenset(unseen)


def test_a_verdict_of_the_same_version_is_not_taken_twice(outbox: Outbox, clock: FakeClock) -> None:
    """A worker that died after the flush writes it again, even days later; only a higher version is news."""
    outbox.write(failing())
    outbox.flush()
    before = outbox.last_verdict()
    clock.advance(3 * 24 * 3600)
    outbox.write(failing().model_copy(update={"time": clock.now()}))
    outbox.flush()
    assert outbox.last_verdict() == before
    outbox.write(failing().model_copy(update={"time": clock.now(), "version": 203}))
    outbox.flush()
    assert outbox.last_verdict() == ("a", clock.now())


def test_limits_that_docs_and_comments_state() -> None:
    """Changing one of them is a decision."""
    assert (outbox_module.EARLIER_RUNS, outbox_module.MAX_WAITING, outbox_module.MAX_SEEN_KEYS) == (200, 10_000, 100_000)
    assert outbox_module.BUSY_SECONDS == 10.0


def test_trouble_is_reported_once_until_it_is_over(settings: AlertSettings, clock: FakeClock) -> None:
    """A worker flushes every second; what it says once is enough, and it is said at the first time."""
    troubles: list[str] = []
    with Outbox(settings, clock=clock, on_trouble=troubles.append, busy_seconds=0.01) as outbox:
        for reported in (1, 2):
            with closing(sqlite3.connect(settings.path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                outbox.write(failing(f"run {reported}"))
                outbox.flush()
                assert len(troubles) == reported
                outbox.flush()
                assert len(troubles) == reported
                other.execute("ROLLBACK")
            outbox.flush()
            assert outbox.explain(f"run {reported}")
