"""Rejected messages in; which of them become dead letters, and summaries of the others out.

A sender that is set up wrongly must neither stop the farm nor fill the topic of dead letters. So each run, by its key, has
a ceiling for an hour, and so has each partition for messages without a usable key. Beyond it, messages are counted, and a
summary says how many they are and where: they are still in the topic, until its retention deletes them.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from stream_triage.clock import Clock
from stream_triage.records import DeadLetter
from stream_triage.worker.messages import RejectedMessage, run_key

__all__ = ["BYTES_HEADER", "MESSAGES_HEADER", "Ceilings"]

HOUR_SECONDS = 3600.0
# Runs and partitions that are counted at a time. The ones not rejected for longest are forgotten and begin with 0 again.
MAX_COUNTED = 10_000
# Headers of a summary.
MESSAGES_HEADER, BYTES_HEADER = "triage.messages", "triage.bytes"


@dataclass(slots=True)
class _Hour:
    """What was rejected of one run, or of one partition, since the hour began."""

    began: float
    letters: int = 0
    warned: bool = False


@dataclass(slots=True)
class _Summary:
    """Rejected messages that got no letter since the last flush."""

    key: bytes | None
    messages: int = 0
    bytes: int = 0
    first: str = ""
    last: str = ""
    reasons: list[str] = field(default_factory=list)
    """The first ones, each once."""


class Ceilings:
    """Counts rejected messages. `admits` is asked for each; what it does not admit is in the next `summaries`.

    Only messages have ceilings: their originals stay in the topic. Documents and runs exist nowhere else.
    """

    def __init__(self, per_hour: int, clock: Clock, *, usable: Callable[[str], bool], warn: Callable[[str], None]) -> None:
        """`usable` says whether runs may have a key; `warn` gets one message an hour for each run beyond its ceiling."""
        self._per_hour = per_hour
        self._clock = clock
        self._usable = usable
        self._warn = warn
        self._hours: OrderedDict[str, _Hour] = OrderedDict()
        self._summaries: dict[str, _Summary] = {}

    def admits(self, letter: DeadLetter) -> bool:
        """Whether the letter is to be written; if not, it is counted for the summaries."""
        if letter.kind != "message":
            return True
        name, key = self._name(letter)
        hour = self._hour(name)
        if hour.letters < self._per_hour:
            hour.letters += 1
            return True
        if not hour.warned:
            hour.warned = True
            subject = f"run {name[1:]}" if key is not None else f"messages without a usable key of {name[1:]}"
            self._warn(
                f"more than kafka.dead_per_hour = {self._per_hour} messages were rejected within an hour ({subject}): for "
                f"the rest of the hour they are summed up in the topic of dead letters; the last reason: {letter.reason}"
            )
        self._sum_up(name, key, letter)
        return False

    def summaries(self) -> list[DeadLetter]:
        """One letter for each run and partition of which messages got none since the last call."""
        summaries, self._summaries = self._summaries, {}
        return [_letter(summary) for summary in summaries.values()]

    def _name(self, letter: DeadLetter) -> tuple[str, bytes | None]:
        """What the message is counted for, and the key if it is usable."""
        try:
            key = run_key(letter)
        except RejectedMessage:
            key = ""
        if key and self._usable(key):
            return f"k{key}", letter.key
        return f"p{letter.origin.rpartition('/')[0]}", None

    def _hour(self, name: str) -> _Hour:
        now = self._clock.monotonic()
        hour = self._hours.pop(name, None)
        if hour is None or now - hour.began > HOUR_SECONDS:
            hour = _Hour(now)
        self._hours[name] = hour  # the one used last is the last one
        if len(self._hours) > MAX_COUNTED:
            self._hours.popitem(last=False)
        return hour

    def _sum_up(self, name: str, key: bytes | None, letter: DeadLetter) -> None:
        summary = self._summaries.setdefault(name, _Summary(key, first=letter.origin))
        summary.messages += 1
        summary.bytes += len(letter.value or b"")
        summary.last = letter.origin
        if letter.reason not in summary.reasons and len(summary.reasons) < 3:
            summary.reasons.append(letter.reason)


def _letter(summary: _Summary) -> DeadLetter:
    messages = "1 message" if summary.messages == 1 else f"{summary.messages} messages"
    reason = f"{messages} ({summary.bytes} bytes) rejected beyond kafka.dead_per_hour: {'; '.join(summary.reasons)}"
    origin = summary.first if summary.first == summary.last else f"{summary.first} to {summary.last}"
    headers = ((MESSAGES_HEADER, b"%d" % summary.messages), (BYTES_HEADER, b"%d" % summary.bytes))
    return DeadLetter("summary", reason, origin, summary.key or b"", None, headers)
