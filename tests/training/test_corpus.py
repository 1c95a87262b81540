"""The TM500-style corpus: its limits and its difficulty, and that the audit which checks them can fail."""

import csv
import hashlib
import json
import random
from itertools import islice
from math import sqrt
from pathlib import Path

import pytest

from stream_triage import Bundle, find_bundle
from stream_triage.settings import InputSettings
from stream_triage.stages.redact import Redactor
from training.corpus import GeneratedRun, generate
from training.corpus.__main__ import main
from training.corpus.audit import audit, giveaways, texts, ungrammatical_lines
from training.corpus.figures import Figure, failures
from training.corpus.messages import MESSAGES
from training.corpus.plan import PUBLISHED_TEST, plan
from training.data import LabelledRun, read_predefined
from training.evaluate import judge

FROZEN = "181379f2cfea478a3f2d1490c3de056550f62c7e9562a8d1a093194e6e7fe389"
"""SHA-256 over the first 200 runs of the corpus that all published scores refer to (3,262 runs, seed 1)."""
FROZEN_FIRST = "2cb599e26ee09669c5c2906f1098a1e52fd36adbb955f6bf6ef680e04302addd"
"""The same over its first 30 runs."""


@pytest.fixture(scope="module")
def some() -> list[GeneratedRun]:
    return list(generate(120, seed=7))


def digest(runs: list[GeneratedRun]) -> str:
    whole = hashlib.sha256()
    for run in runs:
        whole.update(f"{run.run_id}\0{run.label}\0{run.hard_part}\0{run.easy_part}\0".encode() + run.text)
    return whole.hexdigest()


def figure(figures: list[Figure], name: str) -> Figure:
    return next(one for one in figures if one.name == name)


def test_every_line_obeys_the_grammar(some: list[GeneratedRun]) -> None:
    """A stamped record of a known kind, or the indented continuation of one; CRLF at every end."""
    for run in some:
        assert ungrammatical_lines(run.text) == []
        assert run.text.count(b"\n") == run.text.count(b"\r\n")


def test_lines_outside_the_grammar_are_detected() -> None:
    """The check of the grammar can fail."""
    good = "13/02/25 00:43:36:616\tC: STRT 0x00 Ok\r\n   more of it\r\n"
    assert ungrammatical_lines(good.encode()) == []
    for bad in (
        "2025-02-13 00:43:36 STRT",
        "13/02/25 00:43:36:616 C: STRT 0x00 Ok",
        "13/02/25 00:43:36:616\tsomething",
        "x",
    ):
        assert ungrammatical_lines((good + bad + "\r\n").encode()) == [bad]


def test_class_proportions_are_the_published_ones() -> None:
    """The test part of the whole corpus has the 978 runs of the paper's table, label by label, in both splits."""
    planned = plan(3262, seed=1)
    for part in ("easy", "hard"):
        test = [one for one in planned if getattr(one, part) == "test"]
        assert {label: sum(one.label == label for one in test) for label in PUBLISHED_TEST} == PUBLISHED_TEST


def test_same_seed_same_bytes(some: list[GeneratedRun]) -> None:
    """A seed determines every byte, and another seed gives another corpus."""
    assert digest(list(islice(generate(120, seed=7), 20))) == digest(some[:20])
    assert digest(list(islice(generate(120, seed=8), 20))) != digest(some[:20])


def test_a_failing_run_shows_its_fault(some: list[GeneratedRun]) -> None:
    """Runs with records as evidence have the cause at the stated line, and a struck UE; passing runs have neither."""
    for run in some:
        if run.label == "Pass":
            assert (run.cause, run.root_line, run.failed_ues) == ("", None, ())
        else:
            assert run.cause
            assert run.failed_ues
            if run.evidence == "records":
                assert run.root_line is not None
                assert b"\t" in run.text.split(b"\r\n")[run.root_line - 1]


