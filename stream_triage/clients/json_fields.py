"""JSON objects as shippers make them, in messages and in indices: fields by their names, as text."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["LABELS", "as_text", "look_up"]

# Labels of a run that objects may carry as fields of these names.
LABELS = ("test.case.name", "test.suite.name", "test.case.result.status", "service.version", "testbed")


def look_up(fields: Mapping[str, Any], path: str) -> Any:
    """By the whole name first, then by its dots: senders flatten names or nest them.

    >>> look_up({"log": {"text": "a"}}, "log.text"), look_up({"log.text": "b"}, "log.text")
    ('a', 'b')
    """
    if path in fields:
        return fields[path]
    found: Any = fields
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def as_text(value: Any) -> str:
    """JSON may hold half characters, which no sink could write.

    >>> as_text("a\\ud800"), as_text(1), as_text(None)
    ('a?', '1', '')
    """
    if value is None:
        return ""
    return value.encode(errors="replace").decode() if isinstance(value, str) else json.dumps(value)
