"""Runs whose lines lie in an index: read whole, in order, and judged as their files would be."""

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_triage import Verdict
from stream_triage.clients.opensearch import BadAnswer, Document, SearchServer
from stream_triage.clock import FakeClock
from stream_triage.errors import SettingsError, StoreError
from stream_triage.ports import Source
from stream_triage.records import Chunk, RunEnd
from stream_triage.settings import OpenSearchSettings
from stream_triage.sources import opensearch as module
from stream_triage.sources.opensearch import OpenSearchSource
from stream_triage.worker import messages
from tests.commands import call
from tests.edges.source_contract import SourceContract, collect, problems
from tests.edges.source_contract import texts as by_run_and_source
from tests.services.farm import BUNDLE, expected, sample_runs
from tests.services.servers import PASSWORD, OpenSearchServer
from tests.verdicts import assert_same

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = "2026-11-01..2026-11-02"


DATE, KEYWORD, LONG, TEXT = ({"type": kind} for kind in ("date", "keyword", "long", "text"))


def line(run: object, text: object, moment: datetime = NOON, **more: Any) -> dict[str, Any]:
    return {"@timestamp": moment.isoformat(), "message": text, "run": {"id": run}, **more}


def put(settings: OpenSearchSettings, index: str, lines: Iterable[Mapping[str, Any]], first: int = 0) -> None:
    with SearchServer(settings) as server:
        documents = [
            Document(index, f"{number}", 1, json.dumps(fields).encode()) for number, fields in enumerate(lines, first)
        ]
        assert all(answer.written for answer in server.bulk(documents))
        server.ask("POST", f"{index}/_refresh")


def make(server: OpenSearchServer, name: str, shards: int = 1, offset: object = LONG, **fields: object) -> None:
    """An index with keyword fields, as shippers' own templates make them; `fields` are other ones by their names."""
    known = {"@timestamp": DATE, "message": TEXT, "run": {"properties": {"id": KEYWORD}}}
    known |= {"log": {"properties": {"offset": offset}}} if offset else {}
    mappings = {"properties": {**known, **{name.replace("_at_", "@"): kind for name, kind in fields.items()}}}
    server.ask(name, {"settings": {"number_of_shards": shards}, "mappings": mappings}, "PUT")


@pytest.fixture(autouse=True)
def no_view_is_left(opensearch: OpenSearchServer) -> Iterator[None]:
    """However a test ends, the server keeps nothing open for it."""
    yield
    (node,) = opensearch.ask("_nodes/stats/indices/search")["nodes"].values()
    assert node["indices"]["search"]["point_in_time_current"] == 0


@pytest.fixture
def settings(opensearch: OpenSearchServer) -> OpenSearchSettings:
    return OpenSearchSettings(hosts=(opensearch.url,), retry_seconds=0)


@pytest.fixture
def env(opensearch: OpenSearchServer) -> dict[str, str]:
    return {"STREAM_TRIAGE_OPENSEARCH__HOSTS": json.dumps([opensearch.url]), "STREAM_TRIAGE_BUNDLE": BUNDLE}


@pytest.fixture
def index(opensearch: OpenSearchServer, prefix: str) -> str:
    """Of three shards."""
    make(opensearch, prefix, shards=3)
    return prefix


def source(
    settings: OpenSearchSettings, index: str, time: str = DAY, field: str = "run.id", **more: Any
) -> OpenSearchSource:
    return OpenSearchSource(settings, index, run_field=field, time=time, **more)


def texts(events: Sequence[object]) -> dict[str, str]:
    found: dict[str, bytes] = {}
    for event in events:
        if isinstance(event, Chunk):
            found[event.run_id] = found.get(event.run_id, b"") + event.data
    return {run: text.decode() for run, text in found.items()}


def joined(numbers: Iterable[int]) -> str:
    return "".join(f"line {number}\n" for number in numbers)


