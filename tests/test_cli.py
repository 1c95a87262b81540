"""The commands from outside: what they print, where, and how they end."""

import gzip
import json
import os
import re
import sqlite3
import sys
import tarfile
from contextlib import closing
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_triage import __version__, wiring
from stream_triage.bundle import write_bundle
from stream_triage.cli import app
from stream_triage.clock import SystemClock
from tests.commands import call, everything_kept, kept_folder, spawned
from tests.corpus import make_run, tiny_bundle, whole_run


@pytest.fixture(autouse=True)
def _here(workplace):
    """Each test works in an empty folder, with the tiny bundle."""


@pytest.fixture
def logs(write):
    """A folder with a passing and a failing run."""
    write("logs/good.log", whole_run())
    write("logs/bad.log", whole_run("L3", 2))
    return "logs"


UE_LOG = b"".join(line + b"\n" for line in (
    b"I: CMPI L2 Random Access Initiated :UE Id:3",
    b"I: CMPI L2 Random Access Complete :UE Id:3",
    b"I: CMPI L2 Random Access Initiated :UE Id:7",
    b"I: CMPI L2 RLC: t-PollRetransmit expired: UE Id: 3",
    b"I: CMPI L2 RLC: t-PollRetransmit expired: UE Id: 3",
))  # fmt: skip


def ids(result) -> list[str]:
    """Run ids of `--jsonl` without their hashes, in order."""
    return [verdict["run_id"].rpartition("#")[0] for verdict in result.jsonl]


class TestRunInputs:
    def test_file(self, logs):
        """A passing file is one passing run, and that ends with 0."""
        result = call("run", "logs/good.log", "--jsonl")
        assert [(v["label"], v["passed"], v["final"]) for v in result.jsonl] == [("Pass", True, True)]
        assert ids(result) == ["logs/good.log"]
        assert result.code == 0

    def test_folder(self, logs):
        """Every file below is a run; one that failed ends with 1."""
        result = call("run", logs, "--jsonl")
        assert ids(result) == ["logs/bad.log", "logs/good.log"]
        assert [v["label"] for v in result.jsonl] == ["L3", "Pass"]
        assert result.code == 1

    def test_glob(self, logs, write):
        write("logs/other.txt", whole_run())
        assert ids(call("run", "logs/*.log", "--jsonl")) == ["logs/bad.log", "logs/good.log"]

    def test_archive(self, logs):
        with tarfile.open("all.tar.gz", "w:gz") as archive:
            archive.add("logs")
        assert ids(call("run", "all.tar.gz", "--jsonl")) == ["all.tar.gz!/logs/bad.log", "all.tar.gz!/logs/good.log"]

    def test_stdin(self):
        """Bytes of a pipe are one run, compressed or not."""
        for given_bytes in (whole_run(), gzip.compress(whole_run())):
            result = call("run", "-", "--jsonl", stdin=given_bytes)
            assert (ids(result), result.jsonl[0]["label"], result.code) == (["stdin"], "Pass", 0)

    def test_three_sources_in_a_folder_are_one_run(self, write):
        """`--run-by folder`: one verdict, line numbers by source, and rotated parts joined."""
        run = make_run("L3", 5)
        lines = run.sources["ue"].splitlines(keepends=True)
        write("night/ue.log.1", b"".join(lines[:2]))
        write("night/ue.log", b"".join(lines[2:]))
        write("night/gnb.log", run.sources["gnb"])
        write("night/tester.log", b"")
        result = call("run", "--run-by", "folder", "night", "--jsonl")
        (verdict,) = result.jsonl
        assert ids(result) == ["night"]
        assert {s["source"]: s["lines"] for s in verdict["sources"]} == {
            "gnb": run.sources["gnb"].count(b"\n"),
            "tester": 0,
            "ue": len(lines),
        }
        assert verdict["label"] == "L3"

    def test_same_bytes_give_the_same_id_and_verdict(self, write):
        write("a.log", whole_run("L2", 3))
        first, second = (call("run", "a.log", "--jsonl", "--no-store").jsonl[0] for _ in range(2))
        assert {**first, "time": 0} == {**second, "time": 0}

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_folder_gives_what_the_library_gives(self, triage, tmp_path_factory, data):
        """The same verdict for each file as `Triage.run` of its bytes, dirt and all."""
        folder, texts = tmp_path_factory.mktemp("property"), {}
        for number in range(data.draw(st.integers(1, 4))):
            content = whole_run(data.draw(st.sampled_from(["Pass", "L2", "L3"])), data.draw(st.integers(0, 999)))
            for dirt in data.draw(
                st.lists(st.sampled_from([b"\xff", b"\r", b"\0", b"\r\n\n", "é\u2028".encode()]), max_size=4)
            ):
                position = data.draw(st.integers(1, len(content)))
                content = content[:position] + dirt + content[position:]
            texts[f"{number}.log"] = content
            (folder / f"{number}.log").write_bytes(content)
        result = call("run", folder, "--jsonl", "--no-store")
        verdicts = {name.rpartition("/")[2]: verdict for name, verdict in zip(ids(result), result.jsonl, strict=True)}
        assert verdicts.keys() == texts.keys()
        for name, content in texts.items():
            expected = triage.run(content).model_dump(mode="json") | {
                "content": sha256(content.replace(b"\0", b"")).hexdigest()
            }
            assert verdicts[name] | {"time": None, "run_id": "run"} == expected
            assert verdicts[name]["run_id"] == f"{folder}/{name}#{expected['content'][:8]}"


