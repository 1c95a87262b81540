"""The benchmarks run through on a corpus of a few kilobytes; their figures are not checked."""

import importlib
import io
import json
import lzma
import tarfile
from pathlib import Path

import pytest
import zstandard

from benchmarks import edge, page
from benchmarks.cases import CASES, STAGES, run_case
from benchmarks.corpora import lines_of, read_corpus, write_corpora
from benchmarks.cut_oracle import tm500_outstanding
from benchmarks.stopwatch import Stopwatch, kept_bytes
from benchmarks.throughput import in_new_process, main
from stream_triage.bundle import write_bundle
from tests.corpus import make_run, tiny_bundle

CI_LOGS = [b"travis_fold:start\r\x1b[0Kbuild 7\n" * 20, b"\x1b[32mok\x1b[0m 12 tests\n" * 30, b"never read\n"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with tiny versions of the two files that the benchmarks read."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("ran", "ci"):
        (folder / name).mkdir()
    rows = []
    for seed, label in enumerate(("Pass", "L2", "L3")):
        run = make_run(label, seed)
        rows.append(json.dumps({"cu": "", "du": run.sources["gnb"].decode(), "ue": run.sources["ue"].decode()}))
    with lzma.open(folder / "ran" / "oai_rfsim_runs.jsonl.xz", "wt") as file:
        file.write("\n".join(rows))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        folder_member = tarfile.TarInfo("logs")
        folder_member.type = tarfile.DIRTYPE
        archive.addfile(folder_member)
        for number, log in enumerate(CI_LOGS):
            member = tarfile.TarInfo(f"logs/{number}.log")
            member.size = len(log)
            archive.addfile(member, io.BytesIO(log))
    compressor = zstandard.ZstdCompressor()
    (folder / "ci" / "bugswarm_travis_gha_logs.tar.zst").write_bytes(compressor.compress(packed.getvalue()))
    return folder


@pytest.fixture(scope="module")
def corpora(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    write_corpora(data, folder, ci_lines=50, large_bytes=3_000)
    return folder


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    tiny = tiny_bundle()
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, tiny.card, {name: tiny.data(name) for name in tiny.card.files})
    return str(folder)


def test_corpora_are_cut_to_size(corpora: Path) -> None:
    """Every OAI run is there once, CI logs have the given number of lines, large corpora repeat runs up to their size."""
    assert [sorted(run) for run in read_corpus(corpora / "oai")] == [["du", "ue"]] * 3
    assert [len(lines_of(run["log"])) for run in read_corpus(corpora / "ci")] == [40, 10]
    for name in ("large-oai", "large-ci"):
        sizes = [sum(map(len, run.values())) for run in read_corpus(corpora / name)]
        assert sum(sizes[:-1]) < 3_000 <= sum(sizes)
    assert len(list(read_corpus(corpora / "large-oai"))) > 3


def test_every_case_counts_the_same_lines(corpora: Path, bundle_folder: str) -> None:
    """All cases of a corpus read the same lines, and the stages add up to the whole time."""
    measured = {name: run_case(name, corpora, bundle_folder) for name in CASES}
    lines = {"oai": set(), "ci": set(), "large-oai": set(), "large-ci": set()}
    for name, (_, corpus) in CASES.items():
        lines[corpus].add(measured[name].lines)
    assert lines["ci"] == {50}
    assert all(len(counts) == 1 for counts in lines.values())
    for name in ("stages, OAI", "stages, CI"):
        assert tuple(measured[name].stages) == STAGES
        assert sum(measured[name].stages.values()) == pytest.approx(measured[name].seconds)
        assert all(seconds >= 0 for seconds in measured[name].stages.values())
    assert measured["one large run, CI"].note.startswith("verdict ")
    assert measured["command line, OAI"].runs == 3
    assert {"source du", "source ue", "spool"} == set(measured["whole path, OAI"].kept)


def test_new_process_measures_the_same_case(corpora: Path, bundle_folder: str) -> None:
    """It counts the same lines, bytes and runs as this process."""
    own = in_new_process("whole path, CI", corpora, bundle_folder)
    here = run_case("whole path, CI", corpora, bundle_folder)
    assert (own.lines, own.bytes, own.runs) == (here.lines, here.bytes, here.runs)


def test_page_has_every_case_and_stage(
    data: Path, bundle_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page that is printed is also written, with a row for each of them."""
    out = tmp_path / "results" / "throughput.md"
    arguments = ["--data", str(data), "--bundle", bundle_folder, "--out", str(out)]
    assert main(arguments, run=run_case, ci_lines=50, large_bytes=3_000) == 0
    page = out.read_text()
    assert capsys.readouterr().out == page
    for row in (*(name for name in CASES if not name.startswith("stages")), *STAGES):
        assert f"\n| {row} |" in page


def test_missing_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and a message that says how to name it."""
    monkeypatch.delenv("STREAM_TRIAGE_DATA", raising=False)
    for arguments in ([], ["--data", str(tmp_path)]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "--data DIR or STREAM_TRIAGE_DATA" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cuts", "edge", "live", "models", "page", "shipper", "stream", "throughput"])
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each benchmark describes itself and its options instead of starting to measure."""
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: python -m benchmarks.{name} " in shown
    assert "\nMeasures " in shown


def test_nested_calls_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time in a timed call within a timed call counts only for the inner one."""
    clock = iter([0.0, 1.0, 5.0, 7.0])
    monkeypatch.setattr("benchmarks.stopwatch.perf_counter", lambda: next(clock))
    watch = Stopwatch()
    inner = watch.timed("inner", lambda: "result")
    assert watch.timed("outer", inner)() == "result"
    assert watch.seconds == {"inner": 4.0, "outer": 3.0}


def test_kept_bytes_counts_each_object_once() -> None:
    """Also if it is referred to twice or within another one."""
    text = "x" * 1000
    assert 2 * len(text) > kept_bytes([text, text]) > len(text)
    assert kept_bytes({"a": [text]}) > len(text)


@pytest.mark.slow
def test_models_page_has_every_part(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the shipped bundle, whose networks are measured, and texts of a few lines."""
    from benchmarks import models

    out = tmp_path / "models.md"
    arguments = ["--data", str(data), "--out", str(out)]
    assert models.main(arguments, characters=(300, 600), peek_lines=50) == 0
    page = out.read_text()
    assert capsys.readouterr().out == page
    for row in ("charcnn, cold, CI", "charcnn, warm, OAI", "terms, cold, OAI", "plain network of equal size, CI"):
        assert f"\n| {row} |" in page
    for row in ("plain, OAI", "next key, CI", "first tenth", "last tenth"):
        assert f"\n| {row} |" in page


@pytest.mark.slow
def test_runs_are_judged_within_limits(tmp_path: Path) -> None:
    """All runs get a verdict, with the limits and without; a limit that is too low is reported as a failure."""
    assert edge.main(["--runs", "20", "--long-bytes", "2000000", f"--out={tmp_path / 'edge.md'}"]) == 0
    rows = [line for line in (tmp_path / "edge.md").read_text().splitlines() if "one core" in line or "no limits |" in line]
    assert len(rows) == 5  # the heading, and two rows for each of two inputs
    log = tmp_path / "a.log"
    log.write_bytes(b"one line\n")
    with pytest.raises(SystemExit, match="ended with status"):
        edge.judge_limited(log, tmp_path, 60 << 20)


@pytest.mark.slow
def test_pages_are_timed(tmp_path: Path) -> None:
    """Every page is asked for, of a small store and a short run."""
    assert page.main(["--runs", "50", "--lines", "3000", f"--out={tmp_path / 'page.md'}"]) == 0
    rows = [line for line in (tmp_path / "page.md").read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == 11
    assert "| runs: 50 | /runs | " in rows[2]
    assert "| one run: 2,372 lines | /run | " in "".join(rows)


STAMP = "07/03/24 10:00:0"
RUN = [
    f"{STAMP}0:000\tRSET",
    f"{STAMP}0:100\tC: RSET 0x00 Ok",
    f"{STAMP}1:000\tforw mte Activate -1",
    f"{STAMP}1:100\tC: FORW 0x00 Ok MTE ACTIVATE: RETURN CODE:0 SUCCEEDED",
    f'{STAMP}2:000\tWAIT FOR "NR REGISTRATION IND" TIMEOUT 30',
    f"{STAMP}3:000\tI: CMPI MTE 0 NR CONNECTION IND:UE Id:0",
    f"{STAMP}4:000\tI: CMPI MTE 0 NR REGISTRATION IND:UE Id:0",
    "   Selected PLMN: 00101F",
]


@pytest.mark.parametrize(
    ("kept", "outstanding"),
    [(1, ["command"]), (2, []), (3, ["command"]), (4, []), (5, ["wait"]), (6, ["wait", "procedure"]), (7, ["record"])],
)
def test_oracle_of_cuts(kept: int, outstanding: list[str]) -> None:
    """What was begun before a cut and is answered after it is outstanding."""
    assert tm500_outstanding(RUN, kept) == outstanding
