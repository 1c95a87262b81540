"""Invented TM500-style logs with labels: from a scenario and, in failing runs, one root cause, to the lines of a log.

    python -m training.corpus --out .cache/corpus/tm500

Nothing here is real TM500 output. The grammar follows public excerpts; most wordings are made up around exact 3GPP words.
"""

from training.corpus.generate import GeneratedRun, generate

__all__ = ["GeneratedRun", "generate"]
