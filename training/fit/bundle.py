"""Training runs in, a bundle out: every part of it is fitted here, in the order in which serving needs them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.bundle import Bundle, Card
from stream_triage.stages.normalise import MASKING_VERSION
from stream_triage.stages.rules import RULES_NAME
from stream_triage.stages.terms import line_terms
from training.data import LabelledRun, MaskedRuns, fingerprint
from training.fit.calibration import fit_pool, review_limit
from training.fit.detector import KeyedRuns, fit_detector, fit_reducer
from training.fit.procedures import fit_procedures
from training.fit.templates import fit_templates
from training.fit.terms import fit_terms
from training.splits import hold_out

if TYPE_CHECKING:  # torch takes seconds to import and is not needed for the baseline
    from training.fit.charcnn import CharCNNSettings
    from training.fit.loggpt import LogGPTSettings
    from training.networks.loop import Curve

__all__ = ["BundleSettings", "Corpus", "Fitted", "alone", "classifiers_in", "fit_bundle"]

REVIEW_BELOW_KNOWN_SHARE = 0.6


@dataclass(frozen=True)
class Corpus:
    """Runs, their masked lines, and which kinds of groups to hold out by; the first kind makes the bundle."""

    runs: Sequence[LabelledRun]
    masked: MaskedRuns
    labels: tuple[str, ...]
    passing_label: str
    group_kinds: tuple[str, ...]
    source: str = "own logs"

    def split(self, kind: str, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indexes of training and test runs: as settled beforehand, where the runs say so, else a fifth is held out."""
        if kind in self.runs[0].parts:
            test = np.array([run.parts[kind] == "test" for run in self.runs])
            return np.flatnonzero(~test), np.flatnonzero(test)
        return hold_out([run.label for run in self.runs], self.groups(kind, np.arange(len(self.runs))), seed)

    def groups(self, kind: str, indexes: NDArray[np.intp]) -> list[str]:
        return [self.runs[i].groups[kind] for i in indexes.tolist()]


@dataclass(frozen=True)
class BundleSettings:
    """What a bundle is called and which models are trained for it; `checkpoints` is a folder for interrupted trainings.

    Without `next_key` a bundle of all models has the plain detector alone. `rules` is a rules file for the bundle to carry.
    """

    name: str
    version: str = "1"
    models: Literal["all", "baseline"] = "all"
    next_key: bool = True
    charcnn: "CharCNNSettings | None" = None
    loggpt: "LogGPTSettings | None" = None
    checkpoints: Path | None = None
    rules: Path | None = None
    say: Callable[[str], None] = lambda text: None


class Fitted(NamedTuple):
    """A bundle, with the training curves of its networks by name."""

    bundle: Bundle
    curves: "dict[str, Curve]"


CLASSIFIER_FILES: Final = {"terms": "terms.npz", "procedures": "procedures.npz", "charcnn": "charcnn.npz"}


def classifiers_in(bundle: Bundle) -> list[str]:
    """All classifiers that were fitted for a bundle, those without a share among them."""
    return [name for name, file in CLASSIFIER_FILES.items() if file in bundle.card.files]


def alone(bundle: Bundle, classifier: str) -> Bundle:
    """The bundle with one classifier, calibrated by itself, and the plain detector: what the whole one is compared with."""
    changes = {"classifiers": {classifier: 1.0}, "temperature": 1.0, "detectors": ("profile",)}
    return Bundle(bundle.card.model_copy(update=changes), {name: bundle.data(name) for name in bundle.card.files})


def fit_bundle(corpus: Corpus, training: NDArray[np.intp], kind: str, seed: int, settings: BundleSettings) -> Fitted:
    """Fits on the runs `training`; groups of near copies are those of `kind`."""
    masked, groups = corpus.masked, corpus.groups(kind, training)
    templates = fit_templates(masked, training.tolist())
    keyed = KeyedRuns(masked, templates)
    passing = training[masked.labels[training] == corpus.passing_label].tolist()
    targets = np.array([corpus.labels.index(label) for label in masked.labels[training]])
    passing_groups = corpus.groups(kind, np.asarray(passing))
    digest = fingerprint(corpus.runs)
    networks = None
    if settings.models == "all":
        from training.fit.networks import Ground, fit_networks

        about = {"fingerprint": digest, "kind": kind, "seed": seed}
        networks = fit_networks(
            Ground(masked, corpus.labels, training, groups, passing, passing_groups, keyed, templates), seed, settings, about
        )
    orders = networks.orders if networks else None
    detector = fit_detector(keyed, templates, passing, passing_groups, seed, orders)
    terms = fit_terms(masked, training, groups, corpus.labels, seed)
    term_index = {term: i for i, term in enumerate(terms.terms)}
    terms_of_line = [[term_index[t] for t in line_terms(words) if t in term_index] for words in masked.words]
    expected_terms = keyed.expected_terms(passing, detector.profile.expected, templates, terms_of_line)
    procedures = fit_procedures(corpus.runs, masked, training, groups, corpus.labels, passing, seed)
    fitted = {n: one for n, one in {"terms": terms, "procedures": procedures, "charcnn": networks}.items() if one}
    pool = fit_pool({name: one.out_of_fold for name, one in fitted.items()}, targets)
    files = {
        "templates.json": templates.to_json().encode(),
        "detector.json": detector.profile.model_dump_json(indent=1).encode(),
        "reducer.json": fit_reducer(keyed, templates, passing).model_dump_json(indent=1).encode(),
        **terms.files(expected_terms),
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
        numbers=masked.numbers,
        classifiers=pool.shares,
        temperature=round(pool.temperature, 4),
        detectors=("profile", "next_key") if orders else ("profile",),
        review_below_confidence=review_limit(pool.scores, targets),
        review_below_known_share=REVIEW_BELOW_KNOWN_SHARE,
        files=dict.fromkeys(files, ""),
        training={
            "source": corpus.source,
            "fingerprint": digest,
            "runs": len(training),
            "runs_by_label": dict(Counter(masked.labels[training].tolist())),
            "split": f"the test part of split_{kind} held out, seed {seed}"
            if kind in corpus.runs[0].parts
            else f"a fifth held out by {kind}, seed {seed}",
            "seed": seed,
            "templates": len(templates.keys),
            "terms": len(terms.terms),
            "inverse_penalty": terms.inverse_penalty,
            "temperatures": {name: round(one.temperature, 4) for name, one in fitted.items()},
            "out_of_fold_log_loss": pool.losses,
            **({"charcnn_precision": networks.precision._asdict()} if networks else {}),
        },
    )
    return Fitted(Bundle(card, files), networks.curves if networks else {})


def _description(shares: dict[str, float], with_order: bool) -> str:
    named = {
        "terms": "TF-IDF + logistic regression",
        "procedures": "boosted trees on the procedures of the UEs",
        "charcnn": "residual char-CNN",
    }
    classifiers = " and ".join(f"{named[name]} ({share:g})" for name, share in shares.items())
    return f"{classifiers}; plain key detector{' and LogGPT next-key detector' if with_order else ''}"
