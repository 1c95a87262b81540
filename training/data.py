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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.files.listing import Listed, list_files
from stream_triage.files.naming import kind_of, ordered_parts
from stream_triage.files.plaintext import NotText, text_chunks
from stream_triage.files.unpack import Damage, open_file, reason_of
from stream_triage.settings import InputSettings
from stream_triage.stages.assemble import LineCutter
from stream_triage.stages.normalise import Numbers, key_text, mask, words
from stream_triage.stages.redact import Redactor

__all__ = [
    "CorpusError",
    "LabelledRun",
    "MaskedRuns",
    "fingerprint",
    "read_folder",
    "read_oai",
    "read_settled",
    "redacted_lines",
]

OAI_SOURCES = ("cu", "du", "ue")
PARTS = ("train", "validation", "test")


class CorpusError(Exception):
    """A corpus that cannot be trained on; the message names what to mend."""


@dataclass(frozen=True)
class LabelledRun:
    """One run: the bytes of its sources, its label, and the names of groups of near copies it belongs to.

    `parts` says of each split that was settled beforehand which part the run is in: train, validation or test.
    """

    run_id: str
    label: str
    sources: Mapping[str, bytes]
    groups: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    category: str = ""


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
    rotated parts of one log joined. A column `split_NAME` settles a split of that name (train, validation or test for each
    run), `group_NAME` the groups of near copies inside it. Raises `CorpusError` for a missing file, a file that is no text,
    a file without label, a run named twice with two labels, a split without a label in one of its parts, or a column that
    is not there.
    """
    if not logs.is_dir():
        raise CorpusError(f"{logs} is not a folder; name the folder of logs with --logs")
    rows = _label_rows(labels)
    settings = settings or InputSettings()
    _refuse_empty_classes(labels, rows)
    runs = [
        LabelledRun(name, row.label, _folder_sources(logs / name, name, settings), row.groups, row.parts, row.category)
        for name, row in sorted(rows.items())
    ]
    _refuse_unlabelled(logs, labels, rows)
    return runs


def read_settled(logs: Path, labels: Path, splits: Sequence[str] = ()) -> list[LabelledRun]:
    """`read_folder`, and `CorpusError` where the labels file does not settle `splits`, or none at all."""
    runs = read_folder(logs, labels)
    there = runs[0].parts
    missing = "NAME" if not there else next((split for split in splits if split not in there), "")
    if missing:
        raise CorpusError(f"{labels} settles {', '.join(there) or 'no split'}; add a column split_{missing}")
    return runs


class _Row(NamedTuple):
    """What the labels file says of one run."""

    label: str
    groups: dict[str, str]
    parts: dict[str, str]
    category: str


def _refuse_unlabelled(logs: Path, labels: Path, rows: Mapping[str, _Row]) -> None:
    """A log that nobody labelled is more likely forgotten than meant."""
    tops = {Path(name).parts[0] for name in rows}
    for place in sorted(logs.iterdir()):
        if place.name not in tops and not place.name.startswith(".") and place.resolve() != labels.resolve():
            raise CorpusError(f"{place} has no label in {labels}; label it, or take it out of the folder")


def _refuse_empty_classes(labels: Path, rows: Mapping[str, _Row]) -> None:
    """Each label must be taught and tested in every split that is settled."""
    every = {row.label for row in rows.values()}
    for split in sorted({split for row in rows.values() for split in row.parts}):
        for name, parts in (("training", ("train", "validation")), ("test", ("test",))):
            missing = every - {row.label for row in rows.values() if row.parts[split] in parts}
            if missing:
                raise CorpusError(
                    f"{labels}: split_{split} has no run of label {min(missing)!r} in its {name} part; move one there or "
                    "leave the label out"
                )


def _label_rows(labels: Path) -> dict[str, _Row]:
    try:
        return _parsed_labels(labels)
    except UnicodeDecodeError:
        raise CorpusError(f"{labels} is not UTF-8 text; save it as CSV in UTF-8") from None
    except (OSError, csv.Error) as error:
        raise CorpusError(f"{labels} cannot be read: {_reason(error)}; name the CSV file with --labels") from None


def _parsed_labels(labels: Path) -> dict[str, _Row]:
    with labels.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"run", "label"} <= set(reader.fieldnames or ()):
            raise CorpusError(f"{labels} needs a first line with the columns run,label (and group, if runs are near copies)")
        rows: dict[str, _Row] = {}
        for row in reader:
            cells = {column: (cell or "").strip() for column, cell in row.items() if isinstance(column, str)}
            name, label = cells["run"], cells["label"]
            if not name or not label:
                raise CorpusError(f"{labels}, line {reader.line_num}: run or label is empty")
            if name in rows and rows[name].label != label:
                raise CorpusError(
                    f"{labels}, line {reader.line_num}: run {name} has two labels, {rows[name].label} and {label}"
                )
            rows[name] = _row(name, label, cells, f"{labels}, line {reader.line_num}")
    if not rows:
        raise CorpusError(f"{labels} names no run")
    return rows


def _row(name: str, label: str, cells: Mapping[str, str], place: str) -> _Row:
    parts = {column.removeprefix("split_"): part for column, part in cells.items() if column.startswith("split_")}
    for split, part in parts.items():
        if part not in PARTS:
            raise CorpusError(f"{place}: split_{split} is {part!r}; write train, validation or test")
    group = cells.get("group") or name
    groups = {"run": name, "group": group} | {split: cells.get(f"group_{split}") or group for split in parts}
    return _Row(label, groups, parts, cells.get("category", ""))


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


def redacted_lines(data: bytes, redactor: Redactor, line_bytes: int = InputSettings().line_bytes) -> list[str]:
    """Lines of one whole source, through the serving stages."""
    cutter = LineCutter(line_bytes)
    lines = cutter.feed(data) + cutter.finish()
    return redactor.lines("\n".join(lines), redactor.start()).split("\n") if lines else []


class MaskedRuns:
    """Runs as numbers: `lines` holds each distinct masked line once, `runs[i]` maps sources to arrays of indexes into it.

    `redactor` and `line_bytes` are those that will serve.
    """

    def __init__(
        self,
        runs: Sequence[LabelledRun],
        redactor: Redactor | None = None,
        line_bytes: int = InputSettings().line_bytes,
        numbers: Numbers = "magnitude",
    ) -> None:
        self._index: dict[str, int] = {}
        self.redactor = redactor or Redactor()
        self.line_bytes = line_bytes
        self.numbers: Numbers = numbers
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
        lines = redacted_lines(data, self.redactor, self.line_bytes)
        return mask("\n".join(lines), self.numbers).split("\n") if lines else []

    def distinct(self, run: int) -> NDArray[np.int32]:
        """Indexes of the distinct masked lines of one run, over all its sources."""
        return np.unique(np.concatenate(list(self.runs[run].values()) or [np.empty(0, dtype=np.int32)]))
