"""What commands do with servers, against a broker and a search server in memory: set-up, worker, canary, replay, forget."""

import resource
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream_triage import Bundle, forgetting, operations, replaying, wiring
from stream_triage.clients.broker import Outgoing, Topic
from stream_triage.clients.memory.broker import MemoryBroker
from stream_triage.clients.memory.search import MemorySearchServer
from stream_triage.clients.search import Document, Response, ResponseError
from stream_triage.clock import FakeClock
from stream_triage.errors import RunNotFound, ServerAway, SettingsError, StoreError
from stream_triage.records import DeadLetter, ForgottenRun, Verdict
from stream_triage.settings import (
    AlertSettings,
    ArchiveSettings,
    JsonlSettings,
    KafkaSettings,
    OpenSearchSettings,
    ProvisionalSettings,
    Settings,
    StoreSettings,
)
from stream_triage.setup import opensearch as opensearch_setup
from stream_triage.setup.changes import Changes
from stream_triage.setup.indices import create_index_templates
from stream_triage.setup.kafka import check_topics, topics
from stream_triage.sinks.archive import TextArchive
from stream_triage.sinks.dead_letters import DeadLetterTopic
from stream_triage.sinks.kafka import VerdictTopic
from stream_triage.sinks.opensearch import OpenSearchSink
from stream_triage.sinks.run_log import RunLogTopic
from stream_triage.spool import SpillSpool
from stream_triage.worker import process
from stream_triage.worker.canary import TEXT, Sighting
from stream_triage.worker.messages import RUN_ENDED
from tests.verdicts import make_verdict

KAFKA = KafkaSettings()


