"""Training from a user's folder of logs, end to end, and what is rejected before time is spent."""

import bz2
import gzip
import io
import json
import lzma
import multiprocessing
import re
import shutil
import sys
import tarfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from stream_triage import Bundle, Triage
from stream_triage.records import Chunk
from stream_triage.settings import InputSettings
from stream_triage.sources.file import FileSource
from tests.corpus import make_run, runs, write_logs
from training.data import CorpusError, LabelledRun, fingerprint, read_folder, read_oai
from training.splits import cross_folds
from training.train import main, use_one_thread


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """36 runs in folders with a CSV file of labels: enough to train, too few for a macro-F1."""
    return make_corpus(tmp_path, 36)


@pytest.fixture
def large_corpus(tmp_path: Path) -> Path:
    """300 runs, of which 20 of each label are held out."""
    return make_corpus(tmp_path, 300)


def make_corpus(folder: Path, count: int) -> Path:
    write_logs(folder / "logs", runs(count))
    rows = [f"{run.run_id},{run.label},g{i}" for i, run in enumerate(runs(count))]
    (folder / "labels.csv").write_text("\n".join(["run,label,group", *rows]) + "\n")
    return folder


def train(corpus: Path, *more: str) -> int:
    names = ["--logs", str(corpus / "logs"), "--labels", str(corpus / "labels.csv"), "--out", str(corpus / "mine")]
    return main([*names, "--seeds", "2", "--models", "baseline", *more])


def threads_of_linear_algebra(_: int) -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info()]


def test_parallel_trainings_use_one_thread_each() -> None:
    """The limit reaches libraries that were loaded before the processes were forked."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork"), initializer=use_one_thread) as processes:
        (threads,) = processes.map(threads_of_linear_algebra, range(1))
    assert threads
    assert set(threads) == {1}


def test_own_logs_become_a_bundle_that_judges(large_corpus: Path) -> None:
    """One command makes a bundle with card, checksums and held-out scores, and it judges new runs rightly."""
    assert train(large_corpus) == 0
    bundle = Bundle.open(large_corpus / "mine")
    assert bundle.card.name == "mine"
    assert set(bundle.card.labels) == {"Pass", "L2", "L3"}
    assert bundle.card.labels[0] == bundle.card.passing_label == "Pass"
    scores = bundle.card.scores["group"]
    assert len(scores["macro_f1"]["values"]) == 2
    assert sum(int(row["found"].split(" of ")[1]) for row in scores["first_seed"]["per_label"].values()) == 60
    assert min(scores["macro_f1"]["values"]) > 0.95
    triage = Triage(bundle)
    for label in ("Pass", "L2", "L3"):
        session = triage.session("new")
        for source, data in make_run(label, 5000).sources.items():
            session.feed(data, source)
        assert session.close().label == label


def test_training_twice_gives_the_same_bundle(corpus: Path) -> None:
    """Same runs, same seed: same files."""
    assert train(corpus) == 0
    first = {path.name: path.read_bytes() for path in (corpus / "mine").iterdir() if path.suffix == ".json"}
    assert train(corpus) == 0
    assert first == {path.name: path.read_bytes() for path in (corpus / "mine").iterdir() if path.suffix == ".json"}


def test_no_secret_of_the_training_runs_is_in_the_bundle(corpus: Path) -> None:
    """Identities in training text are redacted before anything is learned from it."""
    for path in sorted((corpus / "logs").glob("*/ue.log")):
        path.write_text(path.read_text() + "SIM IMSI=001019876543210 opc=8baf473f2f8fd09487cccbd7097c6862\n")
    assert train(corpus) == 0
    for path in (corpus / "mine").iterdir():
        assert b"9876543210" not in path.read_bytes()
        assert b"8baf473f" not in path.read_bytes()
    assert "<imsi>" in (corpus / "mine" / "templates.json").read_text()


def keep_labelled(corpus: Path, labels: str) -> None:
    """Writes the labels file, and removes the logs that it does not name."""
    (corpus / "labels.csv").write_text(labels)
    named = {line.split(",")[0] for line in labels.splitlines()[1:]}
    for run in (corpus / "logs").iterdir():
        if run.name not in named:
            shutil.rmtree(run)


def test_a_log_without_label_is_named(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log that the labels file does not name is rejected: it was probably forgotten."""
    labels = (corpus / "labels.csv").read_text().splitlines()
    (corpus / "labels.csv").write_text("\n".join(labels[:-1]) + "\n")
    assert train(corpus) == 2
    assert f"{corpus / 'logs' / 'run-35'} has no label in" in capsys.readouterr().err