def test_written_corpus_is_read_for_training(tmp_path: Path) -> None:
    """The command writes one log for each run and a labels file that names each once."""
    assert main(["--out", str(tmp_path / "corpus"), "--runs", "40"]) == 0
    card = json.loads((tmp_path / "corpus" / "card.json").read_text())
    with (tmp_path / "corpus" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert card["runs"] == len(rows) == len(list((tmp_path / "corpus" / "runs").iterdir())) == 40
    assert card["about"].startswith("Invented.")
    assert {row["split_hard"] for row in rows} == {"train", "validation", "test"}


def test_the_smallest_corpus_can_be_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With 30 runs every label is in every part of both splits; fewer runs are rejected."""
    logs, labels = tmp_path / "corpus" / "runs", tmp_path / "corpus" / "labels.csv"
    assert main(["--out", str(tmp_path / "corpus"), "--runs", "30"]) == 0
    assert len(read_predefined(logs, labels, ["easy", "hard"])) == 30
    with pytest.raises(SystemExit) as stop:
        main(["--out", str(tmp_path / "other"), "--runs", "29"])
    assert stop.value.code == 2
    assert "--runs must be at least 30" in capsys.readouterr().err


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes into no folder that it did not write before."""
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["--out", str(tmp_path), "--runs", "40"]) == 2
    assert "contains other files" in capsys.readouterr().err


def test_every_message_has_a_layer_or_belongs_to_the_tester() -> None:
    """All layers have messages, and no message has another layer."""
    assert {message.layer for message in MESSAGES.values()} == {"", "L0_L1", "L2", "L3"}
    assert len(MESSAGES) >= 87


def test_the_first_runs_are_frozen() -> None:
    """A changed byte makes another corpus: all bundles and scores would have to be made anew."""
    assert digest(list(islice(generate(3262, seed=1), 30))) == FROZEN_FIRST


@pytest.mark.slow
def test_the_corpus_is_frozen() -> None:
    """A changed byte makes another corpus: all bundles and scores would have to be made anew."""
    assert digest(list(islice(generate(3262, seed=1), 200))) == FROZEN


@pytest.mark.slow
def test_new_runs_are_judged_as_well_as_the_card_says() -> None:
    """On runs of another seed the shipped bundle has the accuracy of its card, within three standard errors."""
    bundle = Bundle.open(find_bundle("tm500"))
    new = [LabelledRun(run.run_id, run.label, {"": run.text}) for run in generate(250, seed=20)]
    verdicts = judge(bundle, new, Redactor(), InputSettings().line_bytes)
    right = sum(run.label == verdict.label for run, verdict in zip(new, verdicts, strict=True)) / len(new)
    stated = bundle.card.scores["easy"]["first_seed"]["accuracy"]
    assert abs(right - stated) <= 3 * sqrt(stated * (1 - stated) / len(new))


@pytest.fixture(scope="module")
def runs() -> list[GeneratedRun]:
    return list(generate(700, seed=1))


@pytest.mark.slow
class TestAudit:
    """The audit on 700 runs, whose limits are wider by three standard errors than those of the whole corpus."""

    def test_all_figures_are_kept(self, runs: list[GeneratedRun]) -> None:
        """Every figure is within its limits."""
        assert failures(audit(runs)) == []

    def test_label_in_a_setting_is_detected(self, runs: list[GeneratedRun]) -> None:
        """A parameter whose value depends on the label makes labels predictable from the set-up."""
        values = {"Pass": b" 64001", "L0_L1": b" 64002", "L2": b" 64003", "L3": b" 64004"}
        bad = [run._replace(text=run.text.replace(b" 65535\r\n", values[run.label] + b"\r\n")) for run in runs]
        assert not figure(list(giveaways(bad)), "labels predicted from the text before the traffic").kept

    def test_error_words_of_one_label_and_missing_stops_are_detected(self, runs: list[GeneratedRun]) -> None:
        """An error word of one label, logs that end early, longer logs of one label, and times that go back."""
        rng = random.Random(0)
        bad = []
        for run in runs:
            text = run.text.replace(b"refused", b"declined")
            if run.label == "L3":
                text = text.replace(b"#$$DISCONNECT", b"#$$CONVERT") + b"".join(
                    b"01/01/20 00:00:00:000\tI: TMAE 0x0 Information - refused %d\r\n" % rng.randrange(9) for _ in range(900)
                )
            bad.append(run._replace(text=text))
        figures = [*texts(bad), *giveaways(bad)]
        for name in (
            "error words that passing runs hardly have",
            "logs without stop section that did not crash",
            "length of L3 beside Pass (Kolmogorov-Smirnov)",
            "logs whose times go back",
        ):
            assert not figure(figures, name).kept, name
