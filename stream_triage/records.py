"""What flows between the parts: chunks in, verdicts out.

All of it is frozen. `Verdict` has a published JSON schema (docs/verdict.schema.json), made from the descriptions here.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "NOT_PROVED",
    "ORIGIN_HEADER",
    "REPLAYED_HEADER",
    "STARTING_POINT",
    "UNKNOWN",
    "VERDICT_SCHEMA_VERSION",
    "Anomaly",
    "Chunk",
    "ClosedRun",
    "DeadLetter",
    "Event",
    "Evidence",
    "Explanation",
    "FailedUe",
    "ForgottenRun",
    "LineShare",
    "LoggedPartition",
    "PartitionRunId",
    "Problem",
    "Record",
    "ReducedLine",
    "RejectedMessages",
    "Repairs",
    "Repeats",
    "RunEnd",
    "Share",
    "SourceSummary",
    "Surprise",
    "Tick",
    "UeCourse",
    "UeEvent",
    "Ues",
    "Verdict",
    "cut",
    "line_in_words",
    "source_line",
    "split_file_id",
    "split_origin",
    "text_bytes",
    "verdict_version",
    "version_beside",
]

VERDICT_SCHEMA_VERSION: Literal[1] = 1
# Headers of a message that `replay-dead` sent: where the rejected message was first, and how often it was sent again.
ORIGIN_HEADER: Final = "triage.origin"
REPLAYED_HEADER: Final = "triage.replayed"
# Bits of a verdict's version below those that count how often the run was judged again; enough for runs of 100 TB.
TRIAGE_SHIFT = 48


class PartitionRunId(str):
    """What the events of a run of a topic carry in place of its id, since runs of two partitions may have the same id.

    >>> PartitionRunId.of(3, "a/b"), PartitionRunId.of(3, "a/b").run_id
    ('3/a/b', 'a/b')
    """

    __slots__ = ()

    @classmethod
    def of(cls, partition: int, run_id: str) -> "PartitionRunId":
        """The key of this run of a partition."""
        return cls(f"{partition}/{run_id}")

    @property
    def run_id(self) -> str:
        """The id, as the verdict has it before identities are removed."""
        return self.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of one source of a run, cut anywhere. Of each header of a run, the first value counts."""

    run_id: str
    data: bytes
    source: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """All of a run has come; its verdict is due. What the verdict is stored as depends on the kind of source.

    - A topic, an index or `--run-id` names the run: no `path`. `run_id` is the id of the verdict; of a topic, it is the
      `PartitionRunId` of it.
    - A finished file is named when all of it was read: `path` and `content` are set, and `run_id` is the `OpenKey` of
      the path (`stream_triage.files.naming`). The verdict has the id of the stored run with the same path and content,
      or else `PATH#` and the first 8 hex digits of `content`.
    - A file that is followed is named at first sight: `path` and `content` are set, and `run_id` is `PATH#` and 8 hex
      digits, the same ones whenever this file (device, inode, birth time) is seen. The verdict has this id, unless the
      file was stored under another one by then, or this id belongs to other text: see `stream_triage.identity`. If the
      run is read again because its file has grown, all events carry the same `run_id` again, from the first byte on. A
      file that was emptied or replaced is another run with another `run_id`.
    - A pipe is another run each time: `path` is set, `content` is not, and `run_id` is `PATH#` and 8 random hex digits.

    Attributes:
        run_id: The id that the other events of the run carry.
        started: The lowest time of its messages, where they have one.
        path: Where the text was read, as it is shown: the part of the id before the last `#`.
        content: SHA-256 of the text without NUL bytes, as hex; made by `stream_triage.files.content.ContentDigest`.
        head: The 8 hex digits that earlier releases put into the id of this run: `ContentDigest.head`. With it, a run
            that such a release stored is recognised.
        first_offset: Where reading must begin to read the run of a topic again.
    """

    run_id: str
    started: datetime | None = None
    path: str = ""
    content: str = ""
    head: str = ""
    first_offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """Input that could not be read, or only in part.

    With a `run_id`, the run goes on with what could be read, and its verdict says so. Without one, nothing of `path` was
    used. `error` is false for what was skipped as expected, such as a picture in a folder of logs. The verdict says what a
    `note` says, too, but that is no reason for a review.
    """

    path: str
    reason: str
    run_id: str | None = None
    source: str = ""
    error: bool = True
    note: bool = False


