"""Redacted-to-be text in; for each rule of the table, the lines that it has to be tried on, out.

A rule is a slow pattern, and most lines contain no secret. So each rule names triggers, words and shapes that are cheap to
find in lower-case text, and runs on nothing but the lines in which one of them was found. A rule never looks beyond its
line, so the result does not depend on how lines are batched.

All words are searched at once: the first three characters of every position are looked up in one table (numpy), and only
positions that pass are compared with words. So the cost does not grow with the number of words.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.redact.cards import CARD_RULES
from stream_triage.stages.redact.commands import COMMAND_RULES
from stream_triage.stages.redact.context import CONTEXT_TRIGGERS
from stream_triage.stages.redact.credentials import CREDENTIAL_RULES
from stream_triage.stages.redact.cryptographic_keys import KEY_RULES
from stream_triage.stages.redact.distant_keys import DISTANT_KEY_RULES
from stream_triage.stages.redact.identities import EMAIL, IDENTITY_RULES
from stream_triage.stages.redact.rule import RedactionRule
from stream_triage.stages.redact.tokens import TOKEN_RULES

__all__ = ["COMPILED", "CONTEXT", "RULES", "Compiled", "lines_to_try", "lower"]

RULES: Final[tuple[RedactionRule, ...]] = (
    *IDENTITY_RULES,
    *KEY_RULES,
    *DISTANT_KEY_RULES,
    *CARD_RULES,
    *TOKEN_RULES,
    *COMMAND_RULES,
    *CREDENTIAL_RULES,
    EMAIL,
)
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


CONTEXT: Final = len(RULES)
"""The number of the triggers of `context` among those of the rules."""

_Rest = tuple[re.Pattern[str], tuple[int, ...]]


class _Words(NamedTuple):
    """A literal that triggers begin with, and the rules that each of its continuations starts."""

    literal: str
    rests: tuple[_Rest, ...]


def _grouped() -> tuple[dict[str, tuple[_Rest, ...]], dict[str, tuple[_Rest, ...]]]:
    """The continuations of each literal, and the conditions on each shape, so that what rules share is searched once."""
    words: dict[str, dict[str, list[int]]] = {}
    shapes: dict[str, dict[str, list[int]]] = {}
    for number, triggers in enumerate((*(rule.triggers for rule in RULES), CONTEXT_TRIGGERS)):
        for trigger in triggers:
            if trigger.shape:
                shapes.setdefault(trigger.shape, {}).setdefault(trigger.rest, []).append(number)
            else:
                rest = re.escape(trigger.literal) + trigger.rest
                words.setdefault(trigger.literal, {}).setdefault(rest, []).append(number)
    return _compiled(words), _compiled(shapes)


def _compiled(of: dict[str, dict[str, list[int]]]) -> dict[str, tuple[_Rest, ...]]:
    return {
        literal: tuple((re.compile(rest, re.ASCII), tuple(numbers)) for rest, numbers in rests.items())
        for literal, rests in of.items()
    }


_WORDS, _SHAPES = _grouped()
# Characters by class, 64 of them, so that three make an index into a table of 2 ** 18.
_CLASSES: Final = "abcdefghijklmnopqrstuvwxyz0123456789 \t\n-_=:./$@{}<>+\"'|,()[]#"
_OTHER: Final = 63
# A character outside Latin-1 is encoded as a question mark, which is in no class of its own.
_REPLACED: Final = _OTHER
_CLASS: Final = bytes(_CLASSES.find(chr(code)) if chr(code) in _CLASSES else _OTHER for code in range(256))
_NEWLINE: Final = _CLASSES.index("\n")
_X: Final = _CLASSES.index("x")
_IS_HEX: Final = np.array([sign in "abcdef0123456789" for sign in _CLASSES.ljust(64, "\r")])
# Hex digits in a row; and how many groups of so many digits in a row, with at most two characters between them.
_LONG_RUN: Final = 15
_SERIES: Final = {"digits": (1, 13), "bytes": (2, 8), "quads": (4, 8), "words": (8, 4)}


def _tables() -> tuple[NDArray[np.bool_], NDArray[np.bool_], dict[int, tuple[_Words, ...]]]:
    """Which three characters begin a literal, which three follow its first, and the literals by their first three."""
    begins, follows = np.zeros(1 << 18, dtype=np.bool_), np.zeros(1 << 18, dtype=np.bool_)
    words: dict[int, list[_Words]] = {}
    for literal, rests in _WORDS.items():
        codes = [[_CLASS[ord(sign)] if ord(sign) < 256 else _REPLACED] for sign in literal[:4]] + [list(range(64))] * (
            4 - len(literal)
        )
        for first in codes[0]:
            for second in codes[1]:
                for third in codes[2]:
                    index = first << 12 | second << 6 | third
                    begins[index] = True
                    words.setdefault(index, []).append(_Words(literal, rests))
                    follows[[second << 12 | third << 6 | fourth for fourth in codes[3]]] = True
    return begins, follows, {index: tuple(of) for index, of in words.items()}


_BEGINS, _FOLLOWS, _BY_INDEX = _tables()


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
        Start to end of each such line, and the starts of the lines for each rule (by its index in `RULES`; `CONTEXT` for
        what `context` looks for). A start may be listed twice for a rule that has several triggers.
    """
    low = lower(text) if low is None else low
    ends: dict[int, int] = {}
    starts_of: dict[int, list[int]] = {}
    for position, rests in _candidates(low):
        start = -1
        for rest, numbers in rests:
            if rest.match(low, position):
                start = low.rfind("\n", 0, position) + 1
                for number in numbers:
                    starts_of.setdefault(number, []).append(start)
        if start >= 0 and start not in ends:
            end = low.find("\n", position)
            ends[start] = end if end >= 0 else len(low)
    return ends, starts_of


