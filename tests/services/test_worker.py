"""The worker on a real broker: the same verdicts as from files, each once, whatever dies in between."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from aiokafka import AIOKafkaProducer

from stream_triage.clients.kafka import KafkaBroker, connection
from stream_triage.records import Verdict
from stream_triage.settings import KafkaSettings
from stream_triage.sinks.dead_letters import as_letter
from tests.commands import call
from tests.edges.proxy import behind_proxy
from tests.receiver import Receiver
from tests.services.farm import (
    BUNDLE,
    PARTITIONS,
    ROOT,
    Farm,
    Message,
    TestRun,
    expected,
    interleaved,
    messages_of,
    sample_runs,
    shifted,
    until,
)
from tests.services.servers import PASSWORD, USER, KafkaServer, OpenSearchServer, free_port

pytestmark = pytest.mark.service

MakeFarm = Callable[..., Farm]
# How long a server stands still; `make chaos` takes a minute.
AWAY_SECONDS = float(os.environ.get("STREAM_TRIAGE_AWAY_SECONDS", "8"))
NOTHING = {"lost": [], "doubled": [], "different": []}


def all_stored(farm: Farm, count: int) -> Callable[[], bool]:
    return lambda: farm.count_stored() >= count


def settle(farm: Farm, runs: list[TestRun], seconds: float = 60.0) -> None:
    """Waits until the store has a verdict on each run."""
    until(all_stored(farm, len(runs)), seconds, "all runs have verdicts")


class TestUndisturbed:
    def test_same_verdicts_as_from_files(self, make_farm: MakeFarm):
        """All sources interleaved, chunks and single lines: equal to the file path in every sink, all committed."""
        farm, runs = make_farm(), sample_runs(24)
        farm.send(interleaved(runs[:12]) + interleaved(runs[12:], lines=1))
        with farm.worker() as worker:
            settle(farm, runs)
            until(farm.everything_committed, 15, "everything is committed")
            assert worker.stop() == 0
        assert farm.differences(expected(runs)) == NOTHING

    @pytest.mark.slow
    def test_oai_runs(self, make_farm: MakeFarm, data_folder):
        """200 OpenAirInterface runs, their three sources interleaved."""
        from training.data import read_oai

        runs = [TestRun(run.run_id, run.sources) for run in read_oai(data_folder / "ran" / "oai_rfsim_runs.jsonl.xz")[:200]]
        farm = make_farm()
        farm.send(interleaved(runs, lines=100))
        with farm.worker():
            settle(farm, runs, 120)
        assert farm.differences(expected(runs)) == NOTHING

    def test_json_messages(self, make_farm: MakeFarm):
        """As Fluent Bit and Vector send them: one object a line."""
        farm, runs = make_farm(format="json", json_text="log.message", json_source="origin"), sample_runs(3)
        messages = []
        for message in interleaved(runs, lines=1, seq=False):
            fields = {"log": {"message": (message.value or b"").decode().rstrip("\n")}, "origin": message.headers["source"]}
            end = {"end": True} if message.headers.get("end") else {}
            if end:
                del fields["log"]
            messages.append(Message(message.key, json.dumps({**fields, **end}).encode()))
        farm.send(messages)
        with farm.worker():
            settle(farm, runs)
        stored, wanted = farm.stored(), expected(runs)
        assert {run: verdict.label for run, verdict in stored.items()} == {run: wanted[run].label for run in wanted}
        assert [stored[run].evidence for run in wanted] == [wanted[run].evidence for run in wanted]

    def test_idle_runs_end(self, make_farm: MakeFarm):
        """Without an end message a run is over when nothing came for the idle time; senders' clocks do not matter."""
        farm, runs = make_farm(idle_seconds=2), sample_runs(6)
        messages = interleaved(runs, end=False)
        half = len(messages) // 2
        farm.send(shifted(messages[:half], -90 * 60_000) + shifted(messages[half:], 30 * 60_000))
        with farm.worker():
            settle(farm, runs)
        assert farm.differences(expected(runs)) == NOTHING

    def test_transactions(self, make_farm: MakeFarm):
        """What a transaction writes at its end is not a message; runs end by silence all the same."""
        farm, runs = make_farm(idle_seconds=3), sample_runs(3)
        farm.send(interleaved(runs, end=False), transaction=True)
        with farm.worker():
            settle(farm, runs, 30)
        assert farm.differences(expected(runs)) == NOTHING


