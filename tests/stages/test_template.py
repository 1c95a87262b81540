"""Templates: mined once, frozen, strict, the same everywhere."""

import hashlib
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage.errors import BundleError
from stream_triage.stages.template import DrainSettings, Templates, template_key

LINES = [
    *(f"UE <hex>: context {word} released after <num> ms" for word in ("a1", "9z", "7q7", "x0x")),
    "slot <num> is UPLINK",
    "slot <num> is DOWNLINK",
    "Registration Reject, cause 7",
    "Registration Reject, cause 22",
    "T310 expired for UE <num>",
    "T311 expired for UE <num>",
    *(f"session opened for user {user} by (uid=<num>)" for user in ("root", "guest", "admin")),
    "connection from <ipaddr> ()",
    "connection from <ipaddr> (lab.example.org)",
    "idle",
    "running",
    "",
]


def test_similar_lines_share_a_template() -> None:
    """Words that vary without end become one `<*>`."""
    assert "UE <hex>: context <*> released after <num> ms" in Templates.fit(LINES).templates


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("slot <num> is UPLINK", "slot <num> is DOWNLINK"),
        ("Registration Reject, cause 7", "Registration Reject, cause 22"),
        ("T310 expired for UE <num>", "T311 expired for UE <num>"),
        ("idle", "running"),
    ],
)
def test_different_messages_stay_apart(one: str, other: str) -> None:
    """Few names, causes, timers and lines of one word are constants."""
    mined = Templates.fit(LINES)
    assert mined.match(one) != mined.match(other)


@pytest.mark.parametrize(
    "pair",
    [
        ("session opened for user root by (uid=<num>)", "session opened for user guest by (uid=<num>)"),
        ("connection from <ipaddr> ()", "connection from <ipaddr> (lab.example.org)"),
    ],
)
def test_identities_and_optional_values_vary(pair: tuple[str, str]) -> None:
    """A user's name is a variable however few are seen, and so is a host that may be absent."""
    mined = Templates.fit(LINES)
    assert mined.match(pair[0]) == mined.match(pair[1]) != -1


def test_forty_reject_causes_are_forty_templates() -> None:
    """Causes never melt into a wildcard, though so many values would elsewhere."""
    lines = [f"PDU session reject cause {cause}" for cause in range(40)]
    assert sorted(Templates.fit(lines).templates) == sorted(lines)


def test_commands_in_capitals_stay_apart() -> None:
    """Answers to different commands are different templates."""
    lines = [f"C: FORW 0x00 Ok MTE {verb}: RETURN CODE:0 SUCCEEDED" for verb in ("ALPHA", "BRAVO", "DELTA", "ECHO", "HOTEL")]
    assert len(Templates.fit(lines).templates) == 5


def test_outcomes_stay_apart_even_as_values() -> None:
    """`crc=OK` and `crc=KO` are two messages, while other values of a key are one variable."""
    assert len(Templates.fit(["block crc=OK sent", "block crc=KO sent"]).templates) == 2
    assert len(Templates.fit(["block mode=red sent", "block mode=blue sent"]).templates) == 1


def test_lines_of_one_word_stay_apart_beside_many_ids() -> None:
    """Hundreds of one-word ids are one template; the words among them are not drawn in."""
    lines = [f"{number:x}q{number * 7:x}z" for number in range(300)]
    mined = Templates.fit([*lines, "Killed", "Aborted"])
    assert sorted(mined.templates) == ["<*>", "Aborted", "Killed"]


def test_numbered_instances_of_one_kind_vary() -> None:
    """`eth0` and `eth1` are two of a kind; `eth0` and `lo` are not."""
    assert len(Templates.fit(["link eth0 is up", "link eth1 is up"]).templates) == 1
    assert len(Templates.fit(["link eth0 is up", "link lo is up"]).templates) == 2


def test_matching_is_strict() -> None:
    """A line matches only with the template's separators and words; anything else is -1, nothing is learned."""
    mined = Templates.fit(LINES)
    before = mined.templates
    assert mined.match("UE <hex>: context zz9 released after <num> ms") >= 0
    assert mined.match("UE <hex>: context zz9 lost after <num> ms") == -1
    assert mined.match("UE <hex>: context zz9 released after <num>") == -1
    assert mined.match("UE <hex>, context zz9 released after <num> ms") == -1
    assert mined.templates == before


def test_the_most_special_template_wins() -> None:
    """Fewest wildcards first, then wildcards further right."""
    mined = Templates(["a <*> <*>", "a <*> c", "a b <*>", "a b c"], [1, 1, 1, 1], DrainSettings())
    found = [mined.templates[mined.match(line)] for line in ("a b c", "a b x", "a x c", "a x y")]
    assert found == ["a b c", "a b <*>", "a <*> c", "a <*> <*>"]
    tied = Templates(["a <*> c", "a b <*>"], [1, 1], DrainSettings())
    assert tied.templates[tied.match("a b c")] == "a b <*>"


