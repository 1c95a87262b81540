"""The next-key detector: windows at fixed positions, whatever is cut and interleaved how, and what counts as a surprise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage import BundleError
from stream_triage.stages import detect
from stream_triage.stages.next_key import (
    BATCH_WINDOWS,
    END,
    FIRST_KEY,
    MAX_SURPRISES,
    START,
    UNK,
    NextKey,
    NextKeyState,
    Order,
)

KEYS = ("boot", "oops", "work", "wait", "stop", "rest")
KNOWN = ("boot", "rest", "stop", "wait", "work")
VOCABULARY = FIRST_KEY + len(KNOWN)
STRIDE = 4
NEW, BLANK = -1, -2


def logits_of(keys: np.ndarray) -> np.ndarray:
    """A network without weights: a key is the likelier the less lies between it and a fading sum of all keys read so far."""
    sums, found = np.zeros(len(keys)), []
    for place in range(keys.shape[1]):
        sums = 0.7 * sums + keys[:, place]
        found.append(-np.abs((sums[:, None] * 1.7) % VOCABULARY - np.arange(VOCABULARY)))
    logits = np.stack(found, axis=1)
    logits[:, :, [START, UNK]] = -1e9
    return logits


def network(keys: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    logits = logits_of(keys)[:, keys.shape[1] - targets.shape[1] :]
    came = np.take_along_axis(logits, targets[:, :, None], axis=2)
    surprisal = (np.log(np.exp(logits).sum(axis=2)) - came[:, :, 0]) / math.log(2)
    return [surprisal.astype(np.float32), (logits > came).sum(axis=2), np.argsort(-logits, axis=2, kind="stable")[:, :, :3]]


def certain(keys: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    """Expects `rest` above all, then the end, then `boot`; a rank is as many bits."""
    expected = np.broadcast_to([FIRST_KEY + 1, END, FIRST_KEY], (*targets.shape, 3))
    rank = np.select([targets == FIRST_KEY + 1, targets == END, targets == FIRST_KEY], [0, 1, 2], 5)
    return [rank.astype(np.float32), rank, expected]


def make(network=network, **changes) -> NextKey:
    profile = {"keys": KNOWN, "stride": STRIDE, "top_k": 3, "surprisal_high": 1.5}
    return NextKey.from_file(KEYS, profile | changes, network)


def order_of(stage: NextKey, sources: dict[str, list[int]], final: bool = True) -> Order:
    states = {}
    for source, lines in sources.items():
        states[source] = stage.start()
        stage.update(states[source], lines, 1)
    return stage.finish(states, final)


def reference(lines: list[int], final: bool, stride: int = STRIDE) -> list[tuple[int | None, int, float, int]]:
    """Line number, vocabulary number, surprisal and rank of every scored key, each window computed on its own."""
    number_of = {i: FIRST_KEY + KNOWN.index(key) for i, key in enumerate(KEYS) if key in KNOWN}
    events = [(number, number_of.get(line, UNK)) for number, line in enumerate(lines, 1) if line != BLANK]
    keys = [START, *(key for _, key in events)]
    after = events + ([(events[-1][0] if events else None, END)] if final else [])
    found = []
    for place, (number, target) in enumerate(after):
        begin = max(0, place // stride * stride - stride)
        surprisal, rank, _ = network(np.array([keys[begin : place + 1]]), np.array([[target]]))
        if target != UNK:
            found.append((number, target, float(surprisal[0, 0]), int(rank[0, 0])))
    return found


line = st.one_of(st.integers(0, len(KEYS) - 1), st.just(NEW), st.just(BLANK))
lines = st.lists(line, max_size=40)


@given(lines=lines, final=st.booleans())
def test_order_is_that_of_windows_worked_out_one_by_one(lines, final):
    """Mean, number of scored keys and surprises are those of a reference without batches and state."""
    stage = make()
    order = order_of(stage, {"a": lines}, final)
    scored = reference(lines, final)
    assert order.events == len(scored)
    assert order.mean_surprisal == pytest.approx(np.mean([s for _, _, s, _ in scored]) if scored else 0.0, abs=1e-5)
    surprising = [(n, k == END, r, s) for n, k, s, r in scored if r >= stage.profile.top_k]
    assert order.count == len(surprising)
    assert sorted((s.number or 0, s.end, s.rank) for s in order.surprises) == sorted(
        (n or 0, e, r) for n, e, r, _ in surprising
    )


@given(data=st.data(), sources=st.lists(lines, min_size=1, max_size=4), final=st.booleans())
@settings(max_examples=60)
def test_cutting_and_interleaving_do_not_show(data, sources, final):
    """Lines in any batches, sources in any turn, scored together or alone, looked at in between: the same order."""
    stage = make()
    states = {str(i): stage.start() for i in range(len(sources))}
    left = {str(i): list(lines) for i, lines in enumerate(sources)}
    while any(left.values()):
        name = data.draw(st.sampled_from([name for name, rest in left.items() if rest]))
        count = data.draw(st.integers(1, len(left[name])))
        first = len(sources[int(name)]) - len(left[name]) + 1
        stage.update(states[name], left[name][:count], first)
        left[name] = left[name][count:]
        stage.advance(data.draw(st.sampled_from([[], [states[name]], list(states.values())])))
        if data.draw(st.booleans()):
            stage.finish(states, final=data.draw(st.booleans()))
    assert_same(stage.finish(states, final), order_of(stage, {str(i): lines for i, lines in enumerate(sources)}, final))


def assert_same(order: Order, other: Order) -> None:
    assert (order.events, order.count) == (other.events, other.count)
    assert order.mean_surprisal == pytest.approx(other.mean_surprisal, abs=1e-5)
    assert [s._replace(surprisal=0) for s in order.surprises] == [s._replace(surprisal=0) for s in other.surprises]
    assert [s.surprisal for s in order.surprises] == pytest.approx([s.surprisal for s in other.surprises], abs=1e-5)


@given(lines=lines)
def test_looking_changes_nothing(lines):
    """`finish` gives the same twice, and lines that come later are judged as if nobody had looked."""
    stage, looked, untouched = make(), make().start(), make().start()
    for state in (looked, untouched):
        stage.update(state, lines, 1)
    assert_same(stage.finish({"": looked}, final=True), stage.finish({"": looked}, final=True))
    for state in (looked, untouched):
        stage.update(state, lines, len(lines) + 1)
    assert_same(stage.finish({"": looked}, final=True), stage.finish({"": untouched}, final=True))


def test_finish_reads_one_window_a_source():
    """A look at an open run costs little, however long the run is."""
    asked = []

    def counting(keys, targets):
        asked.append(keys.shape)
        return network(keys, targets)

    stage = make(counting)
    states = {name: stage.start() for name in "abc"}
    for name, state in states.items():
        stage.update(state, [0, 2, 3] * (50 if name != "c" else 1), 1)
    stage.advance(states.values())
    asked.clear()
    stage.finish(states, final=False)
    assert sum(shape[0] for shape in asked) <= 3
    assert all(shape[0] <= BATCH_WINDOWS for shape in asked)


def test_state_stays_small():
    """What is kept of a source does not grow with it: two strides of keys and the strongest surprises."""
    stage = make(top_k=1)
    state = stage.start()
    for first in range(1, 5000, 100):
        stage.update(state, [first % 6, 5, 0, 3] * 25, first)
        stage.advance([state])
        assert len(state.keys) == len(state.numbers) <= 2 * STRIDE
        assert len(state.tally.strongest) <= MAX_SURPRISES
    order = stage.finish({"": state}, final=True)
    assert order.count > len(order.surprises) >= MAX_SURPRISES
    assert size(state) < 10_000


def size(state: NextKeyState) -> int:
    """Bytes of arrays, and of a surprise's numbers at eight each."""
    return state.keys.nbytes + state.numbers.nbytes + 8 * sum(4 + len(found.expected) for found in state.tally.strongest)


