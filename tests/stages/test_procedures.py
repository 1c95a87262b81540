"""What became of the UEs: one run of TM500-style lines at a time, in the grammar of public excerpts."""

import math
import pickle
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage.dialects import LAYERS, Dialects
from stream_triage.stages.normalise import mask
from stream_triage.stages.procedures import FEATURES, GROUPS, MAX_UES, Follower, ProcedureState, features, vector
from stream_triage.stages.procedures.breaks import Outcome, blamed, failed_ues, run_breaks
from stream_triage.stages.procedures.course import LOOP, MAX_KINDS
from stream_triage.stages.procedures.sentence import reason_of

STAMP = "13/02/25 00:43:36:616\t"
ACTIVATE = f"{STAMP}forw mte Activate -1"
FOLLOWER = Follower(Dialects())


def follow(lines: Sequence[str]) -> ProcedureState:
    state = FOLLOWER.start()
    masked = mask("\n".join(lines)).split("\n")
    FOLLOWER.follow(state, lines, [FOLLOWER.dialects.read(line) for line in masked], 1)
    return state


def failed(lines: Sequence[str]) -> list[Outcome]:
    return failed_ues(FOLLOWER, follow(lines))


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


def test_counters_at_zero_are_no_trouble_of_a_ue() -> None:
    """However often they come; the same counters at other numbers are."""

    def kinds(lost: int) -> int:
        report = f"{STAMP}I: CMPI L2 PDCP report: UE Id: 3, lost: {lost}"
        return len(follow([ACTIVATE, *attached(3), *[report] * LOOP]).ues["3"].kinds)

    assert (kinds(0), kinds(5)) == (0, 1)


def reestablishment(ue: int, done: bool) -> list[str]:
    lines = [
        f"{STAMP}I: CMPI RRC RRC Connection Re-establishment Started: UE Id: {ue}",
        "   Cause: RLC maximum UL retransmissions reached",
        f"{STAMP}I: CMPI RRC RRC Connection Re-establishment Success: UE Id: {ue}",
    ]
    return lines if done else lines[:2]


REFUSED = [f"{STAMP}I: CMPI MTE 0 NR REGISTRATION IND:UE Id:3", "   NAS: Registration failure - Congestion"]
GONE = f"{STAMP}I: CMPI MTE 0 NR DISCONNECTION IND:UE Id:3"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (attached(3), None),
        (attached(3, "started"), "the random access of {who} was not completed"),
        (attached(3, "access"), "{who} got no RRC connection after the random access"),
        (attached(3, "connected"), "{who} connected, but never registered"),
        ([*attached(1), *attached(3, "registered")], "{who} registered, but got no session"),
        ([*attached(3, "connected"), *REFUSED], "{who} connected, but the registration was refused"),
        ([*attached(3, "connected"), *REFUSED, *attached(3)], None),
        ([*attached(3), *reestablishment(3, done=True)], None),
        ([*attached(3), *reestablishment(3, done=False)], "the re-establishment of {who} was not completed"),
        ([*attached(3), *reestablishment(3, done=True) * LOOP], f"{LOOP} re-establishments of {{who}}"),
        ([*attached(3), trouble(3)], None),
        (
            [*attached(3), *(trouble(3, sn) for sn in (1, 500, 4000))],
            "trouble of layer 2 came 3 times at {who}",
        ),
        ([*attached(3), GONE], None),
        ([*attached(3), trouble(3), trouble(3), GONE, *attached(3), trouble(3), trouble(3), GONE], None),
        ([*attached(3, "access"), GONE, *attached(3)], None),
        ([*attached(3, "connected"), *REFUSED, GONE, *attached(3)], None),
        (
            [*attached(3, "connected"), *REFUSED, GONE, *attached(3, "connected"), GONE],
            "{who} connected, but the registration was refused",
        ),
    ],
)
def test_which_ues_failed(lines: list[str], reason: str | None) -> None:
    """What came to its end well is no failure, however rough the way; what was begun and never came about is one."""
    assert [outcome.reason for outcome in failed([ACTIVATE, *lines]) if outcome.ue == "3"] == ([reason] if reason else [])


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda line: line.replace("UE Id:", "UE Id : "),
        lambda line: line.replace("\t", "   "),
        lambda line: line.replace("I: CMPI", "... I:  CMPI"),
        lambda line: line.removeprefix(STAMP),
    ],
)
def test_case_blanks_and_spellings_do_not_matter(change: object) -> None:
    """Releases of the tester and collectors write the same record in many ways."""
    lines = [*attached(1), *attached(3, "connected")]
    changed = [change(line) for line in lines]  # type: ignore[operator]
    assert [outcome.ue for outcome in failed([ACTIVATE, *changed])] == ["3"]


