"""Lines of one source in, what became of each UE's procedures out: random access, connection, registration, session.

The stage knows what 3GPP procedures force: a Random Access that was initiated must complete, a connection that stands is
followed by a registration, a re-establishment succeeds or the UE is lost; a radio link failure that RRC reports began below
it. Of each UE it keeps which step came last and which abnormal records came how often, by layer. From that follow the failed
UEs of a verdict, and the features of a classifier that needs no wording seen before.

A record is abnormal if passing runs hardly show its kind (its wording, numbers aside). What a masked line tells is
remembered for all lines like it; UE numbers and table values are read from the line itself, where its masked form told
something.
"""

import re
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from stream_triage.errors import BundleError
from stream_triage.records import Explanation, LineShare
from stream_triage.stages.procedures.trees import Trees

__all__ = [
    "FEATURES",
    "Features",
    "ProcedureState",
    "Procedures",
    "Signal",
    "failed_ues",
    "features",
    "read_signal",
    "vector",
]

# Layers of abnormal records, in the order of the protocol stack, and what stands beside it.
L1, L2, RRC, NAS, TESTER, DATA = range(6)
LAYERS: Final = ("l1", "l2", "rrc", "nas", "tester", "data")

# Bounds of the state: UEs followed, kinds of abnormal records counted of each.
MAX_UES = 1024
MAX_KINDS = 24
# A kind of abnormal record that comes this often at one UE is no passing trouble.
LOOP = 3
LATEST = 8

_PREFIXES: Final = (
    ("I: CMPI L1", L1),
    ("I: CMPI ORAN_RU", L1),
    ("I: CMPI L2", L2),
    ("I: CMPI RRC", RRC),
    ("I: CMPI MTE", NAS),
    ("I: CMPI DTE", DATA),
    ("I: ERNO", TESTER),
)
_STEPS: Final = (
    ("access", re.compile(r"Random Access Initiated")),
    ("accessed", re.compile(r"Random Access Complete")),
    ("access_error", re.compile(r"Random Access (?:Error|Cancelled)")),
    ("connection_failed", re.compile(r"CONNECTION FAILED IND")),
    ("reestablishing", re.compile(r"Re-establishment Started")),
    ("reestablished", re.compile(r"Re-establishment Success")),
    ("connected", re.compile(r"MTE.* (?:NR|ECM) CONNECTION IND")),
    ("registered", re.compile(r"MTE.* (?:NR REGISTRATION|EMM REGISTER) IND")),
    (
        "session",
        re.compile(
            r"MTE.* (?:PDU SESSION (?:ESTABLISHMENT|MODIFICATION|RELEASE)|PDN (?:DIS)?CONNECTION|BEARER RESOURCE ADD) IND"
        ),
    ),
    ("left", re.compile(r"MTE.* (?:NR|ECM) DISCONNECTION IND")),
    ("deregistered", re.compile(r"MTE.* (?:DEREGISTRATION|DEREGISTER) IND")),
    ("handover", re.compile(r"Handover Complete")),
    ("report", re.compile(r"MeasurementReport")),
    ("plmn_loss", re.compile(r"PLMN LOSS IND")),
    ("t310", re.compile(r"RRC T310|RRC TIMER \w+.*T310")),
)
# Consequences that RRC or the tester report whatever layer they come from; they say nothing of it.
_CONSEQUENCE: Final = re.compile(r"PLMN (?:LOSS|RECOVERY)|\bT30[01]\b|\bT31[01]\b|RRC TIMER|Cell Selection")
_LOWER: Final = re.compile(r"RLC|PDCP|Integrity")
_UPPER: Final = re.compile(r"Handover failure|Reconfiguration failure|Other failure")
_UE: Final = re.compile(r"UE Id\s*:\s*(\d{1,6})")
_MARKERS: Final = re.compile(r"<[a-z][^>]*>")
_WORD: Final = re.compile(r"[A-Za-z][\w-]*")
_TABLES: Final = (
    ("DL-SCH", "dl"),
    ("UL-SCH", "ul"),
    ("DL HARQ", "harq"),
    ("UL HARQ", ""),
    ("RLC ", "rlc"),
    ("PDCP ", "pdcp"),
)
_ROW: Final = re.compile(r"\s*(?:<num:[^>]*>\s*|\d+\s*)+")
_COUNTER: Final = re.compile(r"\[RX_(LATE|EARLY|SEQID_ERR|CORRUPT)\w*(?:\(_U\))?\]: ")
_CQI: Final = re.compile(r"CQI: (\d{1,2})")


