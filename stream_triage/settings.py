"""One frozen tree of settings: TOML file, then secret files, `STREAM_TRIAGE_…` variables, flags, in that order of weight."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableVariable

from stream_triage.errors import SettingsError

__all__ = [
    "AlertRule",
    "AlertSettings",
    "ArchiveSettings",
    "FollowSettings",
    "InputSettings",
    "JsonlSettings",
    "KafkaSettings",
    "MetricsSettings",
    "OpenSearchSettings",
    "OwnPattern",
    "RedactionSettings",
    "Route",
    "Settings",
    "StoreSettings",
    "default_data_folder",
    "load_settings",
]


def default_data_folder() -> Path:
    """Where verdicts and archived runs lie unless told otherwise, as the XDG base directory specification has it."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(base) / "stream-triage"


SinkName = Literal["archive", "store", "jsonl", "opensearch", "kafka", "alerts"]
AlertRule = Literal["failed", "anomalous", "disagreement", "new_template", "failure_rate", "silence"]
HomePath = Annotated[Path, AfterValidator(Path.expanduser)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSettings(_Section):
    """What is read, and how far."""

    line_bytes: int = Field(default=65_536, ge=256, description="longest line in bytes; the rest is cut and counted")
    run_by: Literal["file", "folder"] = Field(
        default="file", description="one file is one run, or one folder is one run and its files are its sources"
    )
    max_expansion: int = Field(
        default=250, ge=2, description="refuse archives that unpack to more than this many times their size"
    )
    expansion_floor_bytes: int = Field(
        default=64 * 1024 * 1024, ge=0, description="unpacked size below which `max_expansion` does not count"
    )


def _compiles(pattern: str | None) -> str | None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return pattern


Pattern = Annotated[str | None, AfterValidator(_compiles)]


class FollowSettings(_Section):
    """How `run --follow` knows that a run is over."""

    idle_seconds: float = Field(default=60.0, gt=0, description="close a run when its file has not grown for this long")
    end_pattern: Pattern = Field(default=None, description="close a run when a line matches this regular expression")
    poll_seconds: float = Field(default=0.5, gt=0, description="how often files are looked at")


class OwnPattern(_Section):
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="shown in place of the secret, as <name>")
    pattern: str = Field(description="regular expression; a group named `secret` limits what is replaced")


class RedactionSettings(_Section):
    """What is removed beside the built-in kinds of secrets and subscriber identities."""

    patterns: tuple[OwnPattern, ...] = ()
    pseudonym_key: SecretStr | None = Field(
        default=None, description="with a key, identities become stable pseudonyms such as <imsi:1a2b3c4d>"
    )


class StoreSettings(_Section):
    path: HomePath = Field(
        default_factory=lambda: default_data_folder() / "verdicts.sqlite", description="the embedded SQLite store"
    )
    max_age_days: float | None = Field(default=None, gt=0, description="`prune` removes older runs")
    max_runs: int | None = Field(default=None, ge=1, description="`prune` keeps this many of the newest runs")


class ArchiveSettings(_Section):
    folder: HomePath = Field(default_factory=lambda: default_data_folder() / "archive", description="where it is kept")
    max_age_days: float | None = Field(default=90.0, gt=0, description="`prune` removes older texts")
    max_bytes: int | None = Field(
        default=10 * 1024**3, ge=1, description="`prune` removes the oldest texts beyond this size"
    )


class JsonlSettings(_Section):
    path: HomePath = Field(
        default_factory=lambda: default_data_folder() / "verdicts.jsonl", description="file that verdicts are added to"
    )


class KafkaSettings(_Section):
    """Where lines come from and verdicts go to, and when a run of a topic is over. Used by `worker`."""

    servers: tuple[str, ...] = Field(default=("127.0.0.1:9092",), min_length=1, description="brokers to ask first")
    group: str = Field(default="stream-triage", min_length=1, description="consumer group, shared by all workers of a farm")
    topic: str = Field(default="triage.logs", description="lines come from here")
    verdicts_topic: str = Field(default="triage.verdicts", description="final verdicts go here")
    provisional_topic: str = Field(
        default="triage.provisional", description="verdicts of open runs go here, where provisional.every_seconds is set"
    )
    runs_topic: str = Field(default="triage.runs", description="which runs are over; the workers' own record")
    dead_topic: str = Field(default="triage.dead", description="what was refused goes here, as it came")
    format: Literal["text", "json"] = Field(default="text", description="what a message holds")
    json_text: str = Field(default="message", description="JSON field with the text; dots lead into objects")
    json_source: str = Field(default="source", description="JSON field with the source")
    json_end: str = Field(default="end", description='JSON field that is true, 1 or "1" when the source has ended')
    start_pattern: Pattern = Field(default=None, description="a line that matches this regular expression begins a run")
    end_pattern: Pattern = Field(default=None, description="a line that matches this regular expression ends its run")
    idle_seconds: float = Field(default=300.0, gt=0, description="a run is over when nothing came for this long")
    max_run_hours: float = Field(
        default=24.0, gt=0, description="a run that goes on is cut here; its rest is a run of its own"
    )
    max_run_bytes: int = Field(default=4 * 1024**3, ge=1024, description="and here")
    closed_hours: float = Field(default=168.0, gt=0, description="how long it is remembered that a run is over")
    dead_per_hour: int = Field(default=1000, ge=0, description="the worker stops when it refuses more messages than this")
    session_seconds: float = Field(default=10.0, ge=6, description="a worker silent for this long has died")
    instance: str | None = Field(default=None, description="name of this worker, its own; it may then restart unnoticed")
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="protocol of the brokers"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="how user and password are shown to the brokers"
    )
    user: str | None = Field(default=None, description="name for SASL")
    password: SecretStr | None = Field(default=None, description="password for SASL")
    ca_file: HomePath | None = Field(default=None, description="certificates (PEM) that vouch for the brokers")
    cert_file: HomePath | None = Field(default=None, description="own certificate (PEM), where brokers want one")
    key_file: HomePath | None = Field(default=None, description="its key (PEM)")

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.security.startswith("SASL") and (self.user is None or self.password is None):
            raise ValueError(f"security {self.security} needs user and password")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file come together")
        if self.closed_hours < 2 * self.max_run_hours:
            raise ValueError("closed_hours must be twice max_run_hours at least: no run may outlive the memory of its end")
        return self


