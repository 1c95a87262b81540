"""Marked lines in; the lines that people read, with their numbers, out.

A simple reduction in the manner of LogSieve: lines that decided, anomalies and matches of rules, each with the lines around
it; lines that passing runs rarely show; and the first line of each distinct template while there is room.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_triage.errors import BundleError

__all__ = ["MAX_LINES", "Mark", "Reducer", "ReducerProfile", "Why"]

Why = Literal["evidence", "rule", "anomaly", "rare", "context", "template"]
# From the most to the least important; what is beyond `max_lines` is left out from the end.
PRIORITY: Final[tuple[Why, ...]] = ("evidence", "rule", "anomaly", "rare", "context", "template")
CONTEXT_LINES: Final = 2
MAX_LINES: Final = 200
# Share of the lines that may be first lines of templates, which only show what kinds of lines there are.
TEMPLATE_SHARE: Final = 0.2


class Mark(NamedTuple):
    """A line worth reading, why, and how many lines of its template the source has."""

    source: str
    number: int
    why: Why
    repeats: int = 1


class ReducerProfile(BaseModel):
    """`reducer.json` of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rare: tuple[str, ...] = Field(description="keys that fewer than `rare_share` of the passing runs show")
    rare_share: float


class Reducer:
    """Chooses the lines worth reading, at most `max_lines`, with `context_lines` on each side of important ones."""

    def __init__(self, profile: ReducerProfile, context_lines: int = CONTEXT_LINES, max_lines: int = MAX_LINES) -> None:
        self._rare = frozenset(profile.rare)
        self._context_lines = context_lines
        self._max_lines = max_lines

    @classmethod
    def from_file(cls, profile: Any, max_lines: int = MAX_LINES) -> "Reducer":
        """From `reducer.json` of a bundle."""
        try:
            return cls(ReducerProfile.model_validate(profile), max_lines=max_lines)
        except ValidationError as error:
            raise BundleError(
                f"reducer.json of this bundle has {error.error_count()} invalid field(s); rebuild the bundle"
            ) from None

    def why(self, key: str) -> Why:
        """Why the first line of a template is worth reading, if nothing else marks it."""
        return "rare" if key in self._rare or key.startswith("new:") else "template"

    def reduce(self, marks: Iterable[Mark], lines: Mapping[str, int]) -> list[Mark]:
        """The chosen marks, in the order of source and number; `lines` is the number of lines of each source.

        Of several marks of one line the most important one stays, with the largest `repeats` of all.
        """
        by_reason: dict[Why, list[Mark]] = defaultdict(list)
        for mark in marks:
            by_reason[mark.why].append(mark)
        by_reason["context"] += self._context(by_reason, lines)
        chosen: dict[tuple[str, int], Mark] = {}
        for why in PRIORITY:
            room = self._max_lines if why != "template" else len(chosen) + int(TEMPLATE_SHARE * self._max_lines)
            for mark in by_reason[why]:
                line = (mark.source, mark.number)
                if line in chosen:
                    earlier = chosen[line]
                    chosen[line] = earlier._replace(repeats=max(earlier.repeats, mark.repeats))
                elif len(chosen) < min(room, self._max_lines):
                    chosen[line] = mark
        return [chosen[line] for line in sorted(chosen)]

    def _context(self, marks: Mapping[Why, list[Mark]], lines: Mapping[str, int]) -> list[Mark]:
        around = []
        for why in PRIORITY[: PRIORITY.index("rare")]:
            for mark in marks.get(why, ()):
                first = max(1, mark.number - self._context_lines)
                last = min(lines[mark.source], mark.number + self._context_lines)
                around += [Mark(mark.source, number, "context") for number in range(first, last + 1)]
        return around
