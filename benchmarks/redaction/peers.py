"""Documents in, what detect-secrets and credsweeper report in them out.

Both run in an environment of their own and verify nothing over the network. They report values; every occurrence of a
reported value in the reported line counts as removed, as a redactor built on them would do it. Two choices favour them: the
files are called `.conf`, because detect-secrets finds values without quotes in configuration files only, and credsweeper
leaves out what it calls informational, which is every UUID.
"""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.redaction.documents import Document

__all__ = ["peer_stretches"]

_DETECT_SECRETS = """
import json, sys
from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings
reported = []
with default_settings():
    for path in sys.argv[1:]:
        secrets = SecretsCollection()
        secrets.scan_file(path)
        reported += [(path, secret.line_number, secret.secret_value) for _, secret in secrets]
print(json.dumps(reported))
"""
Stretches = list[list[tuple[int, int]]]


def peer_stretches(python: Path, documents: Sequence[Document]) -> dict[str, Stretches]:
    """Stretches (start, end) for each document, by tool.

    Raises:
        subprocess.CalledProcessError: A tool failed or is not installed there.
    """
    with tempfile.TemporaryDirectory(prefix="stream-triage-peers-") as name:
        folder = Path(name)
        paths = [folder / "logs" / f"{number}.conf" for number in range(len(documents))]
        paths[0].parent.mkdir()
        for path, document in zip(paths, documents, strict=True):
            path.write_text(document.text + "\n")
        return {
            "detect-secrets": _located(documents, paths, _detect_secrets(python, paths)),
            "credsweeper": _located(documents, paths, _credsweeper(python, folder)),
        }


def _detect_secrets(python: Path, paths: Sequence[Path]) -> list[tuple[str, int, str]]:
    command = [str(python), "-c", _DETECT_SECRETS, *map(str, paths)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return [(path, line, value) for path, line, value in json.loads(done.stdout)]


def _credsweeper(python: Path, folder: Path) -> list[tuple[str, int, str]]:
    report = folder / "credsweeper.json"
    arguments = ["--path", str(folder / "logs"), "--save-json", str(report), "--severity", "low", "--no-stdout"]
    subprocess.run([str(python), "-m", "credsweeper", *arguments], stdout=subprocess.DEVNULL, check=True)
    return [
        (line["path"], line["line_num"], line["value"])
        for candidate in json.loads(report.read_text())
        for line in candidate["line_data_list"]
    ]


def _located(documents: Sequence[Document], paths: Sequence[Path], reported: Sequence[tuple[str, int, str]]) -> Stretches:
    """Every occurrence of the reported values in their lines; overlaps are joined."""
    numbers = {str(path): number for number, path in enumerate(paths)}
    positions: list[set[int]] = [set() for _ in documents]
    for path, line_number, value in reported:
        number = numbers[path]
        lines = documents[number].text.split("\n")
        start = sum(len(line) + 1 for line in lines[: line_number - 1])
        line = lines[line_number - 1]
        at = line.find(value) if value else -1
        while at >= 0:
            positions[number].update(range(start + at, start + at + len(value)))
            at = line.find(value, at + 1)
    return [_joined(sorted(covered)) for covered in positions]


def _joined(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of positions that follow each other."""
    stretches: list[tuple[int, int]] = []
    for at in positions:
        if stretches and stretches[-1][1] == at:
            stretches[-1] = (stretches[-1][0], at + 1)
        else:
            stretches.append((at, at + 1))
    return stretches
