"""The OpenSearch sink and the reports of workers on a server in memory, and what happens when that server fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest

from stream_triage.clients.memory.search import MemorySearchServer
from stream_triage.clients.search import Document, Response
from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.ports import Sink
from stream_triage.records import Anomaly, Evidence
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.indices import create_index_templates
from stream_triage.sinks import opensearch as module
from stream_triage.sinks.opensearch import OpenSearchSink, address_of
from tests.edges.contract import FailureContract
from tests.edges.opensearch_contract import NOVEMBER, OpenSearchSinkContract, WorkerReportsContract, documents
from tests.verdicts import kept, make_verdict

BUSY = Response(429, "too_many_requests: busy")
EVIDENCE = (
    Evidence(kind="missing", weight=2.0, text="attach complete"),
    Evidence(kind="line", weight=1.0, source="du", number=7, text="CRC failed"),
)
ODD = (Anomaly(kind="new", score=1.0, source="du", number=3, key="new:1", text="a new line"),)
MISSING = Anomaly(kind="missing", score=1.0, key="k1", expected="attach complete")
ORDER = Anomaly(kind="order", score=1.0, count=7, expected="lines in the order that passing runs have")
BLOCKED = Response(403, "cluster_block_exception: index write (api)")


class TestOpenSearchSink(OpenSearchSinkContract, FailureContract):
    server: MemorySearchServer

    @pytest.fixture(autouse=True)
    def _target(self) -> None:
        self.clock = FakeClock()
        self.server, self.settings = MemorySearchServer(clock=self.clock), OpenSearchSettings(retry_seconds=5)

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.server.available = False
        yield
        self.server.available = True

    @contextmanager
    def blocked(self, index: str) -> Iterator[None]:
        self.server.item_response = lambda document: BLOCKED if document.index == index else None
        yield
        self.server.item_response = lambda document: None

    def test_documents_of_one_request(self, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many verdicts wait, the documents of some runs are made and sent at a time, lines before verdicts."""
        requests: list[list[str]] = []
        bulk = self.server.bulk

        def counted(documents: list[Document]) -> list[Response]:
            requests.append(["line" if "-lines-" in document.index else "verdict" for document in documents])
            return bulk(documents)

        monkeypatch.setattr(self.server, "bulk", counted)
        monkeypatch.setattr(module, "BATCH_RUNS", 4)
        monkeypatch.setattr(module, "BATCH_LINES", 10)
        for number in range(6):
            self.give(sink, make_verdict(f"three-{number}", reduction=kept("a", "b", "c")))
        self.give(sink, make_verdict("many", reduction=kept(*map(str, range(25)))))
        for number in range(6):
            self.give(sink, make_verdict(f"none-{number}"))
        sink.flush()
        assert [(set(kinds), len(kinds)) for kinds in requests if kinds] == [
            ({"line"}, 9), ({"verdict"}, 3), ({"line"}, 9), ({"verdict"}, 3), ({"line"}, 25), ({"verdict"}, 1),
            ({"verdict"}, 4), ({"verdict"}, 2),
        ]  # fmt: skip
        assert len(self.counting()) == 13

    def test_what_was_written_before_a_failure_is_not_written_again(
        self, sink: Sink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next flush goes on with the runs that are left."""
        monkeypatch.setattr(module, "BATCH_RUNS", 1)
        for name in "abc":
            self.give(sink, make_verdict(name))
        bulk, written = self.server.bulk, []

        def failing_once(documents: list[Document]) -> list[Response]:
            if len(written) == 1 and documents:
                written.append("failed")
                raise StoreError("away")
            written.extend(document.run_id for document in documents)
            return bulk(documents)

        monkeypatch.setattr(self.server, "bulk", failing_once)
        with pytest.raises(StoreError, match="away"):
            sink.flush()
        sink.flush()
        assert written == ["a", "failed", "b", "c"]

    def test_a_minute_after_forgetting(self, sink: Sink) -> None:
        """A forgotten run can be written again with the same version."""
        self.give(sink, make_verdict("a"))
        sink.flush()
        assert sink.forget("a")
        self.clock.advance(60)
        self.give(sink, make_verdict("a"))
        sink.flush()
        assert self.counting() == [("a", 201)]

    def test_forgets_nothing_while_the_server_fails(self, sink: Sink) -> None:
        """The failure is raised, so that forgetting can be repeated."""
        self.give(sink, make_verdict("a"))
        sink.flush()
        with self.failing(), pytest.raises(StoreError):
            sink.forget("a")
        assert sink.forget("a")


class TestWorkerReports(WorkerReportsContract):
    server: MemorySearchServer

    @pytest.fixture(autouse=True)
    def _target(self) -> None:
        self.server, self.prefix = MemorySearchServer(), "farm"

    @pytest.mark.parametrize(
        "response", [BUSY, BLOCKED, Response(503, "unavailable"), Response(400, "validation_exception")]
    )
    def test_a_report_that_is_not_written_is_not_counted(self, response: Response) -> None:
        """Whatever status the server responds with."""
        self.set_up()
        self.metrics.lines.inc(9)
        self.server.item_response = lambda document: response
        self.report()
        self.server.item_response = lambda document: None
        self.report()
        assert [report["triage"]["lines"] for report in self.stored()] == [9]
        assert response.reason in self.troubles[0]

    def test_trouble_is_reported_again_after_success(self) -> None:
        """Once for each time that the server is away."""
        self.set_up()
        for available in (False, False, True, False):
            self.server.available = available
            self.report()
        assert len(self.troubles) == 2

    def test_reports_once_more_when_it_is_stopped(self) -> None:
        """The last numbers of a worker are not lost."""
        self.set_up()
        stopped = Event()
        thread = Thread(target=self.reports.run, args=(stopped,))
        thread.start()
        self.metrics.messages.inc(2)
        stopped.set()
        thread.join(10)
        assert [report["triage"]["messages"] for report in self.stored()] == [2]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock) -> MemorySearchServer:
    server = MemorySearchServer(clock=clock)
    create_index_templates(server, "triage", Changes())
    return server


@pytest.fixture
def sink(server: MemorySearchServer, clock: FakeClock) -> Iterator[OpenSearchSink]:
    sink = OpenSearchSink(server, OpenSearchSettings(retry_seconds=5), clock=clock)
    yield sink
    server.available, server.item_response = True, lambda document: None
    sink.close()


def busy_for(kind: str, name: str = "") -> "object":
    return lambda document: BUSY if f"-{kind}-" in document.index and name in document.id else None


class TestOrder:
    def test_lines_come_before_their_verdict(self, sink: OpenSearchSink, server: MemorySearchServer) -> None:
        """While lines cannot be written, no verdict is: whoever can read a verdict can read its lines."""
        server.item_response = busy_for("lines")
        sink.write(make_verdict("a", started=NOVEMBER, reduction=kept("x")))
        with pytest.raises(StoreError, match="too busy for 1 documents"):
            sink.flush()
        assert documents(server, "triage-verdicts-*") == []
        server.item_response = lambda document: None
        sink.flush()
        assert len(documents(server, "triage-verdicts-*")) == len(documents(server, "triage-lines-*")) == 1

    def test_a_verdict_that_failed_is_written_after_its_lines(
        self, sink: OpenSearchSink, server: MemorySearchServer
    ) -> None:
        """Lines that are there already (409) count as written, and neither they nor the verdict are written twice."""
        server.item_response = busy_for("verdicts")
        sink.write(make_verdict("a", started=NOVEMBER, reduction=kept("x", "y")))
        with pytest.raises(StoreError, match="too busy"):
            sink.flush()
        server.item_response = lambda document: None
        sink.flush()
        assert [line["_version"] for line in documents(server, "triage-lines-*")] == [201, 201]
        assert len(documents(server, "triage-verdicts-*")) == 1


class TestRetries:
    def test_busy_server_gets_the_request_again(
        self, sink: OpenSearchSink, server: MemorySearchServer, clock: FakeClock
    ) -> None:
        """After growing waits, until it takes the documents."""
        sink.write(make_verdict("a", started=NOVEMBER))
        sink.flush()  # checks the index templates
        server.statuses.extend([429, 503, 502])
        sink.write(make_verdict("b", started=NOVEMBER))
        sink.flush()
        assert len(documents(server, "triage-verdicts-*")) == 2
        assert clock.monotonic() > module.FIRST_RETRY_SECONDS * (1 + 2 + 4) / 2

    def test_only_busy_documents_are_sent_again(self, sink: OpenSearchSink, server: MemorySearchServer) -> None:
        """Of three, the one in the middle was busy once: it alone is in the second request."""
        sent: list[str] = []

        def response(document: Document) -> Response | None:
            sent.append(document.id)
            return BUSY if document.id == "b" and sent.count("b") == 1 else None

        server.item_response = response
        for name in "abc":
            sink.write(make_verdict(name, started=NOVEMBER))
        sink.flush()
        assert sent == ["a", "b", "c", "b"]
        assert len(documents(server, "triage-verdicts-*")) == 3

    def test_still_busy_after_the_time(self, sink: OpenSearchSink, server: MemorySearchServer, clock: FakeClock) -> None:
        """Then the flush fails, and the run is kept."""
        server.item_response = busy_for("verdicts")
        sink.write(make_verdict("a", started=NOVEMBER))
        with pytest.raises(StoreError, match=r"too busy for 1 documents: too_many_requests: busy; they are kept"):
            sink.flush()
        assert 5 <= clock.monotonic() < 5 + module.LONGEST_RETRY_SECONDS

    def test_one_attempt_without_patience(self, server: MemorySearchServer, clock: FakeClock) -> None:
        """A worker repeats flushes itself, and sets no time for retries."""
        sink = OpenSearchSink(server, OpenSearchSettings(retry_seconds=0), clock=clock)
        server.item_response = busy_for("verdicts")
        sink.write(make_verdict("a", started=NOVEMBER))
        with pytest.raises(StoreError, match="too busy"):
            sink.flush()
        assert clock.monotonic() == 0
        assert sum(path == "_bulk" for _, path in server.requests) == 1

    def test_a_verdict_written_meanwhile_is_not_dropped(self, sink: OpenSearchSink, server: MemorySearchServer) -> None:
        """A higher version that comes while an older one is being written stays for the next flush."""
        newer = make_verdict("a", version=401, started=NOVEMBER)

        def response(document: Document) -> None:
            if document.version == 201:
                sink.write(newer)

        server.item_response = response
        sink.write(make_verdict("a", version=201, started=NOVEMBER))
        sink.flush()
        sink.flush()
        assert [hit["_version"] for hit in documents(server, "triage-verdicts-*")] == [401]


def test_another_process_changes_what_is_removed(sink: OpenSearchSink, server: MemorySearchServer) -> None:
    """A document that changes while it is being removed raises an error, and forgetting can be repeated."""
    sink.write(make_verdict("a", started=NOVEMBER))
    sink.flush()
    refreshed = server.request

    def request(method: str, path: str, body: object = None) -> dict[str, object]:
        if "_delete_by_query" in path:
            index = server._indices["triage-verdicts-2026.11"]
            index.write("a", 401, index.latest["a"].source)
        return refreshed(method, path, body)

    server.request = request
    with pytest.raises(StoreError, match="another process writes them; repeat"):
        sink.forget("a")
    server.request = refreshed
    assert sink.forget("a")
    assert documents(server, "triage-verdicts-*") == []


@pytest.mark.parametrize(
    ("passed", "needs_review", "outcome"),
    [(True, False, "success"), (False, False, "failure"), (True, True, "unknown"), (False, True, "unknown")],
)
def test_outcome(passed: bool, needs_review: bool, outcome: str, sink: OpenSearchSink, server: MemorySearchServer) -> None:
    """`event.outcome` is what dashboards and monitors of other products look at: a review is neither success nor failure."""
    sink.write(make_verdict("a").model_copy(update={"passed": passed, "needs_review": needs_review}))
    sink.flush()
    (found,) = documents(server, "triage-verdicts-*")
    assert found["_source"]["event"]["outcome"] == outcome


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"passed": True}, None),
        ({"passed": False, "evidence": EVIDENCE}, "du:7  CRC failed"),
        ({"passed": False, "evidence": EVIDENCE[:1]}, "never came: attach complete"),
        ({"passed": False}, None),
        ({"passed": True, "evidence": EVIDENCE, "anomalous": True, "anomalies": ODD}, "du:3  a new line"),
        ({"passed": True, "anomalous": True, "anomalies": (MISSING,)}, "never came: attach complete"),
        (
            {"passed": True, "anomalous": True, "anomalies": (ORDER,)},
            "7 lines follow each other unlike those of passing runs",
        ),
        ({"passed": False, "evidence": EVIDENCE, "needs_review": True, "review_reasons": ("two labels",)}, "two labels"),
    ],
)
def test_top_evidence(changes: dict[str, Any], words: str | None, sink: OpenSearchSink, server: MemorySearchServer) -> None:
    """As in the list of runs of the terminal: a reason for a review, else a line that came, else the strongest anomaly."""
    sink.write(make_verdict("a").model_copy(update=changes))
    sink.flush()
    (found,) = documents(server, "triage-verdicts-*")
    assert found["_source"]["triage"]["top_evidence"] == words


def test_runs_and_lines_have_the_address_of_the_run(sink: OpenSearchSink, server: MemorySearchServer) -> None:
    """Links of lists of runs and of lists of lines lead to the same board."""
    sink.write(make_verdict("it's").model_copy(update={"reduction": kept("x")}))
    sink.flush()
    found = [each for kind in ("verdicts", "lines") for each in documents(server, f"triage-{kind}-*")]
    assert [each["_source"]["triage"]["run"] for each in found] == [
        {"id": "it's", "key": "it's", "address": address_of("it's")}
    ] * 2


def test_evidence_and_anomalies_have_words(sink: OpenSearchSink, server: MemorySearchServer) -> None:
    """The page of one run shows them, with what the model expected, where a key would mean nothing to people."""
    sink.write(make_verdict("a").model_copy(update={"evidence": EVIDENCE, "anomalies": (*ODD, MISSING)}))
    sink.flush()
    (found,) = documents(server, "triage-verdicts-*")
    triage = found["_source"]["triage"]
    assert [each["words"] for each in triage["evidence"]] == ["never came: attach complete", "du:7  CRC failed"]
    assert [each["words"] for each in triage["anomalies"]] == ["du:3  a new line", "never came: attach complete"]
