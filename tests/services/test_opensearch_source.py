"""Runs whose lines lie in an index: read whole, in order, and judged as their files would be."""

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_triage.errors import SettingsError, StoreError
from stream_triage.opensearch import Document, SearchServer
from stream_triage.records import Chunk, RunEnd
from stream_triage.settings import OpenSearchSettings
from stream_triage.sources import opensearch as module
from stream_triage.sources.opensearch import OpenSearchSource
from tests.commands import call
from tests.edges.source_contract import collect, problems
from tests.services.farm import expected, sample_runs
from tests.services.servers import PASSWORD, OpenSearchServer
from tests.verdicts import assert_same

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = "2026-11-01..2026-11-02"


def line(run: str, text: object, moment: datetime = NOON, **more: Any) -> dict[str, Any]:
    return {"@timestamp": moment.isoformat(), "message": text, "run": {"id": run}, **more}


def put(settings: OpenSearchSettings, index: str, lines: Iterable[Mapping[str, Any]]) -> None:
    with SearchServer(settings) as server:
        documents = [Document(index, f"{number}", 1, json.dumps(fields).encode()) for number, fields in enumerate(lines)]
        assert all(answer.written for answer in server.bulk(documents))
        server.ask("POST", f"{index}/_refresh")


@pytest.fixture
def settings(opensearch: OpenSearchServer) -> OpenSearchSettings:
    return OpenSearchSettings(hosts=(opensearch.url,), retry_seconds=0)


@pytest.fixture
def index(opensearch: OpenSearchServer, prefix: str) -> str:
    """Of three shards, and keyword fields, as shippers' own templates make them."""
    fields = {
        "@timestamp": {"type": "date"},
        "message": {"type": "text"},
        "run": {"properties": {"id": {"type": "keyword"}}},
        "log": {"properties": {"offset": {"type": "long"}}},
    }
    opensearch.ask(prefix, {"settings": {"number_of_shards": 3}, "mappings": {"properties": fields}}, "PUT")
    return prefix


def source(settings: OpenSearchSettings, index: str, time: str = DAY, field: str = "run.id") -> OpenSearchSource:
    return OpenSearchSource(settings, index, run_field=field, time=time)


def texts(events: Sequence[object]) -> dict[str, str]:
    found: dict[str, bytes] = {}
    for event in events:
        if isinstance(event, Chunk):
            found[event.run_id] = found.get(event.run_id, b"") + event.data
    return {run: text.decode() for run, text in found.items()}


