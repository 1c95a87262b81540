"""Fits a bundle to training runs: every part of it, in the order in which serving needs them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.bundle import Bundle, Card
from stream_triage.dialects import Dialects
from stream_triage.stages.normalise import MASKING_VERSION
from stream_triage.stages.rules import RULES_NAME
from stream_triage.stages.terms import line_terms
from training.data import LabelledRun, MaskedRuns, fingerprint
from training.fit.calibration import Pooling, fit_pool, review_limit
from training.fit.detector import fit_detector, fit_reducer
from training.fit.parts import FittedClassifier, FittedNetworks, TrainingPart
from training.fit.procedures import fit_procedures
from training.fit.settings import BundleSettings
from training.fit.templates import fit_templates
from training.fit.terms import TermsFit, fit_terms
from training.keyed import KeyedRuns
from training.networks.curve import Curve
from training.splits import hold_out

__all__ = ["Corpus", "Fitted", "alone", "classifiers_in", "fit_bundle"]

# A run with a smaller share of known lines comes from software that the bundle does not know: its verdict needs a review.
REVIEW_BELOW_KNOWN_SHARE = 0.6


@dataclass(frozen=True)
class Corpus:
    """Labelled runs and how they are split.

    Attributes:
        runs: All runs.
        masked: Their masked lines.
        labels: All labels, the passing one first; their order is that of the columns of every score.
        passing_label: The label of runs that pass.
        group_kinds: The groupings to hold out by, or the names of predefined splits. The first one makes the bundle.
        source: Where the runs are from, for the card.
    """

    runs: Sequence[LabelledRun]
    masked: MaskedRuns
    labels: tuple[str, ...]
    passing_label: str
    group_kinds: tuple[str, ...]
    source: str = "own logs"

    def split(self, kind: str, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indexes of training and test runs: of a predefined split of that name, else a fifth of the groups is held out."""
        if kind in self.runs[0].parts:
            test = np.array([run.parts[kind] == "test" for run in self.runs])
            return np.flatnonzero(~test), np.flatnonzero(test)
        return hold_out([run.label for run in self.runs], self.groups(kind, np.arange(len(self.runs))), seed)

    def groups(self, kind: str, indexes: NDArray[np.intp]) -> list[str]:
        """The group of near-duplicates of each of these runs."""
        return [self.runs[i].groups[kind] for i in indexes.tolist()]


class Fitted(NamedTuple):
    """A bundle, and the training curves of its networks by name."""

    bundle: Bundle
    curves: dict[str, Curve]


CLASSIFIER_FILES: Final = {"terms": "terms.npz", "procedures": "procedures.npz", "charcnn": "charcnn.npz"}


def classifiers_in(bundle: Bundle) -> list[str]:
    """All classifiers that were fitted for a bundle, including those that got no share in its verdicts."""
    return [name for name, file in CLASSIFIER_FILES.items() if file in bundle.card.files]


def alone(bundle: Bundle, classifier: str) -> Bundle:
    """The bundle with a single classifier and the plain detector, for comparison with the whole bundle.

    The classifier's own scores are calibrated already, so the temperature of the pool does not apply.
    """
    changes = {"classifiers": {classifier: 1.0}, "temperature": 1.0, "detectors": ("profile",)}
    return Bundle(bundle.card.model_copy(update=changes), {name: bundle.data(name) for name in bundle.card.files})


