"""The requests of Vega panels, with what Dashboards puts into them, and their aggregations computed from rows."""

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tests.services.panels import Row

__all__ = ["requests_of"]

UNITS = {"day": timedelta(days=1), "week": timedelta(weeks=1), "hour": timedelta(hours=1)}
CLAUSES = ("%dashboard_context-must_clause%", "%dashboard_context-filter_clause%", "%dashboard_context-must_not_clause%")
Matches = Callable[[Mapping[str, Any], Row], bool]


def requests_of(spec: Mapping[str, Any], since: datetime, until: datetime, chosen: Sequence[Any] = ()) -> dict[str, Any]:
    """By name of the data, index and body of each request; `chosen` are the filters of the board, `until` is now."""
    asked = {each["name"]: copy.deepcopy(each["url"]) for each in spec["data"] if "url" in each}
    return {name: (url["index"], _filled(url["body"], since, until, chosen)) for name, url in asked.items()}


def _filled(value: Any, since: datetime, until: datetime, chosen: Sequence[Any]) -> Any:
    if isinstance(value, list):
        filled = []
        for each in value:
            if each == CLAUSES[1]:
                filled += chosen
            elif each not in CLAUSES:
                filled.append(_filled(each, since, until, chosen))
        return filled
    if isinstance(value, str) and value.startswith("now-"):
        return f"{_milliseconds(until)}||{value.removeprefix('now')}"
    if not isinstance(value, dict):
        return value
    if "%timefilter%" in value:
        which, shift = value["%timefilter%"], value.get("shift", 0) * UNITS[value.get("unit", "day")]
        bounds = {"min": since + shift, "max": until + shift}
        if which is True:
            return {
                "gte": bounds["min"].isoformat(),
                "lte": bounds["max"].isoformat(),
                "format": "strict_date_optional_time",
            }
        return _milliseconds(bounds[which])
    filled = {name: _filled(each, since, until, chosen) for name, each in value.items()}
    if any(isinstance(each, str) and "||" in each for each in filled.values()):
        filled["format"] = "epoch_millis"
    return filled


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
