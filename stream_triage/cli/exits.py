"""A command in, its exit code out: errors become one message on stderr.

`run` exits with 0 when every run passed and none was anomalous or needs a review, and with 1 when at least one did not or
was. For all commands, 2 is an input, usage or storage error (results that could be computed are still written), 3 an
internal error, and 130 an interrupt.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable

from stream_triage.errors import StreamTriageError, internal_error_text
from stream_triage.render.printable import printable

__all__ = ["EXIT_INPUT", "EXIT_INTERNAL", "EXIT_INTERRUPTED", "EXIT_UNCLEAN", "note", "run"]

EXIT_UNCLEAN, EXIT_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED = 1, 2, 3, 130


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
            return EXIT_INPUT
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
