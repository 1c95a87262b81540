"""Logs as farms really collect them, from `cases/` of the data folder: each input once showed a fault.

The small tests of each kind are beside the code that they test; this one shows that the whole command gets real files right.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stream_triage.render.junit import with_verdicts
from stream_triage.stages.redact import Redactor
from tests.commands import Result, call
from tests.verdicts import make_verdict

pytestmark = pytest.mark.slow

SAMPLES = Path(__file__).parents[1] / "samples"
Verdict = dict[str, Any]


@pytest.fixture
def cases(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cases; commands run in an empty folder, with the shipped bundles."""
    monkeypatch.chdir(tmp_path)
    return data_folder / "cases"


def judged(*args: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> tuple[Result, list[Verdict]]:
    """`run` on these inputs: its result, and its verdicts."""
    result = call("run", *args, "--jsonl", stdin=stdin, env=env)
    return result, [json.loads(line) for line in result.out.splitlines()]


def gist(verdict: Verdict) -> tuple[Any, ...]:
    """What must not depend on how a log was collected: the label, whether it is decided, and the first evidence line."""
    lines = [item["number"] for item in verdict["evidence"] if item["kind"] == "line"]
    return verdict["label"], verdict["needs_review"], lines[:1]


class TestIdentity:
    def test_piped_logs_with_the_same_beginning_are_two_runs(self, cases: Path) -> None:
        first, second = sorted((cases / "same-head").iterdir())
        assert first.read_bytes()[:4096] == second.read_bytes()[:4096]
        ids = {judged("-", stdin=path.read_bytes())[1][0]["run_id"] for path in (first, second)}
        assert len(ids) == 2
        assert len(call("runs").out.splitlines()) >= 2 + 1
        assert all(run_id in call("runs").out for run_id in ids)

    def test_files_of_one_path_with_the_same_beginning_are_two_runs(self, cases: Path) -> None:
        ids = set()
        for path in sorted((cases / "same-head").iterdir()):
            Path("ue.log").write_bytes(path.read_bytes())
            ids |= {judged("ue.log")[1][0]["run_id"] for _ in range(2)}
        assert len(ids) == 2


class TestPrefixes:
    @pytest.mark.parametrize("name", ["compose-rejected.log", "timestamper-rejected.log"])
    def test_wrapped_sample(self, cases: Path, name: str) -> None:
        _, (plain,) = judged(SAMPLES / "tm500" / "rejected.log")
        _, (wrapped,) = judged(cases / "prefix" / name)
        assert gist(wrapped) == gist(plain)
        assert wrapped["label"] == "L3"
        assert all(source["stripped"] for source in wrapped["sources"])

    def test_time_option_of_oai(self, cases: Path) -> None:
        folder = cases / "prefix" / "oai-time-attach-pass"
        _, (verdict,) = judged(folder, "--run-by", "folder", "--bundle", "oai5g")
        assert (verdict["label"], verdict["needs_review"]) == ("Pass", False)


@pytest.mark.parametrize("percent", [5, 50])
def test_cut_run_needs_a_review(cases: Path, percent: int) -> None:
    """The log of a passing run that ends early is neither a sure failure nor a clean pass."""
    _, (verdict,) = judged(cases / "cut" / f"pass-cut-at-{percent}-percent.log")
    assert verdict["needs_review"]
    assert any(reason.startswith("the log ends early") for reason in verdict["review_reasons"])


class TestEncodings:
    @staticmethod
    def same_as(text: str, verdict: Verdict) -> None:
        """The verdict is that of the same text in UTF-8."""
        Path("plain.log").write_bytes(text.encode())
        _, (plain,) = judged("plain.log")
        assert gist(verdict) == gist(plain)
        assert verdict["sources"][0]["lines"] == plain["sources"][0]["lines"]

    def test_utf_16_without_a_mark(self, cases: Path) -> None:
        result, (verdict,) = judged(path := cases / "encoding" / "a3-utf16le-nobom.log")
        assert result.code in (0, 1)
        self.same_as(path.read_bytes().decode("utf-16-le"), verdict)

    def test_nul_bytes_at_the_head(self, cases: Path) -> None:
        _, (verdict,) = judged(path := cases / "encoding" / "a5b-nul-head-700.log")
        own = [reason for reason in verdict["review_reasons"] if reason.startswith("confidence")]
        self.same_as(path.read_bytes().lstrip(b"\0").decode(), verdict | {"needs_review": bool(own)})
        assert verdict["sources"][0]["repairs"]["nul_bytes"] == 700

    def test_gbk_as_set(self, cases: Path) -> None:
        path = cases / "encoding" / "a7-gbk.log"
        _, (verdict,) = judged(path, env={"STREAM_TRIAGE_INPUT__ENCODING": "gbk"})
        self.same_as(path.read_bytes().decode("gbk"), verdict)

    def test_five_odd_lines_are_no_reason(self, cases: Path) -> None:
        _, (verdict,) = judged(cases / "encoding" / "a8b-latin1-rare.log")
        assert all(reason.startswith("confidence") for reason in verdict["review_reasons"]), (
            "of the run, not of its encoding"
        )

    def test_utf_16_and_then_ascii(self, cases: Path) -> None:
        data = (path := cases / "encoding" / "a9d-utf16-then-ascii.log").read_bytes()
        end = data.rindex(b"\n\0") + 2
        _, (verdict,) = judged(path)
        self.same_as(data[:end].decode("utf-16") + data[end:].decode(), verdict)
        assert verdict["sources"][0]["encoding"] == "utf-16-le, utf-8"


@pytest.mark.parametrize("name", ["j8-gbk.xml", "j1-esc.xml"])
def test_junit_files_in_other_encodings(cases: Path, name: str) -> None:
    """Both are read, and a name that two classes have is not taken for either."""
    given = make_verdict(label="L3", passed=False)
    judged_file = with_verdicts((cases / "junit" / name).read_bytes(), {"lab.A.test_attach": given}.get)
    assert (judged_file.matched, judged_file.ambiguous) == (1, {})


class TestArchives:
    def test_hard_links(self, cases: Path) -> None:
        result, verdicts = judged(cases / "archives" / "b4-hardlinks.tar")
        names = [verdict["run_id"].partition("!/")[2].partition("#")[0] for verdict in verdicts]
        assert {"run1/tm500.log", "run2/tm500.log"} <= set(names)
        assert result.code in (0, 1)

    def test_archive_in_an_archive(self, cases: Path) -> None:
        result, verdicts = judged(cases / "archives" / "b3-nested.zip")
        assert any("!/job1/logs.zip!/" in verdict["run_id"] for verdict in verdicts)
        assert any("!/job1/console.log" in verdict["run_id"] for verdict in verdicts)
        assert result.code in (0, 1)

    def test_joined_archives(self, cases: Path) -> None:
        result, verdicts = judged(cases / "archives" / "b6-concat.tar")
        names = {verdict["run_id"].partition("!/")[2].partition("#")[0] for verdict in verdicts}
        assert names == {"one.log", "two.log"}
        assert result.code in (0, 1)


class TestTm500:
    @pytest.mark.parametrize("name", ["m1.log", "mB.log"])
    def test_passing_run_with_real_bodies(self, cases: Path, name: str) -> None:
        _, (verdict,) = judged(cases / "tm500" / name)
        assert (verdict["label"], verdict["ues"]["failed"]) == ("Pass", 0)

    @pytest.mark.parametrize("name", ["mC.log", "mD.log"])
    def test_cause_is_the_test_bed(self, cases: Path, name: str) -> None:
        _, (verdict,) = judged(cases / "tm500" / name)
        assert verdict["cause"] == "environment"


HEX_KEY = re.compile(r"(?i)(?<![0-9a-f])(?:[0-9a-f]{32}|(?:[0-9a-f]{2}\.){15}[0-9a-f]{2})(?![0-9a-f])")
IDENTITY = re.compile(r"(?<!\d)(?:\d{15,16}|89\d{17,18}|4917\d{8})(?!\d)")
CARD_CODE = re.compile(r"81726354|3831373236333534|38 31 37 32 36 33 35 34|(?<=PIN1: )1234|(?<=PUK1: )12345678")


@pytest.mark.parametrize("name", ["r1-oai-hss.log", "r3-pysim.log", "r4-mongo.log", "r7-tm500-usim.log"])
def test_no_key_and_no_identity_is_left(cases: Path, name: str) -> None:
    """Also none that has no name beside it."""
    text = (cases / "redaction" / name).read_text()
    secrets = [match[0] for pattern in (HEX_KEY, IDENTITY, CARD_CODE) for match in pattern.finditer(text)]
    assert secrets
    lines = Redactor().text(text)
    assert [secret for secret in dict.fromkeys(secrets) if secret in lines] == []