class TestContract(SourceContract):
    """Documents hold a line or several; here they are of some length, or it would take many."""

    @pytest.fixture(autouse=True)
    def _place(self, opensearch: OpenSearchServer, prefix: str, settings: OpenSearchSettings) -> None:
        self.settings, self.prefix = settings, prefix
        make(opensearch, prefix, message={"type": "text", "index": False})

    def source(self, contents: list[bytes], tmp_path: Path) -> Source:
        for number, content in enumerate(contents):
            pieces = re.findall(".{0,99999}\n", content.decode(), re.DOTALL) or [""]
            put(self.settings, self.prefix, [line(f"run{number}#", piece) for piece in pieces], first=1000 * number)
        return source(self.settings, self.prefix)

    def unreadable(self, tmp_path: Path) -> Source:
        put(self.settings, self.prefix, [line("\u001b[2J", "its run has no usable name")])
        return source(self.settings, self.prefix)

    @pytest.mark.parametrize("size", [1, 4096, 256 * 1024, 256 * 1024 + 1, 700_000])
    def test_text_is_complete(self, size: int, tmp_path: Path) -> None:
        """An index holds lines: all have an end, and a text without any is not there."""
        letters = bytes(10 if place % 997 == 0 else 32 + place % 90 for place in range(size, 1, -1)) + b"\n"
        contents = [letters] * self.most_runs
        assert list(by_run_and_source(collect(self.source(contents, tmp_path))).values()) == contents


def test_same_verdicts_as_from_files(settings: OpenSearchSettings, index: str, env: dict[str, str]):
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
    told = call("run", "--json", "--no-store", f"opensearch://{index}", "--run-field", "run.id", "--time", DAY, env=env)
    assert told.code == 1
    found = {verdict["run_id"]: Verdict.model_validate(verdict) for verdict in told.json}
    wanted = expected(runs)
    assert set(found) == set(wanted)
    for name, verdict in found.items():
        assert verdict.headers == {"testbed": "rack 7"}
        assert verdict.started == NOON
        same = {"time": None, "started": None, "headers": {}}
        assert_same(verdict.model_copy(update=same), wanted[name].model_copy(update={"time": None}))


def test_a_long_run_comes_whole_and_in_order(settings: OpenSearchSettings, index: str):
    """Over many pages and three shards, all lines of one moment, told apart by their offsets."""
    numbers = list(range(25_000))
    random.Random(0).shuffle(numbers)
    put(settings, index, (line("long", f"line {number}", log={"offset": number}) for number in numbers))
    events = collect(source(settings, index))
    assert texts(events) == {"long": joined(range(25_000))}
    assert max(len(event.data) for event in events if isinstance(event, Chunk)) < 100_000
    assert not problems(events)


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
    assert told[0][2] == "1 lines of this time have no run.id.keyword, no run is theirs"
    assert "opensearch.text_field" in told[-1][2]


