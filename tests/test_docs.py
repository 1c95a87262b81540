"""README, docs, settings, commands and the package itself agree with each other."""

import ast
import json
import re
from pathlib import Path

import pytest
import typer

import stream_triage
from stream_triage import Settings, Verdict
from stream_triage.cli import app
from stream_triage.settings import default_data_folder

ROOT = Path(__file__).parent.parent
PAGES = "\n".join(page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
PACKAGE = Path(stream_triage.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
SCHEMA = ROOT / "docs" / "verdict.schema.json"
COMMANDS = sorted(typer.main.get_command(app).commands)


def setting_names() -> list[str]:
    """Every leaf of the settings tree, as `section.name`."""
    names = []
    for name, field in Settings.model_fields.items():
        below = getattr(field.annotation, "model_fields", None)
        names += [f"{name}.{leaf}" for leaf in below] if below else [name]
    return names


def test_there_is_something_to_document():
    """The lists that the tests below go through are the real ones."""
    assert {"run", "show", "check"} <= set(COMMANDS)
    assert {"bundle", "input.line_bytes", "archive.max_bytes"} <= set(setting_names())


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_documented(command):
    """Each command is shown in the README or the docs as one types it."""
    assert re.search(rf"stream-triage {command}\b|`{command}\b", PAGES)


def test_settings_table_is_true():
    """docs/settings.md has one row for each setting, in the order of the tree, with the default that holds."""
    rows = re.findall(r"^\| `([\w.]+)` \| (\S+) \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == setting_names()
    assert {name: shown.strip("`") for name, shown in rows} == {name: default_of(name) for name in setting_names()}


def default_of(name: str) -> str:
    """As the page writes it."""
    value = Settings()
    for part in name.split("."):
        value = getattr(value, part)
    if value in (None, (), {}):
        return "none"
    if isinstance(value, Path):
        return f"~/.local/share/stream-triage/{value.relative_to(default_data_folder())}"
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_flags_exist(command):
    """A flag shown with a command in the pages is one that it has."""
    group = typer.main.get_command(app).commands[command]
    commands = [group, *getattr(group, "commands", {}).values()]
    known = {flag for one in commands for option in one.params for flag in option.opts}
    for shown in re.findall(rf"^\s*(?:\$ )?stream-triage {command}\b(.*)$", PAGES, re.MULTILINE):
        flags = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", shown.split("#")[0].split("|")[0]))
        assert flags <= known | {"--help"}, shown


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_says_what_it_does(path):
    """A module opens with a docstring, and what its `__all__` names is there, once."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    listed = [node.value for node in tree.body if isinstance(node, ast.Assign) and _assigns(node, "__all__")]
    if listed:
        names = ast.literal_eval(listed[0])
        assert set(names) <= _defined(tree)
        assert len(set(names)) == len(names)


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _defined(tree: ast.Module) -> set[str]:
    """Names that the statements of a module define, those below an `if` included."""
    names = set()
    nested = [below for node in tree.body if isinstance(node, ast.If) for below in node.body]
    for node in [*tree.body, *nested]:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def test_verdict_schema_is_published():
    """docs/verdict.schema.json is the schema of `Verdict`.

    To write it anew:

    python -c 'import json, stream_triage as s; print(json.dumps(s.Verdict.model_json_schema(), indent=1))' \
        > docs/verdict.schema.json
    """
    assert json.loads(SCHEMA.read_text()) == Verdict.model_json_schema(), test_verdict_schema_is_published.__doc__
