"""Text that may be hostile in; Markdown out in which it stays text."""

import re
from collections.abc import Iterator, Sequence

__all__ = ["fenced", "inline_code"]

_TICKS = re.compile("`+")


def inline_code(text: str) -> str:
    """Text as inline code, whatever backticks it has.

    >>> inline_code("a"), inline_code("a `b`")
    ('`a`', '`` a `b` ``')
    """
    longest = max(map(len, _TICKS.findall(text)), default=0)
    ticks = "`" * (longest + 1)
    return f"{ticks} {text} {ticks}" if longest else f"`{text}`"


def fenced(rows: Sequence[str]) -> Iterator[str]:
    """The rows in a fence. A fence among them would end ours, unless ours is longer."""
    longest = max((len(ticks) for row in rows for ticks in _TICKS.findall(row)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}text"
    yield from rows
    yield fence
