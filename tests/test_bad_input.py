"""Bad input, bad disks and bad timing, end to end: repaired or rejected visibly, never dropped silently."""

import gzip
import io
import json
import os
import re
import signal
import subprocess
import time
import zipfile
from pathlib import Path
from random import Random

import pytest
import zstandard

from stream_triage.clock import SystemClock
from stream_triage.intake import Intake
from stream_triage.spool import _Storage
from stream_triage.stages.rules import Rules
from tests.commands import COMMAND, InterruptedPipe, call, everything_kept, kept_folder, spawn
from tests.corpus import whole_run
from tests.limits import file_size_limit

GOOD, BAD = whole_run("Pass", 1), whole_run("L3", 2)
# A gz file of it is damaged in the middle when it is cut.
LONG = GOOD + b"".join(b"slot %d scheduled %d bytes\n" % (i % 20, i * 7919 % 100) for i in range(5000)) + b"session up\n"


@pytest.fixture(autouse=True)
def _here(workplace):
    """Each test works in an empty folder, with the tiny bundle."""


def judged(*arguments: str | Path, **options) -> tuple[dict, int, list[str]]:
    """The one verdict of a run, the exit code, and what was noted."""
    result = call("run", *arguments, "--jsonl", **options)
    (verdict,) = result.jsonl
    return verdict, result.code, result.notes


def names(result) -> list[str]:
    return [verdict["run_id"].rpartition("#")[0] for verdict in result.jsonl]


class TestEncodings:
    NOTE = "测试床连接失败，请检查设备许可证".join(("# ", "\n"))

    @pytest.mark.parametrize(
        ("encoding", "name"),
        [
            ("utf-16", "utf-16-le"),
            ("utf-16-be", "utf-16-be"),
            ("utf-32", "utf-32-le"),
            ("gbk", "gb18030 (detected)"),
            ("utf-8", ""),
        ],
    )
    @pytest.mark.parametrize("piped", [True, False])
    def test_any_encoding_gives_the_same_verdict(self, write, encoding, name, piped):
        """In a file and in a pipe; the verdict names the encoding, and `show` does."""
        text = self.NOTE * 3 + BAD.decode()
        write("utf8.log", text.encode())
        write("other.log", text.encode(encoding))
        expected, _, _ = judged("utf8.log")
        verdict, _, _ = judged("-", stdin=text.encode(encoding)) if piped else judged("other.log")
        for same in ("label", "probabilities", "evidence", "anomalies", "reduction", "review_reasons"):
            assert verdict[same] == expected[same]
        (source,) = verdict["sources"]
        assert (source["encoding"], source["bytes"]) == (name, len(text.encode(encoding)))
        assert f" lines, {name}" in call("show", verdict["run_id"]).out if name else True

    def test_set_encoding(self, write):
        """One line is too little for a guess."""
        write("a.log", GOOD + "störung\n".encode("cp1252"))
        verdict, _, _ = judged("a.log", env={"STREAM_TRIAGE_INPUT__ENCODING": "cp1252"})
        assert (verdict["sources"][0]["encoding"], verdict["sources"][0]["repairs"]["invalid_bytes"]) == ("cp1252", 0)
        assert call("show", "a.log", "--full").out.endswith("\tstörung\n")

    def test_few_damaged_lines_are_no_reason_for_a_review(self, write):
        """Lines are counted, not bytes."""
        write("a.log", LONG + b"\xff\xfe\xfd\xfc\xfb damaged\n" * 5)
        verdict, _, _ = judged("a.log")
        assert verdict["sources"][0]["repairs"]["damaged_lines"] == 5
        assert not any("no text" in reason for reason in verdict["review_reasons"])

    def test_text_after_the_gap_of_a_crash(self, write):
        write("a.log", bytes(700) + BAD)
        write("b.log", BAD)
        verdict, expected = judged("a.log")[0], judged("b.log")[0]
        assert verdict["evidence"] == expected["evidence"]
        assert verdict["sources"][0]["repairs"]["nul_bytes"] == 700


