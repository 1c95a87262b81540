"""The worker on a real broker: the same verdicts as from files, each once, whatever dies in between."""

import json
import os
import time
import urllib.request
from collections.abc import Callable

import pytest

from stream_triage.records import Verdict
from stream_triage.settings import KafkaSettings
from stream_triage.sinks.dead_letters import as_letter
from tests.edges.proxy import behind_proxy
from tests.receiver import Receiver
from tests.services.farm import (
    BUNDLE,
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
            until(lambda: farm.committed() == farm.ends(), 15, "everything is committed")
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
            until(lambda: farm.committed() == farm.ends(), 30, "everything is committed")
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
                until(lambda: farm.committed() == farm.ends(), 30, "everything is committed")
                assert worker.text().count("will be tried again") == 8
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
            until(lambda: farm.committed() == farm.ends(), 15, "everything is committed")
            assert PASSWORD not in worker.text()
        assert farm.differences(expected(runs)) == NOTHING

    def test_wrong_password(self, make_farm: MakeFarm, kafka: KafkaServer):
        """Says what to check, and shows no password."""
        farm = make_farm()
        options = {"security": "SASL_SSL", "ca_file": kafka.certificates / "ca.pem", "servers": (kafka.sasl_bootstrap,)}
        farm.kafka = KafkaSettings(**{**farm.kafka.model_dump(), **options, "user": USER, "password": "Wrong-Secret-1"})
        with farm.worker() as worker:
            until(lambda: worker.code is not None, 60)
            assert worker.code == 2
            assert "kafka.password" in worker.text()
            assert "Secret" not in worker.text()


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

    def test_too_many_stop_the_worker(self, make_farm: MakeFarm):
        """Above the limit the worker ends, names the remedy, and has kept all of them."""
        farm = make_farm(dead_per_hour=5)
        farm.send([Message(None, b"%d\n" % number) for number in range(8)])
        with farm.worker() as worker:
            until(lambda: worker.code is not None, 30, "the worker has ended")
            assert worker.code == 2
            assert "kafka.dead_per_hour = 5" in worker.text()
        assert len(farm.read(farm.kafka.dead_topic)) == 8

    def test_topics_missing(self, make_farm: MakeFarm):
        """The worker ends and names the command that makes them."""
        farm = make_farm()
        farm.kafka = farm.kafka.model_copy(update={"runs_topic": "never-made"})
        with farm.worker() as worker:
            until(lambda: worker.code is not None, 30)
            assert worker.code == 2
            assert "no topic never-made" in worker.text()
            assert "stream-triage setup kafka" in worker.text()