SPLIT = "run,label,split_new,group_new\nrun-0,Pass,{},a\nrun-1,L2,{},b\nrun-3,Pass,{},c\nrun-4,L2,{},d\n"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("train", "train", "test", "train"), "split_new has no run of label 'L2' in its test part"),
        (("train", "test", "test", "test"), "split_new has no run of label 'L2' in its training part"),
        (("train", "train", "test", ""), "line 5: split_new is ''; write train, validation or test"),
        (("train", "dev", "test", "test"), "line 3: split_new is 'dev'; write train, validation or test"),
    ],
)
def test_a_split_that_cannot_be_scored_is_named(corpus: Path, parts: tuple[str, ...], message: str) -> None:
    """Every label must be in the training and in the test part, and every run in a part."""
    keep_labelled(corpus, SPLIT.format(*parts))
    with pytest.raises(CorpusError, match=re.escape(message)):
        read_folder(corpus / "logs", corpus / "labels.csv")


def test_a_predefined_split_is_kept(large_corpus: Path) -> None:
    """Whatever the seed, the test part is the one of the labels file, and the card names it."""
    rows = (large_corpus / "labels.csv").read_text().splitlines()
    parts = [f"{row},{'test' if i % 4 == 0 else 'validation' if i % 4 == 1 else 'train'}" for i, row in enumerate(rows[1:])]
    (large_corpus / "labels.csv").write_text("\n".join([rows[0] + ",split_ours", *parts]) + "\n")
    assert train(large_corpus) == 0
    card = Bundle.open(large_corpus / "mine").card
    assert card.training["split"] == "the test part of split_ours held out, seed 0"
    assert card.training["runs"] == 225
    assert card.scores["ours"]["first_seed"]["runs"] == 75


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("name,label\nrun-0,Pass\n", "needs a first line with the columns run,label"),
        ("run,label\nrun-0,Pass\nrun-0,L2\n", "run run-0 has two labels, Pass and L2"),
        ("run,label\nrun-0,\n", "run or label is empty"),
        ("run,label\nrun-0,unknown\n", "no bundle is trained on the label 'unknown'"),
        ("run,label\n", "names no run"),
        ("run,label\nrun-999,Pass\n", "run run-999 of the labels file is neither a file nor a folder"),
        ("run,label\nrun-0,Good\nrun-1,L2\n", "no run has the passing label 'Pass'"),
        ("run,label\nrun-0,Pass\nrun-3,Pass\n", "all runs have one label"),
        (
            "run,label\nrun-0,Pass\nrun-3,Pass\nrun-1,L2\n",
            "label 'L2' has 1 run, near-duplicates counted once; training needs 5 of each label",
        ),
    ],
)
def test_bad_labels_are_named_in_one_sentence(
    corpus: Path, capsys: pytest.CaptureFixture[str], labels: str, message: str
) -> None:
    """The command ends with exit 2 and one line on stderr that begins with `error:`."""
    keep_labelled(corpus, labels)
    assert train(corpus) == 2
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert error.startswith("error: ")
    assert message in error


def test_a_folder_without_logs_is_named(corpus: Path) -> None:
    """An empty folder is not a run."""
    (corpus / "logs" / "empty").mkdir()
    (corpus / "labels.csv").write_text("run,label\nempty,Pass\n")
    with pytest.raises(CorpusError, match="run empty is a folder without files"):
        read_folder(corpus / "logs", corpus / "labels.csv")


def read_one(folder: Path, name: str = "r") -> LabelledRun:
    """The run `name` of the logs in `folder`."""
    (folder / "labels.csv").write_text(f"run,label\n{name},Pass\n")
    (run,) = read_folder(folder, folder / "labels.csv")
    return run


def served(folder: Path, by: str) -> dict[str, bytes]:
    """The bytes of each source that `stream-triage run` reads."""
    sources: dict[str, bytes] = {}

    def take(event: object) -> None:
        if isinstance(event, Chunk):
            sources[event.source] = sources.get(event.source, b"") + event.data

    FileSource([folder], InputSettings(run_by="folder" if by == "folder" else "file")).run(take)
    return sources


FILES = {
    "ue.1.log": b"first device\n",
    "ue.2.log": b"second device\n",
    "du.log": b"newest\n",
    "du.log.1": b"older\n",
    "du.log.2.gz": gzip.compress(b"oldest\n", mtime=0),
    "cu.txt": "\ufeffgrün\r\n".encode("utf-16-le"),
    "core.log": b"\xef\xbb\xbfmarked\n",
    "core": b"bare\n",
    "amf.log.bz2": bz2.compress(b"packed\n"),
    "empty.log": b"",
    ".hidden.log": b"no\n",
}


