"""The OpenSearch client behind a proxy that sends bad responses: the same tests for a server in memory and a real one."""

import json

import pytest

from stream_triage.clients import opensearch as clients
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clients.search import Document, ResponseError
from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.records import DeadLetter
from stream_triage.settings import OpenSearchSettings
from stream_triage.sinks import opensearch as sinks
from stream_triage.sinks.opensearch import OpenSearchSink
from tests.edges.opensearch_contract import NOVEMBER, documents
from tests.edges.proxy import behind_proxy
from tests.verdicts import kept, make_verdict

__all__ = ["OpenSearchClientContract"]


class OpenSearchClientContract:
    """A subclass sets these before each test. The prefix is that of no other test."""

    url: str
    prefix: str

    def stored(self, kind: str = "verdicts") -> list[dict[str, object]]:
        with OpenSearchClient(OpenSearchSettings(hosts=(self.url,))) as server:
            return documents(server, f"{self.prefix}-{kind}-*")

    def test_busy_server_gets_the_request_again(self) -> None:
        """After growing waits, until it takes the documents."""
        clock = FakeClock()
        with behind_proxy(self.url, self.prefix, [429, 503, 502]) as settings, OpenSearchClient(settings) as server:
            sink = OpenSearchSink(server, settings, clock=clock)
            sink.write(make_verdict("a"))
            sink.close()
        assert len(self.stored()) == 1
        assert clock.monotonic() > 3 * sinks.FIRST_RETRY_SECONDS / 2

    def test_requests_have_a_limited_number_of_documents(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However small they are: the response to each comes in time."""
        monkeypatch.setattr(clients, "BULK_DOCUMENTS", 2)
        sizes: list[int] = []

        def counted(content: bytes) -> bytes:
            sizes.append(len(json.loads(content)["items"]))
            return content

        documents = [Document.from_fields(f"{self.prefix}-verdicts-2026.11", str(n), 1, {}, str(n)) for n in range(5)]
        with behind_proxy(self.url, self.prefix, [counted] * 3) as settings, OpenSearchClient(settings) as server:
            assert len(server.bulk(documents)) == 5
        assert sizes == [2, 2, 1]

    def test_only_busy_documents_are_sent_again(self) -> None:
        """Of three, the server was too busy for the one in the middle."""

        def middle_busy(content: bytes) -> bytes:
            result = json.loads(content)
            result["items"][1]["index"] = {"status": 429, "error": {"type": "rejected", "reason": "busy"}}
            return json.dumps(result).encode()

        responses: list[object] = [middle_busy, None]
        with behind_proxy(self.url, self.prefix, responses) as settings, OpenSearchClient(settings) as server:
            sink = OpenSearchSink(server, settings, clock=FakeClock())
            for name in "abc":
                sink.write(make_verdict(name, started=NOVEMBER))
            sink.close()
        assert len(self.stored()) == 3
        assert responses == []

    @pytest.mark.parametrize("content", [b"<html>Welcome</html>", b"{", b'{"items": []}', b"[]", b'{"items": [{"x": 1}]}'])
    def test_invalid_responses_keep_the_verdict(self, content: bytes) -> None:
        """They raise an error, and the next flush writes the verdict."""
        with behind_proxy(self.url, self.prefix, [content]) as settings, OpenSearchClient(settings) as server:
            sink = OpenSearchSink(server, settings)
            sink.write(make_verdict("a"))
            with pytest.raises(StoreError, match="OpenSearch"):
                sink.flush()
            sink.close()
        assert len(self.stored()) == 1

    def test_still_busy_after_the_time(self) -> None:
        """The flush raises an error, and the next one writes the verdict."""
        responses: list[object] = [429] * 200
        with behind_proxy(self.url, self.prefix, responses) as settings, OpenSearchClient(settings) as server:
            sink = OpenSearchSink(server, settings, clock=FakeClock())
            sink.write(make_verdict("a"))
            with pytest.raises(StoreError, match="too busy"):
                sink.flush()
            responses.clear()
            sink.close()
        assert len(self.stored()) == 1

    def test_requests_that_are_too_large(self) -> None:
        """The limit of a proxy: requests are halved until they pass, and only what is too large alone is rejected."""
        letters: list[DeadLetter] = []
        runs = [make_verdict(f"{number}", started=NOVEMBER, reduction=kept("x")) for number in range(20)]
        runs.append(make_verdict("large", started=NOVEMBER, headers={"x": "y" * 9000}))
        with (
            behind_proxy(self.url, self.prefix, [], max_bytes=8000) as settings,
            OpenSearchClient(settings) as server,
        ):
            sink = OpenSearchSink(server, settings, on_rejected=letters.append)
            for run in runs:
                sink.write(run)
            sink.close()
        assert [(letter.key, letter.reason) for letter in letters] == [(b"large", "status 413")]
        assert (len(self.stored()), len(self.stored("lines"))) == (20, 20)

    @pytest.mark.parametrize("status", [401, 403])
    def test_missing_rights(self, status: int) -> None:
        """The error names the right, where the server does, and the page that lists all of them; nothing is repeated."""
        with behind_proxy(self.url, self.prefix, [status, 200]) as settings, OpenSearchClient(settings) as server:
            with pytest.raises(
                ResponseError, match=rf"status {status}; .*opensearch\.password.* docs/opensearch\.md"
            ) as raised:
                server.bulk([Document.from_fields(f"{self.prefix}-x", "a", 1, {})])
            assert (raised.value.status, raised.value.busy) == (status, False)

    def test_responses_that_are_not_json(self) -> None:
        """A request that is not a bulk request raises an error as well."""
        with (
            behind_proxy(self.url, self.prefix, [b"<html>Welcome</html>"]) as settings,
            OpenSearchClient(settings) as server,
            pytest.raises(StoreError, match=r"SerializationError; .*not a proxy"),
        ):
            server.request("POST", "_bulk", {})
