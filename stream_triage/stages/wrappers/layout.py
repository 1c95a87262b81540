"""The wrappers of one source, one inside the other: a line in; prefix, text and service out."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from stream_triage.stages.wrappers.layers import Layer, Split

__all__ = ["OWN_STAMP", "Layout", "Unwrapped"]

OWN_STAMP: Final = "2000-01-01 00:00:00.000\t"
"""Stands for the time stamp of a line whose own one has another format than the bundle knows."""


class Unwrapped(NamedTuple):
    """A line without its wrappers. Models read `OWN_STAMP` in front of a body with `stamp`."""

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
        return OWN_STAMP + unwrapped.split.body if unwrapped.stamp else unwrapped.split.body

    def shown_body(self, shown: str) -> str:
        """What models read of a line, from the line as it is shown."""
        for layer in self.layers:
            shown = layer.shown_body(shown)
        own = self.stamp.split(shown) if self.stamp else None
        return OWN_STAMP + own.body if own else shown
