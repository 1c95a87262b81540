"""Commands that ask real servers: what they make, send again and remove."""

import time
from collections.abc import Callable

import pytest

from stream_triage.clients.kafka import KafkaBroker
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.records import DeadLetter
from stream_triage.settings import OpenSearchSettings
from stream_triage.sinks.dead_letters import DeadLetterTopic
from stream_triage.sinks.opensearch import OpenSearchSink
from tests.commands import call
from tests.services.farm import Farm, Message, expected, interleaved, sample_runs, until
from tests.services.servers import OpenSearchServer
from tests.verdicts import kept, make_verdict

pytestmark = pytest.mark.service

MakeFarm = Callable[..., Farm]
NOTHING = {"lost": [], "doubled": [], "different": []}


class TestSetUp:
    def test_topics(self, make_farm: MakeFarm, prefix: str):
        """What is missing is made, once; a worker can begin then, and `check` says so."""
        farm = make_farm()
        names = {
            name: f"{prefix}.new.{name}"
            for name in ("topic", "verdicts_topic", "provisional_topic", "runs_topic", "dead_topic")
        }
        farm.kafka = farm.kafka.model_copy(update=names)
        settings = farm.settings()
        planned = call("setup", "kafka", "-c", settings, "--partitions", "3", "--dry-run")
        assert sorted(planned.out.split()[3::4]) == sorted(names.values())
        assert call("check", "-c", settings).code == 2
        assert call("setup", "kafka", "-c", settings, "--partitions", "3").code == 0
        assert call("setup", "kafka", "-c", settings) == (0, "all topics exist\n", "")
        with KafkaBroker(farm.admin) as broker:
            assert broker.partitions(list(names.values()))[names["topic"]] == 3
        assert call("check", "-c", settings).code == 0


class TestCanary:
    def test_right_none_and_wrong(self, make_farm: MakeFarm, opensearch: OpenSearchServer):
        """The right verdict in each place; none without a worker; another where the worker has other rules."""
        farm = make_farm()
        farm.use_opensearch(opensearch)
        silent = call("canary", "-c", farm.settings(), "--seconds", "2")
        assert silent.code == 1
        assert silent.out.count("is a worker running?") == 2
        with farm.worker():
            alive = call("canary", "-c", farm.settings())
            assert (alive.code, alive.out.count("alive"), alive.out.count("the expected verdict after")) == (0, 2, 2)
            rules = farm.folder / "rules.toml"
            rules.write_text('[[rule]]\nname = "odd"\npattern = "GVER"\nlabel = "L3"\nveto = true\n')
            other = call("canary", "-c", farm.settings(), "--rules", rules)
            assert other.code == 1
            assert other.out.count("the same bundle, rules and dialects") == 2
        opensearch.ask(f"{farm.kafka.group}-workers-*/_refresh", method="POST")
        found = opensearch.ask(f"{farm.kafka.group}-workers-*/_search")["hits"]["hits"]
        assert [hit["_source"]["triage"]["verdicts"] for hit in found] == [3], "the worker reported when it ended"

    def test_places_are_needed(self, make_farm: MakeFarm):
        farm = make_farm()
        farm.sinks = ["store"]
        assert "neither is among the sinks" in call("canary", "-c", farm.settings()).err


