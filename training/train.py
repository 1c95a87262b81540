"""Labelled runs in, a model bundle with its card out.

    python -m training.train --oai data/ran/oai_rfsim_runs.jsonl.xz --out models/oai5g
    python -m training.train --logs my/logs --labels my/labels.csv --out models/mine

The steps, in order: read the runs, hold a fifth out, mine the templates, fit classifier and detector on the rest, score the
held-out runs through the serving pipeline, repeat with other seeds and groupings for the spread, write bundle and card.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_triage.bundle import Bundle, Card, replaceable_files, write_bundle
from stream_triage.errors import StreamTriageError
from stream_triage.settings import Settings, load_settings
from stream_triage.stages.classify import line_terms
from stream_triage.stages.normalise import MASKING_VERSION
from stream_triage.stages.redact import Redactor
from training.data import CorpusError, LabelledRun, MaskedRuns, fingerprint, read_folder, read_oai
from training.evaluate import MIN_TEST_RUNS, Scores, judge, mean_and_spread, scores_of
from training.fit_templates import fit_templates
from training.splits import FOLDS, hold_out
from training.tracking import Tracker, TrackingError, tracking
from training.train_classifier import ClassifierFit, fit_classifier
from training.train_detector import KeyedRuns, fit_detector, fit_reducer

__all__ = ["main"]

# One group of each label is held out; the rest is cross-fitted. The bundle's own split needs as many as there are folds.
MIN_GROUPS_PER_LABEL = FOLDS
REVIEW_BELOW_KNOWN_SHARE = 0.6
# The verdicts above the confidence limit may be wrong this often, on runs each fold had not seen.
ACCEPTED_ERROR = 0.01
OAI_SOURCE = (
    "OpenAirInterface 5G on the RF simulator with injected configuration faults: "
    "johnson-penguin/Telco-Co-Pilot-SFT-Data-Generation-Training, EvanZJ/oai-error-configuration"
)


@dataclass(frozen=True)
class Corpus:
    """Runs, their masked lines, and which kinds of groups to hold out by; the first kind makes the bundle."""

    runs: Sequence[LabelledRun]
    masked: MaskedRuns
    labels: tuple[str, ...]
    passing_label: str
    group_kinds: tuple[str, ...]

    def groups(self, kind: str, indexes: NDArray[np.intp]) -> list[str]:
        return [self.runs[i].groups[kind] for i in indexes.tolist()]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    try:
        replaceable_files(arguments.out)  # refuses a folder of something else before time is spent
        settings = load_settings(arguments.config)
        redactor = Redactor.from_settings(settings.redaction)
        with tracking(arguments.track, "stream-triage") as tracker:
            train(arguments, settings, redactor, tracker)
    except (CorpusError, TrackingError, StreamTriageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=(__doc__ or "").split("\n")[0])
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--oai", type=Path, help="oai_rfsim_runs.jsonl.xz")
    data.add_argument("--logs", type=Path, help="folder of logs, with --labels")
    parser.add_argument("--labels", type=Path, help="CSV file with the columns run,label and perhaps group")
    parser.add_argument("--passing-label", default="Pass")
    parser.add_argument("--config", type=Path, help="settings file (TOML), the one that `stream-triage run` will use")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle; its name is the bundle's name")
    parser.add_argument("--version", default="1", help="version of the bundle")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split that the bundle is made from")
    parser.add_argument("--seeds", type=int, default=5, help="splits scored for mean and spread, the bundle's included")
    parser.add_argument("--track", metavar="URI", nargs="?", const="sqlite:///mlflow.db", help="log to MLflow")
    arguments = parser.parse_args(argv)
    if arguments.logs and not arguments.labels:
        parser.error("--logs needs --labels")
    if arguments.seed < 0 or arguments.seeds < 1:
        parser.error("--seed counts from 0, and --seeds from 1")
    return arguments


def train(arguments: argparse.Namespace, settings: Settings, redactor: Redactor, tracker: Tracker) -> Bundle:
    corpus = _read(arguments, settings, redactor)
    tracker.parameters({"runs": len(corpus.runs), "seed": arguments.seed, "labels": ",".join(corpus.labels)})
    bundle, scores = None, {}
    for kind in corpus.group_kinds:
        per_seed = []
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            fitted, score = fit_and_score(corpus, kind, seed, arguments)
            per_seed.append(score)
            _say(f"{kind}, seed {seed}: {_told(score)}")
            tracker.metrics({f"{kind}/macro_f1": score.macro_f1, f"{kind}/auroc": score.anomaly_auroc}, step=seed)
            bundle = bundle or fitted
        scores[kind] = _summary(per_seed)
    assert bundle is not None
    card = bundle.card.model_copy(update={"scores": scores})
    files = {name: bundle.data(name) for name in card.files}
    return write_bundle(arguments.out, card, files)


def _read(arguments: argparse.Namespace, settings: Settings, redactor: Redactor) -> Corpus:
    runs = read_oai(arguments.oai) if arguments.oai else read_folder(arguments.logs, arguments.labels, settings.input)
    kinds = ("template_hash", "injected_key") if arguments.oai else ("group",)
    counts = Counter(run.label for run in runs)
    if arguments.passing_label not in counts:
        raise CorpusError(f"no run has the passing label {arguments.passing_label!r}; name yours with --passing-label")
    if len(counts) < 2:
        raise CorpusError("all runs have one label; a classifier needs at least one more")
    _refuse_rare_labels(runs, kinds[0])
    _say(f"{len(runs)} runs: " + ", ".join(f"{label} {count}" for label, count in sorted(counts.items())))
    started = time.perf_counter()
    masked = MaskedRuns(runs, redactor, settings.input.line_bytes)
    _say(f"{len(masked.lines)} distinct masked lines in {time.perf_counter() - started:.0f} s")
    others = sorted(set(counts) - {arguments.passing_label})
    return Corpus(runs, masked, (arguments.passing_label, *others), arguments.passing_label, kinds)


def _refuse_rare_labels(runs: Sequence[LabelledRun], kind: str) -> None:
    groups = Counter(label for label, _ in {(run.label, run.groups[kind]) for run in runs})
    rarest = min(sorted(groups), key=lambda label: groups[label])
    if groups[rarest] < MIN_GROUPS_PER_LABEL:
        count = groups[rarest]
        raise CorpusError(
            f"label {rarest!r} has {count} run{'s' if count > 1 else ''}, near copies counted once; training needs "
            f"{MIN_GROUPS_PER_LABEL} of each label: add runs or leave the label out"
        )


def fit_and_score(corpus: Corpus, kind: str, seed: int, arguments: argparse.Namespace) -> tuple[Bundle, Scores]:
    """A bundle from the training part of one split, and its scores on the held-out part."""
    every = np.arange(len(corpus.runs))
    training, test = hold_out([run.label for run in corpus.runs], corpus.groups(kind, every), seed)
    bundle = fit_bundle(corpus, training, kind, seed, arguments)
    held_out = [corpus.runs[i] for i in test.tolist()]
    return bundle, scores_of(
        held_out, judge(bundle, held_out, corpus.masked.redactor, corpus.masked.line_bytes), corpus.passing_label
    )


def fit_bundle(corpus: Corpus, training: NDArray[np.intp], kind: str, seed: int, arguments: argparse.Namespace) -> Bundle:
    masked = corpus.masked
    templates = fit_templates(masked, training.tolist())
    passing = training[masked.labels[training] == corpus.passing_label]
    keyed = KeyedRuns(masked, templates)
    detector = fit_detector(keyed, templates, passing.tolist(), corpus.groups(kind, passing), seed)
    classifier = fit_classifier(masked, training, corpus.groups(kind, training), corpus.labels, seed)
    term_index = {term: i for i, term in enumerate(classifier.terms)}
    terms_of_line = [[term_index[t] for t in line_terms(words) if t in term_index] for words in masked.words]
    expected_terms = keyed.expected_terms(passing.tolist(), detector.profile.expected, templates, terms_of_line)
    targets = np.array([corpus.labels.index(label) for label in masked.labels[training]])
    files = {
        "templates.json": templates.to_json().encode(),
        "detector.json": detector.profile.model_dump_json(indent=1).encode(),
        "reducer.json": fit_reducer(keyed, templates, passing.tolist()).model_dump_json(indent=1).encode(),
        **classifier.files(expected_terms),
    }
    card = Card(
        name=arguments.out.resolve().name,
        version=arguments.version,
        description="TF-IDF + logistic regression classifier and plain key detector",
        labels=corpus.labels,
        passing_label=corpus.passing_label,
        masking_version=MASKING_VERSION,
        review_below_confidence=_review_limit(classifier, targets),
        review_below_known_share=REVIEW_BELOW_KNOWN_SHARE,
        files=dict.fromkeys(files, ""),
        training={
            "source": OAI_SOURCE if arguments.oai else "own logs",
            "fingerprint": fingerprint(corpus.runs),
            "runs": len(training),
            "runs_by_label": dict(Counter(masked.labels[training].tolist())),
            "split": f"a fifth held out by {kind}, seed {seed}",
            "seed": seed,
            "templates": len(templates.keys),
            "terms": len(classifier.terms),
            "inverse_penalty": classifier.inverse_penalty,
            "temperature": round(classifier.temperature, 4),
        },
    )
    return Bundle(card, files)


def _review_limit(fit: ClassifierFit, targets: NDArray[np.intp]) -> float:
    """Lowest confidence limit, at least one half, above which out-of-fold verdicts err no more often than accepted."""
    exponentials = np.exp(fit.out_of_fold - fit.out_of_fold.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != targets
    for limit in np.arange(0.5, 1.0, 0.05):
        accepted = confidence >= limit
        if not accepted.any() or wrong[accepted].mean() <= ACCEPTED_ERROR:
            return round(float(limit), 2)
    return 0.95


def _summary(per_seed: Sequence[Scores]) -> dict[str, Any]:
    return {
        "macro_f1": mean_and_spread([score.macro_f1 for score in per_seed]),
        "keyword_rule_macro_f1": mean_and_spread([score.keyword_macro_f1 for score in per_seed]),
        "anomaly_auroc": mean_and_spread([score.anomaly_auroc for score in per_seed]),
        "false_alarm_rate": mean_and_spread([score.false_alarm_rate for score in per_seed]),
        "first_seed": per_seed[0].table,
    }


def _told(score: Scores) -> str:
    if np.isnan(score.macro_f1):
        return f"accuracy {score.table['accuracy']:.4f}; no label has {MIN_TEST_RUNS} held-out runs, so there is no macro-F1"
    return f"macro-F1 {score.macro_f1:.4f} (keyword rule {score.keyword_macro_f1:.4f})"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