class TestAlerts:
    def test_a_hundred_alike_runs_make_one_message(self, make_farm: MakeFarm, receiver: tuple[type[Receiver], str]):
        """At a real HTTP receiver, from the thread of a real worker, which counts them too."""
        farm = make_farm()
        farm.sinks.append("alerts")
        handler, address = receiver
        farm.more_settings["alerts"] = {
            "path": str(farm.folder / "alerts.sqlite"), "gather_seconds": 15, "targets.default": [address]
        }  # fmt: skip
        folder = ROOT / "samples" / BUNDLE / "attach-rejected"
        sources = {file.stem: file.read_bytes() for file in folder.iterdir()}
        runs = [TestRun(f"night/{number}", sources) for number in range(100)]
        port = free_port()
        farm.more_settings["metrics"] = {"listen": f"127.0.0.1:{port}"}
        farm.send(interleaved(runs, lines=1000))
        with farm.worker():
            settle(farm, runs)
            until(lambda: bool(handler.got), 30, "the message has come")
            time.sleep(3)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                metrics = answer.read().decode()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready") as answer:
                assert answer.status == 200
        assert 'stream_triage_verdicts_total{label="L3",outcome="failed"} 100.0' in metrics
        assert "stream_triage_open_runs 0.0" in metrics
        (got,) = handler.got
        assert got["title"].startswith("L3: 100 runs, first night/")
        assert "registration reject" in got["message"].lower()


