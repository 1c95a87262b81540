"""Questions about verdicts in; specifications of Vega for Dashboards out: tiles with the week before, a heat map by day.

The other visualisations of Dashboards cannot set a number beside that of the week before. All numbers come from the server's
aggregations; the expressions only format them. Texts have the style of axis labels, whose colour follows the theme.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from stream_triage.records import CANARY

__all__ = [
    "BAD", "DOUBTFUL", "GOOD", "NOT_CANARY", "NOW", "UNKNOWN", "WEEK_BEFORE", "Spec", "Tile", "count", "date", "each_of",
    "heat_map", "page", "percent", "request", "texts", "tile_marks", "tile_of", "tiles",
]  # fmt: skip

NOT_CANARY: Final = f"NOT test.case.name:{CANARY}"
# What a board shows for runs that lack a value.
UNKNOWN: Final = "unknown"
SCHEMA: Final = "https://vega.github.io/schema/vega/v5.json"
GOOD, BAD, DOUBTFUL = "#3F9C84", "#D36086", "#CA8500"
# The range that the time picker shows, and the same range a week earlier.
NOW: Final = {"range": {"@timestamp": {"%timefilter%": True}}}
WEEK_BEFORE: Final = {"range": {"@timestamp": {"%timefilter%": True, "shift": -7, "unit": "day"}}}

Spec = dict[str, Any]


class Tile(NamedTuple):
    """A number with that of the week before."""

    title: str
    query: str = "*"
    """Runs to count, in Lucene's syntax."""
    share: bool = False
    """Show their share of all runs, not their number."""
    worse: str = ""
    """`more` if more of them is bad; then an increase is red and a decrease is green."""


def request(index: str, aggs: Mapping[str, Any], *filters: Any, query: str = NOT_CANARY, **body: Any) -> Spec:
    """Returns what Vega asks: with the query and filters of the dashboard, and `filters` instead of its time range."""
    clauses = {
        "must": ["%dashboard_context-must_clause%", {"query_string": {"query": query}}],
        "filter": ["%dashboard_context-filter_clause%", *filters],
        "must_not": ["%dashboard_context-must_not_clause%"],
    }
    return {"index": index, "body": {"size": 0, "query": {"bool": clauses}, **body, **({"aggs": aggs} if aggs else {})}}


def page(data: Sequence[Spec], marks: Sequence[Spec], **others: Any) -> Spec:
    """Returns a specification that fills its panel; as SVG, so that texts can be selected and copied."""
    config = {"kibana": {"renderer": "svg"}}
    # Each panel has data and marks of its own: what a function made once must not be shared.
    made = {"$schema": SCHEMA, "padding": 4, "config": config, "data": data, "marks": marks, **others}
    copied: Spec = json.loads(json.dumps(made))
    return copied


def tiles(index: str, shown: Sequence[Tile]) -> Spec:
    """Returns large numbers in a row. The colour says whether a number got worse."""
    counts: Spec = {f"t{number}": {"filter": {"query_string": {"query": tile.query}}} for number, tile in enumerate(shown)}
    aggs = {"now": {"filter": NOW, "aggs": counts}, "before": {"filter": WEEK_BEFORE, "aggs": counts}}
    made = ", ".join(_tile(number, tile) for number, tile in enumerate(shown))
    either = {"bool": {"should": [NOW, WEEK_BEFORE]}}
    data: list[Spec] = [
        {"name": "answer", "url": request(index, aggs, either), "format": {"property": "aggregations"}},
        {"name": "tiles", "source": "answer", "transform": each_of(f"[{made}]")},
    ]
    return page(data, tile_marks(len(shown)))


def _tile(number: int, tile: Tile) -> str:
    now, before = (f"datum.{period}.t{number}.doc_count" for period in ("now", "before"))
    if tile.share:
        now, before = (
            f"(datum.{period}.doc_count ? {value} / datum.{period}.doc_count : null)"
            for period, value in (("now", now), ("before", before))
        )
    words = (percent if tile.share else count)(now), (percent if tile.share else count)(before)
    # Without runs, a share is null, which is neither more nor less.
    known = f"!isValid({now}) || !isValid({before}) ? ''"
    colour = f"{known} : {now} > {before} ? '{BAD}' : {now} < {before} ? '{GOOD}' : ''" if tile.worse else "''"
    arrow = f"{known} : {now} > {before} ? '▲ ' : {now} < {before} ? '▼ ' : ''"
    return tile_of(tile.title, words[0], f"({arrow}) + 'week before: ' + {words[1]}", colour)


def tile_of(title: str, value: str, below: str, colour: str = "''") -> str:
    """Returns the expression of a tile; all but the title are expressions."""
    return f"{{title: {json.dumps(title)}, value: {value}, below: {below}, colour: {colour}}}"


def each_of(array: str) -> list[Spec]:
    """Returns the transforms that make a row of each tile of an array."""
    return [
        {"type": "formula", "as": "tiles", "expr": array},
        {"type": "flatten", "fields": ["tiles"], "index": "place", "as": ["tile"]},
    ]


def tile_marks(count: int) -> list[Spec]:
    """Returns the texts of tiles: title, number, and what it was before."""
    middle = {"signal": f"width * (datum.place + 0.5) / {count}"}
    parts = (("title", 13, "0.14", 600), ("value", 34, "0.5", 700), ("below", 13, "0.88", 400))
    return [
        mark
        for name, size, y, weight in parts
        for mark in texts(
            "tiles", f"datum.tile.{name}", middle, {"signal": f"height * {y}"}, size, weight=weight, align="center",
            limit=f"width / {count} - 8", colour="" if name == "title" else "datum.tile.colour",
        )
    ]  # fmt: skip


