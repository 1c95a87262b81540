"""Settings of the servers that a farm uses: Kafka, OpenSearch, and the address for Prometheus."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from stream_triage.settings.section import HomePath, OrOff, Pattern, Section

__all__ = ["KafkaSettings", "LogSettings", "MetricsSettings", "OpenSearchSettings"]


class KafkaSettings(Section):
    """Where a worker reads lines and writes verdicts, and when a run of a topic ends."""

    servers: tuple[str, ...] = Field(
        default=("127.0.0.1:9092",),
        min_length=1,
        description=(
            "Addresses of one or more brokers, as HOST:PORT. One that is up is enough; the worker learns the others from it."
        ),
    )
    group: str = Field(
        default="stream-triage",
        min_length=1,
        description="Consumer group of the workers. Workers of one group share the partitions of the topic.",
    )
    topic: str = Field(default="triage.logs", description="Topic that log lines are read from.")
    verdicts_topic: str = Field(
        default="triage.verdicts",
        description="Topic that final verdicts are written to if `kafka` is among the sinks.",
    )
    provisional_topic: str = Field(
        default="triage.provisional",
        description="Topic that verdicts of open runs are written to if `provisional.every_seconds` is set.",
    )
    runs_topic: str = Field(
        default="triage.runs",
        description="Topic in which the workers record the runs that have ended. Other programs must not write to it.",
    )
    dead_topic: str = Field(
        default="triage.dead",
        description="Topic that rejected messages and documents are written to, unchanged and with the reason.",
    )
    format: Literal["text", "json"] = Field(
        default="text", description="Content of a message: `text` for log text, `json` for a JSON object."
    )
    json_text: str = Field(
        default="message",
        description="JSON field that holds the log text, if `format` is `json`. `a.b` is field `b` of object `a`.",
    )
    json_source: str = Field(
        default="source", description="JSON field that holds the name of the source, if `format` is `json`."
    )
    json_end: str = Field(
        default="end",
        description='JSON field that marks the last message of a source (true, 1 or "1"), if `format` is `json`.',
    )
    start_pattern: Pattern = Field(
        default=None,
        description="A line that matches this regular expression starts a run. If it is not set, no line starts a run.",
    )
    end_pattern: Pattern = Field(
        default=None,
        description="A line that matches this regular expression ends its run. If it is not set, no line ends a run.",
    )
    idle_seconds: float = Field(
        default=300.0, gt=0, description="A run ends when no message of it has come for this many seconds."
    )
    max_run_hours: float = Field(
        default=24.0,
        gt=0,
        description="A run that lasts longer than this many hours is cut, and the rest is a run of its own.",
    )
    max_run_bytes: int = Field(
        default=4 * 1024**3,
        ge=1024,
        description="A run with more than this many bytes is cut, and the rest is a run of its own.",
    )
    closed_hours: float = Field(
        default=168.0,
        gt=0,
        description=(
            "Hours for which the workers remember that a run has ended or was forgotten. A line of the run that comes in "
            "this time goes to `dead_topic`; one that comes later starts a new run. Must be at least twice `max_run_hours`."
        ),
    )
    end_grace_seconds: float = Field(
        default=5.0,
        ge=0,
        description=(
            "Seconds for which a run whose sources have all ended waits for the first message of another source. It does "
            "not wait if the header `run.sources` says that there is no other, or if this is 0."
        ),
    )
    dead_per_hour: int = Field(
        default=1000,
        ge=0,
        description=(
            "Number of rejected messages of one run that are written to `dead_topic` within an hour. Messages without a "
            "usable key are counted for each partition. Further messages are only summed up there; they stay in `topic` "
            "until its retention deletes them."
        ),
    )
    session_seconds: float = Field(
        default=10.0,
        ge=6,
        description=(
            "A worker that has not reported to the brokers for this many seconds counts as dead, and other "
            "workers take over its partitions."
        ),
    )
    instance: str | None = Field(
        default=None,
        description=(
            "Name of this worker, unique in its group. With a name, a worker that restarts within "
            "`session_seconds` gets its partitions back. If it is not set, the other workers take them over."
        ),
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT",
        description="Protocol of the connections to the brokers: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512",
        description="SASL mechanism for user and password: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
    )
    user: str | None = Field(
        default=None, description="User name for SASL. Needed if `security` is SASL_PLAINTEXT or SASL_SSL."
    )
    password: SecretStr | None = Field(
        default=None, description="Password for SASL. Needed if `security` is SASL_PLAINTEXT or SASL_SSL."
    )
    ca_file: HomePath | None = Field(
        default=None,
        description=(
            "File of CA certificates (PEM) that the certificates of the brokers are verified with. If it is not "
            "set, those of the system are used."
        ),
    )
    cert_file: HomePath | None = Field(
        default=None,
        description="File of the client certificate (PEM) for brokers that require one. Set `key_file` as well.",
    )
    key_file: HomePath | None = Field(default=None, description="File of the private key (PEM) of `cert_file`.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.security.startswith("SASL") and (self.user is None or self.password is None):
            raise ValueError(f"security {self.security} needs user and password")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file must be set together")
        if self.closed_hours < 2 * self.max_run_hours:
            raise ValueError(
                "closed_hours must be at least twice max_run_hours, so that no run outlives the memory of its end"
            )
        return self


class OpenSearchSettings(Section):
    """The cluster that verdicts and lines are indexed in, and that `run opensearch://INDEX` reads lines from."""

    hosts: tuple[str, ...] = Field(
        default=("http://127.0.0.1:9200",),
        min_length=1,
        description="Addresses of the cluster, with http:// or https://.",
    )
    user: str | None = Field(
        default=None, description="Name of the user. If it is not set, requests are sent without user and password."
    )
    password: SecretStr | None = Field(default=None, description="Password of the user.")
    ca_file: HomePath | None = Field(
        default=None,
        description=(
            "File of CA certificates (PEM) that the certificate of the cluster is verified with. If it is not "
            "set, those of the system are used."
        ),
    )
    cert_file: HomePath | None = Field(
        default=None,
        description=(
            "File of the client certificate (PEM), to be used in place of user and password. Set `key_file` as well."
        ),
    )
    key_file: HomePath | None = Field(default=None, description="File of the private key (PEM) of `cert_file`.")
    index_prefix: str = Field(
        default="triage",
        pattern=r"^[a-z][a-z0-9._-]*$",
        description="Beginning of the names of all indices, for example `<prefix>-verdicts-YYYY.MM`.",
    )
    dashboards_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^@]+$",
        description=(
            "Address of OpenSearch Dashboards. If it is not set, `stream-triage setup opensearch` does not create "
            "dashboards."
        ),
    )
    notification_channel: str | None = Field(
        default=None,
        description=(
            "Id of the notification channel that the monitors send to. If it is not set, their alerts are shown "
            "in Dashboards only."
        ),
    )
    verdicts_max_age_days: Annotated[float | None, OrOff] = Field(
        default=365.0,
        gt=0,
        description=(
            "An index of verdicts is deleted when all its documents are older than this many days. With `off`, "
            "`stream-triage setup opensearch` makes no retention policy, and removes its own."
        ),
    )
    lines_max_age_days: Annotated[float | None, OrOff] = Field(
        default=90.0,
        gt=0,
        description=(
            "An index of lines or worker reports is deleted when all its documents are older than this many days. `off` "
            "as for verdicts."
        ),
    )
    timeout_seconds: float = Field(default=30.0, gt=0, description="Seconds to wait for a response.")
    retry_seconds: float = Field(
        default=60.0,
        ge=0,
        description="Seconds for which `run` repeats a request that failed. A worker repeats it until it succeeds.",
    )
    time_field: str = Field(
        default="@timestamp", description="Field that holds the time of a line, when lines are read from an index."
    )
    text_field: str = Field(
        default="message",
        description=(
            "Field that holds the text of a line, when lines are read from an index. `a.b` is field `b` of object `a`."
        ),
    )
    source_field: str = Field(
        default="log.file.path",
        description="Field that holds the source of a line, when lines are read from an index. A document may lack it.",
    )


class MetricsSettings(Section):
    """How a worker can be monitored (docs/operations.md)."""

    listen: str | None = Field(
        default=None,
        description=(
            "Address at which a worker answers /metrics, /health and /ready, for example 127.0.0.1:9464. If it is "
            "not set, the worker does not listen."
        ),
    )

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r".*:\d+", value):
            raise ValueError("is not of the form HOST:PORT, for example 127.0.0.1:9464")
        return value


class LogSettings(Section):
    """What a worker writes about itself to stderr (docs/operations.md)."""

    format: Literal["text", "json"] = Field(
        default="text",
        description=(
            "With `text`, each message is a line for people. With `json`, it is a JSON object on one line, with the field "
            "names of ECS (Elastic Common Schema)."
        ),
    )
