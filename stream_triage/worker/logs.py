"""Log records of the worker and of its libraries in; few lines for people, or one JSON object a line, on stderr.

Our own records say what has changed and what to do about it; `stream_triage.outages` counts their repeats. Libraries (Faust,
aiokafka, urllib3 …) write hundreds of lines a minute while a server is away, with tracebacks, and what they write may quote
the input. Of each library one line a minute is shown, redacted, with the number of those that were left out. It is a warning
at most: whether something of it is an error, our own lines say.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from copy import copy
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import internal_error_text
from stream_triage.render.printable import printable

__all__ = ["LogHandler", "as_json", "as_text", "internal_error", "logging_to"]

OURS: Final = "stream_triage"
# Of one library, a line in so many seconds.
LIBRARY_SECONDS: Final = 60.0
MAX_LIBRARY_CHARACTERS: Final = 300
# Attribute of a record: where an internal error happened, without the values that its message may quote.
_STACK: Final = "stack_trace"

Formatter = Callable[[logging.LogRecord, str], str]


class LogHandler(logging.Handler):
    """Writes our records as they are, and of each library one a minute.

    `redact` is applied to what libraries write: our own messages quote no input.
    """

    def __init__(
        self,
        stream: TextIO,
        formatter: Formatter,
        *,
        redact: Callable[[str], str] = lambda text: text,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._format = formatter
        self._redact = redact
        self._clock = clock or SystemClock()
        self._libraries: dict[str, tuple[float, int]] = {}
        """By library, when a line was shown last, and how many were left out since."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line, or none. Never raises."""
        try:
            ours = record.name == OURS or record.name.startswith(f"{OURS}.")
            message = printable(record.getMessage()) if ours else self._message(record)
            if message is None:
                return
            if not ours and record.levelno > logging.WARNING:
                record = copy(record)
                record.levelno, record.levelname = logging.WARNING, "WARNING"
            self._stream.write(self._format(record, message) + "\n")
            self._stream.flush()
        except Exception:  # a full disk or a closed pipe must not end the worker
            return

    def _message(self, record: logging.LogRecord) -> str | None:
        """What is shown of a record of a library; None if it is only counted."""
        library, now = record.name.partition(".")[0], self._clock.monotonic()
        shown, left_out = self._libraries.get(library, (None, 0))
        if shown is not None and now - shown < LIBRARY_SECONDS:
            self._libraries[library] = (shown, left_out + 1)
            return None
        self._libraries[library] = (now, 0)
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text = f"{text} ({record.exc_info[0].__name__})"
        text = printable(self._redact(" ".join(text.split())))
        if len(text) > MAX_LIBRARY_CHARACTERS:
            text = f"{text[:MAX_LIBRARY_CHARACTERS]}…"
        more = f" ({left_out} more messages of {library} were left out)" if left_out else ""
        return f"{library}: {text}{more}"


def as_text(record: logging.LogRecord, message: str) -> str:
    """A line for people: time in UTC, level, message; after it the place of an internal error, if there is one."""
    stack = getattr(record, _STACK, "")
    return f"{_time(record):%Y-%m-%dT%H:%M:%SZ} {record.levelname.lower():7} {message}" + (f"\n{stack}" if stack else "")


def as_json(record: logging.LogRecord, message: str, *, service: Mapping[str, str] | None = None) -> str:
    """One JSON object in the field names of ECS (Elastic Common Schema)."""
    fields: dict[str, Any] = {
        "@timestamp": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "log.level": record.levelname.lower(),
        "message": message,
        "ecs.version": "8.11.0",
        "service.name": "stream-triage",
        **{f"service.{name}": value for name, value in (service or {}).items()},
        "log.logger": record.name,
        "process.pid": os.getpid(),
    }
    if stack := getattr(record, _STACK, ""):
        fields["error.stack_trace"] = stack
    return json.dumps(fields, ensure_ascii=False)


def internal_error(log: logging.Logger, message: str, error: BaseException) -> None:
    """Logs a fault of ours with the places in the code, but without the message of the error: it may quote the input."""
    stack = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    log.critical("%s", message, extra={_STACK: f"{stack}\n{type(error).__name__}"})


def logging_to(
    log_format: Literal["text", "json"],
    version: str,
    redact: Callable[[str], str],
    stream: TextIO | None = None,
) -> None:
    """Sends all log records of this process to `stream` (stderr) in this format, in place of any other handler.

    Errors that end a thread are logged, too, where Python would print a traceback with the message of the error.
    """

    def structured(record: logging.LogRecord, message: str) -> str:
        return as_json(record, message, service={"version": version})

    handler = LogHandler(stream or sys.stderr, structured if log_format == "json" else as_text, redact=redact)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    threading.excepthook = _thread_ended
    logging.getLogger(OURS).setLevel(logging.INFO)


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is None or not issubclass(ended.exc_type, Exception):  # it was cancelled, or told to end
        return
    name = ended.thread.name if ended.thread else "without a name"
    text = f"thread {name} ended: {internal_error_text(ended.exc_value)}"
    internal_error(logging.getLogger(__name__), text, ended.exc_value)


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
