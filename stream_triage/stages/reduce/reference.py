"""Logs of good runs in; what a log has that they do not, what it lacks, and what it says more or less often out.

A line is new if no good run has it, apart from digits. What is gone, and how often lines come, is compared by kinds of line:
by their words without numbers, ids and times.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.escapes import without_escapes
from stream_triage.ports import RunText
from stream_triage.stages.reduce.relevance import ScoredLog

__all__ = ["Difference", "GoodRuns", "Rate"]

# Kinds of line that are remembered, so that memory stays bounded; a log of 5 million lines has some ten thousand.
MOST_KINDS: Final = 200_000
# A rate has changed if a kind of line is this many times as frequent or as rare as in any good run, and by so many lines.
RATE: Final = 4.0
RATE_LINES: Final = 8
LONGEST_SAMPLE: Final = 200
READ_LINES: Final = 4096
_DIGITS: Final = re.compile(r"\d+")


class _Kind(NamedTuple):
    runs: int
    """Good runs that have such a line."""
    least: int
    """Fewest lines of the kind in any good run that has it."""
    most: int
    text: str
    place: int
    """Index of its first line in the first good run that has it."""


class Rate(NamedTuple):
    """A kind of line whose frequency has changed."""

    here: int
    good: int
    """Lines of the kind in the good run that is nearest."""
    text: str


class Difference(NamedTuple):
    """How a run differs from the good runs."""

    new: dict[str, NDArray[np.bool_]]
    """By source, whether no good run has each of its lines with text."""
    gone: list[str]
    """Lines that all good runs have and this one has not, in their order."""
    rates: list[Rate]
    """Kinds of line that are much more or less frequent here."""


class GoodRuns:
    """What good runs say."""

    def __init__(self) -> None:
        self.runs = 0
        self.full = False
        """Whether there were more lines than are remembered; others then count as new."""
        self._lines: set[int] = set()
        """Hashes of lines."""
        self._kinds: dict[int, _Kind] = {}

    def add(self, logs: Mapping[str, ScoredLog], text: RunText) -> None:
        """Takes one run: the scored log of each of its sources, and its text."""
        self.runs += 1
        counts: Counter[int] = Counter()
        first: dict[int, tuple[str, int]] = {}
        for name, log in logs.items():
            values, places, number = np.unique(log.table.identity, return_index=True, return_counts=True)
            counts.update(dict(zip(values.tolist(), number.tolist(), strict=True)))
            unknown = [i for i in places.tolist() if int(log.table.identity[i]) not in self._kinds]
            lines = _texts(text, name, log.number[np.sort(np.array(unknown, dtype=np.intp))])
            for i in sorted(unknown):
                first.setdefault(int(log.table.identity[i]), (lines[int(log.number[i])], i))
        for name in logs:
            for line in _hashes(text, name):
                if len(self._lines) < MOST_KINDS:
                    self._lines.add(line)
                elif line not in self._lines:
                    self.full = True
        for identity, count in counts.items():
            known = self._kinds.get(identity)
            if known:
                least, most = min(known.least, count), max(known.most, count)
                self._kinds[identity] = known._replace(runs=known.runs + 1, least=least, most=most)
            elif len(self._kinds) < MOST_KINDS:
                self._kinds[identity] = _Kind(1, count, count, *first[identity])
            else:
                self.full = True

    def compare(self, logs: Mapping[str, ScoredLog], text: RunText) -> Difference:
        """Compares a run, given as the scored log of each source and its text."""
        new = {}
        for name, log in logs.items():
            unknown = np.fromiter((line not in self._lines for line in _hashes(text, name)), dtype=bool, count=log.lines)
            new[name] = unknown[log.number.astype(np.intp) - 1]
        here: Counter[int] = Counter()
        for log in logs.values():
            values, counts = np.unique(log.table.identity, return_counts=True)
            here.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        always = sorted(
            (kind.place, identity) for identity, kind in self._kinds.items() if kind.runs == self.runs and identity
        )
        gone = [self._kinds[identity].text for _, identity in always if not here[identity]]
        rates = [rate for _, identity in always if (rate := _rate(here[identity], self._kinds[identity]))]
        return Difference(new, gone, rates)


def _hashes(text: RunText, source: str) -> Iterator[int]:
    """A hash of each line, by its text without colours, with each number taken for one."""
    for first in range(1, text.line_count(source) + 1, READ_LINES):
        for line in text.read(source, first, first + READ_LINES - 1):
            yield hash(_DIGITS.sub("0", without_escapes(line)).strip())


def _texts(text: RunText, source: str, numbers: NDArray[np.uint32]) -> dict[int, str]:
    """The beginnings of these lines, by number; the text is read once, from front to back."""
    found: dict[int, str] = {}
    for first in range(1, int(numbers.max(initial=0)) + 1, READ_LINES):
        lines = text.read(source, first, first + READ_LINES - 1)
        inside = numbers[(numbers >= first) & (numbers < first + READ_LINES)]
        found.update({number: lines[number - first][:LONGEST_SAMPLE] for number in inside.tolist()})
    return found


def _rate(count: int, kind: _Kind) -> Rate | None:
    if count >= max(RATE * kind.most, kind.most + RATE_LINES):
        return Rate(count, kind.most, kind.text)
    if 0 < count <= min(kind.least / RATE, kind.least - RATE_LINES):
        return Rate(count, kind.least, kind.text)
    return None
