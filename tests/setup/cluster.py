"""An OpenSearch in memory with stand-ins for its plugins and for Dashboards, and set-ups of it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from stream_triage.clients.memory.search import MemorySearchServer
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.opensearch import set_up
from tests.services.plugins import Dashboards, Plugins, serving

__all__ = ["TEMPLATES", "Cluster", "running"]

TEMPLATES = [("k1", "line <*>")]


class Cluster:
    """The servers, and the settings for them."""

    def __init__(self, memory: MemorySearchServer, plugins: Plugins, dashboards: Dashboards, settings: OpenSearchSettings):
        self.memory, self.plugins, self.dashboards, self.settings = memory, plugins, dashboards, settings

    def set_up(self, *, dry_run: bool = False, reset: Collection[str] = (), **settings: Any) -> Changes:
        """A set-up with some settings changed; each part of it must succeed."""
        changed = self.settings.model_copy(update=settings)
        changes = set_up(changed, ("tiny", "1"), TEMPLATES, dry_run=dry_run, reset=reset)
        assert changes.failed == []
        return changes

    def unchanged(self, **settings: Any) -> list[str]:
        """Another set-up, which must not change anything; returns what it keeps of people's changes."""
        before = self.dashboards.imports
        asked = len(self.memory.requests)
        changes = self.set_up(**settings)
        assert (changes.done, self.dashboards.imports) == ([], before)
        reads = ("_search", "_count", "_refresh")
        assert not [one for one in self.memory.requests[asked:] if one[0] != "GET" and not one[1].endswith(reads)]
        return changes.kept


@contextmanager
def running() -> Iterator[Cluster]:
    memory, dashboards = MemorySearchServer(), Dashboards()
    plugins = Plugins.of_memory(memory)
    with serving(plugins.answer) as url, serving(dashboards.answer) as shown:
        yield Cluster(memory, plugins, dashboards, OpenSearchSettings(hosts=(url,), dashboards_url=shown))
