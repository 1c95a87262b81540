"""Measures redaction on invented logs with known secrets and identities, beside detect-secrets and credsweeper.

    python -m benchmarks.redaction [--quick] [--half seen|unseen|numbers|both] [--peers PYTHON] [--misses] [--out FILE]

Half of the kinds were kept out of sight while rules were written (`--half unseen`); their figures are the ones that count.
`--misses` lists secrets that stayed and text that should have stayed, but never for the unseen half, so that nobody fits
rules to it by accident. `numbers` is a part of its own: bare numbers, some of them identities. A full run also writes the
documents of both halves in colour, with unusual blanks and in escapes, and compares the recall. The peers need their own
environment, with the packages of `requirements/peers.txt`.
"""

import platform
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from benchmarks.arguments import add_out, benchmark_parser
from benchmarks.redaction.decorations import DECORATIONS, decorated
from benchmarks.redaction.documents import Document, fingerprint, make_documents
from benchmarks.redaction.peers import peer_stretches
from benchmarks.redaction.product import redacted_stretches
from benchmarks.redaction.scoring import Counts, count, false_stretches, interval, macro, missed, total
from benchmarks.redaction.templates import FAMILIES, HALVES, NUMBERS, TEMPLATES, read_context, read_kinds
from benchmarks.throughput import table
from stream_triage.stages.redact import Redactor

__all__ = ["main"]

