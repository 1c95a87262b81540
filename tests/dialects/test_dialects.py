"""Dialects as tables: what a line means in each."""

import pytest

from stream_triage.dialects import Dialects
from stream_triage.dialects.words import PhraseIndex, words_of
from stream_triage.stages.normalise import mask
from stream_triage.stages.procedures import Follower

DIALECTS = Dialects()


def read(line: str) -> tuple[str, str]:
    """Dialect and event of a raw line; empty where it has none."""
    signal = DIALECTS.read(mask(line))
    if signal is None:
        return "", ""
    if signal.dialect >= 0:
        return DIALECTS.dialects[signal.dialect].table.name, DIALECTS.name(signal.event) if signal.event else ""
    found = next((one for one in signal.continued if one.plain), None)
    return (DIALECTS.dialects[found.dialect].table.name, DIALECTS.name(found.plain)) if found and found.plain else ("", "")


@pytest.mark.parametrize(
    ("line", "dialect", "event"),
    [
        ("25/11/24 23:40:43:822\tI: CMPI MTE 0 NR CONNECTION IND:UE Id:0", "tm500", "connection completed"),
        ("25/11/24 23:40:43:822\tI: CMPI MTE 0 NR DISCONNECTION IND:UE Id:0", "tm500", "release completed"),
        ("I: CMPI MTE 0 EMM REGISTER IND:UE Id:1:RETURN CODE:6 FAILED", "tm500", "registration refused"),
        ('25/11/24 23:40:43:822\tWAIT FOR "NR REGISTRATION IND" TIMEOUT 60', "tm500", ""),
        ("25/11/24 23:40:43:822\tSETP L3_RRC_FAILURE_REPORT 1", "tm500", ""),
        ("[NGAP]   No AMF is associated to the gNB", "oai", "ng set-up lost"),
        ("[NAS]   Received Registration reject cause: Illegal_UE", "oai", "registration refused"),
        ("1234.567 [NR_RRC] I Received RRCSetupComplete", "oai", "connection completed"),
        ("Assertion (r > 0) failed!", "oai", "process failed"),
        ("15:37:42.779145 [RRC ] [I] Timer T300 expired: ConnectionRequest", "srsran", "connection failed"),
        ("2024-01-02T03:04:05.678901 [NGAP    ] [I] Rx PDU: NGSetupResponse", "srsran", "ng set-up completed"),
        (
            "04/18 10:33:41.123: [gmm] WARNING: Registration reject [11] (../gmm.c:1)",
            "open5gs",
            "registration refused",
        ),
        ("2022-09-15T14:28:12Z [INFO][AMF][GMM] Send Registration Reject", "free5gc", "registration refused"),
        ("[2025-01-13 23:00:10.496] [nas] [error] Registration reject received", "ueransim", "registration refused"),
        ("10:11:12.345 [NAS] DL 0001 5GMM: Registration reject", "amarisoft", "registration refused"),
        ("the quick brown fox jumps over the lazy dog", "", ""),
        ("2025-02-13 00:43:36 ERROR everything failed", "", ""),
        ("", "", ""),
    ],
)
def test_lines_of_each_stack(line: str, dialect: str, event: str) -> None:
    """A line is read by the grammar of the program that wrote it."""
    assert read(line) == (dialect, event)


@pytest.mark.parametrize(
    ("phrase", "line", "found"),
    [
        ("connection ind", "NR CONNECTION IND:UE Id:1", True),
        ("connection ind", "NR DISCONNECTION IND:UE Id:1", False),
        ("random access error", "Random_Access-Error", True),
        ("wait for * reject", 'WAIT FOR "REGISTRATION REJECT"', True),
        ("wait for * reject", "reject wait for", False),
        ("t300 expired", "T300 expired.", True),
        ("security mode failure", "nas-UL : securityModeFailure {", True),
        ("security mode failure", "SecurityModeFailureCause", False),
        ("return code * failed", "RETURN CODE:8030 FAILED", True),
    ],
)
def test_phrases_are_words(phrase: str, line: str, found: bool) -> None:
    """Case, blanks and punctuation do not matter; the borders of words do."""
    assert (list(PhraseIndex([(phrase, 7)]).matches(words_of(mask(line)))) == [7]) is found


def test_redacted_identities_name_ues() -> None:
    """With pseudonyms a UE is followed by its IMSI; without them, all IMSIs look alike and nobody is followed."""
    follower = Follower(Dialects())
    line = "2024-01-01T00:00:00.000000Z [INFO][AMF][Gmm] Handle Registration Complete [imsi-{}]"
    for shown, ues in (("<imsi:1a2b3c4d>", ["imsi <imsi:1a2b3c4d>"]), ("<imsi>", [])):
        state = follower.start()
        text = line.format(shown)
        follower.follow(state, [text], [follower.dialects.read(mask(text))], 1)
        assert list(state.ues) == ues


@pytest.mark.parametrize(
    "quoted",
    [
        "I: TMAE 0x0 Information - WAIT ELAPSED PDU SESSION ESTABLISHMENT IND",
        'I: TMAE 0x1 Warning: WAIT FOR "NR REGISTRATION IND" is over',
        "I: TMAE 0x0 Information - gave up waiting (EMM REGISTER IND)",
    ],
)
def test_what_the_tester_quotes_did_not_happen(quoted: str) -> None:
    """A record of the tester itself may name what the script waits for; no UE has it for that."""
    signal = DIALECTS.read(mask(f"13/02/26 10:00:00:000\t{quoted}"))
    assert signal is None or signal.event is None
