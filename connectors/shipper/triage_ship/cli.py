"""`triage-ship`: follows logs and sends them to Kafka.

    triage-ship --bootstrap kafka:9092 /logs/night            every file below is a run
    triage-ship --bootstrap kafka:9092 --run-id R --once a.log b.log
    tester | triage-ship --bootstrap kafka:9092 --run-id R -

Exit status: 0 all is with the broker; 1 something waits in the spool, for the next start; 2 what was asked cannot be done.
"""

import argparse
import contextlib
import hashlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from time import strftime
from typing import Any

from triage_ship import __version__
from triage_ship.errors import ShipError
from triage_ship.files import Chunk, Files, Follow
from triage_ship.junit import read_status
from triage_ship.labels import PathNames, from_environment, hostname, parse_header
from triage_ship.sender import Broker, Sender
from triage_ship.ship import Shipper, Source
from triage_ship.spool import Spool
from triage_ship.streams import Console, StandardInput

__all__ = ["main"]

KIB, MIB = 1 << 10, 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    told = _parser().parse_args(arguments)
    try:
        return _ship(told)
    except ShipError as error:
        _say(f"error: {error}")
        return 2


def _ship(told: argparse.Namespace) -> int:
    headers = {**from_environment(), **dict(map(parse_header, told.header))}
    for name, flag in (
        ("test.case.name", told.test_case),
        ("testbed", told.testbed),
        ("service.version", told.service_version),
    ):
        headers |= {name: flag} if flag else {}
    broker = _broker(told)
    Sender(broker)  # wrong certificates are told before anything is read
    folder = told.state or _state_folder(told)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("w")
        flock(lock, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        raise ShipError(f"another triage-ship uses {folder}; give each its own --state") from None
    except OSError as error:
        raise ShipError(f"--state {folder} cannot be used: {error.strerror}") from None
    shipper = Shipper(
        Spool(folder, _say),
        Sender(broker),
        _source(told, headers),
        spool_bytes=told.spool_mib * MIB,
        on_trouble=_say,
        end_headers=lambda chunk: _harness(told, chunk),
    )
    _allow_many_files()
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: stop.append(got))
    try:
        empty = shipper.run(lambda: bool(stop), told.finish_seconds)
    finally:
        shipper.close()
        lock.close()
    if not empty:
        _say(f"lines wait in {folder}; the next start sends them")
    return 0 if empty or stop else 1


def _allow_many_files() -> None:
    """Each that still grows is open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65_536), hard))


def _source(told: argparse.Namespace, headers: dict[str, str]) -> Callable[[dict[str, Any]], Source]:
    size, linger = told.chunk_kib * KIB, told.linger
    if told.tcp or told.paths == ["-"]:
        if told.tcp and told.paths:
            raise ShipError("--tcp takes the place of files; name no paths beside it")
        name = told.tcp or "stdin"
        key = told.run_id or f"{hostname()}:{name}/{strftime('%Y-%m-%dT%H:%M:%S')}-{os.getpid()}"
        about = (key, told.source or name, headers, size, linger)
        if not told.tcp:
            return lambda positions: StandardInput(*about)
        return lambda positions: Console(*about, address=told.tcp, idle_end_seconds=told.idle_end, on_trouble=_say)
    if not told.paths or "-" in told.paths:
        raise ShipError("name files, folders or patterns; or - alone; or --tcp host:port")
    follow = Follow(
        # As it stands now, whatever becomes of the working folder.
        tuple(os.path.abspath(path) for path in told.paths),
        size,
        linger,
        PathNames(told.path_pattern),
        headers,
        told.run_id,
        told.run_by,
        told.once,
        told.idle_end,
    )
    missing = [
        path for path in told.paths if told.once and not Path(path).exists() and not any(mark in path for mark in "*?[")
    ]
    if missing:
        raise ShipError(f"{missing[0]} is not there")
    return lambda positions: Files(follow, positions, _say)


def _harness(told: argparse.Namespace, chunk: Chunk) -> dict[str, str]:
    """Of the run that ends, what the harness said of it."""
    if told.junit is None:
        return {}
    try:
        return {"test.case.result.status": read_status(told.junit, chunk.headers.get("test.case.name"))}
    except ShipError as error:
        _say(f"no result of the harness: {error}")
        return {}


def _broker(told: argparse.Namespace) -> Broker:
    password = os.environ.get("TRIAGE_SHIP_PASSWORD")
    if told.password_file:
        try:
            password = told.password_file.read_text().rstrip("\r\n")
        except OSError as error:
            raise ShipError(f"--password-file {told.password_file} cannot be read: {error.strerror}") from None
    return Broker(
        tuple(told.bootstrap.split(",")),
        told.topic,
        told.security,
        told.sasl_mechanism,
        told.user,
        password,
        told.ca_file,
        told.cert_file,
        told.key_file,
        None if told.compression == "none" else told.compression,
    )


def _state_folder(told: argparse.Namespace) -> Path:
    """The same for the same work, so that a restart goes on."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    work = "\0".join([told.bootstrap, told.topic, told.tcp or "", *map(os.path.abspath, told.paths)])
    return base / "triage-ship" / hashlib.sha256(work.encode()).hexdigest()[:16]


