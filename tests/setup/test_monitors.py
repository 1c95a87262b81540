"""Monitors on a stand-in for the plugin Alerting: what a set-up creates, updates, and leaves as people made it."""

import copy
import json
from typing import Any

import pytest

from stream_triage.setup import monitors as monitors_module
from stream_triage.setup.monitor_rules import RULES, THROTTLE_MINUTES, Rule
from stream_triage.setup.monitors import monitor
from stream_triage.setup.opensearch import set_up
from tests.services.plugins import serving
from tests.setup.cluster import TEMPLATES, Cluster

NAMES = sorted(RULES)


def trigger(cluster: Cluster, name: str) -> dict[str, Any]:
    """The trigger of ours in a stored monitor."""
    content: dict[str, Any] = cluster.plugins.named(name)[1]["triggers"][0]["query_level_trigger"]
    return content


def later_version(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """A version of the product with another rule."""
    rules: dict[str, Rule] = {**RULES, name: RULES[name]._replace(**changes)}
    monkeypatch.setattr(monitors_module, "RULES", rules)


class TestCreation:
    def test_a_second_set_up_changes_nothing(self, cluster: Cluster) -> None:
        """The plugin rewrites queries and hides `ui_metadata`, and open alerts stay open."""
        planned = cluster.set_up(dry_run=True)
        assert cluster.plugins.monitors == {}
        assert cluster.set_up().done == planned.done
        before = copy.deepcopy(cluster.plugins.monitors)
        for name in before:
            cluster.plugins.alert(name)
        assert cluster.unchanged() == []
        assert cluster.set_up(dry_run=True).done == []
        assert cluster.plugins.monitors == before
        assert all(cluster.plugins.alerts.values())

    def test_severities(self, cluster: Cluster) -> None:
        """What cannot wait is the most severe, and a review the least."""
        severities = {name: rule.severity for name, rule in RULES.items()}
        assert severities["verdicts stopped"] == min(severities.values()) == 1
        assert severities["run to review"] == max(severities.values()) == 5
        assert len(set(severities.values())) == 5
        cluster.set_up()
        assert trigger(cluster, "run to review")["severity"] == "5"

    def test_a_monitor_that_is_gone_is_created_again(self, cluster: Cluster) -> None:
        cluster.set_up()
        name, content = cluster.plugins.named("failed run")
        del cluster.plugins.monitors[name]
        assert cluster.set_up().done == [f"create monitor {content['name']}"]
        assert cluster.unchanged() == []

    @pytest.mark.parametrize("name", NAMES)
    def test_links(self, cluster: Cluster, name: str) -> None:
        """Messages link to Dashboards if its address is known."""
        channel = {"notification_channel": "c1"}
        body = monitor(cluster.settings.model_copy(update={**channel, "dashboards_url": "https://shown/_dashboards/"}), name)
        (action,) = body["triggers"][0]["query_level_trigger"]["actions"]
        text = action["message_template"]["source"]
        assert "https://shown/_dashboards/app/dashboards#/view/triage-" in text
        assert "<" not in text
        plain = monitor(cluster.settings.model_copy(update={**channel, "dashboards_url": None}), name)
        assert "http" not in str(plain["triggers"])
        assert "<" not in plain["triggers"][0]["query_level_trigger"]["actions"][0]["message_template"]["source"]


class TestManualChanges:
    def test_they_stay(self, cluster: Cluster) -> None:
        """A disabled monitor, another schedule, limit, severity and name; each is named with what ours would be."""
        cluster.set_up()
        _, failed = cluster.plugins.named("failed run")
        _, stopped = cluster.plugins.named("verdicts stopped")
        failed["enabled"], failed["enabled_time"] = False, None
        failed["schedule"] = {"period": {"interval": 10, "unit": "MINUTES"}}
        trigger(cluster, "failed run")["severity"] = "1"
        trigger(cluster, "failed run")["condition"]["script"]["source"] = "ctx.results[0].hits.total.value > 3"
        stopped["name"] = "is the worker alive?"
        before = copy.deepcopy(cluster.plugins.monitors)
        kept = cluster.unchanged()
        assert cluster.plugins.monitors == before
        assert kept[0] == (
            "monitor triage: verdicts stopped: name was changed by someone to is the worker alive?; "
            "ours would be triage: verdicts stopped"
        )
        words = [line.removeprefix("monitor triage: failed run: ") for line in kept[1:]]
        assert words[0] == "enabled was changed by someone to false; ours would be true"
        assert words[1] == "schedule was changed by someone to 10 minutes; ours would be 5 minutes"
        assert words[2] == "severity was changed by someone to 1; ours would be 3"
        assert words[3].startswith(
            "condition was changed by someone to ctx.results[0].hits.total.value > 3; ours would be ctx."
        )

    def test_an_update_merges(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """A later version changes what people left alone; their schedule, triggers, actions and open alerts stay."""
        cluster.set_up(notification_channel="c1")
        name, known = cluster.plugins.named("failed run")
        known["schedule"] = {"period": {"interval": 10, "unit": "MINUTES"}}
        known["ui_metadata"] = {"schedule": {"frequency": "interval"}}
        known["triggers"].append(copy.deepcopy(known["triggers"][0]))
        known["triggers"][1]["query_level_trigger"] |= {"id": "own", "name": "of my own"}
        trigger(cluster, "failed run")["actions"].append({"id": "page", "name": "page me", "destination_id": "c2"})
        cluster.plugins.alert(name)
        alerts = list(cluster.plugins.alerts[name])
        later_version(monkeypatch, "failed run", severity=2, message="shorter")
        planned = cluster.set_up(dry_run=True, notification_channel="c1")
        assert planned.done == ["update monitor triage: failed run"]
        (details,) = planned.details.values()
        assert details[0] == "severity: 3 → 2"
        assert details[1].endswith("→ shorter")
        assert len(details) == 2
        assert cluster.set_up(notification_channel="c1").done == planned.done
        updated = cluster.plugins.monitors[name]
        assert updated["schedule"]["period"]["interval"] == 10
        assert updated["ui_metadata"] == {"schedule": {"frequency": "interval"}}
        ours, own = (each["query_level_trigger"] for each in updated["triggers"])
        assert (ours["severity"], own["name"]) == ("2", "of my own")
        assert ours["actions"][0]["message_template"]["source"] == "shorter"
        assert ours["actions"][1] == {"id": "page", "name": "page me", "destination_id": "c2"}
        assert cluster.plugins.alerts[name] == alerts
        assert len(cluster.unchanged(notification_channel="c1")) == 1

    def test_a_conflict_is_kept_over_versions(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """What both people and two later versions change stays as people made it, until a reset."""
        cluster.set_up()
        trigger(cluster, "failed run")["severity"] = "1"
        later_version(monkeypatch, "failed run", severity=4, condition="true")
        assert cluster.set_up().kept == ["monitor triage: failed run: severity was changed by someone to 1; ours would be 4"]
        later_version(monkeypatch, "failed run", severity=5, condition="false")
        assert len(cluster.set_up().kept) == 1
        assert trigger(cluster, "failed run")["severity"] == "1"
        assert trigger(cluster, "failed run")["condition"]["script"]["source"] == "false"
        assert cluster.set_up(reset=["failed run"]).done == ["update monitor triage: failed run"]
        assert trigger(cluster, "failed run")["severity"] == "5"
        assert cluster.unchanged() == []

    def test_all_is_reset(self, cluster: Cluster) -> None:
        cluster.set_up()
        for content in cluster.plugins.monitors.values():
            content["enabled"] = False
        assert len(cluster.set_up(dry_run=True, reset=["all"]).done) == len(RULES)
        cluster.set_up(reset=["all"])
        assert all(content["enabled"] for content in cluster.plugins.monitors.values())
        assert cluster.set_up(reset=["all"]).done == []

    def test_a_monitor_of_another_type(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody made it one that watches buckets: it stays as it is."""
        cluster.set_up()
        _, known = cluster.plugins.named("failed run")
        known |= {"monitor_type": "bucket_level_monitor", "triggers": [{"bucket_level_trigger": {"id": "b", "name": "b"}}]}
        before = copy.deepcopy(known)
        later_version(monkeypatch, "failed run", severity=2)
        assert [line.rpartition(": ")[2].partition(";")[0] for line in cluster.unchanged()] == [
            "severity was removed by someone",
            "condition was removed by someone",
        ]
        assert known == before

    def test_a_monitor_of_a_version_without_copies(self, cluster: Cluster) -> None:
        """It gets the query and the message of this version; whether and how often it runs stays."""
        old = monitor(cluster.settings, "failed run") | {"enabled": False, "ui_metadata": {"stream_triage": "0123"}}
        old["inputs"] = [{"search": {"indices": ["triage-verdicts-*"], "query": {"query": {"match_all": {}}}}}]
        status, answer = cluster.plugins.answer("POST", "/_plugins/_alerting/monitors", json.dumps(old).encode(), {})
        assert status == 201
        changes = cluster.set_up()
        assert "update monitor triage: failed run" in changes.done
        stored = cluster.plugins.monitors[answer["_id"]]
        assert stored["enabled"] is False
        assert "event.ingested" in str(stored["inputs"])
        assert cluster.unchanged() == [
            "monitor triage: failed run: enabled was changed by someone to false; ours would be true"
        ]

    @pytest.mark.parametrize(("minutes", "kept"), [(60, 0), (15, 1)])
    def test_the_throttle_of_a_version_without_copies(self, cluster: Cluster, minutes: int, kept: int) -> None:
        """It was 60 minutes, which is no change by people; any other is."""
        old = monitor(cluster.settings.model_copy(update={"notification_channel": "c1"}), "failed run")
        old["triggers"][0]["query_level_trigger"]["actions"][0]["throttle"]["value"] = minutes
        cluster.plugins.answer("POST", "/_plugins/_alerting/monitors", json.dumps(old).encode(), {})
        assert len(cluster.set_up(notification_channel="c1").kept) == kept
        throttle = trigger(cluster, "failed run")["actions"][0]["throttle"]["value"]
        assert throttle == (minutes if kept else THROTTLE_MINUTES)
        assert len(cluster.unchanged(notification_channel="c1")) == kept

    def test_channel(self, cluster: Cluster) -> None:
        """With a channel the monitors get an action, and without it they lose it again."""
        cluster.set_up()
        assert len(cluster.set_up(notification_channel="c1").done) == len(RULES)
        assert all(trigger(cluster, name)["actions"][0]["destination_id"] == "c1" for name in NAMES)
        assert cluster.unchanged(notification_channel="c1") == []
        assert len(cluster.set_up().done) == len(RULES)
        assert not any(trigger(cluster, name)["actions"] for name in NAMES)

    def test_someone_saves_at_the_same_time(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """An update is rejected if the monitor has changed since it was read; the other monitors are updated."""
        cluster.set_up()
        name, _ = cluster.plugins.named("failed run")
        later_version(monkeypatch, "failed run", severity=2)
        other, _ = cluster.plugins.named("run to review")
        del cluster.plugins.monitors[other]
        answer = cluster.plugins.answer

        def meanwhile(method: str, path: str, body: bytes, headers: Any) -> Any:
            if method == "PUT" and path.startswith(f"/_plugins/_alerting/monitors/{name}"):
                cluster.plugins._sequence[name] += 1
            return answer(method, path, body, headers)

        with serving(meanwhile) as url:
            changes = set_up(cluster.settings.model_copy(update={"hosts": (url,)}), ("tiny", "1"), TEMPLATES)
        assert changes.failed[0].startswith("monitor triage: failed run was changed at the same moment; repeat: ")
        assert changes.done == ["update monitor triage: failed run", "create monitor triage: run to review"]
        assert trigger(cluster, "failed run")["severity"] == "3"


class TestBadLuck:
    @pytest.mark.parametrize("written", [False, True])
    def test_an_aborted_update(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, written: bool) -> None:
        """The next set-up makes the update again, and takes nothing of it for a change by people."""
        cluster.set_up()
        trigger(cluster, "failed run")["severity"] = "1"
        later_version(monkeypatch, "failed run", severity=2, query=RULES["run to review"].query, message="other")
        answer = cluster.plugins.answer

        def aborted(method: str, path: str, body: bytes, headers: Any) -> Any:
            if method == "PUT" and "/_alerting/" in path:
                if written:
                    answer(method, path, body, headers)
                raise ConnectionError
            return answer(method, path, body, headers)

        with serving(aborted) as url:
            failed = set_up(cluster.settings.model_copy(update={"hosts": (url,)}), ("tiny", "1"), TEMPLATES)
        assert failed.failed
        kept = ["monitor triage: failed run: severity was changed by someone to 1; ours would be 2"]
        assert cluster.set_up().kept == kept
        assert "review_reasons" in json.dumps(cluster.plugins.named("failed run")[1]["inputs"])
        assert cluster.unchanged() == kept
        later_version(monkeypatch, "failed run", query=RULES["anomalous pass"].query)
        assert cluster.set_up().done == ["update monitor triage: failed run"]
        assert cluster.unchanged() == [kept[0].replace("be 2", "be 3")]

    def test_two_monitors_of_one_name(self, cluster: Cluster) -> None:
        """Two set-ups at the same moment can create a monitor twice: it is named until one of them is deleted."""
        cluster.set_up()
        name, content = cluster.plugins.named("failed run")
        status, second = cluster.plugins.answer(
            "POST", "/_plugins/_alerting/monitors", json.dumps(content).encode(), {"User-Agent": "x"}
        )
        assert status == 201
        other = second["_id"]
        assert cluster.unchanged() == [
            f"monitor triage: failed run: {other} has the same name, so alerts come twice; delete all but {name}"
        ]
        del cluster.plugins.monitors[other]
        assert cluster.unchanged() == []

    def test_a_renamed_monitor_and_one_of_the_old_name(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ours is the one that a set-up made; a monitor of people with our name is left alone."""
        cluster.set_up()
        name, content = cluster.plugins.named("failed run")
        theirs = copy.deepcopy(content) | {"enabled": False}
        cluster.plugins.monitors = {"theirs": theirs, **cluster.plugins.monitors}
        cluster.plugins._sequence["theirs"] = 0
        content["name"] = "renamed"
        before = copy.deepcopy(theirs)
        later_version(monkeypatch, "failed run", severity=2)
        assert cluster.set_up().done == ["update monitor triage: failed run"]
        assert cluster.plugins.monitors[name]["triggers"][0]["query_level_trigger"]["severity"] == "2"
        assert theirs == before

    def test_two_set_ups_at_once(self, cluster: Cluster) -> None:
        """The index of copies that the other one has just created is no failure."""
        created = []

        def raced(method: str, path: str, body: bytes, headers: Any) -> Any:
            if (method, path) == ("PUT", "/triage-setup"):
                created.append(cluster.plugins.answer(method, path, body, headers)[0])
            return cluster.plugins.answer(method, path, body, headers)

        with serving(raced) as url:
            changes = set_up(cluster.settings.model_copy(update={"hosts": (url,)}), ("tiny", "1"), TEMPLATES)
        assert (changes.failed, created) == ([], [200])
        assert cluster.unchanged() == []
