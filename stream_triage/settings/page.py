"""Settings of the pages that `stream-triage ui` serves."""

import ipaddress
import re
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from stream_triage.settings.section import Section

__all__ = ["UiSettings"]

SHORTEST_PASSWORD = 8
HIGHEST_PORT = 65_535


class UiSettings(Section):
    """The pages that `stream-triage ui` serves (docs/page.md)."""

    listen: str = Field(
        default="127.0.0.1:8777",
        description="Address at which the pages are served, as HOST:PORT. One that other machines reach needs `password`.",
    )
    password: SecretStr | None = Field(
        default=None,
        min_length=SHORTEST_PASSWORD,
        description=(
            "Password that users type into the browser, of at least 8 characters. If it is not set, none is asked for."
        ),
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description=(
            "Further names under which browsers reach the pages, for example that of a proxy. The name of the machine, "
            "`localhost` and addresses in numbers always work."
        ),
    )

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        matches = re.fullmatch(r"(?:\[[0-9a-fA-F:.]+\]|[^\[\]:]*):(\d{1,5})", value)
        if not matches or int(matches[1]) > HIGHEST_PORT:
            raise ValueError("is not of the form HOST:PORT, for example 127.0.0.1:8777")
        return value

    @model_validator(mode="after")
    def _others_need_a_password(self) -> Self:
        if self.password is None and not self.loopback:
            raise ValueError("listen names an address that other machines reach; set password, too")
        return self

    @property
    def host(self) -> str:
        """What to listen at; empty for all addresses of the machine."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port; 0 for any that is free."""
        return int(self.listen.rpartition(":")[2])

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the pages."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
