"""Which texts are the same run, from outside: `run` on files, pipes, folders and archives, then other commands."""

import os
import tarfile
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from tests.commands import call, everything_kept, spawned
from tests.corpus import make_run, whole_run

HEAD = b"uesim a line that every log begins with\n" * 150
GOOD, BAD = HEAD + whole_run(), HEAD + whole_run("L3", 2)


@pytest.fixture(autouse=True)
def _here(workplace):
    """Each test works in an empty folder, with the tiny bundle."""


def digits(content: bytes) -> str:
    return sha256(content).hexdigest()[:8]


def stored() -> list[str]:
    """Ids of all stored runs, oldest first."""
    return [row["run_id"] for row in reversed(call("runs", "--json", "--limit", "1000").json)]


class TestFiles:
    def test_reused_path(self, write):
        """The next test writes its log over the last one: two runs, of which each keeps verdict and text."""
        for content in (GOOD, BAD):
            write("a.log", content)
            call("run", "a.log")
        assert stored() == [f"a.log#{digits(GOOD)}", f"a.log#{digits(BAD)}"]
        assert call("show", digits(GOOD), "--json").json["label"] == "Pass"
        assert call("show", digits(BAD), "--json").json["label"] == "L3"
        assert call("show", digits(GOOD), "--full").out != call("show", digits(BAD), "--full").out

    def test_reading_again(self, write):
        """Nothing changes; `--again` replaces the verdict of the run, and adds none."""
        write("a.log", BAD)
        first = call("run", "a.log", "--jsonl").jsonl[0]
        call("run", "a.log")
        assert call("show", "a.log", "--json").json == first
        call("run", "a.log", "--again")
        assert call("show", "a.log", "--json").json["version"] > first["version"]
        assert len(stored()) == 1

    def test_moved_and_copied(self, write):
        """A path is part of the identity."""
        write("a.log", GOOD)
        call("run", "a.log")
        Path("old").mkdir()
        Path("a.log").rename("old/a.log")
        write("b.log", GOOD)
        call("run", "old", "b.log")
        assert stored() == [f"{path}#{digits(GOOD)}" for path in ("a.log", "old/a.log", "b.log")]

    def test_a_file_that_was_read_while_it_grew(self, write):
        """Its parts are runs of their own, since `run` reads finished files."""
        for size in (len(HEAD), len(HEAD) + 100):
            write("a.log", GOOD[:size])
            call("run", "a.log")
        assert len(stored()) == 2

    def test_members_and_folders(self, write):
        """Members of an archive and folders are found again by the content of all their files."""
        for name, text in make_run("L3", 5).sources.items():
            write(f"night/{name}.log", text)
        with tarfile.open("all.tar", "w") as archive:
            archive.add("night")
        for _ in range(2):
            call("run", "all.tar", "night", "--run-by", "folder")
            call("run", "all.tar")
        ids = stored()
        assert [run_id.partition("#")[0] for run_id in ids] == [
            *("all.tar!/night", "night"),
            *("all.tar!/night/gnb.log", "all.tar!/night/ue.log"),
        ]
        write("night/ue.log", make_run("L3", 6).sources["ue"])
        call("run", "night", "--run-by", "folder")
        assert len(stored()) == 5

    def test_forgetting_one_of_two(self, write):
        """The other run of the path stays, with its text."""
        for content in (GOOD, BAD):
            write("a.log", content)
            call("run", "a.log")
        assert "several runs match" in call("forget", "a.log").err
        assert call("forget", digits(BAD)).code == 0
        assert stored() == [f"a.log#{digits(GOOD)}"]
        assert f"a.log#{digits(BAD)}".encode() not in everything_kept()
        assert call("show", "a.log", "--full").code == 0

    def test_alerts_are_for_the_stored_id(self, write, receiver):
        """Reading again sends no second message, another run of the path does, and `alerts explain` finds the run."""
        messages, url = receiver
        settings = f'sinks = ["store", "alerts"]\n[alerts]\nrules = ["failed"]\ntargets.default = ["{url}"]\n'
        write("settings.toml", settings.encode())
        failed, other = whole_run("L3", 2), whole_run("L2", 3)
        for content, sent in ((failed, 1), (failed, 1), (other, 2), (failed, 2)):
            write("a.log", content)
            assert call("run", "-c", "settings.toml", "a.log").code == 1
            assert len(messages.got) == sent
        assert f"run a.log#{digits(failed)}" in messages.got[0]["message"]
        assert "; sent " in call("alerts", "explain", "-c", "settings.toml", digits(other)).out


