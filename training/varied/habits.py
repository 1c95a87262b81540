"""Habits: all that the logs of farms differ in and that says nothing about how a run ends.

The habits of a run are drawn before its label, and the label is drawn without looking at them. Whatever is told from habits
alone (a log without stop section, statistics, refused commands, troubles that come and go) is therefore as frequent in runs
of every label.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from training.varied.campaigns import CAMPAIGNS
from training.varied.vocabularies import UE_FORMS

__all__ = ["SCRIPTS", "Habits", "Layer", "Rat", "Script", "combination", "draw_habits", "scripts"]

Rat = Literal["NR", "LTE"]
Layer = Literal["L0_L1", "L2", "L3"]
LAYERS: Final[tuple[Layer, ...]] = ("L0_L1", "L2", "L3")

SCRIPTS: Final = 48
"""Scripts of the invented farms; the split `causes` holds out some of them."""
# Number of UEs: range and weight. The range is drawn first, then a number in it.
UE_RANGES: Final = (((1, 1), 0.30), ((2, 4), 0.22), ((5, 12), 0.22), ((13, 40), 0.16), ((41, 120), 0.07), ((121, 400), 0.03))
# Rejects that negative tests expect: number and words of the 5GMM or EMM cause.
NEGATIVE_CAUSES: Final = ((3, "Illegal UE"), (11, "PLMN not allowed"), (15, "No suitable cells in tracking area"))
TRAFFIC: Final = ("udp_dl", "udp_ul", "tcp_dl", "tcp_bidir", "voice", "ping", "ftp", "http", "none")


@dataclass(frozen=True)
class Script:
    """A scenario script: what is the same in each run of it.

    Attributes:
        name: Its name.
        rat: Radio access technology.
        traffic: Kind of traffic.
        cells: Number of cells; UEs move between them.
        carriers: Number of carriers.
        pppoe: Whether sessions use PPPoE.
        milestones: Indications that it waits for.
        parameters: How many parameters it sets.
        order: Seed of the order of its commands.
    """

    name: str
    rat: Rat
    traffic: str
    cells: int
    carriers: int
    pppoe: bool
    milestones: tuple[str, ...]
    parameters: int
    order: int


@dataclass(frozen=True)
class Habits:
    """What a log looks like, whatever happens in it.

    Attributes:
        script: The scenario script.
        campaign: Name of the test campaign, which prints records that no other campaign prints.
        vocabulary: How invented records are worded.
        firmware: What GVER answers.
        shown: Layers whose invented records are logged.
        density: Healthy records of each shown layer for each UE, on average.
        teardown: What comes at the end of the script: `full`, `short`, `reboot` or `none`.
        statistics: How often statistics are asked for.
        tables: Which tables.
        rate_reports: Whether the tester reports the rate of UEs.
        ues: Number of UEs.
        stagger_ms: Time between the starts of two UEs.
        duration_ms: Time from the activation to the end of the script.
        preamble: Which set-up commands there are: `full`, `short` or `none`.
        echo: Whether commands are logged, not only their confirmations.
        waits: Whether the script waits for milestones.
        forward: How commands are forwarded.
        ok: How a confirmation says that a command succeeded.
        ue: How most records name a UE.
        rrc: How records of RRC name a UE.
        invented_ue: How invented records name a UE.
        bodies: How much continues a healthy record: `none`, `short` or `full`.
        negative: Cause that the network must reject the UEs for, in a negative test.
        refused: Number of optional commands that the tester refuses.
        troubles: Number of troubles.
        start: Where the log begins: `connect`, `set-up` or `traffic`.
        end: Share of the time after the activation at which the log ends; 1.0 is the end of the script.
        stamp: Form of the time stamps.
        wrapper: What a collector leaves in front of each line.
        indent: What continuation lines begin with.
        newline: Line ends.
        lost: Share of the lines that are missing.
        buffer_ms: For how long the tester buffers its output.
    """

    script: Script
    campaign: str
    vocabulary: str
    firmware: str
    shown: frozenset[Layer]
    density: float
    teardown: str
    statistics: int
    tables: frozenset[str]
    rate_reports: bool
    ues: int
    stagger_ms: float
    duration_ms: float
    preamble: str
    echo: bool
    waits: bool
    forward: str
    ok: str
    ue: str
    rrc: str
    invented_ue: str
    bodies: str
    negative: tuple[int, str] | None
    refused: int
    troubles: int
    start: str
    end: float
    stamp: str
    wrapper: str
    indent: str
    newline: str
    lost: float
    buffer_ms: float

    @property
    def rat(self) -> Rat:
        """Radio access technology."""
        return self.script.rat


def scripts(seed: int) -> tuple[Script, ...]:
    """All scripts; the same seed gives the same ones."""
    rng = random.Random(f"varied scripts {seed}")
    return tuple(_script(rng, number) for number in range(SCRIPTS))


def _script(rng: random.Random, number: int) -> Script:
    rat: Rat = "LTE" if number % 3 == 2 else "NR"
    traffic = rng.choice(TRAFFIC)
    cells = rng.choice((1, 1, 2, 3))
    session = "PDU SESSION ESTABLISHMENT IND" if rat == "NR" else "NAS PDN CONNECTION IND"
    registered = "NR REGISTRATION IND" if rat == "NR" else "EMM REGISTER IND"
    shape = rng.choice(
        (f"{rat}_{{}}_{{:02d}}", f"TC{{1:03d}}_{rat}_{{0}}", f"{rat.lower()}-{{}}-{{:02d}}", f"{{1:02d}}.{rat}.{{0}}")
    )
    return Script(
        name=shape.format(rng.choice((traffic, f"{traffic}_{cells}cell", f"attach_{traffic}")).upper(), number),
        rat=rat,
        traffic=traffic,
        cells=cells,
        carriers=rng.choice((1, 1, 2)),
        pppoe=traffic != "none" and rng.random() < 0.3,
        milestones=rng.choice(((registered, session), (registered,), (session,))),
        parameters=int(rng.lognormvariate(2.8, 0.8)),
        order=rng.randrange(1 << 30),
    )


def draw_habits(rng: random.Random, some: Sequence[Script]) -> Habits:
    """Draws the habits of a run whose script is one of `some`."""
    script = rng.choice(some)
    campaign = rng.choice(CAMPAIGNS)
    low, high = rng.choices([span for span, _ in UE_RANGES], [weight for _, weight in UE_RANGES])[0]
    ues = rng.randint(low, high)
    negative = rng.choice(NEGATIVE_CAUSES) if rng.random() < 0.05 else None
    # The text of a negative test must say what it expects.
    begin = "connect" if negative else rng.choices(("connect", "set-up", "traffic"), (0.72, 0.16, 0.12))[0]
    often = rng.choices((0, rng.randint(1, 3), rng.randint(4, 14)), (0.3, 0.4, 0.3))[0]
    return Habits(
        script=script,
        campaign=campaign.name,
        vocabulary=campaign.vocabulary,
        firmware=rng.choice(("NRA 7.2.1", "NRA 7.4.0", "NRB 8.0.3", "NRB 8.1.0", "LMB 4.2", "LMC 5.0.1")),
        shown=frozenset(layer for layer, share in zip(LAYERS, (0.7, 0.8, 0.75), strict=True) if rng.random() < share),
        density=min(rng.lognormvariate(1.4, 0.9), 30.0) / (1 + ues / 12),
        teardown=rng.choices(("full", "short", "reboot", "none"), (0.45, 0.2, 0.06, 0.29))[0],
        statistics=often,
        tables=frozenset(
            table
            for table, share in (
                ("sch", 0.85),
                ("harq", 0.3),
                ("rlc", 0.6),
                ("pdcp", 0.6),
                ("ru", 0.5),
                ("rrc", 0.5),
                ("nas", 0.5),
            )
            if rng.random() < share
        ),
        rate_reports=rng.random() < 0.35,
        ues=ues,
        stagger_ms=rng.choice((2, 20, 200, 1000, 3000)) if ues < 60 else rng.choice((2, 20, 200)),
        duration_ms=rng.lognormvariate(11.7, 0.8),
        preamble=rng.choices(("full", "short", "none"), (0.5, 0.3, 0.2))[0],
        echo=negative is not None or rng.random() < 0.75,
        waits=negative is not None or rng.random() < 0.5,
        forward=rng.choice(("forw mte", "FORW mte", "FORW MTE", "Forw Mte")),
        ok=rng.choice(("Ok", "OK", "ok")),
        ue=rng.choice((":UE Id:{}", ": UE Id:{}", " :UE Id:{}", ": UE Id: {}", ":Ue Id:{}")),
        rrc=rng.choice((": UE Id: {}", " : UE Id: {}", ":UE Id:{}")),
        invented_ue=rng.choice(UE_FORMS[campaign.vocabulary]),
        bodies=rng.choices(("none", "short", "full"), (0.2, 0.45, 0.35))[0],
        negative=negative,
        refused=rng.choices((0, 1, 2, rng.randint(3, 8)), (0.5, 0.2, 0.15, 0.15))[0],
        troubles=rng.choices((0, 1, 2, 3, rng.randint(4, 8)), (0.1, 0.26, 0.26, 0.18, 0.2))[0],
        start=begin,
        end=rng.uniform(0.45, 0.95) if rng.random() < 0.2 else 1.0,
        stamp=rng.choices(("tab", "spaces", "year", "iso", "time"), (0.7, 0.08, 0.08, 0.08, 0.06))[0],
        wrapper=rng.choices(("", "jenkins", "github", "compose", "syslog", "number", "colour"), (0.72, *([0.28 / 6] * 6)))[
            0
        ],
        indent=rng.choice(("   ", "  ", "    ", "\t", "      ")),
        newline=rng.choice(("\r\n", "\r\n", "\n")),
        lost=0.0 if rng.random() < 0.4 else rng.uniform(0.005, 0.04),
        buffer_ms=rng.choice((0.0, 0.0, 0.0, rng.uniform(5, 60))),
    )


def combination(habits: Habits) -> tuple[str, ...]:
    """The coarse habits whose combinations the split `habits` holds out."""
    return (
        "teardown" if habits.teardown != "none" and habits.end == 1.0 else "no teardown",
        "statistics" if habits.statistics else "no statistics",
        "single UE" if habits.ues == 1 else "several UEs" if habits.ues <= 12 else "many UEs",
        "layer 1 shown" if "L0_L1" in habits.shown else "layer 1 hidden",
        "echo" if habits.echo else "no echo",
    )
