"""Secrets without their usual name beside them: positions, command lines, cards, other notations, and what looks alike."""

import doctest
from types import ModuleType

import pytest

from stream_triage.stages.redact import Redactor, names, tables, values
from stream_triage.stages.redact.names import is_key_name, secret_kind
from stream_triage.stages.redact.values import is_strong, looks_random

IMSI = "001010000000042"
HEX = "00112233445566778899aabbccddeeff"
BYTES = [HEX[i : i + 2] for i in range(0, 32, 2)]
SPACED = " ".join(BYTES)
RANDOM = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0dF"


def clean(text: str) -> str:
    return Redactor().text(text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            f"forw mte UsimConfig 1([{IMSI}+1 2] [] [1] [] []) [] [] [{HEX.upper()}] [] [] []",
            "forw mte UsimConfig 1([<imsi>+1 2] [] [1] [] []) [] [] [<key>] [] [] []",
        ),
        (
            f"FORW MTE USIMCONFIG 0 [{IMSI}+1 2] [{HEX}] [{HEX} {'0' * 32} {'0' * 31}1] []",
            "FORW MTE USIMCONFIG 0 [<imsi>+1 2] [<key>] [<key> <key> <key>] []",
        ),
        (f"forw mte UsimConfig 0 [{IMSI}+1 2] TUAK [{HEX}{HEX}]", "forw mte UsimConfig 0 [<imsi>+1 2] TUAK [<key>]"),
        (
            "forw mte NasConfigBearer 0 [5 [internet] [] [0011223344556677]]",
            "forw mte NasConfigBearer 0 [5 [internet] [] [0011223344556677]]",
        ),
        ("forw mte UsimConfig 0 [] MILENAGE", "forw mte UsimConfig 0 [] MILENAGE"),
        (
            "C: FORW 0x00 Ok MTE USIMCONFIG: RETURN CODE:0 SUCCEEDED",
            "C: FORW 0x00 Ok MTE USIMCONFIG: RETURN CODE:0 SUCCEEDED",
        ),
    ],
)
def test_positional_keys_of_the_tester(before: str, after: str) -> None:
    """K, OP, OPc and constants go from UsimConfig by position; the rest of a command stays."""
    assert clean(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"SET `OPc`=UNHEX('{HEX}')", "SET `OPc`=UNHEX('<key>')"),
        (f"IMSI {IMSI} Updated OPc {HEX} -> {HEX}", "IMSI <imsi> Updated OPc <key> -> <key>"),
        (f"IMSI: {IMSI}Key: {'.'.join(BYTES)}.", "IMSI: <imsi>Key: <key>."),
        (f"opStr {HEX} kStr={HEX}", "opStr <key> kStr=<key>"),
        (f'"opc":{{"opcValue":"{HEX}"}},"op":{{"opValue":"{HEX}"}}', '"opc":{"opcValue":"<key>"},"op":{"opValue":"<key>"}'),
        (f'"permanentKeyValue":"{HEX}"', '"permanentKeyValue":"<key>"'),
        (f"EncPermanentKey:{HEX} EncOpcKey:{HEX}", "EncPermanentKey:<key> EncOpcKey:<key>"),
        (f'"encTopcKey": "{HEX}{HEX}"', '"encTopcKey": "<key>"'),
        (f'"kAkma":"{HEX}{HEX}"', '"kAkma":"<key>"'),
        ("Kc: 0011223344556677", "Kc: <key>"),
        (f"nextHopNH: {HEX}{HEX}", "nextHopNH: <key>"),
        (f"gp --key-enc {HEX} --key-mac {HEX} --key-dek {HEX}", "gp --key-enc <key> --key-mac <key> --key-dek <key>"),
        (f"pySim-prog.py -k {HEX} -x 1", "pySim-prog.py -k <key> -x 1"),
        (f"KIC1={HEX} KID1={HEX}", "KIC1=<key> KID1=<key>"),
        (f"<Ki>{HEX}</Ki><OPc>{HEX}</OPc>", "<Ki><key></Ki><OPc><key></OPc>"),
        (f'<param name="K" value="{HEX}"/>', '<param name="K" value="<key>"/>'),
        (f"dbctl add {IMSI} {HEX} {HEX}", "dbctl add <imsi> <key> <key>"),
        (f"uint8_t k[16] = {{ {', '.join('0x' + byte for byte in BYTES)} }};", "uint8_t k[16] = { <key> };"),
        ('k = b"' + "".join(f"\\x{byte}" for byte in BYTES) + '"', 'k = b"<key>"'),
        (f"ki = bytes.fromhex('{SPACED}')", "ki = bytes.fromhex('<key>')"),
        ('"opc":[' + ",".join("17" for _ in BYTES) + "]", '"opc":[<key>]'),
        ('auth_opc: "ABEiM0RVZneImaq7zN3u/w=="', 'auth_opc: "<key>"'),
        (f"opc(16): {HEX}", "opc(16): <key>"),
        (f"enc cbc(aes) 0x{HEX}", "enc cbc(aes) <key>"),
        (f"-A hmac-sha1 0x{HEX}00112233;", "-A hmac-sha1 <key>;"),
        (f"CLIENT_RANDOM {HEX} {HEX}{HEX}{HEX}", f"CLIENT_RANDOM {HEX} <key>"),
    ],
)
def test_keys_in_other_notations(before: str, after: str) -> None:
    """A key goes by the name before it, in whatever function, notation or position it stands."""
    assert clean(before) == after


