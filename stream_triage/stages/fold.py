"""Masked lines in; the lines that classifiers read out: no repeats, and no lines without a word.

A line is a repeat if an equal masked line came earlier in the same source. The lines seen are remembered in a direct-mapped
table of 32-bit hashes: a newer line in the same slot replaces an older one, which may then be read again. So the state is
bounded whatever the length of the run, and the result depends on the order of the lines alone.
"""

import hashlib
from array import array
from collections.abc import Sequence
from typing import Final

__all__ = ["FoldState", "fold", "fold_hash"]

SLOTS: Final = 2048


class FoldState:
    """Of one source: the table of hashes, and how many lines were kept."""

    __slots__ = ("folded_lines", "table")

    def __init__(self) -> None:
        self.table = array("I", bytes(4 * SLOTS))
        self.folded_lines = 0


def fold_hash(masked: str, words: Sequence[str]) -> int:
    """Hash of a masked line, 1 to 2^32 - 1; 0 for a line whose words have no letter.

    Taken from the text alone, so that it is the same in every process, unlike `hash`.

    >>> fold_hash("----------", []), fold_hash("RRC Setup", ["rrc", "setup"]) > 0
    (0, True)
    """
    if not any(any(c.isalpha() for c in word) for word in words):
        return 0
    return int.from_bytes(hashlib.blake2b(masked.encode(), digest_size=4).digest(), "big") or 1


def fold(hashes: Sequence[int], state: FoldState) -> list[int]:
    """Positions, in `hashes`, of the lines to keep."""
    table = state.table
    kept = []
    for i, value in enumerate(hashes):
        slot = value % SLOTS
        if value and table[slot] != value:
            table[slot] = value
            kept.append(i)
    state.folded_lines += len(kept)
    return kept