class Signal(NamedTuple):
    """What a masked line tells: the step of a procedure, trouble of a layer, or a place in a statistics table."""

    step: str = ""
    layer: int = -1
    """Of a record that begins here; -1 for what continues one."""
    trouble: bool = False
    kind: int = 0
    table: str = ""
    names_ue: bool = False


def read_signal(masked: str, usual: Container[int] = frozenset()) -> Signal | None:
    """Of one masked line; None for a line that says nothing here. Records whose kind is not `usual` are trouble.

    >>> read_signal("<time> I: CMPI L2 Random Access Complete :UE Id:<num:e0> (TC-RNTI: <hex>)").step
    'accessed'
    >>> read_signal("<time> I: CMPI L2 RLC: t-PollRetransmit expired: UE Id: <num:e0>, POLL_SN <num:e2>").trouble
    True
    >>> read_signal("<time> SETP L1_AGC_MODE <num:e0>") is None
    True
    """
    if masked.startswith("<time> "):
        return _record(masked[7:].removeprefix("... "), usual)
    return _continuation(masked.strip(), usual) if masked.startswith(" ") else None


def _kind(text: str) -> int:
    """The words of a record, whatever its numbers and punctuation, which differ between releases."""
    return crc32(" ".join(_WORD.findall(_MARKERS.sub(" ", text))).encode())


def _record(payload: str, usual: Container[int]) -> Signal | None:
    if payload.startswith("["):
        counter = _COUNTER.match(payload)
        return Signal(table=f"ru_{counter[1].lower()}", layer=DATA) if counter else Signal(layer=DATA)
    if not payload.startswith("I: "):
        return _command(payload)
    layer = next((layer for prefix, layer in _PREFIXES if payload.startswith(prefix)), -2)
    if layer == -2:
        return _tester(payload)
    names_ue = "UE Id" in payload
    step = next((name for name, pattern in _STEPS if pattern.search(payload)), "")
    kind = _kind(payload)
    trouble = not step and kind not in usual and not _CONSEQUENCE.search(payload)
    return Signal(step, layer, trouble, kind, names_ue=names_ue)


def _command(payload: str) -> Signal | None:
    """What the script asked for, and what the tester answered."""
    if payload.startswith("C: "):
        if "GETSTATS" in payload:
            return Signal("answer", DATA)
        if "FAILED" in payload:
            names = (("licensed", "unlicensed"), ("8030", "search_failed"), ("15014", "search_failed"))
            return Signal(next((name for word, name in names if word in payload), "command_failed"), DATA)
        return Signal("setup_failed", DATA) if payload.startswith("C: SCFG 0x06") else Signal("answer", DATA)
    if payload.startswith("WAIT FOR") and "REJECT" in payload:
        return Signal("expects_refusal", DATA)
    if "Activate" in payload:
        return Signal("activated", DATA)
    if "MtsClearMts" in payload:
        return Signal("stopping", DATA)
    return Signal("answer", DATA) if payload.startswith(("forw", "FORW")) else None


def _tester(payload: str) -> Signal:
    if payload.startswith("I: TMAE 0x1"):
        return Signal("timed_out" if "timed out" in payload else "warned", DATA)
    return Signal("rebooted" if "REBOOT" in payload else "answer", DATA)


def _continuation(text: str, usual: Container[int]) -> Signal | None:
    if _ROW.fullmatch(text):
        return Signal(table="row")
    for prefix, table in _TABLES:
        if text.startswith(prefix):
            return Signal(table=table or "none")
    if text.startswith("UE ID: "):
        return Signal(table="ue")
    if text.startswith("BCH "):
        return Signal(table="silent" if "NO DATA" in text else "heard")
    if text.startswith("Throughput"):
        return Signal(table="rate")
    step = "cause_lower" if _LOWER.search(text) else "cause_upper" if _UPPER.search(text) else ""
    kind = _kind(text)
    return Signal(step, trouble=kind not in usual and not _CONSEQUENCE.search(text), kind=kind)


