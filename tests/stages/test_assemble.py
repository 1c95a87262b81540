"""Cutting lines: what a line is, what is cut off, and that the cutting of the text changes nothing."""

import re
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_triage.stages.assemble import CUT_BACK_BYTES, CutCounts, LineCutter

LIMIT = 64

# Mostly what cutters trip over: line ends, halves of characters, words, and lines around the limit.
pieces = st.sampled_from(
    [
        "\n",
        "\r",
        "\r\n",
        " ",
        "\t",
        "a",
        "word",
        "\ufffd",
        "\u2028",
        "é€😀",
        "x" * LIMIT,
        "y" * 70,
        "€" * 30,
    ]
)
dirty_text = st.lists(st.one_of(pieces, st.text(max_size=5)), max_size=30).map("".join)


def cut(data: str, sizes: list[int] = (), limit: int = LIMIT) -> tuple[list[str], CutCounts]:
    """Lines of `data` and what was cut off, fed in pieces of the given sizes and then the rest."""
    cutter, lines = LineCutter(limit), []
    for size in sizes:
        lines += cutter.feed(data[:size])
        data = data[size:]
    lines += cutter.feed(data)
    lines += cutter.finish()
    return lines, cutter.cuts


@settings(max_examples=400)
@example(data="x" * 100 + "\rnext\n", sizes=[101])
@example(data="x" * 100 + "\r\nnext\n", sizes=[80, 21])
@given(data=dirty_text, sizes=st.lists(st.integers(0, 90), max_size=40))
def test_any_cutting_gives_the_same(data, sizes):
    """Lines and counts depend on the text alone."""
    assert cut(data, sizes) == cut(data)


@given(data=dirty_text)
def test_one_by_one_gives_the_same(data):
    """The worst cutting of all, too."""
    assert cut(data, [1] * len(data)) == cut(data)


@given(text=st.text(st.sampled_from("ab é€\r\n"), max_size=60))
def test_lines_are_those_of_universal_newlines(text):
    """Without damage the lines are Python's, but for CR CR LF; the last one with or without its line end."""
    expected = re.sub("\r?\r\n", "\n", text).replace("\r", "\n").split("\n")
    if expected[-1] == "":
        expected.pop()
    assert cut(text, limit=1000) == (expected, CutCounts())


@given(data=dirty_text)
def test_every_byte_is_kept_or_counted(data):
    """What is not in the lines is a line end or stands in `dropped_bytes`."""
    _, repairs = cut(data)
    whole = data.replace("\r\n", "\n").replace("\r", "\n").encode().split(b"\n")
    cut_lines = [line for line in whole if len(line) > LIMIT]
    assert repairs.cut_lines == len(cut_lines)
    least, most = len(b"".join(cut_lines)) - LIMIT * len(cut_lines), len(b"".join(cut_lines))
    assert least <= repairs.dropped_bytes <= most
    assert bool(repairs.dropped_bytes) == bool(cut_lines)


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        (["a\r", "\nb\n"], ["a", "b"]),
        (["a\r", "b\n"], ["a", "b"]),
        (["a\r", "\rb"], ["a", "", "b"]),
        (["a\r\r\nb\r\r\n"], ["a", "b"]),
        (["a\r", "\r", "\nb"], ["a", "b"]),
        (["a\r\r", "\r\n"], ["a", ""]),
        (["a\r"], ["a"]),
        (["a\r", ""], ["a"]),
        (["\r", "\n", "\r", "\n"], ["", ""]),
    ],
)
def test_cr_at_the_end_of_a_chunk(chunks, lines):
    """A CR may be half of a CRLF: it waits for the next character, and counts alone at the end."""
    cutter = LineCutter(LIMIT)
    found = [line for chunk in chunks for line in cutter.feed(chunk)]
    assert found + cutter.finish() == lines


