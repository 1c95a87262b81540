"""The plain detector: what is new, missing, too long or too short, and how runs end."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage import BundleError
from stream_triage.records import Surprise
from stream_triage.stages.detect import BLANK, MAX_NEW_KEYS, NEW, Detector, DetectState

KEYS = ("start", "work", "stop", "oops")


def make(keys=KEYS, **changes) -> Detector:
    profile = {
        "passing_runs": 10,
        "known": ["start", "work", "stop"],
        "expected": ["start", "stop"],
        "expected_share": 0.99,
        "ends": ["stop"],
        "lines_low": 2,
        "lines_high": 10,
        "threshold": 2.0,
        "false_alarm_rate": 0.01,
    }
    return Detector.from_file(keys, profile | changes)


def test_the_target_rate_has_its_old_name_in_bundles():
    """Stored bundles call it `false_alarm_rate`; written by alias, it still is."""
    profile = make().profile
    assert profile.target_false_alarm_rate == 0.01
    stored = profile.model_dump(by_alias=True)
    assert stored["false_alarm_rate"] == 0.01
    assert Detector.from_file(KEYS, stored).profile == profile
    assert Detector.from_file(KEYS, profile.model_dump()).profile == profile


def state_of(detector: Detector, lines: list[int | str]) -> DetectState:
    """Lines as template indexes, BLANK, or the key of a new one."""
    state = detector.start()
    feed(detector, state, lines, 1)
    return state


def feed(detector: Detector, state: DetectState, lines: list[int | str], first: int) -> None:
    new = [line for line in lines if isinstance(line, str)]
    detector.update(state, [NEW if isinstance(line, str) else line for line in lines], new, first)


def content(state: DetectState) -> dict[str, object]:
    found = {name: getattr(state, name) for name in DetectState.__slots__}
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}


line = st.one_of(st.integers(0, 3), st.just(BLANK), st.sampled_from(["new:a", "new:b", "new:c"]))


@given(batches=st.lists(st.lists(line, max_size=8), max_size=8))
def test_batches_do_not_show(batches):
    """Counts, first lines, new keys and the last line are those of one batch."""
    detector = make()
    state, first = detector.start(), 1
    for batch in batches:
        feed(detector, state, batch, first)
        first += len(batch)
    assert content(state) == content(state_of(detector, [line for batch in batches for line in batch]))


@given(lines=st.lists(line, max_size=30))
def test_state_is_what_counting_gives(lines):
    """First line and count of each key, and the last line with text."""
    state = state_of(make(), lines)
    events = [(number, line) for number, line in enumerate(lines, 1) if line != BLANK]
    assert state.lines == len(events)
    for index in range(len(KEYS)):
        numbers = [number for number, line in events if line == index]
        assert (state.counts[index], state.first_lines[index]) == (len(numbers), numbers[0] if numbers else 0)
    for key in ("new:a", "new:b", "new:c"):
        numbers = [number for number, line in events if line == key]
        assert state.new_keys.get(key) == ([numbers[0], len(numbers)] if numbers else None)
    number, last = events[-1] if events else (None, "")
    assert (state.last_number, state.last_key) == (number, KEYS[last] if isinstance(last, int) else last)
    assert state.known_lines == sum(isinstance(line, int) for _, line in events)


def test_new_keys_are_remembered_up_to_a_limit():
    """Later new keys are ignored; those remembered go on counting."""
    state = state_of(make(), [*(f"new:{i}" for i in range(MAX_NEW_KEYS + 50)), "new:0"])
    assert len(state.new_keys) == MAX_NEW_KEYS
    assert state.new_keys["new:0"] == [1, 2]


def test_passing_run_has_no_findings():
    detection = make().finish({"": state_of(make(), [0, 1, BLANK, 2, BLANK])})
    assert (detection.findings, detection.raw_score, detection.score, detection.anomalous) == ([], 0.0, 0.0, False)


def test_new_and_never_seen_keys_are_found_once():
    """A template no passing run shows is as new as a line without template; several sources give one finding."""
    detector = make()
    states = {"b": state_of(detector, [0, "new:x", 2]), "a": state_of(detector, [0, 3, "new:x", "new:x", 2])}
    found = [f for f in detector.finish(states).findings if f.kind == "new"]
    assert [(f.key, f.source, f.number, f.lines) for f in found] == [("oops", "a", 2, 1), ("new:x", "a", 3, 3)]


def test_key_that_came_in_any_source_is_not_missing():
    detector = make()
    states = {"a": state_of(detector, [1, 2]), "b": state_of(detector, [1, 2])}
    assert [f.key for f in detector.finish(states).findings if f.kind == "missing"] == ["start"]
    states["b"] = state_of(detector, [0, 2])
    assert [f for f in detector.finish(states).findings if f.kind == "missing"] == []


@pytest.mark.parametrize(
    ("lines", "score"),
    [(1, math.log2(3 / 2)), (2, None), (10, None), (21, 1.0), (43, 2.0)],
)
def test_length_outside_of_passing_runs(lines, score):
    """Twice as long as the longest is one point, half as long as the shortest too; blank lines are no length."""
    detector = make(expected=[])
    state = state_of(detector, [*[1] * (lines - 1), *[BLANK] * 100, 2])
    found = [f for f in detector.finish({"": state}).findings if f.kind == "length"]
    assert [f.score for f in found] == ([] if score is None else [pytest.approx(score)])
    assert [f.lines for f in found] == ([] if score is None else [lines])


def test_end_points_at_the_last_line_with_text():
    """Blank lines behind the end are not what the run ended with."""
    detector = make()
    found = detector.finish({"ue": state_of(detector, [0, 2, "new:crash", BLANK, BLANK])}).findings
    assert [(f.key, f.source, f.number) for f in found if f.kind == "end"] == [("new:crash", "ue", 3)]


def test_source_without_text_ends_unlike_any():
    detector = make()
    found = detector.finish({"": detector.start()}).findings
    assert [(f.key, f.number) for f in found if f.kind == "end"] == [("", None)]


@pytest.mark.parametrize("count", [1, 3, 200])
def test_many_findings_of_a_kind_say_little_more(count):
    """Together n findings of a kind score log2(1 + n), evenly."""
    detector = make(lines_high=1000)
    lines = [0, *(f"new:{i}" for i in range(count)), 2]
    detection = detector.finish({"": state_of(detector, lines)})
    assert [f.score for f in detection.findings] == pytest.approx([math.log2(1 + count) / count] * count)
    assert detection.raw_score == pytest.approx(math.log2(1 + count))


def test_threshold_is_half():
    """At the threshold a run is not anomalous and scores 0.5; above it is."""
    assert make(threshold=1.0).finish({"": state_of(make(), [0, "new:a", 2])})[:3] == (1.0, 0.5, False)
    assert make(threshold=0.9).finish({"": state_of(make(), [0, "new:a", 2])}).anomalous


@pytest.mark.parametrize("field", ["known", "expected"])
def test_profile_of_other_templates_is_rejected(field):
    with pytest.raises(BundleError, match="names key elsewhere"):
        make(**{field: ["start", "elsewhere"]})


@pytest.mark.parametrize("changes", [{"threshold": 0}, {"passing_runs": "many"}, {"other": 1}])
def test_damaged_profile_is_rejected(changes):
    with pytest.raises(BundleError, match="1 invalid field"):
        make(**changes)


class Order(NamedTuple):
    """What a network says about a run: a `KeyOrder`."""

    surprises: list[Surprise]
    count: int
    mean_surprisal: float = 0.1
    events: int = 100
    surprisal_high: float = 0.5


def surprise(number: int, end: bool = False, source: str = "") -> Surprise:
    return Surprise(source, number, "work", 7, ("stop", ""), 9.5, end)


def test_without_surprises_ends_are_as_they_should_be():
    """A network that knows how sources end replaces the plain comparison, also while it has seen no end."""
    detector = make()
    states = {"": state_of(detector, [0, 2, 1])}
    assert [f.kind for f in detector.finish(states).findings] == ["end"]
    assert detector.finish(states, Order([], 0)).findings == []


def test_surprises_become_findings():
    """Lines out of order and ends, with what was likelier; the end names the last line, whatever its key."""
    detector = make(lines_high=100)
    states = {"": state_of(detector, [0, 1, 2, "new:x"])}
    detection = detector.finish(states, Order([surprise(2), surprise(3), surprise(4, end=True)], 3))
    found = {f.kind: f for f in detection.findings if f.kind != "new"}
    assert found["order"]._replace(score=0) == ("order", 0, "work", "", 3, 1, 7, ("stop", ""))
    assert found["end"] == ("end", 1.0, "new:x", "", 4, 0, 7, ("stop", ""))
    assert detection.raw_score == pytest.approx(1 + 1 + math.log2(1 + 2))


@pytest.mark.parametrize("count", [3, 64, 5000])
def test_surprises_that_are_only_counted_weigh_too(count):
    """The strongest share what all of them score."""
    detector = make()
    order = Order([surprise(1), surprise(2), surprise(3)], count)
    found = [f for f in detector.finish({"": state_of(detector, [0, 1, 2])}, order).findings if f.kind == "order"]
    assert [f.score for f in found] == pytest.approx([math.log2(1 + count) / 3] * 3)


@pytest.mark.parametrize(("mean", "score"), [(0.4, None), (0.5, None), (1.0, 1.0), (4.0, 3.0)])
def test_surprisal_above_that_of_passing_runs(mean, score):
    """Twice the surprisal is one point, as twice the length is; the finding is about the whole run and has no line."""
    detector = make()
    found = detector.finish({"": state_of(detector, [0, 1, 2])}, Order([], 0, mean)).findings
    assert found == ([] if score is None else [("order", score, "", "", None, 100, None, ())])


def test_profile_without_interval_says_nothing_of_it():
    assert make().profile.false_alarm_interval == (0.0, 1.0)
