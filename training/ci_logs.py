"""Archives of CI logs in, logs as lists of lines out: LogChunks with the lines that describe each failure, BugSwarm without.

Lines are cut as `stream_triage.stages.assemble` cuts them, so a bare CR ends a line, too. Neither archive is part of this
repository.
"""

import io
import json
import random
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from training.data import CorpusError

__all__ = ["CiLog", "read_bugswarm", "read_logchunks", "split_projects"]

TEST_PROJECTS: Final = 20
SPLIT_SEED: Final = 24
LINE_CHARACTERS: Final = 65_536
# What GitHub Actions writes before each line; the product takes it off before it judges a line.
_STAMP: Final = re.compile(r"^\ufeff?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z ")
_PASSED: Final = "Done. Your build exited with 0."
_ACTIONS: Final = "##[group]"
_ACTIONS_FAILED: Final = "##[error]"


@dataclass(frozen=True)
class CiLog:
    """One log.

    Attributes:
        name: Path in its archive.
        project: The repository that was built; models are tested on projects that they have not seen.
        lines: Its lines.
        relevant: Whether each line is part of the text that describes the failure.
        whole_lines: Lines with text, counted by line feeds alone, so that progress bars do not enlarge a budget.
        category: Number of the kind of its failure in LogChunks, which counts the failures that look alike in a project.
    """

    name: str
    project: str
    lines: list[str]
    relevant: NDArray[np.bool_]
    whole_lines: int
    category: str = ""


def read_logchunks(path: Path) -> list[CiLog]:
    """Reads the labelled logs; one whose chunk was not found in its log is left out.

    Raises:
        CorpusError: The archive is missing or another one.
    """
    texts: dict[str, bytes] = {}
    labels: list[dict[str, object]] = []
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                data = archive.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
                if member.name.endswith("/labels.jsonl"):
                    labels = [json.loads(line) for line in data.splitlines()]
                elif member.name.endswith(".log"):
                    texts[member.name.partition("/samples/")[2]] = data
    except (OSError, tarfile.TarError) as error:
        raise CorpusError(f"{path} cannot be read: {error}; give the folder of ci/logchunks.tar.xz as --data") from None
    logs = []
    for row in labels:
        name, first, last = str(row["log"]), int(str(row["first_line"] or 0)), int(str(row["last_line"] or 0))
        if first and name in texts:
            logs.append(_labelled(name, texts[name], first, last, str(row["category"])))
    return [log for log in logs if log.relevant.any()]


def _labelled(name: str, data: bytes, first: int, last: int, category: str) -> CiLog:
    lines, relevant, whole = [], [], 0
    for number, text in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        parts = text.rstrip("\r").split("\r")
        whole += any(part.strip() for part in parts)
        lines += [part[:LINE_CHARACTERS] for part in parts]
        relevant += [first <= number <= last and bool(part.strip()) for part in parts]
    return CiLog(name, "/".join(name.split("/")[:2]), lines, np.array(relevant), whole, category)


def split_projects(logs: Sequence[CiLog]) -> tuple[list[CiLog], list[CiLog]]:
    """Logs to train on, and those of projects that training never sees."""
    projects = sorted({log.project for log in logs})
    chosen = np.random.default_rng(SPLIT_SEED).permutation(len(projects))[:TEST_PROJECTS]
    unseen = {projects[i] for i in chosen}
    return [log for log in logs if log.project not in unseen], [log for log in logs if log.project in unseen]


def read_bugswarm(path: Path, count: int, seed: int) -> list[CiLog]:
    """Draws logs of builds that passed, half of them from GitHub Actions as far as there are so many; no line is relevant.

    Raises:
        CorpusError: The archive is missing or another one.
    """
    travis: list[tuple[str, str]] = []
    actions: list[tuple[str, str]] = []
    try:
        with path.open("rb") as file:
            plain = zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(file)
            with tarfile.open(fileobj=io.BufferedReader(plain, 1 << 20), mode="r|") as archive:
                for member in archive:
                    if member.isfile() and member.name.endswith(".log"):
                        text = archive.extractfile(member).read().decode("utf-8", "replace")  # type: ignore[union-attr]
                        if _PASSED in text[-200:]:
                            travis.append((member.name, text))
                        elif _ACTIONS in text and _ACTIONS_FAILED not in text:
                            actions.append((member.name, text))
    except (OSError, tarfile.TarError, zstandard.ZstdError) as error:
        raise CorpusError(f"{path} cannot be read: {error}; give the folder of ci/bugswarm_*.tar.zst as --data") from None
    rng = random.Random(seed)  # noqa: S311 - repeatable
    rng.shuffle(travis)
    rng.shuffle(actions)
    chosen = actions[: count // 2]
    chosen += travis[: count - len(chosen)]
    return [_unlabelled(name, text) for name, text in chosen]


def _unlabelled(name: str, text: str) -> CiLog:
    lines = [_STAMP.sub("", part)[:LINE_CHARACTERS] for line in text.split("\n") for part in line.rstrip("\r").split("\r")]
    whole = sum(1 for line in text.split("\n") if line.strip())
    return CiLog(name, name, lines, np.zeros(len(lines), dtype=bool), whole)
