"""Turns masked runs into sequences of template keys, which the detectors and the next-key network learn from."""

from collections.abc import Mapping, Sequence

import numpy as np

from stream_triage.stages.detect import BLANK, NEW
from stream_triage.stages.template import Templates
from training.data import MaskedRuns

__all__ = ["KeyedRun", "KeyedRuns"]

KeyedRun = Mapping[str, tuple[Sequence[int], Sequence[str]]]
"""For each source, the template index of each line (or NEW, BLANK), and the keys of the NEW lines in their order."""


class KeyedRuns:
    """Runs as template indexes.

    Attributes:
        key_of_line: Template index (or NEW, BLANK) of each distinct masked line of the corpus.
        new_key_of_line: Key of each distinct line that matches no template, "" for the others.
    """

    def __init__(self, corpus: MaskedRuns, templates: Templates) -> None:
        keys = [templates.match(text) if text.strip() else BLANK for text in corpus.key_texts]
        self.key_of_line = np.array(keys, dtype=np.int32)
        self.new_key_of_line = [
            templates.new_key(text) if key == NEW else "" for key, text in zip(keys, corpus.key_texts, strict=True)
        ]
        self._corpus = corpus

    def run(self, index: int) -> KeyedRun:
        """The keys of one run of the corpus."""
        keyed = {}
        for source, lines in self._corpus.runs[index].items():
            keys = self.key_of_line[lines]
            keyed[source] = (keys.tolist(), [self.new_key_of_line[i] for i in lines[keys == NEW].tolist()])
        return keyed

    def expected_terms(
        self,
        passing: Sequence[int],
        expected: Sequence[str],
        templates: Templates,
        terms_of_line: Sequence[Sequence[int]],
    ) -> dict[str, list[int]]:
        """Terms that the lines of each expected key contribute in the passing runs.

        A verdict names the missing keys among these, for terms whose absence speaks against a pass.
        """
        key_of_index = {templates.keys.index(key): key for key in expected}
        terms: dict[str, set[int]] = {key: set() for key in expected}
        for run in passing:
            for line in self._corpus.distinct(run).tolist():
                key = key_of_index.get(int(self.key_of_line[line]))
                if key:
                    terms[key].update(terms_of_line[line])
        return {key: sorted(indexes) for key, indexes in terms.items()}
