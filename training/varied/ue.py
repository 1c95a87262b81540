"""UEs and the network that they are in: what records say of them."""

import random
from dataclasses import dataclass, field

from training.varied.habits import Habits

__all__ = ["Network", "Ue"]


@dataclass(frozen=True)
class Network:
    """The network of a run.

    Attributes:
        lte: Whether it is LTE, not NR.
        freq: Frequency in units of 100 kHz.
        cells: Cell Ids.
        ru: Name of the radio unit.
        plmn: PLMN as it is logged.
    """

    lte: bool
    freq: int
    cells: tuple[int, ...]
    ru: str
    plmn: str

    @classmethod
    def draw(cls, rng: random.Random, habits: Habits) -> "Network":
        """Draws the network of a run."""
        lte = habits.rat == "LTE"
        first = rng.choice((0, 0, 1, 4, 12, 50, 100, 300))
        return cls(
            lte,
            rng.choice((18_500, 21_400, 26_450) if lte else (34_507, 37_050, 35_500, 21_400, 36_000)),
            tuple(first + number for number in range(habits.script.cells)),
            f"RU{rng.randint(1, 2)}",
            rng.choice(("00101F", "00102F", "99970F", "31041F", "26201F", "23415F")),
        )


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

    @classmethod
    def draw(cls, rng: random.Random, number: int, network: Network) -> "Ue":
        """Draws a UE with a healthy radio; a BLER of about a tenth is what link adaptation aims at."""
        rnti, rsrp = rng.randrange(0x4000, 0xFFF0), rng.uniform(-98, -60)
        made = cls(number, rng.choice(network.cells), rnti, rsrp, rng.choice((1, 10, 50, 200)))
        healthy = {"dl_bler": rng.betavariate(2, 22), "ul_bler": rng.betavariate(2, 22), "cqi": float(rng.randint(8, 15))}
        made.radio.append((0.0, {**healthy, "rate": rng.uniform(0.85, 1.0)}))
        return made
