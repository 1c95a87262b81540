"""Redacted lines in, the same lines without secrets that an earlier line announces out: rows of tables, values below names.

These need a state, which a source keeps from batch to batch. It is a few words, whatever the log contains.
"""

import re
from typing import Final, NamedTuple

from stream_triage.stages.redact.names import is_key_near
from stream_triage.stages.redact.rule import MARKER, Mark, Trigger, triggers
from stream_triage.stages.redact.tables import (
    HEADER_REST,
    HEADER_WORDS,
    MOST_FOREIGN,
    NAME_WORDS,
    Table,
    column_kind,
    fits,
    header_of,
)
from stream_triage.stages.redact.values import is_path, is_stand_in, is_strong

__all__ = ["CONTEXT_TRIGGERS", "Announced", "ContextState", "next_line"]

_NAME_END: Final = (
    r"[a-z0-9_.-]{0,32}[\"'\])>]{0,3}(?:[ ]\{)?[ \t]{0,4}(?:[:=][ \t]{0,4}(?:[|>][+-]?)?)?[ \t'\",]{0,4}\r?(?=\n|\Z)"
)
CONTEXT_TRIGGERS: Final = (
    *triggers(*HEADER_WORDS, rest=HEADER_REST),
    *triggers("| k |", "|k|", ",k,", ";k;", "\tk\t", "| ki", "|ki|", ",ki", ";ki", "\tki", " ki "),
    *triggers(*NAME_WORDS, rest=_NAME_END),
    *triggers("key", "opc", "kasme", "kausf", "kamf", "kgnb", "krrc", "knas", rest=r"[^\n]{0,32}\r?(?=\n|\Z)"),
    *triggers("cimi", "ccid", "gsn", "cnum", rest=r"[^\n]{0,8}\r?(?=\n|\Z)"),
    Trigger("values", r"[ \t]{0,4}(?:\(|\r?(?=\n|\Z))"),
    Trigger("from stdin"),
    Trigger("auth login"),
    Trigger("pass", r"[a-z ]{0,64}:[ \t]{0,4}\r?(?=\n|\Z)"),
)
"""A line that announces something contains one of these, or the marker of a subscriber."""

_PAIR_NAME: Final = re.compile(
    r"(?:^|[\s\"'{,-])(?:name|key|id)[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?"
    r"(?P<n>[A-Za-z0-9_.:-]{1,64})[\"']?[ \t]{0,2},?[ \t]{0,4}\r?\Z"
    r"|^[ \t]{0,8}(?:variable|output)[ ]\"(?P<h>[A-Za-z0-9_-]{1,64})\"[ ]\{[ ]?\r?\Z",
    re.IGNORECASE | re.ASCII,
)
_PAIR_VALUE: Final = re.compile(
    r"(?:^|[\s\"'{,])(?:value|val|data|content|default)[\"']?[ \t]{0,4}[:=][ \t]{0,4}(?P<q>[\"'])?"
    r"(?P<v>(?(q)[^\"'\n]{1,4096}|[^\s\"',]{1,4096}))",
    re.IGNORECASE | re.ASCII,
)
_LONE_NAME: Final = re.compile(
    r"(?<![A-Za-z0-9_:.-])(?P<n>(?:[A-Za-z][A-Za-z0-9_.-]{0,31}[ ]){0,2}(?P<w>[A-Za-z0-9_.-]{1,64}))"
    r"[\"'\])]{0,3}[ \t]{0,4}[:=][ \t]{0,4}(?P<b>[|>][+-]?)?[ \t'\"]{0,4}\r?\Z",
    re.ASCII,
)
_ELEMENT: Final = re.compile(r"<(?P<n>[A-Za-z][A-Za-z0-9_.:-]{0,63})>[ \t]{0,4}\r?\Z", re.ASCII)
_LONE_VALUE: Final = re.compile(r"(?:^|[\s|>\]])(?P<q>[\"'])?(?P<v>[^\s\"'<>]{4,4096})(?(q)(?P=q))[ \t,;]{0,4}\r?\Z")
_ASKED: Final = re.compile(r"\b(?:password|passphrase|passcode)\b[a-z ]{1,64}:[ \t]{0,4}\r?\Z", re.IGNORECASE | re.ASCII)
_BASE64: Final = re.compile(
    r"[^A-Za-z]{0,40}(?:C:|>{1,2}|<{1,2})?[ \t]{0,4}(?P<v>[A-Za-z0-9+/]{4,512}={0,2})\r?\Z", re.ASCII
)
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}:[0-9]{2}:")
_INDENT: Final = re.compile(r"[ \t]*")
_MODEM: Final = re.compile(r"at\+(?P<n>cimi|q?ccid|c?gsn)[^a-z0-9]{0,8}\r?\Z", re.IGNORECASE | re.ASCII)
_MODEM_KINDS: Final = {"cimi": "imsi", "ccid": "iccid", "qccid": "iccid", "gsn": "imei", "cgsn": "imei"}
# Nothing but a key on its line, perhaps with the offset that a dump puts in front of it.
_BYTES_LINE: Final = re.compile(
    r"[ \t|]*(?:[0-9a-f]{4,8}:[ \t]+)?(?P<v>(?:0x)?[0-9a-f]{2}(?:[ \t:][ \t]?(?:0x)?[0-9a-f]{2}){15,31}"
    r"|[0-9a-f]{4}(?: [0-9a-f]{4}){7,15}"
    r"|[0-9a-f]{8}(?: [0-9a-f]{8}){3,7})(?![0-9a-z])(?:[ \t]{1,8}[^\n]{0,40})?\r?\Z",
    re.IGNORECASE | re.ASCII,
)
# Lines between `name: X` and its value, and of a login that goes back and forth.
_PAIR_LINES: Final = 3
_LOGIN_LINES: Final = 6
# Lines behind the line of a subscriber that may be nothing but a key; lines between a question and its answer.
_RECORD_LINES: Final = 3
# A longer line that speaks of a key is no title of the next one.
_MOST_TITLE: Final = 160
# A longer line is not a key alone.
_MOST_RECORD: Final = 512
_ANSWER_LINES: Final = 2


