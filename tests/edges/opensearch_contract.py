"""What the OpenSearch sink and the reports of workers leave in the indices.

The same tests run on a server in memory and on a real one.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from stream_triage.clients.search import SearchServer
from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.records import NOT_PROVED, DeadLetter, Verdict
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.indices import create_index_templates
from stream_triage.sinks.opensearch import OpenSearchSink
from stream_triage.worker.metrics import Metrics
from stream_triage.worker.reports import WorkerReports
from tests.edges.contract import ForgetsContract, SinkContract
from tests.verdicts import kept, make_verdict

__all__ = ["OpenSearchSinkContract", "WorkerReportsContract", "documents"]

NOVEMBER, DECEMBER = datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 1, 1, tzinfo=UTC)
LABEL_AS_NUMBER = {"mappings": {"properties": {"triage": {"properties": {"label": {"type": "integer"}}}}}}


def documents(server: SearchServer, index: str) -> list[dict[str, Any]]:
    """What a search of the index finds after a refresh."""
    server.request("POST", f"{index}/_refresh")
    result = server.request("POST", f"{index}/_search", {"version": True, "size": 1000, "query": {"match_all": {}}})
    return list(result.get("hits", {}).get("hits", []))


class OpenSearchSinkContract(SinkContract, ForgetsContract):
    """A subclass sets these before each test. The prefix of the settings is that of no other test."""

    server: SearchServer
    settings: OpenSearchSettings

    @contextmanager
    def blocked(self, index: str) -> Iterator[None]:
        """While it lasts, the cluster does not let anybody write to the index."""
        raise NotImplementedError
        yield

    @pytest.fixture(autouse=True)
    def _templates(self, _target: None) -> None:
        create_index_templates(self.server, self.settings.index_prefix, Changes())

    def open_sink(self, on_rejected: Callable[[DeadLetter], None] | None = None) -> OpenSearchSink:
        return OpenSearchSink(self.server, self.settings, on_rejected=on_rejected, clock=self.clock)

    def stored(self, kind: str, month: str = "*") -> list[dict[str, Any]]:
        return documents(self.server, f"{self.settings.index_prefix}-{kind}-{month}")

    def counting(self) -> list[tuple[str, int]]:
        hits = sorted(self.stored("verdicts"), key=lambda hit: hit["_source"]["@timestamp"])
        return [(hit["_source"]["triage"]["run"]["id"], hit["_version"]) for hit in hits]

    def write(self, *verdicts: Verdict) -> None:
        sink = self.open_sink()
        for verdict in verdicts:
            sink.write(verdict)
        sink.close()

    def test_index_of_the_first_message(self) -> None:
        """The month is that of the run's first message, whenever its verdict came; the verdict comes back whole."""
        verdict = make_verdict("night/1", time=DECEMBER, started=NOVEMBER, reduction=kept("one"))
        self.write(verdict)
        (hit,), (line,) = self.stored("verdicts"), self.stored("lines")
        prefix = self.settings.index_prefix
        assert (hit["_index"], hit["_id"]) == (f"{prefix}-verdicts-2026.11", "night/1")
        assert (line["_index"], line["_source"]["message"]) == (f"{prefix}-lines-2026.11", "one")
        assert Verdict.model_validate_json(hit["_source"]["triage"]["verdict"]) == verdict

    def test_the_sentence_is_a_field(self) -> None:
        """Whole, as tables group by it; runs whose label is not proved are told apart."""
        why = "UE RNTI C4F2 lost the radio link (du:3)"
        self.write(
            make_verdict("a", why=why),
            make_verdict("b", why=f"{NOT_PROVED}no procedure shows why; the words of line 12 weigh most"),
            make_verdict("c"),
        )
        self.stored("verdicts")  # refreshes
        for query, found in (
            ({"term": {"triage.why.keyword": why}}, {"a"}),
            ({"term": {"triage.proved": True}}, {"a"}),
        ):
            index = f"{self.settings.index_prefix}-verdicts-*"
            hits = self.server.request("POST", f"{index}/_search", {"query": query})["hits"]["hits"]
            assert {hit["_id"] for hit in hits} == found, query

    def test_runs_from_files_stay_in_their_month(self) -> None:
        """They have no time of their own: judged again a month later, a run is still one document."""
        self.write(make_verdict("a", version=201, time=NOVEMBER))
        self.write(make_verdict("a", version=401, time=DECEMBER))
        (hit,) = self.stored("verdicts")
        assert (hit["_index"][-7:], hit["_version"]) == ("2026.11", 401)

    def test_lines_of_earlier_versions_are_removed(self) -> None:
        """Whichever version comes last, only lines of the highest one stay."""
        self.write(make_verdict("a", version=201, started=NOVEMBER, reduction=kept("one", "two", "three")))
        self.stored("lines")  # refreshes
        self.write(make_verdict("a", version=401, started=NOVEMBER, reduction=kept("other")))
        self.write(make_verdict("a", version=301, started=NOVEMBER, reduction=kept("late", "later")))
        self.stored("lines")
        self.write(make_verdict("a", version=401, started=NOVEMBER, reduction=kept("other")))
        assert [line["_source"]["message"] for line in self.stored("lines")] == ["other"]

    @pytest.mark.parametrize(("second", "lines"), [(401, ["o"]), (101, list("other"))])
    def test_old_lines_are_removed_at_once(self, second: int, lines: list[str]) -> None:
        """Also lines that no refresh has made visible, and lines of a verdict that came late."""
        sink = self.open_sink()
        for version, reduction in ((201, kept("of", "201")), (second, kept(*lines))):
            sink.write(make_verdict("a", version=version, started=NOVEMBER, reduction=reduction))
            sink.flush()
        sink.close()
        assert {line["_version"] for line in self.stored("lines")} == {max(201, second)}

    def test_hostile_names_and_ids(self) -> None:
        """A thousand header names do not grow the mapping; ids of any length and content have a document."""
        headers = {f"<b>.x.{number}\u202e": "v" for number in range(1000)} | {"test.case.name": "attach", "": "x"}
        ids = ["x" * 600, "a b/c?d#e", "ü" * 256, "<script>"]
        self.write(*(make_verdict(run_id, headers=headers, started=NOVEMBER) for run_id in ids))
        assert {hit["_source"]["triage"]["run"]["id"] for hit in self.stored("verdicts")} == set(ids)
        index = f"{self.settings.index_prefix}-verdicts-2026.11"
        (mapping,) = self.server.request("GET", f"{index}/_mapping").values()
        assert len(json.dumps(mapping)) < 5000
        query = {"query": {"term": {"test.case.name": "attach"}}}
        assert self.server.request("POST", f"{index}/_count", query)["count"] == len(ids)

    def test_forgets(self) -> None:
        """Verdict and lines of the run are removed, also if it is only buffered; other runs stay."""
        self.write(*(make_verdict(name, started=NOVEMBER, reduction=kept("x")) for name in "ab"))
        sink = self.open_sink()
        assert sink.forget("a")
        assert not sink.forget("a")
        sink.write(make_verdict("c", started=NOVEMBER))
        assert sink.forget("c")
        sink.close()
        for kind in ("verdicts", "lines"):
            assert [hit["_source"]["triage"]["run"]["id"] for hit in self.stored(kind)] == ["b"]

    def test_forgets_ids_too_long_to_be_indexed(self) -> None:
        """The key of a run, which is a hash for a long id, finds it."""
        self.write(make_verdict("x" * 9000, started=NOVEMBER, reduction=kept("x")))
        sink = self.open_sink()
        assert sink.forget("x" * 9000)
        sink.close()
        assert self.stored("verdicts") == self.stored("lines") == []

    def test_forgotten_and_judged_again(self) -> None:
        """The server remembers a deleted version for a minute: a verdict that it skips for that is not written, but kept."""
        verdict = make_verdict("a", started=NOVEMBER)
        self.write(verdict)
        sink = self.open_sink()
        assert sink.forget("a")
        sink.write(verdict)
        with pytest.raises(StoreError, match="is kept"):
            sink.flush()
        sink.write(make_verdict("a", version=401, started=NOVEMBER))  # in place of waiting for a minute
        sink.close()
        assert len(self.stored("verdicts")) == 1

    def test_a_blocked_index_makes_no_dead_letters(self) -> None:
        """The state of the cluster is not the document's fault: it is kept, and written when the block is gone."""
        self.write(make_verdict("a", started=NOVEMBER))
        letters: list[DeadLetter] = []
        sink = self.open_sink(letters.append)
        sink.write(make_verdict("b", started=NOVEMBER))
        with (
            self.blocked(f"{self.settings.index_prefix}-verdicts-2026.11"),
            pytest.raises(StoreError, match=r"cluster_block_exception.*kept"),
        ):
            sink.flush()
        sink.close()
        assert letters == []
        assert len(self.stored("verdicts")) == 2

    def test_rejected_documents_do_not_hold_up_others(self) -> None:
        """A document that does not fit the mapping of its index becomes a dead letter, whole."""
        self.server.request("PUT", f"{self.settings.index_prefix}-verdicts-2026.11", LABEL_AS_NUMBER)
        letters: list[DeadLetter] = []
        sink = self.open_sink(letters.append)
        sink.write(make_verdict("bad", started=NOVEMBER))
        sink.write(make_verdict("good", started=DECEMBER))
        sink.close()
        (letter,) = letters
        assert (letter.kind, letter.key) == ("document", b"bad")
        assert letter.origin == f"{self.settings.index_prefix}-verdicts-2026.11/bad/201"
        assert "mapper_parsing_exception" in letter.reason
        assert json.loads(letter.value or b"")["triage"]["label"] == "Pass"
        assert [hit["_id"] for hit in self.stored("verdicts", "2026.12")] == ["good"]

    def test_rejected_documents_that_nobody_takes_are_kept(self) -> None:
        """Without dead letters each flush names the document, until the index is repaired; other runs are written."""
        index = f"{self.settings.index_prefix}-verdicts-2026.11"
        self.server.request("PUT", index, LABEL_AS_NUMBER)
        sink = self.open_sink()
        sink.write(make_verdict("bad", started=NOVEMBER))
        sink.write(make_verdict("good", started=DECEMBER))
        for _ in range(2):
            with pytest.raises(StoreError, match=r"1 documents, .*/bad/201 .*setup opensearch"):
                sink.flush()
        assert [hit["_id"] for hit in self.stored("verdicts", "2026.12")] == ["good"]
        self.server.request("DELETE", index)
        sink.close()
        assert [hit["_id"] for hit in self.stored("verdicts", "2026.11")] == ["bad"]

    def test_nothing_is_written_without_index_templates(self) -> None:
        """The server would guess the fields; the verdict waits until `setup opensearch` has run."""
        own = self.settings.model_copy(update={"index_prefix": f"{self.settings.index_prefix}-own"})
        sink = OpenSearchSink(self.server, own, clock=self.clock)
        sink.write(make_verdict("a", started=NOVEMBER))
        with pytest.raises(StoreError, match="stream-triage setup opensearch"):
            sink.flush()
        assert self.server.request("GET", f"{own.index_prefix}-*/_mapping") == {}
        create_index_templates(self.server, own.index_prefix, Changes())
        sink.close()
        assert len(documents(self.server, f"{own.index_prefix}-verdicts-*")) == 1


