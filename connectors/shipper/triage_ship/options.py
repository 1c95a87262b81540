"""The options of `triage-ship`: what each one does, its unit and its default."""

import argparse
import os
from pathlib import Path

from triage_ship import __version__

__all__ = ["parser"]

_EXIT_STATUS = """\
A signal (SIGTERM, SIGINT) stops triage-ship after the current turn. What Kafka does not have then stays on disk, and the
next start sends it.

exit status:
  0  Kafka has everything, or a signal stopped triage-ship
  1  lines wait on disk for the next start, because --finish-seconds have passed
  2  it cannot do what the options ask for; the message says why
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line. Defaults come from the environment where an option says so."""
    command = argparse.ArgumentParser(
        prog="triage-ship",
        description="Sends the logs of test runs to Kafka while they grow, each line once.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_input(command)
    _add_runs(command.add_argument_group("runs"))
    _add_delivery(command.add_argument_group("delivery"))
    _add_kafka(command.add_argument_group("Kafka"))
    return command


def _add_input(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "paths",
        nargs="*",
        metavar="PATH",
        help="file, folder (with all files below it) or quoted pattern such as '/logs/*.log'; a single - is standard input",
    )
    add("--version", action="version", version=f"%(prog)s {__version__}", help="print the version and exit")
    add("--tcp", metavar="HOST:PORT", help="read a console from this TCP server instead of files (default: files are read)")
    add(
        "--once",
        action="store_true",
        help="read the files to their present end, end their runs and exit; by default files are followed until a signal",
    )


def _add_runs(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--run-id",
        metavar="ID",
        help="all input is one run with this id, and each file is a source with the name "
        "of the file (default: see --run-by)",
    )
    add(
        "--run-by",
        choices=("file", "folder"),
        default="file",
        help="what is a run, without --run-id and a group `run` in --path-pattern: each file, or each folder with its "
        "files as sources (default: %(default)s)",
    )
    add("--source", metavar="NAME", help="source of standard input or the console (default: stdin, or HOST:PORT)")
    add(
        "--sources",
        type=int,
        metavar="N",
        help="how many sources each run has, those of other machines included: the worker judges it once all have ended "
        "(default: known for runs that no other machine can have; for others, the worker waits whether one more begins)",
    )
    add(
        "--path-pattern",
        metavar="REGEX",
        help="regular expression that is searched in each path; its named groups set the run id (run), the source (source) "
        "and headers (test_case, test_suite, version, testbed, or any header by its name) (default: none)",
    )
    add(
        "--idle-end",
        type=float,
        metavar="SECONDS",
        help="end a run when none of its sources got a line for this time (default: never, the worker decides)",
    )
    add("--test-case", metavar="NAME", help="name of the test case, sent as the header test.case.name (default: not sent)")
    add("--testbed", metavar="NAME", help="name of the test bed, sent as the header testbed (default: not sent)")
    add(
        "--service-version",
        metavar="VERSION",
        help="version of the build under test, sent as the header service.version (default: not sent)",
    )
    add(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other header; can be repeated (default: in a job of GitLab, GitHub or Jenkins those of the job, "
        "otherwise none)",
    )
    add(
        "--junit",
        type=Path,
        metavar="FILE",
        help="JUnit XML file with the result of the test harness, read when a run ends and sent with its end: the result of "
        "--test-case if the file has it, otherwise the worst one (default: no result is sent)",
    )


def _add_delivery(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--state",
        type=Path,
        metavar="DIR",
        help="folder for lines that are not sent yet and for positions in the files; each triage-ship needs its own "
        "(default: a folder for these paths, this broker and this topic in $XDG_STATE_HOME/triage-ship or "
        "~/.local/state/triage-ship)",
    )
    add(
        "--spool-mib",
        type=int,
        default=1024,
        metavar="MIB",
        help="disk space in MiB for lines that are not sent yet; reading pauses when it is used up (default: %(default)s)",
    )
    add(
        "--chunk-kib",
        type=int,
        default=256,
        metavar="KIB",
        help="size in KiB of the largest message; longer lines are cut (default: %(default)s)",
    )
    add(
        "--linger",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="how long lines wait for more lines to share a message with (default: %(default)s)",
    )
    add(
        "--finish-seconds",
        type=float,
        metavar="SECONDS",
        help="how long to wait for Kafka when everything was read, as with --once or at the end of standard input; what is "
        "not sent by then stays on disk, and the exit status is 1 (default: no limit)",
    )


def _add_kafka(group: argparse._ArgumentGroup) -> None:
    add, environment = group.add_argument, os.environ.get
    add(
        "--bootstrap",
        default=environment("TRIAGE_SHIP_BOOTSTRAP", "127.0.0.1:9092"),
        metavar="HOST:PORT,...",
        help="brokers to connect to first (default: the variable TRIAGE_SHIP_BOOTSTRAP, or 127.0.0.1:9092)",
    )
    add(
        "--topic",
        default=environment("TRIAGE_SHIP_TOPIC", "triage.logs"),
        metavar="NAME",
        help="topic to send to (default: the variable TRIAGE_SHIP_TOPIC, or triage.logs)",
    )
    add(
        "--compression",
        choices=("none", "gzip"),
        default="gzip",
        help="compression of messages; gzip needs more CPU and less network and broker disk (default: %(default)s)",
    )
    add(
        "--security",
        choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
        default=environment("TRIAGE_SHIP_SECURITY", "PLAINTEXT"),
        help="security protocol of the brokers: SSL encrypts, SASL needs --user (default: the variable "
        "TRIAGE_SHIP_SECURITY, or PLAINTEXT)",
    )
    add(
        "--sasl-mechanism",
        choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
        default="SCRAM-SHA-512",
        help="how user and password are checked (default: %(default)s)",
    )
    add(
        "--user",
        default=environment("TRIAGE_SHIP_USER"),
        metavar="NAME",
        help="user name for SASL (default: the variable TRIAGE_SHIP_USER)",
    )
    add(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="file with the password of --user (default: the password is in the variable TRIAGE_SHIP_PASSWORD)",
    )
    add(
        "--ca-file",
        default=environment("TRIAGE_SHIP_CA_FILE"),
        metavar="FILE",
        help="PEM file with the authority that signed the certificates of the brokers (default: the variable "
        "TRIAGE_SHIP_CA_FILE, or the authorities of the system)",
    )
    add("--cert-file", metavar="FILE", help="PEM file with a client certificate (default: none is sent)")
    add("--key-file", metavar="FILE", help="PEM file with the key of --cert-file (default: the key is in --cert-file)")
