"""Masking: what varies becomes a marker, what says why something failed stays."""

import doctest
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage.stages import normalise
from stream_triage.stages.normalise import RULES, key_text, mask, words

CASES = {
    "tester stamp": ("04/09/25 08:15:30:250\tSTRT", "<time> STRT"),
    "ISO stamp": ("2025-03-01T10:11:12.345678Z up", "<time> up"),
    "ISO stamp, zone, brackets": ("[2025-03-01 10:11:12,345 +0100] up", "[<time>] up"),
    "syslog stamp": ("Mar  7 01:02:03 host up", "<time> host up"),
    "ctime": ("built Fri Mar 7 01:02:03 2025 +0000", "built <time>"),
    "web server stamp": ("[07/Mar/2025:01:02:03 +0000] x", "[<time>] x"),
    "epoch with fraction": ("1741312345.123456 x", "<time> x"),
    "ten bare digits may be a frequency": ("freq 1842500000 Hz", "freq <num:e9> Hz"),
    "clock": ("at 01:02:03.5 done", "at <time> done"),
    "minutes and seconds": ("lasted 01:59", "lasted <time>"),
    "date": ("of 2025-03-07, ok", "of <date>, ok"),
    "whole number": ("sent 512 of 7", "sent <num:e2> of <num:e0>"),
    "zero padded": ("0000512 0000", "<num:e2> <num:e0>"),
    "fraction counts by its whole part": ("0.25 99.5", "<num:e0> <num:e1>"),
    "negative": ("gain -36.5, id -1", "gain <num:-e1>, id <num:-e0>"),
    "exponent": ("1.5e6 2e-3", "<num:e6> <num:e0>"),
    "range": ("slots 3-17", "slots <num:e0>-<num:e1>"),
    "unit stays": ("20MHz 30dB 5ms 7%", "<num:e1>MHz <num:e1>dB <num:e0>ms <num:e0>%"),
    "full stop": ("took 12.", "took <num:e1>."),
    "version": ("curl 7.88.1", "curl <num:e0>"),
    "address and port": ("10.20.30.40:2152", "<ipaddr>:<num:e3>"),
    "Java's address": ("from /10.20.30.40:80", "from <ipaddr>:<num:e1>"),
    "prefix": ("10.20.30.0/24", "<ipaddr>"),
    "IPv6": ("2001:db8::7 fe80::1", "<ipaddr> <ipaddr>"),
    "MAC": ("02:00:5e:10:aa:01", "<mac>"),
    "UUID": ("c0ffee00-1234-4321-abcd-0123456789ab", "<uuid>"),
    "hex": ("at 0x41CF5e0", "at <hex>"),
    "hash": ("commit b2c9a1d2b5", "commit <hex>"),
    "RNTI": ("RNTI 4b69 e5c3 046c", "RNTI <hex> <hex> <hex>"),
    "dump": ("key 0a 2c 33 4d 99", "key <hex>"),
    "dump beginning with decimal bytes": ("mac 61 62 63 4f", "mac <hex>"),
    "a row of numbers is no dump": ("1 2 3 4 5", "<num:e0> <num:e0> <num:e0> <num:e0> <num:e0>"),
    "URL": ("see https://lab.example/a?b=1 now", "see https://<url> now"),
    "path": ("open /var/run/x.pid:3", "open <path>:<num:e0>"),
    "glued id": ("blk_-6330812010936 task_123456_7", "blk_<id> task_<id>"),
    "pseudonym": ("for <imsi:1a2b3c4d> and <msisdn>", "for <imsi> and <msisdn>"),
    "colour": ("\x1b[1;31mFAILED\x1b[0m", "FAILED"),
    "control characters": ("a\x00b\r", "ab"),
}

KEPT = [
    "T310 SIB1 L1 RU1 x86_64 N78 5G 16QAM gNB-1 eea0 b210 wlan0",
    "C: FORW 0x06 Failure MTE STRT: RETURN CODE:8030 FAILED",
    "I: TMAE 0x1 Warning",
    "Reject Cause #20",
    "cause 22",
    "5GMM cause = 27",
    "cause: radioNetwork 12",
    "connect() failed, errno(111)",
    "rc=4",
    "exit code 1",
    "exited with code 137",
    "error code 0x04",
    "returned -22",
    "signal 11",
    'GET x HTTP/1.1" 404',
    "SIP/2.0 486 Busy",
    "affinity ffffffff",
    "CC::run at ../code/rx_msg.c",
    "Ad::Bed is a C++ name",
]


