"""What OpenSearch Dashboards does with a link: the format `url` of a field, the path of the page, the state in an address.

A model of the published source (`field_formats/converters/url.ts`, `osd_url_storage.ts`, rison-node), small enough to be
read beside it. `clicked` is what a browser and Dashboards make of a click.
"""

import html
import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

__all__ = ["HOSTILE", "ROOT", "Place", "clicked", "label_of", "parse_rison", "state_of"]

# Run ids that mean something in URLs, Rison, Lucene, HTML or templates.
HOSTILE = (
    *("it's", "a!b", "!'", "a*", 'a"b', "a\\b", "a b", "a+b", "a%2Fb", "a&_a=()", "a#b?c=d", "',query:(query:'*')", "(a)"),
    *("ü/号", "\u202ea", "<b>x</b>", "{{value}}", "a~b", "a@b", "-a", "AND", "x" * 2000, "logs/a b.log#0a1b2c3d~2"),
)
# What encodeURIComponent of JavaScript leaves as it is.
UNRESERVED = "-_.!~*'()"
# Characters that end a name of Rison, or cannot be its first one.
NOT_IN_NAMES, NOT_FIRST = " '!:(),*@$", "-0123456789"


class Place(NamedTuple):
    """Where Dashboards is served: the origin, and the base path before `/app`."""

    origin: str = "http://dashboards:5601"
    base: str = ""


ROOT = Place()


class Clicked(NamedTuple):
    """Where a click leads: the path of the page, the route after `#`, and the states `_g` and `_a`."""

    path: str
    route: str
    states: dict[str, Any]


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Names that the template may not use become nothing."""
    return re.sub(r"{{([\s\S]+?)}}", lambda match: values.get(match[1].strip(), ""), template)


def _url(params: Mapping[str, Any], value: str) -> str:
    return _filled(params["urlTemplate"], {"value": quote(value, safe=UNRESERVED), "rawValue": value})


def label_of(params: Mapping[str, Any], value: str) -> str:
    """The text that a column shows for a value."""
    url = _url(params, value)
    return _filled(params["labelTemplate"], {"value": value, "url": url}) if params.get("labelTemplate") else url


def clicked(params: Mapping[str, Any], value: str, place: Place = ROOT, app: str = "dashboards") -> Clicked:
    """Where a click on a value leads from a page of an app."""
    url = html.escape(_url(params, value))
    if url.startswith(("http://", "https://")):
        prefix = ""
    elif url[0] == "#":
        prefix = f"{place.origin}{place.base}/app/{app}"
    elif url.startswith(place.base or "/"):
        prefix = place.origin
    else:
        prefix = f"{place.origin}{place.base}/app" + ("" if url[0] == "/" else "/")
    return state_of(html.unescape(f"{prefix}{url}"))


def state_of(address: str) -> Clicked:
    """What Dashboards reads from an address."""
    page = urlsplit(address)
    route, _, query = page.fragment.partition("?")
    states = {name: parse_rison(values[0]) for name, values in parse_qs(query.partition("#")[0]).items()}
    return Clicked(posixpath.normpath(page.path), route, states)


def parse_rison(text: str) -> Any:
    """Reads Rison strictly. Raises `ValueError` where Dashboards reports an unreadable state."""
    value, rest = _value(text)
    if rest:
        raise ValueError(f"text after the value: {rest[:20]!r}")
    return value


def _value(text: str) -> tuple[Any, str]:
    if text.startswith("'"):
        return _quoted(text[1:])
    if text.startswith("!"):
        if text[1:2] == "(":
            return _list(text[2:])
        return {"t": True, "f": False, "n": None}[text[1:2]], text[2:]
    if text.startswith("("):
        return _object(text[1:])
    end = next((index for index, character in enumerate(text) if character in NOT_IN_NAMES), len(text))
    name, rest = text[:end], text[end:]
    if not name:
        raise ValueError(f"no value at {text[:20]!r}")
    return (json.loads(name) if name[0] in NOT_FIRST else name), rest


def _quoted(text: str) -> tuple[str, str]:
    parts = re.match(r"(?:[^'!]|!['!])*", text)
    assert parts
    if text[parts.end() : parts.end() + 1] != "'":
        raise ValueError(f"invalid text at {text[:40]!r}")
    return re.sub(r"!(.)", r"\1", parts[0]), text[parts.end() + 1 :]


def _list(text: str) -> tuple[list[Any], str]:
    values: list[Any] = []
    while not text.startswith(")"):
        value, text = _value(text.removeprefix(",") if values else text)
        values.append(value)
    return values, text[1:]


def _object(text: str) -> tuple[dict[str, Any], str]:
    values: dict[str, Any] = {}
    while not text.startswith(")"):
        name, text = _value(text.removeprefix(",") if values else text)
        if text[:1] != ":":
            raise ValueError(f"no colon at {text[:20]!r}")
        values[name], text = _value(text[1:])
    return values, text[1:]