RESULTS = Path(__file__).parent.parent / "results" / "redaction.md"
PER_KIND = 8
QUICK_PER_KIND = 2
_SCORES = ("recall", "95 %", "precision", "95 %", "macro recall", "macro precision", "line recall", "line precision")
_TOOL_COLUMNS = ("tool", *_SCORES, "false per 1,000 lines")
_FAMILY_COLUMNS = ("tool, family", "kinds", "secrets", "recall", "precision", "false", "line recall", "line precision")
_NOTATION_COLUMNS = ("notation", "recall", "of plain", "precision", "false")
Stretches = Sequence[Sequence[tuple[int, int]]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the page and writes it; returns the exit status."""
    parser = benchmark_parser("benchmarks.redaction", __doc__)
    parser.add_argument("--quick", action="store_true", help="two documents of each kind, and write no page")
    parser.add_argument(
        "--half", choices=(*HALVES, NUMBERS, "both"), default="both", help="part of the kinds (default: all)"
    )
    parser.add_argument(
        "--peers", metavar="PYTHON", type=Path, help="the interpreter of an environment with detect-secrets and credsweeper"
    )
    parser.add_argument("--misses", action="store_true", help="list what went wrong on the seen half")
    parser.add_argument("--templates", metavar="DIR", type=Path, default=TEMPLATES, help="folder of templates")
    add_out(parser, RESULTS)
    options = parser.parse_args(argv)
    context = read_context(options.templates)
    halves = (*HALVES, NUMBERS) if options.half == "both" else (options.half,)
    sections = []
    for half in halves:
        kinds = read_kinds(half, options.templates)
        documents = make_documents(kinds, context, QUICK_PER_KIND if options.quick else PER_KIND)
        if not documents:
            continue
        tools = {"stream-triage": _redact_all(documents)}
        if options.peers:
            tools |= peer_stretches(options.peers, documents)
        sections.append(_section(half, documents, tools))
        if half != NUMBERS and not options.quick:
            sections.append(_decorations(half, documents))
        if options.misses and half != "unseen":
            _print_misses(documents, tools["stream-triage"])
    page = _HEAD.format(day=date.today().isoformat(), version=platform.python_version()) + "\n".join(sections)
    print(page, end="")
    if not options.quick and options.half == "both":
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(page)
    return 0


def _redact_all(documents: Sequence[Document]) -> Stretches:
    redactor = Redactor()
    return [redacted_stretches(redactor, document.text) for document in documents]


def _section(half: str, documents: Sequence[Document], tools: Mapping[str, Stretches]) -> str:
    """The tables of one half."""
    by_tool = {name: _by_kind(documents, stretches) for name, stretches in tools.items()}
    families = {document.kind.name: document.kind.family for document in documents}
    present = [family for family in FAMILIES if family in families.values()]
    secrets = sum(len(document.secrets) for document in documents)
    lines = sum(document.text.count("\n") + 1 for document in documents)
    tool_rows = [_tool_row(name, by_kind, lines) for name, by_kind in by_tool.items()]
    family_rows = [
        _family_row(f"{name}, {family}", [counts for kind, counts in by_kind.items() if families[kind] == family])
        for name, by_kind in by_tool.items()
        for family in present
    ]
    return (
        f"## {half.capitalize()} kinds\n\n{len(families)} kinds, {len(documents)} documents, {lines:,} lines, "
        f"{secrets:,} secrets and identities; fingerprint `{fingerprint(documents)[:16]}`.\n\n"
        f"{table(_TOOL_COLUMNS, tool_rows)}\n\n{table(_FAMILY_COLUMNS, family_rows)}\n"
    )


def _decorations(half: str, documents: Sequence[Document]) -> str:
    """The table of recall and precision on the same documents in other notations."""
    plain = total(_by_kind(documents, _redact_all(documents)).values())
    rows = [("plain", f"{plain.recall:.3f}", "1.000", f"{plain.precision:.3f}", f"{plain.false:,}")]
    for name in DECORATIONS:
        in_notation = [decorated(document, name) for document in documents]
        every = total(_by_kind(in_notation, _redact_all(in_notation)).values())
        share = every.recall / plain.recall
        rows.append((name, f"{every.recall:.3f}", f"{share:.3f}", f"{every.precision:.3f}", f"{every.false:,}"))
    return f"{half.capitalize()} kinds of stream-triage in other notations:\n\n{table(_NOTATION_COLUMNS, rows)}\n"


def _by_kind(documents: Sequence[Document], stretches: Stretches) -> dict[str, Counts]:
    counts: dict[str, list[Counts]] = {}
    for document, found in zip(documents, stretches, strict=True):
        counts.setdefault(document.kind.name, []).append(count(document, found))
    return {kind: total(several) for kind, several in counts.items()}


def _tool_row(name: str, by_kind: Mapping[str, Counts], lines: int) -> Sequence[str]:
    every, (macro_recall, macro_precision), middle = total(by_kind.values()), macro(by_kind), interval(by_kind)
    figures = (macro_recall, macro_precision, every.line_recall, every.line_precision)
    return (
        name,
        f"{every.recall:.3f}",
        "{:.2f}-{:.2f}".format(*middle.recall),
        f"{every.precision:.3f}",
        "{:.2f}-{:.2f}".format(*middle.precision),
        *(f"{figure:.3f}" for figure in figures),
        f"{every.false * 1000 / lines:.1f}",
    )


def _family_row(name: str, kinds: Sequence[Counts]) -> Sequence[str]:
    if not kinds:
        return (name, "0", *["-"] * 6)
    every = total(kinds)
    return (
        name,
        str(len(kinds)),
        f"{every.secrets:,}",
        f"{every.recall:.3f}" if every.secrets else "-",
        f"{every.precision:.3f}" if every.secrets else "-",
        f"{every.false:,}",
        f"{every.line_recall:.3f}" if every.secrets else "-",
        f"{every.line_precision:.3f}" if every.secrets else "-",
    )


def _print_misses(documents: Sequence[Document], stretches: Stretches) -> None:
    """Each secret that stayed, and each false stretch, with its line."""
    for document, found in zip(documents, stretches, strict=True):
        for span in missed(document, found):
            print(f"missed  {document.kind.name}: {_quoted(document.text, span)}")
        for span in false_stretches(document, found):
            print(f"false   {document.kind.name}: {_quoted(document.text, span)}")
    print()


def _quoted(text: str, span: tuple[int, int]) -> str:
    """The line of a stretch, with the stretch in brackets, shortened."""
    start, end = text.rfind("\n", 0, span[0]) + 1, text.find("\n", span[0])
    line_end = end if end >= 0 else len(text)
    return f"{text[max(start, span[0] - 80) : span[0]]}⟦{text[slice(*span)]}⟧{text[span[1] : line_end][:40]}"


_HEAD = """# Redaction

{day}, Python {version}. Written by `python -m benchmarks.redaction`: invented logs with labelled secrets and identities.
Recall: share of secrets and identities of which nothing readable stays. Precision: removed ones among these and the false
stretches. The intervals come from resampled kinds; in macro figures every kind has the same weight. By line: a line of the
secret was touched or reported at all, which is what scanners of source code are made for. The peers look for no subscriber
identities.

"""


if __name__ == "__main__":
    raise SystemExit(main())
