"""The rules of monitors over time, with alerts and throttled messages as the plugin Alerting handles them."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.monitor_rules import MINUTES
from stream_triage.setup.monitors import monitor
from tests.services.lucene import matches

START = datetime(2026, 11, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def failed_run(arrived: datetime) -> dict[str, list[object]]:
    return {"event.ingested": [arrived], "@timestamp": [arrived - timedelta(hours=7)], "test.case.name": ["attach"],
            "triage.passed": [False], "triage.needs_review": [False]}  # fmt: skip


def messages(arrivals: Sequence[datetime], until: datetime) -> Iterator[tuple[datetime, set[datetime]]]:
    """Time of each message of the monitor *failed run*, and the runs that it covers.

    The plugin throttles within an alert: the first message of the next alert is sent at once.
    """
    body = monitor(OpenSearchSettings(notification_channel="c1"), "failed run")
    (asked,), (trigger,) = body["inputs"], body["triggers"]
    (action,) = trigger["query_level_trigger"]["actions"]
    throttle = timedelta(minutes=action["throttle"]["value"])
    last: datetime | None = None
    end = START
    while end < until:
        text = json.dumps(asked["search"]["query"]).replace("{{period_end}}", str(round(end.timestamp() * 1000)))
        query = json.loads(text)
        covered = {arrived for arrived in arrivals if matches(query["query"], failed_run(arrived))}
        fires = any(matches(query["aggregations"]["now"]["filter"], failed_run(arrived)) for arrived in covered)
        if not fires:
            last = None
        elif last is None or last < end - throttle:
            last = end + timedelta(seconds=2)  # when the message is sent
            yield end, covered
        end += timedelta(minutes=MINUTES)


@pytest.mark.parametrize("seed", range(8))
def test_every_run_is_in_a_message(seed: int) -> None:
    """However the failures spread over a day; and no more than one message comes in an hour while an alert lasts."""
    rng = random.Random(seed)
    day = timedelta(days=1)
    arrivals = [START + day * rng.random() for _ in range(rng.choice((1, 3, 10, 100)))]
    if seed % 2:
        arrivals = [START + (arrived - START) / 12 for arrived in arrivals]  # in a burst
    sent = list(messages(arrivals, START + day + 2 * HOUR))
    assert set().union(*(covered for _, covered in sent)) == set(arrivals)
    assert len(sent) <= 26


@pytest.mark.parametrize("second", range(0, 300, 20))
def test_one_run_sends_one_message(second: int) -> None:
    """Within five minutes, and not again while its alert lasts."""
    arrived = START + timedelta(hours=1, seconds=second)
    ((sent, covered),) = messages([arrived], START + 5 * HOUR)
    assert covered == {arrived}
    assert sent - arrived <= timedelta(minutes=MINUTES)
