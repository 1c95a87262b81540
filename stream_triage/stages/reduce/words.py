"""The bytes of lines in, hashes of their words out. A loop over words in Python would cost ten times as much."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLASSES", "CLASS_OF", "PIECE_BYTES", "READ_CHARACTERS", "Words", "join", "mixed", "word_hashes", "words_of"]

# Longer lines are read up to here: a minified file or a dump says what it is in its first characters.
READ_CHARACTERS: Final = 400
# Lines are read in pieces of about this many bytes, so that the arrays stay in the processor's cache.
PIECE_BYTES: Final = 1 << 18

# Classes of bytes; each is counted for each line.
SPACE, LOWER, UPPER, DIGIT, OTHER, COLON, RULE, CARET, SLASH, BRACKET, QUOTE, DOT, LINE_END = range(13)
CLASSES: Final = 13


def _byte_classes() -> NDArray[np.uint8]:
    classes = np.full(256, OTHER, dtype=np.uint8)
    members = {
        SPACE: " \t",
        LOWER: "abcdefghijklmnopqrstuvwxyz",
        UPPER: "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        DIGIT: "0123456789",
        COLON: ":",
        RULE: "-=*#_+",
        CARET: "^~",
        SLASH: "/\\",
        BRACKET: "()[]{}",
        QUOTE: "\"'`",
        DOT: ".",
        LINE_END: "\n",
    }
    for number, characters in members.items():
        classes[list(characters.encode())] = number
    classes[128:] = LOWER  # letters of other scripts make words, too
    return classes


CLASS_OF: Final = _byte_classes()
_LOWERED: Final = np.frombuffer(bytes(range(256)).lower(), dtype=np.uint8).astype(np.uint64) + np.uint64(1)

# A word's hash is a polynomial in an odd base, modulo 2**64; an odd base has an inverse there, so the hash of any stretch of
# bytes follows from two prefix sums.
_BASE: Final = 0x9E3779B97F4A7C15
_INVERSE: Final = pow(_BASE, -1, 1 << 64)


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


_LONGEST_PIECE: Final = PIECE_BYTES + 4 * READ_CHARACTERS + 8
_POWER: Final = _powers(_BASE, _LONGEST_PIECE)
_INVERSE_POWER: Final = _powers(_INVERSE, _LONGEST_PIECE)


def mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spreads the bits; the end of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators")."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(hashes ^ (hashes >> np.uint64(31)))


class Words(NamedTuple):
    """The words of some lines, in order."""

    line: NDArray[np.intp]
    """Index of the line that each word is in."""
    at: NDArray[np.intp]
    """Its first byte."""
    hash: NDArray[np.uint64]
    varies: NDArray[np.bool_]
    """Whether it is a number, or has a digit within, as ids, hashes and times do."""
    first: NDArray[np.bool_]
    """Whether it is the first word of its line."""
    shouted: NDArray[np.bool_]
    """Whether it is in upper case."""
    colon: NDArray[np.bool_]
    """Whether a colon or a bracket follows."""


def join(lines: Sequence[str]) -> bytes:
    """The lines as bytes, each cut to `READ_CHARACTERS` and ended by a line feed."""
    if max(map(len, lines), default=0) > READ_CHARACTERS:
        lines = [line[:READ_CHARACTERS] for line in lines]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def words_of(data: NDArray[np.uint8], classes: NDArray[np.uint8], ends: NDArray[np.intp]) -> Words:
    """Words are runs of letters and digits; an upper-case letter behind a lower-case one begins a new word.

    `NullPointerException` so ends in the word `exception`, and `test_that_fails` has three words. A word with a digit counts
    as 0, as 1, as another number, or as an id.
    """
    lower, upper, digit = classes == LOWER, classes == UPPER, classes == DIGIT
    inside = lower | upper | digit
    starts = inside.copy()
    starts[1:] &= ~inside[:-1] | (upper[1:] & lower[:-1])
    # A word ends before the next byte that is outside or begins another word; the last byte is a line end.
    stops = inside.copy()
    stops[:-1] &= ~inside[1:] | starts[1:]
    first_byte, last_byte = np.flatnonzero(starts), np.flatnonzero(stops) + 1
    prefix = np.zeros(len(data) + 1, dtype=np.uint64)
    np.cumsum(_LOWERED[data] * _POWER[: len(data)], out=prefix[1:])
    hashes = mixed((prefix[last_byte] - prefix[first_byte]) * _INVERSE_POWER[first_byte])
    digits = np.zeros(len(data) + 1, dtype=np.int32)
    np.cumsum(digit, out=digits[1:])
    count = digits[last_byte] - digits[first_byte]
    varies = count > 0
    pure = count == last_byte - first_byte
    value = np.where(pure & (count == 1), np.minimum(data[first_byte].astype(np.int64) - 48, 2), np.where(pure, 2, 3))
    hashes = np.where(varies, NUMBER_HASHES[np.where(varies, value, 0)], hashes)
    line = np.searchsorted(ends, first_byte)
    first = np.ones(len(line), dtype=bool)
    first[1:] = line[1:] != line[:-1]
    capitals = np.zeros(len(data) + 1, dtype=np.int32)
    np.cumsum(upper, out=capitals[1:])
    shouted = (capitals[last_byte] - capitals[first_byte] == last_byte - first_byte) & (last_byte - first_byte > 2)
    following = classes[np.minimum(last_byte, len(classes) - 1)]
    return Words(line, first_byte, hashes, varies, first, shouted, (following == COLON) | (following == BRACKET))


NUMBER_HASHES: Final = mixed(np.arange(1, 5, dtype=np.uint64))


def word_hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    """Hashes of single words, as lines have them."""
    data = np.frombuffer(join(words), dtype=np.uint8)
    classes = CLASS_OF[data]
    found = words_of(data, classes, np.flatnonzero(classes == LINE_END))
    if len(found.hash) != len(words):
        raise ValueError("each of the words must be one word")
    return found.hash