def test_strongest_surprises_stay():
    """Of more than can be kept, those of the highest surprisal; of equal ones the earliest; ends besides."""
    lines = np.random.default_rng(0).integers(0, 6, 400).tolist()
    order = order_of(make(top_k=1), {"": lines})
    surprising = sorted((-s, n) for n, k, s, r in reference(lines, final=True) if r >= 1 and k != END)
    found = [(-s.surprisal, s.number) for s in order.surprises if not s.end]
    assert [n for _, n in found] == [n for _, n in surprising[:MAX_SURPRISES]]
    assert [s for s, _ in found] == pytest.approx([s for s, _ in surprising[:MAX_SURPRISES]], abs=1e-5)
    assert found == sorted(found)


def test_surprise_says_what_came_and_what_was_expected():
    """The key with its line, and only keys that were likelier; "" is the end."""
    stage = make(certain, top_k=1)
    order = order_of(stage, {"ue": [BLANK, KEYS.index("rest"), BLANK, KEYS.index("stop"), KEYS.index("boot")]})
    assert [tuple(s) for s in order.surprises] == [
        ("ue", 4, "stop", 5, ("rest", "", "boot"), 5.0, False),
        ("ue", 5, "boot", 2, ("rest", ""), 2.0, False),
        ("ue", 5, "", 1, ("rest",), 1.0, True),
    ]
    assert (order.count, order.events, order.mean_surprisal, order.surprisal_high) == (3, 4, 2.0, 1.5)


def test_unknown_keys_are_context_alone():
    """A line that passing runs do not show is not scored, but what follows is judged by it."""
    known = [0, 2, 3, 4]
    plain, mixed = order_of(make(), {"": known}), order_of(make(), {"": [0, NEW, 2, KEYS.index("oops"), 3, 4]})
    assert (plain.events, mixed.events) == (5, 5)
    assert plain.mean_surprisal != pytest.approx(mixed.mean_surprisal, abs=1e-3)


def test_lines_without_text_are_no_events():
    order = order_of(make(), {"": [0, 2, 3]})
    assert_same(order_of(make(), {"": [0, 2, 3, BLANK, BLANK]}), order)


def test_open_run_has_no_end():
    assert not any(s.end for s in order_of(make(top_k=1), {"": [0, 2, 3, 4] * 5}, final=False).surprises)


def test_source_without_text_may_end_too_early():
    order = order_of(make(certain, top_k=1), {"": [BLANK]})
    assert (order.events, [(s.end, s.number, s.key) for s in order.surprises]) == (1, [(True, None, "")])


def test_run_without_sources():
    assert order_of(make(), {}) == Order(0.0, 0, [], 0, 1.5)


def test_indexes_are_those_of_the_plain_detector():
    assert (detect.NEW, detect.BLANK) == (NEW, BLANK)


def test_vocabulary_of_other_templates_is_rejected():
    with pytest.raises(BundleError, match="names key elsewhere"):
        make(keys=("boot", "elsewhere"))


@pytest.mark.parametrize("changes", [{"top_k": 0}, {"keys": ()}, {"stride": "long"}, {"other": 1}])
def test_damaged_profile_is_rejected(changes):
    with pytest.raises(BundleError, match="1 invalid field"):
        make(**changes)


def test_network_of_other_shapes_is_rejected():
    def shorter(keys, targets):
        return network(keys, targets[:, 1:])

    with pytest.raises(BundleError, match="another shape"):
        make(shorter)