BODY = ["   Slice Name: lab", "   IPv6 Prefix: 2001:db8::", "  Access Type: 3GPP", "   Session-AMBR: 100 Mbit/s"]
DATA_BODY = [f"{STAMP}I: CMPI DTE PPPOE CONNECTION IND: UE Id: 3", "  De Id: 1", "  Bearer Tag: 7"]


@pytest.mark.parametrize("lines", [[attached(3)[3], *BODY, attached(3)[4]], [*attached(3)[3:], *DATA_BODY * LOOP]])
def test_values_in_the_body_of_a_record_are_no_trouble(lines: list[str]) -> None:
    """Releases of the tester print other values; only words that say so make a failure of them."""
    whole = [ACTIVATE, *attached(3)[:3], *lines]
    assert failed(whole) == []
    assert not follow(whole).ues["3"].kinds


@pytest.mark.parametrize("line", ["   Cause: NAS: Illegal UE", "   Registration failure - Congestion", "   5GMM cause: #11"])
def test_a_body_that_says_so_is_a_refusal(line: str) -> None:
    lines = [ACTIVATE, *attached(3, "registered"), line]
    assert [outcome.reason for outcome in failed(lines)] == ["{who} connected, but the registration was refused"]


def test_the_line_that_shows_it() -> None:
    """A failure is shown by the line of the last step that went well, or of the one that did not."""
    assert failed([ACTIVATE, *attached(1), *attached(2, "connected"), *attached(5)]) == [
        Outcome("2", 9, "{who} connected, but never registered")
    ]


def test_a_lost_line_is_no_failure() -> None:
    """Testers lose records: a later step proves that the earlier one was there."""
    whole = attached(4)
    for lost in range(1, len(whole) - 1):
        assert failed([ACTIVATE, *whole[:lost], *whole[lost + 1 :]]) == []


@pytest.mark.parametrize("wait", ['WAIT FOR "REGISTRATION REJECT" TIMEOUT 60', 'wait for "NAS: Registration failure" 60'])
def test_a_refusal_that_is_waited_for_is_none(wait: str) -> None:
    """In a negative test the refused UE is right, and the accepted one wrong."""
    refused = [f"{STAMP}I: CMPI MTE 0 NR REGISTRATION IND:UE Id:1", "   NAS: Registration failure - Illegal UE"]
    script = [ACTIVATE, f"{STAMP}{wait}"]
    assert failed([*script, *attached(1, "connected"), *refused]) == []
    (accepted,) = failed([*script, *attached(1, "registered")])
    assert accepted.reason == "{who} registered, though the script waits for a refusal"


def test_a_cell_search_that_succeeds_at_last() -> None:
    """Passing runs search again; a search that never succeeds breaks the run in layer 1."""
    search = f"{STAMP}C: FORW 0x06 Failure MTE NRSETMUERADIOCONTEXTCELL: RETURN CODE:8030 FAILED"
    found = f"{STAMP}C: FORW 0x00 Ok MTE NRSETMUERADIOCONTEXTCELL: RETURN CODE:0 SUCCEEDED"
    assert run_breaks(FOLLOWER, {"": follow([search, search, found, ACTIVATE])}) == []
    (broken,) = run_breaks(FOLLOWER, {"": follow([found, search, search, ACTIVATE])})
    assert LAYERS[broken.layer] == "l1"


