"""A pytest plugin: what each test logged is a run, with its outcome.

    pytest --triage-ship --triage-bootstrap kafka:9092

What pytest captured (log, stdout, stderr) are its sources, and so is what a test hands over by the fixture `triage_log`.
Lines wait on disk while Kafka is away; no test waits for it.
"""

import os
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from triage_ship.cutter import Cutter
from triage_ship.errors import ShipError
from triage_ship.files import Chunk
from triage_ship.labels import from_environment, parse_header
from triage_ship.sender import Broker, Sender
from triage_ship.ship import Shipper
from triage_ship.spool import Spool

CHUNK_BYTES = 256 << 10
SPOOL_BYTES = 1 << 30
FINISH_SECONDS = 30.0
# As the sections of a report are called.
SECTIONS = {"Captured log": "log", "Captured stdout": "stdout", "Captured stderr": "stderr"}
ATTACHED = pytest.StashKey[dict[str, bytes]]()
REPORTS = pytest.StashKey[dict[str, pytest.TestReport]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("triage-ship", "send what tests log to Kafka")
    group.addoption("--triage-ship", action="store_true", help="send it")
    group.addoption(
        "--triage-bootstrap", default=os.environ.get("TRIAGE_SHIP_BOOTSTRAP", "127.0.0.1:9092"), metavar="HOST:PORT,…"
    )
    group.addoption("--triage-topic", default=os.environ.get("TRIAGE_SHIP_TOPIC", "triage.logs"))
    group.addoption("--triage-run", metavar="NAME", help="beginning of the run ids; else the time of the session")
    group.addoption("--triage-header", action="append", default=[], metavar="NAME=VALUE")


def pytest_configure(config: pytest.Config) -> None:
    shared = config.getoption("numprocesses", default=None) and not hasattr(config, "workerinput")
    if config.getoption("triage_ship") and not shared:  # tests run in other processes, which send themselves
        try:
            config.pluginmanager.register(_Sending(config), "triage-ship-sending")
        except ShipError as error:
            raise pytest.UsageError(f"triage-ship: {error}") from None


class Attachments:
    """What a test hands over."""

    def __init__(self, kept: dict[str, bytes]) -> None:
        self._kept = kept

    def attach(self, path: str | Path, source: str | None = None) -> None:
        """A log that something else wrote; it is read now."""
        path = Path(path)
        self.write(path.read_bytes(), source or path.name)

    def write(self, text: str | bytes, source: str) -> None:
        """Lines of a source."""
        data = text.encode(errors="replace") if isinstance(text, str) else text
        self._kept[source] = self._kept.get(source, b"") + data


@pytest.fixture
def triage_log(request: pytest.FixtureRequest) -> Attachments:
    """Logs of this test, beside what pytest captures: `triage_log.attach("tester.log")`."""
    return Attachments(request.node.stash.setdefault(ATTACHED, {}))


class _Queue:
    """A source that is filled by tests."""

    def __init__(self) -> None:
        self._chunks: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
        self._closed = False

    @property
    def idle(self) -> bool:
        return self._closed and self._chunks.empty()

    def put(self, chunk: Chunk) -> None:
        self._chunks.put(chunk)

    def scan(self, now: float) -> None:
        """There is nothing to look for."""

    def read(self, now: float) -> Iterator[Chunk]:
        while not self._chunks.empty():
            yield self._chunks.get()

    def read_again(self, file: dict[str, Any] | None, length: int, checksum: int) -> bytes | None:
        return None

    def close(self) -> None:
        self._closed = True


class _Sending:
    def __init__(self, config: pytest.Config) -> None:
        worker = getattr(config, "workerinput", {}).get("workerid", "main")
        started = f"{time.strftime('%Y-%m-%dT%H:%M:%S')}-{os.getpid()}"
        self._run = config.getoption("triage_run") or f"pytest/{started}"
        self._headers = {**from_environment(), **dict(map(parse_header, config.getoption("triage_header")))}
        self._queue = _Queue()
        self._told: list[str] = []
        folder = config.cache.mkdir("triage-ship") / worker
        folder.mkdir(exist_ok=True)
        broker = Broker(tuple(config.getoption("triage_bootstrap").split(",")), config.getoption("triage_topic"))
        self._shipper = Shipper(
            Spool(folder, self._told.append),
            Sender(broker),
            lambda positions: self._queue,
            spool_bytes=SPOOL_BYTES,
            on_trouble=self._told.append,
        )
        self._left = False
        self._thread = threading.Thread(target=self._ship, name="triage-ship", daemon=True)
        self._thread.start()

    def _ship(self) -> None:
        try:
            self._left = not self._shipper.run(lambda: False, FINISH_SECONDS)
        except ShipError as error:
            self._told.append(str(error))
            self._left = True
        finally:
            self._shipper.close()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        outcome = yield
        report = outcome.get_result()
        item.stash.setdefault(REPORTS, {})[report.when] = report

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        yield
        reports = item.stash.get(REPORTS, {})
        sources: dict[str, bytes] = item.stash.setdefault(ATTACHED, {})
        for title, text in list(reports.values())[-1].sections if reports else ():  # the last report has those of all
            name = SECTIONS.get(title.rpartition(" ")[0])
            if name and text:
                sources[name] = sources.get(name, b"") + text.encode(errors="replace").rstrip(b"\n") + b"\n"
        for report in reports.values():
            if report.failed and report.longreprtext:
                sources["failure"] = sources.get("failure", b"") + report.longreprtext.encode(errors="replace") + b"\n"
        if sources:
            self._put(item, sources, _status(reports))

    def _put(self, item: pytest.Item, sources: dict[str, bytes], status: str) -> None:
        headers = {**self._headers, "test.case.name": item.nodeid, "test.suite.name": item.nodeid.partition("::")[0]}
        headers["test.case.result.status"] = status
        key = f"{self._run}/{item.nodeid}"
        for source, text in sources.items():
            cutter = Cutter(CHUNK_BYTES)
            for chunk in [*cutter.add(text, 0.0), cutter.rest()]:
                if chunk:
                    self._queue.put(Chunk(key, source, headers, chunk, False, None))
        for source in sources:  # all sources are seen before the first one ends
            self._queue.put(Chunk(key, source, headers, b"", True, None))

    def pytest_sessionfinish(self) -> None:
        self._queue.close()
        self._thread.join(FINISH_SECONDS + 10)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for text in self._told:
            terminalreporter.write_line(f"triage-ship: {text}")
        if self._left:
            terminalreporter.write_line("triage-ship: not all lines were sent; the next session sends them")


def _status(reports: dict[str, pytest.TestReport]) -> str:
    call = reports.get("call")
    if call is not None and call.failed:
        return "fail"
    if any(report.failed for report in reports.values()):
        return "error"
    return "skipped" if any(report.skipped for report in reports.values()) else "pass"
