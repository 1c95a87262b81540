"""Text from logs in; text that a page can show out."""

from typing import Final, NamedTuple

from stream_triage.render.printable import without_colours

__all__ = ["Shown", "position", "shown"]

# Characters of one line that a page shows. Lines of binary data and of minified JSON are a million characters long.
LONGEST_SHOWN: Final = 2000
# Characters that are looked at for them: colours, which are not shown, take some.
_LONGEST_READ: Final = 4 * LONGEST_SHOWN


class Shown(NamedTuple):
    """A line as a page shows it."""

    text: str
    """Without control characters, and cut."""
    hidden: int
    """Characters that were cut off."""


def shown(text: str, most: int = LONGEST_SHOWN) -> Shown:
    r"""The line without colours, other control characters as codes, cut visibly: the page says how much it hides.

    >>> shown("\x1b[31mERROR\x1b[0m <b>"), shown("abcdef", 4)
    (Shown(text='ERROR <b>', hidden=0), Shown(text='abcd', hidden=2))
    """
    read = without_colours(text[:_LONGEST_READ])
    kept = read[:most]
    return Shown(kept, len(read) - len(kept) + max(0, len(text) - _LONGEST_READ))


def position(number: float, total: int) -> str:
    """Where line `number` of a source lies in a drawing, as SVG wants it; the ends are kept a little inside.

    >>> position(1, 101), position(51, 101), position(101, 101), position(1, 1)
    ('0.50%', '50.00%', '99.50%', '50.00%')
    """
    share = (min(max(number, 1), total) - 1) / (total - 1) if total > 1 else 0.5
    return f"{0.5 + 99 * share:.2f}%"
