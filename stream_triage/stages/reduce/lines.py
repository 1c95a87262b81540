"""Lines in, a table of numbers out, one row for each line: its words, its characters and its shape.

All lines of a batch are read at once as an array of bytes. A loop over words in Python costs ten times as much.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BUCKETS", "COLUMNS", "GROUPS", "LineTable", "read_lines", "word_groups", "word_hashes"]

BUCKETS: Final = 1 << 16
"""Of the hashed words and pairs of words."""
# Longer lines are read up to here: a minified file or a dump says what it is in its first characters.
READ_CHARACTERS: Final = 400
LONGEST_TAG: Final = 24
# Lines are read in pieces of about this many bytes, so that the arrays stay in the processor's cache.
PIECE_BYTES: Final = 1 << 18

# Classes of bytes; each is counted for each line.
_SPACE, _LOWER, _UPPER, _DIGIT, _OTHER, _COLON, _RULE, _CARET, _SLASH, _BRACKET, _QUOTE, _DOT, _LINE_END = range(13)
_CLASSES: Final = 13


def _byte_classes() -> NDArray[np.uint8]:
    classes = np.full(256, _OTHER, dtype=np.uint8)
    members = {
        _SPACE: " \t",
        _LOWER: "abcdefghijklmnopqrstuvwxyz",
        _UPPER: "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        _DIGIT: "0123456789",
        _COLON: ":",
        _RULE: "-=*#_+",
        _CARET: "^~",
        _SLASH: "/\\",
        _BRACKET: "()[]{}",
        _QUOTE: "\"'`",
        _DOT: ".",
        _LINE_END: "\n",
    }
    for number, characters in members.items():
        classes[list(characters.encode())] = number
    classes[128:] = _LOWER  # letters of other scripts make words, too
    return classes


_CLASS_OF: Final = _byte_classes()
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


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spreads the bits; the end of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators")."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(hashes ^ (hashes >> np.uint64(31)))


class _Words(NamedTuple):
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


def _words_of(data: NDArray[np.uint8], classes: NDArray[np.uint8], ends: NDArray[np.intp]) -> _Words:
    """Words are runs of letters and digits; an upper-case letter behind a lower-case one begins a new word.

    `NullPointerException` so ends in the word `exception`, and `test_that_fails` has three words. A word with a digit counts
    as 0, as 1, as another number, or as an id.
    """
    lower, upper, digit = classes == _LOWER, classes == _UPPER, classes == _DIGIT
    inside = lower | upper | digit
    starts = inside.copy()
    starts[1:] &= ~inside[:-1] | (upper[1:] & lower[:-1])
    # A word ends before the next byte that is outside or begins another word; the last byte is a line end.
    stops = inside.copy()
    stops[:-1] &= ~inside[1:] | starts[1:]
    first_byte, last_byte = np.flatnonzero(starts), np.flatnonzero(stops) + 1
    prefix = np.zeros(len(data) + 1, dtype=np.uint64)
    np.cumsum(_LOWERED[data] * _POWER[: len(data)], out=prefix[1:])
    hashes = _mixed((prefix[last_byte] - prefix[first_byte]) * _INVERSE_POWER[first_byte])
    digits = np.zeros(len(data) + 1, dtype=np.int32)
    np.cumsum(digit, out=digits[1:])
    count = digits[last_byte] - digits[first_byte]
    varies = count > 0
    pure = count == last_byte - first_byte
    value = np.where(pure & (count == 1), np.minimum(data[first_byte].astype(np.int64) - 48, 2), np.where(pure, 2, 3))
    hashes = np.where(varies, _NUMBER_HASHES[np.where(varies, value, 0)], hashes)
    line = np.searchsorted(ends, first_byte)
    first = np.ones(len(line), dtype=bool)
    first[1:] = line[1:] != line[:-1]
    capitals = np.zeros(len(data) + 1, dtype=np.int32)
    np.cumsum(upper, out=capitals[1:])
    shouted = (capitals[last_byte] - capitals[first_byte] == last_byte - first_byte) & (last_byte - first_byte > 2)
    following = classes[np.minimum(last_byte, len(classes) - 1)]
    return _Words(line, first_byte, hashes, varies, first, shouted, (following == _COLON) | (following == _BRACKET))


_NUMBER_HASHES: Final = _mixed(np.arange(1, 5, dtype=np.uint64))


def word_hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    """Hashes of single words, as lines have them."""
    data = np.frombuffer(join(words), dtype=np.uint8)
    classes = _CLASS_OF[data]
    found = _words_of(data, classes, np.flatnonzero(classes == _LINE_END))
    if len(found.hash) != len(words):
        raise ValueError("each of the words must be one word")
    return found.hash


# Words by what they say. A line can have words of several groups.
_VOCABULARY: Final[dict[str, str]] = {
    "fail": """
        error errors err fail fails failed failing failure failures fatal exception exceptions panic panicked abort aborted
        aborting crash crashed crashes segfault segmentation fault killed undefined unresolved unresolvable unexpected
        invalid
        illegal corrupt corrupted broken denied refused rejected reject unreachable violation violations unable cannot couldn
        conflict conflicts missing timeout timed unhandled uncaught throw throws thrown raised leak leaked deadlock oom
        overflow mismatch mismatched incompatible unsatisfied unmet unsupported forbidden unauthorized unrecognized
        unrecognised malformed nullpointer critical severe""",
    "assert": "assert asserts assertion assertionerror expect expected expects actual actually got but instead should",
    "trace": "traceback stacktrace caused backtrace stack trace at frame frames most recent call last",
    "pass": "ok pass passed passes passing success successful successfully succeeded done complete completed up date",
    "warn": "warn warning warnings deprecated deprecation deprecate note notice info debug hint",
    "negated": "no not without never none zero isn doesn won wasn didn",
    "exit": "exit exited exits exiting code status returned signal terminated",
    "fetch": """
        download downloading downloaded downloads get fetch fetching fetched install installing installed unpacking setting
        selecting preparing cloning clone cache cached caching restoring collecting using extracting resolving receiving
        compressing progress""",
    "summary": "tests test total run runs skipped failures errors ran summary results examples specs assertions suites",
}
GROUPS: Final = tuple(_VOCABULARY)


def _group_table() -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Sorted hashes of the vocabulary, and for each one bit per group, in up to 16 bits."""
    bits: dict[str, int] = {}
    for number, text in enumerate(_VOCABULARY.values()):
        for word in text.split():
            bits[word] = bits.get(word, 0) | 1 << number
    hashes = word_hashes(list(bits))
    order = np.argsort(hashes)
    return hashes[order], np.array(list(bits.values()), dtype=np.uint16)[order]


