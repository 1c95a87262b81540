"""Lines in, the same lines without secrets and identities out; run ids, headers and names of sources likewise."""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial

from stream_triage.records import split_file_id
from stream_triage.settings import RedactionSettings
from stream_triage.stages.redact.blocks import RedactionState, redact_blocks
from stream_triage.stages.redact.context import next_line
from stream_triage.stages.redact.headers import header_kind
from stream_triage.stages.redact.identities import IDENTITY_KINDS
from stream_triage.stages.redact.own_patterns import OwnPattern, RedactionPattern
from stream_triage.stages.redact.rounds import MOST_ROUNDS, redact_by_rules, try_rules
from stream_triage.stages.redact.rule import Mark, line_numbers
from stream_triage.stages.redact.triggers import CONTEXT, lines_to_try, lower
from stream_triage.stages.redact.views import (
    MOST_LEVELS,
    View,
    decoded_view,
    flat_view,
    has_payload,
    has_views,
    is_record,
    lines_with_views,
    plain_view,
    spaced_view,
)

__all__ = ["Redactor"]


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
        """Name and value without secrets. A name such as `password` or `auth` makes its value one, whatever it is."""
        shown_name, shown = self.text(name), self.text(value)
        for separator in ("=", ": "):
            pair = self.text(f"{name}{separator}{shown}")
            if pair.startswith(f"{shown_name}{separator}"):
                shown = pair.removeprefix(f"{shown_name}{separator}")
        if kind := header_kind(flat_view(name).text, flat_view(shown).text):
            shown = f"<{kind}>"  # the name may contain more than the word, such as an identity
        return shown_name, shown

    def _lines(self, text: str, state: RedactionState, levels: int) -> str:
        numbers = lines_with_views(text)
        if numbers:
            return self._lines_by_views(text, state, numbers, levels)
        low, unchanged, mark = lower(text), text, self._mark(state)
        text = self._by_own_patterns(redact_blocks(text, low, state), state)
        low = low if text == unchanged else lower(text)
        announcing, ends, starts_of = _announcing(text, low)
        return self._in_context(try_rules(text, mark, ends, starts_of), state, announcing, levels)

    def _lines_by_views(self, text: str, state: RedactionState, numbers: list[int], levels: int) -> str:
        """The same for lines of which some have views. What goes over several lines is looked for in one view of each."""
        mark, flat_of = self._mark(state), cache(flat_view)
        text = _through(text, numbers, flat_of, lambda shown: redact_blocks(shown, lower(shown), state))
        if self._own:
            lines = text.split("\n")
            for number in numbers:
                view = plain_view(lines[number])
                lines[number] = view.restore(self._by_own_patterns(view.text, state))
            text = self._by_own_patterns("\n".join(lines), state)
        lines = text.split("\n")
        self._by_records(lines, numbers, state, levels)
        text = "\n".join(lines)
        flat = "\n".join([flat_of(lines[number]).text for number in numbers])
        announcing = [numbers[number] for number in _announcing(flat, lower(flat))[0]]

        def by_rules(shown: str) -> str:
            low = lower(shown)
            others, ends, starts_of = _announcing(shown, low)
            announcing.extend(set(others).difference(numbers))
            return try_rules(shown, mark, ends, starts_of)

        lines = _through(text, numbers, plain_view, by_rules).split("\n")
        self._by_further_views(lines, numbers, state, levels)
        return self._in_context("\n".join(lines), state, announcing, levels)

    def _by_own_patterns(self, text: str, state: RedactionState) -> str:
        for own in self._own:
            text = own.lines(text, state.count)
        return text

    def _by_further_views(self, lines: list[str], numbers: Iterable[int], state: RedactionState, levels: int) -> None:
        """Lines that were redacted in their plain view: the rules over their other views, until these change nothing."""
        rules = partial(redact_by_rules, mark=self._mark(state))
        pending = list(numbers)
        for _ in range(MOST_ROUNDS):
            before = [lines[number] for number in pending]
            _replace_views(lines, _views(lines, pending, spaced_view), rules)
            if levels:
                self._by_decoded_views(lines, _views(lines, pending, decoded_view), state, levels - 1)
            for number in pending:
                if has_payload(lines[number]):
                    lines[number] = rules(lines[number])
            pending = [number for number, line in zip(pending, before, strict=True) if lines[number] != line]
            if not pending:
                return
            _replace_views(lines, _views(lines, pending, plain_view), rules)

    def _by_records(self, lines: list[str], numbers: Iterable[int], state: RedactionState, levels: int) -> None:
        """JSON records before anything else: the rules for plain text would take some of their escapes for the value."""
        records = [number for number in numbers if is_record(lines[number])] if levels else []
        self._by_decoded_views(lines, _views(lines, records, decoded_view), state, levels - 1)

    def _by_decoded_views(self, lines: list[str], views: dict[int, View], state: RedactionState, levels: int) -> None:
        """Lines with escapes: each is redacted as a text of its own, of one line or several."""
        texts = {number: view.text for number, view in views.items()}
        for number in _with_triggers(texts):
            inner = RedactionState()
            inner.counts = state.counts
            lines[number] = views[number].restore(self._lines(texts[number], inner, levels))

    def _in_context(self, text: str, state: RedactionState, announcing: list[int], levels: int) -> str:
        """Runs over the lines that may announce something, and over what follows them as long as something is announced.

        Lines keep their numbers, so `announcing` may be those of the text before the rules.
        """
        numbers = {*announcing, *line_numbers(text, _subscribers(text))}
        if not numbers and not state.context.open:
            return text
        lines = text.split("\n")
        wanted = iter(sorted(numbers))
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
            line = self._by_all_views(after, state, levels) if view else redact_by_rules(after, mark)
        return line

    def _by_all_views(self, line: str, state: RedactionState, levels: int) -> str:
        lines = [line]
        self._by_records(lines, [0], state, levels)
        _replace_views(lines, {0: plain_view(lines[0])}, partial(redact_by_rules, mark=self._mark(state)))
        self._by_further_views(lines, [0], state, levels)
        return lines[0]

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


