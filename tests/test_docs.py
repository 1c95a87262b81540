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
from stream_triage.example import described_sections

ROOT = Path(__file__).parent.parent
PAGES = "\n".join(page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
PACKAGE = Path(stream_triage.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
SCHEMA = ROOT / "docs" / "verdict.schema.json"
SETTINGS_PAGE = ROOT / "docs" / "settings.md"
# Settings without a default that are only used beside another setting, which their description names.
BELONGS = r"Password of the user|client certificate|of `cert_file`"
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


def settings_page() -> str:
    """docs/settings.md, with its tables made from the descriptions of the settings."""
    intro, _, _ = SETTINGS_PAGE.read_text().partition("\n## ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", "/home/user")
        patch.delenv("XDG_DATA_HOME", raising=False)
        sections = described_sections()
    parts = [intro.rstrip("\n")]
    for section in sections:
        parts += ["", f"## {section.name or 'General'}", "", _linked(section.description), ""]
        parts += ["| setting | default | meaning |", "|---|---|---|"]
        for setting in section.settings:
            name = f"{section.name}.{setting.name}" if section.name else setting.name
            words = setting.default_text in ("none", "not set")
            default = setting.default_text if words else f"`{setting.default_text}`"
            parts.append(f"| `{name}` | {default} | {_linked(setting.description)} |")
    return "\n".join(parts) + "\n"


def _linked(text: str) -> str:
    """The text with links to the pages that it names."""
    return re.sub(r"\bdocs/(\w+\.md)", r"[\1](\1)", text)


def test_settings_page_is_true():
    """docs/settings.md says of every setting what the program says, with the default that applies."""
    assert settings_page() == SETTINGS_PAGE.read_text(), "run: .venv/bin/python -m tests.test_docs"
    assert sorted(re.findall(r"^\| `([\w.]+)` \|", SETTINGS_PAGE.read_text(), re.MULTILINE)) == sorted(setting_names())


@pytest.mark.parametrize("name", setting_names())
def test_setting_is_described(name):
    """In full sentences of at least three words; one without a default says what happens then, or what needs it."""
    section, _, leaf = name.rpartition(".")
    field = (Settings.model_fields[section].annotation if section else Settings).model_fields[leaf]
    sentences = re.split(r"(?<=\.) ", field.description)
    assert all(re.match(r"[A-Z`]", sentence) and sentence.endswith(".") for sentence in sentences), field.description
    assert all(len(sentence.split()) >= 3 for sentence in sentences), field.description
    if field.get_default(call_default_factory=True, validated_data={}) is None:
        assert re.search(r"If it is not set, |\b[Nn]eed(?:s|ed)?\b|" + BELONGS, field.description)


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
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
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


if __name__ == "__main__":
    SETTINGS_PAGE.write_text(settings_page())