STATISTICS = [
    f"{STAMP}C: FORW 0x00 Ok MTE GETSTATS: RETURN CODE:0 SUCCEEDED",
    "   UE ID: 3   (Radio Context: 0   Cell ID: 1   DL Freq: 3705.060 MHz)",
    "   BCH CRC ok   CQI: 3   RI: 1   RSRP: -80.0 dBm",
    "      DL-SCH (PCC)",
    "         [NumTBs] [NumTBErrors] [BLER] [Total Bits] [Total Bit Errors] [BER]",
    "         0000000900 0000000405 0.450000 00000007603200 000000068428 0.009000",
    "      UL-SCH (PCC)",
    "         [BLER] [NumTBs]",
    "         0.010000 0000000900",
    f"{STAMP}[RX_LATE_C_DL]: 520",
]


def test_values_of_the_tables_are_read() -> None:
    """By the names of their columns, in any order and number; the largest one stands in the features, with its line."""
    found = features(FOLLOWER, {"du": follow([ACTIVATE, *STATISTICS])})
    assert found.values["largest_dl_bler"] == 0.45
    assert found.lines["largest_dl_bler"] == ("du", 7)
    assert found.values["largest_ul_bler"] == 0.01
    assert found.values["largest_cqi"] == -3
    assert found.values["largest_ru_late"] == 3


@pytest.mark.parametrize(
    "heading",
    [
        "PDCP (DRB 1) [Tx SDUs] [Discarded SDUs] [Rx SDUs]",
        "PDCP|DRB=1|TX|DISCARDED|RX",
        "pdcpStats drb-1 { txSdus, discardedSdus, rxSdus }",
        "PdcpStats(Drb1); TxSdu; DroppedSdu; RxSdu",
        "PDCP DRB:1 TxSdu Discarded RxSdu",
        "[pdcp drb1] tx_sdus dropped rx_sdus",
        "PDCP of bearer 1: sent, dropped, received",
    ],
)
def test_columns_may_be_named_in_the_heading(heading: str) -> None:
    """Whatever separates them: the last names of the heading are those of the columns."""
    rows = [f"      {heading}", "         0000001000 0000000250 0000000900"]
    found = features(FOLLOWER, {"": follow([ACTIVATE, *STATISTICS[:2], *rows])})
    assert found.values["largest_pdcp_discards"] == 0.25


def test_numbers_alone_are_no_statistics() -> None:
    """A log of numbers says nothing."""
    numbers = [f"   {i:010d} {i * 7:010d} 0.{i:06d} {i:014d} {i:012d} 0.001000" for i in range(300)]
    found = features(FOLLOWER, {"": follow(numbers)})
    assert not found.lines
    assert run_breaks(FOLLOWER, {"": follow(numbers)}) == []


def test_unknown_is_not_zero() -> None:
    """What no table states is not a number, and what no line shows counts for nothing."""
    run = vector(features(FOLLOWER, {"": follow([ACTIVATE, *attached(1)])}))
    assert all(math.isnan(run[i]) for i in GROUPS["statistics"])
    counts = [run[i] for i, name in enumerate(FEATURES) if i not in GROUPS["statistics"]]
    assert not any(counts)


def test_wordings_of_releases_are_one_kind() -> None:
    """Blanks and colons around a UE differ between releases; the record is the same."""
    lines = (f"{STAMP}I: CMPI L1 NR L1: TA error{text}" for text in (":UE Id:1 TimingAdv: 12", " : UE Id: 11 TimingAdv: 3"))
    kinds = {signal.kind for line in lines if (signal := FOLLOWER.dialects.read(mask(line)))}
    assert len(kinds) == 1


@pytest.mark.parametrize(
    ("lines", "layer"),
    [
        ([*attached(3), *[trouble(3)] * 3], "l2"),
        (
            [*attached(3, "started"), f"{STAMP}I: CMPI L2 Random Access Error :UE Id:3 (Result: Max_Preambles_Exceeded)"],
            "l2",
        ),
        ([*attached(3, "connected"), *REFUSED, *[f"{STAMP}I: CMPI L1 Out-of-sync indication: UE Id: 3"] * 4], "nas"),
        (
            [*attached(3), *[f"{STAMP}I: CMPI L1 Out-of-sync indication: UE Id: 3"] * 4, *reestablishment(3, done=False)],
            "l1",
        ),
    ],
)
def test_the_layer_to_blame_is_that_of_what_came_first(lines: list[str], layer: str) -> None:
    """A refusal makes a UE leave, which layer 1 then sees; a lost link makes RRC fail."""
    state = follow([ACTIVATE, *lines])
    assert LAYERS[blamed(FOLLOWER, state, state.ues["3"])] == layer


