"""Figures in, Markdown out: what all pages of results are made of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["spread", "table"]


def spread(figure: Mapping[str, Any]) -> str:
    """Of `mean_and_spread`: the mean, and the standard deviation where there are several values."""
    several = len(figure["values"]) > 1
    return f"{figure['mean']:.4f}" + (f" ± {figure['sd']:.4f}" if several else "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruled = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)
