"""The requests of Vega panels, with what Dashboards puts into them, and their aggregations computed from rows."""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tests.services.lucene import matches
from tests.services.panels import DAY_MS, Row, number_of

__all__ = ["computed", "requests_of", "simplified", "widened"]

UNITS = {"day": timedelta(days=1), "week": timedelta(weeks=1), "hour": timedelta(hours=1)}
CLAUSES = ("%dashboard_context-must_clause%", "%dashboard_context-filter_clause%", "%dashboard_context-must_not_clause%")


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


class OneOf:
    """Equal to any of some values: the server chooses one of equally good hits."""

    def __init__(self, values: Collection[Any]) -> None:
        self.values = set(values)

    def __eq__(self, other: object) -> bool:
        return other in self.values

    def __hash__(self) -> int:
        return 0


def widened(aggs: Any) -> Any:
    """The same aggregations, with all terms instead of the first ones."""
    if isinstance(aggs, dict):
        return {
            name: {**about, "size": 9999} if name == "terms" and "field" in about else widened(about)
            for name, about in aggs.items()
        }
    return aggs


def simplified(aggs: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """A response of the server: numbers by name of the aggregation, buckets by their key."""
    return {name: _simplified(agg, answer[name]) for name, agg in aggs.items()}


def _simplified(agg: Mapping[str, Any], answer: Mapping[str, Any]) -> Any:
    below = agg.get("aggs", {})
    if "top_hits" in agg:
        (hit,) = answer["hits"]["hits"]
        return hit["_source"]["text"]
    if "buckets" in answer:
        return {each["key"]: {"doc_count": each["doc_count"], **simplified(below, each)} for each in answer["buckets"]}
    if "value" in answer:
        return answer["value"]
    return {"doc_count": answer["doc_count"], **simplified(below, answer)}


def computed(aggs: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """What `simplified` should return for these rows."""
    return {name: _computed(agg, rows) for name, agg in aggs.items()}


def _computed(agg: Mapping[str, Any], rows: Sequence[Row]) -> Any:
    ((kind, about),) = ((name, value) for name, value in agg.items() if name != "aggs")
    below = agg.get("aggs", {})
    if kind == "top_hits":
        return OneOf([row["triage.anomalies.text"][0] for row in rows])
    if kind in ("filter", "nested", "reverse_nested"):
        some = _related(kind, about, rows)
        return {"doc_count": len(some), **computed(below, some)}
    if kind in ("terms", "date_histogram"):
        groups: dict[Any, list[Row]] = {}
        for row in rows:
            for key in _keys(kind, about, row):
                groups.setdefault(key, []).append(row)
        return {key: {"doc_count": len(group), **computed(below, group)} for key, group in groups.items()}
    values = [number_of(value) for row in rows for value in row.get(about["field"], [])]
    if kind == "cardinality":
        return len(set(values))
    return sum(values) if kind == "sum" else mean_or_limit(kind, values)


def mean_or_limit(kind: str, values: list[Any]) -> Any:
    """The mean, the lowest or the highest value; none without values."""
    how: dict[str, Callable[[list[Any]], Any]] = {"min": min, "max": max, "avg": lambda some: sum(some) / len(some)}
    return how[kind](values) if values else None


def _related(kind: str, about: Mapping[str, Any], rows: Sequence[Row]) -> list[Row]:
    if kind == "filter":
        return [row for row in rows if matches(about, row)]
    if kind == "nested":
        return [inner for row in rows for inner in row[about["path"]]]
    return list({id(parent): parent for row in rows for parent in row["parent"]}.values())


def _keys(kind: str, about: Mapping[str, Any], row: Row) -> set[Any]:
    values = row.get(about["field"], [])
    if kind == "date_histogram":
        return {int(number_of(value)) // DAY_MS * DAY_MS for value in values}
    return set(values) or ({about["missing"]} if "missing" in about else set())
