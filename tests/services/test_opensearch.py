"""The OpenSearch sink on a real server, and behind one that answers badly."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.records import DeadLetter, FailedUe, Ues, Verdict
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.opensearch import set_up
from stream_triage.sinks import opensearch as sinks
from stream_triage.sinks.opensearch import OpenSearchSink
from tests.edges.contract import SinkContract
from tests.services.proxy import standing_before
from tests.services.servers import PASSWORD, OpenSearchServer
from tests.verdicts import kept, make_verdict

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
NOVEMBER, DECEMBER = datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 1, 1, tzinfo=UTC)


def documents(server: OpenSearchServer, index: str) -> list[dict]:
    server.ask(f"{index}/_refresh", method="POST")
    body = {"version": True, "size": 1000, "query": {"match_all": {}}}
    return server.ask(f"{index}/_search?ignore_unavailable=true", body)["hits"]["hits"]


class TestContract(SinkContract):
    @pytest.fixture(autouse=True)
    def _place(self, opensearch: OpenSearchServer, prefix: str) -> None:
        self.server, self.prefix, self.clock = opensearch, prefix, FakeClock()
        self.settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix)
        set_up(self.settings, ("tiny", "1"), [])

    def open_sink(self) -> OpenSearchSink:
        return OpenSearchSink(self.settings, clock=self.clock)

    def counting(self) -> list[tuple[str, int]]:
        found = documents(self.server, f"{self.prefix}-verdicts-*")
        found.sort(key=lambda hit: hit["_source"]["@timestamp"])
        return [(hit["_source"]["triage"]["run"]["id"], hit["_version"]) for hit in found]


@pytest.fixture
def settings(opensearch: OpenSearchServer, prefix: str) -> OpenSearchSettings:
    settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix, retry_seconds=5)
    set_up(settings, ("tiny", "1"), [])
    return settings


def write(settings: OpenSearchSettings, *verdicts: Verdict, **how: object) -> None:
    with OpenSearchSink(settings, **how) as sink:
        for verdict in verdicts:
            sink.write(verdict)


class TestDocuments:
    def test_index_of_the_first_message(self, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        """The month is that of the run's first message, whenever its verdict came; its JSON comes back whole."""
        verdict = make_verdict("night/1", time=DECEMBER, started=NOVEMBER, reduction=kept("one"))
        write(settings, verdict)
        (found,) = documents(opensearch, f"{settings.index_prefix}-verdicts-*")
        (line,) = documents(opensearch, f"{settings.index_prefix}-lines-*")
        assert (found["_index"], found["_id"]) == (f"{settings.index_prefix}-verdicts-2026.11", "night/1")
        assert (line["_index"], line["_source"]["message"]) == (f"{settings.index_prefix}-lines-2026.11", "one")
        assert Verdict.model_validate_json(found["_source"]["triage"]["verdict"]) == verdict

    def test_runs_from_files_stay_in_their_month(self, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        """They carry no time of their own: judged again next month, a run is still one document."""
        write(settings, make_verdict("a", version=201, time=NOVEMBER))
        write(settings, make_verdict("a", version=401, time=DECEMBER))
        (found,) = documents(opensearch, f"{settings.index_prefix}-verdicts-*")
        assert (found["_index"][-7:], found["_version"]) == ("2026.11", 401)

    def test_lines_of_earlier_versions_go(self, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        write(settings, make_verdict("a", version=201, started=NOVEMBER, reduction=kept("one", "two", "three")))
        documents(opensearch, f"{settings.index_prefix}-lines-*")  # refreshes
        write(settings, make_verdict("a", version=401, started=NOVEMBER, reduction=kept("other")))
        write(settings, make_verdict("a", version=301, started=NOVEMBER, reduction=kept("late", "later")))
        documents(opensearch, f"{settings.index_prefix}-lines-*")
        write(settings, make_verdict("a", version=401, started=NOVEMBER, reduction=kept("other")))
        found = documents(opensearch, f"{settings.index_prefix}-lines-*")
        assert [line["_source"]["message"] for line in found] == ["other"]

    @pytest.mark.parametrize(("second", "count"), [(401, 1), (101, 5)])
    def test_old_lines_go_at_once(self, second: int, count: int, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        """Also those that no refresh has shown yet, and those of a verdict that came late."""
        with OpenSearchSink(settings) as sink:
            for version, lines in ((201, kept("of", "201")), (second, kept(*"other"[:count]))):
                sink.write(make_verdict("a", version=version, started=NOVEMBER, reduction=lines))
                sink.flush()
        found = documents(opensearch, f"{settings.index_prefix}-lines-*")
        assert {line["_version"] for line in found} == {max(201, second)}

    def test_failed_ues_are_found(self, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        """By how many failed, and by the reason of one of them."""
        failed = FailedUe(ue=7, reason="no setup complete", source="", number=3, text="UE Id: 7 gone")
        write(settings, make_verdict("a", ues=Ues(seen=32, failed=1, first=(failed,))))
        write(settings, make_verdict("b", ues=Ues(seen=32, failed=0)), make_verdict("c"))
        documents(opensearch, f"{settings.index_prefix}-verdicts-*")
        first = {
            "bool": {"filter": [{"term": {"triage.ues.first.reason": failed.reason}}, {"term": {"triage.ues.first.ue": 7}}]}
        }
        for query, expected in (
            ({"range": {"triage.ues.failed": {"gte": 1}}}, ["a"]),
            ({"nested": {"path": "triage.ues.first", "query": first}}, ["a"]),
            ({"exists": {"field": "triage.ues.seen"}}, ["a", "b"]),
        ):
            found = opensearch.ask(f"{settings.index_prefix}-verdicts-*/_search", {"query": query})["hits"]["hits"]
            assert sorted(hit["_id"] for hit in found) == expected

    def test_hostile_names_and_ids(self, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        """A thousand header names change no mapping; ids of any length and content have a document."""
        headers = {f"<b>.x.{number}\u202e": "v" for number in range(1000)} | {"test.case.name": "attach", "": "x"}
        ids = ["x" * 600, "a b/c?d#e", "ü" * 256, "<script>", "\ud800"]
        write(settings, *(make_verdict(run_id, headers=headers, started=NOVEMBER) for run_id in ids[:4]))
        found = documents(opensearch, f"{settings.index_prefix}-verdicts-*")
        assert {hit["_source"]["triage"]["run"]["id"] for hit in found} == set(ids[:4])
        (mapping,) = opensearch.ask(f"{settings.index_prefix}-verdicts-2026.11/_mapping").values()
        assert len(json.dumps(mapping)) < 5000
        count = opensearch.ask(
            f"{settings.index_prefix}-verdicts-*/_count", {"query": {"term": {"test.case.name": "attach"}}}
        )["count"]
        assert count == 4

    def test_forget(self, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        write(settings, *(make_verdict(name, started=NOVEMBER, reduction=kept("x")) for name in "ab"))
        with OpenSearchSink(settings) as sink:
            assert sink.forget("a")
            assert not sink.forget("a")
        for kind in ("verdicts", "lines"):
            found = documents(opensearch, f"{settings.index_prefix}-{kind}-*")
            assert [hit["_source"]["triage"]["run"]["id"] for hit in found] == ["b"]

    def test_forgets_ids_too_long_to_be_indexed(self, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        write(settings, make_verdict("x" * 9000, started=NOVEMBER, reduction=kept("x")))
        with OpenSearchSink(settings) as sink:
            assert sink.forget("x" * 9000)
        for kind in ("verdicts", "lines"):
            assert documents(opensearch, f"{settings.index_prefix}-{kind}-*") == []

    def test_forgotten_and_judged_again(self, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        """The server remembers a deleted version for a minute: a verdict that it passes over is no written one."""
        verdict = make_verdict("a", started=NOVEMBER)
        write(settings, verdict)
        sink = OpenSearchSink(settings)
        assert sink.forget("a")
        sink.write(verdict)
        with pytest.raises(StoreError, match="is kept"):
            sink.flush()
        sink.write(make_verdict("a", version=401, started=NOVEMBER))  # instead of a minute's wait
        sink.close()
        assert len(documents(opensearch, f"{settings.index_prefix}-verdicts-*")) == 1

    def test_a_blocked_index_makes_no_dead_letters(self, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        """The cluster's state is not the document's fault: it is kept, and written when the block is gone."""
        write(settings, make_verdict("a", started=NOVEMBER))
        place, letters = f"{settings.index_prefix}-verdicts-2026.11/_settings", []
        opensearch.ask(place, {"index.blocks.write": True}, "PUT")
        sink = OpenSearchSink(settings, refuse=letters.append)
        sink.write(make_verdict("b", started=NOVEMBER))
        with pytest.raises(StoreError, match=r"cluster_block_exception.*kept"):
            sink.flush()
        opensearch.ask(place, {"index.blocks.write": False}, "PUT")
        sink.close()
        assert letters == []
        assert len(documents(opensearch, f"{settings.index_prefix}-verdicts-*")) == 2

    def test_documents_refused_do_not_hold_up_others(self, settings: OpenSearchSettings, opensearch: OpenSearchServer):
        """A mapping of somebody else's makes them poison: they go where refused things go, whole."""
        body = {"mappings": {"properties": {"triage": {"properties": {"label": {"type": "integer"}}}}}}
        opensearch.ask(f"{settings.index_prefix}-verdicts-2026.11", body, "PUT")
        letters: list[DeadLetter] = []
        bad, good = make_verdict("bad", started=NOVEMBER), make_verdict("good", started=DECEMBER)
        write(settings, bad, good, refuse=letters.append)
        (letter,) = letters
        assert (letter.kind, letter.key) == ("document", b"bad")
        assert "mapper_parsing_exception" in letter.reason
        assert json.loads(letter.value)["triage"]["label"] == "Pass"
        assert [hit["_id"] for hit in documents(opensearch, f"{settings.index_prefix}-verdicts-2026.12")] == ["good"]
        sink = OpenSearchSink(settings)
        sink.write(bad)
        for _ in range(2):  # nobody takes it: it is kept
            with pytest.raises(StoreError, match="setup opensearch"):
                sink.flush()
        opensearch.ask(f"{settings.index_prefix}-verdicts-2026.11", method="DELETE")
        sink.close()
        assert [hit["_id"] for hit in documents(opensearch, f"{settings.index_prefix}-verdicts-2026.11")] == ["bad"]

    def test_nothing_is_written_without_index_templates(self, opensearch: OpenSearchServer, prefix: str):
        """The server would guess the fields; the verdict waits until `setup opensearch` has run."""
        settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix)
        sink = OpenSearchSink(settings)
        sink.write(make_verdict("a", started=NOVEMBER))
        with pytest.raises(StoreError, match="stream-triage setup opensearch"):
            sink.flush()
        assert opensearch.ask(f"{prefix}-*/_settings") == {}
        set_up(settings, ("tiny", "1"), [])
        sink.close()
        assert len(documents(opensearch, f"{prefix}-verdicts-*")) == 1


class TestSetUp:
    def test_second_time_changes_nothing(self, opensearch: OpenSearchServer, prefix: str):
        settings, templates = (
            OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix),
            [("k1", "one <*>"), ("k2", "two")],
        )
        planned = set_up(settings, ("tiny", "1"), templates, dry_run=True)
        assert set_up(settings, ("tiny", "1"), templates).done == planned.done
        assert len(planned.done) == 7
        assert set_up(settings, ("tiny", "1"), templates).done == []
        assert len(documents(opensearch, f"{prefix}-templates")) == 2
        assert len(set_up(settings, ("tiny", "2"), templates).done) == 1

    def test_older_index_template_is_changed(self, opensearch: OpenSearchServer, prefix: str):
        settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix)
        opensearch.ask(f"_index_template/{prefix}-lines", {"index_patterns": [f"{prefix}-lines-*"]}, "PUT")
        assert f"change index template {prefix}-lines" in set_up(settings, ("tiny", "1"), []).done


class TestSecurity:
    def test_tls_and_user(self, secure_opensearch: OpenSearchServer, prefix: str):
        """With TLS and a user all is as without; a wrong password or authority says so and shows no password."""
        told = {
            "hosts": (secure_opensearch.url,),
            "index_prefix": prefix,
            "ca_file": secure_opensearch.certificates / "ca.pem",
            "user": "admin",
            "password": PASSWORD,
        }
        settings = OpenSearchSettings(**told)
        set_up(settings, ("tiny", "1"), [])
        write(settings, make_verdict("a", started=NOVEMBER))
        assert len(documents(secure_opensearch, f"{prefix}-verdicts-*")) == 1
        for change, reason in (
            ({"password": "wrong-Secret-1"}, "opensearch.password"),
            ({"ca_file": None}, "opensearch.ca_file"),
        ):
            sink = OpenSearchSink(OpenSearchSettings(**{**told, **change}))
            sink.write(make_verdict("b"))
            with pytest.raises(StoreError, match=reason) as raised:
                sink.flush()
            assert "Secret" not in str(raised.value)
            sink._waiting.clear()
            sink.close()

    def test_rights_in_the_docs_are_enough(self, secure_opensearch: OpenSearchServer, prefix: str):
        """A user with the role of docs/opensearch.md and nothing else can do all that the sink does, but not set up."""
        text = (ROOT / "docs" / "opensearch.md").read_text()
        role = json.loads(
            re.search(r"```json\n(.*?)```", text.split("## Rights")[1], re.DOTALL)[1].replace("triage-*", f"{prefix}-*")
        )
        secure_opensearch.ask(f"_plugins/_security/api/roles/{prefix}", role, "PUT")
        user = {"password": f"{PASSWORD}-worker", "opendistro_security_roles": [prefix]}
        secure_opensearch.ask(f"_plugins/_security/api/internalusers/{prefix}", user, "PUT")
        told = {
            "hosts": (secure_opensearch.url,),
            "index_prefix": prefix,
            "ca_file": secure_opensearch.certificates / "ca.pem",
        }
        settings = OpenSearchSettings(**told, user=prefix, password=user["password"])
        with pytest.raises(StoreError, match=r"docs/opensearch\.md"):
            set_up(settings, ("tiny", "1"), [])
        set_up(OpenSearchSettings(**told, user="admin", password=PASSWORD), ("tiny", "1"), [])
        for version in (201, 401):
            write(settings, make_verdict("a", version=version, reduction=kept("x", str(version))))
        assert len(documents(secure_opensearch, f"{prefix}-lines-*")) == 2
        with OpenSearchSink(settings) as sink:
            assert sink.forget("a")


class TestBadAnswers:
    def test_busy_server_is_asked_again(self, opensearch: OpenSearchServer, prefix: str):
        clock = FakeClock()
        with standing_before(opensearch, prefix, [429, 503, 502]) as settings:
            write(settings, make_verdict("a"), clock=clock)
        assert len(documents(opensearch, f"{prefix}-verdicts-*")) == 1
        assert clock.monotonic() > 3 * sinks.FIRST_RETRY_SECONDS / 2

    def test_single_documents_are_asked_again(self, opensearch: OpenSearchServer, prefix: str):
        """Of three, the middle one was refused for now: just that one is sent again."""

        def middle_busy(content: bytes) -> bytes:
            told = json.loads(content)
            told["items"][1]["index"] = {"status": 429, "error": {"type": "rejected", "reason": "busy"}}
            return json.dumps(told).encode()

        sent = [middle_busy, None]
        with standing_before(opensearch, prefix, sent) as settings:
            verdicts = [make_verdict(name, started=NOVEMBER) for name in "abc"]
            write(settings, *verdicts, clock=FakeClock())
        assert len(documents(opensearch, f"{prefix}-verdicts-*")) == 3
        assert sent == []

    @pytest.mark.parametrize("answer", [b"<html>Welcome</html>", b"{", b'{"items": []}', b"[]"])
    def test_garbage_keeps_the_verdict(self, answer: bytes, opensearch: OpenSearchServer, prefix: str):
        with standing_before(opensearch, prefix, [answer]) as settings:
            sink = OpenSearchSink(settings)
            sink.write(make_verdict("a"))
            with pytest.raises(StoreError, match="OpenSearch"):
                sink.flush()
            sink.close()
        assert len(documents(opensearch, f"{prefix}-verdicts-*")) == 1

    def test_still_busy_after_the_time(self, opensearch: OpenSearchServer, prefix: str):
        with standing_before(opensearch, prefix, [429] * 200) as settings:
            sink = OpenSearchSink(settings, clock=FakeClock())
            sink.write(make_verdict("a"))
            with pytest.raises(StoreError, match="too busy"):
                sink.flush()
            sink._waiting.clear()
            sink.close()

    def test_less_is_taken_than_is_sent(self, opensearch: OpenSearchServer, prefix: str):
        """A proxy's limit: requests are halved until they pass, and only what is too large alone is refused."""
        letters: list[DeadLetter] = []
        runs = [make_verdict(f"{number}", started=NOVEMBER, reduction=kept("x")) for number in range(20)]
        runs.append(make_verdict("large", started=NOVEMBER, headers={"x": "y" * 9000}))
        with standing_before(opensearch, prefix, [], max_bytes=8000) as settings:
            write(settings, *runs, refuse=letters.append)
        assert [(letter.key, letter.reason) for letter in letters] == [(b"large", "status 413")]
        assert len(documents(opensearch, f"{prefix}-verdicts-*")) == 20
        assert len(documents(opensearch, f"{prefix}-lines-*")) == 20

    def test_nobody_there(self, prefix: str):
        sink = OpenSearchSink(OpenSearchSettings(hosts=("http://127.0.0.1:9",), index_prefix=prefix))
        sink.write(make_verdict("a"))
        with pytest.raises(StoreError, match=r"opensearch\.hosts"):
            sink.flush()
        sink._waiting.clear()
        sink.close()
