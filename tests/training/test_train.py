"""Training from a user's folder of logs, end to end, and what is refused before time is spent."""

import json
from pathlib import Path

import pytest

from stream_triage import Bundle, Triage
from tests.corpus import make_run, runs
from training.data import CorpusError, fingerprint, read_folder
from training.train import main


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three hundred runs in folders with a CSV file of labels."""
    rows = ["run,label,group"]
    for i, run in enumerate(runs(300)):
        folder = tmp_path / "logs" / run.run_id
        folder.mkdir(parents=True)
        for source, data in run.sources.items():
            (folder / f"{source}.log").write_bytes(data)
        rows.append(f"{run.run_id},{run.label},g{i}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def train(corpus: Path, *more: str) -> int:
    names = ["--logs", str(corpus / "logs"), "--labels", str(corpus / "labels.csv"), "--out", str(corpus / "mine")]
    return main([*names, "--seeds", "2", *more])


def test_own_logs_become_a_bundle_that_judges(corpus: Path) -> None:
    """One command makes a bundle with card, checksums and held-out scores, and it judges new runs rightly."""
    assert train(corpus) == 0
    bundle = Bundle.open(corpus / "mine")
    assert bundle.card.name == "mine"
    assert set(bundle.card.labels) == {"Pass", "L2", "L3"}
    assert bundle.card.labels[0] == bundle.card.passing_label == "Pass"
    scores = bundle.card.scores["group"]
    assert len(scores["macro_f1"]["values"]) == 2
    assert sum(int(row["found"].split(" of ")[1]) for row in scores["first_seed"]["per_label"].values()) == 60
    assert min(scores["macro_f1"]["values"]) > 0.95
    triage = Triage(bundle)
    for label in ("Pass", "L2", "L3"):
        session = triage.session("new")
        for source, data in make_run(label, 5000).sources.items():
            session.feed(data, source)
        assert session.close().label == label


def test_training_twice_gives_the_same_bundle(corpus: Path) -> None:
    """Same runs, same seed: same files."""
    assert train(corpus) == 0
    first = {path.name: path.read_bytes() for path in (corpus / "mine").iterdir() if path.suffix == ".json"}
    assert train(corpus) == 0
    assert first == {path.name: path.read_bytes() for path in (corpus / "mine").iterdir() if path.suffix == ".json"}


def test_no_secret_of_the_training_runs_is_in_the_bundle(corpus: Path) -> None:
    """Identities in training text are redacted before anything is learned from it."""
    for path in sorted((corpus / "logs").glob("*/ue.log")):
        path.write_text(path.read_text() + "SIM IMSI=001019876543210 opc=8baf473f2f8fd09487cccbd7097c6862\n")
    assert train(corpus) == 0
    for path in (corpus / "mine").iterdir():
        assert b"9876543210" not in path.read_bytes()
        assert b"8baf473f" not in path.read_bytes()
    assert "<imsi>" in (corpus / "mine" / "templates.json").read_text()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("name,label\nrun-0,Pass\n", "needs a first line with the columns run,label"),
        ("run,label\nrun-0,Pass\nrun-0,L2\n", "run run-0 has two labels, Pass and L2"),
        ("run,label\nrun-0,\n", "run or label is empty"),
        ("run,label\n", "names no run"),
        ("run,label\nrun-999,Pass\n", "run run-999 of the labels file is neither a file nor a folder"),
        ("run,label\nrun-0,Good\nrun-1,L2\n", "no run has the passing label 'Pass'"),
        ("run,label\nrun-0,Pass\nrun-3,Pass\n", "all runs have one label"),
        ("run,label\nrun-0,Pass\nrun-3,Pass\nrun-1,L2\n", "label 'L2' has a single run"),
    ],
)
def test_bad_labels_are_named_in_one_sentence(
    corpus: Path, capsys: pytest.CaptureFixture[str], labels: str, message: str
) -> None:
    (corpus / "labels.csv").write_text(labels)
    assert train(corpus) == 2
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert error.startswith("error: ")
    assert message in error


def test_a_folder_without_logs_is_named(corpus: Path) -> None:
    (corpus / "logs" / "empty").mkdir()
    (corpus / "labels.csv").write_text("run,label\nempty,Pass\n")
    with pytest.raises(CorpusError, match="run empty is a folder without files"):
        read_folder(corpus / "logs", corpus / "labels.csv")


def test_fingerprint_knows_the_runs_and_not_their_order() -> None:
    some = list(runs(6))
    assert fingerprint(some) == fingerprint(reversed(some))
    assert fingerprint(some) != fingerprint(some[:-1])


def test_small_corpora_get_no_macro_f1(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a handful of runs a label the card says accuracy and k of n, and no misleading F1."""
    rows = (corpus / "labels.csv").read_text().splitlines()[:31]
    (corpus / "labels.csv").write_text("\n".join(rows) + "\n")
    assert train(corpus) == 0
    assert "no label has 20 held-out runs" in capsys.readouterr().err
    assert json.loads((corpus / "mine" / "card.json").read_text())["scores"]["group"]["macro_f1"]["mean"] is None


@pytest.mark.slow
def test_training_is_tracked_in_mlflow(corpus: Path) -> None:
    """With --track the scores of each seed stand in the MLflow store."""
    import mlflow

    uri = f"sqlite:///{corpus / 'track.db'}"
    assert train(corpus, "--track", uri) == 0
    mlflow.set_tracking_uri(uri)
    found = mlflow.search_runs(search_all_experiments=True, output_format="list")
    card = json.loads((corpus / "mine" / "card.json").read_text())
    assert len(found) == 1
    assert found[0].data.metrics["group/macro_f1"] == pytest.approx(
        card["scores"]["group"]["macro_f1"]["values"][-1], abs=1e-4
    )
