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
from stream_triage.stages.redact.context import CONTEXT_TRIGGERS
from stream_triage.stages.redact.credentials import CREDENTIAL_RULES
from stream_triage.stages.redact.cryptographic_keys import KEY_RULES
from stream_triage.stages.redact.identities import EMAIL, IDENTITY_RULES
from stream_triage.stages.redact.rule import RedactionRule, Trigger
from stream_triage.stages.redact.tokens import TOKEN_RULES

__all__ = ["COMPILED", "CONTEXT", "RULES", "Compiled", "lines_to_try", "lower"]

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
    """One literal that triggers begin with, and the rules that each of its continuations starts."""

    literal: str
    shape: bytes
    """The literal, if it is searched in the shape of the text."""
    rests: tuple[tuple[re.Pattern[str], tuple[int, ...]], ...]


CONTEXT: Final = len(RULES)
"""The number of the triggers of `context` among those of the rules."""


def _searches() -> tuple[_Search, ...]:
    rests: dict[tuple[str, bool], dict[str, list[int]]] = {}
    for number, triggers in enumerate((*(rule.triggers for rule in RULES), CONTEXT_TRIGGERS)):
        for trigger in triggers:
            rests.setdefault((trigger.literal, trigger.shape), {}).setdefault(trigger.rest, []).append(number)
    return tuple(
        _Search(
            literal,
            literal.encode() if shape else b"",
            tuple(
                (re.compile(rest if shape else re.escape(literal) + rest, re.ASCII), tuple(numbers)) for rest, numbers in of.items()
            ),
        )
        for (literal, shape), of in rests.items()
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
        for position in _positions(search, low, shape):
            start = -1
            for rest, numbers in search.rests:
                if rest.match(low, position):
                    start = low.rfind("\n", 0, position) + 1
                    for number in numbers:
                        starts_of.setdefault(number, []).append(start)
            if start >= 0 and start not in ends:
                end = low.find("\n", position)
                ends[start] = end if end >= 0 else len(low)
    return ends, starts_of


def _positions(search: _Search, low: str, shape: bytes) -> Iterable[int]:
    """Where a literal is found; a trigger without one is found where it matches."""
    if search.shape:
        position = shape.find(search.shape)
        while position >= 0:
            yield position
            position = shape.find(search.shape, position + 1)
    elif search.literal:
        position = low.find(search.literal)
        while position >= 0:
            yield position
            position = low.find(search.literal, position + 1)
    else:
        for rest, _ in search.rests:
            yield from (found.start() for found in rest.finditer(low))
