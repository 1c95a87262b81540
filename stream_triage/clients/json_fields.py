"""JSON objects from log shippers, in messages and in indices: field names in, values as text out."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["LABELS", "as_text", "look_up"]

# Labels of a run that objects may have as fields with these names.
LABELS = ("test.case.name", "test.suite.name", "test.case.result.status", "service.version", "testbed")


def look_up(fields: Mapping[str, Any], path: str) -> Any:
    """The value of a field, None if it is missing. Shippers flatten names with dots or nest objects; both are read.

    >>> look_up({"log": {"text": "a"}}, "log.text"), look_up({"log.text": "b"}, "log.text")
    ('a', 'b')
    """
    if path in fields:
        return fields[path]
    value: Any = fields
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def as_text(value: Any) -> str:
    r"""The value as text, as JSON if it is not a string. Lone surrogates, which no sink could write, become `?`.

    >>> as_text("a\ud800"), as_text(1), as_text(None)
    ('a?', '1', '')
    """
    if value is None:
        return ""
    return value.encode(errors="replace").decode() if isinstance(value, str) else json.dumps(value)
