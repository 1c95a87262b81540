"""Cutting lines: what a line is, what is repaired, and that the cutting of the bytes changes nothing."""

import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_triage.stages.assemble import CUT_BACK_BYTES, LineCutter, RepairCounts

LIMIT = 64

# Mostly what cutters trip over: line ends, halves of characters, words, and lines around the limit.
pieces = st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\r\n",
        b" ",
        b"\t",
        b"a",
        b"word",
        b"\0",
        b"\xff",
        b"\xe2\x82",
        "é€😀".encode(),
        b"x" * LIMIT,
        b"y" * 70,
    ]
)
dirty_bytes = st.lists(st.one_of(pieces, st.binary(max_size=5)), max_size=30).map(b"".join)


def cut(data: bytes, sizes: list[int] = (), limit: int = LIMIT) -> tuple[list[str], RepairCounts, int]:
    """Lines, repairs and byte count of `data`, fed in pieces of the given sizes and then the rest."""
    cutter, lines = LineCutter(limit), []
    for size in sizes:
        lines += cutter.feed(data[:size])
        data = data[size:]
    lines += cutter.feed(data)
    lines += cutter.finish()
    return lines, cutter.repairs, cutter.bytes_consumed


@settings(max_examples=400)
@example(data=b"x" * 100 + b"\rnext\n", sizes=[101])
@example(data=b"x" * 100 + b"\r\nnext\n", sizes=[80, 21])
@given(data=dirty_bytes, sizes=st.lists(st.integers(0, 90), max_size=40))
def test_any_cutting_gives_the_same(data, sizes):
    """Lines, repairs and byte count depend on the bytes alone."""
    assert cut(data, sizes) == cut(data)


@given(data=dirty_bytes)
def test_byte_by_byte_gives_the_same(data):
    """The worst cutting of all, too."""
    assert cut(data, [1] * len(data)) == cut(data)


@given(text=st.text(st.sampled_from("ab é€\r\n"), max_size=60))
def test_lines_are_those_of_universal_newlines(text):
    """Without damage the lines are Python's, the last one with or without its line end."""
    expected = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if expected[-1] == "":
        expected.pop()
    lines, repairs, consumed = cut(text.encode(), limit=1000)
    assert lines == expected
    assert repairs == RepairCounts()
    assert consumed == len(text.encode())


@given(data=dirty_bytes)
def test_every_byte_is_kept_or_counted(data):
    """What is not in the lines is a line end or stands in `dropped_bytes`."""
    _, repairs, consumed = cut(data)
    whole = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    cut_lines = [line for line in whole if len(line) > LIMIT]
    assert consumed == len(data)
    assert repairs.cut_lines == len(cut_lines)
    least, most = len(b"".join(cut_lines)) - LIMIT * len(cut_lines), len(b"".join(cut_lines))
    assert least <= repairs.dropped_bytes <= most
    assert repairs.nul_bytes <= data.count(b"\0")
    assert bool(repairs.dropped_bytes) == bool(cut_lines)


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\r", b"\nb\n"], ["a", "b"]),
        ([b"a\r", b"b\n"], ["a", "b"]),
        ([b"a\r", b"\rb"], ["a", "", "b"]),
        ([b"a\r"], ["a"]),
        ([b"a\r", b""], ["a"]),
        ([b"\r", b"\n", b"\r", b"\n"], ["", ""]),
    ],
)
def test_cr_at_the_end_of_a_chunk(chunks, lines):
    """A CR may be half of a CRLF: it waits for the next byte, and counts alone at the end."""
    cutter = LineCutter(LIMIT)
    found = [line for chunk in chunks for line in cutter.feed(chunk)]
    assert found + cutter.finish() == lines


def test_lines_come_as_soon_as_they_are_whole():
    """Nothing but the unfinished line, and a CR that may be half a line end, is held back."""
    cutter = LineCutter(LIMIT)
    assert cutter.feed(b"a\nb\nc") == ["a", "b"]
    assert cutter.feed(b"\n") == ["c"]
    assert cutter.feed(b"d\r") == []
    assert cutter.feed(b"e") == ["d"]
    assert cutter.finish() == ["e"]


def test_line_at_the_limit_is_whole():
    """The limit itself is allowed; one byte more is cut."""
    assert cut(b"x" * LIMIT)[0] == ["x" * LIMIT]
    lines, repairs, _ = cut(b"x" * (LIMIT + 1))
    assert lines == ["x" * LIMIT + " …"]
    assert (repairs.cut_lines, repairs.dropped_bytes) == (1, 1)


