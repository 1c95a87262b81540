"""Lines of one source in, what became of each UE's procedures out: random access, connection, registration, session.

3GPP procedures force an order: a random access that was started must complete, a connection is followed by a registration,
a re-establishment succeeds or the UE loses its connection. So the outcome of a UE can be judged without having seen the
wording of its failure before. This gives the failed UEs of a verdict, and the features of a classifier.

| module | takes | gives |
|---|---|---|
| `signals` | one masked line | the signal in it: a step, trouble of a layer, a position in a table |
| `tables` | rows of statistics tables | largest, mean and latest values |
| `follow` | lines with their signals | state of every UE, failed UEs |
| `features` | states of all sources | one vector of numbers, and the line behind each |
| `trees` | a vector | scores of boosted trees, and the share of each feature |
| `classifier` | all of these | the classifier that a bundle opens |

**Trouble** is a record that few passing runs show, whatever its numbers. Which records passing runs show is learned in
training. A list of error words written by hand did as well, but whoever writes it knows the failures that the test holds out
(training/LOG.md, 2026-11-25).
"""

from stream_triage.stages.procedures.classifier import Procedures
from stream_triage.stages.procedures.features import FEATURES, Features, features, vector
from stream_triage.stages.procedures.follow import (
    LOOP,
    MAX_KINDS,
    MAX_UES,
    Outcome,
    ProcedureState,
    failed_ues,
    follow,
)
from stream_triage.stages.procedures.signals import Signal, read_signal

__all__ = [
    "FEATURES",
    "LOOP",
    "MAX_KINDS",
    "MAX_UES",
    "Features",
    "Outcome",
    "ProcedureState",
    "Procedures",
    "Signal",
    "failed_ues",
    "features",
    "follow",
    "read_signal",
    "vector",
]
