"""Dashboards and monitors of `setup opensearch`, on an OpenSearch with verdicts of real runs: the numbers of every panel.

plugins.py replaces the plugins and Dashboards, since no package registry has them.
"""

import dataclasses
import itertools
import json
import math
import os
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from urllib3.filepost import encode_multipart_formdata

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.alerting.rules import team_of
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clients.search import Document
from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.settings import OpenSearchSettings, Route
from stream_triage.setup.links import NO_RUN, run_filter
from stream_triage.setup.monitor_rules import ALERT_MINUTES, RULES
from stream_triage.setup.monitors import monitor
from stream_triage.setup.opensearch import set_up
from stream_triage.setup.saved_objects import ndjson, saved_objects
from stream_triage.sinks.opensearch import OpenSearchSink, address_of
from stream_triage.worker.metrics import Metrics
from stream_triage.worker.reports import WorkerReports
from tests.services.farm import sample_runs
from tests.services.lucene import matches, means
from tests.services.panels import NOW, Row, decoded, direct, numbers_of, request_of
from tests.services.plugins import Dashboards, Plugins, serving
from tests.services.servers import PASSWORD, OpenSearchServer
from tests.services.vega_panels import computed, requests_of, simplified, widened
from tests.setup.dashboards_links import HOSTILE, clicked
from tests.verdicts import kept, make_verdict
from training.data import read_oai

pytestmark = [pytest.mark.service, pytest.mark.slow]

TEMPLATES = [(f"k{number}", f"line {number} <*>") for number in range(30)]
VERDICTS = 5000
# So many runs are judged; the others are copies with other names, beds and times. To judge all of them takes minutes.
JUDGED = int(os.environ.get("STREAM_TRIAGE_JUDGED") or 60)
DAYS = 40
ROUTES = (Route(team="lab", cause="environment"), Route(team="radio", label="L0_L1"), Route(team="stack", label="L[23]"))
STATUSES = ("pass", "failed", "PASSED", "error", "skipped", None)


WORDS = b"alpha bravo charlie delta echo foxtrot golf hotel india juliet".split()


def arrives(verdict: Verdict) -> datetime | None:
    """When a verdict comes: some hours late, as after an outage, some from a worker that does not write when."""
    number = int(verdict.run_id.rpartition("/")[2])
    late = timedelta(hours=3) if number % 7 == 0 else timedelta(seconds=20)
    return None if number % 11 == 0 or verdict.time is None else verdict.time + late


class LateSink(OpenSearchSink):
    """Writes verdicts as if each came at its time."""

    def _verdict(self, run: Any, month: str) -> Document:
        document = super()._verdict(run, month)
        fields, at = json.loads(document.body), arrives(run.verdict)
        del fields["event"]["ingested"]
        fields["event"] |= {"ingested": at.isoformat()} if at else {}
        return dataclasses.replace(document, body=json.dumps(fields).encode())


