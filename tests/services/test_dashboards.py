"""Dashboards and monitors of `setup opensearch`, on an OpenSearch with verdicts of real runs: every panel's numbers.

The plugins and Dashboards themselves are stood in for (plugins.py), since no package registry has them.
"""

import dataclasses
import itertools
import json
import math
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.alerting.rules import team_of
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.settings import OpenSearchSettings, Route
from stream_triage.setup.changes import Changes
from stream_triage.setup.dashboards import BOARDS, WIDTH, make_dashboards, ndjson, saved_objects
from stream_triage.setup.monitors import MINUTES, MONITORS, monitor
from stream_triage.setup.opensearch import set_up
from stream_triage.sinks.opensearch import OpenSearchSink
from stream_triage.worker.metrics import Metrics
from stream_triage.worker.reports import WorkerReports
from tests.commands import call
from tests.services.farm import sample_runs
from tests.services.panels import NOW, Row, answer_of, decoded, direct, request_of
from tests.services.plugins import Dashboards, Plugins, serving
from tests.services.servers import PASSWORD, OpenSearchServer
from tests.verdicts import make_verdict
from training.data import read_oai

pytestmark = [pytest.mark.service, pytest.mark.slow]

TEMPLATES = [(f"k{number}", f"line {number} <*>") for number in range(30)]
VERDICTS = 5000
# So many runs are judged, the rest are theirs again with other names, beds and times; all of them take minutes.
JUDGED = int(os.environ.get("STREAM_TRIAGE_JUDGED") or 60)
DAYS = 40
ROUTES = (Route(team="lab", cause="environment"), Route(team="radio", label="L0_L1"), Route(team="stack", label="L[23]"))
STATUSES = ("pass", "failed", "PASSED", "error", "skipped", None)


WORDS = b"alpha bravo charlie delta echo foxtrot golf hotel india juliet".split()