def test_lines_come_as_soon_as_they_are_whole():
    """Nothing but the unfinished line, and a CR that may be half a line end, is held back."""
    cutter = LineCutter(LIMIT)
    assert cutter.feed("a\nb\nc") == ["a", "b"]
    assert cutter.feed("\n") == ["c"]
    assert cutter.feed("d\r") == []
    assert cutter.feed("e") == ["d"]
    assert cutter.finish() == ["e"]


def test_line_at_the_limit_is_whole():
    """The limit itself is allowed; one byte more is cut."""
    assert cut("x" * LIMIT)[0] == ["x" * LIMIT]
    lines, repairs = cut("x" * (LIMIT + 1))
    assert lines == ["x" * LIMIT + " …"]
    assert (repairs.cut_lines, repairs.dropped_bytes) == (1, 1)


def test_cut_goes_back_to_the_last_word():
    """No half of a word is left, since it could be half of a secret."""
    lines, repairs = cut("one two " + "x" * 80 + "\nnext\n")
    assert lines == ["one two …", "next"]
    assert repairs.dropped_bytes == 88 - len("one two")


def test_cut_within_one_huge_word():
    """A word longer than what a cut goes back over is cut itself, never inside a character."""
    limit = 2 * CUT_BACK_BYTES
    lines, _ = cut("a " + "€" * limit, limit=limit)
    kept = lines[0].removesuffix(" …")
    assert set(kept) == {"a", " ", "€"}
    assert limit - 3 < len(kept.encode()) <= limit


def test_endless_line_needs_little_memory():
    """Forty megabytes without a line end cost a few chunks, and the next line is whole."""
    cutter, chunk = LineCutter(65_536), "z" * 65_536
    tracemalloc.start()
    for _ in range(640):
        assert cutter.feed(chunk) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * 65_536
    assert [line[:4] for line in cutter.feed("\nnext\n")] == ["zzzz", "next"]
    assert (cutter.cuts.cut_lines, cutter.cuts.dropped_bytes) == (1, 639 * 65_536)


def test_nothing_in_nothing_out():
    assert cut("") == ([], CutCounts())


@pytest.mark.parametrize(
    ("data", "lines", "dropped"),
    [
        ("12345678\n", ["12345678"], 0),
        ("123456789\n", ["12345678 …"], 1),
        ("12345678", ["12345678"], 0),
        ("123456789", ["12345678 …"], 1),
        ("12345678\r\n9", ["12345678", "9"], 0),
        ("a 3456789", ["a …"], 8),
        (" 23456789", [" 2345678 …"], 1),
        ("1234567 9", ["1234567 …"], 2),
        ("1234567\t9", ["1234567 …"], 2),
    ],
)
@pytest.mark.parametrize("sizes", [[], [1] * 12, [7], [8], [9]])
def test_the_limit_of_a_line(data, lines, dropped, sizes):
    """A line of the limit is whole; a longer one ends before its last word, unless that is all there is."""
    found, repairs = cut(data, sizes, limit=8)
    assert (found, repairs.dropped_bytes) == (lines, dropped)
    assert repairs.cut_lines == bool(dropped)


@pytest.mark.parametrize(("back", "goes_back"), [(CUT_BACK_BYTES, True), (CUT_BACK_BYTES + 1, False)])
def test_how_far_a_cut_goes_back(back, goes_back):
    """A space further back is none: the word is longer than any secret that could be cut in half."""
    limit = 2 * CUT_BACK_BYTES
    line = "x" * (limit - back) + " " + "y" * limit
    (found,), _ = cut(line, limit=limit)
    kept = line[: limit - back] if goes_back else line[:limit]
    assert found == kept + " …"


@pytest.mark.parametrize("character", ["\x7f", "\x80", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff"])
@pytest.mark.parametrize("before", range(9))
def test_a_cut_leaves_no_half_of_a_character(character, before):
    """The first and last character of each length in UTF-8, cut at any byte: none is cut in half."""
    text = "a" * before + character * 9
    (found,), _ = cut(text, limit=8)
    whole = found.removesuffix(" …")
    assert text.startswith(whole)
    assert 8 - len(character.encode()) < len(whole.encode()) <= 8
