"""The limits that a user set in, how many lines may be printed out."""

from typing import Final, NamedTuple

__all__ = ["AUTO_LEAST", "AUTO_SCORE", "CHARACTERS_PER_TOKEN", "NO_LIMIT", "Budget", "tokens_of"]

CHARACTERS_PER_TOKEN: Final = 3.0
"""Log text has more digits, paths and punctuation than prose, of which about four characters make a token."""
# What a printed line costs beside its text: its number, a tab and the line end.
LOCATION_CHARACTERS: Final = 8
# Without a budget.
AUTO_SHARE: Final = 0.1
AUTO_LEAST: Final = 20
AUTO_MOST: Final = 200
AUTO_SCORE: Final = -1.0
"""Log-odds below which a line is left out. On projects that training had not seen, a lower limit kept no more of what people
had marked, and printed up to 60 % more lines."""


class Budget(NamedTuple):
    """The limits that a user set; the tightest one counts. None at all means `auto`."""

    lines: int | None = None
    share: float | None = None
    """Of the lines with text, above 0 and at most 1."""
    tokens: int | None = None

    @property
    def is_auto(self) -> bool:
        """Whether the user set no limit, so that the lines themselves decide."""
        return self == NO_LIMIT

    def most_lines(self, total: int) -> int:
        """How many of `total` lines with text may be printed, as far as the number of lines is limited."""
        if self.is_auto:
            return min(total, max(AUTO_LEAST, min(AUTO_MOST, round(AUTO_SHARE * total))))
        limits = [total]
        if self.lines is not None:
            limits.append(self.lines)
        if self.share is not None:
            limits.append(max(1, round(self.share * total)))
        return min(limits)


NO_LIMIT: Final = Budget()


def tokens_of(characters: int) -> float:
    """Estimated tokens of a printed line with so many characters."""
    return (characters + LOCATION_CHARACTERS) / CHARACTERS_PER_TOKEN
