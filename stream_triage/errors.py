"""Every error the product raises on purpose. Messages state what is wrong and what to do about it.

StreamTriageError
├── SettingsError    a setting, rule or pattern that cannot work
├── BundleError      a model bundle that cannot be trusted or read
├── InputError       input that cannot be read at all
└── StoreError       a verdict or run text that cannot be stored or found
    └── RunNotFound
"""

import traceback
from pathlib import Path

__all__ = ["BundleError", "InputError", "RunNotFound", "SettingsError", "StoreError", "StreamTriageError", "fault_place"]


class StreamTriageError(Exception):
    """Base of all errors raised on purpose; anything else is a bug."""


class SettingsError(StreamTriageError):
    """A setting, rule or pattern that cannot work; the message names it and the remedy."""


class BundleError(StreamTriageError):
    """A model bundle that is missing, damaged or made for another version."""


class InputError(StreamTriageError):
    """Input that cannot be read at all."""


class StoreError(StreamTriageError):
    """A verdict or a run's text that cannot be stored or read back."""


class RunNotFound(StoreError):
    """No run, or more than one, answers to the given id."""


def fault_place(error: BaseException) -> str:
    """Type and place only: the message of an unforeseen error may hold log text."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"internal error: {type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