class TestDamagedText:
    def test_empty_file(self, write):
        """A run without text has a verdict that says so."""
        write("empty.log", b"")
        verdict, code, _ = judged("empty.log")
        assert verdict["review_reasons"][0] == "the run has no text"
        assert (verdict["sources"][0]["lines"], code) == (0, 1)
        assert call("show", "empty").code == 0
        assert call("show", "empty", "--full").out == ""

    def test_empty_stdin(self):
        result = call("run", "-", "--jsonl")
        assert [v["review_reasons"][0] for v in result.jsonl] == ["the run has no text"]

    @pytest.mark.parametrize("content", [b"\x7fELF" + bytes(500), b"\x89PNG\r\n\x1a\n" + bytes(50)])
    def test_binary_file(self, write, content):
        """An error if it is given itself; passed over with a note in a folder. There is no verdict in either case."""
        write("logs/core.log", content)
        write("logs/good.log", GOOD)
        result = call("run", "logs/core.log", "--jsonl")
        assert (result.out, result.code) == ("", 2)
        assert re.match(r"error: logs/core\.log: is .*, not a log\n", result.err)
        result = call("run", "logs", "--jsonl")
        assert (names(result), result.code) == (["logs/good.log"], 0)
        assert re.match(r"note: logs/core\.log: is .*, not a log\n", result.err)

    def test_unknown_binary_file(self, write):
        """It may be a log that cannot be read, so no result is clean: an error, which the last line counts."""
        write("logs/trace.bin", bytes(range(256)) * 20)
        write("logs/a.png", b"\x89PNG\r\n\x1a\n" + bytes(50))
        write("logs/good.log", GOOD)
        result = call("run", "logs", "--jsonl")
        assert (names(result), result.code) == (["logs/good.log"], 2)
        assert "error: logs/trace.bin: is binary data of no known kind and may be a log;" in result.err
        assert (
            f"1 run, 0 to look at, {len(GOOD.splitlines())} lines; 1 not read, or not completely; see the errors above"
            in result.notes
        )

    def test_unknown_binary_file_of_a_run(self, write):
        """With a folder as run, the run of the other files needs a review: it has a source that nobody read."""
        write("r/trace.bin", bytes(range(256)) * 20)
        write("r/good.log", GOOD)
        verdict, code, _ = judged("r", "--run-by", "folder")
        assert verdict["review_reasons"][0].startswith("trace.bin: is binary data of no known kind")
        assert code == 2
        verdict, code, notes = judged("r", "--run-by", "folder", env={"STREAM_TRIAGE_INPUT__PASS_OVER": '["*.bin"]'})
        assert (verdict["needs_review"], code) == (False, 0)
        assert notes[0] == "note: r/trace.bin: matches input.pass_over"

    def test_invalid_utf8(self, write):
        """Shown as replacement characters, counted, and a reason for a review."""
        write("a.log", GOOD + b"caf\xe9 \xff\xfe!\n")
        verdict, code, _ = judged("a.log")
        assert verdict["sources"][0]["repairs"]["invalid_bytes"] == 3
        assert verdict["needs_review"]
        assert code == 1
        assert call("show", "a.log", "--full").out.endswith("\tcaf\ufffd \ufffd\ufffd!\n")

    def test_nul_bytes(self, write):
        write("a.log", GOOD + b"crash\0\0here\n")
        verdict, code, _ = judged("a.log")
        assert (verdict["sources"][0]["repairs"]["nul_bytes"], code) == (2, 1)
        assert call("show", "a.log", "--full").out.endswith("\tcrash␀␀here\n")

    @pytest.mark.parametrize("end", [b"\r\n", b"\r"])
    def test_other_line_ends(self, write, end):
        """The same verdict and line numbers as with LF."""
        write("lf.log", BAD)
        write("other.log", BAD.replace(b"\n", end))
        expected, verdict = judged("lf.log")[0], judged("other.log")[0]
        for same in ("label", "probabilities", "evidence", "anomalies", "reduction"):
            assert verdict[same] == expected[same]
        assert verdict["sources"][0]["lines"] == BAD.count(b"\n")

    def test_no_final_newline(self, write):
        """The last line counts."""
        write("a.log", BAD.removesuffix(b"\n"))
        verdict, _, _ = judged("a.log")
        assert verdict["sources"][0]["lines"] == BAD.count(b"\n")
        assert any("registration reject" in item["text"] for item in verdict["evidence"])

    def test_line_of_50_mb(self, write):
        """Cut and counted; the lines around it are judged as ever."""
        write("a.log", b"gnbsim starting\n" + b"z" * 50_000_000 + b"\n" + BAD)
        verdict, code, _ = judged("a.log")
        source = verdict["sources"][0]
        assert (source["lines"], source["bytes"]) == (2 + BAD.count(b"\n"), 16 + 50_000_001 + len(BAD))
        assert (source["repairs"]["cut_lines"], source["repairs"]["dropped_bytes"]) == (1, 50_000_000 - 65_536)
        assert verdict["label"] == "L3"
        assert "1 line was cut at the length limit" in verdict["review_reasons"]
        assert code == 1
        assert sum(path.stat().st_size for path in kept_folder().rglob("*")) < 1_000_000