class _Ue:
    """Steps of one UE: how often each came, where last; abnormal records by kind."""

    __slots__ = ("counts", "failed", "kinds", "lines")

    def __init__(self) -> None:
        self.failed = False
        """In an attach that is over: what came after it is no more looked at."""
        self.counts: Counter[str] = Counter()
        self.lines: dict[str, int] = {}
        self.kinds: dict[tuple[int, int], list[int]] = {}
        """(layer, kind) to how often it came, where first, and where it came the second time."""

    def step(self, name: str, line: int, refusal: bool) -> None:
        """An access behind a disconnection begins anew; a UE that failed before stays as it was then."""
        if name == "access" and "left" in self.lines and not self.failed:
            self.failed = self.broken(refusal)
            if not self.failed:
                self.lines.clear()
                self.kinds.clear()
        if not self.failed:
            self.counts[name] += 1
            self.lines[name] = line

    def trouble(self, layer: int, kind: int, line: int) -> None:
        if self.failed:
            return
        known = self.kinds.get((layer, kind))
        if known:
            known[0] += 1
            if known[0] == 2:
                known[2] = line
        elif len(self.kinds) < MAX_KINDS:
            self.kinds[layer, kind] = [1, line, 0]

    def behind(self, begun: str, *done: str) -> bool:
        """Whether the last `begun` has none of `done` behind it."""
        return begun in self.lines and all(self.lines.get(step, -1) < self.lines[begun] for step in done)

    def unfinished(self, refusal: bool) -> list[str]:
        """Procedures that were begun and did not end well. Where a `refusal` is expected, being accepted is wrong."""
        # A record may be lost: what can only come later says that it was there.
        found, later = [], {"session": 3, "registered": 2, "connected": 1}
        reached = max((place for step, place in later.items() if step in self.lines), default=0)
        if self.behind("access", "accessed", "connected", "handover", "reestablished", "registered"):
            found.append("access")
        if "accessed" in self.lines and not reached:
            found.append("connection")
        if self.behind("reestablishing", "reestablished", "registered", "session"):
            found.append("reestablishment")
        if refusal:
            return [*found, "accepted"] if "registered" in self.lines else found
        if reached == 1:
            found.append("registration")
        if reached == 2:
            found.append("session")
        if self.behind("refused", "registered"):
            found.append("refused")
        return found

    def troubles(self, refusal: bool) -> dict[tuple[int, int], list[int]]:
        """Abnormal records; the network's answers are none where a refusal is expected."""
        return {kind: counted for kind, counted in self.kinds.items() if not (refusal and kind[0] == NAS)}

    def looping(self, refusal: bool) -> int:
        return max((count for count, _, _ in self.troubles(refusal).values()), default=0)

    def broken(self, refusal: bool) -> bool:
        return bool(self.unfinished(refusal)) or self.looping(refusal) >= LOOP or self.counts["reestablishing"] >= LOOP

    def blamed(self, refusal: bool) -> int:
        """The layer that the UE's failure is laid to: of the abnormal record that first came again, else of the first one;
        where there is none, of the procedure that stands still."""
        troubles = self.troubles(refusal)
        again = [(line, layer) for (layer, _), (_, _, line) in troubles.items() if line]
        once = [(line, layer) for (layer, _), (_, line, _) in troubles.items()]
        if again or once:
            return min(again or once)[1]
        unfinished = self.unfinished(refusal)
        return L2 if unfinished and unfinished[0] == "access" else NAS


class _Values:
    """Values of one kind from the tables: largest and where, mean, the latest."""

    __slots__ = ("count", "largest", "latest", "line", "total")

    def __init__(self) -> None:
        self.largest, self.line, self.total, self.count = -1e9, 0, 0.0, 0
        self.latest: list[float] = []

    def add(self, value: float, line: int) -> None:
        if value > self.largest:
            self.largest, self.line = value, line
        self.total += value
        self.count += 1
        self.latest = [*self.latest[1 - LATEST :], value]


