"""Secrets whose name stands further away, and notations that several tools share."""

import pytest

from stream_triage.stages.redact import Redactor

HEX = "00112233445566778899aabbccddeeff"


def clean(*lines: str) -> list[str]:
    redactor = Redactor()
    return redactor.lines("\n".join(lines), redactor.start()).split("\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"Enter K (32 hex digits): {HEX}", "Enter K (32 hex digits): <key>"),
        (f"RRC: deriving KRRCenc from {HEX}", "RRC: deriving KRRCenc from <key>"),
        (f"KASME(1450) l=44 vnd=TGPP val={HEX}", "KASME(1450) l=44 vnd=TGPP val=<key>"),
        (f"echo {HEX} > opc", "echo <key> > opc"),
        ("Kamf: [" + " ".join(str(byte) for byte in range(32)) + "]", "Kamf: [<key>]"),
        ('Config { password: Some("hunter2") }', 'Config { password: Some("<password>") }'),
        ("&quot;password&quot;:&quot;hunter2&quot;", "&quot;password&quot;:&quot;<password>&quot;"),
        ("ENV ADMIN_PASSWORD hunter2", "ENV ADMIN_PASSWORD <password>"),
        ("password ==> hunter2", "password ==> <password>"),
        ("the password has been changed to hunter2", "the password has been changed to <password>"),
        ("wachtwoord: hunter2", "wachtwoord: <password>"),
        ("user bob auth sha256 hunter2 priv aes hunter3", "user bob auth sha256 <password> priv aes <password>"),
        ("MSISDN(701): 491700000042", "MSISDN(701): <msisdn>"),
        ("imsi[15]=0,0,1,0,1,0,0,0,0,0,0,0,0,4,2", "imsi[15]=<imsi>"),
    ],
)
def test_secrets_in_general_notations(before: str, after: str) -> None:
    """A secret is removed behind other words, separators, wrappers and attribute numbers."""
    assert clean(before) == [after]


@pytest.mark.parametrize(
    "line",
    [
        f"cache key for layer {HEX}",
        f"key ok, digest={HEX}",
        f"private key of commit {HEX}",
        f"NAS-PDU={HEX}",
        "random seed 8949000000000000042",
        'password = os.environ["PASSWORD"]',
    ],
)
def test_what_a_closer_word_explains_stays(line: str) -> None:
    """Hex digits stay if the nearest word says what they are, and so do long numbers and code."""
    assert clean(line) == [line]


@pytest.mark.parametrize(
    ("lines", "redacted"),
    [
        (("$ cat opc.hex", HEX), "<key>"),
        (("AT+CGSN", "860922040795141"), "<imei>"),
        (("Integrity check key:", "  0000: 00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff"), "  <key>"),
    ],
)
def test_a_bare_value_below_its_name(lines: tuple[str, ...], redacted: str) -> None:
    """A line of nothing but a key or identity belongs to the line above it that names one."""
    assert clean(*lines)[-1] == redacted