def test_sentence() -> None:
    """It names the UEs, what became of them, and the line; the same line comes first in the evidence."""
    lines = [ACTIVATE, *attached(1)]
    for ue in (2, 3, 5):
        lines += [*attached(ue, "connected"), f"{STAMP}I: CMPI MTE 0 NAS REGISTRATION REJECT:UE Id:{ue}"]
    reason = reason_of(FOLLOWER, {"": follow(lines)}, "L3", passed=False)
    assert reason.text() == "UE 2, 3 and 5 connected, but the registration was refused (line 10)"
    assert reason.lines == (("", 10), ("", 14), ("", 18))
    assert reason_of(FOLLOWER, {"": follow(lines)}, "L0_L1", passed=False).sentence == ""
    assert reason_of(FOLLOWER, {"": follow(attached(1))}, "Pass", passed=True).sentence == "1 UE got a session"


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        (
            [*attached(3, "registered"), *[f"{STAMP}I: CMPI RRC reconfigurationFailure: UE Id: 3"] * 3],
            (7, "{who} could not apply the RRC reconfiguration"),
        ),
        (
            [*attached(3, "connected"), *[f"{STAMP}I: CMPI MTE 0 NAS AUTHENTICATION REJECT:UE Id:3"] * 2],
            (6, "the authentication of {who} was refused"),
        ),
        (
            [*attached(3, "connected"), f"{STAMP}I: CMPI MTE 0 NAS DL REGISTRATION REJECT:UE Id:3", *REFUSED],
            (6, "{who} connected, but the registration was refused"),
        ),
        (
            [*attached(3), f"{STAMP}I: CMPI MTE 0 NAS DEREGISTRATION REQUEST:UE Id:3", "   Cause #85"],
            (8, "the network deregistered {who}"),
        ),
    ],
)
def test_the_step_that_failed_is_shown(lines: list[str], outcome: tuple[int, str]) -> None:
    """Where a step never came, what went wrong before it explains that, and its first line is shown."""
    assert failed([ACTIVATE, *attached(1)[4:], *lines]) == [Outcome("3", *outcome)]


CRASH = f"{STAMP}I: REBOOT - The Test Mobile has rebooted."
SET_UP = f"{STAMP}forw mte MtsConfigUeGroup 0 0 1{{0-2,7}}"


def test_what_breaks_for_all_ues_fails_those_at_work() -> None:
    """A tester that restarts takes the UEs with it that it has, but not those that it had released before."""
    lines = [ACTIVATE, *attached(1), *attached(3), GONE, CRASH]
    assert failed(lines) == [Outcome("1", 13, "the tester stopped or restarted")]
    assert failed([CRASH, ACTIVATE, *attached(1)]) == []


def test_ues_that_the_script_set_up() -> None:
    """Without a cell no UE appears; those that the script set up have failed."""
    search = f"{STAMP}C: FORW 0x06 Failure MTE NRSETMUERADIOCONTEXTCELL: RETURN CODE:15014 FAILED"
    assert [outcome.ue for outcome in failed([SET_UP, ACTIVATE, search, search])] == ["0", "1", "2", "7"]
    assert failed([SET_UP, ACTIVATE]) == []
    flood = follow([SET_UP.replace("0-2,7", "0-99999999, 5")])
    assert len(flood.set_up) == MAX_UES


def test_counters_of_the_front_haul_concern_released_ues_too() -> None:
    """They sum up the run, so it does not matter that they are read at its end."""
    assert [outcome.ue for outcome in failed([ACTIVATE, *attached(3), GONE, f"{STAMP}[RX_LATE(_U)]: 142886"])] == ["3"]


