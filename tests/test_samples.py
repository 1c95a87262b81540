"""The shipped bundle on the shipped sample runs: label, cleanliness, and the lines that must be quoted."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from stream_triage import Bundle, Triage, Verdict

SAMPLES = Path(__file__).parent.parent / "samples"
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "samples.toml").read_text())


def judge(triage: Triage, folder: Path) -> Verdict:
    session = triage.session(folder.name)
    for file in sorted(folder.glob("*.log")):
        session.feed(file.read_bytes(), file.stem)
    return session.close()


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_sample(shipped: Bundle, case: str) -> None:
    """Each sample gets its label with confidence and quotes its deciding lines among the lines worth reading."""
    expected = EXPECTED[case]
    verdict = judge(Triage(shipped), SAMPLES / case)
    assert (verdict.label, verdict.clean) == (expected["label"], expected["clean"])
    assert verdict.confidence > 0.9
    quoted = [(line.source, line.text) for line in verdict.reduction if line.why in ("evidence", "anomaly")]
    for source, start in expected["lines"]:
        assert any(at == source and start in text for at, text in quoted), (source, start)


def test_every_sample_has_an_expectation() -> None:
    assert {path.name for path in SAMPLES.iterdir() if path.is_dir()} == set(EXPECTED)


def test_a_whole_sample_says_the_same_in_one_file(shipped: Bundle) -> None:
    """Sources in one file, one after the other, give the label that they give apart."""
    text = b"".join(file.read_bytes() for file in sorted((SAMPLES / "attach-rejected").glob("*.log")))
    assert Triage(shipped).run(text).label == "L3"
