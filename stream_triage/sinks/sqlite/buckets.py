"""Numbers of runs by time and label in; the same by hour, day, week or month out."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

__all__ = ["Bucket", "Unit", "bucketed", "buckets", "unit_for"]

Unit = Literal["hour", "day", "week", "month"]


class Bucket(NamedTuple):
    """Runs of an hour, a day, a week (from Monday) or a month, by label."""

    start: datetime
    labels: dict[str, int]


def unit_for(days: Iterable[str]) -> Unit:
    """How long a bucket is, so that there are neither few nor many."""
    known = sorted(days)
    if not known:
        return "day"
    number = (datetime.fromisoformat(known[-1]) - datetime.fromisoformat(known[0])).days + 1
    return "hour" if number <= 3 else "day" if number <= 92 else "week" if number <= 730 else "month"


def buckets(rows: Sequence[tuple[str, str, int]], unit: Unit) -> list[Bucket]:
    """All buckets from the first to the last."""
    found = {bucket.start: bucket for bucket in bucketed(rows, unit)}
    if not found:
        return []
    filled, start, last = [], min(found), max(found)
    while start <= last:
        filled.append(found.get(start, Bucket(start, {})))
        start = _next(start, unit)
    return filled


def bucketed(rows: Sequence[tuple[str, str, int]], unit: Unit) -> list[Bucket]:
    """The buckets that have runs, oldest first."""
    found: dict[datetime, dict[str, int]] = {}
    for time, label, number in rows:
        labels = found.setdefault(_start(time, unit), {})
        labels[label] = labels.get(label, 0) + number
    return [Bucket(start, found[start]) for start in sorted(found)]


def _start(time: str, unit: Unit) -> datetime:
    """Begin of the bucket of a stored time, or of the first characters of one.

    >>> _start("2026-11-26", "week").isoformat(), _start("2026-11-26T13", "hour").isoformat()
    ('2026-11-23T00:00:00+00:00', '2026-11-26T13:00:00+00:00')
    """
    if unit == "hour":
        return datetime.fromisoformat(f"{time}:00").replace(tzinfo=UTC)
    day = datetime.fromisoformat(time).replace(tzinfo=UTC)
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def _next(start: datetime, unit: Unit) -> datetime:
    if unit == "month":
        return (start + timedelta(days=32)).replace(day=1)
    return start + {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}[unit]