def test_folder_is_read_as_it_is_served(tmp_path: Path) -> None:
    """Devices stay separate, rotated parts are read oldest first, packed files are unpacked."""
    (tmp_path / "r" / "deeper").mkdir(parents=True)
    for name, data in FILES.items():
        (tmp_path / "r" / name).write_bytes(data)
    read = read_one(tmp_path).sources
    assert read == {
        "amf": b"packed\n",
        "core": b"bare\n",
        "core.log": b"\xef\xbb\xbfmarked\n",
        "cu": "\ufeffgrün\r\n".encode("utf-16-le"),
        "du": b"oldest\nolder\nnewest\n",
        "empty": b"",
        "ue.1": b"first device\n",
        "ue.2": b"second device\n",
    }
    assert read == served(tmp_path / "r", "folder")
    assert list(read) == list(served(tmp_path / "r", "folder"))


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith(".")])
def test_file_is_read_as_it_is_served(tmp_path: Path, name: str) -> None:
    """A file alone is a run with one source without a name."""
    (tmp_path / name).write_bytes(FILES[name])
    assert read_one(tmp_path, name).sources == served(tmp_path / name, "file")


def test_a_part_without_a_last_line_end_does_not_run_into_the_next(tmp_path: Path) -> None:
    """A line end is added between the parts of a rotated log, but not twice."""
    (tmp_path / "r").mkdir()
    for name, data in {"du.log.3": b"", "du.log.2": b"a", "du.log.1": b"b\r\n", "du.log": b"c"}.items():
        (tmp_path / "r" / name).write_bytes(data)
    assert read_one(tmp_path).sources == {"du": b"a\nb\r\nc"}


def packed(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("capture.log", b"\xd4\xc3\xb2\xa1" + bytes(200), "capture.log is a packet capture"),
        ("du.log.gz", gzip.compress(b"text\n" * 99, mtime=0)[:-9], "du.log.gz cannot be read: the gz data ends early"),
        ("logs.tar.gz", packed("ue.log", b"text\n"), "logs.tar.gz is an archive; unpack it"),
    ],
)
@pytest.mark.parametrize("folder", ["", "r/"])
def test_a_file_that_is_not_text_is_named(tmp_path: Path, name: str, data: bytes, message: str, folder: str) -> None:
    """Whether the file is a run itself or in the folder of a run."""
    (tmp_path / "r").mkdir()
    (tmp_path / folder / name).write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        read_one(tmp_path, "r" if folder else name)


def test_own_patterns_hide_their_secrets_from_the_bundle(corpus: Path) -> None:
    """With the settings file that will serve, nothing that its patterns match is learned."""
    for path in sorted((corpus / "logs").glob("*/ue.log")):
        path.write_text(path.read_text() + "badge Quetzal shown\n")
    (corpus / "my.toml").write_text('[[redaction.patterns]]\nname = "badge"\npattern = "badge (?P<secret>[A-Za-z]+)"\n')
    assert train(corpus) == 0
    learned = [path.name for path in (corpus / "mine").iterdir() if b"quetzal" in path.read_bytes().lower()]
    assert {"templates.json", "terms.json"} <= set(learned)
    assert train(corpus, "--config", str(corpus / "my.toml")) == 0
    for path in (corpus / "mine").iterdir():
        assert b"quetzal" not in path.read_bytes().lower()
    assert "badge <badge> shown" in (corpus / "mine" / "templates.json").read_text()


def only_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "none.csv"], "none.csv cannot be read: No such file or directory; name the CSV file with --labels"),
        (["--labels", "."], ". cannot be read: Is a directory"),
        (["--labels", "utf16.csv"], "utf16.csv is not UTF-8 text"),
        (["--logs", "none"], "none is not a folder; name the folder of logs with --logs"),
        (["--config", "none.toml"], "settings file none.toml does not exist"),
        (["--config", "bad.toml"], "redaction pattern 'badge' is not a regular expression"),
        (["--out", "logs"], "logs is not empty and holds no bundle"),
        (["--out", "labels.csv"], "labels.csv cannot take a bundle: Not a directory"),
        pytest.param(
            ["--track", "nonsense://x"], "MLflow cannot use the store nonsense://x", marks=pytest.mark.slow, id="mlflow"
        ),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """A path, a settings file or a store that cannot be used ends the command before anything is written."""
    monkeypatch.chdir(corpus)
    Path("utf16.csv").write_bytes("run,label\n".encode("utf-16"))
    Path("bad.toml").write_text('[[redaction.patterns]]\nname = "badge"\npattern = "("\n')
    assert train(corpus, *arguments) == 2
    assert message in only_error(capsys)
    assert not (corpus / "mine").exists()


