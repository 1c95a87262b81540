"""Redaction: what must never pass, what must stay, and that batching, repeating and hostile input change nothing."""

import doctest
import re
import string
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage.errors import SettingsError
from stream_triage.stages import redact
from stream_triage.stages.redact import RULES, RedactionPattern, Redactor
from stream_triage.stages.redact.identities import IDENTITY_KINDS, IDENTITY_RULES
from stream_triage.stages.redact.triggers import COMPILED, lines_to_try, lower

IMSI = "001010000000042"
HEX = "00112233445566778899aabbccddeeff"
SPACED = " ".join(HEX[i : i + 2] for i in range(0, 32, 2))
COLONS = SPACED.replace(" ", ":")
WORDS = " ".join(HEX[i : i + 8] for i in range(0, 32, 8))
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
BODY = ["MIIEinventedAAAA/" + "bQ9x+" * 9 + "zz", "Kinvented" + "Zk4/r" * 11, "AsDf0+9=="]
KEY = ["-----BEGIN RSA PRIVATE KEY-----", *BODY, "-----END RSA PRIVATE KEY-----"]


def clean(text: str) -> str:
    return Redactor().text(text)


def test_examples_of_the_table_are_doctests() -> None:
    """Every rule shows a before and after, and they are true."""
    assert all(rule.examples and rule.why for rule in RULES)
    results = doctest.testmod(redact)
    assert results.failed == 0
    assert results.attempted == sum(len(rule.examples) for rule in RULES)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"IMSI={IMSI}, IMEISV=0035609204079514, Ki=1", "IMSI=<imsi>, IMEISV=<imei>, Ki=1"),
        (f'IMSI: "{IMSI}"', 'IMSI: "<imsi>"'),
        (f"[IMSI {IMSI}] attach", "[IMSI <imsi>] attach"),
        (f"IMSI[{IMSI}] (../src/mme/x.c:12)", "IMSI[<imsi>] (../src/mme/x.c:12)"),
        (f"UE SUPI[imsi-{IMSI}] DNN[internet]", "UE SUPI[imsi-<imsi>] DNN[internet]"),
        (f"[SUPI:imsi-{IMSI}] done", "[SUPI:imsi-<imsi>] done"),
        (f"/policies/imsi-{IMSI}-1", "/policies/imsi-<imsi>-1"),
        (f'{{\\"imsi\\":\\"{IMSI}\\"}}', '{\\"imsi\\":\\"<imsi>\\"}'),
        (f"<imsi>{IMSI}</imsi>", "<imsi><imsi></imsi>"),
        (f"\x1b[32mimsi\x1b[0m = \x1b[1m{IMSI}\x1b[0m", "\x1b[32mimsi\x1b[0m = \x1b[1m<imsi>\x1b[0m"),
        ("imsi 001-01-0000000042", "imsi <imsi>"),
        ("msin: '0000000042'", "msin: '<imsi>'"),
        ("IMSI=00101042, truncated", "IMSI=<imsi>, truncated"),
        ("suci-0-001-01-0000-1-1-a1b2c3d4e5f6 reject", "suci-<imsi> reject"),
        (f"FORW MTE USIMCONFIG 0 [{IMSI}+1 2] 1", "FORW MTE USIMCONFIG 0 [<imsi>+1 2] 1"),
        (f"for {IMSI}.", "for <imsi>."),
        (f"ue_{IMSI}.log", "ue_<imsi>.log"),
        ("IMEI: 35-609204-079514-0", "IMEI: <imei>"),
        ("imei=356092040795140 ok", "imei=<imei> ok"),
        ("imeisv-3560920407951401", "imeisv-<imei>"),
        ('"msisdn": "+491700000042"', '"msisdn": "<msisdn>"'),
        ("MSISDN[491700000042]", "MSISDN[<msisdn>]"),
        ("gpsi: msisdn-491700000042", "gpsi: msisdn-<msisdn>"),
        ("calling +491700000042, wait", "calling <msisdn>, wait"),
        ("ICCID=8949000000000000042", "ICCID=<iccid>"),
        ("0010100000000042@nai.epc.mnc001.mcc001.3gppnetwork.org up", "<email> up"),
    ],
)
def test_identities(before: str, after: str) -> None:
    """Subscribers and devices go, in every form that testers, cores and radios print."""
    assert clean(before) == after