def test_blanks_do_not_matter() -> None:
    """Indentation and runs of blanks are layout."""
    mined = Templates.fit(["  Cell  Info: x"])
    assert mined.match("Cell Info:    x") == 0


def test_keys_are_hashes_of_the_template_text() -> None:
    """A key is the same on every machine: 16 hex digits of the SHA-256 of the text."""
    mined = Templates.fit(LINES)
    for key, template in zip(mined.keys, mined.templates, strict=True):
        assert key == template_key(template) == hashlib.sha256(template.encode()).hexdigest()[:16]
    assert len(set(mined.keys)) == len(mined.keys)


def test_new_keys_hash_the_masked_words() -> None:
    """A line without template has the key of its words, whatever its blanks."""
    mined = Templates.fit(LINES)
    expected = "new:" + hashlib.sha256(b"never seen <num>").hexdigest()[:16]
    assert mined.new_key("never seen <num>") == mined.new_key("  never   seen <num>") == expected


def test_counts_are_training_lines() -> None:
    """Every training line is counted once, at the template that it matches."""
    mined = Templates.fit(LINES * 3)
    assert sum(mined.counts) == 3 * len(LINES)
    assert mined.counts[mined.match("slot <num> is UPLINK")] == 3


def test_match_many_equals_match() -> None:
    """`match_many` returns what `match` does for each text."""
    mined = Templates.fit(LINES)
    asked = [*LINES, "unheard of", *LINES[:3]]
    assert mined.match_many(asked) == [mined.match(line) for line in asked]


def test_long_lines_are_cut() -> None:
    """Beyond the cap words do not count, so lines of any length stay cheap and comparable."""
    mined = Templates.fit(["x " * 30_000 + "a"], DrainSettings(max_words=20))
    assert mined.match("x " * 25_000 + "b") == 0
    assert mined.templates[0].endswith("<rest>")
    assert mined.match("x " * 10) == -1


WORD = st.sampled_from(
    [
        "",
        "a",
        "b",
        "FAILED",
        "eth0",
        "eth1",
        "<num>",
        "(<num>)",
        "<hex>",
        "x1y2",
        "10",
        "0x06",
        "cause",
        "user",
        "k",
        "...",
    ]
)
LINE = st.lists(
    st.tuples(WORD, st.sampled_from([" ", "=", ": ", ", ", "(", ")", "[", "]", '"', " = ", "....", "'"])), max_size=7
)
TEXTS = st.lists(LINE.map(lambda pairs: "".join(word + separator for word, separator in pairs)), min_size=1, max_size=25)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.randoms(use_true_random=False))
def test_every_training_line_matches_and_order_is_nothing(lines: list[str], rng: random.Random) -> None:
    """The frozen set covers its training lines, and any order of them gives the same set."""
    mined = Templates.fit(lines)
    assert -1 not in mined.match_many(lines)
    shuffled = list(lines)
    rng.shuffle(shuffled)
    again = Templates.fit(iter(shuffled))
    assert (again.templates, again.counts, again.keys) == (mined.templates, mined.counts, mined.keys)


def test_lines_are_sorted_before_mining() -> None:
    """Drain depends on the order of its input, so these lines in two orders would give two sets."""
    lines = ["q2q cd x1y cd", "q2q q2q cd cd", "z9z z9z cd cd"]
    assert Templates.fit(reversed(lines)).templates == Templates.fit(lines).templates


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_reading_back_gives_the_same_set(lines: list[str]) -> None:
    """to_json and from_json are inverse, and the copy matches alike."""
    mined = Templates.fit(lines, masking_version=3)
    copy = Templates.from_json(mined.to_json(), masking_version=3)
    assert copy.to_json() == mined.to_json()
    assert copy.match_many(lines) == mined.match_many(lines)


def test_json_is_plain() -> None:
    """The file is readable: versions, settings, one template a line with key and count."""
    text = Templates.fit(["a <num>", "a <num>"], masking_version=1).to_json()
    data = json.loads(text)
    assert data["format_version"] == 1
    assert data["masking_version"] == 1
    assert data["settings"]["max_words"] == DrainSettings().max_words
    assert data["templates"] == [{"key": template_key("a <num>"), "template": "a <num>", "count": 2}]
    assert text.count("\n") == 3


def _changed(**changes: object) -> str:
    return json.dumps(json.loads(Templates.fit(["a <num>"], masking_version=1).to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "restore it"),
        ("[]", "restore it"),
        (_changed(templates=[{"key": "0" * 16, "template": "a <num>", "count": 1}]), "not the hash"),
        (_changed(templates=[{"template": "a"}]), "restore it"),
        (_changed(format_version=99), "format 99"),
        (_changed(settings={"no_such": 1}), "restore it"),
        (_changed(masking_version=2), "masking version 2"),
    ],
)
def test_untrusted_files_are_rejected(text: str, says: str) -> None:
    """Damage, a changed key, another format or masking is rejected, with the remedy."""
    with pytest.raises(BundleError, match=says):
        Templates.from_json(text, masking_version=1)
