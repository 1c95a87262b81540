"""Every error that the product raises on purpose. Messages state what is wrong and what to do about it.

StreamTriageError
├── SettingsError    a setting, rule or pattern that cannot work
├── BundleError      a model bundle that cannot be trusted or read
├── InputError       input that cannot be read at all
└── StoreError       a verdict or text that cannot be stored or read, or a server that cannot be used
    └── RunNotFound  an id that stands for no run, or for several
"""

import traceback
from pathlib import Path

__all__ = [
    "BundleError",
    "InputError",
    "RunNotFound",
    "SettingsError",
    "StoreError",
    "StreamTriageError",
    "internal_error_text",
]


class StreamTriageError(Exception):
    """Any error that is raised on purpose; another exception is a bug."""


class SettingsError(StreamTriageError):
    """A setting, rule or pattern that cannot work; the message names it and the remedy."""


class BundleError(StreamTriageError):
    """A model bundle that is missing, damaged or made for another version."""


class InputError(StreamTriageError):
    """Input that cannot be read at all, or too much of which is rejected."""


class StoreError(StreamTriageError):
    """A verdict or a run's text that cannot be stored or read, or a server that cannot be used; trying again may help."""


class RunNotFound(StoreError):
    """No run has the given id or part of an id, or several have it."""


def internal_error_text(error: BaseException) -> str:
    """Type and place only: the message of an unforeseen error may hold log text."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"internal error: {type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
