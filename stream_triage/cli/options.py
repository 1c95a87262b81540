"""Options that several commands share, and the way from options to settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "BundleOption",
    "ConfigOption",
    "DialectOption",
    "DryRunOption",
    "JsonOption",
    "ReportOption",
    "RulesOption",
    "RunArgument",
    "RunByOption",
    "as_settings",
]

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file to read (TOML).")]
BundleOption = Annotated[
    str | None,
    typer.Option(
        "--bundle",
        "-b",
        help="Name of the model bundle, or path of its folder. auto (the default) takes the bundle that knows the run.",
    ),
]
RulesOption = Annotated[Path | None, typer.Option("--rules", help="File of hand-written rules to apply (TOML).")]
DialectOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--dialect",
        help="File of a dialect of your own to use (TOML). May be repeated; the setting `dialects` is not used then.",
    ),
]
RunByOption = Annotated[
    str | None,
    typer.Option("--run-by", help="Whether each file or each folder is one run.", metavar="file|folder"),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE", help="Also write an HTML page to look at or to send, with all it needs in one file."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table or text.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="The id of a stored run, or its beginning, or any part of it, as long as only one run matches."
    ),
]


def as_settings(**options: Any) -> dict[str, Any]:
    """Options that were given, as nested settings.

    >>> as_settings(bundle=None, follow__idle_seconds=5.0)
    {'follow': {'idle_seconds': 5.0}}
    """
    tree: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            section, _, key = name.rpartition("__")
            (tree.setdefault(section, {}) if section else tree)[key] = value
    return tree
