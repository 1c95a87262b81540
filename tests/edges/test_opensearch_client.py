"""The OpenSearch client, on a server in memory over HTTP, behind a proxy, and without a server."""

import json
import socket
from collections.abc import Iterator

import pytest

from stream_triage.clients import opensearch as module
from stream_triage.clients.memory.search import MemorySearchServer
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clients.search import Document, Response, ResponseError
from stream_triage.errors import SettingsError, StoreError
from stream_triage.settings import OpenSearchSettings
from tests.edges.client_contract import OpenSearchClientContract
from tests.edges.http_search import serving
from tests.services.servers import free_port


class TestBehindProxy(OpenSearchClientContract):
    @pytest.fixture(autouse=True)
    def _target(self) -> Iterator[None]:
        self.prefix = "farm"
        with serving(MemorySearchServer()) as self.url:
            yield


@pytest.fixture
def memory() -> MemorySearchServer:
    return MemorySearchServer()


@pytest.fixture
def client(memory: MemorySearchServer) -> Iterator[OpenSearchClient]:
    with serving(memory) as url, OpenSearchClient(OpenSearchSettings(hosts=(url,), timeout_seconds=5)) as client:
        yield client


def document(name: str, size: int = 1) -> Document:
    return Document.from_fields("index", name, 1, {"text": "x" * size})


def test_bulk_requests_are_limited(client: OpenSearchClient, memory: MemorySearchServer, monkeypatch: pytest.MonkeyPatch):
    """Documents go into requests of at most that size, one that is larger alone into its own; responses stay in order."""
    monkeypatch.setattr(module, "BULK_BYTES", 1000)
    memory.item_response = lambda document: Response(429, f"busy: {document.id}")
    sizes = [400, 400, 400, 2000, 400, 400]
    responses = client.bulk([document(f"{number}", size) for number, size in enumerate(sizes)])
    assert [response.reason for response in responses] == [f"busy: {number}" for number in range(len(sizes))]
    assert len(memory.requests) == 4


def test_nobody_responds(client: OpenSearchClient, memory: MemorySearchServer) -> None:
    """A connection that breaks raises an error for documents too, and is worth another attempt."""
    memory.available = False
    for call in (lambda: client.bulk([document("a")]), lambda: client.request("GET", "index/_mapping")):
        with pytest.raises(ResponseError, match=r"no connection; .*opensearch\.hosts") as raised:
            call()
        assert (raised.value.status, raised.value.busy) == (0, True)
    assert memory.requests == []


def test_nobody_there() -> None:
    """The error names the address and the setting."""
    settings = OpenSearchSettings(hosts=(f"http://127.0.0.1:{free_port()}",))
    with OpenSearchClient(settings) as client, pytest.raises(StoreError, match=rf"{settings.hosts[0]}: .*opensearch\.hosts"):
        client.bulk([document("a")])


