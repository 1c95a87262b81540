"""Views: colours, invisible characters, other blanks and escapes never decide whether a secret is found."""

import json
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage.stages.redact import RULES, Redactor
from stream_triage.stages.redact.views import decoded_view, flat_view, lines_with_views, plain_view, spaced_view

IMSI = "001010000000042"
HEX = "00112233445566778899aabbccddeeff"
BODY = ["MIIEinventedAAAA/" + "bQ9x+" * 9 + "zz", "Kinvented" + "Zk4/r" * 11, "AsDf0+9=="]
KEY = ["-----BEGIN RSA PRIVATE KEY-----", *BODY, "-----END RSA PRIVATE KEY-----"]


def clean(text: str) -> str:
    return Redactor().text(text)


def _percent(line: str) -> str:
    return quote(line, safe="")


def _json(line: str) -> str:
    return json.dumps({"log": line + "\n", "stream": "stdout"}).replace("/", "\\/").replace("=", "\\u003d")


def _entities(line: str) -> str:
    return "".join({'"': "&quot;", "'": "&#39;", "<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(sign, sign) for sign in line)


def _words_coloured(line: str) -> str:
    return re.sub(r"[A-Za-z]+", lambda word: f"\x1b[36m{word[0]}\x1b[0m", line)


DECORATIONS: dict[str, Callable[[str], str]] = {
    "colour before it": lambda line: "\x1b[31m" + line,
    "coloured line": lambda line: f"\x1b[1;38;5;196m{line}\x1b[0m",
    "coloured words": _words_coloured,
    "reset at the end": lambda line: line + "\x1b[0m\x1b[K",
    "lost colour": lambda line: f"^[[32m{line}[0m",
    "spelt colour": lambda line: f"\\u001b[32m{line}\\033[0m",
    "C1": lambda line: f"\x9b32m{line}\x9b0m",
    "link": lambda line: f"\x1b]8;;http://ci.example\x1b\\{line}\x1b]8;;\x07",
    "character set": lambda line: f"\x1b(B\x1b7{line}\x1b8\x0f",
    "overprinted": lambda line: re.sub(r"(?<!\\)[A-Za-z0-9]", lambda sign: f"{sign[0]}\x08{sign[0]}", line),
    "no-break spaces": lambda line: line.replace(" ", "\xa0"),
    "narrow spaces": lambda line: line.replace(" ", "\u202f"),
    "zero-width spaces": lambda line: "\u200b".join(line),
    "soft hyphens": lambda line: re.sub("(?<=[a-z])(?=[a-z])", "\xad", line),
    "direction marks": lambda line: f"\u202a{line}\u202c",
    "byte order mark": lambda line: "\ufeff" + line,
    "full width": lambda line: "".join(chr(ord(sign) + 0xFEE0) if sign in ":=" else sign for sign in line),
    "percent": _percent,
    "percent twice": lambda line: _percent(_percent(line)),
    "JSON": _json,
    "JSON twice": lambda line: _json(_json(line)),
    "HTML": _entities,
    "coloured JSON": lambda line: _json(f"\x1b[32m{line}\x1b[0m"),
}
EXAMPLES = [(rule.name, before, after) for rule in RULES for before, after in rule.examples if before != after]


def _shown(line: str) -> str:
    """What a reader sees of a line, without blanks and escaped line ends, which not every notation keeps."""
    return re.sub(r"\s|\\+r?", "", flat_view(line).text)


@pytest.mark.parametrize("decoration", DECORATIONS)
def test_every_rule_sees_through(decoration: str) -> None:
    """What an example of a rule loses in plain text it loses in every decoration, and the rest stays readable."""
    for name, before, after in EXAMPLES:
        decorated = DECORATIONS[decoration](before)
        redacted = clean(decorated)
        assert _shown(redacted) == _shown(after), (name, decorated, redacted)
        assert clean(redacted) == redacted, name