_GROUP_HASHES, _GROUP_BITS = _group_table()
_FRAME_HASHES: Final = word_hashes(["at", "caused", "suppressed", "from", "file"])


def word_groups(word: str) -> list[str]:
    """The groups of the vocabulary that a word is in.

    >>> word_groups("failures")
    ['fail', 'summary']
    """
    return [name for name, text in _VOCABULARY.items() if word.lower() in text.split()]


def _groups(hashes: NDArray[np.uint64]) -> NDArray[np.uint16]:
    places = np.minimum(np.searchsorted(_GROUP_HASHES, hashes), len(_GROUP_HASHES) - 1)
    return np.where(_GROUP_HASHES[places] == hashes, _GROUP_BITS[places], 0).astype(np.uint16)


COLUMNS: Final = (
    "gap",
    "length",
    "indent",
    "words",
    "upper",
    "digits",
    "other",
    "colons",
    "rules",
    "carets",
    "slashes",
    "brackets",
    "quotes",
    "dots",
    "only_rule",
    "only_caret",
    "prompt",
    "zeros",
    "figures",
    "frame",
    "fail_first",
    "fail_shouted",
    "fail_colon",
    *GROUPS,
)
"""Columns of `LineTable.numbers`."""


class LineTable(NamedTuple):
    """N lines as numbers."""

    numbers: NDArray[np.uint8]
    """Shape (N, len(COLUMNS)); counts are capped and shares are in percent."""
    bucket_line: NDArray[np.intp]
    """The line of each hashed word or pair of words, in ascending order."""
    buckets: NDArray[np.uint32]
    """Its bucket, below `BUCKETS`."""
    identity: NDArray[np.uint32]
    """Hash of the words of each line without its numbers: equal for lines that differ only in these. 0 for no words."""


def read_lines(lines: Sequence[str]) -> LineTable:
    """Reads lines, which must be without colours."""
    tables, start, size = [], 0, 0
    for i, line in enumerate(lines):
        size += min(len(line), READ_CHARACTERS) + 1
        if size >= PIECE_BYTES // 4:  # a character has at most four bytes
            tables.append(_read_piece(join(lines[start : i + 1])))
            start, size = i + 1, 0
    if start < len(lines) or not lines:
        tables.append(_read_piece(join(lines[start:])) if lines else _empty())
    if len(tables) == 1:
        return tables[0]
    offsets = np.cumsum([0, *(len(table.numbers) for table in tables[:-1])])
    return LineTable(
        np.concatenate([table.numbers for table in tables]),
        np.concatenate([table.bucket_line + offset for table, offset in zip(tables, offsets, strict=True)]),
        np.concatenate([table.buckets for table in tables]),
        np.concatenate([table.identity for table in tables]),
    )


def _empty() -> LineTable:
    no = np.empty(0, dtype=np.uint32)
    return LineTable(np.empty((0, len(COLUMNS)), dtype=np.uint8), np.empty(0, dtype=np.intp), no, no)


