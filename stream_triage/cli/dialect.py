"""`dialect`: shows what a dialect makes of logs, so that it can be written in a few rounds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from stream_triage.cli.exits import EXIT_INPUT, EXIT_INTERRUPTED
from stream_triage.cli.options import BundleOption, ConfigOption, RunByOption, as_settings
from stream_triage.cli.reading import open_source, print_problem, read_source
from stream_triage.render.printable import printable, without_colours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_triage.dialect_report import Alike, DialectReport, Place, UeEvents

__all__ = ["dialect"]

# Lines of an event, and events of a UE, that are shown.
FIRST = 4


def dialect(
    dialect: Annotated[
        str,
        typer.Argument(help="File of the dialect (TOML), or name of one that comes with stream-triage.", metavar="DIALECT"),
    ],
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Logs to read: files, folders, glob patterns and archives; or - for stdin.", metavar="PATH"),
    ] = None,
    *,
    config: ConfigOption = None,
    bundle: BundleOption = None,
    run_by: RunByOption = None,
    max_lines: Annotated[int, typer.Option(min=1, help="Print at most this many entries of each list.")] = 10,
) -> None:
    """Show what a dialect makes of logs.

    Prints which lines begin records, which events and UEs were found in which lines, and which lines speak of trouble
    although no phrase matches them, the most frequent first. Nothing is stored. Exits with 2 if the dialect has a fault: it
    cannot be read, an example gives another event, or a pattern is slow.
    """
    from stream_triage import wiring
    from stream_triage.dialect_report import DialectReport, faults_of, summary_of
    from stream_triage.dialects import Dialects
    from stream_triage.intake import Intake
    from stream_triage.settings import load_settings

    settings = load_settings(config, **as_settings(bundle=bundle, input__run_by=run_by))
    table, own = wiring.open_dialect(settings, dialect)
    print(f"{table.name} ({printable(table.title)}): {summary_of(table)}")
    faults = faults_of(Dialects([table]), table)
    for fault in faults.found:
        print(f"wrong  {printable(fault)}")
    status = EXIT_INPUT if faults.found else 0
    if paths and faults.slow:
        print("no log was read: mend the slow patterns first", file=sys.stderr)
    elif paths:
        card = wiring.open_bundles(settings)[-1].card
        report = DialectReport(Dialects(own), table, card.numbers)
        triage = wiring.open_triage(settings, dialects=own, on_lines=report.take)
        intake = Intake(triage, on_problem=print_problem)
        interrupted = read_source(open_source(paths, settings), intake, quiet=False)
        _Printer(report, max_lines).print()
        status = EXIT_INTERRUPTED if interrupted else EXIT_INPUT if intake.tally.errors else status
    raise typer.Exit(status)


class _Printer:
    """Prints a report; at most `most` entries of each list."""

    def __init__(self, report: DialectReport, most: int) -> None:
        self._report, self._most = report, most

    def print(self) -> None:
        """The whole report."""
        report = self._report
        self._print_shares()
        events = [f"{name:<28} {self._places(places)}" for name, places in report.events().items()]
        self._print_list("Events", events, all_of=True)
        failures = [f"{self._place(place)}  {printable(words)}" for place, words in report.node_failures()]
        self._print_list("Failures that belong to no UE", failures)
        ues = report.ues()
        failed = sum(1 for ue in ues if ue.failed)
        self._print_list(f"UEs: {len(ues)}, failed: {failed}", [self._ue(ue) for ue in ues])
        self._print_list("Words of trouble, but no phrase matches", self._alike(report.troubles()))
        self._print_list("Words of trouble in modules that are not listed", self._alike(report.unlisted()))
        self._print_list("Other records that no phrase matches", self._alike(report.others()))
        self._print_list("Lines that begin no record, masked as `records` reads them", self._alike(report.strange()))
        self._print_list("Phrases that no line contains", [printable(phrase) for phrase in report.unmatched()])

    def _print_shares(self) -> None:
        report, own = self._report, self._report.table.name
        records = report.records[own]
        share = f" ({records / report.lines:.0%})" if report.lines else ""
        others = "".join(f", {count} records of {name}" for name, count in report.records.most_common() if name != own)
        print(f"\n{report.lines} lines: {records} begin records of {own}{share}, {report.continued} continue them{others}")
        modules = [(f"{name or 'none'} {count}", report.layer_of(name)) for name, count in report.modules.most_common()]
        listed = [f"{text} ({layer})" for text, layer in modules if layer]
        unlisted = [text for text, layer in modules if not layer]
        if listed:
            print(f"Records by module: {printable(', '.join(listed))}")
        if unlisted:
            more = f" and {len(unlisted) - self._most} more" if len(unlisted) > self._most else ""
            print(f"Modules that [modules] does not list: {printable(', '.join(unlisted[: self._most]))}{more}")

    def _print_list(self, title: str, entries: Sequence[str], *, all_of: bool = False) -> None:
        shown = entries if all_of else entries[: self._most]
        if entries:
            print(f"\n{title}")
        for entry in shown:
            print(f"  {entry}")
        if len(shown) < len(entries):
            print(f"  and {len(entries) - len(shown)} more (--max-lines)")

    def _alike(self, lines: Sequence[Alike]) -> list[str]:
        return [f"{line.times:>5}  {self._place(line.place)}  {without_colours(line.text.strip())}" for line in lines]

    def _places(self, places: Sequence[Place]) -> str:
        more = ", …" if len(places) > FIRST else ""
        return f"{len(places):>5}  {', '.join(map(self._place, places[:FIRST]))}{more}"

    def _place(self, place: Place) -> str:
        """The number of the line, with the log that it is in where there are several."""
        if self._report.sources <= 1:
            return f"#{place.number}"
        return printable(":".join(part for part in (place.run, place.source, str(place.number)) if part))

    def _ue(self, ue: UeEvents) -> str:
        events = [f"{name} #{number}" for name, number in ue.events]
        bad = [
            text
            for text, (name, _) in zip(events, ue.events, strict=True)
            if name.split()[-1] in ("refused", "failed", "lost")
        ]
        shown = events if len(events) <= FIRST else [*events[: FIRST - 1], "…", *bad[:1], events[-1]]
        where = "" if self._report.sources <= 1 else f" of {':'.join(part for part in ue.source[:2] if part)}"
        why = f"; failed: {ue.failed}" if ue.failed else ""
        return printable(f"{ue.ue or 'without an id'}{where}: {', '.join(shown) or 'no event'}{why}")
