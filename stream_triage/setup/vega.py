"""Questions about verdicts in; Vega specifications for Dashboards out: tiles, comparisons with the week before, a heat map.

The other visualisations of Dashboards cannot set a number beside that of the week before. All numbers come from the server's
aggregations; the expressions only format them. Texts have the style of axis labels, whose colour follows the theme.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from stream_triage.records import CANARY

__all__ = [
    "BAD", "DOUBTFUL", "GOOD", "NOT_CANARY", "NOW", "RATE_COLUMNS", "UNKNOWN", "Column", "Spec", "Tile", "bucket_table",
    "comparison", "count", "date", "heat_map", "page", "percent", "request", "table_marks", "texts", "tile_marks", "tile_of",
    "tiles",
]  # fmt: skip

NOT_CANARY: Final = f"NOT test.case.name:{CANARY}"
# What a board shows for runs that lack a value.
UNKNOWN: Final = "unknown"
SCHEMA: Final = "https://vega.github.io/schema/vega/v5.json"
GOOD, BAD, DOUBTFUL, BAR = "#3F9C84", "#D36086", "#CA8500", "#6092C0"
ROW_PIXELS: Final = 24
HEAD_PIXELS: Final = 30
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


class Column(NamedTuple):
    """A column of a table. `text`, `colour` and `bar` are expressions of Vega about `datum`."""

    title: str
    width: float
    """Share of the width of the panel."""
    text: str
    right: bool = False
    colour: str = ""
    bar: str = ""
    """From 0 to 1: the length of a bar behind the text."""


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
        {"name": "tiles", "source": "answer", "transform": _each_of(f"[{made}]")},
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


def _each_of(array: str) -> list[Spec]:
    """Transforms that make a row of each tile of an array."""
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


def comparison(
    index: str,
    field: str,
    title: str,
    rows: int,
    *,
    columns: Sequence[Column],
    query: str = NOT_CANARY,
    missing: str = UNKNOWN,
) -> Spec:
    """Returns a table of the values of a field by number of failures, each with its failure rate and that of a week before.

    `columns` are appended; they may refer to `datum.now`, which has `doc_count`, `failed`, `rate`, `environment`, `review`,
    `anomalous` and `last`. A click on a row filters the board.
    """
    failed = {"failed": {"sum": {"field": "triage.failed"}}, "rate": {"avg": {"field": "triage.failed"}}}
    more = {
        "environment": {"filter": {"query_string": {"query": "triage.failed:1 AND triage.cause:environment"}}},
        "review": {"filter": {"query_string": {"query": "triage.needs_review:true"}}},
        "anomalous": {"filter": {"query_string": {"query": "triage.passed:true AND triage.anomalous:true"}}},
        "last": {"max": {"field": "@timestamp"}},
    }
    by = {
        "terms": {"field": field, "size": rows, "missing": missing, "order": [{"now>failed": "desc"}, {"_key": "asc"}]},
        "aggs": {"now": {"filter": NOW, "aggs": {**failed, **more}}, "before": {"filter": WEEK_BEFORE, "aggs": failed}},
    }
    either = {"bool": {"should": [NOW, WEEK_BEFORE]}}
    wanted = request(index, {"by": by}, either, query=query)
    clicked = f"datum.key === {json.dumps(missing)} ? null : opensearchDashboardsAddFilter({{match_phrase: " + (
        f"{{{json.dumps(field)}: datum.key}}}}, {json.dumps(index)})"
    )
    return bucket_table(wanted, "aggregations.by.buckets", (Column(title, 0.24, "datum.key"), *columns), rows, click=clicked)


_CHANGE: Final = "(datum.now.rate.value - datum.before.rate.value)"
_BOTH: Final = "(datum.now.doc_count && datum.before.doc_count)"


def percent(value: str) -> str:
    """Returns the expression of a share as text: `62 %`, or a dash for none."""
    return f"(isValid({value}) ? format(100 * {value}, '.0f') + ' %' : '–')"


def count(value: str) -> str:
    """Returns the expression of a number as text, with separators of thousands."""
    return f"format({value}, ',')"


def date(value: str) -> str:
    """Returns the expression of a time as text, to the minute."""
    return f"({value} ? timeFormat({value}, '%Y-%m-%d %H:%M') : '–')"


RATE_COLUMNS: Final = (
    Column("Failure rate", 0.15, percent("datum.now.rate.value"), bar="datum.now.rate.value || 0"),
    Column("Week before", 0.1, percent("datum.before.rate.value"), right=True),
    Column("Change", 0.1, f"{_BOTH} ? format(100 * {_CHANGE}, '+.0f') + ' points' : '–'", right=True,
           colour=f"{_BOTH} ? ({_CHANGE} > 0.05 ? '{BAD}' : {_CHANGE} < -0.05 ? '{GOOD}' : '') : ''"),
    Column("Failed", 0.08, count("datum.now.failed.value"), right=True),
    Column("Runs", 0.08, count("datum.now.doc_count"), right=True),
)  # fmt: skip


def bucket_table(
    wanted: Spec,
    buckets: str,
    columns: Sequence[Column],
    rows: int,
    *,
    transform: Sequence[Spec] = (),
    empty: str = "no runs in this time range",
    click: str = "",
) -> Spec:
    """Returns a table of the first `rows` buckets of a response, after `transform`."""
    counted = [
        {"type": "window", "ops": ["row_number"], "as": ["row"]},
        {"type": "filter", "expr": f"datum.row <= {rows}"},
    ]
    data: list[Spec] = [
        {"name": "answer", "url": wanted, "format": {"property": buckets}},
        {"name": "rows", "source": "answer", "transform": [*transform, *counted]},
    ]
    others: Spec = {}
    if click:
        others["signals"] = [{"name": "clicked", "on": [{"events": "@row:click", "update": click}]}]
    none = f"length(data('rows')) ? '' : {json.dumps(empty)}"
    middle = {"signal": "width / 2"}, {"signal": "height / 2"}
    marks = table_marks(columns, clickable=bool(click)) + texts("", none, *middle, 14, align="center", limit="width")
    return page(data, marks, **others)


def table_marks(columns: Sequence[Column], *, clickable: bool = False) -> list[Spec]:
    """Returns headings, and the texts and bars of the data `rows`, whose field `row` counts from 1."""
    y = {"signal": f"{HEAD_PIXELS} + (datum.row - 0.5) * {ROW_PIXELS}"}
    line = {"signal": f"{HEAD_PIXELS} + datum.row * {ROW_PIXELS}"}
    marks: list[Spec] = [
        {"type": "rule", "from": {"data": "rows"}, "encode": {"update": {
            "x": {"value": 0}, "x2": {"signal": "width"}, "y": line, "stroke": {"value": "#98A2B3"},
            "strokeOpacity": {"value": 0.25}}}},
    ]  # fmt: skip
    left = 0.0
    for column in columns:
        end = left + column.width
        x = {"signal": f"width * {end:.3f} - 12" if column.right else f"width * {left:.3f}"}
        room = f"width * {column.width:.3f} - 14"
        align = "right" if column.right else "left"
        heading = f"length(data('rows')) ? {json.dumps(column.title)} : ''"
        marks += texts("", heading, x, {"value": 12}, 12, weight=700, align=align, limit=room)
        if column.bar:
            marks.append(
                {"type": "rect", "from": {"data": "rows"}, "encode": {"update": {
                    "x": {"signal": f"width * {left:.3f} + 46"}, "yc": y, "height": {"value": 10},
                    "width": {"signal": f"max(0, width * {column.width:.3f} - 66) * ({column.bar})"},
                    "fill": {"value": BAR}, "fillOpacity": {"value": 0.8}}}}
            )  # fmt: skip
        marks += texts("rows", column.text, x, y, 13, align=align, limit=room, colour=column.colour, tooltip=not clickable)
        left = end
    # Lies above the texts, so that a click anywhere in the row counts.
    cursor = {"cursor": {"value": "pointer"}} if clickable else {}
    marks.append(
        {"type": "rect", "name": "row", "from": {"data": "rows"}, "encode": {"update": {
            "x": {"value": 0}, "x2": {"signal": "width"}, "yc": y, "height": {"value": ROW_PIXELS},
            "fill": {"value": "transparent"}, **cursor}}}
    )  # fmt: skip
    return marks if clickable else marks[:-1]


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
