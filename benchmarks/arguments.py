"""Command-line options that several benchmarks share, with one wording for each, and the page that they write."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["add_data", "add_out", "benchmark_parser", "parse_with_data", "write_page"]


def benchmark_parser(module: str, docstring: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m MODULE` whose description is the first line of the module's docstring."""
    return argparse.ArgumentParser(prog=f"python -m {module}", description=(docstring or "").splitlines()[0])


def add_data(parser: argparse.ArgumentParser) -> None:
    """`--data` and `--bundle`, for benchmarks on real logs; parse them with `parse_with_data`."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=os.environ.get("STREAM_TRIAGE_DATA") or None,
        help="folder of real logs (default: the variable STREAM_TRIAGE_DATA)",
    )
    parser.add_argument("--bundle", default="oai5g", help="name or folder of the model bundle (default: %(default)s)")


def add_out(parser: argparse.ArgumentParser, default: Path) -> None:
    """`--out`, the page that is written."""
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        default=default,
        help=f"page to write (default: benchmarks/results/{default.name})",
    )


def parse_with_data(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments; exits with a usage error if no folder of real logs is named."""
    arguments = parser.parse_args(argv)
    if arguments.data is None:
        parser.error("no data; name the folder of real logs with --data DIR or STREAM_TRIAGE_DATA")
    return arguments


def write_page(page: str, out: Path) -> None:
    """Prints the page and writes it to the file of `--out`."""
    print(page, end="")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
