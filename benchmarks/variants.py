"""Measures whether runs keep their label when only their format changes: `python -m benchmarks.variants`.

Runs of the TM500-style corpus are judged as they are, and again with another indent, case, blanks, colours, spelling of UE
ids, or with a prefix that no wrapper pattern knows. What the lines say is the same, so the label should be, too.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from benchmarks.arguments import add_out, benchmark_parser, write_page
from benchmarks.corpora import judge
from benchmarks.throughput import table
from stream_triage import Bundle, Triage, find_bundle
from training.corpus import generate

__all__ = ["VARIANTS", "main"]

RESULTS = Path(__file__).parent / "results" / "variants.md"
SEED = 79
_UE_ID: Final = re.compile(r"UE Id: ?(\d+)")
_LEVEL: Final = re.compile(r"(I:|C:)")


def _each(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "\n".join(change(line) if line.strip() else line for line in text.split("\n"))


VARIANTS: Final[Mapping[str, Callable[[str], str]]] = {
    "as it is": lambda text: text,
    "no indent": _each(str.lstrip),
    "indent of four blanks": _each(lambda line: "    " + line),
    "indent of a tab": _each(lambda line: "\t" + line),
    "upper case": str.upper,
    "lower case": str.lower,
    "tabs as blanks": lambda text: text.replace("\t", "  "),
    "blanks as tabs": _each(lambda line: line.replace(" ", "\t")),
    "two blanks for one": _each(lambda line: line.replace(" ", "  ")),
    "coloured lines": _each(lambda line: f"\x1b[0;32m{line}\x1b[0m"),
    "coloured kinds": lambda text: _LEVEL.sub("\x1b[1m\\1\x1b[0m", text),
    "UE Id : 3": lambda text: _UE_ID.sub(r"UE Id : \1", text),
    "ueId=3": lambda text: _UE_ID.sub(r"ueId=\1", text),
    "UE_ID 3": lambda text: _UE_ID.sub(r"UE_ID \1", text),
    "UE 3": lambda text: _UE_ID.sub(r"UE \1", text),
    "UE[3]": lambda text: _UE_ID.sub(r"UE[\1]", text),
    "prefix of a name": _each(lambda line: f"bed-07| {line}"),
    "prefix in brackets": _each(lambda line: f"[tma console 1] {line}"),
    "line feeds alone": lambda text: text.replace("\r\n", "\n"),
}
"""What a variant does to the text of a run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the page and writes it; returns the exit status."""
    parser = benchmark_parser("benchmarks.variants", __doc__)
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="generated runs (default: %(default)s)")
    add_out(parser, RESULTS)
    options = parser.parse_args(argv)
    triage = Triage(Bundle.open(find_bundle("tm500")))
    runs = [run.text.decode("utf-8", "surrogateescape") for run in generate(options.runs, seed=SEED)]
    labels = [_label(triage, text) for text in runs]
    rows = []
    for name, change in VARIANTS.items():
        kept = sum(_label(triage, change(text)) == label for text, label in zip(runs, labels, strict=True))
        rows.append((name, f"{kept} of {len(runs)} ({100 * kept / len(runs):.1f} %)"))
    page = (
        f"# Format variants\n\n{date.today().isoformat()}. Written by `python -m benchmarks.variants`. Runs of the "
        f"TM500-style corpus with another format: how many keep their label.\n\n{table(('variant', 'label kept'), rows)}\n"
    )
    write_page(page, options.out)
    return 0


def _label(triage: Triage, text: str) -> str:
    return judge(triage, {"": text.encode("utf-8", "surrogateescape")}).label


if __name__ == "__main__":
    sys.exit(main())