class TestPipes:
    def test_each_is_a_run(self):
        """Forty pipes, forty stored verdicts, whatever their text."""
        for number in range(40):
            assert call("run", "-", "-q", stdin=GOOD if number % 2 else BAD).code in (0, 1)
        assert len(stored()) == 40

    def test_a_named_pipe(self):
        """The same."""
        os.mkfifo("pipe")
        for _ in range(2):
            writer = threading.Thread(target=lambda: Path("pipe").write_bytes(GOOD))
            writer.start()
            call("run", "pipe")
            writer.join()
        assert [run_id.partition("#")[0] for run_id in stored()] == ["pipe", "pipe"]

    def test_in_a_process_of_its_own(self):
        """As one types it."""
        for _ in range(2):
            result = spawned("run", "-", "-q", "--jsonl", stdin=GOOD)
            assert result.jsonl[0]["run_id"].startswith("stdin#")
        assert len(stored()) == 2


class TestRunId:
    def test_of_a_pipe(self):
        """The id as it was given; more text replaces, as a retry of the same job does, less is reported."""
        for text in (GOOD, GOOD, GOOD + b"more\n"):
            result = call("run", "-", "--run-id", "nightly/42", "--jsonl", stdin=text)
            assert result.jsonl[0]["run_id"] == "nightly/42"
        assert stored() == ["nightly/42"]
        assert call("show", "nightly/42", "--json").json["sources"][0]["lines"] == GOOD.count(b"\n") + 1
        assert "--again replaces it" in call("run", "-", "--run-id", "nightly/42", stdin=GOOD).err

    def test_of_a_file_or_folder(self, write):
        """One file, or one folder whose files are sources."""
        for name, text in make_run("L3", 5).sources.items():
            write(f"night/{name}.log", text)
        assert call("run", "night/ue.log", "--run-id", "x").code == 1
        assert call("run", "night", "--run-by", "folder", "--run-id", "y").code == 1
        assert stored() == ["x", "y"]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["night/ue.log", "night/gnb.log"], "give one PATH"),
            (["-", "night/gnb.log"], "give one PATH"),
            (["night"], "there are 2, among them night/gnb.log and night/ue.log; name one file, or one folder"),
            (["night/*.log"], "there are 2"),
            (["all.tar"], "unpack all.tar"),
            (["night", "--follow"], "cannot be used with --follow"),
            (["opensearch://logs", "--run-field", "run", "--time", "now-1d"], "an index"),
        ],
    )
    def test_of_several_runs(self, write, arguments, expected):
        """Is an error with a remedy, before anything is read."""
        for name, text in make_run("L3", 5).sources.items():
            write(f"night/{name}.log", text)
        with tarfile.open("all.tar", "w") as archive:
            archive.add("night")
        result = call("run", *arguments, "--run-id", "x")
        assert result.code == 2
        assert expected in " ".join(result.err.replace("│", "").split())
        assert "run  " not in result.out

    @pytest.mark.parametrize("run_id", ["", "a\nb", "x" * 1025, "imsi-001010000000001", "a\udcff"])
    def test_that_cannot_be(self, run_id):
        """Redaction would make one id of two, and messages show ids."""
        result = call("run", "-", "--run-id", run_id, stdin=GOOD)
        assert (result.code, "--run-id" in result.err) == (2, True)
        assert run_id == "" or run_id not in result.err
