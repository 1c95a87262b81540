"""How early a run is surely lost: weights, limit, and what is measured, on runs of a few terms; and the shipped bundles."""

from pathlib import Path

import numpy as np
import pytest

from stream_triage import Bundle, Triage, find_bundle
from training.early_stop import Course, fit_weights, lost_at, main, measure, scores_of

ROOT = Path(__file__).parents[2]
# Terms: start, good, assertion, and one that comes in both.
START, GOOD, ASSERTION, BOTH = range(4)


def course(label: str, group: str, **terms: float) -> Course:
    places = {"start": START, "good": GOOD, "assertion": ASSERTION, "both": BOTH}
    order = sorted(terms, key=terms.__getitem__)
    indexes = np.array([places[name] for name in order], dtype=np.int32)
    return Course(label, group, 100, indexes, np.array([terms[name] for name in order]))


PASSES = [course("Pass", f"p{number}", start=0.1, good=0.9, both=0.5) for number in range(20)]
FAILS = [course("L2", f"f{number}", start=0.2, assertion=0.7, both=0.5) for number in range(20)]


class TestFit:
    def test_only_what_comes_in_failing_runs_counts(self):
        weights = fit_weights([*PASSES, *FAILS], 4, "Pass")
        assert (weights >= 0).all()
        assert weights[ASSERTION] > 10 * max(weights[START], weights[GOOD], weights[BOTH])
        assert (scores_of(FAILS, weights) > scores_of(PASSES, weights)).all()

    def test_a_missing_good_line_is_no_sign(self):
        """Beginnings of passing runs are below any complete passing run."""
        weights = fit_weights([*PASSES, *FAILS], 4, "Pass")
        limit = float(scores_of(PASSES, weights).max())
        begun = course("Pass", "p", start=0.1)
        assert scores_of([begun], weights)[0] <= limit
        assert lost_at(begun, weights, limit) == float("inf")

    def test_measured(self):
        weights = fit_weights([*PASSES, *FAILS], 4, "Pass")
        odd = course("Pass", "odd", start=0.1, assertion=0.3)
        found = measure([*PASSES, odd, *FAILS], weights, "Pass")
        assert (found["passing_runs"], found["failing_runs"]) == (21, 20)
        assert found["false_stops"] == 1, "in its own fold, nobody knew that a passing run may say so"
        assert found["stopped"] < 20
        clean = measure([*PASSES, *FAILS], weights, "Pass")
        assert (clean["false_stops"], clean["stopped"], clean["median_share"]) == (0, 20, 0.7)
        assert (clean["median_line"], clean["lines_not_run"]) == (70, 0.3)

    def test_a_run_that_never_shows_it(self):
        silent = [course("L2", f"s{number}", start=0.2) for number in range(30)]
        weights = fit_weights([*PASSES, *FAILS], 4, "Pass")
        found = measure([*PASSES, *silent], weights, "Pass")
        assert (found["stopped"], found["median_share"], found["lines_not_run"]) == (0, None, 0.0)


def test_runs_that_the_bundle_was_not_trained_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--bundle", str(ROOT / "models" / "oai5g")]) == 2
    assert "name --oai" in capsys.readouterr().err


@pytest.mark.parametrize(("bundle", "sample", "lost"), [
    ("oai5g", "attach-pass", False), ("oai5g", "prach-assert", True), ("oai5g", "attach-rejected", True),
    ("tm500", "expected-reject.log", False),
])  # fmt: skip
def test_samples(bundle: str, sample: str, lost: bool):
    """Passing ones are never lost, at no line; failing ones are when the line has come that says so."""
    place = ROOT / "samples" / bundle / sample
    session = Triage(Bundle.open(find_bundle(bundle))).session("a")
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    said = []
    for file in files:
        lines = file.read_bytes().splitlines(keepends=True)
        for start in range(0, len(lines), 20):
            session.feed(b"".join(lines[start : start + 20]), file.stem)
            session.peek()
            said.append(session.certain_to_fail())
    session.text.close()
    assert said == sorted(said), "once lost is always lost"
    assert said[-1] is lost
