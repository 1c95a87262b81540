"""The search server in memory, used directly and by the real client over HTTP."""

from collections.abc import Iterator

import pytest

from stream_triage.clients.memory.search import MemorySearchServer
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clients.search import Document, Response, ResponseError
from stream_triage.settings import OpenSearchSettings
from tests.edges.http_search import serving
from tests.edges.search_contract import SearchServerContract


class TestMemorySearchServer(SearchServerContract):
    @pytest.fixture(autouse=True)
    def _target(self) -> None:
        self.server, self.prefix = MemorySearchServer(), "index"


class TestOverHttp(SearchServerContract):
    @pytest.fixture(autouse=True)
    def _target(self) -> Iterator[None]:
        self.prefix = "index"
        with serving(MemorySearchServer()) as url, OpenSearchClient(OpenSearchSettings(hosts=(url,))) as self.server:
            yield


class TestSwitches:
    DOCUMENT = Document.from_fields("index", "a", 1, {"text": "x"})

    def test_switched_off(self) -> None:
        """Nobody responds, and nothing is written."""
        server = MemorySearchServer()
        server.available = False
        for call in (lambda: server.bulk([self.DOCUMENT]), lambda: server.request("GET", "index/_mapping")):
            with pytest.raises(ResponseError, match="switched off") as raised:
                call()
            assert (raised.value.status, raised.value.busy) == (0, True)
        server.available = True
        assert server.request("GET", "index/_mapping") == {}

    def test_given_statuses(self) -> None:
        """A bulk request has a response for each document where a retry may help, else it fails; then all is as before."""
        server = MemorySearchServer()
        server.statuses.extend([429, 503, 403, 404, 500])
        assert server.bulk([self.DOCUMENT] * 2) == [Response(429, "status 429")] * 2
        assert server.bulk([self.DOCUMENT]) == [Response(503, "status 503")]
        with pytest.raises(ResponseError, match="status 403"):
            server.bulk([self.DOCUMENT])
        assert server.request("GET", "index/_mapping") == {}
        with pytest.raises(ResponseError, match="status 500"):
            server.request("GET", "index/_mapping")
        assert [response.status for response in server.bulk([self.DOCUMENT])] == [201]

    def test_given_responses(self) -> None:
        """Single documents are not written."""
        server, other = MemorySearchServer(), Document.from_fields("index", "b", 1, {})
        server.item_response = lambda document: Response(429, "busy: later") if document.id == "a" else None
        assert server.bulk([self.DOCUMENT, other]) == [Response(429, "busy: later"), Response(201, "")]
        docs = {"docs": [{"_index": "index", "_id": name} for name in "ab"]}
        assert [doc["found"] for doc in server.request("POST", "_mget", docs)["docs"]] == [False, True]

    def test_requests_are_recorded(self) -> None:
        server = MemorySearchServer()
        server.bulk([self.DOCUMENT])
        server.request("POST", "index/_refresh")
        assert server.requests == [("POST", "_bulk"), ("POST", "index/_refresh")]

    @pytest.mark.parametrize("body", [{"sort": [{"a": "desc"}]}, {"aggs": {"a": {"terms": {"field": "a"}}}}])
    def test_searches_that_are_not_implemented(self, body: dict[str, object]) -> None:
        """They are rejected: a test must not pass because a part of its request was ignored."""
        server = MemorySearchServer()
        server.bulk([self.DOCUMENT])
        server.request("POST", "index/_refresh")
        with pytest.raises(ResponseError, match="status 400"):
            server.request("POST", "index/_search", body)
