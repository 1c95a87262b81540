"""A password in; a session out. Everything but this page and its style waits for it."""

from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from stream_triage.errors import InputError
from stream_triage.web.query import address
from stream_triage.web.sessions import COOKIE, SESSION_SECONDS, TRIES_SECONDS, TooManyTries
from stream_triage.web.site import page, site_of

__all__ = ["asked_to_sign_in", "sign_in", "sign_in_form", "sign_out"]

PATH = "/sign-in"
_LONGEST_FORM = 8192


async def asked_to_sign_in(request: Request) -> Response | None:
    """The response to a request without a session, where one is needed; None for all others."""
    sessions = site_of(request).sessions
    if request.url.path == PATH or request.url.path.startswith("/static/") or sessions.allows(request.cookies.get(COOKIE)):
        return None
    if request.headers.get("hx-request") == "true":
        return Response(status_code=401, headers={"hx-redirect": PATH})
    if request.method not in {"GET", "HEAD"} or request.url.path == "/events":
        return Response("sign in first", 401, media_type="text/plain")
    wanted = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    return RedirectResponse(address(PATH, {"next": wanted}), 303)


def sign_in_form(request: Request) -> Response:
    """The page that asks for the password."""
    if not site_of(request).sessions.needed:
        return RedirectResponse("/runs", 303)
    return _form(request, "", request.query_params.get("next", ""), 200)


async def sign_in(request: Request) -> Response:
    """Takes the password."""
    fields = await _fields(request)
    after, sessions = fields.get("next", ""), site_of(request).sessions
    try:
        cookie = sessions.begin(fields.get("password", ""))
    except TooManyTries:
        words = f"There were too many wrong passwords. Wait {TRIES_SECONDS:.0f} seconds, then try again."
        return _form(request, words, after, 429)
    if cookie is None:
        return _form(request, "This password is wrong.", after, 403)
    response = RedirectResponse(_own_address(after), 303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, cookie, max_age=SESSION_SECONDS, httponly=True, secure=secure, samesite="lax")
    return response


def sign_out(request: Request) -> Response:
    """Ends the session."""
    site_of(request).sessions.end(request.cookies.get(COOKIE))
    response = RedirectResponse(PATH, 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return response


def _form(request: Request, error: str, after: str, status: int) -> Response:
    return page(request, "pages/sign_in.html", status=status, error=error, after=_own_address(after))


def _own_address(after: str) -> str:
    """Where to go on: an address of this server only, or links could lead from here to anywhere."""
    return after if after.startswith("/") and not after.startswith(("//", "/\\")) and after.isprintable() else "/runs"


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a small form. Its size is limited while it is read: whoever sends it has no session yet."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            raise InputError("the form is too large")
    fields = parse_qs(body.decode("utf-8", errors="replace"), max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}
