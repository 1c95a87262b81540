"""The text of a run and what the other stages marked in it in, the lines that people read out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_triage.ports import RunText
from stream_triage.stages.reduce.budget import NO_LIMIT, Budget
from stream_triage.stages.reduce.marks import Mark
from stream_triage.stages.reduce.relevance import Relevance, ScoredLog
from stream_triage.stages.reduce.select import Reduction, select

__all__ = ["Reducer"]

# Lines of a source that are read from its text together.
READ_LINES: Final = 4096


class Reducer:
    """Chooses the lines of a run that are worth reading."""

    def __init__(self, relevance: Relevance) -> None:
        self.relevance = relevance

    def score(self, text: RunText, sources: Iterable[str]) -> dict[str, ScoredLog]:
        """Reads the text of these sources once and scores their lines."""
        return {source: self._score(text, source) for source in sources}

    def _score(self, text: RunText, source: str) -> ScoredLog:
        reader = self.relevance.reader()
        for first in range(1, text.line_count(source) + 1, READ_LINES):
            reader.add(text.read(source, first, first + READ_LINES - 1))
        return reader.finish()

    def reduce(
        self,
        logs: Mapping[str, ScoredLog],
        marks: Sequence[Mark] = (),
        budget: Budget = NO_LIMIT,
        new: Mapping[str, NDArray[np.bool_]] | None = None,
    ) -> Reduction:
        """The most important lines within the budget, most important first; `new` names lines that good runs do not have."""
        return select(logs, marks, budget, new)
