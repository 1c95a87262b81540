"""Hand rules: reading their file, their scope, and what they find."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage import SettingsError
from stream_triage.stages.rules import HandRule, Rules

WHOLE = """
[[rule]]
name = "licence"
pattern = "Not licensed"
label = "L3"
veto = true
cause = "environment"
note = "no licence"

[[rule]]
name = "retry"
pattern = "retry [0-9]+"
label = "L2"
weight = -1.5
source = "gnb*"
test_case = "attach*"
"""


def rule(name="r", pattern="x", label="L2", **changes) -> HandRule:
    return HandRule.model_validate({"name": name, "pattern": pattern, "label": label, "weight": 1.0} | changes)


def hits(rules: Rules, sources: dict[str, list[str]], headers=None) -> list[tuple[str, str, int, int]]:
    states = {}
    for source, lines in sources.items():
        states[source] = rules.start(source, headers or {})
        rules.update(states[source], lines, 1)
    return [(hit.rule.name, hit.source, hit.number, hit.lines) for hit in rules.finish(states)]


def test_file_is_read_whole(write):
    """All fields arrive, in the order of the file."""
    first, second = Rules.read(write("rules.toml", WHOLE.encode())).rules
    assert (first.name, first.veto, first.weight, first.cause, first.note) == (
        "licence",
        True,
        None,
        "environment",
        "no licence",
    )
    assert (second.weight, second.source, second.test_case) == (-1.5, "gnb*", "attach*")


def test_file_without_rules_is_fine(write):
    assert Rules.read(write("rules.toml", b"# none yet\n")).rules == ()


ENTRY = '[[rule]]\nname = "a"\npattern = "x"\nlabel = "L2"\n'
FAULTS = {
    "not TOML": (b"[[rule\n", "is not valid TOML"),
    "not UTF-8": (b'[[rule]]\nname = "\xff"\n', "is not valid TOML"),
    "other tables": (b"[settings]\na = 1\n", "may hold .*rule.* tables only"),
    "no tables": (b"rule = 3\n", "may hold .*rule.* tables only"),
    "no table in the list": (b"rule = [1]\n", "rule number 1: "),
    "one table": (b'[rule]\nname = "a"\n', "may hold .*rule.* tables only"),
    "no name": (b'[[rule]]\npattern = "x"\nlabel = "L2"\nveto = true\n', "rule number 1: name: "),
    "empty pattern": (b'[[rule]]\nname = "a"\npattern = ""\nlabel = "L2"\nveto = true\n', "rule a: pattern: "),
    "no expression": (
        b'[[rule]]\nname = "a"\npattern = "("\nlabel = "L2"\nveto = true\n',
        "rule a: pattern: .*regular expr",
    ),
    "says nothing": (ENTRY.encode(), "rule a: .*needs a weight, veto = true or a cause"),
    "matches never": (f"{ENTRY}veto = true\ntimes = 0\n".encode(), "rule a: times: "),
    "weight and veto": (f"{ENTRY}weight = 1\nveto = true\n".encode(), "rule a: .*both a weight and veto"),
    "weight is no number": (f'{ENTRY}weight = "much"\n'.encode(), "rule a: weight: "),
    "unknown cause": (f'{ENTRY}veto = true\ncause = "moon"\n'.encode(), "rule a: cause: "),
    "unknown field": (f"{ENTRY}veto = true\nscope = 1\n".encode(), "rule a: scope: "),
    "second of a name": (f"{ENTRY}veto = true\n{ENTRY}veto = true\n".encode(), "two rules called 'a'; rename one"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_file_is_rejected(write, fault):
    """The message names the file, the rule, the field and the fault."""
    content, message = FAULTS[fault]
    path = write("my rules.toml", content)
    with pytest.raises(SettingsError, match=f"(?s)my rules.toml.*{message}"):
        Rules.read(path)


def test_absent_file_is_rejected(tmp_path):
    with pytest.raises(SettingsError, match=r"rules file .*none\.toml cannot be read: No such file"):
        Rules.read(tmp_path / "none.toml")


def test_label_the_bundle_lacks_is_rejected():
    Rules([rule(label="L2")]).check_labels(["Pass", "L2"])
    with pytest.raises(SettingsError, match="rule 'r' has label 'L9'; the bundle has Pass, L2"):
        Rules([rule(label="L9")]).check_labels(["Pass", "L2"])


def test_rule_counts_once_at_its_first_source_by_name():
    """Lines of all sources are counted; the first line of the first source is quoted."""
    found = hits(Rules([rule(pattern="boom")]), {"b": ["boom"], "a": ["", "boom", "big boom"]})
    assert found == [("r", "a", 2, 3)]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["fails", "fails", "works"], None),
        (["fails", "works", "fails"], (3, 1)),
        (["works", "fails", "x", "fails"], (2, 2)),
        (["fails", "works"] * 3 + ["fails"], (7, 1)),
        (["works"], None),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 9])
def test_what_recovers_does_not_count(lines, expected, size):
    """Matches before a line that clears them are taken back, however the lines are batched."""
    rules = Rules([rule(pattern="fails", cleared_by="works")])
    state = rules.start("", {})
    for start in range(0, len(lines), size):
        rules.update(state, lines[start : start + size], start + 1)
    assert [(hit.number, hit.lines) for hit in rules.finish({"": state})] == ([expected] if expected else [])


@pytest.mark.parametrize(("times", "counts"), [(1, True), (3, True), (4, False)])
def test_rule_that_must_match_several_lines(times, counts):
    """Lines of all sources count; the first one is still quoted."""
    found = hits(Rules([rule(pattern="boom", times=times)]), {"b": ["boom"], "a": ["", "boom", "big boom"]})
    assert found == ([("r", "a", 2, 3)] if counts else [])


def test_rules_before_others():
    """The own ones first; another of the same name is replaced."""
    own, others = Rules([rule("b", "mine"), rule("z")]), Rules([rule("a"), rule("b", "theirs")])
    assert [(one.name, one.pattern) for one in own.before(others).rules] == [("b", "mine"), ("z", "x"), ("a", "x")]


def test_hits_come_in_the_order_of_the_file():
    rules = Rules([rule("second", "two"), rule("first", "one"), rule("none", "three")])
    assert [hit[0] for hit in hits(rules, {"": ["one", "two"]})] == ["second", "first"]


@pytest.mark.parametrize(
    ("scope", "applies"),
    [
        ({"source": "gnb*"}, False),
        ({"source": "u?"}, True),
        ({"source": "UE"}, False),
        ({"test_case": "attach*"}, True),
        ({"test_case": "handover"}, False),
        ({"test_case": "attach*", "source": "gnb"}, False),
    ],
)
def test_scope(scope, applies):
    """Shell patterns on source and test case, case-sensitive; both must fit."""
    found = hits(Rules([rule(**scope)]), {"ue": ["x"]}, {"test.case.name": "attach_1"})
    assert bool(found) == applies


def test_rule_for_a_test_case_is_silent_where_none_is_named():
    assert hits(Rules([rule(test_case="a*")]), {"": ["x"]}) == []
    assert hits(Rules([rule(test_case="*")]), {"": ["x"]}) != []


@given(batches=st.lists(st.lists(st.sampled_from(["x", "y", "xy", ""]), max_size=5), max_size=6))
def test_batches_do_not_show(batches):
    """First line and count are those of one batch."""
    rules = Rules([rule("x", "x"), rule("y", "^y")])
    state, first = rules.start("", {}), 1
    for batch in batches:
        rules.update(state, batch, first)
        first += len(batch)
    found = [(hit.rule.name, hit.source, hit.number, hit.lines) for hit in rules.finish({"": state})]
    assert found == hits(rules, {"": [line for batch in batches for line in batch]})
