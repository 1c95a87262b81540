"""docs/dialects.md: what it shows is what the commands print. `python -m tests.dialects.test_walkthrough` writes it anew."""

import re
import shlex
import shutil
import tempfile
from pathlib import Path

import pytest

from stream_triage.dialects import LAYERS, STEPS
from stream_triage.dialects.table import DialectTable, Procedure
from tests.commands import call

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "dialects.md"
LOGS = ROOT / "docs" / "dialects"
CONSOLE = re.compile(r"```console\n\$ (?P<command>[^\n]*)\n.*?```", re.DOTALL)
TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)


def answered(text: str) -> str:
    """The page with the complete file in its third block, and with what each command prints in a folder with its files."""
    blocks = [*TOML.finditer(text)]
    start, end = blocks[2].span(1)
    text = text[:start] + (LOGS / "osmo_ggsn.toml").read_text() + text[end:]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for file in LOGS.iterdir():
            shutil.copy(file, folder)
        for name, block in zip(("first.toml", "second.toml"), blocks, strict=False):
            (Path(folder) / name).write_text(block[1])
        patch.chdir(folder)
        patch.setenv("XDG_DATA_HOME", str(Path(folder) / "data"))
        patch.delenv("STREAM_TRIAGE_BUNDLE", raising=False)
        return CONSOLE.sub(lambda block: _filled(block["command"]), text)


def _filled(command: str) -> str:
    result = call(*shlex.split(command)[1:])
    assert result.code == 0, result.err
    # Where the bundle is, and which one, is not what the page is about.
    lines = [line.rstrip() for line in result.out.rstrip("\n").split("\n") if not re.match(r"ok +(bundle|store):", line)]
    return "\n".join(["```console", f"$ {command}", *lines, "```"])


def test_page_shows_what_the_commands_print() -> None:
    """Every console block is the real output on the real logs, and the file shown is the file in the folder."""
    text = PAGE.read_text(encoding="utf-8")
    assert len(CONSOLE.findall(text)) == 5
    assert answered(text) == text, "run: .venv/bin/python -m tests.dialects.test_walkthrough"


def test_the_dialect_turns_an_unknown_run_into_a_failed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict, the sentence and the UEs are those that the page states."""
    monkeypatch.chdir(LOGS)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (before,) = call("run", "--no-store", "--jsonl", "refused.log").jsonl
    (after,) = call("run", "--jsonl", "--dialect", "osmo_ggsn.toml", "refused.log").jsonl
    assert (before["label"], after["label"]) == ("unknown", "L3")
    shown = call("show", "refused", env={"COLUMNS": "160"}).out
    (stated,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for line in stated.splitlines():
        assert " ".join(line.split()) in " ".join(shown.split())
    events = call("show", "refused", "--ue", "101000000000200", "--dialect", "osmo_ggsn.toml", "--json").json[0]["events"]
    assert [event["what"] for event in events] == ["session refused", "release completed"]


@pytest.mark.parametrize("model", [DialectTable, Procedure])
def test_every_key_is_described(model: type[DialectTable] | type[Procedure]) -> None:
    """In a row of its table, which has no others."""
    _, dialect, procedures = PAGE.read_text(encoding="utf-8").split("\n| key | meaning |\n")
    rows = (dialect if model is DialectTable else procedures).partition("\n\n")[0]
    assert {re.match(r"\| `\[?(\w+)", row)[1] for row in rows.splitlines()[1:]} == set(model.model_fields)  # type: ignore[index]


def test_layers_and_steps_are_named() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [layer for layer in LAYERS if f"`{layer}`" not in text] == []
    assert [step for step in STEPS if f"`{step}`" not in text] == []


if __name__ == "__main__":
    PAGE.write_text(answered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