def _read_piece(text: bytes) -> LineTable:
    data = np.frombuffer(text, dtype=np.uint8)
    classes = _CLASS_OF[data]
    ends = np.flatnonzero(classes == _LINE_END)
    count = len(ends)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts
    line_of = np.repeat(np.arange(count), lengths + 1)
    characters = np.bincount(line_of * _CLASSES + classes, minlength=count * _CLASSES).reshape(count, _CLASSES)
    found = _words_of(data, classes, ends)
    numbers = np.empty((count, len(COLUMNS)), dtype=np.uint8)
    visible = lengths - characters[:, _SPACE]
    size = np.maximum(visible, 1)
    # The first visible character of each line, or its line end.
    first, indent = _text_starts(classes, data, starts, ends)
    columns = {
        "gap": 0,
        "length": np.log1p(lengths) * 16,
        "indent": np.minimum(indent, 40),
        "words": np.minimum(np.bincount(found.line, minlength=count), 200),
        "upper": 100 * characters[:, _UPPER] / size,
        "digits": 100 * characters[:, _DIGIT] / size,
        "other": 100 * characters[:, _OTHER] / size,
        "colons": np.minimum(characters[:, _COLON], 8),
        "rules": np.minimum(characters[:, _RULE], 16),
        "carets": np.minimum(characters[:, _CARET], 8),
        "slashes": np.minimum(characters[:, _SLASH], 8),
        "brackets": np.minimum(characters[:, _BRACKET], 8),
        "quotes": np.minimum(characters[:, _QUOTE], 8),
        "dots": np.minimum(characters[:, _DOT], 8),
        "only_rule": (characters[:, _RULE] == visible) & (visible > 3),
        "only_caret": (characters[:, _CARET] > 0) & (characters[:, _CARET] + characters[:, _RULE] == visible),
        "prompt": np.isin(data[first], np.frombuffer(b"$+>", dtype=np.uint8))
        & (data[np.minimum(first + 1, len(data) - 1)] == 32),
    }
    columns["zeros"] = np.minimum(np.bincount(found.line, found.hash == _NUMBER_HASHES[0], minlength=count), 8)
    columns["figures"] = np.minimum(np.bincount(found.line, found.varies, minlength=count) - columns["zeros"], 8)
    groups = _groups(found.hash)
    columns["frame"] = _frames(classes, data, first, ends, found)
    failing = (groups >> GROUPS.index("fail") & 1).astype(bool)
    columns["fail_first"] = np.bincount(found.line, failing & found.first, minlength=count)
    columns["fail_shouted"] = np.minimum(np.bincount(found.line, failing & found.shouted, minlength=count), 4)
    columns["fail_colon"] = np.minimum(np.bincount(found.line, failing & found.colon, minlength=count), 4)
    for number, name in enumerate(GROUPS):
        columns[name] = np.minimum(np.bincount(found.line, groups >> number & 1, minlength=count), 4)
    for i, name in enumerate(COLUMNS):
        numbers[:, i] = columns[name]
    return LineTable(numbers, *_buckets(found), _identities(found, count))


def _text_starts(
    classes: NDArray[np.uint8], data: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First visible byte of each line, and its indentation.

    A tag as in `[error]   at Foo.bar` is no text, nor is the space behind it.
    """
    dark = np.flatnonzero(classes != _SPACE)
    first = dark[np.searchsorted(dark, starts)]
    closing = np.append(np.flatnonzero(data == ord("]")), len(data))
    after = closing[np.searchsorted(closing, starts)] + 1
    tagged = (data[first] == ord("[")) & (after - first <= LONGEST_TAG) & (after < ends)
    behind = dark[np.searchsorted(dark, np.minimum(after, len(data) - 1))]
    return np.where(tagged, behind, first), np.where(tagged, np.maximum(behind - after - 1, 0), first - starts)


def _frames(
    classes: NDArray[np.uint8], data: NDArray[np.uint8], text: NDArray[np.intp], ends: NDArray[np.intp], found: _Words
) -> NDArray[np.bool_]:
    """Whether a line begins as one of a stack trace, or of a compiler's drawing of source code, that goes on."""
    leading = np.minimum(np.searchsorted(found.at, text), max(len(found.at) - 1, 0))
    begins = np.zeros(len(text), dtype=bool)
    if len(found.at):
        begins = np.isin(found.hash[leading], _FRAME_HASHES) & (found.at[leading] >= text) & (found.at[leading] < ends)
    arrow = (data[text] == ord("-")) & (data[np.minimum(text + 2, len(data) - 1)] == ord(">"))
    # `31 |     let total`, and the bar alone.
    marks = np.flatnonzero((classes != _SPACE) & (classes != _DIGIT))
    bar = data[marks[np.searchsorted(marks, text)]] == ord("|")
    return np.asarray(begins | bar | arrow)


def _buckets(found: _Words) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
    """Words, and pairs of a word and the one before it in its line."""
    single = found.hash >> np.uint64(48)
    second = ~found.first[1:]
    pair = _mixed(found.hash[:-1] * np.uint64(3) + found.hash[1:])[second] >> np.uint64(48)
    line = np.concatenate([found.line, found.line[1:][second]])
    bucket = np.concatenate([single, pair])
    order = np.argsort(line, kind="stable")
    return line[order], bucket[order].astype(np.uint32)


def _identities(found: _Words, count: int) -> NDArray[np.uint32]:
    sums = np.zeros(count, dtype=np.uint64)
    named = ~found.varies
    np.add.at(sums, found.line[named], found.hash[named])
    hashes = (_mixed(sums) >> np.uint64(32)).astype(np.uint32)
    return np.where(sums != 0, hashes, np.uint32(0))
