"""A few faults of the kinds that `make chaos` injects hundreds of: no promise is broken."""

from collections import Counter

import pytest

from tests.services.chaos.episode import planned, run_episode
from tests.services.chaos.registry import FAULTS
from tests.services.chaos.report import PROMISES, Report
from tests.services.chaos.world import Servers
from tests.services.servers import KafkaServer, OpenSearchServer

# Too slow for a test: they start many processes or a server, or wait until a worker counts as dead.
SLOW = {
    "broker-kill", "forget-killed", "opensearch-kill", "pause", "replay-mended", "shipper-restart", "silent-ends",
    "take-over", "terminate",
}  # fmt: skip


@pytest.mark.service
def test_a_fault_of_most_kinds(own_kafka: KafkaServer, opensearch: OpenSearchServer) -> None:
    """Nothing is lost, doubled, different, back again, leaked, committed too early or ended with a wrong status."""
    report = Report(print)
    run_episode(Servers(own_kafka, opensearch), sorted(FAULTS.keys() - SLOW), "1", report)
    # Whether something happened in its time depends on the machine; `make chaos` counts it.
    assert [broken for broken in report.broken if broken.promise != "slow"] == []


def test_six_hundred_faults_are_planned_by_weight() -> None:
    """Each kind as often as its weight says, the same for the same seed, and one of each kind if there is room for them."""
    names = Counter(name for episode in planned(600, 1) for name in episode)
    assert names == {fault.name: fault.weight for fault in FAULTS.values()}
    assert planned(40, 3) == planned(40, 3) != planned(40, 4)
    assert sorted(name for episode in planned(len(FAULTS), 0) for name in episode) == sorted(FAULTS)
    assert [len(episode) for episode in planned(45, 0, only=["kill"])] == [20, 20, 5]


def test_figures() -> None:
    """The summary names every promise, the table every kind of fault that was injected."""
    report = Report()
    report.done("kill", 2.0)
    assert report.summary == ", ".join(f"{promise} 0" for promise in PROMISES)
    assert "none" in next(line for line in report.table().splitlines() if "kill" in line)