def test_trouble_of_the_label_comes_before_a_break_above_it() -> None:
    """A random access breaks in layer 2; if layer 1 is the label, its trouble before the break is the cause."""
    lines = [ACTIVATE, f"{STAMP}I: CMPI L1 NRLNULCTRL Warning: UE Id: 3: power not enough", *attached(3, "started")]
    reason = reason_of(FOLLOWER, {"": follow(lines)}, "L0_L1", passed=False)
    assert reason.text() == "the random access of UE 3 was not completed (line 3); before it, trouble of layer 1 (line 2)"
    assert reason.lines == (("", 2), ("", 3))


def test_what_never_came_stands_behind_trouble() -> None:
    """A missing session explains nothing that is in the log; trouble that kept coming may explain the missing session."""
    lines = [ACTIVATE, *attached(1), *attached(3, "registered"), *[trouble(3)] * LOOP]
    assert [found.line for found in run_breaks(FOLLOWER, {"": follow(lines)})] == [11, 10]


def test_values_whatever_stands_between() -> None:
    """Tables lose their indent, get tabs, or lose the line of columns, and pairs have words before their names."""
    plain = features(FOLLOWER, {"": follow([ACTIVATE, *STATISTICS])}).values
    for change in (str.lstrip, str.lower, lambda line: line.replace(" ", "\t"), lambda line: line.replace(" ", "  ")):
        assert features(FOLLOWER, {"": follow([ACTIVATE, *map(change, STATISTICS)])}).values == plain
    again = [*STATISTICS, *STATISTICS[:4], *STATISTICS[5:]]
    assert len(follow([ACTIVATE, *again]).statistics.values["dl_bler"].latest) == 2


def test_steps_of_nobody_are_not_due() -> None:
    """A line that names no UE, in a log that names others, may be about any of them."""
    alone = f"{STAMP}I: CMPI MTE 0 NR CONNECTION IND"
    assert [outcome.ue for outcome in failed([ACTIVATE, alone])] == [""]
    assert failed([ACTIVATE, *attached(1), *attached(2), alone]) == []


def test_a_log_that_begins_inside_a_table() -> None:
    """Its first lines belong to no record, so nobody knows what they state."""
    assert follow(STATISTICS[3:9]).statistics.values == {}


def test_a_row_of_zeros_states_nothing() -> None:
    """The tester prints zeros for what it did not measure."""
    row = "         0000000000 0000000000 0.000000 00000000000000 000000000000 0.000000"
    assert "dl_bler" not in follow([ACTIVATE, *STATISTICS[:5], row]).statistics.values


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (["   5GMM cause: #12 (Tracking area not allowed)"], ": #12 (Tracking area not allowed)"),
        (["   Registration failure - Congestion"], ": Congestion"),
        (["   Cause: NAS: There is no USIM present"], ": NAS: There is no USIM present"),
        (["   refused"], ""),
        ([], ""),
    ],
)
def test_the_sentence_says_which_cause_the_network_gave(body: list[str], cause: str) -> None:
    """It stands in the record that refused, or in the lines below it."""
    refusal = [f"{STAMP}I: CMPI MTE 0 NAS REGISTRATION REJECT:UE Id:3", *body]
    lines = [ACTIVATE, *attached(3, "connected"), *refusal, f"{STAMP}I: CMPI MTE 0 NAS SERVICE REJECT: #9"]
    reason = reason_of(FOLLOWER, {"": follow(lines)}, "L3", passed=False)
    expected = f"UE 3 connected, but the registration was refused{cause} (line 5)"
    assert reason.text(refusal) == expected


def test_a_process_that_stops_comes_before_what_follows() -> None:
    """What the others lost with it is no cause, whatever source says it first."""
    du = [
        "[GNB_APP]   waiting for F1 Setup Response before activating radio", "Assertion (r > 0) failed!",
        "In compute_nr_root_seq() ../../../openair1/PHY/nr_mac_common.c:1848", "bad r: L_ra 139", "", "Exiting execution",
    ]  # fmt: skip
    ue = ["[HW]   connect() to 127.0.0.1:4043 failed, errno(111)"] * 9
    first = run_breaks(FOLLOWER, {"du": follow(du), "ue": follow(ue)})[0]
    assert (first.source, first.line, LAYERS[first.layer]) == ("du", 2, "l1")