@pytest.mark.parametrize(
    ("index_name", "field", "time", "reason"),
    [
        ("{}-none", "run.id", DAY, "no index"),
        ("{}-none*", "run.id", DAY, "no index"),
        ("{}", "case", DAY, r"--run-field case is no field .*: run\.id"),
        ("{}", "run", DAY, r"--run-field run is no field .*: run\.id"),
        ("{}", "message", DAY, "--run-field message is text that cannot be grouped by"),
        ("{}", "run.id", "yesterday", "--time cannot be understood; write now-1d"),
        ("{}", "run.id", "..", "--time is empty"),
        ("{}", "run.id", "2026-11-02..2026-11-01", "--time ends before it begins"),
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


def test_order_of_indexing(settings: OpenSearchSettings, prefix: str, opensearch: OpenSearchServer):
    """Without numbers and in one shard, lines of one moment come as they were indexed.

    The server itself looks at what is younger first, and numbers documents so.
    """
    make(opensearch, prefix, offset=None)
    for number in range(0, 100, 10):
        later = line("b", "later", NOON + timedelta(minutes=number))
        put(settings, prefix, [*(line("a", f"line {number + place}") for place in range(10)), later], first=2 * number)
    events = collect(source(settings, prefix))
    assert texts(events)["a"] == joined(range(100))
    assert not problems(events)


def test_order_that_is_not_known(settings: OpenSearchSettings, prefix: str, opensearch: OpenSearchServer):
    """Lines of one moment in several shards: all come, in the same order each time, and it is said that it may be wrong."""
    make(opensearch, prefix, shards=3, offset=None)
    put(settings, prefix, [line("a", f"line {number}") for number in range(30)])
    put(settings, prefix, [line("b", "one"), line("b", "two", NOON + timedelta(seconds=1))], first=30)
    events = collect(source(settings, prefix))
    assert sorted(texts(events)["a"].splitlines()) == sorted(joined(range(30)).splitlines())
    assert [(problem.run_id, problem.error) for problem in problems(events)] == [(None, False)]
    assert "in 1 runs, lines of the same moment" in problems(events)[0].reason
    assert collect(source(settings, prefix)) == events


def test_indices_that_are_alike(
    settings: OpenSearchSettings, prefix: str, opensearch: OpenSearchServer, monkeypatch: pytest.MonkeyPatch
):
    """Documents of one moment have the same place in several indices: none is passed over between two pages."""
    monkeypatch.setattr(module, "LINES_A_PAGE", 3)
    for name in ("x", "y"):
        make(opensearch, f"{prefix}-{name}", shards=2)
        log = {"file": {"path": name}}
        put(settings, f"{prefix}-{name}", [line("a", f"{name}{number}", log=log) for number in range(20)])
    for index in (f"{prefix}-*", f"{prefix}-x,{prefix}-y"):
        lines = texts(collect(source(settings, index)))["a"].split()
        assert sorted(lines) == sorted(f"{name}{number}" for name in "xy" for number in range(20))


def test_sources_come_apart(settings: OpenSearchSettings, index: str):
    """Each in order, however they alternate; with the labels of whichever line has one first."""
    lines = [
        line("a", f"line {number}", log={"offset": number, "file": {"path": "cu" if number % 3 else "du"}})
        for number in range(100)
    ]
    lines[7] |= {"test": {"case": {"name": "attach"}}, "service.version": 3}
    lines[8] |= {"test.case.name": "too late"}
    put(settings, index, lines)
    events = collect(source(settings, index))
    chunks = [event for event in events if isinstance(event, Chunk)]
    found = {name: b"".join(chunk.data for chunk in chunks if chunk.source == name).decode() for name in ("cu", "du")}
    assert found == {"cu": joined(n for n in range(100) if n % 3), "du": joined(range(0, 100, 3))}
    assert [chunk.headers for chunk in chunks] == [{"test.case.name": "attach", "service.version": "3"}, {}]
    assert events[-1] == RunEnd("a", NOON)


def test_dates_of_two_kinds(settings: OpenSearchSettings, prefix: str, opensearch: OpenSearchServer):
    """Milliseconds and nanoseconds, as of two shippers, and an offset that is no number in one of them."""
    make(opensearch, f"{prefix}-ms")
    make(opensearch, f"{prefix}-ns", offset=KEYWORD, _at_timestamp={"type": "date_nanos"})
    for number in range(40):
        kind = "ms" if number % 4 == 0 else "ns"
        fields = line("a", f"line {number}") | {"@timestamp": f"2026-11-01T12:00:00.{number // 4:03d}{number % 4:06d}Z"}
        put(settings, f"{prefix}-{kind}", [fields], first=1000 - number)
    events = collect(source(settings, f"{prefix}-*"))
    assert texts(events) == {"a": joined(range(40))}
    assert events[-1] == RunEnd("a", NOON)
    assert texts(collect(source(settings, f"{prefix}-ns"))) == {"a": joined(n for n in range(40) if n % 4)}


def test_alias_with_a_filter(settings: OpenSearchSettings, index: str, opensearch: OpenSearchServer):
    put(settings, index, [line("a", "one"), line("b", "two")])
    add = {"index": index, "alias": f"{index}-a", "filter": {"term": {"run.id": "a"}}}
    opensearch.ask("_aliases", {"actions": [{"add": add}]}, "POST")
    assert texts(collect(source(settings, f"{index}-a"))) == {"a": "one\n"}


def test_runs_that_are_numbered(settings: OpenSearchSettings, prefix: str, opensearch: OpenSearchServer):
    make(opensearch, prefix, build=LONG)
    put(settings, prefix, [line("a", "two", build=12), line("a", "one", build=7)])
    assert texts(collect(source(settings, prefix, field="build"))) == {"7": "one\n", "12": "two\n"}


def test_run_fields_of_several_kinds(settings: OpenSearchSettings, prefix: str, opensearch: OpenSearchServer):
    """Those of one index would be passed over, so it is asked which are meant."""
    make(opensearch, f"{prefix}-a", build=LONG)
    make(opensearch, f"{prefix}-b", build=TEXT)
    with pytest.raises(SettingsError, match="--run-field build is long and text in the indices"):
        collect(source(settings, f"{prefix}-*", field="build"))


def test_no_such_text(settings: OpenSearchSettings, index: str):
    """Before any run is judged without its text; a field that is stored and not indexed will do."""
    put(settings, index, [line("a", "one") | {"body": "x"}])
    with pytest.raises(SettingsError, match=r"have no field text; opensearch\.text_field .*: .*message"):
        collect(source(settings.model_copy(update={"text_field": "text"}), index))
    assert texts(collect(source(settings.model_copy(update={"text_field": "body"}), index))) == {"a": "x\n"}


def test_text_that_is_stored_only(settings: OpenSearchSettings, prefix: str, opensearch: OpenSearchServer):
    make(opensearch, prefix, raw={"type": "object", "enabled": False})
    put(settings, prefix, [line("a", "one") | {"raw": {"text": "x"}}])
    assert texts(collect(source(settings.model_copy(update={"text_field": "raw.text"}), prefix))) == {"a": "x\n"}


def test_limits(settings: OpenSearchSettings, index: str, monkeypatch: pytest.MonkeyPatch):
    """Sources and labels without end cost no memory; what was left out is told, and damages the run."""
    monkeypatch.setattr(module, "MAX_SOURCES", 2)
    lines = [
        line("a", f"line {number}", log={"offset": number, "file": {"path": f"{number}"}}, testbed="t" * 2000)
        for number in range(5)
    ]
    put(settings, index, lines)
    events = collect(source(settings, index))
    assert texts(events) == {"a": joined(range(2))}
    assert {len(event.headers.get("testbed", "")) for event in events if isinstance(event, Chunk)} == {1024, 0}
    told = [problem.reason for problem in problems(events)]
    assert [told[0][:25], told[1][:23]] == ["3 lines were left out, of", "labels longer than 1024"]
    assert {problem.run_id for problem in problems(events)} == {"a"}


def test_limits_are_those_of_messages():
    for name in ("MAX_KEY_BYTES", "MAX_SOURCES", "MAX_LABEL_CHARACTERS", "FIRST_MS", "LAST_MS"):
        assert getattr(module, name) == getattr(messages, name)


def test_times_that_are_none(settings: OpenSearchSettings, index: str):
    """A clock that was not set says nothing of when the run began."""
    unset = datetime(1970, 1, 1, tzinfo=UTC)
    put(settings, index, [line("a", "one", unset), line("a", "two")])
    events = collect(source(settings, index))
    assert texts(events) == {"a": "one\ntwo\n"}
    assert events[-1] == RunEnd("a", NOON)


def test_pages_have_so_much_text(settings: OpenSearchSettings, index: str, monkeypatch: pytest.MonkeyPatch):
    """Few lines a page where they are long."""
    monkeypatch.setattr(module, "PAGE_BYTES", 10_000)
    monkeypatch.setattr(module, "FIRST_LINES", 4)
    put(settings, index, [line("a", "x" * 3000, log={"offset": number}) for number in range(20)])
    sizes = [len(event.data) for event in collect(source(settings, index)) if isinstance(event, Chunk)]
    assert sum(sizes) == 20 * 3001
    assert max(sizes[1:]) <= 10_000


def test_identities_in_names_of_runs(settings: OpenSearchSettings, index: str, env: dict[str, str]):
    """Without a pseudonym key they are passed over and told, as a worker refuses them; the others are judged."""
    put(settings, index, [line("imsi-001010123456789", "x"), line("night/1", "x")])
    options = ("--run-field", "run.id", "--time", DAY)
    told = call("run", "--jsonl", "--no-store", f"opensearch://{index}", *options, env=env)
    assert (told.code, [verdict["run_id"] for verdict in told.jsonl]) == (2, ["night/1"])
    assert "run.id holds an identity or a secret; set redaction.pseudonym_key" in told.err
    assert "001010123456789" not in told.err
    key = {"STREAM_TRIAGE_REDACTION__PSEUDONYM_KEY": "of the tests"}
    assert len(call("run", "--jsonl", "--no-store", f"opensearch://{index}", *options, env=env | key).jsonl) == 2


def test_a_run_that_went_on(settings: OpenSearchSettings, index: str, env: dict[str, str]):
    """What has more lines the next time replaces the stored verdict."""
    again = ("run", "-q", f"opensearch://{index}", "--run-field", "run.id", "--time", DAY)
    for number in range(2):
        put(settings, index, [line("night/1", f"line {number}", log={"offset": number})], first=number)
        call(*again, env=env)
    assert call("show", "--json", "night/1").json["sources"][0]["lines"] == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoreError("disk full")])
