"""Root causes of failing runs: their direct records, the stage at which they strike, and what 3GPP procedures make follow.

The label of a cause is the layer where the fault starts. The same direct records, few of them and followed by recovery, are
also put into passing runs as confusers (`mild`), so that no record gives a label away by its mere presence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

__all__ = ["CAUSES", "Cause", "Stage", "Step"]

Stage = Literal["cell", "ra", "rrc", "nas", "session", "traffic", "handover", "negative"]


class Step(NamedTuple):
    """A message by name, the range of how often it is emitted, and the range of the gaps between, in milliseconds."""

    name: str
    low: int = 1
    high: int = 1
    gap_low: float = 20
    gap_high: float = 400


@dataclass(frozen=True)
class Cause:
    """One root cause.

    Attributes:
        name: Name of the cause.
        label: Layer where the fault starts, the label of the run.
        family: Group of similar causes.
        stage: Stage of a UE's course at which it strikes.
        steps: Its direct records.
        then: Names of the possible consequences, one of which is drawn (consequences.py).
        radio: Ranges of the values of `Radio` that the struck UE shows from then on.
        values: Values for the fields of the direct records.
        rat: The technology that it is limited to, else empty.
        hides: Kinds of evidence other than direct records with which a log may show it (`tail`, `absence`).
        counters: Counters of the radio unit that grow.
        environment: Which part of the test environment failed, else empty.
        whole_run: Whether it strikes all UEs, as faults of the cell, the radio unit or the tester do.
        mild: Whether it may also be in a run as a confuser, once or twice and with recovery.
    """

    name: str
    label: str
    family: str
    stage: Stage
    steps: tuple[Step, ...]
    then: tuple[str, ...]
    radio: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    rat: str = ""
    hides: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    environment: str = ""
    whole_run: bool = False
    mild: bool = True


_BAD_DL: Final = {"dl_bler": (0.2, 0.85), "cqi": (1, 5), "rate": (0.02, 0.4), "rlc_retx": (0.05, 0.3)}
_BAD_UL: Final = {"ul_bler": (0.25, 0.85), "rate": (0.05, 0.5), "rlc_retx": (0.08, 0.4)}
_STALL: Final = {"rate": (0.0, 0.08)}
_SLOW_RLC: Final = {"rate": (0.03, 0.35), "rlc_retx": (0.2, 0.7)}

_L1: Final = (
    Cause("cell-freq-lock", "L0_L1", "cell search", "cell", (Step("no_lock", 4, 10, 300, 2000),), ("search_15014",), hides=("absence",), whole_run=True),
    Cause("cell-sysinfo", "L0_L1", "cell search", "cell", (Step("sib_crc", 4, 9, 80, 400),), ("search_8030",), hides=("absence",), whole_run=True),
    Cause("cell-pbch", "L0_L1", "cell search", "cell", (Step("mib_fail", 4, 9, 80, 400),), ("search_8030", "search_15014"), whole_run=True),
    Cause("sync-attenuation", "L0_L1", "sync loss", "traffic", (Step("rsrp_drop", 2, 4, 100, 600), Step("out_of_sync", 2, 6, 10, 60)), ("rlf", "rlf_loop"), _BAD_DL, hides=("tail",)),
    Cause("sync-interference", "L0_L1", "sync loss", "traffic", (Step("interference", 2, 4, 100, 900), Step("pdcch_crc", 1, 3), Step("out_of_sync", 2, 6, 10, 60)), ("rlf", "rlf_loop"), _BAD_DL, hides=("tail",)),
    Cause("sync-drift", "L0_L1", "timing", "traffic", (Step("drift", 3, 8, 200, 1500), Step("out_of_sync", 1, 4, 10, 60)), ("rlf", "rlf_loop"), _BAD_DL, hides=("tail",)),
    Cause("sync-sfn-slip", "L0_L1", "timing", "traffic", (Step("sfn_slip", 3, 8, 100, 900),), ("rlf", "slow"), _BAD_DL, whole_run=True),
    Cause("pdcch-decoding", "L0_L1", "control channel", "traffic", (Step("pdcch_crc", 4, 12, 60, 700),), ("slow", "rlf"), {"rate": (0.02, 0.3), "dl_bler": (0.15, 0.5)}),
    Cause("dl-bler", "L0_L1", "block errors", "traffic", (Step("low_cqi", 2, 5, 80, 400), Step("high_bler", 3, 8, 200, 1500)), ("slow", "slow_nack"), _BAD_DL, hides=("tail", "absence")),
    Cause("dl-csi-stuck", "L0_L1", "block errors", "traffic", (Step("high_bler", 3, 9, 200, 1500),), ("slow", "slow_nack"), {"dl_bler": (0.25, 0.6), "rate": (0.1, 0.5), "rlc_retx": (0.05, 0.2)}, hides=("absence",)),
    Cause("ul-dtx", "L0_L1", "uplink physical", "traffic", (Step("pusch_dtx", 3, 9, 20, 300), Step("high_ul_bler", 1, 4, 200, 900)), ("slow_rlc", "reest_loop"), _BAD_UL),
    Cause("ul-nack", "L0_L1", "uplink physical", "traffic", (Step("pusch_nack", 4, 10, 30, 400),), ("slow_rlc", "slow"), _BAD_UL, hides=("absence",)),
    Cause("ul-power-limit", "L0_L1", "uplink power", "ra", (Step("ulctrl", 1, 3, 10, 60), Step("prach_power", 4, 9, 20, 120)), ("ra_fails",), {"ul_bler": (0.3, 0.8)}),
    Cause("ul-calibration", "L0_L1", "uplink power", "ra", (Step("cal_bad", 1, 2, 10, 90), Step("ulctrl", 1, 3, 10, 90)), ("ra_fails", "msg3_fails"), {"ul_bler": (0.3, 0.8)}),
    Cause("ul-power-traffic", "L0_L1", "uplink power", "traffic", (Step("ulctrl", 4, 10, 60, 500),), ("slow_rlc", "reest_loop"), _BAD_UL),
    Cause("dl-level", "L0_L1", "downlink level", "traffic", (Step("dlsrp", 3, 9, 60, 600),), ("slow", "rlf"), _BAD_DL),
    Cause("srs-lost", "L0_L1", "uplink physical", "traffic", (Step("srs_fail", 4, 10, 100, 700),), ("slow", "slow_rlc"), _BAD_UL, rat="NR"),
    Cause("beam-failure", "L0_L1", "beam", "traffic", (Step("bfi", 3, 8, 5, 40),), ("bfr",), _BAD_DL, rat="NR"),
    Cause("beam-candidate", "L0_L1", "beam", "traffic", (Step("bfi", 2, 4, 5, 40), Step("no_beam", 2, 5, 20, 120)), ("bfr", "rlf"), _BAD_DL, rat="NR"),
    Cause("phich", "L0_L1", "control channel", "traffic", (Step("phich", 4, 10, 40, 500),), ("slow_rlc", "slow"), _BAD_UL, rat="LTE"),
    Cause("fronthaul-late", "L0_L1", "front-haul", "traffic", (Step("ru_late", 3, 9, 400, 2500),), ("slow", "rlf"), _BAD_DL, counters=("RX_LATE(_U)", "RX_LATE_C_DL"), hides=("tail", "absence"), whole_run=True),
    Cause("fronthaul-early", "L0_L1", "front-haul", "traffic", (Step("ru_early", 3, 9, 400, 2500),), ("slow",), _BAD_DL, counters=("RX_EARLY_C_DL", "RX_EARLY(_U)"), whole_run=True),
    Cause("fronthaul-sequence", "L0_L1", "front-haul", "traffic", (Step("ru_sequence", 3, 10, 100, 1500),), ("slow", "rlf"), _BAD_DL, counters=("RX_SEQID_ERR",), hides=("absence",), whole_run=True),
    Cause("fronthaul-section", "L0_L1", "front-haul", "traffic", (Step("ru_prb", 3, 9, 100, 1500),), ("slow",), _BAD_DL, counters=("RX_CORRUPT",), whole_run=True),
    Cause("ring-buffer", "L0_L1", "processing", "traffic", (Step("ring", 3, 8, 50, 400), Step("underflow", 1, 3)), ("crash", "slow"), _BAD_DL, whole_run=True),
    Cause("tester-crash", "L0_L1", "processing", "traffic", (), ("crash",), environment="crash", whole_run=True, mild=False),
    Cause("tester-set-up", "L0_L1", "set-up", "cell", (), ("set_up_fails",), environment="setup", whole_run=True, mild=False),
)  # fmt: skip

_L2: Final = (
    Cause("ra-response-window", "L2", "random access", "ra", (Step("rar_expiry", 4, 9, 10, 40),), ("ra_fails",)),
    Cause("ra-wrong-rapid", "L2", "random access", "ra", (Step("wrong_rapid", 4, 9, 10, 40),), ("ra_fails",)),
    Cause("ra-backoff", "L2", "random access", "ra", (Step("backoff", 4, 9, 20, 960),), ("ra_fails",), {}, {"n": 960}),
    Cause("ra-contention", "L2", "random access", "ra", (Step("msg3", 1, 4, 5, 20), Step("contention", 2, 5, 40, 64)), ("ra_fails", "msg3_fails")),
    Cause("sr-maximum", "L2", "scheduling request", "traffic", (Step("sr_max", 3, 8, 300, 4000),), ("sr_loop",), _STALL, hides=("absence",)),
    Cause("sr-no-resource", "L2", "scheduling request", "traffic", (Step("sr_resource", 3, 9, 100, 900),), ("sr_loop", "stall"), _STALL),
    Cause("bsr-no-grant", "L2", "scheduling request", "traffic", (Step("bsr_retx", 4, 12, 80, 640),), ("stall",), _STALL, hides=("absence",)),
    Cause("harq-ndi", "L2", "HARQ", "traffic", (Step("ndi", 4, 12, 5, 300),), ("slow", "slow_nack"), {"duplicates": (0.12, 0.5), "rate": (0.05, 0.4)}, hides=("absence",)),
    Cause("harq-version", "L2", "HARQ", "traffic", (Step("rv", 4, 12, 5, 300), Step("harq_max", 1, 4)), ("slow", "slow_nack"), {"harq_discards": (0.08, 0.4), "rate": (0.05, 0.4)}),
    Cause("harq-discard", "L2", "HARQ", "traffic", (Step("harq_max", 4, 12, 10, 400),), ("slow", "reest_loop"), {"harq_discards": (0.08, 0.4), "rate": (0.05, 0.4)}, hides=("absence",)),
    Cause("time-alignment", "L2", "MAC control", "traffic", (Step("ta_expiry", 3, 7, 500, 3000),), ("sr_loop", "stall"), _STALL),
    Cause("mac-lcid", "L2", "MAC control", "traffic", (Step("lcid", 4, 12, 20, 500),), ("slow", "stall"), _SLOW_RLC),
    Cause("mac-bwp", "L2", "MAC control", "traffic", (Step("bwp_fail", 3, 9, 50, 900),), ("stall",), _STALL, rat="NR"),
    Cause("drx-active-time", "L2", "DRX", "traffic", (Step("drx_stall", 4, 12, 40, 640),), ("stall", "slow"), _STALL),
    Cause("scell-idle", "L2", "carrier aggregation", "traffic", (Step("scell_idle", 3, 8, 200, 1500),), ("slow",), {"rate": (0.2, 0.5)}),
    Cause("rlc-maximum", "L2", "RLC", "traffic", (Step("rlc_max", 1, 1),), ("reest_loop",), _SLOW_RLC, hides=("tail",)),
    Cause("rlc-same-nack", "L2", "RLC", "traffic", (Step("nack", 5, 14, 20, 200),), ("slow_rlc", "reest_loop"), _SLOW_RLC, hides=("tail", "absence")),
    Cause("rlc-poll", "L2", "RLC", "traffic", (Step("poll", 5, 12, 45, 300),), ("slow_rlc", "reest_loop"), _SLOW_RLC),
    Cause("rlc-reassembly", "L2", "RLC", "traffic", (Step("reassembly", 4, 12, 35, 300),), ("slow", "stall"), _SLOW_RLC),
    Cause("rlc-window", "L2", "RLC", "traffic", (Step("window", 4, 14, 5, 200),), ("stall", "reest_loop"), _SLOW_RLC),
    Cause("pdcp-integrity", "L2", "PDCP", "traffic", (Step("integrity", 2, 6, 5, 200),), ("reest_integrity",), {"rate": (0.0, 0.2), "discards": (0.1, 0.6)}),
    Cause("pdcp-count", "L2", "PDCP", "handover", (Step("count", 3, 9, 5, 200),), ("stall", "slow"), {"rate": (0.0, 0.2), "discards": (0.2, 0.8)}),
    Cause("pdcp-discard", "L2", "PDCP", "traffic", (Step("discard", 4, 10, 50, 900),), ("slow", "stall"), {"rate": (0.05, 0.4), "discards": (0.15, 0.7)}, hides=("absence",)),
    Cause("pdcp-reordering", "L2", "PDCP", "traffic", (Step("reordering", 4, 10, 50, 500),), ("slow",), {"rate": (0.05, 0.4), "discards": (0.1, 0.5)}),
    Cause("pdcp-header", "L2", "PDCP", "traffic", (Step("rohc", 4, 12, 10, 300),), ("slow", "stall"), {"rate": (0.0, 0.3), "discards": (0.2, 0.8)}),
    Cause("sdap-qfi", "L2", "SDAP", "traffic", (Step("qfi", 4, 12, 10, 300),), ("stall", "slow"), {"rate": (0.0, 0.2), "discards": (0.1, 0.5)}, rat="NR"),
)  # fmt: skip

_L3: Final = (
    Cause("rrc-reject", "L3", "RRC connection", "rrc", (Step("reject", 2, 4, 900, 4000), Step("t302", 1, 2)), ("no_connection",)),
    Cause("rrc-no-answer", "L3", "RRC connection", "rrc", (Step("t300", 2, 4, 400, 1000),), ("no_connection",), hides=("absence",)),
    Cause("rrc-reconfiguration", "L3", "RRC reconfiguration", "session", (Step("reconfig_fail", 1, 3, 20, 500),), ("session_fails", "drop")),
    Cause("rrc-reconfiguration-traffic", "L3", "RRC reconfiguration", "traffic", (Step("reconfig_fail", 2, 4, 20, 500),), ("drop_reest",), _STALL),
    Cause("rrc-capability", "L3", "RRC reconfiguration", "session", (Step("capability_bad", 1, 2), Step("reconfig_fail", 1, 2)), ("session_fails", "drop")),
    Cause("rrc-as-security", "L3", "security", "nas", (Step("as_security_fail", 1, 2, 20, 300),), ("registration_fails", "drop")),
    Cause("rrc-early-release", "L3", "RRC connection", "traffic", (Step("early_release", 2, 4, 1500, 6000),), ("drop",), _STALL, hides=("absence",)),
    Cause("rrc-reestablishment", "L3", "RRC re-establishment", "traffic", (Step("reest_reject", 2, 4, 200, 900),), ("reest_refused",), _STALL),
    Cause("ho-t304", "L3", "handover", "handover", (Step("t304", 1, 2, 100, 500), Step("ho_fail", 1, 1)), ("ho_fails",), hides=("tail",)),
    Cause("ho-refused", "L3", "handover", "handover", (Step("ho_fail", 2, 3, 100, 500),), ("ho_fails", "drop")),
    Cause("ho-no-command", "L3", "handover", "handover", (Step("plmn_loss", 1, 2, 500, 2500),), ("walks_out",), {"rate": (0.0, 0.2)}, hides=("tail",)),
    Cause("ho-measurement", "L3", "handover", "handover", (Step("meas_bad", 1, 3, 100, 900),), ("walks_out",), {"rate": (0.0, 0.2)}),
    Cause("paging", "L3", "paging", "traffic", (Step("no_paging", 3, 7, 640, 2560),), ("drop",), _STALL),
    Cause("nas-authentication-mac", "L3", "authentication", "nas", (Step("auth_fail", 1, 2, 40, 300),), ("registration_fails", "leaves"), {}, {"cause": 20, "word": "MAC failure", "nasreason": "Authentication failure"}, hides=("tail",)),
    Cause("nas-authentication-ksi", "L3", "authentication", "nas", (Step("auth_fail", 2, 4, 40, 300),), ("registration_fails",), {}, {"cause": 71, "word": "ngKSI already in use", "nasreason": "Authentication failure"}, rat="NR"),
    Cause("nas-authentication-reject", "L3", "authentication", "nas", (Step("auth_reject", 1, 1),), ("registration_fails", "leaves"), {}, {"nasreason": "Authentication rejected"}, hides=("tail",)),
    Cause("nas-security", "L3", "security", "nas", (Step("nas_security_reject", 1, 2, 40, 300),), ("registration_fails", "leaves"), {}, {"nasreason": "Security mode rejected"}, hides=("tail",)),
    Cause("nas-congestion", "L3", "registration", "nas", (Step("reg_reject", 2, 4, 2000, 9000),), ("registration_fails", "leaves"), {}, {"cause": 22, "word": "Congestion", "nasreason": "Congestion"}, hides=("tail",)),
    Cause("nas-illegal-ue", "L3", "registration", "nas", (Step("reg_reject", 1, 2, 500, 4000),), ("registration_fails", "leaves"), {}, {"cause": 3, "word": "Illegal UE", "nasreason": "Illegal UE"}, hides=("tail",)),
    Cause("nas-area", "L3", "registration", "nas", (Step("reg_reject", 1, 3, 500, 4000),), ("registration_fails", "leaves"), {}, {"cause": 12, "word": "Tracking area not allowed", "nasreason": "Tracking area not allowed"}),
    Cause("nas-slice", "L3", "registration", "nas", (Step("reg_reject", 1, 3, 500, 4000),), ("registration_fails",), {}, {"cause": 62, "word": "No network slices available", "nasreason": "No network slices available"}, rat="NR"),
    Cause("nas-registration-timer", "L3", "registration", "nas", (Step("nas_timer", 3, 5, 9_000, 15_500),), ("registration_fails",), {}, {"timer": "T3510", "nasreason": "Lower Layer Failure: Retrying to Attach "}, rat="NR", hides=("absence",)),
    Cause("nas-attach-timer", "L3", "registration", "nas", (Step("nas_timer", 3, 5, 9_000, 15_500),), ("registration_fails",), {}, {"timer": "T3410", "nasreason": "Lower Layer Failure: Retrying to Attach "}, rat="LTE", hides=("absence",)),
    Cause("nas-usim", "L3", "subscription", "nas", (), ("registration_fails",), {}, {"nasreason": "There is no USIM present", "code": 6}, mild=False),
    Cause("nas-service", "L3", "service request", "traffic", (Step("service_reject", 2, 4, 500, 3000),), ("drop",), _STALL, {"cause": 9, "word": "UE identity cannot be derived by the network"}),
    Cause("nas-deregistration", "L3", "deregistration", "traffic", (Step("network_dereg", 1, 2, 500, 2500),), ("drop",), _STALL, hides=("tail", "absence")),
    Cause("nas-session-dnn", "L3", "session", "session", (Step("session_reject", 2, 4, 300, 3000),), ("session_fails",), {}, {"cause": 27, "word": "Missing or unknown DNN"}),
    Cause("nas-session-resources", "L3", "session", "session", (Step("session_reject", 2, 4, 300, 3000),), ("session_fails",), {}, {"cause": 26, "word": "Insufficient resources"}),
    Cause("nas-session-authentication", "L3", "session", "session", (Step("session_reject", 1, 3, 300, 3000),), ("session_fails",), {}, {"cause": 29, "word": "User authentication or authorization failed"}),
    Cause("nas-session-timer", "L3", "session", "session", (Step("nas_timer", 3, 5, 15_500, 16_500),), ("session_fails",), {}, {"timer": "T3580"}, rat="NR", hides=("absence",)),
    Cause("nas-no-address", "L3", "session", "session", (Step("no_address", 1, 2, 300, 2000),), ("session_fails",), mild=False),
    Cause("negative-accepted", "L3", "negative test", "negative", (), ("accepted",), hides=("absence",), mild=False),
    Cause("tester-licence", "L3", "licence", "cell", (), ("licence_refused",), environment="licence", whole_run=True, mild=False),
    Cause("tester-rda", "L3", "data server", "session", (Step("rda_lost", 3, 8, 900, 3000),), ("rda_fails",), environment="rda", whole_run=True),
)  # fmt: skip

CAUSES: Final = (*_L1, *_L2, *_L3)
