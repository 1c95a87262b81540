"""The labelled set of the redaction benchmark is the frozen one, and its scorer counts hand-made cases as it says."""

import re
import sys
from pathlib import Path

import pytest

from benchmarks.redaction.__main__ import PER_KIND, main
from benchmarks.redaction.decorations import DECORATIONS, decorated
from benchmarks.redaction.documents import Document, Secret, fingerprint, make_documents
from benchmarks.redaction.peers import peer_stretches
from benchmarks.redaction.product import redacted_stretches, removed_from_line
from benchmarks.redaction.scoring import Counts, count, interval, macro, total
from benchmarks.redaction.templates import FAMILIES, HALVES, NUMBERS, Kind, draw, read_context, read_kinds
from stream_triage.stages.redact import Redactor

# Figures of different dates are comparable because of these. Whoever changes the set measures again and says so.
FINGERPRINTS = {
    "seen": "c9aab31ba154ee41e4f4669ea22592888ce30d006058ca54ceef8dc180c7076e",
    "unseen": "a8ea156b03ccccb587ff54fe619a53da705fba2111d673a6ac85400ad497f73e",
    "numbers": "00a0fc8dce1aa218ad1da8cd28d6c4ec957dcf7c592d1bff45fe6329e02a1260",
}
KIND = Kind("kind", "credentials", "seen", "ci", ())


def document(text: str, *secrets: str, optional: str = "") -> Document:
    """A document in which these pieces of the text are secrets, one each."""
    spans = [(text.index(secret), text.index(secret) + len(secret)) for secret in secrets]
    at = text.index(optional)
    return Document(KIND, 0, text, tuple(Secret((span,)) for span in spans), ((at, at + len(optional)),) if optional else ())


def stretches(text: str, *pieces: str) -> list[tuple[int, int]]:
    """Where these pieces are in the text."""
    return [(text.index(piece), text.index(piece) + len(piece)) for piece in pieces]


@pytest.mark.parametrize("half", FINGERPRINTS)
def test_set_is_the_frozen_one(half: str) -> None:
    """Texts and labels are those of the published figures."""
    assert fingerprint(make_documents(read_kinds(half), read_context(), PER_KIND)) == FINGERPRINTS[half]


def test_halves_are_as_drawn() -> None:
    """Each kind lies in the folder that the seeded draw gave it, and both halves have as many kinds of each family."""
    kinds = [kind for half in HALVES for kind in read_kinds(half)]
    names = {family: [kind.name for kind in kinds if kind.family == family] for family in FAMILIES}
    assert {kind.name: kind.half for kind in kinds} == draw(names)
    for family in FAMILIES:
        seen = sum(kind.half == "seen" for kind in kinds if kind.family == family)
        assert 0 <= 2 * seen - len(names[family]) <= 1


def test_only_harmless_kinds_have_no_secret() -> None:
    """Every document of another family has a secret, inside the text, and no bracket of a template is left."""
    for half in FINGERPRINTS:
        for made in make_documents(read_kinds(half), read_context(), 2):
            assert bool(made.secrets) is (made.kind.family != "harmless"), made.kind.name
            assert not set("⟦⟧⟨⟩⟪⟫") & set(made.text), made.kind.name
            assert all(0 <= start < end <= len(made.text) for secret in made.secrets for start, end in secret.spans)


@pytest.mark.parametrize(
    ("removed", "is_removed", "false"),
    [
        ("hunter2a", 1, 0),
        ("hunter", 1, 0),  # two characters stay
        ("hunt", 0, 0),  # four stay
        ("w=hunter2a;", 1, 0),  # a letter and signs beside it
        ("hunter2a; port", 1, 1),  # a word beside it
        ("port", 0, 1),
    ],
)
def test_one_stretch(removed: str, is_removed: int, false: int) -> None:
    """Four readable characters in a row are the limit, for what stays of a secret and for what goes of its neighbours."""
    made = document("pw=hunter2a; port=8080", "hunter2a")
    counts = count(made, stretches(made.text, removed))
    assert (counts.removed, counts.false) == (is_removed, false)


def test_short_secret_may_keep_less() -> None:
    """Half of a PIN is a leak."""
    made = document("PIN 1234 ok", "1234")
    assert count(made, stretches(made.text, "12")).removed == 0
    assert count(made, stretches(made.text, "123")).removed == 1


def test_separators_do_not_hide_a_leak() -> None:
    """Two bytes of a dump that stay are four digits in a row."""
    made = document("k 0f 1e 2d 3c 4b", "0f 1e 2d 3c 4b")
    assert count(made, stretches(made.text, "0f 1e 2d")).removed == 0
    assert count(made, stretches(made.text, "0f 1e 2d 3c")).removed == 1


def test_optional_text_is_neither_right_nor_wrong() -> None:
    """A user name beside the password may go, alone or with it."""
    made = document("login bobby/hunter2a", "hunter2a", optional="bobby")
    for removed, expected in (
        ("bobby", (0, 0)),
        ("bobby/hunter2a", (1, 0)),
        ("in bobby/hunter2a", (1, 0)),
        ("login bobby", (0, 1)),
    ):
        counts = count(made, stretches(made.text, removed))
        assert (counts.removed, counts.false) == expected, removed


