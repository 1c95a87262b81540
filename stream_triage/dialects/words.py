"""A line in, its words out, so that phrases match whatever the case, the blanks and the punctuation of a log.

`words_of` turns a masked line into lower-case words between single blanks. Masked numbers, addresses and the like become
`#`. A phrase is a sequence of such words, and `*` stands for any words between. `spellings_of` adds a second form of a line
that has joined names (`DiscardTimerExpired`) or says in other words what happened to a timer.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["PhraseIndex", "spellings_of", "words_of"]

T = TypeVar("T")

# Masked numbers and the like, and the sign before a cause code.
_MARKER: Final = re.compile(r"<[a-z][^<>]*>|#(?=\d)")
# What separates words. `/`, `.` and `+` stay: they are parts of names such as `t300/t319` and `s1ap.cc`.
_SEPARATORS: Final = re.compile(r"(?:[\s_:,;=()\[\]{}\"'!?|-]++|\.(?=\s|$))++")

# The letter that begins a word inside a name: the E of `timerExpired`, `T310Expired` and `CRCError`, but nothing in `PDUs`,
# `IPv4` and `CAssert`. A name with a number behind it is a counter or a setting (`NumTBErrors: 12`, `maxRetx(4)`). It says
# nothing about trouble, so it stays as it is.
_JOINT: Final = re.compile(
    r"[A-Z](?:(?<=[a-z].)|(?<=[0-9].)(?=[a-z])|(?<=[A-Z]{3})(?=[a-z]{2}))"
    r"(?![A-Za-z0-9]{0,80}+\s{0,3}[:=(\[]{0,2}\s{0,3}(?:<num|\d))"
)
# The timers of UEs in RRC (TS 38.331 7.1.1, TS 36.331 7.3) and NAS (TS 24.501 10.2, TS 24.301 10.2).
_TIMER: Final = r"t3\d{2,3}"
# What happened to a timer, and up to six words before it. They may not say that it did not, or tell of another timer.
_TOLD: Final = re.compile(
    rf" (?P<timer>{_TIMER}) (?P<between>(?:(?!not |no |never |before |until |unless |if |{_TIMER} )\S+ ){{0,6}}?)"
    r"(?:(?P<expired>expired|(?:expiry|expiration|exp|elapsed|lapsed|timed out|timeout|time out|(?:has )?run out|ran out)"
    r"(?! #| ms| (?:no|false|in|at|is|after|time|value|infinity) ))"
    r"|(?P<started>started|start|restarted|restart|running|runs|run)|(?P<stopped>stopped|stop|cancelled|canceled))(?= )"
)
_EXPIRED_BEFORE: Final = re.compile(
    r"(?<! t3\d\d)(?<! t3\d\d\d) (?:expired|expiry|expiration|timeout)"
    rf" (?:of |the |rrc |nas |timer |name |id ){{0,4}}({_TIMER})(?= )(?! (?:not|no|start|stop))"
)


def words_of(masked: str) -> str:
    """The words of a masked line, with a blank at each end.

    >>> words_of("<time> I: CMPI MTE 0 NR REGISTRATION IND:UE Id:<num:e0>")
    ' # i cmpi mte 0 nr registration ind ue id # '
    >>> words_of("[NR_RRC]   Received F1 Setup Request")
    ' nr rrc received f1 setup request '
    """
    return f" {_SEPARATORS.sub(' ', _MARKER.sub(' # ', masked)).strip().lower()} "


def spellings_of(masked: str) -> tuple[str, ...]:
    """The words of a masked line, and its second spelling if it has one.

    In the second spelling, joined names are several words, and what happened to a timer of the UE follows its name: that it
    `expired`, `started` or `stopped`, whatever the log's words for that are. A phrase must be in one of the spellings as a
    whole.

    >>> spellings_of("RRC RrcTimer::T310Expired UeId(<num:e0>)")
    (' rrc rrctimer t310expired ueid # ', ' rrc rrc timer t310 expired ueid # ')
    >>> spellings_of("RRC timer=t310 ue=<num:e0> state=timeout")[1]
    ' rrc timer ue # state t310 expired '
    >>> spellings_of("maxRetxThreshold: <num:e0>")
    (' maxretxthreshold # ',)
    """
    words = words_of(masked)
    second = words_of(_JOINT.sub(r" \g<0>", masked)) if _JOINT.search(masked) else words
    if " t3" in second:
        second = _EXPIRED_BEFORE.sub(r" \1 expired", _TOLD.sub(_together, second))
        second = f" {' '.join(second.split())} "
    return (words,) if second == words else (words, second)


def _together(told: re.Match[str]) -> str:
    return f" {told['between']}{told['timer']} {told.lastgroup}"


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
