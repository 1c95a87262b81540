"""Figures of held-out runs with their intervals, the sets they are measured on, and the page."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.corpus import LABELS, runs, tiny_bundle, write_logs
from training.data import LabelledRun, read_folder
from training.evaluate import expected_calibration_error, label_figures
from training.fit.bundle import Corpus, Fitted
from training.transfer.measures import Answers, error_at_coverage, figures, macro_f1_difference
from training.transfer.page import page
from training.transfer.sets import (
    SERVED,
    TFIDF,
    GivenSet,
    JudgedSet,
    corpus_of,
    fitted_sets,
    given_sets,
    read_extra,
    set_in_turn,
)
from training.transfer_benchmark import main, set_figures

TRUE = np.array(["Pass", "L2", "L3", "Pass"] * 50)
GROUPS = [str(i // 4) for i in range(200)]


def some_answers() -> Answers:
    """Three in ten labels are wrong, most of them with a low probability."""
    draw = np.random.default_rng(5)
    wrong = draw.random(200) < 0.3
    predicted = np.where(wrong, np.roll(TRUE, 1), TRUE)
    probability = np.where(wrong, draw.uniform(0.3, 0.9, 200), draw.uniform(0.5, 1, 200))
    return Answers(predicted, probability=probability, confidence=probability, decided=probability > 0.8)


def forty_runs() -> list[LabelledRun]:
    """Runs of the small station with a split: three of each six are tested."""
    made = []
    for i, run in enumerate(runs(90)[:40]):
        groups = {"run": run.run_id, "cause": f"c{i // 4}", "new": f"g{i // 3}"}
        made.append(replace(run, groups=groups, parts={"new": "test" if i // 3 % 2 else "train"}))
    return made


def results_of(sets: list[JudgedSet]) -> dict[str, object]:
    bundle = {"name": "tiny", "version": "1", "runs": 90, "source": "own logs"}
    shown = [set_figures(one, min_runs=1) for one in sets]
    return {"bundle": bundle, "every": 1, "minutes": 1.0, "cores": 2, "notes": ["No others."], "sets": shown}


def test_figures_are_those_of_the_card() -> None:
    """Macro-F1, accuracy and calibration error are computed as for the card, where all runs count once."""
    answers = some_answers()
    found = figures(TRUE, GROUPS, answers, 1)
    expected = label_figures(TRUE.tolist(), answers.predicted.tolist(), LABELS)
    assert answers.probability is not None
    error = expected_calibration_error(answers.predicted == TRUE, answers.probability, bins=10)
    assert found["macro_f1"]["value"] == pytest.approx(expected["macro_f1"], abs=1e-4)
    assert found["accuracy"]["value"] == pytest.approx(expected["accuracy"], abs=1e-4)
    assert found["ece"]["value"] == pytest.approx(error, abs=1e-4)


def test_decided_runs_are_shares_of_all_runs() -> None:
    """Decided and wrong is a share of all runs, and macro-F1 among the decided looks at no other run."""
    predicted = np.where(np.arange(200) < 20, "L1", TRUE)
    found = figures(TRUE, GROUPS, Answers(predicted, decided=np.arange(200) >= 10), 1)
    assert found["decided"]["value"] == 0.95
    assert found["decided_and_wrong"]["value"] == 0.05
    kept = label_figures(TRUE[10:].tolist(), predicted[10:].tolist(), LABELS)
    assert found["macro_f1_of_decided"]["value"] == pytest.approx(kept["macro_f1"], abs=1e-4)


def test_every_interval_contains_its_figure() -> None:
    """The limits lie around the value, and are apart."""
    for name, figure in figures(TRUE, GROUPS, some_answers(), 1).items():
        assert figure["value"] is not None, name
        assert figure["low"] < figure["value"] < figure["high"], name  # type: ignore[operator]


def test_intervals_are_wider_with_few_groups() -> None:
    """Errors that come in whole groups are less certain than errors that are spread over single runs."""
    answers = Answers(np.where(np.arange(200) < 40, "L1", TRUE))

    def width(groups: list[str]) -> float:
        figure = figures(TRUE, groups, answers, 1)["macro_f1"]
        assert figure["low"] is not None
        assert figure["high"] is not None
        return figure["high"] - figure["low"]

    assert width([str(i // 40) for i in range(200)]) > 2 * width([str(i) for i in range(200)])


def test_one_group_says_nothing_about_others() -> None:
    """All values are possible in other groups."""
    found = figures(TRUE, ["one"] * 200, some_answers(), 1)
    assert {(figure["low"], figure["high"]) for figure in found.values()} == {(0.0, 1.0)}


def test_macro_f1_among_few_decided_runs_is_not_given() -> None:
    """A label needs enough decided runs; those that are not decided do not help."""
    decided = np.arange(200) < 79
    assert figures(TRUE, GROUPS, Answers(TRUE, decided=decided), 20)["macro_f1_of_decided"]["value"] == 1
    assert figures(TRUE, GROUPS, Answers(TRUE, decided=decided), 40)["macro_f1_of_decided"]["value"] is None


def test_nothing_decided_has_no_macro_f1() -> None:
    """Macro-F1 among no runs is unknown, not zero."""
    found = figures(TRUE, GROUPS, Answers(TRUE, decided=np.zeros(200, dtype=bool)), 1)
    assert found["macro_f1_of_decided"] == {"value": None, "low": None, "high": None}
    assert found["decided"]["value"] == 0


def test_a_model_does_not_differ_from_itself() -> None:
    """Both models see the same resamples, so the difference is zero in all of them, and above zero against a worse one."""
    answers = some_answers()
    same = macro_f1_difference(TRUE, GROUPS, answers, answers, LABELS)
    assert same == {"value": 0.0, "low": 0.0, "high": 0.0}
    better = macro_f1_difference(TRUE, GROUPS, Answers(TRUE), answers, LABELS)
    assert better["low"] is not None
    assert better["low"] > 0


def test_error_falls_with_coverage_if_confidence_is_right() -> None:
    """The least confident runs are put aside first; a model without confidence has no curve."""
    wrong = np.arange(200) < 40
    answers = Answers(np.where(wrong, "L1", TRUE), confidence=np.where(wrong, 0.4, 0.9))
    assert error_at_coverage(TRUE, answers) == {"20": 0.0, "40": 0.0, "60": 0.0, "80": 0.0, "100": 0.2}
    assert error_at_coverage(TRUE, Answers(TRUE)) == {}


def test_sets_go_from_training_to_the_page() -> None:
    """A split and a given bundle are measured beside all baselines, and the page has a row for each in every table."""
    made = forty_runs()
    held_out = [one for one in made if one.parts["new"] == "test"]
    corpus = corpus_of([*made, *held_out], labels_of=made)
    sets = list(fitted_sets(corpus, len(made), ["new"], "small", rules=None))
    sets += given_sets(tiny_bundle(), corpus, len(made), [GivenSet("others", held_out, "cause", ["it is the same."])])
    assert [one.name for one in sets] == ["small, `new`", "others"]
    for one in sets:
        assert list(one.answers) == [SERVED, "commonest label", "keyword rule", TFIDF]
        assert one.true.tolist() == [run.label for run in held_out]
        assert (one.answers[SERVED].predicted == one.true).mean() > 0.9
    text = page(results_of(sets))
    assert text.count("\n| small, `new` | ") == text.count("\n| others | ") == 6
    assert "- others: it is the same." in text
    assert "invented" in text


def test_every_group_is_held_out_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run is judged once, by a bundle that was fitted without any run of its group."""
    made = forty_runs()
    fitted: list[set[str]] = []

    def watched(corpus: Corpus, training: NDArray[np.intp], *more: object) -> Fitted:
        fitted.append(set(corpus.groups("new", training)))
        return Fitted(tiny_bundle(), {})

    monkeypatch.setattr("training.transfer.sets.fit_bundle", watched)
    judged = set_in_turn(corpus_of(made, labels_of=made), len(made), "new", "small", folds=2, rules=None)
    groups = {run.groups["new"] for run in made}
    assert fitted[0] | fitted[1] == groups
    assert not fitted[0] & fitted[1]
    assert sorted(zip(judged.groups, judged.true.tolist(), strict=True)) == sorted(
        (run.groups["new"], run.label) for run in made
    )
    assert (judged.answers[SERVED].predicted == judged.true).all()
    assert (judged.answers[TFIDF].predicted == judged.true).mean() > 0.9


