"""One run while it is made: its UEs, its clock, and `say`, which turns the name of a message into a record of the log."""

import random
from collections.abc import Mapping, Sequence
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
    """What the statistics say of one UE from some time on; rates from 0 to 1, `rate` of the traffic that was asked for."""

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
    """One UE; `radio` has its states by time, the first from the start. `done` names milestones and when they came."""

    number: int
    cell: int
    rsrp: float
    rnti: int
    radio: list[tuple[float, Radio]] = field(default_factory=list)
    done: dict[str, float] = field(default_factory=dict)
    left_ms: float | None = None
    failed: bool = False

    def radio_at(self, at_ms: float) -> Radio:
        return [radio for since, radio in self.radio if since <= at_ms or since == self.radio[0][0]][-1]


class Run:
    """Holds what the parts of the generator share. Times are in milliseconds since the start of the log."""

    def __init__(self, rng: random.Random, script: Script, firmware: Firmware, length: float) -> None:
        self.rng, self.script, self.firmware = rng, script, firmware
        self.length = length
        """Characters that the log should have, if what happens in it does not take more."""
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
        """Every message said, with its time: what the statistics of RRC and NAS count."""
        self.late: list[tuple[float, dict[str, int]]] = []
        """Counters of the radio unit that grow from a time on."""
        self.rooting = self.symptomatic = False
        self.silent: frozenset[str] = frozenset()
        """Layers whose abnormal records do not reach the log."""
        self.struck = 0
        """UEs that the fault of a failing run strikes."""
        self.crashed_ms: float | None = None
        """When the tester stopped: nothing is logged behind it."""

    def _ue(self, number: int) -> Ue:
        rng = self.rng
        ue = Ue(number, rng.choice(self.cells), rng.uniform(-95, -60), rng.randrange(0x4000, 0xFFF0))
        ue.radio.append(
            (0.0, Radio(rng.randint(9, 15), rng.uniform(0.0, 0.11), rng.uniform(0.0, 0.11), rng.uniform(0.9, 1.0)))
        )
        return ue

    @property
    def suffix(self) -> str:
        return "_nr" if self.rat == "NR" else "_lte"

    @property
    def cell_command(self) -> str:
        """The command that gives a radio context its cell, as scripts type it."""
        return "NRSETMUERADIOCONTEXTCELL" if self.rat == "NR" else "SetMueRadioContextCell"

    def command(self, text: str, *answer: str, low: float = 1, high: float = 60, section: str = "") -> float:
        """A command at the clock and its confirmation; the clock moves behind it. Returns the time of the confirmation."""
        self.timeline.add(self.now, text, section=section)
        answered = self.now + self.rng.uniform(low, high)
        if answer:
            self.timeline.add(answered, *answer)
        self.now = answered + self.rng.uniform(2, 40)
        return answered

    def forward(
        self, words: str, code: int = 0, reason: str = "", *, low: float = 1, high: float = 60, body: Sequence[str] = ()
    ) -> float:
        """A command forwarded to the test application, `forw mte <words>`, and what it returns."""
        name = words.split()[0].upper()
        answer = f"C: FORW 0x00 {self.firmware.ok} MTE {name}: RETURN CODE:0 SUCCEEDED"
        if code == 4:
            answer = f"C: FORW 0x04 Resource_Unavailable MTE {name} RETURN CODE:4 FAILED  - {reason}"
        elif code:
            answer = f"C: FORW 0x06 Failure MTE {name}: RETURN CODE:{code} FAILED {reason}"
        return self.command(f"{self.firmware.forward} mte {words}", answer, *body, low=low, high=high)

    def say(self, at_ms: float, name: str, ue: Ue | None = None, **values: Any) -> None:
        """A record by the name of its message; values that are not given are drawn."""
        message = MESSAGES[name]
        if not message.healthy and message.layer in self.silent:
            return
        self.counts.append((at_ms, name))
        if not message.healthy:
            self.layers.add(message.layer)
        wording = message.wordings[self.firmware.wording % len(message.wordings)]
        head, *rest = wording.format_map(_Values(self, ue, values)).split("|")
        root = self.rooting and not message.healthy
        symptom = (self.rooting or self.symptomatic) and not message.healthy
        self.timeline.add(at_ms, f"I: CMPI {head}", *rest, root=root, symptom=symptom)

    def warn(self, at_ms: float, text: str, *, symptom: bool = False) -> None:
        self.timeline.add(at_ms, f"I: TMAE 0x1 Warning - {text}", symptom=symptom)

    def attempts(self, low: int, high: int) -> int:
        """How often something is tried; where many UEs are struck, each is seen trying less."""
        return self.rng.randint(low, max(low, round(high / (1 + self.struck / 4))))

    def traced(self, layer: str) -> bool:
        return layer in self.script.trace


class _Values(dict[str, Any]):
    """The values of a wording; what is asked for and not there is drawn by its name."""

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
    rng, nr = run.rng, run.rat == "NR"
    rsrp = ue.rsrp if ue else -75.0
    match name:
        case "rat":
            return run.rat
        case "freq":
            return run.freq
        case "fullfreq":
            return run.fullfreq
        case "otherfreq":
            return run.other_freq
        case "plmn":
            return run.plmn
        case "ru":
            return run.ru
        case "cell":
            return run.cells[0]
        case "target":
            return rng.choice([cell for cell in run.cells if ue is None or cell != ue.cell] or [run.cells[0] + 1])
        case "ip":
            return f"10.{rng.randint(0, 60)}.{rng.randint(0, 255)}.{rng.randint(2, 254)}"
        case "rsrp":
            return f"{rsrp + rng.gauss(0, 1.5):.1f}"
        case "better":
            return f"{rsrp + rng.uniform(3, 9):.1f}"
        case "bearer":
            return rng.choice(("DRB Id: 1", "DRB Id: 1", "DRB Id: 2", "SRB Id: 1"))
        case "trigger":
            return "Connection Establish"
        case "event":
            return "A3"
        case "dci":
            return rng.choice(("0_1", "1_1", "1_0")) if nr else rng.choice(("0", "1A", "2A"))
        case "detach":
            return rng.choice(("Silent Detach", "UE Detach", "UE Detach"))
        case "reason":
            return "Radio link failure"
        case "ie":
            return rng.choice(("spCellConfig", "drb-ToAddModList", "measConfig", "mac-CellGroupConfig"))
    if name in _BY_TECHNOLOGY:
        return _BY_TECHNOLOGY[name][not nr]
    if name in _LEVELS:
        return f"{rng.uniform(*_LEVELS[name]):.1f}"
    if name in _ERROR_RATES:
        return f"{rng.uniform(*_ERROR_RATES[name]):.3f}"
    if name in _ERROR_COUNTS:
        return int(tbs * rng.uniform(*_ERROR_RATES[_ERROR_COUNTS[name]]))
    return rng.randint(*_RANGES[name])


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