@dataclass(frozen=True, slots=True)
class Repeats:
    """Messages of one source of a run that were dropped because they had come before; bytes of text, in part of others."""

    run_id: str
    source: str
    messages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed and nothing came: a chance to work on what is queued and to flush what waits."""


Event = Chunk | RunEnd | Problem | Repeats | Tick


class Record(NamedTuple):
    """One message of a topic, as it came. The timestamp is in milliseconds since 1970, as the broker has it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class ClosedRun(NamedTuple):
    """A run of a partition that has ended: all its messages lie between two offsets, both included.

    It is what a worker must know to end the run in the same way when it reads it again. `key` is the key of its messages;
    `run_id` is the same unless the key was used before. A run that was `cut` at a limit goes on as another run. `pieces` is
    set if the last message goes on after the end: a message is cut before lines that start a run and after lines that end
    one, and so many of its pieces belong to this run and those before it. `replayed` has the highest origins of messages in
    it that `replay-dead` sent: by `topic/partition`, the offset.
    """

    key: str
    run_id: str
    first: int
    last: int
    cut: bool = False
    pieces: int | None = None
    replayed: tuple[tuple[str, int], ...] = ()

    @property
    def end(self) -> tuple[int, float]:
        """Where it ended, as offset and pieces; runs of one key are in this order."""
        return self.last, math.inf if self.pieces is None else self.pieces


class ForgottenRun(NamedTuple):
    """A mark of `forget`, for one partition.

    No run with this id, as its verdict shows it, is judged if its first message lies before the offset.
    """

    run_id: str
    before: int


class RejectedMessages(NamedTuple):
    """Messages of a partition whose dead letters are durable, by `DeadLetter.name`.

    The unusable ones were rejected for what they are, whatever came before them. The others came too late, for instance.
    """

    unusable: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class LoggedPartition(NamedTuple):
    """What the run log remembers of a partition, each part in any order."""

    closed: list[ClosedRun]
    rejected: list[RejectedMessages]
    forgotten: list[ForgottenRun]


class DeadLetter(NamedTuple):
    """What was rejected, as it came, and why: a message of a topic, or a document that a server did not take.

    `origin` is where it came from or should have gone: `topic/partition/offset`, or `index/id/version`. A run that could not
    be judged has no value: its messages are in the topic. Neither has a summary of messages that were too many to be kept
    one by one: its origin names the first and the last of them. A message that `replay-dead` had sent keeps its first
    origin; `replays` is how often it was sent.
    """

    kind: Literal["message", "document", "run", "summary"]
    reason: str
    origin: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    replays: int = 0

    @property
    def name(self) -> str:
        """The same for all copies of a letter, and another one for each time that the message was sent again."""
        return f"{self.origin}+{self.replays}" if self.replays else self.origin


class LineShare(NamedTuple):
    """What one line adds to the log-odds of a label against its rival.

    A classifier that knows more than the line has `parts`: what it saw there, in words, with weights that add up.
    """

    source: str
    number: int
    weight: float
    parts: tuple[tuple[str, float], ...] = ()


# What `Explanation.named` calls the score before any line: that of a usual run of the rival.
STARTING_POINT: Final = "starting point"


