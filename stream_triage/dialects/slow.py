"""The patterns of a dialect in, those that take too long on a long line out.

Python's regular expressions try one way after the other, so a pattern such as `(a+)+:` may take years for a line of a few
dozen characters, and such a line can come in any log. Patterns are therefore timed on lines that make many of them slow:
short pieces, repeated, behind the examples of the dialect. This finds the usual mistakes; it proves nothing.
"""

import re
import time
from collections.abc import Callable, Iterator
from itertools import accumulate, chain, repeat
from typing import Final

from stream_triage.dialects.table import DialectTable

__all__ = ["slow_patterns"]

LIMIT_SECONDS: Final = 0.05
# Lengths grow slowly at first: a pattern that takes twice as long for each character is found before it takes minutes.
LENGTHS: Final = (*accumulate(chain([8], repeat(2, 28)), lambda length, step: length + step), 256, 1024, 8192)
PIECES: Final = ("a", "A", "0", " ", "-", "=", ":", "[", "x ", "a1", "1:", "a=", " [a]", "<time> ", "<num:e0> ")
EXAMPLES: Final = 2
_WORD: Final = re.compile(r"(?<![\\(?])[A-Za-z]{2,}")


def slow_patterns(table: DialectTable) -> list[str]:
    """What to tell about slow patterns, each with its place in the file; nothing if all are fast."""
    found = []
    for place, text, anywhere in _patterns(table):
        pattern = re.compile(text)
        search = pattern.search if anywhere else pattern.match
        pieces = [*PIECES, *(f"{word} " for word in dict.fromkeys(_WORD.findall(text)))]
        begun = ["", *list(table.examples)[:EXAMPLES]]
        slow = next((piece for beginning in begun for piece in pieces if _is_slow(search, beginning, piece)), None)
        if slow:
            found.append(f"{place}: {text} is slow on a line that repeats {slow!r}; bound its repetitions, as in `{{0,80}}`")
    return found


def _patterns(table: DialectTable) -> Iterator[tuple[str, str, bool]]:
    """Place, text, and whether it is searched anywhere in a line."""
    yield from (("records", text, False) for text in table.records)
    yield "continued", table.continued, False
    yield from (("entities", text, True) for text in table.entities)
    yield from (("sets_up", text, True) for text in table.sets_up)
    yield from ((f"readings.{name}", reading.pattern, True) for name, reading in table.readings.items())


def _is_slow(search: Callable[[str], object], beginning: str, piece: str) -> bool:
    for length in LENGTHS:
        line = beginning + piece * (length // len(piece))
        started = time.thread_time()
        search(line)
        search(line + "!")
        if time.thread_time() - started > LIMIT_SECONDS:
            return True
    return False
