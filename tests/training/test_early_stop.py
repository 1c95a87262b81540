"""When a run is certain to fail: weights, limit and figures on runs of a few terms; and the shipped bundles."""

from pathlib import Path

import numpy as np
import pytest

from stream_triage import Bundle, Triage, find_bundle
from tests.corpus import runs, write_logs
from training.early_stop import Course, certain_at, fit_weights, main, measure, scores_of

ROOT = Path(__file__).parents[2]
# Terms: start, good, assertion, and one that comes in both.
START, GOOD, ASSERTION, BOTH = range(4)


def course(label: str, group: str, **terms: float) -> Course:
    numbers = {"start": START, "good": GOOD, "assertion": ASSERTION, "both": BOTH}
    order = sorted(terms, key=terms.__getitem__)
    indexes = np.array([numbers[name] for name in order], dtype=np.int32)
    return Course(label, group, 100, indexes, np.array([terms[name] for name in order]))


PASSES = [course("Pass", f"p{number}", start=0.1, good=0.9, both=0.5) for number in range(20)]
FAILS = [course("L2", f"f{number}", start=0.2, assertion=0.7, both=0.5) for number in range(20)]


class TestFit:
    def test_only_terms_of_failing_runs_count(self):
        """Terms that passing runs have, too, weigh little, and failing runs score higher than passing ones."""
        weights = fit_weights([*PASSES, *FAILS], 4, "Pass")
        assert (weights >= 0).all()
        assert weights[ASSERTION] > 10 * max(weights[START], weights[GOOD], weights[BOTH])
        assert (scores_of(FAILS, weights) > scores_of(PASSES, weights)).all()

    def test_a_missing_good_line_is_no_sign(self):
        """The beginning of a passing run scores no higher than a complete one, so it is never certain to fail."""
        weights = fit_weights([*PASSES, *FAILS], 4, "Pass")
        limit = float(scores_of(PASSES, weights).max())
        begun = course("Pass", "p", start=0.1)
        assert scores_of([begun], weights)[0] <= limit
        assert certain_at(begun, weights, limit) == float("inf")

    def test_figures_by_hand(self):
        """A passing run with a term of failing runs is stopped by mistake; without it all failing runs stop."""
        weights = fit_weights([*PASSES, *FAILS], 4, "Pass")
        odd = course("Pass", "odd", start=0.1, assertion=0.3)
        figures = measure([*PASSES, odd, *FAILS], weights, "Pass")
        assert (figures["passing_runs"], figures["failing_runs"]) == (21, 20)
        assert figures["false_stops"] == 1, "the limit for its fold comes from runs without the term"
        assert figures["stopped"] < 20
        clean = measure([*PASSES, *FAILS], weights, "Pass")
        assert (clean["false_stops"], clean["stopped"], clean["median_share"]) == (0, 20, 0.7)
        assert (clean["median_line"], clean["lines_not_run"]) == (70, 0.3)

    def test_failing_runs_without_a_sign_are_never_stopped(self):
        """They leave no median, and no line of them is saved."""
        silent = [course("L2", f"s{number}", start=0.2) for number in range(30)]
        weights = fit_weights([*PASSES, *FAILS], 4, "Pass")
        figures = measure([*PASSES, *silent], weights, "Pass")
        assert (figures["stopped"], figures["median_share"], figures["lines_not_run"]) == (0, None, 0.0)


def test_runs_that_the_bundle_was_not_trained_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Without runs, or with logs but without the split of the bundle, the command ends with exit 2 and a sentence."""
    bundle = ["--bundle", str(ROOT / "models" / "oai5g")]
    with pytest.raises(SystemExit) as stop:
        main(bundle)
    assert stop.value.code == 2
    assert "--oai" in capsys.readouterr().err
    write_logs(tmp_path / "logs", runs(6))
    rows = [f"{run.run_id},{run.label},{'train' if i < 3 else 'test'}" for i, run in enumerate(runs(6))]
    (tmp_path / "labels.csv").write_text("\n".join(["run,label,split_new", *rows]) + "\n")
    logs = [*bundle, "--logs", str(tmp_path / "logs"), "--labels", str(tmp_path / "labels.csv")]
    assert main(logs) == 2
    assert "--logs needs --split" in capsys.readouterr().err
    assert main([*logs, "--split", "new"]) == 2
    assert "the bundle was not trained by this split but with a fifth held out by template_hash" in capsys.readouterr().err


@pytest.mark.parametrize(("bundle", "sample", "certain"), [
    ("oai5g", "attach-pass", False), ("oai5g", "prach-assert", True), ("oai5g", "attach-rejected", True),
    ("tm500", "expected-reject.log", False),
])  # fmt: skip
def test_samples(bundle: str, sample: str, certain: bool):
    """A passing sample is certain to fail at no line; a failing one is from its telling line on."""
    path = ROOT / "samples" / bundle / sample
    session = Triage(Bundle.open(find_bundle(bundle))).session("a")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = []
    for file in files:
        lines = file.read_bytes().splitlines(keepends=True)
        for start in range(0, len(lines), 20):
            session.feed(b"".join(lines[start : start + 20]), file.stem)
            session.peek()
            states.append(session.certain_to_fail())
    session.text.close()
    assert states == sorted(states), "a run that is certain to fail stays so"
    assert states[-1] is certain
