"""Whether a row matches a query of a panel: the part of Lucene's syntax and of the query DSL that boards use."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.services.panels import Row, number_of

__all__ = ["matches", "means"]

TOKEN = re.compile(r"\(|\)|AND\b|OR\b|NOT\b|[^\s():]+:\([^)]*\)|[^\s()]+")
SPANS = {"h": timedelta(hours=1), "d": timedelta(days=1), "m": timedelta(minutes=1)}


def means(query: str, row: Row) -> bool:
    """Evaluates conditions with AND, OR, NOT and parentheses; AND binds more tightly."""
    tokens = TOKEN.findall(query)

    def either() -> bool:
        value = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = both() or value
        return value

    def both() -> bool:
        value = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = one() and value
        return value

    def one() -> bool:
        token = tokens.pop(0)
        if token == "NOT":
            return not one()
        if token != "(":
            return _condition(token, row)
        value = either()
        assert tokens.pop(0) == ")"
        return value

    value = either()
    assert not tokens, f"not understood: {tokens}"
    return value


def _condition(token: str, row: Row) -> bool:
    if token == "*":
        return True
    field, _, wanted = token.partition(":")
    if field == "_exists_":
        return bool(row[wanted])
    words = wanted.strip("()").split(" OR ")
    return any(str(value).lower() in words for value in row.get(field, []))


def matches(query: Mapping[str, Any], row: Row) -> bool:
    """Evaluates a query of the DSL."""
    ((kind, about),) = query.items()
    if kind == "bool":
        must, filters, should, must_not = (_listed(about.get(name, [])) for name in ("must", "filter", "should", "must_not"))
        needed = all(matches(each, row) for each in [*must, *filters])
        optional = not should or any(matches(each, row) for each in should)
        return needed and optional and not any(matches(each, row) for each in must_not)
    if kind == "query_string":
        return means(about["query"], row)
    if kind == "exists":
        return bool(row.get(about["field"]))
    ((field, wanted),) = about.items()
    if kind == "range":
        return any(_within(number_of(value), wanted) for value in row.get(field, []))
    how: dict[str, Callable[[Any], bool]] = {
        "term": lambda value: bool(value == wanted),
        "match_phrase": lambda value: bool(value == wanted),
        "prefix": lambda value: str(value).startswith(wanted),
    }
    return any(map(how[kind], row.get(field, [])))


def _listed(clauses: Any) -> list[Any]:
    """A single clause needs no list."""
    return clauses if isinstance(clauses, list) else [clauses]


def _within(value: float, limits: Mapping[str, Any]) -> bool:
    return (
        value >= _milliseconds(limits.get("gte", 0))
        and value <= _milliseconds(limits.get("lte", 1e15))
        and value < _milliseconds(limits.get("lt", 1e15))
    )


def _milliseconds(limit: Any) -> float:
    if not isinstance(limit, str) or limit.isdecimal():
        return float(limit)
    if "||-" in limit:
        start, _, span = limit.partition("||-")
        return float(start) - (int(span[:-1]) * SPANS[span[-1]]).total_seconds() * 1000
    return datetime.fromisoformat(limit).astimezone(UTC).timestamp() * 1000
