"""Matches of a name with a value in, whether the value is a secret out: the name is read in parts, and values may be code.

The patterns of these matches have the groups `n` for the name, `q` for the quote, `v` for the value, and most of them `s`
for what stands between name and value.
"""

import re
from collections.abc import Callable
from typing import Final

from stream_triage.stages.redact.names import name_before, secret_kind
from stream_triage.stages.redact.values import is_code, is_path, is_prose, is_stand_in, is_strong, looks_random

__all__ = ["is_element", "is_foreign", "is_option", "is_password", "is_said", "is_token"]

_PROSE_START: Final = re.compile(
    r"(?:must|should|is|are|was|were|not|cannot|can|has|have|the|a|an|for|of|to|please|enter|your|invalid|incorrect|wrong|no|at|too|and|or"
    r"|use|uses|using|with|this|will|may|if|when|expired|required|missing|unable|failed|unexpected)[ ]",
    re.IGNORECASE,
)
# So many characters of a value are looked at; a longer one goes whole all the same.
_JUDGED: Final = 256
_ALL_HEX: Final = re.compile(r"[0-9a-f]+", re.IGNORECASE)
_PADDED: Final = re.compile(r"(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9+/]{14,255}={1,2}")
_NUMBER: Final = re.compile(
    r"[+-]?(?:0x[0-9a-f]{1,16}|[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})(?:e[+-]?[0-9]{1,3})?", re.IGNORECASE
)
_QUANTITY: Final = re.compile(
    r"[+-]?[0-9.]{1,12}[ ]?(?:dbm?|m?w|[mun]?s|min|h|px|%|[khmg]?hz|[kmg]?i?b|bytes|tokens)?", re.IGNORECASE
)


def _rest(match: re.Match[str]) -> str:
    """What follows the value on its line."""
    end = match.end("v")
    return match.string[end : end + 80].partition("\n")[0]


def _full_name(match: re.Match[str], *, with_word: bool = True) -> str:
    """The whole name, with a word before it for names of two words, such as `API key`."""
    start = match.start("n")
    before = name_before(match.string, start).lstrip("\"'[].-$")
    if with_word and not before and start >= 2 and match.string[start - 1] == " ":
        before = name_before(match.string, start - 1) + "_"
    return before + match["n"]


def _quoted_value(value: str, match: re.Match[str]) -> bool:
    """Whether a string between quotes is a value and neither a sentence nor a piece of code."""
    closed = match.string.startswith(match["q"], match.end("v"))
    if not any(sign.isalnum() for sign in value):
        return False
    if value[0] in "+,);:]" and (not closed or len(value) < 3 or value[1] == " "):
        return False
    return not (_PROSE_START.match(value) and len(value.split()) > 3)


def _plain_value(value: str, match: re.Match[str], name: str) -> bool:
    """Whether a word without quotes is a value and neither prose, code nor a number."""
    rest, separator = _rest(match), match["s"]
    if (
        re.fullmatch(r"[a-z_]+/[0-9]+", value)
        or (separator == "->" and "/" in value)
        or separator in ("==", "===")
        or value[0] in "[({=<>,;|&"
    ):
        return False
    if is_code(value, rest, name):
        return False
    if (
        separator == ":"
        and match.string[match.start("v") - 1] == ":"
        and re.match(r"[A-Za-z0-9_.-]{1,128}:|[\w.-]+\.[a-z]{1,4}:", value)
    ):
        return False  # `credentials.py:1102`, `jsonwebtoken:jjwt-api:jar:0.11.2`
    if separator == ":" and (
        is_prose(value, rest) or (_QUANTITY.fullmatch(value) and (len(value) < 3 or not value.isdigit()))
    ):
        return False
    return not (separator == "->" and (not is_strong(value) or "token" in name.lower()))


def _is_short_name(match: re.Match[str]) -> bool:
    """Whether `pw` or `pass` alone is a name here: results of tests, powers and variables are called so as well."""
    if name_before(match.string, match.start("n"))[-1:].isidentifier() or match["q"]:
        return True
    if match["s"] in ("=", ":=") and match["n"].lower() == "pw":
        return True
    value = match["v"]
    return (
        (match["n"] != "PASS" or match["s"] == "=")
        and is_strong(value)
        and "/" not in value
        and not value.lower().startswith("test")
    )


def is_password(match: re.Match[str]) -> bool:
    """Whether a match is an assignment to the name of a password, with a value that can be one."""
    name, value = _full_name(match, with_word=match["n"].lower() == "pass"), match["v"][:_JUDGED]
    if secret_kind(name) != "password" or is_stand_in(value) or is_stand_in(value.rstrip(".,:;!?")):
        return False
    word = match["n"].lower().strip("_.-")
    if word in ("pw", "pass") and (not _is_short_name(match) or _QUANTITY.fullmatch(value)):
        return False
    if match.string[: match.start("n")][-10:].lower() == "hardcoded " and not is_strong(value):
        return False  # linters quote words of programs
    if value[0] == ":" or is_path(value) or (match["s"] == ":" and re.fullmatch(r"[A-Za-z_][\w.:]*\(", value)):
        return False
    return _quoted_value(value, match) if match["q"] else _plain_value(value, match, name)


