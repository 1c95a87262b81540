"""`templates`: the templates of a bundle with their keys."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from stream_triage.cli.options import BundleOption, ConfigOption, JsonOption, as_settings
from stream_triage.render.printable import printable

__all__ = ["templates"]


def templates(
    *,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    search: Annotated[
        str | None, typer.Option(help="List only templates that contain this text, in upper or lower case.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the templates of the bundle with their keys.

    Without --bundle, these are the templates of all bundles that can be chosen for a run.
    """
    from stream_triage import wiring
    from stream_triage.settings import load_settings

    matching = [
        (key, template)
        for key, template in dict(
            item
            for _, templates in wiring.open_templates(load_settings(config, **as_settings(bundle=bundle)))
            for item in templates.items
        ).items()
        if search is None or search.lower() in template.lower()
    ]
    if as_json:
        print(json.dumps([{"key": key, "template": template} for key, template in matching], indent=1, ensure_ascii=False))
    else:
        for key, template in matching:
            print(f"{key}  {printable(template)}")
