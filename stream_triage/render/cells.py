"""Cells and tables that the pages and tables for a terminal are made of."""

from collections.abc import Collection, Iterable, Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from stream_triage.render.printable import without_colours

__all__ = ["plain", "table", "weight"]

WIDEST_COLUMN = 44


def plain(text: str, style: str = "") -> Text:
    """Text from a log, safe to show, and cut at the edge of the terminal."""
    return Text(without_colours(text).expandtabs(4), style=style, no_wrap=True, overflow="ellipsis")


def table(rows: Iterable[Sequence[Text]], header: Sequence[str] = (), right: Collection[int] = ()) -> Table:
    """Returns a table whose columns are as wide as their text; the last one is cut at the edge of the terminal.

    Args:
        rows: One text for each column.
        header: Names of the columns; empty for a table without a header.
        right: Indices of the columns that are aligned to the right.
    """
    rows = list(rows)
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=bool(header), expand=True)
    columns = len(rows[0]) if rows else len(header)
    for i in range(columns - 1):
        width = max([cell_len(row[i].plain) for row in rows] + [len(name) for name in header[i : i + 1]])
        width = min(width, WIDEST_COLUMN)
        made.add_column(
            header[i] if header else "",
            min_width=width,
            max_width=width,
            overflow="fold",
            justify="right" if i in right else "left",
        )
    made.add_column(header[-1] if header else "", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in rows:
        made.add_row(*row)
    return made


def weight(value: float) -> Text:
    """A weight with its sign, such as `+2.75`."""
    return Text(f"{value:+.2f}")
