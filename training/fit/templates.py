"""Mines the template set of a bundle from the masked lines of its training runs."""

from collections.abc import Iterable

import numpy as np

from stream_triage.stages.normalise import MASKING_VERSION
from stream_triage.stages.template import Templates
from training.data import MaskedRuns

__all__ = ["fit_templates"]


def fit_templates(corpus: MaskedRuns, runs: Iterable[int]) -> Templates:
    """Frozen templates of the distinct lines of the given runs; lines without text are skipped, since they are no events."""
    used = np.unique(np.concatenate([corpus.distinct(run) for run in runs]))
    texts = (corpus.key_texts[i] for i in used.tolist())
    return Templates.fit((text for text in texts if text.strip()), masking_version=MASKING_VERSION)
