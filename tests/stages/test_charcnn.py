"""The char-CNN: windows at fixed positions whatever is cut and interleaved how, and shares that add up to the score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage import BundleError
from stream_triage.stages.charcnn import PIECE_SYMBOLS, UNKNOWN, Alphabet, CharCNN, CharCNNProfile, CharState, pieces

SYMBOLS = ("a", "b", "c", " ", "<num:e1>", "<hex>")
WIDTH, WINDOW, HALO = 5, 4, 2
LABELS = ("Pass", "L2", "L3")
RNG = np.random.default_rng(7)
PROJECTION = RNG.normal(size=(WIDTH, len(SYMBOLS) + 2))
TAPS = RNG.normal(size=(2 * HALO + 1, WIDTH, WIDTH))
ARRAYS = {
    "weights": RNG.normal(size=(3, WIDTH)).astype(np.float32),
    "bias": RNG.normal(size=3).astype(np.float32),
    "means": RNG.random((3, WIDTH)).astype(np.float32),
}


def read_lines(symbols: np.ndarray) -> list[np.ndarray]:
    """Counts of the symbols, projected: a first part that needs no network."""
    counts = np.stack([(symbols == code).sum(axis=1) for code in range(len(SYMBOLS) + 2)], axis=1)
    return [np.tanh(counts @ PROJECTION.T).astype(np.float32)]


def read_windows(vectors: np.ndarray) -> list[np.ndarray]:
    """A convolution over lines without padding, then ReLU."""
    places = vectors.shape[1] - 2 * HALO
    rows = sum(vectors[:, i : i + places] @ TAPS[i] for i in range(2 * HALO + 1))
    return [np.maximum(rows, 0).transpose(0, 2, 1).astype(np.float32)]


def make(temperature: float = 1.0, missing_keys: tuple[str, ...] = ("",) * WIDTH, arrays=ARRAYS) -> CharCNN:
    profile = CharCNNProfile(
        symbols=SYMBOLS, width=WIDTH, window=WINDOW, halo=HALO, temperature=temperature, missing_keys=missing_keys
    )
    return CharCNN(LABELS, profile, arrays, read_lines, read_windows)


def states_of(stage: CharCNN, run: dict[str, list[str]]) -> dict[str, CharState]:
    states = {}
    for source, lines in run.items():
        states[source] = stage.start()
        stage.update(states[source], stage.read(lines), range(1, len(lines) + 1))
    return states


def features_of(run: dict[str, list[str]]) -> tuple[np.ndarray, dict[tuple[str, int], np.ndarray]]:
    """Computed line by line: the maxima, and the features of each line (source, number)."""
    rows: list[tuple[tuple[str, int], np.ndarray]] = []
    for source, lines in sorted(run.items()):
        cut = [
            (number, piece) for number, line in enumerate(lines, 1) for piece in pieces(Alphabet(SYMBOLS).encode([line])[0])
        ]
        vectors = [np.zeros(WIDTH)] * HALO + [read_lines(piece[None])[0][0] for _, piece in cut] + [np.zeros(WIDTH)] * HALO
        for i, (number, _) in enumerate(cut):
            row = np.maximum(sum(vectors[i + j] @ TAPS[j] for j in range(2 * HALO + 1)), 0)
            rows.append(((source, number), row))
    maxima = np.max([row for _, row in rows], axis=0) if rows else np.zeros(WIDTH)
    best: dict[tuple[str, int], np.ndarray] = {}
    for place, row in rows:
        best[place] = np.maximum(best.get(place, np.zeros(WIDTH)), row)
    return maxima, best


line = st.text(alphabet="abc é\ue003", max_size=12) | st.sampled_from(["<num:e1> a", "<hex><hex>", "<path>", "a" * 700])
runs = st.dictionaries(st.sampled_from(["", "cu", "ue"]), st.lists(line, max_size=14), max_size=3)


@given(run=runs)
def test_maxima_are_those_of_all_lines_read_at_once(run: dict[str, list[str]]) -> None:
    """Windows, halos and the last padded window change nothing; each maximum names a line that has it."""
    stage = make()
    values, places = stage.maxima(states_of(stage, run))
    maxima, rows = features_of(run)
    assert values == pytest.approx(maxima, abs=1e-5)
    for feature, (value, place) in enumerate(zip(values, places, strict=True)):
        if value > 0:
            assert rows[place][feature] == pytest.approx(value, abs=1e-5)
        else:
            assert place == ("", 0)


@settings(max_examples=200)
@given(run=runs, cuts=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5), st.booleans()), max_size=30))
def test_cutting_and_interleaving_change_nothing(run: dict[str, list[str]], cuts: list[tuple[int, int, bool]]) -> None:
    """Lines in any portions, sources in any order, advanced alone or together or not at all: the same to the bit."""
    stage = make()
    whole = states_of(stage, run)
    states, given_lines = {source: stage.start() for source in run}, dict.fromkeys(run, 0)
    for which, count, together in cuts:
        if not run:
            break
        source = sorted(run)[which % len(run)]
        first = given_lines[source]
        lines = run[source][first : first + count]
        stage.update(states[source], stage.read(lines), range(first + 1, first + len(lines) + 1))
        given_lines[source] += len(lines)
        stage.advance(list(states.values()) if together else [states[source]])
        stage.scores(states)
    for source, lines in run.items():
        first = given_lines[source]
        stage.update(states[source], stage.read(lines[first:]), range(first + 1, len(lines) + 1))
    assert stage.scores(states).tolist() == stage.scores(whole).tolist()
    assert stage.maxima(states)[1] == stage.maxima(whole)[1]


@given(run=runs, label=st.integers(0, 2), rival=st.integers(0, 2), missing=st.sets(st.sampled_from("klm")))
def test_shares_add_up_to_the_difference_of_scores(
    run: dict[str, list[str]], label: int, rival: int, missing: set[str]
) -> None:
    stage = make(temperature=1.7, missing_keys=("k", "", "l", "k", "m"))
    states = states_of(stage, run)
    scores = stage.scores(states)
    shares = stage.explain(states, label, rival, missing)
    total = sum(share.weight for share in shares.lines) + sum(shares.missing.values()) + shares.rest
    assert total == pytest.approx(scores[label] - scores[rival], abs=1e-9)
    assert set(shares.missing) <= missing


def test_score_is_weights_of_maxima_over_temperature() -> None:
    run = {"ue": ["abc", "<hex> a"], "cu": ["c c c"]}
    maxima, _ = features_of(run)
    stage = make(temperature=2.0)
    expected = (ARRAYS["weights"] @ maxima + ARRAYS["bias"]) / 2
    assert stage.scores(states_of(stage, run)) == pytest.approx(expected, abs=1e-5)


def test_what_stays_below_a_run_of_the_rival_speaks_for_the_missing_key() -> None:
    """A feature that no line raised above the rival's mean is the share of the key that raises it in passing runs."""
    means = np.zeros((3, WIDTH), dtype=np.float32)
    means[0] = [1e3, 0, 0, 0, 0]
    stage = make(missing_keys=("k", "", "", "", ""), arrays={**ARRAYS, "means": means})
    states = states_of(stage, {"": ["abc", "b"]})
    shares = stage.explain(states, 1, 0, ["k"])
    weight = float(ARRAYS["weights"][1, 0]) - float(ARRAYS["weights"][0, 0])
    below = stage.maxima(states)[0][0] - 1e3
    assert shares.missing == {"k": pytest.approx(weight * below)}
    assert stage.explain(states, 1, 0, []).missing == {}


