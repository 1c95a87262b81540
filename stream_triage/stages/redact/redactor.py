"""Lines in, the same lines without secrets and identities out; run ids, headers and names of sources likewise."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from stream_triage.errors import SettingsError
from stream_triage.records import split_file_id
from stream_triage.settings import RedactionSettings
from stream_triage.stages.redact.blocks import RedactionState, redact_blocks
from stream_triage.stages.redact.context import next_line
from stream_triage.stages.redact.identities import IDENTITY_KINDS
from stream_triage.stages.redact.names import secret_kind
from stream_triage.stages.redact.rule import MARKER, line_numbers
from stream_triage.stages.redact.triggers import COMPILED, CONTEXT, Compiled, lines_to_try, lower
from stream_triage.stages.redact.values import is_stand_in

__all__ = ["RedactionPattern", "Redactor"]

# What a rule leaves can be a secret to an earlier rule, so changed lines are tried again. No known line needs more passes
# than this; the bound is for lines made to keep changing.
_PASSES: Final = 6
_MARKER: Final = re.compile(MARKER)


@dataclass(frozen=True, slots=True)
class RedactionPattern:
    """A user's own pattern: what it matches, or its group `secret`, becomes `<name>`."""

    name: str
    pattern: str


class Redactor:
    """Replaces secrets and subscriber identities. One for all sources, with a `RedactionState` for each.

    `patterns` are tried before the table, each line by line and in their order, so they see the line as it came. With a
    `pseudonym_key` the same identity becomes the same `<imsi:1a2b3c4d>` wherever it occurs.

    Raises:
        SettingsError: A pattern is not a regular expression, has a bad name, or matches the empty string.
    """

    def __init__(self, patterns: Sequence[RedactionPattern] = (), pseudonym_key: bytes | None = None) -> None:
        self._own = tuple((own.name, _own_pattern(own)) for own in patterns)
        self._key = pseudonym_key or None

    @classmethod
    def from_settings(cls, settings: RedactionSettings) -> "Redactor":
        """As the settings say. Serving and training use this alike, since both must see the same text."""
        key = settings.pseudonym_key
        return cls(
            [RedactionPattern(own.name, own.pattern) for own in settings.patterns],
            key.get_secret_value().encode() if key else None,
        )

    def __repr__(self) -> str:
        return f"Redactor({len(self._own)} own patterns, {'with' if self._key else 'no'} pseudonyms)"

    def start(self) -> RedactionState:
        """The state of a source before its first line."""
        return RedactionState()

    def lines(self, text: str, state: RedactionState) -> str:
        """Redacts whole lines joined by newlines; the result has as many lines.

        Cutting a source's lines into other batches gives the same text. Redacting twice changes nothing.
        """
        low = lower(text)
        unchanged = text
        text = redact_blocks(text, low, state)
        for name, pattern in self._own:
            text = self._own_lines(name, pattern, text, state)
        low = low if text == unchanged else lower(text)
        ends, starts_of = lines_to_try(text, low)
        announcing = starts_of.pop(CONTEXT, [])
        text = self._tried(text, state, _PASSES, ends, starts_of)
        # Lines keep their numbers, so those of the text as it came say where to look.
        numbers = {*line_numbers(low, announcing), *line_numbers(text, _subscribers(text))}
        if numbers or state.context.open:
            text = self._in_context(text, state, sorted(numbers))
        return text

    def text(self, value: str) -> str:
        """Redacts one value on its own, such as the name of a file."""
        return self.lines(value, RedactionState())

    def run_id(self, run_id: str) -> str:
        """The id without secrets.

        A digest of the content at its end, which tells files apart, stays: it may look like part of a secret before it.
        """
        path, digest = split_file_id(run_id)
        if digest:
            return f"{self.text(path)}#{digest}"
        return self.text(run_id)

    def header(self, name: str, value: str) -> tuple[str, str]:
        """Name and value without secrets. A name such as `password` makes its value one, as it would in a line."""
        shown_name, shown = self.text(name), self.text(value)
        for separator in ("=", ": "):
            pair = self.text(f"{name}{separator}{shown}")
            if pair.startswith(f"{shown_name}{separator}"):
                shown = pair.removeprefix(f"{shown_name}{separator}")
        kind = secret_kind(name)
        if kind in ("password", "token") and _MARKER.sub("", shown).strip() and not is_stand_in(shown):
            shown = f"<{kind}>"  # the name may contain more than the word, such as an identity
        return shown_name, shown

    def _in_context(self, text: str, state: RedactionState, announcing: list[int]) -> str:
        """Runs over the lines that may announce something, and over what follows them as long as something is announced."""
        lines = text.split("\n")
        wanted = iter(announcing)
        number, following = 0, next(wanted, len(lines))
        while number < len(lines):
            while following < number:
                following = next(wanted, len(lines))
            if not state.context.open:
                number = following
                if number >= len(lines):
                    break
            lines[number] = self._line_in_context(lines[number], state, number == following)
            number += 1
        return "\n".join(lines)

    def _line_in_context(self, line: str, state: RedactionState, announcing: bool) -> str:
        """One line, until neither its context nor the table of rules changes it, so that a second call finds it as it is."""
        before = state.context
        for _ in range(_PASSES):
            after, state.context = next_line(line, before, lambda kind, value: self._marker(kind, value, state), announcing)
            if after == line:
                break
            line = self._table(after, state, _PASSES)
        return line

    def _table(self, text: str, state: RedactionState, passes: int) -> str:
        """Runs the rules over the lines with triggers, and again over what they changed until nothing changes."""
        ends, starts_of = lines_to_try(text)
        starts_of.pop(CONTEXT, None)
        return self._tried(text, state, passes, ends, starts_of)

    def _tried(
        self, text: str, state: RedactionState, passes: int, ends: dict[int, int], starts_of: dict[int, list[int]]
    ) -> str:
        if not starts_of:
            return text
        now = {start: text[start:end] for start, end in ends.items()}
        for number in sorted(starts_of):
            self._apply(COMPILED[number], now, sorted(set(starts_of[number])), state)
        changed = sorted(start for start, end in ends.items() if now[start] != text[start:end])
        if not changed:
            return text
        if passes > 1:
            again = self._table("\n".join(now[start] for start in changed), state, passes - 1)
            now.update(zip(changed, again.split("\n"), strict=True))
        return _spliced(text, ((start, ends[start], now[start]) for start in changed))

    def _apply(self, compiled: Compiled, now: dict[int, str], starts: list[int], state: RedactionState) -> None:
        """One rule, in one call over all its lines."""
        before = "\n".join([now[start] for start in starts])
        parts = list(self._replaced(compiled, before, state))
        if parts:
            now.update(zip(starts, _spliced(before, parts).split("\n"), strict=True))

    def _replaced(self, compiled: Compiled, text: str, state: RedactionState) -> Iterable[tuple[int, int, str]]:
        """Start, end and marker of each secret that one rule sees in a text."""
        accept, kind, group = compiled.rule.accept, compiled.rule.kind, "v" if compiled.grouped else 0
        done = 0
        for match in compiled.pattern.finditer(text):
            start, end = match.span(group)
            if start < 0:
                start, end = match.span()
            # A group in a look-ahead may reach into the next match.
            if start >= done and (accept is None or accept(match)):
                yield start, end, self._marker(kind, text[start:end], state)
                done = end

    def _marker(self, kind: str, value: str, state: RedactionState) -> str:
        """Counts one replacement and returns what stands in its place."""
        state.count(kind)
        if self._key is None or kind not in IDENTITY_KINDS:
            return f"<{kind}>"
        identity = _canonical(kind, value)
        digest = hmac.new(self._key, (kind + identity).encode("utf-8", "replace"), hashlib.sha256)
        return f"<{kind}:{digest.hexdigest()[:8]}>"

    def _own_lines(self, name: str, pattern: re.Pattern[str], text: str, state: RedactionState) -> str:
        """One own pattern over each line by itself: it may match line ends too, and must not join lines."""
        group = "secret" if "secret" in pattern.groupindex else 0

        def replace(match: re.Match[str]) -> str:
            value = match[group]
            if not value or _damages_marker(match.string, *match.span(group)):
                return match[0]
            state.count(name)
            first, last = match.start(group) - match.start(), match.end(group) - match.start()
            return f"{match[0][:first]}<{name}>{match[0][last:]}"

        return "\n".join([pattern.sub(replace, line) for line in text.split("\n")])


def _subscribers(text: str) -> Iterator[int]:
    """Where the markers of subscribers are, whose keys may follow on lines of their own."""
    position = text.find("<imsi")
    while position >= 0:
        yield position
        position = text.find("<imsi", position + 1)


def _spliced(text: str, parts: Iterable[tuple[int, int, str]]) -> str:
    """The text with some stretches (start, end, new text) replaced, given in order."""
    pieces: list[str] = []
    done = 0
    for start, end, new in parts:
        pieces += (text[done:start], new)
        done = end
    return "".join([*pieces, text[done:]])


def _canonical(kind: str, value: str) -> str:
    """The identity without its spelling, so that every form of one subscriber gets one pseudonym."""
    if kind == "email":
        return value.lower()
    # A SUCI of the null scheme is the IMSI with punctuation (3GPP TS 33.501, annex C.2).
    if kind == "imsi" and value.startswith("0-") and value.count("-") == 6:
        _, country, network, _, scheme, _, number = value.split("-")
        if scheme == "0":
            return country + network + number
    return re.sub(r"[^0-9a-zA-Z]", "", value).lower()


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