class TestLive:
    def test_verdicts_of_runs_that_go_on(self, make_farm: MakeFarm):
        """In the topic and in the store while lines come, and replaced by the final one, which is the same as ever."""
        farm, runs = make_farm(), sample_runs(3)
        farm.more_settings["provisional"] = {"every_seconds": 1}
        streams = [stream for run in runs for stream in messages_of(run)]
        with farm.worker():
            farm.send([stream[0] for stream in streams])
            until(lambda: farm.count_stored() == len(runs), 40, "the store has provisional verdicts")
            for number in range(1, max(map(len, streams)) - 1):
                farm.send([stream[number] for stream in streams if number < len(stream) - 1])
                time.sleep(0.3)
            time.sleep(1.5)
            so_far = farm.stored()
            assert not any(verdict.final for verdict in so_far.values())
            farm.send([stream[-1] for stream in streams])
            settle(farm, runs)
            until(lambda: all(verdict.final for verdict in farm.stored().values()), 20)
        assert farm.differences(expected(runs)) == NOTHING
        given = [Verdict.model_validate_json(record.value) for record in farm.read(farm.kafka.provisional_topic)]
        assert {verdict.run_id for verdict in given} == {run.run_id for run in runs}
        assert not any(verdict.final for verdict in given)
        for run in runs:
            versions = [verdict.version for verdict in given if verdict.run_id == run.run_id]
            assert versions == sorted(set(versions))
            assert len(versions) >= 2

    def test_a_run_that_is_certain_to_fail_is_reported(self, make_farm: MakeFarm, receiver: tuple[type[Receiver], str]):
        """By HTTP, once, with the lines that show it; the bundle's limits decide."""
        handler, url = receiver
        farm = make_farm()
        farm.more_settings["provisional"] = {"every_seconds": 1, "callback": url.replace("json://", "http://")}
        samples = ROOT / "samples" / "oai5g"
        runs = [
            TestRun(name, {file.stem: file.read_bytes() for file in sorted((samples / name).iterdir())})
            for name in ("prach-assert", "attach-pass")
        ]
        with farm.worker():
            for share in range(1, 11):
                messages = []
                for run in runs:
                    for source, text in run.sources.items():
                        lines = text.splitlines(keepends=True)
                        piece = lines[len(lines) * (share - 1) // 10 : len(lines) * share // 10]
                        messages.append(
                            Message(run.run_id.encode(), b"".join(piece), {"source": source, "testbed": "rack-1"})
                        )
                farm.send(messages)
                time.sleep(1.3)
            until(lambda: handler.got != [], 20, "the failing run was reported")
        assert [(got["run_id"], got["labels"]) for got in handler.got] == [("prach-assert", {"testbed": "rack-1"})]
        assert handler.got[0]["evidence"]
        given = [Verdict.model_validate_json(record.value) for record in farm.read(farm.kafka.provisional_topic)]
        assert {verdict.run_id for verdict in given if verdict.lost} == {"prach-assert"}


class TestDisturbed:
    def test_one_of_two_workers_dies_and_a_third_joins(self, make_farm: MakeFarm):
        """The other one takes over what was open, within 15 s of the death."""
        farm, runs = make_farm(), sample_runs(40)
        messages = interleaved(runs)
        third = len(messages) // 3
        with farm.worker() as first, farm.worker() as second:
            farm.send(messages[:third])
            until(lambda: bool(farm.committed()), 30, "both have begun")
            time.sleep(2)
            first.kill()
            farm.send(messages[third : 2 * third])
            with farm.worker() as late:
                farm.send(messages[2 * third :])
                settle(farm, runs, 45)
                assert (second.code, late.code) == (None, None)
        assert farm.differences(expected(runs)) == NOTHING

    def test_terminated_worker_leaves_at_once(self, make_farm: MakeFarm):
        """SIGTERM: exit status 0 within seconds, and the next one goes on."""
        farm, runs = make_farm(), sample_runs(12)
        messages = interleaved(runs)
        with farm.worker() as worker:
            farm.send(messages[: len(messages) // 2])
            until(lambda: "attach" in worker.text() or bool(farm.committed()), 30)
            began = time.monotonic()
            assert worker.stop() == 0
            assert time.monotonic() - began < 10
        farm.send(messages[len(messages) // 2 :])
        with farm.worker():
            settle(farm, runs)
        assert farm.differences(expected(runs)) == NOTHING

    def test_repeats_gaps_and_disorder(self, make_farm: MakeFarm):
        """Repeats and disorder change nothing; a gap is reported in the one verdict of its run."""
        farm, runs = make_farm(idle_seconds=3), sample_runs(9)
        messages = interleaved(runs, lines=10)
        missing = next(number for number, message in enumerate(messages) if message.headers["seq"] == "2")
        damaged = messages.pop(missing).key
        for index in range(0, len(messages) - 1, 7):
            messages[index], messages[index + 1] = messages[index + 1], messages[index]
            messages.insert(index, messages[index])
        farm.send(messages)
        with farm.worker():
            settle(farm, runs)
        wanted = expected(runs)
        verdict = farm.stored()[damaged.decode()]
        assert verdict.needs_review
        assert [p for s in verdict.sources for p in s.repairs.problems] == ["message 2 never came"]
        assert {key: len(verdicts) for key, verdicts in farm.topic_verdicts().items()} == {run.run_id: 1 for run in runs}
        del wanted[damaged.decode()]
        differences = farm.differences(wanted)
        assert (differences["lost"], differences["different"]) == ([], [])

    def test_broker_away(self, tmp_path, own_kafka: KafkaServer, prefix: str):
        """Stopped for a while, then killed: the worker goes on by itself when the broker is back."""
        farm, runs = Farm(tmp_path / "farm", own_kafka.bootstrap, prefix), sample_runs(12)
        messages = interleaved(runs)
        half = len(messages) // 2
        with farm.worker() as worker:
            farm.send(messages[:half])
            until(lambda: bool(farm.committed()), 30)
            own_kafka.pause()
            time.sleep(AWAY_SECONDS)
            own_kafka.resume()
            own_kafka.kill()
            time.sleep(2)
            own_kafka.start()
            farm.send(messages[half:])
            settle(farm, runs, 60)
            assert worker.code is None
        assert farm.differences(expected(runs)) == NOTHING

    def test_opensearch_away_and_slow(self, make_farm: MakeFarm, opensearch: OpenSearchServer):
        """Standing still for a while, every request ends in silence: all waits, nothing is committed unwritten."""
        farm, runs = make_farm(), sample_runs(12)
        farm.use_opensearch(opensearch, timeout_seconds=2)
        messages = interleaved(runs)
        with farm.worker() as worker:
            farm.send(messages[:100])
            opensearch.pause()
            try:
                farm.send(messages[100:])
                time.sleep(AWAY_SECONDS)
                assert "will be tried again" in worker.text()
                assert farm.committed() != farm.ends()
            finally:
                opensearch.resume()
            settle(farm, runs)
            until(farm.everything_committed, 30, "everything is committed")
            assert worker.code is None
        assert farm.differences(expected(runs)) == NOTHING

    def test_opensearch_responds_badly(self, make_farm: MakeFarm, opensearch: OpenSearchServer, prefix: str):
        """Too busy, out of order, not JSON, not a response to the request: the worker tries again until one is right."""
        farm, runs = make_farm(), sample_runs(12)
        answers: list[object] = [429, 503, b"<html>Welcome</html>", b"{", b'{"items": []}', 429, b"[]", 502]
        with behind_proxy(opensearch.url, prefix, answers) as proxy:
            farm.use_opensearch(opensearch, hosts=list(proxy.hosts))
            farm.send(interleaved(runs))
            with farm.worker() as worker:
                settle(farm, runs)
                until(farm.everything_committed, 30, "everything is committed")
                assert "verdicts are written again" in worker.text()
        assert answers == []
        assert farm.differences(expected(runs)) == NOTHING

    def test_clock_of_the_machine_jumps(self, make_farm: MakeFarm):
        """An hour forward and back again each second: no run ends before its idle time, and all do after it."""
        farm, runs = make_farm(idle_seconds=4), sample_runs(12)
        messages = interleaved(runs, end=False)
        with farm.worker(module="tests.services.jumping_worker"):
            for start in range(0, len(messages), 50):
                farm.send(messages[start : start + 50])
                time.sleep(0.5)
            settle(farm, runs)
        assert farm.differences(expected(runs)) == NOTHING


class TestAway:
    """Servers that are away when the worker starts, while it has nothing to do, and when it is to stop."""

    def test_start_before_kafka(self, tmp_path, own_kafka: KafkaServer, prefix: str):
        """One line says that it waits; `/ready` says it too; it goes on by itself when the broker is there."""
        farm, runs = listening(Farm(tmp_path / "farm", own_kafka.bootstrap, prefix)), sample_runs(3)
        farm.send(interleaved(runs))
        own_kafka.kill()
        with farm.worker("--quiet") as worker:
            until(lambda: "waiting for Kafka" in worker.text(), 40)
            assert f"Kafka at {own_kafka.bootstrap}" in worker.text()
            assert ready(farm)[0] == 503
            assert "waiting for Kafka" in ready(farm)[1]
            time.sleep(AWAY_SECONDS)
            assert len(worker.text().splitlines()) <= 4
            own_kafka.start()
            settle(farm, runs)
            until(lambda: ready(farm) == (200, "ok\n"), 20)
            assert "Kafka answers again" in worker.text()
            assert worker.code is None
        assert farm.differences(expected(runs)) == NOTHING

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_stop_while_it_waits(self, make_farm: MakeFarm, number: int):
        """At once, and with status 0: it was asked to."""
        farm = make_farm()
        farm.kafka = farm.kafka.model_copy(update={"servers": (f"127.0.0.1:{free_port()}",)})
        with farm.worker() as worker:
            until(lambda: "waiting for Kafka" in worker.text(), 40)
            began = time.monotonic()
            os.kill(worker.pid, number)
            until(lambda: worker.code is not None, 10)
            assert (worker.code, time.monotonic() - began < 4) == (0, True)

    def test_opensearch_away_at_the_start_and_when_idle(
        self, make_farm: MakeFarm, opensearch: OpenSearchServer, prefix: str
    ):
        """The worker waits for it; later `/ready` notices within some seconds that it is away, with nothing to write."""
        farm = listening(make_farm())
        farm.use_opensearch(opensearch, timeout_seconds=2)
        opensearch.pause()
        try:
            with farm.worker() as worker:
                until(lambda: "waiting for OpenSearch" in worker.text(), 40)
                assert "waiting for OpenSearch" in ready(farm)[1]
                opensearch.resume()
                until(lambda: ready(farm)[0] == 200, 30)
                opensearch.pause()
                until(lambda: ready(farm)[0] == 503, 30)
                assert "OpenSearch at" in ready(farm)[1]
                opensearch.resume()
                until(lambda: ready(farm)[0] == 200, 30)
                assert worker.code is None
        finally:
            opensearch.resume()

    def test_kafka_away_when_idle(self, tmp_path, own_kafka: KafkaServer, prefix: str):
        """`/ready` says so; the log has a few lines, not hundreds; all is well once the broker is back."""
        farm = listening(Farm(tmp_path / "farm", own_kafka.bootstrap, prefix))
        with farm.worker() as worker:
            until(lambda: ready(farm)[0] == 200, 40)
            before = len(worker.text().splitlines())
            own_kafka.kill()
            until(lambda: ready(farm)[0] == 503, 30)
            assert "Kafka at" in ready(farm)[1]
            time.sleep(3 * AWAY_SECONDS)
            assert len(worker.text().splitlines()) - before <= 10
            own_kafka.start()
            until(lambda: ready(farm)[0] == 200, 60)
            assert worker.code is None

    def test_log_while_opensearch_is_away(self, make_farm: MakeFarm, opensearch: OpenSearchServer):
        """The reason once, its repeats counted, no traceback; and a line when it is over."""
        farm, runs = make_farm(), sample_runs(6)
        farm.use_opensearch(opensearch, timeout_seconds=1)
        with farm.worker("--quiet") as worker:
            until(lambda: "partitions assigned" in worker.text(), 40)
            opensearch.pause()
            try:
                before = len(worker.text().splitlines())
                farm.send(interleaved(runs))
                time.sleep(30)
                lines = worker.text().splitlines()[before:]
            finally:
                opensearch.resume()
            settle(farm, runs)
            until(lambda: "verdicts are written again" in worker.text(), 30)
        assert any("verdicts cannot be written: OpenSearch at" in line for line in lines)
        assert len(lines) <= 6
        assert "Traceback" not in worker.text()

    @pytest.mark.parametrize("away", ["kafka", "opensearch"])
    def test_stop_while_a_server_hangs(
        self, tmp_path, own_kafka: KafkaServer, opensearch: OpenSearchServer, prefix: str, away: str
    ):
        """Within 5 s. What was not durable is read again."""
        farm, runs = Farm(tmp_path / "farm", own_kafka.bootstrap, prefix), sample_runs(6)
        farm.use_opensearch(opensearch)
        server = own_kafka if away == "kafka" else opensearch
        with farm.worker() as worker:
            until(lambda: "partitions assigned" in worker.text(), 40)
            farm.send(interleaved(runs)[:50] if away == "kafka" else interleaved(runs))
            time.sleep(1)
            server.pause()
            try:
                time.sleep(3)
                began = time.monotonic()
                os.kill(worker.pid, signal.SIGTERM)
                until(lambda: worker.code is not None, 20)
                assert (worker.code, time.monotonic() - began < 6) == (0, True)
            finally:
                server.resume()
        farm.send(interleaved(runs)[50:] if away == "kafka" else [])
        with farm.worker():
            settle(farm, runs)
            until(farm.everything_committed, 30, "every sink has all verdicts")
        assert farm.differences(expected(runs)) == NOTHING

    def test_stop_while_it_waits_to_join_its_group(self, make_farm: MakeFarm):
        """Another member does not answer, so the group waits for it; a worker that joins meanwhile stops within 5 s."""
        farm = make_farm()
        with farm.worker() as first:
            until(lambda: "partitions assigned" in first.text(), 40)
            os.kill(first.pid, signal.SIGSTOP)
            try:
                with farm.worker() as second:
                    until(lambda: " reads topic " in second.text(), 40)
                    time.sleep(2)
                    assert "partitions assigned" not in second.text()
                    began = time.monotonic()
                    os.kill(second.pid, signal.SIGTERM)
                    until(lambda: second.code is not None, 20)
                    assert (second.code, time.monotonic() - began < 6) == (0, True)
            finally:
                os.kill(first.pid, signal.SIGCONT)


class TestSilentStop:
    def test_a_consumer_that_stops_fetching(self, make_farm: MakeFarm):
        """`/ready` says so, the worker ends with the status for "start again", and the next one goes on."""
        farm, runs = listening(make_farm()), sample_runs(6)
        messages = interleaved(runs)
        farm.send(messages[:50])
        with farm.worker(module="tests.services.silent_worker") as worker:
            until(lambda: ready(farm)[0] == 200, 40)
            until(lambda: "is fetched for" in ready(farm)[1], 40)
            assert "although the brokers answer" in ready(farm)[1]
            farm.send(messages[50:])
            until(lambda: worker.code is not None, 40)
            assert worker.code == 75
            assert "start the worker again" in worker.text()
            assert "Traceback" not in worker.text()
        with farm.worker():
            settle(farm, runs)
        assert farm.differences(expected(runs)) == NOTHING


class TestTopic:
    def test_partitions_grow(self, make_farm: MakeFarm):
        """Running workers give the run log the partitions that it lacks, and judge the runs in the new ones."""
        farm, runs = make_farm(), sample_runs(16)
        with farm.worker() as worker:
            farm.send(interleaved(runs[:4]))
            settle(farm, runs[:4])
            with KafkaBroker(farm.admin) as broker:
                broker.grow(farm.kafka.topic, PARTITIONS + 3)
            farm.send(interleaved(runs[4:]))
            settle(farm, runs, 90)
            assert worker.code is None
            assert "the topic has grown to 7 partitions, and the run log with it" in worker.text()
        with KafkaBroker(farm.admin) as broker:
            assert broker.partitions([farm.kafka.runs_topic]) == {farm.kafka.runs_topic: PARTITIONS + 3}
        assert farm.differences(expected(runs)) == NOTHING

    def test_aborted_transactions_are_not_judged(self, make_farm: MakeFarm):
        """Neither a run of its own nor lines of another one; runs end by silence all the same."""
        farm, runs = make_farm(idle_seconds=3), sample_runs(3)
        messages = interleaved(runs, end=False, seq=False)
        asyncio.run(aborted(farm, [Message(b"never", b"an aborted line\n", {"source": "ue"}), *messages[:20]]))
        farm.send(messages, transaction=True)
        asyncio.run(aborted(farm, [Message(b"never", b"an aborted line\n"), *messages[:20]]))
        with farm.worker():
            settle(farm, runs, 30)
            time.sleep(5)
        assert farm.differences(expected(runs)) == NOTHING

    def test_runs_do_not_end_while_a_transaction_is_open(self, make_farm: MakeFarm):
        """Their next messages may be in it; they come when it is committed, long after the idle time."""
        farm, runs = make_farm(idle_seconds=2), sample_runs(3)
        messages = interleaved(runs, end=False)
        half = len(messages) // 2
        farm.send(messages[:half])
        with ExitStack() as workers:

            def read() -> None:
                worker = workers.enter_context(farm.worker())
                until(lambda: "partitions assigned" in worker.text(), 40)
                time.sleep(6)
                assert farm.count_stored() == 0

            asyncio.run(slowly(farm, messages[half:], read))
            settle(farm, runs, 30)
        assert farm.differences(expected(runs)) == NOTHING


async def slowly(farm: Farm, messages: list[Message], meanwhile: Callable[[], None]) -> None:
    """Sends messages in a transaction that is committed only after `meanwhile`."""
    producer = AIOKafkaProducer(**connection(farm.admin), transactional_id=f"{farm.kafka.group}-slow")
    await producer.start()
    try:
        await producer.begin_transaction()
        for message in messages:
            headers = [(name, value.encode()) for name, value in message.headers.items()]
            await producer.send(farm.kafka.topic, message.value, message.key, headers=headers)
        await producer.flush()
        await asyncio.to_thread(meanwhile)
        await producer.commit_transaction()
    finally:
        await producer.stop()


async def aborted(farm: Farm, messages: list[Message]) -> None:
    """Sends messages in a transaction that is aborted."""
    producer = AIOKafkaProducer(**connection(farm.admin), transactional_id=f"{farm.kafka.group}-aborted")
    await producer.start()
    try:
        await producer.begin_transaction()
        sent = [
            await producer.send(
                farm.kafka.topic,
                message.value,
                message.key,
                headers=[(name, value.encode()) for name, value in message.headers.items()],
            )
            for message in messages
        ]
        await asyncio.gather(*sent)
        await producer.abort_transaction()
    finally:
        await producer.stop()


def listening(farm: Farm) -> Farm:
    """With an address for /ready."""
    farm.more_settings["metrics"] = {"listen": f"127.0.0.1:{free_port()}"}
    return farm


def ready(farm: Farm) -> tuple[int, str]:
    """Status and text of /ready; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://{farm.more_settings['metrics']['listen']}/ready", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


class TestSecurity:
    @pytest.mark.parametrize("way", ["SASL_SSL", "SSL"])
    def test_encrypted(self, make_farm: MakeFarm, kafka: KafkaServer, secure_opensearch: OpenSearchServer, way: str):
        """By password and by certificate, and with TLS and a user to OpenSearch: all as without."""
        farm, runs = make_farm(), sample_runs(6)
        certificates = kafka.certificates
        options: dict[str, object] = {"security": way, "ca_file": certificates / "ca.pem"}
        if way == "SSL":
            options |= {"cert_file": certificates / "client.pem", "key_file": certificates / "client.key"}
            options |= {"servers": (kafka.tls_bootstrap,)}
        else:
            options |= {"user": USER, "password": PASSWORD, "servers": (kafka.sasl_bootstrap,)}
        farm.kafka = KafkaSettings(**{**farm.kafka.model_dump(), **options})
        farm.use_opensearch(secure_opensearch)
        farm.send(interleaved(runs))
        with farm.worker() as worker:
            settle(farm, runs)
            until(farm.everything_committed, 15, "everything is committed")
            assert PASSWORD not in worker.text()
        assert farm.differences(expected(runs)) == NOTHING

    def test_wrong_password(self, make_farm: MakeFarm, kafka: KafkaServer):
        """Says what to check, and shows no password."""
        farm = make_farm()
        options = {"security": "SASL_SSL", "ca_file": kafka.certificates / "ca.pem", "servers": (kafka.sasl_bootstrap,)}
        farm.kafka = KafkaSettings(**{**farm.kafka.model_dump(), **options, "user": USER, "password": "Wrong-Secret-1"})
        with farm.worker() as worker:
            until(lambda: worker.code is not None, 30)
            assert worker.code == 2
            assert "check kafka.user, kafka.password" in worker.text()
            assert "Secret" not in worker.text()

    def test_wrong_password_of_opensearch(self, make_farm: MakeFarm, secure_opensearch: OpenSearchServer):
        """The worker does not start, instead of failing at the first verdict; it shows no password."""
        farm = make_farm()
        farm.use_opensearch(secure_opensearch)
        farm.more_settings["opensearch"]["password"] = "Wrong-Secret-1"
        with farm.worker() as worker:
            until(lambda: worker.code is not None, 30)
            assert worker.code == 2
            assert "check opensearch.user and opensearch.password" in worker.text()
            assert "Secret" not in worker.text()


class TestForgotten:
    def test_a_run_stays_forgotten(self, make_farm: MakeFarm, opensearch: OpenSearchServer):
        """After an orderly restart, a kill, and for a new group that reads all from the start; one that was open, too."""
        farm, runs = make_farm(), sample_runs(5)
        farm.sinks = ["store", "archive", "kafka"]
        farm.use_opensearch(opensearch)
        # Its end comes last: until then, every restart reads all of its partition again.
        gone, open_run, *others = runs
        held = [TestRun(f"held/{number}", gone.sources) for number in range(12)]
        farm.send([stream[0] for run in held for stream in messages_of(run)])
        farm.send([stream[0] for stream in messages_of(open_run)])
        farm.send(interleaved([gone, *others]))

        def left() -> set[str]:
            return {*farm.stored(), *farm.indexed(), *farm.topic_verdicts()}

        with farm.worker():
            settle(farm, [gone, *others])
            until(lambda: gone.run_id in farm.topic_verdicts(), 20)
            assert call("forget", "-c", farm.settings(), gone.run_id, open_run.run_id).code == 2, "one has no verdict yet"
            farm.send([message for stream in messages_of(open_run) for message in stream[1:]])
        with farm.worker() as worker:
            time.sleep(6)
            worker.kill()
        assert left() == {run.run_id for run in others}
        farm.kafka = farm.kafka.model_copy(update={"group": f"{farm.kafka.group}-new"})
        more = sample_runs(8, seed=1)[5:]
        farm.send(interleaved(more))
        with farm.worker():
            until(lambda: {run.run_id for run in more} <= set(farm.stored()), 60, "the new group has read all")
        assert left() == {run.run_id for run in (*others, *more)}
        archived = list((farm.folder / "archive").rglob("*.zst"))
        assert len(archived) == len(others) + len(more)


class TestReplayed:
    def test_once_each(self, make_farm: MakeFarm):
        """Read again with every start, sent by several commands, one of them killed: one verdict."""
        farm, (run,) = make_farm(), sample_runs(1, seed=3)
        rejected = TestRun("attach-imsi-001010123456789", run.sources)
        farm.send([stream[0] for number in range(12) for stream in messages_of(TestRun(f"held/{number}", run.sources))])
        messages = [message for stream in messages_of(rejected, lines=3, seq=False, end=False) for message in stream]
        farm.send(messages)
        letters = lambda: farm.read(farm.kafka.dead_topic)  # noqa: E731 - short
        for _ in range(3):
            with farm.worker():
                until(lambda: len(letters()) >= len(messages), 40, "all are rejected")
                time.sleep(3)
        assert len(letters()) == len(messages), "dead-lettered once"
        farm.more_settings["redaction"] = {"pseudonym_key": "0123456789abcdef0123456789abcdef"}
        command = [sys.executable, "-m", "stream_triage", "replay-dead", "-c", str(farm.settings())]
        with farm.worker():
            killed = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            ends = farm.ends()
            until(lambda: farm.ends() != ends or killed.poll() is not None, 30, "it has begun to send")
            killed.kill()
            killed.wait()
            both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
            assert [process.wait(60) for process in both] == [0, 0]
            farm.send([Message(rejected.run_id.encode(), b"", {"source": source, "end": "1"}) for source in run.sources])
            until(lambda: farm.count_stored() == 1, 40, "the run has a verdict")
        (verdict,) = farm.stored().values()
        lines = {source: text.count(b"\n") for source, text in run.sources.items()}
        assert {summary.source: summary.lines for summary in verdict.sources} == lines
        assert not any(name.startswith("triage.") for name in verdict.headers)
        assert call("replay-dead", "-c", farm.settings()).code == 0
        assert farm.count_stored() == 1


class TestRejected:
    def test_dead_letters_keep_what_came(self, make_farm: MakeFarm):
        """No key, an identity in the key, a bad number, late lines: each is kept with its reason, and other runs go on."""
        farm, runs = make_farm(), sample_runs(3)
        farm.send(
            [
                Message(None, b"whose am I\n"),
                Message(b"imsi-001010123456789", b"attach\n"),
                Message(b"run", b"text\n", {"seq": "-1"}),
                Message(b"\xff\xfe", b"text\n"),
                *interleaved(runs),
            ]
        )
        with farm.worker():
            settle(farm, runs)
            late = Message(runs[0].run_id.encode(), b"too late\n", {"source": "ue"})
            farm.send([late])
            until(lambda: len(farm.read(farm.kafka.dead_topic)) == 5, 20, "five dead letters")
        letters = [as_letter(record) for record in farm.read(farm.kafka.dead_topic)]
        assert sorted(letter.value for letter in letters) == sorted(
            [b"whose am I\n", b"attach\n", b"text\n", b"text\n", b"too late\n"]
        )
        (after,) = [letter for letter in letters if letter.value == b"too late\n"]
        assert (after.key, after.reason, after.headers) == (late.key, "its run has ended", (("source", b"ue"),))
        assert farm.differences(expected(runs)) == NOTHING

    def test_too_many_are_summed_up(self, make_farm: MakeFarm):
        """Above the limit the worker goes on: it sums the rest up, and judges the runs of others."""
        farm, runs = make_farm(dead_per_hour=5), sample_runs(1)
        farm.send([Message(None, b"%d\n" % number) for number in range(800)])
        farm.send(interleaved(runs))
        with farm.worker() as worker:
            settle(farm, runs)
            until(lambda: "kafka.dead_per_hour = 5" in worker.text(), 10, "it says so")
        letters = [as_letter(record) for record in farm.read(farm.kafka.dead_topic)]
        kept = [letter for letter in letters if letter.kind == "message"]
        summed = [int(dict(letter.headers)["triage.messages"]) for letter in letters if letter.kind == "summary"]
        assert len(kept) <= 5 * len(farm.ends())
        assert len(kept) + sum(summed) == 800

    def test_topics_missing(self, make_farm: MakeFarm):
        """The worker ends and names the command that makes them."""
        farm = make_farm()
        farm.kafka = farm.kafka.model_copy(update={"runs_topic": "never-made"})
        with farm.worker() as worker:
            until(lambda: worker.code is not None, 30)
            assert worker.code == 2
            assert "no topic never-made" in worker.text()
            assert "stream-triage setup kafka" in worker.text()
