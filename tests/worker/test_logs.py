"""What the log of a worker shows: our lines as they are, libraries condensed, nothing that moves a cursor."""

import asyncio
import io
import json
import logging
import threading

import pytest

from stream_triage.clock import FakeClock
from stream_triage.worker.logs import LogHandler, as_json, as_text, internal_error, logging_to


def record(name: str, message: str, level: int = logging.WARNING, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord(name, level, "file.py", 1, message, (), None)
    made.created = 0.0
    made.__dict__.update(extra)
    return made


class Shown:
    """A handler, and the lines that it wrote."""

    def __init__(self, handler_format: object = as_text) -> None:
        self.stream, self.clock = io.StringIO(), FakeClock()
        self.handler = LogHandler(
            self.stream,
            handler_format,
            redact=lambda text: text.replace("hunter2", "<secret>"),
            clock=self.clock,
        )

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_a_line_says_when_and_how_bad() -> None:
    shown = Shown()
    shown.handler.emit(record("stream_triage.sources.kafka", "partitions assigned", logging.INFO))
    assert shown.lines() == ["1970-01-01T00:00:00Z info    partitions assigned"]


def test_libraries_get_one_line_a_minute() -> None:
    """The first one at once; then the number of those that were left out. Our own lines are never left out."""
    shown = Shown()
    for second in range(120):
        for library in ("aiokafka.client", "aiokafka.conn", "faust.app", "urllib3"):
            shown.handler.emit(record(library, f"no connection {second}", logging.ERROR))
        shown.handler.emit(record("stream_triage.worker.process", "ours"))
        shown.clock.advance(1)
    ours = [line for line in shown.lines() if line.endswith("ours")]
    others = [line.partition("warning ")[2] for line in shown.lines() if line not in ours]
    assert len(ours) == 120
    assert others[:3] == ["aiokafka: no connection 0", "faust: no connection 0", "urllib3: no connection 0"]
    assert others[3] == "aiokafka: no connection 60 (119 more messages of aiokafka were left out)"
    assert len(others) == 6


def test_tracebacks_and_text_of_libraries_stay_out() -> None:
    """They may quote the input: only the kind of error, on one line, redacted and cut."""
    shown = Shown()
    try:
        raise ValueError("imsi-001010123456789")
    except ValueError as error:
        made = record("faust", f"crashed with hunter2\n{'x' * 1000}", logging.ERROR)
        made.exc_info = (ValueError, error, error.__traceback__)
    shown.handler.emit(made)
    (line,) = shown.lines()
    assert "faust: crashed with <secret> xxx" in line
    assert len(line) < 400
    assert "imsi" not in line


@pytest.mark.parametrize("name", ["stream_triage", "stream_triage.cli.worker", "aiokafka"])
def test_no_line_can_move_a_cursor(name: str) -> None:
    """A name from the input may hold escape codes and line ends."""
    shown = Shown()
    shown.handler.emit(record(name, "run a\x1b[2J\u202eb\nforged line"))
    (line,) = shown.lines()
    assert line.isprintable()


def test_structured_lines_have_the_names_of_ecs() -> None:
    shown = Shown(lambda made, message: as_json(made, message, service={"version": "1.2"}))
    shown.handler.emit(record("stream_triage.worker.process", "stopping: SIGTERM", logging.INFO))
    (line,) = shown.lines()
    fields = json.loads(line)
    assert fields.pop("process.pid")
    assert fields == {
        "@timestamp": "1970-01-01T00:00:00.000Z",
        "log.level": "info",
        "message": "stopping: SIGTERM",
        "ecs.version": "8.11.0",
        "service.name": "stream-triage",
        "service.version": "1.2",
        "log.logger": "stream_triage.worker.process",
    }


def test_an_internal_error_shows_its_places_and_not_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of an unforeseen error may quote a log line. Both formats have the places in the code."""
    identity = "-".join(("imsi", "001010123456789"))  # so that no line of this file has it
    for log_format in ("text", "json"):
        stream, root = io.StringIO(), logging.getLogger()
        monkeypatch.setattr(root, "handlers", [])
        monkeypatch.setattr(root, "level", root.level)
        monkeypatch.setattr(threading, "excepthook", threading.excepthook)
        logging_to(log_format, "1", lambda text: text, stream)
        try:
            raise KeyError(identity)
        except KeyError as error:
            internal_error(logging.getLogger("stream_triage.test"), "internal error: KeyError at x.py:1", error)
        text = stream.getvalue()
        assert "internal error: KeyError at x.py:1" in text
        assert "test_logs.py" in text
        assert identity not in text
        if log_format == "json":
            assert "test_logs.py" in json.loads(text)["error.stack_trace"]


def test_a_thread_that_ends_by_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is logged as other internal errors are; one that was cancelled says nothing."""
    stream, root = io.StringIO(), logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    logging_to("text", "1", lambda text: text, stream)

    def fail(error: BaseException) -> None:
        raise error

    for error in (ZeroDivisionError("imsi-001010123456789"), asyncio.CancelledError()):
        thread = threading.Thread(target=fail, args=(error,), name="alerts")
        thread.start()
        thread.join()
    assert "thread alerts ended: internal error: ZeroDivisionError at test_logs.py" in stream.getvalue()
    assert "imsi-0010" not in stream.getvalue()
    assert "Cancelled" not in stream.getvalue()


def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    """The disk with the log is full, or nobody reads it any more."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    LogHandler(Full(), as_text).emit(record("stream_triage", "text"))
