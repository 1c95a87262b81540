"""Reads labelled runs and turns them into masked lines, with the same stages that serve.

Two kinds of corpora are read: the OpenAirInterface runs (`oai_rfsim_runs.jsonl.xz`, a JSON object per run that holds the
text of each source), and any folder of logs with a CSV file of labels. Log files are read as `stream-triage run` reads them.
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
from stream_triage.records import UNKNOWN
from stream_triage.settings import InputSettings
from stream_triage.stages.decode import missing_line_end
from stream_triage.stages.normalise import Numbers, key_text, mask, words
from training.lines import LineReader

__all__ = [
    "CorpusError",
    "LabelledRun",
    "MaskedRuns",
    "fingerprint",
    "read_folder",
    "read_oai",
    "read_oai_rows",
    "read_predefined",
]

# The central unit, the distributed unit and the UE of an OpenAirInterface run each write a log of their own.
OAI_SOURCES = ("cu", "du", "ue")
PARTS = ("train", "validation", "test")


class CorpusError(Exception):
    """A corpus that cannot be used for training; the message names the remedy."""


@dataclass(frozen=True)
class LabelledRun:
    """One run with its label.

    Attributes:
        run_id: Identifies the run in its corpus: a path, or the path of its log inside the log folder.
        label: The failed layer, or the passing label.
        sources: Raw bytes of each source, by name.
        groups: For each kind of grouping, the group of near-duplicates that the run belongs to.
        parts: For each predefined split, the part that the run is in: train, validation or test.
        category: Test category, where the labels file has that column.
        failed_ues: Ids of the UEs that failed, where the labels file has that column; None if nobody knows.
    """

    run_id: str
    label: str
    sources: Mapping[str, bytes]
    groups: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    category: str = ""
    failed_ues: frozenset[str] | None = None


def read_oai(path: Path) -> list[LabelledRun]:
    """Reads the OpenAirInterface runs.

    They are grouped by `template_hash`, which near-duplicates share, and by `injected_key`, the injected fault.

    Raises:
        CorpusError: The file is missing or damaged.
    """
    return [run for run, _ in read_oai_rows(path)]


def read_oai_rows(path: Path) -> list[tuple[LabelledRun, dict[str, str]]]:
    """Like `read_oai`, each run with all fields of its row, such as `outcome`."""
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
            return [(_oai_run(row), row) for row in rows]
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
    """Reads a folder of logs with a CSV file of labels.

    Args:
        logs: Folder of logs. A file is a run with one source; a folder is a run with one source for each log in it, the
            rotated parts of a log joined.
        labels: CSV file with the columns `run` or `file` (a path inside `logs`) and `label`. Optional columns: `group` names
            the group of near-duplicates of a run, `split_NAME` its part of a predefined split (train, validation or test),
            `group_NAME` its group for that split, `cause` why it failed, `category` its test category,
            `ues` the ids of the UEs that failed, separated by blanks.
        settings: Limits for reading; the defaults of serving if None.

    Raises:
        CorpusError: A file is missing or is not text, a log has no label, a run has two labels, a label is missing in the
            training or test part of a split, or a required column is missing.
    """
    if not logs.is_dir():
        raise CorpusError(f"{logs} is not a folder; name the folder of logs with --logs")
    rows = _label_rows(labels)
    settings = settings or InputSettings()
    _check_splits(labels, rows)
    runs = [
        LabelledRun(
            name, row.label, _folder_sources(logs / name, name, settings), row.groups, row.parts, row.category, row.ues
        )
        for name, row in sorted(rows.items())
    ]
    _check_unlabelled(logs, labels, rows)
    return runs


def read_predefined(logs: Path, labels: Path, splits: Sequence[str] = ()) -> list[LabelledRun]:
    """Reads a folder whose labels file defines `splits`, or at least one split if none is named.

    Raises:
        CorpusError: A split is not defined, or for the reasons of `read_folder`.
    """
    runs = read_folder(logs, labels)
    defined = runs[0].parts
    missing = "NAME" if not defined else next((split for split in splits if split not in defined), "")
    if missing:
        raise CorpusError(f"{labels} defines {', '.join(defined) or 'no split'}; add a column split_{missing}")
    return runs


class _Row(NamedTuple):
    """One row of the labels file."""

    label: str
    groups: dict[str, str]
    parts: dict[str, str]
    category: str
    ues: frozenset[str] | None


def _check_unlabelled(logs: Path, labels: Path, rows: Mapping[str, _Row]) -> None:
    """Rejects logs without a label: they are more likely forgotten than left out on purpose."""
    top_level = {Path(name).parts[0] for name in rows}
    for path in sorted(logs.iterdir()):
        if path.name not in top_level and not path.name.startswith(".") and path.resolve() != labels.resolve():
            raise CorpusError(f"{path} has no label in {labels}; label it, or take it out of the folder")


def _check_splits(labels: Path, rows: Mapping[str, _Row]) -> None:
    """Rejects a split that trains without some label, or does not test it."""
    all_labels = {row.label for row in rows.values()}
    for split in sorted({split for row in rows.values() for split in row.parts}):
        for name, parts in (("training", ("train", "validation")), ("test", ("test",))):
            missing = all_labels - {row.label for row in rows.values() if row.parts[split] in parts}
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
        columns = set(reader.fieldnames or ())
        if "label" not in columns or not columns & {"run", "file"}:
            raise CorpusError(
                f"{labels} needs a first line with the columns run,label (and group, if some runs are near-duplicates)"
            )
        rows: dict[str, _Row] = {}
        for row in reader:
            # A row with more cells than columns has them in a list under the key None.
            cells = {column: (cell or "").strip() for column, cell in row.items() if isinstance(column, str)}
            name, label = cells.get("run") or cells.get("file", ""), cells["label"]
            position = f"{labels}, line {reader.line_num}"
            if not name or not label:
                raise CorpusError(f"{position}: run or label is empty")
            if label == UNKNOWN:
                raise CorpusError(f"{position}: no bundle is trained on the label {UNKNOWN!r}; leave the run out")
            if name in rows and rows[name].label != label:
                raise CorpusError(f"{position}: run {name} has two labels, {rows[name].label} and {label}")
            rows[name] = _row(name, label, cells, position)
    if not rows:
        raise CorpusError(f"{labels} names no run")
    return rows


def _row(name: str, label: str, cells: Mapping[str, str], position: str) -> _Row:
    parts = {column.removeprefix("split_"): part for column, part in cells.items() if column.startswith("split_")}
    for split, part in parts.items():
        if part not in PARTS:
            raise CorpusError(f"{position}: split_{split} is {part!r}; write train, validation or test")
    group = cells.get("group") or name
    groups = {"run": name, "group": group, "cause": cells.get("cause") or group}
    groups |= {split: cells.get(f"group_{split}") or group for split in parts}
    ues = frozenset(cells["ues"].split()) if "ues" in cells else None
    return _Row(label, groups, parts, cells.get("category", ""), ues)


def _folder_sources(path: Path, name: str, settings: InputSettings) -> dict[str, bytes]:
    """Sources of one run; `path` is its file or folder."""
    if not path.is_dir() and not path.is_file():
        raise CorpusError(f"run {name} of the labels file is neither a file nor a folder in the log folder: {path}")
    listing = list_files([path], settings.passes_over)
    for problem in listing.problems:
        if problem.error:
            raise CorpusError(f"run {name}: {problem.path} {problem.reason}")
    if path.is_file():
        return {"": _text(listing.files[0], settings)}
    files = [file for file in listing.files if file.path.parent == path]
    if not files:
        raise CorpusError(f"run {name} is a folder without files: {path}")
    sources: dict[str, bytes] = {}
    for source, file in ordered_parts([(file.path.name, file) for file in files]):
        earlier = sources.get(source, b"")
        # The last line of a rotated part may lack its line end; the first line of the next part must not be appended to it.
        sources[source] = earlier + missing_line_end(earlier) + _text(file, settings)
    return sources


def _text(file: Listed, settings: InputSettings) -> bytes:
    """A whole file as serving reads it: unpacked, not decoded. Rejects files that serving skips or reads only in part."""
    if kind_of(file.path.name) != "file":
        raise CorpusError(f"{file.path} is an archive; unpack it, or take it out of the folder of the run")
    try:
        with open_file(file.path, file.size, settings, lambda read: None) as reader:
            return b"".join(text_chunks(reader, settings.encoding))
    except NotText as error:
        raise CorpusError(f"{file.path} {error}; take it out of the runs to train on") from None
    except (Damage, OSError) as error:
        raise CorpusError(f"{file.path} cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else reason_of(error)


def fingerprint(runs: Iterable[LabelledRun]) -> str:
    """SHA-256 of the ids, labels and texts of the runs; it does not depend on their order."""
    digests = []
    for run in runs:
        digest = hashlib.sha256(f"{run.run_id}\0{run.label}".encode())
        for name, data in sorted(run.sources.items()):
            digest.update(b"\0" + name.encode() + b"\0" + data)
        digests.append(digest.digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


class MaskedRuns:
    """Runs whose lines are masked and replaced by numbers.

    Thousands of runs share some ten thousand distinct masked lines, so everything that depends on a line alone (its words,
    its template key, its vector) is computed once per distinct line.

    Attributes:
        lines: Each distinct masked line once.
        runs: For each run, its sources by name, each an array of indexes into `lines`, shape (lines of the source,).
        labels: The label of each run.
        words: The words of each distinct line.
        key_texts: The text of each distinct line that its template is made from.
    """

    def __init__(
        self,
        runs: Sequence[LabelledRun],
        reader: LineReader | None = None,
        numbers: Numbers = "magnitude",
    ) -> None:
        """Masks all lines of all runs.

        Args:
            runs: The runs, in the order of all arrays.
            reader: Reads the sources of a run.
            numbers: How numbers are masked.
        """
        self._index: dict[str, int] = {}
        self.reader = reader or LineReader()
        self.numbers: Numbers = numbers
        self.runs: list[dict[str, NDArray[np.int32]]] = [
            {source: self._encode(self._masked(lines)) for source, lines in self.reader.lines(run.sources).items()}
            for run in runs
        ]
        self.lines = list(self._index)
        self.labels = np.array([run.label for run in runs])
        self.words = [words(line) for line in self.lines]
        self.key_texts = [key_text(line) for line in self.lines]

    def _encode(self, lines: Iterable[str]) -> NDArray[np.int32]:
        index = self._index
        return np.fromiter((index.setdefault(line, len(index)) for line in lines), dtype=np.int32)

    def _masked(self, lines: list[str]) -> list[str]:
        return mask("\n".join(lines), self.numbers).split("\n") if lines else []

    def distinct(self, run: int) -> NDArray[np.int32]:
        """Indexes of the distinct masked lines of one run, over all its sources, sorted."""
        return np.unique(np.concatenate(list(self.runs[run].values()) or [np.empty(0, dtype=np.int32)]))
