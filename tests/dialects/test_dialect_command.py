"""`dialect`, `check` and `run` with dialects: what they print, and how they end."""

import shutil
from pathlib import Path

import pytest

from tests.commands import call
from tests.dialects.test_own import OWN

GOOD = OWN + "[examples]\n'2024-01-02 03:04:05 [sched] preamble lost ue=7' = 'random access failed'\n"
LOG = """\
2024-01-02 03:04:01 [sched] preamble sent ue=7
2024-01-02 03:04:02 [sched] preamble lost ue=7
2024-01-02 03:04:03 [radio] power failure
2024-01-02 03:04:04 [radio] power failure
  \x1b[31mnothing to <see>\x1b[0m
"""
LOGS = Path(__file__).parents[2] / "docs" / "dialects"


@pytest.fixture(autouse=True)
def _here(workplace, write):
    """Each test works in an empty folder, with the tiny bundle, which follows no procedures."""
    write("mine.toml", GOOD.encode())
    write("a.log", LOG.encode())


def lists_of(out: str) -> dict[str, list[str]]:
    """The lists of a report by their titles, without what comes before."""
    return {
        title: [entry.strip() for entry in entries] for title, *entries in map(str.splitlines, out.strip().split("\n\n"))
    }


class TestDialect:
    def test_report(self):
        """What begins records, events, UEs, and what no phrase matches, words of trouble before the rest."""
        result = call("dialect", "mine.toml", "a.log")
        assert result.code == 0
        lists = lists_of(result.out)
        assert lists == {
            "mine (My stack): 1 event, 1 phrase, 1 module, 1 example": [],
            "5 lines: 4 begin records of mine (80%), 1 continue them": [
                "Records by module: sched 2 (l2)",
                "Modules that [modules] does not list: radio 2",
            ],
            "Events": ["random access failed             1  #2"],
            "UEs: 1, failed: 1": ["7: random access failed #2; failed: the random access of it failed"],
            "Words of trouble in modules that are not listed": ["2  #3  2024-01-02 03:04:03 [radio] power failure"],
            "Other records that no phrase matches": ["1  #1  2024-01-02 03:04:01 [sched] preamble sent ue=7"],
        }

    def test_a_slow_pattern_reads_no_line(self, write):
        """It might take hours for one; neither an example nor a log is read with it."""
        slow = GOOD.replace("records = [", "records = ['(?:\\S+ ?)*\\|(?P<module>x)\\|', ", 1)
        assert slow != GOOD
        write("slow.toml", slow.encode())
        write("long.log", b"a" * 200 + b"\n")
        result = call("dialect", "slow.toml", "long.log")
        assert result.code == 2
        assert "is slow" in result.out
        assert "no log was read" in result.err

    def test_several_logs(self, write):
        """Each line is named with its log; lines are counted over all of them."""
        write("b.log", LOG.encode())
        lists = lists_of(call("dialect", "mine.toml", "a.log", "b.log").out)
        assert lists["Events"] == ["random access failed             2  a.log:2, b.log:2"]
        assert lists["Words of trouble in modules that are not listed"] == [
            "4  a.log:3  2024-01-02 03:04:03 [radio] power failure"
        ]

    def test_lists_are_cut(self, write):
        write("b.log", "".join(f"2024-01-02 03:04:01 [sched] {word}\n" for word in ("one", "two", "three")).encode())
        lists = lists_of(call("dialect", "mine.toml", "b.log", "--max-lines", "2").out)
        assert lists["Other records that no phrase matches"][2:] == ["and 1 more (--max-lines)"]

    def test_prefixes_of_collectors_are_taken_off(self, write):
        """Lines are read as for a verdict: here without the prefix of docker compose."""
        lines = [f"2024-01-02 03:04:{i:02} [sched] preamble {'lost' if i == 9 else 'sent'} ue=7" for i in range(40)]
        write("b.log", "".join(f"gnb-1  | {line}\n" for line in lines).encode())
        out = call("dialect", "mine.toml", "b.log").out
        assert "40 begin records of mine (100%)" in out
        assert "random access failed" in out

    def test_a_packaged_dialect(self):
        """By its name; its examples are many, and hold."""
        result = call("dialect", "ueransim")
        assert result.code == 0
        assert result.out.startswith("ueransim (UERANSIM): ")

    def test_secrets_stay_out(self, write):
        """Text is redacted and made harmless, as everywhere."""
        write("b.log", b"2024-01-02 03:04:01 [sched] failed imsi=001010123456789 \x1b]0;x\x07 ue=7\n")
        out = call("dialect", "mine.toml", "b.log").out
        assert "<imsi>" in out
        assert "001010123456789" not in out
        assert "\x1b" not in out

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("none.toml", "error: dialect none.toml cannot be read: No such file or directory"),
            ("tm5", "error: there is no dialect 'tm5'; name a file, or one of amarisoft, free5gc"),
            ("a.log", "error: dialect a.log is not TOML"),
        ],
    )
    def test_no_dialect(self, name, message):
        result = call("dialect", name, "a.log")
        assert (result.code, result.err.startswith(message)) == (2, True)

    def test_faults_end_with_2(self, write):
        """All of them are named, and the log is read all the same."""
        text = GOOD.replace("= 'random access failed'", "= 'random access completed'") + "'x' = ''\n"
        write("mine.toml", text.replace('["preamble lost"]', '["preamble lost", "slot 17"]').encode())
        result = call("dialect", "mine.toml", "a.log")
        assert result.code == 2
        wrong = [line for line in result.out.splitlines() if line.startswith("wrong")]
        assert [line.split("  ", 1)[1].split(";")[0][:60] for line in wrong] == [
            "the example '2024-01-02 03:04:05 [sched] preamble lost ue=7'",
            "the example 'x' begins no record",
            "random access failed: the phrase 'slot 17' has a number, and",
        ]
        assert "gives the event 'random access failed', not 'random access completed'" in wrong[0]
        assert "Events" in result.out

    def test_missing_log(self):
        assert call("dialect", "mine.toml", "none.log").code == 2


