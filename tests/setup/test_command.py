"""`stream-triage setup opensearch` on servers in memory: what it prints."""

from pathlib import Path
from typing import Any

import pytest

from stream_triage.setup import opensearch
from tests.commands import call
from tests.setup.cluster import Cluster


@pytest.fixture
def farm(cluster: Cluster, tmp_path: Path) -> Path:
    """A settings file for the cluster."""
    path = tmp_path / "farm.toml"
    settings = cluster.settings
    path.write_text(f'[opensearch]\nhosts = ["{settings.hosts[0]}"]\ndashboards_url = "{settings.dashboards_url}"\n')
    return path


def set_up(farm: Path, *options: str) -> Any:
    return call("setup", "opensearch", "-c", farm, *options)


class TestSetUpOpenSearch:
    def test_plan_and_changes(self, cluster: Cluster, farm: Path) -> None:
        """A dry run prints what the next run does, with the values; then there is nothing left to do."""
        planned = set_up(farm, "--dry-run")
        assert "would create monitor triage: failed run\n    severity 3\n" in planned.out
        assert "would create retention policy triage-verdicts\n    min_index_age: 9504h\n" in planned.out
        made = set_up(farm)
        assert made.out == planned.out.replace("would ", "")
        again = set_up(farm)
        assert (again.out, again.code) == ("everything is up to date\n", 0)

    def test_manual_changes(self, cluster: Cluster, farm: Path) -> None:
        """They are printed and kept; `--reset` takes them back."""
        set_up(farm)
        cluster.plugins.named("failed run")[1]["enabled"] = False
        kept = "kept: monitor triage: failed run: enabled was changed by someone to false; ours would be true\n"
        assert set_up(farm).out == f"{kept}everything is up to date\n"
        assert set_up(farm, "--dry-run").out == f"{kept}everything is up to date\n"
        words = "update monitor triage: failed run\n    enabled: false → true\n"
        assert set_up(farm, "--dry-run", "--reset", "failed run").out == f"would {words}"
        assert set_up(farm, "--reset", "monitor triage: failed run").out == words
        assert set_up(farm).out == "everything is up to date\n"

    def test_reset_of_an_unknown_name(self, farm: Path) -> None:
        """It is an error that names similar ones, or where names are found."""
        result = set_up(farm, "--dry-run", "--reset", "Failde run")
        assert result.code == 2
        assert "nothing is called 'Failde run'; did you mean 'failed run' or " in result.err
        result = set_up(farm, "--dry-run", "--reset", "xyz")
        assert "nothing is called 'xyz'; a line `kept: NAME: …` has the name\n" in result.err

    def test_fields_of_a_new_version(self, cluster: Cluster, farm: Path) -> None:
        """An update of an index template names the fields that it adds."""
        set_up(farm)
        path = "_index_template/triage-lines"
        known = cluster.memory.request("GET", path)["index_templates"][0]["index_template"]
        del known["template"]["mappings"]["properties"]["triage"]["properties"]["why"]
        cluster.memory.request("PUT", path, {**known, "_meta": {"digest": "old", "version": 1}})
        assert set_up(farm, "--dry-run").out == "would update index template triage-lines\n    new fields: triage.why\n"

    def test_templates_of_two_builds_of_a_version(self, cluster: Cluster) -> None:
        """A bundle that was built again with its version, and has fewer templates, does not write them each time."""
        cluster.set_up()
        larger = [("k1", "line <*>"), ("k2", "other <*>")]
        assert len(opensearch.set_up(cluster.settings, ("tiny", "1"), larger).done) == 1
        assert cluster.unchanged() == []