@pytest.mark.parametrize("value", [HEX, HEX.upper(), "0x" + HEX, SPACED, COLONS, WORDS, SPACED.upper()])
@pytest.mark.parametrize(
    "form",
    [
        "Ki={}",
        "K: {}",
        'opc "{}"',
        '"opc": "{}"',
        "opc: '{}'",
        "  - k: {}",
        "OP = {}",
        "CK: {}",
        "ik={}",
        "opc[{}]",
        "kgnb : {} ",
        "kausf:{}",
        "k_asme: {}, n: 1",
        "Kamf {}",
        "KgNB*={}",
        "k_rrc_enc={}",
        "kRRCint: {}",
        "XRES: {}",
    ],
)
def test_keys(form: str, value: str) -> None:
    """Subscriber and derived keys go, as one number, in words, as bytes, quoted or not."""
    assert clean(form.format(value)) == form.format("<key>")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"NAS integrity key0x: {HEX}", "NAS integrity key0x: <key>"),
        (f"NAS ciphering key: {HEX}", "NAS ciphering key: <key>"),
        (f"key: '{HEX}'", "key: '<key>'"),
        (f"ue.DerivateKamf() {HEX}{HEX}", "ue.DerivateKamf() <key>"),
        (f"op: '{HEX}' # opType: OP", "op: '<key>' # opType: OP"),
        ("kamf:0 1 2 a bb cc dd ee f0 1 2 3 ", "kamf:<key> "),
        (f"Ki={HEX}, OPc={HEX}, DNN=oai", "Ki=<key>, OPc=<key>, DNN=oai"),
        (f"Ki={HEX[:-1]}, bad", "Ki=<key>, bad"),
        (f'key = "{HEX}";', 'key = "<key>";'),
        (f'uicc0.key = "{HEX}";', 'uicc0.key = "<key>";'),
        (f"loaded key={HEX}{HEX}, n=1", "loaded key=<key>, n=1"),
        (f"'key' => '0x{HEX}'", "'key' => '<key>'"),
        (f'opc = "{HEX}"; op_c= "{HEX}"', 'opc = "<key>"; op_c= "<key>"'),
        (f"ue --uicc0.key {HEX} --uicc0.opc {HEX}", "ue --uicc0.key <key> --uicc0.opc <key>"),
        (f"kausf(32): {HEX}{HEX}", "kausf(32): <key>"),
        (f"KgNB len=32 {SPACED}", "KgNB len=32 <key>"),
        (f"kasme [32 bytes] {HEX}", "kasme [32 bytes] <key>"),
        (f"kamf, length 256 bits: {HEX}", "kamf, length 256 bits: <key>"),
        (f"kgnb 32 {SPACED}", "kgnb <key>"),
    ],
)
def test_keys_in_particular_forms(before: str, after: str) -> None:
    """Forms of one product each."""
    assert clean(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("password=hunter2", "password=<password>"),
        ("passwd: hunter2", "passwd: <password>"),
        ("passwd: hunter", "passwd: <password>"),
        ('PASSWORD="two words"', 'PASSWORD="<password>"'),
        ('{"password":"a,b c"}', '{"password":"<password>"}'),
        ('{\\"password\\":\\"abc\\"}', '{\\"password\\":\\"<password>\\"}'),
        ("'password' => 'x1'", "'password' => '<password>'"),
        ("spring.datasource.password=a(b", "spring.datasource.password=<password>"),
        ("MYSQL_ROOT_PASSWORD: r00t!", "MYSQL_ROOT_PASSWORD: <password>"),
        ("\x1b[1mpassword\x1b[0m: \x1b[3mabc1\x1b[0m", "\x1b[1mpassword\x1b[0m: \x1b[3m<password>\x1b[0m"),
        ("db_pass=x2, n=1", "db_pass=<password>, n=1"),
        ("passphrase = 'open sesame'", "passphrase = '<password>'"),
        ("pwd=ab\\cd", "pwd=<password>"),
        ("tool --password hunter -v", "tool --password <password> -v"),
        ("tool --db-password=hunter", "tool --db-password=<password>"),
        ("tool --passwd 'a b'", "tool --passwd '<password>'"),
        ("sshpass -p hunter ssh x", "sshpass -p <password> ssh x"),
        ("postgres://u:p%40x@db:5432/t", "postgres://u:<password>@db:5432/t"),
        ("http://u:a@b@h/", "http://u:<password>@h/"),
        ("<Password>hunter2</Password>", "<Password><password></Password>"),
        ('<a:adminPassword t="x">a b</a:adminPassword>', '<a:adminPassword t="x"><password></a:adminPassword>'),
        ("<password><![CDATA[a>b]]></password>", "<password><![CDATA[<password>]]></password>"),
        ('{"name":"password","value":"hunter2"}', '{"name":"password","value":"<password>"}'),
        ('{"value": "a, b", "name": "DB_PASSWORD"}', '{"value": "<password>", "name": "DB_PASSWORD"}'),
        ('{\\"name\\":\\"password\\",\\"value\\":\\"abc\\"}', '{\\"name\\":\\"password\\",\\"value\\":\\"<password>\\"}'),
        ("curl -u bob:pw http://x", "curl -u bob:<password> http://x"),
        ("curl -fsu bob:a,b x", "curl -fsu bob:<password> x"),
        ("curl 'http://x?a=1&b=2' --user 'bob:p w'", "curl 'http://x?a=1&b=2' --user 'bob:<password>'"),
        ('AT+CPIN="1234"', 'AT+CPIN="<password>"'),
        ('AT+CPIN="12345678","1234"', 'AT+CPIN="<password>"'),
        ('AT+CLCK="SC",1,"1234"', 'AT+CLCK="SC",1,"<password>"'),
        ("pw=hunter2, x", "pw=<password>, x"),
        ('db_pw=abc&n=1 "pw": "1"', 'db_pw=<password>&n=1 "pw": "1"'),
        ("pwd=hunter2", "pwd=<password>"),
        ("mysql -u root -phunter2 db", "mysql -u root -p<password> db"),
        ("mysqldump -p'x y' db > f", "mysqldump -p'<password>' db > f"),
    ],
)
def test_passwords(before: str, after: str) -> None:
    """Passwords go from settings, JSON, command lines and addresses."""
    assert clean(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("api_key=abcdef", "api_key=<token>"),
        ("X-API-Key: 0a1b2c3d4e", "X-API-Key: <token>"),
        ("secret=abcdef", "secret=<token>"),
        ('"client_secret": "abc-def"', '"client_secret": "<token>"'),
        ("AWS_SECRET_ACCESS_KEY=abc/def+0123", "AWS_SECRET_ACCESS_KEY=<token>"),
        ("token: 0123456789abcdef", "token: <token>"),
        ("CODECOV_TOKEN: 01234567-89ab-cdef-0123-456789abcdef", "CODECOV_TOKEN: <token>"),
        ("access_token=abc.def-123&n=1", "access_token=<token>&n=1"),
        ("run --token abcdef12 -v", "run --token <token> -v"),
        ("Authorization: Bearer abc.def~1", "Authorization: Bearer <token>"),
        ("authorization: Basic Zm9vOmJhcg==", "authorization: Basic <token>"),
        ('curl -H "Authorization: token abc123"', 'curl -H "Authorization: token <token>"'),
        ('Authorization: Digest username="u", response="12"', "Authorization: Digest <token>"),
        ("Proxy-Authorization: 0123456789abcdef", "Proxy-Authorization: <token>"),
        ("using bearer 0123456789abcdefghij", "using bearer <token>"),
        ("Cookie: a=b; c=d", "Cookie: <token>"),
        ("set-cookie: sid=1; Path=/", "set-cookie: <token>"),
        (f"jwt {JWT}.", "jwt <token>."),
        ("got JSESSIONID=0A1B2C3D4E5F; Path=/", "got JSESSIONID=<token>; Path=/"),
        ("/x;jsessionid=0A1B2C3D4E5F?y=1", "/x;jsessionid=<token>"),
        ("sessionid=38afes7a8lq0d3fhs9w2mmmq; n=1", "sessionid=<token>; n=1"),
        ("<clientSecret>abc</clientSecret>", "<clientSecret><token></clientSecret>"),
        ("<token>abcd1234</token>", "<token><token></token>"),
        ("<ns:ApiKey>abcdef</ns:ApiKey>", "<ns:ApiKey><token></ns:ApiKey>"),
        ('{"name":"API_TOKEN","value":"abcd1234"}', '{"name":"API_TOKEN","value":"<token>"}'),
        ('{"value":"abcd1234","key":"client_secret"}', '{"value":"<token>","key":"client_secret"}'),
        ("https://0123456789abcdef0123@host.example/r.git", "https://<token>@host.example/r.git"),
        ("https://h.example/f?X-Amz-Signature=0123456789abcdef&b=1", "https://h.example/f?X-Amz-Signature=<token>&b=1"),
    ],
)
def test_tokens_by_name(before: str, after: str) -> None:
    """Tokens go wherever a name, header or address announces them."""
    assert clean(before) == after


