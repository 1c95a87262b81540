"""docker/: linted, held to the schema and to our rules; tests/services/test_compose.py runs what it says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from stream_triage.cli import app
from stream_triage.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"] == "stream-triage"}
ONCE = {name for name, service in SERVICES.items() if service["restart"] == "no"}
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
BIN = Path(sys.executable).parent


def lint(*command: str | Path) -> str:
    done = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_dockerfile_is_clean():
    assert lint("hadolint", DOCKER / "Dockerfile") == ""


def test_compose_file_fits_its_schema(tmp_path):
    """And the check can fail."""
    schema = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    assert lint(*schema, DOCKER / "compose.yaml") == ""
    (tmp_path / "wrong.yaml").write_text("services: {a: {image: 3}}")
    assert "is not of type 'string'" in lint(*schema, tmp_path / "wrong.yaml")


@pytest.mark.parametrize("script", sorted(DOCKER.rglob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_clean(script):
    assert lint("shellcheck", script) == ""


@pytest.mark.parametrize("name", SERVICES)
class TestServices:
    def test_least_privilege(self, name):
        service = SERVICES[name]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "pid", "user"} & set(service)
        assert service.get("network_mode") in (None, "service:kafka")

    def test_nothing_listens_to_others(self, name):
        assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))

    def test_health(self, name):
        """What runs on has a check, here or in its image; what runs once is waited for to its end."""
        service = SERVICES[name]
        assert name in ONCE or name in OURS or "healthcheck" in service
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] == ("service_completed_successfully" if needed in ONCE else "service_healthy")

    def test_memory_is_limited(self, name):
        assert name in ONCE or "mem_limit" in SERVICES[name]

    def test_image_has_a_version(self, name):
        image = SERVICES[name]["image"]
        assert image == "stream-triage" or re.fullmatch(r"[\w/-]+:\d+\.\d+\.\d+", image)

    def test_files_are_there(self, name):
        """Each config is a file of the repository, each secret one that passwords.sh makes."""
        for config in SERVICES[name].get("configs", ()):
            assert (DOCKER / COMPOSE["configs"][config["source"]]["file"]).is_file()
        for secret in SERVICES[name].get("secrets", ()):
            assert (secret if isinstance(secret, str) else secret["source"]) in COMPOSE["secrets"]


@pytest.mark.parametrize("name", sorted(OURS))
class TestOurs:
    def test_command_is_one(self, name):
        command = typer.main.get_command(app)
        for word in SERVICES[name]["command"]:
            command = command.commands[word]

    def test_settings_are_known(self, name, monkeypatch, tmp_path):
        """The environment and the names of the secret files, and no secret in the former."""
        for variable, value in SERVICES[name]["environment"].items():
            monkeypatch.setenv(variable, value.replace("/run/secrets", str(tmp_path)))
            assert "PASSWORD" not in variable
        for secret in SERVICES[name]["secrets"]:
            if not secret["target"].startswith("/"):
                (tmp_path / secret["target"]).write_text("{}")
        settings = Settings()
        assert {settings.kafka.user, settings.opensearch.user} - {None}
        for section in (settings.kafka, settings.opensearch):
            assert (section.user is None) == (section.password is None)

    def test_root_is_read_only(self, name):
        """But for the places that the Dockerfile names."""
        service = SERVICES[name]
        assert service["read_only"] is True
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[2] in re.search(r"VOLUME (.*)", DOCKERFILE)[1]


def test_versions_are_those_of_the_tests():
    for image, pom in (("apache/kafka", "kafka"), ("opensearchproject/opensearch", "opensearch")):
        version = next(service["image"] for service in SERVICES.values() if service["image"].startswith(f"{image}:"))
        text = (ROOT / "tests" / "services" / f"{pom}.pom.xml").read_text()
        assert f"<version>{version.partition(':')[2]}</version>" in text


def test_image_is_small_and_its_user_is_nobody():
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert all("-slim" in image for image in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert DOCKERFILE.count("--require-hashes") == 2
    assert "HEALTHCHECK" in DOCKERFILE


def test_roles_are_those_of_the_docs():
    """Those in docs/opensearch.md of the worker and of the one who sets up, as the image's users get them."""
    text = (ROOT / "docs" / "opensearch.md").read_text().split("## Rights")[1].partition("\n## ")[0]
    documented = [json.loads(role) for role in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert [json.loads((DOCKER / "opensearch" / f"{name}.json").read_text()) for name in ("worker", "setup")] == documented


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("place", ["docs/stream-triage.service", "connectors/shipper/triage-ship.service"])
def test_systemd_unit_is_valid(place, tmp_path):
    """But for its program, which lies elsewhere here; its exposure is what systemd calls OK."""
    unit = tmp_path / Path(place).name
    text = (ROOT / place).read_text()
    unit.write_text(re.sub(r"(?<=ExecStart=)\S+", "/bin/true", text))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    exposure = ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit]
    subprocess.run(exposure, capture_output=True, check=True)