class ProcedureState:
    """Of one source."""

    __slots__ = ("alone", "counts", "first_lines", "order", "record", "table", "ues", "unfollowed", "values")

    def __init__(self) -> None:
        self.ues: dict[int, _Ue] = {}
        self.unfollowed = 0
        self.alone: dict[tuple[int, int], list[int]] = {}
        """Abnormal records that name no UE."""
        self.counts: Counter[str] = Counter()
        self.first_lines: dict[str, int] = {}
        self.values: dict[str, _Values] = {}
        self.record: tuple[Signal, int | None, int] | None = None
        """The record that continuation lines belong to: its signal, UE and line."""
        self.table = ""
        self.order: list[int] = []
        """Layers of the first abnormal record and of the first that came again."""

    def count(self, name: str, line: int) -> None:
        self.counts[name] += 1
        self.first_lines.setdefault(name, line)


class Outcome(NamedTuple):
    """A UE of one source that did not get where it should, the line that shows it, and why."""

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


def failed_ues(state: ProcedureState) -> list[Outcome]:
    """Failed UEs of one source, by number. A refusal that the script waits for is none, nor a session that nobody has."""
    expected = bool(state.counts["expects_refusal"])
    sessions = any("session" in ue.lines for ue in state.ues.values())
    found = []
    for number, ue in sorted(state.ues.items()):
        reasons = [r for r in ue.unfinished(expected) if not (r == "session" and not sessions)]
        if reasons:
            found.append(Outcome(number, _last_line(ue, reasons[0]), _REASONS[reasons[0]]))
        elif ue.looping(expected) >= LOOP or ue.counts["reestablishing"] >= LOOP:
            found.append(_looping_ue(number, ue, expected))
    return found


def _last_line(ue: _Ue, reason: str) -> int:
    steps = {
        "access": ("connection_failed", "access_error", "access"),
        "connection": ("connection_failed", "accessed"),
        "registration": ("refused", "left", "connected"),
        "refused": ("refused",),
        "session": ("left", "registered"),
        "reestablishment": ("reestablishing",),
        "accepted": ("registered",),
    }[reason]
    return next(ue.lines[step] for step in steps if step in ue.lines)


def _looping_ue(number: int, ue: _Ue, refusal: bool) -> Outcome:
    if ue.looping(refusal) >= LOOP:
        (layer, _), (count, line, _) = max(ue.troubles(refusal).items(), key=lambda item: item[1][0])
        return Outcome(number, line, f"{count} times the same {LAYERS[layer].upper()} trouble")
    return Outcome(number, ue.lines["reestablishing"], f"{ue.counts['reestablishing']} re-establishments")


