"""The report: one file that needs nothing else, by itself and from the commands."""

import hashlib
import re
import sys
from base64 import b64encode
from html import unescape

import pytest

from stream_triage.errors import StoreError
from stream_triage.records import Evidence, ReducedLine
from stream_triage.spool import SpillSpool
from stream_triage.web import report as module
from stream_triage.web.pages import environment
from stream_triage.web.report import Report
from tests.commands import call
from tests.corpus import whole_run
from tests.verdicts import kept, make_verdict

TAG = re.compile(r"<(\w+)([^>]*)>")


def written(path, *verdicts, **options) -> str:
    with Report(path, **options) as report:
        for verdict in verdicts:
            report.write(verdict)
    return path.read_text(encoding="utf-8")


def bad(run_id, **changes):
    evidence = (Evidence(kind="line", weight=1.0, number=3, text="REJECT"),)
    return make_verdict(run_id, label="L3", passed=False, why="it was refused (line 3)", evidence=evidence, **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


class TestFile:
    def test_it_loads_nothing(self, path):
        """No element names an address outside the file, and the policy forbids what is not hashed in it."""
        page = written(path, bad("a"), make_verdict("b", reduction=kept("http://example.org <img src=http://example.org>")))
        for name, attributes in TAG.findall(page):
            assert name not in {"link", "img", "iframe", "object", "embed", "form", "base"}
            assert not re.search(r"\b(?:src|srcset|action|data|style|on\w+)=", attributes), attributes
            for address in re.findall(r'href="([^"]*)"', attributes):
                assert address.startswith("#")
        (policy,) = map(unescape, re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page))
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none';")
        for element in ("style", "script"):
            (code,) = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
            assert f"'sha256-{b64encode(hashlib.sha256(code.encode()).digest()).decode()}'" in policy

    def test_ids_are_unique_and_links_lead_somewhere(self, path):
        page = written(path, bad("a"), bad("b"), make_verdict("c", reduction=kept("one", "two")))
        ids = re.findall(r'\bid="([^"]*)"', page)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)
        assert set(re.findall(r'aria-labelledby="([^"]*)"', page)) <= set(ids)

    def test_only_the_owner_can_read_it(self, path):
        """Logs are confidential."""
        written(path, bad("a"))
        assert path.stat().st_mode & 0o777 == 0o600

    def test_no_file_without_an_end(self, path):
        """A report that failed leaves nothing, and keeps the file that was there."""
        path.write_text("earlier")
        with pytest.raises(AttributeError), Report(path) as report:
            report.write(None)
        assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [("report.html", "earlier")]

    def test_folder_that_cannot_be_written(self, tmp_path):
        """It is said before anything is judged."""
        with pytest.raises(StoreError, match=r"cannot be written: No such file or directory; name another file"):
            Report(tmp_path / "missing" / "report.html")
        with pytest.raises(StoreError, match="it is a folder; name a file"):
            Report(tmp_path)

    def test_closed(self, path):
        report = Report(path)
        report.close()
        report.close()
        with pytest.raises(StoreError, match="is closed"):
            report.write(bad("a"))
        assert "No run was judged" in path.read_text()