def _is_random(match: re.Match[str], value: str) -> bool:
    """Whether a value behind a name that may mean anything, such as `auth` or `…_key`, looks drawn at random."""
    if match["n"].lower() in ("key", "session", "ticket", "assertion") and not name_before(match.string, match.start("n"))[
        -1:
    ].strip("\"'[ "):
        return False  # of a cache, a row, a map
    if match["s"] == ":" and not match["q"] and match.string[match.start("v") - 1] == ":":
        return False  # the tag of an image
    if _ALL_HEX.fullmatch(value):
        return len(value) >= 32 and "auth" in match["n"].lower() and match["s"] == "="
    return len(value) >= 16 and (looks_random(value) or bool(_PADDED.fullmatch(value)))


def is_token(match: re.Match[str]) -> bool:
    """Whether a match is an assignment to the name of a token or key, with a value that can be one."""
    name, value = _full_name(match), match["v"][:_JUDGED]
    kind = secret_kind(name)
    if kind not in ("token", "random") or is_stand_in(value) or is_path(value) or _NUMBER.fullmatch(value):
        return False
    if kind == "random" and not _is_random(match, value):
        return False
    if not (_quoted_value(value, match) if match["q"] else _plain_value(value, match, name)):
        return False
    return _is_long_enough(match, name, value)


def _is_long_enough(match: re.Match[str], name: str, value: str) -> bool:
    """Whether a value has the length, or the digit, that its name and notation ask for."""
    has_digit = any(sign.isdigit() for sign in value)
    if name.lower().endswith("community"):
        return bool(match["q"]) or match["s"] == "=" or not _rest(match).strip()
    if name.lower().endswith(("token", "tokens")) and not ("_" in name.strip("_") or "-" in name):
        return has_digit and len(value) >= 8
    if len(value) < 5 or (" " in value.strip() and not has_digit and "secret" not in name.lower()):
        return False
    if match["s"] in ("==", "==="):
        return has_digit
    return bool(match["q"]) or has_digit or match["s"] != ":"


def is_foreign(match: re.Match[str]) -> bool:
    """Whether what follows a word for a password in another language is a value and no sentence."""
    value = match["v"][:_JUDGED]
    return not (is_stand_in(value) or is_path(value) or is_code(value, "", "")) and (
        bool(match["q"]) or is_strong(value) or not _rest(match).strip()
    )


def is_option(kind: str) -> Callable[[re.Match[str]], bool]:
    """Whether an option of a command line has such a name, with the value behind a space."""

    def accept(match: re.Match[str]) -> bool:
        name, value = match["n"], match["v"][:_JUDGED]
        if secret_kind(name) != kind or is_stand_in(value) or value[0] in "-|<>&[({" or is_path(value):
            return False
        if not match["q"] and (re.fullmatch(r"[A-Z][A-Z_]*", value) or is_prose(value, _rest(match))):
            return False
        return kind == "password" or (len(value) >= 6 and any(sign.isdigit() for sign in value))

    return accept


_NO_PASSWORD: Final = re.compile(
    r".*[/(=].*|.*:[0-9]+.*|.*\.[a-z]{1,5}(?:[:,].*)?|lib.*|.*-dev|.*[0-9]+\.[0-9]+.*|@[a-z]+|[0-9a-f]{8}-[0-9a-f-]{20,}|0x[0-9a-f]+",
    re.IGNORECASE,
)


def is_said(match: re.Match[str]) -> bool:
    """Whether a value behind a space or in a sentence is one: it has a digit or sign among its letters."""
    value = match["v"][:_JUDGED].rstrip(".,;:!?)]>}")
    name = _full_name(match, with_word=match["n"].lower().startswith("token"))
    kind = secret_kind(name)
    if not match["s"].strip() and (match["n"].lower() in ("pass", "pw") or _NO_PASSWORD.fullmatch(value)):
        return False
    if kind is None or is_stand_in(value) or not is_strong(value) or is_path(value) or is_code(value, "", name):
        return False
    return kind == "password" or "secret" in name.lower() or "psk" in name.lower() or looks_random(value)


def is_element(wanted: str) -> Callable[[re.Match[str]], bool]:
    """Whether the text of an XML element, or the value of a pair, is a secret of the wanted kind."""

    def accept(match: re.Match[str]) -> bool:
        kind = secret_kind(match["n"])
        return (kind == "password") == (wanted == "password") and _is_member(kind, match["n"], match["v"][:_JUDGED].strip())

    return accept


def _is_member(kind: str | None, name: str, value: str) -> bool:
    if kind is None or not value or is_stand_in(value.lstrip("\\")) or is_path(value):
        return False
    if kind == "password":
        return True
    if _NUMBER.fullmatch(value):
        return False
    if kind == "random":
        return len(value) >= 16 and looks_random(value)
    return len(value) >= 3 and ((any(sign.isdigit() for sign in value) and len(value) >= 8) or "token" not in name.lower())
