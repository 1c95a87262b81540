"""Runs from an index of the search server in memory."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from stream_triage.clients.memory.search import MemorySearchServer
from stream_triage.clock import FakeClock
from stream_triage.settings import OpenSearchSettings
from stream_triage.sources import opensearch as module
from stream_triage.worker import messages
from tests.edges.http_search import serving
from tests.edges.index_source_contract import IndexSourceContract


class TestIndexSource(IndexSourceContract):
    server: MemorySearchServer

    @pytest.fixture(autouse=True)
    def _target(self) -> Iterator[None]:
        self.settings, self.prefix = OpenSearchSettings(retry_seconds=0), "logs"
        self.server = MemorySearchServer(clock=FakeClock(datetime(2026, 12, 1, tzinfo=UTC)))
        with serving(self.server) as self.url:
            yield
        assert self.server.open_views == 0

    def open_server(self) -> MemorySearchServer:
        return self.server


def test_limits_are_those_of_messages() -> None:
    """Runs from an index have the same limits as runs from a topic."""
    for name in ("MAX_KEY_BYTES", "MAX_SOURCES", "MAX_LABEL_CHARACTERS", "FIRST_MS", "LAST_MS"):
        assert getattr(module, name) == getattr(messages, name)
