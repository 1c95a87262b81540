"""Retention on a stand-in for the plugin ISM."""

import copy
from typing import Any

import pytest

from stream_triage.settings import OpenSearchSettings, load_settings
from stream_triage.setup.opensearch import set_up
from tests.services.plugins import serving
from tests.setup.cluster import TEMPLATES, Cluster

INDEX = "triage-verdicts-2026.11"


@pytest.fixture
def cluster(cluster: Cluster) -> Cluster:
    """Without boards: their links look back as long as verdicts are kept."""
    cluster.settings = cluster.settings.model_copy(update={"dashboards_url": None})
    return cluster


def index(cluster: Cluster, name: str = INDEX) -> None:
    cluster.memory.request("PUT", name, {})


def states(cluster: Cluster) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = cluster.plugins.policies["triage-verdicts"]["policy"]["states"]
    return content


class TestPolicies:
    def test_fresh_cluster(self, cluster: Cluster) -> None:
        """ISM answers 400 to a question about no index; that is no failure, and a second set-up changes nothing."""
        done = cluster.set_up().done
        assert "create retention policy triage-verdicts" in done
        assert "create retention policy triage-lines" in done
        assert cluster.unchanged() == []

    def test_plugin_that_is_missing(self, cluster: Cluster) -> None:
        """It is named with what follows; where retention is off, nothing follows."""
        cluster.plugins.missing = ("ism",)
        assert cluster.set_up(lines_max_age_days=None).skipped == [
            "retention of verdicts: the plugin opensearch-index-management is not installed in OpenSearch; "
            "old indices are not deleted",
            "retention of lines and workers: the plugin opensearch-index-management is not installed in OpenSearch",
            "dashboards: opensearch.dashboards_url is not set; or import the file that --export writes",
        ]

    def test_existing_indices_come_under_it(self, cluster: Cluster) -> None:
        index(cluster)
        assert f"put {INDEX} under retention policy triage-verdicts" in cluster.set_up().done
        assert cluster.plugins.managed == {INDEX: "triage-verdicts"}
        assert cluster.unchanged() == []

    def test_other_number_of_days(self, cluster: Cluster) -> None:
        """The policy follows the setting, and so do its indices; an index under people's policy stays there."""
        index(cluster)
        index(cluster, "triage-verdicts-2026.10")
        cluster.set_up()
        cluster.plugins.policies["theirs"] = cluster.plugins.policies["triage-verdicts"]
        cluster.plugins.managed["triage-verdicts-2026.10"] = "theirs"
        changes = cluster.set_up(verdicts_max_age_days=10)
        assert changes.done == ["update retention policy triage-verdicts"]
        assert changes.details[changes.done[0]] == [
            "min_index_age: 9504h → 984h",
        ]
        assert cluster.plugins.managed == {INDEX: "triage-verdicts", "triage-verdicts-2026.10": "theirs"}
        assert cluster.unchanged(verdicts_max_age_days=10) == []

    def test_edited_policies_stay(self, cluster: Cluster) -> None:
        """Somebody keeps indices longer and takes a snapshot first; another setting does not undo it."""
        cluster.set_up()
        states(cluster)[0]["transitions"][0]["conditions"]["min_index_age"] = "20000h"
        states(cluster)[1]["actions"].insert(0, {"snapshot": {"repository": "backup"}})
        before = copy.deepcopy(cluster.plugins.policies)
        other, age = cluster.unchanged()
        assert age == (
            "retention policy triage-verdicts: min_index_age was changed by someone to 20000h; ours would be 9504h"
        )
        assert other.startswith("retention policy triage-verdicts: states was changed by someone to")
        assert cluster.plugins.policies == before
        assert cluster.unchanged(verdicts_max_age_days=10)[1].endswith("20000h; ours would be 984h")
        assert cluster.plugins.policies == before
        cluster.set_up(verdicts_max_age_days=10, reset=["retention policy triage-verdicts"])
        assert states(cluster)[0]["transitions"][0]["conditions"]["min_index_age"] == "984h"

    @pytest.mark.parametrize("edited", [False, True])
    def test_policies_of_a_version_without_copies(self, cluster: Cluster, edited: bool) -> None:
        """They follow the setting, unless somebody has edited them."""
        cluster.set_up()
        cluster.memory.request("DELETE", "triage-setup")
        policy = cluster.plugins.policies["triage-verdicts"]["policy"]
        policy["description"] = "stream-triage keeps 365 days, 0123456789abcdef"
        if edited:
            states(cluster)[0]["transitions"][0]["conditions"]["min_index_age"] = "20000h"
        changes = cluster.set_up(verdicts_max_age_days=100)
        age = states(cluster)[0]["transitions"][0]["conditions"]["min_index_age"]
        assert (age, len(changes.kept)) == (("20000h", 1) if edited else ("3144h", 0))
        assert len(cluster.unchanged(verdicts_max_age_days=100)) == len(changes.kept)

    def test_indices_that_somebody_took_out_stay_out(self, cluster: Cluster) -> None:
        """For example to keep a month for good."""
        index(cluster)
        cluster.set_up()
        cluster.plugins.answer("POST", f"/_plugins/_ism/remove/{INDEX}", b"", {})
        assert cluster.unchanged() == [f"retention policy triage-verdicts: index {INDEX} was removed from it by someone"]
        assert cluster.plugins.managed == {}

    def test_two_set_ups_at_once(self, cluster: Cluster) -> None:
        """The policy that the other one has just made is no reason to stop: the remedy is to repeat."""

        def raced(method: str, path: str, body: bytes, headers: Any) -> Any:
            if (method, path) == ("PUT", "/_plugins/_ism/policies/triage-verdicts"):
                cluster.plugins.answer(method, path, body, headers)
            return cluster.plugins.answer(method, path, body, headers)

        with serving(raced) as url:
            changes = set_up(cluster.settings.model_copy(update={"hosts": (url,)}), ("tiny", "1"), TEMPLATES)
        assert [reason.partition(":")[2][:47] for reason in changes.failed] == [
            " changed by someone at the same moment; repeat:"
        ]
        assert cluster.set_up().done == []
        assert cluster.unchanged() == []


