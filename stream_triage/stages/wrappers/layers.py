"""One wrapper fitted to the lines of a source: a line in; its prefix, its body and who wrote it out."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

from stream_triage.escapes import LOST_ESCAPE, without_escapes
from stream_triage.stages.wrappers.formats import JSON_FORMAT, NO_SERVICE, STAMPS, Format

__all__ = [
    "ColourLayer",
    "JsonLayer",
    "Layer",
    "PatternLayer",
    "Split",
    "fit_colours",
    "fit_json",
    "fit_logfmt",
    "fit_pattern",
    "indent_of",
    "indentation",
    "json_lead",
]

# Formats are searched at the beginning of a line only; what is longer is no prefix.
MOST_PREFIX: Final = 4096
# Text before a JSON object is at most so long.
MOST_LEAD: Final = 256
# Fields of a JSON object, and of the objects in it, that may hold the text.
_MOST_FIELDS: Final = 24
# The longest of them are tried.
_TRIED_FIELDS: Final = 5
_TIME_FIELDS: Final = ("time", "@timestamp", "timestamp", "ts", "date", "asctime", "__REALTIME_TIMESTAMP", "datetime", "t")
_SERVICE_FIELDS: Final = (
    "service",
    "com.docker.compose.service",
    "container_name",
    "container",
    "pod_name",
    "pod",
    "SYSLOG_IDENTIFIER",
    "app",
    "application",
    "source",
)


class Split(NamedTuple):
    """A line, split. `open`: the next line of the same stream continues it; `more`: it continues the line before."""

    prefix: str
    body: str
    service: str = ""
    stream: str = ""
    open: bool = False
    more: bool = False
    mark: bool = False


class Layer(Protocol):
    """One wrapper of a source."""

    kind: Format
    joins: bool
    """Whether it cuts lines into partial lines."""
    looks_ahead: bool
    """Whether only the next line says that a line goes on."""

    def split(self, line: str) -> Split | None:
        """The parts of a line; None for a line that does not have this wrapper."""

    def shown_body(self, shown: str) -> str:
        """The body of a line as it is shown: after its prefix."""


class PatternLayer:
    """A prefix that a pattern describes, and `blanks` blanks behind it (None: all that there are).

    With `width`, a level and the blanks behind it are so many characters together.
    """

    def __init__(
        self,
        kind: Format,
        pattern: re.Pattern[str],
        blanks: int | None,
        services: bool,
        hosts: bool,
        *,
        width: int | None = None,
    ) -> None:
        self.kind = kind
        self._match = pattern.match
        self._mark = re.compile(kind.marks).match if kind.marks else None
        self._blanks = blanks
        self._width = width
        # rsyslog writes a tab that it received as its octal code.
        self._tab = "#011" if kind.setting == "syslog" else ""
        self._services = services
        self._hosts = hosts
        self._groups = frozenset(pattern.groupindex)
        self.joins = not self._groups.isdisjoint(("open", "more"))
        self.looks_ahead = "more" in self._groups

    def split(self, line: str) -> Split | None:
        """See `Layer`."""
        match = self._match(line, 0, MOST_PREFIX)
        if match is None:
            return None
        blanks = self._blanks
        if self._width is not None and match["level"]:
            blanks = max(1, self._width - len(match["level"]))
        end = self._end(line, match.end(), blanks)
        body = line[end:]
        if self._tab and self._tab in body:
            body = body.replace(self._tab, "\t")
        if not self._groups and self._mark is None:
            return Split(line[:end], body)
        groups = match.groupdict()
        service = (groups.get("service") or groups.get("service2") or "") if self._services else ""
        if self._hosts and service:
            service = f"{groups['host']}/{service}"
        return Split(
            line[:end],
            body,
            re.sub(r"[ ›|>]+", "/", service) if " " in service else service,
            groups.get("stream") or "",
            groups.get("open") is not None,
            groups.get("more") is not None,
            self._mark is not None and self._mark(body) is not None,
        )

    def shown_body(self, shown: str) -> str:
        """See `Layer`."""
        split = self.split(shown)
        return split.body if split else shown

    @staticmethod
    def _end(line: str, end: int, blanks: int | None) -> int:
        limit = len(line) if blanks is None else min(len(line), end + blanks)
        while end < limit and line[end] in " \t":
            end += 1
        return end


class ColourLayer:
    """Colours whose escape character is lost; they may be anywhere in a line."""

    kind = Format("colours", "colours", "")
    joins = looks_ahead = False

    def split(self, line: str) -> Split | None:
        """See `Layer`."""
        return Split("", LOST_ESCAPE.sub("", line))

    def shown_body(self, shown: str) -> str:
        """See `Layer`."""
        return LOST_ESCAPE.sub("", shown)


class JsonLayer:
    """An object of JSON on each line, behind `lead` words, with the text in one of its fields."""

    def __init__(
        self,
        kind: Format,
        field: tuple[str, ...],
        ends: bool,
        time: tuple[str, ...],
        service: tuple[str, ...],
        *,
        lead: int = 0,
    ) -> None:
        self.kind = kind
        self._field = field
        self._ends = self.joins = ends
        self.looks_ahead = False
        self._time = time
        self._service = service
        self._lead = lead
        words = lead + bool(time)
        self._shown_prefix = re.compile(rf"(?:[^ \t]{{1,256}}[ \t]{{1,64}}){{{max(words - 1, 0)}}}[^ \t]{{1,256}}[ \t]")

    def split(self, line: str) -> Split | None:
        """See `Layer`."""
        start = _json_start(line, self._lead)
        record = _record(line[start:]) if start is not None else None
        if record is None:
            return None
        text = _value(record, self._field)
        if not isinstance(text, str):
            return None
        open_ = self._ends and not text.endswith("\n")
        service = _one_line(str(_value(record, self._service) or "")) if self._service else ""
        time = _one_line(str(_value(record, self._time) or "")) if self._time else ""
        return Split(
            line[:start] + (f"{time} " if time else ""), _one_line(text), service, str(record.get("stream", "")), open_
        )

    def shown_body(self, shown: str) -> str:
        """See `Layer`."""
        return self._shown_prefix.sub("", shown, count=1) if self._lead else shown.partition(" ")[2] if self._time else shown


class LogfmtLayer:
    """Pairs of name and value on each line, with the text as the value of `msg` or the like."""

    kind = Format("logfmt", "logger", "")
    joins = looks_ahead = False

    def split(self, line: str) -> Split | None:
        """See `Layer`."""
        match = _LOGFMT.match(line, 0, MOST_PREFIX)
        text = _QUOTED.match(line, match.end()) if match else None
        if match is None or text is None:
            return None
        try:
            body = json.loads(text[0]) if text[0].startswith('"') else text[0]
        except ValueError:
            return None
        rest = line[text.end() :].strip()
        return Split(line[: match.start("name")] + (f"{rest} " if rest else ""), _one_line(body))

    def shown_body(self, shown: str) -> str:
        """See `Layer`."""
        return _PAIRS.sub("", shown, count=1)


_PAIR = r'[A-Za-z_@][\w.@-]{0,63}=(?:"(?:[^"\\\n]|\\.){0,1024}+"|[^" ]{0,256})[ ]'
_LOGFMT: Final = re.compile(rf"(?:{_PAIR}){{0,32}}?(?P<name>(?:msg|message|log|text|event|line)=)")
_PAIRS: Final = re.compile(rf"(?:{_PAIR}){{1,64}}+")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*+"(?=[ ]|$)|[^" ]+(?=[ ]|$)')


def fit_logfmt(lines: Sequence[str]) -> tuple[Layer, int] | None:
    """A layer for pairs of name and value, if lines have some."""
    layer = LogfmtLayer()
    count = sum(1 for line in lines if layer.split(line))
    return (layer, count) if count else None


def indent_of(lines: Sequence[str]) -> int:
    """The blanks at the beginning that all lines with text have."""
    return min((len(line) - len(line.lstrip(" \t")) for line in lines if line.strip()), default=0)


def indentation(blanks: int) -> Layer:
    """A layer for lines that all begin with so many blanks."""
    pattern = re.compile(rf"(?=[ \t]{{{blanks}}})")
    return PatternLayer(Format("indentation", "auto", ""), pattern, blanks, services=False, hosts=False)


def fit_pattern(
    kind: Format,
    lines: Sequence[str],
    all_blanks: bool = False,
    pattern: re.Pattern[str] | None = None,
    *,
    late: bool = False,
) -> tuple[Layer, int] | None:
    """The format fitted to lines with text, and how many of them have it; None if none has.

    The blanks behind the prefix are counted: the fewest of all lines belong to the prefix, the others to the text. Of `late`
    lines, which may all be from a table, more than two blanks are taken for an indentation of the text.
    """
    pattern = pattern or _compiled(kind)
    matches = [(line, match) for line in lines if (match := pattern.match(line, 0, MOST_PREFIX))]
    if not matches:
        return None
    blanks = indent_of([line[match.end() :] for line, match in matches])
    blanks = 1 if late and blanks > 2 else blanks
    hosts, names = set(), set()
    if "service" in pattern.groupindex:
        hosts = {match["host"] for _, match in matches} if "host" in pattern.groupindex else set()
        groups = [group for group in ("service", "service2") if group in pattern.groupindex]
        names = {match[group] for _, match in matches for group in groups if match[group]}
    # A name that hardly ever comes again is an id or an address.
    few = 3 * len(names) <= len(matches) + 3
    several = (len(names) > 1 or len(hosts) > 1) and few and not any(NO_SERVICE.fullmatch(name) for name in names)
    services = kind.services == "always" or (kind.services == "several" and several)
    width = _level_width(matches) if "level" in pattern.groupindex else None
    return PatternLayer(kind, pattern, None if all_blanks else blanks, services, len(hosts) > 1, width=width), len(matches)


def _level_width(matches: Sequence[tuple[str, re.Match[str]]]) -> int | None:
    """The width to which levels are padded; None if the blanks behind them do not depend on the level."""
    widths: dict[str, int] = {}
    for line, match in matches:
        level, rest = match["level"], line[match.end() :]
        if level and match.end() == match.end("level") and rest.strip():
            width = len(level) + len(rest) - len(rest.lstrip(" "))
            widths[level] = min(width, widths.get(level, width))
    return widths.popitem()[1] if len(widths) > 1 and len(set(widths.values())) == 1 else None


def fit_colours(lines: Sequence[str]) -> tuple[Layer, int] | None:
    """A layer for colours without escape character, if lines have some."""
    count = sum(1 for line in lines if LOST_ESCAPE.search(line))
    return (ColourLayer(), len(lines)) if count else None


def fit_json(lines: Sequence[str], lead: int = 0) -> list[tuple[Layer, int]]:
    """A layer for each field of JSON lines that may hold the text, docker's first, and how many lines have it.

    The objects stand behind `lead` words.
    """
    starts = [(line, _json_start(line, lead)) for line in lines]
    records = [record for line, start in starts if start is not None and (record := _record(line[start:]))]
    paths, characters = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for record in records:
        for path in _text_fields(record):
            paths[path] += 1
            characters[path] += len(_value(record, path))
    several = {path for path in paths if len({str(_value(record, path)) for record in records}) > 1}
    time = next((path for name in _TIME_FIELDS for path in _all_fields(records) if path[-1] == name), ())
    service = next((path for name in _SERVICE_FIELDS for path in several if path[-1] == name), ())
    docker = bool(records) and all({"log", "stream", "time"} <= set(record) for record in records)
    layers: list[tuple[Layer, int]] = []
    longest = sorted(paths, key=lambda path: (-characters[path], path))[:_TRIED_FIELDS]
    for path, count in ((path, paths[path]) for path in sorted(longest, key=lambda path: path[-1] != "log")):
        if path in (time, service):
            continue
        ended = sum(1 for record in records if str(_value(record, path) or "").endswith("\n"))
        is_docker = docker and path == ("log",)
        kind = JSON_FORMAT if is_docker else Format("JSON lines", JSON_FORMAT.setting, "", services="several")
        layers.append(
            (JsonLayer(kind, path, ended > 0 if is_docker else 2 * ended >= count, time, service, lead=lead), count)
        )
    return layers


def json_lead(lines: Sequence[str]) -> int:
    """Number of words before the objects of JSON on most of the lines; 0 if there are none."""
    words = Counter(len(line[:start].split()) for line in lines if (start := line.find(' {"', 0, MOST_LEAD)) >= 0)
    words.update(len(line[:start].split()) for line in lines if (start := line.find('\t{"', 0, MOST_LEAD)) >= 0)
    return words.most_common(1)[0][0] if words else 0


def _json_start(line: str, lead: int) -> int | None:
    """Where the object begins; None if it does not stand behind so many words."""
    start = line.find("{", 0, MOST_LEAD)
    if start < 0 or (start > 0 and line[start - 1] not in " \t"):
        return None
    return start if len(line[:start].split()) == lead and (lead or not start) else None


def _record(line: str) -> dict[str, Any] | None:
    if not line.startswith("{") or not line.rstrip().endswith("}"):
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _all_fields(records: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The first fields of the records, also one level down."""
    paths: dict[tuple[str, ...], None] = {}
    for record in records:
        for name, value in islice(record.items(), _MOST_FIELDS):
            paths[(name,)] = None
            if isinstance(value, dict):
                paths.update(dict.fromkeys((name, inner) for inner in islice(value, _MOST_FIELDS)))
    return list(paths)


def _text_fields(record: dict[str, Any]) -> list[tuple[str, ...]]:
    return [path for path in _all_fields([record]) if isinstance(_value(record, path), str)]


def _value(record: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = record
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _one_line(text: str) -> str:
    """Text of a record as one line: an end of line inside becomes a blank, NUL stays visible."""
    text = text.removesuffix("\n").removesuffix("\r").replace("\0", "␀")
    text = re.sub(r"\r\n|[\r\n]", " ", text) if "\n" in text or "\r" in text else text
    text = without_escapes(text) if "\x1b" in text or "\x9b" in text else text
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


_patterns: dict[str, re.Pattern[str]] = {}


def _compiled(kind: Format) -> re.Pattern[str]:
    pattern = _patterns.get(kind.pattern)
    if pattern is None:
        pattern = _patterns[kind.pattern] = re.compile(kind.pattern, re.ASCII)
    return pattern


STAMP_FORMATS: Final = tuple(Format("own time stamps", "timestamps", stamp) for stamp in STAMPS)
