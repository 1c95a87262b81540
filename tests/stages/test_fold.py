"""Folding: a line is read once while it is remembered, and the memory is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from stream_triage.stages.fold import SLOTS, FoldState, fold, fold_hash

# Few slots and several values for each, so that lines replace each other; 0 is a line without a word.
hashes = st.lists(
    st.one_of(st.just(0), st.builds(lambda slot, turn: slot + turn * SLOTS, st.integers(1, 5), st.integers(0, 3)))
)


def model(values: list[int]) -> list[int]:
    """The same as a dictionary of slots."""
    slots: dict[int, int] = {}
    kept = []
    for place, value in enumerate(values):
        if value and slots.get(value % SLOTS) != value:
            slots[value % SLOTS] = value
            kept.append(place)
    return kept


@given(values=hashes)
def test_equals_the_model(values):
    assert fold(values, FoldState()) == model(values)


@given(batches=st.lists(hashes, max_size=6))
def test_batches_do_not_show(batches):
    """What is kept, and how many, depends on the order of the lines alone."""
    state, kept, start = FoldState(), [], 0
    for batch in batches:
        kept += [start + place for place in fold(batch, state)]
        start += len(batch)
    whole = FoldState()
    assert kept == fold([value for batch in batches for value in batch], whole)
    assert state.folded_lines == whole.folded_lines == len(kept)
    assert state.table == whole.table


def test_repeat_is_dropped_until_pushed_out():
    """A newer line in the same slot lets the older one be read again."""
    assert fold([7, 7, 7 + SLOTS, 7], FoldState()) == [0, 2, 3]


def test_state_does_not_grow():
    state = FoldState()
    before = len(state.table)
    fold(list(range(1, 20_000)), state)
    assert len(state.table) == before == SLOTS


@given(masked=st.text(), words=st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1)))
def test_hash_is_zero_only_for_lines_without_a_letter(masked, words):
    """Rulers, dumps of digits and empty lines have none; all other lines have a 32-bit hash of their masked text."""
    value = fold_hash(masked, words)
    assert (value == 0) == (not any(c.isalpha() for word in words for c in word))
    assert 0 <= value < 2**32
    assert value == fold_hash(masked, words)


def test_hashes_are_the_same_everywhere():
    """Not Python's seeded hash: training and serving must keep the same lines."""
    assert fold_hash("rrc setup", ["rrc"]) == 2860351049
