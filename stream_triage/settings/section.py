"""What all sections of the settings share: frozen models, paths with `~`, checked patterns."""

import codecs
import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

__all__ = ["Encoding", "HomePath", "OrOff", "Pattern", "Section", "default_data_folder"]

OFF = "off"


class Section(BaseModel):
    """A section of the settings. Unknown names are errors, so that a misspelt setting is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def default_data_folder() -> Path:
    """The folder for verdicts and archived runs, according to the XDG base directory specification."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(base) / "stream-triage"


def _compiles(pattern: str | None) -> str | None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"is not a valid regular expression: {error}") from None
    return pattern


# Encodings for names of hosts, for source code or for mail: any ASCII text is valid in them, or none.
_NOT_FOR_LOGS = ("idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf-7", "charmap")


def _decodes_text(name: str) -> str:
    """`auto`, or the name by which Python knows the encoding."""
    if name == "auto":
        return name
    try:
        known = codecs.lookup(name).name
        if known.replace("-", "_") not in {other.replace("-", "_") for other in _NOT_FOR_LOGS} and b"1234".decode(
            known, "replace"
        ):
            return known
    except (LookupError, ValueError):  # LookupError also for codecs that are no text encodings
        pass
    raise ValueError(
        "is not a text encoding that Python knows; use auto, or a name such as utf-8, utf-16, cp1252, gb18030, big5, "
        "shift_jis, euc_jp or koi8_r"
    )


def _none_if_off(value: Any) -> Any:
    """TOML has no null, so a limit that has a default could not be left out otherwise."""
    if isinstance(value, str) and value.strip().lower() == OFF:
        return None
    if value in (0, "0"):
        raise ValueError('0 would keep nothing; write "off" for no limit')
    return value


Encoding = Annotated[str, AfterValidator(_decodes_text)]
HomePath = Annotated[Path, AfterValidator(Path.expanduser)]
OrOff = BeforeValidator(_none_if_off)
Pattern = Annotated[str | None, AfterValidator(_compiles)]
