"""Template keys in, an anomaly score and its reasons out: the plain detector, which is trained on passing runs alone.

It compares a run with passing runs: keys that none of them has (`new`), keys that nearly all of them have (`missing`), the
number of lines (`length`) and the last line of each source (`end`). Counting of this kind is the baseline that learned
detectors have to beat (Landauer et al., "A Critical Review of Common Log Data Sets Used for Evaluation of Sequence-based
Anomaly Detection Techniques").

If the next-key network has read the run too, its surprises are added: known keys out of order (`order`), and ends that it
did not expect, which replace the plain comparison of ends.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_triage.errors import BundleError
from stream_triage.records import Surprise

__all__ = ["BLANK", "NEW", "DetectState", "Detection", "Detector", "DetectorProfile", "Finding", "KeyOrder"]

NEW: Final = -1
"""Key index of a line that matches no template."""
BLANK: Final = -2
"""Key index of a line without text, which is no event."""

# Distinct keys outside the bundle's templates that are remembered per source. Later ones are ignored, to bound the state.
MAX_NEW_KEYS: Final = 256


class DetectorProfile(BaseModel):
    """What passing runs show; `detector.json` of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    passing_runs: int
    known: tuple[str, ...] = Field(description="keys that any passing run shows")
    expected: tuple[str, ...] = Field(
        description="keys that at least `expected_share` of the passing runs show, in the order in which they come"
    )
    expected_share: float
    ends: tuple[str, ...] = Field(description="keys of the last lines of passing runs' sources")
    lines_low: int = Field(description="shortest passing run, in lines with text")
    lines_high: int
    threshold: float = Field(gt=0, description="raw score above which a run is anomalous")
    target_false_alarm_rate: float = Field(
        alias="false_alarm_rate", description="share of unseen passing runs that the threshold was set for"
    )
    false_alarm_interval: tuple[float, float] = Field(
        default=(0.0, 1.0),
        description="95 % interval of the measured share of unseen passing runs above the threshold, by cross-fitting",
    )


class Finding(NamedTuple):
    """One reason why a run is unusual.

    It has `lines` lines, the first of them at `source` and `number`; what is missing and what is about the whole run has no
    line. From the network come `rank`, how many keys were likelier than the one that came, and `expected`, the likeliest of
    them ("" is the end of the source). An `order` without a key is about the whole run: the mean surprisal of its lines is
    higher than in passing runs.
    """

    kind: str
    score: float
    key: str
    source: str = ""
    number: int | None = None
    lines: int = 0
    rank: int | None = None
    expected: tuple[str, ...] = ()


class KeyOrder(Protocol):
    """What a network that has read the run says about the order of its keys."""

    @property
    def mean_surprisal(self) -> float:
        """Of all keys and ends, in bits."""

    @property
    def surprisal_high(self) -> float:
        """Mean surprisal that passing runs hardly ever exceed, in bits."""

    @property
    def events(self) -> int:
        """Number of keys and ends that were judged."""

    @property
    def surprises(self) -> Sequence[Surprise]:
        """The strongest ones, and all ends among them."""

    @property
    def count(self) -> int:
        """Number of surprises, including those that are not in `surprises`."""


class Detection(NamedTuple):
    """How unusual a run is, and why.

    `findings` are sorted by score, missing keys of equal score in the order in which they should have come.
    """

    raw_score: float
    """Sum of the scores of all findings."""
    score: float
    """0 to 1; 0.5 is the threshold."""
    anomalous: bool
    findings: list[Finding]


class DetectState:
    """Of one source: first line and count of each template (arrays of shape (K,)), and of the first new keys."""

    __slots__ = ("counts", "first_lines", "last_key", "last_number", "lines", "new_keys")

    def __init__(self, templates: int) -> None:
        self.counts: NDArray[np.uint32] = np.zeros(templates, dtype=np.uint32)
        self.first_lines: NDArray[np.uint32] = np.zeros(templates, dtype=np.uint32)
        self.new_keys: dict[str, list[int]] = {}
        """Key to its first line and count."""
        self.lines = 0
        """Lines with text."""
        self.last_key = ""
        self.last_number: int | None = None

    @property
    def known_lines(self) -> int:
        """Lines that match a template of the bundle."""
        return int(self.counts.sum())


