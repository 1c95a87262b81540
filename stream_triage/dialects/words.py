"""A line in, its words out, so that phrases match whatever the case, the blanks and the punctuation of a log.

`words_of` turns a masked line into lower-case words between single blanks. Masked numbers, addresses and the like become
`#`. A phrase is a sequence of such words, and `*` stands for any words between.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["PhraseIndex", "words_of"]

T = TypeVar("T")

# Masked numbers and the like, and the sign before a cause code.
_MARKER: Final = re.compile(r"<[a-z][^<>]*>|#(?=\d)")
# What separates words. `/`, `.` and `+` stay: they are parts of names such as `t300/t319` and `s1ap.cc`.
_SEPARATORS: Final = re.compile(r"(?:[\s_:,;=()\[\]{}\"'!?|-]|\.(?=\s|$))+")


def words_of(masked: str) -> str:
    """The words of a masked line, with a blank at each end.

    >>> words_of("<time> I: CMPI MTE 0 NR REGISTRATION IND:UE Id:<num:e0>")
    ' # i cmpi mte 0 nr registration ind ue id # '
    >>> words_of("[NR_RRC]   Received F1 Setup Request")
    ' nr rrc received f1 setup request '
    """
    return f" {_SEPARATORS.sub(' ', _MARKER.sub(' # ', masked)).strip().lower()} "


class PhraseIndex(Generic[T]):
    """Phrases, each with an item; `matches` gives the items of those that a line contains.

    Words of a phrase may also be written as one: `security mode failure` is in `SecurityModeFailure` too. A line is
    compared only with phrases whose longest word it contains, so hundreds of phrases cost little.
    """

    def __init__(self, phrases: Iterable[tuple[str, T]]) -> None:
        self._by_word: dict[str, list[tuple[tuple[str, ...], T]]] = {}
        for phrase, item in phrases:
            parts = tuple(words_of(part) for part in phrase.split("*"))
            joined = tuple(f" {''.join(part.split())} " for part in parts)
            for spelling in {parts, joined}:
                anchor = max((word for part in spelling for word in part.split()), key=len)
                self._by_word.setdefault(anchor, []).append((spelling, item))

    def matches(self, line: str) -> Iterator[T]:
        """Items of the phrases in a line, which `words_of` made; in no particular order, possibly repeated."""
        by_word = self._by_word
        for word in set(line.split()):
            for parts, item in by_word.get(word, ()):
                if _contains(line, parts):
                    yield item


def _contains(line: str, parts: Sequence[str]) -> bool:
    """Whether the parts come in this order without overlap. Neighbours may share the blank between them."""
    position = 0
    for part in parts:
        found = line.find(part, position)
        if found < 0:
            return False
        position = found + len(part) - 1
    return True
