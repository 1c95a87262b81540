"""Settings in; the application that answers requests for pages out. Routes are in `list_routes.py` and `run_routes.py`."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import StreamTriageError
from stream_triage.settings import Settings
from stream_triage.web import list_routes, run_routes
from stream_triage.web.errors import error_page, expected_error, http_error, unexpected_error
from stream_triage.web.events import events
from stream_triage.web.pages import STATIC, environment
from stream_triage.web.security import Guard, allowed_hosts
from stream_triage.web.sessions import Sessions
from stream_triage.web.sign_in import asked_to_sign_in, sign_in, sign_in_form, sign_out
from stream_triage.web.site import CoursesOf, Site
from stream_triage.web.stored import StoreAccess

__all__ = ["create_app"]

ROUTES = (
    Route("/", list_routes.home),
    Route("/runs", list_routes.runs),
    Route("/cases", list_routes.cases),
    Route("/beds", list_routes.beds),
    Route("/templates", list_routes.templates),
    Route("/run", run_routes.run),
    Route("/run/lines", run_routes.lines),
    Route("/run/ues", run_routes.ues),
    Route("/run/difference", run_routes.difference),
    Route("/run/verdict.json", run_routes.verdict_json),
    Route("/run/reduced.txt", run_routes.reduced_text),
    Route("/run/full.txt", run_routes.full_text),
    Route("/events", events),
    Route("/sign-in", sign_in_form),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
)


class _KeptFiles(StaticFiles):
    """Static files. Their addresses change with their content, so browsers may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def create_app(settings: Settings, *, clock: Clock | None = None, courses_of: CoursesOf | None = None) -> Guard[Starlette]:
    """The application.

    Args:
        settings: Store, archive, and who may see them.
        clock: For ages in filters, sessions and the days of drawings.
        courses_of: Reads what happened to the UEs of a run from its text.
    """
    clock = clock or SystemClock()
    password = settings.ui.password.get_secret_value() if settings.ui.password else None
    app = Starlette(
        routes=[*ROUTES, Mount("/static", _KeptFiles(directory=STATIC))],
        exception_handlers={
            StreamTriageError: expected_error,
            HTTPException: http_error,
            Exception: unexpected_error,
        },
    )
    for name in environment().list_templates(extensions=["html"]):
        environment().get_template(name)  # compiled now, or the first page would take longer than others
    app.state.site = Site(
        store=StoreAccess(settings, clock.monotonic),
        sessions=Sessions(password, clock.monotonic),
        clock=clock,
        courses_of=courses_of,
    )
    hosts = allowed_hosts(settings.ui.host, settings.ui.hosts)
    # Around the whole of it, so that pages of unexpected errors get the headers, too.
    return Guard(app, hosts=hosts, error_page=error_page, sign_in=asked_to_sign_in)