class Data:
    """Indices of verdicts, templates and reports of workers, and the rows from which they were written."""

    def __init__(self, server: OpenSearchServer, settings: OpenSearchSettings, verdicts: Sequence[Verdict]) -> None:
        self.server, self.settings = server, settings
        self.rows = {"verdicts": [verdict_row(verdict) for verdict in verdicts], "workers": list[Row]()}
        self.rows["lines"] = [line for verdict in verdicts for line in line_rows(verdict)]
        self.rows["templates"] = [
            {"triage.bundle.name": ["tiny"], "triage.bundle.version": ["1"], "triage.key": [key], "message": [text]}
            for key, text in TEMPLATES
        ]
        set_up(settings, ("tiny", "1"), TEMPLATES)
        with OpenSearchClient(settings) as search, LateSink(search, settings) as sink:
            for number, verdict in enumerate(verdicts):
                sink.write(verdict)
                if number % 200 == 0:
                    sink.flush()
        self._report()
        server.ask(f"{settings.index_prefix}-*/_refresh", method="POST")

    def _report(self) -> None:
        """Reports of two workers for a day, some of which were not ready."""
        rng = random.Random(3)
        for worker in ("lab-1", "<b>lab-2</b>"):
            clock = FakeClock(NOW - timedelta(days=1, minutes=-5))
            metrics = Metrics({"version": "1", "bundle": "tiny", "bundle_version": "1"}, clock=clock)
            about = {"host": {"name": worker}, "service": {"instance": {"id": worker}, "version": "1"},
                     "triage": {"bundle": {"name": "tiny", "version": "1"}}}  # fmt: skip
            with OpenSearchClient(self.settings) as server:
                prefix = self.settings.index_prefix
                reports = WorkerReports(server, prefix, metrics, about, on_trouble=pytest.fail, clock=clock)
                for number in range(20):
                    clock.advance(3600)
                    metrics.step()
                    metrics.trouble = "OpenSearch is away" if number % 7 == 0 else ""
                    counts = {"messages": rng.randrange(99), "verdicts": rng.randrange(9), "lines": rng.randrange(9999),
                            "refused": rng.randrange(2), "flush_failures": rng.randrange(2),
                            "open_runs": rng.randrange(50), "messages_behind": rng.randrange(5000)}  # fmt: skip
                    if number:
                        metrics.messages.inc(counts["messages"])
                        metrics.verdicts.labels("L2", "failed").inc(counts["verdicts"])
                        metrics.lines.inc(counts["lines"])
                        metrics.refused.labels("message").inc(counts["refused"])
                        metrics.flush_failures.inc(counts["flush_failures"])
                        metrics.open_runs.set(counts["open_runs"])
                        metrics.behind.labels("0").set(counts["messages_behind"])
                    else:  # the first report comes before anything was counted
                        counts = dict.fromkeys(counts, 0)
                    reports.report()
                    row = {f"triage.{name}": [value] for name, value in counts.items()}
                    row |= {"@timestamp": [clock.now()], "service.instance.id": [worker], "service.version": ["1"],
                            "triage.bundle.version": ["1"]}  # fmt: skip
                    self.rows["workers"].append(row | {"triage.trouble": ["OpenSearch is away"] if metrics.trouble else []})

    def index(self, kind: str) -> str:
        return f"{self.settings.index_prefix}-{kind}" + ("" if kind == "templates" else "-*")

    def ask(self, index: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.server.ask(f"{index}/_search", body)


def arrival(row: Row) -> Any:
    """When the verdict came into the index, as monitors see it."""
    return (row["event.ingested"] or row["@timestamp"])[0]


def verdict_row(verdict: Verdict) -> dict[str, list[Any]]:
    """The fields that the index should have, computed from the verdict."""
    headers = verdict.headers
    row: dict[str, Any] = {
        "event.ingested": arrives(verdict),
        "@timestamp": verdict.time, "triage.run.id": verdict.run_id, "triage.run.key": verdict.run_id,
        "triage.run.address": address_of(verdict.run_id), "triage.top_evidence": top_evidence(verdict),
        "triage.why.keyword": verdict.why or None,
        "triage.failure_rate": 0 if verdict.passed else 1,
        "triage.label": verdict.label, "triage.passed": verdict.passed, "triage.failed": 0 if verdict.passed else 1,
        "triage.confidence": verdict.confidence, "triage.anomaly_score": verdict.anomaly_score,
        "triage.anomalous": verdict.anomalous, "triage.needs_review": verdict.needs_review, "triage.cause": verdict.cause,
        "triage.team": verdict.team, "triage.testbed": headers.get("testbed"),
        "test.case.name": headers.get("test.case.name"), "service.version": headers.get("service.version"),
        "triage.lines": verdict.lines,
        "triage.ues.failed": verdict.ues.failed if verdict.ues else None,
    }  # fmt: skip
    status = headers.get("test.case.result.status", "").lower()
    row["triage.disagreement"] = (status.startswith("pass") and not verdict.passed) or (
        status in ("failed", "error") and verdict.passed
    )
    several = {"triage.anomaly_kinds": {item.kind for item in verdict.anomalies},
               "triage.anomaly_keys": {item.key for item in verdict.anomalies} - {""},
               "triage.review_reasons": set(verdict.review_reasons)}  # fmt: skip
    made = {name: [] if value is None else [value] for name, value in row.items()}
    made |= {name: sorted(values) for name, values in several.items()}
    made["triage.anomalies"] = [
        {f"triage.anomalies.{name}": [value] for name, value in item.model_dump().items() if value is not None}
        | {"parent": [made]}
        for item in verdict.anomalies
    ]
    return made


def top_evidence(verdict: Verdict) -> str | None:
    """What the terminal shows first of a run that somebody has to look at."""
    if verdict.needs_review:
        return verdict.review_reasons[0]
    if verdict.passed:
        return verdict.anomalies[0].words()[:300] if verdict.anomalous else None
    found = sorted(verdict.evidence, key=lambda item: item.kind == "missing")
    return found[0].words()[:300] if found else None


def line_rows(verdict: Verdict) -> Iterator[dict[str, list[Any]]]:
    for line in verdict.reduction:
        yield {
            "@timestamp": [verdict.time],
            "triage.run.address": [address_of(verdict.run_id)],
            "triage.source": [line.source],
            "triage.number": [line.number],
            "triage.why": [line.why],
            "message": [line.text],
        }


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    """Verdicts of real runs with injected faults if the data folder has them, else of the samples."""
    triage = Triage(Bundle.open(find_bundle("oai5g")))
    folder = os.environ.get("STREAM_TRIAGE_DATA")
    source = Path(folder or ".") / "ran" / "oai_rfsim_runs.jsonl.xz"
    runs = read_oai(source) if source.exists() else sample_runs(JUDGED)
    rng = random.Random(1)
    judged = []
    for number, run in enumerate(rng.sample(list(runs), min(JUDGED, len(runs)))):
        session = triage.session(run.run_id)
        for name, text in run.sources.items():
            # Every sixth run has a line whose template is unknown.
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
        lines = tuple(sorted(verdict.reduction, key=lambda line: line.why)[:3])
        changed = {"run_id": f"night/{number}", "headers": headers, "cause": cause, "time": time, "started": time}
        reasons = rng.sample(("the labels are close", "lines are missing", "the text is short"), rng.randrange(1, 3))
        changed |= {"needs_review": number % 50 == 0, "review_reasons": tuple(reasons) if number % 50 == 0 else ()}
        changed["reduction"] = lines
        made.append(verdict.model_copy(update=changed))
    return [verdict.model_copy(update={"team": team_of(ROUTES, verdict)}) for verdict in made]


@pytest.fixture(scope="module")
def data(opensearch: OpenSearchServer, verdicts: list[Verdict]) -> Data:
    return Data(opensearch, OpenSearchSettings(hosts=(opensearch.url,), index_prefix="panels"), verdicts)


def one(row: Row, name: str) -> Any:
    return row[name][0] if row[name] else None


def counted(row: Row) -> bool:
    return bool(one(row, "test.case.name") != "canary")


OBJECTS = {(each["type"], each["id"]): each for each in saved_objects(OpenSearchSettings(index_prefix="panels"))}
STATES = {name: decoded(each["attributes"])["visState"] for (kind, name), each in OBJECTS.items() if kind == "visualization"}
DRAWN = sorted(name for name, state in STATES.items() if state["aggs"])
VEGA = sorted(name for name, state in STATES.items() if state["type"] == "vega" and name != "panels-run-page")
RUN_LISTS = sorted(name for name, state in STATES.items() if "triage.top_evidence" in json.dumps(state["aggs"]))
# Of these there are more than a panel shows.
MANY = ("triage.run.address", "triage.number")
SINCE = NOW - timedelta(days=30)


def pattern_of(saved: dict[str, Any]) -> str:
    (reference,) = saved["references"]
    return str(reference["id"].removeprefix("panels-"))


def rows_of(data: Data, pattern: str, query: str) -> list[Row]:
    rows = [row for row in data.rows[pattern] if means(query, row)]
    return rows if pattern == "templates" else [row for row in rows if SINCE <= row["@timestamp"][0] <= NOW]


class TestPanels:
    @pytest.mark.parametrize("name", DRAWN)
    def test_numbers(self, name: str, data: Data):
        """The server's numbers for a visualisation are those computed from the verdicts."""
        saved, state = OBJECTS["visualization", name], STATES[name]
        pattern, query = pattern_of(saved), decoded(saved["attributes"])["source"]["query"]["query"]
        rows = rows_of(data, pattern, query)
        chosen = []
        if pattern == "lines":  # of few runs, or of one on its board: each line is a bucket of its own
            runs = dict.fromkeys(row["triage.run.address"][0] for row in rows)
            some = list(runs)[: 1 if name.startswith("panels-run-") else 20]
            chosen = [{"bool": {"should": [{"match_phrase": {"triage.run.address": run}} for run in some]}}]
            rows = [row for row in rows if matches(chosen[0], row)]
        assert rows, "there is something to count"
        state = _all_terms(state)  # of other fields all values must be shown
        body = request_of(state, query, SINCE, NOW, None if pattern == "templates" else "@timestamp")
        body["query"]["bool"]["filter"] += chosen
        numbers = numbers_of(state, data.ask(data.index(pattern), body))
        _assert_close(numbers, direct(state, rows))

    @pytest.mark.parametrize("name", RUN_LISTS)
    def test_newest_runs(self, name: str, data: Data):
        """A list of runs has the newest ones, newest first."""
        saved, state = OBJECTS["visualization", name], STATES[name]
        query = decoded(saved["attributes"])["source"]["query"]["query"]
        (runs,) = [agg for agg in state["aggs"] if agg["params"].get("field") == "triage.run.address"]
        found = data.ask(data.index("verdicts"), request_of(state, query, SINCE, NOW, "@timestamp"))["aggregations"]
        newest = sorted(rows_of(data, "verdicts", query), key=lambda row: row["@timestamp"][0], reverse=True)
        shown = [bucket["key"] for bucket in found[runs["id"]]["buckets"]]
        assert shown == [row["triage.run.address"][0] for row in newest[: runs["params"]["size"]]]

    @pytest.mark.parametrize("name", VEGA)
    def test_drawn_numbers(self, name: str, data: Data):
        """The numbers that Vega draws, those of the week before among them, are those computed from the rows."""
        since = NOW - timedelta(days=5)
        for index, body in requests_of(json.loads(STATES[name]["params"]["spec"]), since, NOW).values():
            pattern = index.removeprefix("panels-").removesuffix("-*")
            body["aggs"] = widened(body["aggs"])
            rows = [row for row in data.rows[pattern] if matches(body["query"], row)]
            assert rows, "there is something to count"
            found = simplified(body["aggs"], data.ask(index, body)["aggregations"])
            _assert_close(found, computed(body["aggs"], rows))

    @pytest.mark.parametrize("name", ["testbeds", "builds", "testcases", "teams"])
    def test_most_failures_come_first(self, name: str, data: Data):
        """Comparisons show all values, or those with most failures."""
        spec = json.loads(STATES[f"panels-{name}"]["params"]["spec"])
        ((index, body),) = requests_of(spec, NOW - timedelta(days=5), NOW).values()
        buckets = data.ask(index, body)["aggregations"]["by"]["buckets"]
        failed = [bucket["now"]["failed"]["value"] for bucket in buckets]
        assert failed == sorted(failed, reverse=True)
        assert failed[0] > 0

    def test_a_chosen_run(self, data: Data):
        """The page of one run gets the document of the chosen run; without a choice it gets none, and says so."""
        spec = json.loads(STATES["panels-run-page"]["params"]["spec"])

        def hits(*chosen: Any) -> dict[str, Any]:
            ((index, body),) = requests_of(spec, NOW - timedelta(days=99), NOW, chosen).values()
            return dict(data.ask(index, body)["hits"])

        assert hits()["total"]["value"] > 1
        assert hits(run_filter("panels-verdicts", NO_RUN)["query"])["total"]["value"] == 0
        found = hits(run_filter("panels-verdicts", address_of("night/3"))["query"])
        assert found["total"]["value"] == 1
        (hit,) = found["hits"]
        assert hit["_source"]["triage"]["run"]["id"] == "night/3"
        assert "verdict" not in hit["_source"]["triage"]

    def test_choices(self, data: Data):
        """The controls offer the values that documents have."""
        (controls,) = [decoded(each["attributes"])["visState"]["params"]["controls"] for name, each in OBJECTS.items()
                       if name[1] == "panels-choose-run"]  # fmt: skip
        for control in controls:
            field = control["fieldName"]
            body = {"size": 0, "aggs": {"x": {"terms": {"field": field, "size": control["options"]["size"]}}}}
            buckets = data.ask(data.index("verdicts"), body)["aggregations"]["x"]["buckets"]
            counts = Counter(value for row in data.rows["verdicts"] for value in row[field])
            assert all(counts[bucket["key"]] == bucket["doc_count"] for bucket in buckets)
            assert len(buckets) == min(len(counts), 100)

    def test_fields_can_be_counted(self, data: Data):
        """Dashboards rejects nested fields and text in an aggregation."""
        for (kind, _), saved in OBJECTS.items():
            if kind != "visualization" or not decoded(saved["attributes"])["visState"]["aggs"]:
                continue
            index = data.index(saved["references"][0]["id"].removeprefix("panels-"))
            fields = {
                agg["params"]["field"]
                for agg in decoded(saved["attributes"])["visState"]["aggs"]
                if "field" in agg["params"] and agg["type"] != "top_hits"
            }
            known = data.server.ask(f"{index}/_field_caps?fields={','.join(fields) or '*'}")["fields"]
            for field in fields:
                (caps,) = known[field].values()
                assert caps["aggregatable"]
                assert known.get(field.rpartition(".")[0], {"object": {}}).keys() == {"object"}


class TestLinks:
    def test_a_click_finds_the_run(self, opensearch: OpenSearchServer, prefix: str):
        """And no other one, whatever characters the run id has; its lines too."""
        settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix)
        set_up(settings, ("tiny", "1"), ())
        with OpenSearchClient(settings) as search, OpenSearchSink(search, settings) as sink:
            for run_id in HOSTILE:
                sink.write(make_verdict(run_id, started=NOW, time=NOW).model_copy(update={"reduction": kept(run_id[:20])}))
        opensearch.ask(f"{prefix}-*/_refresh", method="POST")
        (pattern,) = [each for each in saved_objects(settings) if each["id"] == f"{prefix}-verdicts"]
        link = json.loads(pattern["attributes"]["fieldFormatMap"])["triage.run.address"]["params"]
        for run_id in HOSTILE:
            (chosen,) = clicked(link, address_of(run_id)).states["_a"]["filters"]
            for kind in ("verdicts", "lines"):
                hits = opensearch.ask(f"{prefix}-{kind}-*/_search", {"query": chosen["query"]})["hits"]["hits"]
                assert [hit["_source"]["triage"]["run"]["id"] for hit in hits] == [run_id]


