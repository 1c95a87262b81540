"""Rows of finished trainings, one JSON object a line: a comparison that was interrupted goes on behind its last row."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["append_trial", "is_done", "read_trials"]


def read_trials(path: Path) -> list[dict[str, Any]]:
    """No rows where the file is not there yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def is_done(path: Path, identity: Mapping[str, Any]) -> bool:
    """Whether a row of the file agrees with all of `identity`."""
    return any(identity.items() <= row.items() for row in read_trials(path))


def append_trial(path: Path, row: Mapping[str, Any]) -> None:
    """In one write, so that two comparisons may share a file."""
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(row).encode() + b"\n")