class Detector:
    """Compares runs with a profile of passing runs; `keys` are the K template keys of the bundle, by index.

    Raises:
        BundleError: The profile names a key that is not among them.
    """

    def __init__(self, keys: Sequence[str], profile: DetectorProfile) -> None:
        index = {key: i for i, key in enumerate(keys)}
        stray = [key for key in (*profile.known, *profile.expected) if key not in index]
        if stray:
            raise BundleError(
                f"detector.json of this bundle names key {stray[0]}, which templates.json does not have; rebuild the bundle"
            )
        self.profile = profile
        self._keys = tuple(keys)
        self._never_seen = np.ones(len(keys), dtype=bool)
        self._never_seen[[index[key] for key in profile.known]] = False
        self._expected = np.asarray([index[key] for key in profile.expected], dtype=np.intp)
        self._ends = frozenset(profile.ends)

    @classmethod
    def from_file(cls, keys: Sequence[str], profile: Any) -> "Detector":
        """From `detector.json` of a bundle."""
        try:
            return cls(keys, DetectorProfile.model_validate(profile))
        except ValidationError as error:
            raise BundleError(
                f"detector.json of this bundle has {error.error_count()} invalid field(s); rebuild the bundle"
            ) from None

    def start(self) -> DetectState:
        """The state of a source before its first line."""
        return DetectState(len(self._keys))

    def update(self, state: DetectState, indexes: Sequence[int], new_keys: Sequence[str], first_number: int) -> None:
        """Takes the next lines of a source: the template index of each (or `NEW`, `BLANK`), and the keys of the new ones."""
        line_indexes = np.asarray(indexes, dtype=np.int64)
        events = line_indexes[line_indexes != BLANK]
        state.lines += len(events)
        values, positions, counts = np.unique(line_indexes, return_index=True, return_counts=True)
        for value, position, count in zip(values.tolist(), positions.tolist(), counts.tolist(), strict=True):
            if value >= 0:
                state.counts[value] += count
                if not state.first_lines[value]:
                    state.first_lines[value] = first_number + position
        if new_keys:
            self._update_new(state, new_keys, (np.flatnonzero(line_indexes == NEW) + first_number).tolist())
        if len(events):
            last = int(events[-1])
            state.last_key = self._keys[last] if last >= 0 else new_keys[-1]
            state.last_number = first_number + int(np.flatnonzero(line_indexes != BLANK)[-1])

    def _update_new(self, state: DetectState, new_keys: Sequence[str], numbers: Sequence[int]) -> None:
        for key, number in zip(new_keys, numbers, strict=True):
            if key in state.new_keys:
                state.new_keys[key][1] += 1
            elif len(state.new_keys) < MAX_NEW_KEYS:
                state.new_keys[key] = [number, 1]

    def finish(self, states: Mapping[str, DetectState], order: KeyOrder | None = None) -> Detection:
        """Compares the run so far with passing runs. Sources are combined in the order of their names.

        With an `order`, it alone judges the ends; it says nothing about them while the run is open.
        """
        in_order = self._ends_differ(states) if order is None else _surprises(states, order)
        findings = [*self._new(states), *self._length(states), *in_order, *self._missing(states)]
        findings.sort(key=lambda finding: -finding.score)
        raw = sum(finding.score for finding in findings)
        return Detection(raw, raw / (raw + self.profile.threshold), raw > self.profile.threshold, findings)

    def absent(self, states: Mapping[str, DetectState]) -> list[str]:
        """Keys that nearly all passing runs have and none of these sources has, in the order in which they usually come."""
        came = np.zeros(len(self._keys), dtype=bool)
        for state in states.values():
            came |= state.counts > 0
        return [self._keys[i] for i in self._expected.tolist() if not came[i]]

    def _missing(self, states: Mapping[str, DetectState]) -> list[Finding]:
        return _shared("missing", [Finding("", 0, key) for key in self.absent(states)])

    def _new(self, states: Mapping[str, DetectState]) -> list[Finding]:
        """Each key once, at the first source that has it."""
        findings: dict[str, Finding] = {}
        for source, state in sorted(states.items()):
            never = np.flatnonzero(self._never_seen & (state.counts > 0)).tolist()
            lines = {self._keys[i]: (int(state.first_lines[i]), int(state.counts[i])) for i in never}
            lines |= {key: (number, count) for key, (number, count) in state.new_keys.items()}
            for key, (number, count) in lines.items():
                earlier = findings.get(key)
                findings[key] = (
                    Finding("", 0, key, source, number, count)
                    if earlier is None
                    else earlier._replace(lines=earlier.lines + count)
                )
        return _shared("new", list(findings.values()))

    def _length(self, states: Mapping[str, DetectState]) -> list[Finding]:
        lines = sum(state.lines for state in states.values())
        low, high = self.profile.lines_low, self.profile.lines_high
        beyond = (low + 1) / (lines + 1) if lines < low else (lines + 1) / (high + 1)
        return [Finding("length", math.log2(beyond), "", lines=lines)] if beyond > 1 else []

    def _ends_differ(self, states: Mapping[str, DetectState]) -> list[Finding]:
        differing = [
            Finding("", 0, state.last_key, source, state.last_number)
            for source, state in sorted(states.items())
            if state.last_key not in self._ends
        ]
        return _shared("end", differing)


def _surprises(states: Mapping[str, DetectState], order: KeyOrder) -> list[Finding]:
    ends, lines = [], []
    for surprise in order.surprises:
        finding = Finding("", 0, surprise.key, surprise.source, surprise.number, 1, surprise.rank, surprise.expected)
        if surprise.end:
            # The network may not know the key of the last line.
            ends.append(finding._replace(key=states[surprise.source].last_key, lines=0))
        else:
            lines.append(finding)
    beyond = order.mean_surprisal / order.surprisal_high
    whole = [Finding("order", math.log2(beyond), "", lines=order.events)] if beyond > 1 else []
    return [*whole, *_shared("order", lines, order.count - len(ends)), *_shared("end", ends)]


def _shared(kind: str, findings: list[Finding], count: int | None = None) -> list[Finding]:
    """Divides the score of a kind among its findings.

    Together n findings score log2(1 + n): the first one says most, and hundreds say little more. If only the strongest of
    `count` findings are given, they share the score of all.
    """
    score = math.log2(1 + (count or len(findings))) / len(findings) if findings else 0.0
    return [finding._replace(kind=kind, score=score) for finding in findings]
