"""`triage-ship` and its pytest plugin on a real broker: verdicts of what they send, and that no line is missing."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stream_triage.clients.kafka import KafkaBroker
from stream_triage.records import Verdict
from tests.services.farm import Farm, expected, sample_runs, until
from tests.services.farm import TestRun as Run
from tests.services.servers import PASSWORD, USER, KafkaServer
from tests.services.shipping import PROGRAM, Lab, Writer, chaos, numbers
from tests.verdicts import assert_same

pytestmark = [pytest.mark.service, pytest.mark.slow]

MakeFarm = Callable[..., Farm]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def lab(tmp_path: Path, kafka: KafkaServer, prefix: str) -> Lab:
    return Lab(tmp_path / "lab", kafka, f"{prefix}.lab")


def ship(farm: Farm, *arguments: object, **process: object) -> subprocess.CompletedProcess[str]:
    """Runs a shipper that sends to the workers of a farm, until it ends."""
    command = [*PROGRAM, *options(farm), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **process)


def options(farm: Farm) -> list[str]:
    return ["--bootstrap", farm.kafka.servers[0], "--topic", farm.kafka.topic, "--state", str(farm.folder / "ship")]


def write_runs(folder: Path, runs: list[Run]) -> None:
    for run in runs:
        (folder / run.run_id).mkdir(parents=True)
        for source, text in run.sources.items():
            (folder / run.run_id / f"{source}.log").write_bytes(text)


class TestVerdicts:
    def test_of_folders_with_a_harness(self, make_farm: MakeFarm, tmp_path: Path):
        """They are those of the files, with the headers and the result of the harness."""
        farm, runs = make_farm(), sample_runs(6)
        write_runs(tmp_path / "logs", runs)
        (tmp_path / "junit.xml").write_text('<testsuite><testcase name="attach"><failure/></testcase></testsuite>')
        pattern = r"logs/(?P<run>[^/]+/\d+)/(?P<source>\w+)\.log"
        done = ship(farm, "--once", "--path-pattern", pattern, "--junit", tmp_path / "junit.xml", "--test-case", "attach",
                    "--testbed", "rack-1", tmp_path / "logs")  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        with farm.worker():
            until(lambda: farm.count_stored() == len(runs), 60)
        stored = farm.stored()
        for run_id, verdict in expected(runs).items():
            assert stored[run_id].headers == {
                "test.case.name": "attach", "testbed": "rack-1", "test.case.result.status": "fail"}  # fmt: skip
            assert_same(bare(stored[run_id]), bare(verdict))

    def test_of_messages_that_the_broker_rejects_for_their_size(self, tmp_path: Path, kafka: KafkaServer, prefix: str):
        """They are split; no line is missing, and no gap is reported."""
        farm = Farm(tmp_path / "farm", kafka.bootstrap, prefix)
        small = Lab(tmp_path / "lab", kafka, f"{prefix}.small", **{"max.message.bytes": "5000"})
        farm.kafka = farm.kafka.model_copy(update={"topic": small.topic})
        with KafkaBroker(farm.admin) as broker:
            broker.create([])
        (run,) = sample_runs(1)
        write_runs(tmp_path / "logs", [run])
        pattern = r"(?P<run>logs)/.*?/(?P<source>\w+)\.log"
        done = small.ship("--once", "--path-pattern", pattern, "--compression", "none", tmp_path / "logs")
        assert done.returncode == 0
        assert "smaller messages are sent" in done.stderr
        with farm.worker():
            until(lambda: farm.count_stored() == 1, 60)
        (verdict,) = farm.stored().values()
        assert_same(bare(verdict), bare(expected([run])[run.run_id].model_copy(update={"run_id": "logs"})))
        assert all(max(len(record.value) for record in records) < 5000 for records in small.sources().values())

    def test_of_standard_input(self, make_farm: MakeFarm):
        """It is that of the same lines in a file."""
        farm, (run,) = make_farm(), sample_runs(1)
        source, text = next(iter(run.sources.items()))
        done = ship(farm, "--run-id", "piped", "--source", source, "-", input=text.decode())
        assert done.returncode == 0
        with farm.worker():
            until(lambda: farm.count_stored() == 1, 60)
        wanted = expected([Run("piped", {source: text})])["piped"]
        assert_same(bare(farm.stored()["piped"]), bare(wanted))

    def test_while_the_log_grows(self, make_farm: MakeFarm, tmp_path: Path):
        """A followed run ends when it is quiet for the idle time."""
        farm, (run,) = make_farm(), sample_runs(1)
        source, text = next(iter(run.sources.items()))
        log = tmp_path / f"{source}.log"
        log.touch()
        run_options = ["--run-id", "grown", "--path-pattern", r"(?P<source>\w+)\.log", "--idle-end", "3"]
        command = [*PROGRAM, *options(farm), *run_options, str(log)]
        with farm.worker(), log.open("ab") as file:
            process = subprocess.Popen(command)
            for start in range(0, len(text), 2000):
                file.write(text[start : start + 2000])
                file.flush()
                time.sleep(0.05)
            until(lambda: farm.count_stored() == 1, 60)
            process.terminate()
            assert process.wait(20) == 0
        assert_same(bare(farm.stored()["grown"]), bare(expected([Run("grown", {source: text})])["grown"]))

    @pytest.mark.parametrize("linger", ["0.05", "2"])
    def test_of_a_shipper_that_loses_its_spool(self, linger: str, make_farm: MakeFarm, tmp_path: Path):
        """It reads the log again, cut elsewhere: no line is lost or doubled, and the verdict says what was dropped."""
        farm, (run,) = make_farm(), sample_runs(1)
        source, text = next(iter(run.sources.items()))
        log, lines = tmp_path / f"{source}.log", text.splitlines(keepends=True)
        run_options = ["--run-id", "night", "--path-pattern", r"(?P<source>\w+)\.log", "--idle-end", "12"]

        def start(linger: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen([*PROGRAM, *options(farm), *run_options, "--linger", linger, str(log)])

        with farm.worker(), log.open("ab") as file:
            first = start("0.05")
            for begin in range(0, 40, 10):
                sent = sum(farm.ends().values())
                file.write(b"".join(lines[begin : begin + 10]))
                file.flush()
                until(lambda sent=sent: sum(farm.ends().values()) > sent, 30, "it has sent a message")
            first.kill()
            first.wait()
            shutil.rmtree(farm.folder / "ship")
            second = start(linger)
            file.write(b"".join(lines[40:]))
            file.flush()
            until(lambda: farm.count_stored() == 1, 60)
            second.terminate()
            assert second.wait(20) == 0
        stored = farm.stored()["night"]
        assert_same(bare(stored), bare(expected([Run("night", {source: text})])["night"]))
        (summary,) = stored.sources
        assert summary.repairs.repeated_bytes > 0
        assert summary.repairs.notes == ("its messages were numbered anew once",)

    def test_that_waits_for_a_source_that_begins_late(self, make_farm: MakeFarm, tmp_path: Path):
        """A run of two machines, of which one has sent all before the other begins, is judged once, as a whole."""
        farm, (run,) = make_farm(end_grace_seconds=8), [run for run in sample_runs(9) if len(run.sources) > 1][:1]
        write_runs(tmp_path / "logs", [run])
        pattern = ["--once", "--run-id", "night", "--path-pattern", r"(?P<source>\w+)\.log"]
        with farm.worker():
            for path in sorted((tmp_path / "logs" / run.run_id).iterdir()):
                assert ship(farm, *pattern, path, "--state", tmp_path / f"state-{path.stem}").returncode == 0
            until(lambda: farm.count_stored() == 1, 60)
        assert_same(bare(farm.stored()["night"]), bare(expected([replace(run, run_id="night")])["night"]))
        assert farm.read(farm.kafka.dead_topic) == []


def bare(verdict: Verdict) -> Verdict:
    """Without what differs between a stream and files."""
    return verdict.model_copy(update={"time": None, "started": None, "headers": {}})


class TestNothingIsLost:
    def test_killed_while_logs_are_rotated(self, lab: Lab):
        """Every line arrives once and in order."""
        chaos(lab, 6, seed=1)

    def test_broker_down_while_logs_are_rotated(self, tmp_path: Path, own_kafka: KafkaServer):
        """Lines wait on disk, and all arrive when the broker is up again."""
        lab = Lab(tmp_path / "lab", own_kafka, "lab")
        writer = Writer(lab.logs / "tm500.log")
        with lab.following("--run-id", "night", writer.path):
            writer.write(50)
            until(lambda: lab.sources() != {}, 30)
            own_kafka.stop(signal.SIGKILL)
            ends = time.monotonic() + float(os.environ.get("STREAM_TRIAGE_AWAY_SECONDS") or 8)
            while time.monotonic() < ends:
                writer.write(20)
                time.sleep(1.5)
                writer.rotate()
                writer.write(3)
            own_kafka.start()
            until(lambda: b"Kafka is available again" in lab.output.read_bytes(), 60)
        writer.close()
        assert lab.ship("--run-id", "night", "--once", writer.path).returncode == 0
        (text,) = lab.texts().values()
        assert numbers(text) == list(range(writer.lines))
        assert b"Kafka is not available" in lab.output.read_bytes()

    def test_fifty_megabytes_a_second(self, lab: Lab):
        """The shipper may fall behind, but every line arrives."""
        line = b"%s\n" % (b"x" * 99)
        path = lab.logs / "fast.log"
        with lab.following("--run-id", "fast", "--idle-end", "5", path), path.open("wb") as file:
            for _ in range(10):
                began = time.monotonic()
                file.write(line * 50_000)
                file.flush()
                time.sleep(max(0.0, 0.1 - (time.monotonic() - began)))
            until(
                lambda: any(dict(record.headers).get("end") for records in lab.sources().values() for record in records), 90
            )
        (text,) = lab.texts().values()
        assert len(text) == 500_000 * 100

    def test_two_shippers_on_one_file(self, lab: Lab, tmp_path: Path):
        """The second one skips it."""
        path = lab.logs / "a.log"
        path.write_bytes(b"1\n")
        with lab.following("--run-id", "one", path):
            until(lambda: lab.sources() != {}, 30)
            lab.state = tmp_path / "other"
            with lab.following("--run-id", "two", path):
                until(lambda: b"read by another triage-ship" in lab.output.read_bytes(), 20)
        assert {key for key, _ in lab.sources()} == {"one"}

    def test_console_that_closes_the_connection(self, lab: Lab):
        """The shipper connects again, and the run goes on."""
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]

        def talk() -> None:
            for text in (b"one\ntw", b"o\nthree\n"):
                calling, _ = listening.accept()
                calling.sendall(text)
                time.sleep(0.3)
                calling.close()

        thread = threading.Thread(target=talk)
        thread.start()
        done = lab.ship("--tcp", f"127.0.0.1:{port}", "--run-id", "console", "--source", "tm500", "--idle-end", "3")
        thread.join()
        listening.close()
        assert done.returncode == 0
        assert "closed by the other side" in done.stderr
        assert lab.texts() == {("console", "tm500"): b"one\ntwo\nthree\n"}


class TestSecurity:
    def test_password_and_tls(self, lab: Lab, kafka: KafkaServer, tmp_path: Path):
        """A wrong password is reported without being shown; a client certificate works too."""
        (lab.logs / "a.log").write_bytes(b"1\n")
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        (tmp_path / "wrong").write_text("wrong-Secret")
        ca = kafka.certificates / "ca.pem"
        sasl = ["--security", "SASL_SSL", "--user", USER, "--ca-file", ca, "--once", "--bootstrap", kafka.sasl_bootstrap]
        done = lab.ship(*sasl, "--password-file", tmp_path / "password", lab.logs)
        assert (done.returncode, done.stderr) == (0, "")
        assert list(lab.texts().values()) == [b"1\n"]
        (lab.logs / "b.log").write_bytes(b"2\n")
        wrong = lab.ship(*sasl, "--password-file", tmp_path / "wrong", "--finish-seconds", "1", lab.logs)
        assert wrong.returncode in (1, 2)
        assert "a wrong user, password or certificate" in wrong.stderr
        assert "Secret" not in wrong.stderr
        mutual = ["--security", "SSL", "--ca-file", ca, "--once", "--bootstrap", kafka.tls_bootstrap]
        own = ["--cert-file", kafka.certificates / "client.pem", "--key-file", kafka.certificates / "client.key"]
        assert lab.ship(*mutual, *own, lab.logs).returncode == 0
        assert sorted(lab.texts().values()) == [b"1\n", b"2\n"]


TESTS = """
import logging

