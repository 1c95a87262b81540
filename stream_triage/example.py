"""A commented starter settings file, made from the settings tree itself so that the two cannot disagree."""

import json
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
        value = str(value).replace(str(Path.home()), "~")
    shown = json.dumps(list(value) if isinstance(value, tuple) else value)
    return f"{description}# {name} = {shown}\n"
