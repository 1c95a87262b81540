"""Terms that came so far in; whether the run is certain to fail out.

A passing run looks like a failing one until its good lines come, so missing terms must not count: weights are never below
zero, and only terms that came are added up. The score can then only grow. A limit that complete passing runs do not exceed
is not exceeded on the way either, however the sources of a run are interleaved. Scores that learn from the beginnings of
runs find failures sooner, but mistake how far a run has come for how it ends (training/LOG.md, 2026-11-25, early stop).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from stream_triage.errors import BundleError

__all__ = ["EARLY_STOP", "WEIGHTS", "EarlyStop", "Limit"]

EARLY_STOP: Final = "early_stop.json"
WEIGHTS: Final = "early_stop.npz"


class Limit(BaseModel):
    """`early_stop.json` of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: float = Field(description="score above which a run is certain to fail")
    false_stops: int = Field(description="passing runs above a limit that was set without them")
    passing_runs: int = Field(description="passing runs that were not trained on")


class EarlyStop:
    """The weights of a bundle, shape (V,): one for each term of its vocabulary.

    Raises:
        BundleError: A weight is negative or not finite, so that a score could fall.
    """

    def __init__(self, about: Limit, weights: NDArray[np.float32]) -> None:
        if weights.ndim != 1 or not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise BundleError("the early stop has weights that are negative or not finite; rebuild the bundle")
        self.about = about
        self._weights = weights.astype(np.float64)

    @classmethod
    def from_files(cls, about: Any, arrays: Mapping[str, NDArray[Any]], terms: int) -> "EarlyStop":
        """From `early_stop.json` and `early_stop.npz` of a bundle with so many terms."""
        if "weights" not in arrays or arrays["weights"].shape != (terms,):
            raise BundleError(f"the early stop of this bundle does not fit its {terms} terms; rebuild the bundle")
        return cls(Limit.model_validate(about), arrays["weights"])

    def score(self, seen: Iterable[bytes | bytearray]) -> float:
        """Sum of the weights of the terms that came; `seen` has, for each source, a byte for each term, 1 if it came."""
        came = np.zeros(len(self._weights), dtype=bool)
        for flags in seen:
            came |= np.frombuffer(bytes(flags), dtype=np.uint8) > 0
        return float(self._weights[came].sum())

    def certain_to_fail(self, seen: Iterable[bytes | bytearray]) -> bool:
        """Whether the score of these terms is above the limit."""
        return self.score(seen) > self.about.limit
