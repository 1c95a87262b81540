"""Runs in a known dialect whose words the bundle has never seen, and runs in none: what is doubt, and what is no anomaly."""

import pytest

from stream_triage import Bundle, Triage, Verdict, find_bundle

WORDS = ("wibble", "frobnicate", "quuxify", "zorgle", "blivet", "snark", "grault", "plugh", "xyzzy", "fnord")


@pytest.fixture(scope="module")
def triage() -> Triage:
    return Triage(Bundle.open(find_bundle("tm500")))


def judged(triage: Triage, head: str) -> Verdict:
    """A run of 400 records in invented words, between the attach of a UE and the end of the test."""
    attach = [
        "I: CMPI L2 Random Access Initiated :UE Id:0 (Connection Establish: Cell Id 0, Dl Freq 34507)",
        "I: CMPI L2 Random Access Complete :UE Id:0 (TC-RNTI: 0xBF8F, TimingAdv: 0, PreambleTxCount: 2)",
        *(f"I: CMPI MTE 0 NR {name} IND:UE Id:0" for name in ("CONNECTION", "REGISTRATION", "PDU SESSION ESTABLISHMENT")),
    ]
    foreign = [
        f"{head}{first} {second} {third}" for first in WORDS for second in WORDS for third in WORDS[:4] if first != second
    ]
    lines = [*attach, *foreign, "I: CMPI MTE 0 MTSCLEARMTS COMPLETE IND"]
    text = "".join(f"13/02/26 10:{at // 60:02d}:{at % 60:02d}:000\t{line}\n" for at, line in enumerate(lines))
    return triage.run(text.encode())


def test_records_of_a_known_dialect_are_known_whatever_their_words(triage: Triage) -> None:
    """The procedures read them, and confidence was calibrated on vocabularies that were held out."""
    verdict = judged(triage, "I: CMPI L1 ")
    assert verdict.lines - sum(source.known_lines for source in verdict.sources) <= 5
    assert not [reason for reason in verdict.review_reasons if "of a kind this bundle knows" in reason]


def test_records_of_no_dialect_are_not_known(triage: Triage) -> None:
    """The verdict says so, and needs a review."""
    verdict = judged(triage, "<<<")
    assert [reason for reason in verdict.review_reasons if "of a kind this bundle knows" in reason]


@pytest.mark.parametrize("head", ["I: CMPI L1 ", "<<<"])
def test_foreign_words_are_no_anomaly(triage: Triage, head: str) -> None:
    """Such a run is unlike all passing runs, whatever happens in it: its new lines are named, and it is not anomalous."""
    verdict = judged(triage, head)
    assert verdict.anomaly_count > 100
    assert not verdict.anomalous
