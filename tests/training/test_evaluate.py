"""Scores on hand-made verdicts, and the shipped bundle's scores from files, as a user would get them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_triage import Bundle
from stream_triage.records import UNKNOWN
from tests.corpus import tiny_bundle
from tests.verdicts import make_verdict
from training.data import LabelledRun, read_oai
from training.evaluate import HeldOut, expected_calibration_error, mean_and_spread, paired_bootstrap, scores_of
from training.keyword_rule import keyword_label
from training.splits import cross_folds, hold_out


def test_scores_by_hand() -> None:
    """25 passing and 25 failing runs, five failing ones missed, and a label of two runs that is reported as k of n."""
    true = ["Pass"] * 25 + ["L3"] * 25 + ["L2"] * 2
    predicted = ["Pass"] * 25 + ["L3"] * 20 + ["Pass"] * 5 + ["L2", "L3"]
    runs = [LabelledRun(str(i), label, {"": b"all fine"}) for i, label in enumerate(true)]
    verdicts = [
        make_verdict(str(i), label=label, anomaly_score=0.1 if true[i] == "Pass" else 0.9, anomalous=true[i] != "Pass")
        for i, label in enumerate(predicted)
    ]
    scores = scores_of(runs, verdicts, "Pass")
    # Pass: precision 25/30, recall 1; L3: precision 20/21, recall 20/25.
    passing, l3 = 2 * (25 / 30) / (25 / 30 + 1), 2 * (20 / 21) * 0.8 / (20 / 21 + 0.8)
    assert scores.macro_f1 == pytest.approx((passing + l3) / 2)
    assert scores.anomaly_auroc == 1.0
    assert scores.false_alarm_rate == 0.0
    assert scores.table["macro_f1_over"] == ["L3", "Pass"]
    assert scores.table["per_label"]["L2"] == {"found": "1 of 2", "said_wrongly": 0}
    assert scores.table["per_label"]["L3"]["recall"] == 0.8


def test_unknown_runs_count_as_wrong() -> None:
    """No run has the label, so it lowers the recall of the true one, and is no label that is averaged over."""
    runs = [LabelledRun(str(i), "Pass" if i < 25 else "L3", {"": b"text"}) for i in range(50)]
    labels = ["Pass"] * 25 + ["L3"] * 20 + [UNKNOWN] * 5
    verdicts = [make_verdict(str(i), label=label, passed=label == "Pass") for i, label in enumerate(labels)]
    table = scores_of(runs, verdicts, "Pass").table
    assert (table["accuracy"], table["macro_f1_over"]) == (0.9, ["L3", "Pass"])
    assert table["per_label"]["L3"]["recall"] == 0.8
    split = HeldOut([run.label for run in runs], [str(i) for i in range(50)], {"model": labels})
    assert split.confusion("model", ["Pass", "L3"]) == [[25, 0], [0, 20]]
    assert paired_bootstrap([split], "model", "model")["difference"] == 0


def test_calibration_error_by_hand() -> None:
    """Ten verdicts of confidence 0.8 of which six are right: the gap is 0.2."""
    right = np.array([True] * 6 + [False] * 4)
    assert expected_calibration_error(right, np.full(10, 0.8)) == pytest.approx(0.2)


def test_mean_and_spread() -> None:
    """Sample standard deviation, rounded to four digits."""
    assert mean_and_spread([0.9, 1.0]) == {"mean": 0.95, "sd": 0.0707, "values": [0.9, 1.0]}


def test_groups_stay_on_one_side() -> None:
    """No group of near-duplicates is in both parts, and the folds cover every run once."""
    labels = ["Pass", "L3"] * 50
    groups = [str(i // 4) for i in range(100)]
    train, test = hold_out(labels, groups, 3)
    assert not {groups[i] for i in train} & {groups[i] for i in test}
    covered = sorted(i for _, part in cross_folds(labels, groups, 3) for i in part.tolist())
    assert covered == list(range(100))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (b"all fine\n", "Pass"),
        (b"[NAS] Registration reject\n", "L3"),
        (b"[NAS] reject\n[MAC] failed\n", "L2"),
        (b"Assertion in phy\n", "L0_L1"),
        (b"error\n", "Pass"),
    ],
)
def test_keyword_rule(text: bytes, label: str) -> None:
    """The last error word with a layer tag in its line decides."""
    assert keyword_label({"": text}, "Pass") == label


@pytest.mark.slow
def test_files_of_held_out_runs_give_the_score_of_the_card(data_folder: Path, shipped, tmp_path: Path) -> None:
    """The command line on files written out from the held-out runs reaches exactly the macro-F1 that the card states."""
    runs = read_oai(data_folder / "ran" / "oai_rfsim_runs.jsonl.xz")
    _, test = hold_out(
        [run.label for run in runs], [run.groups["template_hash"] for run in runs], shipped.card.training["seed"]
    )
    kept = {f"{i:05d}": runs[i] for i in test.tolist()}
    for name, run in kept.items():
        folder = tmp_path / "logs" / name
        folder.mkdir(parents=True)
        for source, data in run.sources.items():
            (folder / f"{source}.log").write_bytes(data)
    command = [
        sys.executable,
        "-m",
        "stream_triage",
        "run",
        "-b",
        "oai5g",
        "--jsonl",
        "--run-by",
        "folder",
        str(tmp_path / "logs"),
    ]
    done = subprocess.run(command, capture_output=True, check=False, timeout=170)
    assert done.returncode == 1, done.stderr.decode()
    rows = {Path(row["run_id"].split("#")[0]).name: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows.keys() == kept.keys()
    from stream_triage import Verdict

    ordered = [Verdict.model_validate(rows[name]) for name in kept]
    table = scores_of(list(kept.values()), ordered, "Pass", shipped).table
    stated = dict(shipped.card.scores["template_hash"]["first_seed"])
    cut = sum(any(reason.startswith("the log ") for reason in verdict.review_reasons) for verdict in ordered)
    assert table == stated
    assert cut <= 0.02 * len(ordered), "complete runs"


def held_out(predicted: dict[str, list[str]], groups: list[str] | None = None) -> HeldOut:
    true = ["Pass"] * 40 + ["L3"] * 40
    return HeldOut(true, groups or [str(i) for i in range(80)], predicted)


RIGHT = ["Pass"] * 40 + ["L3"] * 40
HALF_WRONG = ["Pass"] * 40 + ["L3"] * 20 + ["Pass"] * 20


def test_bootstrap_of_equal_models_is_zero() -> None:
    """Two models with the same predictions differ by nothing in any resample."""
    split = held_out({"one": HALF_WRONG, "other": HALF_WRONG})
    assert paired_bootstrap([split], "one", "other") == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_bootstrap_measures_a_difference_with_its_sign() -> None:
    """The difference is that of the scores, its interval is on one side of zero, and its sign that of the better model."""
    split = held_out({"one": RIGHT, "other": HALF_WRONG})
    figures, turned = paired_bootstrap([split], "one", "other"), paired_bootstrap([split], "other", "one")
    f1 = (2 * 40 / (40 + 60) + 2 * 20 / (40 + 20)) / 2
    assert figures["difference"] == pytest.approx(1 - f1, abs=1e-4)
    assert 0 < figures["low"] < figures["difference"] < figures["high"]
    assert turned["difference"] == -figures["difference"]


def test_bootstrap_of_near_duplicates_is_less_certain() -> None:
    """Twenty errors in one group of near-duplicates count as one, not as twenty."""
    predicted = {"one": RIGHT, "other": HALF_WRONG}
    copies = [str(min(i, 60)) for i in range(80)]
    apart, together = (paired_bootstrap([held_out(predicted, groups)], "one", "other") for groups in (None, copies))
    assert together["high"] - together["low"] > 2 * (apart["high"] - apart["low"])


def test_bootstrap_without_enough_runs_says_so() -> None:
    """Without a label of twenty runs there is no macro-F1 to compare, and all values are NaN."""
    split = HeldOut(["Pass", "L3"], ["1", "2"], {"one": ["Pass", "L3"], "other": ["L3", "L3"]})
    assert np.isnan(paired_bootstrap([split], "one", "other")["difference"])


def test_confusion_counts_true_by_predicted() -> None:
    """Rows are true labels, columns predicted ones."""
    assert held_out({"one": HALF_WRONG}).confusion("one", ["Pass", "L3"]) == [[40, 0], [20, 20]]


@pytest.mark.parametrize(
    ("interval", "statement"), [((0.0, 0.1), "0.0400 is within"), ((0.05, 0.1), "0.0400 is not within")]
)
def test_false_alarms_are_compared_with_the_stated_interval(interval: tuple[float, float], statement: str) -> None:
    """One of 25 passing runs is anomalous, which lies in the interval of the detector or not."""
    runs = [LabelledRun(str(i), "Pass", {"": b"all fine"}) for i in range(25)]
    verdicts = [make_verdict(str(i), label="Pass", anomalous=i == 0) for i in range(25)]
    stored = tiny_bundle().json("detector.json") | {"false_alarm_interval": interval}
    files = {name: tiny_bundle().data(name) for name in tiny_bundle().card.files}
    bundle = Bundle(tiny_bundle().card, files | {"detector.json": json.dumps(stored).encode()})
    table = scores_of(runs, verdicts, "Pass", bundle).table
    assert table["false_alarms"] == "1 of 25 passing runs"
    assert table["false_alarms_in_interval"].startswith(statement)
