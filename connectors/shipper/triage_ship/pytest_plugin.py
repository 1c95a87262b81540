"""A pytest plugin: what each test logs goes in; it is sent to Kafka as a run, with the outcome of the test.

    pytest --triage-ship --triage-bootstrap kafka:9092

The sources of a run are what pytest captured (log, stdout, stderr), the failure report, and what a test adds with the
fixture `triage_log`. Sending happens in a thread and through a spool on disk, so no test waits for Kafka.
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
from triage_ship.headers import from_environment, parse_header
from triage_ship.sender import Broker, Sender
from triage_ship.ship import Shipper
from triage_ship.spool import Spool

CHUNK_BYTES = 256 << 10
SPOOL_BYTES = 1 << 30
# How long the end of the session waits for Kafka. What is not sent by then is sent by the next session.
FINISH_SECONDS = 30.0
# Titles of the sections in a test report, without the phase at the end, and the names of the sources.
SECTIONS = {"Captured log": "log", "Captured stdout": "stdout", "Captured stderr": "stderr"}
ATTACHED = pytest.StashKey[dict[str, bytes]]()
REPORTS = pytest.StashKey[dict[str, pytest.TestReport]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options of the plugin."""
    environment = os.environ.get
    group = parser.getgroup("triage-ship", "send the logs of tests to Kafka")
    group.addoption("--triage-ship", action="store_true", help="send what each test logs to Kafka (default: off)")
    group.addoption(
        "--triage-bootstrap",
        default=environment("TRIAGE_SHIP_BOOTSTRAP", "127.0.0.1:9092"),
        metavar="HOST:PORT,...",
        help="brokers to connect to first (default: the variable TRIAGE_SHIP_BOOTSTRAP, or 127.0.0.1:9092)",
    )
    group.addoption(
        "--triage-topic",
        default=environment("TRIAGE_SHIP_TOPIC", "triage.logs"),
        metavar="NAME",
        help="topic to send to (default: the variable TRIAGE_SHIP_TOPIC, or triage.logs)",
    )
    group.addoption(
        "--triage-run",
        metavar="NAME",
        help="first part of the run ids, before the name of the test (default: pytest/ with start time and process id)",
    )
    group.addoption(
        "--triage-header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="header of all runs; can be repeated (default: in a job of GitLab, GitHub or Jenkins those of the job)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Starts sending, if the session asks for it; wrong options end the session."""
    # With pytest-xdist, this process runs no tests. Each worker process has its own spool and sender.
    distributes = config.getoption("numprocesses", default=None) and not hasattr(config, "workerinput")
    if config.getoption("triage_ship") and not distributes:
        try:
            config.pluginmanager.register(_Sending(config), "triage-ship-sending")
        except ShipError as error:
            raise pytest.UsageError(f"triage-ship: {error}") from None


class Attachments:
    """Collects logs that a test adds to its run, by source."""

    def __init__(self, texts: dict[str, bytes]) -> None:
        self._texts = texts

    def attach(self, path: str | Path, source: str | None = None) -> None:
        """Adds a log file as it is now. Without `source`, the source has the name of the file."""
        path = Path(path)
        self.write(path.read_bytes(), source or path.name)

    def write(self, text: str | bytes, source: str) -> None:
        """Adds text to a source."""
        data = text.encode(errors="replace") if isinstance(text, str) else text
        self._texts[source] = self._texts.get(source, b"") + data


@pytest.fixture
def triage_log(request: pytest.FixtureRequest) -> Attachments:
    """Adds logs to the run of this test: `triage_log.attach("tester.log")`. Without `--triage-ship` it has no effect."""
    return Attachments(request.node.stash.setdefault(ATTACHED, {}))


class _Queue:
    """A source that tests fill from their thread, and that the shipper reads in its own."""

    def __init__(self) -> None:
        self._chunks: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
        self._closed = False

    @property
    def finished(self) -> bool:
        return self._closed and self._chunks.empty()

    def put(self, chunk: Chunk) -> None:
        self._chunks.put(chunk)

    def scan(self, now: float) -> None:
        """Does nothing: there are no files to look for."""

    def read(self, now: float) -> Iterator[Chunk]:
        while not self._chunks.empty():
            yield self._chunks.get()

    def read_again(self, file: dict[str, Any] | None, length: int, checksum: int) -> bytes | None:
        return None

    def close(self) -> None:
        self._closed = True


class _Sending:
    """The hooks of a session that sends."""

    def __init__(self, config: pytest.Config) -> None:
        worker = getattr(config, "workerinput", {}).get("workerid", "main")
        started = f"{time.strftime('%Y-%m-%dT%H:%M:%S')}-{os.getpid()}"
        self._run_prefix = config.getoption("triage_run") or f"pytest/{started}"
        self._headers = {**from_environment(), **dict(map(parse_header, config.getoption("triage_header")))}
        self._queue = _Queue()
        # Printed at the end of the session: pytest captures what is printed before.
        self._problems: list[str] = []
        folder = config.cache.mkdir("triage-ship") / worker
        folder.mkdir(exist_ok=True)
        broker = Broker(tuple(config.getoption("triage_bootstrap").split(",")), config.getoption("triage_topic"))
        self._shipper = Shipper(
            Spool(folder, self._problems.append),
            Sender(broker),
            lambda positions: self._queue,
            spool_bytes=SPOOL_BYTES,
            on_problem=self._problems.append,
        )
        self._unsent = False
        # A daemon: a session that is aborted must not hang on a broker that is down.
        self._thread = threading.Thread(target=self._ship, name="triage-ship", daemon=True)
        self._thread.start()

    def _ship(self) -> None:
        try:
            self._unsent = not self._shipper.run(lambda: False, FINISH_SECONDS)
        except ShipError as error:
            self._problems.append(str(error))
            self._unsent = True
        finally:
            self._shipper.close()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Any:
        """Collects the reports of a test: setup, call, teardown."""
        outcome = yield
        report = outcome.get_result()
        item.stash.setdefault(REPORTS, {})[report.when] = report

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """Sends a test when it is over, if it has logged anything."""
        yield
        reports = item.stash.get(REPORTS, {})
        sources: dict[str, bytes] = item.stash.setdefault(ATTACHED, {})
        # The last report has the sections of all phases.
        for title, text in list(reports.values())[-1].sections if reports else ():
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
        key = f"{self._run_prefix}/{item.nodeid}"
        for source, text in sources.items():
            cutter = Cutter(CHUNK_BYTES)
            for chunk in [*cutter.add(text, 0.0), cutter.rest()]:
                if chunk:
                    self._queue.put(Chunk(key, source, headers, chunk, False, None))
        # The worker ends a run when all sources that it has seen have ended, so the ends come after all texts.
        for source in sources:
            self._queue.put(Chunk(key, source, {"run.sources": str(len(sources)), **headers}, b"", True, None))

    def pytest_sessionfinish(self) -> None:
        """Waits until everything is sent, for `FINISH_SECONDS` at most."""
        self._queue.close()
        self._thread.join(FINISH_SECONDS + 10)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Prints the problems of the session."""
        for text in self._problems:
            terminalreporter.write_line(f"triage-ship: {text}")
        if self._unsent:
            terminalreporter.write_line("triage-ship: not all lines were sent; the next session sends the rest")


def _status(reports: dict[str, pytest.TestReport]) -> str:
    """The outcome of a test in the words of JUnit: an error is a failure outside of the test itself."""
    call = reports.get("call")
    if call is not None and call.failed:
        return "fail"
    if any(report.failed for report in reports.values()):
        return "error"
    return "skipped" if any(report.skipped for report in reports.values()) else "pass"
