"""What one line says about the next: tables with a header, values below their names, keys below a subscriber."""

import pytest

from stream_triage.stages.redact import Redactor

IMSI = "001010000000042"
HEX = "00112233445566778899aabbccddeeff"
PASSWORD = "Amber77!x"


def clean(*lines: str) -> list[str]:
    return Redactor().text("\n".join(lines)).split("\n")


@pytest.mark.parametrize(
    ("header", "row", "redacted"),
    [
        ("imsi,ki,opc", f"{IMSI},{HEX},{HEX}", "<imsi>,<key>,<key>"),
        ("# Name,Auth,IMSI,Key,OP_Type,OP/OPc", f"ue1,mil,{IMSI},{HEX},opc,{HEX}", "ue1,mil,<imsi>,<key>,opc,<key>"),
        ("ICCID;PIN1;PUK1;ADM1", "8949000000000000042;1234;12345678;87654321", "<iccid>;<password>;<password>;<password>"),
        ('"user","password"', f'"bob","{PASSWORD}"', '"bob","<password>"'),
        ("user\tpassword\trole", f"bob\t{PASSWORD}\tadmin", "bob\t<password>\tadmin"),
        ("| Host | Password |", f"| 10.0.0.1 | {PASSWORD} |", "| 10.0.0.1 | <password> |"),
        (
            "\u2502 user \u2502 password \u2502",
            f"\u2502 bob \u2502 {PASSWORD} \u2502",
            "\u2502 bob \u2502 <password> \u2502",
        ),
        ("HOST       USER  PASSWORD   PORT", f"10.0.0.1   bob   {PASSWORD}  22", "10.0.0.1   bob   <password>  22"),
        ("UE  IMSI             MSISDN        CELL", f"1   {IMSI}  491700000042  7", "1   <imsi>  <msisdn>  7"),
        ("IMSI KI OPC", f"{IMSI} {HEX} {HEX}", "<imsi> <key> <key>"),
        ("12:00:01 [x] | UE | K |", f"12:00:02 [x] | 1 | {HEX} |", "12:00:02 [x] | 1 | <key> |"),
    ],
)
def test_rows_below_a_header(header: str, row: str, redacted: str) -> None:
    """The header says which columns hold secrets and identities, in each way of drawing a table; its own cells stay."""
    assert clean(header, row, row) == [header, redacted, redacted]


@pytest.mark.parametrize("rule", ["| --- | --- |", "+------+----------+", "|------|----------|", "----+----", ""])
def test_lines_between_header_and_rows(rule: str) -> None:
    """What only draws the table is no row, and does not end it."""
    assert clean("| user | password |", rule, f"| bob | {PASSWORD} |") == [
        "| user | password |",
        rule,
        "| bob | <password> |",
    ]


def test_a_table_ends() -> None:
    """After four lines in a row that are no rows, a line that looks like one is none."""
    row = f"bob;{PASSWORD}"
    assert clean("user;password", "a", "b", "c", row)[-1] == "bob;<password>"
    assert clean("user;password", "a", "b", "c", "d", row)[-1] == row


@pytest.mark.parametrize(
    "lines",
    [
        ("KEY        COUNT      SUM        AVG", "rach_ok    174        206803781  39.8914"),
        ("| key | value |", "|-----|-------|", "| build | 4f5e6d7 |"),
        ("ok 1 - the pin, puk and key were read", "ok 2 - the cell, beam and slot were kept"),
        ("NAME        TYPE     DATA   AGE", "db-password Opaque   2      90d"),
        ("=== RUN   Test/password", "=== RUN   Test/hunter2"),
        ("  --password PASSWORD   password of the account", "  --token TOKEN         access token (default: none)"),
    ],
)
def test_what_is_no_table_of_secrets_stays(lines: tuple[str, ...]) -> None:
    """Counters, results of tests and prose have the words of a header, but no values that can be secrets."""
    assert clean(*lines) == list(lines)


