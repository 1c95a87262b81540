"""The shipped bundles on the sample runs: label, cleanliness, failed UEs, cause, and the lines that must be quoted."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.settings import load_settings
from stream_triage.wiring import open_triage

SAMPLES = Path(__file__).parent.parent / "samples"
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "samples.toml").read_text())


@cache
def opened(name: str) -> Triage:
    return Triage(Bundle.open(find_bundle(name)))


def judge(case: str) -> Verdict:
    """A file is a run; so is a folder, each file of it a source."""
    bundle, _, name = case.partition("/")
    path = SAMPLES / bundle / name
    session = opened(bundle).session(path.stem)
    for file in [path] if path.is_file() else sorted(path.glob("*.log")):
        session.feed(file.read_bytes(), "" if file == path else file.stem)
    return session.close()


@pytest.mark.parametrize("case", sorted(EXPECTED))
def test_sample(case: str) -> None:
    """Each sample gets its label with confidence and quotes its deciding lines among the lines worth reading."""
    expected, verdict = EXPECTED[case], judge(case)
    assert (verdict.label, verdict.clean, verdict.cause) == (expected["label"], expected["clean"], expected.get("cause"))
    assert verdict.confidence > 0.8
    assert [failed.ue for failed in verdict.ues.first] == expected.get("ues", []) if verdict.ues else "ues" not in expected
    quoted = [(line.source, line.text) for line in verdict.reduction if line.why in ("evidence", "anomaly")]
    for source, start in expected["lines"]:
        assert any(at == source and start in text for at, text in quoted), (source, start)


def test_every_sample_has_an_expectation() -> None:
    assert {f"{folder.name}/{run.name}" for folder in SAMPLES.iterdir() for run in folder.iterdir()} == set(EXPECTED)


def test_the_default_chooses_the_bundle_of_the_samples() -> None:
    """Every log of the folder that the README begins with is judged by the bundle of that name."""
    triage = open_triage(load_settings())
    assert {triage.run(file.read_bytes()).bundle for file in (SAMPLES / "tm500").glob("*.log")} == {"tm500"}


def test_a_whole_sample_says_the_same_in_one_file(shipped: Bundle) -> None:
    """Sources in one file, one after the other, give the label that they give apart."""
    text = b"".join(file.read_bytes() for file in sorted((SAMPLES / "oai5g" / "attach-rejected").glob("*.log")))
    assert Triage(shipped).run(text).label == "L3"
