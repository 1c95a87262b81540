"""Numbers of runs over time in; rectangles for a drawing out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from stream_triage.sinks.sqlite import Bucket, Counts

__all__ = ["Bar", "Chart", "Column", "chart", "day_bars", "last_days"]

# Of a chart, in units of its drawing, which is stretched to the width of the page.
HEIGHT: Final = 100.0
COLUMN: Final = 10.0
# Of the small drawing in a row.
SMALL_HEIGHT: Final = 20.0
SMALL_COLUMN: Final = 4.0
DAYS: Final = 30
_FORMATS: Final = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "week": "week of %Y-%m-%d", "month": "%Y-%m"}
_STEPS: Final = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=31),
}


@dataclass(frozen=True)
class Bar:
    """A rectangle, in the colour of its label."""

    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Column:
    """All runs of a time."""

    words: str
    """When, and how many runs of which label."""
    since: str
    until: str
    """Excluded."""
    total: int
    labels: tuple[tuple[str, int], ...]
    x: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Chart:
    """Runs over time by label."""

    width: float
    height: float
    step: float
    most: int
    """Runs of the highest column."""
    unit: str
    first: str
    last: str
    columns: tuple[Column, ...]


def chart(counts: Counts, labels: Sequence[str]) -> Chart | None:
    """A column for each time, with its labels in this order from below; None if there is no run."""
    if not counts.buckets:
        return None
    most = max(sum(bucket.labels.values()) for bucket in counts.buckets) or 1
    form = _FORMATS[counts.unit]
    columns = []
    for number, bucket in enumerate(counts.buckets):
        known = tuple((label, bucket.labels[label]) for label in labels if bucket.labels.get(label))
        total = sum(bucket.labels.values())
        words = ", ".join(f"{label} {count:,}" for label, count in known) or "no run"
        columns.append(
            Column(
                words=f"{bucket.start.strftime(form)}: {words}",
                since=f"{bucket.start:%Y-%m-%dT%H:%M}",
                until=f"{_end(bucket.start, counts.unit):%Y-%m-%dT%H:%M}",
                total=total,
                labels=known,
                x=number * COLUMN,
                bars=_stack(known, number * COLUMN, COLUMN - 1, HEIGHT / most, HEIGHT),
            )
        )
    first, last = (counts.buckets[index].start.strftime(form) for index in (0, -1))
    return Chart(len(columns) * COLUMN, HEIGHT, COLUMN, most, counts.unit, first, last, tuple(columns))


def last_days(now: datetime) -> list[datetime]:
    """The days that small drawings show, the last one today."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return [today - timedelta(days=ago) for ago in range(DAYS - 1, -1, -1)]


def day_bars(buckets: Sequence[Bucket], days: Sequence[datetime]) -> tuple[Bar, ...]:
    """The bars of a small drawing: one day beside the other, the tallest as high as the drawing."""
    by_day = {bucket.start: bucket.labels for bucket in buckets}
    most = max((sum(by_day.get(day, {}).values()) for day in days), default=0)
    if not most:
        return ()
    return tuple(
        bar
        for number, day in enumerate(days)
        for bar in _stack(
            sorted(by_day.get(day, {}).items(), key=lambda item: (item[0] != "Pass", item[0])),
            number * SMALL_COLUMN,
            SMALL_COLUMN - 1,
            SMALL_HEIGHT / most,
            SMALL_HEIGHT,
        )
    )


def _stack(labels: Sequence[tuple[str, int]], x: float, width: float, scale: float, ground: float) -> tuple[Bar, ...]:
    bars, y = [], ground
    for label, number in labels:
        height = round(number * scale, 2)
        y = round(y - height, 2)
        bars.append(Bar(label, x, y, width, height))
    return tuple(bars)


def _end(start: datetime, unit: str) -> datetime:
    end = start + _STEPS[unit]
    return end.replace(day=1) if unit == "month" else end
