"""What became of the UEs: one run of TM500-style lines at a time, in the grammar of public excerpts."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage.stages.normalise import mask
from stream_triage.stages.procedures import (
    FEATURES,
    LOOP,
    MAX_KINDS,
    MAX_UES,
    Outcome,
    Procedures,
    ProcedureState,
    failed_ues,
    features,
    read_signal,
    vector,
)

STAMP = "13/02/25 00:43:36:616\t"
ACTIVATE = f"{STAMP}forw mte Activate -1"


def follow(lines: Sequence[str]) -> ProcedureState:
    state = ProcedureState()
    masked = mask("\n".join(lines)).split("\n")
    Procedures.follow(state, lines, [read_signal(line, USUAL) for line in masked], 1)
    return state


def attached(ue: int, upto: str = "session") -> list[str]:
    """A healthy attach of one UE, as far as asked."""
    lines = [
        f"{STAMP}I: CMPI L2 Random Access Initiated :UE Id:{ue} (Connection Establish: Cell Id 0, Dl Freq 34507, SSB Id 0)",
        f"{STAMP}I: CMPI L2 Random Access Complete :UE Id:{ue} (TC-RNTI: 0xBF8F, TimingAdv: 0, PreambleTxCount: 2)",
        f"{STAMP}I: CMPI MTE 0 NR CONNECTION IND:UE Id:{ue}",
        f"{STAMP}I: CMPI MTE 0 NR REGISTRATION IND:UE Id:{ue}",
        f"{STAMP}I: CMPI MTE 0 NR PDU SESSION ESTABLISHMENT IND:UE Id:{ue}",
    ]
    return lines[: ("started", "access", "connected", "registered", "session").index(upto) + 1]


def trouble(ue: int, sn: int = 7) -> str:
    return f"{STAMP}I: CMPI L2 RLC: t-PollRetransmit expired: UE Id: {ue}, POLL_SN {sn}"


def reestablishment(ue: int, done: bool) -> list[str]:
    lines = [
        f"{STAMP}I: CMPI RRC RRC Connection Re-establishment Started: UE Id: {ue}",
        "   Cause: RLC maximum UL retransmissions reached",
        f"{STAMP}I: CMPI RRC RRC Connection Re-establishment Success: UE Id: {ue}",
    ]
    return lines if done else lines[:2]


USUAL = frozenset(signal.kind for line in attached(0) if (signal := read_signal(mask(line))))
REFUSED = [f"{STAMP}I: CMPI MTE 0 NR REGISTRATION IND:UE Id:3", "   NAS: Registration failure - Congestion"]
GONE = f"{STAMP}I: CMPI MTE 0 NR DISCONNECTION IND:UE Id:3"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (attached(3), None),
        (attached(3, "started"), "random access not completed"),
        (attached(3, "access"), "no connection after random access"),
        (attached(3, "connected"), "connected, never registered"),
        ([*attached(1), *attached(3, "registered")], "registered, no session"),
        ([*attached(3, "connected"), *REFUSED], "connected, never registered"),
        ([*attached(3, "connected"), *REFUSED, *attached(3)], None),
        ([*attached(3), *reestablishment(3, done=True)], None),
        ([*attached(3), *reestablishment(3, done=False)], "re-establishment not completed"),
        ([*attached(3), *reestablishment(3, done=True) * LOOP], f"{LOOP} re-establishments"),
        ([*attached(3), trouble(3)], None),
        ([*attached(3), *(trouble(3, sn) for sn in (1, 500, 4000))], "3 times the same L2 trouble"),
        ([*attached(3), GONE], None),
        ([*attached(3), trouble(3), trouble(3), GONE, *attached(3), trouble(3), trouble(3), GONE], None),
        ([*attached(3, "access"), GONE, *attached(3)], "no connection after random access"),
    ],
)
def test_which_ues_failed(lines: list[str], reason: str | None) -> None:
    """What came to its end well is no failure, however rough the way; what was begun and never came about is one."""
    found = failed_ues(follow([ACTIVATE, *lines]))
    assert [outcome.reason for outcome in found if outcome.ue == 3] == ([reason] if reason else [])


BODY = ["   Slice Name: lab", "   IPv6 Prefix: 2001:db8::", "  Access Type: 3GPP", "   Session-AMBR: 100 Mbit/s"]
DATA_BODY = [f"{STAMP}I: CMPI DTE PPPOE CONNECTION IND: UE Id: 3", "  De Id: 1", "  Bearer Tag: 7"]


@pytest.mark.parametrize("lines", [[attached(3)[3], *BODY, attached(3)[4]], [*attached(3)[3:], *DATA_BODY * LOOP]])
def test_values_in_the_body_of_a_record_are_no_trouble(lines: list[str]) -> None:
    """Releases of the tester print other values; only words that say so make a failure of them."""
    usual = frozenset((*USUAL, read_signal(mask(DATA_BODY[0])).kind))
    state = ProcedureState()
    whole = [ACTIVATE, *attached(3)[:3], *lines]
    masked = mask("\n".join(whole)).split("\n")
    Procedures.follow(state, whole, [read_signal(line, usual) for line in masked], 1)
    assert failed_ues(state) == []
    assert not state.ues[3].kinds


@pytest.mark.parametrize(
    "line", ["   Cause: UE identity unknown", "   Result: request rejected", "   Slice: not available", "no suitable cell"]
)
def test_a_body_that_says_so_is_a_refusal(line: str) -> None:
    lines = [ACTIVATE, *attached(3, "registered"), f"   {line.strip()}"]
    assert [outcome.reason for outcome in failed_ues(follow(lines))] == ["connected, never registered"]


def test_the_line_that_shows_it() -> None:
    """A failure is shown by the last line of the UE's unfinished procedure."""
    state = follow([ACTIVATE, *attached(1), *attached(2, "connected"), *attached(5)])
    assert failed_ues(state) == [Outcome(2, 9, "connected, never registered")]


