"""A browser for the tests of pages, started once, and pages that must not misbehave."""

import os
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from tests.web.browser.chromium import Unavailable, Watched, axe_violations, chromium

Visit = Callable[..., Any]


def unavailable(reason: str) -> NoReturn:
    """Passed over by one who just tries; an error where all must be tested."""
    if os.environ.get("CI") or os.environ.get("REQUIRE_SERVICES"):
        raise Unavailable(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    running = chromium()
    try:
        started = running.__enter__()
    except Unavailable as reason:
        unavailable(str(reason))
    yield started
    running.__exit__(None, None, None)


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Opens an address in a new page: `visit(address, width=1280, scheme="light")`.

    When the test ends, no page may have reported an error or asked another host.
    """
    pages: list[Watched] = []

    def visit(address: str, *, width: int = 1280, scheme: str = "light", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        watched = Watched(context.new_page())
        context.set_default_timeout(30_000)  # only waits that fail take that long; both cores may be busy
        pages.append(watched)
        watched.page.goto(address)
        return watched.page

    yield visit
    faults = [fault for watched in pages for fault in watched.faults]
    for context in browser.contexts:
        context.close()
    assert not faults


@pytest.fixture
def accessible() -> Callable[[Any], None]:
    """Fails if axe-core finds a violation of WCAG, level A or AA, on a page."""

    def check(page: Any) -> None:
        try:
            found = axe_violations(page)
        except Unavailable as reason:
            unavailable(str(reason))
        assert not found, "\n".join(found)

    return check
