"""Fitting the relevance model, the logs that it learns from, and the benchmark of the reduction."""

import io
import json
import random
import tarfile

import numpy as np
import pytest
import zstandard

from stream_triage import Bundle, BundleError, Triage
from stream_triage.bundle import Card, write_bundle
from tests.reduction import PLAIN_LOG, PYTHON_TRACE
from training import reduction_benchmark, relevance
from training.ci_logs import CiLog, read_bugswarm, read_logchunks, split_projects
from training.data import CorpusError
from training.fit.relevance import fit_relevance, relevance_of, scores_of
from training.planted import HELD_OUT, KINDS, TRAINING, plant
from training.relevance import foreign, planted_logs


def plain_log(number: int, project: str) -> CiLog:
    rng = random.Random(number)
    lines = [line for line in PLAIN_LOG if rng.random() < 0.8]
    return CiLog(f"{project}/{number}", project, lines, np.zeros(len(lines), dtype=bool), len(lines))


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """A small model, fitted to planted failures."""
    logs = [plain_log(number, f"project {number % 6}") for number in range(36)]
    return fit_relevance(planted_logs(logs, list(TRAINING), random.Random(1)), 0)


class TestFit:
    def test_failures_of_unknown_tools_are_found(self, files):
        """In another log, with wordings that were not there to learn from; far better than by chance, which would be 5 %."""
        model = relevance_of(files)
        kept = []
        for log in planted_logs([plain_log(number, "new") for number in range(100, 118)], list(HELD_OUT), random.Random(2)):
            best = np.argsort(-scores_of(model, log))[: len(log.lines) // 20]
            kept.append(log.relevant[best].sum() / log.relevant.sum())
        assert np.mean(kept) > 0.7

    def test_fitting_again_gives_the_same_model(self, files):
        logs = [plain_log(number, f"project {number % 6}") for number in range(36)]
        assert fit_relevance(planted_logs(logs, list(TRAINING), random.Random(1)), 0) == files

    def test_a_bundle_without_classifier_is_written_and_opened(self, files, tmp_path):
        card = Card(
            name="small",
            version="1",
            masking_version=1,
            classifiers={},
            detectors=(),
            review_below_confidence=0,
            review_below_known_share=0,
            files={},
        )
        write_bundle(tmp_path / "small", card, files)
        verdict = Triage(Bundle.open(tmp_path / "small")).run("\n".join([*PLAIN_LOG, *PYTHON_TRACE]))
        assert verdict.label == "unknown"
        assert {line.number for line in verdict.reduction} >= set(range(361, 367))

    def test_a_bundle_without_classifier_has_no_labels(self, files, tmp_path):
        write_bundle(tmp_path / "b", Card.model_construct(**_card_fields(labels=("a", "b"))), files)
        with pytest.raises(BundleError, match="no labels"):
            Bundle.open(tmp_path / "b")

    def test_lines_without_text_have_no_score(self, files):
        log = CiLog("a", "a", ["x", "", "y"], np.zeros(3, dtype=bool), 2)
        assert np.isneginf(scores_of(relevance_of(files), log)).tolist() == [False, True, False]


def _card_fields(**changes):
    fields = {
        "name": "b",
        "version": "1",
        "masking_version": 1,
        "classifiers": {},
        "detectors": (),
        "review_below_confidence": 0,
        "review_below_known_share": 0,
        "files": {},
    }
    return fields | changes


class TestPlanted:
    @pytest.mark.parametrize("kind", sorted(KINDS))
    def test_the_failure_is_where_it_is_said_to_be(self, kind):
        planted = plant(PLAIN_LOG, kind, random.Random(3))
        assert [*planted.lines[: planted.first], *planted.lines[planted.last + 1 :]] == PLAIN_LOG
        assert planted.last > planted.first
        assert len(PLAIN_LOG) // 10 <= planted.first <= 9 * len(PLAIN_LOG) // 10

    def test_tools_of_tests_are_not_those_of_training(self):
        assert not set(TRAINING) & set(HELD_OUT)

    def test_a_foreign_log_has_no_line_of_its_host(self):
        lines = ["travis_fold:start:a", "compiling", "error: x", 'The command "make" exited with 2.']
        log = CiLog("a", "a", lines, np.array([False, False, True, False]), 4)
        (made,) = foreign([log], [plain_log(1, "b")], random.Random(1))
        assert made.lines[:2] == ["compiling", "error: x"]
        assert len(made.lines) > 2
        assert made.relevant.tolist() == [False, True, *[False] * (len(made.lines) - 2)]


def _tar(members: dict[str, bytes], mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class TestArchives:
    def test_labelled_logs(self, tmp_path):
        """Lines are numbered by line feeds; steps of a progress bar are lines, and do not enlarge a budget."""
        rows = [
            {"log": "C/a@b/1.log", "first_line": 3, "last_line": 4, "category": "1"},
            {"log": "C/a@b/2.log", "first_line": None, "last_line": None, "category": "0"},
        ]
        members = {
            "logchunks/labels.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode(),
            "logchunks/samples/C/a@b/1.log": b"start\r\n1 %\r2 %\r3 %\r\nerror: x\r\nhere\r\n\r\nend\n",
            "logchunks/samples/C/a@b/2.log": b"x\n",
        }
        path = tmp_path / "logchunks.tar.xz"
        path.write_bytes(_tar(members, "w:xz"))
        (log,) = read_logchunks(path)
        assert [line for line, relevant in zip(log.lines, log.relevant, strict=True) if relevant] == ["error: x", "here"]
        assert (log.project, log.whole_lines, log.category) == ("C/a@b", 5, "1")

    def test_logs_of_builds_that_passed(self, tmp_path):
        passed = b"compiling\nDone. Your build exited with 0.\n"
        actions = b"2022-06-21T18:31:58.7762557Z ##[group]Run\n2022-06-21T18:31:59.0000000Z done\n"
        members = {"a/1.log": passed, "a/2.log": passed.replace(b"0.", b"1."), "a/3.log": actions, "a/4.txt": passed}
        path = tmp_path / "swarm.tar.zst"
        path.write_bytes(zstandard.compress(_tar(members, "w")))
        logs = {log.name: log for log in read_bugswarm(path, 4, 0)}
        assert set(logs) == {"a/1.log", "a/3.log"}
        assert logs["a/3.log"].lines[:2] == ["##[group]Run", "done"]

    @pytest.mark.parametrize("read", [read_logchunks, lambda path: read_bugswarm(path, 1, 0)])
    def test_a_missing_or_damaged_archive_is_named(self, tmp_path, read):
        with pytest.raises(CorpusError, match=r"cannot be read"):
            read(tmp_path / "none")
        (tmp_path / "bad").write_bytes(b"no archive")
        with pytest.raises(CorpusError, match=r"cannot be read"):
            read(tmp_path / "bad")

    def test_a_project_is_on_one_side(self):
        logs = [plain_log(number, f"p{number % 40}") for number in range(80)]
        train, test = split_projects(logs)
        assert len({log.project for log in test}) == 20
        assert not {log.project for log in train} & {log.project for log in test}


class TestBenchmark:
    CASE = reduction_benchmark._case(
        CiLog("a", "a", ["a 1", "", "a 2", "error b", *["x"] * 20], np.array([False, False, False, True, *[False] * 20]), 23)
    )

    @pytest.mark.parametrize(
        ("method", "best"),
        [("tail", 22), ("grep −3/+8", 10), ("distinct lines", 3), ("rare structure", 2)],
    )
    def test_simple_methods(self, method, best):
        """The line that each of them prints first, counted without those that have no text."""
        assert int(reduction_benchmark.SIMPLE[method](self.CASE, 1).argmax()) == best

    def test_what_is_kept(self):
        assert reduction_benchmark._kept(self.CASE, reduction_benchmark._oracle, 1) == (1.0, True)
        assert reduction_benchmark._kept(self.CASE, reduction_benchmark.SIMPLE["tail"], 20) == (0.0, False)

    def test_the_commands_explain_themselves(self, capsys):
        for command in (reduction_benchmark.main, relevance.main):
            with pytest.raises(SystemExit):
                command(["--help"])
        assert "--data" in capsys.readouterr().out
