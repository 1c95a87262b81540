"""How rules are applied: repeated passes, own patterns beside markers, pseudonyms from the settings."""

import pytest
from pydantic import SecretStr

from stream_triage.settings import RedactionSettings
from stream_triage.stages.redact import RedactionPattern, Redactor

NUMBER = "+491700000042"


def test_what_a_rule_leaves_is_tried_again() -> None:
    """A number that only ends a word once its neighbour is a marker needs a second pass, in any line of a batch."""
    redactor = Redactor()
    assert redactor.text(f"{NUMBER}{NUMBER}") == "<msisdn><msisdn>"
    state = redactor.start()
    lines = ["nothing", f"{NUMBER}{NUMBER}", "", f"mail a@b.org{NUMBER}é", f"{NUMBER}"]
    expected = ["nothing", "<msisdn><msisdn>", "", "mail <email><msisdn>é", "<msisdn>"]
    assert redactor.lines("\n".join(lines), state).split("\n") == expected
    assert state.counts == {"msisdn": 4, "email": 1}


@pytest.mark.parametrize("key", [None, "", "lab"])
def test_pseudonyms_as_set(key: str | None) -> None:
    """With a key the same identity has the same pseudonym and another one another; the repr shows no key."""
    redactor = Redactor.from_settings(RedactionSettings(pseudonym_key=None if key is None else SecretStr(key)))
    first, second, again = redactor.text(f"{NUMBER}\n+491700000043\n{NUMBER}").split("\n")
    assert first == again
    assert (first != second) == bool(key)
    assert (first == "<msisdn>") == (not key)
    assert repr(redactor) == f"Redactor(0 own patterns, {'with' if key else 'no'} pseudonyms)"


def test_own_patterns_from_the_settings() -> None:
    patterns = (RedactionPattern("site", r"site-\d+"),)
    settings = RedactionSettings.model_validate({"patterns": [{"name": "site", "pattern": r"site-\d+"}]})
    assert Redactor.from_settings(settings).text("at site-7") == Redactor(patterns).text("at site-7") == "at <site>"


@pytest.mark.parametrize(
    ("pattern", "line", "shown"),
    [
        (r"<msis\w+", "x <msisdn> y", "x <msisdn> y"),
        (r"dn> y", "x <msisdn> y", "x <msisdn> y"),
        (r"<msisdn>", "x <msisdn> y", "x <msisdn> y"),
        (r"x <msisdn> y", "a x <msisdn> y b", "a <own> b"),
        (r"x ", "x <msisdn> y", "<own><msisdn> y"),
        (r" y", "x <msisdn> y", "x <msisdn><own>"),
        (r"\w+", "ab <msisdn> cd", "<own> <msisdn> <own>"),
    ],
)
def test_own_patterns_damage_no_marker(pattern: str, line: str, shown: str) -> None:
    """They may touch a marker or include it with its neighbours, but never leave a part of one."""
    assert Redactor((RedactionPattern("own", pattern),)).text(line) == shown


def test_two_suci_of_one_subscriber() -> None:
    """Of the null scheme it is the IMSI in other words; of a real scheme it is not."""
    redactor = Redactor(pseudonym_key=b"k")
    plain = redactor.text("imsi-001010000000042").partition("<")[2]
    null = redactor.text("suci-0-001-01-0000-0-0-0000000042").partition("<")[2]
    assert plain == null
    other = redactor.text("suci-0-001-01-0000-1-1-0000000042").partition("<")[2]
    assert other != plain
