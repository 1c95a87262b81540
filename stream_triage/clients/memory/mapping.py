"""Fields of an index in memory: the JSON of a document in, values typed by the mapping out, as OpenSearch types them."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

__all__ = ["DATES", "FieldMappings", "RequestError", "merged", "parse_date"]

DATES: Final = ("date", "date_nanos")
MAX_KEYWORD_BYTES: Final = 32_766
DYNAMIC_KEYWORD_CHARACTERS: Final = 256
_DATE: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?(Z|[+-]\d\d:?\d\d)?)?)?)?"
)


class RequestError(Exception):
    """A request or document that OpenSearch does not take, with the status and error of its response.

    The error is a type and a reason, or a text where `kind` is empty.
    """

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.status = status
        self.error = {"type": kind, "reason": reason} if kind else reason


class FieldMappings:
    """The fields of an index. Grows with the documents, unless the mapping has `"dynamic": false`.

    Nested objects, and objects that are not enabled, are stored and never searched.

    Attributes:
        definition: The mapping as requests show it.
        types: By full name of a field, sub-fields such as `run.id.keyword` included, its part of the mapping.
    """

    def __init__(self, definition: Mapping[str, Any]) -> None:
        self.definition: dict[str, Any] = {"properties": {}, **copy.deepcopy(dict(definition))}
        self.types: dict[str, dict[str, Any]] = {}
        self._dynamic = str(self.definition.get("dynamic", True)).lower() != "false"
        self._objects: set[str] = set()
        self._unsearched: set[str] = set()
        self._read(self.definition["properties"])

    def add(self, properties: Mapping[str, Any]) -> None:
        """Adds fields. Raises `RequestError` where a field has another type already."""
        for name, about in FieldMappings({"properties": properties}).types.items():
            known = self.types.get(name, about)["type"]
            if known != about["type"]:
                reason = f"mapper [{name}] cannot be changed from type [{known}] to [{about['type']}]"
                raise RequestError(400, "illegal_argument_exception", reason)
        self.definition["properties"] = merged(self.definition["properties"], properties)
        self._read(properties)

    def values(self, source: Mapping[str, Any], name: str) -> dict[str, list[Any]]:
        """What searches compare, by full name of a field; dates are nanoseconds since 1970.

        Raises:
            RequestError: A value does not fit the type of its field. `name` is the document's id for the message.
        """
        values: dict[str, list[Any]] = {}
        for path, value in self._leaves(source, ""):
            if path in self._objects:
                reason = f"object mapping for [{path}] tried to parse field [{path}] as object, but found a concrete value"
                raise RequestError(400, "mapper_parsing_exception", reason)
            if path not in self.types:
                if not self._dynamic:
                    continue
                self._add_dynamically(path, value)
            about = self.types[path]
            for field, kind in ((path, about), *((f"{path}.{sub}", sub_kind) for sub, sub_kind in _sub_fields(about))):
                values.setdefault(field, []).extend(_typed(value, kind, field, name))
        return {field: typed for field, typed in values.items() if typed}

    def _read(self, properties: Mapping[str, Any], above: str = "") -> None:
        for name, about in properties.items():
            path = f"{above}{name}"
            if about.get("type") == "nested" or about.get("enabled") is False:
                self._unsearched.add(path)
            elif "properties" in about or about.get("type") == "object":
                self._objects.add(path)
                self._read(about.get("properties", {}), f"{path}.")
            else:
                self.types[path] = about
                self.types |= {f"{path}.{sub}": kind for sub, kind in _sub_fields(about)}

    def _leaves(self, value: Any, path: str) -> Iterator[tuple[str, Any]]:
        """Values by full name; a name with dots is the same as objects within each other."""
        if path in self._unsearched or value is None:
            return
        if isinstance(value, list):
            for item in value:
                yield from self._leaves(item, path)
        elif isinstance(value, Mapping) and path not in self.types:
            for name, item in value.items():
                yield from self._leaves(item, f"{path}.{name}" if path else name)
        else:
            yield path, value

    def _add_dynamically(self, path: str, value: Any) -> None:
        *above, last = path.split(".")
        properties = {last: _guess(value)}
        for name in reversed(above):
            properties = {name: {"properties": properties}}
        self.add(properties)


def parse_date(text: str) -> int:
    """Nanoseconds since 1970 of a date in ISO 8601, or of a number of milliseconds. Raises `ValueError`.

    >>> parse_date("1970-01-01T00:00:00.000000001Z"), parse_date("1970-01-02"), parse_date("86400000")
    (1, 86400000000000, 86400000000000)
    """
    match = _DATE.fullmatch(text)
    if match is None:
        return int(text) * 1_000_000
    *parts, fraction, zone = match.groups()
    year, month, day, hour, minute, second = (
        int(part) if part else least for part, least in zip(parts, (1, 1, 1, 0, 0, 0), strict=True)
    )
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    if zone and zone != "Z":
        moment = datetime.fromisoformat(f"{moment:%Y-%m-%dT%H:%M:%S}{zone}")
    return int(moment.timestamp()) * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both objects with the members of both; `other` wins where they disagree."""
    both = {name for name in one.keys() & other.keys() if isinstance(one[name], dict) and isinstance(other[name], dict)}
    return {**one, **other, **{name: merged(one[name], other[name]) for name in both}}


def _sub_fields(about: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(about.get("fields", {}).items())


def _guess(value: Any) -> dict[str, Any]:
    """The mapping that OpenSearch gives a field which no mapping names."""
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "long"}
    if isinstance(value, float):
        return {"type": "float"}
    if _DATE.fullmatch(value) and len(value) > len("2026"):
        return {"type": "date"}
    return {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": DYNAMIC_KEYWORD_CHARACTERS}}}


def _typed(value: Any, about: Mapping[str, Any], path: str, name: str) -> list[Any]:
    kind = about["type"]
    try:
        if isinstance(value, Mapping):
            raise ValueError("an object, not a concrete value")
        return _PARSERS[kind](value, about)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"failed to parse field [{path}] of type [{kind}] in document with id '{name}': {error}"
        raise RequestError(400, "mapper_parsing_exception", reason) from None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _keyword(value: Any, about: Mapping[str, Any]) -> list[Any]:
    text = _text(value)
    if not (about.get("index", True) or about.get("doc_values", True)) or len(text) > about.get("ignore_above", len(text)):
        return []
    if len(text.encode(errors="replace")) > MAX_KEYWORD_BYTES:
        raise ValueError("Document contains at least one immense term")
    return [text]


def _date(value: Any, about: Mapping[str, Any]) -> list[Any]:
    moment = value * 1_000_000 if isinstance(value, int) else parse_date(value)
    return [moment if about["type"] == "date_nanos" else moment // 1_000_000 * 1_000_000]


def _integer(bits: int, value: Any, about: Mapping[str, Any]) -> list[Any]:
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a number")
    number = int(value if isinstance(value, int) else float(value))
    if not -(2**bits) <= number < 2**bits:
        raise ValueError(f"Value [{value}] is out of range for a {about['type']}")
    return [number]


_PARSERS: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], list[Any]]]] = {
    "boolean": lambda value, about: [{"true": True, "false": False, "": False}[_text(value)]],
    "byte": partial(_integer, 7),
    "date": _date,
    "date_nanos": _date,
    "float": lambda value, about: [float(value)],
    "integer": partial(_integer, 31),
    "keyword": _keyword,
    "long": partial(_integer, 63),
    "short": partial(_integer, 15),
    "text": lambda value, about: re.findall(r"\w+", _text(value).lower()),
}
