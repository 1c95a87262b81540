"""Lines of a source in, a pattern for their common prefix out, where no known wrapper explains it.

For a few lines every position behind a separator is tried: if the bundle knows the text from there on, what stands before it
is a prefix. The prefixes of several lines then give a pattern: what is equal in all of them stays, numbers and words that
differ become classes of characters.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

__all__ = ["FoundPrefix", "Known", "find_prefixes", "prefix_pattern"]

Known = Callable[[Sequence[str]], list[bool]]
"""Whether the bundle knows each of these lines."""

MOST_POSITIONS: Final = 24
MOST_CHARACTERS: Final = 256
_POSITION: Final = re.compile(r"[ \t]+|[|│:;,\])>}»›→#=m\"'/-](?=[^ \t])")
_RUN: Final = re.compile(r"[ \t]+|[0-9]+|[A-Za-z]+|.", re.DOTALL)
_WORDS: Final = re.compile(r"[A-Za-z0-9_]+(?:[.@/-][A-Za-z0-9_]+)*")
_BLANKS: Final = re.compile(r"[ \t]+")


class FoundPrefix(NamedTuple):
    """The prefix of one line; `stamp` if the bundle knows the text behind it only with a time stamp of its own in front."""

    prefix: str
    stamp: bool


def find_prefixes(lines: Sequence[str], known: Known, stamp: str | None) -> list[FoundPrefix]:
    """For each line that has one, the shortest prefix without which the bundle knows the line.

    `stamp` is a time stamp, with its separator, as lines of the bundle begin with; None if they begin with none.
    """
    cuts: list[tuple[int, int]] = []
    tries: list[str] = []
    for i, line in enumerate(lines):
        for match in list(_POSITION.finditer(line, 0, MOST_CHARACTERS))[:MOST_POSITIONS]:
            rest = line[match.end() :]
            if len(rest.strip()) < 3:
                continue
            cuts.append((i, match.end()))
            tries.append(rest)
    found = known(tries)
    stamped = known([stamp + rest for rest in tries]) if stamp is not None else [False] * len(tries)
    first: dict[int, FoundPrefix] = {}
    for (i, end), plain, with_stamp in zip(cuts, found, stamped, strict=True):
        if i not in first and (plain or with_stamp):
            first[i] = FoundPrefix(lines[i][:end], not plain)
    return list(first.values())


def prefix_pattern(prefixes: Sequence[str]) -> str | None:
    """A pattern for most of these prefixes, without the blanks at their end; None if they have nothing in common."""
    prefixes = [prefix.rstrip(" \t") for prefix in prefixes]
    for shape in (_fine, _coarse):
        groups = Counter(shape(prefix) for prefix in prefixes)
        common, count = groups.most_common(1)[0]
        if 2 * count >= len(prefixes):
            return _pattern([prefix for prefix in prefixes if shape(prefix) == common], shape)
    fields = Counter(len(prefix.split()) for prefix in prefixes)
    number, count = fields.most_common(1)[0]
    if 2 * count < len(prefixes):
        return None
    return r"[ \t]*" + r"[ \t]+".join([r"[^ \t]+"] * number) + r"(?=[ \t]|$)"


def _fine(prefix: str) -> tuple[str, ...]:
    """Kinds of runs: blanks, digits, letters, and every other character as itself."""
    return tuple(_kind(run) for run in _RUN.findall(prefix))


def _kind(run: str) -> str:
    return " " if run[0] in " \t" else "0" if run[0] in "0123456789" else "a" if run.isascii() and run.isalpha() else run


def _coarse(prefix: str) -> tuple[str, ...]:
    """Words, with what joins them inside, as one kind; blanks beside brackets do not count."""
    text = re.sub(r"(?<=[\[(<{])[ \t]+|[ \t]+(?=[\])>}|:])", "", prefix)
    return tuple(_BLANKS.sub(" ", _WORDS.sub("a", text)))


def _pattern(prefixes: Sequence[str], shape: Callable[[str], tuple[str, ...]]) -> str:
    if shape is _coarse:
        return "".join(
            r"[\w.@/-]+" if part == "a" else r"[ \t]+" if part == " " else rf"[ \t]*{re.escape(part)}[ \t]*"
            for part in _coarse(prefixes[0])
        )
    columns = zip(*(_RUN.findall(prefix) for prefix in prefixes), strict=True)
    return "".join(_run_pattern(set(column)) for column in columns)


def _run_pattern(values: set[str]) -> str:
    value = next(iter(values))
    if value[0] in " \t":
        return r"[ \t]+"
    if value[0] in "0123456789":
        return r"[0-9]+"
    return re.escape(value) if len(values) == 1 else r"[A-Za-z]+"