def percent(value: str) -> str:
    """Returns the expression of a share as text: `62 %`, or a dash for none."""
    return f"(isValid({value}) ? format(100 * {value}, '.0f') + ' %' : '–')"


def count(value: str) -> str:
    """Returns the expression of a number as text, with separators of thousands."""
    return f"format({value}, ',')"


def date(value: str) -> str:
    """Returns the expression of a time as text, to the minute."""
    return f"({value} ? timeFormat({value}, '%Y-%m-%d %H:%M') : '–')"


def texts(
    data: str,
    text: str,
    x: Spec,
    y: Spec,
    size: int,
    *,
    limit: str,
    weight: int = 400,
    align: str = "left",
    colour: str = "",
    tooltip: bool = False,
) -> list[Spec]:
    """Returns the mark of a text of each row of `data`, cut off after `limit` pixels.

    With `colour`, a second mark replaces it where the colour is not empty: a mark cannot choose between a colour of its
    own and that of the theme.
    """
    update: Spec = {
        "text": {"signal": text},
        "x": x,
        "y": y,
        "align": {"value": align},
        "baseline": {"value": "middle"},
        "font": {"value": "Inter UI, sans-serif"},
        "fontSize": {"value": size},
        "fontWeight": {"value": weight},
        "limit": {"signal": limit},
    }
    if tooltip:
        update["tooltip"] = {"signal": text}  # the whole text, where it is cut off
    source = {"from": {"data": data}} if data else {}
    if not colour:
        return [{"type": "text", "style": "guide-label", **source, "encode": {"update": update}}]
    shown = {"opacity": {"signal": f"({colour}) ? 1 : 0"}, "fill": {"signal": f"({colour}) || 'transparent'"}}
    hidden = {"opacity": {"signal": f"({colour}) ? 0 : 1"}}
    return [
        {"type": "text", "style": "guide-label", **source, "encode": {"update": {**update, **hidden}}},
        {"type": "text", **source, "encode": {"update": {**update, **shown}}},
    ]


def heat_map(index: str, field: str, rows: int, value: str = "triage.failed", decimals: bool = False) -> Spec:
    """Returns the mean of `value` for the most frequent values of a field, by day. 0 is green and 1 is red."""
    by = {
        "terms": {"field": field, "size": rows, "missing": UNKNOWN, "order": [{"_count": "desc"}, {"_key": "asc"}]},
        "aggs": {
            "days": {
                "date_histogram": {"field": "@timestamp", "calendar_interval": "day", "min_doc_count": 1},
                "aggs": {"mean": {"avg": {"field": value}}},
            }
        },
    }
    cells: list[Spec] = [
        {"type": "flatten", "fields": ["days.buckets"], "as": ["day"]},
        {"type": "formula", "as": "date", "expr": "utcFormat(datum.day.key, '%a %m-%d')"},
        {"type": "formula", "as": "mean", "expr": "datum.day.mean.value"},
        {"type": "formula", "as": "stamp", "expr": "datum.day.key"},
    ]
    data: list[Spec] = [
        {"name": "answer", "url": request(index, {"by": by}, NOW), "format": {"property": "aggregations.by.buckets"}},
        {"name": "cells", "source": "answer", "transform": cells},
    ]
    scales: list[Spec] = [
        {"name": "x", "type": "band", "range": "width", "paddingInner": 0.04,
         "domain": {"data": "cells", "field": "date", "sort": {"op": "min", "field": "stamp"}}},
        {"name": "y", "type": "band", "range": "height", "paddingInner": 0.08, "domain": {"data": "answer", "field": "key"}},
        {"name": "colour", "type": "linear", "domain": [0, 0.5, 1], "range": ["#D4E9E2", "#F5C08B", BAD], "clamp": True},
    ]  # fmt: skip
    axes: list[Spec] = [
        {"orient": "bottom", "scale": "x", "labelFontSize": 12, "labelOverlap": True, "ticks": False, "domain": False},
        {"orient": "left", "scale": "y", "labelFontSize": 12, "labelLimit": 220, "ticks": False, "domain": False},
    ]
    shown = "format(datum.mean, '.2f')" if decimals else percent("datum.mean")
    marks: list[Spec] = [
        {"type": "rect", "from": {"data": "cells"}, "encode": {"update": {
            "x": {"scale": "x", "field": "date"}, "width": {"scale": "x", "band": 1},
            "y": {"scale": "y", "field": "key"}, "height": {"scale": "y", "band": 1},
            "fill": {"scale": "colour", "field": "mean"}}}},
        {"type": "text", "from": {"data": "cells"}, "encode": {"update": {
            "x": {"scale": "x", "field": "date", "band": 0.5}, "y": {"scale": "y", "field": "key", "band": 0.5},
            "align": {"value": "center"}, "baseline": {"value": "middle"}, "fontSize": {"value": 11},
            "fill": {"value": "#343741"}, "limit": {"signal": "bandwidth('x')"},
            "text": {"signal": f"{shown} + ' of ' + datum.day.doc_count"}}}},
    ]  # fmt: skip
    return page(data, marks, scales=scales, axes=axes)
