"""What a redaction rule is, and the pieces of patterns that all parts of the table share."""

from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["ANSI", "MARKER", "RedactionRule", "Trigger"]

MARKER: Final = r"<[a-z][a-z0-9-]*(?::[0-9a-f]{8})?>"
"""What stands for something removed: `<imsi>`, or `<imsi:1a2b3c4d>` with a pseudonym."""

ANSI: Final = r"\x1b\[[0-9;]{0,12}m"
"""A colour code, which may stand between a name and its value."""


class Trigger(NamedTuple):
    """What a line must contain, in lower case, before a rule is tried on it: `literal`, then what `rest` matches.

    The literal is searched first, in the whole batch, which costs next to nothing. An empty one skips that step.
    """

    literal: str
    rest: str = ""


@dataclass(frozen=True, slots=True)
class RedactionRule:
    """One kind of secret in one form.

    The pattern never matches across lines. Its group `v` becomes `<kind>`, or the whole match if it has no such group.
    Repetitions in patterns are bounded or possessive, so that no line can make them slow. `examples` are pairs of before
    and after, run as doctests; `why` is for the reader.
    """

    name: str
    kind: str
    triggers: tuple[Trigger, ...]
    pattern: str
    why: str
    examples: tuple[tuple[str, str], ...]
    ignore_case: bool = True