BOMB_LIMITS = {"STREAM_TRIAGE_INPUT__EXPANSION_FLOOR_BYTES": "200000", "STREAM_TRIAGE_INPUT__MAX_EXPANSION": "100"}


class TestDamagedFiles:
    def test_truncated_gz(self, write):
        """What could be read is judged; the verdict and standard error say that it ends early."""
        packed = gzip.compress(LONG)
        write("a.log.gz", packed[: len(packed) // 2])
        verdict, code, notes = judged("a.log.gz")
        assert notes[0] == "error: a.log.gz: the gz data ends early: it was cut off"
        assert "the gz data ends early: it was cut off" in verdict["review_reasons"]
        assert 100 < verdict["sources"][0]["lines"] < LONG.count(b"\n")
        assert code == 2
        assert len(call("runs", "--json").json) == 1

    def test_gz_that_is_none(self, write):
        write("a.log.gz", b"\x1f\x8b\x08 and then nonsense" * 10)
        result = call("run", "a.log.gz", "--jsonl")
        assert (result.out, result.code) == ("", 2)
        assert re.match(r"error: a\.log\.gz: damaged gz data: ", result.err)

    def test_gz_bomb(self, write):
        """Reading ends at the stated ratio; what came before is judged, and needs a review."""
        write("bomb.gz", gzip.compress(GOOD + b"slot 1 scheduled\n" * 300_000))
        verdict, code, notes = judged("bomb.gz", env=BOMB_LIMITS)
        reason = (
            r"unpacks to at least \d{3,4} times its size, more than input\.max_expansion = 100 allows; raise that setting"
        )
        assert re.match(f"error: bomb.gz: {reason}", notes[0])
        assert any(re.match(reason, each) for each in verdict["review_reasons"])
        assert verdict["sources"][0]["bytes"] < 2_000_000
        assert code == 2

    def test_zip_bomb(self, write):
        """Rejected by its directory, without unpacking; the other members are judged."""
        with zipfile.ZipFile("b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.log", bytes(3_000_000))
            archive.writestr("good.log", GOOD)
        result = call("run", "b.zip", "--jsonl", env=BOMB_LIMITS)
        assert (names(result), result.code) == (["b.zip!/good.log"], 2)
        assert re.match(r"error: b\.zip!/bomb\.log: unpacks to at least \d{3,4} times its size", result.err)

    def test_zip_bomb_that_lies(self, write):
        """A directory that promises little does not help it."""
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.log", b"slot 1 scheduled\n" * 300_000)
        lie = data.getvalue().replace((17 * 300_000).to_bytes(4, "little"), (5000).to_bytes(4, "little"))
        assert lie != data.getvalue()
        write("b.zip", lie)
        result = call("run", "b.zip", "--jsonl", env=BOMB_LIMITS)
        assert result.code == 2
        assert "holds more than the archive's directory says" in result.err
        assert all(verdict["sources"][0]["bytes"] < 500_000 for verdict in result.jsonl)

    @pytest.mark.parametrize("content", [None, b"\x89PNG\r\n\x1a\n" + bytes(50)])
    def test_folder_without_logs(self, write, tmp_path, content):
        """An empty one, or one with pictures alone, is an error: somebody expected logs."""
        (tmp_path / "logs").mkdir()
        if content:
            write("logs/a.png", content)
        result = call("run", "logs", "--jsonl")
        assert (result.out, result.code) == ("", 2)
        assert "error: logs: contains no logs\n" in result.err
        assert call("run", "logs", "--json").json == []

    def test_unreadable_file_among_good_ones(self, write, tmp_path):
        """One that is there but gives an error when read, for root too; the others get their verdicts."""
        for name in ("a", "z"):
            write(f"logs/{name}.log", GOOD)
        (tmp_path / "logs" / "m.log").symlink_to("/proc/self/mem")
        result = call("run", "logs", "--jsonl")
        assert (names(result), result.code) == (["logs/a.log", "logs/z.log"], 2)
        assert result.notes[0] == "error: logs/m.log: cannot be read further: Input/output error"
        assert len(call("runs", "--json").json) == 2

    def test_file_without_permission(self, write, monkeypatch):
        """As an ordinary user meets it; here the system's answer is imitated, since root may read anything."""
        write("logs/a.log", GOOD)
        write("logs/m.log", GOOD + b"other\n")
        if os.geteuid():
            Path("logs/m.log").chmod(0)
        else:
            import builtins

            monkeypatch.setattr(builtins, "open", _denying(builtins.open, "m.log"))
        result = call("run", "logs", "--jsonl")
        assert (names(result), result.code) == (["logs/a.log"], 2)
        assert result.notes[0] == "error: logs/m.log: cannot be read: Permission denied"

    def test_link_to_nothing(self, write, tmp_path):
        """An error if it is given itself; skipped in a folder, where a link `latest` is common."""
        write("logs/a.log", GOOD)
        (tmp_path / "logs" / "latest.log").symlink_to("gone.log")
        result = call("run", "logs/a.log", "logs/latest.log", "--jsonl")
        assert (names(result), result.code) == (["logs/a.log"], 2)
        assert result.notes[0] == "error: logs/latest.log: is a link to nothing"
        assert call("run", "logs", "--jsonl").code == 0


def _denying(real_open, name):
    def opened(path, *arguments, **options):
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *arguments, **options)

    return opened


class TestBadBundles:
    @pytest.fixture
    def broken(self, tmp_path, bundle_path):
        """A copy of the bundle to be damaged."""
        folder = tmp_path / "broken"
        folder.mkdir()
        for file in bundle_path.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return folder

    def wrong_checksum(self, folder):
        (folder / "detector.json").write_bytes((folder / "detector.json").read_bytes() + b" ")

    def missing_file(self, folder):
        (folder / "terms.npz").unlink()

    def other_masking(self, folder):
        self.change(folder, masking_version=999)

    def other_schema(self, folder):
        self.change(folder, schema_version=999)

    def damaged_card(self, folder):
        (folder / "card.json").write_bytes(b"{")

    def file_outside(self, folder):
        self.change(folder, files={"../a.log": "0" * 64})

    def change(self, folder, **changes):
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps({**card, **changes}))

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (wrong_checksum, r"detector\.json in bundle \S+ does not match its checksum; copy the whole folder again"),
            (missing_file, r"bundle \S+ lacks terms\.npz \(No such file or directory\); copy the whole folder again"),
            (
                other_masking,
                r"bundle tiny was trained on masking version 999, this installation masks by version \d+; retrain .*",
            ),
            (other_schema, r"\S+card\.json has schema version 999, this installation reads 2; rebuild .*"),
            (damaged_card, r"\S+card\.json is not valid JSON: .*"),
            (file_outside, r"\S+card\.json lists '\.\./a\.log', which is not a plain file name"),
        ],
    )
    def test_is_rejected(self, broken, write, damage, message):
        """One clear line, exit 2, nothing judged and nothing kept."""
        write("a.log", GOOD)
        damage(self, broken)
        result = call("run", "a.log", "--bundle", broken, "--jsonl")
        assert (result.code, result.out) == (2, "")
        assert re.fullmatch(f"error: {message}\n", result.err)
        assert not kept_folder().exists()