def _say(text: str) -> None:
    # Paths and what servers say may hold anything.
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    print(f"triage-ship: {shown}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    env = os.environ.get
    parser = argparse.ArgumentParser(
        prog="triage-ship", description="Sends the logs of test runs to Kafka while they grow, each line once."
    )
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="files, folders, patterns, or - for standard input")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    add("--tcp", metavar="HOST:PORT", help="read a console that listens there")
    add("--once", action="store_true", help="send what is there, end the runs, and stop")
    add(
        "--idle-end", type=float, metavar="SECONDS", help="a run ends when nothing came for so long; else the worker decides"
    )
    add("--state", type=Path, metavar="DIR", help="spool and positions; one of its own for each shipper")
    add("--spool-mib", type=int, default=1024, metavar="N", help="most that waits on disk while Kafka is away (%(default)s)")
    add("--chunk-kib", type=int, default=256, metavar="N", help="largest message (%(default)s)")
    add("--linger", type=float, default=0.5, metavar="SECONDS", help="whole lines wait for more so long (%(default)s)")
    add("--finish-seconds", type=float, metavar="N", help="wait so long for Kafka at the end; else for ever")
    runs = parser.add_argument_group("runs").add_argument
    runs("--run-id", help="all of it is this run; a file is a source, named like it")
    runs("--run-by", choices=("file", "folder"), default="file", help="what is a run, where nothing else says so")
    runs("--source", help="source of standard input or the console")
    runs("--path-pattern", metavar="REGEX", help="named groups run, source, test_case, testbed, version … of a path")
    runs("--test-case", help="header test.case.name")
    runs("--testbed", help="header testbed")
    runs("--service-version", help="header service.version, the build under test")
    runs("--header", action="append", default=[], metavar="NAME=VALUE", help="any other header; may be repeated")
    runs("--junit", type=Path, metavar="FILE", help="the harness's result, sent with the end of the run")
    kafka = parser.add_argument_group("Kafka").add_argument
    kafka("--bootstrap", default=env("TRIAGE_SHIP_BOOTSTRAP", "127.0.0.1:9092"), metavar="HOST:PORT,…", help="(%(default)s)")
    kafka("--topic", default=env("TRIAGE_SHIP_TOPIC", "triage.logs"), help="(%(default)s)")
    kafka("--compression", choices=("none", "gzip"), default="gzip", help="(%(default)s)")
    kafka(
        "--security",
        choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
        default=env("TRIAGE_SHIP_SECURITY", "PLAINTEXT"),
    )
    kafka("--sasl-mechanism", choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"), default="SCRAM-SHA-512")
    kafka("--user", default=env("TRIAGE_SHIP_USER"))
    kafka("--password-file", type=Path, help="or the variable TRIAGE_SHIP_PASSWORD")
    kafka("--ca-file", default=env("TRIAGE_SHIP_CA_FILE"), help="certificates (PEM) that vouch for the brokers")
    kafka("--cert-file", help="own certificate (PEM)")
    kafka("--key-file", help="its key (PEM)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
