"""Words in, what they say out: failure, assertion, progress and so on."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.reduce.words import word_hashes

__all__ = ["FRAME_HASHES", "GROUPS", "LINE_HASH", "groups_of", "word_groups"]

# Words by what they say. A line can have words of several groups.
_VOCABULARY: Final[dict[str, str]] = {
    "fail": """
        error errors err fail fails failed failing failure failures fatal exception exceptions panic panicked abort aborted
        aborting crash crashed crashes segfault segmentation fault killed undefined unresolved unresolvable unexpected
        invalid
        illegal corrupt corrupted broken denied refused rejected reject unreachable violation violations unable cannot couldn
        conflict conflicts missing timeout timed unhandled uncaught throw throws thrown raised leak leaked deadlock oom
        overflow mismatch mismatched incompatible unsatisfied unmet unsupported forbidden unauthorized unrecognized
        unrecognised malformed nullpointer critical severe""",
    "assert": "assert asserts assertion assertionerror expect expected expects actual actually got but instead should",
    "trace": "traceback stacktrace caused backtrace stack trace at frame frames most recent call last",
    "pass": "ok pass passed passes passing success successful successfully succeeded done complete completed up date",
    "warn": "warn warning warnings deprecated deprecation deprecate note notice info debug hint",
    "negated": "no not without never none zero isn doesn won wasn didn",
    "exit": "exit exited exits exiting code status returned signal terminated",
    "fetch": """
        download downloading downloaded downloads get fetch fetching fetched install installing installed unpacking setting
        selecting preparing cloning clone cache cached caching restoring collecting using extracting resolving receiving
        compressing progress""",
    "summary": "tests test total run runs skipped failures errors ran summary results examples specs assertions suites",
}
GROUPS: Final = tuple(_VOCABULARY)


def _group_table() -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Sorted hashes of the vocabulary, and for each one bit per group, in up to 16 bits."""
    bits: dict[str, int] = {}
    for number, text in enumerate(_VOCABULARY.values()):
        for word in text.split():
            bits[word] = bits.get(word, 0) | 1 << number
    hashes = word_hashes(list(bits))
    order = np.argsort(hashes)
    return hashes[order], np.array(list(bits.values()), dtype=np.uint16)[order]


_GROUP_HASHES, _GROUP_BITS = _group_table()
LINE_HASH: Final = word_hashes(["line"])[0]
FRAME_HASHES: Final = word_hashes(["at", "caused", "suppressed", "from", "file"])


def word_groups(word: str) -> list[str]:
    """The groups of the vocabulary that a word is in.

    >>> word_groups("failures")
    ['fail', 'summary']
    """
    return [name for name, text in _VOCABULARY.items() if word.lower() in text.split()]


def groups_of(hashes: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """The groups of each word: bit i is set for the group `GROUPS[i]`."""
    places = np.minimum(np.searchsorted(_GROUP_HASHES, hashes), len(_GROUP_HASHES) - 1)
    return np.where(_GROUP_HASHES[places] == hashes, _GROUP_BITS[places], 0).astype(np.uint16)
