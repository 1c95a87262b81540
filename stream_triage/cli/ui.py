"""The command `ui`: pages of the stored runs, for a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from stream_triage.cli.exits import note
from stream_triage.cli.options import ConfigOption, as_settings

__all__ = ["ui"]


def ui(
    *,
    config: ConfigOption = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Address at which the pages are served; the setting ui.listen."),
    ] = None,
) -> None:
    """Serve the stored runs as pages for a browser, until stopped.

    Shows the runs of the store of these settings, new ones as they come. Only this machine reaches the pages, unless the
    setting ui.listen says otherwise, which needs the setting ui.password. Nothing is loaded from other servers.
    """
    from importlib.util import find_spec

    from stream_triage.errors import SettingsError, StoreError
    from stream_triage.settings import load_settings

    settings = load_settings(config, **as_settings(ui__listen=listen))
    if not all(map(find_spec, ("jinja2", "starlette", "uvicorn"))):
        raise SettingsError("the pages need the extra: pip install 'stream-triage[ui]'")
    from stream_triage import wiring
    from stream_triage.operations import failed_ue_courses
    from stream_triage.web.run_view import UES_SHOWN
    from stream_triage.web.serve import serve

    try:
        wiring.open_store(
            settings
        ).close()  # an older store is brought up to date here, and not while somebody waits for a page
    except StoreError as error:
        if settings.store.path.exists() and not error.temporary:
            raise
        note(f"{error}")
    serve(
        settings,
        on_ready=lambda address: note(f"the pages are at {address} (stop with Ctrl-C)"),
        courses_of=lambda verdict, text: failed_ue_courses(settings, verdict, text, UES_SHOWN),
    )
