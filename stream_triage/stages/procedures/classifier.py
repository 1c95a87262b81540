"""Lines of the sources of a run in; log-odds of the labels out, from what became of the procedures.

Two forests decide: one whether the run failed, one in which layer if it did. They see numbers of the run, and what a third
forest says about its UEs, one by one; bundles whose training runs had too few UEs lack that one. The first forest is
monotone: no sign of trouble makes a failure less likely, so it cannot learn that runs without some habit of its training
farm fail. The score of a failing label is `g + log q`, where `g` are the log-odds of a failure and `q` the probability of
the label among failures; the score of the passing label is 0.
"""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_triage.dialects import Dialects, Signal
from stream_triage.errors import BundleError
from stream_triage.records import STARTING_POINT, Explanation, LineShare
from stream_triage.stages.procedures.features import FEATURES, features, vector
from stream_triage.stages.procedures.follow import Follower, ProcedureState
from stream_triage.stages.procedures.signs import absence, meaning
from stream_triage.stages.procedures.trees import ARRAYS, Attribution, Trees
from stream_triage.stages.procedures.ue_forest import UeForest, summary_names
from stream_triage.stages.procedures.ues import ALONE_FEATURES, UE_FEATURES, alone_values, ue_rows

__all__ = ["Procedures", "feature_names"]

# Log-odds of a label that no training run had.
NEVER = -20.0


def feature_names(labels: Sequence[str], passing: int, *, ues: bool) -> tuple[str, ...]:
    """Names of the numbers that the forests of a run see; `ues`: the bundle judges UEs."""
    return (*FEATURES, *summary_names(labels, passing), *ALONE_FEATURES) if ues else FEATURES


