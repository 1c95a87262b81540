"""Errors in; pages that say what is wrong and what to do about it out."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from stream_triage.errors import InputError, RunNotFound, StreamTriageError, internal_error_text
from stream_triage.web.site import page
from stream_triage.web.stored import StoreMissing

__all__ = ["error_page", "expected_error", "http_error", "unexpected_error"]

_TITLES = {
    400: "This address cannot be used",
    403: "Not allowed",
    404: "Not found",
    405: "Not allowed",
    421: "Unknown name of this server",
    500: "Something went wrong",
    503: "Try again in a moment",
}


def error_page(request: Request, status: int, words: str, *, title: str = "") -> Response:
    """The page of an error."""
    title = title or _TITLES.get(status, HTTPStatus(status).phrase)
    return page(request, "pages/error.html", status=status, title=title, words=words, code=int(status))


def expected_error(request: Request, error: Exception) -> Response:
    """Errors that the product raises on purpose; their messages name the remedy."""
    assert isinstance(error, StreamTriageError)
    if isinstance(error, StoreMissing):
        return page(request, "pages/no_store.html", words=str(error))
    if isinstance(error, InputError):
        return error_page(request, 400, str(error))
    if isinstance(error, RunNotFound):
        return error_page(request, 404, str(error))
    if error.temporary:
        response = error_page(request, 503, str(error))
        response.headers["retry-after"] = "2"
        return response
    return error_page(request, 500, str(error), title="The store cannot be read")


def http_error(request: Request, error: Exception) -> Response:
    """Addresses that do not exist, and the like."""
    assert isinstance(error, HTTPException)
    words = "There is no page at this address." if error.status_code == 404 else str(error.detail)
    return error_page(request, error.status_code, words)


def unexpected_error(request: Request, error: Exception) -> Response:
    """A bug. Its message may hold log text, so the page does not show it."""
    return error_page(request, 500, f"{internal_error_text(error)}. Please report it.")