class OpenSearchSettings(_Section):
    """Where verdicts and kept lines are indexed."""

    hosts: tuple[str, ...] = Field(
        default=("http://127.0.0.1:9200",), min_length=1, description="addresses of the cluster, http or https"
    )
    user: str | None = Field(default=None, description="name of the user")
    password: SecretStr | None = Field(default=None, description="password of the user")
    ca_file: HomePath | None = Field(default=None, description="certificates (PEM) that vouch for the cluster")
    cert_file: HomePath | None = Field(default=None, description="own certificate (PEM), instead of user and password")
    key_file: HomePath | None = Field(default=None, description="its key (PEM)")
    index_prefix: str = Field(
        default="triage", pattern=r"^[a-z][a-z0-9._-]*$", description="indices are <prefix>-verdicts-YYYY.MM and so on"
    )
    dashboards_url: str | None = Field(
        default=None, pattern=r"^https?://[^@]+$", description="address of OpenSearch Dashboards, for `setup opensearch`"
    )
    notification_channel: str | None = Field(
        default=None, description="id of the notification channel that monitors tell; without, they show in Dashboards only"
    )
    verdicts_max_age_days: float | None = Field(
        default=365.0, gt=0, description="indices of verdicts are deleted when all in them is older"
    )
    lines_max_age_days: float | None = Field(default=90.0, gt=0, description="those of lines and workers, too")
    timeout_seconds: float = Field(default=30.0, gt=0, description="how long to wait for one answer")
    retry_seconds: float = Field(default=60.0, ge=0, description="how long `run` tries again; a worker never gives up")
    time_field: str = Field(default="@timestamp", description="where lines are read from an index: the time of a line")
    text_field: str = Field(default="message", description="its text; dots lead into objects")
    source_field: str = Field(default="log.file.path", description="its source, where it has one")


class Route(_Section):
    """Which team owns what failed; the first route that fits counts. What is left out fits everything."""

    team: str = Field(min_length=1, description="name of the team, as in alerts.targets")
    label: str = Field(default="*", description="shell pattern on the label")
    cause: str = Field(default="*", description="shell pattern on the cause: product, environment, script")
    testbed: str = Field(default="*", description="shell pattern on the header testbed")
    test_case: str = Field(default="*", description="shell pattern on the header test.case.name")


class AlertSettings(_Section):
    """Which verdicts make a message, to whom, and how often. Used where `alerts` is among the sinks."""

    rules: tuple[AlertRule, ...] = Field(
        default=("failed", "anomalous", "disagreement", "failure_rate"), description="what makes a message (docs/alerts.md)"
    )
    targets: dict[str, tuple[SecretStr, ...]] = Field(
        default={}, description="team to the addresses (apprise URLs) of its messages; `default` for all others"
    )
    path: HomePath = Field(
        default_factory=lambda: default_data_folder() / "alerts.sqlite",
        description="the outbox: what is to be sent, and was",
    )
    link: str | None = Field(
        default=None, description="address of a run for people; {run_id} is replaced, as in https://triage/{run_id}"
    )
    gather_seconds: float = Field(default=30.0, ge=0, description="a first message waits so long for failures like it")
    repeat_hours: float = Field(default=4.0, gt=0, description="failures like one that was told are told again after this")
    per_hour: int = Field(default=20, ge=1, description="messages to one team in an hour; more wait")
    quiet_hours: str | None = Field(
        default=None, description="no messages in this time of day, as in 22:00-06:00; they wait"
    )
    timezone: str = Field(default="UTC", description="of the quiet hours, as in Europe/Berlin")
    silence_minutes: float | None = Field(default=None, gt=0, description="rule `silence`: no verdict for so long")

    @field_validator("quiet_hours")
    @classmethod
    def _two_times(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError("is not of the form 22:00-06:00")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"no time zone {value!r} is known here") from None
        return value

    @model_validator(mode="after")
    def _silence_has_a_time(self) -> Self:
        if "silence" in self.rules and self.silence_minutes is None:
            raise ValueError("rule silence needs silence_minutes")
        return self