def test_state_is_bounded() -> None:
    """Neither a flood of UEs nor one of wordings makes the state of a source grow."""
    words = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(200)]
    state = follow([*attached(1), *(f"{STAMP}I: CMPI L2 RLC: {word} expired: UE Id: 1" for word in words)])
    assert len(state.ues["1"].kinds) == MAX_KINDS
    state = follow([ACTIVATE, *(attached(ue)[0] for ue in range(MAX_UES + 50))])
    assert len(state.ues) == MAX_UES
    assert state.unfollowed == 50


SOME = st.lists(
    st.one_of(
        st.sampled_from([*attached(1), *attached(2), trouble(1), GONE, *reestablishment(1, done=True), *REFUSED, "", "  "]),
        st.sampled_from(STATISTICS),
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
    signals = [FOLLOWER.dialects.read(line) for line in mask("\n".join(lines)).split("\n")]
    whole, parts = FOLLOWER.start(), FOLLOWER.start()
    FOLLOWER.follow(whole, lines, signals, 1)
    FOLLOWER.follow(parts, lines[:cut], signals[:cut], 1)
    FOLLOWER.follow(parts, lines[cut:], signals[cut:], 1 + min(cut, len(lines)))
    assert features(FOLLOWER, {"": whole}) == features(FOLLOWER, {"": parts})
    assert vector(features(FOLLOWER, {"": whole})).shape == (len(FEATURES),)


SESSION = f"{STAMP}I: CMPI MTE 0 NR PDU SESSION ESTABLISHMENT IND:UE Id:3"
REGISTERED = f"{STAMP}I: CMPI MTE 0 NR REGISTRATION IND:UE Id:3"
ACCESS = f"{STAMP}I: CMPI L2 Random Access Complete :UE Id:3 (TC-RNTI: 0xBF8F, TimingAdv: 0, PreambleTxCount: 1)"
RLC = f"{STAMP}I: CMPI L2 RLC maximum retransmissions reached (UE Id: 3, UL DRB Id: 1)"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([*attached(3), SESSION, "   5GSM Cause #26"], "the session of {who} failed"),
        ([*attached(3), SESSION, "   5GSM Cause #26", "   5GSM Cause #26 again"], "the session of {who} failed"),
        (
            [*attached(3), REGISTERED, "   NAS: Registration reject - Congestion"],
            "{who} connected, but the registration was refused",
        ),
        ([*attached(3), *[RLC] * 6, GONE, *attached(3)], "trouble of layer 2 came 6 times at {who}"),
    ],
)
def test_a_success_before_hides_no_failure(lines: list[str], reason: str) -> None:
    """What failed after a success, or kept failing before one of another procedure, has failed."""
    assert [outcome.reason for outcome in failed([ACTIVATE, *lines])] == [reason]


