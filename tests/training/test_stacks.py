"""The benchmark of several stacks: what it reads, what it learns from which logs, and which lines it takes for telling."""

import csv
from pathlib import Path

import numpy as np
import pytest

from stream_triage import Bundle, Triage, find_bundle
from training.data import CorpusError
from training.stacks import Judged, StackLog, general_bundle, judge_stacks, read_stacks, reliability, telling_lines
from training.stacks_benchmark import main, review_limit

GNB = (Path(__file__).parents[2] / "demo" / "gnb.log").read_bytes()
FIELDS = ("id", "stack", "source", "label", "evidence", "confidence", "note", "file")


def log(stack: str = "a", label: str = "L3", weight: float = 1.0, evidence: str = "", data: bytes = GNB) -> StackLog:
    return StackLog("x", stack, stack, label, weight, evidence, data)


def judged(stack: str, ground: str, *, right: bool, weight: float = 1.0) -> Judged:
    return Judged(log(stack, "L3", weight), "L3" if right else "L2", ground, 0, False, 0.0)


def write_index(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


def row(number: int, stack: str, label: str = "L3", confidence: str = "high") -> dict[str, str]:
    return dict(
        zip(
            FIELDS,
            (str(number), stack, f"me/{stack}@1:x", label, "registration reject", confidence, "", "g.log"),
            strict=True,
        )
    )


def test_reading(tmp_path: Path) -> None:
    """Labels are written as bundles write them; a label or a file that is missing is an error with the remedy."""
    (tmp_path / "g.log").write_bytes(GNB)
    write_index(tmp_path, [row(1, "a", "core/other", "medium")])
    (one,) = read_stacks(tmp_path)
    assert (one.label, one.weight, one.group, one.data) == ("core_other", 0.6, "a me/a", GNB)
    write_index(tmp_path, [row(1, "a", "L9")])
    with pytest.raises(CorpusError, match="L9"):
        read_stacks(tmp_path)
    with pytest.raises(CorpusError, match="--logs"):
        read_stacks(tmp_path / "none")


def test_telling_lines() -> None:
    """Each clause of the evidence names its best lines; what was injected is no clause, nor is what no line says."""
    data = b"RRC idle\nNAS registration reject received\nRRC idle\nNAS timer T3510 expired at once\n"
    evidence = "NAS: registration reject received, timer T3510 expired; nobody saw that coming; injected: RRC idle"
    assert telling_lines(log(evidence=evidence, data=data)) == {2, 4}


def test_reliability_learns_from_chosen_logs_alone() -> None:
    """A ground is worth the share of chosen logs in which it was right; many logs of one stack count like a few."""
    logs = [judged("a", "node", right=True), judged("b", "node", right=False)]
    assert reliability(logs, np.array([True, False]))["node"] > reliability(logs, np.array([True, True]))["node"]
    many = [judged("a", "node", right=True)] * 50 + [judged("b", "node", right=False)] * 2
    assert reliability(many, np.ones(52, dtype=bool))["node"] == pytest.approx(0.5)


def test_review_limit() -> None:
    """Where a ground was wrong in a stack that was held out, no verdict on it goes without a review."""
    good = [judged(stack, "node", right=True) for stack in "abcdefgh" for _ in range(4)]
    assert review_limit(good, np.ones(len(good), dtype=bool)) < 1
    bad = [*good, *[judged("z", "node", right=False)] * 4]
    assert review_limit(bad, np.ones(len(bad), dtype=bool)) == 1


def test_judging() -> None:
    """Labels, grounds and evidence come from the serving pipeline."""
    (one,) = judge_stacks([log(evidence="Received Registration Reject")], Bundle.open(find_bundle("generic")))
    assert (one.label, one.ground, one.told_by, one.found) == ("L3", "refused", 2, True)


def test_the_bundle_that_is_written_judges_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--write` writes a bundle with the relevance model of the other, which opens and judges."""
    (tmp_path / "g.log").write_bytes(GNB)
    write_index(tmp_path, [row(1, "a"), row(2, "b"), row(3, "c")])
    out = tmp_path / "made"
    arguments = ["--logs", str(tmp_path), "--no-baselines", "--write", str(out), "--version", "7"]
    assert main(arguments) == 0
    assert "macro-F1" in capsys.readouterr().out
    verdict = Triage(Bundle.open(out)).run(GNB)
    assert (verdict.label, verdict.bundle_version) == ("L3", "7")
    assert main(["--logs", str(tmp_path / "none")]) == 2
    assert "--logs" in capsys.readouterr().err


def test_what_grounds_are_worth_changes_no_label() -> None:
    """Only the confidence."""
    others = Bundle.open(find_bundle("generic"))
    worth = dict.fromkeys(reliability([judged("a", "node", right=True)], np.ones(1, dtype=bool)), 0.6)
    low, high = (Triage(Bundle(*general_bundle({**worth, "refused": one}, 0.5, others))).run(GNB) for one in (0.5, 0.9))
    assert (low.label, high.label) == ("L3", "L3")
    assert low.confidence < high.confidence
