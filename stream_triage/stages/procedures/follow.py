"""Lines of one source with their signals in; the state of every UE, and the UEs that failed, out.

Of each UE the state keeps how often each step came and in which line last, and its trouble by kind. Steps that must follow
each other (3GPP TS 38.321, 5.1 random access; TS 38.331, 5.3.3 connection and 5.3.7 re-establishment; TS 24.501, 5.5.1
registration and 6.4.1 session):

    access → accessed → connected → registered → session       reestablishing → reestablished

A UE that disconnects (`left`) and starts a new access begins again from nothing, unless it had failed before.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from stream_triage.stages.procedures.signals import DATA, L2, LAYERS, NAS, Signal
from stream_triage.stages.procedures.tables import Tables

__all__ = [
    "LOOP",
    "MAX_KINDS",
    "MAX_UES",
    "Outcome",
    "ProcedureState",
    "Repeats",
    "Ue",
    "failed_ues",
    "follow",
    "last_line",
]

# Bounds of the state of one source: UEs that are followed, and kinds of trouble counted of each.
MAX_UES: Final = 1024
MAX_KINDS: Final = 24
# The same trouble this often at one UE is a failure; passing runs show trouble once or twice.
LOOP: Final = 3

_UE: Final = re.compile(r"UE Id\s*:\s*(\d{1,6})")
# A registration reject counts as one kind of trouble, whatever reason the network gives.
_REFUSAL_KIND: Final = 1


@dataclass(slots=True, order=True)
class Repeats:
    """How often one kind of trouble came, and in which lines it came first and second."""

    count: int
    first: int
    second: int = 0

    def add(self, line: int) -> None:
        """Counts the next one."""
        self.count += 1
        if self.count == 2:
            self.second = line


class Ue:
    """One UE of one source. Most questions depend on whether the script waits for a refusal (`refusal`)."""

    __slots__ = ("counts", "failed", "kinds", "lines")

    def __init__(self) -> None:
        self.failed = False
        """Whether an earlier attach failed; what comes after it is ignored."""
        self.counts: Counter[str] = Counter()
        self.lines: dict[str, int] = {}
        """Step to its last line."""
        self.kinds: dict[tuple[int, int], Repeats] = {}
        """Trouble, by layer and kind."""

    def step(self, name: str, line: int, refusal: bool) -> None:
        """Takes a step. An access after a disconnection begins anew; a UE that failed before keeps that state."""
        if name == "access" and "left" in self.lines and not self.failed:
            self.failed = self.broken(refusal)
            if not self.failed:
                self.lines.clear()
                self.kinds.clear()
        if not self.failed:
            self.counts[name] += 1
            self.lines[name] = line

    def withdraw_registration(self) -> None:
        """Takes one registration back: its indication came, and the line after it says that it was refused."""
        self.counts["registered"] -= 1
        if self.counts["registered"] <= 0:
            self.lines.pop("registered", None)

    def trouble(self, layer: int, kind: int, line: int) -> None:
        """Counts trouble; the first `MAX_KINDS` kinds are kept."""
        if self.failed:
            return
        known = self.kinds.get((layer, kind))
        if known:
            known.add(line)
        elif len(self.kinds) < MAX_KINDS:
            self.kinds[layer, kind] = Repeats(1, line)

    def unfinished(self, refusal: bool) -> list[str]:
        """Procedures that were started and did not end well. If a refusal is expected, being accepted is wrong."""
        procedures = []
        if self._pending("access", "accessed", "connected", "handover", "reestablished", "registered"):
            procedures.append("access")
        reached = self._reached()
        if "accessed" in self.lines and not reached:
            procedures.append("connection")
        if self._pending("reestablishing", "reestablished", "registered", "session"):
            procedures.append("reestablishment")
        if refusal:
            return [*procedures, "accepted"] if "registered" in self.lines else procedures
        if reached == 1:
            procedures.append("registration")
        if reached == 2:
            procedures.append("session")
        if self._pending("refused", "registered"):
            procedures.append("refused")
        return procedures

    def _reached(self) -> int:
        """How far an attach came: 1 connected, 2 registered, 3 session.

        Testers lose records, so a later step proves the earlier ones.
        """
        return max((position for step, position in _ATTACH.items() if step in self.lines), default=0)

    def _pending(self, begun: str, *done: str) -> bool:
        """Whether none of `done` came after the last `begun`."""
        return begun in self.lines and all(self.lines.get(step, -1) < self.lines[begun] for step in done)

    def troubles(self, refusal: bool) -> dict[tuple[int, int], Repeats]:
        """Trouble by layer and kind. If a refusal is expected, what the network answers is none."""
        return {kind: repeats for kind, repeats in self.kinds.items() if not (refusal and kind[0] == NAS)}

    def looping(self, refusal: bool) -> int:
        """How often the most frequent trouble came."""
        return max((repeats.count for repeats in self.troubles(refusal).values()), default=0)

    def broken(self, refusal: bool) -> bool:
        """Whether the UE failed: something is unfinished, or trouble or re-establishments keep coming."""
        return bool(self.unfinished(refusal)) or self.looping(refusal) >= LOOP or self.counts["reestablishing"] >= LOOP

    def blamed(self, refusal: bool) -> int:
        """The layer that is blamed for the UE's failure.

        That of the trouble which came again first, else of the first trouble; without trouble, that of the procedure which
        is unfinished.
        """
        troubles = self.troubles(refusal)
        again = [(repeats.second, layer) for (layer, _), repeats in troubles.items() if repeats.second]
        once = [(repeats.first, layer) for (layer, _), repeats in troubles.items()]
        if again or once:
            return min(again or once)[1]
        unfinished = self.unfinished(refusal)
        return L2 if unfinished and unfinished[0] == "access" else NAS


_ATTACH: Final = {"session": 3, "registered": 2, "connected": 1}


class ProcedureState:
    """All that is kept of one source."""

    __slots__ = ("alone", "counts", "first_lines", "order", "record", "tables", "ues", "unfollowed")

    def __init__(self) -> None:
        self.ues: dict[int, Ue] = {}
        self.unfollowed = 0
        """Records of UEs beyond `MAX_UES`."""
        self.alone: dict[tuple[int, int], Repeats] = {}
        """Trouble that names no UE, by layer and kind."""
        self.counts: Counter[str] = Counter()
        self.first_lines: dict[str, int] = {}
        self.tables = Tables()
        self.record: tuple[Signal, int | None, int] | None = None
        """The record that continuation lines belong to: its signal, UE and line."""
        self.order: list[int] = []
        """Layers of the first trouble, and of the first that came `LOOP` times (-1: none did)."""

    @property
    def refusal_expected(self) -> bool:
        """Whether the script waits for a reject, as negative tests do."""
        return bool(self.counts["expects_refusal"])

    def count(self, name: str, line: int) -> None:
        """Counts a step of the whole source."""
        self.counts[name] += 1
        self.first_lines.setdefault(name, line)

    def ue(self, number: int) -> Ue | None:
        """The UE of this number; None if too many are followed already."""
        known = self.ues.get(number)
        if known is None and len(self.ues) < MAX_UES:
            known = self.ues[number] = Ue()
        if known is None:
            self.unfollowed += 1
        return known


def follow(state: ProcedureState, lines: Sequence[str], signals: Iterable[Signal | None], first_number: int) -> None:
    """Takes the next lines of a source in order, each with the signal of its masked form."""
    for number, (line, signal) in enumerate(zip(lines, signals, strict=True), first_number):
        if signal is not None:
            if signal.layer < 0:
                _continue(state, signal, line, number)
            else:
                _begin(state, signal, line, number)


def _begin(state: ProcedureState, signal: Signal, line: str, number: int) -> None:
    """A record begins; continuation lines that follow belong to it."""
    ue = None
    if signal.names_ue and (match := _UE.search(line)):
        ue = int(match[1])
    state.record = (signal, ue, number)
    state.tables.leave()
    if signal.table:
        state.tables.counter(signal.table, line, number)
    elif signal.layer == DATA and signal.step:
        # What fails before the activation is set-up: a cell search may need several tries in passing runs too.
        if signal.step in ("activated", "expects_refusal") or state.counts["activated"]:
            state.count(signal.step, number)
    elif signal.step:
        state.count(signal.step, number)
        if ue is not None and (followed := state.ue(ue)):
            followed.step(signal.step, number, state.refusal_expected)
    elif signal.trouble and state.counts["activated"]:
        _trouble(state, signal.layer, signal.kind, ue, number)


def _trouble(state: ProcedureState, layer: int, kind: int, ue: int | None, number: int) -> None:
    if not state.order:
        state.order = [layer, -1]
    known = None
    if ue is None:
        known = state.alone.get((layer, kind))
        if known:
            known.add(number)
        elif len(state.alone) < MAX_KINDS:
            state.alone[layer, kind] = Repeats(1, number)
    elif followed := state.ue(ue):
        followed.trouble(layer, kind, number)
        known = followed.kinds.get((layer, kind))
    if known and known.count == LOOP and state.order[1] < 0:
        state.order[1] = layer


def _continue(state: ProcedureState, signal: Signal, line: str, number: int) -> None:
    """A line that continues a record: a row of its table, the cause of a re-establishment, or why it failed."""
    if state.record is None:
        return
    if signal.table:
        if signal.table in ("silent", "heard"):
            state.count(signal.table, number)
        state.tables.take(signal.table, line, number)
        return
    record, ue, record_line = state.record
    followed = state.ues.get(ue) if ue is not None else None
    if record.step == "reestablishing":
        state.count(signal.step or "cause_radio", record_line)
    elif record.step == "registered" and signal.trouble and followed:
        followed.withdraw_registration()
        followed.step("refused", record_line, state.refusal_expected)
        state.count("refused", record_line)
        _trouble(state, NAS, _REFUSAL_KIND, ue, record_line)
    elif signal.trouble and record.kind and not record.trouble and not record.step and state.counts["activated"]:
        _trouble(state, record.layer, record.kind, ue, record_line)


class Outcome(NamedTuple):
    """A UE of one source that failed, the line that shows it, and why."""

    ue: int
    line: int
    reason: str


_REASONS: Final = {
    "access": "random access not completed",
    "connection": "no connection after random access",
    "registration": "connected, never registered",
    "refused": "registration refused",
    "session": "registered, no session",
    "reestablishment": "re-establishment not completed",
    "accepted": "registered, though a refusal was expected",
}
# Steps whose last line shows that a procedure is unfinished; the first one that came counts.
_SHOWN_BY: Final = {
    "access": ("connection_failed", "access_error", "access"),
    "connection": ("connection_failed", "accessed"),
    "registration": ("refused", "left", "connected"),
    "refused": ("refused",),
    "session": ("left", "registered"),
    "reestablishment": ("reestablishing",),
    "accepted": ("registered",),
}


def failed_ues(state: ProcedureState) -> list[Outcome]:
    """Failed UEs of one source, by number.

    A refusal that the script waits for is no failure; nor is a missing session if no UE of the source has one.
    """
    refusal = state.refusal_expected
    sessions = any("session" in ue.lines for ue in state.ues.values())
    failed = []
    for number, ue in sorted(state.ues.items()):
        reasons = [reason for reason in ue.unfinished(refusal) if not (reason == "session" and not sessions)]
        if reasons:
            failed.append(Outcome(number, last_line(ue, reasons[0]), _REASONS[reasons[0]]))
        elif ue.looping(refusal) >= LOOP or ue.counts["reestablishing"] >= LOOP:
            failed.append(_looping_ue(number, ue, refusal))
    return failed


def last_line(ue: Ue, unfinished: str) -> int:
    """The line that shows an unfinished procedure of this UE."""
    return next(ue.lines[step] for step in _SHOWN_BY[unfinished] if step in ue.lines)


def _looping_ue(number: int, ue: Ue, refusal: bool) -> Outcome:
    if ue.looping(refusal) >= LOOP:
        (layer, _), most = max(ue.troubles(refusal).items(), key=lambda item: item[1].count)
        return Outcome(number, most.first, f"{most.count} times the same {LAYERS[layer].upper()} trouble")
    return Outcome(number, ue.lines["reestablishing"], f"{ue.counts['reestablishing']} re-establishments")
