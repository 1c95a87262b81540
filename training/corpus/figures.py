"""Figures of an audit with their limits, for both versions of the corpus."""

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Figure", "failures", "print_figures"]


class Figure(NamedTuple):
    """A figure with its lowest and highest accepted value."""

    name: str
    value: float
    low: float
    high: float

    @property
    def kept(self) -> bool:
        """Whether the value is within the limits."""
        return self.low <= self.value <= self.high


def failures(figures: Iterable[Figure]) -> list[str]:
    """One sentence for each figure outside its limits."""
    return [f"{f.name}: {f.value:.4f} is not within {f.low:.4f} to {f.high:.4f}" for f in figures if not f.kept]


def print_figures(figures: Iterable[Figure]) -> None:
    """One line for each, with its limits."""
    for figure in figures:
        print(
            f"{'ok  ' if figure.kept else 'MISS'} {figure.name}: {figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"
        )