class Procedures:
    """A classifier of runs by what became of their UEs' procedures; also tells which UEs failed.

    `usual` are the kinds of records that passing runs show anyway. Unlike other classifiers it has to see every line,
    repeats included, so it takes them by `follow` and nothing by `update`.
    """

    def __init__(self, labels: Sequence[str], usual: Container[int], trees: Trees, temperature: float = 1.0) -> None:
        if trees.labels != len(labels) or trees.features > len(FEATURES):
            raise BundleError("the trees of this bundle were grown for other labels or features; rebuild the bundle")
        self._usual, self._trees, self._temperature = usual, trees, temperature

    @classmethod
    def from_files(cls, labels: Sequence[str], profile: Any, arrays: Mapping[str, NDArray[Any]]) -> "Procedures":
        """From `procedures.json` and `procedures.npz` of a bundle."""
        try:
            if tuple(profile["features"]) != FEATURES:
                raise BundleError("this bundle was trained on other features of procedures; retrain it")
            return cls(labels, frozenset(profile["usual_kinds"]), Trees(arrays), float(profile["temperature"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the procedures of this bundle are incomplete ({error}); rebuild the bundle") from None

    def signal(self, masked: str) -> Signal | None:
        """What a masked line tells; to be remembered for lines like it."""
        return read_signal(masked, self._usual)

    def read(self, masked: Sequence[str], words: Sequence[Sequence[str]]) -> list[None]:
        """Nothing: see `signal`."""
        return [None] * len(masked)

    def start(self) -> ProcedureState:
        return ProcedureState()

    def update(self, state: ProcedureState, features: Sequence[Any], numbers: Sequence[int]) -> None:
        """Nothing: see `follow`."""

    def advance(self, states: Sequence[ProcedureState]) -> None:
        """Nothing ever waits here."""

    @staticmethod
    def follow(state: ProcedureState, lines: Sequence[str], signals: Iterable[Signal | None], first_number: int) -> None:
        """Takes lines in order, with what `signal` said of their masked form."""
        for number, (line, signal) in enumerate(zip(lines, signals, strict=True), first_number):
            if signal is not None:
                if signal.layer < 0:
                    _continue(state, signal, line, number)
                else:
                    _begin(state, signal, line, number)

    def scores(self, states: Mapping[str, ProcedureState]) -> NDArray[np.float64]:
        """Calibrated log-odds of the labels, shape (L,)."""
        return self._trees.scores(vector(features(states))) / self._temperature

    def explain(self, states: Mapping[str, ProcedureState], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """Each feature's share goes to the line it rests on; shares of features without a line are in the rest."""
        found = features(states)
        base, shares = self._trees.attribute(vector(found))
        difference = (shares[label] - shares[rival]) / self._temperature
        lines: dict[tuple[str, int], float] = {}
        rest = float(base[label] - base[rival]) / self._temperature
        for name, share in zip(FEATURES, difference.tolist(), strict=True):
            place = found.lines.get(name)
            if place is None:
                rest += share
            else:
                lines[place] = lines.get(place, 0.0) + share
        return Explanation([LineShare(*place, share) for place, share in lines.items()], {}, rest)


def _begin(state: ProcedureState, signal: Signal, line: str, number: int) -> None:
    """A record, in a state that knows what came before it."""
    ue = None
    if signal.names_ue and (match := _UE.search(line)):
        ue = int(match[1])
    state.record, state.table = (signal, ue, number), ""
    if signal.table:
        _counter(state, signal.table, line, number)
    elif signal.layer == DATA and signal.step:
        if signal.step == "activated" or state.counts["activated"] or signal.step == "expects_refusal":
            state.count(signal.step, number)
    elif signal.step:
        state.count(signal.step, number)
        if ue is not None and (followed := _followed(state, ue)):
            followed.step(signal.step, number, bool(state.counts["expects_refusal"]))
    elif signal.trouble and state.counts["activated"]:
        _trouble(state, signal.layer, signal.kind, ue, number)


def _followed(state: ProcedureState, ue: int) -> _Ue | None:
    known = state.ues.get(ue)
    if known is None and len(state.ues) < MAX_UES:
        known = state.ues[ue] = _Ue()
    if known is None:
        state.unfollowed += 1
    return known


def _trouble(state: ProcedureState, layer: int, kind: int, ue: int | None, number: int) -> None:
    if not state.order:
        state.order = [layer, -1]
    again = False
    if ue is None:
        known = state.alone.get((layer, kind))
        if known:
            known[0] += 1
            again = known[0] == LOOP
        elif len(state.alone) < MAX_KINDS:
            state.alone[layer, kind] = [1, number]
    elif followed := _followed(state, ue):
        followed.trouble(layer, kind, number)
        again = followed.kinds.get((layer, kind), [0])[0] == LOOP
    if again and state.order[1] < 0:
        state.order[1] = layer


def _continue(state: ProcedureState, signal: Signal, line: str, number: int) -> None:
    if state.record is None:
        return
    if signal.table:
        _table(state, signal.table, line, number)
        return
    record, ue, place = state.record
    followed = state.ues.get(ue) if ue is not None else None
    if record.step == "reestablishing":
        state.count(signal.step or "cause_radio", place)
    elif record.step == "registered" and signal.trouble and followed:
        # The indication came, and says that it failed.
        followed.counts["registered"] -= 1
        if followed.counts["registered"] <= 0:
            followed.lines.pop("registered", None)
        followed.step("refused", place, bool(state.counts["expects_refusal"]))
        state.count("refused", place)
        _trouble(state, NAS, 1, ue, place)
    elif signal.trouble and record.kind and not record.trouble and not record.step and state.counts["activated"]:
        _trouble(state, record.layer, record.kind, ue, place)


def _counter(state: ProcedureState, name: str, line: str, number: int) -> None:
    digits = line.rpartition(" ")[2]
    if digits.isdigit():
        _value(state, name, float(len(digits.lstrip("0"))), number)


def _value(state: ProcedureState, name: str, value: float, number: int) -> None:
    values = state.values.get(name)
    if values is None:
        values = state.values[name] = _Values()
    values.add(value, number)


def _table(state: ProcedureState, table: str, line: str, number: int) -> None:
    """One line of GETSTATS; what its rows mean hangs on the heading above."""
    if table == "row":
        _row(state, line, number)
    elif table == "rate":
        words = line.split()
        if state.table in ("dl", "ul") and len(words) > 1 and words[1].isdigit():
            _value(state, f"{state.table}_rate", -float(len(words[1].lstrip("0"))), number)
    elif table in ("silent", "heard"):
        state.count(table, number)
        if match := _CQI.search(line):
            _value(state, "cqi", -float(match[1]), number)
    else:
        state.table = table


def _row(state: ProcedureState, line: str, number: int) -> None:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        return
    table, width = state.table, len(values)
    if not any(values):
        return
    if table in ("dl", "ul") and width == 6:
        _value(state, f"{table}_bler", values[2], number)
    elif table == "harq" and width == 5 and values[1]:
        _value(state, "duplicates", values[3] / values[1], number)
        _value(state, "discards", values[4] / values[1], number)
    elif table == "rlc" and width == 4 and values[0]:
        _value(state, "retransmissions", values[1] / values[0], number)
    elif table == "pdcp" and width == 4 and values[0]:
        _value(state, "pdcp_discards", values[1] / values[0], number)


class _Put(Protocol):
    def __call__(self, name: str, value: float, source: str, line: int, *, largest: bool = False) -> None: ...


class Features(NamedTuple):
    """Of a whole run: value by name, and the line (source, number) that each rests on."""

    values: dict[str, float]
    lines: dict[str, tuple[str, int]]


_VALUE_NAMES: Final = (
    "dl_bler", "ul_bler", "cqi", "dl_rate", "ul_rate", "duplicates", "discards", "retransmissions", "pdcp_discards",
    "ru_late", "ru_early", "ru_seqid_err", "ru_corrupt",
)  # fmt: skip
_COUNT_NAMES: Final = (
    "access_error", "connection_failed", "plmn_loss", "t310", "left", "deregistered", "refused", "cause_lower",
    "cause_upper", "cause_radio", "command_failed", "search_failed", "unlicensed", "setup_failed", "rebooted", "warned",
    "timed_out", "expects_refusal", "stopping",
)  # fmt: skip
_OUTCOMES: Final = ("access", "connection", "registration", "session", "reestablishment", "refused", "accepted")


def _names() -> tuple[str, ...]:
    by_layer = ("repeated", "total", "struck", "alone", "first", "lowest", "dominant", "has", "loop", "blamed")
    return (
        *(f"{name}_{layer}" for name in by_layer for layer in LAYERS),
        *(f"{name}_{outcome}" for name in ("unfinished", "share_unfinished") for outcome in _OUTCOMES),
        *_COUNT_NAMES,
        *(f"{name}_{value}" for name in ("largest", "mean", "latest") for value in _VALUE_NAMES),
        *("ues", "broken", "share_broken", "most_reestablishments", "most_accesses", "most_access_errors"),
        *("reports_without_handover", "share_silent", "first_layer", "first_loop_layer"),
        *("share_cause_lower", "share_cause_upper", "share_cause_radio"),
    )


FEATURES: Final = _names()


def vector(found: Features) -> NDArray[np.float64]:
    """Values in the order of `FEATURES`, shape (F,)."""
    return np.array([found.values[name] for name in FEATURES])


def features(states: Mapping[str, ProcedureState]) -> Features:
    """The features of a run, all of `FEATURES`, from the states of its sources."""
    values = dict.fromkeys(FEATURES, 0.0)
    lines: dict[str, tuple[str, int]] = {}

    def put(name: str, value: float, source: str, line: int, *, largest: bool = False) -> None:
        if largest and value <= values[name]:
            return
        values[name] = value if largest else values[name] + value
        if line and (largest or name not in lines):
            lines[name] = source, line

    for source, state in sorted(states.items()):
        for name in _COUNT_NAMES:
            if state.counts[name]:
                put(name, state.counts[name], source, state.first_lines[name])
        for name, kept in state.values.items():
            put(f"largest_{name}", kept.largest, source, kept.line)
            put(f"mean_{name}", kept.total / kept.count, source, kept.line)
            put(f"latest_{name}", max(kept.latest), source, kept.line)
        for (layer, _), (count, line) in state.alone.items():
            put(f"alone_{LAYERS[layer]}", count, source, line, largest=True)
        _of_ues(state, source, put)
        silent = state.counts["silent"]
        put("share_silent", silent / max(1, silent + state.counts["heard"]), source, state.first_lines.get("silent", 0))
    values["first_layer"] = next((s.order[0] for _, s in sorted(states.items()) if s.order), -1.0)
    values["first_loop_layer"] = next((s.order[1] for _, s in sorted(states.items()) if s.order), -1.0)
    ues, broken = max(1.0, values["ues"]), max(1.0, values["broken"])
    values["share_broken"] = values["broken"] / ues
    for outcome in _OUTCOMES:
        values[f"share_unfinished_{outcome}"] = values[f"unfinished_{outcome}"] / ues
    for name in ("first", "lowest", "dominant", "has", "loop", "blamed"):
        for name_of_layer in LAYERS:
            values[f"{name}_{name_of_layer}"] /= broken
    for name in ("cause_lower", "cause_upper", "cause_radio"):
        values[f"share_{name}"] = values[name] / broken
    for name, base in _SAME_LINE.items():
        if base in lines:
            lines[name] = lines[base]
    return Features(values, lines)


_SAME_LINE: Final = {
    **{f"share_unfinished_{outcome}": f"unfinished_{outcome}" for outcome in _OUTCOMES},
    **{f"share_{name}": name for name in ("cause_lower", "cause_upper", "cause_radio", "broken")},
}


def _of_ues(state: ProcedureState, source: str, put: "_Put") -> None:
    refusal = bool(state.counts["expects_refusal"])
    for ue in state.ues.values():
        put("ues", 1, source, 0)
        for name, step in (
            ("reestablishments", "reestablishing"),
            ("accesses", "access"),
            ("access_errors", "access_error"),
        ):
            put(f"most_{name}", ue.counts[step], source, ue.lines.get(step, 0), largest=True)
        put(
            "reports_without_handover",
            max(0, ue.counts["report"] - ue.counts["handover"]),
            source,
            ue.lines.get("report", 0),
        )
        by_layer: dict[int, list[list[int]]] = {}
        for (layer, _), counted in ue.troubles(refusal).items():
            by_layer.setdefault(layer, []).append(counted)
        for layer, some in by_layer.items():
            most = max(some)
            put(f"repeated_{LAYERS[layer]}", most[0], source, most[1], largest=True)
            put(f"total_{LAYERS[layer]}", sum(count for count, _, _ in some), source, most[1], largest=True)
            if most[0] >= LOOP:
                put(f"struck_{LAYERS[layer]}", 1, source, most[1])
        for outcome in ue.unfinished(refusal):
            put(f"unfinished_{outcome}", 1, source, _last_line(ue, outcome))
        if ue.broken(refusal):
            _of_broken(ue, by_layer, refusal, source, put)


def _of_broken(ue: _Ue, by_layer: Mapping[int, list[list[int]]], refusal: bool, source: str, put: "_Put") -> None:
    """Which layer a UE that failed had its trouble in: first, lowest, most often, at all, and first again and again."""
    last = max(ue.lines.values(), default=0)
    put("broken", 1, source, last)
    troubles = ue.troubles(refusal)
    put(f"blamed_{LAYERS[ue.blamed(refusal)]}", 1, source, min((line for _, line, _ in troubles.values()), default=last))
    if not troubles:
        return
    first, layer = min((line, layer) for (layer, _), (_, line, _) in troubles.items())
    put(f"first_{LAYERS[layer]}", 1, source, first)
    lowest = min(by_layer)
    put(f"lowest_{LAYERS[lowest]}", 1, source, min(line for _, line, _ in by_layer[lowest]))
    (dominant, _), counted = max(troubles.items(), key=lambda item: item[1][0])
    put(f"dominant_{LAYERS[dominant]}", 1, source, counted[1])
    for layer, some in by_layer.items():
        put(f"has_{LAYERS[layer]}", 1, source, min(line for _, line, _ in some))
    again = [(line, layer, first) for (layer, _), (_, first, line) in troubles.items() if line]
    if again:
        _, layer, first = min(again)
        put(f"loop_{LAYERS[layer]}", 1, source, first)
