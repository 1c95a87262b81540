"""Invents TM500-style logs with labels.

A log is made from a scenario script and, in failing runs, one root cause:

    python -m training.corpus --out .cache/corpus/tm500

Nothing here is real TM500 output. The grammar follows public excerpts; most wordings are invented around exact terms of
3GPP. The bytes of the corpus are frozen by a test, since published scores refer to them: every change to a wording or to the
order of random draws makes another corpus.
"""

from training.corpus.generate import GeneratedRun, generate

__all__ = ["GeneratedRun", "generate"]