@pytest.mark.parametrize(
    "line",
    [
        f"rand={HEX} autn {HEX}",
        f"UE <imsi> trace_id={HEX} sha256: {HEX}{HEX} guti {HEX}",
        f"GET /contexts/<imsi>/{HEX}",
        f"md5 of the log: {HEX}",
        f"key fingerprint is MD5:{':'.join(BYTES)}",
        f"X509v3 Subject Key Identifier: {':'.join(BYTES)}",
        f"network 'kind-k8s-default' ({HEX}{HEX})",
        f"homeNetworkPublicKey: '{HEX}{HEX}'",
        f"session {HEX} opened",
        f"mem[0x00112233]: {HEX[:8]} {HEX[8:16]} {HEX[16:24]} {HEX[24:]}",
    ],
)
def test_other_hex_digits_stay(line: str) -> None:
    """Challenges, digests, ids and dumps are no keys, also on the line of a subscriber."""
    assert clean(line) == line


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("PIN1: 1234 PUK1: 12345678 ADM1: 81726354", "PIN1: <password> PUK1: <password> ADM1: <password>"),
        ("ADM1(hex): 3831373236333534", "ADM1(hex): <password>"),
        ("--pin-adm=81726354 --pin 1234", "--pin-adm=<password> --pin <password>"),
        ("pySIM-shell (MF)> verify_adm 81726354", "pySIM-shell (MF)> verify_adm <password>"),
        ("verify_chv 1 1234", "verify_chv 1 <password>"),
        ("./pySim-prog.py -p 0 -t auto -a 81726354", "./pySim-prog.py -p 0 -t auto -a <password>"),
        ("TX> 00 20 00 0A 08 38 31 37 32 36 33 35 34", "TX> 00 20 00 0A 08 <password>"),
        ('AT+CSIM=26,"0020000A083831373236333534"', 'AT+CSIM=26,"0020000A08<password>"'),
        ("00 2C 00 01 10 " + " ".join(["31"] * 16), "00 2C 00 01 10 <password>"),
        ("LPA:1$smdp.example$ABCD-1234", "LPA:1$smdp.example$<token>"),
        ("EF.IMSI: 082943051000000042", "EF.IMSI: <imsi>"),
        ("gpio pin: 17, pin 1024 high, spinning: 1234567890", "gpio pin: 17, pin 1024 high, spinning: 1234567890"),
        ("00 20 00 0A 07 38 31 37", "00 20 00 0A 07 38 31 37"),
    ],
)
def test_cards(before: str, after: str) -> None:
    """PIN, PUK and ADM go as text, arguments and bytes; pins of chips and other commands stay."""
    assert clean(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("docker login -u bob -p hunter2 reg.example", "docker login -u bob -p <password> reg.example"),
        ("redis-cli -h x -a hunter2 ping", "redis-cli -h x -a <password> ping"),
        ("snmpwalk -v2c -c lab-ro 10.0.0.1", "snmpwalk -v2c -c <password> 10.0.0.1"),
        ("radtest bob hunter2 10.0.0.1 0 testing12", "radtest bob <password> 10.0.0.1 0 <password>"),
        ("echo 'bob:hunter2' | chpasswd", "echo 'bob:<password>' | chpasswd"),
        ("openssl rsa -passin pass:hunter2", "openssl rsa -passin pass:<password>"),
        ("snmp-server community lab-ro RO", "snmp-server community <password> RO"),
        (' : PSK "hunter2"', ' : PSK "<password>"'),
        ('AT+CGAUTH=1,1,"bob","hunter2"', 'AT+CGAUTH=1,1,"bob","<password>"'),
        ("sqlplus bob/hunter2@db", "sqlplus bob/<password>@db"),
        ('send "hunter2\\r"', 'send "<password>\\r"'),
        ("credentials: bob / hunter2", "credentials: bob / <password>"),
        ("SSHLibrary.Login    bob    hunter2", "SSHLibrary.Login    bob    <password>"),
        ('client.login("bob", "hunter2")', 'client.login("bob", "<password>")'),
        ("root:$6$abcdefgh$0123456789abcdefghij0123456789:1:", "root:$6$abcdefgh$<password>:1:"),
        ("docker run -p 8080:80 x && tsc -p conf.json", "docker run -p 8080:80 x && tsc -p conf.json"),
        ("PASS test_login2.py", "PASS test_login2.py"),
        ("    --- PASS: TestAlpha/Log#01 (0.0s)", "    --- PASS: TestAlpha/Log#01 (0.0s)"),
    ],
)
def test_secrets_at_a_fixed_place(before: str, after: str) -> None:
    """Programs and dialogues with a secret that nothing names; the same options of other programs stay."""
    assert clean(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('#define DB_PASSWORD "hunter2"', '#define DB_PASSWORD "<password>"'),
        ('dbPassword2 := "hunter2"', 'dbPassword2 := "<password>"'),
        ("password: str = 'hunter2'", "password: str = '<password>'"),
        ("config['db']['password'] = 'hunter2'", "config['db']['password'] = '<password>'"),
        ("the password for bob is hunter2", "the password for bob is <password>"),
        (
            "A temporary password is generated for root@localhost: hunter2X",
            "A temporary password is generated for root@localhost: <password>",
        ),
        ("Password changed from hunter2 to hunter3", "Password changed from <password> to <password>"),
        ("| password | hunter2 |", "| password | <password> |"),
        ('setPassword("hunter2")', 'setPassword("<password>")'),
        ("Server=a;User Id=b;Password=hunter2;Encrypt=True", "Server=a;User Id=b;Password=<password>;Encrypt=True"),
        ("{Addr:a:6379 User:b Password:hunter2 DB:0}", "{Addr:a:6379 User:b Password:<password> DB:0}"),
        (
            "LoginRequest[user=b, password=amber.river12, remember=false]",
            "LoginRequest[user=b, password=<password>, remember=false]",
        ),
        ('<add key="DbPassword" value="hunter2"/>', '<add key="DbPassword" value="<password>"/>'),
        ('<entry key="db.password">hunter2</entry>', '<entry key="db.password"><password></entry>'),
        (f'"auth": "{RANDOM}"', '"auth": "<token>"'),
        (f"STRIPE_KEY={RANDOM}", "STRIPE_KEY=<token>"),
        (f"//host/npm/:_authToken={RANDOM}", "//host/npm/:_authToken=<token>"),
        ("keytool -storepass hunter2 -noprompt", "keytool -storepass <password> -noprompt"),
        ("plink -ssh b@h -pw hunter2 show", "plink -ssh b@h -pw <password> show"),
        ("/password:hunter2 /host:x", "/password:<password> /host:x"),
    ],
)
def test_names_in_other_notations(before: str, after: str) -> None:
    """Assignments, sentences, structures and options, with the word anywhere in the name."""
    assert clean(before) == after


