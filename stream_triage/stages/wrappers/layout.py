"""The wrappers of one source, one inside the other: a line in; prefix, text and service out."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from stream_triage.stages.wrappers.layers import Layer, Split

__all__ = ["OWN_STAMP", "Layout", "Unwrapped", "own_stamp"]

OWN_STAMP: Final = "2000-01-01 00:00:00.000\t"
"""Stands for the time stamp of a line whose own one has another format than the bundle knows."""
_CLOCK: Final = re.compile(r"(\d{1,2})[:h](\d\d)(?:[:m](\d\d)(?:[.,:](\d{1,9}))?)?|\d{8}[T_-]?(\d\d)(\d\d)(\d\d)")
_SECONDS: Final = re.compile(r"(\d{1,19})(?:[.,](\d{1,9}))?")
# A stamp is among the last characters of what stands before the text.
_STAMP_CHARACTERS: Final = 64
# Digits of ticks since 1970, and how many of them make a second.
_TICKS: Final = {13: 10**3, 16: 10**6, 19: 10**9}


def own_stamp(prefix: str) -> str:
    r"""The time of day in a prefix, written as `OWN_STAMP` is; `OWN_STAMP` itself if none is found.

    The stages that follow a run in its own time read it.

    >>> own_stamp("tester-1 | 17/04/2024  13:36:02.109   ")
    '2000-01-01 13:36:02.109\t'
    >>> own_stamp("1713360962109 ")
    '2000-01-01 13:36:02.109\t'
    >>> own_stamp("[  12.5] ")
    '2000-01-01 00:00:12.500\t'
    """
    clocks = list(_CLOCK.finditer(prefix[-_STAMP_CHARACTERS:]))
    if clocks:
        hours, minutes, seconds, part, *compact = clocks[-1].groups()
        hours, minutes, seconds = (hours, minutes, seconds or "0") if hours else compact
        milliseconds = f"{part or '':0<3}"[:3]
        if int(hours) < 24 and int(minutes) < 60 and int(seconds) < 61:
            return f"2000-01-01 {int(hours):02}:{minutes}:{int(seconds):02}.{milliseconds}\t"
        return OWN_STAMP
    number = _SECONDS.search(prefix[-_STAMP_CHARACTERS:])
    if number is None:
        return OWN_STAMP
    whole, part = number.groups()
    milliseconds_of_day = int(whole) * 1000 // _TICKS.get(len(whole), 1) % 86_400_000 + int(f"{part or '':0<3}"[:3])
    minutes_of_day, rest = divmod(milliseconds_of_day, 60_000)
    return f"2000-01-01 {minutes_of_day // 60:02}:{minutes_of_day % 60:02}:{rest // 1000:02}.{rest % 1000:03}\t"


class Unwrapped(NamedTuple):
    """A line without its wrappers. Models read `own_stamp` of the prefix in front of a body with `stamp`."""

    split: Split
    stamp: bool = False
    outer: bool = False
    """Whether the line has the outermost wrapper."""

    @classmethod
    def of(cls, line: str) -> "Unwrapped":
        """A line that has no wrapper."""
        return cls(Split("", line))


class Layout:
    """The wrappers of a source, from the outside in, and its own time stamp if that has an unknown format."""

    def __init__(self, layers: Sequence[Layer] = (), stamp: Layer | None = None) -> None:
        self.layers = tuple(layers)
        self.stamp = stamp
        names = [layer.kind.name for layer in self.layers] + ([stamp.kind.name] if stamp else [])
        self.name = " + ".join(dict.fromkeys(names))
        self.joins = any(layer.joins for layer in self.layers)
        self.looks_ahead = any(layer.looks_ahead for layer in self.layers)

    def __bool__(self) -> bool:
        return bool(self.layers or self.stamp)

    def split(self, line: str) -> Unwrapped:
        """The line without the wrappers that it has; a wrapper that it does not have is passed over."""
        prefix, service, stream, open_, more, mark, outer = "", "", "", False, False, False, False
        body = line
        for i, layer in enumerate(self.layers):
            part = layer.split(body)
            if part is None:
                continue
            outer = outer or i == 0
            prefix += part.prefix
            body = part.body
            service = f"{service}/{part.service}" if service and part.service else service or part.service
            stream = stream or part.stream
            open_, more, mark = open_ or part.open, more or part.more, mark or part.mark
            if part.mark:
                break
        own = self.stamp.split(body) if self.stamp and not mark else None
        if own:
            prefix, body = prefix + own.prefix, own.body
        return Unwrapped(Split(prefix, body, service, stream, open_, more, mark), own is not None, outer)

    def read(self, line: str) -> str:
        """The line as models read it."""
        unwrapped = self.split(line)
        if unwrapped.split.mark:
            return ""
        return own_stamp(unwrapped.split.prefix) + unwrapped.split.body if unwrapped.stamp else unwrapped.split.body

    def shown_body(self, shown: str) -> str:
        """What models read of a line, from the line as it is shown."""
        for layer in self.layers:
            shown = layer.shown_body(shown)
        own = self.stamp.split(shown) if self.stamp else None
        return own_stamp(own.prefix) + own.body if own else shown
