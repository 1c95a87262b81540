"""Words of trouble in records of the TM500: what engineers write when something is wrong, and what only sounds like it."""

import re

import pytest

from stream_triage.dialects import Dialects, Signal
from stream_triage.dialects.table import procedures
from stream_triage.stages.normalise import mask

DIALECTS = Dialects()


def read(message: str) -> Signal:
    """The signal of what a module of the tester says, such as `L2 PDCP: ...`."""
    module = "" if message.startswith(("ERNO", "TMAE")) else "CMPI "
    signal = DIALECTS.read(mask(f"02/03/26 10:15:00:120\tI: {module}{message}"))
    assert signal
    assert signal.dialect >= 0
    return signal


TROUBLE = [
    # abbreviations, in several notations
    "L1 dci crc=nok ue=3",
    "L1 PDSCH CRC KO on UE 3",
    "L1 UE 3 | PBCH CRC ERR | hwi 0",
    "L1 PhyRx::SampleBufferOvf Hwi 0",
    "L1 UE 3 OOS, N310 4",
    "L1 qout on UE 3",
    "L2 LCID UNK, UE 3",
    # layer 1
    "L1 UE 3: AGC saturated",
    "L1 RxGainClipped UE=3",
    "L1 MIB of cell 12 was not decodable",
    "L1 UE 3: SRS estimate is unusable",
    "L1 UE=3 PUSCH DTX, HARQ 4",
    "L1 evt=dl_stream_starved hwi=1",
    "L1 PRACH of UE 3: Pcmax reached",
    "L1 [ue 3] frame boundary lost",
    # front-haul
    "ORAN_RU RU1: U-plane message came late by 20 us",
    "ORAN_RU RU1: late message on eAxC 3",
    "ORAN_RU RU1: sequence gap on eAxC 3",
    "ORAN_RU RU1: SequenceNumberJump, eaxc 3",
    "ORAN_RU RU1: section past its deadline",
    # layer 2
    "L2 MAC sr-TransMax reached, UE 3",
    "L2 MacSr::TransMaxReached UE=3",
    "L2 preambleTransMax : { ue 3, outcome reached }",
    "L2 beamFailureInstanceMaxCount reached: UE 3",
    "L2 BeamFailureInstance UE=3 SSB=1",
    "L2 RLC: maxRetxThreshold reached, UE 3 DRB 1",
    "L2 pdcp ue 3: integrity check failure on SRB 1",
    "L2 PdcpRx::CountMismatch Ue(3)",
    "L2 RarWindowExpired UE 3",
    "L2 ue=3 evt=rapid_mismatch got=3 sent=9",
    "L2 MAC: NDI not toggled, UE 3 HARQ 2",
    "L2 UE 3 subpdu with lcid=44 known=no",
    "L2 SDAP UE 3: QFI 5 without a bearer",
    "L2 UE 3: 4 SDUs thrown away by PDCP",
    "L2 UE 3 RLC gave up on SN 4",
    "L2 MAC UE 3 ran out of HARQ attempts",
    # layer 3
    "RRC UE 3: band combination unsupported",
    "RRC UE 3: SIB1 is stale",
    "MTE 0 NAS UE 3: authentication request not answered",
    "DTE UE 3: session without an address",
]


@pytest.mark.parametrize("message", TROUBLE)
def test_engineers_words_for_trouble(message: str) -> None:
    """What is abnormal in 3GPP, or in everyday English, is trouble however it is spelled."""
    assert read(message).trouble


@pytest.mark.parametrize("message", TROUBLE)
def test_in_capitals_it_is_as_bad(message: str) -> None:
    """Releases differ in the case of their messages; names that only capitals divide are left out."""
    if re.search(r"[a-z][A-Z]", message):
        message = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", message)
    module, _, said = message.partition(" ")
    assert read(f"{module} {said.upper()}").trouble


