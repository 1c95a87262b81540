"""`generic` judges runs of any stack: by what broke, by what went well, and not at all where nothing is about 3GPP."""

from pathlib import Path

import pytest

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.dialects import WithLexicon
from stream_triage.errors import BundleError
from stream_triage.stages.procedures.general import GROUNDS, General

ROOT = Path(__file__).parents[2]
LABELS = ("Pass", "L0_L1", "L2", "L3", "core_other")


@pytest.fixture(scope="module")
def triage() -> Triage:
    return Triage(Bundle.open(find_bundle("generic")))


def run(triage: Triage, *lines: str) -> Verdict:
    return triage.run("\n".join(lines) + "\n")


def of_vendor(*lines: str) -> list[str]:
    """The lines as a stack writes them that has no dialect."""
    return [f"<{number}> xx-gnb[77] node7/{line}" for number, line in enumerate(lines, 100)]


ATTACH = of_vendor(
    "sys: NG Setup Response received from AMF",
    "ra: Random Access Procedure completed, C-RNTI 0x4601",
    "rrcd: RRC Setup Complete from UE 3",
    "nasd: Registration Request from UE 3",
)


@pytest.mark.parametrize(
    ("lines", "label", "words"),
    [
        (["nasd: RegistrationReject to UE 3, 5GMM cause #11 (PLMN not allowed)"], "L3", "refused"),
        (["smd: PDU SESSION ESTABLISHMENT REJECT to UE 3, 5GSM cause #27"], "L3", "session was refused"),
        (["rlm: Radio Link Failure detected, UE 3"], "L0_L1", "radio link"),
        (["rlcd: max retx reached DRB 1 UE 3", *["rlcd: RLC DRB 1 UE 3 retransmission failed"] * 4], "L2", "layer 2"),
        (["sys: AMF connection lost"], "core_other", "AMF"),
    ],
)
def test_a_vendor_without_a_dialect(triage: Triage, lines: list[str], label: str, words: str) -> None:
    """What broke is found by the words of 3GPP, whatever stands before them; the line that says so leads the evidence."""
    verdict = run(triage, *ATTACH, *of_vendor(*lines))
    assert verdict.label == label
    assert words in verdict.why
    assert verdict.evidence[0].number == len(ATTACH) + (1 if label != "L2" else 2)
    assert verdict.score == pytest.approx(
        sum(item.weight for item in verdict.evidence) + sum(s.weight for s in verdict.rest)
    )


def test_a_pass_needs_what_went_well(triage: Triage) -> None:
    """UEs with sessions are a pass; a log without trouble in which nobody got anywhere is none."""
    session = of_vendor("nasd: Registration Accept to UE 3", "smd: PDU Session Establishment Accept to UE 3")
    assert run(triage, *ATTACH, *session).label == "Pass"
    quiet = of_vendor(*["phyd: PDSCH slot served", "rrcd: SIB1 scheduled", "phyd: PUSCH slot idle"] * 20)
    assert run(triage, *quiet).label == "unknown"


@pytest.mark.parametrize(
    ("lines", "label"),
    [
        (["<warn> pdcp: PDCP DRB 1: integrity check failed, SDU dropped"] * 5, "L2"),
        (["I L1 PRACH detector: no preamble", *["W L1 PUSCH CRC failed, SINR -9.0"] * 4], "L0_L1"),
        (["s1ap: S1 Setup Request to 10.0.0.1", "s1ap: S1 Setup Failure: Unknown-PLMN", *["s1ap: idle"] * 3], "core_other"),
    ],
)
def test_an_excerpt_of_five_lines(triage: Triage, lines: list[str], label: str) -> None:
    """A few lines are enough for a label, which then needs a review."""
    verdict = run(triage, *lines)
    assert (verdict.label, verdict.needs_review) == (label, True)


