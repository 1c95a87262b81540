"""The command `triage-ship`: options go in, the logs they name are sent to Kafka, and an exit status comes out.

    triage-ship --bootstrap kafka:9092 --run-by folder /logs/night
    triage-ship --bootstrap kafka:9092 --run-id attach-17 --once a.log b.log
    tester | triage-ship --bootstrap kafka:9092 --run-id attach-17 -

`triage-ship --help` describes the options and the exit status.
"""

import argparse
import contextlib
import hashlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from time import strftime
from typing import Any

from triage_ship.errors import ShipError
from triage_ship.files import Chunk, Files, FollowOptions
from triage_ship.headers import PathPattern, from_environment, hostname, parse_header
from triage_ship.junit import read_status
from triage_ship.options import parser
from triage_ship.sender import Broker, Sender
from triage_ship.ship import Shipper, Source
from triage_ship.spool import Spool
from triage_ship.streams import Console, StandardInput

__all__ = ["main"]

KIB, MIB = 1 << 10, 1 << 20
# Enough for the logs of a test farm where the hard limit of open files is "unlimited".
OPEN_FILES = 65_536


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments, or those of the process; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        return _ship(options)
    except ShipError as error:
        _print_problem(f"error: {error}")
        return 2


def _ship(options: argparse.Namespace) -> int:
    headers = _headers(options)
    sender = Sender(_broker(options))  # first, so that wrong options end the program before anything is created or read
    folder = options.state or _default_state_folder(options)
    with _locked(folder):
        shipper = Shipper(
            Spool(folder, _print_problem),
            sender,
            _source(options, headers),
            spool_bytes=options.spool_mib * MIB,
            on_problem=_print_problem,
            end_headers=lambda chunk: _end_headers(options, chunk),
        )
        _raise_open_files_limit()
        signals: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: signals.append(received))
        try:
            empty = shipper.run(lambda: bool(signals), options.finish_seconds)
        finally:
            shipper.close()
    if not empty:
        _print_problem(f"not all lines were sent; the rest is in {folder}, and the next start with this folder sends it")
    # After a signal, lines in the spool are no failure: whoever stopped the shipper expects it to stop at once.
    return 0 if empty or signals else 1


def _headers(options: argparse.Namespace) -> dict[str, str]:
    """Headers of all runs; an option wins over --header, and that over the environment."""
    headers = {**from_environment(), **dict(map(parse_header, options.header))}
    for name, value in (
        ("test.case.name", options.test_case),
        ("testbed", options.testbed),
        ("service.version", options.service_version),
    ):
        headers |= {name: value} if value else {}
    return headers


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Creates the state folder, and keeps other shippers out of it: two would write into one segment."""
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            flock(stack.enter_context((folder / "lock").open("w")), LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise ShipError(f"{folder} is in use by another triage-ship; give each its own --state folder") from None
        except OSError as error:
            raise ShipError(
                f"--state {folder} cannot be used: {error.strerror}; name a folder that can be written"
            ) from None
        yield


def _raise_open_files_limit() -> None:
    """Each file that may still grow is open, and the usual limit of 1024 is too low for that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, OPEN_FILES), hard))


def _source(options: argparse.Namespace, headers: dict[str, str]) -> Callable[[dict[str, Any]], Source]:
    """Checks the options that name what is read; returns a function from remembered positions to the source."""
    if options.tcp or options.paths == ["-"]:
        return _stream(options, headers)
    if not options.paths or "-" in options.paths:
        raise ShipError("name the files, folders or patterns to read, or a single - for standard input, or --tcp HOST:PORT")
    follow = FollowOptions(
        # Absolute: they are part of run ids and of remembered positions, so the working folder must not matter.
        tuple(os.path.abspath(path) for path in options.paths),
        options.chunk_kib * KIB,
        options.linger,
        PathPattern(options.path_pattern),
        headers,
        options.run_id,
        options.run_by,
        options.once,
        options.idle_end,
    )
    for path in options.paths if options.once else ():
        if not Path(path).exists() and not any(wildcard in path for wildcard in "*?["):
            raise ShipError(f"{path} does not exist; without --once, triage-ship waits for it")
    return lambda positions: Files(follow, positions, _print_problem)


def _stream(options: argparse.Namespace, headers: dict[str, str]) -> Callable[[dict[str, Any]], Source]:
    if options.tcp and options.paths:
        raise ShipError("--tcp is read instead of files; leave out the paths")
    name = options.tcp or "stdin"
    # Without a name, each start is a run of its own: nothing tells whether it continues the one before.
    key = options.run_id or f"{hostname()}:{name}/{strftime('%Y-%m-%dT%H:%M:%S')}-{os.getpid()}"
    origin = (key, options.source or name, headers, options.chunk_kib * KIB, options.linger)
    if options.tcp:
        return lambda positions: Console(
            *origin, address=options.tcp, idle_end_seconds=options.idle_end, on_problem=_print_problem
        )
    return lambda positions: StandardInput(*origin)


def _end_headers(options: argparse.Namespace, chunk: Chunk) -> dict[str, str]:
    """Headers that only the end of a source has: how many sources the run has, and the result of the harness."""
    is_stream = bool(options.tcp) or options.paths == ["-"]
    count = options.sources or (1 if is_stream and not options.run_id else None)
    return {**({"run.sources": str(count)} if count else {}), **_harness_result(options, chunk)}


def _harness_result(options: argparse.Namespace, chunk: Chunk) -> dict[str, str]:
    """The header with the result of the harness, for the end of a run; empty if there is no usable --junit file."""
    if options.junit is None:
        return {}
    try:
        return {"test.case.result.status": read_status(options.junit, chunk.headers.get("test.case.name"))}
    except Exception as error:
        _print_problem(f"the result of the harness is not sent: {error}")
        return {}


def _broker(options: argparse.Namespace) -> Broker:
    password = os.environ.get("TRIAGE_SHIP_PASSWORD")
    if options.password_file:
        try:
            password = options.password_file.read_text().rstrip("\r\n")
        except OSError as error:
            raise ShipError(f"--password-file {options.password_file} cannot be read: {error.strerror}") from None
    return Broker(
        tuple(options.bootstrap.split(",")),
        options.topic,
        options.security,
        options.sasl_mechanism,
        options.user,
        password,
        options.ca_file,
        options.cert_file,
        options.key_file,
        None if options.compression == "none" else options.compression,
    )


def _default_state_folder(options: argparse.Namespace) -> Path:
    """A folder for this broker, topic and set of paths, so that a restart of the same command continues."""
    state_home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    task = "\0".join([options.bootstrap, options.topic, options.tcp or "", *map(os.path.abspath, options.paths)])
    return state_home / "triage-ship" / hashlib.sha256(task.encode()).hexdigest()[:16]


def _print_problem(text: str) -> None:
    # Paths and messages of servers can contain anything, also sequences that control the terminal.
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    print(f"triage-ship: {shown}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
