"""Lines in, a table of numbers out, one row for each line: its words, its characters and its shape.

All lines of a batch are read at once as an array of bytes.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.reduce.vocabulary import FRAME_HASHES, GROUPS, LINE_HASH, groups_of
from stream_triage.stages.reduce.words import (
    BRACKET,
    CARET,
    CLASS_OF,
    CLASSES,
    COLON,
    DIGIT,
    DOT,
    LINE_END,
    LOWER,
    NUMBER_HASHES,
    OTHER,
    PIECE_BYTES,
    QUOTE,
    READ_CHARACTERS,
    RULE,
    SLASH,
    SPACE,
    UPPER,
    Words,
    join,
    mixed,
    words_of,
)

__all__ = ["BUCKETS", "COLUMNS", "LineTable", "LogLines", "read_lines"]

BUCKETS: Final = 1 << 16
"""Of the hashed words and pairs of words."""
# `[ERROR] `, or a short path in brackets; what is longer is text.
LONGEST_TAG: Final = 24
# Columns of a tab at the beginning of a line.
TAB: Final = 8
# A line of at least so many of `-=*#_+` and words is a title, as `==== FAILURES ====` and `--- FAIL: TestClose`.
TITLE_RULES: Final = 6

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
    "place",
    "opens",
    "marker",
    "title",
    "fail_first",
    "fail_shouted",
    "fail_colon",
    *GROUPS,
)
"""Columns of `LineTable.numbers`."""


class LogLines(NamedTuple):
    """All N lines of a log that have text; under 60 bytes each."""

    numbers: NDArray[np.uint8]
    """Shape (N, len(COLUMNS))."""
    words: NDArray[np.float32]
    """How relevant the words of each line are, as log-odds; shape (N,)."""
    identity: NDArray[np.uint32]


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
    classes = CLASS_OF[data]
    ends = np.flatnonzero(classes == LINE_END)
    count = len(ends)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts
    line_of = np.repeat(np.arange(count), lengths + 1)
    characters = np.bincount(line_of * CLASSES + classes, minlength=count * CLASSES).reshape(count, CLASSES)
    found = words_of(data, classes, ends)
    numbers = np.empty((count, len(COLUMNS)), dtype=np.uint8)
    visible = lengths - characters[:, SPACE]
    size = np.maximum(visible, 1)
    # The first visible character of each line, or its line end.
    first, indent = _text_starts(classes, data, starts, ends)
    columns = {
        "gap": 0,
        "length": np.log1p(lengths) * 16,
        "indent": np.minimum(indent, 40),
        "words": np.minimum(np.bincount(found.line, minlength=count), 200),
        "upper": 100 * characters[:, UPPER] / size,
        "digits": 100 * characters[:, DIGIT] / size,
        "other": 100 * characters[:, OTHER] / size,
        "colons": np.minimum(characters[:, COLON], 8),
        "rules": np.minimum(characters[:, RULE], 16),
        "carets": np.minimum(characters[:, CARET], 8),
        "slashes": np.minimum(characters[:, SLASH], 8),
        "brackets": np.minimum(characters[:, BRACKET], 8),
        "quotes": np.minimum(characters[:, QUOTE], 8),
        "dots": np.minimum(characters[:, DOT], 8),
        "only_rule": (characters[:, RULE] == visible) & (visible > 3),
        "only_caret": (characters[:, CARET] > 0) & (characters[:, CARET] + characters[:, RULE] == visible),
        "prompt": np.isin(data[first], np.frombuffer(b"$+>", dtype=np.uint8))
        & (data[np.minimum(first + 1, len(data) - 1)] == 32),
    }
    columns["zeros"] = np.minimum(np.bincount(found.line, found.hash == NUMBER_HASHES[0], minlength=count), 8)
    columns["figures"] = np.minimum(np.bincount(found.line, found.varies, minlength=count) - columns["zeros"], 8)
    groups = groups_of(found.hash)
    columns["frame"] = _frames(classes, data, first, ends, found)
    columns["place"] = _places(classes, data, line_of, found, count)
    columns |= _shapes(classes, data, first, starts, ends)
    columns["title"] = (characters[:, RULE] >= TITLE_RULES) & (classes[first] == RULE) & (columns["words"] > 0)
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
    dark = np.flatnonzero(classes != SPACE)
    first = dark[np.searchsorted(dark, starts)]
    closing = np.append(np.flatnonzero(data == ord("]")), len(data))
    after = closing[np.searchsorted(closing, starts)] + 1
    tagged = (data[first] == ord("[")) & (after - first <= LONGEST_TAG) & (after < ends)
    behind = dark[np.searchsorted(dark, np.minimum(after, len(data) - 1))]
    indent = np.where(tagged, np.maximum(behind - after - 1, 0), first - starts)
    at_tab = data[np.where(tagged, np.minimum(after, len(data) - 1), starts)] == ord("\t")
    return np.where(tagged, behind, first), indent + np.where(at_tab, TAB - 1, 0)


def _frames(
    classes: NDArray[np.uint8], data: NDArray[np.uint8], text: NDArray[np.intp], ends: NDArray[np.intp], found: Words
) -> NDArray[np.bool_]:
    """Whether a line begins as one of a stack trace, or of a compiler's drawing of source code, that goes on."""
    leading = np.minimum(np.searchsorted(found.at, text), max(len(found.at) - 1, 0))
    begins = np.zeros(len(text), dtype=bool)
    if len(found.at):
        begins = np.isin(found.hash[leading], FRAME_HASHES) & (found.at[leading] >= text) & (found.at[leading] < ends)
    arrow = (data[text] == ord("-")) & (data[np.minimum(text + 2, len(data) - 1)] == ord(">"))
    # `31 |     let total`, and the bar alone.
    marks = np.flatnonzero((classes != SPACE) & (classes != DIGIT))
    bar = data[marks[np.searchsorted(marks, text)]] == ord("|")
    return np.asarray(begins | bar | arrow)


