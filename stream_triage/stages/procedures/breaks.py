"""States of all sources in; what broke first, which UEs failed, and the layer that is to blame, out.

The cause of a run is the break that comes first in the chain of procedures: a process that stops takes its associations with
it, a cell that is not found leaves a UE without a random access. Between UEs, the break that came first counts.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from stream_triage.dialects import LAYERS
from stream_triage.stages.procedures.course import BEGUN, LOOP, Break, Course
from stream_triage.stages.procedures.follow import OWN, Follower, ProcedureState

__all__ = ["LAYER_WORDS", "Outcome", "RunBreak", "blamed", "failed_ues", "looping", "run_breaks", "ue_order"]

RRC: Final = LAYERS.index("rrc")
NAS: Final = LAYERS.index("nas")


class RunBreak(NamedTuple):
    """Something that did not end well, in the order in which causes come before consequences."""

    rank: int
    """Position of the procedure in the table. All breaks of UEs have that of their first procedure: between them the line
    decides. What the table lists behind them are weak signs, such as a command of the script that was refused."""
    order: int
    """The line that counts for the order. What never came explains nothing that is in the log, so it comes behind trouble
    of the same UE."""
    line: int
    """The line that shows it."""
    source: str
    ue: str | None
    layer: int
    """Index in `LAYERS`."""
    words: str
    """What happened; `{who}` stands for the UE or the node."""
    how: str = ""
    """As of `Break`; `repeated` for trouble that kept coming, empty for what is none of these."""


class Outcome(NamedTuple):
    """A UE of one source that failed, the line that shows it, and why."""

    ue: str
    line: int
    reason: str


def breaks_of(follower: Follower, state: ProcedureState, course: Course) -> list[Break]:
    """What is not finished for one UE of a source. A session is due only where the log shows sessions.

    Where lines name UEs, nobody knows whose steps the other lines are about, so nothing is due after those.
    """
    found = course.breaks(follower.procedures, follower.due(state), refusal=follower.refusal_expected(state))
    unnamed = len(state.ues) > 1 and state.ues.get(OWN) is course
    return [one for one in found if not (unnamed and one.how in ("begun", "missing"))]


def looping(follower: Follower, state: ProcedureState, course: Course) -> tuple[int, int, str] | None:
    """First line, layer and words of trouble that keeps coming; None if none does."""
    refusal = follower.refusal_expected(state)
    troubles = course.troubles(refusal=refusal)
    # Messages of RRC and NAS are repeated until they are answered: with a session, trouble before it is over.
    done = course.done(follower.procedures, follower.procedures.index["registration"])
    troubles = {kind: each for kind, each in troubles.items() if kind[0] not in (RRC, NAS) or each.last > done}
    if troubles:
        (layer, _), most = max(troubles.items(), key=lambda item: (item[1].count, -item[1].first))
        if most.count >= LOOP:
            return most.first, layer, f"trouble of {LAYER_WORDS[layer]} came {most.count} times at {{who}}"
    number = follower.procedures.index["re-establishment"]
    if course.count(number, BEGUN) >= LOOP:
        first = course.first(number, BEGUN)
        return first, RRC, f"{course.count(number, BEGUN)} re-establishments of {{who}}"
    return None


def blamed(follower: Follower, state: ProcedureState, course: Course) -> int:
    """The layer that is blamed for a UE's failure, an index in `LAYERS`.

    That of what came first: trouble that came again, or a procedure that was refused or failed. Without either, that of the
    first trouble, or of the first break.
    """
    troubles = course.troubles(refusal=follower.refusal_expected(state))
    breaks, layers = breaks_of(follower, state, course), follower.procedures.layers
    again = [(repeats.first, layer) for (layer, _), repeats in troubles.items() if repeats.second]
    again += [(found.line, layers[found.procedure]) for found in breaks if found.how in ("refused", "failed")]
    once = [(repeats.first, layer) for (layer, _), repeats in troubles.items()]
    if again or once:
        first = min(again or once)
    elif breaks:
        first = breaks[0].line, layers[breaks[0].procedure]
    else:
        return RRC
    # Records of the lower layers may name no UE: what came again before the break is its cause.
    alone = [(each.first, layer) for (layer, _), each in state.alone.items() if layer < RRC and each.second]
    return min([first, *(each for each in alone if each[0] < first[0])])[1]


def failed_ues(follower: Follower, state: ProcedureState) -> list[Outcome]:
    """Failed UEs of one source, by id: numbers in their order, before other ids.

    Where a node broke that all UEs need, they failed with it: those that the log named before, and those that the script
    set up and that never came.
    """
    outcomes = {}
    for ue, course in state.ues.items():
        if own := min(_of_ue(follower, "", state, ue, course), default=None):
            outcomes[ue] = Outcome(ue, own.line, own.words)
    if struck := _strike(follower, state):
        procedures = follower.procedures
        nodes = {number for number, of_node in enumerate(procedures.of_node) if of_node}
        for ue in dict.fromkeys([*state.ues, *state.set_up]):
            known = state.ues.get(ue)
            over = known and known.released(procedures)
            # Counters sum up the run, so they concern UEs that were released before they were read.
            if ue and ue not in outcomes and not (over and over < struck.line and struck.rank in nodes):
                outcomes[ue] = Outcome(ue, struck.line, struck.words)
    return sorted(outcomes.values(), key=lambda one: ue_order(one.ue))


def ue_order(ue: str) -> tuple[bool, str]:
    """Sorts ids of UEs: numbers in their order, before other ids."""
    return not ue.isdigit(), ue.zfill(9)


def _strike(follower: Follower, state: ProcedureState) -> RunBreak | None:
    """The first break of a node that leaves no UE working."""
    procedures = follower.procedures
    of_node = [one for one in _of_node(follower, "", state) if procedures.strikes_ues[one.rank]]
    return min([*of_node, *_of_values(follower, "", state, of_node=True)], default=None, key=lambda one: one.line)


def run_breaks(follower: Follower, states: Mapping[str, ProcedureState]) -> list[RunBreak]:
    """All breaks of a run, causes first."""
    found = [found for source, state in sorted(states.items()) for found in _of_source(follower, source, state)]
    # Lines of several sources have no common order. There a refusal comes first: the link worked until then, and what the
    # others lost, they lost after it.
    several = len({one.source for one in found}) > 1
    return sorted(found, key=lambda one: (one.rank, several and one.how != "refused", one.order, one.source))


def _of_source(follower: Follower, source: str, state: ProcedureState) -> Iterator[RunBreak]:
    yield from _of_node(follower, source, state)
    for ue, course in state.ues.items():
        yield from _of_ue(follower, source, state, ue, course)
    rank = follower.procedures.index["cell search"]
    for (layer, _), repeats in state.alone.items():
        if repeats.count >= LOOP:
            words = f"trouble of {LAYER_WORDS[layer]} came {repeats.count} times"
            yield RunBreak(rank, repeats.first, repeats.first, source, None, layer, words, "repeated")
    yield from _of_values(follower, source, state)


def _of_ue(follower: Follower, source: str, state: ProcedureState, ue: str, course: Course) -> Iterator[RunBreak]:
    """What broke of one UE."""
    procedures = follower.procedures
    rank = procedures.index["cell search"]
    loop = looping(follower, state, course)
    for found in breaks_of(follower, state, course):
        never = found.how in ("begun", "missing")
        order = max(found.line, loop[0] + 1) if loop and never else found.line
        layer, words = procedures.layers[found.procedure], _words(follower, found)
        yield RunBreak(rank, order, found.line, source, ue, layer, words, found.how)
    if loop:
        yield RunBreak(rank, loop[0], loop[0], source, ue, loop[1], loop[2], "repeated")


def _of_values(follower: Follower, source: str, state: ProcedureState, *, of_node: bool = False) -> Iterator[RunBreak]:
    """Values beyond their limits; `of_node`: only those of what all UEs share."""
    rank = follower.procedures.index["cell search"]
    for name, values in state.statistics.values.items():
        about = follower.dialects.procedures.values[name]
        if values.beyond and about.layer and (about.of == "node" or not of_node):
            words = about.words.format(value=f"{values.worst:g}")
            line = values.first_beyond
            yield RunBreak(rank, line, line, source, None, LAYERS.index(about.layer), words)


def _of_node(follower: Follower, source: str, state: ProcedureState) -> Iterator[RunBreak]:
    """What broke of the processes, their associations, the tester and its script."""
    procedures = follower.procedures
    for line, number, how in follower.node_breaks(state):
        words, layer = procedures.words[number].get(how, ""), procedures.layers[number]
        if number == procedures.index["process"] and state.fault_line:
            layer = state.fault_layer if state.fault_layer >= 0 else layer
            yield RunBreak(number, state.fault_line, state.fault_line, source, None, layer, words)
        elif words:
            yield RunBreak(number, line, line, source, None, layer, words)


def _words(follower: Follower, found: Break) -> str:
    name = follower.procedures.names[found.procedure]
    if name == "refusal":
        return "{who} registered, though the script waits for a refusal"
    return follower.procedures.words[found.procedure].get(found.how, f"{name} of {{who}}: {found.how}")


LAYER_WORDS: Final = ("layer 1", "layer 2", "RRC", "NAS", "the core", "the tester", "the data plane")