def test_open_state_is_less_than_a_window_and_its_neighbours() -> None:
    """However many lines came, only those that wait for their window are kept, and what was is not grown."""
    stage = make()
    state = stage.start()
    for first in range(1, 2000, 100):
        stage.update(state, stage.read(["abc"] * 100), range(first, first + 100))
        stage.advance([state])
        assert len(state.numbers) < WINDOW + HALO
        assert len(state.vectors) == len(state.numbers) + HALO
        assert state.vectors.base is None


def test_a_long_line_is_read_to_its_end() -> None:
    """The difference may stand behind the first piece."""
    start = "a" * (3 * PIECE_SYMBOLS)
    stage = make()
    one, other = (stage.scores(states_of(stage, {"": [start + end]})) for end in ("a", "b b b"))
    assert not np.allclose(one, other)


@given(lines=st.lists(st.text(alphabet=st.characters(exclude_characters="\n"), max_size=20), max_size=6))
def test_every_character_is_a_symbol(lines: list[str]) -> None:
    """Whatever comes, private, astral or lone surrogates, each line keeps its own number of symbols."""
    alphabet = Alphabet(SYMBOLS)
    assert [len(codes) for codes in alphabet.encode(lines)] == [len(Alphabet.cut(line)) for line in lines]


def test_unknown_symbols_and_markers_look_alike() -> None:
    assert Alphabet(SYMBOLS).encode(["é<path>\udc80😀"])[0].tolist() == [UNKNOWN] * 4


@pytest.mark.parametrize("symbols", [["a", "a"], [chr(0x100 + i) for i in range(255)]])
def test_symbols_that_are_no_alphabet_are_rejected(symbols: list[str]) -> None:
    with pytest.raises(ValueError, match="do not fit into a byte, or one of them is listed twice"):
        Alphabet(symbols)


@pytest.mark.parametrize("broken", ["weights", "bias", "means"])
def test_arrays_of_another_shape_are_rejected(broken: str) -> None:
    with pytest.raises(BundleError, match="do not fit 3 labels and 5 features"):
        make(arrays={**ARRAYS, broken: ARRAYS[broken][..., :1]})


@pytest.mark.parametrize(
    "changes", [{"window": 0}, {"temperature": 0}, {"width": "wide"}, {"other": 1}, {"missing_keys": None}]
)
def test_damaged_profile_is_rejected(changes: dict[str, object]) -> None:
    profile = make().profile.model_dump() | changes
    with pytest.raises(BundleError, match="1 invalid field"):
        CharCNN.from_files(LABELS, profile, ARRAYS, b"", b"")


def test_array_that_is_not_there_is_rejected() -> None:
    with pytest.raises(BundleError, match="char"):
        CharCNN.from_files(LABELS, make().profile.model_dump(), {"weights": ARRAYS["weights"]}, b"", b"")