class Servers:
    """A broker with all topics and a search server with all index templates, which the commands use for real ones."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.broker, self.search = MemoryBroker(topics(settings, 3)), MemorySearchServer()
        create_index_templates(self.search, settings.opensearch.index_prefix, Changes())

    def verdicts(self) -> dict[bytes | None, bytes | None]:
        """The last message of each run in the topic of verdicts."""
        records = [record for number in range(3) for record in self.broker.read(KAFKA.verdicts_topic, number)]
        return {record.key: record.value for record in records}

    def indexed(self) -> list[str]:
        """The runs whose verdicts a search finds."""
        self.search.request("POST", "triage-verdicts-*/_refresh")
        hits = self.search.request("POST", "triage-verdicts-*/_search", {"size": 100})["hits"]["hits"]
        return [hit["_source"]["triage"]["run"]["id"] for hit in hits]

    def write(self, *verdicts: Verdict) -> None:
        """Writes verdicts to the topic and the index, as a worker does."""
        topic, index = (
            VerdictTopic(self.broker, KAFKA.verdicts_topic),
            OpenSearchSink(self.search, self.settings.opensearch),
        )
        for verdict in verdicts:
            for sink in (topic, index):
                sink.write(verdict)
                sink.flush()

    def work(self, settings: Settings | None = None, **observers: Callable[..., None]) -> bool:
        """Lets a worker take all messages of the topic once; returns whether its flush succeeded."""
        with wiring.open_worker(settings or self.settings, **observers) as worker:
            for number in range(3):
                worker.handle(self.broker.read(KAFKA.topic, number))
            return worker.flush()

    def letters(self) -> list[str]:
        """The reasons of the dead letters."""
        return [dict(record.headers)["triage.reason"].decode() for record in self.broker.read(KAFKA.dead_topic, 0)]


@pytest.fixture
def settings(tmp_path: Path, bundle_path: Path) -> Settings:
    return Settings(
        bundle=str(bundle_path),
        sinks=("archive", "store", "opensearch", "kafka"),
        archive=ArchiveSettings(folder=tmp_path / "archive"),
        store=StoreSettings(path=tmp_path / "verdicts.sqlite"),
        alerts=AlertSettings(path=tmp_path / "alerts.sqlite"),
    )


@pytest.fixture
def servers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Servers:
    made = Servers(settings)
    for module in (operations, forgetting, replaying, wiring):
        monkeypatch.setattr(module, "KafkaBroker", lambda _: made.broker)
    for module in (operations, forgetting, replaying, wiring, opensearch_setup):
        monkeypatch.setattr(module, "OpenSearchClient", lambda _: made.search)
    return made


class TestSetUpKafka:
    ALL = (KAFKA.topic, KAFKA.runs_topic, KAFKA.verdicts_topic, KAFKA.provisional_topic, KAFKA.dead_topic)

    def test_missing_topics_are_created_once(self, servers: Servers, settings: Settings) -> None:
        """A dry run names them and creates none; the dead letters have one partition."""
        servers.broker = MemoryBroker()
        for dry_run, expected in ((True, list(self.ALL)), (False, list(self.ALL)), (False, [])):
            assert operations.setup_kafka(settings, 4, dry_run=dry_run) == expected
            assert bool(servers.broker.partitions(self.ALL)) != dry_run
        assert servers.broker.partitions(self.ALL) == {**dict.fromkeys(self.ALL, 4), KAFKA.dead_topic: 1}

    def test_the_run_log_gets_as_many_partitions_as_the_topic(self, servers: Servers, settings: Settings) -> None:
        """Whatever number is asked for: partition n of it describes partition n of the topic."""
        servers.broker = MemoryBroker([Topic(KAFKA.topic, 7, {})])
        assert operations.setup_kafka(settings, 4) == list(self.ALL[1:])
        made = servers.broker.partitions(self.ALL)
        assert (made[KAFKA.topic], made[KAFKA.runs_topic], made[KAFKA.verdicts_topic]) == (7, 7, 4)

    def test_the_run_log_grows_with_the_topic(self, servers: Servers, settings: Settings) -> None:
        """What a dry run says is done by the next one, once; other topics keep their partitions."""
        servers.broker.grow(KAFKA.topic, 5)
        grown = [f"{KAFKA.runs_topic}, partitions 3 to 4"]
        for dry_run, expected, partitions in ((True, grown, 3), (False, grown, 5), (False, [], 5)):
            assert operations.setup_kafka(settings, 4, dry_run=dry_run) == expected
            assert servers.broker.partitions([KAFKA.runs_topic])[KAFKA.runs_topic] == partitions
        assert servers.broker.partitions([KAFKA.verdicts_topic])[KAFKA.verdicts_topic] == 3

    def test_definitions(self) -> None:
        """Large messages fit; verdicts are kept for ever, ended runs for `closed_hours`, dead letters for two weeks."""
        made = {topic.name: topic.config for topic in topics(Settings(kafka=KafkaSettings(closed_hours=100)), 1)}
        assert {config["max.message.bytes"] for config in made.values()} == {str(16 << 20)}
        hour = 3_600_000
        assert made[KAFKA.runs_topic]["cleanup.policy"] == "compact,delete"
        assert made[KAFKA.verdicts_topic]["cleanup.policy"] == "compact"
        assert {name: int(config["retention.ms"]) // hour for name, config in made.items() if "retention.ms" in config} == {
            KAFKA.runs_topic: 100,
            KAFKA.provisional_topic: 6,
            KAFKA.dead_topic: 336,
        }


class TestCheckTopics:
    def test_all_there(self, servers: Servers, settings: Settings) -> None:
        assert operations.ask_kafka(settings)[KAFKA.topic] == 3

    @pytest.mark.parametrize(
        ("missing", "changes", "needed"),
        [
            (KAFKA.topic, {}, True),
            (KAFKA.runs_topic, {}, True),
            (KAFKA.dead_topic, {}, True),
            (KAFKA.verdicts_topic, {}, True),
            (KAFKA.verdicts_topic, {"sinks": ("store",)}, False),
            (KAFKA.provisional_topic, {}, False),
            (KAFKA.provisional_topic, {"provisional": ProvisionalSettings(every_seconds=1)}, True),
        ],
    )
    def test_a_missing_topic(self, settings: Settings, missing: str, changes: dict[str, object], needed: bool) -> None:
        """It is named with the remedy if a worker with these settings needs it."""
        settings = settings.model_copy(update=changes)
        broker = MemoryBroker([topic for topic in topics(settings, 3) if topic.name != missing])
        if needed:
            with pytest.raises(SettingsError, match=rf"no topic {missing}, .*`stream-triage setup kafka`"):
                check_topics(settings, broker)
        else:
            assert missing not in check_topics(settings, broker)

    @pytest.mark.parametrize(("partitions", "fits"), [(2, False), (3, True), (4, True)])
    def test_partitions_of_the_run_log(self, settings: Settings, partitions: int, fits: bool) -> None:
        """It needs at least as many as the topic has."""
        wanted = topics(settings, 3)
        broker = MemoryBroker(
            [topic._replace(partitions=partitions) if topic.name == KAFKA.runs_topic else topic for topic in wanted]
        )
        if fits:
            assert check_topics(settings, broker)[KAFKA.runs_topic] == partitions
        else:
            with pytest.raises(SettingsError, match=rf"{KAFKA.runs_topic} has 2 partitions, .*setup kafka` adds them"):
                check_topics(settings, broker)


class TestSetUpOpenSearch:
    def test_what_the_sink_needs_is_created_once(self, servers: Servers, settings: Settings, bundle: Bundle) -> None:
        """Nothing in a dry run; the templates of the bundle are listed; plugins that are missing are named."""
        servers.search = MemorySearchServer()
        planned = operations.setup_opensearch(settings, dry_run=True)
        with pytest.raises(StoreError, match="no index template triage-verdicts"):
            operations.ask_opensearch(settings)
        made = operations.setup_opensearch(settings)
        assert (made.done, made.failed) == (planned.done, [])
        assert made.done[-1].endswith(f"templates of bundle {bundle.card.name} {bundle.card.version} to triage-templates")
        assert [reason.partition(":")[0] for reason in made.skipped] == [
            "retention of verdicts",
            "retention of lines and workers",
            "monitors",
            "dashboards",
        ]
        operations.ask_opensearch(settings)
        assert operations.setup_opensearch(settings).done == []

    def test_rejected_templates(self, servers: Servers, settings: Settings) -> None:
        servers.search.item_response = lambda document: Response(400, "mapper_parsing_exception")
        with pytest.raises(StoreError, match=r"rejected \d+ templates: mapper_parsing_exception"):
            operations.setup_opensearch(settings)


class TestWorker:
    def send(self, servers: Servers, run_id: str) -> None:
        servers.broker.send(
            [Outgoing(KAFKA.topic, run_id.encode(), TEXT, (("seq", b"0"), ("end", b"1"), ("run.sources", b"1")))]
        )

    def test_a_verdict_goes_to_every_sink(self, servers: Servers, settings: Settings) -> None:
        """And to the caller; metrics count it."""
        seen: list[Verdict] = []
        self.send(servers, "night/1")
        assert servers.work(on_verdict=seen.append)
        assert [verdict.run_id for verdict in seen] == ["night/1"]
        assert list(servers.verdicts()) == [b"night/1"]
        assert servers.indexed() == ["night/1"]
        with wiring.open_store(settings) as store, TextArchive(settings.archive).open("night/1") as text:
            assert (store.get("night/1").label, text.line_count("")) == (seen[0].label, 6)

    def test_a_rejected_document_is_a_dead_letter(self, servers: Servers) -> None:
        """The flush succeeds: the letter is durable, and the run is in the other sinks."""
        reason = "mapper_parsing_exception: failed to parse"
        servers.search.item_response = lambda document: Response(400, reason) if "verdicts" in document.index else None
        self.send(servers, "night/1")
        assert servers.work()
        assert servers.letters() == [reason]
        assert list(servers.verdicts()) == [b"night/1"]

    def test_a_busy_server_fails_the_flush_at_once(self, servers: Servers) -> None:
        """The sink does not retry by itself, since the worker does; nothing becomes a dead letter."""
        servers.search.item_response = lambda document: Response(429, "rejected_execution_exception")
        self.send(servers, "night/1")
        with wiring.open_worker(servers.settings) as worker:
            for number in range(3):
                worker.handle(servers.broker.read(KAFKA.topic, number))
            assert not worker.flush()
            assert (worker.positions, servers.letters()) == ({}, [])
            servers.search.item_response = lambda document: None
            assert worker.flush()

    def test_an_identity_in_a_key_is_rejected(self, servers: Servers) -> None:
        """Without pseudonyms, two such runs would become one; the letter names the remedy."""
        self.send(servers, "imsi=001010123456789")
        assert servers.work()
        (reason,) = servers.letters()
        assert reason == "the key holds an identity or a secret; set redaction.pseudonym_key, or name runs otherwise"

    def test_it_waits_for_its_servers(
        self, servers: Servers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """First for Kafka, then for OpenSearch; the log says for which one, and why."""
        caplog.set_level("INFO")
        request = servers.search.request
        away = ["Kafka", "Kafka", "OpenSearch"]

        class Clock(FakeClock):
            def sleep(self, seconds: float) -> None:
                super().sleep(seconds)
                away.pop(0)
                servers.broker.available = "Kafka" not in away

        def respond(method: str, path: str, body: object = None) -> dict[str, object]:
            if away:
                raise ResponseError("OpenSearch at lab:9200 does not respond as expected: status 503", 503)
            return request(method, path, body)

        monkeypatch.setattr(process, "SystemClock", Clock)
        monkeypatch.setattr(servers.search, "request", respond)
        servers.broker.available = False
        with wiring.open_worker(servers.settings):
            pass
        assert [line.getMessage().partition(":")[0].partition(",")[0] for line in caplog.records] == [
            "waiting for Kafka", "Kafka answers again", "waiting for OpenSearch", "OpenSearch answers again"
        ]  # fmt: skip

    @pytest.mark.parametrize("status", [401, 403])
    def test_it_does_not_wait_for_another_password(
        self, servers: Servers, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        """A worker that starts all the same would be silent until its first verdict."""

        def refuse(*_: object) -> None:
            raise ResponseError("check opensearch.user and opensearch.password", status)

        monkeypatch.setattr(servers.search, "request", refuse)
        with pytest.raises(StoreError, match=r"opensearch\.password"), wiring.open_worker(servers.settings):
            pass

    def test_no_worker_without_index_templates(self, servers: Servers) -> None:
        servers.search = MemorySearchServer()
        with pytest.raises(StoreError, match="setup opensearch"), wiring.open_worker(servers.settings):
            pass

    def test_a_topic_that_has_grown_before_the_start(self, servers: Servers) -> None:
        """The worker gives the run log as many partitions."""
        servers.broker.grow(KAFKA.topic, 5)
        with wiring.open_worker(servers.settings):
            assert servers.broker.partitions([KAFKA.runs_topic]) == {KAFKA.runs_topic: 5}

    def test_without_the_right_it_says_who_adds_partitions(self, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
        servers.broker.grow(KAFKA.topic, 5)

        def refuse(topic: str, partitions: int) -> None:
            raise StoreError("TopicAuthorizationFailedError; the user lacks a right")

        monkeypatch.setattr(servers.broker, "grow", refuse)
        with pytest.raises(SettingsError, match="run `stream-triage setup kafka`"), wiring.open_worker(servers.settings):
            pass

    def test_no_worker_without_its_topics(self, servers: Servers, settings: Settings) -> None:
        servers.broker = MemoryBroker()
        with pytest.raises(SettingsError, match="setup kafka"), wiring.open_worker(settings):
            pass

    @pytest.mark.parametrize(
        ("limits", "wanted"),
        [
            ((1024, 4096), (4096, 4096)),
            ((1024, 1 << 20), (65_536, 1 << 20)),
            ((1024, resource.RLIM_INFINITY), (65_536, resource.RLIM_INFINITY)),
            ((70_000, 1 << 20), (70_000, 1 << 20)),
            ((4096, 4096), None),
        ],
    )
    def test_it_may_open_many_files(
        self,
        servers: Servers,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        limits: tuple[int, int],
        wanted: tuple[int, int] | None,
    ) -> None:
        """Each large open run has a file. The limit is raised as far as is allowed, and never lowered."""
        from stream_triage.sources import kafka

        changed: list[tuple[int, int]] = []
        started: list[object] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
        monkeypatch.setattr(resource, "setrlimit", lambda _, pair: changed.append(pair))
        monkeypatch.setattr(kafka, "consume", lambda *arguments: started.append(arguments))
        operations.run_worker(settings)
        assert changed == ([wanted] if wanted else [])
        assert len(started) == 1

    @pytest.mark.parametrize("asked", [True, False])
    def test_a_server_that_is_away_when_it_stops(
        self, servers: Servers, settings: Settings, monkeypatch: pytest.MonkeyPatch, asked: bool
    ) -> None:
        """A worker that was asked to stop has no error: what it cannot write any more is read again by the next one."""
        from stream_triage.sources import kafka

        def consume(settings: object, worker: object, clock: object, watched: process.WatchedProcess) -> None:
            if asked:
                watched.ending("SIGTERM", 0)

        def away(sink: object) -> None:
            raise ServerAway("OpenSearch does not respond")

        monkeypatch.setattr(kafka, "consume", consume)
        monkeypatch.setattr(threading.Timer, "start", lambda timer: None)
        monkeypatch.setattr(TextArchive, "close", away)
        if asked:
            operations.run_worker(settings)
        else:
            with pytest.raises(ServerAway):
                operations.run_worker(settings)


class TestCanary:
    @pytest.fixture
    def working(self, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> list[Settings | None]:
        """Settings of workers, the first of which works during the first wait of the canary, and so on."""
        workers: list[Settings | None] = []

        class Clock(FakeClock):
            def sleep(self, seconds: float) -> None:
                super().sleep(seconds)
                if workers and (worker := workers.pop(0)):
                    servers.work(worker)

        monkeypatch.setattr(operations, "SystemClock", Clock)
        return workers

    def sightings(self, settings: Settings) -> list[tuple[Sighting, bool]]:
        return list(operations.canary(settings, 10))

    def test_the_expected_verdict(self, servers: Servers, settings: Settings, working: list[Settings | None]) -> None:
        """In the topic and in the index, as soon as a worker has judged the run. Other verdicts are ignored."""
        servers.write(make_verdict("other", passed=False))
        working += [None, settings]
        made = self.sightings(settings)
        assert [(sighting.location, sighting.seconds, right) for sighting, right in made] == [
            (f"topic {KAFKA.verdicts_topic}", 1.0, True),
            ("index triage-verdicts-*", 1.0, True),
        ]
        assert {sighting.verdict.headers["test.case.name"] for sighting, _ in made if sighting.verdict} == {"canary"}

    def test_no_worker(self, servers: Servers, settings: Settings, working: list[Settings | None]) -> None:
        """Patience ends, and no verdict is there."""
        made = self.sightings(settings)
        assert [(sighting.seconds, sighting.verdict, right) for sighting, right in made] == [(10.0, None, False)] * 2

    def test_another_verdict(
        self, servers: Servers, settings: Settings, working: list[Settings | None], tmp_path: Path
    ) -> None:
        """A worker with other rules is found out."""
        rules = tmp_path / "rules.toml"
        rules.write_text('[[rule]]\nname = "odd"\npattern = "GVER"\nlabel = "L3"\nveto = true\n')
        working.append(settings.model_copy(update={"rules": rules}))
        made = self.sightings(settings)
        assert [(sighting.verdict is not None, right) for sighting, right in made] == [(True, False)] * 2

    def test_it_looks_only_into_the_sinks(
        self, servers: Servers, settings: Settings, working: list[Settings | None]
    ) -> None:
        working.append(settings)
        (made,) = self.sightings(settings.model_copy(update={"sinks": ("opensearch",)}))
        assert (made[0].location, made[1]) == ("index triage-verdicts-*", True)
        with pytest.raises(SettingsError, match="neither is among the sinks"):
            self.sightings(settings.model_copy(update={"sinks": ("store",)}))


class TestReplay:
    MESSAGE = DeadLetter("message", "no key", "triage.logs/0/0", b"a", b"line\n", (("seq", b"0"),))
    RUN = DeadLetter("run", "not judged: x", "r", b"r", None)
    COPY = "left: another copy of a letter that is or was dealt with"

    @pytest.fixture
    def document(self, servers: Servers, settings: Settings) -> DeadLetter:
        """A verdict that the index has rejected before."""
        letters: list[DeadLetter] = []
        servers.search.item_response = lambda document: Response(400, "bad mapping")
        sink = OpenSearchSink(servers.search, settings.opensearch, on_rejected=letters.append)
        sink.write(make_verdict("night/1"))
        sink.flush()
        servers.search.item_response = lambda document: None
        return letters[0]

    def keep(self, servers: Servers, *letters: DeadLetter) -> None:
        topic = DeadLetterTopic(servers.broker, KAFKA.dead_topic)
        for letter in letters:
            topic.put(letter)
        topic.flush()

    def sent(self, servers: Servers) -> list[tuple[bytes | None, bytes | None, object]]:
        records = [record for number in range(3) for record in servers.broker.read(KAFKA.topic, number)]
        return [(record.key, record.value, record.headers) for record in records]

    def test_each_letter_is_sent_once(self, servers: Servers, settings: Settings, document: DeadLetter) -> None:
        """As it came, with its origin: messages to their topic, documents to their index. What is named only stays."""
        self.keep(servers, self.MESSAGE, document, self.RUN)
        expected = {"sent: no key": 1, "sent: bad mapping": 1, "left: not judged: x": 1}
        assert replaying.replay_dead(settings, dry_run=True) == expected
        assert (self.sent(servers), servers.indexed()) == ([], [])
        assert replaying.replay_dead(settings) == expected
        headers = (("seq", b"0"), ("triage.origin", b"triage.logs/0/0"), ("triage.replayed", b"1"))
        assert self.sent(servers) == [(b"a", b"line\n", headers)]
        assert servers.indexed() == ["night/1"]
        assert replaying.replay_dead(settings) == {}

    def test_copies_are_sent_once(self, servers: Servers, settings: Settings) -> None:
        """In one call, and over calls; of several copies, the last one."""
        self.keep(servers, self.MESSAGE._replace(value=b"earlier\n"), self.MESSAGE, self.MESSAGE)
        assert replaying.replay_dead(settings) == {"sent: no key": 1, self.COPY: 2}
        self.keep(servers, self.MESSAGE)
        assert replaying.replay_dead(settings) == {self.COPY: 1}
        assert [value for _, value, _ in self.sent(servers)] == [b"line\n"]

    def test_a_message_that_is_rejected_again_is_sent_again(self, servers: Servers, settings: Settings) -> None:
        """Once for each rejection, with its first origin."""
        self.keep(servers, self.MESSAGE)
        replaying.replay_dead(settings)
        self.keep(servers, self.MESSAGE._replace(replays=1), self.MESSAGE._replace(replays=1))
        assert replaying.replay_dead(settings) == {"sent: no key": 1, self.COPY: 1}
        assert [dict(headers)["triage.replayed"] for _, _, headers in self.sent(servers)] == [b"1", b"2"]

    def test_messages_are_sent_in_their_order(self, servers: Servers, settings: Settings) -> None:
        """Not in that of their rejection: a message that was held is rejected late."""
        self.keep(servers, *(self.MESSAGE._replace(origin=f"triage.logs/0/{offset}") for offset in (9, 10, 3)))
        replaying.replay_dead(settings)
        assert [dict(headers)["triage.origin"][-2:] for _, _, headers in self.sent(servers)] == [b"/3", b"/9", b"10"]

    def test_messages_are_sent_to_the_partition_of_their_run(self, servers: Servers, settings: Settings) -> None:
        """Not to that of their key, which is another one when the topic has grown. The topic may be a smaller one by now."""
        self.keep(servers, *(self.MESSAGE._replace(origin=f"triage.logs/{number}/7") for number in (0, 1, 2, 2_000)))
        replaying.replay_dead(settings)
        places = [
            (dict(record.headers)["triage.origin"], number)
            for number in range(3)
            for record in servers.broker.read(KAFKA.topic, number)
        ]
        assert {(b"triage.logs/%d/7" % number, number) for number in range(3)} <= set(places)
        assert len(places) == 4

    def test_letters_of_other_programs_are_no_copies(self, servers: Servers, settings: Settings) -> None:
        self.keep(servers, self.MESSAGE._replace(origin=""), self.MESSAGE._replace(origin=""))
        assert replaying.replay_dead(settings) == {"sent: no key": 2}

    def test_what_came_too_late_stays(self, servers: Servers, settings: Settings) -> None:
        """It would be late again. Asked for, it is sent once, also if an earlier call left it."""
        late = self.MESSAGE._replace(reason=RUN_ENDED)
        self.keep(servers, late)
        assert replaying.replay_dead(settings) == {replaying.LATE: 1}
        assert replaying.replay_dead(settings) == {}
        assert replaying.replay_dead(settings, reason="has ended") == {f"sent: {RUN_ENDED}": 1}
        self.keep(servers, late._replace(replays=1))
        again = {f"{replaying.LATE}, also when its lines were sent again": 1}
        assert replaying.replay_dead(settings, reason="has ended") == again
        assert replaying.replay_dead(settings, reason="has ended") == {}
        assert len(self.sent(servers)) == 1

    def test_forgotten_runs_stay(self, servers: Servers, settings: Settings, document: DeadLetter) -> None:
        """Their messages and documents; a message of a later run with this key is sent."""
        self.keep(servers, self.MESSAGE, self.MESSAGE._replace(origin="triage.logs/0/9"), document)
        log = RunLogTopic(servers.broker, KAFKA.runs_topic, "another group", KAFKA.topic)
        for mark in ForgottenRun("a@4", 5), ForgottenRun("night/1", 5):
            log.put_forgotten(0, mark)
        log.flush()
        assert replaying.replay_dead(settings) == {"left: its run was forgotten": 2, "sent: no key": 1}
        assert servers.indexed() == []

    def test_only_those_with_a_reason(self, servers: Servers, settings: Settings) -> None:
        """The others stay, and are not looked at again."""
        self.keep(servers, self.MESSAGE, self.MESSAGE._replace(reason="it is odd", origin="triage.logs/0/1"))
        assert replaying.replay_dead(settings, reason="is odd") == {"left: no key": 1, "sent: it is odd": 1}
        assert (len(self.sent(servers)), replaying.replay_dead(settings)) == (1, {})

    def test_documents_stay_without_a_search_server(
        self, servers: Servers, settings: Settings, document: DeadLetter
    ) -> None:
        self.keep(servers, document)
        only_kafka = settings.model_copy(update={"sinks": ("kafka",)})
        assert replaying.replay_dead(only_kafka) == {"left: bad mapping": 1}
        assert servers.indexed() == []

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_a_document_without_an_index_stays(self, servers: Servers, settings: Settings, dry_run: bool) -> None:
        self.keep(servers, DeadLetter("document", "odd", "nowhere", b"a", b"{}"))
        assert replaying.replay_dead(settings, dry_run=dry_run) == {"left: odd": 1}

    def test_a_document_that_is_rejected_again(self, servers: Servers, settings: Settings, document: DeadLetter) -> None:
        """It stays, and is counted by its new reason."""
        self.keep(servers, document)
        servers.search.item_response = lambda document: Response(400, "still bad")
        assert replaying.replay_dead(settings) == {"left: still bad": 1}

    def test_a_busy_server_leaves_all_for_the_next_time(
        self, servers: Servers, settings: Settings, document: DeadLetter
    ) -> None:
        """No message is sent and the position stays, so that repeating does both."""
        self.keep(servers, self.MESSAGE, document)
        servers.search.item_response = lambda document: Response(429, "rejected_execution_exception")
        with pytest.raises(StoreError, match="too busy to take documents; repeat"):
            replaying.replay_dead(settings)
        assert self.sent(servers) == []
        servers.search.item_response = lambda document: None
        assert replaying.replay_dead(settings) == {"sent: no key": 1, "sent: bad mapping": 1}

    def test_a_message_too_large_for_the_topic_stays(self, servers: Servers, settings: Settings) -> None:
        """It is counted as left, and the others are sent."""
        servers.broker = MemoryBroker([Topic(KAFKA.topic, 3, {"max.message.bytes": "150"}), Topic(KAFKA.dead_topic, 1, {})])
        self.keep(servers, self.MESSAGE, self.MESSAGE._replace(value=b"x" * 200, origin="triage.logs/0/1"))
        left = f"left: too large for the topic {KAFKA.topic}"
        assert replaying.replay_dead(settings) == {"sent: no key": 1, left: 1}
        assert len(self.sent(servers)) == 1

    def test_no_topic_of_dead_letters(self, servers: Servers, settings: Settings) -> None:
        servers.broker = MemoryBroker()
        assert replaying.replay_dead(settings) == {}


class TestForget:
    @pytest.fixture(autouse=True)
    def _runs(self, servers: Servers, settings: Settings) -> None:
        verdicts = [make_verdict(run_id) for run_id in ("night/1", "night/2")]
        servers.write(*verdicts)
        with wiring.open_sinks(settings, ("archive", "store")) as sinks:
            for verdict in verdicts:
                with SpillSpool(verdict.run_id) as text:
                    text.append("", ["line"])
                    for sink in sinks:
                        sink.write(verdict, text)

    def forget(self, settings: Settings, run_id: str) -> object:
        with wiring.open_store(settings) as store:
            return next(forgetting.forget(settings, store, [run_id]))

    def left(self, settings: Settings) -> Iterator[str]:
        with wiring.open_store(settings) as store:
            yield from (run.run_id for run in store.runs())

    def test_servers_forget_too(self, servers: Servers, settings: Settings) -> None:
        """The index has no document of the run any more; in the topic, an empty message marks it for removal."""
        assert self.forget(settings, "ht/1") == "night/1"
        assert servers.indexed() == ["night/2"]
        assert [bool(value) for value in servers.verdicts().values()] == [False, True]
        assert list(self.left(settings)) == ["night/2"]

    @pytest.mark.parametrize(
        ("away", "named"),
        [
            ("search", "run 'night/1' is still in OpenSearch, the topic triage.verdicts, the archive, the store; repeat"),
            ("broker", "nothing of run 'night/1' was removed: the broker in memory is switched off"),
        ],
    )
    def test_nothing_local_is_removed_without_the_servers(
        self, servers: Servers, settings: Settings, away: str, named: str
    ) -> None:
        """Servers come first: as long as one does not respond, people still see the run; repeating finishes."""
        getattr(servers, away).available = False
        with pytest.raises(StoreError, match=named):
            self.forget(settings, "ht/1")
        assert list(self.left(settings)) == ["night/2", "night/1"]
        TextArchive(settings.archive).open("night/1").close()
        getattr(servers, away).available = True
        assert self.forget(settings, "ht/1") == "night/1"
        assert servers.indexed() == ["night/2"]

    def test_a_run_in_the_index_alone(self, servers: Servers, settings: Settings) -> None:
        """By its full id; without a store too."""
        servers.write(make_verdict("elsewhere"))
        assert self.forget(settings, "elsewhere") == "elsewhere"
        assert next(forgetting.forget(settings, None, ["night/2"])) == "night/2"
        assert servers.indexed() == ["night/1"]

    def marks(self, servers: Servers) -> list[list[ForgottenRun]]:
        log = RunLogTopic(servers.broker, KAFKA.runs_topic, KAFKA.group, KAFKA.topic)
        return [log.read(number).forgotten for number in range(3)]

    def test_workers_are_told(self, servers: Servers, settings: Settings) -> None:
        """In each partition, up to its end: a run that begins later under this id is another one."""
        servers.broker.send([Outgoing(KAFKA.topic, b"night/1", b"line\n", partition=1)] * 4)
        self.forget(settings, "ht/1")
        assert self.marks(servers) == [[ForgottenRun("night/1", end)] for end in (0, 4, 0)]

    def test_a_run_that_no_sink_has_is_marked_too(self, servers: Servers, settings: Settings) -> None:
        """It may be open, or its verdict on the way. Identities never get into the log."""
        unknown = self.forget(settings, "imsi-001010123456789")
        assert isinstance(unknown, RunNotFound)
        assert str(unknown).endswith("If the topic has a run with exactly this id, workers will not judge it")
        assert self.marks(servers) == [[ForgottenRun("imsi-<imsi>", 0)]] * 3

    def test_runs_from_files_are_not_marked(self, servers: Servers, settings: Settings) -> None:
        """No worker reads them, and Kafka need not respond."""
        with wiring.open_store(settings) as store:
            store.write(make_verdict("a.log#00000001", content="c"))
        self.forget(settings, "a.log#00000001")
        assert self.marks(servers) == [[]] * 3

    def test_a_run_log_with_too_few_partitions(self, servers: Servers, settings: Settings) -> None:
        """Nothing is removed while a worker could judge the run again."""
        servers.broker = MemoryBroker([Topic(KAFKA.topic, 3, {}), Topic(KAFKA.runs_topic, 2, {})])
        with pytest.raises(
            StoreError, match=r"nothing of run 'night/1' was removed: topic triage.runs has 2 .*Add partitions"
        ):
            self.forget(settings, "ht/1")
        assert list(self.left(settings)) == ["night/2", "night/1"]

    def test_says_when_a_run_may_come_back(self, servers: Servers, settings: Settings) -> None:
        """The topic cannot be seen, or the settings name none and the run did not come from a file."""
        troubles: list[str] = []
        servers.broker = MemoryBroker([Topic(KAFKA.verdicts_topic, 1, {})])
        with wiring.open_store(settings) as store:
            list(forgetting.forget(settings, store, ["night/1"], on_trouble=troubles.append))
            store.write(make_verdict("night/3", started=datetime(2026, 11, 1, tzinfo=UTC)))
            store.flush()
            local = settings.model_copy(update={"sinks": ("archive", "store")})
            list(forgetting.forget(local, store, ["night/2", "night/3"], on_trouble=troubles.append))
        assert [text.split(" or ")[0] for text in troubles] == [
            "Kafka has no topic triage.logs,",
            "night/3 came from a topic",
        ]

    def test_says_what_it_does_not_reach(self, settings: Settings, tmp_path: Path) -> None:
        """Lines in topics, JSON lines, provisional verdicts; nothing if the settings name none of these."""
        changes = {"jsonl": JsonlSettings(path=tmp_path / "a.jsonl"), "provisional": ProvisionalSettings(every_seconds=1)}
        (tmp_path / "a.jsonl").touch()
        reached = settings.model_copy(update={**changes, "sinks": ("kafka", "jsonl")})
        assert [text.split(" ", 1)[0] for text in forgetting.not_reached(reached)] == [
            "log",
            "provisional",
            str(tmp_path / "a.jsonl"),
        ]
        assert forgetting.not_reached(settings.model_copy(update={"sinks": ("store",)})) == []


class TestIndex:
    def test_runs_of_an_index_are_judged_by_the_settings(self, servers: Servers, settings: Settings) -> None:
        """The source reads text and time from the fields that the settings name."""
        named = OpenSearchSettings(text_field="log.text", time_field="time")
        mapping = {"properties": {"time": {"type": "date"}, "run": {"type": "keyword"}, "log.text": {"type": "text"}}}
        servers.search.request("PUT", "logs", {"mappings": mapping})
        fields = {"time": "2026-03-01T12:00:00Z", "run": "night/1", "log": {"text": "one line"}}
        servers.search.bulk([Document.from_fields("logs", "1", 1, fields)])
        servers.search.request("POST", "logs/_refresh")
        source = wiring.open_index_source(
            settings.model_copy(update={"opensearch": named}), "logs", "run", "2026-03-01..2026-03-02"
        )
        events: list[object] = []
        source.run(events.append)
        assert {getattr(event, "run_id", None) for event in events} >= {"night/1"}
