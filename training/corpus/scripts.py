"""Firmware releases and scenario scripts: what a run looks like before anything happens in it. Neither depends on labels."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["CATEGORIES", "FIRMWARES", "Firmware", "Rat", "Script", "scripts"]

Rat = Literal["NR", "LTE"]

# The categories that the pre-processing unit of Ihalage et al. selects (section III-A). The paper gives no shares.
CATEGORIES: Final[Mapping[str, float]] = {
    "single-UE": 0.16,
    "single-cell": 0.14,
    "multi-UE": 0.2,
    "multi-cell": 0.14,
    "NR 5G": 0.14,
    "LTE 4G": 0.12,
    "L3 tests": 0.1,
}
SCRIPTS_PER_CATEGORY = 10
UE_COUNTS: Final[Mapping[str, tuple[int, ...]]] = {
    "single-UE": (1,),
    "single-cell": (1, 2, 4),
    "multi-UE": (8, 8, 8, 12, 12, 16, 24, 48),
    "multi-cell": (1, 2, 4, 8),
    "NR 5G": (1, 4, 8),
    "LTE 4G": (1, 4, 8),
    "L3 tests": (1, 2, 4),
}


@dataclass(frozen=True)
class Firmware:
    """How a release words its records. Logs of a farm come from several releases, so a model must not rely on one wording.

    Attributes:
        name: Name of the release.
        wording: Which of the wordings of a message it uses.
        ue: How layer 2 and the tester write a UE.
        rrc: How RRC writes a UE.
        forward: The command that forwards to the test application.
        ok: How a confirmation says that a command succeeded.
        indent: What continuation lines begin with.
        stop_mark: What the tester's own records in the stop section begin with.
    """

    name: str
    wording: int
    ue: str
    rrc: str
    forward: str
    ok: str
    indent: str
    stop_mark: str = ""


FIRMWARES: Final = (
    Firmware("NRA 7.2.1", 0, ":UE Id:{}", ": UE Id: {}", "forw", "Ok", "   "),
    Firmware("NRA 7.4.0", 0, " :UE Id:{}", ": UE Id: {}", "FORW", "Ok", "  ", "... "),
    Firmware("NRB 8.0.3", 1, ":UE Id:{}", " : UE Id: {}", "forw", "OK", "    "),
    Firmware("NRB 8.1.0", 1, ": UE Id:{}", ": UE Id: {}", "FORW", "Ok", "   ", "... "),
)


@dataclass(frozen=True)
class Script:
    """A scenario script.

    Attributes:
        name: Name of the script.
        category: Its test category.
        rat: Radio access technology.
        cells: Number of cells.
        ue_counts: Numbers of UEs that a run of it may have.
        traffic: Kind of traffic, "none" for tests of signalling.
        pppoe: Whether sessions use PPPoE.
        carriers: Number of carriers; more than one is carrier aggregation.
        trace: Layers whose healthy records are logged.
        tables: Tables that GETSTATS prints.
        parameters: Number of parameters that the set-up sets.
        waits: Milestones that the script waits for.
        stagger_ms: Milliseconds between the starts of two UEs.
        cycles: How often each UE attaches and detaches.
        negative: Cause of the reject that a negative test expects, else empty.
        order: Seed of the order of commands that may come in any order.
    """

    name: str
    category: str
    rat: Rat
    cells: int
    ue_counts: tuple[int, ...]
    traffic: str
    pppoe: bool
    carriers: int
    trace: tuple[str, ...]
    tables: tuple[str, ...]
    parameters: int
    waits: tuple[str, ...]
    stagger_ms: int
    cycles: int
    negative: str
    order: int

    @property
    def mobile(self) -> bool:
        """Whether UEs move between cells."""
        return self.cells > 1


def scripts(seed: int) -> tuple[Script, ...]:
    """All scripts of an invented farm; the same seed gives the same scripts."""
    rng = random.Random(f"scripts {seed}")
    return tuple(_script(rng, category, i) for category in CATEGORIES for i in range(SCRIPTS_PER_CATEGORY))


def _script(rng: random.Random, category: str, number: int) -> Script:
    rat: Rat = {"NR 5G": "NR", "LTE 4G": "LTE"}.get(category) or ("LTE" if number % 3 == 2 else "NR")  # type: ignore[assignment]
    only_l3 = category == "L3 tests"
    traffic = "none" if only_l3 else rng.choice(("udp_dl", "udp_ul", "tcp_dl", "tcp_bidir", "voice", "ping", "ftp"))
    short = category.replace(" ", "").replace("-", "").upper()
    pool = ("l1", "l2", "l3") if category != "multi-UE" else ("l3",)
    shares = {"sch": 1.0, "harq": 0.5 if category == "multi-UE" else 0.9, "rlc": 0.7, "pdcp": 0.7}
    first, second = ("registered", "session") if not only_l3 else ("registered", "registered")
    return Script(
        name=f"{rat}_{short}_{traffic.upper()}_{number:02d}",
        category=category,
        rat=rat,
        cells=rng.choice((2, 3, 4)) if category == "multi-cell" else 1,
        ue_counts=UE_COUNTS[category],
        traffic=traffic,
        pppoe=not only_l3 and rng.random() < 0.3,
        carriers=rng.choice((1, 1, 2)) if not only_l3 else 1,
        trace=tuple(layer for layer in pool if rng.random() < (0.25 if category == "multi-UE" else 0.7) or only_l3),
        tables=tuple(table for table, share in shares.items() if rng.random() < share),
        parameters=rng.randint(15, 70),
        waits=(first, second) if rng.random() < 0.8 else (first,),
        stagger_ms=rng.choice((3000, 1000, 200, 20)) if category == "multi-UE" else rng.choice((3000, 500, 50)),
        cycles=rng.randint(2, 5) if only_l3 else 1,
        negative=rng.choice(("3", "11", "15")) if only_l3 and number % 4 == 3 else "",
        order=rng.randrange(1 << 30),
    )
