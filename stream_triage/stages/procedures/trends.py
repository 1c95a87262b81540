"""Values that tables and records state about a UE, in their order, in; how the last ones compare with the best, out."""

from typing import Final

from stream_triage.dialects.table import Value

__all__ = ["MEASURED", "Trend", "Trends", "turned"]

MEASURED: Final = (
    "dl_bler", "ul_bler", "cqi", "rsrp", "sinr", "dl_rate", "ul_rate", "duplicates", "discards", "retransmissions",
    "pdcp_discards",
)  # fmt: skip
"""Names of the values that a UE is judged by."""


def turned(stated: float, about: Value) -> float:
    """A value so that a larger one is worse. Long counters count by their number of digits."""
    value = float(len(str(int(abs(stated))))) * (abs(stated) >= 1) if about.scale == "digits" else stated
    return value if about.worse == "high" else -value


class Trend:
    """Values of one kind, turned so that a larger one is worse: the best one, the last one, and their number.

    `beyond` is how many of the last ones in a row are beyond the limit.
    """

    __slots__ = ("best", "beyond", "count", "last")

    def __init__(self) -> None:
        self.best = self.last = 0.0
        self.count = self.beyond = 0

    def add(self, stated: float, about: Value) -> None:
        """Takes the next value, as the log states it."""
        self.last = turned(stated, about)
        self.best = min(self.best, self.last) if self.count else self.last
        self.count += 1
        self.beyond = self.beyond + 1 if about.beyond(stated) else 0


class Trends(dict[str, Trend]):
    """Trends of one UE, by the name of the value."""

    def add(self, name: str, stated: float, about: Value) -> None:
        """Takes a value."""
        if name not in self:
            self[name] = Trend()
        self[name].add(stated, about)