class TestPasswords:
    @pytest.fixture
    def script(self, tmp_path) -> Path:
        shutil.copy(DOCKER / "passwords.sh", tmp_path)
        return tmp_path / "passwords.sh"

    def run(self, script: Path, *names: str) -> str:
        done = subprocess.run(["sh", script, *names], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout

    def test_made_once(self, script):
        """All that compose.yaml mounts, for others to enter not at all; nothing of it is printed or made twice."""
        told = self.run(script, "farm.example", "10.0.0.7")
        folder = script.parent / "secrets"
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} <= set(before)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
        assert not any(value.decode().strip() in told for name, value in before.items() if "-" in name)
        assert len({value for name, value in before.items() if name.startswith(("kafka-", "opensearch-"))}) >= 8
        assert self.run(script) == ""
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    def test_certificates_name_the_hosts(self, script):
        self.run(script, "farm.example", "10.0.0.7")
        folder = script.parent / "secrets"
        for name, host in (("kafka", "kafka"), ("opensearch", "opensearch")):
            checked = ["openssl", "verify", "-CAfile", folder / "ca.pem", folder / f"{name}.pem"]
            subprocess.run(checked, check=True, capture_output=True)
            shown = ["openssl", "x509", "-in", folder / f"{name}.pem", "-noout", "-ext", "subjectAltName"]
            names = subprocess.run(shown, check=True, capture_output=True, text=True).stdout
            for wanted in (
                f"DNS:{host}",
                "DNS:localhost",
                "IP Address:127.0.0.1",
                "DNS:farm.example",
                "IP Address:10.0.0.7",
            ):
                assert wanted in names


@pytest.mark.slow
def test_steps_of_the_dockerfile(tmp_path):
    """Those that make wheels and environment, with the files it copies; then what came of it judges a run."""
    place = tmp_path / "build"
    place.mkdir()
    stage = DOCKERFILE.split("\nFROM ")[1].replace("/opt/stream-triage", str(tmp_path / "opt"))
    for line in re.sub(r"\\\n", "", stage).splitlines():
        step, _, rest = line.partition(" ")
        if step == "COPY":
            *files, target = rest.split()
            for name in files:
                into = place / target / (Path(name).name if target.endswith("/") else "")
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(ROOT / name, into) if (ROOT / name).is_dir() else shutil.copy(ROOT / name, into)
        elif step == "RUN":
            environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
            done = subprocess.run(rest, shell=True, cwd=place, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    state = tmp_path / "state"
    state.mkdir()
    command = [tmp_path / "opt" / "bin" / "stream-triage", "run", ROOT / "samples" / "tm500" / "rejected.log"]
    environment = {"XDG_DATA_HOME": str(state), "HOME": "/nonexistent", "TMPDIR": str(state), "PATH": "/usr/bin:/bin"}
    judged = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert judged.returncode == 1, judged.stderr
    assert (state / "stream-triage" / "verdicts.sqlite").exists()
