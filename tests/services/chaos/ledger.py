"""What the harness sends goes in; what must come out of the sinks in the end is remembered here.

Every run belongs to the fault that sent it, so that a broken promise can be named with its fault.
"""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from tests.services.farm import TestRun

__all__ = ["MARK", "Fate", "Ledger", "Sent", "marked"]

MARK = re.compile(r"mark-(\d{6})-k")


class Fate(Enum):
    """What must become of a run."""

    SAME = "one verdict, equal to that of the same text from files"
    LINES = "a verdict, and each of its lines once: in a run of its key, or in a dead letter"
    FORGOTTEN = "nothing of it is left"


@dataclass
class Sent:
    """A run, as far as it was sent."""

    run: TestRun
    kind: str
    fate: Fate
    first: tuple[int, int] | None = None
    """Partition and offset of its first message."""
    forgotten_at: float = math.inf
    """When it was forgotten, in seconds since 1970."""


@dataclass
class Ledger:
    """Everything that was sent in one episode."""

    runs: dict[str, Sent] = field(default_factory=dict)
    marks: dict[int, str] = field(default_factory=dict)
    """By the number in a marked line, the fault that sent the line. It is in a run or in a dead letter, once."""
    of_forgotten: set[int] = field(default_factory=set)
    """Marks of lines that came late for forgotten runs. They are in no run, and need not be in a dead letter."""
    floods: dict[str, set[int]] = field(default_factory=dict)
    """By key, marks of rejected messages that are so many that a dead letter may sum them up."""
    secrets: dict[str, str] = field(default_factory=dict)
    """By text that must be redacted, the form that it was sent in."""

    def add(self, run: TestRun, kind: str, fate: Fate) -> TestRun:
        self.runs[run.run_id] = Sent(run, kind, fate)
        return run

    def forgotten(self, run_id: str) -> None:
        """`forget` has removed this run."""
        sent = self.runs[run_id]
        sent.fate, sent.forgotten_at = Fate.FORGOTTEN, time.time()

    def kind_of(self, run_id: str) -> str:
        """The fault that sent a run, or the run with whose key another one began: `key@offset`."""
        key = run_id.rpartition("@")[0]
        sent = self.runs.get(run_id) or self.runs.get(key)
        return sent.kind if sent else run_id.partition("/")[0]

    def with_fate(self, *fates: Fate) -> list[Sent]:
        return [sent for sent in self.runs.values() if sent.fate in fates]

    def mark(self, lines: Sequence[bytes], kind: str) -> list[bytes]:
        """The lines, each with a number that no other line of the episode has."""
        numbered = []
        for line in lines:
            number = len(self.marks)
            self.marks[number] = kind
            numbered.append(b"%s mark-%06d-k\n" % (line.rstrip(), number))
        return numbered


def marked(text: str) -> list[int]:
    """The numbers of the marked lines in a text."""
    return [int(number) for number in MARK.findall(text)]