@pytest.mark.parametrize(
    "token",
    [
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "ASIA" + "ABCDEFGHIJKLMNOP",
        *("gh" + kind + "_" + "a1" * 18 for kind in "pousr"),
        "github" + "_pat_" + "a1" * 12,
        "gl" + "pat-" + "a1" * 10,
        "xox" + "b-" + "1234567890-abc",
        "npm" + "_" + "a1" * 18,
        "pypi" + "-Ag" + "a1" * 30,
        "AIza" + "a1" * 17 + "b",
        "ya29" + "." + "a1" * 12,
        "sk" + "_live_" + "a1" * 12,
        "sk" + "-" + "a1" * 20,
        "hf" + "_" + "a1" * 17,
        "SG" + "." + "a1" * 11 + "." + "b2" * 12,
        "hv" + "s." + "a1" * 14,
        "dckr" + "_pat_" + "a1" * 12,
        "shp" + "at_" + "a1" * 16,
        "glsa" + "_" + "a1" * 20,
    ],
)
def test_tokens_by_shape(token: str) -> None:
    """Tokens with a known beginning need no name."""
    assert clean(f"found {token}, stop") == "found <token>, stop"


@pytest.mark.parametrize(
    "line",
    [
        "C: FORW 0x06 Failure MTE NRSETMUERADIOCONTEXTCELL: RETURN CODE:15014 FAILED",
        "25/11/24 23:40:43:763\tI: CMPI MTE 0 NAS ACTIVE RAT IND:UE Id:0",
        "I: ERNO 0x00000000 CASS 0x00000008 NR_L1.DL_PHY: at line 2153 of ../x/y.c",
        "primary key: id, public key: name, key=value",
        "cache key: wrapper-zips-0123456789abcdef0123456789abcdef",
        f"Cache key: {HEX}",
        f"commit {HEX}01234567",
        f"sha256:{HEX}{HEX}",
        f"key={HEX}0",
        f"key={HEX[:-1]}",
        f"cache key = {HEX}",
        f"cache-key={HEX} cache.key={HEX} public key={HEX} keys={HEX}",
        "docker run --user 1000:1000 --name mysql -p3306:3306 x",
        "mvn -Pmysql -pl core, then mysql -p db, mysql -P3306 -p$PASS",
        "curl -u $U:$P --user-agent foo:bar http://x, curl -u bob: y",
        "AT+CPIN? +CPIN: READY",
        "pw=12 pw=-97.5dBm pw: 5 pw=.5",
        "PDU sessionId=5 session_id=0x0123456789abcdef0123 sessionid=12345678901234567890123 pdusessionid=1",
        "<token>while</token><password></password><Password>***</Password><password>${env.X}</password>",
        r"<password>\${env.X}</password> <passwordPolicy>strict</passwordPolicy>",
        '{"name":"password","value":"$X"} {"name":"user","value":"bob"} {"name":"token","value":"short"}',
        "unexpected token: }",
        "Unexpected token < in JSON at position 0",
        "Executing with tokens: a, b",
        "token = lexer.next()",
        'if token.token == "eax":',
        "password for root required",
        "Enter password: ",
        "password: must be at least 8 characters",
        "password=null, secret=None, token=***",
        "export GH_TOKEN=[secure] PASSWORD=$DB_PASSWORD",
        "SECRET=${{ secrets.X }} apiKey: ${API_KEY_1}",
        "PWD=/home/u OLDPWD=~/x",
        "tests pass: 12, fail: 0",
        "usage: tool --password PASSWORD --token TOKEN",
        "at 1731939200000 ms",
        "at 1731939200000000 us, seed 3141592653589793",
        "at 1731939200000000000 ns",
        "id='140462566084240' limit 281474976710655",
        "0.123456789012345 and 310410123456789.25",
        "bearer establishment failed, default EPS bearer 5",
        "SCTP cookie echo, state cookie: 0x1234",
        "derive_kgnb with count= 0",
        "AUSF selected, kafka up, K = 4, op: 12",
        "rand 00112233445566778899aabbccddeeff",
        "git clone git@example.org:a/b.git",
        "npm left-pad@1.3.0 lodash@4.17.21-rc.next icon@2x.png user@1000.service",
        "com.acme.T$Listener@3460c866.running()",
        "http://localhost:8080/@scope/x and https://$GH_TOKEN@github.com http://$U:$P@h/",
        "diff +1 -2 +0000 +12345678",
        "botocore.credentials:credentials.py:1102",
        "Including io.jsonwebtoken:jjwt-api:jar:0.11.2 in the jar",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "IMSI[Unknown IMSI] UE has SUCI / SUPI, IMSI 0",
        "GUTI[00101cafe0000000001] M_TMSI:0xc00000d7",
    ],
)
def test_stays(line: str) -> None:
    """Triage needs these, and they identify nobody."""
    assert clean(line) == line