def test_a_lost_line_is_no_failure() -> None:
    """Testers lose records: a later step proves that the earlier one was there."""
    whole = attached(4)
    for lost in range(1, len(whole) - 1):
        assert failed_ues(follow([ACTIVATE, *whole[:lost], *whole[lost + 1 :]])) == []


def test_a_refusal_that_is_waited_for_is_none() -> None:
    """In a negative test the refused UE is right, and the accepted one wrong."""
    wait = f'{STAMP}WAIT FOR "REGISTRATION REJECT" TIMEOUT 60'
    refused = [f"{STAMP}I: CMPI MTE 0 NR REGISTRATION IND:UE Id:1", "   NAS: Registration failure - Illegal UE"]
    assert failed_ues(follow([ACTIVATE, wait, *attached(1, "connected"), *refused])) == []
    accepted = failed_ues(follow([ACTIVATE, wait, *attached(1, "registered")]))
    assert [outcome.reason for outcome in accepted] == ["registered, though a refusal was expected"]


def test_what_comes_before_the_activation_is_set_up() -> None:
    """A cell search that fails at first belongs to no UE and counts for nothing."""
    failed = f"{STAMP}C: FORW 0x06 Failure MTE NRSETMUERADIOCONTEXTCELL: RETURN CODE:8030 FAILED"
    assert features({"": follow([failed, ACTIVATE])}).values["search_failed"] == 0
    assert features({"": follow([ACTIVATE, failed])}).values["search_failed"] == 1


def test_values_of_the_tables_are_read() -> None:
    """The largest block error rate stands in the features, with its line."""
    rows = [
        f"{STAMP}C: FORW 0x00 Ok MTE GETSTATS: RETURN CODE:0 SUCCEEDED",
        "   UE ID: 3   (Radio Context: 0   Cell ID: 1   DL Freq: 3705.060 MHz)",
        "   BCH CRC ok   CQI: 3   RI: 1   RSRP: -80.0 dBm",
        "      DL-SCH (PCC)",
        "         [NumTBs] [NumTBErrors] [BLER] [Total Bits] [Total Bit Errors] [BER]",
        "         0000000900 0000000405 0.450000 00000007603200 000000068428 0.009000",
        "      UL-SCH (PCC)",
        "         0000000900 0000000009 0.010000 00000007603200 000000001520 0.000200",
        f"{STAMP}[RX_LATE_C_DL]: 520",
    ]
    found = features({"du": follow([ACTIVATE, *rows])})
    assert found.values["largest_dl_bler"] == 0.45
    assert found.lines["largest_dl_bler"] == ("du", 7)
    assert found.values["largest_ul_bler"] == 0.01
    assert found.values["largest_cqi"] == -3
    assert found.values["largest_ru_late"] == 3


def test_wordings_of_releases_are_one_kind() -> None:
    """Blanks and colons around a UE differ between releases; the record is the same."""
    one = read_signal(mask(f"{STAMP}I: CMPI L1 NR L1: TA update:UE Id:1 TimingAdv: 12"))
    other = read_signal(mask(f"{STAMP}I: CMPI L1 NR L1: TA update : UE Id: 11 TimingAdv: 3"))
    assert one
    assert other
    assert one.kind == other.kind


def test_logs_of_other_testers_say_nothing() -> None:
    """Without the tester's grammar there is nothing to follow, and all features are zero but for what was never seen."""
    found = features({"": follow(["[NR_RRC] UE Id:1 setup failed", "2025-02-13 00:43:36 ERROR everything", ""])})
    assert {name for name, value in found.values.items() if value} == {"first_layer", "first_loop_layer"}


def test_state_is_bounded() -> None:
    """Neither a flood of UEs nor one of wordings makes the state of a source grow."""
    words = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(200)]
    state = follow([ACTIVATE, *(f"{STAMP}I: CMPI L2 RLC: {word} expired: UE Id: 1" for word in words)])
    assert len(state.ues[1].kinds) == MAX_KINDS
    state = follow([ACTIVATE, *(trouble(ue) for ue in range(MAX_UES + 50))])
    assert len(state.ues) == MAX_UES
    assert state.unfollowed == 50


SOME = st.lists(
    st.one_of(
        st.sampled_from([*attached(1), *attached(2), trouble(1), GONE, *reestablishment(1, done=True), *REFUSED, "", "  "]),
        st.text(max_size=40).filter(lambda text: "\n" not in text),
        st.text(max_size=30).filter(lambda text: "\n" not in text).map(lambda text: f"{STAMP}I: CMPI L2 {text}"),
        st.text(max_size=30).filter(lambda text: "\n" not in text).map(lambda text: f"   {text}"),
    ),
    max_size=30,
)


@given(SOME, st.integers(0, 30))
def test_cutting_changes_nothing(lines: list[str], cut: int) -> None:
    """Lines taken at once or in two parts give the same features, whatever their text."""
    lines = [ACTIVATE, *lines]
    signals = [read_signal(line, USUAL) for line in mask("\n".join(lines)).split("\n")]
    whole, parts = ProcedureState(), ProcedureState()
    Procedures.follow(whole, lines, signals, 1)
    Procedures.follow(parts, lines[:cut], signals[:cut], 1)
    Procedures.follow(parts, lines[cut:], signals[cut:], 1 + min(cut, len(lines)))
    assert features({"": whole}) == features({"": parts})
    assert vector(features({"": whole})).shape == (len(FEATURES),)
