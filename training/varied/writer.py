"""From the records of a run to the bytes of its log: order, cuts, lost lines, time stamps, what collectors add."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

from training.varied.habits import Habits
from training.varied.run import Record

__all__ = ["Written", "write"]

DAMAGED_SHARE: Final = 0.03
"""Share of the logs with bytes that are not UTF-8."""


class Written(NamedTuple):
    """The log and what its lines are.

    Attributes:
        text: The log.
        invented: Places of lines with invented words, from 0.
        set_up: Places of lines of the set-up that do not depend on the label.
        root_line: Line of the first direct record of the cause, from 1, if it has one.
        last_symptom_line: Line of the last record of the cause or of a consequence, from 1.
    """

    text: bytes
    invented: tuple[int, ...]
    set_up: tuple[int, ...]
    root_line: int | None
    last_symptom_line: int | None


def write(
    records: Sequence[Record], habits: Habits, rng: random.Random, start: datetime, span: tuple[float, float]
) -> Written:
    """Writes the log of a run.

    Args:
        records: Its records, in any order.
        habits: What the log looks like.
        rng: Draws which lines are lost and which bytes are damaged.
        start: Time of 0 ms.
        span: First and last time that the log has, in milliseconds.
    """
    stamp, wrap = STAMPS[habits.stamp], WRAPPERS[habits.wrapper]
    lines: list[str] = []
    invented: list[int] = []
    set_up: list[int] = []
    root = symptom = None
    for record in sorted(records):
        if not span[0] <= record.at_ms <= span[1]:
            continue
        at_ms = ceil(record.at_ms / habits.buffer_ms) * habits.buffer_ms if habits.buffer_ms else record.at_ms
        at = start + timedelta(milliseconds=at_ms)
        left = _left(record, habits, rng)
        if left and record.root:
            root = root or len(lines) + 1
        if left and record.symptom:
            symptom = len(lines) + 1
        for place in left:
            line = record.lines[place]
            if place in record.invented:
                invented.append(len(lines))
            if record.set_up:
                set_up.append(len(lines))
            text = stamp(at) + line if place == 0 else habits.indent + line
            lines.append(wrap(text, at, len(lines)))
    return Written(_encoded(lines, habits.newline, rng), tuple(invented), tuple(set_up), root, symptom)


def _left(record: Record, habits: Habits, rng: random.Random) -> list[int]:
    """Places of the lines of a record that are not lost; without the first one the others would continue another record."""
    places = range(len(record.lines))
    if not habits.lost or record.kept:
        return list(places)
    left = [place for place in places if rng.random() >= habits.lost]
    return left if left and left[0] == 0 else []


def _milliseconds(at: datetime) -> str:
    return f"{at.microsecond // 1000:03d}"


STAMPS: Final[dict[str, Callable[[datetime], str]]] = {
    "tab": lambda at: f"{at:%d/%m/%y %H:%M:%S}:{_milliseconds(at)}\t",
    "spaces": lambda at: f"{at:%d/%m/%y %H:%M:%S}:{_milliseconds(at)}  ",
    "year": lambda at: f"{at:%d/%m/%Y %H:%M:%S}.{_milliseconds(at)}\t",
    "iso": lambda at: f"{at:%Y-%m-%dT%H:%M:%S}.{_milliseconds(at)} ",
    "time": lambda at: f"{at:%H:%M:%S}:{_milliseconds(at)}\t",
}
WRAPPERS: Final[dict[str, Callable[[str, datetime, int], str]]] = {
    "": lambda text, at, number: text,
    "jenkins": lambda text, at, number: f"[{at:%Y-%m-%dT%H:%M:%S}.{_milliseconds(at)}Z] {text}",
    "github": lambda text, at, number: f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}0Z {text}",
    "compose": lambda text, at, number: f"tm500-1  | {text}",
    "syslog": lambda text, at, number: f"{at:%b %d %H:%M:%S} testpc tma[2291]: {text}",
    "number": lambda text, at, number: f"{number + 1:6d}: {text}",
    "colour": lambda text, at, number: f"\x1b[{(32, 33, 36)[len(text) % 3]}m{text}\x1b[0m",
}
"""What collectors and terminals leave around each line."""


def _encoded(lines: list[str], newline: str, rng: random.Random) -> bytes:
    data = [line.encode() for line in lines]
    if data and rng.random() < DAMAGED_SHARE:
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] += b" " + bytes([rng.randrange(0x80, 0x100)])
    end = newline.encode()
    return end.join(data) + end
