"""Searches in memory: the body of a request and documents in, hits and aggregations out, as OpenSearch words them.

Only what this project sends is implemented. Anything else is rejected with status 400, so that no test passes by accident.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Final

from stream_triage.clients.memory.index import StoredDocument
from stream_triage.clients.memory.mapping import RequestError, parse_date

__all__ = ["Matcher", "aggregate", "date_of", "matcher", "page", "shown_source", "sort_values"]

Matcher = Callable[[StoredDocument], bool]

DEFAULT_SIZE: Final = 10
# Sorts a document without the field behind all others.
MISSING: Final = 2**63 - 1
NANOSECONDS: Final = 1_000_000_000
# Months and years are missing: they have no fixed length.
_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "H": 3600, "m": 60, "s": 1}
_STARTS: Final = {"d": "%Y-%m-%d", "h": "%Y-%m-%dT%H", "H": "%Y-%m-%dT%H", "m": "%Y-%m-%dT%H:%M", "s": "%Y-%m-%dT%H:%M:%S"}
_MATH: Final = re.compile(r"(?:([+-]\d+)([wdhHms])|/([dhHms]))")
_LIMITS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "gt": lambda value, limit: value > limit,
    "gte": lambda value, limit: value >= limit,
    "lt": lambda value, limit: value < limit,
    "lte": lambda value, limit: value <= limit,
}


def matcher(query: Mapping[str, Any], now: datetime) -> Matcher:
    """A function that says whether a document matches. Raises `RequestError` for a query that is not implemented."""
    ((kind, about),) = query.items()
    if kind == "match_all":
        return lambda document: True
    if kind == "ids":
        return lambda document: document.id in about["values"]
    if kind == "exists":
        path = about["field"]
        return lambda document: any(name == path or name.startswith(f"{path}.") for name in document.fields)
    if kind in ("term", "terms"):
        ((path, wanted),) = about.items()
        values = wanted if kind == "terms" else [wanted]
        return lambda document: any(value in document.fields.get(path, ()) for value in values)
    if kind == "range":
        ((path, limits),) = about.items()
        return _range(path, limits, now)
    if kind == "bool":
        return _bool(about, now)
    raise RequestError(400, "parsing_exception", f"unknown query [{kind}]")


def _range(path: str, limits: Mapping[str, Any], now: datetime) -> Matcher:
    is_date = "format" in limits
    wanted = [
        (_LIMITS[name], date_of(str(limit), now) if is_date else limit) for name, limit in limits.items() if name in _LIMITS
    ]
    return lambda document: any(
        all(holds(value, limit) for holds, limit in wanted) for value in document.fields.get(path, ())
    )


def _bool(about: Mapping[str, Any], now: datetime) -> Matcher:
    def matchers(name: str) -> list[Matcher]:
        clauses = about.get(name, [])
        return [matcher(clause, now) for clause in (clauses if isinstance(clauses, list) else [clauses])]

    required, optional, excluded = matchers("filter") + matchers("must"), matchers("should"), matchers("must_not")
    least = int(about.get("minimum_should_match", 0 if required else 1)) if optional else 0
    return lambda document: (
        all(matches(document) for matches in required)
        and sum(matches(document) for matches in optional) >= least
        and not any(matches(document) for matches in excluded)
    )


def date_of(text: str, now: datetime) -> int:
    """Nanoseconds since 1970 of a date, which may be counted from `now` or another date. Raises `RequestError`.

    >>> noon = datetime(2026, 3, 31, 12, tzinfo=UTC)
    >>> date_of("now-1d/d", noon) == parse_date("2026-03-30") == date_of("2026-03-29||+1d", noon)
    True
    """
    start, math = ("now", text[3:]) if text.startswith("now") else text.split("||", 1) if "||" in text else (text, "")
    steps = list(_MATH.finditer(math))
    try:
        if "".join(step[0] for step in steps) != math:
            raise ValueError(math)
        moment = int(now.timestamp() * 1000) * 1_000_000 if start == "now" else parse_date(start)
    except ValueError:
        raise RequestError(400, "parse_exception", f"failed to parse date field [{text}]") from None
    for count, unit, rounded_to in (step.groups() for step in steps):
        moment = _rounded(moment, rounded_to) if rounded_to else moment + int(count) * _SECONDS[unit] * NANOSECONDS
    return moment


def _rounded(nanoseconds: int, unit: str) -> int:
    moment = datetime.fromtimestamp(nanoseconds // NANOSECONDS, UTC)
    return parse_date(moment.strftime(_STARTS[unit]))


def sort_values(document: StoredDocument, sort: Sequence[Any], shard: int) -> list[Any]:
    """The values that a document is sorted by, ascending. `shard` is its shard's number in the search."""
    own = {"_index": document.index, "_seq_no": document.seq_no, "_shard_doc": (shard << 32) + document.seq_no}
    values = []
    for entry in sort:
        ((name, about),) = entry.items() if isinstance(entry, Mapping) else [(entry, {})]
        order = about if isinstance(about, str) else about.get("order", "asc")
        if order != "asc":
            raise RequestError(400, "parsing_exception", f"sorting {order} is not implemented")
        value: Any = own[name] if name in own else min(document.fields.get(name, [MISSING]))
        if isinstance(about, Mapping) and about.get("numeric_type") == "date" and value != MISSING:
            value //= 1_000_000
        values.append(value)
    return values


