"""The stand-ins for plugins behave as the real ones were seen to; other tests rely on it."""

import json
from typing import Any

from stream_triage.setup.monitors import monitor
from tests.setup.cluster import Cluster

MONITORS = "/_plugins/_alerting/monitors"


def ask(cluster: Cluster, method: str, path: str, content: Any = None, **headers: str) -> Any:
    """Status and content of a response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return cluster.plugins.answer(method, path, json.dumps(content).encode() if content else b"", named)


class TestAlerting:
    def test_ui_metadata_is_shown_to_dashboards_alone(self, cluster: Cluster) -> None:
        body = monitor(cluster.settings, "failed run") | {"ui_metadata": {"digest": "0123"}}
        _, answer = ask(cluster, "POST", MONITORS, body)
        path = f"{MONITORS}/{answer['_id']}"
        _, hidden = ask(cluster, "GET", path, User_Agent="opensearch-py/2.8.0")
        _, shown = ask(cluster, "GET", path, User_Agent="OpenSearch-Dashboards/3.3.0")
        assert "ui_metadata" not in hidden["monitor"]
        assert shown["monitor"]["ui_metadata"] == {"digest": "0123"}
        query = {"query": {"term": {"monitor.name.keyword": body["name"]}}}
        _, found = ask(cluster, "POST", f"{MONITORS}/_search", query)
        assert "ui_metadata" not in found["hits"]["hits"][0]["_source"]

    def test_alerts_go_with_their_trigger(self, cluster: Cluster) -> None:
        """A monitor that is replaced by one whose triggers have no ids loses its open alerts."""
        body = monitor(cluster.settings, "failed run")
        _, answer = ask(cluster, "POST", MONITORS, body)
        name, stored = answer["_id"], answer["monitor"]
        cluster.plugins.alert(name)
        ask(cluster, "PUT", f"{MONITORS}/{name}", stored)
        assert len(cluster.plugins.alerts[name]) == 1
        ask(cluster, "PUT", f"{MONITORS}/{name}", body)
        assert cluster.plugins.alerts[name] == []

    def test_queries_come_back_in_other_words(self, cluster: Cluster) -> None:
        body = monitor(cluster.settings, "failed run")
        _, answer = ask(cluster, "POST", MONITORS, body)
        assert answer["monitor"]["inputs"] != body["inputs"]
        _, again = ask(cluster, "PUT", f"{MONITORS}/{answer['_id']}", answer["monitor"])
        assert again["monitor"]["inputs"] == answer["monitor"]["inputs"]


class TestManagement:
    def test_a_question_about_no_index(self, cluster: Cluster) -> None:
        status, answer = ask(cluster, "GET", "/_plugins/_ism/explain/triage-verdicts-*")
        assert (status, "no documents to get" in answer["error"]["reason"]) == (400, True)


class TestDashboards:
    def test_formats_are_written_anew(self, cluster: Cluster) -> None:
        """With the same meaning, but not with the same text."""
        cluster.set_up()
        attributes = cluster.dashboards.attributes("index-pattern", "triage-verdicts")
        before = attributes["fieldFormatMap"]
        attributes["fieldFormatMap"] = json.dumps(json.loads(before) | {"a": {"id": "percent"}, "triage.z": {"id": "bytes"}})
        cluster.dashboards.show("triage-verdicts")
        after = json.loads(attributes["fieldFormatMap"])
        assert list(after) == sorted(after, reverse=True)
        assert all("parsedUrl" in about["params"] for about in after.values())
        assert "fields" in attributes
