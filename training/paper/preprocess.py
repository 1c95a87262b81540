"""Selects the runs that a model is trained on: the pre-processing unit of Ihalage et al., section III-A.

    python -m training.paper.preprocess --logs DIR/runs --labels DIR/labels.csv --out FOLDER [--split NAME]

Runs are selected by category. Very long words, very long lines and numbers are removed from the text whose length counts.
Logs outside Tukey's fences, and logs above 300 kB, are dropped. Fences and limit are filters for training, never for
serving: with --split a run of the test part is always kept, and only the number that would be dropped is reported.

Writes preprocess.json, histograms of the lengths before and after cleaning (the paper's Fig. 2) and a box plot (Fig. 9).
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.normalise import mask
from training.arguments import add_logs, command_parser
from training.data import CorpusError, LabelledRun, read_folder
from training.lines import LineReader
from training.packages import MissingPackageError, require

__all__ = ["CATEGORIES", "Fences", "PreprocessSettings", "Selection", "block_lengths", "clean", "main", "select"]

CATEGORIES: Final = ("single-UE", "single-cell", "multi-UE", "multi-cell", "NR 5G", "LTE 4G", "L3 tests")
# The paper removes very long words and lines without naming a limit. What is longer than this is a number or a dump.
LONGEST_WORD: Final = 64
LONGEST_LINE: Final = 1024
LIMIT_BYTES: Final = 300_000
TUKEY: Final = 1.5
CONTEXT: Final = 50_000

_MARKERS: Final = re.compile(r"<(?:num:-?e\d+|time|date|hex|ipaddr|id|uuid|mac)>")
_LONG_WORD: Final = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")
_BLANKS: Final = re.compile(r"[ \t]{2,}")
_BLOCK: Final = re.compile(r"(?:<time> )?[IC]: ")


@dataclass(frozen=True)
class PreprocessSettings:
    """Which runs are selected.

    Attributes:
        categories: Test categories to keep; a run without a category is always kept.
        split: Predefined split whose test part is left whole; without it all runs are filtered.
        limit_bytes: Largest log.
        tukey: Factor of the interquartile range for the fences.
    """

    categories: tuple[str, ...] = CATEGORIES
    split: str = ""
    limit_bytes: int = LIMIT_BYTES
    tukey: float = TUKEY


class Fences(NamedTuple):
    """Q1 - 1.5 IQR and Q3 + 1.5 IQR of the lengths of cleaned logs (Tukey, "Exploratory Data Analysis", 1977)."""

    low: float
    high: float

    @classmethod
    def of(cls, sizes: NDArray[np.int64], factor: float = TUKEY) -> "Fences":
        """The fences of some lengths."""
        first, third = np.quantile(sizes, [0.25, 0.75])
        return cls(float(first - factor * (third - first)), float(third + factor * (third - first)))


@dataclass(frozen=True)
class Selection:
    """Result of the selection.

    Attributes:
        kept: Indexes of the runs that are kept.
        dropped: The reason for each run that is dropped, by index.
        would_drop_of_test: Runs of the test part that the filters would drop.
        fences: Fences of the lengths of the training runs.
        raw_sizes: Bytes of each run.
        clean_sizes: Characters of each cleaned run.
    """

    kept: list[int]
    dropped: dict[int, str]
    would_drop_of_test: int
    fences: Fences
    raw_sizes: NDArray[np.int64]
    clean_sizes: NDArray[np.int64]


def clean(data: bytes, reader: LineReader | None = None) -> str:
    r"""A log as the published networks read it: masked as in serving, without numbers, very long words and lines.

    >>> clean(b"13/02/25 00:43:36:616\tI: CMPI L2 RLC maximum retransmissions reached (UE Id: 0, UL DRB Id: 1)\r\n")
    'I: CMPI L2 RLC maximum retransmissions reached (UE Id: , UL DRB Id: )'
    """
    lines = [line for of_service in (reader or LineReader()).lines({"": data}).values() for line in of_service]
    masked = mask("\n".join(lines))
    return "\n".join(_cleaned_lines(masked.split("\n")))


def _cleaned_lines(masked: Iterable[str]) -> Iterator[str]:
    for line in masked:
        text = _BLANKS.sub(" ", _LONG_WORD.sub("", _MARKERS.sub("", line))).strip()
        if text and len(text) <= LONGEST_LINE:
            yield text


def block_lengths(cleaned: str) -> list[int]:
    r"""Characters of each message block of a cleaned log: an indication or confirmation with the lines that continue it.

    >>> block_lengths("WAIT\nI: CMPI MTE NAS ACTIVE RAT IND:UE Id:\nN1 MODE ACTIVE\nC: STRT 0x00 Ok")
    [52, 15]
    """
    lengths: list[int] = []
    inside = False
    for line in cleaned.split("\n"):
        begins = bool(_BLOCK.match(line))
        command = not begins and bool(re.match(r"(?:#\$\$|[A-Z]{4}\b|forw |FORW |WAIT|\[)", line))
        if begins:
            lengths.append(len(line))
        elif inside and not command:
            lengths[-1] += 1 + len(line)
        inside = begins or (inside and not command)
    return lengths


def select(runs: Sequence[LabelledRun], settings: PreprocessSettings | None = None) -> Selection:
    """Selects the runs to train on.

    Raises:
        CorpusError: A category or the split does not exist, or no run of some label is left.
    """
    settings = settings or PreprocessSettings()
    _check_known(runs, settings)
    reader = LineReader()
    raw = np.array([sum(map(len, run.sources.values())) for run in runs])
    cleaned = np.array([sum(len(clean(data, reader)) for data in run.sources.values()) for run in runs])
    chosen = {i for i, run in enumerate(runs) if not run.category or run.category in settings.categories}
    test = {i for i in chosen if settings.split and runs[i].parts.get(settings.split) == "test"}
    fences = Fences.of(cleaned[sorted(chosen - test)], settings.tukey)
    dropped = {i: "category" for i in range(len(runs)) if i not in chosen}
    outside = {i: reason for i in chosen if (reason := _outside(int(raw[i]), int(cleaned[i]), fences, settings.limit_bytes))}
    dropped |= {i: reason for i, reason in outside.items() if i not in test}
    kept = [i for i in range(len(runs)) if i not in dropped]
    missing = {run.label for run in runs} - {runs[i].label for i in kept}
    if missing:
        raise CorpusError(
            f"pre-processing leaves no run of label {min(missing)!r}; select more categories or widen the fences"
        )
    return Selection(kept, dropped, sum(i in test for i in outside), fences, raw, cleaned)


def _check_known(runs: Sequence[LabelledRun], settings: PreprocessSettings) -> None:
    known = {run.category for run in runs} - {""}
    missing = [name for name in settings.categories if name not in known]
    if known and settings.categories != CATEGORIES and missing:
        raise CorpusError(f"no run has the category {missing[0]!r}; there is {', '.join(sorted(known))}")
    if settings.split and settings.split not in runs[0].parts:
        raise CorpusError(f"the labels file has no column split_{settings.split}")


def _outside(raw: int, cleaned: int, fences: Fences, limit: int) -> str:
    """Why a run is dropped, "" if it is not."""
    if raw > limit:
        return "above the size limit"
    return "outside the fences" if not fences.low <= cleaned <= fences.high else ""


def _figures(runs: Sequence[LabelledRun], selection: Selection, settings: PreprocessSettings) -> dict[str, Any]:
    labels = sorted({run.label for run in runs})
    steps = Counter((runs[i].label, reason) for i, reason in selection.dropped.items())
    reasons = ("category", "above the size limit", "outside the fences")
    return {
        "settings": asdict(settings),
        "fences": selection.fences._asdict(),
        "table": {
            label: {"runs": sum(run.label == label for run in runs)} | {reason: steps[label, reason] for reason in reasons}
            for label in labels
        },
        "kept": len(selection.kept),
        "would_drop_of_test": selection.would_drop_of_test,
        "raw_characters": _quantiles(selection.raw_sizes),
        "cleaned_characters": _quantiles(selection.clean_sizes),
        "cleaned_below_50000": round(float((selection.clean_sizes < CONTEXT).mean()), 4),
    }


def _quantiles(sizes: NDArray[np.int64]) -> dict[str, int]:
    marks = (0.05, 0.25, 0.5, 0.75, 0.95)
    values = np.quantile(sizes, marks)
    return {f"{mark:g}": int(value) for mark, value in zip(marks, values, strict=True)} | {"largest": int(sizes.max())}


def _draw(selection: Selection, folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    kept = selection.clean_sizes[selection.kept]
    for axis, sizes, title in ((axes[0], selection.raw_sizes, "before cleaning"), (axes[1], kept, "after cleaning")):
        axis.hist(sizes / 1000, bins=60, color="C0")
        axis.set(title=title, xlabel="thousand characters", ylabel="logs")
    figure.tight_layout()
    # Without the version that matplotlib would write, so that equal figures give equal files.
    figure.savefig(folder / "lengths.png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    figure, axis = plt.subplots(figsize=(7, 2.2))
    axis.boxplot(selection.clean_sizes / 1000, orientation="horizontal", whis=TUKEY, flierprops={"markersize": 3})
    for fence in selection.fences:
        axis.axvline(max(fence, 0) / 1000, color="C3", linestyle="--", linewidth=1)
    axis.set(xlabel="thousand characters of a cleaned log", yticks=[])
    figure.tight_layout()
    figure.savefig(folder / "boxplot.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def _report(figures: Mapping[str, Any]) -> str:
    rows = [
        f"{label}: " + ", ".join(f"{count} {name}" for name, count in row.items()) for label, row in figures["table"].items()
    ]
    fences = figures["fences"]
    return "\n".join(
        [
            *rows,
            f"kept {figures['kept']}; fences {fences['low']:.0f} to {fences['high']:.0f} characters; "
            f"{figures['cleaned_below_50000']:.1%} of the cleaned logs are below {CONTEXT:,} characters",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    parser = command_parser("training.paper.preprocess", __doc__)
    add_logs(parser)
    parser.add_argument(
        "--category",
        action="append",
        metavar="NAME",
        help="category to keep; repeat for several (default: the paper's seven)",
    )
    parser.add_argument(
        "--split", default="", metavar="NAME", help="predefined split; runs of its test part are always kept"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for preprocess.json and the pictures"
    )
    arguments = parser.parse_args(argv)
    settings = PreprocessSettings(tuple(arguments.category or CATEGORIES), arguments.split)
    try:
        runs = read_folder(arguments.logs, arguments.labels)
        selection = select(runs, settings)
        require("matplotlib")
    except (CorpusError, MissingPackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    figures = _figures(runs, selection, settings)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "preprocess.json").write_text(json.dumps(figures, indent=1) + "\n")
    _draw(selection, arguments.out)
    print(_report(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
