"""Verdicts are written into JUnit files, and set as defect types in a ReportPortal that accepts what its API documents."""

import io
import json
import sys
import urllib.parse
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from connectors import reportportal
from stream_triage.errors import InputError
from stream_triage.records import Evidence
from stream_triage.render.junit import with_verdicts
from tests.commands import call
from tests.services.plugins import serving
from tests.verdicts import make_verdict

ROOT = Path(__file__).parents[2]
HOSTILE = "\x1b[31mreject <b>&\x00\u202e"
FAILED = make_verdict("night/1", label="L3", passed=False, team="core", headers={"test.case.name": "attach"},
                      why=f"UE {HOSTILE} was refused",
                      evidence=(Evidence(kind="line", weight=1.0, source="du", number=7, text=HOSTILE),))  # fmt: skip
JUNIT = b"""<?xml version="1.0"?>
<testsuites><testsuite name="s">
<testcase classname="lab" name="attach" time="1.5"><failure message="m">text</failure></testcase>
<testcase classname="lab" name="other"/></testsuite></testsuites>"""


def properties(data: bytes, name: str) -> dict[str, str]:
    (case,) = [case for case in ET.fromstring(data).iter("testcase") if case.get("name") == name]
    return {each.get("name"): each.get("value") for each in case.findall("properties/property")}


