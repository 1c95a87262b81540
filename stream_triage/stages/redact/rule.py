"""What a redaction rule is, and the pieces of patterns that all parts of the table share."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["MARKER", "Mark", "RedactionRule", "Trigger", "line_numbers", "triggers"]

MARKER: Final = r"<[a-z][a-z0-9-]*(?::[0-9a-f]{8})?>"
"""What stands for something removed: `<imsi>`, or `<imsi:1a2b3c4d>` with a pseudonym."""

Mark = Callable[[str, str], str]
"""Counts the replacement of a value (kind, value) and returns its marker."""


class Trigger(NamedTuple):
    """What a line must contain, in lower case, before a rule is tried on it: `literal`, then what `rest` matches.

    A trigger may ask for a shape instead: a `run` of 15 or more hex digits, or a series of at least 8 `bytes`, 8 `quads`,
    4 `words` or 13 `digits` (groups of 2, 4, 8 and 1 hex digits with at most two characters between them), or of four
    `0x-bytes` or `0x-words`. Then `rest` must match where the shape begins.
    """

    literal: str
    rest: str = ""
    shape: str = ""


def triggers(*literals: str, rest: str = "") -> tuple[Trigger, ...]:
    """A trigger for each of the literals, all with the same rest."""
    return tuple(Trigger(literal, rest) for literal in literals)


@dataclass(frozen=True, slots=True)
class RedactionRule:
    """One kind of secret in one form.

    The pattern never matches across lines. Its group `v` becomes `<kind>`, or the whole match if it has no such group. The
    group may lie in a look-ahead; then the next match may begin within it. Repetitions in patterns are bounded or
    possessive, so that no line can make them slow. `examples` are pairs of before and after, run as doctests; `why` is for
    the reader.
    """

    name: str
    kind: str
    triggers: tuple[Trigger, ...]
    pattern: str
    why: str
    examples: tuple[tuple[str, str], ...]
    ignore_case: bool = True
    accept: Callable[[re.Match[str]], bool] | None = None
    """Whether a match is a secret, if a pattern cannot decide that: names are read in parts, and values may be code."""


def line_numbers(text: str, positions: Iterable[int]) -> list[int]:
    """The numbers of the lines that these positions are in, from 0, each once and in order."""
    numbers: list[int] = []
    number, done = 0, 0
    for position in sorted(set(positions)):
        number += text.count("\n", done, position)
        done = position
        if not numbers or numbers[-1] != number:
            numbers.append(number)
    return numbers
