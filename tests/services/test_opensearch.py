"""The OpenSearch sink on a real server, and behind one that answers badly."""

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.records import DeadLetter, Verdict
from stream_triage.settings import OpenSearchSettings
from stream_triage.sinks import opensearch as sinks
from stream_triage.sinks.opensearch import OpenSearchSink, set_up
from tests.edges.contract import SinkContract
from tests.services.servers import PASSWORD, OpenSearchServer
from tests.verdicts import kept, make_verdict

pytestmark = pytest.mark.service

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
        with pytest.raises(StoreError, match="setup opensearch"):
            write(settings, bad)


class TestSetUp:
    def test_second_time_changes_nothing(self, opensearch: OpenSearchServer, prefix: str):
        settings, templates = (
            OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix),
            [("k1", "one <*>"), ("k2", "two")],
        )
        planned = set_up(settings, ("tiny", "1"), templates, dry_run=True)
        assert set_up(settings, ("tiny", "1"), templates) == planned
        assert len(planned) == 4
        assert set_up(settings, ("tiny", "1"), templates) == []
        assert len(documents(opensearch, f"{prefix}-templates")) == 2
        assert len(set_up(settings, ("tiny", "2"), templates)) == 1

    def test_older_index_template_is_changed(self, opensearch: OpenSearchServer, prefix: str):
        settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix)
        opensearch.ask(f"_index_template/{prefix}-lines", {"index_patterns": [f"{prefix}-lines-*"]}, "PUT")
        assert f"change index template {prefix}-lines" in set_up(settings, ("tiny", "1"), [])


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


@contextmanager
def standing_before(server: OpenSearchServer, answers: list[object]) -> Iterator[OpenSearchSettings]:
    """A proxy whose first answers to bulk requests are these: a status, or bytes; then it passes on."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = answers.pop(0) if answers and self.path.startswith("/_bulk") else None
            if isinstance(answer, int):
                status, content, kind = answer, b'{"error": "busy"}', "application/json"
            elif isinstance(answer, bytes):
                status, content, kind = 200, answer, "text/html"
            else:
                request = urllib.request.Request(
                    server.url + self.path, body or None, {"Content-Type": "application/json"}, method=self.command
                )
                try:
                    with urllib.request.urlopen(request) as told:
                        status, content, kind = told.status, told.read(), "application/json"
                except urllib.error.HTTPError as error:
                    status, content, kind = error.code, error.read(), "application/json"
                if callable(answer):
                    content = answer(content)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do

        def log_message(self, *_: object) -> None: ...

    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield OpenSearchSettings(hosts=(f"http://127.0.0.1:{proxy.server_port}",), retry_seconds=60, timeout_seconds=5)
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


class TestBadAnswers:
    def test_busy_server_is_asked_again(self, opensearch: OpenSearchServer, prefix: str):
        clock = FakeClock()
        with standing_before(opensearch, [429, 503, 502]) as settings:
            write(settings.model_copy(update={"index_prefix": prefix}), make_verdict("a"), clock=clock)
        assert len(documents(opensearch, f"{prefix}-verdicts-*")) == 1
        assert clock.monotonic() > 3 * sinks.FIRST_RETRY_SECONDS / 2

    def test_single_documents_are_asked_again(self, opensearch: OpenSearchServer, prefix: str):
        """Of three, the middle one was refused for now: just that one is sent again."""

        def middle_busy(content: bytes) -> bytes:
            told = json.loads(content)
            told["items"][1]["index"] = {"status": 429, "error": {"type": "rejected", "reason": "busy"}}
            return json.dumps(told).encode()

        sent = [middle_busy, None]
        with standing_before(opensearch, sent) as settings:
            verdicts = [make_verdict(name, started=NOVEMBER) for name in "abc"]
            write(settings.model_copy(update={"index_prefix": prefix}), *verdicts, clock=FakeClock())
        assert len(documents(opensearch, f"{prefix}-verdicts-*")) == 3
        assert sent == []

    @pytest.mark.parametrize("answer", [b"<html>Welcome</html>", b"{", b'{"items": []}', b"[]"])
    def test_garbage_keeps_the_verdict(self, answer: bytes, opensearch: OpenSearchServer, prefix: str):
        with standing_before(opensearch, [answer]) as settings:
            sink = OpenSearchSink(settings.model_copy(update={"index_prefix": prefix}))
            sink.write(make_verdict("a"))
            with pytest.raises(StoreError, match="OpenSearch"):
                sink.flush()
            sink.close()
        assert len(documents(opensearch, f"{prefix}-verdicts-*")) == 1

    def test_still_busy_after_the_time(self, opensearch: OpenSearchServer, prefix: str):
        with standing_before(opensearch, [429] * 200) as settings:
            sink = OpenSearchSink(settings.model_copy(update={"index_prefix": prefix}), clock=FakeClock())
            sink.write(make_verdict("a"))
            with pytest.raises(StoreError, match="too busy"):
                sink.flush()
            sink._waiting.clear()
            sink.close()

    def test_nobody_there(self, prefix: str):
        sink = OpenSearchSink(OpenSearchSettings(hosts=("http://127.0.0.1:9",), index_prefix=prefix))
        sink.write(make_verdict("a"))
        with pytest.raises(StoreError, match=r"opensearch\.hosts"):
            sink.flush()
        sink._waiting.clear()
        sink.close()
