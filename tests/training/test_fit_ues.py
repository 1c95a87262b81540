"""The forest that judges UEs: what it is taught about each of them, and the corpus that names those that failed."""

import csv
from pathlib import Path

import numpy as np
import pytest

from stream_triage.stages.procedures.ues import UE_FEATURES, JudgedUe
from training.both_versions import joined, main
from training.data import read_folder
from training.fit.ues import MIN_UES, fit_ues

LABELS = ("Pass", "L0_L1", "L2", "L3")


def ue(name: str, **values: float) -> JudgedUe:
    row = np.zeros(len(UE_FEATURES))
    for feature, value in values.items():
        row[UE_FEATURES.index(feature)] = value
    return JudgedUe("", name, 1, row)


@pytest.mark.slow
@pytest.mark.parametrize("known", [frozenset({"9"}), frozenset(), None])
def test_only_the_ues_that_failed_teach_a_failure(known: frozenset[str] | None) -> None:
    """In failing runs too: the others are like those of passing runs, or unknown where nobody says which failed."""
    rng = np.random.default_rng(0)
    runs, failed, targets = [], [], []
    for _ in range(4 * MIN_UES):
        label = int(rng.integers(0, 3))
        healthy = [ue(str(n), count_l2=float(rng.integers(0, 3))) for n in range(3)]
        bad = [ue("9", **{f"count_l{label}": 8.0, "breaks": 1.0})] if label else []
        runs.append([*healthy, *bad])
        failed.append(known if label else frozenset())
        targets.append(label)
    half = np.arange(len(runs)) % 2 == 0
    folds = [(np.flatnonzero(half), np.flatnonzero(~half)), (np.flatnonzero(~half), np.flatnonzero(half))]
    fit = fit_ues(runs, failed, np.array(targets), labels=len(LABELS), folds=folds, seed=0)
    assert fit
    assert fit.of_labels == (0, 1, 2)
    assert fit.out_of_fold.shape == (len(runs), 3 + 3 * 3)
    most_failed = fit.out_of_fold[:, 0]
    assert most_failed[np.array(targets) == 0].max() < 0.5 < most_failed[np.array(targets) > 0].min()


def test_too_few_failed_ues_teach_nothing() -> None:
    runs = [[ue("1")], [ue("2", breaks=1.0)]]
    folds = [(np.array([0]), np.array([1])), (np.array([1]), np.array([0]))]
    assert fit_ues(runs, [None, None], np.array([0, 1]), labels=2, folds=folds, seed=0) is None


def test_one_folder_has_both_versions(tmp_path: Path) -> None:
    """Runs, labels, failed UEs and splits of both, and nothing of a held-out part of version 1 in training."""
    assert main(["--out", str(tmp_path / "made"), "--runs", "60", "--varied", "70"]) == 0
    with (tmp_path / "made/labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    runs = {run.run: run for run in joined(60, 70, 1)}
    assert {row["version"] for row in rows} == {"1", "2"}
    assert len(rows) == len(runs) == 130
    for row in rows:
        run = runs[row["run"]]
        assert (tmp_path / "made/runs" / row["run"]).read_bytes() == run.text
        assert (row["ues"] == "") == (run.ues == "")
        assert row["label"] != "Pass" or row["ues"] == ""
    assert any(row["label"] != "Pass" and row["ues"] for row in rows)
    assert main(["--out", str(tmp_path)]) == 2


def test_the_labels_file_may_say_which_ues_failed(tmp_path: Path) -> None:
    """Ids between blanks; an empty cell says that none failed, no column that nobody knows."""
    for name in "abc":
        (tmp_path / f"{name}.log").write_text("a line\n")
    (tmp_path / "labels.csv").write_text("run,label,ues\na.log,L2,3 17\nb.log,Pass,\nc.log,L3,5\n")
    assert [run.failed_ues for run in read_folder(tmp_path, tmp_path / "labels.csv")] == [{"3", "17"}, set(), {"5"}]
    (tmp_path / "labels.csv").write_text("run,label\na.log,L2\nb.log,Pass\nc.log,L3\n")
    assert {run.failed_ues for run in read_folder(tmp_path, tmp_path / "labels.csv")} == {None}
