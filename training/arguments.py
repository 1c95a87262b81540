"""Command-line options that several commands of `training` share, with one wording for each."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "add_corpus", "add_generator", "add_logs", "add_out", "add_passing_label", "add_tracking", "command_parser", "finish",
    "of_others",
]  # fmt: skip


def command_parser(module: str, docstring: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m MODULE` whose description is the module's docstring, examples included."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_corpus(parser: argparse.ArgumentParser) -> None:
    """Either `--oai`, or `--logs` with `--labels`; one of the two is required."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--oai", type=Path, metavar="FILE", help="the OpenAirInterface runs, oai_rfsim_runs.jsonl.xz")
    source.add_argument("--logs", type=Path, metavar="FOLDER", help="folder of logs; needs --labels")
    _add_labels(parser, required=False)


def add_generator(parser: argparse.ArgumentParser, runs: int, what: str) -> None:
    """`--out`, `--runs` and `--seed` of a command that writes a corpus; `what` says what `--runs` counts."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="a new folder, or one that this command wrote before"
    )
    parser.add_argument("--runs", type=int, default=runs, help=f"{what} (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all random draws (default: %(default)s)")


def of_others(folder: Path) -> bool:
    """Whether a folder for a corpus contains files that no such command wrote; then the user is told on standard error."""
    others = folder.exists() and not (folder / "card.json").is_file() and any(folder.iterdir())
    if others:
        print(f"error: {folder} contains other files; name a new folder", file=sys.stderr)
    return others


def add_logs(parser: argparse.ArgumentParser) -> None:
    """`--logs` and `--labels`, both required."""
    parser.add_argument("--logs", type=Path, required=True, metavar="FOLDER", help="folder of logs")
    _add_labels(parser, required=True)


def _add_labels(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--labels", type=Path, required=required, metavar="FILE", help="CSV file of labels with the columns run,label"
    )


def add_passing_label(parser: argparse.ArgumentParser) -> None:
    """`--passing-label`."""
    parser.add_argument("--passing-label", default="Pass", help="label of the runs that pass (default: %(default)s)")


def add_out(parser: argparse.ArgumentParser, default: Path, what: str) -> None:
    """`--out`, a file in training/results by default; `what` says what is written there."""
    parser.add_argument(
        "--out", type=Path, default=default, metavar="FILE", help=f"{what} (default: training/results/{default.name})"
    )


def add_tracking(parser: argparse.ArgumentParser) -> None:
    """`--track`, with the store as an optional value."""
    parser.add_argument(
        "--track",
        metavar="URI",
        nargs="?",
        const="sqlite:///mlflow.db",
        help="log parameters and metrics to this MLflow store (sqlite:///mlflow.db if no URI is given)",
    )


def finish(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments; exits with a usage error if `--logs` is given without `--labels`."""
    arguments = parser.parse_args(argv)
    if getattr(arguments, "logs", None) and not arguments.labels:
        parser.error("--logs needs --labels")
    return arguments