class Procedures:
    """Scores runs by what became of their procedures, and follows them for that.

    It stands beside the pool of classifiers, which see folded lines: here repeats count, so it has to see every line.

    Args:
        labels: All labels of the bundle.
        passing: Index of the passing one.
        usual: Kinds of records that passing runs show anyway, whatever their words say.
        failed: Trees of one output, the log-odds of a failure.
        layer: Trees with an output for each of `layers`.
        layers: Indexes of the failing labels that training runs had.
        temperature: Divisor of the scores.
        dialects: What lines are read by.
        trained: Names of the dialects that the training runs are written in.
        ues: The forest that judges UEs, if the bundle has one.

    Raises:
        BundleError: The trees do not fit the labels or the features.
    """

    def __init__(
        self,
        labels: Sequence[str],
        passing: int,
        *,
        usual: Container[int],
        failed: Trees,
        layer: Trees,
        layers: Sequence[int],
        temperature: float = 1.0,
        dialects: Dialects | None = None,
        trained: Container[str] = (),
        ues: UeForest | None = None,
    ) -> None:
        self._ues = ues
        self._names = feature_names(labels, passing, ues=ues is not None)
        fits = (
            failed.outputs == 1 and layer.outputs == len(layers) and max(failed.features, layer.features) <= len(self._names)
        )
        if not fits or passing in layers or not set(layers) <= set(range(len(labels))):
            raise BundleError("the trees of this bundle were grown for other labels or features; rebuild the bundle")
        self._label_names, self._labels, self._passing, self._usual = tuple(labels), len(labels), passing, usual
        self._failed, self._layer, self._layers = failed, layer, np.asarray(layers, dtype=np.intp)
        self._temperature = temperature
        self.dialects = dialects or Dialects()
        self._trained = frozenset(
            number for number, dialect in enumerate(self.dialects.dialects) if dialect.table.name in trained
        )
        self.follower = Follower(self.dialects)

    @classmethod
    def from_files(
        cls, labels: Sequence[str], passing: int, profile: Any, arrays: Mapping[str, NDArray[Any]], dialects: Dialects
    ) -> "Procedures":
        """From `procedures.json` and `procedures.npz` of a bundle."""
        try:
            judges_ues = bool(profile.get("ue_labels"))
            known = feature_names(labels, passing, ues=judges_ues), UE_FEATURES if judges_ues else ()
            if (tuple(profile["features"]), tuple(profile.get("ue_features", ()))) != known:
                raise BundleError("this bundle was trained on other features of procedures; retrain it")
            ues = None
            if judges_ues:
                of_labels = [labels.index(label) for label in profile["ue_labels"]]
                ues = UeForest(Trees({name: arrays[f"ues_{name}"] for name in ARRAYS}), of_labels, len(labels), passing)
            failed, layer = (Trees({name: arrays[f"{kind}_{name}"] for name in ARRAYS}) for kind in ("failed", "layer"))
            return cls(
                labels,
                passing,
                usual=frozenset(profile["usual_kinds"]),
                failed=failed,
                layer=layer,
                layers=[labels.index(label) for label in profile["layers"]],
                temperature=float(profile["temperature"]),
                dialects=dialects,
                trained=frozenset(profile.get("dialects", ())),
                ues=ues,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the procedures of this bundle are incomplete ({error}); rebuild the bundle") from None

    def signal(self, masked: str) -> Signal | None:
        """The signal of a masked line; depends on the line alone, so it can be remembered for lines like it."""
        return self.dialects.read(masked, self._usual)

    def knows(self, signal: Signal | None) -> bool:
        """Whether a line is a record of a dialect that the training runs are written in."""
        return signal is not None and signal.dialect in self._trained

    def start(self) -> ProcedureState:
        """The state of a source before its first line."""
        return self.follower.start()

    def follow(
        self, state: ProcedureState, lines: Sequence[str], signals: Iterable[Signal | None], first_number: int
    ) -> None:
        """Takes the next lines of a source in order, each with the signal of its masked form."""
        self.follower.follow(state, lines, signals, first_number)

    def scores(self, states: Mapping[str, ProcedureState]) -> NDArray[np.float64]:
        """Calibrated log-odds of the labels, shape (L,)."""
        run = vector(features(self.follower, states))
        if self._ues:
            run = np.concatenate([run, self._of_ues(self._ues, states)[0]])
        scores = np.full(self._labels, NEVER)
        scores[self._passing] = 0.0
        logits = self._layer.scores(run)
        scores[self._layers] = self._failed.scores(run)[0] + logits - _log_sum(logits)
        return scores / self._temperature

    def explain(self, states: Mapping[str, ProcedureState], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """The share of each feature goes to the line it rests on; shares of features without a line are in the rest."""
        run = features(self.follower, states)
        values, of_features = vector(run), run.lines
        if self._ues:
            of_ues, line = self._of_ues(self._ues, states)
            values = np.concatenate([values, of_ues])
            if line:
                of_features = {**of_features, **dict.fromkeys(summary_names(self._label_names, self._passing), line)}
        failed, layer = self._failed.attribute(values), self._layer.attribute(values)
        total, shares = 0.0, np.zeros(len(self._names))
        for index, sign in ((label, 1.0), (rival, -1.0)):
            one, of_one = self._shares(index, failed, layer)
            total += sign * one
            shares += sign * of_one
        total, shares = total / self._temperature, shares / self._temperature
        lines: dict[tuple[str, int], dict[str, float]] = {}
        named: dict[str, float] = {STARTING_POINT: float(total - shares.sum())}
        for name, value, share in zip(self._names, values.tolist(), shares.tolist(), strict=True):
            if share:
                line = of_features.get(name)
                parts, what = (lines.setdefault(line, {}), meaning(name)) if line else (named, absence(name, value))
                parts[what] = parts.get(what, 0.0) + share
        found = [LineShare(*line, sum(parts.values()), tuple(parts.items())) for line, parts in lines.items()]
        return Explanation(found, {}, sum(named.values()), named)

    def _of_ues(
        self, forest: UeForest, states: Mapping[str, ProcedureState]
    ) -> tuple[NDArray[np.float64], tuple[str, int] | None]:
        """The numbers that the UEs add to those of the run, and the line of the worst UE that they rest on."""
        summary = forest.summary(ue_rows(self.follower, states))
        worst = summary.worst
        line = (worst.source, worst.line) if worst and worst.line else None
        return np.concatenate([summary.values, alone_values(self.follower, states)]), line

    def _shares(self, label: int, failed: Attribution, layer: Attribution) -> tuple[float, NDArray[np.float64]]:
        """The score of a label, and the shares of the features in it.

        `log q` is no sum over features. Its share of each feature is what the feature adds to the label's own score, less
        what it adds to the others', each by its probability (the gradient of the logarithm of a softmax).
        """
        position = np.flatnonzero(self._layers == label)
        if label == self._passing or not position.size:
            return (0.0 if label == self._passing else NEVER), np.zeros(layer.shares.shape[1])
        logits = layer.base + layer.shares.sum(axis=1)
        log_q = logits - _log_sum(logits)
        shares = failed.shares[0] + layer.shares[position[0]] - np.exp(log_q) @ layer.shares
        return float(failed.base[0] + failed.shares[0].sum() + log_q[position[0]]), shares


def _log_sum(scores: NDArray[np.float64]) -> float:
    highest = scores.max()
    return float(highest + np.log(np.exp(scores - highest).sum()))