class TestCheck:
    def lines(self, *args: str) -> tuple[int, dict[str, str]]:
        result = call("check", *args)
        return result.code, {
            line.split(": ")[0]: line.split(": ", 1)[1] for line in result.out.splitlines() if "ialect" in line
        }

    def test_each_file_has_a_line(self):
        """And the tiny bundle, which follows no procedures, is said to use none."""
        assert self.lines("--dialect", "mine.toml") == (
            0,
            {
                "ok     dialects": "amarisoft, free5gc, oai, open5gs, srsran, tm500, ueransim; 1 file of your own; "
                "bundle tiny follows no procedures and uses none of them",
                "ok     dialect mine.toml": "mine has 1 event, 1 phrase, 1 module, 1 example",
            },
        )

    def test_a_fault_does_not_hide_the_next_file(self, write):
        """A broken file, a good one, and one with the same name as another."""
        write("broken.toml", b"name = ")
        write("again.toml", GOOD.encode())
        code, lines = self.lines("--dialect", "broken.toml", "--dialect", "mine.toml", "--dialect", "again.toml")
        assert code == 2
        assert lines["wrong  dialect broken.toml"].startswith("dialect broken.toml is not TOML")
        assert lines["ok     dialect mine.toml"]
        assert lines["wrong  dialect again.toml"] == (
            "mine.toml and again.toml are both called 'mine'; rename one, or leave one out"
        )

    def test_wrong_examples_fail(self, write):
        write("mine.toml", GOOD.replace("preamble lost ue", "preamble found ue").encode())
        code, lines = self.lines("--dialect", "mine.toml")
        assert code == 2
        assert "gives no event, not 'random access failed'" in lines["wrong  dialect mine.toml"]

    def test_files_of_the_settings(self, write):
        write("my.toml", b'dialects = ["mine.toml"]\n')
        assert "ok     dialect mine.toml" in self.lines("--config", "my.toml")[1]

    def test_files_beside_the_bundle(self, bundle_path, tmp_path):
        """They are found by the bundle's folder."""
        shutil.copytree(bundle_path, tmp_path / "own")
        (tmp_path / "own" / "dialects").mkdir()
        (tmp_path / "own" / "dialects" / "mine.toml").write_text(GOOD)
        code, lines = self.lines("--bundle", "./own")
        assert code == 0
        assert lines["ok     dialect own/dialects/mine.toml"] == "mine has 1 event, 1 phrase, 1 module, 1 example"

    def test_without_a_bundle(self):
        """Its absence is one fault, not two."""
        code, lines = self.lines("--bundle", "none", "--dialect", "mine.toml")
        assert code == 2
        assert {line.split()[0] for line in lines} == {"ok"}


class TestShow:
    def test_a_dialect_is_for_the_events_of_a_ue(self):
        """A stored verdict is as it was judged."""
        result = call("show", "any", "--dialect", "mine.toml")
        assert result.code == 2
        assert "--dialect says how the text is read for --ue" in " ".join(result.err.split())


class TestRun:
    def test_a_broken_file_stops_it(self, write):
        """Without a traceback, and before anything is read."""
        write("mine.toml", b"name = ")
        result = call("run", "--dialect", "mine.toml", "a.log")
        assert (result.code, result.out) == (2, "")
        assert result.notes[0].startswith("error: dialect mine.toml is not TOML")

    def test_a_dialect_beside_the_bundle_is_used(self, tmp_path):
        """The UEs that it finds are in the verdict."""
        shutil.copytree(LOGS.parents[1] / "models" / "tm500", tmp_path / "tm500")
        (tmp_path / "tm500" / "dialects").mkdir()
        (without,) = call("run", "--no-store", "--jsonl", "-b", "./tm500", LOGS / "refused.log").jsonl
        shutil.copy(LOGS / "osmo_ggsn.toml", tmp_path / "tm500" / "dialects")
        (verdict,) = call("run", "--no-store", "--jsonl", "-b", "./tm500", LOGS / "refused.log").jsonl
        assert not without["ues"]
        assert (verdict["ues"]["seen"], verdict["ues"]["failed"]) == (4, 3)
