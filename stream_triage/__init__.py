"""Raw test-run logs in, one classified verdict per run out.

The exported names are imported when they are first used: the command line starts without numpy and onnxruntime.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_triage.bundle import Bundle, find_bundle
    from stream_triage.errors import BundleError, InputError, RunNotFound, SettingsError, StoreError, StreamTriageError
    from stream_triage.pipeline import Session, Triage
    from stream_triage.records import Anomaly, Evidence, Verdict
    from stream_triage.settings import Settings, load_settings

__all__ = [
    "Anomaly",
    "Bundle",
    "BundleError",
    "Evidence",
    "InputError",
    "RunNotFound",
    "Session",
    "Settings",
    "SettingsError",
    "StoreError",
    "StreamTriageError",
    "Triage",
    "Verdict",
    "__version__",
    "find_bundle",
    "load_settings",
]

__version__ = "0.1.0"

_MODULES = {
    "Anomaly": "records",
    "Bundle": "bundle",
    "BundleError": "errors",
    "Evidence": "records",
    "InputError": "errors",
    "RunNotFound": "errors",
    "Session": "pipeline",
    "Settings": "settings",
    "SettingsError": "errors",
    "StoreError": "errors",
    "StreamTriageError": "errors",
    "Triage": "pipeline",
    "Verdict": "records",
    "find_bundle": "bundle",
    "load_settings": "settings",
}

if not TYPE_CHECKING:  # type checkers would accept every name of the package otherwise

    def __getattr__(name: str) -> Any:
        """Imports an exported name from its module and keeps it for the next use (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
