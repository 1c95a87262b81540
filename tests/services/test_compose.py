"""What docker/compose.yaml mounts and says, on real servers: its configuration, its scripts, its users and their rights."""

import asyncio
import base64
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError

from stream_triage import Verdict
from stream_triage.clients.kafka import connection
from stream_triage.clients.opensearch import OpenSearchClient
from stream_triage.errors import StoreError
from stream_triage.settings import KafkaSettings, OpenSearchSettings
from stream_triage.setup.dashboards import BOARDS
from stream_triage.sinks.sqlite import SqliteStore
from tests.services.conftest import started
from tests.services.farm import expected, interleaved, sample_runs, undated, until
from tests.services.plugins import serving
from tests.services.servers import OpenSearchServer, Server, free_port, kafka_java
from tests.verdicts import assert_same

pytestmark = [pytest.mark.service, pytest.mark.slow]

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
# What the image of Kafka has as scripts.
TOOLS = {
    "kafka-storage.sh": "kafka.tools.StorageTool",
    "kafka-server-start.sh": "kafka.Kafka",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
}


class ComposeKafka(Server):
    """Started by docker/kafka/start.sh with docker/kafka/server.properties, but for ports and places."""

    name = "Kafka"

    def __init__(self, folder: Path, secrets: Path) -> None:
        super().__init__(folder)
        self.secrets = secrets
        self.outside, inside, controller, self.local = (free_port() for _ in range(4))
        self._changes = {
            "INSIDE://kafka:9093": f"INSIDE://localhost:{inside}",
            ":9092": f":{self.outside}",
            ":9093": f":{inside}",
            ":9094": f":{controller}",
            ":9095": f":{self.local}",
            "/run/secrets/": f"{secrets}/",
            "/var/lib/kafka/data": str(self.folder / "data"),
        }
        self.inside = inside

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    _environment = environment

    def _prepare(self) -> list[str]:
        (self.folder / "bin").mkdir(exist_ok=True)
        for script, name in TOOLS.items():
            path = self.folder / "bin" / script
            quick = "-Xmx384m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
            path.write_text(f'#!/bin/sh\nexec {shlex.join(kafka_java())} {quick} {name} "$@"\n')
            path.chmod(0o755)
        properties = (DOCKER / "kafka" / "server.properties").read_text()
        for before, after in self._changes.items():
            assert before in properties
            properties = properties.replace(before, after)
        (self.folder / "server.properties").write_text(properties)
        return ["sh", str(DOCKER / "kafka" / "start.sh"), str(self.folder / "server.properties")]

    def _answers(self) -> bool:
        return "Kafka Server started" in self.log.read_text(errors="replace")


class ComposeOpenSearch(OpenSearchServer):
    """With docker/opensearch/opensearch.yml and no users, but for ports and places."""

    def __init__(self, folder: Path, secrets: Path) -> None:
        super().__init__(folder, secure=True)
        self.secrets = secrets

    def _configure(self) -> None:
        config = self._home / "config"
        text = (DOCKER / "opensearch" / "opensearch.yml").read_text()
        for before, after in {"0.0.0.0": "127.0.0.1", "http.port: 9200": f"http.port: {self.port}"}.items():
            assert before in text
            text = text.replace(before, after)
        text += f"transport.port: {free_port()}\npath.data: {self.folder / 'data'}\npath.logs: {self.folder / 'logs'}\n"
        (config / "opensearch.yml").write_text(text + "cluster.routing.allocation.disk.threshold_enabled: false\n")
        (config / "certs").mkdir(exist_ok=True)
        for name in ("ca.pem", "opensearch.pem", "opensearch.key"):
            shutil.copy(self.secrets / name, config / "certs")
        for name in ("internal_users.yml", "roles_mapping.yml"):
            shutil.copy(DOCKER / "opensearch" / name, config / "opensearch-security")
        self._fit_java(config / "jvm.options")

    def _answers(self) -> bool:
        """As the health check of compose.yaml has it."""
        context = ssl.create_default_context(cafile=str(self.secrets / "ca.pem"))
        try:
            urllib.request.urlopen(f"https://localhost:{self.port}", timeout=5, context=context)
        except urllib.error.HTTPError as error:
            return error.code == 401
        except (OSError, ValueError):
            return False
        return False