@pytest.mark.parametrize("prefix", ["", "    ", "2024-11-18T12:00:0{n}.12{n}Z ", "[{n}] INFO  ui.Key: ", "{n}\t|"])
@pytest.mark.parametrize("label", ["RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
def test_private_key_over_lines(prefix: str, label: str) -> None:
    """A key goes line by line, whatever stands left of it, and the lines around it stay."""
    key = [f"-----BEGIN {label}-----", *BODY, f"-----END {label}-----"]
    text = "\n".join(["before", *(prefix.format(n=n) + line for n, line in enumerate(key)), "after word"])
    wanted = ["before", *(prefix.format(n=n) + "<private-key>" for n in range(len(key))), "after word"]
    assert clean(text).split("\n") == wanted


def test_private_key_with_quotes_and_line_ends() -> None:
    """Keys quoted in code, with carriage returns, go too."""
    text = "\n".join(f'  "{line}\\n"\r' for line in KEY)
    assert not any(part in clean(text) for part in BODY)
    assert clean(text).count("<private-key>") == len(KEY)


def test_private_key_on_one_line() -> None:
    """A key with literal line ends goes as one, and what stands around it stays."""
    for end in ("\\n", "\\\\n", "\\r\\n"):
        assert clean(f'{{"k": "{end.join(KEY)}{end}", "n": 1}}') == f'{{"k": "<private-key>{end}", "n": 1}}'


def test_two_private_keys_on_one_line() -> None:
    """Each is replaced, also when the second is cut."""
    joined = "\\n".join(KEY)
    assert clean(f"{joined} and {joined}!") == "<private-key> and <private-key>!"
    assert clean(f"{joined} and " + "\\n".join(KEY[:3]) + " cut") == "<private-key> and <private-key> cut"


def test_unfinished_private_key_ends_by_itself() -> None:
    """Without END only key material goes: log lines after it stay, and later base64 is not taken for the key."""
    log = [f"2024 INFO step {n} of many" for n in range(20)]
    text = "\n".join([*KEY[:3], *log, BODY[0]])
    wanted = ["<private-key>"] * 3 + [*log, BODY[0]]
    assert clean(text).split("\n") == wanted


def test_lines_inside_a_private_key_are_redacted_as_usual() -> None:
    """Lines of others between the lines of a key pass through the table, and do not end the key."""
    text = "\n".join([KEY[0], BODY[0], "12:00 login password=hunter2", f"12:01 at {HEX}01234567", *BODY[1:], KEY[-1]])
    wanted = ["<private-key>", "<private-key>", "12:00 login password=<password>", f"12:01 at {HEX}01234567"]
    assert clean(text).split("\n") == [*wanted, *["<private-key>"] * 3]


def test_endless_private_key_is_bounded() -> None:
    """Base64 that never ends is believed to be a key for 2,000 lines, BEGIN among them; a late END is a line like others."""
    redacted = clean("\n".join([KEY[0], *[BODY[0]] * 3_000, KEY[-1]])).split("\n")
    assert redacted[:2_000] == ["<private-key>"] * 2_000
    assert redacted[2_000:] == [*[BODY[0]] * 1_001, KEY[-1]]


@pytest.mark.parametrize(("foreign", "inside"), [(7, True), (8, False)])
def test_foreign_lines_inside_a_private_key(foreign: int, inside: bool) -> None:
    """Seven in a row may be from elsewhere; after the eighth the key is over."""
    log = [f"2024 INFO step {n} of many" for n in range(foreign)]
    wanted = ["<private-key>", *log, "<private-key>" if inside else BODY[0]]
    assert clean("\n".join([KEY[0], *log, BODY[0]])).split("\n") == wanted


def test_key_material_between_foreign_lines_keeps_a_key_open() -> None:
    """Foreign lines are counted in a row, not in all."""
    log = [f"2024 INFO step {n} of many" for n in range(7)]
    wanted = ["<private-key>", *[*log, "<private-key>"] * 3]
    assert clean("\n".join([KEY[0], *[*log, BODY[0]] * 3])).split("\n") == wanted


def test_text_after_a_private_key_is_no_part_of_it() -> None:
    """After END, base64 stays; a new BEGIN opens the next key, also before the first one ended."""
    assert clean("\n".join([*KEY, BODY[0]])).split("\n") == [*["<private-key>"] * len(KEY), BODY[0]]
    assert clean("\n".join([*KEY[:2], *KEY, BODY[0]])).split("\n") == [*["<private-key>"] * (len(KEY) + 2), BODY[0]]
    assert clean("\n".join([KEY[0], "\\n".join(KEY), BODY[0]])).split("\n") == ["<private-key>", "<private-key>", BODY[0]]


WIDE = "Zk4/rQz8+0aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789ab"


@pytest.mark.parametrize(("length", "removed"), [(40, True), (39, False)])
def test_long_material_needs_no_prefix(length: int, removed: bool) -> None:
    """From 40 characters on a word is key material whatever stands before it; a shorter one needs the prefix of the key."""
    for prefix, expected in (("other: ", removed), ("12:00 key ", True)):
        text = clean(f"12:00 key {KEY[0]}\n{prefix}{WIDE[:length]}")
        assert text.split("\n")[1] == prefix + ("<private-key>" if expected else WIDE[:length])


def test_the_prefix_of_a_key_is_blind_to_digits() -> None:
    """Time stamps differ from line to line; anything else before the word must be the same as on the line before."""
    lines = [f"12:00:01 ui {KEY[0]}", f"12:00:10 ui {WIDE[:30]}", f"12:01:00 ui {WIDE[:30]}", f"12:01:00 db {WIDE[:30]}"]
    redacted = ["12:00:01 ui <private-key>", "12:00:10 ui <private-key>", "12:01:00 ui <private-key>"]
    assert clean("\n".join(lines)).split("\n") == [*redacted, lines[-1]]


@pytest.mark.parametrize(("length", "removed"), [(24, 3), (23, 1)])
def test_only_the_last_line_of_a_key_is_short(length: int, removed: int) -> None:
    """Below 24 characters a word may be an ordinary one, so it counts once, as the last line."""
    lines = [WIDE[:length]] * 3
    assert clean("\n".join([KEY[0], *lines])).split("\n")[1:] == ["<private-key>"] * removed + lines[removed:]


def test_the_checksum_after_the_last_line_of_a_key_goes_too() -> None:
    """PGP adds one; a short line that came before it does not end its key."""
    lines = [KEY[0], "AsDf0+9==", "=aB1+", "AsDf0+9=="]
    assert clean("\n".join(lines)).split("\n") == [*["<private-key>"] * 3, "AsDf0+9=="]


@pytest.mark.parametrize(("word", "removed"), [("0123456789abcdef01234567", False), ("0123456789abcdef01234ghi", True)])
def test_a_hash_is_no_key_material(word: str, removed: bool) -> None:
    """24 and more hex digits are a commit or a digest; one other letter makes it base64."""
    assert clean(f"{KEY[0]}\n{word}").split("\n")[1] == ("<private-key>" if removed else word)


@pytest.mark.parametrize("end", ['",', "'", "`;", "\\n", '\\n"', "\\r", " ", "\t\r"])
def test_what_ends_a_line_of_code_stays_behind_key_material(end: str) -> None:
    assert clean(f"{KEY[0]}\n{BODY[0]}{end}").split("\n")[1] == f"<private-key>{end}"


def test_a_private_key_goes_on_in_the_next_batch() -> None:
    """BEGIN may be the last line of a batch, and the name of a key too."""
    redactor = Redactor()
    state = redactor.start()
    assert not state.open
    assert redactor.lines(KEY[0], state) == "<private-key>"
    assert state.open
    assert redactor.lines(BODY[0], state) == "<private-key>"
    assert redactor.lines(KEY[-1], state) == "<private-key>"
    assert not state.open


def test_hex_dump_after_the_name_of_a_key() -> None:
    """Bytes below a key's name go; a dump below anything else stays."""
    dump = [f"    0000: {SPACED}", f"    0010: {SPACED}"]
    assert clean("\n".join(["[RRC] K_eNB", *dump, "x"])).split("\n") == ["[RRC] K_eNB", "    <key>", "    <key>", "x"]
    assert clean("\n".join(["PDU", *dump])).split("\n") == ["PDU", *dump]


def test_hex_dump_of_a_key_has_four_lines() -> None:
    """As many as 64 bytes need; each may come in a batch of its own, and any other line ends the dump."""
    redactor = Redactor()
    state = redactor.start()
    assert [redactor.lines(line, state) for line in ("kausf:", *[SPACED] * 5)] == ["kausf:", *["<key>"] * 4, SPACED]
    assert state.counts == {"key": 4}
    assert clean(f"kausf:\n{SPACED}\n\n{SPACED}") == f"kausf:\n<key>\n\n{SPACED}"


@pytest.mark.parametrize(
    ("row", "removed"),
    [
        (SPACED[:23], True),
        (SPACED[:20], False),
        (" ".join("0123456789abcd"), True),
        (" ".join("0123456789abc"), False),
    ],
)
def test_shortest_row_of_a_dump(row: str, removed: bool) -> None:
    """Eight bytes of two digits each, or fourteen with as many digits as they need: fewer numbers may be anything."""
    assert clean(f"kausf:\n{row}") == f"kausf:\n{'<key>' if removed else row}"


@pytest.mark.parametrize("prefix", ["", "  ", "12:00:01 [NAS] ", "2024-11-18T12:00:01.123Z INFO ue[1]: "])
@pytest.mark.parametrize(
    "title",
    [
        "kausf:",
        "K_eNB",
        "derived Kamf =",
        "KgNB (32 bytes):",
        "kasme len=32",
        "OPc:",
        "K",
        "Ki =",
        "CK:",
        "NAS ciphering key:",
    ],
)
@pytest.mark.parametrize(
    "value", [SPACED, COLONS, WORDS, HEX, "0x" + HEX.upper(), HEX + HEX, SPACED.replace(" ", ", 0x"), "0000: " + SPACED]
)
def test_hex_below_the_name_of_a_key_with_a_log_prefix(prefix: str, title: str, value: str) -> None:
    """The prefix stays, the bytes go, in words and unbroken as well, and the line after them stays."""
    lines = [prefix + title, prefix + value, prefix + value, prefix + "done 12"]
    assert clean("\n".join(lines)).split("\n") == [prefix + title, prefix + "<key>", prefix + "<key>", prefix + "done 12"]


def test_hex_dump_with_its_characters_goes_whole() -> None:
    """The right column of `hexdump -C` shows the same bytes as text."""
    assert clean(f"kausf:\nki:{SPACED}") == "kausf:\nki:<key>"
    assert clean(f"kausf:\n0000  {SPACED}  |.secret|....abc.|") == "kausf:\n<key>|"


@pytest.mark.parametrize("title", ["public key:", "cache key", "task", "OK", "at 12 K", "disk", "stopc", "key: value"])
def test_hex_below_anything_else_stays(title: str) -> None:
    """Only a key's name alone, or at the end of a line, announces bytes."""
    assert clean(f"{title}\n{HEX}\n{SPACED}") == f"{title}\n{HEX}\n{SPACED}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\npassword=hunter2", "\npassword=<password>"),
        ("password=hunter2\n", "password=<password>\n"),
        ("a\npassword=hunter2\n\nb", "a\npassword=<password>\n\nb"),
        ("\n", "\n"),
        ("", ""),
        ("İİİ password=hunter2 İ\nimsi=00101042", "İİİ password=<password> İ\nimsi=<imsi>"),
    ],
)
def test_lines_keep_their_positions(before: str, after: str) -> None:
    """Empty lines at either end stay, and so do characters whose lower case is longer than themselves."""
    assert clean(before) == after


