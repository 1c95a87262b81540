"""What the README shows is what the commands print. `python -m tests.test_readme` writes it anew."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n\$ (?P<command>[^\n]*)\n.*?```", re.DOTALL)
# Columns that fit a code block on a web page, and lines shown of a long answer.
COLUMNS, LINES = 108, 32


def answered(text: str, home: str) -> str:
    """The text with every console block filled with what its command prints now."""
    return BLOCK.sub(lambda block: _filled(block["command"], home), text)


def _filled(command: str, home: str) -> str:
    bin_folder = str(Path(sys.executable).parent)
    environment = {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "HOME": home,
        "XDG_DATA_HOME": home,
        "COLUMNS": str(COLUMNS),
    }
    done = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    lines = [line.rstrip() for line in done.stdout.rstrip("\n").split("\n")]
    shown = lines[:LINES] + (["⋮"] if len(lines) > LINES else [])
    return "\n".join(["```console", f"$ {command}", *shown, "```"])


def test_readme_shows_what_the_commands_print(tmp_path: Path) -> None:
    """Every console block of the README is the real output, in the order a reader would type the commands."""
    text = README.read_text(encoding="utf-8")
    assert len(BLOCK.findall(text)) >= 2
    assert answered(text, str(tmp_path)) == text, "run: .venv/bin/python -m tests.test_readme"


def test_readme_python_runs(monkeypatch, capsys) -> None:
    """The Python example of the README runs as it stands."""
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.startswith("L3 ")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made_home:
        README.write_text(answered(README.read_text(encoding="utf-8"), made_home), encoding="utf-8")
