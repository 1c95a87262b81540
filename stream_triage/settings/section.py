"""What all sections of the settings share: frozen models, paths with `~`, checked patterns."""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

__all__ = ["HomePath", "Pattern", "Section", "default_data_folder"]


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


HomePath = Annotated[Path, AfterValidator(Path.expanduser)]
Pattern = Annotated[str | None, AfterValidator(_compiles)]