def test_the_test_part_is_not_learned_from() -> None:
    """Labels of the test part may be anything: no model that is fitted here changes its answers."""
    made = forty_runs()
    swapped = [replace(run, label="Pass") if run.parts["new"] == "test" else run for run in made]
    answers = []
    for some in (made, swapped):
        (judged,) = fitted_sets(corpus_of(some, labels_of=made), len(some), ["new"], "small", rules=None)
        answers.append(judged.answers)
    for model, before in answers[0].items():
        assert before.predicted.tolist() == answers[1][model].predicted.tolist()


def wins(served: np.ndarray, commonest: np.ndarray) -> str:  # type: ignore[type-arg]
    probability = np.full(200, 0.5)
    answers = {
        SERVED: Answers(served, probability=probability, confidence=probability, decided=probability > 0.4),
        "commonest label": Answers(commonest),
        TFIDF: Answers(np.full(200, "L3"), probability=probability, confidence=probability),
    }
    return page(results_of([JudgedSet("a set", "a bundle", "run", TRUE, GROUPS, answers)]))


def test_a_baseline_that_wins_is_named() -> None:
    """The page says in a sentence where the simplest baseline is as good as what is served, and where none is."""
    always = np.full(200, "Pass")
    worse = wins(np.full(200, "L2"), always)
    assert "- a set: the commonest label has accuracy 0.500, the served bundle 0.250." in worse
    assert "No baseline reaches" not in worse
    assert "No baseline reaches" in wins(TRUE, always)