@dataclass
class Deployment:
    folder: Path
    secrets: Path
    kafka: ComposeKafka
    opensearch: ComposeOpenSearch
    dashboards: str = ""
    """Address of what stands in for it."""

    def service(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Command and environment of one of our services, its secrets where they are mounted."""
        service, place = COMPOSE["services"][name], self.folder / name
        mounted = place / "run" / "secrets"
        mounted.mkdir(parents=True, exist_ok=True)
        authority = place / "ca.pem"
        for secret in service["secrets"]:
            target = authority if secret["target"].startswith("/") else mounted / secret["target"]
            shutil.copy(self.secrets / Path(COMPOSE["secrets"][secret["source"]]["file"]).name, target)
        changes = {
            "kafka:9093": f"localhost:{self.kafka.inside}",
            "opensearch:9200": f"localhost:{self.opensearch.port}",
            "http://dashboards:5601": self.dashboards,
            "/run/secrets": str(mounted),
            "/etc/stream-triage/ca.pem": str(authority),
        }
        environment = {"PATH": os.environ["PATH"], "HOME": str(place), "XDG_DATA_HOME": str(place)}
        for variable, value in service["environment"].items():
            changed = value
            for before, after in changes.items():
                changed = changed.replace(before, after)
            environment[variable] = changed
        return [sys.executable, "-m", "stream_triage", *service["command"]], environment

    def run(self, name: str, *arguments: str) -> str:
        command, environment = self.service(name)
        done = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def password(self, name: str) -> str:
        return (self.secrets / name).read_text().strip()

    def producer(self, user: str) -> AIOKafkaProducer:
        told: dict[str, Any] = {"security": "SASL_SSL", "ca_file": self.secrets / "ca.pem", "user": user}
        told |= {"servers": (f"localhost:{self.kafka.outside}",), "password": self.password(f"kafka-{user}")}
        return AIOKafkaProducer(**connection(KafkaSettings(**told)))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("compose")
    shutil.copy(DOCKER / "passwords.sh", folder)
    subprocess.run(["sh", folder / "passwords.sh"], check=True, capture_output=True)
    secrets = folder / "secrets"
    with (
        started(lambda place: ComposeKafka(place, secrets)) as kafka,
        started(lambda place: ComposeOpenSearch(place, secrets)) as opensearch,
    ):
        for server, address, more in (
            (kafka, f"127.0.0.1:{kafka.local}", []),
            (opensearch, f"https://localhost:{opensearch.port}", [DOCKER / "opensearch"]),
            (opensearch, f"https://localhost:{opensearch.port}", [DOCKER / "opensearch"]),  # it may be repeated
        ):
            script = DOCKER / server.name.lower() / "rights.sh"
            command = ["sh", script, address, secrets, *more]
            done = subprocess.run(command, env=kafka.environment(), capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        yield Deployment(folder, secrets, kafka, opensearch)


def test_lines_in_verdicts_out(deployment: Deployment):
    """Set up, sent to by the sender, judged by the worker with no more rights than it needs, read by the reader."""
    assert deployment.run("kafka-setup").count("created topic") == 5
    assert "create index template" in deployment.run("opensearch-setup")
    runs = sample_runs(4, bundle="tm500")

    async def send() -> None:
        producer = deployment.producer("sender")
        await producer.start()
        for message in interleaved(runs):
            headers = [(name, value.encode()) for name, value in message.headers.items()]
            await producer.send_and_wait("triage.logs", message.value, message.key, headers=headers)
        await producer.stop()

    asyncio.run(send())
    command, environment = deployment.service("worker")
    assert subprocess.run([*command[:-1], "check", "--servers"], env=environment, timeout=60, check=False).returncode == 0
    log = deployment.folder / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        store = deployment.folder / "worker" / "stream-triage" / "verdicts.sqlite"
        until(lambda: store.exists() and _count(store) == len(runs), 60, log.read_text())
    finally:
        worker.terminate()
        assert worker.wait(30) == 0, log.read_text()
    reader = OpenSearchSettings(
        hosts=(f"https://localhost:{deployment.opensearch.port}",),
        ca_file=deployment.secrets / "ca.pem",
        user="reader",
        password=deployment.password("opensearch-reader"),
    )
    with OpenSearchClient(reader) as server:
        hits = server.request("POST", "triage-verdicts-*/_search", {"size": 100})["hits"]["hits"]
        with pytest.raises(StoreError, match=r"docs/opensearch\.md"):
            server.request("POST", "triage-verdicts-*/_delete_by_query", {"query": {"match_all": {}}})
    found = [Verdict.model_validate_json(hit["_source"]["triage"]["verdict"]) for hit in hits]
    wanted = expected(runs, "tm500")
    assert {verdict.run_id for verdict in found} == set(wanted)
    for verdict in found:
        assert verdict.bundle_chosen  # `expected` names the bundle
        as_named = verdict.model_copy(update={"bundle_chosen": False})
        assert_same(undated(as_named), undated(wanted[verdict.run_id]))
    secrets = [path.read_text() for path in deployment.secrets.iterdir() if path.suffix != ".pem"]
    assert not any(secret.strip() in log.read_text() for secret in secrets)


def test_dashboards_are_imported_by_the_setup_user(deployment: Deployment):
    """Once it is there; all else was set up before, and stays."""
    deployment.run("opensearch-setup")
    asked = []

    def answer(method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
        asked.append((path, headers["Authorization"], body.count(b'"type": "dashboard"')))
        return 200, {"saved_objects": [], "success": True, "successCount": 1}

    with serving(answer) as url:
        deployment.dashboards = url
        said = deployment.run("dashboards-setup")
    pair = base64.b64encode(f"setup:{deployment.password('opensearch-setup')}".encode()).decode()
    paths = ["/api/saved_objects/_bulk_get", "/api/saved_objects/_import?overwrite=true"]
    assert [(path, user) for path, user, _ in asked] == [(path, f"Basic {pair}") for path in paths]
    assert asked[1][2] >= len(BOARDS)
    assert re.fullmatch(r"import .*\n(    new: \d+ of type [a-z-]+\n)+", said)


def test_the_worker_may_not_send_lines(deployment: Deployment):
    """Its rights are those of the table in docs/reliability.md."""

    async def send() -> None:
        producer = deployment.producer("worker")
        await producer.start()
        try:
            await producer.send_and_wait("triage.logs", b"x", b"y")
        finally:
            await producer.stop()

    with pytest.raises(TopicAuthorizationFailedError):
        asyncio.run(send())


@pytest.mark.parametrize(
    ("setting", "value"), [("KAFKA__GROUP", "another-group"), ("KAFKA__TOPIC", "triage.verdicts"), ("SINKS", '["kafka"]')]
)
def test_a_missing_right_ends_the_worker(deployment: Deployment, setting: str, value: str):
    """With 2, at once, and with the remedy: to start it again would not help. The last row lacks no right."""
    command, environment = deployment.service("worker")
    environment[f"STREAM_TRIAGE_{setting}"] = value
    environment["STREAM_TRIAGE_METRICS__LISTEN"] = f"127.0.0.1:{free_port()}"
    with (deployment.folder / "refused.log").open("w+") as log:
        worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: worker.poll() is not None or "partitions assigned" in Path(log.name).read_text(), 60)
            if setting == "SINKS":
                assert worker.poll() is None
                return
            status = worker.wait(30)
        finally:
            worker.terminate()
            worker.wait(30)
        text = Path(log.name).read_text()
    assert (status, "docs/reliability.md lists the rights" in text) == (2, True), text


def _count(path: Path) -> int:
    with closing(SqliteStore(path, create=False)) as store:
        return len(store.runs())
