"""Faults and broken promises go in; the figures come out, by kind of fault."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tests.services.chaos.registry import FAULTS

__all__ = ["PROMISES", "Broken", "Report"]

PROMISES = {
    "lost": "a verdict or a line is missing",
    "doubled": "a verdict, a line or a dead letter is there twice, or a run that nobody sent",
    "different": "a verdict is not that of the same text from files",
    "resurrected": "a forgotten run is back",
    "leaked": "a secret is somewhere else than in the dead letters",
    "passed over": "a committed position lies after the first message of a run without a verdict",
    "exits": "a worker or a command ended with a status that is not documented for it",
    "slow": "something did not happen in its time",
    "failed": "the harness could not inject the fault",
}


SHOWN_OF_A_KIND = 25


class Broken(NamedTuple):
    """A promise that was broken, by which kind of fault, and what exactly happened."""

    promise: str
    kind: str
    what: str


class Report:
    """The figures of all faults so far."""

    def __init__(self, progress: Callable[[str], None] = lambda text: None) -> None:
        """`progress` gets a line after each fault, and one for each promise that was broken by then."""
        self._progress = progress
        self._shown = 0
        self._often: Counter[tuple[str, ...]] = Counter()
        self.seconds: dict[str, list[float]] = {}
        """By kind of fault, how long each took."""
        self.runs = 0
        self.broken: list[Broken] = []

    def done(self, kind: str, seconds: float) -> None:
        """Notes a fault that was injected."""
        self.seconds.setdefault(kind, []).append(seconds)
        self._progress(f"{self.faults}: {kind}, {seconds:.1f} s")
        self.show_broken()

    def show_broken(self) -> None:
        """Reports promises that were broken since the last time, each kind of them a few times at most."""
        for broken in self.broken[self._shown :]:
            self._often[broken[:2]] += 1
            if self._often[broken[:2]] <= SHOWN_OF_A_KIND:
                self._progress(f"    {broken.promise}, {broken.kind}: {broken.what}")
        self._shown = len(self.broken)

    @property
    def faults(self) -> int:
        """How many faults were injected."""
        return sum(map(len, self.seconds.values()))

    @property
    def summary(self) -> str:
        """One line, as in `lost 0, doubled 0, …`."""
        counts = Counter(broken.promise for broken in self.broken)
        return ", ".join(f"{promise} {counts[promise]}" for promise in PROMISES)

    def table(self) -> str:
        """A line for each kind of fault: how many there were, how long one took, and which promises were broken."""
        by_kind: dict[str, Counter[str]] = {}
        for broken in self.broken:
            by_kind.setdefault(broken.kind, Counter())[broken.promise] += 1
        lines = ["faults  mean s  kind                    broken promises"]
        for kind in [*FAULTS, *(kind for kind in by_kind if kind not in FAULTS)]:
            seconds = self.seconds.get(kind, [])
            if not seconds and kind not in by_kind:
                continue
            mean = sum(seconds) / max(1, len(seconds))
            what = ", ".join(f"{promise} {count}" for promise, count in by_kind.get(kind, {}).items())
            lines.append(f"{len(seconds):6d}  {mean:6.1f}  {kind:22s}  {what or 'none'}")
        return "\n".join(lines)