def incompressible(seed: int) -> bytes:
    """Lines of words that nobody knows; more than a small disk holds, compressed or not."""
    random = Random(seed)
    return b"".join(bytes(random.choices(range(97, 123), k=59)) + b"\n" for _ in range(2000))


@pytest.mark.slow
class TestFullDisk:
    # Enough to open an existing store, whose shared memory takes 32 KiB; too little for its log and for a text.
    SMALL = 36_000

    def test_store_and_archive_are_full(self, write):
        """Every verdict is printed; one line for each sink says what could not be stored and what to do; exit 2."""
        write("before.log", GOOD)
        call("run", "before.log")
        for number in range(3):
            write(f"logs/{number}.log", incompressible(number))
        with file_size_limit(self.SMALL):
            result = call("run", "logs", "--jsonl")
        assert names(result) == ["logs/0.log", "logs/1.log", "logs/2.log"]
        assert result.code == 2
        assert re.search(r"^error: not everything was stored: .*archive.*; free space", result.err, re.MULTILINE)
        assert re.search(
            r"^error: not everything was stored: store .*\.sqlite: .*disk.*; check its disk", result.err, re.MULTILINE
        )
        assert "internal error" not in result.err
        assert [row["run_id"].partition("#")[0] for row in call("runs", "--json").json] == ["before.log"]
        assert call("run", "logs").code == 1
        assert len(call("runs", "--json").json) == 4

    def test_table_is_printed_too(self, write):
        write("a.log", GOOD)
        call("run", "a.log")
        write("b.log", incompressible(1))
        with file_size_limit(self.SMALL):
            result = call("run", "b.log")
        assert re.search(r"^b\.log#\w+ ", result.out, re.MULTILINE)
        assert result.code == 2

    def test_store_that_cannot_be_opened(self, write):
        """Runs are judged and printed all the same; the message names the way out."""
        write("a.log", GOOD)
        write("store", b"this is no database\n" * 50)
        result = call("run", "a.log", env={"STREAM_TRIAGE_STORE__PATH": "store/v.sqlite"})
        assert result.code == 2
        assert "Pass" in result.out
        (message, _) = result.err.splitlines()
        assert message.startswith("error: not everything was stored: store store/v.sqlite cannot be opened: ")
        assert "--no-store" in message

    @pytest.mark.parametrize("arguments", [["run", "a.log"], ["run", "a.log", "--jsonl"], ["templates"]])
    def test_standard_output_is_full(self, write, arguments):
        """One line and exit 2, no trace; the verdict is in the store."""
        write("a.log", GOOD)
        with open("/dev/full", "wb") as full:
            process = spawn(*arguments, stdout=full)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 2
        assert re.search(rb"error: .*[Nn]o space left on", err)
        assert b"Traceback" not in err
        assert b"internal error" not in err
        if arguments[0] == "run":
            assert len(call("runs", "--json").json) == 1


