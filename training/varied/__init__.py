"""Version 2 of the corpus of TM500-style logs: runs that have no habits in common, so that a model can learn none.

    python -m training.varied --out .cache/corpus/varied

The habits of a run (what its script prints, how records are worded, where the log begins and ends, which troubles come and
go) are drawn first, its label without looking at them, and then a cause that these habits can show. Nothing here is real
TM500 output: the grammar follows public excerpts, and all other wordings are invented around exact terms of 3GPP.
"""

from training.varied.generate import GeneratedRun, generate

__all__ = ["GeneratedRun", "generate"]
