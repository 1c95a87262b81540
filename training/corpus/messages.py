"""The indications of a TM500-style log by name: their layer, whether they are healthy, and their wording in each release.

Forms seen in public logs are kept as they are. The others are invented in the same style around exact terms of 3GPP
(TS 38.321, 38.322, 38.323, 37.324, 38.331, 24.501 and their LTE counterparts). A `|` begins an indented continuation line.
`{u}` is the UE as layer 2 and the tester's own indications write it, `{r}` as RRC writes it, `{ue}` its number alone.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["MESSAGES", "Message"]


class Message(NamedTuple):
    """One indication.

    Attributes:
        layer: L0_L1, L2, L3, or "" for the tester itself.
        healthy: Whether it is a sign of a healthy run; all others are abnormal records.
        wordings: Its wordings. A release uses the one of its number, modulo their count.
    """

    layer: str
    healthy: bool
    wordings: tuple[str, ...]


def _table(layer: str, healthy: bool, rows: Mapping[str, tuple[str, ...]]) -> dict[str, Message]:
    return {name: Message(layer, healthy, wordings) for name, wordings in rows.items()}


_L1_HEALTHY: Final = {
    "cell_info": (
        "L1 {rat} L1: Detected Cell info on Hwi {hwi} is: Cell Id {cell} RSRP {rsrp} dBm, Cell Id - RSRP - dBm, Cell Id - RSRP - dBm",
    ),
    "pss": (
        "L1 {rat} L1: PSS/SSS detected on Hwi {hwi}: Cell Id {cell}, Freq Offset {offset} Hz",
        "L1 {rat} L1: Sync signals found, Hwi {hwi}, Cell Id {cell}, offset {offset} Hz",
    ),
    "mib": (
        "L1 {rat} L1: MIB decoded on Hwi {hwi}: Cell Id {cell}, SFN {sfn}, PBCH CRC ok",
        "L1 {rat} L1: PBCH CRC ok, Hwi {hwi}, Cell Id {cell}, Sfn: {sfn}",
    ),
    "calibrated": (
        "L1 {rat} L1: UL power calibration complete: Hwi {hwi}, scaling {offset}, Tx {dbm} dBm",
        "L1 {rat} L1: UL Power scaling calibrated on Hwi {hwi}: {dbm} dBm, factor {offset}",
    ),
    "in_sync": (
        "L1 In-sync indication{r} (Qin, N311 count {n})",
        "L1 {rat} L1: IN SYNC{u} N311: {n}",
    ),
    "prach": (
        "L1 PRACH transmission{r}, preamble index {index}, attempt {n}, power {dbm} dBm",
        "L1 {rat} L1: PRACH sent{u} RAPID: {index}, Attempt: {n}, TxPower: {dbm} dBm",
    ),
    "ssb": (
        "L1 SSB measurement{r}, SSB Id {ssb}: RSRP {rsrp} dBm, RSRQ {rsrq} dB, SINR {sinr} dB",
        "L1 {rat} L1: Serving cell meas{u} RSRP: {rsrp}, RSRQ: {rsrq}, SINR: {sinr}",
    ),
    "csi": (
        "L1 CSI report{r}: CQI {cqi}, RI {ri}, PMI {pmi}",
        "L1 {rat} L1: CSI{u} CQI: {cqi} RI: {ri} PMI: {pmi}",
    ),
    "bler": (
        "L1 PDSCH BLER{r}: {bler} over {tbs} TBs, NumTBErrors {errors}",
        "L1 {rat} L1: DL-SCH{u} NumTBs: {tbs}, NumTBErrors: {errors}, BLER: {bler}",
    ),
    "ul_bler": (
        "L1 PUSCH BLER{r}: {bler} over {tbs} TBs, NumTBErrors {errors}",
        "L1 {rat} L1: UL-SCH{u} NumTBs: {tbs}, NumTBErrors: {errors}, BLER: {bler}",
    ),
    "ta": ("L1 Timing Advance command{r}: TA {ta}", "L1 {rat} L1: TA update{u} TimingAdv: {ta}"),
    "srs": ("L1 SRS transmission{r}: {n} occasions", "L1 {rat} L1: SRS{u} occasions: {n}"),
    "uplane": ("ORAN_RU {ru}: ORAN: CU PLANE ACTIVE",),
}

_L1_ABNORMAL: Final = {
    "mib_fail": (
        "L1 {rat} L1: MIB decode on Hwi {hwi}: Cell Id {cell}, PBCH CRC fail, attempt {n}",
        "L1 {rat} L1: PBCH CRC fail, Hwi {hwi}, Cell Id {cell}, try {n}",
    ),
    "sib_crc": (
        "L1 {rat} L1: SIB1 PDSCH CRC failure on Hwi {hwi}: Cell Id {cell}, attempt {n}",
        "L1 {rat} L1: PDSCH CRC error, SI-RNTI, Hwi {hwi}, Cell Id {cell}, try {n}",
    ),
    "no_lock": (
        "L1 {rat} L1: Cell Search on Hwi {hwi}: FreqLockInd not received, retry {n}",
        "L1 {rat} L1: waiting for Cell Frame Boundary detection on Hwi {hwi}, retry {n}",
    ),
    "out_of_sync": (
        "L1 Out-of-sync indication{r} (Qout, N310 count {n})",
        "L1 {rat} L1: OUT OF SYNC{u} N310: {n}",
    ),
    "rsrp_drop": (
        "L1 SSB measurement{r}, SSB Id {ssb}: RSRP {low} dBm, RSRQ {rsrq} dB, SINR {poor} dB, below threshold",
        "L1 {rat} L1: Serving cell weak{u} RSRP: {low}, RSRQ: {rsrq}, SINR: {poor}",
    ),
    "interference": (
        "L1 Interference detected{r}: SINR {poor} dB, noise rise {rise} dB",
        "L1 {rat} L1: High noise estimate{u} SINR: {poor}, rise: {rise}",
    ),
    "drift": (
        "L1 {rat} L1: Frame boundary drift on Hwi {hwi}: {drift} samples, Sfn: {sfn}",
        "L1 {rat} L1: Time drift{u} {drift} Ts, re-timing at Sfn: {sfn}",
    ),
    "sfn_slip": (
        "L1 {rat} L1: SFN mismatch on Hwi {hwi}: expected {sfn}, received {other}",
        "L1 {rat} L1: Reference clock slip, Hwi {hwi}, Sfn: {sfn}, RefSfn: {other}",
    ),
    "ulctrl": (
        "L1 NRLNULCTRL Warning{r}: required power {dbm} dBm above Pcmax {cap} dBm",
        "L1 NRLNULCTRL Warning: UL power limited{u} wanted: {dbm}, limit: {cap}",
    ),
    "dlsrp": (
        "L1 NRLNDLSRP Warning{r}: SRP gain out of range, level {low} dBm",
        "L1 NRLNDLSRP Warning: DL level{u} {low} dBm, AGC at limit",
    ),
    "cal_bad": (
        "L1 {rat} L1: UL power calibration: Hwi {hwi}, residual {rise} dB above tolerance",
        "L1 {rat} L1: UL Power scaling on Hwi {hwi} not converged, remaining {rise} dB",
    ),
    "prach_power": (
        "L1 PRACH transmission{r}, preamble index {index}, attempt {n}, power {cap} dBm, Pcmax reached",
        "L1 {rat} L1: PRACH sent{u} RAPID: {index}, Attempt: {n}, TxPower: {cap} dBm (max)",
    ),
    "pusch_dtx": (
        "L1 PUSCH DTX{r}: {n} consecutive, HARQ process {harq}",
        "L1 {rat} L1: UL DTX detected{u} count: {n}, HarqId: {harq}",
    ),
    "pusch_nack": (
        "L1 PUSCH NACK burst{r}: {n} of {tbs}, HARQ process {harq}",
        "L1 {rat} L1: UL NACKs{u} {n}/{tbs}, HarqId: {harq}",
    ),
    "pdcch_crc": (
        "L1 PDCCH CRC error{r}: {n} in {tbs} candidates, DCI format {dci}",
        "L1 {rat} L1: DCI decode errors{u} {n}/{tbs}, Format: {dci}",
    ),
    "low_cqi": (
        "L1 CSI report{r}: CQI {lowcqi}, RI 1, PMI {pmi}, below MCS table",
        "L1 {rat} L1: CSI{u} CQI: {lowcqi} RI: 1 PMI: {pmi}, out of range",
    ),
    "high_bler": (
        "L1 PDSCH BLER{r}: {badbler} over {tbs} TBs, NumTBErrors {baderrors}",
        "L1 {rat} L1: DL-SCH{u} NumTBs: {tbs}, NumTBErrors: {baderrors}, BLER: {badbler}",
    ),
    "high_ul_bler": (
        "L1 PUSCH BLER{r}: {badbler} over {tbs} TBs, NumTBErrors {baderrors}",
        "L1 {rat} L1: UL-SCH{u} NumTBs: {tbs}, NumTBErrors: {baderrors}, BLER: {badbler}",
    ),
    "bfi": (
        "L1 Beam failure instance{r}: SSB Id {ssb}, RSRP {low} dBm",
        "L1 {rat} L1: BFI{u} SSB: {ssb}, level: {low}",
    ),
    "no_beam": (
        "L1 Candidate beam search{r}: no SSB above rsrp-ThresholdSSB",
        "L1 {rat} L1: no candidate beam{u} best RSRP: {low}",
    ),
    "srs_fail": (
        "L1 SRS channel estimate{r}: not valid, {n} occasions without energy",
        "L1 {rat} L1: SRS estimate discarded{u} empty occasions: {n}",
    ),
    "phich": (
        "L1 PHICH decoding{r}: {n} undetected in {tbs} subframes",
        "L1 {rat} L1: HARQ indicator not detected{u} {n}/{tbs}",
    ),
    "ru_late": (
        "ORAN_RU {ru}: ORAN: RX window: {late} U-plane messages late, {n} dropped",
        "ORAN_RU {ru}: U-PLANE LATE: {late} DROP: {n}",
    ),
    "ru_early": (
        "ORAN_RU {ru}: ORAN: RX window: {late} C-plane messages early, {n} dropped",
        "ORAN_RU {ru}: C-PLANE EARLY: {late} DROP: {n}",
    ),
    "ru_sequence": (
        "ORAN_RU {ru}: ORAN: sequence-id error on eAxC {index}: expected {n}, received {other}",
        "ORAN_RU {ru}: SEQ ID ERROR eAxC: {index} exp: {n} rcv: {other}",
    ),
    "ru_prb": (
        "ORAN_RU {ru}: ORAN: section mismatch on eAxC {index}: numPrbu {n} outside carrier",
        "ORAN_RU {ru}: SECTION ERROR eAxC: {index} numPrb: {n}",
    ),
    "ring": (
        "L1 {rat} L1: Ring buffer full on Hwi {hwi}, {n} symbols discarded",
        "L1 {rat} L1: RX ring overflow, Hwi {hwi}, lost symbols: {n}",
    ),
    "underflow": ("L1 {rat} L1: RF underflow on Hwi {hwi}, Sfn: {sfn}", "L1 {rat} L1: TX underrun, Hwi {hwi}, Sfn: {sfn}"),
}

_L2_HEALTHY: Final = {
    "ra_start": ("L2 Random Access Initiated {U} ({trigger}: Cell Id {cell}, Dl Freq {freq}, SSB Id {ssb})",),
    "ra_done": ("L2 Random Access Complete {U} (TC-RNTI: {rnti}, TimingAdv: {ta}, PreambleTxCount: {n})",),
    "rar": (
        "L2 MAC: Random Access Response{r}, RAPID {index}, UL grant {grant}",
        "L2 MAC RAR received {U} RAPID: {index}, Grant: {grant}",
    ),
    "bsr": ("L2 MAC: Short BSR{r}, LCG {lcg}, buffer {octets} bytes", "L2 MAC BSR {U} LCG: {lcg}, Size: {octets}"),
    "phr": ("L2 MAC: Power Headroom Report{r}, PH {ph} dB", "L2 MAC PHR {U} PH: {ph}, Pcmax: {cap}"),
    "drx": ("L2 MAC: DRX Command MAC CE{r}", "L2 MAC DRX {U} inactivity timer stopped"),
    "scell": (
        "L2 MAC: SCell Activation/Deactivation MAC CE{r}, C{n} activated",
        "L2 MAC SCELL {U} Index: {n}, Activated",
    ),
    "crnti": ("L2 MAC: C-RNTI MAC CE{r}, C-RNTI {rnti}", "L2 MAC C-RNTI CE {U} C-RNTI: {rnti}"),
    "bwp": ("L2 MAC: BWP switch{r}, active BWP Id {n}", "L2 MAC BWP {U} Active: {n}"),
    "status": ("L2 RLC: STATUS PDU{r}, ACK_SN {sn}", "L2 RLC STATUS {U} DRB: 1, ACK_SN: {sn}"),
    "rlc_reset": ("L2 RLC entity re-established (UE Id: {ue}, DRB Id: 1)", "L2 RLC RE-ESTABLISH {U} DRB: 1"),
    "pdcp_recovery": (
        "L2 PDCP data recovery (UE Id: {ue}, DRB Id: 1), {n} PDUs resent",
        "L2 PDCP RECOVERY {U} DRB: 1, PDUs: {n}",
    ),
    "end_marker": ("L2 SDAP: end-marker sent (UE Id: {ue}, QFI: {qfi})", "L2 SDAP END MARKER {U} QFI: {qfi}"),
}

_L2_ABNORMAL: Final = {
    "ra_error": (
        "L2 Random Access Error {U} (Result: Max_Preambles_Exceeded, TC-RNTI: -, TimingAdv: -, PreambleTxCount: {n})",
    ),
    "ra_cancelled": ("L2 Random Access Cancelled {U}",),
    "rar_expiry": (
        "L2 MAC: ra-ResponseWindow expired{r}, preamble {n}",
        "L2 MAC RAR WINDOW EXPIRY {U} PreambleTxCount: {n}",
    ),
    "wrong_rapid": (
        "L2 MAC: Random Access Response{r}, RAPID {index} does not match preamble {preamble}",
        "L2 MAC RAR ignored {U} RAPID: {index}, Sent: {preamble}",
    ),
    "backoff": (
        "L2 MAC: Backoff Indicator{r}, {n} ms before next preamble",
        "L2 MAC RAR BI {U} Backoff: {n} ms",
    ),
    "msg3": ("L2 MAC: Msg3 retransmission{r}, count {n}", "L2 MAC MSG3 RETX {U} Count: {n}"),
    "contention": (
        "L2 MAC: ra-ContentionResolutionTimer expired{r}",
        "L2 MAC CONTENTION RESOLUTION FAIL {U} timer expiry",
    ),
    "sr_max": (
        "L2 MAC: sr-TransMax reached{r}, SR_COUNTER {n}, PUCCH released",
        "L2 MAC SR MAX EXCEEDED {U} Count: {n}",
    ),
    "sr_resource": (
        "L2 MAC: no SR resource configured{r}, LCG {lcg}",
        "L2 MAC SR NO RESOURCE {U} LCG: {lcg}",
    ),
    "bsr_retx": (
        "L2 MAC: retxBSR-Timer expired{r}, no UL grant, buffer {octets} bytes",
        "L2 MAC BSR RETX {U} no grant, Pending: {octets}",
    ),
    "ndi": (
        "L2 MAC: HARQ process {harq}{r}: NDI not toggled, duplicate TB discarded",
        "L2 MAC HARQ {U} Id: {harq}, NDI unexpected, TB dropped",
    ),
    "harq_max": (
        "L2 MAC: HARQ process {harq}{r}: maximum retransmissions, TB discarded",
        "L2 MAC HARQ {U} Id: {harq}, MAX RETX, TB discarded",
    ),
    "rv": (
        "L2 MAC: HARQ process {harq}{r}: RV {n} out of sequence",
        "L2 MAC HARQ {U} Id: {harq}, RV: {n} unexpected",
    ),
    "ta_expiry": (
        "L2 MAC: timeAlignmentTimer expired{r}, TAG 0",
        "L2 MAC TAT EXPIRY {U} TAG: 0",
    ),
    "drx_stall": (
        "L2 MAC: grant outside Active Time{r}, drx-InactivityTimer not running",
        "L2 MAC DRX {U} PDCCH missed, not in Active Time",
    ),
    "scell_idle": (
        "L2 MAC: SCell C{n}{r}: activated, sCellDeactivationTimer expired without data",
        "L2 MAC SCELL {U} Index: {n}, Deactivated by timer",
    ),
    "bfr_max": (
        "L2 MAC: beamFailureInstanceMaxCount reached{r}",
        "L2 MAC BFD {U} instance count at maximum",
    ),
    "bfr_fail": (
        "L2 MAC: beamFailureRecoveryTimer expired{r}, recovery failed",
        "L2 MAC BFR FAILED {U} timer expiry",
    ),
    "bfr_done": ("L2 MAC: beam failure recovery complete{r}, SSB Id {ssb}", "L2 MAC BFR DONE {U} SSB: {ssb}"),
    "lcid": (
        "L2 MAC: invalid LCID {n}{r}, MAC PDU discarded",
        "L2 MAC PDU DISCARD {U} LCID: {n} invalid",
    ),
    "bwp_fail": (
        "L2 MAC: BWP Id {n} not configured{r}, switch ignored",
        "L2 MAC BWP {U} Id: {n} unknown, DCI ignored",
    ),
    "rlc_max": ("L2 RLC maximum retransmissions reached (UE Id: {ue}, UL {bearer})",),
    "nack": (
        "L2 RLC: STATUS PDU{r}, ACK_SN {sn}, NACK_SN {other}",
        "L2 RLC STATUS {U} DRB: 1, ACK_SN: {sn}, NACK_SN: {other}",
    ),
    "poll": ("L2 RLC: t-PollRetransmit expired{r}, POLL_SN {sn}", "L2 RLC POLL RETX {U} DRB: 1, POLL_SN: {sn}"),
    "reassembly": (
        "L2 RLC: {treass} expired (UE Id: {ue}, DL DRB Id: 1), SN {sn}",
        "L2 RLC {treass} EXPIRY {U} DRB: 1, SN: {sn}",
    ),
    "window": (
        "L2 RLC: SN {sn} outside receive window{r}, PDU discarded",
        "L2 RLC OUT OF WINDOW {U} SN: {sn}, RX_Next: {other}",
    ),
    "integrity": (
        "L2 PDCP integrity verification failure (UE Id: {ue}, {bearer}), COUNT {sn}",
        "L2 PDCP INTEGRITY FAIL {U} {bearer}, COUNT: {sn}",
    ),
    "count": (
        "L2 PDCP COUNT mismatch (UE Id: {ue}, {bearer}): expected {sn}, received {other}",
        "L2 PDCP COUNT {U} {bearer}, Exp: {sn}, Rcv: {other}",
    ),
    "discard": (
        "L2 PDCP discardTimer expired (UE Id: {ue}, {bearer}), {n} SDUs discarded",
        "L2 PDCP DISCARD {U} {bearer}, SDUs: {n}",
    ),
    "reordering": (
        "L2 PDCP t-Reordering expired (UE Id: {ue}, {bearer}), RX_REORD {sn}",
        "L2 PDCP REORDERING EXPIRY {U} {bearer}, SN: {sn}",
    ),
    "rohc": (
        "L2 PDCP header decompression failure (UE Id: {ue}, {bearer}), context {n}",
        "L2 PDCP ROHC {U} {bearer}, CID: {n} decompression failed",
    ),
    "qfi": (
        "L2 SDAP: QFI {qfi} not mapped to any DRB (UE Id: {ue}), packet discarded",
        "L2 SDAP UNMAPPED QFI {U} QFI: {qfi}, dropped",
    ),
}

_L3_HEALTHY: Final = {
    "rat_nr": ("MTE 0 NAS ACTIVE RAT IND{u}|N1 MODE ACTIVE",),
    "rat_lte": ("MTE 0 NAS ACTIVE RAT IND{u}|S1 MODE ACTIVE",),
    "selection_nr": ("RRC Cell Selection{r}|Cell Info:|   Cell Id: {cell} SSB Freq: {fullfreq} Cell Type: Suitable",),
    "selection_lte": ("RRC Cell Selection{r}|Cell Info:|   Cell Id: {cell} Dl Freq: {freq} Cell Type: Suitable",),
    "leave": ("RRC Leave Connected Cell Selection{r}",),
    "connected_nr": ("MTE 0 NR CONNECTION IND{u}",),
    "connected_lte": ("MTE 0 ECM CONNECTION IND{u}",),
    "registered_nr": ("MTE 0 NR REGISTRATION IND{u}|Selected PLMN: {plmn}|Registration Result: 3GPP Access Only",),
    "registered_lte": ("MTE 0 EMM REGISTER IND{u}|Selected PLMN: {plmn}|Attach Result: EPS Only",),
    "session_nr": ("MTE 0 NR PDU SESSION ESTABLISHMENT IND{u}|Pdu Session Id:1|Address: {ip}",),
    "session_lte": ("MTE 0 NAS PDN CONNECTION IND{u}|Pdn Id:1|Address: {ip}",),
    "bearer_nr": ("MTE 0 NR PDU SESSION MODIFICATION IND{u}|Pdu Session Id:1|QFI: {qfi}",),
    "bearer_lte": ("MTE 0 NAS BEARER RESOURCE ADD IND{u}|Pdn Id:1|QCI: {qfi}",),
    "setup": (
        "RRC {setup}Request{r}|establishmentCause: mo-Signalling",
        "RRC UL CCCH {setup}Request{r}",
    ),
    "setup_done": ("RRC {setup}Complete{r}", "RRC UL DCCH {setup}Complete{r}"),
    "as_security": ("RRC SecurityModeCommand{r}|cipheringAlgorithm: nea2", "RRC DL DCCH SecurityModeCommand{r}"),
    "as_security_done": ("RRC SecurityModeComplete{r}", "RRC UL DCCH SecurityModeComplete{r}"),
    "capability": ("RRC UECapabilityEnquiry{r}", "RRC DL DCCH UECapabilityEnquiry{r}"),
    "capability_done": ("RRC UECapabilityInformation{r}", "RRC UL DCCH UECapabilityInformation{r}"),
    "reconfig": ("RRC {reconf}{r}|transaction Id: {n}", "RRC DL DCCH {reconf}{r}"),
    "reconfig_done": ("RRC {reconf}Complete{r}", "RRC UL DCCH {reconf}Complete{r}"),
    "report": (
        "RRC MeasurementReport{r}|Event {event}: serving {rsrp} dBm, neighbour Cell Id {target} {better} dBm",
        "RRC UL DCCH MeasurementReport{r}|measId {n}, Cell Id {target}",
    ),
    "sync_reconfig": (
        "RRC {reconf}{r}|reconfigurationWithSync: Cell Id {target}",
        "RRC DL DCCH {reconf}{r}|Target Cell Id: {target}",
    ),
    "handover": (
        "RRC Handover Complete{r}|Old Cell Info:|   Cell Id: {cell} Freq: {freq}|New Cell Info:|   Cell Id: {target} Freq: {freq}",
    ),
    "reest_start": ("RRC RRC Connection Re-establishment Started{r}|Cause: {reason}",),
    "reest_done": ("RRC RRC Connection Re-establishment Success{r}",),
    "release": ("RRC {release}{r}", "RRC DL DCCH {release}{r}"),
    "paging": ("RRC Paging{r}", "RRC PCCH Paging{r}"),
    "auth": ("MTE 0 NAS AUTHENTICATION REQUEST{u}", "MTE 0 NAS DL AUTHENTICATION REQUEST{u}"),
    "auth_done": ("MTE 0 NAS AUTHENTICATION RESPONSE{u}", "MTE 0 NAS UL AUTHENTICATION RESPONSE{u}"),
    "nas_security": ("MTE 0 NAS SECURITY MODE COMMAND{u}", "MTE 0 NAS DL SECURITY MODE COMMAND{u}"),
    "nas_security_done": ("MTE 0 NAS SECURITY MODE COMPLETE{u}", "MTE 0 NAS UL SECURITY MODE COMPLETE{u}"),
    "service": ("MTE 0 NAS SERVICE REQUEST{u}", "MTE 0 NAS UL SERVICE REQUEST{u}"),
    "disconnected_nr": ("MTE 0 NR DISCONNECTION IND{u}",),
    "disconnected_lte": ("MTE 0 ECM DISCONNECTION IND{u}",),
    "deregistered_nr": ("MTE 0 NR DEREGISTRATION IND{u}|Detach Cause: {detach}",),
    "deregistered_lte": ("MTE 0 EMM DEREGISTER IND{u}|Detach Cause: {detach}",),
    "session_end_nr": ("MTE 0 NR PDU SESSION RELEASE IND{u}|Pdu Session Id:1",),
    "session_end_lte": ("MTE 0 NAS PDN DISCONNECTION IND{u}|Pdn Id:1",),
    "plmn_back": ("MTE 0 NR PLMN RECOVERY IND{u}", "MTE 0 NAS PLMN RECOVERY IND{u}"),
}

_L3_ABNORMAL: Final = {
    "t310_start": ("RRC T310 started{r}", "RRC TIMER START{r}|T310"),
    "t310_stop": ("RRC T310 stopped{r}", "RRC TIMER STOP{r}|T310"),
    "t310_expiry": ("RRC T310 expired{r}|rlf-Cause: t310-Expiry", "RRC TIMER EXPIRY{r}|T310"),
    "failed_nr": ("MTE 0 NR CONNECTION FAILED IND{u}|RRC: RRC Connection Establishment timed out (T300/T319 expired)",),
    "failed_lte": ("MTE 0 ECM CONNECTION FAILED IND{u}|RRC: RRC Connection Establishment timed out (T300 expired)",),
    "t300": ("RRC T300 expired{r}", "RRC TIMER EXPIRY{r}|T300"),
    "reject": ("RRC {rrcreject}{r}|waitTime: {n} s", "RRC DL CCCH {rrcreject}{r}|waitTime {n}"),
    "t302": ("RRC T302 started{r}, access barred", "RRC TIMER START{r}|T302, Barred"),
    "reconfig_fail": (
        "RRC reconfigurationFailure{r}|Unable to comply: {ie}",
        "RRC {reconf} not applied{r}|cannot comply with {ie}",
    ),
    "t304": ("RRC T304 expired{r}|Target Cell Id: {target}", "RRC TIMER EXPIRY{r}|T304, Cell Id {target}"),
    "ho_fail": ("RRC Handover Failure{r}|Target Cell Id: {target}", "RRC HANDOVER FAILURE{r}|Cell Id: {target}"),
    "capability_bad": (
        "RRC UECapabilityInformation{r}|band combination {n} not supported, ignored by network",
        "RRC UE capability mismatch{r}|featureSetCombination {n}",
    ),
    "reest_reject": ("RRC RRC Connection Re-establishment Reject{r}", "RRC Re-establishment refused{r}|fallback to {setup}"),
    "t301": ("RRC T301 expired{r}", "RRC TIMER EXPIRY{r}|T301"),
    "t311": ("RRC T311 expired{r}|no suitable cell", "RRC TIMER EXPIRY{r}|T311"),
    "as_security_fail": ("RRC SecurityModeFailure{r}", "RRC UL DCCH SecurityModeFailure{r}|algorithm not applied"),
    "meas_bad": (
        "RRC measConfig{r}|measObject Freq {otherfreq} not in use, measId {n} removed",
        "RRC measurement not started{r}|measId {n}, Freq {otherfreq}",
    ),
    "early_release": (
        "RRC {release}{r}|cause: other, while bearer active",
        "RRC DL DCCH {release}{r}|releaseCause: other",
    ),
    "no_paging": ("RRC Paging{r}|ue-Identity not matched, record ignored", "RRC PCCH Paging{r}|no record for this UE"),
    "plmn_loss": ("MTE 0 NR PLMN LOSS IND{u}", "MTE 0 NAS PLMN LOSS IND{u}"),
    "not_registered_nr": ("MTE 0 NR REGISTRATION IND{u}|NAS: Registration failure - {nasreason}",),
    "not_registered_lte": ("MTE 0 EMM REGISTER IND{u}:RETURN CODE:{code} FAILED|Cause: NAS: {nasreason}",),
    "auth_fail": (
        "MTE 0 NAS AUTHENTICATION FAILURE{u}|Cause #{cause} {word}",
        "MTE 0 NAS UL AUTHENTICATION FAILURE{u}|5GMM cause: #{cause} ({word})",
    ),
    "auth_reject": ("MTE 0 NAS AUTHENTICATION REJECT{u}", "MTE 0 NAS DL AUTHENTICATION REJECT{u}"),
    "nas_security_reject": (
        "MTE 0 NAS SECURITY MODE REJECT{u}|Cause #23 UE security capabilities mismatch",
        "MTE 0 NAS UL SECURITY MODE REJECT{u}|5GMM cause: #23",
    ),
    "reg_reject": (
        "MTE 0 NAS {regreject}{u}|Cause #{cause} {word}",
        "MTE 0 NAS DL {regreject}{u}|cause: #{cause} ({word})",
    ),
    "service_reject": (
        "MTE 0 NAS SERVICE REJECT{u}|Cause #{cause} {word}",
        "MTE 0 NAS DL SERVICE REJECT{u}|cause: #{cause} ({word})",
    ),
    "session_reject": (
        "MTE 0 NAS {sessreject}{u}|Cause #{cause} {word}",
        "MTE 0 NAS DL {sessreject}{u}|5GSM cause: #{cause} ({word})",
    ),
    "nas_timer": ("MTE 0 NAS {timer} expired{u}, attempt {n}", "MTE 0 NAS TIMER EXPIRY{u}|{timer}, attempt {n}"),
    "network_dereg": (
        "MTE 0 NAS DEREGISTRATION REQUEST{u}|re-registration required, Cause #{cause}",
        "MTE 0 NAS DL DEREGISTRATION REQUEST{u}|cause: #{cause}",
    ),
    "no_address": (
        "MTE 0 NR PDU SESSION ESTABLISHMENT IND{u}|Pdu Session Id:1|Address: none",
        "MTE 0 NAS PDN CONNECTION IND{u}|Pdn Id:1|Address: none",
    ),
}

_TESTER: Final = {
    "pppoe": ("DTE PPPOE CONNECTION IND: UE Id:{ue}|Address: {ip}",),
    "pppoe_end": ("DTE PPPOE DISCONNECTION IND: UE Id:{ue}",),
    "rda_start": ("DTE RDA TEST GROUP STARTED IND:{n}",),
    "rda_stop": ("DTE RDA TEST GROUP STOPPED IND:{n}",),
    "cleared": ("MTE 0 MTSCLEARMTS COMPLETE IND",),
}

_TESTER_ABNORMAL: Final = {
    "rda_lost": (
        "DTE RDA CONNECTION IND: server {ip} not reachable, attempt {n}",
        "DTE RDA: no answer from {ip}, attempt {n}",
    ),
    "pppoe_fail": ("DTE PPPOE CONNECTION IND: UE Id:{ue}|PADI timeout, attempt {n}",),
}

MESSAGES: Final[dict[str, Message]] = {
    **_table("L0_L1", True, _L1_HEALTHY),
    **_table("L0_L1", False, _L1_ABNORMAL),
    **_table("L2", True, _L2_HEALTHY),
    **_table("L2", False, _L2_ABNORMAL),
    **_table("L3", True, _L3_HEALTHY),
    **_table("L3", False, _L3_ABNORMAL),
    **_table("", True, _TESTER),
    **_table("", False, _TESTER_ABNORMAL),
}