class Explanation(NamedTuple):
    """Where the score of one classifier, or of several together, comes from.

    `sum(lines) + sum(missing) + rest` is the log-odds of the label against its rival. `missing` has the weight of each
    expected key that did not come. `named` divides the rest by what it comes from, in words. An explanation of several
    classifiers has those of each in `models`, with its name and the factor of its weights.
    """

    lines: list[LineShare]
    missing: dict[str, float]
    rest: float
    named: Mapping[str, float] = MappingProxyType({})
    models: tuple[tuple[str, float, "Explanation"], ...] = ()


class Surprise(NamedTuple):
    """A line that is unlikely after those before it, or, with `end`, a line that is unlikely to be the last of its source.

    `key` is the template key of the line. `rank` keys were likelier; `expected` are the likeliest of them, "" for the end of
    the source. `surprisal` is in bits.
    """

    source: str
    number: int | None
    key: str
    rank: int
    expected: tuple[str, ...]
    surprisal: float
    end: bool


# The label of a run in which nothing speaks for any label of its bundle. Every bundle may give it; none is trained on it.
UNKNOWN: Final = "unknown"
# Test case name of the runs with which `stream-triage canary` checks the whole path. Statistics and alerts ignore them.
CANARY: Final = "canary"
# How the sentence of a verdict begins if no procedure and no rule shows that it is so.
NOT_PROVED: Final = "not proved: "
# Failed UEs that a list of a run names.
_UES_NAMED: Final = 10
# What test harnesses write into test.case.result.status, in lower case.
_SAID_PASS: Final = frozenset(("pass", "passed", "success", "successful", "ok"))
_SAID_FAIL: Final = frozenset(("fail", "failed", "failure", "error", "broken"))


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def source_line(source: str, number: int | None) -> str:
    """`du:104`, or the part of it that exists: the only source of a run may have no name, and some items have no line."""
    return ":".join(part for part in (source, "" if number is None else str(number)) if part)


def line_in_words(source: str, number: int | None) -> str:
    """`du:104`, or `line 104` where the only source has no name."""
    return source_line(source, number) if source else f"line {number}"


def cut(text: str, most: int) -> str:
    """The text, or its first `most` characters and an ellipsis."""
    return text if len(text) <= most else text[:most] + "…"


class Share(_Record):
    """A part of the score, and where it comes from."""

    model: str = Field(
        default="",
        description="classifier of the bundle, such as `terms` (words), `charcnn` (characters) or `procedures`; empty if "
        "several contribute",
    )
    what: str = Field(default="", description="what the classifier saw, in words; empty for the text of the line itself")
    weight: float


class Evidence(_Record):
    """One reason for the label. A rule against it has a weight below zero; all other items are reasons for it."""

    kind: Literal["line", "missing", "rule"]
    weight: float = Field(description="share of the label's log-odds against the passing label, or against the runner-up")
    parts: tuple[Share, ...] = Field(
        default=(), description="where the weight comes from; they add up to it. None for a rule, whose weight is its own"
    )
    source: str = ""
    number: int | None = Field(default=None, description="line number in the source, from 1; none for a missing line")
    text: str = Field(default="", description="the redacted line, or the template of the missing line")
    key: str = Field(
        default="",
        description="template key of the line (`new:…` if it matches no template), or of the missing line",
    )
    rule: str = Field(default="", description="name of the hand-written rule")
    label: str = Field(
        default="",
        description="label that the rule speaks for; none if it only states the cause of a run with another label",
    )
    note: str = Field(default="", description="note that the author of the rule gave it")

    def words(self) -> str:
        """As pages, alerts and JUnit files show it. Log text is not escaped: that is for the caller to do."""
        if self.kind == "missing":
            return f"never came: {self.text}"
        label = f" for {self.label}" if self.label else ""
        rule = f"rule {self.rule}{label}: " if self.rule else ""
        note = f" ({self.note})" if self.note else ""
        return f"{source_line(self.source, self.number)}  {rule}{self.text}{note}".strip()


