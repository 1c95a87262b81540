"""Templates and what they show in; HTML out. The one file that imports Jinja2.

Text from logs is hostile. Every value that a template prints is made harmless here, whether or not the template thinks of
it: markup is escaped, and control characters, terminal escapes and characters that change the writing direction are shown as
codes. A template that wants line breaks or tabs kept says so with the filter `lines_kept`.
"""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stream_triage.errors import SettingsError
from stream_triage.records import UNKNOWN
from stream_triage.render.printable import printable
from stream_triage.web.run_view.markdown import markdown

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["STATIC", "TEMPLATES", "environment", "label_class", "render", "static_text"]

_HERE = Path(__file__).parent
TEMPLATES: Final = _HERE / "templates"
STATIC: Final = _HERE / "static"

# Labels of the packaged bundles have a colour each; those of other bundles share the last ones.
_COLOURS: Final = {"l0_l1": 1, "l2": 2, "l3": 3, "core_other": 4}
_FIRST_SHARED, _SHARED = 5, 3


@cache
def environment() -> Environment:
    """The templates, with autoescaping; a name that was not passed is an error.

    Raises:
        SettingsError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise SettingsError("pages and reports need the extra: pip install 'stream-triage[ui]'") from None

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    made.filters |= {
        "count": _count,
        "label_class": label_class,
        "lines_kept": _lines_kept,
        "markdown": markdown,
        "own_code": _own_code,
        "percent": _percent,
        "thousands": _thousands,
        "when": _when,
    }
    return made


def render(template: str, **values: Any) -> str:
    """The HTML that the template makes of the values."""
    return environment().get_template(template).render(**values)


@cache
def static_text(name: str) -> str:
    """A file of the folder `static`, such as a style sheet."""
    return (STATIC / name).read_text(encoding="utf-8")


def label_class(label: str) -> str:
    """The CSS class that gives a label its colour, the same on every page.

    >>> label_class("Pass"), label_class("L3"), label_class("unknown")
    ('label-pass', 'label-3', 'label-unknown')
    """
    name = label.lower()
    if name in {"pass", UNKNOWN}:
        return f"label-{name}"
    shared = _FIRST_SHARED + zlib.crc32(name.encode(errors="replace")) % _SHARED
    return f"label-{_COLOURS.get(name, shared)}"


def _harmless(value: Any) -> Any:
    """What is printed for a value: nothing for None, text without control characters; markup of ours stays."""
    if value is None:
        return ""
    return printable(value) if type(value) is str else value


def _lines_kept(text: str) -> Markup:
    """Text of several lines, escaped; each line is made harmless, the line ends stay."""
    from markupsafe import Markup, escape

    return Markup("\n").join(escape(printable(line)) for line in text.split("\n"))


def _own_code(text: str) -> Markup:
    """Our own style or script, inside its element."""
    from markupsafe import Markup

    assert "</" not in text, "would end the element"
    return Markup(text)  # noqa: S704 - a file of this package


def _thousands(number: float) -> str:
    return f"{number:,}"


def _count(number: int, what: str) -> str:
    """`1 line`, `300,000 lines`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _percent(share: float) -> str:
    """A share in percent; what is neither none nor all is never shown as 0 or 100."""
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def _when(time: datetime | None) -> str:
    """`2026-11-30 17:20 UTC`; nothing for no time."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if time else ""
