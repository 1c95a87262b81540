"""One run while it is made: its UEs, its clock, and `emit`, which writes a record by the name of its message."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from training.corpus.messages import MESSAGES
from training.corpus.scripts import Firmware, Script
from training.corpus.timeline import Timeline

__all__ = ["Radio", "Run", "Ue"]

NR_FREQUENCIES: Final = ((34507, 345072), (37050, 370506), (35400, 354000), (21400, 214000))
LTE_FREQUENCIES: Final = ((18150, 181500), (26800, 268000), (21350, 213500), (8060, 80600))


@dataclass(frozen=True)
class Radio:
    """What the statistics of one UE show from some time on.

    All values but `cqi` are shares from 0 to 1. `rate` is the share of the requested traffic that arrives.
    """

    cqi: int = 12
    dl_bler: float = 0.05
    ul_bler: float = 0.05
    rate: float = 1.0
    rlc_retx: float = 0.01
    discards: float = 0.0
    duplicates: float = 0.0
    harq_discards: float = 0.0


@dataclass
class Ue:
    """One UE.

    Attributes:
        number: Its UE Id, from 0.
        cell: Cell Id of its serving cell.
        rsrp: Received power in dBm.
        rnti: Its temporary identity.
        radio: States of its radio, each with the time from which it applies, in ascending order.
        done: The milestones it has reached (random_access, connected, registered, session, refused), with their times.
        left_ms: When it left, None while it is there.
        failed: Whether the fault of the run struck it.
    """

    number: int
    cell: int
    rsrp: float
    rnti: int
    radio: list[tuple[float, Radio]] = field(default_factory=list)
    done: dict[str, float] = field(default_factory=dict)
    left_ms: float | None = None
    failed: bool = False

    def radio_at(self, at_ms: float) -> Radio:
        """The state of its radio at a time."""
        return [radio for since, radio in self.radio if since <= at_ms or since == self.radio[0][0]][-1]


class Run:
    """What all parts of the generator share. Times are in milliseconds since the start of the log.

    Every draw takes from the one `rng` of the run, so the order of draws is part of the corpus and must not change.

    Attributes:
        rng: Source of all random draws.
        script: The scenario script.
        firmware: The firmware release.
        length: Characters that the log should have, unless its events alone take more.
        timeline: The records so far.
        now: The clock, for records that follow each other.
        ues: The UEs.
        layers: Layers that have abnormal records.
        counts: Every message emitted, with its time: what the statistics of RRC and NAS count.
        late: Counters of the radio unit that grow, each from its time on.
        rooting: Whether abnormal records are now direct records of the root cause.
        symptomatic: Whether abnormal records are now consequences of the root cause.
        silent: Layers whose abnormal records do not reach the log.
        struck: Number of UEs that the fault of a failing run strikes.
        crashed_ms: When the tester stopped; nothing is logged after it.
    """

    def __init__(self, rng: random.Random, script: Script, firmware: Firmware, length: float) -> None:
        self.rng, self.script, self.firmware = rng, script, firmware
        self.length = length
        self.timeline = Timeline()
        self.now = 0.0
        self.rat = script.rat
        short, full = rng.choice(NR_FREQUENCIES if self.rat == "NR" else LTE_FREQUENCIES)
        self.freq, self.fullfreq = short, f"{full / 10:.2f}"
        self.other_freq = short + rng.choice((-600, 200, 450))
        first_cell = rng.choice((0, 0, 1, 4, 12, 50, 100, 300))
        self.cells = [first_cell + i for i in range(script.cells)]
        self.plmn = rng.choice(("00101F", "00102F", "99970F", "31041F", "26201F"))
        self.ru = f"RU{rng.randint(1, 2)}"
        self.ues = [self._ue(i) for i in range(rng.choice(script.ue_counts))]
        self.layers: set[str] = set()
        self.counts: list[tuple[float, str]] = []
        self.late: list[tuple[float, dict[str, int]]] = []
        self.rooting = self.symptomatic = False
        self.silent: frozenset[str] = frozenset()
        self.struck = 0
        self.crashed_ms: float | None = None

    def _ue(self, number: int) -> Ue:
        rng = self.rng
        ue = Ue(number, rng.choice(self.cells), rng.uniform(-95, -60), rng.randrange(0x4000, 0xFFF0))
        ue.radio.append(
            (0.0, Radio(rng.randint(9, 15), rng.uniform(0.0, 0.11), rng.uniform(0.0, 0.11), rng.uniform(0.9, 1.0)))
        )
        return ue

    @property
    def suffix(self) -> str:
        """What the names of messages end with that NR and LTE word differently."""
        return "_nr" if self.rat == "NR" else "_lte"

    @property
    def cell_command(self) -> str:
        """The command that gives a radio context its cell, as scripts type it."""
        return "NRSETMUERADIOCONTEXTCELL" if self.rat == "NR" else "SetMueRadioContextCell"

    def command(self, text: str, *answer: str, low: float = 1, high: float = 60, section: str = "") -> float:
        """Adds a command at the clock and its confirmation, and moves the clock past both.

        Args:
            text: The command.
            *answer: Lines of the confirmation; without any the command gets none.
            low: Shortest time to the confirmation.
            high: Longest time to the confirmation.
            section: Name of the section that the command begins.

        Returns:
            The time of the confirmation.
        """
        self.timeline.add(self.now, text, section=section)
        answered = self.now + self.rng.uniform(low, high)
        if answer:
            self.timeline.add(answered, *answer)
        self.now = answered + self.rng.uniform(2, 40)
        return answered

    def forward(
        self, words: str, code: int = 0, reason: str = "", *, low: float = 1, high: float = 60, body: Sequence[str] = ()
    ) -> float:
        """Adds a command that is forwarded to the test application, `forw mte <words>`, and its confirmation.

        A `code` other than 0 is a failure with this reason; `body` are lines that continue the confirmation. Returns the
        time of the confirmation.
        """
        name = words.split(maxsplit=1)[0].upper()
        answer = f"C: FORW 0x00 {self.firmware.ok} MTE {name}: RETURN CODE:0 SUCCEEDED"
        if code == 4:
            answer = f"C: FORW 0x04 Resource_Unavailable MTE {name} RETURN CODE:4 FAILED  - {reason}"
        elif code:
            answer = f"C: FORW 0x06 Failure MTE {name}: RETURN CODE:{code} FAILED {reason}"
        return self.command(f"{self.firmware.forward} mte {words}", answer, *body, low=low, high=high)

    def emit(self, at_ms: float, name: str, ue: Ue | None = None, **values: Any) -> None:
        """Adds an indication by the name of its message; values that are not given are drawn."""
        message = MESSAGES[name]
        if not message.healthy and message.layer in self.silent:
            return
        self.counts.append((at_ms, name))
        if not message.healthy:
            self.layers.add(message.layer)
        wording = message.wordings[self.firmware.wording % len(message.wordings)]
        head, *continued = wording.format_map(_Values(self, ue, values)).split("|")
        root = self.rooting and not message.healthy
        symptom = (self.rooting or self.symptomatic) and not message.healthy
        self.timeline.add(at_ms, f"I: CMPI {head}", *continued, root=root, symptom=symptom)

    def warn(self, at_ms: float, text: str, *, symptom: bool = False) -> None:
        """Adds a warning of the tester."""
        self.timeline.add(at_ms, f"I: TMAE 0x1 Warning - {text}", symptom=symptom)

    def attempts(self, low: int, high: int) -> int:
        """How often a UE tries something; if many UEs are struck, each tries less often, or the log would be too long."""
        return self.rng.randint(low, max(low, round(high / (1 + self.struck / 4))))

    def traced(self, layer: str) -> bool:
        """Whether healthy records of this layer are logged."""
        return layer in self.script.trace


class _Values(dict[str, Any]):
    """Values for the fields of a wording; a field that has none is drawn by its name when it is asked for."""

    def __init__(self, run: Run, ue: Ue | None, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self._run, self._ue = run, ue
        if ue is not None:
            firmware = run.firmware
            self["ue"] = ue.number
            self["u"] = firmware.ue.format(ue.number)
            self["U"] = firmware.ue.format(ue.number).lstrip()
            self["r"] = firmware.rrc.format(ue.number)
            self["cell"] = self.get("cell", ue.cell)
            self["rnti"] = f"0x{ue.rnti:04X}"
        tbs = given.get("tbs") or run.rng.randint(200, 90_000)
        self["tbs"] = tbs

    def __missing__(self, name: str) -> Any:
        value = _draw(name, self._run, self._ue, self["tbs"])
        self[name] = value
        return value


def _draw(name: str, run: Run, ue: Ue | None, tbs: int) -> Any:
    """A value for the field `name`; `tbs` is the number of transport blocks of the same record."""
    rng = run.rng
    if name in _FIELDS:
        return _FIELDS[name](run, ue)
    if name in _BY_TECHNOLOGY:
        return _BY_TECHNOLOGY[name][run.rat != "NR"]
    if name in _LEVELS:
        return f"{rng.uniform(*_LEVELS[name]):.1f}"
    if name in _ERROR_RATES:
        return f"{rng.uniform(*_ERROR_RATES[name]):.3f}"
    if name in _ERROR_COUNTS:
        return int(tbs * rng.uniform(*_ERROR_RATES[_ERROR_COUNTS[name]]))
    return rng.randint(*_RANGES[name])


def _rsrp(ue: Ue | None) -> float:
    return ue.rsrp if ue else -75.0


def _target(run: Run, ue: Ue | None) -> int:
    """A neighbour cell: another cell of the run, or one that the script does not know."""
    return run.rng.choice([cell for cell in run.cells if ue is None or cell != ue.cell] or [run.cells[0] + 1])


def _address(run: Run) -> str:
    rng = run.rng
    return f"10.{rng.randint(0, 60)}.{rng.randint(0, 255)}.{rng.randint(2, 254)}"


def _dci(run: Run) -> str:
    return run.rng.choice(("0_1", "1_1", "1_0") if run.rat == "NR" else ("0", "1A", "2A"))


_BEARERS: Final = ("DRB Id: 1", "DRB Id: 1", "DRB Id: 2", "SRB Id: 1")
_DETACHES: Final = ("Silent Detach", "UE Detach", "UE Detach")
_ELEMENTS: Final = ("spCellConfig", "drb-ToAddModList", "measConfig", "mac-CellGroupConfig")

_FIELDS: Final[Mapping[str, Callable[[Run, Ue | None], Any]]] = {
    "rat": lambda run, _: run.rat,
    "freq": lambda run, _: run.freq,
    "fullfreq": lambda run, _: run.fullfreq,
    "otherfreq": lambda run, _: run.other_freq,
    "plmn": lambda run, _: run.plmn,
    "ru": lambda run, _: run.ru,
    "cell": lambda run, _: run.cells[0],
    "target": _target,
    "ip": lambda run, _: _address(run),
    "rsrp": lambda run, ue: f"{_rsrp(ue) + run.rng.gauss(0, 1.5):.1f}",
    "better": lambda run, ue: f"{_rsrp(ue) + run.rng.uniform(3, 9):.1f}",
    "bearer": lambda run, _: run.rng.choice(_BEARERS),
    "trigger": lambda run, _: "Connection Establish",
    "event": lambda run, _: "A3",
    "dci": lambda run, _: _dci(run),
    "detach": lambda run, _: run.rng.choice(_DETACHES),
    "reason": lambda run, _: "Radio link failure",
    "ie": lambda run, _: run.rng.choice(_ELEMENTS),
}
"""Fields that are known of the run or drawn in a way of their own."""
_BY_TECHNOLOGY: Final[Mapping[str, tuple[str, str]]] = {
    "setup": ("RRCSetup", "RRCConnectionSetup"),
    "reconf": ("RRCReconfiguration", "RRCConnectionReconfiguration"),
    "release": ("RRCRelease", "RRCConnectionRelease"),
    "rrcreject": ("RRCReject", "RRCConnectionReject"),
    "regreject": ("REGISTRATION REJECT", "ATTACH REJECT"),
    "sessreject": ("PDU SESSION ESTABLISHMENT REJECT", "PDN CONNECTIVITY REJECT"),
    "treass": ("t-Reassembly", "t-Reordering"),
}
"""Names in NR and in LTE."""

# Ranges of levels in dB or dBm, of error rates, of counts of errors (by the rate that they belong to), and of whole numbers.
_LEVELS: Final[Mapping[str, tuple[float, float]]] = {
    "low": (-126, -112),
    "rsrq": (-14, -10),
    "sinr": (12, 28),
    "poor": (-9, -2),
    "rise": (4, 15),
}
_ERROR_RATES: Final[Mapping[str, tuple[float, float]]] = {"bler": (0.0, 0.12), "badbler": (0.25, 0.9)}
_ERROR_COUNTS: Final[Mapping[str, str]] = {"errors": "bler", "baderrors": "badbler"}
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "n": (1, 6),
    "hwi": (0, 1),
    "offset": (-400, 900),
    "sfn": (0, 1023),
    "other": (0, 1023),
    "dbm": (-12, 22),
    "cap": (23, 26),
    "index": (0, 63),
    "preamble": (0, 63),
    "ssb": (0, 3),
    "cqi": (9, 15),
    "lowcqi": (0, 4),
    "ri": (1, 4),
    "pmi": (0, 15),
    "ta": (0, 40),
    "drift": (18, 140),
    "harq": (0, 15),
    "late": (300, 90_000),
    "grant": (10_000, 130_000),
    "lcg": (0, 3),
    "octets": (60, 150_000),
    "ph": (-3, 38),
    "sn": (0, 4095),
    "qfi": (1, 9),
    "cause": (3, 111),
    "code": (6, 9),
}