class Anomaly(_Record):
    """One way in which the run differs from passing runs."""

    kind: Literal["new", "missing", "length", "order", "end"]
    score: float = Field(description="what it adds to the anomaly score before scaling")
    source: str = ""
    number: int | None = None
    key: str = ""
    text: str = ""
    count: int = Field(default=1, description="lines of this kind")
    expected: str = Field(default="", description="what passing runs have instead")
    expected_keys: tuple[str, ...] = Field(
        default=(), description="the likeliest keys here, most likely first; an empty one is the end of the source"
    )
    rank: int | None = Field(default=None, description="how many keys were likelier here than the one that came")

    def words(self) -> str:
        """As the terminal and lists of runs show it. Log text is not escaped: that is for the caller to do."""
        if self.kind == "missing":
            return f"never came: {self.expected}"
        if self.kind == "length":
            return f"{self.count} lines with text, passing runs have {self.expected}"
        if self.kind == "order" and self.number is None:
            return f"{self.count} lines follow each other unlike those of passing runs"
        unlike = "ends unlike passing runs: " if self.kind == "end" else ""
        return f"{source_line(self.source, self.number)}  {unlike}{self.text}".strip()


class ReducedLine(_Record):
    """One line that is worth reading, with its number in its source."""

    source: str
    number: int
    text: str
    why: Literal["evidence", "anomaly", "rule", "procedure", "rare", "relevant", "new", "context", "template"]
    repeats: int = Field(default=1, description="lines like it in this source")
    rank: int | None = Field(default=None, description="place by importance among the lines of the reduction, from 1")


class Repairs(_Record):
    """Damage in one source, repaired so that it can be seen, and what came twice. All zero for clean input."""

    invalid_bytes: int = Field(default=0, description="byte sequences that are invalid in the encoding, shown as U+FFFD")
    nul_bytes: int = Field(default=0, description="NUL bytes, shown as U+2400; of 64 or more in a row, at most one is shown")
    damaged_lines: int = Field(default=0, description="lines with any of these")
    cut_lines: int = Field(default=0, description="lines cut at the length limit")
    dropped_bytes: int = Field(default=0, description="bytes cut off from lines above the limit")
    problems: tuple[str, ...] = Field(default=(), description="other damage, such as an archive that ends early")
    repeated_messages: int = Field(default=0, description="messages that were dropped because they had come before")
    repeated_bytes: int = Field(default=0, description="bytes of text that were dropped because they had come before")
    notes: tuple[str, ...] = Field(
        default=(), description="what is good to know of how it came, and is no reason for a review"
    )

    @property
    def any(self) -> bool:
        """Whether anything was repaired or is missing; what came twice is not."""
        return bool(self.invalid_bytes or self.nul_bytes or self.cut_lines or self.dropped_bytes or self.problems)


class SourceSummary(_Record):
    """One source of a run in numbers."""

    source: str
    lines: int
    bytes: int = Field(description="as they came, before decoding")
    encoding: str = Field(
        default="",
        description=(
            "encodings in the order of their first use, with `(detected)` after a guess, for example `utf-16-le, utf-8` or "
            "`gb18030 (detected)`; empty for UTF-8"
        ),
    )
    known_lines: int = Field(
        description="lines whose template the bundle knows, and records of a dialect that it was trained on; for `generic`, "
        "records of any dialect, and lines with words of 3GPP"
    )
    folded_lines: int = Field(description="lines that the classifier read")
    redactions: dict[str, int] = Field(default_factory=dict)
    repairs: Repairs = Repairs()
    stripped: str = Field(
        default="",
        description="what was taken off its lines before they were judged, such as `docker compose`; empty if nothing was",
    )


class FailedUe(_Record):
    """A UE whose procedure failed, with the line that shows it."""

    ue: int = Field(description="UE id, as in the log; of an RNTI its value, and -1 for other ids")
    name: str = Field(default="", description="the id as in the log, if it is no number")
    reason: str
    source: str
    number: int = Field(description="line in its source, from 1")
    text: str

    def words(self) -> str:
        """`UE 3`, or `UE rnti c4f2`. Log text is not escaped: that is for the caller to do."""
        if self.name or self.ue >= 0:
            return f"UE {self.name or self.ue}"
        return f"the UE of {self.source}" if self.source else "the UE"