class TestRunOutputs:
    def test_json_is_one_array(self, logs):
        result = call("run", logs, "--json")
        assert [verdict["label"] for verdict in result.json] == ["L3", "Pass"]
        assert call("run", "logs/good.log", "--json").json[0]["passed"]
        assert call("run", "none.log", "--json").json == []

    def test_jsonl_is_a_verdict_a_line(self, logs):
        """Nothing else is on standard output, and the summary is on standard error."""
        result = call("run", logs, "--jsonl")
        assert len(result.jsonl) == 2
        assert result.notes[0].startswith("2 runs, 1 to look at, ")

    def test_table(self, logs):
        """Label, confidence, anomaly and the deciding line of each run."""
        header, bad, good = call("run", logs).out.splitlines()
        assert header.split() == ["run", "label", "conf.", "anomaly", "why"]
        assert re.match(r"logs/bad\.log#[0-9a-f]{8} +L3 +[01]\.\d\d +0\.\d\d ! +\d+  registration reject", bad)
        assert re.match(r"logs/good\.log#[0-9a-f]{8} +Pass +[01]\.\d\d +0\.\d\d *$", good)

    def test_summary_says_where_and_how_to_open(self, logs):
        result = call("run", logs)
        assert result.notes[-1] == f"stored in {kept_folder() / 'verdicts.sqlite'}; show a run with: stream-triage show RUN"
        assert call("run", logs, "--quiet").err == ""

    def test_quiet_is_silent_about_what_went_well(self, logs):
        """Errors are still reported."""
        assert call("run", logs, "--quiet", "none.log").err == "error: none.log: does not exist\n"

    def test_no_store_leaves_no_file(self, logs):
        assert call("run", logs, "--no-store").code == 1
        assert not kept_folder().exists()

    def test_no_progress_bar_outside_of_a_terminal(self, logs):
        """Standard error that is no terminal gets notes only, no control characters."""
        result = spawned("run", logs)
        assert result.code == 1
        assert len(result.notes) == 2
        assert "\x1b" not in result.err + result.out

    def test_headers(self, logs):
        """Said of all runs, without their secrets; they scope rules."""
        (verdict,) = call(
            "run", "logs/good.log", "--jsonl", "-H", "test.case.name=attach=1", "--header", "who=password=Tr0ub4dor"
        ).jsonl
        assert verdict["headers"] == {"test.case.name": "attach=1", "who": "password=<password>"}

    def test_header_of_any_bytes(self, logs):
        """An argument with invalid UTF-8 is shown, and causes no internal error."""
        (verdict,) = call("run", "logs/good.log", "--jsonl", "-H", os.fsdecode(b"x=\xff\x1b[31m")).jsonl
        assert verdict["headers"] == {"x": "\\xff\\x1b[31m"}

    @pytest.mark.parametrize(("columns", "width"), [("60", 60), ("", 160), ("wide", 160), ("0", 160)])
    def test_width_outside_of_a_terminal(self, write, columns, width):
        """COLUMNS where it is a number, else wide enough for most lines; no row ends in blanks."""
        write("a.log", whole_run("L3", 2).replace(b"reject", b"reject " + b"x" * 300))
        lines = call("run", "a.log", "--no-store", env={"COLUMNS": columns}).out.splitlines()
        assert max(map(len, lines)) == width
        assert lines == [line.rstrip() for line in lines]

    def test_output_that_cannot_show_a_character(self, write):
        """Verdicts are printed all the same."""
        write("a.log", whole_run("L3", 2).replace(b"reject", "reject\u2026é😀".encode()))
        result = spawned("run", "a.log", env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert (result.code, result.notes[0][:6]) == (1, "1 run,")
        assert "L3" in result.out


class TestExitCodes:
    def test_run_to_review_is_not_clean(self, write):
        """A run that passed but needs a review ends with 1."""
        write("a.log", whole_run() + b"\xff\xff\n")
        result = call("run", "a.log", "--jsonl")
        assert (result.jsonl[0]["passed"], result.jsonl[0]["needs_review"], result.code) == (True, True, 1)

    def test_input_error_outranks_a_failed_run(self, logs):
        """The other runs still get their verdicts."""
        result = call("run", "logs/bad.log", "none.log", "--jsonl")
        assert (ids(result), result.code) == (["logs/bad.log"], 2)
        assert result.notes[0] == "error: none.log: does not exist"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nonsense"], "No such command 'nonsense'"),
            (["run"], "Missing argument"),
            (["run", "--nonsense", "x"], "No such option: --nonsense"),
            (["run", "-", "x"], r"- \(stdin\) cannot be mixed with paths"),
            (["run", "x", "--json", "--jsonl"], "choose one of --json and --jsonl"),
            (["run", "x", "--header", "nothing"], "--header must have the form NAME=VALUE"),
            (["run", "x", "--run-by", "day"], "settings cannot be used: input.run_by"),
            (["run", "x", "--idle-seconds", "much"], "idle-seconds"),
            (["run", "x", "--follow", "--end-pattern", "("], "follow.end_pattern: .*is not a valid regular expression"),
            (["run", "x", "--config", "none.toml"], "settings file none.toml does not exist"),
            (["run", "x", "--bundle", "none"], "no bundle called 'none'"),
            (["runs", "--limit", "0"], "limit"),
            (["show"], "Missing argument"),
            (["forget"], "Missing argument"),
        ],
    )
    def test_usage_errors(self, arguments, message):
        """2, with what is wrong on standard error and nothing on standard output."""
        result = call(*arguments)
        assert (result.code, result.out) == (2, "")
        assert re.search(message, result.err)
        assert "internal error" not in result.err

    def test_internal_error(self, logs, monkeypatch):
        """3, with the type and line of the error but without its message, which may contain text of a log."""

        def broken(settings):
            raise RuntimeError("Tr0ub4dor")

        monkeypatch.setattr(wiring, "open_triage", broken)
        result = call("run", logs)
        assert result.code == 3
        assert re.match(r"internal error: RuntimeError at test_cli\.py:\d+\nset STREAM_TRIAGE_DEBUG=1", result.err)
        assert "Tr0ub4dor" not in result.err
        assert "Tr0ub4dor" in call("run", logs, env={"STREAM_TRIAGE_DEBUG": "1"}).err

    def test_interrupted_before_anything(self, logs, monkeypatch):
        def interrupted(settings):
            raise KeyboardInterrupt

        monkeypatch.setattr(wiring, "open_triage", interrupted)
        assert call("run", logs)[:2] == (130, "")


