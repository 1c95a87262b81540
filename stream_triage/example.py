"""A commented starter settings file, made from the settings tree itself so that the two cannot disagree."""

import json
import os
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from stream_triage.settings import Settings

__all__ = ["example_settings"]

HEAD = """\
# Settings of stream-triage. Every line shows a default; remove the # to change it.
# Environment variables outrank this file (STREAM_TRIAGE_INPUT__LINE_BYTES=131072), flags outrank both.
"""


def example_settings() -> str:
    plain, sections = [], []
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            sections.append(f"\n[{name}]\n" + "".join(_entry(*item) for item in kind.model_fields.items()))
        else:
            plain.append(_entry(name, field))
    return HEAD + "".join(plain) + "".join(sections)


def _entry(name: str, field: FieldInfo) -> str:
    description = f"# {field.description}\n" if field.description else ""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return f"{description}# {name} =\n"
    if isinstance(value, Path):
        value = _below_home(value)
    shown = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return f"{description}# {name} = {shown}\n"


def _below_home(path: Path) -> str:
    home = os.path.expanduser("~")
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
