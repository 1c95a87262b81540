"""Redacted-to-be text in; for each rule of the table, the lines that it has to be tried on, out.

A rule is a slow pattern, and most lines contain no secret. So each rule names triggers, cheap searches in lower-case text,
and runs on nothing but the lines in which one of them was found. A rule never looks beyond its line, so the result does not
depend on how lines are batched.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from stream_triage.stages.redact.credentials import CREDENTIAL_RULES
from stream_triage.stages.redact.cryptographic_keys import KEY_RULES
from stream_triage.stages.redact.identities import EMAIL, IDENTITY_RULES
from stream_triage.stages.redact.rule import RedactionRule, Trigger

__all__ = ["COMPILED", "RULES", "Compiled", "lines_to_try", "lower"]

RULES: Final[tuple[RedactionRule, ...]] = (*IDENTITY_RULES, *KEY_RULES, *CREDENTIAL_RULES, EMAIL)
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


def _trigger_table() -> tuple[tuple[str, re.Pattern[str], tuple[int, ...]], ...]:
    """Each distinct trigger with the rules that it starts, so that a word that rules share is searched once."""
    starts: dict[Trigger, list[int]] = {}
    for number, rule in enumerate(RULES):
        for trigger in rule.triggers:
            starts.setdefault(trigger, []).append(number)
    return tuple(
        (trigger.literal, re.compile(re.escape(trigger.literal) + trigger.rest, re.ASCII), tuple(rules))
        for trigger, rules in starts.items()
    )


_TRIGGERS: Final = _trigger_table()


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
    ends: dict[int, int] = {}
    starts_of: dict[int, list[int]] = {}
    for literal, pattern, rules in _TRIGGERS:
        if literal and literal not in low:
            continue
        starts = list(_lines_with(pattern, low, ends))
        for rule in rules if starts else ():
            starts_of.setdefault(rule, []).extend(starts)
    return ends, starts_of


def _lines_with(pattern: re.Pattern[str], low: str, ends: dict[int, int]) -> Iterable[int]:
    """The start of every line that the pattern is found in; its end goes to `ends`."""
    hit = pattern.search(low)
    while hit:
        start = low.rfind("\n", 0, hit.start()) + 1
        end = low.find("\n", hit.end())
        ends[start] = end if end >= 0 else len(low)
        yield start
        hit = pattern.search(low, end) if end >= 0 else None
