"""Rows of tables in, the same rows without the secrets and identities of the columns that a header names out.

A header is a line of names in cells, one of which is the name of a secret or an identity: Markdown, CSV, separated by tabs,
aligned with spaces, drawn with boxes, or the list of columns of an SQL statement. Its rows have as many cells and follow it,
with at most a few other lines between them.

Rows are read after the rules have run, and only whole cells are replaced. So a row that was redacted once is read in the
same way again.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from stream_triage.stages.redact.names import is_key_name, secret_kind
from stream_triage.stages.redact.rule import MARKER
from stream_triage.stages.redact.values import is_stand_in, is_strong, looks_random

__all__ = [
    "HEADER_REST",
    "HEADER_WORDS",
    "MOST_FOREIGN",
    "NAME_WORDS",
    "Table",
    "column_kind",
    "fits",
    "fits_kind",
    "header_of",
]

NAME_WORDS: Final = (
    "imsi",
    "supi",
    "msisdn",
    "imei",
    "iccid",
    "opc",
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "psk",
    "pin",
    "puk",
    "adm",
)
"""In lower case, one of these is in the name of nearly every identity and secret."""
HEADER_WORDS: Final = (*NAME_WORDS, "pw", "subscriber")
"""In lower case, one of these is in every header."""
HEADER_REST: Final = (
    r"[a-z0-9_/.`() ]{0,24}[\"'`)]{0,3}(?:[|,;\t\"\u2502\u2503]|[ ]{2}|\r?(?=\n|\Z)|[ ](?=[a-z_]{1,12}(?:[ ]|\r?\n|\r?\Z)))"
)
"""What follows such a word there: the end of its cell."""

_NAME: Final = re.compile(r"[#`\"' ]*[A-Za-z_][A-Za-z0-9_ ./()`\"'#%*+-]{0,40}", re.ASCII)
_PROSE: Final = re.compile(r"\b(?:of|the|is|are|for|to|and|or|was|with|in|no|not|a|an|by|from)\b")
_RULE_LINE: Final = re.compile(r"[^\w]*[-=+|\u2500-\u257f\u2550-\u256c: ]{3,}", re.ASCII)
_BARS: Final = re.compile(r"[|\u2502\u2503\u2551]")
_GAP: Final = re.compile(r"\t+ *| {2,}\t*")
_INSERT: Final = re.compile(r"\(([^()\n]{1,1000})\)[ ]?values\b", re.IGNORECASE)
_COPY: Final = re.compile(r"\bcopy [^\n(]{1,100}\(([^()\n]{1,1000})\) from stdin", re.IGNORECASE)
_SQL_STRING = r"(?:'(?:[^'\\\n]|''|\\.)*+'|\"(?:[^\"\\\n]|\\.)*+\")"
_SQL_VALUE: Final = re.compile(rf"[A-Za-z_]{{1,12}}\({_SQL_STRING}\)|[A-Za-z]{{0,2}}{_SQL_STRING}|[^,()'\"\n]+")
_MOST_CELLS: Final = 64
# Other lines between rows before a table is over.
MOST_FOREIGN: Final = 3

_HEX: Final = (
    r"(?:0x)?(?:[0-9A-Fa-f]{16,128}|[0-9A-Fa-f]{2}(?:[ :._-][0-9A-Fa-f]{2}){7,63}|[0-9A-Fa-f]{8}(?:[ -][0-9A-Fa-f]{8}){3,7})"
)
_VALUES: Final = {
    "imsi": re.compile(r"[0-9]{5,18}|[0-9]{3}[ -][0-9]{2,3}[ -][0-9]{9,10}"),
    "imei": re.compile(r"[0-9]{8,17}|[0-9]{2}-[0-9]{6}-[0-9]{6}(?:-[0-9]{1,2})?"),
    "msisdn": re.compile(r"\+?[0-9]{5,16}|\+?[0-9]{1,4}(?:[ -][0-9]{2,8}){1,5}"),
    "iccid": re.compile(r"[0-9]{10,22}[Ff]?"),
    "key": re.compile(rf"{_HEX}|[A-Za-z0-9+/]{{22}}==|[A-Za-z0-9+/]{{43}}="),
    "pin": re.compile(r"[0-9]{4,8}|[0-9A-Fa-f]{16}"),
    "password": re.compile(r"[^\s|]{3,128}|[^\s|]{2,32}(?:[ ][^\s|]{1,32}){1,4}"),
    "token": re.compile(r"[^\s|]{8,8192}"),
}


_COLUMNS: Final = {
    "imsi": {"imsi", "imsis", "supi", "supis", "subscriber"},
    "imei": {"imei", "imeisv", "pei"},
    "msisdn": {"msisdn", "msisdns", "gpsi", "phone"},
    "iccid": {"iccid"},
    "pin": {"pin", "puk", "adm", "chv"},
}


class Table(NamedTuple):
    """The columns of a table that is being read, and how its cells are cut."""

    separator: str
    kinds: tuple[str | None, ...]
    foreign: int = 0
    """Lines in a row that are no rows."""


def column_kind(cell: str) -> str | None:
    """What the values of a column with this name are.

    >>> column_kind("IMSI"), column_kind("hex(`key`)"), column_kind("PIN1"), column_kind("DB password"), column_kind("state")
    ('imsi', 'key', 'pin', 'password', None)
    """
    name = cell.strip(" \t#`\"'*")
    low = re.sub(r"(?:un)?hex\(|[`\"')(]", "", name.lower()).strip()
    words = set(re.split(r"[^a-z]+", low))
    for kind_of_value, names in _COLUMNS.items():
        if words & names and not ("key" in words and kind_of_value == "imsi"):
            return kind_of_value
    kind = secret_kind(low)
    if kind == "password" or (kind == "token" and "key" not in words):
        return kind
    last = low.rpartition("/")[2].strip()
    if is_key_name(low) or is_key_name(last) or last in ("op code", "opc code"):
        return "key"
    return "token" if kind else None


def fits_kind(kind: str, value: str) -> bool:
    """Whether a value can be what `column_kind` says of its name."""
    return _VALUES[kind].fullmatch(value) is not None


def header_of(line: str) -> Table | None:
    """The table that a line is the header of, if it is one."""
    if statement := _COPY.search(line):
        return _table("\t", statement[1].split(","), 0)
    if statement := _INSERT.search(line):
        return _table("sql", statement[1].split(","), 0)
    for separator in ("|", "\t", ";", ",", " "):
        cells = [line[start:end] for start, end in _cells(line, separator)]
        if len(cells) < 2:
            continue
        # A log prefix is part of the first cell.
        first = cells[0].rsplit(None, 1)[-1] if cells[0].strip() else ""
        names = [first, *cells[1:]]
        if len(cells) <= _MOST_CELLS and all(not cell.strip() or _is_name(cell) for cell in names[(separator == "|") :]):
            table = _table(separator, names, 2)
            return table if table and (separator != " " or len(cells) > 2 or all(table.kinds)) else None
    words = line.split()
    if 2 <= len(words) <= 16 and all(_is_name(word) for word in words):
        table = _table("words", words, 2)
        if table and sum(kind is not None for kind in table.kinds) >= 2:
            return table
    return None


def _is_name(cell: str) -> bool:
    return (
        _NAME.fullmatch(cell.strip()) is not None
        and len(cell.split()) <= 3
        and not _PROSE.search(cell)
        and cell.find("/") <= 12
    )


def _table(separator: str, names: Sequence[str], least: int) -> Table | None:
    kinds = tuple(column_kind(name) for name in names)
    named = sum(bool(name.strip()) for name in names)
    return Table(separator, kinds) if any(kinds) and named >= least else None


def _cells(line: str, separator: str) -> list[tuple[int, int]]:
    """Start and end of each cell of a line."""
    if separator == "sql":
        return _sql_cells(line)
    if separator == "words":
        return [match.span() for match in re.finditer(r"\S+", line)]
    if separator in ",;":
        return _csv_cells(line, separator)
    cuts = _BARS if separator == "|" else _GAP if separator == " " else re.compile(separator)
    cells, start = [], 0
    for cut in cuts.finditer(line):
        if separator != " " or line[start : cut.start()].strip():
            cells.append((start, cut.start()))
        start = cut.end()
    if separator != " " or line[start:].strip():
        cells.append((start, len(line)))
    return cells


def _csv_cells(line: str, separator: str) -> list[tuple[int, int]]:
    if separator not in line:
        return [(0, len(line))]
    cells, start, quote = [], 0, ""
    for position, sign in enumerate(line):
        if sign == separator and not quote:
            cells.append((start, position))
            start = position + 1
        elif sign == quote:
            quote = ""
        elif sign in "\"'" and not quote and not line[start:position].strip():
            quote = sign
    cells.append((start, len(line)))
    return cells


def _sql_cells(line: str) -> list[tuple[int, int]]:
    """The values of all rows in a line of an INSERT, one after another; none if it has no rows."""
    statement = _INSERT.search(line)
    position = statement.end() if statement else 0
    cells: list[tuple[int, int]] = []
    rest = re.compile(r"[\s,]*\(")
    while opening := rest.match(line, position):
        position = opening.end()
        while value := _SQL_VALUE.match(line, position):
            cells.append(value.span())
            position = value.end()
            if line[position : position + 1] != ",":
                break
            position += 1
            while line[position : position + 1] == " ":
                position += 1
        if line[position : position + 1] != ")":
            break
        position += 1
    return cells


def fits(table: Table, line: str) -> list[tuple[int, int, str]] | None:
    """The cells of a row that hold a secret or identity (start, end, kind); None if the line is no row of this table."""
    if _RULE_LINE.fullmatch(line) or not line.strip():
        return []
    cells = _cells(line, table.separator)
    if table.separator == "sql":
        if not cells or len(cells) % len(table.kinds):
            return None
    elif len(cells) != len(table.kinds):
        cells = [match.span() for match in re.finditer(r"\S+", line)] if table.separator == " " else []
        if len(cells) != len(table.kinds):
            return None
    found = []
    for number, (start, end) in enumerate(cells):
        kind = table.kinds[number % len(table.kinds)]
        if kind is not None and (span := _secret_in(line, start, end, kind, table.separator)):
            found.append((*span, "password" if kind == "pin" else kind))
    return found


def _secret_in(line: str, start: int, end: int, kind: str, separator: str) -> tuple[int, int] | None:
    """Where the value of a cell lies, without quotes and functions around it, if it can be what its column says."""
    while match := re.compile(r"[ \t\"'`*(]|(?:un)?hex\(|[xbe](?=')|[\w.]+\.(?=[0-9a-f]{16})", re.IGNORECASE).match(
        line, start, end
    ):
        start = match.end()
    while end > start and line[end - 1] in " \t\r\"'`*),;":
        end -= 1
    value = line[start:end]
    if not _VALUES[kind].fullmatch(value) or re.fullmatch(MARKER, value) or is_stand_in(value):
        return None
    if kind == "password" and (separator in (" ", "words") or " " in value) and not is_strong(value):
        return None
    if kind == "token" and not (any(sign.isdigit() for sign in value) or looks_random(value)):
        return None
    return start, end
