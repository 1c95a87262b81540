"""Values of the fields of records: what a record says of its UE and network, or a value in a range that is usual."""

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from training.varied.habits import Habits
from training.varied.ue import Network, Ue

__all__ = ["Values", "address"]


def address(rng: random.Random) -> str:
    """An IPv4 address of a UE."""
    return f"10.{rng.randint(0, 60)}.{rng.randint(0, 255)}.{rng.randint(2, 254)}"


class Values(dict[str, Any]):
    """Values of the fields of a record; one that has no value is drawn by its name when it is asked for."""

    def __init__(
        self, rng: random.Random, habits: Habits, network: Network, ue: Ue | None, given: Mapping[str, Any]
    ) -> None:
        super().__init__(given)
        self._rng, self._network, self._ue = rng, network, ue
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
        rng = self._rng
        value: Any
        if name in _RANGES:
            value = rng.randint(*_RANGES[name])
        elif name in _LEVELS:
            value = f"{rng.uniform(*_LEVELS[name]):.1f}"
        elif name in _NAMES:
            value = _NAMES[name][self._network.lte]
        elif name in ("errors", "baderrors"):
            value = int(self["tbs"] * (rng.betavariate(2, 24) if name == "errors" else rng.uniform(0.2, 0.9)))
        elif name in ("bler", "badbler"):
            value = f"{self['errors' if name == 'bler' else 'baderrors'] / self['tbs']:.3f}"
        else:
            value = _FIELDS[name](rng, self._network, self._ue)
        self[name] = value
        return value


_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "n": (1, 6), "hwi": (0, 1), "offset": (-400, 900), "sfn": (0, 1023), "other": (0, 1023), "dbm": (-12, 22),
    "cap": (23, 26), "index": (0, 63), "preamble": (0, 63), "ssb": (0, 3), "cqi": (8, 15), "lowcqi": (0, 4), "ri": (1, 4),
    "pmi": (0, 15), "ta": (0, 40), "drift": (8, 140), "harq": (0, 15), "late": (1, 90_000), "grant": (10_000, 130_000),
    "lcg": (0, 3), "octets": (60, 150_000), "ph": (-3, 38), "sn": (0, 4095), "qfi": (1, 9), "cause": (3, 111),
    "code": (6, 9), "tbs": (200, 90_000),
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


def _rsrp(ue: Ue | None) -> float:
    return ue.rsrp if ue else -75.0


def _neighbour(rng: random.Random, network: Network, ue: Ue | None) -> int:
    """Another cell of the run, or one that the script does not know."""
    return rng.choice([cell for cell in network.cells if not ue or cell != ue.cell] or [network.cells[0] + 1])


_FIELDS: Final[Mapping[str, Callable[[random.Random, Network, Ue | None], Any]]] = {
    "freq": lambda rng, network, ue: network.freq,
    "fullfreq": lambda rng, network, ue: f"{network.freq}.20",
    "otherfreq": lambda rng, network, ue: network.freq + rng.choice((-600, 200, 450)),
    "plmn": lambda rng, network, ue: network.plmn,
    "ru": lambda rng, network, ue: network.ru,
    "cell": lambda rng, network, ue: network.cells[0],
    "target": _neighbour,
    "ip": lambda rng, network, ue: address(rng),
    "rsrp": lambda rng, network, ue: f"{_rsrp(ue) + rng.gauss(0, 1.5):.1f}",
    "better": lambda rng, network, ue: f"{_rsrp(ue) + rng.uniform(3, 9):.1f}",
    "b": lambda rng, network, ue: rng.choice(_BEARERS),
    "bearer": lambda rng, network, ue: rng.choice(_BEARERS).replace(" ", " Id: "),
    "trigger": lambda rng, network, ue: "Connection Establish",
    "event": lambda rng, network, ue: rng.choice(("A3", "A3", "A5")),
    "dci": lambda rng, network, ue: rng.choice(("0", "1A", "2A") if network.lte else ("0_1", "1_1", "1_0")),
    "reason": lambda rng, network, ue: "Radio link failure",
    "ie": lambda rng, network, ue: rng.choice(_ELEMENTS),
    "goal": lambda rng, network, ue: ue.goal if ue else 10,
}