FOREIGN = {
    "a build": (ROOT / "demo" / "build.log").read_text(),
    "a web server": '10.1.2.3 - - [02/Mar/2026:10:11:12 +0000] "GET /api/attach HTTP/1.1" 502 17 "-" "curl/8"\n' * 50,
    "sshd": "Mar  2 10:11:12 host sshd[311]: Failed password for invalid user pi; authentication failure; rhost=10.1.2.3\n"
    * 50,
    "prose": "The registration failed because nobody came, and the session was lost to the noise outside.\n" * 20,
    "numbers": "17 4 2026 0.25 99\n" * 100,
    "JSON": '{"level": "error", "message": "connection refused", "attempt": 3, "slice": [1, 2]}\n' * 40,
    "a kernel": "[   12.345] eth0: link up, phy 1000 Mbps, rx overflow\n[   12.346] usb 1-1: device not responding\n" * 30,
    "a database": "2026-03-02 10:11:12 ERROR:  deadlock detected; session terminated, transaction aborted (sqlstate 40P01)\n"
    * 30,
    "this test": Path(__file__).with_name("test_fold.py").read_text(),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_text_that_is_not_about_3gpp(triage: Triage, kind: str) -> None:
    """Words that others use, such as a failed authentication, make no verdict."""
    verdict = triage.run(FOREIGN[kind])
    assert verdict.label == "unknown"
    assert not verdict.anomalous
    assert verdict.needs_review


def test_a_refusal_comes_before_what_lower_layers_say(triage: Triage) -> None:
    """Lower layers are blamed for what fails without an answer, but not for what the network refuses."""
    trouble = of_vendor("rlm: Radio Link Failure detected, UE 3")
    timer = of_vendor("rrcd: T300 expired, UE 3", "ra: Random Access Procedure failed, UE 3: max preambles")
    reject = of_vendor("nasd: Registration Reject to UE 3")
    assert run(triage, *ATTACH, *trouble, *reject).label == "L3"
    assert run(triage, *ATTACH, *timer).label == "L2"


def test_an_access_without_an_answer_is_a_matter_of_the_radio(triage: Triage) -> None:
    """A random access that fails before any response speaks for layer 1, one that fails later for layer 2."""
    rar = of_vendor(*["ra: Random Access failed, no RAR received, UE 3"] * 3)
    contention = of_vendor(*["ra: Contention Resolution Timer expired, UE 3"] * 3)
    telling = of_vendor("rrcd: RRC idle", "phyd: SSB found")
    assert run(triage, *telling, *rar).label == "L0_L1"
    assert run(triage, *telling, *contention).label == "L2"


def test_information_is_no_trouble(triage: Triage) -> None:
    """A record of a dialect whose level says that nothing is wrong is no trouble, whatever its words are."""
    line = "10:12:30.000100 [MAC    ] [{}] SCHED: DL retx tbs=32, nack rnti=0x46"
    start = ["10:12:03.200100 [MAC    ] [I] Random Access Complete.     c-rnti=0x46, ta=2"]
    start += ["10:12:03.300100 [RRC    ] [I] SRB1 - Tx RRC Connection Setup Complete"]
    assert run(triage, *start, *[line.format("I")] * 9).label == "Pass"
    assert run(triage, *start, *[line.format("W")] * 9).label == "L2"


def test_an_assertion_is_of_the_layer_that_its_text_names(triage: Triage) -> None:
    """Where a process stops, the lines behind the assertion say in which layer, and they are evidence."""
    start = ["[NR_RRC]   SIB1 encoded", "[NGAP]   Send NGSetupRequest to AMF", "[NGAP]   Received NGSetupResponse from AMF"]
    stop = [
        "Assertion (start < 14) failed!",
        "In init_cell() /x/common/cell.c:9",
        "PRACH index 9 is not possible",
        "Exiting",
    ]
    verdict = run(triage, *start, *stop)
    assert verdict.label == "L0_L1"
    assert [item.number for item in verdict.evidence[:3]] == [4, 5, 6]


def test_every_line_is_of_another_stack() -> None:
    """A run of another stack that is judged by a named bundle is flagged; `generic` knows its lines."""
    text = (ROOT / "demo" / "gnb.log").read_text()
    named, general = (Triage(Bundle.open(find_bundle(name))).run(text) for name in ("tm500", "generic"))
    assert named.needs_review
    assert named.known_share == 0
    assert general.known_share == 1
    assert general.label == "L3"
    assert general.why.startswith("UE RNTI 4601 and RNTI 4602 connected, but the registration was refused: #11 (PLMN not")


def test_confidence_is_what_the_ground_is_worth() -> None:
    """The probability of a label is how often its ground was right, and no more."""
    dialects = WithLexicon()
    general = General(LABELS, 0, reliability=dict.fromkeys(GROUNDS, 0.8), dialects=dialects)
    state, lines = general.start(), [*ATTACH, *of_vendor("nasd: Registration Reject to UE 3")]
    general.follow(state, lines, [general.signal(line) for line in lines], 1)
    scores = general.scores({"": state})
    assert scores[3] - scores[0] == pytest.approx(2.7726, abs=1e-3)  # log(0.8 / 0.05)


def test_a_bundle_that_lacks_a_ground() -> None:
    """A file without one of the grounds is refused with its name."""
    worth = dict.fromkeys(GROUNDS, 0.8)
    del worth["node"]
    with pytest.raises(BundleError, match="'node'"):
        General.from_file(LABELS, 0, {"reliability": worth}, WithLexicon())
    with pytest.raises(BundleError, match="incomplete"):
        General.from_file(LABELS, 0, {}, WithLexicon())
