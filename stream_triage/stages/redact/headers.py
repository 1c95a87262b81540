"""Name and value of a header in, the kind of secret that the value is out.

A header has one value, and its name was chosen to say what that is. So less is needed than in a line, where `auth` or `key`
may be any word.
"""

import re
from typing import Final

from stream_triage.stages.redact.names import secret_kind, words_of
from stream_triage.stages.redact.rule import MARKER
from stream_triage.stages.redact.tables import column_kind, fits_kind
from stream_triage.stages.redact.values import is_stand_in, looks_random

__all__ = ["header_kind"]

_MARKER: Final = re.compile(MARKER)
# Names that make any value a secret, by their last word. With `session` and `key` the value must look like one, since a run
# has sessions and keys too.
_LAST_WORDS: Final = {
    **dict.fromkeys(("pin", "puk", "adm", "chv"), "password"),
    **dict.fromkeys(("auth", "authentication", "authorisation", "sid", "sas", "sig", "signature", "pat"), "token"),
    **dict.fromkeys(("otp", "totp", "mfa", "jwt", "mnemonic"), "token"),
    **dict.fromkeys(("ki", "opc", "topc", "kek", "dek", "kic", "kasme", "milenage"), "key"),
}


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
    words = words_of(name)
    if words and (always := _LAST_WORDS.get(words[-1])):
        return always
    column = column_kind(name)
    if column not in (None, "password", "token") and fits_kind(column, value):
        return "password" if column == "pin" else column
    is_token = words[-2:] == ["secret", "id"] or (kind == "random" and (len(value) >= 16 or looks_random(value)))
    return "token" if is_token else None