class TestJunit:
    def test_properties(self):
        """They are added, what was there stays, and control characters in log text do not break the XML."""
        data, count, *_ = with_verdicts(JUNIT, {"attach": FAILED}.get)
        assert count == 1
        added = properties(data, "attach")
        assert added["triage.label"] == "L3"
        assert added["triage.team"] == "core"
        assert added["triage.why"] == "UE reject <b>&\\x00\\u202e was refused"
        assert "triage.why" not in properties(with_verdicts(JUNIT, {"attach": make_verdict()}.get).data, "attach")
        assert added["triage.evidence.1"] == "du:7  reject <b>&\\x00\\u202e"
        assert properties(data, "other") == {}
        (case,) = [case for case in ET.fromstring(data).iter("testcase") if case.get("name") == "attach"]
        assert case.find("failure").text == "text"
        assert case.get("time") == "1.5"

    def test_repeating_replaces(self):
        """A second verdict takes the place of the first one."""
        once = with_verdicts(JUNIT, {"attach": FAILED}.get).data
        twice = with_verdicts(once, {"lab.attach": FAILED.model_copy(update={"label": "L2"})}.get).data
        assert properties(twice, "attach")["triage.label"] == "L2"
        assert len(properties(twice, "attach")) == len(properties(once, "attach"))

    @pytest.mark.parametrize(("data", "reason"), [
        (b"<a", "is not XML"), (b"<a/>", "no test case"), (b"", "is not XML"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares entities"),
        ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><a/>'.encode("utf-16"), "declares entities"),
        (b'<?xml version="1.0" encoding="nix"?><a/>', "declares the encoding 'nix'"),
        (b"<a>" * 5000 + b"</a>" * 5000, "more than 200 elements"),
    ])  # fmt: skip
    def test_unusable_file(self, data: bytes, reason: str):
        """The error says why."""
        with pytest.raises(InputError, match=reason):
            with_verdicts(data, lambda name: None)

    def test_other_encoding_and_control_characters(self):
        """The file becomes UTF-8, and what XML forbids is shown and counted."""
        text = '<?xml version="1.0" encoding="GBK"?><testcase name="attach"><failure>失败\x1b[0m</failure></testcase>'
        judged = with_verdicts(text.encode("gbk"), {"attach": FAILED}.get)
        assert (judged.matched, judged.replaced) == (1, 1)
        assert ET.fromstring(judged.data).findtext("failure") == "失败\\x1b[0m"

    def test_name_in_two_classes(self):
        """The run must name the class; a name alone is no reason to guess."""
        text = b'<a><testcase classname="A" name="attach"/><testcase classname="B" name="attach"/></a>'
        judged = with_verdicts(text, {"attach": FAILED}.get)
        assert (judged.matched, judged.ambiguous) == (0, {"attach": ["A", "B"]})
        judged = with_verdicts(text, {"B.attach": FAILED}.get)
        assert (judged.matched, judged.ambiguous) == (1, {})
        cases = ET.fromstring(judged.data).findall("testcase")
        assert [len(case) for case in cases] == [0, 1]

    def test_command(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """`stream-triage junit` takes verdicts from the store, by the header of their runs; without --out it overwrites."""
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        log = ROOT / "samples" / "tm500" / "rejected.log"
        assert call("run", "-q", "--header", "test.case.name=attach", log).code == 1
        (tmp_path / "results.xml").write_bytes(JUNIT)
        done = call("junit", tmp_path / "results.xml", "--out", tmp_path / "out.xml")
        assert (done.code, done.out) == (0, "1 of 2 test cases have a verdict\n")
        assert properties((tmp_path / "out.xml").read_bytes(), "attach")["triage.label"] == "L3"
        assert (tmp_path / "results.xml").read_bytes() == JUNIT
        assert call("junit", tmp_path / "results.xml").code == 0
        assert properties((tmp_path / "results.xml").read_bytes(), "attach")["triage.label"] == "L3"
        assert "cannot be read" in call("junit", tmp_path / "none.xml").err


class Portal:
    """Accepts the requests that ReportPortal's API documents, and no others."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items, self.defined = items, list[dict[str, Any]]()

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
        address, _, query = path.partition("?")
        if headers["Authorization"] != "Bearer key-1":
            return 401, {"error": "unauthorized"}
        assert address == "/api/v1/my%20lab/item"
        if method == "GET":
            parameters = dict(urllib.parse.parse_qsl(query))
            assert (parameters["filter.eq.launchId"], parameters["filter.in.status"]) == ("17", "FAILED")
            size, page = int(parameters["page.size"]), int(parameters["page.page"])
            return 200, {"content": self.items[(page - 1) * size : page * size],
                         "page": {"number": page, "size": size, "totalPages": -(-len(self.items) // size)}}  # fmt: skip
        assert method == "PUT"
        request = json.loads(body)
        assert request.keys() == {"issues"}
        assert 0 < len(request["issues"]) <= 300
        for each in request["issues"]:
            assert each.keys() == {"testItemId", "issue"}
            assert isinstance(each["testItemId"], int)
            assert each["issue"].keys() <= {"issueType", "comment", "autoAnalyzed", "ignoreAnalyzer", "externalSystemIssues"}
            assert each["issue"]["issueType"]
        self.defined += request["issues"]
        return 200, request["issues"]


def send(
    monkeypatch: pytest.MonkeyPatch, portal: Portal, *verdicts: Any, more: tuple[str, ...] = (), token: str = "key-1"
) -> int:
    monkeypatch.setenv("RP_TOKEN", token)
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(verdict.model_dump_json() + "\n" for verdict in verdicts)))
    with serving(portal.answer) as url:
        return reportportal.main(["--url", url, "--project", "my lab", "--launch", "17", *more])


class TestReportPortal:
    def test_defect_types(self, monkeypatch: pytest.MonkeyPatch):
        """By label and cause; passes and verdicts to review do not change an item."""
        names = ("attach", "bed", "flaky", "passed", "unknown")
        portal = Portal([{"id": number, "name": name} for number, name in enumerate(names)])
        verdicts = [
            FAILED,
            FAILED.model_copy(update={"headers": {"test.case.name": "bed"}, "cause": "environment"}),
            FAILED.model_copy(update={"headers": {"test.case.name": "flaky"}, "needs_review": True}),
            make_verdict(headers={"test.case.name": "passed"}),
        ]
        assert send(monkeypatch, portal, *verdicts, more=("--type", "L3=pb_l3")) == 0
        assert {each["testItemId"]: each["issue"]["issueType"] for each in portal.defined} == {0: "pb_l3", 1: "si001"}
        comment = portal.defined[0]["issue"]["comment"]
        assert "\x1b" not in comment
        assert "UE \ufffd[31mreject <b>&\ufffd\ufffd was refused" in comment.split("\n")[1]
        assert all(line.startswith("    ") for line in comment.split("\n"))

    def test_many_items(self, monkeypatch: pytest.MonkeyPatch):
        """All pages are read, and no request has more issues than the API accepts."""
        portal = Portal([{"id": number, "name": "attach"} for number in range(700)])
        assert send(monkeypatch, portal, FAILED) == 0
        assert len(portal.defined) == 700

    def test_wrong_token(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        """Status 2, and a message that names the variable."""
        assert send(monkeypatch, Portal([]), FAILED, token="secret-2") == 2
        assert "RP_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize(
    "item",
    [
        Evidence(kind="line", weight=1.0, source="du", number=7, text="x"),
        Evidence(kind="line", weight=1.0, number=7, text="x"),
        Evidence(kind="missing", weight=1.0, text="session up"),
        Evidence(kind="rule", weight=1.0, source="du", number=7, text="x", rule="r", label="L2", note="n"),
    ],
)
def test_evidence_text(item: Evidence) -> None:
    """The script cannot import the product, and words evidence in the same way."""
    assert reportportal.evidence_text(item.model_dump(mode="json")) == item.words()
