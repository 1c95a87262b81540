"""The requests of aggregation-based visualisations of Dashboards, and their numbers computed from rows without a server.

`request_of` turns a saved visualisation into a request as Dashboards does, `numbers_of` reads its response into nested
dictionaries by bucket key, and `direct` computes the same numbers from rows.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

__all__ = ["DAY_MS", "NOW", "Row", "decoded", "direct", "number_of", "numbers_of", "request_of"]

# A document: the values of each field.
Row = Mapping[str, list[Any]]
DAY_MS = 86_400_000
METRICS = ("count", "avg", "sum", "min", "max", "cardinality", "top_hits")
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
    if agg["type"] == "top_hits":
        params = agg["params"]
        sort = [{params["sortField"]: {"order": params["sortOrder"]}}]
        return {"top_hits": {"size": params["size"], "_source": params["field"], "sort": sort}}
    return {agg["type"]: {"field": agg["params"]["field"]}}


def _bucket(agg: Mapping[str, Any], counts: set[str]) -> dict[str, Any]:
    params = agg["params"]
    if agg["type"] == "date_histogram":
        days = {"field": params["field"], "fixed_interval": "1d", "time_zone": "UTC", "min_doc_count": 1}
        return {"date_histogram": days}
    if agg["type"] == "histogram":
        return {"histogram": {"field": params["field"], "interval": params["interval"], "min_doc_count": 1}}
    assert agg["type"] == "terms"
    order = "_count" if params["orderBy"] in counts else params["orderBy"]
    terms = {"field": params["field"], "size": params["size"], "order": {order: params["order"]}}
    terms |= {"missing": MISSING} if params["missingBucket"] else {}
    return {"terms": terms | {name: params[name] for name in ("include", "exclude") if name in params}}


def numbers_of(state: Mapping[str, Any], response: Mapping[str, Any]) -> Any:
    buckets = [agg for agg in state["aggs"] if agg["type"] not in METRICS]
    metrics = [agg for agg in state["aggs"] if agg["type"] in METRICS]

    def nested(level: Mapping[str, Any], count: int, left: Sequence[Mapping[str, Any]]) -> Any:
        if not left:
            return {agg["id"]: _measured(agg, level, count) for agg in metrics}
        aggregation = level[left[0]["id"]]
        assert aggregation.get("sum_other_doc_count", 0) == 0, f"{left[0]['params']['field']} has more values than are shown"
        return {_key(bucket["key"]): nested(bucket, bucket["doc_count"], left[1:]) for bucket in aggregation["buckets"]}

    return nested(response.get("aggregations", {}), response["hits"]["total"]["value"], buckets)


def _measured(agg: Mapping[str, Any], level: Mapping[str, Any], count: int) -> Any:
    if agg["type"] == "count":
        return count
    if agg["type"] == "top_hits":
        (hit,) = level[agg["id"]]["hits"]["hits"]
        return hit["_source"][agg["params"]["field"]]
    return level[agg["id"]]["value"]


def _key(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def direct(state: Mapping[str, Any], rows: Sequence[Row]) -> Any:
    buckets = [agg for agg in state["aggs"] if agg["type"] not in METRICS]
    metrics = [agg for agg in state["aggs"] if agg["type"] in METRICS]

    def nested(some: Sequence[Row], left: Sequence[Mapping[str, Any]]) -> Any:
        if not left:
            return {agg["id"]: _value(agg, some) for agg in metrics}
        groups: dict[Any, list[Row]] = {}
        for row in some:
            for key in _keys(left[0], row):
                groups.setdefault(key, []).append(row)
        return {key: nested(group, left[1:]) for key, group in groups.items()}

    return nested(rows, buckets)


def _value(agg: Mapping[str, Any], rows: Sequence[Row]) -> Any:
    if agg["type"] == "count":
        return len(rows)
    if agg["type"] == "top_hits":
        (row,) = rows
        return row[agg["params"]["field"]][0]
    values = [number_of(value) for row in rows for value in row[agg["params"]["field"]]]
    if agg["type"] == "cardinality":
        return len(set(values))
    how: dict[str, Callable[[list[Any]], Any]] = {
        "sum": sum,
        "min": min,
        "max": max,
        "avg": lambda some: sum(some) / len(some),
    }
    return how[agg["type"]](values) if values or agg["type"] == "sum" else None


def number_of(value: Any) -> Any:
    return value.timestamp() * 1000 if isinstance(value, datetime) else value


def _keys(agg: Mapping[str, Any], row: Row) -> set[Any]:
    values, params = row[agg["params"]["field"]], agg["params"]
    if agg["type"] == "date_histogram":
        return {int(number_of(value)) // DAY_MS * DAY_MS for value in values}
    if agg["type"] == "histogram":
        return {round(int(value / params["interval"] + 1e-9) * params["interval"], 4) for value in values}
    keys = set(values)
    if pattern := params.get("include") or params.get("exclude"):
        start = pattern.removesuffix(".*")
        keys = {value for value in keys if value.startswith(start) == ("include" in params)}
    return keys or ({MISSING} if params["missingBucket"] and not values else set())


def decoded(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a saved object, with the JSON inside of them parsed."""
    parsed = {
        name: json.loads(value) if name.endswith("JSON") or name == "visState" else value
        for name, value in attributes.items()
    }
    parsed["source"] = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
    return parsed


NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