def test_same_verdicts_as_from_files(settings: OpenSearchSettings, index: str, tmp_path: Path):
    """Lines of several runs and sources, indexed in disorder with the times of their records: nothing is different."""
    runs = sample_runs(6)
    lines = []
    for run in runs:
        for name, text in run.sources.items():
            for number, one in enumerate(text.decode().splitlines()):
                moment = NOON + timedelta(milliseconds=number // 3)  # three lines of each moment
                log = {"offset": number, "file": {"path": name}}
                lines.append(line(run.run_id, one, moment, log=log, testbed="rack 7"))
    random.Random(0).shuffle(lines)
    put(settings, index, lines)
    env = {"STREAM_TRIAGE_OPENSEARCH__HOSTS": json.dumps(settings.hosts)}
    told = call("run", "--json", "--no-store", f"opensearch://{index}", "--run-field", "run.id", "--time", DAY, env=env)
    assert told.code == 1
    from stream_triage import Verdict

    found = {verdict["run_id"]: Verdict.model_validate(verdict) for verdict in told.json}
    wanted = expected(runs)
    assert set(found) == set(wanted)
    for name, verdict in found.items():
        assert verdict.headers == {"testbed": "rack 7"}
        assert verdict.started == NOON
        same = {"time": None, "started": None, "headers": {}, "version": wanted[name].version}
        assert_same(verdict.model_copy(update=same), wanted[name].model_copy(update={"time": None}))


def test_a_long_run_comes_whole_and_in_order(settings: OpenSearchSettings, index: str, opensearch: OpenSearchServer):
    """Over many pages and three shards, all lines of one moment, told apart by their offsets; the server keeps no view."""
    numbers = list(range(25_000))
    random.Random(0).shuffle(numbers)
    put(settings, index, (line("long", f"line {number}", log={"offset": number}) for number in numbers))
    events = collect(source(settings, index))
    assert texts(events) == {"long": "".join(f"line {number}\n" for number in range(25_000))}
    assert max(len(event.data) for event in events if isinstance(event, Chunk)) < 100_000
    assert (
        opensearch.ask("_nodes/stats/indices/search")["nodes"].popitem()[1]["indices"]["search"]["point_in_time_current"]
        == 0
    )


def test_many_runs(settings: OpenSearchSettings, index: str, monkeypatch: pytest.MonkeyPatch):
    """More than a page of them, each with one end."""
    monkeypatch.setattr(module, "RUNS_A_PAGE", 7)
    put(settings, index, [line(f"run {number}", f"{number}") for number in range(30)])
    events = collect(source(settings, index))
    assert texts(events) == {f"run {number}": f"{number}\n" for number in range(30)}
    assert sum(isinstance(event, RunEnd) for event in events) == 30


def test_a_run_that_reaches_beyond_the_time_is_read_whole(settings: OpenSearchSettings, index: str):
    early, late = NOON - timedelta(days=2), NOON + timedelta(days=2)
    put(settings, index, [line("a", "in"), line("a", "before", early), line("a", "behind", late), line("b", "other", late)])
    assert texts(collect(source(settings, index))) == {"a": "before\nin\nbehind\n"}
    assert texts(collect(source(settings, index, "2026-11-02"))) == {"a": "before\nin\nbehind\n", "b": "other\n"}
    assert texts(collect(source(settings, index, "..2026-11-01T11:00"))) == {"a": "before\nin\nbehind\n"}
    assert texts(collect(source(settings, index, "now-1s..now"))) == {}


def test_text_with_a_keyword_beside_it(settings: OpenSearchSettings, prefix: str):
    """As an index without a template of its own maps text."""
    put(settings, prefix, [line("a b", "one"), line("a", "two")])
    assert texts(collect(source(settings, prefix))) == {"a b": "one\n", "a": "two\n"}


def test_what_is_no_text_is_told(settings: OpenSearchSettings, prefix: str):
    """Documents without text damage their run, those without a run are counted; hostile run ids are passed over."""
    lines = [line("a", "one"), line("a", None), {"@timestamp": NOON.isoformat(), "run": {"id": "only"}}]
    lines += [{"@timestamp": NOON.isoformat(), "message": "whose?"}, line("bad\u001b[2J", "x"), line("", "x")]
    put(settings, prefix, lines)
    events = collect(source(settings, prefix))
    assert texts(events) == {"a": "one\n", "only": ""}
    told = sorted((problem.run_id or "", problem.error, problem.reason) for problem in problems(events))
    assert [run for run, *_ in told] == ["", "", "", "a", "only"]
    assert told[0][2] == "1 lines of this time have no run.id, no run is theirs"
    assert "opensearch.text_field" in told[-1][2]


@pytest.mark.parametrize(
    ("index_name", "field", "time", "reason"),
    [
        ("{}-none", "run.id", DAY, "no index"),
        ("{}-none*", "run.id", DAY, "no index"),
        ("{}", "case", DAY, r"--run-field case is none .*: run\.id"),
        ("{}", "message", DAY, "--run-field message is text that cannot be grouped by"),
        ("{}", "run.id", "yesterday", "--time cannot be understood; write now-1d"),
        ("{}", "run.id", "..", "--time is empty"),
    ],
)
def test_wrong_questions(settings: OpenSearchSettings, index: str, index_name: str, field: str, time: str, reason: str):
    """Each is told with what to write instead."""
    put(settings, index, [line("a", "x")])
    with pytest.raises(SettingsError, match=reason):
        collect(source(settings, index_name.format(index), time, field))


def test_no_date(settings: OpenSearchSettings, index: str):
    with pytest.raises(SettingsError, match=r"opensearch\.time_field"):
        collect(source(settings.model_copy(update={"time_field": "message"}), index))


def test_view_lost(settings: OpenSearchSettings, index: str, monkeypatch: pytest.MonkeyPatch):
    """When the server has let go of it between two pages, that is said, and no half run has an end."""
    monkeypatch.setattr(module, "LINES_A_PAGE", 1)
    put(settings, index, [line("a", "one"), line("a", "two")])
    events: list[object] = []

    def lose_it(event: object) -> None:
        events.append(event)
        with SearchServer(settings) as server:
            server.ask("DELETE", "_search/point_in_time/_all")

    with pytest.raises(StoreError, match="let go of its view"):
        source(settings, index).run(lose_it)
    assert not any(isinstance(event, RunEnd) for event in events)


def test_rights_in_the_docs_are_enough(secure_opensearch: OpenSearchServer, prefix: str):
    """A user who may do what docs/opensearch.md says and nothing else; one without rights is told where they stand."""
    text = (ROOT / "docs" / "opensearch.md").read_text().split("## Runs that lie in an index")[1]
    role = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1].replace("logs-*", f"{prefix}*"))
    secure_opensearch.ask(f"_plugins/_security/api/roles/{prefix}", role, "PUT")
    told = {"hosts": (secure_opensearch.url,), "ca_file": secure_opensearch.certificates / "ca.pem", "retry_seconds": 0}
    put(OpenSearchSettings(**told, user="admin", password=PASSWORD), prefix, [line("a", "one")])
    for name, roles in ((f"{prefix}-may", [prefix]), (f"{prefix}-not", [])):
        user = {"password": f"{PASSWORD}-reader", "opendistro_security_roles": roles}
        secure_opensearch.ask(f"_plugins/_security/api/internalusers/{name}", user, "PUT")
    may, may_not = (
        OpenSearchSettings(**told, user=f"{prefix}-{end}", password=f"{PASSWORD}-reader") for end in ("may", "not")
    )
    assert texts(collect(source(may, prefix))) == {"a": "one\n"}
    with pytest.raises(StoreError, match=r"docs/opensearch\.md"):
        collect(source(may_not, prefix))
