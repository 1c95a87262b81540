"""What lists of stored runs are made from: it is the same for a store of an earlier release, and costs little."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from stream_triage.records import Anomaly, Evidence
from stream_triage.sinks.sqlite import MIGRATIONS, RunFilter, SqliteStore
from tests.verdicts import kept, make_verdict

HEADERS = {"test.case.name": "attach", "testbed": 'bed "1"', "service.version": "24.1"}
RUNS = [
    make_verdict("pass", headers=HEADERS, time="2026-01-01T00:00:00Z"),
    make_verdict(
        "fail", label="L3", passed=False, headers=HEADERS, team="core", cause="product", time="2026-01-02T00:00:00Z",
        evidence=(Evidence(kind="line", weight=1.0, number=1, key="k1", text="refused"),
                  Evidence(kind="missing", weight=0.5, key="k2", text="never"), Evidence(kind="rule", weight=2.0, rule="r")),
        anomalies=(Anomaly(kind="new", score=1.0, key="k1", text="refused"), Anomaly(kind="length", score=1.0)),
    ),
    make_verdict("rule", label="L2", passed=False, time="2026-01-03T00:00:00Z",
                 evidence=(Evidence(kind="rule", weight=2.0, rule="r1", number=1),)),
]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v.sqlite"


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()


def older_store(path: Path, *verdicts: str) -> None:
    """A store of the second schema with these verdicts as JSON."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(";".join(statement for step in MIGRATIONS[:2] for statement in step))
        for number, (run, text) in enumerate(zip(RUNS, verdicts, strict=True), 1):
            time = run.time.isoformat(timespec="microseconds")
            flags = (run.needs_review, run.anomalous, run.anomaly_score, 10, "tiny", 201, 1)
            values = (number, run.run_id, time, run.label, run.passed, 0.9, *flags, text, "", "")
            connection.execute(f"INSERT INTO runs VALUES ({', '.join('?' * len(values))})", values)
        connection.executescript("PRAGMA application_id = 0x54524941; PRAGMA user_version = 2;")


def test_a_store_of_an_earlier_release_is_listed_like_a_new_one(path, tmp_path):
    """Opening it fills what lists are made from with what the verdicts say."""
    older_store(path, *(run.model_dump_json() for run in RUNS))
    SqliteStore(path).close()
    with SqliteStore(tmp_path / "new.sqlite") as store:
        for run in RUNS:
            store.write(run)
    for table in ("listing", "seen"):
        assert rows(path, table) == rows(tmp_path / "new.sqlite", table)
    assert [row[0] for row in rows(path, "seen")] == ["k1", "k2"]
    assert [row[-1] for row in rows(path, "listing")] == ["", "k1", "rule r1"]


def test_a_damaged_verdict_spoils_no_list(path):
    """It is listed by what is beside it."""
    older_store(path, RUNS[0].model_dump_json(), '{"why": "cut of', RUNS[2].model_dump_json())
    with SqliteStore(path) as store:
        assert [run.run_id for run in store.lists.page(RunFilter())] == ["rule", "fail", "pass"]
        assert store.lists.counts(RunFilter()).labels == {"L2": 1, "L3": 1, "Pass": 1}


def test_verdicts_of_a_later_release_are_listed(path):
    """A field that this release does not know keeps none from being shown."""
    text = RUNS[1].model_dump_json().replace('"kind":"line"', '"kind":"line","colour":1')
    older_store(path, RUNS[0].model_dump_json(), text, RUNS[2].model_dump_json())
    with SqliteStore(path) as store:
        (run,) = store.lists.page(RunFilter(labels=("L3",)))
        assert (run.run_id, run.first_evidence) == ("fail", None)
        assert run.first_anomaly.text == "refused"


def test_a_newer_verdict_replaces_what_lists_say(path):
    with SqliteStore(path) as store:
        store.write(make_verdict("a", version=2, final=False, headers={"testbed": "one"}, reduction=kept("x")))
        store.flush()
        store.write(RUNS[1].model_copy(update={"run_id": "a", "version": 203}))
        store.flush()
        (run,) = store.lists.page(RunFilter())
        assert (run.label, run.bed, run.final) == ("L3", HEADERS["testbed"], True)
        assert store.lists.page(RunFilter(bed="one")) == []
        store.write(make_verdict("a", version=205))
        store.flush()
        assert store.lists.templates(RUNS[0].time) == ([], 0)


def test_similar_runs(path):
    """Earlier runs of the same label whose strongest evidence is the same; runs without evidence are like no other."""
    with SqliteStore(path) as store:
        for day in range(1, 5):
            store.write(RUNS[1].model_copy(update={"run_id": f"k1/{day}", "time": RUNS[0].time.replace(day=day)}))
            store.write(make_verdict(f"bare/{day}", label="L3", passed=False, time=RUNS[0].time.replace(day=day)))
        store.flush()
        similar, total = store.lists.similar(store.lists.find("k1/3"), limit=1)
        assert ([run.run_id for run in similar], total) == (["k1/2"], 2)
        assert store.lists.similar(store.lists.find("bare/3")) == ([], 0)
        assert store.lists.find("nothing") is None


@pytest.mark.parametrize("wanted", [RunFilter(), RunFilter(case="attach"), RunFilter(bed="b"), RunFilter(labels=("L3",))])
def test_counting_reads_no_verdict(path, wanted):
    """A store may have a million runs, of 20 kB each: their rows are read only for the runs of one page."""
    with SqliteStore(path) as store:
        queries: list[str] = []
        store._database.connection.set_trace_callback(queries.append)
        store.lists.counts(wanted)
        store.lists.page(wanted)
        store.lists.groups("test_case")
        store._database.connection.set_trace_callback(None)
        plans = [row[3] for query in queries for row in store._database.ask(f"EXPLAIN QUERY PLAN {query}")]
    assert not [step for step in plans if step.startswith("SCAN runs")], plans
    assert any(step.startswith("SEARCH runs USING INTEGER PRIMARY KEY") for step in plans)


def test_changes_are_noticed(path):
    """The state of the lists changes when another process has written, and only then."""
    with SqliteStore(path) as store, SqliteStore(path) as other:
        before = store.lists.state()
        assert store.lists.state() == before
        other.write(make_verdict("a"))
        other.flush()
        assert store.lists.state() != before
