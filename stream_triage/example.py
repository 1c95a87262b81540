"""The settings tree in, its description for people out: a starter file, and the parts that docs/settings.md is made of."""

import json
import os
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stream_triage.settings import Settings

__all__ = ["DescribedSection", "DescribedSetting", "described_sections", "example_settings"]

HEAD = """\
# Settings of stream-triage.
#
# This file changes nothing as it is: each setting is shown with its default, behind a #. Remove the # to change
# the setting. Environment variables outrank this file, for example STREAM_TRIAGE_INPUT__LINE_BYTES=131072, and
# options of the command line outrank both.
"""
WIDTH = 110


class DescribedSetting(NamedTuple):
    """One setting; `default` is a TOML value, or None if the setting has no default."""

    name: str
    description: str
    default: str | None

    @property
    def default_text(self) -> str:
        """The default as a sentence states it."""
        return {None: "not set", "[]": "none", "{}": "none"}.get(self.default, self.default or "")


class DescribedSection(NamedTuple):
    """One section of the settings file; the settings above all sections have an empty name."""

    name: str
    description: str
    settings: list[DescribedSetting]


def described_sections() -> list[DescribedSection]:
    """All settings in the order of the tree, those above all sections first."""
    top = DescribedSection("", "The model bundle, the rules, the teams, and where verdicts go.", [])
    sections = [top]
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            settings = [_described(*item) for item in kind.model_fields.items()]
            sections.append(DescribedSection(name, kind.__doc__ or "", settings))
        else:
            top.settings.append(_described(name, field))
    return sections


def _described(name: str, field: FieldInfo) -> DescribedSetting:
    default = field.get_default(call_default_factory=True, validated_data={})
    return DescribedSetting(name, field.description or "", None if default is None else _toml(default))


def _toml(value: Any) -> str:
    if isinstance(value, Path):
        value = _below_home(value)
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _below_home(path: Path) -> str:
    home = os.path.expanduser("~")
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def example_settings() -> str:
    """A settings file in which every setting is a comment, with its default and what it does."""
    parts = [HEAD]
    for section in described_sections():
        if section.name:
            parts.append(f"\n\n{_comment(section.description)}[{section.name}]\n")
        parts += [f"\n{_entry(setting)}" for setting in section.settings]
    return "".join(parts)


def _entry(setting: DescribedSetting) -> str:
    value = "" if setting.default is None else f" {setting.default}"
    return _comment(setting.description) + _comment(f"Default: {setting.default_text}.") + f"# {setting.name} ={value}\n"


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)
