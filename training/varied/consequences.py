"""What follows from a trouble of a connected UE in other layers, and how it ends: the UE is served again, or it is not."""

from collections.abc import Callable, Mapping
from typing import Final

from training.varied.environment import crash
from training.varied.run import Run
from training.varied.troubles import Trouble, connect_again, leave, rounds, unfold, vanish
from training.varied.ue import Ue

__all__ = ["CONSEQUENCES", "strike"]

# Values of T310, and of T301 and T311, in milliseconds (TS 38.331, 6.3.2).
T310: Final = (200, 500, 1000, 2000)
T301: Final = (200, 400, 1000, 3000)


def strike(run: Run, ue: Ue, at_ms: float, trouble: Trouble, until_ms: float) -> None:
    """Adds a trouble of a connected UE with one of the consequences of its cause."""
    rng, cause = run.rng, trouble.cause
    before = ue.radio_at(at_ms)
    worse = {name: rng.uniform(*limits) for name, limits in cause.radio.items()}
    if "cqi" in worse:
        worse["cqi"] = round(worse["cqi"])
    ue.radio.append((at_ms, {**before, **worse}))
    ue.failed = ue.failed or trouble.lasting
    for counter in cause.counters:
        # Up to ten late messages are healthy; a trouble that lasts counts on.
        run.counters.append((at_ms, counter, rng.randint(200, 90_000) if trouble.lasting else rng.randint(5, 900)))
    run.failing = "symptom" if trouble.lasting else ""
    consequence = rng.choice(cause.then)
    after = CONSEQUENCES[consequence](run, ue, at_ms, trouble, until_ms)
    run.failing = ""
    if not trouble.lasting:
        ue.radio.append((after, before))
        ue.busy_ms = max(ue.busy_ms, after)


def _reestablish(run: Run, ue: Ue, at_ms: float, reason: str) -> float:
    """A re-establishment that succeeds (TS 38.331, 5.3.7); it takes about 30 ms."""
    run.say(at_ms, "reest_start", ue, reason=reason)
    if run.rng.random() < 0.5:
        run.say(at_ms + 8, "ra_start", ue)
        run.say(at_ms + 20, "ra_done", ue, n=1)
    at_ms += run.rng.uniform(22, 60)
    run.say(at_ms, "reest_done", ue)
    run.say(at_ms + 2, "rlc_reset", ue)
    return at_ms + 3


def _give_up(run: Run, ue: Ue, at_ms: float, reason: str) -> float:
    """A re-establishment that fails; the UE is lost."""
    rng = run.rng
    run.say(at_ms, "reest_start", ue, reason=reason)
    run.say(at_ms + 12, f"selection{run.suffix}", ue)
    if rng.random() < 0.5:
        run.say(at_ms + 14, "ra_start", ue)
    at_ms += rng.choice(T301)
    # T311: no cell was selected in time. T301: the network did not answer the request.
    run.say(at_ms, rng.choice(("t301", "t311")), ue)
    leave(run, ue, at_ms + 3)
    if rng.random() < 0.4:
        run.say(at_ms + rng.uniform(50, 900), "plmn_loss", ue)
    return at_ms + 4


def _ends(run: Run, trouble: Trouble, at_ms: float, times: list[float]) -> bool:
    """Whether the UE is lost in this round: only in the last round of a trouble that lasts."""
    return trouble.lasting and at_ms == times[-1]


def _rlf(run: Run, ue: Ue, at_ms: float, trouble: Trouble, until_ms: float) -> float:
    """Radio link failure by T310 (TS 38.331, 5.3.10)."""
    rng, loop = run.rng, trouble.lasting and run.rng.random() < 0.35
    times = rounds(
        run, trouble, at_ms, until_ms if loop or not trouble.lasting else at_ms + (until_ms - at_ms) * rng.random()
    )
    after = at_ms
    for begun in times:
        after = unfold(run, ue, max(begun, after), trouble)
        run.say(after, "t310_start", ue)
        if not trouble.lasting and rng.random() < 0.35:
            after += rng.uniform(40, 190)
            run.say(after, "in_sync", ue)
            run.say(after, "t310_stop", ue)
            continue
        after += rng.choice(T310)
        run.say(after, "t310_expiry", ue)
        if _ends(run, trouble, begun, times) and not loop:
            return _give_up(run, ue, after + 2, "Radio link failure")
        after = _reestablish(run, ue, after + 2, "Radio link failure")
    return after


def _reest(reason: str, *, rlc: bool) -> "Consequence":
    """Re-establishment for another reason than T310; if RLC gives up first (TS 38.322, 5.3.2), it says so."""

    def consequence(run: Run, ue: Ue, at_ms: float, trouble: Trouble, until_ms: float) -> float:
        rng, loop = run.rng, trouble.lasting and run.rng.random() < 0.6
        times = rounds(run, trouble, at_ms, until_ms)
        after = at_ms
        for begun in times:
            after = unfold(run, ue, max(begun, after), trouble)
            if rlc and trouble.cause.name != "rlc-maximum":
                run.say(after, "rlc_max", ue)
            after += rng.uniform(2, 6)
            if _ends(run, trouble, begun, times) and not loop:
                return _give_up(run, ue, after, reason)
            after = _reestablish(run, ue, after, reason)
        return after

    return consequence


