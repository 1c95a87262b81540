"""Settings of what is reported about runs: teams, alerts, provisional verdicts."""

import re
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator, model_validator

from stream_triage.settings.section import HomePath, Section, default_data_folder

__all__ = ["AlertRule", "AlertSettings", "ProvisionalSettings", "Route"]

AlertRule = Literal["failed", "anomalous", "disagreement", "new_template", "failure_rate", "review", "silence"]


class Route(Section):
    """Which team owns a failure. The first route that matches counts; a field that is left out matches everything."""

    team: str = Field(min_length=1, description="Name of the team, as in `alerts.targets`.")
    label: str = Field(default="*", description="Shell pattern for the label.")
    cause: str = Field(default="*", description="Shell pattern for the cause: product, environment or script.")
    testbed: str = Field(default="*", description="Shell pattern for the header `testbed`.")
    test_case: str = Field(default="*", description="Shell pattern for the header `test.case.name`.")
    needs_review: bool = Field(
        default=False,
        description="true for a route of verdicts that need a review; other routes are for decided verdicts.",
    )


class AlertSettings(Section):
    """Which verdicts cause messages, who gets them, and how often, if `alerts` is among the sinks (docs/alerts.md)."""

    rules: tuple[AlertRule, ...] = Field(
        default=("failed", "anomalous", "disagreement", "failure_rate"),
        description=(
            "Rules that cause messages: any of failed, anomalous, disagreement, new_template, failure_rate, review, "
            "silence. A verdict that needs a review causes a message only by the rule `review`, which is not among the "
            "defaults."
        ),
    )
    targets: dict[str, tuple[SecretStr, ...]] = Field(
        default={},
        description=(
            "Apprise URLs of each team, as `team = [URL, …]` in `[alerts.targets]`. The team `default` gets the "
            "messages of all teams that are not listed."
        ),
    )
    path: HomePath = Field(
        default_factory=lambda: default_data_folder() / "alerts.sqlite",
        description="File of the outbox (SQLite), with the messages that were sent and those that wait.",
    )
    link: str | None = Field(
        default=None,
        description=(
            "Address of the page of a run, which messages link to. `{run_id}` is replaced, for example in "
            "https://triage.example/run?id={run_id} (docs/page.md). If it is not set, messages have no link."
        ),
    )
    gather_seconds: float = Field(
        default=30.0,
        ge=0,
        description="Seconds for which a first message waits for more runs that fail alike.",
    )
    repeat_hours: float = Field(
        default=4.0,
        gt=0,
        description="Hours until the next message about runs that fail alike.",
    )
    per_hour: int = Field(
        default=20, ge=1, description="Highest number of messages to one team within an hour. Further messages wait."
    )
    quiet_hours: str | None = Field(
        default=None,
        description=(
            "Time of day at which messages wait, for example 22:00-06:00. If it is not set, messages are sent at any time."
        ),
    )
    timezone: str = Field(default="UTC", description="Time zone of `quiet_hours`, for example Europe/Berlin.")
    silence_minutes: float | None = Field(
        default=None,
        gt=0,
        description=(
            "Minutes without a verdict after which the rule `silence` causes a message. The rule needs this setting."
        ),
    )

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
            raise ValueError(f"there is no time zone {value!r} on this machine") from None
        return value

    @model_validator(mode="after")
    def _silence_has_a_time(self) -> Self:
        if "silence" in self.rules and self.silence_minutes is None:
            raise ValueError("rule silence needs silence_minutes")
        return self


class ProvisionalSettings(Section):
    """Verdicts of runs that are still open (docs/lab.md)."""

    every_seconds: float | None = Field(
        default=None,
        ge=1,
        description=(
            "Seconds between two provisional verdicts of an open run; a change of its label is published at once. "
            "If it is not set, there are no provisional verdicts."
        ),
    )
    callback: SecretStr | None = Field(
        default=None,
        description=(
            "Address that gets an HTTP POST request when an open run is certain to fail; needs `every_seconds`. "
            "If it is not set, no request is sent."
        ),
    )

    @field_validator("callback")
    @classmethod
    def _by_http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("is not an http or https address")
        return value

    @model_validator(mode="after")
    def _callback_needs_provisional_verdicts(self) -> Self:
        if self.callback is not None and self.every_seconds is None:
            raise ValueError("callback needs every_seconds, since only then are open runs judged")
        return self