def _candidates(low: str) -> Iterator[tuple[int, tuple[_Rest, ...]]]:
    """Positions at which a trigger may match, with what is still to be compared there."""
    codes = np.frombuffer(low.encode("latin-1", "replace").translate(_CLASS) + bytes((_NEWLINE,)) * 4, dtype=np.uint8)
    index = codes[:-2].astype(np.uint32) << 12
    index |= codes[1:-1].astype(np.uint32) << 6
    index |= codes[2:]
    hits = np.flatnonzero(_BEGINS[index[:-1]])
    hits = hits[_FOLLOWS[index[hits + 1]]]
    for position, key in zip(hits.tolist(), index[hits].tolist(), strict=True):
        for word in _BY_INDEX[key]:
            if low.startswith(word.literal, position):
                yield position, word.rests
    for shape, positions in _shapes(codes):
        if rests := _SHAPES.get(shape):
            for position in positions:
                yield position, rests


def _shapes(codes: NDArray[np.uint8]) -> Iterable[tuple[str, list[int]]]:
    """Where long runs of hex digits and series of equal groups of them begin."""
    edges = np.diff(_IS_HEX[codes].astype(np.int8), prepend=np.int8(0))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    lengths = ends - starts
    yield "run", starts[lengths >= _LONG_RUN].tolist()
    gaps = starts[1:] - ends[:-1]
    joined = (lengths[1:] == lengths[:-1]) & (gaps <= 2)
    joined &= (codes[ends[:-1]] != _NEWLINE) & (codes[ends[:-1] + 1] != _NEWLINE)
    for shape, (digits, groups) in _SERIES.items():
        of_length = joined & (lengths[1:] == digits)
        sums = np.cumsum(of_length, dtype=np.int32)
        least = groups - 1
        enough = (
            sums[least - 1 :] - np.concatenate((np.zeros(1, np.int32), sums[:-least])) if len(sums) >= least else sums[:0]
        )
        yield shape, starts[np.flatnonzero(enough == least)].tolist()
    # The 0 of 0x is a run of its own, so every other run counts.
    prefixed = (lengths[:-1] == 1) & (gaps == 1) & (codes[ends[:-1]] == _X)
    for shape, digits in (("0x-bytes", 2), ("0x-words", 8)):
        of_length = prefixed & (lengths[1:] == digits)
        four = of_length[:-6] & of_length[2:-4] & of_length[4:-2] & of_length[6:] if len(of_length) > 6 else of_length[:0]
        yield shape, starts[np.flatnonzero(four)].tolist()
