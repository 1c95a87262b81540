"""Raw test-run logs in, one classified verdict per run out."""

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