@pytest.mark.parametrize("before_name", ["\u0130", "\u212a", "ſ", "é"])
def test_letters_outside_ascii_end_no_name(before_name: str) -> None:
    """Their lower case may hold an ASCII letter, which must not hide the name of a key behind them."""
    assert clean(f"{before_name}Ki=00112233445566778899aabbccddeeff") == f"{before_name}Ki=<key>"


def test_lower_keeps_length_and_makes_no_ascii_letter() -> None:
    """Positions in the text and in its lower case agree for all of Unicode."""
    every = "".join(chr(code) for code in range(0x80, 0x110000))
    assert len(lower(every)) == len(every)
    assert not set(lower(every)) & set(string.ascii_letters)


def test_counts_replacements_by_kind() -> None:
    """A source's state adds up over batches."""
    redactor = Redactor((RedactionPattern("site", r"site-\d+"),))
    state = redactor.start()
    redactor.lines(f"imsi={IMSI} imsi={IMSI}\nsite-7", state)
    redactor.lines("password=hunter2\nnothing here", state)
    assert state.counts == {"imsi": 2, "site": 1, "password": 1}


def test_pseudonyms_are_stable_and_keyed() -> None:
    """With a key one subscriber is one pseudonym in every form; without that key nobody can tell who."""
    redactor = Redactor(pseudonym_key=b"invented")
    marker = redactor.text(IMSI)
    assert re.fullmatch(r"<imsi:[0-9a-f]{8}>", marker)
    suci = redactor.text("suci-0-001-01-0000-0-0-0000000042").removeprefix("suci-")
    assert {redactor.text(f"imsi-{IMSI}"), redactor.text(f'IMSI: "{IMSI}"')} == {f"imsi-{marker}", f'IMSI: "{marker}"'}
    assert suci == marker
    assert redactor.text("001010000000043") != marker
    assert Redactor(pseudonym_key=b"other").text(IMSI) != marker


