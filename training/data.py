"""Labelled runs in, as text; masked lines by run out, made by the very stages that serve.

Two corpora are read: the OpenAirInterface runs (`oai_rfsim_runs.jsonl.xz`, one JSON object a run with the texts of its
sources) and any folder of logs beside a CSV file of labels.
"""

import csv
import hashlib
import json
import lzma
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.assemble import LineCutter
from stream_triage.stages.normalise import key_text, mask, words
from stream_triage.stages.redact import Redactor

__all__ = ["CorpusError", "LabelledRun", "MaskedRuns", "fingerprint", "read_folder", "read_oai"]

OAI_SOURCES = ("cu", "du", "ue")
LINE_BYTES = 65_536


class CorpusError(Exception):
    """A corpus that cannot be trained on; the message names what to mend."""


@dataclass(frozen=True)
class LabelledRun:
    """One run: the bytes of its sources, its label, and the names of groups of near copies it belongs to."""

    run_id: str
    label: str
    sources: Mapping[str, bytes]
    groups: Mapping[str, str] = field(default_factory=dict)


def read_oai(path: Path) -> list[LabelledRun]:
    """The OpenAirInterface RF-simulator runs, grouped by `template_hash` (near copies) and by `injected_key` (the fault)."""
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            return [_oai_run(json.loads(line)) for line in file]
    except FileNotFoundError:
        raise CorpusError(
            f"{path} does not exist; name the file with --oai, or train on your own --logs and --labels"
        ) from None


def _oai_run(row: Mapping[str, str]) -> LabelledRun:
    return LabelledRun(
        run_id=row["path"],
        label=row["label"].replace("/", "_"),
        sources={name: row[name].encode() for name in OAI_SOURCES if row[name]},
        groups={"template_hash": row["template_hash"], "injected_key": row["injected_key"]},
    )


def read_folder(logs: Path, labels: Path) -> list[LabelledRun]:
    """Logs of a folder with labels from a CSV file with the columns `run` and `label`, and `group` if there are near copies.

    `run` is a path inside `logs`: a file is a run of one source, a folder is a run with a source for each of its files.
    Raises `CorpusError` for a missing file, a run named twice with two labels, or a column that is not there.
    """
    rows = _label_rows(labels)
    return [
        LabelledRun(name, label, _folder_sources(logs / name, name), {"run": name, "group": group or name})
        for name, (label, group) in sorted(rows.items())
    ]


def _label_rows(labels: Path) -> dict[str, tuple[str, str]]:
    with labels.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"run", "label"} <= set(reader.fieldnames or ()):
            raise CorpusError(f"{labels} needs a first line with the columns run,label (and group, if runs are near copies)")
        rows: dict[str, tuple[str, str]] = {}
        for row in reader:
            name, label = (row["run"] or "").strip(), (row["label"] or "").strip()
            if not name or not label:
                raise CorpusError(f"{labels}, line {reader.line_num}: run or label is empty")
            if rows.get(name, (label,))[0] != label:
                raise CorpusError(
                    f"{labels}, line {reader.line_num}: run {name} has two labels, {rows[name][0]} and {label}"
                )
            rows[name] = (label, (row.get("group") or "").strip())
    if not rows:
        raise CorpusError(f"{labels} names no run")
    return rows


def _folder_sources(place: Path, name: str) -> dict[str, bytes]:
    if place.is_dir():
        files = sorted(path for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
        if not files:
            raise CorpusError(f"run {name} is a folder without files: {place}")
        return {path.name.split(".")[0]: path.read_bytes() for path in files}
    if not place.is_file():
        raise CorpusError(f"run {name} of the labels file is neither a file nor a folder in the log folder: {place}")
    return {"": place.read_bytes()}


def fingerprint(runs: Iterable[LabelledRun]) -> str:
    """SHA-256 over ids, labels and texts: the same runs give the same one, in any order."""
    digests = []
    for run in runs:
        digest = hashlib.sha256(f"{run.run_id}\0{run.label}".encode())
        for name, data in sorted(run.sources.items()):
            digest.update(b"\0" + name.encode() + b"\0" + data)
        digests.append(digest.digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


class MaskedRuns:
    """Runs as numbers: `lines` holds each distinct masked line once, `runs[i]` maps sources to arrays of indexes into it."""

    def __init__(self, runs: Sequence[LabelledRun]) -> None:
        self._index: dict[str, int] = {}
        redactor = Redactor()
        self.runs: list[dict[str, NDArray[np.int32]]] = [
            {source: self._encode(_masked_lines(data, redactor)) for source, data in run.sources.items()} for run in runs
        ]
        self.lines = list(self._index)
        self.labels = np.array([run.label for run in runs])
        self.words = [words(line) for line in self.lines]
        self.key_texts = [key_text(line) for line in self.lines]

    def _encode(self, lines: Iterable[str]) -> NDArray[np.int32]:
        index = self._index
        return np.fromiter((index.setdefault(line, len(index)) for line in lines), dtype=np.int32)

    def distinct(self, run: int) -> NDArray[np.int32]:
        """Indexes of the distinct masked lines of one run, over all its sources."""
        return np.unique(np.concatenate(list(self.runs[run].values()) or [np.empty(0, dtype=np.int32)]))


def _masked_lines(data: bytes, redactor: Redactor) -> Iterator[str]:
    cutter = LineCutter(LINE_BYTES)
    lines = cutter.feed(data) + cutter.finish()
    return iter(mask(redactor.lines("\n".join(lines), redactor.start())).split("\n") if lines else ())