def test_interrupted(settings: OpenSearchSettings, index: str, error: BaseException):
    """Nothing is left open on the server, which `no_view_is_left` looks at."""
    put(settings, index, [line("a", "one")])

    def handle(event: object) -> None:
        raise error

    with pytest.raises(type(error)):
        source(settings, index).run(handle)


def test_busy_server(settings: OpenSearchSettings, index: str, monkeypatch: pytest.MonkeyPatch):
    """Each request is repeated for as long as the settings say, with growing waits, and no line comes twice."""
    clock, asked = FakeClock(), list[str]()

    class Busy(SearchServer):
        def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
            asked.append(path)
            if len(asked) % 4 and method != "DELETE":
                raise BadAnswer("busy", (429, 503, 0)[len(asked) % 3])
            return super().ask(method, path, body)

    put(settings, index, [line("a", f"line {number}", log={"offset": number}) for number in range(20)])
    monkeypatch.setattr(module, "SearchServer", Busy)
    monkeypatch.setattr(module, "LINES_A_PAGE", 5)
    patient = settings.model_copy(update={"retry_seconds": 60.0})
    assert texts(collect(source(patient, index, clock=clock))) == {"a": joined(range(20))}
    assert clock.monotonic() > 5
    with pytest.raises(BadAnswer, match="busy"):
        collect(source(settings, index, clock=clock))


