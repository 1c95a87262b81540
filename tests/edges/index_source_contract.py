"""Runs whose lines are in an index: read whole, in order, and judged as their files would be.

The same tests for a server in memory and a real one.
"""

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_triage import Verdict
from stream_triage.clients.search import Document, ResponseError, SearchServer
from stream_triage.clock import FakeClock
from stream_triage.errors import SettingsError, StoreError
from stream_triage.ports import Source
from stream_triage.records import Chunk, RunEnd
from stream_triage.settings import OpenSearchSettings
from stream_triage.sources import opensearch as module
from stream_triage.sources.opensearch import OpenSearchSource
from tests.commands import call
from tests.edges.source_contract import SourceContract, collect, problems
from tests.edges.source_contract import texts as by_run_and_source
from tests.services.farm import BUNDLE, expected, sample_runs
from tests.verdicts import assert_same

__all__ = ["DATE", "DAY", "KEYWORD", "LONG", "NOON", "TEXT", "IndexSourceContract", "joined", "line", "texts"]

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = "2026-11-01..2026-11-02"
DATE, KEYWORD, LONG, TEXT = ({"type": kind} for kind in ("date", "keyword", "long", "text"))


def line(run: object, text: object, moment: datetime = NOON, **more: Any) -> dict[str, Any]:
    return {"@timestamp": moment.isoformat(), "message": text, "run": {"id": run}, **more}


def texts(events: Sequence[object]) -> dict[str, str]:
    parts: dict[str, bytes] = {}
    for event in events:
        if isinstance(event, Chunk):
            parts[event.run_id] = parts.get(event.run_id, b"") + event.data
    return {run: text.decode() for run, text in parts.items()}


def joined(numbers: Iterable[int]) -> str:
    return "".join(f"line {number}\n" for number in numbers)


