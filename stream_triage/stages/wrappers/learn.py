"""Lines of a source in, a pattern for their common prefix out, where no known wrapper explains it.

For a few lines every position behind a separator is tried: if the bundle knows the text from there on, what stands before it
is a prefix. The prefixes of several lines then give a pattern: what is equal in all of them stays, numbers and words that
differ become classes of characters.
"""

import re
from collections import Counter
from collections.abc import Callable, Container, Sequence
from itertools import islice
from typing import Final, NamedTuple

__all__ = ["FoundPrefix", "Known", "find_prefixes", "prefix_pattern"]

Known = Callable[[Sequence[str]], list[bool]]
"""Whether the bundle knows each of these lines."""

MOST_POSITIONS: Final = 32
_SHORTEST_TEXT: Final = 3
_MOST_READ: Final = 2048
MOST_CHARACTERS: Final = 256
_POSITION: Final = re.compile(r"[ \t]+|[】|│:;,\])>}»›→#=\"'/~-](?=[^ \t])")
_PART: Final = re.compile(r"[ \t]+|[A-Za-z0-9_]+(?:[.@/-][A-Za-z0-9_]+)*|.", re.DOTALL)
_PADDING: Final = re.compile(r"(?<=[\[(<{])[ \t]+|[ \t]+(?=[\])>}|:])")
_WORD: Final = re.compile(r"[A-Za-z0-9_]+(?:[.@/-][A-Za-z0-9_]+)*")
_LETTERS: Final = re.compile("[A-Za-z]{3,}")
_DIGIT: Final = re.compile("[0-9]")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")


class FoundPrefix(NamedTuple):
    """The prefix of one line; `stamp` if the bundle knows the text behind it only with a time stamp of its own in front."""

    prefix: str
    stamp: bool


def find_prefixes(
    lines: Sequence[str], known: Known, stamp: str | None, vocabulary: Container[str] | None = None
) -> list[FoundPrefix]:
    """For each line that has one, the shortest prefix without which the bundle knows the line.

    Args:
        lines: Lines of a source.
        known: Whether the bundle knows lines.
        stamp: A time stamp, with its separator, as lines of the bundle begin with; None if they begin with none.
        vocabulary: Words of lines that the bundle knows. Text with few of them is not tried, so that lines of a foreign
            log cost little.
    """
    tries: list[tuple[int, FoundPrefix]] = []
    texts: list[str] = []
    for i, line in enumerate(lines):
        foreign = _foreign_until(line, vocabulary) if vocabulary is not None else frozenset()
        for match in islice(_POSITION.finditer(line, 0, MOST_CHARACTERS), MOST_POSITIONS):
            prefix, rest = line[: match.end()], line[match.end() :]
            words = _LETTERS.search(rest)
            if len(rest) >= _SHORTEST_TEXT and not (words and match.end() + words.start() in foreign):
                tries.append((i, FoundPrefix(prefix, stamp=False)))
                texts.append(rest)
                if stamp is not None and _DIGIT.search(prefix):
                    tries.append((i, FoundPrefix(prefix, stamp=True)))
                    texts.append(stamp + rest)
    first: dict[int, FoundPrefix] = {}
    for (i, cut), found in zip(tries, known(texts), strict=True):
        if found:
            first.setdefault(i, cut)
    return list(first.values())


def _foreign_until(line: str, vocabulary: Container[str]) -> set[int]:
    """Beginnings of words from which on fewer than half of the words are in the vocabulary."""
    foreign, own = set(), 0
    for words, match in enumerate(reversed(list(_LETTERS.finditer(line, 0, _MOST_READ))), 1):
        own += match[0] in vocabulary
        if 2 * own < words:
            foreign.add(match.start())
    return foreign


def prefix_pattern(prefixes: Sequence[str]) -> str | None:
    """A pattern for most of these prefixes, without the blanks at their end; None if they have nothing in common.

    Punctuation stays; words and numbers become classes, also where all prefixes have the same: the next service or host has
    another name.
    """
    prefixes = [prefix.rstrip(" \t") for prefix in prefixes]
    shape, count = Counter(_shape(prefix) for prefix in prefixes).most_common(1)[0]
    if 2 * count >= len(prefixes):
        return _pattern([prefix for prefix in prefixes if _shape(prefix) == shape])
    fields, count = Counter(len(prefix.split()) for prefix in prefixes).most_common(1)[0]
    if 2 * count < len(prefixes):
        return None
    return r"[ \t]*" + r"[ \t]+".join([r"[^ \t]+"] * fields) + r"(?=[ \t]|$)"


def _parts(prefix: str) -> list[str]:
    """Words, blanks and punctuation, in order. Blanks inside brackets and before separators do not count."""
    return _PART.findall(_PADDING.sub("", prefix))


def _shape(prefix: str) -> str:
    return "".join("a" if _WORD.fullmatch(part) else " " if part[0] in " \t" else part for part in _parts(prefix))


def _pattern(prefixes: Sequence[str]) -> str:
    """The pattern for prefixes of one shape."""
    pattern = ""
    for values in zip(*map(_parts, prefixes), strict=True):
        if _WORD.fullmatch(values[0]):
            pattern += r"[0-9.]+" if all(_NUMBER.fullmatch(value) for value in values) else r"[\w.@/-]+"
        elif values[0][0] in " \t":
            pattern += r"[ \t]+"
        else:
            pattern += rf"[ \t]*{re.escape(values[0])}" + (r"[ \t]*" if values[0] in "[(<{" else "")
    return pattern
