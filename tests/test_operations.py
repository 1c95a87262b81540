"""What commands do beyond `run`, without servers: forget, prune, replay, canary and set-up against memory ones."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from stream_triage import forgetting, operations
from stream_triage.alerting.outbox import Outbox
from stream_triage.clock import FakeClock
from stream_triage.errors import RunNotFound, StoreError
from stream_triage.records import Verdict
from stream_triage.settings import AlertSettings, ArchiveSettings, Settings, StoreSettings
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.spool import SpillSpool
from tests.commands import call
from tests.verdicts import make_verdict

BUSY_SECONDS = 0.05


def failing(run_id: str, clock: FakeClock) -> Verdict:
    """Each with a label of its own, so that none shares an alert with another."""
    return make_verdict(run_id, label=f"L{run_id[-1]}", passed=False, time=clock.now(), team="core")


class Farm:
    """TextArchive, outbox and store of one folder, with the same failed runs in each."""

    RUNS = ("night/1", "night/2")

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.settings = Settings(
            sinks=("archive", "store", "alerts"),
            archive=ArchiveSettings(folder=folder / "archive"),
            store=StoreSettings(path=folder / "verdicts.sqlite", max_age_days=1),
            alerts=AlertSettings(path=folder / "alerts.sqlite", rules=("failed",)),
        )
        with self.archive() as archive, self.outbox() as outbox, self.store() as store:
            for run_id in self.RUNS:
                with SpillSpool(run_id) as text:
                    text.append("", ["registration reject"])
                    for sink in (archive, outbox, store):
                        sink.write(failing(run_id, self.clock), text)

    def archive(self) -> TextArchive:
        return TextArchive(self.settings.archive, self.clock)

    def outbox(self) -> Outbox:
        return Outbox(self.settings.alerts, clock=self.clock, busy_seconds=BUSY_SECONDS)

    def store(self) -> SqliteStore:
        return SqliteStore(self.settings.store.path, self.clock, busy_seconds=BUSY_SECONDS)

    def forget(self, *asked: str) -> list[str | RunNotFound]:
        with self.store() as store:
            return list(forgetting.forget(self.settings, store, asked))

    def left(self) -> dict[str, list[str]]:
        """The runs that each of them still has."""
        with self.archive() as archive, self.outbox() as outbox, self.store() as store:
            return {
                "archive": [run_id for run_id in self.RUNS if in_archive(archive, run_id)],
                "outbox": [run_id for run_id in self.RUNS if outbox.explain(run_id)],
                "store": [run_id for run_id in self.RUNS if store.find(run_id)],
            }


def in_archive(archive: TextArchive, run_id: str) -> bool:
    try:
        archive.open(run_id).close()
    except RunNotFound:
        return False
    return True


EVERYWHERE = {name: list(Farm.RUNS) for name in ("archive", "outbox", "store")}


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Farm:
    """The commands, too, wait for locks as shortly as the tests can."""
    for module in (operations, forgetting):
        monkeypatch.setattr(module, "Outbox", partial(Outbox, busy_seconds=BUSY_SECONDS))
    return Farm(tmp_path)


@pytest.fixture
def lock(farm: Farm) -> Iterator[Callable[[str], sqlite3.Connection]]:
    """Locks outbox or store as another program would; all locks end with the test."""
    paths = {"outbox": farm.settings.alerts.path, "store": farm.settings.store.path}
    held: list[sqlite3.Connection] = []

    def take(file: str) -> sqlite3.Connection:
        connection = sqlite3.connect(paths[file], isolation_level=None)
        held.append(connection)
        connection.execute("BEGIN IMMEDIATE")
        return connection

    yield take
    for connection in held:
        connection.close()


Lock = Callable[[str], sqlite3.Connection]


class TestForget:
    def test_removes_a_run_everywhere(self, farm: Farm) -> None:
        """A part of the id is enough; other runs stay, and a second time there is nothing to remove."""
        assert farm.forget("ht/1") == ["night/1"]
        assert farm.left() == {name: ["night/2"] for name in EVERYWHERE}
        (error,) = farm.forget("night/1")
        assert isinstance(error, RunNotFound)

    def test_a_run_that_the_store_lacks_is_removed_by_its_full_id(self, farm: Farm) -> None:
        with farm.store() as store:
            store.forget("night/1")
        assert farm.forget("night/1") == ["night/1"]
        assert list(forgetting.forget(farm.settings, None, ["night/2"])) == ["night/2"]
        assert farm.left() == {"archive": [], "outbox": [], "store": ["night/2"]}

    @pytest.mark.parametrize("file", ["outbox", "store"])
    def test_nothing_is_removed_while_a_file_is_locked(self, farm: Farm, lock: Lock, file: str) -> None:
        """Neither before the lock nor behind it in the order; afterwards the same call removes the run everywhere."""
        with closing(lock(file)) as other:
            with pytest.raises(StoreError, match=rf"nothing of run 'night/1' was removed: {file} .*another program holds"):
                farm.forget("ht/1")
            other.execute("ROLLBACK")
        assert farm.left() == EVERYWHERE
        assert farm.forget("ht/1") == ["night/1"]
        assert farm.left() == {name: ["night/2"] for name in EVERYWHERE}

    def test_runs_before_the_one_that_fails_are_removed(self, farm: Farm, lock: Lock) -> None:
        """Each run is checked anew: the first is gone and reported, of the second nothing."""
        with farm.store() as store:
            forgotten = forgetting.forget(farm.settings, store, farm.RUNS)
            assert next(forgotten) == "night/1"
            with closing(lock("outbox")), pytest.raises(StoreError, match="nothing of run 'night/2'"):
                next(forgotten)
        assert farm.left() == {name: ["night/2"] for name in EVERYWHERE}

    @pytest.mark.parametrize(
        ("keeper", "named", "removed"),
        [
            (Outbox, "the outbox, the archive, the store", []),
            (TextArchive, "the archive, the store", ["outbox"]),
            (SqliteStore, "the store", ["outbox", "archive"]),
        ],
    )
    def test_a_failure_half_way_names_what_is_left_and_repeating_finishes(
        self, farm: Farm, monkeypatch: pytest.MonkeyPatch, keeper: type, named: str, removed: list[str]
    ) -> None:
        """The store comes last, so that the same part of the id finds the run again."""

        def fail(*_: object) -> bool:
            raise StoreError("its disk is gone")

        with monkeypatch.context() as patch:
            patch.setattr(keeper, "forget", fail)
            with pytest.raises(StoreError, match=rf"run 'night/1' is still in {named}; repeat .*: its disk is gone"):
                farm.forget("ht/1")
        left = farm.left()
        assert [name for name in ("outbox", "archive", "store") if "night/1" not in left[name]] == removed
        assert farm.forget("ht/1") == ["night/1"]
        assert farm.left() == {name: ["night/2"] for name in EVERYWHERE}

    def test_a_lock_taken_half_way_is_named(self, farm: Farm, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another program may be quicker than the check; the error says so, and repeating finishes."""
        honest = TextArchive.forget

        def forget_and_lock(archive: TextArchive, run_id: str) -> bool:
            lock("store")
            return honest(archive, run_id)

        monkeypatch.setattr(TextArchive, "forget", forget_and_lock)
        with pytest.raises(StoreError, match=r"still in the store; .*another program holds"):
            farm.forget("ht/1")

    def test_the_command_may_be_repeated(self, farm: Farm, lock: Lock, tmp_path: Path) -> None:
        """A locked outbox is not an internal error, and passes: the status says so, and the message names the remedy."""
        config = tmp_path / "settings.toml"
        config.write_text(
            'sinks = ["archive", "store", "alerts"]\n'
            f'archive.folder = "{farm.settings.archive.folder}"\n'
            f'store.path = "{farm.settings.store.path}"\n'
            f'alerts.path = "{farm.settings.alerts.path}"\n'
        )
        with closing(lock("outbox")) as other:
            result = call("forget", "-c", config, "ht/1")
            assert (result.code, result.out) == (75, "")
            assert "nothing of run 'night/1' was removed: outbox " in result.err
            assert "wait for it or stop it, then repeat" in result.err
            other.execute("ROLLBACK")
        assert farm.left() == EVERYWHERE
        assert call("forget", "-c", config, "ht/1") == (0, "", "forgot night/1\n")


