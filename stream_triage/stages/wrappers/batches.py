"""Lines without their wrappers in; batches of them by service out, as the next stages read and people see them."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from stream_triage.stages.wrappers.layout import Unwrapped, own_stamp

__all__ = ["Batch", "Output"]

T = TypeVar("T")


class Batch(NamedTuple):
    """Lines of one service, in order.

    Attributes:
        service: Its name; empty for lines of the source itself.
        bodies: The text of each line.
        prefixes: What stood before it; None if nothing did.
        stamps: Whether models read a time stamp of the bundle's format in front of it (`own_stamp`).
        marks: Whether models read nothing of it, since the collector wrote it.
    """

    service: str
    bodies: list[str]
    prefixes: list[str] | None = None
    stamps: list[bool] | None = None
    marks: list[bool] | None = None

    @property
    def size(self) -> int:
        """Bytes of the lines with their prefixes and line ends."""
        return len("".join([*self.bodies, *(self.prefixes or ())]).encode("utf-8", "replace")) + len(self.bodies)

    def part(self, first: int, end: int) -> "Batch":
        """Some of the lines."""
        if not first and end >= len(self.bodies):
            return self
        return Batch(
            self.service,
            self.bodies[first:end],
            self.prefixes and self.prefixes[first:end],
            self.stamps and self.stamps[first:end],
            self.marks and self.marks[first:end],
        )

    def shown(self, bodies: Sequence[str], redact: Callable[[str, T], str], state: T) -> Sequence[str]:
        """The lines as people see them: redacted prefixes before bodies that were redacted already."""
        if self.prefixes is None:
            return bodies
        prefixes = redact("\n".join(self.prefixes), state).split("\n")
        return [prefix + body for prefix, body in zip(prefixes, bodies, strict=True)]

    def read(self, bodies: list[str]) -> list[str]:
        """The lines as rules and models read them."""
        if self.stamps and self.prefixes:
            lines = zip(self.stamps, self.prefixes, bodies, strict=True)
            bodies = [own_stamp(prefix) + body if stamp else body for stamp, prefix, body in lines]
        if self.marks:
            bodies = ["" if mark else body for mark, body in zip(self.marks, bodies, strict=True)]
        return bodies


class Output:
    """Collects lines by service, in the order in which the services come."""

    def __init__(self) -> None:
        self._plain: list[str] = []
        self._lines: dict[str, list[Unwrapped]] = {}

    def plain(self, lines: list[str]) -> None:
        """Adds lines of the source itself that have no wrapper."""
        if self._lines.get(""):
            self._lines[""] += [Unwrapped.of(line) for line in lines]
        else:
            self._plain += lines

    def add(self, service: str, lines: Iterable[Unwrapped]) -> None:
        """Adds lines of a service."""
        self._lines.setdefault(service, []).extend(lines)

    def batches(self) -> list[Batch]:
        """What was added."""
        plain = [Batch("", self._plain)] if self._plain else []
        return plain + [_batch(service, lines) for service, lines in self._lines.items() if lines]


def _batch(service: str, lines: Sequence[Unwrapped]) -> Batch:
    return Batch(
        service,
        [line.split.body for line in lines],
        [line.split.prefix for line in lines],
        [line.stamp for line in lines] if any(line.stamp for line in lines) else None,
        [line.split.mark for line in lines] if any(line.split.mark for line in lines) else None,
    )
