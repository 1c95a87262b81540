"""The pre-processing unit: which runs are selected, what is removed from a text, and that a test part stays whole."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.data import CorpusError, LabelledRun
from training.paper.preprocess import Fences, PreprocessSettings, block_lengths, clean, main, select

LINE = b"13/02/25 00:43:36:616\tI: CMPI L1 CSI report: UE Id: 3: CQI 12, RI 2, PMI 4\r\n"


def run(number: int, lines: int, part: str = "train", category: str = "single-UE", label: str = "Pass") -> LabelledRun:
    return LabelledRun(f"r{number}", label, {"": LINE * lines}, {}, {"new": part}, category)


def test_numbers_long_words_and_long_lines_go() -> None:
    """Times, numbers and dumps are removed; the text is masked as in serving."""
    text = clean(LINE + b"dump " + b"ab12" * 40 + b" end\n" + b"word " * 900 + b"\n   Cause: T310\n")
    assert text == "I: CMPI L1 CSI report: UE Id: : CQI , RI , PMI\ndump end\nCause: T310"


def test_blocks_keep_their_continuation_lines() -> None:
    """A block is a confirmation or an indication with its continuation lines, and ends at the next command."""
    assert block_lengths("GSTS\nC: GSTS 0x00 Ok Reset\nI: CMPI RRC Cell Selection\nCell Info:\nforw mte Activate\nmore") == [
        21,
        37,
    ]


def test_tukey_fences() -> None:
    """Quartiles 3 and 7 of 1..9: fences at 3 - 6 and 7 + 6."""
    assert Fences.of(np.arange(1, 10)) == (-3.0, 13.0)


def test_outliers_go_from_training_and_stay_in_the_test_part() -> None:
    """Fences and the size limit do not drop runs of the test part."""
    runs = [*(run(i, 100 + i) for i in range(20)), run(20, 900), run(21, 900, "test"), run(22, 5000), run(23, 5000, "test")]
    selection = select(runs, PreprocessSettings(split="new"))
    assert selection.dropped == {20: "outside the fences", 22: "above the size limit"}
    assert selection.would_drop_of_test == 2
    assert {21, 23} <= set(selection.kept)


def test_categories_are_selected() -> None:
    """Only runs of the named categories stay; runs without a category always do."""
    runs = [run(0, 100), run(1, 100, category="multi-UE"), run(2, 100, category="")]
    assert select(runs, PreprocessSettings(("multi-UE",))).kept == [1, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PreprocessSettings(("rail",)), "no run has the category 'rail'; there is multi-UE, single-UE"),
        (PreprocessSettings(split="old"), "the labels file has no column split_old"),
        (PreprocessSettings(("multi-UE",)), "pre-processing leaves no run of label 'L2'"),
    ],
)
def test_what_cannot_be_selected_is_named(settings: PreprocessSettings, message: str) -> None:
    """An unknown category or split, and a label without a run that is left, raise an error."""
    runs = [run(0, 100, label="L2"), run(1, 100, category="multi-UE")]
    with pytest.raises(CorpusError, match=message):
        select(runs, settings)


@pytest.mark.slow  # matplotlib
def test_command_writes_figures_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints and writes the table, the fences and the share below the context, and draws two pictures."""
    rows = ["run,label,category"]
    (tmp_path / "logs").mkdir()
    for i in range(12):
        (tmp_path / "logs" / f"{i}.log").write_bytes(LINE * (100 + i))
        rows.append(f"{i}.log,{('Pass', 'L2')[i % 2]},single-UE")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    names = ["--logs", str(tmp_path / "logs"), "--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path / "out")]
    assert main(names) == 0
    assert "100.0% of the cleaned logs are below 50,000 characters" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "preprocess.json").read_text())["kept"] == 12
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"preprocess.json", "lengths.png", "boxplot.png"}
