"""Small runs of template keys for tests of the detectors and the next-key network."""

from stream_triage.stages.detect import BLANK, NEW
from stream_triage.stages.template import DrainSettings, Templates

WORDS = ("boot", "attach", "send", "receive", "measure", "report", "release", "detach", "stop", "crash")
TEMPLATES = Templates([f"{word} done" for word in WORDS], [1] * len(WORDS), DrainSettings())


class Runs:
    """Runs of one source as template indexes, in place of KeyedRuns."""

    def __init__(self, runs: list[list[int]]) -> None:
        self._runs = runs

    def run(self, index: int):
        keys = self._runs[index]
        return {"": (keys, [f"new:{i}" for i, key in enumerate(keys) if key == NEW])}


def passing_runs(count: int) -> Runs:
    """Between a beginning and an end, rounds of the same four keys; runs differ in the number of rounds."""
    return Runs([[0, 1, *[2, 3, BLANK, 4, 5] * (2 + i % 5), 6, 7, 8] for i in range(count)])