class Announced(NamedTuple):
    """What one line said about the next: the kind of value, in which form, and for how many lines it holds."""

    kind: str
    form: str
    lines: int
    indent: int = 0
    prefix: str = ""
    """The shape of the text before the name: time stamp, level."""


class ContextState(NamedTuple):
    """What a source keeps between lines: the table that it is in, and what the last line announced."""

    table: Table | None = None
    announced: Announced | None = None

    @property
    def open(self) -> bool:
        """Whether the next line may be part of something that began earlier."""
        return self.table is not None or self.announced is not None


def next_line(line: str, state: ContextState, mark: Mark, announcing: bool) -> tuple[str, ContextState]:
    """One line, and the state behind it.

    Both depend on nothing but the line, which the rules have passed, and the state before it. `announcing` says whether the
    line contains one of the triggers; a line without them is no header and announces nothing.
    """
    table = header_of(line) if announcing else None
    if table is not None:
        return _row(line, table, mark)[0] if table.separator == "sql" else line, ContextState(table)
    announced = _announced_by(line) if announcing else None
    if state.announced is not None and announced is None:
        line, left = _value(line, state.announced, mark)
        announced = left
    table = state.table
    if table is not None:
        line, table = _row(line, table, mark)
    return line, ContextState(table, announced)


def _row(line: str, table: Table, mark: Mark) -> tuple[str, Table | None]:
    found = fits(table, line)
    if found is None:
        return line, table._replace(foreign=table.foreign + 1) if table.foreign < MOST_FOREIGN else None
    return _replaced(line, found, mark), table._replace(foreign=0)


def _replaced(line: str, found: list[tuple[int, int, str]], mark: Mark) -> str:
    pieces: list[str] = []
    done = 0
    for start, end, kind in found:
        pieces += (line[done:start], mark(kind, line[start:end]))
        done = end
    return "".join([*pieces, line[done:]])


def _announced_by(line: str) -> Announced | None:
    """What a line that ends with a name announces."""
    return _by_name(line) or _by_dialogue(line) or _by_subject(line)


def _by_name(line: str) -> Announced | None:
    """A name with nothing behind it: of a pair, on a line of its own, or as an XML element."""
    indent = len(_INDENT.match(line)[0])  # type: ignore[index]
    if pair := _PAIR_NAME.search(line):
        kind = column_kind(pair["n"] or pair["h"])
        is_form = "form-data" in line.lower()
        return Announced(kind, "answer" if is_form else "pair", _ANSWER_LINES if is_form else _PAIR_LINES) if kind else None
    lone = _LONE_NAME.search(line)
    if lone and (kind := column_kind(lone["n"])):
        return Announced(kind, "block" if lone["b"] else "lone", _ANSWER_LINES, indent, _shape(line[: lone.start("w")]))
    element = _ELEMENT.search(line)
    if element and not re.fullmatch(MARKER, element[0].strip()) and (kind := column_kind(element["n"])):
        return Announced(kind, "lone", _ANSWER_LINES, indent)
    return None