def test_a_server_that_hangs() -> None:
    """The error says so, and is worth another attempt."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = OpenSearchSettings(hosts=(f"http://127.0.0.1:{silent.getsockname()[1]}",), timeout_seconds=1)
        with (
            OpenSearchClient(settings) as client,
            pytest.raises(ResponseError, match=r": no response in time; .*opensearch\.timeout_seconds") as raised,
        ):
            client.bulk([document("a")])
    assert (raised.value.status, raised.value.busy) == (0, True)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_for_a_request(client: OpenSearchClient, memory: MemorySearchServer, status: int) -> None:
    """The caller may repeat it."""
    memory.statuses.append(status)
    with pytest.raises(ResponseError, match=f"status {status}") as raised:
        client.request("GET", "index/_mapping")
    assert (raised.value.status, raised.value.busy) == (status, True)


def test_status_for_a_bulk_request(client: OpenSearchClient, memory: MemorySearchServer) -> None:
    """Where a retry may help, each document gets it as its response; any other is raised."""
    memory.statuses.extend([429, 413, 400])
    assert client.bulk([document("a"), document("b")]) == [Response(429, "status 429")] * 2
    assert client.bulk([document("a")]) == [Response(413, "status 413")]
    with pytest.raises(ResponseError, match="status 400"):
        client.bulk([document("a")])


def test_error_of_the_server_is_short(client: OpenSearchClient, memory: MemorySearchServer) -> None:
    """A long error is cut, since it may repeat what was sent."""
    memory.handle = lambda *_: (400, {"status": 400, "error": {"type": "x" * 2000, "reason": "y"}})
    with pytest.raises(ResponseError) as raised:
        client.request("GET", "index/_mapping")
    assert len(str(raised.value)) == 500


def test_response_that_is_not_an_object(client: OpenSearchClient, memory: MemorySearchServer) -> None:
    """JSON of another kind raises an error."""
    memory.handle = lambda *_: (200, ["welcome"])
    with pytest.raises(StoreError, match=r"did not respond with a JSON object; .*proxy"):
        client.request("GET", "index/_mapping")


def test_missing_right_is_named(client: OpenSearchClient, memory: MemorySearchServer) -> None:
    """As the security plugin names it, without the user and roles that follow it."""
    reason = "no permissions for [indices:data/write/bulk] and User [name=lab, backend_roles=[], requestedTenant=null]"
    memory.handle = lambda *_: (403, {"status": 403, "error": {"type": "security_exception", "reason": reason}})
    with pytest.raises(ResponseError, match=r"the right indices:data/write/bulk is missing; ") as raised:
        client.bulk([document("a")])
    assert "lab" not in str(raised.value)


def test_user_in_the_address() -> None:
    """A password in opensearch.hosts would be shown in messages: it belongs into its own setting."""
    with pytest.raises(SettingsError, match=r"opensearch\.password") as raised:
        OpenSearchClient(OpenSearchSettings(hosts=("https://lab:secret@search:9200",)))
    assert "secret" not in str(raised.value)


def test_user_and_password_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As basic authentication; TLS is checked where the address asks for it."""
    import opensearchpy

    options: dict[str, object] = {}
    monkeypatch.setattr(opensearchpy, "OpenSearch", lambda hosts, **given: options.update(given, hosts=hosts))
    OpenSearchClient(OpenSearchSettings(hosts=("https://search:9200",), user="lab", password="secret"))
    assert options["http_auth"] == ("lab", "secret")
    assert (options["use_ssl"], options["verify_certs"], options["max_retries"]) == (True, True, 0)
    assert options["hosts"] == ["https://search:9200"]
    options.clear()
    OpenSearchClient(OpenSearchSettings(hosts=("http://search:9200",), timeout_seconds=7))
    assert "http_auth" not in options
    assert "use_ssl" not in options
    assert options["timeout"] == 7


class TestResponse:
    @pytest.mark.parametrize(
        ("status", "reason", "written", "busy", "rejected"),
        [
            (200, "", True, False, False),
            (201, "", True, False, False),
            (409, "version_conflict_engine_exception", True, False, False),
            (400, "mapper_parsing_exception", False, False, True),
            (413, "status 413", False, False, True),
            (400, "validation_exception: this cluster currently has [1000]/[1000] maximum shards open", False, False, False),
            (401, "", False, False, False),
            (403, "cluster_block_exception", False, False, False),
            (404, "index_not_found_exception", False, False, False),
            (429, "", False, True, False),
            (500, "", False, True, False),
            (503, "", False, True, False),
        ],
    )
    def test_what_a_status_means(self, status: int, reason: str, written: bool, busy: bool, rejected: bool) -> None:
        """A conflict means that the document is stored already; the cluster's state is not the document's fault."""
        response = Response(status, reason)
        assert (response.written, response.busy, response.rejected) == (written, busy, rejected)

    def test_reads_an_item(self) -> None:
        """Type, reason and cause of the error, cut to 500 characters."""
        error = {"type": "t", "reason": "r", "caused_by": {"type": "x", "reason": "c"}}
        assert Response.from_item({"index": {"status": 400, "error": error}}) == Response(400, "t: r: c")
        assert Response.from_item({"index": {"status": 201}}) == Response(201, "")
        long = {"create": {"status": 400, "error": {"reason": "x" * 2000}}}
        assert len(Response.from_item(long).reason) == 500

    @pytest.mark.parametrize("item", [{}, {"index": {}}, {"index": None}, {"index": {"status": "x"}}, None])
    def test_items_that_are_none(self, item: object) -> None:
        """The client takes these errors for an invalid response."""
        with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
            Response.from_item(item)


class TestDocument:
    def test_origin_names_the_document(self) -> None:
        """A dead letter can be sent to its index again, whatever its id contains."""
        original = Document.from_fields("triage-verdicts-2026.11", "night/a b/1", 201, {"x": "\ud800"})
        assert Document.from_origin(original.origin, original.body) == original
        assert json.loads(original.body) == {"x": "\ud800"}

    @pytest.mark.parametrize("origin", ["", "logs/1", "logs//1", "/a/1", "index/a/x", "index/a/", "night/1/-7"])
    def test_other_origins(self, origin: str) -> None:
        """Nothing else is taken for a document."""
        assert Document.from_origin(origin, b"{}") is None
