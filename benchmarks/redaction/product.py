"""A log in, the stretches that the product's redaction removed from it out."""

import re
from typing import Final

from stream_triage.stages.redact import Redactor

__all__ = ["redacted_stretches", "removed_from_line"]

_MARKER: Final = re.compile(r"<[a-z][a-z0-9-]*>")


def redacted_stretches(redactor: Redactor, text: str) -> list[tuple[int, int]]:
    """Redacts the text as the lines of one source, and finds out what is missing."""
    redacted = redactor.lines(text, redactor.start())
    stretches: list[tuple[int, int]] = []
    start = 0
    for before, after in zip(text.split("\n"), redacted.split("\n"), strict=True):
        if before != after:
            stretches += [(start + first, start + last) for first, last in removed_from_line(before, after)]
        start += len(before) + 1
    return stretches


def removed_from_line(before: str, after: str) -> list[tuple[int, int]]:
    """What the markers in `after` stand for.

    `<password>` can be a marker or an XML element that was there before. So each marker is first taken for itself and, only
    if the line does not fit then, for removed text.

    Raises:
        ValueError: The lines differ in more than markers.
    """
    pattern, done = "", 0
    for marker in _MARKER.finditer(after):
        pattern += re.escape(after[done : marker.start()]) + f"(?:{re.escape(marker[0])}|(.+?))"
        done = marker.end()
    match = re.fullmatch(pattern + re.escape(after[done:]), before)
    if match is None:
        raise ValueError(f"this is not a redacted form of the line: {after!r}, {before!r}")
    return [match.span(number) for number in range(1, match.re.groups + 1) if match[number] is not None]
