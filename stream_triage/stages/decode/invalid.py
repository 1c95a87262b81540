"""How bytes that are invalid in an encoding are marked until they are counted."""

import codecs
from typing import Final

__all__ = ["ERRORS", "INVALID"]

INVALID: Final = "\udcff"
"""Stands for an invalid sequence of bytes; no decoder gives this character."""
ERRORS: Final = "stream-triage-invalid"
"""Name of the error handler that gives `INVALID`."""


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return INVALID, error.end


codecs.register_error(ERRORS, _mark)
