"""The course of one UE, or of a network function: steps of its procedures and its trouble in, what is not finished out.

Steps are counted with the lines in which they came first and last. A procedure is *broken* if it was begun and not
completed, if its last result is a bad one, or if it had to follow another and never came. A later step proves earlier ones,
since logs lose records (`procedures.toml` says which).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from stream_triage.dialects import LAYERS, STEPS, Dialects, Event
from stream_triage.stages.procedures.history import BEGUN, COMPLETED, FAILED, LOST, REFUSED, RETRIED, History

__all__ = [
    "BEGUN", "COMPLETED", "FAILED", "LOOP", "LOST", "MAX_KINDS", "REFUSED", "RETRIED", "Break", "Course", "Procedures",
    "Repeats", "count_trouble",
]  # fmt: skip

# Kinds of trouble counted of one UE.
MAX_KINDS: Final = 24
# The same trouble this often at one UE is a failure; passing runs show trouble once or twice.
LOOP: Final = 3

_BAD: Final = (REFUSED, FAILED, LOST)
NAS: Final = LAYERS.index("nas")


class Procedures:
    """The table of procedures by index, as the courses use it."""

    def __init__(self, dialects: Dialects) -> None:
        self.names = dialects.procedure_names
        table = dialects.procedures.procedures
        index = {name: number for number, name in enumerate(self.names)}
        self.index: Mapping[str, int] = index
        self.layers = [LAYERS.index(procedure.layer) for procedure in table.values()]
        self.of_node = [procedure.of == "node" for procedure in table.values()]
        self.forces = [index.get(procedure.forces, -1) for procedure in table.values()]
        self.forces_if_begun = [procedure.forces_if_begun for procedure in table.values()]
        self.strikes_ues = [procedure.strikes_ues for procedure in table.values()]
        self.words = [procedure.words for procedure in table.values()]
        proved_by: list[list[int]] = [[number] for number in range(len(self.names))]
        for number, procedure in enumerate(table.values()):
            for proved in procedure.proves:
                proved_by[index[proved]].append(number)
        self.proved_by: list[tuple[int, ...]] = [tuple(numbers) for numbers in proved_by]
        self.times = [procedure.times for procedure in table.values()]
        self.asks_for = [index.get(procedure.asks_for, -1) for procedure in table.values()]
        self.undone_by = [tuple(index[name] for name in procedure.undone_by) for procedure in table.values()]


@dataclass(slots=True, order=True)
class Repeats:
    """How often something came, and in which lines it came first, second and last."""

    count: int
    first: int
    second: int = 0
    last: int = 0

    def add(self, line: int) -> None:
        """Counts the next one."""
        self.count += 1
        self.last = line
        if self.count == 2:
            self.second = line


def count_trouble(kinds: dict[tuple[int, int], Repeats], layer: int, kind: int, line: int, most: int) -> None:
    """Counts trouble of a kind; only the first `most` kinds are counted."""
    known = kinds.get((layer, kind))
    if known:
        known.add(line)
    elif len(kinds) < most:
        kinds[layer, kind] = Repeats(1, line, last=line)


class Break(NamedTuple):
    """A procedure that did not end well: in which line that shows, its index, and how."""

    line: int
    procedure: int
    how: str
    """`begun` and never completed, `missing` after what forces it, or the bad step."""


class Course:
    """Steps and trouble of one UE or one network function."""

    __slots__ = ("_found", "changes", "failed", "history", "kinds", "steps")

    def __init__(self) -> None:
        self.history = History()
        """All that happened to it, in time."""
        self.failed: tuple[Break, ...] = ()
        """Breaks of earlier attaches. They count until a later attach completes what broke."""
        self.steps: dict[Event, Repeats] = {}
        self.changes = 0
        """Grows with every change of `steps`."""
        self._found: tuple[object, list[Break]] = (None, [])
        """What `breaks` found last, and for which question: one verdict asks six times."""
        self.kinds: dict[tuple[int, int], Repeats] = {}
        """Trouble, by layer and kind."""

    def step(self, event: Event, line: int) -> None:
        """Takes a step."""
        self.changes += 1
        known = self.steps.get(event)
        if known:
            known.add(line)
        else:
            self.steps[event] = Repeats(1, line, last=line)

    def take_back(self, event: Event, last: int) -> None:
        """Takes the last such step back: the line after it says that it was none. `last` is the one before it, or 0."""
        self.changes += 1
        known = self.steps.get(event)
        if known:
            known.count -= 1
            known.last = last
            if not known.count:
                del self.steps[event]

    def trouble(self, layer: int, kind: int, line: int) -> None:
        """Counts trouble; the first `MAX_KINDS` kinds are kept."""
        count_trouble(self.kinds, layer, kind, line, MAX_KINDS)

    def begin_anew(self, outliving: Collection[int], deregistration: int) -> None:
        """A new attach begins.

        Left are the breaks of the one before and trouble that kept coming, and what outlives a connection: a UE that was not
        deregistered is still registered.
        """
        self.changes += 1
        kept = {} if self.last(deregistration, BEGUN, COMPLETED) else self.steps
        self.steps = {
            event: known for event, known in kept.items() if event.procedure in outliving and event.step == COMPLETED
        }
        self.kinds = {kind: known for kind, known in self.kinds.items() if known.count >= LOOP}

    def count(self, procedure: int, *steps: int) -> int:
        """How often these steps came."""
        total = 0
        for step in steps:
            if known := self._get((procedure, step)):
                total += known.count
        return total

    def last(self, procedure: int, *steps: int) -> int:
        """The last line of these steps; 0 if none came."""
        line = 0
        for step in steps:
            if (known := self._get((procedure, step))) and known.last > line:
                line = known.last
        return line

    def first(self, procedure: int, *steps: int) -> int:
        """The first line of these steps; 0 if none came."""
        return min((known.first for step in steps if (known := self._get((procedure, step)))), default=0)

    def _get(self, step: tuple[int, int]) -> Repeats | None:
        # An event is a tuple, and a plain one finds it: making events for each question costs more than the answer.
        return self.steps.get(step)  # type: ignore[call-overload,no-any-return]

    def done(self, procedures: Procedures, number: int) -> int:
        """The last line that proves a procedure completed; 0 if none does."""
        line = 0
        for other in procedures.proved_by[number]:
            if (known := self._get((other, COMPLETED))) and known.last > line:
                line = known.last
        return line

    def released(self, procedures: Procedures) -> int:
        """The last line that says that the UE left; 0 if none does."""
        return max(self.last(procedures.index[name], COMPLETED) for name in ("release", "deregistration"))

    def breaks(self, procedures: Procedures, due: frozenset[int], *, refusal: bool = False) -> list[Break]:
        """What is not finished, in the order of the lines that show it.

        Args:
            procedures: The table.
            due: Procedures whose absence counts where something forces them.
            refusal: Whether the script waits for a reject: then what the network refuses is no break, and a registration is.
        """
        question = self.changes, due, refusal
        if self._found[0] != question:
            before = (one for one in self.failed if not self.done(procedures, one.procedure))
            found = [*before, *self._breaks(procedures, due, refusal)]
            self._found = question, sorted({self._explained(procedures, one, refusal) for one in found})
        return list(self._found[1])

    def _explained(self, procedures: Procedures, found: Break, refusal: bool) -> Break:
        """For a step that never came, the first step after it that went wrong, if there is one: that explains it."""
        if found.how not in ("begun", "missing"):
            return found
        explaining = [
            Break(self._since(event, found.line), event.procedure, STEPS[event.step])
            for event, repeats in self.steps.items()
            if event.step in (REFUSED, FAILED)
            and repeats.last > max(found.line, self.done(procedures, event.procedure))
            and not (refusal and procedures.layers[event.procedure] == NAS)
        ]
        return min(explaining, default=found)

    def _since(self, event: Event, line: int) -> int:
        """The first line of a step after another line, as far as is known: only the first two and the last one are."""
        repeats = self.steps[event]
        return next((known for known in (repeats.first, repeats.second) if known > line), repeats.last)

    def _breaks(self, procedures: Procedures, due: frozenset[int], refusal: bool) -> Iterator[Break]:
        for number in {event.procedure for event in self.steps}:
            if refusal and procedures.layers[number] == NAS:
                continue
            done = self.done(procedures, number)
            bad = max(_BAD, key=lambda step: self.last(number, step))
            undone = max((self.last(other, COMPLETED) for other in procedures.undone_by[number]), default=0)
            if self.last(number, bad) > max(done, undone) and self.count(number, *_BAD) >= procedures.times[number]:
                yield Break(self._since(Event(number, bad), max(done, undone)), number, STEPS[bad])
            elif (begun := self.last(number, BEGUN)) > done and "begun" in procedures.words[number]:
                yield Break(begun, number, "begun")
            if self.count(number, RETRIED) >= LOOP and "retried" in procedures.words[number]:
                yield Break(self.first(number, RETRIED), number, "retried")
            yield from self._unanswered(procedures, number)
            forced = procedures.forces[number]
            begun = self.count(number, BEGUN) or not procedures.forces_if_begun[number]
            if done and begun and forced in due and not (refusal and procedures.layers[forced] == NAS):
                came = any(event.procedure == forced for event in self.steps)
                if not came and not self.done(procedures, forced):
                    yield Break(done, forced, "missing")
        if refusal and (registered := self.last(procedures.index["registration"], COMPLETED)):
            yield Break(registered, procedures.index["refusal"], "missing")

    def _unanswered(self, procedures: Procedures, number: int) -> Iterator[Break]:
        """A procedure that was asked for again and again and did not come before the link was lost, such as a handover."""
        wanted = procedures.asks_for[number]
        if wanted < 0:
            return
        asked = self.steps.get(Event(number, BEGUN))
        lost = max(self.last(procedures.index[name], FAILED, LOST) for name in ("radio link", "cell search"))
        if asked and asked.count >= 2 and self.done(procedures, wanted) < asked.first < lost:
            yield Break(asked.first, wanted, "missing")

    def troubles(self, *, refusal: bool = False) -> dict[tuple[int, int], Repeats]:
        """Trouble by layer and kind. If a refusal is expected, what the network answers is none."""
        return {kind: repeats for kind, repeats in self.kinds.items() if not (refusal and kind[0] == NAS)}
