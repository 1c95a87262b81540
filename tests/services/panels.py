"""What a visualisation of Dashboards asks a server, and what it should be told: by the rows themselves, without a server.

`request_of` turns saved visualisations into requests as Dashboards does; `answer_of` puts what comes back into nested
dictionaries by bucket key, and `direct` computes the same from rows.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

__all__ = ["Row", "answer_of", "direct", "request_of"]

# Of one document, by field: its values.
Row = Mapping[str, list[Any]]
DAY_MS = 86_400_000
METRICS = ("count", "avg", "sum", "min", "max", "cardinality")
MISSING = "__missing__"


def request_of(
    state: Mapping[str, Any], query: str, since: datetime, until: datetime, time_field: str | None
) -> dict[str, Any]:
    """The body of a search; buckets of time are days."""
    filters: list[dict[str, Any]] = [{"query_string": {"query": query, "analyze_wildcard": True}}]
    if time_field:
        limits = {"gte": since.isoformat(), "lte": until.isoformat(), "format": "strict_date_optional_time"}
        filters.append({"range": {time_field: limits}})
    body: dict[str, Any] = {"size": 0, "track_total_hits": True, "query": {"bool": {"filter": filters}}}
    metrics = {agg["id"]: _metric(agg) for agg in state["aggs"] if agg["type"] in METRICS and agg["type"] != "count"}
    counts = {agg["id"] for agg in state["aggs"] if agg["type"] == "count"}
    below: dict[str, Any] = dict(metrics)
    for agg in reversed([agg for agg in state["aggs"] if agg["type"] not in METRICS]):
        order = agg["params"].get("orderBy", "")
        needed = {order: metrics[order]} if order in metrics else {}
        below = {agg["id"]: {**_bucket(agg, counts), "aggs": {**below, **needed}}}
    return {**body, "aggs": below}


def _metric(agg: Mapping[str, Any]) -> dict[str, Any]:
    return {agg["type"]: {"field": agg["params"]["field"]}}


def _bucket(agg: Mapping[str, Any], counts: set[str]) -> dict[str, Any]:
    params = agg["params"]
    if agg["type"] == "date_histogram":
        told = {"field": params["field"], "fixed_interval": "1d", "time_zone": "UTC", "min_doc_count": 1}
        return {"date_histogram": told}
    if agg["type"] == "histogram":
        return {"histogram": {"field": params["field"], "interval": params["interval"], "min_doc_count": 1}}
    assert agg["type"] == "terms"
    order = "_count" if params["orderBy"] in counts else params["orderBy"]
    told = {"field": params["field"], "size": params["size"], "order": {order: params["order"]}}
    told |= {"missing": MISSING} if params["missingBucket"] else {}
    return {"terms": told | {name: params[name] for name in ("include", "exclude") if name in params}}


def answer_of(state: Mapping[str, Any], answer: Mapping[str, Any]) -> Any:
    buckets = [agg for agg in state["aggs"] if agg["type"] not in METRICS]
    metrics = [agg for agg in state["aggs"] if agg["type"] in METRICS]

    def told(place: Mapping[str, Any], count: int, left: Sequence[Mapping[str, Any]]) -> Any:
        if not left:
            return {agg["id"]: count if agg["type"] == "count" else place[agg["id"]]["value"] for agg in metrics}
        here = place[left[0]["id"]]
        assert here.get("sum_other_doc_count", 0) == 0, f"{left[0]['params']['field']} has more values than are shown"
        return {_key(bucket["key"]): told(bucket, bucket["doc_count"], left[1:]) for bucket in here["buckets"]}

    return told(answer.get("aggregations", {}), answer["hits"]["total"]["value"], buckets)


def _key(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def direct(state: Mapping[str, Any], rows: Sequence[Row]) -> Any:
    buckets = [agg for agg in state["aggs"] if agg["type"] not in METRICS]
    metrics = [agg for agg in state["aggs"] if agg["type"] in METRICS]

    def told(some: Sequence[Row], left: Sequence[Mapping[str, Any]]) -> Any:
        if not left:
            return {agg["id"]: _value(agg, some) for agg in metrics}
        groups: dict[Any, list[Row]] = {}
        for row in some:
            for key in _keys(left[0], row):
                groups.setdefault(key, []).append(row)
        return {key: told(group, left[1:]) for key, group in groups.items()}

    return told(rows, buckets)


def _value(agg: Mapping[str, Any], rows: Sequence[Row]) -> Any:
    if agg["type"] == "count":
        return len(rows)
    values = [_number(value) for row in rows for value in row[agg["params"]["field"]]]
    if agg["type"] == "cardinality":
        return len(set(values))
    how: dict[str, Callable[[list[Any]], Any]] = {
        "sum": sum,
        "min": min,
        "max": max,
        "avg": lambda some: sum(some) / len(some),
    }
    return how[agg["type"]](values) if values or agg["type"] == "sum" else None


def _number(value: Any) -> Any:
    return value.timestamp() * 1000 if isinstance(value, datetime) else value


def _keys(agg: Mapping[str, Any], row: Row) -> set[Any]:
    values, params = row[agg["params"]["field"]], agg["params"]
    if agg["type"] == "date_histogram":
        return {int(_number(value)) // DAY_MS * DAY_MS for value in values}
    if agg["type"] == "histogram":
        return {round(int(value / params["interval"] + 1e-9) * params["interval"], 4) for value in values}
    found = set(values)
    if pattern := params.get("include") or params.get("exclude"):
        start = pattern.removesuffix(".*")
        found = {value for value in found if value.startswith(start) == ("include" in params)}
    return found or ({MISSING} if params["missingBucket"] and not values else set())


def decoded(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """With the JSON inside of it read."""
    told = {
        name: json.loads(value) if name.endswith("JSON") or name == "visState" else value
        for name, value in attributes.items()
    }
    told["source"] = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
    return told


NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