def test_pseudonyms_ignore_spelling() -> None:
    """Separators, case and the way an identity is written make no other pseudonym."""
    redactor = Redactor(pseudonym_key=b"invented")

    def marker(text: str) -> str:
        found = re.search(r"<[a-z]+:[0-9a-f]{8}>", redactor.text(text))
        assert found
        return found[0]

    assert marker("IMEI: 35-609204-079514-0") == marker("imei=356092040795140")
    assert marker("ICCID=8949000000000000042F") == marker("iccid 8949000000000000042f")
    assert marker("imsi 001-01-0000000042") == marker(f"IMSI={IMSI}")
    assert marker("by Bob@Example.org") == marker("by bob@example.org")


@pytest.mark.parametrize(
    "suci",
    [
        "suci-0-001-01-0000-1-0-0000000042",
        "suci-1-001-01-0000-0-0-0000000042",
        "suci-0-001-01-0000-0-0",
        "suci-0-001-01-0000-0-0-0000000042-1",
    ],
)
def test_only_a_suci_of_the_null_scheme_is_its_imsi(suci: str) -> None:
    """Other schemes, types and lengths hide the number, and get a pseudonym of their own."""
    redactor = Redactor(pseudonym_key=b"invented")
    redacted = redactor.text(suci)
    assert re.fullmatch(r"suci-<imsi:[0-9a-f]{8}>", redacted)
    assert redacted != f"suci-{redactor.text(IMSI)}"


def test_secrets_never_become_pseudonyms() -> None:
    """A pseudonym would let a short secret be guessed."""
    text = f"password=hunter2 Ki={HEX} api_key=abcdef1\n{KEY[0]}\n{KEY[1]}\n{KEY[-1]}\nsite-7"
    own = (RedactionPattern("site", r"site-\d+"),)
    assert Redactor(own, pseudonym_key=b"k").text(text) == Redactor(own).text(text)


def test_all_digit_pseudonym_is_not_taken_for_a_number() -> None:
    """The marker looks like a name with its value, and stays."""
    assert clean("<imsi:12345678> <imei:12345678> <msisdn:12345678>") == "<imsi:12345678> <imei:12345678> <msisdn:12345678>"


@pytest.mark.parametrize(
    ("run_id", "shown"),
    [
        ("token=abcd1234efgh/a.log#0a1b2c3d", "token=<token>#0a1b2c3d"),
        ("token=abcd1234efgh/a.log#0a1b2c3", "token=<token>"),
        ("token=abcd1234efgh/a.log#0a1b2c3d4", "token=<token>"),
        ("token=abcd1234efgh/a.log#0a1b2c3g", "token=<token>"),
        (f"ue {IMSI}#ffffffff", "ue <imsi>#ffffffff"),
        ("#00000000", "#00000000"),
        ("token=abcd1234efgh/a.log#0a1b2c3d~12", "token=<token>#0a1b2c3d~12"),
        (f"night/{IMSI}", "night/<imsi>"),
        ("0a1b2c3d", "0a1b2c3d"),
    ],
)
def test_run_id(run_id: str, shown: str) -> None:
    """The digest of a file's content, eight hex digits after a hash sign, is no part of a secret before it."""
    assert Redactor().run_id(run_id) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("test.case.name", "attach", ("test.case.name", "attach")),
        ("note", f"IMSI {IMSI}", ("note", "IMSI <imsi>")),
        (f"ue {IMSI}", "up", ("ue <imsi>", "up")),
        ("password", "hunter2", ("password", "<password>")),
        ("X-Api-Key", "abcdef12", ("X-Api-Key", "<token>")),
        ("imsi", "00101042", ("imsi", "<imsi>")),
        ("password", "", ("password", "")),
    ],
)
def test_header(name: str, value: str, shown: tuple[str, str]) -> None:
    """Name and value are redacted, and a name that says so makes its value a secret."""
    assert Redactor().header(name, value) == shown


