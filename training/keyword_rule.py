"""The simplest baseline: the layer named in the last line with an error word is the failed layer; no such line is a pass.

It is what a person does with grep. The words are general ones and were not chosen by looking at scores.
"""

import re
from collections.abc import Mapping

__all__ = ["keyword_label"]

ERROR_WORDS = re.compile(r"(?i)\b(?:assert\w*|error|fail\w*|reject\w*|abort\w*|fatal|exit\w*|refused|timed? ?out|expired)\b")
LAYER_WORDS = (
    ("L3", re.compile(r"(?i)\b(?:nr_)?(?:rrc|nas)\b|registration|pdu session")),
    ("L2", re.compile(r"(?i)\b(?:nr_)?(?:mac|rlc|pdcp|sdap)\b")),
    ("L0_L1", re.compile(r"(?i)\b(?:nr_)?(?:phy|l1|hw|ru|prach|ssb)\b")),
    ("core_other", re.compile(r"(?i)\b(?:ngap|f1ap|e1ap|sctp|gtpu|amf|config)\b")),
)


def keyword_label(sources: Mapping[str, bytes], passing_label: str) -> str:
    """Predicts the label of one run from its raw text; sources are read in the order of their names."""
    label = passing_label
    for _, data in sorted(sources.items()):
        for line in data.decode(errors="replace").split("\n"):
            if ERROR_WORDS.search(line):
                # A line with an error word but without a layer leaves the label as it is.
                label = next((name for name, words in LAYER_WORDS if words.search(line)), label)
    return label
