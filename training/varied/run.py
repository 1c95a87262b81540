"""What all parts of the generator share: the run, its UEs, and the records that they add to it.

Times are in milliseconds since the start of the script. Records may be added in any order.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from training.corpus.messages import MESSAGES as VERSION_1
from training.varied.habits import Habits
from training.varied.vocabularies import INVENTED, seen, worded

__all__ = ["Record", "Run", "Ue"]

_LAYERS: Final[Mapping[str, str]] = {name: message.layer for name, message in VERSION_1.items()} | {
    "dte_rate": "", "rda_lost": "", "pppoe_fail": "", "no_address": "L3",
}  # fmt: skip
_HEALTHY: Final = frozenset(name for name, message in VERSION_1.items() if message.healthy) | {"dte_rate"}


class Record(NamedTuple):
    """One record: time, number in the order of adding (both are the sort key), lines, and what it is to the run.

    Attributes:
        at_ms: Time.
        order: Number in the order of adding.
        lines: Payload, and the lines that continue it.
        invented: Places of the lines whose words are those of a vocabulary.
        set_up: Whether it belongs to the part of the set-up that knows nothing of the label.
        root: Whether it is a direct record of the root cause.
        symptom: Whether it is a record of the cause or of a consequence that is not overcome.
        kept: Whether it is never lost.
    """

    at_ms: float
    order: int
    lines: Sequence[str]
    invented: Collection[int] = ()
    set_up: bool = False
    root: bool = False
    symptom: bool = False
    kept: bool = False


@dataclass
class Ue:
    """A UE.

    Attributes:
        number: Its UE Id.
        cell: Its serving cell.
        rnti: Its RNTI.
        rsrp: Its usual RSRP in dBm.
        goal: Its target rate in Mbit/s.
        radio: States of its radio, each from a time on: error rates, share of the target rate, channel quality.
        counts: How often each event happened to it.
        up: Spans in which it is connected.
        busy_ms: Until when a trouble keeps it from other things.
        failed: Whether the fault of a failing run struck it.
        gone: Whether it has left for good.
    """

    number: int
    cell: int
    rnti: int
    rsrp: float
    goal: float
    radio: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    up: list[list[float]] = field(default_factory=list)
    busy_ms: float = 0.0
    failed: bool = False
    gone: bool = False

    def radio_at(self, at_ms: float) -> dict[str, float]:
        """The state of its radio at a time."""
        return [state for since, state in self.radio if since <= at_ms or since == self.radio[0][0]][-1]

    def connected(self, at_ms: float) -> bool:
        """Whether it is connected at a time."""
        return any(begin <= at_ms < end for begin, end in self.up)

    def connect(self, at_ms: float) -> None:
        """It connects."""
        if not self.up or self.up[-1][1] <= at_ms:
            self.up.append([at_ms, float("inf")])

    def disconnect(self, at_ms: float) -> None:
        """It disconnects."""
        if self.up:
            self.up[-1][1] = min(self.up[-1][1], at_ms)


class Run:
    """A run while it is made.

    Attributes:
        rng: Source of all draws.
        habits: What the log looks like.
        records: The records so far.
        now: The clock of the script.
        begin: Time of the activation.
        end: End of the script's traffic.
        visible: End of what the log shows of it.
        ues: The UEs.
        counters: Counters of the radio unit that grow, each from a time on.
        counts: Events with their times, for the statistics of RRC and NAS.
        layers: Layers with abnormal records.
        failing: Whether records are now those of the fault: direct ones (`root`), or consequences (`symptom`), else empty.
        muted: Layer whose invented abnormal records do not reach the log, besides those that habits hide.
        crashed_ms: When the tester stopped for good.
    """

    def __init__(self, rng: random.Random, habits: Habits) -> None:
        self.rng, self.habits = rng, habits
        self.records: list[Record] = []
        self.now = self.begin = self.end = self.visible = 0.0
        self.lte = habits.rat == "LTE"
        self.freq = (
            rng.choice((18_500, 21_400, 26_450)) if self.lte else rng.choice((34_507, 37_050, 35_500, 21_400, 36_000))
        )
        first = rng.choice((0, 0, 1, 4, 12, 50, 100, 300))
        self.cells = [first + number for number in range(habits.script.cells)]
        self.ru = f"RU{rng.randint(1, 2)}"
        self.plmn = rng.choice(("00101F", "00102F", "99970F", "31041F", "26201F", "23415F"))
        self.ues = [self._ue(number) for number in range(habits.ues)]
        self.counters: list[tuple[float, str, int]] = []
        self.counts: list[tuple[float, str]] = []
        self.layers: set[str] = set()
        self.failing = ""
        self.muted = ""
        self.crashed_ms: float | None = None

    def _ue(self, number: int) -> Ue:
        rng = self.rng
        made = Ue(
            number,
            rng.choice(self.cells),
            rng.randrange(0x4000, 0xFFF0),
            rng.uniform(-98, -60),
            rng.choice((1, 10, 50, 200)),
        )
        # A BLER of about a tenth is what link adaptation aims at.
        made.radio.append((0.0, {"dl_bler": rng.betavariate(2, 22), "ul_bler": rng.betavariate(2, 22), "cqi": rng.randint(8, 15), "rate": rng.uniform(0.85, 1.0)}))  # fmt: skip
        return made

    def add(
        self,
        at_ms: float,
        *lines: str,
        invented: bool | Collection[str] = False,
        set_up: bool = False,
        kept: bool = False,
        fault: bool = False,
    ) -> None:
        """Adds a record.

        Args:
            at_ms: Its time.
            *lines: Its payload, and the lines that continue it.
            invented: Whether a vocabulary worded it, or the lines that one worded.
            set_up: Whether it belongs to the part of the set-up that knows nothing of the label.
            kept: Whether it is never lost.
            fault: Whether it says that the fault struck, if one does so now.
        """
        root = fault and self.failing == "root"
        if isinstance(invented, bool):
            places: Collection[int] = range(len(lines)) if invented else ()
        else:
            places = {place for place, line in enumerate(lines) if line in invented}
        self.records.append(
            Record(at_ms, len(self.records), lines, places, set_up, root, fault and bool(self.failing), kept or root)
        )

    def shows(self, event: str) -> bool:
        """Whether records of an event reach the log."""
        layer = _LAYERS.get(event, "")
        if event not in INVENTED:
            return True
        if layer == self.muted and event not in _HEALTHY:
            return False
        return not layer or layer in self.habits.shown

    def say(self, at_ms: float, event: str, ue: Ue | None = None, **values: Any) -> None:
        """Adds an indication, unless the habits of the run hide its layer; values that are not given are drawn."""
        self.counts.append((at_ms, event))
        if not self.shows(event):
            return
        habits, healthy = self.habits, event in _HEALTHY
        known = _Values(self, ue, values)
        if event in INVENTED:
            head, *body = worded(habits.vocabulary, event, known, lte=self.lte)
        else:
            head, *body = seen(event, known)
            if healthy and body:
                body = self._body(event, body)
        if not healthy:
            self.layers.add(_LAYERS.get(event, ""))
        self.add(at_ms, f"I: CMPI {head}", *body, invented=event in INVENTED, fault=not healthy)

    def _body(self, event: str, body: list[str]) -> list[str]:
        """What continues a healthy record of a seen form, as far as the habits of the run have it."""
        if self.habits.bodies == "none" and not event.startswith(("reest_start", "handover")):
            return []
        if self.habits.bodies == "full":
            address = _address(self.rng)
            if event == "registered_nr":
                # Some releases list the sessions in the body of the registration.
                more = (f"Pdu Session Id: {self.rng.randint(1, 2)}", f"Data Network Name: {self.rng.choice(_NETWORKS)}", f"IPv4 Address: {address}")  # fmt: skip
                return [body[0], *more, *body[1:]] if self.rng.random() < 0.6 else body
            if event.startswith("session"):
                return [body[0], f"{'Data Network Name' if not self.lte else 'Access Point Name'}: {self.rng.choice(_NETWORKS)}", "PDU Session Type: IPv4" if not self.lte else "PDN Type: IPv4", f"IPv4 Address: {address}"]  # fmt: skip
        return body

    def note(
        self, at_ms: float, event: str, form: str = "I: TMAE 0x1 Warning - {}", *, fault: bool = False, **values: Any
    ) -> None:
        """Adds an invented text in the frame of a record of the tester itself."""
        text = worded(self.habits.vocabulary, event, _Values(self, None, values), lte=self.lte)[0]
        self.add(at_ms, form.format(text), invented=True, fault=fault)

    def line(self, event: str, **values: Any) -> str:
        """An invented text without its frame."""
        return worded(self.habits.vocabulary, event, _Values(self, None, values), lte=self.lte)[0]

    def command(
        self, text: str, *answer: str, low: float = 1, high: float = 60, set_up: bool = False, invented: Collection[str] = ()
    ) -> float:
        """Adds a command at the clock and its confirmation, and moves the clock past both; returns the time of the latter.

        `invented` are those of its lines that a vocabulary words.
        """
        if self.habits.echo:
            self.add(self.now, text, set_up=set_up, invented=invented)
        answered = self.now + self.rng.uniform(low, high)
        if answer:
            self.add(answered, *answer, set_up=set_up, invented=invented)
        self.now = answered + self.rng.uniform(1, 40)
        return answered

    def forward(
        self,
        words: str,
        code: int = 0,
        reason: str = "",
        *,
        low: float = 1,
        high: float = 60,
        body: Sequence[str] = (),
        set_up: bool = False,
        invented: Collection[str] = (),
    ) -> float:
        """Adds a command for the test application and its confirmation; see `command`. A code other than 0 is a failure."""
        name = words.split(maxsplit=1)[0].upper()
        if code == 4:
            answer = f"C: FORW 0x04 Resource_Unavailable MTE {name} RETURN CODE:4 FAILED  - {reason}"
        elif code:
            answer = f"C: FORW 0x06 Failure MTE {name}: RETURN CODE:{code} FAILED"
            body = (reason, *body) if reason else body
        else:
            answer = f"C: FORW 0x00 {self.habits.ok} MTE {name}: RETURN CODE:0 SUCCEEDED"
        return self.command(
            f"{self.habits.forward} {words}", answer, *body, low=low, high=high, set_up=set_up, invented=invented
        )

    @property
    def suffix(self) -> str:
        """What the names of events end with that NR and LTE word differently."""
        return "_lte" if self.lte else "_nr"


def _address(rng: random.Random) -> str:
    return f"10.{rng.randint(0, 60)}.{rng.randint(0, 255)}.{rng.randint(2, 254)}"


_NETWORKS: Final = ("internet", "ims", "internet.test", "lab.default", "data")


class _Values(dict[str, Any]):
    """Values of the fields of a record; one that has no value is drawn by its name when it is asked for."""

    def __init__(self, run: Run, ue: Ue | None, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self._run, self._ue = run, ue
        habits = run.habits
        number: int | str = ue.number if ue else 0
        self["ue"] = number
        self["v"] = habits.invented_ue.format(number)
        self["u"] = habits.ue.format(number)
        self["U"] = habits.ue.format(number).lstrip()
        self["r"] = habits.rrc.format(number)
        if ue:
            self.setdefault("cell", ue.cell)
            self["rnti"] = f"0x{ue.rnti:04X}"

    def __missing__(self, name: str) -> Any:
        run, rng = self._run, self._run.rng
        value: Any
        if name in _RANGES:
            value = rng.randint(*_RANGES[name])
        elif name in _LEVELS:
            value = f"{rng.uniform(*_LEVELS[name]):.1f}"
        elif name in _NAMES:
            value = _NAMES[name][run.lte]
        elif name in ("errors", "baderrors"):
            value = int(self["tbs"] * (rng.betavariate(2, 24) if name == "errors" else rng.uniform(0.2, 0.9)))
        elif name in ("bler", "badbler"):
            value = f"{self['errors' if name == 'bler' else 'baderrors'] / self['tbs']:.3f}"
        else:
            value = _FIELDS[name](run, self._ue)
        self[name] = value
        return value


_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "n": (1, 6), "hwi": (0, 1), "offset": (-400, 900), "sfn": (0, 1023), "other": (0, 1023), "dbm": (-12, 22), "cap": (23, 26),
    "index": (0, 63), "preamble": (0, 63), "ssb": (0, 3), "cqi": (8, 15), "lowcqi": (0, 4), "ri": (1, 4), "pmi": (0, 15),
    "ta": (0, 40), "drift": (8, 140), "harq": (0, 15), "late": (1, 90_000), "grant": (10_000, 130_000), "lcg": (0, 3),
    "octets": (60, 150_000), "ph": (-3, 38), "sn": (0, 4095), "qfi": (1, 9), "cause": (3, 111), "code": (6, 9),
    "tbs": (200, 90_000),
}  # fmt: skip
# Levels in dB or dBm.
_LEVELS: Final[Mapping[str, tuple[float, float]]] = {
    "low": (-126, -108), "rsrq": (-14, -8), "sinr": (8, 28), "poor": (-9, 2), "rise": (3, 15),
}  # fmt: skip
_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "rat": ("NR", "LTE"), "setup": ("RRCSetup", "RRCConnectionSetup"), "release": ("RRCRelease", "RRCConnectionRelease"),
    "reconf": ("RRCReconfiguration", "RRCConnectionReconfiguration"), "rrcreject": ("RRCReject", "RRCConnectionReject"),
    "regreject": ("REGISTRATION REJECT", "ATTACH REJECT"), "treass": ("t-Reassembly", "t-Reordering"),
    "sessreject": ("PDU SESSION ESTABLISHMENT REJECT", "PDN CONNECTIVITY REJECT"),
}  # fmt: skip
"""Names in NR and in LTE."""
_BEARERS: Final = ("DRB 1", "DRB 1", "DRB 2", "SRB 1")
_ELEMENTS: Final = ("spCellConfig", "drb-ToAddModList", "measConfig", "mac-CellGroupConfig", "radioBearerConfig")
_FIELDS: Final[Mapping[str, Callable[[Run, Ue | None], Any]]] = {
    "freq": lambda run, _: run.freq,
    "fullfreq": lambda run, _: f"{run.freq}.20",
    "otherfreq": lambda run, _: run.freq + run.rng.choice((-600, 200, 450)),
    "plmn": lambda run, _: run.plmn,
    "ru": lambda run, _: run.ru,
    "cell": lambda run, _: run.cells[0],
    "target": lambda run, ue: run.rng.choice(
        [cell for cell in run.cells if not ue or cell != ue.cell] or [run.cells[0] + 1]
    ),
    "ip": lambda run, _: _address(run.rng),
    "rsrp": lambda run, ue: f"{(ue.rsrp if ue else -75) + run.rng.gauss(0, 1.5):.1f}",
    "better": lambda run, ue: f"{(ue.rsrp if ue else -75) + run.rng.uniform(3, 9):.1f}",
    "b": lambda run, _: run.rng.choice(_BEARERS),
    "bearer": lambda run, _: run.rng.choice(_BEARERS).replace(" ", " Id: "),
    "trigger": lambda run, _: "Connection Establish",
    "event": lambda run, _: run.rng.choice(("A3", "A3", "A5")),
    "dci": lambda run, _: run.rng.choice(("0", "1A", "2A") if run.lte else ("0_1", "1_1", "1_0")),
    "detach": lambda run, _: run.rng.choice(("Silent Detach", "UE Detach", "UE Detach")),
    "reason": lambda run, _: "Radio link failure",
    "ie": lambda run, _: run.rng.choice(_ELEMENTS),
    "goal": lambda run, ue: ue.goal if ue else 10,
}
