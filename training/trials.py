"""Rows of finished trials, one JSON object a line: an interrupted comparison continues after its last row."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["append_trial", "is_done", "read_trials"]


def read_trials(path: Path) -> list[dict[str, Any]]:
    """All rows of the file; none if it does not exist."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def is_done(path: Path, identity: Mapping[str, Any]) -> bool:
    """Whether some row of the file has all the values of `identity`."""
    return any(identity.items() <= row.items() for row in read_trials(path))


def append_trial(path: Path, row: Mapping[str, Any]) -> None:
    """Appends a row in a single write, so that two comparisons can share a file."""
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(row).encode() + b"\n")
