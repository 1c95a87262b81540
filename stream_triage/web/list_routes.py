"""Requests for lists in; pages of runs, test cases, beds and templates out."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from stream_triage.errors import InputError
from stream_triage.sinks.sqlite.lists import Grouping
from stream_triage.web.charts import chart, last_days
from stream_triage.web.query import RunQuery, address, number_of
from stream_triage.web.rows import group_row, run_row, template_row
from stream_triage.web.site import fragment, page, site_of

__all__ = ["beds", "cases", "home", "runs", "templates"]

PAGE_RUNS: Final = 50
PAGE_GROUPS: Final = 50
_ORDERS: Final = {"attention": "failing first", "newest": "last run", "name": "name"}
_TEMPLATE_ORDERS: Final = {"newest": "last seen", "first": "first seen"}
# Filters with a word of their own on the page.
_WORDS: Final = {"q": "text", "key": "template", "case": "test case", "review": "needs review", "open": "still open"}
_FLAGS: Final = ("anomalous", "review", "open")


def home(request: Request) -> Response:
    """The page to begin with."""
    return RedirectResponse("/runs", 302)


def runs(request: Request) -> Response:
    """Runs, by the filters in the address, with their exact number and how many there were over time."""
    site = site_of(request)
    query = RunQuery.read(request.query_params, site.clock.now())
    if any(not value for value in request.query_params.values()) and not _by_htmx(request):
        return RedirectResponse(query.newest, 303)  # a form without script sends empty fields, too
    lists = site.store.open().lists
    counts = lists.counts(query.filter)
    by_label = lists.labels(query.filter) if query.filter.labels else counts.labels
    choices = site.store.choices()
    labels = list(dict.fromkeys([*choices.labels, *by_label, *query.filter.labels]))
    found = lists.page(query.filter, after=query.place, limit=PAGE_RUNS + 1)
    values: dict[str, Any] = {
        "query": query,
        "total": counts.total,
        "chart": chart(counts, sorted(labels, key=lambda label: (label != "Pass", label))),
        "labels": [(label, by_label.get(label, 0), label in query.filter.labels, query.toggled(label)) for label in labels],
        "rows": [run_row(run) for run in found[:PAGE_RUNS]],
        "older": query.older(found[PAGE_RUNS - 1].place) if len(found) > PAGE_RUNS else "",
        "filters": [
            (_WORDS.get(name, name), "" if name in _FLAGS else value, query.without(name, value))
            for name, value in query.pairs
        ],
    }
    if _by_htmx(request):
        return fragment("lists/found.html", **values)
    return page(request, "lists/runs.html", choices=choices, **values)


def cases(request: Request) -> Response:
    """Test cases, those that need attention first."""
    return _groups(request, "test_case", "case", "Test cases")


def beds(request: Request) -> Response:
    """Test beds."""
    return _groups(request, "testbed", "bed", "Beds")


def _groups(request: Request, by: Grouping, parameter: str, title: str) -> Response:
    site, params = site_of(request), request.query_params
    order, words = params.get("order", "attention"), params.get("q", "").strip()
    if order not in _ORDERS:
        raise InputError(f"order must be one of {', '.join(_ORDERS)}")
    after = number_of(params, "after", 0)
    lists = site.store.open().lists
    found = lists.groups(by, words=words, order=order)  # type: ignore[arg-type]
    shown = found[after : after + PAGE_GROUPS]
    days = last_days(site.clock.now())
    path = request.url.path
    about = {name: value for name, value in (("q", words), ("order", order)) if value and value != "attention"}
    return page(
        request,
        "lists/groups.html",
        title=title,
        parameter=parameter,
        words=words,
        order=order,
        orders=_ORDERS,
        total=len(found),
        first=after + 1,
        rows=[group_row(lists.group(by, totals, days[0]), parameter, days) for totals in shown],
        newer=address(path, about | {"after": str(max(0, after - PAGE_GROUPS))}) if after else "",
        older=address(path, about | {"after": str(after + PAGE_GROUPS)}) if after + PAGE_GROUPS < len(found) else "",
    )


def templates(request: Request) -> Response:
    """Templates that runs showed as evidence or as anomalies."""
    site, params = site_of(request), request.query_params
    order, anomalies = params.get("order", "newest"), "anomalies" in params
    if order not in _TEMPLATE_ORDERS:
        raise InputError(f"order must be one of {', '.join(_TEMPLATE_ORDERS)}")
    after = number_of(params, "after", 0)
    days = last_days(site.clock.now())
    found, total = site.store.open().lists.templates(
        days[0],
        anomalies=anomalies,
        after=after,
        limit=PAGE_GROUPS,
        order=order,  # type: ignore[arg-type]
    )
    about = {name: value for name, value in (("order", order), ("anomalies", "1" if anomalies else "")) if value}
    return page(
        request,
        "lists/templates.html",
        order=order,
        orders=_TEMPLATE_ORDERS,
        anomalies=anomalies,
        total=total,
        rows=[template_row(template, days) for template in found],
        newer=address("/templates", about | {"after": str(max(0, after - PAGE_GROUPS))}) if after else "",
        older=address("/templates", about | {"after": str(after + PAGE_GROUPS)}) if after + PAGE_GROUPS < total else "",
    )


def _by_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-history-restore-request") != "true"
