"""Tables and figures as Markdown, for all pages of results."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["spread", "table"]


def spread(figure: Mapping[str, Any]) -> str:
    """The mean of `training.evaluate.mean_and_spread`, with the standard deviation if there are several values."""
    several = len(figure["values"]) > 1
    return f"{figure['mean']:.4f}" + (f" ± {figure['sd']:.4f}" if several else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; every row must have as many cells as the head."""
    ruled = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)