class ProvisionalSettings(_Section):
    """Verdicts while runs go on."""

    every_seconds: float | None = Field(
        default=None, ge=1, description="a provisional verdict of an open run at most so often, and when its label changes"
    )
    callback: SecretStr | None = Field(
        default=None, description="address that is told, by HTTP POST, of a run that is surely lost"
    )

    @field_validator("callback")
    @classmethod
    def _by_http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("is no http or https address")
        return value

    @model_validator(mode="after")
    def _callback_needs_looks(self) -> Self:
        if self.callback is not None and self.every_seconds is None:
            raise ValueError("callback needs every_seconds: nobody looks at open runs else")
        return self


class MetricsSettings(_Section):
    """Where a worker says how it is."""

    listen: str | None = Field(
        default=None, pattern=r"^.*:\d+$", description="address for /metrics, /health, /ready, as in 127.0.0.1:9464"
    )


class _SecretFiles(EnvSettingsSource):
    """The files of a folder, each named as its setting: `opensearch__password`. What container engines and systemd mount."""

    def __init__(self, settings_cls: type[BaseSettings], folder: Path) -> None:
        self._folder = folder
        super().__init__(settings_cls, env_prefix="")

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found: dict[str, str | None] = {}
        path = self._folder
        try:
            for path in sorted(self._folder.iterdir()):
                name = path.name.lower()
                if name.startswith(".") or not path.is_file():  # what Kubernetes puts beside the files
                    continue
                if name.partition("__")[0] not in self.settings_cls.model_fields:
                    raise SettingsError(f"secret file {path} is named like no setting; one would be opensearch__password")
                found[name] = path.read_text(encoding="utf-8").rstrip("\r\n")  # editors end a file so, secrets do not
        except UnicodeDecodeError:
            raise SettingsError(f"secret file {path} is not UTF-8") from None
        except OSError as error:
            raise SettingsError(f"{path}, named by STREAM_TRIAGE_SECRETS, cannot be read: {error.strerror}") from None
        return found


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix="STREAM_TRIAGE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
    )

    bundle: str = Field(default="tm500", description="name of the model bundle, or a path to its folder")
    bundle_folders: tuple[HomePath, ...] = Field(
        default=(), description="folders searched for bundles before the built-in ones"
    )
    rules: HomePath | None = Field(default=None, description="file of hand-written rules")
    sinks: tuple[SinkName, ...] = Field(
        default=("archive", "store"), description="where verdicts go: archive, store, jsonl, opensearch, kafka, alerts"
    )
    input: InputSettings = InputSettings()
    follow: FollowSettings = FollowSettings()
    redaction: RedactionSettings = RedactionSettings()
    store: StoreSettings = Field(default_factory=StoreSettings)
    archive: ArchiveSettings = Field(default_factory=ArchiveSettings)
    jsonl: JsonlSettings = Field(default_factory=JsonlSettings)
    kafka: KafkaSettings = KafkaSettings()
    opensearch: OpenSearchSettings = OpenSearchSettings()
    routes: tuple[Route, ...] = Field(default=(), description="which team owns what failed (docs/alerts.md)")
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    provisional: ProvisionalSettings = ProvisionalSettings()
    metrics: MetricsSettings = MetricsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = settings_cls.model_config.get("toml_file")
        toml = (TomlConfigSettingsSource(settings_cls, file),) if file else ()
        folder = os.environ.get("STREAM_TRIAGE_SECRETS")
        secrets = (_SecretFiles(settings_cls, Path(folder)),) if folder else ()
        return (init_settings, env_settings, *secrets, *toml)


def load_settings(file: Path | None = None, **flags: Any) -> Settings:
    """Reads the settings; `flags` are nested dictionaries and outrank the environment, then secret files, then `file`.

    Raises `SettingsError` that names each wrong setting and never shows a secret's value.
    """
    file = file or _file_from_environment()
    if file is not None and not file.is_file():
        raise SettingsError(f"settings file {file} does not exist; leave out --config or create the file")

    class _FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        return _FromFile(**flags) if file else Settings(**flags)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise SettingsError(f"settings cannot be used: {places}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None
    except UnreadableVariable as error:
        raise SettingsError(f"settings cannot be used: {error}; write it as JSON") from None
    except OSError as error:
        raise SettingsError(f"settings file {file} cannot be read: {error.strerror}") from None


def _file_from_environment() -> Path | None:
    named = os.environ.get("STREAM_TRIAGE_CONFIG")
    return Path(named) if named else None