class Ues(_Record):
    """What became of the UEs of a run. It does not change the label."""

    seen: int
    failed: int
    first: tuple[FailedUe, ...] = Field(default=(), description="the failed ones in order of their ids, up to 50")

    def words(self) -> str:
        """`3 of 32 UEs failed: 4, 7, 19`. Log text is not escaped: that is for the caller to do."""
        if not self.failed:
            return f"{self.seen} seen, none failed"
        names = list(dict.fromkeys(ue.words().removeprefix("UE ") for ue in self.first))[:_UES_NAMED]
        more = ", …" if self.failed > len(names) else ""
        return f"{self.failed} of {self.seen} UEs failed: {', '.join(names)}{more}"


class Verdict(_Record):
    """The judgement on one run. The same text, bundle and rules give the same verdict, however the bytes were cut."""

    schema_version: Literal[1] = VERDICT_SCHEMA_VERSION
    run_id: str
    version: int = Field(description="2 x bytes consumed + 1 if final; a higher one replaces a lower one")
    final: bool
    label: str = Field(description="a label of the bundle, or `unknown` if nothing in the run speaks for any of them")
    passed: bool
    confidence: float = Field(description="calibrated probability of the label, 0 to 1; 0 if the label is `unknown`")
    probabilities: dict[str, float] = Field(
        description="of the labels of the bundle; if the label is `unknown`, these are no more than what the models assume"
    )
    needs_review: bool
    review_reasons: tuple[str, ...] = ()
    cause: Literal["product", "environment", "script"] | None = None
    why: str = Field(
        default="",
        description="one sentence that says why the run has its label: what broke first, or how far the UEs of a run that "
        "passed came. It begins with `not proved: ` if neither a procedure nor a rule shows it",
    )
    rival: str = Field(
        default="",
        description="the label that weights compare with: the passing label, or the runner-up of a run that passed; empty "
        "if the label is `unknown`",
    )
    score: float = Field(
        default=0.0,
        description="log-odds of the label against `rival`: the weights of `evidence` and `rest` add up to it",
    )
    rest: tuple[Share, ...] = Field(
        default=(), description="what adds to the score and is no evidence: what did not come, and lines not listed"
    )
    anomaly_score: float = Field(description="0 to 1; 0.5 is the bundle's threshold")
    anomalous: bool
    anomalies: tuple[Anomaly, ...] = Field(default=(), description="the strongest ones")
    anomaly_count: int = Field(default=0, description="how many there are in all")
    evidence: tuple[Evidence, ...] = ()
    reduction: tuple[ReducedLine, ...] = ()
    ues: Ues | None = Field(default=None, description="none if the bundle follows no UEs, or the log names none")
    sources: tuple[SourceSummary, ...] = ()
    headers: dict[str, str] = Field(default_factory=dict)
    bundle: str
    bundle_version: str
    bundle_chosen: bool = Field(default=False, description="whether the bundle was chosen by the first lines of the run")
    known_share: float | None = Field(
        default=None, description="share of the lines with text that the bundle knows; none in verdicts of earlier versions"
    )
    time: datetime | None = Field(
        default=None, description="when the verdict was given; not set by the pipeline, which knows no time"
    )
    team: str | None = Field(default=None, description="team that owns the failure, by the routes; not set by the pipeline")
    lost: bool = Field(
        default=False, description="of a provisional verdict: the run is certain to fail, by the bundle's limit"
    )
    started: datetime | None = Field(
        default=None, description="lowest time of the run's messages; none for runs that came as files"
    )
    content: str = Field(
        default="",
        description="SHA-256 of the run's text without NUL bytes, as hex; empty for runs from a topic or an index, and for "
        "pipes without a given run id",
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
    def failed(self) -> bool:
        """Has the label of a failure. A run that is `unknown` has neither passed nor failed."""
        return not self.passed and self.label != UNKNOWN

    @property
    def proved(self) -> bool:
        """Whether a procedure or a rule shows why the run has its label; false for verdicts of versions without `why`."""
        return bool(self.why) and self.label != UNKNOWN and not self.why.startswith(NOT_PROVED)

    @property
    def disagreement(self) -> bool:
        """The test harness says passed and the verdict says failed, or the other way round."""
        if self.label == UNKNOWN:
            return False
        said = self.headers.get("test.case.result.status", "").strip().lower()
        return said in (_SAID_FAIL if self.passed else _SAID_PASS)


class UeEvent(_Record):
    """A step of a procedure of a UE, or its trouble."""

    number: int = Field(description="line in its source, from 1")
    what: str = Field(description="procedure and step, such as `registration refused`, or whose trouble it is")
    bad: bool = Field(description="whether it is trouble, or a step that did not go well")
    text: str = Field(description="the redacted line")
    body: str = Field(default="", description="the line below it that says so, or says why")
    repeats: int = Field(default=1, description="how often it came in a row")
    last: int = Field(description="the last of these lines")


class UeCourse(_Record):
    """What one source of a run shows of a UE. No part of a verdict: it is read from the archived text."""

    source: str
    ue: str = Field(description="its id there; empty for the UE whose log the source is")
    events: tuple[UeEvent, ...]
    dropped: int = Field(description="later events that were left out")
    unfinished: tuple[str, ...] = Field(description="what was due and never came, and what did not end well, in words")


def split_origin(origin: str) -> tuple[str, int] | None:
    """`topic/partition` and offset of the origin of a message. None for any other origin.

    >>> split_origin("triage.logs/3/42"), split_origin("triage-verdicts-2026.11/run/7@9")
    (('triage.logs/3', 42), None)
    """
    match = _ORIGIN.fullmatch(origin)
    return (match[1], int(match[2])) if match else None


_ORIGIN = re.compile(r"([^/]+/[0-9]{1,10})/([0-9]{1,18})")
_FILE_ID = re.compile(r"(.*)#([0-9a-f]{8}(?:~[0-9]+)?)", re.DOTALL)


def split_file_id(run_id: str) -> tuple[str, str]:
    """Path and digits of the id of a run that was read from a file or a pipe. Both are empty for any other id.

    >>> split_file_id("logs/a.log#0a1b2c3d~2"), split_file_id("night/17")
    (('logs/a.log', '0a1b2c3d~2'), ('', ''))
    """
    match = _FILE_ID.fullmatch(run_id)
    return (match[1], match[2]) if match else ("", "")


def verdict_version(bytes_consumed: int, final: bool) -> int:
    """The version rule of verdicts: more text is newer, and a final verdict is newer than a provisional one.

    >>> verdict_version(10, final=False), verdict_version(10, final=True)
    (20, 21)
    """
    return 2 * bytes_consumed + int(final)


def version_beside(version: int, earlier: int, again: bool) -> int:
    """The version of a verdict on a run that has a stored verdict of version `earlier`.

    The high 16 bits count how often the run was judged `again`. They are kept, so that text that grows goes on replacing.

    >>> version_beside(21, 21, again=False), version_beside(21, 21, again=True) - 21 == 1 << 48
    (21, True)
    """
    return version + ((earlier >> TRIAGE_SHIFT) + int(again) << TRIAGE_SHIFT)


def text_bytes(version: int) -> int:
    """The bytes consumed by the verdict of this version, however often its run was judged again.

    >>> text_bytes(21), text_bytes(version_beside(21, 21, again=True))
    (10, 10)
    """
    return (version & (1 << TRIAGE_SHIFT) - 1) >> 1
