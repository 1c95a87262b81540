"""Logs of several stacks with their labels in; how the general bundle judges each, and how sure its grounds may be, out."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.bundle import Bundle, Card
from stream_triage.pipeline import Triage
from stream_triage.records import UNKNOWN, Verdict
from stream_triage.stages.normalise import MASKING_VERSION
from stream_triage.stages.procedures.general import GENERAL, GROUNDS
from training.data import CorpusError

__all__ = [
    "LABELS", "PASSING", "WEIGHTS", "Judged", "StackLog", "general_bundle", "judge_stacks", "read_stacks", "reliability",
    "telling_lines",
]  # fmt: skip

LABELS: Final = ("Pass", "L0_L1", "L2", "L3", "core_other")
PASSING: Final = "Pass"
WEIGHTS: Final[Mapping[str, float]] = {"high": 1.0, "medium": 0.6, "low": 0.3}
"""What a log counts, by how sure its label is."""
# Logs that a ground is credited with before it has any, as right as all grounds together are.
PRIOR_LOGS: Final = 4.0
# Logs of one stack that count for a ground.
MOST_OF_STACK: Final = 2.0
# A log of which less is records of a dialect or lines with words of 3GPP may say something else in the rest.
KNOWN_SHARE: Final = 0.3
# Evidence of a label is a sentence. A line tells it if it has this share of the sentence's rare words.
TOLD: Final = 0.5
# Words of a clause that is looked for.
LEAST_WORDS: Final = 2
_CLAUSES: Final = re.compile(r"[,;:()]|->")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{2,}|\b\d{3,}\b")


class StackLog(NamedTuple):
    """One log.

    Attributes:
        run_id: Its id in the index.
        stack: The programs that wrote it.
        group: What near copies have in common: the repository that it comes from, or the kind of fault.
        label: Its label.
        weight: How much it counts.
        evidence: The sentence that its label rests on.
        data: Its bytes.
    """

    run_id: str
    stack: str
    group: str
    label: str
    weight: float
    evidence: str
    data: bytes


class Judged(NamedTuple):
    """What the general bundle makes of a log, whatever its grounds are worth.

    Attributes:
        log: The log.
        label: The label of the verdict.
        ground: What it rests on, a key of `GROUNDS`; empty for `unknown`.
        told_by: How many lines of the log tell what its label rests on; 0 if no line does, or if it passed.
        found: Whether one of these is among the first five lines of evidence.
        dropped: Share of the lines that the reduction leaves out.
    """

    log: StackLog
    label: str
    ground: str
    told_by: int
    found: bool
    dropped: float


def read_stacks(folder: Path) -> list[StackLog]:
    """The logs that `index.csv` in the folder lists.

    Raises:
        CorpusError: The index or a log is missing, or has a label or confidence that is not known.
    """
    try:
        with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
            return [_log(folder, row) for row in csv.DictReader(file)]
    except OSError as error:
        raise CorpusError(f"{error.filename}: {error.strerror}; name the folder that has index.csv with --logs") from None
    except (KeyError, ValueError) as error:
        raise CorpusError(f"{folder / 'index.csv'}: {error}") from None


def _log(folder: Path, row: Mapping[str, str]) -> StackLog:
    label = row["label"].replace("/", "_")
    if label not in LABELS:
        raise ValueError(f"{row['id']} has the label {row['label']!r}; labels are {', '.join(LABELS)}")
    # Runs of one campaign are told apart by their fault; other logs of one repository are of one person and site.
    group = row["note"] if row["stack"] == "oai" else re.split("[@:]", row["source"])[0]
    data = (folder / row["file"]).read_bytes()
    weight = WEIGHTS[row["confidence"]]
    return StackLog(row["id"], row["stack"], f"{row['stack']} {group}", label, weight, row["evidence"], data)


def general_bundle(reliability: Mapping[str, float], below: float, others: Bundle) -> tuple[Card, dict[str, bytes]]:
    """Card and files of the general bundle.

    Args:
        reliability: How often each ground is right.
        below: Verdicts with less confidence need a review.
        others: Has the relevance model, which is kept.
    """
    profile = {"reliability": {ground: round(reliability[ground], 4) for ground in GROUNDS}}
    files = {name: others.data(name) for name in others.card.files if name != GENERAL}
    files[GENERAL] = (json.dumps(profile, indent=1) + "\n").encode()
    card = others.card.model_copy(
        update={
            "labels": LABELS,
            "passing_label": PASSING,
            "masking_version": MASKING_VERSION,
            "classifiers": {"procedures": 1.0},
            "detectors": (),
            "review_below_confidence": below,
            "review_below_known_share": KNOWN_SHARE,
            "files": {name: sha256(content).hexdigest() for name, content in files.items()},
        }
    )
    return card, files


def judge_stacks(logs: Sequence[StackLog], others: Bundle) -> Iterator[Judged]:
    """Judges each log by the serving pipeline. What the grounds are worth changes neither labels nor evidence."""
    card, files = general_bundle(dict.fromkeys(GROUNDS, 0.7), 0.0, others)
    triage = Triage(Bundle(card, files))
    general = next(iter(triage.models.values())).general
    assert general
    for log in logs:
        session = triage.session(log.run_id)
        session.feed(log.data)
        verdict = session.close()
        session.text.close()
        states = {name: state.procedures for name, state in session.sources.items() if state.procedures}
        ground = general.ground(states) if verdict.label != UNKNOWN else None
        told = telling_lines(log) if log.label != PASSING else set()
        yield Judged(
            log, verdict.label, ground.name if ground else "", len(told), _found(verdict, told),
            1 - len(verdict.reduction) / max(verdict.lines, 1),
        )  # fmt: skip


def _found(verdict: Verdict, told: set[int]) -> bool:
    lines = [item.number for item in verdict.evidence if item.kind == "line"][:5]
    return any(number in told for number in lines)


def telling_lines(log: StackLog) -> set[int]:
    """Numbers of the lines that say what the label rests on, as far as they share the words of its sentence.

    Each clause of the sentence has lines of its own: those with most of its words, which count the more, the fewer lines
    have them. A clause of which no line has the share `TOLD` has none. What was injected is not in the log.
    """
    lines = log.data.decode(errors="replace").splitlines()
    words = [set(_words(line)) for line in lines]
    clauses = _CLAUSES.split(log.evidence.partition("injected:")[0])
    return {number for clause in clauses for number in _best_lines(set(_words(clause)), words)}


def _best_lines(clause: set[str], words: Sequence[set[str]]) -> set[int]:
    wanted = {word: sum(word in of_line for of_line in words) for word in clause}
    weight = {word: np.log(1 + len(words) / max(lines, 1)) for word, lines in wanted.items()}
    shares = [sum(weight[word] for word in clause & of_line) for of_line in words]
    best = max(shares, default=0.0)
    if len(clause) < LEAST_WORDS or best < TOLD * sum(weight.values()):
        return set()
    return {number for number, share in enumerate(shares, 1) if share >= 0.99 * best}


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def reliability(judged: Sequence[Judged], chosen: NDArray[np.bool_]) -> dict[str, float]:
    """How often each ground was right on the chosen logs, by their weights, drawn towards the share of all grounds.

    A stack counts no more than `MOST_OF_STACK` for a ground: many alike logs of one say little about the next.
    """
    right, total = dict.fromkeys(GROUNDS, 0.0), dict.fromkeys(GROUNDS, 0.0)
    of_stack: dict[tuple[str, str], tuple[float, float]] = {}
    for one in (one for one, taken in zip(judged, chosen, strict=True) if taken and one.ground):
        key, weight = (one.ground, one.log.stack), one.log.weight
        so_far = of_stack.get(key, (0.0, 0.0))
        of_stack[key] = so_far[0] + weight * (one.label == one.log.label), so_far[1] + weight
    for (ground, _), (of_right, of_total) in of_stack.items():
        share = min(1.0, MOST_OF_STACK / of_total)
        right[ground] += share * of_right
        total[ground] += share * of_total
    prior = min(max(sum(right.values()) / max(sum(total.values()), 1e-9), 0.05), 0.95)
    return {name: (right[name] + PRIOR_LOGS * prior) / (total[name] + PRIOR_LOGS) for name in GROUNDS}
