"""Redacted-to-be text in; for each rule of the table, the lines that it has to be tried on, out.

A rule is a slow pattern, and most lines contain no secret. So each rule names triggers, cheap searches in lower-case text,
and runs on nothing but the lines in which one of them was found. A rule never looks beyond its line, so the result does not
depend on how lines are batched.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from stream_triage.stages.redact.cards import CARD_RULES
from stream_triage.stages.redact.commands import COMMAND_RULES
from stream_triage.stages.redact.credentials import CREDENTIAL_RULES
from stream_triage.stages.redact.cryptographic_keys import KEY_RULES
from stream_triage.stages.redact.identities import EMAIL, IDENTITY_RULES
from stream_triage.stages.redact.rule import RedactionRule, Trigger
from stream_triage.stages.redact.tokens import TOKEN_RULES

__all__ = ["COMPILED", "RULES", "Compiled", "lines_to_try", "lower"]

RULES: Final[tuple[RedactionRule, ...]] = (*IDENTITY_RULES, *KEY_RULES, *CARD_RULES, *TOKEN_RULES, *COMMAND_RULES, *CREDENTIAL_RULES, EMAIL)
"""All rules, in the order in which they run. E-mail addresses come last: `bob:secret@host` is a password first."""


class Compiled(NamedTuple):
    """A rule with its pattern; `grouped` says whether the pattern has a group `v`."""

    rule: RedactionRule
    pattern: re.Pattern[str]
    grouped: bool


def _compile(rule: RedactionRule) -> Compiled:
    flags = re.ASCII | re.MULTILINE | (re.IGNORECASE if rule.ignore_case else 0)
    pattern = re.compile(rule.pattern, flags)
    return Compiled(rule, pattern, "v" in pattern.groupindex)


COMPILED: Final = tuple(_compile(rule) for rule in RULES)


class _Search(NamedTuple):
    """One distinct trigger, and the rules that it starts, so that a word that rules share is searched once."""

    literal: str
    pattern: re.Pattern[str]
    shape: bytes
    """The literal, if it is searched in the shape of the text."""
    rules: tuple[int, ...]


def _searches() -> tuple[_Search, ...]:
    starts: dict[Trigger, list[int]] = {}
    for number, rule in enumerate(RULES):
        for trigger in rule.triggers:
            starts.setdefault(trigger, []).append(number)
    return tuple(
        _Search(
            trigger.literal,
            re.compile(trigger.rest if trigger.shape else re.escape(trigger.literal) + trigger.rest, re.ASCII),
            trigger.literal.encode() if trigger.shape else b"",
            tuple(rules),
        )
        for trigger, rules in starts.items()
    )


_SEARCHES: Final = _searches()
# Hex digits, what may separate bytes, line ends; everything else is `x`.
_SHAPE: Final = bytes(
    ord("h") if chr(code) in "0123456789abcdef" else ord("s") if chr(code) in " \t:,.-_" else code if code == 10 else ord("x")
    for code in range(256)
)


def lower(text: str) -> str:
    """The text in lower case, with the same length, so that positions agree.

    Like the patterns of the rules, it takes only ASCII letters for letters. U+0130 and U+212A (Kelvin sign), the only other
    characters whose lower case contains one, are replaced.
    """
    if not text.isascii():
        text = text.replace("\u0130", "\ufffd").replace("\u212a", "\ufffd")
    return text.lower()


def lines_to_try(text: str, low: str | None = None) -> tuple[dict[int, int], dict[int, list[int]]]:
    """The lines that contain a trigger, and which rules to try on them.

    Args:
        text: Lines joined by newlines.
        low: The same in lower case, if the caller has it.

    Returns:
        Start to end of each such line, and the starts of the lines for each rule (by its index in `RULES`). A start may be
        listed twice for a rule that has several triggers.
    """
    low = lower(text) if low is None else low
    shape = low.encode("latin-1", "replace").translate(_SHAPE)
    ends: dict[int, int] = {}
    starts_of: dict[int, list[int]] = {}
    for search in _SEARCHES:
        starts = list(_lines_with(search, low, shape, ends))
        for rule in search.rules if starts else ():
            starts_of.setdefault(rule, []).extend(starts)
    return ends, starts_of


def _lines_with(search: _Search, low: str, shape: bytes, ends: dict[int, int]) -> Iterable[int]:
    """The start of every line that the trigger is found in; its end goes to `ends`."""
    position = _first(search, low, shape, 0)
    while position >= 0:
        start = low.rfind("\n", 0, position) + 1
        end = low.find("\n", position)
        ends[start] = end if end >= 0 else len(low)
        yield start
        position = _first(search, low, shape, end) if end >= 0 else -1


def _first(search: _Search, low: str, shape: bytes, start: int) -> int:
    """Where the trigger is first found; -1 if nowhere."""
    if search.shape:
        position = shape.find(search.shape, start)
        while position >= 0 and not search.pattern.match(low, position):
            position = shape.find(search.shape, position + 1)
        return position
    if search.literal:
        start = low.find(search.literal, start)
        if start < 0:
            return -1
    found = search.pattern.search(low, start)
    return found.start() if found else -1
