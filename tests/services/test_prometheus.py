"""monitoring/: every query of the Grafana dashboard and every alarm, asked of a real Prometheus that reads a real worker."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stream_triage.records import Verdict
from tests.services.conftest import unavailable
from tests.services.farm import Farm, Message, interleaved, sample_runs, until
from tests.services.servers import free_port

pytestmark = [pytest.mark.service, pytest.mark.slow]

PLACE = Path(__file__).parents[2] / "monitoring"
BOARD = json.loads((PLACE / "grafana-dashboard.json").read_text())
ALARMS = PLACE / "prometheus-alerts.yaml"
QUERIES = [(panel["title"], target["expr"]) for panel in BOARD["panels"] for target in panel["targets"]]
RUNS = 6


def asked(port: int, path: str, **query: str) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return json.load(answer)


class Scraped:
    """A worker that has judged some runs and refused a message, and the Prometheus that watched it."""

    def __init__(self, farm: Farm, metrics: int, prometheus: int) -> None:
        self.farm, self.metrics, self.prometheus = farm, metrics, prometheus

    def ask(self, expression: str) -> list[dict]:
        told = asked(self.prometheus, "/api/v1/query", query=expression)
        assert told["status"] == "success"
        return told["data"]["result"]


@pytest.fixture(scope="module")
def scraped(kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    if shutil.which("prometheus") is None:
        unavailable("Prometheus is missing; on Debian: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    farm, metrics, port = Farm(folder / "farm", kafka.bootstrap, "watched"), free_port(), free_port()
    farm.more_settings["metrics"] = {"listen": f"127.0.0.1:{metrics}"}
    job = {"job_name": "stream-triage", "static_configs": [{"targets": [f"127.0.0.1:{metrics}"]}]}
    told = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [job],
        "rule_files": [str(ALARMS)],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(told))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        with farm.worker():
            watch = Scraped(farm, metrics, port)
            until(
                lambda: _answers(port) and watch.ask('up{job="stream-triage"} == 1') != [], 60, "Prometheus reads the worker"
            )
            farm.send([Message(None, b"whose am I\n"), *interleaved(sample_runs(RUNS))])
            done = f"sum(stream_triage_verdicts_total) == {RUNS}"
            until(lambda: farm.count_stored() == RUNS and watch.ask(done) != [], 60, "all runs are counted")
            time.sleep(3)  # so that rates have points on both sides
            yield watch
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    try:
        return asked(port, "/api/v1/query", query="1")["status"] == "success"
    except OSError:
        return False


def test_every_query_answers(scraped: Scraped):
    """With the variables of Grafana filled in, none is wrong and none is empty, but those about last week."""
    for title, expression in QUERIES:
        filled = expression.replace("$job", ".*").replace("$__rate_interval", "1m")
        assert "$" not in filled
        found = scraped.ask(filled)
        assert found or "offset 7d" in filled, f"{title}: {expression} gives nothing"


def test_every_metric_is_shown(scraped: Scraped):
    """And the board asks for nothing that /metrics lacks."""
    with urllib.request.urlopen(f"http://127.0.0.1:{scraped.metrics}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    there = {name for name in re.findall(r"^(stream_triage_\w+)", text, re.MULTILINE) if not name.endswith("_created")}
    shown = set(re.findall(r"stream_triage_\w+", " ".join(expression for _, expression in QUERIES)))
    assert shown <= there
    assert there - shown == {"stream_triage_flush_seconds_count", "stream_triage_flush_seconds_sum"}
    named = set(re.findall(r"stream_triage_\w+", ALARMS.read_text()))
    assert named <= there


def test_numbers_are_those_of_the_verdicts(scraped: Scraped):
    verdicts: dict[str, Verdict] = scraped.farm.stored()
    by_label = {
        each["metric"]["label"]: int(each["value"][1])
        for each in scraped.ask("sum by (label) (stream_triage_verdicts_total)")
    }
    labels = [verdict.label for verdict in verdicts.values()]
    assert by_label == {label: labels.count(label) for label in labels}
    ((lines,), (refused,)) = (scraped.ask(f"sum(stream_triage_{name}_total)") for name in ("lines", "refused"))
    assert int(lines["value"][1]) == sum(verdict.lines for verdict in verdicts.values())
    assert int(refused["value"][1]) == 1


def test_the_alarm_for_refused_messages_rings(scraped: Scraped):
    ringing = {alarm["labels"]["alertname"] for alarm in asked(scraped.prometheus, "/api/v1/alerts")["data"]["alerts"]}
    # A counter that appears at 1 has not increased yet, so Prometheus rings with the second.
    assert ringing <= {"StreamTriageRefuses"}
    scraped.farm.send([Message(None, b"nor I\n")])

    def rings() -> bool:
        told = asked(scraped.prometheus, "/api/v1/alerts")["data"]["alerts"]
        return [alarm["state"] for alarm in told if alarm["labels"]["alertname"] == "StreamTriageRefuses"] == ["firing"]

    until(rings, 30, "the alarm rings")


def series(name: str, values: str, **labels: str) -> dict:
    told = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{told}}}", "values": values}


@pytest.mark.parametrize(("alarm", "given", "minute", "labels"), [
    ("StreamTriageWorkerGone", series("up", "1 1 0x10", job="stream-triage", instance="a"), 6,
     {"job": "stream-triage", "instance": "a", "severity": "critical"}),
    ("StreamTriageBehind", series("stream_triage_messages_behind", "200000x30", partition="0"), 20, {"severity": "warning"}),
    ("StreamTriageCannotWrite", series("stream_triage_flush_failures_total", "0+1x30", instance="a"), 15,
     {"instance": "a", "severity": "critical"}),
    ("StreamTriageSilent", series("stream_triage_last_verdict_timestamp_seconds", "60x90"), 80, {"severity": "warning"}),
])  # fmt: skip
def test_alarms_ring_when_they_should(alarm: str, given: dict, minute: int, labels: dict, tmp_path: Path):
    """By promtool: silent at first, ringing then."""
    if shutil.which("promtool") is None:
        unavailable("promtool is missing; on Debian: apt-get install prometheus")
    rule = next(
        rule for group in yaml.safe_load(ALARMS.read_text())["groups"] for rule in group["rules"] if rule["alert"] == alarm
    )
    when = [{"eval_time": "1m", "alertname": alarm}, {"eval_time": f"{minute}m", "alertname": alarm}]
    when[1]["exp_alerts"] = [{"exp_labels": labels, "exp_annotations": {}}]
    case = {"interval": "1m", "input_series": [given], "alert_rule_test": when}
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": [{**rule, "annotations": {}}]}]}))
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [case]})
    )
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "test.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run(["promtool", "check", "rules", ALARMS], capture_output=True, check=False).returncode == 0