def test_tracking_without_mlflow_names_the_remedy(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without MLflow the message says how to install it, or how to do without."""
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert train(corpus, "--track") == 2
    message = only_error(capsys)
    assert "MLflow is not installed; run `make setup-training`" in message
    assert "or leave --track out" in message


def test_networks_without_torch_name_the_remedy(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without torch the command ends before the runs are read."""
    monkeypatch.setitem(sys.modules, "torch", None)
    assert train(corpus, "--models", "all") == 2
    assert "torch is not installed; run `make setup-training`" in only_error(capsys)


@pytest.mark.parametrize("data", [b"no xz", lzma.compress(b"{}\n"), lzma.compress(b"{"), lzma.compress(b"{}\n" * 99)[:-9]])
def test_damaged_corpus_is_named(tmp_path: Path, data: bytes) -> None:
    """A file that is no xz file, ends early, or holds other JSON raises an error with its name."""
    (tmp_path / "oai.jsonl.xz").write_bytes(data)
    with pytest.raises(CorpusError, match=r"oai\.jsonl\.xz cannot be read as runs"):
        read_oai(tmp_path / "oai.jsonl.xz")


def few(corpus: Path, a_label: int, group_of: str = "{i}") -> None:
    """Leaves this many runs for each of the three labels."""
    rows = [f"run-{i},{run.label},{group_of.format(i=i, half=i // 6)}" for i, run in enumerate(runs(3 * a_label))]
    keep_labelled(corpus, "\n".join(["run,label,group", *rows]) + "\n")


@pytest.mark.parametrize(("a_label", "group_of", "count"), [(3, "{i}", 3), (4, "{i}", 4), (8, "g{half}", 4)])
def test_too_few_runs_for_the_folds_are_reported_before_time_is_spent(
    corpus: Path, capsys: pytest.CaptureFixture[str], a_label: int, group_of: str, count: int
) -> None:
    """Near-duplicates count once: eight runs in four groups are four."""
    few(corpus, a_label, group_of)
    assert train(corpus) == 2
    assert f"has {count} runs, near-duplicates counted once; training needs 5 of each label" in only_error(capsys)


@pytest.mark.parametrize(("a_label", "group_of"), [(5, "{i}"), (10, "g{half}")])
def test_the_fewest_runs_allowed_do_train(corpus: Path, a_label: int, group_of: str) -> None:
    """Five groups of each label are enough for a bundle, without a warning."""
    few(corpus, a_label, group_of)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(corpus, "--seeds", "5") == 0
    assert len(Bundle.open(corpus / "mine").card.labels) == 3


def test_a_rare_label_raises_no_warning() -> None:
    """A label with fewer groups than folds is expected and silent."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(cross_folds(["Pass"] * 20 + ["L2"] * 2, [str(i) for i in range(22)], 0))) == 5


def test_fingerprint_depends_on_the_runs_and_not_on_their_order() -> None:
    """A missing run changes it, another order does not."""
    some = list(runs(6))
    assert fingerprint(some) == fingerprint(reversed(some))
    assert fingerprint(some) != fingerprint(some[:-1])


def test_small_corpora_get_no_macro_f1(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a handful of runs for a label the card has accuracy and "k of n", and no misleading F1."""
    rows = (corpus / "labels.csv").read_text().splitlines()[:31]
    keep_labelled(corpus, "\n".join(rows) + "\n")
    assert train(corpus) == 0
    assert "no label has 20 held-out runs" in capsys.readouterr().err
    assert json.loads((corpus / "mine" / "card.json").read_text())["scores"]["group"]["macro_f1"]["mean"] is None


@pytest.mark.slow
def test_training_is_tracked_in_mlflow(large_corpus: Path) -> None:
    """With --track the scores of each seed are in the MLflow store."""
    import mlflow

    uri = f"sqlite:///{large_corpus / 'track.db'}"
    assert train(large_corpus, "--track", uri) == 0
    mlflow.set_tracking_uri(uri)
    tracked = mlflow.search_runs(search_all_experiments=True, output_format="list")
    card = json.loads((large_corpus / "mine" / "card.json").read_text())
    assert len(tracked) == 1
    assert tracked[0].data.metrics["group/macro_f1"] == pytest.approx(
        card["scores"]["group"]["macro_f1"]["values"][-1], abs=1e-4
    )


def test_expected_keys_are_those_of_nearly_all_passing_runs(corpus: Path) -> None:
    """Keys are counted by runs, not by lines, and listed in the order in which passing runs show them."""
    assert train(corpus) == 0
    bundle = Bundle.open(corpus / "mine")
    texts = {row["key"]: row["template"] for row in bundle.json("templates.json")["templates"]}
    expected = [texts[key] for key in bundle.json("detector.json")["expected"]]
    assert {"uesim starting", "RRC setup complete", "registration accept", "session up", "context released"} <= set(expected)
    assert not any("retransmissions" in text or "reject" in text for text in expected)
    assert expected.index("RRC setup complete") < expected.index("registration accept") < expected.index("session up")
