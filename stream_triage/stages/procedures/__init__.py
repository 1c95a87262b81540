"""Lines of all sources in, what became of each UE's procedures out: random access, connection, registration, session.

3GPP procedures force an order: a random access that was started must complete, a connection is followed by a registration,
a re-establishment succeeds or the UE loses its connection. So the outcome of a UE can be judged without having seen the
wording of its failure before. Which lines are which events, the dialects say (`stream_triage/dialects`).

| module | takes | gives |
|---|---|---|
| `course` | steps and trouble of one UE or node | what is not finished |
| `history` | the same, with the time of each | spans of trouble, last times, what was left unresolved |
| `trends` | values that are stated about one UE | the last ones beside the best ones |
| `statistics` | rows of statistics tables | largest, mean and latest values |
| `follow` | lines with their signals | the course of every UE, and of the nodes |
| `breaks` | courses of all sources | what broke first, failed UEs |
| `telling` | the state of one source | the lines that a reduction keeps of its procedures |
| `features` | courses of all sources | one vector of numbers, and the line behind each |
| `ues` | courses and histories of all sources | one vector for each UE that stands out |
| `ue_forest` | these vectors | what the UEs say about the run |
| `trees` | a vector | scores of boosted trees, and the share of each feature |
| `classifier` | all of these | the classifier that a bundle opens |
"""

from stream_triage.stages.procedures.features import FEATURES, GROUPS, Features, features, vector
from stream_triage.stages.procedures.follow import MAX_UES, Follower, ProcedureState

__all__ = ["FEATURES", "GROUPS", "MAX_UES", "Features", "Follower", "ProcedureState", "features", "vector"]