class Data:
    """An index with verdicts, templates and reports of workers, and the rows that they were made of."""

    def __init__(self, server: OpenSearchServer, settings: OpenSearchSettings, verdicts: Sequence[Verdict]) -> None:
        self.server, self.settings = server, settings
        self.rows = {"verdicts": [verdict_row(verdict) for verdict in verdicts], "workers": list[Row]()}
        self.rows["lines"] = [line for verdict in verdicts for line in line_rows(verdict)]
        self.rows["templates"] = [
            {"triage.bundle.name": ["tiny"], "triage.bundle.version": ["1"], "triage.key": [key]} for key, _ in TEMPLATES
        ]
        set_up(settings, ("tiny", "1"), TEMPLATES)
        with OpenSearchClient(settings) as client, OpenSearchSink(client, settings) as sink:
            for number, verdict in enumerate(verdicts):
                sink.write(verdict)
                if number % 200 == 0:
                    sink.flush()
        self._report()
        server.ask(f"{settings.index_prefix}-*/_refresh", method="POST")

    def _report(self) -> None:
        """Two workers for a day, with troubles."""
        rng = random.Random(3)
        for worker in ("lab-1", "<b>lab-2</b>"):
            clock = FakeClock(NOW - timedelta(days=1, minutes=-5))
            metrics = Metrics({"version": "1", "bundle": "tiny", "bundle_version": "1"}, clock=clock)
            about = {"host": {"name": worker}, "service": {"instance": {"id": worker}, "version": "1"},
                     "triage": {"bundle": {"name": "tiny", "version": "1"}}}  # fmt: skip
            prefix = self.settings.index_prefix
            with OpenSearchClient(self.settings) as server:
                reports = WorkerReports(server, prefix, metrics, about, on_trouble=pytest.fail, clock=clock)
                for number in range(20):
                    clock.advance(3600)
                    metrics.step()
                    metrics.trouble = "OpenSearch is away" if number % 7 == 0 else ""
                    told = {"messages": rng.randrange(99), "verdicts": rng.randrange(9), "lines": rng.randrange(9999),
                            "refused": rng.randrange(2), "flush_failures": rng.randrange(2),
                            "open_runs": rng.randrange(50), "messages_behind": rng.randrange(5000)}  # fmt: skip
                    if number:
                        metrics.messages.inc(told["messages"])
                        metrics.verdicts.labels("L2", "failed").inc(told["verdicts"])
                        metrics.lines.inc(told["lines"])
                        metrics.refused.labels("message").inc(told["refused"])
                        metrics.flush_failures.inc(told["flush_failures"])
                        metrics.open_runs.set(told["open_runs"])
                        metrics.behind.labels("0").set(told["messages_behind"])
                    else:  # the first report comes before anything was counted
                        told = dict.fromkeys(told, 0)
                    reports.report()
                    row = {f"triage.{name}": [value] for name, value in told.items()}
                    row |= {"@timestamp": [clock.now()], "service.instance.id": [worker], "service.version": ["1"],
                            "triage.bundle.version": ["1"]}  # fmt: skip
                    self.rows["workers"].append(row | {"triage.trouble": ["OpenSearch is away"] if metrics.trouble else []})

    def index(self, kind: str) -> str:
        return f"{self.settings.index_prefix}-{kind}" + ("" if kind == "templates" else "-*")

    def ask(self, index: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.server.ask(f"{index}/_search", body)


def verdict_row(verdict: Verdict) -> dict[str, list[Any]]:
    """The fields of the index, from the verdict itself."""
    told = verdict.headers
    row: dict[str, Any] = {
        "@timestamp": verdict.time, "triage.run.id": verdict.run_id, "triage.run.key": verdict.run_id,
        "triage.label": verdict.label, "triage.passed": verdict.passed, "triage.failed": 0 if verdict.passed else 1,
        "triage.confidence": verdict.confidence, "triage.anomaly_score": verdict.anomaly_score,
        "triage.anomalous": verdict.anomalous, "triage.needs_review": verdict.needs_review, "triage.cause": verdict.cause,
        "triage.team": verdict.team, "triage.testbed": told.get("testbed"), "test.case.name": told.get("test.case.name"),
        "service.version": told.get("service.version"), "triage.lines": verdict.lines,
        "triage.ues.failed": verdict.ues.failed if verdict.ues else None,
    }  # fmt: skip
    said = told.get("test.case.result.status", "").lower()
    row["triage.disagreement"] = (said.startswith("pass") and not verdict.passed) or (
        said in ("failed", "error") and verdict.passed
    )
    several = {"triage.anomaly_kinds": {item.kind for item in verdict.anomalies},
               "triage.anomaly_keys": {item.key for item in verdict.anomalies} - {""},
               "triage.review_reasons": set(verdict.review_reasons)}  # fmt: skip
    return {name: [] if value is None else [value] for name, value in row.items()} | {
        name: sorted(values) for name, values in several.items()
    }


def line_rows(verdict: Verdict) -> Iterator[dict[str, list[Any]]]:
    for line in verdict.reduction:
        yield {"@timestamp": [verdict.time], "triage.run.id": [verdict.run_id], "triage.source": [line.source],
               "triage.number": [line.number], "triage.why": [line.why], "message": [line.text]}  # fmt: skip


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    """Of real runs with injected faults where they are at hand, else of the samples."""
    triage = Triage(Bundle.open(find_bundle("oai5g")))
    folder = os.environ.get("STREAM_TRIAGE_DATA")
    source = Path(folder or ".") / "ran" / "oai_rfsim_runs.jsonl.xz"
    runs = read_oai(source) if source.exists() else sample_runs(JUDGED)
    rng = random.Random(1)
    judged = []
    for number, run in enumerate(rng.sample(list(runs), min(JUDGED, len(runs)))):
        session = triage.session(run.run_id)
        for name, text in run.sources.items():
            # Every sixth run has a line that nobody knows.
            session.feed(
                text + (b"" if number % 6 else b"[XYZ] the %s was never heard of\n" % WORDS[number // 6 % 10]), name
            )
        judged.append(session.close())
        session.text.close()
    made = []
    for number, verdict in zip(range(VERDICTS), itertools.cycle(judged), strict=False):
        beds = ("rack-1", "rack-2", "<script>alert(1)</script>", "\u202erack")
        headers = {"testbed": rng.choice(beds),
                   "test.case.name": rng.choice(("attach", "handover \x1b[31m", "canary", "voice")),
                   "service.version": f"build {number // 1000}",
                   "test.case.result.status": rng.choice(STATUSES)}  # fmt: skip
        headers = {name: value for name, value in headers.items() if value is not None and rng.random() < 0.9}
        cause = None if verdict.passed else rng.choice(("product", "environment", None))
        time = NOW - timedelta(seconds=rng.randrange(DAYS * 86_400), milliseconds=rng.randrange(1000))
        kept = tuple(sorted(verdict.reduction, key=lambda line: line.why)[:3])
        changed = {"run_id": f"night/{number}", "headers": headers, "cause": cause, "time": time, "started": time}
        changed |= {"needs_review": number % 50 == 0, "reduction": kept}
        made.append(verdict.model_copy(update=changed))
    return [verdict.model_copy(update={"team": team_of(ROUTES, verdict)}) for verdict in made]


@pytest.fixture(scope="module")
def data(opensearch: OpenSearchServer, verdicts: list[Verdict]) -> Data:
    return Data(opensearch, OpenSearchSettings(hosts=(opensearch.url,), index_prefix="panels"), verdicts)


def one(row: Row, name: str) -> Any:
    return row[name][0] if row[name] else None


# What each query of a panel means, in Python.
def counted(row: Row) -> bool:
    return bool(one(row, "test.case.name") != "canary")


QUERIES: dict[str, Callable[[Row], bool]] = {
    "*": lambda row: True,
    "NOT test.case.name:canary": counted,
    "(triage.passed:false) AND NOT test.case.name:canary": lambda row: counted(row) and not one(row, "triage.passed"),
    "triage.passed:false AND NOT test.case.name:canary": lambda row: counted(row) and not one(row, "triage.passed"),
    "(triage.needs_review:true) AND NOT test.case.name:canary": lambda row: counted(row) and one(row, "triage.needs_review"),
    "(triage.anomalous:true) AND NOT test.case.name:canary": lambda row: counted(row) and one(row, "triage.anomalous"),
    "(triage.disagreement:true) AND NOT test.case.name:canary": lambda row: counted(row) and one(row, "triage.disagreement"),
    "(triage.passed:true AND triage.anomalous:true) AND NOT test.case.name:canary": (
        lambda row: counted(row) and one(row, "triage.passed") and one(row, "triage.anomalous")
    ),
    "_exists_:triage.team AND NOT test.case.name:canary": lambda row: counted(row) and bool(row["triage.team"]),
    "triage.cause:environment AND NOT test.case.name:canary": (
        lambda row: counted(row) and one(row, "triage.cause") == "environment"
    ),
    "triage.anomaly_kinds:new AND NOT test.case.name:canary": (
        lambda row: counted(row) and "new" in row["triage.anomaly_kinds"]
    ),
    "triage.why:anomaly": lambda row: one(row, "triage.why") == "anomaly",
    "_exists_:triage.trouble": lambda row: bool(row["triage.trouble"]),
}
OBJECTS = {(each["type"], each["id"]): each for each in saved_objects(OpenSearchSettings(index_prefix="panels"))}
DRAWN = sorted(name for kind, name in OBJECTS if kind == "visualization" and name != "panels-choose-run")
LISTED = sorted(name for kind, name in OBJECTS if kind == "search")
SINCE = NOW - timedelta(days=30)


def pattern_of(saved: dict[str, Any]) -> str:
    (reference,) = saved["references"]
    return str(reference["id"].removeprefix("panels-"))


def rows_of(data: Data, pattern: str, query: str) -> list[Row]:
    rows = [row for row in data.rows[pattern] if QUERIES[query](row)]
    return rows if pattern == "templates" else [row for row in rows if SINCE <= row["@timestamp"][0] <= NOW]


class TestPanels:
    @pytest.mark.parametrize("name", DRAWN)
    def test_numbers(self, name: str, data: Data):
        """What the server says to a visualisation is what the verdicts themselves say."""
        saved = OBJECTS["visualization", name]
        told, pattern = decoded(saved["attributes"]), pattern_of(saved)
        state, query = told["visState"], told["source"]["query"]["query"]
        rows = rows_of(data, pattern, query)
        assert rows, "there is something to count"
        if "anomaly_keys" in json.dumps(state):  # thousands of them; the others must be shown whole
            rows, state = _commonest(rows, state)
        body = request_of(state, query, SINCE, NOW, None if pattern == "templates" else "@timestamp")
        answer = answer_of(state, data.ask(data.index(pattern), body))
        _assert_close(answer, direct(state, rows))

    @pytest.mark.parametrize("name", LISTED)
    def test_lists(self, name: str, data: Data):
        """As many documents as there should be, in order, with a value in each column."""
        saved = OBJECTS["search", name]
        told, pattern = decoded(saved["attributes"]), pattern_of(saved)
        query, sort = told["source"]["query"]["query"], told["sort"]
        rows = rows_of(data, pattern, query)
        body = request_of({"aggs": []}, query, SINCE, NOW, None if pattern == "templates" else "@timestamp")
        body |= {"size": 200, "sort": [{field: order} for field, order in sort], "aggs": {}}
        body["fields"] = list(told["columns"])
        hits = data.ask(data.index(pattern), body)["hits"]
        assert hits["total"]["value"] == len(rows) > 0
        shown = [hit["fields"] for hit in hits["hits"]]
        for column in told["columns"]:
            assert any(column in fields for fields in shown) == any(row.get(column) for row in rows) or column in (
                "message",
            )
        if sort == [["@timestamp", "desc"]] and pattern == "verdicts":
            newest = sorted(rows, key=lambda row: row["@timestamp"][0], reverse=True)[:200]
            assert [fields["triage.run.id"] for fields in shown] == [row["triage.run.id"] for row in newest]

    def test_choices(self, data: Data):
        """The controls offer what is there."""
        (controls,) = [decoded(each["attributes"])["visState"]["params"]["controls"] for name, each in OBJECTS.items()
                       if name[1] == "panels-choose-run"]  # fmt: skip
        for control in controls:
            field = control["fieldName"]
            body = {"size": 0, "aggs": {"x": {"terms": {"field": field, "size": control["options"]["size"]}}}}
            found = data.ask(data.index("verdicts"), body)["aggregations"]["x"]["buckets"]
            counts = Counter(value for row in data.rows["verdicts"] for value in row[field])
            assert all(counts[bucket["key"]] == bucket["doc_count"] for bucket in found)
            assert len(found) == min(len(counts), 100)

    def test_fields_can_be_counted(self, data: Data):
        """Dashboards refuses fields that are nested, or text, in an aggregation."""
        for (kind, _), saved in OBJECTS.items():
            if kind != "visualization":
                continue
            index = data.index(saved["references"][0]["id"].removeprefix("panels-"))
            fields = {
                agg["params"]["field"]
                for agg in decoded(saved["attributes"])["visState"]["aggs"]
                if "field" in agg["params"]
            }
            known = data.server.ask(f"{index}/_field_caps?fields={','.join(fields) or '*'}")["fields"]
            for field in fields:
                (caps,) = known[field].values()
                assert caps["aggregatable"]
                assert known.get(field.rpartition(".")[0], {"object": {}}).keys() == {"object"}


def _commonest(rows: list[Row], state: dict[str, Any]) -> tuple[list[Row], dict[str, Any]]:
    """The panel shows the 50 commonest; which of equally common ones is the server's choice, so 9,999 are compared."""
    aggs = [agg | {"params": {**agg["params"], "size": 9999}} if agg["type"] == "terms" else agg for agg in state["aggs"]]
    return rows, {**state, "aggs": aggs}


def _assert_close(answer: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        assert set(answer) == set(wanted)
        for key, value in wanted.items():
            _assert_close(answer[key], value)
    else:
        assert answer == (None if wanted is None else pytest.approx(wanted, rel=1e-6))


def fill(query: Any, end: datetime) -> Any:
    """As the plugin does it, which knows when it asks."""
    return json.loads(json.dumps(query).replace("{{period_end}}", str(round(end.timestamp() * 1000))))


class TestMonitors:
    def ends(self, data: Data) -> list[datetime]:
        """When the monitors ask: on several days, when nothing came for long, and when a new key has just come."""
        first: dict[str, datetime] = {}
        for row in sorted(data.rows["verdicts"], key=lambda row: row["@timestamp"][0]):
            for key in row["triage.anomaly_keys"] if counted(row) else ():
                first.setdefault(key, row["@timestamp"][0])
        new = [time + timedelta(minutes=1) for key, time in first.items() if key.startswith("new:")]
        days = [NOW - timedelta(hours=25 * number) for number in range(15)]
        odd = (row for row in data.rows["verdicts"] if one(row, "triage.passed") and one(row, "triage.anomalous"))
        seen = [row["@timestamp"][0] + timedelta(minutes=1) for row in itertools.islice(odd, 3)]
        return [*days, NOW + timedelta(minutes=31), NOW + timedelta(days=3), *new[:3], *new[-3:], *seen]

    def speaks(self, data: Data, name: str, end: datetime) -> tuple[bool, dict[str, Any]]:
        """By the server: query, then the condition in its Painless. Rows are those before `end`, as they were then."""
        body = monitor(data.settings, name)
        (trigger,), (asked,) = body["triggers"], body["inputs"]
        (index,) = asked["search"]["indices"]
        answer = data.ask(index, fill(asked["search"]["query"], end))
        script = trigger["query_level_trigger"]["condition"]["script"]["source"]
        told = {"source": f"def ctx = params.ctx; return {script};", "params": {"ctx": {"results": [answer]}}}
        said = data.server.ask("_scripts/painless/_execute", {"script": told})["result"]
        return {"true": True, "false": False}[said], answer

    def direct(self, data: Data, name: str, end: datetime) -> bool:
        def within(since: timedelta, until: timedelta = timedelta(0)) -> list[Row]:
            return [row for row in data.rows["verdicts"] if end - since <= row["@timestamp"][0] < end - until]

        period = timedelta(minutes=MINUTES)
        now = [row for row in within(period) if counted(row)]
        if name == "failed run":
            return any(not one(row, "triage.passed") for row in now)
        if name == "anomalous pass":
            return any(one(row, "triage.passed") and one(row, "triage.anomalous") for row in now)
        if name == "disagreement with the harness":
            return any(one(row, "triage.disagreement") for row in now)
        if name == "new template":
            earlier = {
                key for row in within(timedelta(days=9999), period) if counted(row) for key in row["triage.anomaly_keys"]
            }
            return any(key.startswith("new:") and key not in earlier for row in now for key in row["triage.anomaly_keys"])
        if name == "verdicts stopped":
            return bool(within(timedelta(days=1))) and not within(timedelta(minutes=30))
        rates = []
        for case in ("attach", "handover \x1b[31m", "voice"):
            recent, earlier = (
                [row for row in within(*span) if one(row, "test.case.name") == case]
                for span in ((timedelta(days=1),), (timedelta(days=31), timedelta(days=1)))
            )
            failed, before = (sum(one(row, "triage.failed") for row in some) for some in (recent, earlier))
            if len(recent) < 10 or len(earlier) < 20 or not failed:
                continue
            usual = (before + 1) / (len(earlier) + 2)
            chance = sum(math.comb(len(recent), k) * usual**k * (1 - usual) ** (len(recent) - k)
                         for k in range(failed, len(recent) + 1))  # fmt: skip
            rates.append(chance)
        return any(chance < 0.001 for chance in rates)

    @pytest.mark.parametrize("name", MONITORS)
    def test_speaks_when_it_should(self, name: str, data: Data):
        ends = self.ends(data)
        said = {end: self.speaks(data, name, end)[0] for end in ends}
        assert said == {end: self.direct(data, name, end) for end in ends}
        assert name == "failure rate of a test case" or set(said.values()) == {True, False}

    def test_failure_rate(self, opensearch: OpenSearchServer, prefix: str):
        """A test case that failed once in 30 runs fails 9 times in 10: it speaks of that one, by name."""
        settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix)
        made = []
        for number in range(40):
            recent = number >= 30
            for case, fails in (("broken", (recent and number != 35) or number == 3), ("steady", number % 10 == 3)):
                time = NOW - (timedelta(hours=40 - number) if recent else timedelta(days=2 + number % 20))
                made.append(make_verdict(f"{case}/{number}", label="L2" if fails else "Pass", passed=not fails, time=time,
                                         started=time, headers={"test.case.name": case}))  # fmt: skip
        found = Data(opensearch, settings, made)
        spoke, answer = self.speaks(found, "failure rate of a test case", NOW)
        assert spoke
        assert [bucket["key"] for bucket in answer["aggregations"]["found"]["buckets"]] == ["broken"]
        assert not self.speaks(found, "failure rate of a test case", NOW - timedelta(days=1))[0]

    @pytest.mark.parametrize("name", MONITORS)
    def test_message(self, name: str, data: Data):
        """Rendered by the server's own engine; what speaks names what it speaks of."""
        settings = data.settings.model_copy(update={"notification_channel": "c1"})
        body = monitor(settings, name)
        (action,) = body["triggers"][0]["query_level_trigger"]["actions"]
        assert action["destination_id"] == "c1"
        speaking = [end for end in self.ends(data) if self.direct(data, name, end)]
        _, answer = self.speaks(data, name, speaking[0] if speaking else NOW)
        source = json.dumps({"text": action["message_template"]["source"]})
        text = data.server.ask("_render/template", {"source": source, "params": {"ctx": {"results": {"0": answer}}}})
        shown = text["template_output"]["text"]
        assert "{{" not in shown
        for bucket in answer["aggregations"].get("labels", {"buckets": ()})["buckets"]:
            assert name == "anomalous pass" or f"{bucket['key']} ({bucket['doc_count']})" in shown


class TestObjects:
    def test_boards_are_whole(self):
        """Panels lie beside each other, and each reference leads to an object."""
        for (kind, _), saved in OBJECTS.items():
            assert all((to["type"], to["id"]) in OBJECTS for to in saved["references"])
            if kind != "dashboard":
                continue
            told = decoded(saved["attributes"])
            names = {to["name"] for to in saved["references"]}
            taken = set()
            for panel in told["panelsJSON"]:
                assert panel["panelRefName"] in names
                place = panel["gridData"]
                cells = {
                    (x, y)
                    for x in range(place["x"], place["x"] + place["w"])
                    for y in range(place["y"], place["y"] + place["h"])
                }
                assert not cells & taken
                assert max(x for x, _ in cells) < WIDTH
                taken |= cells
        assert len({panel.name for board in BOARDS for panel in board.panels}) == sum(len(board.panels) for board in BOARDS)

    def test_links_lead_to_a_board(self):
        saved = OBJECTS["index-pattern", "panels-verdicts"]["attributes"]
        for field in json.loads(saved["fieldFormatMap"]).values():
            board = field["params"]["urlTemplate"].partition("?")[0].rpartition("/")[2]
            assert ("dashboard", board) in OBJECTS

    def test_export(self, tmp_path: Path):
        """As a file for the import page."""
        said = call("setup", "opensearch", "--export", tmp_path / "triage.ndjson")
        lines = (tmp_path / "triage.ndjson").read_text().splitlines()
        assert said.out == f"wrote {len(lines)} objects to {tmp_path}/triage.ndjson\n"
        assert len(lines) == len(OBJECTS)
        assert call("setup", "opensearch", "--export", tmp_path / "no" / "x").code == 2


@dataclasses.dataclass
class Complete:
    """A server with all plugins, and Dashboards."""

    server: OpenSearchServer
    plugins: Plugins
    dashboards: Dashboards
    settings: OpenSearchSettings


@pytest.fixture
def complete(opensearch: OpenSearchServer, prefix: str) -> Iterator[Complete]:
    plugins, dashboards = Plugins(opensearch), Dashboards(opensearch, f"{prefix}-objects")
    with serving(plugins.answer) as url, serving(dashboards.answer) as shown:
        settings = OpenSearchSettings(hosts=(url,), index_prefix=prefix, dashboards_url=shown)
        yield Complete(opensearch, plugins, dashboards, settings)


class TestSetUp:
    def test_second_time_changes_nothing(self, complete: Complete):
        """All is planned, made and found again."""
        settings = complete.settings
        planned = set_up(settings, ("tiny", "1"), TEMPLATES, dry_run=True)
        assert (complete.plugins.policies, complete.plugins.monitors, complete.dashboards.imports) == ({}, {}, 0)
        made = set_up(settings, ("tiny", "1"), TEMPLATES)
        assert (made.done, made.skipped, made.failed) == (planned.done, [], [])
        assert len(complete.plugins.monitors) == len(MONITORS)
        assert len(complete.dashboards.objects()) == len(saved_objects(settings))
        again = set_up(settings, ("tiny", "1"), TEMPLATES)
        assert (again.done, again.skipped, again.failed) == ([], [], [])
        assert complete.dashboards.imports == 1

    def test_what_is_missing_is_named_and_the_rest_made(self, complete: Complete):
        complete.plugins.missing = ("ism", "alerting")
        settings = complete.settings.model_copy(update={"dashboards_url": None})
        made = set_up(settings, ("tiny", "1"), TEMPLATES)
        assert len(made.done) == 7
        assert [reason.partition(":")[0] for reason in made.skipped] == [
            "retention of verdicts", "retention of lines and workers", "monitors", "dashboards"]  # fmt: skip
        assert "plugin opensearch-alerting is not installed" in made.skipped[2]
        assert made.failed == []

    def test_changed_settings_change_what_they_say(self, complete: Complete):
        set_up(complete.settings, ("tiny", "1"), TEMPLATES)
        changed = {"lines_max_age_days": 10, "verdicts_max_age_days": None, "notification_channel": "abc"}
        settings = complete.settings.model_copy(update=changed)
        done = set_up(settings, ("tiny", "1"), TEMPLATES).done
        prefix = settings.index_prefix
        assert done[:2] == [f"remove retention policy {prefix}-verdicts", f"change retention policy {prefix}-lines: 10 days"]
        assert len(done) == 2 + len(MONITORS)
        (policy,) = complete.plugins.policies.values()
        age = policy["policy"]["states"][0]["transitions"][0]["conditions"]["min_index_age"]
        assert age == f"{(10 + 31) * 24}h"
        assert set_up(settings, ("tiny", "1"), TEMPLATES).done == []

    def test_indices_that_are_there_get_the_policy(self, complete: Complete):
        settings = complete.settings
        set_up(settings.model_copy(update={"lines_max_age_days": None}), ("tiny", "1"), TEMPLATES)
        with OpenSearchClient(settings) as client, OpenSearchSink(client, settings) as sink:
            sink.write(make_verdict("a", started=NOW))
        assert list(complete.plugins.managed) == []
        done = set_up(settings, ("tiny", "1"), TEMPLATES).done
        assert (
            f"put {settings.index_prefix}-verdicts-2026.11 under retention policy {settings.index_prefix}-verdicts" in done
        )
        assert complete.plugins.managed == {f"{settings.index_prefix}-verdicts-2026.11": f"{settings.index_prefix}-verdicts"}

    def test_what_people_changed_in_a_monitor_stays(self, complete: Complete):
        set_up(complete.settings, ("tiny", "1"), TEMPLATES)
        next(iter(complete.plugins.monitors.values()))["enabled"] = False
        assert set_up(complete.settings, ("tiny", "1"), TEMPLATES).done == []

    def test_a_panel_that_was_changed_is_put_back(self, complete: Complete):
        settings = complete.settings
        set_up(settings, ("tiny", "1"), TEMPLATES)
        place = f"{complete.dashboards.index}/_update/dashboard:{settings.index_prefix}-overview"
        complete.server.ask(place, {"doc": {"dashboard": {"title": "mine"}}}, "POST")
        (done,) = set_up(settings, ("tiny", "1"), TEMPLATES).done
        assert done == f"import 1 objects into {settings.dashboards_url}: Triage: overview"

    def test_older_indices_get_new_fields(self, complete: Complete):
        """Verdicts of a month that began with an older version are found by them too."""
        prefix = complete.settings.index_prefix
        old = {"mappings": {"dynamic": False, "properties": {"triage": {"properties": {"label": {"type": "keyword"}}}}}}
        complete.server.ask(f"{prefix}-verdicts-2026.11", old, "PUT")
        complete.server.ask(f"{prefix}-lines-2026.11", {"mappings": {"properties": {"message": {"type": "keyword"}}}}, "PUT")
        made = set_up(complete.settings, ("tiny", "1"), TEMPLATES)
        assert any(change.endswith(f"to index {prefix}-verdicts-2026.11") for change in made.done)
        (failed,) = made.failed
        assert failed.startswith(f"index {prefix}-lines-2026.11 has other kinds of fields and keeps them")
        settings = complete.settings
        with OpenSearchClient(settings) as client, OpenSearchSink(client, settings) as sink:
            sink.write(make_verdict("a", started=NOW, passed=False, label="L2"))
        complete.server.ask(f"{prefix}-*/_refresh", method="POST")
        query = {"query": {"term": {"triage.failed": 1}}}
        assert complete.server.ask(f"{prefix}-verdicts-*/_count", query)["count"] == 1

    def test_templates_of_a_later_version_stay(self, complete: Complete):
        set_up(complete.settings, ("tiny", "1"), TEMPLATES)
        place = f"_index_template/{complete.settings.index_prefix}-lines"
        (found,) = complete.server.ask(place)["index_templates"]
        complete.server.ask(place, found["index_template"] | {"_meta": {"version": 99}}, "PUT")
        with pytest.raises(StoreError, match="is of a later stream-triage"):
            set_up(complete.settings, ("tiny", "1"), TEMPLATES)

    def test_settings_of_the_farm_outrank_ours(self, complete: Complete):
        prefix = complete.settings.index_prefix
        set_up(complete.settings, ("tiny", "1"), TEMPLATES)
        custom = {"template": {"settings": {"index": {"number_of_shards": 2}}}}
        complete.server.ask(f"_component_template/{prefix}-custom", custom, "PUT")
        assert set_up(complete.settings, ("tiny", "1"), TEMPLATES).done == []
        told = complete.server.ask(f"_index_template/_simulate_index/{prefix}-lines-2026.11", method="POST")
        assert told["template"]["settings"]["index"]["number_of_shards"] == "2"

    @pytest.mark.parametrize(("status", "body", "reason"), [
        (302, {}, "status 302"), (401, {}, "opensearch.password"), (403, {}, "write access"), (500, {}, "status 500"),
        (200, b"<html>Log in</html>", "cannot be asked"), (200, [], "is it OpenSearch Dashboards?"),
        (200, {"saved_objects": "x"}, "is it OpenSearch Dashboards?"),
    ])  # fmt: skip
    def test_dashboards_that_answer_badly(self, status: int, body: Any, reason: str):
        """Said, with what to do; nothing of the password; no redirect is followed."""
        asked = []

        def answer(method: str, path: str, *_: Any) -> tuple[int, Any]:
            asked.append(path)
            return status, body

        changes = Changes()
        with serving(answer) as url:
            make_dashboards(OpenSearchSettings(dashboards_url=url, user="u", password="Secret-1"), changes)
        (failed,) = changes.failed
        assert reason in failed
        assert "Secret" not in failed
        assert asked == ["/api/saved_objects/_bulk_get"]

    def test_nobody_there(self):
        changes = Changes()
        make_dashboards(OpenSearchSettings(dashboards_url="http://127.0.0.1:9"), changes)
        assert "check opensearch.dashboards_url" in changes.failed[0]

    def test_objects_without_what_they_refer_to(self, complete: Complete):
        """The stand-in refuses them, so a wrong reference would show."""
        (wrong,) = [each for each in saved_objects(complete.settings) if each["id"].endswith("-overview")]
        part = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.ndjson"\r\n\r\n'
            + ndjson([wrong])
            + b"\r\n--b--\r\n"
        )
        headers = {"osd-xsrf": "x", "Content-Type": "multipart/form-data; boundary=b"}
        _, told = complete.dashboards.answer("POST", "/api/saved_objects/_import?overwrite=true", part, headers)
        assert told["success"] is False


def roles(page: str, prefix: str) -> list[dict[str, Any]]:
    """Those of the section on rights: of the worker, and of the one who sets up."""
    text = (Path(__file__).parents[2] / page).read_text().split("## Rights")[1].partition("\n## ")[0]
    return [
        json.loads(role.replace("triage-*", f"{prefix}-*")) for role in re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    ]


class TestSecurity:
    def test_twice_with_users_and_tls(self, secure_opensearch: OpenSearchServer, prefix: str):
        """The rights that docs/opensearch.md names for `setup` are enough, and nothing changes the second time."""
        told = {
            "hosts": (secure_opensearch.url,),
            "index_prefix": prefix,
            "ca_file": secure_opensearch.certificates / "ca.pem",
        }
        names = [f"{prefix}-{number}" for number, _ in enumerate(roles("docs/opensearch.md", prefix))]
        for name, role in zip(names, roles("docs/opensearch.md", prefix), strict=True):
            secure_opensearch.ask(f"_plugins/_security/api/roles/{name}", role, "PUT")
        user = {"password": f"{PASSWORD}-setup", "opendistro_security_roles": names}
        secure_opensearch.ask(f"_plugins/_security/api/internalusers/{prefix}", user, "PUT")
        old = {"mappings": {"dynamic": False, "properties": {"triage": {"properties": {"label": {"type": "keyword"}}}}}}
        secure_opensearch.ask(f"{prefix}-verdicts-2026.10", old, "PUT")
        dashboards = Dashboards(secure_opensearch, f"x{prefix}-objects", {prefix: user["password"]})
        with serving(dashboards.answer) as shown:
            settings = OpenSearchSettings(**told, user=prefix, password=user["password"], dashboards_url=shown)
            made = set_up(settings, ("tiny", "1"), TEMPLATES)
            assert (len(made.done), len(made.skipped), made.failed) == (9, 3, [])
            assert set_up(settings, ("tiny", "1"), TEMPLATES).done == []
            wrong = settings.model_copy(update={"password": OpenSearchSettings(password="wrong-Secret").password})
            with pytest.raises(StoreError, match=r"opensearch\.password"):
                set_up(wrong, ("tiny", "1"), TEMPLATES)
