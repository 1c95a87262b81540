"""A phrase of trouble and the words of a line that has it in, whether the line really says that something is wrong out."""

import re
from collections.abc import Iterator
from typing import Final

from stream_triage.dialects.table import ProcedureTable
from stream_triage.dialects.words import PhraseIndex, spellings_of, words_of

__all__ = ["Trouble", "without_flags"]

# What makes a word of trouble a part of a denial, a counter or a setting: `no nack`, `3 nack`, `stop on error`, `err rate`,
# `late packets 0`, `discardTimer ms100`, `cellBarred notBarred`, `outOfOrderDelivery true`. Of settings, names in TS 38.331.
_BEFORE: Final = "no not never without zero non nearly almost on if max total path"
# A number before it is a counter as well, unless it tells which one: `UE 3 crc nok`.
_NUMBERED: Final = (
    "ue ueid id index idx no hwi pci ssb cell drb srb bearer rnti lcid qfi harq process mobile terminal subscriber"
)
_BEHIND: Final = (
    r"(?:# |[a-z]+s # |instance max |recovery (?:config|module|timer)|(?:absent|avg|based|bsr|buffer|callbacks?|causes?|cfg"
    r"|cnt|codes?|config|configuration|counts?|counters?|delivery|detection|disabled|duplex|enabled|false|free|handlers?"
    r"|handling|info|level|limit|max|min|module|monitor|monitoring|no|none|not|null|off|ok|percent|percentage|probability|rate"
    r"|ratio|reference|resolution|resources?|statistics|stats|success|thr|threshold|timers?|total|wait|zero) )"
)
# Flags, code and settings that have a word for what went wrong in their names: `radioLinkFailure=false`, `onT310Expiry
# callback registered`, `RadioLinkFailureTimers`. A cause, a count or one timer often follows a real failure, so they do not
# count here.
_NO_FAILURE: Final = re.compile(
    r"(?i)(?:fail(?:ed|ures?)|expir(?:ed|y)|timeout|reject(?:ed)?|lost|loss|errors?)"
    r"(?:\s?=\s?(?:false|no|none|absent|disabled)(?!\w)|\s?:\s?(?:false|no|none|absent|disabled)(?=\s*(?:$|[,;|)\]}]))"
    r"|[ _]?(?:timers|statistics|stats)(?!\w)"
    r"|[ _]?(?:handler|callback)s?\s(?:registered|installed|set|added|removed|ready)(?!\w))"
)
# A counter, and one at zero: `lost: 0`, `nack=0`, `retx | 0`. Not `failed (0)`, which may be a cause or a UE.
_COUNTER: Final = re.compile(r"[A-Za-z_]{1,60}+[ :=|]{1,3}<num[^>]*>")
_ZERO: Final = re.compile(r"[A-Za-z_]{1,60}+[ :=|]{1,3}0(?:\.0{1,9})?(?![\w.])")


class Trouble:
    """The phrases of trouble of all dialects.

    A phrase of `trouble` counts wherever a line has it. In the second spelling of a line, which takes names apart, it does
    not count as part of a denial, a counter or a setting. A phrase of `trouble_unless_named` never does, and counts in
    records only.
    """

    def __init__(self, table: ProcedureTable) -> None:
        self._phrases = (*table.trouble, *table.trouble_unless_named)
        self._anywhere = len(table.trouble)
        self._said = [_said(phrase) for phrase in self._phrases]
        # `late` alone is no trouble, but in `u-plane late (count 4, dropped 0)` the zero does not make it harmless.
        self._index = PhraseIndex((phrase, None) for phrase in (*self._phrases, "late", "early"))

    def phrases(self, *, of_records: bool) -> Iterator[tuple[str, tuple[str, int]]]:
        """The phrases for records, or those for other lines, each with what an index gives for it."""
        phrases = self._phrases if of_records else self._phrases[: self._anywhere]
        return ((phrase, ("trouble", number)) for number, phrase in enumerate(phrases))

    def is_said(self, number: int, words: str, *, second: bool = False, of_tester: bool = False) -> bool:
        """Whether the phrase of that number means trouble in a spelling of a line that has it.

        What a tester says about its own software, such as an assertion that it survived, comes in passing runs as often as
        in failing ones: there only the phrases of `trouble` count.
        """
        if number < self._anywhere and not second:
            return True
        return not of_tester and self._said[number].search(words) is not None

    def is_counted(self, masked: str) -> bool:
        """Whether all that sounds like trouble in a masked message are counters, whatever they are at."""
        return self._is_clean_without(_COUNTER, masked)

    def is_zero(self, line: str) -> bool:
        """Whether all that sounds like trouble in a raw line are counters at zero."""
        return self._is_clean_without(_ZERO, line)

    def _is_clean_without(self, counter: re.Pattern[str], text: str) -> bool:
        rest = counter.sub(" ", text)
        return rest != text and not any(True for words in spellings_of(rest) for _ in self._index.matches(words))


def _said(phrase: str) -> re.Pattern[str]:
    """The phrase where it is no part of anything else, in the words of a line."""
    parts = [words_of(part).strip() for part in phrase.split("*")]
    joined = [part.replace(" ", "") for part in parts]
    numbered = "|".join(rf"(?<= {name} #)" for name in _NUMBERED.split())
    before = "".join(rf"(?<! {word})" for word in _BEFORE.split()) + rf"(?:(?<! #)|{numbered})"
    # Bounded: a line may repeat the first part for 64 KiB.
    spellings = "|".join(r" (?:\S+ ){0,12}?".join(map(re.escape, spelling)) for spelling in (parts, joined))
    return re.compile(rf"{before} (?:{spellings}) (?!{_BEHIND})")


def without_flags(masked: str) -> str:
    """A masked message without the words for a failure that only name a flag that is not set, code, or settings.

    >>> without_flags("UE 3: radioLinkFailure=false, state idle")
    'UE 3: radioLink , state idle'
    """
    return _NO_FAILURE.sub(" ", masked)
