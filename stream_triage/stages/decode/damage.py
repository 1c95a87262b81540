"""How bytes that are no text are marked in decoded text, and counted."""

import codecs
from dataclasses import dataclass
from typing import Final

__all__ = ["ERRORS", "INVALID", "Damage"]

INVALID: Final = "\udcff"
"""Stands for an invalid sequence of bytes until it is counted; no decoder gives this character."""
ERRORS: Final = "stream-triage-invalid"
"""Name of the error handler that gives `INVALID`."""


@dataclass(slots=True)
class Damage:
    """What was no text in one source so far; the fields are those of `records.Repairs`."""

    invalid_bytes: int = 0
    nul_bytes: int = 0
    damaged_lines: int = 0


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return INVALID, error.end


codecs.register_error(ERRORS, _mark)
