"""The OpenSearch sink and the reports of workers on a real server: the contracts, and what only a real one can do."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.clock import FakeClock
from stream_triage.errors import StoreError
from stream_triage.records import FailedUe, Ues, Verdict
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.opensearch import set_up
from stream_triage.sinks.opensearch import OpenSearchSink
from tests.edges.client_contract import OpenSearchClientContract
from tests.edges.opensearch_contract import OpenSearchSinkContract, WorkerReportsContract, documents
from tests.services.servers import PASSWORD, OpenSearchServer
from tests.verdicts import kept, make_verdict

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
NOVEMBER = datetime(2026, 11, 30, 23, tzinfo=UTC)


class TestOpenSearchSink(OpenSearchSinkContract):
    @pytest.fixture(autouse=True)
    def _target(self, opensearch: OpenSearchServer, prefix: str) -> Iterator[None]:
        self.clock = FakeClock()
        self.settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix, retry_seconds=5)
        with OpenSearchClient(self.settings) as self.server:
            yield

    @contextmanager
    def blocked(self, index: str) -> Iterator[None]:
        self.server.request("PUT", f"{index}/_settings", {"index.blocks.write": True})
        yield
        self.server.request("PUT", f"{index}/_settings", {"index.blocks.write": False})

    def test_failed_ues_are_found(self) -> None:
        """By how many failed, and by reason and name of one of them."""
        failed = FailedUe(ue=7, name="imsi_7", reason="no setup complete", source="", number=3, text="UE Id: 7 gone")
        self.write(make_verdict("a", ues=Ues(seen=32, failed=1, first=(failed,))))
        self.write(make_verdict("b", ues=Ues(seen=32, failed=0)), make_verdict("c"))
        self.stored("verdicts")
        first = {
            "bool": {
                "filter": [
                    {"term": {"triage.ues.first.reason": failed.reason}},
                    {"term": {"triage.ues.first.name": "imsi_7"}},
                ]
            }
        }
        for query, expected in (
            ({"range": {"triage.ues.failed": {"gte": 1}}}, ["a"]),
            ({"nested": {"path": "triage.ues.first", "query": first}}, ["a"]),
            ({"exists": {"field": "triage.ues.seen"}}, ["a", "b"]),
        ):
            index = f"{self.settings.index_prefix}-verdicts-*"
            hits = self.server.request("POST", f"{index}/_search", {"query": query})["hits"]["hits"]
            assert sorted(hit["_id"] for hit in hits) == expected


class TestWorkerReports(WorkerReportsContract):
    @pytest.fixture(autouse=True)
    def _target(self, opensearch: OpenSearchServer, prefix: str) -> Iterator[None]:
        self.prefix = prefix
        with OpenSearchClient(OpenSearchSettings(hosts=(opensearch.url,))) as self.server:
            yield


class TestBehindProxy(OpenSearchClientContract):
    @pytest.fixture(autouse=True)
    def _target(self, opensearch: OpenSearchServer, prefix: str) -> None:
        self.url, self.prefix = opensearch.url, prefix


def test_second_set_up_changes_nothing(opensearch: OpenSearchServer, prefix: str) -> None:
    """A dry run says what the first set-up does; the list of templates is that of the bundle."""
    settings = OpenSearchSettings(hosts=(opensearch.url,), index_prefix=prefix)
    templates = [("k1", "one <*>"), ("k2", "two")]
    planned = set_up(settings, ("tiny", "1"), templates, dry_run=True)
    assert set_up(settings, ("tiny", "1"), templates).done == planned.done
    assert len(planned.done) == 7
    assert set_up(settings, ("tiny", "1"), templates).done == []
    with OpenSearchClient(settings) as server:
        assert len(documents(server, f"{prefix}-templates")) == 2
    assert len(set_up(settings, ("tiny", "2"), templates).done) == 1


def write(settings: OpenSearchSettings, *verdicts: Verdict) -> None:
    with OpenSearchClient(settings) as server, OpenSearchSink(server, settings) as sink:
        for verdict in verdicts:
            sink.write(verdict)


class TestSecurity:
    def test_tls_and_user(self, secure_opensearch: OpenSearchServer, prefix: str) -> None:
        """With TLS and a user all is as without; the error for a wrong password or certificate shows no password."""
        options = {
            "hosts": (secure_opensearch.url,),
            "index_prefix": prefix,
            "ca_file": secure_opensearch.certificates / "ca.pem",
            "user": "admin",
            "password": PASSWORD,
        }
        settings = OpenSearchSettings(**options)
        set_up(settings, ("tiny", "1"), [])
        write(settings, make_verdict("a", started=NOVEMBER))
        with OpenSearchClient(settings) as server:
            assert len(documents(server, f"{prefix}-verdicts-*")) == 1
        for change, reason in (
            ({"password": "wrong-Secret-1"}, "opensearch.password"),
            ({"ca_file": None}, "opensearch.ca_file"),
        ):
            with (
                OpenSearchClient(OpenSearchSettings(**{**options, **change})) as server,
                pytest.raises(StoreError, match=reason) as raised,
            ):
                server.request("GET", f"_index_template/{prefix}-verdicts")
            assert "Secret" not in str(raised.value)

    def test_rights_in_the_docs_are_enough(self, secure_opensearch: OpenSearchServer, prefix: str) -> None:
        """A user with the role of docs/opensearch.md and nothing else can do all that the sink does, but not set up."""
        text = (ROOT / "docs" / "opensearch.md").read_text()
        role = json.loads(
            re.search(r"```json\n(.*?)```", text.split("## Rights")[1], re.DOTALL)[1].replace("triage-*", f"{prefix}-*")
        )
        secure_opensearch.ask(f"_plugins/_security/api/roles/{prefix}", role, "PUT")
        user = {"password": f"{PASSWORD}-worker", "opendistro_security_roles": [prefix]}
        secure_opensearch.ask(f"_plugins/_security/api/internalusers/{prefix}", user, "PUT")
        options = {
            "hosts": (secure_opensearch.url,),
            "index_prefix": prefix,
            "ca_file": secure_opensearch.certificates / "ca.pem",
        }
        settings = OpenSearchSettings(**options, user=prefix, password=user["password"])
        administrator = OpenSearchSettings(**options, user="admin", password=PASSWORD)
        with pytest.raises(StoreError, match=r"docs/opensearch\.md"):
            set_up(settings, ("tiny", "1"), [])
        set_up(administrator, ("tiny", "1"), [])
        for version in (201, 401):
            write(settings, make_verdict("a", version=version, reduction=kept("x", str(version))))
        with OpenSearchClient(administrator) as server:
            assert len(documents(server, f"{prefix}-lines-*")) == 2
        with OpenSearchClient(settings) as server, OpenSearchSink(server, settings) as sink:
            assert sink.forget("a")
