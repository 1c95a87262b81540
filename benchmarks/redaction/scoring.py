"""Stretches that a tool removed or reported in, recall and precision against the labels of the documents out.

- A secret is **removed** if no run of four of its letters and digits stays; of a shorter one, no more than half of it. What
  stands between them (spaces in a dump, dots) does not count. A partial leak is a miss.
- A stretch is **false** if it touches no labelled text, or takes four letters or digits in a row from text beside it that
  should stay. The secret in it counts as removed all the same.
- Recall is the share of secrets that were removed. Precision is the number of removed secrets, divided by the same number
  plus the false stretches.
- By line, as scanners of source code are used: a secret is **located** if one of its lines was touched, or the line above it
  with the BEGIN of a private key. Lines without a label that were touched are false.
"""

import bisect
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from benchmarks.redaction.documents import Document, Secret

__all__ = ["Counts", "Interval", "count", "false_stretches", "interval", "is_removed", "macro", "missed", "total"]

RUN: Final = 4
_RESAMPLES: Final = 1_000

Span = tuple[int, int]


class Counts(NamedTuple):
    """What a tool did to some documents."""

    secrets: int = 0
    removed: int = 0
    false: int = 0
    """False stretches."""
    documents: int = 0
    documents_with_false: int = 0
    located: int = 0
    false_lines: int = 0

    @property
    def recall(self) -> float:
        """Share of secrets removed; 1 if there were none."""
        return _share(self.removed, self.secrets - self.removed)

    @property
    def precision(self) -> float:
        """Removed secrets among removed secrets and false stretches; 1 if there were neither."""
        return _share(self.removed, self.false)

    @property
    def line_recall(self) -> float:
        """Share of secrets located."""
        return _share(self.located, self.secrets - self.located)

    @property
    def line_precision(self) -> float:
        """Located secrets among located secrets and false lines."""
        return _share(self.located, self.false_lines)


class Interval(NamedTuple):
    """The middle 95 % of recall and precision over resampled kinds."""

    recall: tuple[float, float]
    precision: tuple[float, float]


def count(document: Document, stretches: Sequence[Span]) -> Counts:
    """Compares the stretches (start, end) that a tool removed from one document with its labels."""
    gone = _positions(stretches)
    labelled = _positions(span for secret in document.secrets for span in secret.spans)
    allowed = labelled | _positions(document.optional)
    false = len(false_stretches(document, stretches))
    removed = sum(is_removed(document.text, secret, gone) for secret in document.secrets)
    touched = _lines_of(document.text, gone)
    located = sum(not touched.isdisjoint(_lines_to_report(document, secret)) for secret in document.secrets)
    false_lines = len(touched - _lines_of(document.text, allowed))
    return Counts(len(document.secrets), removed, false, 1, int(false > 0), located, false_lines)


def false_stretches(document: Document, stretches: Sequence[Span]) -> list[Span]:
    """The stretches that took what should have stayed."""
    allowed = _positions(span for secret in document.secrets for span in secret.spans) | _positions(document.optional)
    return [stretch for stretch in stretches if _is_false(document.text, stretch, allowed)]


def missed(document: Document, stretches: Sequence[Span]) -> list[Span]:
    """The first piece of each secret of which something readable stays."""
    gone = _positions(stretches)
    return [secret.spans[0] for secret in document.secrets if not is_removed(document.text, secret, gone)]


def is_removed(text: str, secret: Secret, gone: set[int]) -> bool:
    """Whether no readable part of the secret stays when the characters at the positions `gone` are removed."""
    for start, end in secret.spans:
        significant = [at for at in range(start, end) if text[at].isalnum()]
        limit = min(RUN, -(-len(significant) // 2))
        if _longest_run(at not in gone for at in significant) >= limit:
            return False
    return True


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of several counts."""
    return Counts(*map(sum, zip(*counts, strict=True)))


def macro(by_kind: Mapping[str, Counts]) -> tuple[float, float]:
    """Recall and precision in which every kind has the same weight.

    Recall is the mean over the kinds with secrets. Precision compares the sum of their recalls with the sum, over all kinds,
    of the share of documents with a false stretch.
    """
    recalls = [kind.recall for kind in by_kind.values() if kind.secrets]
    false = sum(kind.documents_with_false / kind.documents for kind in by_kind.values())
    return _mean(recalls), _share(sum(recalls), false)


def interval(by_kind: Mapping[str, Counts], seed: int = 1) -> Interval:
    """Resamples the kinds with and without secrets, since kinds, not documents, are what was drawn independently."""
    rng = random.Random(seed)  # noqa: S311 (reproducible)
    groups = [[kind for kind in by_kind.values() if bool(kind.secrets) is secret] for secret in (True, False)]
    recalls, precisions = [], []
    for _ in range(_RESAMPLES):
        drawn = total(kind for group in groups for kind in _resampled(rng, group))
        recalls.append(drawn.recall)
        precisions.append(drawn.precision)
    return Interval(_middle(recalls), _middle(precisions))


def _resampled(rng: random.Random, kinds: Sequence[Counts]) -> list[Counts]:
    return rng.choices(kinds, k=len(kinds)) if kinds else []


def _is_false(text: str, stretch: Span, allowed: set[int]) -> bool:
    here = range(*stretch)
    if allowed.isdisjoint(here):
        return True
    return _longest_run(at not in allowed for at in here if text[at].isalnum()) >= RUN


def _lines_of(text: str, positions: Iterable[int]) -> set[int]:
    """The numbers of the lines with these positions."""
    ends = [at for at, sign in enumerate(text) if sign == "\n"]
    return {bisect.bisect_left(ends, at) for at in positions}


def _lines_to_report(document: Document, secret: Secret) -> set[int]:
    """The lines of a secret, and the one above them if it has optional text."""
    lines = _lines_of(document.text, _positions(secret.spans))
    return lines | ({min(lines) - 1} & _lines_of(document.text, _positions(document.optional)))


def _longest_run(flags: Iterable[bool]) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def _positions(spans: Iterable[Span]) -> set[int]:
    return {at for start, end in spans for at in range(start, end)}


def _share(right: float, wrong: float) -> float:
    return right / (right + wrong) if right + wrong else 1.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 1.0


def _middle(values: list[float]) -> tuple[float, float]:
    values.sort()
    return values[len(values) * 25 // 1000], values[len(values) * 975 // 1000 - 1]
