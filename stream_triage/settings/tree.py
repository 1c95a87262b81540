"""The whole tree of settings, and how it is loaded."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableVariable

from stream_triage.errors import SettingsError
from stream_triage.settings.alerts import AlertSettings, ProvisionalSettings, Route
from stream_triage.settings.local import (
    ArchiveSettings,
    FollowSettings,
    InputSettings,
    JsonlSettings,
    RedactionSettings,
    StoreSettings,
)
from stream_triage.settings.page import UiSettings
from stream_triage.settings.section import HomePath
from stream_triage.settings.servers import KafkaSettings, LogSettings, MetricsSettings, OpenSearchSettings

__all__ = ["Settings", "load_settings"]

SinkName = Literal["archive", "store", "jsonl", "opensearch", "kafka", "alerts"]


class _SecretFiles(EnvSettingsSource):
    """The files of a folder, each named as its setting: `opensearch__password`. Container engines and systemd mount such."""

    def __init__(self, settings_cls: type[BaseSettings], folder: Path) -> None:
        self._folder = folder
        super().__init__(settings_cls, env_prefix="")

    def _load_env_vars(self) -> Mapping[str, str | None]:
        values: dict[str, str | None] = {}
        path = self._folder
        try:
            for path in sorted(self._folder.iterdir()):
                name = path.name.lower()
                if name.startswith(".") or not path.is_file():  # Kubernetes and editors leave such beside the files
                    continue
                if name.partition("__")[0] not in self.settings_cls.model_fields:
                    raise SettingsError(f"secret file {path} must be named like a setting, for example opensearch__password")
                values[name] = path.read_text(encoding="utf-8").rstrip("\r\n")  # editors end a file so, secrets do not
        except UnicodeDecodeError:
            raise SettingsError(f"secret file {path} is not UTF-8") from None
        except OSError as error:
            raise SettingsError(f"{path}, named by STREAM_TRIAGE_SECRETS, cannot be read: {error.strerror}") from None
        return values


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="STREAM_TRIAGE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
    )

    bundle: str = Field(
        default="auto",
        description=(
            "Name of the model bundle, or path of its folder. `auto` takes the bundle that knows the first lines of a run, "
            "and `generic` for runs that none knows."
        ),
    )
    bundle_folders: tuple[HomePath, ...] = Field(
        default=(), description="Folders in which bundles are looked up by name, before those that come with stream-triage."
    )
    rules: HomePath | None = Field(
        default=None,
        description="File of hand-written rules (docs/rules.md). If it is not set, only the rules of the bundle apply.",
    )
    dialects: tuple[HomePath, ...] = Field(
        default=(),
        description=(
            "Files with dialects of your own (docs/dialects.md). They are used before those of stream-triage, "
            "and replace those that have the same name. More of them may be in the folder `dialects` of the bundle's folder."
        ),
    )
    sinks: tuple[SinkName, ...] = Field(
        default=("archive", "store"),
        description="Where `run` and `worker` write verdicts: any of archive, store, jsonl, opensearch, kafka, alerts.",
    )
    input: InputSettings = InputSettings()
    follow: FollowSettings = FollowSettings()
    redaction: RedactionSettings = RedactionSettings()
    store: StoreSettings = Field(default_factory=StoreSettings)
    archive: ArchiveSettings = Field(default_factory=ArchiveSettings)
    jsonl: JsonlSettings = Field(default_factory=JsonlSettings)
    kafka: KafkaSettings = KafkaSettings()
    opensearch: OpenSearchSettings = OpenSearchSettings()
    routes: tuple[Route, ...] = Field(
        default=(),
        description=(
            "Which team owns which failures, as tables `[[routes]]` with `team`, `label`, `cause`, `testbed`, "
            "`test_case` and `needs_review` (docs/alerts.md). The first route that matches counts."
        ),
    )
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    provisional: ProvisionalSettings = ProvisionalSettings()
    ui: UiSettings = UiSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources of values; an earlier one outranks a later one."""
        file = settings_cls.model_config.get("toml_file")
        toml = (TomlConfigSettingsSource(settings_cls, file),) if file else ()
        folder = os.environ.get("STREAM_TRIAGE_SECRETS")
        secrets = (_SecretFiles(settings_cls, Path(folder)),) if folder else ()
        return (init_settings, env_settings, *secrets, *toml)


def load_settings(file: Path | None = None, **options: Any) -> Settings:
    """Loads the settings.

    Args:
        file: TOML file; by default the one named by the variable STREAM_TRIAGE_CONFIG, if any.
        options: Values that outrank all others, with dictionaries for sections. Next come environment variables, then
            secret files, then the TOML file.

    Raises:
        SettingsError: Names each wrong setting, and never shows a value.
    """
    file = file or _file_from_environment()
    if file is not None and not file.is_file():
        raise SettingsError(f"settings file {file} does not exist; leave out --config or create the file")

    class _FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        return _FromFile(**options) if file else Settings(**options)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise SettingsError(f"settings cannot be used: {faults}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None
    except UnreadableVariable as error:
        raise SettingsError(f"settings cannot be used: {error}; write it as JSON") from None
    except OSError as error:
        raise SettingsError(f"settings file {file} cannot be read: {error.strerror}") from None


def _file_from_environment() -> Path | None:
    named = os.environ.get("STREAM_TRIAGE_CONFIG")
    return Path(named) if named else None