def wait_for(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


@pytest.mark.slow
class TestInterrupts:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_mid_run(self, write, number):
        """Ctrl-C, or the end of a job: what was finished is in the store, the open run is named, exit 130."""
        write("a.log", GOOD)
        os.mkfifo("b.log")
        process = spawn("run", "a.log", "b.log", "--jsonl")
        with open("b.log", "wb") as pipe:  # opens when the process has come so far
            pipe.write(LONG[:4096] + LONG * 2)  # more than a pipe holds, so most has been read when this returns
            pipe.flush()
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert [json.loads(line)["run_id"].partition("#")[0] for line in out.splitlines()] == ["a.log"]
        assert re.search(rb"^interrupted: b\.log#\w+ was not finished and has no verdict$", err, re.MULTILINE)
        assert b"Traceback" not in err
        assert [row["run_id"].partition("#")[0] for row in call("runs", "--json").json] == ["a.log"]

    def test_json_stays_json(self, write, monkeypatch):
        """What was finished is a whole array."""
        write("a.log", GOOD)
        write("b.log", BAD)
        monkeypatch.setattr(Intake, "_end", _interrupting(Intake._end))
        result = call("run", "a.log", "b.log", "--json")
        assert [verdict["label"] for verdict in result.json] == ["Pass"]
        assert result.code == 130

    @pytest.mark.parametrize("arguments", [[], ["--follow"]])
    def test_in_the_middle_of_the_work(self, write, monkeypatch, arguments):
        """The lines in hand are finished first: none is counted twice or lost, no verdict is half kept."""
        write("a.log", LONG)
        monkeypatch.setattr(SystemClock, "sleep", lambda *_: None)
        monkeypatch.setattr(Rules, "update", _interrupting(Rules.update))
        result = call("run", "a.log", *arguments, "--jsonl")
        (verdict,) = result.jsonl
        assert verdict["sources"][0]["lines"] == LONG.count(b"\n")
        assert verdict["sources"][0]["known_lines"] == LONG.count(b"\n")
        assert result.code == (1 if arguments else 130)
        assert len(call("runs", "--json").json) == 1

    def test_twice_does_not_wait(self, write, monkeypatch):
        """A second Ctrl-C ends the work in hand."""
        write("a.log", LONG)
        monkeypatch.setattr(Rules, "update", _interrupting(Rules.update, times=2))
        result = call("run", "a.log", "--jsonl")
        assert (result.out, result.code) == ("", 130)
        assert "interrupted: a.log was not finished" in result.err

    def test_stdin(self):
        """A pipe's run gets a verdict on what had come."""
        result = call("run", "-", "--jsonl", stdin=InterruptedPipe(GOOD, BAD))
        assert (names(result), result.code) == (["stdin"], 130)
        assert result.jsonl[0]["sources"][0]["bytes"] == len(GOOD + BAD)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_follow(self, write, number):
        """Ctrl-C, or the end of a service, closes the runs that are open, with verdicts, and the results say how it ends."""
        write("logs/a.log", GOOD)
        write("logs/b.log", BAD)
        process = spawn("run", "--follow", "--end-pattern", "session up", "logs", "--jsonl")
        first = process.stdout.readline()  # comes about a second later, long after both were read
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        verdicts = [json.loads(line) for line in (first + out).splitlines()]
        assert [(v["run_id"].partition("#")[0], v["label"]) for v in verdicts] == [
            ("logs/a.log", "Pass"),
            ("logs/b.log", "L3"),
        ]
        assert process.returncode == 1
        assert b"Traceback" not in err
        assert len(call("runs", "--json").json) == 2

    def test_ignored_interrupts_stay_ignored(self, write):
        """As a job in the background, it goes on."""
        write("a.log", GOOD)
        os.mkfifo("b.log")
        process = spawn("run", "b.log", "--jsonl", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        with open("b.log", "wb") as pipe:
            process.send_signal(signal.SIGINT)
            pipe.write(GOOD)
        out, _ = process.communicate(timeout=30)
        assert json.loads(out)["passed"]
        assert process.returncode == 0


def _interrupting(method, times: int = 1):
    """The first call is interrupted in its middle, by a real signal."""
    left = [times]

    def interrupted(*arguments, **options):
        while left[0]:
            left[0] -= 1
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.001)
        return method(*arguments, **options)

    return interrupted


@pytest.mark.slow
class TestClosedPipe:
    @pytest.mark.parametrize("arguments", ["run logs --jsonl", "run logs --json", "run logs", "templates", "runs", "check"])
    def test_reader_that_has_left(self, write, arguments):
        """No trace, no internal error, no complaint of Python at its end, and no exit code that speaks of the runs."""
        for number in range(3):
            write(f"logs/{number}.log", whole_run("L3", number))
        call("run", "logs/1.log")
        reading, writing = os.pipe()
        os.close(reading)
        process = spawn(*arguments.split(), stdout=writing)
        os.close(writing)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 2
        for word in (b"Traceback", b"internal error", b"Exception ignored", b"BrokenPipe"):
            assert word not in err

    def test_reader_that_takes_one_line(self, write):
        """As `head -1` does: it gets the line, and the verdicts that were finished are in the store."""
        for number in range(60):
            write(f"logs/{number}.log", whole_run("L3", number))
        command = f"{' '.join(COMMAND)} run logs --jsonl | head -1"
        done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=False)
        assert json.loads(done.stdout)["label"] == "L3"
        assert b"Traceback" not in done.stderr
        assert call("runs", "--json").json


HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07 [red]bold[/red] [/] \u202egol.exe\u2066 \x9b2J \x7f"
# What terminals obey: control characters, and what turns the writing direction.
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class TestHostileText:
    NAME = f"evil{HOSTILE.replace('/', '')}.log"

    @pytest.fixture
    def run(self, write):
        write(f"logs/{self.NAME}", BAD.replace(b"registration reject", f"registration reject {HOSTILE}".encode()))
        write("logs/gone.log.gz", gzip.compress(LONG)[:300])
        Path(f"logs/link {self.NAME}").symlink_to("nothing")
        return call("run", "logs", "-H", f"note={HOSTILE}")

    @pytest.mark.parametrize(
        "command",
        [
            ["run", "logs", "--no-store"],
            ["run", "logs", "--no-store", "--json"],
            ["run", "logs", "--no-store", "--jsonl"],
            ["show", "evil"],
            ["show", "evil", "--full"],
            ["show", "evil", "--json"],
            ["runs"],
            ["runs", "--json"],
            ["reduce", "logs"],
            ["forget", "evil"],
            ["show", HOSTILE],
            ["run", f"none {HOSTILE}"],
            ["run", "logs", "--bundle", HOSTILE],
            ["run", "logs", "--rules", HOSTILE],
        ],
        ids=lambda command: " ".join(command)[:24].encode("ascii", "ignore").decode().replace("\x1b", ""),
    )
    def test_nothing_that_a_terminal_obeys_arrives(self, run, command):
        """Neither on standard output nor on standard error."""
        result = call(*command)
        assert not OBEYED.search(result.err.replace("\n", ""))
        if {"--json", "--jsonl"}.isdisjoint(command):
            assert not OBEYED.search(result.out.replace("\n", ""))
        else:  # JSON is for programs and keeps the text as it was, but escapes what it must
            assert "\x1b" not in result.out

    def test_markup_is_shown_literally(self, run):
        """In names and in lines."""
        assert "[red]bold[/red] [/]" in call("show", "evil", "--full").out
        assert "[red]bold[/red] [/]" in call("show", "evil").out
        assert "[red]bold[red]" in run.out.replace("\n", "")
        assert "\\x1b[31mred\\x1b[0m" in call("show", "evil").out
        assert "\\u202egol.exe" in call("reduce", f"logs/{self.NAME}").out

    def test_notes_name_the_file_literally(self, run):
        assert "[red]bold[red]" in "".join(note for note in run.notes if "link to nothing" in note)
        assert any("gone.log.gz: the gz data ends early" in note for note in run.notes)