def _by_dialogue(line: str) -> Announced | None:
    """A question of a program, whose answer follows. A pair whose name is no secret asks nothing."""
    if _PAIR_NAME.search(line):
        return None
    if line.rstrip().lower().endswith("auth login"):
        return Announced("token", "login", _LOGIN_LINES)
    if _ASKED.search(line):
        return Announced("password", "answer", _ANSWER_LINES)
    if modem := _MODEM.search(line):
        return Announced(_MODEM_KINDS[modem["n"].lower()], "answer", _ANSWER_LINES)
    return None


def _by_subject(line: str) -> Announced | None:
    """A line about a subscriber, or the title of a key; the key may stand alone on the next lines."""
    if _PAIR_NAME.search(line):
        return None
    if "<imsi" in line:
        return Announced("key", "record", _RECORD_LINES)
    is_title = len(line) < _MOST_TITLE and "<" not in line
    if is_title and is_key_near(line.rstrip().removesuffix(".bin").removesuffix(".hex") + " "):
        return Announced("key", "record", 1)
    return None


def _value(  # noqa: PLR0911 - one return for each form
    line: str, announced: Announced, mark: Mark
) -> tuple[str, Announced | None]:
    """The line without the announced value, and what is still announced; a marker is taken for the value."""
    left = announced._replace(lines=announced.lines - 1) if announced.lines > 1 else None
    if announced.form == "login":
        match = _BASE64.match(line)
        return (
            (_cut(line, match, announced.kind, mark), left)
            if match and not line.lstrip().startswith("334")
            else (line, left)
        )
    if re.search(MARKER, line):
        return line, left if announced.form == "record" else None
    if (announced.form == "record" or announced.kind == "key") and len(line) > _MOST_RECORD:
        return line, left
    if announced.form == "record" and (dump := _BYTES_LINE.match(line)):
        return _cut(line, dump, announced.kind, mark), left
    match = (_PAIR_VALUE if announced.form == "pair" else _LONE_VALUE).search(line)
    if announced.form in ("lone", "block") and line.strip():
        left = None
    if match is None or not _can_be(match["v"], announced, len(_INDENT.match(line)[0])):  # type: ignore[index]
        return line, left
    if announced.form in ("record", "answer") and line[: match.start("v")].strip():
        return line, left
    if (
        announced.form in ("lone", "block")
        and not match["q"]
        and _shape(line[: match.start("v")]) not in ("", announced.prefix)
    ):
        return line, left
    return _cut(line, match, announced.kind, mark), left if announced.form == "record" else None


def _cut(line: str, match: re.Match[str], kind: str, mark: Mark) -> str:
    return line[: match.start("v")] + mark("password" if kind == "pin" else kind, match["v"]) + line[match.end("v") :]


def _can_be(value: str, announced: Announced, indent: int) -> bool:
    if is_stand_in(value) or is_path(value) or value.endswith(":"):
        return False
    if announced.kind == "pin":
        return bool(re.fullmatch(r"[0-9]{4,8}|[0-9A-Fa-f]{16}", value))
    if announced.kind in ("key", "imsi", "imei", "msisdn", "iccid"):
        return _looks_like(announced.kind, value)
    if announced.form in ("pair", "block") or indent > announced.indent:
        return announced.kind == "password" or len(value) >= 5
    return is_strong(value) and value[0] not in "#[({-" and not _TIME.match(value)


def _shape(prefix: str) -> str:
    """What stands before a name or value, with all numbers equal; a short one is kept as it is in the state."""
    return re.sub(r"[0-9]+", "0", prefix[-100:]).strip()


def _looks_like(kind: str, value: str) -> bool:
    if kind == "key":
        return bool(re.fullmatch(r"(?:0x)?[0-9A-Fa-f]{32,128}|[A-Za-z0-9+/]{22}==|[A-Za-z0-9+/]{43}=", value))
    return bool(re.fullmatch(r"\+?[0-9-]{5,22}[Ff]?", value))
