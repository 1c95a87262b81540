"""Labelled runs in, as text; masked lines by run out, made by the very stages that serve.

Two corpora are read: the OpenAirInterface runs (`oai_rfsim_runs.jsonl.xz`, one JSON object a run with the texts of its
sources) and any folder of logs beside a CSV file of labels, whose files are read as `stream-triage run` reads them.
"""

import csv
import hashlib
import json
import lzma
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_triage.files.listing import Listed, list_files
from stream_triage.files.naming import kind_of, ordered_parts
from stream_triage.files.plaintext import NotText, text_chunks
from stream_triage.files.unpack import Damage, open_file, reason_of
from stream_triage.settings import InputSettings
from stream_triage.stages.assemble import LineCutter
from stream_triage.stages.normalise import key_text, mask, words
from stream_triage.stages.redact import Redactor

__all__ = ["CorpusError", "LabelledRun", "MaskedRuns", "fingerprint", "read_folder", "read_oai"]

OAI_SOURCES = ("cu", "du", "ue")


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
    except (OSError, EOFError, lzma.LZMAError, ValueError, KeyError) as error:
        raise CorpusError(f"{path} cannot be read as runs ({_reason(error)}); copy the file again") from None


def _oai_run(row: Mapping[str, str]) -> LabelledRun:
    return LabelledRun(
        run_id=row["path"],
        label=row["label"].replace("/", "_"),
        sources={name: row[name].encode() for name in OAI_SOURCES if row[name]},
        groups={"template_hash": row["template_hash"], "injected_key": row["injected_key"]},
    )


def read_folder(logs: Path, labels: Path, settings: InputSettings | None = None) -> list[LabelledRun]:
    """Logs of a folder with labels from a CSV file with the columns `run` and `label`, and `group` if there are near copies.

    `run` is a path inside `logs`: a file is a run of one source; a folder is a run with a source for each of its files,
    rotated parts of one log joined. Raises `CorpusError` for a missing file, a file that is no text, a run named twice with
    two labels, or a column that is not there.
    """
    if not logs.is_dir():
        raise CorpusError(f"{logs} is not a folder; name the folder of logs with --logs")
    rows = _label_rows(labels)
    settings = settings or InputSettings()
    return [
        LabelledRun(name, label, _folder_sources(logs / name, name, settings), {"run": name, "group": group or name})
        for name, (label, group) in sorted(rows.items())
    ]


def _label_rows(labels: Path) -> dict[str, tuple[str, str]]:
    try:
        return _parsed_labels(labels)
    except UnicodeDecodeError:
        raise CorpusError(f"{labels} is not UTF-8 text; save it as CSV in UTF-8") from None
    except (OSError, csv.Error) as error:
        raise CorpusError(f"{labels} cannot be read: {_reason(error)}; name the CSV file with --labels") from None


def _parsed_labels(labels: Path) -> dict[str, tuple[str, str]]:
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


def _folder_sources(place: Path, name: str, settings: InputSettings) -> dict[str, bytes]:
    if not place.is_dir() and not place.is_file():
        raise CorpusError(f"run {name} of the labels file is neither a file nor a folder in the log folder: {place}")
    listing = list_files([place])
    for problem in listing.problems:
        if problem.error:
            raise CorpusError(f"run {name}: {problem.path} {problem.reason}")
    if place.is_file():
        return {"": _text(listing.files[0], settings)}
    files = [file for file in listing.files if file.path.parent == place]
    if not files:
        raise CorpusError(f"run {name} is a folder without files: {place}")
    sources: dict[str, bytes] = {}
    for source, file in ordered_parts([(file.path.name, file) for file in files]):
        earlier = sources.get(source, b"")
        if earlier and not earlier.endswith((b"\n", b"\r")):
            earlier += b"\n"
        sources[source] = earlier + _text(file, settings)
    return sources


def _text(file: Listed, settings: InputSettings) -> bytes:
    """A whole file as serving reads it: unpacked, as UTF-8. What serving passes over or reads in part is refused here."""
    if kind_of(file.path.name) != "file":
        raise CorpusError(f"{file.path} is an archive; unpack it, or take it out of the folder of the run")
    try:
        with open_file(file.path, file.size, settings, lambda read: None) as reader:
            return b"".join(text_chunks(reader))
    except NotText as error:
        raise CorpusError(f"{file.path} {error}; take it out of the runs to train on") from None
    except (Damage, OSError) as error:
        raise CorpusError(f"{file.path} cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else reason_of(error)


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
    """Runs as numbers: `lines` holds each distinct masked line once, `runs[i]` maps sources to arrays of indexes into it.

    `redactor` and `line_bytes` are those that will serve.
    """

    def __init__(
        self,
        runs: Sequence[LabelledRun],
        redactor: Redactor | None = None,
        line_bytes: int = InputSettings().line_bytes,
    ) -> None:
        self._index: dict[str, int] = {}
        self.redactor = redactor or Redactor()
        self.line_bytes = line_bytes
        self.runs: list[dict[str, NDArray[np.int32]]] = [
            {source: self._encode(self._masked_lines(data)) for source, data in run.sources.items()} for run in runs
        ]
        self.lines = list(self._index)
        self.labels = np.array([run.label for run in runs])
        self.words = [words(line) for line in self.lines]
        self.key_texts = [key_text(line) for line in self.lines]

    def _encode(self, lines: Iterable[str]) -> NDArray[np.int32]:
        index = self._index
        return np.fromiter((index.setdefault(line, len(index)) for line in lines), dtype=np.int32)

    def _masked_lines(self, data: bytes) -> list[str]:
        cutter = LineCutter(self.line_bytes)
        lines = cutter.feed(data) + cutter.finish()
        return mask(self.redactor.lines("\n".join(lines), self.redactor.start())).split("\n") if lines else []

    def distinct(self, run: int) -> NDArray[np.int32]:
        """Indexes of the distinct masked lines of one run, over all its sources."""
        return np.unique(np.concatenate(list(self.runs[run].values()) or [np.empty(0, dtype=np.int32)]))