@pytest.mark.parametrize(("raw", "masked"), CASES.values(), ids=CASES.keys())
def test_volatile_parts_become_markers(raw: str, masked: str) -> None:
    """Each kind of volatile part is replaced by its marker and nothing else changes."""
    assert mask(raw) == masked


@pytest.mark.parametrize("line", KEPT)
def test_names_and_codes_stay(line: str) -> None:
    """Digits in names, causes, return codes and answers of the tester are left as they are."""
    assert mask(line) == line


@pytest.mark.parametrize("line", ["keycode 17", "decode 5 frames", "barcode=99"])
def test_only_whole_code_words_protect(line: str) -> None:
    """A word that merely ends in "code" announces no code."""
    assert "<num:" in mask(line)


def test_every_rule_is_used() -> None:
    """The cases of this file reach every rule of the table, so none of them is dead."""
    samples = [raw for raw, _ in CASES.values()] + KEPT
    samples += [
        "<num:e2>",
        "deadbeef1",
        "aa:bb:cc:dd:ee:ff",
        "abcd::1",
        "1200_34",
        "id_-1234567",
        "77777777a",
        "b 1 2 3 4",
    ]
    samples += ["00c0ffee-1234-4321-abcd-0123456789ab"]
    pattern = normalise._volatile(valued=False)
    found = {match.lastgroup for text in samples for match in pattern.finditer(text.replace("\t", " "))}
    assert {rule.name for rule in RULES} == found


def test_rules_have_reasons_and_own_names() -> None:
    """Every rule says why it exists, under a name of its own."""
    assert all(rule.why for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)


_PARTS = (
    [raw for raw, _ in CASES.values()]
    + KEPT
    + list("01aefT:-_./=<>[](){}#,;+%\\ \t'\"é")
    + ["code ", "errno", "12345678", "num:", "http://", "::", "C: ", "\x1b["]
)
LINES = st.lists(st.one_of(st.sampled_from(_PARTS), st.text(max_size=4)), max_size=6).map(
    lambda parts: re.sub(r"\n", "", "".join(parts))
)


@settings(max_examples=400)
@given(st.lists(LINES, max_size=5))
def test_lines_are_masked_on_their_own(lines: list[str]) -> None:
    """A batch is masked as its lines are one by one, so the line count never changes."""
    assert mask("\n".join(lines)) == "\n".join(mask(line) for line in lines)


@settings(max_examples=400)
@given(LINES)
def test_masking_twice_changes_nothing(line: str) -> None:
    """Masked text is left alone by a second pass."""
    once = mask(line)
    assert mask(once) == once


@pytest.mark.parametrize("line", ["[7 1b 2c 3d-1", "@1.5deadbeef1", "fe80::1deadbeef1", "12:34:56-7a", "http://x C: A 0x1"])
def test_a_marker_opens_no_new_edge(line: str) -> None:
    """Scraps beside a masked part are not taken for numbers the second time."""
    assert mask(mask(line)) == mask(line) != line


@pytest.mark.parametrize("unit", ["1", "a", "1_", "/a", "f:", "1 ", "a1 ", "1 a ", "aa:", "-1", "code ", "\x1b[", "<a"])
def test_cost_grows_with_length_only(unit: str) -> None:
    """A line of 64 KiB made to confuse the rules is masked in well under a second."""
    import time

    started = time.process_time()
    mask((unit * 65536)[:65536])
    assert time.process_time() - started < 2


def test_key_text_drops_magnitudes_and_collapses_lists() -> None:
    """Template view: numbers without magnitude or byte unit, ids with their prefix, lists of addresses as one."""
    assert key_text("<num:e2> <num:-e0>, cause 22") == "<num> <num>, cause 22"
    assert key_text("size <num:e3> KB, <num:e1>B, <num:e0> sec") == "size <num>, <num>, <num>"
    assert key_text("sent <num:e3> bytes (<num:e0> KB)") == "sent <num> bytes"
    assert key_text("block blk_<id> to task_<id>_m_<id>") == "block <id> to <id>"
    assert key_text("<ipaddr>,<ipaddr>, <ipaddr> up") == "<ipaddr> up"


def test_words_are_lower_case_and_keep_markers_and_codes() -> None:
    """Words for counting: markers whole, names whole, signed codes with their sign, no punctuation."""
    assert words("I: T310 expired (UE <num:e1>), RETURN CODE:-5, re-try <imsi>!") == [
        "i", "t310", "expired", "ue", "<num:e1>", "return", "code", "-5", "re", "try", "<imsi>"
    ]  # fmt: skip


def test_docstring_examples() -> None:
    """The examples before and after in the docstrings hold."""
    result = doctest.testmod(normalise)
    assert result.attempted >= 6
    assert result.failed == 0
