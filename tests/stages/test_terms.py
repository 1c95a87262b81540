"""The classifier: scores, and shares of lines and missing keys that add up exactly."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_triage import BundleError
from stream_triage.stages.terms import MAX_WORDS, TermClassifier, TermState, line_terms

LABELS = ("Pass", "L2", "L3")


def make(weights, bias=None, frequencies=None, expected=None, temperature=1.0) -> TermClassifier:
    weights = np.asarray(weights, dtype=np.float32)
    labels, terms = weights.shape
    return TermClassifier(
        LABELS[:labels],
        [f"t{i}" for i in range(terms)],
        weights=weights,
        bias=np.zeros(labels, np.float32) if bias is None else np.asarray(bias, np.float32),
        frequencies=np.zeros_like(weights) if frequencies is None else np.asarray(frequencies, np.float32),
        expected_terms=expected or {},
        temperature=temperature,
    )


@st.composite
def cases(draw):
    """A classifier with random weights, and a run of up to three sources with random terms in its lines."""
    terms, seed = draw(st.integers(1, 12)), draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    keys = draw(st.dictionaries(st.sampled_from("klmn"), st.sets(st.integers(0, terms - 1), max_size=4).map(sorted)))
    classifier = make(
        random.normal(0, 3, (3, terms)), random.normal(0, 3, 3), random.random((3, terms)), keys, draw(st.floats(0.2, 5))
    )
    line = st.sets(st.integers(0, terms - 1), max_size=4).map(sorted)
    run = draw(st.dictionaries(st.sampled_from(["", "ue", "gnb"]), st.lists(line, max_size=6), max_size=3))
    missing = draw(st.sets(st.sampled_from("klmnz")))
    return classifier, run, missing


def states_of(classifier: TermClassifier, run: dict[str, list[list[int]]]) -> dict[str, TermState]:
    states = {}
    for source, lines in run.items():
        states[source] = classifier.start()
        classifier.update(states[source], lines, range(1, len(lines) + 1))
    return states


@settings(max_examples=300)
@given(case=cases(), label=st.integers(0, 2), rival=st.integers(0, 2))
def test_shares_add_up_to_the_difference_of_scores(case, label, rival):
    """Lines, missing keys and the rest are exactly the log-odds, whatever the weights, sources and missing keys."""
    classifier, run, missing = case
    states = states_of(classifier, run)
    scores = classifier.scores(states)
    shares = classifier.explain(states, label, rival, missing)
    total = sum(share.weight for share in shares.lines) + sum(shares.missing.values()) + shares.rest
    assert total == pytest.approx(scores[label] - scores[rival], abs=1e-9)


@given(case=cases())
def test_rest_is_what_no_line_and_no_missing_key_explains(case):
    """Bias, the rival's average run, and absent terms that no missing key owns: worked out term by term."""
    classifier, run, missing = case
    shares = classifier.explain(states_of(classifier, run), 2, 0, missing)
    difference = classifier._weights[2] - classifier._weights[0]
    came = {term for lines in run.values() for line in lines for term in line}
    owned = {term for key in missing for term in classifier._expected_terms.get(key, [])}
    rest = classifier._bias[2] - classifier._bias[0]
    for term, (weight, frequency) in enumerate(zip(difference, classifier._frequencies[0], strict=True)):
        rest += weight * frequency
        if term not in came and term not in owned:
            rest -= weight * frequency
    assert shares.rest == pytest.approx(rest, abs=1e-9)


@given(case=cases(), cuts=st.lists(st.integers(0, 6), max_size=4))
def test_batches_do_not_show(case, cuts):
    """The state after several updates is that after one."""
    classifier, run, _ = case
    for lines in run.values():
        whole, parts = classifier.start(), classifier.start()
        classifier.update(whole, lines, range(1, len(lines) + 1))
        edges = [0, *sorted(min(c, len(lines)) for c in cuts), len(lines)]
        for first, last in pairwise(edges):
            classifier.update(parts, lines[first:last], range(first + 1, last + 1))
        assert (parts.seen, parts.terms, parts.lines) == (whole.seen, whole.terms, whole.lines)