class TestSwitchedOff:
    @pytest.mark.parametrize("name", ["verdicts_max_age_days", "lines_max_age_days"])
    def test_setting(self, name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """`off` in a file or a variable; 0 is rejected with the remedy."""
        (tmp_path / "farm.toml").write_text(f'[opensearch]\n{name} = "off"\n')
        assert getattr(load_settings(tmp_path / "farm.toml").opensearch, name) is None
        monkeypatch.setenv(f"STREAM_TRIAGE_OPENSEARCH__{name.upper()}", "off")
        assert getattr(load_settings().opensearch, name) is None
        for wrong, reason in (("0", 'write "off"'), ("-1", "greater than 0"), ("never", "valid number")):
            with pytest.raises(ValueError, match=reason):
                OpenSearchSettings(**{name: wrong})

    def test_policies_go_and_indices_stay(self, cluster: Cluster) -> None:
        """A policy of ours is removed, with its indices; those under people's policy stay there."""
        index(cluster)
        index(cluster, "triage-verdicts-2026.10")
        cluster.set_up()
        cluster.plugins.policies["theirs"] = cluster.plugins.policies["triage-verdicts"]
        cluster.plugins.managed["triage-verdicts-2026.10"] = "theirs"
        done = cluster.set_up(verdicts_max_age_days=None).done
        assert done == ["remove retention policy triage-verdicts: indices are kept for good"]
        assert sorted(cluster.plugins.policies) == ["theirs", "triage-lines"]
        assert cluster.plugins.managed == {"triage-verdicts-2026.10": "theirs"}
        assert cluster.unchanged(verdicts_max_age_days=None) == []

    def test_without_an_index(self, cluster: Cluster) -> None:
        """Switched off on a fresh cluster, before and after the policy was made."""
        assert not [change for change in cluster.set_up(verdicts_max_age_days=None).done if "triage-verdicts:" in change]
        cluster.set_up()
        assert len(cluster.set_up(verdicts_max_age_days=None).done) == 1

    def test_switched_on_again(self, cluster: Cluster) -> None:
        """The indices that the set-up released come back under it; one that somebody took out does not."""
        index(cluster)
        index(cluster, "triage-verdicts-2026.10")
        cluster.set_up()
        cluster.plugins.answer("POST", "/_plugins/_ism/remove/triage-verdicts-2026.10", b"", {})
        cluster.set_up(verdicts_max_age_days=None)
        changes = cluster.set_up()
        assert f"put {INDEX} under retention policy triage-verdicts" in changes.done
        assert cluster.plugins.managed == {INDEX: "triage-verdicts"}
        assert len(cluster.unchanged()) == 1

    def test_an_index_that_cannot_be_taken_out(self, cluster: Cluster) -> None:
        """ISM says so in a response with status 200. The policy stays then, or the index would be deleted all the same."""
        index(cluster)
        index(cluster, "triage-verdicts-2026.10")
        cluster.set_up()
        cluster.plugins.closed = {INDEX}
        off = cluster.settings.model_copy(update={"verdicts_max_age_days": None})
        reason = f"retention policy triage-verdicts: index {INDEX}: This index is closed; repeat"
        assert set_up(off, ("tiny", "1"), TEMPLATES).failed == [reason]
        assert "triage-verdicts" in cluster.plugins.policies
        cluster.plugins.closed = set()
        cluster.set_up(verdicts_max_age_days=None)
        assert (list(cluster.plugins.policies), cluster.plugins.managed) == (["triage-lines"], {})
        cluster.set_up()
        assert sorted(cluster.plugins.managed) == ["triage-verdicts-2026.10", INDEX]
        assert cluster.unchanged() == []


class TestAborted:
    @pytest.mark.parametrize("request_", ["change_policy", "PUT /_plugins/_ism/policies/triage-verdicts"])
    def test_indices_follow_later(self, cluster: Cluster, request_: str) -> None:
        """An update that is aborted, before or after the policy is written, reaches the indices with the next set-up."""
        index(cluster)
        cluster.set_up()
        asked: list[str] = []

        def aborted(method: str, path: str, body: bytes, headers: Any) -> Any:
            if request_ in f"{method} {path}":
                raise ConnectionError
            return cluster.plugins.answer(method, path, body, headers)

        def counted(method: str, path: str, body: bytes, headers: Any) -> Any:
            asked.append(path)
            return cluster.plugins.answer(method, path, body, headers)

        changed = cluster.settings.model_copy(update={"verdicts_max_age_days": 10})
        with serving(aborted) as url:
            assert set_up(changed.model_copy(update={"hosts": (url,)}), ("tiny", "1"), TEMPLATES).failed
        for times in (1, 1):  # the third set-up has nothing left to do
            with serving(counted) as url:
                done = set_up(changed.model_copy(update={"hosts": (url,)}), ("tiny", "1"), TEMPLATES)
            assert (done.failed, done.kept) == ([], [])
            assert asked.count(f"/_plugins/_ism/change_policy/{INDEX}") == times
        age = states(cluster)[0]["transitions"][0]["conditions"]["min_index_age"]
        assert age == "984h"
