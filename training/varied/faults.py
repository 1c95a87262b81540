"""Which causes a run can show, how, and which troubles it has besides.

Causes are those of version 1. Here each of them may be overcome, and each may be shown in several ways.
"""

import random
from collections.abc import Sequence
from math import ceil
from typing import Final, NamedTuple

from training.corpus.causes import CAUSES as VERSION_1
from training.corpus.causes import Cause
from training.varied.habits import LAYERS, Habits
from training.varied.troubles import Trouble
from training.varied.vocabularies import INVENTED

__all__ = ["CAUSES", "EVIDENCE", "Fault", "draw_fault", "draw_troubles", "evidence_kinds"]

# A data server that cannot be reached is a record of the test bed here, in runs of every label.
CAUSES: Final = tuple(cause for cause in VERSION_1 if cause.name != "tester-rda")
EVIDENCE: Final = {"records": 0.68, "tail": 0.12, "statistics": 0.12, "absence": 0.08}
"""How a fault shows: by direct records, by its consequences alone, by statistics alone, or by what is missing."""
ATTACH: Final = ("ra", "rrc", "nas", "session")
# How often a trouble comes. One that is overcome comes less often, and with half the records each time (`unfold`): with as
# many, models learned that trouble that comes again says nothing, and failed on logs by another hand (training/LOG.md,
# 2026-11-30).
LASTING_ROUNDS: Final = (3, 4, 5, 6, 8)
OVERCOME_ROUNDS: Final = (1, 1, 1, 2, 2)
# Consequences whose records have forms that were seen, so that they are logged whatever layers a run shows.
_LOGGED: Final = frozenset((
    "rlf", "rlf_loop", "reest_loop", "reest_integrity", "reest_refused", "drop_reest", "ho_fails", "sr_loop", "drop",
    "walks_out", "crash",
))  # fmt: skip
# Causes whose consequences name the layer although no direct record does.
_TAILS: Final = frozenset((
    "sr-maximum", "sr-no-resource", "time-alignment", "rrc-reconfiguration-traffic", "rrc-reestablishment", "nas-service",
    "rrc-early-release", "ring-buffer",
))  # fmt: skip
# Share of the failing runs, where others are possible, whose fault leaves the log without any UE: a cell that is not
# found or a test bed that does not start. More of them, and counting records would tell the label.
_WITHOUT_UES: Final = 0.1


class Fault(NamedTuple):
    """The root cause of a failing run, how it shows, and the troubles of the UEs that it strikes."""

    cause: Cause
    evidence: str
    struck: dict[int, Trouble]


def evidence_kinds(cause: Cause, habits: Habits) -> tuple[str, ...]:
    """The ways in which a run with these habits can show a cause; none if it cannot strike there."""
    if not _can_strike(cause, habits):
        return ()
    kinds = []
    shown = [step.name not in INVENTED or cause.label in habits.shown for step in cause.steps]
    if cause.stage == "cell" or (any(shown) if shown else cause.name != "negative-accepted"):
        kinds.append("records")
    if cause.stage in ATTACH:
        # Failures to connect or to register are logged in any case. Without records of layer 1, random access fails for
        # a cause of layer 2.
        if cause.stage in ("rrc", "nas") or (cause.stage == "ra" and cause.label == "L2"):
            kinds.append("tail")
        if cause.label == "L3" and "absence" in cause.hides:
            kinds.append("absence")
    elif cause.stage != "cell" and ("tail" in cause.hides or cause.name in _TAILS) and _LOGGED & set(cause.then):
        kinds.append("tail")
    if cause.name == "negative-accepted":
        kinds.append("absence")
    if cause.stage in ("traffic", "handover") and habits.statistics and _in_tables(cause, habits.tables):
        kinds.append("statistics")
    return tuple(kinds)


def _can_strike(cause: Cause, habits: Habits) -> bool:
    if cause.rat and cause.rat != habits.rat:
        return False
    if habits.negative:  # the network rejects its UEs at registration
        return cause.stage in ("ra", "rrc", "negative") or (cause.stage == "cell" and habits.start != "traffic")
    if cause.stage == "negative":
        return False
    if habits.start == "traffic" and cause.stage not in ("traffic", "handover"):
        return False
    possible = {
        "scell-idle": habits.script.carriers > 1,
        # Without measurement reports a handover that never comes looks like a loss of coverage.
        "ho-no-command": "L3" in habits.shown and habits.script.cells > 1,
    }
    return possible.get(cause.name, cause.stage != "handover" or habits.script.cells > 1)