def test_passes(triage_log, tmp_path):
    logging.warning("RRC setup complete")
    triage_log.write("line of a device\\n", "ue")
    (tmp_path / "gnb.log").write_text("scheduled\\nreleased\\n")
    triage_log.attach(tmp_path / "gnb.log")

def test_fails():
    print("registration reject <b>")
    assert False

def test_silent():
    pass
"""


class TestPlugin:
    @pytest.mark.parametrize("processes", [[], ["-n", "2"]])
    def test_each_test_is_a_run(self, lab: Lab, tmp_path: Path, processes: list[str]):
        """It has what the test logged, and its outcome; also if tests run in several processes."""
        (tmp_path / "test_lab.py").write_text(TESTS)
        send = ["--triage-ship", "--triage-bootstrap", lab.kafka.bootstrap, "--triage-topic", lab.topic]
        send += ["--triage-run", "night", "--triage-header", "testbed=rack-1"]
        command = [sys.executable, "-m", "pytest", "-q", *send, *processes]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1, done.stdout
        texts = lab.texts()
        night = "night/test_lab.py::test_passes"
        assert texts[night, "ue"] == b"line of a device\n"
        assert texts[night, "gnb.log"] == b"scheduled\nreleased\n"
        assert b"RRC setup complete" in texts[night, "log"]
        assert texts["night/test_lab.py::test_fails", "stdout"] == b"registration reject <b>\n"
        assert not any("test_silent" in key for key, _ in texts)
        for (key, _), records in lab.sources().items():
            headers = dict(records[0].headers)
            assert headers["test.case.name"].decode() == key.removeprefix("night/")
            assert headers["test.case.result.status"] == (b"pass" if "passes" in key else b"fail")
            assert headers["testbed"] == b"rack-1"
            assert dict(records[-1].headers)["end"] == b"1"

    def test_without_a_broker(self, tmp_path: Path):
        """Tests are not disturbed, and the summary says that the next session sends what they logged."""
        (tmp_path / "test_lab.py").write_text(TESTS)
        (tmp_path / "conftest.py").write_text("import triage_ship.pytest_plugin as p\np.FINISH_SECONDS = 1.0\n")
        command = [sys.executable, "-m", "pytest", "-q", "--triage-ship", "--triage-bootstrap", "127.0.0.1:9"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert "1 failed, 2 passed" in done.stdout
        assert "the next session sends the rest" in done.stdout