@pytest.mark.parametrize("pair", ["x: {}", "a{}b", "<password>{}"])
def test_each_change_is_tried_again(pair: str) -> None:
    """What one rule leaves can be what another looks for: redacting until nothing changes needs no second call."""
    text = pair.format(f"password=imsi={IMSI}&token=abcd1234efgh")
    once = clean(text)
    assert IMSI not in once
    assert "abcd1234" not in once
    assert clean(once) == once


def test_own_pattern_replaces_all_or_its_secret_group() -> None:
    """Own patterns come first and see the line as it came."""
    redactor = Redactor((RedactionPattern("site", r"site-(?P<secret>\d+)x"), RedactionPattern("lab", r"(?i)berlin")))
    assert redactor.text("site-12x in Berlin, berlin") == "site-<site>x in <lab>, <lab>"
    assert Redactor((RedactionPattern("both", rf"id {IMSI}"),)).text(f"id {IMSI}") == "<both>"


def test_own_pattern_cannot_join_lines_or_damage_markers() -> None:
    """An own pattern may match anything, yet lines and markers keep their number and form."""
    redactor = Redactor((RedactionPattern("any", r"[\s\w]+"),))
    assert redactor.text("a b\nc\n\nd") == "<any>\n<any>\n\n<any>"
    assert redactor.text("<imsi>:<key>") == "<imsi>:<key>"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("ab<imsi>ab", "<own><imsi><own>"),
        ("x<imsi>y", "<own>"),
        ("x<imsi>", "x<imsi>"),
        ("<imsi>y", "<imsi>y"),
        ("<imsi>", "<imsi>"),
        ("<imsi><key>", "<imsi><key>"),
    ],
)
def test_own_pattern_beside_and_around_markers(text: str, redacted: str) -> None:
    """Beside a marker an own pattern replaces what it matches; a marker itself goes only with text on both of its sides."""
    assert Redactor((RedactionPattern("own", "ab|x?<imsi>y?"),)).text(text) == redacted


@pytest.mark.parametrize(
    ("name", "pattern", "remedy"),
    [("bad", "(", "correct or remove"), ("empty", "a*", "empty string"), ("Not ok", "a", "a-z"), ("x\n", "a", "a-z")],
)
def test_own_pattern_that_cannot_work_is_rejected(name: str, pattern: str, remedy: str) -> None:
    """The message names the pattern and says what to do."""
    with pytest.raises(SettingsError, match=remedy) as caught:
        Redactor((RedactionPattern(name, pattern),))
    assert repr(name) in str(caught.value)


def test_repr_gives_nothing_away() -> None:
    """Neither the key nor a line shows up in what a traceback or a log prints."""
    redactor = Redactor((RedactionPattern("own", "hush"),), pseudonym_key=b"topsecret")
    state = redactor.start()
    redactor.lines(f"{KEY[0]}\n{BODY[0]}", state)
    assert "topsecret" not in repr(redactor)
    assert "hush" not in repr(redactor)
    assert not any(BODY[0][:12] in str(getattr(state, slot)) for slot in state.__slots__)


PIECES = st.sampled_from(
    [
        "IMSI",
        "imsi=",
        "imsi-",
        "supi ",
        "IMEI:",
        "msisdn",
        "suci-0-001-01-0000-0-0-0000000042",
        "tel:",
        "Ki=",
        "K: ",
        "opc",
        "kgnb : ",
        "K_eNB",
        "key: ",
        "api_key",
        "secret",
        "token: ",
        "token=",
        "password",
        "passwd: ",
        "--password ",
        "pwd",
        "Authorization: ",
        "Bearer ",
        "Basic ",
        "Cookie: ",
        "://",
        "bob:pw1",
        "@",
        "a@b.org",
        "?sig=",
        "<imsi>",
        "<imsi:",
        "12345678",
        ">",
        "<",
        "<key>",
        "<token>",
        "<private-key>",
        "<any>",
        "=",
        ":",
        '"',
        "'",
        '\\"',
        " ",
        "  ",
        ",",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "+1 2]",
        "+491700000042",
        IMSI,
        HEX,
        SPACED,
        WORDS,
        JWT,
        "hunter2",
        "abcdef0123",
        "12",
        ".",
        "ghp_" + "a1" * 18,
        "null",
        "***",
        "$X",
        "\\n",
        "\x1b[0m",
        "\x1b[1;31m",
        "\x1b]8;;http://a:b@c\x1b\\",
        "\x9b32m",
        "[0m",
        "\\u001b[0m",
        "\x08",
        "\u200b",
        "\xad",
        "\ufeff",
        "\xa0",
        "\u3000",
        "\uff1d",
        "%3D",
        "%22",
        "%2520",
        "%0A",
        "\\u003d",
        "\\\\u003d",
        "\\/",
        '\\\\\\"',
        "\\\\n",
        "&quot;",
        "&amp;#61;",
        "&lt;",
        '{"log":"',
        '\\n"}',
        "\r",
        "\t",
        "x",
        "é",
        "İ",
        "\u212a",
        "K",
        "ſ",
        "0x",
        "-",
        "::",
        ";",
        *KEY,
        "    0000: " + SPACED,
        "12:00:00 INFO ",
        "PRIVATE KEY",
        "sid=1",
        "kausf",
        "kausf(32):",
        "len=32",
        " [32 bytes]",
        "key = ",
        "key",
        "k",
        "op_c",
        "<password>",
        "</password>",
        "</token>",
        "]]>",
        '{"name":"password",',
        '"value":"',
        '","name":"token"',
        "curl -u ",
        "mysql -p",
        "AT+CPIN=",
        "pw=",
        "sessionid=",
        "JSESSIONID=",
        "|",
        "forw mte UsimConfig ",
        "UNHEX('",
        "PIN1: ",
        "verify_adm ",
        "1234",
        "imsi,ki,opc",
        "| user | password |",
        "user;password",
        "INSERT INTO t (imsi, ki) VALUES (",
        "name: DB_PASSWORD",
        "value: ",
        " is ",
        " -> ",
        "auth",
        "docker login -p ",
        "snmpwalk -c ",
        "login bob:",
        "<entry key=",
        "imei 9 ",
        "356092040795140",
        "08 29 43 05 10 00 00 00 42",
        "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF",
    ]
)
LINES = st.lists(st.lists(PIECES, max_size=6).map("".join), min_size=1, max_size=12)
OWN = (RedactionPattern("any", r"hunt\w+"), RedactionPattern("own", r"bob:(?P<secret>\S+)"))


