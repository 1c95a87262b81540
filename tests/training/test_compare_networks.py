"""The comparison of networks on runs with predefined splits: one trial for each split, and none of them twice."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.corpus import runs, write_logs
from training.experiments import compare_networks


@pytest.mark.slow
def test_predefined_splits_are_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Called twice, the command trains once, and scores the whole test part."""
    monkeypatch.setattr(compare_networks, "LINES", replace(compare_networks.LINES, epochs=1))
    write_logs(tmp_path / "logs", runs(60))
    rows = [f"{run.run_id},{run.label},{'test' if i % 4 == 0 else 'train'}" for i, run in enumerate(runs(60))]
    (tmp_path / "labels.csv").write_text("\n".join(["run,label,split_new", *rows]) + "\n")
    flags = [f"--logs={tmp_path / 'logs'}", f"--labels={tmp_path / 'labels.csv'}", f"--out={tmp_path / 'out.jsonl'}"]
    with pytest.raises(SystemExit):
        compare_networks.main([*flags, "--only=plain"])
    assert "no trial begins with 'plain'; there is lines, batch of 16" in capsys.readouterr().err
    assert compare_networks.main(flags) == 0
    assert compare_networks.main(flags) == 0
    (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (row["kind"], row["settings"]["batch"]) == ("new", 16)
    assert sum(label["runs"] for label in row["per_label"].values()) == 15


def test_labels_without_splits_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A labels file without a split, and logs without labels, end with exit 2 and a sentence."""
    write_logs(tmp_path / "logs", runs(6))
    (tmp_path / "labels.csv").write_text("\n".join(["run,label", *(f"{run.run_id},{run.label}" for run in runs(6))]) + "\n")
    assert compare_networks.main([f"--logs={tmp_path / 'logs'}", f"--labels={tmp_path / 'labels.csv'}"]) == 2
    assert "defines no split" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        compare_networks.main([f"--logs={tmp_path / 'logs'}"])
    assert stop.value.code == 2
    assert "--logs needs --labels" in capsys.readouterr().err
