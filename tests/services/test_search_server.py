"""OpenSearch behaves like the search server in memory that fast tests use: the same contracts."""

from collections.abc import Iterator

import pytest

from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.settings import OpenSearchSettings
from tests.edges.search_contract import SearchServerContract
from tests.services.servers import OpenSearchServer

pytestmark = pytest.mark.service


class TestSearchServer(SearchServerContract):
    @pytest.fixture(autouse=True)
    def _target(self, opensearch: OpenSearchServer, prefix: str) -> Iterator[None]:
        self.prefix = prefix
        with OpenSearchClient(OpenSearchSettings(hosts=(opensearch.url,))) as self.server:
            yield