def test_shards_that_are_away(settings: OpenSearchSettings, index: str, opensearch: OpenSearchServer):
    """Half of the lines would judge a run wrongly: then nothing is judged."""
    put(settings, index, [line("a", "one")])
    nowhere = {"settings": {"index.routing.allocation.require._name": "nobody"}}
    opensearch.ask(f"{index}-red?wait_for_active_shards=0&timeout=1s", nowhere, "PUT")
    try:
        with pytest.raises(StoreError, match="status 503"):
            collect(source(settings, f"{index}*"))
    finally:
        opensearch.ask(f"{index}-red", method="DELETE")


def test_rights_in_the_docs_are_enough(secure_opensearch: OpenSearchServer, prefix: str):
    """A user who may do what docs/opensearch.md says and nothing else; one without rights is told where they stand."""
    text = (ROOT / "docs" / "opensearch.md").read_text().split("## Runs that are already in an index")[1]
    (block,) = re.findall(r"```json\n(\{\s+\"cluster_permissions.*?)```", text, re.DOTALL)
    role = json.loads(block.replace("logs-*", f"{prefix}*"))
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
    with pytest.raises(StoreError, match=r"for want of the right indices:data/read/field_caps; .* docs/opensearch\.md"):
        collect(source(may_not, prefix))