def test_too_few_runs_of_a_label_are_named() -> None:
    """Macro-F1 leaves out a label with fewer runs than the card asks for, and the page says so."""
    true = np.where(np.arange(200) < 5, "L1", TRUE)
    answers = {name: some_answers() for name in (SERVED, TFIDF)}
    shown = set_figures(JudgedSet("a set", "a bundle", "run", true, GROUPS, answers))
    assert shown["counted"] == ["L2", "L3", "Pass"]
    text = page({**results_of([]), "sets": [shown]})
    assert "- a set: macro-F1 leaves out L1, which fewer than 20 runs have." in text


def test_an_extra_folder_may_name_files_and_causes(tmp_path: Path) -> None:
    """The column `file` stands for `run`, and runs of one cause are one group; a passing run is a group of its own."""
    write_logs(tmp_path, runs(90)[:3])
    rows = ["run-0,Pass,", "run-1,L2,lost", "run-2,L3,lost"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label,cause", *rows]) + "\n")
    assert [run.groups["cause"] for run in read_extra(tmp_path)] == ["run-0", "lost", "lost"]
    assert [run.run_id for run in read_folder(tmp_path, tmp_path / "labels.csv")] == ["run-0", "run-1", "run-2"]


@pytest.mark.parametrize("arguments", [["--extra", "nameless"], ["--quick", "0"]])
def test_wrong_arguments_are_rejected(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the option."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_a_missing_file_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is generated or fitted, the command names what is not there."""
    monkeypatch.setattr("training.transfer_benchmark.require", lambda *names: None)
    assert main(["--oai", "nowhere.xz"]) == 2
    assert "nowhere.xz does not exist; name the OpenAirInterface runs with --oai" in capsys.readouterr().err
    monkeypatch.delenv("STREAM_TRIAGE_DATA", raising=False)
    assert main(["--extra", "mine=nowhere"]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err


@pytest.mark.slow  # XGBoost; generates both versions of the corpus
def test_the_command_writes_page_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in forty runs of both versions and an extra folder, from the command to the page."""
    monkeypatch.delenv("STREAM_TRIAGE_DATA", raising=False)
    write_logs(tmp_path / "mine", runs(90)[:6])
    rows = [f"{run.run_id},{run.label}" for run in runs(90)[:6]]
    (tmp_path / "mine" / "labels.csv").write_text("\n".join(["run,label", *rows]) + "\n")
    assert main(["--quick", "40", "--extra", f"mine={tmp_path / 'mine'}", "--out", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results" / "transfer.json").read_text())
    names = [one["name"] for one in results["sets"]]
    varied = [f"version 2, {name}" for name in ("vocabulary", "`causes`", "`habits`")]
    assert names == [*varied, "version 1, `easy`", "version 1, `hard`", "mine"]
    text = (tmp_path / "out" / "TRANSFER.md").read_text()
    assert "A quick trial with one in 40 runs" in text
    assert "OpenAirInterface runs were not measured" in text
    assert all(f"| {name} | " in text for name in names)