class TestPrune:
    def test_removes_old_runs_everywhere(self, farm: Farm) -> None:
        """What is older than `store.max_age_days` leaves store, archive and outbox."""
        farm.clock.advance(timedelta(days=1, minutes=1).total_seconds())
        with farm.store() as store:
            assert operations.prune(farm.settings, store, farm.clock) == operations.Pruned(runs=2, texts=0)
        assert farm.left() == {"archive": [], "outbox": [], "store": []}

    def test_keeps_what_is_younger(self, farm: Farm) -> None:
        farm.clock.advance(timedelta(hours=23).total_seconds())
        with farm.store() as store:
            assert operations.prune(farm.settings, store, farm.clock) == operations.Pruned(runs=0, texts=0)
        assert farm.left() == EVERYWHERE

    def test_nothing_is_removed_while_the_outbox_is_locked(self, farm: Farm, lock: Lock) -> None:
        farm.clock.advance(timedelta(days=2).total_seconds())
        with closing(lock("outbox")), farm.store() as store, pytest.raises(StoreError, match="another program holds"):
            operations.prune(farm.settings, store, farm.clock)
        assert farm.left() == EVERYWHERE


class TestExplainAlerts:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        rules = ("failed", "anomalous", "disagreement")
        return Settings(alerts=AlertSettings(path=tmp_path / "explained.sqlite", rules=rules, gather_seconds=60))

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"passed": False, "team": "core"}, "team core: by the routes"),
            ({"passed": False}, "team none: no route matches"),
            ({}, "team none: a clean pass needs none"),
        ],
    )
    def test_team(self, settings: Settings, changes: dict[str, object], expected: str) -> None:
        assert next(operations.explain_alerts(settings, make_verdict(**changes))) == expected

    def test_review(self, settings: Settings) -> None:
        """It says that no message goes out, and what to set for one; with the rule switched on, why it applies."""
        review = make_verdict(label="L3", passed=False, needs_review=True, review_reasons=("the run has no text",))
        _, reason, *rules = operations.explain_alerts(settings, review)
        assert "causes no message; add `review` to alerts.rules" in reason
        assert rules == [f"{rule}: does not apply, because the verdict needs a review" for rule in settings.alerts.rules]
        switched_on = settings.model_copy(update={"alerts": settings.alerts.model_copy(update={"rules": ("review",)})})
        _, rule = operations.explain_alerts(switched_on, review)
        assert rule.startswith("review: the run has no text; ")

    def test_rules(self, settings: Settings) -> None:
        """A line for each rule: that it does not fire, or why it does, and whether the message was sent or is due."""
        clock = FakeClock()
        headers = {"test.case.result.status": "passed"}
        verdicts = [make_verdict(name, label="L3", passed=False, time=clock.now(), headers=headers) for name in "ab"]
        _, *before = operations.explain_alerts(settings, verdicts[0])
        absent = "not in the outbox: `alerts` was not among the sinks when the run was judged"
        assert before == [
            f"failed: label L3 with confidence 0.90; {absent}",
            "anomalous: does not apply, because it is for runs that passed",
            f"disagreement: the harness reports passed, the verdict is L3; {absent}",
        ]
        with Outbox(settings.alerts, clock=clock) as outbox:
            for verdict in verdicts:
                outbox.write(verdict)
            outbox.flush()
            clock.advance(61)
            (failed, _) = outbox.due()
            outbox.mark_sent(failed)
        _, *lines = operations.explain_alerts(settings, verdicts[1])
        assert lines == [
            "failed: label L3 with confidence 0.90, 2 similar runs; sent 2026-01-01 00:01 UTC",
            "anomalous: does not apply, because it is for runs that passed",
            "disagreement: the harness reports passed, the verdict is L3, 2 similar runs; "
            "not sent yet, due 2026-01-01 00:01 UTC",
        ]


class TestFullId:
    def test_by_a_part_and_by_a_name_with_an_identity(self, farm: Farm) -> None:
        """The store knows the redacted name only; people ask by the name of the file."""
        with farm.store() as store:
            store.write(make_verdict("logs/imsi=<imsi>.log"))
            store.flush()
            assert operations.full_id(farm.settings, store, "ht/2") == "night/2"
            assert operations.full_id(farm.settings, store, "logs/imsi=001010123456789.log") == "logs/imsi=<imsi>.log"
            for unknown in ("nothing", "logs/imsi=001010123456789.txt"):
                with pytest.raises(RunNotFound):
                    operations.full_id(farm.settings, store, unknown)