@pytest.mark.parametrize(
    "lines",
    [
        [*attached(3), GONE, *attached(3, "connected")],  # idle and back: still registered
        [*attached(3), *[f"{STAMP}I: CMPI L2 MAC: bwp-InactivityTimer expired: UE Id: 3"] * 5],
        [*attached(3), *[f"{STAMP}I: CMPI L2 MAC: timeAlignmentTimer expired: UE Id: 3"] * 5],
        [*attached(3), *[f"{STAMP}I: CMPI MTE 0 NAS T3512 expired, periodic registration update: UE Id: 3"] * 4],
        [*attached(3, "registered"), *[f"{STAMP}I: CMPI MTE 0 NAS T3580 expired: UE Id: 3"] * 3, SESSION],
        [
            *attached(3),
            *[f"{STAMP}I: CMPI L2 MAC: Timing Advance Command {i}, above previous value: UE Id: 3" for i in range(4)],
        ],
        [*attached(3), *[f"{STAMP}I: CMPI L1 CSI report: UE Id: 3: CQI {cqi}" for cqi in (1, 1, 14, 1, 14, 1, 1, 12)]],
        [*attached(3), f"{STAMP}[RX_LATEST_C_DL]: 1453.765 us"],
        [ACCESS, f"{STAMP}I: CMPI RRC Handover Complete:UE Id:3"],  # an excerpt around a handover
        [*attached(3), f"{STAMP}I: CMPI L2 Random Access Cancelled :UE Id:3"],
        [
            *attached(3),
            f'{STAMP}WAIT FOR "Cause: Radio Link Failure" TIMEOUT 9',
            f"{STAMP}#$$COMMENT Check that no UE gets a reject",
        ],
        [*attached(3, "registered"), "   Rejected NSSAI: none", SESSION],
        [*attached(3), "   5GSM Cause #50 (PDU session type IPv4 only allowed)"],
        [*attached(3), "   IPv4 Address: 10.0.0.7", "   IPv6 Address: None"],
        [
            *attached(3),
            f"{STAMP}I: CMPI MTE 0 NR DEREGISTRATION IND:UE Id:3",
            GONE,
            f"{STAMP}I: CMPI MTE 0 NR PLMN LOSS IND:UE Id:3",
        ],
    ],
)
def test_what_works_is_no_failure(lines: list[str]) -> None:
    """Timers, causes and notices of normal operation, and what comes when a UE has left already."""
    assert failed([ACTIVATE, *lines]) == []
    assert not [found for found in run_breaks(FOLLOWER, {"": follow([ACTIVATE, *lines])}) if found.line > 1]


def test_an_impossible_value_is_none() -> None:
    """A block error rate above 1 comes from a row that is broken."""
    broken = [*STATISTICS[:5], "         1 1 5 4 5 6"]
    assert "dl_bler" not in follow([ACTIVATE, *broken]).statistics.values


CORE = "03/02 10:15:02.{:03}: [gmm] {}: {} (../src/amf/gmm-sm.c:1135)"


def test_lines_of_a_network_function_that_name_nobody_are_nobodys() -> None:
    """They belong to any of its UEs; to follow them as one more UE would join all others with it."""
    lines = [
        CORE.format(0, "INFO", "Registration request"),
        CORE.format(1, "WARNING", "[imsi-<imsi:00000001>] Authentication reject"),
        CORE.format(2, "INFO", "[imsi-<imsi:00000002>] Registration complete"),
    ]
    state = follow(lines)
    assert [(outcome.ue, outcome.line) for outcome in failed_ues(FOLLOWER, state)] == [("imsi <imsi:00000001>", 2)]
    assert len(state.ues) == 2


def test_an_id_that_is_given_again_is_another_ue() -> None:
    """After the release of a UE its numbers may be those of another one."""
    first, second = (
        f"[NR_RRC]   [UL] (cellID 1, UE ID 1 RNTI {rnti}) Received RRCSetupComplete" for rnti in ("5f3a", "77aa")
    )
    state = follow([first, "[NR_RRC]   removed UE CU UE ID 1/RNTI 5f3a", second, "[NR_RRC]   UE 1: Security Mode Failure"])
    assert [outcome.ue for outcome in failed_ues(FOLLOWER, state)] == ["rnti 77aa"]


def test_state_of_hostile_lines_is_bounded() -> None:
    """Ids and columns as long as lines can be are not kept as they are."""
    core = [
        f"2026-03-02T10:15:02Z [INFO][AMF][Gmm][AMF_UE_NGAP_ID:{ue}{'7' * 60_000}] Registration reject" for ue in range(20)
    ]
    tables = [line for i in range(6) for line in (STATISTICS[3], f"   [a{i}] {'[b] ' * 16_000}")]
    assert len(pickle.dumps(follow([*core, ACTIVATE, *STATISTICS[:3], *tables]))) < 64_000


@pytest.mark.parametrize("change", [str.upper, str.lower])
def test_a_record_begins_the_same_way_in_any_case(change: Callable[[str], str]) -> None:
    line = "[2026-03-02 10:15:01.900] [nas] [error] Registration Reject received [PLMN_NOT_ALLOWED]"
    assert len(failed([change(line)])) == 1