def test_cut_goes_back_to_the_last_word():
    """No half of a word is left, since it could be half of a secret."""
    lines, repairs, _ = cut(b"one two " + b"x" * 80 + b"\nnext\n")
    assert lines == ["one two …", "next"]
    assert repairs.dropped_bytes == 88 - len("one two")


def test_cut_within_one_huge_word():
    """A word longer than what a cut goes back over is cut itself, never inside a character."""
    limit = 2 * CUT_BACK_BYTES
    lines, _, _ = cut(b"a " + "€".encode() * limit, limit=limit)
    kept = lines[0].removesuffix(" …")
    assert set(kept) == {"a", " ", "€"}
    assert limit - 3 < len(kept.encode()) <= limit


def test_endless_line_needs_little_memory():
    """Forty megabytes without a line end cost a few chunks, and the next line is whole."""
    cutter, chunk = LineCutter(65_536), b"z" * 65_536
    tracemalloc.start()
    for _ in range(640):
        assert cutter.feed(chunk) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 65_536
    assert [line[:4] for line in cutter.feed(b"\nnext\n")] == ["zzzz", "next"]
    assert (cutter.repairs.cut_lines, cutter.repairs.dropped_bytes) == (1, 639 * 65_536)


def test_damage_is_shown_in_place():
    """Invalid bytes and NULs become visible characters where they were; real U+FFFD in the text is not counted."""
    lines, repairs, _ = cut(b"a\xffb\0c\n" + "\ufffd ok\n".encode())
    assert lines == ["a\ufffdb␀c", "\ufffd ok"]
    assert (repairs.invalid_bytes, repairs.nul_bytes) == (1, 1)


def test_nothing_in_nothing_out():
    assert cut(b"") == ([], RepairCounts(), 0)


@pytest.mark.parametrize(
    ("data", "lines", "dropped"),
    [
        (b"12345678\n", ["12345678"], 0),
        (b"123456789\n", ["12345678 …"], 1),
        (b"12345678", ["12345678"], 0),
        (b"123456789", ["12345678 …"], 1),
        (b"12345678\r\n9", ["12345678", "9"], 0),
        (b"a 3456789", ["a …"], 8),
        (b" 23456789", [" 2345678 …"], 1),
        (b"1234567 9", ["1234567 …"], 2),
        (b"1234567\t9", ["1234567 …"], 2),
    ],
)
@pytest.mark.parametrize("sizes", [[], [1] * 12, [7], [8], [9]])
def test_the_limit_of_a_line(data, lines, dropped, sizes):
    """A line of the limit is whole; a longer one ends before its last word, unless that is all there is."""
    found, repairs, _ = cut(data, sizes, limit=8)
    assert (found, repairs.dropped_bytes) == (lines, dropped)
    assert repairs.cut_lines == bool(dropped)


@pytest.mark.parametrize(("back", "goes_back"), [(CUT_BACK_BYTES, True), (CUT_BACK_BYTES + 1, False)])
def test_how_far_a_cut_goes_back(back, goes_back):
    """A space further back is none: the word is longer than any secret that could be cut in half."""
    limit = 2 * CUT_BACK_BYTES
    line = b"x" * (limit - back) + b" " + b"y" * limit
    (found,), _, _ = cut(line, limit=limit)
    kept = line[: limit - back] if goes_back else line[:limit]
    assert found == kept.decode() + " …"


@pytest.mark.parametrize("character", ["\x7f", "\x80", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff"])
@pytest.mark.parametrize("before", range(9))
def test_a_cut_leaves_no_half_of_a_character(character, before):
    """The first and last character of each length in UTF-8, cut at any byte: no damage that the log did not have."""
    text = "a" * before + character * 9
    (found,), repairs, _ = cut(text.encode(), limit=8)
    assert repairs.invalid_bytes == 0
    whole = found.removesuffix(" …")
    assert text.startswith(whole)
    assert 8 - len(character.encode()) < len(whole.encode()) <= 8


@pytest.mark.parametrize("data", [b"\xc3" + b"\x80" * 9, b"\x80" * 9, b"ab\xff\xc0\xe0\xf0\xf8\xffcd"])
def test_damage_before_a_cut_is_counted(data):
    """Invalid sequences that the log had are repaired as elsewhere."""
    _, repairs, _ = cut(data, limit=8)
    assert repairs.invalid_bytes > 0
