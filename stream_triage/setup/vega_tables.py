"""Questions about verdicts in; tables drawn by Vega out, such as those with the failure rate of the week before."""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from stream_triage.setup.vega import (
    BAD,
    GOOD,
    NOT_CANARY,
    NOW,
    UNKNOWN,
    WEEK_BEFORE,
    Spec,
    count,
    page,
    percent,
    request,
    texts,
)

__all__ = ["HEAD_PIXELS", "RATE_COLUMNS", "ROW_PIXELS", "Column", "bucket_table", "comparison", "table_marks"]

ROW_PIXELS: Final = 24
HEAD_PIXELS: Final = 30
BAR: Final = "#6092C0"


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


_CHANGE: Final = "(datum.now.rate.value - datum.before.rate.value)"
_BOTH: Final = "(datum.now.doc_count && datum.before.doc_count)"


RATE_COLUMNS: Final = (
    Column("Failure rate", 0.15, percent("datum.now.rate.value"), bar="datum.now.rate.value || 0"),
    Column("Week before", 0.1, percent("datum.before.rate.value"), right=True),
    Column("Change", 0.1, f"{_BOTH} ? format(100 * {_CHANGE}, '+.0f') + ' points' : '–'", right=True,
           colour=f"{_BOTH} ? ({_CHANGE} > 0.05 ? '{BAD}' : {_CHANGE} < -0.05 ? '{GOOD}' : '') : ''"),
    Column("Failed", 0.08, count("datum.now.failed.value"), right=True),
    Column("Runs", 0.08, count("datum.now.doc_count"), right=True),
)  # fmt: skip


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
    if clickable:  # above the texts, so that a click anywhere in the row counts
        marks.append(
            {"type": "rect", "name": "row", "from": {"data": "rows"}, "encode": {"update": {
                "x": {"value": 0}, "x2": {"signal": "width"}, "yc": y, "height": {"value": ROW_PIXELS},
                "fill": {"value": "transparent"}, "cursor": {"value": "pointer"}}}}
        )  # fmt: skip
    return marks