def _announcing(text: str, low: str) -> tuple[list[int], dict[int, int], dict[int, list[int]]]:
    """The numbers of the lines that may announce something, and what `lines_to_try` says of the rules."""
    ends, starts_of = lines_to_try(text, low)
    return line_numbers(low, starts_of.pop(CONTEXT, [])), ends, starts_of


def _through(text: str, numbers: Iterable[int], view_of: Callable[[str], View], redact: Callable[[str], str]) -> str:
    """The lines of a text, of which those with these numbers are redacted as their views show them."""
    lines = text.split("\n")
    views = {number: view_of(lines[number]) for number in numbers}
    for number, view in views.items():
        lines[number] = view.text
    lines = redact("\n".join(lines)).split("\n")
    for number, view in views.items():
        lines[number] = view.restore(lines[number])
    return "\n".join(lines)


def _views(lines: list[str], numbers: Iterable[int], view_of: Callable[[str], View | None]) -> dict[int, View]:
    """The views of the lines that have such a view, by number."""
    return {number: view for number in numbers if (view := view_of(lines[number]))}


def _replace_views(lines: list[str], views: dict[int, View], redact: Callable[[str], str]) -> None:
    """Redacts the views of lines in one call and puts the lines in their place."""
    if views:
        redacted = redact("\n".join([view.text for view in views.values()])).split("\n")
        for (number, view), text in zip(views.items(), redacted, strict=True):
            lines[number] = view.restore(text)


def _with_triggers(texts: dict[int, str]) -> list[int]:
    """The numbers of the texts with a line that a rule has to be tried on, or that has views itself."""
    low = lower("\n".join(texts.values()))
    tried = {*line_numbers(low, lines_to_try(low, low)[0]), *lines_with_views(low)} if texts else set()
    numbers: list[int] = []
    first = 0
    for number, text in texts.items():
        count = text.count("\n") + 1
        if not tried.isdisjoint(range(first, first + count)):
            numbers.append(number)
        first += count
    return numbers


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