def _scheduling(run: Run, ue: Ue, at_ms: float, trouble: Trouble, until_ms: float) -> float:
    """Random access after unanswered scheduling requests (TS 38.321, 5.4.4)."""
    trigger = "SR NO Resource" if trouble.cause.name == "sr-no-resource" else "SR MAX Exceeded"
    after = at_ms
    for begun in rounds(run, trouble, at_ms, until_ms):
        after = unfold(run, ue, max(begun, after), trouble)
        for _ in range(run.rng.randint(1, 3)):
            run.say(after, "ra_start", ue, trigger=trigger)
            after += run.rng.uniform(3, 112)
            run.say(after, "ra_done", ue, n=1)
            after += run.rng.uniform(20, 600)
    return after


def _slow(run: Run, ue: Ue, at_ms: float, trouble: Trouble, until_ms: float) -> float:
    """The connection stays, and the rate is low."""
    after = at_ms
    for begun in rounds(run, trouble, at_ms, until_ms):
        after = unfold(run, ue, max(begun, after), trouble)
    return after


def _slow_rlc(run: Run, ue: Ue, at_ms: float, trouble: Trouble, until_ms: float) -> float:
    """As `_slow`, and RLC repeats what the lower layers lose; in some rounds it gives up."""
    rng, after = run.rng, at_ms
    for begun in rounds(run, trouble, at_ms, until_ms):
        after = unfold(run, ue, max(begun, after), trouble)
        for event in ("nack", "poll"):
            for _ in range(rng.randint(0, 2)):
                after += rng.uniform(20, 400)
                run.say(after, event, ue)
        if rng.random() < 0.3:
            run.say(after + 40, "rlc_max", ue)
            after = _reestablish(run, ue, after + 45, "RLC maximum UL retransmissions reached")
    return after


def _beam(run: Run, ue: Ue, at_ms: float, trouble: Trouble, until_ms: float) -> float:
    """Beam failure recovery (TS 38.321, 5.17)."""
    rng, after = run.rng, at_ms
    times = rounds(run, trouble, at_ms, until_ms)
    for begun in times:
        after = unfold(run, ue, max(begun, after), trouble)
        run.say(after, "bfr_max", ue)
        run.say(after + 3, "ra_start", ue)
        after += rng.uniform(40, 200)
        if _ends(run, trouble, begun, times):
            run.say(after, "bfr_fail", ue)
            return _give_up(run, ue, after + 2, "Radio link failure")
        run.say(after, "ra_done", ue, n=1)
        run.say(after + 2, "bfr_done", ue)
    return after


def _drop(run: Run, ue: Ue, at_ms: float, trouble: Trouble, until_ms: float) -> float:
    """The connection is lost; if the trouble is overcome, the UE comes back."""
    rng, after = run.rng, at_ms
    # A UE that is dropped more often than that would be detached for good by its script.
    few = trouble._replace(rounds=min(trouble.rounds, 3))
    times = rounds(run, few, at_ms, at_ms + (until_ms - at_ms) * rng.uniform(0.2, 0.9))
    for begun in times:
        after = unfold(run, ue, max(begun, after), trouble)
        after += rng.uniform(5, 400)
        last = _ends(run, trouble, begun, times)
        leave(run, ue, after, deregister=rng.random() < 0.5, gone=last)
        if last:
            if rng.random() < 0.3:
                vanish(run, ue, after + 20)
            return after
        after = connect_again(run, ue, after) + rng.uniform(300, 5000)
    return after


def _crash(run: Run, ue: Ue, at_ms: float, trouble: Trouble, until_ms: float) -> float:
    """Asserts; if the trouble lasts, a fatal one. Otherwise the tester goes on."""
    after = unfold(run, ue, max(at_ms, until_ms - 30_000) if trouble.lasting else at_ms, trouble)
    return crash(run, after, fatal=trouble.lasting)


Consequence = Callable[[Run, Ue, float, Trouble, float], float]
_BY_RLC: Final = "RLC maximum UL retransmissions reached"
CONSEQUENCES: Final[Mapping[str, Consequence]] = {
    "rlf": _rlf,
    "rlf_loop": _rlf,
    "walks_out": _rlf,
    "reest_loop": _reest(_BY_RLC, rlc=True),
    "reest_integrity": _reest("Integrity failure", rlc=False),
    "reest_refused": _reest("Other failure", rlc=False),
    "drop_reest": _reest("Reconfiguration failure", rlc=False),
    "ho_fails": _reest("Handover failure", rlc=False),
    "sr_loop": _scheduling,
    "slow": _slow,
    "stall": _slow,
    "slow_nack": _slow_rlc,
    "slow_rlc": _slow_rlc,
    "bfr": _beam,
    "drop": _drop,
    "crash": _crash,
}
"""What follows from the causes that strike connected UEs, by the names that the causes use."""
