"""What all parts of the generator share: the run, its UEs, and the records that they add to it.

Times are in milliseconds since the start of the script. Records may be added in any order.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from training.corpus.messages import MESSAGES as VERSION_1
from training.varied.habits import Habits
from training.varied.ue import Network, Ue
from training.varied.values import Values, address
from training.varied.vocabularies import INVENTED, seen, worded

__all__ = ["Record", "Run", "Ue"]

_LAYERS: Final[Mapping[str, str]] = {name: message.layer for name, message in VERSION_1.items()} | {
    "dte_rate": "", "rda_lost": "", "pppoe_fail": "", "no_address": "L3",
}  # fmt: skip
_HEALTHY: Final = frozenset(name for name, message in VERSION_1.items() if message.healthy) | {"dte_rate"}

# What the body of a session calls its data network, in NR and in LTE.
_NETWORK: Final = ("Data Network Name", "Access Point Name")
_NETWORKS: Final = ("internet", "ims", "internet.test", "lab.default", "data")


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
        network: The network.
        lte: Whether it is LTE.
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
        self.network = Network.draw(rng, habits)
        self.lte = self.network.lte
        self.ues = [Ue.draw(rng, number, self.network) for number in range(habits.ues)]
        self.counters: list[tuple[float, str, int]] = []
        self.counts: list[tuple[float, str]] = []
        self.layers: set[str] = set()
        self.failing = ""
        self.muted = ""
        self.crashed_ms: float | None = None

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
        known = self._values(ue, values)
        if event in INVENTED:
            head, *body = worded(habits.vocabulary, event, known, lte=self.lte)
        else:
            head, *body = seen(event, known, lte=self.lte)
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
            rng, reach = self.rng, f"IPv4 Address: {address(self.rng)}"
            if event == "registered_nr" and rng.random() < 0.6:
                # Some releases list the sessions in the body of the registration.
                return [
                    body[0],
                    f"Pdu Session Id: {rng.randint(1, 2)}",
                    f"{_NETWORK[0]}: {rng.choice(_NETWORKS)}",
                    reach,
                    *body[1:],
                ]
            if event.startswith("session"):
                kind = "PDN Type: IPv4" if self.lte else "PDU Session Type: IPv4"
                return [body[0], f"{_NETWORK[self.lte]}: {rng.choice(_NETWORKS)}", kind, reach]
        return body

    def note(
        self, at_ms: float, event: str, form: str = "I: TMAE 0x1 Warning - {}", *, fault: bool = False, **values: Any
    ) -> None:
        """Adds an invented text in the frame of a record of the tester itself."""
        text = worded(self.habits.vocabulary, event, self._values(None, values), lte=self.lte)[0]
        self.add(at_ms, form.format(text), invented=True, fault=fault)

    def line(self, event: str, **values: Any) -> str:
        """An invented text without its frame."""
        return worded(self.habits.vocabulary, event, self._values(None, values), lte=self.lte)[0]

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

    def _values(self, ue: Ue | None, given: Mapping[str, Any]) -> Values:
        return Values(self.rng, self.habits, self.network, ue, given)

    @property
    def suffix(self) -> str:
        """What the names of events end with that NR and LTE word differently."""
        return "_lte" if self.lte else "_nr"
