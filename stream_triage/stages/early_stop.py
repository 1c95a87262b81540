"""Terms that came so far in, whether the run is surely lost out; weights and limit from a bundle's early_stop files.

A passing run looks like a failing one before its good lines have come, so what is missing must not count: the weights are
not below zero, and only terms that came are added up. The score can then only grow. A limit that complete passing runs do
not reach is never reached on the way either, however the sources of a run are interleaved (training/early_stop.py).
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

    limit: float = Field(description="score above which a run is surely lost")
    false_stops: int = Field(description="passing runs above the limit, which comes from other runs")
    passing_runs: int = Field(description="passing runs that were not trained on")


class EarlyStop:
    """Weights of the V terms of the bundle's vocabulary."""

    def __init__(self, about: Limit, weights: NDArray[np.float32]) -> None:
        if weights.ndim != 1 or not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise BundleError("weights of the early stop are below zero or no numbers; rebuild the bundle")
        self.about = about
        self._weights = weights.astype(np.float64)

    @classmethod
    def from_files(cls, about: Any, arrays: Mapping[str, NDArray[Any]], terms: int) -> "EarlyStop":
        if "weights" not in arrays or arrays["weights"].shape != (terms,):
            raise BundleError(f"the early stop of this bundle does not fit its {terms} terms; rebuild the bundle")
        return cls(Limit.model_validate(about), arrays["weights"])

    def score(self, seen: Iterable[bytes | bytearray]) -> float:
        """Of the terms that came, a flag for each and for each source."""
        came = np.zeros(len(self._weights), dtype=bool)
        for flags in seen:
            came |= np.frombuffer(bytes(flags), dtype=np.uint8) > 0
        return float(self._weights[came].sum())

    def certain_to_fail(self, seen: Iterable[bytes | bytearray]) -> bool:
        return self.score(seen) > self.about.limit