@pytest.fixture
def stored(logs):
    """Both runs are in the store; gives the id of the failing one."""
    return call("run", logs, "--jsonl").jsonl[0]["run_id"]


class TestStoredRuns:
    def test_runs(self, stored):
        """Newest first, as a table or JSON."""
        header, newest, oldest = call("runs").out.splitlines()
        assert header.split()[0] == "time"
        assert ("logs/good.log#" in newest, "logs/bad.log#" in oldest) == (True, True)
        rows = call("runs", "--json").json
        assert [row["label"] for row in rows] == ["Pass", "L3"]
        assert rows[1]["run_id"] == stored

    @pytest.mark.parametrize(
        ("arguments", "labels"),
        [
            (["--label", "L3"], ["L3"]),
            (["--label", "L2"], []),
            (["--unclean"], ["L3"]),
            (["--search", "registration reject"], ["L3"]),
            (["--search", "session up"], ["Pass"]),
            (["--search", "session up", "--unclean"], []),
            (["--limit", "1"], ["Pass"]),
        ],
    )
    def test_filters(self, stored, arguments, labels):
        assert [row["label"] for row in call("runs", "--json", *arguments).json] == labels

    def test_nothing_matches(self, stored):
        """Says so on standard error; JSON stays JSON."""
        result = call("runs", "--label", "L9")
        assert result == (0, "", "no stored run matches\n")
        assert call("runs", "--label", "L9", "--json").json == []

    def test_no_store(self, tmp_path):
        """Looking makes nothing: a mistyped path is named, and no empty store appears there."""
        for command in (["runs"], ["show", "x"], ["forget", "x"], ["prune"]):
            result = call(*command, env={"STREAM_TRIAGE_STORE__PATH": str(tmp_path / "typo" / "v.sqlite")})
            assert result.code == 2
            assert "there is no store at" in result.err
        assert call("check", env={"STREAM_TRIAGE_STORE__PATH": str(tmp_path / "typo" / "v.sqlite")}).code == 0
        assert not (tmp_path / "typo").exists()

    def test_no_match(self, stored):
        assert call("runs", "--label", "L9").err == "no stored run matches\n"

    @pytest.mark.parametrize("part", ["whole id", "bad", "logs/bad", "hash"])
    def test_show(self, stored, part):
        """By the id or any part that only one id has: label, evidence with its line, what never came."""
        asked = {"whole id": stored, "hash": stored.rpartition("#")[2]}.get(part, part)
        result = call("show", asked)
        assert result.code == 0
        assert re.search(rf"^run +{re.escape(stored)} *\n", result.out)
        assert re.search(r"^label +L3 *$", result.out, re.MULTILINE)
        assert re.search(r"^ *\+\d+\.\d\d  words  \d+  registration reject cause \d+ *$", result.out, re.MULTILINE)
        assert re.search(r"^why +not proved: no procedure shows why; ", result.out, re.MULTILINE)
        assert re.search(r"^[+-]\d+\.\d\d  words: starting point *$", result.out, re.MULTILINE)
        assert re.search(r"^\+\d+\.\d\d  log-odds of L3 against Pass *$", result.out, re.MULTILINE)
        assert "never came: session up" in result.out
        assert re.search(r"^worth reading: \d+ of \d+ lines *$", result.out, re.MULTILINE)

    def test_show_json(self, stored):
        """The stored verdict is the printed one."""
        printed = call("run", "logs/bad.log", "--json", "--no-store").json[0]
        assert call("show", "bad", "--json").json | {"time": 0} == printed | {"time": 0}

    def test_show_full(self, stored):
        """Every line with its number, as it was."""
        lines = whole_run("L3", 2).decode().splitlines()
        expected = [f"{number}\t{line}" for number, line in enumerate(lines, 1)]
        assert call("show", "bad", "--full").out.splitlines() == expected

    def test_show_full_of_several_sources(self, write):
        write("n/ue.log", b"uesim starting\n")
        write("n/gnb.log", b"gnbsim starting\nbearer released\n")
        call("run", "--run-by", "folder", "n")
        assert call("show", "n", "--full").out.splitlines() == [
            "gnb:1\tgnbsim starting",
            "gnb:2\tbearer released",
            "ue:1\tuesim starting",
        ]

    def test_show_ue(self, write):
        """The events of one UE, with what never came, as a page or JSON; the bundle need not follow procedures."""
        write("a.log", UE_LOG)
        call("run", "a.log")
        page = call("show", "a.log", "--ue", "3")
        assert page.code == 0
        assert [" ".join(line.split()) for line in page.out.splitlines()] == [
            "UE 3",
            "1 random access begun I: CMPI L2 Random Access Initiated :UE Id:3",
            "2 random access completed I: CMPI L2 Random Access Complete :UE Id:3",
            "4-5 ! trouble of layer 2 (×2) I: CMPI L2 RLC: t-PollRetransmit expired: UE Id: 3",
            "! connection was due after line 2 and never came",
        ]
        (course,) = call("show", "a.log", "--ue", "3", "--json").json
        assert [event["number"] for event in course["events"]] == [1, 2, 4]
        assert course["unfinished"] == ["connection was due after line 2 and never came"]

    def test_show_of_a_ue_that_the_run_does_not_have(self, write):
        write("a.log", UE_LOG)
        call("run", "a.log")
        assert call("show", "a.log", "--ue", "9")[::2] == (2, "error: the run has no UE '9'; it has 3, 7\n")

    def test_show_ue_needs_the_archived_text(self, write):
        """The message says where the text should be, and how to get it again."""
        write("a.log", UE_LOG)
        call("run", "a.log", env={"STREAM_TRIAGE_SINKS": '["store"]'})
        result = call("show", "a.log", "--ue", "3")
        assert (result.code, result.out) == (2, "")
        assert "the events of a UE are read from the text of its run" in result.err
        assert "`stream-triage run --again`" in result.err

    def test_show_ue_by_another_bundle(self, write, bundle_path):
        """Where the bundle that judged the run is gone, that of the settings reads it, and a note says so."""
        write("a.log", UE_LOG)
        call("run", "a.log")
        result = call("show", "a.log", "--ue", "3", env={"STREAM_TRIAGE_BUNDLE": "oai5g"})
        assert result.code == 0
        assert re.match(r"the run was judged by bundle tiny 1, and is read by \w+ \d+\n", result.err)

    @pytest.mark.parametrize("other", ["--full", "--full --json"])
    def test_show_ue_is_not_the_whole_text(self, stored, other):
        result = call("show", "bad", "--ue", "3", *other.split())
        assert (result.code, result.out) == (2, "")
        assert "--full goes with neither --ue nor --json" in result.err

    def test_show_of_a_verdict_of_an_earlier_version(self, stored):
        """It has no sentence and no parts of weights, and is shown without them."""
        with closing(sqlite3.connect(kept_folder() / "verdicts.sqlite")) as database:
            (text,) = database.execute("SELECT verdict FROM runs WHERE run_id = ?", (stored,)).fetchone()
            verdict = json.loads(text)
            for name in ("why", "rival", "score", "rest"):
                del verdict[name]
            for item in verdict["evidence"]:
                del item["parts"]
            first = {"ue": 3, "reason": "connected, never registered", "source": "", "number": 1, "text": "x"}
            verdict["ues"] = {"seen": 1, "failed": 1, "first": [first]}
            database.execute("UPDATE runs SET verdict = ? WHERE run_id = ?", (json.dumps(verdict), stored))
            database.commit()
        page = call("show", "bad")
        assert page.code == 0
        assert re.search(r"^ *\+\d+\.\d\d +\d+  registration reject cause \d+ *$", page.out, re.MULTILINE)
        assert re.search(r"^UE 3  connected, never registered  1  x *$", page.out, re.MULTILINE)
        assert not re.search(r"^(why|score)\b", page.out, re.MULTILINE)
        assert call("show", "bad", "--json").json["why"] == ""

    @pytest.mark.parametrize("command", [["show"], ["show", "--full"], ["show", "--json"], ["forget"]])
    def test_unknown_run(self, stored, command):
        result = call(*command, "nothing-like-it")
        assert (result.code, result.out) == (2, "")
        assert result.err == "error: no run matches 'nothing-like-it'; `stream-triage runs` lists them\n"

    @pytest.mark.parametrize("command", ["show", "forget"])
    def test_ambiguous_run(self, stored, command):
        """The candidates are named, and nothing is done."""
        result = call(command, "logs/")
        assert (result.code, result.out) == (2, "")
        assert re.match(r"error: several runs match 'logs/': logs/good\.log#\w+, logs/bad\.log#\w+; give more", result.err)
        assert len(call("runs", "--json").json) == 2

    def test_forgotten_run_leaves_no_trace(self, stored):
        """None of its bytes are below the data folder, in the archive neither; other runs stay."""
        marks = [b"reject", b"bad.log"]
        assert all(mark in everything_kept() for mark in marks)
        assert call("forget", "bad") == (0, "", f"forgot {stored}\n")
        assert not any(mark in everything_kept() for mark in marks)
        assert b"session up" in everything_kept()
        assert [row["label"] for row in call("runs", "--json").json] == ["Pass"]
        assert call("show", "bad").code == 2

    def test_forget_goes_on_behind_an_unknown_run(self, stored):
        result = call("forget", "nothing", "bad")
        assert (result.code, len(result.notes)) == (2, 2)
        assert [row["label"] for row in call("runs", "--json").json] == ["Pass"]

    def test_forget_of_an_unknown_run_alone(self, stored, tmp_path):
        """Nothing is said of files that it does not change: it changed none."""
        (tmp_path / "all.jsonl").touch()
        env = {"STREAM_TRIAGE_SINKS": '["store", "jsonl"]', "STREAM_TRIAGE_JSONL__PATH": str(tmp_path / "all.jsonl")}
        result = call("forget", "nothing", env=env)
        assert (result.code, len(result.notes)) == (2, 1)
        assert len(call("forget", "bad", env=env).notes) == 2

    def test_prune_by_number(self, stored):
        """The newest stay; what goes is gone from store and archive."""
        result = call("prune", env={"STREAM_TRIAGE_STORE__MAX_RUNS": "1"})
        assert result == (0, "", "removed 1 runs from the store and 0 texts from the archive\n")
        assert [row["label"] for row in call("runs", "--json").json] == ["Pass"]
        assert b"reject" not in everything_kept()

    def test_prune_by_size_of_the_archive(self, stored):
        """The verdicts stay, `show --full` says why there is no text."""
        result = call("prune", env={"STREAM_TRIAGE_ARCHIVE__MAX_BYTES": "1"})
        assert "removed 0 runs from the store and 2 texts" in result.err
        assert call("show", "bad").code == 0
        result = call("show", "bad", "--full")
        assert (result.code, result.out) == (2, "")
        assert "it was pruned or never archived" in result.err

    def test_prune_without_limits_removes_nothing(self, stored):
        assert call("prune").err == "removed 0 runs from the store and 0 texts from the archive\n"

    def test_archive_can_be_left_out(self, logs):
        call("run", logs, env={"STREAM_TRIAGE_SINKS": '["store"]'})
        assert [path.name for path in kept_folder().iterdir()] == ["verdicts.sqlite"]