def test_pieces_of_one_secret_count_once() -> None:
    """A private key is removed if all its lines are; it is located by its first line too, and by the BEGIN above it."""
    text = "x\nBEGIN KEY\nabcdefgh\nijklmnop\ny"
    made = Document(KIND, 0, text, (Secret(((12, 20), (21, 29))),), ((2, 11),))
    both, one, begin = ([(12, 20), (21, 29)], [(12, 20)], [(2, 11)])
    assert [count(made, found).removed for found in (both, one, begin)] == [1, 0, 0]
    assert [count(made, found).located for found in (both, one, begin, [(0, 1)])] == [1, 1, 1, 0]
    assert count(made, [(0, 1), (30, 31)]).false_lines == 2


def test_shares() -> None:
    """Recall, precision and their macro forms follow from the counts; without anything to find or wrong they are 1."""
    easy = Counts(secrets=8, removed=8, false=0, documents=4, documents_with_false=0, located=8, false_lines=0)
    hard = Counts(secrets=2, removed=0, false=2, documents=4, documents_with_false=2, located=1, false_lines=2)
    both = total([easy, hard])
    assert (both.recall, both.precision) == (0.8, 0.8)
    assert (both.line_recall, both.line_precision) == (0.9, 9 / 11)
    assert macro({"easy": easy, "hard": hard}) == (0.5, 1 / 1.5)
    assert (Counts().recall, Counts().precision) == (1.0, 1.0)
    low, high = interval({"easy": easy, "hard": hard}).recall
    assert low == 0.0
    assert high == 1.0


def test_stretches_of_a_redacted_line() -> None:
    """They are what the markers replaced; an element that looks like a marker stays one."""
    before = "<password>hunter2</password> and imsi 001010000000042"
    found = removed_from_line(before, "<password><password></password> and imsi <imsi>")
    assert [before[start:end] for start, end in found] == ["hunter2", "001010000000042"]
    with pytest.raises(ValueError, match="not a redacted form"):
        removed_from_line("a b", "a <imsi> b")


def test_stretches_of_a_redacted_text() -> None:
    """Positions count from the beginning of the text, not of the line."""
    text = "first line\npassword=hunter2\nlast line"
    assert [text[start:end] for start, end in redacted_stretches(Redactor(), text)] == ["hunter2"]


@pytest.mark.parametrize("decoration", DECORATIONS)
def test_decorated_labels_mark_the_same_secret(decoration: str) -> None:
    """Each label covers what became of its secret, and the colours around it are neither secret nor false."""
    made = document("user bob, password: hunter2a / x", "hunter2a")
    other = decorated(made, decoration)
    (start, end) = other.secrets[0].spans[0]
    assert re.sub("\x1b\\[[0-9;]*[mK]|[^a-z0-9]", "", other.text[start:end]) == "hunter2a"
    assert decorated(document(""), decoration).text == ""
    assert count(other, [(start, end)]) == count(made, [made.secrets[0].spans[0]])


@pytest.mark.parametrize("decoration", DECORATIONS)
def test_decorations_hide_nothing_from_redaction(decoration: str) -> None:
    """On the seen half, at least 99 of 100 secrets found in plain text are found in every decoration."""
    documents = make_documents(read_kinds("seen"), read_context(), 1)
    redactor = Redactor()
    plain, hidden = 0, 0
    for made in documents:
        other = decorated(made, decoration)
        plain += count(made, redacted_stretches(redactor, made.text)).removed
        hidden += count(other, redacted_stretches(redactor, other.text)).removed
    assert hidden >= plain * 0.99


def test_numbers_without_a_reason_stay() -> None:
    """In the part of bare numbers nothing is removed that is no identity, and nothing stays that has a reason beside it."""
    redactor = Redactor()
    for made in make_documents(read_kinds(NUMBERS), read_context(), PER_KIND):
        counts = count(made, redacted_stretches(redactor, made.text))
        assert counts.false == 0, made.text
        assert counts.removed == (0 if made.kind.name == "bare-imsi-without-a-reason" else counts.secrets), made.text


def test_quick_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints all parts, writes nothing, and lists no misses of the unseen half."""
    out = tmp_path / "redaction.md"
    assert main(["--quick", "--misses", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "## Seen kinds" in printed
    assert "## Unseen kinds" in printed
    assert "## Numbers kinds" in printed
    assert not out.exists()
    assert not [kind.name for kind in read_kinds("unseen") if f" {kind.name}: " in printed]


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The command describes itself instead of starting to measure."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "\nMeasures redaction" in capsys.readouterr().out


def test_reports_of_peers_become_stretches(tmp_path: Path) -> None:
    """Every occurrence of a reported value in the reported line counts, for both tools."""
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, sys\n"
        "if sys.argv[1] == '-c':\n"
        "    print(json.dumps([[sys.argv[4], 2, 'abc']]))\n"
        "else:\n"
        "    folder, report = sys.argv[4], sys.argv[6]\n"
        "    line = {'path': folder + '/0.conf', 'line_num': 1, 'value': 'x'}\n"
        "    pathlib.Path(report).write_text(json.dumps([{'line_data_list': [line]}]))\n"
    )
    python.chmod(0o755)
    documents = [document("x y"), document("abc\nabc=abc")]
    assert peer_stretches(python, documents) == {
        "detect-secrets": [[], [(4, 7), (8, 11)]],
        "credsweeper": [[(0, 1)], []],
    }