class IndexSourceContract(SourceContract):
    """A subclass sets these before each test. The prefix is that of no other test; the settings have no patience."""

    server: SearchServer
    settings: OpenSearchSettings
    prefix: str
    long_run = 1_500
    url: str
    """Of the server, for the command line."""

    def open_server(self) -> SearchServer:
        """For a source, which closes it."""
        raise NotImplementedError

    def make(self, name: str = "", shards: int = 1, offset: object = LONG, **fields: object) -> str:
        """An index with keyword fields, as the templates of shippers make them; `fields` are other ones by their names."""
        name = name or self.prefix
        known = {"@timestamp": DATE, "message": TEXT, "run": {"properties": {"id": KEYWORD}}}
        known |= {"log": {"properties": {"offset": offset}}} if offset else {}
        mappings = {"properties": {**known, **{name.replace("_at_", "@"): kind for name, kind in fields.items()}}}
        self.server.request("PUT", name, {"settings": {"number_of_shards": shards}, "mappings": mappings})
        return name

    def put(self, lines: Iterable[Mapping[str, Any]], index: str = "", first: int = 0) -> None:
        index = index or self.prefix
        documents = [Document(index, f"{n}", 1, json.dumps(fields).encode()) for n, fields in enumerate(lines, first)]
        assert all(response.written for response in self.server.bulk(documents))
        self.server.request("POST", f"{index}/_refresh")

    def open(self, index: str = "", time: str = DAY, field: str = "run.id", **more: Any) -> OpenSearchSource:
        settings = more.pop("settings", self.settings)
        server = more.pop("server", None) or self.open_server()
        return OpenSearchSource(server, settings, index or self.prefix, run_field=field, time=time, **more)

    def source(self, contents: list[bytes], tmp_path: Path) -> Source:
        """Documents contain a line or several; these are long, because a test would need many short ones."""
        self.make(message={"type": "text", "index": False})
        for number, content in enumerate(contents):
            pieces = re.findall(".{0,99999}\n", content.decode(), re.DOTALL) or [""]
            self.put([line(f"run{number}#", piece) for piece in pieces], first=1000 * number)
        return self.open()

    def unreadable(self, tmp_path: Path) -> Source:
        self.make()
        self.put([line("\u001b[2J", "its run has no usable name")])
        return self.open()

    @pytest.mark.parametrize("size", [1, 4096, 256 * 1024, 256 * 1024 + 1, 700_000])
    def test_text_is_complete(self, size: int, tmp_path: Path) -> None:
        """An index contains lines: all have an end, and a text without any is not there."""
        letters = bytes(10 if number % 997 == 0 else 32 + number % 90 for number in range(size, 1, -1)) + b"\n"
        contents = [letters] * self.most_runs
        assert list(by_run_and_source(collect(self.source(contents, tmp_path))).values()) == contents

    def test_a_long_run_comes_whole_and_in_order(self) -> None:
        """Over many pages and three shards, all lines of the same time, ordered by their offsets."""
        self.make(shards=3)
        numbers = list(range(self.long_run))
        random.Random(0).shuffle(numbers)
        self.put(line("long", f"line {number}", log={"offset": number}) for number in numbers)
        events = collect(self.open())
        assert texts(events) == {"long": joined(range(self.long_run))}
        assert max(len(event.data) for event in events if isinstance(event, Chunk)) < 100_000
        assert not problems(events)

    def test_many_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """More than a page of them, each with one end."""
        monkeypatch.setattr(module, "RUNS_A_PAGE", 7)
        self.make(shards=3)
        self.put([line(f"run {number}", f"{number}") for number in range(30)])
        events = collect(self.open())
        assert texts(events) == {f"run {number}": f"{number}\n" for number in range(30)}
        assert sum(isinstance(event, RunEnd) for event in events) == 30

    def test_a_run_that_exceeds_the_time_is_read_whole(self) -> None:
        """A run with one line within the time comes with its lines before and after it, any other does not come."""
        self.make()
        early, late = NOON - timedelta(days=2), NOON + timedelta(days=2)
        self.put([line("a", "in"), line("a", "before", early), line("a", "after", late), line("b", "other", late)])
        assert texts(collect(self.open())) == {"a": "before\nin\nafter\n"}
        assert texts(collect(self.open(time="2026-11-02"))) == {"a": "before\nin\nafter\n", "b": "other\n"}
        assert texts(collect(self.open(time="..2026-11-01T11:00"))) == {"a": "before\nin\nafter\n"}
        assert texts(collect(self.open(time="now-1s..now"))) == {}

    def test_text_with_a_keyword_beside_it(self) -> None:
        """As an index without a template maps text."""
        self.put([line("a b", "one"), line("a", "two")])
        assert texts(collect(self.open())) == {"a b": "one\n", "a": "two\n"}

    def test_documents_without_text_or_run(self) -> None:
        """Without text they damage their run, without a run they are counted; hostile run ids are skipped."""
        lines = [line("a", "one"), line("a", None), {"@timestamp": NOON.isoformat(), "run": {"id": "only"}}]
        lines += [{"@timestamp": NOON.isoformat(), "message": "whose?"}, line("bad\u001b[2J", "x"), line("", "x")]
        self.put(lines)
        events = collect(self.open())
        assert texts(events) == {"a": "one\n", "only": ""}
        reported = sorted((problem.run_id or "", problem.error, problem.reason) for problem in problems(events))
        assert [run for run, *_ in reported] == ["", "", "", "a", "only"]
        assert reported[0] == ("", False, "1 lines of this time have no run.id.keyword and belong to no run")
        assert [error for _, error, _ in reported[1:]] == [True] * 4
        assert "opensearch.text_field" in reported[-1][2]

    @pytest.mark.parametrize(
        ("index_name", "field", "time", "reason"),
        [
            ("{}-none", "run.id", DAY, "no index"),
            ("{}-none*", "run.id", DAY, "no index"),
            ("{}", "case", DAY, r"--run-field case is not a field .*: run\.id"),
            ("{}", "run", DAY, r"--run-field run is not a field .*: run\.id"),
            ("{}", "message", DAY, "--run-field message is text without a sub-field keyword"),
            ("{}", "run.id", "yesterday", "--time cannot be understood; write now-1d"),
            ("{}", "run.id", "..", "--time is empty"),
            ("{}", "run.id", "2026-11-02..2026-11-01", "--time ends before it begins"),
            ("{}", "run.id", "2026-11-01..2026-11-01", "--time ends before it begins, or is empty"),
        ],
    )
    def test_wrong_requests(self, index_name: str, field: str, time: str, reason: str) -> None:
        """Each error says what to write instead."""
        self.make(shards=3)
        self.put([line("a", "x")])
        with pytest.raises(SettingsError, match=reason):
            collect(self.open(index_name.format(self.prefix), time, field))

    def test_no_date(self) -> None:
        """The error names the setting."""
        self.make()
        self.put([line("a", "x")])
        with pytest.raises(SettingsError, match=r"opensearch\.time_field"):
            collect(self.open(settings=self.settings.model_copy(update={"time_field": "message"})))

    def test_view_that_was_dropped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the server has dropped it between two pages, the error says so, and no incomplete run has an end."""
        monkeypatch.setattr(module, "LINES_A_PAGE", 1)
        self.make()
        self.put([line("a", "one"), line("a", "two")])
        events: list[object] = []

        def drop(event: object) -> None:
            events.append(event)
            self.server.request("DELETE", "_search/point_in_time/_all")

        with pytest.raises(StoreError, match="has dropped its view"):
            self.open().run(drop)
        assert not any(isinstance(event, RunEnd) for event in events)

    def test_order_of_indexing(self) -> None:
        """Without numbers and in one shard, lines of the same time come as they were indexed.

        The server itself looks at later days first, and numbers documents so.
        """
        self.make(offset=None)
        for number in range(0, 100, 10):
            later = line("b", "later", NOON + timedelta(minutes=number))
            self.put([*(line("a", f"line {number + step}") for step in range(10)), later], first=2 * number)
        events = collect(self.open())
        assert texts(events)["a"] == joined(range(100))
        assert not problems(events)

    def test_order_that_is_unknown(self) -> None:
        """Lines of the same time in several shards: all come, in the same order each time, with a problem that says so."""
        self.make(shards=3, offset=None)
        self.put([line("a", f"line {number}") for number in range(30)])
        self.put([line("b", "one"), line("b", "two", NOON + timedelta(seconds=1))], first=30)
        events = collect(self.open())
        assert sorted(texts(events)["a"].splitlines()) == sorted(joined(range(30)).splitlines())
        assert [(problem.run_id, problem.error) for problem in problems(events)] == [(None, False)]
        assert "in 1 runs, lines of the same time" in problems(events)[0].reason
        assert collect(self.open()) == events

    def test_indices_that_are_alike(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Documents of the same time have the same number in several indices: none is skipped between two pages."""
        monkeypatch.setattr(module, "LINES_A_PAGE", 3)
        for name in ("x", "y"):
            index = self.make(f"{self.prefix}-{name}", shards=2)
            log = {"file": {"path": name}}
            self.put([line("a", f"{name}{number}", log=log) for number in range(20)], index)
        for index in (f"{self.prefix}-*", f"{self.prefix}-x,{self.prefix}-y"):
            lines = texts(collect(self.open(index)))["a"].split()
            assert sorted(lines) == sorted(f"{name}{number}" for name in "xy" for number in range(20))

    def test_sources_come_apart(self) -> None:
        """Each in order, however they alternate; with the labels of the first line that has one."""
        self.make(shards=3)
        lines = [
            line("a", f"line {number}", log={"offset": number, "file": {"path": "cu" if number % 3 else "du"}})
            for number in range(100)
        ]
        lines[7] |= {"test": {"case": {"name": "attach"}}, "service.version": 3}
        lines[8] |= {"test.case.name": "too late"}
        self.put(lines)
        events = collect(self.open())
        chunks = [event for event in events if isinstance(event, Chunk)]
        by_source = {
            name: b"".join(chunk.data for chunk in chunks if chunk.source == name).decode() for name in ("cu", "du")
        }
        assert by_source == {"cu": joined(n for n in range(100) if n % 3), "du": joined(range(0, 100, 3))}
        assert [chunk.headers for chunk in chunks] == [{"test.case.name": "attach", "service.version": "3"}, {}]
        assert events[-1] == RunEnd("a", NOON)

    def test_dates_of_two_types(self) -> None:
        """Milliseconds and nanoseconds, as of two shippers, and an offset that is not a number in one of them."""
        indices = {
            "ms": self.make(f"{self.prefix}-ms"),
            "ns": self.make(f"{self.prefix}-ns", offset=KEYWORD, _at_timestamp={"type": "date_nanos"}),
        }
        for number in range(40):
            kind = "ms" if number % 4 == 0 else "ns"
            moment = f"2026-11-01T12:00:00.{number // 4:03d}{number % 4:06d}Z"
            self.put([line("a", f"line {number}") | {"@timestamp": moment}], indices[kind], first=1000 - number)
        events = collect(self.open(f"{self.prefix}-*"))
        assert texts(events) == {"a": joined(range(40))}
        assert events[-1] == RunEnd("a", NOON)
        assert texts(collect(self.open(f"{self.prefix}-ns"))) == {"a": joined(n for n in range(40) if n % 4)}

    def test_runs_with_numbers(self) -> None:
        """The field of the run may be a number."""
        self.make(build=LONG)
        self.put([line("a", "two", build=12), line("a", "one", build=7)])
        assert texts(collect(self.open(field="build"))) == {"7": "one\n", "12": "two\n"}

    def test_run_fields_of_several_types(self) -> None:
        """Runs of one index would be left out, so the user must say which indices are meant."""
        self.make(f"{self.prefix}-a", build=LONG)
        self.make(f"{self.prefix}-b", build=TEXT)
        with pytest.raises(SettingsError, match="--run-field build is long and text in the indices"):
            collect(self.open(f"{self.prefix}-*", field="build"))

    def test_no_such_text(self) -> None:
        """Raised before any run is judged without its text."""
        self.make()
        self.put([line("a", "one") | {"body": "x"}])
        with pytest.raises(SettingsError, match=r"have no field text; set opensearch\.text_field .*: .*message"):
            collect(self.open(settings=self.settings.model_copy(update={"text_field": "text"})))
        assert texts(collect(self.open(settings=self.settings.model_copy(update={"text_field": "body"})))) == {"a": "x\n"}

    def test_text_that_is_stored_only(self) -> None:
        """A field that the index does not search can be the text."""
        self.make(raw={"type": "object", "enabled": False})
        self.put([line("a", "one") | {"raw": {"text": "x"}}])
        assert texts(collect(self.open(settings=self.settings.model_copy(update={"text_field": "raw.text"})))) == {
            "a": "x\n"
        }

    def test_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Any number of sources and labels costs no memory; what was left out is reported, and damages the run."""
        monkeypatch.setattr(module, "MAX_SOURCES", 2)
        self.make()
        self.put(
            line("a", f"line {number}", log={"offset": number, "file": {"path": f"{number}"}}, testbed="t" * 2000)
            for number in range(5)
        )
        events = collect(self.open())
        assert texts(events) == {"a": joined(range(2))}
        assert {len(event.headers.get("testbed", "")) for event in events if isinstance(event, Chunk)} == {1024, 0}
        reasons = [problem.reason for problem in problems(events)]
        assert [reasons[0][:25], reasons[1][:23]] == ["3 lines were left out, of", "labels longer than 1024"]
        assert {problem.run_id for problem in problems(events)} == {"a"}

    def test_times_that_cannot_be(self) -> None:
        """A clock that was not set does not say when the run began."""
        self.make()
        self.put([line("a", "one", datetime(1970, 1, 1, tzinfo=UTC)), line("a", "two")])
        events = collect(self.open())
        assert texts(events) == {"a": "one\ntwo\n"}
        assert events[-1] == RunEnd("a", NOON)

    def test_pages_have_limited_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A page has few lines where they are long."""
        monkeypatch.setattr(module, "PAGE_BYTES", 10_000)
        monkeypatch.setattr(module, "FIRST_LINES", 4)
        self.make()
        self.put(line("a", "x" * 3000, log={"offset": number}) for number in range(20))
        sizes = [len(event.data) for event in collect(self.open()) if isinstance(event, Chunk)]
        assert sum(sizes) == 20 * 3001
        assert max(sizes[1:]) <= 10_000

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), StoreError("disk full")])
    def test_interrupted(self, error: BaseException) -> None:
        """Nothing stays open on the server, which every test checks at its end."""
        self.make()
        self.put([line("a", "one")])

        def handle(event: object) -> None:
            raise error

        with pytest.raises(type(error)):
            self.open().run(handle)

    def test_busy_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each request is repeated for as long as the settings say, with growing waits, and no line comes twice."""
        monkeypatch.setattr(module, "LINES_A_PAGE", 5)
        self.make()
        self.put([line("a", f"line {number}", log={"offset": number}) for number in range(20)])
        clock, requests, server = FakeClock(), list[str](), self.open_server()
        request = server.request

        def busy(method: str, path: str, body: Any = None) -> dict[str, Any]:
            requests.append(path)
            if len(requests) % 4 and method != "DELETE":
                raise ResponseError("busy", (429, 503, 0)[len(requests) % 3])
            return request(method, path, body)

        monkeypatch.setattr(server, "request", busy)
        monkeypatch.setattr(server, "close", lambda: None)
        patient = self.settings.model_copy(update={"retry_seconds": 60.0})
        assert texts(collect(self.open(settings=patient, server=server, clock=clock))) == {"a": joined(range(20))}
        assert clock.monotonic() > 5
        with pytest.raises(ResponseError, match="busy"):
            collect(self.open(server=server, clock=clock))

    def command(self, *arguments: str) -> Any:
        """`stream-triage run` on the index."""
        env = {"STREAM_TRIAGE_OPENSEARCH__HOSTS": json.dumps([self.url]), "STREAM_TRIAGE_BUNDLE": BUNDLE}
        source = (f"opensearch://{self.prefix}", "--run-field", "run.id", "--time", DAY)
        return call("run", *[one for one in arguments if "=" not in one], *source,
                    env=env | dict(one.split("=", 1) for one in arguments if "=" in one))  # fmt: skip

    def test_same_verdicts_as_from_files(self) -> None:
        """Lines of several runs and sources, indexed in disorder with the times of their records, change nothing."""
        runs, lines = sample_runs(4), []
        for run in runs:
            for name, text in run.sources.items():
                for number, one in enumerate(text.decode().splitlines()):
                    moment = NOON + timedelta(milliseconds=number // 3)  # three lines of each moment
                    log = {"offset": number, "file": {"path": name}}
                    lines.append(line(run.run_id, one, moment, log=log, testbed="rack 7"))
        random.Random(0).shuffle(lines)
        self.make(shards=3)
        self.put(lines)
        result = self.command("--json", "--no-store")
        assert result.code == 1
        verdicts = {verdict["run_id"]: Verdict.model_validate(verdict) for verdict in result.json}
        wanted = expected(runs)
        assert set(verdicts) == set(wanted)
        for name, verdict in verdicts.items():
            assert verdict.headers == {"testbed": "rack 7"}
            assert verdict.started == NOON
            same = {"time": None, "started": None, "headers": {}}
            assert_same(verdict.model_copy(update=same), wanted[name].model_copy(update={"time": None}))

    def test_identities_in_names_of_runs(self) -> None:
        """Without a pseudonym key they are skipped and reported, as a worker rejects them; the others are judged."""
        self.make()
        self.put([line("imsi-001010123456789", "x"), line("night/1", "x")])
        result = self.command("--jsonl", "--no-store")
        assert (result.code, [verdict["run_id"] for verdict in result.jsonl]) == (2, ["night/1"])
        assert "run.id holds an identity or a secret; set redaction.pseudonym_key" in result.err
        assert "001010123456789" not in result.err
        result = self.command("--jsonl", "--no-store", "STREAM_TRIAGE_REDACTION__PSEUDONYM_KEY=of the tests")
        assert len(result.jsonl) == 2

    def test_a_run_that_went_on(self) -> None:
        """A run that has more lines the next time replaces its stored verdict."""
        self.make()
        for number in range(2):
            self.put([line("night/1", f"line {number}", log={"offset": number})], first=number)
            self.command("-q")
        assert call("show", "--json", "night/1").json["sources"][0]["lines"] == 2