def _all_terms(state: dict[str, Any]) -> dict[str, Any]:
    """Where a panel shows the first ones of many terms: among equal ones the server chooses, so all are compared."""
    aggs = [
        agg | {"params": {**agg["params"], "size": 9999}} if agg["params"].get("field") in MANY else agg
        for agg in state["aggs"]
    ]
    return {**state, "aggs": aggs}


def _assert_close(numbers: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        assert set(numbers) == set(wanted)
        for key, value in wanted.items():
            _assert_close(numbers[key], value)
    elif isinstance(wanted, int | float):
        assert numbers == pytest.approx(wanted, rel=1e-6)
    else:
        assert numbers == wanted


def fill(query: Any, end: datetime) -> Any:
    """Replaces the end of the period, as the plugin does when it sends the query."""
    return json.loads(json.dumps(query).replace("{{period_end}}", str(round(end.timestamp() * 1000))))


def decided(row: Row) -> bool:
    """Whether monitors look at the verdict: it is no canary, and needs no review."""
    return counted(row) and not one(row, "triage.needs_review")


class TestMonitors:
    def ends(self, data: Data) -> list[datetime]:
        """Times at which monitors run: on several days, after a long silence, and just after a new key."""
        first: dict[str, datetime] = {}
        for row in sorted(data.rows["verdicts"], key=arrival):
            for key in row["triage.anomaly_keys"] if decided(row) else ():
                first.setdefault(key, arrival(row))
        new = [time + timedelta(minutes=1) for key, time in first.items() if key.startswith("new:")]
        days = [NOW - timedelta(hours=25 * number) for number in range(15)]
        odd = (
            row
            for row in data.rows["verdicts"]
            if decided(row) and one(row, "triage.passed") and one(row, "triage.anomalous")
        )
        doubtful = (row for row in data.rows["verdicts"] if counted(row) and one(row, "triage.needs_review"))
        seen = [arrival(row) + timedelta(minutes=1) for rows in (odd, doubtful) for row in itertools.islice(rows, 3)]
        return [*days, NOW + timedelta(minutes=31), NOW + timedelta(days=3), *new[:3], *new[-3:], *seen]

    def fires(self, data: Data, name: str, end: datetime) -> tuple[bool, dict[str, Any]]:
        """Sends the query and evaluates the condition in the server, as at the time `end`; returns the response, too."""
        body = monitor(data.settings, name)
        (trigger,), (asked,) = body["triggers"], body["inputs"]
        (index,) = asked["search"]["indices"]
        response = data.ask(index, fill(asked["search"]["query"], end))
        script = trigger["query_level_trigger"]["condition"]["script"]["source"]
        script_request = {"source": f"def ctx = params.ctx; return {script};", "params": {"ctx": {"results": [response]}}}
        result = data.server.ask("_scripts/painless/_execute", {"script": script_request})["result"]
        return {"true": True, "false": False}[result], response

    def direct(self, data: Data, name: str, end: datetime) -> bool:
        def within(since: timedelta, until: timedelta = timedelta(0)) -> list[Row]:
            return [row for row in data.rows["verdicts"] if end - since <= arrival(row) < end - until]

        period = timedelta(minutes=ALERT_MINUTES)
        now = [row for row in within(period) if decided(row) or (name == "run to review" and counted(row))]
        of_runs = {
            "failed run": lambda row: not one(row, "triage.passed"),
            "anomalous pass": lambda row: one(row, "triage.passed") and one(row, "triage.anomalous"),
            "disagreement with the harness": lambda row: one(row, "triage.disagreement"),
            "run to review": lambda row: one(row, "triage.needs_review"),
        }
        if name in of_runs:
            return any(map(of_runs[name], now))
        if name == "new template":
            earlier = {
                key for row in within(timedelta(days=9999), period) if decided(row) for key in row["triage.anomaly_keys"]
            }
            return any(key.startswith("new:") and key not in earlier for row in now for key in row["triage.anomaly_keys"])
        if name == "verdicts stopped":
            return bool(within(timedelta(days=1))) and not within(timedelta(minutes=30))
        rates = []
        for case in ("attach", "handover \x1b[31m", "voice"):
            recent, earlier = (
                [row for row in within(*span) if decided(row) and one(row, "test.case.name") == case]
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

    @pytest.mark.parametrize("name", RULES)
    def test_fires_when_it_should(self, name: str, data: Data):
        ends = self.ends(data)
        fired = {end: self.fires(data, name, end)[0] for end in ends}
        assert fired == {end: self.direct(data, name, end) for end in ends}
        assert name == "failure rate of a test case" or set(fired.values()) == {True, False}

    def test_failure_rate(self, opensearch: OpenSearchServer, prefix: str):
        """A test case that failed once in 30 runs and now fails 9 times in 10 is reported by name, a steady one is not."""
        settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix)
        made = []
        for number in range(40):
            recent = number >= 30
            for case, fails in (("broken", (recent and number != 35) or number == 3), ("steady", number % 10 == 3)):
                time = NOW - (timedelta(hours=40 - number) if recent else timedelta(days=2 + number % 20))
                made.append(make_verdict(f"{case}/{number}", label="L2" if fails else "Pass", passed=not fails, time=time,
                                         started=time, headers={"test.case.name": case}))  # fmt: skip
        data = Data(opensearch, settings, made)
        fired, response = self.fires(data, "failure rate of a test case", NOW)
        assert fired
        assert [bucket["key"] for bucket in response["aggregations"]["matches"]["buckets"]] == ["broken"]
        assert not self.fires(data, "failure rate of a test case", NOW - timedelta(days=1))[0]

    @pytest.mark.parametrize("name", RULES)
    def test_message(self, name: str, data: Data):
        """The server renders the message of a monitor that fires: where and when, what to look at, and links to it."""
        link = {"notification_channel": "c1", "dashboards_url": "https://shown/base"}
        body = monitor(data.settings.model_copy(update=link), name)
        trigger = body["triggers"][0]["query_level_trigger"]
        (action,) = trigger["actions"]
        assert action["destination_id"] == "c1"
        firing = [end for end in self.ends(data) if self.direct(data, name, end)]
        _, response = self.fires(data, name, firing[0] if firing else NOW)
        context = {"results": {"0": response}, "trigger": {"severity": trigger["severity"]}}
        source = json.dumps({"text": action["message_template"]["source"]})
        text = data.server.ask("_render/template", {"source": source, "params": {"ctx": context}})
        shown = text["template_output"]["text"]
        assert "{{" not in shown
        assert f"severity {trigger['severity']}" in shown
        assert "https://shown/base/app/dashboards#/view/panels-" in shown
        rows = {row["triage.run.id"][0]: row for row in data.rows["verdicts"]}
        listed = re.findall(r"  run (\S+)$", shown, re.MULTILINE)
        assert len(listed) == len(response["hits"]["hits"])
        for run in listed:
            row = rows[run]
            case, bed = one(row, "test.case.name") or "unknown", one(row, "triage.testbed") or "unknown"
            time = row["@timestamp"][0].strftime("%Y-%m-%d %H:%M UTC")
            assert f"- {time}: {case} on {bed}, build" in shown
            assert f"'params':('query':'{run}')" in unquote(shown)
        if name == "new template":
            assert "was never heard of" in shown
            assert "new:" not in shown
            assert "/view/panels-run?" in shown
        if name == "run to review":
            assert "; " in shown

    def test_verdicts_that_come_late(self, opensearch: OpenSearchServer, prefix: str):
        """A failed run of yesterday whose verdict could only be written now raises an alert now."""
        settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix)
        set_up(settings, ("tiny", "1"), TEMPLATES)
        given = NOW - timedelta(days=1)
        verdict = make_verdict("late/1", label="L2", passed=False, time=given, started=given)
        with OpenSearchClient(settings) as search, OpenSearchSink(search, settings, clock=FakeClock(NOW)) as sink:
            sink.write(verdict)
        opensearch.ask(f"{prefix}-*/_refresh", method="POST")
        asked = monitor(settings, "failed run")["inputs"][0]["search"]
        for end, arrived in ((NOW + timedelta(minutes=1), 1), (NOW + timedelta(minutes=90), 0), (given, 0)):
            response = opensearch.ask(f"{asked['indices'][0]}/_search", fill(asked["query"], end))
            assert response["aggregations"]["now"]["doc_count"] == arrived


