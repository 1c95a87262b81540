"""The recipes in connectors/recipes and the commands of docs/lab.md: other shippers give the same verdicts as files."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from tests.services.conftest import unavailable
from tests.services.farm import Farm, Message, expected, sample_runs, until
from tests.services.farm import TestRun as Run
from tests.verdicts import assert_same

pytestmark = [pytest.mark.service, pytest.mark.slow]

MakeFarm = Callable[..., Farm]
ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "connectors" / "recipes"


def needs(program: str, package: str) -> None:
    if shutil.which(program) is None:
        unavailable(f"{program} is missing; on Debian: apt-get install {package}")


def assert_judged(farm: Farm, runs: Mapping[str, Run]) -> None:
    until(lambda: farm.count_stored() == len(runs), 60, "all runs have a verdict")
    stored, wanted = farm.stored(), expected(list(runs.values()))
    for name in runs:
        lengths = [{source.source: source.lines for source in verdict.sources} for verdict in (stored[name], wanted[name])]
        assert lengths[0] == lengths[1], "lines came twice or not at all"
        varying = {"time": None, "started": None, "headers": {}, "version": 1, "sources": ()}
        assert_same(stored[name].model_copy(update=varying), wanted[name].model_copy(update=varying))


def some_runs(count: int, *, empty_lines: bool = True) -> dict[str, Run]:
    """Runs by the names of their folders; without empty lines for shippers that skip them."""
    runs = {}
    for run in sample_runs(count):
        name = run.run_id.replace("/", "-")
        sources = {
            source: b"".join(line for line in text.splitlines(keepends=True) if empty_lines or line.strip(b"\n"))
            for source, text in run.sources.items()
        }
        runs[name] = Run(name, sources)
    return runs


def test_rsyslog(make_farm: MakeFarm, tmp_path: Path):
    """The recipe, with other paths, broker and topic."""
    needs("rsyslogd", "rsyslog rsyslog-kafka")
    farm, runs = make_farm(format="json", idle_seconds=4), some_runs(3, empty_lines=False)
    (tmp_path / "work").mkdir()
    text = (RECIPES / "rsyslog.conf").read_text()
    for before, after in {
        "/var/spool/rsyslog": str(tmp_path / "work"),
        "127.0.0.1:9092": farm.kafka.servers[0],
        "triage.logs": farm.kafka.topic,
        "/logs/": f"{tmp_path}/logs/",
    }.items():
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "rsyslog.conf").write_text(text)
    for name, run in runs.items():
        (tmp_path / "logs" / name).mkdir(parents=True)
        for source, lines in run.sources.items():
            (tmp_path / "logs" / name / f"{source}.log").write_bytes(lines)
    command = ["rsyslogd", "-n", "-f", str(tmp_path / "rsyslog.conf"), "-i", str(tmp_path / "pid")]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with farm.worker():
            assert_judged(farm, runs)
    finally:
        process.terminate()
        process.wait(20)


def test_kcat(make_farm: MakeFarm, tmp_path: Path):
    """The command of docs/lab.md, once for each source."""
    needs("kcat", "kcat")
    farm, runs = make_farm(idle_seconds=4), some_runs(2, empty_lines=False)
    (command,) = re.findall(r"^(kcat .*)$", (ROOT / "docs" / "lab.md").read_text(), re.MULTILINE)
    for name, run in runs.items():
        for source, lines in run.sources.items():
            log = tmp_path / f"{name}-{source}.log"
            log.write_bytes(lines)
            adapted = command.replace("kafka:9092", farm.kafka.servers[0]).replace("triage.logs", farm.kafka.topic)
            adapted = adapted.replace("attach-17", name).replace("source=tm500", f"source={source}")
            subprocess.run(shlex.split(adapted.replace("tm500.log", str(log))), check=True, timeout=30)
    with farm.worker():
        assert_judged(farm, runs)


@pytest.mark.parametrize("recipe", ["fluent-bit.yaml", "vector.yaml"])
def test_messages_of_other_shippers(recipe: str, make_farm: MakeFarm):
    """These shippers are not installed: messages with the fields that their recipes configure are sent instead."""
    config = yaml.safe_load((RECIPES / recipe).read_text())
    if recipe == "vector.yaml":
        sink = config["sinks"]["kafka"]
        assert (sink["encoding"], sink["key_field"], sink["topic"]) == ({"codec": "json"}, "run", "triage.logs")
        fields = re.findall(r'"(\S+?)":', config["transforms"]["named"]["source"])
        assert fields == ["@timestamp", "message", "run", "source"]
    else:
        (sink,), (source,) = config["pipeline"]["outputs"], config["pipeline"]["inputs"]
        assert (sink["format"], sink["message_key_field"], sink["topics"]) == ("json", "run", "triage.logs")
        fields = [
            sink["timestamp_key"],
            source["key"],
            *re.findall(r"\?<(\w+)>", config["parsers"][0]["regex"]),
            source["path_key"],
        ]
        assert fields == ["@timestamp", "message", "run", "source", "path"]
    farm, runs = make_farm(format="json", idle_seconds=4), some_runs(2)
    messages = []
    for name, run in runs.items():
        for source, text in run.sources.items():
            for line in text.decode().splitlines():
                values = {"@timestamp": "2026-11-25T12:00:00.000000Z", "message": line, "run": name, "source": source,
                          "path": f"/logs/{name}/{source}.log"}  # fmt: skip
                messages.append(Message(name.encode(), json.dumps({field: values[field] for field in fields}).encode()))
    farm.send(messages)
    with farm.worker():
        assert_judged(farm, runs)


def test_rsyslog_configuration_is_valid(tmp_path: Path):
    """By rsyslog's own check."""
    needs("rsyslogd", "rsyslog rsyslog-kafka")
    done = subprocess.run(
        ["rsyslogd", "-N1", "-f", RECIPES / "rsyslog.conf"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