HARMLESS = [
    # settings
    "L2 PDCP config: UE 3, discardTimer = 100, t-Reordering 40",
    "L2 discardTimer ms100, outOfOrderDelivery true: UE 3",
    "L2 RLC of UE 3: maxRetxThreshold: t4, t-PollRetransmit ms45, t-Reassembly ms50",
    "L2 RlcConfig UE=3 maxRetxThreshold=t32 pollByte=infinity",
    "L2 MAC of UE 3: sr-TransMax n64, sr-ProhibitTimer ms1, retxBSR-Timer sf320, periodicBSR-Timer sf10",
    "L2 preambleTransMax = 10, ra-ContentionResolutionTimer sf64, UE 3",
    "L2 drx-RetransmissionTimerDL sl4, drx-HARQ-RTT-TimerDL 56: UE 3",
    "L2 UE 3: beamFailureInstanceMaxCount n3, beamFailureDetectionTimer pbfd2",
    "L2 UE 3: beamFailureRecoveryTimer ms40, beamFailureRecoveryConfig set",
    "RRC UE 3: t310 ms1000, n310 n1, t311 ms3000, n311 n1",
    "RRC n310 = 1, t304 = 1000, UE 3",
    "RRC MIB: cellBarred notBarred, intraFreqReselection allowed",
    "RRC UE 3: fullConfig true, pathlossReferenceRS-Id 0, PathLossReferenceLinking pCell",
    "RRC UE 3: nzp-CSI-RS-ResourcesForInterferenceResources none",
    # counters
    "L1 UE 3: NumTBs 1000, NumTBErrors 0, BLER 0.01",
    "L1 UE 3: crc ok 99, crc nok 1",
    "L1 ue=3 crc_err=0 ok=120 nok=0",
    "L1 PhyDlsch::Report Ue(3) Tb(2000) CrcErr(12) Ratio(0.006)",
    "L2 RlcAm::Report Ue(3) TxPdu(100) RetxPdu(0) NackCount(0)",
    "L2 UE 3 harqRetransmissions: 12 of 4000",
    "L2 UE 3 no errors",
    "L1 UE 3 err none",
    "ORAN_RU RU1: late messages 0, early messages 0",
    "ORAN_RU RU1: late packets: 0, clipping_level=low sequence_gap=0",
    "L2 UE 3: stale sdus 0",
    # parts of the software, and flags
    "L2 UE 3: RetxBuffer empty",
    "L2 BeamFailureRecoveryModule loaded",
    "RRC LinkErrorMonitor started",
    "RRC UE 3: linkFailed=false, result=success, error=none",
    "RRC onTimeout handler registered",
    # nothing of that kind
    "L1 UE 3: no drop, not stale",
    "L1 UE 3 fading profile EPA5",
    "RRC UE 3: SIB1 ok",
    "DTE UE 3: rate 100.2 Mbps",
    # the tester's own software
    'ERNO 0x00000000 CASS 0x0 L1.A.B: "buffer request overdue" at line 12 of ../a.c',
    "TMAE 0x1 Warning: LogWriter::QueueFull",
]


@pytest.mark.parametrize("message", HARMLESS)
def test_names_of_settings_and_counters_are_no_trouble(message: str) -> None:
    """A name that has a word of trouble in it says nothing; neither does a counter, or a denial."""
    assert not read(message).trouble


@pytest.mark.parametrize(
    "message",
    [
        "RRC UE 3: radioLinkFailure=false",
        "RRC UE 3: T310 expired: no",
        "RRC UE 3: T310 expired=false, N310 4",
        "RRC onT310Expiry callback registered",
        "RRC RadioLinkFailureTimers configured: UE 3",
        "RRC UE 3: handover failure statistics",
    ],
)
def test_a_flag_that_is_not_set_is_no_step(message: str) -> None:
    """A name with a failure in it, of a flag that is not set, of code or of settings, does not say that it happened."""
    signal = read(message)
    assert (signal.event, signal.trouble) == (None, False)


@pytest.mark.parametrize(
    "message",
    [
        "RRC UE 3: radioLinkFailure=true",
        "RRC UE 3: T310 expired: no sync came back",
        "RRC UE 3: T310 expired=1",
        "RRC UE 3: handover failure, timer T304",
        "MTE 0 NAS Registration failed, cause=none: UE 3",
    ],
)
def test_a_failure_with_details_behind_it_is_a_step(message: str) -> None:
    """What looks like a flag or a setting but tells more about a failure does not take it back."""
    assert read(message).event is not None


@pytest.mark.parametrize(
    ("message", "zero"),
    [
        ("L2 UE Id: 3, lost: 0", True),
        ("L2 UE 3: failures=0 timeouts=0 dropped=0", True),
        ("L2 UE 3: ACK 400 NACK 0 DTX 0", True),
        ("DTE 0 packet loss 0.0 %", True),
        ("L2 UE Id: 3, lost: 7", False),
        ("L2 UE 3: ACK 400 NACK 0 DTX 4", False),
        ("DTE 0 packet loss 0.5 %", False),
        ("L2 UE 3: lost: 0, but sync failed", False),
        ("L2 rach failed (0)", False),
        ("L2 UE 0 failed", False),
        ("L2 UE 3: crc error hwi 0", False),
        ("ORAN_RU RU1: u-plane late (count 4, dropped 0)", False),
    ],
)
def test_counters_at_zero_are_no_trouble(message: str, zero: bool) -> None:
    """Masking removes the value, so the raw line decides: only if nothing else in it sounds like trouble."""
    signal = read(message)
    assert signal.trouble
    assert (signal.counted and DIALECTS.is_zero(message)) is zero


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("cell search failed", True),
        ("packets sent, given up, thrown away", False),
        ("rx_ok rx_nok rx_ko", False),
        ("LostFrames: none", False),
    ],
)
def test_lines_below_a_record_need_plainer_words(line: str, trouble: bool) -> None:
    """What begins no record is often a table or a list of settings, where only the plain words of trouble count."""
    signal = DIALECTS.read(mask(f"    {line}"))
    assert (signal is not None and signal.trouble) is trouble


@pytest.mark.parametrize("phrase", procedures().trouble_unless_named)
def test_each_careful_phrase_can_be_said(phrase: str) -> None:
    """A phrase that the words around it always rule out would be of no use."""
    assert read(f"L2 UE 3: x {phrase.replace('*', 'and')} y").trouble


def test_no_phrase_of_trouble_is_there_twice() -> None:
    """A phrase in both lists, or twice in one, is a mistake."""
    table = procedures()
    careful = table.trouble_unless_named
    assert len(set(careful)) == len(careful)
    assert not set(careful) & set(table.trouble)
