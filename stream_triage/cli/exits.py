"""A command in, its exit status out: errors become one message on stderr.

| status | meaning | what to do |
|---|---|---|
| 0 | done; `run`: every run passed, and none was anomalous or needs a review; `worker`: stopped by SIGTERM or Ctrl-C | |
| 1 | `run`: a run did not pass, was anomalous or needs a review; `canary`: a verdict is missing or not the expected one | |
| 2 | a setting, an option, a right, a bundle, a topic, an index template or the input is wrong or missing | mend it |
| 3 | internal error | report it |
| 75 | a server does not respond, a disk is full, a file is locked, a worker lost its group | start again |
| 130 | interrupted | |

75 is EX_TEMPFAIL of sysexits.h. A supervisor starts a worker again after any status but 0 and 2. `run` keeps 2 for what
could not be stored, whatever the reason, since its results were computed and printed all the same.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stream_triage.errors import StoreError, StreamTriageError, internal_error_text
from stream_triage.render.printable import printable

__all__ = [
    "EXIT_AGAIN",
    "EXIT_INPUT",
    "EXIT_INTERNAL",
    "EXIT_INTERRUPTED",
    "EXIT_UNCLEAN",
    "note",
    "run",
    "status_of",
    "storage_is_input",
]

EXIT_UNCLEAN, EXIT_INPUT, EXIT_INTERNAL, EXIT_AGAIN, EXIT_INTERRUPTED = 1, 2, 3, os.EX_TEMPFAIL, 130


def note(text: str) -> None:
    """Prints a line to stderr. Control characters are escaped, since the text may contain names from the input."""
    print(printable(text), file=sys.stderr)


def run(command: Callable[[], None]) -> None:
    """Calls the command and exits with its code, or with that of the error it raises."""
    _one_blas_thread()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character must not end the command
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            command()
        finally:
            if sys.stdout:
                sys.stdout.flush()  # Python's own flush at exit comes too late to handle its errors
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer exits with 1 then, which says that a run did not pass
            sys.exit(_code_for(end.__context__))
        raise
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(_code_for(error))


def status_of(error: StreamTriageError) -> int:
    """The exit status for an error that was raised on purpose."""
    return EXIT_AGAIN if error.temporary else EXIT_INPUT


@contextmanager
def storage_is_input() -> Iterator[None]:
    """For `run`: what cannot be stored or reached ends it with 2, as its documented statuses say."""
    try:
        yield
    except StoreError as error:
        note(f"error: {error}")
        raise SystemExit(EXIT_INPUT) from None


def _one_blas_thread() -> None:
    """Limits numpy to one thread, unless the user set a number.

    Arrays here are small: more threads cost CPU time and memory and gain nothing. numpy reads the variable when it is
    loaded, so this must come first.
    """
    if "numpy" not in sys.modules:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def _code_for(error: BaseException) -> int:
    """The exit code for an error, which is reported."""
    match error:
        case BrokenPipeError():  # whoever read stdout has gone, as with `| head`: nobody is left to report to
            _discard_stdout()
            return EXIT_INPUT
        case KeyboardInterrupt():
            return EXIT_INTERRUPTED
        case StreamTriageError():
            note(f"error: {error}")
            return status_of(error)
        case OSError(errno=errno.ENOSPC):
            _discard_stdout()
            note("error: the output cannot be written: no space left on the device; free space and run the command again")
            return EXIT_INPUT
        case _:
            return _internal_error(error)


def _discard_stdout() -> None:
    """What is still buffered goes nowhere; otherwise Python would complain about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _internal_error(error: BaseException) -> int:
    note(internal_error_text(error))
    if os.environ.get("STREAM_TRIAGE_DEBUG"):
        import traceback

        traceback.print_exception(error)
    else:
        note("set STREAM_TRIAGE_DEBUG=1 to print the traceback (it may contain text of the log)")
    return EXIT_INTERNAL
