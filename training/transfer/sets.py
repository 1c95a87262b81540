"""Labelled runs in, sets of held-out runs with what the models say of them out.

A set is judged by a bundle that has not seen its runs: one that is fitted here to other runs, or a given one. Each set also
has the answers of the baselines, which learn from the same runs as the fitted bundle.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.bundle import Bundle
from training.both_versions import RUNS
from training.both_versions import joined as both_versions
from training.data import LabelledRun, MaskedRuns, read_folder, read_oai_rows
from training.evaluate import judge
from training.fit.bundle import Corpus, fit_bundle
from training.fit.settings import BundleSettings
from training.paper.baselines import simplest_labels, tfidf_probabilities
from training.splits import cross_folds, group_folds
from training.transfer.measures import Answers, joined

__all__ = [
    "SERVED", "TFIDF", "GivenSet", "JudgedSet", "corpus_of", "fitted_sets", "given_sets",
    "invented_runs", "oai_sets", "read_extra", "set_in_turn",
]  # fmt: skip

SERVED: Final = "served"
TFIDF: Final = "TF-IDF + logistic regression"
RULES: Final = Path(__file__).parents[1] / "tm500_rules.toml"
SEED: Final = 0
GROUPED_BY: Final = {
    "causes": "cause or script", "hard": "cause or script", "vocabulary": "vocabulary", "habits": "combination of habits",
    "cause": "cause", "injected_key": "injected fault", "template_hash": "near-duplicates",
}  # fmt: skip
"""What the runs of a group have in common, by kind of group; for the others, each run is a group of its own."""

Indexes = NDArray[np.intp]


class JudgedSet(NamedTuple):
    """Held-out runs, and what each model says of them.

    Attributes:
        name: Name of the set.
        judged_by: The bundle that judges them.
        grouped_by: What the runs of a group have in common.
        true: The label of each run.
        groups: The group of each run.
        answers: By model: the served bundle as `SERVED`, then the baselines from the simplest to `TFIDF`.
        notes: Sentences that a reader of the figures must know.
    """

    name: str
    judged_by: str
    grouped_by: str
    true: NDArray[np.str_]
    groups: list[str]
    answers: dict[str, Answers]
    notes: tuple[str, ...] = ()


def invented_runs(seed: int = 1, every: int = 1) -> list[LabelledRun]:
    """One in `every` runs of both versions of the TM500-style corpus, as many of each, with the group `version`."""
    some = (run for number, run in enumerate(both_versions(RUNS, RUNS, seed)) if number % every == 0)
    return [
        LabelledRun(
            run.run,
            run.label,
            {"": run.text},
            groups={**run.groups, "run": run.run, "version": run.version},
            parts=run.parts,
            failed_ues=frozenset(run.ues.split()),
        )
        for run in some
    ]


def read_extra(folder: Path) -> list[LabelledRun]:
    """The runs of a folder that contains logs and their labels.csv, with the columns `run` or `file`, and `label`.

    Raises:
        CorpusError: The folder cannot be read, for the reasons of `training.data.read_folder`.
    """
    return read_folder(folder, folder / "labels.csv")


def corpus_of(runs: Sequence[LabelledRun], labels_of: Sequence[LabelledRun], passing_label: str = "Pass") -> Corpus:
    """All runs masked once, with the labels that the runs `labels_of` have."""
    others = sorted({run.label for run in labels_of} - {passing_label})
    return Corpus(runs, MaskedRuns(runs), (passing_label, *others), passing_label, ())


def fitted_sets(
    corpus: Corpus, runs: int, splits: Sequence[str], name: str, *, version: str = "", rules: Path | None = RULES
) -> Iterator[JudgedSet]:
    """The test part of each split, judged by a bundle that is fitted to the other parts.

    Args:
        corpus: The runs that have these splits, perhaps followed by others.
        runs: How many runs have these splits; the others are left alone.
        splits: Names of the splits.
        name: Name of the set.
        version: Only runs of this version are judged; all of them if it is empty.
        rules: Rules file of the bundles.
    """
    chosen = _of_version(corpus, runs, version)
    for split in splits:
        test = np.array([run.parts[split] == "test" for run in corpus.runs[:runs]])
        folds = [(np.flatnonzero(~test), np.flatnonzero(test & chosen))]
        yield _fitted(corpus, folds, split, f"{name}, `{split}`", rules=rules)


def _of_version(corpus: Corpus, runs: int, version: str) -> NDArray[np.bool_]:
    return np.array([not version or run.groups["version"] == version for run in corpus.runs[:runs]])


def set_in_turn(
    corpus: Corpus, runs: int, kind: str, name: str, *, folds: int, version: str = "", rules: Path | None = RULES
) -> JudgedSet:
    """Every run once, judged by a bundle that has seen no run of its group.

    A predefined split holds out a few groups. Here all are held out, a share of them at a time, so that the figures do not
    depend on which ones were chosen.

    Args:
        corpus: The runs of the set, perhaps followed by others.
        runs: How many runs the set has; the others are left alone.
        kind: The kind of group.
        name: Name of the set.
        folds: How many bundles are fitted.
        version: Only runs of this version are held out, and all others are learned from; all if it is empty.
        rules: Rules file of the bundles.
    """
    chosen = np.flatnonzero(_of_version(corpus, runs, version))
    held_out = [chosen[test] for test in group_folds(corpus.groups(kind, chosen), SEED, folds) if test.any()]
    parts = [(np.setdiff1d(np.arange(runs), test), test) for test in held_out]
    return _fitted(corpus, parts, kind, name, rules=rules)


def oai_sets(path: Path, every: int = 1) -> Iterator[JudgedSet]:
    """OpenAirInterface runs: all with a named fault, then those of the smaller campaign.

    Bundles without networks judge them: five for the faults, each fitted without a fifth of them, and one that is fitted to
    the larger campaign.

    Raises:
        CorpusError: The file is missing or damaged.
    """
    rows = read_oai_rows(path)[::every]
    runs = [run for run, _ in rows]
    corpus, kind = corpus_of(runs, runs), "injected_key"
    keys = np.array(corpus.groups(kind, np.arange(len(runs))))
    # The smaller campaign does not name its faults. It stays in the training part here, and has a set of its own.
    named = np.flatnonzero(keys != "")
    folds = cross_folds(corpus.masked.labels[named].tolist(), keys[named].tolist(), SEED)
    parts = [(np.setdiff1d(np.arange(len(runs)), named[test]), named[test]) for _, test in folds]
    yield _fitted(corpus, parts, kind, "OpenAirInterface, every fault")
    campaigns = np.array([row["source"] for _, row in rows])
    smaller = campaigns == Counter(campaigns.tolist()).most_common()[-1][0]
    parts = [(np.flatnonzero(~smaller), np.flatnonzero(smaller))]
    yield _fitted(corpus, parts, kind, "OpenAirInterface, smaller campaign", grouped_by="template_hash")


def _fitted(
    corpus: Corpus,
    folds: Sequence[tuple[Indexes, Indexes]],
    kind: str,
    name: str,
    *,
    rules: Path | None = None,
    grouped_by: str = "",
) -> JudgedSet:
    """The test runs of all folds, pairs of training and test runs, each judged by a bundle that is fitted to its fold.

    `kind` is the grouping for choices inside the training runs, and for the figures too if `grouped_by` names no other.
    """
    settings = BundleSettings(SERVED, models="baseline", rules=rules)
    answers: dict[str, list[Answers]] = {}
    for training, test in folds:
        bundle = fit_bundle(corpus, training, kind, SEED, settings).bundle
        served = _served(bundle, corpus, test)
        for model, one in {SERVED: served, **_baselines(corpus, kind, training, test)}.items():
            answers.setdefault(model, []).append(one)
    tested = np.concatenate([test for _, test in folds])
    runs = round(np.mean([len(training) for training, _ in folds]))
    grouped_by = grouped_by or kind
    return JudgedSet(
        name,
        f"a bundle fitted to {runs:,} runs" if len(folds) == 1 else f"{len(folds)} bundles fitted to about {runs:,} runs",
        GROUPED_BY.get(grouped_by, "run"),
        corpus.masked.labels[tested],
        corpus.groups(grouped_by, tested),
        {model: joined(parts) for model, parts in answers.items()},
    )


class GivenSet(NamedTuple):
    """Runs for a given bundle: name of the set, its runs, by which of their groups, and what a reader must know."""

    name: str
    runs: Sequence[LabelledRun]
    kind: str
    notes: Sequence[str] = ()


def given_sets(bundle: Bundle, corpus: Corpus, training: int, sets: Sequence[GivenSet]) -> Iterator[JudgedSet]:
    """Sets that a given bundle judges.

    Args:
        bundle: The bundle.
        corpus: The runs that the baselines learn from, followed by those of all sets, one set after the other.
        training: How many runs the baselines learn from.
        sets: The sets.
    """
    test = np.arange(training, len(corpus.runs))
    answers = {SERVED: _served(bundle, corpus, test), **_baselines(corpus, "run", np.arange(training), test)}
    first = 0
    for one in sets:
        places = np.arange(first, first + len(one.runs))
        first += len(one.runs)
        labels = corpus.masked.labels[test[places]]
        foreign = Counter(label for label in labels.tolist() if label not in bundle.card.labels)
        unknown = [
            f"the bundle does not know the label {label} of {count} runs." for label, count in sorted(foreign.items())
        ]
        yield JudgedSet(
            one.name,
            f"the bundle `{bundle.card.name}`",
            GROUPED_BY.get(one.kind, "run"),
            labels,
            [run.groups[one.kind] for run in one.runs],
            {model: of_all.at(places) for model, of_all in answers.items()},
            (*one.notes, *unknown),
        )


def _served(bundle: Bundle, corpus: Corpus, test: Indexes) -> Answers:
    """Verdicts of the serving pipeline."""
    masked = corpus.masked
    verdicts = judge(bundle, [corpus.runs[i] for i in test.tolist()], masked.reader.redactor, masked.reader.line_bytes)
    return Answers(
        np.array([verdict.label for verdict in verdicts]),
        probability=np.array([verdict.probabilities.get(verdict.label, 0.0) for verdict in verdicts]),
        confidence=np.array([verdict.confidence for verdict in verdicts]),
        decided=np.array([not verdict.needs_review for verdict in verdicts]),
    )


def _baselines(corpus: Corpus, kind: str, training: Indexes, test: Indexes) -> dict[str, Answers]:
    """Answers of the baselines, from the simplest to the one with the most parameters."""
    simplest = {name: Answers(np.array(labels)) for name, labels in simplest_labels(corpus, training, test)}
    labels, probabilities = tfidf_probabilities(corpus, kind, training, test)
    highest = probabilities.max(axis=1)
    predicted = np.array(labels)[probabilities.argmax(axis=1)]
    return {**simplest, TFIDF: Answers(predicted, probability=highest, confidence=highest)}
