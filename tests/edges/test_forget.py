"""`forget` on servers in memory: everything of a run is removed, and what fails half-way can be repeated."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stream_triage import forgetting
from stream_triage.clients.broker import Topic
from stream_triage.clients.memory.broker import MemoryBroker
from stream_triage.clients.memory.search import MemorySearchServer
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.errors import RunNotFound
from stream_triage.settings import ArchiveSettings, OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.indices import create_index_templates
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.opensearch import OpenSearchSink
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.spool import SpillSpool
from tests.commands import Result, call
from tests.edges.opensearch_contract import documents
from tests.verdicts import kept, make_verdict

NOT_FOUND = 2


class Farm:
    """Two runs in a store, an archive, an index and a topic."""

    def __init__(self, folder: Path) -> None:
        self.archive = TextArchive(ArchiveSettings(folder=folder / "archive"))
        self.store_path = folder / "verdicts.sqlite"
        self.search = MemorySearchServer()
        self.broker = MemoryBroker([Topic(f"triage.{name}", 1, {}) for name in ("verdicts", "logs", "runs")])
        create_index_templates(self.search, "triage", Changes())
        with (
            SqliteStore(self.store_path) as store,
            OpenSearchSink(self.search, OpenSearchSettings()) as index,
            VerdictTopic(self.broker, "triage.verdicts") as topic,
        ):
            for name in ("night/a", "night/b"):
                verdict = make_verdict(name, started=datetime(2026, 11, 1, tzinfo=UTC), reduction=kept("line"))
                with SpillSpool(name) as text:
                    text.append("", ["line"])
                    for sink in (store, index, topic, self.archive):
                        sink.write(verdict, text)
        self.settings = folder / "settings.toml"
        self.settings.write_text(
            f'sinks = ["store", "archive", "opensearch", "kafka"]\n[store]\npath = "{self.store_path}"\n'
            f'[archive]\nfolder = "{folder / "archive"}"\n[kafka]\nverdicts_topic = "triage.verdicts"\n'
        )

    def forget(self, *names: str) -> Result:
        return call("forget", "-c", self.settings, *names)

    def left(self, name: str) -> set[str]:
        """Where something of a run is left."""
        self.broker.compact("triage.verdicts")
        with SqliteStore(self.store_path) as store:
            stored = store.find(name) is not None
        try:
            self.archive.open(name).close()
            archived = True
        except RunNotFound:
            archived = False
        hits = documents(self.search, "triage-verdicts-*") + documents(self.search, "triage-lines-*")
        targets = {
            "store": stored,
            "archive": archived,
            "index": any(hit["_source"]["triage"]["run"]["id"] == name for hit in hits),
            "topic": any(record.key == name.encode() for record in self.broker.read("triage.verdicts", 0)),
        }
        return {target for target, there in targets.items() if there}


EVERYWHERE = {"store", "archive", "index", "topic"}


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Farm:
    """Its clients pass everything on to the servers in memory."""
    farm = Farm(tmp_path)

    def request(client: object, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return farm.search.request(method, path, body)

    monkeypatch.setattr(OpenSearchClient, "request", request)
    monkeypatch.setattr(forgetting, "KafkaBroker", lambda settings: farm.broker)
    return farm


def test_forgets_everywhere(farm: Farm) -> None:
    """Nothing of the run is left; the other run stays everywhere."""
    result = farm.forget("night/a")
    assert (result.code, result.notes[0]) == (0, "forgot night/a")
    assert farm.left("night/a") == set()
    assert farm.left("night/b") == EVERYWHERE
    assert farm.forget("night/a").code == NOT_FOUND


@pytest.mark.parametrize("failing", ["broker", "search"])
def test_a_failure_can_be_repeated(farm: Farm, failing: str) -> None:
    """The store keeps the run until it is removed everywhere else, so that a part of the id still names it."""
    server = {"broker": farm.broker, "search": farm.search}[failing]
    server.available = False
    failed = farm.forget("ht/a")
    assert failed.code != 0
    assert "switched off" in failed.err
    server.available = True
    assert farm.left("night/a") >= {"store", {"broker": "topic", "search": "index"}[failing]}
    assert farm.forget("ht/a").code == 0
    assert farm.left("night/a") == set()
    assert farm.left("night/b") == EVERYWHERE