@settings(max_examples=400, deadline=None)
@given(lines=LINES, cuts=st.sets(st.integers(0, 12)), key=st.sampled_from([None, b"k"]))
def test_batching_changes_nothing(lines: list[str], cuts: set[int], key: bytes | None) -> None:
    """Any cut of the lines into batches gives the same text and counts, with as many lines."""
    redactor = Redactor(OWN, key)
    whole, parts = redactor.start(), redactor.start()
    together = redactor.lines("\n".join(lines), whole).split("\n")
    edges = sorted({0, len(lines), *(cut for cut in cuts if cut < len(lines))})
    apart = [line for a, b in pairwise(edges) for line in redactor.lines("\n".join(lines[a:b]), parts).split("\n")]
    assert apart == together
    assert len(together) == len(lines)
    assert parts.counts == whole.counts


@settings(max_examples=600, deadline=None)
@given(lines=LINES, key=st.sampled_from([None, b"k"]))
def test_redacting_twice_changes_nothing(lines: list[str], key: bytes | None) -> None:
    """Redacted text is already redacted: nothing is found in it again and every marker stays."""
    redactor = Redactor(OWN, key)
    once = redactor.text("\n".join(lines))
    assert redactor.text(once) == once


@settings(max_examples=300, deadline=None)
@given(lines=LINES)
def test_triggers_cover_their_rules(lines: list[str]) -> None:
    """A rule that could match is always woken by one of its triggers."""
    text = "\n".join(lines)
    _, starts_of = lines_to_try(text)
    for number, compiled in enumerate(COMPILED):
        for match in compiled.pattern.finditer(text):
            if compiled.rule.accept and not compiled.rule.accept(match):
                continue
            assert text.rfind("\n", 0, match.start()) + 1 in starts_of.get(number, []), compiled.rule.name


HOSTILE = [
    "\x1b",
    "\x1b]",
    "\x1b[31m",
    "a\x1b[31m",
    "\x9b1;",
    "a\x08",
    "\u200b",
    "\xa0",
    "%25",
    "%2520",
    "%3D",
    "\\\\",
    "\\u005c",
    "\\n",
    "&amp;",
    "&quot;",
    '{"log":"',
    '{"a b":"',
    '{"log":"password=\\"a\\n',
    "[1m",
    "a",
    "a.",
    "a@",
    "a@a.",
    "://a:",
    "://a:b@",
    "-",
    "imsi",
    'imsi"',
    "0",
    "00 ",
    "00:",
    "k: 00 ",
    "kgnb : 0 ",
    "key:",
    "password=",
    'password="',
    "password={{",
    "token=",
    "token=%(",
    "token: a",
    'api_key="',
    "eyJaaaaaaaaa.",
    "bearer ",
    'authorization: digest "',
    "Cookie: a=",
    "\\",
    '\\"',
    "suci-0-001-",
    "1234567890123456",
    "$",
    "\x1b[0m",
    "{{",
    "İ",
    "K_eNB",
    KEY[0],
    KEY[0] + "\\n",
    "\\n".join(KEY),
    KEY[-1],
    "A1+/",
    "<token>",
    "?key=a",
    "-----BEGIN A B ",
    "pwd \x1b[",
    "curl ",
    "curl -u ",
    "curl -u a",
    "mysql ",
    "mysql -p",
    "<password>",
    "<password ",
    "<a.",
    "</token>",
    '"value":"',
    '"value":"a","name":"',
    '"name":"password",',
    "pw=",
    "pw ",
    "sessionid=",
    'AT+CPIN="',
    "kausf(",
    "kausf 3",
    "kausf len=",
    "k ",
    "opc",
    "| k ",
    "k,",
    "(ki) values (",
    "'a',",
    "name: password ",
    "pin ",
    "pass",
    "pass ",
    "-p ",
    "docker login -p ",
    "echo a | ",
    "login a:",
    "password is ",
    "<password>]]>",
    "key='",
    "\\x00",
    "0x00, ",
    "+1 2 ",
    "imei 1 ",
    "a:b@",
    "cbc ",
]


@pytest.mark.parametrize(
    "length", [2_048, pytest.param(8_192, marks=pytest.mark.slow), pytest.param(65_536, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("before", ["", "imsi=", "password=", 'token="', "://a:", KEY[0]])
def test_hostile_lines_finish(before: str, length: int) -> None:
    """Lines made to confuse the rules take seconds all together, at most a second for one of full length."""
    started = time.process_time()
    for piece in HOSTILE:
        line = before + piece * (length // len(piece))
        assert "\n" not in clean(line + "@a.bc 1")
    assert time.process_time() - started < len(HOSTILE) * length / 65_536


@pytest.mark.slow
def test_hostile_lines_below_the_name_of_a_key_finish() -> None:
    """Full-length lines that are nearly a dump take no longer than others."""
    started = time.process_time()
    for piece in ("00 ", "00:", "0 ", "00, ", "00112233 ", "0x", "00 | ", "|", " ", "\t", HEX):
        text = "\n".join(["kausf:", piece * (65_536 // len(piece)) + "!"] * 8)
        assert clean(text).count("\n") == 15
    assert time.process_time() - started < 5


def test_every_identity_gets_a_pseudonym():
    """A rule for identities of another kind would remove them without one."""
    assert {rule.kind for rule in IDENTITY_RULES} <= IDENTITY_KINDS