def fit_bundle(corpus: Corpus, training: NDArray[np.intp], kind: str, seed: int, settings: BundleSettings) -> Fitted:
    """Fits all parts of a bundle to the training runs.

    Args:
        corpus: All runs; only the training runs are looked at.
        training: Indexes of the training runs.
        kind: The grouping or predefined split whose groups of near-duplicates stay in one fold.
        seed: Seed of all folds and networks.
        settings: Name and models of the bundle.
    """
    part = _training_part(corpus, training, kind)
    about = {"fingerprint": fingerprint(corpus.runs), "kind": kind, "seed": seed}
    networks = _fit_networks(part, seed, settings, about)
    orders = networks.orders if networks else None
    detector = fit_detector(part.keyed, part.templates, part.passing, part.passing_groups, seed, orders=orders)
    terms = fit_terms(part.masked, training, part.groups, corpus.labels, seed)
    procedures = fit_procedures(corpus.runs, part, seed, Dialects(settings.dialects))
    candidates = {"terms": terms, "procedures": procedures, "charcnn": networks}
    classifiers: dict[str, FittedClassifier] = {name: one for name, one in candidates.items() if one}
    pool = fit_pool({name: one.out_of_fold for name, one in classifiers.items()}, part.targets)
    # The procedures explain a verdict also where they have no say in it.
    shares = {"procedures": 0.0, **pool.shares} if procedures else pool.shares
    files = {
        "templates.json": part.templates.to_json().encode(),
        # By alias: stored bundles have the name `false_alarm_rate` for the target.
        "detector.json": detector.profile.model_dump_json(indent=1, by_alias=True).encode(),
        "reducer.json": fit_reducer(part.keyed, part.templates, part.passing).model_dump_json(indent=1).encode(),
        **terms.files(_expected_terms(part, detector.profile.expected, terms)),
        **(procedures.files if procedures else {}),
        **(networks.files if networks else {}),
        **({RULES_NAME: settings.rules.read_bytes()} if settings.rules else {}),
    }
    card = Card(
        name=settings.name,
        version=settings.version,
        description=_description(pool.shares, orders is not None),
        labels=corpus.labels,
        passing_label=corpus.passing_label,
        masking_version=MASKING_VERSION,
        numbers=part.masked.numbers,
        classifiers=shares,
        temperature=round(pool.temperature, 4),
        detectors=("profile", "next_key") if orders else ("profile",),
        review_below_confidence=review_limit(pool.scores, part.targets, part.groups),
        review_below_known_share=REVIEW_BELOW_KNOWN_SHARE,
        files=dict.fromkeys(files, ""),  # write_bundle fills in the digests
        training=_provenance(corpus, part, about)
        | _fit_figures(part, terms, classifiers, pool)
        | ({"charcnn_precision": networks.precision._asdict()} if networks else {})
        | ({"dialects": [dialect.name for dialect in settings.dialects]} if settings.dialects else {}),
    )
    return Fitted(Bundle(card, files), networks.curves if networks else {})


def _training_part(corpus: Corpus, training: NDArray[np.intp], kind: str) -> TrainingPart:
    masked = corpus.masked
    templates = fit_templates(masked, training.tolist())
    passing = training[masked.labels[training] == corpus.passing_label]
    return TrainingPart(
        masked=masked,
        labels=corpus.labels,
        runs=training,
        groups=corpus.groups(kind, training),
        passing=passing.tolist(),
        passing_groups=corpus.groups(kind, passing),
        templates=templates,
        keyed=KeyedRuns(masked, templates),
    )


def _fit_networks(
    part: TrainingPart, seed: int, settings: BundleSettings, about: Mapping[str, Any]
) -> FittedNetworks | None:
    if settings.models != "all":
        return None
    from training.fit.networks import fit_networks  # torch, which the baseline does without

    return fit_networks(part, seed, settings, about)


def _expected_terms(part: TrainingPart, expected: Sequence[str], terms: TermsFit) -> dict[str, list[int]]:
    index = {term: i for i, term in enumerate(terms.terms)}
    of_line = [[index[term] for term in line_terms(words) if term in index] for words in part.masked.words]
    return part.keyed.expected_terms(part.passing, expected, part.templates, of_line)


def _provenance(corpus: Corpus, part: TrainingPart, about: Mapping[str, Any]) -> dict[str, Any]:
    """What the bundle was trained on, for the card."""
    kind, seed = about["kind"], about["seed"]
    return {
        "source": corpus.source,
        "fingerprint": about["fingerprint"],
        "runs": len(part.runs),
        "runs_by_label": dict(Counter(part.masked.labels[part.runs].tolist())),
        "split": f"the test part of split_{kind} held out, seed {seed}"
        if kind in corpus.runs[0].parts
        else f"a fifth held out by {kind}, seed {seed}",
        "seed": seed,
    }


def _fit_figures(
    part: TrainingPart, terms: TermsFit, classifiers: Mapping[str, FittedClassifier], pool: Pooling
) -> dict[str, Any]:
    """What was chosen while fitting, for the card."""
    return {
        "templates": len(part.templates.keys),
        "terms": len(terms.terms),
        "inverse_penalty": terms.inverse_penalty,
        "temperatures": {name: round(one.temperature, 4) for name, one in classifiers.items()},
        "out_of_fold_log_loss": pool.losses,
    }


def _description(shares: Mapping[str, float], with_order: bool) -> str:
    names = {
        "terms": "TF-IDF + logistic regression",
        "procedures": "boosted trees on the procedures of the UEs",
        "charcnn": "residual char-CNN",
    }
    classifiers = " and ".join(f"{names[name]} ({share:g})" for name, share in shares.items())
    return f"{classifiers}; plain key detector{' and LogGPT next-key detector' if with_order else ''}"
