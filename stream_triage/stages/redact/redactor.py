"""Lines in, the same lines without secrets and identities out; run ids, headers and names of sources likewise."""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from stream_triage.records import split_file_id
from stream_triage.settings import RedactionSettings
from stream_triage.stages.redact.blocks import RedactionState, redact_blocks
from stream_triage.stages.redact.context import next_line
from stream_triage.stages.redact.identities import IDENTITY_KINDS
from stream_triage.stages.redact.names import secret_kind
from stream_triage.stages.redact.own_patterns import OwnPattern, RedactionPattern
from stream_triage.stages.redact.rounds import MOST_ROUNDS, redact_by_rules, try_rules
from stream_triage.stages.redact.rule import MARKER, Mark, line_numbers
from stream_triage.stages.redact.triggers import CONTEXT, lines_to_try, lower
from stream_triage.stages.redact.values import is_stand_in
from stream_triage.stages.redact.views import (
    MOST_LEVELS,
    View,
    decoded_view,
    flat_view,
    has_payload,
    has_views,
    plain_view,
    spaced_view,
)

__all__ = ["Redactor"]

_MARKER: Final = re.compile(MARKER)


class Redactor:
    """Replaces secrets and subscriber identities. One for all sources, with a `RedactionState` for each.

    `patterns` are tried before the table, each line by line and in their order, so they see the line as it came. With a
    `pseudonym_key` the same identity becomes the same `<imsi:1a2b3c4d>` wherever it occurs.

    Raises:
        SettingsError: A pattern is not a regular expression, has a bad name, or matches the empty string.
    """

    def __init__(self, patterns: Sequence[RedactionPattern] = (), pseudonym_key: bytes | None = None) -> None:
        self._own = tuple(OwnPattern(own) for own in patterns)
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

        Cutting a source's lines into other batches gives the same text. Redacting twice changes nothing. Escape sequences
        and invisible characters stay where they stood, except within what is removed.
        """
        return self._lines(text, state, MOST_LEVELS)

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

    def _lines(self, text: str, state: RedactionState, levels: int) -> str:
        mark = self._mark(state)
        by_views = has_views(text)
        if by_views:
            text = _through(text, flat_view, lambda shown: redact_blocks(shown, lower(shown), state))
            if self._own:
                text = _through(text, plain_view, lambda shown: self._by_own_patterns(shown, state), others=False)
            text = self._by_own_patterns(text, state)
            flat = lower("\n".join([view.text if view else line for line, view in _views(text, flat_view)]))
            announcing = line_numbers(flat, lines_to_try(flat, flat)[1].pop(CONTEXT, []))
            text = _through(text, plain_view, lambda shown: redact_by_rules(shown, mark))
            text = "\n".join(
                [self._by_further_views(line, state, levels) if has_views(line) else line for line in text.split("\n")]
            )
        else:
            low, unchanged = lower(text), text
            text = self._by_own_patterns(redact_blocks(text, low, state), state)
            low = low if text == unchanged else lower(text)
            ends, starts_of = lines_to_try(text, low)
            announcing = line_numbers(low, starts_of.pop(CONTEXT, []))
            text = try_rules(text, mark, ends, starts_of)
        # Lines keep their numbers, so those of the text as it came say where to look.
        numbers = {*announcing, *line_numbers(text, _subscribers(text))}
        if numbers or state.context.open:
            text = self._in_context(text, state, sorted(numbers), levels)
        return text

    def _by_own_patterns(self, text: str, state: RedactionState) -> str:
        for own in self._own:
            text = own.lines(text, state.count)
        return text

    def _by_further_views(self, line: str, state: RedactionState, levels: int) -> str:
        """One line after its plain view: the rules over its other views, until none of them changes it."""
        mark = self._mark(state)
        for _ in range(MOST_ROUNDS):
            before = line
            if spaced := spaced_view(line):
                line = spaced.restore(redact_by_rules(spaced.text, mark))
            if levels and (decoded := decoded_view(line)):
                inner = RedactionState()  # what a line quotes is a text of its own
                inner.counts = state.counts
                line = decoded.restore(self._lines(decoded.text, inner, levels - 1))
            if has_payload(line):
                line = redact_by_rules(line, mark)
            if line == before:
                break
            line = _through(line, plain_view, lambda shown: redact_by_rules(shown, mark))
        return line

    def _by_all_rules(self, line: str, state: RedactionState, levels: int) -> str:
        if not has_views(line):
            return redact_by_rules(line, self._mark(state))
        line = _through(line, plain_view, lambda shown: redact_by_rules(shown, self._mark(state)))
        return self._by_further_views(line, state, levels)

    def _in_context(self, text: str, state: RedactionState, announcing: list[int], levels: int) -> str:
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
            lines[number] = self._line_in_context(lines[number], state, number == following, levels)
            number += 1
        return "\n".join(lines)

    def _line_in_context(self, line: str, state: RedactionState, announcing: bool, levels: int) -> str:
        """One line, until neither its context nor the table of rules changes it, so that a second call finds it as it is."""
        before, mark = state.context, self._mark(state)
        for _ in range(MOST_ROUNDS):
            view = flat_view(line) if has_views(line) else None
            after, state.context = next_line(view.text if view else line, before, mark, announcing)
            after = view.restore(after) if view else after
            if after == line:
                break
            line = self._by_all_rules(after, state, levels)
        return line

    def _mark(self, state: RedactionState) -> Mark:
        """What counts the replacements of a source and makes their markers."""

        def mark(kind: str, value: str) -> str:
            state.count(kind)
            if self._key is None or kind not in IDENTITY_KINDS:
                return f"<{kind}>"
            identity = _canonical(kind, value)
            digest = hmac.new(self._key, (kind + identity).encode("utf-8", "replace"), hashlib.sha256)
            return f"<{kind}:{digest.hexdigest()[:8]}>"

        return mark


def _views(text: str, view_of: Callable[[str], View]) -> list[tuple[str, View | None]]:
    """The lines of a text, with a view for each that has one."""
    return [(line, view_of(line) if has_views(line) else None) for line in text.split("\n")]


def _through(text: str, view_of: Callable[[str], View], redact: Callable[[str], str], *, others: bool = True) -> str:
    """The lines of a text after their views have been redacted; lines without views are redacted as they are.

    Args:
        text: Lines joined by newlines.
        view_of: Makes the view of a line.
        redact: Redacts lines joined by newlines and keeps their number.
        others: Whether lines without views are redacted too.
    """
    lines = [(line, view) for line, view in _views(text, view_of)]
    shown = [view.text if view else line for line, view in lines if view or others]
    redacted = iter(redact("\n".join(shown)).split("\n"))
    return "\n".join([view.restore(next(redacted)) if view else next(redacted) if others else line for line, view in lines])


def _subscribers(text: str) -> Iterator[int]:
    """Where the markers of subscribers are, whose keys may follow on lines of their own."""
    position = text.find("<imsi")
    while position >= 0:
        yield position
        position = text.find("<imsi", position + 1)


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
