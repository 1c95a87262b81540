"""TOML file, secret files, environment variables and options in; one frozen tree of settings out.

Each field says in its description what it does, in which unit, and what happens if it is not set. The starter file
(`stream-triage check --example`) and docs/settings.md are made from these descriptions.
"""

from stream_triage.settings.alerts import AlertRule, AlertSettings, ProvisionalSettings, Route
from stream_triage.settings.local import (
    ArchiveSettings,
    FollowSettings,
    InputSettings,
    JsonlSettings,
    OwnPattern,
    RedactionSettings,
    StoreSettings,
)
from stream_triage.settings.page import UiSettings
from stream_triage.settings.section import default_data_folder
from stream_triage.settings.servers import KafkaSettings, LogSettings, MetricsSettings, OpenSearchSettings
from stream_triage.settings.tree import Settings, load_settings

__all__ = [
    "AlertRule",
    "AlertSettings",
    "ArchiveSettings",
    "FollowSettings",
    "InputSettings",
    "JsonlSettings",
    "KafkaSettings",
    "LogSettings",
    "MetricsSettings",
    "OpenSearchSettings",
    "OwnPattern",
    "ProvisionalSettings",
    "RedactionSettings",
    "Route",
    "Settings",
    "StoreSettings",
    "UiSettings",
    "default_data_folder",
    "load_settings",
]