def _places(
    classes: NDArray[np.uint8], data: NDArray[np.uint8], line_of: NDArray[np.intp], found: Words, count: int
) -> NDArray[np.bool_]:
    """Whether a line names a place in a source file: `ledger.go:31`, `Ledger.java:31`, `ledger.py", line 31`."""
    letters = (classes == LOWER) | (classes == UPPER)
    at = np.flatnonzero((data[1:-1] == ord(":")) & letters[:-2] & (classes[2:] == DIGIT))
    numbered = np.flatnonzero((found.hash[:-1] == LINE_HASH) & found.varies[1:] & ~found.first[1:])
    places = np.zeros(count, dtype=bool)
    places[line_of[at]] = True
    places[found.line[numbered]] = True
    return places


def _shapes(
    classes: NDArray[np.uint8],
    data: NDArray[np.uint8],
    first: NDArray[np.intp],
    starts: NDArray[np.intp],
    ends: NDArray[np.intp],
) -> dict[str, NDArray[np.bool_]]:
    """Lines that end with a colon, and lines of text behind one character and blanks, as in `>   assert x` and `E   x`."""
    dark = np.flatnonzero(classes != SPACE)
    last = dark[np.maximum(np.searchsorted(dark, ends) - 1, 0)]
    behind = np.minimum(first + 1, len(data) - 1), np.minimum(first + 2, len(data) - 1)
    alone = (first == starts) & (first < ends)
    return {
        "opens": (data[last] == ord(":")) & (last >= starts),
        "marker": alone & (classes[behind[0]] == SPACE) & (classes[behind[1]] == SPACE),
    }


def _buckets(found: Words) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
    """Words, and pairs of a word and the one before it in its line."""
    single = found.hash >> np.uint64(48)
    second = ~found.first[1:]
    pair = mixed(found.hash[:-1] * np.uint64(3) + found.hash[1:])[second] >> np.uint64(48)
    line = np.concatenate([found.line, found.line[1:][second]])
    bucket = np.concatenate([single, pair])
    order = np.argsort(line, kind="stable")
    return line[order], bucket[order].astype(np.uint32)


def _identities(found: Words, count: int) -> NDArray[np.uint32]:
    sums = np.zeros(count, dtype=np.uint64)
    named = ~found.varies
    np.add.at(sums, found.line[named], found.hash[named])
    hashes = (mixed(sums) >> np.uint64(32)).astype(np.uint32)
    return np.where(sums != 0, hashes, np.uint32(0))
