"""Name and value of a header in, the kind of secret that the value is out.

A header has one value, and its name was chosen to say what that is. So less is needed than in a line, where `auth` or `key`
may be any word.
"""

import re
from typing import Final

from stream_triage.stages.redact.names import secret_kind
from stream_triage.stages.redact.rule import MARKER
from stream_triage.stages.redact.tables import column_kind, fits_kind
from stream_triage.stages.redact.values import is_stand_in, looks_random

__all__ = ["header_kind"]

_MARKER: Final = re.compile(MARKER)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_CODES: Final = frozenset("pin pin1 pin2 puk puk1 puk2 adm adm1 chv chv1 chv2 otp totp mfa".split())  # noqa: SIM905
# At the end of a name; with `session` and `key` the value must look like a secret, since a run has sessions and keys too.
_ALWAYS: Final = frozenset(
    [
        "auth",
        "authentication",
        "authorisation",
        "authorization",
        "login",
        "sid",
        "sas",
        "signature",
        "sig",
        "pat",
        "otp",
        "totp",
        "jwt",
        "mnemonic",
        "seed",
    ]
)
_KEYS: Final = frozenset("ki opc topc kek dek kic kasme psk milenage".split())  # noqa: SIM905


def header_kind(name: str, value: str) -> str | None:
    """What stands for the whole value, or None if it may stay.

    >>> [header_kind(name, "Zq8kLm") for name in ("db-pass", "X-Auth", "SIM.PIN", "test.case.name")]
    ['password', 'token', 'password', None]
    """
    if not _MARKER.sub("", value).strip() or is_stand_in(value):
        return None
    kind = secret_kind(name)
    if kind in ("password", "token"):
        return kind
    words = [word.lower() for word in _WORD.findall(name)]
    last = words[-1] if words else ""
    if last in _CODES - _ALWAYS:
        return "password"
    if last in _ALWAYS or words[-2:] == ["secret", "id"]:
        return "token"
    if last in _KEYS:
        return "key"
    column = column_kind(name)
    if column is not None and fits_kind(column, value):
        return "password" if column == "pin" else column
    return "token" if kind == "random" and (len(value) >= 16 or looks_random(value)) else None
