"""Runs from an index of a real OpenSearch: the contract, and what only a real one can do."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.errors import StoreError
from stream_triage.settings import OpenSearchSettings
from stream_triage.sources.opensearch import OpenSearchSource
from tests.edges.index_source_contract import DAY, IndexSourceContract, line, texts
from tests.edges.source_contract import collect
from tests.services.servers import PASSWORD, OpenSearchServer

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]


class TestIndexSource(IndexSourceContract):
    server: OpenSearchClient
    long_run = 25_000

    @pytest.fixture(autouse=True)
    def _target(self, opensearch: OpenSearchServer, prefix: str) -> Iterator[None]:
        self.url, self.prefix = opensearch.url, prefix
        self.settings = OpenSearchSettings(hosts=(opensearch.url,), retry_seconds=0)
        with OpenSearchClient(self.settings) as self.server:
            yield
        (node,) = opensearch.ask("_nodes/stats/indices/search")["nodes"].values()
        assert node["indices"]["search"]["point_in_time_current"] == 0

    def open_server(self) -> OpenSearchClient:
        return OpenSearchClient(self.settings)

    def test_alias_with_a_filter(self) -> None:
        """An alias shows a part of the runs of its index."""
        self.make(shards=3)
        self.put([line("a", "one"), line("b", "two")])
        add = {"index": self.prefix, "alias": f"{self.prefix}-a", "filter": {"term": {"run.id": "a"}}}
        self.server.request("POST", "_aliases", {"actions": [{"add": add}]})
        assert texts(collect(self.open(f"{self.prefix}-a"))) == {"a": "one\n"}

    def test_shards_that_are_away(self) -> None:
        """Half of the lines would judge a run wrongly: then nothing is judged."""
        self.make()
        self.put([line("a", "one")])
        nowhere = {"settings": {"index.routing.allocation.require._name": "nobody"}}
        self.server.request("PUT", f"{self.prefix}-red?wait_for_active_shards=0&timeout=1s", nowhere)
        try:
            with pytest.raises(StoreError, match="status 503"):
                collect(self.open(f"{self.prefix}*"))
        finally:
            self.server.request("DELETE", f"{self.prefix}-red")


def test_rights_in_the_docs_are_enough(secure_opensearch: OpenSearchServer, prefix: str) -> None:
    """A user with the rights of docs/opensearch.md and no others can read; one without is referred to that page."""
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "opensearch.md").read_text(), re.DOTALL)
    (block,) = (block for block in blocks if "cluster_permissions" in block and "logs-*" in block)
    role = json.loads(block.replace("logs-*", f"{prefix}*"))
    secure_opensearch.ask(f"_plugins/_security/api/roles/{prefix}", role, "PUT")
    index = {"mappings": {"properties": {"@timestamp": {"type": "date"}, "message": {"type": "text"}}}}
    index["mappings"]["properties"]["run"] = {"properties": {"id": {"type": "keyword"}}}
    secure_opensearch.ask(prefix, index, "PUT")
    secure_opensearch.ask(f"{prefix}/_doc/1?refresh=true", line("a", "one"), "PUT")
    options = {"hosts": (secure_opensearch.url,), "ca_file": secure_opensearch.certificates / "ca.pem", "retry_seconds": 0}
    for name, roles in ((f"{prefix}-may", [prefix]), (f"{prefix}-not", [])):
        user = {"password": f"{PASSWORD}-reader", "opendistro_security_roles": roles}
        secure_opensearch.ask(f"_plugins/_security/api/internalusers/{name}", user, "PUT")

    def read(user: str) -> dict[str, str]:
        settings = OpenSearchSettings(**options, user=f"{prefix}-{user}", password=f"{PASSWORD}-reader")
        return texts(collect(OpenSearchSource(OpenSearchClient(settings), settings, prefix, run_field="run.id", time=DAY)))

    assert read("may") == {"a": "one\n"}
    with pytest.raises(StoreError, match=r"the right indices:data/read/field_caps is missing; .* docs/opensearch\.md"):
        read("not")