def _in_tables(cause: Cause, tables: frozenset[str]) -> bool:
    """Whether the tables of a run tell a cause from those of other layers."""
    radio = cause.radio
    if cause.counters and "ru" in tables:
        return True
    if cause.label == "L0_L1":
        return "sch" in tables and ("dl_bler" in radio or "ul_bler" in radio)
    if "discards" in radio:
        return "pdcp" in tables
    if "duplicates" in radio or "harq_discards" in radio:
        return "harq" in tables
    return "rlc_retx" in radio and {"rlc", "sch"} <= tables


def draw_fault(rng: random.Random, label: str, habits: Habits, causes: Sequence[Cause]) -> Fault | None:
    """Draws the cause of a failing run, how it shows, and the UEs that it strikes; None if no cause can strike."""
    possible = [(cause, kinds) for cause in causes if cause.label == label and (kinds := evidence_kinds(cause, habits))]
    if not possible:
        return None
    without_ues = [pair for pair in possible if pair[0].environment or pair[0].stage == "cell"]
    others = [pair for pair in possible if pair not in without_ues]
    if without_ues and others:
        possible = without_ues if rng.random() < _WITHOUT_UES else others
    wanted = rng.choices(list(EVIDENCE), list(EVIDENCE.values()))[0]
    cause, kinds = rng.choice([pair for pair in possible if wanted in pair[1]] or possible)
    evidence = wanted if wanted in kinds else rng.choice(kinds)
    if evidence == "tail":
        cause = _only(cause, _LOGGED)
    elif evidence == "statistics":
        cause = _only(cause, frozenset(("slow", "slow_nack", "slow_rlc", "stall")))
    struck = _struck(rng, habits, cause)
    share = _share(rng, habits)
    rounds = rng.choice(LASTING_ROUNDS)
    troubles = {
        number: Trouble(cause, True, share + rng.uniform(0, 0.05), len(struck) > 3, _quiet(cause, evidence, place), rounds)
        for place, number in enumerate(struck)
    }
    return Fault(cause, evidence, troubles)


def _quiet(cause: Cause, evidence: str, place: int) -> bool:
    """Whether a UE has no direct records: a fault of the whole run has them once."""
    return evidence in ("tail", "statistics", "absence") or (cause.whole_run and place > 0)


def _only(cause: Cause, names: frozenset[str]) -> Cause:
    """The cause with some of its consequences alone, if it has any of these."""
    kept = tuple(name for name in cause.then if name in names)
    return Cause(**{**vars(cause), "then": kept}) if kept else cause


def _share(rng: random.Random, habits: Habits) -> float:
    """Where in a UE's time a trouble strikes; in a log that begins in the traffic, in the part that it has."""
    return rng.uniform(0.45, 0.85) if habits.start == "traffic" else rng.uniform(0.05, 0.85)


def _struck(rng: random.Random, habits: Habits, cause: Cause) -> list[int]:
    """The UEs that a trouble strikes: mostly one, sometimes some or all of them."""
    count = habits.ues
    wanted = count if cause.whole_run else rng.choice((1, 1, 1, rng.randint(1, 3), ceil(count / 4), count))
    # Of many UEs only the first ones are struck: they have the time for it.
    return rng.sample(range(ceil(count * 0.7)), min(wanted, 12, ceil(count * 0.7)))


def draw_troubles(rng: random.Random, habits: Habits, causes: Sequence[Cause], count: int) -> list[dict[int, Trouble]]:
    """Draws troubles that are overcome; for each the UEs that it strikes. Layers are drawn alike."""
    drawn = []
    for _ in range(count):
        layer = rng.choice(LAYERS)
        possible = [
            cause for cause in causes
            if cause.label == layer and cause.mild and cause.stage not in ("cell", "negative") and _can_strike(cause, habits)
        ]  # fmt: skip
        if not possible:
            continue
        cause = rng.choice(possible)
        struck, share = _struck(rng, habits, cause), _share(rng, habits)
        rounds = rng.choice(OVERCOME_ROUNDS)
        drawn.append(
            {
                number: Trouble(
                    cause, False, share + rng.uniform(0, 0.05), len(struck) > 3, cause.whole_run and place > 0, rounds
                )
                for place, number in enumerate(struck)
            }
        )
    return drawn
