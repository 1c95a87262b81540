"""What flows between the parts: chunks in, verdicts out. All frozen; `Verdict` has a published, versioned JSON schema."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "VERDICT_SCHEMA_VERSION",
    "Anomaly",
    "Chunk",
    "ClosedRun",
    "DeadLetter",
    "Event",
    "Evidence",
    "Explanation",
    "FailedUe",
    "LineShare",
    "Problem",
    "Record",
    "ReducedLine",
    "Repairs",
    "RunEnd",
    "SourceSummary",
    "Surprise",
    "Tick",
    "Ues",
    "Verdict",
    "place_of",
    "verdict_version",
    "version_beside",
]

VERDICT_SCHEMA_VERSION: Literal[1] = 1
TRIAGE_SHIFT = 48


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of one run's source, cut anywhere. `headers` count once per run, the first ones that come."""

    run_id: str
    data: bytes
    source: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """All of a run has been seen; its verdict is due. `started` is the lowest time its messages carry, where they do."""

    run_id: str
    started: datetime | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Input that could not be read, or not whole.

    With a `run_id` the run goes on with what could be read and its verdict says so; without, nothing of `path` was used.
    `error` is false for what was passed over as expected (a picture in a folder of logs).
    """

    path: str
    reason: str
    run_id: str | None = None
    source: str = ""
    error: bool = True


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed and nothing came: a chance to close idle runs and to write what waits."""


Event = Chunk | RunEnd | Problem | Tick


