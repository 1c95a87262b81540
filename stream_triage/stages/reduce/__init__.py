"""A whole run in, the lines worth reading out: those that other stages marked, and those that matter in any log.

`words` and `vocabulary` read words, `lines` what a line says on its own, `context` what it says within its log. `relevance`
turns both into a score, `blocks` finds what is read as a whole, `budget` says how many lines may be printed, and `select`
chooses by importance. `reducer` does all of it for the text of a run. `reference` compares with good runs, `explain` gives
reasons.
"""

from stream_triage.stages.reduce.budget import CHARACTERS_PER_TOKEN, NO_LIMIT, Budget, tokens_of
from stream_triage.stages.reduce.explain import Explainer
from stream_triage.stages.reduce.marks import Mark, ReducerProfile, Why
from stream_triage.stages.reduce.reducer import Reducer
from stream_triage.stages.reduce.reference import Difference, GoodRuns
from stream_triage.stages.reduce.relevance import ARRAYS, PROFILE, LogReader, Relevance, RelevanceProfile, ScoredLog
from stream_triage.stages.reduce.select import Chosen, Reduction

__all__ = [
    "ARRAYS",
    "CHARACTERS_PER_TOKEN",
    "NO_LIMIT",
    "PROFILE",
    "Budget",
    "Chosen",
    "Difference",
    "Explainer",
    "GoodRuns",
    "LogReader",
    "Mark",
    "Reducer",
    "ReducerProfile",
    "Reduction",
    "Relevance",
    "RelevanceProfile",
    "ScoredLog",
    "Why",
    "tokens_of",
]
