"""Views: colours, invisible characters, other blanks and escapes never decide whether a secret is found."""

import json
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage.stages.redact import RULES, Redactor
from stream_triage.stages.redact.views import decoded_view, flat_view, lines_with_views, plain_view, spaced_view

IMSI = "001010000000042"
HEX = "00112233445566778899aabbccddeeff"
BODY = ["MIIEinventedAAAA/" + "bQ9x+" * 9 + "zz", "Kinvented" + "Zk4/r" * 11, "AsDf0+9=="]
KEY = ["-----BEGIN RSA PRIVATE KEY-----", *BODY, "-----END RSA PRIVATE KEY-----"]


def clean(text: str) -> str:
    return Redactor().text(text)


def _percent(line: str) -> str:
    return quote(line, safe="")


def _json(line: str) -> str:
    return json.dumps({"log": line + "\n", "stream": "stdout"}).replace("/", "\\/").replace("=", "\\u003d")


def _entities(line: str) -> str:
    return "".join({'"': "&quot;", "'": "&#39;", "<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(sign, sign) for sign in line)


def _words_coloured(line: str) -> str:
    return re.sub(r"[A-Za-z]+", lambda word: f"\x1b[36m{word[0]}\x1b[0m", line)


DECORATIONS: dict[str, Callable[[str], str]] = {
    "colour before it": lambda line: "\x1b[31m" + line,
    "coloured line": lambda line: f"\x1b[1;38;5;196m{line}\x1b[0m",
    "coloured words": _words_coloured,
    "reset at the end": lambda line: line + "\x1b[0m\x1b[K",
    "lost colour": lambda line: f"^[[32m{line}[0m",
    "spelt colour": lambda line: f"\\u001b[32m{line}\\033[0m",
    "C1": lambda line: f"\x9b32m{line}\x9b0m",
    "link": lambda line: f"\x1b]8;;http://ci.example\x1b\\{line}\x1b]8;;\x07",
    "character set": lambda line: f"\x1b(B\x1b7{line}\x1b8\x0f",
    "overprinted": lambda line: re.sub(r"(?<!\\)[A-Za-z0-9]", lambda sign: f"{sign[0]}\x08{sign[0]}", line),
    "no-break spaces": lambda line: line.replace(" ", "\xa0"),
    "narrow spaces": lambda line: line.replace(" ", "\u202f"),
    "zero-width spaces": "\u200b".join,
    "soft hyphens": lambda line: re.sub("(?<=[a-z])(?=[a-z])", "\xad", line),
    "direction marks": lambda line: f"\u202a{line}\u202c",
    "byte order mark": lambda line: "\ufeff" + line,
    "full width": lambda line: "".join(chr(ord(sign) + 0xFEE0) if sign in ":=" else sign for sign in line),
    "percent": _percent,
    "percent twice": lambda line: _percent(_percent(line)),
    "JSON": _json,
    "JSON twice": lambda line: _json(_json(line)),
    "HTML": _entities,
    "coloured JSON": lambda line: _json(f"\x1b[32m{line}\x1b[0m"),
}
EXAMPLES = [(rule.name, before, after) for rule in RULES for before, after in rule.examples if before != after]


def _shown(line: str) -> str:
    """What a reader sees of a line, without blanks and escaped line ends, which not every notation keeps."""
    return re.sub(r"\s|\\+r?", "", flat_view(line).text)


@pytest.mark.parametrize("decoration", DECORATIONS)
def test_every_rule_sees_through(decoration: str) -> None:
    """What an example of a rule loses in plain text it loses in every decoration, and the rest stays readable."""
    for name, before, after in EXAMPLES:
        decorated = DECORATIONS[decoration](before)
        redacted = clean(decorated)
        assert _shown(redacted) == _shown(after), (name, decorated, redacted)
        assert clean(redacted) == redacted, name


BLOCKS = [
    (KEY, ["<private-key>"] * 5),
    (["kausf:", f"0000: {HEX}", f"0010: {HEX}"], ["kausf:", "<key>", "<key>"]),
    (["imsi,ki,opc", f"{IMSI},{HEX},{HEX}"], ["imsi,ki,opc", "<imsi>,<key>,<key>"]),
    (["| user | password |", "| bob | Amber77!x |"], ["| user | password |", "| bob | <password> |"]),
    (["- name: DB_PASSWORD", "  value: Amber77!x"], ["- name: DB_PASSWORD", "  value: <password>"]),
    (["curl -s \\", "  --user bob:Amber77!x \\"], ["curl -s \\", "  --user bob:<password> \\"]),
]


@pytest.mark.parametrize("decoration", DECORATIONS)
def test_what_goes_over_lines_is_seen_through(decoration: str) -> None:
    """Private keys, dumps, tables, and values below their names are removed from decorated lines, batch by batch too."""
    decorate = DECORATIONS[decoration]
    for lines, expected in BLOCKS:
        decorated = [decorate(line) for line in lines]
        redacted = clean("\n".join(decorated)).split("\n")
        assert [_shown(line) for line in redacted] == [_shown(line) for line in expected], decorated
        redactor = Redactor()
        state = redactor.start()
        assert [redactor.lines(line, state) for line in decorated] == redacted


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"\x1b[32mimsi\x1b[0m = \x1b[1m{IMSI}\x1b[0m", "\x1b[32mimsi\x1b[0m = \x1b[1m<imsi>\x1b[0m"),
        ("IMSI=00101\x1b[31m0000000042\x1b[0m ok", "IMSI=<imsi>\x1b[0m ok"),
        ("pass\x1b[1mword\x1b[0m: hunter2", "pass\x1b[1mword\x1b[0m: <password>"),
        (f"ue\x1b[0m{IMSI}\x1b[0mdone", "ue\x1b[0m<imsi>\x1b[0mdone"),
        (f"opc\x1b[36m{HEX}\x1b[0m", "opc\x1b[36m<key>\x1b[0m"),
        ("password\xa0=\u200bhunter2\u200b", "password\xa0=\u200b<password>\u200b"),
        ("/x?imsi%3D001010000000042%26a%3D1", "/x?imsi%3D<imsi>%26a%3D1"),
        ("password%3Dhunter2%26user%3Dbob", "password%3D<password>%26user%3Dbob"),
        ("?password=ab%26cd&user=bob", "?password=<password>&user=bob"),
        ('{\\"password\\":\\"ab\\\\\\"cd\\",\\"n\\":1}', '{\\"password\\":\\"<password>\\",\\"n\\":1}'),
        ('{"password":"ab\\"cd","n":1}', '{"password":"<password>","n":1}'),
        ('"{\\\\\\"token\\\\\\": \\\\\\"abcd1234efgh\\\\\\"}"', '"{\\\\\\"token\\\\\\": \\\\\\"<token>\\\\\\"}"'),
        ("&lt;Password&gt;hunter2&lt;/Password&gt;", "&lt;Password&gt;<password>&lt;/Password&gt;"),
        (
            "\x1b]8;;https://bob:s3cr3t@ci.example\x07log\x1b]8;;\x07",
            "\x1b]8;;https://bob:<password>@ci.example\x07log\x1b]8;;\x07",
        ),
        ("password：hunter2", "password：<password>"),
        ("\x1b[31merror: 42% of\xa0100 C:\\new\\table", "\x1b[31merror: 42% of\xa0100 C:\\new\\table"),
    ],
)
def test_only_the_value_goes(before: str, after: str) -> None:
    """Codes and escapes outside of what is removed stay as they were written; within it they go."""
    assert clean(before) == after


