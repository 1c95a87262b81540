"""The reduction: what is read from lines, blocks, importance, budgets, marks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_triage import Bundle, BundleError, find_bundle
from stream_triage.stages.reduce import (
    ARRAYS,
    NO_LIMIT,
    PROFILE,
    Budget,
    Explainer,
    GoodRuns,
    Mark,
    Reducer,
    ReducerProfile,
    Relevance,
    ScoredLog,
    tokens_of,
)
from stream_triage.stages.reduce.blocks import find_blocks
from stream_triage.stages.reduce.budget import AUTO_LEAST, AUTO_MOST
from stream_triage.stages.reduce.context import FEATURES, features
from stream_triage.stages.reduce.lines import COLUMNS, LogLines, read_lines
from stream_triage.stages.reduce.relevance import Trees
from stream_triage.stages.reduce.select import importance, select
from stream_triage.stages.reduce.words import PIECE_BYTES
from tests.reduction import (
    CMAKE_ERROR,
    GO_PANIC,
    JAVA_TRACE,
    JEST_FAILURE,
    PLAIN_LOG,
    PYTEST_FAILURE,
    PYTHON_CHAIN,
    PYTHON_TRACE,
    RUST_DIAGNOSTIC,
    RUST_PANIC,
    Lines,
)


@pytest.fixture(scope="module")
def relevance() -> Relevance:
    bundle = Bundle.open(find_bundle("generic"))
    return Relevance.from_files(bundle.json(PROFILE), bundle.arrays(ARRAYS))


def scored(relevance: Relevance, lines: list[str], step: int = 10_000) -> ScoredLog:
    reader = relevance.reader()
    for start in range(0, len(lines), step):
        reader.add(lines[start : start + step])
    return reader.finish()


def with_scores(lines: list[str], scores: list[float]) -> ScoredLog:
    """A log of lines with text, each with a given score."""
    table = read_lines(lines)
    log = LogLines(table.numbers, np.zeros(len(lines), dtype=np.float32), table.identity)
    number = np.arange(1, len(lines) + 1, dtype=np.uint32)
    size = np.array([len(line) for line in lines], dtype=np.uint16)
    return ScoredLog(number, np.array(scores, dtype=np.float32), size, log, len(lines))


def with_gaps(lines: list[str]) -> LogLines:
    """A log whose lines without text are counted, as `LogReader` does."""
    kept = [i for i, line in enumerate(lines) if line]
    table = read_lines([lines[i] for i in kept])
    table.numbers[:, COLUMNS.index("gap")] = np.diff(kept, prepend=-1) - 1
    return LogLines(table.numbers, np.zeros(len(kept), dtype=np.float32), table.identity)


def column(lines: list[str], name: str) -> list[int]:
    return read_lines(lines).numbers[:, COLUMNS.index(name)].tolist()


class TestLines:
    def test_words_end_at_punctuation_and_at_capitals(self):
        """`NullPointerException` says exception, `test_that_fails` says fails, `errors` in a path says nothing else."""
        assert column(["NullPointerException: x", "test_that_fails", "terrors", "ERROR"], "fail") == [1, 1, 0, 1]

    def test_lines_that_differ_in_numbers_have_one_identity(self):
        same = read_lines(
            ["took 12 ms at 0x1f for run 3f2a9", "took 7 ms at 0x2e for run 77b1c", "took 7 s at 0x2e for run 1a"]
        )
        assert same.identity[0] == same.identity[1] != same.identity[2]

    def test_a_tag_is_no_text(self):
        """Maven and sbt write a tag before each line: the indentation behind it counts."""
        assert column(["[info]   at Foo.bar", "[info] done", "    at Foo", "[1, 2]"], "indent") == [2, 0, 4, 0]

    def test_zero_is_no_figure(self):
        assert column(["exited with 0", "exited with 12"], "zeros") == [1, 0]
        assert column(["exited with 0", "exited with 12"], "figures") == [0, 1]

    @pytest.mark.parametrize(
        "line", ["at org.Foo.bar(Foo.java:3)", "Caused by: X", "   --> src/a.rs:3", "  | ", '  File "a.py"']
    )
    def test_lines_that_go_on(self, line):
        assert column([line], "frame") == [1]

    @pytest.mark.parametrize(
        ("name", "yes", "no"),
        [
            ("place", "main.go:31", "at 12:31:07"),
            ("place", 'File "a.py", line 31', "one line of 31"),
            ("opens", "goroutine 7 [running]:", "running: 7"),
            ("marker", "E       assert x", "Every x"),
            ("title", "==== FAILURES ====", "========"),
            ("title", "--- FAIL: TestClose ---", "well-known: a-b-c-d-e-f-g"),
        ],
    )
    def test_forms_of_lines(self, name, yes, no):
        assert column([yes, no], name) == [1, 0]

    def test_reading_in_pieces_changes_nothing(self):
        lines = [f"line {i} says {'error' if i % 7 else 'nothing'} of {'x' * (i % 90)}" for i in range(PIECE_BYTES // 100)]
        whole, parts = read_lines(lines), [read_lines(lines[i : i + 97]) for i in range(0, len(lines), 97)]
        assert np.array_equal(whole.numbers, np.concatenate([part.numbers for part in parts]))
        assert np.array_equal(whole.identity, np.concatenate([part.identity for part in parts]))
        assert np.array_equal(
            np.bincount(whole.bucket_line), np.concatenate([np.bincount(part.bucket_line) for part in parts])
        )

    def test_no_lines(self):
        assert read_lines([]).numbers.shape == (0, len(COLUMNS))

    @given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])), min_size=1, max_size=20))
    def test_any_text_can_be_read(self, lines):
        """One row for each line; the words of a line do not depend on the lines around it."""
        table = read_lines(lines)
        assert len(table.numbers) == len(table.identity) == len(lines)
        for i, line in enumerate(lines):
            alone = read_lines([line])
            assert table.identity[i] == alone.identity[0]
            assert sorted(table.buckets[table.bucket_line == i].tolist()) == sorted(alone.buckets.tolist())


class TestContext:
    def test_features_do_not_depend_on_the_stretches(self, relevance, monkeypatch):
        """A log is worked on in stretches, whose neighbours count as well."""
        log = scored(relevance, PLAIN_LOG * 3).table
        whole = np.concatenate([table for _, table in features(log)])
        monkeypatch.setattr("stream_triage.stages.reduce.context.STRETCH", 7)
        assert np.allclose(whole, np.concatenate([table for _, table in features(log)]), atol=1e-4)

    def test_a_step_that_failed_is_seen_from_before(self, relevance):
        log = scored(relevance, ["compiling", "linking", "The command exited with 2.", "cleaning"]).table
        table = next(features(log))[1]
        distance = np.expm1(table[:, FEATURES.index("to_failed_exit")])
        assert distance[:3].round().tolist() == [2, 1, 0]
        assert distance[3] > 100

    def test_no_lines_have_no_features(self, relevance):
        assert scored(relevance, []).score.shape == (0,)
        assert scored(relevance, ["", "  "]).score.shape == (0,)


class TestTrees:
    def test_a_row_goes_left_up_to_the_threshold(self):
        trees = Trees(
            np.array([[0, 1, 1]], dtype=np.int16),
            np.array([[1.0, 5.0, 7.0]], dtype=np.float32),
            np.array([[1, 2, 3, 4]], dtype=np.float32),
        )
        rows = np.zeros((4, len(FEATURES)), dtype=np.float32)
        rows[:, :2] = [[1, 5], [1, 6], [2, 7], [2, 8]]
        assert trees.scores(rows).tolist() == [1, 2, 3, 4]

    @pytest.mark.parametrize("name", ["words", "feature", "threshold", "value"])
    def test_incomplete_arrays_are_rejected(self, name):
        bundle = Bundle.open(find_bundle("generic"))
        arrays = bundle.arrays(ARRAYS)
        del arrays[name]
        with pytest.raises(BundleError, match=r"relevance.npz .* incomplete"):
            Relevance.from_files(bundle.json(PROFILE), arrays)

    def test_other_features_are_rejected(self):
        bundle = Bundle.open(find_bundle("generic"))
        with pytest.raises(BundleError, match="other features"):
            Relevance.from_files({**bundle.json(PROFILE), "features": ["x"]}, bundle.arrays(ARRAYS))
        with pytest.raises(BundleError, match=r"relevance.json .* invalid field"):
            Relevance.from_files({}, bundle.arrays(ARRAYS))

    def test_trees_of_other_shapes_are_rejected(self):
        bundle = Bundle.open(find_bundle("generic"))
        arrays = bundle.arrays(ARRAYS)
        arrays["threshold"] = arrays["threshold"][:, :-1]
        with pytest.raises(BundleError, match="contradict"):
            Relevance.from_files(bundle.json(PROFILE), arrays)
        arrays = {**bundle.arrays(ARRAYS)}
        arrays["feature"] = arrays["feature"] + 1000
        with pytest.raises(BundleError, match="do not exist"):
            Relevance.from_files(bundle.json(PROFILE), arrays)


class TestBlocks:
    @pytest.mark.parametrize("block", [PYTHON_TRACE, JAVA_TRACE, RUST_DIAGNOSTIC, [f"[error] {x}" for x in JAVA_TRACE]])
    def test_traces_and_diagnostics_are_whole(self, block):
        lines = ["compiling", *block, "compiling more"]
        blocks = find_blocks(with_scores(lines, [0.0] * len(lines)).table)
        numbers = blocks.of_line[1 : 1 + len(block)]
        assert len(set(numbers.tolist())) == 1
        assert blocks.whole[numbers[0]]
        assert blocks.of_line[0] != numbers[0] != blocks.of_line[-1]

    @pytest.mark.parametrize("block", [GO_PANIC, PYTHON_CHAIN, RUST_PANIC, CMAKE_ERROR, JEST_FAILURE, PYTEST_FAILURE])
    def test_blocks_go_on_by_their_form(self, block):
        """Over a blank line, from an announcement to what it announces, and along frames of two lines each."""
        lines = ["compiling", *block, "compiling more"]
        log = with_gaps(lines)
        of_line = find_blocks(log).of_line[1:-1]
        assert len(set(of_line.tolist())) == 1
        assert find_blocks(log).whole[of_line[0]]
        assert find_blocks(log).of_line[0] != of_line[0] != find_blocks(log).of_line[-1]

    def test_equal_lines_in_a_row_are_no_block(self):
        """Each of a thousand equal errors stands alone, so that the others can be left out."""
        blocks = find_blocks(with_gaps([f"ERROR: pump {i} does not answer" for i in range(9)]))
        assert len(blocks.starts) == 9

    def test_a_line_of_source_belongs_to_the_caret_below_it(self):
        lines = ["building", "Foo.java:3: error: cannot find symbol", "bar(x);", "    ^", "next"]
        blocks = find_blocks(with_scores(lines, [0.0] * 5).table)
        assert blocks.of_line.tolist() == [0, 1, 1, 1, 2]

    def test_long_blocks_are_divided(self):
        lines = ["dump", *["  value"] * 500]
        blocks = find_blocks(with_scores(lines, [0.0] * 501).table)
        assert np.bincount(blocks.of_line).max() <= 60


class TestImportance:
    def test_a_trace_counts_as_its_best_line(self):
        lines = ["a b", *JAVA_TRACE, "c d"]
        log = with_scores(lines, [0.0, 5.0, *[-3.0] * (len(JAVA_TRACE) - 1), 0.0])
        values = importance(log.table, log.score, find_blocks(log.table))
        assert values[1 : 1 + len(JAVA_TRACE)].min() >= 4
        assert values[0] == values[-1] == 0

    def test_a_short_gap_between_important_lines_is_closed(self):
        log = with_scores(PLAIN[:11], [0, 5, -3, -3, -3, 6, -3, 8, -3, -3, -3])
        values = importance(log.table, log.score, find_blocks(log.table))
        assert values.tolist() == pytest.approx([0, 5, 4.4, 4.4, 4.4, 6, 5.7, 8, -3, -3, -3])

    def test_a_progress_bar_counts_less_than_a_line_with_words(self):
        log = with_scores(["[=====>   ]", "linking", "  | ", "   ^^^"], [1.0, 0.0, 1.0, 1.0])
        values = importance(log.table, log.score, find_blocks(log.table))
        assert values[0] < values[1]
        assert values[3] == 1.0

    def test_the_first_the_second_and_the_last_of_equal_lines_count(self):
        log = with_scores(["error 1", "error 2", "error 3", "error 4", "error 5"], [1.0] * 5)
        values = importance(log.table, log.score, find_blocks(log.table))
        assert [value == 1.0 for value in values.tolist()] == [True, True, False, False, True]


def chosen(
    log: ScoredLog, marks: list[Mark] | None = None, budget: Budget = NO_LIMIT, auto: float = 0.0
) -> list[tuple[int, str]]:
    reduction = select({"": log}, marks or [], budget)
    return sorted((line.number, line.why) for line in reduction.lines)


PLAIN = [f"line {'abcdefghijklmnopqrstuvwxyz'[i // 26]}{'abcdefghijklmnopqrstuvwxyz'[i % 26]} of it" for i in range(400)]


class TestSelect:
    def test_the_most_important_lines_fill_the_budget(self):
        """Wherever they are in the log."""
        log = with_scores(PLAIN[:40], [{1: 3.0, 15: 5.0, 35: 4.0}.get(i, 0.0) for i in range(40)])
        assert [number for number, _ in chosen(log, budget=Budget(lines=3))] == [2, 16, 36]

    def test_of_equal_lines_the_earlier_one_is_chosen(self):
        assert [number for number, _ in chosen(with_scores(PLAIN[:9], [1.0] * 9), budget=Budget(lines=2))] == [1, 2]

    def test_lines_are_ranked(self):
        reduction = select({"": with_scores(PLAIN[:4], [0, 3, 1, 5])}, [], Budget(lines=3))
        assert [line.number for line in reduction.lines] == [4, 2, 3]

    def test_marks_come_first_and_bring_their_neighbours(self):
        log = with_scores(PLAIN[:40], [9.0 if i > 30 else -9.0 for i in range(40)])
        found = dict(chosen(log, [Mark("", 10, "rule"), Mark("", 20, "evidence")], Budget(lines=2)))
        assert found == {10: "rule", 20: "evidence"}
        found = dict(chosen(log, [Mark("", 20, "evidence")], Budget(lines=14)))
        assert {18, 19, 20, 21, 22} <= set(found)
        assert found[18] == "context"

    def test_anomalies_compete_with_what_is_relevant(self):
        """A run that stopped early has hundreds; the lines that look like a failure must find room among them."""
        log = with_scores(PLAIN[:40], [9.0 if i == 30 else 0.0 for i in range(40)])
        marks = [Mark("", number, "anomaly") for number in range(1, 21)]
        found = dict(chosen(log, marks, Budget(lines=3)))
        assert found == {1: "anomaly", 2: "anomaly", 31: "relevant"}

    def test_of_several_marks_the_strongest_counts_with_the_largest_number_of_repeats(self):
        marks = [Mark("", 1, "rare", 40), Mark("", 1, "evidence")]
        line = select({"": with_scores(PLAIN[:1], [0])}, marks, NO_LIMIT).lines[0]
        assert (line.why, line.repeats) == ("evidence", 40)

    def test_a_budget_beats_evidence_and_counts_what_it_pushed_out(self):
        log = with_scores(PLAIN[:30], [0.0] * 30)
        marks = [Mark("", number, "evidence") for number in range(1, 11)]
        assert select({"": log}, marks, Budget(lines=4)).pushed_out == 6
        assert select({"": log}, marks, NO_LIMIT).pushed_out == 0

    def test_without_a_budget_all_evidence_stays(self):
        log = with_scores(PLAIN[:100], [0.0] * 100)
        marks = [Mark("", number, "evidence") for number in range(1, 61)]
        assert sum(why == "evidence" for _, why in chosen(log, marks)) == 60

    def test_without_a_budget_lines_of_no_interest_are_left_out(self):
        log = with_scores(PLAIN, [-5.0] * 370 + [5.0] * 30)
        assert len(chosen(log)) == 30
        assert len(chosen(with_scores(PLAIN, [-5.0] * 400))) == AUTO_LEAST

    def test_marks_of_blank_lines_are_dropped(self):
        assert chosen(with_scores(PLAIN[:1], [0.0]), [Mark("", 7, "evidence")]) == [(1, "relevant")]

    def test_repeats_count_lines_of_the_same_kind(self):
        lines = [*[f"got {i} bytes" for i in range(7)], "done now"]
        reduction = select({"": with_scores(lines, [0.0] * 8)}, [], Budget(lines=8))
        assert {line.number: line.repeats for line in reduction.lines} == {**dict.fromkeys(range(1, 8), 7), 8: 1}

    def test_sources_compete(self):
        logs = {"b": with_scores(PLAIN[:3], [1, 9, 2]), "a": with_scores(PLAIN[:3], [3, 0, 8])}
        reduction = select(logs, [], Budget(lines=2))
        assert [(line.source, line.number) for line in reduction.lines] == [("b", 2), ("a", 3)]

    def test_tokens_limit_the_text(self):
        lines = ["x" * 292, "y" * 292, "z" * 292]
        assert tokens_of(292) == 100
        assert len(chosen(with_scores(lines, [1, 2, 3]), budget=Budget(tokens=200))) == 2
        assert len(chosen(with_scores(lines, [1, 2, 3]), budget=Budget(tokens=1))) == 1

    def test_lines_that_no_good_run_has_come_first(self):
        log = with_scores(PLAIN[:6], [5, 5, 5, 0, 5, 5])
        new = {"": np.arange(6) == 3}
        line = select({"": log}, [], Budget(lines=1), new).lines[0]
        assert (line.number, line.why) == (4, "new")

    @given(
        scores=st.lists(st.floats(-20, 20, width=32), max_size=60),
        marks=st.lists(
            st.builds(Mark, st.just(""), st.integers(1, 70), st.sampled_from(["evidence", "rule", "anomaly", "rare"])),
            max_size=8,
        ),
        lines=st.none() | st.integers(0, 70),
        share=st.none() | st.floats(0.01, 1),
        tokens=st.none() | st.integers(1, 500),
    )
    def test_what_holds_for_every_reduction(self, scores, marks, lines, share, tokens):
        """Within the budget, each line once, the most important first; a budget counts the evidence it left out."""
        log = with_scores(PLAIN[: len(scores)], scores)
        budget = Budget(lines, share, tokens)
        reduction = select({"": log}, marks, budget)
        numbers = [line.number for line in reduction.lines]
        assert len(set(numbers)) == len(numbers)
        assert [line.score for line in reduction.lines] == sorted((line.score for line in reduction.lines), reverse=True)
        marked = {mark.number for mark in marks if mark.why in ("evidence", "rule") and mark.number <= len(scores)}
        assert reduction.pushed_out == len(marked - set(numbers))
        if budget.is_auto:
            assert reduction.pushed_out == 0
        else:
            assert len(numbers) <= budget.most_lines(len(scores))


class TestBudget:
    @pytest.mark.parametrize(
        ("budget", "total", "lines"),
        [
            (NO_LIMIT, 5, 5),
            (NO_LIMIT, 100, AUTO_LEAST),
            (NO_LIMIT, 1000, 100),
            (NO_LIMIT, 10**6, AUTO_MOST),
            (Budget(share=0.05), 1000, 50),
            (Budget(share=0.05), 3, 1),
            (Budget(lines=7), 1000, 7),
            (Budget(lines=7, share=0.001), 1000, 1),
            (Budget(tokens=9), 1000, 1000),
        ],
    )
    def test_lines(self, budget, total, lines):
        assert budget.most_lines(total) == lines


class TestGoodRuns:
    def test_new_gone_and_changed(self, relevance):
        good = GoodRuns()
        for runs in range(2):
            lines = ["start up", *["step went well"] * 9, "all of it ended", *["only sometimes"] * runs]
            good.add({"": scored(relevance, lines)}, Lines({"": lines}))
        lines = ["start up", "step went well", "it broke down", "step went well"]
        log = scored(relevance, lines)
        difference = good.compare({"": log}, Lines({"": lines}))
        assert difference.new[""].tolist() == [False, False, True, False]
        assert difference.gone == ["all of it ended"]
        assert difference.rates == []
        often = ["step went well"] * 90
        more = good.compare({"": scored(relevance, often)}, Lines({"": often}))
        assert more.rates == [(90, 9, "step went well")]

    def test_a_line_is_new_if_more_than_its_numbers_differ(self, relevance):
        """An id with letters is no number: what it stands for may have broken."""
        good, lines = GoodRuns(), ["\x1b[1mpump\x1b[0m 12 at 17:03 uses driver x2a"]
        good.add({"": scored(relevance, lines)}, Lines({"": lines}))
        lines = ["pump 7 at 18:20 uses driver x3a", "pump 7 at 18:20 uses driver x3b"]
        assert good.compare({"": scored(relevance, lines)}, Lines({"": lines})).new[""].tolist() == [False, True]

    def test_new_lines_come_first_and_of_these_the_first_of_each_kind(self):
        log = with_scores([*PLAIN[:4], "pump 1 broke", "pump 2 broke", "belt broke"], [9.0, 0, 0, 0, 2.0, 5.0, 1.0])
        new = np.array([False] * 4 + [True] * 3)
        reduction = select({"": log}, [], Budget(lines=4), {"": new})
        assert [line.number for line in reduction.lines] == [5, 7, 6, 1]

    def test_memory_is_bounded(self, relevance, monkeypatch):
        monkeypatch.setattr("stream_triage.stages.reduce.reference.MOST_KINDS", 3)
        good = GoodRuns()
        good.add({"": scored(relevance, PLAIN[:9])}, Lines({"": PLAIN[:9]}))
        assert good.full


class TestShippedModel:
    @pytest.mark.parametrize("block", [PYTHON_TRACE, JAVA_TRACE, RUST_DIAGNOSTIC])
    def test_a_failure_in_a_log_is_found_whole(self, relevance, block):
        lines = [*PLAIN_LOG[:200], *block, *PLAIN_LOG[200:]]
        found = {number for number, _ in chosen(scored(relevance, lines), budget=Budget(lines=40))}
        assert set(range(201, 201 + len(block))) <= found

    def test_cutting_the_input_changes_nothing(self, relevance):
        lines = [*PLAIN_LOG[:200], *PYTHON_TRACE, "", *PLAIN_LOG[200:]]
        one, many = scored(relevance, lines), scored(relevance, lines, step=7)
        assert np.allclose(one.score, many.score, atol=1e-4)
        assert np.array_equal(one.number, many.number)

    def test_reasons_are_given(self, relevance):
        lines = [*PLAIN_LOG, *PYTHON_TRACE, "The command exited with 2."]
        log = scored(relevance, lines)
        line = next(x for x in select({"": log}, [], Budget(lines=20)).lines if x.number == len(lines) - 1)
        reasons = Explainer(log).reasons(line, lines[-2])
        assert any("before a failed exit" in reason for reason in reasons)
        assert any("Error" in reason for reason in reasons)

    def test_every_line_has_a_reason(self, relevance):
        log = scored(relevance, PLAIN_LOG)
        explainer = Explainer(log)
        for line in select({"": log}, [], NO_LIMIT).lines:
            assert explainer.reasons(line, PLAIN_LOG[line.number - 1])


def test_the_reducer_reads_the_text_of_a_run(relevance):
    reducer = Reducer(relevance)
    logs = reducer.score(Lines({"a": PLAIN_LOG, "b": PYTHON_TRACE}), ["a", "b"])
    assert logs["a"].lines == len(PLAIN_LOG)
    assert {line.source for line in reducer.reduce(logs, budget=Budget(lines=5)).lines} >= {"b"}


def test_incomplete_profile_is_rejected():
    with pytest.raises(BundleError, match=r"reducer.json .* invalid field"):
        ReducerProfile.from_file({"rare": []})
