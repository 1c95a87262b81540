"""A chosen line and its log in, the reasons why it was chosen out, in words."""

import re
from typing import Final

import numpy as np

from stream_triage.stages.reduce.blocks import find_blocks
from stream_triage.stages.reduce.lines import COLUMNS
from stream_triage.stages.reduce.relevance import ScoredLog
from stream_triage.stages.reduce.select import Chosen
from stream_triage.stages.reduce.vocabulary import word_groups

__all__ = ["Explainer"]

WORDS_SHOWN: Final = 3
# A failed exit farther away, or an end farther away, is no reason.
NEAR: Final = 30
RARE: Final = 3
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_AT: Final = {name: i for i, name in enumerate(COLUMNS)}
_TELLING: Final = frozenset({"fail", "assert", "trace", "warn"})
# Every line of some logs has one of these.
_LEVELS: Final = frozenset({"info", "debug", "at", "note", "notice", "hint"})
_MARKS: Final = {
    "evidence": "evidence for the label",
    "rule": "a rule matches",
    "procedure": "shows how a procedure of a UE went",
    "anomaly": "unlike passing runs",
    "rare": "rare in passing runs",
    "new": "not in the good runs",
}


class Explainer:
    """Gives reasons for the chosen lines of one log."""

    def __init__(self, log: ScoredLog) -> None:
        self._log = log
        self._blocks = find_blocks(log.table)
        self._identities = np.sort(log.table.identity)
        numbers = log.table.numbers
        exits = (numbers[:, _AT["exit"]] > 0) & (numbers[:, _AT["zeros"]] == 0) & (numbers[:, _AT["figures"]] > 0)
        self._exits = np.flatnonzero(exits)

    def reasons(self, line: Chosen, text: str) -> list[str]:
        """What speaks for a line, the strongest first; `text` is the line without colours."""
        i = int(np.searchsorted(self._log.number, line.number))
        found = [_MARKS[line.why]] if line.why in _MARKS else []
        words = [word for word in _WORD.findall(text) if set(word_groups(word)) & _TELLING and word.lower() not in _LEVELS]
        if words:
            found.append("says " + ", ".join(dict.fromkeys(words[:WORDS_SHOWN])))
        found += self._place(i)
        count = self._count(i)
        if count <= RARE:
            found.append("the only line of its kind" if count == 1 else f"one of {count} lines of its kind")
        return found or ["like lines that described failures"]

    def _place(self, i: int) -> list[str]:
        found = []
        numbers, blocks = self._log.number, self._blocks
        start = blocks.starts[blocks.of_line[i]]
        if blocks.whole[blocks.of_line[i]] and start != i:
            found.append(f"in one block with line {numbers[start]}")
        following = self._exits[np.searchsorted(self._exits, i) :]
        if len(following) and following[0] - i <= NEAR:
            found.append("a failed exit" if following[0] == i else f"{_lines(int(following[0]) - i)} before a failed exit")
        elif len(numbers) - 1 - i <= NEAR:
            behind = len(numbers) - 1 - i
            found.append(f"{_lines(behind)} before the end" if behind else "the last line")
        return found

    def _count(self, i: int) -> int:
        identity = self._log.table.identity[i]
        left, right = (np.searchsorted(self._identities, identity, side=side) for side in ("left", "right"))
        return int(right - left)


def _lines(count: int) -> str:
    return f"{count} line{'' if count == 1 else 's'}"