def test_sql_statements() -> None:
    """The columns of an INSERT say what its rows hold, on the same line and below it; so do those of a COPY."""
    assert clean(f"INSERT INTO u (name, password) VALUES ('bob', '{PASSWORD}'), ('amy', 'amber 9 river');") == [
        "INSERT INTO u (name, password) VALUES ('bob', '<password>'), ('amy', '<password>');"
    ]
    head = "INSERT INTO auc (imsi, ki, opc, sqn) VALUES"
    assert clean(head, f"('{IMSI}', UNHEX('{HEX}'), X'{HEX}', 12),") == [head, "('<imsi>', UNHEX('<key>'), X'<key>', 12),"]
    assert clean("COPY u (id, password) FROM stdin;", f"1\t{PASSWORD}") == [
        "COPY u (id, password) FROM stdin;",
        "1\t<password>",
    ]


@pytest.mark.parametrize(
    ("lines", "redacted"),
    [
        (("- name: DB_PASSWORD", f"  value: {PASSWORD}"), "  value: <password>"),
        (('"name": "API_TOKEN",', '"value": "abcd1234"'), '"value": "<token>"'),
        (("password:", f"  {PASSWORD}"), "  <password>"),
        (("client_secret: >-", "  abcdefgh12345678"), "  <token>"),
        (("12:00:01 Password:", f"12:00:02 {PASSWORD}"), "12:00:02 <password>"),
        (("telnet >> 'Password: '", f"telnet << '{PASSWORD}'"), "telnet << '<password>'"),
        (("PIN:", "1234"), "<password>"),
        (("the following password is needed:", "", PASSWORD), "<password>"),
        (('Content-Disposition: form-data; name="password"', "", PASSWORD), "<password>"),
        (("AUTH LOGIN", "334 VXNlcm5hbWU6", "Ym9i", "334 UGFzc3dvcmQ6", "aHVudGVyMg=="), "<token>"),
        ((f"IMSI: {IMSI}", HEX), "<key>"),
        ((f"IMSI: {IMSI}", HEX, f"  {HEX}"), "  <key>"),
        (
            ("PuTTY-User-Key-File-3: ssh-rsa", "Private-Lines: 1", "AbCdEfGhIjKlMnOpQrStUvWx/0123456789+AbCdEfGh"),
            "<private-key>",
        ),
    ],
)
def test_values_below_their_names(lines: tuple[str, ...], redacted: str) -> None:
    """The value may stand on the next line, in YAML and JSON, behind prompts, in forms, and in dialogues."""
    assert clean(*lines)[-1] == redacted


@pytest.mark.parametrize(
    "lines",
    [
        ("password:", "Permission denied, please try again."),
        ("password:", "username:"),
        ("2024-11-18T12:00:01Z   SIGNING_PASSWORD:", "2024-11-18T12:00:01Z   GRADLE_OPTS: -Xmx512m"),
        ("Password:", "2024-11-18T12:00:01.123Z"),
        ("- name: LOG_LEVEL", "  value: debug"),
        ("public key:", HEX),
        ("trace:", HEX),
        ("IMSI detach", HEX),
    ],
)
def test_what_follows_other_names_stays(lines: tuple[str, ...]) -> None:
    """Sentences, other settings and time stamps are no answer to a prompt."""
    assert clean(*lines) == list(lines)


def test_tables_and_names_go_on_in_the_next_batch() -> None:
    """Rows and values may come in batches of their own, and redacting the result again changes nothing."""
    lines = [
        "imsi,ki",
        f"{IMSI},{HEX}",
        "password:",
        f"  {PASSWORD}",
        f"{IMSI},{HEX}",
        "- name: X_TOKEN",
        "  value: abcd1234",
    ]
    redactor = Redactor()
    state = redactor.start()
    apart = [redactor.lines(line, state) for line in lines]
    assert apart == clean(*lines)
    assert clean(*apart) == apart
    assert state.counts == {"imsi": 2, "key": 2, "password": 1, "token": 1}


def test_identities_in_tables_become_pseudonyms() -> None:
    """A cell gets the same pseudonym as the identity elsewhere."""
    redactor = Redactor(pseudonym_key=b"k")
    marker = redactor.text("msisdn=491700000042").removeprefix("msisdn=")
    assert redactor.text("UE;MSISDN\n1;491700000042") == f"UE;MSISDN\n1;{marker}"