@dataclasses.dataclass
class Complete:
    """A server with all plugins, and its Dashboards."""

    server: OpenSearchServer
    plugins: Plugins
    dashboards: Dashboards
    settings: OpenSearchSettings


@pytest.fixture
def complete(opensearch: OpenSearchServer, prefix: str) -> Iterator[Complete]:
    plugins, dashboards = Plugins.of_server(opensearch), Dashboards(opensearch, f"{prefix}-objects")
    with serving(plugins.answer) as url, serving(dashboards.answer) as shown:
        settings = OpenSearchSettings(hosts=(url,), index_prefix=prefix, dashboards_url=shown)
        yield Complete(opensearch, plugins, dashboards, settings)


class TestSetUp:
    def test_second_time_changes_nothing(self, complete: Complete):
        """A dry run lists the changes, a first run makes them, and a second one makes none."""
        settings = complete.settings
        planned = set_up(settings, ("tiny", "1"), TEMPLATES, dry_run=True)
        assert (complete.plugins.policies, complete.plugins.monitors, complete.dashboards.imports) == ({}, {}, 0)
        made = set_up(settings, ("tiny", "1"), TEMPLATES)
        assert (made.done, made.skipped, made.failed) == (planned.done, [], [])
        assert len(complete.plugins.monitors) == len(RULES)
        assert len(complete.dashboards.objects) == len(saved_objects(settings))
        again = set_up(settings, ("tiny", "1"), TEMPLATES)
        assert (again.done, again.skipped, again.failed) == ([], [], [])
        assert complete.dashboards.imports == 1

    def test_missing_plugins_are_named_and_do_not_stop_the_rest(self, complete: Complete):
        complete.plugins.missing = ("ism", "alerting")
        settings = complete.settings.model_copy(update={"dashboards_url": None})
        made = set_up(settings, ("tiny", "1"), TEMPLATES)
        assert len(made.done) == 7
        assert [reason.partition(":")[0] for reason in made.skipped] == [
            "retention of verdicts", "retention of lines and workers", "monitors", "dashboards"]  # fmt: skip
        assert "plugin opensearch-alerting is not installed" in made.skipped[2]
        assert made.failed == []

    def test_changed_settings_are_applied(self, complete: Complete):
        set_up(complete.settings, ("tiny", "1"), TEMPLATES)
        changed = {"lines_max_age_days": 10, "verdicts_max_age_days": None, "notification_channel": "abc"}
        settings = complete.settings.model_copy(update=changed)
        done = set_up(settings, ("tiny", "1"), TEMPLATES).done
        prefix = settings.index_prefix
        assert done[:2] == [
            f"remove retention policy {prefix}-verdicts: indices are kept for good",
            f"update retention policy {prefix}-lines",
        ]
        assert len(done) == 2 + len(RULES) + 1
        assert done[-1].startswith("import 3 objects")  # the links of two index patterns and the time range of *one run*
        (policy,) = complete.plugins.policies.values()
        age = policy["policy"]["states"][0]["transitions"][0]["conditions"]["min_index_age"]
        assert age == f"{(10 + 31) * 24}h"
        assert set_up(settings, ("tiny", "1"), TEMPLATES).done == []

    def test_existing_indices_get_the_policy(self, complete: Complete):
        settings = complete.settings
        set_up(settings.model_copy(update={"lines_max_age_days": None}), ("tiny", "1"), TEMPLATES)
        with OpenSearchClient(settings) as search, OpenSearchSink(search, settings) as sink:
            sink.write(make_verdict("a", started=NOW))
        assert list(complete.plugins.managed) == []
        done = set_up(settings, ("tiny", "1"), TEMPLATES).done
        assert (
            f"put {settings.index_prefix}-verdicts-2026.11 under retention policy {settings.index_prefix}-verdicts" in done
        )
        assert complete.plugins.managed == {f"{settings.index_prefix}-verdicts-2026.11": f"{settings.index_prefix}-verdicts"}

    def test_what_users_changed_in_a_monitor_stays(self, complete: Complete):
        set_up(complete.settings, ("tiny", "1"), TEMPLATES)
        next(iter(complete.plugins.monitors.values()))["enabled"] = False
        assert set_up(complete.settings, ("tiny", "1"), TEMPLATES).done == []

    def test_a_changed_title_stays(self, complete: Complete):
        """It is named, and a reset restores it."""
        settings = complete.settings
        set_up(settings, ("tiny", "1"), TEMPLATES)
        complete.dashboards.attributes("dashboard", f"{settings.index_prefix}-overview")["title"] = "mine"
        again = set_up(settings, ("tiny", "1"), TEMPLATES)
        assert again.done == []
        assert again.kept == [
            "dashboard Triage: overview: title was changed by someone to mine; ours would be Triage: overview"
        ]
        (done,) = set_up(settings, ("tiny", "1"), TEMPLATES, reset=[f"{settings.index_prefix}-overview"]).done
        assert done == f"import 1 objects into {settings.dashboards_url}: Triage: overview"

    def test_older_indices_get_new_fields(self, complete: Complete):
        """New fields are added to the index of a month that began with an older version, so that searches can use them."""
        prefix = complete.settings.index_prefix
        old = {"mappings": {"dynamic": False, "properties": {"triage": {"properties": {"label": {"type": "keyword"}}}}}}
        complete.server.ask(f"{prefix}-verdicts-2026.11", old, "PUT")
        complete.server.ask(f"{prefix}-lines-2026.11", {"mappings": {"properties": {"message": {"type": "keyword"}}}}, "PUT")
        made = set_up(complete.settings, ("tiny", "1"), TEMPLATES)
        assert any(change.endswith(f"to index {prefix}-verdicts-2026.11") for change in made.done)
        (failed,) = made.failed
        assert failed.startswith(f"index {prefix}-lines-2026.11 has other types of fields and keeps them")
        with OpenSearchClient(complete.settings) as server, OpenSearchSink(server, complete.settings) as sink:
            sink.write(make_verdict("a", started=NOW, passed=False, label="L2"))
        complete.server.ask(f"{prefix}-*/_refresh", method="POST")
        query = {"query": {"term": {"triage.failed": 1}}}
        assert complete.server.ask(f"{prefix}-verdicts-*/_count", query)["count"] == 1

    def test_templates_of_a_later_version_stay(self, complete: Complete):
        set_up(complete.settings, ("tiny", "1"), TEMPLATES)
        path = f"_index_template/{complete.settings.index_prefix}-lines"
        (known,) = complete.server.ask(path)["index_templates"]
        complete.server.ask(path, known["index_template"] | {"_meta": {"version": 99}}, "PUT")
        with pytest.raises(StoreError, match="is of a later version of stream-triage"):
            set_up(complete.settings, ("tiny", "1"), TEMPLATES)

    def test_settings_of_the_farm_override_ours(self, complete: Complete):
        prefix = complete.settings.index_prefix
        set_up(complete.settings, ("tiny", "1"), TEMPLATES)
        custom = {"template": {"settings": {"index": {"number_of_shards": 2}}}}
        complete.server.ask(f"_component_template/{prefix}-custom", custom, "PUT")
        assert set_up(complete.settings, ("tiny", "1"), TEMPLATES).done == []
        simulated = complete.server.ask(f"_index_template/_simulate_index/{prefix}-lines-2026.11", method="POST")
        assert simulated["template"]["settings"]["index"]["number_of_shards"] == "2"

    def test_objects_without_what_they_refer_to(self, complete: Complete):
        """The stand-in rejects objects whose references lead nowhere, so that the other tests would notice them."""
        (wrong,) = [each for each in saved_objects(complete.settings) if each["id"].endswith("-overview")]
        body, content_type = encode_multipart_formdata({"file": ("x.ndjson", ndjson([wrong]), "application/ndjson")})
        headers = {"osd-xsrf": "x", "Content-Type": content_type}
        _, response = complete.dashboards.answer("POST", "/api/saved_objects/_import?overwrite=true", body, headers)
        assert response["success"] is False


def roles(page: str, prefix: str) -> list[dict[str, Any]]:
    """The roles in the section on rights: of the worker, and of whoever runs `setup`."""
    text = (Path(__file__).parents[2] / page).read_text().split("## Rights")[1].partition("\n## ")[0]
    return [
        json.loads(role.replace("triage-*", f"{prefix}-*")) for role in re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    ]


class TestSecurity:
    def test_twice_with_users_and_tls(self, secure_opensearch: OpenSearchServer, prefix: str):
        """The rights that docs/opensearch.md lists for `setup` are enough, and a second run changes nothing."""
        server = {
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
            settings = OpenSearchSettings(**server, user=prefix, password=user["password"], dashboards_url=shown)
            made = set_up(settings, ("tiny", "1"), TEMPLATES)
            assert (len(made.done), len(made.skipped), made.failed) == (9, 3, [])
            assert set_up(settings, ("tiny", "1"), TEMPLATES).done == []
            wrong = settings.model_copy(update={"password": OpenSearchSettings(password="wrong-Secret").password})
            with pytest.raises(StoreError, match=r"opensearch\.password"):
                set_up(wrong, ("tiny", "1"), TEMPLATES)
