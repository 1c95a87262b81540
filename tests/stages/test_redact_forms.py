"""Forms of secrets that once leaked, headers named after a secret, and numbers that are none."""

import pytest

from stream_triage.stages.redact import Redactor
from stream_triage.stages.redact.headers import header_kind

HEX = "00112233445566778899aabbccddeeff"
BYTES = [HEX[i : i + 2] for i in range(0, 32, 2)]
DECIMAL = [str(int(byte, 16)) for byte in BYTES]
BASE64 = "ABEiM0RVZneImaq7zN3u/w=="
IMSI = "262011234567890"
TOKEN = "abcd1234efgh5678ijkl"


def clean(text: str) -> str:
    return Redactor().text(text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"K=[{','.join(DECIMAL)}]", "K=[<key>]"),
        (f"opc = [{' '.join(DECIMAL)}]", "opc = [<key>]"),
        (f"Ki (base64) {BASE64}", "Ki (base64) <key>"),
        (f"encOpcKey={BASE64}", "encOpcKey=<key>"),
        (f'"permanentKeyValue": "{HEX}"', '"permanentKeyValue": "<key>"'),
        (f"NH: {HEX}{HEX}", "NH: <key>"),
        (f"EMSK={HEX}{HEX}", "EMSK=<key>"),
        (f"K_AMF dump: {' '.join(BYTES)}", "K_AMF dump: <key>"),
        ("+CCID: 8949000000000000042", "+CCID: <iccid>"),
        ("CCID 8949000000000000042", "CCID <iccid>"),
        ("+CGSN: 860920407951405", "+CGSN: <imei>"),
        ("860920407951405 (IMEI)", "<imei> (IMEI)"),
        ("schemeOutput: 1123456789", "schemeOutput: <imsi>"),
        (f"UE{IMSI} attached", "UE<imsi> attached"),
        (f"?imsi%3D{IMSI}", "?imsi%3D<imsi>"),
        ("phone number 0170 0000042", "phone number <msisdn>"),
        ("tel +49 1700000042", "tel +<msisdn>"),
        ("msisdn 49 170 0000042", "msisdn <msisdn>"),
        ("db.pass=hunter2", "db.pass=<password>"),
        ("PASS=hunter2", "PASS=<password>"),
        ("?pass=hunter2", "?pass=<password>"),
        ("tool -u bob -p hunter2", "tool -u bob -p <password>"),
        ('<db pass="hunter2"/>', '<db pass="<password>"/>'),
        ("IDENTIFIED BY 'hunter2'", "IDENTIFIED BY '<password>'"),
        (f"https://{TOKEN}@git.example/x", "https://<token>@git.example/x"),
        (f'"auth": "{BASE64}"', '"auth": "<token>"'),
        (f"cookies={{'sid': '{TOKEN}', 'lab': 'x'}}", "cookies={'sid': '<token>', 'lab': 'x'}"),
        (f"api_key {TOKEN}", "api_key <password>"),
        ("PIN code 4711", "PIN code <password>"),
        ("PUK is 12345678", "PUK is <password>"),
        ("OTP: 234567", "OTP: <token>"),
        ("one-time password: 234567", "one-time password: <token>"),
        ("password\xa0=\xa0hunter2", "password\xa0=\xa0<password>"),
    ],
)
def test_forms_of_secrets(before: str, after: str) -> None:
    """Each form goes, and what stands around it stays."""
    assert clean(before) == after


@pytest.mark.parametrize(
    "name",
    [
        *("pass", "PASS", "db-pass", "db.pass", "user_pass", "pw", "pwd", "Passphrase", "passcode"),
        *("auth", "X-Auth", "db_auth", "authorization", "token", "x.csrf.token", "bearer", "jwt", "cookie"),
        *("pin", "PIN", "sim-pin", "puk", "adm", "otp", "totp", "mfa"),
        *("secret", "secret_id", "client-secret", "credentials", "creds", "api-key", "apikey", "private.key", "psk"),
        *("ki", "opc", "sid", "signature", "sas", "mnemonic"),
    ],
)
@pytest.mark.parametrize("value", ["river", "4711", "Zq8kLm", "word1 word2"])
def test_headers_named_after_a_secret(name: str, value: str) -> None:
    """Such a header has no other value than a secret, in any case and with any separator, however harmless it looks."""
    shown_name, shown = Redactor().header(name, value)
    assert shown_name == name
    assert shown in ("<password>", "<token>", "<key>")
    assert Redactor().header(name, shown) == (name, shown)


@pytest.mark.parametrize(
    "name",
    [
        "test.case.name",
        "author",
        "build.key",
        "session",
        "run-key",
        "passed",
        "pinned",
        "tokens",
        "max_tokens",
        "password_file",
    ],
)
def test_other_headers_stay(name: str) -> None:
    """Names that only look like that of a secret keep a value that is none."""
    assert Redactor().header(name, "nightly-7") == (name, "nightly-7")
    assert header_kind(name, "") is None


@pytest.mark.parametrize(
    "line",
    [
        f"UE {IMSI} registered",
        f"attach request from {IMSI}",
        f"GET /subscribers/{IMSI} 200",
        f"[{IMSI}] attach",
        f"dbctl add {IMSI} {HEX} {HEX}",
        f"{IMSI}@ims.example detached",
        "row 001010000000042 ok",
        "job 999700000000042",
        "[HSS] no profile for 310410123456789",
    ],
)
def test_a_bare_number_with_a_reason(line: str) -> None:
    """A word of a mobile network, a key, a domain or a test network makes 15 digits an IMSI."""
    assert "<imsi>" in clean(line)


@pytest.mark.parametrize(
    "line",
    [
        f"{IMSI}",
        f"monotonic {IMSI}",
        f"UE 3 rx_bytes={IMSI}",
        f"subscriber 4 quota used: {IMSI}",
        f"UE 3 attach took {IMSI} ns",
        f"{IMSI} [NAS] registration of UE 3",
        f"[{IMSI}] started worker",
        f"authentication of ue 7: {IMSI} to {IMSI}",
        f"imsi attach counter at {IMSI}",
        f"sha256 {HEX}{HEX} {IMSI}",
        f"trace-{IMSI}.json",
        "master offset +4917000000042 s2",
        "+4917000000042 bytes",
    ],
)
def test_a_bare_number_without_a_reason(line: str) -> None:
    """Counters, times and serial numbers stay, on the line of a subscriber too."""
    assert clean(line) == line
