"""Numbers of a source in any order: each message is passed on once and in order, and what is missing is named."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage.worker import sequence as module
from stream_triage.worker.sequence import Arrival, Gap, SourceSequence


class Reader:
    """Does with a sequence what a run does: passes on what is due, holds what is early, gives up when too much is held."""

    def __init__(self, first: int | None = 0) -> None:
        self.sequence: SourceSequence[int] = SourceSequence(first)
        self.passed_on: list[int] = []
        self.gaps: list[Gap | None] = []

    def take(self, number: int, size: int = 1) -> Arrival:
        arrival = self.sequence.arrival(number)
        if arrival is Arrival.DUE:
            self._pass_on(number)
        elif arrival is Arrival.EARLY:
            self.sequence.hold(number, number, size)
            if self.overfull:
                self._give_up()
        return arrival

    @property
    def overfull(self) -> bool:
        """With one numbering; `Numberings.overfull` adds up those of a source."""
        count, size = self.sequence.early
        return count > module.MAX_EARLY or size > module.MAX_EARLY_BYTES

    def finish(self) -> None:
        while self.sequence.holds_early:
            self._give_up()

    def _give_up(self) -> None:
        self.gaps.append(self.sequence.give_up_gap())
        due = self.sequence.pop_due()
        assert due is not None
        self._pass_on(due)

    def _pass_on(self, number: int | None) -> None:
        while number is not None:
            self.passed_on.append(number)
            self.sequence.advance(number)
            number = self.sequence.pop_due()


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EARLY", 3)
    monkeypatch.setattr(module, "MAX_EARLY_BYTES", 100)
    monkeypatch.setattr(module, "MAX_GAPS", 2)


def test_in_order():
    """Each number is due, and none is held."""
    reader = Reader()
    assert [reader.take(number) for number in range(4)] == [Arrival.DUE] * 4
    assert reader.passed_on == [0, 1, 2, 3]
    assert not reader.sequence.holds_early


def test_early_messages_follow_the_one_they_wait_for():
    """However many wait, and a second copy of an early one is dropped."""
    reader = Reader()
    assert [reader.take(number) for number in (2, 1, 2, 0)] == [Arrival.EARLY] * 3 + [Arrival.DUE]
    assert reader.passed_on == [0, 1, 2]
    assert not reader.sequence.holds_early


def test_repeats_and_what_comes_after_its_gap_was_given_up_differ():
    """A repeat can be dropped in silence; the late message has text that nobody has seen."""
    reader = Reader()
    for number in (0, 3):
        reader.take(number)
    reader.finish()
    assert reader.gaps == [Gap(1, 2)]
    assert [reader.take(number) for number in (0, 1, 2, 3)] == [
        Arrival.REPEATED, Arrival.GIVEN_UP, Arrival.GIVEN_UP, Arrival.REPEATED
    ]  # fmt: skip
    assert reader.passed_on == [0, 3]


def test_the_first_message_decides_where_numbers_begin():
    """When the key was used before, its sender may count on; what is below the first number belongs to an earlier run."""
    reader = Reader(first=None)
    assert [reader.take(number) for number in (7, 8, 6)] == [Arrival.DUE, Arrival.DUE, Arrival.BEFORE_FIRST]


def test_a_message_passed_on_without_being_asked_about_decides_too():
    """The rest of a message that ended the run before begins the next one."""
    sequence: SourceSequence[int] = SourceSequence(None)
    sequence.advance(4)
    assert [sequence.arrival(number) for number in (3, 4, 5)] == [Arrival.BEFORE_FIRST, Arrival.REPEATED, Arrival.DUE]


def test_numbers_begin_with_0_by_default():
    """A first message with number 1 is early: number 0 may still come."""
    assert Reader().take(1) is Arrival.EARLY


@pytest.mark.usefixtures("small_limits")
def test_too_many_held_messages_end_the_wait():
    """The fourth held message is one too many: the gap is given up, and all that was held follows."""
    reader = Reader()
    for number in (1, 2, 3):
        reader.take(number)
    assert (reader.passed_on, reader.gaps) == ([], [])
    reader.take(4)
    assert (reader.passed_on, reader.gaps) == ([1, 2, 3, 4], [Gap(0, 0)])


@pytest.mark.usefixtures("small_limits")
def test_too_many_held_bytes_end_the_wait():
    """At the limit all is held; a byte more is too much. What was passed on counts no longer."""
    reader = Reader()
    reader.take(1, size=100)
    assert not reader.overfull
    reader.take(3, size=1)
    assert (reader.passed_on, reader.gaps) == ([1], [Gap(0, 0)])
    reader.take(4, size=99)
    assert reader.passed_on == [1]
    reader.take(5, size=1)
    assert reader.passed_on == [1, 3, 4, 5]


@pytest.mark.usefixtures("small_limits")
def test_gaps_beyond_the_limit_are_only_counted():
    """Two are listed; of the rest the number of messages is known."""
    reader = Reader()
    for number in (1, 3, 7):
        reader.take(number)
    reader.finish()
    assert reader.gaps == [Gap(0, 0), Gap(2, 2), None]
    assert reader.sequence.unlisted == 3


def test_held_messages_come_by_number():
    """They belong to the next run when this one ends, in their order."""
    reader = Reader()
    for number in (5, 3, 9):
        reader.take(number)
    assert reader.sequence.held() == [3, 5, 9]
    assert reader.sequence.holds_early


@given(st.lists(st.integers(0, 12), max_size=40), st.integers(0, 5), st.integers(0, 3))
def test_any_order(numbers: list[int], max_early: int, max_gaps: int):
    """Passed on in order and once; every number up to the last is passed on or missing; each copy is accounted for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_EARLY", max_early)
        patch.setattr(module, "MAX_GAPS", max_gaps)
        reader = Reader()
        arrivals = []
        for number in numbers:
            arrivals.append(reader.take(number))
            assert len(reader.sequence.held()) <= max_early
        reader.finish()
    assert reader.passed_on == sorted(set(reader.passed_on))
    listed = [number for gap in reader.gaps if gap for number in range(gap.first, gap.last + 1)]
    missing = set(range(max(reader.passed_on, default=-1))) - set(reader.passed_on)
    assert set(listed) <= missing
    assert len(listed) + reader.sequence.unlisted == len(missing)
    assert sum(gap is not None for gap in reader.gaps) <= max_gaps
    too_late = Counter(number for number, how in zip(numbers, arrivals, strict=True) if how is Arrival.GIVEN_UP)
    assert set(too_late) <= missing
    if not missing & set(numbers):
        assert set(reader.passed_on) == set(numbers)


