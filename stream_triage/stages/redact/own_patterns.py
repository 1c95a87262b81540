"""Lines in, the same lines without what the patterns of the settings match out."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stream_triage.errors import SettingsError
from stream_triage.stages.redact.rule import MARKER

__all__ = ["OwnPattern", "RedactionPattern"]

_MARKER: Final = re.compile(MARKER)


@dataclass(frozen=True, slots=True)
class RedactionPattern:
    """A user's own pattern: what it matches, or its group `secret`, becomes `<name>`."""

    name: str
    pattern: str


class OwnPattern:
    """A user's own pattern, ready for use.

    Raises:
        SettingsError: It is not a regular expression, has a bad name, or matches the empty string.
    """

    def __init__(self, own: RedactionPattern) -> None:
        self._name = own.name
        self._pattern = _own_pattern(own)

    def lines(self, text: str, count: Callable[[str], None]) -> str:
        """The text without its matches; each line by itself, since a pattern may match line ends and must not join lines.

        Args:
            text: Lines joined by newlines.
            count: Called with the name of the pattern for each replacement.
        """
        group = "secret" if "secret" in self._pattern.groupindex else 0

        def replace(match: re.Match[str]) -> str:
            value = match[group]
            if not value or _damages_marker(match.string, *match.span(group)):
                return match[0]
            count(self._name)
            first, last = match.start(group) - match.start(), match.end(group) - match.start()
            return f"{match[0][:first]}<{self._name}>{match[0][last:]}"

        return "\n".join([self._pattern.sub(replace, line) for line in text.split("\n")])


def _damages_marker(line: str, start: int, end: int) -> bool:
    """Whether replacing a stretch would change a marker; one with more of the stretch on both sides is replaced with it."""
    for marker in _MARKER.finditer(line):
        if marker.start() < end and start < marker.end() and not (start < marker.start() and marker.end() < end):
            return True
    return False


def _own_pattern(own: RedactionPattern) -> re.Pattern[str]:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", own.name):
        raise SettingsError(f"redaction pattern {own.name!r}: name it with a-z, 0-9 and hyphens, starting with a letter")
    try:
        pattern = re.compile(own.pattern)
    except re.error as error:
        raise SettingsError(
            f"redaction pattern {own.name!r} is not a regular expression ({error}); correct or remove it"
        ) from None
    if pattern.search("") is not None:
        raise SettingsError(f"redaction pattern {own.name!r} matches the empty string; make it ask for a character")
    return pattern
