"""Files of templates in, kinds with their templates out, and the half of the set that each kind belongs to.

A file holds the kinds of one family:

    == kind-of-log | style of the lines around it
    a template, one or more lines
    --
    another template of this kind

In a template, `⟦…⟧` is a secret or an identity and must be removed; `⟨…⟩` is harmless and must stay, like all plain text;
text between `⟪` and `⟫` may be removed or not (a user name beside its password). Inside the first two brackets is
`kind:arguments` of a value (see `values`); `name@` in front of it joins several pieces to one secret, such as the lines of a
private key.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["FAMILIES", "HALVES", "NUMBERS", "TEMPLATES", "Kind", "draw", "read_context", "read_kinds"]

TEMPLATES: Final = Path(__file__).parent / "templates"
FAMILIES: Final = ("credentials", "keys", "identities", "harmless")
HALVES: Final = ("seen", "unseen")
NUMBERS: Final = "numbers"
"""A part beside the halves: bare numbers, of which some are identities and most are counters, times and serial numbers."""
_DRAW_SEED: Final = 20261130


class Kind(NamedTuple):
    """One way in which secrets, identities or harmless look-alikes appear in logs."""

    name: str
    family: str
    half: str
    style: str
    templates: tuple[str, ...]


def read_kinds(half: str, folder: Path = TEMPLATES) -> list[Kind]:
    """The kinds of one half, or of `NUMBERS`, in the order of the files; none if its folder is missing."""
    kinds: list[Kind] = []
    for family in FAMILIES:
        path = folder / half / f"{family}.txt"
        if path.exists():
            for name, style, body in _sections(path.read_text("utf-8")):
                kinds.append(Kind(name, family, half, style, tuple(body.split("\n--\n"))))
    return kinds


def read_context(folder: Path = TEMPLATES) -> Mapping[str, Sequence[str]]:
    """Harmless lines for around a template, by style."""
    return {name: body.split("\n") for name, _, body in _sections((folder / "context.txt").read_text("utf-8"))}


def draw(names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Draws the half of each kind, family by family, so that both halves have the same families.

    This is how the kinds were divided, once; the folders hold the result.
    """
    halves: dict[str, str] = {}
    for family in FAMILIES:
        drawn = sorted(names[family])
        random.Random(f"{_DRAW_SEED} {family}").shuffle(drawn)  # noqa: S311 (reproducible)
        halves.update({name: HALVES[number % 2] for number, name in enumerate(drawn)})
    return halves


def _sections(text: str) -> list[tuple[str, str, str]]:
    """Name, style and text of each section of a file."""
    sections = []
    for part in ("\n" + text).split("\n== ")[1:]:
        title, body = part.split("\n", 1)
        name, _, style = title.partition(" | ")
        sections.append((name, style, body.rstrip("\n")))
    return sections