SECRETS = {
    "imsi": "001019876543210",
    "k": "8baf473f2f8fd09487cccbd7097c6862",
    "opc": "e8ed289deba952e4283b54e88e6183ca",
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJlLW9mLXRlc3Q",
    "password": "Tr0ub4dor-3x",
    "email": "jane.doe@lab.example",
    "pem": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
}
SECRET_LINES = f"""attach IMSI={SECRETS["imsi"]} K={SECRETS["k"]} opc: {SECRETS["opc"]}
GET / Authorization: Bearer {SECRETS["token"]}
password={SECRETS["password"]} mail {SECRETS["email"]}
-----BEGIN PRIVATE KEY-----
{SECRETS["pem"]}
-----END PRIVATE KEY-----
registration reject cause 7 for imsi-{SECRETS["imsi"]}
"""
SECRET_NAME = f"imsi-{SECRETS['imsi']} password={SECRETS['password']} {SECRETS['email']} K={SECRETS['k']}"
SHOWN = ("<imsi>", "<key>", "<token>", "<password>", "<email>", "<private-key>")
RULES = """
[[rule]]
name = "secret lines"
pattern = "IMSI|Bearer|password|KEY"
label = "L3"
weight = 1.0
note = "they show"
"""


class TestLeaks:
    @pytest.fixture
    def results(self, write):
        """All ways in and out, with secrets in text, names, sources and headers, damage included."""
        text = SECRET_LINES.encode() + BAD + SECRET_LINES.encode()
        write(f"logs/{SECRET_NAME}/{SECRET_NAME}.log", text)
        write(f"logs/{SECRET_NAME}/ue {SECRET_NAME}.log.gz", gzip.compress(text + incompressible(1))[:9000])
        write(f"logs/{SECRET_NAME}/bin {SECRET_NAME}.log", b"\x7fELF" + bytes(100))
        Path(f"logs/link {SECRET_NAME}.log").symlink_to("nothing")
        with zipfile.ZipFile(f"logs/{SECRET_NAME}.zip", "w") as archive:
            archive.writestr(f"in {SECRET_NAME}.log", text)
            archive.writestr(f"bomb {SECRET_NAME}.gz", b"\x1f\x8b\x08 broken" * 30)
        write("rules.toml", RULES.encode())
        headers = [
            "-H", f"test.case.name=attach IMSI {SECRETS['imsi']} K={SECRETS['k']}",
            "-H", f"user {SECRETS['email']}=Bearer {SECRETS['token']}",
            "-H", f"key=-----BEGIN PRIVATE KEY-----\n{SECRETS['pem']}\n-----END PRIVATE KEY-----",
        ]  # fmt: skip
        common = ["logs", f"none {SECRET_NAME}.log", *headers, "--rules", "rules.toml"]
        return [
            call("run", *common, "--jsonl"),
            call("run", *common, "--run-by", "folder"),
            call("run", *common, "--no-store", "--json"),
            call("run", "-", *headers, "--jsonl", stdin=gzip.compress(text + incompressible(1))[:9000]),
            call("reduce", "logs"),
            call("runs"),
            call("runs", "--json"),
            *(
                call("show", run["run_id"], *how)
                for run in call("runs", "--json").json
                for how in ([], ["--full"], ["--json"])
            ),
        ]

    def test_no_secret_is_shown(self, results):
        """On no output of any command, notes about damaged files included."""
        shown = "".join(result.out + result.err for result in results)
        for sign in (*SHOWN, "registration reject", "ends early", "damaged gz", "does not exist", "not a log"):
            assert sign in shown
        for kind, secret in SECRETS.items():
            assert secret not in shown, kind

    def test_no_secret_is_kept(self, results):
        """In no file below the data folder: names, raw bytes, archived texts, rows."""
        kept = everything_kept()
        assert all(sign.encode() in kept for sign in SHOWN)
        assert len(list(kept_folder().rglob("*.zst"))) >= 4
        for kind, secret in SECRETS.items():
            assert secret.encode() not in kept, kind

    def test_no_secret_of_an_interrupted_run_is_shown(self, monkeypatch, write):
        write(f"{SECRET_NAME}.log", SECRET_LINES.encode() + BAD)
        monkeypatch.setattr(Rules, "update", _interrupting(Rules.update, times=2))
        result = call("run", f"{SECRET_NAME}.log")
        assert "interrupted: imsi-<imsi>" in result.err
        assert not any(secret in result.err for secret in SECRETS.values())

    def test_no_secret_is_in_temporary_files(self, write, tmp_path, monkeypatch):
        """What a long run spills to disk is redacted, too."""
        spilled = []
        monkeypatch.setattr(_Storage, "append", _watching(spilled))
        write("a.log", SECRET_LINES.encode() * 500)
        call("run", "a.log", "--no-store")
        texts = b"".join(zstandard.ZstdDecompressor().decompressobj().decompress(data) for data in spilled)
        assert texts.count(b"<imsi>") >= 500
        for kind, secret in SECRETS.items():
            assert secret.encode() not in texts, kind


def _watching(spilled: list[bytes]):
    append = _Storage.append

    def watched(self, data):
        spilled.append(bytes(data))
        return append(self, data)

    return watched
