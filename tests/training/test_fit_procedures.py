"""The classifier by procedures from training to verdict, on runs of the generated corpus."""

import random
from itertools import islice

import numpy as np
import pytest
from rich.console import Console

from stream_triage import Bundle, Triage, Verdict
from stream_triage.dialects import Dialects
from stream_triage.render.terminal import verdict_page
from stream_triage.stages.procedures import FEATURES
from stream_triage.stages.procedures.trees import Trees
from training.corpus import GeneratedRun, generate
from training.data import LabelledRun, MaskedRuns
from training.fit.bundle import Corpus, alone, fit_bundle
from training.fit.procedures import FAILED, usual_kinds
from training.fit.settings import BundleSettings

LABELS = ("Pass", "L0_L1", "L2", "L3")


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [1, 3])
def test_exported_trees_compute_what_xgboost_computes(outputs: int) -> None:
    """`grow` compares the two itself, here with unknown values, ties, and a prior."""
    from training.fit.forest import grow

    rng = np.random.default_rng(0)
    rows = rng.integers(0, 5, (300, len(FEATURES))).astype(float)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    targets = (np.nan_to_num(rows[:, 0] + rows[:, 1]) > 4).astype(int)
    prior = np.zeros((len(FEATURES) + 1, outputs))
    prior[3], prior[-1] = 0.5, -1.0
    arrays = grow(rows, targets, outputs, np.ones(300), 0, prior=prior, **{**FAILED, "colsample_bynode": 1.0})
    scores = np.array([Trees(arrays).scores(row) for row in rows])
    predicted = (scores[:, 0] > 0) if outputs == 1 else scores.argmax(axis=1)
    assert np.mean(predicted == targets) > 0.9


@pytest.mark.slow
def test_no_sign_of_trouble_makes_a_failure_less_likely() -> None:
    """Whatever the training runs show: the forest of failures only rises with a feature that must not lower it."""
    from training.fit.forest import grow

    rng = np.random.default_rng(1)
    rows = rng.integers(0, 4, (300, len(FEATURES))).astype(float)
    targets = (rows[:, 0] < 2).astype(int)  # here, less trouble means failure
    arrays = grow(rows, targets, 1, np.ones(300), 0, monotone=[1] * len(FEATURES), **FAILED)
    trees, row = Trees(arrays), rows[0].copy()
    scores = []
    for value in range(4):
        row[0] = value
        scores.append(float(trees.scores(row)[0]))
    assert scores == sorted(scores)


@pytest.fixture(scope="module")
def some() -> list[GeneratedRun]:
    return list(islice(generate(190, seed=3), 190))


@pytest.fixture(scope="module")
def bundle(some: list[GeneratedRun]) -> Bundle:
    runs = [LabelledRun(run.run_id, run.label, {"": run.text}, {"group": run.run_id}) for run in some[:150]]
    masked = MaskedRuns(runs)
    corpus = Corpus(runs, masked, LABELS, "Pass", ("group",))
    return fit_bundle(corpus, np.arange(150), "group", 0, BundleSettings("tm500", models="baseline")).bundle


def judge(triage: Triage, text: bytes, cuts: list[int]) -> Verdict:
    session = triage.session("run")
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        session.feed(text[begin:end])
        if begin % 3 == 0:
            triage.advance([session])
    return session.close()


@pytest.mark.slow
class TestBundle:
    def test_procedures_decide(self, bundle: Bundle, some: list[GeneratedRun]) -> None:
        """Trained on 150 runs, it already judges most unseen runs rightly, and better than by words alone."""
        right = {}
        for name, one in (("served", bundle), ("terms", alone(bundle, "terms"))):
            triage = Triage(one)
            right[name] = np.mean([triage.run(run.text.decode(errors="replace")).label == run.label for run in some[150:]])
        assert bundle.card.classifiers["procedures"] > 0.4
        assert right["served"] > 0.8
        assert right["served"] > right["terms"]

    def test_cutting_changes_nothing(self, bundle: Bundle, some: list[GeneratedRun]) -> None:
        """Label, scores, evidence and failed UEs are the same however the bytes are cut into chunks."""
        triage, rng = Triage(bundle), random.Random(1)
        for run in some[150:158]:
            whole = judge(triage, run.text, [])
            cut = judge(triage, run.text, sorted(rng.randrange(len(run.text)) for _ in range(20)))
            assert cut == whole

    def test_failed_ues_are_named(self, bundle: Bundle, some: list[GeneratedRun]) -> None:
        """A verdict names the UEs that never get a connection, with a line for each; the page counts them."""
        run = next(run for run in some if run.cause.startswith("ra-") and run.evidence == "records" and run.ues > 3)
        verdict = Triage(bundle).run(run.text.decode(errors="replace"))
        assert verdict.ues
        assert verdict.ues.seen == run.ues
        assert set(run.failed_ues) <= {ue.ue for ue in verdict.ues.first}
        first = verdict.ues.first[0]
        assert run.text.decode(errors="replace").split("\r\n")[first.number - 1].replace("\t", " ") == first.text.replace(
            "\t", " "
        )
        console = Console(width=120, highlight=False)
        with console.capture() as captured:
            console.print(verdict_page(verdict))
        assert f"{verdict.ues.failed} of {run.ues} UEs failed: " in captured.get()

    def test_usual_kinds_come_from_passing_runs(self, some: list[GeneratedRun]) -> None:
        """Kinds that only failing runs show are not usual, whatever their number."""
        runs = [LabelledRun(run.run_id, run.label, {"": run.text}) for run in some[:100]]
        masked = MaskedRuns(runs)
        passing = [i for i, run in enumerate(runs) if run.label == "Pass"]
        usual = usual_kinds(Dialects(), masked, passing)
        assert usual < usual_kinds(Dialects(), masked, range(100)) | usual