class TestOtherCommands:
    def test_reduce(self, logs):
        """Lines worth reading with number and reason, for each run; nothing is kept."""
        result = call("reduce", "logs/bad.log")
        head, *lines = result.out.splitlines()
        assert re.match(r"# logs/bad\.log#[0-9a-f]{8}: L3, \d+ of \d+ lines$", head)
        assert any(re.match(r"\d+\tevidence\tregistration reject cause", line) for line in lines)
        numbers = [int(line.split("\t")[0]) for line in lines]
        assert numbers == sorted(numbers)
        assert result.code == 0
        assert not kept_folder().exists()

    def test_reduce_by_folder_and_with_errors(self, write):
        write("n/ue.log", make_run("L3", 2).sources["ue"])
        result = call("reduce", "--run-by", "folder", "n", "none.log")
        assert result.code == 2
        assert "\nue:1\t" in result.out

    def test_templates(self, bundle):
        """Keys and texts of the bundle, in the order of the texts; `--search` looks into the texts."""
        listed = {row["key"]: row["template"] for row in call("templates", "--json").json}
        assert "session up" in listed.values()
        assert call("templates").out.splitlines() == [f"{key}  {template}" for key, template in listed.items()]
        rejecting = call("templates", "--search", "REJECT", "--json").json
        assert 0 < len(rejecting) < len(listed)
        assert all("reject" in row["template"] for row in rejecting)

    def test_check(self, write):
        """Every part is looked at, and what is fine is described."""
        write("rules.toml", RULE.encode())
        result = call("check", "--rules", "rules.toml")
        assert (result.code, result.err) == (0, "")
        lines = [line.split(":")[0] for line in result.out.splitlines()]
        assert lines == [f"ok     {part}" for part in ("settings", "bundle", "rules", "dialects", "redaction", "store")]
        assert "tiny 1 from" in result.out
        assert "1 rules from rules.toml" in result.out

    def test_check_names_every_fault(self, write):
        """One wrong part does not hide the others."""
        write("rules.toml", b"[[rule\n")
        write("store", b"no database " * 100)
        result = call("check", "--bundle", "none", "--rules", "rules.toml", env={"STREAM_TRIAGE_STORE__PATH": "store"})
        assert result.code == 2
        wrong = [line.split(":")[0].split()[1] for line in result.out.splitlines() if line.startswith("wrong")]
        assert wrong == ["bundle", "rules", "store"]

    def test_check_finds_a_rule_for_no_label(self, write):
        write("rules.toml", RULE.replace('"L2"', '"L9"').encode())
        result = call("check", "--rules", "rules.toml")
        assert (result.code, "rule 'slot' has label 'L9'" in result.out) == (2, True)

    def test_check_finds_a_wrong_pattern(self, write):
        write("my.toml", b'[[redaction.patterns]]\nname = "own"\npattern = "("\n')
        result = call("check", "--config", "my.toml")
        assert (result.code, "wrong  redaction: " in result.out) == (2, True)

    def test_check_finds_other_masking(self, other_masking):
        result = call("check", "--bundle", other_masking)
        assert result.code == 2
        assert "wrong  bundle: bundle tiny was trained on masking version" in result.out

    def test_check_example_is_a_settings_file(self, write):
        """What it prints can be used at once."""
        result = call("check", "--example")
        assert (result.code, result.err) == (0, "")
        write("my.toml", result.out.encode())
        assert call("check", "--config", "my.toml").code == 0

    def test_version(self):
        assert call("--version") == (0, f"stream-triage {__version__}\n", "")

    @pytest.mark.parametrize(
        "command", ["", *(command.name or command.callback.__name__ for command in app.registered_commands)]
    )
    def test_help(self, command):
        result = call(*command.split(), "--help")
        assert (result.code, result.err) == (0, "")
        assert "Usage: stream-triage" in result.out

    def test_as_a_module(self, logs):
        """The real thing, in a process of its own."""
        result = spawned("run", logs, "--json")
        assert [verdict["label"] for verdict in result.json] == ["L3", "Pass"]
        assert result.code == 1
        assert spawned("--version").out == f"stream-triage {__version__}\n"


