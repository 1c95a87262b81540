"""The simplest models on a predefined split."""

import json
from pathlib import Path

import pytest

from tests.corpus import runs, write_logs
from training.paper.baselines import main

pytestmark = pytest.mark.slow  # XGBoost comes with training


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_logs(tmp_path / "logs", runs(60))
    rows = [f"{run.run_id},{run.label},{'test' if i % 4 == 0 else 'train'}" for i, run in enumerate(runs(60))]
    (tmp_path / "labels.csv").write_text("\n".join(["run,label,split_new", *rows]) + "\n")
    return tmp_path


def call(corpus: Path) -> int:
    names = ["--logs", str(corpus / "logs"), "--labels", str(corpus / "labels.csv"), "--out", str(corpus / "out.json")]
    return main(names)


@pytest.mark.slow  # xgboost
def test_rows_of_all_models(corpus: Path) -> None:
    """The commonest label and the keyword rule once, TF-IDF for each way to mask numbers; words tell these runs apart."""
    assert call(corpus) == 0
    rows = json.loads((corpus / "out.json").read_text())
    assert [(row["model"], row["numbers"]) for row in rows] == [
        ("commonest label", ""),
        ("keyword rule", ""),
        ("TF-IDF + logistic regression", "magnitude"),
        ("TF-IDF + XGBoost", "magnitude"),
        ("TF-IDF + logistic regression", "valued"),
        ("TF-IDF + logistic regression", "removed"),
    ]
    assert all(sum(map(sum, row["confusion"])) == 15 for row in rows)
    assert rows[0]["accuracy"] == pytest.approx(1 / 3, abs=0.01)
    assert min(row["macro_f1"] for row in rows[2:]) > 0.9


def test_a_labels_file_without_splits_is_named(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the column that is missing."""
    text = (corpus / "labels.csv").read_text().replace("split_new", "part")
    (corpus / "labels.csv").write_text(text)
    assert call(corpus) == 2
    assert "defines no split; add a column split_NAME" in capsys.readouterr().err