def page(hits: Iterable[dict[str, Any]], body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The hits that a request asks for, which have `sort` where it asks for an order."""
    ordered = sorted(hits, key=lambda hit: hit["sort"]) if body.get("sort") else list(hits)
    if "search_after" in body:
        ordered = [hit for hit in ordered if hit["sort"] > body["search_after"]]
    return ordered[: body.get("size", DEFAULT_SIZE)]


def shown_source(source: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
    """The part of a document that `_source` asks for: all, or fields by name."""
    return dict(source) if wanted is True else _filtered(source, [wanted] if isinstance(wanted, str) else wanted, "")


def _filtered(source: Mapping[str, Any], wanted: Sequence[str], above: str) -> dict[str, Any]:
    kept = {}
    for name, value in source.items():
        path = f"{above}{name}"
        if any(fnmatchcase(path, pattern) or path.startswith(f"{pattern}.") for pattern in wanted):
            kept[name] = value
        elif isinstance(value, Mapping) and (below := _filtered(value, wanted, f"{path}.")):
            kept[name] = below
    return kept


def aggregate(aggregations: Mapping[str, Any], documents: Sequence[StoredDocument], now: datetime) -> dict[str, Any]:
    """The results of aggregations by name."""
    results = {}
    for name, about in aggregations.items():
        if "date_range" in about:
            results[name] = _date_ranges(about["date_range"], documents, now)
        elif "composite" in about:
            results[name] = _composite(about["composite"], documents)
        else:
            raise RequestError(400, "parsing_exception", f"unknown aggregation [{next(iter(about))}]")
    return results


def _date_ranges(about: Mapping[str, Any], documents: Sequence[StoredDocument], now: datetime) -> dict[str, Any]:
    buckets = []
    for limits in about["ranges"]:
        edges = {name: date_of(limits[name], now) for name in ("from", "to") if name in limits}
        start, end = edges.get("from", -MISSING), edges.get("to", MISSING)
        count = sum(
            any(start <= moment < end for moment in document.fields.get(about["field"], ())) for document in documents
        )
        buckets.append({"doc_count": count, **{name: edge / 1_000_000 for name, edge in edges.items()}})
    return {"buckets": buckets}


def _composite(about: Mapping[str, Any], documents: Sequence[StoredDocument]) -> dict[str, Any]:
    """Documents counted by the values of one field, in their order, a page at a time."""
    ((name, source),) = about["sources"][0].items()
    counts = Counter(value for document in documents for value in set(document.fields.get(source["terms"]["field"], ())))
    after = about.get("after", {}).get(name)
    values = sorted(value for value in counts if after is None or value > after)[: about.get("size", DEFAULT_SIZE)]
    buckets = [{"key": {name: value}, "doc_count": counts[value]} for value in values]
    return {"buckets": buckets, **({"after_key": buckets[-1]["key"]} if buckets else {})}