def test_score_is_bias_plus_weights_of_present_terms():
    """A term counts once, however often and in however many sources it came; the temperature divides all."""
    classifier = make([[1, 10], [2, 20]], bias=[0.5, 0.25], temperature=2.0)
    states = states_of(classifier, {"a": [[0], [0]], "b": [[0]]})
    assert classifier.scores(states) == pytest.approx([0.75, 1.125])


def test_share_of_a_term_goes_to_its_first_line_in_each_source():
    """Sources that both have a term share its weight; later lines with it get nothing."""
    classifier = make([[0, 0], [4, 1]])
    shares = classifier.explain(states_of(classifier, {"b": [[0, 1]], "a": [[], [0], [0]]}), 1, 0, [])
    assert [(s.source, s.number, s.weight) for s in shares.lines] == [("a", 2, 2.0), ("b", 1, 3.0)]


def test_what_all_runs_of_the_rival_print_weighs_nothing():
    """A term that every passing run has is no evidence for a failing run."""
    classifier = make([[0, 0], [5, 5]], frequencies=[[1, 0.25], [0, 0]])
    shares = classifier.explain(states_of(classifier, {"": [[0], [1]]}), 1, 0, [])
    assert [share.weight for share in shares.lines] == pytest.approx([0.0, 3.75])


def test_missing_key_weighs_by_the_terms_it_would_have_brought():
    """Two missing keys with a common term share it; one whose terms came all the same weighs nothing."""
    keys = {"k": [0, 1], "l": [1], "m": [2]}
    classifier = make([[2, 4, 8], [0, 0, 0]], frequencies=[[1, 0.5, 1], [0, 0, 0]], expected=keys)
    shares = classifier.explain(states_of(classifier, {"": [[2]]}), 1, 0, ["k", "l", "m", "unknown"])
    assert shares.missing == pytest.approx({"k": 2 + 1, "l": 1, "m": 0})


@given(words=st.lists(st.sampled_from("abcde"), max_size=30))
def test_terms_are_words_and_neighbours_once_each(words):
    assert len(set(line_terms(words))) == len(line_terms(words))
    pairs = {f"{words[i]} {words[i + 1]}" for i in range(len(words) - 1)}
    assert set(line_terms(words)) == set(words) | pairs


def test_words_beyond_the_limit_are_not_looked_at():
    assert line_terms([f"w{i}" for i in range(10_000)])[-1] == f"w{MAX_WORDS - 2} w{MAX_WORDS - 1}"


def test_unknown_terms_have_no_index():
    assert make([[1, 2], [3, 4]]).term_indexes(["t1", "other", "t0"]) == (1, 0)


@pytest.mark.parametrize("broken", ["weights", "bias", "frequencies"])
def test_arrays_of_another_shape_are_rejected(broken):
    """Arrays that do not fit labels and terms would judge silently wrong."""
    arrays = {"weights": np.zeros((2, 3)), "bias": np.zeros(2), "frequencies": np.zeros((2, 3))}
    arrays[broken] = arrays[broken][:1]
    vocabulary = {"terms": ["a", "b", "c"], "expected_terms": {}, "temperature": 1.0}
    with pytest.raises(BundleError, match="do not fit 2 labels and 3 terms"):
        TermClassifier.from_files(["Pass", "L3"], vocabulary, arrays)


@pytest.mark.parametrize("vocabulary", [{}, {"terms": ["a"]}, [], None])
def test_incomplete_vocabulary_is_rejected(vocabulary):
    arrays = {"weights": np.zeros((2, 1)), "bias": np.zeros(2), "frequencies": np.zeros((2, 1))}
    with pytest.raises(BundleError, match="incomplete"):
        TermClassifier.from_files(["Pass", "L3"], vocabulary, arrays)