RULE = '[[rule]]\nname = "slot"\npattern = "slot [0-9]+"\nlabel = "L2"\nveto = true\nnote = "seen before"\n'


class TestSettings:
    def test_settings_file(self, logs, write):
        """`--config` reaches every part: here store, archive and what a run is."""
        write("my.toml", b'[input]\nrun_by = "folder"\n[store]\npath = "kept/v.sqlite"\n[archive]\nfolder = "kept/texts"\n')
        assert ids(call("run", logs, "--config", "my.toml", "--jsonl")) == ["logs"]
        assert not kept_folder().exists()
        assert len(call("runs", "-c", "my.toml", "--json").json) == 1
        assert call("show", "logs", "-c", "my.toml", "--full").code == 0
        assert ids(call("run", logs, "-c", "my.toml", "--run-by", "file", "--jsonl", "--no-store")) == [
            "logs/bad.log",
            "logs/good.log",
        ]

    def test_bundle_flag_outranks_the_environment(self, logs, bundle_path):
        result = call("run", "logs/good.log", "--jsonl", "-b", bundle_path, env={"STREAM_TRIAGE_BUNDLE": "none"})
        assert result.jsonl[0]["bundle"] == "tiny"

    def test_bundle_is_found_by_name_in_the_settings_folders(self, logs, bundle_path):
        folders = f'["{bundle_path.parent}"]'
        result = call("run", "logs/good.log", "--jsonl", "-b", "tiny", env={"STREAM_TRIAGE_BUNDLE_FOLDERS": folders})
        assert result.jsonl[0]["bundle"] == "tiny"

    def test_rules_decide_and_are_shown(self, logs, write):
        """A rule from a file sets the label, is why the run has it, and is the first evidence on its page."""
        write("rules.toml", RULE.encode())
        result = call("run", "logs/good.log", "--rules", "rules.toml")
        assert result.code == 1
        assert re.search(r" L2 +1\.00 +.*rule slot: seen before \(line \d+\)", result.out)
        assert "rule slot for L2: slot" in call("show", "good").out
        assert call("show", "good", "--json").json["evidence"][0]["note"] == "seen before"

    def test_other_rules_replace_a_stored_verdict_when_asked(self, logs, write):
        """Another verdict on the same text: the store keeps the earlier one and says so, `--again` replaces it."""
        write("rules.toml", RULE.encode())
        label = call("run", "logs/good.log", "--jsonl").jsonl[0]["label"]
        again = ("run", "logs/good.log", "--rules", "rules.toml", "--jsonl")
        kept = call(*again)
        assert kept.jsonl[0]["label"] == "L2" != label
        assert "the store has a different, earlier verdict of 1 of them and keeps it; --again replaces it" in kept.err
        assert call("show", "good.log", "--json").json["label"] == label
        for triages in (1, 2):
            replaced = call(*again, "--again")
            assert "earlier verdict" not in replaced.err
            stored = call("show", "good.log", "--json").json
            assert (stored["label"], stored["version"] >> 48) == ("L2", triages)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"[[rule\n", "is not valid TOML"),
            (b"\xff", "is not valid TOML"),
            (b"a = 1\n", "may hold [[rule]] tables only"),
            (RULE.replace("slot [0-9]+", "slot (").encode(), "rule slot: pattern: "),
            (RULE.replace("veto = true", "").encode(), "rule slot: "),
            (RULE.replace("note", "remark").encode(), "rule slot: remark: "),
            (RULE.replace('"L2"', '"L9"').encode(), "rule 'slot' has label 'L9'; the bundle has Pass, L2, L3"),
            ((RULE + RULE).encode(), "two rules called 'slot'"),
            (None, "cannot be read: No such file"),
        ],
    )
    def test_faulty_rules_are_rejected(self, logs, write, content, message):
        """One line that says what to correct, before anything is judged or stored."""
        if content is not None:
            write("rules.toml", content)
        result = call("run", logs, "--rules", "rules.toml")
        assert (result.code, result.out, len(result.notes)) == (2, "", 1)
        assert message in result.err
        assert not kept_folder().exists()

    def test_wrong_setting_is_one_clear_line(self, logs, write):
        write("my.toml", b"[input]\nline_bits = 1\n")
        result = call("run", logs, "--config", "my.toml")
        assert (result.code, result.out) == (2, "")
        assert re.fullmatch(r"error: settings cannot be used: input\.line_bits: .*\n", result.err)

    def test_own_pattern_hides_its_secret(self, write):
        write("my.toml", b'[[redaction.patterns]]\nname = "badge"\npattern = "badge (?P<secret>[A-Z]+)"\n')
        write("a.log", b"uesim starting\nbadge QQXX shown\n")
        call("run", "a.log", "-c", "my.toml")
        assert "badge <badge> shown" in call("show", "a.log", "--full").out