class TestRuns:
    def test_one_run(self, path):
        """It is the page, without a table."""
        page = written(path, bad("night/attach.log"))
        assert "<title>L3: attach.log - stream-triage</title>" in page
        assert "<table" not in page

    def test_what_needs_somebody_comes_first(self, path):
        unknown = make_verdict("untold", label="unknown", passed=False)
        page = written(path, make_verdict("fine"), make_verdict("odd", anomalous=True), unknown, bad("broken"))
        assert "<title>4 runs, 3 to look at - stream-triage</title>" in page
        assert re.findall(r'<a href="#r\d-run">(\w+)</a>', page) == ["broken", "untold", "odd", "fine"]

    def test_a_run_that_comes_again_is_replaced(self, path):
        """As with --follow, when a file has grown; provisional verdicts are left out."""
        page = written(path, bad("a"), make_verdict("a", version=301), bad("b", final=False))
        assert "<title>Pass: a - stream-triage</title>" in page

    def test_many_runs(self, path, monkeypatch):
        """Some are shown in full, those to look at first; more have a row; the rest is counted."""
        monkeypatch.setattr(module, "RUNS_IN_DETAIL", 3)
        monkeypatch.setattr(module, "ROWS", 6)
        page = written(path, *(make_verdict(f"fine{i}") for i in range(5)), bad("bad1"), bad("bad2"))
        assert re.findall(r'<details class="report-run".*?<h2[^>]*>.*?</span>(\w+)</h2>', page, re.DOTALL) == [
            "bad1",
            "bad2",
            "fine0",
        ]
        assert "1 more run not listed" in page
        assert "3 runs shown in full below" in page

    @pytest.mark.parametrize(("most", "embedded"), [(8, 0), (17, 9 + 9), (18, 9 + 18)])
    def test_embedded_lines_are_limited(self, path, monkeypatch, most, embedded):
        """A night of runs must not make a file that no browser opens; passes do not use up what failures need."""
        monkeypatch.setattr(module, "EMBEDDED_IN_ALL", most)
        reduction = (ReducedLine(source="", number=10, text="end", why="rare"),)
        with SpillSpool("run") as text, Report(path) as report:
            text.append("", [f"embedded {number}" for number in range(1, 11)])
            report.write(make_verdict("clean", reduction=reduction), text)
            for name in "abab":
                report.write(make_verdict(name, anomalous=True, reduction=reduction), text)
        assert path.read_text().count(">embedded ") == embedded

    def test_markdown_fence_cannot_be_closed(self, path):
        """Neither by a log line with backticks, nor the text area by its end tag."""
        evidence = (Evidence(kind="line", weight=1.0, number=3, text="``` </textarea><b>"),)
        page = written(path, make_verdict("a", label="L3", passed=False, evidence=evidence))
        (text,) = re.findall(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
        assert "````text\n3  ``` &lt;/textarea&gt;&lt;b&gt;\n````\n" in text


class TestCommands:
    @pytest.fixture(autouse=True)
    def _here(self, workplace, write):
        write("good.log", whole_run())
        write("bad.log", whole_run("L3", 2))

    def test_run(self, workplace):
        """The report has every run, its UEs if it has any, and lines between those worth reading."""
        result = call("run", "good.log", "bad.log", "--report", "out.html")
        assert result.code == 1
        assert "report: out.html" in result.notes
        page = (workplace / "out.html").read_text()
        assert "2 runs" in page
        assert "good.log" in page
        assert "bad.log" in page

    def test_run_that_cannot_write_it(self):
        """Nothing is judged, and the exit status says that the input was wrong."""
        result = call("run", "good.log", "--report", "missing/out.html")
        assert (result.code, result.out) == (2, "")
        assert "report missing/out.html cannot be written" in result.err

    def test_run_that_ends_with_an_error(self, workplace, monkeypatch):
        """No half of a report is left."""

        def fail(*_, **__):
            raise StoreError("the disk is gone")

        monkeypatch.setattr("stream_triage.cli.run.read_source", fail)
        assert call("run", "good.log", "--report", "out.html").code == 2
        assert not list(workplace.glob("*out.html*"))

    def test_report_that_cannot_be_finished(self, monkeypatch):
        """The verdicts are printed and stored all the same, and the exit status says that something is missing."""
        monkeypatch.setattr(module, "_policy", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        result = call("run", "good.log", "--report", "out.html")
        assert result.code == 2
        assert "report out.html cannot be written: No space left on device" in result.err
        assert "report: out.html" not in result.notes
        assert call("runs").out.count("good.log") == 1

    def test_history_comes_from_the_store(self, workplace):
        """A report knows the earlier runs of the test case, but not those after it."""
        for day, log in enumerate(("good.log", "good.log", "bad.log", "good.log"), 1):
            call("run", log, "--run-id", f"night-{day}", "-H", "test.case.name=attach", "-H", f"service.version={day}")
        call("show", "night-3", "--report", "out.html")
        page = (workplace / "out.html").read_text()
        assert "failing since build 3: the run before passed" in page
        assert "night-4" not in page
        call("run", "bad.log", "--report", "new.html", "-H", "test.case.name=attach", "-H", "service.version=5")
        assert "unstable: changed 3 times" in (workplace / "new.html").read_text()

    def test_without_the_extra(self, monkeypatch):
        """The error names it."""
        environment.cache_clear()
        monkeypatch.setitem(sys.modules, "jinja2", None)
        result = call("run", "good.log", "--report", "out.html")
        environment.cache_clear()
        assert (result.code, result.out) == (2, "")
        assert "pip install 'stream-triage[ui]'" in result.err

    def test_without_a_server(self, workplace, monkeypatch):
        """Of the extra, a report needs Jinja2 alone."""
        for name in ("starlette", "uvicorn"):
            monkeypatch.setitem(sys.modules, name, None)
        assert call("run", "good.log", "--report", "out.html").code == 0
        assert (workplace / "out.html").exists()

    def test_show(self, workplace):
        """Of a stored run, with its archived text if there is one."""
        call("run", "bad.log")
        result = call("show", "bad.log", "--report", "out.html")
        assert (result.code, result.notes) == (0, ["report: out.html"])
        assert "<title>L3: bad.log#" in (workplace / "out.html").read_text()
        assert call("show", "bad.log", "--full", "--report", "out.html").code == 2