class WorkerReportsContract:
    """A subclass sets these before each test. The prefix is that of no other test."""

    server: SearchServer
    prefix: str

    @pytest.fixture(autouse=True)
    def _reports(self, _target: None) -> None:
        self.clock, self.troubles = FakeClock(NOVEMBER), list[str]()
        self.metrics = Metrics({"version": "1", "bundle": "tiny", "bundle_version": "1"}, clock=self.clock)
        self.metrics.trouble = ""
        about = {"host": {"name": "lab"}, "service": {"instance": {"id": "w-1"}}, "triage": {"bundle": {"name": "tiny"}}}
        self.reports = WorkerReports(
            self.server, self.prefix, self.metrics, about, on_trouble=self.troubles.append, clock=self.clock
        )

    def set_up(self) -> None:
        create_index_templates(self.server, self.prefix, Changes())

    def report(self) -> None:
        self.clock.advance(60)
        self.metrics.step()
        self.reports.report()

    def stored(self) -> list[dict[str, Any]]:
        hits = documents(self.server, f"{self.prefix}-workers-*")
        return [hit["_source"] for hit in sorted(hits, key=lambda hit: hit["_source"]["@timestamp"])]

    def test_numbers_since_the_last_report(self) -> None:
        """Counters are differences, gauges are as they are; the fields of the worker are in each report."""
        self.set_up()
        self.metrics.messages.inc(5)
        self.metrics.open_runs.set(3)
        self.report()
        self.metrics.messages.inc(2)
        self.metrics.refused.labels("run").inc()
        self.metrics.behind.labels("0").set(7)
        self.report()
        first, second = self.stored()
        assert (first["triage"]["messages"], second["triage"]["messages"]) == (5, 2)
        assert (first["triage"]["refused"], second["triage"]["refused"]) == (0, 1)
        assert (first["triage"]["open_runs"], second["triage"]["open_runs"]) == (3, 3)
        assert (first["triage"]["messages_behind"], second["triage"]["messages_behind"]) == (0, 7)
        assert second["host"]["name"] == "lab"
        assert second["triage"]["bundle"] == {"name": "tiny"}
        assert second["triage"]["ready"]
        assert self.troubles == []

    def test_says_what_keeps_verdicts_from_being_stored(self) -> None:
        """A worker that is not ready says why."""
        self.set_up()
        self.metrics.trouble = "OpenSearch is away"
        self.report()
        (report,) = self.stored()
        assert (report["triage"]["ready"], report["triage"]["trouble"]) == (False, "OpenSearch is away")

    def test_a_failed_report_goes_into_the_next_one(self) -> None:
        """No number is missing in the sum, and the first of several failures is reported as trouble."""
        self.metrics.messages.inc(5)
        self.report()  # no index template yet
        self.metrics.messages.inc(2)
        self.report()
        assert len(self.troubles) == 1
        assert "setup opensearch" in self.troubles[0]
        self.set_up()
        self.metrics.messages.inc(1)
        self.report()
        self.report()
        assert [report["triage"]["messages"] for report in self.stored()] == [8, 0]
        assert len(self.troubles) == 1

    def test_a_rejected_report_goes_into_the_next_one(self) -> None:
        """A report that does not fit the mapping of its index counts as not written."""
        self.set_up()
        index = f"{self.prefix}-workers-2026.11"
        wrong = {"mappings": {"properties": {"host": {"properties": {"name": {"type": "integer"}}}}}}
        self.server.request("PUT", index, wrong)
        self.metrics.verdicts.labels("L2", "failed").inc(4)
        self.report()
        assert "mapper_parsing_exception" in self.troubles[0]
        self.server.request("DELETE", index)
        self.report()
        assert [report["triage"]["verdicts"] for report in self.stored()] == [4]