@pytest.fixture
def other_masking(tmp_path):
    """A bundle of another masking version."""
    made = tiny_bundle()
    card = made.card.model_copy(update={"masking_version": made.card.masking_version + 1})
    write_bundle(tmp_path / "other", card, {name: made.data(name) for name in made.card.files})
    return tmp_path / "other"


class TestFollow:
    @pytest.mark.parametrize(
        ("names", "code"), [(["good"], 0), (["bad"], 1), (["good", "bad"], 1), (["good", "bad", "none"], 1)]
    )
    def test_interrupt_closes_open_runs(self, logs, monkeypatch, names, code):
        """Ctrl-C while it waits: every open run gets a verdict, and these say how it ends."""
        monkeypatch.setattr(SystemClock, "sleep", interrupt)
        result = call("run", "--follow", *(f"logs/{name}.log" for name in names), "--jsonl")
        assert sorted(ids(result)) == sorted(f"logs/{name}.log" for name in names if name != "none")
        assert result.code == code
        assert len(call("runs", "--json").json) == len(result.jsonl)

    def test_interrupt_behind_an_input_error(self, logs, monkeypatch):
        monkeypatch.setattr(SystemClock, "sleep", interrupt)
        os.mkfifo("pipe.log")
        result = call("run", "--follow", "logs/good.log", "pipe.log", "--jsonl")
        assert (ids(result), result.code) == (["logs/good.log"], 2)

    def test_verdicts_are_printed_as_they_come(self, logs, monkeypatch):
        """One line each, no table."""
        monkeypatch.setattr(SystemClock, "sleep", interrupt)
        lines = call("run", "--follow", logs).out.splitlines()
        assert [line.split("#")[0] for line in lines] == ["logs/bad.log", "logs/good.log"]

    def test_end_pattern(self, logs, write, monkeypatch):
        """A line that matches ends a run; what comes behind it is the next one."""
        monkeypatch.setattr(SystemClock, "sleep", interrupt)
        write("two.log", whole_run() + whole_run("L3", 2))
        result = call("run", "--follow", "--end-pattern", "session up", "two.log", "--jsonl")
        assert [verdict["label"] for verdict in result.jsonl] == ["Pass", "L3"]

    def test_json_is_an_array_in_the_end(self, logs, monkeypatch):
        monkeypatch.setattr(SystemClock, "sleep", interrupt)
        assert len(call("run", "--follow", logs, "--json").json) == 2


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class TestServers:
    @pytest.mark.parametrize(
        ("command", "package", "extra"),
        [
            (["ui"], "jinja2", "ui"),
            (["ui"], "starlette", "ui"),
            (["ui"], "uvicorn", "ui"),
            (["worker"], "aiokafka", "kafka"),
            (["setup", "kafka"], "aiokafka", "kafka"),
            (["replay-dead"], "aiokafka", "kafka"),
            (["setup", "opensearch"], "opensearchpy", "opensearch"),
            (["run", "opensearch://logs", "--run-field", "f", "--time", "now-1d"], "opensearchpy", "opensearch"),
        ],
    )
    def test_missing_extra(self, command, package, extra, monkeypatch):
        """The remedy is named, and nothing is said of our own code."""
        for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
            monkeypatch.setitem(sys.modules, name, None)
        result = call(*command)
        assert (result.code, result.out) == (2, "")
        assert f"pip install 'stream-triage[{extra}]'" in result.err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["opensearch://"], "write opensearch://INDEX"),
            (["opensearch://logs"], "--run-field (for example run.id)"),
            (["opensearch://logs", "--run-field", "run.id"], "--time (for example now-1d)"),
            (["opensearch://logs", "a.log", "--run-field", "f", "--time", "now-1d"], "mixed with paths"),
            (["opensearch://logs", "--follow", "--run-field", "f", "--time", "now-1d"], "cannot be followed"),
            (["a.log", "--time", "now-1d"], "opensearch://INDEX"),
        ],
    )
    def test_index_and_its_options_belong_together(self, arguments, message):
        result = call("run", *arguments)
        assert (result.code, result.out) == (2, "")
        assert message in " ".join(result.err.split())