class Record(NamedTuple):
    """One message of a topic, as it came. The timestamp is in milliseconds since 1970, as the broker keeps it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class ClosedRun(NamedTuple):
    """A run of a partition that is over: all its messages lie between these offsets, both included.

    `key` is that of its messages; `run_id` is the same unless the key was used before. A run that was `cut` at a limit goes
    on as another. Of the last message, `pieces` counts those up to its end, where others follow: the message is cut before
    lines that start a run and behind lines that end one.
    """

    key: str
    run_id: str
    first: int
    last: int
    cut: bool = False
    pieces: int | None = None

    @property
    def end(self) -> tuple[int, float]:
        """By it runs of one key are in order."""
        return self.last, math.inf if self.pieces is None else self.pieces


class DeadLetter(NamedTuple):
    """What was refused, as it came, and why: a message of a topic, or a document that a server would not take.

    `origin` tells where it was to be found or to go: `topic/partition/offset`, or `index/id/version`. A run that could not
    be judged is named only: its messages lie in the topic.
    """

    kind: Literal["message", "document", "run"]
    reason: str
    origin: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class LineShare(NamedTuple):
    """What one line adds to the log-odds of a label against its rival."""

    source: str
    number: int
    weight: float


class Explanation(NamedTuple):
    """Of one classifier: `sum(lines) + sum(missing) + rest` is the log-odds of the label against its rival.

    `missing` has the keys that never came.
    """

    lines: list[LineShare]
    missing: dict[str, float]
    rest: float


class Surprise(NamedTuple):
    """A line that should not have come where it did, or, with `end`, a source that should have gone on behind it.

    `rank` keys were likelier, `expected` are the likeliest of them ("" stands for the end of the source); `key` is that of
    the line. `surprisal` is in bits.
    """

    source: str
    number: int | None
    key: str
    rank: int
    expected: tuple[str, ...]
    surprisal: float
    end: bool


# Test case name of the runs by which `stream-triage canary` proves the path alive; neither statistics nor alerts count them.
CANARY: Final = "canary"
# What harnesses write into test.case.result.status, in small letters.
_SAID_PASS: Final = frozenset(("pass", "passed", "success", "successful", "ok"))
_SAID_FAIL: Final = frozenset(("fail", "failed", "failure", "error", "broken"))


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def place_of(source: str, number: int | None) -> str:
    """`du:104`; less of it where a run has one source without a name, or a thing no line."""
    return ":".join(part for part in (source, "" if number is None else str(number)) if part)


class Evidence(_Record):
    """One reason for the label. A rule that speaks against it has a weight below zero; other items speak for it."""

    kind: Literal["line", "missing", "rule"]
    weight: float = Field(description="share of the label's log-odds against the passing label (or against the runner-up)")
    source: str = ""
    number: int | None = Field(default=None, description="line number in the source, from 1; none for what is missing")
    text: str = Field(default="", description="the redacted line, or the template that never came")
    key: str = Field(
        default="",
        description="template key of the line (`new:…` if it matches no template), or of the line that never came",
    )
    rule: str = Field(default="", description="name of the hand-written rule")
    label: str = Field(default="", description="label that the rule speaks for")
    note: str = Field(default="", description="what whoever wrote the rule wants to be said with it")

    def words(self) -> str:
        """As pages, alerts and JUnit files show it: place and line, or that it never came. Log text is not made safe."""
        if self.kind == "missing":
            return f"never came: {self.text}"
        rule = f"rule {self.rule} for {self.label}: " if self.rule else ""
        note = f" ({self.note})" if self.note else ""
        return f"{place_of(self.source, self.number)}  {rule}{self.text}{note}".strip()


class Anomaly(_Record):
    """One way in which the run differs from passing runs."""

    kind: Literal["new", "missing", "length", "order", "end"]
    score: float = Field(description="what it adds to the anomaly score before scaling")
    source: str = ""
    number: int | None = None
    key: str = ""
    text: str = ""
    count: int = Field(default=1, description="lines of this kind")
    expected: str = Field(default="", description="what passing runs show instead")
    expected_keys: tuple[str, ...] = Field(
        default=(), description="the likeliest keys in this place, most likely first; an empty one is the end of the source"
    )
    rank: int | None = Field(default=None, description="how many keys were likelier in this place than the one that came")


class ReducedLine(_Record):
    """One line worth reading, with its number in its source."""

    source: str
    number: int
    text: str
    why: Literal["evidence", "anomaly", "rule", "rare", "context", "template"]
    repeats: int = Field(default=1, description="lines with the same template in this source")


class Repairs(_Record):
    """Damage in one source that was mended visibly. All zero for clean input."""

    invalid_bytes: int = Field(default=0, description="byte sequences that are not UTF-8, shown as U+FFFD")
    nul_bytes: int = Field(default=0, description="NUL bytes, shown as U+2400")
    cut_lines: int = Field(default=0, description="lines cut at the length limit")
    dropped_bytes: int = Field(default=0, description="bytes behind the cut")
    problems: tuple[str, ...] = Field(default=(), description="other damage, such as an archive that ends early")

    @property
    def any(self) -> bool:
        """Whether anything was repaired or reported."""
        return bool(self.invalid_bytes or self.nul_bytes or self.cut_lines or self.dropped_bytes or self.problems)


class SourceSummary(_Record):
    """What was read of one source, and what was done to its lines."""

    source: str
    lines: int
    bytes: int
    known_lines: int = Field(description="lines whose template the bundle knows")
    folded_lines: int = Field(description="lines the classifier read")
    redactions: dict[str, int] = Field(default_factory=dict)
    repairs: Repairs = Repairs()


class FailedUe(_Record):
    """A UE that did not get where it should, with the line that shows it."""

    ue: int = Field(description="UE Id as the log numbers it")
    reason: str
    source: str
    number: int = Field(description="line in its source, from 1")
    text: str


class Ues(_Record):
    """What became of the UEs of a run; information beside the label, which it does not change."""

    seen: int
    failed: int
    first: tuple[FailedUe, ...] = Field(default=(), description="the failed ones by number, up to 50")


class Verdict(_Record):
    """What is said about one run. Same text, same bundle, same rules: same verdict, however the bytes came."""

    schema_version: Literal[1] = VERDICT_SCHEMA_VERSION
    run_id: str
    version: int = Field(description="2 x bytes consumed + 1 if final; a higher one replaces a lower one")
    final: bool
    label: str
    passed: bool
    confidence: float = Field(description="calibrated probability of the label, 0 to 1")
    probabilities: dict[str, float]
    needs_review: bool
    review_reasons: tuple[str, ...] = ()
    cause: Literal["product", "environment", "script"] | None = None
    anomaly_score: float = Field(description="0 to 1; 0.5 is the bundle's threshold")
    anomalous: bool
    anomalies: tuple[Anomaly, ...] = Field(default=(), description="the strongest ones")
    anomaly_count: int = Field(default=0, description="how many were found in all")
    evidence: tuple[Evidence, ...] = ()
    reduction: tuple[ReducedLine, ...] = ()
    ues: Ues | None = Field(default=None, description="none where the bundle follows no UEs, or the log names none")
    sources: tuple[SourceSummary, ...] = ()
    headers: dict[str, str] = Field(default_factory=dict)
    bundle: str
    bundle_version: str
    time: datetime | None = Field(
        default=None, description="when the verdict was given; set at the edge, not by the pipeline"
    )
    team: str | None = Field(default=None, description="who owns what failed, by the routes; set at the edge")
    lost: bool = Field(default=False, description="of a provisional verdict: the run is surely lost, by the bundle's limits")
    started: datetime | None = Field(
        default=None, description="lowest time that the run's messages carry; none for runs that came as files"
    )

    @property
    def lines(self) -> int:
        """Lines of all sources."""
        return sum(summary.lines for summary in self.sources)

    @property
    def clean(self) -> bool:
        """Passed, and neither anomalous nor unsure."""
        return self.passed and not self.anomalous and not self.needs_review

    @property
    def disagreement(self) -> bool:
        """The harness says passed and the verdict failed, or the other way round."""
        said = self.headers.get("test.case.result.status", "").strip().lower()
        return said in (_SAID_FAIL if self.passed else _SAID_PASS)


def verdict_version(bytes_consumed: int, final: bool) -> int:
    """The version rule of verdicts: more text is newer, and a final verdict is newer than a provisional one.

    >>> verdict_version(10, final=False), verdict_version(10, final=True)
    (20, 21)
    """
    return 2 * bytes_consumed + int(final)


def version_beside(version: int, earlier: int, again: bool) -> int:
    """A verdict's version where the run was judged before: the high 16 bits count triages, and go on counting.

    >>> version_beside(21, 21, again=False), version_beside(21, 21, again=True) - 21 == 1 << 48
    (21, True)
    """
    return version + ((earlier >> TRIAGE_SHIFT) + int(again) << TRIAGE_SHIFT)