INVISIBLE = st.sampled_from(["\u200b", "\ufeff", "\xad", "\u202a", "\x00", "\x7f", "\u2060"])


@settings(max_examples=300, deadline=None)
@given(example=st.sampled_from(EXAMPLES), signs=st.lists(st.tuples(st.integers(0, 200), INVISIBLE), max_size=8))
def test_invisible_characters_anywhere(example: tuple[str, str, str], signs: list[tuple[int, str]]) -> None:
    """Wherever characters without a glyph are inserted, the reader sees the same redacted text."""
    _, before, after = example
    for place, sign in signs:
        position = place % (len(before) + 1)
        before = before[:position] + sign + before[position:]
    assert plain_view(clean(before)).text == plain_view(after).text


TEXT = st.text(st.sampled_from('ab="\\n%3D2 &quot;\x1b[1m\xa0\u200b\x08<imsi>{}/u0'), max_size=40)


@settings(max_examples=500, deadline=None)
@given(line=TEXT, start=st.integers(0, 40), length=st.integers(1, 10))
def test_views_are_restored(line: str, start: int, length: int) -> None:
    """A view that was not changed gives the line itself; with a stretch replaced, it gives a line that shows the same."""
    for make in (plain_view, spaced_view, decoded_view, flat_view):
        view = make(line)
        if view is None:
            continue
        assert view.restore(view.text) == line
        redacted = view.text[:start] + "<key>" + view.text[start + length :]
        if start < len(view.text) and "\n" not in view.text[start : start + length]:
            assert view.restore(redacted).count("<key>") == redacted.count("<key>")
    if not lines_with_views(line):
        assert flat_view(line).text == plain_view(line).text == line


@pytest.mark.parametrize("sign", ["\x1b[0m", "\u200b", "\xad", "%5F", "\\u005f"])
def test_names_are_seen_through(sign: str) -> None:
    """Run ids, names of files and headers lose their secrets in any notation."""
    redactor = Redactor()
    assert IMSI[5:] not in redactor.run_id(f"ue{sign}{IMSI}{sign}/a.log#0a1b2c3d")
    assert redactor.run_id(f"token={sign}abcd1234efgh/a.log#0a1b2c3d").endswith("<token>#0a1b2c3d")
    assert redactor.header(f"db{sign}password", "river")[1] == "<password>"
    assert "hunter" not in redactor.header("note", f"password={sign}hunter2")[1]
