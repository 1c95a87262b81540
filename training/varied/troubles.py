"""Troubles of UEs: their direct records, how often they come, and how UEs leave and come back.

The same trouble may be overcome or last; both have the same records. If it is overcome, it comes once or twice, and the UE
is served again. If it lasts, it comes again until the log ends, or the UE is lost. A passing run contains troubles of every
kind, all of them overcome; in a failing run one of them lasts.
"""

from typing import Final, NamedTuple

from training.corpus.causes import Cause
from training.varied.run import Run
from training.varied.ue import Ue

__all__ = ["Trouble", "connect_again", "leave", "rounds", "unfold", "vanish"]

# Events that count something else than attempts.
_OWN_NUMBERS: Final = frozenset((
    "ru_late", "ru_early", "ru_sequence", "ru_prb", "lcid", "rohc", "discard", "pusch_dtx", "pusch_nack", "ring", "backoff",
    "bwp_fail",
))  # fmt: skip


class Trouble(NamedTuple):
    """A cause that strikes a UE.

    Attributes:
        cause: The cause.
        lasting: Whether it is not overcome: the fault of a failing run.
        share: Where in the UE's time it strikes, from 0 to 1.
        thin: Whether it has few records, as it has when it strikes many UEs.
        quiet: Whether it has no direct records: they are at another UE, or hidden.
        rounds: How often it comes.
    """

    cause: Cause
    lasting: bool
    share: float
    thin: bool = False
    quiet: bool = False
    rounds: int = 1


def unfold(run: Run, ue: Ue, at_ms: float, trouble: Trouble) -> float:
    """Adds the direct records of a trouble and returns the time after the last."""
    rng, cause = run.rng, trouble.cause
    if trouble.quiet:
        return at_ms + rng.uniform(20, 400)
    before, run.failing = run.failing, "root" if trouble.lasting else ""
    for step in cause.steps:
        count = rng.randint(step.low, step.high)
        count = max(1, round(count * (0.6 if trouble.lasting and not trouble.thin else 0.3)))
        for number in range(count):
            values = dict(cause.values)
            if step.name not in _OWN_NUMBERS:
                values.setdefault("n", number + 1)
            run.say(at_ms, step.name, ue, **values)
            # Timers of NAS run for 15 seconds; the log would be too long with all of that.
            at_ms += rng.uniform(min(step.gap_low, 4000), min(step.gap_high, 5000))
    run.failing = before
    return at_ms


def rounds(run: Run, trouble: Trouble, since_ms: float, until_ms: float) -> list[float]:
    """When a trouble comes again: until the end if it lasts, else in a part of the time."""
    rng = run.rng
    span = max(until_ms - since_ms, 2000.0)
    if trouble.lasting:
        later = sorted(rng.uniform(0.1, 0.85) for _ in range(trouble.rounds - 2))
        shares = [0.0, *later, rng.uniform(0.88, 0.97)] if trouble.rounds > 1 else [0.0]
    else:
        extent = rng.uniform(0.05, 0.6)
        shares = [0.0, *sorted(rng.uniform(0.05, 1.0) * extent for _ in range(trouble.rounds - 1))]
    return [since_ms + span * share for share in shares]


def leave(run: Run, ue: Ue, at_ms: float, *, deregister: bool = False, gone: bool = True) -> None:
    """The UE loses its connection; if it is `gone`, for good."""
    if deregister:
        run.say(at_ms, f"deregistered{run.suffix}", ue, detach="Silent Detach")
    if ue.connected(at_ms):
        run.say(at_ms + 1, f"disconnected{run.suffix}", ue)
        ue.disconnect(at_ms + 1)
    ue.gone = gone


def connect_again(run: Run, ue: Ue, at_ms: float) -> float:
    """A UE that was lost comes back; returns the time when it has its session again."""
    rng = run.rng
    at_ms += rng.uniform(100, 3000)
    run.say(at_ms, f"selection{run.suffix}", ue)
    run.say(at_ms + 2, "ra_start", ue)
    at_ms += rng.uniform(5, 112)
    run.say(at_ms, "ra_done", ue, n=rng.randint(1, 3))
    run.say(at_ms, f"connected{run.suffix}", ue)
    ue.connect(at_ms)
    at_ms += rng.uniform(300, 3000)
    run.say(at_ms, f"registered{run.suffix}", ue)
    at_ms += rng.uniform(50, 900)
    run.say(at_ms, f"session{run.suffix}", ue)
    ue.gone = False
    return at_ms


def vanish(run: Run, ue: Ue, at_ms: float) -> None:
    """The lower layers see a UE vanish that a message of layer 3 has sent away: their records outnumber the cause."""
    rng = run.rng
    for event in ("pusch_dtx", "high_ul_bler", "out_of_sync"):
        for _ in range(rng.randint(1, 3)):
            at_ms += rng.uniform(20, 500)
            run.say(at_ms, event, ue)
