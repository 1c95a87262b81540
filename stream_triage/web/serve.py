"""Settings in; a server that answers until it is stopped out."""

import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

import uvicorn

from stream_triage.errors import SettingsError, StoreError
from stream_triage.settings import Settings, UiSettings
from stream_triage.web.app import create_app
from stream_triage.web.site import CoursesOf, Site

__all__ = ["serve"]

# Whoever stops the server must not wait for a long download. Requests for changes end by themselves, sooner than this.
END_SECONDS = 2
WAITING_CONNECTIONS = 128


def serve(settings: Settings, *, on_ready: Callable[[str], None], courses_of: CoursesOf | None = None) -> None:
    """Serves the pages until SIGTERM or Ctrl-C.

    Args:
        settings: All of them.
        on_ready: Receives the address of the pages as soon as they can be opened.
        courses_of: Reads what happened to the UEs of a run from its text.

    Raises:
        SettingsError: It cannot listen there.
    """
    app = create_app(settings, courses_of=courses_of)
    site: Site = app.app.state.site
    with suppress(StoreError):  # the page says so
        site.store.choices()  # or the first page would wait for them
    with _listening(settings.ui) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # addresses hold names of runs and words that were searched for
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=END_SECONDS,
            ws="none",
        )
        on_ready(_address(settings.ui, listener.getsockname()[1]))
        with suppress(KeyboardInterrupt):  # it has ended as it should by then
            _Server(config, site).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Tells the requests that stay open when it stops; it would wait for them, cancel them, and report that as an error."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        self._site.stopping.set()
        await super().shutdown(sockets)  # type: ignore[arg-type]


def _listening(settings: UiSettings) -> socket.socket:
    try:
        found = socket.getaddrinfo(settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=WAITING_CONNECTIONS)
    except (OSError, OverflowError) as error:
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "another program listens there" if in_use else str(error)
        raise SettingsError(
            f"pages cannot be served at {settings.listen}: {reason}; set ui.listen to another address"
        ) from None


def _address(settings: UiSettings, port: int) -> str:
    """What to type into a browser on this machine."""
    everywhere = settings.host in {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not listened at
    host = "localhost" if everywhere else f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"
