"""The SQLite store: the contract, then what can go wrong with a file that processes share."""

import json
import multiprocessing
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from stream_triage.clock import FakeClock, SystemClock
from stream_triage.errors import StoreError
from stream_triage.sinks.sqlite import MIGRATIONS, SqliteStore
from tests.edges.contract import FailureContract, StoreContract
from tests.limits import file_size_limit
from tests.verdicts import kept, make_verdict


class TestSqliteStore(StoreContract, FailureContract):
    @pytest.fixture(autouse=True)
    def _target(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.path = tmp_path / "store" / "v.sqlite"

    def open_sink(self) -> SqliteStore:
        return SqliteStore(self.path, self.clock, busy_seconds=0.1)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Another process is writing."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v.sqlite"


def _bytes_beside(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_is_for_its_owner_only(tmp_path: Path) -> None:
    """Logs are confidential: folder 0700, database and side files 0600."""
    path = tmp_path / "data" / "v.sqlite"
    with SqliteStore(path) as store:
        store.write(make_verdict())
        store.flush()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {
            "v.sqlite": 0o600,
            "v.sqlite-shm": 0o600,
            "v.sqlite-wal": 0o600,
        }


class TestForgetting:
    def test_leaves_no_byte(self, path: Path) -> None:
        """Neither the text nor its words are in any file of the store, while it is still open."""
        with SqliteStore(path) as store:
            for number in range(50):
                lines = kept(*(f"filler{number} word{line}" for line in range(20)))
                store.write(make_verdict(f"other/{number}", reduction=lines))
                store.flush()
            store.write(make_verdict("xyzrun/1", version=1, reduction=kept("xyzzysecret early", *["xyzlong" * 900] * 3)))
            store.flush()
            store.write(make_verdict("xyzrun/1", version=3, reduction=kept("xyzzysecret plugh", *["xyzlong" * 900] * 3)))
            store.flush()
            assert b"xyz" in _bytes_beside(path)
            assert store.forget("xyzrun/1")
            assert b"xyz" not in _bytes_beside(path)
            assert len(store.runs(search="filler7")) == 1

    def test_pruning_leaves_no_byte(self, path: Path) -> None:
        """The same holds for what is pruned."""
        with SqliteStore(path) as store:
            store.write(make_verdict("xyzrun", reduction=kept("xyzzysecret")))
            store.flush()
            store.write(make_verdict("kept"))
            store.flush()
            assert store.prune(keep=1) == ["xyzrun"]
            assert b"xyz" not in _bytes_beside(path)

    def test_says_when_a_reader_is_in_the_way(self, path: Path) -> None:
        """A reader of the old state keeps the log from being emptied; repeating helps once it is gone."""
        with SqliteStore(path, busy_seconds=0.1) as store, closing(sqlite3.connect(path)) as reader:
            store.write(make_verdict("xyzrun"))
            store.flush()
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM runs").fetchone()
            with pytest.raises(StoreError, match="stop that program and repeat"):
                store.forget("xyzrun")
            assert store.runs() == []
            reader.execute("COMMIT")
            assert not store.forget("xyzrun")
            assert b"xyzrun" not in _bytes_beside(path)


class TestFullDisk:
    @pytest.fixture
    def store(self, path: Path) -> Iterator[SqliteStore]:
        store = SqliteStore(path)
        store.write(make_verdict("before"))
        store.flush()
        yield store
        store.close()

    def test_keeps_all_or_nothing(self, store: SqliteStore) -> None:
        """A flush that does not fit writes none of its verdicts, keeps them, and succeeds when there is room."""
        connection = store._database.connection
        connection.execute("PRAGMA max_page_count = 40")  # what SQLite does at the limit is what it does at ENOSPC
        for number in range(200):
            store.write(make_verdict(str(number), reduction=kept("word " * 200)))
        for _ in range(2):
            with pytest.raises(StoreError, match=r"v\.sqlite: database or disk is full; free space"):
                store.flush()
        assert [run.run_id for run in store.runs(limit=500)] == ["before"]
        connection.execute("PRAGMA max_page_count = 100000")
        store.flush()
        assert len(store.runs(limit=500)) == 201

    def test_of_the_operating_system(self, store: SqliteStore, path: Path) -> None:
        """The same when the kernel refuses to let the file grow."""
        size = path.with_name("v.sqlite-wal").stat().st_size
        store.write(make_verdict("a", reduction=kept("word " * 20_000)))
        with file_size_limit(size + 5_000), pytest.raises(StoreError, match=r"v\.sqlite: .*disk"):
            store.flush()
        assert [run.run_id for run in store.runs()] == ["before"]
        store.flush()
        assert [run.run_id for run in store.runs()] == ["a", "before"]

    def test_closing_lets_go(self, path: Path) -> None:
        """A last flush that fails raises, and the store is closed all the same."""
        store = SqliteStore(path)
        store._database.connection.execute("PRAGMA max_page_count = 10")
        store.write(make_verdict(reduction=kept("word " * 20_000)))
        with pytest.raises(StoreError, match="full"):
            store.close()
        store.close()
        with SqliteStore(path) as again:
            assert again.runs() == []


class TestRefusals:
    def test_a_file_that_is_no_database(self, path: Path) -> None:
        """Left as it is, with a way out."""
        path.write_text("run,verdict\n" * 100)
        with pytest.raises(StoreError, match=r"v\.sqlite: file is not a database; it is no SQLite database; move it"):
            SqliteStore(path)
        assert path.read_text() == "run,verdict\n" * 100

    def test_a_database_of_another_program(self, path: Path) -> None:
        """Never gets our tables."""
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE bookmarks (url)")
        with pytest.raises(StoreError, match="another program"):
            SqliteStore(path)

    def test_a_newer_schema(self, path: Path) -> None:
        """A database of a newer release is not touched."""
        SqliteStore(path).close()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        with pytest.raises(StoreError, match=r"newer release .*upgrade"):
            SqliteStore(path)

    def test_a_damaged_database(self, path: Path) -> None:
        """Damage inside is named when it is met."""
        with SqliteStore(path) as store:
            store.write(make_verdict())
        data = bytearray(path.read_bytes())
        data[4096:] = b"\xff" * (len(data) - 4096)
        path.write_bytes(data)
        with pytest.raises(StoreError, match="malformed; restore it"), SqliteStore(path) as store:
            store.runs()

    def test_a_read_only_database(self, path: Path) -> None:
        """Verdicts that cannot be written stay, and the remedy is named."""
        store = SqliteStore(path)
        store._database.connection.execute("PRAGMA query_only = ON")  # file permissions do not stop root
        store.write(make_verdict())
        with pytest.raises(StoreError, match="readonly database; make the file and its folder writable"):
            store.flush()
        store._database.connection.execute("PRAGMA query_only = OFF")
        store.close()
        with SqliteStore(path) as again:
            assert len(again.runs()) == 1

    def test_a_locked_database(self, path: Path) -> None:
        """After the waiting time the other program is blamed; the verdicts stay for the next flush."""
        with SqliteStore(path, busy_seconds=0.05) as store, closing(sqlite3.connect(path)) as other:
            store.write(make_verdict())
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked; another program holds"):
                store.flush()
            other.execute("ROLLBACK")
            store.flush()
            assert len(store.runs()) == 1

    @pytest.mark.parametrize("inside", ["", "file/v.sqlite", "file/deeper/v.sqlite"])
    def test_a_place_that_cannot_be(self, tmp_path: Path, inside: str) -> None:
        """A folder in place of the file, and a file in place of a folder."""
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match=r"cannot be opened: .*set store.path"):
            SqliteStore(tmp_path / inside)

    def test_a_stored_verdict_that_cannot_be_read(self, path: Path) -> None:
        """A verdict whose JSON is of another shape is named."""
        with SqliteStore(path) as store:
            store.write(make_verdict("a"))
            store.flush()
            store._database.connection.execute("UPDATE runs SET verdict = '{}'")
            with pytest.raises(StoreError, match=r"verdict of run 'a' .* judge the run again with --again"):
                store.get("a")

    def test_a_verdict_that_cannot_be_written(self, path: Path) -> None:
        """Text that is not valid Unicode raises an error in `write`, and does not hold up the other verdicts."""
        with SqliteStore(path) as store:
            with pytest.raises(ValueError, match="surrogates"):
                store.write(make_verdict("a\udcff"))
            store.write(make_verdict("b"))
            store.flush()
            assert len(store.runs()) == 1


class TestMigrations:
    def test_a_new_database_has_the_newest_schema(self, path: Path) -> None:
        """The version is in the file's header, where other programs can see it."""
        SqliteStore(path).close()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_version_1_still_opens(self, path: Path) -> None:
        """The first released schema, written out here so that a change of it fails."""
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(
                """
                CREATE TABLE runs (id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, time TEXT NOT NULL,
                    label TEXT NOT NULL, passed INTEGER NOT NULL, confidence REAL NOT NULL,
                    needs_review INTEGER NOT NULL, anomalous INTEGER NOT NULL, anomaly_score REAL NOT NULL,
                    lines INTEGER NOT NULL, bundle TEXT NOT NULL, version INTEGER NOT NULL, final INTEGER NOT NULL,
                    verdict TEXT NOT NULL);
                CREATE INDEX runs_by_time ON runs (time);
                CREATE VIRTUAL TABLE lines USING fts5 (text, source UNINDEXED, number UNINDEXED, columnsize=0);
                INSERT INTO runs VALUES (1, 'old', '2026-01-01T00:00:00.000000+00:00', 'Pass', 1, 0.9, 0, 0, 0.1, 10,
                    'tiny', 201, 1, '{}');
                INSERT INTO lines (rowid, text, source, number) VALUES (16777216, 'timer expired', '', 1);
                PRAGMA application_id = 0x54524941;
                PRAGMA user_version = 1;
                """
            )
            connection.execute("UPDATE runs SET verdict = ?", (make_verdict("old").model_dump_json(),))
            connection.commit()
        assert "content" not in _columns(path)
        with SqliteStore(path) as store:
            assert [run.run_id for run in store.runs(search="timer")] == ["old"]
            assert store.find("old").content == ""
            assert store.get("old") == make_verdict("old")
            store.write(make_verdict("old", version=203, reduction=kept("answered")))
            store.flush()
            assert store.runs(search="timer") == []

    def test_version_1_with_a_run_of_a_file(self, path: Path) -> None:
        """The verdict that an earlier release stored, in its JSON, gets the content of the file that is read again."""
        fields = make_verdict("a.log#0a1b2c3d").model_dump(mode="json")
        del fields["content"]
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(";".join(MIGRATIONS[0]))
            connection.execute(
                "INSERT INTO runs VALUES (1, 'a.log#0a1b2c3d', '2026-01-01T00:00:00.000000+00:00', 'Pass', 1, 0.9, 0, 0, "
                "0.1, 10, 'tiny', 201, 1, ?)",
                (json.dumps(fields),),
            )
            connection.executescript("PRAGMA application_id = 0x54524941; PRAGMA user_version = 1;")
        with SqliteStore(path) as store:
            store.write(make_verdict("a.log#0a1b2c3d", content="c1"))
            store.flush()
            assert store.get("a.log") == make_verdict("a.log#0a1b2c3d", content="c1")
            assert store.find_content("a.log", "c1") == store.runs()[0]

    def test_content_is_found_by_an_index(self, path: Path) -> None:
        """A store may have a million runs, and is asked for each file that is read."""
        with SqliteStore(path) as store:
            queries: list[str] = []
            store._database.connection.set_trace_callback(queries.append)
            store.find_content("a.log", "c1")
            store._database.connection.set_trace_callback(None)
            plan = store._database.ask(f"EXPLAIN QUERY PLAN {queries[-1]}")
        assert "USING INDEX runs_by_content (content=? AND path=?)" in plan[0][3]


def _columns(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[1] for row in connection.execute("PRAGMA table_info(runs)")]


def test_opening_waits_for_who_else_opens(path: Path) -> None:
    """SQLite gives up at once when it switches to the write-ahead log, so the store tries again."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        class Clock(FakeClock):
            def sleep(self, seconds: float) -> None:
                other.execute("ROLLBACK")

        SqliteStore(path, Clock(), busy_seconds=0.1).close()
        assert not other.in_transaction


def _write_many(path: Path, writer: int, count: int) -> None:
    with SqliteStore(path, SystemClock()) as store:
        for number in range(count):
            store.write(make_verdict(f"{writer}/{number}", reduction=kept(f"line of {writer}")))
            store.write(make_verdict("shared", version=writer * count + number))
            store.flush()


@pytest.mark.slow
def test_processes_at_once_lose_nothing(path: Path) -> None:
    """Several processes make the database together and write to it at the same time."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(path, writer, 25)) for writer in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(60)
    assert [process.exitcode for process in writers] == [0, 0, 0]
    with SqliteStore(path) as store:
        assert len(store.runs(limit=1000)) == 76
        assert store.get("shared").version == 74
        assert len(store.runs(search="line", limit=1000)) == 75