@given(st.permutations(range(8)))
def test_any_order_without_loss(numbers: list[int]):
    """Below the limits, disorder changes nothing."""
    reader = Reader()
    for number in numbers:
        reader.take(number)
    assert reader.passed_on == list(range(8))
    assert (reader.gaps, reader.sequence.holds_early, reader.sequence.unlisted) == ([], False, 0)


def test_limits_are_those_of_the_docs():
    """docs/reliability.md states how much is held, and how many gaps a verdict lists are 256 too."""
    text = " ".join((Path(__file__).parents[2] / "docs" / "reliability.md").read_text().split())
    assert f"{module.MAX_EARLY} messages or {module.MAX_EARLY_BYTES >> 20} MB" in text
    assert module.MAX_EARLY_BYTES == 8 * 1024 * 1024
    assert module.MAX_GAPS == module.MAX_EARLY


def test_numbers_begin_where_they_are_said_to():
    """At 0 unless another first number is given; a message before that is no repeat."""
    assert SourceSequence[int]().arrival(0) is Arrival.DUE
    started_late = SourceSequence[int](5)
    assert [started_late.arrival(number) for number in (4, 5, 6)] == [Arrival.BEFORE_FIRST, Arrival.DUE, Arrival.EARLY]


def test_held_messages_are_in_order_of_their_numbers():
    """Whatever the messages themselves are."""
    sequence: SourceSequence[str] = SourceSequence()
    for number, text in ((3, "a"), (1, "c"), (2, "b")):
        sequence.hold(number, text, len(text))
    assert sequence.held() == ["c", "b", "a"]
