"""What all routes need, and how a page is made of a template."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from threading import Event
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse

from stream_triage import __version__
from stream_triage.clock import Clock
from stream_triage.ports import RunText
from stream_triage.records import UeCourse, Verdict
from stream_triage.web.pages import STATIC, render
from stream_triage.web.query import address
from stream_triage.web.sessions import Sessions
from stream_triage.web.stored import StoreAccess

__all__ = ["CoursesOf", "Site", "fragment", "page", "site_of", "static_address"]

CoursesOf = Callable[[Verdict, RunText], Sequence[UeCourse]]


@dataclass(frozen=True)
class Site:
    """What the routes work with."""

    store: StoreAccess
    sessions: Sessions
    clock: Clock
    courses_of: CoursesOf | None
    """Reads what happened to the UEs of a run from its text; without it, pages have no timeline of UEs."""
    stopping: Event = field(default_factory=Event)
    """Set when the server stops: requests that stay open end then."""


def site_of(request: Request) -> Site:
    """The site of the application that got the request."""
    site: Site = request.app.state.site
    return site


@cache
def static_address(name: str) -> str:
    """The address of a static file. It changes with its content, so that browsers may keep the file for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return address(f"/static/{name}", {"v": digest})


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page. What htmx asks for is a part of one; the same address serves both, so caches must tell them apart."""
    sessions = site_of(request).sessions
    html = render(
        template,
        static=static_address,
        address=address,
        path=request.url.path,
        version=__version__,
        signed_in=sessions.needed and status != 401,
        **values,
    )
    return HTMLResponse(html, status, headers={"vary": "HX-Request"})


def fragment(template: str, **values: Any) -> HTMLResponse:
    """A part of a page."""
    return HTMLResponse(render(template, address=address, **values), headers={"vary": "HX-Request"})
