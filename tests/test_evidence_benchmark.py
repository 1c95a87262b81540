"""What `benchmarks.evidence` counts as the cause of a run."""

from benchmarks.evidence.cause_lines import cause_lines, corpus_cause, oai_cause
from training.corpus import generate


def test_first_record_of_a_cause_is_a_cause_line() -> None:
    """The generator knows the first record of the cause that it wrote: the patterns find it, and nothing in the set-up."""
    failing = [run for run in generate(60, seed=5) if run.root_line is not None]
    assert len(failing) > 10
    for run in failing:
        found = cause_lines({"": run.text}, corpus_cause(run.cause))
        assert any(("", number) in found for number in (run.root_line, run.root_line + 1)), (run.cause, run.root_line)
        set_up = dict(run.sections)["logging"]
        assert all(number > set_up for _, number in found), run.cause


def test_assertion_counts_as_a_whole() -> None:
    """Its condition, its place in the code and its message are the cause; what comes after the blank line is not."""
    text = b"[PHY] ok\nAssertion (r > 0) failed!\nIn compute() nr_mac.c:8\nbad r: 139\n\nExiting execution\n"
    cause = oai_cause("du_assert_phycfg")
    assert cause is not None
    assert cause_lines({"du": text, "ue": text}, cause) == {("du", 2), ("du", 3), ("du", 4)}


def test_outcomes_without_a_cause_line() -> None:
    """A passing run has none, and neither has one that no rule could name."""
    assert oai_cause("pass") is None
    assert oai_cause("other") is None
