"""Words of a log in other spellings: joined names, timers that expire in other words, and what only looks like trouble."""

import pytest

from stream_triage.dialects import LAYERS, Dialects, Signal
from stream_triage.dialects.words import PhraseIndex, spellings_of, words_of
from stream_triage.stages.normalise import mask

DIALECTS = Dialects()


def read(message: str) -> Signal:
    """The signal of what a tester says in a record of that module, such as `L2 PDCP: ...`."""
    signal = DIALECTS.read(mask(f"02/03/26 10:15:00:120\tI: CMPI {message}"))
    assert signal
    assert signal.dialect >= 0
    return signal


def event_of(message: str) -> str:
    """The event of such a record; empty if it has none."""
    signal = read(message)
    return DIALECTS.name(signal.event) if signal.event else ""


@pytest.mark.parametrize(
    ("line", "second"),
    [
        ("PduDiscardTimerExpired", "pdu discard timer expired"),
        ("PBCH_CRCError", "pbch crc error"),
        ("NrMac::preambleResponseMissing", "nr mac preamble response missing"),
        ("rlcTx.T310Expired", "rlc tx.t310 expired"),
        ("MAC TxQueueFull: UE <num:e0>", "mac tx queue full ue #"),
        ("NumTBErrors: <num:e2>", ""),
        ("NumTBErrors <num:e2>", ""),
        ("maxRetx(<num:e0>)", ""),
        ("IPv4 PDUs of UEs", ""),
        ("all words apart", ""),
        ("REASM_TIMEOUT", ""),
    ],
)
def test_joined_names_are_also_read_as_words(line: str, second: str) -> None:
    """A name is taken apart where a capital begins a word; plurals, abbreviations and names of numbers stay."""
    assert [" ".join(words.split()) for words in spellings_of(line)[1:]] == ([second] if second else [])


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ("RRC T310 expired: UE Id: 4", "radio link failed"),
        ("RRC RrcClock::T310Expired Ue(4)", "radio link failed"),
        ("RRC T310 of UE 4 has run out", "radio link failed"),
        ("RRC UE 4: timer T310 timed out", "radio link failed"),
        ("RRC clock=t310 ueid=4 now=expired", "radio link failed"),
        ("RRC [UE 4] expiry of timer T310", "radio link failed"),
        ("RRC T304 elapsed for UE 4, back to the source cell", "handover failed"),
        ("RRC UE|4|T304|EXP", "handover failed"),
        ("RRC T301 ran out (ue 4)", "re-establishment failed"),
        ("RRC T311 timeout, ue 4", "re-establishment failed"),
        ("RRC T300Timeout: UE 4", "connection failed"),
        ("RRC TIMER EXPIRY: T319 UE 4", "connection failed"),
        ("RRC UE 4: T310 has not expired", ""),
        ("RRC UE 4: T310 timeout 1000", ""),
        ("RRC UE 4: T310 timeout ms1000", ""),
        ("RRC UE 4: T310 elapsed time 20 ms", ""),
        ("RRC UE 4: T310 expires in 20 ms", ""),
        ("RRC UE 4: t310 1000, t311 started", ""),
        ("RRC UE 4: T310 will start, t-Other expired", ""),
    ],
)
def test_timers_expire_in_many_words(message: str, event: str) -> None:
    """Whatever a log's words for the expiry of a timer are, it is the same step of the procedure."""
    assert event_of(message) == event


@pytest.mark.parametrize(
    "message",
    [
        "MTE 0 NAS T3410 of UE 4 has run out",
        "MTE 0 NAS UE 4: T3510Expired",
        "MTE 0 NAS T3517 timed out, ue=4",
        "MTE 0 NAS UE 4 timer=t3580 status=elapsed",
        "L2 UE 4 PduDiscardTimerExpired",
        "L2 pdcp ue 4: discard timer ran out",
        "L2 ue=4 raw=REASM_TIMEOUT",
    ],
)
def test_expiry_of_other_timers_is_trouble(message: str) -> None:
    """Timers without a procedure of their own are trouble of their layer when they expire."""
    signal = read(message)
    assert signal.trouble
    assert LAYERS[signal.layer] == {"L": "l2", "M": "nas"}[message[0]]


@pytest.mark.parametrize(
    "message",
    [
        "RRC T310 started after 10 out-of-sync indications: UE Id: 4",
        "RRC RrcClock::T310Stopped, radio problem over: UE 4, no failure",
        "RRC timer=t310 ue=4 state=started n310=exceeded",
        "MTE 0 NAS UE 4: T3412 ran out, periodic update",
        "MTE 0 NAS T3512Expired: UE 4",
        "L2 UE 4 BwpInactivityTimerExpired",
        "L2 UE 4 DrxInactivityTimer elapsed",
    ],
)
def test_timers_of_normal_operation_are_no_trouble(message: str) -> None:
    """A timer that starts or stops, and the expiry of periodic and inactivity timers, are no trouble."""
    assert not read(message).trouble
    assert event_of(message) == ""


def test_no_phrase_is_made_of_both_spellings() -> None:
    """The words before and behind a `*` must be in the same spelling of a line."""
    index = PhraseIndex([("uestate * lost", 1), ("ue state * lost", 2), ("ue state * linklost", 3)])
    found = [set(index.matches(words)) for words in spellings_of("UeState: LinkLost")]
    assert found == [{3}, {2}]  # 3 by its parts written as one


def test_kind_is_that_of_the_words_as_they_are_written() -> None:
    """Bundles store kinds, so they do not change with the second spelling."""
    signal = DIALECTS.read(mask("I: CMPI L2 UE 4 PduDiscardTimerExpired"))
    again = DIALECTS.read(mask("I: CMPI L2 UE 4 pdudiscardtimerexpired"))
    assert signal
    assert again
    assert (signal.trouble, again.trouble) == (True, False)
    assert signal.kind == again.kind
    assert words_of("PduDiscardTimerExpired") == " pdudiscardtimerexpired "
