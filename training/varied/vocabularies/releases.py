"""The vocabularies `release_a` and `release_b`: the two wordings of version 1, with what version 1 words in only one way."""

from typing import Final

__all__ = ["RELEASE_A", "RELEASE_B"]

RELEASE_A: Final = {
    "dte_rate": "DTE throughput report: UE Id: {ue}, {rate} Mbit/s of {goal} Mbit/s",
    "rda_lost": "DTE RDA CONNECTION IND: server {ip} not reachable, attempt {n}",
    "pppoe_fail": "DTE PPPOE CONNECTION IND: UE Id:{ue}|PADI timeout, attempt {n}",
    "underflow": "L1 {rat} L1: RF underflow on Hwi {hwi}, Sfn: {sfn}",
    "wait_late": "WAIT FOR ended by its timeout: {milestone}",
    "warn_queue": "Statistics queue is above {n} %.",
    "warn_clock": "Clock offset to host is {other} ms.",
    "warn_server": "Log server busy, {n} records delayed.",
    "cass_dl": "NR L1: PDSCH context still in use. Hwi: {hwi}, Sfn: {sfn}",
    "cass_ul": "NR L1: PUSCH request after deadline. Hwi: {hwi}, Sfn: {sfn}",
    "cass_fh": "Front-haul buffer index out of range. Hwi: {hwi}, Index: {other}",
    "cass_mac": "MAC message queue above limit. Queue: {hwi}, Depth: {other}",
    "table_rlc": "RLC (DRB 1) [Tx PDUs] [Retx PDUs] [Rx PDUs] [Rx NACKs]",
    "table_pdcp": "PDCP (DRB 1) [Tx SDUs] [Discarded SDUs] [Rx SDUs] [Rx Discarded]",
    "table_harq": "DL HARQ (PCC) [Process] [NumTBs] [Retx] [Duplicates] [Discarded]",
    "table_rrc": "[Setup Attempts] [Setup Success] [Reest Attempts] [Reest Success] [HO Attempts] [HO Success]",
    "table_nas": "[Registration Attempts] [Registration Success] [Session Attempts] [Session Success] [Deregistrations]",
}
RELEASE_B: Final = {
    "dte_rate": "DTE THROUGHPUT UE Id:{ue} Rate: {rate}, Target: {goal}",
    "rda_lost": "DTE RDA: no answer from {ip}, attempt {n}",
    "pppoe_fail": "DTE PPPOE PADI NO ANSWER UE Id:{ue} Attempt: {n}",
    "underflow": "L1 {rat} L1: TX underrun, Hwi {hwi}, Sfn: {sfn}",
    "wait_late": "WAIT FOR TIMEOUT: {milestone}",
    "warn_queue": "STATISTICS QUEUE LEVEL: {n}",
    "warn_clock": "HOST CLOCK OFFSET: {other} ms",
    "warn_server": "LOG SERVER BUSY, RECORDS HELD: {n}",
    "cass_dl": "DL CONTEXT NOT FREE Hwi: {hwi}, Sfn: {sfn}",
    "cass_ul": "UL REQUEST LATE Hwi: {hwi}, Sfn: {sfn}",
    "cass_fh": "FH BUFFER INDEX Hwi: {hwi}, Index: {other}",
    "cass_mac": "MAC QUEUE LIMIT Queue: {hwi}, Depth: {other}",
    "table_rlc": "RLC DRB:1 TxPdu RetxPdu RxPdu RxNack",
    "table_pdcp": "PDCP DRB:1 TxSdu Discarded RxSdu RxDiscarded",
    "table_harq": "DL HARQ PCC Id TBs Retx Dup Disc",
    "table_rrc": "RRC COUNTS SetupAtt SetupSucc ReestAtt ReestSucc HoAtt HoSucc",
    "table_nas": "NAS COUNTS RegAtt RegSucc SessAtt SessSucc Dereg",
}