@pytest.mark.parametrize(
    "line",
    [
        "PrintWriter pw = new PrintWriter(out);",
        "password = os.environ['DB_PASSWORD']",
        "passwd = getpass.getpass()",
        "secret = config.get('secret')",
        "String token = request.getHeader(name);",
        "guess_password = random.choices(chars, k=len(password))",
        "max_tokens=4096 token_type=bearer password_length=12 secret_name=db-login1",
        "password_file=/run/secrets/db1 PASSWORD_RESET=enabled1",
        "  server-password: GITHUB_TOKEN",
        "(pw): ConvBNRelu(",
        "The client secret has expired; renew it in the portal",
        "WARNING! Using --password via the CLI is insecure.",
        "Setting up libsecret-1-0:amd64 (0.20)",
        "Cache restored from key: Linux-build-d0f0c0b0a0ee0f0fa0b0f0e0ad0dd1",
        "copying examples/change-password.rst -> build/lib2/examples",
        "dsn=5.1.1, stat=Deferred, profiler.cookie.dumptype=ALWAYS1",
        "Sec-WebSocket-Key: l7cBlDZWiO1FWLIMNvgffQ==",
        "activity token: android.os.BinderProxy@10bd20ce, token=Token{a0f01234}",
        'if token.t == "register": password == other',
        "pass = count - failed, pw: 5 us, Password: ",
    ],
)
def test_code_and_prose_stay(line: str) -> None:
    """Expressions, references, descriptions of secrets and sentences are no secrets."""
    assert clean(line) == line


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("imsi: 00101-0000000042", "imsi: <imsi>"),
        ("MSIN digits: 0000000042", "MSIN digits: <imsi>"),
        ("SetImei 9 [356092040795140]", "SetImei 9 [<imei>]"),
        ("IMEI: 356092040795140 / 860922040795141", "IMEI: <imei> / <imei>"),
        ("imei: 35 609204 079514 0", "imei: <imei>"),
        ("ICCID 8949 0000 0000 0000 042", "ICCID <iccid>"),
        ("EID: 89049032000000000000000000000042", "EID: <iccid>"),
        ("INVITE sip:491700000042@10.0.0.1", "INVITE sip:<msisdn>@10.0.0.1"),
        ("call +49 170 0000042 now", "call +<msisdn> now"),
        ("calling party number 491700000042", "calling party number <msisdn>"),
        ("IMSI (BCD): 29 43 05 10 00 00 00 42", "IMSI (BCD): <imsi>"),
        ("sum 752068037813403", "sum 752068037813403"),
        ("<imsi>    20893cafe0000000001", "<imsi>    20893cafe0000000001"),
        ("Ref[v4.0=0a0e164 0fe0baa0]", "Ref[v4.0=0a0e164 0fe0baa0]"),
    ],
)
def test_identities_in_other_notations(before: str, after: str) -> None:
    """Identities go near their names, in groups, packed and in lists; a number without a country code in use stays."""
    assert clean(before) == after


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (f"password {IMSI}", "hunter2", ("password <imsi>", "<password>")),
        (f"token-{IMSI}", "abc", ("token-<imsi>", "<token>")),
        (f"ue {IMSI}", "up", ("ue <imsi>", "up")),
        ("password.file", "/etc/x", ("password.file", "/etc/x")),
        ("password", "***", ("password", "***")),
    ],
)
def test_header_named_with_more_than_the_word(name: str, value: str, shown: tuple[str, str]) -> None:
    """A name that contains a secret word makes its value one, whatever else the name contains."""
    assert Redactor().header(name, value) == shown


def test_parts_of_names() -> None:
    """The parts of a name decide together."""
    assert [secret_kind(name) for name in ("userPwd", "OTP", "password-hash", "tokenizer", "X_SECRET_2", "bypass")] == [
        "password",
        "random",
        "password",
        None,
        "token",
        None,
    ]
    assert [is_key_name(tail) for tail in ("usim.k = ", "EncTopcKey=", "key id: ", "k8s: ", "<key> -> ")] == [
        True,
        True,
        False,
        False,
        True,
    ]


def test_strong_words_and_random_values() -> None:
    """Technical terms and names of programs are not taken for passwords and tokens."""
    assert not any(is_strong(word) for word in ("sha256", "reset", "python3", "12.5ms", "x86_64"))
    assert all(looks_random(value) for value in (RANDOM, "e3b0c44298fc1c14"))
    assert not any(looks_random(value) for value in ("ZooKeeperServerMain", "wrapper-zips-2024", "my_long_variable_name_1"))


@pytest.mark.parametrize("module", [names, tables, values])
def test_examples_in_docstrings(module: ModuleType) -> None:
    """What the docstrings show is true."""
    assert doctest.testmod(module).failed == 0