class TestReplay:
    def test_messages_go_through_the_worker(self, make_farm: MakeFarm):
        """Refused since the worker expected JSON; sent again when it expects text: the verdicts are those of the files."""
        farm, runs = make_farm(format="json", idle_seconds=3), sample_runs(4)
        farm.send(messages := interleaved(runs, end=False, seq=False))
        with farm.worker():
            until(farm.everything_committed, 30, "all are refused")
        why = f"{len(messages):6d}  sent: the message is not JSON; kafka.format says it should be\n"
        assert call("replay-dead", "-c", farm.settings(), "--dry-run").out == why
        farm.kafka = farm.kafka.model_copy(update={"format": "text"})
        with farm.worker():
            assert call("replay-dead", "-c", farm.settings(), "--reason", "not JSON").out == why
            until(lambda: farm.count_stored() == len(runs), 30, "all runs have verdicts")
        assert farm.differences(expected(runs)) == NOTHING

    def test_twice_sends_once(self, make_farm: MakeFarm):
        farm = make_farm()
        farm.send([Message(None, b"%d\n" % number) for number in range(8)])
        with farm.worker():
            until(lambda: len(farm.read(farm.kafka.dead_topic)) == 8, 30, "all are dead letters")
        assert call("replay-dead", "-c", farm.settings()).out.startswith("     8  sent: no key")
        assert call("replay-dead", "-c", farm.settings()).out == "there are no new dead letters\n"
        assert sum(farm.ends().values()) == 16

    def test_documents_go_to_their_index(self, make_farm: MakeFarm, opensearch: OpenSearchServer):
        """Once the mapping is mended; what is refused again is left, and said."""
        farm, letters = make_farm(), []
        farm.use_opensearch(opensearch)
        settings = OpenSearchSettings.model_validate(farm.more_settings["opensearch"])
        wrong = {"mappings": {"properties": {"triage": {"properties": {"label": {"type": "integer"}}}}}}
        index = f"{farm.kafka.group}-verdicts-{time.strftime('%Y.%m')}"
        opensearch.ask(index, wrong, "PUT")
        with (
            OpenSearchClient(settings) as server,
            OpenSearchSink(server, settings, on_rejected=letters.append) as sink,
        ):
            sink.write(make_verdict("night/1"))
        with KafkaBroker(farm.admin) as broker:
            topic = DeadLetterTopic(broker, farm.kafka.dead_topic)
            for letter in (*letters, DeadLetter("run", "not judged: x", "r", b"r", None)):
                topic.put(letter)
            topic.flush()
        opensearch.ask(index, method="DELETE")
        sent = call("replay-dead", "-c", farm.settings())
        assert [line.split()[1] for line in sent.out.splitlines()] == ["left:", "sent:"]
        assert list(farm.indexed()) == ["night/1"]


class TestForget:
    def test_everywhere(self, make_farm: MakeFarm, opensearch: OpenSearchServer):
        """Gone from store, index and topic; JSON lines are left, and that is said. Other runs stay."""
        farm, runs = make_farm(), sample_runs(2)
        farm.use_opensearch(opensearch)
        farm.send(interleaved(runs))
        with farm.worker():
            until(lambda: farm.count_stored() == 2, 60)
        gone, stays = (run.run_id for run in runs)
        forgotten = call("forget", "-c", farm.settings(), gone, "unknown")
        assert forgotten.code == 2
        assert forgotten.notes[0] == f"forgot {gone}"
        assert str(farm.jsonl_path) in forgotten.notes[-1]
        assert list(farm.stored()) == list(farm.indexed()) == [stays]
        last = {record.key: record.value for record in farm.read(farm.kafka.verdicts_topic)}
        assert last[gone.encode()] is None
        assert last[stays.encode()]
        opensearch.ask(f"{farm.kafka.group}-lines-*/_refresh", method="POST")
        found = opensearch.ask(f"{farm.kafka.group}-lines-*/_count", {"query": {"term": {"triage.run.id": gone}}})
        assert found["count"] == 0

    def test_without_a_store(self, make_farm: MakeFarm, opensearch: OpenSearchServer):
        farm = make_farm()
        farm.sinks = []
        farm.use_opensearch(opensearch)
        settings = OpenSearchSettings.model_validate(farm.more_settings["opensearch"])
        with OpenSearchClient(settings) as server, OpenSearchSink(server, settings) as sink:
            sink.write(make_verdict("a", reduction=kept("x")))
        forgotten = call("forget", "-c", farm.settings(), "a")
        assert (forgotten.code, forgotten.notes[0]) == (0, "forgot a")
        assert f"stay in {farm.kafka.topic}" in forgotten.notes[1]
        assert call("forget", "-c", farm.settings(), "a").code == 2
        assert farm.indexed() == {}
